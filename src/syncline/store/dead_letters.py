"""Writes a CRM refused: kept with its reason, tried again with fresh values, and what a person said of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from syncline.model import Outcome, Status, Value, event_id
from syncline.store import schema
from syncline.store.batches import batches, upsert
from syncline.store.runs import OutboxRow
from syncline.store.values import dump, load

__all__ = ["DeadLetter", "Override", "close_settled", "dead_letters", "discard", "edit", "note", "of_people", "revive"]

_LETTER = ("connection", "operation", "object", "key")


@dataclass(frozen=True, slots=True)
class Override:
    """The value a person gave a field, as long as ours is still the one it replaces."""

    instead_of: Value
    value: Value


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A write that was refused, with the CRM's own reason; it comes again with fresh values on the next run.

    `reason` None: it was accepted with values that a person gave it, which hold for as long as ours stay the same.
    `discarded` is what is not tried again.
    """

    connection: str
    operation: str
    object: str
    key: str
    person_id: int
    payload: str
    code: str | None
    reason: str | None
    attempts: int
    first_us: int
    last_us: int
    run_id: str
    edited: str | None = None
    discarded: str | None = None

    @property
    def id(self) -> str:
        """Short, to be typed; the same for as long as it is the same write."""
        return event_id("dead letter", *(getattr(self, name) for name in _LETTER))[:8]

    @property
    def state(self) -> str:
        """open, discarded, or mended: accepted with a person's values."""
        if self.discarded is not None:
            return "discarded"
        return "mended" if self.reason is None else "open"

    @property
    def fields(self) -> Mapping[str, Value]:
        """What was to be written: a record's fields, or a task's words; empty for a membership."""
        content: dict[str, Any] = load(self.payload)
        return content["fields"] if self.operation == "upsert" else content

    @property
    def overrides(self) -> Mapping[str, Override]:
        known = load(self.edited) if self.edited else {}
        return {name: Override(pair["instead_of"], pair["value"]) for name, pair in known.items()}


def dead_letters(connection: Connection, name: str | None = None) -> list[DeadLetter]:
    """Those of one connection, or all; the latest first."""
    table = schema.dead_letter
    query = select(table).order_by(table.c.last_us.desc(), table.c.key)
    if name is not None:
        query = query.where(table.c.connection == name)
    return [DeadLetter(**row._mapping) for row in connection.execute(query)]


def of_people(connection: Connection, name: str, people: Collection[int]) -> list[DeadLetter]:
    """Those of `people` that a person has edited or discarded: the next plan heeds them."""
    table = schema.dead_letter
    said = table.c.edited.is_not(None) | table.c.discarded.is_not(None)
    found: list[DeadLetter] = []
    for batch in batches(people):
        rows = connection.execute(select(table).where(table.c.connection == name, table.c.person_id.in_(batch), said))
        found += [DeadLetter(**row._mapping) for row in rows]
    return found


# What became of a write


def note(
    connection: Connection, run_id: str, name: str, results: Sequence[tuple[OutboxRow, Outcome]], at_us: int
) -> None:
    """A write that was refused is kept, or counted up; one that was accepted closes its letter."""
    _close(connection, name, [row for row, outcome in results if outcome.ok])
    for row, outcome in results:
        if outcome.status is Status.REJECTED:
            _bury(connection, run_id, name, row, outcome, at_us)


def _close(connection: Connection, name: str, rows: Sequence[OutboxRow]) -> None:
    table = schema.dead_letter
    for batch in batches(rows):
        mine = and_(
            table.c.connection == name,
            table.c.key.in_([row.key for row in batch]),
            table.c.operation == batch[0].operation,
            table.c.object == batch[0].object,
        )
        connection.execute(delete(table).where(mine, table.c.edited.is_(None)))
        connection.execute(update(table).where(mine).values(reason=None, code=None, attempts=0, discarded=None))


def _bury(connection: Connection, run_id: str, name: str, row: OutboxRow, outcome: Outcome, at_us: int) -> None:
    table = schema.dead_letter
    letter = {
        "connection": name,
        "operation": row.operation,
        "object": row.object,
        "key": row.key,
        "person_id": row.person_id,
        "payload": row.payload,
        "code": outcome.code,
        "reason": outcome.reason or outcome.code or "the CRM gave no reason",
        "attempts": _attempts(connection, name, row) + 1,
        "first_us": at_us,
        "last_us": at_us,
        "run_id": run_id,
        "discarded": None,
    }
    upsert(connection, table, [letter], keep=("first_us",))


def _attempts(connection: Connection, name: str, row: OutboxRow) -> int:
    table = schema.dead_letter
    same = _is(name, row.operation, row.object, row.key)
    return connection.execute(select(table.c.attempts).where(same)).scalar_one_or_none() or 0


def _is(connection: str, operation: str, object_name: str, key: str) -> ColumnElement[bool]:
    table = schema.dead_letter
    values = (connection, operation, object_name, key)
    return and_(*(table.c[column] == value for column, value in zip(_LETTER, values, strict=True)))


def close_settled(
    connection: Connection,
    name: str,
    people: Collection[int],
    wanted: Iterable[tuple[str, str, str]],
    planned: Collection[tuple[str, str]] | None = None,
) -> None:
    """Close the letters of `people` whose write is no longer wanted.

    `wanted` are (operation, object, key) of all that is, of the (operation, object) that were planned for; None: of
    everything.
    """
    table = schema.dead_letter
    wanted = set(wanted)
    for batch in batches(people):
        mine = and_(table.c.connection == name, table.c.person_id.in_(batch))
        for letter in connection.execute(select(table.c.operation, table.c.object, table.c.key).where(mine)).all():
            covered = planned is None or (letter.operation, letter.object) in planned
            if covered and tuple(letter) not in wanted:
                connection.execute(delete(table).where(_is(name, *letter)))


# What a person says of one


def edit(connection: Connection, letter: DeadLetter, values: Mapping[str, Value]) -> DeadLetter:
    """From the next run on these values are written instead, for as long as ours stay what they are."""
    known = letter.overrides
    fresh = {
        name: Override(known[name].instead_of if name in known else letter.fields.get(name), value)
        for name, value in values.items()
    }
    edited = dump(
        {name: {"instead_of": item.instead_of, "value": item.value} for name, item in {**known, **fresh}.items()}
    )
    _say(connection, letter, edited=edited, discarded=None)
    return replace(letter, edited=edited, discarded=None)


def discard(connection: Connection, letter: DeadLetter) -> DeadLetter:
    """Just this write is not tried again; another one for the same record is."""
    _say(connection, letter, discarded=letter.payload)
    return replace(letter, discarded=letter.payload)


def revive(connection: Connection, letter: DeadLetter) -> DeadLetter:
    """A discarded one is tried again."""
    _say(connection, letter, discarded=None)
    return replace(letter, discarded=None)


def _say(connection: Connection, letter: DeadLetter, **values: str | None) -> None:
    same = _is(letter.connection, letter.operation, letter.object, letter.key)
    connection.execute(update(schema.dead_letter).where(same).values(**values))
