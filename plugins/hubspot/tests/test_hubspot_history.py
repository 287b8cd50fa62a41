"""Who changed which property: HubSpot keeps it beside every value, and it comes with the read that brings the value.

The names of its parts are those of the client library's model (`ValueWithTimestamp`, hubspot-api-client 12.0.0).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hubspot.crm.objects import ValueWithTimestamp

from syncline.model import Edit, RemoteRecord, RemoteRef, Status, Write
from syncline_hubspot import HubspotSink
from syncline_hubspot.payloads import Version
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.portal import SYNC, Source

FIELDS = ["jobtitle", "phone", "lead_score"]
PERSON = "76070032"


def start(sink: HubspotSink, portal: HubspotSimulator) -> tuple[str, str]:
    """A contact, and the cursor after everything there is; counters at zero."""
    cursor = [page.cursor for page in sink.changes("contacts", FIELDS, None)][-1]
    assert cursor is not None
    portal.advance(timedelta(minutes=30))
    portal.reset_counters()
    return portal.rows("contacts")[0]["hs_object_id"], cursor


def since(sink: HubspotSink, cursor: str) -> list[RemoteRecord]:
    return [record for page in sink.changes("contacts", FIELDS, cursor) for record in page.records]


def test_a_persons_edit_stays_theirs_although_we_wrote_another_property_after_it(
    sink: HubspotSink, portal: HubspotSimulator
) -> None:
    id, cursor = start(sink, portal)
    portal.human_edit("contacts", id, jobtitle="CFO")
    edited = portal.now()
    portal.advance(timedelta(minutes=1))
    sink.upsert("contacts", [Write("w", ("Id", id), {"lead_score": 7})])
    [record] = since(sink, cursor)
    assert (record.changed_by, record.changed_who) == ("us", SYNC.id)
    assert record.edits["jobtitle"] == Edit(edited, "person", PERSON)
    assert record.edits["lead_score"] == Edit(portal.now(), "us", SYNC.id)


def test_another_app_and_a_workflow_are_no_persons(sink: HubspotSink, portal: HubspotSimulator) -> None:
    id, cursor = start(sink, portal)
    portal.portal.update("contacts", id, {"jobtitle": "x"}, Source("INTEGRATION", "999"))
    portal.portal.update("contacts", id, {"phone": "1"}, Source("AUTOMATION_PLATFORM", "enrollmentId:1"))
    [record] = since(sink, cursor)
    told = {name: (edit.by, edit.who) for name, edit in record.edits.items()}
    assert {name: told[name] for name in ("jobtitle", "phone")} == {
        "jobtitle": ("system", "999"),
        "phone": ("system", "enrollmentId:1"),
    }


def test_it_costs_no_call_beyond_those_that_bring_the_values(sink: HubspotSink, portal: HubspotSimulator) -> None:
    id, cursor = start(sink, portal)
    assert since(sink, cursor) == []  # and the app we are is known from here on
    portal.reset_counters()
    assert since(sink, cursor) == []
    quiet = portal.counters()["calls"]
    portal.human_edit("contacts", id, jobtitle="CFO")
    portal.reset_counters()
    assert since(sink, cursor)[0].edits["jobtitle"].by == "person"
    assert portal.counters()["calls"] == quiet + 1  # one read for up to 50 changed contacts


def test_the_parts_of_a_version_are_called_as_the_library_calls_them() -> None:
    told = {"value": "x", "timestamp": "2026-06-01T08:00:00Z"}
    told |= {"sourceType": "CRM_UI", "sourceId": "userId:7", "sourceLabel": "Ada Rossi", "updatedByUserId": 7}
    assert set(told) == set(ValueWithTimestamp.attribute_map.values())
    version = Version.model_validate(told)
    assert (version.who, version.timestamp) == ("Ada Rossi", datetime.fromisoformat("2026-06-01T08:00:00Z"))
    assert Version.model_validate(told | {"sourceLabel": None}).who == "7"
    assert Version.model_validate(told | {"sourceLabel": None, "updatedByUserId": None}).who == "7"


def test_a_write_to_a_merged_contact_lands_where_the_person_lives_on(
    sink: HubspotSink, portal: HubspotSimulator
) -> None:
    """Merged after our last read: the old id leads on (vendor sheet §6), and the outcome says to whom."""
    ids = [portal.human_create("contacts", lastname=name) for name in ("a", "b")]
    survivor = portal.merge("contacts", ids[0], ids[1])
    [outcome] = sink.upsert("contacts", [Write("w", ("Id", ids[1]), {"lead_score": 7})])
    assert (outcome.status, outcome.ref) == (Status.UPDATED, RemoteRef("contacts", survivor))
