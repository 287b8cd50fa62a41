"""How everything stands, at a glance: what ran, what runs, what waits, and whether anybody is needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from syncline.config import Config
from syncline.config.models import BudgetConfig
from syncline.host.schedule import Times
from syncline.model import from_microseconds, microseconds
from syncline.store import alerts, books, totals
from syncline.store.books import Books, RunRow
from syncline.sync.report import Trouble

__all__ = [
    "ConnectionStatus",
    "Need",
    "Paused",
    "RunStatus",
    "Running",
    "Status",
    "SyncStatus",
    "Today",
    "Waits",
    "status",
]

EXIT_STOPPED: Final = 3
EXIT_PAUSED: Final = 4
_DAY: Final = timedelta(days=1) // timedelta(microseconds=1)
_PERSON_NEEDED: Final = ("stopped", "misconfigured", "failed", "killed")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunStatus(_Model):
    """A run, in short."""

    run_id: str
    status: str
    started: datetime
    finished: datetime | None


class Running(_Model):
    """Somebody holds the lease: a run is active, or was killed without a word."""

    owner: str = Field(description="machine, process, and a mark of its own")
    believed_until: datetime


class Paused(_Model):
    """A CRM that is not written to."""

    kind: str
    reason: str
    since: datetime
    until: datetime | None = Field(description="none: until `syncline resume`")


class Waits(_Model):
    """What waits: the first five for a person, the last two for the next run."""

    conflicts: int = 0
    undecided: int = 0
    dead_letters: int = 0
    quarantined: int = 0
    unread: int = Field(default=0, description="webhooks that the plugin cannot read")
    inbox: int = 0
    unanswered: int = Field(default=0, description="writes under way, or whose answer never came")


class Today(_Model):
    """What was used of the day (UTC)."""

    calls: int
    write_calls: int
    credits: int
    calls_per_day: int | None = Field(description="the budget; none: none is set")


class ConnectionStatus(_Model):
    """One connection, as its last run left it."""

    error: str | None = None
    trouble: Trouble | None = None
    parked: list[str] = Field(default_factory=list)
    last_success: datetime | None = None
    paused: Paused | None = None
    waits: Waits = Field(default_factory=Waits)
    today: Today | None = None


class SyncStatus(_Model):
    """One sync: its last run for everyone, and the next."""

    to: str
    last: RunStatus | None = None
    last_success: datetime | None = None
    next: datetime | None = Field(default=None, description="none: no schedule")


class Need(_Model):
    """Something that only a person can do."""

    about: str
    text: str
    command: str
    code: Literal[3, 4]


class Status(_Model):
    """All of it. `exit_code`: 0 when nobody is needed, 4 when a connection is paused, 3 for everything else."""

    at: datetime
    running: list[Running]
    last: RunStatus | None
    syncs: dict[str, SyncStatus]
    connections: dict[str, ConnectionStatus]
    needs: list[Need]

    @property
    def exit_code(self) -> int:
        return max((need.code for need in self.needs), default=0)


def status(
    connection: Connection, config: Config, timetable: Mapping[str, Times], now: datetime, wall: datetime
) -> Status:
    """As the store has it. `now` is the time of the runs, `wall` that of schedules."""
    found = books.read(connection, microseconds(now) // _DAY)
    latest = totals.load(connection).latest
    lasts = {sync.name: books.latest_run(connection, sync.name) for sync in config.syncs}
    last = books.latest_run(connection)
    reports = list(_reports(connection, [last, *lasts.values()]))
    made = Status(
        at=now,
        running=[Running(owner=held.owner, believed_until=from_microseconds(held.expires_us)) for held in found.leases],
        last=_brief(last),
        syncs={
            sync.name: SyncStatus(
                to=sync.to,
                last=_brief(lasts[sync.name]),
                last_success=_moment(latest.get(("sync", sync.name))),
                next=timetable[sync.name].after(wall) if sync.name in timetable else None,
            )
            for sync in config.syncs
        },
        connections={
            name: _connection(name, connected.budget, found, reports, latest, microseconds(now))
            for name, connected in config.connections.items()
        },
        needs=[],
    )
    made.needs += sorted(_needs(made, connection), key=lambda need: -need.code)
    return made


def _reports(connection: Connection, runs: Iterable[RunRow | None]) -> Iterator[Mapping[str, Any]]:
    """The reports of these runs, the newest first, each once; as plain data: an older version may have kept them."""
    different = {run.id: run for run in runs if run is not None}
    for run in sorted(different.values(), key=lambda run: run.started_us, reverse=True):
        stored = books.run(connection, run.id)
        if stored is not None and stored.report is not None:
            yield json.loads(stored.report)


def _connection(
    name: str,
    budget: BudgetConfig | None,
    found: Books,
    reports: Sequence[Mapping[str, Any]],
    latest: Mapping[tuple[str, ...], int],
    now_us: int,
) -> ConnectionStatus:
    made = ConnectionStatus(last_success=_moment(latest.get(("connection", name))), paused=_paused(found, name, now_us))
    if (waiting := found.waiting.get(name)) is not None:
        made.waits = Waits(**{field: getattr(waiting, field) for field in Waits.model_fields})
    if (used := found.used.get(name)) is not None:
        made.today = Today(**used._asdict(), calls_per_day=budget.calls_per_day if budget else None)
    for part in _parts(reports, name):
        made.error, made.trouble = made.error or part.get("error"), made.trouble or part.get("trouble")
        made.parked += part.get("parked", ())
    return made


def _parts(reports: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """What the newest report that knows the connection says of it, as a source and as a sink."""
    for report in reports:
        parts = [report[kind][name] for kind in ("sources", "sinks") if name in report.get(kind, ())]
        if parts:
            return parts
    return []


def _paused(found: Books, name: str, now_us: int) -> Paused | None:
    pause = found.pauses.get(name)
    if pause is None or (pause.until_us is not None and pause.until_us <= now_us):
        return None
    return Paused(
        kind=pause.kind,
        reason=pause.reason,
        since=from_microseconds(pause.since_us),
        until=_moment(pause.until_us),
    )


# Who is needed


def _needs(made: Status, connection: Connection) -> Iterator[Need]:
    for name, sync in made.syncs.items():
        if sync.last is not None and sync.last.status in _PERSON_NEEDED:
            command = f"syncline runs show {sync.last.run_id}"
            yield Need(about=name, text=f"its last run is {sync.last.status}", command=command, code=EXIT_STOPPED)
    for name, part in made.connections.items():
        yield from _needs_of(name, part)
    if any(item.trouble.kind == "schedule" for item in alerts.known(connection)):
        yield Need(about="schedule", text="a run came much too late", command="syncline runs", code=EXIT_STOPPED)


def _needs_of(name: str, part: ConnectionStatus) -> Iterator[Need]:
    if part.trouble == "credentials":
        yield Need(
            about=name, text="the vendor refuses our credentials", command="syncline check --live", code=EXIT_PAUSED
        )
    elif part.trouble not in (None, "weather"):
        yield Need(about=name, text=part.error or "", command="syncline check --live", code=EXIT_STOPPED)
    if part.paused is not None and part.paused.until is None:
        text = f"paused: {part.paused.reason}"
        yield Need(about=name, text=text, command=f"syncline resume {name}", code=EXIT_PAUSED)
    if part.parked:
        text = f"{_many(len(part.parked), 'mapping is parked', 'mappings are parked')}"
        yield Need(about=name, text=text, command="syncline check --live", code=EXIT_STOPPED)
    for field, (one, more, command) in _WAITING.items():
        if count := getattr(part.waits, field):
            yield Need(about=name, text=_many(count, one, more), command=command.format(name=name), code=EXIT_STOPPED)


_WAITING: Final = {
    "conflicts": ("person has several records there", "people have several records there", "syncline conflicts"),
    "undecided": ("field waits for a decision", "fields wait for a decision", "syncline conflicts"),
    "dead_letters": ("write was refused", "writes were refused", "syncline dead-letters list"),
    "quarantined": ("record is in quarantine", "records are in quarantine", "syncline quarantine"),
    "unread": ("webhook could not be read", "webhooks could not be read", "syncline replay {name}"),
}


def _many(count: int, one: str, more: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {more}"


def _brief(run: RunRow | None) -> RunStatus | None:
    if run is None:
        return None
    started, finished = from_microseconds(run.started_us), _moment(run.finished_us)
    return RunStatus(run_id=run.id, status=run.status, started=started, finished=finished)


def _moment(at_us: int | None) -> datetime | None:
    return None if at_us is None else from_microseconds(at_us)
