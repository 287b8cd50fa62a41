"""What commands share: their options, opening a host, printing a result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from syncline.cli import logs, progress, show
from syncline.host import Host
from syncline.host.stopping import end_at_once, signals
from syncline.sync.report import Report

__all__ = ["DEFAULT", "AsJson", "AsOf", "ConfigPath", "finish", "print_json", "utc", "with_host"]

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="the connectors.yaml to use")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]
AsOf = Annotated[datetime | None, typer.Option("--as-of", help="score as of this time (UTC), instead of now")]
DEFAULT: Final = Path("connectors.yaml")


def with_host(config: Path, call: Callable[[Host], Report], only: Sequence[str] | None = None) -> Report:
    """Open the host and call, with progress shown. SIGTERM and SIGINT end it after the batch under way."""
    with Host.load(config, only=only) as host, progress.choose() as shown, signals(lambda: _ask(host), end_at_once):
        host.progress = shown
        return call(host)


def _ask(host: Host) -> None:
    host.stop.ask()
    if logs.bars_suit():  # by the system call: a signal may come in the middle of a print
        os.write(2, b"\nstopping after the batch under way; once more ends it at once\n")


def finish(result: Report, as_json: bool) -> None:
    """Print the report and exit with its code."""
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show.report(Console(), result)
    raise typer.Exit(result.exit_code)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201  # the result


def utc(moment: datetime | None) -> datetime | None:
    """A time typed without a zone is UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
