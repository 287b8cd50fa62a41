"""Bulk API 2.0: many writes, few calls. Rules: vendor sheet §6.4."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from syncline.errors import SchemaDriftError, TransientError
from syncline.model import Status, Write
from syncline.sdk.http import purpose
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink, bulk
from syncline_salesforce.simulator import SalesforceSimulator

Open = Callable[..., SalesforceSink]


def lead(number: int, **fields: object) -> Write:
    values = {"LastName": f'O"Neil, {number}\nsecond line', "Company": "Zoë ßtraße", **fields}
    return Write(f"person-{number}", ("Syncline_Key__c", f"key-{number}"), values)  # type: ignore[arg-type]


def test_20000_writes_with_failures_in_one_job(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """Quoted newlines, results in another order, every fiftieth row refused: each outcome finds its write."""
    writes = [lead(n, **({"Company": None} if n % 50 == 0 else {})) for n in range(20_000)]
    with purpose("write"):
        outcomes = sink.upsert("Lead", writes)
    assert [o.key for o in outcomes] == [w.key for w in writes]
    assert [o.status for o in outcomes] == [Status.REJECTED if n % 50 == 0 else Status.CREATED for n in range(20_000)]
    assert outcomes[50].reason == "REQUIRED_FIELD_MISSING: Required fields are missing: [Company] (fields: Company)"
    names = {r["Id"]: r["LastName"] for r in org.rows("Lead")}
    assert all(names[o.ref.id] == w.fields["LastName"] for o, w in zip(outcomes, writes, strict=True) if o.ref)
    assert (org.counters()["bulk_jobs"], org.counters()["upserts"]) == (1, 19_600)
    assert sink.context.http.metrics.calls["write"] == sink.limits.bulk_calls


def test_absent_stays_and_none_clears(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    many = [lead(n, Title="CFO", Phone="1", Lead_Score__c=5) for n in range(201)]
    sink.upsert("Lead", many)
    changes = [Write(w.key, w.match, {"Phone": None} if n % 2 else {"Title": "CEO"}) for n, w in enumerate(many)]
    outcomes = sink.upsert("Lead", changes)
    assert {o.status for o in outcomes} == {Status.UPDATED}
    stored = {r["Syncline_Key__c"]: r for r in org.rows("Lead") if r.get("Syncline_Key__c")}
    assert [stored["key-1"][n] for n in ("Title", "Phone", "Lead_Score__c")] == ["CFO", None, 5]
    assert [stored["key-2"][n] for n in ("Title", "Phone", "Lead_Score__c")] == ["CEO", "1", 5]


def test_writes_by_id_update(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    created = sink.upsert("Lead", [lead(n) for n in range(201)])
    writes = [Write(o.key, ("Id", o.ref.id), {"Hot_Lead__c": True}) for o in created if o.ref]
    writes.append(Write("nobody", ("Id", "00Q5e0000009999AAA"), {"Hot_Lead__c": True}))
    *done, unknown = sink.upsert("Lead", writes)
    assert {o.status for o in done} == {Status.UPDATED}
    assert (unknown.status, unknown.code) == (Status.REJECTED, "INVALID_CROSS_REFERENCE_KEY")


def test_weather_on_a_row_is_retried(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    writes = [lead(n) for n in range(201)]
    first = sink.upsert("Lead", writes)
    org.org.locked.update(o.ref.id for o in first[:2] if o.ref)
    outcomes = sink.upsert("Lead", writes)
    assert [o.status for o in outcomes[:3]] == [Status.RETRY, Status.RETRY, Status.UPDATED]
    assert outcomes[0].code == "UNABLE_TO_LOCK_ROW"


def test_rows_a_job_never_reached_come_again(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.ingest_jobs.unprocessed = 10
    outcomes = sink.upsert("Lead", [lead(n) for n in range(201)])
    assert [o.status for o in outcomes] == [Status.CREATED] * 191 + [Status.RETRY] * 10
    assert outcomes[-1].code == "UNPROCESSED"


def test_an_unknown_column_fails_the_job_by_name(sink: SalesforceSink) -> None:
    """The job's error text is the recorded one (amp-labs bulk complete-failure)."""
    with pytest.raises(SchemaDriftError) as caught:
        sink.upsert("Lead", [lead(n, Gone__c="x") for n in range(201)])
    assert caught.value.field == "Gone__c"


def test_a_job_that_is_lost_sight_of_can_be_done_again(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.faults = [Fault("status", on="GET *successfulResults", status=503)]
    writes = [lead(n) for n in range(201)]
    with pytest.raises(TransientError):
        sink.upsert("Lead", writes)
    assert {o.status for o in sink.upsert("Lead", writes)} == {Status.UPDATED}
    assert org.counters()["upserts"] == 402


def test_a_session_that_ends_during_the_job_is_renewed(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.tokens.calls_per_session = 2
    assert all(o.ok for o in sink.upsert("Lead", [lead(n) for n in range(201)]))


def test_looks_are_spaced_by_the_hosts_sleep(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.ingest_jobs.looks = 8
    sink.upsert("Lead", [lead(n) for n in range(201)])
    assert sink.context.http.metrics.waited_seconds == pytest.approx(sum(min(2 * 1.5**n, 20) for n in range(9)))


def test_a_job_that_never_ends_is_given_up(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.ingest_jobs.looks = 10**9
    with pytest.raises(TransientError, match="not done after 60 minutes"):
        sink.upsert("Lead", [lead(n) for n in range(201)])


def test_a_cell_that_would_be_read_as_no_value_is_refused_alone(sink: SalesforceSink) -> None:
    outcomes = sink.upsert("Lead", [lead(0, Title="#N/A"), *(lead(n) for n in range(1, 202))])
    assert (outcomes[0].status, outcomes[0].code) == (Status.REJECTED, "UNSENDABLE_VALUE")
    assert all(o.ok for o in outcomes[1:])


def test_large_data_is_cut_into_jobs(
    sink: SalesforceSink, org: SalesforceSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncline_salesforce.sink.BYTES_PER_JOB", 15_000)
    outcomes = sink.upsert("Lead", [lead(n) for n in range(300)])
    assert [o.status for o in outcomes] == [Status.CREATED] * 300
    assert org.counters()["bulk_jobs"] > 1


def test_nothing_is_left_behind(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    sink.upsert("Lead", [lead(n) for n in range(201)])
    assert org.ingest_jobs.all() == []


def test_the_csv_has_every_column_and_a_header() -> None:
    writes = [
        Write("a", ("Key__c", "1"), {"A": "x,y", "B": None}),
        Write("b", ("Key__c", "2"), {"C": True, "A": ""}),
    ]
    assert list(csv.reader(io.StringIO(bulk.render(writes)))) == [
        ["Key__c", "A", "B", "C"],
        ["1", "x,y", "#N/A", ""],
        ["2", "#N/A", "", "true"],
    ]
