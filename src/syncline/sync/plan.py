"""From assessments to what would be written: the plan. Nothing here writes, neither to a CRM nor to the store."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection

from syncline.actions.tasks import Priority, TaskText, priority_of, render, threshold
from syncline.model import RemoteRef, Value, event_id
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment
from syncline.segments.transitions import Standing
from syncline.store import crm, runs
from syncline.store.crm import MirrorRecord
from syncline.store.profiles import Profile, known_keys, profiles
from syncline.store.runs import ActionRow
from syncline.store.values import dump_json
from syncline.sync.desired import desired, desired_at
from syncline.sync.match import Matches, match
from syncline.sync.merge import FieldState, Verdict, coerce, merge, same
from syncline.sync.report import Undecided
from syncline.sync.target import FieldMap, Target
from syncline.sync.transitions import transitions


class _Unfit(Enum):
    """A value that its field cannot hold."""

    UNFIT = "unfit"


_KEY: Final = re.compile("[0-9a-f]{20}")  # what a key of ours looks like

BY_ID: Final = "Id"
"""The match of a write that updates the record with this id and never creates one."""

__all__ = [
    "BY_ID",
    "ActionRule",
    "BatchPlan",
    "FieldChange",
    "MemberPlan",
    "Planner",
    "RecordPlan",
    "Skipped",
    "TargetPlan",
    "TaskPlan",
]


@dataclass(frozen=True, slots=True)
class ActionRule:
    """A task that follows from entering (or leaving) a segment or a band.

    `rule` is `segment:lead_caldo` or `band:interesse.caldo`; `priority` None grows with `score`.
    """

    name: str
    rule: str
    on: str
    connection: str
    text: TaskText
    due: timedelta
    score: str | None = None
    priority: Priority | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`clears`: what stood there is lost, and it was not ours (an emptied field, a tick somebody made)."""

    field: str
    before: Value
    after: Value
    drift: bool = False
    clears: bool = False


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One record to write. `ref` None: it is created."""

    person: Profile
    object: str
    ref: RemoteRef | None
    match: str
    """What addresses the record: `Id`, or for one to be created the field that carries our key."""
    changes: tuple[FieldChange, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class TaskPlan:
    action: ActionRow
    rank: int


@dataclass(frozen=True, slots=True)
class MemberPlan:
    segment: str
    person_id: int
    key: str
    add: bool
    ref: RemoteRef | None
    rank: int
    group: str = ""
    """The object whose members go together in a call, where the CRM wants that."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A person who is not written, and why: a conflict, a deleted record, nothing to create a record from."""

    person_id: int
    key: str
    reason: str


class Reading(NamedTuple):
    """What the CRM says of a person, and since when; None: nothing any more."""

    value: str | None
    at: datetime


@dataclass(slots=True)
class TargetPlan:
    """The part of a batch that concerns one CRM."""

    matches: Matches
    records: list[RecordPlan] = field(default_factory=list)
    tasks: list[TaskPlan] = field(default_factory=list)
    members: list[MemberPlan] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    undecided: list[Undecided] = field(default_factory=list)
    unchanged: int = 0
    drift: int = 0
    left: list[tuple[str, int]] = field(default_factory=list)
    """(list, person) who left our segment, and whom somebody else had put on the CRM's list: they stay there."""
    waiting: int = 0
    """Tasks of people who are not in this CRM yet."""
    unfit: Counter[str] = field(default_factory=Counter)
    """Field and reason → values of ours that the field cannot hold, and that are left out."""
    read: dict[int, dict[str, Reading]] = field(default_factory=dict)
    """Person → attributes the CRM owns, as they stand there."""


@dataclass(slots=True)
class BatchPlan:
    """What follows from some people's assessments."""

    assessments: list[Assessment]
    people: dict[int, Profile]
    standings: dict[tuple[int, str], Standing] = field(default_factory=dict)
    actions: list[ActionRow] = field(default_factory=list)
    targets: dict[str, TargetPlan] = field(default_factory=dict)
    taken_back: dict[int, str] = field(default_factory=dict)
    """Person → the key a CRM still holds of them, from before our books were lost."""


