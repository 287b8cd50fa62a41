"""The simulator answers as the vendor does: driven by the vendor's own client, and held against the vendor sheet."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import warnings
from collections import Counter
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
import requests

from syncline.sdk import SimulatorOptions, WebhookRequest
from syncline.testing.population import EPOCH, population, simulated_now
from syncline_mailchimp.normalize import subscriber_hash
from syncline_mailchimp.simulator import MailchimpSimulator
from syncline_mailchimp.simulator.world import DEMO, LIST_ID, PRICING, WHITEPAPER

client_library = pytest.importorskip(
    "mailchimp_marketing", reason="mailchimp-marketing, the vendor's client, is not installed"
)
api_client = pytest.importorskip("mailchimp_marketing.api_client")


@pytest.fixture
def simulator(simulate):
    return simulate()


@pytest.fixture
def official(simulator):
    """mailchimp-marketing 3.0.80, pointed at loopback the way the vendor sheet (§12) says."""
    client = client_library.Client()
    client.set_config({"api_key": simulator.api_key})
    client.api_client.host = f"{simulator.url}/3.0"
    client.api_client.server = ""
    return client


@pytest.fixture
def get(simulator):
    def ask(path, **parameters):
        return requests.get(
            f"{simulator.url}/3.0{path}", params=parameters, auth=("any user", simulator.api_key), timeout=10
        )

    return ask


def _all_rows(operation, rows, *arguments, **parameters):
    first = operation(*arguments, count=1000, **parameters)
    assert first["total_items"] == len(first[rows])
    return first[rows]


# The vendor's client, operation by operation: every one this connector uses


def test_official_client_pings(official):
    assert official.ping.get() == {"health_status": "Everything's Chimpy!"}


def test_official_client_reads_the_account(official):
    assert official.root.get_root()["account_name"] == "Example Co"


def test_official_client_logs_in_by_token(simulator):
    client = client_library.Client()
    client.set_config({"access_token": simulator.access_token, "server": "us1"})
    client.api_client.host, client.api_client.server = f"{simulator.url}/3.0", ""
    assert client.root.get_root()["account_name"] == "Example Co"


def test_official_client_lists_members(simulator, official):
    rows = _all_rows(official.lists.get_list_members_info, "members", LIST_ID)
    assert {row["id"] for row in rows} == set(simulator.world.subscribers)


def test_official_client_filters_members_by_change(simulator, official):
    changed = sorted(one.changed for one in simulator.world.subscribers.values())
    middle = changed[60]
    rows = _all_rows(
        official.lists.get_list_members_info,
        "members",
        LIST_ID,
        since_last_changed=middle.isoformat(),
        sort_field="last_changed",
        sort_dir="ASC",
    )
    moments = [datetime.fromisoformat(row["last_changed"]) for row in rows]
    assert moments == sorted(moment for moment in changed if moment > middle)


def test_official_client_lists_reports_and_reads_one(simulator, official):
    rows = _all_rows(official.reports.get_all_campaign_reports, "reports")
    assert [row["id"] for row in rows] == simulator.campaigns
    assert official.reports.get_campaign_report(rows[0]["id"]) == rows[0]


def test_official_client_reads_email_activity(simulator, official):
    campaign = simulator.world.sent[-1]
    rows = _all_rows(official.reports.get_email_activity_for_campaign, "emails", campaign.id)
    assert len(rows) == len(campaign.recipients)
    assert sum(len(row["activity"]) for row in rows) == sum(len(acts) for acts in campaign.acts.values())
    assert any(row["activity"] == [] for row in rows)


def test_official_client_reads_open_details(simulator, official):
    campaign = simulator.world.sent[-1]
    rows = _all_rows(official.reports.get_campaign_open_details, "members", campaign.id)
    assert sum(len(row["opens"]) for row in rows) == len(campaign.all("open"))
    assert {type(opened["is_proxy_open"]) for row in rows for opened in row["opens"]} == {bool}


def test_official_client_reads_unsubscribes(simulator, official):
    for campaign in simulator.world.sent:
        rows = _all_rows(official.reports.get_unsubscribed_list_for_campaign, "unsubscribes", campaign.id)
        assert {row["email_id"] for row in rows} == set(campaign.left)


def test_official_client_reads_automations(simulator, official):
    (workflow,) = official.automations.list()["automations"]
    (email,) = official.automations.list_all_workflow_emails(workflow["id"])["emails"]
    assert official.reports.get_campaign_report(email["id"])["type"] == "automation-email"


def test_official_client_lists_campaigns_and_audiences(simulator, official):
    assert [row["id"] for row in official.campaigns.list(count=100)["campaigns"]] == simulator.campaigns
    assert [row["id"] for row in official.lists.get_all_lists()["lists"]] == [LIST_ID]


def test_official_client_deletes_permanently_and_the_activity_goes_too(simulator, official):
    campaign = simulator.world.sent[-1]
    who = max(campaign.acts, key=lambda one: len(campaign.acts[one]))
    acts = len(campaign.all("open"))
    official.lists.delete_list_member_permanent(LIST_ID, who)
    left = official.reports.get_campaign_open_details(campaign.id, count=1000)
    assert who not in {row["email_id"] for row in left["members"]}
    assert left["total_opens"] < acts
    with pytest.raises(api_client.ApiClientError) as caught:
        official.lists.get_list_member(LIST_ID, who)
    assert caught.value.status_code == 404


# What this connector writes, and what it takes care not to


def test_official_client_reads_and_creates_merge_fields(official):
    made = official.lists.add_list_merge_field(LIST_ID, {"tag": "SCORE", "name": "Score", "type": "number"})
    assert (made["tag"], made["merge_id"]) == ("SCORE", 6)
    rows = _all_rows(official.lists.get_list_merge_fields, "merge_fields", LIST_ID)
    assert [row["tag"] for row in rows] == ["FNAME", "LNAME", "COMPANY", "ADDRESS", "PHONE", "SCORE"]
    with pytest.raises(api_client.ApiClientError) as caught:
        official.lists.add_list_merge_field(LIST_ID, {"tag": "ELEVENCHARS", "name": "x", "type": "text"})
    assert caught.value.status_code == 400


def test_official_client_changes_a_member_and_leaves_the_rest_alone(simulator, official):
    """As recorded 2017 and 2021: what is not named stays, unknown tags are ignored, an empty string clears."""
    one = next(iter(simulator.world.subscribers.values()))
    changed = official.lists.update_list_member(LIST_ID, one.hash, {"merge_fields": {"FNAME": "Ada", "NO_SUCH": 1}})
    assert (changed["merge_fields"]["FNAME"], changed["merge_fields"]["LNAME"]) == ("Ada", one.last_name)
    assert "NO_SUCH" not in changed["merge_fields"]
    cleared = official.lists.update_list_member(LIST_ID, one.contact_id, {"merge_fields": {"FNAME": ""}})
    assert (cleared["merge_fields"]["FNAME"], cleared["status"]) == ("", one.status)
    assert official.lists.update_list_member(LIST_ID, one.email, {"vip": True})["id"] == one.hash


def test_a_write_that_changes_nothing_does_not_move_last_changed(simulator, official):
    """Recorded 2021."""
    one = next(iter(simulator.world.subscribers.values()))
    again = official.lists.update_list_member(LIST_ID, one.hash, {"merge_fields": {"FNAME": one.first_name}})
    assert datetime.fromisoformat(again["last_changed"]) == one.changed


def test_official_client_can_subscribe_whom_it_likes(simulator, official):
    """The dangers: PUT, POST and batch subscribe make members, and change consent."""
    left = next(one for one in simulator.world.subscribers.values() if one.status == "unsubscribed")
    assert official.lists.set_list_member(LIST_ID, left.hash, {"status": "subscribed"})["status"] == "subscribed"
    made = official.lists.add_list_member(LIST_ID, {"email_address": "a@borea.example", "status": "subscribed"})
    assert made["status"] == "subscribed"
    put = {"email_address": "b@borea.example", "status_if_new": "subscribed"}
    assert official.lists.set_list_member(LIST_ID, subscriber_hash("b@borea.example"), put)["source"] == "API - Generic"
    body = {"members": [{"email_address": "c@borea.example"}, {"email_address": "a@borea.example"}]}
    answer = official.lists.batch_list_members(LIST_ID, body)
    assert (answer["total_created"], answer["error_count"]) == (1, 1)
    assert answer["errors"][0]["error_code"] == "ERROR_CONTACT_EXISTS"


@pytest.mark.parametrize("status", ["archived", "cleaned", "pending"])
def test_official_client_archives_and_cannot_archive_twice(simulator, official, status):
    """405, as recorded 2021."""
    one = next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")
    official.lists.delete_list_member(LIST_ID, one.hash)
    simulator.change_member(one.email, simulated_now(), status=status)
    with pytest.raises(api_client.ApiClientError) as caught:
        official.lists.delete_list_member(LIST_ID, one.hash)
    assert caught.value.status_code == 405
    assert "Can not archive" in caught.value.text


def test_official_client_tags_and_reads_tags(simulator, official):
    one = next(iter(simulator.world.subscribers.values()))
    official.lists.update_list_member_tags(LIST_ID, one.hash, {"tags": [{"name": "Hot", "status": "active"}]})
    [tag] = official.lists.get_list_member_tags(LIST_ID, one.hash)["tags"]
    [segment] = official.lists.list_segments(LIST_ID, type="static")["segments"]
    assert (tag["name"], tag["id"]) == ("Hot", segment["id"])
    assert official.lists.tag_search(LIST_ID, name="ho")["tags"] == [{"id": tag["id"], "name": "Hot"}]
    assert official.lists.get_list_member(LIST_ID, one.hash)["tags"] == [{"id": tag["id"], "name": "Hot"}]


def test_official_client_puts_many_into_a_tag_at_once(simulator, official):
    people = [one for one in simulator.world.subscribers.values() if one.status == "subscribed"][:3]
    tag = official.lists.create_segment(LIST_ID, {"name": "Hot", "static_segment": []})["id"]
    emails = [one.email for one in people]
    first = official.lists.batch_segment_members({"members_to_add": [*emails, "no@body.example"]}, LIST_ID, tag)
    assert (first["total_added"], first["error_count"]) == (3, 0)
    body = {"members_to_add": emails, "members_to_remove": emails[:1]}
    again = official.lists.batch_segment_members(body, LIST_ID, tag)
    assert (again["total_added"], again["total_removed"]) == (0, 1)
    left = official.lists.get_segment_members_list(LIST_ID, tag)["members"]
    assert {row["id"] for row in left} == {one.hash for one in people[1:]}
    with pytest.raises(api_client.ApiClientError) as caught:
        official.lists.batch_segment_members({"members_to_add": ["x@y.example"] * 501}, LIST_ID, tag)
    assert caught.value.status_code == 400


def test_official_client_runs_a_batch_and_its_archive_is_as_documented(simulator, official):
    """A directory, an empty file, several others; one operation in several results (vendor sheet §5)."""
    simulator.batch_page = 50
    path = f"/lists/{LIST_ID}/members"
    one = next(iter(simulator.world.subscribers))
    body = json.dumps({"merge_fields": {"FNAME": "Ada"}})
    operations = [
        {"method": "GET", "path": path, "operation_id": "all", "params": {"fields": "members.id,total_items"}},
        {"method": "GET", "path": path, "operation_id": "few", "params": {"count": 3}},
        {"method": "PATCH", "path": f"{path}/{one}", "operation_id": "ada", "body": body},
        {"method": "PATCH", "path": f"{path}/nobody", "operation_id": "nobody", "body": body},
    ]
    batch = official.batches.start({"operations": operations})
    assert batch["status"] == "pending"
    seen = [official.batches.status(batch["id"]) for _ in range(2)]
    assert [row["status"] for row in seen] == ["preprocessing", "finished"]
    assert (seen[1]["finished_operations"], seen[1]["errored_operations"]) == (6, 1)
    assert official.batches.list()["batches"][0]["id"] == batch["id"]
    answer = requests.get(seen[1]["response_body_url"], timeout=10)
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:gz") as tar:
        files = [tar.extractfile(entry).read() for entry in tar if entry.isfile()]
        assert any(entry.isdir() for entry in tar.getmembers())
    assert b"" in files
    results = [item for data in files if data for item in json.loads(data)]
    assert Counter(item["operation_id"] for item in results) == {"all": 3, "few": 1, "ada": 1, "nobody": 1}
    assert simulator.world.subscribers[one].first_name == "Ada"
    official.batches.delete_request(batch["id"])
    with pytest.raises(api_client.ApiClientError):
        official.batches.status(batch["id"])


def test_the_archive_is_refused_to_who_shows_two_permissions(simulator, official):
    batch = official.batches.start({"operations": [{"method": "GET", "path": "/ping"}]})
    for _ in range(2):
        url = official.batches.status(batch["id"])["response_body_url"]
    assert requests.get(url, auth=("x", simulator.api_key), timeout=10).status_code == 400
    simulator.advance(timedelta(minutes=11))
    assert requests.get(url, timeout=10).status_code == 403


def test_a_body_of_an_operation_that_is_no_string_is_refused(official):
    operation = {"method": "PATCH", "path": f"/lists/{LIST_ID}/members/x", "body": {"merge_fields": {}}}
    with pytest.raises(api_client.ApiClientError) as caught:
        official.batches.start({"operations": [operation]})
    assert caught.value.status_code == 400


# Webhooks (sheet §6)


@pytest.fixture
def receiver():
    """A server of the customer: `asked` holds (method, path, headers, body); it answers with `status`."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def _take(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, dict(self.headers), body))
            self.send_response(Handler.status)
            self.end_headers()

        do_GET = do_POST = _take  # noqa: N815  # the library's names

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/hook", asked=asked, handler=Handler)
    server.shutdown()
    thread.join()
    server.server_close()


