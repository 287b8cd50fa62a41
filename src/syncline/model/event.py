"""Canonical events: the one vocabulary all sources are translated into."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

__all__ = [
    "ACTIVITY",
    "EVENT_TYPES",
    "PROFILE_ATTRIBUTES",
    "Event",
    "Identifier",
    "PropertyKind",
    "event_id",
    "from_microseconds",
    "microseconds",
]

PropertyKind = Literal["text", "number", "boolean", "mapping"]

_EMAIL: Final[Mapping[str, PropertyKind]] = {
    "campaign_id": "text",
    "campaign": "text",
    "url": "text",
    "machine": "boolean",
    "reason": "text",
}

EVENT_TYPES: Final[Mapping[str, Mapping[str, PropertyKind]]] = {
    "email_open": _EMAIL,
    "email_click": _EMAIL,
    "email_reply": _EMAIL,
    "email_bounce": _EMAIL,
    "email_unsubscribe": _EMAIL,
    "page_visit": {
        "url": "text",
        "page_type": "text",
        "duration_s": "number",
        "scroll_depth": "number",
        "session_id": "text",
        "device": "text",
        "geo": "text",
    },
    "form_submission": {
        "form_id": "text",
        "form_type": "text",
        "fields": "mapping",
        "page_id": "text",
        "variant": "text",
    },
    "content_download": {"content_id": "text", "content_type": "text", "url": "text"},
    "video_view": {"video_id": "text", "duration_s": "number", "completion": "number", "url": "text"},
    "call": {"call_type": "text", "outcome": "text"},
    "consent_change": {"purpose": "text", "granted": "boolean"},
    "crm_change": {"object": "text", "field": "text", "old": "text", "new": "text", "changed_by": "text"},
    "custom": {"name": "text"},
}
"""Event type → its properties. `custom` alone may carry any further property."""

ACTIVITY: Final[frozenset[str]] = frozenset(EVENT_TYPES) - {
    "email_bounce",
    "email_unsubscribe",
    "consent_change",
    "crm_change",
}
"""What a person *did*. Machine opens and clicks are not activity either, whatever their type."""

PROFILE_ATTRIBUTES: Final[tuple[str, ...]] = (
    "first_name",
    "last_name",
    "company",
    "title",
    "phone",
    "city",
    "country",
    "language",
)
"""The attributes every source tries to fill; further ones are allowed."""


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A name a person goes by in one namespace: `email`, or `<vendor>:<scope>` such as `shop:3f2a`."""

    namespace: str
    value: str


@dataclass(frozen=True, slots=True)
class Event:
    """An immutable fact about a person.

    `id` is 32 hex digits derived from the vendor's own id (`event_id`), so the same fact seen twice is one event.
    `occurred_at` is aware and UTC. `properties` holds only what the vocabulary knows for `type` (see EVENT_TYPES).
    `profile` states attributes of the person as of that moment (first_name, company, …); empty strings say nothing.
    `source` is `connection/stream`; the host fills it in.
    """

    id: str
    type: str
    occurred_at: datetime
    identifiers: tuple[Identifier, ...]
    properties: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if self.occurred_at.tzinfo is None:
            raise ValueError(f"event {self.id}: occurred_at has no time zone; give an aware datetime")


def event_id(*parts: str) -> str:
    """A deterministic event id from the vendor's own key: 32 hex digits of SHA-256 over length-prefixed parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()[:32]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, UTC; exact (no floating point on the way)."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_microseconds(value: int) -> datetime:
    """The inverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=value)