class Planner:
    """Plans batch after batch of one run; remembers across batches which record it has given to whom."""

    def __init__(
        self, program: Program, rules: Sequence[ActionRule], targets: Sequence[Target], as_of: datetime
    ) -> None:
        self.program = program
        self.rules = rules
        self.targets = targets
        self.as_of = as_of
        self._given: set[str] = set()
        self._taken: dict[str, dict[RemoteRef, int]] = {target.connection: {} for target in targets}

    def plan(self, connection: Connection, assessments: Sequence[Assessment]) -> BatchPlan:
        people = profiles(connection, [assessment.person_id for assessment in assessments])
        batch = BatchPlan([a for a in assessments if a.person_id in people], people)
        for target in self.targets:
            matches = match(connection, target, people, self._taken[target.connection])
            batch.targets[target.connection] = TargetPlan(matches)
            self._take_back_keys(connection, batch, matches)
        self._transitions(connection, batch)
        for target in self.targets:
            self._plan_target(connection, batch, target)
        return batch

    def _take_back_keys(self, connection: Connection, batch: BatchPlan, matches: Matches) -> None:
        """A record found by its address that carries a key of ours nobody here has: we gave it, and lost our books.

        The person gets that key back, so that tasks and records made under it are known again.
        """
        carried = {
            link.person_id: item.key
            for link in matches.fresh
            if link.how == "email" and link.person_id not in batch.taken_back
            if (item := matches.records.get(link.ref)) and item.key and _KEY.fullmatch(item.key)
        }
        in_use = known_keys(connection, carried.values())
        for person_id, key in carried.items():
            if key not in in_use and key not in self._given:
                self._given.add(key)
                batch.taken_back[person_id] = key
                person = batch.people[person_id]
                batch.people[person_id] = replace(person, key=key, keys=(key, *person.keys))

    # Transitions and what follows from them

    def _transitions(self, connection: Connection, batch: BatchPlan) -> None:
        known = runs.standings(connection, batch.people)
        for assessment in batch.assessments:
            for rule, standing, moved in transitions(self.program, known, assessment, self.as_of):
                batch.standings[assessment.person_id, rule] = standing
                if moved:
                    batch.actions += self._follow(batch, assessment, rule, standing, moved)

    def _follow(
        self, batch: BatchPlan, assessment: Assessment, rule: str, standing: Standing, moved: str
    ) -> list[ActionRow]:
        person = batch.people[assessment.person_id]
        return [
            ActionRow(
                key=event_id("task", person.key, action.connection, action.name, moved, str(standing.entered)),
                person_id=person.person_id,
                connection=action.connection,
                rule=action.name,
                payload=self._payload(action, person, assessment),
            )
            for action in self.rules
            if action.rule == rule and action.on == moved
        ]

    def _payload(self, action: ActionRule, person: Profile, assessment: Assessment) -> str:
        return json.dumps(self._task(action, person, assessment), ensure_ascii=False, sort_keys=True)

    def _task(self, action: ActionRule, person: Profile, assessment: Assessment) -> dict[str, Any]:
        score = assessment.scores[action.score] if action.score else None
        priority = action.priority
        if priority is None and score is not None and action.score is not None:
            at_least = threshold(self.program.scores[action.score], action.score, action.rule)
            priority = priority_of(score.value, at_least)
        words = {**person.attributes, "email": person.emails[0] if person.emails else ""}
        task = render(action.text, words, score, as_of=self.as_of, due=action.due, priority=priority or "normal")
        return {
            "subject": task.subject,
            "body": task.body,
            "due": task.due.isoformat(),
            "priority": task.priority,
            "owner": action.owner,
        }

    # Records, tasks and memberships of one CRM

    def _plan_target(self, connection: Connection, batch: BatchPlan, target: Target) -> None:
        plan = batch.targets[target.connection]
        matches = plan.matches
        refs = {link.ref for link in matches.linked.values()}
        matches.records |= crm.mirror(connection, target.connection, refs - matches.records.keys())
        acknowledged = crm.acknowledged(connection, target.connection, refs)
        for assessment in batch.assessments:
            person = batch.people[assessment.person_id]
            link = matches.linked.get(person.person_id)
            if link is not None:
                self._plan_update(plan, target, assessment, person, link.ref, acknowledged.get(link.ref, {}))
            elif person.person_id in matches.missing:
                self._plan_create(plan, target, assessment, person)
        self._explain_absence(plan, batch)
        self._plan_tasks(connection, plan, batch, target)
        for segment, name in target.segments.items():
            self._plan_members(connection, plan, batch, target, segment, name)

    def _plan_update(
        self,
        plan: TargetPlan,
        target: Target,
        assessment: Assessment,
        person: Profile,
        ref: RemoteRef,
        acknowledged: Mapping[str, Value],
    ) -> None:
        item = plan.matches.records.get(ref)
        remote: Mapping[str, Value] = item.record.fields if item else {}
        changes, following, held_back = [], [], []
        for mapped in target.fields_of(ref.object):
            if mapped.to is not None:
                self._read(plan, person, mapped, item)
            if mapped.origin is None:
                continue
            change, undecided = self._field(plan, target, mapped, ref, assessment, person, item, acknowledged)
            if change is None:
                continue
            if undecided:
                plan.undecided.append(_undecided(person, ref, change))
            elif mapped.follows and not change.drift:
                following.append(change)
            elif self._still(mapped, change, assessment, remote, target, ref):
                held_back.append(change)
            else:
                changes.append(change)
        if not same(remote.get(target.match), person.key):
            changes.insert(0, FieldChange(target.match, remote.get(target.match), person.key))
        if not changes:
            plan.unchanged += 1
            return
        plan.drift += sum(change.drift for change in changes)
        every = (*changes, *held_back, *following)
        plan.records.append(RecordPlan(person, ref.object, ref, BY_ID, every, _rank(assessment)))

    def _field(
        self,
        plan: TargetPlan,
        target: Target,
        mapped: FieldMap,
        ref: RemoteRef,
        assessment: Assessment,
        person: Profile,
        item: MirrorRecord | None,
        acknowledged: Mapping[str, Value],
    ) -> tuple[FieldChange | None, bool]:
        known = mapped.name in acknowledged
        unread = item is None or mapped.name not in item.record.fields
        if unread and mapped.policy != "ours":
            return None, False  # nobody knows what stands there, and it is not ours to write over
        wanted = self._fitting(plan, target, mapped, ref.object, assessment, person)
        if wanted is _Unfit.UNFIT:
            return None, False
        state = FieldState(
            desired=wanted,
            remote=acknowledged.get(mapped.name) if item is None or unread else item.record.fields[mapped.name],
            placeholder=mapped.default,
            acknowledged=acknowledged.get(mapped.name),
            acknowledged_known=known,
            desired_at=desired_at(mapped.origin, assessment, person) if mapped.origin else None,
            remote_at=item.record.changed_at if item else None,
        )
        decision = merge(state, mapped.policy)
        if decision.verdict is Verdict.KEEP:
            return None, False
        drift = decision.verdict is Verdict.DRIFT
        clears = decision.value is None or (
            decision.value is False and state.remote is True and not (known and not drift)
        )
        change = FieldChange(mapped.name, state.remote, decision.value, drift, clears)
        return change, decision.verdict is Verdict.ASK

    def _fitting(
        self,
        plan: TargetPlan,
        target: Target,
        mapped: FieldMap,
        object_name: str,
        assessment: Assessment,
        person: Profile,
    ) -> Value | Literal[_Unfit.UNFIT]:
        """Our value as the field can hold it; _Unfit.UNFIT, counted, when it cannot."""
        try:
            return coerce(desired(mapped, assessment, person), target.described[object_name][mapped.name])
        except ValueError as error:
            plan.unfit[f"{object_name}.{mapped.name}: {mapped.origin}: {error}"] += 1
            return _Unfit.UNFIT

    def _read(self, plan: TargetPlan, person: Profile, mapped: FieldMap, item: MirrorRecord | None) -> None:
        """Note what the CRM holds in a field that is theirs, where we know something else."""
        if mapped.to is None or item is None or mapped.name not in item.record.fields:
            return
        value = item.record.fields[mapped.name]
        text = None if value is None or value == "" else str(value)
        if person.attributes.get(mapped.to) != text:
            reading = Reading(text, item.record.changed_at or self.as_of)
            plan.read.setdefault(person.person_id, {})[mapped.to] = reading

    def _still(
        self,
        mapped: FieldMap,
        change: FieldChange,
        assessment: Assessment,
        remote: Mapping[str, Value],
        target: Target,
        ref: RemoteRef,
    ) -> bool:
        """Whether `write_when` says that this change alone is not worth a call."""
        if (mapped.moves is None and not mapped.or_band) or mapped.origin is None or change.drift:
            return False
        if not isinstance(change.before, int | Decimal) or not isinstance(change.after, int | Decimal):
            return False
        if mapped.moves is not None and abs(Decimal(change.after) - Decimal(change.before)) >= mapped.moves:
            return False
        return not (mapped.or_band and self._band_changed(mapped, assessment, change.before))

    def _band_changed(self, mapped: FieldMap, assessment: Assessment, before: Value) -> bool:
        assert mapped.origin is not None  # noqa: S101  # `_still` asked
        bands = self.program.scores[mapped.origin.name].bands
        old = max(
            (b.at_least for b in bands if isinstance(before, int | Decimal) and before >= b.at_least), default=None
        )
        new = next((b.at_least for b in bands if b.name == assessment.scores[mapped.origin.name].band), None)
        return old != new

    def _plan_create(self, plan: TargetPlan, target: Target, assessment: Assessment, person: Profile) -> None:
        refusal = self._no_create(target, assessment, person)
        if refusal is not None:
            plan.skipped.append(Skipped(person.person_id, person.key, refusal))
            return
        object_name = target.objects[0]
        changes = [FieldChange(target.match, None, person.key)]
        for mapped in target.fields_of(object_name):
            if mapped.origin is None:
                continue
            value = self._fitting(plan, target, mapped, object_name, assessment, person)
            if value is not _Unfit.UNFIT and not same(value, None):
                changes.append(FieldChange(mapped.name, None, value))
        given = {change.field for change in changes}
        lacking = [
            name
            for name, item in target.described[object_name].items()
            if item.required and item.writable and name not in given
        ]
        if lacking:
            reason = f"nothing to put into {', '.join(lacking)}, which the CRM demands; give the mapping a default"
            plan.skipped.append(Skipped(person.person_id, person.key, reason))
            return
        plan.records.append(RecordPlan(person, object_name, None, target.match, tuple(changes), _rank(assessment)))

    def _no_create(self, target: Target, assessment: Assessment, person: Profile) -> str | None:
        if not target.create:
            return "not in the CRM (when_missing: skip)"
        if target.create_with not in person.namespaces:
            return f"no {target.create_with} yet to find them again by"
        if target.create_if is not None:
            name, at_least = target.create_if
            if assessment.scores[name].value < at_least:
                return f"not in the CRM, and {name} is below {at_least} (create_if)"
        return None

    def _explain_absence(self, plan: TargetPlan, batch: BatchPlan) -> None:
        for conflict in plan.matches.conflicts:
            person = batch.people[conflict.person_id]
            plan.skipped.append(Skipped(person.person_id, person.key, f"waits for a decision: {conflict.reason}"))
        for person_id, reason in sorted(plan.matches.gone.items()):
            plan.skipped.append(Skipped(person_id, batch.people[person_id].key, reason))

    def _plan_tasks(self, connection: Connection, plan: TargetPlan, batch: BatchPlan, target: Target) -> None:
        waiting = runs.actions_waiting(connection, target.connection, batch.people)
        for action in batch.actions:
            if action.connection == target.connection:
                waiting.setdefault(action.person_id, []).append(action)
        present = plan.matches.linked.keys() | {r.person.person_id for r in plan.records}
        assessments = {assessment.person_id: assessment for assessment in batch.assessments}
        for person_id, actions in sorted(waiting.items()):
            if person_id not in present:
                plan.waiting += len(actions)
                continue
            found = assessments[person_id]
            fresh = [self._as_of_now(action, batch.people[person_id], found) for action in actions]
            plan.tasks += [TaskPlan(action, _rank(found)) for action in fresh]

    def _as_of_now(self, action: ActionRow, person: Profile, assessment: Assessment) -> ActionRow:
        """A task that waited, in today's words and with a due time from now; as it was if its rule is gone."""
        for rule in self.rules:
            if (rule.name, rule.connection) == (action.rule, action.connection):
                return replace(action, payload=self._payload(rule, person, assessment))
        return action

    def _plan_members(
        self, connection: Connection, plan: TargetPlan, batch: BatchPlan, target: Target, segment: str, name: str
    ) -> None:
        members = crm.members(connection, target.connection, name, batch.people)
        own = crm.own_members(connection, target.connection, name, batch.people)
        created = {record.person.person_id for record in plan.records if record.ref is None}
        for assessment in batch.assessments:
            person = batch.people[assessment.person_id]
            link = plan.matches.linked.get(person.person_id)
            held = members.get(person.person_id)
            wanted = segment in assessment.segments and (link is not None or person.person_id in created)
            ref = link.ref if link else None
            if wanted and (held is None or (ref is not None and held != ref)):
                plan.members.append(_member(target, name, person, True, ref, assessment))
            elif held is not None and segment not in assessment.segments and person.person_id not in own:
                plan.left.append((name, person.person_id))
            elif held is not None and segment not in assessment.segments:
                plan.members.append(_member(target, name, person, False, held, assessment))


def _member(
    target: Target, segment: str, person: Profile, add: bool, ref: RemoteRef | None, assessment: Assessment
) -> MemberPlan:
    object_name = ref.object if ref else target.objects[0]
    group = object_name if target.limits.members_by_object else ""
    return MemberPlan(segment, person.person_id, person.key, add, ref, _rank(assessment), group)


def _undecided(person: Profile, ref: RemoteRef, change: FieldChange) -> Undecided:
    theirs, ours = dump_json(change.before), dump_json(change.after)
    return Undecided(person=person.key, object=ref.object, id=ref.id, field=change.field, theirs=theirs, ours=ours)


def _rank(assessment: Assessment) -> int:
    """Hot people first: the highest of a person's scores, in hundredths."""
    return max((int(score.value.scaleb(2)) for score in assessment.scores.values()), default=0)
