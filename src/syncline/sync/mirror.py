"""Reading the CRM: what its records hold now, kept as a mirror that only changes are read into."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from syncline.errors import CursorExpiredError
from syncline.model import ChangePage, RemoteRecord, RemoteRef, Value, alike, microseconds, same
from syncline.sdk import Sink
from syncline.sdk.config import ConnectorConfig
from syncline.store import crm, cursors, runs
from syncline.store.database import Database
from syncline.store.runs import OutboxRow
from syncline.store.values import load
from syncline.sync import crm_events
from syncline.sync.opt_outs import Written, note_told
from syncline.sync.plan import BY_ID
from syncline.sync.progress import Progress
from syncline.sync.retry import Retry
from syncline.sync.target import Target

__all__ = ["refresh", "settle_unanswered"]


def refresh(
    database: Database,
    target: Target,
    sink: Sink[ConnectorConfig],
    *,
    retry: Retry,
    now: datetime,
    progress: Progress,
) -> int:
    """Read what changed since the last time into the mirror; returns how many records came.

    With other fields than the last time it starts from the beginning: the mirror does not hold them.
    """
    return sum(_refresh_object(database, target, sink, name, retry, now, progress) for name in target.objects)


def _refresh_object(
    database: Database,
    target: Target,
    sink: Sink[ConnectorConfig],
    object_name: str,
    retry: Retry,
    now: datetime,
    progress: Progress,
) -> int:
    fields = target.read_fields(object_name)
    stream = f"mirror:{object_name}"
    read = 0
    whole = _Whole()

    def take(page: ChangePage, cursor: str | None) -> None:
        nonlocal read
        _store(database, target, stream, fields, page.records, cursor, now)
        read += len(page.records)
        progress.advance(f"read {target.connection}", len(page.records))

    def everything() -> None:
        whole.begun = True
        if whole.at is None:
            with database.read() as connection:
                whole.unseen = crm.known_refs(connection, target.connection, object_name)
        for page in sink.changes(object_name, fields, whole.at):
            take(page, None)
            whole.at = page.cursor or whole.at
            whole.unseen -= {record.ref.id for record in page.records}
        # Kept only now: in another process a read that was cut off begins again, or it would miss deletions before it.
        _store(database, target, stream, fields, (), whole.at, now)

    def attempt() -> None:
        with database.read() as connection:
            cursor = _position(connection, target.connection, stream, fields)
        try:
            if cursor is None or whole.begun:
                everything()
                return
            for page in sink.changes(object_name, fields, cursor):
                take(page, page.cursor)
        except CursorExpiredError:
            whole.at = None
            everything()

    retry(attempt)
    if whole.unseen:
        with database.write() as connection:
            crm.note_deleted(connection, target.connection, object_name, whole.unseen)
    return read


@dataclass(slots=True)
class _Whole:
    """A read from the very beginning: where it has got to, so that weather does not send it back to the start.

    `unseen` are the records known before that have not come yet.
    """

    begun: bool = False
    at: str | None = None
    unseen: set[str] = field(default_factory=set)


def _position(connection: Connection, name: str, stream: str, fields: Sequence[str]) -> str | None:
    """Where reading goes on; None, the beginning, when the mirror was last read with other fields.

    Also when it was read with more: the rows read since then lack what was left out.
    """
    kept = cursors.load(connection, name, stream)
    if kept is None:
        return None
    position = json.loads(kept)
    return str(position["cursor"]) if position["fields"] == list(fields) else None


def settle_unanswered(database: Database, target: Target, sink: Sink[ConnectorConfig], now: datetime) -> None:
    """Acknowledge what earlier runs wrote without hearing the answer: where the CRM now holds just that.

    Otherwise a value of ours would look like somebody else's ever after. Reads the mirror, so `refresh` comes first.
    """
    name = target.connection
    with database.read() as connection:
        lost = runs.unanswered(connection, name)
    for run_id, rows in lost.items():
        with database.write() as connection:
            arrived = _arrived(connection, name, [row for row in rows if row.operation == "upsert"])
            crm.acknowledge(connection, name, {ref: fields for _, ref, fields in arrived}, run_id, microseconds(now))
            note_told(connection, target, sink, run_id, arrived)
            runs.give_up_waiting(connection, name, run_id)


def _arrived(connection: Connection, name: str, rows: list[OutboxRow]) -> list[Written]:
    """The fields that hold what a row wanted and did not hold it before."""
    keyed = crm.mirror_by_key(connection, name, [row.key for row in rows])
    by_id = {row.id: RemoteRef(row.object, load(row.payload)["id"]) for row in rows if row.match == BY_ID}
    addressed = crm.mirror(connection, name, by_id.values())
    found: dict[RemoteRef, Written] = {}
    for row in rows:
        payload, before = load(row.payload), load(row.before or "{}")
        items = [addressed[by_id[row.id]]] if by_id.get(row.id) in addressed else []
        for item in (*keyed.get(row.key, ()), *items):
            ref = item.record.ref
            if ref.object == row.object:
                arrived = {
                    field: value
                    for field, value in payload["fields"].items()
                    if _took(item.record, field, value) and not same(before.get(field), value)
                }
                found[ref] = (row.person_id, ref, arrived)
    return list(found.values())


def _took(record: RemoteRecord, field: str, value: Value) -> bool:
    """Whether a field holds just that, or what the CRM may have made of it, and no person is known to have typed it."""
    edit = record.edits.get(field)
    return (edit is None or edit.by != "person") and alike(record.fields.get(field), value)


def _store(
    database: Database,
    target: Target,
    stream: str,
    fields: Sequence[str],
    records: Sequence[RemoteRecord],
    cursor: str | None,
    now: datetime,
) -> None:
    with database.write() as connection:
        crm_events.note(connection, target, records, now)
        crm.put_mirror(connection, target.connection, records, target.match_fields, now)
        if cursor is not None:
            position = json.dumps({"fields": list(fields), "cursor": cursor})
            cursors.save(connection, target.connection, stream, position, microseconds(now))
