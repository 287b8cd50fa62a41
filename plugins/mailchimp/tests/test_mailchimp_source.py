"""The source against the simulator, over HTTP on loopback."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from syncline.errors import AuthError, ConfigError, CursorExpiredError, RateLimitError, TransientError
from syncline.sdk import SimulatorOptions
from syncline.testing.simulator import Fault
from syncline_mailchimp import MailchimpSource
from syncline_mailchimp.payloads import moment_text
from syncline_mailchimp.simulator import MailchimpSimulator, Switches

FACTS = ("opens", "activity", "unsubscribes")
WHERE = {"opens": "open-details", "activity": "email-activity", "unsubscribes": "unsubscribed"}
LAST = -1


def _latest(records):
    """Key → payload, the last one winning: what a store holds afterwards."""
    return {record.key: dict(record.payload) for record in records}


def _some(simulator, status="subscribed"):
    return [one for one in simulator.world.subscribers.values() if one.status == status]


# Everything there is


def test_check_names_the_account(simulate, connect):
    account = connect(simulate()).check()
    assert (account.id, account.name) == ("5a1b2c3d4e5f60718293a4b5c", "Example Co")
    assert account.server_time is not None


def test_check_is_one_call(simulate, connect):
    source = connect(simulate())
    source.check()
    assert source.context.http.metrics.total == 1


def test_every_member_is_one_record(simulate, connect, pull):
    simulator = simulate()
    records, _ = pull(connect(simulator), "members")
    assert {record.payload["id"] for record in records} == set(simulator.world.subscribers)
    assert len(records) == 120


@pytest.mark.parametrize("page_size", [7, 1000], ids=["many pages", "one page"])
def test_every_open_click_bounce_and_unsubscribe_is_one_record(simulate, connect, pull, page_size):
    simulator = simulate()
    source = connect(simulator, page_size=page_size)
    campaigns = simulator.world.campaigns.values()
    acts = Counter(act.action for campaign in campaigns for acts in campaign.acts.values() for act in acts)
    opens, activity, gone = (pull(source, stream)[0] for stream in FACTS)
    assert len(opens) == acts["open"]
    assert Counter(record.payload["action"] for record in activity) == {
        action: acts[action] for action in ("click", "bounce") if acts[action]
    }
    assert len(gone) == sum(len(campaign.left) for campaign in campaigns)


@pytest.mark.parametrize("stream", MailchimpSource.streams)
def test_no_record_comes_twice_in_one_read(simulate, connect, pull, stream):
    records, _ = pull(connect(simulate(), page_size=7), stream)
    assert len({record.key for record in records}) == len(records)


def test_machine_opens_are_told_by_mailchimp(simulate, connect, pull):
    simulator = simulate()
    source = connect(simulator)
    records, _ = pull(source, "opens")
    machine = sum(event.properties["machine"] for record in records for event in source.normalize(record))
    proxied = [act for c in simulator.world.campaigns.values() for act in c.all("open") if act.proxy]
    assert machine == len(proxied) > 0


def test_the_link_that_unsubscribes_is_no_click(simulate, connect, pull):
    source = connect(simulate(people=300))
    records, _ = pull(source, "activity")
    left = [record for record in records if "/unsubscribe?" in record.payload.get("url", "")]
    assert left
    assert [event for record in left for event in source.normalize(record)] == []


def test_emails_of_automations_are_read_unless_told_otherwise(simulate, connect, pull):
    simulator = simulate()
    welcome = simulator.world.welcome.id
    with_them, _ = pull(connect(simulator), "opens")
    without, _ = pull(connect(simulator, automations=False), "opens")
    assert {r.payload["campaign_id"] for r in with_them} - {r.payload["campaign_id"] for r in without} == {welcome}


def test_emails_of_automations_that_reports_list_too_are_read_once(simulate, connect, pull):
    plain, _ = pull(connect(simulate()), "opens")
    listed, _ = pull(connect(simulate(switches=Switches(automations_in_reports=True))), "opens")
    assert _latest(listed) == _latest(plain)
    assert len(listed) == len(plain)


def test_the_cursor_does_not_grow_even_if_one_report_can_never_be_read(simulate, connect, clock):
    """Marks of campaigns that trouble may have left out stay while their facts are young; a lost one loses no event."""
    simulator = simulate(faults=[{"kind": "status", "on": "GET /3.0/automations", "status": 500, "times": None}])
    young, old = clock() - timedelta(days=10), clock() - timedelta(days=400)
    marks = {f"gone{number}": {"newest": moment_text(old), "totals": "1/x"} for number in range(50)}
    marks["left-out"] = {"newest": moment_text(young), "totals": "1/x"}
    cursors = []
    with pytest.raises(TransientError):
        cursors.extend(p.cursor for p in connect(simulator).read("opens", json.dumps({"version": 1, "marks": marks})))
    kept = set(json.loads([cursor for cursor in cursors if cursor][-1])["marks"])
    assert "left-out" in kept
    assert not any(name.startswith("gone") for name in kept)


def test_campaigns_beyond_the_horizon_are_left_alone(simulate, connect, pull):
    simulator = simulate()
    records, cursor = pull(connect(simulator, horizon="30d", automations=False), "opens")
    assert {record.payload["campaign_id"] for record in records} == set(simulator.campaigns[-3:])
    assert set(json.loads(cursor)["marks"]) == set(simulator.campaigns[-3:])


def test_other_audiences_are_left_alone(simulate, connect, pull):
    records, _ = pull(connect(simulate(), audience="0000000000"), "opens")
    assert records == []


def test_an_audience_that_is_not_there_is_a_mistake_in_the_configuration(simulate, connect, pull):
    with pytest.raises(ConfigError, match="no audience '0000000000'"):
        pull(connect(simulate(), audience="0000000000"), "members")


def test_an_unknown_stream_names_those_there_are(simulate, connect):
    with pytest.raises(ConfigError, match="did you mean 'opens'"):
        connect(simulate()).read("open", None)


@pytest.mark.parametrize("cursor", ["{", '{"version":2,"marks":{}}', "12"], ids=["cut off", "newer", "not ours"])
def test_a_cursor_that_is_not_ours_is_expired(simulate, connect, cursor):
    with pytest.raises(CursorExpiredError):
        connect(simulate()).read("opens", cursor)


# Incremental


@pytest.mark.parametrize("stream", MailchimpSource.streams)
def test_a_second_read_with_nothing_new_brings_nothing(simulate, connect, pull, stream):
    simulator = simulate()
    source = connect(simulator)
    _, cursor = pull(source, stream)
    simulator.reset_counters()
    again, same = pull(source, stream, cursor)
    assert again == []
    assert json.loads(same) == json.loads(cursor)
    assert simulator.counters()["calls"] <= 4  # reports, automations, their e-mails, one report; or members


@pytest.mark.parametrize("inclusive", [False, True], ids=["since is exclusive", "since is inclusive"])
@pytest.mark.parametrize("hidden", [False, True], ids=["idle recipients listed", "idle recipients hidden"])
def test_incremental_reads_equal_one_full_read(simulate, connect, pull, clock, inclusive, hidden):
    simulator = simulate(switches=Switches(since_inclusive=inclusive, hide_idle_recipients=hidden))
    source = connect(simulator, page_size=13)
    stored, cursors = {}, {}
    for stream in source.streams:
        records, cursors[stream] = pull(source, stream)
        stored[stream] = _latest(records)
    for _ in range(3):
        _live_on(simulator, clock.advance(hours=5))
        for stream in source.streams:
            records, cursors[stream] = pull(source, stream, cursors[stream])
            stored[stream].update(_latest(records))
    clock.advance(minutes=1)
    for stream in source.streams:
        assert stored[stream] == _latest(pull(connect(simulator), stream)[0]), stream


def _live_on(simulator, now):
    """New opens, clicks, bounces and unsubscribes on a new and on an old campaign, and changed members."""
    people = _some(simulator)
    for number, campaign in enumerate((simulator.campaigns[-1], simulator.campaigns[0])):
        who = people[number * 3 : number * 3 + 3]
        simulator.add_activity(who[0].email, campaign, "open", now - timedelta(minutes=30))
        simulator.add_activity(who[1].email, campaign, "click", now - timedelta(minutes=20), url="https://x.example/a")
        simulator.add_activity(who[2].email, campaign, "bounce", now - timedelta(minutes=10), kind="soft")
        simulator.unsubscribe(who[2].email, campaign, now - timedelta(minutes=5), "too many")
    simulator.change_member(people[0].email, now - timedelta(minutes=2), company="Renamed S.r.l.")


def test_a_fact_that_shows_up_late_is_found_within_the_lookback(simulate, connect, pull):
    simulator = simulate()
    source = connect(simulator, lookback="1h")
    _, cursor = pull(source, "opens")
    campaign = simulator.campaigns[LAST]
    newest = datetime.fromisoformat(json.loads(cursor)["marks"][campaign]["newest"])
    late = newest - timedelta(minutes=59)
    simulator.add_activity(_some(simulator)[0].email, campaign, "open", late)
    records, _ = pull(source, "opens", cursor)
    assert late.strftime("%Y-%m-%dT%H:%M:%SZ") in {record.payload["timestamp"] for record in records}


def test_only_the_campaign_that_moved_is_read_again(simulate, connect, pull, clock):
    simulator = simulate()
    source = connect(simulator)
    _, cursor = pull(source, "activity")
    moved = simulator.campaigns[2]
    simulator.add_activity(_some(simulator)[0].email, moved, "click", clock.advance(hours=3), url="https://x.example/")
    simulator.reset_counters()
    records, _ = pull(source, "activity", cursor)
    assert {record.payload["campaign_id"] for record in records} == {moved}
    assert simulator.counters()["calls"] == 4 + 1


def test_a_fresh_campaign_is_read_even_before_its_totals_move(simulate, connect, pull, clock):
    """Reports lag behind their details by minutes."""
    simulator = simulate()
    clock.moment = simulator.world.sent[LAST].sent + timedelta(minutes=30)
    source = connect(simulator)
    _, cursor = pull(source, "opens")
    simulator.reset_counters()
    pull(source, "opens", cursor)
    assert simulator.counters()["calls"] == 4 + 1


def test_a_mark_never_runs_ahead_of_the_clock(simulate, connect, pull, clock):
    simulator = simulate()
    campaign = simulator.campaigns[LAST]
    simulator.add_activity(_some(simulator)[0].email, campaign, "open", clock() + timedelta(days=400))
    _, cursor = pull(connect(simulator), "opens")
    assert datetime.fromisoformat(json.loads(cursor)["marks"][campaign]["newest"]) <= clock()


def test_members_that_change_while_we_read_wait_for_the_next_read(simulate, connect, pull, clock):
    simulator = simulate()
    source = connect(simulator)
    someone = _some(simulator)[0].email
    simulator.change_member(someone, clock(), company="Renamed S.r.l.")
    first, cursor = pull(source, "members")
    assert someone not in {record.payload["email_address"] for record in first}
    clock.advance(minutes=1)
    second, _ = pull(source, "members", cursor)
    assert [record.payload["email_address"] for record in second] == [someone]


def test_members_are_found_after_our_clock_was_ahead(simulate, connect, pull, clock):
    """The mark follows the vendor's clock: what changed between the wrong time and the right one is not lost."""
    simulator = simulate()
    clock.ahead = timedelta(days=10)
    _, cursor = pull(connect(simulator), "members")
    mark = json.loads(cursor)["marks"][simulator.settings["audience"]]["newest"]
    assert datetime.fromisoformat(mark) == clock.moment - timedelta(seconds=10)
    clock.ahead = timedelta()
    someone = _some(simulator)[0].email
    simulator.change_member(someone, clock.advance(days=1), company="Renamed S.r.l.")
    clock.advance(days=20)
    records, _ = pull(connect(simulator), "members", cursor)
    assert [record.payload["email_address"] for record in records] == [someone]


