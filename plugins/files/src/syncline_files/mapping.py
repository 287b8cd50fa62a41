"""From the columns of a row to canonical events: the admin's mapping, compiled once into small functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from syncline.errors import RecordError, did_you_mean
from syncline.model import EVENT_TYPES, Event, Identifier, event_id, from_microseconds
from syncline_files.config import POSITION, Columns, Moment, Piece, Value

__all__ = ["RowMapping"]

Row = Mapping[str, Any]
Get = Callable[[Row], Any]

_NO: Final = frozenset(("", "0", "0.0", "false", "no", "none", "null"))
_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "sì": True, "si": True, "vero": True} | dict.fromkeys(
    ("false", "no", "0", "falso"), False
)
_PLANS: Final = 500
_UNIT_MICROSECONDS: Final = {"epoch_s": 1_000_000, "epoch_ms": 1_000}


_Plan: TypeAlias = "list[tuple[_Shape, Piece | None]]"


class RowMapping:
    """Turns rows into events. Pure; what a row cannot say properly is a RecordError with column and value."""

    def __init__(self, columns: Columns, connection: str, decimal: str = ".") -> None:
        self._columns = columns
        self._connection = connection
        self._decimal = decimal
        self._whole = self._compile(columns)
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._key = [(name, _column((name,))) for name in columns.id]
        self.wants_position = any(name in POSITION for name in _columns_of(columns))

    def key(self, row: Row) -> str:
        """The row's own id, from the `id` columns. RecordError if one is empty."""
        parts = []
        for name, get in self._key:
            if (value := get(row)) is None:
                raise RecordError(f"column {name!r}, part of the id, is empty")
            parts.append(_text(value, name).replace("\\", "\\\\").replace("|", "\\|"))
        return "|".join(parts)

    def events(self, row: Row, key: str) -> list[Event]:
        """The events of a row."""
        try:
            return self._events(self._plan(row), row, key)
        except RecordError:
            return self._events(self._whole, row, key)  # says the same of all the columns that could have been there

    def _events(self, plan: _Plan, row: Row, key: str) -> list[Event]:
        events: list[Event] = []
        for shape, piece in plan:
            if piece is None:
                events += shape.events(row, (self._connection, key), 1)
            elif times := _times(piece, row):
                for number in range(times):
                    events += shape.events(row, (self._connection, key, piece.name, str(number)), times)
        return events

    def _plan(self, row: Row) -> _Plan:
        """What the mapping comes to for rows with these columns: a file has few kinds of rows, a dialect many words."""
        columns = tuple(row)
        if (plan := self._plans.get(columns)) is not None:
            return plan
        if len(self._plans) >= _PLANS:
            return self._whole
        self._plans[columns] = plan = self._compile(_pruned(self._columns, {*columns, *POSITION}))
        return plan

    def _compile(self, columns: Columns) -> _Plan:
        pieces: Sequence[Piece | None] = columns.explode or (None,)
        return [
            (_Shape(shape, self._connection, self._decimal), piece)
            for shape, piece in zip(columns.shapes(), pieces, strict=True)
        ]

    def missing(self, columns: Sequence[str]) -> str | None:
        """A column that every row needs and a file with these columns does not have."""
        known = {*columns, *POSITION}
        needed = [*self._alternatives(), *((name,) for name in self._columns.id)]
        for names in needed:
            if names and not any(name in known or name.split(".")[0] in known for name in names):
                return names[0]
        return None

    def _alternatives(self) -> Iterator[tuple[str, ...]]:
        for shape in self._columns.shapes():
            yield shape.type.column
            yield shape.at.column
            yield from ((name,) for name in shape.at.join)
            if not any(value.value for value in shape.identifiers.values()):
                yield tuple(name for value in shape.identifiers.values() for name in value.column)


def _pruned(columns: Columns, there: Collection[str]) -> Columns:
    """The mapping without the columns that are not there."""

    def value(spec: Value) -> Value | None:
        kept = _kept(spec.column, there)
        return spec.model_copy(update={"column": kept}) if kept or not spec.column else None

    def part(specs: Mapping[str, Value]) -> dict[str, Value]:
        return {name: kept for name, spec in specs.items() if (kept := value(spec)) is not None}

    pieces = [piece.model_copy(update={"properties": part(piece.properties)}) for piece in columns.explode]
    parts = {name: part(getattr(columns, name)) for name in ("identifiers", "properties", "profile")}
    return columns.model_copy(update={**parts, "explode": tuple(pieces)})


def _kept(names: Sequence[str], there: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in there or name.split(".")[0] in there)


