"""Values that a CRM would show alike, and what a CRM makes of a value by itself."""

from __future__ import annotations

import html
import re
from datetime import datetime
from decimal import Decimal
from typing import Final

from syncline.model.write import FieldKind, Value

__all__ = ["alike", "same"]

_PHONE: Final = re.compile(r"[+(]?\d[\d\s()./-]{5,}")


def alike(made: Value, given: Value, kind: FieldKind = "text") -> bool:
    """Whether a CRM may make `made` of `given` by itself: trimmed, rounded, escaped, in another letter case.

    Letter case counts as nothing in options and addresses only: in a name it may well be a correction.
    """
    if same(made, given):
        return True
    if isinstance(made, str) and isinstance(given, str):
        return _plain(made, kind) == _plain(given, kind)
    if isinstance(made, datetime) and isinstance(given, datetime):
        return made in (given.replace(microsecond=0), given.replace(second=0, microsecond=0))
    if isinstance(made, bool) or isinstance(given, bool):
        return False
    if isinstance(made, int | Decimal) and isinstance(given, int | Decimal):
        less, more = Decimal(made), Decimal(given)
        return _places(less) < _places(more) and abs(less - more) < Decimal(1).scaleb(-_places(less))
    return False


def _plain(text: str, kind: FieldKind) -> str:
    text = " ".join(html.unescape(text).split())
    if kind in ("option", "options") or "@" in text:
        return text.casefold()
    return re.sub(r"[^\d+]", "", text) if _PHONE.fullmatch(text) else text


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def same(one: Value, other: Value) -> bool:
    """Whether a CRM would show both as the same: empty text is None, 5 is 5.00, True is not 1."""
    if _empty(one) or _empty(other):
        return _empty(one) and _empty(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def _empty(value: Value) -> bool:
    return value is None or value == ""
