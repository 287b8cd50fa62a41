"""What we know about a person: the newest statement about each attribute, whatever order they came in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Statement", "newest"]


class Statement(NamedTuple):
    """One event said that one attribute of one person had this value. Later event ids win ties."""

    person: int
    name: str
    at_us: int
    event_id: bytes
    value: str


def newest(statements: Iterable[Statement]) -> list[Statement]:
    """One statement per person and attribute. Blank ones must be gone already: they say nothing."""
    best: dict[tuple[int, str], Statement] = {}
    for statement in statements:
        key = (statement.person, statement.name)
        held = best.get(key)
        if held is None or (held.at_us, held.event_id) <= (statement.at_us, statement.event_id):
            best[key] = statement
    return list(best.values())
