"""Runs and what they leave: scores, standings, actions, the outbox, dead letters."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from syncline.model import Outcome, RemoteRef, Status, from_microseconds, microseconds
from syncline.scoring.result import ScoreResult
from syncline.segments.transitions import Standing
from syncline.store import schema
from syncline.store.batches import batches, insert_new, upsert

__all__ = [
    "BY_ID",
    "ActionRow",
    "OutboxRow",
    "Settled",
    "abandon",
    "actions_waiting",
    "enqueue",
    "finish_run",
    "give_up_waiting",
    "groups",
    "hold",
    "lost_adds",
    "mark_sent",
    "purge",
    "put_actions",
    "put_back",
    "put_fresh",
    "put_scores",
    "put_standings",
    "record_outcomes",
    "runs",
    "settled",
    "standings",
    "start_run",
    "started_us",
    "stored_scores",
    "take",
    "trim",
    "unanswered",
    "withhold",
    "written",
    "written_to",
]

PENDING: Final = "pending"
ABANDONED: Final = "abandoned"
SENT: Final = "sent"
"""Under way: a row that stays so was written, or was not; the answer never came."""
WITHHELD: Final = "withheld"
"""Not sent: its person withdrew what it is for after it was planned."""
WAITING: Final = "waiting"
"""A task or a membership whose person is not in the CRM yet."""
BY_ID: Final = "Id"
"""The match of a write that updates the record with this id and never creates one."""
_OK: Final = (Status.CREATED.value, Status.UPDATED.value, Status.UNCHANGED.value)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One write a run intends. `payload` and `before` are JSON text (see store.values); `match` is a field name."""

    operation: str
    object: str
    key: str
    person_id: int
    payload: str
    match: str = ""
    rank: int = 0
    before: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """A row of a run that is over, what became of it, and the id of what it was about."""

    row: OutboxRow
    status: str
    remote_id: str | None

    @property
    def ok(self) -> bool:
        return self.status in _OK


@dataclass(frozen=True, slots=True)
class ActionRow:
    """Something that is to happen once. `key` derives from person, rule and transition."""

    key: str
    person_id: int
    connection: str
    rule: str
    payload: str


# Runs


def start_run(
    connection: Connection,
    run_id: str,
    started_us: int,
    as_of_us: int,
    *,
    sync: str | None = None,
    person: str | None = None,
    undoes: str | None = None,
) -> None:
    """Begin a run. Whoever calls holds the lease, so a run that still says `running` was killed.

    `sync` are the syncs it is about, with commas between, None: all; `person` whom it is about, None: everyone.
    """
    table = schema.run
    killed = update(table).where(table.c.status == "running").values(status="killed", finished_us=started_us)
    connection.execute(killed)
    about = {"sync": sync, "person": person, "undoes": undoes}
    connection.execute(
        insert(table).values(id=run_id, started_us=started_us, as_of_us=as_of_us, status="running", **about)
    )


def started_us(connection: Connection, run_id: str) -> int:
    """When a run began."""
    return int(connection.execute(select(schema.run.c.started_us).where(schema.run.c.id == run_id)).scalar_one())


def finish_run(connection: Connection, run_id: str, finished_us: int, status: str, report: Mapping[str, Any]) -> None:
    connection.execute(
        update(schema.run)
        .where(schema.run.c.id == run_id)
        .values(finished_us=finished_us, status=status, report=json.dumps(report))
    )


