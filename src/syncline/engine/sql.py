"""Small builders over sqlglot's syntax trees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

__all__ = [
    "IN_ORDER",
    "Layers",
    "case",
    "column",
    "compare",
    "function",
    "integer",
    "number",
    "text",
    "total",
    "window",
]

IN_ORDER = ("t_us", "type", "id")
"""The total order of a person's events."""


def column(name: str, table: str | None = None) -> exp.Column:
    """A column."""
    return exp.column(name, table=table)


def text(value: str) -> exp.Expr:
    """A text literal."""
    return exp.Literal.string(value)


def integer(value: int) -> exp.Expr:
    """A 64-bit integer literal: times, durations, millionths."""
    return exp.cast(exp.Literal.number(value), "BIGINT")


def number(value: float) -> exp.Expr:
    """The double that Python means: as text, because a decimal literal would be rounded on the way."""
    return exp.cast(text(repr(value)), "DOUBLE")


def function(name: str, *args: exp.Expr) -> exp.Expr:
    """A function call."""
    return exp.func(name, *args, dialect="duckdb")


def case(condition: exp.Expr, value: exp.Expr, default: exp.Expr | None = None) -> exp.Case:
    """CASE WHEN condition THEN value [ELSE default] END."""
    found = exp.case().when(condition, value)
    return found if default is None else found.else_(default)


def compare(kind: type[exp.Binary], left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """left (operator) right, in parentheses."""
    return exp.paren(kind(this=left, expression=right))


def total(value: exp.Expr) -> exp.Expr:
    """The sum, as wide as all scored numbers."""
    return exp.cast(exp.Sum(this=value), "INT128")


def window(
    call: exp.Expr,
    by: Sequence[exp.Expr],
    order: Iterable[str] = IN_ORDER,
    *,
    newest_first: bool = False,
    until: str | None = None,
) -> exp.Window:
    """call OVER (PARTITION BY … ORDER BY …), framed from the start to `until` (CURRENT ROW, or 1 = the row before).

    Without `until` there is no frame: for functions such as lag and row_number that take none.
    """
    ordered = [exp.Ordered(this=column(name), desc=newest_first) for name in order]
    return exp.Window(
        this=call,
        partition_by=[item.copy() for item in by],
        order=exp.Order(expressions=ordered),
        spec=None if until is None else _frame(until),
    )


def _frame(until: str) -> exp.WindowSpec:
    side = None if until == "CURRENT ROW" else "PRECEDING"
    return exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end=until, end_side=side)


class Layers:
    """Named expressions over a source, each in the innermost subquery where all that it needs has a name.

    That is how an expression is used twice without being written twice.
    """

    def __init__(self, source: exp.Select) -> None:
        self._source = source
        self._depth: dict[str, int] = {}
        self._named: list[list[tuple[str, exp.Expr]]] = []

    def let(self, expression: exp.Expr) -> exp.Expr:
        """A column that holds the expression."""
        if isinstance(expression, exp.Column):
            return expression
        used = (self._depth.get(found.name, 0) for found in expression.find_all(exp.Column))
        depth = max(used, default=0) + 1
        name = f"x{len(self._depth)}"
        self._depth[name] = depth
        while len(self._named) < depth:
            self._named.append([])
        self._named[depth - 1].append((name, expression))
        return column(name)

    def select(self, outputs: Sequence[exp.Expr]) -> exp.Select:
        """The query for `outputs`."""
        query = self._source
        for index, layer in enumerate(self._named):
            named = [exp.alias_(expression, name) for name, expression in layer]
            query = exp.select(exp.Star(), *named, copy=False).from_(
                query.subquery(f"l{index}", copy=False), copy=False
            )
        return exp.select(*outputs, copy=False).from_(query.subquery("scored", copy=False), copy=False)
