"""Webhooks through a running server: exactly the true ones become events, and nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest

from syncline.errors import TransientError
from syncline.model import RawRecord

SERVE = """
import sys
from datetime import datetime
from pathlib import Path
from syncline.config import load_all
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds, rooms
from syncline.server import serve
from syncline.testing.memory import MemoryWorld, memory_plugin

folder, now = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
plugins = Plugins()
plugins.register(memory_plugin(MemoryWorld()), name="memory")
loaded = load_all(folder / "connectors.yaml", env={}, kinds=kinds(plugins), rooms=rooms())
with Host(loaded, plugins, folder=folder, clock=lambda: now) as host:
    serve(host, "127.0.0.1", 0, ready=lambda urls: print(*urls, flush=True))
"""


class Sending(NamedTuple):
    """A webhook with the fact it tells of; `true` is False for one that was tampered with."""

    key: str
    body: bytes
    headers: dict[str, str]
    true: bool = True


@contextmanager
def served(lab: Any) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A server in a process of its own, and the address of each connection."""
    with lab.host():  # writes the configuration down
        pass
    command = [sys.executable, "-c", SERVE, str(lab.folder), lab.now.isoformat()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            urls = running.stdout.readline().split()
            yield running, {url.rpartition("/")[2]: url for url in urls}
        finally:
            running.kill()


def ended(running: subprocess.Popen[str]) -> str:
    """Asks the server to stop; what it has logged."""
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=30)
    assert running.returncode == 0, log
    return log


def signer(lab: Any) -> Any:
    with lab.host() as host:
        return host.connector("shop")


def facts(lab: Any, count: int) -> list[Sending]:
    """A webhook for each of so many facts."""
    shop = signer(lab)
    sendings = []
    for number in range(count):
        at = lab.now - timedelta(minutes=10) + timedelta(seconds=number)
        properties = {"name": "points", "points": 1}
        said = {
            "type": "custom",
            "at": at.isoformat(),
            "email": f"p{number % 37}@acme.example",
            "properties": properties,
        }
        body = json.dumps([{"key": f"fact-{number}", **said}]).encode()
        sendings.append(Sending(f"fact-{number}", body, shop.signed(body, lab.now)))
    return sendings


def tampered(sending: Sending) -> Sending:
    return sending._replace(body=sending.body.replace(b"acme.example", b"evil.example"), true=False)


def send(url: str, sendings: Sequence[Sending], statuses: list[tuple[Sending, int]], *, at_once: int = 16) -> None:
    """Send all, some at a time; what was answered is noted as it comes. A server that goes away ends it."""

    async def worker(client: httpx.AsyncClient, waiting: Iterator[Sending]) -> None:
        with contextlib.suppress(httpx.TransportError):
            for sending in waiting:
                response = await client.post(url, content=sending.body, headers=sending.headers)
                statuses.append((sending, response.status_code))

    async def everything() -> None:
        waiting = iter(sendings)
        async with httpx.AsyncClient(timeout=30) as client:
            await asyncio.gather(*(worker(client, waiting) for _ in range(at_once)))

    asyncio.run(everything())


def stored(lab: Any) -> Counter[str]:
    """Addresses → events in the log."""
    with lab.store() as connection:
        rows = connection.exec_driver_sql("SELECT i.value FROM event e JOIN identifier i ON i.person_id = e.person_id")
        return Counter(row[0] for row in rows)


def whose(sendings: Sequence[Sending]) -> Counter[str]:
    """The same, as it should be."""
    return Counter({s.key: json.loads(s.body)[0]["email"] for s in sendings if s.true}.values())


def test_exactly_the_true_webhooks_become_events(each_lab: Any) -> None:
    """A third repeated, shuffled, one in a hundred tampered with, sixteen at a time."""
    lab, chance = each_lab, random.Random(20260601)
    true = facts(lab, 197)
    sendings = [*true, *(chance.choice(true) for _ in range(100)), *map(tampered, chance.sample(true, 3))]
    chance.shuffle(sendings)
    answered: list[tuple[Sending, int]] = []
    with served(lab) as (running, urls):
        send(urls["shop"], sendings, answered)
        log = ended(running)
    assert Counter((sending.true, status) for sending, status in answered) == {(True, 200): 297, (False, 403): 3}
    assert "evil" not in log
    with lab.host() as host:
        report = host.pull().sources["shop"]
    assert stored(lab) == whose(true)
    assert (report.read, report.stored, report.duplicate, report.quarantined) == (197, 197, 0, 0)
    assert report.webhook is not None
    assert (report.webhook.received, report.webhook.duplicate, report.webhook.unread) == (197, 100, 0)
    assert report.webhook.reasons == {"the signature does not fit the body": 3}
    assert (report.only_webhook, report.only_poll, report.both) == (197, 0, 0)


def test_a_server_that_is_killed_loses_nothing_it_has_answered(each_lab: Any) -> None:
    lab = each_lab
    true = facts(lab, 150)
    answered: list[tuple[Sending, int]] = []
    with served(lab) as (running, urls):

        class Watched(list[tuple[Sending, int]]):
            def append(self, one: tuple[Sending, int]) -> None:
                answered.append(one)
                if len(answered) == 50:
                    running.kill()

        send(urls["shop"], true, Watched())
    assert 50 <= len(answered) < 150
    assert {status for _, status in answered} == {200}
    with lab.host() as host:
        host.pull()
    before = stored(lab)
    assert before >= whose([sending for sending, _ in answered])
    with served(lab) as (running, urls):  # the vendor repeats what was not answered, and more
        send(urls["shop"], true, answered)
        ended(running)
    with lab.host() as host:
        host.pull()
    assert stored(lab) == whose(true)


