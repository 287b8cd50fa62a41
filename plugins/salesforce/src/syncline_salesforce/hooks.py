"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncline.sdk import hookimpl
from syncline_salesforce.sink import SalesforceSink

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Any]]:
    """The sink."""
    return [SalesforceSink]


@hookimpl
def simulators() -> Mapping[str, Any]:
    """A simulated org; needs the extra `simulate`."""
    from syncline_salesforce.simulator import SalesforceSimulator  # werkzeug is an optional library

    return {SalesforceSink.kind: SalesforceSimulator}
