"""The whole path into the simulated Zoho account: matched, written, tagged, tasked, and then quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncline.host import Host
from syncline.sync.retry import retrying
from syncline.testing.simulator import Fault

CONNECTORS = """
version: 1
store: sqlite:///.syncline/state.db
simulation: {people: 48, seed: 1, clock: "2026-06-01T08:00:00Z"}
connections:
  newsletter: {plugin: mailchimp, simulated: true}
  website: {plugin: files, simulated: true}
  crm: {plugin: zoho, simulated: true}
classify:
  page_type: {pricing: ["*/pricing*", "*/prezzi*"], demo: ["*/demo*"]}
  content_type: {whitepaper: ["*whitepaper*"]}
scores:
  interesse: {model: comportamentale}
segments:
  lead_caldo: {all: [email_open, email_click, {page_visit: {page_type: demo}}]}
actions:
  - name: richiamare
    when: {enters: interesse.caldo}
    task: {to: crm, text: alert_it, due: 2h, priority: from_score}
syncs:
  - name: leads
    to: crm
    object: Leads
    also: [Contacts]
    match: Syncline_Key
    when_missing: create
    first_run: whole
    guard: {creates: null, tasks: null, overwrites: null}
    fields:
      Lead_Score: {from: score.interesse, owner: ours, write_when: {moves: 5, or: band}}
      Lead_Band: {from: score.interesse.band, owner: ours}
      Score_Reason: {from: score.interesse.reason, owner: ours}
      Hot_Lead: {from: segment.lead_caldo, owner: ours}
      Last_Event_At: {from: person.last_event_at, owner: ours}
      Email: {from: person.email, owner: shared, policy: only_if_empty}
      Last_Name: {from: person.last_name, owner: shared, policy: only_if_empty, default: "(unknown)"}
      Company: {from: person.company, owner: shared, policy: only_if_empty, default: "(unknown)"}
      Lead_Status: {to: person.stage, owner: theirs}
    segments:
      lead_caldo: "Lead caldo"
"""
ONCE = retrying(attempts=1, sleep=lambda _: None)
Make = Callable[..., tuple[Host, Any]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A host whose account is prepared, and its simulator."""
    hosts: list[Host] = []

    def start(name: str = "world", **options: Any) -> tuple[Host, Any]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "connectors.yaml").write_text(CONNECTORS, "utf-8")
        options.setdefault("retry", retrying(attempts=3, sleep=lambda _: None))
        host = Host.load(folder / "connectors.yaml", env={}, **options)
        hosts.append(host)
        host.prepare("crm")
        crm = host.simulation.running["crm"]
        crm.reset_counters()
        return host, crm

    yield start
    for host in hosts:
        host.close()


def ours(crm: Any) -> list[dict[str, Any]]:
    return [row for row in crm.rows("Leads") if row.get("Syncline_Key") and not row["Converted__s"]]


def holdings(crm: Any) -> dict[str, list[str]]:
    """What the account holds, without ids and times."""
    found: dict[str, list[str]] = {}
    for module in ("Leads", "Contacts", "Tasks"):
        kept = [{k: v for k, v in row.items() if isinstance(v, (str, int, float))} for row in crm.rows(module)]
        for row, full in zip(kept, crm.rows(module), strict=True):
            row["tags"] = str(sorted(tag["name"] for tag in full["Tag"]))
        drop = ("id", "Syncline_Key", "Created_Time", "Modified_Time", "Converted_Date_Time")
        found[module] = sorted(str(sorted((k, v) for k, v in row.items() if k not in drop)) for row in kept)
    return found


def test_a_run_writes_tags_and_tasks_and_the_next_one_writes_nothing(make: Make) -> None:
    host, crm = make()
    planned = host.plan().sinks["crm"]
    report = host.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.rejected, sink.retry) == ("done", 0, 0)
    assert sink.created > 0
    assert sink.updated > 0
    assert (sink.tasks, sink.members) == (len(crm.rows("Tasks")), crm.counters()["members"])
    assert planned.planned_calls == sink.write_calls == crm.counters()["write_calls"]
    assert planned.planned_credits == crm.counters()["write_credits"]
    assert any(tag["name"] == "Lead caldo" for row in ours(crm) for tag in row["Tag"])
    crm.reset_counters()
    quiet = host.run().sinks["crm"]
    assert (quiet.changes, quiet.write_calls) == ([], 0)
    assert "write_credits" not in crm.counters()


