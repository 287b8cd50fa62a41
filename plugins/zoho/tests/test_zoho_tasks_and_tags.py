"""Tasks that happen once, and segments as tags. Vendor sheet §6, §11."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.errors import ConfigError, ContractError, SchemaDriftError
from syncline.model import Member, RemoteRef, Status, TaskRef, TaskWrite
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator
from syncline_zoho.simulator.crm import SALES_USER, SYNC_USER

Open = Callable[..., ZohoSink]
DUE = datetime(2026, 6, 1, 23, 30, tzinfo=UTC)
TAG = "Lead caldo"


def opened(crm: ZohoSimulator) -> list[RemoteRef]:
    return [RemoteRef("Leads", r["id"]) for r in crm.rows("Leads") if not r["Converted__s"]]


def contacts(crm: ZohoSimulator) -> list[RemoteRef]:
    return [RemoteRef("Contacts", r["id"]) for r in crm.rows("Contacts")]


def task(key: str, about: RemoteRef, **changes: Any) -> TaskWrite:
    given: dict[str, Any] = {"subject": "Call", "body": "Asked for a demo", "due": DUE, "priority": "high", **changes}
    return TaskWrite(key, about, **given)


def tags(crm: ZohoSimulator, ref: RemoteRef) -> list[str]:
    return [t["name"] for t in crm.crm.tables[ref.object][ref.id]["Tag"]]


# Tasks


def test_a_task_says_who_what_and_when(sink: ZohoSink, crm: ZohoSimulator) -> None:
    lead, contact = opened(crm)[0], contacts(crm)[0]
    outcomes = sink.create_tasks([task("t1", lead, priority="urgent"), task("t2", contact, owner=SALES_USER)])
    assert [o.status for o in outcomes] == [Status.CREATED] * 2
    first, second = crm.rows("Tasks")
    assert (first["Subject"], first["Due_Date"], first["Priority"], first["Status"]) == (
        "Call",
        "2026-06-01",
        "Highest",
        "Not Started",
    )
    assert first["Description"] == "Asked for a demo\n\n[2026-06-01 23:30 UTC]"
    assert (first["What_Id"]["id"], first["$se_module"], first["Who_Id"]) == (lead.id, "Leads", None)
    assert (second["Who_Id"]["id"], second["What_Id"]) == (contact.id, None)
    assert (first["Owner"]["id"], second["Owner"]["id"]) == (SYNC_USER, SALES_USER)
    assert crm.triggered == [[]]


def test_the_owner_of_tasks_can_be_set(open_sink: Open, sink: ZohoSink, crm: ZohoSimulator) -> None:
    open_sink(task_owner=SALES_USER).create_tasks([task("t1", opened(crm)[0])])
    assert crm.rows("Tasks")[0]["Owner"]["id"] == SALES_USER


def test_a_key_that_is_there_is_unchanged_and_costs_nothing_twice(sink: ZohoSink, crm: ZohoSimulator) -> None:
    lead = opened(crm)[0]
    [made] = sink.create_tasks([task("t1", lead)])
    again, new = sink.create_tasks([task("t1", lead, subject="Other"), task("t2", lead)])
    assert (again.status, again.ref, new.status) == (Status.UNCHANGED, made.ref, Status.CREATED)
    assert [t["Subject"] for t in crm.rows("Tasks")] == ["Call", "Call"]


def test_a_key_that_is_there_among_other_mistakes_is_unchanged(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """The answer was lost, and since then the lead was converted."""
    [made] = sink.create_tasks([task("t1", opened(crm)[0])])
    assert made.ref is not None
    errors = [
        {"code": "INVALID_DATA", "message": "m", "status": "error", "details": {"api_name": "What_Id"}},
        {
            "code": "DUPLICATE_DATA",
            "message": "m",
            "status": "error",
            "details": {"api_name": "Syncline_Key", "duplicate_record": {"id": made.ref.id}},
        },
    ]
    item = {"code": "MULTIPLE_OR_MULTI_ERRORS", "message": "m", "status": "error", "details": {"errors": errors}}
    crm.faults = [Fault("status", on="POST *Tasks", status=400, body={"data": [item]})]
    [again] = sink.create_tasks([task("t1", opened(crm)[0])])
    assert (again.status, again.ref) == (Status.UNCHANGED, made.ref)


def test_a_task_about_nobody_is_refused_alone(sink: ZohoSink, crm: ZohoSimulator) -> None:
    nobody = RemoteRef("Leads", "5725767000009999999")
    good, bad = sink.create_tasks([task("t1", opened(crm)[0]), task("t2", nobody)])
    assert (good.status, bad.status, bad.code) == (Status.CREATED, Status.REJECTED, "INVALID_DATA")
    assert "What_Id" in str(bad.reason)


def test_long_words_are_cut_to_what_a_task_holds(sink: ZohoSink, crm: ZohoSimulator) -> None:
    [outcome] = sink.create_tasks([task("t1", opened(crm)[0], subject="x" * 300, body="y" * 40_000)])
    assert outcome.status is Status.CREATED
    assert (len(crm.rows("Tasks")[0]["Subject"]), len(crm.rows("Tasks")[0]["Description"])) == (255, 32_000)


@pytest.mark.parametrize("state", ["missing", "not unique"])
def test_no_task_is_created_without_a_key_that_is_unique(
    open_sink: Open, sink: ZohoSink, crm: ZohoSimulator, state: str
) -> None:
    if state == "missing":
        crm.remove_field("Tasks", "Syncline_Key")
    else:
        crm.change_field("Tasks", "Syncline_Key", unique={})
    with pytest.raises(SchemaDriftError, match="created twice") as caught:
        open_sink().create_tasks([task("t1", opened(crm)[0])])
    assert caught.value.field == "Syncline_Key"
    assert crm.rows("Tasks") == []


def refs(sink: ZohoSink, about: RemoteRef, count: int) -> list[TaskRef]:
    """Tasks of ours that are there."""
    outcomes = sink.create_tasks([task(f"t{n}", about, subject=f"Call {n}") for n in range(count)])
    return [TaskRef(o.key, o.ref.id) for o in outcomes if o.ref]


def found(crm: ZohoSimulator, ref: TaskRef) -> dict[str, Any]:
    return crm.crm.tables["Tasks"][ref.id]


def test_a_task_taken_back_is_closed_and_says_that_nobody_did_it(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """No status of Zoho's says so; which of them close a task, but Completed, could not be verified."""
    [ref] = refs(sink, opened(crm)[0], 1)
    crm.triggered.clear()
    [outcome] = sink.close_tasks([ref])
    assert (outcome.status, outcome.ref) == (Status.UPDATED, RemoteRef("Tasks", ref.id))
    row = found(crm, ref)
    assert (row["Status"], row["Subject"]) == ("Completed", "Withdrawn, not done: Call 0")
    assert row["Description"].startswith("Withdrawn by syncline: the run that created this task was undone.")
    assert "Asked for a demo" in row["Description"]
    assert crm.triggered == [[]], "no automation starts from it"


