"""simple-salesforce itself, unpatched, works against the simulator: a second opinion on its answers.

The library forces https; the session here takes the `s` off for the loopback host, as the connector's own does. What
the library gets wrong (vendor sheet §12) is shown by it, and shown to be contained by the connector.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)
from simple_salesforce.login import SalesforceLogin

from syncline.errors import AuthError, TransientError
from syncline.model import Write
from syncline.sdk import Throttle
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.org import ASSIGNED_USER
from syncline_salesforce.simulator.tokens import CLIENT_ID, CLIENT_SECRET


class Loopback(requests.Session):
    """Sends whatever goes to https to one http address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def request(self, method: str, url: str, *args: Any, **named: Any) -> requests.Response:  # type: ignore[override]
        path = url.split("://", 1)[1].partition("/")[2]
        return super().request(method, f"{self._url}/{path}", *args, **named)


@pytest.fixture
def session(org: SalesforceSimulator) -> Iterator[Loopback]:
    with Loopback(org.url) as opened:
        yield opened


@pytest.fixture
def sf(sink: SalesforceSink, session: Loopback) -> Salesforce:
    """Its own session on a prepared org."""
    token = sink.client.token
    return Salesforce(session_id=token.access_token, instance_url=token.instance_url, session=session, version="66.0")


def test_it_logs_in_with_client_credentials_as_http_basic(session: Loopback, org: SalesforceSimulator) -> None:
    token, instance = SalesforceLogin(
        consumer_key=CLIENT_ID, consumer_secret=CLIENT_SECRET, domain="acme.my", session=session
    )
    assert token.startswith("00D")
    assert org.url.endswith(instance)


def test_query_all_reads_every_page(sf: Salesforce, org: SalesforceSimulator) -> None:
    org.page_size = 7
    found = sf.query_all("SELECT Id, Email FROM Lead WHERE IsConverted = false")
    assert found["totalSize"] == len([r for r in org.rows("Lead") if not r["IsConverted"]])
    assert len({r["Id"] for r in found["records"]}) == found["totalSize"]
    assert sf.api_usage["api-usage"].total == 1_000_000


def test_describe_and_metadata(sf: Salesforce) -> None:
    assert {"name", "fields", "urls"} <= set(sf.Lead.describe())
    assert sf.Lead.metadata()["objectDescribe"]["keyPrefix"] == "00Q"
    assert "Lead" in {o["name"] for o in sf.describe()["sobjects"]}
    assert sf.limits()["DailyApiRequests"]["Max"] == 1_000_000
    assert sf.is_sandbox() is False


def test_single_records_come_and_go(sf: Salesforce) -> None:
    made = sf.Lead.create({"LastName": "R", "Company": "C"})
    assert made["success"]
    assert sf.Lead.update(made["id"], {"Title": "CFO"}) == 204
    assert sf.Lead.get(made["id"])["Title"] == "CFO"
    assert sf.Lead.upsert("Syncline_Key__c/a%2Fb", {"LastName": "S", "Company": "C"}) == 201
    assert sf.Lead.upsert("Syncline_Key__c/A%2FB", {"Title": "CEO"}) == 200
    assert sf.Lead.get_by_custom_id("Syncline_Key__c", "a/b")["Title"] == "CEO"
    assert sf.Lead.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        sf.Lead.get(made["id"])


def test_updated_and_deleted_windows(sf: Salesforce, org: SalesforceSimulator) -> None:
    org.advance(timedelta(hours=1))
    start = org.now() - timedelta(minutes=1)
    kept, gone = (r["Id"] for r in org.rows("Lead")[4:6])
    org.human_edit("Lead", kept, Title="X")
    org.delete_record("Lead", gone)
    end = org.now() + timedelta(minutes=1)
    assert sf.Lead.updated(start, end)["ids"] == [kept]
    assert [d["id"] for d in sf.Lead.deleted(start, end)["deletedRecords"]] == [gone]
    with pytest.raises(SalesforceMalformedRequest):
        sf.Lead.updated(start, start)


