"""What is refused, what is tidied, and that both are counted."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.errors import RecordError
from syncline.events import cleanse
from syncline.model import Event, Identifier, event_id

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
ADA = (Identifier("email", "ada@acme.example"),)


def cleansed(
    type_: str, at: datetime = NOW, profile: Any = None, counts: Counter[str] | None = None, **properties: Any
) -> Event:
    event = Event(event_id("1"), type_, at, ADA, properties, profile or {})
    return cleanse(event, ADA, source="news/activity", received_at=NOW, counts=Counter() if counts is None else counts)


@pytest.mark.parametrize(
    ("type_", "properties", "rule", "reason"),
    [
        pytest.param("email_opened", {}, "unknown_type", "did you mean 'email_open'?", id="type"),
        pytest.param(
            "email_open", {"link": "x"}, "unknown_property", "email_open has no property 'link'", id="property"
        ),
        pytest.param(
            "page_visit", {"duration": 3}, "unknown_property", "did you mean 'duration_s'?", id="near property"
        ),
        pytest.param("page_visit", {"duration_s": "3"}, "wrong_kind", "it must be a number", id="text for a number"),
        pytest.param("page_visit", {"duration_s": True}, "wrong_kind", "(bool), it must be a number", id="bool"),
        pytest.param("page_visit", {"duration_s": math.nan}, "wrong_kind", "a finite number", id="nan"),
        pytest.param("page_visit", {"duration_s": Decimal("NaN")}, "wrong_kind", "a finite number", id="decimal nan"),
        pytest.param("page_visit", {"duration_s": -math.inf}, "wrong_kind", "a finite number", id="infinite"),
        pytest.param("page_visit", {"duration_s": 10**5000}, "wrong_kind", "a finite number", id="huge"),
        pytest.param("page_visit", {"duration_s": Decimal("1e13")}, "wrong_kind", "a finite number", id="large"),
        pytest.param("email_open", {"campaign_id": 7}, "wrong_kind", "it must be text", id="number for a text"),
        pytest.param("email_open", {"machine": 1}, "wrong_kind", "true or false", id="number for a boolean"),
        pytest.param("form_submission", {"fields": ["a"]}, "wrong_kind", "a mapping", id="list for a mapping"),
        pytest.param("form_submission", {"fields": {"a": NOW}}, "wrong_kind", "fields.a is", id="inside a mapping"),
        pytest.param("custom", {"level": 1}, "missing_property", "needs the property 'name'", id="nameless"),
    ],
)
def test_what_is_not_canonical_is_refused(type_: str, properties: dict[str, Any], rule: str, reason: str) -> None:
    counts: Counter[str] = Counter()
    with pytest.raises(RecordError) as refused:
        cleansed(type_, counts=counts, **properties)
    assert reason in str(refused.value)
    assert counts[rule] == 1


@pytest.mark.parametrize(
    ("at", "rule"),
    [
        pytest.param(datetime(1989, 12, 31, 23, 59, tzinfo=UTC), "too_early", id="before 1990"),
        pytest.param(datetime(1970, 1, 1, tzinfo=UTC), "too_early", id="no date sent"),
        pytest.param(NOW + timedelta(days=1, microseconds=1), "in_the_future", id="more than a day ahead"),
    ],
)
def test_absurd_times_are_refused(at: datetime, rule: str) -> None:
    counts: Counter[str] = Counter()
    with pytest.raises(RecordError, match="occurred_at"):
        cleansed("email_open", at, counts=counts)
    assert counts == {rule: 1}


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(datetime(1990, 1, 1, tzinfo=UTC), id="1990"),
        pytest.param(NOW + timedelta(days=1), id="a day ahead"),
        pytest.param(datetime(2026, 6, 2, 10, tzinfo=timezone(timedelta(hours=2))), id="another time zone"),
    ],
)
def test_plausible_times_are_kept(at: datetime) -> None:
    assert cleansed("email_open", at).occurred_at == at


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        pytest.param(3, 3, id="whole"),
        pytest.param(3.0, 3, id="whole as a fraction"),
        pytest.param(0.1, 0.1, id="fraction"),
        pytest.param(Decimal("2.50"), 2.5, id="decimal"),
        pytest.param(0.1234565, 0.123456, id="half to the even one below"),
        pytest.param(Decimal("0.1234575"), 0.123458, id="half to the even one above"),
        pytest.param(0.0000001, 0, id="less than we keep"),
        pytest.param(-1_000_000_000_000, -1_000_000_000_000, id="the largest"),
    ],
)
def test_numbers_have_six_decimals(given_: Any, kept: float) -> None:
    found = cleansed("page_visit", duration_s=given_).properties["duration_s"]
    assert (found, type(found)) == (kept, type(kept))


@given(st.floats(-1e12, 1e12) | st.decimals(-(10**12), 10**12, places=9) | st.integers(-(10**12), 10**12))
def test_rounding_is_within_half_a_millionth_and_final(value: Any) -> None:
    once = cleansed("page_visit", duration_s=value).properties["duration_s"]
    assert abs(Decimal(repr(once)) - Decimal(str(value))) <= Decimal("0.0000005") + Decimal(abs(value)) * Decimal(
        "1e-16"
    )
    assert cleansed("page_visit", duration_s=once).properties["duration_s"] == once


def test_missing_stays_missing_never_zero() -> None:
    counts: Counter[str] = Counter()
    assert cleansed("page_visit", counts=counts, duration_s=None, url="").properties == {}
    assert counts == {"empty_property": 2}
    assert cleansed("page_visit", duration_s=0).properties == {"duration_s": 0}


def test_profile_statements_that_are_blank_say_nothing() -> None:
    said = {"first_name": " Ada ", "last_name": "  ", "company": None}
    assert cleansed("email_open", profile=said).profile == {"first_name": "Ada"}


def test_profile_holds_text_only() -> None:
    with pytest.raises(RecordError, match=r"email_open.profile.phone is 39 \(int\), it must be text"):
        cleansed("email_open", profile={"phone": 39})


def test_custom_events_carry_what_they_like() -> None:
    said = {"name": "quiz", "points": 1.0000004, "won": True, "answers": ["a", {"b": None}], "note": "x"}
    kept = {"name": "quiz", "points": 1, "won": True, "answers": ["a", {"b": None}], "note": "x"}
    assert cleansed("custom", **said).properties == kept


def test_fields_of_a_form_stay_nested() -> None:
    fields = {"email": "a\0b", "answers": ("x", 2)}
    assert cleansed("form_submission", fields=fields).properties == {"fields": {"email": "ab", "answers": ["x", 2]}}
