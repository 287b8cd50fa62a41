"""Connections that are simulated: their vendors run on loopback, inside this process, with durable state."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syncline.errors import ConfigError, did_you_mean
from syncline.host.plugins import Plugins
from syncline.sdk import Simulator, SimulatorOptions

__all__ = ["Simulation"]

_log = logging.getLogger("syncline.simulation")


class Simulation:
    """The running simulators of a configuration, by connection."""

    def __init__(self, plugins: Plugins, folder: Path, *, people: int, seed: int, clock: str) -> None:
        self._plugins = plugins
        self._folder = folder
        self._people = people
        self._seed = seed
        self._clock = clock
        self.running: dict[str, Simulator] = {}

    def start(self, connection: str, kind: str) -> Mapping[str, Any]:
        """Start the vendor behind `connection`; returns the settings that reach it."""
        factories = self._plugins.simulators()
        if kind not in factories:
            raise ConfigError(
                f"connections.{connection}: nothing simulates {kind!r}; {did_you_mean(kind, factories)}. "
                "Simulators need `pip install syncline[simulate]`"
            )
        options = SimulatorOptions(
            people=self._people, seed=self._seed, folder=self._folder / connection, clock=self._clock
        )
        simulator: Simulator = factories[kind](options)
        simulator.start()
        self.running[connection] = simulator
        _log.info("%s is simulated (%s)", connection, kind)
        return {key: value for key, value in simulator.settings.items() if key != "plugin"}

    def stop(self) -> None:
        for simulator in self.running.values():
            simulator.stop()
        self.running.clear()
