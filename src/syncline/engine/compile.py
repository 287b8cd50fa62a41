"""A program as one query, and its rows as assessments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from syncline.engine.signals import SignalQuery, aged
from syncline.engine.sql import Layers, case, column, compare, function, text
from syncline.scoring import numbers
from syncline.scoring.expressions import render, sql_extreme, sql_half_even, sql_integer
from syncline.scoring.model import BASE, DECAY, LIMIT, ROUNDING, Line, Model
from syncline.scoring.numbers import ONE
from syncline.scoring.predicates import (
    SUBJECT,
    All,
    AnyOf,
    BandOf,
    InSegment,
    Not,
    Predicate,
    ScoreOf,
    Subject,
    Test,
)
from syncline.scoring.program import INACTIVE, LAST_TYPE, Program
from syncline.scoring.result import Assessment, Contribution, ScoreResult
from syncline.scoring.shown import said, shown
from syncline.scoring.signals import Signal

__all__ = ["CompiledProgram", "compile_program"]


@dataclass(frozen=True)
class CompiledProgram:
    """The query, and how to read its rows."""

    program: Program
    sql: str
    columns: Mapping[str, int]
    _scores: tuple[_ScoreColumns, ...]
    _segments: tuple[tuple[str, int], ...]

    def assessments(self, rows: Sequence[Sequence[Any]]) -> Iterator[Assessment]:
        """One Assessment a row, same order."""
        type_, last = self.columns["last_type"], self.columns["last_us"]
        for row in rows:
            scores = {columns.name: columns.read(row) for columns in self._scores}
            inside = frozenset(name for name, index in self._segments if row[index])
            yield Assessment(row[0], scores, inside, row[type_], row[last])


@dataclass(frozen=True)
class _ScoreColumns:
    """Where one score's numbers stand in a row. Equal contributions are made once and shared."""

    name: str
    model: Model
    value: int
    lines: tuple[tuple[str, int, Line | None, int | None], ...]
    base: Contribution
    _made: dict[tuple[Any, ...], Contribution] = field(default_factory=dict)

    def read(self, row: Sequence[Any]) -> ScoreResult:
        value = numbers.decimal(row[self.value], 2)
        found = [self.base]
        for name, amount, line, signal in self.lines:
            key = (name, row[amount], None if signal is None else row[signal])
            found.append(self._made.get(key) or self._make(key, line))
        model = self.model
        return ScoreResult(self.name, model.name, model.version, value, model.band(value), tuple(found))

    def _make(self, key: tuple[Any, ...], line: Line | None) -> Contribution:
        if len(self._made) > 100_000:  # sums of durations hardly ever repeat
            self._made.clear()
        made = self._made[key] = _contribution(self.model, line, *key)
        return made


def _contribution(model: Model, line: Line | None, name: str, amount: int, value: Any) -> Contribution:
    if line is None:
        return Contribution(name, numbers.decimal(amount))
    signal = line.signals[0] if line.signals else None
    seen = None if signal is None else shown(value, model.signals[signal])
    return Contribution(name, numbers.decimal(amount), signal, seen, line.weight, (), said(line.says, seen))


def compile_program(program: Program, as_of_us: int, first_us: int) -> CompiledProgram:
    """The query for a program as of a time; `first_us` is not later than any event."""
    return _Compiler(program, SignalQuery(program, as_of_us, min(first_us, as_of_us))).compile()


