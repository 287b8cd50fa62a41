"""Every recorded HubSpot answer goes through the connector's own parsing and error classification.

The recordings are not part of the repository (their licences differ); without them this file skips as a whole. The
table names every file and what becomes of the answers in it. "not used" means that the connector makes no such call.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import yaml
from pydantic import SecretStr

from syncline.errors import RateLimitError, SchemaDriftError, WebhookRejectedError
from syncline.model import Field, Status, from_microseconds
from syncline.sdk import SimulatorOptions, WebhookRequest
from syncline_hubspot.errors import RefusedError, error_of
from syncline_hubspot.payloads import BatchAnswer, FoundList, Membership, Page, Property, PropertyList, Record
from syncline_hubspot.saving import refused_outcome, sorted_out
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.portal import RefusedWrite
from syncline_hubspot.simulator.server import _apart, _whole
from syncline_hubspot.values import decode, field_of, moment_of
from syncline_hubspot.webhooks import records_of, signature_of, verify

FOLDER = Path(__file__).parents[2].parent / "shared" / "recorded" / "hubspot"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recorded HubSpot traffic beside the repository")


class Answer(NamedTuple):
    """One recorded answer; `path` is the file's name where only the body was kept."""

    method: str
    path: str
    status: int
    body: Any
    sent: Any = None
    headers: Mapping[str, str] = {}


def files() -> list[str]:
    return sorted(str(p.relative_to(FOLDER)) for p in FOLDER.rglob("*") if p.is_file() and p.name != "PROVENANCE.md")


# Reading the recordings of five projects


def answers(name: str) -> Iterator[Answer]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    if name.endswith(".yml"):
        yield from _of_cassette(text)
    elif name.startswith("nango/"):
        yield from _of_nango(text)
    elif name.startswith("grouparoo/"):
        yield from _of_grouparoo(text)
    else:
        yield Answer("", name, _status_of(name), _parsed(text))


def _status_of(name: str) -> int:
    """The project that kept only bodies says in the file's name what they came with."""
    found = {"err-conflict": 409, "err-many": 400, "err-partial": 207}
    return next((status for word, status in found.items() if word in name), 200)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _of_nango(text: str) -> Iterator[Answer]:
    for verb, paths in json.loads(text)["api"].items():
        for path, found in paths.items():
            for one in found if isinstance(found, list) else [found]:
                headers = one.get("headers") or {}
                yield Answer(verb.upper(), path, one["status"], one["response"], one["request"].get("data"), headers)


def _of_grouparoo(text: str) -> Iterator[Answer]:
    exchanges = json.loads(text)["exchanges"]
    for exchange in exchanges:
        body = exchange["response"]["body"]
        if isinstance(body, dict) and "$same_body_as_exchange" in body:
            body = exchanges[body["$same_body_as_exchange"]]["response"]["body"]
        request, response = exchange["request"], exchange["response"]
        yield Answer(
            request["method"],
            request["path"],
            response["status"],
            body,
            request.get("body"),
            response.get("headers") or {},
        )


def _of_cassette(text: str) -> Iterator[Answer]:
    for one in yaml.safe_load(text)["http_interactions"]:
        request, response = one["request"], one["response"]
        headers = {name: values[0] for name, values in response["headers"].items()}
        body = _parsed(response["body"]["string"] or "")
        sent = _parsed(request["body"]["string"] or "")
        path = request["uri"].removeprefix("https://api.hubapi.com")
        yield Answer(request["method"].upper(), path, response["status"]["code"], body, sent, headers)


# What the connector makes of an answer

NOT_USED = {
    r"^/(contacts|companies|deals|owners)/v[12]/": "not used: an API before v3",
    r"/oauth/hubspot/client/refresh": "not used: a broker's own address",
    r"^/integrations/v1/me": "not used: an address before account-info",
    r"/crm/v4/associations/|/crm/v4/objects/": "not used: tasks are associated when they are made",
    r"/pipelines|external-pipelines": "not used: pipelines",
    r"/marketing/|marketing-emails|/cms/": "not used: marketing",
    r"^amp_labs/read__events": "not used: events",
    r"^/crm/v3/schemas$": "not used: all schemas, one object's is asked for",
    r"payload|req-": "not used: a request, not an answer",
    r"property-group\.json$": "a group",
    r"/crm/v3/lists/\d+/update-list-name": "not used: lists are not renamed",
    r"/settings/v3/users|/crm/v3/owners": "not used: users",
    r"^webhook_schemas/": "the schema of a notice",
}


