"""Segments: what their predicates mean, why somebody is in or out, and what is said of mistakes."""

from datetime import UTC, datetime, timedelta

import pytest

from syncline.errors import ConfigError
from syncline.model import microseconds
from syncline.model.duration import parse_duration
from syncline.scoring.log import LoggedEvent
from syncline.scoring.model import parse_model
from syncline.scoring.presets import names, preset
from syncline.scoring.program import Program
from syncline.scoring.reference import assess, why
from syncline.segments import examples, parse_segments

AS_OF = datetime(2024, 5, 27, 12, tzinfo=UTC)
MODELS = {name: parse_model(preset(name), name=name) for name in names()}
PRICING, DEMO = {"page_type": "pricing"}, {"page_type": "demo"}


def _events(rows):
    return [
        LoggedEvent(f"{i:032x}", type_, microseconds(AS_OF - parse_duration(ago)), False, properties)
        for i, (ago, type_, properties) in enumerate(rows)
    ]


def _program(data):
    return Program(MODELS, parse_segments(data, MODELS))


def _inside(data, rows, profile=None):
    return assess(_program(data), 1, _events(rows), profile or {}, AS_OF).segments


def _holds(predicate, rows, profile=None):
    return "it" in _inside({"it": predicate}, rows, profile)


def _problems(data):
    with pytest.raises(ConfigError) as caught:
        parse_segments(data, MODELS)
    return {problem.path: problem.message for problem in caught.value.problems}


VISIT = ["1d", "page_visit", PRICING]
WHITEPAPER = ["2d", "content_download", {"content_type": "whitepaper"}]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], set()),
        ([VISIT], {"pricing_visitors"}),
        ([VISIT, WHITEPAPER, WHITEPAPER], {"pricing_visitors"}),
        ([VISIT, *[WHITEPAPER] * 3], {"pricing_visitors", "pricing_visitors_with_whitepapers"}),
        ([WHITEPAPER] * 3, set()),
        ([VISIT, *[["3d", "page_visit", DEMO]] * 2], {"pricing_visitors", "pricing_visitors_at_the_demo"}),
        (
            [VISIT, ["65d", "email_open", {}], ["60d", "email_open", {}]],
            {"pricing_visitors", "pricing_visitors_who_open"},
        ),
        ([VISIT, ["65d", "email_open", {}], ["59d23h59m59s", "email_open", {}]], {"pricing_visitors"}),
        ([["9d", "email_open", {}], ["8d", "email_click", {}], ["7d", "page_visit", DEMO]], {"lead_caldo"}),
        ([["9d", "email_open", {}], ["7d", "page_visit", DEMO]], set()),
    ],
)
def test_shipped_examples_hold_for(rows, expected):
    assert _inside(examples(), rows) == expected


ROWS = [
    ["1d", "page_visit", {**PRICING, "duration_s": 70}],
    ["2d", "email_open", {}],
    ["40d", "email_open", {}],
    ["3d", "call", {"call_type": "demo"}],
]


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ({"all": ["email_open", "call"]}, True),
        ({"all": ["email_open", "email_click"]}, False),
        ({"any": ["email_click", "call"]}, True),
        ({"not": "email_click"}, True),
        ({"all": ["call"], "not": {"page_visit": PRICING}}, False),
        ({"email_open": {}, "at_least": 2}, True),
        ({"email_open": {}, "at_least": 2, "within": "5d"}, False),
        ({"email_open": {}, "at_least": 2, "within": "38d"}, True),
        ({"count": "email_open", "within": "30d", "at_least": 2}, False),
        ({"count": "email_open", "within": "30d"}, True),
        ({"count": "email_click", "at_most": 0}, True),
        ({"idle": "any", "unit": "days", "less_than": 1}, False),
        ({"idle": "any", "unit": "days", "at_most": 1}, True),
        ({"max": "duration_s", "of": "page_visit", "more_than": 69.5}, True),
        ({"max": "duration_s", "of": "video_view", "more_than": 0}, False),
        ({"not": {"max": "duration_s", "of": "video_view", "more_than": 0}}, True),
        ({"last": "type", "is": ["call", "page_visit"]}, True),
        ({"last": "type", "is_not": "call"}, True),
        ({"sequence": ["call", {"page_visit": PRICING}], "within": "2d"}, True),
        ({"sequence": [{"page_visit": PRICING}, "call"], "within": "2d"}, False),
        ({"attribute": "country", "is": "IT"}, True),
        ({"attribute": "country", "is": ["FR", "DE"]}, False),
        ({"attribute": "title", "is_not": "CEO"}, False),
        ({"attribute": "title", "missing": True}, True),
        ({"attribute": "employees", "at_least": 50}, True),
        ({"attribute": "employees", "more_than": 50.5}, False),
        ({"attribute": "customer", "is": True}, True),
        ({"score": "comportamentale", "at_least": 91}, True),
        ({"score": "comportamentale", "more_than": 91}, False),
        ({"score": "comportamentale", "less_than": 91.01}, True),
        ({"band": "comportamentale.caldo"}, True),
        ({"band": "behavioral.high"}, False),
    ],
    ids=str,
)
def test_predicate_means(predicate, expected):
    rows = [*ROWS, *[["4d", "content_download", {"content_type": "whitepaper"}]] * 1, ["5d", "video_view", {}]]
    # prices 10 + whitepaper 25 + video 5 + long visit 20 = 60; x 1.3 = 78; two more videos and a tenth: 70 x 1.3 = 91
    rows += [["6d", "video_view", {}], ["6d", "video_view", {}]]
    profile = {"country": "IT", "employees": "50", "customer": "yes"}
    assert _holds(predicate, rows, profile) is expected


