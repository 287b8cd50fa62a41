"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncline.sdk import SimulatorOptions, Sink, Source, hookimpl
from syncline_instapage.source import InstapageSource

if TYPE_CHECKING:
    from syncline_instapage.simulator import InstapageSimulator

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Source[Any]] | type[Sink[Any]]]:
    return (InstapageSource,)


@hookimpl
def simulators() -> Mapping[str, Callable[[SimulatorOptions], InstapageSimulator]]:
    return {"instapage": _simulator}


def _simulator(options: SimulatorOptions) -> InstapageSimulator:
    from syncline_instapage.simulator import InstapageSimulator  # needs the extra `simulate`

    return InstapageSimulator(options)
