"""Troubles that somebody is told of once, when they begin, and once more when they are over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from syncline.store import schema
from syncline.store.batches import upsert

__all__ = ["Known", "Trouble", "forget", "known", "put", "told"]


class Trouble(NamedTuple):
    """`subject` is the connection or the sync it is about, or `all`."""

    kind: str
    subject: str


class Known(NamedTuple):
    """A trouble that was seen. `told_us` None: nobody knows of it yet."""

    trouble: Trouble
    first_us: int
    last_us: int
    times: int
    told_us: int | None


def known(connection: Connection) -> list[Known]:
    """All that have not ended, oldest first."""
    table = schema.alert
    rows = connection.execute(select(table).order_by(table.c.first_us, table.c.kind, table.c.subject))
    return [Known(Trouble(row.kind, row.subject), row.first_us, row.last_us, row.times, row.told_us) for row in rows]


def put(connection: Connection, seen: Sequence[Known]) -> None:
    """Keep them as they are now. Whether somebody was told already is left as it stands."""
    rows = [
        {
            "kind": item.trouble.kind,
            "subject": item.trouble.subject,
            "first_us": item.first_us,
            "last_us": item.last_us,
            "times": item.times,
            "told_us": item.told_us,
        }
        for item in seen
    ]
    upsert(connection, schema.alert, rows, keep=("first_us", "told_us"))


def told(connection: Connection, troubles: Collection[Trouble], at_us: int) -> None:
    """Somebody knows of these now."""
    for trouble in troubles:
        connection.execute(update(schema.alert).where(_is(trouble)).values(told_us=at_us))


def forget(connection: Connection, troubles: Collection[Trouble]) -> None:
    """They are over."""
    for trouble in troubles:
        connection.execute(delete(schema.alert).where(_is(trouble)))


def _is(trouble: Trouble) -> ColumnElement[bool]:
    return and_(schema.alert.c.kind == trouble.kind, schema.alert.c.subject == trouble.subject)
