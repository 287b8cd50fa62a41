"""The outbox carried out: batches of what the vendor allows, outcomes recorded, only then `acknowledged` moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection

from syncline.errors import AuthError, ConfigError, ConnectorError, ContractError, SchemaDriftError, TransientError
from syncline.model import Member, Outcome, RemoteRef, Status, TaskWrite, Value, Write, microseconds
from syncline.sdk import CreatesTasks, KeepsSegments, Sink
from syncline.sdk.config import ConnectorConfig
from syncline.sdk.http import purpose
from syncline.store import crm, runs
from syncline.store.crm import Link
from syncline.store.database import Database
from syncline.store.runs import OutboxRow
from syncline.store.values import load
from syncline.sync.plan import BY_ID
from syncline.sync.report import SinkReport
from syncline.sync.retry import Retry
from syncline.sync.target import Target

__all__ = ["Deliverer"]

_ORDER = ("upsert", "task", "add", "remove")  # a task needs its record, a member too
_NOT_BISECTED = (AuthError, ConfigError, ContractError, SchemaDriftError, TransientError)


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
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._target = target
        self._sink = sink
        self._retry = retry
        self._clock = clock
        self._report = report
        self._progress = progress

    def deliver(self) -> None:
        """Until nothing is pending. An error of the whole connection ends it; the rest waits for the next run."""
        for operation in _ORDER:
            with self._database.read() as connection:
                groups = runs.groups(connection, self._run_id, self._target.connection, operation)
            for object_name, match, count in groups:
                self._deliver_group(operation, (object_name, match), self._batch_size(operation, count))

    def _batch_size(self, operation: str, count: int) -> int:
        limits = self._target.limits
        if operation == "upsert":
            bulk = limits.bulk_from is not None and count >= limits.bulk_from
            return limits.bulk_batch if bulk else limits.upsert_batch
        return limits.task_batch if operation == "task" else limits.member_batch

    def _deliver_group(self, operation: str, group: tuple[str, str], size: int) -> None:
        name = self._target.connection
        while True:
            with self._database.read() as connection:
                rows = runs.take(connection, self._run_id, name, operation, group, size)
                refs = self._refs(connection, rows) if operation != "upsert" else {}
            if not rows:
                return
            ready = [row for row in rows if operation == "upsert" or row.person_id in refs]
            homeless = [(row, _homeless(row)) for row in rows if row not in ready]
            if homeless:
                self._record(operation, group[0], homeless, refs)
            with self._database.write() as connection:
                runs.mark_sent(connection, ready)
            for results in self._send(ready, refs) if ready else ():
                self._record(operation, group[0], results, refs)
            self._progress(len(rows))

    def _refs(self, connection: Connection, rows: Sequence[OutboxRow]) -> dict[int, RemoteRef]:
        """Person → the record a task or a membership is about. A member to be removed is the one acknowledged."""
        name = self._target.connection
        people = [row.person_id for row in rows]
        if rows and rows[0].operation == "remove":
            return crm.members(connection, name, rows[0].object, people)
        return {person: link.ref for person, link in crm.links(connection, name, people).items()}

    # Sending

    def _send(self, rows: Sequence[OutboxRow], refs: dict[int, RemoteRef]) -> Iterator[list[tuple[OutboxRow, Outcome]]]:
        """One call, its weather retried; a batch refused whole is halved until exactly the bad rows are left.

        The results of every call come by themselves, to be recorded before the next call can go wrong.
        """
        try:
            outcomes = self._retry(lambda: self._call(rows, refs))
        except _NOT_BISECTED:
            raise
        except ConnectorError as error:
            if len(rows) == 1:
                yield [(rows[0], Outcome(rows[0].key, Status.REJECTED, reason=str(error)))]
                return
            half = len(rows) // 2
            yield from self._send(rows[:half], refs)
            yield from self._send(rows[half:], refs)
            return
        self._hold_to_contract(rows, outcomes)
        yield list(zip(rows, outcomes, strict=True))

    def _call(self, rows: Sequence[OutboxRow], refs: dict[int, RemoteRef]) -> Sequence[Outcome]:
        operation, object_name = rows[0].operation, rows[0].object
        with purpose("write"):
            if operation == "upsert":
                return self._sink.upsert(object_name, [_write(row) for row in rows])
            if operation == "task" and isinstance(self._sink, CreatesTasks):
                return self._sink.create_tasks([_task(row, refs[row.person_id]) for row in rows])
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
        results: Sequence[tuple[OutboxRow, Outcome]],
        refs: dict[int, RemoteRef],
    ) -> None:
        at_us = microseconds(self._clock())
        name = self._target.connection
        with self._database.write() as connection:
            runs.record_outcomes(connection, self._run_id, name, results, at_us)
            accepted = [(row, outcome) for row, outcome in results if outcome.ok]
            if operation == "upsert":
                self._acknowledge(connection, accepted, at_us)
            elif operation == "add":
                crm.put_members(
                    connection, name, object_name, {row.person_id: refs[row.person_id] for row, _ in accepted}
                )
            elif operation == "remove":
                crm.remove_members(connection, name, object_name, [row.person_id for row, _ in accepted])
        for row, outcome in results:
            self._count(row, outcome)

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
        crm.note_written(connection, name, self._target.match_fields, written)

    def _count(self, row: OutboxRow, outcome: Outcome) -> None:
        report = self._report
        if outcome.status is Status.REJECTED:
            report.rejected += 1
        elif outcome.status is Status.RETRY:
            report.retry += 1
        elif row.operation == "task":
            report.tasks += 1
        elif row.operation in ("add", "remove"):
            report.members += 1
        elif outcome.status is Status.CREATED:
            report.created += 1
        elif outcome.status is Status.UNCHANGED:
            report.unchanged += 1
        else:
            report.updated += 1


def _homeless(row: OutboxRow) -> Outcome:
    return Outcome(row.key, Status.RETRY, reason="its person is not in the CRM yet")


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
