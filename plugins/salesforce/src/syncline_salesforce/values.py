"""Field values on their way in and out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from syncline.errors import ContractError
from syncline.model import Field, FieldKind, Value
from syncline_salesforce.payloads import DescribedField

__all__ = [
    "cell",
    "decode",
    "decode_cell",
    "field_of",
    "json_body",
    "long_id",
    "parse_datetime",
    "printed",
    "quoted",
    "shortened",
    "soql_datetime",
]

_KINDS: Final[Mapping[str, FieldKind]] = {
    "boolean": "boolean",
    "int": "number",
    "long": "number",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "date": "date",
    "datetime": "datetime",
    "picklist": "option",
    "multipicklist": "options",
    "reference": "reference",
}

_CHECK: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def field_of(described: DescribedField) -> Field:
    """Our description of a field. It is writable when an existing record's value can be changed."""
    kind = _KINDS.get(described.type, "text")
    return Field(
        name=described.name,
        kind=kind,
        label=described.label,
        writable=described.updateable,
        required=described.createable and not described.nillable and not described.defaulted,
        unique=described.unique,  # an external id need not be: then two records may share a key
        max_length=described.length if described.length and kind in ("text", "option", "options") else None,
        scale=described.scale if kind == "number" else None,
        # An unrestricted picklist takes any text, so its list says nothing about what may be written.
        options=tuple(v.value for v in described.values if v.active) if described.restricted else (),
    )


def decode(field: Field | None, raw: Any) -> Value:
    """The value of a field as it came in JSON. Compound values (addresses) come as their JSON text."""
    if raw is None or isinstance(raw, bool):
        return raw
    if field is not None and field.kind == "number":
        return _number(raw, field.scale or 0)
    if isinstance(raw, (int, float, Decimal)):
        return _number(raw, 0 if isinstance(raw, int) else 1)
    if isinstance(raw, str):
        return _text(field, raw)
    return json.dumps(raw, sort_keys=True, default=float)


def decode_cell(field: Field | None, text: str) -> Value:
    """The value of a field as it came in a CSV cell; an empty cell is no value."""
    if text == "":
        return None
    kind = field.kind if field is not None else "text"
    if kind == "boolean":
        return text == "true"
    return decode(field, Decimal(text) if kind == "number" else text)


def _number(raw: Any, scale: int) -> Value:
    """Numbers are printed as doubles: `5.0` of a field without decimals is 5."""
    number = Decimal(str(raw))
    return int(number) if scale == 0 and number == number.to_integral_value() else number


def _text(field: Field | None, raw: str) -> Value:
    if field is not None and field.kind == "datetime":
        return parse_datetime(raw)
    if field is not None and field.kind == "date":
        return date.fromisoformat(raw)
    return raw


def parse_datetime(text: str) -> datetime:
    """`2026-11-21T10:00:00.000+0000`, without a colon in the offset; aware and UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def soql_datetime(moment: datetime) -> str:
    """A datetime literal, unquoted in SOQL and accepted in JSON and CSV: UTC with milliseconds."""
    if moment.tzinfo is None:
        raise ContractError(f"{moment} has no time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def quoted(text: str) -> str:
    """A SOQL string literal: backslashes and quotes escaped (SOQL guide, quoted string escape sequences)."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def printed(value: Value) -> Any:
    """The value as JSON takes it. A decimal that a double cannot hold goes as text, which Salesforce accepts."""
    if isinstance(value, datetime):
        return soql_datetime(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _exact(value)
    return value


def _exact(value: Decimal) -> int | float | str:
    if not value.is_finite():
        return str(value)  # for the vendor to refuse, this record alone
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def cell(value: Value) -> str:
    """The value as a Bulk CSV cell: an empty cell would be ignored, `#N/A` clears."""
    if value is None or value == "":
        return "#N/A"
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(printed(value))


def shortened(text: str, most: int) -> str:
    """The text cut to a field's length in UTF-16 units, as Apex counts: an emoji is two (unverified for the API)."""
    return text.encode("utf-16-le")[: 2 * most].decode("utf-16-le", errors="ignore")


def long_id(id: str) -> str:
    """The 18 characters of an id of 15: the last three say which of the others are upper case, five a character."""
    if len(id) != 15:
        return id
    parts = (id[start : start + 5] for start in (0, 5, 10))
    return id + "".join(_CHECK[sum(c.isupper() << place for place, c in enumerate(part))] for part in parts)


def json_body(records: Sequence[Mapping[str, Any]]) -> str:
    """The body of a Collections request, in which one bad record does not undo the others."""
    return json.dumps({"allOrNone": False, "records": list(records)})
