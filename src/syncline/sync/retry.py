"""The only place where anything is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base

from syncline.errors import TransientError

__all__ = ["Retry", "retrying"]

T = TypeVar("T")


class Retry(Protocol):
    def __call__(self, call: Callable[[], T], /) -> T: ...


def retrying(
    *,
    attempts: int = 5,
    first: timedelta = timedelta(seconds=1),
    longest: timedelta = timedelta(minutes=2),
    sleep: Callable[[float], None] = time.sleep,
    chance: random.Random | None = None,
) -> Retry:
    """Call until it works, at most `attempts` times, on TransientError only; then the last error is raised.

    Waits by decorrelated jitter (M. Brooker, "Exponential backoff and jitter", AWS 2015), never less than the vendor's
    Retry-After. A vendor that asks for more than `longest` is not waited for: the next run comes back.
    """

    def worth_it(error: BaseException) -> bool:
        return isinstance(error, TransientError) and (error.retry_after is None or error.retry_after <= longest)

    def run(call: Callable[[], T], /) -> T:
        policy = Retrying(
            retry=retry_if_exception(worth_it),
            wait=_DecorrelatedJitter(first, longest, chance or random.SystemRandom()),
            stop=stop_after_attempt(attempts),
            sleep=sleep,
            reraise=True,
        )
        return policy(call)

    return run


class _DecorrelatedJitter(wait_base):
    def __init__(self, first: timedelta, longest: timedelta, chance: random.Random) -> None:
        self._first = first.total_seconds()
        self._longest = longest.total_seconds()
        self._chance = chance
        self._last = self._first

    def __call__(self, retry_state: RetryCallState) -> float:
        self._last = min(self._longest, self._chance.uniform(self._first, self._last * 3))
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after if isinstance(error, TransientError) else None
        return max(self._last, asked.total_seconds() if asked else 0.0)
