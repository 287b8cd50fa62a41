"""Who changed which field, from the org's field history, and what asking for it costs.

The history object and its fields: object reference, StandardObjectNameHistory; its place in a describe: the recorded
Lead describe (CumulusCI), which the simulator repeats. `UserType`: as code in the field asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from syncline.model import Edit, RemoteRecord, Write
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink
from syncline_salesforce.field_history import HistoryObject, history_of
from syncline_salesforce.payloads import ObjectDescribe
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.org import ASSIGNED_USER, SALES_USER

Open = Callable[..., SalesforceSink]
FIELDS = ["Title", "Phone", "Lead_Score__c", "OwnerId"]
SALES = "Paola Vendite"


@pytest.fixture
def lead(org: SalesforceSimulator) -> str:
    return next(str(r["Id"]) for r in org.rows("Lead") if not r["IsConverted"])


def start(sink: SalesforceSink, org: SalesforceSimulator) -> str:
    """The cursor after everything there is, and counters at zero."""
    sink.describe("Lead")
    cursor = [page.cursor for page in sink.changes("Lead", FIELDS, None)][-1]
    assert cursor is not None
    org.advance(timedelta(minutes=30))
    org.reset_counters()
    return cursor


def since(sink: SalesforceSink, cursor: str) -> list[RemoteRecord]:
    return [record for page in sink.changes("Lead", FIELDS, cursor) for record in page.records]


def ours(sink: SalesforceSink, *ids: str, **fields: object) -> None:
    writes = [Write(f"w{n}", ("Id", id), fields) for n, id in enumerate(ids)]  # type: ignore[arg-type]
    assert all(outcome.ok for outcome in sink.upsert("Lead", writes))


def test_a_persons_edit_stays_theirs_although_we_wrote_another_field_after_it(
    sink: SalesforceSink, org: SalesforceSimulator, lead: str
) -> None:
    org.org.track("Lead", "Title", "Lead_Score__c")
    cursor = start(sink, org)
    org.human_edit("Lead", lead, Title="CFO")
    edited = org.now()
    org.advance(timedelta(minutes=1))
    ours(sink, lead, Lead_Score__c=7)
    [record] = since(sink, cursor)
    assert (record.changed_by, record.changed_who) == ("us", "Integration User")
    assert record.edit("Title") == Edit(edited, "person", SALES)
    assert record.edit("Lead_Score__c") == Edit(org.now(), "us", "Integration User")


def test_of_a_field_that_is_not_tracked_the_record_answers(
    sink: SalesforceSink, org: SalesforceSimulator, lead: str
) -> None:
    org.org.track("Lead", "Title")
    cursor = start(sink, org)
    org.human_edit("Lead", lead, Phone="1")
    [record] = since(sink, cursor)
    assert "Phone" not in record.edits
    assert record.edit("Phone") == Edit(record.changed_at, "person", SALES)


def test_an_owner_is_tracked_by_the_name_of_its_relationship(
    sink: SalesforceSink, org: SalesforceSimulator, lead: str
) -> None:
    org.org.track("Lead", "OwnerId")
    cursor = start(sink, org)
    org.human_edit("Lead", lead, OwnerId=ASSIGNED_USER)
    [record] = since(sink, cursor)
    assert record.edits["OwnerId"].by == "person"


def test_the_last_change_of_a_field_counts_and_of_one_second_a_persons(
    sink: SalesforceSink, org: SalesforceSimulator, lead: str
) -> None:
    org.org.track("Lead", "Title", "Phone")
    cursor = start(sink, org)
    ours(sink, lead, Phone="0")
    org.human_edit("Lead", lead, Title="CFO", Phone="1")
    ours(sink, lead, Phone="2")  # within the second
    org.advance(timedelta(minutes=1))
    ours(sink, lead, Title="CEO")
    [record] = since(sink, cursor)
    assert {name: edit.by for name, edit in record.edits.items()} == {"Title": "us", "Phone": "person"}


def test_a_flow_and_another_integration_are_no_persons(open_sink: Open, org: SalesforceSimulator) -> None:
    sink = open_sink(system_users=[SALES_USER[:15]])
    first, second = [str(r["Id"]) for r in org.rows("Lead") if not r["IsConverted"]][:2]
    org.org.track("Lead", "Title")
    cursor = [page.cursor for page in sink.changes("Lead", ["Title"], None)][-1]
    org.advance(timedelta(minutes=30))
    org.automation_edit("Lead", first, Title="scored")
    org.human_edit("Lead", second, Title="synced")
    found = {r.ref.id: r for page in sink.changes("Lead", ["Title"], cursor) for r in page.records}
    assert {id: (r.changed_by, r.edit("Title").by, r.changed_who) for id, r in found.items()} == {
        first: ("system", "system", "Automated Process"),
        second: ("system", "system", SALES),
    }


# What it costs


def test_without_history_in_the_org_nothing_is_asked(sink: SalesforceSink, org: SalesforceSimulator, lead: str) -> None:
    cursor = start(sink, org)
    org.human_edit("Lead", lead, Title="CFO")
    [record] = since(sink, cursor)
    assert (record.edits, record.changed_by, record.changed_who) == ({}, "person", SALES)
    assert org.counters() == {"calls": 1}


def test_a_quiet_read_asks_for_no_history(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.org.track("Lead", "Title")
    cursor = start(sink, org)
    assert since(sink, cursor) == []
    assert org.counters() == {"calls": 1}


def test_a_first_read_asks_for_no_history(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.org.track("Lead", "Title")
    start(sink, org)
    list(sink.changes("Lead", FIELDS, None))
    assert org.counters() == {"calls": 1}


def test_up_to_200_changed_records_cost_one_call(sink: SalesforceSink, org: SalesforceSimulator, lead: str) -> None:
    org.org.track("Lead", "Title")
    cursor = start(sink, org)
    org.human_edit("Lead", lead, Title="CFO")
    [record] = since(sink, cursor)
    assert record.edits["Title"].by == "person"
    assert org.counters() == {"calls": 2}


def test_after_a_large_write_of_ours_one_call_finds_what_people_edited_beside_it(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    org.org.track("Lead", "Title", "Lead_Score__c")
    many = [org.human_create("Lead", LastName=f"L{n}", Company="C") for n in range(450)]
    org.advance(timedelta(minutes=30))
    cursor = start(sink, org)
    org.human_edit("Lead", many[7], Title="CFO")
    for part in (many[:200], many[200:400], many[400:]):
        ours(sink, *part, Lead_Score__c=3)
    org.reset_counters()
    found = {r.ref.id: r for r in since(sink, cursor)}
    assert {id for id, r in found.items() if r.edits} == {many[7]}
    assert {name: edit.by for name, edit in found[many[7]].edits.items()} == {"Title": "person", "Lead_Score__c": "us"}
    assert org.counters() == {"calls": 3}  # the changes, whom others have changed, and those with their fields


# Where it cannot be read


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", on="GET */query/", status=400, body=[{"errorCode": "INVALID_TYPE", "message": "LeadHistory"}]),
        Fault("status", on="GET */query/", status=403, body=[{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}]),
    ],
    ids=["no such object", "not permitted"],
)
def test_a_history_that_may_not_be_read_leaves_what_the_record_says(
    sink: SalesforceSink, org: SalesforceSimulator, lead: str, fault: Fault
) -> None:
    org.org.track("Lead", "Title")
    cursor = start(sink, org)
    org.human_edit("Lead", lead, Title="CFO")
    org.faults = [fault]
    [record] = since(sink, cursor)
    assert (record.edits, record.edit("Title").by) == ({}, "person")


def test_the_history_object_is_found_in_a_describe(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """Also among children that have no name, of which a recorded describe has many."""
    org.org.track("Contact", "Title")
    answer = sink.client.rest("GET", "sobjects/Contact/describe")
    answer["childRelationships"].insert(
        0, {"childSObject": "Attachment", "field": "ParentId", "relationshipName": None}
    )
    assert history_of(ObjectDescribe.model_validate(answer).children) == HistoryObject("ContactHistory", "ContactId")
    lead = sink.client.rest("GET", "sobjects/Lead/describe")
    assert history_of(ObjectDescribe.model_validate(lead).children) is None
