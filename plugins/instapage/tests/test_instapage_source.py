"""Polling against the simulator, over HTTP on loopback. The read plan is that of the vendor sheet, §4."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import timedelta

import pytest

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    CursorExpiredError,
    RecordError,
    TransientError,
)
from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH, simulated_now
from syncline.testing.simulator import Fault
from syncline_instapage.simulator import InstapageSimulator, Switches
from syncline_instapage.simulator.world import DEMO, MARKETING, NEWSLETTER, PARTNERS, WEBINAR

LEAD = {"Enter Email Address": "new@example.com"}


def keys(records):
    return [raw.key for raw in records]


def asked(source):
    """The bodies of all calls for submissions from now on."""
    bodies = []

    def take(response, **_):
        if response.request.method == "POST":
            bodies.append(json.loads(response.request.body))

    source.context.http.session.hooks["response"].append(take)
    return bodies


# Everything there is


def test_check_names_the_workspaces_in_one_call(simulator, connect):
    source = connect(simulator)
    account = source.check()
    assert (account.id, account.name) == ("11771, 11772", "Marketing, Partners")
    assert account.details == {"11771": "owner", "11772": "viewer"}
    assert account.server_time == simulated_now()
    assert source.context.http.metrics.total == 1


def test_check_knows_no_workspace_that_the_owner_does_not_see(simulator, connect):
    with pytest.raises(ConfigError, match=r"sees no workspace 11773; did you mean '1177[12]'"):
        connect(simulator, workspaces=[MARKETING, 11773]).check()


def test_every_submission_is_one_record_with_its_page(simulator, connect, pull):
    records, _ = pull(connect(simulator))
    assert Counter(keys(records)) == Counter(list(simulator.submissions))
    demo = next(raw for raw in records if raw.payload["submission"]["pageId"] == DEMO)
    assert demo.payload["page"] == {"title": "Book a demo", "url": "https://go.acme.example/demo"}
    assert demo.payload["workspace"] == MARKETING


def test_submissions_of_deleted_pages_are_read_too(simulator, connect, pull):
    records, _ = pull(connect(simulator))
    assert [raw for raw in records if raw.payload["submission"]["pageId"] == WEBINAR]


def test_without_workspaces_all_that_the_owner_sees_are_read(simulator, connect, pull):
    records, cursor = pull(connect(simulator, workspaces=[]))
    assert len(records) == len(simulator.submissions)
    assert set(json.loads(cursor)["workspaces"]) == {str(MARKETING), str(PARTNERS)}


def test_one_workspace_may_be_given_without_brackets(simulator, connect, pull):
    records, _ = pull(connect(simulator, workspaces=PARTNERS))
    assert {raw.payload["workspace"] for raw in records} == {PARTNERS}


@pytest.mark.parametrize(
    "switches",
    [
        Switches(exclusive_timeframe=True),
        Switches(no_next_page=True),
        Switches(empty_meta_is_a_list=True),
        Switches(submissions_status=201),
        Switches(metadata_in_fields=True),
    ],
    ids=["exclusive timeframe", "no nextPage", "meta is a list", "status 201", "metadata in fields"],
)
def test_everything_is_read_whatever_nobody_could_verify(simulate, connect, pull, switches):
    simulator = simulate(switches=switches)
    simulator.per_page = 2
    records, _ = pull(connect(simulator, window="7d"))
    assert set(keys(records)) == set(simulator.submissions)


def test_rows_come_in_no_order_and_a_hundred_at_a_time(simulate, connect):
    simulator = simulate(people=600)
    pages = list(connect(simulator).read("submissions", None))
    moments = [raw.payload["submission"]["createdAt"] for page in pages for raw in page.records]
    assert moments != sorted(moments)
    assert moments != sorted(moments, reverse=True)
    assert max(len(page.records) for page in pages) == 100


def test_only_a_complete_window_moves_the_cursor(simulate, connect):
    """Rows come in no order: half a window vouches for nothing."""
    simulator = simulate(people=1500)
    pages = list(connect(simulator, workspaces=MARKETING, horizon="90d", window="45d").read("submissions", None))
    marked = [bool(page.cursor) for page in pages]
    assert marked.count(True) == 2
    assert marked[-1]
    assert marked.count(False) > 4


def test_a_read_that_breaks_off_goes_on_at_the_last_complete_window(simulate, connect, pull):
    simulator = simulate(people=400)
    simulator.faults = [Fault("status", on="POST *", after=3)]
    source = connect(simulator, workspaces=MARKETING, window="30d")
    found, cursor, error = read_what_can_be(source)
    assert isinstance(error, TransientError)
    assert cursor is not None
    simulator.reset_counters()
    rest, _ = pull(source, cursor)
    everything = {s["id"] for s in simulator.submissions.values() if s["page"] < 30_000_000}
    assert set(keys(found)) | set(keys(rest)) == everything
    assert set(keys(rest)) < everything


def test_a_hundred_pages_are_asked_for_in_one_call(simulate, connect, pull):
    simulator = simulate(people=60)
    template = simulator.table("pages")[str(NEWSLETTER)]
    for number in range(21_950_000, 21_950_250):
        simulator.table("pages")[str(number)] = {**template, "id": number}
    source = connect(simulator, workspaces=MARKETING, window="90d")
    bodies = asked(source)
    records, _ = pull(source)
    assert [len(body["pages"]) for body in bodies] == [100, 100, 57]
    assert len(records) == len([s for s in simulator.submissions.values() if s["page"] < 30_000_000])


def test_a_workspace_without_pages_costs_no_call_for_submissions(simulator, connect, pull):
    for number in [n for n, page in simulator.table("pages").items() if page["workspace"] == PARTNERS]:
        del simulator.table("pages")[number]
    source = connect(simulator, workspaces=PARTNERS)
    records, cursor = pull(source)
    assert records == []
    assert json.loads(cursor)["workspaces"][str(PARTNERS)]["read_to"]
    assert set(source.context.http.metrics.calls) == {"read"}
    assert source.context.http.metrics.total == 2


def test_the_post_counts_as_a_read(simulator, connect, pull):
    source = connect(simulator)
    pull(source)
    assert set(source.context.http.metrics.calls) == {"read"}
    assert "write_calls" not in simulator.counters()


def test_submissions_can_be_asked_for_by_get(simulate, connect, pull):
    """One third party's word (sheet, §1): a page number, no filter. Everything is read once, and picked from here."""
    simulator = simulate(switches=Switches(get_submissions=True))
    simulator.per_page = 40
    source = connect(simulator, submissions_verb="GET")
    records, cursor = pull(source)
    assert Counter(keys(records)) == Counter(list(simulator.submissions))
    simulator.advance(timedelta(hours=1))
    new = simulator.submit(DEMO, LEAD, simulator.now() - timedelta(minutes=5))
    assert keys(pull(source, cursor)[0]) == [new]


