"""The simulator against the vendor sheet: §1 for the API, §7 for the checklist. Asked over HTTP, without our client."""

from __future__ import annotations

import warnings
from collections import Counter
from datetime import timedelta

import pytest
import requests

from syncline.testing.population import population, simulated_now
from syncline.testing.simulator import Fault
from syncline_instapage.simulator import TOKEN, Switches
from syncline_instapage.simulator.world import (
    DEMO,
    DRAFT,
    MARKETING,
    NEWSLETTER,
    PARTNER,
    PARTNERS,
    WEBINAR,
    WHITEPAPER,
)

NOW = int(simulated_now().timestamp())
SUBMISSIONS = f"/workspaces/{MARKETING}/submissions"


@pytest.fixture
def call(simulator):
    def send(method, path, *, token=TOKEN, **more):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, f"{simulator.url}/v1{path}", headers=headers, timeout=10, **more)

    return send


def query(**more):
    return {"pages": [DEMO, NEWSLETTER], "timeframe": {"start": NOW - 90 * 86400, "end": NOW}, **more}


# Who may ask


@pytest.mark.parametrize("token", [None, "", "wrong", f"{TOKEN}x"])
def test_a_bearer_token_is_asked_for(call, token):
    answer = call("GET", "/workspaces", token=token)
    assert answer.status_code == 401
    assert set(answer.json()) == {"title", "details", "meta"}


def test_basic_authentication_is_none(simulator):
    assert requests.get(f"{simulator.url}/v1/workspaces", auth=("x", TOKEN), timeout=10).status_code == 401


def test_a_revoked_token_is_refused(simulator, call):
    simulator.revoked = True
    assert call("GET", "/workspaces").status_code == 401


def test_a_workspace_without_access_is_forbidden_and_one_that_is_none_is_not_found(simulator, call):
    simulator.forbidden.add(PARTNERS)
    assert call("GET", f"/workspaces/{PARTNERS}/pages").status_code == 403
    gone = call("GET", "/workspaces/99/pages")
    assert (gone.status_code, gone.json()["meta"]["requestedWorkspaceId"]) == (404, 99)


# Listings


def test_listings_have_an_envelope_and_pages(simulator, call):
    simulator.per_page = 4
    first = call("GET", f"/workspaces/{MARKETING}/pages").json()
    assert first["meta"]["pagination"] == {
        "currentPage": 1,
        "perPage": 4,
        "totalItemsCount": 6,
        "totalPagesCount": 2,
        "nextPage": 2,
        "previousPage": None,
    }
    last = call("GET", f"/workspaces/{MARKETING}/pages", params={"page": 2}).json()
    assert (len(first["data"]), len(last["data"])) == (4, 2)
    assert last["meta"]["pagination"]["nextPage"] is None


@pytest.mark.parametrize("parameters", [{"page": "0"}, {"page": "x"}, {"isDeleted": "yes"}, {"updatedAfter": "now"}])
def test_a_parameter_that_is_none_is_refused(call, parameters):
    assert call("GET", f"/workspaces/{MARKETING}/pages", params=parameters).status_code == 400


@pytest.mark.parametrize(
    ("parameters", "pages"),
    [
        ({"isDeleted": "true"}, {WEBINAR}),
        ({"publishStatus": "unpublished"}, {DRAFT}),
        ({"publishMethod": "customDomain", "createdBefore": NOW - 199 * 86400 - 1}, {NEWSLETTER}),
        ({"updatedAfter": NOW}, set()),
    ],
)
def test_pages_can_be_filtered(call, parameters, pages):
    found = call("GET", f"/workspaces/{MARKETING}/pages", params=parameters).json()["data"]
    assert {page["id"] for page in found} == pages


def test_an_unpublished_page_has_no_address(call):
    found = {p["id"]: p["url"] for p in call("GET", f"/workspaces/{MARKETING}/pages").json()["data"]}
    assert found[DRAFT] is None
    assert found[DEMO] == "https://go.acme.example/demo"


def test_a_wrong_verb_is_refused(call):
    assert call("PUT", "/workspaces").status_code == 405
    assert call("GET", SUBMISSIONS).status_code == 405
    assert call("GET", "/nonsense").status_code == 404


# Submissions


def test_submissions_follow_a_token_a_hundred_at_a_time(simulate):
    simulator = simulate(people=800)
    seen, token, sizes = Counter(), None, []
    while True:
        answer = requests.post(
            f"{simulator.url}/v1{SUBMISSIONS}",
            json=query(nextPageToken=token),
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=10,
        ).json()
        seen.update(row["id"] for row in answer["data"])
        sizes.append(len(answer["data"]))
        assert answer["meta"]["limit"] == 100
        token = answer["meta"]["nextPageToken"]
        if token is None:
            break
    assert set(seen.values()) == {1}
    assert set(seen) == {s["id"] for s in simulator.submissions.values() if s["page"] in (DEMO, NEWSLETTER)}
    assert set(sizes[:-1]) == {100}
    assert len(sizes) > 2


