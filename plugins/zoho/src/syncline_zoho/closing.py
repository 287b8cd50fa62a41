"""Tasks taken back: those that are still open are closed, and say that nobody has done them.

Completed surely takes a task off the list of what is to be done; that Deferred does could not be verified, and its name
says that somebody will come back to it. So the subject says what the status cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncline.model import Outcome, RemoteRef, Status, TaskRef
from syncline_zoho.client import Client
from syncline_zoho.payloads import ItemResult, RecordsPage
from syncline_zoho.saving import MOST_IDS, Automation, is_gone, problem_outcome, update
from syncline_zoho.tasks import BODY, SUBJECT, TASKS
from syncline_zoho.values import shortened

__all__ = ["close_tasks"]

_DONE: Final = "Completed"
_TITLE: Final = "Withdrawn, not done: "
_NOTE: Final = "Withdrawn by syncline: the run that created this task was undone. Nobody has done it."
_ASKED: Final = "Status,Subject,Description"


def close_tasks(client: Client, tasks: Sequence[TaskRef], status: str, automation: Automation) -> Sequence[Outcome]:
    """One Outcome per task, same order; a look for each 50, and one call if any is open."""
    there = _open(client, [task.id for task in tasks if task.id.isdigit()], status)
    chosen = [task for task in tasks if task.id in there]
    rows = [_row(there[task.id], status) for task in chosen]
    results = update(client, TASKS, rows, automation.of_tasks()) if rows else []
    ended = {task.key: _outcome(task, result) for task, result in zip(chosen, results, strict=True)}
    return [ended.get(task.key) or _unchanged(task) for task in tasks]


def _open(client: Client, ids: Sequence[str], status: str) -> dict[str, Mapping[str, Any]]:
    """Those that are still to be done; a deleted one is not listed."""
    found: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(ids), MOST_IDS):
        params = {"fields": _ASKED, "ids": ",".join(ids[start : start + MOST_IDS]), "per_page": 200}
        page = client.read("GET", TASKS, params=params).read(RecordsPage)
        found |= {str(row["id"]): row for row in page.data if row.get("Status") not in (_DONE, status)}
    return found


def _row(task: Mapping[str, Any], status: str) -> dict[str, Any]:
    return {
        "id": str(task["id"]),
        "Status": status,
        "Subject": shortened(f"{_TITLE}{task.get('Subject') or ''}", SUBJECT),
        "Description": shortened(f"{_NOTE}\n\n{task.get('Description') or ''}".rstrip(), BODY),
    }


def _outcome(task: TaskRef, result: ItemResult) -> Outcome:
    if result.ok:
        return Outcome(task.key, Status.UPDATED, RemoteRef(TASKS, task.id))
    return _unchanged(task) if is_gone(result) else problem_outcome(task.key, result)


def _unchanged(task: TaskRef) -> Outcome:
    """A person has done or deleted it, or we have closed it by a call whose answer was lost."""
    return Outcome(task.key, Status.UNCHANGED, RemoteRef(TASKS, task.id))