def test_a_server_that_is_stopped_answers_what_it_has_begun(lab: Any) -> None:
    true = facts(lab, 150)
    answered: list[tuple[Sending, int]] = []
    with served(lab) as (running, urls):

        class Watched(list[tuple[Sending, int]]):
            def append(self, one: tuple[Sending, int]) -> None:
                answered.append(one)
                if len(answered) == 50:
                    running.send_signal(signal.SIGTERM)

        send(urls["shop"], true, Watched())
        running.communicate(timeout=30)
        assert running.returncode == 0
    assert len(answered) >= 50
    assert {status for _, status in answered} == {200}
    with lab.host() as host:
        report = host.pull().sources["shop"]
    assert stored(lab) >= whose([sending for sending, _ in answered])
    assert report.webhook is not None
    assert report.webhook.received == report.stored, "counts are of what was kept, to the last one"


def test_webhooks_arrive_while_runs_go_on(lab: Any) -> None:
    """Server and runs are processes of their own on one store."""
    true = facts(lab, 200)
    answered: list[tuple[Sending, int]] = []
    with served(lab) as (running, urls):
        for start in range(0, 200, 50):
            send(urls["shop"], true[start : start + 50], answered)
            report = lab.run()
        ended(running)
    assert {status for _, status in answered} == {200}
    assert report.status == "done"
    assert report.sources["shop"].only_webhook == 200
    assert stored(lab) == whose(true)
    assert lab.run().sinks["crm"].write_calls == 0


def test_the_report_says_what_only_one_of_the_two_ways_brought(lab: Any) -> None:
    """Four come by webhook; of these the poll brings three, and two of its own."""
    sendings = facts(lab, 6)
    for sending in sendings[1:]:
        said = json.loads(sending.body)[0]
        lab.world.streams["events"].append(record(said))
    with served(lab) as (running, urls):
        send(urls["shop"], sendings[:4], [])
        ended(running)
    report = lab.run().sources["shop"]
    assert (report.only_webhook, report.both, report.only_poll) == (1, 3, 2)
    assert stored(lab) == whose(sendings)
    again = lab.run().sources["shop"]
    assert (again.only_webhook, again.both, again.only_poll) == (1, 3, 2)
    lab.later(24 * 40)
    later = lab.run().sources["shop"]
    assert (later.only_webhook, later.both, later.only_poll, later.webhook.received) == (0, 0, 0, 0)


def record(said: dict[str, Any]) -> RawRecord:
    """The fact as a poll brings it."""
    return RawRecord("events", said["key"], {name: value for name, value in said.items() if name != "key"})


def test_a_crms_webhooks_are_notices_that_reading_it_settles(lab: Any) -> None:
    lab.points("ada@acme.example", 90, last_name="Ada")
    lab.run()
    ref = lab.ref("ada@acme.example")
    body = json.dumps([{"key": f"notice-{n}", "object": "Lead", "id": ref.id} for n in range(3)]).encode()
    with served(lab) as (running, urls):
        notice = Sending("notice", body, signer(lab).signed(body, lab.now))
        answered: list[tuple[Sending, int]] = []
        send(urls["crm"], [notice, notice, notice._replace(body=body + b" ")], answered, at_once=1)
        ended(running)
    assert [status for _, status in answered] == [200, 200, 403]
    assert [row["status"] for row in lab.rows("raw") if row["connection"] == "crm"] == [0, 0, 0]
    report = lab.run()
    assert (report.sinks["crm"].notices, report.sinks["crm"].webhook.received) == (3, 1)
    assert (report.sinks["crm"].webhook.duplicate, report.sinks["crm"].webhook.refused) == (1, 1)
    assert report.sources["shop"].webhook.received == 0
    assert {row["status"] for row in lab.rows("raw") if row["connection"] == "crm"} == {1}
    assert lab.run().sinks["crm"].notices == 0


def test_notices_stay_when_the_crm_could_not_be_read(lab: Any) -> None:
    lab.run()
    body = json.dumps([{"key": "notice", "object": "Lead", "id": "1"}]).encode()
    with served(lab) as (running, urls):
        send(urls["crm"], [Sending("notice", body, signer(lab).signed(body, lab.now))], [])
        ended(running)
    lab.world.fail_call("changes", TransientError("down"), times=None)
    assert lab.run().sinks["crm"].notices == 0
    assert [row["status"] for row in lab.rows("raw") if row["connection"] == "crm"] == [0]
    lab.world.heal()
    assert lab.run().sinks["crm"].notices == 1


@pytest.mark.parametrize("connection", ["shop", "crm"])
def test_a_vendor_that_validates_by_get_finds_the_address(lab: Any, connection: str) -> None:
    with served(lab) as (running, urls):
        assert httpx.get(urls[connection]).status_code == 200
        assert httpx.get(urls[connection].replace(connection, "nobody")).status_code == 404
        ended(running)
