"""Local days, from zoneinfo for every evaluator: engines get the offsets as a list, never ask their own calendar."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from syncline.model import from_microseconds

__all__ = ["DAY_US", "local_day", "offset_us", "transitions"]

DAY_US: Final = 86_400_000_000
_MICROSECOND: Final = timedelta(microseconds=1)


def offset_us(t_us: int, zone: str) -> int:
    """How far local time is ahead of UTC at that instant."""
    offset = from_microseconds(t_us).astimezone(_zone(zone)).utcoffset()
    assert offset is not None  # noqa: S101 # an aware datetime has one
    return offset // _MICROSECOND


def local_day(t_us: int, zone: str) -> int:
    """The local calendar day, counted from 1970-01-01."""
    return (t_us + offset_us(t_us, zone)) // DAY_US


def transitions(zone: str, first_us: int, last_us: int) -> list[tuple[int, int]]:
    """(from this instant on, this offset) over the given span, oldest first; the first starts at `first_us`."""
    found = [(first_us, offset_us(first_us, zone))]
    low = first_us
    while low < last_us:
        high = min(low + DAY_US, last_us)
        if offset_us(high, zone) != found[-1][1]:
            found.append(_change(zone, low, high))
            high = found[-1][0]
        low = high
    return found


def _change(zone: str, low: int, high: int) -> tuple[int, int]:
    """The first instant in (low, high] with another offset than at `low`."""
    before = offset_us(low, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_us(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high, offset_us(high, zone)


@functools.cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