def test_a_mark_that_lies_ahead_vouches_for_nothing(simulate, connect, pull, clock):
    """Whoever set it had a wrong clock: the audience is read from the start, and the mark comes back."""
    simulator = simulate()
    audience = simulator.settings["audience"]
    ahead = clock() + timedelta(days=10)
    wrong = json.dumps({"version": 1, "marks": {audience: {"newest": ahead.isoformat()}}})
    records, cursor = pull(connect(simulator), "members", wrong)
    assert len(records) == 120
    assert datetime.fromisoformat(json.loads(cursor)["marks"][audience]["newest"]) < clock()


def test_an_empty_audience_is_marked_by_the_vendors_clock_too(simulate, connect, pull, clock):
    clock.ahead = timedelta(days=10)
    _, cursor = pull(connect(simulate(people=0)), "members")
    (mark,) = json.loads(cursor)["marks"].values()
    assert datetime.fromisoformat(mark["newest"]) < clock.moment


# Killed, cut short, shifted


@pytest.mark.parametrize("stream", MailchimpSource.streams)
def test_killed_between_pages_nothing_is_lost(simulate, connect, pull, stream):
    """Killed after every single page in turn; each time a new process goes on from the last stored cursor."""
    simulator = simulate(people=40)
    wanted = _latest(pull(connect(simulator), stream)[0])
    pages = sum(1 for _ in connect(simulator, page_size=9).read(stream, None))
    assert pages > 3
    for survived in range(pages):
        stored, cursor = {}, None
        for _, page in zip(range(survived), connect(simulator, page_size=9).read(stream, None), strict=False):
            stored.update(_latest(page.records))
            cursor = page.cursor if page.cursor is not None else cursor
        rest, _ = pull(connect(simulator, page_size=9), stream, cursor)
        assert {**stored, **_latest(rest)} == wanted, f"killed after page {survived}"


