"""Which events a signal sees: types, conditions on properties, look-back, machines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from syncline.errors import did_you_mean
from syncline.model import ACTIVITY, EVENT_TYPES
from syncline.scoring import numbers
from syncline.scoring.log import LoggedEvent
from syncline.scoring.reading import Path, Reading

__all__ = [
    "Condition",
    "Property",
    "PropertyType",
    "Selection",
    "like_pattern",
    "property_of",
    "read_property",
    "read_selection",
    "read_types",
    "read_where",
]

PropertyType = Literal["text", "number", "boolean"]
Test = Literal["eq", "ne", "gt", "ge", "lt", "le", "in", "between", "like", "missing"]

_ORDERED: Final = ("gt", "ge", "lt", "le")
_TESTS: Final = (*_ORDERED, "ne", "in", "between", "like", "missing")
_NAME: Final = re.compile(r"[\w.-]{1,60}")


@dataclass(frozen=True, slots=True)
class Property:
    """A property of events, read as one type: a value of another type counts as missing, and so does an empty text."""

    name: str
    type: PropertyType


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one property. Numbers are in millionths; a missing value passes no test but `missing`."""

    property: Property
    test: Test
    value: Any

    def holds(self, event: LoggedEvent) -> bool:
        found = read_property(event, self.property)
        if self.test == "missing":
            return (found is None) is self.value
        return found is not None and _PASSES[self.test](found, self.value)


@dataclass(frozen=True, slots=True)
class Selection:
    """The events of these types that meet all conditions; machines' only if a condition names them."""

    types: frozenset[str]
    conditions: tuple[Condition, ...] = ()
    within_us: int | None = None

    @property
    def machines(self) -> bool:
        return any(condition.property.name == "machine" for condition in self.conditions)

    @property
    def properties(self) -> frozenset[Property]:
        return frozenset(condition.property for condition in self.conditions)

    def sees(self, event: LoggedEvent, as_of_us: int) -> bool:
        """Whether the event counts; events after `as_of` are never asked about."""
        if event.type not in self.types or (event.machine and not self.machines):
            return False
        if self.within_us is not None and event.t_us <= as_of_us - self.within_us:
            return False
        return all(condition.holds(event) for condition in self.conditions)


def read_property(event: LoggedEvent, prop: Property) -> Any:
    """The value of a property (numbers in millionths), None if missing."""
    if prop.name == "machine":
        return event.machine
    value = event.properties.get(prop.name)
    if prop.type == "number":
        return numbers.micro(value)
    if prop.type == "boolean":
        return value if isinstance(value, bool) else None
    return value if isinstance(value, str) and value else None


def like_pattern(glob: str) -> str:
    """A glob (`*` any text, `?` one character) as a regular expression."""
    parts = {"*": ".*", "?": "."}
    return "".join(parts.get(character) or re.escape(character) for character in glob)


_PASSES: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda found, value: found == value,
    "ne": lambda found, value: found != value,
    "gt": lambda found, value: found > value,
    "ge": lambda found, value: found >= value,
    "lt": lambda found, value: found < value,
    "le": lambda found, value: found <= value,
    "in": lambda found, value: found in value,
    "between": lambda found, value: value[0] <= found <= value[1],
    "like": lambda found, value: re.fullmatch(like_pattern(value), found, re.DOTALL) is not None,
}


def read_selection(reading: Reading, types: object, data: Mapping[str, Any], path: Path, *, key: str) -> Selection:
    """The selection that a signal's `types` (under `key`), `where` and `within` say."""
    known = read_types(reading, types, (*path, key))
    conditions = read_where(reading, data.get("where", {}), known, (*path, "where"))
    return Selection(known, conditions, reading.duration(data, "within", path))


def read_types(reading: Reading, value: object, path: Path) -> frozenset[str]:
    """One event type, several, or `any` for everything a person does."""
    if value == "any":
        return ACTIVITY
    if isinstance(value, str):
        found = reading.name(value, path, {*EVENT_TYPES, "any"}, "event type")
        return frozenset([found] if found else [])
    items = list(reading.items(value, path, "a set of event types"))
    named = [reading.name(item, place, EVENT_TYPES, "event type") for place, item in items]
    if not named and isinstance(value, list | tuple):
        reading.wrong(path, "name at least one event type, or any")
    return frozenset(name for name in named if name)


def read_where(reading: Reading, value: object, types: frozenset[str], path: Path) -> tuple[Condition, ...]:
    """The conditions of a `where`, in the order written."""
    found: list[Condition] = []
    for name, test in reading.mapping(value, path, "where").items():
        found += _conditions(reading, name, test, types, (*path, name))
    return tuple(found)


