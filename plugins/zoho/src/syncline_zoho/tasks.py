"""Tasks for sales people. Our key in a unique field of theirs makes a repeated creation harmless (sheet §11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from syncline.model import FieldSpec, Outcome, RemoteRef, Status, TaskWrite
from syncline_zoho.client import Client
from syncline_zoho.payloads import ItemResult
from syncline_zoho.saving import Automation, insert, problem_outcome
from syncline_zoho.values import shortened

__all__ = ["BODY", "SUBJECT", "TASKS", "create_tasks", "key_spec"]

TASKS: Final = "Tasks"
_PRIORITIES: Final[Mapping[str, str]] = {"low": "Low", "normal": "Normal", "high": "High", "urgent": "Highest"}
SUBJECT: Final = 255
BODY: Final = 32_000


def key_spec(name: str) -> FieldSpec:
    """Whether every edition allows a unique field on tasks could not be verified; `prepare` looks after creating it."""
    return FieldSpec(TASKS, name, "text", "Syncline key", max_length=64, unique=True)


def create_tasks(
    client: Client, tasks: Sequence[TaskWrite], key_field: str, owner: str | None, automation: Automation
) -> Sequence[Outcome]:
    """One Outcome per task, same order; one call."""
    results = insert(client, TASKS, [_row(t, key_field, owner) for t in tasks], automation.of_tasks())
    return [_outcome(t, r, key_field) for t, r in zip(tasks, results, strict=True)]


def _row(task: TaskWrite, key_field: str, owner: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "Subject": shortened(task.subject, SUBJECT),
        "Description": shortened(_body(task), BODY),
        "Due_Date": task.due.astimezone(UTC).date().isoformat(),
        "Priority": _PRIORITIES[task.priority],
        "Status": "Not Started",
        key_field: task.key,
        **_about(task.about),
    }
    chosen = task.owner or owner
    return row | ({"Owner": {"id": chosen}} if chosen else {})


def _body(task: TaskWrite) -> str:
    """With the hour: a due date has none."""
    hour = task.due.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{task.body}\n\n[{hour}]"


def _about(ref: RemoteRef) -> dict[str, Any]:
    """`Who_Id` is for contacts only; everything else is `What_Id` with its module."""
    if ref.object == "Contacts":
        return {"Who_Id": {"id": ref.id}}
    return {"What_Id": {"id": ref.id}, "$se_module": ref.object}


def _outcome(task: TaskWrite, result: ItemResult, key_field: str) -> Outcome:
    if result.ok:
        return Outcome(task.key, Status.CREATED, RemoteRef(TASKS, result.id) if result.id else None)
    for twin in result.duplicates:  # an earlier answer was lost; since then more may be wrong with its words
        if twin.field == key_field:
            return Outcome(task.key, Status.UNCHANGED, RemoteRef(TASKS, twin.holder) if twin.holder else None)
    return problem_outcome(task.key, result)
