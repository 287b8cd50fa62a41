"""Writes: what they cost, what they say, what they refuse. Rules: vendor sheet §5, §10, §11, §12."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import AuthError, ContractError, SchemaDriftError, TransientError
from syncline.model import RemoteRef, Status, Write
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator

Open = Callable[..., ZohoSink]


def lead(number: int, **fields: Any) -> Write:
    values = {"Last_Name": f"Rossi {number}", "Company": "Acquario S.p.A.", **fields}
    return Write(f"person-{number}", ("Syncline_Key", f"key-{number}"), values)


def row(crm: ZohoSimulator, key: str, module: str = "Leads") -> dict[str, Any]:
    return next(r for r in crm.rows(module) if r.get("Syncline_Key") == key)


def opened(crm: ZohoSimulator) -> list[str]:
    """The ids of leads that are not converted."""
    return [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]]


@pytest.mark.parametrize(("count", "credits"), [(1, 1), (10, 1), (11, 2), (100, 10)], ids=lambda n: str(n))
def test_a_batch_costs_one_call_and_a_credit_for_ten_rows(
    sink: ZohoSink, crm: ZohoSimulator, count: int, credits: int
) -> None:
    outcomes = sink.upsert("Leads", [lead(n) for n in range(count)])
    assert [o.status for o in outcomes] == [Status.CREATED] * count
    assert crm.counters() == {
        "calls": 1,
        "write_calls": 1,
        "credits": credits,
        "write_credits": credits,
        "upserts": count,
    }
    assert -(-count // sink.limits.credit_rows["upsert"]) == credits


def test_no_writes_cost_nothing(sink: ZohoSink, crm: ZohoSimulator) -> None:
    assert sink.upsert("Leads", []) == []
    assert not crm.counters()


def test_the_same_writes_again_update(sink: ZohoSink, crm: ZohoSimulator) -> None:
    first = sink.upsert("Leads", [lead(1)])
    again = sink.upsert("Leads", [lead(1, Visits=7)])
    assert (again[0].status, again[0].ref) == (Status.UPDATED, first[0].ref)
    assert row(crm, "key-1")["Visits"] == 7


def test_a_write_by_id_updates_and_never_creates(sink: ZohoSink, crm: ZohoSimulator) -> None:
    mine = opened(crm)[0]
    before = len(crm.rows("Leads"))
    writes = [
        Write("a", ("Id", mine), {"Syncline_Key": "key-a"}),
        Write("b", ("Id", "5725767000009999999"), {"Syncline_Key": "key-b"}),
    ]
    done, unknown = sink.upsert("Leads", writes)
    assert (done.status, done.ref and done.ref.id) == (Status.UPDATED, mine)
    assert (unknown.status, unknown.code) == (Status.RETRY, "INVALID_DATA"), "deleted since we read it, for all we know"
    assert len(crm.rows("Leads")) == before


def test_outcomes_keep_the_order_and_say_why(sink: ZohoSink, crm: ZohoSimulator) -> None:
    outcomes = sink.upsert(
        "Leads",
        [
            lead(0),
            lead(1, Last_Name=None),
            lead(2, Email="not an address"),
            lead(3, Company="x" * 201),
            lead(4, Lead_Status="Invented"),
            lead(5, Seen_On="yesterday"),
            lead(6, Visits="many", Hot_Lead="perhaps"),
            lead(7),
        ],
    )
    assert [o.key for o in outcomes] == [f"person-{n}" for n in range(8)]
    assert [o.reason for o in outcomes] == [
        None,
        "MANDATORY_NOT_FOUND: required field not found (field Last_Name)",
        "INVALID_DATA: invalid data (field Email; expected data type email)",
        "INVALID_DATA: invalid data (field Company; maximum length 200)",
        "INVALID_DATA: invalid data (field Lead_Status; supported values Attempted to Contact, Contact in Future, "
        "Contacted, Junk Lead, Lost Lead, Not Contacted)",
        "INVALID_DATA: invalid data (field Seen_On; expected data type date)",
        "MULTIPLE_OR_MULTI_ERRORS: INVALID_DATA: invalid data (field Visits; expected data type integer); "
        "INVALID_DATA: invalid data (field Hot_Lead; expected data type boolean)",
        None,
    ]
    assert all(o.status is Status.REJECTED for o in outcomes[1:7])
    assert crm.counters()["upserts"] == 2


@pytest.mark.parametrize("good", [0, 1, 2], ids=["all bad (400)", "mixed (207)", "all good (200)"])
def test_the_status_of_the_call_does_not_matter_the_rows_do(sink: ZohoSink, crm: ZohoSimulator, good: int) -> None:
    writes = [lead(n) if n < good else lead(n, Last_Name=None) for n in range(2)]
    assert [o.ok for o in sink.upsert("Leads", writes)] == [n < good for n in range(2)]


def test_a_locked_record_comes_again_and_the_others_are_written(sink: ZohoSink, crm: ZohoSimulator) -> None:
    first = sink.upsert("Leads", [lead(0), lead(1)])
    assert first[0].ref is not None
    crm.crm.locked.add(first[0].ref.id)
    locked, free = sink.upsert("Leads", [lead(0, Visits=1), lead(1, Visits=1)])
    assert (locked.status, locked.code) == (Status.RETRY, "RECORD_LOCKED")
    assert free.status is Status.UPDATED
    assert sink.upsert("Leads", [lead(0, Visits=1)])[0].ok


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("refuse", Status.REJECTED, "NOT_APPROVED"), ("lock", Status.RETRY, "RECORD_LOCKED")],
    ids=["refused", "locked"],
)
def test_the_fault_language_reaches_single_records(
    sink: ZohoSink, crm: ZohoSimulator, kind: Any, status: Status, code: str
) -> None:
    crm.faults = [Fault(kind, key="key-2", times=None)]
    outcomes = sink.upsert("Leads", [lead(1), lead(2), lead(3)])
    assert [o.ok for o in outcomes] == [True, False, True]
    assert (outcomes[1].status, outcomes[1].code) == (status, code)


@pytest.mark.parametrize("code", ["ID_ALREADY_CONVERTED", "INVALID_DATA"])
def test_a_lead_converted_while_we_write_comes_again_and_is_followed(
    sink: ZohoSink, crm: ZohoSimulator, code: str
) -> None:
    """Which code it is could not be verified (vendor sheet §15). No dead letter: the next read names the contact."""
    crm.crm.rules.converted_code = code
    cursor = [page.cursor for page in sink.changes("Leads", ["Visits"], None)][-1]
    lead_id, other = opened(crm)[:2]
    contact = crm.convert_lead(lead_id)
    writes = [Write(i, ("Id", i), {"Visits": 3}) for i in (lead_id, other)]
    moved, written = sink.upsert("Leads", writes)
    assert (moved.status, moved.code, written.status) == (Status.RETRY, code, Status.UPDATED)
    found = {r.ref.id: r for page in sink.changes("Leads", ["Visits"], cursor) for r in page.records}
    successor = found[lead_id].successor
    assert successor == RemoteRef("Contacts", contact)
    [followed] = sink.upsert("Contacts", [Write("c", ("Id", contact), {"Lead_Score": 3})])
    assert (followed.status, followed.ref) == (Status.UPDATED, successor)


def test_a_lookup_that_names_nobody_is_no_record_that_moved(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """The same words about another field are this record's own mistake."""
    [refused] = sink.upsert("Leads", [Write("a", ("Id", opened(crm)[0]), {"Owner": "5725767000009999999"})])
    assert (refused.status, refused.code) == (Status.REJECTED, "INVALID_DATA")


