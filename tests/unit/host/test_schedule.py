"""What is to run now: whatever the clock does, and however long nobody looked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, update

from syncline.host.schedule import AHEAD, ByCron, Due, Every, Times, answer, decide, look
from syncline.model import microseconds
from syncline.model.cron import Cron
from syncline.store import schedules, schema
from syncline.store.database import Database
from syncline.store.schedules import AGAIN, BEGUN, SEEN, Turn
from syncline.sync.report import Report

NOW = datetime(2026, 6, 1, 8, 20, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
LATEST = NOW - timedelta(minutes=5)
LEADS: dict[str, Times] = {"leads": Every(QUARTER)}


def turn(due: datetime, outcome: str | None = "done", run_status: str | None = "done") -> Turn:
    return Turn("leads", due, None if outcome == SEEN else "run-1", outcome, run_status)


def decided(found: Turn | None, now: datetime = NOW) -> Due:
    return decide(LEADS, {} if found is None else {"leads": found}, now)


def test_what_has_not_run_for_its_last_time_is_due() -> None:
    assert decided(turn(LATEST - QUARTER)).times == {"leads": LATEST}
    assert decided(turn(LATEST)) == Due()


def test_however_many_times_were_missed_it_is_due_once_for_the_last_of_them() -> None:
    assert decided(turn(LATEST - timedelta(days=30))).times == {"leads": LATEST}


def test_what_is_seen_for_the_first_time_waits_for_its_next_time() -> None:
    due = decided(None)
    assert (due.times, due.new) == ({}, {"leads": LATEST})


def test_everybody_counts_every_alike() -> None:
    assert Every(QUARTER).latest(NOW) == datetime(2026, 6, 1, 8, 15, tzinfo=UTC)
    assert Every(timedelta(days=1)).after(NOW) == datetime(2026, 6, 2, tzinfo=UTC)
    assert Every(QUARTER).latest(LATEST) == LATEST
    assert Every(QUARTER).after(LATEST) == LATEST + QUARTER


def test_cron_is_in_the_clock_of_its_zone() -> None:
    rome = ByCron(Cron.parse("0 3 * * *"), ZoneInfo("Europe/Rome"))
    assert rome.latest(NOW) == datetime(2026, 6, 1, 1, tzinfo=UTC)
    assert rome.after(NOW) == datetime(2026, 6, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("status", [None, "running", "killed"])
def test_a_run_that_was_killed_is_run_again_once(status: str | None) -> None:
    due = decided(turn(LATEST, BEGUN, status))
    assert (due.times, due.again) == ({"leads": LATEST}, {"leads"})
    assert decided(turn(LATEST, AGAIN, status)) == Due(), "what killed two runs may kill every one"
    assert decided(turn(LATEST - QUARTER, AGAIN, status)).times == {"leads": LATEST}, "the next time is a new one"


@pytest.mark.parametrize(
    ("outcome", "status"), [("interrupted", "interrupted"), (BEGUN, "interrupted"), (AGAIN, "interrupted")]
)
def test_a_run_that_was_interrupted_goes_on_with_the_next_start(outcome: str, status: str) -> None:
    due = decided(turn(LATEST, outcome, status))
    assert (due.times, due.again) == ({"leads": LATEST}, set())


@pytest.mark.parametrize("status", ["done", "rejected", "stopped", "paused", "misconfigured", "failed"])
def test_a_run_that_came_to_its_end_has_answered_however_it_went(status: str) -> None:
    assert decided(turn(LATEST, status, status)) == Due()
    assert decided(turn(LATEST, BEGUN, status)) == Due(), "the process ended before it could note that"
    assert decided(turn(LATEST, status, None)) == Due(), "the run's row is no longer kept"


def test_a_clock_that_is_set_back_runs_nothing_twice_and_says_until_when() -> None:
    for back in (timedelta(minutes=10), timedelta(hours=3), AHEAD - timedelta(minutes=5)):
        due = decided(turn(LATEST), LATEST - back)
        assert (due.times, due.held) == ({}, {"leads": LATEST})
    assert decided(turn(LATEST), LATEST + QUARTER).times == {"leads": LATEST + QUARTER}


def test_a_clock_that_was_years_ahead_stalls_nothing_for_years() -> None:
    due = decided(turn(NOW + timedelta(days=1500)))
    assert (due.times, due.ahead) == ({}, {"leads": LATEST})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/state.db")
    yield found
    found.close()


def stored(database: Database) -> dict[str, Turn]:
    with database.read() as connection:
        return schedules.turns(connection)


def ran(database: Database, now: datetime, status: str = "done") -> list[datetime]:
    """One look at the clock at this time, and a run of what is due; the times it was for."""
    due = look(database, LEADS, now)
    if due.times:
        answer(database, due, f"run-{microseconds(now)}", lambda: Report(status=status))  # type: ignore[arg-type]
    return list(due.times.values())


def test_a_turn_is_kept_with_its_run_and_how_that_ended(database: Database) -> None:
    assert ran(database, NOW - QUARTER) == []
    assert stored(database)["leads"] == Turn("leads", LATEST - QUARTER, None, SEEN, None)
    assert ran(database, NOW, "rejected") == [LATEST]
    assert stored(database)["leads"] == Turn("leads", LATEST, f"run-{microseconds(NOW)}", "rejected", None)


def test_a_run_that_raises_has_failed_and_answered(database: Database) -> None:
    def fails() -> Report:
        raise ZeroDivisionError

    ran(database, NOW - QUARTER)
    with pytest.raises(ZeroDivisionError):
        answer(database, look(database, LEADS, NOW), "run-1", fails)
    assert stored(database)["leads"].outcome == "failed"
    assert ran(database, NOW) == []


def test_the_first_try_and_the_second_are_told_apart(database: Database) -> None:
    ran(database, NOW - QUARTER)
    tries = []
    for number in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            answer(database, look(database, LEADS, NOW), f"run-{number}", _kill)
        with database.write() as connection:  # nobody could write this down
            connection.execute(update(schema.schedule).values(outcome=[BEGUN, AGAIN][number - 1]))
            connection.execute(insert(schema.run).values(id=f"run-{number}", started_us=0, as_of_us=0, status="killed"))
        tries.append(stored(database)["leads"].outcome)
    assert tries == [BEGUN, AGAIN]
    assert ran(database, NOW) == []
    assert ran(database, NOW + QUARTER) == [LATEST + QUARTER]


def _kill() -> Report:
    raise KeyboardInterrupt


def test_two_that_see_a_sync_first_keep_the_same_turn(database: Database) -> None:
    with database.write() as connection:
        schedules.first_seen(connection, {"leads": LATEST})
        schedules.begin(connection, {"leads": LATEST + QUARTER}, "run-1")
        schedules.first_seen(connection, {"leads": LATEST})
    assert stored(database)["leads"].due == LATEST + QUARTER


def test_what_was_set_back_by_one_is_not_set_back_again_by_another(database: Database) -> None:
    with database.write() as connection:
        schedules.first_seen(connection, {"leads": NOW + 2 * AHEAD})
    [before] = stored(database).values()
    with database.write() as connection:
        schedules.set_back(connection, before, LATEST)
        schedules.begin(connection, {"leads": LATEST + QUARTER}, "run-1")
        schedules.set_back(connection, before, LATEST)
    assert stored(database)["leads"].due == LATEST + QUARTER


def test_it_is_said_when_a_clock_was_set_back_far(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    ran(database, NOW - QUARTER)
    assert ran(database, NOW + timedelta(days=1500)), "the clock was wrong for a moment"
    assert ran(database, NOW) == []
    assert (
        "leads was run for 2030-07-10 08:15 UTC already, which is still to come: the clock was set back" in caplog.text
    )
    assert ran(database, NOW + QUARTER) == [LATEST + QUARTER]


def test_whatever_the_clock_does_no_time_is_run_twice_and_nothing_stalls(
    database: Database, pytestconfig: pytest.Config
) -> None:
    """500 looks of a clock that goes on, jumps ahead for hours, and is set back, never for more than a day."""
    seed = pytestconfig.getoption("--seed")
    chance, now, peak, times = random.Random(seed), NOW, NOW, []
    ran(database, NOW - QUARTER)
    for _ in range(500):
        step = chance.choice([timedelta(minutes=chance.uniform(0, 20))] * 8 + [timedelta(hours=9), -timedelta(hours=5)])
        now = max(now + step, peak - AHEAD + QUARTER)
        peak = max(peak, now)
        times += ran(database, now)
    assert len(times) == len(set(times)), f"seed {seed}"
    assert len(times) > 100, f"seed {seed}"
    assert ran(database, peak + QUARTER), f"seed {seed}"
