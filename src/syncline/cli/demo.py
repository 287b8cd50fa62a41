"""The demo: the ordinary path over simulated vendors, nothing special-cased but the vendors themselves."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from syncline.cli import show
from syncline.errors import ConfigError, did_you_mean
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.sdk import SimulatorOptions
from syncline.sync.report import Report

__all__ = ["following", "load", "print_summary", "run", "simulate"]

_SECRETS: Final = {"api_key", "client_secret", "access_token", "refresh_token", "private_key"}


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


def print_summary(console: Console, result: Report, following: str) -> None:
    show.report(console, result)
    console.print(_summary(result))
    console.print(Text(following), soft_wrap=True)


def following(host: Host, config: Path) -> str:
    """What to type next, as it works in this folder."""
    if host.another_world:
        return (
            f"This world has a store of its own, which only the demo looks at. To go on with it, write "
            f"`simulation: {{people: {host.people}, seed: {host.seed}}}` into {config} and run the demo once more"
        )
    program, where = _program(), "" if config == Path("connectors.yaml") else f" --config {shlex.quote(str(config))}"
    warmest = [max(host.scores(name), key=lambda known: known[1], default=None) for name in host.program.scores]
    address = next((shlex.quote(found[0]) for found in warmest if found), "ADDRESS")
    commands = ("plan", f"explain {address}", "conflicts")
    plan, explain, conflicts = (f"`{program} {command}{where}`" for command in commands)
    return f"Next: {plan} (nothing is left to write), {explain}, {conflicts}; see README.md"


def _program() -> str:
    """`syncline` if the shell finds this very program by that name; else its path, from the current folder if below."""
    running, found = Path(sys.argv[0]).absolute(), shutil.which("syncline")
    if not running.exists() or (found and Path(found).absolute() == running):
        return "syncline"
    here = Path.cwd()
    return shlex.quote(str(running.relative_to(here) if running.is_relative_to(here) else running))


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


def simulate(
    vendors: Sequence[str],
    *,
    people: int,
    seed: int,
    clock: datetime | None,
    folder: Path | None,
    faults: Path | None,
) -> None:
    """Run simulators until interrupted. Without a `clock` theirs begins at the real present, and goes on with it."""
    factories = Plugins.load().simulators()
    for vendor in vendors:
        if vendor not in factories:
            raise ConfigError(f"nothing simulates {vendor!r}; {did_you_mean(vendor, factories)}")
    injected = _injected(faults, factories) if faults else {}
    running = []
    began = datetime.now(UTC)
    for vendor in vendors or sorted(factories):
        options = SimulatorOptions(
            people=people,
            seed=seed,
            clock=(clock or began).isoformat(),
            folder=folder / vendor if folder else None,
            faults=injected.get(vendor, {}),
        )
        simulator = factories[vendor](options)
        simulator.start()
        running.append((vendor, simulator))
    _print_connections({vendor: simulator.settings for vendor, simulator in running})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    while not stop.wait(1):
        if clock is None:
            began = _advance([simulator for _, simulator in running], began)
    for _, simulator in running:
        simulator.stop()


def _injected(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Vendor → its faults; what each of them says is checked by the simulator."""
    try:
        found = YAML(typ="safe").load(path.read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(
            f"{path} cannot be read ({type(error).__name__}); give a YAML file: {{VENDOR: {{faults: […]}}}}"
        ) from error
    for vendor, entry in found.items() if isinstance(found, Mapping) else [("", None)]:
        if vendor not in known:
            raise ConfigError(f"{path}: nothing simulates {vendor!r}; {did_you_mean(str(vendor), known)}")
        if not isinstance(entry, Mapping) or set(entry) != {"faults"} or not isinstance(entry["faults"], list):
            raise ConfigError(f"{path}: {vendor} has one key, 'faults', with a list; docs/operating.md has the kinds")
    return dict(found)


def _advance(simulators: Sequence[Any], began: datetime) -> datetime:
    """Move the clocks that can be moved by the time since `began`; returns the present."""
    now = datetime.now(UTC)
    for simulator in simulators:
        if hasattr(simulator, "advance"):
            simulator.advance(now - began)
    return now


def _print_connections(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """What to paste: the secrets of the simulated accounts into the shell, the rest into connectors.yaml."""
    env: dict[str, str] = {}
    connections = {vendor: _without_secrets(vendor, dict(found), env) for vendor, found in settings.items()}
    for name, value in env.items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201  # the result
    YAML().dump({"connections": connections}, sys.stdout)
    sys.stdout.flush()


def _without_secrets(path: str, found: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    placed: dict[str, Any] = {}
    for key, value in found.items():
        if isinstance(value, Mapping):
            placed[key] = _without_secrets(path, dict(value), env)
        elif key in _SECRETS:
            name = f"{path}_{key}".upper().replace("-", "_")
            env[name] = str(value)
            placed[key] = f"${{{name}}}"
        else:
            placed[key] = value
    return placed
