"""Statements that carry a page of rows: written in Core, turned into text once, run with plain tuples.

SQLAlchemy looks at every value of every row on the way to the driver. That is more than half of what an insert costs,
and here nothing needs it: the values are already what both drivers take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Dialect, Select, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler

from syncline.errors import StoreError

__all__ = ["Insert", "Lookup", "Many"]

Insert = sqlite.Insert | postgresql.Insert

_SIZES: Final = (1, 8, 64, 500)  # IN lists come in few lengths: few statements, within every database's limit


class Many:
    """One statement run once per row. `make` gets the dialect's insert; rows are tuples in the order of `columns`.

    psycopg sends the rows of one call without waiting for each, which is as fast as many rows in one statement.
    """

    def __init__(self, make: Callable[[Callable[[Table], Insert]], Executable], columns: Sequence[str]) -> None:
        self._make = make
        self._columns = tuple(columns)
        self._texts: dict[str, str] = {}

    def run(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Nothing is done when there are no rows."""
        values = list(rows)
        if values:
            connection.exec_driver_sql(self._text(connection.dialect.name), values)

    def _text(self, name: str) -> str:
        if name not in self._texts:
            statement = self._make(sqlite.insert if name == "sqlite" else postgresql.insert)
            self._texts[name] = _compiled(statement, name, self._columns)
        return self._texts[name]


class Lookup:
    """`select` for those rows whose `column` is one of many values. `first` names parameters that it has besides."""

    def __init__(self, select: Select[Any], column: ColumnElement[Any], first: Sequence[str] = ()) -> None:
        self._select = select
        self._column = column
        self._first = tuple(first)
        self._texts: dict[tuple[str, int], str] = {}

    def rows(self, connection: Connection, values: Iterable[Any], *first: Any) -> Iterator[Any]:
        """The rows found, in no order. Values come as the driver has them: a boolean is 0 or 1 on SQLite."""
        wanted = list(values)
        for start in range(0, len(wanted), _SIZES[-1]):
            batch = wanted[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(batch))
            filled = (*first, *batch, *batch[-1:] * (size - len(batch)))
            yield from connection.exec_driver_sql(self._text(connection.dialect.name, size), filled).all()

    def _text(self, name: str, size: int) -> str:
        if (name, size) not in self._texts:
            names = [f"value_{i}" for i in range(size)]
            statement = self._select.where(self._column.in_([bindparam(n, type_=self._column.type) for n in names]))
            self._texts[name, size] = _compiled(statement, name, (*self._first, *names))
        return self._texts[name, size]


def _compiled(statement: Executable, name: str, columns: Sequence[str]) -> str:
    """The text with positional parameters, which are these columns in this order."""
    compiled = statement.compile(dialect=_dialect(name), column_keys=list(columns))  # type: ignore[attr-defined]  # all have it
    assert isinstance(compiled, SQLCompiler)  # noqa: S101  # for the type checker
    if tuple(compiled.positiontup or ()) != tuple(columns):
        raise StoreError(f"a statement takes {compiled.positiontup}, it is given {list(columns)}")
    return str(compiled)


@cache
def _dialect(name: str) -> Dialect:
    make: Callable[..., Dialect] = sqlite.dialect if name == "sqlite" else postgresql.dialect
    return make(paramstyle="qmark" if name == "sqlite" else "format")
