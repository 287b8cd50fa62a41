"""The records of one CRM: field by field what would be written, or why a person is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from syncline.model import RemoteRef, Value
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment
from syncline.store.profiles import Profile
from syncline.sync.asking import Asking
from syncline.sync.fields import FieldPlanner, Held, Know, Subject, Unfit
from syncline.sync.merge import Verdict, same
from syncline.sync.plan import BY_ID, FieldChange, RecordPlan, Skipped, TargetPlan, rank
from syncline.sync.target import FieldMap, Target

__all__ = ["RecordPlanner"]

_NOT_ALONE = "it changed too little to be written by itself; it goes along when another field is"


class RecordPlanner:
    """Plans the records of one CRM into `plan`; `know` is what else it goes by."""

    def __init__(self, program: Program, target: Target, as_of: datetime, plan: TargetPlan, know: Know) -> None:
        self._program = program
        self._target = target
        self._plan = plan
        self._fields = FieldPlanner(target, as_of, plan, know)
        self._asking = Asking(target, plan)

    # Records that are there

    def update(
        self, assessment: Assessment, person: Profile, ref: RemoteRef, acknowledged: Mapping[str, Value]
    ) -> None:
        """Plan the changes of a record that is there; counted as unchanged when there are none."""
        subject = Subject(person, assessment)
        held = Held(ref, self._plan.matches.records.get(ref), acknowledged)
        changes, following, held_back = [], [], []
        for mapped in self._target.fields_of(ref.object):
            if mapped.to is not None:
                self._fields.read(person, mapped, held)
            change = self._asking.opt_out(mapped, person, held) or self._fields.change(mapped, subject, held)
            if change is None:
                continue
            if mapped.follows and not change.drift:
                following.append(change)
            elif self._still(mapped, change, assessment):
                held_back.append(change)
            else:
                changes.append(change)
        remote_key = held.item.record.fields.get(self._target.match) if held.item else None
        if not same(remote_key, person.key) and self._asking.writes and self._asking.refusal(person) is None:
            changes.insert(0, FieldChange(self._target.match, remote_key, person.key))
        if not changes:
            self._plan.unchanged += 1
            self._note_waiting(ref, (*held_back, *following))
            return
        self._plan.drift += sum(change.drift for change in changes)
        every = (*changes, *held_back, *following)
        self._plan.records.append(RecordPlan(person, ref.object, ref, BY_ID, every, rank(assessment)))

    def _note_waiting(self, ref: RemoteRef, waiting: Sequence[FieldChange]) -> None:
        """Of fields that changed, but for which alone no call is made: say so where somebody asked."""
        names = {change.field for change in waiting}
        for position, step in enumerate(self._plan.steps):
            if step.field in names and (step.object, step.id) == (ref.object, ref.id):
                self._plan.steps[position] = replace(step, verdict=Verdict.KEEP, why=_NOT_ALONE)

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
        subject = Subject(person, assessment)
        refusal = self._no_create(subject)
        if refusal is not None:
            self._skip(person, refusal)
            return
        object_name = self._target.objects[0]
        changes = [FieldChange(self._target.match, None, person.key)]
        for mapped in self._target.fields_of(object_name):
            value = self._fields.fitting(mapped, object_name, subject) if mapped.origin is not None else None
            if value is Unfit.UNFIT:
                continue
            if not same(value, None) and self._plan.allows(person.person_id, mapped.purpose):
                changes.append(FieldChange(mapped.name, None, value))
            elif (opt_out := self._asking.opt_out(mapped, person)) is not None:
                changes.append(opt_out)
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

    def _no_create(self, subject: Subject) -> str | None:
        target = self._target
        if not target.create:
            return "not in the CRM (when_missing: skip)"
        if target.create_with not in subject.person.namespaces:
            return f"no {target.create_with} yet to find them again by"
        if not self._asking.writes:
            return "not in the CRM, and only opt-outs are passed on there"
        refusal = self._asking.refusal(subject.person)
        if refusal is not None:
            return f"not in the CRM, and {refusal}"
        if target.create_if is not None:
            name, at_least = target.create_if
            if subject.assessment.scores[name].value < at_least:
                return f"not in the CRM, and {name} is below {at_least} (create_if)"
        return None
