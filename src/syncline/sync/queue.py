"""The queue: what waits for a person to decide, and deciding it. Nothing here writes to a CRM: the next run does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete

from syncline.errors import ConfigError, did_you_mean
from syncline.model import RemoteRef
from syncline.store import crm, decisions, link_history, schema
from syncline.store.crm import Conflict, Link, MirrorRecord
from syncline.store.decisions import Case, Choice, case_id
from syncline.store.profiles import Profile, profiles

__all__ = ["Question", "Waiting", "decide_field", "decide_record", "find", "waiting"]

_FEWEST = 4  # letters of an id that are enough, where only one begins with them


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody of whom several records may be the one, or whose record seems to be another person's."""

    id: str
    connection: str
    person: Profile
    conflict: Conflict
    candidates: tuple[MirrorRecord, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """All that waits, each kind with the oldest first. `people` are those of the fields."""

    fields: Sequence[Case]
    records: Sequence[Question]
    people: dict[int, Profile]


def waiting(connection: Connection, names: Iterable[str]) -> Waiting:
    """What waits in these connections."""
    fields: list[Case] = []
    records: list[Question] = []
    for name in names:
        fields += decisions.cases(connection, name)
        records += _questions(connection, name)
    people = profiles(connection, {case.person_id for case in fields})
    return Waiting(
        sorted((case for case in fields if case.person_id in people), key=lambda case: case.since_us),
        sorted(records, key=lambda question: question.conflict.since_us),
        people,
    )


def _questions(connection: Connection, name: str) -> Iterator[Question]:
    found = crm.conflicts(connection, name)
    people = profiles(connection, {conflict.person_id for conflict in found})
    records = crm.mirror(connection, name, {ref for conflict in found for ref in conflict.candidates})
    for conflict in found:
        if person := people.get(conflict.person_id):
            items = tuple(records[ref] for ref in conflict.candidates if ref in records)
            yield Question(case_id(name, person.key), name, person, conflict, items)


def find(found: Waiting, word: str) -> Case | Question:
    """What is called so, or is the only one that begins so."""
    every: dict[str, Case | Question] = {case.id: case for case in found.fields}
    every |= {question.id: question for question in found.records}
    begin = [item for id_, item in every.items() if len(word) >= _FEWEST and id_.startswith(word.lower())]
    if len(begin) == 1:
        return begin[0]
    known = "nothing waits" if not every else did_you_mean(word, every)
    raise ConfigError(f"no open question is called {word!r}; {known}. `syncline conflicts` lists them")


def decide_field(
    connection: Connection, found: Waiting, case: Case, choice: Choice, value: str | None, at_us: int, *, alike: bool
) -> list[Case]:
    """Note a decision; with `alike`, for every open question about this field of this object there. What it was for."""
    meant = [other for other in found.fields if other.id == case.id or (alike and _same_field(case, other))]
    decisions.decide(connection, meant, choice, value, at_us)
    return meant


def _same_field(one: Case, other: Case) -> bool:
    return (one.connection, one.ref.object, one.field) == (other.connection, other.ref.object, other.field)


def decide_record(connection: Connection, question: Question, ref: RemoteRef | None, at_us: int) -> None:
    """The person is this record, from now on; or none of the candidates."""
    name, person_id = question.connection, question.person.person_id
    mine = schema.link.c.person_id == person_id
    if ref is None:
        _refuse_by_key(question)
        link_history.end_links(connection, name, mine, "decided: not this person", at_us)
        link_history.deny(connection, name, person_id, question.conflict.candidates, at_us)
    else:
        _refuse_unknown(connection, name, ref, question.conflict.candidates)
        taken = (schema.link.c.object == ref.object) & (schema.link.c.remote_id == ref.id)
        link_history.end_links(connection, name, taken & ~mine, "decided anew", at_us)
        link_history.undeny(connection, name, person_id, ref)
        crm.put_links(connection, name, [Link(person_id, ref, "decided")], at_us)
    table = schema.conflict
    connection.execute(delete(table).where(table.c.connection == name, table.c.person_id == person_id))


def _refuse_by_key(question: Question) -> None:
    """A record that carries a person's key would be found by it all the same."""
    keyed = [item.record.ref for item in question.candidates if item.key in question.person.keys]
    if keyed:
        where = ", ".join(f"{ref.object}/{ref.id}" for ref in keyed)
        raise ConfigError(
            f"{where} of {question.connection} carries this person's key {question.person.key}: empty that field there "
            "if it is somebody else, or say which record it is with --record"
        )


def _refuse_unknown(connection: Connection, name: str, ref: RemoteRef, candidates: Collection[RemoteRef]) -> None:
    item = crm.mirror(connection, name, [ref]).get(ref)
    if item is None or item.record.deleted:
        known = ", ".join(f"{known.object}/{known.id}" for known in candidates)
        raise ConfigError(
            f"{name} has no living record {ref.object}/{ref.id}, as far as we have read; the candidates are {known}"
        )
