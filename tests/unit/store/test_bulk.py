"""Statements for many rows say the same as Core does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from syncline.errors import StoreError
from syncline.store import schema
from syncline.store.bulk import Lookup, Many
from syncline.store.database import Database

STALE = Many(lambda insert: insert(schema.stale).on_conflict_do_nothing(), ["person_id"])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 64, 65, 500, 501, 1207])
def test_lookup_finds_all_of_any_number_of_values_once(database: Database, count: int) -> None:
    lookup = Lookup(select(schema.stale.c.person_id), schema.stale.c.person_id)
    with database.write() as connection:
        STALE.run(connection, ((person,) for person in range(2000)))
        found = [person for (person,) in lookup.rows(connection, range(count))]
    assert sorted(found) == list(range(count))


def test_lookup_takes_its_other_parameters_first(database: Database) -> None:
    table = schema.meta
    lookup = Lookup(select(table.c.name).where(table.c.value == "1"), table.c.name)
    with database.read() as connection, pytest.raises(StoreError, match="a statement takes"):
        list(lookup.rows(connection, ["version"], "1"))


def test_rows_that_are_there_stay(database: Database) -> None:
    with database.write() as connection:
        STALE.run(connection, [(1,), (2,)])
        STALE.run(connection, [(2,), (3,)])
        STALE.run(connection, [])
        assert sorted(connection.scalars(select(schema.stale.c.person_id))) == [1, 2, 3]


def test_columns_in_another_order_are_refused(database: Database) -> None:
    swapped = Many(lambda insert: insert(schema.meta), ["value", "name"])
    with database.write() as connection, pytest.raises(StoreError, match=r"\['value', 'name'\]"):
        swapped.run(connection, [("1", "other")])
