"""The only place where anything is tried again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from syncline.errors import RateLimitError, TransientError
from syncline.sync import telemetry

__all__ = ["LONGEST", "Retry", "retrying"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST: Final = timedelta(minutes=2)
"""What a vendor may ask us to wait. Longer is a pause of the connection, which outlives the run."""


class Retry(Protocol):
    def __call__(self, call: Callable[[], T], /) -> T: ...


def retrying(
    *,
    attempts: int = 5,
    slowed: int | None = None,
    first: timedelta = timedelta(seconds=1),
    longest: timedelta = LONGEST,
    sleep: Callable[[float], None] = time.sleep,
    chance: random.Random | None = None,
) -> Retry:
    """Call until it works, on TransientError only; then the last error is raised.

    Weather is given up after `attempts` failures, a vendor that asks to slow down after `slowed` (None: as many):
    it is there, and it will answer. AuthError, drift, a bad setting and a refusal are never tried again.

    Waits by decorrelated jitter (M. Brooker, "Exponential backoff and jitter", AWS 2015), never less than the vendor's
    Retry-After. A vendor that asks for more than `longest` is not waited for: the next run comes back.
    """

    def worth_it(error: BaseException) -> bool:
        return isinstance(error, TransientError) and (error.retry_after is None or error.retry_after <= longest)

    def run(call: Callable[[], T], /) -> T:
        policy = Retrying(
            retry=retry_if_exception(worth_it),
            wait=_DecorrelatedJitter(first, longest, chance or random.SystemRandom()),
            stop=_Patience(attempts, attempts if slowed is None else slowed),
            sleep=sleep,
            before_sleep=_note,
            reraise=True,
        )
        return policy(call)

    return run


def _note(state: RetryCallState) -> None:
    seconds = state.next_action.sleep if state.next_action else 0.0
    error = state.outcome.exception() if state.outcome else None
    telemetry.tried_again(seconds)
    about = {"attempt": state.attempt_number, "seconds": round(seconds, 3), "error": type(error).__name__}
    _log.info("a call is tried again", extra=about)


class _Patience(stop_base):
    """Counts by the kind of trouble: a storm of one kind leaves the patience for the other whole."""

    def __init__(self, attempts: int, slowed: int) -> None:
        self._left = {True: slowed, False: attempts}

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        kind = isinstance(error, RateLimitError)
        self._left[kind] -= 1
        return self._left[kind] <= 0


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
