"""Recorded Mailchimp traffic through the connector's parsing and error classification, file by file.

The recordings are other projects' (see their PROVENANCE.md); they stay outside the repository. `VERDICTS` says of every
file what becomes of each exchange in it, so that a new file, or a changed reading, shows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import requests

from syncline.errors import ConnectorError, RecordError
from syncline.model import RawRecord
from syncline.sdk import Context, Http, WebhookRequest
from syncline.testing.population import simulated_now
from syncline_mailchimp import MailchimpConfig, MailchimpConnector
from syncline_mailchimp.errors import refuse
from syncline_mailchimp.payloads import Automation, Listing, Member, MergeField, Report, Root, Tag
from syncline_mailchimp.values import field_of

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "mailchimp"

pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="recorded Mailchimp traffic (shared/recorded/mailchimp) is not here"
)

# What can become of an exchange
MEMBER = "member read"
NO_ZONE = "member refused: its times name no zone"
NO_BODY = "success without a body"
UNUSED = "read by nobody: this connector does not call it"
MERGE_FIELDS = "merge fields described"
TAGS = "tags read"
LEFT = "webhook: she left, and her consent is withdrawn"
SCHEMA = "webhook schema: its keys are those we read"

VERDICTS: dict[str, dict[str, int]] = {
    "grouparoo/export__destinationMappingOptions.json": {MERGE_FIELDS: 2},
    "grouparoo/export__exportRecord.json": {
        MEMBER: 64,
        NO_BODY: 22,
        "GoneError": 37,
        "ConnectorError": 3,
        "InvalidError": 5,
    },
    "grouparoo/integration__mailchimpExportContacts.json": {
        MEMBER: 7,
        NO_BODY: 3,
        "ConnectorError": 1,
        MERGE_FIELDS: 2,
        UNUSED: 4,
    },
    "mailchimp_api_v3/exception.json": {"ConfigError": 2, "root read": 1, "AuthError": 1},
    "mailchimp_api_v3/lists.json": {UNUSED: 2, "GoneError": 1},
    "mailchimp_api_v3/members_create_or_update.json": {MEMBER: 30, "GoneError": 1, UNUSED: 2},
    "mailchimp_api_v3/members_paging.json": {MEMBER: 29, UNUSED: 2},
    "nango/audiences.test.json": {UNUSED: 1},
    "nango/automations.test.json": {"automations read": 1},
    "nango/create-member.test.json": {MEMBER: 1},
    "nango/create-store.test.json": {UNUSED: 1},
    "nango/create-template.test.json": {UNUSED: 1},
    "nango/delete-segment.test.json": {NO_BODY: 1},
    "nango/get-audience.test.json": {UNUSED: 1},
    "nango/get-automation.test.json": {UNUSED: 1},
    "nango/get-campaign-report.test.json": {"report read": 1},
    "nango/get-campaign.test.json": {UNUSED: 1},
    "nango/get-segment.test.json": {UNUSED: 1},
    "nango/get-template.test.json": {UNUSED: 1},
    "nango/list-audiences.test.json": {UNUSED: 1},
    "nango/list-campaigns.test.json": {UNUSED: 1},
    "nango/list-members.test.json": {MEMBER: 1},
    "nango/list-segments.test.json": {TAGS: 1},
    "nango/tag-member.test.json": {NO_BODY: 1},
    "nango/update-audience.test.json": {UNUSED: 1},
    "nango/update-member.test.json": {MEMBER: 1},
    # The vendor's documentation of 2015, not recordings. Its times have no zone: no traffic was ever seen like that.
    "rewindio_docs_examples/campaign_folder.json": {UNUSED: 1},
    "rewindio_docs_examples/campaign_folders.json": {UNUSED: 1},
    "rewindio_docs_examples/interest_category.json": {UNUSED: 1},
    "rewindio_docs_examples/lists.json": {UNUSED: 1},
    "rewindio_docs_examples/member.json": {NO_ZONE: 1},
    "rewindio_docs_examples/members.json": {NO_ZONE: 3},
    "rewindio_docs_examples/segment_members.json": {MEMBER: 1},
    "rewindio_docs_examples/tags.json": {TAGS: 1},
    # Schemas of another project, with camel-cased keys of their own making only around the form
    "webhook_schemas/campaign_sending_status.schema.json": {SCHEMA: 1},
    "webhook_schemas/cleaned_email.schema.json": {SCHEMA: 1},
    "webhook_schemas/email_address_change.schema.json": {SCHEMA: 1},
    "webhook_schemas/profile_update.schema.json": {SCHEMA: 1},
    "webhook_schemas/subscribe.schema.json": {SCHEMA: 1},
    "webhook_schemas/unsubscribe.schema.json": {SCHEMA: 1},
    "webhook_unsubscribe.json": {LEFT: 1},
}


READ_KEYS = {
    "campaign_sending_status": {"list_id"},
    "cleaned_email": {"list_id", "campaign_id", "email"},
    "email_address_change": {"list_id", "new_email", "old_email"},
    "profile_update": {"list_id"},
    "subscribe": {"list_id", "email", "ip_signup"},
    "unsubscribe": {"list_id", "email", "action", "reason", "campaign_id"},
}
"""Webhook → the keys of its form that we read."""


def test_every_recording_has_a_verdict():
    found = {path.relative_to(RECORDED).as_posix() for path in RECORDED.rglob("*.json")}
    assert found == set(VERDICTS)


@pytest.mark.parametrize("name", VERDICTS, ids=str)
def test_recording(name):
    if not (RECORDED / name).is_file():
        pytest.fail(f"{name} is gone from the recordings; take it out of VERDICTS")
    outcomes = Counter(outcome for exchange in _exchanges(name) for outcome in _outcomes(*exchange))
    assert dict(outcomes) == VERDICTS[name]


@pytest.mark.parametrize("name", ["nango/list-members.test.json"])
def test_what_another_project_made_of_a_member_is_what_we_make_of_her(name):
    """The file holds the vendor's answer and the other project's own reading of it."""
    document = json.loads((RECORDED / name).read_text(encoding="utf-8"))
    (theirs,) = document["output"]["members"]
    ((_, _, _, _, body),) = _exchanges(name)
    (event,) = _source().normalize(RawRecord("members", "k", body["members"][0]))
    assert event.identifiers[0].value == theirs["email_address"].lower()
    assert event.identifiers[1].value == theirs["id"]
    assert event.properties["granted"] is (theirs["status"] == "subscribed")
    assert event.profile["first_name"] == theirs["merge_fields"]["FNAME"]
    assert event.occurred_at.isoformat() == theirs["last_changed"]


EXPORTS = "grouparoo/export__exportRecord.json"


def test_the_contact_id_outlives_the_address():
    """Recorded 2021: two changes of address, an archiving and a coming back; the hash changes, the contact id stays."""
    rows = [body for _, _, _, _, body in _exchanges(EXPORTS) if isinstance(body, dict) and "contact_id" in body]
    hers = [Member.model_validate(row) for row in rows if row["web_id"] == 400751728]
    assert {member.lasting_id for member in hers} == {"93b835cc104791040b356ff76030415d"}
    assert len({member.id for member in hers}) == 3
    assert {member.status for member in hers} == {"subscribed", "unsubscribed", "archived"}


def test_fields_of_somebody_unsubscribed_are_written_without_subscribing_her():
    """Recorded 2021: without a status the status stays; and unknown tags are ignored with a 200."""
    document = json.loads((RECORDED / EXPORTS).read_text(encoding="utf-8"))
    silent = [
        (exchange["request"]["body"]["merge_fields"], exchange["response"]["body"])
        for exchange in document["exchanges"]
        if exchange["request"]["method"] == "PUT"
        and exchange["response"]["status"] == 200
        and "status" not in exchange["request"]["body"]
    ]
    assert "unsubscribed" in {answer["status"] for _, answer in silent}
    assert all("email_address" in sent and "email_address" not in answer["merge_fields"] for sent, answer in silent)
    cleared = [answer["merge_fields"]["LTV"] for sent, answer in silent if sent.get("LTV") == ""]
    assert cleared == [""]


def test_a_patch_leaves_alone_what_it_does_not_name():
    """Recorded 2017."""
    document = json.loads((RECORDED / "mailchimp_api_v3/members_create_or_update.json").read_text(encoding="utf-8"))
    patches = [e for e in document["exchanges"] if e["request"]["method"] == "PATCH"]
    assert patches
    for exchange in patches:
        assert set(exchange["request"]["body"]["merge_fields"]) == {"FNAME"}
        assert exchange["response"]["body"]["merge_fields"]["LNAME"] == "Redacted Name"


def test_the_recorded_webhook_is_an_unsubscribe():
    [recorded] = json.loads((RECORDED / "webhook_unsubscribe.json").read_text(encoding="utf-8"))
    body = recorded["raw_body"].encode()
    now = simulated_now()
    secret = "0123456789abcdef"
    request = WebhookRequest("POST", f"/{secret}", "", {}, body, now, f"https://hooks.example.com/{secret}")
    connector = _source(audience="f1243a3b12", url_secret=secret)
    [raw] = connector.receive(request)
    left, consent = connector.normalize(raw)
    assert (left.type, consent.properties["granted"]) == ("email_unsubscribe", False)
    assert left.identifiers[0].value == dict(recorded["decoded"])["data[email]"]
    assert left.occurred_at.isoformat() == "2014-10-22T13:10:00+00:00"


def _source(**settings):
    config = MailchimpConfig.model_validate({"api_key": "0-us1", "audience": "a36b032126", **settings})
    return MailchimpConnector(config, Context("recorded", Http("recorded"), simulated_now, {}))


def _exchanges(name):
    """(method, path, status, headers, body) of every exchange in a file, whatever project's format it is in."""
    document = json.loads((RECORDED / name).read_text(encoding="utf-8"))
    if isinstance(document, dict) and "exchanges" in document:
        return list(_vcr(document["exchanges"]))
    if isinstance(document, dict) and "api" in document:
        return [
            (method.upper(), path, answer["status"], answer["headers"], answer["response"])
            for method, paths in document["api"].items()
            for path, answer in paths.items()
        ]
    if name == "webhook_unsubscribe.json":
        return [("WEBHOOK", name, 200, {}, document[0]["raw_body"])]
    return [("DOCUMENT", name, 200, {"Content-Type": "application/json"}, document)]


