"""A run taken back: what is still as it wrote it is restored; what somebody has touched since is left, and told."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.errors import ConfigError, TransientError
from syncline.sync.report import Report

HOT, COLD = "p0000@acme.example", "p0001@acme.example"


def undo(lab: Any, run: Report, **options: Any) -> Report:
    with lab.host() as host:
        report: Report = host.undo(run.run_id, **options)
        return report


def resume(lab: Any) -> None:
    with lab.host() as host:
        assert host.resume("crm")


def two_runs(lab: Any) -> Report:
    """Two people are there; then one becomes hot: scores, a task, a membership."""
    lab.crowd(2, points=50)
    lab.run()
    lab.later()
    lab.points(HOT, 40)
    report: Report = lab.run()
    assert (report.sinks["crm"].updated, report.sinks["crm"].tasks, report.sinks["crm"].members) == (1, 1, 1)
    return report


def test_values_tasks_and_memberships_of_a_run_are_taken_back(each_lab: Any) -> None:
    lab = each_lab
    lab.crowd(2, points=50)
    lab.run()
    before = lab.holdings()
    lab.later()
    lab.points(HOT, 40)
    second = lab.run()
    assert lab.holdings() != before
    lab.later()
    report = undo(lab, second)
    sink = report.sinks["crm"]
    assert (report.status, report.undoes, sink.updated, sink.closed, sink.members) == ("done", second.run_id, 1, 1, 1)
    assert sink.kept == []
    assert (lab.held(HOT)["Score"], lab.held(HOT)["Band"], lab.held(HOT)["Hot"]) == (50, None, False)
    assert lab.world.open_tasks() == []
    assert lab.world.segments["Hot leads"] == set()


def test_the_plan_of_an_undo_writes_nothing(lab: Any) -> None:
    second = two_runs(lab)
    held = lab.holdings()
    report = undo(lab, second, plan=True)
    assert report.status == "planned"
    assert {change.operation for change in report.sinks["crm"].changes} == {"update", "close", "remove"}
    assert lab.holdings() == held
    assert len(lab.world.open_tasks()) == 1
    assert lab.sink().paused is None


def test_what_somebody_changed_since_stays_and_is_told_with_who_and_when(lab: Any) -> None:
    second = two_runs(lab)
    lab.later()
    lab.world.edit(lab.ref(HOT), {"Score": 77}, who="Ada")
    report = undo(lab, second)
    [kept] = report.sinks["crm"].kept
    assert (kept.object, kept.field, kept.id) == ("Lead", "Score", lab.ref(HOT).id)
    assert kept.reason == "changed since by Ada at 2026-06-01 10:00 UTC"
    assert lab.held(HOT)["Score"] == 77
    assert lab.held(HOT)["Band"] is None, "the other fields are restored"


def test_what_a_later_run_wrote_again_asks_to_undo_that_one_first(lab: Any) -> None:
    second = two_runs(lab)
    lab.later()
    lab.points(HOT, 5)
    third = lab.run()
    assert third.sinks["crm"].updated == 1
    reasons = {kept.field: kept.reason for kept in undo(lab, second, plan=True).sinks["crm"].kept}
    assert reasons["Score"] == f"a later run wrote it again; undo that one before {second.run_id}"
    undo(lab, third)
    assert lab.held(HOT)["Score"] == 90
    undo(lab, second)
    assert lab.held(HOT)["Score"] == 50


def test_created_records_stay_and_are_named(lab: Any) -> None:
    lab.crowd(2)
    first = lab.run()
    report = undo(lab, first)
    assert {kept.reason for kept in report.sinks["crm"].kept} == {
        "that run created it; delete it there if it is not wanted"
    }
    assert {kept.id for kept in report.sinks["crm"].kept} == {lab.ref(HOT).id, lab.ref(COLD).id}


def test_a_task_that_somebody_has_done_already_is_not_touched(lab: Any) -> None:
    second = two_runs(lab)
    [task] = lab.world.open_tasks()
    lab.world.finish_task(task.key)
    sink = undo(lab, second).sinks["crm"]
    assert sink.rejected == 0
    assert task.key in lab.world.tasks


def test_after_an_undo_the_crm_is_paused_until_somebody_resumes_it(lab: Any) -> None:
    second = two_runs(lab)
    undo(lab, second)
    writes = dict(lab.world.counters)
    report = lab.run()
    assert report.status == "paused"
    assert f"run {second.run_id} was undone" in report.sinks["crm"].paused
    assert "syncline resume crm" in report.sinks["crm"].paused
    assert lab.world.counters["upsert"] == writes["upsert"]
    assert lab.plan().sinks["crm"].updated == 1, "a plan still shows what waits"
    resume(lab)
    assert lab.run().sinks["crm"].updated == 1
    assert lab.held(HOT)["Score"] == 90
    assert lab.world.open_tasks() == [], "the task happened once, and was taken back"


def test_an_undo_that_is_cut_off_is_finished_by_repeating_it(lab: Any) -> None:
    second = two_runs(lab)
    lab.world.fail_call("close_tasks", TransientError("gone for lunch"), times=None)
    first = undo(lab, second)
    assert first.status == "rejected"
    assert lab.held(HOT)["Score"] == 50
    lab.world.heal()
    again = undo(lab, second)
    assert (again.status, again.sinks["crm"].updated, again.sinks["crm"].closed) == ("done", 0, 1)


def test_an_undo_can_be_undone(lab: Any) -> None:
    second = two_runs(lab)
    taken_back = undo(lab, second)
    report = undo(lab, taken_back)
    assert report.status == "done"
    assert lab.held(HOT)["Score"] == 90
    assert len(lab.world.segments["Hot leads"]) == 1


def test_a_record_that_is_gone_is_told(lab: Any) -> None:
    second = two_runs(lab)
    lab.world.delete(lab.ref(HOT))
    kept = undo(lab, second).sinks["crm"].kept
    assert "the record is gone: deleted, merged or converted since" in {item.reason for item in kept}


def test_a_run_nobody_knows_is_refused_with_those_there_are(lab: Any) -> None:
    first = two_runs(lab)
    with lab.host() as host, pytest.raises(ConfigError, match=f"there is no run 'yesterday'.*{first.run_id}"):
        host.undo("yesterday")


def test_a_run_that_wrote_nothing_is_refused(lab: Any) -> None:
    two_runs(lab)
    idle = lab.run()
    with lab.host() as host, pytest.raises(ConfigError, match="has written nothing that is still recorded"):
        host.undo(idle.run_id)


def test_pausing_holds_one_crm_and_the_other_is_written(lab: Any) -> None:
    lab.add_second_crm()
    lab.crowd(2)
    with lab.host() as host:
        host.pause("crm", "the sales meeting")
    report = lab.run()
    assert (report.status, report.sinks["crm"].created, report.sinks["other"].created) == ("paused", 0, 2)
    assert "the sales meeting" in report.sinks["crm"].paused
    with lab.host() as host, pytest.raises(ConfigError, match="there is no connection 'cmr'; did you mean 'crm'"):
        host.resume("cmr")
    resume(lab)
    assert lab.run().sinks["crm"].created == 2
