"""Which syncs are to run now: due times, those that were missed, and runs that did not come to their end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol

from syncline.config import Config, SyncConfig
from syncline.errors import StoreError
from syncline.model.cron import Cron
from syncline.store import schedules
from syncline.store.database import Database
from syncline.store.schedules import Turn
from syncline.sync.report import Report

__all__ = ["AHEAD", "ByCron", "Due", "Every", "Times", "answer", "decide", "in_words", "look", "timetable"]

_log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

AHEAD: Final = timedelta(days=1)
"""How long a sync waits for a clock that was set back to come to where it has been."""


class Times(Protocol):
    """When a sync is due."""

    def latest(self, now: datetime) -> datetime:
        """The last time at or before now."""

    def after(self, now: datetime) -> datetime:
        """The first time after now."""


@dataclass(frozen=True, slots=True)
class Every:
    """Counted from 1970, so that all count alike: `15m` is at :00, :15, :30 and :45, `24h` at midnight (UTC)."""

    period: timedelta

    def latest(self, now: datetime) -> datetime:
        return now - (now - _EPOCH) % self.period

    def after(self, now: datetime) -> datetime:
        return self.latest(now) + self.period


@dataclass(frozen=True, slots=True)
class ByCron:
    cron: Cron
    zone: tzinfo

    def latest(self, now: datetime) -> datetime:
        return self.cron.latest(now, self.zone)

    def after(self, now: datetime) -> datetime:
        return self.cron.after(now, self.zone)


def in_words(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def timetable(config: Config) -> dict[str, Times]:
    """Sync → its times, for those that have a schedule."""
    return {sync.name: times for sync in config.syncs if (times := _times(sync)) is not None}


def _times(sync: SyncConfig) -> Times | None:
    if sync.cron is not None:
        return ByCron(sync.cron, sync.time_zone or UTC)
    return None if sync.every is None else Every(sync.every)


@dataclass(frozen=True, slots=True)
class Due:
    """What a look at the clock says, sync by sync.

    `times`: to run now, and the time that is for; however many were missed, it is the last of them. `again`: of these,
    where a run was begun and has not come to its end; it was killed, unless it is still running. `new`: never seen
    before, and the time from which on they count. `held`: run for a time already that is still to come, because the
    clock was set back. `ahead`: set back so far that they start over.
    """

    times: dict[str, datetime] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    new: dict[str, datetime] = field(default_factory=dict)
    held: dict[str, datetime] = field(default_factory=dict)
    ahead: dict[str, datetime] = field(default_factory=dict)


def decide(timetable: Mapping[str, Times], turns: Mapping[str, Turn], now: datetime) -> Due:
    """Each sync once for each time, whatever the clock does, and however long nobody looked."""
    due = Due()
    for sync, times in timetable.items():
        turn, latest = turns.get(sync), times.latest(now)
        if turn is None:
            due.new[sync] = latest
        elif turn.due - now > AHEAD:
            due.ahead[sync] = latest
        elif latest > turn.due or turn.interrupted:
            due.times[sync] = max(latest, turn.due)
        elif turn.cut_off and turn.outcome != schedules.AGAIN:  # what killed two runs may kill every one
            due.times[sync] = turn.due
            due.again.add(sync)
        elif turn.due > now:
            due.held[sync] = turn.due
    return due


def look(database: Database, timetable: Mapping[str, Times], now: datetime) -> Due:
    """What is due now. Syncs that are seen for the first time, or after the clock was set back far, get a turn."""
    with database.read() as connection:
        turns = schedules.turns(connection)
    due = decide(timetable, turns, now)
    if due.new or due.ahead:
        with database.write() as connection:
            schedules.first_seen(connection, due.new)
            for sync, latest in due.ahead.items():
                schedules.set_back(connection, turns[sync], latest)
    for sync in due.ahead:
        _log.warning(
            "%s was run for %s already, which is still to come: the clock was set back. It goes on with its next time",
            sync,
            in_words(turns[sync].due),
        )
    return due


def answer(database: Database, due: Due, run_id: str, run: Callable[[], Report]) -> Report:
    """Run, and note that this run answers for what is due. Whoever calls holds the lease.

    A run that fails has answered: the next time comes. One that is killed has not, nor one that is interrupted.
    """
    with database.write() as connection:
        schedules.begin(connection, due.times, run_id, again=due.again)
    status = "failed"
    try:
        report = run()
        status = report.status
        return report
    finally:
        _end(database, run_id, status)


def _end(database: Database, run_id: str, status: str) -> None:
    """The run's own row says the same, so that nothing is lost if this cannot be kept."""
    try:
        with database.write() as connection:
            schedules.end(connection, run_id, status)
    except StoreError as error:
        _log.warning("how run %s ended could not be noted for the schedule: %s", run_id, error)
