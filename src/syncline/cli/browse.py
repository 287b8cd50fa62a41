"""Commands that show what waits: quarantine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from syncline.cli import show
from syncline.cli.common import DEFAULT, AsJson, ConfigPath
from syncline.host import Host
from syncline.sync.pull import quarantine as quarantined

__all__ = ["app"]

app = typer.Typer()


@app.command()
def quarantine(config: ConfigPath = DEFAULT, limit: int = 50, as_json: AsJson = False) -> None:
    """Raw records that could not become events, with the reason; kept, and replayed when the cause is mended."""
    with Host.load(config, only=()) as host:
        found = [
            (name, record) for name in host.config.connections for record in quarantined(host.database, name, limit)
        ]
    columns = ["connection", "stream", "key", "reason", "received"]
    data = [[name, r.stream, r.key, r.reason, r.received_at.isoformat()] for name, r in found]
    _print("Quarantine", columns, data, as_json, shown=show.blocks)


def _print(
    title: str, columns: list[str], data: list[list[Any]], as_json: bool, shown: Callable[..., None] = show.rows
) -> None:
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in data], indent=2))  # noqa: T201  # the result
    else:
        shown(Console(), f"{title}: {len(data)}", columns, data)
