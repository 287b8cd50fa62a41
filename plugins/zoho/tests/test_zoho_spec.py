"""Every request of the connector, and the simulator's answers, against the vendor's published OpenAPI files of 2026.

They are not part of the repository (no licence file); without them this file skips as a whole. The files are changed in
three ways to be usable: one server address, no patterns that are no Python expressions (`\\p{L}`), and no OAuth, which
the library does not check. What they refuse although the vendor's own pages say otherwise stands in `FALSE_ALARMS`,
with the reason; a test demands that each is still one.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from openapi_core import OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest, RequestsOpenAPIResponse
from openapi_core.exceptions import OpenAPIError

from syncline.errors import ConfigError
from syncline.model import FieldSpec, Member, RemoteRef, TaskWrite, Write
from syncline.sdk import Context, Http, SimulatorOptions
from syncline_zoho import ZohoConfig, ZohoSink
from syncline_zoho.simulator import ZohoSimulator

FOLDER = Path(__file__).parents[4] / "shared" / "specs" / "zoho" / "oas-3.1.0_2026"
HOST = "https://www.zohoapis.com"
CLOCK = "2026-06-01T08:00:00+00:00"
NOTIFY = {"notify_url": "https://hooks.sync.example/zoho/secret-path", "notify_token": "only-zoho-knows"}
TAG = "Lead caldo"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no OpenAPI files of Zoho beside the repository")

FALSE_ALARMS = {
    ("request", "GET settings/fields"): "`include` is an option (field metadata page); the file demands it",
    ("request", "GET settings/tags"): "the file takes no module but the literal 'module_api_name'",
    ("request", "POST settings/tags"): "the file takes no module but the literal 'module_api_name'",
    ("request", "POST Leads/actions/add_tags"): "the file demands a parameter `module` beside the path",
    ("request", "POST Leads/actions/remove_tags"): "the file takes no ids but one literal text",
    (
        "request",
        "POST Leads/upsert",
    ): "`skip_feature_execution` (upsert records v7, v8; insert and update have it here)",
    ("answer", "GET actions/watch 204"): "no channel is no content, as everywhere; the file has no 204 here",
    ("answer", "POST Leads/upsert 200"): "`action` and `duplicate_field` are recorded (nango upsert-records, 2026-05)",
    ("answer", "POST Leads/upsert 207"): "mixed results are 207 (status codes page); the file has none",
    ("answer", "POST Leads 207"): "mixed results are 207 (status codes page); the file has none",
    ("answer", "PUT Leads 207"): "mixed results are 207 (status codes page); the file has none",
    ("answer", "GET Leads 200"): "page tokens are null at the ends (recorded, amp-labs contacts); the file wants text",
    ("answer", "POST Leads/actions/add_tags 200"): "`wf_scheduler` (sheet §6)",
    ("answer", "POST Leads/actions/remove_tags 200"): "`wf_scheduler` and `success_count` (sheet §6)",
}


@functools.cache
def spec(name: str) -> OpenAPI:
    document = json.loads((FOLDER / f"zoho-crm-{name}-openapi.json").read_text("utf-8"))
    document["servers"] = [{"url": f"{HOST}/crm/v8"}]
    _make_usable(document)
    return OpenAPI.from_dict(document)


def _make_usable(node: Any) -> None:
    if isinstance(node, dict):
        try:
            re.compile(str(node.get("pattern", "")))
        except re.error:
            del node["pattern"]
        node.pop("security", None)
        for value in node.values():
            _make_usable(value)
    elif isinstance(node, list):
        for value in node:
            _make_usable(value)


class Request(RequestsOpenAPIRequest):
    """As if it had gone to the vendor."""

    @property
    def host_url(self) -> str:
        return HOST


def place(response: requests.Response) -> tuple[str, str]:
    """The file that describes a call, and what the call is, ids aside."""
    path = str(response.request.url).partition("?")[0].partition("/crm/v8/")[2]
    told = f"{response.request.method} {re.sub('[0-9]{19}', 'ID', path)}"
    if path.startswith("settings/"):
        return path.removeprefix("settings/"), told
    if path in ("coql", "org", "users"):
        return path, told
    if path == "actions/watch":
        return "notifications", told
    return ("tags-actions" if "/actions/" in path else "record"), told


@pytest.fixture(scope="module")
def conversation() -> Iterator[list[requests.Response]]:
    """Everything the connector ever says, once."""
    seen: list[requests.Response] = []
    http = Http("crm", sleep=lambda _: None)
    with ZohoSimulator(SimulatorOptions(people=60, clock=CLOCK)) as crm:
        config = ZohoConfig.model_validate({n: v for n, v in crm.settings.items() if n != "plugin"} | NOTIFY)
        sink = ZohoSink(config, Context("crm", http, crm.now, {}))
        http.session.hooks["response"].append(
            lambda response, *_, **__: seen.append(response) if "/crm/" in response.url else None
        )
        _talk(sink, crm)
        yield seen
    http.close()


def _talk(sink: ZohoSink, crm: ZohoSimulator) -> None:
    needed = [
        FieldSpec("Leads", "Syncline_Key", "text", "", max_length=64, unique=True),
        FieldSpec("Leads", "Lead_Score", "number", "", scale=2),
        FieldSpec("Leads", "Visits", "number", ""),
        FieldSpec("Leads", "Hot_Lead", "boolean", ""),
        FieldSpec("Leads", "Seen_At", "datetime", ""),
        FieldSpec("Leads", "Why", "text", "", max_length=2_000),
        FieldSpec("Leads", "Tax_Code", "text", "", max_length=20, unique=True),
        *sink.task_fields,
    ]
    sink.check()
    sink.prepare(needed, [TAG])
    with pytest.raises(ConfigError):
        sink.describe("NoSuchThing")
    ref = _write(sink, crm)
    sink.set_members(TAG, [Member("m", ref)], [])
    sink.set_members(TAG, [], [Member("m", ref)])
    _read(sink, crm)
    crm.advance(timedelta(days=6))
    sink.prepare(needed, [TAG])


def _write(sink: ZohoSink, crm: ZohoSimulator) -> RemoteRef:
    def lead(number: int, **fields: Any) -> Write:
        return Write(f"p{number}", ("Syncline_Key", f"k{number}"), {"Last_Name": "R", "Company": "C", **fields})

    first = sink.upsert("Leads", [lead(1, Lead_Score=Decimal("1.5"), Visits=2, Hot_Lead=True, Seen_At=crm.now())])[0]
    sink.upsert("Leads", [lead(1, Phone=None), lead(2, Email="bad")])
    sink.upsert("Leads", [lead(3, Email="bad", Visits="many"), lead(4, Last_Name=None)])
    ref = first.ref or RemoteRef("", "")
    sink.upsert("Leads", [Write("a", ("Id", ref.id), {"Visits": 3})])
    sink.upsert("Leads", [Write("a", ("Id", ref.id), {"Visits": 3}), Write("b", ("Id", "1"), {"Visits": 1})])
    sink.upsert("Leads", [lead(5, Tax_Code="T"), lead(6, Tax_Code="t")])
    sink.upsert("Leads", [lead(5, Tax_Code="T")])
    task = TaskWrite("t", ref, "Call", "Why", crm.now(), "high", "5725767000000411002")
    sink.create_tasks([task])
    sink.create_tasks([task])
    return ref


def _read(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.page_size = 10
    *_, last = sink.changes("Leads", ["First_Name", "Lead_Score"], None)
    crm.advance(timedelta(minutes=30))
    one, two, *_ = [row["id"] for row in crm.rows("Leads") if not row["Converted__s"]]
    crm.delete_record("Leads", one)
    crm.convert_lead(two)
    list(sink.changes("Leads", ["First_Name"], last.cursor))
    list(sink.changes("Contacts", ["First_Name"], last.cursor))


def verdicts(conversation: list[requests.Response]) -> dict[tuple[str, str], list[str]]:
    """(request or answer, call) → what the files have against it; empty when nothing."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for response in conversation:
        name, told = place(response)
        request = Request(response.request)
        asked = functools.partial(spec(name).validate_request, request)
        answered = functools.partial(spec(name).validate_response, request, RequestsOpenAPIResponse(response))
        found["request", told] += _complaints(asked)
        found["answer", f"{told} {response.status_code}"] += _complaints(answered)
    return found


