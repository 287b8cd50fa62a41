"""Several CRMs in memory that share people's attributes with us, and all who write there: people, other systems, we.

Every person is a history of their own: what is done to one does not touch another. So a run over a hundred people is a
hundred interleavings at once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from reliability.stores import Stores
from reliability.vendors import Crm as Vendor
from reliability.world import _secrets_outside as secrets_outside
from syncline.config import Loaded, load_all
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds, rooms
from syncline.model import Field, RemoteRef, Value, Writer
from syncline.sdk import SimulatorOptions, hookimpl
from syncline.sync.report import Report
from syncline.sync.retry import retrying
from syncline.testing.memory import MemorySink, MemorySource, MemoryWorld
from syncline.testing.population import EPOCH, simulated_now

__all__ = ["ATTRIBUTES", "Crm", "MemoryCrm", "Office", "open_office"]

ATTRIBUTES: Final[Mapping[str, Sequence[str]]] = {
    "city": ("human_wins",),
    "title": ("newest",),
    "nickname": ("ask",),
    "source": ("only_if_empty",),
    "status": ("ours",),
    "region": ("human_wins", "newest", "ask", "only_if_empty"),
}
"""Attribute, and CRM field of the same name → the policies it may have; each CRM has one of them."""

SIMULATED: Final[Mapping[str, Sequence[str]]] = {
    "first_name": ("human_wins", "newest"),
    "last_name": ("newest", "human_wins"),
    "company": ("ask", "human_wins", "newest"),
}
"""The same where a vendor is one of the CRMs."""

_VALUES: Final = ("Rome", "Milan", "Turin", "Bari", "Pisa", "Como  Nord", "Reggio  Emilia")


class Crm(Protocol):
    """One of the CRMs, as those who work in it see it. `policies`: attribute → who wins there."""

    name: str
    policies: Mapping[str, str]

    def connection(self) -> Mapping[str, Any]:
        """Its connection in connectors.yaml."""

    def sync(self) -> Mapping[str, Any]:
        """Its object and key, and attribute → field."""

    def ref(self, email: str) -> RemoteRef | None:
        """The record of a person, as the CRM's own books have it."""

    def held(self, email: str, attribute: str) -> Value:
        """What stands in a field."""

    def edit(self, ref: RemoteRef, attribute: str, value: Value, by: Writer) -> None:
        """Somebody changes it, now."""

    def write_calls(self) -> int:
        """Calls that wrote, as the CRM counted them."""


@dataclass(slots=True)
class MemoryCrm:
    """One in memory. `skew`: by how much its clock is wrong."""

    name: str
    world: MemoryWorld
    policies: Mapping[str, str]
    skew: timedelta
    refs: dict[str, RemoteRef] = field(default_factory=dict)

    def connection(self) -> Mapping[str, Any]:
        return {"plugin": self.name}

    def sync(self) -> Mapping[str, Any]:
        fields = {name: name for name in (*self.policies, "Email")}
        return {"object": "Lead", "also": ["Contact"], "match": "Key", "fields": fields}

    def ref(self, email: str) -> RemoteRef | None:
        known = self.refs.get(email)
        if known is None or not self.world.is_alive(known):
            for known in self.world.find("Lead", "Email", email)[:1]:
                self.refs[email] = known
        return known

    def held(self, email: str, attribute: str) -> Value:
        ref = self.ref(email)
        return self.world.get(ref)[attribute] if ref else None

    def edit(self, ref: RemoteRef, attribute: str, value: Value, by: Writer) -> None:
        self.world.edit(ref, {attribute: value}, by=by)

    def write_calls(self) -> int:
        return self.world.counters["write_calls"]


