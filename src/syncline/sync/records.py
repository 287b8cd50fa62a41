"""The records of one CRM: field by field what would be written, or why a person is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Literal

from syncline.model import RemoteRef, Value
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment
from syncline.store.crm import MirrorRecord
from syncline.store.profiles import Profile
from syncline.store.values import dump_json
from syncline.sync.desired import desired, desired_at
from syncline.sync.merge import Decision, FieldState, Verdict, coerce, merge, same
from syncline.sync.plan import BY_ID, FieldChange, Reading, RecordPlan, Skipped, TargetPlan, rank
from syncline.sync.report import Undecided
from syncline.sync.target import FieldMap, Target

__all__ = ["RecordPlanner"]


class _Unfit(Enum):
    """A value that its field cannot hold."""

    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class _Subject:
    """A person as we know them now."""

    person: Profile
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class _Held:
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


class RecordPlanner:
    """Plans the records of one CRM into `plan`."""

    def __init__(self, program: Program, target: Target, as_of: datetime, plan: TargetPlan) -> None:
        self._program = program
        self._target = target
        self._as_of = as_of
        self._plan = plan

    # Records that are there

    def update(
        self, assessment: Assessment, person: Profile, ref: RemoteRef, acknowledged: Mapping[str, Value]
    ) -> None:
        """Plan the changes of a record that is there; counted as unchanged when there are none."""
        subject = _Subject(person, assessment)
        held = _Held(ref, self._plan.matches.records.get(ref), acknowledged)
        changes, following, held_back = [], [], []
        for mapped in self._target.fields_of(ref.object):
            if mapped.to is not None:
                self._read(person, mapped, held.item)
            change = self._field(mapped, subject, held) if mapped.origin is not None else None
            if change is None:
                continue
            if mapped.follows and not change.drift:
                following.append(change)
            elif self._still(mapped, change, assessment):
                held_back.append(change)
            else:
                changes.append(change)
        remote_key = held.item.record.fields.get(self._target.match) if held.item else None
        if not same(remote_key, person.key):
            changes.insert(0, FieldChange(self._target.match, remote_key, person.key))
        if not changes:
            self._plan.unchanged += 1
            return
        self._plan.drift += sum(change.drift for change in changes)
        every = (*changes, *held_back, *following)
        self._plan.records.append(RecordPlan(person, ref.object, ref, BY_ID, every, rank(assessment)))

    def _field(self, mapped: FieldMap, subject: _Subject, held: _Held) -> FieldChange | None:
        """The change of one field, if it is to be written; what a person must decide is noted in the plan."""
        if held.unread(mapped.name) and mapped.policy != "ours":
            return None  # nobody knows what stands there, and it is not ours to write over
        wanted = self._fitting(mapped, held.ref.object, subject)
        if wanted is _Unfit.UNFIT:
            return None
        state = self._state(mapped, subject, held, wanted)
        decision = merge(state, mapped.policy)
        if decision.verdict is Verdict.ASK:
            self._plan.undecided.append(_undecided(subject.person, held.ref, mapped.name, state))
        return _change(mapped.name, state, decision) if decision.writes else None

    def _state(self, mapped: FieldMap, subject: _Subject, held: _Held, wanted: Value) -> FieldState:
        said_at = desired_at(mapped.origin, subject.assessment, subject.person) if mapped.origin else None
        return FieldState(
            desired=wanted,
            remote=held.remote(mapped.name),
            placeholder=mapped.default,
            acknowledged=held.acknowledged.get(mapped.name),
            acknowledged_known=mapped.name in held.acknowledged,
            desired_at=said_at,
            remote_at=held.item.record.changed_at if held.item else None,
        )

    def _fitting(self, mapped: FieldMap, object_name: str, subject: _Subject) -> Value | Literal[_Unfit.UNFIT]:
        """Our value as the field can hold it; _Unfit.UNFIT, counted, when it cannot."""
        try:
            value = desired(mapped, subject.assessment, subject.person)
            return coerce(value, self._target.described[object_name][mapped.name])
        except ValueError as error:
            self._plan.unfit[f"{object_name}.{mapped.name}: {mapped.origin}: {error}"] += 1
            return _Unfit.UNFIT

    def _read(self, person: Profile, mapped: FieldMap, item: MirrorRecord | None) -> None:
        """Note what the CRM holds in a field that is theirs, where we know something else."""
        if mapped.to is None or item is None or mapped.name not in item.record.fields:
            return
        value = item.record.fields[mapped.name]
        text = None if value is None or value == "" else str(value)
        if person.attributes.get(mapped.to) != text:
            reading = Reading(text, item.record.changed_at or self._as_of)
            self._plan.read.setdefault(person.person_id, {})[mapped.to] = reading

    def _still(self, mapped: FieldMap, change: FieldChange, assessment: Assessment) -> bool:
        """Whether `write_when` says that this change alone is not worth a call."""
        if (mapped.moves is None and not mapped.or_band) or mapped.origin is None or change.drift:
            return False
        if not isinstance(change.before, int | Decimal) or not isinstance(change.after, int | Decimal):
            return False
        if mapped.moves is not None and abs(Decimal(change.after) - Decimal(change.before)) >= mapped.moves:
            return False
        return not (mapped.or_band and self._band_changed(mapped.origin.name, assessment, change.before))

    def _band_changed(self, score: str, assessment: Assessment, before: int | Decimal) -> bool:
        bands = self._program.scores[score].bands
        old = max((band.at_least for band in bands if before >= band.at_least), default=None)
        new = next((band.at_least for band in bands if band.name == assessment.scores[score].band), None)
        return old != new

    # Records that are not there

    def create(self, assessment: Assessment, person: Profile) -> None:
        """Plan a new record, or note why there is to be none."""
        subject = _Subject(person, assessment)
        refusal = self._no_create(subject)
        if refusal is not None:
            self._skip(person, refusal)
            return
        object_name = self._target.objects[0]
        changes = [FieldChange(self._target.match, None, person.key)]
        for mapped in self._target.fields_of(object_name):
            if mapped.origin is None:
                continue
            value = self._fitting(mapped, object_name, subject)
            if value is not _Unfit.UNFIT and not same(value, None):
                changes.append(FieldChange(mapped.name, None, value))
        lacking = self._lacking(object_name, {change.field for change in changes})
        if lacking:
            self._skip(
                person, f"nothing to put into {', '.join(lacking)}, which the CRM demands; give the mapping a default"
            )
            return
        record = RecordPlan(person, object_name, None, self._target.match, tuple(changes), rank(assessment))
        self._plan.records.append(record)

    def _skip(self, person: Profile, reason: str) -> None:
        self._plan.skipped.append(Skipped(person.person_id, person.key, reason))

    def _lacking(self, object_name: str, given: set[str]) -> list[str]:
        described = self._target.described[object_name]
        return [name for name, item in described.items() if item.required and item.writable and name not in given]

    def _no_create(self, subject: _Subject) -> str | None:
        target = self._target
        if not target.create:
            return "not in the CRM (when_missing: skip)"
        if target.create_with not in subject.person.namespaces:
            return f"no {target.create_with} yet to find them again by"
        if target.create_if is not None:
            name, at_least = target.create_if
            if subject.assessment.scores[name].value < at_least:
                return f"not in the CRM, and {name} is below {at_least} (create_if)"
        return None


def _change(name: str, state: FieldState, decision: Decision) -> FieldChange:
    drift = decision.verdict is Verdict.DRIFT
    ours_before = state.acknowledged_known and not drift
    clears = decision.value is None or (decision.value is False and state.remote is True and not ours_before)
    return FieldChange(name, state.remote, decision.value, drift, clears)


def _undecided(person: Profile, ref: RemoteRef, name: str, state: FieldState) -> Undecided:
    theirs, ours = dump_json(state.remote), dump_json(state.desired)
    return Undecided(person=person.key, object=ref.object, id=ref.id, field=name, theirs=theirs, ours=ours)
