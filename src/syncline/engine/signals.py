"""Signals as SQL: one aggregation for all that need no order, one branch for each ordered family."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field

from sqlglot import exp

from syncline.engine.sql import IN_ORDER, case, column, compare, function, integer, number, text, total, window
from syncline.scoring import numbers
from syncline.scoring.clock import DAY_US, transitions
from syncline.scoring.expressions import Let, sql_extreme, sql_half_even, sql_integer
from syncline.scoring.numbers import INFINITE, MICRO, ONE
from syncline.scoring.profile import FALSE, NUMBER, TRUE
from syncline.scoring.program import Program
from syncline.scoring.signals import (
    SESSION_GAP_US,
    UNITS_US,
    Attribute,
    Bursts,
    Count,
    CountDistinct,
    Edge,
    Idle,
    Maximum,
    Sequence,
    Signal,
    Sum,
)
from syncline.scoring.where import Condition, Property, Selection

__all__ = ["SignalQuery", "aged"]

_RAISE = ONE // MICRO


@dataclass
class SignalQuery:
    """What a program's signals need of one batch.

    Inputs are the tables `log` (person_id, type, t_us, machine, id, c0 …), `people` (person_id) and `profile`
    (person_id, name, value). `first_us` is not later than any event.
    """

    program: Program
    as_of_us: int
    first_us: int
    _branches: list[exp.Select] = field(default_factory=list)
    _raw: dict[Signal, exp.Column] = field(default_factory=dict)

    def source(self) -> exp.Select:
        """One row a person with the raw columns of every signal."""
        unordered = [signal for signal in self.program.signals if isinstance(signal, _UNORDERED)]
        self._unordered(unordered)
        self._edges([signal for signal in self.program.signals if isinstance(signal, Edge)])
        for signal in self.program.signals:
            if isinstance(signal, Bursts):
                self._bursts(signal)
            elif isinstance(signal, Sequence):
                self._sequence(signal)
        self._attributes([signal for signal in self.program.signals if isinstance(signal, Attribute)])
        return self._joined()

    def value(self, signal: Signal, let: Let) -> exp.Expr:
        """A signal's value, from its raw column."""
        raw = self._raw[signal].copy()
        match signal:
            case Count(cap=cap) | CountDistinct(cap=cap) | Bursts(cap=cap):
                return _capped(_or(exp.cast(raw, "INT128"), 0), cap)
            case Sum(half_life_us=None, cap=cap):
                return _capped(exp.Mul(this=_or(raw, 0), expression=sql_integer(_RAISE)), cap)
            case Sum(cap=cap):
                return _capped(sql_half_even(_or(raw, 0), sql_integer(MICRO), let), cap)
            case Maximum(cap=cap):
                return _capped_if_any(_raised(raw), cap)
            case Idle(unit=unit, cap=cap):
                elapsed = exp.Mul(this=self.elapsed(raw), expression=sql_integer(ONE))
                return _capped(_or(sql_half_even(elapsed, sql_integer(UNITS_US[unit]), let), INFINITE), cap)
            case Edge(property=prop):
                return _raised(raw) if prop is not None and prop.type == "number" else raw
            case Sequence():
                return function("coalesce", raw, exp.false())
            case Attribute():
                return _attribute(signal, raw)

    def raw(self, signal: Signal) -> exp.Expr:
        """A signal's raw column: the last time for an idle, the type for a last."""
        return self._raw[signal].copy()

    def elapsed(self, t_us: exp.Expr) -> exp.Expr:
        """Microseconds from `t_us` to as_of, wide."""
        return exp.paren(exp.Sub(this=sql_integer(self.as_of_us), expression=exp.cast(t_us, "INT128")))

    # The parts

    def _events(self) -> exp.Select:
        """The log as signals see it: nothing after as_of, missing values null, numbers in millionths."""
        own = [column(name) for name in ("person_id", "type", "t_us", "id")]
        machine = exp.alias_(compare(exp.NEQ, column("machine"), integer(0)), "machine")
        properties = [exp.alias_(_clean(prop, f"c{i}"), f"c{i}") for i, prop in enumerate(self.program.columns)]
        past = compare(exp.LTE, column("t_us"), integer(self.as_of_us))
        return exp.select(*own, machine, *properties).from_("log").where(past)

    def _column(self, prop: Property) -> exp.Column:
        return column("machine") if prop.name == "machine" else column(f"c{self.program.columns.index(prop)}")

    def _sees(self, selection: Selection) -> exp.Expr:
        types = exp.In(this=column("type"), expressions=[text(name) for name in sorted(selection.types)])
        found: list[exp.Expr] = [types]
        if not selection.machines:
            found.append(exp.Not(this=column("machine")))
        if selection.within_us is not None:
            found.append(compare(exp.GT, column("t_us"), integer(self.as_of_us - selection.within_us)))
        found += [self._condition(condition) for condition in selection.conditions]
        # A condition on a missing value is null; in a CASE or a WHERE that is as good as false
        return exp.paren(exp.and_(*found))

    def _condition(self, condition: Condition) -> exp.Expr:
        found, value = self._column(condition.property), condition.value
        match condition.test:
            case "missing":
                missing = exp.Is(this=found, expression=exp.Null())
                return missing if value else exp.Not(this=missing)
            case "in":
                return exp.In(this=found, expressions=[_literal(item) for item in value])
            case "between":
                return exp.Between(this=found, low=_literal(value[0]), high=_literal(value[1]))
            case "like":
                return exp.Escape(this=exp.Like(this=found, expression=text(_like(value))), expression=text("\\"))
            case test:
                return compare(_COMPARISONS[test], found, _literal(value))

    def _unordered(self, signals: Items[Signal]) -> None:
        """Everything that needs no order, in one pass."""
        if not signals:
            return
        table = self._branch_name()
        named = []
        for index, signal in enumerate(signals):
            name = f"{table}_{index}"
            named.append(exp.alias_(self._aggregate(signal), name))
            self._raw[signal] = column(name)
        self._branches.append(_by_person(named).from_("event"))

    def _aggregate(self, signal: Signal) -> exp.Expr:
        match signal:
            case Count(events=events, half_life_us=None):
                return total(case(self._sees(events), sql_integer(1), sql_integer(0)))
            case Count(events=events, half_life_us=half_life):
                return total(case(self._sees(events), self._aged(half_life or 1)))
            case CountDistinct(events=events, property=prop):
                return exp.Count(this=exp.Distinct(expressions=[case(self._sees(events), self._column(prop))]))
            case Sum(events=events, property=prop, half_life_us=half_life):
                value: exp.Expr = exp.cast(self._column(prop), "INT128")
                value = value if half_life is None else exp.Mul(this=value, expression=self._aged(half_life))
                return total(case(self._sees(events), value))
            case Maximum(events=events, property=prop):
                return exp.Max(this=case(self._sees(events), self._column(prop)))
            case Idle(events=events):
                return exp.Max(this=case(self._sees(events), column("t_us")))
            case _:
                raise AssertionError(signal)

    def _aged(self, half_life_us: int) -> exp.Expr:
        elapsed = exp.paren(exp.Sub(this=integer(self.as_of_us), expression=column("t_us")))
        return aged(0.5, elapsed, half_life_us)

    def _edges(self, signals: Items[Edge]) -> None:
        """The newest or oldest event of each selection, with every property that is asked of it."""
        families: dict[tuple[Selection, bool], list[Edge]] = {}
        for signal in signals:
            families.setdefault((signal.events, signal.newest), []).append(signal)
        for (selection, newest), family in families.items():
            table = self._branch_name()
            place = window(function("row_number"), [column("person_id")], newest_first=newest)
            asked = [self._column(s.property) if s.property else column("type") for s in family]
            named = [exp.alias_(item, f"{table}_{i}") for i, item in enumerate(asked)]
            ranked = exp.select("person_id", *named, exp.alias_(place, "place")).from_("event")
            ranked = ranked.where(self._sees(selection))
            first = compare(exp.EQ, column("place"), integer(1))
            for index, signal in enumerate(family):
                self._raw[signal] = column(f"{table}_{index}")
            names = [column(item.alias) for item in named]
            self._branches.append(exp.select("person_id", *names).from_(ranked.subquery("ranked")).where(first))

    def _bursts(self, signal: Bursts) -> None:
        """Days on which an event's `of` - 1st predecessor lies in reach."""
        table = self._branch_name()
        earlier = window(function("lag", column("t_us"), exp.Literal.number(signal.of - 1)), [column("person_id")])
        seen = exp.select("person_id", "t_us", exp.alias_(earlier, "earlier")).from_("event")
        seen = seen.where(self._sees(signal.events))
        span = exp.paren(exp.Sub(this=column("t_us"), expression=column("earlier")))
        near = compare(exp.LTE, span, integer(signal.within_us))
        days = exp.Count(this=exp.Distinct(expressions=[self._day(signal.timezone)]))
        self._raw[signal] = column(f"{table}_0")
        found = _by_person([exp.alias_(days, f"{table}_0")]).from_(seen.subquery("seen"))
        self._branches.append(found.where(near))

    def _day(self, timezone: str) -> exp.Expr:
        """The local day, by integers alone: floor((t + offset) / day), also before 1970."""
        spans = transitions(timezone, self.first_us, self.as_of_us)
        offset: exp.Expr = integer(spans[0][1])
        for start, value in spans[1:]:
            offset = case(compare(exp.GTE, column("t_us"), integer(start)), integer(value), offset)
        local = exp.paren(exp.Add(this=column("t_us"), expression=offset))
        rest = exp.paren(exp.Mod(this=local, expression=integer(DAY_US)))
        raised = exp.paren(exp.Add(this=rest, expression=integer(DAY_US)))
        floor = exp.paren(exp.Mod(this=raised, expression=integer(DAY_US)))
        return exp.paren(exp.Sub(this=local.copy(), expression=floor))

    def _sequence(self, signal: Sequence) -> None:
        """For step k, the latest start of a chain among the earlier events of step k - 1."""
        table = self._branch_name()
        by = ["person_id"] if signal.within_us is not None else ["person_id", "session", "island"]
        steps = [self._sees(step) for step in signal.steps]
        flags = [exp.alias_(step.copy(), f"k{index}") for index, step in enumerate(steps)]
        source = exp.to_table("event") if signal.within_us is not None else self._sessions().subquery("visit")
        query = exp.select(*by, *IN_ORDER, *flags).from_(source).where(exp.or_(*steps))
        start: exp.Expr = case(column("k0"), column("t_us"))
        for index in range(1, len(steps)):
            inner = exp.select(exp.Star(), exp.alias_(start, f"start{index}")).from_(query.subquery(f"s{index}"))
            query = inner
            latest = window(exp.Max(this=column(f"start{index}")), [column(name) for name in by], until="1")
            start = case(column(f"k{index}"), latest)
        ended = exp.select(exp.Star(), exp.alias_(start, "start")).from_(query.subquery("steps"))
        done: exp.Expr = exp.Not(this=exp.Is(this=column("start"), expression=exp.Null()))
        if signal.within_us is not None:
            span = exp.paren(exp.Sub(this=column("t_us"), expression=column("start")))
            done = compare(exp.LTE, span, integer(signal.within_us))
        self._raw[signal] = column(f"{table}_0")
        found = _by_person([exp.alias_(exp.true(), f"{table}_0")]).from_(ended.subquery("ended"))
        self._branches.append(found.where(done))

    def _sessions(self) -> exp.Select:
        """Page visits with their session: the vendor's, or an island between gaps."""
        session = self._column(Property("session_id", "text"))
        named = exp.Not(this=exp.Is(this=column("session"), expression=exp.Null()))
        visits = exp.select(exp.Star(), exp.alias_(session, "session")).from_("event")
        visits = visits.where(self._sees(Selection(frozenset(["page_visit"]))))
        anonymous = exp.Is(this=column("session"), expression=exp.Null())
        before = window(function("lag", column("t_us")), [column("person_id"), exp.paren(anonymous)])
        gap = exp.paren(exp.Sub(this=column("t_us"), expression=before))
        joined = exp.or_(named, compare(exp.LT, gap, integer(SESSION_GAP_US)))
        fresh = case(joined, integer(0), integer(1))
        marked = exp.select(exp.Star(), exp.alias_(fresh, "fresh")).from_(visits.subquery("visits"))
        by = [column("person_id"), column("session")]
        island = window(exp.Sum(this=column("fresh")), by, until="CURRENT ROW")
        return exp.select(exp.Star(), exp.alias_(island, "island")).from_(marked.subquery("marked"))

    def _attributes(self, signals: Items[Attribute]) -> None:
        if not signals:
            return
        table = self._branch_name()
        named = []
        for index, signal in enumerate(signals):
            mine = compare(exp.EQ, column("name"), text(signal.name))
            named.append(exp.alias_(exp.Max(this=case(mine, column("value"))), f"{table}_{index}"))
            self._raw[signal] = column(f"{table}_{index}")
        self._branches.append(_by_person(named).from_("profile"))

    def _joined(self) -> exp.Select:
        query = exp.select(column("person_id", "people"), *(raw.copy() for raw in self._raw.values())).from_("people")
        for index, branch in enumerate(self._branches):
            same = compare(exp.EQ, column("person_id", f"b{index}"), column("person_id", "people"))
            query = query.join(branch.subquery(f"b{index}"), on=same, join_type="left")
        return query.with_("event", as_=self._events())

    def _branch_name(self) -> str:
        return f"r{len(self._branches)}"


