"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncline.sdk import SimulatorOptions, Sink, Source, hookimpl
from syncline_mailpoet.source import MailPoetSource

if TYPE_CHECKING:
    from syncline_mailpoet.simulator import MailPoetSimulator

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Source[Any]] | type[Sink[Any]]]:
    return (MailPoetSource,)


@hookimpl
def simulators() -> Mapping[str, Callable[[SimulatorOptions], MailPoetSimulator]]:
    return {"mailpoet": _simulator}


def _simulator(options: SimulatorOptions) -> MailPoetSimulator:
    from syncline_mailpoet.simulator import MailPoetSimulator  # only whoever simulates pays for it

    return MailPoetSimulator(options)
