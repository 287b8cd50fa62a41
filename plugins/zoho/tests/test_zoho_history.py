"""Who changed which field, where `field_history` asks the timelines; their shape is that of the vendor's SDK (v8)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncline.model import RemoteRecord, Write
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator
from syncline_zoho.simulator.crm import SALES_USER, USERS

from .conftest import Open

FIELDS = ["Phone", "City", "Designation"]


def leads(crm: ZohoSimulator, count: int) -> list[str]:
    return [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]][:count]


def cursor_of(sink: ZohoSink) -> Any:
    return [page.cursor for page in sink.changes("Leads", FIELDS, None)][-1]


def changed(sink: ZohoSink, cursor: Any) -> dict[str, RemoteRecord]:
    return {r.ref.id: r for page in sink.changes("Leads", FIELDS, cursor) for r in page.records}


def ours(sink: ZohoSink, id: str, **fields: Any) -> None:
    [outcome] = sink.upsert("Leads", [Write(id, ("Id", id), fields)])
    assert outcome.ok


def test_without_it_no_timeline_is_read_and_the_records_last_writer_stands_for_all(
    sink: ZohoSink, crm: ZohoSimulator
) -> None:
    cursor = cursor_of(sink)
    id = leads(crm, 1)[0]
    crm.advance(timedelta(hours=1))
    crm.human_edit("Leads", id, Phone="1")
    crm.reset_counters()
    record = changed(sink, cursor)[id]
    assert (record.edits, record.changed_by, record.changed_who) == ({}, "person", USERS[SALES_USER][0])
    assert (record.edit("Phone").by, record.edit("Phone").at) == ("person", record.changed_at)
    assert crm.counters()["credits"] == 5, "deletions 2, open leads 1, converted leads 1, and once a run who is who"


def test_each_field_has_its_own_last_writer_and_time(sink: ZohoSink, crm: ZohoSimulator, open_sink: Open) -> None:
    asking = open_sink(field_history=50)
    cursor = cursor_of(asking)
    id = leads(crm, 1)[0]
    crm.advance(timedelta(hours=1))
    crm.human_edit("Leads", id, Phone="1", City="Bologna")
    first = crm.now()
    crm.advance(timedelta(minutes=5))
    ours(sink, id, City="Milano")
    record = changed(asking, cursor)[id]
    assert record.changed_by == "us"
    assert (record.edits["Phone"].by, record.edits["Phone"].who) == ("person", USERS[SALES_USER][0])
    assert (record.edits["City"].by, record.edits["Phone"].at) == ("us", first)
    assert "Designation" not in record.edits, "nobody ever changed it: the record's last change is what is known"


def test_it_costs_a_credit_a_record_and_never_more_than_is_allowed(
    sink: ZohoSink, crm: ZohoSimulator, open_sink: Open
) -> None:
    """Those whom others changed last go first."""
    asking = open_sink(field_history=3)
    cursor = cursor_of(asking)
    ids = leads(crm, 6)
    crm.advance(timedelta(hours=1))
    for id in ids[:4]:
        ours(sink, id, City="Milano")
    for id in ids[4:]:
        crm.human_edit("Leads", id, City="Bologna")
    crm.reset_counters()
    records = changed(asking, cursor)
    asked = [id for id in ids if records[id].edits]
    assert len(asked) == 3
    assert set(ids[4:]) < set(asked)
    assert crm.counters()["credits"] == 5 + 3


def test_a_first_read_asks_nobody(crm: ZohoSimulator, sink: ZohoSink, open_sink: Open) -> None:
    asking = open_sink(field_history=1000)
    crm.human_edit("Leads", leads(crm, 1)[0], City="Bologna")
    pages = list(asking.changes("Leads", FIELDS, None))
    assert not [record for page in pages for record in page.records if record.edits]


def test_what_a_workflow_rule_changed_is_no_persons(sink: ZohoSink, crm: ZohoSimulator, open_sink: Open) -> None:
    asking = open_sink(field_history=50)
    cursor = cursor_of(asking)
    id = leads(crm, 1)[0]
    crm.advance(timedelta(hours=1))
    crm.crm.history.automated = True
    crm.human_edit("Leads", id, Phone="1")
    assert changed(asking, cursor)[id].edits["Phone"].by == "system"


@pytest.mark.parametrize("backwards", [False, True], ids=["newest first", "oldest first"])
def test_a_long_timeline_never_names_somebody_from_long_ago(
    sink: ZohoSink, crm: ZohoSimulator, open_sink: Open, backwards: bool
) -> None:
    """Its order is not documented: a first page that does not reach the last change tells nothing."""
    asking = open_sink(field_history=50)
    cursor = cursor_of(asking)
    id = leads(crm, 1)[0]
    crm.switches.timeline_backwards = backwards
    for number in range(205):
        crm.advance(timedelta(minutes=1))
        crm.human_edit("Leads", id, City=f"City {number}")
    crm.advance(timedelta(minutes=1))
    ours(sink, id, City="Milano")
    record = changed(asking, cursor)[id]
    assert record.edit("City").by == "us"
    assert bool(record.edits) is not backwards


def test_a_timeline_that_is_refused_costs_the_answer_and_not_the_read(
    sink: ZohoSink, crm: ZohoSimulator, open_sink: Open
) -> None:
    asking = open_sink(field_history=50)
    cursor = cursor_of(asking)
    id = leads(crm, 1)[0]
    crm.advance(timedelta(hours=1))
    crm.human_edit("Leads", id, Phone="1")
    crm.switches.timelines = False
    record = changed(asking, cursor)[id]
    assert (record.edits, record.edit("Phone").by) == ({}, "person")
