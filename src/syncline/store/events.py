"""The event log in SQL: what people did, and what of it repeats another event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from syncline.store.batches import batches, insert_new
from syncline.store.bulk import Lookup, Many
from syncline.store.schema import BY_POLL, BY_WEBHOOK, event, stale, suppressed
from syncline.store.schema import awaited as waiting_for

__all__ = [
    "EventRow",
    "StoredEvent",
    "Window",
    "append",
    "await_types",
    "awaited",
    "came_also",
    "fetch",
    "in_windows",
    "known",
    "mark_machine",
    "mark_stale",
    "move_to_people",
    "remove",
    "restore",
    "suppress",
    "ways",
]


class EventRow(NamedTuple):
    """One row of the log. `properties` is compact JSON without `machine`, which has a column of its own.

    `way` says which ways it came, BY_POLL and BY_WEBHOOK, and whether one by poll is AWAITED by webhook.
    """

    id: bytes
    person_id: int
    type: str
    t_us: int
    machine: bool
    properties: str
    source: str
    way: int = BY_POLL


class StoredEvent(NamedTuple):
    """A row, and whether it counts (or repeats another)."""

    row: EventRow
    kept: bool


class Window(NamedTuple):
    """A stretch of one person's time, both ends included."""

    person_id: int
    from_us: int
    to_us: int


_COLUMNS: Final = EventRow._fields
_KNOWN: Final = tuple(Lookup(select(table.c.id, table.c.way), table.c.id) for table in (event, suppressed))
_APPEND: Final = Many(lambda insert: insert(event), _COLUMNS)
_APPEND_SUPPRESSED: Final = Many(lambda insert: insert(suppressed), _COLUMNS)
_MARK_STALE: Final = Many(lambda insert: insert(stale).on_conflict_do_nothing(), ["person_id"])


def known(connection: Connection, ids: Collection[bytes]) -> dict[bytes, int]:
    """Which of these events are stored, repeats included, and which way each of them came."""
    return {id_: way for lookup in _KNOWN for id_, way in lookup.rows(connection, ids)}


def came_also(connection: Connection, way: int, ids: Collection[bytes]) -> None:
    """These events came this way too."""
    for batch in batches(ids):
        for table in (event, suppressed):
            ways = table.c.way.op("|")(way)
            connection.execute(update(table).where(table.c.id.in_(batch)).values(way=ways))


def awaited(connection: Connection, connection_name: str) -> dict[str, int]:
    """The types of events that webhooks of the connection bring, and when the first of each occurred."""
    found = select(waiting_for.c.type, waiting_for.c.since_us).where(waiting_for.c.connection == connection_name)
    return {row.type: row.since_us for row in connection.execute(found)}


def await_types(connection: Connection, connection_name: str, since: Mapping[str, int]) -> None:
    """From now on webhooks are known to bring these types, the first of which occurred then."""
    rows = [{"connection": connection_name, "type": type_, "since_us": at_us} for type_, at_us in since.items()]
    insert_new(connection, waiting_for, rows)


def ways(connection: Connection, since_us: int) -> dict[str, Counter[int]]:
    """Source → BY_POLL, BY_WEBHOOK or both → events that occurred since then, of those that could come both ways.

    Reads those only: the condition is that of the index `event_way`, word by word, and nothing else is in it.
    """
    either = event.c.way != literal(BY_POLL, literal_execute=True)
    counted = select(event.c.source, event.c.way, func.count()).where(either, event.c.t_us >= since_us)
    found: dict[str, Counter[int]] = {}
    for source, way, events in connection.execute(counted.group_by(event.c.source, event.c.way)):
        found.setdefault(source, Counter())[way & (BY_POLL | BY_WEBHOOK)] += events
    return found


def fetch(connection: Connection, ids: Iterable[bytes]) -> dict[bytes, StoredEvent]:
    """These events as they are stored, repeats included."""
    found: dict[bytes, StoredEvent] = {}
    for batch in batches(ids):
        for table in (event, suppressed):
            for row in connection.execute(_select(table).where(table.c.id.in_(batch))):
                found[bytes(row.id)] = _stored(table, row)
    return found


