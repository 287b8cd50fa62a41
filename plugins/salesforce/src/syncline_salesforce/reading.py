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
from syncline.model import ChangePage, Field, RemoteRecord, RemoteRef, Value, Writer
from syncline_salesforce.client import Client
from syncline_salesforce.payloads import QueryPage
from syncline_salesforce.values import decode, parse_datetime, quoted, soql_datetime

__all__ = ["OVERLAP", "Position", "read_changes", "soql"]

OVERLAP: Final = timedelta(minutes=5)
"""How late a committed row may appear (vendor sheet §7.1; unverified, so generous)."""

_ALWAYS: Final = ("Id", "SystemModstamp", "LastModifiedById", "IsDeleted")
_OF_OBJECT: Final[Mapping[str, tuple[str, ...]]] = {
    "Lead": ("Email", "MasterRecordId", "IsConverted", "ConvertedContactId"),
    "Contact": ("Email", "MasterRecordId"),
    "Account": ("MasterRecordId",),
}


@dataclass(frozen=True, slots=True)
class Position:
    """Where a read stands, kept as a small JSON text.

    Everything changed before `since` is known (empty: nothing is). A read that began at `began` has got as far as the
    record `id` with the stamp `at`; it goes on after it, and its end becomes the next `since`.

    Whether later pages show a record as it was when the query began could not be verified. So a stamp from about then
    (`OVERLAP`) may be out of order, and is no position: it would skip the records that had not come yet.
    """

    since: str = ""
    began: str = ""
    at: str = ""
    id: str = ""

    @classmethod
    def of(cls, cursor: str | None) -> Position:
        """CursorExpiredError when the text is not one of ours: the host then reads everything again."""
        if cursor is None:
            return cls()
        try:
            found = cls(**json.loads(cursor))
            for text in (found.since, found.began, found.at):
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

    def text(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v})


def read_changes(
    client: Client, object: str, fields: Sequence[str], cursor: str | None, describe: Callable[[], Sequence[Field]]
) -> Iterator[ChangePage]:
    """Pages of changed records. `describe` is asked for types only when there is a record to convert."""
    position = Position.of(cursor)
    names = tuple(dict.fromkeys((*_ALWAYS, *_OF_OBJECT.get(object, ()), *fields)))
    reader = _Reader(object, tuple(fields), client, describe)
    page = client.query(soql(object, names, position), deleted=True)
    if not position.began:
        position = replace(position, began=soql_datetime(client.server_time()))
    asked_again = None
    while True:
        records = reader.records(page)
        if page.done:
            yield ChangePage(records, Position(since=position.began).text())
            return
        position = position.after(page.records)
        yield ChangePage(records, position.text())
        try:
            page = client.query_more(page.next_url or "")
        except CursorExpiredError as error:
            # The vendor has forgotten its place; we ask again from ours, as long as that brings us on.
            if position == asked_again:
                raise TransientError(f"{object}: the vendor forgets where we are between two pages") from error
            asked_again = position
            page = client.query(soql(object, names, position), deleted=True)


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
        self, object: str, fields: tuple[str, ...], client: Client, describe: Callable[[], Sequence[Field]]
    ) -> None:
        self._object = object
        self._fields = fields
        self._client = client
        self._describe = describe
        self._types: Mapping[str, Field] | None = None

    def records(self, page: QueryPage) -> list[RemoteRecord]:
        if page.records and self._types is None:
            self._types = {f.name: f for f in self._describe()}
        return [self._record(row) for row in page.records]

    def _record(self, row: Mapping[str, Any]) -> RemoteRecord:
        deleted = bool(row.get("IsDeleted"))
        return RemoteRecord(
            ref=RemoteRef(self._object, row["Id"]),
            fields={} if deleted else {n: self._value(n, row.get(n)) for n in self._fields},
            emails=() if deleted or not row.get("Email") else (row["Email"],),
            changed_at=_moment(row.get("SystemModstamp")),
            changed_by=self._writer(row.get("LastModifiedById")),
            deleted=deleted,
            successor=self._successor(row),
        )

    def _value(self, name: str, raw: Any) -> Value:
        return decode((self._types or {}).get(name), raw)

    def _writer(self, user: str | None) -> Writer:
        """Ids compare on their first 15 characters: the last three are a checksum that is sometimes left off."""
        if not user:
            return "unknown"
        return "us" if user[:15] == self._client.token.user_id[:15] else "person"

    def _successor(self, row: Mapping[str, Any]) -> RemoteRef | None:
        if row.get("IsDeleted") and row.get("MasterRecordId"):
            return RemoteRef(self._object, row["MasterRecordId"])
        if row.get("IsConverted") and row.get("ConvertedContactId"):
            return RemoteRef("Contact", row["ConvertedContactId"])
        return None


def _moment(text: str | None) -> datetime | None:
    return parse_datetime(text) if text else None
