"""The simulator held against what the vendor published: JSON schemas, RAML (v0.4), and the sheet's checklist (§7).

The specifications are not in the repository; without them those tests skip.
"""

from __future__ import annotations

import json
import random
import re
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import jsonschema
import pytest
import requests
import yaml
from werkzeug.test import Client

from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH, population, simulated_now
from syncline.testing.simulator import Fault
from syncline_unbounce.client import ACCEPT
from syncline_unbounce.payloads import Lead, PageEntity
from syncline_unbounce.simulator import Switches, UnbounceSimulator

SPECS = Path(__file__).parents[4] / "shared" / "specs" / "unbounce"
needs_specs = pytest.mark.skipif(not SPECS.is_dir(), reason="the vendor's schemas (shared/specs/unbounce) are not here")
NOW = simulated_now()


def _call(simulator, path, *, method="GET", auth=None, **more):
    auth = (simulator.api_key, "") if auth is None else auth
    return requests.request(method, simulator.url + path, auth=auth or None, timeout=10, **more)


def _token(simulator):
    form = {
        "grant_type": "refresh_token",
        **{name: simulator.oauth_settings["login"][name] for name in ("client_id", "client_secret", "refresh_token")},
    }
    answer = requests.post(f"{simulator.url}/oauth/token", data=form, timeout=10)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def _page(simulator, name="Newsletter"):
    return next(id_ for id_, row in simulator.world.pages.items() if row.name == name)


def _leads(simulator, **params):
    return _call(simulator, f"/pages/{_page(simulator)}/leads", params=params).json()["leads"]


