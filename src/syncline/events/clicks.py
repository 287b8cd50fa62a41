"""Link scanners: programs at the recipient's mail server that click every link of a message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["BURST_US", "Click", "scanner_clicks"]

BURST_US: Final = 10_000_000
"""Ten seconds, and three addresses within them: a heuristic, since no e-mail vendor flags scanners."""
_ADDRESSES: Final = 3


class Click(NamedTuple):
    """One click of one person."""

    t_us: int
    id: bytes
    url: str


def scanner_clicks(clicks: Iterable[Click]) -> set[bytes]:
    """Which of one person's clicks no person made: all of any ten seconds with three or more distinct addresses.

    A further click can only add to the answer, never take from it, so the order of arrival does not matter.
    """
    ordered = sorted(click for click in clicks if click.url)
    found: set[bytes] = set()
    start, marked, urls = 0, 0, Counter[str]()
    for end, click in enumerate(ordered):
        urls[click.url] += 1
        while click.t_us - ordered[start].t_us > BURST_US:
            _take(urls, ordered[start].url)
            start += 1
        if len(urls) >= _ADDRESSES:
            marked = max(marked, start)
            found.update(other.id for other in ordered[marked : end + 1])
            marked = end + 1
    return found


def _take(urls: Counter[str], url: str) -> None:
    urls[url] -= 1
    if not urls[url]:
        del urls[url]