def test_absent_fields_stay_and_none_clears(sink: ZohoSink, crm: ZohoSimulator) -> None:
    sink.upsert("Leads", [lead(1, Designation="CFO", Phone="1")])
    sink.upsert("Leads", [Write("p", ("Syncline_Key", "key-1"), {"Phone": None})])
    assert (row(crm, "key-1")["Designation"], row(crm, "key-1")["Phone"]) == ("CFO", None)


def test_values_of_every_kind_arrive_as_zoho_takes_them(sink: ZohoSink, crm: ZohoSimulator) -> None:
    owner = crm.crm.tables["Leads"][crm.rows("Leads")[0]["id"]]["Owner"]["id"]
    values = {
        "Lead_Score": Decimal("12.25"),
        "Visits": 12,
        "Hot_Lead": True,
        "Last_Event_At": datetime(2026, 5, 30, 12, 30, 15, 250_000, tzinfo=UTC),
        "Seen_On": date(2026, 5, 30),
        "First_Name": "Zoë 'D\"A\\\n",
        "Owner": owner,
    }
    outcome = sink.upsert("Leads", [lead(1, **values)])[0]
    assert outcome.ok, outcome.reason
    stored = row(crm, "key-1")
    assert {n: stored[n] for n in values} == {
        "Lead_Score": 12.25,
        "Visits": 12,
        "Hot_Lead": True,
        "Last_Event_At": "2026-05-30T14:30:15+02:00",  # in the account's zone, in whole seconds
        "Seen_On": "2026-05-30",
        "First_Name": "Zoë 'D\"A\\\n",
        "Owner": {"name": "Paola Vendite", "id": owner, "email": "paola@sync.example"},
    }


