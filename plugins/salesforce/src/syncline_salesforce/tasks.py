"""Tasks for sales people. Our key in a unique custom field of Activity makes a repeated creation harmless."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncline.model import FieldSpec, Outcome, RemoteRef, Status, TaskWrite
from syncline_salesforce.client import Client
from syncline_salesforce.payloads import SaveProblem, SaveResult
from syncline_salesforce.saving import create_records, outcome_of, problem_outcome
from syncline_salesforce.values import long_id, shortened, soql_datetime

__all__ = ["BODY", "create_tasks", "key_spec"]

_PRIORITIES: Final[Mapping[str, str]] = {"low": "Low", "normal": "Normal", "high": "High", "urgent": "High"}
_SUBJECT: Final = 255
BODY: Final = 32_000
"""Lengths of Task.Subject and Task.Description (Salesforce object reference, Task, read 2026-11)."""

_TAKEN: Final = re.compile(r"duplicates value on record with id: (\w{15,18})")


def key_spec(name: str) -> FieldSpec:
    """Custom fields of tasks are made on Activity, and show on Task (unverified for unique ones)."""
    return FieldSpec("Activity", name, "text", "Syncline key", max_length=64, unique=True)


def create_tasks(client: Client, tasks: Sequence[TaskWrite], key_field: str, owner: str | None) -> Sequence[Outcome]:
    """One Outcome per task, same order; one call."""
    results = create_records(client, "Task", [_record(t, key_field, owner) for t in tasks])
    return [_outcome(t, r, key_field) for t, r in zip(tasks, results, strict=True)]


def _record(task: TaskWrite, key_field: str, owner: str | None) -> dict[str, Any]:
    about = "WhoId" if task.about.object in ("Lead", "Contact") else "WhatId"
    record = {
        "Subject": shortened(task.subject, _SUBJECT),
        "Description": shortened(task.body, BODY),
        about: task.about.id,
        "ActivityDate": task.due.date().isoformat(),
        "ReminderDateTime": soql_datetime(task.due),
        "IsReminderSet": True,
        "Priority": _PRIORITIES[task.priority],
        "Status": "Not Started",
        key_field: task.key,
    }
    chosen = task.owner or owner
    return record | ({"OwnerId": chosen} if chosen else {})


def _outcome(task: TaskWrite, result: SaveResult, key_field: str) -> Outcome:
    if result.success:
        return outcome_of(task.key, "Task", result, created=True)
    problem = result.errors[0] if result.errors else SaveProblem(statusCode="UNKNOWN")
    return problem_outcome(task.key, problem, lambda p: _already(task, p, key_field))


def _already(task: TaskWrite, problem: SaveProblem, key_field: str) -> Outcome | None:
    """A task with our key is there: an earlier answer was lost."""
    if problem.code != "DUPLICATE_VALUE" or (key_field not in problem.message and key_field not in problem.fields):
        return None
    match = _TAKEN.search(problem.message)
    return Outcome(task.key, Status.UNCHANGED, RemoteRef("Task", long_id(match[1])) if match else None)
