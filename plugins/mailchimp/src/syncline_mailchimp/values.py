"""Merge fields as the host describes fields, and values on their way in and out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from syncline.model import Field, FieldKind, Value
from syncline_mailchimp.payloads import MergeField

__all__ = ["ADDRESS", "OPT_OUT", "OWN_FIELDS", "decoded", "field_of", "has_left", "printed"]

ADDRESS: Final = "EMAIL"
"""What Mailchimp calls the address among the merge fields of forms and webhooks; nobody else has it in an audience."""

OPT_OUT: Final = "unsubscribed"
"""A field of our own: that a member's status says "no more e-mail". It can be written, to True."""

_LEFT: Final = frozenset({"unsubscribed", "cleaned"})
"""The statuses of those who are written to no more: they left, or their address bounced (vendor sheet §7)."""

_LONGEST_TEXT: Final = 255  # unverified; the simulator can do without
_KINDS: Final[Mapping[str, FieldKind]] = {"number": "number", "date": "date", "radio": "option", "dropdown": "option"}

OWN_FIELDS: Final = (
    Field(ADDRESS, "text", "Email Address", writable=False, unique=True),
    Field("status", "option", "Status", writable=False),
    Field(OPT_OUT, "boolean", "Unsubscribed"),
    Field("language", "text", "Language", writable=False),
    Field("source", "text", "Source", writable=False),
    Field("vip", "boolean", "VIP", writable=False),
    Field("member_rating", "number", "Rating", writable=False, scale=0),
    Field("timestamp_signup", "datetime", "Signed up", writable=False),
    Field("timestamp_opt", "datetime", "Opted in", writable=False),
)
"""What a member has beside merge fields, by the names of the API; only `unsubscribed`, a name of ours, is written."""


def has_left(status: str) -> bool:
    """Whether a member with this status gets no e-mail any more; a pending one has not confirmed yet."""
    return status in _LEFT


def field_of(field: MergeField, key_field: str) -> Field:
    """Our key counts as unique: Mailchimp enforces nothing, but nobody writes there except us.

    A postal address is an object of several parts, and is left alone.
    """
    kind = _KINDS.get(field.type, "text")
    choices = field.options.get("choices", ()) if kind == "option" else ()
    return Field(
        field.tag,
        kind,
        field.name,
        writable=field.type != "address",
        required=field.required,
        unique=field.tag == key_field,
        max_length=_LONGEST_TEXT if kind == "text" and field.type != "address" else None,
        options=tuple(str(choice) for choice in choices),
    )


def decoded(raw: Any, kind: FieldKind) -> Value:
    """A value as it came in JSON; an empty string is nothing."""
    if raw is None or raw == "":
        return None
    if isinstance(raw, dict | list):
        return ", ".join(str(part) for part in (raw.values() if isinstance(raw, dict) else raw) if part)
    if kind == "number":
        return raw if isinstance(raw, int | Decimal) else _number(str(raw))
    if kind == "date" and isinstance(raw, str):
        return _date(raw)
    return raw if isinstance(raw, bool | date) else str(raw)


def _number(text: str) -> Value:
    try:
        return Decimal(text)
    except ArithmeticError:
        return text


def _date(text: str) -> Value:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def printed(value: Value) -> str | int | float:
    """A value as Mailchimp takes it in JSON: an empty string clears (recorded 2021)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _exact(value)
    return value


def _exact(value: Decimal) -> str | int | float:
    """Text where a double would not be the same number; the vendor then keeps or refuses it, for this record alone."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)
