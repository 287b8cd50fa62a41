"""Two rules on event time, against their definitions said plainly."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from syncline.events import Click, Visit, page_of, repeats, scanner_clicks

SECOND = 1_000_000

clicks = st.lists(
    st.builds(
        Click, st.integers(0, 40).map(lambda s: s * SECOND), st.binary(min_size=2, max_size=2), st.sampled_from("abc")
    ),
    max_size=12,
    unique_by=lambda click: click.id,
)


@given(clicks)
def test_scanner_clicks_are_those_of_any_ten_seconds_with_three_addresses(found: list[Click]) -> None:
    plain = set()
    for first in found:
        window = [c for c in found if first.t_us <= c.t_us <= first.t_us + 10 * SECOND]
        if len({c.url for c in window}) >= 3:
            plain |= {c.id for c in window}
    assert scanner_clicks(found) == plain


@given(clicks, clicks)
def test_further_clicks_never_clear_a_scanner(some: list[Click], more: list[Click]) -> None:
    assert scanner_clicks(some) <= scanner_clicks([*some, *more])


def test_click_without_address_says_nothing() -> None:
    assert scanner_clicks([Click(0, b"1", "a"), Click(0, b"2", "b"), Click(0, b"3", "")]) == set()


visits = st.lists(
    st.builds(Visit, st.integers(0, 200).map(lambda s: s * SECOND), st.binary(min_size=2, max_size=2), st.booleans()),
    max_size=12,
    unique_by=lambda visit: visit.id,
)


@given(visits)
def test_visits_that_count_are_a_minute_apart_and_the_others_are_not(found: list[Visit]) -> None:
    repeated = repeats(found)
    counted = sorted(v for v in found if v.id not in repeated and not v.machine)
    assert all(b.t_us - a.t_us >= 60 * SECOND for a, b in pairwise(counted))
    for visit in found:
        if visit.id in repeated:
            assert any(0 <= visit.t_us - c.t_us < 60 * SECOND and c < visit for c in counted)
    assert not repeated & {v.id for v in found if v.machine}


@given(visits, st.randoms())
def test_repeats_do_not_depend_on_order(found: list[Visit], chance: object) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert repeats(shuffled) == repeats(found)


def test_last_visit_before_these_counts_too() -> None:
    assert repeats([Visit(59 * SECOND, b"1")], last_kept_us=0) == {b"1"}
    assert repeats([Visit(60 * SECOND, b"1")], last_kept_us=0) == set()


def test_page_is_its_url_else_its_type() -> None:
    assert page_of({"url": "/a", "page_type": "pricing"}) == page_of({"url": "/a"}) != page_of({"page_type": "/a"})
    assert page_of({"page_type": "pricing"}) == page_of({"page_type": "pricing", "url": ""})
    assert page_of({"duration_s": 3}) is None
