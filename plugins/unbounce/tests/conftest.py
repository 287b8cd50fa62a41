"""A simulated Unbounce on loopback, a source connected to it, and a clock that only moves when told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import timedelta
from typing import Any

import pytest

from syncline.model import Event, RawRecord
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.population import EPOCH
from syncline_unbounce import UnbounceConfig, UnbounceSource
from syncline_unbounce.simulator import UnbounceSimulator


class Clock:
    """Our clock: the simulator's time, of which we may be `ahead`."""

    def __init__(self, simulator: UnbounceSimulator) -> None:
        self.simulator = simulator
        self.ahead = timedelta()

    def __call__(self) -> Any:
        return self.simulator.now() + self.ahead


@pytest.fixture
def simulate() -> Iterator[Callable[..., UnbounceSimulator]]:
    """Start a simulator: `simulate(people=60, switches=Switches(…), faults=[{…}])`."""
    running: list[UnbounceSimulator] = []

    def start(people: int = 200, faults: list[dict[str, Any]] | None = None, **more: Any) -> UnbounceSimulator:
        options = SimulatorOptions(people=people, seed=3, clock=EPOCH, faults={"faults": faults or []})
        simulator = UnbounceSimulator(options, **more)
        simulator.start()
        running.append(simulator)
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def simulator(simulate: Callable[..., UnbounceSimulator]) -> UnbounceSimulator:
    return simulate()


@pytest.fixture
def connect() -> Iterator[Callable[..., UnbounceSource]]:
    """A source for a simulator; further arguments are settings. Waits are not waited for."""
    made: list[UnbounceSource] = []

    def make(
        simulator: UnbounceSimulator,
        settings: Mapping[str, Any] | None = None,
        *,
        keep: MutableMapping[str, str] | None = None,
        clock: Callable[[], Any] | None = None,
        **more: Any,
    ) -> UnbounceSource:
        given = {**(settings or simulator.settings), **more}
        config = UnbounceConfig.model_validate({name: value for name, value in given.items() if name != "plugin"})
        kept = {} if keep is None else keep
        http = Http("landing", sleep=lambda _: None)
        made.append(UnbounceSource(config, Context("landing", http, clock or Clock(simulator), kept)))
        return made[-1]

    yield make
    for source in made:
        source.context.http.close()


@pytest.fixture
def pull() -> Callable[..., tuple[list[RawRecord], str | None]]:
    """Read the stream to its end: its records, and the last cursor."""

    def read(source: UnbounceSource, cursor: str | None = None) -> tuple[list[RawRecord], str | None]:
        records: list[RawRecord] = []
        for page in source.read("leads", cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    return read


@pytest.fixture
def events_of() -> Callable[..., list[Event]]:
    def normalize(source: UnbounceSource, records: list[RawRecord]) -> list[Event]:
        return [event for raw in records for event in source.normalize(raw)]

    return normalize