def runs(connection: Connection, limit: int = 20) -> list[dict[str, Any]]:
    """The latest runs, newest first."""
    table = schema.run
    rows = connection.execute(select(table).order_by(table.c.started_us.desc(), table.c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]


# What we think


def put_scores(connection: Connection, results: Sequence[tuple[int, ScoreResult]], as_of_us: int) -> None:
    """Store the values; those that changed (or whose model did) also go to the history."""
    rows = [_score_row(person, result, as_of_us) for person, result in results]
    table = schema.score
    known: dict[tuple[int, str], tuple[Any, ...]] = {}
    for batch in batches({row["person_id"] for row in rows}):
        found = connection.execute(
            select(
                table.c.person_id, table.c.name, table.c.model, table.c.version, table.c.value_hundredths, table.c.band
            ).where(table.c.person_id.in_(batch))
        )
        known |= {(row[0], row[1]): tuple(row[2:]) for row in found}
    changed = [row for row in rows if known.get((row["person_id"], row["name"])) != _score_of(row)]
    if changed:
        upsert(connection, table, changed)
        connection.execute(insert(schema.score_history), changed)


def put_fresh(connection: Connection, people: Collection[int]) -> None:
    """These people have been scored since their last event."""
    for batch in batches(people):
        connection.execute(delete(schema.stale).where(schema.stale.c.person_id.in_(batch)))


def stored_scores(connection: Connection, name: str, namespace: str) -> Iterator[tuple[str, Decimal, str | None]]:
    """(identifier, value, band) of everyone known in `namespace`, as last stored, in order of the identifier."""
    table, known = schema.score, schema.identifier
    rows = connection.execute(
        select(known.c.value, table.c.value_hundredths, table.c.band)
        .join(known, known.c.person_id == table.c.person_id)
        .where(table.c.name == name, known.c.namespace == namespace)
        .order_by(known.c.value)
    )
    for identifier, value, band in rows:
        yield identifier, Decimal(value).scaleb(-2), band


def _score_row(person: int, result: ScoreResult, as_of_us: int) -> dict[str, Any]:
    return {
        "person_id": person,
        "name": result.name,
        "model": result.model,
        "version": result.version,
        "value_hundredths": int(result.value.scaleb(2)),
        "band": result.band,
        "as_of_us": as_of_us,
    }


def _score_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["model"], row["version"], row["value_hundredths"], row["band"])


def standings(connection: Connection, people: Collection[int]) -> dict[tuple[int, str], Standing]:
    """(person, rule) → where the person stands."""
    table = schema.standing
    found: dict[tuple[int, str], Standing] = {}
    for batch in batches(people):
        for row in connection.execute(select(table).where(table.c.person_id.in_(batch))):
            found[row.person_id, row.rule] = Standing(
                inside=bool(row.inside),
                armed=bool(row.armed),
                entered=row.entered,
                since=from_microseconds(row.since_us),
            )
    return found


def put_standings(connection: Connection, changed: Mapping[tuple[int, str], Standing]) -> None:
    rows = [
        {
            "person_id": person,
            "rule": rule,
            "inside": standing.inside,
            "armed": standing.armed,
            "entered": standing.entered,
            "since_us": microseconds(standing.since),
        }
        for (person, rule), standing in changed.items()
    ]
    upsert(connection, schema.standing, rows)


# Actions


def put_actions(connection: Connection, rows: Sequence[ActionRow], run_id: str, at_us: int) -> None:
    """Record intents. A key that is known already is not recorded again."""
    insert_new(
        connection,
        schema.action,
        [
            {
                "key": row.key,
                "person_id": row.person_id,
                "connection": row.connection,
                "rule": row.rule,
                "payload": row.payload,
                "status": "waiting",
                "run_id": run_id,
                "created_us": at_us,
            }
            for row in rows
        ],
    )


def actions_waiting(connection: Connection, name: str, people: Collection[int]) -> dict[int, list[ActionRow]]:
    """What is still to happen for `people`, oldest first."""
    table = schema.action
    found: dict[int, list[ActionRow]] = {}
    for batch in batches(people):
        rows = connection.execute(
            select(table)
            .where(table.c.connection == name, table.c.status == "waiting", table.c.person_id.in_(batch))
            .order_by(table.c.created_us, table.c.key)
        )
        for row in rows:
            action = ActionRow(row.key, row.person_id, row.connection, row.rule, row.payload)
            found.setdefault(row.person_id, []).append(action)
    return found


# The outbox


def enqueue(connection: Connection, run_id: str, name: str, rows: Sequence[OutboxRow]) -> None:
    if not rows:
        return
    connection.execute(
        insert(schema.outbox),
        [
            {
                "run_id": run_id,
                "connection": name,
                "operation": row.operation,
                "object": row.object,
                "match": row.match,
                "rank": row.rank,
                "key": row.key,
                "person_id": row.person_id,
                "payload": row.payload,
                "before": row.before,
                "status": PENDING,
            }
            for row in rows
        ],
    )


