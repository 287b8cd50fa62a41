"""Storm: every fault of the simulators' fault language at once at 5 %, then calm until a run has nothing left to write.

5 % of the calls meet a fault of each kind, which together is every third call. 5 % of the records are refused and 5 %
locked at every try; in 5 % of the runs the day's quota ends. What the CRM holds is read once before the storm begins.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Final, get_args

from reliability.books import letters
from reliability.lines import Case, Line
from reliability.world import Time, World, open_world
from syncline.testing.simulator import Fault, FaultKind

NAME: Final = "Storm"
PROMISE: Final = "after the storm each CRM equals the desired state exactly"
SMALL: Final = {"people": 80, "percent": 5, "stormy": 3}
FULL: Final = {"people": 20_000, "percent": 5, "stormy": 24}

_QUOTA: Final = timedelta(hours=1)


def run(case: Case) -> Iterator[Line]:
    with open_world(case.folder, case.crm, case.stores, case.size["people"], case.seed) as world:
        with world.host() as host:
            host.plan()
        storm = _Storm(world, random.Random(case.seed), case.size["percent"] / 100)
        for _ in range(case.size["stormy"]):
            storm.run()
        world.simulator.faults = []
        calm = world.until_quiet()
        difference = world.compare()
        trouble = difference.told + [f"still refused: {letter}" for letter in letters(world)[:5]]
        if not storm.struck or not storm.written:
            trouble.append(f"hardly a storm: {storm.struck} faults, {storm.written} records written in it")
        figures = {
            "people": case.size["people"],
            "faults struck": storm.struck,
            "stormy runs": case.size["stormy"],
            "of them given up": storm.given_up,
            "writes in the storm": storm.written,
            "calm runs until quiet": calm,
            "differences": difference.total,
        }
    yield case.line(NAME, figures, trouble)


class _Storm:
    """Runs in bad weather, whatever comes of them."""

    def __init__(self, world: World, chance: random.Random, probability: float) -> None:
        self._world = world
        self._chance = chance
        self._probability = probability
        self.struck = self.given_up = self.written = 0

    def run(self) -> None:
        """Waiting moves the vendor's clock along, as it does in life."""
        world, time = self._world, Time()
        time.told.append(world.simulator.advance)
        world.simulator.faults = [fault for kind in get_args(FaultKind) for fault in self._faults(kind)]
        before = world.written()
        report = world.run(time)
        self.struck += world.struck()
        self.given_up += report.error is not None
        self.written += world.written() - before
        world.later(_QUOTA)

    def _faults(self, kind: FaultKind) -> list[Fault]:
        if kind != "quota":
            return [Fault(kind, times=None, probability=self._probability, seconds=5.0 if kind == "too_many" else 0.0)]
        if self._chance.random() >= self._probability:
            return []
        return [Fault(kind, after=self._chance.randint(0, 50), seconds=_QUOTA.total_seconds())]