def test_official_client_keeps_webhooks(official, receiver):
    """The address is looked at on save, with GET; the secret is shown once."""
    made = official.lists.create_list_webhook(LIST_ID, {"url": receiver.url, "sources": {"api": False}})
    assert [(method, headers["User-Agent"]) for method, _, headers, _ in receiver.asked] == [
        ("GET", "MailChimp.com WebHook Validator")
    ]
    assert (made["signing_enabled"], made["sources"]["api"], made["events"]["upemail"]) == (True, False, True)
    shown = official.lists.get_list_webhook(LIST_ID, made["id"])
    assert made["signing_secret"]
    assert "signing_secret" not in shown
    official.lists.update_list_webhook(LIST_ID, made["id"], {"events": {"campaign": False}})
    [listed] = official.lists.get_list_webhooks(LIST_ID)["webhooks"]
    assert listed["events"]["campaign"] is False
    official.lists.delete_list_webhook(LIST_ID, made["id"])
    assert official.lists.get_list_webhooks(LIST_ID)["total_items"] == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/nobody", "https://hooks.example.com/", "nonsense"])
def test_a_webhook_whose_address_does_not_answer_is_not_saved(official, url):
    with pytest.raises(api_client.ApiClientError) as caught:
        official.lists.create_list_webhook(LIST_ID, {"url": url})
    assert caught.value.status_code == 400


