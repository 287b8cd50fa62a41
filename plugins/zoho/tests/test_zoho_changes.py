"""Reading back: everything once, then what changed, by whom, and what became of it. Rules: vendor sheet §7, §11."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import CursorExpiredError, SchemaDriftError, TransientError
from syncline.model import ChangePage, RemoteRecord, RemoteRef, Write
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator

Open = Callable[..., ZohoSink]
FIELDS = ["First_Name", "Lead_Score"]


def read(sink: ZohoSink, cursor: str | None = None, module: str = "Leads") -> tuple[list[RemoteRecord], str]:
    """All records of a read, and the cursor after it."""
    pages = list(sink.changes(module, FIELDS, cursor))
    assert pages[-1].cursor is not None
    return [record for page in pages for record in page.records], pages[-1].cursor


def opened(crm: ZohoSimulator) -> list[str]:
    """The ids of leads that are not converted."""
    return [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]]


def later(crm: ZohoSimulator, minutes: float = 30) -> None:
    crm.advance(timedelta(minutes=minutes))


def ids(records: list[RemoteRecord]) -> set[str]:
    return {record.ref.id for record in records}


def test_the_first_read_finds_every_record(sink: ZohoSink, crm: ZohoSimulator) -> None:
    records, _ = read(sink)
    assert ids(records) == {r["id"] for r in crm.rows("Leads")}
    assert all(set(r.fields) == set(FIELDS) for r in records)
    assert {r.changed_by for r in records} == {"person"}
    assert crm.counters() == {"calls": 2, "credits": 3}  # the list, and the deleted


def test_nothing_new_costs_three_calls_of_leads_and_two_of_contacts(sink: ZohoSink, crm: ZohoSimulator) -> None:
    cursors = {module: read(sink, module=module)[1] for module in ("Leads", "Contacts")}
    later(crm)
    for module, cost in (("Leads", {"calls": 3, "credits": 4}), ("Contacts", {"calls": 2, "credits": 3})):
        crm.reset_counters()
        assert read(sink, cursors[module], module)[0] == []
        assert crm.counters() == cost


def test_a_persons_edit_is_found_and_named(sink: ZohoSink, crm: ZohoSimulator) -> None:
    _, cursor = read(sink)
    later(crm)
    mine = opened(crm)[3]
    crm.human_edit("Leads", mine, First_Name="Ada")
    [record] = read(sink, cursor)[0]
    assert (record.ref.id, record.fields["First_Name"], record.changed_by) == (mine, "Ada", "person")
    assert record.changed_at == datetime(2026, 6, 1, 8, 30, tzinfo=UTC)


def test_our_own_write_is_known_as_ours_and_asks_once_who_we_are(open_sink: Open, crm: ZohoSimulator) -> None:
    first = open_sink()
    from_us = Write("p", ("Id", opened(crm)[0]), {"First_Name": "Us"})
    first.upsert("Leads", [from_us])
    for _ in range(2):
        sink = open_sink()
        sink.describe("Leads")
        crm.reset_counters()
        found = {r.ref.id: r.changed_by for r in next(iter(sink.changes("Leads", ["First_Name"], None))).records}
        assert found[from_us.match[1]] == "us"
    assert crm.counters()["calls"] == 1  # the list


def test_addresses_come_as_they_were_typed(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.human_edit("Leads", opened(crm)[0], Secondary_Email="Other@Home.example")
    found = {r.ref.id: r.emails for r in read(sink)[0]}
    wanted = {r["id"]: tuple(filter(None, (r["Email"], r["Secondary_Email"]))) for r in crm.rows("Leads")}
    assert found == wanted
    assert any(email.isupper() for emails in found.values() for email in emails)


def test_values_come_back_typed(sink: ZohoSink, crm: ZohoSimulator) -> None:
    values = {
        "Lead_Score": Decimal("12.5"),
        "Visits": 3,
        "Hot_Lead": False,
        "Last_Event_At": datetime(2026, 5, 30, 12, 30, 15, tzinfo=UTC),
        "Seen_On": date(2026, 5, 30),
        "Owner": "5725767000000411002",
    }
    mine = opened(crm)[0]
    sink.upsert("Leads", [Write("p", ("Id", mine), values)])
    for cursor in (None, read(sink)[1]):
        found = [r for p in sink.changes("Leads", [*values], cursor) for r in p.records if r.ref.id == mine]
        assert found[-1].fields == values


# Positions


@pytest.mark.parametrize("size", [1, 2, 7, 200])
def test_records_that_share_a_second_are_all_found(sink: ZohoSink, crm: ZohoSimulator, size: int) -> None:
    """Modified_Time has whole seconds: everything we write in one call has the same."""
    _, cursor = read(sink)
    later(crm)
    crm.page_size = size
    writes = [Write(f"p{n}", ("Syncline_Key", f"k{n}"), {"Last_Name": "R", "Company": "C"}) for n in range(9)]
    written = {o.ref.id for o in sink.upsert("Leads", writes) if o.ref}
    assert ids(read(sink, cursor)[0]) == written


def test_a_read_that_is_cut_off_goes_on_where_it_was(sink: ZohoSink, crm: ZohoSimulator) -> None:
    _, cursor = read(sink)
    later(crm)
    crm.page_size = 2
    changed = [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]][:7]
    for id in changed:
        crm.human_edit("Leads", id, First_Name="X")
    converted = crm.convert_lead(changed[0])
    pages = list(sink.changes("Leads", FIELDS, cursor))
    for number, page in enumerate(pages[:-1]):
        rest = {r.ref.id for p in pages[number + 1 :] for r in p.records}
        assert rest <= ids(read(sink, page.cursor)[0])
    assert converted


def test_a_record_that_changes_while_we_read_hides_no_other(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """It moves to the end; with an offset the next page would skip one."""
    _, cursor = read(sink)
    later(crm)
    crm.page_size = 2
    changed = [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]][:6]
    for id in changed:
        crm.human_edit("Leads", id, First_Name="X")
    found: set[str] = set()
    for number, page in enumerate(sink.changes("Leads", FIELDS, cursor)):
        found |= ids(list(page.records))
        if number == 0:
            crm.advance(timedelta(seconds=5))
            crm.human_edit("Leads", changed[0], First_Name="Y")
    assert found == set(changed)


def test_what_becomes_visible_late_is_found_by_the_overlap(sink: ZohoSink, crm: ZohoSimulator) -> None:
    later(crm, 1)
    _, cursor = read(sink)
    mine = opened(crm)[0]
    crm.crm.tables["Leads"][mine]["Modified_Time"] = "2026-06-01T09:58:30+02:00"  # two and a half minutes before
    assert mine in ids(read(sink, cursor)[0])


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"since": "yesterday"}', '{"since": "2026-06-01T08:00:00+00:00",'])
def test_a_cursor_that_is_not_ours_asks_for_a_new_beginning(sink: ZohoSink, text: str) -> None:
    with pytest.raises(CursorExpiredError):
        list(sink.changes("Leads", FIELDS, text))


def test_a_cursor_of_another_step_is_not_ours(sink: ZohoSink) -> None:
    text = json.dumps({"since": "2026-06-01T08:00:00+00:00", "step": "closed"})
    with pytest.raises(CursorExpiredError):
        list(sink.changes("Leads", FIELDS, text))


# The first read


def fill(crm: ZohoSimulator, count: int) -> None:
    for number in range(count):
        crm.crm.insert("Leads", {"Last_Name": f"L{number}", "Company": "C"}, by="5725767000000411002")


@pytest.mark.parametrize("offset", [False, True], ids=["tokens are positions", "tokens are offsets"])
def test_the_first_read_goes_past_two_thousand_by_page_token(sink: ZohoSink, crm: ZohoSimulator, offset: bool) -> None:
    """Pages by number end there (get records, `page_token`)."""
    fill(crm, 2_150)
    crm.switches.offset_tokens = offset
    records, _ = read(sink)
    assert len(records) == len(ids(records)) == len(crm.rows("Leads"))
    assert crm.counters()["calls"] == -(-len(records) // 200) + 1


def test_beyond_what_page_tokens_lead_to_it_goes_on_by_id(sink: ZohoSink, crm: ZohoSimulator) -> None:
    fill(crm, 30)
    crm.page_size, crm.list_cap = 5, 20
    records, _ = read(sink)
    assert ids(records) == {r["id"] for r in crm.rows("Leads")}


def test_a_page_token_that_expired_is_no_end(sink: ZohoSink, crm: ZohoSimulator) -> None:
    fill(crm, 30)
    crm.page_size = 5
    found: set[str] = set()
    for page in sink.changes("Leads", FIELDS, None):
        if not found:
            crm.advance(timedelta(hours=25))
        found |= ids(list(page.records))
    assert found == {r["id"] for r in crm.rows("Leads")}


@pytest.mark.parametrize("offset", [False, True], ids=["tokens are positions", "tokens are offsets"])
def test_a_deletion_while_everything_is_read_hides_nobody(sink: ZohoSink, crm: ZohoSimulator, offset: bool) -> None:
    """The host takes who is not in a whole read for gone."""
    fill(crm, 30)
    crm.page_size, crm.switches.offset_tokens = 5, offset
    gone = min((r["id"] for r in crm.rows("Leads")), key=int)
    found: dict[str, RemoteRecord] = {}
    for number, page in enumerate(sink.changes("Leads", FIELDS, None)):
        if number == 1:
            crm.delete_record("Leads", gone)
        found |= {r.ref.id: r for r in page.records}
    assert {r["id"] for r in crm.rows("Leads")} <= set(found)
    assert found[gone].deleted


def test_a_mapping_too_wide_for_a_list_is_read_by_query(sink: ZohoSink, crm: ZohoSimulator) -> None:
    names = [f.name for f in sink.describe("Leads")]
    assert len(names) <= 50
    for number in range(60 - len(names)):
        crm.crm.create_field("Leads", {"field_label": f"Extra {number}", "data_type": "text"}, 0)
    names = [f.name for f in sink.describe("Leads")]
    crm.page_size = 7
    found = [r for page in sink.changes("Leads", names, None) for r in page.records]
    assert ids(found) == {r["id"] for r in crm.rows("Leads")}
    assert all(set(r.fields) == set(names) for r in found)


def test_an_empty_module_is_read_and_found_later(sink: ZohoSink, crm: ZohoSimulator) -> None:
    for row in crm.rows("Contacts"):
        crm.delete_record("Contacts", row["id"])
    later(crm)
    records, cursor = read(sink, module="Contacts")
    assert [r for r in records if not r.deleted] == []
    mine = crm.human_create("Contacts", Last_Name="New")
    assert mine in ids(read(sink, cursor, "Contacts")[0])


# What became of records


@pytest.mark.parametrize("shown", [False, True], ids=["a query hides converted leads", "a query shows them"])
def test_a_converted_lead_lives_on_as_its_contact(sink: ZohoSink, crm: ZohoSimulator, shown: bool) -> None:
    crm.switches.converted_shown = shown
    _, cursor = read(sink)
    later(crm)
    mine = next(r["id"] for r in crm.rows("Leads") if not r["Converted__s"])
    contact = crm.convert_lead(mine)
    for found in (read(sink, cursor)[0], read(sink)[0]):
        record = {r.ref.id: r for r in found}[mine]
        assert record.successor == RemoteRef("Contacts", contact)
        assert not record.deleted


@pytest.mark.parametrize("kind", ["recycle", "permanent"])
def test_a_deletion_is_a_tombstone(sink: ZohoSink, crm: ZohoSimulator, kind: str) -> None:
    _, cursor = read(sink)
    later(crm)
    mine = crm.rows("Leads")[2]["id"]
    crm.delete_record("Leads", mine, kind)
    [grave] = read(sink, cursor)[0]
    assert (grave.ref.id, grave.deleted, dict(grave.fields)) == (mine, True, {})
    assert grave.changed_by == ("person" if kind == "recycle" else "unknown")


def test_a_merged_record_is_gone_and_the_survivor_has_changed(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """The API says no more of a merge; the host finds the survivor by key or address."""
    _, cursor = read(sink)
    later(crm)
    survivor, gone = opened(crm)[:2]
    crm.merge("Leads", survivor, gone)
    found = {r.ref.id: r for r in read(sink, cursor)[0]}
    assert (found[gone].deleted, found[gone].successor) == (True, None)
    assert not found[survivor].deleted


def test_many_deletions_come_in_pages_and_too_many_as_a_new_beginning(sink: ZohoSink, crm: ZohoSimulator) -> None:
    _, cursor = read(sink)
    later(crm)
    gone = [r["id"] for r in crm.rows("Leads")[:12]]
    for id in gone:
        crm.delete_record("Leads", id)
    crm.page_size = 5
    assert {r.ref.id for r in read(sink, cursor)[0] if r.deleted} == set(gone)
    crm.page_size = 1
    with pytest.raises(CursorExpiredError, match="more deletions"):
        read(sink, cursor)


def test_more_deletions_than_can_be_listed_do_not_stop_a_whole_read(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """They are what sends a read back to the beginning; it must not meet them there again."""
    fill(crm, 30)
    crm.page_size = 1
    found: set[str] = set()
    for number, page in enumerate(sink.changes("Leads", FIELDS, None)):
        found |= ids(list(page.records))
        if number == 1:
            for row in crm.rows("Leads")[:12]:
                crm.delete_record("Leads", row["id"])
        cursor = page.cursor
    assert {r["id"] for r in crm.rows("Leads")} <= found
    assert cursor is not None
    with pytest.raises(CursorExpiredError, match="more deletions"):  # who was read and is gone: once more
        read(sink, cursor)


@pytest.mark.parametrize("broken", ["id", "Modified_Time"])
@pytest.mark.parametrize("cursor", [None, '{"since": "2026-05-01T00:00:00+00:00"}'], ids=["list", "query"])
def test_a_record_that_lacks_what_every_record_has_is_weather(
    sink: ZohoSink, crm: ZohoSimulator, broken: str, cursor: str | None
) -> None:
    row = {"id": "1", "Modified_Time": "2026-06-01T08:00:00+00:00"} | {broken: None}
    crm.faults = [Fault("status", on=on, status=200, body={"data": [row]}) for on in ("GET */Leads", "*/coql")]
    later(crm)
    with pytest.raises(TransientError, match="unexpected answer"):
        read(sink, cursor)


def test_rows_of_refusals_are_no_records(sink: ZohoSink, crm: ZohoSimulator) -> None:
    body = {"data": [{"id": "1", "code": "INTERNAL_ERROR", "status": "error", "details": {}, "message": ""}]}
    crm.faults = [Fault("status", on="GET */Leads", status=500, body=body)]
    with pytest.raises(TransientError, match="500"):
        read(sink)


def test_after_two_months_everything_is_read_anew(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """Deleted records are listed for 60 days."""
    _, cursor = read(sink)
    later(crm, 60 * 24 * 61)
    with pytest.raises(CursorExpiredError, match="no longer listed"):
        read(sink, cursor)


def test_a_field_that_is_gone_is_drift(sink: ZohoSink, crm: ZohoSimulator) -> None:
    _, cursor = read(sink)
    crm.remove_field("Leads", "Lead_Score")
    with pytest.raises(SchemaDriftError) as caught:
        read(sink, cursor)
    assert caught.value.field == "Lead_Score"


def test_a_first_read_without_end_of_its_own_has_no_cursor_on_the_way(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.page_size = 5
    pages: list[ChangePage] = list(sink.changes("Leads", FIELDS, None))
    cursors: list[Any] = [page.cursor for page in pages]
    assert set(cursors[:-1]) == {None}
    assert json.loads(cursors[-1]) == {"since": "2026-06-01T08:00:00+00:00"}
