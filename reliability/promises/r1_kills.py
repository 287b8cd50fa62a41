"""R1: runs that are killed anywhere, again and again, and in between answers that get lost.

A season begins with people changing. Runs are killed until one gets through; then the world must hold exactly what it
should: what the people's points say, what a twin holds that nobody disturbed, and no more than the vendor counted.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from reliability.killing import OPERATIONS, PLACES, Kill, Place, run_killed
from reliability.lines import Case, Line
from reliability.world import Difference, World, open_world
from syncline.testing.simulator import Fault

NAME: Final = "R1"
PROMISE: Final = "killed anywhere, nothing lost, nothing doubled: records, tasks, memberships"
SMALL: Final = {"people": 60, "kills": 4, "moments": 20}
FULL: Final = {"people": 10_000, "kills": 334, "moments": 50}
"""`kills` for each sink; `moments` of a hundred are at some moment, the others at a named step."""

_STIRRED: Final = 10  # a tenth of the people changes in a season
_LOST_ANSWERS: Final = 0.25  # of the runs meet a connection that is lost when the write is done
_MOST_LOST: Final = 6  # calls one after the other; after five the run gives up
_MOMENT: Final = "at some moment"


def run(case: Case) -> Iterator[Line]:
    people = case.size["people"]
    with (
        open_world(case.folder / "killed", case.crm, case.stores, people, case.seed) as world,
        open_world(case.folder / "twin", case.crm, case.stores, people, case.seed) as twin,
    ):
        series = _Series(world, twin, random.Random(case.seed), case.size["moments"] / 100)
        while series.kills < case.size["kills"] and not series.trouble:
            series.season(case.size["kills"])
        series.end()
        figures = series.figures() | {"people": people}
    yield case.line(NAME, figures, series.trouble, details=series.details())


class _Series:
    """One world that is killed, its twin that is not, and the count."""

    def __init__(self, world: World, twin: World, chance: random.Random, moments: float) -> None:
        self._moments = moments
        self._world = world
        self._twin = twin
        self._chance = chance
        self._deck: list[Place] = []
        self._took = 0.0
        self._reached = 0
        self._seasons = self._runs = 0
        self._struck: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._difference = Difference()
        self.trouble: list[str] = []

    @property
    def kills(self) -> int:
        return self._struck.total()

    def season(self, most: int) -> None:
        """People change, runs are killed until one gets through, and everything is compared."""
        if self._seasons:
            seed = self._chance.random()
            for world in (self._world, self._twin):
                world.stir(random.Random(seed), len(world.people) // _STIRRED)
        self._seasons += 1
        self._reached = 0
        as_of = self._world.now
        began = time.monotonic()
        self._twin.run(as_of=as_of)
        self._took = time.monotonic() - began
        through = False
        while self.kills < most and not through:
            through = self._attempt(as_of)
        if not through:
            self._world.until_quiet(as_of=as_of)
        self._compare()

    def end(self) -> None:
        """When all is done, a run writes nothing."""
        self._world.until_quiet(most=1)

    def _attempt(self, as_of: datetime) -> bool:
        """One run; whether it got through: neither killed nor given up."""
        kill = self._kill()
        operation = self._chance.choice(OPERATIONS) if self._chance.random() < _LOST_ANSWERS else ""
        lost = self._chance.randint(1, _MOST_LOST)
        self._world.simulator.faults = [
            Fault("drop_after", on=on, times=lost) for on in self._world.crm.writes.get(operation, ())
        ]
        ended = run_killed(self._world, as_of, kill)
        self._answers[operation] += self._world.struck()
        self._world.simulator.faults = []
        self._runs += 1
        if ended.killed:
            self._struck[str(kill.place or _MOMENT)] += 1
        elif kill.place is not None:
            self._deck.insert(self._chance.randint(0, len(self._deck)), kill.place)  # not reached: later
        return not ended.killed and ended.error is None

    def _kill(self) -> Kill:
        """Some at a named step, all in turn; some at some moment, mostly while it writes."""
        chance = self._chance
        if chance.random() >= self._moments:
            place = self._next_place()
            number = 1 + min(int(chance.expovariate(0.7)), 5) if place.operation == "upsert" else 1
            return Kill(place, number)
        if chance.random() < 0.3:
            return Kill(seconds=chance.uniform(0, self._took))
        return Kill(seconds=chance.uniform(0, self._took / 2), writing=True)

    def _next_place(self) -> Place:
        """The next card of a shuffled deck that this season may still come to: deliveries go operation by operation."""
        if not self._deck:
            self._deck = list(PLACES)
            self._chance.shuffle(self._deck)
        within = range(self._reached, len(OPERATIONS) - (self._seasons == 1))  # at first nobody is in, nobody goes
        ahead = [place for place in self._deck if not place.operation or OPERATIONS.index(place.operation) in within]
        place = (ahead or self._deck)[0]
        self._deck.remove(place)
        if place.operation:
            self._reached = OPERATIONS.index(place.operation)
        return place

    # What came of it

    def _compare(self) -> None:
        difference = self._world.compare()
        self._difference += difference
        where = f"season {self._seasons}, after {self.kills} kills"
        self.trouble += [f"{where}: {text}" for text in difference.told]
        self.trouble += [f"{where}, the undisturbed twin: {text}" for text in self._twin.compare().told]
        ours, theirs = self._world.holdings(), self._twin.holdings()
        for email in [email for email in theirs if ours.get(email) != theirs[email]][:5]:
            self.trouble.append(f"{where}: {email} is {ours.get(email)}, and in the twin {theirs[email]}")
        for name in self._world.crm.counted:
            made, wanted = (world.simulator.counters().get(name, 0) for world in (self._world, self._twin))
            if made != wanted:
                self.trouble.append(f"{where}: the vendor made {made} {name}, and {wanted} in the twin")

    def figures(self) -> dict[str, object]:
        named = [self._struck[str(place)] for place in PLACES]
        difference = self._difference
        return {
            "kills": self.kills,
            "runs": self._runs,
            "steps hit": f"{sum(map(bool, named))} of {len(named)}",
            "answers lost": self._answers.total(),
            "lost": difference.lost,
            "doubled records": difference.doubled_records,
            "doubled tasks": difference.doubled_tasks,
            "doubled memberships": difference.doubled_members,
            "strays": difference.strays,
        }

    def details(self) -> list[str]:
        told = [f"{self._struck[name]:>5} kills: {name}" for name in (*map(str, PLACES), _MOMENT)]
        return told + [f"{self._answers[name]:>5} answers lost: {name}" for name in OPERATIONS]
