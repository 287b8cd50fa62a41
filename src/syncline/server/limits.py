"""How much is taken in: requests per second, and bytes held at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Buckets", "Bytes"]

_BURST_SECONDS = 2.0  # vendors send in bursts: so much of the pace may come at once


class Buckets:
    """A token bucket for each key. Those asked for longest ago are forgotten beyond `most`: they are full again.

    A bucket holds two seconds' worth.
    """

    def __init__(self, per_second: float, monotonic: Callable[[], float], most: int = 10_000) -> None:
        self._per_second = per_second
        self._size = per_second * _BURST_SECONDS
        self._monotonic = monotonic
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key → tokens, and when that was so

    def take(self, key: str) -> float:
        """Take one token. 0.0 when there was one, else the seconds until there is."""
        now = self._monotonic()
        tokens, at = self._levels.pop(key, (self._size, now))
        tokens = min(self._size, tokens + (now - at) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._levels[key] = (tokens if wait else tokens - 1, now)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return wait


class Bytes:
    """How many bytes of bodies are held at a time, all requests together."""

    def __init__(self, most: int) -> None:
        self._free = most

    @contextmanager
    def share(self) -> Iterator[Callable[[int], bool]]:
        """Yields what takes some more bytes, False when they are too many; all are given back at the end."""
        taken = 0

        def more(count: int) -> bool:
            nonlocal taken
            taken += count
            self._free -= count
            return self._free >= 0

        try:
            yield more
        finally:
            self._free += taken
