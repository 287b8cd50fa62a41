"""People, other systems, sources and we write the same fields in any order, and we are killed in between.

What may be written over what is judged here from docs/two-way.md alone, and from what the CRMs themselves know of every
field: nothing of the merge is asked.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from reliability.office import MemoryCrm, Office, open_office
from reliability.stores import Stores
from syncline.host import Host
from syncline.model import RemoteRef, Value, Writer, alike
from syncline.store.profiles import profiles
from syncline.store.schema import link, outbox
from syncline.store.values import dump_json, load
from syncline.testing.memory import MemoryWorld

__all__ = ["Judge", "Tally", "interleave"]

_HUMAN = ("person", "unknown")


class KilledError(BaseException):
    """The process is gone: nothing that it holds is cleared up."""


@dataclass(frozen=True, slots=True)
class _Touch:
    """The last change of one field, as the CRM has it. `version`: of the CRM, so that it is before or after a look."""

    by: Writer
    at: datetime
    """As the CRM says, but never later than it was: what we think of it is no earlier."""
    version: int


_Place = tuple[str, RemoteRef, str]
"""CRM, record, field."""


class Judge:
    """Watches every write into the CRMs, and knows what may be written over what."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.lost: list[str] = []
        self.raced = 0
        self.protected = 0
        self.touched: dict[_Place, _Touch] = {}
        self.ours: defaultdict[_Place, list[Value]] = defaultdict(list)
        """What we have written, where we have; the last comes last."""
        self.doubtful: set[tuple[str, str, str, Value]] = set()
        """CRM, person, field, value: under way when we were killed, so that nobody can tell whose it is."""
        self.looks: defaultdict[_Place, list[Value]] = defaultdict(lambda: [None, None])
        """What stood there at our last two looks."""
        self.decided: dict[_Place, tuple[Value, Value]] = {}
        """What stood there when somebody decided, and what is to stand there."""
        self.said: dict[tuple[str, str, Value], datetime] = {}
        """Person, attribute, value → when anybody said so last, anywhere."""
        self._latest: dict[tuple[str, str], datetime] = {}
        self._seen: dict[tuple[str, str], int] = {}
        for crm in office.memory:
            self._watch(crm)

    def _watch(self, crm: MemoryCrm) -> None:
        world, store, changed_since = crm.world, crm.world._store, crm.world.changed_since

        def stored(ref: RemoteRef, fields: dict[str, Value], by: Writer, who: str | None, at: datetime) -> None:
            held = dict(world._rows[ref].fields) if ref in world._rows else {}
            if by == "us":
                for name in crm.policies:
                    if fields.get(name) != held.get(name):
                        self._judge(crm, ref, name, held.get(name), fields.get(name))
                        self.ours[crm.name, ref, name].append(fields.get(name))
            store(ref, fields, by, who, at)
            self._note(crm, ref, held, by, at)

        def looked(object: str, names: Any, version: int | None) -> Any:
            self._seen[crm.name, object] = world.version
            for ref in world.refs(object):
                for name in crm.policies:
                    place = (crm.name, ref, name)
                    value = world.get(ref)[name]
                    self.looks[place] = [self.looks[place][-1], value]
                    self._hear_late(crm, place, value)
            return changed_since(object, names, version)

        world._store = stored  # type: ignore[method-assign]
        world.changed_since = looked  # type: ignore[method-assign]

    def _note(self, crm: MemoryCrm, ref: RemoteRef, held: dict[str, Value], by: Writer, at: datetime) -> None:
        for name in crm.policies:
            value = crm.world._rows[ref].fields.get(name)
            if value != held.get(name):
                place = (crm.name, ref, name)
                self.touched[place] = _Touch(by, min(at, self.office.now), crm.world.version)
                self.decided.pop(place, None)
                if by == "us":
                    self.ours[place].append(value)

    def _judge(self, crm: MemoryCrm, ref: RemoteRef, name: str, held: Value, wanted: Value) -> None:
        place, policy = (crm.name, ref, name), crm.policies[name]
        touch = self.touched.get(place)
        if policy == "ours" or touch is None or touch.by == "us":
            return
        if held in self.ours.get(place, ()):
            return  # our own value, whoever typed it again
        if touch.by != "person" and (crm.name, self._whose(place), name, held) in self.doubtful:
            return
        if not crm.world.keeps_history and held == self.looks[place][0]:
            return  # it was another in between, and a CRM that tells only of records does not say so
        if touch.version > self._seen.get((crm.name, ref.object), 0):
            self.raced += 1  # typed after our last look: no CRM can be asked to write only what is unchanged
            return
        if not self._allowed(place, policy, touch, held, wanted):
            when = f"{touch.at:%H:%M:%S.%f} by {touch.by}"
            said = self.said.get((self._whose(place), name, wanted), "never")
            self.lost.append(
                f"{crm.name} {ref.id} {name} ({policy}): {held!r} of {when} became {wanted!r}, said {said}"
            )

    def _allowed(self, place: _Place, policy: str, touch: _Touch, held: Value, wanted: Value) -> bool:
        self.protected += touch.by in _HUMAN
        if policy == "human_wins":
            return touch.by == "system"
        if policy == "ask":
            decided = self.decided.get(place)
            return decided is not None and (decided[0], decided[1]) == (held, wanted)
        if policy == "newest":
            said = self.said.get((self._whose(place), place[2], wanted))
            return said is not None and said >= touch.at
        return False  # only_if_empty

    def _whose(self, place: _Place) -> str:
        crm = next(crm for crm in self.office.memory if crm.name == place[0])
        return next((email for email, ref in crm.refs.items() if ref == place[1]), "")

    def hear(self, email: str, attribute: str, value: Value, at: datetime, policy: str = "") -> None:
        """Somebody says so. Where the policy is to ask, what only they have changed is later than all before it."""
        latest = self._latest.get((email, attribute), at)
        if policy == "ask":
            at = max(at, latest + timedelta(microseconds=1))
        self.said[email, attribute, value] = max(at, self.said.get((email, attribute, value), at))
        self._latest[email, attribute] = max(at, latest)

    def _hear_late(self, crm: MemoryCrm, place: _Place, value: Value) -> None:
        """A CRM that tells only of records says that a value is as new as the last change of any field."""
        touch = self.touched.get(place)
        if not crm.world.keeps_history and touch is not None and touch.by != "us":
            self.hear(self._whose(place), place[2], value, crm.world._rows[place[1]].changed_at, crm.policies[place[2]])

    def lives_on(self, crm: MemoryCrm, email: str, ref: RemoteRef, *, same: bool) -> None:
        """A person's record lives on as another one; `same`: with all that was in it, by whom it was."""
        old = crm.refs[email]
        for name in crm.policies if same else ():
            before, now = (crm.name, old, name), (crm.name, ref, name)
            self.ours[now] = self.ours[before]
            self.looks[now] = self.looks[before]
            if before in self.touched and (crm.world.get(ref)[name] is not None or self.ours[before]):
                self.touched[now] = self.touched[before]
        crm.refs[email] = ref

    # What must be once all is quiet

    def apart(self, known: dict[str, dict[str, str]], queue: dict[_Place, tuple[Value, Value]]) -> Iterator[str]:
        """Fields in which the two sides differ, and which neither a policy nor the queue accounts for."""
        for crm in self.office.memory:
            for email in self.office.people:
                ref = crm.ref(email)
                for name, policy in crm.policies.items():
                    held, ours = crm.held(email, name), known[email].get(name)
                    if ref is None or alike(held, ours) or policy == "only_if_empty":
                        continue
                    place = (crm.name, ref, name)
                    if why := self._unaccounted(place, policy, held, ours, queue.get(place)):
                        yield f"{crm.name} {email} {name} ({policy}): there {held!r}, here {ours!r}: {why}"
        for place, (theirs, _) in queue.items():
            crm = next(crm for crm in self.office.memory if crm.name == place[0])
            if crm.world.get(place[1]).get(place[2]) != theirs:
                yield f"{place} waits with {theirs!r}, which stands there no more"

    def _unaccounted(
        self, place: _Place, policy: str, held: Value, ours: str | None, waiting: tuple[Value, Value] | None
    ) -> str | None:
        touch = self.touched.get(place)
        if policy == "ours":
            return "we do not own it"
        if held is None and touch is not None and touch.by != "us" and place in self.ours:
            only_theirs = ours is None or alike(self.ours[place][-1], ours)
            return None if policy != "ask" or waiting or only_theirs else "it is not in the queue"
        if policy == "human_wins":
            by_person = touch is not None and (touch.by in _HUMAN or not self._keeps_history(place[0]))
            return None if by_person else "nobody has typed it"
        if policy == "ask":
            if waiting is None:
                return "it is not in the queue"
            return None if waiting == (held, ours) else f"it waits as {waiting}"
        return None if held is None and touch is not None and touch.by != "us" else "newest is not the same everywhere"

    def _keeps_history(self, name: str) -> bool:
        return next(crm.world.keeps_history for crm in self.office.memory if crm.name == name)


