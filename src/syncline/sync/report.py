"""What a run or a plan says of itself: the documented JSON of `plan`, `run` and `demo`."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from syncline.model import Limits

__all__ = [
    "RecordChange",
    "Report",
    "ScoreReport",
    "SinkReport",
    "SourceReport",
    "Undecided",
    "WebhookReport",
    "calls_for",
    "credits_for",
    "plan_batches",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


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


class ScoreReport(_Model):
    model: str
    version: int
    bands: dict[str, int] = Field(default_factory=dict, description="band -> people; '-' is below every band")


class RecordChange(_Model):
    """One row that is, or was, to be written."""

    operation: Literal["create", "update", "task", "add", "remove"]
    object: str
    person: str = Field(description="our opaque key")
    id: str | None = Field(default=None, description="the CRM's id; none for a record that is created")
    fields: dict[str, tuple[Any, Any]] = Field(default_factory=dict, description="field -> [before, after]")
    subject: str | None = None
    status: str | None = Field(default=None, description="of a run: what became of it")
    reason: str | None = None


class Undecided(_Model):
    """A field both sides changed, where the policy is to ask."""

    person: str
    object: str
    id: str
    field: str
    theirs: Any
    ours: Any


class SinkReport(_Model):
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
    conflicts: int = 0
    skipped: dict[str, int] = Field(default_factory=dict, description="reason -> people who were not written")
    waiting: int = Field(default=0, description="tasks and members whose person is not in the CRM yet")
    unfit: dict[str, int] = Field(default_factory=dict, description="values of ours their field cannot hold, left out")
    drift: int = Field(default=0, description="fields of ours that somebody else had changed")
    undecided: int = Field(default=0, description="fields where both sides changed and the policy is to ask")
    to_decide: list[Undecided] = Field(default_factory=list, description="those fields, each with both values")
    parked: list[str] = Field(default_factory=list, description="mappings the CRM cannot take, each with its reason")
    error: str | None = None
    webhook: WebhookReport | None = Field(default=None, description="none for a CRM that sends no webhooks")
    notices: int = Field(default=0, description="what its webhooks said since the last run: that something changed")
    changes: list[RecordChange] = Field(default_factory=list)


class Report(_Model):
    """`status`: done, rejected (some rows), stopped (a guard or a drift), paused (credentials), misconfigured (only the
    vendor could tell that a setting is wrong), planned."""

    run_id: str | None = None
    status: Literal["planned", "done", "rejected", "stopped", "paused", "misconfigured"] = "done"
    as_of: str = ""
    sources: dict[str, SourceReport] = Field(default_factory=dict)
    people: int = 0
    events: int = 0
    scores: dict[str, ScoreReport] = Field(default_factory=dict)
    segments: dict[str, int] = Field(default_factory=dict)
    sinks: dict[str, SinkReport] = Field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return {"planned": 0, "done": 0, "rejected": 1, "misconfigured": 2, "stopped": 3, "paused": 4}[self.status]


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
    rows = limits.credit_rows[operation if operation in ("upsert", "task") else "member"]
    return -(-size // rows)


def plan_batches(operation: str, count: int, limits: Limits) -> list[int]:
    """The sizes of the batches that carry `count` rows; one larger than `upsert_batch` is a bulk job.

    From `bulk_from` on the rows go in bulk, but for a last few that cost less as ordinary calls.
    """
    size = {"upsert": limits.upsert_batch, "task": limits.task_batch}.get(operation, limits.member_batch)
    if operation != "upsert" or limits.bulk_from is None or count < limits.bulk_from:
        return _cut(count, size)
    *jobs, last = _cut(count, limits.bulk_batch)
    ordinary = _cut(last, size)
    return [*jobs, *ordinary] if last <= size or (jobs and len(ordinary) < limits.bulk_calls) else [*jobs, last]


def _cut(count: int, size: int) -> list[int]:
    return [min(size, count - start) for start in range(0, count, size)]