class _Compiler:
    def __init__(self, program: Program, signals: SignalQuery) -> None:
        self.program = program
        self.signals = signals
        self.layers = Layers(signals.source())
        self.outputs: list[exp.Expr] = []
        self._values: dict[Signal, exp.Expr] = {}
        self._scores: dict[str, exp.Expr] = {}  # in hundredths
        self._inside: dict[str, exp.Expr] = {}

    def compile(self) -> CompiledProgram:
        self._output(column("person_id"))
        columns = {
            "last_type": self._output(self.signals.raw(LAST_TYPE)),
            "last_us": self._output(self.signals.raw(INACTIVE)),
        }
        scores = tuple(self._score(name, model) for name, model in self.program.scores.items())
        segments = tuple((name, self._segment(name)) for name in self.program.segments)
        query = self.layers.select(self.outputs).order_by("person_id")
        return CompiledProgram(self.program, query.sql(dialect="duckdb"), columns, scores, segments)

    def _output(self, expression: exp.Expr) -> int:
        self.outputs.append(exp.alias_(expression.copy(), f"o{len(self.outputs)}") if self.outputs else expression)
        return len(self.outputs) - 1

    def _value(self, signal: Signal) -> exp.Expr:
        if signal not in self._values:
            self._values[signal] = self.layers.let(self.signals.value(signal, self.layers.let))
        return self._values[signal].copy()

    # Scores

    def _score(self, name: str, model: Model) -> _ScoreColumns:
        let = self.layers.let
        values = {key: self._value(signal) for key, signal in model.signals.items()}
        running: exp.Expr = sql_integer(model.base)
        groups: dict[str, exp.Expr] = {}
        lines: list[tuple[str, int, Line | None, int | None]] = []
        for line in model.lines:
            amount = self._amount(line, model, values, running, groups)
            running = let(exp.Add(this=running, expression=amount)) if _deep(running) else _sum(running, amount)
            shown_by = self._output(values[line.signals[0]]) if line.signals else None
            lines.append((line.name, self._output(amount), line, shown_by))
        final, ending = self._ended(model, let(running))
        lines += [(step, self._output(amount), None, None) for step, amount in ending]
        self._scores[name] = final
        return _ScoreColumns(
            name, model, self._output(final), tuple(lines), Contribution(BASE, numbers.decimal(model.base))
        )

    def _amount(
        self,
        line: Line,
        model: Model,
        values: Mapping[str, exp.Expr],
        running: exp.Expr,
        groups: dict[str, exp.Expr],
    ) -> exp.Expr:
        """What the line changes the running value by, as a column."""
        let = self.layers.let
        value = render(line.value, values, let)
        if line.operation == "multiply":
            return let(self._holding(line, values, self._multiplied(line, let(running), let(value))))
        if not line.scaled:
            value = exp.Mul(this=exp.paren(value), expression=sql_integer(ONE))
        holds = self._holding(line, values, exp.paren(value))
        if line.cap is None and line.floor is None and line.group is None:
            return let(holds)
        return self._grouped(line, model, let(self._bounded(line, values, let(value))), groups)

    def _multiplied(self, line: Line, running: exp.Expr, value: exp.Expr) -> exp.Expr:
        product: exp.Expr = exp.Mul(this=running.copy(), expression=value)
        if line.scaled:
            product = sql_half_even(product, sql_integer(ONE), self.layers.let)
        return exp.paren(exp.Sub(this=product, expression=running.copy()))

    def _holding(self, line: Line, values: Mapping[str, exp.Expr], amount: exp.Expr) -> exp.Expr:
        """The amount where the condition holds and it is not null, else 0."""
        amount = function("coalesce", amount, sql_integer(0))
        if line.condition is None:
            return amount
        return case(render(line.condition, values, self.layers.let), amount, sql_integer(0))

    def _bounded(self, line: Line, values: Mapping[str, exp.Expr], value: exp.Expr) -> exp.Expr:
        """The amount within cap and floor; a line that does not hold, or is null, adds 0 and no floor lifts it."""
        bounded = value.copy()
        if line.cap is not None:
            bounded = sql_extreme(exp.Least, bounded, sql_integer(line.cap))
        if line.floor is not None:
            bounded = sql_extreme(exp.Greatest, bounded, sql_integer(line.floor))
        known = exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))
        return self._holding(line, values, case(known, bounded))

    def _grouped(self, line: Line, model: Model, amount: exp.Expr, groups: dict[str, exp.Expr]) -> exp.Expr:
        if line.group is None:
            return amount
        let = self.layers.let
        before = groups.get(line.group, sql_integer(0))
        room = exp.Add(this=before.copy(), expression=amount)
        after = let(sql_extreme(exp.Least, room, sql_integer(model.groups[line.group])))
        groups[line.group] = after
        return let(exp.Sub(this=after.copy(), expression=before.copy()))

    def _ended(self, model: Model, running: exp.Expr) -> tuple[exp.Expr, list[tuple[str, exp.Expr]]]:
        """The final value in hundredths, and what decay, limit and rounding changed."""
        let = self.layers.let
        found: list[tuple[str, exp.Expr]] = []
        if model.decay is not None:
            last = self.signals.raw(INACTIVE)
            factor = let(_or(aged(model.decay.rate, self.signals.elapsed(last), model.decay.per_us), ONE))
            decayed = let(sql_half_even(_times(running, factor), sql_integer(ONE), let))
            found.append((DECAY, let(_difference(decayed, running))))
            running = decayed
        limited = let(_limited(model, running.copy()))
        if model.minimum is not None or model.maximum is not None:
            found.append((LIMIT, let(_difference(limited, running))))
        final = let(sql_half_even(limited.copy(), sql_integer(10 ** (numbers.PLACES - 2)), let))
        rounded = exp.paren(_times(final, sql_integer(ONE // 100)))
        found.append((ROUNDING, let(_difference(rounded, limited))))
        return final, found

    # Segments

    def _segment(self, name: str) -> int:
        inside = self.layers.let(self._predicate(self.program.segments[name].predicate))
        self._inside[name] = inside
        return self._output(inside)

    def _predicate(self, predicate: Predicate) -> exp.Expr:
        match predicate:
            case Test(subject=subject, condition=condition):
                holds = render(condition, {SUBJECT: self._subject(subject)}, self.layers.let)
                return function("coalesce", holds, exp.false())
            case All(parts=parts):
                return exp.paren(exp.and_(*(self._predicate(part) for part in parts)))
            case AnyOf(parts=parts):
                return exp.paren(exp.or_(*(self._predicate(part) for part in parts)))
            case Not(part=part):
                return exp.paren(exp.Not(this=exp.paren(self._predicate(part))))

    def _subject(self, subject: Subject) -> exp.Expr:
        match subject:
            case ScoreOf(score=name):
                return self.layers.let(_times(self._scores[name], sql_integer(ONE // 100)))
            case BandOf(score=name):
                return self.layers.let(_band(self.program.scores[name], self._scores[name]))
            case InSegment(segment=name):
                return self._inside[name].copy()
            case _:
                return self._value(subject)


def _band(model: Model, hundredths: exp.Expr) -> exp.Expr:
    found = exp.Case(ifs=[])
    for band in model.bands:
        at_least = sql_integer(int(band.at_least.scaleb(2)))
        found = found.when(compare(exp.GTE, hundredths.copy(), at_least), text(band.name))
    return found


def _deep(expression: exp.Expr) -> bool:
    return expression.key == "add" and sum(1 for _ in expression.find_all(exp.Add)) >= 16


def _sum(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.Add(this=left, expression=right.copy())


def _times(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.Mul(this=left.copy(), expression=right.copy())


def _difference(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.Sub(this=left.copy(), expression=right.copy())


def _or(value: exp.Expr, default: int) -> exp.Expr:
    return function("coalesce", value, sql_integer(default))


def _limited(model: Model, value: exp.Expr) -> exp.Expr:
    if model.maximum is not None:
        value = sql_extreme(exp.Least, value, sql_integer(model.maximum))
    if model.minimum is not None:
        value = sql_extreme(exp.Greatest, value, sql_integer(model.minimum))
    return value
