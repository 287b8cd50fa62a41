"""The merge does what docs/two-way.md says, row by row; a CRM's spelling is no change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from syncline.model import Edit, Field, FieldKind, Value, Writer
from syncline.sync.merge import FieldState, Policy, Verdict, alike, coerce, merge, same

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = datetime(2026, 2, 1, tzinfo=UTC)
PAGE = Path(__file__).parents[3] / "docs" / "two-way.md"

OURS, NEW, THEIRS, DEFAULT = "Rome ", "Milan", "Turin", "(unknown)"
NEVER = object()
A_PERSON: tuple[Writer, ...] = ("person", "unknown")

# In the page's words → what the CRM last accepted from us, what stands there, and by whom.
STANDS: dict[str, tuple[object, Value, tuple[Writer, ...]]] = {
    "our value": (OURS, OURS, ("us", "unknown", "system", "person")),
    "our value, as the CRM spells it": (OURS, "Rome", ("us", "unknown", "system")),
    "our default": (DEFAULT, DEFAULT, ("us",)),
    "nothing, as ever": (NEVER, None, ("unknown", "person")),
    "a person's value, from before us": (NEVER, THEIRS, A_PERSON),
    "a system's value, from before us": (NEVER, THEIRS, ("system",)),
    "a person's change": (OURS, THEIRS, A_PERSON),
    "a system's change": (OURS, THEIRS, ("system",)),
    "emptied by a person, before we wrote": (NEVER, None, A_PERSON),
    "emptied by a system, before we wrote": (NEVER, None, ("system",)),
    "emptied by a person": (OURS, None, A_PERSON),
    "emptied by a system": (OURS, None, ("system",)),
}
WE_KNOW: dict[str, Value] = {
    "the same": OURS, "what we wrote": OURS, "another value": NEW, "a value": NEW, "nothing": None,
    "only the default": DEFAULT,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    stands: str
    known: str
    policy: Policy
    happens: str

    @property
    def name(self) -> str:
        return f"{self.policy}: {self.stands} | {self.known}"


def table() -> Iterator[Row]:
    header, *lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.count("|") == 8]
    policies = [cell.strip(" `") for cell in header.split("|")[3:-1]]
    for line in lines[1:]:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        for policy, happens in zip(policies, cells[2:], strict=True):
            yield Row(cells[0], cells[1], policy, happens)  # type: ignore[arg-type]  # as the page has it


ROWS = list(table())


def states(row: Row, *, newer: bool) -> Iterator[FieldState]:
    accepted, remote, writers = STANDS[row.stands]
    for by in writers:
        yield FieldState(
            desired=WE_KNOW[row.known],
            remote=remote,
            acknowledged=None if accepted is NEVER else accepted,  # type: ignore[arg-type]  # a text
            acknowledged_known=accepted is not NEVER,
            placeholder=DEFAULT,
            desired_at=None if WE_KNOW[row.known] in (None, DEFAULT) else LATE if newer else EARLY,
            edit=Edit(EARLY if newer else LATE, by, "Ada"),
            emptied=row.stands.startswith("emptied"),
        )


@pytest.mark.parametrize("newer", [True, False], ids=["ours is newer", "theirs is newer"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_happens_is_what_the_page_says(row: Row, newer: bool) -> None:
    for state in states(row, newer=newer):
        decision = merge(state, row.policy)
        happens = row.happens
        if happens == "newer":
            happens = "write" if newer else "take" if state.remote else "leave"
        expected = {
            "leave": (Verdict.KEEP, None), "take": (Verdict.TAKE, None), "ask": (Verdict.ASK, state.desired),
            "write": (Verdict.WRITE, state.desired), "rewrite": (Verdict.DRIFT, state.desired),
        }  # fmt: skip
        if happens == "clear":
            assert (decision.writes, decision.value) == (True, None), state
        else:
            assert (decision.verdict, decision.value) == expected[happens], (state, decision)
        assert re.fullmatch(r"[^\n.]{10,100}", decision.why), decision.why


def test_the_page_has_every_situation_for_every_policy() -> None:
    """Whoever adds a word to one of them has to say what it means in the other."""
    assert {row.stands for row in ROWS} == set(STANDS)
    assert {row.known for row in ROWS} == set(WE_KNOW)
    assert len({(row.stands, row.known, row.policy) for row in ROWS}) == len(ROWS) == 5 * 25


def test_only_what_is_ours_is_ever_cleared_or_counted_as_drift() -> None:
    for row in ROWS:
        for state in states(row, newer=True):
            decision = merge(state, row.policy)
            if row.policy != "ours":
                assert decision.verdict is not Verdict.DRIFT
                assert not (decision.writes and decision.value is None)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (LATE, EARLY, Verdict.WRITE),
        (EARLY, LATE, Verdict.TAKE),
        (EARLY, EARLY, Verdict.TAKE),
        (None, LATE, Verdict.TAKE),
        (EARLY, None, Verdict.WRITE),
    ],
    ids=["we are newer", "they are newer", "at the same time", "we do not know when", "they do not tell"],
)
def test_newest_is_the_later_of_the_two(ours: datetime | None, theirs: datetime | None, verdict: Verdict) -> None:
    state = FieldState("Rome", "Turin", desired_at=ours, edit=Edit(theirs, "person"))
    assert merge(state, "newest").verdict is verdict


def test_of_one_moment_two_crms_choose_the_same_value() -> None:
    one = FieldState("Rome", "Turin", desired_at=EARLY, edit=Edit(EARLY, "person"))
    other = FieldState("Turin", "Rome", desired_at=EARLY, edit=Edit(EARLY, "person"))
    assert [merge(state, "newest").verdict for state in (one, other)] == [Verdict.TAKE, Verdict.WRITE]


def test_why_names_who_changed_it() -> None:
    state = FieldState("Rome", "Turin", "Rome", True, edit=Edit(LATE, "person", "Ada Rossi"))
    assert merge(state, "human_wins").why == "a person (Ada Rossi) changed it, and a person's edit wins"


@pytest.mark.parametrize(
    ("made", "given", "kind", "by_itself"),
    [
        ("Ada", "  Ada ", "text", True),
        ("Ada Rossi", "Ada  Rossi", "text", True),
        ("ada", "Ada", "text", False),
        ("ada@x.example", "Ada@X.example", "text", True),
        ("working", "Working", "option", True),
        ("Tom &amp; Jerry", "Tom & Jerry", "text", True),
        ("Tom & Jerry", "Tom &amp; Jerry", "text", True),
        ("+39 02 1234567", "+39021234567", "text", True),
        ("+39 02 1234568", "+39021234567", "text", False),
        ("12", "1.2", "text", False),
        (Decimal("82.1"), Decimal("82.12"), "number", True),
        (82, Decimal("82.9"), "number", True),
        (Decimal("82.12"), Decimal("82.1"), "number", False),
        (83, 82, "number", False),
        (EARLY, EARLY.replace(second=31, microsecond=5), "datetime", True),
        (EARLY.replace(second=31), EARLY.replace(second=31, microsecond=5), "datetime", True),
        (LATE, EARLY, "datetime", False),
        (None, "Ada", "text", False),
        (True, False, "boolean", False),
        ("Turin", "Rome", "text", False),
    ],
)
def test_alike_is_what_a_crm_makes_of_a_value_by_itself(
    made: Value, given: Value, kind: FieldKind, by_itself: bool
) -> None:
    assert alike(made, given, kind) is by_itself


@pytest.mark.parametrize("policy", ["ours", "newest", "human_wins", "ask"])
def test_a_value_the_crm_spells_its_own_way_is_not_written_for_ever(policy: Policy) -> None:
    for by in ("us", "unknown", "system"):
        state = FieldState(" Rome", "Rome", " Rome", True, desired_at=EARLY, edit=Edit(LATE, by))  # type: ignore[arg-type]
        assert merge(state, policy).verdict is Verdict.KEEP


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
