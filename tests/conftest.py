"""Worlds for tests: a connectors.yaml in a folder of its own, its vendors simulated inside the process."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.sdk import SimulatorOptions
from syncline.sync.retry import retrying
from syncline.testing.population import EPOCH

EMBEDDED = Path(__file__).parents[1] / "connectors.yaml"
ONE_CRM = Path(__file__).parent / "one_crm.yaml"


@dataclass
class World:
    """A configured folder. `host()` opens it anew, as a new process would; its vendors keep what they hold."""

    folder: Path
    stack: ExitStack

    @property
    def config(self) -> Path:
        return self.folder / "connectors.yaml"

    def host(self, **options: Any) -> Host:
        options.setdefault("retry", retrying(attempts=3, sleep=lambda _: None))
        return self.stack.enter_context(Host.load(self.config, env={}, **options))

    def edit(self, *pairs: tuple[str, str]) -> None:
        """Replace text in connectors.yaml; every piece must be there."""
        text = self.config.read_text("utf-8")
        for old, new in pairs:
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text, "utf-8")


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """A factory: a world of one CRM (or the `whole` embedded default) for so many people, with text replaced."""
    with ExitStack() as stack:

        def make(*pairs: tuple[str, str], people: int = 120, name: str = "world", whole: bool = False) -> World:
            folder = tmp_path / name
            folder.mkdir()
            config = EMBEDDED if whole else ONE_CRM
            (folder / "connectors.yaml").write_text(config.read_text("utf-8"), "utf-8")
            world = World(folder, stack)
            world.edit(("people: 1000", f"people: {people}"), *pairs)
            return world

        yield make


@pytest.fixture(autouse=True)
def _log_as_others_expect_it() -> Iterator[None]:
    """A command that a test has called in this process has set the log up; the next test has it as it was."""
    yield
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    logging.getLogger("syncline").setLevel(logging.NOTSET)
    for handler in [found for found in root.handlers if type(found).__module__ == "syncline.cli.logs"]:
        root.removeHandler(handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=4, help="how many random kills the crash scenarios make")
    parser.addoption("--seed", type=int, default=20260601, help="the seed of random scenarios; printed on failure")


SECRET_KEYS = {"api_key", "client_secret", "access_token", "refresh_token"}


@dataclass
class Vendors:
    """Simulated vendors that outlive the processes which talk to them, and the folder those processes work in."""

    folder: Path
    running: dict[str, Any]
    env: dict[str, str]

    @property
    def crm(self) -> Any:
        return self.running["crm"]

    def stop(self) -> None:
        for simulator in self.running.values():
            simulator.stop()


def start_vendors(folder: Path, *, people: int, seed: int = 1, clock: str = EPOCH) -> Vendors:
    """Start the vendors of the world with one CRM, and write a connectors.yaml in `folder` that reaches them."""
    factories = Plugins.load().simulators()
    text = ONE_CRM.read_text("utf-8")
    vendors = Vendors(folder, {}, {})
    for name, kind in (("newsletter", "mailchimp"), ("website", "files"), ("crm", "salesforce")):
        options = SimulatorOptions(people=people, seed=seed, folder=folder / "vendors" / name, clock=clock)
        simulator = factories[kind](options)
        simulator.start()
        vendors.running[name] = simulator
        settings = _with_secrets_outside(dict(simulator.settings), vendors.env)
        text = text.replace(f"{name}: {{plugin: {kind}, simulated: true}}", f"{name}: {json.dumps(settings)}")
    assert "simulated: true" not in text
    (folder / "connectors.yaml").write_text(text, "utf-8")
    return vendors


def _with_secrets_outside(settings: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    found = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found[key] = _with_secrets_outside(value, env)
        elif key in SECRET_KEYS:
            env[key.upper()] = value
            found[key] = f"${{{key.upper()}}}"
        else:
            found[key] = value
    return found


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[Callable[..., Vendors]]:
    """A factory of `start_vendors` in folders of their own."""
    started: list[Vendors] = []

    def make(name: str, **options: Any) -> Vendors:
        folder = tmp_path / name
        folder.mkdir()
        started.append(start_vendors(folder, **options))
        return started[-1]

    yield make
    for found in started:
        found.stop()
