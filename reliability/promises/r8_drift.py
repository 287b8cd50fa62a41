"""R8: an administrator changes what our mappings rest on. What is concerned is parked by name, before the first write.

While it lasts, not one write carries what is parked: the bodies of all requests are looked through. Everything else
arrives as if nothing were the matter. Put right again, the rest follows, once.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from reliability.drifts import Drift, drifts, make_picklist
from reliability.lines import Case, Line
from reliability.vendors import Record
from reliability.world import HOT, World, open_world
from syncline.sync.report import SinkReport
from syncline.testing.population import SimulatedPerson, population

NAME: Final = "R8"
PROMISE: Final = "drift is found before the first write; only that mapping is parked"
SMALL: Final = {"people": 24, "kinds": 3}
FULL: Final = {"people": 600, "kinds": 20}

_NEW: Final = 4  # people who come while it lasts


def run(case: Case) -> Iterator[Line]:
    chance, people = random.Random(case.seed), case.size["people"]
    known = list(drifts(case.crm))
    chosen = chance.sample(known, min(case.size["kinds"], len(known)))
    crowd = list(population(people + _NEW * len(chosen), case.seed))[people:]
    trouble: list[str] = []
    delivered = 0
    with open_world(case.folder, case.crm, case.stores, people, case.seed) as world:
        make_picklist(world, case.crm.fields["band"], ("hot", "cold"))
        world.until_quiet()
        trouble += world.compare().told
        for number, drift in enumerate(chosen):
            trial = _Trial(world, drift, chance)
            trial.lasts(crowd[number * _NEW : (number + 1) * _NEW])
            trial.ends()
            trouble += trial.trouble
            delivered += trial.delivered
    figures = {"kinds of drift": len(chosen), "people": people, "others delivered": delivered}
    writes = {"writes to what was parked": sum("was written" in text for text in trouble)}
    yield case.line(NAME, figures | writes, trouble)


class _Trial:
    """One drift, from its making to its end."""

    def __init__(self, world: World, drift: Drift, chance: random.Random) -> None:
        self._world = world
        self._drift = drift
        self._chance = chance
        self._undo = drift.make
        self.trouble: list[str] = []
        self.delivered = 0

    def lasts(self, new: list[SimulatedPerson]) -> None:
        """Everybody moves, some become hot or cool down, some are new; and the drift is there."""
        world, drift = self._world, self._drift
        world.stir(self._chance, len(world.people))
        world.add(new, points=HOT + 5)
        undo = drift.make(world)
        with _listening(world) as heard:
            report = world.run()
            world.run()
        self._end = undo
        self._hold_to_report(report)
        self._hold_to_wire(heard)
        self._hold_others(new)

    def ends(self) -> None:
        """As it was before: what waited comes, once, and the report says that it has recovered."""
        self._end()
        recovered = self._world.run().recovered
        if not any(self._drift.parked in name for name in recovered):
            self._note(f"put right, it is not told as recovered: {recovered}")
        self._world.until_quiet()
        for text in self._world.compare().told:
            self._note(f"put right: {text}")

    def _note(self, text: str) -> None:
        self.trouble.append(f"{self._drift.name}: {text}")

    def _hold_to_report(self, report: SinkReport) -> None:
        parked = [line for line in report.parked if self._drift.parked in line.partition(": ")[0]]
        if not parked:
            self._note(f"not parked; the report has {report.parked}, {report.error}")
        if len(parked) != len(report.parked):
            self._note(f"parked beside it: {[line for line in report.parked if line not in parked]}")
        alone = self._drift.concerns == "object" and len(self._world.crm.objects) == 1
        if (report.error is not None) != alone:
            self._note(f"the run says: {report.error}")
        if report.rejected:
            self._note(f"{report.rejected} writes were refused: it was found by writing")

    def _hold_to_wire(self, heard: Counter[str]) -> None:
        drift, crm = self._drift, self._world.crm
        forbidden = {
            "field": (f"field {crm.fields.get(drift.word, '')}",),
            "creates": (),
            "object": (f"object {crm.objects[0]}",),
            "list": ("add", "remove"),
            "tasks": ("task",),
        }[drift.concerns]
        for what in forbidden:
            if heard[what]:
                self._note(f"{what} was written {heard[what]} times")

    def _hold_others(self, new: list[SimulatedPerson]) -> None:
        """All that is not concerned is there: records by their points, tasks and memberships too."""
        world, drift = self._world, self._drift
        records = {email: record for record in self._records() for email in record.emails}
        members = world.crm.members(world.simulator)
        strangers = {person.email for person in new}
        for email, points in world.points.items():
            if world._undecided(email):
                continue
            record = records.get(email)
            waits = drift.concerns in ("creates", "object") and email in strangers
            if record is None or waits:
                if (record is None) != waits:
                    self._note(f"{email} {'was written' if waits else 'has no record'}")
                continue
            if drift.concerns == "object" and self._is_closed(record):
                continue
            self._hold_record(email, record, points, members)

    def _records(self) -> list[Record]:
        return self._world.crm.records(self._world.crm, self._world.simulator)

    def _is_closed(self, record: Record) -> bool:
        """Whether a record is of the object that is parked: the one where people are created."""
        main = self._world.crm.objects[0]
        id = {"salesforce": "Id", "hubspot": "hs_object_id", "zoho": "id"}[self._world.crm.kind]
        return record.id in {row[id] for row in self._world.simulator.rows(main)}

    def _hold_record(self, email: str, record: Record, points: int, members: Counter[str]) -> None:
        held: dict[str, Any] = {"score": record.score, "band": record.band, "hot": record.hot}
        wanted: dict[str, Any] = {"score": float(points), "band": "hot" if points >= HOT else "", "hot": points >= HOT}
        if self._drift.concerns != "list":
            held["member"], wanted["member"] = members[record.id], int(points >= HOT)
        for word in held.keys() - {self._drift.word}:
            self.delivered += 1
            if held[word] != wanted[word]:
                self._note(f"{email} ({record.id}) has {word} {held[word]}, not {wanted[word]}")


@contextlib.contextmanager
def _listening(world: World) -> Iterator[Counter[str]]:
    """What writes carried while it listened: operations, objects by name, and fields by name."""
    simulator, crm = world.simulator, world.crm
    before, heard = simulator.before, Counter[str]()

    def listen(request: Any) -> Any:
        operation = crm.operation(request)
        if operation:
            body = request.get_data().decode()
            heard[operation] += 1
            for field in crm.fields.values():
                heard[f"field {field}"] += operation == "upsert" and f'"{field}"' in body
            for name in crm.objects if operation == "upsert" else ():
                heard[f"object {name}"] += f"/{name}" in request.path or f'"{name}"' in body
        return before(request)

    simulator.before = listen
    try:
        yield heard
    finally:
        simulator.before = before
