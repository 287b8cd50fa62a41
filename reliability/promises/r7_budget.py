"""R7: the forecast against what the vendor counted, in calm weather and in a storm of 429s; and days that end too soon.

A budget of ours and a quota of the vendor's run out in the middle: never a call more, the hottest are there, and all of
it arrives on the days that follow.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from reliability.lines import Case, Line
from reliability.world import Time, World, open_world
from syncline.testing.simulator import Fault

NAME: Final = "R7"
PROMISE: Final = "never over the budget; the forecast is within 5 %"
SMALL: Final = {"people": 220, "days": 20}
FULL: Final = {"people": 10_000, "days": 60}

_DAY: Final = timedelta(days=1)
_MANY: Final = 15
"""With fewer calls to write, a day may end between records and tasks instead of among the records."""


def run(case: Case) -> Iterator[Line]:
    trouble: list[str] = []
    figures: dict[str, Any] = {"people": case.size["people"]}
    with _world(case, "calm") as world:
        told, faults, first = _forecast(world)
    figures |= told
    trouble += [f"calm: {fault}" for fault in faults]
    with _world(case, "storm") as world:
        told, faults = _stormy_forecast(world)
    figures |= told
    trouble += [f"429s: {fault}" for fault in faults]
    for name, check in (("budget", _budget), ("quota", _quota)):
        with _world(case, name) as world:
            told, faults = check(world, case.size["days"], first)
        figures |= told
        trouble += [f"{name}: {fault}" for fault in faults]
    yield case.line(NAME, figures, trouble)


def _world(case: Case, name: str) -> AbstractContextManager[World]:
    return open_world(case.folder / name, case.crm, case.stores, case.size["people"], case.seed, known=False)


@dataclass(frozen=True, slots=True)
class _First:
    """What a first run takes when nothing is in its way: calls to look, and calls to write."""

    look: int
    writes: int

    @property
    def too_little(self) -> int:
        """Enough to look and to begin writing, not to end it."""
        return self.look + max(3, self.writes // 5)


def _forecast(world: World) -> tuple[dict[str, Any], list[str], _First]:
    """A first run, then one that changes a tenth: what `plan` said, and what the vendor counted."""
    planned, counted, made = _planned_and_counted(world, None)
    world.say(dict.fromkeys(list(world.people)[::10], 3))
    again, counted_again, _ = _planned_and_counted(world, None)
    told, trouble = _off("off by", planned + again, counted + counted_again)
    return told, trouble, _First((made["calls"] - made["write_calls"]), made["write_calls"])


def _stormy_forecast(world: World) -> tuple[dict[str, Any], list[str]]:
    world.simulator.faults = [Fault("too_many", times=None, probability=0.2, seconds=2.0)]
    forecast, counted, _ = _planned_and_counted(world, Time())
    return _off("off by, with 429s", forecast, counted)


def _planned_and_counted(world: World, time: Time | None) -> tuple[int, int, Counter[str]]:
    """In the vendor's own currency, calls or credits; and all that the vendor counted of the run."""
    with world.host(time) as host:
        forecast = host.plan().sinks["crm"]
    before = Counter(world.simulator.counters())
    report = world.run(time)
    if report.error:
        raise AssertionError(report.error)
    made = Counter(world.simulator.counters()) - before
    if forecast.planned_credits is None:
        return forecast.planned_calls, made["write_calls"], made
    return forecast.planned_credits, made["write_credits"], made


def _off(name: str, planned: int, counted: int) -> tuple[dict[str, Any], list[str]]:
    off = abs(counted - planned) / max(planned, 1)
    trouble = [f"{planned} were planned, the vendor counted {counted}"] if off > 0.05 or not counted else []
    return {name: f"{off:.1%} of {planned}"}, trouble


def _budget(world: World, days_allowed: int, first: _First) -> tuple[dict[str, Any], list[str]]:
    """So few calls a day that the first is not enough: the hottest are there by its end."""
    per_day = first.too_little
    _configure(world, {"calls_per_day": per_day})
    trouble: list[str] = []
    days, most, short = 0, 0, False
    while days < days_allowed:
        days += 1
        before = world.simulator.counters()["calls"]
        reports = [world.run() for _ in range(2)]  # the schedule goes on: what is used up stays used up
        used = world.simulator.counters()["calls"] - before
        most = max(most, used)
        if used > per_day:
            trouble.append(f"day {days}: {used} calls, the budget is {per_day}")
        short |= _is_short(world)
        trouble += _hottest_first(world)
        if any(report.error is None for report in reports):
            break
        world.later(_DAY)
    if not short and first.writes > _MANY:
        trouble.append("no day ended in the middle: nothing is shown")
    trouble += world.compare().told
    return {"budget a day": per_day, "most used": most, "days": days}, trouble


def _quota(world: World, _: int, __: _First) -> tuple[dict[str, Any], list[str]]:
    """The vendor's own quota ends among the writes: no call is made until it may have begun again."""
    day = _DAY.total_seconds()
    world.simulator.faults = [Fault("quota", on=call, after=1, seconds=day) for call in world.crm.writes["upsert"]]
    report = world.run()
    trouble = [] if report.error else ["the quota did not run out: nothing is shown"]
    before = world.simulator.counters()["calls"]
    asked = world.run()
    refused = world.simulator.counters()["calls"] - before
    if refused or asked.error is None:
        trouble.append(f"{refused} calls while the day was known to be used up")
    world.simulator.faults = []
    world.later(2 * _DAY)
    world.until_quiet(most=3)
    trouble += world.compare().told
    return {"calls after the quota": refused}, trouble


def _configure(world: World, budget: dict[str, int]) -> None:
    held = json.loads(world.config.read_text("utf-8"))
    held["connections"]["crm"]["budget"] = budget
    world.config.write_text(json.dumps(held), "utf-8")


def _is_short(world: World) -> bool:
    """Whether some people are there and others wait."""
    waiting, arrived = _by_arrival(world)
    return bool(waiting) and bool(arrived)


def _hottest_first(world: World) -> list[str]:
    """Nobody waits who has more points than somebody who is there."""
    waiting, arrived = _by_arrival(world)
    if waiting and arrived and max(waiting) > min(arrived):
        return [f"somebody with {max(waiting)} points waits, somebody with {min(arrived)} is there"]
    return []


def _by_arrival(world: World) -> tuple[list[int], list[int]]:
    """The points of those who wait, and of those who are there."""
    there = {email for record in world.crm.records(world.crm, world.simulator) for email in record.emails}
    waiting = [points for email, points in world.points.items() if email not in there]
    return waiting, [points for email, points in world.points.items() if email in there]
