"""One CRM in its simulator, a file of what people did, and a store: what the lines of the suite work on.

Everybody collects points; they add up to a score, and who has `HOT` of them is hot: a band, a segment, a task. What the
CRM should hold is known from the points alone, so no run of ours is asked for it.
"""

from __future__ import annotations

import contextlib
import csv
import json
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

from reliability.stores import Stores
from reliability.vendors import SEGMENT, Crm, Record
from syncline.host import Host
from syncline.host import host as host_module
from syncline.host.plugins import Plugins
from syncline.sdk import Http, SimulatorOptions
from syncline.sync.report import SinkReport
from syncline.sync.retry import retrying
from syncline.testing.population import EPOCH, SimulatedPerson, population, simulated_now

__all__ = ["HOT", "Difference", "Time", "World", "open_host", "open_world"]

HOT: Final = 80
_COLUMNS: Final = ("id", "at", "email", "points", "address", "first_name", "last_name", "company")
_SECRET: Final = frozenset({"client_secret", "refresh_token", "token", "webhook_secret"})
_MODEL: Final = {
    "model": "interest",
    "version": 1,
    "signals": {"points": {"sum": "points", "of": "custom"}},
    "score": [{"name": "points", "add": "points", "says": {"en": "collected points"}}],
    "bands": [{"name": "hot", "at_least": HOT}],
}