@pytest.mark.parametrize(
    "change",
    [
        {"pages": list(range(101))},
        {"pages": ["21940002"]},
        {"pages": None},
        {"timeframe": None},
        {"timeframe": {"start": "2026-05-01", "end": NOW}},
        {"timeframe": {"start": NOW, "end": NOW - 1}},
        {"nextPageToken": "mine"},
        {"nextPageToken": 7},
    ],
    ids=str,
)
def test_a_query_that_does_not_fit_is_refused(call, change):
    assert call("POST", SUBMISSIONS, json=query(**change)).status_code == 400


def test_a_token_of_another_query_is_refused(simulate):
    simulator = simulate(people=800)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{simulator.url}/v1{SUBMISSIONS}"
    token = requests.post(url, json=query(), headers=headers, timeout=10).json()["meta"]["nextPageToken"]
    other = {**query(nextPageToken=token), "pages": [NEWSLETTER]}
    assert requests.post(url, json=other, headers=headers, timeout=10).status_code == 400


def test_only_json_is_understood(call):
    assert call("POST", SUBMISSIONS, data={"pages": DEMO}).status_code == 400
    assert call("POST", SUBMISSIONS, json=[DEMO]).status_code == 400


def test_pages_of_another_workspace_are_not_found(call):
    answer = call("POST", SUBMISSIONS, json=query(pages=[DEMO, PARTNER]))
    assert (answer.status_code, answer.json()["meta"]["requestedPageId"]) == (404, PARTNER)


@pytest.mark.parametrize(("exclusive", "found"), [(False, 1), (True, 0)])
def test_whether_the_ends_of_a_time_belong_to_it_is_a_switch(simulate, exclusive, found):
    simulator = simulate(switches=Switches(exclusive_timeframe=exclusive))
    simulator.submit(DEMO, {"Email": "a@x.example"}, simulated_now() + timedelta(hours=1))
    body = {"pages": [DEMO], "timeframe": {"start": NOW + 3600, "end": NOW + 3600}}
    answer = requests.post(
        f"{simulator.url}/v1{SUBMISSIONS}", json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
    )
    assert len(answer.json()["data"]) == found


def test_deleting_submissions_answers_204_and_is_for_good(simulator, call):
    ids = [s["id"] for s in simulator.submissions.values() if s["page"] == DEMO][:2]
    assert call("DELETE", SUBMISSIONS, json={"submissions": ids}).status_code == 204
    assert not set(ids) & set(simulator.submissions)
    assert call("DELETE", SUBMISSIONS, json={"submissions": ids}).status_code == 404
    assert simulator.counters()["write_calls"] == 1


@pytest.mark.parametrize("ids", [[], [7], "a", ["x"] * 101], ids=["none", "a number", "text", "too many"])
def test_one_to_a_hundred_ids_are_deleted(call, ids):
    assert call("DELETE", SUBMISSIONS, json={"submissions": ids}).status_code == 400


def test_single_submissions_can_be_made_to_refuse(simulator, call):
    (first, second, *_) = [s["id"] for s in simulator.submissions.values() if s["page"] == DEMO]
    simulator.faults = [Fault("refuse", key=second)]
    assert call("DELETE", SUBMISSIONS, json={"submissions": [first, second]}).status_code == 403
    assert {first, second} <= set(simulator.submissions)


# The seeded people


def test_the_same_seed_makes_the_same_account(simulate):
    assert dict(simulate().submissions) == dict(simulate().submissions)


def test_everything_seeded_lies_in_the_ninety_days_before_the_present(simulate):
    moments = [s["at"] for s in simulate(people=1000).submissions.values()]
    assert min(moments) >= NOW - 90 * 86400
    assert max(moments) < NOW


def test_the_warmer_people_are_the_more_forms_they_submit(simulate):
    simulator = simulate(people=1000)
    personas = {person.email: person.persona for person in population(1000, 3)}
    forms = Counter(personas[_address(s).lower()] for s in simulator.submissions.values())
    people = Counter(personas.values())
    rate = {persona: forms[persona] / people[persona] for persona in people}
    assert rate["hot"] > 3 > rate["warm"] > 1 > rate["gone"] > rate["cold"] > 0


def test_hot_people_ask_for_a_demo_in_the_last_days(simulate):
    simulator = simulate(people=400)
    hot = {person.email for person in population(400, 3) if person.persona == "hot"}
    asked = {
        _address(s).lower() for s in simulator.submissions.values() if s["page"] == DEMO and s["at"] > NOW - 3 * 86400
    }
    read = {_address(s).lower() for s in simulator.submissions.values() if s["page"] == WHITEPAPER}
    assert hot == asked
    assert hot < read


def test_some_click_twice(simulate):
    twice = Counter((s["page"], s["at"] // 60, str(s["answers"])) for s in simulate(people=400).submissions.values())
    assert 2 in twice.values()


def test_settings_are_accepted_by_the_connector(simulator, connect):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert connect(simulator).config.workspaces == (MARKETING, PARTNERS)


def _address(submission):
    return next(v for v in submission["answers"].values() if "@" in v)
