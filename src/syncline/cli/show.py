"""Reports as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncline.sync.report import RecordChange, Report, SinkReport

__all__ = ["changes", "report", "rows"]


def report(console: Console, result: Report) -> None:
    """What came in, what it says, what went out."""
    if result.sources:
        console.print(_sources(result))
    console.print(_people(result))
    if result.sinks:
        console.print(_sinks(result))
    for name, sink in result.sinks.items():
        _notes(console, name, sink)
    console.print(f"status: [bold]{result.status}[/bold], as of {result.as_of}, run {result.run_id}")


def _sources(result: Report) -> Table:
    table = Table(title="Sources", title_justify="left")
    for column in ("connection", "read", "stored", "duplicate", "quarantined", "events", "by machines", "calls"):
        table.add_column(column, justify="left" if column == "connection" else "right")
    for name, source in result.sources.items():
        counts = (source.read, source.stored, source.duplicate, source.quarantined, source.events, source.machine)
        table.add_row(name, *map(_count, counts), _count(source.calls))
    return table


def _people(result: Report) -> Table:
    table = Table(title=f"{_count(result.people)} people, {_count(result.events)} events", title_justify="left")
    for column in ("score", "model", "people by band"):
        table.add_column(column)
    for name, score in result.scores.items():
        bands = "   ".join(f"{band} {_count(people)}" for band, people in score.bands.items())
        table.add_row(name, f"{score.model} {score.version}", bands.replace("- ", "(below) ", 1))
    for name, people in result.segments.items():
        table.add_row(name, "segment", _count(people))
    return table


def _sinks(result: Report) -> Table:
    table = Table(title="CRM", title_justify="left")
    columns = ("connection", "created", "updated", "unchanged", "rejected", "tasks", "members", "conflicts")
    for column in (*columns, "calls", "write calls", "at least needed"):
        table.add_column(column, justify="left" if column == "connection" else "right")
    for name, sink in result.sinks.items():
        done = (sink.created, sink.updated, sink.unchanged, sink.rejected, sink.tasks, sink.members, sink.conflicts)
        writes = sink.planned_calls if result.status == "planned" else sink.write_calls
        table.add_row(name, *map(_count, (*done, sink.calls, writes, sink.least_write_calls)))
    return table


def _notes(console: Console, name: str, sink: SinkReport) -> None:
    for reason, people in sorted(sink.skipped.items(), key=lambda pair: -pair[1]):
        console.print(Text(f"{name}: {people} not written: {reason}"))
    for parked in sink.parked:
        console.print(Text(f"{name}: mapping parked: {parked}", style="yellow"))
    if sink.drift:
        console.print(Text(f"{name}: {sink.drift} of our fields had been changed by others", style="yellow"))
    if sink.error:
        console.print(Text(f"{name}: {sink.error}", style="red"))


def changes(console: Console, result: Report, limit: int) -> None:
    """Record by record and field by field, before → after; the first `limit` records."""
    for name, sink in result.sinks.items():
        for change in sink.changes[:limit]:
            _change(console, name, change)
        if len(sink.changes) > limit:
            console.print(f"… and {len(sink.changes) - limit} more; --json or --all shows every one")


def _change(console: Console, connection: str, change: RecordChange) -> None:
    where = f"{connection} {change.object} {change.id or ''}".strip()
    console.print(Text(f"{change.operation:<7} {where}  person {change.person}", style="bold"))
    for field, (before, after) in change.fields.items():
        console.print(Text(f"          {field}: {_value(before)} → {_value(after)}"))
    if change.subject:
        console.print(Text(f"          {change.subject}"))


def _value(value: object) -> str:
    return "(empty)" if value is None else str(value)


def rows(console: Console, title: str, columns: list[str], data: list[list[Any]]) -> None:
    """A plain table."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in data:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console.print(table)


def _count(number: int) -> str:
    return f"{number:,}"