def test_the_status_of_withdrawn_tasks_can_be_set_and_counts_as_closed(
    open_sink: Open, sink: ZohoSink, crm: ZohoSimulator
) -> None:
    chosen = open_sink(task_withdrawn_status="Deferred")
    [ref] = refs(sink, opened(crm)[0], 1)
    assert [o.status for o in (*chosen.close_tasks([ref]), *chosen.close_tasks([ref]))] == [
        Status.UPDATED,
        Status.UNCHANGED,
    ]
    assert found(crm, ref)["Status"] == "Deferred"


def test_a_hundred_tasks_are_two_looks_and_one_write_of_the_open_ones(sink: ZohoSink, crm: ZohoSimulator) -> None:
    made = refs(sink, opened(crm)[0], 100)
    for ref in made[:30]:
        crm.human_edit("Tasks", ref.id, Status="Completed")
    crm.delete_record("Tasks", made[99].id)
    crm.reset_counters()
    outcomes = sink.close_tasks(made)
    assert [o.status for o in outcomes] == [Status.UNCHANGED] * 30 + [Status.UPDATED] * 69 + [Status.UNCHANGED]
    counted = crm.counters()
    assert (counted["calls"], counted["write_calls"], counted["write_credits"]) == (3, 1, 7)
    assert all(found(crm, ref)["Subject"].startswith("Call") for ref in made[:30]), "what a person did is left alone"


