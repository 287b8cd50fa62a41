"""The simulator answers as the vendor does: driven by the vendor's own client, and held against the vendor sheet."""

from __future__ import annotations

import json
import warnings
from datetime import datetime, timedelta

import pytest
import requests

from syncline.testing.population import population, simulated_now
from syncline_mailchimp.simulated import DEMO, LIST_ID, PRICING, WHITEPAPER

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