def test_deliveries_are_signed_forms_and_come_again_until_they_are_taken(simulator, connect, receiver):
    hook = simulator.add_webhook(receiver.url)
    someone = next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")
    simulator.unsubscribe(someone.email, simulator.campaigns[-1], simulated_now())
    receiver.handler.status = 500
    assert simulator.deliver_webhooks() == [500]
    receiver.handler.status = 200
    assert simulator.deliver_webhooks() == [200]
    assert simulator.deliver_webhooks() == []
    connector = connect(simulator, signing_secret=hook["secret"])
    records = []
    for method, path, headers, body in receiver.asked:
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        lower = {name.lower(): value for name, value in headers.items()}
        request = WebhookRequest(method, path, "", lower, body, simulated_now(), receiver.url)
        records += connector.receive(request)
    assert len(records) == 2
    assert records[0] == records[1]


def test_webhooks_have_the_keys_that_were_recorded(simulator, connect):
    """Keys of the recording of 2014 (shared/recorded/mailchimp/webhook_unsubscribe.json)."""
    simulator.add_webhook("https://hooks.example.com/", is_signed=False)
    someone = next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")
    simulator.unsubscribe(someone.email, None, simulated_now())
    [request] = simulator.due_webhooks()
    recorded = (
        "action reason id email email_type ip_opt web_id merges][EMAIL merges][FNAME merges][LNAME list_id".split()
    )
    keys = {name for name, _ in parse_qsl(request.body.decode(), keep_blank_values=True)}
    assert {"type", "fired_at", *(f"data[{name}]" for name in recorded)} <= keys
    assert "x-mailchimp-signature" not in request.headers


