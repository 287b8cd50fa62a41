"""syncline: marketing events in, people scored and explained, CRM fields written back safely.

from syncline import Host

with Host.load("connectors.yaml") as host:
    print(host.plan().model_dump_json(indent=2))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncline.host import Host

__all__ = ["Host", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Host` on demand: a plugin that imports `syncline.errors` need not load the whole host."""
    if name == "Host":
        from syncline.host import Host

        return Host
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
