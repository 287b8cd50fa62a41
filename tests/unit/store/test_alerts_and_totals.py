"""Small books: who was told of which trouble, and sums that only grow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncline.store import alerts, totals
from syncline.store.alerts import Known, Trouble
from syncline.store.database import Database
from syncline.store.totals import Totals

REFUSED = Trouble("credentials", "crm")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/state.db")
    yield made
    made.close()


def test_what_somebody_was_told_meanwhile_is_not_forgotten(database: Database) -> None:
    with database.write() as connection:
        alerts.put(connection, [Known(REFUSED, 1, 1, 1, None)])
        alerts.told(connection, [REFUSED], 2)
        alerts.put(connection, [Known(REFUSED, 5, 5, 2, None)])
        assert alerts.known(connection) == [Known(REFUSED, 1, 5, 2, 2)]
        alerts.forget(connection, [REFUSED])
        assert alerts.known(connection) == []


def test_sums_grow_and_times_only_go_forward(database: Database) -> None:
    for at_us in (5, 3):
        more = Totals()
        more.count(("calls", "crm", "read", "200"), 2)
        more.count(("waited_seconds", "crm"), 0.25)
        more.note(("sync", "leads"), at_us)
        with database.write() as connection:
            totals.add(connection, more)
    with database.read() as connection:
        found = totals.load(connection)
    assert found.sums == {("calls", "crm", "read", "200"): 4, ("waited_seconds", "crm"): 0.5}
    assert found.latest == {("sync", "leads"): 5}


def test_before_the_first_run_there_are_none(database: Database) -> None:
    with database.read() as connection:
        assert totals.load(connection) == Totals()
