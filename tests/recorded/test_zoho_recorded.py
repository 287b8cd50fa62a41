"""Every recorded Zoho answer goes through the connector's own reading of answers, and the simulator is held to them.

The recordings are not part of the repository (their licences differ); without them this file skips as a whole. The
table names every file and what becomes of the answers in it. They are of API v2 (nango) and of v6 or later (amp-labs,
which has page tokens); what differs from v8 is said where it matters.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from requests import Response

from syncline.errors import ConfigError, ConnectorError
from syncline.model import Write
from syncline.sdk import Context, Http, SimulatorOptions
from syncline_zoho import ZohoConfig
from syncline_zoho.client import Answer, Client
from syncline_zoho.payloads import RecordsPage
from syncline_zoho.saving import outcome_of
from syncline_zoho.simulator import ZohoSimulator
from syncline_zoho.values import decode, parse_datetime

FOLDER = Path(__file__).parents[2].parent / "shared" / "recorded" / "zoho"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recorded Zoho traffic beside the repository")


class Recorded(NamedTuple):
    """One recorded answer; where only the body was kept, the method is told by the file's name."""

    method: str
    path: str
    status: int
    body: Any
    headers: Mapping[str, str]


def files() -> list[str]:
    return sorted(str(p.relative_to(FOLDER)) for p in FOLDER.rglob("*.json"))


def answers(name: str) -> Iterator[Recorded]:
    found = json.loads((FOLDER / name).read_text("utf-8"))
    if name.startswith("amp_labs"):
        yield _of_body_only(name, found)
        return
    for verb, paths in found["api"].items():
        for path, kept in paths.items():
            for one in kept if isinstance(kept, list) else [kept]:
                yield Recorded(verb.upper(), path, one["status"], one["response"], one["headers"])


def _of_body_only(name: str, body: Any) -> Recorded:
    if "write" in name or "update" in name:
        return Recorded("PUT" if "update" in name else "POST", "/crm/v6/Leads", 201, body, {})
    return Recorded("GET", "/crm/v6/Contacts", 400 if "code" in body else 200, body, {})


# What the connector makes of an answer


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    http = Http("crm", sleep=lambda _: None)
    config = ZohoConfig.model_validate({"client_id": "c", "client_secret": "s", "refresh_token": "r"})
    yield Client(config, Context("crm", http, lambda: datetime.fromisoformat("2026-06-01T08:00:00+00:00"), {}))
    http.close()


def understood(client: Client, answer: Recorded) -> Answer:
    """As the client takes it off the wire."""
    response = Response()
    response.status_code = answer.status
    response._content = json.dumps(answer.body).encode() if answer.body != "" else b""
    response.headers.update(answer.headers)
    return client._understood(response, "recorded")


def verdict(client: Client, answer: Recorded) -> str:
    try:
        given = understood(client, answer)
    except ConnectorError as error:
        return type(error).__name__
    if given.body is None:
        return "nothing found"
    if answer.method == "GET":
        return _read(given)
    return _written(given, answer)


def _read(given: Answer) -> str:
    page = given.read(RecordsPage)
    for row in page.data:
        for value in row.values():
            decode(None, value)
        for name in ("Modified_Time", "Created_Time"):
            assert name not in row or parse_datetime(str(row[name])).tzinfo is not None
        assert str(row["id"]).isdigit()
    more = ", and more" if page.info.more_records else ""
    return "records" + more


def _written(given: Answer, answer: Recorded) -> str:
    [result] = given.items("data", 1)
    assert result.id
    if answer.method == "DELETE":
        assert result.ok
        return "deleted (not used: we delete nothing)"
    by_key = answer.path.endswith("/upsert")
    outcome = outcome_of(Write("k", ("Key" if by_key else "Id", "v"), {}), "Leads", result)
    assert outcome.ref
    assert outcome.ref.id == result.id
    return f"{outcome.status.value} (upsert)" if by_key else f"saved: {result.details['id'][:4]}…"


