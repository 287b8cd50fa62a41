"""The read plan against the simulator, over HTTP on loopback (vendor sheet §1, §3, §5)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from syncline.errors import AuthError, ConfigError, ConnectorError, CursorExpiredError, RateLimitError, TransientError
from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH, simulated_now
from syncline.testing.simulator import Fault
from syncline_unbounce.cursor import Cursor, Mark, Place, digest, group_of, is_unknown
from syncline_unbounce.payloads import PageEntity
from syncline_unbounce.simulator import Switches, UnbounceSimulator

NOW = simulated_now()
STATISTICS = {"current": {"form_submits": 7}}


def _page(simulator, name="Newsletter"):
    return next(id_ for id_, row in simulator.world.pages.items() if row.name == name)


def _all_leads(simulator):
    return {lead.id for page in simulator.world.pages.values() for lead in page.leads}


def _submit(simulator, minutes_ago=1.0, page="Newsletter", email="late@example.com"):
    at = simulator.now() - timedelta(minutes=minutes_ago)
    return simulator.submit(_page(simulator, page), {"email": email}, at=at)


def _calls(source):
    return source.context.http.metrics.total


def _settled(simulator, source, pull, cursor):
    """Read until nothing is fresh any more."""
    for _ in range(2):
        simulator.advance(timedelta(minutes=30))
        _, cursor = pull(source, cursor)
    return cursor


# Everything there is


def test_check_names_the_account_in_one_call(simulator, connect):
    source = connect(simulator)
    account = source.check()
    assert (account.id, account.name, account.details["login"]) == ("4210001", "Example Co", "API key")
    assert account.server_time == NOW
    assert _calls(source) == 1


@pytest.mark.parametrize("page_size", [1, 3, 7, 1000])
def test_every_lead_is_one_record(simulator, connect, pull, page_size):
    records, _ = pull(connect(simulator, page_size=page_size))
    assert {raw.key for raw in records} == _all_leads(simulator)
    assert len(records) == len(_all_leads(simulator)) > 50


@pytest.mark.parametrize("inclusive", [False, True], ids=["from is exclusive", "from is inclusive"])
@pytest.mark.parametrize("total", [False, True], ids=["count of the answer", "count of all"])
def test_what_is_not_known_of_from_and_count_changes_nothing(simulate, connect, pull, inclusive, total):
    simulator = simulate(switches=Switches(from_inclusive=inclusive, count_is_total=total))
    records, _ = pull(connect(simulator, page_size=7))
    assert sorted(raw.key for raw in records) == sorted(_all_leads(simulator))


def test_leads_of_unpublished_pages_are_read(simulator, connect, pull):
    records, _ = pull(connect(simulator))
    assert "Autumn webinar" in {raw.payload["page"]["name"] for raw in records}


def test_many_leads_of_one_millisecond_are_all_read(simulator, connect, pull):
    """An import: more leads at one moment than an answer holds."""
    page = simulator.add_page("Imported", "/imported", at=NOW - timedelta(days=9))
    leads = {simulator.submit(page, {"email": f"i{n}@example.com"}, at=NOW - timedelta(days=1)) for n in range(60)}
    records, _ = pull(connect(simulator, page_size=10))
    assert leads <= {raw.key for raw in records}
    assert len({raw.key for raw in records}) == len(_all_leads(simulator))


def test_only_the_sub_accounts_asked_for_are_read(simulator, connect, pull):
    both, _ = pull(connect(simulator))
    one, _ = pull(connect(simulator, sub_accounts=1552434))
    pages = {id_ for id_, row in simulator.world.pages.items() if row.sub_account == "1552434"}
    assert {raw.key for raw in one} == {raw.key for raw in both if raw.payload["lead"]["page_id"] in pages}
    assert 0 < len(one) < len(both)


def test_the_first_read_goes_back_as_far_as_the_horizon(simulator, connect, pull):
    records, _ = pull(connect(simulator, horizon="30d"))
    expected = {
        lead.id
        for page in simulator.world.pages.values()
        for lead in page.leads
        if lead.created_at > NOW - timedelta(days=30)
    }
    assert {raw.key for raw in records} == expected


def test_an_unknown_stream_names_those_there_are(simulator, connect):
    with pytest.raises(ConfigError, match="did you mean 'leads'"):
        connect(simulator).read("lead", None)


@pytest.mark.parametrize(
    "cursor", ["{", '{"version":2,"groups":{}}', "12", '{"version":1,"marks":{}}'], ids=["cut", "newer", "12", "other"]
)
def test_a_cursor_that_is_not_ours_is_expired(simulator, connect, cursor):
    with pytest.raises(CursorExpiredError):
        connect(simulator).read("leads", cursor)


# What is new


def test_a_second_read_finds_nothing_new_and_costs_one_call(simulator, connect, pull):
    source = connect(simulator)
    _, cursor = pull(source)
    cursor = _settled(simulator, source, pull, cursor)
    before = _calls(source)
    again, same = pull(source, cursor)
    assert (again, same, _calls(source) - before) == ([], cursor, 1)


def test_only_the_page_that_moved_is_read_again(simulator, connect, pull):
    source = connect(simulator)
    _, cursor = pull(source)
    cursor = _settled(simulator, source, pull, cursor)
    simulator.advance(timedelta(hours=1))
    lead = _submit(simulator)
    before = _calls(source)
    records, cursor = pull(source, cursor)
    assert [raw.key for raw in records] == [lead]
    assert _calls(source) - before == 2


def test_a_lead_that_is_counted_before_it_can_be_read_is_found_by_the_next_read(simulator, connect, pull):
    """The API shows a lead some time after the statistics count it (vendor sheet §2, last line)."""
    source = connect(simulator)
    _, cursor = pull(source)
    cursor = _settled(simulator, source, pull, cursor)
    simulator.visibility_delay = timedelta(minutes=5)
    simulator.advance(timedelta(hours=1))
    lead = _submit(simulator, minutes_ago=2)
    records, cursor = pull(source, cursor)
    assert records == []
    simulator.advance(timedelta(hours=1))
    records, cursor = pull(source, cursor)
    assert [raw.key for raw in records] == [lead]
    before = _calls(source)
    pull(source, cursor)
    assert _calls(source) - before == 1  # by then the page is settled


def test_a_lead_that_the_statistics_count_late_is_found_when_they_do(simulate, connect, pull):
    simulator = simulate(switches=Switches(stats_lag_s=7200))
    source = connect(simulator)
    _, cursor = pull(source)
    cursor = _settled(simulator, source, pull, cursor)
    lead = _submit(simulator, minutes_ago=1)
    simulator.advance(timedelta(hours=1))
    records, cursor = pull(source, cursor)
    assert lead not in {raw.key for raw in records}
    simulator.advance(timedelta(hours=2))
    records, _ = pull(source, cursor)
    assert lead in {raw.key for raw in records}


def test_statistics_that_never_move_hide_a_lead_for_a_day_at_most(simulate, connect, pull):
    simulator = simulate(switches=Switches(stats_lag_s=1e9))
    source = connect(simulator)
    _, cursor = pull(source)
    simulator.advance(timedelta(hours=1))
    lead = _submit(simulator)
    found = set()
    for _ in range(25):
        simulator.advance(timedelta(hours=1))
        records, cursor = pull(source, cursor)
        found |= {raw.key for raw in records}
    assert lead in found


def test_incremental_reads_equal_one_full_read(simulator, connect, pull):
    source = connect(simulator, page_size=5)
    records, cursor = pull(source)
    seen = {raw.key: raw for raw in records}
    for hour in range(8):
        simulator.advance(timedelta(hours=5))
        for page in ("Newsletter", "Book a demo", "Autumn webinar"):
            _submit(simulator, minutes_ago=hour * 7, page=page, email=f"{hour}@example.com")
        records, cursor = pull(source, cursor)
        seen |= {raw.key: raw for raw in records}
    simulator.advance(timedelta(hours=1))
    records, cursor = pull(source, cursor)
    seen |= {raw.key: raw for raw in records}
    assert seen == {raw.key: raw for raw in pull(connect(simulator))[0]}


def test_a_new_page_is_read_from_its_start(simulator, connect, pull):
    source = connect(simulator)
    _, cursor = pull(source)
    page = simulator.add_page("Brand new", "/new", at=simulator.now())
    simulator.advance(timedelta(hours=1))
    lead = simulator.submit(page, {"email": "n@example.com"}, at=simulator.now() - timedelta(minutes=50))
    records, _ = pull(source, cursor)
    assert lead in {raw.key for raw in records}


def test_leads_that_disappear_while_we_read_pull_no_other_past_us(simulator, connect):
    """An offset would skip as many as were deleted; the walk by time does not."""
    page = simulator.add_page("Busy", "/busy", at=NOW - timedelta(days=9))
    leads = [
        simulator.submit(page, {"email": f"b{n}@example.com"}, at=NOW - timedelta(hours=100 - n)) for n in range(60)
    ]
    source = connect(simulator, page_size=10)
    read = source.read("leads", None)
    found = set()
    gone = list(leads[:20])
    for got in read:
        found |= {raw.key for raw in got.records}
        if gone and found & set(leads):
            simulator.vanish(gone.pop(0))
            simulator.vanish(gone.pop(0))
    assert set(leads) - found <= set(leads[:20])
    assert set(leads[20:]) <= found


def test_a_lead_that_disappeared_is_nothing_to_say(simulator, connect, pull):
    source = connect(simulator)
    records, cursor = pull(source)
    simulator.vanish(records[0].key)
    simulator.advance(timedelta(days=2))
    again, _ = pull(source, cursor)
    assert records[0].key not in {raw.key for raw in again}


# Stopped, and broken


def test_a_read_that_is_stopped_anywhere_goes_on_from_there(simulator, connect, pull):
    whole = {raw.key for raw in pull(connect(simulator))[0]}
    pages = list(connect(simulator, page_size=5).read("leads", None))
    assert len(pages) > 10
    for number in range(0, len(pages), 3):
        before = {raw.key for page in pages[: number + 1] for raw in page.records}
        source = connect(simulator, page_size=5)
        after = {raw.key for raw in pull(source, pages[number].cursor)[0]}
        assert before | after == whole
    assert len(after) < len(whole) / 2  # the last of them had little left to read


def test_what_moves_between_a_stop_and_its_resumption_is_found(simulator, connect, pull):
    """The statistics of when the read began are stored with it, not those of when it went on."""
    source = connect(simulator, page_size=2)
    late = None
    for stopped in source.read("leads", None):
        place = json.loads(stopped.cursor).get("place")
        if place is not None and late is None:
            simulator.advance(timedelta(hours=3))
            late = simulator.submit(place["page"], {"email": "between@example.com"}, at=simulator.now())
            simulator.advance(timedelta(hours=1))
            break
    records, cursor = pull(connect(simulator, page_size=2), stopped.cursor)
    found = {raw.key for raw in records}
    simulator.advance(timedelta(hours=1))
    found |= {raw.key for raw in pull(connect(simulator), cursor)[0]}
    assert late in found


def test_a_page_that_fails_leaves_the_others_to_be_read(simulator, connect, pull):
    broken = _page(simulator)
    simulator.faults = [Fault("status", on=f"*/pages/{broken}/leads", times=None)]
    read = connect(simulator).read("leads", None)
    found, cursor, error = set(), None, None
    while error is None:
        try:
            page = next(read)
        except TransientError as trouble:
            error = trouble
        else:
            found |= {raw.key for raw in page.records}
            cursor = page.cursor
    others = {lead.id for row in simulator.world.pages.values() if row.id != broken for lead in row.leads}
    assert found == others
    simulator.faults = []
    records, _ = pull(connect(simulator), cursor)
    assert {raw.key for raw in records} >= _all_leads(simulator) - others


def test_a_page_that_was_deleted_since_it_was_listed_is_skipped(simulator, connect, pull):
    gone = _page(simulator)
    body = {"message": "Not Found", "documentation": "https://api.unbounce.com/doc"}
    simulator.faults = [Fault("status", on=f"*/pages/{gone}/leads", status=404, body=body, times=None)]
    records, _ = pull(connect(simulator))
    assert {raw.payload["lead"]["page_id"] for raw in records} == {
        row.id for row in simulator.world.pages.values() if row.leads and row.id != gone
    }


def test_a_vendor_that_repeats_a_page_is_not_believed(simulate, connect, pull):
    """If `from` had no effect, an endless row of the same answers would come."""
    simulator = simulate(switches=Switches(ignores_from=True))
    with pytest.raises(TransientError, match="same rows came again"):
        pull(connect(simulator, page_size=5))


@pytest.mark.parametrize("kind", ["truncated", "cut_off", "html", "drop_before"])
def test_a_broken_answer_is_weather(simulator, connect, pull, kind):
    simulator.faults = [Fault(kind, on="*/leads", times=None)]
    with pytest.raises(TransientError):
        pull(connect(simulator))


def test_too_many_calls_slow_the_connection_and_end_the_read(simulator, connect, pull):
    """429 comes without headers (vendor sheet §1): the minute the limit is for is taken."""
    simulator.faults = [Fault("too_many", on="*/leads", times=None, seconds=7)]
    source = connect(simulator)
    with pytest.raises(RateLimitError) as caught:
        pull(source)
    assert caught.value.retry_after == timedelta(minutes=1)


def test_the_vendors_limit_is_kept(connect, simulator):
    """At most 500 calls a minute and account: ours is 480, spread evenly."""
    source = connect(simulator)
    for _ in range(20):
        source.check()
    assert source.context.http.metrics.waited_seconds > 19 * 60 / 480 * 0.5


def test_a_refused_key_ends_the_read_at_once(simulator, connect, pull):
    source = connect(simulator, login={"api_key": "nobody's key"})
    with pytest.raises(AuthError, match="403: Forbidden"):
        pull(source)
    assert _calls(source) == 1


def test_an_answer_of_another_shape_is_told(simulator, connect, pull):
    simulator.faults = [Fault("status", on="*/pages", status=200, body={"websites": []})]
    with pytest.raises(ConnectorError, match="not what the API documents"):
        pull(connect(simulator))


def test_a_lead_of_another_shape_is_kept_and_quarantined(simulator, connect, pull, events_of):
    page = _page(simulator)
    lead = {"id": "7", "created_at": "2026-05-01T00:00:00.000Z", "form_data": "?"}
    body = {"leads": [lead], "metadata": {"count": 1}}
    simulator.faults = [Fault("status", on=f"*/pages/{page}/leads", status=200, body=body, times=None)]
    source = connect(simulator)
    records, _ = pull(source)
    (odd,) = [raw for raw in records if raw.key == "unreadable:7"]
    assert odd.payload["lead"] == lead
    with pytest.raises(Exception, match="form_data"):
        events_of(source, [odd])


# Whose clock


def test_leads_are_found_after_our_clock_was_ahead(simulator, connect, pull):
    """The mark follows the vendor's clock: what happens between the wrong time and the right one is not lost."""
    source = connect(simulator, clock=lambda: simulator.now() + timedelta(days=10))
    _, cursor = pull(source)
    simulator.advance(timedelta(days=5))
    lead = _submit(simulator, minutes_ago=60)
    simulator.advance(timedelta(days=20))
    records, _ = pull(connect(simulator), cursor)
    assert lead in {raw.key for raw in records}


