"""Webhooks as they came in, how many there were, and those that could not be read and wait to be read again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, Table, delete, func, literal, null, select, update
from sqlalchemy.sql.base import Executable

from syncline.model import from_microseconds, microseconds
from syncline.store.bulk import Insert, Lookup, Many
from syncline.store.inbox import storable
from syncline.store.schema import WEBHOOK_READ, WEBHOOK_UNREAD, webhook, webhook_count

__all__ = [
    "Arrival",
    "Counts",
    "Figures",
    "Outcome",
    "Unread",
    "add_counts",
    "close_unread",
    "digest_of",
    "drop",
    "figures",
    "keep",
    "last_unread",
    "mark_read",
    "purge",
    "still_unread",
    "unread",
    "unread_count",
]

Outcome = Literal["received", "duplicate", "refused"]
Counts = Counter[tuple[str, Outcome, str]]
"""How many requests of a connection had an outcome, for a reason (empty but for those that were refused)."""


class Arrival(NamedTuple):
    """A request to keep. `reason` says why it could not be read; only then is the whole `request` kept with it."""

    digest: bytes
    connection: str
    address: str
    headers: Mapping[str, str]
    body: bytes
    reason: str | None = None
    request: Mapping[str, Any] | None = None


class Unread(NamedTuple):
    """A request that could not be read. `request` is all of it but the body."""

    id: int
    body: bytes
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of a connection's requests."""

    received: int = 0
    duplicate: int = 0
    unread: int = 0
    refused: dict[str, int] = field(default_factory=dict)


def _counting(insert: Callable[[Table], Insert]) -> Executable:
    statement = insert(webhook_count)
    more = {"requests": webhook_count.c.requests + statement.excluded.requests}
    return statement.on_conflict_do_update(index_elements=list(webhook_count.primary_key.columns), set_=more)


_SEEN: Final = Lookup(select(webhook.c.digest, webhook.c.status), webhook.c.digest)
_KEEP: Final = Many(
    lambda insert: insert(webhook).on_conflict_do_nothing(),
    ["digest", "connection", "address", "headers", "body", "received_us", "status", "reason", "request"],
)
_COUNT: Final = Many(_counting, ["connection", "day", "outcome", "reason", "requests"])
_UNREAD: Final = webhook.c.status == literal(WEBHOOK_UNREAD, literal_execute=True)  # as in the index `webhook_unread`


def digest_of(connection_name: str, body: bytes) -> bytes:
    """What makes two requests the same: the connection and the body, byte by byte."""
    return blake2b(connection_name.encode() + b"\0" + body, digest_size=16).digest()


def keep(connection: Connection, arrivals: Sequence[Arrival], at_us: int) -> list[Outcome]:
    """Store each request once; whether it is the first of its kind, in order.

    One that could not be read before, and can be now, is no longer unread.
    """
    seen = dict(_SEEN.rows(connection, {arrival.digest for arrival in arrivals}))
    new: dict[bytes, Arrival] = {}
    outcomes: list[Outcome] = []
    for arrival in arrivals:
        outcomes.append("duplicate" if arrival.digest in seen or arrival.digest in new else "received")
        if arrival.digest not in seen and (arrival.digest not in new or arrival.reason is None):
            new[arrival.digest] = arrival
    _KEEP.run(connection, (_row(arrival, at_us) for arrival in new.values()))
    read = [a.digest for a in arrivals if a.reason is None and seen.get(a.digest) == WEBHOOK_UNREAD]
    if read:
        _now_read(connection, webhook.c.digest.in_(read))
    return outcomes


def unread_count(connection: Connection, connection_name: str) -> int:
    """How many requests of the connection wait to be read again."""
    wanted = (webhook.c.connection == connection_name, _UNREAD)
    return connection.execute(select(func.count()).select_from(webhook).where(*wanted)).scalar_one()


def unread(connection: Connection, connection_name: str, *, after: int, limit: int) -> list[Unread]:
    """Requests that could not be read, oldest first, from the one after `after` on."""
    wanted = (webhook.c.connection == connection_name, webhook.c.id > after, _UNREAD)
    columns = (webhook.c.id, webhook.c.body, webhook.c.request)
    rows = connection.execute(select(*columns).where(*wanted).order_by(webhook.c.id).limit(limit))
    return [Unread(row.id, bytes(row.body), json.loads(row.request)) for row in rows]


def mark_read(connection: Connection, id_: int) -> None:
    """It could be read after all; what may be secret in it is forgotten."""
    _now_read(connection, webhook.c.id == id_)


def still_unread(connection: Connection, id_: int, reason: str) -> None:
    """It could not be read again, for this reason."""
    connection.execute(update(webhook).where(webhook.c.id == id_).values(reason=storable(reason)))


def drop(connection: Connection, id_: int) -> None:
    """It was not what it claimed to be."""
    connection.execute(delete(webhook).where(webhook.c.id == id_))


def last_unread(connection: Connection, connection_name: str) -> int:
    """The id of the newest request that could not be read; 0 if all could."""
    wanted = (webhook.c.connection == connection_name, _UNREAD)
    return int(connection.execute(select(func.max(webhook.c.id)).where(*wanted)).scalar_one() or 0)


def close_unread(connection: Connection, connection_name: str, last: int) -> None:
    """Nobody needs to read these any more: the CRM itself has been asked since."""
    wanted = webhook.c.connection == connection_name, webhook.c.id <= last, _UNREAD
    values = {"status": WEBHOOK_READ, "request": null()}
    connection.execute(update(webhook).where(*wanted).values(values))


def add_counts(connection: Connection, counts: Mapping[tuple[str, Outcome, str], int], at: datetime) -> None:
    """So many more requests on that day."""
    _COUNT.run(
        connection,
        (
            (name, _day(at), outcome, storable(reason), requests)
            for (name, outcome, reason), requests in sorted(counts.items())  # in one order: two servers never deadlock
        ),
    )


def figures(connection: Connection, connection_name: str, since: datetime) -> Figures:
    """What became of the requests since that day, and how many are unread now."""
    table = webhook_count
    wanted = (table.c.connection == connection_name, table.c.day >= _day(since))
    totals: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for row in connection.execute(select(table).where(*wanted)):
        (refused if row.outcome == "refused" else totals)[row.reason or row.outcome] += row.requests
    open_ = unread_count(connection, connection_name)
    return Figures(totals["received"], totals["duplicate"], open_, dict(sorted(refused.items())))


def purge(connection: Connection, before_us: int) -> None:
    """Delete requests that were read and received before then, and the counts of the days before."""
    read = webhook.c.status == literal(WEBHOOK_READ, literal_execute=True)
    connection.execute(delete(webhook).where(read, webhook.c.received_us < before_us))
    before = _day(from_microseconds(before_us))
    connection.execute(delete(webhook_count).where(webhook_count.c.day < before))


def _row(arrival: Arrival, at_us: int) -> tuple[Any, ...]:
    return (
        arrival.digest,
        arrival.connection,
        storable(arrival.address),
        json.dumps(dict(arrival.headers)),
        arrival.body,
        at_us,
        WEBHOOK_READ if arrival.reason is None else WEBHOOK_UNREAD,
        None if arrival.reason is None else storable(arrival.reason),
        None if arrival.request is None else json.dumps(dict(arrival.request)),
    )


def _now_read(connection: Connection, which: Any) -> None:
    connection.execute(update(webhook).where(which).values(status=WEBHOOK_READ, reason=null(), request=null()))


def _day(at: datetime) -> int:
    """Days since 1970, UTC."""
    return microseconds(at) // (timedelta(days=1) // timedelta(microseconds=1))
