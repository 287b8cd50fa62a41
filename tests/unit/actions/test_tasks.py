from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from syncline.actions.tasks import check_template, priority_of, render, text
from syncline.errors import ConfigError
from syncline.scoring.result import Contribution, ScoreResult

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


def score(*says: tuple[str, int, str]) -> ScoreResult:
    lines = tuple(
        Contribution(line=name, amount=Decimal(points), says={"it": phrase, "en": f"[{phrase}]"})
        for name, points, phrase in says
    )
    return ScoreResult("interesse", "comportamentale", 1, Decimal("91.00"), "caldo", lines)


def test_the_practice_guides_text() -> None:
    found = score(("demo", 20, "visitato la demo"), ("whitepaper", 25, "scaricato il report prezzi"))
    task = render(
        text("alert_it"),
        {"first_name": "Ada", "last_name": "Neri"},
        found,
        as_of=NOW,
        due=timedelta(hours=2),
        priority="normal",
    )
    assert task.subject == "Lead ad alto coinvolgimento: Ada Neri"
    assert task.body == (
        "Lead ad alto coinvolgimento: Ada Neri, ha scaricato il report prezzi e visitato la demo: "
        "inviare subito la demo e richiamare entro 2 ore"
    )
    assert task.due == NOW + timedelta(hours=2)


def test_english_names_the_three_weightiest_deeds_once() -> None:
    found = score(
        ("a", 5, "a"), ("b", 20, "b"), ("c", 10, "c"), ("d", 1, "d"), ("b again", 2, "b"), ("minus", -50, "m")
    )
    task = render(text("alert_en"), {"email": "a@b.example"}, found, as_of=NOW, due=timedelta(hours=1), priority="high")
    assert task.body == (
        "Highly engaged lead: a@b.example [b], [c] and [a]: send the demo now and call back within one hour"
    )


def test_a_score_without_deeds_still_makes_a_sentence() -> None:
    task = render(text("alert_it"), {"first_name": "Ada"}, None, as_of=NOW, due=timedelta(days=2), priority="low")
    assert "Ada, ha mostrato interesse:" in task.body
    assert task.body.endswith("entro 2 giorni")


@pytest.mark.parametrize(
    ("value", "priority"),
    [("79.99", "low"), ("80", "normal"), ("119.99", "normal"), ("120", "high"), ("159.99", "high"), ("160", "urgent")],
)
def test_priority_grows_with_the_score(value: str, priority: str) -> None:
    assert priority_of(Decimal(value), Decimal(80)) == priority


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("Ciao {nome}, {fatto} entro {entro}", None),
        ("{{literally}} {name}", None),
        ("{nme}", "unknown placeholder {nme}; did you mean 'nome'?"),
        ("{name.__class__}", "unknown placeholder {name.__class__};"),
        ("{name!r}", "placeholder {name} takes no format"),
        ("{score:>9}", "placeholder {score} takes no format"),
        ("{", "write {{ and }} for braces that are meant as such"),
    ],
)
def test_templates_are_checked_before_anyone_is_told(template: str, problem: str | None) -> None:
    found = check_template(template)
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_an_unknown_text_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown task text 'alert_fr'; did you mean 'alert_"):
        text("alert_fr")
