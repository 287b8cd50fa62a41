"""Tasks taken back: those that are still open are closed, and say that nobody has done them.

The one closed status is COMPLETED (recorded: hs_task_is_completed is then 1), so the title says what the status cannot.
That DEFERRED counts as open could not be verified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hubspot.crm import objects

from syncline.model import Outcome, RemoteRef, Status, TaskRef
from syncline_hubspot.client import Client
from syncline_hubspot.payloads import Record
from syncline_hubspot.saving import Answered, raise_on_drift, refused_outcome, sorted_out
from syncline_hubspot.tasks import TASKS
from syncline_hubspot.values import LONGEST

__all__ = ["close_tasks"]

_DONE: Final = "COMPLETED"
_TITLE: Final = "Withdrawn, not done: "
_NOTE: Final = "<p>Withdrawn by syncline: the run that created this task was undone. Nobody has done it.</p>"
_ID: Final = re.compile(r"[0-9]{1,19}")
_ASKED: Final = ("hs_task_status", "hs_task_subject", "hs_task_body")


def close_tasks(client: Client, tasks: Sequence[TaskRef]) -> Sequence[Outcome]:
    """One Outcome per task, same order; one read, and one call if any is open."""
    asked = [task.id for task in tasks if _ID.fullmatch(task.id)]
    there = {record.id: record for record in client.read(TASKS, asked, _ASKED).results} if asked else {}
    chosen = [task for task in tasks if task.id in there and there[task.id].properties.get("hs_task_status") != _DONE]
    inputs = [_input(there[task.id], number) for number, task in enumerate(chosen)]
    found: Sequence[Answered] = ()
    if inputs:
        found = sorted_out(client.update(TASKS, inputs), [("Id", task.id) for task in chosen])
        raise_on_drift(found, TASKS)
    ended = {task.key: _outcome(task, answered) for task, answered in zip(chosen, found, strict=True)}
    return [ended.get(task.key) or _unchanged(task) for task in tasks]


def _input(task: Record, number: int) -> objects.SimplePublicObjectBatchInput:
    held = task.properties
    return objects.SimplePublicObjectBatchInput(
        id=task.id,
        properties={
            "hs_task_status": _DONE,
            "hs_task_subject": f"{_TITLE}{held.get('hs_task_subject') or ''}"[:LONGEST],
            "hs_task_body": f"{_NOTE}{held.get('hs_task_body') or ''}"[:LONGEST],
        },
        object_write_trace_id=str(number),
    )


def _outcome(task: TaskRef, answered: Answered) -> Outcome:
    if answered.record is not None:
        return Outcome(task.key, Status.UPDATED, RemoteRef(TASKS, task.id))
    if answered.problem is None:
        return Outcome(task.key, Status.RETRY, reason="the answer does not mention this task", code="UNANSWERED")
    if answered.problem.category == "OBJECT_NOT_FOUND":
        return _unchanged(task)  # deleted since we looked
    return refused_outcome(task.key, answered.problem)


def _unchanged(task: TaskRef) -> Outcome:
    """A person has closed or deleted it, or we have by a call whose answer was lost."""
    return Outcome(task.key, Status.UNCHANGED, RemoteRef(TASKS, task.id))
