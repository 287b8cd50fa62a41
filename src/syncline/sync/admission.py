"""What of its plan a run may do in each CRM: what there is a place for, and what the stage of its first runs allows."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.store.descriptions import descriptions
from syncline.sync.course import Course
from syncline.sync.guards import amounts, hold_to_guard
from syncline.sync.needs import Needs
from syncline.sync.plan import BatchPlan
from syncline.sync.preflight import recovered, remember
from syncline.sync.rollout import Rollouts
from syncline.sync.target import Target

__all__ = ["Admission"]


class Admission:
    """Of one run; `plan` and `run` go the same way. `everyone`: it is not only about some people."""

    def __init__(self, course: Course, targets: Sequence[Target], *, everyone: bool) -> None:
        self._course = course
        self._targets = targets
        self._needs = Needs(course.setup)
        self._rollouts = Rollouts(course, targets, everyone=everyone)

    def admit(self, batch: BatchPlan) -> None:
        """Take out of the plan what is not to be done now; every count that follows is of the rest."""
        self._rollouts.admit(batch)
        for target in self._targets:
            self._needs.admit(target, batch.targets[target.connection])

    def stores_plan(self, target: Target) -> bool:
        """Whether links and the outbox are kept: not while a first run only looks."""
        return not self._rollouts.only_matches(target.connection)

    def covered(self, target: Target) -> set[tuple[str, str]]:
        """(operation, object) of which the plan names everything that is wanted; of a record only if every field is."""
        name = target.connection
        if not self._rollouts.is_whole(name):
            return set()
        parked = {item.object for item in target.parked}
        whole = all(mapped.written for mapped in target.fields)
        found = {("upsert", object_name) for object_name in target.objects if whole and object_name not in parked}
        found |= {(operation, listed) for listed in target.segments.values() for operation in ("add", "remove")}
        return {pair for pair in found | {("task", "")} if not self._needs.lacks(name, *pair)}

    def tell(self) -> None:
        """Once everything is planned: what is parked, what has recovered, where a first run stands."""
        for target in self._targets:
            report = self._course.report.sinks[target.connection]
            parked = self._needs.parked(target.connection)
            report.parked += [str(item) for item in parked]
            if parked:
                self._course.worsen("stopped")
            with self._course.setup.database.read() as connection:
                report.recovered = recovered(target, descriptions(connection, target.connection))
                report.recovered += self._needs.recovered(connection, target.connection)
        self._rollouts.tell()

    def hold(self, target: Target) -> None:
        """GuardError when the plan does more than the guard and whoever asked for this run allow."""
        name, course = target.connection, self._course
        planned = amounts(
            course.operations.get(name, {}),
            clears=course.clears[name],
            overwrites=course.overwrites[name],
            opt_outs=course.opt_outs[name],
        )
        if self._rollouts.creates(name):
            del planned["creates"]  # the wave is the limit, and a person has said so
        hold_to_guard(target, planned, course.allowance, course.report.sinks[name])

    def start(self) -> None:
        """Before the first write: keep what was found, and what a person has said."""
        self._rollouts.start()
        setup = self._course.setup
        with setup.database.write() as connection:
            for target in self._course.inspected:
                remember(connection, target, setup.clock())
            for target in self._targets:
                self._needs.remember(connection, target.connection)

    def advance(self) -> None:
        """After the last write: move first runs on."""
        self._rollouts.advance()
