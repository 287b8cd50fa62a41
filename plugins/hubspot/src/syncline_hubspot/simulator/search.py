"""The search of the simulated account (vendor sheet §10): its limits, its operators, and its late index."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from syncline_hubspot.simulator.portal import Portal, RefusedWrite
from syncline_hubspot.simulator.schema import PropertyDef
from syncline_hubspot.values import milliseconds, moment_of

__all__ = ["Search"]

Row = Mapping[str, Any]
Test = Callable[[Row], bool]

_BODY: Final = 3_000
_GROUPS: Final = 5
_FILTERS: Final = 6
_ALL_FILTERS: Final = 18
_MOST: Final = 200
_CAP: Final = 10_000
_PLAIN: Final = ("EQ", "NEQ", "LT", "LTE", "GT", "GTE")


class Search:
    """Finds records. With `lag` 0 it sees everything at once; else each record as it was that long ago."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._lag = timedelta(0)
        self._index: dict[str, dict[str, Row]] = {}
        self._waiting: deque[tuple[datetime, str, str]] = deque()

    @property
    def lag(self) -> timedelta:
        return self._lag

    @lag.setter
    def lag(self, lag: timedelta) -> None:
        """From now on changes appear only after this time; what is there now is known."""
        self._lag = lag
        self._waiting.clear()
        self._index = {
            object: {row["id"]: deepcopy(row) for row in self._alive(object)} for object in self._portal.tables
        }

    def note(self, object: str, id: str) -> None:
        """A record was changed, made or taken away."""
        if self._lag:
            self._waiting.append((self._portal.clock() + self._lag, object, id))

    def _rows(self, object: str) -> Iterator[Row]:
        if not self._lag:
            return self._alive(object)
        while self._waiting and self._waiting[0][0] <= self._portal.clock():
            _, changed, id = self._waiting.popleft()
            row = self._portal.tables[changed].get(id)
            self._index[changed].pop(id, None)
            if row is not None and not row["archived"]:
                self._index[changed][id] = deepcopy(row)
        return iter(self._index[object].values())

    def _alive(self, object: str) -> Iterator[Row]:
        return (row for row in self._portal.tables[object].values() if not row["archived"])

    def answer(self, object: str, raw: bytes) -> tuple[int, list[Row], str | None]:
        """(total, the page's records, position of the next page)."""
        if len(raw) > _BODY:
            raise _bad(f"The request body is longer than {_BODY} characters")
        try:
            body = json.loads(raw)
        except ValueError as error:
            raise _bad("Invalid input JSON") from error
        known = self._portal.definitions(object)
        test = _test(body, known)
        found = [row for row in self._rows(object) if test(row)]
        _sort(found, body.get("sorts") or [], known)
        start, limit = _window(body)
        end = start + limit
        after = str(end) if end < len(found) else None
        return len(found), found[start:end], after


def _bad(message: str) -> RefusedWrite:
    return RefusedWrite("VALIDATION_ERROR", message)


def _window(body: Mapping[str, Any]) -> tuple[int, int]:
    limit, after = body.get("limit", 10), body.get("after") or "0"
    if not isinstance(limit, int | str) or not str(limit).isdigit() or not 0 < int(limit) <= _MOST:
        raise _bad(f"limit must be between 1 and {_MOST}")
    if not isinstance(after, int | str) or not str(after).isdigit():
        raise _bad(f"after: {after} is not an integer")
    if int(after) + int(limit) > _CAP:
        raise _bad(f"Cannot page beyond {_CAP} results")
    return int(after), int(limit)


def _test(body: Mapping[str, Any], known: Mapping[str, PropertyDef]) -> Test:
    groups = body.get("filterGroups") or []
    counts = [len(g.get("filters") or []) for g in groups]
    if len(groups) > _GROUPS or any(c > _FILTERS for c in counts) or sum(counts) > _ALL_FILTERS:
        raise _bad(f"At most {_GROUPS} filterGroups of {_FILTERS} filters, {_ALL_FILTERS} in total")
    if not groups:
        return lambda _: True
    tests = [[_filter(f, known) for f in g.get("filters") or []] for g in groups]
    return lambda row: any(all(t(row) for t in group) for group in tests)


