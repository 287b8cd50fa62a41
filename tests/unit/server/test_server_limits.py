"""Token buckets, and memory for bodies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.server.limits import Buckets, Bytes


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def taken(buckets: Buckets, key: str, times: int) -> int:
    return sum(buckets.take(key) == 0 for _ in range(times))


def test_two_seconds_worth_may_come_at_once_and_then_the_pace() -> None:
    clock = Clock()
    buckets = Buckets(10, clock)
    assert taken(buckets, "a", 100) == 20
    clock.seconds = 1
    assert taken(buckets, "a", 100) == 10
    clock.seconds = 100
    assert taken(buckets, "a", 100) == 20


def test_it_says_how_long_to_wait() -> None:
    clock = Clock()
    buckets = Buckets(0.5, clock)
    assert buckets.take("a") == 0
    assert buckets.take("a") == 2
    clock.seconds = 1.5
    assert buckets.take("a") == 0.5
    clock.seconds = 2
    assert buckets.take("a") == 0


def test_keys_do_not_share() -> None:
    buckets = Buckets(1, Clock())
    assert [taken(buckets, key, 5) for key in "ab"] == [2, 2]


def test_keys_are_forgotten_where_there_are_too_many() -> None:
    buckets = Buckets(1, Clock(), most=3)
    for key in "abcd":
        taken(buckets, key, 5)
    assert len(buckets._levels) == 3
    assert taken(buckets, "a", 5) == 2


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 0.25, 0.5, 3]), max_size=30))
def test_no_stretch_of_time_lets_through_more_than_pace_and_burst(pauses: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(2, clock)
    passed = []
    for pause in pauses:
        clock.seconds += pause
        if buckets.take("a") == 0:
            passed.append(clock.seconds)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= 4 + 2 * (passed[last] - passed[first]) + 1e-6


def test_bytes_come_back() -> None:
    room = Bytes(10)
    with room.share() as one, room.share() as other:
        assert [one(6), other(4), other(1)] == [True, True, False]
    with room.share() as again:
        assert [again(10), again(1)] == [True, False]
