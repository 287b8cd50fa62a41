"""Priorities count from the band that was entered, and every text a shipped model recommends is shipped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from syncline.actions.tasks import check_template, priority_of, render, text, threshold
from syncline.scoring import presets
from syncline.scoring.model import parse_model

BEHAVIORAL = parse_model(presets.preset("behavioral"), name="behavioral")


@pytest.mark.parametrize(
    ("rule", "value", "priority"),
    [
        ("band:interest.low", "100", "normal"),
        ("band:interest.low", "150", "high"),
        ("band:interest.low", "200", "urgent"),
        ("band:interest.medium", "449.99", "normal"),
        ("band:interest.high", "750", "high"),
        ("segment:keen", "499.99", "low"),
        ("band:other.low", "500", "normal"),
    ],
)
def test_priority_counts_from_the_band_that_was_entered(rule: str, value: str, priority: str) -> None:
    assert priority_of(Decimal(value), threshold(BEHAVIORAL, "interest", rule)) == priority


def test_without_a_band_nothing_is_urgent() -> None:
    plain = parse_model({"model": "m", "score": [{"name": "one", "add": 1}]}, name="m")
    assert priority_of(Decimal(9), threshold(plain, "interest", "segment:keen")) == "normal"


@pytest.mark.parametrize("name", presets.names())
def test_every_text_a_shipped_model_recommends_is_shipped(name: str) -> None:
    bands = parse_model(presets.preset(name), name=name).bands
    tasks = [action["task"] for band in bands for action in band.actions if "task" in action]
    assert tasks
    for task in tasks:
        assert text(task["text"]).subject


@pytest.mark.parametrize(
    "name", [f"{kind}_{language}" for kind in ("hand_off", "senior_outreach") for language in ("it", "en")]
)
def test_shipped_texts_are_sentences_for_anybody(name: str) -> None:
    words = text(name)
    assert name.endswith(words.language)
    assert [check_template(part) for part in (words.subject, words.body)] == [None, None]
    now = datetime(2026, 6, 1, tzinfo=UTC)
    task = render(words, {"first_name": "Ada"}, None, as_of=now, due=timedelta(hours=1), priority="urgent")
    assert "Ada" in task.subject
    assert words.nothing in task.body
