"""For the authors of connectors: the contract kit, memory connectors, the simulator base, cassettes, a population.

The names below are loaded when they are asked for: pytest's plugin lives here too, and must cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from syncline.testing.cassettes import use_cassette
    from syncline.testing.contract import SinkContract, SourceContract
    from syncline.testing.memory import MemorySink, MemorySource, MemoryWorld, memory_plugin
    from syncline.testing.simulator import Fault, VendorSimulator

__all__ = [
    "Fault",
    "MemorySink",
    "MemorySource",
    "MemoryWorld",
    "SinkContract",
    "SourceContract",
    "VendorSimulator",
    "memory_plugin",
    "use_cassette",
]

_ROOMS: Final = {
    "Fault": "simulator",
    "MemorySink": "memory",
    "MemorySource": "memory",
    "MemoryWorld": "memory",
    "SinkContract": "contract",
    "SourceContract": "contract",
    "VendorSimulator": "simulator",
    "memory_plugin": "memory",
    "use_cassette": "cassettes",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
