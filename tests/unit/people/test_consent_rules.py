"""What people allow: each side's last word counts, the most restrictive side holds, in any order, with any repeats."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.people.consent import UNSUBSCRIBED, Basis, ConsentRules, Said, latest, stated, ticked, told

RULES = ConsentRules(
    {"mail": Basis.CONSENT, "sales": Basis.LEGITIMATE_INTEREST, "phone": Basis.CONSENT}, frozenset({"mail"})
)


def said(side: str, granted: bool, at: int = 0, purpose: str = "mail", id_: bytes = b"") -> Said:
    return Said(1, purpose, side, granted, at, id_)


@pytest.mark.parametrize(
    ("purpose", "words", "refusal"),
    [
        ("mail", [], "no consent for mail"),
        ("sales", [], None),
        ("mail", [said("a", True)], None),
        ("mail", [said("a", False)], "mail was withdrawn"),
        ("mail", [said("a", False, 1), said("b", True, 9)], "mail was withdrawn"),
        ("sales", [said("a", False, 1, "sales"), said("b", True, 9, "sales")], "sales was withdrawn"),
        ("mail", [said("a", True, 0, "sales")], "no consent for mail"),
        ("mail", [said("a", True, 1), said("a", False, 2, UNSUBSCRIBED)], "mail was withdrawn"),
        ("mail", [said("a", True, 3), said("a", False, 2, UNSUBSCRIBED)], None),
        ("mail", [said("b", True, 3), said("a", False, 2, UNSUBSCRIBED)], "mail was withdrawn"),
        ("phone", [said("a", True, 3, "phone"), said("a", False, 9, UNSUBSCRIBED)], None),
    ],
)
def test_the_most_restrictive_side_holds(purpose: str, words: list[Said], refusal: str | None) -> None:
    for order in itertools.permutations(words):
        assert RULES.refusal(purpose, order) == refusal


def test_what_a_side_says_after_we_told_it_so_is_our_own_word() -> None:
    passed_on = said(told("letter"), False, 10)
    assert RULES.refusal("sales", [said("letter", False, 12, "sales"), passed_on._replace(purpose="sales")]) is None
    assert RULES.refusal("sales", [said("letter", False, 9, "sales"), passed_on._replace(purpose="sales")])
    assert RULES.refusal("sales", [said("other", False, 12, "sales"), passed_on._replace(purpose="sales")])


def test_a_tick_of_ours_says_nothing() -> None:
    assert RULES.refusal("sales", [said(ticked("crm.OptedOut"), False, 1, "sales")]) is None
    assert RULES.sides("sales", [said(ticked("crm.OptedOut"), False, 1, "sales")]) == []


def test_at_the_same_moment_a_withdrawal_counts() -> None:
    words = [said("a", True, 5, id_=b"z"), said("a", False, 5, id_=b"a")]
    for order in (words, words[::-1]):
        assert [one.granted for one in latest(order)] == [False]
        assert RULES.refusal("mail", order) == "mail was withdrawn"


SAID = st.builds(
    Said,
    st.integers(1, 2),
    st.sampled_from(["mail", "sales", UNSUBSCRIBED]),
    st.sampled_from(["a", "b", "crm.OptedOut"]),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([b"1", b"2"]),
)


@given(st.lists(SAID, max_size=8), st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing(words: list[Said], chance: object) -> None:
    again = words + words[: len(words) // 2]
    chance.shuffle(again)  # type: ignore[attr-defined]
    assert sorted(latest(words)) == sorted(latest(again))
    for purpose in RULES.purposes:
        assert RULES.refusal(purpose, words) == RULES.refusal(purpose, latest(again))


@given(st.lists(SAID, max_size=8), SAID)
def test_a_withdrawal_that_is_the_last_word_of_its_side_always_denies(words: list[Said], last: Said) -> None:
    denied = last._replace(purpose="sales", granted=False, at_us=9)
    assert RULES.refusal("sales", [*words, denied]) == "sales was withdrawn"


@pytest.mark.parametrize(
    ("type_", "properties", "granted"),
    [
        ("consent_change", {"purpose": "mail", "granted": True}, True),
        ("consent_change", {"purpose": "mail", "granted": False}, False),
        ("consent_change", {"granted": True}, None),
        ("consent_change", {"purpose": "mail"}, None),
        ("email_unsubscribe", {}, False),
        ("email_click", {"purpose": "mail", "granted": True}, None),
    ],
)
def test_what_an_event_says(type_: str, properties: dict[str, object], granted: bool | None) -> None:
    found = stated(1, type_, 5, b"", properties, "shop")
    assert (None if found is None else found.granted) is granted