def test_bulk_upsert_and_its_three_results(sf: Salesforce, org: SalesforceSimulator) -> None:
    records = [{"Syncline_Key__c": f"k{n}", "LastName": "R", "Company": "C" if n else "#N/A"} for n in range(30)]
    (result,) = sf.bulk2.Lead.upsert(records=records, external_id_field="Syncline_Key__c", wait=0)
    assert (result["numberRecordsProcessed"], result["numberRecordsFailed"]) == (30, 1)
    failed = list(csv.DictReader(io.StringIO(sf.bulk2.Lead.get_failed_records(result["job_id"]))))
    assert failed[0]["sf__Error"] == "REQUIRED_FIELD_MISSING:Required fields are missing: [Company]:Company --"
    done = list(csv.DictReader(io.StringIO(sf.bulk2.Lead.get_successful_records(result["job_id"]))))
    assert [r["Syncline_Key__c"] for r in done] != [f"k{n}" for n in range(1, 30)]  # another order
    assert {r["sf__Created"] for r in done} == {"true"}
    assert sf.bulk2.Lead.get_unprocessed_records(result["job_id"]).splitlines()[1:] == []


def test_bulk_insert_update_and_delete(sf: Salesforce, org: SalesforceSimulator) -> None:
    (made,) = sf.bulk2.Lead.insert(records=[{"LastName": "Bulk", "Company": "C"}], wait=0)
    assert made["numberRecordsFailed"] == 0
    id = next(r["Id"] for r in org.rows("Lead") if r["LastName"] == "Bulk")
    assert sf.bulk2.Lead.update(records=[{"Id": id, "Title": "CFO"}], wait=0)[0]["numberRecordsFailed"] == 0
    assert sf.bulk2.Lead.delete(records=[{"Id": id}], wait=0)[0]["numberRecordsFailed"] == 0
    assert org.org.row("Lead", id)["IsDeleted"]  # type: ignore[index]


def test_bulk_query_pages(sf: Salesforce, org: SalesforceSimulator) -> None:
    pages = list(sf.bulk2.Lead.query("SELECT Id, LastName FROM Lead", max_records=10, wait=0))
    rows = [row for page in pages for row in csv.DictReader(io.StringIO(str(page)))]
    assert len(pages) > 1
    assert {r["Id"] for r in rows} == {r["Id"] for r in org.rows("Lead")}


def test_in_direct_mode_an_expired_session_is_not_retried_without_end(sf: Salesforce, org: SalesforceSimulator) -> None:
    """The library's unbounded renewal needs a log-in of its own; given a session, each call fails at once."""
    org.expire_sessions()
    for call in (lambda: sf.query("SELECT Id FROM Lead"), lambda: sf.Lead.describe(), lambda: sf.restful("limits")):
        org.reset_counters()
        with pytest.raises(SalesforceExpiredSession):
            call()
        assert org.counters()["calls"] == 1


# What the library gets wrong, and how the connector contains it

EXPIRED = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]


@pytest.fixture
def renewing(sink: SalesforceSink, session: Loopback) -> Salesforce:
    """The library with a log-in of its own, as its documentation suggests."""
    return Salesforce(
        consumer_key=CLIENT_ID, consumer_secret=CLIENT_SECRET, domain="acme.my", session=session, version="66.0"
    )


def new_leads(count: int) -> list[Write]:
    values = {"LastName": "Rossi", "Company": "Zo\u00eb \u00dftra\u00dfe"}
    return [Write(f"k{n}", ("Syncline_Key__c", f"k{n}"), values) for n in range(count)]


