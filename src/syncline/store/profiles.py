"""People as the syncs see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, or_, select

from syncline.store import schema
from syncline.store.batches import batches

__all__ = ["Profile", "find", "profiles"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Who a person is. `emails` in the order we met them; `keys` are ours, those of merged people included.

    `namespaces` are those of all the person's identifiers.
    """

    person_id: int
    key: str
    emails: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    namespaces: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)


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
            found[person] = Profile(
                person_id=person,
                key=key,
                emails=tuple(value for namespace, value in known if namespace == "email"),
                keys=(key, *keys.get(person, ())),
                namespaces=frozenset(namespace for namespace, _ in known),
                attributes=attributes.get(person, {}),
            )
    return found


def _identifiers(connection: Connection, people: Collection[int]) -> dict[int, list[tuple[str, str]]]:
    """Person → (namespace, value), the first met first."""
    table = schema.identifier
    found: dict[int, list[tuple[str, str]]] = {}
    rows = connection.execute(
        select(table.c.person_id, table.c.namespace, table.c.value)
        .where(table.c.person_id.in_(people))
        .order_by(table.c.person_id, table.c.first_us, table.c.value)
    )
    for person, namespace, value in rows:
        found.setdefault(person, []).append((namespace, value))
    return found


def _attributes(connection: Connection, people: Collection[int]) -> dict[int, dict[str, str]]:
    table = schema.attribute
    found: dict[int, dict[str, str]] = {}
    rows = connection.execute(
        select(table.c.person_id, table.c.name, table.c.value).where(table.c.person_id.in_(people))
    )
    for person, name, value in rows:
        found.setdefault(person, {})[name] = value
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
