"""The simulator is as strict as the vendor sheet says (§3 to §10 and §13)."""

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
from syncline_hubspot import HubspotSink
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, SERVICE_KEY

Call = Callable[..., requests.Response]
OBJECTS = {"v3": "/crm/v3/objects", "2026-03": "/crm/objects/2026-03", "2026-09": "/crm/objects/2026-09"}


@pytest.fixture
def call(portal: HubspotSimulator, sink: HubspotSink) -> Iterator[Call]:
    with requests.Session() as session:
        session.trust_env = False

        def send(method: str, path: str, body: Any = None, token: str = SERVICE_KEY, **arguments: Any) -> Any:
            headers = {"Authorization": f"Bearer {token}"}
            if body is not None:
                arguments["json"] = body
            return session.request(method, portal.url + path, headers=headers, **arguments)

        yield send


def contact(**properties: str) -> dict[str, Any]:
    return {"properties": {"lastname": "X", **properties}}


@pytest.mark.parametrize("family", OBJECTS)
def test_both_families_answer_alike(call: Call, family: str) -> None:
    created = call("POST", f"{OBJECTS[family]}/contacts", contact(email="a@b.example"))
    assert created.status_code == 201
    id = created.json()["id"]
    assert call("GET", f"{OBJECTS['v3']}/contacts/{id}").json()["properties"]["email"] == "a@b.example"
    by_mail = call("GET", f"{OBJECTS[family]}/contact/A@B.example?idProperty=email&properties=phone,city").json()
    assert (by_mail["id"], by_mail["properties"]["phone"]) == (id, None)
    assert call("PATCH", f"{OBJECTS[family]}/0-1/{id}", {"properties": {"phone": "1"}}).status_code == 200
    assert call("DELETE", f"{OBJECTS[family]}/contacts/{id}").status_code == 204
    assert call("GET", f"{OBJECTS[family]}/contacts/{id}").status_code == 404
    assert call("GET", "/crm/objects/2025-09/contacts").status_code == 404


def test_a_duplicate_is_a_conflict_in_the_recorded_words(call: Call) -> None:
    id = call("POST", "/crm/v3/objects/contacts", contact(email="a@b.example")).json()["id"]
    again = call("POST", "/crm/v3/objects/contacts", contact(email="A@b.example"))
    body = again.json()
    assert (again.status_code, body["message"], body["category"]) == (
        409,
        f"Contact already exists. Existing ID: {id}",
        "CONFLICT",
    )


def batch(*inputs: dict[str, Any], traced: bool = True) -> dict[str, Any]:
    return {"inputs": [{**i, **({"objectWriteTraceId": str(n)} if traced else {})} for n, i in enumerate(inputs)]}


def test_without_trace_ids_one_bad_input_undoes_all(call: Call, portal: HubspotSimulator) -> None:
    before = portal.rows("contacts")
    good, bad = contact(email="good@x.example"), contact(foo="bar")
    refused = call("POST", "/crm/v3/objects/contacts/batch/create", batch(good, bad, traced=False))
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "PROPERTY_DOESNT_EXIST")
    assert refused.json()["message"].startswith("Property values were not valid: [{")
    assert portal.rows("contacts") == before
    assert call("POST", "/crm/v3/objects/contacts", good).status_code == 201  # nothing of it is left behind