def test_a_mark_in_the_future_vouches_for_nothing(simulator, connect, pull):
    future = Mark(digest="0", read=NOW + timedelta(days=30))
    cursor = Cursor({group_of(page): future for page in simulator.world.pages}).text()
    records, _ = pull(connect(simulator), cursor)
    assert {raw.key for raw in records} == _all_leads(simulator)


# The cursor


def test_the_cursor_stays_small_with_thousands_of_pages():
    mark = Mark(digest=digest([PageEntity.model_validate({"id": "a", "tests": STATISTICS})]), read=NOW, moved=NOW)
    cursor = Cursor({group_of(f"page-{n}"): mark for n in range(20_000)})
    assert len(cursor.text()) < 52_000
    assert Cursor.read(cursor.text(), where="") == cursor


def test_a_cursor_reads_back_as_it_was_written():
    place = Place(group="3f", digest="0a", until=NOW, page="p", since=NOW - timedelta(seconds=1))
    cursor = Cursor({"3f": Mark(digest="?", read=NOW), "4": Mark(digest="1", read=NOW, moved=NOW)}, place)
    assert Cursor.read(cursor.text(), where="") == cursor


def test_a_digest_changes_with_every_page_of_its_group():
    def page(id_, submits):
        return PageEntity.model_validate({"id": id_, "tests": {"current": {"form_submits": submits}}})

    digests = [
        digest([page("a", 1), page("b", 1)]),
        digest([page("a", 2), page("b", 1)]),
        digest([page("a", 1), page("b", 2)]),
        digest([page("a", 1)]),
    ]
    assert len(set(digests)) == len(digests)
    assert digest([page("b", 1), page("a", 1)]) == digests[0]
    assert is_unknown(digest([PageEntity.model_validate({"id": "a"})]))
    assert not is_unknown(digests[0])


