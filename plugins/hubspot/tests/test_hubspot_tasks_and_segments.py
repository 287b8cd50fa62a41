"""Tasks by a unique key, members of lists. Rules: vendor sheet §8 and §9."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.errors import ConfigError, ConnectorError, ContractError, SchemaDriftError, TransientError
from syncline.model import Member, RemoteRef, Status, TaskWrite
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotSink
from syncline_hubspot.simulator import HubspotSimulator

SEGMENT = "Lead caldo"
Open = Callable[..., HubspotSink]


def refs(portal: HubspotSimulator, count: int = 3) -> list[RemoteRef]:
    return [RemoteRef("contacts", r["hs_object_id"]) for r in portal.rows("contacts")][:count]


def task(about: RemoteRef, key: str = "t-1", **changes: Any) -> TaskWrite:
    values = {
        "subject": "Richiamare",
        "body": "Perché: prezzi\ndue volte",
        "due": datetime(2026, 6, 1, 23, 30, tzinfo=UTC),
        "priority": "urgent",
        **changes,
    }
    return TaskWrite(key, about, **values)


def test_a_task_says_what_when_and_how_urgently(sink: HubspotSink, portal: HubspotSimulator) -> None:
    about = refs(portal)[0]
    outcome = sink.create_tasks([task(about)])[0]
    (made,) = portal.rows("tasks")
    assert (outcome.status, outcome.ref) == (Status.CREATED, RemoteRef("tasks", made["hs_object_id"]))
    expected = {
        "hs_task_subject": "Richiamare",
        "hs_task_body": "Perché: prezzi\ndue volte",
        "hs_timestamp": "2026-06-01T23:30:00.000Z",
        "hs_task_priority": "HIGH",
        "hs_task_status": "NOT_STARTED",
        "hs_task_type": "TODO",
        "syncline_task_key": "t-1",
    }
    assert {name: made[name] for name in expected} == expected
    assert "hubspot_owner_id" not in made
    (row,) = portal.portal.tables["tasks"].values()
    assert row["associations"] == [{"object": "contacts", "id": about.id, "typeId": 204}]


@pytest.mark.parametrize(
    ("ours", "theirs"), [("low", "LOW"), ("normal", "MEDIUM"), ("high", "HIGH"), ("urgent", "HIGH")]
)
def test_priorities(sink: HubspotSink, portal: HubspotSimulator, ours: str, theirs: str) -> None:
    sink.create_tasks([task(refs(portal)[0], priority=ours)])
    assert portal.rows("tasks")[0]["hs_task_priority"] == theirs


def test_the_owner_is_the_tasks_else_the_configured_one(
    sink: HubspotSink, open_sink: Open, portal: HubspotSimulator
) -> None:
    open_sink(task_owner="64492917", task_type="CALL").create_tasks([task(refs(portal)[0])])
    sink.create_tasks([task(refs(portal)[0], "t-2", owner="64492918")])
    assert [t["hubspot_owner_id"] for t in portal.rows("tasks")] == ["64492917", "64492918"]
    assert [t["hs_task_type"] for t in portal.rows("tasks")] == ["CALL", "TODO"]


def test_a_hundred_tasks_cost_one_call(sink: HubspotSink, portal: HubspotSimulator) -> None:
    about = refs(portal)[0]
    assert all(o.status is Status.CREATED for o in sink.create_tasks([task(about, f"t-{n}") for n in range(100)]))
    assert dict(portal.counters()) == {"calls": 1, "write_calls": 1, "tasks": 100}
    with pytest.raises(ContractError, match="at most 100"):
        sink.create_tasks([task(about, f"t-{n}") for n in range(101)])


def test_a_task_whose_answer_was_lost_is_not_created_twice(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [Fault("drop_after", on="POST *batch/create")]
    tasks = [task(refs(portal)[0], f"t-{n}") for n in range(3)]
    with pytest.raises(TransientError):
        sink.create_tasks(tasks)
    before = {t["syncline_task_key"]: t for t in portal.rows("tasks")}
    again = sink.create_tasks([*tasks, task(refs(portal)[0], "t-new", subject="new")])
    assert [o.status for o in again] == [Status.UNCHANGED] * 3 + [Status.CREATED]
    after = {t["syncline_task_key"]: t for t in portal.rows("tasks")}
    assert {k: after[k] for k in before} == before
    assert [o.ref.id for o in again if o.ref] == [after[t.key]["hs_object_id"] for t in tasks] + [
        after["t-new"]["hs_object_id"]
    ]


def test_also_where_a_conflict_refuses_the_whole_call(
    sink: HubspotSink, portal: HubspotSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should HubSpot not answer task by task, those that are there are looked up, and the others are created."""
    tasks = [task(refs(portal)[0], f"t-{n}") for n in range(3)]
    sink.create_tasks(tasks[:2])
    each = portal._each
    monkeypatch.setattr(portal, "_each", lambda *a, **named: each(*a, **{**named, "partial": False}))
    assert [o.status for o in sink.create_tasks(tasks)] == [Status.UNCHANGED] * 2 + [Status.CREATED]
    assert len(portal.rows("tasks")) == 3


