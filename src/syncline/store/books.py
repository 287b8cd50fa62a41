"""What the store holds, counted: cheap enough to be asked every few seconds. Nothing here writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, func, literal, or_, select

from syncline.store import schema
from syncline.store.pauses import Pause, pauses

__all__ = [
    "Books",
    "Held",
    "Outcomes",
    "RunRow",
    "Scheduled",
    "Used",
    "Waiting",
    "killed",
    "latest_run",
    "outcomes",
    "read",
    "run",
    "run_ids",
]


@dataclass(slots=True)
class Waiting:
    """What waits at one connection; the first five for a person, the others for the next run."""

    conflicts: int = 0
    undecided: int = 0
    dead_letters: int = 0
    quarantined: int = 0
    unread: int = 0
    inbox: int = 0
    unanswered: int = 0

    @property
    def for_a_person(self) -> int:
        return self.conflicts + self.undecided + self.dead_letters + self.quarantined + self.unread


class Held(NamedTuple):
    """A lease: somebody runs, or did until they were killed."""

    name: str
    owner: str
    expires_us: int


class Used(NamedTuple):
    """What was used of one connection's day."""

    calls: int
    write_calls: int
    credits: int


class Scheduled(NamedTuple):
    """The latest time of a sync's schedule that was answered, and by what."""

    due_us: int
    run_id: str | None
    outcome: str | None


class RunRow(NamedTuple):
    """A run, without its report but for `report` where that was asked for."""

    id: str
    status: str
    started_us: int
    finished_us: int | None
    as_of_us: int
    sync: str | None
    person: str | None
    undoes: str | None
    report: str | None = None

    def ran(self, sync: str) -> bool:
        return self.sync is None or sync in self.sync.split(",")


class Outcomes(NamedTuple):
    """So many of a run's rows met this outcome. An upsert is a `create` or an `update`."""

    connection: str
    operation: str
    status: str
    rows: int


@dataclass(frozen=True, slots=True)
class Books:
    """All of it, as of one moment; by connection, or by sync for `scheduled`."""

    waiting: Mapping[str, Waiting]
    pauses: Mapping[str, Pause]
    leases: tuple[Held, ...]
    used: Mapping[str, Used]
    scheduled: Mapping[str, Scheduled]


def read(connection: Connection, day: int) -> Books:
    """`day`: since 1970, UTC; what was used is of that day."""
    usage, schedule = schema.usage, schema.schedule
    used = connection.execute(select(usage).where(usage.c.day == day))
    return Books(
        waiting=_waiting(connection),
        pauses=pauses(connection),
        leases=tuple(Held(*row) for row in connection.execute(select(schema.lease).order_by(schema.lease.c.name))),
        used={row.connection: Used(row.calls, row.write_calls, row.credits) for row in used},
        scheduled={
            row.sync: Scheduled(row.due_us, row.run_id, row.outcome) for row in connection.execute(select(schedule))
        },
    )


# What waits


def _waiting(connection: Connection) -> dict[str, Waiting]:
    found: dict[str, Waiting] = {}
    for what, query in _QUERIES.items():
        for row in connection.execute(query).mappings():
            setattr(found.setdefault(row["connection"], Waiting()), what, row["rows"])
    return found


def _count(table: Any, *where: Any) -> Select[tuple[str, int]]:
    return select(table.c.connection, func.count().label("rows")).where(*where).group_by(table.c.connection)


def _is(column: Any, value: int) -> Any:
    return column == literal(value, literal_execute=True)


_letter = schema.dead_letter.c
_not_done: Final = schema.raw.c.status != literal(schema.RAW_DONE, literal_execute=True)
_OPEN: Final = or_(schema.outbox.c.status == "pending", schema.outbox.c.status == "sent")
# The conditions are worded as in the partial indexes: SQLite uses one only where it sees the same words.
_QUERIES: Final[Mapping[str, Select[tuple[str, int]]]] = {
    "conflicts": _count(schema.conflict),
    "undecided": _count(schema.undecided, schema.undecided.c.decision.is_(None)),
    "dead_letters": _count(schema.dead_letter, _letter.discarded.is_(None), _letter.reason.is_not(None)),
    "quarantined": _count(schema.raw, _not_done, _is(schema.raw.c.status, schema.RAW_QUARANTINED)),
    "unread": _count(schema.webhook, _is(schema.webhook.c.status, schema.WEBHOOK_UNREAD)),
    "inbox": _count(schema.raw, _not_done, _is(schema.raw.c.status, schema.RAW_NEW)),
    "unanswered": _count(schema.outbox, _OPEN),
}


# Runs


_run = schema.run.c
_BRIEF: Final = (
    _run.id,
    _run.status,
    _run.started_us,
    _run.finished_us,
    _run.as_of_us,
    _run.sync,
    _run.person,
    _run.undoes,
)
_NEWEST: Final = (_run.started_us.desc(), _run.id.desc())


def latest_run(connection: Connection, sync: str | None = None) -> RunRow | None:
    """The newest run; with `sync` the newest that ran this sync for everyone."""
    query = select(*_BRIEF).order_by(*_NEWEST)
    if sync is None:
        row = connection.execute(query.limit(1)).first()
        return None if row is None else RunRow(*row)
    whole = connection.execute(query.where(_run.person.is_(None), _run.undoes.is_(None)))
    return next((found for row in whole if (found := RunRow(*row)).ran(sync)), None)


def run(connection: Connection, run_id: str) -> RunRow | None:
    """One run with its report."""
    row = connection.execute(select(*_BRIEF, _run.report).where(_run.id == run_id)).first()
    return None if row is None else RunRow(*row)


def killed(connection: Connection, since_us: int) -> list[RunRow]:
    """Runs that were found dead since then. (A run that begins marks them, with its own time.)"""
    found = select(*_BRIEF).where(_run.status == "killed", _run.finished_us >= since_us).order_by(_run.finished_us)
    return [RunRow(*row) for row in connection.execute(found)]


def run_ids(connection: Connection, limit: int = 20) -> list[str]:
    """Those of the latest runs, newest first."""
    return list(connection.scalars(select(_run.id).order_by(*_NEWEST).limit(limit)))


def outcomes(connection: Connection, run_id: str, by_id: str) -> list[Outcomes]:
    """What became of a run's rows, counted. `by_id` is the match of those that update; other upserts `create`."""
    table = schema.outbox.c
    what = (table.connection, table.operation, table.match, table.status)
    query = select(*what, func.count()).where(table.run_id == run_id).group_by(*what)
    found: Counter[tuple[str, str, str]] = Counter()
    for name, operation, match, status, count in connection.execute(query):
        upsert = "update" if match == by_id else "create"
        found[name, upsert if operation == "upsert" else operation, status] += count
    return [Outcomes(*key, count) for key, count in sorted(found.items())]
