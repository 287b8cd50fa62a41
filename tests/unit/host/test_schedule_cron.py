"""Cron expressions: which times they name, and in whose clock."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.model.cron import Cron

ROME = ZoneInfo("Europe/Rome")
WEEKDAYS = "sun mon tue wed thu fri sat".split()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def coming(text: str, after: str, count: int, zone: ZoneInfo | None = None) -> list[str]:
    """The next times, in the clock of `zone`."""
    cron, moment, found = Cron.parse(text), at(after), []
    for _ in range(count):
        moment = cron.after(moment, zone or UTC)
        found.append(f"{moment.astimezone(zone or UTC):%Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("0 3 * * *", ["2026-06-02 03:00", "2026-06-03 03:00"]),
        ("@daily", ["2026-06-02 00:00", "2026-06-03 00:00"]),
        ("*/20 9-10 * * *", ["2026-06-01 09:00", "2026-06-01 09:20", "2026-06-01 09:40", "2026-06-01 10:00"]),
        ("5,35 8 * * *", ["2026-06-01 08:05", "2026-06-01 08:35", "2026-06-02 08:05"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 12 * * 0", ["2026-06-07 12:00", "2026-06-14 12:00"]),
        ("0 12 * * 7", ["2026-06-07 12:00", "2026-06-14 12:00"]),
        ("0 12 * * FRI-SUN", ["2026-06-05 12:00", "2026-06-06 12:00", "2026-06-07 12:00", "2026-06-12 12:00"]),
        ("0 12 * * sun-tue", ["2026-06-01 12:00", "2026-06-02 12:00", "2026-06-07 12:00"]),
        ("0 0 1-10/3 jan,jul *", ["2026-07-01 00:00", "2026-07-04 00:00", "2026-07-07 00:00", "2026-07-10 00:00"]),
    ],
)
def test_an_expression_names_its_times(text: str, times: list[str]) -> None:
    """2026-06-01 is a Monday."""
    assert coming(text, "2026-06-01T08:00", len(times)) == times


def test_day_of_month_or_day_of_week_is_enough_when_both_are_given() -> None:
    """crontab(5): "30 4 1,15 * 5 would cause a command to be run at 4:30 am on the 1st and 15th of each month, plus
    every Friday"."""
    assert coming("30 4 1,15 * 5", "2026-06-01T08:00", 4) == [
        "2026-06-05 04:30",
        "2026-06-12 04:30",
        "2026-06-15 04:30",
        "2026-06-19 04:30",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 3 * *", "must be five fields, minute, hour"),
        ("", "must be five fields"),
        ("@reboot", "or one of @hourly, @daily"),
        ("60 * * * *", "minute: must be 0 to 59"),
        ("* 24 * * *", "hour: must be 0 to 23"),
        ("* * 0 * *", "day of the month: must be 1 to 31"),
        ("* * * 13 *", "month: must be 1 to 12, or jan, feb"),
        ("* * * * 8", "day of the week: must be 0 to 7, or sun, mon"),
        ("* * * * monday", "day of the week: must be 0 to 7"),
        ("*/0 * * * *", "minute: a step is at least 1"),
        ("5/10 * * * *", "minute: a step goes with \\* or a range: 5-59/10"),
        ("* 22-6 * * *", "hour: a range goes upwards; write 22-23,0-6"),
        ("0 3 ? * *", "day of the month: cannot be read"),
        ("-1 * * * *", "minute: cannot be read"),
        ("0 0 30 2 *", "never comes: none of its months has a day 30"),
        ("0 0 31 4,6 *", "never comes"),
    ],
)
def test_what_is_no_expression_is_refused_with_what_would_be(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cron.parse(text)


def test_a_time_that_the_clock_leaves_out_comes_by_so_much_later() -> None:
    """On 2026-03-29 Rome goes from 02:00 to 03:00."""
    assert coming("30 2 * * *", "2026-03-28T12:00", 2, ROME) == ["2026-03-29 03:30", "2026-03-30 02:30"]


def test_a_time_that_comes_twice_counts_once() -> None:
    """On 2026-10-25 Rome goes from 03:00 back to 02:00."""
    assert coming("30 2 * * *", "2026-10-24T12:00", 2, ROME) == ["2026-10-25 02:30", "2026-10-26 02:30"]


def test_with_a_star_for_the_hour_it_is_every_hour_that_passes() -> None:
    cron, moments = Cron.parse("30 * * * *"), [at("2026-10-24T22:00")]
    for _ in range(4):
        moments.append(cron.after(moments[-1], ROME))
    steps = [after - before for before, after in itertools.pairwise(moments)]
    assert steps == [timedelta(minutes=30), *[timedelta(hours=1)] * 3]


def test_a_time_that_slips_past_midnight_hides_no_other() -> None:
    """On 2026-03-28 Nuuk goes from 23:00 to 00:00 of the next day (IANA tzdata)."""
    nuuk = ZoneInfo("America/Nuuk")
    assert coming("15,45 23,0 * * *", "2026-03-28T12:00", 4, nuuk) == [
        "2026-03-29 00:15",
        "2026-03-29 00:45",
        "2026-03-29 23:15",
        "2026-03-29 23:45",
    ]


minutes = st.one_of(st.just("*"), st.builds("*/{}".format, st.integers(1, 59)), st.integers(0, 59).map(str))
hours = st.one_of(st.just("*"), st.builds("*/{}".format, st.integers(1, 23)), st.integers(0, 23).map(str))
days = st.one_of(
    st.tuples(st.just("*"), st.just("*")),
    st.tuples(st.integers(1, 28).map(str), st.just("*")),
    st.tuples(st.just("*"), st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True).map(",".join)),
)
months = st.one_of(st.just("*"), st.integers(1, 12).map(str))
moments = st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds it


@settings(deadline=None)  # a busy machine is no mistake
@given(minutes, hours, days, months, moments)
def test_the_times_are_those_of_apscheduler(
    minute: str, hour: str, day: tuple[str, str], month: str, now: datetime
) -> None:
    """A library that others wrote. It takes 0 for Monday, and both days for wanted: hence names, and one day only."""
    trigger = pytest.importorskip(
        "apscheduler.triggers.cron", reason="APScheduler is not installed (extra: dev): nothing to compare with"
    )
    text = f"{minute} {hour} {day[0]} {month} {day[1]}"
    found = Cron.parse(text).after(now, UTC)
    theirs = trigger.CronTrigger.from_crontab(text, timezone=UTC)
    assert found == theirs.get_next_fire_time(None, now + timedelta(microseconds=1))


@settings(deadline=None)  # a busy machine is no mistake
@given(minutes, hours, days, months, moments, st.sampled_from(["UTC", "Europe/Rome", "America/Nuuk", "Asia/Kolkata"]))
def test_the_latest_time_is_the_one_after_which_the_next_one_comes(
    minute: str, hour: str, day: tuple[str, str], month: str, now: datetime, zone: str
) -> None:
    cron, clock = Cron.parse(f"{minute} {hour} {day[0]} {month} {day[1]}"), ZoneInfo(zone)
    latest, coming_next = cron.latest(now, clock), cron.after(now, clock)
    assert latest <= now < coming_next
    assert cron.latest(coming_next - timedelta(microseconds=1), clock) == latest
    assert cron.latest(coming_next, clock) == coming_next
    assert cron.after(latest, clock) == coming_next