def _complaints(check: Callable[[], Any]) -> list[str]:
    try:
        check()
    except OpenAPIError as error:
        details = getattr(error.__cause__, "schema_errors", None) or [error.__cause__ or error]
        return [str(getattr(detail, "message", repr(detail)))[:200] for detail in details]
    return []


@pytest.fixture(scope="module")
def judged(conversation: list[requests.Response]) -> dict[tuple[str, str], list[str]]:
    return verdicts(conversation)


def test_every_request_and_answer_is_as_published(judged: dict[tuple[str, str], list[str]]) -> None:
    unknown = {key: complaints for key, complaints in judged.items() if complaints and key not in FALSE_ALARMS}
    assert unknown == {}


def test_what_is_called_a_false_alarm_is_still_one(judged: dict[tuple[str, str], list[str]]) -> None:
    assert {key for key in FALSE_ALARMS if not judged.get(key)} == set()


def test_an_upsert_has_nothing_else_against_it(judged: dict[tuple[str, str], list[str]]) -> None:
    assert all("skip_feature_execution" in told for told in judged["request", "POST Leads/upsert"])


def test_everything_the_connector_does_was_looked_at(judged: dict[tuple[str, str], list[str]]) -> None:
    assert {key for kind, key in judged if kind == "request"} == {
        "GET org",
        "GET users",
        "GET settings/modules",
        "GET settings/fields",
        "POST settings/fields",
        "GET settings/layouts",
        "GET settings/tags",
        "POST settings/tags",
        "GET actions/watch",
        "POST actions/watch",
        "PUT actions/watch",
        "POST Leads/upsert",
        "PUT Leads",
        "POST Leads",
        "POST Tasks",
        "GET Leads",
        "GET Leads/deleted",
        "GET Contacts/deleted",
        "POST coql",
        "POST Leads/actions/add_tags",
        "POST Leads/actions/remove_tags",
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("Leads/upsert", {"date": []}),
        ("Leads/upsert", {"data": [{"Last_Name": "R"}], "triggers": []}),
        ("Leads/upsert", {"data": [{"Last_Name": "R"}] * 101}),
        ("Leads/upsert", {"data": [{"Last_Name": "R"}], "duplicate_check_fields": "Email"}),
        ("coql", {"query": "select id from Leads where id is not null"}),
    ],
    ids=["no data", "a wrong key", "101 rows", "a text for a list", "a query by another name"],
)
def test_the_files_and_the_simulator_refuse_the_same(path: str, body: dict[str, Any]) -> None:
    """A check that nothing fails would prove nothing."""
    with ZohoSimulator(SimulatorOptions(people=0, clock=CLOCK)) as crm:
        _, token = crm.tokens.answer(
            {
                "grant_type": "refresh_token",
                "client_id": crm.settings["client_id"],
                "client_secret": crm.settings["client_secret"],
                "refresh_token": crm.settings["refresh_token"],
            },
            crm.url,
        )
        assert token == 200
        headers = {"Authorization": f"Zoho-oauthtoken {next(iter(crm.table('token')))}"}
        with requests.Session() as session:
            response = session.post(f"{crm.url}/crm/v8/{path}", json=body, headers=headers, timeout=5)
    assert response.status_code == 400
    with pytest.raises(OpenAPIError):
        spec(place(response)[0]).validate_request(Request(response.request))
