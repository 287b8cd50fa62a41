"""Tasks for sales people. Our key in a unique property makes a repeated creation harmless (vendor sheet §9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubspot.crm import objects

from syncline.errors import ConfigError
from syncline.model import FieldSpec, Outcome, RemoteRef, Status, TaskWrite
from syncline_hubspot.client import Client
from syncline_hubspot.errors import RefusedError
from syncline_hubspot.payloads import RecordProblem
from syncline_hubspot.saving import Answered, lost_race, raise_on_drift, refused_outcome, sorted_out
from syncline_hubspot.values import LONGEST, printed

__all__ = ["TASKS", "create_tasks", "key_spec"]

TASKS: Final = "tasks"

_PRIORITIES: Final[Mapping[str, str]] = {"low": "LOW", "normal": "MEDIUM", "high": "HIGH", "urgent": "HIGH"}
_ASSOCIATIONS: Final[Mapping[str, int]] = {"contacts": 204, "companies": 192, "deals": 216}
"""Type ids from a task (vendor sheet §9): to contacts documented, the others unverified."""


def key_spec(name: str) -> FieldSpec:
    return FieldSpec(TASKS, name, "text", "Syncline key", max_length=64, unique=True)


def create_tasks(
    client: Client, tasks: Sequence[TaskWrite], key_field: str, *, kind: str, owner: str | None
) -> Sequence[Outcome]:
    """One Outcome per task, same order; one call, and one more when some are there already."""
    inputs = [_input(t, number, key_field, kind, owner) for number, t in enumerate(tasks)]
    try:
        answered = sorted_out(client.create(TASKS, inputs), [(key_field, t.key) for t in tasks])
    except RefusedError as error:
        if not _says_taken(error.category, error, key_field):
            raise
        return _without_those_there(client, tasks, key_field, error, kind=kind, owner=owner)
    raise_on_drift(answered, TASKS)
    taken = [t.key for t, a in zip(tasks, answered, strict=True) if a.problem and _taken(a.problem, key_field)]
    there = _there(client, taken, key_field)
    return [_outcome(t, a, there, key_field) for t, a in zip(tasks, answered, strict=True)]


def _input(
    task: TaskWrite, number: int, key_field: str, kind: str, owner: str | None
) -> objects.SimplePublicObjectBatchInputForCreate:
    properties = {
        "hs_timestamp": printed(task.due),
        "hs_task_subject": task.subject[:LONGEST],
        "hs_task_body": task.body[:LONGEST],
        "hs_task_status": "NOT_STARTED",
        "hs_task_priority": _PRIORITIES[task.priority],
        "hs_task_type": kind,
        key_field: task.key,
    }
    if chosen := task.owner or owner:
        properties["hubspot_owner_id"] = chosen
    return objects.SimplePublicObjectBatchInputForCreate(
        properties=properties, associations=[_association(task.about)], object_write_trace_id=str(number)
    )


def _association(about: RemoteRef) -> Any:
    type_id = _ASSOCIATIONS.get(about.object)
    if type_id is None:
        raise ConfigError(f"{about.object} {about.id}: tasks are about {', '.join(_ASSOCIATIONS)}")
    spec = objects.AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=type_id)
    return objects.PublicAssociationsForObject(to=objects.PublicObjectId(id=about.id), types=[spec])


def _taken(problem: RecordProblem, key_field: str) -> bool:
    return _says_taken(problem.category, problem, key_field)


def _says_taken(category: str, told: RecordProblem | RefusedError, key_field: str) -> bool:
    """Whether a refusal may mean that our key is there. The words could not be verified, so the keys are looked up."""
    return category == "CONFLICT" or any(p.property_name == key_field for p in told.problems)


def _there(client: Client, keys: Sequence[str], key_field: str) -> dict[str, str]:
    """Key → id of the tasks that hold one of these keys."""
    if not keys:
        return {}
    found = client.read(TASKS, keys, [key_field], id_property=key_field)
    return {r.properties[key_field] or "": r.id for r in found.results if r.properties.get(key_field)}


def _without_those_there(
    client: Client, tasks: Sequence[TaskWrite], key_field: str, error: RefusedError, *, kind: str, owner: str | None
) -> Sequence[Outcome]:
    """The call was refused whole because some are there: the others are created by a call of their own."""
    there = _there(client, [t.key for t in tasks], key_field)
    if not there:
        raise error
    rest = [t for t in tasks if t.key not in there]
    made = {o.key: o for o in create_tasks(client, rest, key_field, kind=kind, owner=owner)} if rest else {}
    return [made.get(t.key) or _unchanged(t, there[t.key]) for t in tasks]


def _outcome(task: TaskWrite, answered: Answered, there: Mapping[str, str], key_field: str) -> Outcome:
    if answered.record is not None:
        return Outcome(task.key, Status.CREATED, RemoteRef(TASKS, answered.record.id))
    if task.key in there:
        return _unchanged(task, there[task.key])
    if answered.problem is not None:
        # Taken, but not to be seen: a call whose answer was lost is still at it.
        return refused_outcome(task.key, answered.problem, lost_race=lost_race(answered.problem, key_field))
    return Outcome(task.key, Status.RETRY, reason="the answer does not mention this task", code="UNANSWERED")


def _unchanged(task: TaskWrite, id: str) -> Outcome:
    return Outcome(task.key, Status.UNCHANGED, RemoteRef(TASKS, id))