def test_with_trace_ids_each_input_has_its_own_fate(call: Call) -> None:
    answer = call("POST", "/crm/v3/objects/contacts/batch/create", batch(contact(), contact(foo="bar")))
    body = answer.json()
    assert (answer.status_code, body["status"], body["numErrors"]) == (207, "COMPLETE", 1)
    assert body["errors"][0]["context"] == {"objectWriteTraceId": ["1"]}
    assert [r["objectWriteTraceId"] for r in body["results"]] == ["0"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": []}, "must not be empty"),
        ({"inputs": [contact()] * 101}, "maximum batch size is 100"),
        ({"inputs": [{**contact(), "objectWriteTraceId": "x"}] * 2}, "must be unique"),
        ({}, "must not be empty"),
    ],
    ids=["empty", "too many", "one trace id twice", "nothing"],
)
def test_bad_batches_are_refused_whole(call: Call, body: dict[str, Any], words: str) -> None:
    answer = call("POST", "/crm/v3/objects/contacts/batch/create", body)
    assert answer.status_code == 400
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([{"id": "k", "idProperty": "phone", **contact()}], "phone is not a unique property"),
        ([{"id": "k", "idProperty": "syncline_key", **contact()}] * 2, "Duplicate IDs"),
        ([{"id": "k", **contact()}], "required fields were not set: [idProperty]"),
        (
            [{"id": "k", "idProperty": "syncline_key", **contact()}, {"id": "e", "idProperty": "email", **contact()}],
            "the same idProperty",
        ),
    ],
    ids=["not unique", "twice", "no idProperty", "two idProperties"],
)
def test_bad_upserts_are_refused_whole(call: Call, inputs: list[dict[str, Any]], words: str) -> None:
    answer = call("POST", "/crm/v3/objects/contacts/batch/upsert", {"inputs": inputs})
    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_partial_upserts_by_address_are_not_supported(call: Call, portal: HubspotSimulator) -> None:
    inputs = [
        {"id": f"{n}@x.example", "idProperty": "email", "properties": p}
        for n, p in (("a", {"lastname": "A"}), ("b", {"foo": "x"}))
    ]
    assert call("POST", "/crm/v3/objects/contacts/batch/upsert", batch(*inputs)).status_code == 400
    assert not any(r.get("email") == "a@x.example" for r in portal.rows("contacts"))


# Search


def search(call: Call, family: str = "v3", **body: Any) -> requests.Response:
    return call("POST", f"{OBJECTS[family]}/contacts/search", body)


def test_searches_are_paged_and_end_at_ten_thousand(call: Call, portal: HubspotSimulator) -> None:
    total = len(portal.rows("contacts"))
    first = search(call, limit=20).json()
    assert (first["total"], len(first["results"]), first["paging"]["next"]["after"]) == (total, 20, "20")
    last = search(call, limit=200, after=str(total - 1)).json()
    assert (len(last["results"]), "paging" in last) == (1, False)
    assert search(call, limit=100, after="9900").status_code == 200
    beyond = search(call, limit=100, after="9901")
    assert (beyond.status_code, "10000" in beyond.json()["message"]) == (400, True)


GROUP = {"filters": [{"propertyName": "email", "operator": "HAS_PROPERTY"}]}


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": 0},
        {"after": "x"},
        {"filterGroups": [GROUP] * 6},
        {"filterGroups": [{"filters": GROUP["filters"] * 7}]},
        {"filterGroups": [{"filters": GROUP["filters"] * 5}] * 4},
        {"sorts": ["email", "lastname"]},
        {"sorts": ["nothing"]},
        {"properties": ["x" * 3000]},
        {"filterGroups": [{"filters": [{"propertyName": "foo", "operator": "EQ", "value": "x"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "LIKE", "value": "x"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "IN", "values": ["Upper"]}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "lastmodifieddate", "operator": "GT", "value": "x"}]}]},
    ],
    ids=lambda b: "-".join(b) if isinstance(b, dict) else "",
)
def test_searches_have_limits(call: Call, body: dict[str, Any]) -> None:
    assert search(call, **body).status_code == 400


@pytest.mark.parametrize(
    ("operator", "more", "found"),
    [
        ("EQ", {"value": "b"}, "b"),
        ("NEQ", {"value": "b"}, "acd"),
        ("LT", {"value": "c"}, "ab"),
        ("GTE", {"value": "c"}, "cd"),
        ("BETWEEN", {"value": "b", "highValue": "c"}, "bc"),
        ("IN", {"values": ["a", "d"]}, "ad"),
        ("NOT_IN", {"values": ["a", "d"]}, "bc"),
        ("CONTAINS_TOKEN", {"value": "*A*"}, "a"),
        ("HAS_PROPERTY", {}, "abcd"),
        ("NOT_HAS_PROPERTY", {}, ""),
    ],
)
def test_operators(call: Call, portal: HubspotSimulator, operator: str, more: dict[str, Any], found: str) -> None:
    for word in "abcd":
        portal.human_create("contacts", lastname=word, city="operators")
    here = {"propertyName": "city", "operator": "EQ", "value": "OPERATORS"}
    filters = [here, {"propertyName": "lastname", "operator": operator, **more}]
    body = {"filterGroups": [{"filters": filters}], "sorts": ["lastname"], "properties": ["lastname"]}
    results = search(call, **body).json()["results"]
    assert "".join(r["properties"]["lastname"] for r in results) == found


