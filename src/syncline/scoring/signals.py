"""Signals: named aggregates over a person's events and profile, as of a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from syncline.errors import did_you_mean
from syncline.scoring import numbers
from syncline.scoring.expressions import Kind
from syncline.scoring.reading import Path, Reading
from syncline.scoring.where import Property, Selection, property_of, read_selection, read_types, read_where

__all__ = [
    "SESSION_GAP_US",
    "SIGNAL_KEYS",
    "UNITS_US",
    "Attribute",
    "Bursts",
    "Count",
    "CountDistinct",
    "Edge",
    "Idle",
    "Maximum",
    "Sequence",
    "Signal",
    "Sum",
    "Unit",
    "checked_timezone",
    "event_properties",
    "kind_of",
    "read_signal",
    "selections",
]

SESSION_GAP_US: Final = 30 * 60 * 1_000_000
"""Visits without a session id belong together while the gaps are shorter than this."""

Unit = Literal["days", "hours", "minutes", "seconds"]
UNITS_US: Final[Mapping[Unit, int]] = {
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
}


@dataclass(frozen=True, slots=True)
class Count:
    """How many events; with a half-life, each counts less the older it is."""

    events: Selection
    half_life_us: int | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class CountDistinct:
    """How many different values of a property."""

    events: Selection
    property: Property
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of a property; missing values add nothing. With a half-life, each counts less the older it is."""

    events: Selection
    property: Property
    half_life_us: int | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Maximum:
    """The largest value of a property; null if there is none."""

    events: Selection
    property: Property
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Bursts:
    """On how many local days an event had at least `of` - 1 others in the `within` before it."""

    events: Selection
    of: int
    within_us: int
    timezone: str
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """How long ago the last such event was; no event is infinitely long ago."""

    events: Selection
    unit: Unit
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A property of the newest (or oldest) such event; None stands for its type."""

    events: Selection
    newest: bool
    property: Property | None


@dataclass(frozen=True, slots=True)
class Sequence:
    """Whether the steps were taken one after the other, in one session (`within_us` None) or within a time."""

    steps: tuple[Selection, ...]
    within_us: int | None


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the profile; null if it is missing or not of that type."""

    name: str
    type: Literal["text", "number", "boolean"]


Signal = Count | CountDistinct | Sum | Maximum | Bursts | Idle | Edge | Sequence | Attribute

_TYPE_KINDS: Final[Mapping[str, Kind]] = {"text": Kind.TEXT, "number": Kind.NUMBER, "boolean": Kind.BOOLEAN}


def kind_of(signal: Signal) -> Kind:
    """What an expression sees of a signal."""
    match signal:
        case Count(half_life_us=None) | CountDistinct() | Bursts():
            return Kind.INTEGER
        case Sequence():
            return Kind.BOOLEAN
        case Attribute(type=type_):
            return _TYPE_KINDS[type_]
        case Edge(property=prop):
            return _TYPE_KINDS[prop.type] if prop else Kind.TEXT
        case _:
            return Kind.NUMBER


def event_properties(signal: Signal) -> frozenset[Property]:
    """The properties that a signal reads."""
    match signal:
        case Attribute():
            return frozenset()
        case Sequence(steps=steps, within_us=within):
            session = [] if within is not None else [Property("session_id", "text")]
            return frozenset().union(*(step.properties for step in steps), session)
        case CountDistinct(property=prop) | Sum(property=prop) | Maximum(property=prop) | Edge(property=prop):
            return signal.events.properties | ({prop} if prop else set())
        case _:
            return signal.events.properties


def selections(signal: Signal) -> tuple[Selection, ...]:
    """The selections of events a signal is made of."""
    match signal:
        case Attribute():
            return ()
        case Sequence(steps=steps):
            return steps
        case _:
            return (signal.events,)


# Reading


