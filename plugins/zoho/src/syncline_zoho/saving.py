"""Rows of a call and what became of each: up to 100, one result each, in the order of the request (sheet §5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from syncline.errors import SchemaDriftError
from syncline.model import Outcome, RemoteRef, Status, Write
from syncline_zoho.client import Client
from syncline_zoho.errors import RETRYABLE
from syncline_zoho.payloads import ItemResult
from syncline_zoho.values import Column, encode

__all__ = ["MOST", "insert", "outcome_of", "problem_outcome", "refuse_drift", "upsert"]

MOST: Final = 100
"""Rows that insert, update and upsert take (Zoho CRM API v8, read 2026-11)."""

Columns = Mapping[str, Column]


def upsert(
    client: Client,
    object: str,
    writes: Sequence[Write],
    triggers: Sequence[str],
    columns: Columns,
    described_anew: Callable[[], Columns],
) -> Sequence[Outcome]:
    """One call: an update by id, or an upsert by the unique field that the writes match on."""
    field = writes[0].match[0]
    refuse_drift(object, writes, columns)
    body: dict[str, Any] = {"data": [_row(w, columns) for w in writes], "trigger": list(triggers)}
    if field == "Id":
        answer = client.call("PUT", object, body=body)
    else:
        body["duplicate_check_fields"] = [field]
        answer = client.call("POST", f"{object}/upsert", body=body)
    results = answer.items("data", len(writes))
    _raise_if_retyped(object, results, columns, described_anew)
    return [outcome_of(w, object, r) for w, r in zip(writes, results, strict=True)]


def insert(client: Client, object: str, rows: Sequence[Mapping[str, Any]], triggers: Sequence[str]) -> list[ItemResult]:
    """Create up to 100 records; one result each, same order. To repeat it takes a unique field."""
    body = {"data": list(rows), "trigger": list(triggers)}
    return client.call("POST", object, body=body).items("data", len(rows))


def _row(write: Write, columns: Columns) -> dict[str, Any]:
    field, value = write.match
    fields = {name: encode(columns.get(name), v) for name, v in write.fields.items() if name != field}
    return {"id" if field == "Id" else field: value, **fields}


# Drift


def refuse_drift(object: str, writes: Sequence[Write], columns: Columns) -> None:
    """Before the call: fields that are gone or closed.

    Whether Zoho refuses them or writes the rest without a word is not documented; so nothing is left to it.
    """
    match = writes[0].match[0]
    if match != "Id":
        _demand(object, match, columns, unique=True)
    for name in dict.fromkeys(name for write in writes for name in write.fields):
        _demand(object, name, columns)


def _demand(object: str, name: str, columns: Columns, *, unique: bool = False) -> None:
    column = columns.get(name)
    if column is None:
        problem = "there is no such field, or it is hidden from the user we log in as"
    elif not column.field.writable:
        problem = "the field is read-only for the user we log in as"
    elif unique and not column.field.unique:
        problem = "the field is not unique, so an upsert cannot go by it"
    else:
        return
    raise SchemaDriftError(f"{name}: {problem}", field=name, where=object)


def _raise_if_retyped(
    object: str, results: Sequence[ItemResult], columns: Columns, described_anew: Callable[[], Columns]
) -> None:
    """Where one field refuses every row, the field may have changed under us: a second look tells."""
    names = {r.field if not r.ok and r.code == "INVALID_DATA" else None for r in results}
    name = names.pop() if len(names) == 1 else None
    if name is None or name == "id":
        return
    now = described_anew().get(name)
    if now is None or not now.field.writable or now.type != columns[name].type:
        raise SchemaDriftError(results[0].reason, field=name, where=object)


# Outcomes


def outcome_of(write: Write, object: str, result: ItemResult) -> Outcome:
    """What one result means for its write."""
    field = write.match[0]
    if not result.ok:
        outcome = problem_outcome(write.key, result)
        return _come_again(outcome) if _lost_race(field, result) else outcome
    ref = RemoteRef(object, result.id) if result.id else None
    if result.action == "insert":
        return Outcome(write.key, Status.CREATED, ref)
    # Zoho goes on to the module's other unique fields when ours finds nothing: the record is found, and adopts our key.
    other = result.duplicate_field if result.duplicate_field not in (None, field) and field != "Id" else None
    reason = f"found by {other}, not by {field}" if other else None
    return Outcome(write.key, Status.UPDATED, ref, reason=reason)


def _lost_race(field: str, result: ItemResult) -> bool:
    """Whether an upsert is told that its own key is taken: another call has just created that record."""
    return field != "Id" and result.code == "DUPLICATE_DATA" and result.field == field


def _come_again(outcome: Outcome) -> Outcome:
    """It comes again, and then updates."""
    return Outcome(outcome.key, Status.RETRY, reason=outcome.reason, code=outcome.code)


def problem_outcome(key: str, result: ItemResult) -> Outcome:
    """RETRY for weather, REJECTED for everything else, with the vendor's reason."""
    weather = result.code in RETRYABLE or (result.parts and all(part.code in RETRYABLE for part in result.parts))
    status = Status.RETRY if weather else Status.REJECTED
    return Outcome(key, status, reason=result.reason, code=result.code)
