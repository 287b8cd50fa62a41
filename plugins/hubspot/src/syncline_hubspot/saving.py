"""Batches of up to 100 records: one call, an outcome for each (vendor sheet §5).

Every input carries a trace id of its own. That is what makes HubSpot answer record by record, and what results are
matched by: their order is not that of the inputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hubspot.crm import objects

from syncline.errors import SchemaDriftError, TransientError
from syncline.model import Field, Outcome, RemoteRef, Status, Write
from syncline_hubspot.client import Client
from syncline_hubspot.errors import RETRYABLE, RefusedError, drifted_field
from syncline_hubspot.payloads import BatchAnswer, Problem, Record, RecordProblem
from syncline_hubspot.values import printed

__all__ = ["MOST", "Answered", "lost_race", "raise_on_drift", "refused_outcome", "sorted_out", "upsert_records"]

MOST: Final = 100
"""Inputs of a batch call (developers.hubspot.com, CRM objects, batch limits; read 2026-11)."""

_ID: Final = re.compile(r"[0-9]{1,19}")
_STAGE: Final = "lifecyclestage"


def upsert_records(
    client: Client, object: str, writes: Sequence[Write], describe: Callable[[], Sequence[Field]]
) -> Sequence[Outcome]:
    """One call: an update by Id, or an upsert by the unique property that the writes match on.

    `describe` is asked only where a value would mean something else in a list of choices.
    """
    field = writes[0].match[0]
    sent = [w for w in writes if field != "Id" or _ID.fullmatch(w.match[1])]
    properties = {w.key: _properties(w, describe) for w in sent}
    answered = {w.key: Answered() for w in sent}
    if sent:
        answer = _send(client, object, field, [(w.match[1], properties[w.key]) for w in sent])
        found = sorted_out(answer, [_known_by(w) for w in sent])
        answered = {w.key: a for w, a in zip(sent, found, strict=True)}
        raise_on_drift(found, object)
        _learn(client, answer)
    return [_outcome(object, w, answered.get(w.key), properties.get(w.key, {})) for w in writes]


def _send(client: Client, object: str, field: str, inputs: Sequence[tuple[str, Mapping[str, str]]]) -> BatchAnswer:
    if field == "Id":
        return client.update(
            object,
            [
                objects.SimplePublicObjectBatchInput(id=id, properties=dict(values), object_write_trace_id=str(number))
                for number, (id, values) in enumerate(inputs)
            ],
        )
    return client.upsert(
        object,
        [
            objects.SimplePublicObjectBatchInputUpsert(
                id=id, id_property=field, properties={**values, field: id}, object_write_trace_id=str(number)
            )
            for number, (id, values) in enumerate(inputs)
        ],
    )


def _properties(write: Write, describe: Callable[[], Sequence[Field]]) -> dict[str, str]:
    values = {name: printed(value) for name, value in write.fields.items()}
    adding = [name for name, value in values.items() if value.startswith(";")]
    if adding:
        # A leading semicolon would add to the choices that are there; a write says what there shall be.
        several = {f.name for f in describe() if f.kind == "options"}
        values |= {name: values[name].lstrip(";") for name in adding if name in several}
    return values


# Matching answers to inputs


class Answered:
    """What an answer says of one input: its record, or why there is none, or nothing."""

    def __init__(self, record: Record | None = None, problem: RecordProblem | None = None) -> None:
        self.record = record
        self.problem = problem


KnownBy = tuple[str, str]
"""(property or Id, value): what an input is found by when its trace id does not come back."""


def _known_by(write: Write) -> KnownBy:
    return write.match


def sorted_out(answer: BatchAnswer, inputs: Sequence[KnownBy]) -> list[Answered]:
    """One for each input, same order; trace ids are the positions.

    Raises where a problem cannot be told to be of one input: the call is to be made again (TransientError), or cut into
    halves (RefusedError) until it can.
    """
    found: list[Answered] = [Answered() for _ in inputs]
    places = {_folded(known): number for number, known in enumerate(inputs)}
    for record in answer.results:
        place = _place(record, inputs, places)
        if place is not None:
            found[place].record = record
    nameless = []
    for problem in answer.errors:
        named = _places(problem, inputs, places)
        for place in named:
            found[place].problem = problem
        if not named:
            nameless.append(problem)
    for problem in nameless:
        for place in _only_one_left(problem, found):
            found[place].problem = problem
    return found


def _only_one_left(problem: RecordProblem, found: Sequence[Answered]) -> list[int]:
    """Where a problem belongs that names no input: to the only one that has no answer; else it is of the call."""
    left = [place for place, a in enumerate(found) if a.record is None and a.problem is None]
    if len(left) < 2:
        return left
    message = f"{reason_of(problem)} (of {len(left)} records, and the answer does not say of which)"
    if problem.category in RETRYABLE:
        raise TransientError(message)
    raise RefusedError(message, status=207, category=problem.category, problems=problem.problems)


def _place(record: Record, inputs: Sequence[KnownBy], places: Mapping[KnownBy, int]) -> int | None:
    if record.trace_id is not None and record.trace_id.isdigit() and int(record.trace_id) < len(inputs):
        return int(record.trace_id)
    field = inputs[0][0] if inputs else "Id"
    value = record.id if field == "Id" else record.properties.get(field)
    return places.get(_folded((field, value or "")))


def _places(problem: RecordProblem, inputs: Sequence[KnownBy], places: Mapping[KnownBy, int]) -> list[int]:
    traced = [int(t) for t in problem.named("objectWriteTraceId") if t.isdigit() and int(t) < len(inputs)]
    if traced:
        return traced
    ids = (*problem.named("ids"), *problem.named("id"))
    named = [places.get(_folded((field, id))) for field in {f for f, _ in inputs} for id in ids]
    return [place for place in named if place is not None]


def _folded(known: KnownBy) -> KnownBy:
    """E-mail addresses are stored in lower case."""
    return (known[0], known[1].lower()) if known[0] == "email" else known


# Outcomes


def raise_on_drift(found: Sequence[Answered], object: str) -> None:
    """Where the same property refuses every record, nothing was written and the mapping is what is wrong."""
    fields = {drifted_field(a.problem.problems) if a.problem else None for a in found}
    field = fields.pop() if len(fields) == 1 else None
    if field is not None and found[0].problem is not None:
        raise SchemaDriftError(reason_of(found[0].problem), field=field, where=object)


def _learn(client: Client, answer: BatchAnswer) -> None:
    """The app we are: HubSpot names it as the source of a record that we have created."""
    made = next((r.properties for r in answer.results if r.new and "hs_object_source_id" in r.properties), None)
    if made is not None:
        client.note_app(made.get("hs_object_source"), made["hs_object_source_id"])


def _outcome(object: str, write: Write, answered: Answered | None, sent: Mapping[str, str]) -> Outcome:
    if answered is None:
        reason = f"{write.match[1]!r} is no HubSpot record id: those are numbers"
        return Outcome(write.key, Status.REJECTED, reason=reason, code="INVALID_ID")
    if answered.record is not None:
        return _saved(object, write, answered.record, sent)
    if answered.problem is not None:
        lost = lost_race(answered.problem, write.match[0])
        return refused_outcome(write.key, answered.problem, lost_race=lost)
    return Outcome(write.key, Status.RETRY, reason="the answer does not mention this record", code="UNANSWERED")


def _saved(object: str, write: Write, record: Record, sent: Mapping[str, str]) -> Outcome:
    ref = RemoteRef(object, record.id)
    stage = record.properties.get(_STAGE)
    if sent.get(_STAGE) and stage is not None and stage != sent[_STAGE]:
        # Acknowledged, it would look like somebody's change, and be written again for ever.
        reason = (
            f"{_STAGE} stays {stage!r}: HubSpot moves it forward only. The other fields are written; to go back,"
            f" write None first, then {sent[_STAGE]!r}"
        )
        return Outcome(write.key, Status.REJECTED, ref, reason, "LIFECYCLE_BACKWARD")
    return Outcome(write.key, Status.CREATED if record.new else Status.UPDATED, ref)


def lost_race(problem: RecordProblem, key_field: str) -> bool:
    """Whether a write was told that its own key is taken: another call has just created that record."""
    return any(p.code == "CONFLICTING_UNIQUE_VALUE" and p.property_name == key_field for p in problem.problems)


def refused_outcome(key: str, problem: RecordProblem, *, lost_race: bool = False) -> Outcome:
    """RETRY for weather, REJECTED for everything else."""
    again = lost_race or problem.category in RETRYABLE
    return Outcome(
        key,
        Status.RETRY if again else Status.REJECTED,
        reason=reason_of(problem),
        code=code_of(problem.problems, problem),
    )


def reason_of(problem: RecordProblem) -> str:
    """The vendor's words, with the properties they are about."""
    found = problem.problems
    if not found:
        return f"{problem.category}: {problem.message}"
    return "; ".join(f"{p.code}: {p.message} (property: {p.property_name})" for p in found)


def code_of(found: Sequence[Problem], problem: RecordProblem) -> str:
    return next((p.code for p in found if p.code), problem.category)
