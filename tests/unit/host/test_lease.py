"""One active run per store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from syncline.errors import BusyError
from syncline.host.lease import LEASE_TIME, hold
from syncline.model import microseconds
from syncline.store import schema
from syncline.store.batches import upsert
from syncline.store.database import Database

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/state.db")
    yield found
    found.close()


def clock(moment: datetime = NOW) -> Callable[[], datetime]:
    return lambda: moment


def held_by(database: Database, owner: str, until: datetime = NOW + LEASE_TIME) -> None:
    with database.write() as connection:
        upsert(connection, schema.lease, [{"name": "run", "owner": owner, "expires_us": microseconds(until)}])


def owner_of(database: Database) -> str | None:
    with database.read() as connection:
        return connection.execute(select(schema.lease.c.owner)).scalar_one_or_none()


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_run_is_refused_while_the_first_lives(database: Database) -> None:
    with hold(database, "run", clock()):
        with pytest.raises(BusyError, match=f"another run is active .*:{os.getpid()}:"), hold(database, "run", clock()):
            pytest.fail("two hold it")
        assert owner_of(database) is not None, "the refused one did not take it away"
    assert owner_of(database) is None


def test_it_is_given_back_when_the_run_fails(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), hold(database, "run", clock()):
        raise ZeroDivisionError
    with hold(database, "run", clock()):
        pass


def test_leases_of_different_names_do_not_meet(database: Database) -> None:
    with hold(database, "run", clock()), hold(database, "other", clock()):
        pass


def test_the_lease_of_a_dead_process_is_taken_over_at_once(database: Database) -> None:
    held_by(database, f"{socket.gethostname()}:{dead_process()}:abcd")
    with hold(database, "run", clock()):
        assert f":{os.getpid()}:" in str(owner_of(database))


def test_a_living_process_of_this_machine_is_believed(database: Database) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    held_by(database, f"{socket.gethostname()}:{process.pid}:abcd")
    try:
        with pytest.raises(BusyError), hold(database, "run", clock()):
            pytest.fail("it was taken from a living process")
    finally:
        process.communicate()


@pytest.mark.parametrize(
    ("age", "free"), [(LEASE_TIME - timedelta(seconds=1), False), (LEASE_TIME, True)], ids=["in time", "over time"]
)
def test_another_machine_is_believed_until_its_time_is_up(database: Database, age: timedelta, free: bool) -> None:
    held_by(database, "elsewhere:1:abcd")
    if free:
        with hold(database, "run", clock(NOW + age)):
            assert str(owner_of(database)).startswith(socket.gethostname())
    else:
        with pytest.raises(BusyError, match="2026-06-01 08:10:00"), hold(database, "run", clock(NOW + age)):
            pytest.fail("it was taken too early")


def test_renewing_keeps_it(database: Database) -> None:
    moment = [NOW]
    with hold(database, "run", lambda: moment[0]) as renew:
        moment[0] += LEASE_TIME - timedelta(seconds=1)
        renew()
        moment[0] += LEASE_TIME - timedelta(seconds=1)
        with pytest.raises(BusyError), hold(database, "run", lambda: moment[0]):
            pytest.fail("it was renewed")


def test_a_run_that_lost_its_lease_stops_and_leaves_the_new_holder_alone(database: Database) -> None:
    with hold(database, "run", clock()) as renew:
        held_by(database, "elsewhere:1:abcd")
        with pytest.raises(BusyError, match="taken over"):
            renew()
    assert owner_of(database) == "elsewhere:1:abcd"
