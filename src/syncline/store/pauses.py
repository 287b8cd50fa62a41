"""Connections that are not written to for now: why, since when, until when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, select

from syncline.store import schema
from syncline.store.batches import upsert

__all__ = ["Kind", "Pause", "lift", "pause", "paused", "pauses"]

Kind = Literal["asked", "undo", "quota"]
"""Who or what paused it: a person, an undone run, the vendor's or our own limit of the day."""


@dataclass(frozen=True, slots=True)
class Pause:
    """`until_us` None: until a person resumes it."""

    connection: str
    kind: Kind
    reason: str
    since_us: int
    until_us: int | None = None


def pause(connection: Connection, found: Pause) -> None:
    """Begin a pause. One that waits for a person is not shortened by one that ends by itself."""
    known = pauses(connection).get(found.connection)
    if known is not None and known.until_us is None and found.until_us is not None:
        return
    row = {
        "connection": found.connection,
        "kind": found.kind,
        "reason": found.reason,
        "since_us": found.since_us,
        "until_us": found.until_us,
    }
    upsert(connection, schema.pause, [row])


def lift(connection: Connection, name: str) -> bool:
    """End it; whether there was one."""
    return bool(connection.execute(delete(schema.pause).where(schema.pause.c.connection == name)).rowcount)


def pauses(connection: Connection) -> dict[str, Pause]:
    """Connection → its pause, those that are over included."""
    return {row.connection: Pause(**row._mapping) for row in connection.execute(select(schema.pause))}


def paused(connection: Connection, now_us: int) -> dict[str, Pause]:
    """Connection → its pause, if it holds at this time."""
    return {
        name: found for name, found in pauses(connection).items() if found.until_us is None or found.until_us > now_us
    }