def property_of(
    reading: Reading, name: object, types: frozenset[str], path: Path, free: PropertyType = "text"
) -> Property | None:
    """The property of that name; `free` is the type of a custom event's own property, which no vocabulary lists."""
    if name == "machine":
        return Property("machine", "boolean")
    kinds: dict[str, str] = {key: kind for type_ in sorted(types) for key, kind in EVENT_TYPES[type_].items()}
    if isinstance(name, str) and name in kinds:
        return _vocabulary(reading, name, kinds[name], path)
    if isinstance(name, str) and "custom" in types and types != ACTIVITY and _NAME.fullmatch(name):
        return Property(name, free)
    if types:
        where = "/".join(sorted(types)) if types != ACTIVITY else "any activity"
        known = did_you_mean(str(name), {*kinds, "machine"})
        reading.wrong(path, f"unknown property {name!r} of {where}: {known}")
    return None


def _vocabulary(reading: Reading, name: str, kind: str, path: Path) -> Property | None:
    if kind == "text" or kind == "number" or kind == "boolean":
        return Property(name, kind)  # type: ignore[arg-type] # narrowed by the line above
    reading.wrong(path, f"{name} is a {kind}: only texts, numbers and booleans can be counted or compared")
    return None


def _conditions(reading: Reading, name: str, test: object, types: frozenset[str], path: Path) -> list[Condition]:
    prop = property_of(reading, name, types, path, _type_of(test))
    if prop is None:
        return []
    if isinstance(test, list | tuple):
        return _condition(reading, prop, "in", test, path)
    if not isinstance(test, Mapping):
        return _condition(reading, prop, "eq", test, path)
    reading.known_keys(test, path, _TESTS)
    if not test:
        reading.wrong(path, f"says nothing: give a value or one of {', '.join(_TESTS)}")
    return [c for key in test if key in _TESTS for c in _condition(reading, prop, key, test[key], (*path, key))]


def _type_of(test: object) -> PropertyType:
    if isinstance(test, Mapping):
        return "number" if any(key in _ORDERED or key == "between" for key in test) else _type_of(_first(test))
    if isinstance(test, list | tuple):
        return _type_of(test[0]) if test else "text"
    if isinstance(test, bool):
        return "boolean"
    return "number" if isinstance(test, int | float | Decimal) else "text"


def _first(test: Mapping[str, Any]) -> Any:
    return next((value for key, value in test.items() if key in ("ne", "in")), "")


def _condition(reading: Reading, prop: Property, test: Any, value: object, path: Path) -> list[Condition]:
    if test == "missing":
        return _missing(reading, prop, value, path)
    if not _fits(reading, prop, test, path):
        return []
    if test in ("in", "between"):
        return _several(reading, prop, test, value, path)
    found = _value(reading, prop, value, path)
    return [] if found is None else [Condition(prop, test, found)]


def _missing(reading: Reading, prop: Property, value: object, path: Path) -> list[Condition]:
    if isinstance(value, bool):
        return [Condition(prop, "missing", value)]
    reading.wrong(path, f"missing is true or false, not {value!r}")
    return []


def _fits(reading: Reading, prop: Property, test: str, path: Path) -> bool:
    if test in (*_ORDERED, "between") and prop.type != "number":
        reading.wrong(path, f"{test} compares numbers, but {prop.name} is a {prop.type}")
        return False
    if test == "like" and prop.type != "text":
        reading.wrong(path, f"like compares texts, but {prop.name} is a {prop.type}")
        return False
    return True


def _several(reading: Reading, prop: Property, test: Any, value: object, path: Path) -> list[Condition]:
    values = [_value(reading, prop, item, place) for place, item in reading.items(value, path, test)]
    if not values or None in values:
        if isinstance(value, list | tuple) and not value:
            reading.wrong(path, f"{test} needs at least one value")
        return []
    if test == "between" and len(values) != 2:
        reading.wrong(path, f"between is [lowest, highest], not {value!r}")
        return []
    return [Condition(prop, test, tuple(values))]


def _value(reading: Reading, prop: Property, value: object, path: Path) -> Any:
    if prop.type == "number":
        return _number(reading, prop, value, path)
    wanted = bool if prop.type == "boolean" else str
    if not isinstance(value, wanted) or value == "":
        reading.wrong(path, f"{prop.name} is a {prop.type}, so it cannot be compared with {value!r}")
        return None
    return str(value) if wanted is str else value


def _number(reading: Reading, prop: Property, value: object, path: Path) -> int | None:
    number = None if isinstance(value, str) else numbers.literal(value)
    if number is None:
        reading.wrong(path, f"{prop.name} is a number, so it cannot be compared with {value!r}")
        return None
    found = numbers.scaled(number, 6)
    if found is None:
        reading.wrong(path, f"{value!r} has more than the 6 decimals that events keep")
    return found
