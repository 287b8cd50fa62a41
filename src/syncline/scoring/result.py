"""What comes out: scores with their contributions, and the segments a person is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["Assessment", "Contribution", "ScoreResult", "Shown"]

Shown = Decimal | int | str | bool | None
"""A signal's value as people read it; "never" stands for an infinite idle time."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one line gave to a score, and why. `events` are the last event ids behind it, newest first, at most 3."""

    line: str
    amount: Decimal
    signal: str | None = None
    value: Shown = None
    weight: Decimal | None = None
    events: tuple[str, ...] = ()
    says: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """One score of one person. `value` has 2 decimals and is exactly the sum of the contributions."""

    name: str
    model: str
    version: int
    value: Decimal
    band: str | None
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """All we think of a person as of a time. The last event is the last thing that the person did."""

    person_id: int
    scores: Mapping[str, ScoreResult]
    segments: frozenset[str]
    last_event_type: str | None
    last_event_us: int | None
