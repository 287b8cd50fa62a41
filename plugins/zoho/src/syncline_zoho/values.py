"""Fields and their values on their way in and out (vendor sheet §9, §10)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from syncline.errors import ContractError
from syncline.model import Field, FieldKind, Value
from syncline_zoho.payloads import FieldMeta

__all__ = ["Column", "column_of", "decode", "encode", "parse_datetime", "printed_datetime", "shortened"]

_KINDS: Final[Mapping[str, FieldKind]] = {
    "boolean": "boolean",
    "integer": "number",
    "bigint": "number",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "date": "date",
    "datetime": "datetime",
    "picklist": "option",
    "multiselectpicklist": "options",
    "lookup": "reference",
    "ownerlookup": "reference",
    "userlookup": "reference",
}
_COMPUTED: Final[Mapping[str, FieldKind]] = {"integer": "number", "double": "number", "boolean": "boolean"}
_WHOLE: Final = frozenset({"integer", "bigint"})
_NO_CHOICE: Final = "-None-"  # how an empty picklist is listed among its values
_SEPARATOR: Final = ";"


@dataclass(frozen=True, slots=True)
class Column:
    """A field and the vendor's own name for its type."""

    field: Field
    type: str


def column_of(meta: FieldMeta, required: frozenset[str]) -> Column:
    """Our description of a field. `required`: what the layouts demand beyond the system."""
    computed = _COMPUTED.get(meta.json_type or "") if meta.data_type not in _KINDS else None
    kind = _KINDS.get(meta.data_type) or computed or "text"
    operations = meta.operation_type
    writable = operations.api_update and not (meta.read_only or meta.field_read_only)
    field = Field(
        name=meta.api_name,
        kind=kind,
        label=meta.field_label,
        writable=writable,
        required=operations.api_create and (meta.system_mandatory or meta.api_name in required),
        unique=bool(meta.unique),
        max_length=meta.length if kind in ("text", "option") else None,
        scale=(0 if meta.data_type in _WHOLE else meta.decimal_place) if kind == "number" else None,
        options=tuple(v.actual_value for v in meta.pick_list_values if v.actual_value != _NO_CHOICE),
    )
    return Column(field, meta.data_type)


def decode(column: Column | None, raw: Any) -> Value:
    """The value of a field as it came. Several options are joined with `;`, a reference is its id.

    What its field could not hold (a formula that failed, a masked number) is its text: one odd value ends no run.
    """
    if raw is None or isinstance(raw, bool):
        return raw
    try:
        return _decoded(column, raw)
    except (ValueError, ArithmeticError):
        return raw if isinstance(raw, str) else _json(raw)


def _decoded(column: Column | None, raw: Any) -> Value:
    kind = column.field.kind if column else None
    if kind == "number":
        return _number(raw, column.field.scale if column else None)
    if isinstance(raw, list):
        plain = all(isinstance(part, str) for part in raw)
        return (_SEPARATOR.join(raw) or None) if plain else _json(raw)
    if isinstance(raw, dict):
        return str(raw["id"]) if "id" in raw else _json(raw)
    if isinstance(raw, str):
        return _text(kind, raw)
    return _number(raw, None)


def _json(raw: Any) -> str:
    return json.dumps(raw, sort_keys=True, default=str)


def _number(raw: Any, scale: int | None) -> Value:
    """A bigint comes as text, and a double without decimals as an integer."""
    number = Decimal(str(raw))
    whole = isinstance(raw, int) if scale is None else scale == 0
    return int(number) if whole and number == number.to_integral_value() else number


def _text(kind: str | None, raw: str) -> Value:
    if kind == "datetime":
        return parse_datetime(raw)
    if kind == "date":
        return date.fromisoformat(raw)
    return raw


def parse_datetime(text: str) -> datetime:
    """`2026-11-21T10:00:00+05:30`; aware and UTC. ValueError when it has no offset: whose time it is, nobody knows."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment.astimezone(UTC)


def printed_datetime(moment: datetime) -> str:
    """UTC, whole seconds, with `+00:00`: neither milliseconds nor `Z` are taken everywhere."""
    if moment.tzinfo is None:
        raise ContractError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(microsecond=0).isoformat()


def encode(column: Column | None, value: Value) -> Any:
    """The value as JSON takes it; None clears."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return printed_datetime(value)
    if isinstance(value, date):
        return value.isoformat()
    kind = column.field.kind if column else None
    if kind == "options":
        return [part for part in str(value).split(_SEPARATOR) if part]
    if kind == "reference":
        return {"id": str(value)}
    if column is not None and column.type == "bigint":
        return str(value)  # up to 18 digits, more than a double holds
    return _exact(value) if isinstance(value, Decimal) else value


def _exact(value: Decimal) -> int | float | str:
    """A decimal that a double cannot hold goes as text, for the vendor to refuse: this record alone."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def shortened(text: str, most: int) -> str:
    """The text cut to a field's length, in UTF-16 units to be on the safe side (how Zoho counts is unverified)."""
    return text.encode("utf-16-le")[: 2 * most].decode("utf-16-le", errors="ignore")
