"""The queue: fields both sides changed and nobody but a person can decide, and what people decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from syncline.model import Edit, RemoteRef, Value, event_id, from_microseconds, microseconds
from syncline.store import schema
from syncline.store.batches import batches, upsert
from syncline.store.values import dump, load

__all__ = ["Case", "Choice", "case_id", "cases", "cases_of", "decide", "put_cases"]

Choice = Literal["ours", "theirs", "value"]

_LENGTH = 10  # hex digits: of ten thousand open cases two share them once in twenty thousand times


def case_id(*parts: str) -> str:
    """Short, to be typed; the same for as long as it is the same question."""
    return event_id("case", *parts)[:_LENGTH]


@dataclass(frozen=True, slots=True)
class Case:
    """A field of a record with two values. It waits for a `decision`, which then holds for as long as both stay.

    `ours_us` is since when we know ours; `value` is that of the decision `value`, as a person typed it.
    """

    connection: str
    ref: RemoteRef
    field: str
    person_id: int
    theirs: Value
    edit: Edit
    ours: Value
    ours_us: int | None = None
    since_us: int = 0
    decision: Choice | None = None
    value: str | None = None
    decided_us: int | None = None

    @property
    def id(self) -> str:
        return case_id(self.connection, self.ref.object, self.ref.id, self.field)

    def asks_the_same(self, other: Case) -> bool:
        """Whether both values are still the same. The record may be another one: it was converted, or merged."""
        mine, others = (dump({"theirs": case.theirs, "ours": case.ours}) for case in (self, other))
        return (self.person_id, self.field, mine) == (other.person_id, other.field, others)


def cases(connection: Connection, name: str | None = None) -> list[Case]:
    """Those that wait, the oldest first; of one connection, or all."""
    table = schema.undecided
    query = select(table).where(table.c.decision.is_(None)).order_by(table.c.since_us, table.c.connection)
    if name is not None:
        query = query.where(table.c.connection == name)
    return [_case(row) for row in connection.execute(query.order_by(table.c.remote_id, table.c.field))]


def cases_of(connection: Connection, name: str, people: Collection[int]) -> dict[tuple[int, str], Case]:
    """(person, field) → the case in one CRM, decided or not."""
    return {(case.person_id, case.field): case for case in _cases_of(connection, name, people)}


def _cases_of(connection: Connection, name: str, people: Collection[int]) -> list[Case]:
    table = schema.undecided
    found: list[Case] = []
    for batch in batches(people):
        rows = connection.execute(select(table).where(table.c.connection == name, table.c.person_id.in_(batch)))
        found += map(_case, rows)
    return found


def put_cases(
    connection: Connection,
    name: str,
    people: Collection[int],
    found: Sequence[Case],
    at_us: int,
    *,
    beside: Collection[str] = (),
) -> None:
    """The cases of `people` in one CRM are now exactly `found`; fields `beside` were not looked at, and stay.

    One that asks the same as before keeps its date and its decision, wherever its record has gone.
    """
    before = _cases_of(connection, name, people)
    known = {(case.person_id, case.field): case for case in before}
    wanted = {
        (case.person_id, case.field): _going_on(case, known.get((case.person_id, case.field)), at_us) for case in found
    }
    for case in before:
        now = wanted.get((case.person_id, case.field))
        if case.field not in beside and (now is None or now.ref != case.ref):
            connection.execute(delete(schema.undecided).where(_is(case)))
    upsert(connection, schema.undecided, [_row(case) for case in wanted.values()])


def _going_on(case: Case, before: Case | None, at_us: int) -> Case:
    if before is None or not (case.asks_the_same(before) or case.decision):
        return replace(case, since_us=at_us)
    if case.decision is not None:
        return replace(case, since_us=before.since_us)
    case = replace(case, since_us=before.since_us, decision=before.decision)
    return replace(case, value=before.value, decided_us=before.decided_us)


def decide(connection: Connection, some: Iterable[Case], choice: Choice, value: str | None, at_us: int) -> None:
    """Note what a person decided. Nothing is written to a CRM: the next run does."""
    for case in some:
        said = {"decision": choice, "value": value, "decided_us": at_us}
        connection.execute(update(schema.undecided).where(_is(case)).values(**said))


def _is(case: Case) -> ColumnElement[bool]:
    table = schema.undecided
    same = {"connection": case.connection, "object": case.ref.object, "remote_id": case.ref.id, "field": case.field}
    return and_(*(table.c[column] == wanted for column, wanted in same.items()))


def _row(case: Case) -> Mapping[str, Any]:
    return {
        "connection": case.connection,
        "object": case.ref.object,
        "remote_id": case.ref.id,
        "field": case.field,
        "person_id": case.person_id,
        "theirs": dump({"value": case.theirs}),
        "theirs_us": microseconds(case.edit.at) if case.edit.at else None,
        "theirs_by": case.edit.by,
        "theirs_who": case.edit.who,
        "ours": dump({"value": case.ours}),
        "ours_us": case.ours_us,
        "since_us": case.since_us,
        "decision": case.decision,
        "value": case.value,
        "decided_us": case.decided_us,
    }


def _case(row: Any) -> Case:
    at = None if row.theirs_us is None else from_microseconds(row.theirs_us)
    return Case(
        connection=row.connection,
        ref=RemoteRef(row.object, row.remote_id),
        field=row.field,
        person_id=row.person_id,
        theirs=load(row.theirs)["value"],
        edit=Edit(at, row.theirs_by, row.theirs_who),
        ours=load(row.ours)["value"],
        ours_us=row.ours_us,
        since_us=row.since_us,
        decision=row.decision,
        value=row.value,
        decided_us=row.decided_us,
    )
