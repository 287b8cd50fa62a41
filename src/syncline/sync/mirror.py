"""Reading the CRM: what its records hold now, kept as a mirror that only changes are read into."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import Connection, select

from syncline.errors import CursorExpiredError
from syncline.model import ChangePage, Field, RemoteRef, Value, microseconds
from syncline.sdk import Sink
from syncline.sdk.config import ConnectorConfig
from syncline.store import crm, runs, schema
from syncline.store.batches import upsert
from syncline.store.database import Database
from syncline.store.runs import OutboxRow
from syncline.store.values import load
from syncline.sync.merge import same
from syncline.sync.progress import Progress
from syncline.sync.retry import Retry
from syncline.sync.target import Target, preflight

__all__ = ["describe", "refresh", "settle_unanswered"]


def describe(target: Target, sink: Sink[ConnectorConfig], retry: Retry) -> Target:
    """`target` checked against the CRM's own description of its objects: one call an object."""
    return preflight(target, {name: _describe(sink, name, retry) for name in target.objects})


def _describe(sink: Sink[ConnectorConfig], name: str, retry: Retry) -> list[Field]:
    return list(retry(lambda: sink.describe(name)))


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

    A mapping with further fields starts from the beginning: the mirror does not hold those fields yet.
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
    stream = f"mirror:{object_name}:{hashlib.sha256(repr(fields).encode()).hexdigest()[:12]}"
    read = 0
    unseen: set[str] | None = None
    """Of a read from the very beginning: the records known before that have not come yet."""

    def pages(cursor: str | None) -> None:
        nonlocal read, unseen
        if cursor is None:
            with database.read() as connection:
                unseen = crm.known_refs(connection, target.connection, object_name)
        for page in sink.changes(object_name, fields, cursor):
            _store(database, target, stream, page, now)
            read += len(page.records)
            if unseen:
                unseen -= {record.ref.id for record in page.records}
            progress.advance(f"read {target.connection}", len(page.records))

    def attempt() -> None:
        with database.read() as connection:
            cursor = _cursor(connection, target.connection, stream)
        try:
            pages(cursor)
        except CursorExpiredError:
            _forget(database, target.connection, stream, now)
            pages(None)

    retry(attempt)
    if unseen:
        with database.write() as connection:
            crm.note_deleted(connection, target.connection, object_name, unseen)
    return read


def settle_unanswered(database: Database, name: str, now: datetime) -> None:
    """Acknowledge what earlier runs wrote without hearing the answer: where the CRM now holds just that.

    Otherwise a value of ours would look like somebody else's ever after. Reads the mirror, so `refresh` comes first.
    """
    with database.read() as connection:
        lost = runs.unanswered(connection, name)
    for run_id, rows in lost.items():
        with database.write() as connection:
            arrived = _arrived(connection, name, [row for row in rows if row.operation == "upsert"])
            crm.acknowledge(connection, name, arrived, run_id, microseconds(now))
            runs.give_up_waiting(connection, name, run_id)


def _arrived(connection: Connection, name: str, rows: list[OutboxRow]) -> dict[RemoteRef, dict[str, Value]]:
    """The fields that hold what a row wanted and did not hold it before."""
    keyed = crm.mirror_by_key(connection, name, [row.key for row in rows])
    found: dict[RemoteRef, dict[str, Value]] = {}
    for row in rows:
        wanted, before = load(row.payload)["fields"], load(row.before or "{}")
        for item in keyed.get(row.key, ()):
            if item.record.ref.object == row.object:
                found[item.record.ref] = {
                    field: value
                    for field, value in wanted.items()
                    if same(item.record.fields.get(field), value) and not same(before.get(field), value)
                }
    return found


def _store(database: Database, target: Target, stream: str, page: ChangePage, now: datetime) -> None:
    with database.write() as connection:
        crm.put_mirror(connection, target.connection, page.records, target.match_fields)
        if page.cursor is not None:
            _put_cursor(connection, target.connection, stream, page.cursor, now)


def _forget(database: Database, name: str, stream: str, now: datetime) -> None:
    with database.write() as connection:
        _put_cursor(connection, name, stream, None, now)


def _cursor(connection: Connection, name: str, stream: str) -> str | None:
    table = schema.cursor
    return connection.execute(
        select(table.c.cursor).where(table.c.connection == name, table.c.stream == stream)
    ).scalar_one_or_none()


def _put_cursor(connection: Connection, name: str, stream: str, cursor: str | None, now: datetime) -> None:
    row = {"connection": name, "stream": stream, "cursor": cursor, "updated_us": microseconds(now)}
    upsert(connection, schema.cursor, [row])
