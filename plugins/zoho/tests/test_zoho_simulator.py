"""The simulated account is as strict as the vendor sheet says: what the connector never sends must fail too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH, population
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator
from syncline_zoho.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN

Call = Callable[..., requests.Response]
GRANT = {
    "grant_type": "refresh_token",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "refresh_token": REFRESH_TOKEN,
}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


@pytest.fixture
def call(crm: ZohoSimulator, session: requests.Session) -> Call:
    """A call with a good token, unless `authorization` says otherwise."""
    token = session.post(f"{crm.url}/oauth/v2/token", data=GRANT, timeout=5).json()["access_token"]

    def send(method: str, path: str, body: Any = None, authorization: str | None = None, **more: Any) -> Any:
        headers = {"Authorization": authorization or f"Zoho-oauthtoken {token}", **more.pop("headers", {})}
        data = None if body is None else json.dumps(body)
        return session.request(method, f"{crm.url}/crm/v8/{path}", data=data, headers=headers, timeout=5, **more)

    return send


def code(response: requests.Response) -> tuple[int, str]:
    return (response.status_code, response.json()["code"])


# Tokens and headers


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"client_id": "x"}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_client_secret"),
        ({"refresh_token": "x"}, "invalid_code"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
    ],
)
def test_refusals_of_tokens_say_200(
    crm: ZohoSimulator, session: requests.Session, changes: dict[str, str], told: str
) -> None:
    response = session.post(f"{crm.url}/oauth/v2/token", data={**GRANT, **changes}, timeout=5)
    assert (response.status_code, response.json()) == (200, {"error": told})


def test_tokens_come_for_parameters_too_and_ten_in_ten_minutes(crm: ZohoSimulator, session: requests.Session) -> None:
    for _ in range(10):
        response = session.post(f"{crm.url}/oauth/v2/token", params=GRANT, timeout=5)
        assert set(response.json()) == {"access_token", "scope", "api_domain", "token_type", "expires_in"}
    response = session.post(f"{crm.url}/oauth/v2/token", params=GRANT, timeout=5)
    assert (response.status_code, response.json()["error"]) == (400, "Access Denied")


def test_only_so_many_tokens_live_at_once(crm: ZohoSimulator, session: requests.Session) -> None:
    crm.tokens.alive_at_once = 2
    made = [session.post(f"{crm.url}/oauth/v2/token", data=GRANT, timeout=5).json()["access_token"] for _ in range(3)]
    assert [crm.tokens.valid(f"Zoho-oauthtoken {t}") for t in made] == [False, True, True]


def test_a_revoked_token_gives_no_more(crm: ZohoSimulator, call: Call, session: requests.Session) -> None:
    session.post(f"{crm.url}/oauth/v2/token/revoke", params={"token": REFRESH_TOKEN}, timeout=5)
    assert code(call("GET", "org")) == (401, "INVALID_TOKEN")
    assert session.post(f"{crm.url}/oauth/v2/token", data=GRANT, timeout=5).json() == {"error": "invalid_code"}


@pytest.mark.parametrize("header", ["Bearer {}", "{}", "zoho-oauthtoken {}", "Zoho-oauthtoken x"])
def test_the_scheme_is_zohos_own(crm: ZohoSimulator, call: Call, header: str) -> None:
    """`Bearer`, as the token's answer calls it, is refused."""
    token = next(iter(crm.table("token")))
    assert code(call("GET", "org", authorization=header.format(token))) == (401, "INVALID_TOKEN")


# Records