def test_with_a_log_in_of_its_own_the_library_renews_without_end(
    renewing: Salesforce, sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """Thirty-one refusals are thirty-one log-ins; a user may log in 3,600 times an hour. We stop after one."""
    org.faults = [Fault("status", on="GET */describe", times=31, status=401, body=EXPIRED)]
    issued = org.tokens.issued
    assert renewing.Lead.describe()["name"] == "Lead"
    assert org.tokens.issued - issued == 31
    org.faults = [Fault("status", on="GET */describe", times=None, status=401, body=EXPIRED)]
    issued = org.tokens.issued
    with pytest.raises(AuthError, match="although the session is new"):
        sink.describe("Lead")
    assert org.tokens.issued - issued == 1


def test_the_library_drops_headers_when_it_renews(
    renewing: Salesforce, sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """The lead that must not be assigned is; with us the header is there the second time too."""
    body = {"records": [{"attributes": {"type": "Lead"}, "Syncline_Key__c": "lib", "LastName": "R", "Company": "C"}]}
    org.expire_sessions()
    headers = {"Sforce-Auto-Assign": "FALSE"}
    renewing.restful("composite/sobjects/Lead/Syncline_Key__c", method="PATCH", json=body, headers=headers)
    org.expire_sessions()
    sink.upsert("Lead", new_leads(1))
    owners = {r["Syncline_Key__c"]: r["OwnerId"] for r in org.rows("Lead") if r.get("Syncline_Key__c")}
    assert owners == {"lib": ASSIGNED_USER, "k0": sink.client.token.user_id}


@pytest.fixture
def timeouts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The time-out of every call that goes out from here on."""
    seen: list[Any] = []
    send = HTTPAdapter.send

    def spy(self: HTTPAdapter, request: Any, stream: Any = False, timeout: Any = None, *rest: Any, **named: Any) -> Any:
        seen.append(timeout)
        return send(self, request, stream, timeout, *rest, **named)

    monkeypatch.setattr(HTTPAdapter, "send", spy)
    return seen


def test_the_library_waits_for_ever_and_no_call_of_ours_does(
    sf: Salesforce, open_sink: Callable[..., SalesforceSink], org: SalesforceSimulator, timeouts: list[Any]
) -> None:
    sf.query("SELECT Id FROM Lead")
    assert timeouts == [None]
    sink = open_sink()
    timeouts.clear()
    sink.check()
    sink.describe("Lead")
    list(sink.changes("Lead", ["LastName"], None))
    sink.upsert("Lead", new_leads(1))
    sink.upsert("Lead", new_leads(201))
    assert len(timeouts) > 10  # log-in, query, describe, Collections, and every step of a bulk job
    assert set(timeouts) == {(10.0, 120.0)}


def test_an_answer_that_does_not_come_is_weather(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    sink.context.http.configure(throttle=Throttle(read_timeout=timedelta(milliseconds=200)))
    org.faults = [Fault("slow", on="PATCH *", seconds=30)]
    with pytest.raises(TransientError):
        sink.upsert("Lead", new_leads(1))


def test_the_library_insists_on_https_and_only_loopback_is_let_off(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    token = sink.client.token
    with requests.Session() as bare:
        library = Salesforce(session_id=token.access_token, instance_url=org.url, session=bare)
        with pytest.raises(requests.exceptions.SSLError):
            library.query("SELECT Id FROM Lead")
    assert sink.check().name == "Simulated Org"
    adapters = sink.context.http.session
    assert adapters.get_adapter("https://acme.my.salesforce.com/") is adapters.adapters["https://"]


@pytest.mark.parametrize(
    "instance",
    ["http://acme.my.salesforce.com", "http://127.0.0.1.evil.example", "http://localhost.evil", "http://10.0.0.1"],
)
def test_no_token_leaves_this_machine_unencrypted(
    open_sink: Callable[..., SalesforceSink], org: SalesforceSimulator, instance: str, timeouts: list[Any]
) -> None:
    body = {"access_token": "t", "instance_url": instance, "id": "x/y"}
    org.faults = [Fault("status", on="POST */oauth2/token", status=200, body=body)]
    with pytest.raises(AuthError, match="not https"):
        open_sink().check()
    assert len(timeouts) == 1  # the log-in, and nothing after it


def test_the_library_reads_results_as_latin_1(sf: Salesforce, sink: SalesforceSink) -> None:
    """A key with an umlaut would never be found again; we read the bytes as what they are."""
    (result,) = sf.bulk2.Lead.upsert(
        records=[{"Syncline_Key__c": "Zo\u00eb", "LastName": "R", "Company": "C"}],
        external_id_field="Syncline_Key__c",
        wait=0,
    )
    assert "Zo\u00c3\u00ab" in sf.bulk2.Lead.get_successful_records(result["job_id"])
    assert "Zo\u00eb" in sink.client.job_results(result["job_id"], "successfulResults")


def test_the_library_fails_on_the_empty_answer_to_a_deletion(
    sf: Salesforce, sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    (result,) = sf.bulk2.Lead.insert(records=[{"LastName": "R", "Company": "C"}], wait=0)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        sf.bulk2.Lead._client.delete_job(result["job_id"], False)
    assert org.ingest_jobs.all() == []
    assert all(o.ok for o in sink.upsert("Lead", new_leads(201)))
    assert org.ingest_jobs.all() == []
