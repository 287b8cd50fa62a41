"""From the state database into Arrow: only the columns a program reads, and never a null.

The ADBC driver for SQLite takes a column's type from its first rows, so a column that begins with nulls would get a
wrong one. A stand-in says missing instead: an empty text, -1, or a number no property can have.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa
from sqlalchemy import Float, Integer, Select, Text, case, cast, func, literal, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement

from syncline.scoring.program import Program
from syncline.scoring.where import Property
from syncline.store import schema
from syncline.store.database import Database

__all__ = ["Reader", "events", "first_event", "people", "profiles", "reader"]

_NO_NUMBER: Final = 1e300
_NO_TRUTH: Final = -1


class Reader(Protocol):
    """Reads statements as Arrow tables, all within one consistent view."""

    def __call__(self, statement: Select[Any]) -> pa.Table: ...


@contextlib.contextmanager
def reader(database: Database) -> Iterator[Reader]:
    """A reader over ADBC, or over plain rows where its driver cannot help."""
    with _adbc(database) if _has_adbc(database) else _rows(database) as found:
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


def events(program: Program, database: Database, ids: Sequence[int], until_us: int, *, dense: bool) -> Select[Any]:
    """The events of these people that a program looks at. `dense`: nobody else stands between them."""
    table = schema.event.c
    read = _sqlite if database.is_sqlite else _postgres
    properties = [read(prop).label(f"c{index}") for index, prop in enumerate(program.columns)]
    machine = cast(table.machine, Integer).label("machine")
    return select(table.person_id, table.type, table.t_us, machine, table.id, *properties).where(
        _whose(table.person_id, ids, dense=dense),
        table.t_us <= until_us,
        table.type.in_(sorted(program.event_types)),
    )


def profiles(program: Program, ids: Sequence[int], *, dense: bool) -> Select[Any]:
    """The attributes of these people that a program looks at."""
    table = schema.attribute.c
    return select(table.person_id, table.name, table.value).where(
        _whose(table.person_id, ids, dense=dense), table.name.in_(sorted(program.attributes))
    )


def _whose(person: ColumnElement[int], ids: Sequence[int], *, dense: bool) -> ColumnElement[bool]:
    return person.between(ids[0], ids[-1]) if dense else person.in_(ids)


def _sqlite(prop: Property) -> ColumnElement[Any]:
    path = f'$."{prop.name}"'
    kind = func.json_type(schema.event.c.properties, path)
    value = func.json_extract(schema.event.c.properties, path)
    if prop.type == "text":
        return case((kind == "text", type_coerce(value, Text)), else_="")
    if prop.type == "boolean":
        return case((kind == "true", 1), (kind == "false", 0), else_=_NO_TRUTH)
    return case((kind.in_(["integer", "real"]), cast(value, Float)), else_=literal(_NO_NUMBER, Float))


def _postgres(prop: Property) -> ColumnElement[Any]:
    value = cast(schema.event.c.properties, JSONB)[prop.name]
    kind = func.jsonb_typeof(value)
    if prop.type == "text":
        return case((kind == "string", value.astext), else_="")
    if prop.type == "boolean":
        return case(
            (kind == "boolean", cast(cast(value.astext, schema.event.c.machine.type), Integer)), else_=_NO_TRUTH
        )
    return case((kind == "number", cast(value.astext, Float(53))), else_=literal(_NO_NUMBER, Float(53)))


def _has_adbc(database: Database) -> bool:
    if database.is_sqlite:  # a database in memory lives in one connection
        return database.url.database not in (None, "", ":memory:")
    return importlib.util.find_spec("adbc_driver_postgresql") is not None


@contextlib.contextmanager
def _adbc(database: Database) -> Iterator[Reader]:
    with _connect(database) as connection:

        def read(statement: Select[Any]) -> pa.Table:
            with connection.cursor() as cursor:
                cursor.execute(_text(database, statement))
                return cursor.fetch_arrow_table()

        yield read


def _connect(database: Database) -> Any:
    if database.is_sqlite:
        from adbc_driver_sqlite import dbapi as sqlite

        return sqlite.connect(database.url.database)
    from adbc_driver_postgresql import dbapi as postgresql

    url = database.url.set(drivername="postgresql")
    return postgresql.connect(url.render_as_string(hide_password=False))


def _text(database: Database, statement: Select[Any]) -> str:
    """Integers and names from a checked program only, so they may stand in the text."""
    options = {"literal_binds": True}
    return str(statement.compile(dialect=database.engine.dialect, compile_kwargs=options))


@contextlib.contextmanager
def _rows(database: Database) -> Iterator[Reader]:
    with database.read() as connection:

        def read(statement: Select[Any]) -> pa.Table:
            result = connection.execute(statement)
            names = list(result.keys())
            columns = list(zip(*result.fetchall(), strict=True)) or [()] * len(names)
            return pa.table({name: pa.array(values) for name, values in zip(names, columns, strict=True)})

        yield read
