"""A simulated Instapage on loopback, a source connected to it, and a clock that only moves when told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from syncline.model import RawRecord
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.population import EPOCH
from syncline_instapage import InstapageConfig, InstapageSource
from syncline_instapage.simulator import InstapageSimulator


class Stopwatch:
    """Monotonic time that passes only by waiting: nothing really waits."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def simulate(stopwatch: Stopwatch) -> Iterator[Callable[..., InstapageSimulator]]:
    """Start a simulator: `simulate(people=60, switches=Switches(…), faults=[{…}])`."""
    running: list[InstapageSimulator] = []

    def start(people: int = 120, faults: list[dict[str, Any]] | None = None, **more: Any) -> InstapageSimulator:
        options = SimulatorOptions(people=people, seed=3, clock=EPOCH, faults={"faults": faults or []})
        simulator = InstapageSimulator(options, stopwatch=stopwatch, **more)
        simulator.start()
        running.append(simulator)
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def simulator(simulate: Callable[..., InstapageSimulator]) -> InstapageSimulator:
    return simulate()


@pytest.fixture
def connect(stopwatch: Stopwatch) -> Callable[..., InstapageSource]:
    """A source for a simulator; further arguments are settings. `ahead` is by how much our clock is wrong."""

    def make(
        simulator: InstapageSimulator,
        *,
        ahead: timedelta = timedelta(),
        keep: dict[str, str] | None = None,
        **more: Any,
    ) -> InstapageSource:
        given = {**simulator.settings, "calls_per_minute": 100_000, **more}
        config = InstapageConfig.model_validate({k: v for k, v in given.items() if k != "plugin"})
        http = Http("leads", sleep=stopwatch.sleep, monotonic=stopwatch)
        kept = {} if keep is None else keep
        return InstapageSource(config, Context("leads", http, lambda: simulator.now() + ahead, kept))

    return make


@pytest.fixture
def pull() -> Callable[..., tuple[list[RawRecord], str | None]]:
    """Read to the end: the records, and the last cursor."""

    def read(source: InstapageSource, cursor: str | None = None) -> tuple[list[RawRecord], str | None]:
        records: list[RawRecord] = []
        for page in source.read("submissions", cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    return read