SAVED = "saved: 7328…"
TABLE: dict[str, dict[str, int]] = {
    "amp_labs/contacts.json": {"records": 1},
    "amp_labs/leads-write.json": {"saved: 6493…": 1},
    "amp_labs/unsupportedread.json": {"ConfigError": 1},
    "amp_labs/updatecontact.json": {"saved: 6493…": 1},
    "nango/accounts.test.json": {"records": 1},
    "nango/create-contact.test.json": {SAVED: 1},
    "nango/create-lead.test.json": {SAVED: 1, "records": 1},
    "nango/create-note.test.json": {SAVED: 1},
    "nango/create-product.test.json": {SAVED: 1},
    "nango/create-task.test.json": {SAVED: 1},
    "nango/delete-account.test.json": {"deleted (not used: we delete nothing)": 1},
    "nango/delete-call.test.json": {"deleted (not used: we delete nothing)": 1},
    "nango/delete-deal.test.json": {"deleted (not used: we delete nothing)": 1},
    "nango/delete-lead.test.json": {"deleted (not used: we delete nothing)": 1},
    "nango/delete-note.test.json": {"deleted (not used: we delete nothing)": 1},
    "nango/delete-product.test.json": {"deleted (not used: we delete nothing)": 1},
    "nango/delete-task.test.json": {"deleted (not used: we delete nothing)": 1},
    "nango/events.test.json": {"records": 1},
    "nango/get-account.test.json": {"records": 1},
    "nango/get-contact.test.json": {"records": 1},
    "nango/get-lead.test.json": {"records": 1},
    "nango/get-product.test.json": {"records": 1},
    "nango/list-accounts.test.json": {"records": 1},
    "nango/list-calls.test.json": {"records": 1},
    "nango/list-leads.test.json": {"records": 1},
    "nango/list-products.test.json": {"records": 1},
    "nango/notes.test.json": {"records": 1},
    "nango/products.test.json": {"records": 1},
    "nango/search-records.test.json": {"nothing found": 1},
    "nango/tasks.test.json": {"records": 1},
    "nango/update-call.test.json": {SAVED: 1, "records": 1},
    "nango/update-contact.test.json": {SAVED: 1},
    "nango/update-event.test.json": {SAVED: 1},
    "nango/update-lead.test.json": {SAVED: 1},
    "nango/update-note.test.json": {SAVED: 1},
    "nango/upsert-records.test.json": {"created (upsert)": 1},
}


