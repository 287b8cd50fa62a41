"""Reading segments from plain mappings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlglot import exp

from syncline.errors import did_you_mean
from syncline.model import EVENT_TYPES
from syncline.scoring import numbers
from syncline.scoring.expressions import RULES, ExpressionError, Kind, Node, signal
from syncline.scoring.model import Model
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
    Segment,
    Subject,
    Test,
    references,
)
from syncline.scoring.reading import Path, Reading
from syncline.scoring.signals import (
    SIGNAL_KEYS,
    Bursts,
    Count,
    kind_of,
    read_signal,
)
from syncline.scoring.where import Selection, read_types, read_where

__all__ = ["parse_segments"]

_OWN_KEYS: Final = ("extends", "rearm_after", "description")
_GROUPS: Final = ("all", "any", "not")
_REFERENCES: Final = ("score", "band", "segment", "attribute")
_COMPARISONS: Final[Mapping[str, type[exp.Expr]]] = {
    "at_least": exp.GTE,
    "at_most": exp.LTE,
    "more_than": exp.GT,
    "less_than": exp.LT,
    "is": exp.EQ,
    "is_not": exp.NEQ,
}
_HEADS: Final = (*_GROUPS, *_REFERENCES, *SIGNAL_KEYS, *EVENT_TYPES)


def parse_segments(data: Mapping[str, Any], models: Mapping[str, Model]) -> Mapping[str, Segment]:
    """The segments that a plain mapping says, parents before children; one ConfigError with every mistake otherwise.

    `models` are the scores by the names that predicates call them.
    """
    reading = Reading()
    parser = _Parser(reading, models, tuple(data or ()))
    found = parser.segments(reading.mapping(data, (), "segments"))
    reading.finish("segments")
    return found


class _Parser:
    def __init__(self, reading: Reading, models: Mapping[str, Model], known: tuple[str, ...]) -> None:
        self.reading = reading
        self.models = models
        self.known = known

    def segments(self, data: Mapping[str, Any]) -> dict[str, Segment]:
        parsed = {name: self._segment(name, value) for name, value in data.items()}
        found = {name: segment for name, segment in parsed.items() if segment is not None}
        if len(found) < len(parsed):
            return found
        return {name: found[name] for name in self._in_order(found)}

    def _segment(self, name: str, value: object) -> Segment | None:
        path: Path = (name,)
        data = self.reading.mapping(value, path, "a segment")
        own = {key: item for key, item in data.items() if key not in _OWN_KEYS}
        parent = self._parent(data, path)
        rearm = self.reading.duration(data, "rearm_after", path, zero=True) or 0
        description = self.reading.text(data, "description", path)
        if not isinstance(value, Mapping):
            return None
        if not own:
            self.reading.wrong(path, f"segment {name} asks for nothing of its own: give it all, any or not")
            return None
        predicate = self._predicate(own, path)
        if predicate is None:
            return None
        if parent is not None:
            predicate = All((_in_segment(parent), predicate))
        return Segment(name, predicate, parent, timedelta(microseconds=rearm), description)

    def _parent(self, data: Mapping[str, Any], path: Path) -> str | None:
        if "extends" not in data:
            return None
        return self.reading.name(data["extends"], (*path, "extends"), self.known, "segment")

    def _in_order(self, segments: Mapping[str, Segment]) -> list[str]:
        """Names so that whatever a segment asks about stands before it; cycles are noted."""
        asks = references({name: segment.predicate for name, segment in segments.items()})
        done: list[str] = []

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if name in trail:
                circle = " -> ".join((*trail[trail.index(name) :], name))
                self.reading.wrong((name,), f"segments ask about each other in a circle: {circle}")
            elif name not in done:
                for other in asks[name]:
                    visit(other, (*trail, name))
                done.append(name)

        for name in segments:
            visit(name, ())
        return list(dict.fromkeys(done))

    # Predicates

    def _predicate(self, value: object, path: Path) -> Predicate | None:
        if isinstance(value, str):
            return self._event(value, {}, {}, path)
        data = self.reading.mapping(value, path, "a predicate")
        if not data:
            if isinstance(value, Mapping):
                self.reading.wrong(path, f"an empty predicate: give one of {', '.join(_HEADS)}")
            return None
        if any(key in _GROUPS and (key != "any" or isinstance(data[key], list | tuple)) for key in data):
            return self._group(data, path)
        return self._test(data, path)

    def _group(self, data: Mapping[str, Any], path: Path) -> Predicate | None:
        self.reading.known_keys(data, path, _GROUPS)
        parts = [self._part(key, data[key], (*path, key)) for key in data if key in _GROUPS]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        return found[0] if len(found) == 1 else All(tuple(found))

    def _part(self, key: str, value: object, path: Path) -> Predicate | None:
        if key == "not":
            part = self._predicate(value, path)
            return None if part is None else Not(part)
        parts = [self._predicate(item, place) for place, item in self.reading.items(value, path, key)]
        if not parts and isinstance(value, list | tuple):
            self.reading.wrong(path, f"{key} is empty: give at least one predicate")
        found = tuple(part for part in parts if part is not None)
        if not found or len(found) < len(parts):
            return None
        return All(found) if key == "all" else AnyOf(found)

    def _test(self, data: Mapping[str, Any], path: Path) -> Predicate | None:
        heads = [key for key in data if key in _HEADS]
        # `of: page_visit` and the like are options; the first of these words that stands alone decides
        signals = [key for key in heads if key in SIGNAL_KEYS or key == "attribute"]
        references = [key for key in heads if key in _REFERENCES and key != "attribute"]
        if references:
            return self._reference(references[0], data, path)
        if signals:
            return self._signal(data, path)
        types = [key for key in heads if key in EVENT_TYPES]
        if len(types) == 1:
            rest = {key: item for key, item in data.items() if key != types[0]}
            return self._event(types[0], data[types[0]], rest, path)
        first = next(iter(data))
        self.reading.wrong((*path, first), f"unknown predicate {first!r}: {did_you_mean(first, _HEADS)}")
        return None

    def _event(self, type_: str, where: object, rest: Mapping[str, Any], path: Path) -> Predicate | None:
        before = len(self.reading.problems)
        types = read_types(self.reading, type_, path)
        selection = Selection(types, read_where(self.reading, where, types, (*path, type_)))
        self.reading.known_keys(rest, path, ("at_least", "within"))
        least = self.reading.whole(rest, "at_least", path) or 1
        within = self.reading.duration(rest, "within", path)
        if within is not None and least < 2:
            hint = f"{{count: {type_}, within: {rest['within']}}}"
            message = (
                f"within says how close together events lie, so it needs at_least: 2 or more; to look back: {hint}"
            )
            self.reading.wrong((*path, "within"), message)
        if len(self.reading.problems) > before:
            return None
        return _happened(selection, type_, where, least, within, rest)

    def _signal(self, data: Mapping[str, Any], path: Path) -> Predicate | None:
        comparisons = {key: item for key, item in data.items() if key in (*_COMPARISONS, "missing")}
        rest = {key: item for key, item in data.items() if key not in comparisons}
        if "attribute" in rest and "as" not in rest:
            rest["as"] = _type_of(comparisons)
        found = read_signal(self.reading, rest, path, "Europe/Rome")
        return None if found is None else self._compare(found, kind_of(found), comparisons, _text(data), path)

    def _reference(self, key: str, data: Mapping[str, Any], path: Path) -> Predicate | None:
        self.reading.known_keys(data, path, (key, *(_COMPARISONS if key == "score" else ())))
        if key == "segment":
            name = self.reading.name(data[key], (*path, key), self.known, "segment")
            return None if name is None else _in_segment(name)
        if key == "band":
            return self._band(data[key], (*path, key))
        name = self.reading.name(data[key], (*path, key), self.models, "score")
        comparisons = {key: item for key, item in data.items() if key in _COMPARISONS}
        return None if name is None else self._compare(ScoreOf(name), Kind.NUMBER, comparisons, _text(data), path)

    def _band(self, value: object, path: Path) -> Predicate | None:
        score, dot, band = str(value).rpartition(".")
        if not dot:
            example = next(
                (f"{name}.{b.name}" for name, model in self.models.items() for b in model.bands), "score.hot"
            )
            self.reading.wrong(path, f"band is a score and its band, such as {example}, not {value!r}")
            return None
        name = self.reading.name(score, path, self.models, "score")
        if name is None or self.reading.name(band, path, [b.name for b in self.models[name].bands], "band") is None:
            return None
        condition = _comparison(exp.EQ, Kind.TEXT, [Node(exp.Literal, Kind.TEXT, value=band)])
        return Test(f"band: {value}", BandOf(name), condition)

    def _compare(
        self, subject: Subject, kind: Kind, comparisons: Mapping[str, Any], text: str, path: Path
    ) -> Predicate | None:
        if not comparisons:
            return self._by_itself(subject, kind, text, path)
        tests: list[Predicate] = []
        for key, value in comparisons.items():
            condition = self._condition(kind, key, value, (*path, key))
            if condition is None:
                return None
            tests.append(Test(text, subject, condition))
        return tests[0] if len(tests) == 1 else All(tuple(tests))

    def _by_itself(self, subject: Subject, kind: Kind, text: str, path: Path) -> Predicate | None:
        if kind is Kind.BOOLEAN:
            return Test(text, subject, signal(SUBJECT, kind))
        if kind is Kind.INTEGER:
            return Test(text, subject, _comparison(exp.GTE, kind, [Node(exp.Literal, kind, value=1)]))
        self.reading.wrong(path, f"compared with what? Add one of {', '.join(_COMPARISONS)}")
        return None

    def _condition(self, kind: Kind, key: str, value: object, path: Path) -> Node | None:
        if key == "missing":
            missing = Node(exp.Is, Kind.BOOLEAN, (signal(SUBJECT, kind),))
            if isinstance(value, bool):
                return missing if value else Node(exp.Not, Kind.BOOLEAN, (missing,))
            self.reading.wrong(path, f"missing is true or false, not {value!r}")
            return None
        operation, values = _COMPARISONS[key], [value]
        if key == "is" and isinstance(value, list | tuple) and value:
            operation, values = exp.In, list(value)
        literals = [self._literal(item, path) for item in values]
        try:
            return _comparison(operation, kind, [item for item in literals if item]) if all(literals) else None
        except ExpressionError as error:
            self.reading.wrong(path, f"{key}: {error}")
            return None

    def _literal(self, value: object, path: Path) -> Node | None:
        if isinstance(value, bool):
            return Node(exp.Boolean, Kind.BOOLEAN, value=value)
        if isinstance(value, str):
            return Node(exp.Literal, Kind.TEXT, value=str(value))
        number = numbers.literal(value)
        scaled = None if number is None else numbers.scaled(number)
        if scaled is None:
            self.reading.wrong(path, f"{value!r} is neither a text, a number nor true or false")
            return None
        if scaled % ONE == 0:
            return Node(exp.Literal, Kind.INTEGER, value=scaled // ONE)
        return Node(exp.Literal, Kind.NUMBER, value=scaled)


def _happened(
    selection: Selection, type_: str, where: object, least: int, within: int | None, rest: Mapping[str, Any]
) -> Test:
    text = _text({type_: where, **rest}) if where or rest else type_
    if within is not None:
        one = _comparison(exp.GTE, Kind.INTEGER, [Node(exp.Literal, Kind.INTEGER, value=1)])
        return Test(text, Bursts(selection, least, within, "UTC"), one)
    enough = _comparison(exp.GTE, Kind.INTEGER, [Node(exp.Literal, Kind.INTEGER, value=least)])
    return Test(text, Count(selection), enough)


def _comparison(operation: type[exp.Expr], kind: Kind, values: list[Node]) -> Node:
    """`it` compared with the values, types checked by the rules of expressions."""
    result, args = RULES[operation].check([signal(SUBJECT, kind), *values])
    return Node(operation, result, tuple(args))


def _in_segment(name: str) -> Test:
    return Test(f"segment: {name}", InSegment(name), signal(SUBJECT, Kind.BOOLEAN))


def _type_of(comparisons: Mapping[str, Any]) -> str:
    values = [item[0] if isinstance(item, list | tuple) and item else item for item in comparisons.values()]
    if any(key in ("at_least", "at_most", "more_than", "less_than") for key in comparisons):
        return "number"
    if "missing" in comparisons or not values or isinstance(values[0], str):
        return "text"
    return "boolean" if isinstance(values[0], bool) else "number"


def _text(value: object) -> str:
    """A predicate as people write it in YAML's short form."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_inner(item)}" for key, item in value.items())
    return str(value)


def _inner(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{{_text(value)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_inner(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
