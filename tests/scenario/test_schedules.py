"""Syncs that run on their schedules: each time once, whoever looks at the clock, and whatever was missed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from syncline.errors import BusyError, StoreError
from syncline.host import host as host_module
from syncline.host.host import Host
from syncline.host.scheduler import LOOK, PAUSE, Scheduler
from syncline.model import Outcome, Write, microseconds
from syncline.store.database import Database
from syncline.sync.report import Report
from syncline.testing.memory import MemorySink

QUARTER = timedelta(minutes=15)


@pytest.fixture
def timed(each_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A lab with a few people whose sync runs every quarter of an hour, and whose only clock is `now`."""
    each_lab.sync["every"] = "15m"
    each_lab.crowd(2)
    monkeypatch.setattr(host_module, "_wall_clock", lambda: each_lab.now)
    return each_lab


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Host]]:
    """Hosts that are open side by side, as several processes have them."""
    with ExitStack() as stack:
        yield lambda lab: stack.enter_context(lab.host())


def noted(lab: Any) -> dict[str, tuple[int, str]]:
    """Sync → the time it was last run for, and how that went."""
    return {row["sync"]: (row["due_us"], row["outcome"]) for row in lab.rows("schedule")}


def runs(lab: Any) -> list[str]:
    return [row["status"] for row in sorted(lab.rows("run"), key=lambda row: row["started_us"])]


def test_a_sync_runs_when_its_time_comes_and_not_before(timed: Any, opened: Callable[[Any], Host]) -> None:
    host = opened(timed)
    assert host.run_due() is None, "seen for the first time: it waits for its next time"
    timed.later(0.2)
    assert host.run_due() is None
    timed.later(0.1)
    report = host.run_due()
    assert report is not None
    assert report.status == "done"
    assert noted(timed) == {"leads": (microseconds(timed.now - timedelta(minutes=3)), "done")}
    assert host.run_due() is None


def test_what_was_missed_is_caught_up_once(timed: Any, opened: Callable[[Any], Host]) -> None:
    opened(timed).run_due()
    timed.later(72)
    for host in (opened(timed), opened(timed)):
        host.run_due()
    assert len(runs(timed)) == 1
    assert noted(timed) == {"leads": (microseconds(timed.now), "done")}


