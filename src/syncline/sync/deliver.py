"""The outbox carried out: batches of what the vendor allows, outcomes recorded, only then `acknowledged` moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    ContractError,
    RateLimitError,
    SchemaDriftError,
    TransientError,
)
from syncline.model import Member, Outcome, RemoteRef, Status, TaskRef, TaskWrite, Value, Write, microseconds
from syncline.sdk import ClosesTasks, CreatesTasks, KeepsSegments, Sink
from syncline.sdk.config import ConnectorConfig
from syncline.sdk.http import purpose
from syncline.store import crm, dead_letters, runs
from syncline.store.crm import Link
from syncline.store.database import Database
from syncline.store.runs import OutboxRow
from syncline.store.values import load
from syncline.sync import telemetry
from syncline.sync.gate import Gate, Sifted
from syncline.sync.opt_outs import hold_one_way, note_told
from syncline.sync.plan import BY_ID
from syncline.sync.report import SinkReport, plan_batches
from syncline.sync.retry import Retry
from syncline.sync.target import Target

__all__ = ["Deliverer"]

_ORDER = ("upsert", "task", "close", "add", "remove")  # a task needs its record, a member too
_NEEDS_NO_RECORD = ("upsert", "close")
_NOT_BISECTED = (AuthError, ConfigError, ContractError, SchemaDriftError, TransientError)
_PROBES = 8
"""Single rows tried before a batch that is refused whole is believed to be refused for no row of it."""

_Results = list[tuple[OutboxRow, Outcome]]


class _RefusedForAllError(Exception):
    """The CRM refuses every row of a batch alike: it is about the object, or about us."""

    def __init__(self, error: ConnectorError) -> None:
        self.error = error
        super().__init__(str(error))


class Deliverer:
    """Carries out one run's outbox for one CRM."""

    def __init__(
        self,
        database: Database,
        run_id: str,
        target: Target,
        sink: Sink[ConnectorConfig],
        *,
        retry: Retry,
        clock: Callable[[], datetime],
        report: SinkReport,
        progress: Callable[[int], None] = lambda _: None,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._database = database
        self._run_id = run_id
        self._target = target
        self._sink = sink
        self._retry = retry
        self._clock = clock
        self._report = report
        self._progress = progress
        self._unheard: set[int] = set()
        """Rows of calls that were repeated because an answer was lost: it may have been carried out before."""

    def deliver(self) -> None:
        """Until nothing is pending. An error of the whole connection ends it; the rest waits for the next run.

        One that refuses all rows of an object alike ends that group only, and is raised after the others.
        """
        refused: _RefusedForAllError | None = None
        for operation in _ORDER:
            with self._database.read() as connection:
                groups = runs.groups(connection, self._run_id, self._target.connection, operation)
            for object_name, match, count in groups:
                try:
                    self._deliver_group(operation, (object_name, match), count)
                except _RefusedForAllError as error:
                    refused = refused or error
        if refused is not None:
            raise refused.error

    def _deliver_group(self, operation: str, group: tuple[str, str], count: int) -> None:
        for size in plan_batches(operation, count, self._target.limits):
            with self._database.read() as connection:
                rows = runs.take(connection, self._run_id, self._target.connection, operation, group, size)
                sifted = self._gate.sift(connection, self._target, rows) if self._gate else Sifted(ready=rows)
                refs = self._refs(connection, rows) if operation not in _NEEDS_NO_RECORD else {}
            ready: list[OutboxRow] = []
            homeless: list[OutboxRow] = []
            for row in sifted.ready:
                (ready if operation in _NEEDS_NO_RECORD or row.person_id in refs else homeless).append(row)
            with self._database.write() as connection:
                runs.withhold(connection, sifted.withheld)
                runs.trim(connection, sifted.trimmed)
                runs.hold(connection, homeless, "its person is not in the CRM yet")
                runs.mark_sent(connection, ready)
            self._report.withhold(sifted.reasons)
            self._report.waiting += len(homeless)
            if ready:
                self._deliver_batch(operation, group[0], ready, refs)
            self._progress(len(rows))

    def _deliver_batch(
        self, operation: str, object_name: str, rows: Sequence[OutboxRow], refs: dict[int, RemoteRef]
    ) -> None:
        try:
            for results in self._send(rows, refs):
                self._record(operation, object_name, results, refs)
        except _RefusedForAllError:
            with self._database.write() as connection:
                runs.put_back(connection, rows)
            raise

    def _refs(self, connection: Connection, rows: Sequence[OutboxRow]) -> dict[int, RemoteRef]:
        """Person → the record a task or a membership is about. A member to be removed is the one acknowledged."""
        name = self._target.connection
        people = [row.person_id for row in rows]
        if rows and rows[0].operation == "remove":
            return crm.members(connection, name, rows[0].object, people)
        return {person: link.ref for person, link in crm.links(connection, name, people).items()}

    # Sending

    def _send(self, rows: Sequence[OutboxRow], refs: dict[int, RemoteRef], *, probe: bool = True) -> Iterator[_Results]:
        """One call, its weather retried; a batch refused whole is halved until exactly the bad rows are left.

        The results of every call come by themselves, to be recorded before the next call can go wrong.
        """
        answer = self._try(rows, refs)
        if isinstance(answer, ConnectorError):
            yield from self._halve(rows, answer, refs, probe=probe)
        else:
            yield answer

    def _halve(
        self, rows: Sequence[OutboxRow], error: ConnectorError, refs: dict[int, RemoteRef], *, probe: bool = False
    ) -> Iterator[_Results]:
        """The rows of a call that was refused with `error`, in smaller calls."""
        if len(rows) == 1:
            yield [(rows[0], _rejected(rows[0], error))]
            return
        half = len(rows) // 2
        refused: list[tuple[Sequence[OutboxRow], ConnectorError]] = []
        for part in (rows[:half], rows[half:]):
            answer = self._try(part, refs)
            if isinstance(answer, ConnectorError):
                refused.append((part, answer))
            else:
                yield answer
        done: set[int] = set()
        if probe and len(rows) > _PROBES and [e.message for _, e in refused] == [error.message] * 2:
            for results in self._probe(rows, error, refs):
                done |= {row.id for row, _ in results}
                yield results
        for part, found in refused:
            rest = [row for row in part if row.id not in done]
            if len(rest) == len(part):
                yield from self._halve(part, found, refs)
            elif rest:
                yield from self._send(rest, refs, probe=False)

    def _probe(
        self, rows: Sequence[OutboxRow], error: ConnectorError, refs: dict[int, RemoteRef]
    ) -> Iterator[_Results]:
        """Single rows from all over the batch, until one is not refused as the batch was.

        _RefusedForAllError when there is none: bad rows would be found, but a missing right would cost two calls a row.
        """
        refused: _Results = []
        for row in rows[:: len(rows) // _PROBES][:_PROBES]:
            answer = self._try([row], refs)
            if not isinstance(answer, ConnectorError):
                yield answer
                break
            refused.append((row, _rejected(row, answer)))
            if answer.message != error.message:
                break
        else:
            raise _RefusedForAllError(error)
        if refused:
            yield refused

    def _try(self, rows: Sequence[OutboxRow], refs: dict[int, RemoteRef]) -> _Results | ConnectorError:
        """The outcomes of one call, or why it was refused."""
        try:
            outcomes = self._retry(lambda: self._call_noting(rows, refs))
        except _NOT_BISECTED:
            raise
        except ConnectorError as error:
            return error
        self._hold_to_contract(rows, outcomes)
        return list(zip(rows, outcomes, strict=True))

    def _call_noting(self, rows: Sequence[OutboxRow], refs: dict[int, RemoteRef]) -> Sequence[Outcome]:
        try:
            return self._call(rows, refs)
        except RateLimitError:
            raise
        except TransientError:
            self._unheard |= {row.id for row in rows}
            raise

    def _call(self, rows: Sequence[OutboxRow], refs: dict[int, RemoteRef]) -> Sequence[Outcome]:
        operation, object_name = rows[0].operation, rows[0].object
        with purpose("write"), telemetry.batch(operation, object_name, len(rows)):
            if operation == "upsert":
                writes = [_write(row) for row in rows]
                hold_one_way(self._target, writes)
                return self._sink.upsert(object_name, writes)
            if operation == "task" and isinstance(self._sink, CreatesTasks):
                return self._sink.create_tasks([_task(row, refs[row.person_id]) for row in rows])
            if operation == "close" and isinstance(self._sink, ClosesTasks):
                return self._sink.close_tasks([TaskRef(row.key, load(row.payload)["id"]) for row in rows])
            if isinstance(self._sink, KeepsSegments):
                members = [Member(row.key, refs[row.person_id]) for row in rows]
                add, remove = (members, []) if operation == "add" else ([], members)
                return self._sink.set_members(object_name, add, remove)
        raise ContractError(f"{self._target.connection} cannot do {operation}")

    def _hold_to_contract(self, rows: Sequence[OutboxRow], outcomes: Sequence[Outcome]) -> None:
        if [outcome.key for outcome in outcomes] != [row.key for row in rows]:
            raise ContractError(
                f"{type(self._sink).__name__} answered {len(outcomes)} outcomes for {len(rows)} writes, or in another "
                "order; it must give one per write, same order",
                where=self._target.connection,
            )

    # Recording

    def _record(
        self,
        operation: str,
        object_name: str,
        results: _Results,
        refs: dict[int, RemoteRef],
    ) -> None:
        at_us = microseconds(self._clock())
        name = self._target.connection
        with self._database.write() as connection:
            runs.record_outcomes(connection, results, at_us)
            dead_letters.note(connection, self._run_id, name, results, at_us)
            accepted = [(row, outcome) for row, outcome in results if outcome.ok]
            if operation == "upsert":
                self._acknowledge(connection, accepted, at_us)
            elif operation == "add":
                self._note_members(connection, object_name, accepted, refs)
            elif operation == "remove":
                crm.remove_members(connection, name, object_name, [row.person_id for row, _ in accepted])
        for row, outcome in results:
            self._count(row, outcome)

    def _note_members(
        self,
        connection: Connection,
        segment: str,
        accepted: Sequence[tuple[OutboxRow, Outcome]],
        refs: dict[int, RemoteRef],
    ) -> None:
        """Who was in already is not ours to remove, unless it was a call of ours, its answer lost, that added them."""
        name = self._target.connection
        lost = runs.lost_adds(connection, name, [row for row, _ in accepted])
        members: dict[bool, dict[int, RemoteRef]] = {True: {}, False: {}}
        for row, outcome in accepted:
            unheard = row.id in self._unheard or row.person_id in lost
            ours = outcome.status is not Status.UNCHANGED or unheard
            members[ours][row.person_id] = refs[row.person_id]
        for ours, added in members.items():
            crm.put_members(connection, name, segment, added, ours=ours)

    def _acknowledge(self, connection: Connection, accepted: Sequence[tuple[OutboxRow, Outcome]], at_us: int) -> None:
        name = self._target.connection
        written: dict[RemoteRef, dict[str, Value]] = {}
        links = []
        for row, outcome in accepted:
            if outcome.ref is None:
                raise ContractError(f"an accepted write of {row.object} carries no record id", where=name)
            payload = load(row.payload)
            written[outcome.ref] = payload["fields"]
            if row.match != BY_ID:
                links.append(Link(row.person_id, outcome.ref, "created"))
        crm.put_links(connection, name, links, at_us)
        crm.acknowledge(connection, name, written, self._run_id, at_us)
        ticks = [(row.person_id, outcome.ref, load(row.payload)["fields"]) for row, outcome in accepted if outcome.ref]
        note_told(connection, self._target, self._sink, self._run_id, ticks)
        crm.note_written(connection, name, self._target.match_fields, written)

    def _count(self, row: OutboxRow, outcome: Outcome) -> None:
        report = self._report
        if outcome.status is Status.REJECTED:
            report.rejected += 1
        elif outcome.status is Status.RETRY:
            report.retry += 1
        elif row.operation == "task":
            report.tasks += 1
        elif row.operation == "close":
            report.closed += 1
        elif row.operation in ("add", "remove"):
            report.members += 1
        elif outcome.status is Status.CREATED:
            report.created += 1
        elif outcome.status is Status.UNCHANGED:
            report.unchanged += 1
        else:
            report.updated += 1


def _rejected(row: OutboxRow, error: ConnectorError) -> Outcome:
    return Outcome(row.key, Status.REJECTED, reason=str(error))


def _write(row: OutboxRow) -> Write:
    payload = load(row.payload)
    return Write(row.key, (row.match, str(payload["id"])), payload["fields"])


def _task(row: OutboxRow, about: RemoteRef) -> TaskWrite:
    content = json.loads(row.payload)
    return TaskWrite(
        key=row.key,
        about=about,
        subject=content["subject"],
        body=content["body"],
        due=datetime.fromisoformat(content["due"]),
        priority=content["priority"],
        owner=content["owner"],
    )