class Time:
    """A monotonic clock that only waiting moves: nobody really waits. Whoever listens is told how long."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[Any] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for tell in self.told:
            tell(timedelta(seconds=seconds))


@contextlib.contextmanager
def open_host(config: Path, env: Mapping[str, str], now: datetime, time: Time | None = None) -> Iterator[Host]:
    """The host as a new process would open it, at a time that stands still. Waiting takes no time."""
    time = time or Time()
    http = partial(Http, sleep=time.sleep, monotonic=time)
    retry = retrying(sleep=time.sleep, chance=random.Random(1))
    with (
        mock.patch.object(host_module, "Http", http),
        Host.load(config, env=env, clock=lambda: now, retry=retry) as host,
    ):
        yield host


@dataclass(slots=True)
class Difference:
    """What the CRM holds otherwise than it should, counted; `told` are the first few in words."""

    lost: int = 0
    """People without a record, with a wrong value, or without a task or membership that is theirs."""
    doubled_records: int = 0
    doubled_tasks: int = 0
    doubled_members: int = 0
    strays: int = 0
    """Tasks, memberships and keys that nobody should have."""
    told: list[str] = field(default_factory=list)

    def note(self, what: str, text: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.told) < 5:
            self.told.append(text)

    @property
    def total(self) -> int:
        return self.lost + self.doubled_records + self.doubled_tasks + self.doubled_members + self.strays

    def __iadd__(self, other: Difference) -> Difference:
        for name in ("lost", "doubled_records", "doubled_tasks", "doubled_members", "strays"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.told += other.told
        return self


class World:
    """A configured folder, its vendor running in this process. `now` is the time of both; it moves when told to."""

    def __init__(self, folder: Path, crm: Crm, simulator: Any, store: str, people: Iterable[SimulatedPerson]) -> None:
        self.folder = folder
        self.crm = crm
        self.simulator = simulator
        self.now = simulated_now()
        self.config = folder / "connectors.yaml"
        self.env = {"STORE": store}
        self.config.write_text(json.dumps(self._configuration()), "utf-8")
        self.people: dict[str, SimulatedPerson] = {}
        self.points: dict[str, int] = {}
        self.entries: Counter[str] = Counter()
        """Address → how often they became hot, as of the last time all was quiet."""
        self._hot: set[str] = set()
        self._lines = 0
        with self._events("w") as file:
            file.writerow(_COLUMNS)
        self.add(people)

    def _configuration(self) -> dict[str, Any]:
        crm = self.crm
        shared = {"owner": "shared", "policy": "only_if_empty"}
        own = {"score": "score.interest", "band": "score.interest.band", "hot": "segment.hot"}
        fields = {crm.fields[word]: {"from": origin, "owner": "ours"} for word, origin in own.items()}
        fields |= {
            crm.fields[word]: {"from": f"person.{word}", **shared}
            for word in ("address", "first_name", "last_name", "company")
        }
        main, *also = crm.objects
        columns = {
            "type": "custom",
            "at": "at",
            "id": ["id"],
            "identifiers": {"email": "email"},
            "properties": {"name": {"value": "points"}, "points": {"column": "points", "as": "number"}},
            "profile": {name: name for name in _COLUMNS[4:]},
        }
        settings = _secrets_outside({**self.simulator.settings}, self.env)
        return {
            "version": 1,
            "store": "${STORE}",
            "connections": {
                "shop": {"plugin": "files", "path": "events.csv", "columns": columns},
                "crm": settings,
            },
            "scores": {"interest": {"model": _MODEL}},
            "segments": {"hot": {"all": [{"score": "interest", "at_least": HOT}]}},
            "actions": [
                {
                    "name": "call",
                    "when": {"enters": "hot"},
                    "task": {"to": "crm", "subject": "Call them", "body": "They are hot.", "due": "2h"},
                }
            ],
            "syncs": [
                {
                    "name": "people",
                    "to": "crm",
                    "object": main,
                    **({"also": also} if also else {}),
                    "match": crm.match,
                    "when_missing": "create",
                    "first_run": "whole",
                    "guard": dict.fromkeys(("creates", "clears", "tasks", "removes", "overwrites")),
                    "fields": fields,
                    "segments": {"hot": SEGMENT},
                }
            ],
        }

    # What people do

    @contextlib.contextmanager
    def _events(self, mode: str) -> Iterator[Any]:
        with (self.folder / "events.csv").open(mode, newline="", encoding="utf-8") as file:
            yield csv.writer(file)

    def add(self, people: Iterable[SimulatedPerson], bad: Collection[str] = (), *, points: int | None = None) -> None:
        """People we get to know; those in `bad` gave an address that no CRM takes."""
        people = list(people)
        self.people |= {person.email: person for person in people}
        self.say({p.email: _first_points(p) if points is None else points for p in people}, bad)

    def say(self, points: Mapping[str, int], bad: Collection[str] = ()) -> None:
        """Points that people collect now, or lose; and the address they give."""
        with self._events("a") as file:
            for email, some in points.items():
                self._lines += 1
                person = self.people[email]
                at = (self.now - timedelta(minutes=5)).isoformat()
                address = f"nowhere-{person.number}" if email in bad else email
                names = (person.first_name, person.last_name, person.company)
                file.writerow((f"fact-{self._lines}", at, email, some, address, *names))
                self.points[email] = self.points.get(email, 0) + some

    def stir(self, chance: random.Random, count: int) -> int:
        """So many people move: some become hot, some cool down, the others just move. How many there were."""
        chosen = chance.sample(sorted(self.people), min(count, len(self.people)))
        moves = {}
        for email in chosen:
            hot, step = self.points[email] >= HOT, chance.randint(1, 9)
            if chance.random() < 0.3:
                step = chance.randint(1, 19) - self.points[email] if hot else HOT + step - self.points[email]
            moves[email] = step
        self.say(moves)
        return len(moves)

    def later(self, by: timedelta = timedelta(minutes=10)) -> None:
        """Time goes on, here and at the vendor."""
        self.now += by
        self.simulator.advance(by)

    # Runs

    @contextlib.contextmanager
    def host(self, time: Time | None = None) -> Iterator[Host]:
        with open_host(self.config, self.env, self.now, time) as host:
            yield host

    def prepare(self) -> None:
        with self.host() as host:
            host.prepare("crm")

    def run(self, time: Time | None = None, as_of: datetime | None = None) -> SinkReport:
        """One run, ten minutes after whatever was before; what it says of the CRM."""
        self.later()
        with self.host(time) as host:
            return host.run(as_of=as_of).sinks["crm"]

    def until_quiet(self, most: int = 10, as_of: datetime | None = None) -> int:
        """Run until a run has nothing to write; how many it took with the quiet one. Fails after `most`."""
        for number in range(1, most + 1):
            before = self.write_calls()
            report = self.run(as_of=as_of)
            if report.error is None and self.write_calls() == before:
                return number
        raise AssertionError(
            f"still writing after {most} runs: {report.error or report.model_dump(exclude={'changes'})}"
        )

    def write_calls(self) -> int:
        """Calls that write, as the vendor counted them."""
        return int(self.simulator.counters().get("write_calls", 0))

    def written(self) -> int:
        """Records, tasks and memberships that were written, as the vendor counted them."""
        counters = self.simulator.counters()
        return sum(int(counters.get(name, 0)) for name in ("upserts", "tasks", "members"))

    def struck(self) -> int:
        """How often the faults in force have struck."""
        return int(self.simulator._struck.total())

    # What should be there, and what is

    def settle(self) -> None:
        """All is quiet: whoever is hot now and was not the last time has become so once more."""
        hot = {email for email, points in self.points.items() if points >= HOT}
        self.entries.update(hot - self._hot)
        self._hot = hot

    def compare(self, *, without: Collection[str] = ()) -> Difference:
        """What the CRM holds against what it should hold, but for the people in `without`.

        Call it once after each stir, when a run has seen it.
        """
        self.settle()
        found = Difference()
        records = self.crm.records(self.crm, self.simulator)
        by_email: dict[str, list[Record]] = {}
        for record in records:
            for email in record.emails:
                by_email.setdefault(email, []).append(record)
        for key, times in Counter(record.key for record in records if record.key).items():
            for _ in range(times - 1):
                found.note("doubled_records", f"{times} records carry our key {key}")
        tasks = Counter(task.about for task in self.crm.tasks(self.crm, self.simulator))
        members = self.crm.members(self.simulator)
        for email in self.people:
            held = by_email.get(email, [])
            if email not in without:
                self._compare(email, held, tasks, members, found)
            for record in held:
                tasks.pop(record.id, None)
                members.pop(record.id, None)
        for what, left in (("task", tasks), ("membership", members)):
            for id, times in left.items():
                found.note("strays", f"{times} x a {what} of record {id}, which is nobody's")
        return found

    def _compare(
        self, email: str, records: list[Record], tasks: Counter[str], members: Counter[str], found: Difference
    ) -> None:
        if self._undecided(email):
            for record in records[2:]:
                found.note("doubled_records", f"{email} was there twice, and now has record {record.id} as well")
            return
        if not records:
            found.note("lost", f"{email} has no record")
            return
        for record in records[1:]:
            found.note("doubled_records", f"{email} also has record {record.id}")
        record, points, hot = records[0], self.points[email], self.points[email] >= HOT
        held = (record.score, record.band, record.hot, bool(record.key))
        wanted = (float(points), "hot" if hot else "", hot, True)
        if held != wanted:
            found.note("lost", f"{email} ({record.id}) holds {held}, not {wanted}")
        self._count(tasks[record.id], self.entries[email], "tasks", email, found)
        self._count(members[record.id], int(hot), "members", email, found)

    def _count(self, held: int, wanted: int, what: str, email: str, found: Difference) -> None:
        for _ in range(wanted - held):
            found.note("lost", f"{email} has {held} {what}, not {wanted}")
        for _ in range(held - wanted):
            found.note(f"doubled_{what}", f"{email} has {held} {what}, not {wanted}")

    def holdings(self) -> dict[str, list[Any]]:
        """Address → everything the CRM holds of these people, without the ids that differ from world to world."""
        tasks: dict[str, list[tuple[str, str]]] = {}
        for task in self.crm.tasks(self.crm, self.simulator):
            tasks.setdefault(task.about, []).append((task.subject, task.due))
        members = self.crm.members(self.simulator)
        held: dict[str, list[Any]] = {}
        for record in self.crm.records(self.crm, self.simulator):
            row = (record.score, record.band, record.hot, bool(record.key), sorted(tasks.get(record.id, [])))
            for email in record.emails:
                held.setdefault(email, []).append((*row, members[record.id]))
        return {email: sorted(rows, key=str) for email, rows in held.items()}

    def _undecided(self, email: str) -> bool:
        """Whom the CRM held twice before we came waits for a person's decision. In HubSpot no two share an address."""
        return self.people[email].twice and self.crm.kind != "hubspot" and self.people[email].number < self.known

    known = 0
    """So many of the population were seeded into the CRM (a third of them are there)."""


