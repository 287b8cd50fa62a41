"""Where reading a stream goes on: opaque positions, of sources and of mirrors alike."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from syncline.store.batches import upsert
from syncline.store.schema import cursor as table

__all__ = ["forget", "load", "save"]


def load(connection: Connection, name: str, stream: str) -> str | None:
    """Where the next read of the stream begins; None: at the start."""
    wanted = (table.c.connection == name, table.c.stream == stream)
    return connection.execute(select(table.c.cursor).where(*wanted)).scalar_one_or_none()


def save(connection: Connection, name: str, stream: str, cursor: str, at_us: int) -> None:
    """Remember the cursor; belongs into the transaction of the records before it."""
    upsert(connection, table, [{"connection": name, "stream": stream, "cursor": cursor, "updated_us": at_us}])


def forget(connection: Connection, name: str, stream: str) -> None:
    """Let the next read begin at the start."""
    connection.execute(delete(table).where(table.c.connection == name, table.c.stream == stream))
