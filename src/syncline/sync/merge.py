"""The three-way merge of one field: what we want, what the CRM last accepted from us, what it holds now and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, Literal

from syncline.model import Edit, Field, FieldKind, Value, alike, same

__all__ = ["Decision", "FieldState", "Policy", "Verdict", "alike", "coerce", "merge", "same"]

Policy = Literal["ours", "only_if_empty", "human_wins", "newest", "ask"]

_UNTOLD: Final = Edit(None)


class Verdict(StrEnum):
    """What to do with one field."""

    KEEP = "keep"
    """It is as it should be, or not ours to touch."""
    WRITE = "write"
    DRIFT = "drift"
    """Write: somebody changed a field that is ours."""
    TAKE = "take"
    """What stands there wins: nothing is written, and what we know of the person follows it."""
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
    """What we write when we know nothing."""
    desired_at: datetime | None = None
    edit: Edit = _UNTOLD
    """Who changed it there last, and when."""
    emptied: bool = False
    """Nothing stands there because somebody else emptied it, as far as the CRM tells."""
    kind: FieldKind = "text"


@dataclass(frozen=True, slots=True)
class Decision:
    """`why` is a short sentence for whoever looks after the CRM."""

    verdict: Verdict
    why: str
    value: Value = None

    @property
    def writes(self) -> bool:
        return self.verdict in (Verdict.WRITE, Verdict.DRIFT)


def merge(state: FieldState, policy: Policy) -> Decision:
    """docs/two-way.md has the table. Equal is not a conflict; a field that is shared is never cleared by us."""
    if same(state.desired, state.remote):
        return _keep("it holds our value already")
    stands = _ours_stands(state)
    if stands and same(state.desired, state.acknowledged):
        return _keep("it holds what the CRM made of our value")
    if policy == "ours":
        return _as_owner(state, stands=stands)
    if _knows_nothing(state) and not _empty(state.remote):
        return _without_a_value(state, policy, stands=stands)
    if _empty(state.desired):
        return _keep("we know no value, and a shared field is never cleared")
    if _free(state, stands=stands):
        return _write(state, "nobody else has filled it")
    if policy == "only_if_empty":
        return _keep("it is filled" if not _empty(state.remote) else "somebody emptied it on purpose")
    if stands:
        return _write(state, "it still holds the value we wrote, and ours has changed")
    return _against(state, policy)


def _as_owner(state: FieldState, *, stands: bool) -> Decision:
    if stands or not state.acknowledged_known:
        return _write(state, "the field is ours")
    return Decision(Verdict.DRIFT, f"the field is ours, and {_whoever(state)} had changed it", state.desired)


def _without_a_value(state: FieldState, policy: Policy, *, stands: bool) -> Decision:
    """We know nothing, or no more than what a mapping says by default."""
    if policy == "only_if_empty" or stands:
        return _keep("we know no other value, and a shared field is never cleared")
    return _take(f"we know no value, and {_whoever(state)} gave one")


def _against(state: FieldState, policy: Policy) -> Decision:
    """We have a value, and something else stands there, or nothing any more, that is not our doing."""
    who = _whoever(state)
    if policy == "newest":
        if _newer(state):
            return _write(state, f"ours is newer than what {who} put there")
        return _theirs(state, f"what {who} put there is newer than ours")
    if policy == "human_wins":
        if _protected(state):
            return _theirs(state, f"{who} changed it, and a person's edit wins")
        return _write(state, f"{who} changed it, and that is no person's edit")
    if state.acknowledged_known and same(state.desired, state.acknowledged):
        return _theirs(state, f"only {who} has changed it since we wrote it")
    return Decision(Verdict.ASK, f"{who} has another value than we: a person decides", state.desired)


def _theirs(state: FieldState, why: str) -> Decision:
    return _keep(f"{why}; it stays empty") if _empty(state.remote) else _take(why)


def _keep(why: str) -> Decision:
    return Decision(Verdict.KEEP, why)


def _take(why: str) -> Decision:
    return Decision(Verdict.TAKE, why)


def _write(state: FieldState, why: str) -> Decision:
    return Decision(Verdict.WRITE, why, state.desired)


# What stands there


def _ours_stands(state: FieldState) -> bool:
    """Whether the field holds what we wrote last, or what the CRM made of it by itself."""
    if not state.acknowledged_known:
        return False
    if same(state.remote, state.acknowledged) or state.edit.by == "us":
        return True
    return state.edit.by != "person" and alike(state.remote, state.acknowledged, state.kind)


def _free(state: FieldState, *, stands: bool) -> bool:
    """Whether nobody but us has put anything there: empty, or our own placeholder."""
    if stands:
        return _empty(state.remote) or _is_placeholder(state.acknowledged, state)
    return _empty(state.remote) and not state.acknowledged_known and not state.emptied


def _knows_nothing(state: FieldState) -> bool:
    return _empty(state.desired) or _is_placeholder(state.desired, state)


def _is_placeholder(value: Value, state: FieldState) -> bool:
    return state.placeholder is not None and same(value, state.placeholder)


def _protected(state: FieldState) -> bool:
    """A person's edit. A writer the CRM does not tell may be one; our own name under a value we never wrote, too."""
    return state.edit.by != "system"


def _newer(state: FieldState) -> bool:
    """Whether ours is the later word. Said at the same time, the word later in the alphabet is: all CRMs then agree."""
    if state.desired_at is None:
        return False
    if state.edit.at is None or state.desired_at > state.edit.at:
        return True
    return state.desired_at == state.edit.at and str(state.desired) > str(state.remote)


_WHOEVER: Final = {"person": "a person", "system": "another system", "us": "somebody", "unknown": "somebody"}


def _whoever(state: FieldState) -> str:
    who = _WHOEVER[state.edit.by]
    return f"{who} ({state.edit.who})" if state.edit.who else who


def _empty(value: Value) -> bool:
    return same(value, None)


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
