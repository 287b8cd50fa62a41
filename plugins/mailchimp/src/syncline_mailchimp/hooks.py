"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncline.sdk import SimulatorOptions, Sink, Source, hookimpl
from syncline_mailchimp.connector import MailchimpConnector

if TYPE_CHECKING:
    from syncline_mailchimp.simulator import MailchimpSimulator

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Source[Any]] | type[Sink[Any]]]:
    return (MailchimpConnector,)


@hookimpl
def simulators() -> Mapping[str, Callable[[SimulatorOptions], MailchimpSimulator]]:
    return {"mailchimp": _simulator}


def _simulator(options: SimulatorOptions) -> MailchimpSimulator:
    from syncline_mailchimp.simulator import MailchimpSimulator  # needs the extra `simulate`

    return MailchimpSimulator(options)
