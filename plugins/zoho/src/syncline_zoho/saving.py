"""Rows of a call and what became of each: up to 100, one result each, in the order of the request (sheet §5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from syncline.errors import SchemaDriftError
from syncline.model import Outcome, RemoteRef, Status, Write
from syncline_zoho.client import Client
from syncline_zoho.errors import RETRYABLE
from syncline_zoho.payloads import ItemResult, RecordsPage
from syncline_zoho.values import Column, encode

__all__ = [
    "MOST",
    "MOST_IDS",
    "Automation",
    "insert",
    "is_gone",
    "outcome_of",
    "problem_outcome",
    "refuse_drift",
    "update",
    "upsert",
]

MOST: Final = 100
"""Rows that insert, update and upsert take (Zoho CRM API v8, read 2026-11)."""

MOST_IDS: Final = 50
"""Ids a list may be asked for: the parameter holds 1,024 characters, an id 19 and a comma (OpenAPI 2026, record)."""

_CONVERTED: Final = "ID_ALREADY_CONVERTED"
_CADENCES: Final = {"name": "cadences"}

Columns = Mapping[str, Column]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Automation:
    """What our writes may start. Zoho starts whatever a call does not forbid.

    Cadences, which mail people, are none of the triggers; they run unless they are skipped, and an upsert has to say
    for which of its two actions (insert, update and upsert records, Zoho CRM API v7 and v8; zohocrmsdk8-0 7.0.0).
    """

    triggers: Sequence[str]
    cadences: bool

    def of_tasks(self) -> dict[str, Any]:
        """Tasks have no cadences."""
        return {"trigger": list(self.triggers)}

    def of_records(self) -> dict[str, Any]:
        return self.of_tasks() | ({} if self.cadences else {"skip_feature_execution": [_CADENCES]})

    def of_upsert(self) -> dict[str, Any]:
        skipped = [_CADENCES | {"action": action} for action in ("insert", "update")]
        return self.of_tasks() | ({} if self.cadences else {"skip_feature_execution": skipped})


def upsert(
    client: Client,
    object: str,
    writes: Sequence[Write],
    automation: Automation,
    columns: Columns,
    described_anew: Callable[[], Columns],
) -> Sequence[Outcome]:
    """One call: an update by id, or an upsert by the unique field that the writes match on.

    With values in other unique fields it takes up to three, see `_create_or_update`.
    """
    field = writes[0].match[0]
    refuse_drift(object, writes, columns)
    rows = [_row(w, columns) for w in writes]
    if field == "Id":
        results = update(client, object, rows, automation.of_records())
    elif _others_are_unique(writes, columns):
        results = _create_or_update(client, object, rows, field, automation)
    else:
        body = {"data": rows, "duplicate_check_fields": [field], **automation.of_upsert()}
        results = client.call("POST", f"{object}/upsert", body=body).items("data", len(rows))
    _raise_if_retyped(object, writes, results, columns, described_anew)
    return [outcome_of(w, object, r) for w, r in zip(writes, results, strict=True)]


def insert(client: Client, object: str, rows: Rows, automation: Mapping[str, Any]) -> list[ItemResult]:
    """Create up to 100 records; one result each, same order. To repeat it takes a unique field."""
    return client.call("POST", object, body={"data": list(rows), **automation}).items("data", len(rows))


def update(client: Client, object: str, rows: Rows, automation: Mapping[str, Any]) -> list[ItemResult]:
    """Change up to 100 records by their ids; one result each, same order. It never creates."""
    return client.call("PUT", object, body={"data": list(rows), **automation}).items("data", len(rows))


def _row(write: Write, columns: Columns) -> dict[str, Any]:
    field, value = write.match
    fields = {name: encode(columns.get(name), v) for name, v in write.fields.items() if name != field}
    return {"id" if field == "Id" else field: value, **fields}


# Other unique fields


def _others_are_unique(writes: Sequence[Write], columns: Columns) -> bool:
    match = writes[0].match[0]
    given = {name for write in writes for name, value in write.fields.items() if value is not None and name != match}
    return any(columns[name].field.unique for name in given)


def _create_or_update(client: Client, object: str, rows: Rows, field: str, automation: Automation) -> list[ItemResult]:
    """What an upsert would do if it went by `field` alone: create, and update what holds the key already.

    Zoho's own goes on to the module's other unique fields: it would write over the record of whoever has the same
    telephone number. Here such a row is refused, with that record's id. One call if all are new.
    """
    results = [_as_inserted(r) for r in insert(client, object, rows, automation.of_records())]
    holders = _holders(client, object, rows, field, results)
    if holders:
        known = [{**rows[at], "id": id} for at, id in holders.items()]
        for at, result in zip(holders, update(client, object, known, automation.of_records()), strict=True):
            results[at] = result
    return results


def _as_inserted(result: ItemResult) -> ItemResult:
    return result.model_copy(update={"action": "insert"}) if result.ok else result


def _holders(client: Client, object: str, rows: Rows, field: str, results: Sequence[ItemResult]) -> dict[int, str]:
    """Refused row → the id of the record that has its key: an earlier answer was lost.

    Which of several taken values is told is not documented, so a record named for another one is looked at.
    """
    found: dict[int, str] = {}
    doubtful: dict[int, str] = {}
    for at, result in enumerate(results):
        for twin in result.duplicates if not result.ok else ():
            if twin.holder:
                (found if twin.field == field else doubtful)[at] = twin.holder
    doubtful = {at: id for at, id in doubtful.items() if at not in found}
    keys = _keys(client, object, field, sorted(set(doubtful.values())))
    ours = {at: id for at, id in doubtful.items() if keys.get(id) == str(rows[at][field]).casefold()}
    return found | ours


def _keys(client: Client, object: str, field: str, ids: Sequence[str]) -> dict[str, str]:
    """Record id → what it holds in the key field, in lower case."""
    found: dict[str, str] = {}
    for start in range(0, len(ids), MOST_IDS):
        params = {"fields": field, "ids": ",".join(ids[start : start + MOST_IDS]), "per_page": 200}
        page = client.read("GET", object, params=params).read(RecordsPage)
        found |= {str(row["id"]): str(row[field]).casefold() for row in page.data if row.get(field)}
    return found


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
    object: str,
    writes: Sequence[Write],
    results: Sequence[ItemResult],
    columns: Columns,
    described_anew: Callable[[], Columns],
) -> None:
    """Where one field of ours refuses every row, the field may have changed under us: a second look tells."""
    names = {r.field if not r.ok and r.code == "INVALID_DATA" else None for r in results}
    name = names.pop() if len(names) == 1 else None
    if name is None or name not in {writes[0].match[0], *(n for write in writes for n in write.fields)} - {"Id"}:
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
        return _come_again(outcome) if _lost_race(field, result) or _moved(field, result) else outcome
    ref = RemoteRef(object, result.id) if result.id else None
    if result.action == "insert":
        return Outcome(write.key, Status.CREATED, ref)
    # A field that became unique since we looked: Zoho went on to it, the record is found, and adopts our key.
    other = result.duplicate_field if result.duplicate_field not in (None, field) and field != "Id" else None
    reason = f"found by {other}, not by {field}" if other else None
    return Outcome(write.key, Status.UPDATED, ref, reason=reason)


def _lost_race(field: str, result: ItemResult) -> bool:
    """Whether an upsert is told that its own key is taken: another call has just created that record."""
    return field != "Id" and result.code == "DUPLICATE_DATA" and result.field == field


def _moved(field: str, result: ItemResult) -> bool:
    """Whether somebody has converted or deleted the record since we last read it.

    The next read tells where the person lives on, and the write goes there, or nowhere: no person has to look at it.
    """
    return field == "Id" and is_gone(result)


def is_gone(result: ItemResult) -> bool:
    """Whether an update found no record by its id, or a lead that is converted. How the latter is told could not be
    verified: by a code of its own, or as an id that is not valid (sheet §11)."""
    of_the_id = result.field == "id" or (result.field is None and result.id is not None)
    return result.code == _CONVERTED or (result.code == "INVALID_DATA" and of_the_id)


def _come_again(outcome: Outcome) -> Outcome:
    """It comes again, and then updates."""
    return Outcome(outcome.key, Status.RETRY, reason=outcome.reason, code=outcome.code)


def problem_outcome(key: str, result: ItemResult) -> Outcome:
    """RETRY for weather, REJECTED for everything else, with the vendor's reason."""
    weather = result.code in RETRYABLE or (result.parts and all(part.code in RETRYABLE for part in result.parts))
    status = Status.RETRY if weather else Status.REJECTED
    return Outcome(key, status, reason=result.reason, code=result.code)