def test_a_segment_may_ask_about_one_that_is_written_later():
    data = {"a": {"not": {"segment": "b"}}, "b": {"all": ["call"]}, "c": {"extends": "a", "any": ["email_open"]}}
    assert list(parse_segments(data, MODELS)) == ["b", "a", "c"]
    assert _inside(data, [["1d", "email_open", {}]]) == {"a", "c"}
    assert _inside(data, [["1d", "call", {}]]) == {"b"}


def test_why_shows_every_predicate_with_its_truth_and_value():
    program = _program(examples())
    found = why(program, "pricing_visitors_with_whitepapers", _events([VISIT, WHITEPAPER]), {}, AS_OF)
    parent, own = found.parts[0].parts
    assert not found.holds
    assert (parent.text, parent.holds) == ("segment: pricing_visitors", True)
    asked = own.parts[0]
    assert asked.text == "content_download: {content_type: whitepaper}, at_least: 3"
    assert (asked.holds, asked.value) == (False, 1)


def test_why_of_an_unknown_segment_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'lead_caldo'"):
        why(_program(examples()), "lead_cald", [], {}, AS_OF)


def test_rearm_after_is_read():
    segments = parse_segments({"a": {"all": ["call"], "rearm_after": "24h"}, "b": {"all": ["call"]}}, MODELS)
    assert segments["a"].rearm_after == timedelta(days=1)
    assert segments["b"].rearm_after == timedelta(0)


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (
            {"a": {"extends": "b", "all": ["call"]}, "b": {"all": [{"segment": "c"}]}, "c": {"not": {"segment": "a"}}},
            ("a",),
            "in a circle: a -> b -> c -> a",
        ),
        ({"a": {"extends": "a", "all": ["call"]}}, ("a",), "in a circle: a -> a"),
        ({"hot": {"all": ["call"]}, "b": {"extends": "hto", "all": ["call"]}}, ("b", "extends"), "did you mean 'hot'?"),
        ({"a": {"extends": "a"}}, ("a",), "asks for nothing of its own"),
        ({"a": {"all": []}}, ("a", "all"), "all is empty"),
        ({"a": {"all": "call"}}, ("a", "all"), "all is a list"),
        ({"a": {"all": ["cal"]}}, ("a", "all", 0), "unknown event type 'cal': did you mean 'call'?"),
        ({"a": {"all": [{"pagevisit": {}}]}}, ("a", "all", 0, "pagevisit"), "did you mean 'page_visit'?"),
        (
            {"a": {"all": [{"page_visit": {"page_typ": "x"}}]}},
            ("a", "all", 0, "page_visit", "page_typ"),
            "did you mean 'page_type'?",
        ),
        ({"a": {"email_open": {}, "within": "5d"}}, ("a", "within"), "{count: email_open, within: 5d}"),
        ({"a": {"email_open": {}, "at_last": 2}}, ("a", "at_last"), "did you mean 'at_least'?"),
        ({"a": {"score": "behavioural", "at_least": 1}}, ("a", "score"), "did you mean 'behavioral'?"),
        ({"a": {"score": "behavioral"}}, ("a",), "compared with what? Add one of at_least"),
        (
            {"a": {"score": "behavioral", "at_least": "many"}},
            ("a", "at_least"),
            "needs numbers, but `'many'` is a text",
        ),
        ({"a": {"band": "behavioral.hihg"}}, ("a", "band"), "did you mean 'high'?"),
        ({"a": {"band": "high"}}, ("a", "band"), "such as behavioral.high, not 'high'"),
        ({"a": {"last": "type", "at_least": 3}}, ("a", "at_least"), "needs numbers, but `it` is a text"),
        ({"a": {"last": "type"}}, ("a",), "compared with what?"),
        ({"a": {"count": "cal"}}, ("a", "count"), "did you mean 'call'?"),
        ({"a": ["call"]}, ("a",), "a segment is a mapping"),
        ({"a": {"all": ["call"], "rearm_after": "soon"}}, ("a", "rearm_after"), "is not a duration"),
    ],
)
def test_mistake_is_named_at_its_place(data, path, message):
    problems = _problems(data)
    assert path in problems, problems
    assert message in problems[path]
