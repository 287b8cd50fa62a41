"""R9: everything that may go wrong with a source, at every place it is read from, in a read from the very beginning.

The CRM holds scores, bands, memberships and tasks that come from the source. The clock stands still, so any write at
all would come from what the source does not say. What fails says so in the report; what merely looks empty, or smaller
than before, is no proof that anything has ended: what people did stays done.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

from sqlalchemy import delete

from reliability.broken import Break, breaks, listening
from reliability.lines import Case, Line
from reliability.world import Time
from syncline.config import load_all
from syncline.host import Host
from syncline.host import host as host_module
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds, rooms
from syncline.sdk import Http, SimulatorOptions
from syncline.store import schema
from syncline.sync.report import Report
from syncline.sync.retry import retrying
from syncline.testing.memory import MemoryWorld, memory_plugin
from syncline.testing.population import EPOCH, simulated_now

NAME: Final = "R9"
PROMISE: Final = "a failing or truncated source never clears or removes anything"
SINKS: Final = ("mailchimp", "mailpoet", "unbounce", "instapage", "files")
SMALL: Final = {"people": 25, "breaks": 4}
FULL: Final = {"people": 200, "breaks": 10_000}
"""`breaks`: at most so many of all there are at a source."""

_SECRETS: Final = {"api_key", "client_secret", "refresh_token", "token", "webhook_secret", "webhook_url_secret"}
_MODEL: Final = {
    "model": "doings",
    "version": 1,
    "signals": {"doings": {"count": "any"}},
    "score": [{"name": "doings", "add": "doings"}],
    "bands": [{"name": "hot", "at_least": 1}],
}


def run(case: Case) -> Iterator[Line]:
    chance = random.Random(case.seed)
    with _open(case) as world:
        with listening(world.simulator) as places:
            world.run()
        world.run()
        held = world.holdings()
        known = list(breaks(case.sink, world.simulator, places))
        chosen = chance.sample(known, min(case.size["breaks"], len(known)))
        trouble = [] if any(member for *_, member in held.values()) else ["nobody is hot, so nothing could be lost"]
        for found in chosen:
            trouble += _trial(world, found, held)
    figures = {
        "breaks": len(chosen),
        "of all": len(known),
        "people": len(held),
        "clears": sum("lost" in text for text in trouble),
        "write calls": sum(" write calls" in text for text in trouble),
    }
    yield case.line(NAME, figures, trouble)


def _trial(world: _World, found: Break, held: Mapping[str, Any]) -> list[str]:
    """One break while everything is read again, and the run after it was put right."""
    where = f"{found.place}, {found.kind}"
    trouble = []
    undo = found.make()
    try:
        first = world.run()
        trouble += _unharmed(world, first, f"{where}, from where we were", held)
        world.forget_position()
        again = world.run()
        trouble += _unharmed(world, again, where, held)
        if not found.quiet and found.struck() and not (_said(first) or _said(again)):
            trouble.append(f"{where}: the run does not say what failed")
    finally:
        undo()
    world.forget_position()
    report = world.run()
    trouble += _unharmed(world, report, f"{where}, put right", held)
    if report.sources["source"].error is not None:
        trouble.append(f"{where}, put right: {report.sources['source'].error}")
    return trouble


def _said(report: Report) -> bool:
    source = report.sources["source"]
    return source.error is not None or source.quarantined > 0


def _unharmed(world: _World, report: Report, where: str, held: Mapping[str, Any]) -> list[str]:
    trouble = []
    crm = report.sinks["crm"]
    if crm.changes:
        trouble.append(f"{where}: {len(crm.changes)} write calls: {crm.changes[0]}")
    now = world.holdings()
    lost = [person for person in held if held[person] != now.get(person)]
    if lost:
        trouble.append(f"{where}: {len(lost)} people lost something: {held[lost[0]]} became {now.get(lost[0])}")
    return trouble


@dataclass(slots=True)
class _World:
    """One source in its simulator, one CRM in memory, and a store."""

    folder: Path
    simulator: Any
    crm: MemoryWorld
    config: Path
    env: dict[str, str]

    @contextlib.contextmanager
    def host(self) -> Iterator[Host]:
        time = Time()
        plugins = Plugins.load({json.loads(self.config.read_text("utf-8"))["connections"]["source"]["plugin"]})
        plugins.register(memory_plugin(self.crm), name="memory")
        http = partial(Http, sleep=time.sleep, monotonic=time)
        retry = retrying(attempts=2, sleep=time.sleep, chance=random.Random(1))
        loaded = load_all(self.config, env=self.env, kinds=kinds(plugins), rooms=rooms())
        with (
            mock.patch.object(host_module, "Http", http),
            Host(loaded, plugins, folder=self.folder, clock=simulated_now, retry=retry) as host,
        ):
            yield host

    def run(self) -> Report:
        with self.host() as host:
            return host.run()

    def forget_position(self) -> None:
        """The next run reads the source from the beginning, as after a cursor that the vendor has forgotten."""
        with self.host() as host, host.database.write() as connection:
            connection.execute(delete(schema.cursor).where(schema.cursor.c.connection == "source"))

    def holdings(self) -> dict[str, tuple[Any, ...]]:
        """Address → what the CRM holds of them, and whether they are in the list."""
        found = {}
        tasks = [task.about for task in self.crm.tasks.values()]
        for ref in self.crm.refs("Lead"):
            held = self.crm.get(ref)
            fields = tuple(str(held[name]) for name in ("Score", "Band", "Hot", "LastName", "FirstName"))
            found[str(held["Email"])] = (*fields, tasks.count(ref), ref in self.crm.segments["Hot leads"])
        return found


@contextlib.contextmanager
def _open(case: Case) -> Iterator[_World]:
    case.folder.mkdir(parents=True, exist_ok=True)
    options = SimulatorOptions(people=case.size["people"], seed=case.seed, clock=EPOCH)
    simulator: Any = Plugins.load({case.sink}).simulators()[case.sink](options)
    for limit in ("per_minute", "per_day"):
        if hasattr(simulator, limit):
            setattr(simulator, limit, 10**9)
    simulator.start()
    try:
        with case.stores.fresh(case.folder) as store:
            env = {"STORE": store}
            config = case.folder / "connectors.yaml"
            config.write_text(json.dumps(_configuration(_secrets_outside(simulator.settings, env))), "utf-8")
            crm = MemoryWorld(segments=["Hot leads"], clock=simulated_now)
            yield _World(case.folder, simulator, crm, config, env)
    finally:
        simulator.stop()


def _secrets_outside(settings: Mapping[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """The settings, with their secrets in `env`: a configuration file may not hold them."""
    told: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            told[name] = _secrets_outside(value, env)
        elif name in _SECRETS:
            env[name.upper()], told[name] = value, f"${{{name.upper()}}}"
        else:
            told[name] = value
    return told


def _configuration(source: Mapping[str, Any]) -> dict[str, Any]:
    shared = {"owner": "shared", "policy": "only_if_empty"}
    return {
        "version": 1,
        "store": "${STORE}",
        "connections": {"source": dict(source), "crm": {"plugin": "memory-sink"}},
        "scores": {"doings": {"model": _MODEL}},
        "segments": {"hot": {"all": [{"score": "doings", "at_least": 1}]}},
        "actions": [
            {"name": "call", "when": {"enters": "hot"}, "task": {"to": "crm", "subject": "Call", "body": "them"}}
        ],
        "syncs": [
            {
                "name": "people",
                "to": "crm",
                "object": "Lead",
                "match": "Key",
                "when_missing": "create",
                "first_run": "whole",
                "guard": dict.fromkeys(("creates", "clears", "tasks", "removes", "overwrites")),
                "fields": {
                    "Score": {"from": "score.doings", "owner": "ours"},
                    "Band": {"from": "score.doings.band", "owner": "ours"},
                    "Hot": {"from": "segment.hot", "owner": "ours"},
                    "Email": {"from": "person.email", **shared},
                    "FirstName": {"from": "person.first_name", "owner": "ours"},
                    "LastName": {"from": "person.last_name", "owner": "ours"},
                },
                "segments": {"hot": "Hot leads"},
            }
        ],
    }
