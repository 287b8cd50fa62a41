"""Reports as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncline.model import from_microseconds
from syncline.scoring.reference import Why
from syncline.sync.explain import Explanation
from syncline.sync.report import RecordChange, Report, SinkReport

__all__ = ["changes", "explanation", "report", "rows"]


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


def explanation(console: Console, found: Explanation) -> None:
    """Score by score, line by line, with the last events behind each line."""
    profile = found.profile
    console.print(Text(f"{', '.join(profile.emails) or '(no address)'}   key {profile.key}", style="bold"))
    console.print(Text(f"as of {found.as_of.isoformat()}"))
    for score in found.assessment.scores.values():
        table = Table(title=f"{score.name} ({score.model} {score.version})", title_justify="left", show_footer=True)
        table.add_column("line", footer=f"score, band {score.band or '-'}")
        table.add_column("points", justify="right", footer=f"{score.value:f}")
        table.add_column("signal")
        table.add_column("value", justify="right")
        table.add_column("last events behind it")
        for line in score.contributions:
            events = "  ".join(_event(found, event) for event in line.events)
            value = "" if line.value is None else str(line.value)
            table.add_row(line.line, f"{line.amount.normalize():+f}", line.signal or "", value, events)
        console.print(table)
    console.print(Text(f"segments: {', '.join(sorted(found.assessment.segments)) or '(none)'}"))
    for holding in found.holdings:
        console.print(
            Text(
                f"{holding.connection} {holding.object} {holding.id} (found by {holding.how}), last "
                f"changed by {holding.changed_by}"
            )
        )
        for name, value in holding.fields.items():
            ours = "  (ours)" if name in holding.ours else ""
            console.print(Text(f"    {name}: {_value(value)}{ours}"))
    if found.why:
        _reason(console, found.why, 0)


def _event(found: Explanation, event_id: str) -> str:
    event = found.events[event_id]
    return f"{event.type} {from_microseconds(event.t_us):%Y-%m-%d %H:%M}"


def _reason(console: Console, node: Why, depth: int) -> None:
    value = "" if node.value is None else f" (is {node.value})"
    console.print(Text(f"{'  ' * depth}{'yes' if node.holds else 'no '} {node.text}{value}"))
    for part in node.parts:
        _reason(console, part, depth + 1)


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
