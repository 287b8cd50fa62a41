"""200 calls a minute and the plan's number a day, both answered with 429 and Retry-After (vendor sheet, §1)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncline.errors import RateLimitError
from syncline.testing.simulator import Fault
from syncline_instapage.simulator.world import MARKETING


def test_our_own_pace_stays_within_the_minute(simulate, connect, stopwatch):
    """300 calls in a row, and not one is refused."""
    simulator = simulate(people=10)
    source = connect(simulator, calls_per_minute=180)
    for _ in range(300):
        source.check()
    assert source.context.http.metrics.statuses == {"200": 300}
    assert stopwatch.seconds == pytest.approx(300 / 3, abs=1)


def test_a_minute_that_is_used_up_says_for_how_long(simulate, connect, stopwatch):
    simulator = simulate(people=10)
    source = connect(simulator)
    for _ in range(200):
        source.check()
    with pytest.raises(RateLimitError) as caught:
        source.check()
    assert timedelta(seconds=55) < caught.value.retry_after <= timedelta(seconds=60)
    stopwatch.seconds += 60
    assert source.check()


def test_a_day_that_is_used_up_comes_back_at_midnight_utc(simulate, connect):
    simulator = simulate(people=10)
    simulator.per_day = 3
    source = connect(simulator)
    for _ in range(3):
        source.check()
    with pytest.raises(RateLimitError) as caught:
        source.check()
    assert caught.value.retry_after == timedelta(hours=16)  # it is 08:00


def test_a_long_pause_outlives_the_run_and_costs_no_call(simulate, connect, pull):
    """The plan of the sheet (§4): Retry-After can be hours; keep it, do not spin."""
    simulator = simulate(people=30)
    simulator.per_day = 3
    keep = {}
    with pytest.raises(RateLimitError):
        pull(connect(simulator, keep=keep))
    simulator.reset_counters()
    simulator.advance(timedelta(hours=6))
    again = connect(simulator, keep=keep)
    for _ in range(2):
        with pytest.raises(RateLimitError, match="daily quota") as caught:
            pull(again)
        assert caught.value.retry_after == timedelta(hours=10)
    assert "calls" not in simulator.counters()
    simulator.advance(timedelta(hours=10))
    simulator.per_day = 5000
    assert len(pull(connect(simulator, keep=keep))[0]) == len(simulator.submissions)


def test_a_check_asks_in_spite_of_a_pause_and_ends_it_when_the_plan_has_grown(simulate, connect, pull):
    simulator, keep = simulate(people=30), {}
    simulator.per_day = 3
    with pytest.raises(RateLimitError):
        pull(connect(simulator, keep=keep))
    with pytest.raises(RateLimitError, match="HTTP 429"):
        connect(simulator, keep=keep).check()
    with pytest.raises(RateLimitError, match="daily quota"):  # it was told again how long
        pull(connect(simulator, keep=keep))
    simulator.per_day = 5000
    connect(simulator, keep=keep).check()
    assert len(pull(connect(simulator, keep=keep))[0]) == len(simulator.submissions)


def test_a_pause_that_a_wrong_clock_noted_does_not_last_for_years(simulate, connect, pull):
    simulator, keep = simulate(people=30), {}
    simulator.per_day = 3
    with pytest.raises(RateLimitError):
        pull(connect(simulator, keep=keep, ahead=timedelta(days=400)))
    simulator.per_day = 5000
    assert len(pull(connect(simulator, keep=keep))[0]) == len(simulator.submissions)


def test_a_short_pause_is_not_kept(simulator, connect):
    keep = {}
    simulator.faults = [Fault("too_many", seconds=30)]
    with pytest.raises(RateLimitError) as caught:
        connect(simulator, keep=keep).check()
    assert caught.value.retry_after == timedelta(seconds=30)
    assert keep == {}


def test_429_without_a_time_says_none(simulator, connect):
    simulator.faults = [Fault("too_many")]
    with pytest.raises(RateLimitError) as caught:
        connect(simulator).check()
    assert caught.value.retry_after is None


def test_the_fault_language_uses_up_the_quota(simulator, connect):
    simulator.faults = [Fault("quota", seconds=3600)]
    with pytest.raises(RateLimitError) as caught:
        connect(simulator).check()
    assert caught.value.retry_after == timedelta(hours=16)
    simulator.advance(timedelta(hours=2))
    assert connect(simulator).check()


def test_a_quota_used_up_in_the_middle_loses_nothing(simulate, connect, pull):
    """Windows that were complete stay so; the rest comes the next day."""
    simulator = simulate(people=300)
    simulator.per_day = 4
    source = connect(simulator, workspaces=MARKETING, window="30d")
    found, cursor = set(), None
    for day in range(10):  # noqa: B007  # it is looked at below
        try:
            for page in source.read("submissions", cursor):
                found |= {raw.key for raw in page.records}
                cursor = page.cursor or cursor
            break
        except RateLimitError as error:
            simulator.advance(error.retry_after)
            source = connect(simulator, workspaces=MARKETING, window="30d")
    assert found == {s["id"] for s in simulator.submissions.values() if s["page"] < 30_000_000}
    assert day == 1
