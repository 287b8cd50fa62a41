"""Reading models: every mistake at once, each at its place, with the nearest name that would have been right."""

from decimal import Decimal

import pytest

from syncline.errors import ConfigError
from syncline.scoring.model import parse_model
from syncline.scoring.presets import names, preset
from syncline.scoring.program import Program
from syncline.scoring.reference import assess

VISITS = {"visits": {"count": "page_visit"}, "last": {"last": "type"}}


def _problems(data):
    with pytest.raises(ConfigError) as caught:
        parse_model(data, name="test")
    return {problem.path: problem.message for problem in caught.value.problems}


def _amounts(data, log, as_of, rows):
    program = Program({"test": parse_model(data, name="test")}, {})
    score = assess(program, 1, log(rows), {}, as_of).scores["test"]
    assert sum(found.amount for found in score.contributions) == score.value
    return {found.line: found.amount for found in score.contributions if found.amount}


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ({"bnds": []}, ("bnds",), "unknown key 'bnds': did you mean 'bands'?"),
        ({"version": 0}, ("version",), "version is a whole number, 1 or more, not 0"),
        ({"timezone": "Rome"}, ("timezone",), "unknown time zone 'Rome'"),
        ({"min": 10, "max": 1}, ("min",), "min 10 is above max 1"),
        ({"max": 0.005}, ("max",), "max has at most 2 decimals"),
        ({"base": "much"}, ("base",), "base is a number, not 'much'"),
        ({"signals": {"s": {"cout": "page_visit"}}}, ("signals", "s"), "did you mean 'count'?"),
        ({"signals": {"s": {"count": "page_vist"}}}, ("signals", "s", "count"), "did you mean 'page_visit'?"),
        ({"signals": {"s": {"count": []}}}, ("signals", "s", "count"), "name at least one event type, or any"),
        ({"signals": {"s": {"count": "call", "sum": "x"}}}, ("signals", "s"), "here is count and sum together"),
        (
            {"signals": {"s": {"count": "page_visit", "where": {"page_typ": "pricing"}}}},
            ("signals", "s", "where", "page_typ"),
            "unknown property 'page_typ' of page_visit: did you mean 'page_type'?",
        ),
        (
            {"signals": {"s": {"count": "page_visit", "where": {"duration_s": "long"}}}},
            ("signals", "s", "where", "duration_s"),
            "duration_s is a number, so it cannot be compared with 'long'",
        ),
        (
            {"signals": {"s": {"count": "page_visit", "where": {"url": {"gt": 3}}}}},
            ("signals", "s", "where", "url", "gt"),
            "gt compares numbers, but url is a text",
        ),
        (
            {"signals": {"s": {"count": "page_visit", "where": {"duration_s": {"over": 3}}}}},
            ("signals", "s", "where", "duration_s", "over"),
            "unknown key 'over'",
        ),
        (
            {"signals": {"s": {"count": "form_submission", "where": {"fields": "x"}}}},
            ("signals", "s", "where", "fields"),
            "fields is a mapping",
        ),
        ({"signals": {"s": {"count": "call", "within": "soon"}}}, ("signals", "s", "within"), "is not a duration"),
        ({"signals": {"s": {"count": "call", "within": "0d"}}}, ("signals", "s", "within"), "longer than nothing"),
        ({"signals": {"s": {"count": "call", "unit": "days"}}}, ("signals", "s", "unit"), "unknown key 'unit'"),
        ({"signals": {"s": {"idle": "any"}}}, ("signals", "s"), "idle needs unit, such as unit: hours"),
        ({"signals": {"s": {"idle": "any", "unit": "day"}}}, ("signals", "s", "unit"), "did you mean 'days'?"),
        ({"signals": {"s": {"bursts": "call", "of": 3}}}, ("signals", "s"), "bursts needs within"),
        ({"signals": {"s": {"sum": "url", "of": "page_visit"}}}, ("signals", "s", "sum"), "sum needs a number"),
        ({"signals": {"s": {"last": "type", "of": "cal"}}}, ("signals", "s", "of"), "did you mean 'call'?"),
        ({"signals": {"s": {"sequence": ["call"], "within": "1d"}}}, ("signals", "s", "sequence"), "at least two"),
        (
            {"signals": {"s": {"sequence": ["call", "page_visit"], "within": "session"}}},
            ("signals", "s", "sequence", 0),
            "a session is made of page visits, so it holds no call",
        ),
        ({"signals": {"case": {"count": "call"}}}, ("signals", "case"), "'case' cannot name a signal"),
        ({"signals": {"two words": {"count": "call"}}}, ("signals", "two words"), "cannot name a signal"),
        ({"score": [{"name": "a", "add": "10 * visit"}]}, ("score", 0, "add"), "did you mean 'visits'?"),
        ({"score": [{"name": "a", "add": "last"}]}, ("score", 0, "add"), "`last` is a text, but add needs a number"),
        ({"score": [{"name": "a", "add": 1, "if": "visits"}]}, ("score", 0, "if"), "`visits > 0`, for example"),
        ({"score": [{"name": "a"}]}, ("score", 0), "a line has either add or multiply"),
        ({"score": [{"add": 1}]}, ("score", 0), "a line has a name"),
        ({"score": [{"name": "base", "add": 1}]}, ("score", 0, "name"), "the name 'base' is taken"),
        ({"score": [{"name": "a", "multiply": 2, "cap": 3}]}, ("score", 0, "cap"), "a line that multiplies has none"),
        ({"score": [{"name": "a", "add": 1, "group": "g"}]}, ("score", 0, "group"), "unknown group 'g'"),
        ({"decay": {"rate": 1.5, "per": "30d"}}, ("decay", "rate"), "above 0, at most 1, not 1.5"),
        ({"decay": {"rate": 0.5}}, ("decay",), "decay needs per, such as per: 30d"),
        ({"bands": [{"name": "hot"}]}, ("bands", 0), "a band has a name and the value it starts at"),
        ({"bands": [{"name": "a", "at_least": 80, "rearm_below": 90}]}, ("bands", 0, "rearm_below"), "is above"),
        ({"bands": [{"name": "a", "at_least": 1}, {"name": "a", "at_least": 2}]}, ("bands", 1), "must differ"),
    ],
)
def test_mistake_is_named_at_its_place(data, path, message):
    problems = _problems({"signals": VISITS, "score": [], **data})
    assert path in problems, problems
    assert message in problems[path]


