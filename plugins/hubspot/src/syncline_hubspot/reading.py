"""Reading back what changed.

The first read pages through all records in the order of their ids. Later ones search by the change stamp, always from
the last stamp seen and never by offset: a search ends at 10,000 results, and a record that changes while we read would
shift every offset behind it. Where a whole page shares one stamp, that stamp is read in the order of ids.

A search shows a change seconds to minutes late, so every read begins `OVERLAP` before the last one: repeats, never
gaps. Searches know neither deleted records nor who changed what: the archived are paged through, and the history of the
fields comes with a read by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Final

from syncline.errors import CursorExpiredError
from syncline.model import ChangePage, Edit, Field, RemoteRecord, RemoteRef, Writer
from syncline_hubspot.client import Client
from syncline_hubspot.payloads import Page, Record, Version
from syncline_hubspot.values import decode, milliseconds, moment_of, split_several

__all__ = ["OVERLAP", "Position", "read_changes"]

OVERLAP: Final = timedelta(minutes=5)
"""How late a change may appear in a search (vendor sheet §10: seconds to minutes)."""

_PAGE: Final = 100
_HISTORY_PAGE: Final = 50
"""Records a call may carry with their history: fewer than without (client library's reference); 50 as observed by
others, unverified."""
_SEARCH_PAGE: Final = 200
_LONGEST_REST: Final = timedelta(hours=6)

_EMAIL: Final = ("email", "hs_additional_emails")
_MERGED: Final = "hs_merged_object_ids"
_CAUTION: Final[tuple[Writer, ...]] = ("person", "system", "unknown", "us")
_PERSONS: Final = frozenset(
    {"CRM_UI", "CRM_UI_BULK_ACTION", "CONTACTS", "CONTACTS_WEB", "DEALS", "SIDEKICK", "MOBILE_IOS", "MOBILE_ANDROID"}
)
"""Sources behind which a person sits; their id mostly begins with `userId:` (vendor sheet §10)."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a read stands, kept as a small JSON text. Times are milliseconds.

    Everything changed before `since` is known (0: nothing is). A read that began at `began` goes on after the listed
    record `after`, or with the stamp `at`; `id` is how far the records of just that stamp are read. Deletions are known
    up to `graves`, and took `pages` to read.
    """

    since: int = 0
    began: int = 0
    after: str = ""
    at: int = 0
    id: str = ""
    graves: int = 0
    pages: int = 0

    @classmethod
    def of(cls, cursor: str | None) -> Position:
        """CursorExpiredError when the text is not one of ours: the host then reads everything again."""
        if cursor is None:
            return cls()
        try:
            found = cls(**json.loads(cursor))
        except (TypeError, ValueError) as error:
            raise CursorExpiredError(f"not a position of this connector: {cursor[:80]!r}") from error
        if [type(value) for value in asdict(found).values()] != [type(value) for value in asdict(cls()).values()]:
            raise CursorExpiredError(f"not a position of this connector: {cursor[:80]!r}")
        return found

    def text(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    def end(self) -> Position:
        """The position after the whole read."""
        return Position(since=self.began, graves=self.graves, pages=self.pages)


def read_changes(
    client: Client, object: str, fields: Sequence[str], cursor: str | None, describe: Callable[[], Sequence[Field]]
) -> Iterator[ChangePage]:
    """Pages of changed records. `describe` is asked for types only when there is a record to convert."""
    position = Position.of(cursor)
    reader = _Reader(client, object, fields, describe)
    return reader.changed(position) if position.since else reader.everything(position)


class _Reader:
    """One read of one object."""

    def __init__(
        self, client: Client, object: str, fields: Sequence[str], describe: Callable[[], Sequence[Field]]
    ) -> None:
        self._client = client
        self._object = object
        self._fields = tuple(fields)
        self._describe = describe
        self._types: Mapping[str, Field] | None = None
        contacts = object == "contacts"
        self._stamp = "lastmodifieddate" if contacts else "hs_lastmodifieddate"
        self._asked = tuple(dict.fromkeys((*fields, *(_EMAIL if contacts else ()), _MERGED, self._stamp)))

    # The first read

    def everything(self, position: Position) -> Iterator[ChangePage]:
        """Every record there is, in the order of their ids; what changes meanwhile is found by the next read."""
        size = _HISTORY_PAGE if self._fields else _PAGE
        more: str | None = position.after or None
        while True:
            page = self._client.page(self._object, fields=self._asked, history=self._fields, limit=size, after=more)
            if not position.began:
                position = replace(position, began=self._now(), graves=self._now())
            more = page.after
            position = replace(position, after=more) if more else position.end()
            yield ChangePage(self._records(page.results), position.text())
            if not more:
                return

    def _now(self) -> int:
        return milliseconds(self._client.server_time())

    # Later reads

    def changed(self, position: Position) -> Iterator[ChangePage]:
        """The deleted first, then what has changed of the living."""
        if not position.began and self._graves_are_due(position):
            position = yield from self._deleted(position)
        yield from self._searched(position)

    def _graves_are_due(self, position: Position) -> bool:
        """There is no filter for them: who deletes thousands has them looked for once in as many minutes as pages."""
        rest = min(timedelta(minutes=max(0, position.pages - 1)), _LONGEST_REST)
        return milliseconds(self._client.our_time()) - position.graves >= _length(rest)

    def _deleted(self, position: Position) -> Generator[ChangePage, None, Position]:
        """Tombstones since the last look; the pages carry no cursor, because only the whole walk is a position."""
        began, pages, after = 0, 0, None
        while True:
            page = self._client.page(self._object, fields=(), limit=_PAGE, after=after, archived=True)
            began, pages, after = began or self._now(), pages + 1, page.after
            fresh = [r for r in page.results if _died(r) >= position.graves - _length(OVERLAP)]
            if fresh:
                yield ChangePage(self._graves(fresh), None)
            if after is None:
                return replace(position, began=began, graves=began, pages=pages)

    def _searched(self, position: Position) -> Iterator[ChangePage]:
        seen: frozenset[str] = frozenset()
        if not position.at:
            position = replace(position, at=position.since - _length(OVERLAP))
        while True:
            page = self._search(position)
            if not position.began:
                position = replace(position, began=self._now())
            fresh = [r for r in page.results if r.id not in seen]
            position, seen = self._after(position, page, seen)
            yield ChangePage(self._in_full(fresh), position.text())
            if not position.at:
                return

    def _search(self, position: Position) -> Page:
        """What has changed from a stamp on; or the rest of those that share it, in the order of their ids."""
        stamp = {"property_name": self._stamp, "value": str(position.at)}
        fields = (self._stamp,) if self._fields else self._asked
        if not position.id:
            return self._client.search(self._object, [stamp | {"operator": "GTE"}], self._stamp, fields, _SEARCH_PAGE)
        rest = {"property_name": "hs_object_id", "operator": "GT", "value": position.id}
        return self._client.search(
            self._object, [stamp | {"operator": "EQ"}, rest], "hs_object_id", fields, _SEARCH_PAGE
        )

    def _after(self, position: Position, page: Page, seen: frozenset[str]) -> tuple[Position, frozenset[str]]:
        """Where to go on, and the records there that have come already; `end` when nothing is left."""
        nothing: frozenset[str] = frozenset()
        if position.id:
            if page.after is None:
                return replace(position, at=position.at + 1, id=""), nothing
            return replace(position, id=page.results[-1].id), seen
        if page.after is None:
            return position.end(), nothing
        last = self._stamp_of(page.results[-1])
        if last <= position.at:
            return replace(position, id="0"), frozenset(r.id for r in page.results)  # a whole page of one stamp
        return replace(position, at=last), frozenset(r.id for r in page.results if self._stamp_of(r) == last)

    def _stamp_of(self, record: Record) -> int:
        return milliseconds(moment_of(record.properties.get(self._stamp) or ""))

    # Records

    def _in_full(self, found: Sequence[Record]) -> list[RemoteRecord]:
        """What a search found, with its fields and their history; those that are gone by now are left out."""
        if not self._fields:
            return self._records(found)
        records: list[RemoteRecord] = []
        for start in range(0, len(found), _HISTORY_PAGE):
            ids = [r.id for r in found[start : start + _HISTORY_PAGE]]
            records += self._records(self._client.read(self._object, ids, self._asked, self._fields).results)
        return records

    def _records(self, found: Sequence[Record]) -> list[RemoteRecord]:
        if found and self._fields and self._types is None:
            self._types = {f.name: f for f in self._describe()}
        return [made for record in found for made in (*self._merged(record), self._record(record))]

    def _record(self, record: Record) -> RemoteRecord:
        newest = {name: record.history[name][0] for name in self._fields if record.history.get(name)}
        latest = max((version.timestamp for version in newest.values()), default=None)
        by, who = self._who([version for version in newest.values() if version.timestamp == latest])
        return RemoteRecord(
            ref=RemoteRef(self._object, record.id),
            fields={n: decode((self._types or {}).get(n), record.properties.get(n)) for n in self._fields},
            emails=_emails(record),
            # Not the record's own stamp: HubSpot moves that for every visit and every opened message.
            changed_at=latest or record.updated_at,
            changed_by=by,
            changed_who=who,
            edits={name: Edit(v.timestamp, self._writer(v), v.who) for name, v in newest.items()},
        )

    def _who(self, latest: Sequence[Version]) -> tuple[Writer, str | None]:
        """Who wrote last, and what HubSpot calls them. Of several at one moment we come last: what a person did is not
        to be taken for ours."""
        writers = {self._writer(version): version.who for version in latest}
        by: Writer = next((w for w in _CAUTION if w in writers), "unknown")
        return by, writers.get(by)

    def _merged(self, record: Record) -> list[RemoteRecord]:
        """The records that live on as this one; their ids are found nowhere else."""
        survivor = RemoteRef(self._object, record.id)
        return [
            RemoteRecord(
                RemoteRef(self._object, id), {}, changed_at=record.updated_at, deleted=True, successor=survivor
            )
            for id in split_several(record.properties.get(_MERGED))
            if id != record.id
        ]

    def _graves(self, archived: Sequence[Record]) -> list[RemoteRecord]:
        """Tombstones, with the record they live on as where they were merged: who reads by their id is given that.

        Its own change may have been told long before: a bare tombstone would overtake what it said.
        """
        living = self._client.read(self._object, [r.id for r in archived], (_MERGED,)).results
        survivors = {
            id: RemoteRef(self._object, r.id) for r in living for id in split_several(r.properties.get(_MERGED))
        }
        return [
            RemoteRecord(
                RemoteRef(self._object, r.id),
                {},
                changed_at=r.archived_at,
                deleted=True,
                successor=survivors.get(r.id),
            )
            for r in archived
        ]

    def _writer(self, version: Version) -> Writer:
        """Who wrote a value: HubSpot keeps the app, or the user, beside it."""
        if version.source_type == "INTEGRATION":
            app = self._client.app()
            return "unknown" if app is None else "us" if version.source_id == app else "system"
        by_person = version.source_type in _PERSONS or (version.source_id or "").startswith("userId:")
        return "person" if by_person else "system"


def _emails(record: Record) -> tuple[str, ...]:
    """The primary address first, then the secondary ones."""
    return tuple(dict.fromkeys(a for name in _EMAIL for a in split_several(record.properties.get(name))))


def _died(record: Record) -> int:
    moment = record.archived_at or record.updated_at
    return milliseconds(moment) if moment else 0


def _length(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)
