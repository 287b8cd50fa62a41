"""A run that would do more than the guard allows stops before the first write, and asks."""

from __future__ import annotations

from typing import Any

import pytest


def complete(lab: Any, emails: list[str]) -> bool:
    refs = {lab.ref(email) for email in emails}
    return {task.about for task in lab.world.tasks.values()} == refs == lab.world.segments["Hot leads"]


@pytest.mark.parametrize("what", ["creates", "tasks"])
def test_too_many_stop_the_run_and_a_raised_guard_does_it_all(each_lab: Any, what: str) -> None:
    lab = each_lab
    emails = lab.crowd(12, points=90)
    lab.sync["guard"] = {what: 11}
    planned = lab.plan()
    assert (planned.status, planned.exit_code) == ("stopped", 3)
    report = lab.run()
    error = report.sinks["crm"].error
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert f"12 {what}, the guard allows 11" in error
    assert f"guard: {{{what}: 12}}" in error, "it says what would be valid"
    assert lab.world.counters["write_calls"] == 0
    assert {row["status"] for row in lab.rows("outbox")} == {"abandoned"}
    lab.later()
    lab.sync["guard"] = {what: 12}
    report = lab.run()
    assert report.status == "done"
    sink = report.sinks["crm"]
    assert (sink.created, sink.tasks, sink.members) == (12, 12, 12), "the tasks of the stopped run as well"
    assert complete(lab, emails)
    assert lab.sink().changes == []


def test_too_many_clears_stop_the_run(lab: Any) -> None:
    """A model that lost its bands would empty the band of everybody."""
    emails = lab.crowd(6, points=90)
    lab.run()
    for email in emails:
        lab.points(email, -85)
    lab.later()
    lab.sync["guard"] = {"clears": 5}
    writes = lab.world.counters["write_calls"]
    report = lab.run()
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert "6 clears, the guard allows 5" in report.sinks["crm"].error
    assert lab.world.counters["write_calls"] == writes
    assert all(lab.held(email)["Band"] == "hot" for email in emails)
    lab.sync["guard"] = {"clears": None}
    assert lab.run().status == "done"
    assert all(lab.held(email)["Band"] is None for email in emails)
    assert lab.world.segments["Hot leads"] == set()


def test_exactly_as_many_as_allowed_are_done(lab: Any) -> None:
    lab.crowd(5, points=90)
    lab.sync["guard"] = {"creates": 5, "tasks": 5, "clears": 0}
    assert lab.run().status == "done"


def test_a_guard_of_one_crm_stops_no_other(lab: Any) -> None:
    lab.add_second_crm()
    lab.crowd(3)
    lab.sync["guard"] = {"creates": 1}
    report = lab.run()
    assert report.status == "stopped"
    assert lab.world.refs("Lead") == []
    assert (report.sinks["other"].created, len(lab.second.refs("Lead"))) == (3, 3)


def test_a_stopped_run_does_not_repeat_a_task_whose_time_has_passed(lab: Any) -> None:
    """The transition was noted by the stopped run; the task follows once, not once a run."""
    lab.crowd(3, points=90)
    lab.sync["guard"] = {"tasks": 1}
    for _ in range(3):
        lab.run()
        lab.later()
    lab.sync["guard"] = {}
    assert lab.sink().tasks == 3
    assert lab.sink().tasks == 0
    assert len(lab.world.tasks) == 3
