"""Talks to the database: connects as a reader, looks what the tables have, reads pages. It neither waits nor retries.

Every page has a connection and a read-only transaction of its own: nothing stays open while the host stores it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Select, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from syncline.errors import ConfigError, SchemaDriftError
from syncline_mailpoet.config import MailPoetConfig
from syncline_mailpoet.cursor import TimeCursor
from syncline_mailpoet.errors import translated
from syncline_mailpoet.payloads import moment_text
from syncline_mailpoet.statements import BLOCK, NEEDED, OPTIONAL, Statements, empty

__all__ = ["MailPoetDatabase", "OpenBlock", "Row", "Server"]

Row = dict[str, Any]
"""One row as the driver gives it, before a model reads it."""

_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 120
_LIMITS: Final = (
    # The server itself gives up before we do: a statement whose reader is gone would go on, on somebody's live site.
    # Each of the two reads its own comment (MariaDB in seconds, MySQL in milliseconds), neither the other's.
    "SET SESSION lock_wait_timeout = 30"  # behind an ALTER TABLE of an update; else a day, or a year
    " /*M!100101 , max_statement_time = 110 */ /*!50708 , max_execution_time = 110000 */"
)
_SESSION: Final = (
    "SET SESSION time_zone = '+00:00'",  # else TIMESTAMPs come in the server's zone (vendor sheet, §4: saw +2 h)
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    _LIMITS,
)


class OpenBlock(NamedTuple):
    """What a block of opens adds up to: the `mark` changes when a row in it becomes a person's."""

    mark: str
    machines: int


class Server(NamedTuple):
    """Who answered. `time` is None where the database has no clock of its own."""

    version: str
    user: str
    time: datetime | None


class MailPoetDatabase:
    """The reads this connector makes, one method each."""

    def __init__(
        self, config: MailPoetConfig, connection_name: str, clock: Callable[[], datetime], folder: Path
    ) -> None:
        self._config = config
        self._name = connection_name
        self._clock = clock
        self._folder = folder
        self._statements: Statements | None = None

    def server(self) -> Server:
        """Who answers, and that every table is there."""
        with self._session("check") as connection:
            self._look(connection)
            if self._config.file is not None:
                version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
                return Server(f"SQLite {version}", "", None)
            row = connection.execute(text("SELECT VERSION(), CURRENT_USER(), UTC_TIMESTAMP()")).one()
            return Server(row[0], row[1], row[2].replace(tzinfo=UTC))

    def rows_after_id(self, stream: str, floor: int) -> list[Row]:
        return self._rows(stream, lambda s: s.rows_after_id(stream, floor, self._config.page_size))

    def rows_after_time(self, stream: str, after: TimeCursor) -> list[Row]:
        return self._rows(stream, lambda s: s.rows_after_time(stream, after, self._config.page_size))

    def people_in_block(self, block: int, floor: int) -> list[Row]:
        return self._rows("opens", lambda s: s.people_in_block(block, floor))

    def last_until(self, stream: str, floor: int) -> Row | None:
        """The `id` and `created_at` of the last row up to an id."""
        rows = self._rows(stream, lambda s: s.last_until(stream, floor))
        return rows[0] if rows else None

    def open_blocks(self) -> dict[int, OpenBlock]:
        """Every block of opens that reaches into the machine window."""
        since = moment_text(self.now() - self._config.machine_window)
        with self._session("opens") as connection:
            statements = self._look(connection)
            first = connection.execute(statements.first_open_since(since)).scalar_one()
            if first is None:
                return {}
            rows = connection.execute(statements.open_blocks(first - first % BLOCK)).all()
        return {int(r.block): OpenBlock(f"{int(r.people)}/{int(r.ids)}", int(r.machines)) for r in rows}

    def settled(self) -> str:
        """Until when every transaction has ended."""
        return moment_text(self.now() - self._config.settling)

    def now(self) -> datetime:
        """Our time or the server's, whichever is earlier: rows must never look older than they are."""
        if self._config.file is not None:  # has no clock
            return self._clock()
        with self._session("clock") as connection:
            theirs: datetime = connection.execute(text("SELECT UTC_TIMESTAMP(6)")).scalar_one()
        return min(self._clock(), theirs.replace(tzinfo=UTC))

    # One session

    @contextmanager
    def _session(self, what: str) -> Iterator[Connection]:
        try:
            with translated(self._where(what)), self._engine.connect() as connection:
                yield connection
        except SchemaDriftError:
            self._statements = None  # the tables are not what they were
            raise

    def _rows(self, stream: str, statement: Callable[[Statements], Select[Any]]) -> list[Row]:
        with self._session(stream) as connection:
            result = connection.execute(statement(self._look(connection)))
            return [dict(row) for row in result.mappings()]

    @cached_property
    def _engine(self) -> Engine:
        engine = create_engine(self._url(), poolclass=NullPool, connect_args=self._arguments(), hide_parameters=True)
        event.listen(engine, "connect", _read_only_file if self._config.file is not None else _read_only_session)
        return engine

    def _url(self) -> URL:
        config = self._config
        if config.file is not None:
            path = (self._folder / config.file).resolve()
            return URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
        password = config.password.get_secret_value() if config.password else None
        host, port, _ = config.address
        return URL.create("mysql+pymysql", config.user, password, host, port, config.name, {"charset": "utf8mb4"})

    def _arguments(self) -> dict[str, Any]:
        if self._config.file is not None:
            return {}
        socket = self._config.address.socket
        return {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _ANSWER_SECONDS,
            "write_timeout": _ANSWER_SECONDS,
            **({"unix_socket": socket} if socket else {}),
            **self._encryption(),
        }

    def _encryption(self) -> dict[str, Any]:
        """Verified with `ca`; else what the driver does by itself: encrypted if the server offers it, unverified."""
        if self._config.ca is None:
            return {"ssl_disabled": True} if self._config.address.socket else {}
        path = self._folder / self._config.ca
        try:
            return {"ssl": ssl.create_default_context(cafile=path)}
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"ca {path.name} cannot be used ({error.strerror or error})", where=self._name) from error

    # What is there

    def _look(self, connection: Connection) -> Statements:
        """The statements for the tables as they are; looked up once, and again when a column is gone."""
        if self._statements is None:
            columns = {name: self._columns(connection, name) for name in NEEDED}
            self._statements = Statements(self._config.prefix, columns)
        return self._statements

    def _columns(self, connection: Connection, name: str) -> frozenset[str]:
        full = f"{self._config.prefix}mailpoet_{name}"
        try:
            with translated(self._where(full)):
                columns = frozenset(connection.execute(empty(full)).keys())
        except ConfigError as error:
            raise ConfigError(
                f"{error.message}; prefix is $table_prefix of wp-config.php (here {self._config.prefix!r}), and"
                " MailPoet must be active on the site",
                where=error.where,
            ) from error
        for wanted in NEEDED[name]:
            if wanted not in columns and wanted not in OPTIONAL:
                raise SchemaDriftError(
                    f"{full} has no column {wanted}; this connector knows MailPoet 5.3 to 5.35",
                    field=f"{full}.{wanted}",
                    where=self._where(name),
                )
        return columns

    def _where(self, what: str) -> str:
        return f"{self._name}/{what}"


def _read_only_session(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        for statement in _SESSION:
            cursor.execute(statement)


def _read_only_file(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only = ON")
