"""The hooks a plugin package may implement, found through the entry point group `syncline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pluggy

from syncline.sdk.connector import Sink, Source

__all__ = ["Simulator", "SimulatorOptions", "connectors", "hookimpl", "hookspec", "simulators"]

hookspec = pluggy.HookspecMarker("syncline")
hookimpl = pluggy.HookimplMarker("syncline")


class SimulatorOptions:
    """How to start a simulator. `folder` None keeps everything in memory; `clock` is the simulated time, ISO 8601."""

    def __init__(
        self,
        *,
        people: int = 1000,
        seed: int = 1,
        port: int = 0,
        folder: Path | None = None,
        clock: str | None = None,
        faults: Mapping[str, Any] | None = None,
    ) -> None:
        self.people = people
        self.seed = seed
        self.port = port
        self.folder = folder
        self.clock = clock
        self.faults = dict(faults or {})


class Simulator(Protocol):
    """A vendor, simulated on loopback."""

    name: str

    def start(self) -> None:
        """Listen. Afterwards `settings` are those that connect to it."""

    def stop(self) -> None:
        """Finish open requests, save the state, close the port."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The connection's settings for connectors.yaml, secrets of the simulated account included."""

    def counters(self) -> Mapping[str, int]:
        """Calls the vendor counted so far: `calls`, `write_calls`, and more of its own."""


@hookspec
def connectors() -> Sequence[type[Source[Any]] | type[Sink[Any]]]:  # type: ignore[empty-body]  # a hook has no body
    """The connectors this package provides."""


@hookspec
def simulators() -> Mapping[str, Any]:  # type: ignore[empty-body]  # a hook has no body
    """Connector kind → a function from SimulatorOptions to a Simulator."""
