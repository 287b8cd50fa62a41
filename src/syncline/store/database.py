"""Opening the state database: created on first use, migrated by version, one writer at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from syncline.errors import StoreError
from syncline.store import schema

__all__ = ["MIGRATIONS", "Database"]

MIGRATIONS: dict[int, Callable[[Connection], None]] = {}
"""Version → what brings a database of the version before to it, in the same transaction as the new number."""


class Database:
    """The state database at `url`: `sqlite:///path` or `postgresql+psycopg://…`."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _sqlite_engine(url) if self.is_sqlite else create_engine(url)
        try:
            self._bring_up_to_date()
        except DBAPIError as error:
            raise StoreError(f"cannot open the store {self.url.render_as_string()}: {error.orig}") from error

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write. On SQLite it takes the write lock at once, so it never fails half-way."""
        with self.engine.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view."""
        with self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    def _bring_up_to_date(self) -> None:
        with self.write() as connection:
            if not inspect(connection).has_table("meta"):
                schema.metadata.create_all(connection)
                connection.execute(insert(schema.meta).values(name="version", value=str(schema.VERSION)))
                return
            found = int(
                connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == "version")).scalar_one()
            )
            if found > schema.VERSION:
                raise StoreError(
                    f"the store {self.url.render_as_string()} has version {found}, this syncline knows up to "
                    f"{schema.VERSION}: use the newer syncline that wrote it"
                )
            for version in range(found + 1, schema.VERSION + 1):
                MIGRATIONS[version](connection)
            connection.execute(
                update(schema.meta).where(schema.meta.c.name == "version").values(value=str(schema.VERSION))
            )


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own begins too late
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # an answered webhook must survive power loss
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-65536")  # 64 MiB: ids are random, every page of their index is hot
        cursor.execute("PRAGMA wal_autocheckpoint=10000")  # 40 MB: a checkpoint syncs the file, by default every 4 MB
        cursor.close()

    return engine
