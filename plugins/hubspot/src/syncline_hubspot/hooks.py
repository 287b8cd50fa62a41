"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncline.sdk import hookimpl
from syncline_hubspot.sink import HubspotSink

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Any]]:
    """The sink."""
    return [HubspotSink]


@hookimpl
def simulators() -> Mapping[str, Any]:
    """A simulated account; needs the extra `simulate`."""
    from syncline_hubspot.simulator import HubspotSimulator  # werkzeug is an optional library

    return {HubspotSink.kind: HubspotSimulator}
