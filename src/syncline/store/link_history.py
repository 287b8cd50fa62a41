"""Links that have ended, each with the reason; and records of which somebody said that they are not a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from syncline.model import RemoteRef
from syncline.store import schema
from syncline.store.batches import batches

__all__ = ["PastLink", "denied", "deny", "end_links", "past_links", "undeny"]

_DENIED: Final = "denied"


@dataclass(frozen=True, slots=True)
class PastLink:
    """A link that has ended, and why. `how` is `denied` where a person said that the record is somebody else."""

    connection: str
    ref: RemoteRef
    how: str
    from_us: int
    until_us: int
    why: str


def past_links(connection: Connection, person_id: int) -> list[PastLink]:
    """The records a person was, in all CRMs; what ended first comes first."""
    table = schema.link_history
    mine = select(table).where(table.c.person_id == person_id).order_by(table.c.until_us, table.c.id)
    return [
        PastLink(row.connection, RemoteRef(row.object, row.remote_id), row.how, row.from_us, row.until_us, row.why)
        for row in connection.execute(mine)
    ]


def end_links(connection: Connection, name: str, which: ColumnElement[bool], why: str, until_us: int) -> None:
    """End the links of one CRM that `which` picks; they are history from now on."""
    table = schema.link
    mine = and_(table.c.connection == name, which)
    rows = [
        {
            "person_id": row.person_id,
            "connection": name,
            "object": row.object,
            "remote_id": row.remote_id,
            "how": row.how,
            "from_us": row.at_us,
            "until_us": until_us,
            "why": why,
        }
        for row in connection.execute(select(table).where(mine))
    ]
    if rows:
        connection.execute(insert(schema.link_history), rows)
        connection.execute(delete(table).where(mine))


def deny(connection: Connection, name: str, person_id: int, refs: Iterable[RemoteRef], at_us: int) -> None:
    """A person said that none of these records is this one: they are no candidates any more."""
    said = {
        "person_id": person_id,
        "connection": name,
        "how": _DENIED,
        "from_us": at_us,
        "until_us": at_us,
        "why": "decided: not this person",
    }
    rows = [{**said, "object": ref.object, "remote_id": ref.id} for ref in refs]
    if rows:
        connection.execute(insert(schema.link_history), rows)


def undeny(connection: Connection, name: str, person_id: int, ref: RemoteRef) -> None:
    """What was said of this record no longer holds."""
    table = schema.link_history
    same = {"connection": name, "person_id": person_id, "object": ref.object, "remote_id": ref.id, "how": _DENIED}
    connection.execute(delete(table).where(*(table.c[column] == value for column, value in same.items())))


def denied(connection: Connection, name: str, people: Collection[int]) -> dict[int, set[RemoteRef]]:
    """Person → records that somebody said are not theirs."""
    table = schema.link_history
    found: defaultdict[int, set[RemoteRef]] = defaultdict(set)
    for batch in batches(people):
        mine = (table.c.connection == name, table.c.how == _DENIED, table.c.person_id.in_(batch))
        for row in connection.execute(select(table).where(*mine)):
            found[row.person_id].add(RemoteRef(row.object, row.remote_id))
    return found
