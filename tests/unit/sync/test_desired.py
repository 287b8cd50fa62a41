"""What a CRM should hold about a person, and since when we know it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from syncline.model import Origin, Value, microseconds
from syncline.scoring.result import Assessment, Contribution, ScoreResult
from syncline.store.profiles import Profile
from syncline.sync.desired import desired, desired_at, reason
from syncline.sync.target import FieldMap

SAID = datetime(2026, 5, 1, 9, tzinfo=UTC)
MET = datetime(2026, 4, 1, 9, tzinfo=UTC)
DID = datetime(2026, 5, 30, 10, 11, 12, 987_654, tzinfo=UTC)


def line(name: str, amount: str) -> Contribution:
    return Contribution(line=name, amount=Decimal(amount), signal=None, value=None, weight=None)


LINES = (line("prezzi", "20"), line("whitepaper", "25"), line("video", "0"), line("decay", "-3.1"), line("x", "1.005"))
PERSON = Profile(
    7,
    "k7",
    ("ada@acme.example", "ada@home.example"),
    ("k7", "k3"),
    attributes={"company": "Babbage", "title": ""},
    said_us={"email": microseconds(MET), "company": microseconds(SAID)},
)


def assessment(*, active: bool = True) -> Assessment:
    score = ScoreResult(name="interest", model="m", version=1, value=Decimal("42.90"), band="warm", contributions=LINES)
    return Assessment(
        person_id=7,
        scores={"interest": score},
        segments=frozenset({"hot"}),
        last_event_type="page_visit" if active else None,
        last_event_us=microseconds(DID) if active else None,
    )


VALUES: list[tuple[str, Value]] = [
    ("score.interest", Decimal("42.90")),
    ("score.interest.band", "warm"),
    ("score.interest.reason", "whitepaper +25, prezzi +20, decay -3.1, x +1"),
    ("segment.hot", True),
    ("segment.cold", False),
    ("person.email", "ada@acme.example"),
    ("person.key", "k7"),
    ("person.last_event", "page_visit"),
    ("person.last_event_at", DID.replace(microsecond=0)),
    ("person.company", "Babbage"),
    ("person.phone", None),
]


@pytest.mark.parametrize(("origin", "value"), VALUES)
def test_each_origin_gives_its_value(origin: str, value: Value) -> None:
    found = desired(FieldMap("F", origin=Origin.parse(origin)), assessment(), PERSON)
    assert found == value
    assert type(found) is type(value)


def test_a_default_stands_in_for_what_we_do_not_know() -> None:
    for name in ("phone", "title"):
        mapped = FieldMap("F", origin=Origin("person", name), default="(unknown)")
        assert desired(mapped, assessment(), PERSON) == "(unknown)"
    mapped = FieldMap("F", origin=Origin("segment", "cold"), default=True)
    assert desired(mapped, assessment(), PERSON) is False, "not being in a segment is known"


def test_someone_who_did_nothing_has_no_last_event() -> None:
    for name in ("last_event", "last_event_at"):
        assert desired(FieldMap("F", origin=Origin("person", name)), assessment(active=False), PERSON) is None


def test_what_we_only_read_is_never_desired() -> None:
    assert desired(FieldMap("F", to="stage", default="x"), assessment(), PERSON) is None


@pytest.mark.parametrize(
    ("origin", "since"),
    [("person.company", SAID), ("person.email", MET), ("person.phone", None), ("score.interest", DID),
     ("segment.hot", DID), ("person.last_event", DID)],
)  # fmt: skip
def test_a_value_is_as_new_as_what_said_it(origin: str, since: datetime | None) -> None:
    found = Origin.parse(origin)
    assert found is not None
    assert desired_at(found, assessment(), PERSON) == since


def test_computed_for_someone_who_did_nothing_is_of_no_date() -> None:
    assert desired_at(Origin("score", "interest"), assessment(active=False), PERSON) is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), None),
        ((line("nothing", "0"),), None),
        ((line("a", "10"),), "a +10"),
        ((line("a", "0.5"), line("b", "-100"), line("c", "1000")), "c +1000, b -100, a +0.5"),
        (tuple(line(str(n), str(n)) for n in range(1, 7)), "6 +6, 5 +5, 4 +4, 3 +3"),
    ],
)
def test_a_reason_names_what_weighed_most(lines: tuple[Contribution, ...], words: str | None) -> None:
    assert reason(lines) == words
