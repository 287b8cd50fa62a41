"""`syncline runs`: which runs there were, and one of them whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncline.cli import show
from syncline.cli.common import DEFAULT, AsJson, ConfigPath, print_json
from syncline.host import Host
from syncline.host.recount import LATEST, Recount, Row, Sum
from syncline.model import from_microseconds
from syncline.store import runs as stored

__all__ = ["app"]

_SHOWN: Final = 20

app = typer.Typer(invoke_without_command=True, help="The latest runs; `show` tells one of them row by row.")


@app.callback()
def runs(
    context: typer.Context,
    config: ConfigPath = DEFAULT,
    limit: Annotated[int, typer.Option(min=1, help="how many")] = 20,
    as_json: AsJson = False,
) -> None:
    """The latest runs, newest first."""
    context.obj = config
    if context.invoked_subcommand is None:
        _list(config, limit, as_json)


def _list(config: Path, limit: int, as_json: bool) -> None:
    with Host.load(config, only=()) as host, host.database.read() as connection:
        found = stored.runs(connection, limit)
    columns = ["run", "status", "started", "finished", "as of", "only"]
    times = ("started_us", "finished_us", "as_of_us")
    data = [[run["id"], run["status"], *(_time(run[name]) for name in times), _only(run)] for run in found]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in data])
    else:
        show.rows(Console(), f"Runs: {len(data)}", columns, data)


def _only(run: dict[str, Any]) -> str | None:
    """What the run was limited to, if it was."""
    undone = f"undo of {run['undoes']}" if run["undoes"] else None
    return ", ".join(filter(None, (run["sync"], run["person"], undone))) or None


@app.command(name="show")
def show_run(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="ID", help="a run's id, or `latest`")] = LATEST,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="the connectors.yaml to use")] = None,
    connection: Annotated[str | None, typer.Option(help="only rows of this CRM")] = None,
    outcome: Annotated[str | None, typer.Option(help="only rows with this outcome, such as rejected")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="how many rows to show; 20 without it, all in JSON")] = None,
    as_json: AsJson = False,
) -> None:
    """One run: its report, the numbers that must add up, and what became of each row."""
    with Host.load(config or context.obj, only=()) as host:
        most = _SHOWN if limit is None and not as_json else limit
        found = host.recount(run_id, connection=connection, outcome=outcome, limit=most)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _show(Console(), found)


def _show(console: Console, found: Recount) -> None:
    for line in _head(found):
        console.print(Text(line), soft_wrap=True)
    for name, operations in found.outcomes.items():
        console.print(_outcomes(name, operations))
    for item in found.adds_up:
        console.print(_sum(item), soft_wrap=True)
    for name, part in _parts(found):
        for line in filter(None, (part.get("error"), part.get("paused"), *part.get("parked", ()))):
            console.print(Text(f"{name}: {line}", style="red"), soft_wrap=True)
    for row in found.rows:
        _row(console, row)
    if found.found > len(found.rows):
        more = found.found - len(found.rows)
        console.print(f"… and {more:,} more rows; --limit, --connection and --outcome choose, --json has all")


def _head(found: Recount) -> list[str]:
    limits = [f"only {found.sync}" if found.sync else "", f"for {found.person}" if found.person else ""]
    undo = f"takes back {found.undoes}" if found.undoes else ""
    about = "; ".join(filter(None, [*limits, undo]))
    finished = f"{found.finished:%Y-%m-%d %H:%M:%S}" if found.finished else "not finished"
    return [
        f"run {found.run_id}: {found.status}{f' ({about})' if about else ''}",
        f"{found.started:%Y-%m-%d %H:%M:%S} to {finished} UTC, scores as of {found.as_of:%Y-%m-%d %H:%M:%S}",
    ]


def _outcomes(name: str, operations: dict[str, dict[str, int]]) -> Table:
    outcomes = list(dict.fromkeys(outcome for counts in operations.values() for outcome in counts))
    table = Table(title=f"Rows of {name}", title_justify="left")
    table.add_column("")
    for outcome in outcomes:
        table.add_column(outcome, justify="right")
    for operation, counts in operations.items():
        table.add_row(operation, *(f"{counts.get(outcome, 0):,}" for outcome in outcomes))
    return table


def _sum(item: Sum) -> Text:
    parts = " + ".join(f"{count:,} {name}" for name, count in item.parts.items() if count) or "0"
    if item.holds:
        return Text(f"{item.about}: {item.total:,} {item.what} = {parts}")
    away = sum(item.parts.values()) - item.total
    return Text(f"{item.about}: {item.total:,} {item.what} ≠ {parts}: does not add up, by {away:+,}", style="red")


def _parts(found: Recount) -> list[tuple[str, dict[str, Any]]]:
    report = found.report or {}
    return [*report.get("sources", {}).items(), *report.get("sinks", {}).items()]


def _row(console: Console, row: Row) -> None:
    where = f"{row.connection} {row.object} {row.id or ''}".strip()
    reason = f": {row.reason}" if row.reason else ""
    text = f"{row.operation:<7} {where}  person {row.person}  {row.status}{reason}"
    console.print(Text(text, style="bold"), soft_wrap=True)
    for field, (before, after) in row.fields.items():
        console.print(Text(f"          {field}: {_value(before)} → {_value(after)}"), soft_wrap=True)
    if row.subject:
        console.print(Text(f"          {row.subject}"), soft_wrap=True)


def _value(value: object) -> str:
    return "(empty)" if value is None else str(value)


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else f"{from_microseconds(at_us):%Y-%m-%d %H:%M:%S}"
