"""Durations as people write them in YAML: `90d`, `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

__all__ = ["parse_duration"]

_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_duration(text: str) -> timedelta:
    """`90d` → ninety days; parts add up (`1h30m`). ValueError says what would be valid."""
    compact = text.strip().lower()
    parts = _PART.findall(compact)
    if not parts or _PART.sub("", compact).strip():
        raise ValueError(f"{text!r} is not a duration; write a number and a unit (s m h d w), such as 90d or 1h30m")
    return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta(0))
