"""The part of SOQL that the connector and the vendor's client libraries need, as strict as the original.

SELECT fields | COUNT() FROM object [WHERE …] [ORDER BY …] [LIMIT n] [OFFSET n]. As there, AND and OR may only be mixed
with parentheses, strings compare in any letter case, and a literal must have the field's type (SOQL and SOSL guide).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from syncline_salesforce.simulator.schema import FieldDef, long_id

__all__ = ["Query", "SoqlError", "parse", "printed_datetime", "select"]

Row = Mapping[str, Any]
Test = Callable[[Row], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:\\.|[^'\\])*')"
    r"|(?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))"
    r"|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_][\w.]*)"
    r"|(?P<sign>!=|<>|<=|>=|[=<>(),]))"
)
_NUMBERS = ("int", "double", "currency", "percent")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class SoqlError(Exception):
    """A query the vendor refuses: its error code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Order:
    field: str
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. `fields` are canonical names; `count` stands for COUNT(). `parents` are the relationships that
    dotted fields go through, and the object each leads to."""

    object: str
    fields: tuple[str, ...]
    count: bool
    test: Test | None
    order: tuple[Order, ...]
    limit: int | None
    offset: int
    parents: Mapping[str, str] = field(default_factory=dict)


def printed_datetime(moment: datetime) -> str:
    """As the API prints it: milliseconds, and an offset without a colon."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


def parse(text: str, schema: Callable[[str], Mapping[str, FieldDef] | None]) -> Query:
    """The query, checked against the object's visible fields. SoqlError as the vendor would refuse it."""
    return _Parser(text, schema).query()


def select(query: Query, rows: Iterable[Row]) -> list[Row]:
    """The rows a query finds, in its order."""
    found = [r for r in rows if query.test is None or query.test(r)]
    for order in reversed(query.order):
        found.sort(key=_sort_key(order), reverse=order.descending)
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end]


def _sort_key(order: Order) -> Callable[[Row], tuple[int, Any]]:
    empty = 1 if order.nulls_last != order.descending else -1

    def key(row: Row) -> tuple[int, Any]:
        value = row.get(order.field)
        return (empty, 0) if value is None else (0, value)

    return key