def test_a_task_that_is_deleted_while_we_close_it_is_unchanged_and_a_locked_one_comes_again(
    sink: ZohoSink, crm: ZohoSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, locked, plain = made = refs(sink, opened(crm)[0], 3)
    read = sink.client.read

    def then(*arguments: Any, **options: Any) -> Any:
        answer = read(*arguments, **options)
        crm.delete_record("Tasks", gone.id)
        crm.crm.locked.add(locked.id)
        return answer

    monkeypatch.setattr(sink.client, "read", then)
    outcomes = sink.close_tasks(made)
    assert [o.status for o in outcomes] == [Status.UNCHANGED, Status.RETRY, Status.UPDATED]
    assert found(crm, plain)["Status"] == "Completed"


def test_more_tasks_than_a_call_takes_are_refused_before_any_call(sink: ZohoSink, crm: ZohoSimulator) -> None:
    with pytest.raises(ContractError, match="at most 100"):
        sink.close_tasks([TaskRef(f"t{n}", str(n)) for n in range(101)])
    assert sink.close_tasks([]) == []
    assert crm.counters().get("calls", 0) == 0


def test_no_tasks_cost_nothing_and_twins_are_refused(sink: ZohoSink, crm: ZohoSimulator) -> None:
    assert sink.create_tasks([]) == []
    with pytest.raises(ContractError, match="same key"):
        sink.create_tasks([task("t1", opened(crm)[0])] * 2)
    assert not crm.counters()


# Tags


def test_members_are_looked_at_in_one_call_and_written_in_another(sink: ZohoSink, crm: ZohoSimulator) -> None:
    members = [Member(f"m{n}", ref) for n, ref in enumerate(opened(crm)[:10])]
    outcomes = sink.set_members(TAG, members, [])
    assert [o.status for o in outcomes] == [Status.UPDATED] * 10
    assert crm.counters() == {"calls": 2, "credits": 2, "write_calls": 1, "write_credits": 1, "members": 10}
    assert all(tags(crm, m.ref) == [TAG] for m in members)


def test_who_is_in_already_or_out_already_costs_no_write(sink: ZohoSink, crm: ZohoSimulator) -> None:
    one, two = opened(crm)[:2]
    crm.human_tag("Leads", one.id, TAG.upper(), "Friends of ours")
    crm.reset_counters()
    outcomes = sink.set_members(TAG, [Member("in", one)], [Member("out", two)])
    assert [(o.key, o.status) for o in outcomes] == [("in", Status.UNCHANGED), ("out", Status.UNCHANGED)]
    assert crm.counters() == {"calls": 1, "credits": 1}


def test_only_those_who_are_not_in_are_sent(sink: ZohoSink, crm: ZohoSimulator) -> None:
    one, two, three = opened(crm)[:3]
    crm.human_tag("Leads", two.id, TAG)
    crm.human_tag("Leads", three.id, TAG)
    crm.reset_counters()
    add = [Member("a", one), Member("b", two)]
    outcomes = sink.set_members(TAG, add, [Member("c", three)])
    assert [(o.key, o.status.value) for o in outcomes] == [("a", "updated"), ("b", "unchanged"), ("c", "updated")]
    assert crm.counters()["members"] == 2
    assert [tags(crm, ref) for ref in (one, two, three)] == [[TAG], [TAG], []]


def test_a_tag_result_goes_by_the_record_that_it_names(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """Their order is not documented."""
    one, two = opened(crm)[:2]
    items = [
        {"code": "SUCCESS", "details": {"id": two.id}, "message": "", "status": "success"},
        {"code": "RECORD_LOCKED", "details": {"id": one.id}, "message": "", "status": "error"},
    ]
    crm.faults = [Fault("status", on="*add_tags", status=207, body={"data": items})]
    outcomes = sink.set_members(TAG, [Member("a", one), Member("b", two)], [])
    assert [(o.key, o.status) for o in outcomes] == [("a", Status.RETRY), ("b", Status.UPDATED)]


def test_other_tags_stay(sink: ZohoSink, crm: ZohoSimulator) -> None:
    lead = opened(crm)[0]
    crm.human_tag("Leads", lead.id, "Friends of ours")
    sink.set_members(TAG, [Member("m", lead)], [])
    assert tags(crm, lead) == ["Friends of ours", TAG]
    sink.set_members(TAG, [], [Member("m", lead)])
    assert tags(crm, lead) == ["Friends of ours"]


def test_leads_and_contacts_are_tagged_each_in_their_module(sink: ZohoSink, crm: ZohoSimulator) -> None:
    members = [Member("c", contacts(crm)[0]), Member("l", opened(crm)[0]), Member("d", contacts(crm)[1])]
    outcomes = sink.set_members(TAG, members, [])
    assert [(o.key, o.ref) for o in outcomes] == [(m.key, m.ref) for m in members]
    assert all(tags(crm, m.ref) == [TAG] for m in members)
    assert crm.counters()["write_calls"] == 2


def test_a_hundred_members_are_looked_up_by_fifties(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """The parameter holds 1,024 characters, which are 51 ids (OpenAPI 2026)."""
    made = [crm.human_create("Leads", Last_Name=f"L{n}", Company="C") for n in range(100)]
    members = [Member(f"m{n}", RemoteRef("Leads", id)) for n, id in enumerate(made)]
    crm.reset_counters()
    assert all(o.status is Status.UPDATED for o in sink.set_members(TAG, members, []))
    assert crm.counters() == {"calls": 3, "credits": 4, "write_calls": 1, "write_credits": 2, "members": 100}


def test_a_member_with_ten_tags_is_refused_alone(sink: ZohoSink, crm: ZohoSimulator) -> None:
    full, free = opened(crm)[:2]
    crm.human_tag("Leads", full.id, *(f"Tag {n}" for n in range(10)))
    refused, done = sink.set_members(TAG, [Member("a", full), Member("b", free)], [])
    assert (refused.status, refused.code, done.status) == (Status.REJECTED, "LIMIT_EXCEEDED", Status.UPDATED)


def test_a_record_that_is_gone_is_refused_when_it_joins_and_unchanged_when_it_leaves(
    sink: ZohoSink, crm: ZohoSimulator
) -> None:
    gone = opened(crm)[0]
    crm.delete_record("Leads", gone.id)
    assert sink.set_members(TAG, [Member("m", gone)], [])[0].code == "INVALID_DATA"
    assert sink.set_members(TAG, [], [Member("m", gone)])[0].status is Status.UNCHANGED


def test_a_locked_member_comes_again(sink: ZohoSink, crm: ZohoSimulator) -> None:
    one, two = opened(crm)[:2]
    crm.faults = [Fault("lock", key=one.id)]
    outcomes = sink.set_members(TAG, [Member("a", one), Member("b", two)], [])
    assert [o.status for o in outcomes] == [Status.RETRY, Status.UPDATED]


@pytest.mark.parametrize("name", ["", "x" * 26], ids=["empty", "26 letters"])
def test_a_name_no_tag_can_have_is_refused_before_any_network(sink: ZohoSink, crm: ZohoSimulator, name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 25"):
        sink.set_members(name, [Member("m", opened(crm)[0])], [])
    assert not crm.counters()


def test_nobody_to_move_costs_nothing(sink: ZohoSink, crm: ZohoSimulator) -> None:
    assert sink.set_members(TAG, [], []) == []
    assert not crm.counters()
