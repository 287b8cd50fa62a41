"""What one run adds to the sums that are kept over all runs, whichever process made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from syncline.store import books
from syncline.store.totals import Totals, load
from syncline.sync.plan import BY_ID
from syncline.sync.report import Report

__all__ = ["BUCKETS", "sums_of"]

BUCKETS: Final = (1, 5, 15, 60, 300, 900, 3600)
"""Seconds a run may take: the histogram's upper bounds."""

_RECORDS: Final = ("stored", "duplicate", "quarantined")
_NOT_ALL_OF_IT: Final = ("failed", "interrupted")


def sums_of(
    connection: Connection,
    report: Report,
    *,
    now_us: int,
    seconds: float,
    syncs: Mapping[str, str],
    answers: Mapping[str, Mapping[tuple[str, str], int]],
    waited: Mapping[str, float],
    retries: Mapping[str, int],
) -> Totals:
    """`syncs` are all there are, with their connections; `answers` are calls by connection, then purpose and status."""
    made = Totals()
    for name, source in report.sources.items():
        for outcome in _RECORDS:
            made.count(("records", name, outcome), getattr(source, outcome))
        if source.error is None:
            made.note(("connection", name), now_us)
    for name, calls in answers.items():
        for (purpose, status), count in calls.items():
            made.count(("calls", name, purpose, status), count)
        made.count(("waited_seconds", name), round(waited.get(name, 0.0), 6))
        made.count(("retries", name), retries.get(name, 0))
    run = books.run(connection, report.run_id or "")
    if run is not None:
        _count_run(connection, made, run, seconds)
        _note_success(made, run, report, syncs, now_us)
    return made


def _count_run(connection: Connection, made: Totals, run: books.RunRow, seconds: float) -> None:
    made.count(("runs", run.status))
    made.count(("run_seconds",), round(seconds, 3))
    made.count(("run_seconds_up_to", next((str(top) for top in BUCKETS if seconds <= top), "+Inf")))
    _count_writes(connection, made, run.id)
    _count_killed(connection, made)


def _count_writes(connection: Connection, made: Totals, run_id: str) -> None:
    for found in books.outcomes(connection, run_id, BY_ID):
        made.count(("writes", found.connection, found.operation, found.status), found.rows)


def _count_killed(connection: Connection, made: Totals) -> None:
    """Those found since the last time, and what they wrote: nobody was there to count it when they ended."""
    before = load(connection).latest.get(("killed",), 0)
    found = books.killed(connection, before + 1)
    made.count(("runs", "killed"), len(found))
    for run in found:
        _count_writes(connection, made, run.id)
        made.note(("killed",), run.finished_us or 0)


def _note_success(made: Totals, run: books.RunRow, report: Report, syncs: Mapping[str, str], now_us: int) -> None:
    """A run for everyone that came to its end was a success wherever it could write. Single records do not matter."""
    if run.status in _NOT_ALL_OF_IT or run.person is not None or run.undoes is not None:
        return
    fine = {name for name, sink in report.sinks.items() if sink.error is None and sink.paused is None}
    for name in fine:
        made.note(("connection", name), now_us)
    for sync, name in syncs.items():
        if name in fine and run.ran(sync):
            made.note(("sync", sync), now_us)