def test_every_file_is_in_the_table() -> None:
    assert files() == sorted(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_answer_is_read_as_the_table_says(client: Client, name: str) -> None:
    assert dict(Counter(verdict(client, answer) for answer in answers(name))) == TABLE[name]


def test_an_unknown_module_is_refused_in_the_recorded_words(client: Client, crm: ZohoSimulator) -> None:
    [answer] = answers("amp_labs/unsupportedread.json")
    with pytest.raises(ConfigError, match="INVALID_MODULE: the module name given seems to be invalid"):
        understood(client, answer)
    assert said(crm, "GET", "Nothing?fields=id")[1] == answer.body


# The simulator, held to what was recorded


@pytest.fixture(scope="module")
def crm() -> Iterator[ZohoSimulator]:
    simulator = ZohoSimulator(SimulatorOptions(people=9, clock="2026-06-01T08:00:00+00:00"))
    with simulator:
        yield simulator


def said(crm: ZohoSimulator, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    http = Http("crm")
    config = ZohoConfig.model_validate({n: v for n, v in crm.settings.items() if n != "plugin"})
    kept: dict[str, str] = crm.__dict__.setdefault("kept", {})
    token = Client(config, Context("crm", http, crm.now, kept))._tokens.current()
    headers = {"Authorization": f"Zoho-oauthtoken {token.value}"}
    response = http.request(method, f"{crm.url}/crm/v8/{path}", json=body, headers=headers, raise_for_status=False)
    http.close()
    return response.status_code, response.json()


def only(name: str, method: str = "POST") -> Recorded:
    return next(answer for answer in answers(name) if answer.method == method)


def shape(value: Any) -> Any:
    """Names and kinds; lists by their first element."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def test_an_upsert_answers_in_the_recorded_shape(crm: ZohoSimulator) -> None:
    """v8 adds `$approval_state` (OpenAPI 2026), everything else is as recorded."""
    theirs = only("nango/upsert-records.test.json")
    status, ours = said(crm, "POST", "Leads/upsert", {"data": [{"Last_Name": "Test Lead", "Company": "Test Company"}]})
    state = ours["data"][0]["details"].pop("$approval_state")
    assert (status, shape(ours), state) == (theirs.status, shape(theirs.body), "approved")


@pytest.mark.parametrize(
    ("name", "method", "path"),
    [
        ("nango/create-lead.test.json", "POST", "Leads"),
        ("nango/create-contact.test.json", "POST", "Contacts"),
        ("nango/update-lead.test.json", "PUT", "Leads/{lead}"),
    ],
)
def test_a_save_answers_in_the_recorded_shape(crm: ZohoSimulator, name: str, method: str, path: str) -> None:
    theirs = only(name, method)
    row = {"Last_Name": "R"} if path == "Contacts" else {"Last_Name": "R", "Company": "C"}
    lead = next(r["id"] for r in crm.rows("Leads") if not r["Converted__s"])
    status, ours = said(crm, method, path.format(lead=lead), {"data": [row]})
    del ours["data"][0]["details"]["$approval_state"]
    assert (status, shape(ours)) == (theirs.status, shape(theirs.body))


def test_a_task_is_about_a_lead_as_recorded(crm: ZohoSimulator) -> None:
    """`What_Id` with `$se_module`, and no `Who_Id`."""
    recorded = only("nango/tasks.test.json", "GET").body["data"]
    theirs = next(row for row in recorded if row.get("$se_module") == "Leads")
    lead = next(r["id"] for r in crm.rows("Leads") if not r["Converted__s"])
    row = {"Subject": "Call", "What_Id": {"id": lead}, "$se_module": "Leads"}
    said(crm, "POST", "Tasks", {"data": [row]})
    ours = crm.rows("Tasks")[0]
    for name in ("Who_Id", "What_Id", "$se_module", "Subject"):
        assert shape(ours[name]) == shape(theirs[name]), name


@pytest.mark.parametrize(
    ("name", "module", "newer"),
    [
        (
            "nango/get-lead.test.json",
            "Leads",
            {"Converted__s", "Converted_Date_Time", "Converted_Account", "Converted_Contact", "Converted_Deal"},
        ),
        ("nango/get-contact.test.json", "Contacts", set()),
    ],
)
def test_the_simulated_fields_are_recorded_ones(crm: ZohoSimulator, name: str, module: str, newer: set[str]) -> None:
    """But for the conversion's, which v2 told as `$converted`; and recorded values have the kinds of fields."""
    recorded = only(name, "GET").body["data"][0]
    fields = crm.crm.fields(module)
    assert set(fields) - set(recorded) == newer
    left_out = {n for n in recorded if not n.startswith("$")} - set(fields) - {"id"}
    assert left_out <= _ADDRESSES, "fields of addresses and maps only"
    kinds = {"ownerlookup": dict, "boolean": bool, "datetime": str, "email": str, "text": (str, list)}
    for field_name, field in fields.items():
        value = recorded.get(field_name)
        assert value is None or isinstance(value, kinds.get(field.type, object)), field_name


_ADDRESSES = {
    "nearby_distance__s",
    "Address",
    "Latitude",
    "Longitude",
    "Coordinates",
    "Flat_House_No_Building_Apartment_Name",
    "Vendor_Name",
    *(
        f"{kind}_{part}"
        for kind in ("Mailing", "Other")
        for part in (
            "Address Coordinates Latitude Longitude Street City State Zip Country Flat_House_No_Building_Apartment_Name"
        ).split()
    ),
}


def test_a_company_is_not_demanded_by_the_api_of_every_account() -> None:
    """A lead without one was made through the API. So what a layout demands may or may not be enforced: a switch."""
    leads = only("nango/list-leads.test.json", "GET").body["data"]
    assert any(lead["Company"] is None for lead in leads)


def test_the_simulated_list_pages_as_recorded(crm: ZohoSimulator) -> None:
    recorded = next(answers("amp_labs/contacts.json")).body["info"]
    _, ours = said(crm, "GET", "Contacts?fields=Last_Name")
    assert shape(ours["info"]) == shape(recorded)
