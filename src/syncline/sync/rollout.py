"""The first runs into a CRM, step by step: whom we would find there, then updates only, then new records in waves.

A person moves a CRM from `match` to `updates`, and from there to `creates`. The waves follow one another by themselves,
one a run, as long as the CRM takes them. After the last one a CRM is `whole`, like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from syncline.errors import ConfigError, GuardError
from syncline.model import microseconds
from syncline.store.database import Database
from syncline.store.profiles import Profile
from syncline.store.rollouts import Stage, Standing, creations, put_rollout, rollout
from syncline.sync.course import Course, fail
from syncline.sync.plan import BY_ID, BatchPlan, RecordPlan, TargetPlan
from syncline.sync.report import MatchReport, RolloutReport
from syncline.sync.target import Target

__all__ = ["WAVES", "Rollouts", "refuse_idle_go_ahead"]

WAVES: Final = (100, 1_000, 10_000, None)
"""How many records a run of each wave creates; None: all that are left."""
_MOST_REJECTED: Final = 0.01
_EXAMPLES: Final = 5
_AFTER: Final[Mapping[Stage, Standing]] = {"match": Standing("updates"), "updates": Standing("creates")}
"""The stages that wait for a person, and what a go-ahead makes of them."""
_SETTLED: Final = ("created", "updated", "unchanged", "rejected")


class Rollouts:
    """The stages of all CRMs of one run. A single person's has none: whoever asks for it looks at it.

    `everyone`: only a run about all people moves a CRM from one stage to the next.
    """

    def __init__(self, course: Course, targets: Sequence[Target], *, everyone: bool) -> None:
        self._course = course
        self._everyone = everyone
        allowance = course.allowance
        with course.setup.database.read() as connection:
            known = {target.connection: rollout(connection, target.connection) for target in targets}
        self._of = {
            target.connection: _Rollout(
                Standing("whole") if allowance.one else _begin(target, known[target.connection], allowance.go_ahead)
            )
            for target in targets
        }

    def admit(self, batch: BatchPlan) -> None:
        """Leave in each CRM's plan what its stage allows; the rest is counted, and waits."""
        for name, stage in self._of.items():
            stage.admit(batch.targets[name], batch.people)

    def only_matches(self, name: str) -> bool:
        """Nothing is to be stored of what we think of this CRM, not even whom we found there."""
        return self._of[name].standing.stage == "match"

    def is_whole(self, name: str) -> bool:
        return self._of[name].standing.stage == "whole"

    def creates(self, name: str) -> bool:
        """New records come in waves: those are the limit, and a person has said so."""
        return self._of[name].standing.stage == "creates"

    def tell(self) -> None:
        """Once all is planned: say in the report where each CRM stands. At `match` a run stops there."""
        for name, stage in self._of.items():
            if stage.standing.stage == "whole":
                continue
            report = self._course.report.sinks[name]
            report.rollout = stage.told()
            if stage.standing.stage == "match":
                fail(report, GuardError(f"{name}: {stage.found()}"))
                self._course.worsen("stopped")

    def start(self) -> None:
        """Before the first write: a go-ahead counts from here on."""
        if self._course.allowance.go_ahead and self._everyone:
            self._put({name: stage.standing for name, stage in self._of.items() if stage.standing.stage != "match"})

    def advance(self) -> None:
        """After a run: keep where each CRM stands now, and move on those whose wave the CRM has taken."""
        if not self._everyone:
            return
        after = {}
        for name, stage in self._of.items():
            report = self._course.report.sinks[name]
            if stage.standing.stage == "match":
                after[name] = stage.standing
            elif report.error is None:
                after[name] = self._after(name, stage)
        self._put(after)

    def _after(self, name: str, stage: _Rollout) -> Standing:
        if stage.standing.stage != "creates":
            return stage.standing
        with self._course.setup.database.read() as connection:
            tried = creations(connection, self._course.run_id, name, BY_ID)
        report = self._course.report.sinks[name].rollout
        trouble = _trouble(tried)
        moved = stage.standing if trouble else stage.next_wave()
        if report is not None:
            report.next = f"stays at this wave: {trouble}" if trouble else _to_come(moved)
        return moved

    def _put(self, standings: Mapping[str, Standing]) -> None:
        setup = self._course.setup
        with setup.database.write() as connection:
            for name, standing in standings.items():
                if rollout(connection, name) != standing:
                    put_rollout(connection, name, standing, microseconds(setup.clock()))


def refuse_idle_go_ahead(database: Database, targets: Sequence[Target]) -> None:
    """ConfigError when none of the CRMs waits for a person's go-ahead."""
    with database.read() as connection:
        known = {target.connection: rollout(connection, target.connection) for target in targets}
    if any(standing is not None and standing.stage in _AFTER for standing in known.values()):
        return
    fresh = [t.connection for t in targets if t.staged and known[t.connection] is None]
    if fresh:
        raise ConfigError(
            f"--go-ahead: {', '.join(fresh)} was never looked at. `syncline run` does that first, and writes nothing"
        )
    raise ConfigError(f"--go-ahead: nothing waits for it, {', '.join(known)} goes on by itself; leave it out")


def _begin(target: Target, known: Standing | None, go_ahead: bool) -> Standing:
    if known is None:
        return Standing("match" if target.staged else "whole")
    return _AFTER.get(known.stage, known) if go_ahead else known


