"""Tasks by a unique key, members of campaigns. Rules: vendor sheet §10."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from syncline.errors import ConfigError, ContractError, SchemaDriftError, TransientError
from syncline.model import Member, RemoteRef, Status, TaskWrite
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

SEGMENT = "Lead caldo"
Open = Callable[..., SalesforceSink]


def refs(org: SalesforceSimulator, count: int = 3) -> list[RemoteRef]:
    return [RemoteRef("Lead", r["Id"]) for r in org.rows("Lead") if not r["IsConverted"]][:count]


def task(about: RemoteRef, key: str = "t-1", **changes: object) -> TaskWrite:
    values = {
        "subject": "Richiamare",
        "body": "Perché: prezzi\ndue volte",
        "due": datetime(2026, 6, 1, 23, 30, tzinfo=UTC),
        "priority": "urgent",
        **changes,
    }
    return TaskWrite(key, about, **values)  # type: ignore[arg-type]


def test_a_task_says_what_when_and_how_urgently(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    about = refs(org)[0]
    outcome = sink.create_tasks([task(about, subject="x" * 300)])[0]
    (made,) = org.rows("Task")
    assert (outcome.status, outcome.ref) == (Status.CREATED, RemoteRef("Task", made["Id"]))
    expected = {
        "WhoId": about.id,
        "Subject": "x" * 255,
        "Description": "Perché: prezzi\ndue volte",
        "ActivityDate": "2026-06-01",
        "ReminderDateTime": "2026-06-01T23:30:00.000+0000",
        "IsReminderSet": True,
        "Priority": "High",
        "Status": "Not Started",
        "Syncline_Key__c": "t-1",
        "OwnerId": sink.client.token.user_id,
    }
    assert {name: made[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("ours", "theirs"), [("low", "Low"), ("normal", "Normal"), ("high", "High"), ("urgent", "High")]
)
def test_priorities(sink: SalesforceSink, org: SalesforceSimulator, ours: str, theirs: str) -> None:
    sink.create_tasks([task(refs(org)[0], priority=ours)])
    assert org.rows("Task")[0]["Priority"] == theirs


def test_the_owner_is_the_tasks_else_the_configured_one(
    sink: SalesforceSink, open_sink: Open, org: SalesforceSimulator
) -> None:
    sales = org.rows("Lead")[0]["OwnerId"]
    open_sink(task_owner=sales).create_tasks([task(refs(org)[0])])
    sink.create_tasks([task(refs(org)[0], "t-2", owner=sales)])
    assert [t["OwnerId"] for t in org.rows("Task")] == [sales, sales]


def test_two_hundred_tasks_cost_one_call(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    about = refs(org)[0]
    assert all(o.status is Status.CREATED for o in sink.create_tasks([task(about, f"t-{n}") for n in range(200)]))
    assert dict(org.counters()) == {"calls": 1, "write_calls": 1, "tasks": 200}
    with pytest.raises(ContractError, match="at most 200"):
        sink.create_tasks([task(about, f"t-{n}") for n in range(201)])


def test_a_task_whose_answer_was_lost_is_not_created_twice(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.faults = [Fault("drop_after", on="POST *composite*")]
    tasks = [task(refs(org)[0], f"t-{n}") for n in range(3)]
    with pytest.raises(TransientError):
        sink.create_tasks(tasks)
    again = sink.create_tasks([*tasks, task(refs(org)[0], "t-new")])
    assert [o.status for o in again] == [Status.UNCHANGED] * 3 + [Status.CREATED]
    assert len(org.rows("Task")) == 4
    assert {o.ref.id[:15] for o in again if o.ref} == {t["Id"][:15] for t in org.rows("Task")}


def test_a_task_about_a_lead_converted_meanwhile_comes_again(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    converted = next(RemoteRef("Lead", r["Id"]) for r in org.rows("Lead") if r["IsConverted"])
    bad, good = sink.create_tasks([task(converted, "a"), task(refs(org)[0], "b")])
    assert (bad.status, bad.code) == (Status.RETRY, "CANNOT_UPDATE_CONVERTED_LEAD")
    assert good.status is Status.CREATED


def test_tasks_without_the_key_field_are_drift(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    with pytest.raises(SchemaDriftError) as caught:
        fresh.create_tasks([task(refs(org)[0])])
    assert caught.value.field == "Syncline_Key__c"
    assert not org.rows("Task")


def members(org: SalesforceSimulator, count: int = 3) -> list[Member]:
    return [Member(f"m-{n}", ref) for n, ref in enumerate(refs(org, count))]


def test_members_are_added_once_and_removed_once(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    three = members(org)
    statuses = [
        [o.status for o in sink.set_members(SEGMENT, add, remove)]
        for add, remove in ((three[:2], []), (three, []), ([], three[1:]), ([], three))
    ]
    created, updated, same = Status.CREATED, Status.UPDATED, Status.UNCHANGED
    assert statuses == [[created] * 2, [same, same, created], [updated] * 2, [updated, same, same]]
    assert not org.rows("CampaignMember")


def test_adding_costs_one_call_and_removing_two(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    sink.set_members(SEGMENT, members(org, 1), [])  # looks the campaign up, once per run
    org.reset_counters()
    sink.set_members(SEGMENT, members(org, 20), [])
    assert org.counters()["calls"] == 1
    org.reset_counters()
    sink.set_members(SEGMENT, [], members(org, 20))
    assert org.counters()["calls"] == 2


def test_contacts_are_members_too(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    contact = Member("c", RemoteRef("Contact", org.rows("Contact")[0]["Id"]))
    assert [o.status for o in sink.set_members(SEGMENT, [*members(org, 1), contact], [])] == [Status.CREATED] * 2
    assert [o.status for o in sink.set_members(SEGMENT, [], [contact])] == [Status.UPDATED]
    assert len(org.rows("CampaignMember")) == 1


def test_a_bad_member_is_rejected_alone_and_in_order(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    first, second = members(org, 2)
    nobody = Member("x", RemoteRef("Lead", "00Q5e0000009999AAA"))
    outcomes = sink.set_members(SEGMENT, [first, nobody, second], [])
    assert [(o.key, o.status) for o in outcomes] == [
        ("m-0", Status.CREATED),
        ("x", Status.REJECTED),
        ("m-1", Status.CREATED),
    ]


def test_two_hundred_members_cost_one_call_and_more_are_refused(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    ids = [org.human_create("Lead", LastName=f"L{n}", Company="C") for n in range(201)]
    people = [Member(i, RemoteRef("Lead", i)) for i in ids]
    for add, remove in ((people, []), ([], people)):
        with pytest.raises(ContractError, match="at most 200"):
            sink.set_members(SEGMENT, add, remove)
    assert not org.counters()
    assert [o.key for o in sink.set_members(SEGMENT, people[:200], [])] == ids[:200]
    assert (org.counters()["members"], org.counters()["write_calls"]) == (200, 1)


def test_an_unknown_campaign_is_a_configuration_error(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    with pytest.raises(ConfigError, match="syncline prepare"):
        sink.set_members("O'Brien's \\ list", members(org), [])
    assert "write_calls" not in org.counters()


def test_nobody_to_add_or_remove_costs_nothing(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    assert sink.set_members(SEGMENT, [], []) == []
    assert sink.create_tasks([]) == []
    assert not org.counters()
