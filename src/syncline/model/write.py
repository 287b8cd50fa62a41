"""What goes to a CRM and what comes back from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

__all__ = [
    "ChangePage",
    "Edit",
    "Field",
    "FieldKind",
    "FieldSpec",
    "Limits",
    "Member",
    "Outcome",
    "RemoteRecord",
    "RemoteRef",
    "Status",
    "TaskRef",
    "TaskWrite",
    "Value",
    "Write",
    "Writer",
]

Value = str | int | bool | Decimal | date | datetime | None
"""What a CRM field can hold. Numbers with a fraction are Decimal: what we wrote is what we compare with."""

FieldKind = Literal["text", "number", "boolean", "date", "datetime", "option", "options", "reference"]
Writer = Literal["us", "person", "system", "unknown"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a CRM object as the CRM describes it now."""

    name: str
    kind: FieldKind
    label: str = ""
    writable: bool = True
    required: bool = False
    unique: bool = False
    max_length: int | None = None
    scale: int | None = None
    options: tuple[str, ...] = ()
    """The values a picklist accepts; empty when it accepts any."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field that a sync needs and `prepare` may create."""

    object: str
    name: str
    kind: FieldKind
    label: str
    max_length: int | None = None
    scale: int | None = None
    unique: bool = False


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """One record in one CRM."""

    object: str
    id: str


@dataclass(frozen=True, slots=True)
class Edit:
    """When one field was last changed, and by whom, as far as the CRM tells. `who` is its own name or id of them."""

    at: datetime | None
    by: Writer = "unknown"
    who: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """A CRM record as it stands, and who changed it last.

    `fields` holds every field that was asked for (None when empty). `emails` are as typed there.
    `successor` is the record this one lives on as (a converted lead's contact, a merge's survivor).
    A deletion is a tombstone: `deleted` with empty fields.

    `edits` tells of single fields who changed them last, where the CRM keeps such a history; of all other fields
    `changed_at` and `changed_by` of the record are what is known. `changed_who` is the CRM's own name or id of them.
    """

    ref: RemoteRef
    fields: Mapping[str, Value]
    emails: tuple[str, ...] = ()
    changed_at: datetime | None = None
    changed_by: Writer = "unknown"
    deleted: bool = False
    successor: RemoteRef | None = None
    changed_who: str | None = None
    edits: Mapping[str, Edit] = field(default_factory=dict)

    def edit(self, name: str) -> Edit:
        """Who changed this field last, as far as the CRM tells: of the field itself, else of the record."""
        return self.edits.get(name) or Edit(self.changed_at, self.changed_by, self.changed_who)


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some changed records of one object and the cursor after them."""

    records: Sequence[RemoteRecord]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Write:
    """The fields of one record. An absent field is left alone, None clears it.

    `match` says which record: ("Id", remote id) updates that record and never creates one; (a unique field, value)
    updates the record that holds this value or creates it. `key` is ours, for logs and outcomes.
    """

    key: str
    match: tuple[str, str]
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class TaskWrite:
    """A task for a sales person. `key` is unique in the CRM, so that the same task is never created twice."""

    key: str
    about: RemoteRef
    subject: str
    body: str
    due: datetime
    priority: Literal["low", "normal", "high", "urgent"]
    owner: str | None = None
    """The CRM's own user id; None leaves the choice to the CRM (the record's owner where it has one)."""


@dataclass(frozen=True, slots=True)
class TaskRef:
    """A task we created: our key, and the id the CRM gave it."""

    key: str
    id: str


@dataclass(frozen=True, slots=True)
class Member:
    """One record in, or out of, a segment. `key` is ours, for logs and outcomes."""

    key: str
    ref: RemoteRef


class Status(StrEnum):
    """What became of one write."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    """It was already so: a replay of what a crash had hidden from us."""
    REJECTED = "rejected"
    """Permanently, for the reason given; a dead letter until the data or the CRM changes."""
    RETRY = "retry"
    """This record alone met weather (a lock, say): it comes again on the next run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one write, in the order of the writes. `reason` is the CRM's own words."""

    key: str
    status: Status
    ref: RemoteRef | None = None
    reason: str | None = None
    code: str | None = None

    @property
    def ok(self) -> bool:
        return self.status in (Status.CREATED, Status.UPDATED, Status.UNCHANGED)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may carry. Each connector gives the source and the date of its numbers beside them.

    From `bulk_from` writes of one object on, batches of `bulk_batch` go through the vendor's bulk interface,
    at about `bulk_calls` calls a batch; None means there is none.

    `members_by_object`: a membership call carries records of one object only, where tags belong to an object.

    `credit_rows` is for vendors that count credits and not calls: operation (`upsert`, `task`, `member`, `bulk`) → how
    many rows one credit carries (a started one counts whole); for `bulk` it is what a whole job costs.
    """

    upsert_batch: int
    task_batch: int
    member_batch: int
    bulk_from: int | None = None
    bulk_batch: int = 0
    bulk_calls: int = 0
    calls_per_day: int | None = None
    members_by_object: bool = False
    credit_rows: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, int] = field(default_factory=dict)
