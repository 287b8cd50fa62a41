"""What follows from a person's standing: tasks for the sales people, memberships in the CRM's lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from syncline.actions.tasks import priority_of, render, threshold
from syncline.model import RemoteRef, event_id
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment
from syncline.segments.transitions import Standing
from syncline.store import crm, runs
from syncline.store.profiles import Profile
from syncline.store.runs import ActionRow
from syncline.sync.plan import ActionRule, BatchPlan, MemberPlan, TargetPlan, TaskPlan, rank
from syncline.sync.target import Target

__all__ = ["TaskPlanner", "plan_members", "task_purpose"]


class TaskPlanner:
    """Makes tasks of transitions, and plans those that are still to be created."""

    def __init__(self, program: Program, rules: Sequence[ActionRule], as_of: datetime) -> None:
        self._program = program
        self._rules = rules
        self._as_of = as_of

    def follow(
        self, person: Profile, assessment: Assessment, rule: str, standing: Standing, moved: str
    ) -> Iterator[ActionRow]:
        """What follows from a transition. The key says which one, so that it happens once."""
        for action in self._rules:
            if action.rule == rule and action.on == moved:
                yield ActionRow(
                    key=event_id("task", person.key, action.connection, action.name, moved, str(standing.entered)),
                    person_id=person.person_id,
                    connection=action.connection,
                    rule=action.name,
                    payload=self._payload(action, person, assessment),
                )

    def plan(self, connection: Connection, plan: TargetPlan, batch: BatchPlan, target: Target) -> None:
        """Tasks of today, and those of earlier runs that are still waiting, of people who are in this CRM."""
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
            allowed = [action for action in actions if plan.allows(person_id, self._purpose(action))]
            fresh = [self._as_of_now(action, batch.people[person_id], found) for action in allowed]
            plan.tasks += [TaskPlan(action, rank(found)) for action in fresh]

    def _purpose(self, action: ActionRow) -> str | None:
        """What it is for now; as it was when it was made if its rule is gone."""
        for rule in self._rules:
            if (rule.name, rule.connection) == (action.rule, action.connection):
                return rule.purpose
        return task_purpose(action.payload)

    def _as_of_now(self, action: ActionRow, person: Profile, assessment: Assessment) -> ActionRow:
        """A task that waited, in today's words and with a due time from now; as it was if its rule is gone."""
        for rule in self._rules:
            if (rule.name, rule.connection) == (action.rule, action.connection):
                return replace(action, payload=self._payload(rule, person, assessment))
        return action

    def _payload(self, action: ActionRule, person: Profile, assessment: Assessment) -> str:
        return json.dumps(self._task(action, person, assessment), ensure_ascii=False, sort_keys=True)

    def _task(self, action: ActionRule, person: Profile, assessment: Assessment) -> Mapping[str, Any]:
        score = assessment.scores[action.score] if action.score else None
        priority = action.priority
        if priority is None and score is not None and action.score is not None:
            at_least = threshold(self._program.scores[action.score], action.score, action.rule)
            priority = priority_of(score.value, at_least)
        words = {**person.attributes, "email": person.emails[0] if person.emails else ""}
        task = render(action.text, words, score, as_of=self._as_of, due=action.due, priority=priority or "normal")
        return {
            "subject": task.subject,
            "body": task.body,
            "due": task.due.isoformat(),
            "priority": task.priority,
            "owner": action.owner,
            **({"purpose": action.purpose} if action.purpose is not None else {}),
        }


def plan_members(
    connection: Connection, plan: TargetPlan, batch: BatchPlan, target: Target, segment: str, name: str
) -> None:
    """Who is to enter and to leave the CRM's list `name`, which holds our `segment`.

    Who withdraws what the list is for leaves it, as who leaves the segment does.
    """
    members = crm.members(connection, target.connection, name, batch.people)
    own = crm.own_members(connection, target.connection, name, batch.people)
    created = {record.person.person_id for record in plan.records if record.ref is None}
    for assessment in batch.assessments:
        person = batch.people[assessment.person_id]
        link = plan.matches.linked.get(person.person_id)
        held = members.get(person.person_id)
        inside = segment in assessment.segments
        if inside and (link is not None or held is not None or person.person_id in created):
            inside = _allowed(plan, target, name, person)
        wanted = inside and (link is not None or person.person_id in created)
        ref = link.ref if link else None
        if wanted and (held is None or (ref is not None and held != ref)):
            plan.members.append(_member(target, name, person, True, ref, assessment))
        elif held is not None and not inside and person.person_id not in own:
            plan.left.append((name, person.person_id))
        elif held is not None and not inside:
            plan.members.append(_member(target, name, person, False, held, assessment))


def _allowed(plan: TargetPlan, target: Target, name: str, person: Profile) -> bool:
    """Whether this person allows all that the list is kept for."""
    purposes = sorted(target.list_purposes.get(name, ()))
    return all(plan.allows(person.person_id, purpose) for purpose in purposes)


def _member(
    target: Target, segment: str, person: Profile, add: bool, ref: RemoteRef | None, assessment: Assessment
) -> MemberPlan:
    object_name = ref.object if ref else target.objects[0]
    group = object_name if target.limits.members_by_object else ""
    return MemberPlan(segment, person.person_id, person.key, add, ref, rank(assessment), group)


def task_purpose(payload: str) -> str | None:
    """What a task is for, as it was written down with it."""
    found: str | None = json.loads(payload).get("purpose")
    return found
