"""R2: some rows of a full batch are bad. Exactly those are refused, each for its own reason; all others are written.

Three kinds of batches: new records whose address the CRM itself finds wrong, known records that a rule of the account
refuses, and tasks that it refuses. Every count of bad rows there is, at random places.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from reliability.books import letters, task_keys
from reliability.lines import Case, Line
from reliability.world import HOT, World, open_world
from syncline.sync.report import SinkReport
from syncline.testing.population import SimulatedPerson, population
from syncline.testing.simulator import Fault

NAME: Final = "R2"
PROMISE: Final = "a partly refused batch is told truthfully, row by row, with the vendor's reason"
SMALL: Final = {"counts": 1, "rounds": 1}
FULL: Final = {"counts": 7, "rounds": 5}

_BAD_ADDRESS: Final = {
    "salesforce": "invalid email address: nowhere-{number}",
    "hubspot": "Email address nowhere-{number} is invalid",
    "zoho": "invalid data",  # Zoho names the field, never the value
}
_REFUSED: Final = {
    "salesforce": "a validation rule refuses this record",
    "hubspot": "A validation rule of this account refuses the record",
    "zoho": "the record is in an approval process",
}
"""The simulators' words, as the vendor sheets have them."""


def counts(batch: int) -> list[int]:
    """How many rows of a batch are bad, all that are tried."""
    return sorted({0, 1, 2, 50, 99, 100, batch})


@dataclass(slots=True)
class _Tally:
    """What was seen, and what of it was wrong."""

    batches: int = 0
    rows: int = 0
    bad: int = 0
    rejected: int = 0
    trouble: list[str] | None = None

    def note(self, text: str) -> None:
        self.trouble = [*(self.trouble or []), text]


def run(case: Case) -> Iterator[Line]:
    chance = random.Random(case.seed)
    batch, tally = case.crm.batch, _Tally()
    chosen = [k for _ in range(case.size["rounds"]) for k in chance.sample(counts(batch), _some(case, batch))]
    crowd = list(population(batch * len(chosen), case.seed))
    with open_world(case.folder, case.crm, case.stores, 0, case.seed) as world:
        for number, bad in enumerate(chosen):
            _Round(world, chance, crowd[number * batch : (number + 1) * batch], bad, tally).all()
    figures = {"batches": tally.batches, "rows": tally.rows, "bad": tally.bad, "rejected": tally.rejected}
    yield case.line(NAME, figures, tally.trouble or [])


def _some(case: Case, batch: int) -> int:
    return min(case.size["counts"], len(counts(batch)))


class _Round:
    """One full batch of new people through all three kinds, with so many bad rows each time."""

    def __init__(
        self, world: World, chance: random.Random, people: Sequence[SimulatedPerson], bad: int, tally: _Tally
    ) -> None:
        self._world = world
        self._chance = chance
        self._people = people
        self._count = bad
        self._tally = tally

    def all(self) -> None:
        self.creates()
        self.updates()
        self.tasks()

    def creates(self) -> None:
        """New people, some with an address that no CRM takes; then they correct it."""
        bad = self._some()
        self._world.add(self._people, bad, points=10)
        words = _BAD_ADDRESS[self._world.crm.kind]
        reasons = {email: words.format(number=self._world.people[email].number) for email in bad}
        self._check("new records", "upsert", self._world.run(), reasons, written=self._written)
        self._world.say(dict.fromkeys(bad, 1))
        self._arrives("new records")

    def updates(self) -> None:
        """Everybody has new points; the account refuses some of the records."""
        bad = self._some()
        self._world.say({person.email: 1 for person in self._people})
        self._world.simulator.faults = [Fault("refuse", key=email, times=None) for email in bad]
        self._check("changed records", "upsert", self._world.run(), self._refused(bad), written=self._written)
        self._arrives("changed records")

    def tasks(self) -> None:
        """Everybody becomes hot; at first all tasks are refused, then some."""
        [on] = self._world.crm.writes["task"]
        everybody = [person.email for person in self._people]
        self._world.say(dict.fromkeys(everybody, HOT))
        self._world.simulator.faults = [Fault("refuse", on=on, times=None)]
        self._check("tasks", "task", self._world.run(), self._refused(everybody), written=lambda report: report.tasks)
        bad, keys = self._some(), task_keys(self._world)
        self._world.simulator.faults = [Fault("refuse", on=on, key=keys[email], times=None) for email in bad]
        self._check("tasks", "task", self._world.run(), self._refused(bad), written=lambda report: report.tasks)
        self._arrives("tasks")

    def _some(self) -> list[str]:
        return self._chance.sample([person.email for person in self._people], self._count)

    def _refused(self, bad: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(bad, _REFUSED[self._world.crm.kind])

    @staticmethod
    def _written(report: SinkReport) -> int:
        return report.created + report.updated

    def _check(
        self, what: str, operation: str, report: SinkReport, reasons: dict[str, str], *, written: object
    ) -> None:
        assert callable(written)
        tally, size = self._tally, len(self._people)
        tally.batches, tally.rows = tally.batches + 1, tally.rows + size
        tally.bad, tally.rejected = tally.bad + len(reasons), tally.rejected + report.rejected
        where = f"{what}, {len(reasons)} bad of {size}"
        if report.error is not None:
            tally.note(f"{where}: {report.error}")
        if report.rejected != len(reasons):
            tally.note(f"{where}: {report.rejected} were refused")
        if written(report) != size - len(reasons):
            tally.note(f"{where}: {written(report)} were written")
        told = {letter.email: letter.reason for letter in letters(self._world) if letter.operation == operation}
        if told.keys() != reasons.keys():
            tally.note(
                f"{where}: the dead letters are of {len(told)} people, {len(told.keys() ^ reasons.keys())} wrong"
            )
        for email in told.keys() & reasons.keys():
            if reasons[email] not in told[email]:
                tally.note(f"{where}: {email} was refused for {told[email]!r}, not {reasons[email]!r}")
        difference = self._world.compare(without=reasons)
        for text in difference.told:
            tally.note(f"{where}: {text}")

    def _arrives(self, what: str) -> None:
        """Nothing is wrong any more: the next run writes what was refused."""
        self._world.simulator.faults = []
        report = self._world.run()
        if report.error is not None or report.rejected or (left := letters(self._world)):
            self._tally.note(f"{what}, repaired: {report.error or report.rejected or left[:3]}")
        for text in self._world.compare().told:
            self._tally.note(f"{what}, repaired: {text}")