def groups(connection: Connection, run_id: str, name: str, operation: str) -> list[tuple[str, str, int]]:
    """The pending (object, match, number of rows) of one operation, that with the highest rank first."""
    table = schema.outbox
    rows = connection.execute(
        select(table.c.object, table.c.match, func.count())
        .where(_pending(run_id, name), table.c.operation == operation)
        .group_by(table.c.object, table.c.match)
        .order_by(func.max(table.c.rank).desc(), table.c.object, table.c.match)
    )
    return [(object_name, match, count) for object_name, match, count in rows]


def take(
    connection: Connection, run_id: str, name: str, operation: str, group: tuple[str, str], limit: int
) -> list[OutboxRow]:
    """The next pending rows of a group, the highest rank first."""
    table = schema.outbox
    rows = connection.execute(
        select(table)
        .where(
            _pending(run_id, name),
            table.c.operation == operation,
            table.c.object == group[0],
            table.c.match == group[1],
        )
        .order_by(table.c.rank.desc(), table.c.id)
        .limit(limit)
    )
    return [_outbox_row(row) for row in rows]


def _pending(run_id: str, name: str) -> Any:
    table = schema.outbox
    return and_(table.c.run_id == run_id, table.c.connection == name, table.c.status == PENDING)


def _outbox_row(row: Any) -> OutboxRow:
    return OutboxRow(
        operation=row.operation,
        object=row.object,
        key=row.key,
        person_id=row.person_id,
        payload=row.payload,
        match=row.match,
        rank=row.rank,
        before=row.before,
        id=row.id,
    )


def written(connection: Connection, run_id: str, name: str) -> Iterator[tuple[OutboxRow, str, str | None]]:
    """Every row of a run with its status and reason, in the order it was planned."""
    table = schema.outbox
    rows = connection.execute(
        select(table).where(table.c.run_id == run_id, table.c.connection == name).order_by(table.c.id)
    )
    for row in rows:
        yield _outbox_row(row), row.status, row.reason


def written_to(connection: Connection, run_id: str) -> list[str]:
    """The connections whose CRMs a run has, or may have, written to."""
    table = schema.outbox
    rows = select(table.c.connection).where(table.c.run_id == run_id, table.c.status != PENDING).distinct()
    return sorted(connection.scalars(rows))


def settled(connection: Connection, run_id: str, name: str) -> Iterator[Settled]:
    """What a run did to one CRM, or may have done: of a row that was not answered nobody knows."""
    table = schema.outbox
    mine = and_(table.c.run_id == run_id, table.c.connection == name)
    done = table.c.status.in_((*_OK, SENT, ABANDONED))
    for row in connection.execute(select(table).where(mine, done).order_by(table.c.id)):
        found = _outbox_row(row)
        address = json.loads(row.payload).get("id") if row.operation == "upsert" and row.match == BY_ID else None
        yield Settled(found, row.status, row.remote_id or address)


def abandon(connection: Connection, run_id: str | None = None) -> int:
    """Mark what was never delivered: the next plan says anew, with fresh values, what is still to be written."""
    table = schema.outbox
    where = table.c.status == PENDING if run_id is None else and_(table.c.status == PENDING, table.c.run_id == run_id)
    return connection.execute(update(table).where(where).values(status=ABANDONED)).rowcount


def give_up_waiting(connection: Connection, name: str, run_id: str) -> None:
    """The answers that did not come are no longer awaited; a membership's comes with the next try (`lost_adds`)."""
    table = schema.outbox
    mine = and_(table.c.run_id == run_id, table.c.connection == name, table.c.status == SENT)
    connection.execute(update(table).where(mine, table.c.operation != "add").values(status=ABANDONED))


