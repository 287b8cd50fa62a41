"""The user page says nothing that the parsers refuse, and leaves out nothing that they take."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from syncline.scoring.expressions import RULES
from syncline.scoring.model import parse_model
from syncline.scoring.signals import SIGNAL_KEYS
from syncline.segments import parse_segments

PAGE = (Path(__file__).parents[3] / "docs" / "scoring.md").read_text("utf-8")
BLOCKS = [YAML(typ="safe", pure=True).load(text) for text in re.findall(r"(?:^ {4}.*\n)+", PAGE, re.MULTILINE)]

WORDS = {
    "column": "signals",
    "literal": "numbers",
    "boolean": "`true`",
    "cast": "numbers",
    "add": "+",
    "sub": "-",
    "neg": "-",
    "mul": "*",
    "div": "/",
    "eq": "=",
    "neq": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}


def test_examples_are_accepted():
    model = parse_model(BLOCKS[0], name="interest")
    assert set(parse_segments(BLOCKS[-1]["segments"], {"interest": model})) == {"pricing_visitors", "keen"}


@pytest.mark.parametrize("text", re.findall(r"^\| `(\{.*?\})`", PAGE.split("## Segments")[0], re.MULTILINE))
def test_every_signal_of_the_table_is_accepted(text):
    signal = YAML(typ="safe", pure=True).load(text)
    assert parse_model({"signals": {"s": signal}, "score": []}, name="m").signals


@pytest.mark.parametrize("key", SIGNAL_KEYS)
def test_every_kind_of_signal_has_its_place(key):
    assert f"`{{{key}: " in PAGE


@pytest.mark.parametrize("operation", RULES, ids=lambda operation: operation.key)
def test_every_part_of_the_language_has_its_place(operation):
    assert WORDS.get(operation.key, operation.key) in PAGE.split("## Expressions")[1].split("## Scores")[0]
