"""Field values on their way in and out. HubSpot speaks strings in both directions (vendor sheet §5 and §6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from syncline.errors import ContractError
from syncline.model import Field, FieldKind, Value
from syncline_hubspot.payloads import Property

__all__ = ["LONGEST", "decode", "field_of", "milliseconds", "moment_of", "printed", "split_several"]

LONGEST: Final = 65_536
"""Characters of a string property (vendor sheet §6, read 2026-11)."""

_SCALE: Final = 6
"""HubSpot says nothing of decimals. Six of them beside nine digits before the point survive a double on the way."""

_KINDS: Final[Mapping[str, FieldKind]] = {
    "string": "text",
    "phone_number": "text",
    "number": "number",
    "bool": "boolean",
    "date": "date",
    "datetime": "datetime",
}
_EPOCH_MS: Final = re.compile(r"-?\d{10,}")


def field_of(found: Property, *, required: bool = False) -> Field:
    """Our description of a property."""
    kind = _kind(found)
    return Field(
        name=found.name,
        kind=kind,
        label=found.label,
        writable=not (found.calculated or found.modification.read_only_value),
        required=required,
        # An e-mail address is unique among contacts although its definition does not say so (vendor sheet §5).
        unique=found.unique or (found.name == "email" and found.type == "string"),
        max_length=LONGEST if kind == "text" else None,
        scale=_SCALE if kind == "number" else None,
        options=tuple(o.value for o in found.options) if kind in ("option", "options") else (),
    )


def _kind(found: Property) -> FieldKind:
    if found.type != "enumeration":
        return _KINDS.get(found.type, "text")
    if found.referenced or (found.external_options and not found.options):
        return "reference"
    return "options" if found.field_type == "checkbox" else "option"


def decode(field: Field | None, raw: str | None) -> Value:
    """The value of a property as it came. What does not spell its kind stays the text it is."""
    if raw is None or raw == "":
        return None
    kind = field.kind if field is not None else "text"
    try:
        if kind == "number":
            return _number(raw)
        if kind == "boolean":
            return {"true": True, "false": False}.get(raw, raw)
        if kind == "datetime":
            return moment_of(raw)
        return _day(raw) if kind == "date" else raw
    except (ValueError, InvalidOperation, OverflowError):
        return raw


def _number(raw: str) -> Value:
    number = Decimal(raw)
    if not number.is_finite():
        return raw
    return int(number) if number == number.to_integral_value() else number


def _day(raw: str) -> date:
    return moment_of(raw).date() if _EPOCH_MS.fullmatch(raw) else date.fromisoformat(raw[:10])


def moment_of(raw: str) -> datetime:
    """ISO 8601, or milliseconds since 1970: both occur in recorded answers. Aware and UTC."""
    if _EPOCH_MS.fullmatch(raw):
        return datetime.fromtimestamp(int(raw) / 1000, UTC)
    moment = datetime.fromisoformat(raw)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, the safe form of a time in a search."""
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def printed(value: Value) -> str:
    """The value as HubSpot takes it; `""` clears."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ContractError(f"{value} has no time zone")
        moment = value.astimezone(UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    if isinstance(value, date):
        return value.isoformat()
    return _plain(value) if isinstance(value, Decimal) else str(value)


def _plain(value: Decimal) -> str:
    """One dot, no exponent, no zeros that say nothing."""
    if not value.is_finite():
        return str(value)  # for the vendor to refuse, this record alone
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def split_several(text: str | None) -> list[str]:
    """The parts of a value that holds several."""
    return [part.strip() for part in (text or "").split(";") if part.strip()]
