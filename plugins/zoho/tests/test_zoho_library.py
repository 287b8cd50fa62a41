"""The vendor's own library (zohocrmsdk8-0 7.0.0) against the simulated account: every operation the connector uses.

It is a second opinion on the simulator only: it keeps one account for the whole process, opens a connection for every
call and retries nothing, so the connector does not use it (vendor sheet §13).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncline.model import RemoteRef, Write
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator
from syncline_zoho.simulator.crm import SALES_USER, SYNC_USER

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # invalid escapes, in the library
    from zohocrmsdk.src.com.zoho.api.authenticator import OAuthToken
    from zohocrmsdk.src.com.zoho.api.authenticator.store import FileStore
    from zohocrmsdk.src.com.zoho.crm.api import HeaderMap, Initializer, ParameterMap
    from zohocrmsdk.src.com.zoho.crm.api import fields as sdk_fields
    from zohocrmsdk.src.com.zoho.crm.api import record as sdk_record
    from zohocrmsdk.src.com.zoho.crm.api import tags as sdk_tags
    from zohocrmsdk.src.com.zoho.crm.api.coql import BodyWrapper as Query
    from zohocrmsdk.src.com.zoho.crm.api.coql import CoqlOperations
    from zohocrmsdk.src.com.zoho.crm.api.dc import DataCenter
    from zohocrmsdk.src.com.zoho.crm.api.layouts import GetLayoutsParam, LayoutsOperations
    from zohocrmsdk.src.com.zoho.crm.api.modules import ModulesOperations
    from zohocrmsdk.src.com.zoho.crm.api.notifications import BodyWrapper as Watch
    from zohocrmsdk.src.com.zoho.crm.api.notifications import (
        GetNotificationsParam,
        Notification,
        NotificationsOperations,
    )
    from zohocrmsdk.src.com.zoho.crm.api.org import OrgOperations
    from zohocrmsdk.src.com.zoho.crm.api.record import RecordOperations
    from zohocrmsdk.src.com.zoho.crm.api.sdk_config import SDKConfig
    from zohocrmsdk.src.com.zoho.crm.api.timelines import GetTimelinesParam, TimelinesOperations
    from zohocrmsdk.src.com.zoho.crm.api.users import GetUsersParam, UsersOperations
    from zohocrmsdk.src.com.zoho.crm.api.util import Choice

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # it leaves its connections to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def library(crm: ZohoSimulator, sink: ZohoSink, tmp_path: Path) -> Iterator[None]:
    """The library, logged in to the prepared account."""
    login = {name: crm.settings[name] for name in ("client_id", "client_secret", "refresh_token")}
    Initializer.initialize(
        environment=DataCenter.Environment(crm.url, f"{crm.url}/oauth/v2/token", crm.url),
        token=OAuthToken(**login, find_user=False),
        store=FileStore(str(tmp_path / "tokens.txt")),
        sdk_config=SDKConfig(auto_refresh_fields=False, pick_list_validation=False),
        resource_path=str(tmp_path),
    )
    yield
    Initializer.initializer = None
    Initializer.LOCAL.init = None


def answered(response: Any, status: int = 200) -> Any:
    assert response.get_status_code() == status
    return response.get_object()


def told(result: Any) -> tuple[str, str]:
    return (type(result).__name__, result.get_code().get_value())


def record(**values: Any) -> Any:
    made = sdk_record.Record()
    for name, value in values.items():
        made.add_key_value(name, value)
    return made


def body(*records: Any, by: str | None = None) -> Any:
    made = sdk_record.BodyWrapper()
    made.set_data(list(records))
    made.set_trigger([])
    if by:
        made.set_duplicate_check_fields([by])
    return made


def opened(crm: ZohoSimulator) -> list[str]:
    return [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]]


def with_(make: type, *pairs: tuple[Any, Any]) -> Any:
    found = make()
    for name, value in pairs:
        found.add(name, value)
    return found


def test_upsert_creates_updates_and_refuses(crm: ZohoSimulator) -> None:
    leads = RecordOperations("Leads")
    first = record(Last_Name="Lib", Company="Acme", Syncline_Key="lib-1", Visits=3, Hot_Lead=True)
    again = record(Last_Name="Lib", Company="Acme", Syncline_Key="lib-1", Email="no address")
    assert [told(r) for r in answered(leads.upsert_records(body(first, by="Syncline_Key"))).get_data()] == [
        ("SuccessResponse", "SUCCESS")
    ]
    mixed = answered(leads.upsert_records(body(first, again, by="Syncline_Key")), 207).get_data()
    assert [told(r) for r in mixed] == [("SuccessResponse", "SUCCESS"), ("APIException", "INVALID_DATA")]
    assert mixed[0].get_action().get_value() == "update"
    assert mixed[0].get_duplicate_field() == "Syncline_Key"
    assert mixed[1].get_details()["api_name"] == "Email"
    assert [r["Visits"] for r in crm.rows("Leads") if r.get("Syncline_Key") == "lib-1"] == [3]


def test_update_by_id(crm: ZohoSimulator) -> None:
    mine = record(Visits=5)
    mine.set_id(int(opened(crm)[0]))
    [result] = answered(RecordOperations("Leads").update_records(body(mine))).get_data()
    assert told(result) == ("SuccessResponse", "SUCCESS")
    assert crm.crm.tables["Leads"][opened(crm)[0]]["Visits"] == 5


def test_a_task_is_created_once(crm: ZohoSimulator) -> None:
    about = record()
    about.set_id(int(opened(crm)[0]))
    task = record(Subject="Call", What_Id=about, Syncline_Key="t-1")
    task.add_key_value("$se_module", "Leads")
    tasks = RecordOperations("Tasks")
    assert told(answered(tasks.create_records(body(task)), 201).get_data()[0]) == ("SuccessResponse", "SUCCESS")
    [again] = answered(tasks.create_records(body(task)), 400).get_data()
    assert told(again) == ("APIException", "DUPLICATE_DATA")
    assert again.get_details()["api_name"] == "Syncline_Key"
    assert crm.rows("Tasks")[0]["What_Id"]["id"] == opened(crm)[0]


def test_lists_go_on_by_page_token_and_ask_for_converted_leads(crm: ZohoSimulator) -> None:
    crm.page_size = 5
    asked: list[tuple[Any, Any]] = [
        (sdk_record.GetRecordsParam.fields, "Last_Name,Email,Converted__s,Converted_Contact"),
        (sdk_record.GetRecordsParam.converted, "both"),
        (sdk_record.GetRecordsParam.sort_by, "id"),
        (sdk_record.GetRecordsParam.sort_order, "asc"),
    ]
    found, token = list[Any](), None
    while True:
        more = [(sdk_record.GetRecordsParam.page_token, token)] if token else []
        page = answered(RecordOperations("Leads").get_records(with_(ParameterMap, *asked, *more), HeaderMap()))
        found += page.get_data()
        token = page.get_info().get_next_page_token()
        if not page.get_info().get_more_records():
            break
    assert [str(r.get_id()) for r in found] == [r["id"] for r in crm.rows("Leads")]
    successors = {r["id"]: r["Converted_Contact"]["id"] for r in crm.rows("Leads") if r["Converted__s"]}
    told_of = {str(r.get_id()): str(r.get_key_value("Converted_Contact").get_id()) for r in found if _converted(r)}
    assert told_of == successors


def _converted(found: Any) -> bool:
    return bool(found.get_key_value("Converted__s"))


def test_a_conditional_list_brings_what_changed(crm: ZohoSimulator) -> None:
    crm.advance(timedelta(minutes=20))
    crm.human_edit("Leads", opened(crm)[0], First_Name="Ada")
    since = with_(HeaderMap, (sdk_record.GetRecordsHeader.if_modified_since, datetime(2026, 6, 1, 8, 15, tzinfo=UTC)))
    asked = with_(ParameterMap, (sdk_record.GetRecordsParam.fields, "First_Name"))
    [found] = answered(RecordOperations("Leads").get_records(asked, since)).get_data()
    assert (str(found.get_id()), found.get_key_value("First_Name")) == (opened(crm)[0], "Ada")
    crm.advance(timedelta(minutes=20))
    later = with_(HeaderMap, (sdk_record.GetRecordsHeader.if_modified_since, datetime(2026, 6, 1, 8, 30, tzinfo=UTC)))
    assert RecordOperations("Leads").get_records(asked, later).get_status_code() == 304


def test_deleted_records_are_listed(crm: ZohoSimulator) -> None:
    mine = opened(crm)[0]
    crm.delete_record("Leads", mine)
    asked = with_(ParameterMap, (sdk_record.GetDeletedRecordsParam.type, "all"))
    since = with_(
        HeaderMap, (sdk_record.GetDeletedRecordsHeader.if_modified_since, datetime(2026, 6, 1, 7, tzinfo=UTC))
    )
    [grave] = answered(RecordOperations("Leads").get_deleted_records(asked, since)).get_data()
    assert (str(grave.get_id()), grave.get_type()) == (mine, "recycle")


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("id > '0'", lambda rows: sum(not r["Converted__s"] for r in rows)),
        ("(id > '0' and Converted__s = true)", lambda rows: sum(r["Converted__s"] for r in rows)),
        (
            "(Modified_Time > '2026-05-01T00:00:00Z' or (Modified_Time = '2026-05-01T00:00:00Z' and id > '1'))",
            lambda rows: sum(not r["Converted__s"] and r["Modified_Time"] > "2026-05-01" for r in rows),
        ),
    ],
    ids=["open", "converted", "by time and id"],
)
def test_queries_find_what_the_connector_asks_for(
    crm: ZohoSimulator, where: str, count: Callable[[list[dict[str, Any]]], int]
) -> None:
    query = Query()
    query.set_select_query(
        f"select id, Email, Modified_Time, Modified_By from Leads where {where} "  # noqa: S608  # of this test
        "order by Modified_Time asc, id asc limit 200"
    )
    found = answered(CoqlOperations().get_records(query))
    assert found.get_info().get_count() == len(found.get_data()) == count(crm.rows("Leads"))


def test_a_query_that_finds_nothing_is_no_content() -> None:
    query = Query()
    query.set_select_query("select id from Leads where id < '1' limit 200")
    assert CoqlOperations().get_records(query).get_status_code() == 204


def test_tags_are_made_given_and_taken(crm: ZohoSimulator) -> None:
    module = with_(ParameterMap, (sdk_tags.CreateTagsParam.module, "Leads"))
    tag = sdk_tags.Tag()
    tag.set_name("From library")
    wanted = sdk_tags.BodyWrapper()
    wanted.set_tags([tag])
    operations = sdk_tags.TagsOperations()
    assert told(answered(operations.create_tags(wanted, module), 201).get_tags()[0]) == ("SuccessResponse", "SUCCESS")
    assert told(answered(operations.create_tags(wanted, module), 400).get_tags()[0])[1] == "DUPLICATE_DATA"
    listed = answered(operations.get_tags(with_(ParameterMap, (sdk_tags.GetTagsParam.module, "Leads"))))
    assert "From library" in [t.get_name() for t in listed.get_tags()]
    lead = opened(crm)[0]
    add = sdk_tags.NewTagRequestWrapper()
    add.set_tags([tag])
    add.set_ids([int(lead)])
    add.set_over_write(False)
    done = answered(operations.add_tags_to_multiple_records("Leads", add, ParameterMap())).get_data()
    assert [told(r)[1] for r in done] == ["SUCCESS"]
    assert [t["name"] for t in crm.crm.tables["Leads"][lead]["Tag"]] == ["From library"]
    old = sdk_tags.ExistingTag()
    old.set_name("From library")
    remove = sdk_tags.ExistingTagRequestWrapper()
    remove.set_tags([old])
    remove.set_ids([int(lead)])
    answered(operations.remove_tags_from_multiple_records("Leads", remove, ParameterMap()))
    assert crm.crm.tables["Leads"][lead]["Tag"] == []


def test_fields_are_described_and_made(sink: ZohoSink) -> None:
    unique = sdk_fields.Unique()
    unique.set_casesensitive("false")
    wanted = sdk_fields.Fields()
    wanted.set_field_label("From Library")
    wanted.set_data_type("text")
    wanted.set_length(40)
    made = sdk_fields.BodyWrapper()
    made.set_fields([wanted])
    module = with_(ParameterMap, (sdk_fields.CreateFieldParam.module, "Leads"))
    result = answered(sdk_fields.FieldsOperations().create_field(made, module), 201).get_fields()[0]
    assert told(result) == ("SuccessResponse", "SUCCESS")
    asked = with_(ParameterMap, (sdk_fields.GetFieldsParam.module, "Leads"))
    theirs = {f.get_api_name(): f for f in answered(sdk_fields.FieldsOperations().get_fields(asked)).get_fields()}
    ours = {f.name: f for f in sink.describe("Leads")}
    assert set(theirs) == set(ours)
    assert {n: f.get_field_label() for n, f in theirs.items()} == {n: f.label for n, f in ours.items()}
    assert "From_Library" in theirs
    assert not theirs["Full_Name"].get_operation_type().get_api_update()
    assert not ours["Full_Name"].writable


def test_layouts_modules_account_and_user_are_told() -> None:
    asked = with_(ParameterMap, (GetLayoutsParam.module, "Leads"))
    [layout] = answered(LayoutsOperations().get_layouts(asked)).get_layouts()
    demanded = {f.get_api_name() for s in layout.get_sections() for f in s.get_fields() if f.get_required()}
    assert demanded == {"Last_Name", "Company"}
    modules = answered(ModulesOperations().get_modules(ParameterMap(), HeaderMap())).get_modules()
    assert {"Leads", "Contacts", "Tasks"} <= {m.get_api_name() for m in modules}
    [account] = answered(OrgOperations().get_organization()).get_org()
    assert (account.get_company_name(), account.get_zgid()) == ("Simulated CRM", "712345678")
    me = with_(ParameterMap, (GetUsersParam.type, "CurrentUser"))
    [user] = answered(UsersOperations().get_users(me, HeaderMap())).get_users()
    assert str(user.get_id()) == SYNC_USER


def test_channels_are_opened_looked_at_and_renewed(crm: ZohoSimulator) -> None:
    channel = Notification()
    channel.set_channel_id("1000000068001")
    channel.set_events(["Leads.all"])
    channel.set_notify_url("https://hooks.sync.example/zoho")
    channel.set_token("secret")
    channel.set_channel_expiry(datetime(2026, 6, 8, 7, tzinfo=UTC))
    wanted = Watch()
    wanted.set_watch([channel])
    operations = NotificationsOperations()
    [opened_] = answered(operations.enable_notifications(wanted), 201).get_watch()
    assert told(opened_) == ("SuccessResponse", "SUCCESS")
    listed = answered(
        operations.get_notifications(with_(ParameterMap, (GetNotificationsParam.channel_id, 1000000068001)))
    )
    assert [(n.get_resource_name(), n.get_channel_expiry()) for n in listed.get_watch()] == [
        ("Leads", datetime(2026, 6, 8, 7, tzinfo=UTC))
    ]
    assert told(answered(operations.update_notifications(wanted)).get_watch()[0])[1] == "SUCCESS"
    crm.human_edit("Leads", opened(crm)[0], First_Name="Ada")
    assert len(crm.notices()) == 1


def test_a_timeline_says_who_changed_which_field(crm: ZohoSimulator, sink: ZohoSink) -> None:
    """The library knows the call by this address, and finds in the simulated answer what the connector looks at."""
    id = opened(crm)[0]
    crm.human_edit("Leads", id, City="Bologna")
    sink.upsert("Leads", [Write("w", ("Id", id), {"Visits": 5})])
    params = with_(ParameterMap, (GetTimelinesParam.per_page, "200"))
    page = answered(TimelinesOperations().get_timelines("Leads", id, params))
    told = [
        (entry.get_done_by().get_id(), [change.get_api_name() for change in entry.get_field_history() or ()])
        for entry in page.get_timeline()
    ]
    assert told[:2] == [(SYNC_USER, ["Visits"]), (SALES_USER, ["City"])]
    assert all(entry.get_audited_time().tzinfo for entry in page.get_timeline())
    assert page.get_info().get_more_records() is False


def test_what_the_library_wrote_the_connector_reads(sink: ZohoSink, crm: ZohoSimulator) -> None:
    """Both are the same user, so it counts as ours."""
    wanted = record(Last_Name="Lib", Company="Acme", Syncline_Key="lib-1", Visits=3)
    wanted.add_key_value("Lead_Status", Choice("Contacted"))
    [result] = answered(RecordOperations("Leads").upsert_records(body(wanted, by="Syncline_Key"))).get_data()
    fields = ["Last_Name", "Syncline_Key", "Visits", "Lead_Status"]
    [mine] = [r for p in sink.changes("Leads", fields, None) for r in p.records if r.fields.get("Syncline_Key")]
    assert mine.ref == RemoteRef("Leads", result.get_details()["id"])
    assert mine.fields == {"Last_Name": "Lib", "Syncline_Key": "lib-1", "Visits": 3, "Lead_Status": "Contacted"}
    assert mine.changed_by == "us"