def _vcr(exchanges):
    for exchange in exchanges:
        request, answer = exchange["request"], exchange["response"]
        path = request.get("path") or re.sub(r"^https?://[^/]+", "", request["url"])
        body = answer["body"]
        if isinstance(body, dict) and "$same_body_as_exchange" in body:
            body = exchanges[body["$same_body_as_exchange"]]["response"]["body"]
        yield request["method"], path.partition("?")[0], answer["status"], answer["headers"], body


def _outcomes(method, path, status, headers, body):
    """What the connector makes of one exchange; of a page of members, one outcome each."""
    try:
        refuse(_response(status, headers, body), where=f"{method} {path}")
    except ConnectorError as error:
        return [type(error).__name__]
    if status == 204:
        return [NO_BODY]
    if isinstance(body, dict) and {"email_address", "status", "id"} <= set(body):
        return [_member(body)]
    if isinstance(body, dict) and isinstance(body.get("members"), list):
        listing = Listing.model_validate({"rows": body["members"], "total_items": body["total_items"]})
        return [_member(row) for row in listing.rows]
    return [_other(path, body)]


def _member(row):
    try:
        consent, *_ = _source().normalize(RawRecord("members", row["id"], row))
    except RecordError as error:
        return NO_ZONE if "timezone" in str(error) else f"member refused: {error}"
    assert consent.properties["granted"] is (row["status"] == "subscribed")
    return MEMBER