def _secrets_outside(settings: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """The settings with their secrets taken out, into `env`: a configuration file may not hold them."""
    told: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            told[key] = _secrets_outside({**value}, env)
        elif key in _SECRET:
            env[key.upper()], told[key] = value, f"${{{key.upper()}}}"
        else:
            told[key] = value
    return told


def _first_points(person: SimulatedPerson) -> int:
    return {"hot": 95, "warm": 45, "cold": 10, "gone": 1}[person.persona] + person.number % 7


@contextlib.contextmanager
def open_world(
    folder: Path, crm: Crm, stores: Stores, people: int, seed: int, *, known: bool = True
) -> Iterator[World]:
    """A prepared world of so many people, a third of them in the CRM already (none with `known` false)."""
    folder.mkdir(parents=True, exist_ok=True)
    seeded = people if known else 0
    simulator: Any = Plugins.load({crm.kind}).simulators()[crm.kind](
        SimulatorOptions(people=seeded, seed=seed, clock=EPOCH)
    )
    for limit in ("daily_calls", "daily_credits"):
        if hasattr(simulator, limit):
            setattr(simulator, limit, 10**9)
    simulator.start()
    try:
        with stores.fresh(folder) as store:
            world = World(folder, crm, simulator, store, population(people, seed))
            world.known = seeded
            world.prepare()
            yield world
    finally:
        simulator.stop()