class _Parser:
    def __init__(self, text: str, schema: Callable[[str], Mapping[str, FieldDef] | None]) -> None:
        self.text = text
        self.schema = schema
        self.tokens = self._tokens()
        self.at = 0
        self.fields: Mapping[str, FieldDef] = {}
        self.object = ""
        self.parents: dict[str, str] = {}

    def _tokens(self) -> list[tuple[str, str, int]]:
        found, position = [], 0
        while position < len(self.text.rstrip()):
            match = _TOKEN.match(self.text, position)
            if match is None or match.lastgroup is None:
                raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{self.text[position:].strip()[:1]}'")
            found.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        return found

    # Reading tokens

    def _peek(self) -> str:
        return self.tokens[self.at][1].upper() if self.at < len(self.tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise SoqlError("MALFORMED_QUERY", "unexpected end of query")
        kind, value, _ = self.tokens[self.at]
        self.at += 1
        return kind, value

    def _accept(self, *words: str) -> bool:
        ahead = [t[1].upper() for t in self.tokens[self.at : self.at + len(words)]]
        if ahead != list(words):
            return False
        self.at += len(words)
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            self._unexpected()

    def _unexpected(self) -> NoReturn:
        token = self.tokens[self.at][1] if self.at < len(self.tokens) else "<EOF>"
        raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{token}'")

    # Grammar

    def query(self) -> Query:
        self._expect("SELECT")
        start = self.at
        while self._peek() != "FROM":
            self._next()
        self._expect("FROM")
        self._from()
        rest, self.at = self.at, start
        count = self._accept("COUNT", "(", ")")
        names = () if count else self._select_list()
        self._expect("FROM")
        self.at = rest
        test = self._condition() if self._accept("WHERE") else None
        order = self._order() if self._accept("ORDER", "BY") else ()
        limit = self._whole() if self._accept("LIMIT") else None
        offset = self._whole() if self._accept("OFFSET") else 0
        if self.at < len(self.tokens):
            self._unexpected()
        return Query(self.object, names, count, test, order, limit, offset, self.parents)

    def _from(self) -> None:
        position = self.tokens[self.at][2] if self.at < len(self.tokens) else 0
        _, name = self._next()
        fields = self.schema(name)
        if fields is None:
            raise SoqlError(
                "INVALID_TYPE",
                f"{self._caret(position)}sObject type '{name}' is not supported. If you are attempting to use a custom"
                " object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe"
                " call for the appropriate names.",
            )
        self.object, self.fields = name, fields

    def _caret(self, position: int) -> str:
        return f"\n{self.text}\n{' ' * position}^\nERROR at Row:1:Column:{position + 1}\n"

    def _field(self) -> FieldDef:
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "word":
            self._unexpected()
        position = self.tokens[self.at][2]
        _, name = self._next()
        known = self.fields.get(name) or next((f for f in self.fields.values() if f.name.lower() == name.lower()), None)
        if known is None:
            raise SoqlError(
                "INVALID_FIELD",
                f"{self._caret(position)}No such column '{name}' on entity '{self.object}'. If you are attempting to"
                " use a custom field, be sure to append the '__c' after the custom field name. Please reference your"
                " WSDL or the describe call for the appropriate names.",
            )
        return known

    def _select_list(self) -> tuple[str, ...]:
        names = [self._selected()]
        while self._accept(","):
            names.append(self._selected())
        if len(set(names)) < len(names):
            again = next(n for n in names if names.count(n) > 1)
            raise SoqlError("INVALID_FIELD", f"duplicate field selected: {again}")
        return tuple(names)

    def _selected(self) -> str:
        """A field, or one of a parent through its relationship, as `LastModifiedBy.Name` (SOQL guide, child-to-parent
        relationships). Of references to several objects none is followed here."""
        name = self.tokens[self.at][1] if self.at < len(self.tokens) else ""
        relation, _, field_name = name.partition(".")
        reference = self.fields.get(f"{relation}Id")
        if not field_name or reference is None or len(reference.refers) != 1:
            return self._field().name
        above = self.schema(reference.refers[0]) or {}
        if field_name not in above:
            message = f"No such column '{field_name}' on entity '{reference.refers[0]}'."
            raise SoqlError("INVALID_FIELD", message)
        self.at += 1
        self.parents[relation] = reference.refers[0]
        return name

    def _order(self) -> tuple[Order, ...]:
        orders = [self._one_order()]
        while self._accept(","):
            orders.append(self._one_order())
        return tuple(orders)

    def _one_order(self) -> Order:
        name = self._field().name
        descending = self._accept("DESC")
        if not descending:
            self._accept("ASC")
        last = self._accept("NULLS", "LAST")
        if not last:
            self._accept("NULLS", "FIRST")
        return Order(name, descending, last)

    def _whole(self) -> int:
        kind, value = self._next()
        if kind != "number" or not value.isdigit():
            self.at -= 1
            self._unexpected()
        return int(value)

    def _condition(self) -> Test:
        tests = [self._factor()]
        word = self._peek()
        if word not in ("AND", "OR"):
            return tests[0]
        while self._accept(word):
            tests.append(self._factor())
        if self._peek() in ("AND", "OR"):
            self._unexpected()
        return _all(tests) if word == "AND" else _any(tests)

    def _factor(self) -> Test:
        if self._accept("NOT"):
            inner = self._factor()
            return lambda row: not inner(row)
        if self._accept("("):
            inner = self._condition()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        known = self._field()
        if not known.filterable:
            raise SoqlError("INVALID_FIELD", f"field '{known.name}' can not be filtered in a query call")
        if self._accept("NOT", "IN"):
            return _membership(known, self._literals(known), wanted=False)
        if self._accept("IN"):
            return _membership(known, self._literals(known), wanted=True)
        if self._accept("LIKE"):
            return _like(known.name, self._literal(known))
        _, sign = self._next()
        if sign not in ("=", "!=", "<>", "<", "<=", ">", ">="):
            self.at -= 1
            self._unexpected()
        return _compare(known, sign, self._literal(known))

    def _literals(self, known: FieldDef) -> list[Any]:
        self._expect("(")
        values = [self._literal(known)]
        while self._accept(","):
            values.append(self._literal(known))
        self._expect(")")
        return values

    def _literal(self, known: FieldDef) -> Any:
        kind, token = self._next()
        if token.upper() == "NULL":
            return None
        wanted = _literal_kind(known)
        if kind == "word" and token.upper() in ("TRUE", "FALSE"):
            kind = "boolean"
        if kind != wanted:
            quotes = "should be enclosed in quotes" if wanted == "string" else "should not be enclosed in quotes"
            raise SoqlError(
                "INVALID_FIELD",
                f"value of filter criterion for field '{known.name}' must be of type {known.type} and {quotes}",
            )
        return _literal_value(known, kind, token)


def _literal_kind(known: FieldDef) -> str:
    if known.type in _NUMBERS:
        return "number"
    return known.type if known.type in ("boolean", "date", "datetime") else "string"


def _literal_value(known: FieldDef, kind: str, token: str) -> Any:
    if kind == "number":
        return float(token)
    if kind == "boolean":
        return token.upper() == "TRUE"
    if kind == "datetime":
        return printed_datetime(datetime.fromisoformat(token))
    if kind == "date":
        return token
    text = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), token[1:-1])
    return long_id(text) if known.type in ("id", "reference") else text.casefold()


