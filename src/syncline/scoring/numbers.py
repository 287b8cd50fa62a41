"""The numbers of scoring: whole numbers, and decimals with exactly 12 places held as integers.

Both evaluators compute with the same integers and the same two roundings, so that they agree to the last decimal.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, InvalidOperation
from typing import Final

from syncline.errors import ConfigError

__all__ = [
    "INFINITE",
    "LARGEST",
    "LARGEST_PROPERTY",
    "MICRO",
    "ONE",
    "PLACES",
    "bounded",
    "decimal",
    "factor",
    "half_even",
    "hundredths",
    "literal",
    "micro",
    "scaled",
]

PLACES: Final = 12
ONE: Final = 10**PLACES
"""1, as a scaled number."""
MICRO: Final = 10**6
"""1, as an event property's number: they have at most 6 decimals."""
INFINITE: Final = 10**11 * ONE
"""How long ago something was that never was, in any unit."""
LARGEST: Final = 2**127 - 1
"""The largest 128-bit integer: what a column of the engine can hold."""
LARGEST_PROPERTY: Final = 10**12
"""An event property beyond this is a vendor's mistake and counts as missing."""

_EXACT: Final = Context(prec=80)


def half_even(numerator: int, denominator: int) -> int:
    """The quotient, rounded to the nearest integer, ties to the even one."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, rest = divmod(numerator, denominator)
    up = rest * 2 > denominator or (rest * 2 == denominator and quotient % 2 == 1)
    return quotient + up


def bounded(value: int) -> int:
    """`value`, or an error where the engine's 128-bit integers would overflow as well."""
    if abs(value) > LARGEST:
        raise ConfigError(
            "a number in a score grows beyond 1.7e38 / 1e12: a multiplication or a division in the model is too large; "
            "cap its signals or divide first"
        )
    return value


def micro(value: object) -> int | None:
    """An event property's number in millionths; None for what is not a number, or not a sane one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    number = float(value)
    return round(number * 1e6) if abs(number) <= LARGEST_PROPERTY else None


def factor(base: float, numerator_us: int, denominator_us: int) -> int:
    """base ** (numerator / denominator), scaled, in IEEE doubles and in exactly this order of operations."""
    power: float = math.pow(base, float(numerator_us) / float(denominator_us))
    return round(power * 1e12)


def literal(value: object) -> Decimal | None:
    """The number that a configuration says, exactly as it is written; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    text = repr(float(value)) if isinstance(value, float) else str(value)
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def scaled(number: Decimal, places: int = PLACES) -> int | None:
    """`number` as an integer of `places` decimals; None if it has more, or is beyond 10^15."""
    shifted = number.scaleb(places, _EXACT)
    if abs(number) > 10**15 or shifted != shifted.to_integral_value():
        return None
    return int(shifted)


def decimal(value: int, places: int = PLACES) -> Decimal:
    """The exact Decimal of a scaled integer."""
    return Decimal(value).scaleb(-places, _EXACT)


def hundredths(value: int) -> int:
    """A scaled number rounded half-even to 2 decimals, in hundredths."""
    return half_even(value, 10 ** (PLACES - 2))
