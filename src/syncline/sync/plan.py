"""What a plan is made of: the values between an assessment and the outbox. Nothing here writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from syncline.actions.tasks import Priority, TaskText
from syncline.model import RemoteRef, Value
from syncline.scoring.result import Assessment
from syncline.segments.transitions import Standing
from syncline.store.profiles import Profile
from syncline.store.runs import ActionRow
from syncline.sync.match import Matches
from syncline.sync.report import Undecided

__all__ = [
    "BY_ID",
    "ActionRule",
    "BatchPlan",
    "FieldChange",
    "MemberPlan",
    "Reading",
    "RecordPlan",
    "Skipped",
    "TargetPlan",
    "TaskPlan",
    "rank",
]

BY_ID: Final = "Id"
"""The match of a write that updates the record with this id and never creates one."""


@dataclass(frozen=True, slots=True)
class ActionRule:
    """A task that follows from entering (or leaving) a segment or a band.

    `rule` is `segment:lead_caldo` or `band:interesse.caldo`; `priority` None grows with `score`.
    """

    name: str
    rule: str
    on: str
    connection: str
    text: TaskText
    due: timedelta
    score: str | None = None
    priority: Priority | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`clears`: what stood there is lost, and it was not ours (an emptied field, a tick somebody made)."""

    field: str
    before: Value
    after: Value
    drift: bool = False
    clears: bool = False


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One record to write. `ref` None: it is created."""

    person: Profile
    object: str
    ref: RemoteRef | None
    match: str
    """What addresses the record: `Id`, or for one to be created the field that carries our key."""
    changes: tuple[FieldChange, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class TaskPlan:
    action: ActionRow
    rank: int


@dataclass(frozen=True, slots=True)
class MemberPlan:
    segment: str
    person_id: int
    key: str
    add: bool
    ref: RemoteRef | None
    rank: int
    group: str = ""
    """The object whose members go together in a call, where the CRM wants that."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A person who is not written, and why: a conflict, a deleted record, nothing to create a record from."""

    person_id: int
    key: str
    reason: str


class Reading(NamedTuple):
    """What the CRM says of a person, and since when; None: nothing any more."""

    value: str | None
    at: datetime


@dataclass(slots=True)
class TargetPlan:
    """The part of a batch that concerns one CRM."""

    matches: Matches
    records: list[RecordPlan] = field(default_factory=list)
    tasks: list[TaskPlan] = field(default_factory=list)
    members: list[MemberPlan] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    undecided: list[Undecided] = field(default_factory=list)
    unchanged: int = 0
    drift: int = 0
    left: list[tuple[str, int]] = field(default_factory=list)
    """(list, person) who left our segment, and whom somebody else had put on the CRM's list: they stay there."""
    waiting: int = 0
    """Tasks of people who are not in this CRM yet."""
    unfit: Counter[str] = field(default_factory=Counter)
    """Field and reason → values of ours that the field cannot hold, and that are left out."""
    read: dict[int, dict[str, Reading]] = field(default_factory=dict)
    """Person → attributes the CRM owns, as they stand there."""


@dataclass(slots=True)
class BatchPlan:
    """What follows from some people's assessments."""

    assessments: list[Assessment]
    people: dict[int, Profile]
    standings: dict[tuple[int, str], Standing] = field(default_factory=dict)
    actions: list[ActionRow] = field(default_factory=list)
    targets: dict[str, TargetPlan] = field(default_factory=dict)
    taken_back: dict[int, str] = field(default_factory=dict)
    """Person → the key a CRM still holds of them, from before our books were lost."""


def rank(assessment: Assessment) -> int:
    """Hot people first: the highest of a person's scores, in hundredths."""
    return max((int(score.value.scaleb(2)) for score in assessment.scores.values()), default=0)
