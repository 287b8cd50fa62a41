"""The calls a connection may make a day, whoever makes them: counted before each call, across processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from syncline.errors import RateLimitError
from syncline.model import microseconds
from syncline.store import usage
from syncline.store.database import Database

__all__ = ["Budget", "day_of"]

_DAY_US = 86_400_000_000
_AT_ONCE = 25
"""Calls reserved at a time. A process that is killed has used at most so many more than it made: the safe side."""


def day_of(moment: datetime) -> int:
    """Days since 1970, UTC."""
    return microseconds(moment) // _DAY_US


class Budget:
    """`per_day` None: only counted. Days are those of UTC. Safe for any number of threads."""

    def __init__(self, database: Database, connection: str, per_day: int | None, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._connection = connection
        self._per_day = per_day
        self._clock = clock
        self._lock = threading.Lock()
        self._day = -1
        self._granted = 0

    def take(self) -> None:
        """One call more. RateLimitError when the day's calls are used up, with the time until the next day."""
        with self._lock:
            now = self._clock()
            if day_of(now) != self._day:
                self._give_back()
                self._day = day_of(now)
            if self._granted == 0:
                self._granted = self._reserve()
            if self._granted == 0:
                raise self._used_up(now)
            self._granted -= 1

    def left(self) -> int | None:
        """Calls that may still be made today; None without a limit."""
        if self._per_day is None:
            return None
        with self._lock, self._database.read() as connection:
            today = day_of(self._clock())
            own = self._granted if today == self._day else 0
            return max(0, self._per_day - usage.used(connection, self._connection, today) + own)

    def close(self) -> None:
        """Give back what was reserved and not used."""
        with self._lock:
            self._give_back()

    def _reserve(self) -> int:
        with self._database.write() as connection:
            return usage.reserve(connection, self._connection, self._day, _AT_ONCE, self._per_day)

    def _give_back(self) -> None:
        if self._granted:
            with self._database.write() as connection:
                usage.give_back(connection, self._connection, self._day, self._granted)
            self._granted = 0

    def _used_up(self, now: datetime) -> RateLimitError:
        tomorrow = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
        return RateLimitError(
            f"the budget of {self._per_day} calls a day is used up; it begins again at {tomorrow:%Y-%m-%d %H:%M} UTC. "
            "Raise `budget: {calls_per_day: …}` of the connection if the vendor allows more",
            retry_after=tomorrow - now,
            where=self._connection,
        )
