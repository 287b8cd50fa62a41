"""What one run wrote, taken back: values that are still as it wrote them, its tasks, its memberships."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from syncline.errors import ConfigError, ConnectorError, did_you_mean
from syncline.model import Edit, RemoteRef, Value, microseconds
from syncline.sdk import ClosesTasks
from syncline.store import crm, pauses, runs
from syncline.store.pauses import Pause
from syncline.store.runs import OutboxRow, Settled
from syncline.store.values import dump, load
from syncline.sync.course import Course, Setup, alive, new_run_id
from syncline.sync.crms import read_crms
from syncline.sync.deliver import Deliverer
from syncline.sync.gate import Gate
from syncline.sync.merge import same
from syncline.sync.outbox import change_of
from syncline.sync.plan import BY_ID
from syncline.sync.report import Kept, Report, calls_for, credits_for, operations_of
from syncline.sync.stop import Stopped
from syncline.sync.target import Target

__all__ = ["Undo", "recorded"]


@dataclass(slots=True)
class _Taken:
    """What is to be written to take a run back in one CRM, and what stays, each with its reason."""

    rows: list[OutboxRow] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


def recorded(connection: Connection, run_id: str) -> list[str]:
    """The connections a run has written to. ConfigError when nothing can be taken back, saying why."""
    known = {run["id"]: run for run in runs.runs(connection, limit=200)}
    if run_id not in known:
        raise ConfigError(f"there is no run {run_id!r}; {did_you_mean(run_id, known)}. `syncline runs` lists them")
    names = runs.written_to(connection, run_id)
    if not names:
        raise ConfigError(
            f"run {run_id} has written nothing that is still recorded: either it had nothing to write, or it is older "
            "than `raw_retention`, for which what a run wrote is kept"
        )
    return names


class Undo:
    """Takes back one run, as a run of its own: it can be killed and repeated, and be undone itself."""

    def __init__(self, setup: Setup, undoes: str, as_of: datetime, *, beat: Callable[[], None] = lambda: None) -> None:
        self._setup = alive(setup, beat)
        self._course = Course(self._setup, new_run_id(setup), as_of)
        self._database = setup.database
        self._undoes = undoes
        self.report = self._course.report
        self.report.undoes = undoes

    def plan(self) -> Report:
        """What `run` would restore, and what it would not; nothing is written to a CRM."""
        for target in read_crms(self._course):
            taken = self._take_back(target)
            self._forecast(target, taken)
            self.report.sinks[target.connection].changes = [change_of(row) for row in taken.rows]
        self._course.worsen("planned")
        if self.report.status == "done":
            self.report.status = "planned"
        return self.report

    def run(self) -> Report:
        """Restore, and pause the CRMs that were restored: the next run would write the same again."""
        now_us = microseconds(self._setup.clock())
        as_of_us = microseconds(self._course.as_of)
        with self._database.write() as connection:
            runs.abandon(connection)
            runs.start_run(connection, self._course.run_id, now_us, as_of_us, undoes=self._undoes)
        status = "failed"
        try:
            self._restore_all()
            status = self.report.status
        finally:
            with self._database.write() as connection:
                runs.abandon(connection, self._course.run_id)
                stored = self.report.model_dump(mode="json", exclude={"sinks": {"__all__": {"changes"}}})
                finished = microseconds(self._setup.clock())
                runs.finish_run(connection, self._course.run_id, finished, status, stored)
        return self.report

    def _restore_all(self) -> None:
        """Told to stop, it is finished by repeating it: what is restored already is seen to be."""
        try:
            for target in read_crms(self._course):
                self._restore(target, self._take_back(target))
        except Stopped:
            self._course.worsen("interrupted")

    def _take_back(self, target: Target) -> _Taken:
        with self._database.read() as connection:
            settled = list(runs.settled(connection, self._undoes, target.connection))
            taken = _Taken()
            _Records(connection, target, self._undoes, taken).take_back(settled)
            _tasks(settled, taken, closes=isinstance(self._setup.sinks[target.connection], ClosesTasks))
            _members(connection, target, settled, taken)
        self.report.sinks[target.connection].kept = taken.kept
        return taken

    def _forecast(self, target: Target, taken: _Taken) -> None:
        report = self.report.sinks[target.connection]
        operations = operations_of(taken.rows)
        report.planned_writes = operations.total()
        report.planned_calls = report.least_write_calls = calls_for(operations, target.limits)
        report.planned_credits = credits_for(operations, target.limits)

    def _restore(self, target: Target, taken: _Taken) -> None:
        self._forecast(target, taken)
        report = self.report.sinks[target.connection]
        name, sink = target.connection, self._setup.sinks[target.connection]
        now_us = microseconds(self._setup.clock())
        with self._database.write() as connection:
            reason = f"run {self._undoes} was undone: another run would write the same again"
            pauses.pause(connection, Pause(name, "undo", reason, now_us))
            runs.enqueue(connection, self._course.run_id, name, taken.rows)
        stage = f"write {name}"
        self._setup.progress.start(stage, len(taken.rows))
        writes = sink.context.http.metrics.calls["write"]
        deliverer = Deliverer(
            self._database,
            self._course.run_id,
            target,
            sink,
            retry=self._setup.retry,
            clock=self._setup.clock,
            report=report,
            progress=partial(self._setup.progress.advance, stage),
            gate=Gate(self._setup.consent, self._setup.sources, self._setup.identity, restoring=True),
        )
        try:
            deliverer.deliver()
        except ConnectorError as error:
            self._course.drop(target.connection, report, error)
        finally:
            report.calls = self._course.calls(target)
            report.write_calls = sink.context.http.metrics.calls["write"] - writes
            self._setup.progress.finish(stage)
        if report.rejected or report.retry:
            self._course.worsen("rejected")
        with self._database.read() as connection:
            rows = runs.written(connection, self._course.run_id, name)
            report.changes = [change_of(row, status, why) for row, status, why in rows]


class _Records:
    """The fields of records that a run updated."""

    def __init__(self, connection: Connection, target: Target, run_id: str, taken: _Taken) -> None:
        self._connection = connection
        self._target = target
        self._run_id = run_id
        self._taken = taken

    def take_back(self, settled: Sequence[Settled]) -> None:
        upserts = [item for item in settled if item.row.operation == "upsert"]
        for item in upserts:
            if item.row.match != BY_ID and item.remote_id is not None:
                self._keep(item, None, "that run created it; delete it there if it is not wanted")
        updates = {
            RemoteRef(item.row.object, item.remote_id): item
            for item in upserts
            if item.row.match == BY_ID and item.remote_id is not None
        }
        name = self._target.connection
        held = crm.mirror(self._connection, name, updates)
        ours = crm.acknowledged(self._connection, name, updates)
        for ref, item in updates.items():
            record = held.get(ref)
            if record is None or record.record.deleted or record.record.successor:
                self._keep(item, None, "the record is gone: deleted, merged or converted since")
            else:
                self._record(item, ref, record.record.fields, record.record.edit, ours.get(ref, {}))

    def _record(
        self,
        item: Settled,
        ref: RemoteRef,
        held: Mapping[str, Value],
        edit: Callable[[str], Edit],
        ours: Mapping[str, Value],
    ) -> None:
        before: Mapping[str, Value] = load(item.row.before or "{}")
        restored: dict[str, Value] = {}
        written: Mapping[str, Value] = load(item.row.payload)["fields"]
        for name, value in written.items():
            if name == self._target.match or same(before.get(name), value) or same(held.get(name), before.get(name)):
                continue
            reason = self._why_not(name, ref, value, held, edit(name), ours)
            if reason is None:
                restored[name] = before.get(name)
            else:
                self._keep(item, name, reason)
        if restored:
            payload = dump({"id": ref.id, "fields": restored})
            now = dump({name: held.get(name) for name in restored})
            row = item.row
            self._taken.rows.append(
                OutboxRow("upsert", row.object, row.key, row.person_id, payload, BY_ID, row.rank, now)
            )

    def _why_not(
        self, name: str, ref: RemoteRef, value: Value, held: Mapping[str, Value], edit: Edit, ours: Mapping[str, Value]
    ) -> str | None:
        described = self._target.described[ref.object].get(name)
        if name not in held or described is None:
            return "the field is no longer mapped, or no longer there"
        if not described.writable:
            return "the field is read-only now"
        if name in self._target.one_way:
            return "an opt-out is never taken back"
        if same(held[name], value) and same(ours.get(name), value):
            return None
        if name in ours and same(held[name], ours[name]):
            return f"a later run wrote it again; undo that one before {self._run_id}"
        return f"changed since{_by(edit)}"

    def _keep(self, item: Settled, name: str | None, reason: str) -> None:
        """Note what stays. Of a row that was never answered nobody knows that it was written: nothing to say."""
        if not item.ok:
            return
        row = item.row
        self._taken.kept.append(
            Kept(operation="record", object=row.object, id=item.remote_id, person=row.key, field=name, reason=reason)
        )


def _by(edit: Edit) -> str:
    who = f" by {edit.who}" if edit.who else "" if edit.by == "unknown" else f" by a {edit.by}"
    when = f" at {edit.at:%Y-%m-%d %H:%M} UTC" if edit.at else ""
    return who + when


def _tasks(settled: Sequence[Settled], taken: _Taken, *, closes: bool) -> None:
    for item in settled:
        if item.row.operation != "task" or not item.ok:
            continue
        reason = None
        if item.remote_id is None:
            reason = "the CRM never told the task's id"
        elif not closes:
            reason = "tasks of this CRM cannot be closed from here"
        if reason is not None or item.remote_id is None:
            taken.kept.append(
                Kept(operation="task", object="", id=item.remote_id, person=item.row.key, reason=reason or "")
            )
            continue
        payload = dump({"id": item.remote_id})
        taken.rows.append(OutboxRow("close", "", item.row.key, item.row.person_id, payload, rank=item.row.rank))


def _members(connection: Connection, target: Target, settled: Sequence[Settled], taken: _Taken) -> None:
    """Who was added leaves again; who was removed comes back."""
    for segment, items in _by_segment(settled):
        people = [item.row.person_id for item in items]
        inside = crm.members(connection, target.connection, segment, people)
        own = crm.own_members(connection, target.connection, segment, people)
        for item in items:
            row, person = item.row, item.row.person_id
            if row.operation == "add" and person in own:
                taken.rows.append(OutboxRow("remove", segment, row.key, person, "{}", row.match, row.rank))
            elif row.operation == "remove" and person not in inside:
                taken.rows.append(OutboxRow("add", segment, row.key, person, "{}", row.match, row.rank))


def _by_segment(settled: Sequence[Settled]) -> Iterator[tuple[str, list[Settled]]]:
    found: dict[str, list[Settled]] = {}
    for item in settled:
        if item.row.operation in ("add", "remove") and item.status in ("created", "updated"):
            found.setdefault(item.row.object, []).append(item)
    return iter(found.items())