def verdict(answer: Answer, types: Mapping[str, Field]) -> str:
    path, body = answer.path.partition("?")[0], answer.body
    if answer.status >= 300:  # whoever was asked
        error = error_of(_response(answer), where="recorded")
        return f"{type(error).__name__} {getattr(error, 'field', '') or getattr(error, 'category', '')}".strip()
    reason = next((text for pattern, text in NOT_USED.items() if re.search(pattern, path)), None)
    if reason is not None:
        return reason
    if path.startswith("webhook_"):
        return _of_webhook(path, body)
    if answer.status == 204 or body == "":
        return "done, nothing to read"
    if "memberships" in path:
        return _membership(answer)
    if "lists" in path:
        return _lists(body)
    if "propert" in path:
        return _properties(body)
    if "results" in body:
        return _batch(body, types) if "status" in body else _page(body, types)
    return _record(body, types)


def _response(answer: Answer) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response._content = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
    response.headers.update(answer.headers)
    return response


def _membership(answer: Answer) -> str:
    if answer.method == "GET":
        return "not used: members of a list"
    changed = Membership.model_validate(answer.body)
    assert set(changed.added) | set(changed.removed) | set(changed.missing) <= set(map(str, answer.sent))
    return f"{len(changed.added)} added, {len(changed.missing)} missing"


def _lists(body: dict[str, Any]) -> str:
    found = [FoundList(list=one) for one in body["lists"]] if "lists" in body else [FoundList.model_validate(body)]
    return ", ".join(f"{f.list.processing} list of {f.list.object_type}" for f in found)


def _properties(body: dict[str, Any]) -> str:
    if "completedAt" in body:
        refused = [p.category for p in BatchAnswer.model_validate({**body, "results": []}).errors]
        made = [field_of(Property.model_validate(p)).kind for p in body["results"]]
        return ", ".join([*made, *refused])
    if "results" in body:
        found = [field_of(p) for p in PropertyList.model_validate(body).results]
        return f"{len(found)} described, {sum(not f.writable for f in found)} of them read-only"
    return f"{field_of(Property.model_validate(body)).kind} described"


def _batch(body: dict[str, Any], types: Mapping[str, Field]) -> str:
    answer = BatchAnswer.model_validate(body)
    for record in answer.results:
        _values(record, types)
    inputs = [("Id", r.id) for r in answer.results]
    matched = sorted_out(answer.model_copy(update={"errors": ()}), inputs)
    assert [a.record for a in matched] == list(answer.results)
    told = [refused_outcome("k", problem) for problem in answer.errors]
    return ", ".join([f"{len(answer.results)} saved or read", *(f"{o.status.value} {o.code}" for o in told)])


def _page(body: dict[str, Any], types: Mapping[str, Field]) -> str:
    page = Page.model_validate(body)
    for record in page.results:
        _values(record, types)
    return "page" if page.results else "empty page"


def _record(body: dict[str, Any], types: Mapping[str, Field]) -> str:
    """Single records are not asked for by the connector, but they look like those of a batch."""
    _values(Record.model_validate(body), types)
    return "record"


def _values(record: Record, types: Mapping[str, Field]) -> None:
    assert record.id.isdigit()
    assert record.updated_at is not None
    assert record.updated_at.tzinfo is not None
    for name, raw in record.properties.items():
        value = decode(types.get(name), raw)
        if raw and name.endswith("modifieddate"):
            assert moment_of(raw) == record.updated_at
        if name in types and value is not None:
            wanted: dict[str, Any] = {"boolean": bool, "number": (int, Decimal), "date": date, "datetime": datetime}
            assert isinstance(value, wanted.get(types[name].kind, str)), (name, types[name].kind, raw)


