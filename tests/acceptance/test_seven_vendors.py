"""The embedded default: four marketing tools and a website into three CRMs, held against the CRMs' own books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from syncline.host import Host
from syncline.sync.report import Report

SOURCES = {"newsletter", "magazine", "landing", "campaigns", "website"}


@dataclass(frozen=True)
class Crm:
    """How one CRM calls things, to say the same of all three."""

    name: str
    objects: tuple[str, ...]
    key: str
    fields: Mapping[str, str]
    """What is ours; the address is the person's own, and a CRM may have known another one first."""
    email: str
    task: str
    subject: str
    body: str


CRMS = (
    Crm(
        "crm",
        ("Lead", "Contact"),
        "Syncline_Key__c",
        {
            "score": "Lead_Score__c",
            "band": "Lead_Band__c",
            "engagement": "Engagement__c",
            "hot": "Hot_Lead__c",
        },
        "Email",
        "Task",
        "Subject",
        "Description",
    ),
    Crm(
        "hubspot",
        ("contacts",),
        "syncline_key",
        {
            "score": "lead_score",
            "band": "lead_band",
            "engagement": "engagement",
            "hot": "hot_lead",
        },
        "email",
        "tasks",
        "hs_task_subject",
        "hs_task_body",
    ),
    Crm(
        "zoho",
        ("Leads", "Contacts"),
        "Syncline_Key",
        {
            "score": "Lead_Score",
            "band": "Lead_Band",
            "engagement": "Engagement",
            "hot": "Hot_Lead",
        },
        "Email",
        "Tasks",
        "Subject",
        "Description",
    ),
)


@contextmanager
def prepared(world: Any) -> Iterator[tuple[Host, Mapping[str, Any]]]:
    with world.host() as host:
        for name in host.sinks():
            host.prepare(name)
        yield host, host.simulation.running


def people(crm: Crm, simulator: Any) -> dict[str, dict[str, Any]]:
    """Our key → what this CRM holds of the person, in words that are the same for all CRMs."""
    rows = [row for name in crm.objects for row in simulator.rows(name) if row.get(crm.key)]
    held = {row[crm.key]: {word: _plain(row.get(field)) for word, field in crm.fields.items()} for row in rows}
    assert len(held) == len(rows), f"{crm.name}: two records carry one key"
    return held


def _plain(value: Any) -> Any:
    """CRMs write the same value as 5, 5.0, '5' or 'true'."""
    if value in (None, ""):
        return None
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def tasks(crm: Crm, simulator: Any) -> Counter[tuple[str, str]]:
    """What sales people are asked to do; a CRM may add lines of its own below."""
    found = simulator.rows(crm.task)
    return Counter((row[crm.subject], row[crm.body].partition("\n")[0]) for row in found)


def test_the_same_people_scores_segments_and_tasks_in_every_crm(make_world: Callable[..., Any]) -> None:
    """But for those whom a CRM holds twice: they wait for a decision there, and are not written."""
    with prepared(make_world(people=150, whole=True)) as (host, vendors):
        calls = {crm.name: vendors[crm.name].counters().get("write_calls", 0) for crm in CRMS}
        report = host.run()
        assert report.status == "done"
        assert set(report.sources) == SOURCES
        assert all(source.read > 0 and source.events > 0 for source in report.sources.values())
        _the_fewest_calls(report, {name: vendors[name].counters()["write_calls"] - calls[name] for name in calls})
        held = {crm.name: people(crm, vendors[crm.name]) for crm in CRMS}
        everywhere = set.intersection(*(set(found) for found in held.values()))
        assert len(everywhere) >= report.people - sum(sink.conflicts for sink in report.sinks.values())
        for name, found in held.items():
            assert len(found) == report.people - report.sinks[name].conflicts
            assert {key: found[key] for key in everywhere} == {key: held["crm"][key] for key in everywhere}
        _the_same_tasks(report, vendors)
        _the_same_members(host, vendors, held)


def _the_fewest_calls(report: Report, counted: Mapping[str, int]) -> None:
    """As each vendor counted them."""
    for name, sink in report.sinks.items():
        assert sink.write_calls == sink.planned_calls == sink.least_write_calls == counted[name], name
        assert sink.created > 0
        assert sink.updated > 0
        assert sink.tasks > 0
        assert sink.members > 0


