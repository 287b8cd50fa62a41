"""A day that is used up: told once, nobody asks again before it may have begun anew, the hottest were first."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from syncline.errors import RateLimitError
from syncline.sync.report import Report

QUOTA = timedelta(hours=6)


def used_up(lab: Any, call: str, after: int = 0) -> None:
    error = RateLimitError("REQUEST_LIMIT_EXCEEDED: the day is used up", retry_after=QUOTA)
    lab.world.fail_call(call, error, times=None, after=after)


def made(lab: Any) -> Counter[str]:
    """The calls to the CRM; the memory world counts those to its source beside them."""
    return Counter({name: count for name, count in lab.world.counters.items() if name not in ("read", "calls")})


def run(lab: Any) -> Report:
    report: Report = lab.run()
    return report


def test_a_crm_whose_day_is_used_up_is_not_even_asked_until_it_may_have_begun_again(each_lab: Any) -> None:
    lab = each_lab
    lab.crowd(3)
    used_up(lab, "upsert")
    first = run(lab)
    assert (first.status, first.exit_code) == ("rejected", 1)
    assert "REQUEST_LIMIT_EXCEEDED" in (first.sinks["crm"].error or "")
    lab.world.heal()
    before = made(lab)
    for _ in range(3):
        lab.later()
        report = run(lab)
        assert "not asked before 2026-06-01 14:00 UTC" in (report.sinks["crm"].error or "")
    assert made(lab) == before, "not one call, of any kind"
    lab.later(3)
    assert run(lab).sinks["crm"].created == 3


def test_the_others_go_on(lab: Any) -> None:
    lab.add_second_crm()
    lab.crowd(3)
    used_up(lab, "upsert")
    run(lab)
    lab.points("p0001@acme.example", 5)
    lab.later()
    report = run(lab)
    assert (report.sinks["crm"].created, report.sinks["other"].updated) == (0, 1)


def test_who_is_hot_was_written_before_the_day_ended(lab: Any) -> None:
    lab.crowd(400, points=50)
    for number in (7, 133, 399):
        lab.points(f"p{number:04d}@acme.example", 40)
    used_up(lab, "upsert", after=1)
    report = run(lab)
    assert report.sinks["crm"].created == 200
    for number in (7, 133, 399):
        assert lab.held(f"p{number:04d}@acme.example")["Score"] == 90


def test_somebody_can_say_that_the_day_has_begun_again(lab: Any) -> None:
    lab.crowd(3)
    used_up(lab, "upsert")
    run(lab)
    lab.world.heal()
    with lab.host() as host:
        assert host.resume("crm")
    assert run(lab).sinks["crm"].created == 3


def test_a_pause_that_waits_for_a_person_is_not_ended_by_a_new_day(lab: Any) -> None:
    lab.crowd(3)
    with lab.host() as host:
        host.pause("crm", "the audit")
    used_up(lab, "check")
    run(lab)
    lab.world.heal()
    lab.later(48)
    assert "the audit" in (run(lab).sinks["crm"].paused or "")


@pytest.mark.parametrize("stream", ["facts"])
def test_a_source_whose_day_is_used_up_is_left_alone_too(lab: Any, stream: str) -> None:
    lab.crowd(3)
    used_up(lab, "read")
    assert "REQUEST_LIMIT_EXCEEDED" in (run(lab).sources["shop"].error or "")
    before = lab.world.counters["read"]
    lab.later()
    assert "not asked before" in (run(lab).sources["shop"].error or "")
    assert lab.world.counters["read"] == before
    lab.world.heal()
    lab.later(6)
    assert run(lab).sources["shop"].stored == 3
