"""The raw inbox: every record as it came, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    case,
    delete,
    func,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.sql.base import Executable

from syncline.model import RawRecord, from_microseconds
from syncline.store.bulk import Insert, Lookup, Many
from syncline.store.schema import BY_POLL, RAW_DONE, RAW_NEW, RAW_QUARANTINED, raw

__all__ = [
    "InboxRow",
    "Parcel",
    "Quarantined",
    "fetch",
    "finish",
    "finish_until",
    "keep",
    "last_waiting",
    "pack",
    "purge",
    "put",
    "quarantined",
    "storable",
    "waiting",
]


class Parcel(NamedTuple):
    """A record ready for the inbox. `digest` is of connection, stream, key and payload: what makes it the same."""

    digest: bytes
    record: RawRecord
    payload: str


class InboxRow(NamedTuple):
    """A record in the inbox. `way` says which ways it came: BY_POLL, BY_WEBHOOK or both."""

    id: int
    record: RawRecord
    received_us: int
    way: int = BY_POLL


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that could not be used, and why."""

    id: int
    connection: str
    stream: str
    key: str
    payload: Mapping[str, Any]
    reason: str
    received_at: datetime


def _keeping(insert: Callable[[Table], Insert]) -> Executable:
    """Insert a record. One that is there, but never came this way, is to be settled again if it was used."""
    statement = insert(raw)
    ways = raw.c.way.op("|")(statement.excluded.way)
    used = raw.c.status == literal_column(str(RAW_DONE))
    again = {"way": ways, "status": case((used, statement.excluded.status), else_=raw.c.status)}
    return statement.on_conflict_do_update(index_elements=["digest"], set_=again, where=raw.c.way != ways)


_SEEN: Final = Lookup(select(raw.c.digest, raw.c.way), raw.c.digest)
_HELD: Final = Lookup(select(raw.c.digest, raw.c.id, raw.c.received_us, raw.c.way, raw.c.status), raw.c.digest)
_KEEP: Final = Many(
    _keeping,
    ["digest", "connection", "stream", "key", "payload", "received_us", "run_id", "status", "way"],
)
_DONE: Final = Many(
    lambda _: (
        update(raw)
        .where(raw.c.id.between(bindparam("first"), bindparam("last")))
        .values(status=bindparam("done"), reason=null())
    ),
    ["done", "first", "last"],
)
_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def pack(connection_name: str, records: Iterable[RawRecord]) -> list[Parcel]:
    """Records ready for the inbox, repeats within them left out.

    TypeError or ValueError when a payload is not plain JSON: a bug of the plugin.
    """
    parcels: dict[bytes, Parcel] = {}
    for record in records:
        payload = _canonical(record.payload)
        text = "\0".join((connection_name, record.stream, record.key, payload))
        digest = blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).digest()
        parcels.setdefault(digest, Parcel(digest, record, payload))
    return list(parcels.values())


def keep(
    connection: Connection,
    connection_name: str,
    parcels: Sequence[Parcel],
    *,
    run_id: str,
    at_us: int,
    way: int = BY_POLL,
) -> list[InboxRow]:
    """Store what was never seen before; returns just that, in order.

    What was seen, but never this way, is new in this one respect: it is returned too, unless it is quarantined.
    """
    if not parcels:
        return []
    seen = dict(_SEEN.rows(connection, [parcel.digest for parcel in parcels]))
    new = [parcel for parcel in parcels if not seen.get(parcel.digest, 0) & way]
    last = connection.execute(select(func.max(raw.c.id))).scalar_one() or 0
    _KEEP.run(connection, _rows_of(connection_name, new, run_id, at_us, way))
    added = connection.execute(select(raw.c.digest, raw.c.id).where(raw.c.id > last))
    held = {bytes(digest): (row_id, at_us, way) for digest, row_id in added}
    for digest, *found, status in _HELD.rows(connection, [p.digest for p in new if p.digest in seen]):
        if status == RAW_NEW:
            held[digest] = tuple(found)
    rows = ((parcel.record, held[parcel.digest]) for parcel in new if parcel.digest in held)
    return [InboxRow(row_id, record, received_us, ways) for record, (row_id, received_us, ways) in rows]


def put(
    connection: Connection, connection_name: str, parcels: Iterable[Parcel], *, run_id: str, at_us: int, way: int
) -> None:
    """Store what was never seen before, and let it wait; as `keep`, for who does not settle it."""
    _KEEP.run(connection, _rows_of(connection_name, parcels, run_id, at_us, way))


