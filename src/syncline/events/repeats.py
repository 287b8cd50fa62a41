"""What people do once and vendors tell twice: reloads, double-fired pixels, a form sent again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

__all__ = ["REPEAT_US", "RULES", "RepeatRule", "Visit", "page_of", "repeats", "submission_of"]

REPEAT_US: Final = 60_000_000
"""Less than a minute after a visit that counts, the same page by the same person does not count again."""
_FIVE_MINUTES_US: Final = 300_000_000


class Visit(NamedTuple):
    """One visit of one person to one page, or one form they sent."""

    t_us: int
    id: bytes
    machine: bool = False


@dataclass(frozen=True, slots=True)
class RepeatRule:
    """Less than `within_us` after an event of this type that counts, the same by the same person does not count again.

    `same` says what makes two of them the same; None: they repeat nothing. `counted_as` is the rule's name in reports.
    """

    type: str
    within_us: int
    same: Callable[[Mapping[str, Any]], str | None]
    counted_as: str


def page_of(properties: Mapping[str, Any]) -> str | None:
    """What makes two visits visits to the same page; None when nobody said which page it was."""
    if url := properties.get("url"):
        return f"url {url}"
    page_type = properties.get("page_type")
    return f"type {page_type}" if page_type else None


def submission_of(properties: Mapping[str, Any]) -> str | None:
    """What makes two forms the same: the form, its page and every value; None when form or values are not known.

    Minutes matter here: a webhook and a poll may round the same moment to two of them.
    """
    fields = properties.get("fields")
    where = [properties.get("form_id"), properties.get("page_id")]
    return json.dumps([*where, fields], sort_keys=True) if fields and any(where) else None


RULES: Final = (
    RepeatRule("page_visit", REPEAT_US, page_of, "repeated_visit"),
    RepeatRule("form_submission", _FIVE_MINUTES_US, submission_of, "repeated_submission"),
)


def repeats(visits: Iterable[Visit], last_kept_us: int | None = None, within_us: int = REPEAT_US) -> set[bytes]:
    """Which of one person's visits to one page repeat another: by event time, ties by id, so in any order of arrival.

    `last_kept_us` is when the last visit before these was that counts. A machine's visit neither repeats nor is
    repeated: it does not score, and must not stand in for a person's.
    """
    found: set[bytes] = set()
    for visit in sorted(visits):
        if visit.machine:
            continue
        if last_kept_us is not None and visit.t_us - last_kept_us < within_us:
            found.add(visit.id)
        else:
            last_kept_us = visit.t_us
    return found
