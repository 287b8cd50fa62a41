"""What others do in the CRM, as events: a field that is theirs changed, a lead was converted.

The mirror notices, in the transaction in which it learns of it; the events go the way of all others, through the inbox.
A record's first read is a baseline and no news. Of names, phone numbers and the like only the fact is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from syncline.errors import RecordError
from syncline.model import (
    PROFILE_ATTRIBUTES,
    Edit,
    Event,
    Identifier,
    RawRecord,
    RemoteRecord,
    RemoteRef,
    Value,
    event_id,
    microseconds,
)
from syncline.store import crm, inbox, runs
from syncline.store.database import Database
from syncline.store.edits import edit_of, told_apart
from syncline.store.profiles import first_identifiers
from syncline.store.schema import BY_POLL
from syncline.store.values import load
from syncline.sync.ingest import Fate, Ingest
from syncline.sync.merge import same
from syncline.sync.target import FieldMap, Target

__all__ = ["CONVERTED", "Changes", "note", "settle", "stream_of"]

CONVERTED: Final = "converted"
"""Stands where a field does: the record lives on as one of another object."""
_RUN: Final = "mirror"  # stands where other records name the run that read them
_AT_ONCE: Final = 1000
_Change = tuple[RemoteRef, str, Value, Value, Edit]
"""Record, field, old, new, and who did it."""


def stream_of(connection_name: str) -> str:
    """The name under which a CRM's changes wait and are logged: its own events, if it is a source, are another's."""
    return f"{connection_name}.changes"


def note(connection: Connection, target: Target, records: Sequence[RemoteRecord], now: datetime) -> None:
    """Let what is new in these records wait in the inbox, before the mirror holds them."""
    watched = {mapped.name: mapped for mapped in target.fields if mapped.to is not None or mapped.consent is not None}
    known = crm.mirror(connection, target.connection, [record.ref for record in records])
    before = {ref: item.record for ref, item in known.items()}
    read = [(before[record.ref], record) for record in records if record.ref in before]
    changes = [change for old, new in read for change in _news(watched, old, told_apart(new, old, now))]
    if any(name in target.opt_outs for _, name, *_ in changes):
        unheard = _unheard_ticks(connection, target)
        changes = [change for change in changes if change[:2] not in unheard]
    if not changes:
        return
    owners = crm.owners(connection, target.connection, {change[0] for change in changes})
    names = first_identifiers(connection, set(owners.values()))
    found = [
        _raw(target, watched, change, names[owners[change[0]]], now)
        for change in changes
        if owners.get(change[0]) in names
    ]
    waiting = stream_of(target.connection)
    parcels = inbox.pack(waiting, found)
    inbox.put(connection, waiting, parcels, run_id=_RUN, at_us=microseconds(now), way=BY_POLL)


def _news(watched: Mapping[str, FieldMap], before: RemoteRecord, now: RemoteRecord) -> Iterator[_Change]:
    """What changed in one record. The mirror knows our own writes already, but for those whose answer was lost."""
    if before.deleted:
        return
    if now.successor is not None and now.successor.object != now.ref.object:
        yield now.ref, CONVERTED, None, now.successor.object, Edit(now.changed_at, now.changed_by)
    if now.deleted:
        return
    for name in watched:
        if name not in before.fields or name not in now.fields or same(before.fields[name], now.fields[name]):
            continue
        yield now.ref, name, before.fields[name], now.fields[name], edit_of(now, name)


def _unheard_ticks(connection: Connection, target: Target) -> set[tuple[RemoteRef, str]]:
    """The opt-outs that we passed on and heard no answer of: they look like somebody else's."""
    sent = (row for rows in runs.unanswered(connection, target.connection).values() for row in rows)
    payloads = ((row.object, load(row.payload)) for row in sent if row.operation == "upsert")
    return {
        (RemoteRef(object_name, str(payload["id"])), name)
        for object_name, payload in payloads
        for name in target.one_way & payload["fields"].keys()
    }


def _raw(
    target: Target, watched: Mapping[str, FieldMap], change: _Change, who: tuple[str, str], now: datetime
) -> RawRecord:
    ref, name, old, new, edit = change
    at = edit.at or now
    told = name == CONVERTED or not _personal(watched[name])
    payload = {
        "id": event_id("crm_change", target.connection, ref.object, ref.id, name, at.isoformat(), _text(new) or ""),
        "who": list(who),
        "at": at.isoformat(),
        "object": ref.object,
        "field": name,
        **{key: text for key, value in (("old", old), ("new", new)) if told and (text := _text(value)) is not None},
        "changed_by": edit.by,
    }
    return RawRecord(ref.object, f"{ref.id}/{name}", payload)


def _personal(mapped: FieldMap) -> bool:
    return mapped.to in PROFILE_ATTRIBUTES


def _text(value: Value) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


class Changes:
    """Makes events of what `note` has let wait, as a source's plugin does of its records."""

    kind = "crm_change"

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        payload = raw.payload
        try:
            named = ("object", "field", "old", "new", "changed_by")
            yield Event(
                id=payload["id"],
                type="crm_change",
                occurred_at=datetime.fromisoformat(payload["at"]),
                identifiers=(Identifier(*payload["who"]),),
                properties={key: payload[key] for key in named if key in payload},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{raw.key}: {type(error).__name__}: {error}") from error


def settle(database: Database, connection_name: str, ingest: Ingest) -> int:
    """Store the events of all that waits; how many are new."""
    stored = 0
    while True:
        with database.read() as connection:
            rows = inbox.waiting(connection, stream_of(connection_name), _AT_ONCE)
        if not rows:
            return stored
        stored += sum(fate is Fate.STORED for _, fate in ingest.settle(rows).fates)