@dataclass(slots=True)
class Tally:
    """What was done and seen, over all examples."""

    interleavings: int = 0
    runs: int = 0
    kills: int = 0
    edits: int = 0
    raced: int = 0
    protected: int = 0
    queued: int = 0
    lost: list[str] = field(default_factory=list)
    decided: int = 0
    moved: int = 0
    """Records that were converted or merged."""


class _Process:
    """A host that can be killed at any step: when it writes to its store, when a CRM is called, when one answers."""

    def __init__(self, office: Office, between: Callable[[], None]) -> None:
        self._office = office
        self._between = between
        self._stack = ExitStack()
        self.dead = False
        self.left: int | None = None
        """So many steps are left to live."""
        self._host: Host | None = None
        for crm in office.memory:
            self._count_calls(crm.world)

    @property
    def host(self) -> Host:
        if self._host is None:
            self._host = self._stack.enter_context(self._office.host())
            write = self._host.database.write

            @contextmanager
            def stepwise() -> Iterator[Any]:
                self.step()
                with write() as connection:
                    yield connection
                    self.step()
                self.step()

            self._host.database.write = stepwise  # type: ignore[method-assign]
        return self._host

    def _count_calls(self, world: MemoryWorld) -> None:
        call, write = world.call, world.write

        def called(*given: Any, **more: Any) -> Any:
            self.step()
            answer = call(*given, **more)
            self.step()
            return answer

        def written(*given: Any) -> None:
            write(*given)
            self.step()

        world.call, world.write = called, written  # type: ignore[assignment, method-assign]

    def step(self) -> None:
        """One more; the last one is where it ends. Meanwhile others go on."""
        if self.dead:
            raise KilledError
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.dead = True
                raise KilledError
        self._between()

    def run(self, left: int | None) -> bool:
        """Whether it got through."""
        self.left = left
        try:
            self.host.run()
        except KilledError:
            self.end()
            return False
        finally:
            self.left, self.dead = None, False
        return True

    def end(self) -> None:
        self._host = None
        self._stack.close()


