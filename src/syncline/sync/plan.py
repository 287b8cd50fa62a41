"""What a plan is made of: the values between an assessment and the outbox. Nothing here writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from syncline.actions.tasks import Priority, TaskText
from syncline.model import Edit, RemoteRef, Value
from syncline.scoring.result import Assessment
from syncline.segments.transitions import Standing
from syncline.store.dead_letters import Override
from syncline.store.decisions import Case
from syncline.store.profiles import Profile
from syncline.store.runs import BY_ID, ActionRow
from syncline.sync.consent import Consents
from syncline.sync.match import Matches
from syncline.sync.merge import Policy, Verdict
from syncline.sync.opt_outs import OptOuts
from syncline.sync.report import Undecided

__all__ = [
    "BY_ID",
    "ActionRule",
    "BatchPlan",
    "FieldChange",
    "FieldStep",
    "MemberPlan",
    "Reading",
    "RecordPlan",
    "Skipped",
    "TargetPlan",
    "TaskPlan",
    "rank",
]


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
    purpose: str | None = None
    """What the task is for; None: that is not asked."""


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
    overwrites: int = 0
    """Fields that hold something which is lost and was not ours."""


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
    """What the CRM says of a person, and since when; None: nothing any more.

    `owned`: the CRM owns the attribute, so its word holds whatever we knew; else the later word does.
    """

    value: str | None
    at: datetime
    owned: bool = False

    @property
    def order(self) -> tuple[bool, datetime, str]:
        """The greatest of several readings holds, whichever CRM is read first."""
        return self.owned, self.at, self.value or ""


@dataclass(frozen=True, slots=True)
class FieldStep:
    """How one field was decided: all three sides, who changed it there, what is done, and why."""

    person_id: int
    object: str
    id: str
    field: str
    policy: Policy
    acknowledged: Value
    remote: Value
    edit: Edit
    desired: Value
    desired_at: datetime | None
    verdict: Verdict
    why: str


@dataclass(slots=True)
class TargetPlan:
    """The part of a batch that concerns one CRM."""

    matches: Matches
    records: list[RecordPlan] = field(default_factory=list)
    tasks: list[TaskPlan] = field(default_factory=list)
    members: list[MemberPlan] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    undecided: list[Undecided] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    """Those fields, and the ones that somebody has decided: as the queue is to hold them."""
    inherited: dict[RemoteRef, dict[str, Value]] = field(default_factory=dict)
    """Record that another one lives on as → what that one had accepted from us, and this one holds."""
    steps: list[FieldStep] = field(default_factory=list)
    """How each field was decided, for whoever asked for it."""
    unchanged: int = 0
    drift: int = 0
    left: list[tuple[str, int]] = field(default_factory=list)
    """(list, person) who left our segment, and whom somebody else had put on the CRM's list: they stay there."""
    waiting: int = 0
    """Tasks of people who are not in this CRM yet."""
    overrides: dict[tuple[str, str, str], Override] = field(default_factory=dict)
    """(our key, object, field) → the value a person gave it when the CRM had refused ours."""
    left_alone: set[tuple[str, str, str]] = field(default_factory=set)
    """(operation, object, key) of dead letters that stay: discarded ones, and those whose values people gave."""
    unfit: Counter[str] = field(default_factory=Counter)
    """Field and reason → values of ours that the field cannot hold, and that are left out."""
    read: dict[int, dict[str, Reading]] = field(default_factory=dict)
    """Person → attributes that follow what stands there: those the CRM owns, and shared ones where it has won."""
    acknowledged: dict[RemoteRef, dict[str, Value]] = field(default_factory=dict)
    """Record → what it has accepted from us, what it inherits included."""
    consents: Consents = field(default_factory=Consents)
    opt_outs: OptOuts = field(default_factory=OptOuts)
    withheld: Counter[str] = field(default_factory=Counter)
    """Reason → fields, tasks and memberships that would be written if the person allowed it."""

    def allows(self, person: int, purpose: str | None) -> bool:
        """Whether something may be written to this person for this purpose; counted where it may not."""
        reason = self.consents.refusal(person, purpose)
        if reason is not None:
            self.withheld[reason] += 1
        return reason is None


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
    read: dict[int, dict[str, Reading]] = field(default_factory=dict)
    """Person → attribute → what we know from now on, of all that the CRMs say."""


def rank(assessment: Assessment) -> int:
    """Hot people first: the highest of a person's scores, in hundredths."""
    return max((int(score.value.scaleb(2)) for score in assessment.scores.values()), default=0)
