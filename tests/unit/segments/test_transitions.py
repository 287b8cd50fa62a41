"""Entering and leaving: once each, with a margin."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from syncline.scoring.model import Band
from syncline.segments import Standing, bands_step, step

START = datetime(2024, 5, 27, tzinfo=UTC)
HOT = Band("hot", Decimal(80), Decimal(70))


def _walk(states, rearm_after=timedelta(0)):
    """What happened at each hour: E(ntered), L(eft) or nothing."""
    standing, told = None, ""
    for hour, inside in enumerate(states):
        standing, entered, left = step(standing, inside, START + timedelta(hours=hour), rearm_after)
        told += "E" if entered else "L" if left else "."
    return told, standing


def _values(values):
    standing, told = None, ""
    for hour, value in enumerate(values):
        standing, entered, left = bands_step(standing, Decimal(value), HOT, START + timedelta(hours=hour))
        told += "E" if entered else "L" if left else "."
    return told, standing


def test_being_inside_at_the_first_look_counts_as_entering():
    assert step(None, True, START) == (Standing(True, False, 1, START), True, False)


def test_being_outside_at_the_first_look_is_no_leaving():
    assert step(None, False, START) == (Standing(False, True, 0, START), False, False)


@pytest.mark.parametrize(
    ("states", "hours", "expected"),
    [
        ("oii", 0, ".E."),
        ("iioi", 0, "E.LE"),
        ("iiii", 0, "E..."),
        ("ioi", 2, "EL."),
        ("iooi", 2, "EL.E"),
        ("ioioi", 2, "EL.L."),
        ("ioiooi", 2, "EL.L.E"),
    ],
)
def test_entering_counts_when_the_person_was_out_long_enough(states, hours, expected):
    told, standing = _walk([state == "i" for state in states], timedelta(hours=hours))
    assert told == expected
    assert standing.entered == expected.count("E")


def test_since_is_when_the_person_went_in_or_out():
    _, standing = _walk([True, True, False, False])
    assert standing == Standing(False, True, 1, START + timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["79.99", "80", "95"], ".E."),
        (["80", "79.99", "80"], "EL."),
        (["80", "70", "80"], "EL."),
        (["80", "69.99", "80"], "ELE"),
        (["80", "75", "69", "75", "80"], "EL..E"),
        (["69", "75", "85"], "..E"),
    ],
)
def test_a_band_counts_again_once_the_value_was_under_its_margin(values, expected):
    told, standing = _values(values)
    assert told == expected
    assert standing.entered == expected.count("E")
