"""Reports as tables for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncline.model import Edit, from_microseconds
from syncline.scoring.reference import Why
from syncline.scoring.result import ScoreResult
from syncline.sync.explain import Allowed, Explanation
from syncline.sync.report import RecordChange, Report, RolloutReport, SinkReport, SourceReport

__all__ = ["blocks", "changes", "explanation", "report", "rows", "short", "value"]

_KEPT: Final = 20  # of what undoing leaves as it is, shown
_ABSENT: Final = "the CRM has no such field; "
_MANY_KNOWN: Final = re.compile(r"Known: ((?:[\w.-]+, ){5})(?:[\w.-]+, )*[\w.-]+")


def short(text: str) -> str:
    """`text` with the five nearest of the known names it lists; all of them are in the JSON."""
    return _MANY_KNOWN.sub(r"Known: \1…", text)


def report(console: Console, result: Report) -> None:
    """What came in, what it says, what went out."""
    if result.sources:
        console.print(_sources(result))
    if result.scores or result.segments:
        console.print(_people(result))
    else:
        console.print(_known(result))
    if result.sinks:
        console.print(_sinks(result))
    for name, source in result.sources.items():
        if source.error:
            console.print(Text(f"{name}: {source.error}", style="red"))
    for name, sink in result.sinks.items():
        _notes(console, name, sink)
    console.print(f"status: [bold]{result.status}[/bold], as of {result.as_of}, run {result.run_id}")


def _sources(result: Report) -> Table:
    """A column a connection: however many there are, it fits a terminal."""
    rows: list[tuple[str, Callable[[SourceReport], int]]] = [
        ("records read", lambda source: source.read),
        ("stored", lambda source: source.stored),
        ("duplicate", lambda source: source.duplicate),
        ("quarantined", lambda source: source.quarantined),
        ("events", lambda source: source.events),
        ("of these by machines", lambda source: source.machine),
        ("calls", lambda source: source.calls),
    ]
    return _by_connection("Sources", rows, result.sources)


def _by_connection(title: str, rows: Sequence[tuple[str, Callable[[Any], int]]], reports: Mapping[str, Any]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in reports:
        table.add_column(name, justify="right")
    for label, value in rows:
        table.add_row(label, *(_count(value(report)) for report in reports.values()))
    return table


def _known(result: Report) -> str:
    return f"{_count(result.people)} people, {_count(result.events)} events"


def _people(result: Report) -> Table:
    table = Table(title=_known(result), title_justify="left")
    for column in ("score", "model", "people by band"):
        table.add_column(column)
    for name, score in result.scores.items():
        bands = "   ".join(f"{band} {_count(people)}" for band, people in score.bands.items())
        words = (name, f"{score.model} {score.version}", bands.replace("- ", "(below) ", 1))
        table.add_row(*map(Text, words))
    for name, people in result.segments.items():
        table.add_row(name, "segment", _count(people))
    return table


def _sinks(result: Report) -> Table:
    planned = result.status == "planned"
    rows: list[tuple[str, Callable[[SinkReport], int]]] = [
        ("created", lambda sink: sink.created),
        ("updated", lambda sink: sink.updated),
        ("unchanged", lambda sink: sink.unchanged),
        ("rejected", lambda sink: sink.rejected),
        ("to be tried again", lambda sink: sink.retry),
        ("tasks", lambda sink: sink.tasks),
        ("members", lambda sink: sink.members),
        ("waiting for a decision", lambda sink: sink.conflicts),
        ("calls to read", lambda sink: sink.calls - sink.write_calls),
        ("calls to write", lambda sink: sink.planned_calls if planned else sink.write_calls),
        ("calls at least needed", lambda sink: sink.least_write_calls),
    ]
    if any(sink.planned_credits is not None for sink in result.sinks.values()):
        rows.append(("credits to write", lambda sink: sink.planned_credits or 0))
    return _by_connection("CRM", rows, result.sinks)


def _notes(console: Console, name: str, sink: SinkReport) -> None:
    for reason, people in sorted(sink.skipped.items(), key=lambda pair: -pair[1]):
        console.print(Text(f"{name}: {people} not written: {reason}"))
    for reason, writes in sorted(sink.withheld.items(), key=lambda pair: -pair[1]):
        console.print(Text(f"{name}: {writes} fields, tasks and memberships withheld: {reason}"))
    if sink.opt_outs:
        console.print(Text(f"{name}: {sink.opt_outs} opt-outs passed on"))
    if sink.crm_changes:
        console.print(Text(f"{name}: {sink.crm_changes} changes made there became events"))
    _parked(console, name, sink.parked)
    for mapping in sink.recovered:
        console.print(Text(f"{name}: no longer parked: {mapping}", style="green"))
    for what, count in sink.allowed.items():
        console.print(Text(f"{name}: {count} {what}, beyond the guard, because this run was allowed to"))
    if sink.rollout is not None:
        _rollout(console, name, sink.rollout)
    if sink.drift:
        console.print(Text(f"{name}: {sink.drift} of our fields had been changed by others", style="yellow"))
    if sink.closed:
        console.print(Text(f"{name}: {sink.closed} tasks closed"))
    for kept in sink.kept[:_KEPT]:
        about = ".".join(filter(None, (kept.object, kept.field))) or "task"
        console.print(Text(f"{name}: {about} of {kept.id or kept.person} stays as it is: {kept.reason}"))
    if len(sink.kept) > _KEPT:
        console.print(f"{name}: … and {len(sink.kept) - _KEPT} more stay as they are; --json shows every one")
    if sink.paused:
        console.print(Text(f"{name}: {sink.paused}", style="yellow"))
    if sink.error:
        console.print(Text(f"{name}: {short(sink.error)}", style="red"))


def _rollout(console: Console, name: str, rollout: RolloutReport) -> None:
    """Where the first runs stand; of one that only looks, whom it found, some of them by our keys."""
    wave = f", wave {rollout.wave}" if rollout.wave else ""
    held = ", ".join(f"{count} {what}" for what, count in rollout.held.items()) or "nothing"
    console.print(Text(f"{name}: first run, stage {rollout.stage}{wave}; waiting: {held}", style="bold"))
    for what, keys in (rollout.match.examples if rollout.match else {}).items():
        count = getattr(rollout.match, what)
        console.print(Text(f"{name}:   {what.replace('_', ' ')} {count}, such as {', '.join(keys)}"))
    if rollout.match is None:
        console.print(Text(f"{name}: next: {rollout.next}"))


def _parked(console: Console, name: str, parked: Sequence[str]) -> None:
    """What `prepare` may create in one line together, before the first time that is everything; the rest one by one."""
    absent = [line for line in parked if f": {_ABSENT}" in line]
    for line in parked:
        if line not in absent:
            console.print(Text(f"{name}: mapping parked: {line}", style="yellow"))
    if absent:
        fields = ", ".join(line.partition(": ")[0] for line in absent)
        many = "1 field is" if len(absent) == 1 else f"{len(absent)} fields are"
        text = f"{name}: {many} missing there: {fields}; `syncline prepare {name}` shows and creates them"
        console.print(Text(text, style="yellow"))


def changes(console: Console, result: Report, limit: int) -> None:
    """Record by record and field by field, before → after; the first `limit` records."""
    for name, sink in result.sinks.items():
        for change in sink.changes[:limit]:
            _change(console, name, change)
        if len(sink.changes) > limit:
            console.print(f"… and {len(sink.changes) - limit} more; --json or --all shows every one")


def _change(console: Console, connection: str, change: RecordChange) -> None:
    where = f"{connection} {change.object} {change.id or ''}".strip()
    became = f"  {change.status}" if change.status else ""
    console.print(Text(f"{change.operation:<7} {where}  person {change.person}{became}", style="bold"))
    for field, (before, after) in change.fields.items():
        console.print(Text(f"          {field}: {value(before)} → {value(after)}"))
    for words in filter(None, (change.subject, change.reason)):
        console.print(Text(f"          {words}"))


def value(held: object) -> str:
    """As a person reads it."""
    return "(empty)" if held is None else str(held)


def explanation(console: Console, found: Explanation) -> None:
    """Score by score, line by line, with the last events behind each line."""
    profile = found.profile
    console.print(Text(f"{', '.join(profile.emails) or '(no address)'}   key {profile.key}", style="bold"))
    console.print(Text(f"as of {found.as_of.isoformat()}"))
    for score in found.assessment.scores.values():
        console.print(_score(found, score))
    console.print(Text(f"segments: {', '.join(sorted(found.assessment.segments)) or '(none)'}"))
    for allowed in found.consent:
        _consent(console, allowed)
    for holding in found.holdings:
        console.print(
            Text(
                f"{holding.connection} {holding.object} {holding.id} (found by {holding.how}), last "
                f"changed by {holding.changed_by}"
            )
        )
        for name, held in holding.fields.items():
            ours = "  (last written by us)" if name in holding.ours and held == holding.ours[name] else ""
            console.print(Text(f"    {name}: {value(held)}{ours or _writer(holding.edits[name])}"))
        if holding.deleted:
            console.print(Text("    deleted there"))
    for link in found.past:
        until = f"{from_microseconds(link.until_us):%Y-%m-%d %H:%M}"
        console.print(Text(f"{link.connection} {link.ref.object} {link.ref.id} until {until}: {link.why}"))
    if found.why:
        _reason(console, found.why, 0)


def _consent(console: Console, allowed: Allowed) -> None:
    """One purpose, and each side with what it says and since when."""
    verdict = "allowed" if allowed.refusal is None else f"not allowed: {allowed.refusal}"
    console.print(Text(f"consent to {allowed.purpose}: {verdict}"))
    for said in allowed.sides:
        word = "granted" if said.granted else "withdrawn"
        console.print(Text(f"    {said.side}: {word} {from_microseconds(said.at_us):%Y-%m-%d %H:%M}"))


def _writer(edit: Edit) -> str:
    by = {"person": "a person", "system": "another system"}.get(edit.by)
    if by is None:
        return ""
    at = f", {edit.at:%Y-%m-%d %H:%M}" if edit.at else ""
    return f"  (by {edit.who or by}{at})"


def _score(found: Explanation, score: ScoreResult) -> Table:
    """The lines that gave something; the others are in the JSON."""
    title = f"{score.name} ({score.model} {score.version}): {score.value:f}, band {score.band or '(none)'}"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("line", footer="together")
    table.add_column("points", justify="right", footer=f"{score.value:f}")
    table.add_column("value", justify="right")
    table.add_column("last event behind it")
    for line in score.contributions:
        if line.amount:
            value = "" if line.value is None else str(line.value)
            last = "".join(_event(found, event) for event in line.events[:1])
            table.add_row(*map(Text, (line.line, f"{line.amount.normalize():+f}", value, last)))
    return table


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


def blocks(console: Console, title: str, columns: list[str], data: list[list[Any]]) -> None:
    """One block an entry, a line a value: ids and addresses stay whole, to be copied, however narrow the terminal."""
    console.print(title)
    width = max(map(len, columns))
    for row in data:
        console.print()
        for column, cell in zip(columns, row, strict=True):
            if cell not in (None, ""):
                console.print(Text(f"  {column:<{width}}  {cell}"), soft_wrap=True)


def _count(number: int) -> str:
    return f"{number:,}"
