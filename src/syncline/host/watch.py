"""Around every command that works: its log lines bear its id, a span lasts as long, and afterwards the sums are kept
and whoever has to know is told. Whatever goes wrong here is logged, and fails no run."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from structlog.contextvars import bound_contextvars

from syncline.config import Config
from syncline.errors import BusyError, SynclineError
from syncline.host.alerts import ALL, Decision, Facts, decide, message
from syncline.host.notify import Notify
from syncline.host.schedule import Times
from syncline.host.sums import sums_of
from syncline.model import microseconds
from syncline.sdk.tracing import span
from syncline.store import alerts, books, schedules, totals
from syncline.store.database import Database
from syncline.sync.report import Report
from syncline.sync.telemetry import Tally, tallied

__all__ = ["LATE", "Watch", "overdue"]

_log = logging.getLogger("syncline.run")

LATE: Final = timedelta(hours=1)
"""A scheduled run that comes so much later than it should is worth telling."""


class Watch:
    """A context manager around one command. `begins` says which run it is; before that there is nothing to keep."""

    def __init__(
        self,
        command: str,
        database: Callable[[], Database],
        config: Config,
        connectors: Mapping[str, Any],
        *,
        clock: Callable[[], datetime],
        notify: Callable[[], Notify | None] = lambda: None,
        sync: str | None = None,
        whole: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = command
        self._database = database
        self._config = config
        self._connectors = connectors
        self._clock = clock
        self._notify = notify
        self._sync = sync
        self._whole = whole
        self._monotonic = monotonic
        self._stack = ExitStack()
        self._report: Report | None = None
        self._late: Collection[str] = ()
        self._tally = Tally()
        self._began = 0.0
        self._began_us = 0
        self._answers: dict[str, Counter[Any]] = {}
        self._waited: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._began, self._began_us = self._monotonic(), microseconds(self._clock())
        for name, metrics in self._metrics():
            self._answers[name], self._waited[name] = metrics.answers.copy(), metrics.waited_seconds
        about = {"sync": self._sync} if self._sync else {}
        self._stack.enter_context(bound_contextvars(command=self._command, **about))
        self._note = self._stack.enter_context(span(self._command, {f"syncline.{k}": v for k, v in about.items()}))
        self._tally = self._stack.enter_context(tallied())
        return self

    def begins(self, report: Report, syncs: Collection[str] = (), late: Collection[str] = ()) -> None:
        """The run is this one; `syncs` are those it is about where that was not known before, `late` those overdue."""
        self._report = report
        self._sync = next(iter(syncs)) if len(syncs) == 1 else self._sync
        self._late = late
        self._stack.enter_context(bound_contextvars(run_id=report.run_id))
        self._note({"syncline.run_id": report.run_id or ""})
        _log.info("%s started", self._command, extra={"as_of": report.as_of})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._report is not None or isinstance(error, Exception):
                self._after(self._report, error)
        finally:
            self._stack.__exit__(kind, error, at)

    # Afterwards

    def _after(self, report: Report | None, error: BaseException | None) -> None:
        if isinstance(error, BusyError) and report is None:  # nothing was run
            return
        try:
            if report is not None:
                self._say(report, error)
                self._keep_sums(report)
            if self._concerns_others(report):
                self._alert(report, error)
        except Exception as trouble:  # noqa: BLE001  # what was run was run, whatever becomes of its books
            _log.error(
                "what came of the run could not be kept or told (%s): %s", type(trouble).__name__, _ours(trouble)
            )

    def _concerns_others(self, report: Report | None) -> bool:
        """A run does; not what somebody mistyped."""
        mistyped = report is None and (not self._whole or self._sync not in (None, *self._syncs))
        return self._command == "run" and not mistyped

    def _say(self, report: Report, error: BaseException | None) -> None:
        seconds = round(self._monotonic() - self._began, 3)
        if error is not None:
            kind = type(error).__name__
            _log.error("%s ended with an error", self._command, extra={"error": kind, "seconds": seconds})
            return
        sources, sinks = report.sources.values(), report.sinks.values()
        numbers = {f"sum_{name}": sum(getattr(sink, name) for sink in sinks) for name in _NUMBERS}
        read = {"sum_read": sum(source.read for source in sources), "people": report.people, "seconds": seconds}
        _log.info("%s finished", self._command, extra={"status": report.status, **read, **numbers})
        self._note({"syncline.status": report.status})

    def _keep_sums(self, report: Report) -> None:
        with self._database().write() as connection:
            made = sums_of(
                connection,
                report,
                now_us=microseconds(self._clock()),
                syncs={sync.name: sync.to for sync in self._config.syncs},
                seconds=self._monotonic() - self._began,
                answers={
                    name: metrics.answers - self._answers.get(name, Counter()) for name, metrics in self._metrics()
                },
                waited=self._waits(),
                retries=self._tally.retries,
            )
            totals.add(connection, made)

    def _waits(self) -> dict[str, float]:
        """Seconds, for the pace, a hold, or before another try."""
        waited = {name: metrics.waited_seconds - self._waited.get(name, 0.0) for name, metrics in self._metrics()}
        for name, seconds in self._tally.waited_seconds.items():
            waited[name] = waited.get(name, 0.0) + seconds
        return waited

    def _metrics(self) -> list[tuple[str, Any]]:
        return [(name, connector.context.http.metrics) for name, connector in list(self._connectors.items())]

    # Telling

    def _alert(self, report: Report | None, error: BaseException | None) -> None:
        now_us = microseconds(self._clock())
        with self._database().write() as connection:
            facts = self._facts(connection, report, error, now_us)
            decision = decide(alerts.known(connection), facts, now_us, self._config.alerts.on)
            alerts.put(connection, decision.seen)
            alerts.forget(connection, [item.trouble for item in decision.gone])
        if (decision.begins or decision.ends) and self._told(decision, report):
            with self._database().write() as connection:
                alerts.told(connection, [item.trouble for item in decision.begins], now_us)
                alerts.forget(connection, [item.trouble for item in decision.ends])

    def _facts(self, connection: Any, report: Report | None, error: BaseException | None, now_us: int) -> Facts:
        found = books.read(connection, day=0)
        return Facts(
            subject=self._sync or ALL,
            report=report,
            error=error if isinstance(error, Exception) else None,
            whole=self._whole and error is None and (report is None or report.status != "interrupted"),
            killed={run.sync if run.sync in self._syncs else ALL for run in books.killed(connection, self._began_us)},
            dead_letters={name for name, waiting in found.waiting.items() if waiting.dead_letters},
            paused={n for n, pause in found.pauses.items() if pause.until_us is None or pause.until_us > now_us},
            late=self._late,
            connections=list(self._config.connections),
            syncs=self._syncs,
        )

    @property
    def _syncs(self) -> list[str]:
        return [sync.name for sync in self._config.syncs]

    def _told(self, decision: Decision, report: Report | None) -> bool:
        notify = self._notify()
        if notify is None:
            return False
        told = notify(*message(decision, report.run_id if report else None))
        if not told:
            _log.error("nobody could be told; it is tried again after the next run")
        return told


# With `sum_` before them: the logging library has taken the word `created` for itself.
_NUMBERS: Final = ("calls", "write_calls", "created", "updated", "rejected", "retry", "tasks", "members")


def overdue(database: Database, timetable: Mapping[str, Times], now: datetime) -> set[str]:
    """Syncs that should have been run more than an hour ago, and were not."""
    with database.read() as connection:
        turns = schedules.turns(connection)
    return {sync for sync, times in timetable.items() if sync in turns and now - times.after(turns[sync].due) > LATE}


def _ours(error: Exception) -> str:
    """Only what we have worded ourselves."""
    return str(error) if isinstance(error, SynclineError) else "a bug of syncline"
