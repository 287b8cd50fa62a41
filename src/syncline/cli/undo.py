"""`syncline undo`, `pause` and `resume`: taking a run back, and when a CRM is written to."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from syncline.cli import show
from syncline.cli.common import DEFAULT, AsJson, ConfigPath, finish, with_host
from syncline.host import Host

__all__ = ["app"]

app = typer.Typer()


@app.command()
def undo(
    run: Annotated[str, typer.Argument(metavar="RUN", help="the run's id, as `syncline runs` shows it")],
    config: ConfigPath = DEFAULT,
    plan: Annotated[bool, typer.Option("--plan", help="only show what would be restored, and what would not")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a run back: its values where they are still as it wrote them, its tasks, its memberships.

    What somebody has changed since stays. The CRMs it restores are paused: `syncline resume` lets the next run write.
    """
    result = with_host(config, lambda host: host.undo(run, plan=plan))
    if not as_json:
        show.changes(Console(), result, limit=sys.maxsize if plan else 20)
    finish(result, as_json)


@app.command()
def pause(
    connection: Annotated[str, typer.Argument(help="the CRM's connection")],
    config: ConfigPath = DEFAULT,
    reason: Annotated[str, typer.Option(help="why; every run says it")] = "somebody asked for it",
) -> None:
    """Write nothing to a CRM until `syncline resume`. It is still read, and `syncline plan` shows what waits."""
    with Host.load(config, only=()) as host:
        host.pause(connection, reason)
    print(f"{connection} is paused; `syncline resume {connection}` ends it")  # noqa: T201  # the result


@app.command()
def resume(
    connection: Annotated[str, typer.Argument(help="the CRM's connection")], config: ConfigPath = DEFAULT
) -> None:
    """Let the next run write to a paused CRM again."""
    with Host.load(config, only=()) as host:
        was = host.resume(connection)
    print(  # noqa: T201  # the result
        f"{connection}: the next run writes again" if was else f"{connection} was not paused; nothing to do"
    )
