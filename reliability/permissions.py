"""People who allow and forbid things, everywhere at once: a shop, a newsletter that we also write to, and three CRMs.

What they have said is kept here by a book of its own, `Truth`, which knows nothing of ours, neither store nor rules.
Every call that writes is seen on its way to the connector, and held against that book as it stands at that moment.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from unittest import mock

from sqlalchemy import select

from reliability.stores import Stores
from reliability.vendors import SEGMENT
from reliability.vendors import Crm as Vendor
from reliability.world import _secrets_outside as secrets_outside
from syncline.config import load_all
from syncline.errors import TransientError
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds, rooms
from syncline.model import Event, Field, Identifier, Limits, RawRecord, RemoteRef, event_id
from syncline.sdk import SimulatorOptions, hookimpl
from syncline.store import schema
from syncline.sync.admission import Admission
from syncline.sync.pull import accept
from syncline.sync.report import Report
from syncline.sync.retry import retrying
from syncline.testing.memory import MemorySink, MemorySource, MemoryWorld
from syncline.testing.population import EPOCH, simulated_now

__all__ = ["OPT_OUT", "PURPOSES", "Town", "Truth", "open_town"]

PURPOSES: Final[Mapping[str, str]] = {"mail": "consent", "sales": "legitimate_interest"}
OPT_OUT: Final[Mapping[str, str]] = {
    "salesforce": "HasOptedOutOfEmail",
    "hubspot": "hs_email_optout",
    "zoho": "Email_Opt_Out",
}
_HOT: Final = 50
_WORDS: Final = ("score", "band", "hot", "address", "last_name", "company", "out")


# What they have said


@dataclass(slots=True)
class Truth:
    """Who has said what. Nobody is merged here: people who turned out to be one are asked together."""

    words: dict[str, list[tuple[str, str, datetime, bool]]] = field(default_factory=dict)
    """Person → (side, purpose, when, granted); an unsubscribe is about mail."""
    ticks: set[tuple[str, str]] = field(default_factory=set)
    """(CRM, person) who were ticked there by somebody who meant it."""
    letter: dict[str, str] = field(default_factory=dict)
    """Person → `in` or `out` by their own doing at the newsletter; `told` where we were the last to say anything."""
    same: dict[str, str] = field(default_factory=dict)

    def says(self, person: str, purpose: str, at: datetime, granted: bool) -> None:
        self.words.setdefault(person, []).append(("shop", purpose, at, granted))

    def everyone(self, person: str) -> list[str]:
        """The person, and who turned out to be the same."""
        first = self.same.get(person, person)
        return [first, *(other for other, one in self.same.items() if one == first)]

    def withdrawn(self, person: str, purpose: str) -> bool:
        """Whether any side has withdrawn it."""
        people = self.everyone(person)
        if not self._shop(people, purpose)[0]:
            return True
        if purpose != "mail":
            return False
        return any(one in people for _, one in self.ticks) or any(self.letter.get(one) == "out" for one in people)

    def allows(self, person: str, purpose: str) -> bool:
        if self.withdrawn(person, purpose):
            return False
        people = self.everyone(person)
        granted = self._shop(people, purpose)[1] or any(self.letter.get(one) == "in" for one in people)
        return PURPOSES[purpose] != "consent" or granted

    def _shop(self, people: Sequence[str], purpose: str) -> tuple[bool, bool]:
        """(not withdrawn, granted) by the shop's last word."""
        words = [word for one in people for word in self.words.get(one, ()) if word[1] == purpose]
        if not words:
            return True, False
        last = max(when for _, _, when, _ in words)
        granted = all(word for _, _, when, word in words if when == last)
        return granted, granted


# Where it is said, and where it is written


class System(Protocol):
    """A CRM, as its own books have it."""

    name: str
    fields: Mapping[str, str]

    def connection(self) -> Mapping[str, Any]: ...

    def sync(self) -> Mapping[str, Any]: ...

    def record(self, email: str) -> tuple[RemoteRef, Mapping[str, Any]] | None: ...

    def edit(self, ref: RemoteRef, out: bool) -> None: ...

    def email_of(self, ref: RemoteRef) -> str: ...

    def members(self) -> set[str]: ...


_NAMES: Final = {
    "score": "Score", "band": "Band", "hot": "Hot", "address": "Email", "last_name": "LastName", "company": "Company",
    "out": "OptedOut",
}  # fmt: skip


