"""From assessments to what would be written. Nothing here writes, neither to a CRM nor to the store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from syncline.model import RemoteRef
from syncline.people.consent import ConsentRules
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment
from syncline.store import crm, dead_letters, decisions, runs
from syncline.store.profiles import known_keys, profiles
from syncline.sync.consent import hear
from syncline.sync.fields import Know
from syncline.sync.followups import TaskPlanner, plan_members
from syncline.sync.guards import with_overwrites
from syncline.sync.inherit import inherited, settle_readings
from syncline.sync.letters import heed, overrides
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
        self,
        program: Program,
        rules: Sequence[ActionRule],
        targets: Sequence[Target],
        as_of: datetime,
        consent: ConsentRules | None = None,
        *,
        trace: bool = False,
    ) -> None:
        self._program = program
        self._targets = targets
        self._as_of = as_of
        self._consent = consent or ConsentRules()
        self._tasks = TaskPlanner(program, rules, as_of)
        owners = Counter(mapped.to for target in targets for mapped in target.fields if mapped.to is not None)
        contested = frozenset(name for name, owned in owners.items() if owned > 1)
        self._know = Know(owned=frozenset(owners), contested=contested, trace=trace)
        self._given: set[str] = set()
        self._taken: dict[str, dict[RemoteRef, int]] = {target.connection: {} for target in targets}

    def plan(self, connection: Connection, assessments: Sequence[Assessment]) -> BatchPlan:
        people = profiles(connection, [assessment.person_id for assessment in assessments])
        batch = BatchPlan([a for a in assessments if a.person_id in people], people)
        for target in self._targets:
            matches = match(connection, target, people, self._taken[target.connection])
            batch.targets[target.connection] = TargetPlan(matches)
            _leave_closed(target, batch, matches)
            self._take_back_keys(connection, batch, matches)
            _gather(connection, target, batch.targets[target.connection])
        self._ask(connection, batch)
        self._transitions(connection, batch)
        for target in self._targets:
            self._plan_target(connection, batch, target)
        settle_readings(batch)
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

    def _ask(self, connection: Connection, batch: BatchPlan) -> None:
        """What the people allow, the CRMs' own fields included: one that is opted out of there is in all the others."""
        plans = [(target, batch.targets[target.connection]) for target in self._targets]
        places = [(target, plan.matches, plan.inherited) for target, plan in plans]
        consents, found = hear(connection, self._consent, batch.people, places, self._as_of)
        for target, plan in plans:
            plan.consents = consents.at(target)
            plan.opt_outs = found.get(target.connection, plan.opt_outs)

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
        matches, acknowledged = plan.matches, plan.acknowledged
        letters = dead_letters.of_people(connection, target.connection, batch.people)
        plan.overrides = overrides(letters)
        decided = decisions.cases_of(connection, target.connection, batch.people)
        records = RecordPlanner(self._program, target, self._as_of, plan, replace(self._know, decided=decided))
        for assessment in batch.assessments:
            person = batch.people[assessment.person_id]
            link = matches.linked.get(person.person_id)
            if link is not None:
                records.update(assessment, person, link.ref, acknowledged.get(link.ref, {}))
            elif person.person_id in matches.missing:
                records.create(assessment, person)
        plan.records = with_overwrites(plan.records, acknowledged)
        _explain_absence(plan, batch)
        self._tasks.plan(connection, plan, batch, target)
        for segment, name in target.segments.items():
            plan_members(connection, plan, batch, target, segment, name)
        plan.members = [m for m in plan.members if m.ref is None or m.ref.object not in target.closed]
        heed(plan, letters)


def _gather(connection: Connection, target: Target, plan: TargetPlan) -> None:
    """What the records of these people hold, and what they have accepted from us."""
    refs = {link.ref for link in plan.matches.linked.values()}
    plan.matches.records |= crm.mirror(connection, target.connection, refs - plan.matches.records.keys())
    plan.acknowledged = crm.acknowledged(connection, target.connection, refs)
    plan.inherited = inherited(connection, target.connection, plan.matches, plan.acknowledged)
    for ref, values in plan.inherited.items():
        plan.acknowledged[ref] = {**values, **plan.acknowledged.get(ref, {})}


def _leave_closed(target: Target, batch: BatchPlan, matches: Matches) -> None:
    """Nobody whose record is in a closed object is written; nobody is created, who may have a record there by now."""
    if not target.closed:
        return
    closed = ", ".join(sorted(target.closed))
    left = {
        person_id: f"their record is in {link.ref.object}, which is parked"
        for person_id, link in matches.linked.items()
        if link.ref.object in target.closed
    }
    for person_id in left:
        del matches.linked[person_id]
    left |= dict.fromkeys(matches.missing, f"not created while {closed} is parked: they may be there")
    matches.missing.clear()
    skipped = batch.targets[target.connection].skipped
    skipped += [Skipped(person_id, batch.people[person_id].key, reason) for person_id, reason in sorted(left.items())]


def _explain_absence(plan: TargetPlan, batch: BatchPlan) -> None:
    for conflict in plan.matches.conflicts:
        person = batch.people[conflict.person_id]
        plan.skipped.append(Skipped(person.person_id, person.key, f"waits for a decision: {conflict.reason}"))
    for person_id, reason in sorted(plan.matches.gone.items()):
        plan.skipped.append(Skipped(person_id, batch.people[person_id].key, reason))
