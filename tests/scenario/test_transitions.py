"""What follows from entering and leaving: once, not twice, and not before the person is in the CRM."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from syncline.model import Status

ADA = "ada@acme.example"


def tasks_after(lab: Any, *moves: float) -> list[int]:
    """How many tasks there are after each move of Ada's points, an hour apart."""
    found = []
    for points in moves:
        lab.points(ADA, points, last_name="Lovelace")
        lab.run()
        found.append(len(lab.world.tasks))
        lab.later()
    return found


def test_a_task_comes_once_and_again_only_after_falling_below_the_margin(each_lab: Any) -> None:
    """hot from 80, re-armed below 70: 60 → 85 → 75 → 85 → 69 → 80."""
    assert tasks_after(each_lab, 60, 25, -10, 10, -16, 11) == [0, 1, 1, 1, 1, 2]


def test_exactly_at_the_margin_is_not_below_it(lab: Any) -> None:
    """80 → 70 → 80 → 69.99 → 80."""
    assert tasks_after(lab, 80, -10, 10, -10.01, 10.01) == [1, 1, 1, 1, 2]


def test_the_same_entering_never_makes_a_second_task(lab: Any) -> None:
    assert tasks_after(lab, 90, 0, 0, 5) == [1, 1, 1, 1]


def test_a_task_deleted_by_a_person_does_not_come_back(lab: Any) -> None:
    tasks_after(lab, 90)
    lab.world.tasks.clear()
    assert tasks_after(lab, 1, 1) == [0, 0]


def test_a_task_tells_who_did_what_and_by_when(lab: Any) -> None:
    lab.points(ADA, 130, first_name="Ada", last_name="Lovelace")
    lab.run()
    [task] = lab.world.tasks.values()
    assert task.subject == "Highly engaged lead: Ada Lovelace"
    assert task.due == lab.now + timedelta(hours=2)
    assert task.about == lab.ref(ADA)


def test_a_task_waits_while_the_person_is_not_in_the_crm(each_lab: Any) -> None:
    lab = each_lab
    lab.sync["when_missing"] = "skip"
    lab.points(ADA, 90)
    report = lab.run()
    assert report.sinks["crm"].skipped == {"not in the CRM (when_missing: skip)": 1}
    assert lab.world.tasks == {}
    assert [row["status"] for row in lab.rows("action")] == ["waiting"]
    lab.later(24)
    lab.world.put("Lead", {"Email": ADA})
    planned, sink = lab.plan().sinks["crm"], lab.sink()
    assert planned.tasks == sink.tasks == 1
    assert [row["status"] for row in lab.rows("action")] == ["done"]
    assert lab.sink().tasks == 0


def test_a_task_waits_while_its_record_is_refused(lab: Any) -> None:
    lab.points(ADA, 90)
    lab.world.fail_record(lab.keys()[ADA], reason="no")
    sink = lab.sink()
    assert (sink.rejected, sink.tasks) == (1, 0)
    assert lab.world.tasks == {}
    lab.world.heal()
    sink = lab.sink()
    assert (sink.created, sink.tasks, sink.members) == (1, 1, 1)


def test_leaving_the_segment_removes_the_member(each_lab: Any) -> None:
    lab = each_lab
    lab.crowd(3, points=90)
    lab.run()
    assert len(lab.world.segments["Hot leads"]) == 3
    lab.points("p0001@acme.example", -50)
    lab.later()
    planned, sink = lab.plan().sinks["crm"], lab.sink()
    assert (planned.members, sink.members) == (1, 1)
    assert [c.operation for c in sink.changes if c.operation in ("add", "remove")] == ["remove"]
    assert lab.ref("p0001@acme.example") not in lab.world.segments["Hot leads"]
    assert len(lab.world.segments["Hot leads"]) == 2
    assert lab.sink().changes == []


def test_members_others_put_there_are_left_alone(lab: Any) -> None:
    stranger = lab.world.put("Lead", {"Email": "stranger@acme.example"})
    lab.world.segments["Hot leads"].add(stranger)
    lab.points(ADA, 90)
    lab.run()
    lab.points(ADA, -90)
    lab.run()
    assert lab.world.segments["Hot leads"] == {stranger}


def test_a_member_whose_record_was_deleted_is_quiet(lab: Any) -> None:
    lab.points(ADA, 90)
    lab.run()
    lab.world.delete(lab.ref(ADA))
    lab.points(ADA, -90)
    first, second = lab.run(), lab.run()
    assert first.exit_code == second.exit_code == 0
    assert second.sinks["crm"].changes == []


def test_a_member_that_was_refused_is_added_later(lab: Any) -> None:
    lab.points(ADA, 90)
    lab.run()
    lab.points("eve@acme.example", 90)
    key = lab.keys()["eve@acme.example"]
    lab.world.fail_record(key, status=Status.REJECTED, reason="no", times=None)
    lab.run()
    lab.world.heal()
    sink = lab.sink()
    assert (sink.created, sink.members) == (1, 1)
    assert len(lab.world.segments["Hot leads"]) == 2


def test_a_task_can_follow_from_leaving_a_segment(lab: Any) -> None:
    lab.data["actions"] = [
        {"name": "win back", "when": {"leaves": "hot"}, "task": {"to": "crm", "subject": "win back {name}"}}
    ]
    assert tasks_after(lab, 90, -20, 20, -20) == [0, 1, 1, 2]
    assert {task.subject for task in lab.world.tasks.values()} == {"win back Lovelace"}


def test_a_person_with_a_decision_pending_gets_no_task(lab: Any) -> None:
    for name in ("Lead", "Contact"):
        lab.world.put(name, {"Email": ADA})
    lab.points(ADA, 90)
    assert lab.sink().tasks == 0
    assert lab.world.tasks == {}


def test_a_task_of_another_crm_is_not_created_here(lab: Any) -> None:
    lab.add_second_crm()
    lab.data["actions"][0]["task"]["to"] = "other"
    lab.points(ADA, 90)
    report = lab.run()
    assert (report.sinks["crm"].tasks, report.sinks["other"].tasks) == (0, 1)
    assert (len(lab.world.tasks), len(lab.second.tasks)) == (0, 1)
