"""What a run or a plan says of itself: the documented JSON of `plan`, `run` and `demo`."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["RecordChange", "Report", "ScoreReport", "SinkReport", "SourceReport", "Undecided", "calls_for"]

from syncline.model import Limits


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SourceReport(_Model):
    """read = stored + duplicate + quarantined, always."""

    read: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    events: int = 0
    machine: int = Field(default=0, description="events judged to be a proxy's or a scanner's; kept, never scored")
    cleansed: dict[str, int] = Field(default_factory=dict, description="rule -> how often it applied")
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
    calls: int = 0
    write_calls: int = 0
    least_write_calls: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    retry: int = Field(default=0, description="met weather; they come again on the next run")
    tasks: int = 0
    members: int = 0
    conflicts: int = 0
    skipped: dict[str, int] = Field(default_factory=dict, description="reason -> people who were not written")
    drift: int = Field(default=0, description="fields of ours that somebody else had changed")
    undecided: int = Field(default=0, description="fields where both sides changed and the policy is to ask")
    to_decide: list[Undecided] = Field(default_factory=list, description="those fields, each with both values")
    parked: list[str] = Field(default_factory=list, description="mappings the CRM cannot take, each with its reason")
    error: str | None = None
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
    return sum(_calls(operation, count, limits) for (operation, _, _), count in rows.items())


def _calls(operation: str, count: int, limits: Limits) -> int:
    if operation == "upsert" and limits.bulk_from is not None and count >= limits.bulk_from:
        return -(-count // limits.bulk_batch) * limits.bulk_calls
    size = {"upsert": limits.upsert_batch, "task": limits.task_batch}.get(operation, limits.member_batch)
    return -(-count // size)
