"""Reading back what changed, by SystemModstamp.

SystemModstamp moves on every change and is indexed (SOQL guide). Rows become visible only when their transaction ends,
some time after the stamp they carry, so every read begins `OVERLAP` before the last one: repeats, never gaps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from syncline.errors import CursorExpiredError, TransientError
from syncline.model import ChangePage, Edit, Field, RemoteRecord, RemoteRef, Value, Writer
from syncline_salesforce.bulk_reading import bulk_rows
from syncline_salesforce.client import Client
from syncline_salesforce.erased import SWEEP_EVERY, erased
from syncline_salesforce.field_history import FieldHistory, HistoryObject
from syncline_salesforce.payloads import QueryPage
from syncline_salesforce.values import decode, decode_cell, parse_datetime, quoted, soql_datetime

__all__ = ["OVERLAP", "Bulk", "Described", "Position", "read_changes", "soql"]

OVERLAP: Final = timedelta(minutes=5)
"""How late a committed row may appear (vendor sheet §7.1; unverified, so generous)."""

_ALWAYS: Final = (
    "Id",
    "SystemModstamp",
    "LastModifiedById",
    "LastModifiedBy.Name",
    "LastModifiedBy.UserType",
    "IsDeleted",
)
_PROGRAM: Final = "AutomatedProcess"
"""User.UserType of the user as whom scheduled flows and platform events run (its code is seen to ask for it; which
others there are could not be verified)."""
_FLAGS: Final = ("IsDeleted", "IsConverted")
_OF_OBJECT: Final[Mapping[str, tuple[str, ...]]] = {
    "Lead": ("Email", "MasterRecordId", "IsConverted", "ConvertedContactId"),
    "Contact": ("Email", "MasterRecordId"),
    "Account": ("MasterRecordId",),
}


@dataclass(frozen=True, slots=True)
class Position:
    """Where a read stands, kept as a small JSON text.

    Everything changed before `since` is known (empty: nothing is), and everything erased before `swept`. A read that
    began at `began` has got as far as the record `id` with the stamp `at`; it goes on after it, and its end becomes the
    next `since`.

    Whether later pages show a record as it was when the query began could not be verified. So a stamp from about then
    (`OVERLAP`) may be out of order, and is no position: it would skip the records that had not come yet.
    """

    since: str = ""
    began: str = ""
    at: str = ""
    id: str = ""
    swept: str = ""

    @classmethod
    def of(cls, cursor: str | None) -> Position:
        """CursorExpiredError when the text is not one of ours: the host then reads everything again."""
        if cursor is None:
            return cls()
        try:
            found = cls(**json.loads(cursor))
            for text in (found.since, found.began, found.at, found.swept):
                if text:
                    parse_datetime(text)
        except (TypeError, ValueError) as error:
            raise CursorExpiredError(f"not a position of this connector: {cursor[:80]!r}") from error
        return found

    def after(self, rows: Sequence[Mapping[str, Any]]) -> Position:
        """The position after these rows of an ordered page."""
        settled = parse_datetime(self.began) - OVERLAP
        row = next((r for r in reversed(rows) if parse_datetime(r["SystemModstamp"]) < settled), None)
        return self if row is None else replace(self, at=row["SystemModstamp"], id=row["Id"])

    @property
    def due_for_sweep(self) -> bool:
        """Whether what was erased is to be asked for; not by the first read, which has nothing to lose."""
        since = self.swept or self.since
        return bool(since) and parse_datetime(self.began) - parse_datetime(since) >= SWEEP_EVERY

    def end(self, swept: datetime | None = None) -> Position:
        """Where the next read begins when this one has come to its end; `swept` if what was erased was asked for."""
        known = soql_datetime(swept) if swept else (self.swept or self.since) if self.since else self.began
        return Position(since=self.began, swept=known)

    def text(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v})


def read_changes(
    client: Client,
    object: str,
    fields: Sequence[str],
    cursor: str | None,
    describe: Callable[[], Described],
    bulk: Bulk,
    programs: Sequence[str] = (),
) -> Iterator[ChangePage]:
    """Pages of changed records. `describe` is asked for types only when there is a record to convert.

    `programs` are users behind which no person sits.
    """
    position = Position.of(cursor)
    names = tuple(dict.fromkeys((*_ALWAYS, *_OF_OBJECT.get(object, ()), *fields)))
    reader = _Reader(object, tuple(fields), client, describe, position.since, frozenset(id[:15] for id in programs))
    page = client.query(soql(object, names, position), deleted=True)
    if not position.began:
        position = replace(position, began=soql_datetime(client.server_time()))
    if not position.since and not position.at and bulk.pays_for(page.total):
        for rows in bulk_rows(client, object, soql(object, names, Position()), bulk.pause):
            yield ChangePage(reader.records_of_cells(rows), None)
        yield ChangePage((), position.end().text())
        return
    asked_again = None
    while not page.done:
        position = position.after(page.records)
        yield ChangePage(reader.records(page), position.text())
        try:
            page = client.query_more(page.next_url or "")
        except CursorExpiredError as error:
            # The vendor has forgotten its place; we ask again from ours, as long as that brings us on.
            if position == asked_again:
                raise TransientError(f"{object}: the vendor forgets where we are between two pages") from error
            asked_again = position
            page = client.query(soql(object, names, position), deleted=True)
    yield from _last(client, object, position, reader.records(page))


def _last(client: Client, object: str, position: Position, records: list[RemoteRecord]) -> Iterator[ChangePage]:
    """The last page, and once a day what was erased."""
    swept = None
    if position.due_for_sweep:
        since = parse_datetime(position.swept or position.since) - OVERLAP
        gone, swept = erased(client, object, since, parse_datetime(position.began))
        records += gone
    yield ChangePage(records, position.end(swept).text())


@dataclass(frozen=True, slots=True)
class Bulk:
    """When a whole read goes through the Bulk API: from `rows` on (None: never). `pause` waits for the job."""

    rows: int | None
    pause: Callable[[float], None]

    def pays_for(self, total: int) -> bool:
        return self.rows is not None and total >= self.rows


@dataclass(frozen=True, slots=True)
class Described:
    """What a describe says that reading needs: the fields, and the history object if the org keeps one."""

    fields: Sequence[Field]
    history: HistoryObject | None = None


def soql(object: str, names: Sequence[str], position: Position) -> str:
    """The query for everything after a position, in the order in which it can be resumed."""
    conditions = []
    if position.at:
        stamp = soql_datetime(parse_datetime(position.at))
        after = f"(SystemModstamp = {stamp} AND Id > {quoted(position.id)})"
        conditions.append(f"(SystemModstamp > {stamp} OR {after})")
    elif position.since:
        conditions.append(f"SystemModstamp > {soql_datetime(parse_datetime(position.since) - OVERLAP)}")
    if not position.since:
        conditions.append(_alive(names))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(names)} FROM {object}{where} ORDER BY SystemModstamp, Id"  # noqa: S608  # values are quoted


def _alive(names: Sequence[str]) -> str:
    """The first read wants only those tombstones that lead on: a lead may have been converted into a merged contact."""
    return "(IsDeleted = FALSE OR MasterRecordId != NULL)" if "MasterRecordId" in names else "IsDeleted = FALSE"


class _Reader:
    """Turns rows of one object into RemoteRecords."""

    def __init__(
        self,
        object: str,
        fields: tuple[str, ...],
        client: Client,
        describe: Callable[[], Described],
        since: str,
        programs: frozenset[str],
    ) -> None:
        self._object = object
        self._fields = fields
        self._client = client
        self._describe = describe
        self._since = since
        self._programs = programs
        self._types: Mapping[str, Field] | None = None
        self._history: FieldHistory | None = None

    def records(self, page: QueryPage) -> list[RemoteRecord]:
        if page.records:
            self._learn_types()
        edits = self._history.edits(page.records) if self._history else {}
        return [
            self._record(row, {n: self._value(n, row.get(n)) for n in self._fields}, edits.get(row["Id"], {}))
            for row in page.records
        ]

    def _learn_types(self) -> None:
        """And whether there is a history. A first read has nothing to lose by a change before it: none is read."""
        if self._types is None:
            found = self._describe()
            self._types = {f.name: f for f in found.fields}
            if found.history is not None and self._since:
                since = parse_datetime(self._since) - OVERLAP
                self._history = FieldHistory(self._client, found.history, self._fields, since, self._who)

    def records_of_cells(self, rows: Sequence[Mapping[str, str]]) -> list[RemoteRecord]:
        """Of a bulk result, where everything is text."""
        if rows:
            self._learn_types()
        types = self._types or {}
        plain = [{name: cell or None for name, cell in row.items()} for row in rows]
        flags = [{flag: row.get(flag) == "true" for flag in _FLAGS} for row in rows]
        return [
            self._record({**row, **flag}, {n: decode_cell(types.get(n), row[n] or "") for n in self._fields}, {})
            for row, flag in zip(plain, flags, strict=True)
        ]

    def _record(self, row: Mapping[str, Any], values: Mapping[str, Value], edits: Mapping[str, Edit]) -> RemoteRecord:
        deleted = bool(row.get("IsDeleted"))
        by, who = self._who(row, "LastModifiedBy")
        return RemoteRecord(
            ref=RemoteRef(self._object, row["Id"]),
            fields={} if deleted else values,
            emails=() if deleted or not row.get("Email") else (row["Email"],),
            changed_at=_moment(row.get("SystemModstamp")),
            changed_by=by,
            deleted=deleted,
            successor=self._successor(row),
            changed_who=who,
            edits={} if deleted else edits,
        )

    def _value(self, name: str, raw: Any) -> Value:
        return decode((self._types or {}).get(name), raw)

    def _who(self, row: Mapping[str, Any], role: str) -> tuple[Writer, str | None]:
        """Who did it, and their name. Of JSON a user is an object of its own, of CSV a column for each field.

        Ids compare on their first 15 characters: the last three are a checksum that is sometimes left off.
        """
        id = row.get(f"{role}Id")
        user = row.get(role) or {key: row.get(f"{role}.{key}") for key in ("Name", "UserType")}
        name = user.get("Name") or id
        if not id:
            return "unknown", name
        if id[:15] == self._client.token.user_id[:15]:
            return "us", name
        return ("system" if user.get("UserType") == _PROGRAM or id[:15] in self._programs else "person"), name

    def _successor(self, row: Mapping[str, Any]) -> RemoteRef | None:
        if row.get("IsDeleted") and row.get("MasterRecordId"):
            return RemoteRef(self._object, row["MasterRecordId"])
        if row.get("IsConverted") and row.get("ConvertedContactId"):
            return RemoteRef("Contact", row["ConvertedContactId"])
        return None


def _moment(text: str | None) -> datetime | None:
    return parse_datetime(text) if text else None
