"""`syncline alerts`: whether somebody can be told, tried out; and what is known to be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from syncline.cli import show
from syncline.cli.common import DEFAULT, AsJson, ConfigPath, print_json
from syncline.errors import ConfigError
from syncline.host import Host
from syncline.host.alerts import WORDS
from syncline.model import from_microseconds
from syncline.store import alerts as stored

__all__ = ["app"]

app = typer.Typer(invoke_without_command=True, help="Troubles that are not over; `test` tries out who is told.")


@app.callback()
def alerts(context: typer.Context, config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """Troubles that have begun and are not over, and whether anybody was told."""
    context.obj = config
    if context.invoked_subcommand is None:
        _list(config, as_json)


def _list(config: Path, as_json: bool) -> None:
    with Host.load(config, only=()) as host, host.database.read() as connection:
        known = stored.known(connection)
    columns = ["kind", "about", "since", "last", "times", "told", "what it is"]
    data = [
        [k.trouble.kind, k.trouble.subject, _time(k.first_us), _time(k.last_us), k.times, _time(k.told_us), _words(k)]
        for k in known
    ]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in data])
    else:
        show.blocks(Console(), f"Troubles: {len(data)}", columns, data)


@app.command(name="test")
def trial(
    context: typer.Context,
    given: Annotated[Path | None, typer.Option("--config", "-c", help="the connectors.yaml to use")] = None,
) -> None:
    """Send a trial message to everyone under `alerts: {to: …}`."""
    config: Path = given or context.obj
    with Host.load(config, only=()) as host:
        notify = host.notify
        if notify is None:
            raise ConfigError(f"{config}: nobody is to be told; write `alerts: {{to: ['${{APPRISE_URL}}']}}`")
        told = notify(
            "syncline: a trial", "This is how syncline tells of trouble: once when it begins, once when it is over."
        )
    if not told:
        raise ConfigError("nobody has taken the message; the log says which addresses have not")
    print("sent")  # noqa: T201  # the result


def _words(item: stored.Known) -> str:
    words = WORDS.get(item.trouble.kind)
    return words.begins if words else ""


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else f"{from_microseconds(at_us):%Y-%m-%d %H:%M:%S}"
