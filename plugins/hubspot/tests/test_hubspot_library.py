"""The vendor's two clients against the simulator, and what is contained of the one we use.

hubspot-api-client 12.0.0 speaks v3 and hubspot-sdk 0.1.0a9 2026-03; both were generated from the vendor's own
descriptions. The second is told to hold every answer against them, so the simulator's shapes are not ours alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import hubspot_sdk
import pytest
import requests
import urllib3
from hubspot import HubSpot
from hubspot.crm import lists, objects, properties
from hubspot.crm.objects.exceptions import ApiException, NotFoundException, UnauthorizedException
from hubspot_sdk.types.auth import AccessTokenResponse, PublicAccessTokenInfoResponse

from syncline.errors import ContractError, TransientError
from syncline.model import Write
from syncline.sdk import Context, Http
from syncline.sdk.http import Throttle, purpose
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotConfig, HubspotSink
from syncline_hubspot.library import Library
from syncline_hubspot.paths import ACCOUNT, DATED, path_of
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, SERVICE_KEY

CREATED = "2026-06-01T08:00:00.000Z"


@pytest.fixture
def plain(portal: HubspotSimulator, sink: HubspotSink) -> Iterator[HubSpot]:
    """The library as it comes, with pools of its own, against a prepared account."""
    client = HubSpot(access_token=SERVICE_KEY, host=portal.url, base_url=portal.url)
    made: list[Any] = []
    original = urllib3.PoolManager.__init__

    def counted(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib3.PoolManager, "__init__", counted)
        yield client
    for pool in made:
        pool.clear()


@pytest.fixture
def sdk(portal: HubspotSimulator, sink: HubspotSink) -> Iterator[hubspot_sdk.HubSpot]:
    """The generated client, which refuses an answer that is not as described."""
    with httpx.Client(trust_env=False) as http:
        yield hubspot_sdk.HubSpot(
            access_token=SERVICE_KEY,
            base_url=portal.url,
            max_retries=0,
            http_client=http,
            _strict_response_validation=True,
        )


# hubspot-api-client, unpatched


def test_the_library_writes_and_reads_batches(plain: HubSpot) -> None:
    def given(key: str, **more: str) -> Any:
        return objects.SimplePublicObjectBatchInputUpsert(
            id=key, id_property="syncline_key", object_write_trace_id=key, properties={"lastname": key, **more}
        )

    body = objects.BatchInputSimplePublicObjectBatchInputUpsert(inputs=[given("a"), given("b", email="bad")])
    answer = plain.crm.objects.batch_api.upsert("contacts", body)
    assert isinstance(answer, objects.BatchResponseSimplePublicUpsertObjectWithErrors)  # by the status 207
    assert [(r.object_write_trace_id, r.new) for r in answer.results] == [("a", True)]
    assert answer.num_errors == 1
    assert answer.errors[0].context == {"objectWriteTraceId": ["b"]}
    read = plain.crm.objects.batch_api.read(
        "contacts",
        objects.BatchReadInputSimplePublicObjectId(
            inputs=[objects.SimplePublicObjectId(id="a")],
            id_property="syncline_key",
            properties=["lastname"],
            properties_with_history=["lastname"],
        ),
    )
    versions = read.results[0].properties_with_history["lastname"]
    assert [(v.value, v.source_type, v.source_id) for v in versions] == [("a", "INTEGRATION", "19083857")]


def test_the_library_updates_and_creates(plain: HubSpot, portal: HubspotSimulator) -> None:
    created = plain.crm.objects.batch_api.create(
        "contacts",
        objects.BatchInputSimplePublicObjectBatchInputForCreate(
            inputs=[objects.SimplePublicObjectBatchInputForCreate(properties={"lastname": "X"}, associations=[])]
        ),
    )
    id = created.results[0].id
    update = objects.SimplePublicObjectBatchInput(id=id, properties={"phone": "1"})
    updated = plain.crm.objects.batch_api.update(
        "contacts", objects.BatchInputSimplePublicObjectBatchInput(inputs=[update])
    )
    assert (updated.status, updated.results[0].properties["phone"]) == ("COMPLETE", "1")
    plain.crm.objects.basic_api.archive("contacts", id)
    assert id not in {r["hs_object_id"] for r in portal.rows("contacts")}
    page = plain.crm.objects.basic_api.get_page("contacts", limit=10, archived="true")
    assert [(r.id, r.archived) for r in page.results] == [(id, True)]


def test_the_library_pages_and_searches(plain: HubSpot, portal: HubspotSimulator) -> None:
    pages = plain.crm.objects.basic_api.get_page("contacts", limit=10, properties=["email"])
    assert len(pages.results) == 10
    assert pages.paging.next.after.isdigit()
    body = objects.PublicObjectSearchRequest(
        filter_groups=[
            objects.FilterGroup(
                filters=[objects.Filter(property_name="lastmodifieddate", operator="GTE", value="1748764800000")]
            )
        ],
        sorts=[{"propertyName": "lastmodifieddate", "direction": "ASCENDING"}],
        properties=["email"],
        limit=5,
    )
    found = plain.crm.objects.search_api.do_search("contacts", body)
    assert (found.total, len(found.results), found.paging.next.after) == (len(portal.rows("contacts")), 5, "5")


def test_the_library_defines_properties_and_lists(plain: HubSpot) -> None:
    group = properties.PropertyGroupCreate(name="g", label="G", display_order=-1)
    assert plain.crm.properties.groups_api.create("contacts", group).name == "g"
    made = plain.crm.properties.core_api.create(
        "contacts",
        properties.PropertyCreate(name="p", label="P", type="string", field_type="text", group_name="g"),
    )
    assert made.has_unique_value is False
    plain.crm.properties.core_api.get_all("contacts")  # a look, after which it is there
    assert plain.crm.properties.core_api.get_by_name("contacts", "p").group_name == "g"
    plain.crm.properties.core_api.archive("contacts", "p")
    again = properties.PropertyCreate(name="p", label="P", type="string", field_type="text", group_name="g")
    assert plain.crm.properties.core_api.create("contacts", again).name == "p"  # archived ones come back
    created = plain.crm.lists.lists_api.create(
        lists.ListCreateRequest(name="L", object_type_id="0-1", processing_type="MANUAL")
    )
    id = plain.crm.objects.basic_api.get_page("contacts", limit=1).results[0].id
    changed = plain.crm.lists.memberships_api.add(created.list.list_id, [id])
    assert changed.records_ids_added == [id]
    page = plain.crm.lists.memberships_api.get_page(created.list.list_id)
    assert [m.record_id for m in page.results] == [id]
    assert plain.crm.lists.lists_api.get_by_name("L", "0-1").list.list_id == created.list.list_id


def test_the_library_writes_tasks_with_their_contact(plain: HubSpot, portal: HubspotSimulator) -> None:
    contact = portal.rows("contacts")[0]["hs_object_id"]
    spec = objects.AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=204)
    given = objects.SimplePublicObjectInputForCreate(
        properties={"hs_timestamp": CREATED, "hs_task_subject": "Call"},
        associations=[objects.PublicAssociationsForObject(to=objects.PublicObjectId(id=contact), types=[spec])],
    )
    task = plain.crm.objects.basic_api.create("tasks", given)
    assert task.properties["hs_task_subject"] == "Call"
    plain.crm.associations.v4.basic_api.create_default("tasks", task.id, "contacts", contact)
    with pytest.raises(ApiException, match="hs_timestamp is required"):
        plain.crm.objects.basic_api.create(
            "tasks", objects.SimplePublicObjectInputForCreate(properties={"hs_task_subject": "x"}, associations=[])
        )


def test_the_library_raises_its_own_errors(plain: HubSpot, portal: HubspotSimulator) -> None:
    with pytest.raises(NotFoundException):
        plain.crm.objects.basic_api.get_by_id("contacts", "999999")
    refused = HubSpot(access_token="x", host=portal.url)  # made up
    with pytest.raises(UnauthorizedException):
        refused.crm.objects.basic_api.get_page("contacts")


def test_the_librarys_other_calls(plain: HubSpot, portal: HubspotSimulator) -> None:
    found = plain.api_request({"path": ACCOUNT}).json()
    assert found["portalId"] == 148543157
    told = plain.api_request(
        {"method": "POST", "path": "/oauth/v2/private-apps/get/access-token-info", "body": {"tokenKey": SERVICE_KEY}}
    )
    assert told.json()["appId"] == 19083857
    assert plain.crm.schemas.core_api.get_by_id("contacts").required_properties == []


def test_the_librarys_own_token_call_still_goes_to_v1(plain: HubSpot, portal: HubspotSimulator) -> None:
    """Dead from 2027-02-16: the reason why tokens are fetched through `api_request`."""
    form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
    assert plain.oauth.tokens_api.create(grant_type="refresh_token", **form).expires_in == 1800
    portal.advance(timedelta(days=365))
    with pytest.raises(Exception, match="404"):
        plain.oauth.tokens_api.create(grant_type="refresh_token", **form)


# hubspot-sdk, which validates


def test_the_sdk_agrees_with_every_answer_about_records(sdk: hubspot_sdk.HubSpot, portal: HubspotSimulator) -> None:
    batch = sdk.crm.objects.contacts.batch
    upserted = batch.upsert(
        inputs=[
            {
                "id": "k",
                "id_property": "syncline_key",
                "object_write_trace_id": "0",
                "properties": {"firstname": "K", "lastname": "K", "email": "k@x.example"},
            }
        ]
    )
    assert [(r.new, r.object_write_trace_id) for r in upserted.results] == [(True, "0")]
    id = upserted.results[0].id
    batch.update(inputs=[{"id": id, "properties": {"jobtitle": "CFO"}}])
    batch.create(inputs=[{"properties": {"lastname": "L"}, "associations": []}])
    read = batch.get(inputs=[{"id": id}], properties=["jobtitle"], properties_with_history=["jobtitle"])
    history = (read.results[0].properties_with_history or {})["jobtitle"]
    assert [(v.value, v.source_type) for v in history] == [("CFO", "INTEGRATION")]
    # Of properties that everybody has: unset ones are null, as recorded, where the description says string.
    page = sdk.crm.objects.contacts.list(limit=5, properties=["lastname", "lifecyclestage"])
    assert len(page.results) == 5
    found = sdk.crm.objects.contacts.search(
        after="0",
        filter_groups=[{"filters": [{"property_name": "email", "operator": "EQ", "value": "k@x.example"}]}],
        limit=10,
        properties=["email"],
        sorts=["lastmodifieddate"],
    )
    assert [r.id for r in found.results] == [id]
    other = portal.human_create("contacts", lastname="M")
    merged = sdk.crm.objects.contacts.merge(object_id_to_merge=other, primary_object_id=id)
    assert sdk.crm.objects.contacts.get(id).id == merged.id
    sdk.crm.objects.contacts.delete(merged.id)


def test_the_sdk_agrees_with_every_answer_about_the_rest(sdk: hubspot_sdk.HubSpot, portal: HubspotSimulator) -> None:
    contact = portal.rows("contacts")[0]["hs_object_id"]
    tasks = sdk.crm.objects.tasks.batch.create(
        inputs=[
            {
                "properties": {"hs_timestamp": CREATED, "syncline_task_key": "t", "hs_task_subject": "Call"},
                "associations": [
                    {
                        "to": {"id": contact},
                        "types": [{"association_category": "HUBSPOT_DEFINED", "association_type_id": 204}],
                    }
                ],
                "object_write_trace_id": "0",
            }
        ]
    )
    assert len(tasks.results) == 1
    assert "syncline_key" in {p.name for p in sdk.crm.properties.list("contacts").results}
    assert sdk.crm.properties.groups.get("syncline", object_type="contacts").name == "syncline"
    sdk.crm.properties.batch.create(
        "contacts",
        inputs=[{"name": "x", "label": "X", "type": "number", "field_type": "number", "group_name": "syncline"}],
    )
    made = sdk.crm.lists.create(name="From the SDK", object_type_id="0-1", processing_type="MANUAL")
    sdk.crm.lists.get_by_object_type_and_name("From the SDK", object_type_id="0-1")
    sdk.crm.lists.list_memberships(made.list.list_id)
    assert sdk.crm.object_schemas.get("contacts").required_properties == []
    assert sdk.account.get().portal_id == 148543157


def test_the_sdks_models_fit_the_answers_about_tokens(sdk: hubspot_sdk.HubSpot) -> None:
    """Only its models: the alpha sends JSON, which the documentation does not offer."""
    app = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    with pytest.raises(hubspot_sdk.APIStatusError, match="415"):
        sdk.auth.oauth.create_token(grant_type="refresh_token", client_id=CLIENT_ID)
    address = f"{str(sdk.base_url).rstrip('/')}/oauth/2026-03/token"
    form = {"grant_type": "refresh_token", "refresh_token": REFRESH_TOKEN, **app}
    token = AccessTokenResponse.model_validate(httpx.post(address, data=form).json())
    assert token.expires_in == 1800
    assert len(token.access_token) > 300
    told = httpx.post(f"{address}/introspect", data={"token": token.access_token, **app}).json()
    info = PublicAccessTokenInfoResponse.model_validate(told)
    assert (info.app_id, info.active) == (19083857, True)


# What is contained


@pytest.fixture
def contained(portal: HubspotSimulator, open_sink: Any) -> HubspotSink:
    sink: HubspotSink = open_sink(login={"token": SERVICE_KEY})
    return sink


def test_every_call_is_the_hosts(sink: HubspotSink, portal: HubspotSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by purpose; and neither urllib3's pools nor `requests.get` and its like are ever used by the library."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the library has made a call of its own")

    monkeypatch.setattr(urllib3.PoolManager, "request", refuse)
    monkeypatch.setattr(urllib3.PoolManager, "urlopen", refuse)
    for verb in ("get", "post", "put", "patch", "delete", "request"):
        monkeypatch.setattr(requests, verb, refuse)
    metrics = sink.context.http.metrics
    before, counted = metrics.total, portal.counters().get("calls", 0)
    sink.check()
    with purpose("write"):
        sink.upsert("contacts", [Write("p", ("syncline_key", "k"), {"lastname": "R"})])
        sink.describe("contacts")  # a read, also in the middle of writing
    cursor = [page.cursor for page in sink.changes("contacts", ["lastname"], None)][-1]
    list(sink.changes("contacts", ["lastname"], cursor))
    sink.prepare([], ["Another"])
    sink.set_members("Another", [], [])
    assert metrics.total - before == portal.counters()["calls"] - counted > 8
    assert metrics.calls["write"] == portal.counters()["write_calls"] == 1
    assert metrics.calls["auth"] == 1


def test_the_environment_has_no_say(contained: HubspotSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies from there: the library would take them."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert contained.check().id == "148543157"


def test_time_outs_are_the_connections(contained: HubspotSink, portal: HubspotSimulator) -> None:
    throttle = Throttle(read_timeout=timedelta(milliseconds=50))
    contained.context.http.configure(throttle=throttle)
    portal.faults = [Fault("slow", seconds=0.4, times=None)]
    with pytest.raises(TransientError, match="no complete answer"):
        contained.check()
    with pytest.raises(TransientError, match="no complete answer"):
        contained.describe("contacts")


def test_a_429_holds_the_calls_that_follow(portal: HubspotSimulator) -> None:
    waits: list[float] = []
    http = Http("crm", sleep=waits.append)
    settings = {n: v for n, v in portal.key_settings.items() if n != "plugin"}
    sink = HubspotSink(HubspotConfig.model_validate(settings), Context("crm", http, portal.now, {}))
    portal.faults = [Fault("too_many")]
    with pytest.raises(TransientError):
        sink.check()
    sink.check()
    assert max(waits) == pytest.approx(10, abs=1)
    http.close()


def test_nothing_is_tried_again_and_no_redirect_is_followed(contained: HubspotSink, portal: HubspotSimulator) -> None:
    for status in (500, 502, 503, 429, 307):
        portal.faults = [Fault("status", status=status, times=None, headers={"Location": "/elsewhere"})]
        portal.reset_counters()
        with pytest.raises(Exception, match=str(status)):
            contained.client.account()
        assert portal.counters()["calls"] == 1
        contained.context.http._gate._held_until = 0.0


def test_nothing_of_a_call_is_logged_or_raised(
    contained: HubspotSink,
    portal: HubspotSimulator,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The library logs bodies, and its errors hold every header; its `api_request` prints."""
    caplog.set_level(logging.DEBUG)
    body = {"message": "no", "token": "leak-1"}
    portal.faults = [Fault("status", status=400, body=body, headers={"X-Leak": "leak-2"})]
    with pytest.raises(Exception, match="no") as caught:
        contained.client.definitions("contacts")
    portal.faults = [Fault("drop_before")]
    with pytest.raises(TransientError):
        contained.check()
    shown = f"{caught.value} {caught.value!r} {caplog.text} {''.join(capsys.readouterr())}"
    for secret in ("leak-1", "leak-2", SERVICE_KEY, "Bearer"):
        assert secret not in shown


