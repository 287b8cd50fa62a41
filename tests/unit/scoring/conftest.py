"""Compact logs: an event is [how long before as_of (or a UTC time), type, properties]."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.model import microseconds
from syncline.model.duration import parse_duration
from syncline.scoring.log import LoggedEvent

AS_OF = datetime(2024, 5, 27, 12, tzinfo=UTC)


@pytest.fixture
def as_of() -> datetime:
    return AS_OF


@pytest.fixture
def log() -> Callable[[Sequence[Any]], list[LoggedEvent]]:
    """Events from rows, numbered in the order written."""

    def read(rows: Sequence[Any]) -> list[LoggedEvent]:
        return [_event(number, *row) for number, row in enumerate(rows)]

    return read


def _event(number: int, when: str, type_: str, properties: Any = None) -> LoggedEvent:
    absolute = "T" in when
    moment = datetime.fromisoformat(when) if absolute else AS_OF - parse_duration(when)
    others = dict(properties or {})
    machine = others.pop("machine", False)
    return LoggedEvent(f"{number:032x}", type_, microseconds(moment), machine, others)
