"""What we send and what the simulator answers, held against an unofficial OpenAPI 3.1 of the vendor's reference.

It is a third party's transcription (vendor sheet, §7), trimmed, and not in the repository; without it, or without
openapi-core, these tests skip. Its objects allow further keys and require none: so we check ours by name as well.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from ruamel.yaml import YAML

from syncline_instapage.simulator import TOKEN, Switches
from syncline_instapage.simulator.world import DEMO, MARKETING

FOLDER = Path(__file__).parents[4] / "shared" / "specs" / "instapage"
SPEC = FOLDER / "instapage-public-api-v1.unofficial-trimmed.openapi.yml"

pytestmark = pytest.mark.skipif(
    not SPEC.is_file(), reason="the transcribed contract (shared/specs/instapage) is not here"
)
openapi_core = pytest.importorskip("openapi_core", reason="openapi-core is not installed")
contrib = pytest.importorskip("openapi_core.contrib.requests")
OpenAPIError = pytest.importorskip("openapi_core.exceptions").OpenAPIError

SERVER = "https://api.instapage.com"


@pytest.fixture(scope="module")
def document():
    return YAML(typ="safe", pure=True).load(SPEC.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def contract(document):
    return openapi_core.OpenAPI.from_dict(document)


def at_the_vendors(response):
    address = urlsplit(response.request.url)
    response.request.url = f"{SERVER}{address.path}{'?' if address.query else ''}{address.query}"
    return response


@pytest.fixture
def traffic(simulate, connect, pull):
    """Every request of a check, a full and an incremental read, with its answer, as if at the vendor's address."""
    simulator = simulate(people=800)
    simulator.per_page = 4
    source = connect(simulator, workspaces=[], window="30d")
    taken = []
    source.context.http.session.hooks["response"].append(lambda response, **_: taken.append(response))
    source.check()
    _, cursor = pull(source)
    simulator.advance(timedelta(hours=2))
    pull(source, cursor)
    return [at_the_vendors(response) for response in taken]


def test_the_traffic_is_of_every_call(traffic):
    calls = {(r.request.method, urlsplit(r.request.url).path.rpartition("/")[2]) for r in traffic}
    assert calls == {("GET", "workspaces"), ("GET", "pages"), ("POST", "submissions")}
    tokens = [json.loads(r.request.body)["nextPageToken"] for r in traffic if r.request.method == "POST"]
    assert any(tokens)


def test_the_contract_refuses_what_it_does_not_know(contract, traffic):
    """The tests below can fail: wrong types both ways, and an address nobody serves."""
    call = next(response for response in traffic if response.request.method == "POST")
    request = contrib.RequestsOpenAPIRequest(call.request)
    call._content = json.dumps({**call.json(), "data": [{"id": 7}]}).encode()
    with pytest.raises(OpenAPIError):
        contract.validate_response(request, contrib.RequestsOpenAPIResponse(call))
    call.request.prepare_body(None, None, json={"pages": ["soon"]})
    with pytest.raises(OpenAPIError):
        contract.validate_request(contrib.RequestsOpenAPIRequest(call.request))
    call.request.url = f"{SERVER}/v1/nonsense"
    with pytest.raises(OpenAPIError):
        contract.validate_request(contrib.RequestsOpenAPIRequest(call.request))


def test_every_request_keeps_to_the_contract(contract, traffic):
    for response in traffic:
        contract.validate_request(contrib.RequestsOpenAPIRequest(response.request))


def test_every_answer_of_the_simulator_keeps_to_the_contract(contract, traffic):
    for response in traffic:
        contract.validate_response(
            contrib.RequestsOpenAPIRequest(response.request), contrib.RequestsOpenAPIResponse(response)
        )


REFUSALS = [
    ("GET", f"/workspaces/{MARKETING}/pages?page=0", None, 400),
    ("GET", "/workspaces/99/pages", None, 404),
    ("POST", f"/workspaces/{MARKETING}/submissions", {"pages": [7], "timeframe": {"start": 1, "end": 2}}, 404),
    ("POST", f"/workspaces/{MARKETING}/submissions", {"pages": [DEMO], "timeframe": {"start": 2, "end": 1}}, 400),
    ("DELETE", f"/workspaces/{MARKETING}/submissions", {"submissions": ["x"]}, 404),
    ("GET", "/workspaces", "over", 429),
    ("GET", "/workspaces", "revoked", 401),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSALS, ids=str)
def test_the_simulators_refusals_keep_to_the_contract(contract, simulator, method, path, body, status):
    simulator.per_minute = 0 if body == "over" else 200
    simulator.revoked = body == "revoked"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    sent = body if isinstance(body, dict) else None
    answer = requests.request(method, f"{simulator.url}/v1{path}", json=sent, headers=headers, timeout=10)
    assert answer.status_code == status
    at_the_vendors(answer)
    contract.validate_response(contrib.RequestsOpenAPIRequest(answer.request), contrib.RequestsOpenAPIResponse(answer))


def test_what_we_send_is_named_in_the_contract(document, traffic):
    """A validator lets unknown names pass, and so may the vendor: a typo would silently read something else."""
    operation = document["paths"]["/workspaces/{workspaceId}/submissions"]["post"]
    known = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    parameters = {
        p.get("name") for path in document["paths"].values() for p in path.get("get", {}).get("parameters", [])
    }
    for response in traffic:
        if response.request.method == "POST":
            body = json.loads(response.request.body)
            assert set(body) <= set(known)
            assert set(body["timeframe"]) == set(known["timeframe"]["properties"])
        query = urlsplit(response.request.url).query
        assert {part.partition("=")[0] for part in query.split("&") if part} <= parameters


def test_what_the_simulator_answers_is_named_in_the_contract(document, traffic):
    schemas = document["components"]["schemas"]
    kinds = {"workspaces": "Workspace", "pages": "Page", "submissions": "Submission"}
    for response in traffic:
        known = schemas[kinds[urlsplit(response.request.url).path.rpartition("/")[2]]]["properties"]
        for row in response.json()["data"]:
            assert set(row) == set(known)


@pytest.mark.parametrize("switch", ["field_ids", "metadata_in_fields", "exclusive_timeframe"])
def test_the_switches_keep_to_the_contract_where_it_says_something(contract, simulate, connect, pull, switch):
    simulator = simulate(people=30, switches=Switches(**{switch: True}))
    source = connect(simulator)
    taken = []
    source.context.http.session.hooks["response"].append(lambda response, **_: taken.append(response))
    pull(source)
    assert len(taken) > 1
    for response in map(at_the_vendors, taken):
        contract.validate_response(
            contrib.RequestsOpenAPIRequest(response.request), contrib.RequestsOpenAPIResponse(response)
        )