def test_upsert_checks_in_the_order_it_is_told(crm: ZohoSimulator, call: Call, sink: ZohoSink) -> None:
    """Named fields first, then other unique ones; the system's own only if nothing is named (upsert, v7 table)."""
    lead = next(r for r in crm.rows("Leads") if r["Email"] and not r["Converted__s"])
    row = {"Last_Name": "R", "Company": "C", "Email": lead["Email"]}
    found = call("POST", "Leads/upsert", {"data": [row]}).json()["data"][0]
    assert (found["action"], found["duplicate_field"], found["details"]["id"]) == ("update", "Email", lead["id"])
    named = {"data": [row | {"Syncline_Key": "k"}], "duplicate_check_fields": ["Syncline_Key"]}
    made = call("POST", "Leads/upsert", named).json()["data"][0]
    assert (made["action"], made["duplicate_field"]) == ("insert", None)
    again = call("POST", "Leads/upsert", {"data": [{"Syncline_Key": "K"}], "duplicate_check_fields": ["Email"]})
    assert again.json()["data"][0]["duplicate_field"] == "Syncline_Key"


def test_two_unique_fields_that_find_two_records_are_a_conflict(crm: ZohoSimulator, call: Call, sink: ZohoSink) -> None:
    crm.change_field("Leads", "Score_Reason", data_type="text", length=50, unique={"case_sensitive": True})
    for number in (1, 2):
        crm.human_create("Leads", Last_Name="R", Company="C", Syncline_Key=f"k{number}", Score_Reason=f"s{number}")
    row = {"Syncline_Key": "k1", "Score_Reason": "s2"}
    response = call("POST", "Leads/upsert", {"data": [row], "duplicate_check_fields": ["Syncline_Key"]})
    [result] = response.json()["data"]
    assert (response.status_code, result["code"], result["details"]["api_name"]) == (
        400,
        "DUPLICATE_DATA",
        "Score_Reason",
    )
    assert result["details"]["duplicate_record"]["module"]["api_name"] == "Leads"


@pytest.mark.parametrize(
    ("method", "path", "body", "wanted"),
    [
        ("POST", "Tasks/upsert", {"data": [{"Subject": "x"}]}, (400, "INVALID_MODULE")),
        ("POST", "Nothing/upsert", {"data": [{}]}, (400, "INVALID_MODULE")),
        ("POST", "Leads/upsert", {"data": [{"Last_Name": "x"}] * 101}, (400, "LIMIT_EXCEEDED")),
        ("POST", "Leads", {"data": []}, (400, "INVALID_DATA")),
        ("POST", "Leads", {}, (400, "MANDATORY_NOT_FOUND")),
        ("POST", "Leads", {"data": [{"Last_Name": "x"}], "trigger": ["magic"]}, (400, "INVALID_DATA")),
        ("POST", "Leads", {"data": [{"Last_Name": "x"}], "duplicate_check_fields": []}, (400, "INVALID_DATA")),
        (
            "POST",
            "Leads/upsert",
            {"data": [{"Last_Name": "x"}], "duplicate_check_fields": ["Phone"]},
            (400, "INVALID_DATA"),
        ),
        ("PATCH", "Leads", {"data": [{}]}, (400, "INVALID_REQUEST_METHOD")),
        ("GET", "Leads/1/2/3", None, (404, "INVALID_URL_PATTERN")),
        ("GET", "Leads", None, (400, "REQUIRED_PARAM_MISSING")),
        ("GET", "Leads?fields=id&page=11", None, (400, "DISCRETE_PAGINATION_LIMIT_EXCEEDED")),
        ("GET", "Leads?fields=id&page_token=x", None, (400, "INVALID_DATA")),
        ("GET", "Leads?fields=id&page_token=x&page=1", None, (400, "AMBIGUITY_DURING_PROCESSING")),
        ("GET", "Leads?fields=id&sort_by=Email", None, (400, "INVALID_DATA")),
        ("GET", f"Leads?fields={','.join('F' * 51)}", None, (400, "LIMIT_EXCEEDED")),
        ("GET", f"Leads?fields=id&ids={'1' * 1025}", None, (400, "INVALID_DATA")),
        ("GET", "Leads/deleted?type=some", None, (400, "PATTERN_NOT_MATCHED")),
        ("GET", "settings/fields", None, (400, "REQUIRED_PARAM_MISSING")),
        ("POST", "settings/fields?module=Leads", {"fields": [{"field_label": "x"}] * 6}, (400, "LIMIT_EXCEEDED")),
        ("POST", "Leads/actions/add_tags", {"tags": [{"name": "x"}]}, (400, "REQUIRED_PARAM_MISSING")),
        (
            "POST",
            "Leads/actions/add_tags",
            {"tags": [{"name": "x"}], "ids": ["1"] * 101},
            (400, "LIMIT_EXCEEDED"),
        ),
        ("POST", "Leads/actions/paint", {"tags": [{"name": "x"}], "ids": ["1"]}, (404, "INVALID_URL_PATTERN")),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_zoho_refuses_as_a_whole(call: Call, method: str, path: str, body: Any, wanted: tuple[int, str]) -> None:
    assert code(call(method, path, body)) == wanted


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("Last_Event_At", "2026-06-01T08:00:00.000+00:00", "datetime"),
        ("Last_Event_At", "2026-06-01T08:00:00Z", "datetime"),
        ("Last_Event_At", "2026-06-01 08:00", "datetime"),
        ("Seen_On", "01/06/2026", "date"),
        ("Visits", "5", "integer"),
        ("Visits", 5.5, "integer"),
        ("Visits", 1_000_000_000, "integer"),
        ("Visits", True, "integer"),
        ("Lead_Score", "5", "double"),
        ("Hot_Lead", "true", "boolean"),
        ("Phone", 5, "string"),
        ("Owner", "5725767000000411001", "jsonobject"),
    ],
)
def test_types_are_not_bent(call: Call, sink: ZohoSink, field: str, value: Any, expected: str) -> None:
    row = {"Last_Name": "R", "Company": "C", field: value}
    [result] = call("POST", "Leads", {"data": [row]}).json()["data"]
    assert (result["code"], result["details"]["expected_data_type"]) == ("INVALID_DATA", expected)
    assert result["details"]["json_path"] == f"$.data[0].{field}"