class _Shape:
    """One kind of event of a row."""

    def __init__(self, columns: Columns, connection: str, decimal: str) -> None:
        self._decimal = decimal
        self._type = _event_type(columns)
        self._at = _moment(columns.at)
        self._identifiers = [
            (_namespace(name, connection), _value(value, "text", decimal))
            for name, value in columns.identifiers.items()
        ]
        self._none = ", ".join(sorted({name for v in columns.identifiers.values() for name in v.column}))
        self._profile = [(name, _value(value, "text", decimal)) for name, value in columns.profile.items()]
        self._properties = columns.properties
        self._compiled: dict[str, list[tuple[str, Get, bool]]] = {}

    def events(self, row: Row, id_parts: tuple[str, ...], shares: int) -> tuple[Event, ...]:
        """One event, or none if the row's type says so."""
        kind = self._type(row)
        if kind is None:
            return ()
        at = self._at(row)
        identifiers = tuple([Identifier(name, v) for name, get in self._identifiers if (v := get(row)) is not None])
        if not identifiers:
            raise RecordError(f"nothing says who it was: columns {self._none} are empty")
        properties = self._of(kind, row, shares)
        profile = {name: value for name, get in self._profile if (value := get(row)) is not None}
        return (Event(event_id("files", *id_parts), kind, at, identifiers, properties, profile),)

    def _of(self, kind: str, row: Row, shares: int) -> dict[str, Any]:
        properties = {}
        for name, get, share in self._compiled.get(kind) or self._compile(kind):
            if (value := get(row)) is not None:
                properties[name] = value / shares if share and shares > 1 else value
        return properties

    def _compile(self, kind: str) -> list[tuple[str, Get, bool]]:
        known = EVENT_TYPES[kind]
        self._compiled[kind] = [
            (name, _value(value, known.get(name), self._decimal), value.share)
            for name, value in self._properties.items()
            if name in known or kind == "custom"
        ]
        return self._compiled[kind]


def _columns_of(columns: Columns) -> Iterator[str]:
    """Every column the mapping names."""
    yield from columns.id
    for shape in columns.shapes():
        yield from (*shape.type.column, *shape.at.column, *shape.at.join)
        for part in (shape.identifiers, shape.properties, shape.profile):
            for value in part.values():
                yield from value.column


def _namespace(name: str, connection: str) -> str:
    """`email` and names with a colon are known everywhere; any other is this connection's own."""
    return name if name == "email" or ":" in name else f"{connection}:{name}"


def _times(piece: Piece, row: Row) -> int:
    if piece.when is not None and str(_column((piece.when,))(row) or "").lower() in _NO:
        return 0
    if piece.repeat is None:
        return 1
    count = _number(_column((piece.repeat,))(row) or 0, piece.repeat, ".")
    if count != int(count) or not 0 <= count <= 100_000:
        raise RecordError(f"column {piece.repeat!r}: {count} is no number of events")
    return int(count)


# Columns


@lru_cache(maxsize=4096)
def _column(names: tuple[str, ...]) -> Get:
    """The first filled one of these columns; None if there is none. Texts come without the space around them."""
    if len(names) != 1:
        return _first([_column((name,)) for name in names])
    name = names[0]
    path = name.split(".")

    def flat(row: Row) -> Any:
        value = row.get(name)
        return (value.strip() or None) if type(value) is str else value

    def nested(row: Row) -> Any:
        if name in row:
            return flat(row)
        value = row.get(path[0])
        for step in path[1:]:
            value = value.get(step) if type(value) is dict else None
        return (value.strip() or None) if type(value) is str else value

    return flat if len(path) == 1 else nested


def _first(getters: Sequence[Get]) -> Get:
    def get(row: Row) -> Any:
        for getter in getters:
            if (value := getter(row)) is not None:
                return value
        return None

    return get


# Values


def _value(spec: Value, kind: str | None, decimal: str) -> Get:
    """The value as the vocabulary wants it, or None."""
    kind = spec.kind or ("number" if spec.share else kind)
    if kind == "text" and spec.keeps_others and not spec.values and len(spec.column) == 1:
        return _plain_text(spec.column[0])
    cast_ = _cast(kind, " or ".join(spec.column), decimal)
    if not spec.column:
        constant = None if spec.value is None else cast_(spec.value)
        return lambda _row: constant
    read = _column(spec.column)
    if spec.values or not spec.keeps_others:
        read = _translated(read, spec)

    def get(row: Row) -> Any:
        value = read(row)
        return None if value is None else cast_(value)

    return get


def _plain_text(name: str) -> Get:
    """The most common case, in one step."""
    read = _column((name,))
    if "." in name:
        return lambda row: None if (value := read(row)) is None else _text(value, name)

    def get(row: Row) -> Any:
        value = row.get(name)
        if type(value) is str and "\0" not in value:
            return value.strip() or None
        return None if value is None else _text(value, name)

    return get


def _translated(read: Get, spec: Value) -> Get:
    table = spec.values

    def get(row: Row) -> Any:
        value = read(row)
        if value is None:
            return None
        return table.get(_word(value), value if spec.keeps_others else spec.otherwise)

    return get


