"""Entering and leaving, with a margin, so that decay does not make a person flap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from syncline.scoring.model import Band

__all__ = ["Standing", "bands_step", "step"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a person stands towards a rule since when; `armed` means that entering now counts.

    `entered` is how often it counted so far: part of every action's key.
    """

    inside: bool
    armed: bool
    entered: int
    since: datetime


def step(
    previous: Standing | None, inside: bool, as_of: datetime, rearm_after: timedelta = timedelta(0)
) -> tuple[Standing, bool, bool]:
    """The new standing towards a segment, whether the person entered, whether the person left.

    Being inside at the first look counts as entering. Coming back sooner than `rearm_after` after leaving does not.
    """
    before = previous or Standing(False, True, 0, as_of)
    rested = rearm_after <= timedelta(0) or (not before.inside and as_of - before.since >= rearm_after)
    return _moved(before, inside, before.armed or rested, as_of)


def bands_step(previous: Standing | None, value: Decimal, band: Band, as_of: datetime) -> tuple[Standing, bool, bool]:
    """The same for a band: entering counts from `at_least` on, and again once the value was under `rearm_below`."""
    before = previous or Standing(False, True, 0, as_of)
    return _moved(before, value >= band.at_least, before.armed or value < band.rearm_below, as_of)


def _moved(before: Standing, inside: bool, armed: bool, as_of: datetime) -> tuple[Standing, bool, bool]:
    entered = inside and not before.inside and armed
    left = before.inside and not inside
    since = as_of if inside != before.inside else before.since
    after = replace(before, inside=inside, armed=armed and not inside, entered=before.entered + entered, since=since)
    return after, entered, left
