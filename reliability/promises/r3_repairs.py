"""R3: writes fail at random and are repaired at random, while people go on changing. In the end all is there, fresh.

Records refused by a rule of the account, records locked by others, addresses that no CRM takes, answers with 5xx, lost
connections: whoever failed must come again with the values of the day it works, and nobody may be left out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from reliability.books import letters
from reliability.lines import Case, Line
from reliability.world import World, open_world
from syncline.testing.population import population
from syncline.testing.simulator import Fault

NAME: Final = "R3"
PROMISE: Final = "fixed data arrives on the next run, with fresh values, never skipped"
SMALL: Final = {"people": 50, "rounds": 3}
FULL: Final = {"people": 1000, "rounds": 100}


def run(case: Case) -> Iterator[Line]:
    chance = random.Random(case.seed)
    people = case.size["people"]
    with open_world(case.folder, case.crm, case.stores, people, case.seed) as world:
        schedule = _Schedule(world, chance, case.seed)
        for _ in range(case.size["rounds"]):
            schedule.round()
        schedule.repair_all()
        world.run()
        difference = world.compare()
        trouble = list(difference.told)
        trouble += [f"still refused: {letter}" for letter in letters(world)[:5]]
        writes = world.write_calls()
        world.run()
        trouble += ["writes again although nothing changed"] if world.write_calls() > writes else []
        figures = {
            "rounds": case.size["rounds"],
            "failed writes": schedule.failed,
            "people who failed": len(schedule.who),
            "runs given up": schedule.given_up,
            "arrived": f"{len(world.people) - difference.lost:,} of {len(world.people):,}",
        }
    yield case.line(NAME, figures, trouble)


class _Schedule:
    """What fails, for how long, and what people do meanwhile."""

    def __init__(self, world: World, chance: random.Random, seed: int) -> None:
        self._world = world
        self._chance = chance
        self._refused: set[str] = set()
        self._bad: set[str] = set()
        self._newcomers = iter(list(population(len(world.people) * 3, seed))[len(world.people) :])
        self.failed = self.given_up = 0
        self.who: set[str] = set()

    def round(self) -> None:
        """Some fail from now on, some are repaired, some change, somebody new comes; then a run."""
        world, chance = self._world, self._chance
        everybody = sorted(world.people)
        some = max(1, len(everybody) // 30)
        self._refused -= {email for email in sorted(self._refused) if chance.random() < 0.4}
        self._refused |= set(chance.sample(everybody, some))
        self._repair_addresses()
        new = [person for person, _ in zip(self._newcomers, range(chance.randint(1, 6)), strict=False)]
        bad = {person.email for person in new if chance.random() < 0.5}
        world.add(new, bad)
        self._bad |= bad
        world.stir(chance, len(everybody) // 10)
        world.simulator.faults = self._faults(some)
        report = world.run()
        self.failed += report.rejected + report.retry
        self.given_up += report.error is not None
        self.who |= {letter.email for letter in letters(world)}
        world.settle()

    def _repair_addresses(self) -> None:
        repaired = {email for email in sorted(self._bad) if self._chance.random() < 0.4}
        self._bad -= repaired
        self._world.say(dict.fromkeys(sorted(repaired), 0))

    def _faults(self, some: int) -> list[Fault]:
        """Only writes meet them, so that every run sees all that people did."""
        kinds = [Fault("refuse", key=email, times=None) for email in sorted(self._refused)]
        kinds.append(Fault("lock", probability=0.05, times=some))
        for patterns in self._world.crm.writes.values():
            for on in patterns:
                kinds.append(Fault("status", on=on, status=503, probability=0.15, times=None))
                kinds.append(Fault("drop_after", on=on, probability=0.15, times=None))
        return kinds

    def repair_all(self) -> None:
        self._world.simulator.faults = []
        self._world.say(dict.fromkeys(sorted(self._bad), 0))
        self._bad.clear()
