"""Every recorded Salesforce answer goes through the connector's own parsing and error classification.

The recordings are not part of the repository (their licences differ); without them this file skips as a whole. The
table names every file and what becomes of the answers in it. "not used" means that the connector makes no such call.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from requests import Response
from werkzeug.wrappers import Request

from syncline.errors import SchemaDriftError
from syncline.model import Field, Outcome
from syncline.sdk import SimulatorOptions
from syncline_salesforce.errors import drifted_field, error_of, problem_of_cell, token_error
from syncline_salesforce.field_history import HistoryObject, history_of
from syncline_salesforce.payloads import SAVE_RESULTS, BulkJob, DeletedRecords, ObjectDescribe, QueryPage
from syncline_salesforce.saving import outcome_of, problem_outcome
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.history import child_relationship
from syncline_salesforce.simulator.org import SaveError
from syncline_salesforce.simulator.schema import HIDDEN
from syncline_salesforce.values import decode, field_of, parse_datetime

FOLDER = Path(__file__).parents[2].parent / "shared" / "recorded" / "salesforce"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recorded Salesforce traffic beside the repository")


class Answer(NamedTuple):
    """One recorded answer; `path` is empty where only the body was kept."""

    method: str
    path: str
    status: int
    body: Any


def files() -> list[str]:
    return sorted(str(p.relative_to(FOLDER)) for p in FOLDER.rglob("*") if p.is_file() and p.name != "PROVENANCE.md")


# Reading the recordings of five projects


def answers(name: str) -> Iterator[Answer]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    reader = {"nango": _of_nango, "grouparoo": _of_grouparoo, "cumulusci": _of_cassette}.get(name.split("/")[0])
    if reader is None or name.endswith(".tpl"):
        yield Answer("", name, _status_of(name), _parsed(text))
    else:
        yield from reader(text)


def _status_of(name: str) -> int:
    """The projects that kept only bodies say in the file's name what they came with."""
    if "expired_session" in name:
        return 401
    if "not-found" in name or "find_error" in name or "upsert_error" in name:
        return 404
    return 400 if re.search(r"err-|error|unknown-", name) else 200


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _of_nango(text: str) -> Iterator[Answer]:
    for verb, paths in json.loads(text)["api"].items():
        for path, found in paths.items():
            for one in found if isinstance(found, list) else [found]:
                yield Answer(verb.upper(), path, one["status"], one["response"])


def _of_grouparoo(text: str) -> Iterator[Answer]:
    exchanges = json.loads(text)["exchanges"]
    for exchange in exchanges:
        body = exchange["response"]["body"]
        if isinstance(body, dict) and "$same_body_as_exchange" in body:
            body = exchanges[body["$same_body_as_exchange"]]["response"]["body"]
        request = exchange["request"]
        yield Answer(request["method"], request["path"], exchange["response"]["status"], body)


def _of_cassette(text: str) -> Iterator[Answer]:
    loaded = yaml.safe_load(text)
    for one in loaded.get("interactions", [loaded]):
        if "include_file" in one:
            yield Answer("GET", "include_file", 200, None)
            continue
        request, response = one["request"], one["response"]
        text_or_dict = (response.get("body") or {}).get("string") or ""
        body = _parsed(text_or_dict) if isinstance(text_or_dict, str) else text_or_dict
        yield Answer(request["method"], request["uri"], response["status"]["code"], body)


# What the connector makes of an answer

NOT_USED = {
    r"^include_file": "in another file of theirs",
    r"github\.com": "not used: GitHub's device flow, not Salesforce",
    r"/services/async/|__(batchInfo|jobInfo)": "not used: Bulk API 1.0, we use 2.0",
    r"/services/Soap/": "not used: SOAP log-in, which is being retired",
    r"\.xml$": "not used: Metadata API, we create fields through Tooling",
    r"/composite(/graph)?$": "not used: Composite, Collections do what we need",
    r"/limits": "not used: limits, the header of every answer carries ours",
    r"/search$|__search_": "not used: search, records are matched by their key",
    r"/recent$|__list_view_": "not used: lists made for people",
    r"subscription__": "not used: change events, changes are polled",
    r"__user-info": "not used: userinfo, the token's answer names the user",
    r"__payload\.json$": "not used: a request, not an answer",
    r"__upsert_updated_": "not used: the empty answer to a single upsert before v46",
}


