"""Every fault of the simulators' language at once, at all vendors: in the end each CRM holds what it should.

The weather is that of examples/storm.yaml, which is also what `syncline simulate --faults` takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from syncline.host import host as host_module
from syncline.sdk import Http
from syncline.sync.retry import retrying
from syncline.testing.simulator import Fault

STORM = Path(__file__).parents[2] / "examples" / "storm.yaml"
VENDORS = {
    "newsletter": "mailchimp",
    "landing": "unbounce",
    "campaigns": "instapage",
    "crm": "salesforce",
    "hubspot": "hubspot",
    "zoho": "zoho",
}
FIELDS = {
    "crm": (("Lead", "Contact"), "Email", ("Lead_Score__c", "Lead_Band__c", "Hot_Lead__c")),
    "hubspot": (("contacts",), "email", ("lead_score", "lead_band", "hot_lead")),
    "zoho": (("Leads", "Contacts"), "Email", ("Lead_Score", "Lead_Band", "Hot_Lead")),
}
TASKS = {"crm": ("Task", "Subject"), "hubspot": ("tasks", "hs_task_subject"), "zoho": ("Tasks", "Subject")}


class Time:
    """A monotonic clock that only waiting moves: nobody really waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(host_module, "Http", partial(Http, sleep=clock.sleep, monotonic=clock))
    return clock


def weather(vendor: str) -> list[Fault]:
    faults = YAML(typ="safe").load(STORM.read_text("utf-8"))[vendor]["faults"]
    return [
        Fault(**{**fault, "seconds": 0.0 if fault["kind"] == "slow" else fault.get("seconds", 0.0)}) for fault in faults
    ]


def holdings(vendors: Mapping[str, Any], name: str) -> tuple[Counter[Any], Counter[str]]:
    """What this CRM shows of everybody, by address, and the tasks in it."""
    objects, email, fields = FIELDS[name]
    task, subject = TASKS[name]
    rows = [row for object_name in objects for row in vendors[name].rows(object_name)]
    people = Counter((str(row.get(email)).lower(), *(str(row.get(field)) for field in fields)) for row in rows)
    return people, Counter(row[subject] for row in vendors[name].rows(task))


def test_after_the_storm_every_crm_holds_what_it_would_hold_without(make_world: Callable[..., Any], time: Time) -> None:
    calm, wild = (make_world(people=45, whole=True, name=name) for name in ("calm", "wild"))
    with calm.host() as host:
        for name in host.sinks():
            host.prepare(name)
        assert host.run().status == "done"
        expected = {name: holdings(host.simulation.running, name) for name in FIELDS}
    with wild.host() as host:
        for name in host.sinks():
            host.prepare(name)
    struck = 0
    for _ in range(4):
        struck += _stormy_run(wild, time)
    assert struck > 20, f"hardly a storm: {struck} faults"
    with wild.host() as host:
        report = host.run()
        assert (report.status, {name: sink.error for name, sink in report.sinks.items()}) == (
            "done",
            dict.fromkeys(FIELDS),
        )
        assert {name: holdings(host.simulation.running, name) for name in FIELDS} == expected
    with wild.host() as host:
        assert {name: sink.write_calls for name, sink in host.run().sinks.items()} == dict.fromkeys(FIELDS, 0)


def _stormy_run(world: Any, time: Time) -> int:
    """A run in bad weather, whatever comes of it; how often it struck."""
    retry = retrying(attempts=5, sleep=time.sleep)
    with world.host(retry=retry) as host:
        host.sources()
        host.sinks()
        vendors = host.simulation.running
        for name, vendor in VENDORS.items():
            vendors[name].faults = weather(vendor)
        host.run()
        return sum(simulator._struck.total() for name, simulator in vendors.items() if name in VENDORS)
