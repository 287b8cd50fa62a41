"""One table of the simulated site: its rows in memory, and what of them the database does not have yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, column, delete, insert, select, table, update
from sqlalchemy.sql.expression import bindparam

from syncline_mailpoet.simulator.schema import TABLES

__all__ = ["Row", "Shelf"]

Row = dict[str, Any]

_AT_ONCE: Final = 2_000


class Shelf:
    """Rows by id. `flush` writes what changed; a held row has its number but stays unseen until it is released."""

    def __init__(self, name: str, prefix: str) -> None:
        columns = TABLES[name]
        self._table = table(f"{prefix}mailpoet_{name}", *(column(c.name) for c in columns))
        self._blank = {c.name: None if c.is_time else c.default for c in columns}
        self._rows: dict[int, Row] = {}
        self._next = 1
        self._new: set[int] = set()
        self._changed: set[int] = set()
        self._gone: set[int] = set()
        self._held: set[int] = set()

    def __getitem__(self, row_id: int) -> Row:
        return self._rows[row_id]

    def __contains__(self, row_id: int) -> bool:
        return row_id in self._rows

    def get(self, row_id: int) -> Row | None:
        return self._rows.get(row_id)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, values: Mapping[str, Any], *, held: bool = False) -> Row:
        """A new row with the next number."""
        row = {**self._blank, **values, "id": self._next}
        self._rows[self._next] = row
        (self._held if held else self._new).add(self._next)
        self._next += 1
        return row

    def change(self, row: Row, **values: Any) -> None:
        row.update(values)
        if row["id"] not in self._new and row["id"] not in self._held:
            self._changed.add(row["id"])

    def remove(self, row: Row) -> None:
        row_id = row["id"]
        del self._rows[row_id]
        if row_id not in self._new and row_id not in self._held:
            self._gone.add(row_id)
        for ids in (self._new, self._changed, self._held):
            ids.discard(row_id)

    def release(self) -> None:
        """The transactions that held rows back end."""
        self._new |= self._held
        self._held.clear()

    def load(self, connection: Connection) -> None:
        for found in connection.execute(select(self._table).order_by(self._table.c.id)).mappings():
            row = {name: _text(value) for name, value in found.items()}
            self._rows[row["id"]] = row
            self._next = max(self._next, row["id"] + 1)

    def flush(self, connection: Connection) -> int:
        """How many statements it took."""
        if not self._gone | self._new | self._changed:
            return 0
        by_id = self._table.c.id == bindparam("row_id")
        names = [name for name in self._blank if name != "id"]
        changed = update(self._table).where(by_id).values({name: bindparam(f"new_{name}") for name in names})
        done = 0
        for statement, rows in (
            (delete(self._table).where(by_id), [{"row_id": row_id} for row_id in sorted(self._gone)]),
            (insert(self._table), [self._rows[row_id] for row_id in sorted(self._new)]),
            (changed, [_renamed(self._rows[row_id]) for row_id in sorted(self._changed)]),
        ):
            for start in range(0, len(rows), _AT_ONCE):
                connection.execute(statement, rows[start : start + _AT_ONCE])
                done += 1
        self._new.clear()
        self._changed.clear()
        self._gone.clear()
        return done


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"row_id": row["id"], **{f"new_{name}": value for name, value in row.items() if name != "id"}}


def _text(value: Any) -> Any:
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else value
