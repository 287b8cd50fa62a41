"""The part of COQL that the connector needs, as strict as documented (COQL limitations, Zoho CRM API v8).

select fields from module where criteria [order by …] [limit [offset,] count] [offset n]. More than two criteria are
bracketed in pairs; converted leads are found only where `Converted__s` is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from syncline_zoho.simulator.schema import FieldDef

__all__ = ["CoqlError", "Query", "parse", "select"]

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
Schema = Callable[[str], Mapping[str, FieldDef] | None]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:\\.|[^'\\])*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_$][\w.$]*)"
    r"|(?P<sign>!=|<=|>=|[=<>(),]))"
)
_COMPARATORS = ("=", "!=", ">", ">=", "<", "<=")
_ORDERED = ("date", "datetime", "integer", "bigint", "double", "currency", "percent")
_MOST_CRITERIA = 25
_MOST_FIELDS = 500
_MOST_VALUES = 100
_MOST_ROWS = 100_000
_ID = FieldDef("id", "bigint", length=19)


class CoqlError(Exception):
    """A query the vendor refuses."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; `converted` says that it asks about conversion itself."""

    module: str
    fields: tuple[str, ...]
    test: Test
    converted: bool
    order: tuple[tuple[str, bool], ...]
    offset: int
    limit: int


def parse(text: str, schema: Schema, most: int) -> Query:
    """CoqlError as the vendor would refuse it."""
    return _Parser(text, schema, most).query()


def select(query: Query, rows: Iterable[Row]) -> list[Row]:
    """All rows a query finds, in its order, before its limit."""
    hidden = query.module == "Leads" and not query.converted
    found = [r for r in rows if not (hidden and r.get("Converted__s")) and query.test(r)]
    for name, descending in reversed(query.order or (("id", False),)):
        found.sort(key=lambda r, n=name: _sortable(n, r.get(n)), reverse=descending)  # type: ignore[misc]  # n is bound
    return found


def _sortable(name: str, value: Any) -> tuple[bool, Any]:
    if value is None:
        return (False, 0)
    if name == "id":
        return (True, int(value))
    if isinstance(value, str) and name.endswith("_Time"):
        return (True, datetime.fromisoformat(value).timestamp())
    return (True, value)