def test_what_was_not_said_to_trigger_triggers_everything(crm: ZohoSimulator, call: Call) -> None:
    call("POST", "Leads", {"data": [{"Last_Name": "R", "Company": "C"}]})
    assert crm.triggered == [["approval", "blueprint", "orchestration", "pathfinder", "workflow"]]


def test_converted_leads_are_hidden_unless_asked_for(crm: ZohoSimulator, call: Call) -> None:
    """As somebody found with a live account in 2026; the default of `converted` is documented."""
    mine = next(r["id"] for r in crm.rows("Leads") if r["Converted__s"])
    assert call("GET", f"Leads/{mine}").status_code == 204
    assert call("GET", f"Leads/{mine}?converted=true").json()["data"][0]["Converted_Contact"]["id"]
    counts = {
        asked: call("GET", f"Leads?fields=id&converted={asked}").json()["info"]["count"]
        for asked in ("true", "false", "both")
    }
    assert counts["true"] + counts["false"] == counts["both"] == len(crm.rows("Leads"))
    assert call("GET", "Leads?fields=id").json()["info"]["count"] == counts["false"]


def test_a_lead_is_converted_by_call_once(crm: ZohoSimulator, call: Call) -> None:
    mine = next(r["id"] for r in crm.rows("Leads") if not r["Converted__s"])
    [done] = call("POST", f"Leads/{mine}/actions/convert", {"data": [{}]}).json()["data"]
    assert done["details"]["Contacts"]["id"] in {r["id"] for r in crm.rows("Contacts")}
    response = call("POST", f"Leads/{mine}/actions/convert", {"data": [{}]})
    assert (response.status_code, response.json()["data"][0]["code"]) == (400, "ID_ALREADY_CONVERTED")


