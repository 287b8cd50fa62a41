"""What could damage an admin's data: odd values, odd answers, odd timing. Each test is one trap."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import ConfigError, ConnectorError, ContractError, RateLimitError, SchemaDriftError, TransientError
from syncline.model import FieldSpec, Member, RemoteRecord, RemoteRef, Status, TaskWrite, Value, Write
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink, bulk
from syncline_salesforce.errors import error_of
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.org import SALES_USER
from syncline_salesforce.values import cell, long_id, printed, shortened

Open = Callable[..., SalesforceSink]
KEY = "Syncline_Key__c"
SEGMENT = "Lead caldo"
AWKWARD = [
    'O\'Brien "the" 3rd, jr.; x',
    "two\nlines\r\nand a lone \r return",
    "=1+1",
    "@SUM(A1)",
    "a\\b\\n' OR Name != '",
    "Zoë 日本 🎈👩‍👩‍👧",
    "#N/A ",
    "null",
    "0012",
    " spaces ",
    "2026-06-01",
    "true",
]


def lead(key: str, **fields: Value) -> Write:
    return Write(key, (KEY, key), {"LastName": "Rossi", "Company": "Acme", **fields})


def by_id(key: str, id: str, **fields: Value) -> Write:
    return Write(key, ("Id", id), fields)


def row(org: SalesforceSimulator, key: str) -> dict[str, Any]:
    return next(r for r in org.rows("Lead") if r.get(KEY) == key)


def free_leads(org: SalesforceSimulator) -> list[str]:
    return [r["Id"] for r in org.rows("Lead") if not r["IsConverted"]]


def read(
    sink: SalesforceSink, object: str = "Lead", cursor: str | None = None, fields: tuple[str, ...] = ()
) -> dict[str, RemoteRecord]:
    return {r.ref.id: r for page in sink.changes(object, fields, cursor) for r in page.records}


def last_cursor(sink: SalesforceSink) -> str | None:
    return [page.cursor for page in sink.changes("Lead", [], None)][-1]


# Values


@pytest.mark.parametrize("many", [False, True], ids=["in one call", "in bulk"])
def test_text_survives_as_it_is(sink: SalesforceSink, org: SalesforceSimulator, many: bool) -> None:
    texts = {f"k{n}": text for n, text in enumerate(AWKWARD)}
    filler = [lead(f"x{n}") for n in range(201)] if many else []
    outcomes = sink.upsert("Lead", [*(lead(k, Description=t) for k, t in texts.items()), *filler])
    assert all(o.ok for o in outcomes)
    assert (org.counters().get("bulk_jobs", 0) == 1) is many
    found = read(sink, fields=(KEY, "Description"))
    assert {str(r.fields[KEY]): r.fields["Description"] for r in found.values() if r.fields[KEY] in texts} == texts


@pytest.mark.parametrize("many", [False, True], ids=["in one call", "in bulk"])
@pytest.mark.parametrize("key", ['o\'brien,"x"', "Zoë 🎈", "a/b?c=d#e%2F", "=1", "two\nlines"])
def test_odd_keys_find_their_own_record(sink: SalesforceSink, org: SalesforceSimulator, key: str, many: bool) -> None:
    filler = [lead(f"x{n}") for n in range(201)] if many else []
    first, again = (sink.upsert("Lead", [lead(key), *filler])[0] for _ in range(2))
    assert [first.status, again.status] == [Status.CREATED, Status.UPDATED]
    assert first.ref == again.ref
    assert row(org, key)["Id"] == again.ref.id  # type: ignore[union-attr]


def test_an_address_with_an_apostrophe_arrives_and_comes_back(sink: SalesforceSink) -> None:
    outcome = sink.upsert("Lead", [lead("k", Email="d'amico+sync@x.example")])[0]
    assert outcome.ref is not None
    assert read(sink)[outcome.ref.id].emails == ("d'amico+sync@x.example",)


@pytest.mark.parametrize("many", [False, True], ids=["in one call", "in bulk"])
def test_empty_text_clears_as_none_does(sink: SalesforceSink, org: SalesforceSimulator, many: bool) -> None:
    filler = [lead(f"x{n}") for n in range(201)] if many else []
    sink.upsert("Lead", [lead("a", Title="CFO", Phone="1", Website="kept")])
    sink.upsert("Lead", [lead("a", Title="", Phone=None), *filler])
    assert [row(org, "a")[n] for n in ("Title", "Phone", "Website")] == [None, None, "kept"]


def test_a_checkbox_cannot_be_cleared_and_says_so_alone(sink: SalesforceSink) -> None:
    refused, written = sink.upsert("Lead", [lead("a", Hot_Lead__c=None), lead("b", Hot_Lead__c=True)])
    assert (refused.status, refused.code) == (Status.REJECTED, "INVALID_TYPE_ON_FIELD_IN_RECORD")
    assert written.ok


def test_an_open_picklist_takes_what_a_restricted_one_refuses(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    taken, refused = sink.upsert("Lead", [lead("a", Status="Caldissimo"), lead("b", CleanStatus="Caldissimo")])
    assert (taken.status, refused.code) == (Status.CREATED, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
    assert row(org, "a")["Status"] == "Caldissimo"


@pytest.mark.parametrize("number", ["0.1", "0.1250", "-7", "1E+3", "0.0000001", "12345678901234567.25"])
def test_a_decimal_is_sent_exactly(number: str) -> None:
    """As JSON, a number, or text where a double cannot hold it; as a cell without an exponent."""
    assert Decimal(str(printed(Decimal(number)))) == Decimal(number)
    assert Decimal(cell(Decimal(number))) == Decimal(number)
    assert "E" not in cell(Decimal(number)).upper()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused_alone(sink: SalesforceSink, number: str) -> None:
    refused, written = sink.upsert("Lead", [lead("a", Ratio__c=Decimal(number)), lead("b", Ratio__c=Decimal(1))])
    assert (refused.status, written.status) == (Status.REJECTED, Status.CREATED)


def test_more_decimals_than_the_field_has_are_rounded_there(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """The scale is described, so that the host rounds first and compares like with like."""
    sink.upsert("Lead", [lead("a", Ratio__c=Decimal("0.123449"))])
    assert row(org, "a")["Ratio__c"] == 0.1234
    assert next(f.scale for f in sink.describe("Lead") if f.name == "Ratio__c") == 4


def test_numbers_come_in_as_they_are_written_in_the_answer(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """A double in between would make 16 digits and a fraction another number, and every run would write it again."""
    body = (
        '{"totalSize": 1, "done": true, "records": [{"Id": "00Q5e0000000001EAA", "IsDeleted": false, "SystemModstamp":'
        ' "2026-06-01T08:00:00.000+0000", "LastModifiedById": "005", "Ratio__c": 12345678901234567.25}]}'
    )
    org.faults = [Fault("status", on="GET */queryAll/", status=200, body=body)]
    (record,) = read(sink, fields=("Ratio__c",)).values()
    assert record.fields["Ratio__c"] == Decimal("12345678901234567.25")


def test_moments_are_sent_in_utc(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    rome = timezone(timedelta(hours=2))
    moment = datetime(2026, 5, 31, 1, 30, 15, 999_999, tzinfo=rome)
    sink.upsert("Lead", [lead("a", Last_Event_At__c=moment, Seen_On__c=date(2026, 5, 31))])
    stored = row(org, "a")
    assert (stored["Last_Event_At__c"], stored["Seen_On__c"]) == ("2026-05-30T23:30:15.000+0000", "2026-05-31")


def test_a_moment_without_a_zone_is_refused_before_any_network(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """Python would take it for the time of the machine that happens to run."""
    with pytest.raises(ContractError, match="no time zone"):
        sink.upsert("Lead", [lead("a", Last_Event_At__c=datetime(2026, 5, 31))])  # noqa: DTZ001  # the trap
    assert not org.counters()


@pytest.mark.parametrize(("many", "sent"), [(False, True), (False, False), (True, True), (True, False)])
def test_booleans_arrive(sink: SalesforceSink, org: SalesforceSimulator, many: bool, sent: bool) -> None:
    filler = [lead(f"x{n}") for n in range(201)] if many else []
    sink.upsert("Lead", [lead("a", Hot_Lead__c=not sent)])
    sink.upsert("Lead", [lead("a", Hot_Lead__c=sent), *filler])
    assert row(org, "a")["Hot_Lead__c"] is sent


def test_half_a_character_is_refused_alone(sink: SalesforceSink) -> None:
    """A vendor that cuts texts by bytes makes such; the file of the whole job could not be encoded."""
    outcomes = sink.upsert("Lead", [lead("a", Title="\ud83c"), *(lead(f"x{n}") for n in range(201))])
    assert (outcomes[0].status, outcomes[0].code) == (Status.REJECTED, "UNSENDABLE_VALUE")
    assert all(o.ok for o in outcomes[1:])


def test_a_subject_of_emoji_is_cut_where_the_vendor_counts(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    about = RemoteRef("Lead", free_leads(org)[0])
    task = TaskWrite("t", about, "🎈" * 200, "🎈" * 20_000, org.now(), "low")
    assert sink.create_tasks([task])[0].status is Status.CREATED
    assert org.rows("Task")[0]["Subject"] == "🎈" * 127
    assert shortened("a🎈", 2) == "a"


# Ids and keys


def test_an_id_of_15_characters_is_the_same_record(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    mine = free_leads(org)[0]
    outcome = sink.upsert("Lead", [by_id("a", mine[:15], Title="CFO")])[0]
    assert (outcome.status, outcome.ref) == (Status.UPDATED, RemoteRef("Lead", mine))
    with pytest.raises(ContractError, match="more than once"):
        sink.upsert("Lead", [by_id("a", mine[:15], Title="CFO"), by_id("b", mine, Title="CEO")])


def test_ids_of_15_characters_find_their_rows_in_bulk(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    ids = [org.human_create("Lead", LastName=f"L{n}", Company="C") for n in range(201)]
    outcomes = sink.upsert("Lead", [by_id(i, i[:15], Title="CFO") for i in ids])
    assert [(o.status, o.ref and o.ref.id) for o in outcomes] == [(Status.UPDATED, i) for i in ids]


def test_a_task_that_is_there_is_named_by_its_long_id(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """The refusal names 15 characters of it."""
    task = TaskWrite("t", RemoteRef("Lead", free_leads(org)[0]), "Call", "", org.now(), "low")
    first, again = (sink.create_tasks([task])[0] for _ in range(2))
    assert first.ref == again.ref
    assert long_id("001dM00003kS2nd") == "001dM00003kS2ndQAC"  # from recorded traffic


def test_a_user_id_of_15_characters_is_us(open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator) -> None:
    login = org.settings["login"]
    token = org.tokens.answer({"grant_type": "client_credentials", **login}, "", org.url)
    org.faults = [Fault("status", on="POST */token", status=200, body={**token, "id": token["id"][:-3]})]
    outcome = sink.upsert("Lead", [lead("a")])[0]
    assert outcome.ref is not None
    assert read(open_sink())[outcome.ref.id].changed_by == "us"


def test_the_id_itself_is_not_written(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    with pytest.raises(ContractError, match="cannot be written"):
        sink.upsert("Lead", [by_id("a", free_leads(org)[0], Id="00Q5e0000009999AAA")])
    assert not org.counters()


def test_a_key_twice_among_two_hundred_is_refused_before_any_call(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """The vendor refuses both rows of it, or lets the last one win (unverified); neither says which was meant."""
    writes = [lead(f"k{n}") for n in range(199)]
    with pytest.raises(ContractError, match="'k7' is written more than once"):
        sink.upsert("Lead", [*writes, Write("again", (KEY, "K7"), {"Company": "Other"})])
    assert not org.counters()


def test_two_records_with_one_key_are_a_persons_to_merge(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    """An external id need not be unique. Nothing is written to either, nor created; the neighbours are."""
    made_by_hand(org, "Lead", unique=False)
    fresh.prepare([FieldSpec("Contact", KEY, "text", "Key", unique=True)], [])  # the permission set
    grant(org, "Lead")
    twins = [org.human_create("Lead", LastName="Twin", Company="C", **{KEY: "k"}) for _ in range(2)]
    before = len(org.rows("Lead"))
    refused, written = fresh.upsert("Lead", [lead("k", Title="CFO"), lead("other")])
    assert (refused.status, refused.code) == (Status.REJECTED, "DUPLICATE_EXTERNAL_ID")
    assert all(id in str(refused.reason) for id in twins)
    assert (written.status, len(org.rows("Lead"))) == (Status.CREATED, before + 1)
    assert not any(r["Title"] == "CFO" for r in org.rows("Lead") if r["Id"] in twins)


def test_a_300_names_the_records_and_is_not_weather() -> None:
    """A body of addresses (vendor sheet §4, REST guide); to try again would find them again."""
    error = error_of(300, ["/services/data/v66.0/sobjects/Lead/00Q1", "…/00Q2"], where="here")
    assert type(error) is ConnectorError
    assert "00Q1" in str(error)


@pytest.mark.parametrize("many", [False, True], ids=["in one call", "in bulk"])
def test_a_key_that_another_call_has_just_taken_comes_again(
    sink: SalesforceSink, org: SalesforceSimulator, many: bool
) -> None:
    """So answers an upsert that is repeated too soon (salesforce.stackexchange 197382). It is no dead letter."""
    message = f"duplicate value found: {KEY} duplicates value on record with id: 00Q5e0000000001"
    filler = [lead(f"x{n}") for n in range(201)] if many else []
    if many:
        table = f"sf__Id,sf__Error,{KEY}\n" + f'"","DUPLICATE_VALUE:{message}:--","k"\n'
        org.faults = [Fault("status", on="GET *failedResults", status=200, body=table)]
        org.human_create("Lead", LastName="R", Company="C")
        outcome = sink.upsert("Lead", [lead("k", Company=None), *filler])[0]
    else:
        body = [{"success": False, "errors": [{"statusCode": "DUPLICATE_VALUE", "message": message, "fields": []}]}]
        org.faults = [Fault("status", on="PATCH *", status=200, body=body)]
        outcome = sink.upsert("Lead", [lead("k")])[0]
    assert (outcome.status, outcome.code) == (Status.RETRY, "DUPLICATE_VALUE")


def test_a_key_that_belongs_to_another_record_is_refused(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """Not weather: a record that we matched by address was to get a key that is taken."""
    sink.upsert("Lead", [lead("taken")])
    outcome = sink.upsert("Lead", [by_id("a", free_leads(org)[0], **{KEY: "taken"})])[0]
    assert (outcome.status, outcome.code) == (Status.REJECTED, "DUPLICATE_VALUE")
    assert row(org, "taken")["Id"][:15] in str(outcome.reason)


# Owners


def test_an_update_never_gives_a_lead_to_somebody_else(open_sink: Open, org: SalesforceSimulator) -> None:
    """`TRUE` runs the rules on created *and updated* leads (REST guide, assignment rule header)."""
    sink = open_sink(assignment_rules=True)
    mine = free_leads(org)[0]
    sink.upsert("Lead", [by_id("a", mine, Title="CFO")])
    assert org.org.row("Lead", mine)["OwnerId"] == SALES_USER  # type: ignore[index]


def test_tasks_and_members_give_no_lead_to_somebody_else(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """The header also holds for leads that a trigger changes behind the call (same page)."""
    refs = [RemoteRef("Lead", i) for i in free_leads(org)[:2]]
    sink.create_tasks([TaskWrite("t", refs[0], "Call", "", org.now(), "low")])
    sink.set_members(SEGMENT, [Member("m", refs[1])], [])
    assert {org.org.row("Lead", r.id)["OwnerId"] for r in refs} == {SALES_USER}  # type: ignore[index]


@pytest.mark.parametrize("setting", ["assignment_rules", "allow_duplicates"])
def test_what_bulk_cannot_do_is_not_done_in_bulk(open_sink: Open, setting: str) -> None:
    sink = open_sink(**{setting: True})
    assert sink.limits.bulk_from is None
    with pytest.raises(ContractError, match="at most 200"):
        sink.upsert("Lead", [lead(f"k{n}") for n in range(201)])


# Preparing what an admin had made by hand


def made_by_hand(org: SalesforceSimulator, object: str, *, unique: bool) -> None:
    metadata = {"type": "Text", "length": 64, "label": "Our key", "externalId": object == "Lead", "unique": unique}
    org.org.create_field(f"{object}.{KEY}", metadata)


def grant(org: SalesforceSimulator, object: str, *, edit: bool = True) -> None:
    permission_set = org.rows("PermissionSet")[0]["Id"]
    org.org.create(
        "FieldPermissions",
        {
            "ParentId": permission_set,
            "SobjectType": object,
            "Field": f"{object}.{KEY}",
            "PermissionsRead": True,
            "PermissionsEdit": edit,
        },
    )


def test_a_key_field_that_is_not_unique_is_said_and_not_used(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    """Without uniqueness a repeated call would create every task again."""
    (spec,) = fresh.task_fields
    fresh.prepare([FieldSpec("Contact", KEY, "text", "Key", unique=True)], [])
    made_by_hand(org, "Activity", unique=False)
    grant(org, "Task")
    org.reset_counters()
    assert fresh.missing([spec], []) == [
        f"field Activity.{KEY} is there, but not unique: two records could hold one key"
    ]
    with pytest.raises(ConfigError, match="Object Manager"):
        fresh.prepare([spec], [])
    task = TaskWrite("t", RemoteRef("Lead", free_leads(org)[0]), "Call", "", org.now(), "low")
    with pytest.raises(SchemaDriftError, match="created twice") as caught:
        fresh.create_tasks([task])
    assert caught.value.field == KEY
    assert "write_calls" not in org.counters()


def test_a_field_we_may_only_read_is_made_writable(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    spec = FieldSpec("Lead", KEY, "text", "Key", max_length=64, unique=True)
    fresh.prepare([FieldSpec("Contact", KEY, "text", "Key", unique=True)], [])
    made_by_hand(org, "Lead", unique=True)
    grant(org, "Lead", edit=False)
    assert fresh.prepare([spec], []) == [f"granted access to field Lead.{KEY}"]
    assert fresh.missing([spec], []) == []
    assert fresh.upsert("Lead", [lead("k")])[0].status is Status.CREATED


@pytest.mark.parametrize("name", ["O'Brien's \\ \"list\"", "100% 🎈", "a\nb", "x') OR (Name != '", "%_"])
def test_a_campaign_is_found_by_exactly_its_name(sink: SalesforceSink, org: SalesforceSimulator, name: str) -> None:
    assert sink.missing([], [name]) == [f"campaign {name!r}"]
    sink.prepare([], [name])
    assert sink.missing([], [name]) == []
    member = [Member("m", RemoteRef("Lead", free_leads(org)[0]))]
    assert sink.set_members(name, member, [])[0].status is Status.CREATED
    (made,) = [c for c in org.rows("Campaign") if c["Name"] == name]
    assert [m["CampaignId"] for m in org.rows("CampaignMember")] == [made["Id"]]


def test_a_campaign_gets_no_twin_in_another_letter_case(open_sink: Open, sink: SalesforceSink) -> None:
    assert open_sink().missing([], [SEGMENT.upper()]) == []
    assert open_sink().prepare([], [SEGMENT.upper()]) == []
    assert open_sink().set_members(SEGMENT.upper(), [], [Member("m", RemoteRef("Lead", "00Q1"))])


# Reading while people work


@pytest.mark.parametrize("fine", [False, True], ids=["whole seconds", "milliseconds"])
@pytest.mark.parametrize("age", [timedelta(0), timedelta(minutes=30)], ids=["just written", "written earlier"])
def test_300_records_of_one_second_are_all_read_200_at_a_time(
    sink: SalesforceSink, org: SalesforceSimulator, age: timedelta, fine: bool
) -> None:
    """One page from every cursor, as after a crash each time; then on, across the second, to what changes later."""
    org.org.fine_stamps, org.page_size = fine, 200
    start = last_cursor(sink)
    made = {o.ref.id for n in (0, 150) for o in sink.upsert("Lead", [lead(f"k{n + i}") for i in range(150)]) if o.ref}
    org.advance(age)
    seen, cursor = set(), start
    for _ in range(3):
        pages = sink.changes("Lead", [], cursor)
        page = next(pages)
        seen |= {r.ref.id for r in page.records}
        if page.cursor == cursor:  # a tail this fresh is read as a whole
            seen |= {r.ref.id for page in pages for r in page.records}
        cursor = page.cursor
    assert made <= seen
    org.advance(timedelta(milliseconds=700))
    edited = sorted(made)[17]
    org.human_edit("Lead", edited, FirstName="Ada")
    assert read(sink, cursor=cursor, fields=("FirstName",))[edited].fields["FirstName"] == "Ada"


@pytest.mark.parametrize("live", [False, True], ids=["pages of then", "pages of now"])
def test_the_last_record_of_a_page_changes_while_we_page(
    sink: SalesforceSink, org: SalesforceSimulator, live: bool
) -> None:
    """If pages show what is there by then, it carries a stamp later than all that follow; they must not be skipped."""
    org.live_pages, org.page_size = live, 8
    ordered = sorted(org.rows("Lead"), key=lambda r: (r["SystemModstamp"], r["Id"]))
    for record in ordered[8:16]:  # any of the second page; converted leads cannot be edited
        org.org.tables["Lead"][record["Id"]]["IsConverted"] = False
    seen: set[str] = set()
    reading = sink.changes("Lead", [], None)
    first = next(reading)
    org.advance(timedelta(minutes=10))
    org.human_edit("Lead", ordered[15]["Id"], FirstName="Meanwhile")
    second = next(reading)  # and here the process ends
    seen |= {r.ref.id for page in (first, second) for r in page.records}
    rest = read(sink, cursor=second.cursor)
    assert seen | set(rest) == {r["Id"] for r in ordered}


def test_a_place_that_is_forgotten_after_every_page_is_found_again_or_given_up(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    org.page_size = 10
    seen = set()
    for page in sink.changes("Lead", [], None):
        seen |= {r.ref.id for r in page.records}
        org.expire_locators()
    assert seen == {r["Id"] for r in org.rows("Lead")}
    for record in org.org.tables["Lead"].values():
        record["SystemModstamp"] = "2026-06-01T08:00:00.000+0000"
    org.reset_counters()
    pages = (org.expire_locators() for _ in sink.changes("Lead", [], None))
    with pytest.raises(TransientError, match="forgets"):
        list(pages)
    assert org.counters()["calls"] < 6


def test_ten_other_queries_of_our_user_do_not_end_a_read(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """A user has ten open cursors; an eleventh closes the oldest (SOAP API guide, QueryLocator)."""
    org.page_size = 10
    reading = sink.changes("Lead", [], None)
    seen = {r.ref.id for r in next(reading).records}
    for _ in range(11):
        next(sink.changes("Lead", [], None))
    seen |= {r.ref.id for page in reading for r in page.records}
    assert seen == {r["Id"] for r in org.rows("Lead")}


def test_an_empty_page_in_the_middle_is_not_the_end(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """Pages may be shorter than asked for (vendor sheet §7.1)."""
    org.page_size = 10
    reading = sink.changes("Lead", [], None)
    seen = {r.ref.id for r in next(reading).records}
    (locator,) = org._pages
    body = {"totalSize": 9, "done": False, "nextRecordsUrl": f"/services/data/v66.0/query/{locator}-10", "records": []}
    org.faults = [Fault("status", on="GET */query/*", status=200, body=body)]
    seen |= {r.ref.id for page in reading for r in page.records}
    assert seen == {r["Id"] for r in org.rows("Lead")}


@pytest.mark.parametrize("day_one", [True, False], ids=["before our first read", "after it"])
def test_a_converted_lead_whose_contact_was_merged_leads_to_the_survivor(
    sink: SalesforceSink, org: SalesforceSimulator, day_one: bool
) -> None:
    """Lead, contact, survivor: the link in the middle is deleted, and still has to be known."""
    cursors = {} if day_one else {o: [p.cursor for p in sink.changes(o, [], None)][-1] for o in ("Lead", "Contact")}
    lead_id = free_leads(org)[0]
    contact = org.convert_lead(lead_id)
    survivor = org.human_create("Contact", LastName="Survivor")
    org.merge("Contact", survivor, contact)
    leads, contacts = (read(sink, o, cursors.get(o)) for o in ("Lead", "Contact"))
    assert leads[lead_id].successor == RemoteRef("Contact", contact)
    assert contacts[contact].successor == RemoteRef("Contact", survivor)
    assert contacts[contact].deleted
    assert not contacts[survivor].deleted


def test_the_first_read_brings_no_other_tombstones(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    gone = free_leads(org)[0]
    org.delete_record("Lead", gone)
    assert gone not in read(sink)
    assert not any(r.deleted for r in read(sink).values())


# Answers


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "expected"), [("40", timedelta(seconds=40)), (None, None)], ids=["said", "unsaid"])
def test_retry_after_is_passed_on(
    sink: SalesforceSink, org: SalesforceSimulator, status: int, header: str | None, expected: timedelta | None
) -> None:
    """Neither is documented for this API (vendor sheet §4); an edge may say both."""
    org.faults = [Fault("status", on="PATCH *", status=status, headers={"Retry-After": header} if header else {})]
    with pytest.raises(TransientError) as caught:
        sink.upsert("Lead", [lead("a")])
    assert isinstance(caught.value, RateLimitError) is (status == 429)
    assert caught.value.retry_after == expected


def test_a_persons_text_in_an_error_is_not_taken_for_a_missing_field(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """The vendor repeats values in its words. Drift would stop every write."""
    message = "Cannot deserialize instance of date from VALUE_STRING value No such column 'Email' on sobject"
    body = [{"errorCode": "JSON_PARSER_ERROR", "message": message}]
    org.faults = [Fault("status", on="PATCH *", status=400, body=body)]
    with pytest.raises(ConnectorError) as caught:
        sink.upsert("Lead", [lead("a")])
    assert type(caught.value) is ConnectorError  # so that the host halves the batch until the bad record is alone


def test_a_full_org_rejects_nobody(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    problem = {"statusCode": "STORAGE_LIMIT_EXCEEDED", "message": "storage limit exceeded", "fields": []}
    org.faults = [Fault("status", on="PATCH *", status=200, body=[{"success": False, "errors": [problem]}])]
    assert sink.upsert("Lead", [lead("a")])[0].status is Status.RETRY


# Bulk jobs that go their own way


def many(**fields: Value) -> list[Write]:
    return [lead(f"k{n}", **fields) for n in range(201)]


def test_a_job_that_a_person_aborts_is_not_started_again(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.ingest_jobs.looks = 3
    look = org.ingest_jobs.look

    def abort_at_the_second_look(id: str) -> dict[str, Any]:
        if org.ingest_jobs.entry(id)["looks"] == 1:
            org.ingest_jobs.set_state(id, "Aborted")
        return look(id)

    org.ingest_jobs.look = abort_at_the_second_look  # type: ignore[method-assign]
    outcomes = sink.upsert("Lead", many())
    assert {(o.status, o.code) for o in outcomes} == {(Status.RETRY, "UNPROCESSED")}
    assert "Aborted" in str(outcomes[0].reason)
    assert org.counters()["bulk_jobs"] == 1


def test_a_job_that_is_given_up_cannot_write_later(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """By then a person may have typed something else."""
    org.ingest_jobs.looks = 10**9
    with pytest.raises(TransientError, match="not done"):
        sink.upsert("Lead", many())
    assert [job["state"] for job in org.ingest_jobs.all()] == ["Aborted"]


def test_outcomes_survive_a_job_that_cannot_be_deleted(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.faults = [Fault("status", on="DELETE *", status=503)]
    assert all(o.ok for o in sink.upsert("Lead", many()))


@pytest.mark.parametrize("which", ["successfulResults", "failedResults"])
def test_half_a_result_is_not_read_as_a_whole_one(sink: SalesforceSink, org: SalesforceSimulator, which: str) -> None:
    writes = [*many(), *(lead(f"bad{n}", Company=None) for n in range(10))]
    org.faults = [Fault("truncated", on=f"GET *{which}")]
    with pytest.raises(TransientError, match="results"):
        sink.upsert("Lead", writes)
    assert len([o for o in sink.upsert("Lead", writes) if o.ok]) == 201


def test_wherever_a_result_is_cut_no_row_becomes_another() -> None:
    """The beginning of one key is often another key: `key-1`, `key-12`."""
    rows = [[f"00Q{n}", "true", f"key-{n}", 'x, "y"\nz'] for n in range(30)]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [["sf__Id", "sf__Created", KEY, "Name"], *rows]
    )
    whole = {tuple(r) for r in rows}
    for end in range(len(text.getvalue())):
        found: list[tuple[str, ...]] = []
        with contextlib.suppress(TransientError):
            found.extend((r["sf__Id"], r["sf__Created"], r[KEY]) for r in bulk._rows(text.getvalue()[:end], KEY))
        assert set(found) <= {row[:3] for row in whole}


@pytest.mark.parametrize("unique", [True, False])
def test_an_external_id_is_described_as_unique_only_if_it_is(
    fresh: SalesforceSink, org: SalesforceSimulator, unique: bool
) -> None:
    fresh.prepare([FieldSpec("Contact", KEY, "text", "Key", unique=True)], [])
    made_by_hand(org, "Lead", unique=unique)
    grant(org, "Lead")
    assert next(f.unique for f in fresh.describe("Lead") if f.name == KEY) is unique


def test_stamps_of_a_read_are_aware(sink: SalesforceSink) -> None:
    assert {r.changed_at.tzinfo for r in read(sink).values() if r.changed_at} == {UTC}