def _other(path, body):
    if path == "webhook_unsubscribe.json":
        return LEFT if dict(parse_qsl(body))["type"] == "unsubscribe" else UNUSED
    if path.startswith("webhook_schemas/"):
        data = set(body["properties"]["data"]["properties"])
        return SCHEMA if data >= READ_KEYS[path.removeprefix("webhook_schemas/").partition(".")[0]] else UNUSED
    if path.endswith("/merge-fields"):
        fields = [field_of(MergeField.model_validate(row), "SYNCKEY") for row in body["merge_fields"]]
        assert {field.name: field.kind for field in fields}["LTV"] == "number"
        return MERGE_FIELDS
    if path.endswith(("/segments", "tags.json")):
        assert all(Tag.model_validate(row).id for row in body.get("segments") or body["tags"])
        return TAGS
    if path == "/3.0/":
        Root.model_validate(body)
        return "root read"
    if re.fullmatch(r"/3.0/reports/\w+", path):
        assert Report.model_validate(body).id == body["id"]
        return "report read"
    if path == "/3.0/automations":
        listing = Listing.model_validate({"rows": body["automations"], "total_items": body["total_items"]})
        assert all(Automation.model_validate(row).id for row in listing.rows)
        return "automations read"
    return UNUSED


def _response(status, headers, body):
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    response._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    return response