def mark_sent(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """These rows are about to be sent."""
    _mark(connection, rows, status=SENT)


def withhold(connection: Connection, rows: Sequence[tuple[OutboxRow, str]]) -> None:
    """These rows are not sent: their people have withdrawn since they were planned. Each with its reason."""
    table = schema.outbox
    for row, reason in rows:
        connection.execute(update(table).where(table.c.id == row.id).values(status=WITHHELD, reason=reason))


def trim(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Of these rows only what their payload now says is sent."""
    for row in rows:
        connection.execute(update(schema.outbox).where(schema.outbox.c.id == row.id).values(payload=row.payload))


def put_back(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """These rows were refused before anything of them was carried out."""
    _mark(connection, rows, status=PENDING)


def hold(connection: Connection, rows: Sequence[OutboxRow], reason: str) -> None:
    """These rows have to wait; the next plan says anew whether they are still wanted."""
    _mark(connection, rows, status=WAITING, reason=reason)


def _mark(connection: Connection, rows: Sequence[OutboxRow], **values: str) -> None:
    table = schema.outbox
    for batch in batches(row.id for row in rows):
        connection.execute(update(table).where(table.c.id.in_(batch)).values(**values))


def lost_adds(connection: Connection, name: str, rows: Sequence[OutboxRow]) -> set[int]:
    """People of these `add` rows of one segment whom an earlier run may have added: it never heard the answer.

    Their answer is in now, so from here on nobody waits for the earlier one.
    """
    table = schema.outbox
    found: set[int] = set()
    for batch in batches(rows):
        lost = and_(
            table.c.connection == name,
            table.c.status == SENT,
            table.c.operation == "add",
            table.c.object == batch[0].object,
            table.c.person_id.in_([row.person_id for row in batch]),
            table.c.id.not_in([row.id for row in batch]),
        )
        found |= set(connection.scalars(select(table.c.person_id).where(lost)))
        connection.execute(update(table).where(lost).values(status=ABANDONED))
    return found


def purge(connection: Connection, name: str, before_us: int) -> int:
    """Delete the outbox of runs that finished before `before_us`, and the runs that have none left; how many rows.

    What is pending or unanswered stays, and so does everything of the latest run.
    """
    table, run = schema.outbox, schema.run
    latest = select(run.c.id).order_by(run.c.started_us.desc(), run.c.id.desc()).limit(1).scalar_subquery()
    old = and_(run.c.finished_us < before_us, run.c.id != latest)
    settled = and_(table.c.connection == name, table.c.status.not_in((PENDING, SENT)))
    found = delete(table).where(settled, table.c.run_id.in_(select(run.c.id).where(old)))
    deleted = connection.execute(found).rowcount
    connection.execute(delete(run).where(old, run.c.id.not_in(select(table.c.run_id))))
    return deleted


def unanswered(connection: Connection, name: str) -> dict[str, list[OutboxRow]]:
    """Run → the rows it sent without hearing what became of them, however long ago."""
    table = schema.outbox
    found: dict[str, list[OutboxRow]] = {}
    where = and_(table.c.status == SENT, table.c.connection == name)
    for row in connection.execute(select(table).where(where).order_by(table.c.id)):
        found.setdefault(row.run_id, []).append(_outbox_row(row))
    return found


def record_outcomes(connection: Connection, results: Sequence[tuple[OutboxRow, Outcome]], at_us: int) -> None:
    """Outcome by outcome: the outbox row, and the action that is done. (`dead_letters.note` keeps the refused ones.)"""
    connection.execute(
        update(schema.outbox)
        .where(schema.outbox.c.id == bindparam("row_id"))
        .values(
            status=bindparam("new_status"),
            code=bindparam("new_code"),
            reason=bindparam("new_reason"),
            remote_id=bindparam("new_remote"),
            done_us=at_us,
        ),
        [
            {
                "row_id": row.id,
                "new_status": outcome.status.value,
                "new_code": outcome.code,
                "new_reason": outcome.reason,
                "new_remote": outcome.ref.id if outcome.ref else None,
            }
            for row, outcome in results
        ],
    )
    done = {row.key: outcome.ref for row, outcome in results if row.operation == "task" and outcome.ok}
    _finish_actions(connection, done)


def _finish_actions(connection: Connection, done: Mapping[str, RemoteRef | None]) -> None:
    table = schema.action
    for key, ref in done.items():
        connection.execute(
            update(table).where(table.c.key == key).values(status="done", remote_id=ref.id if ref else None)
        )