# Incremental


def test_a_second_read_costs_two_calls_a_workspace_and_finds_nothing_new(simulator, connect, pull):
    source = connect(simulator)
    _, cursor = pull(source)
    simulator.advance(timedelta(hours=1))
    simulator.reset_counters()
    again, later = pull(source, cursor)
    assert again == []
    assert simulator.counters()["calls"] == 4
    assert json.loads(later) != json.loads(cursor)


def test_a_window_overlaps_by_ten_minutes_and_ends_thirty_seconds_ago(simulator, connect, pull):
    source = connect(simulator, workspaces=MARKETING)
    _, cursor = pull(source)
    simulator.advance(timedelta(hours=1))
    bodies = asked(source)
    pull(source, cursor)
    now = int(simulator.now().timestamp())
    assert [body["timeframe"] for body in bodies] == [{"start": now - 3600 - 30 - 600 - 1, "end": now - 30}]


def test_a_submission_that_shows_up_late_is_found_within_the_overlap(simulator, connect, pull):
    source = connect(simulator)
    _, cursor = pull(source)
    late = simulator.submit(DEMO, LEAD, simulator.now() - timedelta(minutes=8))
    simulator.advance(timedelta(minutes=15))
    assert late in keys(pull(source, cursor)[0])


def test_a_day_is_read_again_once_a_day(simulator, connect, pull):
    """For what shows up later than the overlap, and for pages that were deleted meanwhile (sheet, §4)."""
    source = connect(simulator)
    _, cursor = pull(source)
    simulator.advance(timedelta(hours=2))
    _, cursor = pull(source, cursor)
    late = simulator.submit(DEMO, LEAD, simulator.now() - timedelta(hours=1))
    on_deleted = simulator.submit(NEWSLETTER, {"Email": "new@example.com"}, simulator.now() - timedelta(minutes=1))
    simulator.delete_page(NEWSLETTER)
    simulator.advance(timedelta(hours=4))
    found, cursor = pull(source, cursor)
    assert not {late, on_deleted} & set(keys(found))
    simulator.advance(timedelta(hours=18))
    found, cursor = pull(source, cursor)
    assert {late, on_deleted} <= set(keys(found))
    simulator.advance(timedelta(hours=1))
    simulator.reset_counters()
    pull(source, cursor)
    assert simulator.counters()["calls"] == 4


def test_no_moment_lies_between_two_rereads(simulator, connect, pull):
    """A re-read that comes late goes back to the one before it, not just a day."""
    source = connect(simulator, workspaces=MARKETING)
    _, cursor = pull(source)
    simulator.advance(timedelta(hours=20))
    _, cursor = pull(source, cursor)
    on_deleted = simulator.submit(DEMO, LEAD, simulator.now() - timedelta(hours=19))
    simulator.delete_page(DEMO)
    simulator.advance(timedelta(hours=26))
    assert on_deleted in keys(pull(source, cursor)[0])


