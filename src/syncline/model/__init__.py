"""Frozen values, no I/O."""

from syncline.model.event import (
    ACTIVITY,
    EVENT_TYPES,
    PROFILE_ATTRIBUTES,
    Event,
    Identifier,
    event_id,
    from_microseconds,
    microseconds,
)
from syncline.model.origin import Origin
from syncline.model.record import Account, Page, RawRecord
from syncline.model.write import (
    ChangePage,
    Field,
    FieldKind,
    FieldSpec,
    Limits,
    Member,
    Outcome,
    RemoteRecord,
    RemoteRef,
    Status,
    TaskWrite,
    Value,
    Write,
    Writer,
)

__all__ = [
    "ACTIVITY",
    "EVENT_TYPES",
    "PROFILE_ATTRIBUTES",
    "Account",
    "ChangePage",
    "Event",
    "Field",
    "FieldKind",
    "FieldSpec",
    "Identifier",
    "Limits",
    "Member",
    "Origin",
    "Outcome",
    "Page",
    "RawRecord",
    "RemoteRecord",
    "RemoteRef",
    "Status",
    "TaskWrite",
    "Value",
    "Write",
    "Writer",
    "event_id",
    "from_microseconds",
    "microseconds",
]
