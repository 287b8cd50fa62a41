"""One active run per store."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.exc import OperationalError

from syncline.errors import BusyError, StoreError
from syncline.host import lease
from syncline.host.lease import LEASE_TIME, hold
from syncline.model import microseconds
from syncline.store import schema
from syncline.store.batches import upsert
from syncline.store.database import Database

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


POSTGRES = "postgresql+psycopg://postgres@127.0.0.1/postgres"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/state.db")
    yield found
    found.close()


@pytest.fixture
def server() -> Iterator[Database]:
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    name = f"lease_{secrets.token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
    except OperationalError:
        pytest.skip("no PostgreSQL server answers on 127.0.0.1:5432 for the user postgres")
    found = Database(f"{POSTGRES}?options=-csearch_path%3D{name}")
    yield found
    found.close()
    with admin.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    admin.dispose()


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


def holders(database: Database) -> dict[str, str]:
    """Lease → who holds it, as the store says."""
    with database.read() as connection:
        return {row.name: row.owner for row in connection.execute(select(schema.lease))}


def test_leases_of_different_names_do_not_meet(database: Database) -> None:
    with hold(database, "run", clock()), hold(database, "other", clock()):
        assert set(holders(database)) == {"run", "other"}
    assert not holders(database)


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


def foreign_lease_over_time(database: Database) -> None:
    held_by(database, "elsewhere:1:abcd", NOW)


def lease_of_the_dead(database: Database) -> None:
    held_by(database, f"{socket.gethostname()}:{dead_process()}:abcd")


def look_together(database: Database, parties: int) -> None:
    """Every thread has seen the lease before one of them takes it."""
    barrier, looked = threading.Barrier(parties), set[int]()

    def looks(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT lease") and threading.get_ident() not in looked:
            looked.add(threading.get_ident())
            barrier.wait(10)

    event.listen(database.engine, "after_cursor_execute", looks)


def race(database: Database, parties: int = 2) -> list[str]:
    """What became of each of so many that want the lease at once."""
    said: list[str] = []
    refused = threading.Semaphore(0)

    def want() -> None:
        try:
            with hold(database, "run", clock()):
                said.append("held")
                for _ in range(parties - 1):
                    refused.acquire(timeout=5)
        except BusyError as error:
            said.append(str(error).partition(" (")[0])
            refused.release()

    threads = [threading.Thread(target=want) for _ in range(parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(said)


BEFORE = pytest.mark.parametrize(
    "before", [lambda _: None, foreign_lease_over_time, lease_of_the_dead], ids=["free", "over time", "of the dead"]
)


@BEFORE
def test_of_two_at_once_one_gets_it(database: Database, before: Callable[[Database], None]) -> None:
    before(database)
    assert race(database) == ["another run is active", "held"]


@BEFORE
def test_of_two_at_once_one_gets_it_on_postgresql(server: Database, before: Callable[[Database], None]) -> None:
    before(server)
    look_together(server, 2)
    assert race(server) == ["another run is active", "held"]


def test_a_living_process_of_this_machine_is_believed_whatever_the_time(database: Database) -> None:
    """A clock that jumps forward, or a machine that slept, does not make two runs of one."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    held_by(database, f"{socket.gethostname()}:{process.pid}:{lease._started(process.pid)}-abcd")
    try:
        with pytest.raises(BusyError, match=f"end process {process.pid}"), hold(database, "run", clock(NOW + DAY)):
            pytest.fail("it was taken from a living process")
    finally:
        process.communicate()


def test_a_process_id_used_again_is_not_the_holder(database: Database) -> None:
    """Containers start with the same few ids again and again: the holder's may be ours."""
    before = f"{socket.gethostname()}:{os.getpid()}:1-abcd"
    held_by(database, before)
    with hold(database, "run", clock()):
        assert holders(database)["run"] != before
    if not lease._started(os.getppid()):
        pytest.skip("this system does not tell when a process started")
    before = f"{socket.gethostname()}:{os.getppid()}:1-abcd"
    held_by(database, before)
    with hold(database, "run", clock()):
        assert holders(database)["run"] != before


class Ticks:
    """The heart beats when `tick` is called, not when time passes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.ended = False
        self._idle = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def __call__(self, stop: threading.Event, seconds: float) -> bool:
        self.seconds = seconds
        self._idle.release()
        while not self._go.acquire(timeout=0.005):
            if stop.is_set():
                self.ended = True
                return True
        return False

    def tick(self) -> None:
        """Returns when the beat is over."""
        self._idle.acquire(timeout=10)
        self._go.release()
        assert self._idle.acquire(timeout=10), "no beat"
        self._idle.release()


def expiry(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(schema.lease.c.expires_us)).scalar_one()


def test_it_is_renewed_while_the_run_waits(database: Database) -> None:
    moment, ticks = [NOW], Ticks()
    with hold(database, "run", lambda: moment[0], wait=ticks):
        for _ in range(3):
            moment[0] += LEASE_TIME - timedelta(seconds=1)
            ticks.tick()
            assert expiry(database) == microseconds(moment[0] + LEASE_TIME)
        assert ticks.seconds == LEASE_TIME.total_seconds() / 5
    assert ticks.ended
    assert "syncline-lease" not in {thread.name for thread in threading.enumerate()}


def test_the_heart_stops_when_the_run_fails(database: Database) -> None:
    ticks = Ticks()
    with pytest.raises(ZeroDivisionError), hold(database, "run", clock(), wait=ticks):
        raise ZeroDivisionError
    assert ticks.ended


def test_a_lost_lease_is_told_by_the_next_renewal_only(database: Database) -> None:
    ended = threading.Event()
    beats = iter([False])

    def wait(_stop: threading.Event, _seconds: float) -> bool:
        if next(beats, None) is None:
            ended.set()
            return True
        taken.wait(10)
        return False

    taken = threading.Event()
    with hold(database, "run", clock(), wait=wait) as renew:
        held_by(database, "elsewhere:1:abcd")
        taken.set()
        heart = next((thread for thread in threading.enumerate() if thread.name == "syncline-lease"), None)
        if heart is not None:
            heart.join(10)
        with pytest.raises(BusyError, match="taken over"):
            renew()
    assert not ended.is_set(), "it beats no more"
    assert owner_of(database) == "elsewhere:1:abcd"


def test_a_beat_that_fails_is_logged_and_tried_again(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    moment, ticks = [NOW], Ticks()
    with hold(database, "run", lambda: moment[0], wait=ticks):
        with database.write() as connection:
            connection.execute(text("ALTER TABLE lease RENAME TO away"))
        ticks.tick()
        assert "could not be renewed" in caplog.text
        with database.write() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO lease"))
        moment[0] += timedelta(minutes=1)
        ticks.tick()
        assert expiry(database) == microseconds(moment[0] + LEASE_TIME)


def test_a_store_that_is_lost_at_the_end_does_not_hide_why_the_run_failed(database: Database) -> None:
    def fail() -> None:
        with hold(database, "run", clock()):
            with database.write() as connection:
                connection.execute(text("DROP TABLE lease"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_what_could_not_be_given_back_does_not_lock_out_its_own_process(database: Database) -> None:
    def lose() -> None:
        with hold(database, "run", clock()), database.write() as connection:
            connection.execute(text("ALTER TABLE lease RENAME TO away"))

    with pytest.raises(StoreError):
        lose()
    with database.write() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO lease"))
    with hold(database, "run", clock()):
        pass