def verdict(answer: Answer, types: dict[str, dict[str, Field]]) -> str:
    path, body = answer.path, answer.body
    reason = next((text for pattern, text in NOT_USED.items() if re.search(pattern, path)), None)
    if reason is not None:
        return reason
    if answer.status >= 300:
        return type(_error(answer)).__name__
    if isinstance(body, str):
        return _failed_rows(body)
    if "objectDescribe" in body:
        return "not used: an object's basic information"
    if isinstance(body, list) or "success" in body:
        return _saved(answer)
    if "totalSize" in body:
        return _query(body)
    if "deletedRecords" in body:
        return _deleted(body)
    if "childRelationships" in body:
        return _describe(body, types)
    return f"job {BulkJob.model_validate(body).state}" if "operation" in body else _record(body, types)


def _error(answer: Answer) -> Exception:
    if isinstance(answer.body, dict) and "error" in answer.body:
        response = Response()
        response.status_code, response._content = answer.status, json.dumps(answer.body).encode()
        return token_error(response, where="recorded")
    return error_of(answer.status, answer.body, where="recorded")


def _saved(answer: Answer) -> str:
    results = SAVE_RESULTS.validate_python(answer.body if isinstance(answer.body, list) else [answer.body])
    if answer.method == "DELETE":
        return "deleted" if all(r.success for r in results) else "not deleted"
    created = answer.method != "PATCH"
    return ", ".join(sorted({_told(outcome_of("k", "Lead", r, created=created)) for r in results}))


def _query(body: dict[str, Any]) -> str:
    page = QueryPage.model_validate(body)
    for record in page.records:
        for name, raw in record.items():
            decode(None, raw)
            if name == "SystemModstamp":
                assert parse_datetime(raw).tzinfo is not None
    return "query page"


def _deleted(body: dict[str, Any]) -> str:
    listed = DeletedRecords.model_validate(body)
    assert all(parse_datetime(gone.deleted) >= parse_datetime(listed.earliest) for gone in listed.records)
    return f"{len(listed.records)} deleted"


def _describe(body: dict[str, Any], types: dict[str, dict[str, Field]]) -> str:
    described = ObjectDescribe.model_validate(body)
    types[described.name] = {f.name: field_of(f) for f in described.fields}
    assert len(types[described.name]) == len(body["fields"])
    return "described"


def _record(body: dict[str, Any], types: dict[str, dict[str, Field]]) -> str:
    """Single records are not read by the connector, but their values are those it reads by query."""
    known = types.get(body["attributes"]["type"], {})
    for name, raw in body.items():
        value = decode(known.get(name), raw)
        if name in known and value is not None:
            kind = known[name].kind
            wanted: dict[str, Any] = {"boolean": bool, "number": (int, Decimal), "date": date, "datetime": datetime}
            assert isinstance(value, wanted.get(kind, str)), (name, kind, raw)
    return "values of a record, typed" if known else "values of a record"


def _failed_rows(text: str) -> str:
    rows = list(csv.DictReader(io.StringIO(text)))
    return ", ".join(_told(problem_outcome("k", problem_of_cell(r["sf__Error"]))) for r in rows)


def _told(outcome: Outcome) -> str:
    return f"{outcome.status.value} {outcome.code}" if outcome.code else outcome.status.value


def verdicts(name: str) -> dict[str, int]:
    types: dict[str, dict[str, Field]] = {}
    found = list(answers(name))
    for answer in found:  # records are typed by any describe of the same recording
        if isinstance(answer.body, dict) and "childRelationships" in answer.body:
            _describe(answer.body, types)
    return dict(Counter(verdict(a, types) for a in found))


