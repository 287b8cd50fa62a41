"""From the state database into Arrow: only the columns that a program reads.

SQLite is read through the very library that holds it open, row by row. The ADBC driver brings a second copy of SQLite
into the process, and two copies do not see each other's locks (sqlite.org, "How To Corrupt An SQLite Database File",
section 2.2.1): when the second one closes it takes itself for the last, and deletes a write-ahead log that is in use.
It would save a quarter of the reading time.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa
from sqlalchemy import Boolean, Float, Integer, Select, Text, case, cast, func, select, type_coerce
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement

from syncline.scoring.program import Program
from syncline.scoring.where import Property
from syncline.store import schema
from syncline.store.database import Database

__all__ = ["Reader", "events", "first_event", "people", "profiles", "reader"]

_ONE_VIEW: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"  # PostgreSQL looks anew at every statement else
_ROWS: Final = 20_000
"""How many rows are held as Python objects at a time."""


class Reader(Protocol):
    """Reads a statement as an Arrow table of the given types, all statements within one consistent view."""

    def __call__(self, statement: Select[Any], types: pa.Schema) -> pa.Table: ...


@contextlib.contextmanager
def reader(database: Database) -> Iterator[Reader]:
    """A reader over ADBC for PostgreSQL where its driver is installed, over rows otherwise."""
    fast = not database.is_sqlite and importlib.util.find_spec("adbc_driver_postgresql") is not None
    with _adbc(database) if fast else _rows(database) as found:
        yield found


def people(only: Sequence[int] | None) -> Select[Any]:
    """Everyone who was not merged into somebody else, in order, with the number of their events."""
    count = select(func.count()).where(schema.event.c.person_id == schema.person.c.id).scalar_subquery()
    found = select(schema.person.c.id, count.label("events")).where(schema.person.c.merged_into.is_(None))
    if only is not None:
        found = found.where(schema.person.c.id.in_(only))
    return found.order_by(schema.person.c.id)


def first_event(until_us: int) -> Select[Any]:
    """The earliest event time, `until_us` if there is none."""
    return select(func.coalesce(func.min(schema.event.c.t_us), until_us).label("first"))


def events(program: Program, database: Database, ids: Sequence[int], until_us: int) -> Select[Any]:
    """The events of these people (in order) that a program looks at."""
    table = schema.event.c
    read = _sqlite if database.is_sqlite else _postgres
    properties = [read(prop).label(f"c{index}") for index, prop in enumerate(program.columns)]
    machine = cast(table.machine, Integer).label("machine")
    return select(table.person_id, table.type, table.t_us, machine, table.id, *properties).where(
        _whose(table.person_id, ids), table.t_us <= until_us, table.type.in_(sorted(program.event_types))
    )


def profiles(program: Program, ids: Sequence[int]) -> Select[Any]:
    """The attributes of these people (in order) that a program looks at."""
    table = schema.attribute.c
    return select(table.person_id, table.name, table.value).where(
        _whose(table.person_id, ids), table.name.in_(sorted(program.attributes))
    )


def _whose(person: ColumnElement[int], ids: Sequence[int]) -> ColumnElement[bool]:
    """By range where few others stand between; what is read too much meets no row of `people`."""
    dense = ids[-1] - ids[0] < 2 * len(ids)
    return person.between(ids[0], ids[-1]) if dense else person.in_(ids)


def _sqlite(prop: Property) -> ColumnElement[Any]:
    path = f'$."{prop.name}"'
    kind = func.json_type(schema.event.c.properties, path)
    value = func.json_extract(schema.event.c.properties, path)
    if prop.type == "text":
        return case((kind == "text", type_coerce(value, Text)))
    if prop.type == "boolean":
        return case((kind == "true", 1), (kind == "false", 0))
    return case((kind.in_(["integer", "real"]), cast(value, Float)))


def _postgres(prop: Property) -> ColumnElement[Any]:
    value = cast(schema.event.c.properties, JSONB)[prop.name]
    kind = func.jsonb_typeof(value)
    if prop.type == "text":
        return case((kind == "string", value.astext))
    if prop.type == "boolean":
        return case((kind == "boolean", cast(cast(value.astext, Boolean), Integer)))
    return case((kind == "number", cast(value.astext, Float(53))))


@contextlib.contextmanager
def _rows(database: Database) -> Iterator[Reader]:
    with database.read() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(_ONE_VIEW)

        def read(statement: Select[Any], types: pa.Schema) -> pa.Table:
            parts = connection.execution_options(yield_per=_ROWS).execute(statement).partitions(_ROWS)
            return pa.Table.from_batches([_batch(rows, types) for rows in parts], types)

        yield read


def _batch(rows: Sequence[Any], types: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch([pa.array(values, of.type) for values, of in zip(columns, types, strict=True)], schema=types)


@contextlib.contextmanager
def _adbc(database: Database) -> Iterator[Reader]:
    from adbc_driver_postgresql import dbapi  # an extra

    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with dbapi.connect(url) as connection:
        with connection.cursor() as cursor:
            cursor.execute(_ONE_VIEW)

        def read(statement: Select[Any], types: pa.Schema) -> pa.Table:
            with connection.cursor() as cursor:
                cursor.execute(_text(statement))
                return cursor.fetch_arrow_table().cast(types)

        yield read


def _text(statement: Select[Any]) -> str:
    """Integers and names from a checked program only, so they may stand in the text."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call] # others double every percent sign
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
