"""What a run or a plan says of itself: the documented JSON of `plan`, `run` and `demo`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from syncline.model import Limits
from syncline.store.runs import OutboxRow

__all__ = [
    "FieldDecision",
    "Journey",
    "Kept",
    "MatchReport",
    "RecordChange",
    "Report",
    "RolloutReport",
    "ScoreReport",
    "SinkReport",
    "SourceReport",
    "Trouble",
    "Undecided",
    "WebhookReport",
    "calls_for",
    "credits_for",
    "operations_of",
    "plan_batches",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


Trouble = Literal["credentials", "settings", "guard", "drift", "weather", "plugin", "refused"]
"""What kind of trouble an error is, by what has to be done about it."""


class WebhookReport(_Model):
    """A connection's webhooks of the last `raw_retention`, in whole days: each is in one of the first three."""

    received: int = 0
    duplicate: int = Field(default=0, description="the same body again")
    refused: int = Field(
        default=0, description="not what they claimed to be, too large or too many; nothing of them was stored"
    )
    reasons: dict[str, int] = Field(default_factory=dict, description="why they were refused -> how many")
    unread: int = Field(default=0, description="of those received, the plugin cannot read these; `replay` tries again")


class SourceReport(_Model):
    """read = stored + duplicate + quarantined, always."""

    read: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    events: int = 0
    machine: int = Field(default=0, description="events judged to be a proxy's or a scanner's; kept, never scored")
    cleansed: dict[str, int] = Field(default_factory=dict, description="rule -> how often it applied")
    webhook: WebhookReport | None = Field(default=None, description="none for a source that takes no webhooks")
    only_webhook: int = Field(default=0, description="events of the last `raw_retention` that no poll has brought")
    only_poll: int = Field(default=0, description="those that no webhook has brought, of types that webhooks bring")
    both: int = Field(default=0, description="those that came both ways")
    calls: int = 0
    error: str | None = None
    trouble: Trouble | None = Field(default=None, description="what kind of trouble `error` is")


class ScoreReport(_Model):
    model: str
    version: int
    bands: dict[str, int] = Field(default_factory=dict, description="band -> people; '-' is below every band")


class RecordChange(_Model):
    """One row that is, or was, to be written."""

    operation: Literal["create", "update", "task", "close", "add", "remove"]
    object: str
    person: str = Field(description="our opaque key")
    id: str | None = Field(default=None, description="the CRM's id; none for a record that is created")
    fields: dict[str, tuple[Any, Any]] = Field(default_factory=dict, description="field -> [before, after]")
    subject: str | None = None
    status: str | None = Field(default=None, description="of a run: what became of it")
    reason: str | None = None


class Undecided(_Model):
    """A field both sides changed, where the policy is to ask."""

    case: str = Field(description="what `syncline conflicts decide` calls it")
    person: str
    object: str
    id: str
    field: str
    theirs: Any
    ours: Any


class Kept(_Model):
    """Something of an undone run that stays as it is, and why."""

    operation: Literal["record", "task"]
    object: str
    id: str | None
    person: str = Field(description="our opaque key; of a task, the task's")
    field: str | None = None
    reason: str


class MatchReport(_Model):
    """Whom a first run found in the CRM."""

    known: int = Field(default=0, description="people whose record we had already written to")
    by_key: int = Field(default=0, description="people whose record carries our key")
    by_email: int = Field(default=0, description="people whose record shows their address")
    other_case: int = Field(default=0, description="of these, whose address is written in other letter case there")
    ambiguous: int = Field(default=0, description="people with several records, or another's: a person decides")
    absent: int = Field(default=0, description="people who would be created")
    examples: dict[str, list[str]] = Field(default_factory=dict, description="which of these -> some keys of ours")


class RolloutReport(_Model):
    """How far the first runs into a CRM have got."""

    stage: Literal["match", "updates", "creates", "whole"]
    wave: int | None = Field(default=None, description="of `creates`: which one this was, from 1")
    held: dict[str, int] = Field(default_factory=dict, description="creates, updates, tasks, members -> how many wait")
    match: MatchReport | None = Field(default=None, description="of `match`: whom it found")
    next: str = Field(description="what comes next, and who says so")


class FieldDecision(_Model):
    """How one field of one person was decided: all three sides, and what came of it."""

    object: str
    id: str
    field: str
    policy: str
    accepted: Any = Field(description="what the CRM last accepted from us")
    theirs: Any = Field(description="what stands there now")
    changed_by: str = Field(
        description="who changed it there last: the CRM's name of them, or us, person, system, unknown"
    )
    changed_at: str | None
    ours: Any = Field(description="what we would have there")
    ours_since: str | None
    verdict: str = Field(description="keep, write, drift or ask")
    why: str


class Journey(_Model):
    """One person's way through a plan, when a run is for them alone."""

    found: str = Field(description="which record they are and how we know; or why they are none")
    fields: list[FieldDecision] = Field(default_factory=list)