def test_records_are_deleted_by_call_and_listed(crm: ZohoSimulator, call: Call) -> None:
    ids = [r["id"] for r in crm.rows("Leads")[:2]]
    response = call("DELETE", f"Leads?ids={ids[0]},{ids[1]},1")
    assert (response.status_code, [r["status"] for r in response.json()["data"]]) == (207, ["success"] * 2 + ["error"])
    assert {g["id"] for g in call("GET", "Leads/deleted").json()["data"]} == set(ids)
    assert call("GET", "Leads/deleted?type=permanent").status_code == 204
    crm.advance(timedelta(days=61))
    crm.tokens.calls_per_token = None


def test_a_page_token_is_bound_to_its_question_and_lives_a_day(crm: ZohoSimulator, call: Call) -> None:
    crm.page_size = 5
    token = call("GET", "Leads?fields=id").json()["info"]["next_page_token"]
    assert call("GET", f"Leads?fields=id&page_token={token}").status_code == 200
    assert code(call("GET", f"Leads?fields=id,Email&page_token={token}")) == (400, "TOKEN_BOUND_DATA_MISMATCH")


def test_a_conditional_list_without_news(crm: ZohoSimulator, call: Call) -> None:
    headers = {"If-Modified-Since": "2026-06-01T08:00:00+00:00"}
    assert call("GET", "Leads?fields=id", headers=headers).status_code == 304
    crm.switches.not_modified = 204
    assert call("GET", "Leads?fields=id", headers=headers).status_code == 204
    bad = {"If-Modified-Since": "2026-06-01T08:00:00"}
    assert code(call("GET", "Leads?fields=id", headers=bad)) == (400, "INVALID_DATA")


# COQL


@pytest.mark.parametrize(
    ("query", "wanted", "details"),
    [
        ("select id from Leads", "SYNTAX_ERROR", {"clause": "where"}),
        ("select id from Leads where", "SYNTAX_ERROR", {"near": "<EOF>"}),
        ("select Gone from Leads where id > 0", "INVALID_QUERY", {"column_name": "Gone"}),
        ("select id from Nothing where id > 0", "INVALID_QUERY", {"module": "Nothing"}),
        ("select id from Leads where Gone = 1", "INVALID_QUERY", {"column_name": "Gone", "clause": "where"}),
        ("select id from Leads where Description = 'x'", "INVALID_QUERY", {"column_name": "Description"}),
        ("select id from Leads where Email > 'x'", "INVALID_QUERY", {"operator": ">"}),
        ("select id from Leads where Modified_Time > 'x'", "INVALID_QUERY", {"column_name": "Modified_Time"}),
        (
            "select id from Leads where Modified_Time > '2026-06-01T08:00:00'",
            "INVALID_QUERY",
            {"column_name": "Modified_Time"},
        ),
        ("select id from Leads where id > 0 and id > 1 and id > 2", "SYNTAX_ERROR", {"near": "and"}),
        ("select id from Leads where id > 0 limit 201", "LIMIT_EXCEEDED", {"limit": 200}),
        ("select id from Leads where id > 0 limit 99900, 200", "LIMIT_EXCEEDED", {"limit": 100_000}),
        ("select id from Leads where id > 0 order by id, id", "DUPLICATE_DATA", {"column_name": "id"}),
        (f"select id from Leads where id in ({','.join('1' * 101)})", "LIMIT_EXCEEDED", {"limit": 100}),  # noqa: S608
        ("select id from Leads where id > 0 ;", "SYNTAX_ERROR", {}),
        ("select id from Leads where id > 0 limit 5 limit 5", "SYNTAX_ERROR", {"near": "limit"}),
    ],
    ids=lambda v: v[:60] if isinstance(v, str) else "",
)
def test_queries_that_are_refused(call: Call, query: str, wanted: str, details: dict[str, Any]) -> None:
    response = call("POST", "coql", {"select_query": query})
    assert code(response) == (400, wanted)
    assert details.items() <= response.json()["details"].items()


