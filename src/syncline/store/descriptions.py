"""CRM objects as they were described when their mappings last passed preflight, and which mappings are parked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, select, update

from syncline.model import Field, Value
from syncline.store import schema
from syncline.store.batches import upsert
from syncline.store.values import load

__all__ = ["Description", "Known", "accepted_values", "descriptions", "forget", "put_description", "take_as_it_is"]


@dataclass(frozen=True, slots=True)
class Known:
    """One mapping. `field` is how the CRM described it when it last passed, at `passed_us`: None if it never did.

    `parked` is why it is not written now.
    """

    field: Field | None = None
    passed_us: int | None = None
    parked: str | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """One object's mappings by name, and the names of all its fields when last no mapping was parked."""

    mappings: Mapping[str, Known] = field(default_factory=dict)
    names: frozenset[str] = frozenset()

    def last_good(self, name: str) -> Known | None:
        """What is known of a mapping that has passed before."""
        known = self.mappings.get(name)
        return known if known is not None and known.field is not None else None


def descriptions(connection: Connection, name: str) -> dict[str, Description]:
    """Object → what is known of its mappings."""
    table = schema.description
    rows = connection.execute(select(table).where(table.c.connection == name))
    return {row.object: _description(json.loads(row.fields), row.seen_us) for row in rows}


def _description(stored: Mapping[str, Any], seen_us: int) -> Description:
    mappings = {
        name: Known(_field(known["field"]), known.get("passed_us", seen_us), known.get("parked"))
        for name, known in stored["mappings"].items()
    }
    return Description(mappings, frozenset(stored["names"]))


def put_description(
    connection: Connection, name: str, object_name: str, description: Description, seen_us: int
) -> None:
    """Keep it. The time of what passes now is `seen_us`: a run that finds nothing changed rewrites only that."""
    table = schema.description
    fields = json.dumps(_stored(description), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    fingerprint = hashlib.sha256(fields.encode()).hexdigest()
    same = (table.c.connection == name, table.c.object == object_name, table.c.fingerprint == fingerprint)
    if connection.execute(update(table).where(*same).values(seen_us=seen_us)).rowcount:
        return
    row = {
        "connection": name,
        "object": object_name,
        "fields": fields,
        "fingerprint": fingerprint,
        "seen_us": seen_us,
    }
    upsert(connection, table, [row])


def _stored(description: Description) -> dict[str, Any]:
    mappings: dict[str, dict[str, Any]] = {}
    for name, known in description.mappings.items():
        mappings[name] = {"field": asdict(known.field) if known.field else None}
        if known.parked is not None:
            mappings[name] |= {"passed_us": known.passed_us, "parked": known.parked}
    return {"mappings": mappings, "names": sorted(description.names)}


def _field(stored: Mapping[str, Any] | None) -> Field | None:
    return None if stored is None else Field(**{**stored, "options": tuple(stored["options"])})


def take_as_it_is(connection: Connection, name: str, object_name: str, field_name: str) -> bool:
    """Forget how a field was: it is held against its mapping only, as one that is new. False if none is known."""
    known = descriptions(connection, name).get(object_name)
    if known is None or field_name not in known.mappings:
        return False
    mappings = {**known.mappings, field_name: Known(parked=known.mappings[field_name].parked)}
    table = schema.description
    row = (table.c.connection == name, table.c.object == object_name)
    seen_us = connection.execute(select(table.c.seen_us).where(*row)).scalar_one()
    put_description(connection, name, object_name, Description(mappings, known.names), seen_us)
    return True


def accepted_values(connection: Connection, name: str, object_name: str, field_name: str) -> set[Value]:
    """The values of ours that this field has taken, over all records. Reads every acknowledged row of the object."""
    table = schema.acknowledged
    rows: Iterable[str] = connection.scalars(
        select(table.c.fields).where(table.c.connection == name, table.c.object == object_name)
    )
    return {load(fields).get(field_name) for fields in rows if f'"{field_name}"' in fields} - {None}


def forget(connection: Connection, name: str) -> None:
    """As if this CRM had never been described."""
    table = schema.description
    connection.execute(delete(table).where(table.c.connection == name))
