"""Writing records: one call for a hundred, each with its own fate. Rules: vendor sheet §5 and §6."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import AuthError, ConnectorError, ContractError, RateLimitError, SchemaDriftError, TransientError
from syncline.model import FieldSpec, Status, Write
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotSink
from syncline_hubspot.errors import RefusedError
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.portal import RefusedWrite

Open = Callable[..., HubspotSink]


def contact(number: int, **fields: Any) -> Write:
    return Write(f"person-{number}", ("syncline_key", f"key-{number}"), {"lastname": f"Rossi {number}", **fields})


def stored(portal: HubspotSimulator, key: str) -> dict[str, str]:
    return next(r for r in portal.rows("contacts") if r.get("syncline_key") == key)


def told(outcomes: Any) -> list[str]:
    return [f"{o.key} {o.status.value}" + (f" {o.code}" if o.code else "") for o in outcomes]


def test_a_hundred_writes_cost_one_call(sink: HubspotSink, portal: HubspotSimulator) -> None:
    sink.check()
    portal.reset_counters()
    outcomes = sink.upsert("contacts", [contact(n) for n in range(100)])
    assert [o.key for o in outcomes] == [f"person-{n}" for n in range(100)]
    assert {o.status for o in outcomes} == {Status.CREATED}
    assert dict(portal.counters()) == {"calls": 1, "write_calls": 1, "upserts": 100}
    with pytest.raises(ContractError, match="at most 100"):
        sink.upsert("contacts", [contact(n) for n in range(101)])


def test_results_in_another_order_find_their_writes(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """The simulator shuffles: the order of results is not that of the inputs."""
    writes = [contact(n, phone=str(n)) for n in range(50)]
    for outcomes in (sink.upsert("contacts", writes), sink.upsert("contacts", writes)):
        by_id = {r["hs_object_id"]: r.get("syncline_key") for r in portal.rows("contacts")}
        found = [by_id[o.ref.id] for o in outcomes if o.ref]
        assert found == [w.match[1] for w in writes]


@pytest.mark.parametrize("api", ["2026-09", "2026-03", "v3"])
@pytest.mark.parametrize("with_200", [True, False], ids=["200", "207"])
def test_mixed_batches_are_read_whatever_their_status(
    sink: HubspotSink, open_sink: Open, portal: HubspotSimulator, api: str, with_200: bool
) -> None:
    portal.switches.latest_answers_200 = with_200
    writes = [contact(1), contact(2, email="no address"), contact(3, hs_lead_status="NOWHERE"), contact(4)]
    outcomes = open_sink(api=api).upsert("contacts", writes)
    assert told(outcomes) == [
        "person-1 created",
        "person-2 rejected INVALID_EMAIL",
        "person-3 rejected INVALID_OPTION",
        "person-4 created",
    ]
    assert outcomes[1].reason == "INVALID_EMAIL: Email address no address is invalid (property: email)"


def test_values_are_strings_in_their_formats(sink: HubspotSink, portal: HubspotSimulator) -> None:
    moment = datetime(2026, 6, 1, 9, 30, 0, 123456, tzinfo=UTC)
    values = {
        "lead_score": Decimal("83.500"),
        "hot_lead": True,
        "last_event_at": moment,
        "seen_on": date(2026, 5, 31),
        "score_reason": "prezzi +10\n+ demo",
    }
    assert sink.upsert("contacts", [contact(1, **values)])[0].ok
    held = stored(portal, "key-1")
    assert {n: held[n] for n in values} == {
        "lead_score": "83.5",
        "hot_lead": "true",
        "last_event_at": "2026-06-01T09:30:00.123Z",
        "seen_on": "2026-05-31",
        "score_reason": "prezzi +10\n+ demo",
    }


def test_none_clears_absent_stays(sink: HubspotSink, portal: HubspotSimulator) -> None:
    sink.upsert("contacts", [contact(1, phone="1", jobtitle="CFO")])
    sink.upsert("contacts", [contact(1, phone=None)])
    assert (stored(portal, "key-1")["phone"], stored(portal, "key-1")["jobtitle"]) == ("", "CFO")


def test_choices_are_set_and_never_added_to(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """A leading semicolon would add to the choices that are there (vendor sheet §6); in a text it is a text."""
    sink.upsert("contacts", [contact(1, hs_buying_role="CHAMPION;BLOCKER")])
    sink.upsert("contacts", [contact(1, hs_buying_role=";END_USER", message=";-)")])
    held = stored(portal, "key-1")
    assert (held["hs_buying_role"], held["message"]) == ("END_USER", ";-)")


@pytest.mark.parametrize("refused", [False, True], ids=["ignored in silence", "refused"])
def test_a_stage_that_does_not_move_is_told(sink: HubspotSink, portal: HubspotSimulator, refused: bool) -> None:
    """Taken for done, it would be written again for ever. Which of the two HubSpot does is unverified."""
    portal.portal.lifecycle_refused = refused
    sink.upsert("contacts", [contact(1, lifecyclestage="customer")])
    outcome = sink.upsert("contacts", [contact(1, lifecyclestage="lead")])[0]
    assert outcome.status is Status.REJECTED
    assert stored(portal, "key-1")["lifecyclestage"] == "customer"
    assert refused or (outcome.code == "LIFECYCLE_BACKWARD" and "forward only" in str(outcome.reason))
    cleared = [sink.upsert("contacts", [contact(1, lifecyclestage=s)])[0] for s in (None, "lead")]
    assert all(o.ok for o in cleared)
    assert stored(portal, "key-1")["lifecyclestage"] == "lead"


def test_updates_by_id_never_create(sink: HubspotSink, portal: HubspotSimulator) -> None:
    (made,) = sink.upsert("contacts", [contact(1)])
    assert made.ref is not None
    ids = [made.ref.id, "999999999", "not-a-number"]
    writes = [Write(f"w{n}", ("Id", id), {"phone": "2"}) for n, id in enumerate(ids)]
    count = len(portal.rows("contacts"))
    outcomes = sink.upsert("contacts", writes)
    assert told(outcomes) == ["w0 updated", "w1 rejected OBJECT_NOT_FOUND", "w2 rejected INVALID_ID"]
    assert len(portal.rows("contacts")) == count


def test_the_id_of_a_merged_record_reaches_the_one_it_lives_on_as(sink: HubspotSink, portal: HubspotSimulator) -> None:
    (made,) = sink.upsert("contacts", [contact(1)])
    assert made.ref is not None
    survivor = portal.merge("contacts", portal.human_create("contacts", lastname="B"), made.ref.id)
    (outcome,) = sink.upsert("contacts", [Write("w", ("Id", made.ref.id), {"phone": "3"})])
    assert outcome.ref is not None
    assert (outcome.status, outcome.ref.id) == (Status.UPDATED, survivor)


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"gone": "x"}, "gone"), ({"hs_email_domain": "x"}, "hs_email_domain"), ({"createdate": "x"}, "createdate")],
    ids=["unknown", "computed", "system"],
)
def test_drift_is_named(sink: HubspotSink, portal: HubspotSimulator, fields: dict[str, str], name: str) -> None:
    for writes in ([contact(1, **fields)], [contact(n, **fields) for n in range(3)]):
        with pytest.raises(SchemaDriftError) as caught:
            sink.upsert("contacts", writes)
        assert caught.value.field == name
    assert not any(r.get("syncline_key") for r in portal.rows("contacts"))


def test_drift_of_one_record_is_its_own_trouble(sink: HubspotSink) -> None:
    outcomes = sink.upsert("contacts", [contact(1), contact(2, gone="x")])
    assert told(outcomes) == ["person-1 created", "person-2 rejected PROPERTY_DOESNT_EXIST"]
    assert "(property: gone)" in str(outcomes[1].reason)


def test_an_address_that_is_taken_names_who_has_it(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """Also when it is a secondary one (vendor sheet §6)."""
    holder = next(r for r in portal.rows("contacts") if r.get("hs_additional_emails"))
    address = holder["hs_additional_emails"].split(";")[0]
    (outcome,) = sink.upsert("contacts", [contact(1, email=address.upper())])
    assert (outcome.status, outcome.code) == (Status.REJECTED, "CONFLICT")
    assert str(outcome.reason).endswith(f"Existing ID: {holder['hs_object_id']}")


def test_a_batch_by_address_is_refused_whole_and_says_why(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """Partial upserts are not supported with idProperty=email; the host cuts the batch until the bad one is left."""
    good, bad = (Write(n, ("email", f"{n}@x.example"), {"hot_lead": v}) for n, v in (("a", True), ("b", "perhaps")))
    with pytest.raises(ConnectorError, match="hot_lead: perhaps was not a valid boolean") as caught:
        sink.upsert("contacts", [good, bad])
    assert not isinstance(caught.value, SchemaDriftError | TransientError)
    assert told(sink.upsert("contacts", [good])) == ["a created"]
    assert told(sink.upsert("contacts", [Write("a", ("email", "A@x.example"), {"phone": "1"})])) == ["a updated"]


def test_what_an_administrator_demands_is_described_and_refused_by_name(
    sink: HubspotSink, portal: HubspotSimulator
) -> None:
    """MISSING_REQUIRED_PROPERTY, new with 2026-09 (vendor sheet §1)."""
    portal.portal.required = ("jobtitle",)
    assert [f.name for f in sink.describe("contacts") if f.required] == ["jobtitle"]
    outcomes = sink.upsert("contacts", [contact(1), contact(2, jobtitle="CFO")])
    assert told(outcomes) == ["person-1 rejected MISSING_REQUIRED_PROPERTY", "person-2 created"]
    assert "(property: jobtitle)" in str(outcomes[0].reason)


def test_weather_on_one_record_comes_again(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [Fault("lock", key="key-1"), Fault("refuse", key="key-2")]
    outcomes = sink.upsert("contacts", [contact(n) for n in range(4)])
    assert told(outcomes) == [
        "person-0 created",
        "person-1 retry LOCKED",
        "person-2 rejected VALIDATION_ERROR",
        "person-3 created",
    ]


def test_a_locked_call_comes_again_after_two_seconds(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.switches.lock_whole_call = True
    portal.faults = [Fault("lock", key="key-1")]
    with pytest.raises(TransientError) as caught:
        sink.upsert("contacts", [contact(0), contact(1)])
    assert caught.value.retry_after == timedelta(seconds=2)
    assert {o.status for o in sink.upsert("contacts", [contact(0), contact(1)])} == {Status.CREATED}


@pytest.mark.parametrize(
    ("writes", "why"),
    [
        ([contact(1), Write("b", ("Id", "5"), {})], "match on one field"),
        ([Write("a", ("syncline_key", ""), {})], "an empty syncline_key"),
        ([contact(1), Write("b", ("syncline_key", "KEY-1"), {})], "more than once"),
        ([contact(1), Write("person-1", ("syncline_key", "other"), {})], "the same key"),
    ],
    ids=["two matches", "no value", "one record twice", "one key twice"],
)
def test_misuse_is_refused_before_any_call(
    sink: HubspotSink, portal: HubspotSimulator, writes: list[Write], why: str
) -> None:
    with pytest.raises(ContractError, match=why):
        sink.upsert("contacts", writes)
    assert not portal.counters()


def test_other_objects_are_written_alike(sink: HubspotSink) -> None:
    sink.prepare([FieldSpec("companies", "syncline_key", "text", "Key", unique=True)], [])
    outcome = sink.upsert("companies", [Write("c", ("syncline_key", "acme"), {"name": "Acme"})])[0]
    assert outcome.status is Status.CREATED
    pages = list(sink.changes("companies", ["name", "syncline_key"], None))
    assert [r.fields for p in pages for r in p.records] == [{"name": "Acme", "syncline_key": "acme"}]


# Calls that are refused


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault("too_many"), 10),
        (Fault("too_many", seconds=40), 40),
        (Fault("quota", seconds=60), 3600),
    ],
    ids=["rolling", "as told", "daily"],
)
def test_a_limit_says_for_how_long(sink: HubspotSink, portal: HubspotSimulator, fault: Fault, seconds: int) -> None:
    """429 carries no Retry-After as a rule (vendor sheet §3): the policy that was hit says how long."""
    portal.faults = [fault]
    with pytest.raises(RateLimitError) as caught:
        sink.upsert("contacts", [contact(1)])
    assert caught.value.retry_after == timedelta(seconds=seconds)
    assert caught.value.request_id


def test_a_used_up_day_ends_the_run(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """The host waits two minutes at most; and further calls are refused here, so none is spent on asking."""
    portal.faults = [Fault("quota", seconds=60)]
    with pytest.raises(RateLimitError, match="used up"):
        sink.upsert("contacts", [contact(1)])
    calls = portal.counters()["calls"]
    with pytest.raises(RateLimitError):
        sink.check()
    assert portal.counters()["calls"] == calls


@pytest.mark.parametrize("status", [477, 500, 502, 503, 504, 521, 522, 523, 524, 525, 526])
def test_weather_of_the_whole_call(sink: HubspotSink, portal: HubspotSimulator, status: int) -> None:
    portal.faults = [Fault("status", status=status, headers={"Retry-After": "7"})]
    with pytest.raises(TransientError) as caught:
        sink.upsert("contacts", [contact(1)])
    assert caught.value.retry_after == timedelta(seconds=7)


def test_an_account_that_is_being_moved_says_when_it_is_back(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [Fault("status", status=477, headers={"Retry-After": "86400"})]
    with pytest.raises(TransientError) as caught:
        sink.upsert("contacts", [contact(1)])
    assert caught.value.retry_after == timedelta(days=1)


def test_a_missing_scope_is_named(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.switches.missing_scopes = ("contacts",)
    with pytest.raises(AuthError, match=r"crm\.contacts\.write"):
        sink.upsert("contacts", [contact(1)])


def test_half_an_answer_is_weather(sink: HubspotSink, portal: HubspotSimulator) -> None:
    for kind in ("truncated", "cut_off"):
        portal.faults = [Fault(kind, on="POST *upsert")]  # type: ignore[arg-type]  # both are kinds
        with pytest.raises(TransientError):
            sink.upsert("contacts", [contact(1)])


def test_a_record_the_answer_does_not_mention_comes_again(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [Fault("status", on="POST *upsert", status=200, body={"status": "COMPLETE", "results": []})]
    assert told(sink.upsert("contacts", [contact(1)])) == ["person-1 retry UNANSWERED"]


def test_answers_without_trace_ids_are_matched_by_the_key(sink: HubspotSink, portal: HubspotSimulator) -> None:
    results = [
        {"id": "2", "properties": {"syncline_key": "key-2"}, "new": True},
        {"id": "1", "properties": {"syncline_key": "key-1"}, "new": False},
    ]
    portal.faults = [Fault("status", on="POST *upsert", status=200, body={"status": "COMPLETE", "results": results})]
    outcomes = sink.upsert("contacts", [contact(1), contact(2)])
    assert [(o.status.value, o.ref.id) for o in outcomes if o.ref] == [("updated", "1"), ("created", "2")]


def test_the_simulator_refuses_what_the_sheet_says(portal: HubspotSimulator) -> None:
    """§6, rule by rule."""
    refused = {
        ("hs_lead_status", "New"): "INVALID_OPTION",
        ("closedate", "tomorrow"): "INVALID_LONG",
        ("message", "x" * 65_537): "PROPERTY_VALUE_TOO_LONG",
        ("email", "a@b"): "INVALID_EMAIL",
    }
    for (name, value), code in refused.items():
        with pytest.raises(RefusedWrite) as caught:
            portal.portal.create("contacts", {"lastname": "X", name: value})
        assert caught.value.problems[0]["error"] == code
    kept = {"closedate": "1763712000000", "email": "Upper@Case.Example", "lastname": "X"}
    held = portal.portal.create("contacts", kept)["properties"]
    assert (held["closedate"], held["email"]) == ("2025-11-21T08:00:00.000Z", "upper@case.example")
    with pytest.raises(RefusedWrite, match="At least one of"):
        portal.portal.create("contacts", {"phone": "1"})


def nameless(category: str, **more: Any) -> dict[str, Any]:
    """A problem that does not say which input it is about."""
    return {"status": "error", "category": category, "message": "not this one", "context": {}, **more}


def mixed(*errors: dict[str, Any]) -> Fault:
    """An answer to three writes: the first is saved, and something is said of the others."""
    saved = {"id": "1", "properties": {"syncline_key": "key-1"}, "objectWriteTraceId": "0", "new": False}
    body = {"status": "COMPLETE", "results": [saved], "numErrors": len(errors), "errors": list(errors)}
    return Fault("status", on="POST *upsert", status=207, body=body)


def test_a_problem_without_a_name_is_of_the_only_record_left(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """Whatever the order of the problems; it must not come again for ever as if nothing had been said."""
    portal.faults = [mixed(nameless("VALIDATION_ERROR"), nameless("CONFLICT", context={"objectWriteTraceId": ["1"]}))]
    outcomes = sink.upsert("contacts", [contact(n) for n in (1, 2, 3)])
    assert told(outcomes)[1:] == ["person-2 rejected CONFLICT", "person-3 rejected VALIDATION_ERROR"]


@pytest.mark.parametrize(
    ("category", "error"), [("VALIDATION_ERROR", RefusedError), ("INTERNAL_ERROR", TransientError)]
)
def test_a_problem_that_may_be_of_several_is_of_the_call(
    sink: HubspotSink, portal: HubspotSimulator, category: str, error: type[Exception]
) -> None:
    """The host halves the first, until it is told of whom; it repeats the other."""
    portal.faults = [mixed(nameless(category))]
    with pytest.raises(error, match=r"not this one.*of 2 records"):
        sink.upsert("contacts", [contact(n) for n in (1, 2, 3)])


def test_null_says_as_much_as_nothing(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """Descriptions of the vendor allow null for most keys; it must hide neither the reason nor the answer."""
    broken = {"message": 'Property "lead_score" does not exist', "code": "PROPERTY_DOESNT_EXIST", "in": None}
    refusal = {**nameless("VALIDATION_ERROR"), "subCategory": None, "links": None, "correlationId": None}
    detail = {**broken, "name": None, "subCategory": None, "context": {"propertyName": ["lead_score"]}}
    portal.faults = [Fault("status", on="POST *upsert", status=400, body={**refusal, "errors": [detail]})]
    with pytest.raises(SchemaDriftError) as caught:
        sink.upsert("contacts", [contact(1)])
    assert caught.value.field == "lead_score"
    traced = {"objectWriteTraceId": ["1"]}
    portal.faults = [mixed({**refusal, "errors": None, "context": traced}, nameless("CONFLICT", errors=None))]
    outcomes = sink.upsert("contacts", [contact(n) for n in (1, 2, 3)])
    assert [o.status for o in outcomes] == [Status.UPDATED, Status.REJECTED, Status.REJECTED]
