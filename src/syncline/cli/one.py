"""One person shown step by step: who they are to us, how each CRM's fields were decided, what is or was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncline.cli import show
from syncline.cli.common import finish, with_host
from syncline.host import Host
from syncline.sync.explain import Explanation
from syncline.sync.report import FieldDecision, Journey, Report

__all__ = ["walk"]


def walk(config: Path, call: Callable[[Host], Report], person: str, *, as_json: bool) -> None:
    """Plan, or run, for one person and show how it came about."""
    told: list[Explanation] = []

    def both(host: Host) -> Report:
        report = call(host)
        told.append(host.explain(person))
        return report

    report = with_host(config, both)
    if not as_json:
        _show(Console(), told[0], report)
    finish(report, as_json)


def _show(console: Console, found: Explanation, report: Report) -> None:
    console.print(Text(f"1. What we know: {len(found.events)} events count", style="bold"))
    show.explanation(console, found)
    console.print(Text("2. What each CRM holds, and what is decided", style="bold"))
    for name, sink in report.sinks.items():
        if sink.journey is not None:
            _journey(console, name, sink.journey)
    done = report.status != "planned"
    console.print(Text("3. What was written" if done else "3. What would be written", style="bold"))
    if not any(sink.changes for sink in report.sinks.values()):
        console.print("nothing")
    show.changes(console, report, limit=len(max((s.changes for s in report.sinks.values()), key=len, default=[])))


def _journey(console: Console, name: str, journey: Journey) -> None:
    console.print(Text(f"{name}: {journey.found}"))
    if not journey.fields:
        return
    table = Table()
    for column in ("field", "policy", "accepted from us", "there now", "changed there", "ours", "decided"):
        table.add_column(column, overflow="fold")
    for step in journey.fields:
        table.add_row(*map(Text, _row(step)))
    console.print(table)


def _row(step: FieldDecision) -> tuple[str, ...]:
    changed = f"{step.changed_by}, {step.changed_at[:16].replace('T', ' ')}" if step.changed_at else step.changed_by
    values = (show.value(step.accepted), show.value(step.theirs))
    return step.field, step.policy, *values, changed, show.value(step.ours), f"{step.verdict}: {step.why}"