def _the_same_tasks(report: Report, vendors: Mapping[str, Any]) -> None:
    asked = {crm.name: tasks(crm, vendors[crm.name]) for crm in CRMS}
    for name, found in asked.items():
        assert found.total() == report.sinks[name].tasks
    most = max(asked.values(), key=Counter.total)
    for name, found in asked.items():
        assert found <= most, name
        assert most.total() - found.total() <= report.sinks[name].conflicts
    assert all(subject.startswith("Lead ad alto coinvolgimento: ") for subject, _ in most)


def _the_same_members(host: Host, vendors: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Who is on the list, has the tag, or is in the campaign, is who is flagged hot; and that is what we think."""
    crm, hubspot, zoho = (vendors[name] for name in ("crm", "hubspot", "zoho"))
    contacts = {row["hs_object_id"]: row for row in hubspot.rows("contacts")}
    leads = {row["Id"]: row for name in ("Lead", "Contact") for row in crm.rows(name)}
    ours = {
        "crm": {
            leads[row.get("LeadId") or row.get("ContactId")]["Syncline_Key__c"] for row in crm.rows("CampaignMember")
        },
        "hubspot": {contacts[id]["syncline_key"] for id in hubspot.members_of("Lead caldo")},
        "zoho": {
            row["Syncline_Key"]
            for name in ("Leads", "Contacts")
            for row in zoho.rows(name)
            if "Lead caldo" in {tag["name"] for tag in row["Tag"]}
        },
    }
    for name, members in ours.items():
        assert members == {key for key, row in held[name].items() if row["hot"]}, name
        assert members


def test_the_forecast_is_what_each_vendor_counts_credits_included(make_world: Callable[..., Any]) -> None:
    world = make_world(people=90, whole=True)
    with prepared(world) as (host, _):
        planned = host.plan()
    with world.host() as host:
        host.sinks()
        zoho = host.simulation.running["zoho"]
        before = zoho.counters().get("write_credits", 0)
        done = host.run()
        assert zoho.counters()["write_credits"] - before == done.sinks["zoho"].planned_credits
    for name, sink in planned.sinks.items():
        assert sink.planned_calls == done.sinks[name].write_calls
        assert sink.planned_credits == done.sinks[name].planned_credits
        for count in ("created", "updated", "tasks", "members", "unchanged", "conflicts"):
            assert getattr(sink, count) == getattr(done.sinks[name], count), (name, count)


def test_a_second_run_writes_nothing_anywhere(make_world: Callable[..., Any]) -> None:
    world = make_world(people=90, whole=True)
    with prepared(world) as (host, _):
        host.run()
    with world.host() as host:
        host.sinks()
        vendors = host.simulation.running
        before = {crm.name: vendors[crm.name].counters().get("write_calls", 0) for crm in CRMS}
        report = host.run()
        assert {crm.name: vendors[crm.name].counters().get("write_calls", 0) for crm in CRMS} == before
    for sink in report.sinks.values():
        assert (sink.write_calls, sink.created, sink.updated, sink.tasks, sink.members) == (0, 0, 0, 0, 0)
    assert sum(source.events for source in report.sources.values()) == 0


def test_nobody_is_doubled_in_any_crm(make_world: Callable[..., Any]) -> None:
    with prepared(make_world(people=150, whole=True)) as (host, vendors):
        before = {crm.name: _addresses(crm, vendors[crm.name]) for crm in CRMS}
        host.run()
        for crm in CRMS:
            twice = {address for address, count in before[crm.name].items() if count > 1}
            now = {address for address, count in _addresses(crm, vendors[crm.name]).items() if count > 1}
            assert now == twice, crm.name


def _addresses(crm: Crm, simulator: Any) -> Counter[str]:
    """Addresses of living records; a converted lead is shown as its contact."""
    rows = [row for name in crm.objects for row in simulator.rows(name) if not _converted(row)]
    return Counter(str(row[crm.email]).lower() for row in rows if row.get(crm.email))


def _converted(row: Mapping[str, Any]) -> bool:
    return bool(row.get("IsConverted") or row.get("$converted") or row.get("Converted__s"))
