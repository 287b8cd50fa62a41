"""The simulator is as strict as the vendor sheet (§13), where the connector itself would not notice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from syncline.sdk import SimulatorOptions
from syncline.testing.population import population
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.schema import long_id
from syncline_salesforce.simulator.tokens import CLIENT_ID, CLIENT_SECRET

Call = Callable[..., requests.Response]


@pytest.fixture
def call(sink: SalesforceSink, org: SalesforceSimulator) -> Iterator[Call]:
    """A bare call to the data API of a prepared org."""
    headers = {"Authorization": f"Bearer {sink.client.token.access_token}", "Content-Type": "application/json"}
    with requests.Session() as session:

        def send(method: str, path: str, body: Any = None, **named: Any) -> requests.Response:
            data = body if body is None or isinstance(body, str) else json.dumps(body)
            url = f"{org.url}/services/data/v66.0/{path}"
            return session.request(method, url, data=data, headers={**headers, **named.pop("headers", {})}, **named)

        yield send


def record(**fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Lead"}, "LastName": "R", "Company": "C", **fields}


def codes(response: requests.Response) -> list[str | None]:
    return [None if r["success"] else r["errors"][0]["statusCode"] for r in response.json()]


def test_a_token_names_no_end_and_counts_milliseconds_as_text(org: SalesforceSimulator) -> None:
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    answer = requests.post(f"{org.url}/services/oauth2/token", data=form, timeout=5).json()
    assert "expires_in" not in answer
    assert "refresh_token" not in answer
    assert answer["issued_at"] == "1780300800000"
    assert answer["token_type"] == "Bearer"


def test_versions_need_no_session_and_data_does(org: SalesforceSimulator) -> None:
    versions = requests.get(f"{org.url}/services/data/", timeout=5).json()
    assert {"label": "API 66.0", "url": "/services/data/v66.0", "version": "66.0"} in versions
    refused = requests.get(f"{org.url}/services/data/v66.0/limits", timeout=5)
    assert (refused.status_code, refused.json()) == (
        401,
        [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}],
    )


def test_collections_refuse_more_than_200_and_none(call: Call) -> None:
    for records in ([], [record()] * 201):
        assert call("POST", "composite/sobjects", {"records": records}).status_code == 400
    assert call("POST", "composite/sobjects", "{nonsense").json()[0]["errorCode"] == "JSON_PARSER_ERROR"


def test_records_without_attributes_are_refused(call: Call) -> None:
    bare = {"LastName": "R", "Company": "C"}
    assert call("POST", "composite/sobjects", {"records": [bare]}).status_code == 400
    # An upsert was recorded to answer 200 and refuse the record (nango upsert-sobject-collection, 2026-05).
    upsert = call("PATCH", "composite/sobjects/Lead/Syncline_Key__c", {"records": [bare]})
    assert (upsert.status_code, codes(upsert)) == (200, ["JSON_PARSER_ERROR"])


def test_all_or_none_takes_everything_back(call: Call, org: SalesforceSimulator) -> None:
    before = org.rows("Lead")
    body = {"allOrNone": True, "records": [record(Syncline_Key__c="a"), record(Company=None)]}
    assert codes(call("POST", "composite/sobjects", body)) == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
    ]
    assert org.rows("Lead") == before
    assert codes(call("POST", "composite/sobjects", {"records": [record(Syncline_Key__c="a")]})) == [None]


def test_a_key_twice_in_one_request(call: Call, org: SalesforceSimulator) -> None:
    path, body = "composite/sobjects/Lead/Syncline_Key__c", [record(Syncline_Key__c="a"), record(Syncline_Key__c="A")]
    org.duplicates_in_request = True
    assert codes(call("PATCH", path, {"records": body})) == ["DUPLICATE_VALUE"] * 2
    org.duplicates_in_request = False
    assert [r["created"] for r in call("PATCH", path, {"records": body}).json()] == [True, False]


def test_a_unique_field_is_unique_in_any_letter_case(call: Call) -> None:
    body = {"records": [record(Syncline_Key__c="a"), record(Syncline_Key__c="A")]}
    assert codes(call("POST", "composite/sobjects", body)) == [None, "DUPLICATE_VALUE"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"Nope__c": 1}, "INVALID_FIELD"),
        ({"IsDeleted": True}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"Hot_Lead__c": None}, "INVALID_TYPE_ON_FIELD_IN_RECORD"),
        ({"Lead_Score__c": "many"}, "JSON_PARSER_ERROR"),
        ({"Lead_Score__c": 10**18}, "NUMBER_OUTSIDE_VALID_RANGE"),
        ({"Last_Event_At__c": "2026-06-01"}, "JSON_PARSER_ERROR"),
        ({"Title": "x" * 129}, "STRING_TOO_LONG"),
        ({"Title": {"a": 1}}, "JSON_PARSER_ERROR"),
        ({"OwnerId": "nobody"}, "MALFORMED_ID"),
        ({"LastName": ""}, "REQUIRED_FIELD_MISSING"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else v,
)
def test_single_creates_refuse_with_an_array(call: Call, fields: dict[str, Any], code: str) -> None:
    body = {"LastName": "R", "Company": "C", **fields}
    answer = call("POST", "sobjects/Lead", body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_single_upserts_follow_their_rules(call: Call) -> None:
    path, body = "sobjects/Lead/Syncline_Key__c/k1", {"LastName": "R", "Company": "C"}
    assert call("PATCH", path, body, params={"updateOnly": "true"}).status_code == 404
    made = call("PATCH", path, body)
    assert (made.status_code, made.json()["created"]) == (201, True)
    assert call("PATCH", path, {"Title": "X"}).json()["created"] is False
    assert call("PATCH", path, {**body, "Syncline_Key__c": "k1"}).status_code == 400
    unknown = call("PATCH", "sobjects/Lead/Namez/k1", body)
    # As recorded (restforce upsert_error_response).
    message = "Provided external ID field does not exist or is not accessible: Namez"
    assert (unknown.status_code, unknown.json()) == (404, [{"message": message, "errorCode": "NOT_FOUND"}])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT Id FROM Leed", "INVALID_TYPE"),
        ("SELECT Nope FROM Lead", "INVALID_FIELD"),
        ("SELECT Id, Id FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Email = 'a' OR Email = 'b' AND Email = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Email = 'it's'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE IsConverted = 'true'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead LIMIT x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead garbage here", "MALFORMED_QUERY"),
        ("DELETE FROM Lead", "MALFORMED_QUERY"),
    ],
)
def test_bad_queries(call: Call, query: str, code: str) -> None:
    answer = call("GET", "query", params={"q": query})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("LastName = 'O\\'BRIEN'", ["b"]),
        ("LastName LIKE 'a%' OR LastName LIKE '_ELTA'", ["a", "d"]),
        ("LastName IN ('alpha', 'Delta')", ["a", "d"]),
        ("Lead_Score__c >= 2 AND Lead_Score__c < 4", ["b", "c"]),
        ("Lead_Score__c = NULL", ["d"]),
        ("NOT (Lead_Score__c != NULL)", ["d"]),
        ("(LastName = 'alpha' OR LastName = 'gamma') AND Hot_Lead__c = true", ["a"]),
        ("Lead_Score__c NOT IN (1, 2)", ["c", "d"]),
        ("LastName > 'c'", ["c", "d", "b"]),
    ],
)
def test_conditions(call: Call, org: SalesforceSimulator, where: str, expected: list[str]) -> None:
    people = (("a", "Alpha", 1), ("b", "O'Brien", 2), ("c", "Gamma", 3), ("d", "Delta", None))
    for key, name, score in people:
        org.human_create("Lead", LastName=name, Company="Test", Title=key, Lead_Score__c=score, Hot_Lead__c=key == "a")
    found = call("GET", "query", params={"q": f"SELECT Title FROM Lead WHERE Company = 'Test' AND ({where})"}).json()  # noqa: S608
    assert sorted(r["Title"] for r in found["records"]) == sorted(expected)


def test_order_limit_offset_and_count(call: Call, org: SalesforceSimulator) -> None:
    for n in (2, None, 1, 3):
        org.human_create("Lead", LastName=f"L{n}", Company="Test", Lead_Score__c=n)

    def names(rest: str) -> list[str]:
        answer = call("GET", "query", params={"q": f"SELECT LastName FROM Lead WHERE Company = 'Test' {rest}"})  # noqa: S608
        return [r["LastName"] for r in answer.json()["records"]]

    assert names("ORDER BY Lead_Score__c") == ["LNone", "L1", "L2", "L3"]
    assert names("ORDER BY Lead_Score__c DESC NULLS LAST LIMIT 2") == ["L3", "L2"]
    assert names("ORDER BY Lead_Score__c NULLS LAST LIMIT 2 OFFSET 2") == ["L3", "LNone"]
    counted = call("GET", "query", params={"q": "SELECT COUNT() FROM Lead WHERE Company = 'Test'"}).json()
    assert counted == {"totalSize": 4, "done": True, "records": []}


def test_paging_gives_a_path_and_dates_have_no_colon(call: Call, org: SalesforceSimulator) -> None:
    org.page_size = 5
    page = call("GET", "query", params={"q": "SELECT Id, SystemModstamp FROM Lead"}).json()
    assert page["nextRecordsUrl"].startswith("/services/data/v66.0/query/")
    assert len(page["records"]) == 5
    assert page["records"][0]["SystemModstamp"].endswith("+0000")
    org.expire_locators()
    gone = call("GET", page["nextRecordsUrl"].removeprefix("/services/data/v66.0/"))
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_deleted_rows_are_in_query_all_only(call: Call, org: SalesforceSimulator) -> None:
    gone = org.rows("Lead")[0]["Id"]
    org.delete_record("Lead", gone)
    query = {"q": f"SELECT Id, IsDeleted FROM Lead WHERE Id = '{gone}'"}  # noqa: S608
    assert call("GET", "query", params=query).json()["totalSize"] == 0
    assert call("GET", "queryAll", params=query).json()["records"][0]["IsDeleted"] is True


def test_every_data_answer_counts_the_quota(call: Call, org: SalesforceSimulator) -> None:
    first, second = (call("GET", "limits").headers["Sforce-Limit-Info"] for _ in range(2))
    used = [int(h.removeprefix("api-usage=").split("/")[0]) for h in (first, second)]
    assert used[1] == used[0] + 1


def test_odd_verbs_and_bodies(call: Call) -> None:
    assert call("PUT", "limits").status_code == 405
    assert call("GET", "nowhere").status_code == 404
    assert call("POST", "sobjects/Lead", {"a": 1}, headers={"Content-Type": "text/plain"}).status_code == 415
    assert (
        call("GET", "query", params={"q": "SELECT Id FROM Lead WHERE Id = '" + "x" * 17_000 + "'"}).status_code == 414
    )


def test_bulk_jobs_keep_their_order_of_steps(call: Call) -> None:
    job = {"object": "Lead", "operation": "upsert", "externalIdFieldName": "Syncline_Key__c", "contentType": "CSV"}
    made = call("POST", "jobs/ingest", job).json()
    assert made["contentUrl"] == f"services/data/v66.0/jobs/ingest/{made['id']}/batches"
    path = f"jobs/ingest/{made['id']}"
    assert call("GET", f"{path}/failedResults").status_code == 400
    upload = {"headers": {"Content-Type": "text/csv"}}
    assert call("PUT", f"{path}/batches", "Syncline_Key__c,LastName,Company\nk,R,C\n", **upload).status_code == 201
    assert call("PUT", f"{path}/batches", "again", **upload).status_code == 400
    assert call("PATCH", path, {"state": "UploadComplete"}).json()["state"] == "UploadComplete"
    assert call("DELETE", path).status_code == 400
    assert [call("GET", path).json()["state"] for _ in range(3)] == ["InProgress", "JobComplete", "JobComplete"]
    assert call("GET", f"{path}/unprocessedrecords").status_code == 200
    assert call("DELETE", path).status_code == 204
    assert call("GET", path).status_code == 404
    assert call("POST", "jobs/ingest", {**job, "externalIdFieldName": "Title"}).status_code == 400


def test_ids_carry_the_vendors_checksum() -> None:
    """Pairs of short and long ids taken from recorded traffic."""
    for known in ("001dM00003kS2ndQAC", "00Q4S000002sSacUAE", "005dM00000aYaE3QAK", "0PSak00000M9uBBGAZ"):
        assert long_id(known[:15]) == known


def test_stamps_are_whole_seconds_and_shared(org: SalesforceSimulator) -> None:
    """As in every recorded answer (`test_salesforce_recorded` counts them); finer ones are a switch."""
    org.advance(timedelta(milliseconds=400))

    def stamps() -> list[str]:
        ids = [org.human_create("Lead", LastName=f"L{n}", Company="C") for n in range(5)]
        return [org.org.row("Lead", i)["SystemModstamp"] for i in ids]  # type: ignore[index]

    assert stamps() == ["2026-06-01T08:00:00.000+0000"] * 5
    org.org.fine_stamps = True
    fine = stamps()
    assert fine == sorted(set(fine))


def test_the_org_holds_the_people_of_day_one(org: SalesforceSimulator) -> None:
    people = list(population(60, 1))
    leads = org.rows("Lead")
    typed = [r["Email"] for r in leads]
    assert {p.email_in_crm() for p in people if p.in_crm} <= set(typed)
    assert sum(bool(r["IsConverted"]) for r in leads) == sum(p.converted for p in people) == len(org.rows("Contact"))
    folded = [e.lower() for e in typed if e]
    assert {e for e in folded if folded.count(e) > 1} == {p.email for p in people if p.twice}
    assert len(leads) == sum(p.in_crm + p.twice for p in people) + 20
    assert not org.org.custom


def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    options = SimulatorOptions(people=30, folder=tmp_path, clock="2026-06-01T08:00:00+00:00")
    with SalesforceSimulator(options) as first:
        made = first.human_create("Lead", LastName="Kept", Company="C")
        count = len(first.rows("Lead"))
    with SalesforceSimulator(options) as second:
        assert len(second.rows("Lead")) == count
        assert second.org.row("Lead", made)["LastName"] == "Kept"  # type: ignore[index]
        assert second.human_create("Lead", LastName="Next", Company="C") != made
        second.advance(timedelta(days=1))