@pytest.mark.parametrize("stream", MailchimpSource.streams)
def test_pages_in_the_middle_of_a_campaign_carry_no_cursor(simulate, connect, stream):
    pages = list(connect(simulate(people=60), page_size=2).read(stream, None))
    for before, after in itertools.pairwise(pages):
        if before.records and after.records and before.cursor is not None:
            owner = "campaign_id" if stream != "members" else "list_id"
            assert before.records[-1].payload[owner] != after.records[0].payload[owner]
    assert pages[-1].cursor is not None
    assert any(page.cursor is None for page in pages)


def test_since_does_not_move_while_a_campaign_is_paged(simulate, connect, pull, clock):
    simulator = simulate()
    source = connect(simulator, page_size=7)
    _, cursor = pull(source, "activity")
    who, campaign = _some(simulator)[0].email, simulator.campaigns[LAST]
    simulator.add_activity(who, campaign, "click", clock.advance(hours=1), url="https://x.example/")
    asked = []
    source.context.http.session.hooks["response"].append(lambda response, **_: asked.append(response.url))
    pull(source, "activity", cursor)
    sinces = {url.partition("since=")[2] for url in asked if f"/{campaign}/email-activity" in url}
    assert len(sinces) == 1
    assert sinces.pop().endswith("Z")


