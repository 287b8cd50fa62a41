"""Writes: what they cost, what they say, what they refuse. Rules: vendor sheet §6.2, §9, §11."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import ContractError, RateLimitError, SchemaDriftError, TransientError
from syncline.model import RemoteRef, Status, Write
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

Open = Callable[..., SalesforceSink]


def lead(number: int, **fields: Any) -> Write:
    values = {"LastName": f"Rossi {number}", "Company": "Acquario S.p.A.", **fields}
    return Write(f"person-{number}", ("Syncline_Key__c", f"key-{number}"), values)


def row(org: SalesforceSimulator, key: str) -> dict[str, Any]:
    return next(r for r in org.rows("Lead") if r.get("Syncline_Key__c") == key)


@pytest.mark.parametrize("count", [1, 200], ids=lambda n: f"{n} writes")
def test_a_batch_costs_one_call(sink: SalesforceSink, org: SalesforceSimulator, count: int) -> None:
    outcomes = sink.upsert("Lead", [lead(n) for n in range(count)])
    assert [o.status for o in outcomes] == [Status.CREATED] * count
    assert dict(org.counters()) == {"calls": 1, "write_calls": 1, "upserts": count}


def test_201_writes_in_batches_of_the_limit_cost_two_calls(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    writes, size = [lead(n) for n in range(201)], sink.limits.upsert_batch
    for start in range(0, len(writes), size):
        sink.upsert("Lead", writes[start : start + size])
    assert org.counters()["calls"] == 2


def test_no_writes_cost_nothing(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    assert sink.upsert("Lead", []) == []
    assert not org.counters()


def test_the_same_writes_again_update(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    first = sink.upsert("Lead", [lead(1)])
    again = sink.upsert("Lead", [lead(1, Lead_Score__c=7)])
    assert again[0].status is Status.UPDATED
    assert again[0].ref == first[0].ref
    assert row(org, "key-1")["Lead_Score__c"] == 7


def test_a_write_by_id_updates_and_never_creates(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    mine = org.rows("Lead")[0]["Id"]
    before = len(org.rows("Lead"))
    done, unknown = sink.upsert(
        "Lead",
        [
            Write("a", ("Id", mine), {"Syncline_Key__c": "key-a"}),
            Write("b", ("Id", "00Q5e0000009999AAA"), {"Syncline_Key__c": "key-b"}),
        ],
    )
    assert (done.status, done.ref and done.ref.id) == (Status.UPDATED, mine)
    # The code is the recorded one (nango update-sobject-collection, 2026-05).
    assert (unknown.status, unknown.code) == (Status.REJECTED, "INVALID_CROSS_REFERENCE_KEY")
    assert len(org.rows("Lead")) == before


def test_outcomes_keep_the_order_and_say_why(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    outcomes = sink.upsert(
        "Lead",
        [
            lead(0),
            lead(1, Company=None),
            lead(2, Email="not an address"),
            lead(3, LastName="x" * 81),
            lead(4, CleanStatus="Invented"),
            lead(5, Seen_On__c="yesterday"),
            lead(6),
        ],
    )
    assert [o.key for o in outcomes] == [f"person-{n}" for n in range(7)]
    assert [o.code for o in outcomes] == [
        None,
        "REQUIRED_FIELD_MISSING",
        "INVALID_EMAIL_ADDRESS",
        "STRING_TOO_LONG",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "JSON_PARSER_ERROR",
        None,
    ]
    assert outcomes[1].reason == ("REQUIRED_FIELD_MISSING: Required fields are missing: [Company] (fields: Company)")
    assert all(o.status is Status.REJECTED for o in outcomes[1:6])
    assert org.counters()["upserts"] == 2


def test_weather_on_one_record_is_retried_and_the_others_are_written(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    first = sink.upsert("Lead", [lead(0), lead(1)])
    assert first[0].ref is not None
    org.org.locked.add(first[0].ref.id)
    locked, free = sink.upsert("Lead", [lead(0, Lead_Score__c=1), lead(1, Lead_Score__c=1)])
    assert (locked.status, locked.code) == (Status.RETRY, "UNABLE_TO_LOCK_ROW")
    assert free.status is Status.UPDATED
    assert sink.upsert("Lead", [lead(0, Lead_Score__c=1)])[0].ok


def test_a_lead_that_was_converted_meanwhile_comes_again_as_its_contact(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """The code is as recorded (grouparoo, export-records-lead). No dead letter: the next read says where to write."""
    first = sink.upsert("Lead", [lead(0)])[0].ref
    assert first is not None
    cursor = [page.cursor for page in sink.changes("Lead", ["Syncline_Key__c"], None)][-1]
    contact = org.convert_lead(first.id)
    for match in (("Id", first.id), ("Syncline_Key__c", "key-0")):
        [outcome] = sink.upsert("Lead", [Write("c", match, {"Lead_Score__c": 3})])
        assert (outcome.status, outcome.code) == (Status.RETRY, "CANNOT_UPDATE_CONVERTED_LEAD")
    [told] = [r for page in sink.changes("Lead", ["Syncline_Key__c"], cursor) for r in page.records]
    assert told.successor == RemoteRef("Contact", contact)


def test_a_record_that_was_deleted_meanwhile_is_no_dead_letter(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    first = sink.upsert("Lead", [lead(0)])[0].ref
    assert first is not None
    org.delete_record("Lead", first.id)
    [outcome] = sink.upsert("Lead", [Write("d", ("Id", first.id), {"Lead_Score__c": 3})])
    assert (outcome.status, outcome.code) == (Status.RETRY, "ENTITY_IS_DELETED")


def test_absent_fields_stay_and_none_clears(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    sink.upsert("Lead", [lead(1, Title="CFO", Phone="1")])
    sink.upsert("Lead", [Write("p", ("Syncline_Key__c", "key-1"), {"Phone": None})])
    assert (row(org, "key-1")["Title"], row(org, "key-1")["Phone"]) == ("CFO", None)


def test_values_of_every_kind_arrive(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    moment = datetime(2026, 5, 30, 12, 30, 15, 250_000, tzinfo=UTC)
    values = {
        "Lead_Score__c": 12,
        "Ratio__c": Decimal("0.1234"),
        "Hot_Lead__c": True,
        "Last_Event_At__c": moment,
        "Seen_On__c": date(2026, 5, 30),
        "FirstName": "Zoë 'D\"A\\\n",
    }
    sink.upsert("Lead", [lead(1, **values)])
    stored = row(org, "key-1")
    assert {n: stored[n] for n in values} == {
        "Lead_Score__c": 12.0,
        "Ratio__c": 0.1234,
        "Hot_Lead__c": True,
        "Last_Event_At__c": "2026-05-30T12:30:15.000+0000",  # the vendor keeps whole seconds
        "Seen_On__c": "2026-05-30",
        "FirstName": "Zoë 'D\"A\\\n",
    }


def test_keys_differ_in_more_than_letter_case(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    writes = [Write(k, ("Syncline_Key__c", k), {"LastName": "R", "Company": "C"}) for k in ("key", "KEY")]
    with pytest.raises(ContractError, match="written more than once"):
        sink.upsert("Lead", writes)
    assert not org.counters()


@pytest.mark.parametrize(
    ("writes", "message"),
    [
        pytest.param([lead(1), Write("b", ("Id", "00Q1"), {})], "match on one field", id="two match fields"),
        pytest.param([Write("a", ("Syncline_Key__c", ""), {})], "empty Syncline_Key__c", id="empty key"),
        pytest.param([lead(1), Write("person-1", ("Syncline_Key__c", "k"), {})], "same key", id="same name twice"),
        pytest.param([lead(n) for n in range(50_001)], "50001 in one call; at most 50000", id="too many"),
    ],
)
def test_misuse_is_refused_before_any_network(
    sink: SalesforceSink, org: SalesforceSimulator, writes: list[Write], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        sink.upsert("Lead", writes)
    assert not org.counters()


def test_without_bulk_201_are_too_many(open_sink: Open, org: SalesforceSimulator) -> None:
    with pytest.raises(ContractError, match="201 in one call; at most 200"):
        open_sink(bulk_from=None).upsert("Lead", [lead(n) for n in range(201)])
    assert not org.counters()


def test_a_dropped_answer_is_weather_and_its_replay_creates_nothing(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    org.faults = [Fault("drop_after", on="PATCH *composite*")]
    with pytest.raises(TransientError):
        sink.upsert("Lead", [lead(1), lead(2)])
    again = sink.upsert("Lead", [lead(1), lead(2)])
    assert [o.status for o in again] == [Status.UPDATED, Status.UPDATED]
    assert len([r for r in org.rows("Lead") if r["LastName"].startswith("Rossi ")]) == 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"kind": "html", "status": 502}, TransientError, id="html 502 of the edge"),
        pytest.param({"kind": "html", "status": 200}, TransientError, id="html that says 200"),
        pytest.param({"kind": "status", "status": 503, "body": None}, TransientError, id="503"),
        pytest.param({"kind": "status", "status": 420, "body": "moved"}, TransientError, id="420"),
        pytest.param({"kind": "status", "status": 429, "body": None}, RateLimitError, id="429"),
        pytest.param({"kind": "truncated"}, TransientError, id="half an answer"),
        pytest.param({"kind": "cut_off"}, TransientError, id="cut off"),
        pytest.param({"kind": "drop_before"}, TransientError, id="no answer"),
        pytest.param(
            {"kind": "status", "status": 500, "body": [{"errorCode": "UNKNOWN_EXCEPTION", "message": "?"}]},
            TransientError,
            id="500",
        ),
        pytest.param(
            {"kind": "status", "status": 400, "body": [{"errorCode": "QUERY_TIMEOUT", "message": "long"}]},
            TransientError,
            id="400 that is weather",
        ),
    ],
)
def test_weather_is_told_apart(
    sink: SalesforceSink, org: SalesforceSimulator, fault: dict[str, Any], expected: type[TransientError]
) -> None:
    org.faults = [Fault(on="PATCH *composite*", **fault)]
    with pytest.raises(expected) as caught:
        sink.upsert("Lead", [lead(1)])
    assert type(caught.value) is expected
    assert org.counters()["calls"] == 1  # nothing retries below the host
    sink.upsert("Lead", [lead(1)])


def test_the_daily_quota_stops_the_connection_for_long(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.daily_calls = org.used_calls
    with pytest.raises(RateLimitError, match="daily quota") as caught:
        sink.upsert("Lead", [lead(1)])
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == 1800
    calls = org.counters()["calls"]
    with pytest.raises(RateLimitError):
        sink.upsert("Lead", [lead(1)])
    assert org.counters()["calls"] == calls  # the second was not even sent


def test_too_many_open_requests_are_a_short_pause(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": message}]
    org.faults = [Fault("status", on="PATCH *", status=403, body=body)]
    with pytest.raises(RateLimitError, match="open at once") as caught:
        sink.upsert("Lead", [lead(1)])
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == 10
    assert sink.upsert("Lead", [lead(1)])[0].ok


@pytest.mark.parametrize("per_record", [False, True], ids=["the request fails", "every record fails"])
def test_an_unknown_column_is_drift_by_name(sink: SalesforceSink, org: SalesforceSimulator, per_record: bool) -> None:
    """Which of the two the vendor does could not be verified; nothing is written either way."""
    org.unknown_column_per_record = per_record
    with pytest.raises(SchemaDriftError) as caught:
        sink.upsert("Lead", [lead(1, Gone__c=1), lead(2, Gone__c=1)])
    assert caught.value.field == "Gone__c"
    assert "upserts" not in org.counters()


def test_a_missing_key_field_is_drift_by_name(fresh: SalesforceSink) -> None:
    with pytest.raises(SchemaDriftError) as caught:
        fresh.upsert("Lead", [lead(1)])
    assert caught.value.field == "Syncline_Key__c"


def test_a_read_only_field_is_rejected_by_name(sink: SalesforceSink) -> None:
    outcome = sink.upsert("Lead", [lead(1, PhotoUrl="x"), lead(2)])[0]
    assert (outcome.status, outcome.code) == (Status.REJECTED, "INVALID_FIELD_FOR_INSERT_UPDATE")
    assert "PhotoUrl" in str(outcome.reason)


def test_assignment_rules_run_only_when_they_are_wanted(
    sink: SalesforceSink, open_sink: Open, org: SalesforceSimulator
) -> None:
    """The header's default would be TRUE (REST guide, Assignment Rule header)."""
    sink.upsert("Lead", [lead(1)])
    open_sink(assignment_rules=True).upsert("Lead", [lead(2)])
    me = sink.client.token.user_id
    assert [row(org, key)["OwnerId"] == me for key in ("key-1", "key-2")] == [True, False]


def test_a_duplicate_rule_rejects_unless_told_to_save(
    sink: SalesforceSink, open_sink: Open, org: SalesforceSimulator
) -> None:
    org.org.block_duplicates = True
    sink.upsert("Lead", [lead(1, Email="same@x.example")])
    assert sink.upsert("Lead", [lead(2, Email="SAME@x.example")])[0].code == "DUPLICATES_DETECTED"
    assert open_sink(allow_duplicates=True).upsert("Lead", [lead(2, Email="SAME@x.example")])[0].ok


def test_an_error_carries_the_place_and_never_the_token(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.faults = [Fault("status", on="PATCH *", status=500, headers={"X-SFDC-Request-Id": "r-17"})]
    with pytest.raises(TransientError) as caught:
        sink.upsert("Lead", [lead(1)])
    assert str(caught.value).startswith("crm: PATCH composite/sobjects/Lead/Syncline_Key__c: HTTP 500")
    assert caught.value.request_id == "r-17"
    assert sink.client.token.access_token not in repr(caught.value) + repr(sink.client.token) + str(caught.value)