def waiting(connection: Connection, connection_name: str, limit: int, *, after: int = 0) -> list[InboxRow]:
    """Records that came in and were not normalized yet, oldest first: a webhook's, or those before a crash.

    Only those with an id greater than `after`.
    """
    return _rows(connection, [raw.c.connection == connection_name, raw.c.id > after, *_open(RAW_NEW)], limit)


def fetch(
    connection: Connection,
    connection_name: str,
    *,
    ids: Collection[int] | None,
    statuses: Collection[int],
    after: int,
    limit: int,
) -> list[InboxRow]:
    """Records with an id greater than `after`, in order of id; of `ids` only, unless it is None."""
    wanted = [raw.c.connection == connection_name, raw.c.id > after, raw.c.status.in_(statuses)]
    if ids is not None:
        wanted.append(raw.c.id.in_(sorted(i for i in ids if i > after)[:limit]))
    return _rows(connection, wanted, limit)


def finish(connection: Connection, done: Sequence[int], refused: Mapping[int, str]) -> None:
    """Record what became of each: used, or quarantined with a reason."""
    _DONE.run(connection, ((RAW_DONE, first, last) for first, last in _runs(done)))
    if refused:
        statement = update(raw).where(raw.c.id == bindparam("row_id"))
        connection.execute(
            statement.values(status=RAW_QUARANTINED, reason=bindparam("why")),
            [{"row_id": row_id, "why": storable(reason)} for row_id, reason in refused.items()],
        )


def last_waiting(connection: Connection, connection_name: str) -> int:
    """The id of the newest record of the connection that waits; 0 if none does."""
    wanted = (raw.c.connection == connection_name, *_open(RAW_NEW))
    return int(connection.execute(select(func.max(raw.c.id)).where(*wanted)).scalar_one() or 0)


def finish_until(connection: Connection, connection_name: str, last: int) -> int:
    """All that wait up to this id are used; how many they were. For notices, which are not normalized."""
    wanted = (raw.c.connection == connection_name, raw.c.id <= last, *_open(RAW_NEW))
    return connection.execute(update(raw).where(*wanted).values(status=RAW_DONE)).rowcount


def quarantined(connection: Connection, connection_name: str | None = None, limit: int = 100) -> list[Quarantined]:
    """The newest quarantined records, of one connection or of all."""
    wanted = _open(RAW_QUARANTINED)
    if connection_name is not None:
        wanted.append(raw.c.connection == connection_name)
    rows = connection.execute(select(raw).where(*wanted).order_by(raw.c.id.desc()).limit(limit))
    return [
        Quarantined(
            row.id,
            row.connection,
            row.stream,
            row.key,
            json.loads(row.payload),
            row.reason or "",
            from_microseconds(row.received_us),
        )
        for row in rows
    ]


def purge(connection: Connection, before_us: int) -> int:
    """Delete the records received before then that were used; how many there were.

    What waits or is quarantined stays. Purged records that come again are known by their events.
    """
    result = connection.execute(delete(raw).where(raw.c.status == RAW_DONE, raw.c.received_us < before_us))
    return result.rowcount


def _rows_of(
    connection_name: str, parcels: Iterable[Parcel], run_id: str, at_us: int, way: int
) -> Iterator[tuple[Any, ...]]:
    for digest, record, payload in parcels:
        names = (connection_name, storable(record.stream), storable(record.key))
        yield (digest, *names, payload, at_us, run_id, RAW_NEW, way)


def _open(status: int) -> list[ColumnElement[bool]]:
    """With a literal, as in the partial index `raw_open`: SQLite uses that index only where it sees the same words."""
    return [raw.c.status != literal(RAW_DONE, literal_execute=True), raw.c.status == status]


def _rows(connection: Connection, wanted: Sequence[ColumnElement[bool]], limit: int) -> list[InboxRow]:
    columns = (raw.c.id, raw.c.stream, raw.c.key, raw.c.payload, raw.c.received_us, raw.c.way)
    rows = connection.execute(select(*columns).where(*wanted).order_by(raw.c.id).limit(limit))
    return [InboxRow(i, RawRecord(stream, key, json.loads(text)), at, way) for i, stream, key, text, at, way in rows]


def _runs(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of every stretch of consecutive ids."""
    first = last = None
    for id_ in sorted(ids):
        if first is None or last is None:
            first = last = id_
        elif id_ == last + 1:
            last = id_
        else:
            yield first, last
            first = last = id_
    if first is not None and last is not None:
        yield first, last


def storable(text: str) -> str:
    """NUL and broken halves of characters, which no database takes, written out."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
