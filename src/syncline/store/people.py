"""People, their identifiers and attributes in SQL. What links whom is decided elsewhere."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    Connection,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from syncline.store import schema
from syncline.store.bulk import Insert, Lookup, Many

__all__ = [
    "add_identifiers",
    "add_people",
    "identifier_counts",
    "link_connections",
    "merge",
    "owners",
    "random_key",
    "serialize",
    "set_attributes",
]

Name = tuple[str, str]
"""The namespace and the value of an identifier."""

_IDENTITY_LOCK: Final = 0x73796E63  # "sync": any number that no other program on that database takes


def random_key() -> str:
    """What CRMs and logs see of a person: 20 hex digits that say nothing."""
    return secrets.token_hex(10)


def serialize(connection: Connection) -> None:
    """Let no other transaction decide who is who until this one ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_IDENTITY_LOCK)))


def owners(connection: Connection, names: Iterable[Name]) -> dict[Name, tuple[int, int]]:
    """Namespace and value → person, and time of the first event that named it; those that are known."""
    spaces: dict[str, set[str]] = {}
    for namespace, value in names:
        spaces.setdefault(namespace, set()).add(value)
    return {
        (namespace, value): (person, first)
        for namespace, values in spaces.items()
        for value, person, first in _OWNERS.rows(connection, values, namespace)
    }


def identifier_counts(connection: Connection, people: Collection[int]) -> dict[int, Counter[str]]:
    """Person → how many identifiers of each namespace."""
    found: dict[int, Counter[str]] = {}
    for person, namespace in _NAMESPACES.rows(connection, people):
        found.setdefault(person, Counter())[namespace] += 1
    return found


def link_connections(connection: Connection, people: Collection[int]) -> dict[int, set[str]]:
    """Person → the connections on which the person is a CRM record."""
    found: dict[int, set[str]] = {}
    for person, name in _LINKS.rows(connection, people):
        found.setdefault(person, set()).add(name)
    return found


def add_people(connection: Connection, count: int, at_us: int, new_key: Callable[[], str] = random_key) -> list[int]:
    """Ids of so many new people, in ascending order."""
    if not count:
        return []
    rows = [{"key": new_key(), "created_us": at_us} for _ in range(count)]
    added = connection.execute(insert(schema.person).returning(schema.person.c.id), rows)
    return sorted(added.scalars())


def add_identifiers(connection: Connection, links: Iterable[tuple[str, str, int, int]]) -> None:
    """Each is namespace, value, person, time of the first event that named it; of two times the earlier stays."""
    _ADD_IDENTIFIERS.run(connection, links)


def set_attributes(connection: Connection, statements: Iterable[tuple[int, str, int, bytes, str]]) -> None:
    """Each is person, name, time, event id, value. The newest wins, the greater event id when they are of one time."""
    rows = ((person, name, value, at, event_id) for person, name, at, event_id, value in statements)
    _SET_ATTRIBUTES.run(connection, rows)


def merge(connection: Connection, merges: Sequence[tuple[int, int]]) -> None:
    """The first person of each pair lives on as the second; all that is theirs moves, except the events.

    What only describes the first person as scored so far is dropped: the survivor is scored again. Where a person
    stands towards the rules is united, so that what followed from it once does not follow again.
    """
    pairs = [{"gone": gone, "survivor": survivor} for gone, survivor in merges]
    if not pairs:
        return
    _move_identity(connection, pairs)
    _move_attributes(connection, pairs)
    _unite_standings(connection, pairs)
    for table in (schema.link, schema.member, schema.conflict):
        _move_where_free(connection, table, pairs)
    for table in (schema.action, schema.dead_letter, schema.undecided, schema.link_history):
        _repoint(connection, table, pairs)
    for table in (schema.score, schema.stale):
        connection.execute(delete(table).where(table.c.person_id == bindparam("gone")), pairs)


def _move_identity(connection: Connection, pairs: Sequence[Mapping[str, int]]) -> None:
    """Chains of merges stay flat: whoever was merged into the one that goes is now merged into the survivor."""
    person = schema.person
    goes = or_(person.c.id == bindparam("gone"), person.c.merged_into == bindparam("gone"))
    connection.execute(update(person).where(goes).values(merged_into=bindparam("survivor")), pairs)
    _repoint(connection, schema.identifier, pairs)


