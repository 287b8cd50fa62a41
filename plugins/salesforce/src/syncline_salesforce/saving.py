"""Collections: up to 200 records in one call, one result each (Salesforce REST guide, sObject Collections, v67)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from syncline.errors import SchemaDriftError, TransientError
from syncline.model import Outcome, RemoteRef, Status, Write
from syncline_salesforce.client import Client
from syncline_salesforce.errors import drifted_field, is_retryable, translated
from syncline_salesforce.payloads import SAVE_RESULTS, SaveProblem, SaveResult
from syncline_salesforce.values import json_body, printed

__all__ = [
    "MOST",
    "NO_ASSIGNMENT",
    "create_records",
    "delete_records",
    "outcome_of",
    "problem_outcome",
    "update_records",
    "upsert_records",
]

MOST: Final = 200
"""Records a Collections request may carry (Salesforce REST guide, read 2026-11)."""

MOVED: Final = frozenset({"CANNOT_UPDATE_CONVERTED_LEAD", "ENTITY_IS_DELETED"})
"""Somebody has converted, merged or deleted the record since we last read it. The next read tells where the person
lives on, and the write goes there, or nowhere: no person has to look at it."""

NO_ASSIGNMENT: Final[Mapping[str, str]] = {"Sforce-Auto-Assign": "FALSE"}
"""Without this header the active rules give every lead that a call creates or changes to a new owner, also one that is
changed by a trigger on what the call writes (REST guide, assignment rule header, read 2026-11)."""


def upsert_records(
    client: Client, object: str, writes: Sequence[Write], headers: Mapping[str, str]
) -> Sequence[Outcome]:
    """One call: an update by Id, or an upsert by the external id that the writes match on."""
    field = writes[0].match[0]
    path = "composite/sobjects" if field == "Id" else f"composite/sobjects/{object}/{field}"
    body = json_body([_record(object, w) for w in writes])
    answer = client.rest("PATCH", path, body, headers=headers)
    results = _results(answer, len(writes), f"PATCH {path}")
    _raise_on_drift(results, object)
    return [_outcome(w, object, r) for w, r in zip(writes, results, strict=True)]


def _outcome(write: Write, object: str, result: SaveResult) -> Outcome:
    if not result.success and result.errors and lost_race(write, result.errors[0]):
        return Outcome(write.key, Status.RETRY, reason=result.errors[0].reason, code=result.errors[0].code)
    return outcome_of(write.key, object, result, created=False)


def lost_race(write: Write, problem: SaveProblem) -> bool:
    """Whether an upsert was told that its own key is taken: another call has just created that record.

    So it goes with a call that is repeated while the first is still being saved (salesforce.stackexchange 197382). It
    comes again, and then updates.
    """
    field = write.match[0]
    return field != "Id" and problem.code == "DUPLICATE_VALUE" and field in (*problem.fields, *problem.message.split())


def _record(object: str, write: Write) -> dict[str, Any]:
    field, value = write.match
    name = "id" if field == "Id" else field
    fields = {n: printed(v) for n, v in write.fields.items() if n != field}
    return {"attributes": {"type": object}, name: value, **fields}


def create_records(client: Client, object: str, records: Sequence[Mapping[str, Any]]) -> list[SaveResult]:
    """Create up to 200 records of one object; one result each, same order. To repeat it takes a unique field."""
    body = json_body([{"attributes": {"type": object}, **r} for r in records])
    results = _results(client.rest("POST", "composite/sobjects", body, headers=NO_ASSIGNMENT), len(records), "POST")
    _raise_on_drift(results, object)
    return results


def update_records(client: Client, object: str, records: Sequence[Mapping[str, Any]]) -> list[SaveResult]:
    """Change up to 200 records of one object, each with its `id`; one result each, same order."""
    body = json_body([{"attributes": {"type": object}, **r} for r in records])
    results = _results(client.rest("PATCH", "composite/sobjects", body, headers=NO_ASSIGNMENT), len(records), "PATCH")
    _raise_on_drift(results, object)
    return results


def delete_records(client: Client, ids: Sequence[str]) -> list[SaveResult]:
    """Delete up to 200 records; one result each, same order."""
    parameters = {"ids": ",".join(ids), "allOrNone": "false"}
    return _results(
        client.rest("DELETE", "composite/sobjects", params=parameters, headers=NO_ASSIGNMENT), len(ids), "DELETE"
    )


def _results(answer: Any, expected: int, what: str) -> list[SaveResult]:
    with translated(what):
        results = SAVE_RESULTS.validate_python(answer)
    if len(results) != expected:
        raise TransientError(f"{len(results)} results for {expected} records", where=what)
    return results


def _raise_on_drift(results: Sequence[SaveResult], object: str) -> None:
    """Where an unknown column refuses every record, nothing was written and the mapping is what is wrong."""
    fields = {_drifted(r) for r in results}
    if len(fields) == 1 and (field := fields.pop()) is not None:
        problem = results[0].errors[0]
        raise SchemaDriftError(problem.reason, field=field, where=object)


def _drifted(result: SaveResult) -> str | None:
    if result.success or not result.errors:
        return None
    problem = result.errors[0]
    return drifted_field(problem.code, problem.message) if problem.code == "INVALID_FIELD" else None


def outcome_of(key: str, object: str, result: SaveResult, *, created: bool) -> Outcome:
    """What one result means. `created` is what a success without a `created` of its own was."""
    ref = RemoteRef(object, result.id) if result.id else None
    if result.success:
        was_created = created if result.created is None else result.created
        return Outcome(key, Status.CREATED if was_created else Status.UPDATED, ref)
    problem = result.errors[0] if result.errors else SaveProblem(statusCode="UNKNOWN", message="no reason was given")
    return problem_outcome(key, problem)


def problem_outcome(
    key: str, problem: SaveProblem, already: Callable[[SaveProblem], Outcome | None] = lambda _: None
) -> Outcome:
    """RETRY for weather and for records that have just moved, REJECTED for everything else.

    `already` may know that it had been done before.
    """
    known = already(problem)
    if known is not None:
        return known
    status = Status.RETRY if is_retryable(problem.code) or problem.code in MOVED else Status.REJECTED
    return Outcome(key, status, reason=problem.reason, code=problem.code)
