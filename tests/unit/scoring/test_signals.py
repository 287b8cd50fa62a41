"""Every kind of signal, one promise a row."""

from decimal import Decimal

import pytest

from syncline.model import microseconds
from syncline.scoring.log import in_order
from syncline.scoring.model import parse_model
from syncline.scoring.reference import read
from syncline.scoring.shown import shown

VISITS = [
    ["1d", "page_visit", {"url": "/a", "duration_s": 30, "device": "desktop"}],
    ["2d", "page_visit", {"url": "/a", "duration_s": 0.5, "device": ""}],
    ["10d", "page_visit", {"url": "/b", "duration_s": "60"}],
    ["20d", "page_visit", {"url": "/c%_x", "duration_s": 90, "geo": "RO"}],
    ["3h", "email_open", {"machine": True}],
    ["4h", "email_bounce", {}],
    ["30d", "custom", {"name": "trade fair", "hall": 4, "paid": True}],
]


def _value(signal, log, as_of, rows=None, profile=None):
    model = parse_model({"signals": {"s": signal}, "score": []}, name="test")
    events = in_order(log(VISITS if rows is None else rows), microseconds(as_of))
    found = model.signals["s"]
    return shown(read(found, events, profile or {}, microseconds(as_of)).value, found)


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ({"count": "page_visit"}, 4),
        ({"count": "page_visit", "cap": 2}, 2),
        ({"count": "any"}, 5),
        ({"count": ["page_visit", "email_bounce"]}, 5),
        ({"count": "email_open"}, 0),
        ({"count": "email_open", "where": {"machine": True}}, 1),
        ({"count": "page_visit", "within": "2d"}, 1),
        ({"count": "page_visit", "within": "49h"}, 2),
        ({"count": "page_visit", "where": {"url": ["/a", "/b"]}}, 3),
        ({"count": "page_visit", "where": {"url": {"ne": "/a"}}}, 2),
        ({"count": "page_visit", "where": {"url": {"like": "/?%_*"}}}, 1),
        ({"count": "page_visit", "where": {"device": {"missing": True}}}, 3),
        ({"count": "page_visit", "where": {"device": {"missing": False}}}, 1),
        ({"count": "page_visit", "where": {"duration_s": {"missing": True}}}, 1),
        ({"count": "page_visit", "where": {"duration_s": {"ge": 0.5, "lt": 90}}}, 2),
        ({"count": "page_visit", "where": {"duration_s": {"between": [30, 90]}}}, 2),
        ({"count": "page_visit", "where": {"duration_s": {"in": [30, 90]}}}, 2),
        ({"count": "page_visit", "where": {"duration_s": 30}}, 1),
        ({"count": "custom", "where": {"hall": {"le": 4}, "paid": True}}, 1),
        ({"count": "page_visit", "half_life": "10d", "where": {"url": ["/b", "/c%_x"]}}, Decimal("0.75")),
        ({"count_distinct": "url", "of": "page_visit"}, 3),
        ({"count_distinct": "duration_s", "of": "page_visit", "within": "15d"}, 2),
        ({"sum": "duration_s", "of": "page_visit"}, Decimal("120.5")),
        ({"sum": "duration_s", "of": "page_visit", "cap": 100}, Decimal(100)),
        ({"sum": "duration_s", "of": "page_visit", "half_life": "20d", "where": {"geo": "RO"}}, Decimal(45)),
        ({"sum": "duration_s", "of": "video_view"}, Decimal(0)),
        ({"max": "duration_s", "of": "page_visit"}, Decimal(90)),
        ({"max": "duration_s", "of": "page_visit", "cap": 60.25}, Decimal("60.25")),
        ({"max": "duration_s", "of": "video_view"}, None),
        ({"bursts": "page_visit", "of": 2, "within": "24h"}, 1),
        ({"bursts": "page_visit", "of": 1, "within": "1s"}, 4),
        ({"idle": "any", "unit": "hours"}, Decimal(24)),
        ({"idle": "email_bounce", "unit": "minutes"}, Decimal(240)),
        ({"idle": "call", "unit": "days"}, "never"),
        ({"idle": "call", "unit": "days", "cap": 90}, Decimal(90)),
        ({"last": "type"}, "page_visit"),
        ({"last": "url"}, "/a"),
        ({"last": "duration_s", "of": "page_visit", "where": {"geo": "RO"}}, Decimal(90)),
        ({"first": "type"}, "custom"),
        ({"first": "url"}, None),
        ({"first": "url", "of": "page_visit"}, "/c%_x"),
        ({"first": "hall", "of": "custom"}, None),
        ({"sequence": [{"page_visit": {"url": "/b"}}, "page_visit"], "within": "8d"}, True),
        ({"sequence": [{"page_visit": {"url": "/b"}}, "page_visit"], "within": "7d"}, False),
        ({"sequence": ["page_visit", "page_visit", "page_visit"], "within": "9d"}, True),
        ({"sequence": ["page_visit", "page_visit", "page_visit"], "within": "8d"}, False),
    ],
    ids=str,
)
def test_signal_is(signal, expected, log, as_of):
    assert _value(signal, log, as_of) == expected


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        ("text", "IT", "IT"),
        ("text", "", None),
        ("number", "12.50", Decimal("12.5")),
        ("number", "-3", Decimal(-3)),
        ("number", "1e3", None),
        ("number", "many", None),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("boolean", "perhaps", None),
    ],
)
def test_attribute_is_read_as_its_type(type_, text, expected, log, as_of):
    assert _value({"attribute": "size", "as": type_}, log, as_of, profile={"size": text}) == expected


def test_attribute_that_is_missing_is_null(log, as_of):
    assert _value({"attribute": "size"}, log, as_of) is None


def test_latest_start_of_a_sequence_counts(log, as_of):
    """The first try took too long, the second did not."""
    rows = [["20d", "page_visit", {}], ["9d", "page_visit", {}], ["8d", "email_click", {}]]
    signal = {"sequence": ["page_visit", "email_click"], "within": "24h"}
    assert _value(signal, log, as_of, rows) is True


def test_an_event_does_not_follow_itself(log, as_of):
    signal = {"sequence": ["page_visit", "page_visit"], "within": "24h"}
    assert _value(signal, log, as_of, [["1d", "page_visit", {}]]) is False


def test_numbers_beyond_reason_are_missing(log, as_of):
    rows = [["1d", "page_visit", {"duration_s": 1e300}], ["1d", "page_visit", {"duration_s": 2}]]
    assert _value({"sum": "duration_s", "of": "page_visit"}, log, as_of, rows) == 2
