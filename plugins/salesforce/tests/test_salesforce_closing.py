"""Tasks that an undone run takes back. TaskStatus: object reference, read 2026-11; an org may have any statuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.errors import ConfigError, ContractError
from syncline.model import RemoteRef, Status, TaskRef, TaskWrite
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.people import add_task_status

Open = Callable[..., SalesforceSink]


def made(sink: SalesforceSink, org: SalesforceSimulator, *keys: str) -> list[TaskRef]:
    about = next(RemoteRef("Lead", r["Id"]) for r in org.rows("Lead") if not r["IsConverted"])
    due = datetime(2026, 6, 1, 12, tzinfo=UTC)
    tasks = [TaskWrite(key, about, "Richiamare", "Perché: prezzi", due, "high") for key in keys]
    return [TaskRef(o.key, o.ref.id) for o in sink.create_tasks(tasks) if o.ref]


def shown(org: SalesforceSimulator, task: TaskRef) -> dict[str, Any]:
    return next(row for row in org.rows("Task") if row["Id"] == task.id)


def test_a_task_taken_back_says_that_nobody_has_done_it(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    [task] = made(sink, org, "t-1")
    [outcome] = sink.close_tasks([task])
    assert (outcome.status, outcome.ref) == (Status.UPDATED, RemoteRef("Task", task.id))
    row = shown(org, task)
    assert (row["IsClosed"], row["Status"], row["IsReminderSet"]) == (True, "Completed", False)
    assert row["Description"] == (
        "Withdrawn by syncline: the run that created this task was undone. Nobody has done it.\n\nPerché: prezzi"
    )


@pytest.mark.parametrize("name", ["Cancelled", "Withdrawn", "Annullata", "No longer needed"])
def test_a_status_that_claims_no_work_is_preferred(sink: SalesforceSink, org: SalesforceSimulator, name: str) -> None:
    add_task_status(org.org, name, closed=True)
    [task] = made(sink, org, "t-1")
    sink.close_tasks([task])
    assert shown(org, task)["Status"] == name


def test_a_status_of_the_settings_is_taken_and_has_to_be_a_closed_one(
    open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    add_task_status(org.org, "Ended", closed=True)
    [task] = made(sink, org, "t-1")
    with pytest.raises(ConfigError, match="task_withdrawn_status: 'Deferred' is no closed task status"):
        open_sink(task_withdrawn_status="Deferred").close_tasks([task])
    open_sink(task_withdrawn_status="Ended").close_tasks([task])
    assert shown(org, task)["Status"] == "Ended"


def test_a_full_batch_is_one_write_call_and_the_status_is_asked_once(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    tasks = made(sink, org, *(f"t-{n}" for n in range(200)))
    [other] = made(sink, org, "u")
    org.reset_counters()
    assert {o.status for o in sink.close_tasks(tasks)} == {Status.UPDATED}
    assert (org.counters()["calls"], org.counters()["write_calls"]) == (3, 1)
    sink.close_tasks([other])
    assert (org.counters()["calls"], org.counters()["write_calls"]) == (5, 2)
    with pytest.raises(ContractError):
        sink.close_tasks([*tasks, other])


def test_what_has_no_id_of_salesforce_is_no_task_there(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    [task] = made(sink, org, "t-1")
    outcomes = sink.close_tasks([TaskRef("x", "nobody's"), task])
    assert [o.status for o in outcomes] == [Status.UNCHANGED, Status.UPDATED]


def test_one_that_is_deleted_or_locked_while_we_close_it_is_told_apart(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """Between our look and our write."""
    deleted, locked, fine = made(sink, org, "d", "l", "f")
    org.org.locked.add(locked.id)
    look = sink.client.query_all

    def then_deleted(soql: str) -> list[dict[str, Any]]:
        rows = look(soql)
        if "FROM Task " in soql:
            org.delete_record("Task", deleted.id)
        return rows

    sink.client.query_all = then_deleted  # type: ignore[method-assign]
    outcomes = sink.close_tasks([deleted, locked, fine])
    assert [o.status for o in outcomes] == [Status.UNCHANGED, Status.RETRY, Status.UPDATED]