def test_the_index_is_late(call: Call, portal: HubspotSimulator) -> None:
    def cities(city: str) -> int:
        where = {"propertyName": "city", "operator": "EQ", "value": city}
        return int(search(call, filterGroups=[{"filters": [where]}]).json()["total"])

    id = portal.human_create("contacts", lastname="L", city="before")
    portal.search.lag = timedelta(minutes=1)
    portal.human_edit("contacts", id, city="after")
    assert (cities("before"), cities("after")) == (1, 0)
    portal.advance(timedelta(minutes=1))
    assert (cities("before"), cities("after")) == (0, 1)
    portal.delete_record("contacts", id)
    assert cities("after") == 1
    portal.advance(timedelta(minutes=1))
    assert cities("after") == 0


# Limits and log-in


def test_headers_tell_the_limits_but_not_of_searches(call: Call, portal: HubspotSimulator) -> None:
    told = call("GET", "/crm/v3/objects/contacts").headers
    assert (told["X-HubSpot-RateLimit-Max"], told["X-HubSpot-RateLimit-Interval-Milliseconds"]) == ("190", "10000")
    assert "X-HubSpot-RateLimit-Daily" in told
    assert not [n for n in search(call).headers if "RateLimit" in n]
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    token = requests.post(
        f"{portal.url}/oauth/v3/token", data={**form, "refresh_token": REFRESH_TOKEN}, timeout=10
    ).json()
    by_app = call("GET", "/crm/v3/objects/contacts", token=token["access_token"]).headers
    assert "X-HubSpot-RateLimit-Max" in by_app
    assert "X-HubSpot-RateLimit-Daily" not in by_app


