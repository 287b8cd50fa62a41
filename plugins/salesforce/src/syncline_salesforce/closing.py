"""Tasks taken back: those that are still open are closed, and say so; nobody else's end is touched."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncline.errors import ConfigError
from syncline.model import Outcome, RemoteRef, Status, TaskRef
from syncline_salesforce.client import Client
from syncline_salesforce.payloads import SaveProblem, SaveResult
from syncline_salesforce.saving import outcome_of, problem_outcome, update_records
from syncline_salesforce.tasks import BODY
from syncline_salesforce.values import quoted, shortened

__all__ = ["close_tasks", "closed_status"]

_ID: Final = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_WITHDRAWN: Final = re.compile(
    r"cancel|withdr|obsolet|not needed|no longer|annull|ritirat|non necessari|storn|abgebrochen|annul", re.IGNORECASE
)
"""How a closed status is called that does not claim done work, in the languages we have met."""

_NOTE: Final = "Withdrawn by syncline: the run that created this task was undone. Nobody has done it."
_GONE: Final = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND", "MALFORMED_ID"})


def closed_status(client: Client, wanted: str | None) -> str:
    """The status for a task that is taken back: the one in the settings, else a closed one that says so, else the
    first closed one. ConfigError when the org has none, or not that one."""
    rows = client.query_all("SELECT ApiName, MasterLabel FROM TaskStatus WHERE IsClosed = TRUE ORDER BY SortOrder")
    names = [str(row["ApiName"]) for row in rows]
    if wanted is not None:
        if wanted not in names:
            raise ConfigError(f"task_withdrawn_status: {wanted!r} is no closed task status; there are {names}")
        return wanted
    if not names:
        raise ConfigError("no status of Task is a closed one, so no task can be closed")
    kinder = (str(row["ApiName"]) for row in rows if _WITHDRAWN.search(f"{row['ApiName']} {row['MasterLabel']}"))
    return next(kinder, names[0])


def close_tasks(client: Client, tasks: Sequence[TaskRef], status: str) -> Sequence[Outcome]:
    """One Outcome per task, same order; one read, and one call if any is open."""
    open_now = _open(client, [task.id for task in tasks if _ID.fullmatch(task.id)])
    chosen = [task for task in tasks if task.id[:15] in open_now]
    results = update_records(client, "Task", [_record(open_now[t.id[:15]], status) for t in chosen]) if chosen else []
    ended = {task.key: _outcome(task, result) for task, result in zip(chosen, results, strict=True)}
    return [ended.get(task.key) or _unchanged(task) for task in tasks]


def _open(client: Client, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Those that are still to be done, by the 15 characters of their id."""
    if not ids:
        return {}
    listed = ", ".join(map(quoted, ids))
    query = f"SELECT Id, Description FROM Task WHERE Id IN ({listed}) AND IsClosed = FALSE"  # noqa: S608  # quoted
    return {row["Id"][:15]: row for row in client.query_all(query)}


def _record(task: Mapping[str, Any], status: str) -> dict[str, Any]:
    body = f"{_NOTE}\n\n{task['Description'] or ''}".rstrip()
    return {"id": task["Id"], "Status": status, "IsReminderSet": False, "Description": shortened(body, BODY)}


def _outcome(task: TaskRef, result: SaveResult) -> Outcome:
    if result.success:
        return outcome_of(task.key, "Task", result, created=False)
    problem = result.errors[0] if result.errors else SaveProblem(statusCode="UNKNOWN")
    return problem_outcome(task.key, problem, lambda p: _unchanged(task) if p.code in _GONE else None)


def _unchanged(task: TaskRef) -> Outcome:
    """A person has closed or deleted it, or we have by a call whose answer was lost."""
    return Outcome(task.key, Status.UNCHANGED, RemoteRef("Task", task.id))