def test_a_conflict_about_something_else_is_not_taken_for_ours(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [
        Fault(
            "status", on="POST *batch/create", status=409, body={"category": "CONFLICT", "message": "of another kind"}
        )
    ]
    with pytest.raises(ConnectorError, match="of another kind"):
        sink.create_tasks([task(refs(portal)[0])])
    assert not portal.rows("tasks")


def test_a_task_about_somebody_who_is_gone_is_rejected_alone(sink: HubspotSink, portal: HubspotSimulator) -> None:
    bad, good = sink.create_tasks([task(RemoteRef("contacts", "999999"), "a"), task(refs(portal)[0], "b")])
    assert (bad.status, good.status) == (Status.REJECTED, Status.CREATED)
    assert "999999 does not exist" in str(bad.reason)


def test_weather_on_one_task_comes_again(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [Fault("lock", key="t-1")]
    outcomes = sink.create_tasks([task(refs(portal)[0]), task(refs(portal)[0], "t-2")])
    assert [o.status for o in outcomes] == [Status.RETRY, Status.CREATED]


def test_tasks_are_about_what_can_be_associated(sink: HubspotSink) -> None:
    with pytest.raises(ConfigError, match="tasks are about contacts, companies, deals"):
        sink.create_tasks([task(RemoteRef("tickets", "5"))])


def test_tasks_without_the_key_property_are_drift(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    with pytest.raises(SchemaDriftError) as caught:
        fresh.create_tasks([task(refs(portal)[0])])
    assert caught.value.field == "syncline_task_key"
    assert not portal.rows("tasks")


# Members


def members(portal: HubspotSimulator, count: int = 3) -> list[Member]:
    return [Member(f"m-{n}", ref) for n, ref in enumerate(refs(portal, count))]


@pytest.mark.parametrize("new_spelling", [False, True], ids=["recordsIdsAdded", "recordIdsAdded"])
def test_members_are_added_once_and_removed_once(
    sink: HubspotSink, portal: HubspotSimulator, new_spelling: bool
) -> None:
    portal.lists.new_spelling = new_spelling
    three = members(portal)
    statuses = [
        [o.status for o in sink.set_members(SEGMENT, add, remove)]
        for add, remove in ((three[:2], []), (three, []), ([], three[1:]), ([], three))
    ]
    created, updated, same = Status.CREATED, Status.UPDATED, Status.UNCHANGED
    assert statuses == [[created] * 2, [same, same, created], [updated] * 2, [updated, same, same]]
    assert portal.members_of(SEGMENT) == set()


def test_both_ways_at_once_are_one_call(sink: HubspotSink, portal: HubspotSimulator) -> None:
    three = members(portal)
    sink.set_members(SEGMENT, three[:1], [])  # looks the list up, once per run
    portal.reset_counters()
    outcomes = sink.set_members(SEGMENT, three[1:], three[:1])
    assert [o.key for o in outcomes] == ["m-1", "m-2", "m-0"]
    assert dict(portal.counters()) == {"calls": 1, "write_calls": 1, "members": 2}
    assert portal.members_of(SEGMENT) == {m.ref.id for m in three[1:]}


def test_who_is_not_there_is_rejected_and_cannot_be_in(sink: HubspotSink, portal: HubspotSimulator) -> None:
    first, second = members(portal, 2)
    nobody = Member("x", RemoteRef("contacts", "999999"))
    outcomes = sink.set_members(SEGMENT, [first, nobody, second], [])
    assert [(o.key, o.status) for o in outcomes] == [
        ("m-0", Status.CREATED),
        ("x", Status.REJECTED),
        ("m-1", Status.CREATED),
    ]
    assert [o.status for o in sink.set_members(SEGMENT, [], [nobody])] == [Status.UNCHANGED]


def test_a_thousand_members_cost_one_call_and_more_are_refused(sink: HubspotSink, portal: HubspotSimulator) -> None:
    ids = [portal.portal.create("contacts", {"lastname": f"L{n}"})["id"] for n in range(1001)]
    people = [Member(i, RemoteRef("contacts", i)) for i in ids]
    for add, remove in ((people, []), ([], people), (people[:501], people[501:])):
        with pytest.raises(ContractError, match="at most 1000"):
            sink.set_members(SEGMENT, add, remove)
    assert not portal.counters()
    assert [o.key for o in sink.set_members(SEGMENT, people[:1000], [])] == ids[:1000]
    assert (portal.counters()["members"], portal.counters()["write_calls"]) == (1000, 1)


def test_a_list_that_is_not_there_or_fills_itself_is_a_configuration_error(
    sink: HubspotSink, portal: HubspotSimulator
) -> None:
    with pytest.raises(ConfigError, match="syncline prepare"):
        sink.set_members("O'Brien's / list?", members(portal), [])
    dynamic = {"name": "Filled", "objectTypeId": "0-1", "processingType": "DYNAMIC", "filterBranch": {}}
    portal.lists.create(dynamic | {"filterBranch": {"filterBranchType": "OR"}})
    with pytest.raises(ConfigError, match="HubSpot itself fills"):
        sink.set_members("Filled", members(portal), [])
    with pytest.raises(ConfigError, match="contacts only"):
        sink.set_members(SEGMENT, [Member("c", RemoteRef("companies", "1"))], [])
    assert "write_calls" not in portal.counters()


def test_nobody_to_add_or_remove_costs_nothing(sink: HubspotSink, portal: HubspotSimulator) -> None:
    assert sink.set_members(SEGMENT, [], []) == []
    assert sink.create_tasks([]) == []
    assert sink.upsert("contacts", []) == []
    assert not portal.counters()


def test_a_key_that_is_taken_but_not_yet_seen_comes_again(
    sink: HubspotSink, portal: HubspotSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is while a call whose answer was lost is still at it: given up, the task would be told as not made."""
    tasks = [task(refs(portal)[0])]
    sink.create_tasks(tasks)
    find = portal.portal.find
    hidden = lambda object, name, value: None if portal._line.endswith("/read") else find(object, name, value)  # noqa: E731
    monkeypatch.setattr(portal.portal, "find", hidden)
    assert [o.status for o in sink.create_tasks(tasks)] == [Status.RETRY]
    monkeypatch.undo()
    assert [o.status for o in sink.create_tasks(tasks)] == [Status.UNCHANGED]
    assert len(portal.rows("tasks")) == 1


def test_a_list_that_was_made_anew_is_found_again(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """A server keeps its connections for weeks; somebody deletes a list and makes it again."""
    sink.set_members(SEGMENT, members(portal, 1), [])
    portal.lists.delete(next(iter(portal.table("list").keys())))
    with pytest.raises(ConfigError, match="syncline prepare"):
        sink.set_members(SEGMENT, members(portal, 1), [])
    sink.prepare([], [SEGMENT])
    assert [o.status for o in sink.set_members(SEGMENT, members(portal), [])] == [Status.CREATED] * 3
    portal.lists.delete(next(iter(portal.table("list").keys())))
    portal.lists.create({"name": SEGMENT, "objectTypeId": "0-1", "processingType": "MANUAL"})
    assert [o.status for o in sink.set_members(SEGMENT, members(portal), [])] == [Status.CREATED] * 3