def test_no_automation_runs_unless_it_is_wanted(sink: ZohoSink, open_sink: Open, crm: ZohoSimulator) -> None:
    """Without `trigger` all of it would."""
    sink.upsert("Leads", [lead(1)])
    mine = opened(crm)[0]
    sink.upsert("Leads", [Write("a", ("Id", mine), {"Visits": 1})])
    open_sink(triggers=["workflow"]).upsert("Leads", [lead(1)])
    assert crm.triggered == [[], [], ["workflow"]]


def test_no_cadence_mails_anybody_unless_it_is_wanted(sink: ZohoSink, open_sink: Open, crm: ZohoSimulator) -> None:
    """No trigger, and run by default (`skip_feature_execution`: insert, update and upsert records, v7 and v8)."""
    by_id = Write("a", ("Id", opened(crm)[0]), {"Visits": 1})
    for cadences in (False, True):
        for write in (lead(1), by_id):
            open_sink(cadences=cadences).upsert("Leads", [write])
    assert crm.cadences == [set(), set(), {"insert", "update"}, {"update"}]


# Keys


def test_an_address_is_no_reason_to_update_somebody(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """`Email` is the system's field for it, and would be asked if we named none."""
    there = next(r for r in crm.rows("Leads") if r["Email"])
    outcome = sink.upsert("Leads", [lead(1, Email=there["Email"])])[0]
    assert outcome.status is Status.CREATED


def test_a_key_that_somebody_else_has_is_refused_with_their_record(sink: ZohoSink, crm: ZohoSimulator) -> None:
    first = sink.upsert("Leads", [lead(1)])[0]
    assert first.ref is not None
    mine = opened(crm)[0]
    outcome = sink.upsert("Leads", [Write("a", ("Id", mine), {"Syncline_Key": "KEY-1"})])[0]
    assert (outcome.status, outcome.code) == (Status.REJECTED, "DUPLICATE_DATA")
    assert f"duplicate record {first.ref.id}" in str(outcome.reason)


def test_an_upsert_that_loses_a_race_comes_again(sink: ZohoSink, crm: ZohoSimulator) -> None:
    item = {
        "code": "DUPLICATE_DATA",
        "details": {"api_name": "Syncline_Key", "json_path": "$.data[0].Syncline_Key"},
        "message": "duplicate data",
        "status": "error",
    }
    crm.faults = [Fault("status", on="*upsert", status=400, body={"data": [item]})]
    assert sink.upsert("Leads", [lead(1)])[0].status is Status.RETRY


def test_keys_differ_in_more_than_letter_case(sink: ZohoSink, crm: ZohoSimulator) -> None:
    writes = [Write(k, ("Syncline_Key", k), {"Last_Name": "R"}) for k in ("key", "KEY")]
    with pytest.raises(ContractError, match="written more than once"):
        sink.upsert("Leads", writes)
    assert not crm.counters()


@pytest.mark.parametrize(
    ("writes", "message"),
    [
        pytest.param([lead(1), Write("b", ("Id", "1"), {})], "match on one field", id="two match fields"),
        pytest.param([Write("a", ("Syncline_Key", ""), {})], "empty Syncline_Key", id="empty key"),
        pytest.param([lead(1), Write("person-1", ("Syncline_Key", "k"), {})], "same key", id="same name twice"),
        pytest.param([lead(n) for n in range(101)], "101 in one call; at most 100", id="too many"),
        pytest.param([Write("a", ("Id", "1"), {"id": "2"})], "cannot be written", id="id among the fields"),
    ],
)
def test_misuse_is_refused_before_any_network(
    sink: ZohoSink, crm: ZohoSimulator, writes: list[Write], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        sink.upsert("Leads", writes)
    assert not crm.counters()


# Drift


@pytest.mark.parametrize("silent", [True, False], ids=["Zoho would leave it out in silence", "Zoho would refuse it"])
@pytest.mark.parametrize(
    ("name", "told"), [("Gone", "no such field"), ("Full_Name", "read-only")], ids=["unknown", "read-only"]
)
def test_a_field_that_cannot_be_written_is_drift_by_name(
    sink: ZohoSink, crm: ZohoSimulator, silent: bool, name: str, told: str
) -> None:
    """What Zoho does with it could not be verified; nothing is left to that."""
    crm.crm.rules.refuse_unknown_fields = crm.crm.rules.refuse_read_only = not silent
    with pytest.raises(SchemaDriftError, match=told) as caught:
        sink.upsert("Leads", [lead(1, **{name: "x"}), lead(2)])
    assert caught.value.field == name
    assert "write_calls" not in crm.counters()


def test_a_missing_key_field_is_drift_by_name(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    with pytest.raises(SchemaDriftError) as caught:
        fresh.upsert("Leads", [lead(1)])
    assert caught.value.field == "Syncline_Key"


def test_a_key_field_that_is_not_unique_is_drift(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.change_field("Leads", "Syncline_Key", unique={})
    sink.describe("Leads")
    with pytest.raises(SchemaDriftError, match="not unique"):
        sink.upsert("Leads", [lead(1)])


@pytest.mark.parametrize("name", ["Layout", "Fax", "id"])
def test_a_refusal_about_a_field_that_is_not_ours_is_no_drift(sink: ZohoSink, crm: ZohoSimulator, name: str) -> None:
    """A layout rule may demand one; parking a mapping that is not there would help nobody."""
    item = {"code": "INVALID_DATA", "message": "no", "status": "error", "details": {"api_name": name}}
    crm.faults = [Fault("status", on="POST *upsert", status=400, body={"data": [item]})]
    assert sink.upsert("Leads", [lead(1)])[0].status is Status.REJECTED
    assert crm.counters()["calls"] == 1


def test_a_field_that_was_retyped_since_we_looked_is_drift(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """All rows are refused for the same field, and a second look shows why."""
    crm.change_field("Leads", "Visits", data_type="text", length=20)
    with pytest.raises(SchemaDriftError) as caught:
        sink.upsert("Leads", [lead(1, Visits=1), lead(2, Visits=2)])
    assert caught.value.field == "Visits"
    assert len([r for r in crm.rows("Leads") if r.get("Syncline_Key")]) == 0


def test_bad_data_in_every_row_is_no_drift(sink: ZohoSink) -> None:
    outcomes = sink.upsert("Leads", [lead(n, Email="nobody") for n in range(3)])
    assert [o.status for o in outcomes] == [Status.REJECTED] * 3


# Trouble with the call


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"kind": "html", "status": 502}, TransientError, id="html 502 of the edge"),
        pytest.param({"kind": "html", "status": 200}, TransientError, id="html that says 200"),
        pytest.param({"kind": "status", "status": 200, "body": ""}, TransientError, id="nothing that says 200"),
        pytest.param({"kind": "truncated"}, TransientError, id="half an answer"),
        pytest.param({"kind": "cut_off"}, TransientError, id="cut off"),
        pytest.param({"kind": "drop_before"}, TransientError, id="no answer"),
        pytest.param(
            {"kind": "status", "status": 200, "body": {"data": []}}, TransientError, id="fewer results than rows"
        ),
        pytest.param(
            {"kind": "status", "status": 500, "body": {"code": "INTERNAL_ERROR", "message": "?"}},
            TransientError,
            id="500",
        ),
        pytest.param(
            {"kind": "status", "status": 400, "body": {"code": "DEPENDENT_SERVICE_ERROR", "message": "?"}},
            TransientError,
            id="400 that is weather",
        ),
        pytest.param(
            {"kind": "status", "status": 401, "body": {"code": "OAUTH_SCOPE_MISMATCH", "message": "Unauthorized"}},
            AuthError,
            id="a scope that lacks",
        ),
        pytest.param(
            {"kind": "status", "status": 403, "body": {"code": "NO_PERMISSION", "message": "denied"}},
            AuthError,
            id="a permission that lacks",
        ),
        pytest.param(
            {
                "kind": "status",
                "status": 400,
                "body": {"data": [{"code": "AUTHORIZATION_FAILED", "message": "no", "status": "error", "details": {}}]},
            },
            None,
            id="a permission that lacks for this record",
        ),
    ],
)
def test_trouble_is_told_apart(
    sink: ZohoSink, crm: ZohoSimulator, fault: dict[str, Any], expected: type[Exception] | None
) -> None:
    crm.faults = [Fault(on="POST *upsert", **fault)]
    if expected is None:
        assert sink.upsert("Leads", [lead(1)])[0].status is Status.REJECTED
        return
    with pytest.raises(expected) as caught:
        sink.upsert("Leads", [lead(1)])
    assert type(caught.value) is expected
    assert crm.counters()["calls"] == 1  # nothing retries below the host
    assert sink.upsert("Leads", [lead(1)])[0].ok


def test_a_permission_that_lacks_for_every_row_is_about_us(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """Of a single row nobody can tell: one record of another territory must not stop everything else."""
    item = {"code": "NO_PERMISSION", "message": "denied", "status": "error", "details": {}}
    crm.faults = [Fault("status", on="POST *upsert", status=400, body={"data": [item, item]})]
    with pytest.raises(AuthError, match="profile"):
        sink.upsert("Leads", [lead(1), lead(2)])


def test_an_error_carries_the_place_and_never_the_token(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.faults = [Fault("status", on="POST *upsert", status=500, headers={"X-Request-Id": "r-17"})]
    with pytest.raises(TransientError) as caught:
        sink.upsert("Leads", [lead(1)])
    assert str(caught.value).startswith("crm: POST Leads/upsert: HTTP 500")
    assert caught.value.request_id == "r-17"
    assert "1000.simulated" not in repr(caught.value) + str(caught.value) + repr(sink.client._tokens._token)