def _trouble(tried: Counter[str]) -> str | None:
    """Why a wave was not taken; None when it was."""
    total, rejected = sum(tried.values()), tried["rejected"]
    unsettled = total - sum(tried[status] for status in _SETTLED)
    if rejected > total * _MOST_REJECTED:
        return (
            f"{rejected} of {total} new records were rejected, and at most 1 in 100 may be. `syncline dead-letters` "
            "says why; the next run tries again"
        )
    if unsettled > total * _MOST_REJECTED:
        return f"{unsettled} of {total} new records were not answered for; the next run tries again"
    return None


def _to_come(standing: Standing) -> str:
    if standing.stage == "whole":
        return "done: from now on a run does all that its plan says"
    size = WAVES[standing.wave]
    return f"the next run creates {'all that are left' if size is None else f'up to {size:,} more'}, by itself"


class _Rollout:
    """One CRM's stage, what it has let through in this run and what it has held back."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self._held: Counter[str] = Counter()
        self._match = MatchReport()
        self._left = WAVES[standing.wave] if standing.stage == "creates" else 0

    def admit(self, plan: TargetPlan, people: Mapping[int, Profile]) -> None:
        if self.standing.stage == "whole":
            return
        if self.standing.stage == "match":
            self._note_matches(plan, people)
        held: list[RecordPlan] = []
        kept: list[RecordPlan] = []
        for record in plan.records:
            (kept if self._admits(record) else held).append(record)
        plan.records[:] = kept
        self._held.update("updates" if record.ref else "creates" for record in held)
        self._hold_followups(plan, {record.person.person_id for record in held if record.ref is None})

    def _admits(self, record: RecordPlan) -> bool:
        if record.ref is not None:
            return self.standing.stage != "match"
        if self._left is not None and self._left <= 0:
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def _hold_followups(self, plan: TargetPlan, absent: set[int]) -> None:
        """Tasks and memberships are what sales people see: they come with the waves, and with their person."""
        everyone = self.standing.stage != "creates"
        tasks = [task for task in plan.tasks if not everyone and task.action.person_id not in absent]
        members = [member for member in plan.members if not everyone and member.person_id not in absent]
        self._held += Counter(tasks=len(plan.tasks) - len(tasks), members=len(plan.members) - len(members))
        plan.tasks[:], plan.members[:] = tasks, members

    def next_wave(self) -> Standing:
        """What follows a wave that was taken; with nobody left to create it was the last."""
        wave = self.standing.wave + 1
        return Standing("creates", wave) if self._held["creates"] and wave < len(WAVES) else Standing("whole")

    # In words

    def told(self) -> RolloutReport:
        stage = self.standing.stage
        return RolloutReport(
            stage=stage,
            wave=self.standing.wave + 1 if stage == "creates" else None,
            held={what: count for what, count in self._held.items() if count},
            match=self._match if stage == "match" else None,
            next=self._next(),
        )

    def found(self) -> str:
        match = self._match
        there = match.known + match.by_key + match.by_email
        return (
            f"the first run into this CRM only looks, nothing was written. {there} people are there already "
            f"({match.by_email} found by e-mail address, {match.other_case} of them in other letter case), "
            f"{match.ambiguous} wait for a decision (`syncline conflicts`), {match.absent} are to be created. Next: "
            f"{self._next()}"
        )

    def _next(self) -> str:
        held = self._held
        if self.standing.stage == "match":
            return (
                f"`syncline plan --go-ahead` shows what comes next; `syncline run --go-ahead` writes {held['updates']} "
                "updates, and nothing else"
            )
        if self.standing.stage == "updates":
            return (
                f"{held['creates']} new records, {held['tasks']} tasks and {held['members']} memberships wait. "
                f"`syncline run --go-ahead` creates the first {WAVES[0]}, and begins with tasks and memberships"
            )
        return _to_come(self.next_wave())

    def _note_matches(self, plan: TargetPlan, people: Mapping[int, Profile]) -> None:
        matches, fresh = plan.matches, {link.person_id: link for link in plan.matches.fresh}
        for person_id in matches.linked:
            link = fresh.get(person_id)
            how = "known" if link is None else "by_key" if link.how == "key" else "by_email"
            self._note(how, people[person_id].key)
            if link is not None and how == "by_email" and _otherwise_spelt(plan, people[person_id]):
                self._note("other_case", people[person_id].key)
        for conflict in matches.conflicts:
            self._note("ambiguous", people[conflict.person_id].key)
        for record in plan.records:
            if record.ref is None:
                self._note("absent", record.person.key)

    def _note(self, what: str, key: str) -> None:
        setattr(self._match, what, getattr(self._match, what) + 1)
        examples = self._match.examples.setdefault(what, [])
        if len(examples) < _EXAMPLES:
            examples.append(key)


def _otherwise_spelt(plan: TargetPlan, person: Profile) -> bool:
    """Whether the CRM shows the address in other letters, as far as a mapped field holds it. Ours are in lower case."""
    item = plan.matches.records.get(plan.matches.linked[person.person_id].ref)
    texts = [value for value in item.record.fields.values() if isinstance(value, str)] if item else []
    return any(text.casefold() in person.emails and text not in person.emails for text in texts)
