"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncline.sdk import SimulatorOptions, Sink, Source, hookimpl
from syncline_unbounce.source import UnbounceSource

if TYPE_CHECKING:
    from syncline_unbounce.simulator import UnbounceSimulator

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Source[Any]] | type[Sink[Any]]]:
    return (UnbounceSource,)


@hookimpl
def simulators() -> Mapping[str, Callable[[SimulatorOptions], UnbounceSimulator]]:
    return {"unbounce": _simulator}


def _simulator(options: SimulatorOptions) -> UnbounceSimulator:
    from syncline_unbounce.simulator import UnbounceSimulator  # needs the extra `simulate`

    return UnbounceSimulator(options)
