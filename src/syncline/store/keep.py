"""Small strings a connector keeps across runs, such as a rotated refresh token."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from sqlalchemy import delete, select

from syncline.store import schema
from syncline.store.batches import upsert
from syncline.store.database import Database

__all__ = ["Keep"]


class Keep(MutableMapping[str, str]):
    """One connection's strings. An assignment is on disk when it returns. Values are never shown by `repr`."""

    def __init__(self, database: Database, connection: str) -> None:
        self._database = database
        self._name = connection

    def __repr__(self) -> str:
        return f"Keep({self._name!r}, {len(self)} kept)"

    def __getitem__(self, name: str) -> str:
        table = schema.keep
        with self._database.read() as connection:
            found = connection.execute(
                select(table.c.value).where(table.c.connection == self._name, table.c.name == name)
            ).scalar_one_or_none()
        if found is None:
            raise KeyError(name)
        return str(found)

    def __setitem__(self, name: str, value: str) -> None:
        with self._database.write() as connection:
            upsert(connection, schema.keep, [{"connection": self._name, "name": name, "value": value}])

    def __delitem__(self, name: str) -> None:
        table = schema.keep
        with self._database.write() as connection:
            done = connection.execute(delete(table).where(table.c.connection == self._name, table.c.name == name))
        if not done.rowcount:
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        table = schema.keep
        with self._database.read() as connection:
            return list(connection.scalars(select(table.c.name).where(table.c.connection == self._name)))
