"""Expressions over signals: a small subset of SQL, typed, with two evaluators from one table.

sqlglot parses. What it finds must stand in RULES, which says for each kind of node which types it takes, what it means
in Python and how it reads in SQL. Everything is evaluated eagerly and null is SQL's null, so that both say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError

from syncline.errors import did_you_mean
from syncline.scoring import numbers
from syncline.scoring.numbers import ONE, bounded, half_even

__all__ = [
    "FUNCTIONS",
    "RULES",
    "ExpressionError",
    "Kind",
    "Let",
    "Node",
    "Rule",
    "Value",
    "evaluate",
    "names",
    "parse_expression",
    "render",
    "signal",
]

Value = int | str | bool | None
"""A whole number, a scaled number, a text, a truth, or null; `Node.kind` says which."""


class Kind(StrEnum):
    """What an expression is."""

    INTEGER = "a whole number"
    NUMBER = "a number"
    TEXT = "a text"
    BOOLEAN = "true or false"

    @property
    def numeric(self) -> bool:
        return self in (Kind.INTEGER, Kind.NUMBER)


class ExpressionError(ValueError):
    """An expression that is not allowed; the message names the expression and the place in it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A checked expression. `value` is a literal's value or a signal's name."""

    operation: type[exp.Expr]
    kind: Kind
    args: tuple[Node, ...] = ()
    value: Value = None


Let = Callable[[exp.Expr], exp.Expr]
"""Gives an SQL expression a name, so that it can be used more than once without being written more than once."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the allow-list.

    `operands` takes sqlglot's node apart, `check` types it (and may convert operands), `python` and `sql` evaluate it.
    """

    example: str
    operands: Callable[[Any], Sequence[exp.Expr]]
    check: Callable[[list[Node]], tuple[Kind, list[Node]]]
    python: Callable[[Node, Sequence[Any]], Value]
    sql: Callable[[Node, Sequence[exp.Expr], Let], exp.Expr]


def parse_expression(text: str, signals: Mapping[str, Kind]) -> Node:
    """The checked form of `text`; ExpressionError for whatever is not allowed."""
    try:
        statements = parse(text, read="duckdb")
    except SqlglotError as error:
        raise ExpressionError(f"cannot read `{text}`: {_what_is_wrong(error)}") from error
    if len(statements) != 1 or statements[0] is None:
        raise ExpressionError(f"`{text}` is not one expression")
    try:
        return _checked(statements[0], signals)
    except ExpressionError as error:
        raise ExpressionError(f"in `{text}`: {error}") from error


def evaluate(node: Node, signals: Mapping[str, Value]) -> Value:
    """The value of an expression; the plain-Python evaluator."""
    return RULES[node.operation].python(node, [evaluate(arg, signals) for arg in node.args] or [signals])


def render(node: Node, signals: Mapping[str, exp.Expr], let: Let) -> exp.Expr:
    """The same as SQL."""
    if node.operation is exp.Column:
        return signals[str(node.value)].copy()
    return RULES[node.operation].sql(node, [render(arg, signals, let) for arg in node.args], let)


def names(node: Node) -> Iterator[str]:
    """The signals of an expression, in order of appearance."""
    if node.operation is exp.Column:
        yield str(node.value)
    for arg in node.args:
        yield from names(arg)


def signal(name: str, kind: Kind) -> Node:
    """The expression that is just this signal."""
    return Node(exp.Column, kind, value=name)


def number(value: int) -> Node:
    """A scaled number as an expression."""
    return Node(exp.Literal, Kind.NUMBER, value=value)


def _what_is_wrong(error: SqlglotError) -> str:
    found = getattr(error, "errors", None)
    text = found[0].get("description") if found else str(error)
    plain = re.sub(r"\x1b\[\d*m", "", str(text)).splitlines()[0]
    return re.sub(r" for <class.*?>", "", plain)


def _checked(node: exp.Expr, signals: Mapping[str, Kind]) -> Node:
    if isinstance(node, exp.Paren):
        return _checked(node.this, signals)
    if isinstance(node, exp.Column):
        return _checked_signal(node, signals)
    if isinstance(node, exp.Literal | exp.Boolean):
        return _checked_literal(node)
    rule = RULES.get(type(node))
    if rule is None or isinstance(node, exp.Cast):
        raise ExpressionError(_refusal(node))
    args = [_checked(operand, signals) for operand in rule.operands(node)]
    try:
        kind, converted = rule.check(args)
    except ExpressionError as error:
        raise ExpressionError(f"`{node.sql(dialect='duckdb')}`: {error}") from None
    return Node(type(node), kind, tuple(converted), _has_else(node))


def _has_else(node: exp.Expr) -> bool | None:
    return node.args.get("default") is not None if isinstance(node, exp.Case) else None


def _checked_signal(node: exp.Column, signals: Mapping[str, Kind]) -> Node:
    name = node.name
    if node.table or name not in signals:
        quoted = node.this.args.get("quoted") if isinstance(node.this, exp.Identifier) else False
        hint = f" (a text is written '{name}', in single quotes)" if quoted else ""
        raise ExpressionError(f"unknown signal {node.sql(dialect='duckdb')!s}{hint}: {did_you_mean(name, signals)}")
    return signal(name, signals[name])


def _checked_literal(node: exp.Literal | exp.Boolean) -> Node:
    if isinstance(node, exp.Boolean):
        return Node(exp.Boolean, Kind.BOOLEAN, value=bool(node.this))
    if node.is_string:
        return Node(exp.Literal, Kind.TEXT, value=node.this)
    return _number_literal(node.this)


def _number_literal(text: str) -> Node:
    found = numbers.literal(text)
    value = None if found is None else numbers.scaled(found)
    if value is None:
        raise ExpressionError(f"`{text}` is not a number of at most 12 decimals, up to 10^15")
    if value % ONE == 0:
        return Node(exp.Literal, Kind.INTEGER, value=value // ONE)
    return Node(exp.Literal, Kind.NUMBER, value=value)


def _refusal(node: exp.Expr) -> str:
    if isinstance(node, exp.Null):
        return "null is only for `is null` and `is not null`"
    if isinstance(node, exp.Func):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        return f"unknown function {name!r}: {did_you_mean(name, FUNCTIONS)}"
    return f"`{node.sql(dialect='duckdb')}` is not part of the expression language: it knows {LANGUAGE}"


# Types


def _scaled(node: Node) -> Node:
    if node.kind is Kind.NUMBER:
        return node
    if node.operation is exp.Literal:
        return Node(exp.Literal, Kind.NUMBER, value=int(node.value or 0) * ONE)
    return Node(exp.Cast, Kind.NUMBER, (node,))


def _all(args: list[Node], kind: Kind) -> tuple[Kind, list[Node]]:
    for arg in args:
        if arg.kind is not kind:
            raise ExpressionError(f"needs {kind}, but `{_written(arg)}` is {arg.kind}")
    return kind, args


def _numbers(args: list[Node]) -> None:
    for arg in args:
        if not arg.kind.numeric:
            raise ExpressionError(f"needs numbers, but `{_written(arg)}` is {arg.kind}")


def _same(args: list[Node]) -> tuple[Kind, list[Node]]:
    """One kind for all; whole numbers among numbers become numbers."""
    kinds = {arg.kind for arg in args}
    if kinds == {Kind.INTEGER, Kind.NUMBER}:
        return Kind.NUMBER, [_scaled(arg) for arg in args]
    if len(kinds) > 1:
        other = next(arg for arg in args if arg.kind is not args[0].kind)
        raise ExpressionError(
            f"mixes `{_written(args[0])}`, which is {args[0].kind}, with `{_written(other)}`, which is {other.kind}"
        )
    return args[0].kind, args


def _same_numbers(args: list[Node]) -> tuple[Kind, list[Node]]:
    _numbers(args)
    return _same(args)


def _product(args: list[Node]) -> tuple[Kind, list[Node]]:
    _numbers(args)
    whole = all(arg.kind is Kind.INTEGER for arg in args)
    return (Kind.INTEGER if whole else Kind.NUMBER), args


def _quotient(args: list[Node]) -> tuple[Kind, list[Node]]:
    _numbers(args)
    return Kind.NUMBER, args


def _truths(args: list[Node]) -> tuple[Kind, list[Node]]:
    return _all(args, Kind.BOOLEAN)


def _equality(args: list[Node]) -> tuple[Kind, list[Node]]:
    return Kind.BOOLEAN, _same(args)[1]


def _order(args: list[Node]) -> tuple[Kind, list[Node]]:
    return Kind.BOOLEAN, _same_numbers(args)[1]


def _anything(args: list[Node]) -> tuple[Kind, list[Node]]:
    return Kind.BOOLEAN, args


def _case(args: list[Node]) -> tuple[Kind, list[Node]]:
    """Operands are condition, value, condition, value, …, and the else value if there is one."""
    pairs = len(args) // 2
    _truths([args[2 * i] for i in range(pairs)])
    kind, values = _same([args[2 * i + 1] for i in range(pairs)] + args[2 * pairs :])
    converted = [arg for i in range(pairs) for arg in (args[2 * i], values[i])]
    return kind, converted + values[pairs:]


def _written(node: Node) -> str:
    if node.operation is exp.Column:
        return str(node.value)
    if node.operation is exp.Literal and node.kind is Kind.TEXT:
        return f"'{node.value}'"
    if node.operation is exp.Literal and node.kind is Kind.INTEGER:
        return str(node.value)
    if node.operation is exp.Literal:
        return str(numbers.decimal(int(node.value or 0)).normalize())
    return RULES[node.operation].example


# Operands


def _one(node: Any) -> Sequence[exp.Expr]:
    return [node.this]


def _two(node: Any) -> Sequence[exp.Expr]:
    return [node.this, node.expression]


def _many(node: Any) -> Sequence[exp.Expr]:
    return [node.this, *node.expressions]


def _is(node: Any) -> Sequence[exp.Expr]:
    if not isinstance(node.expression, exp.Null):
        raise ExpressionError(f"`{node.sql(dialect='duckdb')}`: after `is` stands null or not null")
    return [node.this]


def _in(node: Any) -> Sequence[exp.Expr]:
    if not node.expressions or any(node.args.get(key) for key in ("query", "unnest", "field")):
        raise ExpressionError(f"`{node.sql(dialect='duckdb')}`: after `in` stands a list such as ('a', 'b')")
    return [node.this, *node.expressions]


def _between(node: Any) -> Sequence[exp.Expr]:
    if node.args.get("symmetric"):
        raise ExpressionError("`between symmetric` is not known: write `between least(a, b) and greatest(a, b)`")
    return [node.this, node.args["low"], node.args["high"]]


def _when(node: Any) -> Sequence[exp.Expr]:
    found: list[exp.Expr] = []
    for branch in node.args["ifs"]:
        condition = branch.this if node.this is None else exp.EQ(this=node.this.copy(), expression=branch.this)
        found += [condition, branch.args["true"]]
    default = node.args.get("default")
    return found if default is None else [*found, default]


# Python


def _strict(operation: Callable[..., Value]) -> Callable[[Node, Sequence[Any]], Value]:
    """Null in, null out."""

    def python(_node: Node, values: Sequence[Any]) -> Value:
        return None if any(value is None for value in values) else operation(*values)

    return python


def _python_product(node: Node, values: Sequence[Any]) -> Value:
    left, right = values
    if left is None or right is None:
        return None
    product = bounded(left * right)
    return half_even(product, ONE) if _both_scaled(node) else product


def _python_quotient(node: Node, values: Sequence[Any]) -> Value:
    left, right = values
    if left is None or right is None or right == 0:
        return None
    return half_even(bounded(left * 10 ** _shift(node)), right)


def _python_and(_node: Node, values: Sequence[Any]) -> Value:
    if False in values:
        return False
    return None if None in values else True


def _python_or(_node: Node, values: Sequence[Any]) -> Value:
    if True in values:
        return True
    return None if None in values else False


def _python_in(_node: Node, values: Sequence[Any]) -> Value:
    first, *rest = values
    return _python_or(_node, [None if first is None or other is None else first == other for other in rest])


def _python_between(_node: Node, values: Sequence[Any]) -> Value:
    value, low, high = values
    return _python_and(
        _node,
        [
            None if value is None or low is None else value >= low,
            None if value is None or high is None else value <= high,
        ],
    )


def _python_case(node: Node, values: Sequence[Any]) -> Value:
    for index in range(0, len(values) - 1, 2):
        if values[index] is True:
            return values[index + 1]  # type: ignore[no-any-return] # a Value by construction
    return values[-1] if node.value else None


def _python_first(_node: Node, values: Sequence[Any]) -> Value:
    return next((value for value in values if value is not None), None)


def _python_least(_node: Node, values: Sequence[Any]) -> Value:
    return min((value for value in values if value is not None), default=None)


def _python_greatest(_node: Node, values: Sequence[Any]) -> Value:
    return max((value for value in values if value is not None), default=None)


def _python_signal(node: Node, values: Sequence[Any]) -> Value:
    found: Value = values[0][str(node.value)]
    return found


def _python_literal(node: Node, _values: Sequence[Any]) -> Value:
    return node.value


def _both_scaled(node: Node) -> bool:
    return all(arg.kind is Kind.NUMBER for arg in node.args)


def _shift(node: Node) -> int:
    """By how many places a dividend is raised so that the quotient is a scaled number."""
    dividend, divisor = (arg.kind is Kind.NUMBER for arg in node.args)
    return numbers.PLACES * (1 - dividend + divisor)


# SQL


def sql_integer(value: int) -> exp.Expr:
    """An integer literal as wide as all others."""
    return exp.cast(exp.Literal.number(value), "INT128")


def sql_half_even(numerator: exp.Expr, denominator: exp.Expr, let: Let) -> exp.Expr:
    """`numbers.half_even` in a dialect whose division truncates and whose remainder has the dividend's sign.

    `denominator` is positive or null.
    """
    n, d = let(numerator), let(denominator) if not isinstance(denominator, exp.Cast) else denominator
    quotient = exp.IntDiv(this=n.copy(), expression=d.copy())
    rest = exp.Abs(this=exp.paren(exp.Mod(this=n.copy(), expression=d.copy())))
    other = exp.paren(exp.Sub(this=d.copy(), expression=rest.copy()))  # doubling the rest instead could overflow
    odd = exp.NEQ(this=exp.Mod(this=exp.paren(quotient.copy()), expression=sql_integer(2)), expression=sql_integer(0))
    tie = exp.and_(exp.EQ(this=rest.copy(), expression=other.copy()), odd)
    away = exp.or_(exp.GT(this=rest, expression=other), tie)
    sign = exp.case().when(exp.LT(this=n.copy(), expression=sql_integer(0)), sql_integer(-1)).else_(sql_integer(1))
    step = exp.case().when(away, sign).else_(sql_integer(0))
    return exp.paren(exp.Add(this=exp.paren(quotient), expression=step))


def _binary(kind: type[exp.Expr]) -> Callable[[Node, Sequence[exp.Expr], Let], exp.Expr]:
    def sql(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
        return exp.paren(kind(this=args[0], expression=args[1]))

    return sql


def _unary(kind: type[exp.Expr]) -> Callable[[Node, Sequence[exp.Expr], Let], exp.Expr]:
    def sql(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
        return exp.paren(kind(this=exp.paren(args[0])))

    return sql


def _function(kind: type[exp.Expr]) -> Callable[[Node, Sequence[exp.Expr], Let], exp.Expr]:
    def sql(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
        return kind(this=args[0], expressions=list(args[1:]))

    return sql


def sql_extreme(kind: type[exp.Least | exp.Greatest], *values: exp.Expr) -> exp.Expr:
    """LEAST or GREATEST of what is not null; sqlglot writes another function unless told that nulls are passed over."""
    return kind(this=values[0], expressions=list(values[1:]), ignore_nulls=True)


def _extreme(kind: type[exp.Least | exp.Greatest]) -> Callable[[Node, Sequence[exp.Expr], Let], exp.Expr]:
    def sql(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
        return sql_extreme(kind, *args)

    return sql


def _sql_product(node: Node, args: Sequence[exp.Expr], let: Let) -> exp.Expr:
    product = exp.paren(exp.Mul(this=args[0], expression=args[1]))
    return sql_half_even(product, sql_integer(ONE), let) if _both_scaled(node) else product


def _sql_quotient(node: Node, args: Sequence[exp.Expr], let: Let) -> exp.Expr:
    """Both signs turned so that the divisor is positive; a divisor of zero is null before anything divides by it."""
    divisor = let(args[1])
    raised = exp.Mul(this=args[0], expression=sql_integer(10 ** _shift(node)))
    negative = exp.LT(this=divisor.copy(), expression=sql_integer(0))
    sign = exp.case().when(negative, sql_integer(-1)).else_(sql_integer(1))
    numerator = exp.Mul(this=exp.paren(raised), expression=sign)
    positive = exp.Nullif(this=exp.Abs(this=divisor.copy()), expression=sql_integer(0))
    return sql_half_even(numerator, positive, let)


def _sql_is_null(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    return exp.paren(exp.Is(this=exp.paren(args[0]), expression=exp.Null()))


def _sql_in(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    return exp.paren(exp.In(this=args[0], expressions=list(args[1:])))


def _sql_between(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    return exp.paren(exp.Between(this=args[0], low=args[1], high=args[2]))


def _sql_case(node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    case = exp.Case(ifs=[exp.If(this=args[i], true=args[i + 1]) for i in range(0, len(args) - 1, 2)])
    return case.else_(args[-1]) if node.value else case


def _sql_column(node: Node, _args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    return exp.column(str(node.value), quoted=True)


def _sql_literal(node: Node, _args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    if node.kind is Kind.TEXT:
        return exp.Literal.string(str(node.value))
    return sql_integer(int(node.value or 0))


def _sql_boolean(node: Node, _args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    return exp.Boolean(this=bool(node.value))


def _sql_scale(_node: Node, args: Sequence[exp.Expr], _let: Let) -> exp.Expr:
    return exp.paren(exp.Mul(this=exp.paren(args[0]), expression=sql_integer(ONE)))


def _refuse(_args: list[Node]) -> tuple[Kind, list[Node]]:
    raise ExpressionError("is typed where it is read")


RULES: Final[Mapping[type[exp.Expr], Rule]] = {
    exp.Column: Rule("visits", _one, _refuse, _python_signal, _sql_column),
    exp.Literal: Rule("2.5", _one, _refuse, _python_literal, _sql_literal),
    exp.Boolean: Rule("true", _one, _refuse, _python_literal, _sql_boolean),
    # A whole number where a number is needed: put in by the type rules, never written
    exp.Cast: Rule("visits", _one, _refuse, _strict(lambda a: bounded(a * ONE)), _sql_scale),
    exp.Add: Rule("a + b", _two, _same_numbers, _strict(lambda a, b: bounded(a + b)), _binary(exp.Add)),
    exp.Sub: Rule("a - b", _two, _same_numbers, _strict(lambda a, b: bounded(a - b)), _binary(exp.Sub)),
    exp.Mul: Rule("a * b", _two, _product, _python_product, _sql_product),
    exp.Div: Rule("a / b", _two, _quotient, _python_quotient, _sql_quotient),
    exp.Neg: Rule("-a", _one, _same_numbers, _strict(lambda a: -a), _unary(exp.Neg)),
    exp.EQ: Rule("a = b", _two, _equality, _strict(lambda a, b: a == b), _binary(exp.EQ)),
    exp.NEQ: Rule("a <> b", _two, _equality, _strict(lambda a, b: a != b), _binary(exp.NEQ)),
    exp.GT: Rule("a > b", _two, _order, _strict(lambda a, b: a > b), _binary(exp.GT)),
    exp.GTE: Rule("a >= b", _two, _order, _strict(lambda a, b: a >= b), _binary(exp.GTE)),
    exp.LT: Rule("a < b", _two, _order, _strict(lambda a, b: a < b), _binary(exp.LT)),
    exp.LTE: Rule("a <= b", _two, _order, _strict(lambda a, b: a <= b), _binary(exp.LTE)),
    exp.And: Rule("p and q", _two, _truths, _python_and, _binary(exp.And)),
    exp.Or: Rule("p or q", _two, _truths, _python_or, _binary(exp.Or)),
    exp.Not: Rule("not p", _one, _truths, _strict(lambda a: not a), _unary(exp.Not)),
    exp.Is: Rule("a is null", _is, _anything, lambda _node, values: values[0] is None, _sql_is_null),
    exp.In: Rule("a in (1, 2)", _in, _equality, _python_in, _sql_in),
    exp.Between: Rule("a between 1 and b", _between, _order, _python_between, _sql_between),
    exp.Case: Rule("case when p then a else b end", _when, _case, _python_case, _sql_case),
    exp.Coalesce: Rule("coalesce(a, b)", _many, _same, _python_first, _function(exp.Coalesce)),
    exp.Least: Rule("least(a, b)", _many, _same_numbers, _python_least, _extreme(exp.Least)),
    exp.Greatest: Rule("greatest(a, b)", _many, _same_numbers, _python_greatest, _extreme(exp.Greatest)),
}
"""Everything an expression may contain; parentheses only group."""

FUNCTIONS: Final = ("coalesce", "greatest", "least")
LANGUAGE: Final = "+ - * /, comparisons, and, or, not, is null, in, between, case, coalesce, least and greatest"
