"""One active run per store: a row that says who runs, and until when that is believed."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from syncline.errors import BusyError, StoreError
from syncline.model import from_microseconds, microseconds
from syncline.store import schema
from syncline.store.database import Database

__all__ = ["LEASE_TIME", "hold"]

LEASE_TIME: Final = timedelta(minutes=10)
"""How long a holder is believed that says nothing. It says something after every batch, and every fifth of this."""

Wait = Callable[[threading.Event, float], bool]
"""Returns when the event is set or the seconds are over; True when it is set."""

_log = logging.getLogger(__name__)
_held: set[str] = set()
"""Owners in this process: what else bears our process id was left by one before us that had the same."""


@contextlib.contextmanager
def hold(
    database: Database, name: str, clock: Callable[[], datetime], *, wait: Wait = threading.Event.wait
) -> Iterator[Callable[[], None]]:
    """Hold the lease `name`; yields what renews it. BusyError when a living run holds it.

    A lease of this machine is taken over as soon as its process is gone (killed, say), and never before; one of another
    machine when its time is up. While it is held a thread renews it too: a call may wait for longer than the lease
    lasts. That thread never disturbs the run; whether the lease was lost, the next renewal by the run tells.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}-{secrets.token_hex(4)}"
    _held.add(owner)
    try:
        with database.write() as connection:
            _take(connection, name, owner, clock())

        def renew() -> None:
            with database.write() as connection:
                _renew(connection, name, owner, clock())

        with _beating(renew, wait), _given_back(database, name, owner):
            yield renew
    finally:
        _held.discard(owner)


@contextlib.contextmanager
def _beating(renew: Callable[[], None], wait: Wait) -> Iterator[None]:
    every = (LEASE_TIME / 5).total_seconds()
    stop = threading.Event()

    def beat() -> None:
        while not wait(stop, every):
            try:
                renew()
            except BusyError:
                return
            except StoreError as error:
                _log.warning("the lease could not be renewed, it is tried again in %d seconds: %s", every, error)

    thread = threading.Thread(target=beat, name="syncline-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(every)


@contextlib.contextmanager
def _given_back(database: Database, name: str, owner: str) -> Iterator[None]:
    """Give the lease back. If the store does not let us, the error of the run matters more: it is told instead."""
    table = schema.lease
    give_back = delete(table).where(table.c.name == name, table.c.owner == owner)
    try:
        yield
    except BaseException:
        with contextlib.suppress(StoreError), database.write() as connection:
            connection.execute(give_back)
        raise
    with database.write() as connection:
        connection.execute(give_back)


def _take(connection: Connection, name: str, owner: str, now: datetime) -> None:
    """Take it if it is still as we saw it: one statement, so that of several at once only one succeeds."""
    table = schema.lease
    seen = connection.execute(select(table).where(table.c.name == name)).first()
    if seen is not None and _believed(seen, now):
        raise _busy(seen)
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    mine = {"owner": owner, "expires_us": microseconds(now + LEASE_TIME)}
    statement = insert(table).values(name=name, **mine)
    if seen is None:
        statement = statement.on_conflict_do_nothing()
    else:
        as_seen = and_(table.c.owner == seen.owner, table.c.expires_us == seen.expires_us)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=mine, where=as_seen)
    if connection.execute(statement.returning(table.c.owner)).first() is None:
        raise _busy(connection.execute(select(table).where(table.c.name == name)).first())


def _busy(held: Row[Any] | None) -> BusyError:
    if held is None:  # taken and given back in the moment between
        return BusyError("another run was active just now; start this one again")
    host, process, _ = held.owner.rsplit(":", 2)
    if host == socket.gethostname():
        return BusyError(f"another run is active ({held.owner}). Wait for it, or end process {process}")
    until = from_microseconds(held.expires_us)
    return BusyError(
        f"another run is active ({held.owner}); it is believed until {until:%Y-%m-%d %H:%M:%S} UTC unless it renews. "
        "Wait for it, or end that process"
    )


def _renew(connection: Connection, name: str, owner: str, now: datetime) -> None:
    table = schema.lease
    renewed = connection.execute(
        update(table)
        .where(table.c.name == name, table.c.owner == owner)
        .values(expires_us=microseconds(now + LEASE_TIME))
    )
    if not renewed.rowcount:
        raise BusyError("another run has taken over the lease; this one stops, what it did is recorded")


def _believed(held: Row[Any], now: datetime) -> bool:
    """Whether the holder may still run. Of another machine we cannot know: its time decides. Of this one we can,
    whatever the time says: clocks jump, and machines sleep."""
    host, process, mark = held.owner.rsplit(":", 2)
    if host != socket.gethostname():
        return bool(held.expires_us > microseconds(now))
    if int(process) == os.getpid():
        return held.owner in _held
    return _lives(int(process)) and not _reused(int(process), mark)


def _reused(process: int, mark: str) -> bool:
    """Whether another process has got the holder's id since."""
    then, now = mark.rpartition("-")[0], _started(process)
    return bool(then and now and then != now)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(process: int) -> str:
    """When the process started, in the kernel's ticks: process ids are used again. Empty where that is not told."""
    try:
        stat = Path("/proc", str(process), "stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # the 22nd field, proc(5); the name before it may hold blanks
