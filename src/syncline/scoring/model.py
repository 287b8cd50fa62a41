"""Score models: lines of arithmetic over signals, caps, decay, bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from sqlglot import exp

from syncline.scoring import numbers
from syncline.scoring.expressions import (
    ExpressionError,
    Kind,
    Node,
    names,
    parse_expression,
)
from syncline.scoring.reading import Path, Reading
from syncline.scoring.signals import Signal, checked_timezone, kind_of, read_signal

__all__ = ["BASE", "DECAY", "LIMIT", "ROUNDING", "Band", "Decay", "Line", "Model", "parse_model"]

BASE: Final = "base"
DECAY: Final = "decay"
LIMIT: Final = "limit"
ROUNDING: Final = "rounding"
"""The contributions that are not lines of the model."""

_LINE_KEYS: Final = ("name", "add", "multiply", "if", "cap", "floor", "group", "says")
_BAND_KEYS: Final = ("name", "at_least", "rearm_below", "tell", "actions", "description")
_TELL_KEYS: Final = ("whom", "when")
_TELL_WHEN: Final = ("immediately", "daily", "weekly")
_TASK_KEYS: Final = ("text", "due", "priority")
_PRIORITIES: Final = ("low", "normal", "high", "urgent", "from_score")
_MODEL_KEYS: Final = (
    *("model", "version", "description", "timezone", "base", "min", "max"),
    *("signals", "score", "groups", "decay", "bands"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a score: adds to the running value, or multiplies it, if its condition holds.

    `cap` and `floor` (scaled) bound what the line adds. `says` tells in each language what the person did.
    """

    name: str
    operation: Literal["add", "multiply"]
    value: Node
    condition: Node | None = None
    cap: int | None = None
    floor: int | None = None
    group: str | None = None
    says: Mapping[str, str] = field(default_factory=dict)

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals it reads, those of its value first."""
        found = [*names(self.value), *(names(self.condition) if self.condition else ())]
        return tuple(dict.fromkeys(found))

    @property
    def scaled(self) -> bool:
        """Whether its value is a scaled number; a whole one otherwise."""
        return self.value.kind is Kind.NUMBER

    @property
    def weight(self) -> Decimal | None:
        """w in `w * signal`, in `signal` and in a constant; None where the value is no such thing."""
        return _weight(self.value)


@dataclass(frozen=True, slots=True)
class Decay:
    """The running value times rate ** (time since the last activity / per)."""

    rate: float
    per_us: int


@dataclass(frozen=True, slots=True)
class Band:
    """A named range of a score, from `at_least` on; entering counts again once the value was under `rearm_below`.

    `tell` and `actions` are what the model recommends when somebody enters it; `actions:` of connectors.yaml does it.
    """

    name: str
    at_least: Decimal
    rearm_below: Decimal
    tell: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A score model. `base`, `minimum`, `maximum` and group caps are scaled integers; bands stand highest first."""

    name: str
    version: int
    description: str
    timezone: str
    signals: Mapping[str, Signal]
    lines: tuple[Line, ...]
    base: int = 0
    minimum: int | None = None
    maximum: int | None = None
    groups: Mapping[str, int] = field(default_factory=dict)
    decay: Decay | None = None
    bands: tuple[Band, ...] = ()

    def band(self, value: Decimal) -> str | None:
        """The highest band that `value` reaches."""
        return next((band.name for band in self.bands if value >= band.at_least), None)


def parse_model(data: Mapping[str, Any], *, name: str) -> Model:
    """The model that a plain mapping says; one ConfigError with every mistake otherwise."""
    reading = Reading()
    top = reading.mapping(data, (), "a model")
    reading.known_keys(top, (), _MODEL_KEYS)
    model = _model(reading, top, name)
    reading.finish(f"score model {name}")
    return model


def _model(reading: Reading, top: Mapping[str, Any], name: str) -> Model:
    timezone = checked_timezone(reading, top, ())
    signals = _signals(reading, top, timezone)
    groups = _groups(reading, top)
    return Model(
        name=reading.text(top, "model", (), name) or name,
        version=reading.whole(top, "version", ()) or 1,
        description=reading.text(top, "description", ()),
        timezone=timezone,
        signals={key: signal for key, signal in signals.items() if signal is not None},
        lines=_lines(reading, top, {key: kind_of(s) if s else None for key, s in signals.items()}, groups),
        base=_scaled(reading, top, "base") or 0,
        **_limits(reading, top),
        groups=groups,
        decay=_decay(reading, top),
        bands=_bands(reading, top),
    )


def _signals(reading: Reading, top: Mapping[str, Any], timezone: str) -> dict[str, Signal | None]:
    found: dict[str, Signal | None] = {}
    for name, value in reading.mapping(top.get("signals", {}), ("signals",), "signals").items():
        path: Path = ("signals", name)
        if not _is_a_name(name):
            reading.wrong(path, f"{name!r} cannot name a signal: use letters, digits and _, and no word of SQL")
        found[name] = read_signal(reading, value, path, timezone)
    return found


