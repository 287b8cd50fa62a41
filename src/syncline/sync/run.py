"""One pass over everything: pull, score, match, plan; and for a run, deliver. `plan` is the same path, cut short."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from syncline.engine.embedded import assess_all
from syncline.errors import ConnectorError, GuardError, StoreError
from syncline.events.classify import Classifier
from syncline.model import from_microseconds, microseconds
from syncline.scoring.result import Assessment
from syncline.sdk import Receives, Source
from syncline.sdk.config import ConnectorConfig
from syncline.store import crm, dead_letters, decisions, pauses, runs, schema, webhooks
from syncline.store.batches import batches
from syncline.store.profiles import put_keys
from syncline.sync import telemetry
from syncline.sync.admission import Admission
from syncline.sync.consent import catch_up
from syncline.sync.course import Course, Setup, alive, fail, new_run_id
from syncline.sync.crms import read_crms
from syncline.sync.deliver import Deliverer
from syncline.sync.gate import Gate
from syncline.sync.guards import Allowance
from syncline.sync.inherit import put_readings
from syncline.sync.journey import journey
from syncline.sync.outbox import change_of, outbox_rows
from syncline.sync.plan import BY_ID, BatchPlan
from syncline.sync.planner import Planner
from syncline.sync.progress import Progress
from syncline.sync.pull import PullReport, pull, purge_raw, replay
from syncline.sync.report import Report, ScoreReport, SourceReport, calls_for, credits_for
from syncline.sync.stop import Stopped
from syncline.sync.target import Target
from syncline.sync.webhooks import report_on, report_ways

__all__ = ["Runner"]

_PEOPLE_AT_ONCE = 2000


class Runner:
    """Carries out one pass. `beat` is called after every page and batch: it keeps the lease alive.

    Stopped, raised by it or by a pause between two tries, ends the pass: what was recorded stays, the report is
    `interrupted`, and the next run plans the rest anew.
    """

    def __init__(
        self,
        setup: Setup,
        as_of: datetime,
        *,
        beat: Callable[[], None] = lambda: None,
        allowance: Allowance | None = None,
    ) -> None:
        self._setup = alive(setup, beat)
        self._database = setup.database
        self._as_of = as_of
        self.run_id = new_run_id(setup)
        self._course = Course(self._setup, self.run_id, as_of, allowance)
        self.report = self._course.report

    # The three commands

    def pull(self, only: str | None = None) -> Report:
        """Read the sources into the event log."""
        with self._until_stopped():
            self._read_sources(only)
        return self.report

    def replay(self, name: str, statuses: Collection[int]) -> Report:
        """Normalize kept raw records of a source again, with the plugin and the rules as they are now."""
        source = self._setup.sources[name]
        result = replay(
            self._database,
            name,
            source,
            classifier=self._setup.classifiers.get(name, Classifier()),
            identity_rules=self._setup.identity,
            clock=self._setup.clock,
            statuses=statuses,
        )
        _fill(self.report.sources.setdefault(name, SourceReport()), result, 0)
        self._report_webhooks()
        self._count_log()
        return self.report

    def plan(self, *, people: Sequence[int] | None = None) -> Report:
        """What a run would write now. Sources and CRMs are read; nothing is written but what was read."""
        with self._until_stopped():
            self._make_plan(people)
        if self.report.status == "done":
            self.report.status = "planned"
        return self.report

    def _make_plan(self, people: Sequence[int] | None) -> None:
        self._read_sources()
        targets = read_crms(self._course)
        for target in targets:
            self._paused(target)
        self._admission = Admission(self._course, targets, everyone=people is None)
        with telemetry.stage("score and plan"):
            for batch in self._batches(targets, people):
                for target in targets:
                    part = batch.targets[target.connection]
                    sink = self.report.sinks[target.connection]
                    sink.changes += [change_of(row) for row in outbox_rows(part)]
                    sink.planned_writes = len(sink.changes)
        self._close_plan(targets)
        for target in targets:
            self._forecast(target)

    def run(self, *, people: Sequence[int] | None = None) -> Report:
        """Pull, plan, record the intent, deliver."""
        started = microseconds(self._setup.clock())
        with self._database.write() as connection:
            runs.abandon(connection)
            about = {"sync": self._setup.syncs, "person": _whom(connection, people)}
            runs.start_run(connection, self.run_id, started, microseconds(self._as_of), **about)
        try:
            with self._until_stopped():
                self._carry_out(people)
            self._list_changes()
            self._settle()
        except BaseException:
            with contextlib.suppress(StoreError):  # a full disk fails here again; the first error says more
                self._finish("failed")
            raise
        self._finish(self.report.status)
        return self.report

    def _carry_out(self, people: Sequence[int] | None) -> None:
        self._read_sources()
        targets = [target for target in read_crms(self._course) if not self._paused(target)]
        if any(sink.paused for sink in self.report.sinks.values()):
            self._course.worsen("paused")
        self._admission = Admission(self._course, targets, everyone=people is None)
        with telemetry.stage("score and plan"):
            for batch in self._batches(targets, people):
                self._commit(batch, targets)
        self._close_plan(targets)
        self._admission.start()
        gate = Gate(self._setup.consent, self._setup.sources, self._setup.identity)
        for target in targets:
            with telemetry.stage(f"write {target.connection}", target.connection):
                self._deliver(target, gate)
        self._admission.advance()
        self._purge()

    @contextlib.contextmanager
    def _until_stopped(self) -> Iterator[None]:
        try:
            yield
        except Stopped:
            self._course.worsen("interrupted")

    def _finish(self, status: str) -> None:
        with self._database.write() as connection:
            runs.abandon(connection, self.run_id)
            finished = microseconds(self._setup.clock())
            stored = self.report.model_dump(mode="json", exclude={"sinks": {"__all__": {"changes"}}})
            runs.finish_run(connection, self.run_id, finished, status, stored)

    def _purge(self) -> None:
        """What nobody needs any more: raw records and settled outbox rows past their retention."""
        before = self._setup.clock() - self._setup.raw_retention
        purge_raw(self._database, before)
        with self._database.write() as connection:
            webhooks.purge(connection, microseconds(before))
            for target in self._setup.targets:
                runs.purge(connection, target.connection, microseconds(before))

    # Reading

    def _read_sources(self, only: str | None = None) -> None:
        for name, source in self._setup.sources.items():
            if only in (None, name):
                with telemetry.stage(f"read {name}", name):
                    self._pull(name, source)
        self._report_webhooks()
        self._count_log()

    def _pull(self, name: str, source: Source[ConnectorConfig]) -> None:
        report = self.report.sources.setdefault(name, SourceReport())
        if self._course.resting(name, report):
            return
        result = PullReport(name)
        before = source.context.http.metrics.total
        stage = _Stage(self._setup.progress, f"read {name}")
        try:
            pull(
                self._database,
                name,
                source,
                streams=source.streams,
                classifier=self._setup.classifiers.get(name, Classifier()),
                identity_rules=self._setup.identity,
                run_id=self.run_id,
                clock=self._setup.clock,
                progress=stage.at,
                retry=self._setup.retry,
                report=result,
            )
        except ConnectorError as error:
            self._course.drop(name, report, error, otherwise="rejected")
        finally:
            stage.finish()
            _fill(report, result, source.context.http.metrics.total - before)

    def _report_webhooks(self) -> None:
        """What became of the sources' webhooks, and what only one of the two ways brought."""
        since = self._setup.clock() - self._setup.raw_retention
        receiving = {
            name: report
            for name, report in self.report.sources.items()
            if isinstance(self._setup.sources[name], Receives)
        }
        for name, report in receiving.items():
            report.webhook = report_on(self._database, name, since)
        if receiving:
            report_ways(self._database, receiving, since)

    def _paused(self, target: Target) -> bool:
        """Whether nothing may be written to this CRM now; the report says why."""
        now_us = microseconds(self._setup.clock())
        with self._database.read() as connection:
            found = pauses.paused(connection, now_us).get(target.connection)
        if found is None:
            return False
        until = "" if found.until_us is None else f", until {from_microseconds(found.until_us):%Y-%m-%d %H:%M} UTC"
        since = f"{from_microseconds(found.since_us):%Y-%m-%d %H:%M} UTC"
        self.report.sinks[
            target.connection
        ].paused = f"paused since {since}{until}: {found.reason}. `syncline resume {target.connection}` ends it"
        self._course.worsen("paused")
        return True

    # Planning

    def _batches(self, targets: Sequence[Target], people: Sequence[int] | None) -> Iterator[BatchPlan]:
        setup = self._setup
        alone = people[0] if people is not None and len(people) == 1 else None
        planner = Planner(setup.program, setup.rules, targets, self._as_of, setup.consent, trace=alone is not None)
        if setup.consent.purposes:
            catch_up(self._database)
        self._count_log()
        for name, model in setup.program.scores.items():
            bands = {"-": 0} | {band.name: 0 for band in model.bands}
            self.report.scores[name] = ScoreReport(model=model.name, version=model.version, bands=bands)
        self.report.segments = dict.fromkeys(setup.program.segments, 0)
        setup.progress.start("score and plan", self.report.people if people is None else len(people))
        for batch in batches(self._assessments(people), _PEOPLE_AT_ONCE):
            with self._database.read() as connection:
                plan = planner.plan(connection, batch)
            self._admission.admit(plan)
            self._tally(plan, targets)
            if alone is not None:
                for name, part in plan.targets.items():
                    self.report.sinks[name].journey = journey(part, alone)
            yield plan
            setup.progress.advance("score and plan", len(batch))
        setup.progress.finish("score and plan")

    def _assessments(self, people: Sequence[int] | None) -> Iterable[Assessment]:
        return assess_all(self._setup.program, self._database, self._as_of, people=people)

    def _tally(self, batch: BatchPlan, targets: Sequence[Target]) -> None:
        for assessment in batch.assessments:
            for name, score in assessment.scores.items():
                self.report.scores[name].bands[score.band or "-"] += 1
            for segment in assessment.segments:
                self.report.segments[segment] += 1
        for target in targets:
            part = batch.targets[target.connection]
            report = self.report.sinks[target.connection]
            report.unchanged += part.unchanged
            report.conflicts += len(part.matches.conflicts)
            report.drift += part.drift
            report.undecided += len(part.undecided)
            report.to_decide += part.undecided
            for skipped in part.skipped:
                report.skipped[skipped.reason] = report.skipped.get(skipped.reason, 0) + 1
            for row in outbox_rows(part):
                self._course.operations.setdefault(target.connection, Counter())[
                    row.operation, row.object, row.match
                ] += 1
            report.waiting += part.waiting
            for reason, values in part.unfit.items():
                report.unfit[reason] = report.unfit.get(reason, 0) + values
            self._course.clears[target.connection] += sum(
                change.clears for record in part.records for change in record.changes if record.ref
            )
            self._course.overwrites[target.connection] += sum(record.overwrites for record in part.records)
            opt_outs = sum(change.field in target.one_way for record in part.records for change in record.changes)
            self._course.opt_outs[target.connection] += opt_outs
            report.opt_outs += opt_outs
            report.withhold(part.withheld)

    def _close_plan(self, targets: Sequence[Target]) -> None:
        self._admission.tell()
        for target in targets:
            rows = self._course.operations.get(target.connection, Counter())
            report = self.report.sinks[target.connection]
            report.planned_calls = report.least_write_calls = calls_for(rows, target.limits)
            report.planned_credits = credits_for(rows, target.limits)
            try:
                self._admission.hold(target)
            except GuardError as error:
                fail(report, error)
                self._course.worsen("stopped")

    def _forecast(self, target: Target) -> None:
        """A plan counts what a run would do where a run counts what it did."""
        report = self.report.sinks[target.connection]
        for (operation, _, match), count in self._course.operations.get(target.connection, Counter()).items():
            if operation == "upsert" and match == BY_ID:
                report.updated += count
            elif operation == "upsert":
                report.created += count
            elif operation == "task":
                report.tasks += count
            else:
                report.members += count

    # Recording the intent

    def _commit(self, batch: BatchPlan, targets: Sequence[Target]) -> None:
        """Scores, standings, actions, links and the outbox of some people: all of it or nothing."""
        at_us = microseconds(self._as_of)
        enqueued: dict[str, int] = {}
        with self._database.write() as connection:
            results = [(a.person_id, score) for a in batch.assessments for score in a.scores.values()]
            put_keys(connection, batch.taken_back)
            runs.put_scores(connection, results, at_us)
            runs.put_fresh(connection, batch.people)
            runs.put_standings(connection, batch.standings)
            runs.put_actions(connection, batch.actions, self.run_id, at_us)
            for target in targets:
                part = batch.targets[target.connection]
                crm.put_conflicts(connection, target.connection, batch.people, part.matches.conflicts, at_us)
                decisions.put_cases(
                    connection, target.connection, batch.people, part.cases, at_us, beside=target.fields_not_asked
                )
                part.opt_outs.keep(connection)
                if not self._admission.stores_plan(target):
                    continue
                crm.put_links(connection, target.connection, part.matches.fresh, at_us)
                crm.acknowledge(connection, target.connection, part.inherited, self.run_id, at_us)
                rows = list(outbox_rows(part))
                for segment, person in part.left:
                    crm.remove_members(connection, target.connection, segment, [person])
                wanted = part.left_alone | {(row.operation, row.object, row.key) for row in rows}
                covered = self._admission.covered(target)
                dead_letters.close_settled(connection, target.connection, batch.people, wanted, covered)
                runs.enqueue(connection, self.run_id, target.connection, rows)
                enqueued[target.connection] = len(rows)
            put_readings(connection, batch.read)
        for name, count in enqueued.items():
            self.report.sinks[name].planned_writes += count

    # Delivering

    def _deliver(self, target: Target, gate: Gate) -> None:
        report = self.report.sinks[target.connection]
        sink = self._setup.sinks[target.connection]
        if report.error is not None:
            return
        stage = f"write {target.connection}"
        self._setup.progress.start(stage, sum(self._course.operations.get(target.connection, Counter()).values()))
        writes = sink.context.http.metrics.calls["write"]

        def delivered(rows: int) -> None:
            self._setup.progress.advance(stage, rows)

        deliverer = Deliverer(
            self._database,
            self.run_id,
            target,
            sink,
            retry=self._setup.retry,
            clock=self._setup.clock,
            report=report,
            progress=delivered,
            gate=gate,
        )
        try:
            deliverer.deliver()
        except ConnectorError as error:
            self._course.drop(target.connection, report, error)
        finally:
            report.calls = self._course.calls(target)
            report.write_calls = sink.context.http.metrics.calls["write"] - writes
            self._setup.progress.finish(stage)

    def _settle(self) -> None:
        if any(sink.rejected or sink.retry for sink in self.report.sinks.values()):
            self._course.worsen("rejected")

    def _list_changes(self) -> None:
        with self._database.read() as connection:
            for name, report in self.report.sinks.items():
                rows = runs.written(connection, self.run_id, name)
                report.changes = [change_of(row, status, reason) for row, status, reason in rows]

    def _count_log(self) -> None:
        with self._database.read() as connection:
            people = select(func.count()).select_from(schema.person).where(schema.person.c.merged_into.is_(None))
            self.report.people = connection.execute(people).scalar_one()
            self.report.events = connection.execute(select(func.count()).select_from(schema.event)).scalar_one()


class _Stage:
    """A source's streams as one stage: their counters start over, the stage's does not."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name
        self._seen: Counter[str] = Counter()
        progress.start(name, None)

    def at(self, stream: str, read: int, _total: int | None) -> None:
        self._progress.advance(self._name, read - self._seen[stream])
        self._seen[stream] = read

    def finish(self) -> None:
        self._progress.finish(self._name)


def _fill(report: SourceReport, result: PullReport, calls: int) -> None:
    report.read, report.stored = result.read, result.stored
    report.duplicate, report.quarantined = result.duplicate, result.quarantined
    report.events, report.machine = result.events, result.machine
    report.cleansed = dict(result.cleansed + result.identity)
    report.calls = calls


def _whom(connection: Connection, people: Sequence[int] | None) -> str | None:
    """The key of the only person a run is for, or how many they are; None: everyone."""
    if people is None:
        return None
    if len(people) != 1:
        return f"{len(people)} people"
    return str(connection.execute(select(schema.person.c.key).where(schema.person.c.id == people[0])).scalar_one())