def test_too_many_and_over_quota_name_their_policy(call: Call, portal: HubspotSimulator) -> None:
    portal.switches.limits, portal.switches.per_ten_seconds = True, 2
    answers = [call("GET", "/crm/v3/objects/contacts") for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert (answers[2].json()["policyName"], "Retry-After" in answers[2].headers) == ("TEN_SECONDLY_ROLLING", False)
    portal.advance(timedelta(seconds=10))
    assert call("GET", "/crm/v3/objects/contacts").status_code == 200
    portal.switches.daily = 0
    assert call("GET", "/crm/v3/objects/contacts").json()["policyName"] == "DAILY"


def test_parameters_of_a_log_in_travel_in_the_body_as_a_form(portal: HubspotSimulator) -> None:
    form = {
        "grant_type": "refresh_token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
    }
    address = f"{portal.url}/oauth/2026-03/token"
    assert requests.post(address, data=form, timeout=10).status_code == 200
    assert requests.post(address, params=form, timeout=10).status_code == 400
    assert requests.post(address, json=form, timeout=10).status_code == 415
    refused = requests.post(address, data={**form, "refresh_token": "x"}, timeout=10).json()
    assert (refused["status"], refused["error"]) == ("BAD_REFRESH_TOKEN", "invalid_grant")


def test_bodies_are_json(call: Call) -> None:
    for path in ("/crm/v3/objects/contacts", "/crm/v3/objects/contacts/search"):
        assert call("POST", path, data="x").status_code == 415
        assert call("POST", path, data="{").status_code == 415
    assert call("GET", "/nowhere").headers["Content-Type"].startswith("text/html")


# Properties and lists


def test_options_are_replaced_whole_and_uniqueness_stays(call: Call) -> None:
    option = {"label": "A", "value": "a", "displayOrder": 0, "hidden": False}
    made = {"name": "choice", "label": "C", "type": "enumeration", "fieldType": "select", "groupName": "syncline"}
    assert call("POST", "/crm/v3/properties/contacts", {**made, "options": [option]}).status_code == 201
    assert call("GET", "/crm/v3/properties/contacts/choice").status_code == 404  # not yet
    assert call("GET", "/crm/v3/properties/contacts/choice").status_code == 200
    other = {**option, "value": "b"}
    patched = call("PATCH", "/crm/v3/properties/contacts/choice", {"options": [other]}).json()
    assert [o["value"] for o in patched["options"]] == ["b"]
    assert call("PATCH", "/crm/v3/properties/contacts/choice", {"hasUniqueValue": True}).status_code == 400
    again = call("POST", "/crm/v3/properties/contacts", {**made, "options": [option]})
    assert (again.status_code, again.json()["category"]) == (409, "OBJECT_ALREADY_EXISTS")


def test_there_are_ten_unique_properties_at_most(call: Call) -> None:
    made = {"label": "U", "type": "string", "fieldType": "text", "groupName": "syncline", "hasUniqueValue": True}
    statuses = []
    for number in range(11):
        statuses.append(call("POST", "/crm/v3/properties/contacts", {**made, "name": f"u{number}"}).status_code)
        call("GET", "/crm/v3/properties/contacts")
    assert statuses == [201] * 9 + [400] * 2  # one of the ten is our key


def test_names_of_lists_are_unique_and_members_are_paged(call: Call, portal: HubspotSimulator) -> None:
    body = {"name": "L", "objectTypeId": "0-1", "processingType": "MANUAL"}
    id = call("POST", "/crm/lists/2026-09", body).json()["list"]["listId"]
    assert call("POST", "/crm/lists/2026-09", body).status_code == 400
    people = [r["hs_object_id"] for r in portal.rows("contacts")][:5]
    added = call("PUT", f"/crm/v3/lists/{id}/memberships/add", [*people, "999999"]).json()
    assert added == {"recordsIdsAdded": people, "recordIdsMissing": ["999999"]}
    assert call("PUT", f"/crm/v3/lists/{id}/memberships/add", people).json() == {}
    assert call("PUT", f"/crm/v3/lists/{id}/memberships/add", {"ids": people}).status_code == 400
    page = call("GET", f"/crm/v3/lists/{id}/memberships?limit=3").json()
    rest = call("GET", f"/crm/v3/lists/{id}/memberships?after={page['paging']['next']['after']}").json()
    assert [m["recordId"] for m in (*page["results"], *rest["results"])] == people
    assert call("POST", "/crm/v3/lists/search", {"query": "l"}).json()["total"] == 2
    assert call("DELETE", f"/crm/v3/lists/{id}").status_code == 204


def test_associations_by_default_need_no_type(call: Call, portal: HubspotSimulator) -> None:
    contact = portal.rows("contacts")[0]["hs_object_id"]
    task = call("POST", "/crm/v3/objects/tasks", {"properties": {"hs_timestamp": "1763712000000"}}).json()["id"]
    for path in ("/crm/v4/objects/tasks", "/crm/objects/2026-09/tasks"):
        assert call("PUT", f"{path}/{task}/associations/default/contacts/{contact}").status_code == 200
    read = call("POST", "/crm/v4/associations/tasks/contacts/batch/read", {"inputs": [{"id": task}]}).json()
    assert [t["toObjectId"] for t in read["results"][0]["to"]] == [int(contact)] * 2


# Keeping


def test_an_account_outlives_its_process(tmp_path: Path) -> None:
    options = SimulatorOptions(people=30, folder=tmp_path, clock="2026-06-01T08:00:00+00:00")
    first = HubspotSimulator(options)
    with first:
        id = first.human_create("contacts", lastname="Kept", email="kept@x.example")
        first.portal.define(
            "contacts",
            {"name": "p", "label": "P", "type": "string", "fieldType": "text", "groupName": "contactinformation"},
            0,
        )
        rows, definitions = first.rows("contacts"), first.portal.shown("contacts")
        merged = first.merge("contacts", rows[0]["hs_object_id"], rows[1]["hs_object_id"])
        first._journal.commit()
    with HubspotSimulator(options) as second:
        assert isinstance(second, HubspotSimulator)
        assert second.portal.find("contacts", "email", "kept@x.example") == id
        assert (second.portal.row("contacts", rows[0]["hs_object_id"]) or {})["id"] == merged
        assert json.dumps(second.portal.shown("contacts")) == json.dumps(definitions)
        assert second.human_create("contacts", lastname="Next") not in {r["hs_object_id"] for r in rows}


def test_a_third_of_the_people_are_there_before_we_come(portal: HubspotSimulator) -> None:
    rows = portal.rows("contacts")
    by_address = {a: r for r in rows for a in (r.get("email"), *str(r["hs_additional_emails"]).split(";")) if a}
    for person in population(60, 1):
        found = by_address.get(person.email)
        assert (found is not None) is person.in_crm
        if found is not None:
            twins = [r for r in rows if (r["firstname"], r["lastname"]) == (person.first_name, person.last_name)]
            assert (len(twins) > 1) or not person.twice
            assert (found["lifecyclestage"] == "customer") is person.converted
            assert bool(found.get("hs_merged_object_ids")) is person.converted
    assert sum(r["firstname"] == "Privato" for r in rows) == 20
    assert not portal.notices.all()
