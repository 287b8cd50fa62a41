"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncline.sdk import SimulatorOptions, Sink, Source, hookimpl
from syncline_mailchimp.source import MailchimpSource

if TYPE_CHECKING:
    from syncline_mailchimp.simulator import MailchimpSimulator

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Source[Any]] | type[Sink[Any]]]:
    return (MailchimpSource,)


@hookimpl
def simulators() -> Mapping[str, Callable[[SimulatorOptions], MailchimpSimulator]]:
    return {"mailchimp": _simulator}


def _simulator(options: SimulatorOptions) -> MailchimpSimulator:
    from syncline_mailchimp.simulator import MailchimpSimulator  # needs the extra `simulate`

    return MailchimpSimulator(options)
