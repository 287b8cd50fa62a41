"""A run that is asked to stop: the batch under way is finished and recorded, and the next run does the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from syncline.errors import TransientError
from syncline.host import Host
from syncline.model import Outcome
from syncline.store import schedules, schema
from syncline.sync.report import Report
from syncline.testing.memory import MemorySink, MemorySource

SYNCLINE = [sys.executable, "-c", "from syncline.cli.main import main; main()"]
AGES_AGO = datetime(1980, 1, 1, tzinfo=UTC)

PRESENT = datetime.now(UTC).replace(microsecond=0)
"""Processes of their own live in the real present, and so must the vendors: their clocks are held together."""


@contextmanager
def asked_at(host: Host, number: int, method: str = "upsert") -> Iterator[list[int]]:
    """The host is asked to stop while this call to the CRM is under way; yields how many rows each call had."""
    real, calls = getattr(MemorySink, method), list[int]()

    def asked(self: MemorySink, *arguments: Any) -> Sequence[Outcome]:
        calls.append(len(arguments[-1]))
        if len(calls) == number:
            host.stop.ask()
        found: Sequence[Outcome] = real(self, *arguments)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemorySink, method, asked)
        yield calls


def small_batches(lab: Any) -> Any:
    lab.limits = type(lab.limits)(upsert_batch=2, task_batch=2, member_batch=2)
    return lab


def statuses(lab: Any) -> list[str]:
    return [row["status"] for row in sorted(lab.rows("run"), key=lambda row: row["started_us"])]


def test_the_batch_under_way_is_recorded_and_nothing_further_is_sent(each_lab: Any) -> None:
    lab = small_batches(each_lab)
    lab.crowd(6)
    with lab.host() as host, asked_at(host, 2) as calls:
        report = host.run()
    assert (report.status, report.exit_code) == ("interrupted", 130)
    assert calls == [2, 2]
    assert len(lab.world.refs("Lead")) == len(lab.rows("acknowledged")) == 4
    assert report.sinks["crm"].created == 4
    assert sorted(change.status for change in report.sinks["crm"].changes) == ["created"] * 4 + ["pending"] * 2
    assert statuses(lab) == ["interrupted"]
    assert not lab.rows("lease")


@pytest.mark.parametrize(("number", "method"), [(1, "upsert"), (2, "upsert"), (1, "create_tasks"), (1, "set_members")])
def test_the_next_run_does_the_rest_and_nothing_is_doubled(
    make_lab: Callable[[str], Any], number: int, method: str
) -> None:
    stopped, undisturbed = small_batches(make_lab("stopped")), small_batches(make_lab("undisturbed"))
    for lab in (stopped, undisturbed):
        lab.crowd(5, points=90)
    with stopped.host() as host, asked_at(host, number, method):
        assert host.run().status == "interrupted"
    assert stopped.run().status == undisturbed.run().status == "done"
    assert stopped.holdings() == undisturbed.holdings()
    assert len(stopped.world.tasks) == 5
    with stopped.host() as host:
        assert host.run().sinks["crm"].write_calls == 0


def test_while_sources_are_read_the_page_under_way_is_kept(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.world.page_size = 5
    lab.crowd(20)
    read, pages = MemorySource.read, list[int]()
    with lab.host() as host:

        def asked(self: MemorySource, stream: str, cursor: str | None) -> Iterator[Any]:
            for page in read(self, stream, cursor):
                pages.append(len(page.records))
                if len(pages) == 2:
                    host.stop.ask()
                yield page

        monkeypatch.setattr(MemorySource, "read", asked)
        report = host.run()
    source = report.sources["shop"]
    assert (report.status, source.read, source.stored) == ("interrupted", 10, 10)
    assert not lab.world.refs("Lead")
    monkeypatch.setattr(MemorySource, "read", read)
    report = lab.run()
    assert (report.status, report.sources["shop"].stored) == ("done", 10)
    assert len(lab.world.refs("Lead")) == 20


@pytest.mark.parametrize("command", ["pull", "plan"])
def test_what_only_reads_can_be_stopped_as_well(lab: Any, command: str) -> None:
    lab.crowd(3)
    with lab.host() as host:
        host.stop.ask()
        report: Report = getattr(host, command)()
    assert (report.status, report.exit_code) == ("interrupted", 130)


def test_a_stop_is_not_delayed_by_a_vendor_that_asks_to_wait(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.crowd(3)
    tries = []
    with lab.host(retry=None) as host:

        def overloaded(*_: Any) -> Sequence[Outcome]:
            tries.append(1)
            host.stop.ask()
            raise TransientError("overloaded", retry_after=timedelta(minutes=2))

        with monkeypatch.context() as patch:
            patch.setattr(MemorySink, "upsert", overloaded)
            report = host.run()
    assert (report.status, tries) == ("interrupted", [1])
    assert lab.run().status == "done"
    assert len(lab.world.refs("Lead")) == 3


def test_an_interrupted_scheduled_run_goes_on_with_the_next_start(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncline.host.host._wall_clock", lambda: lab.now)
    small_batches(lab).crowd(6)
    lab.sync["cron"] = "0 3 * * *"
    with lab.host() as host:
        assert host.run_due() is None
        lab.later(24)
        with asked_at(host, 1):
            report = host.run_due()
    assert report is not None
    assert report.status == "interrupted"
    lab.later(0.1)
    with lab.host() as host:
        report = host.run_due()
        assert host.run_due() is None
    assert report is not None
    assert report.status == "done"
    assert statuses(lab) == ["interrupted", "done"]
    assert len(lab.world.refs("Lead")) == 6


# As processes, with vendors that outlive them


@contextmanager
def during_first_write(crm: Any, act: Callable[[], object]) -> Iterator[threading.Event]:
    """`act` while the first write call is at the CRM; the event is set then."""
    route, struck = crm._route, threading.Event()

    def struck_by(request: Any) -> Any:
        writes = request.method in ("PATCH", "POST") and b'"Syncline_Key__c"' in request.get_data()
        if writes and not struck.is_set():
            struck.set()
            act()
        return route(request)

    crm._route = struck_by
    yield struck
    crm._route = route


@contextmanager
def process(vendors: Any, *command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*SYNCLINE, *command, "--config", str(vendors.folder / "connectors.yaml")],
        env={**os.environ, **vendors.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def opened(vendors: Any) -> Host:
    return Host.load(vendors.folder / "connectors.yaml", env=vendors.env, clock=lambda: PRESENT)


@pytest.fixture
def world(vendors: Callable[..., Any]) -> Any:
    """Simulated vendors, a prepared CRM, and a sync that was due ages ago."""
    made = vendors("world", people=20, clock=PRESENT.isoformat())
    path = Path(made.folder / "connectors.yaml")
    path.write_text(path.read_text("utf-8").replace("every: 15m", "every: 9999d"), "utf-8")
    with opened(made) as host:
        host.prepare("crm")
        with host.database.write() as connection:
            schedules.first_seen(connection, {"leads": AGES_AGO})
    return made


def ended(vendors: Any) -> tuple[list[str], str | None]:
    """The statuses of the runs, and what the schedule says of the last one."""
    with opened(vendors) as host, host.database.read() as connection:
        rows = connection.execute(select(schema.run.c.status).order_by(schema.run.c.started_us)).scalars().all()
        return list(rows), schedules.turns(connection)["leads"].outcome


def keys(vendors: Any) -> list[str]:
    """Our keys in the CRM, of records and tasks."""
    rows = [row for name in ("Lead", "Contact", "Task") for row in vendors.crm.rows(name)]
    return [row["Syncline_Key__c"] for row in rows if row.get("Syncline_Key__c")]


def until(running: subprocess.Popen[str], words: str) -> bool:
    """Read the log until these words come; False when it ends before."""
    guard = threading.Timer(90, running.kill)
    guard.start()
    assert running.stderr is not None
    found = any(words in line for line in running.stderr)
    guard.cancel()
    return found


def serve_until_done(vendors: Any) -> None:
    """`syncline serve` until a scheduled run came to its end, and then until it ends itself."""
    with process(vendors, "serve", "--port", "0") as running:
        assert until(running, "scheduled run")
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0


def test_run_ends_after_the_batch_and_says_that_it_was_interrupted(world: Any) -> None:
    with process(world, "run", "--json") as running, during_first_write(world.crm, terminate(running)) as struck:
        out, log = running.communicate(timeout=90)
    assert struck.is_set()
    assert running.returncode == 130, log
    assert "interrupted; what was done so far is recorded" in log
    report = json.loads(out)
    assert report["status"] == "interrupted"
    assert report["sinks"]["crm"]["write_calls"] == 1
    assert ended(world)[0] == ["interrupted"]
    with opened(world) as host:
        assert host.run().status == "done"
    assert keys(world)
    assert len(keys(world)) == len(set(keys(world)))


def terminate(running: subprocess.Popen[str]) -> Callable[[], object]:
    return lambda: running.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("command", [["run"], ["serve", "--port", "0"]], ids=["run", "serve"])
def test_a_second_signal_ends_it_in_the_middle_of_a_call(world: Any, command: list[str]) -> None:
    over = threading.Event()

    def insist() -> None:
        """As people do; the call is answered only when the process is gone."""
        running.send_signal(signal.SIGTERM)
        while not over.wait(0.1):
            running.send_signal(signal.SIGINT)

    with process(world, *command) as running, during_first_write(world.crm, insist) as struck:
        running.communicate(timeout=90)
        over.set()
    assert struck.is_set()
    assert running.returncode == 130


def test_serve_ends_after_the_batch_and_goes_on_when_it_is_started_again(world: Any) -> None:
    serve = process(world, "serve", "--port", "0")
    with serve as running, during_first_write(world.crm, terminate(running)) as struck:
        _, log = running.communicate(timeout=90)
    assert struck.is_set()
    assert running.returncode == 0, log
    assert ended(world) == (["interrupted"], "interrupted")
    serve_until_done(world)
    assert ended(world) == (["interrupted", "done"], "done")
    assert len(keys(world)) == len(set(keys(world)))


def test_what_a_killed_serve_has_begun_is_run_again_by_the_next_one(world: Any) -> None:
    """At once: a lease of this machine is taken over as soon as its process is gone."""

    def kill() -> None:
        running.kill()
        running.wait()

    with process(world, "serve", "--port", "0") as running, during_first_write(world.crm, kill) as struck:
        running.communicate(timeout=90)
    assert struck.is_set()
    assert ended(world) == (["running"], schedules.BEGUN)
    serve_until_done(world)
    assert ended(world) == (["killed", "done"], "done")
    assert len(keys(world)) == len(set(keys(world)))
