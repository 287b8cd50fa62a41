"""People, their identifiers and attributes in SQL. What links whom is decided elsewhere."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, Table, and_, bindparam, delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from syncline.model import Identifier
from syncline.store import schema
from syncline.store.batches import batches

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

_Insert = sqlite.Insert | postgresql.Insert

_IDENTITY_LOCK: Final = 0x73796E63  # "sync": any number that no other program on that database takes


def random_key() -> str:
    """What CRMs and logs see of a person: 20 hex digits that say nothing."""
    return secrets.token_hex(10)


def serialize(connection: Connection) -> None:
    """Let no other transaction decide who is who until this one ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_IDENTITY_LOCK)))


def owners(connection: Connection, identifiers: Iterable[Identifier]) -> dict[Identifier, tuple[int, int]]:
    """Identifier → person, and time of the first event that named it; those that are known."""
    spaces: dict[str, set[str]] = {}
    for identifier in identifiers:
        spaces.setdefault(identifier.namespace, set()).add(identifier.value)
    table = schema.identifier
    found: dict[Identifier, tuple[int, int]] = {}
    for namespace, values in spaces.items():
        for batch in batches(values):
            wanted = (table.c.namespace == namespace, table.c.value.in_(batch))
            rows = connection.execute(select(table.c.value, table.c.person_id, table.c.first_us).where(*wanted))
            found.update({Identifier(namespace, value): (person, first) for value, person, first in rows})
    return found


def identifier_counts(connection: Connection, people: Collection[int]) -> dict[int, Counter[str]]:
    """Person → how many identifiers of each namespace."""
    table = schema.identifier
    found: dict[int, Counter[str]] = {}
    for batch in batches(people):
        statement = select(table.c.person_id, table.c.namespace, func.count()).where(table.c.person_id.in_(batch))
        for person, namespace, count in connection.execute(statement.group_by(table.c.person_id, table.c.namespace)):
            found.setdefault(person, Counter())[namespace] = count
    return found


def link_connections(connection: Connection, people: Collection[int]) -> dict[int, set[str]]:
    """Person → the connections on which the person is a CRM record."""
    table = schema.link
    found: dict[int, set[str]] = {}
    for batch in batches(people):
        rows = connection.execute(select(table.c.person_id, table.c.connection).where(table.c.person_id.in_(batch)))
        for person, name in rows:
            found.setdefault(person, set()).add(name)
    return found


def add_people(connection: Connection, count: int, at_us: int, new_key: Callable[[], str] = random_key) -> list[int]:
    """Ids of so many new people, in ascending order."""
    if not count:
        return []
    rows = [{"key": new_key(), "created_us": at_us} for _ in range(count)]
    added = connection.execute(insert(schema.person).returning(schema.person.c.id), rows)
    return sorted(added.scalars())


def add_identifiers(connection: Connection, links: Iterable[tuple[Identifier, int, int]]) -> None:
    """Identifiers with their person and the time of the first event that named them; the earlier time stays."""
    rows = [
        {"namespace": identifier.namespace, "value": identifier.value, "person_id": person, "first_us": first}
        for identifier, person, first in links
    ]
    if rows:
        table = schema.identifier
        statement = _insert(connection, table)
        earlier = statement.excluded.first_us < table.c.first_us
        statement = statement.on_conflict_do_update(
            index_elements=["namespace", "value"], set_={"first_us": statement.excluded.first_us}, where=earlier
        )
        connection.execute(statement, rows)


def set_attributes(connection: Connection, statements: Iterable[tuple[int, str, int, bytes, str]]) -> None:
    """Each is person, name, time, event id, value. The newest wins, the greater event id when they are of one time."""
    rows = [
        {"person_id": person, "name": name, "at_us": at, "event_id": event_id, "value": value}
        for person, name, at, event_id, value in statements
    ]
    if rows:
        connection.execute(_newer_wins(_insert(connection, schema.attribute)), rows)


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
    for table in (schema.action, schema.dead_letter):
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


def _newer_wins(statement: _Insert) -> _Insert:
    table, new = schema.attribute, statement.excluded
    newer = tuple_(new.at_us, new.event_id) >= tuple_(table.c.at_us, table.c.event_id)
    changes = {"value": new.value, "at_us": new.at_us, "event_id": new.event_id}
    return statement.on_conflict_do_update(index_elements=["person_id", "name"], set_=changes, where=newer)


def _insert(connection: Connection, table: Table) -> _Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
