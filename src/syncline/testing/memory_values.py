"""What the CRM in memory can hold: the fields of a person, and how a value fits a field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from syncline.errors import did_you_mean
from syncline.model import Field, FieldSpec, Value

__all__ = ["TASK_FIELDS", "as_kept", "person_fields", "unfit"]

TASK_FIELDS: Final = (FieldSpec("Task", "Key", "text", "Key", max_length=64, unique=True),)


def person_fields() -> tuple[Field, ...]:
    """The fields of Lead and Contact in a world that says nothing else."""
    return (
        Field("Id", "text", writable=False, unique=True),
        Field("Key", "text", max_length=64, unique=True),
        Field("Email", "text", max_length=80),
        Field("FirstName", "text", max_length=40),
        Field("LastName", "text", max_length=80),
        Field("Company", "text", max_length=255),
        Field("Phone", "text", max_length=40),
        Field("Status", "option", options=("Open", "Working", "Closed")),
        Field("Score", "number", scale=1),
        Field("Band", "text", max_length=40),
        Field("Hot", "boolean"),
        Field("LastSeen", "datetime"),
        Field("OptedOut", "boolean"),
    )


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,),
    "reference": (str,),
    "option": (str,),
    "options": (str,),
    "number": (int, Decimal),
    "boolean": (bool,),
    "date": (date,),
    "datetime": (datetime,),
}


def unfit(field: Field, value: Value) -> tuple[str, str] | None:
    """Why a field cannot hold a value, as (code, reason)."""
    if value is None:
        return ("REQUIRED_FIELD_MISSING", f"{field.name} cannot be empty") if field.required else None
    right_type = isinstance(value, _TYPES[field.kind])
    if not right_type or (isinstance(value, bool) and field.kind != "boolean"):
        return "INVALID_TYPE", f"{field.name} is a {field.kind}, not {type(value).__name__}"
    if field.max_length is not None and isinstance(value, str) and len(value) > field.max_length:
        return "STRING_TOO_LONG", f"{field.name}: {len(value)} characters, at most {field.max_length}"
    if field.kind == "option" and field.options and value not in field.options:
        return "INVALID_OPTION", f"{field.name}: {did_you_mean(str(value), field.options)}"
    return None


def as_kept(field: Field, value: Value) -> Value:
    if value == "":
        return None
    if field.scale is not None and isinstance(value, int | Decimal):
        return Decimal(value).quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)
    return value
