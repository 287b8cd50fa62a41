"""The calls of a day: counted before they are made, across processes, and never more than the budget."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncline.errors import RateLimitError
from syncline.store import usage
from syncline.store.database import Database
from syncline.sync.budget import Budget, day_of

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/state.db")
    yield found
    found.close()


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def made(budget: Budget, tries: int) -> int:
    """How many calls are let through."""
    count = 0
    for _ in range(tries):
        try:
            budget.take()
        except RateLimitError:
            continue
        count += 1
    return count


@pytest.mark.parametrize("per_day", [1, 24, 25, 26, 60])
def test_exactly_the_budget_is_let_through(database: Database, per_day: int) -> None:
    budget = Budget(database, "crm", per_day, Clock())
    assert made(budget, per_day + 10) == per_day
    assert budget.left() == 0


def test_what_is_used_up_says_until_when_and_what_to_do(database: Database) -> None:
    budget = Budget(database, "crm", 1, Clock())
    budget.take()
    with pytest.raises(RateLimitError, match=r"crm: the budget of 1 calls a day .* 2026-06-02 00:00 UTC") as caught:
        budget.take()
    assert caught.value.retry_after == timedelta(hours=12)
    assert "calls_per_day" in str(caught.value)


def test_the_next_day_begins_anew(database: Database) -> None:
    clock = Clock()
    budget = Budget(database, "crm", 30, clock)
    assert made(budget, 40) == 30
    clock.now += timedelta(hours=12)
    assert made(budget, 40) == 30


def test_another_process_sees_what_was_used(database: Database) -> None:
    """Also when the first was killed: what it had reserved counts as used."""
    assert made(Budget(database, "crm", 60, Clock()), 30) == 30
    assert made(Budget(database, "crm", 60, Clock()), 60) == 10, "30 were made, 50 were reserved"


def test_what_was_reserved_and_not_used_is_given_back(database: Database) -> None:
    first = Budget(database, "crm", 60, Clock())
    assert made(first, 30) == 30
    first.close()
    assert made(Budget(database, "crm", 60, Clock()), 60) == 30


def test_each_connection_has_a_day_of_its_own(database: Database) -> None:
    assert made(Budget(database, "crm", 5, Clock()), 9) == 5
    assert made(Budget(database, "other", 5, Clock()), 9) == 5


def test_without_a_budget_calls_are_counted_all_the_same(database: Database) -> None:
    budget = Budget(database, "crm", None, Clock())
    assert made(budget, 70) == 70
    budget.close()
    with database.read() as connection:
        assert usage.used(connection, "crm", day_of(NOON)) == 70
    assert budget.left() is None


def test_threads_together_stay_within_the_budget(database: Database) -> None:
    budget = Budget(database, "crm", 100, Clock())
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(made(budget, 50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 100
