"""The expression language: what it allows, what it means, and what it says of mistakes."""

import pytest
from sqlglot import exp

from syncline.errors import ConfigError
from syncline.scoring.expressions import RULES, ExpressionError, Kind, evaluate, parse_expression
from syncline.scoring.numbers import LARGEST, ONE, half_even

KINDS = {"n": Kind.INTEGER, "x": Kind.NUMBER, "t": Kind.TEXT, "p": Kind.BOOLEAN}


def _value(text, **values):
    node = parse_expression(text, KINDS)
    value = evaluate(node, {"n": None, "x": None, "t": None, "p": None, **values})
    return value / ONE if node.kind is Kind.NUMBER and value is not None else value


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("10 * n", {"n": 3}, 30),
        ("n / 2", {"n": 3}, 1.5),
        ("n / 0", {"n": 3}, None),
        ("x / n", {"x": ONE, "n": 0}, None),
        ("1.5 * x", {"x": 3 * ONE}, 4.5),
        ("-n + 1", {"n": 3}, -2),
        ("n + x", {"n": 1, "x": ONE // 2}, 1.5),
        ("n + x", {"n": 1}, None),
        ("n > 2 and p", {"n": 3, "p": None}, None),
        ("n > 2 and p", {"n": 1, "p": None}, False),
        ("n > 2 or p", {"n": 3, "p": None}, True),
        ("not p", {"p": None}, None),
        ("t is null", {}, True),
        ("t is not null", {"t": "call"}, True),
        ("t in ('call', 'custom')", {"t": "call"}, True),
        ("t not in ('call')", {}, None),
        ("t == 'call'", {"t": "call"}, True),
        ("t <> 'call'", {"t": "call"}, False),
        ("n between 1 and 2.5", {"n": 2}, True),
        ("n not between 1 and 2", {"n": 3}, True),
        ("case when n > 1 then 'a' else 'b' end", {"n": 1}, "b"),
        ("case n when 1 then 10 when 2 then 20 end", {"n": 2}, 20),
        ("case n when 1 then 10 end", {"n": 2}, None),
        ("coalesce(x, n, 5)", {"n": 4}, 4),
        ("least(n, 2)", {}, 2),
        ("greatest(n, x, 2)", {"n": 1, "x": 3 * ONE}, 3),
        ("(n + 1) * 2", {"n": 1}, 4),
        ("true", {}, True),
    ],
)
def test_expression_means(text, values, expected):
    assert _value(text, **values) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10 * m", "in `10 * m`: unknown signal m: "),
        ("10 * t", "in `10 * t`: `10 * t`: needs numbers, but `t` is a text"),
        ("n = 'call'", "mixes `n`, which is a whole number, with `'call'`, which is a text"),
        ("n and p", "needs true or false, but `n` is a whole number"),
        ("t > 'a'", "needs numbers, but `t` is a text"),
        ("leest(n, 1)", "unknown function 'leest': did you mean 'least'?"),
        ("sum(n)", "unknown function 'sum': Known: coalesce, greatest, least"),
        ('t = "call"', "a text is written 'call', in single quotes"),
        ("n // 2", "`n // 2` is not part of the expression language"),
        ("n || 'a'", "is not part of the expression language"),
        ("n; n", "`n; n` is not one expression"),
        ("", "`` is not one expression"),
        ("n +", "cannot read `n +`"),
        ("n in (select 1)", "after `in` stands a list"),
        ("t = null", "null is only for `is null`"),
        ("p is true", "after `is` stands null or not null"),
        ("0.1234567890123 * n", "is not a number of at most 12 decimals"),
        ("case when p then 1 else 'a' end", "mixes `1`, which is a whole number, with `'a'`"),
        ("a.n", "unknown signal a.n"),
        ("(select n)", "is not part of the expression language"),
    ],
)
def test_refused_expression_says_why(text, message):
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text, KINDS)
    assert message in str(caught.value)


def test_every_rule_has_an_example_it_can_read():
    kinds = {"a": Kind.NUMBER, "b": Kind.NUMBER, "p": Kind.BOOLEAN, "q": Kind.BOOLEAN, "visits": Kind.INTEGER}
    for operation, rule in RULES.items():
        node = parse_expression(rule.example, kinds)
        assert node.operation is (exp.Column if operation is exp.Cast else operation)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (5, -2, -2), (8, 3, 3), (-8, 3, -3), (0, 7, 0)],
)
def test_halves_go_to_the_even_neighbour(numerator, denominator, expected):
    assert half_even(numerator, denominator) == expected


def test_numbers_beyond_the_engine_are_refused_here_as_well():
    node = parse_expression("n * n", KINDS)
    with pytest.raises(ConfigError, match="grows beyond"):
        evaluate(node, {"n": LARGEST // 2})