def test_after_a_pause_everything_since_is_read_in_pieces(simulator, connect, pull):
    source = connect(simulator, workspaces=MARKETING)
    _, cursor = pull(source)
    simulator.advance(timedelta(days=70))
    new = simulator.submit(DEMO, LEAD, simulator.now() - timedelta(days=69))
    bodies = asked(source)
    records, _ = pull(source, cursor)
    assert new in keys(records)
    assert len(bodies) == 3
    frames = [body["timeframe"] for body in bodies]
    assert all(later["start"] < earlier["end"] for earlier, later in itertools.pairwise(frames))


def test_a_submission_that_vanished_is_no_longer_read_and_nothing_is_concluded(simulator, connect, pull):
    source = connect(simulator)
    records, cursor = pull(source)
    simulator.vanish(records[0].key)
    simulator.advance(timedelta(hours=25))
    again, _ = pull(source, cursor)
    assert records[0].key not in keys(again)


def test_our_clock_being_ahead_loses_nothing(simulator, connect, pull):
    """The vendor's `Date` counts where ours is ahead: what is not there yet must not count as read."""
    fast = connect(simulator, ahead=timedelta(hours=3))
    _, cursor = pull(fast)
    simulator.advance(timedelta(hours=1))
    new = simulator.submit(DEMO, LEAD, simulator.now() - timedelta(minutes=40))
    assert new in keys(pull(fast, cursor)[0])


def test_a_mark_in_the_future_vouches_for_nothing(simulator, connect, pull):
    source = connect(simulator, workspaces=MARKETING)
    wrong = int(simulator.now().timestamp()) + 86_400
    cursor = json.dumps({"version": 1, "workspaces": {str(MARKETING): {"read_to": wrong, "reread": wrong}}})
    assert set(keys(pull(source, cursor)[0])) == set(keys(pull(source)[0]))


def test_the_cursor_forgets_workspaces_that_are_no_longer_read(simulator, connect, pull):
    _, cursor = pull(connect(simulator))
    _, cursor = pull(connect(simulator, workspaces=PARTNERS), cursor)
    assert set(json.loads(cursor)["workspaces"]) == {str(PARTNERS)}


def test_an_unknown_stream_names_the_one_there_is(simulator, connect):
    with pytest.raises(ConfigError, match="did you mean 'submissions'"):
        connect(simulator).read("submission", None)


@pytest.mark.parametrize("cursor", ["{", '{"version":2}', "12"], ids=["cut off", "newer", "not ours"])
def test_a_cursor_that_is_not_ours_is_expired(simulator, connect, cursor):
    with pytest.raises(CursorExpiredError):
        connect(simulator).read("submissions", cursor)


# Trouble


def read_what_can_be(source):
    """The records before the trouble, the last cursor, and the trouble."""
    records, cursor = [], None
    try:
        for page in source.read("submissions", None):
            records += page.records
            cursor = page.cursor or cursor
    except ConnectorError as error:
        return records, cursor, error
    raise AssertionError("the read did not fail")


def test_a_workspace_that_may_not_be_read_fails_alone(simulator, connect):
    simulator.forbidden.add(MARKETING)
    records, cursor, error = read_what_can_be(connect(simulator))
    assert {raw.payload["workspace"] for raw in records} == {PARTNERS}
    assert set(json.loads(cursor)["workspaces"]) == {str(PARTNERS)}
    assert "HTTP 403" in str(error)
    assert "invited" in str(error)


def test_deleted_pages_that_may_not_be_asked_for_keep_no_other_from_being_read(simulate, connect, pull):
    """Nobody says whether they may. All others of the workspace are asked for again without them."""
    simulator = simulate(switches=Switches(deleted_pages_are_gone=True))
    deleted = {page["id"] for page in simulator.table("pages").values() if page["isDeleted"]}
    records, cursor = pull(connect(simulator))
    assert set(keys(records)) == {s["id"] for s in simulator.submissions.values() if s["page"] not in deleted}
    assert set(json.loads(cursor)["workspaces"]) == {str(MARKETING), str(PARTNERS)}


def test_what_was_complete_before_an_error_stays_so_when_others_are_read(simulate, connect):
    """The mark of a workspace that failed in its last window is not taken back by the next workspace's."""
    simulator = simulate(people=400)
    simulator.faults = [Fault("status", on=f"POST */workspaces/{MARKETING}/*", after=3, times=None)]
    _, cursor, error = read_what_can_be(connect(simulator, window="30d"))
    assert isinstance(error, TransientError)
    marks = json.loads(cursor)["workspaces"]
    assert set(marks) == {str(MARKETING), str(PARTNERS)}
    assert marks[str(MARKETING)]["read_to"] < marks[str(PARTNERS)]["read_to"]