def test_sources_that_are_off_bring_nothing(simulator):
    simulator.add_webhook("https://hooks.example.com/", {"profile": False}, {"admin": False})
    someone = next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")
    simulator.archive(someone.email, simulated_now())
    simulator.change_fields(someone.email, simulated_now(), {"FNAME": "Ada"}, by="user")
    assert simulator.due_webhooks() == []


def test_a_new_address_fires_upemail_and_profile(simulator):
    simulator.add_webhook("https://hooks.example.com/")
    someone = next(iter(simulator.world.subscribers.values()))
    simulator.change_email(someone.email, "new@borea.example", simulated_now())
    kinds = [dict(parse_qsl(request.body.decode()))["type"] for request in simulator.due_webhooks()]
    assert kinds == ["upemail", "profile"]


def test_everything_that_happened_survives_a_restart(simulate, tmp_path):
    options = SimulatorOptions(people=10, seed=3, clock=EPOCH, folder=tmp_path)
    with MailchimpSimulator(options) as before:
        one, two = list(before.world.subscribers.values())[:2]
        before.change_fields(one.email, simulated_now(), {"FNAME": "Ada", "PHONE": "1"})
        before.change_email(two.email, "new@borea.example", simulated_now())
        before.subscribe("c@borea.example", simulated_now())
        before.add_webhook("https://hooks.example.com/")
        people = dict(before.world.subscribers)
    with MailchimpSimulator(options) as after:
        assert after.world.subscribers == people
        assert after.world.contacts == {person.contact_id: who for who, person in people.items()}
        assert len(after.webhooks) == 1


