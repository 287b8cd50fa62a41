"""Stores that older versions made, brought up to date: what was in them stays, and they are as new ones are."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.exc import OperationalError

from syncline.store import schema
from syncline.store.database import Database, version_of
from syncline.store.migrations import MIGRATIONS

HERE = Path(__file__).parent
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1/postgres"

HELD = {
    "person": "INSERT INTO person (id, key, created_us) VALUES (7, 'k7', 1)",
    "raw": "INSERT INTO raw (id, digest, connection, stream, key, payload, received_us, run_id, status)"
    " VALUES (3, {bytes}, 'news', 'activity', 'a', '{{}}', 5, 'run-1', 1)",
    "event": "INSERT INTO event (id, person_id, type, t_us, machine, properties, source)"
    " VALUES ({bytes}, 7, 'email_open', 9, {false}, '{{}}', 'news/activity')",
    "suppressed": "INSERT INTO suppressed (id, person_id, type, t_us, machine, properties, source)"
    " VALUES ({bytes}, 7, 'page_visit', 9, {false}, '{{}}', 'news/activity')",
}
SPELLED = {
    "sqlite": {"bytes": "x'00112233445566778899aabbccddeeff'", "false": "0"},
    "postgresql": {"bytes": "decode('00112233445566778899aabbccddeeff', 'hex')", "false": "false"},
}


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two empty places for a store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/old.db", f"sqlite:///{tmp_path}/new.db"
        return
    pytest.importorskip("psycopg", reason="PostgreSQL: psycopg is not installed (extra: postgres)")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    names = [f"migrated_{secrets.token_hex(6)}" for _ in range(2)]
    try:
        with admin.connect() as connection:
            for name in names:
                connection.execute(text(f"CREATE SCHEMA {name}"))
    except OperationalError:
        pytest.skip("no PostgreSQL server answers on 127.0.0.1:5432 for the user postgres")
    first, second = (f"{POSTGRES}?options=-csearch_path%3D{name}" for name in names)
    yield first, second
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    admin.dispose()


def make_old(url: str, version: int) -> None:
    """A store as that version made it, with a few rows."""
    engine = create_engine(url)
    name = engine.dialect.name
    with engine.begin() as connection:
        for statement in (HERE / f"version_{version}_{name}.sql").read_text("utf-8").split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        connection.execute(schema.meta.insert().values(name="version", value=str(version)))
        for row in HELD.values():
            connection.exec_driver_sql(row.format(**SPELLED[name]))
    engine.dispose()


def shape(store: Database) -> dict[str, Any]:
    """Tables with their columns, keys and indexes, whatever order they came in."""
    found = inspect(store.engine)
    return {
        table: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in found.get_columns(table)},
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(u["column_names"] for u in found.get_unique_constraints(table)),
            "indexes": {i["name"]: (i["column_names"], i["unique"], where(i)) for i in found.get_indexes(table)},
        }
        for table in found.get_table_names()
    }


def where(index: Any) -> str:
    """The condition of a partial index."""
    options = index.get("dialect_options", {})
    return str(next((value for name, value in options.items() if name.endswith("_where")), ""))


def without_sequences(tables: dict[str, Any]) -> dict[str, Any]:
    """A sequence bears the name of its table's schema or none: the same thing said in two ways."""
    for table in tables.values():
        for name, (kind, nullable, default) in table["columns"].items():
            table["columns"][name] = (kind, nullable, "sequence" if "nextval" in str(default) else default)
    return tables


def test_a_store_of_version_1_becomes_what_a_new_one_is(urls: tuple[str, str]) -> None:
    old, new = urls
    make_old(old, 1)
    migrated, made = Database(old), Database(new)
    with migrated.read() as connection:
        assert version_of(connection) == schema.VERSION
    assert without_sequences(shape(migrated)) == without_sequences(shape(made))
    assert set(shape(made)) == set(schema.metadata.tables)
    migrated.close()
    made.close()


def test_what_was_read_before_there_were_webhooks_came_by_poll(urls: tuple[str, str]) -> None:
    make_old(urls[0], 1)
    store = Database(urls[0])
    with store.read() as connection:
        for table in (schema.raw, schema.event, schema.suppressed):
            assert connection.scalars(select(table.c.way)).all() == [schema.BY_POLL]
        assert connection.execute(select(schema.raw.c.key, schema.raw.c.status)).all() == [("a", schema.RAW_DONE)]
        assert connection.scalars(select(schema.person.c.key)).all() == ["k7"]
    store.close()
    Database(urls[0]).close()


def test_every_version_has_its_step() -> None:
    assert sorted(MIGRATIONS) == list(range(2, schema.VERSION + 1))
