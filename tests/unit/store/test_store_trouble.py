"""What the store says when it cannot go on, what it never says, and who may read its files."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest
from sqlalchemy import create_engine, event, insert, inspect, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from syncline.errors import StoreError
from syncline.store import people, runs, schema
from syncline.store.database import Database

POSTGRES = "postgresql+psycopg://postgres@127.0.0.1/postgres"
SECRET = "anna.rossi@acme.example"
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/state.db")
    yield found
    found.close()


@pytest.fixture
def server_url() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    name = f"trouble_{token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
    except OperationalError:
        pytest.skip("no PostgreSQL server answers on 127.0.0.1:5432 for the user postgres")
    yield f"{POSTGRES}?options=-csearch_path%3D{name}"
    with admin.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    admin.dispose()


@pytest.fixture
def server(server_url: str) -> Iterator[Database]:
    found = Database(server_url)
    yield found
    found.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# What is never said


def insert_twice(store: Database) -> None:
    row = {"namespace": "email", "value": SECRET, "person_id": 1, "first_us": 0}
    with store.write() as connection:
        connection.execute(insert(schema.identifier).values(row))
        connection.execute(insert(schema.identifier).values(row))


def insert_nothing_where_something_must_be(store: Database) -> None:
    row = {"connection": "crm", "name": "refresh_token", "value": SECRET}
    with store.write() as connection:
        connection.execute(text("INSERT INTO keep (name, value) VALUES (:name, :value)"), row)


def everything_logged(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    logging.getLogger("syncline").error("a bug", exc_info=error)
    return str(error) + repr(error) + caplog.text


@pytest.mark.parametrize("fails", [insert_twice, insert_nothing_where_something_must_be])
def test_a_failing_insert_shows_no_values(
    store: Database, fails: Callable[[Database], None], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(IntegrityError) as caught:
        fails(store)
    assert SECRET not in everything_logged(caught.value, caplog)


@pytest.mark.parametrize("fails", [insert_twice, insert_nothing_where_something_must_be])
def test_a_failing_insert_shows_no_values_on_postgresql(
    server: Database, fails: Callable[[Database], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The server quotes the row; which constraint it was is told without."""
    with pytest.raises(IntegrityError) as caught:
        fails(server)
    said = everything_logged(caught.value, caplog)
    assert SECRET not in said
    assert "identifier_pkey" in said or "keep, connection" in said


def test_a_value_that_is_no_number_is_not_shown_on_postgresql(
    server: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError) as caught, server.write() as connection:
        connection.execute(text("SELECT CAST(:value AS bigint)"), {"value": SECRET})
    assert SECRET not in everything_logged(caught.value, caplog)


# Trouble


def test_a_full_disk_is_no_bug(store: Database) -> None:
    def fill() -> None:
        with store.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            row = {"connection": "crm", "name": "x", "value": SECRET * 5000}
            connection.execute(insert(schema.keep).values(row))

    with pytest.raises(
        StoreError, match=r"the store sqlite:.*state\.db cannot go on: .*full\. free some space"
    ) as caught:
        fill()
    assert SECRET not in str(caught.value)
    with store.read() as connection:
        assert connection.execute(select(schema.keep)).all() == [], "nothing half-written stays"


def test_a_locked_file_is_no_bug(store: Database, tmp_path: Path) -> None:
    event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=1"))
    store.engine.dispose()
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program keeps it locked"), store.write():
            pytest.fail("two write")


def test_a_damaged_file_is_no_bug(store: Database, tmp_path: Path) -> None:
    store.close()  # which moves everything into the one file
    (tmp_path / "state.db").write_bytes(b"x" * 8192)
    with pytest.raises(StoreError, match="cannot go on"), store.read() as connection:
        connection.execute(select(schema.keep)).all()


def test_a_lost_server_is_no_bug_on_postgresql(server: Database) -> None:
    def lose() -> None:
        with server.write() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StoreError, match=r"the store postgresql.* cannot go on"):
        lose()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", "utf-8")
    with pytest.raises(StoreError, match=r"cannot open the store .*taken.*name another"):
        Database(f"sqlite:///{tmp_path}/taken/state.db")


def test_a_mistake_of_ours_stays_one(store: Database) -> None:
    with pytest.raises(IntegrityError):
        insert_twice(store)


# Who may read it


@posix
def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = Database(f"sqlite:///{tmp_path}/made/state.db")
        with store.write() as connection:
            connection.execute(insert(schema.stale).values(person_id=1))
        files = {path.name: mode(path) for path in (tmp_path / "made").iterdir()}
        store.close()
    finally:
        os.umask(old)
    assert files == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert mode(tmp_path / "made") == 0o700


@posix
def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    folder, file = tmp_path / "team", tmp_path / "team" / "state.db"
    folder.mkdir()
    folder.chmod(0o770)
    file.touch()
    file.chmod(0o660)
    Database(f"sqlite:///{file}").close()
    assert (mode(folder), mode(file)) == (0o770, 0o660)


# PostgreSQL: many at once


def test_all_that_open_it_first_at_once_succeed_on_postgresql(server_url: str) -> None:
    said: list[str] = []
    start = threading.Barrier(4)

    def use() -> None:
        start.wait(10)
        try:
            Database(server_url).close()
            said.append("opened")
        except StoreError as error:
            said.append(str(error))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["opened"] * 4


@pytest.mark.parametrize("where", ["store", "server"], ids=["sqlite", "postgresql"])
def test_a_view_is_consistent(where: str, request: pytest.FixtureRequest) -> None:
    store: Database = request.getfixturevalue(where)
    with store.read() as reading:
        before = reading.execute(select(schema.stale)).all()
        with store.write() as writing:
            writing.execute(insert(schema.stale).values(person_id=1))
        assert reading.execute(select(schema.stale)).all() == before == []
    with store.read() as reading:
        assert len(reading.execute(select(schema.stale)).all()) == 1


# What is looked up is indexed


def scans(store: Database, work: Callable[..., object]) -> list[str]:
    """The whole tables that SQLite reads for `work`."""
    found: list[str] = []

    def explain(_connection: object, cursor: sqlite3.Cursor, statement: str, parameters: object, *_: object) -> None:
        first = parameters[0] if isinstance(parameters, list) else parameters
        plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", first).fetchall()  # type: ignore[arg-type]
        found.extend(row[3] for row in plan if row[3].startswith("SCAN") and "USING" not in row[3])

    event.listen(store.engine, "before_cursor_execute", explain)
    with store.engine.begin() as connection:
        work(connection)
    event.remove(store.engine, "before_cursor_execute", explain)
    return found


@pytest.mark.parametrize(
    "work",
    [
        lambda connection: people.merge(connection, [(1, 2), (3, 4)]),
        runs.abandon,
        lambda connection: runs.unanswered(connection, "crm"),
    ],
    ids=["merge", "abandon", "unanswered"],
)
def test_no_table_is_read_whole(store: Database, work: Callable[..., object]) -> None:
    assert not {row for row in scans(store, work) if row.split()[1] != "run"}


def test_the_open_rows_of_the_outbox_are_found_by_their_own_index(store: Database) -> None:
    names = {index["name"] for index in inspect(store.engine).get_indexes("outbox")}
    assert {"outbox_open", "outbox_run"} <= names
    with store.read() as connection:
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN SELECT id FROM outbox WHERE status = 'pending'").all()
    assert "outbox_open" in plan[0][3]