TABLE: dict[str, dict[str, int]] = {
    "amp_labs/batch__create__contacts__err-bad-request.json": {"ConnectorError": 1},
    "amp_labs/batch__create__contacts__partial-but-allOrNone.json": {
        "rejected REQUIRED_FIELD_MISSING, retry ALL_OR_NONE_OPERATION_ROLLED_BACK": 1
    },
    "amp_labs/batch__create__contacts__payload.json": {"not used: a request, not an answer": 1},
    "amp_labs/batch__create__contacts__success.json": {"created": 1},
    "amp_labs/bulk__delete__launch-job-opportunity.json": {"job Open": 1},
    "amp_labs/bulk__delete__update-job-opportunity.json": {"job UploadComplete": 1},
    "amp_labs/bulk__info__complete-failure.json": {"job Failed": 1},
    "amp_labs/bulk__info__in-progress.json": {"job InProgress": 1},
    "amp_labs/bulk__info__partial-failure.csv": {"rejected INVALID_FIELD": 1},
    "amp_labs/bulk__info__partial-failure.json": {"job JobComplete": 1},
    "amp_labs/bulk__info__success.json": {"job JobComplete": 1},
    "amp_labs/bulk__read-launch-job-account.json": {"job UploadComplete": 1},
    "amp_labs/bulk__write__launch-job-opportunity.json": {"job Open": 1},
    "amp_labs/create-ok.json": {"created": 1},
    "amp_labs/crm__delete__not-found.json": {"ConnectorError": 1},
    "amp_labs/metadata__delete__delete-field-not-found.xml": {
        "not used: Metadata API, we create fields through Tooling": 1
    },
    "amp_labs/metadata__delete__delete-fields-response.xml": {
        "not used: Metadata API, we create fields through Tooling": 1
    },
    "amp_labs/metadata__write__err-duplicate-permission-assignment.json": {"ConnectorError": 1},
    "amp_labs/metadata__write__object15__bad-request.xml": {
        "not used: Metadata API, we create fields through Tooling": 1
    },
    "amp_labs/metadata__write__permission-set.json": {"query page": 1},
    "amp_labs/metadata__write__read-field-permissions-payload.xml": {
        "not used: Metadata API, we create fields through Tooling": 1
    },
    "amp_labs/metadata__write__user-info.json": {"not used: userinfo, the token's answer names the user": 1},
    "amp_labs/metadata__write__write-field-permissions-payload.xml": {
        "not used: Metadata API, we create fields through Tooling": 1
    },
    "amp_labs/read-opportunity-with-account.json": {"query page": 1},
    "amp_labs/subscription__new_account.json": {"not used: change events, changes are polled": 1},
    "amp_labs/subscription__update_lead_compound_address.json": {"not used: change events, changes are polled": 1},
    "amp_labs/subscription__update_user.json": {"not used: change events, changes are polled": 1},
    "amp_labs/unknown-field.json": {"SchemaDriftError": 1},
    "amp_labs/unknown-object.json": {"ConfigError": 1},
    "cumulusci/GET_sobjects_Lead_describe.yaml": {"described": 1},
    "cumulusci/GET_sobjects_Organization.yaml": {"values of a record": 1},
    "cumulusci/ManualEditTestDescribeOrg.test_minimal_schema.yaml": {
        "in another file of theirs": 1,
        "not used: Composite, Collections do what we need": 1,
    },
    "cumulusci/TestCompositeParallelSalesforce.test_composite_parallel_salesforce.yaml": {
        "created": 1,
        "not used: Composite, Collections do what we need": 1,
    },
    "cumulusci/TestCompositeParallelSalesforce.test_errors.yaml": {
        "not used: Composite, Collections do what we need": 1
    },
    "cumulusci/TestCountSObjects.test_count_sobjects_simple.yaml": {
        "not used: Composite, Collections do what we need": 1
    },
    "cumulusci/TestDatasetsE2E.test_datasets_extract_standard_objects.yaml": {
        "in another file of theirs": 7,
        "not used: limits, the header of every answer carries ours": 3,
        "query page": 4,
    },
    "cumulusci/TestSelect.test_select_random_strategy.yaml": {
        "in another file of theirs": 19,
        "not used: limits, the header of every answer carries ours": 1,
        "query page": 2,
        "created": 1,
    },
    "cumulusci/TestSelect.test_select_similarity_annoy_strategy.yaml": {
        "in another file of theirs": 19,
        "not used: limits, the header of every answer carries ours": 1,
        "query page": 1,
        "created": 1,
    },
    "cumulusci/TestSelect.test_select_similarity_select_and_insert_strategy_bulk.yaml": {
        "in another file of theirs": 23,
        "not used: limits, the header of every answer carries ours": 3,
        "query page": 2,
        "created": 5,
        "updated": 1,
        "not used: Bulk API 1.0, we use 2.0": 10,
    },
    "cumulusci/TestSelect.test_select_standard_strategy.yaml": {
        "in another file of theirs": 19,
        "not used: limits, the header of every answer carries ours": 1,
        "query page": 2,
        "created": 1,
    },
    "cumulusci/TestSnowfakery.test_run_until_records_in_org__multiple_needed.yaml": {
        "query page": 1,
        "values of a record": 1,
    },
    "cumulusci/TestSnowfakery.test_run_until_records_in_org__none_needed.yaml": {
        "in another file of theirs": 1,
        "query page": 1,
    },
    "cumulusci/TestSnowfakery.test_snowfakery_query_salesforce.yaml": {"in another file of theirs": 2, "query page": 1},
    "cumulusci/TestUpdatesIntegrationTests.test_updates_task.yaml": {
        "in another file of theirs": 2,
        "not used: limits, the header of every answer carries ours": 1,
        "query page": 1,
        "updated": 1,
    },
    "cumulusci/TestUpsert.test_simple_upsert__rest.yaml": {
        "in another file of theirs": 24,
        "created": 3,
        "query page": 3,
        "created, updated": 1,
    },
    "cumulusci/TestUpsert.test_upsert__rest.yaml": {
        "in another file of theirs": 20,
        "created": 3,
        "query page": 3,
        "created, updated": 1,
    },
    "cumulusci/TestUpsert.test_upsert_complex_external_id_field__rest.yaml": {
        "in another file of theirs": 24,
        "not used: limits, the header of every answer carries ours": 6,
        "query page": 8,
        "created": 3,
        "created, updated": 1,
    },
    "cumulusci/TestUpsert.test_upsert_complex_external_id_field_rest__duplicate_error.yaml": {
        "in another file of theirs": 21,
        "not used: limits, the header of every answer carries ours": 4,
        "query page": 5,
        "created": 3,
    },
    "cumulusci/TestUpsert.test_upsert_external_id_field.yaml": {
        "in another file of theirs": 18,
        "not used: Bulk API 1.0, we use 2.0": 34,
        "query page": 3,
    },
    "cumulusci/test_get_device_oauth_token.yaml": {"not used: GitHub's device flow, not Salesforce": 3},
    "cumulusci/vcr_string_templates__batchInfo_xml.tpl": {"not used: Bulk API 1.0, we use 2.0": 1},
    "cumulusci/vcr_string_templates__jobInfo_upsert_xml.tpl": {"not used: Bulk API 1.0, we use 2.0": 1},
    "grouparoo/export-account__destination-options.json": {
        "not used: SOAP log-in, which is being retired": 1,
        "described": 1,
    },
    "grouparoo/export-contacts__export-records-reference.json": {
        "not used: SOAP log-in, which is being retired": 5,
        "query page": 42,
        "described": 12,
        "created": 5,
        "values of a record, typed": 9,
        "updated": 2,
        "rejected REQUIRED_FIELD_MISSING": 1,
        "deleted": 2,
    },
    "grouparoo/export-objects__export-records-destination-options.json": {
        "not used: SOAP log-in, which is being retired": 4,
        "query page": 12,
        "described": 6,
        "created": 2,
        "values of a record, typed": 3,
        "updated": 1,
        "deleted": 1,
    },
    "grouparoo/export-objects__export-records-lead.json": {
        "not used: SOAP log-in, which is being retired": 10,
        "query page": 58,
        "described": 16,
        "created": 5,
        "values of a record, typed": 9,
        "updated": 4,
        "deleted": 6,
        "ConnectorError": 1,
        "values of a record": 3,
        "retry CANNOT_UPDATE_CONVERTED_LEAD": 2,
    },
    "nango/cases.test.json": {"query page": 1},
    "nango/composite-graph-request.test.json": {"not used: Composite, Collections do what we need": 1},
    "nango/create-sobject-collection.test.json": {"created": 1},
    "nango/get-limits.test.json": {"not used: limits, the header of every answer carries ours": 1},
    "nango/get-record-by-external-id.test.json": {"values of a record": 1},
    "nango/get-record.test.json": {"values of a record": 1},
    "nango/get-sobject-basic-info.test.json": {"not used: an object's basic information": 1},
    "nango/list-recent-items.test.json": {"not used: lists made for people": 1},
    "nango/opportunities.test.json": {"query page": 1},
    "nango/query-records.test.json": {"query page": 1},
    "nango/retrieve-query-more.test.json": {"query page": 1},
    "nango/search-records.test.json": {"not used: search, records are matched by their key": 1},
    "nango/update-record-by-external-id.test.json": {"updated": 1},
    "nango/update-sobject-collection.test.json": {"rejected INVALID_CROSS_REFERENCE_KEY": 1},
    "nango/upsert-sobject-collection.test.json": {"rejected JSON_PARSER_ERROR": 1},
    "restforce/auth_error_response.json": {"AuthError": 1},
    "restforce/expired_session_response.json": {"SessionExpiredError": 1},
    "restforce/refresh_error_response.json": {"AuthError": 1},
    "restforce/sobject__get_deleted_success_response.json": {"1 deleted": 1},
    "restforce/sobject__list_view_results_success_response.json": {"not used: lists made for people": 1},
    "restforce/sobject__query_aggregate_success_response.json": {"query page": 1},
    "restforce/sobject__query_error_response.json": {"ConnectorError": 1},
    "restforce/sobject__search_success_response.json": {"not used: search, records are matched by their key": 1},
    "restforce/sobject__sobject_describe_success_response.json": {"described": 1},
    "restforce/sobject__sobject_find_error_response.json": {"SchemaDriftError": 1},
    "restforce/sobject__sobject_find_success_response.json": {"values of a record": 1},
    "restforce/sobject__upsert_error_response.json": {"SchemaDriftError": 1},
    "restforce/sobject__upsert_updated_success_response.json": {
        "not used: the empty answer to a single upsert before v46": 1
    },
}
"""File -> what becomes of its answers -> how many of them."""