@dataclass(slots=True)
class InMemory:
    """One in memory. Of the newsletter only the opt-out is mapped."""

    name: str
    world: MemoryWorld
    fields: Mapping[str, str] = field(default_factory=lambda: dict(_NAMES))
    untickable: bool = True

    def connection(self) -> Mapping[str, Any]:
        return {"plugin": self.name}

    def sync(self) -> Mapping[str, Any]:
        return {"object": "Lead", "also": ["Contact"], "match": "Key"}

    def record(self, email: str) -> tuple[RemoteRef, Mapping[str, Any]] | None:
        for name in ("Contact", "Lead"):
            for ref in self.world.find(name, "Email", email):
                return ref, self.world.get(ref)
        return None

    def edit(self, ref: RemoteRef, out: bool) -> None:
        self.world.edit(ref, {"OptedOut": out})

    def email_of(self, ref: RemoteRef) -> str:
        return str(self.world.get(ref)["Email"])

    def members(self) -> set[str]:
        return {self.email_of(ref) for ref in self.world.segments[SEGMENT]}


@dataclass(slots=True)
class Simulated:
    """A vendor's, in its simulator."""

    name: str
    vendor: Vendor
    simulator: Any
    fields: Mapping[str, str]

    @property
    def untickable(self) -> bool:
        """HubSpot lets nobody but the person opt in again."""
        return self.vendor.kind != "hubspot"

    def connection(self) -> Mapping[str, Any]:
        return dict(self.simulator.settings)

    def sync(self) -> Mapping[str, Any]:
        main, *also = self.vendor.objects
        return {"object": main, "also": also, "match": self.vendor.match}

    def _rows(self) -> Iterator[tuple[RemoteRef, Mapping[str, Any]]]:
        for name in self.vendor.objects:
            for row in self.simulator.rows(name):
                yield RemoteRef(name, str(row.get("Id") or row.get("id") or row.get("hs_object_id"))), row

    def record(self, email: str) -> tuple[RemoteRef, Mapping[str, Any]] | None:
        found = (row for row in self._rows() if row[1].get(self.fields["address"]) == email)
        return next(found, None)

    def edit(self, ref: RemoteRef, out: bool) -> None:
        value: Any = str(out).lower() if self.vendor.kind == "hubspot" else out
        self.simulator.human_edit(ref.object, ref.id, **{self.fields["out"]: value})

    def email_of(self, ref: RemoteRef) -> str:
        return str(next(row for other, row in self._rows() if other == ref)[self.fields["address"]])

    def members(self) -> set[str]:
        ids = set(self.vendor.members(self.simulator))
        return {str(row[self.fields["address"]]) for ref, row in self._rows() if ref.id in ids}


def is_out(value: Any) -> bool:
    return value is True or value == "true"


class Shop(MemorySource):
    """Tells of one or two addresses of the same person."""

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        emails = raw.payload.get("emails")
        if emails is None:
            yield from super().normalize(raw)
            return
        names = tuple(Identifier("email", email) for email in emails)
        at = datetime.fromisoformat(raw.payload["at"])
        yield Event(event_id("both", raw.key), "form_submission", at, names)


