from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from syncline.scoring import presets
from syncline.scoring.model import parse_model
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment, ScoreResult
from syncline.segments.transitions import Standing
from syncline.sync.transitions import transitions

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PROGRAM = Program({"s": parse_model(presets.preset("behavioral"), name="behavioral")}, {})


class Person:
    """Remembers the standings, as the store does."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, str], Standing] = {}

    def at(self, value: int) -> list[str]:
        """What follows from a score of `value` now."""
        score = ScoreResult("s", "behavioral", 1, Decimal(value), None, ())
        moved = list(transitions(PROGRAM, self.known, Assessment(1, {"s": score}, frozenset(), None, None), NOW))
        self.known |= {(1, found.rule): found.standing for found in moved}
        return [f"{found.moved} {found.rule.partition('.')[2]}" for found in moved if found.moved]


def test_a_jump_enters_the_highest_band_only() -> None:
    assert Person().at(600) == ["enters high"]


def test_climbing_enters_band_after_band() -> None:
    person = Person()
    assert [person.at(value) for value in (50, 100, 299, 300, 500, 500)] == [
        [],
        ["enters low"],
        [],
        ["enters medium"],
        ["enters high"],
        [],
    ]


def test_falling_back_into_a_lower_band_is_no_news() -> None:
    person = Person()
    person.at(600)
    assert person.at(350) == ["leaves high"]
    assert person.at(600) == ["enters high"]


def test_nothing_is_remembered_of_people_who_never_were_anywhere() -> None:
    person = Person()
    person.at(10)
    assert person.known == {}
