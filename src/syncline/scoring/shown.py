"""Signal values as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from syncline.scoring import numbers
from syncline.scoring.expressions import Kind, Value
from syncline.scoring.result import Shown
from syncline.scoring.signals import Idle, Signal, kind_of

__all__ = ["NEVER", "said", "shown"]

NEVER: Final = "never"


def shown(value: Value, signal: Signal) -> Shown:
    """Scaled numbers as Decimals, an infinite idle time as `never`."""
    if isinstance(signal, Idle) and value == numbers.INFINITE:
        return NEVER
    if kind_of(signal) is Kind.NUMBER and isinstance(value, int):
        return _short(numbers.decimal(value))
    return value


def said(texts: Mapping[str, str], value: Shown) -> Mapping[str, str]:
    """What a line says in each language, with the signal's value in place of {value}."""
    return {language: text.replace("{value}", str(value)) for language, text in texts.items()}


def _short(number: Decimal) -> Decimal:
    """Without trailing zeros, and without an exponent."""
    plain = number.normalize()
    return plain.quantize(Decimal(1)) if plain == plain.to_integral_value() else plain