def test_everyone_in_the_crm_is_found_by_address_and_nobody_is_doubled(make: Make) -> None:
    host, crm = make()
    host.run()
    living = [row for module in ("Leads", "Contacts") for row in crm.rows(module) if not row.get("Converted__s")]
    keyed = Counter(str(row["Email"]).lower() for row in living if row.get("Syncline_Key"))
    assert max(keyed.values()) == 1
    assert max(Counter(row["Syncline_Key"] for row in living if row.get("Syncline_Key")).values()) == 1
    assert any(row.get("Syncline_Key") for row in crm.rows("Contacts")), "converted leads are followed to the contact"


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_connection_that_breaks_at_every_write_doubles_nothing(make: Make, kind: str) -> None:
    undisturbed_host, undisturbed = make("undisturbed")
    undisturbed_host.run()
    host, crm = make("disturbed", retry=ONCE)
    for run in range(12):
        crm.faults = [Fault(kind, on="P* /crm/v8/[LCT]*s*", after=1 if kind == "drop_before" else 0, times=None)]
        if host.run().status == "done":
            assert run >= 3, "leads created and updated, contacts, tasks, tags"
            break
    crm.faults = []
    assert host.run().status == "done"
    assert holdings(crm) == holdings(undisturbed)
    assert host.run().sinks["crm"].changes == []


def test_conversions_and_deletions_between_runs_are_followed(make: Make) -> None:
    host, crm = make()
    host.run()
    converted, gone, merged, survivor = ours(crm)[:4]
    contact = crm.convert_lead(converted["id"])
    crm.delete_record("Leads", gone["id"])
    crm.merge("Leads", survivor["id"], merged["id"])
    leads = len(crm.rows("Leads"))
    sink = host.run().sinks["crm"]
    assert (sink.created, sink.rejected, len(crm.rows("Leads"))) == (0, 0, leads), "nobody is created again"
    [row] = [row for row in crm.rows("Contacts") if row["id"] == contact]
    assert row["Syncline_Key"] == converted["Syncline_Key"]
    quiet = host.run().sinks["crm"]
    assert (quiet.changes, quiet.write_calls) == ([], 0)


def test_a_persons_edit_of_our_field_is_drift_and_of_theirs_is_read(make: Make) -> None:
    host, crm = make()
    host.run()
    one, two = ours(crm)[:2]
    crm.human_edit("Leads", one["id"], Lead_Score=999, Phone="+39 02 555")
    crm.human_edit("Leads", two["id"], Lead_Status="Contacted", Company="Typed by hand")
    sink = host.run().sinks["crm"]
    now = {row["id"]: row for row in crm.rows("Leads")}
    assert (sink.drift, sink.updated) == (1, 1)
    assert (now[one["id"]]["Lead_Score"], now[one["id"]]["Phone"]) == (one["Lead_Score"], "+39 02 555")
    assert now[two["id"]]["Company"] == "Typed by hand"
    assert host.explain(two["Syncline_Key"]).profile.attributes["stage"] == "Contacted"


def test_used_up_credits_stop_the_run_and_the_next_day_goes_on(make: Make) -> None:
    host, crm = make()
    crm.faults = [Fault("quota", on="POST */upsert", seconds=86_400)]
    report = host.run()
    assert report.exit_code == 1
    assert "credits" in str(report.sinks["crm"].error)
    assert report.sinks["crm"].created == 0
    host.close()
    later = host.now() + timedelta(minutes=31)
    with Host.load(host.folder / "connectors.yaml", env={}, retry=ONCE, clock=lambda: later) as tomorrow:
        again = tomorrow.run()  # another process, its day fresh, when the pause that Zoho was given is over
        assert (again.status, again.sinks["crm"].rejected) == ("done", 0)
        assert again.sinks["crm"].created > 0
        assert tomorrow.run().sinks["crm"].changes == []


def test_short_runs_share_one_token(make: Make) -> None:
    host, crm = make()
    for _ in range(3):
        host.run()
    assert crm.tokens.issued == 1
