"""Reading back what changed (vendor sheet §7).

The first read lists every record. Later ones ask by Modified_Time, in whole seconds that many records share, so the
position is (Modified_Time, id) and every page is asked for from there: what moves meanwhile cannot hide another record.
Converted leads are in a list only when it is asked for them, and in a query only when it says `Converted__s = true`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from syncline.errors import ConnectorError, CursorExpiredError, TransientError
from syncline.model import ChangePage, Edit, RemoteRecord, RemoteRef, Writer
from syncline_zoho.client import Client
from syncline_zoho.field_history import FieldHistory
from syncline_zoho.payloads import DeletedPage, RecordsPage
from syncline_zoho.values import Column, decode, parse_datetime, printed_datetime

__all__ = ["OVERLAP", "PAGE", "Position", "Reader"]

OVERLAP: Final = timedelta(minutes=5)
"""How late a change may show (the sheet asks for two minutes or more; unverified, so generous)."""

PAGE: Final = 200
"""Rows of a list, and of a query: its maximum is 2,000 on one page and 200 on another (sheet §7)."""

_LIST_FIELDS: Final = 50
_TOKEN_IS_DEAD: Final = ("EXPIRED_VALUE", "TOKEN_BOUND_DATA_MISMATCH")
_REMEMBERED: Final = timedelta(days=59)
"""Deleted records are listed for 60 days (get deleted records, read 2026-11); a read that comes later reads anew."""
_DELETED_PAGES: Final = 10
_BOOK_IS_FULL: Final = ("DISCRETE_PAGINATION_LIMIT_EXCEEDED", "PAGINATION_LIMIT_EXCEEDED")

_ALWAYS: Final = ("id", "Modified_Time", "Modified_By")
_EMAILS: Final = ("Email", "Secondary_Email")
_CONVERTED: Final = "Converted__s"
_SUCCESSOR: Final = "Converted_Contact"
_LEADS: Final = "Leads"

_Step = Literal["open", "converted"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a read stands, kept as a small JSON text.

    Everything changed before `since` is known. A read that began at `began` has got, among open or converted records
    (`step`), as far as the record `id` with the time `at`; it goes on after it, and its end makes `began` the next
    `since`.
    """

    since: str
    began: str = ""
    step: _Step = "open"
    at: str = ""
    id: str = ""

    @classmethod
    def of(cls, cursor: str) -> Position:
        """CursorExpiredError when the text is not one of ours: the host then reads everything again."""
        try:
            found = cls(**json.loads(cursor))
            for text in (found.since, found.began or found.since, found.at or found.since):
                parse_datetime(text)
        except (TypeError, ValueError) as error:
            raise CursorExpiredError(f"not a position of this connector: {cursor[:80]!r}") from error
        if found.step not in ("open", "converted") or bool(found.at) != bool(found.id):
            raise CursorExpiredError(f"not a position of this connector: {cursor[:80]!r}")
        return found

    @property
    def from_time(self) -> str:
        return printed_datetime(parse_datetime(self.since) - OVERLAP)

    def text(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v and (k, v) != ("step", "open")})