class _Parser:
    def __init__(self, text: str, schema: Schema, most: int) -> None:
        self.text = text
        self.schema = schema
        self.most = most
        self.tokens = self._tokens()
        self.at = 0
        self.module = ""
        self.fields: Mapping[str, FieldDef] = {}
        self.criteria = 0
        self.converted = False

    def _tokens(self) -> list[tuple[str, str]]:
        found, position, text = list[tuple[str, str]](), 0, self.text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise CoqlError("SYNTAX_ERROR", "error occurred while parsing the query", near=text[position:][:20])
            found.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        return found

    def _peek(self) -> str:
        return self.tokens[self.at][1].lower() if self.at < len(self.tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            self._fail("<EOF>")
        self.at += 1
        return self.tokens[self.at - 1]

    def _accept(self, *words: str) -> bool:
        if [t[1].lower() for t in self.tokens[self.at : self.at + len(words)]] != list(words):
            return False
        self.at += len(words)
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            self._fail(self._peek() or "<EOF>")

    def _fail(self, near: str) -> NoReturn:
        raise CoqlError("SYNTAX_ERROR", "error occurred while parsing the query", near=near)

    def query(self) -> Query:
        self._expect("select")
        names = [self._name()]
        while self._accept(","):
            names.append(self._name())
        self._expect("from")
        self.module = self._name()
        fields = self.schema(self.module)
        if fields is None:
            raise CoqlError("INVALID_QUERY", "the module name given seems to be invalid", module=self.module)
        self.fields = fields
        if len(names) > _MOST_FIELDS:
            raise CoqlError("LIMIT_EXCEEDED", "field limit exceeded", limit=_MOST_FIELDS)
        for name in names:
            self._field(name)
        if not self._accept("where"):
            raise CoqlError("SYNTAX_ERROR", "missing clause", clause="where")
        test = self._condition()
        order = self._order() if self._accept("order", "by") else ()
        offset, limit = self._limit()
        if self.at < len(self.tokens):
            self._fail(self._peek())
        if self.criteria > _MOST_CRITERIA:
            raise CoqlError("LIMIT_EXCEEDED", "criteria limit exceeded", limit=_MOST_CRITERIA)
        return Query(self.module, tuple(names), test, self.converted, order, offset, limit)

    def _name(self) -> str:
        kind, value = self._next()
        if kind != "word":
            self._fail(value)
        return value

    def _field(self, name: str, clause: str | None = None) -> FieldDef:
        known = _ID if name == "id" else self.fields.get(name)
        if known is None:
            details = {"column_name": name} | ({"clause": clause} if clause else {})
            raise CoqlError("INVALID_QUERY", "column given seems to be invalid", **details)
        return known

    def _limit(self) -> tuple[int, int]:
        offset, limit = 0, 200
        if self._accept("limit"):
            limit = self._whole()
            if self._accept(","):
                offset, limit = limit, self._whole()
        if self._accept("offset"):
            offset = self._whole()
        if limit > self.most:
            raise CoqlError("LIMIT_EXCEEDED", "limit exceeded", limit=self.most)
        if offset + limit > _MOST_ROWS:
            raise CoqlError("LIMIT_EXCEEDED", "limit exceeded", limit=_MOST_ROWS)
        return offset, limit

    def _whole(self) -> int:
        kind, value = self._next()
        if kind != "number" or not value.isdigit():
            self._fail(value)
        return int(value)

    def _order(self) -> tuple[tuple[str, bool], ...]:
        found: list[tuple[str, bool]] = []
        while True:
            name = self._field(self._name(), "order by").name
            descending = self._accept("desc")
            if not descending:
                self._accept("asc")
            found.append((name, descending))
            if not self._accept(","):
                break
        if len({name for name, _ in found}) < len(found):
            raise CoqlError("DUPLICATE_DATA", "duplicate field in order by", column_name=found[-1][0])
        return tuple(found)

    def _condition(self) -> Test:
        left = self._factor()
        if self._peek() not in ("and", "or"):
            return left
        word = self._next()[1].lower()
        right = self._factor()
        if self._peek() in ("and", "or"):  # a third criterion without brackets
            self._fail(self._peek())
        return (lambda r: left(r) and right(r)) if word == "and" else (lambda r: left(r) or right(r))

    def _factor(self) -> Test:
        if self._accept("("):
            inner = self._condition()
            self._expect(")")
            return inner
        return self._criterion()

    def _criterion(self) -> Test:
        self.criteria += 1
        known = self._field(self._name(), "where")
        name = known.name
        if known.type == "textarea":
            raise CoqlError("INVALID_QUERY", "column is not supported in criteria", column_name=name, clause="where")
        self.converted = self.converted or name == "Converted__s"
        if self._accept("is", "null"):
            return lambda r: r.get(name) is None
        if self._accept("is", "not", "null"):
            return lambda r: r.get(name) is not None
        negated = self._accept("not", "in")
        if negated or self._accept("in"):
            wanted = self._values(known)
            return lambda r: (_held(known, r.get(name)) in wanted) is not negated
        sign = self._next()[1]
        if sign not in _COMPARATORS:
            self._fail(sign)
        if sign not in ("=", "!=") and known.type not in _ORDERED:
            raise CoqlError(
                "INVALID_QUERY", "operator is not supported", column_name=name, operator=sign, reason="invalid operator"
            )
        return _compare(known, sign, self._literal(known))

    def _values(self, known: FieldDef) -> list[Any]:
        self._expect("(")
        values = [self._literal(known)]
        while self._accept(","):
            values.append(self._literal(known))
        self._expect(")")
        if len(values) > _MOST_VALUES:
            raise CoqlError("LIMIT_EXCEEDED", "limit exceeded", limit=_MOST_VALUES)
        return values

    def _literal(self, known: FieldDef) -> Any:
        kind, token = self._next()
        text = re.sub(r"\\(.)", r"\1", token[1:-1]) if kind == "string" else token
        if kind == "sign":
            self._fail(token)
        try:
            return _held(known, _typed(known, text))
        except ValueError as error:
            raise CoqlError(
                "INVALID_QUERY", "value given seems to be invalid", column_name=known.name, operator="=", reason=text
            ) from error


def _typed(known: FieldDef, text: str) -> Any:
    if known.type == "boolean":
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if known.type in ("integer", "bigint"):
        return int(text)
    if known.type in ("double", "currency", "percent"):
        return float(text)
    if known.type == "datetime" and datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(text)
    return text


def _held(known: FieldDef, value: Any) -> Any:
    """A value as it is compared."""
    if value is None:
        return None
    if known.type == "datetime":
        return datetime.fromisoformat(value).astimezone(UTC)
    if known.type == "bigint":
        return int(value)
    if isinstance(value, dict):
        return str(value["id"])
    return value.casefold() if isinstance(value, str) else value


def _compare(known: FieldDef, sign: str, wanted: Any) -> Test:
    def test(row: Row) -> bool:
        value = _held(known, row.get(known.name))
        if sign in ("=", "!="):
            return (value == wanted) is (sign == "=")
        if value is None:
            return False
        answers: Sequence[bool] = (value > wanted, value >= wanted, value < wanted, value <= wanted)
        return answers[(">", ">=", "<", "<=").index(sign)]

    return test
