"""Reading attributes of a profile, which are texts, as what a signal wants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from syncline.scoring import numbers
from syncline.scoring.signals import Attribute

__all__ = ["FALSE", "NUMBER", "TRUE", "read_attribute"]

NUMBER: Final = r"[+-]?[0-9]{1,15}(\.[0-9]{1,12})?"
"""What counts as a number, for every evaluator alike."""
TRUE: Final = ("true", "yes", "1")
FALSE: Final = ("false", "no", "0")


def read_attribute(signal: Attribute, profile: Mapping[str, str]) -> int | str | bool | None:
    """The value of the attribute; None where it is empty or not of the signal's type."""
    text = profile.get(signal.name) or None
    if text is None or signal.type == "text":
        return text
    if signal.type == "number":
        return numbers.scaled(Decimal(text)) if re.fullmatch(NUMBER, text) else None
    word = text.lower()
    return True if word in TRUE else False if word in FALSE else None
