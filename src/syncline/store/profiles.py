"""People as the syncs see them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, or_, select, update

from syncline.model import event_id
from syncline.store import schema
from syncline.store.batches import batches, upsert

__all__ = [
    "Profile",
    "find",
    "first_identifiers",
    "known_keys",
    "people_of_keys",
    "profiles",
    "put_attributes",
    "put_keys",
]


@dataclass(frozen=True, slots=True)
class Profile:
    """Who a person is. `emails` in the order we met them; `keys` are ours, those of merged people included.

    `namespaces` are those of all the person's identifiers. `said_us`: when each attribute, and `email` for the first
    address, was said.
    """

    person_id: int
    key: str
    emails: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    namespaces: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)
    said_us: Mapping[str, int] = field(default_factory=dict)


def profiles(connection: Connection, people: Collection[int]) -> dict[int, Profile]:
    """The profiles of `people`; those merged into another are left out."""
    found: dict[int, Profile] = {}
    for batch in batches(people):
        identifiers = _identifiers(connection, batch)
        attributes = _attributes(connection, batch)
        keys = _keys(connection, batch)
        table = schema.person
        rows = connection.execute(
            select(table.c.id, table.c.key).where(table.c.id.in_(batch), table.c.merged_into.is_(None))
        )
        for person, key in rows:
            known = identifiers.get(person, ())
            emails = {value: at for namespace, value, at in known if namespace == "email"}
            said = attributes.get(person, {})
            found[person] = Profile(
                person_id=person,
                key=key,
                emails=tuple(emails),
                keys=(key, *keys.get(person, ())),
                namespaces=frozenset(namespace for namespace, _, _ in known),
                attributes={name: value for name, (value, _) in said.items()},
                said_us={"email": min(emails.values(), default=0)} | {name: at for name, (_, at) in said.items()},
            )
    return found


def _identifiers(connection: Connection, people: Collection[int]) -> dict[int, list[tuple[str, str, int]]]:
    """Person → (namespace, value, when it was first met), the first met first."""
    table = schema.identifier
    found: dict[int, list[tuple[str, str, int]]] = {}
    rows = connection.execute(
        select(table.c.person_id, table.c.namespace, table.c.value, table.c.first_us)
        .where(table.c.person_id.in_(people))
        .order_by(table.c.person_id, table.c.first_us, table.c.value)
    )
    for person, namespace, value, at in rows:
        found.setdefault(person, []).append((namespace, value, at))
    return found


def _attributes(connection: Connection, people: Collection[int]) -> dict[int, dict[str, tuple[str, int]]]:
    """Person → attribute → its value and when it was said."""
    table = schema.attribute
    found: dict[int, dict[str, tuple[str, int]]] = {}
    rows = connection.execute(
        select(table.c.person_id, table.c.name, table.c.value, table.c.at_us).where(table.c.person_id.in_(people))
    )
    for person, name, value, at in rows:
        found.setdefault(person, {})[name] = (value, at)
    return found


def _keys(connection: Connection, people: Collection[int]) -> dict[int, list[str]]:
    """Keys of the people merged into each, at any depth the merge kept flat."""
    table = schema.person
    found: dict[int, list[str]] = {}
    rows = connection.execute(
        select(table.c.merged_into, table.c.key).where(table.c.merged_into.in_(people)).order_by(table.c.id)
    )
    for person, key in rows:
        found.setdefault(person, []).append(key)
    return found


def known_keys(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of `keys` that somebody has."""
    table = schema.person
    found: set[str] = set()
    for batch in batches(keys):
        found |= set(connection.scalars(select(table.c.key).where(table.c.key.in_(batch))))
    return found


def first_identifiers(connection: Connection, people: Collection[int]) -> dict[int, tuple[str, str]]:
    """Person → namespace and value of the identifier we met first."""
    found: dict[int, tuple[str, str]] = {}
    for batch in batches(people):
        found |= {person: names[0][:2] for person, names in _identifiers(connection, batch).items()}
    return found


def people_of_keys(connection: Connection, keys: Collection[str]) -> dict[str, int]:
    """Key → who has it, or who the one that had it lives on as."""
    table = schema.person
    found: dict[str, int] = {}
    for batch in batches(keys):
        rows = connection.execute(select(table.c.key, table.c.id, table.c.merged_into).where(table.c.key.in_(batch)))
        found |= {key: person if survivor is None else survivor for key, person, survivor in rows}
    return found


def put_keys(connection: Connection, keys: Mapping[int, str]) -> None:
    """Give people another key."""
    for person, key in keys.items():
        connection.execute(update(schema.person).where(schema.person.c.id == person).values(key=key))


def put_attributes(
    connection: Connection, statements: Iterable[tuple[int, str, str | None, int]], *, whatever_was_said: bool
) -> None:
    """Each is person, attribute, value, time: what CRMs say. A value of None is forgotten.

    Unless it counts whatever else was said, a statement gives way to a later one.
    """
    table = schema.attribute
    told = list(statements)
    if not whatever_was_said:
        said = _attributes(connection, {person for person, *_ in told})
        told = [row for row in told if said.get(row[0], {}).get(row[1], ("", row[3]))[1] <= row[3]]
    for person, name, value, _ in told:
        if value is None:
            connection.execute(delete(table).where(table.c.person_id == person, table.c.name == name))
    rows = [
        {
            "person_id": person,
            "name": name,
            "value": value,
            "at_us": at_us,
            "event_id": bytes.fromhex(event_id("read", str(person), name, value)),
        }
        for person, name, value, at_us in told
        if value is not None
    ]
    for batch in batches(rows):
        upsert(connection, table, batch)


def find(connection: Connection, word: str) -> int | None:
    """The person with this key, this e-mail address (any letter case) or any other identifier; None if unknown."""
    table = schema.identifier
    by_key = connection.execute(
        select(schema.person.c.id, schema.person.c.merged_into).where(schema.person.c.key == word)
    ).first()
    if by_key:
        return int(by_key.merged_into or by_key.id)
    found = connection.execute(
        select(table.c.person_id).where(or_(table.c.value == word.strip().lower(), table.c.value == word)).limit(1)
    ).scalar_one_or_none()
    return None if found is None else int(found)