def aged(rate: float, elapsed_us: exp.Expr, per_us: int) -> exp.Expr:
    """`numbers.factor` in SQL: the same doubles in the same order, rounded half-even by the cast."""
    periods = exp.Div(this=exp.cast(elapsed_us, "DOUBLE"), expression=number(float(per_us)))
    power = exp.Pow(this=number(rate), expression=exp.paren(periods))
    return exp.cast(exp.cast(exp.Mul(this=power, expression=number(1e12)), "BIGINT"), "INT128")


_UNORDERED = (Count, CountDistinct, Sum, Maximum, Idle)
_COMPARISONS: dict[str, type[exp.Binary]] = {
    "eq": exp.EQ,
    "ne": exp.NEQ,
    "gt": exp.GT,
    "ge": exp.GTE,
    "lt": exp.LT,
    "le": exp.LTE,
}


def _by_person(named: Items[exp.Expr]) -> exp.Select:
    return exp.select("person_id", *named).group_by("person_id")


def _clean(prop: Property, name: str) -> exp.Expr:
    """An empty text and a number beyond reason are missing; numbers are in millionths."""
    raw = column(name)
    if prop.type == "text":
        return exp.Nullif(this=raw, expression=text(""))
    if prop.type == "boolean":
        return compare(exp.NEQ, raw, integer(0))
    sane = compare(exp.LTE, exp.Abs(this=raw), number(float(numbers.LARGEST_PROPERTY)))
    return case(sane, exp.cast(exp.Mul(this=raw.copy(), expression=number(1e6)), "BIGINT"))


