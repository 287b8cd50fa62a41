"""One definition of a task: the same task, once, in every CRM it names."""

from __future__ import annotations

from typing import Any

from syncline.errors import TransientError


def _told(lab: Any, world: Any) -> list[tuple[str, str, str]]:
    return sorted((str(world.get(task.about)["Email"]), task.subject, task.body) for task in world.tasks.values())


def _both(lab: Any) -> None:
    lab.add_second_crm()
    lab.data["actions"][0]["task"]["to"] = ["crm", "other"]


def test_one_task_definition_serves_several_crms(each_lab: Any) -> None:
    _both(each_lab)
    people = each_lab.crowd(3, points=90)
    report = each_lab.run()
    assert [email for email, _, _ in _told(each_lab, each_lab.world)] == people
    assert _told(each_lab, each_lab.world) == _told(each_lab, each_lab.second)
    assert {name: sink.tasks for name, sink in report.sinks.items()} == {"crm": 3, "other": 3}
    assert {name: sink.tasks for name, sink in each_lab.run().sinks.items()} == {"crm": 0, "other": 0}


def test_one_crm_out_of_reach_does_not_keep_the_task_from_the_others(lab: Any) -> None:
    """The one that was down gets its task on the next run, and nobody gets it twice."""
    _both(lab)
    lab.crowd(2, points=90)
    lab.second.fail_call("*", TransientError("down"), times=None)
    lab.run()
    assert (len(lab.world.tasks), len(lab.second.tasks)) == (2, 0)
    lab.second.heal()
    lab.run()
    assert _told(lab, lab.world) == _told(lab, lab.second)
    assert (len(lab.world.tasks), len(lab.second.tasks)) == (2, 2)