def test_syncs_that_are_due_together_run_together_and_the_others_do_not(
    lab: Any, opened: Callable[[Any], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`leads` and `words` write the same records, `others` those of another CRM, `nightly` has hours to go."""
    monkeypatch.setattr(host_module, "_wall_clock", lambda: lab.now)
    whole = dict(lab.fields)
    lab.add_second_crm()
    lab.sync.update(every="15m", fields={name: whole[name] for name in ("Score", "Email", "LastName")})
    lab.data["syncs"][1].update(every="30m")
    base = {key: lab.sync[key] for key in ("to", "object", "also", "match", "when_missing")}
    lab.data["syncs"] += [
        {**base, "name": "words", "cron": "*/30 * * * *", "fields": {"Band": whole["Band"]}},
        {**base, "name": "nightly", "cron": "0 3 * * *", "time_zone": "Europe/Rome", "fields": {"Why": whole["Why"]}},
    ]
    lab.points("ada@acme.example", 90, last_name="Ada")
    host = opened(lab)
    host.run_due()
    lab.later(0.25)
    host.run_due()
    held = lab.held("ada@acme.example")
    assert (held["Score"], held.get("Band"), held.get("Why")) == (90, None, None)
    assert not lab.second.refs("Lead")
    lab.later(0.25)
    report = host.run_due()
    assert report is not None
    assert set(report.sinks) == {"crm", "other"}
    held = lab.held("ada@acme.example")
    assert (held["Band"], held.get("Why")) == ("hot", None)
    assert len(lab.second.refs("Lead")) == 1
    assert len({row["run_id"] for row in lab.rows("schedule") if row["sync"] != "nightly"}) == 1
    assert len(runs(lab)) == 2


def test_two_schedulers_on_one_store_run_no_time_twice(timed: Any, opened: Callable[[Any], Host]) -> None:
    """Two APSchedulers on one store ran 5 of 13 times twice."""
    both = [Scheduler(opened(timed)), Scheduler(opened(timed))]
    for number in range(14):
        for scheduler in both if number % 2 else reversed(both):
            assert scheduler.tick() == LOOK
            assert scheduler.tick() == LOOK
        timed.now += QUARTER
    assert runs(timed) == ["done"] * 13


def test_two_that_have_both_seen_that_a_sync_is_due_run_it_once(
    timed: Any, opened: Callable[[Any], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one begins and ends in the moment between the look and the lease."""
    first, second, hold = opened(timed), opened(timed), host_module.hold
    first.run_due()
    timed.now += QUARTER
    assert set(first.due().times) == set(second.due().times) == {"leads"}
    others: list[Report | None] = []

    def late(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(host_module, "hold", hold)
        others.append(first.run_due())
        return hold(*arguments, **more)

    monkeypatch.setattr(host_module, "hold", late)
    assert second.run_due() is None
    assert others[0] is not None
    assert runs(timed) == ["done"]


def test_two_that_begin_in_the_same_moment_run_it_once(timed: Any, opened: Callable[[Any], Host]) -> None:
    hosts = [opened(timed), opened(timed)]
    hosts[0].run_due()
    together = threading.Barrier(2)
    found: list[Report | str | None] = []

    def begin(host: Host) -> None:
        together.wait(10)
        try:
            found.append(host.run_due())
        except BusyError:
            found.append("busy")

    for _ in range(5):
        timed.now += QUARTER
        threads = [threading.Thread(target=begin, args=[host]) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(type(one) for one in found)[Report] == 5
    assert runs(timed) == ["done"] * 5


def test_while_another_run_is_active_a_sync_waits_and_says_so_once(
    timed: Any,
    opened: Callable[[Any], Host],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler, upsert = Scheduler(opened(timed)), MemorySink.upsert
    scheduler.tick()
    timed.now += QUARTER

    def meanwhile(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        assert [scheduler.tick() for _ in range(3)] == [PAUSE] * 3
        return upsert(self, object, writes)

    monkeypatch.setattr(MemorySink, "upsert", meanwhile)
    timed.run()
    monkeypatch.setattr(MemorySink, "upsert", upsert)
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("leads: due, but another run is active")
    assert runs(timed) == ["done"]
    scheduler.tick()
    assert runs(timed) == ["done", "done"], "its next chance"


def test_nobody_complains_about_the_run_that_is_what_is_due(
    timed: Any,
    opened: Callable[[Any], Host],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = Scheduler(opened(timed)), Scheduler(opened(timed))
    first.tick()
    timed.now += QUARTER
    upsert = MemorySink.upsert
    looks = []

    def meanwhile(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        looks.append(second.tick())
        return upsert(self, object, writes)

    monkeypatch.setattr(MemorySink, "upsert", meanwhile)
    first.tick()
    assert looks == [PAUSE] * len(looks)
    assert looks
    assert second.tick() == LOOK
    assert runs(timed) == ["done"]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_run_that_fails_has_had_its_turn_and_the_schedule_goes_on(
    timed: Any,
    opened: Callable[[Any], Host],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler = Scheduler(opened(timed))
    scheduler.tick()
    timed.now += QUARTER
    with monkeypatch.context() as broken:
        broken.setattr(MemorySink, "upsert", lambda *_: 1 / 0)
        assert scheduler.tick() == PAUSE
    assert scheduler.tick() == LOOK
    assert runs(timed) == ["failed"]
    assert "ZeroDivisionError" in caplog.text
    timed.now += QUARTER
    scheduler.tick()
    assert runs(timed) == ["failed", "done"]


def test_a_store_that_cannot_be_used_is_said_once_and_tried_again(
    timed: Any, opened: Callable[[Any], Host], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(opened(timed))
    with monkeypatch.context() as broken:

        def lost(_: Database) -> None:
            raise StoreError("the store is gone")

        broken.setattr(Database, "read", lost)
        assert [scheduler.tick() for _ in range(3)] == [PAUSE] * 3
    assert caplog.text.count("the schedule cannot go on: the store is gone") == 1
    assert scheduler.tick() == LOOK


def test_the_thread_looks_at_once_and_ends_when_it_is_asked(
    timed: Any, opened: Callable[[Any], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(timed).run_due()
    timed.now += QUARTER
    host = opened(timed)
    ran = threading.Event()
    monkeypatch.setattr(host, "run_due", lambda: ran.set())
    scheduler = Scheduler(host)
    scheduler.start()
    assert ran.wait(10)
    assert scheduler.finish(10)
    assert not scheduler.alive
