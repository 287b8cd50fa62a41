"""Cron expressions as crontab(5) has them: `0 3 * * mon-fri`, in a time zone of one's own."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, Self

__all__ = ["Cron"]

_MONTHS: Final = dict(zip("jan feb mar apr may jun jul aug sep oct nov dec".split(), range(1, 13), strict=True))
_WEEKDAYS: Final = dict(zip("sun mon tue wed thu fri sat".split(), range(7), strict=True))
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _WEEKDAYS),  # 0 and 7 are Sunday
)
_SHORT: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART: Final = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")
_NONE: Final = timedelta(0)
_DAY: Final = timedelta(days=1)
_DAYS_AT_MOST: Final = 8 * 366
"""The 29th of February may be eight years away: 2100 has none."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Times of day on certain days. Without a `*` in either, a day is right if the month's or the week's field says so.

    Daylight saving: a time that the clock leaves out comes as much later as the clock jumps; one that comes twice
    counts once. With `*` for the hour it is every hour that passes, also the one that comes twice.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """ValueError says which field is wrong and what would be valid."""
        fields = _SHORT.get(text.strip().lower(), text).split()
        if len(fields) != len(_FIELDS):
            raise ValueError(
                "must be five fields, minute, hour, day of the month, month and day of the week, such as '0 3 * * *' "
                f"(every night at three); or one of {', '.join(_SHORT)}"
            )
        found = [_numbers(written, *field) for written, field in zip(fields, _FIELDS, strict=True)]
        minutes, hours, days, months, weekdays = found
        cron = cls(
            " ".join(fields),
            tuple(minutes),
            tuple(hours),
            frozenset(days),
            frozenset(months),
            frozenset(number % 7 for number in weekdays),
        )
        if not cron._ever():
            raise ValueError(f"never comes: none of its months has a day {min(days)}")
        return cron

    def __str__(self) -> str:
        return self.text

    def latest(self, at: datetime, zone: tzinfo) -> datetime:
        """The last time at or before `at`."""
        day = at.astimezone(zone).date()
        for _ in range(_DAYS_AT_MOST):
            before = day - _DAY
            if past := [moment for moment in self._moments(day, zone) if moment <= at]:
                return max(past + [moment for moment in self._moments(before, zone) if moment <= at])
            day = before
        raise AssertionError(self.text)  # `parse` has seen to it that there are times

    def after(self, at: datetime, zone: tzinfo) -> datetime:
        """The first time after `at`."""
        day = at.astimezone(zone).date() - _DAY
        for _ in range(_DAYS_AT_MOST):
            following = day + _DAY
            if coming := [moment for moment in self._moments(day, zone) if moment > at]:
                return min(coming + [moment for moment in self._moments(following, zone) if moment > at])
            day = following
        raise AssertionError(self.text)

    def _field(self, number: int) -> str:
        return self.text.split()[number]

    def _ever(self) -> bool:
        if not self._field(2).startswith("*") and self._field(4).startswith("*"):
            return any(min(self.days) <= calendar.monthrange(2024, month)[1] for month in self.months)
        return True

    def _matches(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self._field(2).startswith("*") or self._field(4).startswith("*"):
            return of_month and of_week
        return of_month or of_week

    def _moments(self, day: date, zone: tzinfo) -> Iterator[datetime]:
        """A time that the clock leaves out may slip past midnight: look at the next day, too."""
        if not self._matches(day):
            return
        every_hour = self._field(1) == "*"
        for hour in self.hours:
            for minute in self.minutes:
                first = datetime.combine(day, time(hour, minute), zone)
                yield first.astimezone(UTC)
                second = first.replace(fold=1)
                if every_hour and (second.utcoffset() or _NONE) < (first.utcoffset() or _NONE):
                    yield second.astimezone(UTC)


def _numbers(written: str, name: str, low: int, high: int, words: dict[str, int]) -> list[int]:
    """Every number that a field stands for, in order."""
    found: set[int] = set()
    for part in written.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{name}: cannot be read; write *, */15, 1,15, 9-17 or 9-17/2")
        found |= set(_range(match, name, low, high, words))
    return sorted(found)


def _range(match: re.Match[str], name: str, low: int, high: int, words: dict[str, int]) -> range:
    step = int(match["step"] or 1)
    if step < 1:
        raise ValueError(f"{name}: a step is at least 1")
    if match["first"] is None:
        return range(low, high + 1, step)
    first = _number(match["first"], name, low, high, words)
    if match["last"] is None:
        if match["step"]:
            raise ValueError(f"{name}: a step goes with * or a range: {first}-{high}/{step}")
        return range(first, first + 1)
    last = _number(match["last"], name, low, high, words)
    if last < first and match["last"].lower() == "sun":
        last = 7  # fri-sun ends with the Sunday after
    if last < first:
        raise ValueError(f"{name}: a range goes upwards; write {match['first']}-{high},{low}-{match['last']}")
    return range(first, last + 1, step)


def _number(word: str, name: str, low: int, high: int, words: dict[str, int]) -> int:
    number = words.get(word.lower(), int(word) if word.isdecimal() else -1)
    if not low <= number <= high:
        named = f", or {', '.join(words)}" if words else ""
        raise ValueError(f"{name}: must be {low} to {high}{named}")
    return number