def test_a_page_in_another_encoding_is_an_error_like_others(contained: HubspotSink, portal: HubspotSimulator) -> None:
    """Recorded: a 404 in ISO 8859-1; the library would fail to decode it."""
    with pytest.raises(Exception, match="HTTP 404"):
        contained.client.call("x", lambda h: h.crm.objects.basic_api.get_page("é/è/ü", _preload_content=False))


def test_every_path_is_looked_up_and_others_are_refused() -> None:
    for path, dated in DATED.items():
        assert path_of(path, "v3") == path
        assert path_of(path, "2026-09") != path
        assert "{version}" not in path_of(path, "2026-09")
        assert "v3" not in dated
    assert path_of("/crm/v3/objects/{objectType}/search", "2026-03") == "/crm/objects/2026-03/{objectType}/search"
    with pytest.raises(ContractError, match="table of HubSpot's paths"):
        path_of("/crm/v3/owners/", "2026-09")


def test_an_operation_outside_the_table_reaches_nobody(contained: HubspotSink, portal: HubspotSimulator) -> None:
    library = Library(contained.context.http, base_url=portal.url, api="2026-09", searches_per_second=4)
    with pytest.raises(ContractError):
        library.client("x").crm.owners.owners_api.get_page()
    assert not portal.counters()