def test_all_mistakes_are_told_at_once():
    data = {"signals": {"a": {"cout": "call"}, "b": {"count": "cal"}}, "score": [{"name": "x", "add": "zz"}], "bnds": 1}
    assert set(_problems(data)) == {("signals", "a"), ("signals", "b", "count"), ("score", 0, "add"), ("bnds",)}


def test_a_wrong_signal_is_told_once_not_again_in_every_line():
    data = {"signals": {"a": {"count": "cal"}}, "score": [{"name": "x", "add": "2 * a"}]}
    assert set(_problems(data)) == {("signals", "a", "count")}


def test_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'behavioral'"):
        preset("behavioural")


@pytest.mark.parametrize("name", names())
def test_preset_says_in_both_languages_what_every_deed_was(name):
    model = parse_model(preset(name), name="score")
    for line in model.lines:
        assert line.operation == "multiply" or set(line.says) == {"it", "en"}, line.name


def test_line_is_bounded_by_cap_and_floor(log, as_of):
    data = {
        "signals": VISITS,
        "score": [
            {"name": "capped", "add": "10 * visits", "cap": 15},
            {"name": "floored", "add": "-10 * visits", "floor": -5.5},
            {"name": "not lifted", "add": "1", "if": "visits > 5", "floor": 3},
        ],
    }
    rows = [["1d", "page_visit"], ["2d", "page_visit"]]
    assert _amounts(data, log, as_of, rows) == {"capped": 15, "floored": Decimal("-5.5")}


def test_group_takes_what_still_fits_under_its_cap(log, as_of):
    lines = [("a", "20"), ("b", "20"), ("c", "-4"), ("d", "10")]
    data = {
        "groups": {"g": {"cap": 30}},
        "score": [{"name": name, "add": add, "group": "g"} for name, add in lines] + [{"name": "e", "add": 7}],
    }
    assert _amounts(data, log, as_of, []) == {"a": 20, "b": 10, "c": -4, "d": 4, "e": 7}


def test_null_adds_nothing_and_multiplies_by_nothing(log, as_of):
    data = {
        "base": 8,
        "signals": {"longest": {"max": "duration_s", "of": "video_view"}},
        "score": [{"name": "a", "add": "longest"}, {"name": "m", "multiply": "longest"}, {"name": "z", "add": "1 / 0"}],
    }
    assert _amounts(data, log, as_of, []) == {"base": 8}


def test_multiplication_applies_to_what_stands_before_it(log, as_of):
    data = {"score": [{"name": "a", "add": 3}, {"name": "m", "multiply": 1.5}, {"name": "b", "add": 1}]}
    assert _amounts(data, log, as_of, []) == {"a": 3, "m": Decimal("1.5"), "b": 1}