@pytest.mark.parametrize(
    ("where", "test"),
    [
        ("Email is null", lambda r: r["Email"] is None),
        ("Email is not null", lambda r: r["Email"] is not None),
        ("Lead_Status = 'contacted'", lambda r: r["Lead_Status"] == "Contacted"),
        ("Lead_Status != 'Contacted'", lambda r: r["Lead_Status"] != "Contacted"),
        ("Lead_Status in ('Contacted', 'Junk Lead')", lambda r: r["Lead_Status"] in ("Contacted", "Junk Lead")),
        ("Lead_Status not in ('Contacted')", lambda r: r["Lead_Status"] != "Contacted"),
        ("Email_Opt_Out = 'false'", lambda r: True),
        (
            "((Email is null) or (Lead_Status = 'Contacted' and Company is not null))",
            lambda r: r["Email"] is None or r["Lead_Status"] == "Contacted",
        ),
        ("Owner = '5725767000000411002'", lambda r: True),
        ("Modified_Time >= '2026-05-01T00:00:00-02:00'", lambda r: r["Modified_Time"] >= "2026-05-01T04:00:00+02:00"),
    ],
)
def test_queries_find_what_they_say(
    crm: ZohoSimulator, call: Call, where: str, test: Callable[[dict[str, Any]], bool]
) -> None:
    response = call("POST", "coql", {"select_query": f"select Last_Name from Leads where {where} order by id"})  # noqa: S608
    found = [r["id"] for r in response.json()["data"]]
    assert found == [r["id"] for r in crm.rows("Leads") if test(r) and not r["Converted__s"]]


def test_a_query_tells_of_lookups_their_id_only(crm: ZohoSimulator, call: Call) -> None:
    query = "select Modified_By, Converted_Contact from Leads where Converted__s = true limit 1"
    [row] = call("POST", "coql", {"select_query": query}).json()["data"]
    assert [set(row["Modified_By"]), set(row["Converted_Contact"])] == [{"id"}, {"id"}]


def test_a_query_pages_by_offset(crm: ZohoSimulator, call: Call) -> None:
    text = "select id from Leads where id > 0 order by id limit {}, 10"
    pages = [call("POST", "coql", {"select_query": text.format(start)}).json() for start in (0, 10)]
    ids = [r["id"] for page in pages for r in page["data"]]
    assert ids == [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]][:20]
    assert all(page["info"]["more_records"] for page in pages)


# Fields, channels, credits


def test_a_taken_name_gets_a_digit_and_a_taken_label_is_refused(crm: ZohoSimulator, call: Call) -> None:
    def make(label: str) -> Any:
        body = {"fields": [{"field_label": label, "data_type": "text"}]}
        return call("POST", "settings/fields?module=Leads", body).json()["fields"][0]

    assert make("Tax Code")["code"] == "SUCCESS"
    assert make("tax code")["code"] == "DUPLICATE_DATA"
    assert make("Tax-Code")["code"] == "SUCCESS"
    assert {f.name for f in crm.crm.fields("Leads").values() if f.custom} == {"Tax_Code", "Tax_Code1"}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"channel_expiry": "2026-06-09T08:00:00+00:00"}, "INVALID_DATA"),
        ({"channel_expiry": "2026-05-09T08:00:00+00:00"}, "INVALID_DATA"),
        ({"token": "x" * 51}, "INVALID_DATA"),
        ({"events": ["Leads.rename"]}, "INVALID_DATA"),
        ({"notify_url": ""}, "MANDATORY_NOT_FOUND"),
        ({"channel_id": "mine"}, "INVALID_DATA"),
        ({}, "SUCCESS"),
    ],
    ids=["more than a week", "past", "long token", "event", "no address", "no number", "good"],
)
def test_channels_have_their_rules(call: Call, changes: dict[str, Any], wanted: str) -> None:
    channel = {"channel_id": "1000", "events": ["Leads.all"], "notify_url": "https://x.example", "token": "t"}
    assert call("PUT", "actions/watch", {"watch": [channel]}).json()["watch"][0]["code"] == "NOT_SUBSCRIBED"
    made = call("POST", "actions/watch", {"watch": [channel | changes]})
    assert made.json()["watch"][0]["code"] == wanted
    assert made.status_code == (201 if wanted == "SUCCESS" else 400)


