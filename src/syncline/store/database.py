"""Opening the state database: created on first use, migrated by version, one writer at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, inspect, select, update
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

from syncline.errors import StoreError
from syncline.store import schema
from syncline.store.migrations import MIGRATIONS

__all__ = ["MIGRATIONS", "Database", "version_of"]

_OPENING_LOCK: Final = 0x73796E64  # beside the one of `people`: who opens first creates, the others wait

_OUR_BUGS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""What only a wrong statement causes; everything else is trouble of the database, or of the machine under it."""

_ADVICE: Final = {
    "SQLITE_FULL": "free some space on that disk",
    "SQLITE_BUSY": "another program keeps it locked for longer than 30 seconds: end that program, or wait for it",
    "SQLITE_READONLY": "let this user write the file and its folder",
    "SQLITE_CANTOPEN": "let this user write the file and its folder",
    "SQLITE_CORRUPT": "the file is damaged: restore it from a backup",
    "SQLITE_NOTADB": "the file is something else: name another one, or move it away",
    "53": "the database server has run out of space, memory or connections",
}
"""How the database's own code begins (SQLite's result code, PostgreSQL's SQLSTATE) → what to do."""


_VERSION: Final = schema.meta.c.name == "version"


def version_of(connection: Connection) -> int:
    """The version of the schema that the database has."""
    return int(connection.execute(select(schema.meta.c.value).where(_VERSION)).scalar_one())


class Database:
    """The state database at `url`: `sqlite:///path` or `postgresql+psycopg://…`."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.engine = _sqlite_engine(url) if self.is_sqlite else _server_engine(url)
        try:
            self._make_private()
            self._bring_up_to_date()
        except OSError as error:
            raise StoreError(
                f"{self._cannot_open}: {error}. Let this user write the folder, or name another"
            ) from error
        except DBAPIError as error:
            raise StoreError(f"{self._cannot_open}: {error.orig}. {_advice(error)}") from error

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write. On SQLite it takes the write lock at once, so it never fails half-way.

        StoreError when the database cannot go on: its disk is full, it is locked, or lost.
        """
        with self._trouble_in_words(), self._writing() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view: what others commit meanwhile is not seen. StoreError as for `write`."""
        with self._trouble_in_words(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    @property
    def _cannot_open(self) -> str:
        return f"cannot open the store {self.url.render_as_string()}"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextlib.contextmanager
    def _trouble_in_words(self) -> Iterator[None]:
        try:
            yield
        except _OUR_BUGS:
            raise
        except DBAPIError as error:
            raise StoreError(
                f"the store {self.url.render_as_string()} cannot go on: {error.orig}. {_advice(error)}; "
                "what was recorded before stays, and the next run goes on from there"
            ) from error

    def _make_private(self) -> None:
        """Nobody else may read tokens and addresses. SQLite gives the files beside it the mode of the first."""
        name = self.url.database
        if not self.is_sqlite or not name or name == ":memory:" or name.startswith("file:"):
            return
        path = Path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # a file that is there keeps the mode somebody gave it
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _bring_up_to_date(self) -> None:
        with self._writing() as connection:
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_OPENING_LOCK)))
            if not inspect(connection).has_table("meta"):
                schema.metadata.create_all(connection)
                connection.execute(insert(schema.meta).values(name="version", value=str(schema.VERSION)))
                return
            self._migrate(connection)

    def _migrate(self, connection: Connection) -> None:
        found = version_of(connection)
        if found > schema.VERSION:
            raise StoreError(
                f"the store {self.url.render_as_string()} has version {found}, this syncline knows up to "
                f"{schema.VERSION}: use the newer syncline that wrote it"
            )
        if found == schema.VERSION:
            return
        for number in range(found + 1, schema.VERSION + 1):
            MIGRATIONS[number](connection)
        connection.execute(update(schema.meta).where(_VERSION).values(value=str(schema.VERSION)))


def _advice(error: DBAPIError) -> str:
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
    for begins, advice in _ADVICE.items():
        if code.startswith(begins):
            return advice
    return "see that it is reachable and intact"


def _server_engine(url: str) -> Engine:
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "handle_error", _hide_values)
    return engine


def _hide_values(context: ExceptionContext) -> None:
    """PostgreSQL quotes values (`Key (value)=(…)`, `Failing row contains (…)`): names of tables and columns do."""
    error = context.original_exception
    about = getattr(error, "diag", None)
    if about is None or about.sqlstate is None:
        return
    said = about.message_primary
    if about.sqlstate[:2] in ("22", "23"):  # wrong data, or a broken constraint: even the first line may quote
        names = (about.table_name, about.column_name, about.constraint_name)
        said = ", ".join((f"{type(error).__name__} ({about.sqlstate})", *filter(None, names)))
    error.args = (said,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (said,)


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False}, hide_parameters=True)

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