def _of_webhook(path: str, body: Any) -> str:
    if "vectors" in path:
        return ", ".join(Counter(v["version"] for v in body["vectors"]))
    (request,) = body
    notices = WebhookRequest("POST", "/", "", {}, request["raw_body"].encode(), from_microseconds(0))
    return ", ".join(f"{r.stream} {r.payload['subscriptionType']}" for r in records_of(notices))


def verdicts(name: str) -> dict[str, int]:
    types = described() if "contact" in name else {}
    return dict(Counter(verdict(a, types) for a in answers(name)))


def described() -> dict[str, Field]:
    """The fields of a recorded description, by which values of other recordings are typed."""
    (answer,) = answers("amp_labs/metadata-contacts-properties-sampled.json")
    return {f.name: f for f in map(field_of, PropertyList.model_validate(answer.body).results)}


TABLE: dict[str, dict[str, int]] = {
    "amp_labs/batch__create__contacts__err-conflict.json": {"RefusedError CONFLICT": 1},
    "amp_labs/batch__create__contacts__err-many-invalid-properties.json": {"SchemaDriftError first000name": 1},
    "amp_labs/batch__create__contacts__err-partial-success.json": {"1 saved or read, rejected CONFLICT": 1},
    "amp_labs/batch__create__contacts__success.json": {"2 saved or read": 1},
    "amp_labs/custom__create__1-payload-create-property-group.json": {"not used: a request, not an answer": 1},
    "amp_labs/custom__create__2-response-create-property-group.json": {"a group": 1},
    "amp_labs/custom__create__3-payload-batch-create-properties.json": {"not used: a request, not an answer": 1},
    "amp_labs/custom__create__4-response-batch-create-properties.json": {"number, option": 1},
    "amp_labs/custom__update__1-read-property-group.json": {"a group": 1},
    "amp_labs/custom__update__2-payload-batch-create-properties.json": {"not used: a request, not an answer": 1},
    "amp_labs/custom__update__3-response-batch-create-properties.json": {
        "text, boolean, OBJECT_ALREADY_EXISTS, OBJECT_ALREADY_EXISTS": 1
    },
    "amp_labs/custom__update__4-payload-update-property-age.json": {"not used: a request, not an answer": 1},
    "amp_labs/custom__update__5-response-update-property-age.json": {"number described": 1},
    "amp_labs/custom__update__6-payload-update-property-interests.json": {"not used: a request, not an answer": 1},
    "amp_labs/custom__update__7-response-update-property-interests.json": {"option described": 1},
    "amp_labs/metadata-contacts-external-pipelines.json": {"not used: pipelines": 1},
    "amp_labs/metadata-contacts-properties-sampled.json": {"15 described, 7 of them read-only": 1},
    "amp_labs/read-lists-1-first-page.json": {"DYNAMIC list of 0-1, SNAPSHOT list of 0-2": 1},
    "amp_labs/read-lists-2-second-page.json": {"MANUAL list of 0-1": 1},
    "amp_labs/read-via-search__contacts-payload.json": {"not used: a request, not an answer": 1},
    "amp_labs/read__events__e_deal_closed.json": {"not used: events": 1},
    "amp_labs/read__events__e_visited_page.json": {"not used: events": 1},
    "amp_labs/read__marketing-emails__1-first-page.json": {"not used: marketing": 1},
    "amp_labs/read__marketing-emails__2-last-page.json": {"not used: marketing": 1},
    "amp_labs/read__objects-api__contacts-batch.json": {"2 saved or read": 1},
    "amp_labs/read__objects-api__contacts-req-payload-since-until.json": {"not used: a request, not an answer": 1},
    "amp_labs/read__objects-api__contacts-req-payload-until.json": {"not used: a request, not an answer": 1},
    "amp_labs/read__objects-api__contacts-response.json": {"page": 1},
    "grouparoo/export-objects__destination-options.json": {
        "not used: all schemas, one object's is asked for": 2,
        "not used: a broker's own address": 1,
    },
    "grouparoo/export-objects__export-records-contact.json": {
        "page": 127,
        "done, nothing to read": 15,
        "empty page": 81,
        "RateLimitError": 22,
        "1 saved or read": 18,
        "2 saved or read": 2,
        "10 saved or read": 10,
        "not used: a broker's own address": 1,
    },
    "grouparoo/export__export-record.json": {
        "RefusedError OBJECT_NOT_FOUND": 29,
        "not used: an API before v3": 122,
        "RefusedError": 2,
    },
    "grouparoo/test.json": {"not used: an address before account-info": 2, "not used: a broker's own address": 3},
    "hubspot_api_ruby/Hubspot_Association_batch_create_with_a_valid_request_associates_the_resources.yml": {
        "not used: an API before v3": 4,
        "not used: tasks are associated when they are made": 1,
    },
    "hubspot_api_ruby/Hubspot_Association_create_with_a_valid_ID_associates_the_resources.yml": {
        "not used: an API before v3": 3,
        "not used: tasks are associated when they are made": 1,
    },
    "hubspot_api_ruby/Hubspot_Association_delete_with_an_invalid_ID_does_not_raise_an_error.yml": {
        "not used: an API before v3": 3,
        "not used: tasks are associated when they are made": 2,
    },
    "hubspot_api_ruby/Hubspot_Company_add_contact_with_a_valid_company_ID_and_contact_ID_adds_the_contact_to_the_company.yml": {  # noqa: E501  # the name of a file
        "not used: an API before v3": 4,
        "not used: tasks are associated when they are made": 1,
    },
    "hubspot_api_ruby/Hubspot_Company_add_contact_with_a_valid_company_ID_and_invalid_contact_ID_returns_false.yml": {
        "not used: an API before v3": 1,
        "not used: tasks are associated when they are made": 1,
    },
    "hubspot_api_ruby/Hubspot_Company_remove_contact_with_a_valid_company_ID_and_contact_ID_returns_success.yml": {
        "not used: an API before v3": 2,
        "not used: tasks are associated when they are made": 2,
    },
    "hubspot_api_ruby/Hubspot_Contact_all_with_a_limit_respects_the_limit.yml": {"page": 1},
    "hubspot_api_ruby/Hubspot_Contact_all_with_an_offset_returns_a_collection.yml": {
        "not used: an API before v3": 1,
        "page": 1,
    },
    "hubspot_api_ruby/Hubspot_Contact_all_without_options_has_an_offset.yml": {"page": 1},
    "hubspot_api_ruby/Hubspot_Contact_all_without_options_returns_a_collection.yml": {"page": 1},
    "hubspot_api_ruby/Hubspot_Contact_create_with_an_existing_email_address_raises_an_error.yml": {
        "not used: an API before v3": 1,
        "RefusedError OBJECT_ALREADY_EXISTS": 1,
    },
    "hubspot_api_ruby/Hubspot_Contact_create_with_an_invalid_email_address_raises_an_error.yml": {"RefusedError": 1},
    "hubspot_api_ruby/Hubspot_Contact_create_with_properties_has_the_property_set.yml": {
        "not used: an API before v3": 1
    },
    "hubspot_api_ruby/Hubspot_Contact_create_with_properties_is_persisted.yml": {"not used: an API before v3": 1},
    "hubspot_api_ruby/Hubspot_Contact_create_without_properties_creates_a_new_contact.yml": {
        "not used: an API before v3": 1
    },
    "hubspot_api_ruby/Hubspot_Contact_find_by_email_finds_the_contact.yml": {"not used: an API before v3": 2},
    "hubspot_api_ruby/Hubspot_Contact_find_with_a_valid_ID_finds_the_contact.yml": {"not used: an API before v3": 3},
    "hubspot_api_ruby/Hubspot_Contact_merge_with_a_valid_contact_succeeds.yml": {"not used: an API before v3": 3},
    "hubspot_api_ruby/Hubspot_Deal_associate_associates_the_deal_to_the_contact_and_the_company.yml": {
        "not used: an API before v3": 4,
        "not used: tasks are associated when they are made": 2,
    },
    "hubspot_api_ruby/Hubspot_Deal_associate_when_an_id_is_invalid_returns_false_and_changes_valid_associations.yml": {
        "not used: an API before v3": 3,
        "not used: tasks are associated when they are made": 2,
    },
    "hubspot_api_ruby/Hubspot_Deal_find_by_company_returns_company_deals.yml": {
        "not used: an API before v3": 3,
        "not used: tasks are associated when they are made": 1,
    },
    "hubspot_api_ruby/contact_list_update.yml": {
        "MANUAL list of 0-1": 1,
        "not used: lists are not renamed": 1,
        "done, nothing to read": 1,
    },
    "hubspot_api_ruby/contact_lists__add_contact.yml": {
        "not used: an API before v3": 2,
        "MANUAL list of 0-1": 1,
        "1 added, 0 missing": 1,
        "done, nothing to read": 1,
    },
    "hubspot_api_ruby/contact_lists__add_existing_contact.yml": {
        "not used: an API before v3": 2,
        "MANUAL list of 0-1": 1,
        "1 added, 0 missing": 1,
        "0 added, 0 missing": 1,
        "done, nothing to read": 1,
    },
    "hubspot_api_ruby/contacts_among_list.yml": {"not used: members of a list": 2},
    "hubspot_api_ruby/create_list.yml": {"not used: an API before v3": 1, "MANUAL list of 0-1": 1},
    "hubspot_api_ruby/fail_to_create_list.yml": {"RefusedError": 1, "RefusedError VALIDATION_ERROR": 1},
    "hubspot_api_ruby/task_search.yml": {"page": 1},
    "hubspot_api_ruby/task_update.yml": {"record": 1},
    "hubspot_api_ruby/ticket.yml": {"record": 1},
    "hubspot_api_ruby/ticket_find.yml": {"record": 1, "RefusedError": 1},
    "nango/batch-create-companies.test.json": {"1 saved or read": 1},
    "nango/clone-marketing-email.test.json": {"not used: marketing": 1},
    "nango/create-contact.test.json": {"record": 1},
    "nango/create-deal.test.json": {"record": 1},
    "nango/create-marketing-email.test.json": {"not used: marketing": 1},
    "nango/create-note.test.json": {"record": 1},
    "nango/create-property.test.json": {"text described": 1},
    "nango/create-task.test.json": {"record": 1},
    "nango/create-ticket.test.json": {"record": 1},
    "nango/deals.test.json": {"page": 1},
    "nango/delete-company.test.json": {"done, nothing to read": 1},
    "nango/delete-contact.test.json": {"done, nothing to read": 1},
    "nango/delete-marketing-email.test.json": {"not used: marketing": 1},
    "nango/delete-ticket.test.json": {"done, nothing to read": 1},
    "nango/fetch-pipelines.test.json": {"not used: pipelines": 1},
    "nango/get-company.test.json": {"record": 1},
    "nango/get-contact.test.json": {"record": 1},
    "nango/get-deal.test.json": {"record": 1},
    "nango/list-contacts.test.json": {"page": 1},
    "nango/list-deals.test.json": {"page": 1},
    "nango/list-marketing-emails.test.json": {"not used: marketing": 1},
    "nango/marketing-emails.test.json": {"not used: marketing": 1},
    "nango/products.test.json": {"empty page": 1},
    "nango/search-companies.test.json": {"page": 1},
    "nango/search-deals.test.json": {"page": 1},
    "nango/search-tickets.test.json": {"page": 1},
    "nango/tasks.test.json": {"page": 1},
    "nango/update-contact.test.json": {"record": 1},
    "nango/update-deal-clear-fields.test.json": {"record": 1},
    "nango/update-deal.test.json": {"record": 1},
    "nango/update-marketing-email.test.json": {"not used: marketing": 1},
    "ruby_hubspot_api/companies__find_by_id.yml": {"record": 1},
    "ruby_hubspot_api/companies__patch_name.yml": {"record": 5},
    "ruby_hubspot_api/contacts__find_missing_user_by_email.yml": {"RefusedError": 1},
    "ruby_hubspot_api/contacts__patch_last_name.yml": {"record": 5},
    "ruby_hubspot_api/contacts__properties_no_scope.yml": {"ScopeError": 1},
    "ruby_hubspot_api/contacts__search.yml": {"page": 1},
    "ruby_hubspot_api/contacts__search_by_string.yml": {"page": 1},
    "ruby_hubspot_api/lifecycle__companies__.yml": {"record": 1},
    "ruby_hubspot_api/lifecycle__contacts__find_by_delete.yml": {"done, nothing to read": 1},
    "ruby_hubspot_api/lifecycle__contacts__find_delete.yml": {"done, nothing to read": 1},
    "ruby_hubspot_api/lifecycle__contacts__patch_last_name.yml": {"record": 1},
    "ruby_hubspot_api/users__find_by_id_no_scope.yml": {"ScopeError": 1},
    "webhook_contact_creation.json": {"contacts contact.creation": 1},
    "webhook_schemas/company_change.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/company_creation.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/company_deletion.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/contact_change.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/contact_creation.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/contact_deletion.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/deal_change.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/deal_creation.schema.json": {"the schema of a notice": 1},
    "webhook_schemas/deal_deletion.schema.json": {"the schema of a notice": 1},
    "webhook_signature_vectors.json": {"v1, v2, v3": 1},
}
"""File -> what becomes of its answers -> how many of them."""


