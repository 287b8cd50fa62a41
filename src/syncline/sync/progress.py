"""How a run says how far it is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NoProgress", "Progress"]


class Progress(Protocol):
    def start(self, stage: str, total: int | None) -> None:
        """A stage begins: `read newsletter`, `score`, `write crm`. `total` None: nobody knows."""

    def advance(self, stage: str, by: int) -> None: ...

    def finish(self, stage: str) -> None: ...


class NoProgress:
    """Says nothing."""

    def start(self, stage: str, total: int | None) -> None: ...

    def advance(self, stage: str, by: int) -> None: ...

    def finish(self, stage: str) -> None: ...
