"""Large reads and what leaves no trace: Bulk 2.0 queries (vendor sheet §6.5) and getDeleted (§7.2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import CursorExpiredError, TransientError
from syncline.model import RemoteRecord, Write
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

Open = Callable[..., SalesforceSink]
NAMES = ["FirstName", "LastName", "Lead_Score__c", "Ratio__c", "Hot_Lead__c", "Last_Event_At__c", "Seen_On__c", "Phone"]


def read(sink: SalesforceSink, cursor: str | None = None, names: list[str] = NAMES) -> tuple[list[RemoteRecord], str]:
    pages = list(sink.changes("Lead", names, cursor))
    assert pages[-1].cursor is not None
    return [record for page in pages for record in page.records], pages[-1].cursor


def test_20000_leads_are_read_by_one_query_job(open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """Every record once, with the values that page-wise reading brings, at a tenth of the calls."""
    values: dict[str, Any] = {
        "Lead_Score__c": 12,
        "Ratio__c": Decimal("0.1"),
        "Hot_Lead__c": True,
        "Last_Event_At__c": datetime(2026, 5, 30, 12, 30, 15, tzinfo=UTC),
        "Seen_On__c": date(2026, 5, 30),
        "Phone": None,
    }
    name = 'O"Neil, Zoë\nsecond line'
    sink.upsert(
        "Lead",
        [
            Write(f"p{n}", ("Syncline_Key__c", f"k{n}"), {"LastName": name, "Company": "C", **values})
            for n in range(20_000)
        ],
    )
    org.reset_counters()
    by_job, cursor = read(open_sink())
    calls = org.counters()["calls"]
    by_page, other = read(open_sink(bulk_query_from=None))
    assert len(by_job) == len(org.rows("Lead")) > 20_000
    assert {r.ref.id: r for r in by_job} == {r.ref.id: r for r in by_page}
    assert json.loads(cursor)["since"] == json.loads(other)["since"]
    paged = org.counters()["calls"] - calls
    assert calls <= 10 < paged


def test_a_small_object_is_read_page_by_page(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    read(sink)
    assert org.counters()["calls"] == 2  # the page, and the types of its fields


def test_converted_and_merged_leads_keep_their_successor_in_a_bulk_read(
    open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    survivor, gone, lead = [r["Id"] for r in org.rows("Lead") if not r["IsConverted"]][:3]
    org.merge("Lead", survivor, gone)
    contact = org.convert_lead(lead)
    found = {r.ref.id: r for r in read(open_sink(bulk_query_from=1))[0]}
    assert found[gone].deleted
    assert found[gone].fields == {}
    assert found[gone].successor is not None
    assert found[gone].successor.id == survivor
    assert found[lead].successor is not None
    assert (found[lead].successor.object, found[lead].successor.id) == ("Contact", contact)


@pytest.mark.parametrize("kind", ["cut_off", "truncated"])
def test_half_a_result_is_not_the_end(
    open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator, kind: Any
) -> None:
    org.faults = [Fault(kind, on="GET */results")]
    pages = open_sink(bulk_query_from=1).changes("Lead", NAMES, None)
    with pytest.raises(TransientError, match=r"no complete answer|found .* rows and brought|break off|cannot be read"):
        list(pages)


def test_a_query_that_fails_is_weather_with_its_reason(
    open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    answer = {"id": "750x", "state": "Failed", "errorMessage": "QUERY_TIMEOUT: too long"}
    org.faults = [Fault("status", on="GET *jobs/query/*", status=200, body=answer)]
    with pytest.raises(TransientError, match="QUERY_TIMEOUT: too long"):
        read(open_sink(bulk_query_from=1))


def test_what_was_erased_for_good_is_a_tombstone_within_a_day(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """A record whose recycle bin was emptied is in no query any more."""
    _, cursor = read(sink)
    org.advance(timedelta(hours=2))
    erased, binned = [r["Id"] for r in org.rows("Lead") if not r["IsConverted"]][:2]
    org.purge_record("Lead", erased)
    org.delete_record("Lead", binned)
    org.advance(timedelta(hours=1))
    records, cursor = read(sink, cursor)
    assert [(r.ref.id, r.deleted) for r in records] == [(binned, True)]
    org.advance(timedelta(hours=22))
    records, cursor = read(sink, cursor)
    assert [(r.ref.id, r.deleted, r.fields, r.emails) for r in records] == [(erased, True, {}, ())]
    assert records[0].changed_at is not None
    org.advance(timedelta(hours=1))
    assert read(sink, cursor)[0] == []


def test_a_merged_record_is_not_overtaken_by_a_bare_tombstone(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """getDeleted names it too, and knows no survivor."""
    _, cursor = read(sink)
    survivor, gone = [r["Id"] for r in org.rows("Lead") if not r["IsConverted"]][:2]
    org.advance(timedelta(hours=30))
    org.merge("Lead", survivor, gone)
    told = [r.successor for r in read(sink, cursor)[0] if r.ref.id == gone]
    assert [ref.id for ref in told if ref] == [survivor]


def test_the_sweep_costs_one_call_a_day(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    costs = []
    for _ in range(6):
        org.advance(timedelta(hours=12))
        org.reset_counters()
        _, cursor = read(sink, cursor)
        costs.append(org.counters()["calls"])
    assert costs == [1, 2, 1, 2, 1, 2]


def test_after_more_than_15_days_only_a_whole_read_tells(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    _, cursor = read(sink)
    org.advance(timedelta(days=16))
    with pytest.raises(CursorExpiredError, match="deletions are known for 15"):
        read(sink, cursor)


def test_a_deletion_that_is_not_covered_yet_comes_with_the_next_sweep(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """getDeleted says how far its list goes; the next one begins there (vendor sheet §7.2)."""
    _, cursor = read(sink)
    org.advance(timedelta(hours=25))
    org.org.deletions_late = timedelta(minutes=30)
    gone = next(r["Id"] for r in org.rows("Lead") if not r["IsConverted"])
    org.purge_record("Lead", gone)
    org.advance(timedelta(minutes=10))
    records, cursor = read(sink, cursor)
    assert records == []
    org.advance(timedelta(hours=25))
    assert [(r.ref.id, r.deleted) for r in read(sink, cursor)[0]] == [(gone, True)]


@pytest.mark.parametrize("how", ["too many", "too old"])
def test_what_can_no_longer_be_listed_is_found_by_a_whole_read(
    sink: SalesforceSink, org: SalesforceSimulator, how: str
) -> None:
    """Refused today, the same list would be refused every day: the connection would not be read again."""
    _, cursor = read(sink)
    org.advance(timedelta(hours=25))
    gone = [r["Id"] for r in org.rows("Lead") if not r["IsConverted"]][:3]
    for id in gone:
        org.purge_record("Lead", id)
    if how == "too many":
        org.org.most_deleted = 2
    else:
        body = [{"errorCode": "INVALID_REPLICATION_DATE", "message": "startDate before org replication enabled date"}]
        org.faults = [Fault("status", on="GET */deleted*", status=400, body=body)]
    with pytest.raises(CursorExpiredError, match=r"EXCEEDED_ID_LIMIT|INVALID_REPLICATION_DATE"):
        read(sink, cursor)
    records, cursor = read(sink, None)
    assert not {r.ref.id for r in records} & set(gone)
    org.advance(timedelta(hours=12))
    assert read(sink, cursor)[0] == []


@pytest.mark.parametrize("shift", range(4))
def test_results_that_break_off_inside_a_character_are_weather(
    open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator, shift: int
) -> None:
    """Read and written alike; somewhere among four lengths the cut falls inside a character of four bytes."""
    fields = {"LastName": "x" * shift + "𝕊" * 38, "Company": "C"}
    writes = [Write(f"p{n}", ("Syncline_Key__c", f"k{n}"), fields) for n in range(201)]
    org.faults = [Fault("truncated", on="GET */*Results")]
    with pytest.raises(TransientError):
        sink.upsert("Lead", writes)
    org.faults = [Fault("truncated", on="GET */results")]
    with pytest.raises(TransientError):
        read(open_sink(bulk_query_from=1))
