"""The demo: the ordinary path over simulated vendors, nothing special-cased but the vendors themselves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

from syncline.cli import show
from syncline.errors import ConfigError, did_you_mean
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.sdk import SimulatorOptions
from syncline.sync.report import Report

__all__ = ["load", "print_summary", "run", "simulate"]


def load(config: Path, people: int | None, seed: int | None) -> Host:
    """The host, every connection of which must be simulated: the demo never touches a real account."""
    host = Host.load(config, people=people, seed=seed)
    real = [name for name, connection in host.config.connections.items() if not connection.simulated]
    if real:
        raise ConfigError(
            f"{config}: the demo writes only to simulated vendors, and {', '.join(real)} is real; "
            "add `simulated: true` there, or use `syncline plan` and `syncline run`"
        )
    return host


def run(host: Host) -> Report:
    """Prepare every CRM, then one run."""
    for name in host.sinks():
        host.prepare(name)
    return host.run()


def print_summary(console: Console, result: Report) -> None:
    show.report(console, result)
    console.print(_summary(result))
    console.print(
        Text("Next: `syncline plan` (nothing is left), `syncline explain ADDRESS`, `syncline conflicts`; see README.md")
    )


def _summary(result: Report) -> Table:
    sinks = result.sinks.values()
    table = Table(title="Demo", title_justify="left", show_header=False)
    table.add_row("people", f"{result.people:,}")
    table.add_row("events", f"{result.events:,}")
    for name, score in result.scores.items():
        bands = ", ".join(f"{band} {people:,}" for band, people in score.bands.items() if band != "-")
        table.add_row(f"{name} by band", f"{bands}, below {score.bands['-']:,}")
    table.add_row("tasks", f"{sum(sink.tasks for sink in sinks):,}")
    table.add_row("CRM writes", f"{sum(sink.created + sink.updated + sink.tasks + sink.members for sink in sinks):,}")
    table.add_row("calls made", f"{sum(sink.write_calls for sink in sinks):,}")
    table.add_row("calls at least needed", f"{sum(sink.least_write_calls for sink in sinks):,}")
    return table


def simulate(vendors: Sequence[str], *, people: int, seed: int, folder: Path | None, faults: Path | None) -> None:
    """Run simulators until interrupted."""
    factories = Plugins.load().simulators()
    for vendor in vendors:
        if vendor not in factories:
            raise ConfigError(f"nothing simulates {vendor!r}; {did_you_mean(vendor, factories)}")
    injected: dict[str, Any] = YAML(typ="safe").load(faults.read_text("utf-8")) if faults else {}
    running = []
    for vendor in vendors or sorted(factories):
        options = SimulatorOptions(
            people=people, seed=seed, folder=folder / vendor if folder else None, faults=injected.get(vendor, {})
        )
        simulator = factories[vendor](options)
        simulator.start()
        running.append((vendor, simulator))
    print("connections:")  # noqa: T201  # the result
    for vendor, simulator in running:
        print(f"  {vendor}: {dict(simulator.settings)}", flush=True)  # noqa: T201  # the result
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    stop.wait()
    for _, simulator in running:
        simulator.stop()