def test_a_listing_that_ends_before_its_announced_total_is_an_error(simulate, connect, pull):
    """Never read as complete: the second page of the first campaign is empty."""
    empty = {"kind": "status", "status": 200, "body": {"emails": [], "total_items": 120}, "after": 1, "times": None}
    simulator = simulate(faults=[{**empty, "on": "*/email-activity"}])
    with pytest.raises(TransientError, match="paging brought 50 of 120"):
        pull(connect(simulator, page_size=50), "activity")


def test_a_total_that_collapses_is_an_error(simulate, connect, pull):
    gone = {"kind": "status", "status": 200, "body": {"members": [], "total_items": 0}, "after": 1, "times": None}
    simulator = simulate(faults=[{**gone, "on": "*/members"}])
    with pytest.raises(TransientError, match="paging brought 50 of 120"):
        pull(connect(simulator, page_size=50), "members")


def test_recipients_in_another_order_on_every_page_are_noticed(simulate, connect, pull):
    """Whether the order is stable is not documented; if it is not, the read fails rather than lose somebody."""
    simulator = simulate(switches=Switches(shuffle_recipients=True))
    with pytest.raises(TransientError, match="paging brought"):
        pull(connect(simulator, page_size=13), "activity")


@pytest.mark.parametrize("stream", ["members", "activity"])
def test_someone_erased_while_we_page_pulls_nobody_past_us(simulate, connect, stream):
    simulator = simulate()
    source = connect(simulator, page_size=25)
    pages = source.read(stream, None)
    records = list(next(pages).records)
    first = next(iter(sorted(simulator.world.subscribers.values(), key=lambda one: (one.changed, one.hash))))
    earliest = min(simulator.world.subscribers)
    erased = first if stream == "members" else simulator.world.subscribers[earliest]
    simulator.erase(erased.email)
    records += [record for page in pages for record in page.records]
    found = {record.key for record in records}
    fresh = {record.key for page in connect(simulator).read(stream, None) for record in page.records}
    assert fresh <= found


