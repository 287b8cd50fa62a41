"""The three-way merge of one field: what we want, what the CRM last accepted from us, what it holds now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import StrEnum
from typing import Literal

from syncline.model import Field, Value

__all__ = ["Decision", "FieldState", "Policy", "Verdict", "coerce", "merge", "same"]

Policy = Literal["ours", "only_if_empty", "human_wins", "newest", "ask"]


class Verdict(StrEnum):
    """What to do with one field, and why."""

    KEEP = "keep"
    """It is as it should be, or not ours to touch."""
    WRITE = "write"
    DRIFT = "drift"
    """Write: somebody changed a field that is ours."""
    ASK = "ask"
    """Both sides changed and a person decides; nothing is written."""


@dataclass(frozen=True, slots=True)
class FieldState:
    """The three sides. `acknowledged_known` False: we never wrote this field of this record."""

    desired: Value
    remote: Value
    acknowledged: Value = None
    acknowledged_known: bool = False
    placeholder: Value = None
    """What we write when we know nothing: where it still stands as we wrote it, the field counts as empty."""
    desired_at: datetime | None = None
    remote_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    value: Value = None

    @property
    def writes(self) -> bool:
        return self.verdict in (Verdict.WRITE, Verdict.DRIFT)


_KEEP = Decision(Verdict.KEEP)


def merge(state: FieldState, policy: Policy) -> Decision:
    """Equal is not a conflict. A field that is not ours is never cleared by us."""
    if same(state.desired, state.remote):
        return _KEEP
    edited = state.acknowledged_known and not same(state.remote, state.acknowledged)
    if policy == "ours":
        return Decision(Verdict.DRIFT if edited else Verdict.WRITE, state.desired)
    if _empty(state.desired):
        return _KEEP
    if not edited and (_empty(state.remote) or _holds_placeholder(state)):
        return Decision(Verdict.WRITE, state.desired)
    if policy == "only_if_empty":
        return _KEEP
    if state.acknowledged_known and not edited:
        return Decision(Verdict.WRITE, state.desired)
    if policy == "newest":
        return Decision(Verdict.WRITE, state.desired) if _newer(state) else _KEEP
    if policy == "ask" and not (state.acknowledged_known and same(state.desired, state.acknowledged)):
        return Decision(Verdict.ASK, state.desired)
    return _KEEP  # somebody typed what stands there, and wins or was the only one to change it


def _holds_placeholder(state: FieldState) -> bool:
    return state.acknowledged_known and state.placeholder is not None and same(state.remote, state.placeholder)


def _newer(state: FieldState) -> bool:
    return state.desired_at is not None and (state.remote_at is None or state.desired_at > state.remote_at)


def _empty(value: Value) -> bool:
    return value is None or value == ""


def same(one: Value, other: Value) -> bool:
    """Whether a CRM would show both as the same: empty text is None, 5 is 5.00, True is not 1."""
    if _empty(one) or _empty(other):
        return _empty(one) and _empty(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def coerce(value: Value, field: Field) -> Value:
    """`value` as `field` can hold it: rounded to its scale, cut to its length; what we then compare and send.

    ValueError when a text (a person's attribute, say) does not spell what the field holds.
    """
    if value is None:
        return False if field.kind == "boolean" else None
    if field.kind == "number":
        return _number(value, field.scale)
    if field.kind == "boolean" and isinstance(value, str):
        return _truth(value)
    if field.kind in ("date", "datetime") and isinstance(value, str):
        value = _moment(value)
    if field.kind == "date" and isinstance(value, datetime):
        return value.date()
    if field.kind in ("text", "option", "options", "reference"):
        text = value.isoformat() if isinstance(value, date) else str(value)
        return text if field.max_length is None else text[: field.max_length]
    return value


def _number(value: Value, scale: int | None) -> Value:
    if isinstance(value, str):
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            raise ValueError(f"{value!r} is no number") from None
    if not isinstance(value, int | Decimal):
        raise ValueError(f"{value!r} is no number")  # noqa: TRY004  # one kind of trouble: it does not fit
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"{value} is no number a field can hold")
    number = Decimal(int(value)) if isinstance(value, bool) else Decimal(value)
    return number if scale is None else number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN)


def _truth(value: str) -> bool:
    word = value.strip().lower()
    if word in ("true", "yes", "1"):
        return True
    if word in ("false", "no", "0"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f"{value!r} is no date such as 2026-06-01") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
