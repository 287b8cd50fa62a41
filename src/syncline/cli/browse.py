"""Commands that show what happened: runs, conflicts, dead letters, quarantine."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from syncline.cli import show
from syncline.host import Host
from syncline.model import from_microseconds
from syncline.store import crm
from syncline.store import runs as stored
from syncline.store.profiles import profiles
from syncline.sync.pull import quarantine as quarantined

__all__ = ["app"]

app = typer.Typer()
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="the connectors.yaml to use")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]
DEFAULT: Final = Path("connectors.yaml")


@app.command()
def runs(config: ConfigPath = DEFAULT, limit: int = 20, as_json: AsJson = False) -> None:
    """The latest runs, newest first."""
    with Host.load(config, only=()) as host, host.database.read() as connection:
        found = stored.runs(connection, limit)
    columns = ["run", "status", "started", "finished", "as of"]
    data = [
        [r["id"], r["status"], _time(r["started_us"]), _time(r["finished_us"]), _time(r["as_of_us"])] for r in found
    ]
    _print("Runs", columns, data, as_json)


@app.command()
def conflicts(config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """What waits for a decision: people with several candidates in a CRM, and fields both sides changed (`ask`)."""
    data: list[list[Any]] = []
    with Host.load(config, only=()) as host, host.database.read() as connection:
        for name in host.config.connections:
            found = crm.conflicts(connection, name)
            known = profiles(connection, [conflict.person_id for conflict in found])
            for conflict in found:
                person = known.get(conflict.person_id)
                candidates = " ".join(f"{ref.object}/{ref.id}" for ref in conflict.candidates)
                emails, key = (", ".join(person.emails), person.key) if person else ("", "")
                data.append([name, emails, key, conflict.reason, candidates])
        data += _fields_to_decide(stored.runs(connection))
    columns = ["connection", "person", "our key", "reason", "candidates"]
    _print("Conflicts", columns, data, as_json, shown=show.blocks)


def _fields_to_decide(latest: list[dict[str, Any]]) -> list[list[Any]]:
    """As the last run left them."""
    report: dict[str, Any] = next((json.loads(run["report"]) for run in latest if run["report"]), {"sinks": {}})
    return [
        [name, "", item["person"], _both(item), f"{item['object']}/{item['id']}"]
        for name, sink in report["sinks"].items()
        for item in sink.get("to_decide", ())
    ]


def _both(item: dict[str, Any]) -> str:
    return f"both sides changed {item['field']}: there {item['theirs']!r}, here {item['ours']!r}"


@app.command(name="dead-letters")
def dead_letters(config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """Writes a CRM refused, with its reason. Each is tried again, with fresh values, on every run."""
    with Host.load(config, only=()) as host, host.database.read() as connection:
        found = list(stored.dead_letters(connection))
    columns = ["connection", "operation", "object", "person or task", "reason", "attempts", "since"]
    data = [
        [d.connection, d.operation, d.object, d.key, d.reason or d.code, d.attempts, _time(d.first_us)] for d in found
    ]
    _print("Dead letters", columns, data, as_json, shown=show.blocks)


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


def _time(value: int | None) -> str | None:
    return None if value is None else _short(from_microseconds(value))


def _short(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _print(
    title: str, columns: list[str], data: list[list[Any]], as_json: bool, shown: Callable[..., None] = show.rows
) -> None:
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in data], indent=2))  # noqa: T201  # the result
    else:
        shown(Console(), f"{title}: {len(data)}", columns, data)
