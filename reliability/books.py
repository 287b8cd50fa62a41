"""What the store of a world says of people and dead letters: looked up in its tables, by address."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from reliability.world import World
from syncline.store import schema
from syncline.store.database import Database

__all__ = ["Letter", "letters", "task_keys"]


@dataclass(frozen=True, slots=True)
class Letter:
    """A write that the CRM refused."""

    email: str
    operation: str
    reason: str


@contextlib.contextmanager
def _store(world: World) -> Iterator[Connection]:
    with contextlib.closing(Database(world.env["STORE"])) as database, database.read() as connection:
        yield connection


def _emails(connection: Connection) -> dict[int, str]:
    """Person → address."""
    table = schema.identifier
    return {
        row.person_id: row.value
        for row in connection.execute(select(table.c.person_id, table.c.value).where(table.c.namespace == "email"))
    }


def letters(world: World) -> list[Letter]:
    """The dead letters there are."""
    table = schema.dead_letter
    with _store(world) as connection:
        emails = _emails(connection)
        rows = connection.execute(select(table.c.person_id, table.c.operation, table.c.reason)).all()
    return [Letter(emails[row.person_id], row.operation, row.reason or "") for row in rows]


def task_keys(world: World) -> dict[str, str]:
    """Address → the key of the task that is still to be written."""
    table = schema.action
    with _store(world) as connection:
        emails = _emails(connection)
        rows = connection.execute(select(table.c.person_id, table.c.key).where(table.c.status == "waiting")).all()
    return {emails[row.person_id]: row.key for row in rows}