def test_pages_without_statistics_are_read_every_time(simulator, connect, pull):
    listing = {"pages": [{"id": _page(simulator)}], "metadata": {"count": 1}}
    simulator.faults = [Fault("status", on="*/pages", status=200, body=listing, times=None)]
    source = connect(simulator)
    _, cursor = pull(source)
    cursor = _settled(simulator, source, pull, cursor)
    before = _calls(source)
    pull(source, cursor)
    assert _calls(source) - before == 2


# Many, and for long


def test_hundreds_of_pages_are_read_with_one_call_each(simulator, connect, pull):
    for number in range(300):
        simulator.add_page(f"Page {number}", f"/p/{number}", at=NOW - timedelta(days=30) + timedelta(minutes=number))
    simulator.rate_clock = lambda: float(simulator.counters()["calls"])
    source = connect(simulator)
    _, cursor = pull(source)
    assert _calls(source) == 308 + 1
    assert len(cursor) < 45_000
    simulator.advance(timedelta(hours=1))
    before = _calls(source)
    pull(source, cursor)
    assert _calls(source) - before <= 3


def test_two_reads_at_a_time_do_not_disturb_each_other(simulator, connect, pull):
    source = connect(simulator, page_size=5)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: {raw.key for raw in pull(source)[0]}, range(4)))
    assert found == [_all_leads(simulator)] * 4


def test_a_simulator_goes_on_with_what_it_had(tmp_path, connect, pull):
    def start():
        return UnbounceSimulator(SimulatorOptions(people=60, seed=3, clock=EPOCH, folder=tmp_path))

    with start() as first:
        lead = _submit(first)
        before = {raw.key for raw in pull(connect(first))[0]}
    with start() as second:
        assert {raw.key for raw in pull(connect(second))[0]} == before
    assert lead in before
