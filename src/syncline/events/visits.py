"""Repeated visits: reloads and double-fired pixels, which are one visit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["REPEAT_US", "Visit", "page_of", "repeats"]

REPEAT_US: Final = 60_000_000
"""Less than a minute after a visit that counts, the same page by the same person does not count again."""


class Visit(NamedTuple):
    """One visit of one person to one page."""

    t_us: int
    id: bytes
    machine: bool = False


def page_of(properties: Mapping[str, Any]) -> str | None:
    """What makes two visits visits to the same page; None when nobody said which page it was."""
    if url := properties.get("url"):
        return f"url {url}"
    page_type = properties.get("page_type")
    return f"type {page_type}" if page_type else None


def repeats(visits: Iterable[Visit], last_kept_us: int | None = None) -> set[bytes]:
    """Which of one person's visits to one page repeat another: by event time, ties by id, so in any order of arrival.

    `last_kept_us` is when the last visit before these was that counts. A machine's visit neither repeats nor is
    repeated: it does not score, and must not stand in for a person's.
    """
    found: set[bytes] = set()
    for visit in sorted(visits):
        if visit.machine:
            continue
        if last_kept_us is not None and visit.t_us - last_kept_us < REPEAT_US:
            found.add(visit.id)
        else:
            last_kept_us = visit.t_us
    return found