def test_a_workspace_that_is_not_there_is_a_mistake_in_the_configuration(simulator, connect):
    records, _, error = read_what_can_be(connect(simulator, workspaces=[99, PARTNERS]))
    assert {raw.payload["workspace"] for raw in records} == {PARTNERS}
    assert isinstance(error, ConfigError)
    assert "no workspace 99" in str(error)


def test_a_revoked_token_ends_the_read_at_once(simulator, connect):
    simulator.revoked = True
    source = connect(simulator)
    with pytest.raises(AuthError, match="owner has left"):
        list(source.read("submissions", None))
    assert source.context.http.metrics.total == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"data": [], "meta": {"nextPageToken": "again", "limit": 100}}, "round in circles"),
        ({"data": [{"id": str(n)} for n in range(100)], "meta": {"limit": 100}}, "is there more"),
        ({"data": [{"id": str(n)} for n in range(100)], "meta": []}, "is there more"),
        ({"meta": {"nextPageToken": None}}, "data: Field required"),
        ({"data": [], "meta": "soon"}, "meta: Input should be"),
        ({"errors": "none"}, "is base_url Instapage's"),
    ],
    ids=["a token again and again", "full, no token", "full, meta a list", "no data", "meta is text", "another API"],
)
def test_an_answer_that_may_not_be_all_is_never_taken_for_all(simulator, connect, body, message):
    simulator.faults = [Fault("status", status=200, body=body, on="POST *", times=None)]
    with pytest.raises(ConnectorError, match=message):
        list(connect(simulator).read("submissions", None))


def test_an_empty_answer_with_a_token_is_followed(simulator, connect, pull):
    """The token says whether there is more, not the number of rows."""
    source = connect(simulator, workspaces=PARTNERS, window="90d")
    whole = keys(pull(source)[0])
    simulator.switches = Switches(empty_answers=True)
    assert keys(pull(source)[0]) == whole


def test_pages_that_leave_the_list_while_it_is_read_are_noticed(simulator, connect):
    simulator.per_page = 3
    source = connect(simulator)
    source.context.http.session.hooks["response"].append(lambda *_, **__: _lose_first_page(simulator))
    with pytest.raises(TransientError, match=r"paging brought \d of 6 rows"):
        list(source.read("submissions", None))


def _lose_first_page(simulator):
    pages = simulator.table("pages")
    if str(NEWSLETTER) in pages:
        del pages[str(NEWSLETTER)]


def test_a_row_nobody_documented_is_quarantined_alone(simulator, connect):
    fine = {"id": "a1", "pageId": DEMO, "createdAt": 1_780_000_000, "fields": {"Email": "ada@example.com"}}
    rows = [{"id": "a2", "pageId": "soon"}, "text", {**fine, "id": "a3", "createdAt": "yesterday"}, fine]
    body = {"data": rows, "meta": {"nextPageToken": None, "limit": 100}}
    simulator.faults = [Fault("status", status=200, body=body, on="POST *", times=None)]
    source = connect(simulator, workspaces=MARKETING)
    page = next(page for page in source.read("submissions", None) if page.records)
    assert [raw.key.partition(":")[0] for raw in page.records] == ["a2", "unreadable", "a3", "a1"]
    reasons = ["pageId: Input should be a valid integer", "id: Field required", "createdAt: Value error, not a time"]
    for raw, reason in zip(page.records[:3], reasons, strict=True):
        with pytest.raises(RecordError, match=reason):
            source.normalize(raw)
    assert [event.type for event in source.normalize(page.records[3])] == ["form_submission"]


def test_an_empty_list_in_place_of_fields_is_a_form_without_answers(simulator, connect):
    """PHP writes an empty object as a list."""
    row = {"id": "a1", "pageId": DEMO, "createdAt": 1_780_000_000, "fields": []}
    body = {"data": [row], "meta": {"nextPageToken": None, "limit": 100}}
    simulator.faults = [Fault("status", status=200, body=body, on="POST *", times=None)]
    source = connect(simulator, workspaces=MARKETING)
    (raw, *_) = next(page for page in source.read("submissions", None) if page.records).records
    with pytest.raises(RecordError, match="no field holds an e-mail address"):
        source.normalize(raw)


def test_state_survives_a_restart(tmp_path, connect, pull):
    options = SimulatorOptions(people=30, folder=tmp_path, clock=EPOCH)
    with InstapageSimulator(options) as simulator:
        simulator.submit(DEMO, LEAD, simulated_now() - timedelta(minutes=5))
        simulator.delete_page(NEWSLETTER)
        before = pull(connect(simulator))[0]
    with InstapageSimulator(options) as simulator:
        assert pull(connect(simulator))[0] == before
