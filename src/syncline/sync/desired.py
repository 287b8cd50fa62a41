"""What a CRM should hold about a person."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from syncline.model import Origin, Value, from_microseconds
from syncline.scoring.result import Assessment, Contribution, ScoreResult
from syncline.store.profiles import Profile
from syncline.sync.target import FieldMap

__all__ = ["desired", "desired_at", "reason"]

_NAMED = 4  # contributions a reason names


def desired(mapped: FieldMap, assessment: Assessment, profile: Profile) -> Value:
    """The value for a mapped field, the mapping's default when we know none."""
    if mapped.origin is None:
        return None
    value = _value(mapped.origin, assessment, profile)
    return mapped.default if value is None or value == "" else value


def _value(origin: Origin, assessment: Assessment, profile: Profile) -> Value:
    if origin.room == "segment":
        return origin.name in assessment.segments
    if origin.room == "score":
        return _of_score(assessment.scores[origin.name], origin.part)
    return _of_person(origin.name, assessment, profile)


def _of_score(score: ScoreResult, part: str) -> Value:
    if part == "band":
        return score.band
    return reason(score.contributions) if part == "reason" else score.value


def _of_person(name: str, assessment: Assessment, profile: Profile) -> Value:
    if name == "email":
        return profile.emails[0] if profile.emails else None
    if name == "key":
        return profile.key
    if name == "last_event":
        return assessment.last_event_type
    if name == "last_event_at":
        return _whole_second(assessment.last_event_us)
    return profile.attributes.get(name)


def desired_at(origin: Origin, assessment: Assessment, profile: Profile) -> datetime | None:
    """Since when we know that value: when it was said, or for what is computed when the person last did something."""
    said = origin.room == "person" and origin.name not in ("key", "last_event", "last_event_at")
    at_us = profile.said_us.get(origin.name) if said else assessment.last_event_us
    return from_microseconds(at_us) if at_us else None


def _whole_second(microseconds: int | None) -> datetime | None:
    """CRMs keep seconds at best; comparing finer than they store would write for ever."""
    return None if microseconds is None else from_microseconds(microseconds // 1_000_000 * 1_000_000)


def reason(contributions: tuple[Contribution, ...]) -> str | None:
    """The lines that weighed most, largest first: `whitepaper +25, prezzi +20, decay -3.1`."""
    weighty = sorted((c for c in contributions if c.amount), key=lambda c: -abs(c.amount))
    parts = [f"{c.line} {_signed(c.amount)}" for c in weighty[:_NAMED]]
    return ", ".join(parts) or None


def _signed(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.01')).normalize():+f}"
