"""Credits and crowds: what calls cost, and what a 429 means. Vendor sheet §3."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from syncline.errors import RateLimitError
from syncline.model import Member, RemoteRef, TaskWrite, Write
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator

Open = Callable[..., ZohoSink]
WRITE = Write("p", ("Syncline_Key", "k"), {"Last_Name": "R", "Company": "C"})
PARKED = timedelta(minutes=30)


@pytest.mark.parametrize("code", ["TOO_MANY_REQUESTS", "RATE_LIMIT_EXCEEDED"])
def test_a_crowd_is_a_short_pause_however_it_is_spelled(sink: ZohoSink, crm: ZohoSimulator, code: Any) -> None:
    crm.switches.limit_code = code
    crm.faults = [Fault("too_many", on="*upsert")]
    with pytest.raises(RateLimitError, match=code) as caught:
        sink.upsert("Leads", [WRITE])
    assert caught.value.retry_after == timedelta(seconds=5)
    assert sink.upsert("Leads", [WRITE])[0].ok


def test_a_crowd_that_does_not_go_away_is_the_end_of_the_credits(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """The code is the same; after three refusals in a row nobody knocks for half an hour."""
    crm.faults = [Fault("too_many", times=None)]
    waits = []
    for _ in range(3):
        with pytest.raises(RateLimitError) as caught:
            sink.upsert("Leads", [WRITE])
        waits.append(caught.value.retry_after)
    assert waits == [timedelta(seconds=5), timedelta(seconds=5), PARKED]
    calls = crm.counters()["calls"]
    with pytest.raises(RateLimitError):
        sink.upsert("Leads", [WRITE])
    assert crm.counters()["calls"] == calls  # it was not even sent


def test_a_success_in_between_says_that_it_was_a_crowd(sink: ZohoSink, crm: ZohoSimulator) -> None:
    for _ in range(4):
        crm.faults = [Fault("too_many", on="*upsert")]
        with pytest.raises(RateLimitError) as caught:
            sink.upsert("Leads", [WRITE])
        assert caught.value.retry_after == timedelta(seconds=5)
        assert sink.upsert("Leads", [WRITE])[0].ok


def test_credits_that_are_said_to_be_gone_are_believed_at_once(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.faults = [Fault("quota", on="*upsert", seconds=3600)]
    with pytest.raises(RateLimitError, match="credits of the day") as caught:
        sink.upsert("Leads", [WRITE])
    assert caught.value.retry_after == PARKED


def test_the_vendors_own_word_goes_first(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.faults = [Fault("too_many", on="*upsert", seconds=77)]
    with pytest.raises(RateLimitError) as caught:
        sink.upsert("Leads", [WRITE])
    assert caught.value.retry_after == timedelta(seconds=77)


def test_the_day_ends_when_the_credits_do(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.daily_credits = crm.used_credits + 10
    writes = [Write(f"p{n}", ("Syncline_Key", f"k{n}"), {"Last_Name": "R", "Company": "C"}) for n in range(100)]
    assert all(o.ok for o in sink.upsert("Leads", writes))
    assert sink.client.credits_left == 0
    with pytest.raises(RateLimitError, match="credits of the day") as caught:
        sink.upsert("Leads", [WRITE])
    assert caught.value.retry_after == PARKED


def test_credits_that_end_in_the_middle_stop_every_thread(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """At most what was on its way is still sent; what Zoho took before is written once, the rest comes another day."""
    crm.daily_credits = crm.used_credits + 40
    done: list[bool] = []
    waits: list[timedelta | None] = []
    ready = threading.Barrier(4)

    def work(number: int) -> None:
        ready.wait()
        for at in range(20):
            key = f"k{number}-{at}"
            try:
                outcomes = sink.upsert("Leads", [Write(key, ("Syncline_Key", key), {"Last_Name": "R", "Company": "C"})])
            except RateLimitError as error:
                waits.append(error.retry_after)
                return
            done.append(outcomes[0].ok)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), all(done), crm.counters()["upserts"]) == (40, True, 40)
    assert len(waits) == 4
    assert all(wait and timedelta(minutes=25) < wait <= PARKED for wait in waits), waits
    assert crm.counters()["calls"] <= 40 + 4


def test_check_tells_the_credits_only_when_half_are_used(open_sink: Open, crm: ZohoSimulator) -> None:
    """Zoho says nothing before; that is no trouble."""
    assert "api_credits_left" not in open_sink().check().details
    crm.used_credits = crm.daily_credits // 2
    assert open_sink().check().details["api_credits_left"] == str(crm.daily_credits // 2 - 1)


def test_the_credits_of_yesterday_are_forgotten(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """In a process that lives for days; the header is absent again, and a crowd is but a crowd."""
    crm.used_credits = crm.daily_credits - 1
    assert sink.upsert("Leads", [WRITE])[0].ok
    assert sink.client.credits_left == 0
    crm.used_credits = 0
    assert sink.upsert("Leads", [WRITE])[0].ok
    crm.faults = [Fault("too_many", on="*upsert")]
    with pytest.raises(RateLimitError) as caught:
        sink.upsert("Leads", [WRITE])
    assert caught.value.retry_after == timedelta(seconds=5)


def test_too_many_open_requests_are_refused(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.concurrency = 0
    with pytest.raises(RateLimitError):
        sink.upsert("Leads", [WRITE])


def test_what_limits_say_is_what_zoho_counts(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """The host's forecast is made of this table."""
    rows = 25
    writes = [Write(f"p{n}", ("Syncline_Key", f"k{n}"), {"Last_Name": "R", "Company": "C"}) for n in range(rows)]
    refs = [o.ref or RemoteRef("", "") for o in sink.upsert("Leads", writes)]
    spent = {"upsert": crm.counters()["write_credits"]}
    sink.create_tasks([TaskWrite(f"t{n}", ref, "Call", "", crm.now(), "normal") for n, ref in enumerate(refs)])
    spent["task"] = crm.counters()["write_credits"] - sum(spent.values())
    sink.set_members("Lead caldo", [Member(f"m{n}", ref) for n, ref in enumerate(refs)], [])
    spent["member"] = crm.counters()["write_credits"] - sum(spent.values())
    assert spent == {name: -(-rows // carried) for name, carried in sink.limits.credit_rows.items()}
    assert spent == {"upsert": 3, "task": 3, "member": 1}