def _fold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _folded(known: FieldDef) -> Callable[[Any], Any]:
    """How this field's stored values compare: ids as they are, text in any letter case."""
    return (lambda v: v) if known.type in ("id", "reference", "date", "datetime") else _fold


def _all(tests: Sequence[Test]) -> Test:
    return lambda row: all(t(row) for t in tests)


def _any(tests: Sequence[Test]) -> Test:
    return lambda row: any(t(row) for t in tests)


def _membership(known: FieldDef, values: Sequence[Any], *, wanted: bool) -> Test:
    name, fold = known.name, _folded(known)
    if known.type in ("id", "reference"):
        short = {str(v)[:15] for v in values if v is not None}
        return lambda row: ((row.get(name) or "")[:15] in short) is wanted
    folded = set(values)
    return lambda row: (fold(row.get(name)) in folded) is wanted


def _like(name: str, pattern: Any) -> Test:
    parts = re.split(r"([%_])", str(pattern or ""))
    expression = re.compile("".join({"%": ".*", "_": "."}.get(p, re.escape(p)) for p in parts), re.DOTALL)
    return lambda row: row.get(name) is not None and expression.fullmatch(_fold(row[name])) is not None


def _compare(known: FieldDef, sign: str, wanted: Any) -> Test:
    name = known.name
    if sign == "=":
        return lambda row: _same(row.get(name), wanted)
    if sign in ("!=", "<>"):
        return lambda row: not _same(row.get(name), wanted)
    if wanted is None:
        raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{sign}'")
    return _ordering(name, sign, wanted, _folded(known))


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value == wanted or value.casefold() == wanted
    return bool(value == wanted)


def _ordering(name: str, sign: str, wanted: Any, fold: Callable[[Any], Any]) -> Test:
    def test(row: Row) -> bool:
        value = fold(row.get(name))
        if value is None:
            return False
        if sign == "<":
            return bool(value < wanted)
        if sign == "<=":
            return bool(value <= wanted)
        return bool(value > wanted) if sign == ">" else bool(value >= wanted)

    return test
