"""The reference evaluator: plain Python, obvious and slow. Whatever else computes scores is tested against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from syncline.errors import ConfigError, did_you_mean
from syncline.model import microseconds
from syncline.scoring import numbers
from syncline.scoring.clock import local_day
from syncline.scoring.expressions import Value, evaluate
from syncline.scoring.log import LoggedEvent, in_order
from syncline.scoring.model import BASE, DECAY, LIMIT, ROUNDING, Line, Model
from syncline.scoring.numbers import INFINITE, MICRO, ONE, bounded, factor, half_even
from syncline.scoring.predicates import All, AnyOf, BandOf, InSegment, Not, Predicate, ScoreOf, Subject, Test
from syncline.scoring.profile import read_attribute
from syncline.scoring.program import LAST_TYPE, SIGNALS, Program
from syncline.scoring.result import Assessment, Contribution, ScoreResult, Shown
from syncline.scoring.shown import said, shown
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
from syncline.scoring.where import Selection, read_property

__all__ = ["Reading", "Why", "assess", "read", "why"]

_SHOWN_EVENTS: Final = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """A signal's value and the events behind it, oldest first."""

    value: Value
    events: tuple[LoggedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """A predicate, whether it holds, the value it saw, and the same for its parts."""

    text: str
    holds: bool
    value: Shown = None
    parts: tuple[Why, ...] = ()


@dataclass
class _Person:
    """One person as of a time. `events` are in order and not later than `as_of_us`."""

    program: Program
    events: list[LoggedEvent]
    profile: Mapping[str, str]
    as_of_us: int
    readings: dict[Signal, Reading]
    scores: dict[str, ScoreResult]
    inside: dict[str, bool]

    def reading(self, signal: Signal) -> Reading:
        if signal not in self.readings:
            self.readings[signal] = read(signal, self.events, self.profile, self.as_of_us)
        return self.readings[signal]


def assess(
    program: Program,
    person_id: int,
    events: Iterable[LoggedEvent],
    profile: Mapping[str, str],
    as_of: datetime,
) -> Assessment:
    """Scores and segments of one person as of a time, from that person's events in any order, duplicates or not."""
    person = _look(program, events, profile, as_of)
    last = person.reading(LAST_TYPE)
    return Assessment(
        person_id,
        person.scores,
        frozenset(name for name, inside in person.inside.items() if inside),
        None if last.value is None else str(last.value),
        last.events[-1].t_us if last.events else None,
    )


def why(
    program: Program,
    segment: str,
    events: Iterable[LoggedEvent],
    profile: Mapping[str, str],
    as_of: datetime,
) -> Why:
    """Why a person is in a segment, or is not: every predicate with its truth and the value it saw."""
    if segment not in program.segments:
        raise ConfigError(f"unknown segment {segment!r}: {did_you_mean(segment, program.segments)}")
    return _explained(segment, _look(program, events, profile, as_of))


def _look(program: Program, events: Iterable[LoggedEvent], profile: Mapping[str, str], as_of: datetime) -> _Person:
    as_of_us = microseconds(as_of)
    person = _Person(program, in_order(events, as_of_us), profile, as_of_us, {}, {}, {})
    for name, model in program.scores.items():
        person.scores[name] = _scored(name, model, person)
    for name, segment in program.segments.items():
        person.inside[name] = _holds(segment.predicate, person)
    return person


# Signals


def read(signal: Signal, events: list[LoggedEvent], profile: Mapping[str, str], as_of_us: int) -> Reading:
    """The value of one signal. `events` are in the total order, none later than `as_of_us`."""
    if isinstance(signal, Attribute):
        return Reading(read_attribute(signal, profile))
    if isinstance(signal, Sequence):
        return _sequence(signal, events, as_of_us)
    seen = [event for event in events if signal.events.sees(event, as_of_us)]
    return _SIGNALS[type(signal)](signal, seen, as_of_us)


def _count(signal: Count, seen: list[LoggedEvent], as_of_us: int) -> Reading:
    if signal.half_life_us is None:
        return Reading(_capped(len(seen), signal.cap), tuple(seen))
    total = sum(factor(0.5, as_of_us - event.t_us, signal.half_life_us) for event in seen)
    return Reading(_capped(bounded(total), signal.cap), tuple(seen))


def _count_distinct(signal: CountDistinct, seen: list[LoggedEvent], _as_of_us: int) -> Reading:
    having = [event for event in seen if read_property(event, signal.property) is not None]
    values = {read_property(event, signal.property) for event in having}
    return Reading(_capped(len(values), signal.cap), tuple(having))


def _sum(signal: Sum, seen: list[LoggedEvent], as_of_us: int) -> Reading:
    """Millionths become scaled numbers; with a half-life they are summed with all 18 places and rounded once."""
    values = [(event, read_property(event, signal.property)) for event in seen]
    having = [(event, value) for event, value in values if value is not None]
    if signal.half_life_us is None:
        total = sum(value for _, value in having) * (ONE // MICRO)
    else:
        aged = (value * factor(0.5, as_of_us - event.t_us, signal.half_life_us) for event, value in having)
        total = half_even(bounded(sum(aged)), MICRO)
    return Reading(_capped(bounded(total), signal.cap), tuple(event for event, _ in having))


def _maximum(signal: Maximum, seen: list[LoggedEvent], _as_of_us: int) -> Reading:
    values = [(read_property(event, signal.property), event) for event in seen]
    largest = max((value for value, _ in values if value is not None), default=None)
    if largest is None:
        return Reading(None)
    behind = tuple(event for value, event in values if value == largest)
    return Reading(_capped(largest * (ONE // MICRO), signal.cap), behind)


def _bursts(signal: Bursts, seen: list[LoggedEvent], _as_of_us: int) -> Reading:
    """The first of an event and its `of` - 1 predecessors must not be older than `within`."""
    back = signal.of - 1
    closing = [seen[i] for i in range(back, len(seen)) if seen[i].t_us - seen[i - back].t_us <= signal.within_us]
    days = {local_day(event.t_us, signal.timezone) for event in closing}
    return Reading(_capped(len(days), signal.cap), tuple(closing))


def _idle(signal: Idle, seen: list[LoggedEvent], as_of_us: int) -> Reading:
    if not seen:
        return Reading(_capped(INFINITE, signal.cap))
    elapsed = half_even((as_of_us - seen[-1].t_us) * ONE, UNITS_US[signal.unit])
    return Reading(_capped(elapsed, signal.cap), (seen[-1],))


def _edge(signal: Edge, seen: list[LoggedEvent], _as_of_us: int) -> Reading:
    if not seen:
        return Reading(None)
    event = seen[-1] if signal.newest else seen[0]
    value = event.type if signal.property is None else read_property(event, signal.property)
    if signal.property is not None and signal.property.type == "number" and value is not None:
        value *= ONE // MICRO
    return Reading(value, (event,))


def _sequence(signal: Sequence, events: list[LoggedEvent], as_of_us: int) -> Reading:
    """For each step, the chain that began last among those that have come so far: the shortest way here."""
    for group in [events] if signal.within_us is not None else _sessions(events):
        chains: list[tuple[LoggedEvent, ...]] = [()] * len(signal.steps)
        for event in group:
            _lengthen(chains, signal.steps, event, as_of_us)
            if chains[-1] and _in_time(chains[-1], signal.within_us):
                return Reading(True, chains[-1])
    return Reading(False)


def _lengthen(
    chains: list[tuple[LoggedEvent, ...]], steps: tuple[Selection, ...], event: LoggedEvent, as_of_us: int
) -> None:
    """From the last step to the first, so that no event follows itself."""
    for index in reversed(range(len(steps))):
        if not steps[index].sees(event, as_of_us):
            continue
        if index == 0:
            chains[0] = (event,)
        elif chains[index - 1]:
            chains[index] = (*chains[index - 1], event)


def _in_time(chain: tuple[LoggedEvent, ...], within_us: int | None) -> bool:
    return within_us is None or chain[-1].t_us - chain[0].t_us <= within_us


def _sessions(events: list[LoggedEvent]) -> list[list[LoggedEvent]]:
    """Page visits by the vendor's session; those without one by the gaps between them."""
    visits = [event for event in events if event.type == "page_visit" and not event.machine]
    named: dict[str, list[LoggedEvent]] = {}
    islands: list[list[LoggedEvent]] = []
    for event in visits:
        session = event.properties.get("session_id")
        if isinstance(session, str) and session:
            named.setdefault(session, []).append(event)
        elif islands and event.t_us - islands[-1][-1].t_us < SESSION_GAP_US:
            islands[-1].append(event)
        else:
            islands.append([event])
    return [*named.values(), *islands]


def _capped(value: int, cap: int | None) -> int:
    return value if cap is None else min(value, cap)


_SIGNALS: Final[Mapping[type, Callable[[Any, list[LoggedEvent], int], Reading]]] = {
    Count: _count,
    CountDistinct: _count_distinct,
    Sum: _sum,
    Maximum: _maximum,
    Bursts: _bursts,
    Idle: _idle,
    Edge: _edge,
}


# Scores


def _scored(name: str, model: Model, person: _Person) -> ScoreResult:
    """Line by line; whatever the running value changes by is that line's contribution."""
    readings = {key: person.reading(signal) for key, signal in model.signals.items()}
    running = model.base
    found = [Contribution(BASE, numbers.decimal(running))]
    groups: dict[str, int] = {}
    for line in model.lines:
        amount = _amount(line, model, {key: reading.value for key, reading in readings.items()}, running, groups)
        running = bounded(running + amount)
        found.append(_contribution(line, model, readings, amount))
    final, ending = _ended(model, running, person)
    value = numbers.decimal(numbers.hundredths(final), 2)
    return ScoreResult(name, model.name, model.version, value, model.band(value), (*found, *ending))


def _amount(line: Line, model: Model, values: Mapping[str, Value], running: int, groups: dict[str, int]) -> int:
    value = evaluate(line.value, values)
    holds = line.condition is None or evaluate(line.condition, values) is True
    if not holds or not isinstance(value, int):
        return 0
    if line.operation == "multiply":
        return _product(running, value, line) - running
    return _grouped(line, model, _within(line, _as_scaled(value, line)), groups)


def _as_scaled(value: int, line: Line) -> int:
    return value if line.scaled else bounded(value * ONE)


def _product(running: int, value: int, line: Line) -> int:
    product = bounded(running * value)
    return half_even(product, ONE) if line.scaled else product


def _within(line: Line, amount: int) -> int:
    if line.cap is not None:
        amount = min(amount, line.cap)
    return amount if line.floor is None else max(amount, line.floor)


def _grouped(line: Line, model: Model, amount: int, groups: dict[str, int]) -> int:
    """A line adds only what still fits under the cap of its group."""
    if line.group is None:
        return amount
    before = groups.get(line.group, 0)
    groups[line.group] = min(bounded(before + amount), model.groups[line.group])
    return groups[line.group] - before


def _contribution(line: Line, model: Model, readings: Mapping[str, Reading], amount: int) -> Contribution:
    behind = {event.id: event for name in line.signals for event in readings[name].events}
    newest = sorted(behind.values(), key=lambda event: (event.t_us, event.type, event.id), reverse=True)
    name = line.signals[0] if line.signals else None
    value = None if name is None else shown(readings[name].value, model.signals[name])
    events = tuple(event.id for event in newest[:_SHOWN_EVENTS])
    return Contribution(line.name, numbers.decimal(amount), name, value, line.weight, events, said(line.says, value))


def _ended(model: Model, running: int, person: _Person) -> tuple[int, list[Contribution]]:
    """Decay, limit, rounding: the final value, scaled, and what each of them changed."""
    found: list[Contribution] = []
    if model.decay is not None:
        decayed = half_even(bounded(running * _decay_factor(model, person)), ONE)
        found.append(Contribution(DECAY, numbers.decimal(decayed - running)))
        running = decayed
    limited = _limited(model, running)
    if model.minimum is not None or model.maximum is not None:
        found.append(Contribution(LIMIT, numbers.decimal(limited - running)))
    rounded = numbers.hundredths(limited) * (ONE // 100)
    found.append(Contribution(ROUNDING, numbers.decimal(rounded - limited)))
    return rounded, found


def _decay_factor(model: Model, person: _Person) -> int:
    last = person.reading(LAST_TYPE).events
    if model.decay is None or not last:
        return ONE
    return factor(model.decay.rate, person.as_of_us - last[-1].t_us, model.decay.per_us)


def _limited(model: Model, value: int) -> int:
    if model.maximum is not None:
        value = min(value, model.maximum)
    return value if model.minimum is None else max(value, model.minimum)


# Segments


def _holds(predicate: Predicate, person: _Person) -> bool:
    match predicate:
        case Test():
            return predicate.holds(_value(predicate.subject, person))
        case All(parts=parts):
            return all(_holds(part, person) for part in parts)
        case AnyOf(parts=parts):
            return any(_holds(part, person) for part in parts)
        case Not(part=part):
            return not _holds(part, person)


def _value(subject: Subject, person: _Person) -> Value:
    match subject:
        case ScoreOf(score=name):
            return numbers.scaled(person.scores[name].value)
        case BandOf(score=name):
            return person.scores[name].band
        case InSegment(segment=name):
            return person.inside[name]
        case _:
            return person.reading(subject).value


def _explained(name: str, person: _Person) -> Why:
    return Why(f"segment: {name}", person.inside[name], parts=(_why(person.program.segments[name].predicate, person),))


def _why(predicate: Predicate, person: _Person) -> Why:
    holds = _holds(predicate, person)
    match predicate:
        case Test(subject=InSegment(segment=name)):
            return _explained(name, person)
        case Test(text=text, subject=subject):
            return Why(text, holds, _shown_subject(subject, person))
        case All(parts=parts):
            return Why("all", holds, parts=tuple(_why(part, person) for part in parts))
        case AnyOf(parts=parts):
            return Why("any", holds, parts=tuple(_why(part, person) for part in parts))
        case Not(part=part):
            return Why("not", holds, parts=(_why(part, person),))


def _shown_subject(subject: Subject, person: _Person) -> Shown:
    if isinstance(subject, SIGNALS):
        return shown(_value(subject, person), subject)
    if isinstance(subject, ScoreOf):
        return Decimal(person.scores[subject.score].value)
    return _value(subject, person)