def in_windows(connection: Connection, type_: str, windows: Sequence[Window]) -> list[StoredEvent]:
    """The events of one type inside any of the windows, repeats included."""
    found: list[StoredEvent] = []
    for batch in batches(windows):
        wanted = json.dumps(batch, separators=(",", ":"))
        for table in (event, suppressed):
            rows = connection.execute(_windowed(connection, table), {"windows": wanted, "type": type_})
            found.extend(_stored(table, row) for row in rows)
    return found


def append(connection: Connection, rows: Sequence[EventRow], *, kept: bool = True) -> None:
    """Store new events; those that repeat another with `kept` False."""
    (_APPEND if kept else _APPEND_SUPPRESSED).run(connection, rows)


def remove(connection: Connection, ids: Collection[bytes]) -> None:
    """Take events out, wherever they are."""
    for batch in batches(ids):
        for table in (event, suppressed):
            connection.execute(delete(table).where(table.c.id.in_(batch)))


def suppress(connection: Connection, ids: Collection[bytes]) -> None:
    """These events turned out to repeat another."""
    _move(connection, ids, event, suppressed)


def restore(connection: Connection, ids: Collection[bytes]) -> None:
    """These events turned out to count after all."""
    _move(connection, ids, suppressed, event)


def mark_machine(connection: Connection, ids: Collection[bytes]) -> None:
    """These events turned out to be a machine's."""
    for batch in batches(ids):
        for table in (event, suppressed):
            connection.execute(update(table).where(table.c.id.in_(batch)).values(machine=True))


def move_to_people(connection: Connection, moves: Sequence[tuple[int, int]]) -> None:
    """All events of the first person of each pair become the second's."""
    if moves:
        pairs = [{"gone": gone, "survivor": survivor} for gone, survivor in moves]
        for table in (event, suppressed):
            statement = update(table).where(table.c.person_id == bindparam("gone"))
            connection.execute(statement.values(person_id=bindparam("survivor")), pairs)


def mark_stale(connection: Connection, people: Iterable[int]) -> None:
    """These people are to be scored again."""
    _MARK_STALE.run(connection, ((person,) for person in sorted(people)))


def _move(connection: Connection, ids: Collection[bytes], source: Table, target: Table) -> None:
    for batch in batches(ids):
        moved = _select(source).where(source.c.id.in_(batch))
        connection.execute(insert(target).from_select(list(_COLUMNS), moved))
        connection.execute(delete(source).where(source.c.id.in_(batch)))


def _windowed(connection: Connection, table: Table) -> Select[EventRow]:
    """One statement for any number of windows: they come as one JSON array of [person, from, to]."""
    person, start, end = _unpacked(connection)
    inside = and_(table.c.person_id == person, table.c.t_us.between(start, end), table.c.type == bindparam("type"))
    return select(*(table.c[name] for name in _COLUMNS)).where(inside)


def _unpacked(connection: Connection) -> Iterator[ColumnElement[int]]:
    if connection.dialect.name == "sqlite":
        window = func.json_each(bindparam("windows")).table_valued("value", name="w")
        return iter([cast(func.json_extract(window.c.value, f"$[{i}]"), BigInteger) for i in range(3)])
    array = func.jsonb_array_elements(cast(bindparam("windows"), JSONB)).column_valued("w")
    return iter([cast(func.jsonb_extract_path_text(array, str(i)), BigInteger) for i in range(3)])


def _select(table: Table) -> Select[EventRow]:
    return select(*(table.c[name] for name in _COLUMNS))


def _row(row: Sequence[object]) -> EventRow:
    return EventRow(*row)  # type: ignore[arg-type]  # the columns are those of EventRow, in this order


def _stored(table: Table, row: Sequence[object]) -> StoredEvent:
    return StoredEvent(_row(row), table is event)
