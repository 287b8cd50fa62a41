"""The embedded engine against the reference evaluator: equal to the last decimal."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from sqlglot import exp

from syncline.engine.embedded import assess_all
from syncline.engine.sql import Layers
from syncline.errors import ConfigError
from syncline.model import microseconds
from syncline.model.duration import parse_duration
from syncline.scoring.expressions import RULES, Kind, evaluate, parse_expression, render
from syncline.scoring.expressions import names as names_in
from syncline.scoring.log import LoggedEvent
from syncline.scoring.model import parse_model
from syncline.scoring.numbers import ONE
from syncline.scoring.presets import names, preset
from syncline.scoring.program import Program
from syncline.scoring.reference import assess
from syncline.scoring.signals import kind_of
from syncline.segments import parse_segments

AS_OF = datetime(2024, 5, 27, 12, tzinfo=UTC)
GOLDEN = Path(__file__).parents[1] / "scoring"


# Expressions, one rule at a time

GRID = {
    Kind.INTEGER: (None, -7, -1, 0, 1, 2, 10**9),
    Kind.NUMBER: (None, -5 * ONE // 2, -1, 0, 1, ONE // 2, 3 * ONE // 2, 10**11 * ONE),
    Kind.BOOLEAN: (None, True, False),
    Kind.TEXT: (None, "", "a", "b"),
}
MORE = ("a - b / 3", "a / b / b", "case a when b then 1 when 2 then 2.5 end", "a in (b, 2)", "not (a > b)")
ROUNDED = ("a * 0.5 * b", "a / 2", "b * 0.000000000001", "a * b * 0.3")


def _sql_values(node, rows, kinds):
    """The values of an expression on each row, from DuckDB."""
    types = {Kind.INTEGER: "HUGEINT", Kind.NUMBER: "HUGEINT", Kind.BOOLEAN: "BOOLEAN", Kind.TEXT: "VARCHAR"}
    with duckdb.connect() as connection:
        columns = ", ".join(f"{name} {types[kind]}" for name, kind in kinds.items())
        connection.execute(f"CREATE TABLE given (place INTEGER, {columns})")
        insert = f"INSERT INTO given VALUES ({', '.join('?' * (len(kinds) + 1))})"  # noqa: S608 # question marks only
        connection.executemany(insert, [(i, *row) for i, row in enumerate(rows)])
        layers = Layers(exp.select("*").from_("given"))
        value = layers.let(render(node, {name: exp.column(name) for name in kinds}, layers.let))
        query = layers.select([exp.alias_(value, "value")]).order_by("place")
        return [row[0] for row in connection.execute(query.sql(dialect="duckdb")).fetchall()]


@pytest.mark.parametrize("kinds", list(itertools.product((Kind.INTEGER, Kind.NUMBER), repeat=2)), ids=str)
@pytest.mark.parametrize("text", [rule.example for rule in RULES.values()] + list(ROUNDED) + list(MORE))
def test_rule_means_the_same_in_python_and_in_sql(text, kinds):
    known = {"a": kinds[0], "b": kinds[1], "p": Kind.BOOLEAN, "q": Kind.BOOLEAN, "visits": kinds[0]}
    node = parse_expression(text, known)
    used = {name: known[name] for name in names_in(node)} or {"a": kinds[0]}
    rows, expected = [], []
    for row in itertools.product(*(GRID[kind] for kind in used.values())):
        try:
            expected.append(evaluate(node, dict(zip(used, row, strict=True))))
        except ConfigError:
            continue
        rows.append(row)
    assert len(rows) > 2
    assert _sql_values(node, rows, used) == expected


@pytest.mark.parametrize("text", ["t = 'a'", "t <> u", "t in ('a', u)", "coalesce(t, u, 'x')", "t is null"])
def test_texts_mean_the_same_in_python_and_in_sql(text):
    kinds = {"t": Kind.TEXT, "u": Kind.TEXT}
    node = parse_expression(text, kinds)
    rows = list(itertools.product(GRID[Kind.TEXT], repeat=2))
    expected = [evaluate(node, {"t": t, "u": u}) for t, u in rows]
    assert _sql_values(node, rows, kinds) == expected


# Golden cases


def _golden(name):
    return YAML(typ="safe", pure=True).load((GOLDEN / f"golden_{name}.yaml").read_text("utf-8"))


def _event(number, when, type_, properties):
    moment = datetime.fromisoformat(when) if "T" in when else AS_OF - parse_duration(when)
    others = dict(properties)
    return LoggedEvent(f"{number:032x}", type_, microseconds(moment), others.pop("machine", False), others)


@pytest.mark.parametrize("name", names())
def test_engine_gives_the_scores_computed_by_hand(name, database, fill):
    cases = list(_golden(name)["cases"].values())
    numbers = itertools.count()
    logs = {i: [_event(next(numbers), *row) for row in case["events"]] for i, case in enumerate(cases, 1)}
    fill(logs)
    found = list(assess_all(Program({name: parse_model(preset(name), name=name)}, {}), database, AS_OF))
    assert [str(a.scores[name].value) for a in found] == [case["value"] for case in cases]
    assert [a.scores[name].band for a in found] == [case.get("band") for case in cases]


# Random logs and random models

AGOS = ("0s", "1s", "15m", "30m", "29m59s", "12h", "24h", "23h59m", "2d", "3d", "7d", "30d", "57d", "58d", "200d")
TYPES = ("email_open", "email_open", "page_visit", "page_visit", "page_visit", "email_click", "call", "custom")
PROPERTIES = {
    "page_visit": {
        "page_type": st.sampled_from(["pricing", "demo", "blog", "", "a_b%"]),
        "duration_s": st.sampled_from([0, 1, 60, 60.5, 0.000001, 123.456789, "60", None, True, 1e300, -3]),
        "session_id": st.sampled_from(["S1", "S2", "", 7]),
        "url": st.sampled_from(["/prezzi", "/prezzi/à", "/x"]),
    },
    "email_open": {"campaign": st.sampled_from(["spring", "autumn"])},
    "email_click": {"campaign": st.sampled_from(["spring", "autumn"])},
    "call": {"call_type": st.sampled_from(["demo", "support", "other"])},
    "custom": {"hall": st.integers(-3, 3), "paid": st.booleans(), "name": st.just("fair")},
}


@st.composite
def _logs(draw):
    numbers = draw(st.permutations(range(24)))
    log = []
    for number in numbers[: draw(st.integers(0, 24))]:
        type_ = draw(st.sampled_from(TYPES))
        chosen = {key: draw(values) for key, values in PROPERTIES[type_].items() if draw(st.booleans())}
        t_us = microseconds(AS_OF - parse_duration(draw(st.sampled_from(AGOS)))) + draw(st.sampled_from([0, 0, 0, 1]))
        log.append((number, type_, t_us, draw(st.integers(0, 9)) == 0, chosen))
    return log


_types = st.sampled_from(["email_open", "page_visit", "any", ["page_visit", "email_click"], "custom"])
_durations = st.sampled_from(["1s", "30m", "24h", "2d", "7d", "30d"])
_where = {
    "page_visit": st.sampled_from(
        [
            {},
            {"page_type": "pricing"},
            {"page_type": ["pricing", "demo"]},
            {"page_type": {"ne": "blog"}},
            {"page_type": {"like": "?_?%"}},
            {"url": {"like": "/prez*"}},
            {"duration_s": {"ge": 60}},
            {"duration_s": {"between": [0.000001, 60]}},
            {"duration_s": {"missing": True}},
            {"duration_s": {"in": [1, 60.5]}, "page_type": {"missing": False}},
        ]
    ),
    "email_open": st.sampled_from([{}, {"machine": True}, {"campaign": "spring"}, {"machine": False}]),
    "custom": st.sampled_from([{}, {"hall": {"lt": 2}}, {"paid": True}, {"hall": 3}]),
}


@st.composite
def _signal(draw):
    head = draw(st.sampled_from(SIGNALS))
    return draw(head)


def _maybe(key, values):
    return st.one_of(st.just({}), values.map(lambda value: {key: value}))


def _joined(*parts):
    return st.tuples(*parts).map(lambda found: {key: value for part in found for key, value in part.items()})


def _seen(key):
    """A type with a condition that fits it."""
    plain = _types.map(lambda type_: {key: type_})
    fitting = [values.map(lambda where, t=type_: {key: t, "where": where}) for type_, values in _where.items()]
    return st.one_of(plain, *fitting)


_within = _maybe("within", _durations)
_half_life = st.one_of(st.just({}), _durations.map(lambda value: {"half_life": value}))
_cap = _maybe("cap", st.integers(0, 4))
_number_of = st.sampled_from([("duration_s", "page_visit"), ("hall", "custom")])
_step = st.one_of(_where["page_visit"].map(lambda where: {"page_visit": where}), st.just("page_visit"))
_any_step = st.one_of(_step, st.sampled_from(["email_open", "any", {"email_open": {"machine": True}}]))

_long = _durations.map(lambda value: {"within": value})
_distinct = st.sampled_from(["url", "page_type", "duration_s"]).map(lambda p: {"count_distinct": p, "of": "page_visit"})
_edges = st.sampled_from(
    [
        {"last": "type"},
        {"first": "type"},
        {"last": "call_type"},
        {"first": "page_type"},
        {"last": "duration_s"},
        {"last": "hall", "of": "custom"},
        {"last": "duration_s", "of": "page_visit"},
        {"first": "paid", "of": "custom", "where": {"paid": True}},
    ]
)
_sessions = st.lists(_step, min_size=2, max_size=3).map(lambda steps: {"sequence": steps, "within": "session"})
_sequences = st.lists(_any_step, min_size=2, max_size=4).map(lambda steps: {"sequence": steps})
_unit = st.sampled_from(["days", "hours", "seconds"]).map(lambda unit: {"unit": unit})

SIGNALS = (
    _joined(_seen("count"), _within, _cap),
    _joined(_seen("count"), _within, _half_life, _cap),
    _joined(_distinct, _within),
    _joined(_number_of.map(lambda found: {"sum": found[0], "of": found[1]}), _within, _half_life, _cap),
    _joined(_number_of.map(lambda found: {"max": found[0], "of": found[1]}), _within, _cap),
    _joined(_seen("bursts"), st.integers(1, 4).map(lambda of: {"of": of}), _long),
    _joined(_seen("idle"), _unit, _cap, _within),
    _joined(_edges, _within),
    _sessions,
    _joined(_sequences, _long),
    st.sampled_from(["text", "number", "boolean"]).map(lambda type_: {"attribute": "size", "as": type_}),
)


@st.composite
def _expression(draw, kinds, wanted, depth=3):
    """A text of the wanted kind over the signals at hand."""
    numeric = wanted == "number"
    mine = [name for name, kind in kinds.items() if (kind.numeric if numeric else kind is Kind.BOOLEAN)]
    texts = [name for name, kind in kinds.items() if kind is Kind.TEXT]
    inner = _expression(kinds, wanted, depth - 1)
    leaf = st.sampled_from([*mine, *(["0", "1", "2.5", "10", "-0.3"] if numeric else ["true"])])
    if depth == 0:
        return draw(leaf)
    number, truth = _expression(kinds, "number", depth - 1), _expression(kinds, "truth", depth - 1)
    if numeric:
        forms = [
            leaf,
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda f: f"({f[0]} {f[1]} {f[2]})"),
            st.tuples(truth, inner, inner).map(lambda f: f"case when {f[0]} then {f[1]} else {f[2]} end"),
            st.tuples(st.sampled_from(["least", "greatest", "coalesce"]), inner, inner).map(
                lambda f: f"{f[0]}({f[1]}, {f[2]})"
            ),
            inner.map(lambda f: f"-({f})"),
        ]
    else:
        forms = [
            leaf,
            st.tuples(number, st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]), number).map(" ".join),
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda f: f"({f[0]} {f[1]} {f[2]})"),
            inner.map(lambda f: f"not ({f})"),
            number.map(lambda f: f"{f} is null"),
            st.tuples(number, number, number).map(lambda f: f"{f[0]} between {f[1]} and {f[2]}"),
            *([st.sampled_from(texts).map(lambda t: f"{t} in ('call', 'demo', 'page_visit')")] if texts else []),
        ]
    return draw(st.one_of(*forms))


@st.composite
def _models(draw):
    signals = {f"s{i}": draw(_signal()) for i in range(draw(st.integers(1, 5)))}
    frame = {
        "timezone": draw(st.sampled_from(["Europe/Rome", "UTC", "America/St_Johns"])),
        "base": draw(st.sampled_from([0, 100, -2.25])),
        "groups": {"g": {"cap": draw(st.sampled_from([0, 12.5, 40]))}},
        "signals": signals,
    }
    kinds = _kinds(signals)
    lines = [draw(_line(kinds, f"line {i}")) for i in range(draw(st.integers(1, 5)))]
    limits = draw(st.sampled_from([{}, {"min": 0}, {"min": -10.5, "max": 1000}]))
    decay = draw(st.sampled_from([{}, {"decay": {"rate": 0.95, "per": "30d"}}, {"decay": {"rate": 0.5, "per": "7h"}}]))
    bands = [{"name": "hot", "at_least": 80}, {"name": "warm", "at_least": 12.25}]
    return {**frame, **limits, **decay, "score": lines, "bands": bands}


def _kinds(signals):
    model = parse_model({"signals": signals, "score": []}, name="m")
    return {name: kind_of(signal) for name, signal in model.signals.items()}


@st.composite
def _line(draw, kinds, name):
    line = {"name": name}
    if draw(st.integers(0, 3)) == 0:
        weighed = "coalesce(s0, 1)" if kinds["s0"].numeric else "3"
        line["multiply"] = draw(st.sampled_from(["1.3", "0.333333333333", "2", "-1", weighed]))
    else:
        line["add"] = draw(_expression(kinds, "number"))
        line.update(draw(st.sampled_from([{}, {"cap": 20}, {"floor": -3.5}, {"group": "g"}, {"group": "g", "cap": 8}])))
    if draw(st.booleans()):
        line["if"] = draw(_expression(kinds, "truth"))
    return line


SEGMENTS = {
    "opened": {"all": ["email_open"]},
    "twice": {
        "extends": "opened",
        "any": [{"email_open": {}, "at_least": 2, "within": "5d"}, {"score": "m", "more_than": 20.5}],
    },
    "hot": {"band": "m.hot"},
    "not hot": {"not": {"any": [{"segment": "hot"}, {"attribute": "size", "is": "12"}]}},
    "fast": {"sequence": [{"page_visit": {"page_type": "pricing"}}, "email_open"], "within": "7d"},
    "fresh": {"idle": "any", "unit": "days", "at_most": 2},
    "big": {"attribute": "size", "at_least": 10.5},
}

PROFILES = st.sampled_from([{}, {"size": "12"}, {"size": "-3.25"}, {"size": "yes"}, {"size": ""}])
PEOPLE = st.lists(st.tuples(_logs(), PROFILES), max_size=5)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=_models(), people=PEOPLE)
def test_random_models_score_random_logs_alike(data, people, database, fill, without_events):
    model = parse_model(data, name="m")
    program = Program({"m": model}, parse_segments(SEGMENTS, {"m": model}))
    logs = {
        person: [LoggedEvent(f"{person * 100 + n:032x}", *rest) for n, *rest in log]
        for person, (log, _) in enumerate(people, 1)
    }
    profiles = {person: profile for person, (_, profile) in enumerate(people, 1)}
    try:
        expected = [without_events(assess(program, i, logs[i], profiles[i], AS_OF)) for i in logs]
    except ConfigError:
        assume(False)
    fill(logs, profiles)
    assert list(assess_all(program, database, AS_OF)) == expected


def test_what_overflows_there_overflows_here(database, fill):
    data = {
        "signals": {"idle": {"idle": "call", "unit": "days"}},
        "score": [{"name": "much", "add": "idle * idle * idle"}],
    }
    program = Program({"m": parse_model(data, name="m")}, {})
    fill({1: []})
    with pytest.raises(ConfigError, match="grows beyond"):
        assess(program, 1, [], {}, AS_OF)
    with pytest.raises(ConfigError, match="grows beyond"):
        list(assess_all(program, database, AS_OF))
