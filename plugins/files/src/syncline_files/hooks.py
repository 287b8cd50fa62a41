"""What this package gives the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncline.sdk import Source, hookimpl
from syncline_files.source import FilesSource

__all__ = ["connectors", "simulators"]


@hookimpl
def connectors() -> Sequence[type[Source[Any]]]:
    """The `files` source."""
    return [FilesSource]


@hookimpl
def simulators() -> Mapping[str, Any]:
    """A website that writes its log into files."""
    from syncline_files.simulator import FilesSimulator  # what is for tests and demos loads only when asked for

    return {"files": FilesSimulator}
