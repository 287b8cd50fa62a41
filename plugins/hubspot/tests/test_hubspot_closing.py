"""Tasks that an undone run takes back. That COMPLETED closes one is recorded (ruby api client, task_update)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.errors import ContractError
from syncline.model import RemoteRef, Status, TaskRef, TaskWrite
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotSink
from syncline_hubspot.simulator import HubspotSimulator


def made(sink: HubspotSink, portal: HubspotSimulator, *keys: str) -> list[TaskRef]:
    about = RemoteRef("contacts", portal.rows("contacts")[0]["hs_object_id"])
    due = datetime(2026, 6, 1, 12, tzinfo=UTC)
    tasks = [TaskWrite(key, about, "Richiamare", "Perché: prezzi", due, "high") for key in keys]
    return [TaskRef(o.key, o.ref.id) for o in sink.create_tasks(tasks) if o.ref]


def shown(portal: HubspotSimulator, task: TaskRef) -> dict[str, Any]:
    return next(row for row in portal.rows("tasks") if row["hs_object_id"] == task.id)


def test_a_task_taken_back_says_in_its_title_that_nobody_has_done_it(
    sink: HubspotSink, portal: HubspotSimulator
) -> None:
    """The status cannot: it counts as completed."""
    [task] = made(sink, portal, "t-1")
    [outcome] = sink.close_tasks([task])
    assert (outcome.status, outcome.ref) == (Status.UPDATED, RemoteRef("tasks", task.id))
    row = shown(portal, task)
    assert row["hs_task_status"] == "COMPLETED"
    assert row["hs_task_subject"] == "Withdrawn, not done: Richiamare"
    assert row["hs_task_body"] == (
        "<p>Withdrawn by syncline: the run that created this task was undone. Nobody has done it.</p>Perché: prezzi"
    )


@pytest.mark.parametrize("status", ["IN_PROGRESS", "WAITING", "DEFERRED"])
def test_what_somebody_has_begun_is_still_open(sink: HubspotSink, portal: HubspotSimulator, status: str) -> None:
    [task] = made(sink, portal, "t-1")
    portal.human_edit("tasks", task.id, hs_task_status=status)
    assert sink.close_tasks([task])[0].status is Status.UPDATED
    assert shown(portal, task)["hs_task_status"] == "COMPLETED"


def test_a_full_batch_is_a_look_and_one_call(sink: HubspotSink, portal: HubspotSimulator) -> None:
    tasks = made(sink, portal, *(f"t-{n}" for n in range(100)))
    portal.reset_counters()
    assert {o.status for o in sink.close_tasks(tasks)} == {Status.UPDATED}
    assert (portal.counters()["calls"], portal.counters()["write_calls"]) == (2, 1)
    with pytest.raises(ContractError):
        sink.close_tasks([*tasks, tasks[0]])


def test_what_has_no_id_of_hubspot_is_no_task_there(sink: HubspotSink, portal: HubspotSimulator) -> None:
    [task] = made(sink, portal, "t-1")
    outcomes = sink.close_tasks([TaskRef("x", "nobody's"), task, TaskRef("y", "999999")])
    assert [o.status for o in outcomes] == [Status.UNCHANGED, Status.UPDATED, Status.UNCHANGED]


def test_one_that_is_deleted_while_we_close_it_is_left_alone(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """Between our look and our write."""
    deleted, fine = made(sink, portal, "d", "f")
    look = sink.client.read

    def then_deleted(object: str, ids: Sequence[str], *more: Any, **named: Any) -> Any:
        found = look(object, ids, *more, **named)
        portal.delete_record("tasks", deleted.id)
        return found

    sink.client.read = then_deleted  # type: ignore[method-assign]
    assert [o.status for o in sink.close_tasks([deleted, fine])] == [Status.UNCHANGED, Status.UPDATED]


def test_a_locked_task_comes_again(sink: HubspotSink, portal: HubspotSimulator) -> None:
    [task, other] = made(sink, portal, "l", "f")
    portal.faults = [Fault("lock", key=task.id)]
    assert [o.status for o in sink.close_tasks([task, other])] == [Status.RETRY, Status.UPDATED]