def _word(value: Any) -> str:
    """A value as a key of a table."""
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _cast(kind: str | None, column: str, decimal: str) -> Callable[[Any], Any]:
    if kind == "text":
        return lambda value: _text(value, column)
    if kind == "number":
        return lambda value: _number(value, column, decimal)
    if kind == "boolean":
        return lambda value: _boolean(value, column)
    if kind == "mapping":
        return lambda value: _mapping(value, column)
    return lambda value: value


def _text(value: Any, column: str) -> str:
    if type(value) is str and "\0" not in value:
        return value
    if isinstance(value, dict | list):
        raise RecordError(f"column {column!r} holds {_shown(value)}, not a text")
    text = _word(value)
    if "\0" in text:
        raise RecordError(f"column {column!r} holds a null character")
    return text


def _number(value: Any, column: str, decimal: str) -> int | float:
    """A whole number stays whole. What is no number, or has no end, is refused."""
    number = _parsed(value, decimal) if isinstance(value, str) else value
    if type(number) is int:
        return number
    if isinstance(number, float) and math.isfinite(number):
        return number
    raise RecordError(f"column {column!r}: {_shown(value)} is not a number")


def _parsed(text: str, decimal: str) -> int | float | None:
    if decimal == ",":
        text = text.replace(".", "").replace(",", ".")
    try:
        return int(text) if text.lstrip("-+").isdecimal() else float(text)
    except ValueError:
        return None


def _boolean(value: Any, column: str) -> bool:
    if (known := _BOOLEANS.get(_word(value).lower())) is not None:
        return known
    raise RecordError(f"column {column!r}: {_shown(value)} is neither true nor false")


def _mapping(value: Any, column: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise RecordError(f"column {column!r}: {_shown(value)} is not an object of names and values")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _event_type(columns: Columns) -> Get:
    spec = columns.type
    if not spec.column:
        return lambda _row: spec.value
    reads = [(name, _column((name,))) for name in spec.column]

    def get(row: Row) -> Any:
        seen = []
        for name, read in reads:
            if (value := read(row)) is None:
                continue
            kind = spec.values.get(word := _word(value), word if spec.keeps_others else spec.otherwise)
            if kind is None or kind in EVENT_TYPES:
                return kind
            seen.append(f"{name} = {_shown(value)}")
        if not seen:
            raise RecordError(f"nothing says what happened: columns {', '.join(spec.column)} are empty")
        known = {*EVENT_TYPES, *spec.values}
        raise RecordError(f"{', '.join(seen)}: no event type; {did_you_mean(word, known)}")

    return get


# Times


def _moment(spec: Moment) -> Callable[[Row], datetime]:
    if spec.value is not None:
        fixed = spec.value.astimezone(UTC)
        return lambda _row: fixed
    names = spec.column or spec.join
    read = _joined(spec.join) if spec.join else _column(spec.column)
    parse = _parser(spec)

    def get(row: Row) -> datetime:
        value = read(row)
        if value is None:
            raise RecordError(f"nothing says when it happened: column {' or '.join(names)} is empty")
        try:
            return parse(value)
        except (ValueError, OverflowError, InvalidOperation, TypeError) as error:
            why = f" ({error})" if isinstance(error, _NoZoneError) else f"; expected {spec.format}"
            raise RecordError(f"column {' or '.join(names)}: {_shown(value)} is not a time{why}") from None

    return get


class _NoZoneError(ValueError):
    """A time that does not say its zone."""


def _joined(names: Sequence[str]) -> Get:
    getters = [_column((name,)) for name in names]

    def get(row: Row) -> Any:
        parts = [getter(row) for getter in getters]
        return None if None in parts else " ".join(map(str, parts))

    return get


def _parser(spec: Moment) -> Callable[[Any], datetime]:
    zone = ZoneInfo(spec.timezone) if spec.timezone else None
    if spec.format in _UNIT_MICROSECONDS:
        unit = _UNIT_MICROSECONDS[spec.format]
        return lambda value: _from_epoch(value, unit)
    if spec.format == "iso8601":
        return lambda value: _in_utc(datetime.fromisoformat(value), zone)

    @lru_cache(maxsize=65_536)  # strptime is slow, and days repeat
    def parse(text: str) -> datetime:
        return _in_utc(datetime.strptime(text, spec.format), zone)  # noqa: DTZ007  # _in_utc adds the zone

    return lambda value: parse(str(value))


def _from_epoch(value: Any, unit: int) -> datetime:
    if isinstance(value, bool):
        raise TypeError
    if type(value) is int or (isinstance(value, str) and value.isdecimal()):
        return from_microseconds(int(value) * unit)
    return from_microseconds(int((Decimal(str(value)) * unit).to_integral_value()))


def _in_utc(moment: datetime, zone: ZoneInfo | None) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        if zone is None:
            raise _NoZoneError("without a time zone; set `at.timezone`, such as Europe/Rome")
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)