def test_a_campaign_deleted_since_it_was_listed_is_skipped(simulate, connect, pull):
    simulator = simulate()
    gone, kept = simulator.campaigns[0], simulator.campaigns[1:]
    body = {"title": "Resource Not Found", "status": 404, "detail": "The requested resource could not be found."}
    simulator.faults.append(Fault("status", on=f"*/reports/{gone}/*", times=None, status=404, body=body))
    records, cursor = pull(connect(simulator, automations=False), "opens")
    assert {record.payload["campaign_id"] for record in records} == set(kept)
    assert gone not in json.loads(cursor)["marks"]


def _read_what_can_be(source, stream, cursor=None):
    """The records and the last cursor of a read that ends in an error, and the error."""
    records = []
    try:
        for page in source.read(stream, cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
    except (TransientError, ConfigError) as error:
        return records, cursor, error
    raise AssertionError("the read did not fail")


def _broken(on, status=500, **more):
    return Fault("status", on=on, times=None, status=status, body={"title": "It broke", "status": status}, **more)


@pytest.mark.parametrize("stream", FACTS)
def test_a_campaign_that_always_fails_does_not_starve_the_others(simulate, connect, pull, stream):
    """email-activity answers some campaigns with 500 for ever (airbyte issue 37434)."""
    simulator = simulate()
    whole = {key: one["campaign_id"] for key, one in _latest(pull(connect(simulator), stream)[0]).items()}
    bad = next(campaign for campaign in simulator.campaigns if campaign in whole.values())
    simulator.faults = [_broken(f"*/reports/{bad}/{WHERE[stream]}")]
    records, cursor, error = _read_what_can_be(connect(simulator), stream)
    assert {record.key for record in records} == {key for key, campaign in whole.items() if campaign != bad}
    assert bad in str(error)
    assert bad not in json.loads(cursor)["marks"]
    simulator.faults = []
    rest, _ = pull(connect(simulator), stream, cursor)
    assert {key for key, campaign in whole.items() if campaign == bad} <= {record.key for record in rest}


def test_the_mark_of_a_campaign_that_fails_stays_where_it_was(simulate, connect, pull, clock):
    simulator = simulate()
    source = connect(simulator)
    _, cursor = pull(source, "activity")
    bad, fine = simulator.campaigns[-2:]
    for campaign in (bad, fine):
        at = clock.advance(hours=3)
        simulator.add_activity(_some(simulator)[0].email, campaign, "click", at, url="https://x.example/")
    simulator.faults = [_broken(f"*/reports/{bad}/email-activity")]
    _, after, _ = _read_what_can_be(source, "activity", cursor)
    before, after = json.loads(cursor)["marks"], json.loads(after)["marks"]
    assert after[bad] == before[bad]
    assert after[fine]["newest"] > before[fine]["newest"]


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthError), (429, RateLimitError)], ids=["refused", "too many calls"]
)
def test_trouble_of_the_whole_connection_is_not_tried_on_every_campaign(simulate, connect, pull, status, error):
    simulator = simulate()
    simulator.faults = [_broken("*/email-activity", status)]
    source = connect(simulator, automations=False)
    with pytest.raises(error):
        pull(source, "activity")
    assert simulator.counters()["calls"] == 2


def test_unsubscribes_are_read_before_opens_and_activity():
    order = MailchimpSource.streams
    assert order.index("unsubscribes") < min(order.index("opens"), order.index("activity"))


@pytest.mark.parametrize("gone", ["*/reports/{welcome}", "*/automations/*/emails"], ids=["its report", "its e-mails"])
def test_an_automation_deleted_since_it_was_listed_is_skipped(simulate, connect, pull, gone):
    simulator = simulate()
    without, _ = pull(connect(simulator, automations=False), "opens")
    simulator.faults = [_broken(gone.format(welcome=simulator.world.welcome.id), 404)]
    records, cursor = pull(connect(simulator), "opens")
    assert _latest(records) == _latest(without)
    assert simulator.world.welcome.id not in json.loads(cursor)["marks"]