def _literal(value: object) -> exp.Expr:
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    return integer(value) if isinstance(value, int) else text(str(value))


def _like(glob: str) -> str:
    """A glob as a LIKE pattern with a backslash for what is meant as it stands."""
    parts = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": "\\\\"}
    return "".join(parts.get(character, character) for character in glob)


def _or(value: exp.Expr, default: int) -> exp.Expr:
    return function("coalesce", value, sql_integer(default))


def _raised(value: exp.Expr) -> exp.Expr:
    """Millionths as a scaled number."""
    return exp.Mul(this=exp.cast(value, "INT128"), expression=sql_integer(_RAISE))


def _capped(value: exp.Expr, cap: int | None) -> exp.Expr:
    return value if cap is None else sql_extreme(exp.Least, value, sql_integer(cap))


def _capped_if_any(value: exp.Expr, cap: int | None) -> exp.Expr:
    """LEAST passes over nulls, so it must not see one."""
    if cap is None:
        return value
    return case(exp.Not(this=exp.Is(this=exp.paren(value), expression=exp.Null())), _capped(value.copy(), cap))


def _attribute(signal: Attribute, raw: exp.Expr) -> exp.Expr:
    if signal.type == "text":
        return exp.Nullif(this=raw, expression=text(""))
    if signal.type == "boolean":
        lower = function("lower", raw)
        yes = exp.In(this=lower, expressions=[text(word) for word in TRUE])
        no = exp.In(this=lower.copy(), expressions=[text(word) for word in FALSE])
        return case(yes, exp.true()).when(no, exp.false())
    matches = exp.Anonymous(this="regexp_full_match", expressions=[raw, text(NUMBER)])
    places = exp.cast(exp.TryCast(this=raw.copy(), to=exp.DataType.build("DECIMAL(38,12)")), "TEXT")
    digits = exp.Anonymous(this="replace", expressions=[places, text("."), text("")])
    return case(matches, exp.cast(digits, "INT128"))