@dataclass(slots=True)
class SimulatedCrm:
    """A vendor's, in its simulator. Everybody who changes something there is a person."""

    name: str
    vendor: Vendor
    simulator: Any
    policies: Mapping[str, str]

    def connection(self) -> Mapping[str, Any]:
        return dict(self.simulator.settings)

    def sync(self) -> Mapping[str, Any]:
        main, *also = self.vendor.objects
        fields = {**{name: self.vendor.fields[name] for name in self.policies}, "Email": self.vendor.fields["address"]}
        return {"object": main, "also": also, "match": self.vendor.match, "fields": fields}

    def ref(self, email: str) -> RemoteRef | None:
        address, main = self.vendor.fields["address"], self.vendor.objects[0]
        for row in self.simulator.rows(main):
            if row.get(address) == email:
                return RemoteRef(main, str(row.get("Id") or row.get("id") or row.get("hs_object_id")))
        return None

    def held(self, email: str, attribute: str) -> Value:
        address, name = self.vendor.fields["address"], self.vendor.fields[attribute]
        rows = (row for row in self.simulator.rows(self.vendor.objects[0]) if row.get(address) == email)
        return next((row.get(name) for row in rows), None)

    def edit(self, ref: RemoteRef, attribute: str, value: Value, by: Writer) -> None:
        if value is not None:  # some of these fields are demanded there
            self.simulator.human_edit(ref.object, ref.id, **{self.vendor.fields[attribute]: value})

    def write_calls(self) -> int:
        return int(self.simulator.counters().get("write_calls", 0))


class Office:
    """The people, the CRMs, and one configuration over them all."""

    def __init__(self, folder: Path, store: str, people: int, seed: int, simulated: tuple[Vendor, Any] | None) -> None:
        self.chance = random.Random(seed)
        self.now = simulated_now()
        self.folder = folder
        self.people = [f"p{number}@acme.example" for number in range(people)]
        self.attributes = ATTRIBUTES if simulated is None else SIMULATED
        self.facts = MemoryWorld(objects={"Lead": _fields(())}, clock=lambda: self.now, page_size=1000)
        self.memory = [self._in_memory(f"crm{number}") for number in range(3 if simulated is None else 2)]
        self.crms: list[Crm] = [*self.memory]
        self.simulator = simulated[1] if simulated else None
        if simulated is not None:
            self.crms.append(SimulatedCrm("crm", *simulated, self._policies()))
        self._said = 0
        self._loaded, self._plugins = self._load(store)
        for email in self.people:
            self.say(email, {name: self.value() for name in self.attributes} if simulated else {})

    def _policies(self) -> dict[str, str]:
        return {name: self.chance.choice(policies) for name, policies in self.attributes.items()}

    def _in_memory(self, name: str) -> MemoryCrm:
        skew = timedelta(seconds=self.chance.choice((0, 0, -90, 90, 7200)))
        world = MemoryWorld(
            objects=dict.fromkeys(("Lead", "Contact"), _fields(self.attributes)),
            clock=lambda: self.now + skew,
            page_size=1000,
        )
        world.keeps_history = self.chance.random() < 0.6
        if self.chance.random() < 0.5:
            _spell(world)
        return MemoryCrm(name, world, self._policies(), skew)

    def _load(self, store: str) -> tuple[Loaded, Plugins]:
        simulated = {crm.vendor.kind for crm in self.crms if isinstance(crm, SimulatedCrm)}
        plugins = Plugins.load(simulated) if simulated else Plugins()
        plugins.register(_plugin("facts", self.facts, MemorySource), name="facts")
        for crm in self.memory:
            plugins.register(_plugin(crm.name, crm.world, MemorySink), name=crm.name)
        env = {"STORE": store}
        path = self.folder / "connectors.yaml"
        path.write_text(json.dumps(self._configuration(env)), "utf-8")
        return load_all(path, env=env, kinds=kinds(plugins), rooms=rooms()), plugins

    def _configuration(self, env: dict[str, str]) -> dict[str, Any]:
        connections = {crm.name: secrets_outside({**crm.connection()}, env) for crm in self.crms}
        return {
            "version": 1,
            "store": "${STORE}",
            "connections": {"facts": {"plugin": "facts"}, **connections},
            "scores": {"seen": {"model": _SEEN}},
            "syncs": [_sync(crm) for crm in self.crms],
        }

    @contextmanager
    def host(self) -> Iterator[Host]:
        """The host as a new process opens it."""
        retry = retrying(attempts=2, sleep=lambda _: None)
        with closing(
            Host(self._loaded, self._plugins, folder=self.folder, clock=lambda: self.now, retry=retry)
        ) as host:
            yield host

    def run(self) -> Report:
        with self.host() as host:
            return host.run()

    def later(self, by: timedelta = timedelta(minutes=1)) -> None:
        self.now += by
        if self.simulator is not None:
            self.simulator.advance(by)

    def write_calls(self) -> int:
        return sum(crm.write_calls() for crm in self.crms)

    # Who writes

    def say(self, email: str, profile: Mapping[str, str], ago: timedelta = timedelta(seconds=1)) -> None:
        """A source states something about a person."""
        self._said += 1
        at = self.now - ago
        self.facts.happened(f"fact-{self._said}", "custom", at, email=email, profile=profile, name="seen")

    def value(self) -> str:
        return self.chance.choice(_VALUES)

    def edit(self, crm: Crm, email: str, attribute: str, value: Value, by: Writer) -> None:
        ref = crm.ref(email)
        if ref is not None:
            crm.edit(ref, attribute, value, by)

    def stir(self, share: float = 1.0) -> None:
        """Of so many people, somebody changes something somewhere; often at the very same time."""
        for email in self.people:
            if self.chance.random() < share:
                self.act(email)

    def act(self, email: str) -> None:
        """One change of one person's, by one of those who may."""
        attribute = self.chance.choice(list(self.attributes))
        if self.chance.random() < 0.35:
            self.say(email, {attribute: self.value()}, timedelta(seconds=self.chance.choice((0, 1, 60, 3600))))
            return
        by: Writer = self.chance.choice(("person", "person", "unknown", "system"))
        value = None if self.chance.random() < 0.15 else self.value()
        self.edit(self.chance.choice(self.crms), email, attribute, value, by)


