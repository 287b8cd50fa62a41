"""A run that would do more than the guard allows stops before the first write, and asks."""

from __future__ import annotations

import json
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
    assert f"`syncline run --allow {what}=12`" in error, "it says what to do"
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


def test_a_person_allows_it_for_one_run(lab: Any) -> None:
    emails = lab.crowd(12, points=90)
    lab.sync["guard"] = {"creates": 11, "tasks": 5}
    error = lab.run().sinks["crm"].error
    assert "12 creates, the guard allows 11; 12 tasks, the guard allows 5" in error
    assert "`syncline run --allow creates=12,tasks=12`" in error, "all of it at once"
    for some in ({"creates": None}, {"creates": 11, "tasks": None}):
        assert lab.run(allow=some).status == "stopped", some
        assert lab.world.counters["write_calls"] == 0
    report = lab.run(allow={"creates": 12, "tasks": None})
    assert (report.status, report.sinks["crm"].allowed) == ("done", {"creates": 12, "tasks": 12})
    assert complete(lab, emails)
    [told] = [json.loads(row["report"]) for row in lab.rows("run") if row["status"] == "done"]
    assert told["sinks"]["crm"]["allowed"] == {"creates": 12, "tasks": 12}, "it stays in the books"


def test_more_than_was_allowed_is_refused_again_and_says_by_how_much(lab: Any) -> None:
    lab.crowd(12, points=10)
    lab.sync["guard"] = {"creates": 5}
    report = lab.run(allow={"creates": 11})
    assert "12 creates, you allowed 11" in report.sinks["crm"].error
    assert "--allow creates=12" in report.sinks["crm"].error
    assert report.sinks["crm"].allowed == {}


def test_what_was_not_needed_is_not_noted(lab: Any) -> None:
    lab.crowd(3, points=10)
    assert lab.run(allow={"creates": 3, "clears": None}).sinks["crm"].allowed == {}


def test_the_command_names_the_sync_that_was_run(lab: Any) -> None:
    lab.crowd(3, points=10)
    lab.sync["guard"] = {"creates": 2}
    assert "`syncline run --sync leads --allow creates=3`" in lab.run(sync="leads").sinks["crm"].error


def test_values_that_were_not_ours_are_not_overwritten_by_the_hundred(lab: Any) -> None:
    """A mapping that went wrong: it points at a field that people fill."""
    emails = lab.crowd(6, points=10)
    for email in emails:
        lab.world.put("Lead", {"Email": email, "Score": 50, "Hot": False})
    lab.sync["guard"] = {"overwrites": 5}
    report = lab.run()
    assert report.status == "stopped"
    assert "6 overwrites, the guard allows 5" in report.sinks["crm"].error
    assert lab.world.counters["write_calls"] == 0
    assert lab.run(allow={"overwrites": 6}).status == "done"
    lab.later()
    for email in emails:
        lab.points(email, 1)
    assert lab.run().status == "done", "what we wrote ourselves is ours to change"
    for email in emails:
        lab.world.edit(lab.ref(email), {"Score": 70})
    assert lab.run().status == "stopped", "what somebody typed since is not"


def test_an_empty_field_and_an_unset_tick_hold_nothing_to_overwrite(lab: Any) -> None:
    for email in lab.crowd(6, points=90):
        lab.world.put("Lead", {"Email": email, "Score": None, "Band": "", "Hot": False})
    lab.sync["guard"] = {"overwrites": 0}
    assert lab.run().status == "done"


def test_a_new_action_makes_no_task_for_those_who_are_inside_already(lab: Any) -> None:
    lab.crowd(4, points=90)
    lab.run()
    lab.data["actions"].append({**lab.data["actions"][0], "name": "call again"})
    assert lab.sink().tasks == 0
    lab.points("late@acme.example", 90)
    assert lab.sink().tasks == 2, "who becomes hot now gets both"


def test_a_new_segment_on_an_old_population_is_held_by_the_guard(lab: Any) -> None:
    """Everybody inside enters it at once, as far as anyone can know: the guard asks before that many tasks."""
    lab.crowd(8, points=50)
    lab.run()
    lab.data["segments"]["warm"] = {"all": [{"score": "interest", "at_least": 40}]}
    lab.data["actions"].append(
        {"name": "warm", "when": {"enters": "warm"}, "task": {"to": "crm", "text": "alert_en", "due": "2h"}}
    )
    lab.sync["guard"] = {"tasks": 5}
    report = lab.run()
    assert (report.status, len(lab.world.tasks)) == ("stopped", 0)
    assert "8 tasks, the guard allows 5" in report.sinks["crm"].error


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