def test_official_client_is_refused_without_a_valid_key(simulator, official):
    official.api_client.api_key = "wrong"
    with pytest.raises(api_client.ApiClientError) as caught:
        official.root.get_root()
    assert caught.value.status_code == 401
    assert json.loads(caught.value.text)["title"] == "API Key Invalid"  # problem+json comes as text (sheet §12)


# Conventions (sheet §2)


def test_ten_rows_unless_told(get):
    assert len(get(f"/lists/{LIST_ID}/members").json()["members"]) == 10


@pytest.mark.parametrize("parameters", [{"count": 1001}, {"count": "many"}, {"offset": -1}], ids=str)
def test_paging_beyond_the_limits_is_refused(get, parameters):
    answer = get(f"/lists/{LIST_ID}/members", **parameters)
    assert (answer.status_code, answer.json()["title"]) == (400, "Invalid Resource")
    assert [problem["field"] for problem in answer.json()["errors"]] == list(parameters)


def test_only_the_fields_asked_for(get):
    answer = get(f"/lists/{LIST_ID}/members", fields="members.id,members.location.country_code,total_items", count=1)
    (member,) = answer.json().pop("members")
    assert set(answer.json()) == {"members", "total_items"}
    assert set(member) == {"id", "location"}
    assert set(member["location"]) == {"country_code"}


def test_all_but_the_fields_excluded(get):
    answer = get(f"/lists/{LIST_ID}/members", exclude_fields="_links,members._links,members.stats", count=1).json()
    assert "_links" not in answer
    assert not {"_links", "stats"} & set(answer["members"][0])
    assert "merge_fields" in answer["members"][0]


@pytest.mark.parametrize(
    "parameters",
    [{"fields": "members.nonsense"}, {"exclude_fields": "nonsense"}, {"fields": "list_id", "exclude_fields": "_links"}],
    ids=["unknown", "unknown to exclude", "both at once"],
)
def test_fields_that_do_not_fit_are_an_error(get, parameters):
    assert get(f"/lists/{LIST_ID}/members", **parameters).status_code == 400


@pytest.mark.parametrize("text", ["yesterday", "2026-05-01T00:00:00 00:00"], ids=["no date", "plus not encoded"])
def test_a_date_that_is_none_is_refused(get, text):
    assert get(f"/lists/{LIST_ID}/members", since_last_changed=text).status_code == 400


def test_problems_look_like_the_recorded_ones(get):
    """Keys, content type and instance = request id as in grouparoo's recording of 2021."""
    answer = get("/lists/nowhere")
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert answer.json() == {
        "type": "https://mailchimp.com/developer/marketing/docs/errors/",
        "title": "Resource Not Found",
        "status": 404,
        "detail": "The requested resource could not be found.",
        "instance": answer.headers["X-Request-Id"],
    }


def test_a_wrong_verb_names_the_right_ones(simulator):
    answer = requests.delete(f"{simulator.url}/3.0/reports", auth=("x", simulator.api_key), timeout=10)
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")
    assert "GET" in answer.headers["Allow"]


