"""What evidence of Instapage there is, through the connector's parsing and error classification, file by file.

No recording of its live service exists in any stored source (see their PROVENANCE.md): one file is the shape of the
documented call for submissions, the other the keys that a production receiver reads. They stay outside the repository.
`VERDICTS` names every file and what becomes of it, so that a new file, or a changed reading, shows.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from syncline.errors import AuthError, ConnectorError, RateLimitError, TransientError
from syncline.model import RawRecord
from syncline.sdk import Context, Http, WebhookRequest
from syncline.testing.population import simulated_now
from syncline_instapage import InstapageConfig, InstapageSource
from syncline_instapage.client import PAGES_A_CALL
from syncline_instapage.errors import GoneError, refuse
from syncline_instapage.normalize import ALL_VALUES
from syncline_instapage.payloads import ErrorDocument, SubmissionList, SubmissionRow

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "instapage"
SECRET = "a-secret-of-the-test"

pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="evidence of Instapage (shared/recorded/instapage) is not here"
)

VERDICTS = {
    "api_submissions_shape.json": "the shape of request, answer, errors and limits: each is held against ours",
    "webhook_fields_seen.json": "a form body of these keys becomes a submission",
}
STATUSES = {  # what the host does next
    400: ConnectorError,  # permanent
    401: AuthError,  # pause
    403: ConnectorError,  # permanent, of one workspace
    404: GoneError,  # permanent
    409: ConnectorError,  # permanent
    413: ConnectorError,  # permanent
    422: ConnectorError,  # permanent
    429: RateLimitError,  # retry, later
    500: TransientError,  # retry
    503: TransientError,  # retry
}


def load(name):
    return json.loads((RECORDED / name).read_text(encoding="utf-8"))


def make(**settings):
    given = {"token": "t", "webhook_secret": SECRET, "keep_fields": "*", **settings}
    return InstapageSource(
        InstapageConfig.model_validate(given), Context("recorded", Http("recorded"), simulated_now, {})
    )


def test_every_file_has_a_verdict():
    assert {path.name for path in RECORDED.glob("*.json")} == set(VERDICTS)


# api_submissions_shape.json


@pytest.fixture
def shape():
    return load("api_submissions_shape.json")


def test_the_call_for_submissions_is_the_documented_one(shape, monkeypatch):
    """Method, address, header and body's keys, taken where our request leaves the connector."""
    sent = []

    def answer(self, request, *_, **__):
        sent.append(request)
        listing = {"data": [{"id": 1}], "meta": {"pagination": {"nextPage": None, "totalItemsCount": 1}}}
        found = {"data": [], "meta": {"nextPageToken": None, "limit": 100}}
        return _response(200, listing if request.method == "GET" else found)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", answer)
    list(make(workspaces=11771).read("submissions", None))
    post = next(request for request in sent if request.method == shape["request"]["method"])
    assert post.url == shape["request"]["url"].replace("{workspaceId}", "11771")
    assert post.headers["Authorization"] == shape["request"]["headers"]["Authorization"].replace(
        "<personal API token>", "t"
    )
    body = json.loads(post.body)
    assert set(body) == set(shape["request"]["body"])
    assert set(body["timeframe"]) == set(shape["request"]["body"]["timeframe"])
    assert body["nextPageToken"] is shape["request"]["body"]["nextPageToken"] is None


def test_an_answer_of_the_documented_types_is_read(shape):
    (row,) = [_example(shape["response"]["body_types"]["data"][0])]
    assert shape["response"]["status"] == 200
    listing = SubmissionList.model_validate({"data": [row], "meta": _example(shape["response"]["body_types"]["meta"])})
    assert (listing.meta.next_page_token, listing.says_whether_more) == ("text", True)
    assert {name for field in SubmissionRow.model_fields.values() for name in [field.alias]} == set(row)
    row["fields"] = {"Email": "ada@example.com"}
    (event,) = make().normalize(RawRecord("submissions", row["id"], {"workspace": 1, "submission": row}))
    assert event.occurred_at == datetime(2023, 11, 14, 22, 13, tzinfo=UTC)


def test_every_documented_status_is_classified(shape):
    assert set(shape["errors"]["statuses"]) == set(STATUSES)
    envelope = _example(shape["errors"]["envelope"])
    assert ErrorDocument.model_validate(envelope).words() == "text: text"
    for status, wanted in STATUSES.items():
        with pytest.raises(ConnectorError, match=f"HTTP {status}: text: text") as caught:
            refuse(_response(status, envelope, {shape["limits"]["429_header"]: "7200"}), where="POST")
        assert type(caught.value) is wanted
        if status == 429:
            assert caught.value.retry_after == timedelta(hours=2)


def test_our_limits_are_the_documented_ones(shape):
    limits = shape["limits"]
    assert limits["max_per_page"] == PAGES_A_CALL
    assert make().config.calls_per_minute < limits["per_minute"]


def _example(types):
    """A value of the type a shape names."""
    if isinstance(types, dict):
        return {re.sub(r"[<>]", "", name): _example(kind) for name, kind in types.items()}
    return 1_700_000_000 if types.startswith("number") else "text"


def _response(status, body, headers=None):
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers or {})
    response._content = json.dumps(body).encode()
    return response


# webhook_fields_seen.json


def test_a_body_of_the_keys_seen_becomes_a_submission():
    seen = load("webhook_fields_seen.json")
    kind = seen["transport"].partition(", ")[2]
    given = {
        "Name": "Ada Lovelace",
        "Email": "Ada@Example.com",
        "Phone": "0200 555 0100",
        "Phone_": "",
        "page_url": "go.acme.example/Loans",
        "ip": "203.0.113.7",
        "ipaddress": "203.0.113.7",
        "referralsource": "http://go.acme.example/loans",
        "City": "Pune",
        "time_to_call": "morning",
        "Qualification": "MBA",
    }
    assert set(given) == set(seen["keys_read_by_a_production_receiver"])
    body = {**given, "page_id": "7356961"}  # which that receiver does not read
    source = make(pages=[{"url": "*/loans", "form_type": "contact"}])
    request = WebhookRequest(
        "POST", "/hooks", f"key={SECRET}", {"content-type": kind}, urlencode(body).encode(), simulated_now()
    )
    (raw,) = source.receive(request)
    (event,) = source.normalize(raw)
    assert event.identifiers[0].value == "ada@example.com"
    assert event.profile == {"name": "Ada Lovelace", "phone": "0200 555 0100", "city": "Pune"}
    fields = {name: value for name, value in event.properties["fields"].items() if name != ALL_VALUES}
    assert fields == {"time_to_call": "morning", "qualification": "MBA"}
    assert event.properties["form_type"] == "contact"
    assert event.occurred_at == simulated_now()  # no time among these keys: the arrival
