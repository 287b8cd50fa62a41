"""A simulated site in a file or in a real MariaDB, sources connected to it, and a clock that only moves when told."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from syncline.model import Event, RawRecord
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.population import EPOCH
from syncline_mailpoet import MailPoetConfig, MailPoetSource
from syncline_mailpoet.simulator import MailPoetSimulator

LOGIN = {"host": "127.0.0.1", "user": "root", "password": ""}


def administrator() -> Any:
    """A connection to the server; None when nobody answers."""
    try:
        return pymysql.connect(**LOGIN, connect_timeout=2, autocommit=True)
    except pymysql.err.OperationalError:
        return None


def execute(statement: str) -> None:
    with administrator() as connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def mariadb() -> Iterator[dict[str, str]]:
    """A database of its own on the real server; what a simulator's `server` wants."""
    connection = administrator()
    if connection is None:
        pytest.skip("no MariaDB answers on 127.0.0.1:3306 for the user root")
    connection.close()
    name = f"mailpoet_{secrets.token_hex(6)}"
    execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
    yield {**LOGIN, "name": name}
    execute(f"DROP DATABASE {name}")


@pytest.fixture(params=["SQLite", "MariaDB"])
def server(request: pytest.FixtureRequest) -> dict[str, str] | None:
    """Both kinds of database: None is a file."""
    return None if request.param == "SQLite" else request.getfixturevalue("mariadb")


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., MailPoetSimulator]]:
    """Start a simulator: `simulate(server, people=60)`."""
    running: list[MailPoetSimulator] = []

    def start(server: dict[str, str] | None = None, people: int = 60, **more: Any) -> MailPoetSimulator:
        folder = tmp_path / f"site{len(running)}"
        simulator = MailPoetSimulator(
            SimulatorOptions(people=people, seed=3, clock=EPOCH, folder=folder), server=server, **more
        )
        simulator.start()
        running.append(simulator)
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def connect() -> Callable[..., MailPoetSource]:
    """A source for a simulator, by its clock; further arguments are settings."""

    def make(simulator: MailPoetSimulator, **more: Any) -> MailPoetSource:
        given = {k: v for k, v in {**simulator.settings, **more}.items() if k != "plugin" and v is not None}
        return MailPoetSource(
            MailPoetConfig.model_validate(given), Context("blog", Http("blog"), simulator.now, {}, Path())
        )

    return make


@pytest.fixture
def pull() -> Callable[..., tuple[list[RawRecord], str | None]]:
    """Read a stream to its end: its records, and the last cursor."""

    def read(source: MailPoetSource, stream: str, cursor: str | None = None) -> tuple[list[RawRecord], str | None]:
        records: list[RawRecord] = []
        for page in source.read(stream, cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    return read


@pytest.fixture
def events() -> Callable[..., dict[str, Event]]:
    """Events by id, the first word counting, as it does in the host."""

    def make(source: MailPoetSource, records: list[RawRecord]) -> dict[str, Event]:
        found: dict[str, Event] = {}
        for record in records:
            for event in source.normalize(record):
                found.setdefault(event.id, event)
        return found

    return make
