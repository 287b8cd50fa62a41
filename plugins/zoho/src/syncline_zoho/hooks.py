"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncline.sdk import hookimpl

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Any]]:
    """Nothing yet."""
    return []


@hookimpl
def simulators() -> Mapping[str, Any]:
    """Nothing yet."""
    return {}
