"""What we send and what the simulator answers, held against the vendor's own contract 3.0.55.

The contract is not in the repository (its licence is not ours to pass on); without it, or without openapi-core, these
tests skip. Known differences: the contract is older than `is_proxy_open` and the `proxy_excluded_*` fields, which it
tolerates, and than empty strings in place of times, which it does not (recorded traffic has them). The call that puts
many into a tag is in the vendor's whole contract only, and is taken from there.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from syncline.model import FieldSpec, Member, RemoteRef, Write

SPEC = Path(__file__).parents[4] / "shared" / "specs" / "mailchimp" / "mailchimp-marketing-3.0.55.trimmed.openapi.json"

WHOLE_SPEC = SPEC.with_name("mailchimp-marketing-3.0.55.openapi.json")
TAGGING = "/lists/{list_id}/segments/{segment_id}"

pytestmark = pytest.mark.skipif(not SPEC.is_file(), reason="the vendor's contract (shared/specs/mailchimp) is not here")
openapi_core = pytest.importorskip("openapi_core", reason="openapi-core is not installed")
contrib = pytest.importorskip("openapi_core.contrib.requests")
OpenAPIError = pytest.importorskip("openapi_core.exceptions").OpenAPIError

SERVER = "https://server.api.mailchimp.com"


@pytest.fixture(scope="module")
def contract():
    """The contract, with one correction: an optional time may be an empty string (recorded 2016 and 2026)."""
    document = _document()
    _allow_empty_times(document)
    config = openapi_core.Config(
        extra_media_type_deserializers={"application/problem+json": lambda body, **_: json.loads(body)}
    )
    return openapi_core.OpenAPI.from_dict(document, config=config)


@pytest.fixture(scope="module")
def operations():
    return _document()["paths"]


def _document():
    """The trimmed contract, and the one operation it lacks, with one media type as in the others."""
    document = json.loads(SPEC.read_text(encoding="utf-8"))
    operation = json.loads(WHOLE_SPEC.read_text(encoding="utf-8"))["paths"][TAGGING]["post"]
    operation["responses"]["200"]["content"].pop("application/problem+json")
    operation["responses"]["default"]["content"].pop("application/json")
    parameters = json.loads(WHOLE_SPEC.read_text(encoding="utf-8"))["paths"][TAGGING].get("parameters", [])
    document["paths"][TAGGING] = {"post": operation, "parameters": parameters}
    return document


@pytest.fixture
def traffic(simulate, connect, pull):
    """Every request of a full and an incremental read of everything, with its answer, as if at the vendor's address."""
    simulator = simulate(people=60)
    taken = []

    def connected(**settings):
        made = connect(simulator, page_size=50, **settings)
        made.context.http.session.hooks["response"].append(lambda response, **_: taken.append(response))
        return made

    source = connected()
    source.check()
    for stream in source.streams:
        _, cursor = pull(source, stream)
        _touch(simulator)
        pull(source, stream, cursor)
    pull(connected(batch_from=1), "opens")
    _write_back(connected(), simulator)
    api = [response for response in taken if "/batch-results/" not in response.request.url]
    for response in api:
        address = urlsplit(response.request.url)
        response.request.url = f"{SERVER}{address.path}{'?' if address.query else ''}{address.query}"
    return api


def _write_back(sink, simulator):
    """Every call the sink can make."""
    people = [one for one in simulator.world.subscribers.values() if one.status == "subscribed"][:3]
    writes = [Write(one.email, ("Id", one.contact_id), {"SCORE": 12, "FNAME": None}) for one in people]
    sink.prepare([FieldSpec("member", "SCORE", "number", "Score")], ["Hot"])
    sink.upsert("member", writes[:1])
    sink.upsert("member", [Write(write.key, write.match, {"unsubscribed": True}) for write in writes[:1]])
    sink.upsert("member", [Write("nobody", ("EMAIL", "no@body.example"), {"SCORE": 1})])
    sink.upsert("member", writes)
    simulator.batch_looks = 99
    kept = sink._batches.start("write", [{"method": "GET", "path": "/ping"}], {})
    sink._batches.stop(kept)
    members = [Member(one.email, RemoteRef("member", one.contact_id)) for one in people]
    sink.set_members("Hot", members, [])
    sink.set_members("Hot", members[:1], members[1:])
    sink._client.tag_ids(simulator.settings["audience"], people[0].hash)
    list(sink.changes("member", ["EMAIL", "SCORE", "vip"], json.dumps({"version": 1, "since": "2026-01-01T00:00:00Z"})))