def read_signal(reading: Reading, value: object, path: Path, timezone: str) -> Signal | None:
    """The signal that a mapping such as {count: page_visit, where: {page_type: pricing}} says."""
    data = reading.mapping(value, path, "a signal")
    heads = [head for head in _READERS if head in data]
    if len(heads) != 1:
        found = f"{' and '.join(heads)} together" if heads else f"none of them ({', '.join(data) or 'nothing'})"
        if data or isinstance(value, Mapping):
            reading.wrong(
                path, f"a signal has exactly one of {', '.join(_READERS)}; here is {found}{_hint(data, heads)}"
            )
        return None
    options, reader = _READERS[heads[0]]
    reading.known_keys(data, path, (heads[0], *options))
    before = len(reading.problems)
    signal = reader(reading, data, path, timezone)
    return signal if len(reading.problems) == before else None


def _hint(data: Mapping[str, Any], heads: list[str]) -> str:
    options = {option for known, _ in _READERS.values() for option in known}
    strange = [key for key in data if key not in options and key not in _READERS]
    return f". {strange[0]!r}: {did_you_mean(strange[0], _READERS)}" if strange and not heads else ""


def _count(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    events = read_selection(reading, data["count"], data, path, key="count")
    half_life = reading.duration(data, "half_life", path)
    return Count(events, half_life, _cap(reading, data, path, whole=half_life is None))


def _count_distinct(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    events, prop = _of(reading, data, path, "count_distinct", "text")
    return CountDistinct(events, prop, _cap(reading, data, path, whole=True)) if prop else None


def _sum(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    events, prop = _of(reading, data, path, "sum", "number")
    half_life = reading.duration(data, "half_life", path)
    cap = _cap(reading, data, path, whole=False)
    return Sum(events, prop, half_life, cap) if prop and _is_number(reading, prop, path, "sum") else None


def _maximum(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    events, prop = _of(reading, data, path, "max", "number")
    cap = _cap(reading, data, path, whole=False)
    return Maximum(events, prop, cap) if prop and _is_number(reading, prop, path, "max") else None


def _bursts(reading: Reading, data: Mapping[str, Any], path: Path, timezone: str) -> Signal | None:
    types = read_types(reading, data["bursts"], (*path, "bursts"))
    where = read_where(reading, data.get("where", {}), types, (*path, "where"))
    of, within = reading.whole(data, "of", path), reading.duration(data, "within", path)
    _required(reading, data, path, "bursts", {"of": "3", "within": "24h"})
    cap = _cap(reading, data, path, whole=True)
    return None if of is None or within is None else Bursts(Selection(types, where), of, within, timezone, cap)


def _idle(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    events = read_selection(reading, data["idle"], data, path, key="idle")
    _required(reading, data, path, "idle", {"unit": "hours"})
    unit = reading.name(data.get("unit", "hours"), (*path, "unit"), UNITS_US, "unit")
    return Idle(events, unit, _cap(reading, data, path, whole=False)) if unit else None  # type: ignore[arg-type] # checked


def _last(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    return _edge(reading, data, path, "last")


def _first(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    return _edge(reading, data, path, "first")


def _edge(reading: Reading, data: Mapping[str, Any], path: Path, key: str) -> Signal | None:
    events = read_selection(reading, data.get("of", "any"), data, path, key="of" if "of" in data else key)
    if data[key] == "type":
        return Edge(events, key == "last", None)
    prop = property_of(reading, data[key], events.types, (*path, key))
    return Edge(events, key == "last", prop) if prop else None


def _sequence(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    places = reading.items(data["sequence"], (*path, "sequence"), "a sequence")
    steps = [_step(reading, item, place) for place, item in places]
    _required(reading, data, path, "sequence", {"within": "session, or 7d"})
    if isinstance(data["sequence"], list | tuple) and len(steps) < 2:
        reading.wrong((*path, "sequence"), "a sequence has at least two steps")
    if data.get("within") == "session":
        return _session(reading, tuple(steps), path)
    return Sequence(tuple(steps), reading.duration(data, "within", path))


def _step(reading: Reading, item: object, path: Path) -> Selection:
    """`page_visit`, or {page_visit: {page_type: demo}}."""
    if isinstance(item, str):
        return Selection(read_types(reading, item, path))
    data = reading.mapping(item, path, "a step")
    if isinstance(item, Mapping) and len(data) != 1:
        reading.wrong(path, "a step is one event type, or one event type with its conditions")
    name = next(iter(data), None)
    if name is None:
        return Selection(frozenset())
    types = read_types(reading, name, (*path, name))
    return Selection(types, read_where(reading, data[name], types, (*path, name)))


def _session(reading: Reading, steps: tuple[Selection, ...], path: Path) -> Signal:
    for index, step in enumerate(steps):
        others = step.types - {"page_visit"}
        if others:
            message = f"a session is made of page visits, so it holds no {'/'.join(sorted(others))}: give a duration"
            reading.wrong((*path, "sequence", index), message)
        if step.machines:
            reading.wrong((*path, "sequence", index), "a session is a person's: a step in it cannot ask for machines")
    return Sequence(steps, None)


def _attribute(reading: Reading, data: Mapping[str, Any], path: Path, _timezone: str) -> Signal | None:
    name = reading.text(data, "attribute", path)
    type_ = reading.name(data.get("as", "text"), (*path, "as"), _TYPE_KINDS, "type")
    return Attribute(name, type_) if name and type_ else None  # type: ignore[arg-type] # checked


def _of(
    reading: Reading, data: Mapping[str, Any], path: Path, key: str, free: Literal["text", "number"]
) -> tuple[Selection, Property | None]:
    _required(reading, data, path, key, {"of": "page_visit"})
    events = read_selection(reading, data.get("of", "any"), data, path, key="of")
    return events, property_of(reading, data[key], events.types, (*path, key), free)


def _required(reading: Reading, data: Mapping[str, Any], path: Path, head: str, examples: Mapping[str, str]) -> None:
    for key, example in examples.items():
        if key not in data:
            reading.wrong(path, f"{head} needs {key}, such as {key}: {example}")


def _is_number(reading: Reading, prop: Property, path: Path, key: str) -> bool:
    if prop.type == "number":
        return True
    reading.wrong((*path, key), f"{prop.name} is a {prop.type}: {key} needs a number")
    return False


def _cap(reading: Reading, data: Mapping[str, Any], path: Path, *, whole: bool) -> int | None:
    """The cap in the signal's own numbers: whole ones, or scaled."""
    if "cap" not in data:
        return None
    if whole:
        return reading.whole(data, "cap", path, least=0)
    number = reading.number(data, "cap", path)
    cap = None if number is None else numbers.scaled(number)
    if number is not None and cap is None:
        reading.wrong((*path, "cap"), f"cap has at most 12 decimals, not {number}")
    return cap


def checked_timezone(reading: Reading, data: Mapping[str, Any], path: Path) -> str:
    """The time zone under `timezone`, Europe/Rome by default."""
    name = reading.text(data, "timezone", path, "Europe/Rome")
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        reading.wrong((*path, "timezone"), f"unknown time zone {name!r}: write an IANA name such as Europe/Rome or UTC")
        return "Europe/Rome"
    return name


_Reader = Callable[[Reading, Mapping[str, Any], Path, str], Signal | None]

_READERS: Final[Mapping[str, tuple[tuple[str, ...], _Reader]]] = {
    "count": (("where", "within", "cap", "half_life"), _count),
    "count_distinct": (("of", "where", "within", "cap"), _count_distinct),
    "sum": (("of", "where", "within", "cap", "half_life"), _sum),
    "max": (("of", "where", "within", "cap"), _maximum),
    "bursts": (("of", "where", "within", "cap"), _bursts),
    "idle": (("where", "within", "unit", "cap"), _idle),
    "last": (("of", "where", "within"), _last),
    "first": (("of", "where", "within"), _first),
    "sequence": (("within",), _sequence),
    "attribute": (("as",), _attribute),
}

SIGNAL_KEYS: Final = tuple(_READERS)
"""The words that say what kind of signal it is."""