def test_a_channel_lives_an_hour_if_nobody_says_how_long(crm: ZohoSimulator, call: Call) -> None:
    channel = {"channel_id": "1000", "events": ["Leads.create"], "notify_url": "https://x.example"}
    call("POST", "actions/watch", {"watch": [channel]})
    assert call("POST", "actions/watch", {"watch": [channel]}).json()["watch"][0]["code"] == "DUPLICATE_DATA"
    mine = crm.human_create("Leads", Last_Name="R", Company="C")
    crm.human_edit("Leads", mine, First_Name="Ada")
    assert len(crm.notices()) == 1, "edits were not asked for"
    crm.advance(timedelta(minutes=61))
    crm.human_create("Leads", Last_Name="R", Company="C")
    assert crm.notices() == []


def test_a_channel_is_closed(crm: ZohoSimulator, call: Call) -> None:
    channel = {"channel_id": "1000", "events": ["Leads.all"], "notify_url": "https://x.example"}
    call("POST", "actions/watch", {"watch": [channel]})
    response = call("DELETE", "actions/watch?channel_ids=1000,2000")
    assert [r["code"] for r in response.json()["watch"]] == ["SUCCESS", "NOT_SUBSCRIBED"]
    assert call("GET", "actions/watch").status_code == 204


def test_the_credits_left_are_told_when_half_are_used(crm: ZohoSimulator, call: Call) -> None:
    crm.daily_credits = crm.used_credits + 20
    told = [call("GET", "org").headers.get("X-API-CREDITS-REMAINING") for _ in range(21)]
    half = crm.daily_credits // 2
    assert told[0] is None or crm.used_credits >= half
    assert told[-2:] == ["0", "0"]
    assert code(call("GET", "org")) == (429, "TOO_MANY_REQUESTS")


# The people, and what is kept


def test_the_account_holds_a_third_of_the_people_in_any_letter_case(crm: ZohoSimulator) -> None:
    shared = [p for p in population(60, 1) if p.in_crm]
    emails = [str(r["Email"]) for r in crm.rows("Leads")]
    for person in shared:
        assert emails.count(person.email_in_crm()) >= 1
        held = sum(email.lower() == person.email for email in emails)
        assert held == (2 if person.twice else 1)
    contacts = {str(r["Email"]).lower() for r in crm.rows("Contacts")}
    assert contacts == {p.email for p in shared if p.converted}
    assert len(crm.rows("Leads")) == len(shared) + sum(p.twice for p in shared) + 20


def test_the_same_seed_is_the_same_account_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    options = SimulatorOptions(people=30, clock=EPOCH, folder=tmp_path)
    with ZohoSimulator(options) as first:
        first.human_edit("Leads", first.rows("Leads")[0]["id"], First_Name="Kept")
        first.delete_record("Leads", first.rows("Leads")[2]["id"])
        held = {module: first.rows(module) for module in ("Leads", "Contacts", "Accounts")}
        graves = dict(first.table("deleted"))
    with ZohoSimulator(options) as second:
        assert {module: second.rows(module) for module in held} == held
        assert dict(second.table("deleted")) == graves
    with ZohoSimulator(SimulatorOptions(people=30, clock=EPOCH)) as other:
        assert [r["Email"] for r in other.rows("Contacts")] == [r["Email"] for r in held["Contacts"]]


def test_faults_strike_our_calls_and_no_sales_person(crm: ZohoSimulator) -> None:
    crm.faults = [Fault("lock", times=None)]
    mine = crm.human_create("Leads", Last_Name="R", Company="C")
    crm.human_edit("Leads", mine, Company="D")
    crm.human_tag("Leads", mine, "Hand")
    assert next(r["Company"] for r in crm.rows("Leads") if r["id"] == mine) == "D"
