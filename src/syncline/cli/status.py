"""`syncline status`: everything at a glance, and an exit code that says whether anybody is needed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncline.cli.common import DEFAULT, AsJson, ConfigPath, print_json
from syncline.host import Host
from syncline.host.status import ConnectionStatus, Status, SyncStatus

__all__ = ["app"]

app = typer.Typer()


@app.command()
def status(config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """How everything stands: last runs, what waits, what runs now, and whether anybody is needed (exit code 3 or 4)."""
    with Host.load(config, only=()) as host:
        found = host.status()
    if as_json:
        print_json({**found.model_dump(mode="json"), "exit_code": found.exit_code})
    else:
        _show(Console(), found)
    raise typer.Exit(found.exit_code)


def _show(console: Console, found: Status) -> None:
    console.print(_syncs(found))
    console.print(_connections(found))
    for running in found.running:
        until = _time(running.believed_until)
        console.print(Text(f"running now: {running.owner}, believed until {until}"), soft_wrap=True)
    for name, part in found.connections.items():
        for line in _notes(part):
            console.print(Text(f"{name}: {line}", style="yellow"), soft_wrap=True)
    for need in found.needs:
        console.print(Text(f"needed: {need.about}: {need.text}: `{need.command}`", style="red"), soft_wrap=True)
    if not found.needs:
        console.print("nobody is needed")


def _syncs(found: Status) -> Table:
    table = Table(title=f"Syncs, {_time(found.at)} UTC", title_justify="left")
    for column in ("sync", "to", "last run", "status", "last success", "next"):
        table.add_column(column, overflow="fold")
    for name, sync in found.syncs.items():
        table.add_row(*map(Text, (name, sync.to, *_last(sync), _time(sync.last_success), _time(sync.next))))
    return table


def _last(sync: SyncStatus) -> tuple[str, str]:
    return ("never", "") if sync.last is None else (_time(sync.last.started), sync.last.status)


def _connections(found: Status) -> Table:
    table = Table(title="Connections", title_justify="left")
    for column in ("connection", "last success", "waits", "used today"):
        table.add_column(column, overflow="fold")
    for name, part in found.connections.items():
        table.add_row(*map(Text, (name, _time(part.last_success), _waits(part), _today(part))))
    return table


def _waits(part: ConnectionStatus) -> str:
    waiting = {name.replace("_", " "): count for name, count in part.waits.model_dump().items() if count}
    return ", ".join(f"{count} {name}" for name, count in waiting.items()) or "nothing"


def _today(part: ConnectionStatus) -> str:
    if part.today is None:
        return ""
    spent = f", {part.today.credits} credits" if part.today.credits else ""
    budget = f" of {part.today.calls_per_day}" if part.today.calls_per_day else ""
    return f"{part.today.calls}{budget} calls, {part.today.write_calls} of them write{spent}"


def _notes(part: ConnectionStatus) -> Iterator[str]:
    if part.paused is not None:
        until = "until somebody resumes it" if part.paused.until is None else f"until {_time(part.paused.until)} UTC"
        yield f"not written to since {_time(part.paused.since)} UTC, {until}: {part.paused.reason}"
    if part.error is not None:
        yield f"last run: {part.error}"
    for line in part.parked:
        yield f"parked: {line}"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