def _is_a_name(name: str) -> bool:
    try:
        return name.isidentifier() and parse_expression(name, {name: Kind.NUMBER}).value == name
    except ExpressionError:
        return False


def _groups(reading: Reading, top: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in reading.mapping(top.get("groups", {}), ("groups",), "groups").items():
        path: Path = ("groups", name)
        data = reading.mapping(value, path, "a group")
        reading.known_keys(data, path, ("cap",))
        cap = _scaled(reading, data, "cap", path)
        if cap is None and "cap" not in data:
            reading.wrong(path, "a group has a cap, such as {cap: 50}")
        if cap is not None and cap < 0:
            reading.wrong((*path, "cap"), f"the cap of a group is 0 or more, not {data['cap']}")
        found[name] = cap or 0
    return found


def _limits(reading: Reading, top: Mapping[str, Any]) -> dict[str, int | None]:
    low, high = (_scaled(reading, top, key, places=2) for key in ("min", "max"))
    if low is not None and high is not None and low > high:
        reading.wrong(("min",), f"min {top['min']} is above max {top['max']}")
    return {"minimum": low, "maximum": high}


def _scaled(reading: Reading, data: Mapping[str, Any], key: str, path: Path = (), places: int = 12) -> int | None:
    """The number under `key` as a scaled integer, if it has at most `places` decimals."""
    number = reading.number(data, key, path)
    if number is None:
        return None
    if numbers.scaled(number, places) is None:
        reading.wrong((*path, key), f"{key} has at most {places} decimals and is at most 10^15, not {number}")
        return None
    return numbers.scaled(number)


def _decay(reading: Reading, top: Mapping[str, Any]) -> Decay | None:
    if "decay" not in top:
        return None
    path: Path = ("decay",)
    data = reading.mapping(top["decay"], path, "decay")
    reading.known_keys(data, path, ("rate", "per", "of"))
    rate, per = reading.number(data, "rate", path), reading.duration(data, "per", path)
    for key, example in {"rate": "0.95", "per": "30d"}.items():
        if data and key not in data:
            reading.wrong(path, f"decay needs {key}, such as {key}: {example}")
    if rate is not None and not 0 < rate <= 1:
        reading.wrong((*path, "rate"), f"rate is what is left after each period: above 0, at most 1, not {rate}")
    if data.get("of", "inactivity") != "inactivity":
        reading.wrong((*path, "of"), f"decay is of inactivity, not {data['of']!r}")
    return Decay(float(rate), per) if rate and per else None


# Lines

_Kinds = Mapping[str, Kind | None]


def _lines(reading: Reading, top: Mapping[str, Any], kinds: _Kinds, groups: Mapping[str, int]) -> tuple[Line, ...]:
    found: list[Line] = []
    if "score" not in top:
        reading.wrong((), "a model has a score: a list of lines such as {name: prices, add: 10 * price_visits}")
        return ()
    for path, item in reading.items(top["score"], ("score",), "score"):
        line = _line(reading, reading.mapping(item, path, "a line"), path, kinds, groups)
        if line is not None and line.name in {*(other.name for other in found), BASE, DECAY, LIMIT, ROUNDING}:
            reading.wrong((*path, "name"), f"the name {line.name!r} is taken: every contribution has its own")
        found += [line] if line else []
    return tuple(found)


def _line(
    reading: Reading, data: Mapping[str, Any], path: Path, kinds: _Kinds, groups: Mapping[str, int]
) -> Line | None:
    if not data:
        return None
    reading.known_keys(data, path, _LINE_KEYS)
    operation: Literal["add", "multiply"] = "multiply" if "multiply" in data else "add"
    if ("add" in data) == ("multiply" in data):
        reading.wrong(path, "a line has either add or multiply, such as add: 10 * price_visits")
        return None
    _only_when_adding(reading, data, path, operation)
    value = _expression(reading, data, operation, path, kinds, numeric=True)
    condition = _expression(reading, data, "if", path, kinds, numeric=False)
    name = reading.text(data, "name", path)
    if not name:
        reading.wrong(path, "a line has a name: it is what the explanation shows")
    cap, floor = _scaled(reading, data, "cap", path), _scaled(reading, data, "floor", path)
    group, says = _group(reading, data, path, groups), reading.texts(data, "says", path)
    return Line(name, operation, value, condition, cap, floor, group, says) if value else None


def _only_when_adding(reading: Reading, data: Mapping[str, Any], path: Path, operation: str) -> None:
    for key in ("cap", "floor", "group"):
        if operation == "multiply" and key in data:
            reading.wrong((*path, key), f"{key} bounds what a line adds; a line that multiplies has none")


def _group(reading: Reading, data: Mapping[str, Any], path: Path, groups: Mapping[str, int]) -> str | None:
    return reading.name(data["group"], (*path, "group"), groups, "group") if "group" in data else None


def _expression(
    reading: Reading, data: Mapping[str, Any], key: str, path: Path, kinds: _Kinds, *, numeric: bool
) -> Node | None:
    """The expression under `key`; nothing more is said about signals that are wrong themselves."""
    if key not in data:
        return None
    place = (*path, key)
    text = _written(data[key])
    if text is None:
        reading.wrong(place, f"{key} is an expression such as 10 * price_visits, not {data[key]!r}")
        return None
    try:
        node = parse_expression(text, {name: kind or Kind.NUMBER for name, kind in kinds.items()})
    except ExpressionError as error:
        if not any(kind is None and name in text for name, kind in kinds.items()):
            reading.wrong(place, str(error))
        return None
    return node if _has_kind(reading, node, text, place, kinds, numeric=numeric) else None


def _has_kind(reading: Reading, node: Node, text: str, place: Path, kinds: _Kinds, *, numeric: bool) -> bool:
    if any(kinds[name] is None for name in names(node)):
        return False
    if numeric and not node.kind.numeric:
        reading.wrong(place, f"`{text}` is {node.kind}, but {place[-1]} needs a number{_truth_hint(node)}")
        return False
    if not numeric and node.kind is not Kind.BOOLEAN:
        reading.wrong(place, f"`{text}` is {node.kind}, but if needs a condition: `{text} > 0`, for example")
        return False
    return True


def _truth_hint(node: Node) -> str:
    return ": write it under if, and what it is worth here" if node.kind is Kind.BOOLEAN else ""


def _written(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    number = numbers.literal(value)
    return None if number is None else f"{number:f}"


def _weight(node: Node) -> Decimal | None:
    if node.operation is exp.Column:
        return Decimal(1)
    if node.operation is exp.Mul:
        left, right = node.args
        if right.operation is exp.Column:
            return _constant(left)
        return _constant(right) if left.operation is exp.Column else None
    return _constant(node)


def _constant(node: Node) -> Decimal | None:
    if node.operation is exp.Neg:
        inner = _constant(node.args[0])
        return None if inner is None else -inner
    if node.operation is not exp.Literal:
        return None
    value = int(node.value or 0)
    return Decimal(value) if node.kind is Kind.INTEGER else numbers.decimal(value).normalize()


# Bands


def _bands(reading: Reading, top: Mapping[str, Any]) -> tuple[Band, ...]:
    found: list[Band] = []
    for path, item in reading.items(top.get("bands", ()), ("bands",), "bands"):
        band = _band(reading, reading.mapping(item, path, "a band"), path)
        if band is None:
            continue
        for other in found:
            if band.name == other.name or band.at_least == other.at_least:
                reading.wrong(path, f"bands {other.name!r} and {band.name!r} must differ in name and at_least")
        found.append(band)
    return tuple(sorted(found, key=lambda band: band.at_least, reverse=True))


def _band(reading: Reading, data: Mapping[str, Any], path: Path) -> Band | None:
    if not data:
        return None
    reading.known_keys(data, path, _BAND_KEYS)
    name = reading.text(data, "name", path)
    at_least = _hundredths(reading, data, "at_least", path)
    if not name or "at_least" not in data:
        reading.wrong(path, "a band has a name and the value it starts at: {name: hot, at_least: 80}")
    rearm = _hundredths(reading, data, "rearm_below", path)
    if at_least is not None and rearm is not None and rearm > at_least:
        reading.wrong(
            (*path, "rearm_below"), f"rearm_below {rearm} is above at_least {at_least}: it would never settle"
        )
    if not name or at_least is None:
        return None
    tell, actions = _tell(reading, data, path), _actions(reading, data, path)
    return Band(name, at_least, at_least if rearm is None else rearm, tell, actions)


def _hundredths(reading: Reading, data: Mapping[str, Any], key: str, path: Path) -> Decimal | None:
    value = _scaled(reading, data, key, path, places=2)
    return None if value is None else numbers.decimal(numbers.hundredths(value), 2)


def _tell(reading: Reading, data: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    place = (*path, "tell")
    tell = reading.mapping(data.get("tell", {}), place, "tell")
    reading.known_keys(tell, place, _TELL_KEYS)
    reading.text(tell, "whom", place)
    if "when" in tell:
        reading.name(tell["when"], (*place, "when"), _TELL_WHEN, "time to tell")
    return tell


def _actions(reading: Reading, data: Mapping[str, Any], path: Path) -> tuple[Any, ...]:
    found = []
    for place, item in reading.items(data.get("actions", ()), (*path, "actions"), "actions"):
        action = reading.mapping(item, place, "an action")
        reading.known_keys(action, place, ("task", "list"))
        if len(action) != 1:
            reading.wrong(place, "an action is one thing, such as {task: {text: alert_en}} or {list: newsletter}")
        reading.text(action, "list", place)
        if "task" in action:
            _task(reading, action["task"], (*place, "task"))
        found.append(action)
    return tuple(found)


def _task(reading: Reading, value: object, path: Path) -> None:
    task = reading.mapping(value, path, "a task")
    reading.known_keys(task, path, _TASK_KEYS)
    reading.text(task, "text", path)
    reading.duration(task, "due", path, zero=True)
    if "priority" in task:
        reading.name(task["priority"], (*path, "priority"), _PRIORITIES, "priority")
