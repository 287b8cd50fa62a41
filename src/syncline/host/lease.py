"""One active run per store: a row that says who runs, and until when that is believed."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select, update

from syncline.errors import BusyError
from syncline.model import from_microseconds, microseconds
from syncline.store import schema
from syncline.store.batches import upsert
from syncline.store.database import Database

__all__ = ["LEASE_TIME", "hold"]

LEASE_TIME: Final = timedelta(minutes=10)
"""How long a holder is believed that says nothing. It says something after every batch."""


@contextlib.contextmanager
def hold(database: Database, name: str, clock: Callable[[], datetime]) -> Iterator[Callable[[], None]]:
    """Hold the lease `name`; yields what renews it. BusyError when a living run holds it.

    A lease of a process of this machine that is gone (killed, say) is taken over at once; one of another machine when
    its time is up.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    with database.write() as connection:
        _take(connection, name, owner, clock())

    def renew() -> None:
        with database.write() as connection:
            _renew(connection, name, owner, clock())

    try:
        yield renew
    finally:
        table = schema.lease
        with database.write() as connection:
            connection.execute(delete(table).where(table.c.name == name, table.c.owner == owner))


def _take(connection: Connection, name: str, owner: str, now: datetime) -> None:
    table = schema.lease
    held = connection.execute(select(table).where(table.c.name == name)).first()
    if held is not None and held.expires_us > microseconds(now) and _lives(held.owner):
        until = from_microseconds(held.expires_us)
        raise BusyError(
            f"another run is active ({held.owner}); it is believed until {until:%Y-%m-%d %H:%M:%S} UTC "
            "unless it renews. Wait for it, or end that process"
        )
    upsert(connection, table, [{"name": name, "owner": owner, "expires_us": microseconds(now + LEASE_TIME)}])


def _renew(connection: Connection, name: str, owner: str, now: datetime) -> None:
    table = schema.lease
    renewed = connection.execute(
        update(table)
        .where(table.c.name == name, table.c.owner == owner)
        .values(expires_us=microseconds(now + LEASE_TIME))
    )
    if not renewed.rowcount:
        raise BusyError("another run has taken over the lease; this one stops, what it did is recorded")


def _lives(owner: str) -> bool:
    """Whether the holder may still run. Of another machine we cannot know: its time decides."""
    host, process, _ = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
