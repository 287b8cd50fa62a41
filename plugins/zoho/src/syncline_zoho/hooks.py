"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncline.sdk import hookimpl
from syncline_zoho.sink import ZohoSink

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Any]]:
    """The sink."""
    return [ZohoSink]


@hookimpl
def simulators() -> Mapping[str, Any]:
    """A simulated account; needs the extra `simulate`."""
    from syncline_zoho.simulator import ZohoSimulator  # werkzeug is an optional library

    return {ZohoSink.kind: ZohoSimulator}