def _machine(folder: Path, stores: Stores, people: int, base: int, tally: Tally) -> type[RuleBasedStateMachine]:
    """The state machine over one office after another, each in a folder of its own."""
    numbers = iter(range(10**9))

    class Interleavings(RuleBasedStateMachine):
        """One example is as many interleavings as there are people."""

        @initialize(choice=st.integers(0, 2**32 - 1))
        def open(self, choice: int) -> None:
            self.stack = ExitStack()
            number = next(numbers)
            self.office = self.stack.enter_context(
                open_office(folder / f"office-{number}", stores, people, base ^ choice)
            )
            self.judge = Judge(self.office)
            self.chance = self.office.chance
            self.process = _Process(self.office, self.meanwhile)
            self.bystanders = 0.0
            tally.interleavings += people

        # What people, systems and sources do

        def meanwhile(self) -> None:
            """Somebody types while we are at work."""
            if self.chance.random() < self.bystanders:
                self.act(self.chance.choice(self.office.people))

        def act(self, email: str) -> None:
            tally.edits += 1
            name = self.chance.choice(list(self.office.attributes))
            if self.chance.random() < 0.35:
                value, ago = self.office.value(), timedelta(seconds=self.chance.choice((0, 1, 60, 3600)))
                self.office.say(email, {name: value}, ago)
                self.judge.hear(email, name, value, self.office.now - ago)
                return
            crm = self.chance.choice(self.office.memory)
            by: Writer = self.chance.choice(("person", "person", "unknown", "system"))
            given = None if self.chance.random() < 0.15 else self.office.value()
            if (ref := crm.ref(email)) is not None:
                self.judge.hear(email, name, given, crm.world.clock(), crm.policies[name])
                crm.edit(ref, name, given, by)

        @rule(share=st.sampled_from((0.1, 0.5, 1.0)), seconds=st.sampled_from((0, 1, 30, 3600)))
        def stir(self, share: float, seconds: int) -> None:
            for email in self.office.people:
                if self.chance.random() < share:
                    self.act(email)
            self.office.later(timedelta(seconds=seconds))

        @rule()
        def convert_or_merge(self) -> None:
            """Some leads are converted, some records merged into one that somebody typed: those that we know."""
            with self.process.host.database.read() as connection:
                linked = connection.execute(select(link.c.connection, link.c.object, link.c.remote_id)).all()
            known = {(name, RemoteRef(object_name, id_)) for name, object_name, id_ in linked}
            for email in self.chance.sample(self.office.people, max(1, people // 10)):
                crm = self.chance.choice(self.office.memory)
                ref = crm.ref(email)
                if ref is None or (crm.name, ref) not in known:
                    continue
                if ref.object == "Lead" and self.chance.random() < 0.5:
                    self.judge.lives_on(crm, email, crm.world.convert(ref), same=True)
                else:
                    typed = {name: self.office.value() for name in crm.policies if self.chance.random() < 0.7}
                    survivor = crm.world.put(ref.object, typed)
                    for name, value in typed.items():
                        self.judge.hear(email, name, value, crm.world.clock(), crm.policies[name])
                    crm.world.merge(ref, survivor)
                    self.judge.lives_on(crm, email, survivor, same=False)
                tally.moved += 1

        @rule(share=st.sampled_from((0.3, 1.0)))
        def decide(self, share: float) -> None:
            host = self.process.host
            for case in host.waiting().fields:
                if self.chance.random() > share:
                    continue
                choice: Any = self.chance.choice(("ours", "theirs", "value"))
                value = self.office.value() if choice == "value" else None
                host.decide_field(case, choice, value)
                tally.decided += 1
                place = (case.connection, case.ref, case.field)
                self.judge.decided[place] = (case.theirs, case.ours if value is None else value)
                email = self._email(case)
                for told in (case.theirs, value):
                    self.judge.hear(email, case.field, told, self.office.now)

        def _email(self, case: Any) -> str:
            [crm] = [crm for crm in self.office.memory if crm.name == case.connection]
            return next((email for email, ref in crm.refs.items() if ref == case.ref), "")

        # What we do

        @rule(bystanders=st.sampled_from((0.0, 0.05)), share=st.sampled_from((0.1, 0.5, 1.0)))
        def run(self, bystanders: float, share: float) -> None:
            self.stir(share, 1)
            self._run(None, bystanders)

        @rule(left=st.integers(1, 160), bystanders=st.sampled_from((0.0, 0.05)), share=st.sampled_from((0.1, 1.0)))
        def run_and_die(self, left: int, bystanders: float, share: float) -> None:
            self.stir(share, 1)
            self._run(left, bystanders)

        def _run(self, left: int | None, bystanders: float) -> None:
            tally.runs += 1
            self.bystanders = bystanders
            if not self.process.run(left):
                tally.kills += 1
                self._doubt()
            self.bystanders = 0.0
            self.office.later(timedelta(seconds=self.chance.choice((0, 1))))

        def _doubt(self) -> None:
            """What was sent and not answered."""
            with self.process.host.database.read() as connection:
                sent = connection.execute(
                    select(outbox).where(outbox.c.status == "sent", outbox.c.operation == "upsert")
                )
                rows = sent.all()
                known = profiles(connection, {row.person_id for row in rows})
            for row in rows:
                for name, value in load(row.payload)["fields"].items():
                    for email in known[row.person_id].emails:
                        self.judge.doubtful.add((row.connection, email, name, value))

        # What must hold

        @invariant()
        def nothing_protected_is_lost(self) -> None:
            if self.judge.lost:
                raise AssertionError(f"lost: {self.judge.lost}")

        def teardown(self) -> None:
            if not hasattr(self, "judge"):
                return
            try:
                for _ in range(3):
                    self._run(None, 0.0)
                self.nothing_protected_is_lost()
                apart = list(self.judge.apart(*self._books()))
                if apart:
                    raise AssertionError(f"not accounted for: {apart}")
            finally:
                tally.raced += self.judge.raced
                tally.protected += self.judge.protected
                tally.lost += self.judge.lost
                self.process.end()
                self.stack.close()

        def _books(self) -> tuple[dict[str, dict[str, str]], dict[_Place, tuple[Value, Value]]]:
            """What we know of everybody, and what waits."""
            host = self.process.host
            with host.database.read() as connection:
                found = {email: profiles(connection, [host.person(email)]) for email in self.office.people}
            queue = {
                (case.connection, case.ref, case.field): (dump_json(case.theirs), dump_json(case.ours))
                for case in host.waiting().fields
            }
            tally.queued += len(queue)
            return {email: dict(next(iter(people.values())).attributes) for email, people in found.items()}, queue

    return Interleavings


def interleave(folder: Path, stores: Stores, *, people: int, examples: int, steps: int, seed: int) -> Tally:
    """So many examples of so many people; AssertionError says what was lost, and by which steps."""
    tally = Tally()
    machine = _machine(folder, stores, people, seed, tally)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    logging.disable(logging.CRITICAL)  # every killed run would say that it was
    try:
        run_state_machine_as_test(seeded(seed)(machine), settings=chosen)
    finally:
        logging.disable(logging.NOTSET)
    return tally