def _filter(body: Mapping[str, Any], known: Mapping[str, PropertyDef]) -> Test:
    name, operator = str(body.get("propertyName")), body.get("operator")
    if name not in known:
        raise _bad(f"There was a problem with the request: property {name} does not exist")
    read = _reader(known[name])
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        wanted = operator == "HAS_PROPERTY"
        return lambda row: (_held(row, name) != "") is wanted
    if operator in ("IN", "NOT_IN"):
        return _membership(name, body.get("values"), known[name], wanted=operator == "IN")
    if operator == "BETWEEN":
        low, high = read(_given(body, "value")), read(_given(body, "highValue"))
        return _present(name, read, lambda v: low <= v <= high)
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        token, inside = _given(body, "value").strip("*").lower(), operator == "CONTAINS_TOKEN"
        return lambda row: (token in _held(row, name).lower()) is inside
    if operator not in _PLAIN:
        raise _bad(f"{operator} is not a known operator")
    wanted_value = read(_given(body, "value"))
    return _present(name, read, _comparison(str(operator), wanted_value), absent=operator == "NEQ")


def _given(body: Mapping[str, Any], name: str) -> str:
    if not isinstance(body.get(name), str):
        raise _bad(f"{body.get('operator')} needs {name}")
    return str(body[name])


def _comparison(operator: str, wanted: Any) -> Callable[[Any], bool]:
    return {
        "EQ": lambda v: v == wanted,
        "NEQ": lambda v: v != wanted,
        "LT": lambda v: v < wanted,
        "LTE": lambda v: v <= wanted,
        "GT": lambda v: v > wanted,
        "GTE": lambda v: v >= wanted,
    }[operator]


def _present(name: str, read: Callable[[str], Any], test: Callable[[Any], bool], *, absent: bool = False) -> Test:
    return lambda row: test(read(_held(row, name))) if _held(row, name) != "" else absent


def _membership(name: str, values: Any, known: PropertyDef, *, wanted: bool) -> Test:
    if not isinstance(values, list) or not values:
        raise _bad("IN needs values")
    if known.type == "string" and any(v != str(v).lower() for v in values):
        raise _bad("values of IN must be lower case")
    chosen = set(map(str, values))
    return lambda row: (_held(row, name).lower() in chosen) is wanted


def _held(row: Row, name: str) -> str:
    return str(row["properties"].get(name) or "")


def _reader(known: PropertyDef) -> Callable[[str], Any]:
    """How the values of a property compare."""
    if known.type == "number":
        return _as_number
    if known.type in ("date", "datetime"):
        return _as_milliseconds
    return str.lower


def _as_number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise _bad(f"{text} is not a number") from error


def _as_milliseconds(text: str) -> int:
    try:
        return milliseconds(moment_of(text))
    except ValueError as error:
        raise _bad(f"{text} is not a date") from error


def _sort(found: list[Row], sorts: Sequence[Any], known: Mapping[str, PropertyDef]) -> None:
    """One sort at most; without one, and among equals, the order is nobody's promise: here, the latest id first."""
    if len(sorts) > 1:
        raise _bad("Only one sort is allowed")
    found.sort(key=lambda row: -int(row["id"]))
    if not sorts:
        return
    name = str(sorts[0].get("propertyName")) if isinstance(sorts[0], dict) else str(sorts[0])
    if name not in known:
        raise _bad(f"property {name} does not exist")
    read = _reader(known[name])
    descending = isinstance(sorts[0], dict) and sorts[0].get("direction") == "DESCENDING"
    held = [row for row in found if _held(row, name)]
    held.sort(key=lambda row: read(_held(row, name)), reverse=descending)
    empty = [row for row in found if not _held(row, name)]
    found[:] = held + empty if descending else empty + held
