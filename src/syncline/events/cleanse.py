"""Is this a canonical event? Every rule has a name, by which it is counted."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, NoReturn

from syncline.errors import RecordError, did_you_mean
from syncline.model import EVENT_TYPES, Event, Identifier

__all__ = ["EARLIEST", "LARGEST_NUMBER", "clean_text", "cleanse"]

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Before this nobody clicked anything: the vendor sent an empty or broken date."""
LARGEST_NUMBER: Final = 10**12
"""With six decimals this is the largest number that a 64-bit float, and so JSON, still holds to the last digit."""

_TOLERANCE: Final = timedelta(days=1)  # vendors' clocks and time zones are wrong by hours, not by days
_PLACES: Final = Decimal("0.000001")


def cleanse(
    event: Event, identifiers: tuple[Identifier, ...], *, source: str, received_at: datetime, counts: Counter[str]
) -> Event:
    """The event as it may be stored, or RecordError saying what is wrong with it.

    Empty properties are left out (missing stays missing, never zero), numbers have at most six decimals. `identifiers`
    are those of the event that identify, `source` is `connection/stream`.
    """
    _check_time(event, received_at, counts)
    return Event(
        event.id,
        event.type,
        event.occurred_at,
        identifiers,
        _clean_properties(event, counts),
        _clean_profile(event, counts) if event.profile else {},
        source,
    )


def clean_text(text: str) -> str:
    """`text` without NUL and without broken halves of characters, which no database takes."""
    if text.isascii():
        return text.replace("\0", "")
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _check_time(event: Event, received_at: datetime, counts: Counter[str]) -> None:
    if event.occurred_at < EARLIEST:
        _refuse(counts, "too_early", f"occurred_at {event.occurred_at.isoformat()} is before 1990: no date was sent?")
    if event.occurred_at > received_at + _TOLERANCE:
        _refuse(
            counts,
            "in_the_future",
            f"occurred_at {event.occurred_at.isoformat()} is more than a day after {received_at.isoformat()}, when it "
            "was received: is the date in seconds, in UTC?",
        )


def _clean_properties(event: Event, counts: Counter[str]) -> dict[str, Any]:
    known = EVENT_TYPES.get(event.type)
    if known is None:
        _refuse(counts, "unknown_type", f"unknown event type {event.type!r}: {did_you_mean(event.type, EVENT_TYPES)}")
    clean: dict[str, Any] = {}
    for name, value in event.properties.items():
        if value is None or value == "":
            counts["empty_property"] += 1
            continue
        kind = known.get(name) or _further(event.type, name, known, value, counts)
        clean[name] = _KINDS[kind](event.type, name, value, counts)
    if event.type == "custom" and "name" not in clean:
        _refuse(counts, "missing_property", "a custom event needs the property 'name'")
    return clean


def _further(type_: str, name: str, known: Mapping[str, str], value: object, counts: Counter[str]) -> str:
    """The kind of a property that the vocabulary does not know: only `custom` may have one."""
    if type_ != "custom" or not isinstance(name, str):
        _refuse(counts, "unknown_property", f"{type_} has no property {name!r}: {did_you_mean(str(name), known)}")
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Decimal):
        return "number"
    return "text" if isinstance(value, str) else "structure"


def _text(type_: str, name: str, value: object, counts: Counter[str]) -> str:
    if not isinstance(value, str):
        _wrong_kind(type_, name, value, "text", counts)
    return clean_text(value)


def _boolean(type_: str, name: str, value: object, counts: Counter[str]) -> bool:
    if not isinstance(value, bool):
        _wrong_kind(type_, name, value, "true or false", counts)
    return value


def _number(type_: str, name: str, value: object, counts: Counter[str]) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        _wrong_kind(type_, name, value, "a number", counts)
    finite = isinstance(value, int) or math.isfinite(value)
    if not finite or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        _wrong_kind(type_, name, value, "a finite number up to 10^12", counts)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and round(value, 6) == value:
        return int(value) if value.is_integer() else value
    return _rounded(Decimal(repr(value)) if isinstance(value, float) else value, counts)


def _rounded(exact: Decimal, counts: Counter[str]) -> int | float:
    rounded = exact.quantize(_PLACES, ROUND_HALF_EVEN)
    if rounded != exact:
        counts["number_rounded"] += 1
    return int(rounded) if rounded == int(rounded) else float(rounded)


def _mapping(type_: str, name: str, value: object, counts: Counter[str]) -> Any:
    if not isinstance(value, Mapping):
        _wrong_kind(type_, name, value, "a mapping", counts)
    return _structure(type_, name, value, counts)


def _structure(type_: str, name: str, value: object, counts: Counter[str]) -> Any:
    """Nested JSON, checked all the way down."""
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _structure(type_, f"{name}.{key}", v, counts) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_structure(type_, name, v, counts) for v in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return _number(type_, name, value, counts)
    return _text(type_, name, value, counts)


_KINDS: Final[Mapping[str, Callable[[str, str, object, Counter[str]], Any]]] = {
    "text": _text,
    "number": _number,
    "boolean": _boolean,
    "mapping": _mapping,
    "structure": _structure,
}


def _clean_profile(event: Event, counts: Counter[str]) -> dict[str, str]:
    """The attributes that say something."""
    clean = {}
    for name, value in event.profile.items():
        if value is None:
            continue
        text = _text(event.type, f"profile.{name}", value, counts).strip()
        if text:
            clean[clean_text(name)] = text
    return clean


def _wrong_kind(type_: str, name: str, value: object, valid: str, counts: Counter[str]) -> NoReturn:
    _refuse(counts, "wrong_kind", f"{type_}.{name} is {_shown(value)} ({type(value).__name__}), it must be {valid}")


def _shown(value: object) -> str:
    """Short, whatever a vendor sends."""
    return "too large to print" if isinstance(value, int) and abs(value) > 10**40 else reprlib.repr(value)


def _refuse(counts: Counter[str], rule: str, reason: str) -> NoReturn:
    counts[rule] += 1
    raise RecordError(reason)
