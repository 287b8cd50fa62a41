"""How much of its day a connection has used, told across processes: calls are reserved before they are made."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from syncline.store import schema
from syncline.store.batches import insert_new

__all__ = ["give_back", "reserve", "used"]


def used(connection: Connection, name: str, day: int) -> int:
    """Calls of that day (since 1970, UTC), those that are reserved included."""
    table = schema.usage
    mine = (table.c.connection == name, table.c.day == day)
    return connection.execute(select(table.c.calls).where(*mine)).scalar_one_or_none() or 0


def reserve(connection: Connection, name: str, day: int, calls: int, limit: int | None) -> int:
    """Take up to `calls` of what is left of the day; how many were taken. No `limit`: all of them."""
    table = schema.usage
    empty = {"connection": name, "day": day, "calls": 0, "write_calls": 0, "credits": 0}
    insert_new(connection, table, [empty])
    mine = (table.c.connection == name, table.c.day == day)
    locked = connection.execute(select(table.c.calls).where(*mine).with_for_update()).scalar_one()
    granted = calls if limit is None else max(0, min(calls, limit - locked))
    connection.execute(update(table).where(*mine).values(calls=table.c.calls + granted))
    return granted


def give_back(connection: Connection, name: str, day: int, calls: int) -> None:
    """Calls that were reserved and not made."""
    table = schema.usage
    mine = (table.c.connection == name, table.c.day == day)
    connection.execute(update(table).where(*mine).values(calls=table.c.calls - calls))
