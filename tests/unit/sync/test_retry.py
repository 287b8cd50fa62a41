from __future__ import annotations

import random
from datetime import timedelta

import pytest

from syncline.errors import AuthError, ConnectorError, RateLimitError, TransientError
from syncline.sync.retry import retrying


class Weather:
    """Fails as it is told, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def waited(weather: Weather, **options: object) -> list[float]:
    waits: list[float] = []
    retry = retrying(sleep=waits.append, chance=random.Random(1), **options)  # type: ignore[arg-type]
    assert retry(weather) == "done"
    return waits


def test_weather_is_tried_again() -> None:
    weather = Weather(TransientError("a"), TransientError("b"))
    assert len(waited(weather)) == 2
    assert weather.calls == 3


def test_the_vendors_retry_after_is_the_least_we_wait() -> None:
    assert waited(Weather(RateLimitError("slow", retry_after=timedelta(seconds=60)))) == [60.0]


def test_waits_stay_within_the_longest() -> None:
    waits = waited(Weather(*(TransientError("x") for _ in range(9))), attempts=10, longest=timedelta(seconds=7))
    assert all(1 <= wait <= 7 for wait in waits)
    assert len(set(waits)) > 3


@pytest.mark.parametrize(
    "error",
    [
        AuthError("no"),
        ConnectorError("bad request"),
        RateLimitError("tomorrow", retry_after=timedelta(hours=1)),
        ValueError("a bug"),
    ],
    ids=["credentials", "permanent", "longer than we wait", "bug"],
)
def test_what_is_no_weather_is_raised_at_once(error: Exception) -> None:
    weather = Weather(error)
    with pytest.raises(type(error)):
        retrying(sleep=lambda _: pytest.fail("waited"))(weather)
    assert weather.calls == 1


def test_after_the_last_attempt_the_error_itself_comes_out() -> None:
    weather = Weather(*(TransientError(str(number)) for number in range(9)))
    with pytest.raises(TransientError, match="2"):
        retrying(attempts=3, sleep=lambda _: None)(weather)


def test_a_vendor_that_asks_to_slow_down_is_given_more_patience_than_weather() -> None:
    slow = [RateLimitError("slow") for _ in range(6)]
    assert len(waited(Weather(*slow), attempts=3, slowed=7)) == 6
    with pytest.raises(RateLimitError):
        retrying(attempts=3, slowed=6, sleep=lambda _: None)(Weather(*[RateLimitError("slow") for _ in range(6)]))


def test_each_kind_of_trouble_is_counted_by_itself() -> None:
    both = [RateLimitError("slow"), TransientError("gone"), RateLimitError("slow"), TransientError("gone")]
    assert len(waited(Weather(*both), attempts=3, slowed=3)) == 4
