"""Reading back: everything once, then what changed, by whom, and what became of it. Rules: vendor sheet §7.1, §10."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import CursorExpiredError, SchemaDriftError, TransientError
from syncline.model import RemoteRecord, RemoteRef, Write
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

Open = Callable[..., SalesforceSink]
FIELDS = ["FirstName", "Lead_Score__c"]


def read(sink: SalesforceSink, cursor: str | None = None, object: str = "Lead") -> tuple[list[RemoteRecord], str]:
    """All records of a read, and the cursor after it."""
    pages = list(sink.changes(object, FIELDS if object == "Lead" else ["FirstName"], cursor))
    assert pages[-1].cursor is not None
    return [record for page in pages for record in page.records], pages[-1].cursor


def later(org: SalesforceSimulator, minutes: float = 30) -> None:
    org.advance(timedelta(minutes=minutes))


def test_the_first_read_finds_every_record(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    records, _ = read(sink)
    assert {r.ref.id for r in records} == {r["Id"] for r in org.rows("Lead")}
    assert all(set(r.fields) == set(FIELDS) for r in records)
    assert {r.changed_by for r in records} == {"person"}


def test_nothing_new_costs_one_call_and_brings_nothing(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    later(org)
    org.reset_counters()
    assert read(sink, cursor)[0] == []
    assert dict(org.counters()) == {"calls": 1}


def test_a_persons_edit_is_found_and_named(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    later(org)
    mine = org.rows("Lead")[4]["Id"]
    org.human_edit("Lead", mine, FirstName="Ada")
    (found,), _ = read(sink, cursor)
    assert (found.ref, found.fields["FirstName"], found.changed_by) == (RemoteRef("Lead", mine), "Ada", "person")
    assert found.changed_at is not None
    assert found.changed_at >= org.now()


def test_our_own_write_is_ours(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    later(org)
    mine = org.rows("Lead")[0]["Id"]
    sink.upsert("Lead", [Write("p", ("Id", mine), {"Lead_Score__c": Decimal(8)})])
    (found,), _ = read(sink, cursor)
    assert (found.changed_by, found.fields["Lead_Score__c"]) == ("us", 8)


def test_addresses_are_as_typed(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    records, _ = read(sink)
    typed = {r["Id"]: r["Email"] for r in org.rows("Lead")}
    assert {r.ref.id: r.emails for r in records} == {i: (e,) if e else () for i, e in typed.items()}
    assert any(r.emails and r.emails[0].isupper() for r in records)


def test_a_deletion_is_a_tombstone(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    later(org)
    gone = org.rows("Lead")[0]["Id"]
    org.delete_record("Lead", gone)
    (found,), _ = read(sink, cursor)
    assert (found.ref.id, found.deleted, found.fields, found.emails) == (gone, True, {}, ())


def test_a_merge_points_to_the_survivor(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    later(org)
    survivor, gone = [r["Id"] for r in org.rows("Lead") if not r["IsConverted"]][:2]
    org.merge("Lead", survivor, gone)
    found = {r.ref.id: r for r in read(sink, cursor)[0]}
    assert found[gone].deleted
    assert found[gone].successor == RemoteRef("Lead", survivor)
    assert not found[survivor].deleted


def test_a_converted_lead_points_to_its_contact(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    later(org)
    lead = next(r["Id"] for r in org.rows("Lead") if not r["IsConverted"])
    contact = org.convert_lead(lead)
    (found,), _ = read(sink, cursor)
    assert found.successor == RemoteRef("Contact", contact)
    assert contact in {r.ref.id for r in read(sink, None, "Contact")[0]}


def test_values_come_back_as_they_were_written(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    values: dict[str, Any] = {
        "Lead_Score__c": 12,
        "Ratio__c": Decimal("0.1"),
        "Hot_Lead__c": True,
        "Last_Event_At__c": datetime(2026, 5, 30, 12, 30, 15, tzinfo=UTC),
        "Seen_On__c": date(2026, 5, 30),
        "Description": "2026-05-30T00:00:00Z is text\nhere",
        "Phone": None,
    }
    mine = org.rows("Lead")[0]["Id"]
    sink.upsert("Lead", [Write("p", ("Id", mine), values)])
    pages = list(sink.changes("Lead", list(values), None))
    found = next(r for page in pages for r in page.records if r.ref.id == mine)
    assert dict(found.fields) == values
    assert {n: type(v) for n, v in found.fields.items()} == {n: type(v) for n, v in values.items()}


def test_pages_of_the_vendor_are_all_read(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.page_size = 5
    records, _ = read(sink)
    assert len(records) == len({r.ref.id for r in records}) == len(org.rows("Lead"))


def test_a_read_goes_on_from_the_page_where_it_broke_off(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.page_size = 10
    org.faults = [Fault("status", on="GET */query/*-20", status=503)]
    seen, cursor = [], None
    pages = sink.changes("Lead", FIELDS, None)
    for page in (next(pages), next(pages)):
        seen += [r.ref.id for r in page.records]
        cursor = page.cursor
    with pytest.raises(TransientError):
        next(pages)
    rest, _ = read(sink, cursor)
    assert sorted(seen + [r.ref.id for r in rest]) == sorted(r["Id"] for r in org.rows("Lead"))


def test_a_change_during_the_first_read_is_found_by_the_next(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.page_size = 10
    pages = sink.changes("Lead", FIELDS, None)
    first = next(pages)
    org.human_edit("Lead", first.records[0].ref.id, FirstName="Meanwhile")
    cursor = [first.cursor, *(p.cursor for p in pages)][-1]
    found = {r.ref.id: r.fields["FirstName"] for r in read(sink, cursor)[0]}
    assert found[first.records[0].ref.id] == "Meanwhile"


def test_a_forgotten_query_position_is_taken_up_from_ours(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.page_size = 10
    pages = sink.changes("Lead", FIELDS, None)
    seen = [r.ref.id for r in next(pages).records]
    org.expire_locators()
    seen += [r.ref.id for page in pages for r in page.records]
    assert sorted(seen) == sorted(r["Id"] for r in org.rows("Lead"))


def test_rows_with_one_stamp_are_not_skipped_across_pages(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """After a bulk job many rows share a SystemModstamp (vendor sheet §7.1)."""
    for row in org.org.tables["Lead"].values():
        row["SystemModstamp"] = "2026-05-31T00:00:00.000+0000"
    org.page_size = 7
    cursor, seen = None, []
    for _ in range(20):  # one page at a time, each from the cursor after the last: as after a crash
        page = next(iter(sink.changes("Lead", FIELDS, cursor)))
        seen += [r.ref.id for r in page.records]
        cursor = page.cursor
        if "began" not in json.loads(cursor or "{}"):
            break
    assert sorted(seen) == sorted(r["Id"] for r in org.rows("Lead"))


def test_rows_that_appear_late_are_found_by_the_overlap(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    late = org.human_create("Lead", LastName="Late", Company="C")
    stamp = org.now() - timedelta(minutes=4)
    org.org.tables["Lead"][late]["SystemModstamp"] = stamp.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    assert late in {r.ref.id for r in read(sink, cursor)[0]}


def test_a_cursor_of_somebody_else_means_backfill(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    for cursor in ("17", '{"offset": 3}', '{"since": "yesterday"}', "["):
        with pytest.raises(CursorExpiredError):
            next(iter(sink.changes("Lead", FIELDS, cursor)))
    assert not org.counters()


def test_a_field_that_is_gone_is_drift_by_name(sink: SalesforceSink) -> None:
    with pytest.raises(SchemaDriftError) as caught:
        list(sink.changes("Lead", ["Gone__c"], None))
    assert caught.value.field == "Gone__c"


def test_objects_without_an_address_can_be_read_too(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    pages = list(sink.changes("Account", ["Name"], None))
    assert len(pages[0].records) == len(org.rows("Account"))
