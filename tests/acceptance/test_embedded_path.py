"""The main job on the embedded configuration: what a newcomer runs, held against the simulated CRM's own books."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from syncline.host import Host
from syncline.sync.report import Report

OURS = {
    "Syncline_Key__c",
    "Lead_Score__c",
    "Lead_Band__c",
    "Score_Reason__c",
    "Engagement__c",
    "Hot_Lead__c",
    "Last_Event__c",
    "Last_Event_At__c",
}
SYSTEM = {"SystemModstamp", "LastModifiedDate", "LastModifiedById", "LastActivityDate"}


def crm(host: Host) -> Any:
    host.sinks()
    return host.simulation.running["crm"]


def first_run(host: Host) -> Report:
    host.prepare("crm")
    return host.run()


def addresses(simulator: Any) -> Counter[str]:
    """How many people the CRM shows for each address: open leads and contacts."""
    leads = [row for row in simulator.rows("Lead") if not row.get("IsConverted")]
    return Counter(str(row["Email"]).lower() for row in [*leads, *simulator.rows("Contact")] if row.get("Email"))


def test_run_reports_what_the_crm_counted(make_world: Callable[..., Any]) -> None:
    host = make_world().host()
    host.prepare("crm")
    simulator = crm(host)
    before = dict(simulator.counters())
    report = host.run()
    after = simulator.counters()
    sink = report.sinks["crm"]
    assert report.status == "done"
    assert sink.write_calls == after["write_calls"] - before["write_calls"]
    assert sink.write_calls == sink.planned_calls == sink.least_write_calls
    assert sink.calls == after["calls"] - before["calls"]
    assert sink.created > 0
    assert sink.updated > 0
    assert sink.tasks > 0
    assert sink.members > 0


def test_numbers_of_a_run_add_up(make_world: Callable[..., Any]) -> None:
    report = first_run(make_world().host())
    for source in report.sources.values():
        assert source.read == source.stored + source.duplicate + source.quarantined
        assert source.read > 0
    sink = report.sinks["crm"]
    assert sink.created + sink.updated + sink.unchanged + sum(sink.skipped.values()) == report.people
    for score in report.scores.values():
        assert sum(score.bands.values()) == report.people


def test_second_run_writes_nothing(make_world: Callable[..., Any]) -> None:
    world = make_world()
    with world.host() as host:
        first_run(host)
    with world.host() as host:
        simulator = crm(host)
        before = simulator.counters().get("write_calls", 0)
        sink = host.run().sinks["crm"]
        assert simulator.counters().get("write_calls", 0) == before
    assert (sink.write_calls, sink.created, sink.updated, sink.tasks, sink.members) == (0, 0, 0, 0, 0)


def test_nobody_is_doubled_and_nobodys_own_fields_change(make_world: Callable[..., Any]) -> None:
    host = make_world(people=300).host()
    simulator = crm(host)
    held = {name: {row["Id"]: dict(row) for row in simulator.rows(name)} for name in ("Lead", "Contact")}
    twice = {mail for mail, count in addresses(simulator).items() if count > 1}
    assert twice, "the simulated CRM holds some people twice from the start"
    assert any(row["IsConverted"] for row in held["Lead"].values()), "and some converted"
    first_run(host)
    assert {mail for mail, count in addresses(simulator).items() if count > 1} == twice
    for name, rows in held.items():
        now = {row["Id"]: row for row in simulator.rows(name)}
        for record_id, before in rows.items():
            after = now[record_id]
            changed = {field for field in before.keys() | after.keys() if before.get(field) != after.get(field)}
            filled = {field for field in changed if before.get(field) in (None, "")}
            assert changed - OURS - SYSTEM <= filled, f"{name} {record_id}: {changed}"


def test_people_found_by_address_adopt_our_key(make_world: Callable[..., Any]) -> None:
    host = make_world(people=300).host()
    simulator = crm(host)
    held = {row["Id"] for row in simulator.rows("Lead")} | {row["Id"] for row in simulator.rows("Contact")}
    first_run(host)
    keyed = [row for name in ("Lead", "Contact") for row in simulator.rows(name) if row.get("Syncline_Key__c")]
    assert len({row["Syncline_Key__c"] for row in keyed}) == len(keyed)
    adopted = [row for row in keyed if row["Id"] in held]
    assert any(row["Email"] != row["Email"].lower() for row in adopted), "also in another letter case"
    assert any(row["Id"].startswith("003") for row in adopted), "also as the contact a lead was converted to"
    assert not any(row.get("Syncline_Key__c") for row in simulator.rows("Lead") if row["IsConverted"])


def test_those_held_twice_wait_for_a_decision(make_world: Callable[..., Any]) -> None:
    host = make_world(people=300).host()
    simulator = crm(host)
    twice = {mail for mail, count in addresses(simulator).items() if count > 1}
    report = first_run(host)
    waiting = report.sinks["crm"].conflicts
    assert waiting == len(twice)
    assert not [row for row in simulator.rows("Lead") if row.get("Syncline_Key__c") and row["Email"].lower() in twice]


def test_plan_and_run_agree(make_world: Callable[..., Any]) -> None:
    world = make_world()
    with world.host() as host:
        host.prepare("crm")
        planned = host.plan().sinks["crm"]
    with world.host() as host:
        simulator = crm(host)
        assert not [row for row in simulator.rows("Lead") if row.get("Syncline_Key__c")], "a plan writes nothing"
        done = host.run().sinks["crm"]
    assert _essence(planned) == _essence(done)
    assert planned.planned_calls == done.planned_calls == done.write_calls
    for count in ("created", "updated", "tasks", "members", "unchanged", "conflicts", "skipped"):
        assert getattr(planned, count) == getattr(done, count), count


def _essence(sink: Any) -> list[str]:
    keys = ("operation", "object", "person", "id", "fields", "subject")
    rows = [{key: getattr(change, key) for key in keys} for change in sink.changes]
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_tasks_say_who_did_what_and_by_when(make_world: Callable[..., Any]) -> None:
    host = make_world().host()
    report = first_run(host)
    tasks = crm(host).rows("Task")
    assert len(tasks) == report.sinks["crm"].tasks == len({task["Syncline_Key__c"] for task in tasks})
    for task in tasks:
        assert task["Subject"].startswith("Lead ad alto coinvolgimento: ")
        assert task["Description"].endswith("richiamare entro 2 ore")
        assert ", ha " in task["Description"]
        assert task["WhoId"][:3] in ("00Q", "003")
        assert task["ActivityDate"] == "2026-06-01"


def test_campaign_members_are_the_segment(make_world: Callable[..., Any]) -> None:
    host = make_world().host()
    report = first_run(host)
    simulator = crm(host)
    members = [row.get("LeadId") or row.get("ContactId") for row in simulator.rows("CampaignMember")]
    flagged = {r["Id"] for name in ("Lead", "Contact") for r in simulator.rows(name) if r.get("Hot_Lead__c") is True}
    assert set(members) == flagged
    assert len(members) == report.sinks["crm"].members


def test_contributions_sum_to_the_score(make_world: Callable[..., Any]) -> None:
    host = make_world().host()
    first_run(host)
    for lead in crm(host).rows("Lead")[:40]:
        if not lead.get("Syncline_Key__c"):
            continue
        told = host.explain(lead["Syncline_Key__c"]).to_json()
        for score in told["scores"].values():
            assert sum(Decimal(line["amount"]) for line in score["contributions"]) == Decimal(score["value"])
        assert Decimal(told["scores"]["interesse"]["value"]) == Decimal(str(lead["Lead_Score__c"]))
