"""CRM values as JSON text and back, without losing their type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from syncline.model import Value

__all__ = ["dump", "dump_json", "load"]


def dump(fields: Mapping[str, Value | Mapping[str, Value]]) -> str:
    """Deterministic: equal fields give equal text."""
    return json.dumps(fields, default=_tagged, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> Any:
    """The inverse of `dump`."""
    return json.loads(text, object_hook=_untagged)


def dump_json(value: Any) -> Any:
    """For people and reports: plain JSON values, decimals as numbers' text."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, Decimal):
        return {"$decimal": f"{value.normalize():f}"}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    raise TypeError(f"a CRM field cannot hold {type(value).__name__}")


def _untagged(pairs: dict[str, Any]) -> Any:
    match pairs:
        case {"$decimal": text}:
            return Decimal(text)
        case {"$datetime": text}:
            return datetime.fromisoformat(text)
        case {"$date": text}:
            return date.fromisoformat(text)
    return pairs