def _repoint(connection: Connection, table: Table, pairs: Sequence[Mapping[str, int]]) -> None:
    statement = update(table).where(table.c.person_id == bindparam("gone"))
    connection.execute(statement.values(person_id=bindparam("survivor")), pairs)


def _move_attributes(connection: Connection, pairs: Sequence[Mapping[str, int]]) -> None:
    table = schema.attribute
    others = ("name", "value", "at_us", "event_id")
    moved = select(bindparam("survivor", type_=table.c.person_id.type), *(table.c[name] for name in others))
    moved = moved.where(table.c.person_id == bindparam("gone"))
    statement = _insert(connection, table).from_select(["person_id", *others], moved)
    connection.execute(_newer_wins(statement), pairs)
    connection.execute(delete(table).where(table.c.person_id == bindparam("gone")), pairs)


def _unite_standings(connection: Connection, pairs: Sequence[Mapping[str, int]]) -> None:
    """Inside if either was, armed if both were, entered as often as the one that entered more often."""
    table = schema.standing
    others = ("rule", "inside", "armed", "entered", "since_us")
    moved = select(bindparam("survivor", type_=table.c.person_id.type), *(table.c[name] for name in others))
    moved = moved.where(table.c.person_id == bindparam("gone"))
    statement = _insert(connection, table).from_select(["person_id", *others], moved)
    new = statement.excluded
    least, greatest = ("min", "max") if connection.dialect.name == "sqlite" else ("least", "greatest")
    united = {
        "inside": or_(table.c.inside, new.inside),
        "armed": and_(table.c.armed, new.armed),
        "entered": getattr(func, greatest)(table.c.entered, new.entered),
        "since_us": getattr(func, least)(table.c.since_us, new.since_us),
    }
    connection.execute(statement.on_conflict_do_update(index_elements=["person_id", "rule"], set_=united), pairs)
    connection.execute(delete(table).where(table.c.person_id == bindparam("gone")), pairs)


def _move_where_free(connection: Connection, table: Table, pairs: Sequence[Mapping[str, int]]) -> None:
    """Rows that the survivor has already stay the survivor's; the other's are dropped."""
    others = [column for column in table.primary_key if column.name != "person_id"]
    held = table.alias("held")
    taken = exists().where(held.c.person_id == bindparam("survivor"), *(held.c[c.name] == c for c in others))
    mine = table.c.person_id == bindparam("gone")
    connection.execute(update(table).where(mine, ~taken).values(person_id=bindparam("survivor")), pairs)
    connection.execute(delete(table).where(mine), pairs)


def _earlier_wins(statement: Insert) -> Insert:
    new = statement.excluded
    earlier = new.first_us < schema.identifier.c.first_us
    return statement.on_conflict_do_update(
        index_elements=["namespace", "value"], set_={"first_us": new.first_us}, where=earlier
    )


def _newer_wins(statement: Insert) -> Insert:
    table, new = schema.attribute, statement.excluded
    newer = tuple_(new.at_us, new.event_id) >= tuple_(table.c.at_us, table.c.event_id)
    changes = {"value": new.value, "at_us": new.at_us, "event_id": new.event_id}
    return statement.on_conflict_do_update(index_elements=["person_id", "name"], set_=changes, where=newer)


def _insert(connection: Connection, table: Table) -> Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


_OWNERS: Final = Lookup(
    select(schema.identifier.c.value, schema.identifier.c.person_id, schema.identifier.c.first_us).where(
        schema.identifier.c.namespace == bindparam("namespace", type_=Text)
    ),
    schema.identifier.c.value,
    ["namespace"],
)
_NAMESPACES: Final = Lookup(
    select(schema.identifier.c.person_id, schema.identifier.c.namespace), schema.identifier.c.person_id
)
_LINKS: Final = Lookup(select(schema.link.c.person_id, schema.link.c.connection), schema.link.c.person_id)
_ADD_IDENTIFIERS: Final = Many(
    lambda insert: _earlier_wins(insert(schema.identifier)), ["namespace", "value", "person_id", "first_us"]
)
_SET_ATTRIBUTES: Final = Many(
    lambda insert: _newer_wins(insert(schema.attribute)), ["person_id", "name", "value", "at_us", "event_id"]
)
