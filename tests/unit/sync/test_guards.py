"""What a person allows on the command line, and what a plan amounts to in the guard's words."""

from __future__ import annotations

from collections import Counter

import pytest

from syncline.config import Guard as GuardConfig
from syncline.errors import ConfigError, GuardError
from syncline.model import Limits
from syncline.sync.guards import Allowance, amounts, hold_to_guard, parse_allow
from syncline.sync.report import SinkReport
from syncline.sync.target import Guard, Target

TARGET = Target("crm", ("Lead",), "Key", True, (), Limits(200, 200, 200), guard=Guard(creates=10, tasks=None))


def test_allow_takes_names_and_names_with_numbers() -> None:
    assert parse_allow(["creates,tasks=30", "clears"]) == {"creates": None, "tasks": 30, "clears": None}
    assert parse_allow([]) == {}


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("create", "did you mean 'creates'?"),
        ("", "no guard counts ''"),
        ("creates=", "write creates=6000, or creates for any number"),
        ("creates=many", "no number"),
        ("creates=-1", "no number"),
        ("creates=1.5", "no number"),
        ("creates=٣", "no number"),
    ],
)
def test_allow_refuses_what_it_does_not_know(word: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        parse_allow([word])


def test_amounts_count_rows_of_each_kind() -> None:
    rows = Counter(
        {
            ("upsert", "Lead", "Key"): 3,
            ("upsert", "Lead", "Id"): 5,
            ("task", "", ""): 2,
            ("add", "Hot", ""): 7,
            ("remove", "Hot", ""): 1,
        }
    )
    counted = {"creates": 3, "clears": 4, "tasks": 2, "removes": 1, "overwrites": 6}
    assert counted.items() <= amounts(rows, clears=4, overwrites=6).items()


def test_everything_a_guard_may_say_is_counted() -> None:
    assert set(amounts({})) == set(GuardConfig.model_fields) == set(Guard.__dataclass_fields__)


def test_null_is_no_limit_and_exactly_as_many_is_not_too_many() -> None:
    report = SinkReport()
    hold_to_guard(TARGET, {"creates": 10, "tasks": 10_000}, Allowance(), report)
    assert report.allowed == {}


def test_the_message_repeats_what_was_allowed_already_so_that_the_command_is_whole() -> None:
    guarded = Target("crm", ("Lead",), "Key", True, (), Limits(1, 1, 1), guard=Guard(creates=1, tasks=1))
    report = SinkReport()
    with pytest.raises(GuardError, match=r"--allow tasks=3,creates=2`"):
        hold_to_guard(guarded, {"creates": 2, "tasks": 3}, Allowance({"creates": 2}), report)
    assert report.allowed == {}, "nothing is done, so nothing was made use of"
