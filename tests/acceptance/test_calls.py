"""What N changed leads cost: as few calls as the vendor's batches allow, by the vendor's own count."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncline.host import Host
from syncline_salesforce import SalesforceSink

CONFIG = """
version: 1
simulation: {{people: {people}}}
connections:
  crm: {{plugin: salesforce, simulated: true, bulk_from: {bulk_from}}}
  shop:
    plugin: files
    path: "{path}"
    columns:
      type: custom
      at: at
      id: [id]
      identifiers: {{email: email}}
      properties: {{name: name}}
      profile: {{last_name: last, company: company}}
scores:
  visits:
    model:
      model: visits
      version: 1
      signals: {{seen: {{count: custom}}}}
      score: [{{name: seen, add: 10 * seen}}]
      bands: [{{name: keen, at_least: 20}}]
segments:
  keen: {{all: [{{score: visits, at_least: 20}}]}}
actions:
  - {{name: call, when: {{enters: visits.keen}}, task: {{to: crm, text: alert_en, due: 2h}}}}
syncs:
  - name: leads
    to: crm
    object: Lead
    match: Syncline_Key__c
    when_missing: create
    first_run: whole
    guard: {{creates: null, tasks: null, overwrites: null}}
    fields:
      Visits__c: {{from: score.visits, owner: ours}}
      LastName: {{from: person.last_name, owner: shared, policy: only_if_empty}}
      Company: {{from: person.company, owner: shared, policy: only_if_empty}}
      Email: {{from: person.email, owner: shared, policy: only_if_empty}}
    segments: {{keen: Keen}}
"""


def visits(path: Path, people: int, times: int) -> None:
    """`times` visits of each of `people`; the earlier ones are the same rows as before."""
    lines = ["id,at,email,name,last,company"]
    lines += [
        f"{person}-{time},2026-05-{20 + time}T10:00:00Z,p{person}@calls.example,visit,Person{person},Acme"
        for time in range(times)
        for person in range(people)
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.mark.parametrize("changed", [1, 200, 201, 10_000], ids="{} changed".format)
def test_calls_are_the_fewest(changed: int, tmp_path: Path) -> None:
    """Created in ⌈N/200⌉ calls; then, with N scores moved and N people newly keen, updates, tasks and members each."""
    rows = tmp_path / "visits.csv"
    config = tmp_path / "connectors.yaml"
    config.write_text(CONFIG.format(people=1, path=rows, bulk_from=20_000), "utf-8")
    batches = math.ceil(changed / 200)
    visits(rows, changed, times=1)
    with _host(config) as host:
        host.prepare("crm")
        assert _write_calls(host) == (batches, batches)
    visits(rows, changed, times=2)
    with _host(config) as host:
        assert _write_calls(host) == (3 * batches, 3 * batches)
        crm: Any = host.simulation.running["crm"]
        assert len(crm.rows("Task")) == len(crm.rows("CampaignMember")) == changed
        assert _write_calls(host) == (0, 0)


@pytest.mark.parametrize(
    ("changed", "calls"),
    [(249, 2), (250, 4), (300, 4), (350, 4 + 1), (600, 4 + 2)],
)
def test_bulk_costs_what_was_planned(changed: int, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of 300 from 250 rows on; the few that are left over after them are cheaper as an ordinary call."""
    monkeypatch.setattr(SalesforceSink, "limits", replace(SalesforceSink.limits, bulk_batch=300))
    rows = tmp_path / "visits.csv"
    config = tmp_path / "connectors.yaml"
    config.write_text(CONFIG.format(people=1, path=rows, bulk_from=250), "utf-8")
    visits(rows, changed, times=1)
    with _host(config) as host:
        host.prepare("crm")
        planned = host.plan().sinks["crm"]
        assert (planned.planned_calls, planned.least_write_calls) == (calls, calls)
        assert _write_calls(host) == (calls, calls)


def _host(config: Path) -> Host:
    return Host.load(config, env={}, clock=lambda: datetime(2026, 6, 1, tzinfo=UTC))


def _write_calls(host: Host) -> tuple[int, int]:
    """Of one run: what the report says, and what the vendor counted."""
    host.sinks()
    simulator = host.simulation.running["crm"]
    before = _counted(simulator)
    sink = host.run().sinks["crm"]
    assert sink.error is None
    assert sink.rejected == 0
    return sink.write_calls, _counted(simulator) - before


def _counted(simulator: Any) -> int:
    """Of a bulk job the simulator counts its creation; upload, close and delete are three more calls."""
    counters = simulator.counters()
    return int(counters.get("write_calls", 0) + 3 * counters.get("bulk_jobs", 0))
