"""What a line of the suite is: a promise checked against one CRM on one store, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reliability.stores import Stores
from reliability.vendors import CRMS, Crm

__all__ = ["Case", "Line", "Promise", "Size", "sinks_of"]

Size = Mapping[str, int]
"""Knob → number; every promise has knobs of its own, and `people` mostly among them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. `figures` are what was measured; `trouble` is what did not hold, in words."""

    promise: str
    sink: str
    store: str
    figures: Mapping[str, Any]
    seed: int
    trouble: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    """What is told below the table."""

    @property
    def holds(self) -> bool:
        return not self.trouble


@dataclass(frozen=True, slots=True)
class Case:
    """What a promise is checked with. `folder` is empty and its own; the same seed makes the same choices."""

    size: Size
    seed: int
    stores: Stores
    sink: str
    folder: Path

    @property
    def crm(self) -> Crm:
        """The CRM that `sink` names; for a promise with sinks of its own there is none."""
        return CRMS[self.sink]

    def line(
        self, promise: str, figures: Mapping[str, Any], trouble: Sequence[str], details: Sequence[str] = ()
    ) -> Line:
        return Line(promise, self.sink, self.stores.kind, figures, self.seed, tuple(trouble), tuple(details))


class Promise(Protocol):
    """A module of `reliability.promises`."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a module's constant
        """`R1`."""

    @property
    def PROMISE(self) -> str:  # noqa: N802
        """What is promised, in a line."""

    @property
    def SMALL(self) -> Size:  # noqa: N802
        """The knobs of the short form: a few seconds."""

    @property
    def FULL(self) -> Size:  # noqa: N802
        """The knobs of the long form: minutes."""

    def run(self, case: Case) -> Iterator[Line]:
        """The lines of one sink on one store."""


def sinks_of(promise: Promise) -> tuple[str, ...]:
    """The sinks a promise is checked with: the three CRMs, unless the module says otherwise (`SINKS`)."""
    return tuple(getattr(promise, "SINKS", CRMS))