@pytest.mark.parametrize(
    "broken",
    ["*/reports/{welcome}", "*/automations/*/emails", "*/automations"],
    ids=["its report", "its e-mails", "the list of automations"],
)
def test_an_automation_that_cannot_be_listed_keeps_its_mark_and_starves_nobody(simulate, connect, pull, clock, broken):
    simulator = simulate()
    welcome = simulator.world.welcome.id
    _, cursor = pull(connect(simulator), "opens")
    simulator.add_activity(_some(simulator)[0].email, simulator.campaigns[LAST], "open", clock.advance(hours=3))
    simulator.faults = [_broken(broken.format(welcome=welcome))]
    records, after, _ = _read_what_can_be(connect(simulator), "opens", cursor)
    assert {record.payload["campaign_id"] for record in records} == {simulator.campaigns[LAST]}
    assert json.loads(after)["marks"][welcome] == json.loads(cursor)["marks"][welcome]


def test_an_audience_that_fails_does_not_starve_the_next_one(simulate, connect):
    simulator = simulate()
    source = connect(simulator, audience=["0000000000", simulator.settings["audience"]])
    records, cursor, error = _read_what_can_be(source, "members")
    assert len(records) == 120
    assert set(json.loads(cursor)["marks"]) == {simulator.settings["audience"]}
    assert "no audience '0000000000'" in str(error)


def test_a_row_nobody_documented_is_quarantined_alone(simulate, connect, pull):
    row = {"email_id": "a" * 32, "activity": [{"action": "teleport", "timestamp": "2026-05-01T00:00:00+00:00"}]}
    fine = {
        "email_id": "b" * 32,
        "activity": [{"action": "click", "timestamp": "2026-05-01T00:00:00+00:00", "url": "u"}],
    }
    body = {"emails": [row, fine], "total_items": 2}
    simulator = simulate(faults=[{"kind": "status", "status": 200, "body": body, "on": "*/email-activity"}])
    source = connect(simulator)
    records = next(iter(source.read("activity", None))).records
    assert [record.payload.get("email_id") for record in records] == [None, "b" * 32]
    with pytest.raises(Exception, match="action: Input should be 'click' or 'bounce'"):
        source.normalize(records[0])
    assert [event.type for event in source.normalize(records[1])] == ["email_click"]


# Concurrency


def test_no_more_requests_are_open_than_configured(simulate, connect):
    """The vendor counts per user; here it allows exactly as many as we are configured for, and never has to refuse."""
    simulator = simulate()
    simulator.max_connections = 3
    source = connect(simulator, concurrency=3)
    most = _flood(simulator, source, wait_for=3)
    assert most == 3
    assert set(source.context.http.metrics.statuses) == {"200"}


def test_the_eleventh_open_request_is_refused(simulate, connect):
    simulator = simulate()
    busy = [connect(simulator, concurrency=8), connect(simulator, concurrency=8)]
    with ThreadPoolExecutor(12) as threads:
        with simulator._lock:
            asked = [threads.submit(busy[n % 2].check) for n in range(12)]
            _until(lambda: simulator.in_flight == 12)
        failed = [one.exception() for one in asked]
    assert [type(error) for error in failed if error] == [RateLimitError] * 2


def _flood(simulator, source, wait_for):
    """Twelve checks at once while the simulator holds still; how many of them reached it."""
    with ThreadPoolExecutor(12) as threads:
        with simulator._lock:
            asked = [threads.submit(source.check) for _ in range(12)]
            _until(lambda: simulator.in_flight == wait_for)
            most = simulator.in_flight
        for one in asked:
            one.result()
    return most


def _until(condition, patience=2_000_000):
    for _ in range(patience):
        if condition():
            return
    raise AssertionError("it never happened")


# OAuth


def test_an_access_token_finds_the_api_by_itself(simulate, connect, pull):
    simulator = simulate()
    source = connect(simulator, simulator.oauth_settings)
    assert source.check().name == "Example Co"
    assert len(pull(source, "members")[0]) == 120
    assert source.context.http.metrics.calls["auth"] == 1


def test_state_survives_a_restart(tmp_path, connect, pull, clock):
    options = SimulatorOptions(people=30, folder=tmp_path)
    with MailchimpSimulator(options) as simulator:
        someone = _some(simulator)[0].email
        simulator.add_activity(someone, simulator.campaigns[LAST], "open", clock() - timedelta(minutes=5))
        simulator.erase(_some(simulator)[1].email)
        before = [_latest(pull(connect(simulator), stream)[0]) for stream in MailchimpSource.streams]
    with MailchimpSimulator(options) as simulator:
        after = [_latest(pull(connect(simulator), stream)[0]) for stream in MailchimpSource.streams]
    assert after == before
