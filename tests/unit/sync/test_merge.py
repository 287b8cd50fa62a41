from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from syncline.model import Field, Value
from syncline.sync.merge import FieldState, Policy, Verdict, coerce, merge, same

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = datetime(2026, 2, 1, tzinfo=UTC)

# policy, desired, remote, what the CRM last accepted from us ("-": we never wrote it), verdict
CASES: list[tuple[Policy, Value, Value, Value, Verdict]] = [
    ("ours", 5, 5, "-", Verdict.KEEP),
    ("ours", 5, Decimal("5.00"), "-", Verdict.KEEP),
    ("ours", 5, None, "-", Verdict.WRITE),
    ("ours", 6, 5, 5, Verdict.WRITE),
    ("ours", 5, 9, 5, Verdict.DRIFT),
    ("ours", 6, 9, 5, Verdict.DRIFT),
    ("ours", None, "hot", "hot", Verdict.WRITE),
    ("ours", None, "", "-", Verdict.KEEP),
    ("ours", False, None, "-", Verdict.WRITE),
    ("only_if_empty", "Ada", None, "-", Verdict.WRITE),
    ("only_if_empty", "Ada", "", "-", Verdict.WRITE),
    ("only_if_empty", "Ada", "Adele", "-", Verdict.KEEP),
    ("only_if_empty", "Adele", "Ada", "Ada", Verdict.KEEP),
    ("only_if_empty", "Ada", None, "Ada", Verdict.KEEP),  # a person emptied it on purpose
    ("only_if_empty", None, "Ada", "-", Verdict.KEEP),
    ("human_wins", "Rome", "Milan", "-", Verdict.KEEP),
    ("human_wins", "Rome", "Milan", "Milan", Verdict.WRITE),
    ("human_wins", "Rome", "Turin", "Milan", Verdict.KEEP),
    ("human_wins", None, "Milan", "Milan", Verdict.KEEP),
    ("ask", "Rome", "Turin", "Milan", Verdict.ASK),
    ("ask", "Rome", "Milan", "Milan", Verdict.WRITE),
    ("ask", "Rome", None, "-", Verdict.WRITE),
]


@pytest.mark.parametrize(("policy", "desired", "remote", "acknowledged", "verdict"), CASES)
def test_verdict(policy: Policy, desired: Value, remote: Value, acknowledged: Value, verdict: Verdict) -> None:
    known = acknowledged != "-"
    state = FieldState(desired, remote, acknowledged if known else None, acknowledged_known=known)
    decision = merge(state, policy)
    assert decision.verdict is verdict
    assert decision.value == (None if verdict is Verdict.KEEP else desired)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (LATE, EARLY, Verdict.WRITE),
        (EARLY, LATE, Verdict.KEEP),
        (EARLY, EARLY, Verdict.KEEP),
        (None, LATE, Verdict.KEEP),
    ],
    ids=["we are newer", "they are newer", "at the same time", "we do not know when"],
)
def test_newest_is_the_later_of_the_two(ours: datetime | None, theirs: datetime, verdict: Verdict) -> None:
    state = FieldState("Rome", "Turin", desired_at=ours, remote_at=theirs)
    assert merge(state, "newest").verdict is verdict


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (None, "", True),
        (5, Decimal("5.00"), True),
        (1, True, False),
        (False, None, False),
        ("a", "A", False),
        (date(2026, 1, 1), date(2026, 1, 1), True),
    ],
)
def test_same_is_what_a_crm_shows_alike(one: Value, other: Value, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal


@pytest.mark.parametrize(
    ("value", "field", "stored"),
    [
        (Decimal("82.125"), Field("s", "number", scale=2), Decimal("82.12")),
        (Decimal("82.5"), Field("s", "number", scale=0), Decimal(82)),
        (Decimal("82.5"), Field("s", "number"), Decimal("82.5")),
        ("x" * 300, Field("t", "text", max_length=255), "x" * 255),
        (Decimal("82.50"), Field("t", "text"), "82.50"),
        (None, Field("b", "boolean"), False),
        (None, Field("t", "text"), None),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), Field("d", "date"), date(2026, 1, 2)),
    ],
)
def test_coerce_gives_what_the_field_will_hold(value: Value, field: Field, stored: Value) -> None:
    assert coerce(value, field) == stored
    assert type(coerce(value, field)) is type(stored)