def test_the_bare_root_redirects(simulator):
    answer = requests.get(f"{simulator.url}/3.0", auth=("x", simulator.api_key), timeout=10, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{simulator.url}/3.0/")


def test_metadata_answers_200_for_a_bad_token(simulator):
    answer = requests.get(f"{simulator.url}/oauth2/metadata", headers={"Authorization": "OAuth x"}, timeout=10)
    assert answer.status_code == 200
    assert "api_endpoint" not in answer.json()


# Reports (sheet §3)


def test_email_activity_is_not_in_order_of_time(get, simulator):
    rows = get(f"/reports/{simulator.campaigns[-1]}/email-activity", count=1000).json()["emails"]
    moments = [item["timestamp"] for row in rows for item in row["activity"]]
    assert moments != sorted(moments)
    assert moments != sorted(moments, reverse=True)


def test_a_fraction_of_a_second_in_since_is_an_internal_error(get, simulator):
    """airbyte issue 37434."""
    answer = get(f"/reports/{simulator.campaigns[0]}/email-activity", since="2026-05-01T00:00:00.123456Z")
    assert answer.status_code == 500


def test_since_brings_what_happened_later_and_keeps_idle_recipients(get, simulator):
    campaign = simulator.world.sent[-1]
    since = campaign.sent + timedelta(hours=6)
    answer = get(
        f"/reports/{campaign.id}/email-activity", since=since.strftime("%Y-%m-%dT%H:%M:%SZ"), count=1000
    ).json()
    moments = [datetime.fromisoformat(item["timestamp"]) for row in answer["emails"] for item in row["activity"]]
    assert moments
    assert min(moments) > since
    assert answer["total_items"] == len(campaign.recipients)


def test_totals_of_a_report_agree_with_its_details(get, simulator):
    for campaign in simulator.world.sent:
        report = get(f"/reports/{campaign.id}").json()
        details = get(f"/reports/{campaign.id}/open-details", count=1000).json()
        opens = [opened for row in details["members"] for opened in row["opens"]]
        assert report["opens"]["opens_total"] == details["total_opens"] == len(opens)
        assert report["opens"]["unique_opens"] == details["total_items"]
        assert report["opens"]["last_open"] == max(opened["timestamp"] for opened in opens)
        assert report["opens"]["proxy_excluded_opens"] == sum(not opened["is_proxy_open"] for opened in opens)


# The seeded people


def test_the_same_seed_makes_the_same_account(simulate):
    first, second = simulate(), simulate()
    assert first.world.subscribers == second.world.subscribers
    assert [c.acts for c in first.world.sent] == [c.acts for c in second.world.sent]


def test_everything_seeded_lies_in_the_ninety_days_before_the_present(simulate):
    simulator = simulate(people=400)
    moments = [act.at for c in simulator.world.campaigns.values() for acts in c.acts.values() for act in acts]
    moments += [one.changed for one in simulator.world.subscribers.values()]
    assert simulated_now() - timedelta(days=90) <= min(moments)
    assert max(moments) < simulated_now()


def test_hot_people_open_three_times_in_a_day_and_then_look_at_prices_demo_and_whitepaper(simulate):
    simulator = simulate(people=400)
    last = simulator.world.sent[-1]
    people = list(simulator.world.subscribers.values())
    hot = [people[person.number].hash for person in population(400, 3) if person.persona == "hot"]
    assert len(hot) > 20
    for who in hot:
        opens = [act.at for act in last.acts[who] if act.action == "open"]
        assert len(opens) == 3
        assert max(opens) - min(opens) < timedelta(days=1)
        clicked = {act.url for act in last.acts[who] if act.action == "click"}
        assert {PRICING, DEMO, WHITEPAPER} <= clicked


def test_those_who_left_are_unsubscribed_and_get_nothing_more(simulate):
    simulator = simulate(people=400)
    left = {who: campaign.number for campaign in simulator.world.sent for who in campaign.left}
    assert left
    for who, number in left.items():
        assert simulator.world.subscribers[who].status == "unsubscribed"
        assert not [c for c in simulator.world.sent if c.number > number and who in c.recipients]


def test_settings_are_accepted_by_the_connector(simulator, connect):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert connect(simulator).config.audience == (LIST_ID,)
