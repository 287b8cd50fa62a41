"""An event as the log holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LoggedEvent", "Order", "in_order", "order"]

Order = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One fact about one person: `t_us` is microseconds UTC, `machine` says that a proxy or a scanner did it."""

    id: str
    type: str
    t_us: int
    machine: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict)


def order(event: LoggedEvent) -> Order:
    """The total order of events: equal times are told apart by type, then id, so that arrival order never matters."""
    return event.t_us, event.type, event.id


def in_order(events: Iterable[LoggedEvent], until_us: int) -> list[LoggedEvent]:
    """Each event once, none after `until_us`, in the total order."""
    unique = {event.id: event for event in events if event.t_us <= until_us}
    return sorted(unique.values(), key=order)