class Town:
    """The people, all who ask them, and one configuration. `broken` is what must not be, in words."""

    def __init__(self, folder: Path, store: str, people: int, seed: int, simulated: tuple[Vendor, Any] | None) -> None:
        self.chance = random.Random(seed)  # the same seed makes the same choices
        self.now = simulated_now()
        self.folder = folder
        self.truth = Truth()
        self.people = [f"p{number}@acme.example" for number in range(people)]
        self.points = dict.fromkeys(self.people, 0)
        self.merged: set[str] = set()
        self.broken: list[str] = []
        self.seen: Counter[str] = Counter()
        self.shop = self._world()
        self.letter = InMemory("letter", self._world())
        self.simulator = simulated[1] if simulated else None
        self.crms: list[InMemory | Simulated] = [
            InMemory(f"crm{n}", self._world()) for n in range(2 if simulated else 3)
        ]
        if simulated is not None:
            vendor, simulator = simulated
            fields = {**{word: vendor.fields[word] for word in _WORDS[:-1]}, "out": OPT_OUT[vendor.kind]}
            self.crms.append(Simulated("vendor", vendor, simulator, fields))
        self._facts = 0
        self._hooks: list[str] = []
        self._load(store)
        for email in self.people:
            self.letter.world.put("Lead", {"Email": email})
            self.say_points(email)

    def _world(self) -> MemoryWorld:
        fields = (
            Field("Id", "text", writable=False, unique=True),
            Field("Key", "text", max_length=64, unique=True),
            *(Field(name, "text") for name in ("Email", "LastName", "Company", "Band")),
            Field("Score", "number"),
            Field("Hot", "boolean"),
            Field("OptedOut", "boolean"),
        )
        return MemoryWorld(
            objects={"Lead": fields, "Contact": fields}, segments=[SEGMENT], clock=lambda: self.now, page_size=500
        )

    # The configuration

    def _load(self, store: str) -> None:
        vendors = {crm.vendor.kind for crm in self.crms if isinstance(crm, Simulated)}
        self._plugins = Plugins.load(vendors) if vendors else Plugins()
        limits = Limits(upsert_batch=7, task_batch=3, member_batch=3)
        self._plugins.register(_plugin("shop", (Shop,), world=self.shop), name="shop")
        both = _plugin("letter", (MemorySource, MemorySink), world=self.letter.world, limits=limits)
        self._plugins.register(both, name="letter")
        for crm in self.crms:
            if isinstance(crm, InMemory):
                self._plugins.register(_plugin(crm.name, (MemorySink,), world=crm.world, limits=limits), name=crm.name)
        env = {"STORE": store}
        path = self.folder / "connectors.yaml"
        path.write_text(json.dumps(self._configuration(env)), "utf-8")
        self._loaded = load_all(path, env=env, kinds=kinds(self._plugins), rooms=rooms())

    def _configuration(self, env: dict[str, str]) -> dict[str, Any]:
        systems: list[InMemory | Simulated] = [*self.crms, self.letter]
        connections = {one.name: secrets_outside({**one.connection()}, env) for one in systems}
        names = [crm.name for crm in self.crms]
        return {
            "version": 1,
            "store": "${STORE}",
            "connections": {"shop": {"plugin": "shop"}, **connections},
            "consent": {"purposes": {name: {"basis": basis} for name, basis in PURPOSES.items()}},
            "scores": {"interest": {"model": _MODEL}},
            "segments": {"hot": {"all": [{"score": "interest", "at_least": _HOT}]}},
            "actions": [
                {
                    "name": "call",
                    "when": {"enters": "hot"},
                    "task": {"to": names, "text": "alert_en", "purpose": "sales"},
                }
            ],
            "syncs": [*(self._sync(crm, number) for number, crm in enumerate(self.crms)), self._letter_sync()],
        }

    def _sync(self, crm: InMemory | Simulated, number: int) -> dict[str, Any]:
        """The first is for mail as a whole; in the others some fields ask, and some ask nobody."""
        whole = {"purpose": "mail"} if number == 0 else {}
        mail = {} if number == 0 else {"purpose": "mail"}
        name = crm.fields
        typed = {"owner": "shared", "policy": "only_if_empty"}
        return {
            **crm.sync(),
            **whole,
            **_SYNC,
            "name": crm.name,
            "to": crm.name,
            "when_missing": "create",
            "fields": {
                name["score"]: {"from": "score.interest", "owner": "ours", **mail},
                name["hot"]: {"from": "segment.hot", "owner": "ours", "purpose": "sales"},
                name["address"]: {"from": "person.email", **typed},
                name["last_name"]: {"from": "person.last_name", "default": "?", **typed},
                name["company"]: {"from": "person.company", "default": "?", **typed},
                name["out"]: {"consent": "mail"},
            },
            "segments": {"hot": {"name": SEGMENT, "purpose": "mail"}},
        }

    def _letter_sync(self) -> dict[str, Any]:
        fields = {"OptedOut": {"consent": "mail"}}
        return {**self.letter.sync(), **_SYNC, "name": "letter", "to": "letter", "fields": fields}

    def purpose_of(self, crm: str, word: str) -> str | None:
        if word in ("score", "list"):
            return "mail"
        if word == "hot":
            return "sales"
        return "mail" if crm == self.crms[0].name else None

    # What happens

    def fact(self, email: str, type: str, *, ago: timedelta = timedelta(0), **properties: Any) -> None:
        self._facts += 1
        raw = self.shop.happened(f"fact-{self._facts}", type, self.now - ago, email=email, **properties)
        if self.chance.random() < 0.2:
            self.shop.streams["events"].append(raw)  # the shop tells it twice

    def say_points(self, email: str, known_as: str | None = None) -> None:
        self.points[known_as or email] += (some := self.chance.randint(1, 40))
        self.fact(email, "custom", name="points", points=some)

    def say(self, email: str, purpose: str, *, granted: bool) -> None:
        """Somebody says something to the shop: now, or it comes to light only now."""
        ago = timedelta(minutes=self.chance.choice((0, 0, 5, 600, 6000)))
        if purpose == "mail" and not granted and self.chance.random() < 0.5:
            self.fact(email, "email_unsubscribe", ago=ago)
        else:
            self.fact(email, "consent_change", ago=ago, purpose=purpose, granted=granted)
        self.truth.says(email, purpose, self.now - ago, granted)

    def leave_or_join(self, email: str) -> None:
        """What people do at the newsletter, which tells of it and shows it."""
        ref, held = self._in_letter(email)
        granted = is_out(held["OptedOut"]) or (email not in self.truth.letter and self.chance.random() < 0.6)
        self.letter.edit(ref, not granted)
        self._letter_tells(email, granted)
        self.truth.letter[email] = "in" if granted else "out"

    def _in_letter(self, email: str) -> tuple[RemoteRef, Mapping[str, Any]]:
        """Everybody is in the newsletter's list, and nobody is ever taken from it."""
        found = self.letter.record(email)
        if found is None:
            raise LookupError(f"{email} is no longer in the newsletter")
        return found

    def _letter_tells(self, email: str, granted: bool) -> None:
        self._facts += 1
        fact = f"fact-{self._facts}"
        self.letter.world.happened(fact, "consent_change", self.now, email=email, purpose="mail", granted=granted)

    def tick(self, email: str) -> None:
        """Somebody in a CRM ticks that a person has opted out, or takes a tick away."""
        crm = self.chance.choice(self.crms)
        found = self._record(crm, email)
        if found is None:
            return
        ref, held = found
        out = is_out(held.get(crm.fields["out"]))
        if out and not crm.untickable:
            return
        crm.edit(ref, not out)
        if out:
            self.truth.ticks.discard((crm.name, email))
        else:
            self.truth.ticks.add((crm.name, email))

    def convert(self, email: str) -> None:
        crm = self.chance.choice(self.crms)
        found = self._record(crm, email)
        if isinstance(crm, InMemory) and found is not None and found[0].object == "Lead":
            crm.world.convert(found[0])

    def join(self, email: str) -> None:
        """Somebody new, who says this and that, turns out to be this person: at once, or when we know them already."""
        other = f"also{self._facts}@acme.example"
        for _ in range(self.chance.randint(1, 3)):
            self.say(other, self.chance.choice(list(PURPOSES)), granted=self.chance.random() < 0.6)
        self.say_points(other, email)
        if self.chance.random() < 0.7:
            with self.host() as host:
                host.pull()
        self._facts += 1
        payload = {"at": self.now.isoformat(), "emails": [other, email]}
        self.shop.streams["events"].append(RawRecord("events", f"fact-{self._facts}", payload))
        self.truth.same[other] = email
        self.merged.add(email)

    def stir(self) -> None:
        """One thing happens to about half of the people."""
        doings: list[tuple[float, Callable[[str], None]]] = [
            (0.14, lambda one: self.say(one, "mail", granted=True)),
            (0.08, lambda one: self.say(one, "mail", granted=False)),
            (0.04, lambda one: self.say(one, "sales", granted=False)),
            (0.03, lambda one: self.say(one, "sales", granted=True)),
            (0.07, self.leave_or_join),
            (0.08, self.tick),
            (0.04, self.convert),
            (0.03, self.join),
            (0.15, self.say_points),
        ]
        for email in self.people:
            drawn = self.chance.random()
            for share, do in doings:
                if drawn < share:
                    do(email)
                    break
                drawn -= share

    def trouble(self) -> None:
        """An answer is lost, though the write was done."""
        worlds = [crm.world for crm in [*self.crms, self.letter] if isinstance(crm, InMemory)]
        cut = TransientError("the line is cut")
        self.chance.choice(worlds).fail_call("upsert", cut, times=2, applied=True, after=self.chance.randint(0, 2))

    # Runs

    @contextmanager
    def host(self) -> Iterator[Host]:
        retry = retrying(attempts=2, sleep=lambda _: None)
        with closing(
            Host(self._loaded, self._plugins, folder=self.folder, clock=lambda: self.now, retry=retry)
        ) as host:
            yield host

    def prepare(self) -> None:
        with self.host() as host:
            for crm in self.crms:
                if isinstance(crm, Simulated):
                    host.prepare(crm.name)

    def run(self, *, hooks: int = 0) -> Report:
        """One run; meanwhile so many people withdraw by webhook: before its first write, and between its calls."""
        self._later()
        self._hooks = self.chance.sample(self.people, min(hooks, len(self.people)))
        start = Admission.start

        def started(admission: Admission) -> None:
            self._webhooks(len(self._hooks) // 2)
            start(admission)

        with self.host() as host, mock.patch.object(Admission, "start", started):
            for crm in [*self.crms, self.letter]:
                self._watch(host, crm)
            self._host = host
            report = host.run()
        self._hooks.clear()
        self._echo()
        return report

    def _later(self) -> None:
        self.now += timedelta(minutes=10)
        if self.simulator is not None:
            self.simulator.advance(timedelta(minutes=10))

    def _webhooks(self, count: int = 1) -> None:
        """Withdrawals that come in now; the server keeps them, nobody has looked at them yet."""
        for _ in range(min(count, len(self._hooks))):
            email = self._hooks.pop()
            purpose = self.chance.choice(list(PURPOSES))
            self._facts += 1
            told = {"purpose": purpose, "granted": False}
            payload = {"type": "consent_change", "at": self.now.isoformat(), "email": email, "properties": told}
            record = RawRecord("events", f"fact-{self._facts}", payload)
            accept(self._host.database, "shop", [record], run_id="webhook", clock=lambda: self.now)
            self.truth.says(email, purpose, self.now, False)
            self.seen["webhooks"] += 1

    def _echo(self) -> None:
        """The newsletter tells of whom we have taken off it."""
        for email in self.people:
            _, held = self._in_letter(email)
            if is_out(held["OptedOut"]) and self.truth.letter.get(email) not in ("out", "told"):
                self.truth.letter[email] = "told"
                self._letter_tells(email, False)

    # Every write, as it goes out

    def _watch(self, host: Host, crm: InMemory | Simulated) -> None:
        sink: Any = host.connector(crm.name)
        upsert, create_tasks, set_members = sink.upsert, sink.create_tasks, sink.set_members
        word_of = {field_name: word for word, field_name in crm.fields.items()}

        def upserts(object: str, writes: Sequence[Any]) -> Any:
            for write in writes:
                email = self._whose(host, write.key)
                for name, value in write.fields.items():
                    self._field(crm.name, email, word_of.get(name), value)
            return after(upsert(object, writes))

        def tasks(tasks: Sequence[Any]) -> Any:
            for task in tasks:
                self._hold(crm.name, crm.email_of(task.about), "sales", "a task")
            return after(create_tasks(tasks))

        def members(segment: str, add: Sequence[Any], remove: Sequence[Any]) -> Any:
            for member in add:
                self._hold(crm.name, self._whose(host, member.key), "mail", "a membership")
            return after(set_members(segment, add, remove))

        def after(outcomes: Any) -> Any:
            if self.chance.random() < 0.5:
                self._webhooks()
            return outcomes

        sink.upsert, sink.create_tasks, sink.set_members = upserts, tasks, members

    def _field(self, crm: str, email: str, word: str | None, value: Any) -> None:
        if word == "out":
            self.seen["opt-outs passed on"] += 1
            if value is not True:
                self.broken.append(f"{crm}: {email} was to be subscribed again: {value!r}")
            elif not self.truth.withdrawn(email, "mail"):
                self.broken.append(f"{crm}: {email} was opted out, and nobody had said so")
            return
        if word is None:
            self._hold_key(crm, email)
            return
        purpose = self.purpose_of(crm, word)
        if purpose is not None and crm != "letter":
            self._hold(crm, email, purpose, word)

    def _hold_key(self, crm: str, email: str) -> None:
        """Our key goes where anything may be written to the person at all."""
        if crm == self.crms[0].name and not any(self.truth.allows(email, purpose) for purpose in PURPOSES):
            self.broken.append(f"{crm}: our key was written for {email}, who does not allow any purpose")

    def _hold(self, crm: str, email: str, purpose: str, what: str) -> None:
        self.seen["writes that ask"] += 1
        if not self.truth.allows(email, purpose):
            self.broken.append(f"{crm}: {what} was written for {email}, who does not allow {purpose}")

    def _whose(self, host: Host, key: str) -> str:
        """Any address of the person who has this key."""
        person, names = schema.person, schema.identifier
        with host.database.read() as connection:
            row = connection.execute(select(person.c.id, person.c.merged_into).where(person.c.key == key)).one()
            wanted = row.id if row.merged_into is None else row.merged_into
            return str(connection.scalars(select(names.c.value).where(names.c.person_id == wanted)).first())

    # What must be there in the end

    def compare(self) -> tuple[list[str], Counter[str]]:
        """All is quiet: every opt-out is everywhere, and what is allowed has arrived."""
        wrong: list[str] = []
        counted: Counter[str] = Counter()
        for crm in [*self.crms, self.letter]:
            listed = crm.members() if crm is not self.letter else set()
            inside = {self.truth.same.get(email, email) for email in listed}
            for email in self.people:
                wrong += self._compare(crm, email, inside, counted)
        return wrong, counted

    def _record(self, crm: InMemory | Simulated, email: str) -> tuple[RemoteRef, Mapping[str, Any]] | None:
        """The person's record, under whichever of their addresses."""
        found = (crm.record(one) for one in self.truth.everyone(email))
        return next((record for record in found if record is not None), None)

    def _compare(self, crm: InMemory | Simulated, email: str, inside: set[str], counted: Counter[str]) -> Iterator[str]:
        found = self._record(crm, email)
        if self.truth.withdrawn(email, "mail"):
            counted["opted out"] += found is not None
            if found is not None and not is_out(found[1].get(crm.fields["out"])):
                yield f"{crm.name} does not know that {email} has opted out"
            if email in inside:
                yield f"{crm.name} still has {email} on the list, who has withdrawn"
        if crm is self.letter or not self.truth.allows(email, "mail"):
            return
        counted["written to"] += 1
        if found is None:
            yield f"{crm.name} lacks {email}, who allows it"
            return
        score = found[1].get(crm.fields["score"])
        if score in (None, "") or int(float(score)) != self.points[email]:
            yield f"{crm.name} holds {score} points of {email}, not {self.points[email]}"
        if (email in inside) != (self.points[email] >= _HOT):
            where = "on" if email in inside else "off"
            yield f"{crm.name} has {email} with {self.points[email]} points {where} the list"


_SYNC: Final[Mapping[str, Any]] = {
    "first_run": "whole",
    "guard": dict.fromkeys(("creates", "clears", "tasks", "removes", "overwrites")),
}
_MODEL: Final = {
    "model": "interest",
    "version": 1,
    "signals": {"points": {"sum": "points", "of": "custom"}},
    "score": [{"name": "points", "add": "points"}],
    "bands": [{"name": "hot", "at_least": _HOT}],
}


def _plugin(kind: str, bases: tuple[type[Any], ...], **more: Any) -> object:
    connector = type(kind.title(), bases, {"kind": kind, **more})

    class _Plugin:
        @hookimpl
        def connectors(self) -> Sequence[type[Any]]:
            return [connector]

    return _Plugin()


@contextmanager
def open_town(folder: Path, stores: Stores, people: int, seed: int, *, vendor: Vendor | None = None) -> Iterator[Town]:
    """A town with three CRMs; with a vendor, its simulator is one of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        store = stack.enter_context(stores.fresh(folder))
        simulated = None
        if vendor is not None:
            made = Plugins.load({vendor.kind}).simulators()[vendor.kind]
            simulator: Any = made(SimulatorOptions(people=0, seed=seed, clock=EPOCH))
            for limit in ("daily_calls", "daily_credits"):
                if hasattr(simulator, limit):
                    setattr(simulator, limit, 10**9)
            simulator.start()
            stack.callback(simulator.stop)
            if vendor.kind == "salesforce":
                for name in vendor.objects:
                    simulator.org.show(name, OPT_OUT["salesforce"])
            simulated = (vendor, simulator)
        town = Town(folder, store, people, seed, simulated)
        town.prepare()
        yield town