def test_every_file_is_in_the_table() -> None:
    assert files() == sorted(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_recorded_answers_are_understood(name: str) -> None:
    assert verdicts(name) == TABLE[name]


# What single recordings say


def body_of(name: str) -> Any:
    (answer,) = answers(name)
    return answer.body


SEARCHES = "grouparoo/export-objects__export-records-contact.json"


def test_a_search_that_was_too_much_may_be_asked_again_after_a_second() -> None:
    """22 real 429s, none with Retry-After: the same request, sent again, succeeded each time."""
    found = list(answers(SEARCHES))
    refused = [number for number, answer in enumerate(found) if answer.status == 429]
    assert len(refused) == 22
    for number in refused:
        answer, again = found[number], found[number + 1]
        assert "retry-after" not in {name.lower() for name in answer.headers}
        error = error_of(_response(answer), where="recorded")
        assert isinstance(error, RateLimitError)
        assert (error.retry_after.total_seconds() if error.retry_after else None) == 1
        assert error.request_id == answer.body["correlationId"]
        assert (again.method, again.path, again.sent) == (answer.method, answer.path, answer.sent)
        assert again.status == 200
        assert Page.model_validate(again.body).total is not None


def test_searches_lag_behind_and_their_total_too() -> None:
    """After a record was archived, searches went on to count it without bringing it: totals decide nothing here."""
    counted = [a for a in answers(SEARCHES) if a.path.endswith("/search") and a.status == 200]
    assert sum(a.body["total"] > 0 and not a.body["results"] for a in counted) == 19


def test_drift_names_the_property() -> None:
    body = body_of("amp_labs/batch__create__contacts__err-many-invalid-properties.json")
    error = error_of(_response(Answer("POST", "", 400, body)), where="recorded")
    assert isinstance(error, SchemaDriftError)
    assert error.field == "first000name"
    assert 'last000name: Property "last000name" does not exist' in error.message


def test_a_refused_input_is_found_by_its_trace_id() -> None:
    answer = BatchAnswer.model_validate(body_of("amp_labs/batch__create__contacts__err-partial-success.json"))
    first, second = sorted_out(answer, [("email", "x@y.z"), ("email", "siena.dyer@hubspot.com")])
    assert second.record is not None
    assert first.problem is not None
    outcome = refused_outcome("k", first.problem)
    assert (outcome.status, outcome.code) == (Status.REJECTED, "CONFLICT")
    assert str(outcome.reason).endswith("Existing ID: 171591000198")


def test_a_conflict_of_a_whole_call_is_known_as_one() -> None:
    body = body_of("amp_labs/batch__create__contacts__err-conflict.json")
    error = error_of(_response(Answer("POST", "", 409, body)), where="recorded")
    assert isinstance(error, RefusedError)
    assert (error.status, error.category) == (409, "CONFLICT")


def test_a_created_record_names_the_app_that_made_it() -> None:
    """That is how we learn who we are when nobody tells; older histories show the same id beside every value."""
    for record in BatchAnswer.model_validate(body_of("amp_labs/batch__create__contacts__success.json")).results:
        assert record.properties["hs_object_source"] == "INTEGRATION"
        assert record.properties["hs_object_source_id"] == "19083857"
    text = (FOLDER / "hubspot_api_ruby/Hubspot_Contact_find_with_a_valid_ID_finds_the_contact.yml").read_text()
    assert set(re.findall(r'"source-type":"INTEGRATION","source-id":"(\d+)"', text)) == {"1024781"}


def test_clearing_is_an_empty_text() -> None:
    (answer,) = answers("nango/update-deal-clear-fields.test.json")
    assert answer.sent["properties"]["closedate"] == ""
    assert decode(Field("closedate", "datetime"), answer.body["properties"]["closedate"]) is None


def vectors(*versions: str) -> list[dict[str, Any]]:
    return [v for v in body_of("webhook_signature_vectors.json")["vectors"] if v["version"] in versions]


def request_of(vector: Mapping[str, Any]) -> WebhookRequest:
    stamp = vector["timestamp_ms"] or "1700000000000"
    headers = {"x-hubspot-signature-v3": vector["signature"], "x-hubspot-request-timestamp": stamp}
    moment = from_microseconds(int(stamp) * 1000)
    uri = vector["uri"] or "https://hooks.example.com/"
    return WebhookRequest(vector["method"], "/", "", headers, vector["body"].encode(), moment, uri)


def test_signatures_agree_with_the_recorded_vectors() -> None:
    found = vectors("v3")
    assert len(found) == 2
    for vector in found:
        request, secret = request_of(vector), SecretStr(vector["client_secret"])
        stamp = vector["timestamp_ms"]
        ours = signature_of(secret.get_secret_value(), request.method, request.url, request.body, stamp)
        assert ours == vector["signature"]
        verify(request, secret)
        with pytest.raises(WebhookRejectedError):
            verify(request, SecretStr("another"))


def test_older_signatures_do_not_pass_for_new_ones() -> None:
    for vector in vectors("v1", "v2"):
        with pytest.raises(WebhookRejectedError):
            verify(request_of(vector), SecretStr(vector["client_secret"]))


# The simulator against the recordings


@pytest.fixture(scope="module")
def simulator() -> HubspotSimulator:
    return HubspotSimulator(SimulatorOptions(people=10, clock="2026-06-01T08:00:00+00:00"))


def keys_and_types(shown: Mapping[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in shown.items()}


def test_simulated_definitions_have_the_recorded_shape(simulator: HubspotSimulator) -> None:
    recorded = {p["name"]: p for p in body_of("amp_labs/metadata-contacts-properties-sampled.json")["results"]}
    ours = {p["name"]: p for p in simulator.portal.shown("contacts")}
    assert keys_and_types(ours["address"]) == keys_and_types(recorded["address"])
    for name in ours.keys() & recorded.keys():
        shared = ("type", "fieldType", "groupName", "calculated", "hasUniqueValue", "externalOptions", "label")
        assert {k: ours[name][k] for k in shared} == {k: recorded[name][k] for k in shared}
    assert len(ours.keys() & recorded.keys()) >= 2


def test_simulated_custom_properties_have_the_recorded_shape(simulator: HubspotSimulator) -> None:
    recorded = body_of("nango/create-property.test.json")
    body = {"name": "shape", "label": "S", "type": "string", "fieldType": "text", "groupName": "contactinformation"}
    made = simulator.portal.define("contacts", body, 0)
    assert set(recorded) - set(made) == {"updatedUserId"}
    assert set(made) <= set(recorded)


def test_a_simulated_list_has_the_recorded_shape(simulator: HubspotSimulator) -> None:
    recorded = next(a.body for a in answers("hubspot_api_ruby/create_list.yml") if "lists" in a.path and "v3" in a.path)
    made = simulator.lists.create({"name": "shape", "objectTypeId": "0-1", "processingType": "MANUAL"})
    assert set(made) <= set(recorded["list"])
    assert set(recorded["list"]) - set(made) <= {"listPermissions", "membershipSettings", "size"}


def test_simulated_records_have_the_recorded_shape(simulator: HubspotSimulator) -> None:
    recorded = body_of("amp_labs/batch__create__contacts__success.json")["results"][0]
    row = simulator.portal.create("contacts", {"email": "lily@x.example", "firstname": "Lily", "lastname": "Skinner"})
    shown = simulator._shown("contacts", row, whole=True)
    assert keys_and_types(shown) == keys_and_types(recorded)
    same = set(shown["properties"]) & set(recorded["properties"])
    assert {"createdate", "lastmodifieddate", "hs_object_source_id", "hs_email_domain", "lifecyclestage"} <= same
    assert {type(shown["properties"][n]) for n in same} == {str}
    assert shown["properties"]["lifecyclestage"] == recorded["properties"]["lifecyclestage"] == "lead"


def test_simulated_refusals_have_the_recorded_shape(simulator: HubspotSimulator) -> None:
    whole = body_of("amp_labs/batch__create__contacts__err-many-invalid-properties.json")
    with pytest.raises(RefusedWrite) as caught:
        simulator.portal.create("contacts", {"first000name": "x", "lastname": "y"})
    ours = _whole(caught.value)
    assert keys_and_types(ours) == keys_and_types(whole)
    assert ours["errors"][0] == whole["errors"][0]
    listed = json.loads(ours["message"].partition(": ")[2])
    assert listed[0] == json.loads(whole["message"].partition(": ")[2])[0]


def test_a_simulated_conflict_has_the_recorded_shape(simulator: HubspotSimulator) -> None:
    (recorded,) = body_of("amp_labs/batch__create__contacts__err-partial-success.json")["errors"]
    simulator.portal.create("contacts", {"email": "taken@x.example"})
    with pytest.raises(RefusedWrite) as caught:
        simulator.portal.create("contacts", {"email": "taken@x.example"})
    ours = _apart(caught.value, "0")
    assert keys_and_types(ours) == keys_and_types(recorded)
    assert (ours["category"], set(ours["context"])) == (recorded["category"], set(recorded["context"]))
    assert re.sub(r"\d+", "N", ours["message"]) == re.sub(r"\d+", "N", recorded["message"])


def test_a_simulated_429_of_a_search_has_the_recorded_shape(simulator: HubspotSimulator) -> None:
    recorded = next(a for a in answers(SEARCHES) if a.status == 429)
    simulator._line = "POST /crm/v3/objects/contacts/search"
    ours = simulator.too_many(None)
    assert ours.status_code == 429
    body = json.loads(ours.get_data())
    assert keys_and_types(body) == keys_and_types(recorded.body)
    assert {n: body[n] for n in ("status", "message", "category")} == {
        n: recorded.body[n] for n in ("status", "message", "category")
    }


def test_simulated_notices_have_the_recorded_and_described_keys(simulator: HubspotSimulator) -> None:
    (request,) = body_of("webhook_contact_creation.json")
    recorded = json.loads(request["raw_body"])[0]
    id = simulator.human_create("contacts", lastname="Notice")
    simulator.human_edit("contacts", id, jobtitle="CFO")
    simulator.delete_record("contacts", id)
    ours = {n["subscriptionType"]: n for n in simulator.notices.all()}
    assert set(recorded) - set(ours["contact.creation"]) <= {"changeFlag"}
    for name, word in (("change", "propertyChange"), ("creation", "creation"), ("deletion", "deletion")):
        schema = body_of(f"webhook_schemas/contact_{name}.schema.json")
        assert set(schema["properties"]) - set(ours[f"contact.{word}"]) <= {"changeFlag"}
