"""Both presets against scores computed by hand (golden_*.yaml), to the last decimal."""

import random
from decimal import Decimal
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from syncline.scoring.model import parse_model
from syncline.scoring.presets import preset
from syncline.scoring.program import Program
from syncline.scoring.reference import assess

FILES = ("golden_comportamentale.yaml", "golden_behavioral.yaml")


def _cases():
    for file in FILES:
        table = YAML(typ="safe", pure=True).load(Path(__file__).with_name(file).read_text("utf-8"))
        for name, case in table["cases"].items():
            yield pytest.param(table["model"], case, id=f"{table['model']}: {name}")


CASES = list(_cases())


def _score(model, events, as_of):
    program = Program({model: parse_model(preset(model), name=model)}, {})
    return assess(program, 1, events, {}, as_of).scores[model]


@pytest.mark.parametrize(("model", "case"), CASES)
def test_preset_gives_the_score_computed_by_hand(model, case, log, as_of):
    score = _score(model, log(case["events"]), as_of)
    gives = {found.line: found.amount for found in score.contributions if found.amount}
    assert gives == {line: Decimal(str(amount)) for line, amount in case["gives"].items()}
    assert score.value == Decimal(case["value"])
    assert score.band == case.get("band")


@pytest.mark.parametrize(("model", "case"), CASES)
def test_contributions_computed_by_hand_add_up_to_the_value(model, case):
    assert sum(Decimal(str(amount)) for amount in case["gives"].values()) == Decimal(case["value"])


@pytest.mark.parametrize(("model", "case"), CASES)
def test_order_and_duplicates_do_not_matter(model, case, log, as_of):
    events = log(case["events"])
    shuffled = events + events[::2]
    random.Random(7).shuffle(shuffled)
    assert _score(model, shuffled, as_of) == _score(model, events, as_of)


def test_contributions_name_signal_value_weight_and_last_events(log, as_of):
    visits = [[f"{hours}h", "page_visit", {"page_type": "pricing"}] for hours in (10, 20, 5, 30)]
    first = _score("comportamentale", log(visits), as_of).contributions[1]
    assert (first.line, first.signal, first.value, first.weight) == ("prezzi", "visite_pagina_prezzi", 4, 10)
    assert [int(event, 16) for event in first.events] == [2, 0, 1]
    assert first.says == {"it": "visitato la pagina prezzi (×4)", "en": "visited the pricing page (×4)"}


def test_a_person_who_never_did_anything_is_idle_since_never(as_of):
    contributions = {c.line: c for c in _score("comportamentale", [], as_of).contributions}
    assert contributions["recente"].value == "never"