def test_every_file_is_in_the_table() -> None:
    assert files() == sorted(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_recorded_answers_are_understood(name: str) -> None:
    assert verdicts(name) == TABLE[name]


# What single recordings say


def body_of(name: str) -> Any:
    return _parsed((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "status", "field"),
    [
        ("amp_labs/unknown-field.json", 400, "AccountNumer"),
        ("restforce/sobject__upsert_error_response.json", 404, "Namez"),
    ],
)
def test_drift_names_the_field(name: str, status: int, field: str) -> None:
    error = error_of(status, body_of(name), where="recorded")
    assert isinstance(error, SchemaDriftError)
    assert error.field == field


def test_a_failed_job_names_the_field() -> None:
    job = BulkJob.model_validate(body_of("amp_labs/bulk__info__complete-failure.json"))
    assert drifted_field("INVALID_FIELD", job.error or "") == "StageName_invalid_field_on_purpose"


def test_a_failed_row_is_taken_apart_although_its_text_holds_colons() -> None:
    (row,) = csv.DictReader(io.StringIO(body_of("amp_labs/bulk__info__partial-failure.csv")))
    problem = problem_of_cell(row["sf__Error"])
    assert (problem.code, problem.fields) == ("INVALID_FIELD", ("CloseDate",))
    assert problem.message.endswith("is not a valid value for the type xsd:date")


# The simulator against the recordings


@pytest.fixture(scope="module")
def simulator() -> SalesforceSimulator:
    return SalesforceSimulator(SimulatorOptions(people=10, clock="2026-06-01T08:00:00+00:00"))


@pytest.fixture(scope="module")
def described(simulator: SalesforceSimulator) -> dict[str, Any]:
    """The simulated org's Lead."""
    return dict(simulator.describe(Request({}), "66.0", "Lead").get_json())


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """A real org's Lead, as CumulusCI recorded it."""
    (answer,) = answers("cumulusci/GET_sobjects_Lead_describe.yaml")
    return dict(answer.body)


def test_field_history_is_found_where_it_was_recorded_and_simulated_the_same(recorded: dict[str, Any]) -> None:
    [theirs] = [child for child in recorded["childRelationships"] if child["relationshipName"] == "Histories"]
    assert child_relationship("Lead") == theirs
    assert history_of(ObjectDescribe.model_validate(recorded).children) == HistoryObject("LeadHistory", "LeadId")


def test_the_opt_out_field_is_hidden_as_it_was_recorded(recorded: dict[str, Any]) -> None:
    names = {field["name"] for field in recorded["fields"]}
    assert not {name for object, name in HIDDEN if object == "Lead"} & names


def test_the_simulated_describe_has_the_recorded_shape(described: dict[str, Any], recorded: dict[str, Any]) -> None:
    assert set(described) == set(recorded)
    assert [f["name"] for f in described["fields"]] == [f["name"] for f in recorded["fields"]]
    for ours, theirs in zip(described["fields"], recorded["fields"], strict=True):
        assert set(ours) == set(theirs)
        assert {k: type(v) for k, v in ours.items() if v is not None and theirs[k] is not None} == {
            k: type(v) for k, v in theirs.items() if v is not None and ours[k] is not None
        }


@pytest.mark.parametrize(
    "key",
    [
        "type length precision scale digits soapType nillable createable updateable defaultedOnCreate unique".split(),
        "externalId idLookup restrictedPicklist referenceTo calculated custom defaultValue compoundFieldName".split(),
    ],
    ids=["type and access", "keys and lists"],
)
def test_the_simulated_fields_agree_with_the_recorded_ones(
    described: dict[str, Any], recorded: dict[str, Any], key: list[str]
) -> None:
    theirs = {f["name"]: {k: f[k] for k in key} for f in recorded["fields"]}
    assert {f["name"]: {k: f[k] for k in key} for f in described["fields"]} == theirs


def recorded_refusal(name: str) -> dict[str, Any]:
    """The first error of a record in a recording."""
    lists = [a.body for a in answers(name) if isinstance(a.body, list) and a.status == 200]
    return next(dict(r["errors"][0]) for body in lists for r in body if not r["success"])


def test_a_converted_lead_is_refused_in_the_recorded_words(simulator: SalesforceSimulator) -> None:
    converted = next(r["Id"] for r in simulator.rows("Lead") if r["IsConverted"])
    with pytest.raises(SaveError) as caught:
        simulator.org.update("Lead", converted, {"Title": "X"})
    assert refusal(caught.value) == recorded_refusal("grouparoo/export-objects__export-records-lead.json")


def test_a_missing_field_is_refused_in_the_recorded_words(simulator: SalesforceSimulator) -> None:
    with pytest.raises(SaveError) as caught:
        simulator.org.create("Account", {"Name": None})
    assert refusal(caught.value) == recorded_refusal("grouparoo/export-contacts__export-records-reference.json")


def refusal(error: SaveError) -> dict[str, Any]:
    return {"statusCode": error.code, "message": error.message, "fields": error.fields}