def _valid(body, name):
    schema = json.loads((SPECS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(body)


# The vendor's schemas


@needs_specs
@pytest.mark.parametrize("name", ["pages-leads_get", "pages-page_get"])
def test_the_vendors_own_examples_are_understood(name):
    example = json.loads((SPECS / f"{name}.example.json").read_text(encoding="utf-8"))
    if name == "pages-page_get":
        _valid(example, "page")
        assert PageEntity.model_validate(example).form_submits == 2
    else:
        _valid(example, "leads")
        assert [Lead.model_validate(row).id[-2:] for row in example["leads"]] == ["75", "76"]


@needs_specs
def test_leads_follow_the_vendors_schema(simulator):
    for page in simulator.world.pages:
        _valid(_call(simulator, f"/pages/{page}/leads", params={"limit": "1000"}).json(), "leads")
    lead = _leads(simulator)[0]
    for path in (f"/leads/{lead['id']}", f"/pages/{lead['page_id']}/leads/{lead['id']}"):
        body = _call(simulator, path).json()
        _valid(body, "lead")
        assert body == lead


@needs_specs
def test_pages_follow_the_vendors_schema(simulator):
    listed = _call(simulator, "/pages", params={"with_stats": "true"}).json()["pages"]
    for page in listed:
        _valid(page, "page")
        assert page == _call(simulator, f"/pages/{page['id']}").json()
    assert "tests" not in _call(simulator, "/pages").json()["pages"][0]


@needs_specs
def test_answers_have_what_the_vendors_examples_have(simulator):
    """Beyond the schema: the same keys, all the way down where they are always there."""
    example = json.loads((SPECS / "pages-leads_get.example.json").read_text(encoding="utf-8"))
    ours = _call(simulator, f"/pages/{_page(simulator)}/leads").json()
    assert set(ours) == set(example)
    assert set(ours["metadata"]) == set(example["metadata"])
    assert set(ours["leads"][0]) == set(example["leads"][0])
    assert set(ours["leads"][0]["metadata"]["related"]) == set(example["leads"][0]["metadata"]["related"])
    page = json.loads((SPECS / "pages-page_get.example.json").read_text(encoding="utf-8"))
    mine = _call(simulator, f"/pages/{_page(simulator)}").json()
    assert set(mine) == set(page)
    assert set(mine["tests"]["current"]) == set(page["tests"]["current"])


@needs_specs
def test_a_deletion_request_follows_the_vendors_schema_through_its_life(simulator):
    headers = _token(simulator)
    leads = [lead["id"] for lead in _leads(simulator)[:2]]
    path = f"/pages/{_page(simulator)}/lead_deletion_request"
    made = requests.post(simulator.url + path, json={"lead_ids": leads}, headers=headers, timeout=10)
    assert made.status_code == 201
    assert made.headers["Location"].endswith(f"{path}/{made.json()['id']}")
    _valid(made.json(), "lead_deletion_request")
    assert (made.json()["status"], made.json()["completed_at"]) == ("pending", None)
    assert _call(simulator, f"/leads/{leads[0]}").status_code == 200
    simulator.advance(timedelta(minutes=1))
    done = requests.get(f"{simulator.url}{path}/{made.json()['id']}", headers=headers, timeout=10).json()
    _valid(done, "lead_deletion_request")
    assert (done["status"], done["total_leads_deleted"]) == ("completed", 2)
    assert _call(simulator, f"/leads/{leads[0]}").status_code == 404
    nothing = requests.post(simulator.url + path, json={"lead_ids": leads}, headers=headers, timeout=10).json()
    simulator.advance(timedelta(minutes=1))
    failed = requests.get(f"{simulator.url}{path}/{nothing['id']}", headers=headers, timeout=10).json()
    assert (failed["status"], failed["total_leads_deleted"]) == ("failed", 0)


@needs_specs
def test_a_new_lead_is_written_as_the_vendors_schema_wants_it(simulator):
    form = {"variant_id": "a", "submitter_ip": "127.0.0.1", "form_data": {"email": "jqdoe@example.com"}}
    body = {"conversion": True, "visitor_id": "127.0.0.123543254378923893", "form_submission": form}
    _valid(body, "new_lead")
    path = f"/pages/{_page(simulator)}/leads"
    made = _call(simulator, path, method="POST", json=body)
    assert made.status_code == 201
    _valid(made.json(), "lead")
    assert made.json()["extra_data"] == {"created_by": "api"}
    assert made.json()["form_data"] == {"email": ["jqdoe@example.com"]}
    twice = _call(simulator, path, method="POST", json=body)
    assert twice.json()["id"] != made.json()["id"]  # no idempotency
    assert simulator.counters()["write_calls"] == 2
    assert _call(simulator, path, method="POST", headers={"Content-Type": ACCEPT}).status_code == 422
    assert _call(simulator, path, method="POST", json={"form_submission": {}}).status_code == 422


def test_the_fault_language_reaches_single_leads(simulator):
    form = {"variant_id": "a", "submitter_ip": "127.0.0.1", "form_data": {"email": "jqdoe@example.com"}}
    simulator.faults = [Fault("refuse", key="jqdoe@*"), Fault("lock", key="jqdoe@*")]
    path = f"/pages/{_page(simulator)}/leads"
    statuses = [_call(simulator, path, method="POST", json={"form_submission": form}).status_code for _ in range(3)]
    assert statuses == [422, 409, 201]


# The vendor's RAML


class _Raml(yaml.SafeLoader):
    """YAML with `!include`, of which the file names are enough."""


_Raml.add_constructor("!include", lambda loader, node: loader.construct_scalar(node))
_VERBS = ("get", "post", "delete", "put")


def _operations(node, path=""):
    for key, below in node.items():
        if key in _VERBS:
            yield key.upper(), path or "/", below or {}
        elif key.startswith("/"):
            yield from _operations(below or {}, path + key if key != "/" else path)


def _raml():
    return yaml.load((SPECS / "unbounce-api-v0.4.trimmed.raml").read_text(encoding="utf-8"), Loader=_Raml)  # noqa: S506


@needs_specs
def test_every_operation_of_the_vendors_contract_is_simulated(simulator):
    """404 with our error body, or 400, 403, 415, 422, is an answer of a route; 405 and 'no such route' are not."""
    simulator.advance(timedelta(hours=1))
    lead = _leads(simulator)[0]["id"]
    known = {
        "account_id": "4210001", "sub_account_id": "1552433", "domain_id": "go.example.com",
        "page_id": _page(simulator), "lead_id": lead,
    }  # fmt: skip
    operations = list(_operations(_raml()))
    ours = {(verb, re.sub(r"<\w+>", "{}", rule)) for verb, rule, _ in simulator.routes}
    theirs = {(verb, re.sub(r"\{\w+\}", "{}", path)) for verb, path, _ in operations}
    assert len(theirs) == 24
    assert theirs <= ours
    assert ours - theirs == {("GET", "/oauth/authorize"), ("POST", "/oauth/token")}
    for verb, path, _ in operations:
        if verb == "GET" and "page_group_id" not in path and "deletion" not in path and "users" not in path:
            answer = _call(simulator, path.format(**known))
            assert answer.status_code == 200, path
            assert answer.json()["metadata"]["location"].startswith("https://api.unbounce.com/")


@needs_specs
def test_parameters_are_those_of_the_vendors_contract(simulator):
    traits = {name: trait for one in _raml()["traits"] for name, trait in one.items()}
    paged = traits["paged"]["queryParameters"]
    assert (paged["limit"]["default"], paged["limit"]["maximum"], paged["offset"]["default"]) == (50, 1000, 0)
    for name, parameter in {**paged, **traits["sortable_by_creation_date"]["queryParameters"]}.items():
        assert _call(simulator, "/pages", params={name: parameter["example"]}).status_code == 200, name
    for name in ("with_stats", "count", "role"):
        assert _call(simulator, "/pages", params={name: {"role": "author"}.get(name, "true")}).status_code == 200
    assert _call(simulator, f"/pages/{_page(simulator)}/leads", params={"count": "true"}).status_code == 400


@needs_specs
def test_the_client_sends_only_what_the_vendors_contract_has(simulator, connect, pull):
    source = connect(simulator, page_size=7)
    sent = []
    source.context.http.session.hooks["response"].append(lambda response, **_: sent.append(response.request))
    source.check()
    pull(source)
    allowed = {"from", "to", "offset", "limit", "sort_order"}
    paths = {re.sub(r"[0-9a-f-]{36}", "{page_id}", request.path_url.partition("?")[0]) for request in sent}
    assert paths == {"/accounts", "/pages", "/pages/{page_id}/leads"}
    for request in sent:
        query = dict(parse_qsl(request.path_url.partition("?")[2]))
        assert request.headers["Accept"] == ACCEPT
        assert set(query) - allowed <= ({"with_stats"} if "/leads" not in request.path_url else set())
        for name in ("from", "to"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", query.get(name, "2015-12-16T01:03:52.000Z"))


# The sheet's checklist


@pytest.mark.parametrize(
    ("auth", "headers", "status"),
    [
        ((), {}, 401),
        (("nobody", ""), {}, 403),
        (("", "simulated0api0key0of0an0administrator"), {}, 403),
        (("simulated0api0key0of0an0administrator", "x"), {}, 403),
        ((), {"Authorization": "Bearer x"}, 403),
        ((), {"Authorization": "Basic ?"}, 403),
        (None, {"Accept": "application/vnd.unbounce.api.v0.3+json"}, 409),
        (None, {"Accept": "application/json"}, 409),
        (None, {"Accept": ACCEPT}, 200),
        (None, {}, 200),
    ],
    ids=[
        "nothing", "wrong key", "key as password", "with a password", "wrong token", "not base64", "v0.3", "plain JSON",
        "v0.4", "by default",
    ],
)  # fmt: skip
def test_who_comes_in_and_with_which_version(simulator, auth, headers, status):
    answer = _call(simulator, "/pages", auth=auth, headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert set(answer.json()) == {"message", "documentation"}


def test_the_root_needs_no_key(simulator):
    assert _call(simulator, "/", auth=()).status_code == 200


def test_users_are_not_offered_to_api_keys(simulator):
    assert _call(simulator, "/users/self").status_code == 400
    assert requests.get(f"{simulator.url}/users/self", headers=_token(simulator), timeout=10).json()["id"] == "77"


def test_a_token_ends_after_600_seconds_with_403(simulator):
    headers = _token(simulator)
    simulator.advance(timedelta(seconds=599))
    assert requests.get(f"{simulator.url}/pages", headers=headers, timeout=10).status_code == 200
    simulator.advance(timedelta(seconds=1))
    assert requests.get(f"{simulator.url}/pages", headers=headers, timeout=10).status_code == 403


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "1001"}, {"limit": "-1"}, {"limit": "x"}, {"offset": "-1"}, {"from": "yesterday"}, {"page": "2"},
        {"to": "2026-01-01"}, {"from": "2026-01-01T00:00:00 00:00"}, {"sort_order": "up"}, {"count": "true"},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_are_checked(simulator, parameters):
    answer = _call(simulator, f"/pages/{_page(simulator)}/leads", params=parameters)
    assert answer.status_code == 400


def test_fifty_leads_come_by_default_oldest_first(simulate):
    simulator = simulate(people=600)
    rows = _leads(simulator)
    assert len(rows) == 50
    assert [row["created_at"] for row in rows] == sorted(row["created_at"] for row in rows)
    newest = _leads(simulator, sort_order="desc", limit=3)
    assert newest[0]["created_at"] == max(row["created_at"] for row in _leads(simulator, limit="1000"))
    assert _leads(simulator, offset=2, limit=1) == rows[2:3]
    assert _leads(simulator, limit=0) == []


@pytest.mark.parametrize("inclusive", [False, True])
def test_from_and_to_bound_the_creation(simulate, inclusive):
    simulator = simulate(switches=Switches(from_inclusive=inclusive))
    rows = _leads(simulator)
    first, last = rows[2]["created_at"], rows[6]["created_at"]
    found = [row["id"] for row in _leads(simulator, **{"from": first, "to": last})]
    assert found == [row["id"] for row in rows[2 if inclusive else 3 : 6]]


def test_more_than_500_calls_a_minute_are_refused_without_a_header(simulator):
    simulator.rate_clock = lambda: simulator.now().timestamp()
    client, key = Client(simulator), (simulator.api_key, "")
    statuses = [client.get("/accounts", auth=key).status_code for _ in range(501)]
    assert statuses == [200] * 500 + [429]
    answer = _call(simulator, "/accounts")
    assert "Retry-After" not in answer.headers
    assert not [name for name in answer.headers if "limit" in name.lower()]
    simulator.advance(timedelta(seconds=61))
    assert _call(simulator, "/accounts").status_code == 200


def test_a_lead_can_be_read_only_some_time_after_it_was_made(simulator):
    lead = simulator.submit(_page(simulator), {"email": "n@example.com"}, at=simulator.now())
    assert _call(simulator, f"/leads/{lead}").status_code == 404
    simulator.advance(simulator.visibility_delay)
    assert _call(simulator, f"/leads/{lead}").status_code == 200


def test_a_lead_disappears_without_a_trace_but_stays_counted(simulator):
    lead, before = _leads(simulator)[0], _call(simulator, f"/pages/{_page(simulator)}").json()["tests"]
    simulator.vanish(lead["id"])
    assert lead not in _leads(simulator, limit="1000")
    assert _call(simulator, f"/leads/{lead['id']}").status_code == 404
    assert _call(simulator, f"/pages/{_page(simulator)}").json()["tests"] == before


def test_deleting_leads_is_not_for_api_keys(simulator):
    lead = _leads(simulator)[0]
    path = f"/pages/{lead['page_id']}/leads/{lead['id']}"
    assert _call(simulator, path, method="DELETE").status_code == 403
    request = f"/pages/{lead['page_id']}/lead_deletion_request"
    assert _call(simulator, request, method="POST", json={"lead_ids": [lead["id"]]}).status_code == 403
    headers = _token(simulator)
    accepted = requests.delete(simulator.url + path, headers=headers, timeout=10)
    assert (accepted.status_code, "lead_deletion_request" in accepted.headers["Location"]) == (202, True)
    plain = {**headers, "Content-Type": "text/plain"}
    assert requests.post(simulator.url + request, data="x", headers=plain, timeout=10).status_code == 415
    assert requests.post(simulator.url + request, json={"ids": []}, headers=headers, timeout=10).status_code == 422
    simulator.advance(timedelta(minutes=1))
    assert _call(simulator, f"/leads/{lead['id']}").status_code == 404


def test_a_webhook_has_no_lead_id_and_the_time_to_the_minute(simulator):
    lead = _leads(simulator)[0]
    call = simulator.webhook(lead["id"])
    assert lead["id"] not in call.body.decode()
    inner = json.loads(dict(parse_qsl(call.body.decode()))["data.json"])
    assert all(isinstance(value, list) for value in inner.values())
    assert re.fullmatch(r"\d{1,2}:\d\d [AP]M UTC", inner["time_submitted"][0])
    assert inner["date_submitted"] == [lead["created_at"][:10]]
    assert inner["page_uuid"] == [lead["page_id"]]


def test_deliveries_come_twice_and_in_no_order(simulator):
    leads = [lead["id"] for lead in _leads(simulator, limit="20")]
    calls = simulator.deliveries(leads)
    times = [call.received_at for call in calls]
    assert len(calls) > len(leads) == len({call.body for call in calls})
    assert times != sorted(times)
    assert calls == simulator.deliveries(leads)


def test_a_lead_nobody_has_makes_no_webhook(simulator):
    with pytest.raises(KeyError):
        simulator.webhook("nobody's")


# Who is in it


def test_leads_are_those_of_the_shared_people_in_the_90_days_before(simulator):
    known = {person.email for person in population(200, 3)}
    leads = [lead for page in simulator.world.pages.values() for lead in page.leads]
    typed = {value.lower() for lead in leads for values in lead.form_data.values() for value in values if "@" in value}
    assert typed <= known
    assert all(NOW - timedelta(days=90) <= lead.created_at <= NOW for lead in leads)
    assert {len(lead.extra_data) for lead in leads} >= {0, 2}
    assert any(len(values) > 1 for lead in leads for values in lead.form_data.values())


def test_the_warmer_somebody_is_the_more_she_submits(simulate):
    simulator = simulate(people=2000)
    personas = {person.email: person.persona for person in population(2000, 3)}
    people = {name: sum(persona == name for persona in personas.values()) for name in ("hot", "warm", "cold", "gone")}
    counts = dict.fromkeys(people, 0)
    for page in simulator.world.pages.values():
        for lead in page.leads:
            email = next(v.lower() for values in lead.form_data.values() for v in values if "@" in v)
            counts[personas[email]] += 1
    each = {name: counts[name] / people[name] for name in people}
    assert each["hot"] > 2 * each["warm"] > 4 * each["cold"]


def test_the_same_people_and_seed_submit_the_same_however_many_others_there_are(simulate):
    few, many = simulate(people=50), simulate(people=80)
    of_few = {lead for page in few.world.pages.values() for lead in page.leads}
    assert {lead.id for lead in of_few} <= {lead.id for page in many.world.pages.values() for lead in page.leads}


def test_nothing_is_seeded_from_chance(simulate):
    random.seed(1)
    one = simulate(people=30).world
    random.seed(2)
    assert simulate(people=30).world.pages == one.pages


def test_it_is_found_by_the_host_and_its_settings_connect(connect):
    options = SimulatorOptions(people=5, seed=1, clock=EPOCH)
    with UnbounceSimulator(options) as simulator:
        assert simulator.settings["plugin"] == "unbounce"
        assert connect(simulator).check().id
        assert datetime.fromisoformat(EPOCH) == simulator.now()
