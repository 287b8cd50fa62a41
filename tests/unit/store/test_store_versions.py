"""The store is created on first use, brought up to date in order, and refused when it is newer than we are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select, text

from syncline.errors import StoreError
from syncline.store import database as module
from syncline.store import schema
from syncline.store.database import Database


def version_of(store: Database) -> str:
    with store.read() as connection:
        return connection.execute(select(schema.meta.c.value)).scalar_one()


def columns(store: Database, table: str) -> set[str]:
    return {column["name"] for column in inspect(store.engine).get_columns(table)}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/folder/state.db"


def test_it_is_created_on_first_use_folders_included(url: str, tmp_path: Path) -> None:
    store = Database(url)
    assert (tmp_path / "deep" / "folder" / "state.db").exists()
    assert version_of(store) == str(schema.VERSION)
    assert set(inspect(store.engine).get_table_names()) == set(schema.metadata.tables)
    store.close()


def test_opening_it_again_changes_nothing(url: str) -> None:
    first = Database(url)
    with first.write() as connection:
        connection.execute(schema.stale.insert().values(person_id=7))
    first.close()
    again = Database(url)
    with again.read() as connection:
        assert connection.execute(select(schema.stale.c.person_id)).scalars().all() == [7]
    again.close()


def test_it_survives_power_loss_and_lets_readers_read_while_one_writes(url: str) -> None:
    store = Database(url)
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    with store.write() as writing, store.read() as reading:
        writing.execute(schema.stale.insert().values(person_id=1))
        assert reading.execute(select(schema.stale)).all() == []
    store.close()


def test_a_failed_transaction_leaves_nothing(url: str) -> None:
    store = Database(url)

    def fail_half_way() -> None:
        with store.write() as connection:
            connection.execute(schema.stale.insert().values(person_id=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with store.read() as connection:
        assert connection.execute(select(schema.stale)).all() == []
    store.close()


def add_column(name: str, calls: list[str]) -> Callable[[Connection], None]:
    def migrate(connection: Connection) -> None:
        calls.append(name)
        connection.execute(text(f"ALTER TABLE stale ADD COLUMN {name} INTEGER"))

    return migrate


def test_migrations_are_applied_in_order_and_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(url).close()
    calls: list[str] = []
    first = schema.VERSION
    steps = {first + 3: "c", first + 1: "a", first + 2: "b"}
    monkeypatch.setattr(module, "MIGRATIONS", {at: add_column(name, calls) for at, name in steps.items()})
    monkeypatch.setattr(schema, "VERSION", first + 2)
    store = Database(url)
    assert (calls, version_of(store)) == (["a", "b"], str(first + 2))
    assert columns(store, "stale") == {"person_id", "a", "b"}
    store.close()
    monkeypatch.setattr(schema, "VERSION", first + 3)
    Database(url).close()
    Database(url).close()
    assert calls == ["a", "b", "c"]


def test_a_migration_that_fails_leaves_the_store_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(url).close()
    first = schema.VERSION

    def broken(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE stale ADD COLUMN half INTEGER"))
        connection.execute(text("ALTER TABLE nowhere ADD COLUMN x INTEGER"))

    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", {first + 1: add_column("a", []), first + 2: broken})
        patch.setattr(schema, "VERSION", first + 2)
        with pytest.raises(StoreError, match="cannot open the store"):
            Database(url)
    store = Database(url)
    assert version_of(store) == str(first)
    assert columns(store, "stale") == {"person_id"}
    store.close()


def test_a_newer_store_is_refused_with_both_versions_and_what_to_do(url: str) -> None:
    store = Database(url)
    with store.write() as connection:
        connection.execute(schema.meta.update().values(value=str(schema.VERSION + 1)))
    store.close()
    with pytest.raises(StoreError) as caught:
        Database(url)
    words = str(caught.value)
    assert f"has version {schema.VERSION + 1}, this syncline knows up to {schema.VERSION}" in words
    assert "newer syncline" in words
    assert "state.db" in words


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"a shopping list, not a database" * 40)
    with pytest.raises(StoreError, match=r"cannot open the store .*state\.db.*not a database"):
        Database(f"sqlite:///{tmp_path}/state.db")


def test_a_server_out_of_reach_is_a_sentence_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
    with pytest.raises(StoreError) as caught:
        Database("postgresql+psycopg://someone:hunter2@127.0.0.1:1/nowhere?connect_timeout=2")
    assert "cannot open the store postgresql+psycopg://someone:***@127.0.0.1:1/nowhere" in str(caught.value)
    assert "hunter2" not in str(caught.value)
