"""What people allow, as each side said it last. A row is person, purpose, side, granted, time and event id: see
`syncline.people.consent.Said`. The column `connection` holds the side."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, case, delete, literal_column, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from syncline.store import schema
from syncline.store.batches import batches, upsert
from syncline.store.bulk import Insert, Lookup, Many

__all__ = ["Row", "Stating", "end_told", "forget", "lift", "merge", "of", "put", "put_latest", "stating"]

Row = tuple[int, str, str, bool, int, bytes]
Key = tuple[int, str, str]
"""Person, purpose, side."""

_TABLE: Final = schema.consent
_KEY: Final = ("person_id", "purpose", "connection")
_COLUMNS: Final = (*_KEY, "granted", "at_us", "event_id")


class Stating(NamedTuple):
    """An event of the log that may say something about consent."""

    person: int
    type: str
    t_us: int
    id: bytes
    properties: Mapping[str, Any]
    connection: str


def of(connection: Connection, people: Collection[int]) -> Iterator[Row]:
    """All that was said of these people."""
    for person, purpose, side, granted, at_us, event_id in _OF.rows(connection, people):
        yield person, purpose, side, bool(granted), at_us, bytes(event_id)


def put_latest(connection: Connection, rows: Iterable[Row]) -> None:
    """Keep these where nothing later is known. Of one moment a withdrawal counts, then the greater event id."""
    _PUT_LATEST.run(connection, rows)


def put(connection: Connection, rows: Sequence[Row]) -> None:
    """Keep these in place of what the same sides said before."""
    upsert(connection, _TABLE, [dict(zip(_COLUMNS, row, strict=True)) for row in rows])


def lift(connection: Connection, keys: Iterable[Key]) -> None:
    """These sides say nothing any more."""
    _LIFT.run(connection, keys)


def end_told(connection: Connection, rows: Iterable[tuple[int, str, str, int]]) -> None:
    """Person, purpose, side and time: what we had told before then no longer explains what the side says."""
    _END_TOLD.run(connection, rows)


def merge(connection: Connection, merges: Sequence[tuple[int, int]]) -> None:
    """What was said of the first person of each pair was said of the second; of one side, its last word."""
    pairs = [{"gone": gone, "survivor": survivor} for gone, survivor in merges]
    if not pairs:
        return
    others = [_TABLE.c[name] for name in _COLUMNS[1:]]
    moved = select(bindparam("survivor", type_=_TABLE.c.person_id.type), *others)
    moved = moved.where(_TABLE.c.person_id == bindparam("gone"))
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(_later_wins(insert(_TABLE).from_select(list(_COLUMNS), moved)), pairs)
    connection.execute(delete(_TABLE).where(_TABLE.c.person_id == bindparam("gone")), pairs)


def forget(connection: Connection, side: str, people: Collection[int]) -> None:
    """What one side said of these people, before it is read from the log again."""
    for batch in batches(people):
        connection.execute(delete(_TABLE).where(_TABLE.c.connection == side, _TABLE.c.person_id.in_(batch)))


def stating(connection: Connection, types: Collection[str], people: Collection[int] | None = None) -> Iterator[Stating]:
    """The events of these types in the log, of some people or of everybody."""
    event = schema.event
    columns = (event.c.person_id, event.c.type, event.c.t_us, event.c.id, event.c.properties, event.c.source)
    wanted = select(*columns).where(event.c.type.in_(types))
    some = [None] if people is None else batches(people)
    for batch in some:
        rows = connection.execute(wanted if batch is None else wanted.where(event.c.person_id.in_(batch)))
        for person, type_, t_us, id_, properties, source in rows:
            yield Stating(person, type_, t_us, bytes(id_), json.loads(properties), source.partition("/")[0])


def _later_wins(statement: Insert) -> Insert:
    new = statement.excluded
    known = tuple_(_TABLE.c.at_us, _denies(_TABLE.c.granted), _TABLE.c.event_id)
    later = tuple_(new.at_us, _denies(new.granted), new.event_id) > known
    changes = {"granted": new.granted, "at_us": new.at_us, "event_id": new.event_id}
    return statement.on_conflict_do_update(index_elements=list(_KEY), set_=changes, where=later)


def _denies(granted: ColumnElement[bool]) -> ColumnElement[int]:
    return case((granted, literal_column("0", Integer)), else_=literal_column("1", Integer))


_OF: Final = Lookup(select(*(_TABLE.c[name] for name in _COLUMNS)), _TABLE.c.person_id)
_PUT_LATEST: Final = Many(lambda insert: _later_wins(insert(_TABLE)), _COLUMNS)
_MINE: Final = tuple(_TABLE.c[name] == bindparam(f"its_{name}", type_=_TABLE.c[name].type) for name in _KEY)
_NAMES: Final = tuple(f"its_{name}" for name in _KEY)
_LIFT: Final = Many(lambda _: delete(_TABLE).where(*_MINE), _NAMES)
_END_TOLD: Final = Many(
    lambda _: delete(_TABLE).where(*_MINE, _TABLE.c.at_us < bindparam("then", type_=_TABLE.c.at_us.type)),
    (*_NAMES, "then"),
)
