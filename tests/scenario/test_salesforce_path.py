"""The whole path against the simulated Salesforce, where the vendor's own habits matter.

What the simulator does is pinned to the vendor sheet and to recorded traffic by the plugin's tests.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from syncline.host import Host
from syncline.sync.report import SinkReport
from syncline.sync.retry import retrying
from syncline.testing.simulator import Fault

WRITES = "* */composite/sobjects*"
ONCE = retrying(attempts=1, sleep=lambda _: None)
OWN = {"Id", "Syncline_Key__c", "SystemModstamp", "CreatedDate", "LastModifiedDate", "Name"}
HUMAN_WINS = ("owner: shared, policy: only_if_empty, default", "owner: shared, policy: human_wins, default")


def ready(world: Any, **options: Any) -> tuple[Host, Any]:
    """A host whose CRM is prepared, and its simulator."""
    host = world.host(**options)
    host.prepare("crm")
    return host, host.simulation.running["crm"]


def people_in(crm: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(name, row) for name in ("Lead", "Contact") for row in crm.rows(name)]


def ours(crm: Any, *, hot: bool | None = None) -> list[dict[str, Any]]:
    """Open leads that carry our key."""
    found = [row for row in crm.rows("Lead") if row.get("Syncline_Key__c") and not row["IsConverted"]]
    return [row for row in found if hot is None or row["Hot_Lead__c"] is hot]


def holdings(crm: Any) -> dict[str, list[str]]:
    """What the CRM holds, without ids and times."""
    whose = {row["Id"]: f"{name} {str(row.get('Email')).lower()}" for name, row in people_in(crm)}
    rows: dict[str, list[str]] = {}
    for name in ("Lead", "Contact"):
        kept = [{k: v for k, v in row.items() if k not in OWN and not k.endswith("Id")} for row in crm.rows(name)]
        rows[name] = sorted(str(sorted(row.items(), key=str)) for row in kept)
    rows["Task"] = sorted(f"{whose[t['WhoId']]} {t['Subject']} {t['Description']}" for t in crm.rows("Task"))
    rows["CampaignMember"] = sorted(whose[m.get("LeadId") or m.get("ContactId")] for m in crm.rows("CampaignMember"))
    return rows


def essence(sink: SinkReport) -> list[str]:
    keys = ("operation", "object", "person", "id", "fields", "subject")
    return sorted(json.dumps({key: getattr(row, key) for key in keys}, sort_keys=True) for row in sink.changes)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_connection_that_breaks_at_every_write_doubles_nothing(make_world: Callable[..., Any], kind: str) -> None:
    """Each run gets one write through (unanswered, if it breaks after); in the end it is as if nothing had happened."""
    undisturbed_host, undisturbed = ready(make_world(people=60, name="undisturbed"))
    undisturbed_host.run()
    host, crm = ready(make_world(people=60, name="disturbed"), retry=ONCE)
    reports = []
    for _ in range(12):
        crm.faults = [Fault(kind, on=WRITES, after=1 if kind == "drop_before" else 0, times=None)]
        reports.append(host.run())
        if reports[-1].status == "done":
            break
        assert reports[-1].exit_code == 1
        assert reports[-1].sinks["crm"].error
    assert len(reports) >= 5, "leads created and updated, contacts, tasks, members"
    crm.faults = []
    assert host.run().status == "done"
    assert holdings(crm) == holdings(undisturbed)
    for name in ("Lead", "Contact", "Task"):
        keys = Counter(row["Syncline_Key__c"] for row in crm.rows(name) if row.get("Syncline_Key__c"))
        assert max(keys.values(), default=1) == 1
    assert host.run().sinks["crm"].changes == []


def test_a_session_that_ends_in_the_middle_is_renewed_once_and_nothing_is_lost(make_world: Callable[..., Any]) -> None:
    host, crm = ready(make_world(people=60))
    crm.tokens.calls_per_session = 3
    report = host.run()
    assert (report.status, report.sinks["crm"].rejected) == ("done", 0)
    assert crm.tokens.issued > 1
    assert host.run().sinks["crm"].changes == []


def test_a_locked_row_keeps_nobody_else_from_being_written(make_world: Callable[..., Any]) -> None:
    host, crm = ready(make_world(people=60))
    host.run()
    target, other = ours(crm)[:2]
    crm.human_edit("Lead", other["Id"], Lead_Score__c=1)
    crm.human_edit("Lead", target["Id"], Last_Event__c="invented")
    crm.org.locked.add(target["Id"])
    report = host.run()
    sink = report.sinks["crm"]
    assert (report.exit_code, sink.updated, sink.retry, sink.drift) == (1, 1, 1, 2)
    [row] = [change for change in sink.changes if change.status == "retry"]
    assert "UNABLE_TO_LOCK_ROW" in str(row.reason)
    again = host.run()
    assert (again.status, again.sinks["crm"].updated) == ("done", 1)
    assert host.run().sinks["crm"].changes == []


def test_drift_is_rewritten_and_what_people_typed_is_not(make_world: Callable[..., Any]) -> None:
    host, crm = ready(make_world(HUMAN_WINS, people=60))
    host.run()
    one, two, three = ours(crm)[:3]
    crm.human_edit("Lead", one["Id"], Lead_Score__c=999, Phone="+39 02 555")
    crm.human_edit("Lead", two["Id"], Company="Typed by hand", LastName="Also typed")
    crm.human_edit("Lead", three["Id"], Last_Event__c="invented", Status="Working")
    planned, done = host.plan().sinks["crm"], host.run().sinks["crm"]
    assert essence(planned) == essence(done)
    assert (planned.planned_calls, planned.drift) == (done.write_calls, done.drift) == (1, 2)
    now = {row["Id"]: row for row in crm.rows("Lead")}
    assert Decimal(str(now[one["Id"]]["Lead_Score__c"])) == Decimal(str(one["Lead_Score__c"]))
    assert now[one["Id"]]["Phone"] == "+39 02 555"
    assert (now[two["Id"]]["Company"], now[two["Id"]]["LastName"]) == ("Typed by hand", "Also typed")
    assert now[three["Id"]]["Last_Event__c"] == three["Last_Event__c"]
    assert host.explain(three["Syncline_Key__c"]).profile.attributes["stage"] == "Working"
    assert host.run().sinks["crm"].changes == []


def test_conversions_merges_and_deletions_between_runs_are_followed(make_world: Callable[..., Any]) -> None:
    host, crm = ready(make_world(people=120))
    host.run()
    hot = ours(crm, hot=True)[0]
    lost, survivor, gone = ours(crm, hot=False)[:3]
    contact = crm.convert_lead(hot["Id"])
    crm.delete_record("Lead", lost["Id"])
    crm.merge("Lead", survivor["Id"], gone["Id"])
    leads = len(crm.rows("Lead"))
    planned, report = host.plan().sinks["crm"], host.run()
    sink = report.sinks["crm"]
    assert essence(planned) == essence(sink)
    assert (report.status, sink.created, sink.rejected) == ("done", 0, 0)
    assert sink.skipped["deleted in the CRM"] == 1
    assert len(crm.rows("Lead")) == leads, "nobody is created again"
    [row] = [row for row in crm.rows("Contact") if row["Id"] == contact]
    assert row["Syncline_Key__c"] == hot["Syncline_Key__c"]
    assert row["Hot_Lead__c"] is True
    members = Counter(m.get("LeadId") or m.get("ContactId") for m in crm.rows("CampaignMember"))
    assert members[contact] == 1
    assert max(members.values()) == 1
    assert len([conflict for conflict in sink.skipped if "another person's" in conflict]) == 1
    quiet = host.run().sinks["crm"]
    assert (quiet.changes, quiet.write_calls) == ([], 0)


def test_a_conflict_disappears_when_sales_merged_the_two(make_world: Callable[..., Any]) -> None:
    host, crm = ready(make_world(people=120))
    before = host.run().sinks["crm"].conflicts
    by_email: dict[str, list[str]] = {}
    for row in crm.rows("Lead"):
        by_email.setdefault(str(row["Email"]).lower(), []).append(row["Id"])
    survivor, gone = next(ids for ids in by_email.values() if len(ids) == 2)
    crm.merge("Lead", survivor, gone)
    sink = host.run().sinks["crm"]
    assert (sink.conflicts, sink.created, sink.updated) == (before - 1, 0, 1)
    [row] = [row for row in crm.rows("Lead") if row["Id"] == survivor]
    assert row["Syncline_Key__c"]


def test_an_unprepared_org_is_not_written_and_told_how_to_prepare_it(make_world: Callable[..., Any]) -> None:
    host = make_world(people=60).host()
    report = host.run()
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert "`syncline prepare crm`" in str(report.sinks["crm"].error)
    assert report.sinks["crm"].write_calls == 0
    host.prepare("crm")
    assert host.run().status == "done"