def test_the_traffic_is_of_every_kind_of_call(operations, traffic):
    made = {
        (r.request.method, _template(urlsplit(r.request.url).path.removeprefix("/3.0"), operations)) for r in traffic
    }
    member = "/lists/{list_id}/members/{subscriber_hash}"
    assert made == {
        ("GET", "/"),
        ("GET", "/reports"),
        ("GET", "/reports/{campaign_id}"),
        ("GET", "/reports/{campaign_id}/open-details"),
        ("GET", "/reports/{campaign_id}/email-activity"),
        ("GET", "/reports/{campaign_id}/unsubscribed"),
        ("GET", "/automations"),
        ("GET", "/automations/{workflow_id}/emails"),
        ("GET", "/lists/{list_id}/members"),
        ("GET", member),
        ("PATCH", member),
        ("GET", f"{member}/tags"),
        ("GET", "/lists/{list_id}/merge-fields"),
        ("POST", "/lists/{list_id}/merge-fields"),
        ("GET", "/lists/{list_id}/segments"),
        ("POST", "/lists/{list_id}/segments"),
        ("POST", TAGGING),
        ("POST", "/batches"),
        ("GET", "/batches/{batch_id}"),
        ("DELETE", "/batches/{batch_id}"),
    }


def test_every_operation_of_a_batch_is_a_call_of_the_contract(contract, traffic):
    """What is inside: our own fields only, and a method and path that the contract knows."""
    handed_in = [
        json.loads(r.request.body) for r in traffic if r.request.method == "POST" and r.request.url.endswith("/batches")
    ]
    operations = [operation for body in handed_in for operation in body["operations"]]
    assert {operation["method"] for operation in operations} == {"GET", "PATCH"}
    for operation in operations:
        url = f"{SERVER}/3.0{operation['path']}"
        headers = {"Content-Type": "application/json"} if "body" in operation else {}
        request = requests.Request(
            operation["method"],
            url,
            headers,
            params=operation.get("params"),
            data=operation.get("body"),
            auth=("x", "y"),
        ).prepare()
        contract.validate_request(contrib.RequestsOpenAPIRequest(request))


def test_the_contract_refuses_what_it_does_not_know(contract, traffic):
    """The tests below can fail: a wrong type in an answer, and an address nobody serves, are refused."""
    answer = next(response for response in traffic if urlsplit(response.request.url).path.endswith("/members"))
    answer._content = json.dumps({**answer.json(), "total_items": "many"}).encode()
    request = contrib.RequestsOpenAPIRequest(answer.request)
    with pytest.raises(OpenAPIError):
        contract.validate_response(request, contrib.RequestsOpenAPIResponse(answer))
    answer.request.url = f"{SERVER}/3.0/nonsense"
    with pytest.raises(OpenAPIError):
        contract.validate_request(contrib.RequestsOpenAPIRequest(answer.request))


def test_every_request_keeps_to_the_contract(contract, traffic):
    for response in traffic:
        contract.validate_request(contrib.RequestsOpenAPIRequest(response.request))


def test_every_answer_of_the_simulator_keeps_to_the_contract(contract, traffic):
    for response in traffic:
        contract.validate_response(
            contrib.RequestsOpenAPIRequest(response.request), contrib.RequestsOpenAPIResponse(response)
        )


WHOLE = [
    "/",
    "/ping",
    "/lists",
    "/lists/{list}",
    "/lists/{list}/members",
    "/lists/{list}/members/{member}",
    "/campaigns",
    "/campaigns/{campaign}",
    "/reports",
    "/reports/{campaign}",
    "/reports/{campaign}/email-activity",
    "/reports/{campaign}/open-details",
    "/reports/{campaign}/unsubscribed",
    "/automations",
    "/automations/{workflow}/emails",
    "/reports/nonsense",
    "/lists/{list}/members?count=1001",
    "/lists/{list}/members/{member}/tags",
    "/lists/{list}/merge-fields",
    "/lists/{list}/segments",
    "/lists/{list}/segments/{segment}/members",
    "/lists/{list}/tag-search",
    "/lists/{list}/webhooks",
    "/lists/{list}/webhooks/{webhook}",
    "/batches",
    "/batches/{batch}",
]


@pytest.mark.parametrize("path", WHOLE)
def test_the_simulators_whole_answers_keep_to_the_contract(contract, simulate, path):
    """Also the fields that this connector never asks for, and two refusals."""
    simulator = simulate(people=60)
    campaign = next(campaign for campaign in simulator.world.sent if campaign.left)
    made = _fill(simulator)
    filled = path.format(
        list=simulator.settings["audience"],
        member=next(iter(simulator.world.subscribers)),
        campaign=campaign.id,
        workflow=simulator.world.welcome.workflow,
        **made,
    )
    response = requests.get(f"{simulator.url}/3.0{filled}", auth=("x", simulator.api_key), timeout=10)
    response.request.url = f"{SERVER}/3.0{filled}"
    contract.validate_response(
        contrib.RequestsOpenAPIRequest(response.request), contrib.RequestsOpenAPIResponse(response)
    )


