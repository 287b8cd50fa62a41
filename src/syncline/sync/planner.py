"""From assessments to what would be written. Nothing here writes, neither to a CRM nor to the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from syncline.model import RemoteRef
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment
from syncline.store import crm, runs
from syncline.store.profiles import known_keys, profiles
from syncline.sync.followups import TaskPlanner, plan_members
from syncline.sync.match import Matches, match
from syncline.sync.plan import ActionRule, BatchPlan, Skipped, TargetPlan
from syncline.sync.records import RecordPlanner
from syncline.sync.target import Target
from syncline.sync.transitions import transitions

__all__ = ["Planner"]

_KEY: Final = re.compile("[0-9a-f]{20}")  # what a key of ours looks like


class Planner:
    """Plans batch after batch of one run; remembers across batches which record it has given to whom."""

    def __init__(
        self, program: Program, rules: Sequence[ActionRule], targets: Sequence[Target], as_of: datetime
    ) -> None:
        self._program = program
        self._targets = targets
        self._as_of = as_of
        self._tasks = TaskPlanner(program, rules, as_of)
        self._given: set[str] = set()
        self._taken: dict[str, dict[RemoteRef, int]] = {target.connection: {} for target in targets}

    def plan(self, connection: Connection, assessments: Sequence[Assessment]) -> BatchPlan:
        people = profiles(connection, [assessment.person_id for assessment in assessments])
        batch = BatchPlan([a for a in assessments if a.person_id in people], people)
        for target in self._targets:
            matches = match(connection, target, people, self._taken[target.connection])
            batch.targets[target.connection] = TargetPlan(matches)
            self._take_back_keys(connection, batch, matches)
        self._transitions(connection, batch)
        for target in self._targets:
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

    def _transitions(self, connection: Connection, batch: BatchPlan) -> None:
        known = runs.standings(connection, batch.people)
        for assessment in batch.assessments:
            person = batch.people[assessment.person_id]
            for rule, standing, moved in transitions(self._program, known, assessment, self._as_of):
                batch.standings[assessment.person_id, rule] = standing
                if moved:
                    batch.actions += self._tasks.follow(person, assessment, rule, standing, moved)

    def _plan_target(self, connection: Connection, batch: BatchPlan, target: Target) -> None:
        plan = batch.targets[target.connection]
        matches = plan.matches
        refs = {link.ref for link in matches.linked.values()}
        matches.records |= crm.mirror(connection, target.connection, refs - matches.records.keys())
        acknowledged = crm.acknowledged(connection, target.connection, refs)
        records = RecordPlanner(self._program, target, self._as_of, plan)
        for assessment in batch.assessments:
            person = batch.people[assessment.person_id]
            link = matches.linked.get(person.person_id)
            if link is not None:
                records.update(assessment, person, link.ref, acknowledged.get(link.ref, {}))
            elif person.person_id in matches.missing:
                records.create(assessment, person)
        _explain_absence(plan, batch)
        self._tasks.plan(connection, plan, batch, target)
        for segment, name in target.segments.items():
            plan_members(connection, plan, batch, target, segment, name)


def _explain_absence(plan: TargetPlan, batch: BatchPlan) -> None:
    for conflict in plan.matches.conflicts:
        person = batch.people[conflict.person_id]
        plan.skipped.append(Skipped(person.person_id, person.key, f"waits for a decision: {conflict.reason}"))
    for person_id, reason in sorted(plan.matches.gone.items()):
        plan.skipped.append(Skipped(person_id, batch.people[person_id].key, reason))