class SinkReport(_Model):
    planned_writes: int = Field(default=0, description="rows of the plan: each meets one outcome")
    planned_calls: int = 0
    planned_credits: int | None = Field(default=None, description="what they cost, where the vendor counts credits")
    calls: int = 0
    write_calls: int = 0
    least_write_calls: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    retry: int = Field(default=0, description="writes that met weather; they come again on the next run")
    tasks: int = 0
    members: int = 0
    closed: int = Field(default=0, description="tasks of an undone run that are closed now")
    kept: list[Kept] = Field(
        default_factory=list, description="what an undone run leaves as it is, each with its reason"
    )
    paused: str | None = Field(default=None, description="why nothing is written to this CRM, and until when")
    conflicts: int = 0
    skipped: dict[str, int] = Field(default_factory=dict, description="reason -> people who were not written")
    waiting: int = Field(default=0, description="tasks and members whose person is not in the CRM yet")
    unfit: dict[str, int] = Field(default_factory=dict, description="values of ours their field cannot hold, left out")
    withheld: dict[str, int] = Field(
        default_factory=dict, description="reason -> fields, tasks and memberships that people do not allow"
    )
    opt_outs: int = Field(default=0, description="people opted out there because another side says so")
    crm_changes: int = Field(default=0, description="events: what others changed there in fields that are theirs")
    drift: int = Field(default=0, description="fields of ours that somebody else had changed")
    undecided: int = Field(default=0, description="fields that wait for a decision, where the policy is to ask")
    to_decide: list[Undecided] = Field(default_factory=list, description="those fields, each with both values")
    parked: list[str] = Field(default_factory=list, description="mappings the CRM cannot take, each with its reason")
    recovered: list[str] = Field(default_factory=list, description="mappings that were parked, and are written again")
    allowed: dict[str, int] = Field(
        default_factory=dict, description="what a person let this run do beyond the guard -> how many of it"
    )
    rollout: RolloutReport | None = Field(default=None, description="none for a CRM that is past its first runs")
    error: str | None = None
    trouble: Trouble | None = Field(default=None, description="what kind of trouble `error` is")
    webhook: WebhookReport | None = Field(default=None, description="none for a CRM that sends no webhooks")
    notices: int = Field(default=0, description="what its webhooks said since the last run: that something changed")
    journey: Journey | None = Field(default=None, description="of a run for one person: how it came about")
    changes: list[RecordChange] = Field(default_factory=list)

    def withhold(self, reasons: Mapping[str, int]) -> None:
        """Count what is not written because people do not allow it."""
        for reason, count in reasons.items():
            self.withheld[reason] = self.withheld.get(reason, 0) + count


class Report(_Model):
    """`status`: done, rejected (some rows), stopped (a guard or a drift), paused (credentials), misconfigured (only the
    vendor could tell that a setting is wrong), interrupted (somebody stopped it), planned."""

    run_id: str | None = None
    undoes: str | None = Field(default=None, description="the run that this one takes back")
    status: Literal["planned", "done", "rejected", "stopped", "paused", "misconfigured", "interrupted"] = "done"
    as_of: str = ""
    sources: dict[str, SourceReport] = Field(default_factory=dict)
    people: int = 0
    events: int = 0
    scores: dict[str, ScoreReport] = Field(default_factory=dict)
    segments: dict[str, int] = Field(default_factory=dict)
    sinks: dict[str, SinkReport] = Field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        codes = {"planned": 0, "done": 0, "rejected": 1, "misconfigured": 2, "stopped": 3, "paused": 4}
        return codes.get(self.status, 130)  # interrupted, as shells say it


def operations_of(rows: Iterable[OutboxRow]) -> Counter[tuple[str, str, str]]:
    """(operation, object, match) → how many rows of it."""
    return Counter((row.operation, row.object, row.match) for row in rows)


def calls_for(rows: Counter[tuple[str, str, str]], limits: Limits) -> int:
    """The write calls that carry these rows: the fewest the vendor's batch sizes allow."""
    return sum(
        limits.bulk_calls if operation == "upsert" and size > limits.upsert_batch else 1
        for (operation, _, _), count in rows.items()
        for size in plan_batches(operation, count, limits)
    )


def credits_for(rows: Counter[tuple[str, str, str]], limits: Limits) -> int | None:
    """What these rows cost a vendor that counts credits and not calls; None for one that counts calls."""
    if not limits.credit_rows:
        return None
    return sum(
        _credits(operation, size, limits)
        for (operation, _, _), count in rows.items()
        for size in plan_batches(operation, count, limits)
    )


def _credits(operation: str, size: int, limits: Limits) -> int:
    if operation == "upsert" and size > limits.upsert_batch:
        return limits.credit_rows["bulk"]
    kind = {"upsert": "upsert", "task": "task", "close": "task"}.get(operation, "member")
    rows = limits.credit_rows[kind]
    return -(-size // rows)


def plan_batches(operation: str, count: int, limits: Limits) -> list[int]:
    """The sizes of the batches that carry `count` rows; one larger than `upsert_batch` is a bulk job.

    From `bulk_from` on the rows go in bulk, but for a last few that cost less as ordinary calls.
    """
    size = {"upsert": limits.upsert_batch, "task": limits.task_batch, "close": limits.task_batch}.get(
        operation, limits.member_batch
    )
    if operation != "upsert" or limits.bulk_from is None or count < limits.bulk_from:
        return _cut(count, size)
    *jobs, last = _cut(count, limits.bulk_batch)
    ordinary = _cut(last, size)
    return [*jobs, *ordinary] if last <= size or (jobs and len(ordinary) < limits.bulk_calls) else [*jobs, last]


def _cut(count: int, size: int) -> list[int]:
    return [min(size, count - start) for start in range(0, count, size)]