def test_every_parameter_we_send_is_in_the_contract(operations, traffic):
    """A validator lets unknown parameters pass, and so may the vendor: a typo would silently read everything."""
    sent = {
        (_template(urlsplit(response.request.url).path.removeprefix("/3.0"), operations), name)
        for response in traffic
        for name in (part.partition("=")[0] for part in urlsplit(response.request.url).query.split("&") if part)
        if response.request.method == "GET"
    }
    known = {
        (path, parameter["name"])
        for path, methods in operations.items()
        for parameter in methods.get("get", {}).get("parameters", [])
    }
    assert sent <= known
    assert ("/reports/{campaign_id}/email-activity", "since") in sent
    assert ("/lists/{list_id}/members", "since_last_changed") in sent


def test_every_field_we_ask_for_is_in_the_contract(operations, traffic):
    """An unknown field is an error at the vendor."""
    for response in (response for response in traffic if response.request.method == "GET"):
        address = urlsplit(response.request.url)
        asked = dict(part.split("=") for part in address.query.split("&") if part).get("fields", "")
        path = _template(address.path.removeprefix("/3.0"), operations)
        schema = operations[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        for field in filter(None, asked.replace("%2C", ",").split(",")):
            assert _resolves(schema, field.split(".")), f"{path}: {field}"


DANGEROUS = [
    ("POST", "/lists/{list}", {"members": [{"email_address": "a@b.example", "status": "subscribed"}]}),
    ("POST", "/lists/{list}/members", {"email_address": "a@b.example", "status": "subscribed"}),
    ("PUT", "/lists/{list}/members/{member}", {"email_address": "{email}", "status_if_new": "subscribed"}),
    ("DELETE", "/lists/{list}/members/{member}", None),
    ("POST", "/lists/{list}/members/{member}/tags", {"tags": [{"name": "Hot", "status": "active"}]}),
    ("POST", "/lists/{list}/members/{member}/tags", {"tags": [{"name": "Hot", "status": "inactive"}]}),
    ("PATCH", "/lists/{list}/webhooks/{webhook}", {"events": {"campaign": True}}),
    ("DELETE", "/lists/{list}/webhooks/{webhook}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), DANGEROUS)
def test_answers_to_calls_we_never_make_keep_to_the_contract_too(contract, simulate, method, path, body):
    simulator = simulate(people=60)
    one = next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")
    filled = path.format(list=simulator.settings["audience"], member=one.hash, **_fill(simulator))
    sent = json.loads(json.dumps(body).replace("{email}", one.email))
    response = requests.request(
        method, f"{simulator.url}/3.0{filled}", json=sent, auth=("x", simulator.api_key), timeout=10
    )
    assert response.ok
    response.request.url = f"{SERVER}/3.0{filled}"
    contract.validate_request(contrib.RequestsOpenAPIRequest(response.request))
    contract.validate_response(
        contrib.RequestsOpenAPIRequest(response.request), contrib.RequestsOpenAPIResponse(response)
    )


def _fill(simulator):
    """One tag with a member, one webhook, one batch: their ids."""
    one = next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")
    base, auth = f"{simulator.url}/3.0", ("x", simulator.api_key)
    segment = requests.post(
        f"{base}/lists/{simulator.settings['audience']}/segments",
        json={"name": "Cold", "static_segment": [one.email]},
        auth=auth,
        timeout=10,
    ).json()
    batch = requests.post(
        f"{base}/batches", json={"operations": [{"method": "GET", "path": "/ping"}]}, auth=auth, timeout=10
    ).json()
    webhook = simulator.add_webhook("https://hooks.example.com/")
    return {"segment": segment["id"], "batch": batch["id"], "webhook": webhook["id"]}


def _touch(simulator):
    """Make every campaign worth another read."""
    who = next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")
    for campaign in simulator.campaigns:
        at = simulator.world.campaigns[campaign].sent
        simulator.add_activity(who.email, campaign, "open", at)
        simulator.add_activity(who.email, campaign, "click", at, url="https://x.example/")
        simulator.unsubscribe(who.email, campaign, at)


def _template(path, operations):
    parts = path.split("/")
    for template in operations:
        pattern = template.split("/")
        if len(pattern) == len(parts) and all(p == q or p.startswith("{") for p, q in zip(pattern, parts, strict=True)):
            return template
    raise AssertionError(f"{path} is not in the contract")


def _resolves(schema, names):
    if not names:
        return True
    inner = schema.get("items", schema)
    return names[0] in inner.get("properties", {}) and _resolves(inner["properties"][names[0]], names[1:])


def _allow_empty_times(node):
    if isinstance(node, list):
        for item in node:
            _allow_empty_times(item)
    elif isinstance(node, dict):
        if node.get("type") == "string" and node.get("format") == "date-time" and "in" not in node:
            node.pop("format")
            node["pattern"] = r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\+00:00|Z))?$"
        for value in node.values():
            _allow_empty_times(value)
