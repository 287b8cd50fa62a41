"""One field of one record: what is to stand there and why, what waits for a person, what we take over from the CRM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal

from syncline.model import Edit, Origin, RemoteRef, Value, from_microseconds, microseconds
from syncline.scoring.result import Assessment
from syncline.store.crm import MirrorRecord
from syncline.store.decisions import Case
from syncline.store.edits import edit_of, emptied
from syncline.store.profiles import Profile
from syncline.store.values import dump_json
from syncline.sync.desired import desired, desired_at
from syncline.sync.merge import Decision, FieldState, Policy, Verdict, coerce, merge, same
from syncline.sync.plan import FieldChange, FieldStep, Reading, TargetPlan
from syncline.sync.report import Undecided
from syncline.sync.target import FieldMap, Target

__all__ = ["FieldPlanner", "Held", "Know", "Subject", "Unfit", "takes_over"]

_TICK: Final = timedelta(microseconds=1)
_OURS_ALONE: Final = ("email", "key", "last_event", "last_event_at")
"""Of a person, what no CRM can tell us: who they are, and what they did."""


class Unfit(Enum):
    """A value that its field cannot hold."""

    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class Subject:
    """A person as we know them now."""

    person: Profile
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class Held:
    """Their record, as last read and as it last accepted something from us. `item` None: it was never read."""

    ref: RemoteRef
    item: MirrorRecord | None
    acknowledged: Mapping[str, Value]

    def unread(self, name: str) -> bool:
        return self.item is None or name not in self.item.record.fields

    def remote(self, name: str) -> Value:
        """What stands in a field, as far as anybody knows."""
        if self.item is None or name not in self.item.record.fields:
            return self.acknowledged.get(name)
        return self.item.record.fields[name]

    def edit(self, name: str) -> Edit:
        """Who changed a field last, as far as anybody knows."""
        return Edit(None) if self.item is None else edit_of(self.item.record, name)

    def emptied(self, name: str) -> bool:
        """Whether somebody else emptied a field, as far as anybody knows."""
        return self.item is not None and emptied(self.item.record, name) is not None


@dataclass(frozen=True, slots=True)
class Know:
    """What else a plan goes by: what people decided, and which attributes are not for shared fields to set.

    `owned` belong to a CRM (`owner: theirs`); `contested` to more than one of them. `trace`: note every step.
    """

    decided: Mapping[tuple[int, str], Case] = field(default_factory=dict)
    owned: frozenset[str] = frozenset()
    contested: frozenset[str] = frozenset()
    trace: bool = False


def takes_over(origin: Origin | None, policy: Policy) -> str | None:
    """The attribute of the person that may follow what stands in a field; None: no CRM can set it."""
    if origin is None or origin.room != "person" or policy == "ours" or origin.name in _OURS_ALONE:
        return None
    return origin.name


class FieldPlanner:
    """Decides field after field of one CRM, into `plan`."""

    def __init__(self, target: Target, as_of: datetime, plan: TargetPlan, know: Know) -> None:
        self._target = target
        self._as_of = as_of
        self._plan = plan
        self._know = know

    def change(self, mapped: FieldMap, subject: Subject, held: Held) -> FieldChange | None:
        """The change of one field, if it is to be written; what a person must decide is noted in the plan."""
        if mapped.origin is None:
            return None
        if held.unread(mapped.name) and mapped.policy != "ours":
            return None  # nobody knows what stands there, and it is not ours to write over
        wanted = self.fitting(mapped, held.ref.object, subject)
        if wanted is Unfit.UNFIT:
            return None
        state = self._state(mapped, subject, held, wanted)
        decision = self._permitted(mapped, subject.person, merge(state, mapped.policy))
        if decision.verdict is Verdict.ASK:
            decision = self._asked(mapped, subject, held.ref, state, decision)
        elif decision.verdict is Verdict.TAKE:
            at = state.edit.at
            if mapped.policy == "ask" and state.desired_at is not None:  # theirs alone has changed, whatever clocks say
                at = max(at or state.desired_at, state.desired_at + _TICK)
            self._take(mapped, subject.person, state.remote, at)
        if self._know.trace:
            self._plan.steps.append(_step(mapped, subject, held, state, decision))
        return _change(mapped.name, state, decision) if decision.writes else None

    def _permitted(self, mapped: FieldMap, person: Profile, decision: Decision) -> Decision:
        """What is written or asked only where the person allows it; counted where they do not."""
        if decision.verdict in (Verdict.KEEP, Verdict.TAKE):
            return decision
        refusal = self._plan.consents.refusal(person.person_id, mapped.purpose)
        if refusal is None:
            return decision
        self._plan.withheld[refusal] += 1
        return Decision(Verdict.KEEP, refusal)

    def _state(self, mapped: FieldMap, subject: Subject, held: Held, wanted: Value) -> FieldState:
        said_at = desired_at(mapped.origin, subject.assessment, subject.person) if mapped.origin else None
        return FieldState(
            desired=wanted,
            remote=held.remote(mapped.name),
            placeholder=self._placeholder(mapped, held.ref.object),
            acknowledged=held.acknowledged.get(mapped.name),
            acknowledged_known=mapped.name in held.acknowledged,
            desired_at=said_at,
            edit=held.edit(mapped.name),
            emptied=held.emptied(mapped.name),
            kind=self._target.described[held.ref.object][mapped.name].kind,
        )

    def _placeholder(self, mapped: FieldMap, object_name: str) -> Value:
        if mapped.default is None:
            return None
        try:
            return coerce(mapped.default, self._target.described[object_name][mapped.name])
        except ValueError:
            return None

    # Our value, as the field can hold it

    def fitting(self, mapped: FieldMap, object_name: str, subject: Subject) -> Value | Literal[Unfit.UNFIT]:
        """Our value as the field can hold it; Unfit.UNFIT, counted, when it cannot."""
        try:
            value = desired(mapped, subject.assessment, subject.person)
            fitting = coerce(value, self._target.described[object_name][mapped.name])
            return self._overridden(mapped.name, object_name, subject.person, fitting)
        except ValueError as error:
            self._plan.unfit[f"{object_name}.{mapped.name}: {mapped.origin}: {error}"] += 1
            return Unfit.UNFIT

    def _overridden(self, name: str, object_name: str, person: Profile, value: Value) -> Value:
        """What a person gave in place of just this value, after the CRM had refused it."""
        override = self._plan.overrides.get((person.key, object_name, name))
        if override is None or not same(override.instead_of, value):
            return value
        self._plan.left_alone.add(("upsert", object_name, person.key))
        return coerce(override.value, self._target.described[object_name][name])

    # What a person decides

    def _asked(
        self, mapped: FieldMap, subject: Subject, ref: RemoteRef, state: FieldState, undecided: Decision
    ) -> Decision:
        """What somebody has decided on just these two values; else the question goes into the queue."""
        case = self._case(mapped, subject, ref, state)
        said = self._know.decided.get((case.person_id, case.field))
        if said is not None and said.decision is not None and self._still_holds(mapped, case, said):
            self._plan.cases.append(replace(case, decision=said.decision, value=said.value, decided_us=said.decided_us))
            return self._as_decided(mapped, subject.person, state, said)
        self._plan.cases.append(case)
        self._plan.undecided.append(_undecided(subject.person, case))
        return undecided

    def _case(self, mapped: FieldMap, subject: Subject, ref: RemoteRef, state: FieldState) -> Case:
        return Case(
            connection=self._target.connection,
            ref=ref,
            field=mapped.name,
            person_id=subject.person.person_id,
            theirs=state.remote,
            edit=state.edit,
            ours=state.desired,
            ours_us=microseconds(state.desired_at) if state.desired_at else None,
        )

    def _still_holds(self, mapped: FieldMap, case: Case, said: Case) -> bool:
        """Both values are those that were decided on; or ours is the one that a person gave in place of both."""
        given = said.decision == "value" and same(case.ours, self._given(mapped, case.ref, said))
        return case.asks_the_same(said) or (given and same(case.theirs, said.theirs))

    def _given(self, mapped: FieldMap, ref: RemoteRef, said: Case) -> Value:
        """The value that a person typed, as the field can hold it; None, counted, when it cannot."""
        try:
            return coerce(said.value, self._target.described[ref.object][mapped.name])
        except ValueError as error:
            self._plan.unfit[f"{ref.object}.{mapped.name}: decided: {error}"] += 1
            return None

    def _as_decided(self, mapped: FieldMap, person: Profile, state: FieldState, said: Case) -> Decision:
        at = None if said.decided_us is None else from_microseconds(said.decided_us)
        if said.decision == "theirs":
            self._take(mapped, person, state.remote, at)
            return Decision(Verdict.TAKE, "a person decided for what stands there")
        if said.decision == "ours":
            return Decision(Verdict.WRITE, "a person decided for ours", state.desired)
        value = self._given(mapped, said.ref, said)
        if value is None:
            return Decision(Verdict.KEEP, "a person decided for a value that the field cannot hold")
        self._take(mapped, person, value, at)
        return Decision(Verdict.WRITE, "a person decided for this value", value)

    # What we take over

    def read(self, person: Profile, mapped: FieldMap, held: Held) -> None:
        """Note what the CRM holds in a field that is theirs, where we know something else, or another CRM may."""
        if mapped.to is None or held.unread(mapped.name):
            return
        text = _text(held.remote(mapped.name))
        if person.attributes.get(mapped.to) != text or mapped.to in self._know.contested:
            self._note(person, mapped.to, Reading(text, held.edit(mapped.name).at or self._as_of, owned=True))

    def _take(self, mapped: FieldMap, person: Profile, value: Value, at: datetime | None) -> None:
        """What stands in a shared field has won: it is what we know from now on, unless we have heard later words.

        Said at the same time, the word later in the alphabet holds: whichever CRM is read first, all agree in the end.
        """
        name, text, at = takes_over(mapped.origin, mapped.policy), _text(value), at or self._as_of
        if name is None or name in self._know.owned or text is None or text == mapped.default:
            return
        known = person.attributes.get(name)
        said_us = person.said_us.get(name, 0)
        if known is None or (microseconds(at), text) > (said_us, known):
            self._note(person, name, Reading(text, at))

    def _note(self, person: Profile, attribute: str, reading: Reading) -> None:
        noted = self._plan.read.setdefault(person.person_id, {})
        other = noted.get(attribute)
        if other is None or reading.order > other.order:
            noted[attribute] = reading


def _text(value: Value) -> str | None:
    return None if value is None or value == "" else str(value)


def _change(name: str, state: FieldState, decision: Decision) -> FieldChange:
    drift = decision.verdict is Verdict.DRIFT
    ours_before = state.acknowledged_known and not drift
    clears = decision.value is None or (decision.value is False and state.remote is True and not ours_before)
    return FieldChange(name, state.remote, decision.value, drift, clears)


def _undecided(person: Profile, case: Case) -> Undecided:
    return Undecided(
        case=case.id,
        person=person.key,
        object=case.ref.object,
        id=case.ref.id,
        field=case.field,
        theirs=dump_json(case.theirs),
        ours=dump_json(case.ours),
    )


def _step(mapped: FieldMap, subject: Subject, held: Held, state: FieldState, decision: Decision) -> FieldStep:
    return FieldStep(
        person_id=subject.person.person_id,
        object=held.ref.object,
        id=held.ref.id,
        field=mapped.name,
        policy=mapped.policy,
        acknowledged=state.acknowledged,
        remote=state.remote,
        edit=state.edit,
        desired=state.desired,
        desired_at=state.desired_at,
        verdict=decision.verdict,
        why=decision.why,
    )