class Reader:
    """Reads one object. `columns` are its fields as described; `fields` those that are asked for; of `history` changed
    records it is asked who changed which field."""

    def __init__(
        self, client: Client, object: str, fields: Sequence[str], columns: Mapping[str, Column], history: int = 0
    ) -> None:
        self._client = client
        self._object = object
        self._fields = tuple(fields)
        self._columns = columns
        self._history = FieldHistory(client, object, fields, history)
        self._lead = object == _LEADS
        self._convertible = self._lead and _CONVERTED in columns
        extra = (*_EMAILS, *((_CONVERTED, _SUCCESSOR) if self._lead else ()))
        known = tuple(name for name in extra if name in columns)
        self._names = tuple(dict.fromkeys((*_ALWAYS, *known, *fields)))

    def read(self, cursor: str | None) -> Iterator[ChangePage]:
        """Pages of changed records, deletions first: what was restored since comes after its tombstone."""
        return self._everything() if cursor is None else self._changes(Position.of(cursor))

    # Everything

    def _everything(self) -> Iterator[ChangePage]:
        """Without positions on the way: a first read that is cut off begins again.

        Whether a page token stays in its place when a record before it is deleted is not documented. So, if any was,
        all records are asked for once more, from id to id; as is what the list does not lead to.
        """
        began, pages, last, more = self._client.server_time(), 0, "", True
        token: str | None = None
        while more and not self._too_wide:
            page = self._list(token)
            if page is None:
                break
            if page.data:
                pages, last = pages + 1, str(page.data[-1]["id"])
                yield ChangePage(self._records(page.data), None)
            more, token = page.info.more_records, page.info.next_page_token
            if token is None or not page.data:
                break
        end = Position(since=printed_datetime(began))
        graves, listed = self._graves(end.from_time)
        deleted = bool(graves) or not listed  # too many to list: who is not among all records is gone in any case
        if more or (deleted and pages > 1):
            yield from self._by_id("" if deleted else last)
        yield ChangePage(graves if listed else [], end.text())

    @property
    def _too_wide(self) -> bool:
        """A list takes 50 fields, a query 500."""
        return len(self._names) > _LIST_FIELDS

    def _list(self, token: str | None) -> RecordsPage | None:
        """A page of the list in the order of ids; None where it leads no further (100,000 records, or a day)."""
        params: dict[str, Any] = {"fields": ",".join(self._names), "per_page": PAGE, "sort_by": "id"}
        params["sort_order"] = "asc"
        if self._lead:
            params["converted"] = "both"
        if token is not None:
            params["page_token"] = token
        try:
            return self._client.read("GET", self._object, params=params).read(RecordsPage)
        except ConnectorError as error:
            if token is not None and error.message.startswith((*_BOOK_IS_FULL, *_TOKEN_IS_DEAD)):
                return None
            raise

    def _by_id(self, last: str) -> Iterator[ChangePage]:
        for converted in (False, True) if self._convertible else (False,):
            after = last
            while True:
                condition = f"id > '{after or 0}'"
                page = self._query(condition, "id asc", converted=converted)
                if page.data:
                    after = str(page.data[-1]["id"])
                    yield ChangePage(self._records(page.data), None)
                if not page.info.more_records or not page.data:
                    break

    # Changes

    def _changes(self, position: Position) -> Iterator[ChangePage]:
        if self._client.now() - parse_datetime(position.since) > _REMEMBERED:
            raise CursorExpiredError(f"deletions since {position.since} are no longer listed", where=self._object)
        graves, listed = self._graves(position.from_time)
        if not listed:  # everything is read anew, and what is not there is gone
            raise CursorExpiredError("more deletions than can be listed", where=self._object)
        if not position.began:
            position = replace(position, began=printed_datetime(self._client.server_time()))
        if graves:
            yield ChangePage(graves, position.text())
        if position.step == "open":
            yield from self._step(position)
            position = replace(position, step="converted", at="", id="")
        if self._convertible:
            yield from self._step(position)
        yield ChangePage((), Position(since=position.began).text())

    def _step(self, position: Position) -> Iterator[ChangePage]:
        while True:
            page = self._query(_after(position), "Modified_Time asc, id asc", converted=position.step == "converted")
            if page.data:
                row = page.data[-1]
                at = printed_datetime(self._changed_at(row))
                if (at, str(row["id"])) == (position.at, position.id):
                    raise ConnectorError("a page of changes repeats itself", where=self._object)
                position = replace(position, at=at, id=str(row["id"]))
                yield ChangePage(self._records(page.data, self._history.edits(page.data)), position.text())
            if not page.info.more_records or not page.data:
                return

    def _query(self, condition: str, order: str, *, converted: bool) -> RecordsPage:
        where = f"({condition} and {_CONVERTED} = true)" if converted else condition
        select = f"select {', '.join(self._names)} from {self._object}"  # noqa: S608  # described names, our own literals
        return self._client.query(f"{select} where {where} order by {order} limit {PAGE}")

    # Deletions

    def _graves(self, since: str) -> tuple[list[RemoteRecord], bool]:
        """Tombstones since a time, and whether these are all: too many cannot be listed."""
        found: list[RemoteRecord] = []
        for number in range(1, _DELETED_PAGES + 1):
            page = self._deleted(since, number)
            if page is None:
                return found, False
            found += [
                RemoteRecord(
                    RemoteRef(self._object, row.id),
                    fields={},
                    changed_at=row.deleted_time.astimezone(UTC),
                    changed_by=self._writer(row.deleted_by),
                    changed_who=self._name(row.deleted_by),
                    deleted=True,
                )
                for row in page.data
            ]
            if not page.info.more_records or not page.data:
                return found, True
        return found, False

    def _deleted(self, since: str, number: int) -> DeletedPage | None:
        """A page of deletions; None where the list leads no further."""
        params = {"type": "all", "page": number, "per_page": PAGE}
        headers = {"If-Modified-Since": since}
        try:
            return self._client.read("GET", f"{self._object}/deleted", params=params, headers=headers).read(DeletedPage)
        except ConnectorError as error:
            if error.message.startswith(_BOOK_IS_FULL):
                return None
            raise

    # Records

    def _records(
        self, rows: Sequence[Mapping[str, Any]], edits: Mapping[str, Mapping[str, Edit]] | None = None
    ) -> list[RemoteRecord]:
        return [self._record(row, (edits or {}).get(str(row["id"]), {})) for row in rows]

    def _record(self, row: Mapping[str, Any], edits: Mapping[str, Edit]) -> RemoteRecord:
        return RemoteRecord(
            ref=RemoteRef(self._object, str(row["id"])),
            fields={name: decode(self._columns.get(name), row.get(name)) for name in self._fields},
            emails=tuple(str(row[name]) for name in _EMAILS if row.get(name)),
            changed_at=self._changed_at(row),
            changed_by=self._writer(row.get("Modified_By")),
            successor=_successor(row),
            changed_who=self._name(row.get("Modified_By")),
            edits=edits,
        )

    def _changed_at(self, row: Mapping[str, Any]) -> datetime:
        """Of every record: without it no read knows where it stands."""
        try:
            return parse_datetime(row["Modified_Time"])
        except (KeyError, TypeError, ValueError) as error:
            text = f"unexpected answer: record {row['id']} has no Modified_Time that can be read"
            raise TransientError(text, where=self._object) from error

    def _name(self, user: Any) -> str | None:
        """A query tells ids only; ours needs no name."""
        if not isinstance(user, Mapping) or not user.get("id"):
            return None
        id = str(user["id"])
        return str(user.get("name") or (id if id == self._client.user_id() else self._client.user_name(id)))

    def _writer(self, user: Any) -> Writer:
        id = user.get("id") if isinstance(user, Mapping) else None
        if not id:
            return "unknown"
        return "us" if str(id) == self._client.user_id() else "person"


def _after(position: Position) -> str:
    """Criteria come in pairs: more than two without brackets are refused (COQL limitations, read 2026-11)."""
    if not position.at:
        return f"Modified_Time >= '{position.from_time}'"
    at = position.at
    return f"(Modified_Time > '{at}' or (Modified_Time = '{at}' and id > '{position.id}'))"


def _successor(row: Mapping[str, Any]) -> RemoteRef | None:
    """A converted lead lives on as its contact."""
    contact = row.get(_SUCCESSOR)
    if not row.get(_CONVERTED) or not isinstance(contact, Mapping) or not contact.get("id"):
        return None
    return RemoteRef("Contacts", str(contact["id"]))