_SEEN: Final = {
    "model": "seen",
    "version": 1,
    "signals": {"seen": {"count": "custom"}},
    "score": [{"name": "seen", "add": "seen"}],
}


def _fields(attributes: Iterable[str]) -> tuple[Field, ...]:
    return (
        Field("Id", "text", writable=False, unique=True),
        Field("Key", "text", max_length=64, unique=True),
        Field("Email", "text", max_length=80),
        *(Field(name, "text", max_length=255) for name in attributes),
    )


def _sync(crm: Crm) -> dict[str, Any]:
    told = crm.sync()
    names = told["fields"]
    mappings = {names[name]: _mapping(name, policy) for name, policy in crm.policies.items()}
    return {
        **told,
        "name": crm.name,
        "to": crm.name,
        "when_missing": "create",
        "first_run": "whole",
        "guard": dict.fromkeys(("creates", "clears", "tasks", "removes", "overwrites")),
        "fields": {names["Email"]: _mapping("email", "only_if_empty"), **mappings},
    }


def _mapping(attribute: str, policy: str) -> dict[str, Any]:
    owner = {"owner": "ours"} if policy == "ours" else {"owner": "shared", "policy": policy}
    return {"from": f"person.{attribute}", **owner}


def _plugin(kind: str, world: MemoryWorld, base: type[Any]) -> object:
    connector = type(kind, (base,), {"kind": kind, "world": world})

    class _Plugin:
        @hookimpl
        def connectors(self) -> Sequence[type[Any]]:
            return [connector]

    return _Plugin()


def _spell(world: MemoryWorld) -> None:
    """What it is given by us it keeps with single blanks."""
    store = world._store

    def stored(ref: RemoteRef, fields: dict[str, Value], by: Writer, who: str | None, at: datetime) -> None:
        held = world._rows[ref].fields if ref in world._rows else {}
        given = {
            name for name, value in fields.items() if by == "us" and isinstance(value, str) and held.get(name) != value
        }
        store(ref, {n: " ".join(str(v).split()) if n in given else v for n, v in fields.items()}, by, who, at)

    world._store = stored  # type: ignore[method-assign]


@contextmanager
def open_office(
    folder: Path, stores: Stores, people: int, seed: int, *, vendor: Vendor | None = None
) -> Iterator[Office]:
    """An office in which everybody has a record everywhere; with a vendor, its simulator is one of the CRMs."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        store = stack.enter_context(stores.fresh(folder))
        simulated = None
        if vendor is not None:
            simulator: Any = Plugins.load({vendor.kind}).simulators()[vendor.kind](
                SimulatorOptions(people=0, seed=seed, clock=EPOCH)
            )
            simulator.start()
            stack.callback(simulator.stop)
            simulated = (vendor, simulator)
        office = Office(folder, store, people, seed, simulated)
        if simulated is not None:
            with office.host() as host:
                host.prepare("crm")
        office.run()
        office.later()
        yield office
