"""Batch operations: the same records in far fewer calls, waited for once, and never half."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator
from datetime import timedelta

import pytest
from werkzeug.wrappers import Response

from syncline.errors import AuthError, ConnectorError, RateLimitError, TransientError
from syncline.model import RawRecord
from syncline.testing.simulator import Fault
from syncline_mailchimp.batches import results_in

RESULTS = "GET /batch-results/*"


def _latest(records):
    return {record.key: dict(record.payload) for record in records}


def _posted(simulator):
    return sum(request.method == "POST" and request.path == "/3.0/batches" for request in simulator.received)


# First loads


@pytest.mark.parametrize("stream", ["opens", "activity"])
@pytest.mark.parametrize("page", [7, 1000], ids=["operations of many pages", "operations of one page"])
def test_a_first_load_in_a_batch_equals_direct_calls(simulate, connect, pull, stream, page):
    simulator = simulate()
    simulator.batch_page = page
    directly, direct_cursor = pull(connect(simulator), stream)
    simulator.reset_counters()
    records, cursor = pull(connect(simulator, batch_from=1), stream)
    assert _latest(records) == _latest(directly)
    assert json.loads(cursor) == json.loads(direct_cursor)
    assert simulator.counters()["calls"] == 4 + 1 + 2 + 1  # the reports; handed in, looked after twice, fetched


def test_small_first_loads_and_later_reads_are_direct(simulate, connect, pull, clock):
    simulator = simulate()
    source = connect(simulator, page_size=50, batch_from=30)  # 9 campaigns of up to 120 recipients: 3 pages each
    _, cursor = pull(source, "activity")
    assert _posted(simulator) == 0
    _, cursor = pull(connect(simulator, page_size=50, batch_from=20), "activity")
    assert _posted(simulator) == 1
    someone = next(iter(simulator.world.subscribers.values())).email
    simulator.add_activity(someone, simulator.campaigns[0], "click", clock.advance(hours=1), url="https://x.example/")
    records, _ = pull(connect(simulator, page_size=50, batch_from=1), "activity", cursor)
    assert {record.payload["campaign_id"] for record in records} == {simulator.campaigns[0]}
    assert _posted(simulator) == 1


def test_unsubscribes_and_whoever_says_never_are_read_directly(simulate, connect, pull):
    simulator = simulate()
    pull(connect(simulator, batch_from=1), "unsubscribes")
    pull(connect(simulator, batch_from=None, page_size=2), "activity")
    assert _posted(simulator) == 0


def test_operations_ask_for_all_pages_and_for_our_fields_only(simulate, connect, pull):
    simulator = simulate()
    pull(connect(simulator, batch_from=1), "opens")
    [handed_in] = [json.loads(r.body) for r in simulator.received if r.path == "/3.0/batches" and r.body]
    assert {operation["method"] for operation in handed_in["operations"]} == {"GET"}
    assert all(set(operation["params"]) == {"fields"} for operation in handed_in["operations"])


def test_only_the_last_page_of_a_batch_carries_a_cursor(simulate, connect):
    pages = list(connect(simulate(), batch_from=1).read("opens", None))
    assert [page.cursor is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert len(pages) > 2


# Waiting, dying, and coming back


def test_whoever_waits_too_long_goes_on_with_the_same_batch(simulate, connect, pull):
    simulator, keep = simulate(), {}
    simulator.batch_looks = 7
    source = connect(simulator, batch_from=1, batch_wait="5s", keep=keep)
    for _ in range(2):
        with pytest.raises(TransientError, match="the next attempt waits on"):
            pull(source, "opens")
    records, _ = pull(source, "opens")
    assert records
    assert _posted(simulator) == 1
    assert keep == {}


def test_pauses_grow_and_go_through_the_hosts_http(simulate, connect, pull):
    simulator = simulate()
    simulator.batch_looks = 5
    source = connect(simulator, batch_from=1)
    pull(source, "opens")
    assert source.context.http.metrics.waited_seconds == pytest.approx(2 + 3 + 4.5 + 6.75)


def test_killed_while_reading_the_results_nothing_is_lost(simulate, connect, pull):
    """Killed after every page in turn: the next process reads the same archive again."""
    simulator = simulate(people=40)
    wanted = _latest(pull(connect(simulator), "opens")[0])
    count = sum(1 for _ in connect(simulator, batch_from=1).read("opens", None))
    for survived in range(count):
        keep, stored, cursor = {}, {}, None
        reading = connect(simulator, batch_from=1, keep=keep).read("opens", None)
        for _, page in zip(range(survived), reading, strict=False):
            stored.update(_latest(page.records))
            cursor = page.cursor or cursor
        reading.close()
        before = _posted(simulator)
        rest, _ = pull(connect(simulator, batch_from=1, keep=keep), "opens", cursor)
        assert {**stored, **_latest(rest)} == wanted, f"killed after page {survived}"
        assert _posted(simulator) - before == (survived == 0)


def test_an_expired_batch_is_handed_in_anew(simulate, connect, pull):
    simulator, keep = simulate(), {}
    simulator.batch_looks = 99
    source = connect(simulator, batch_from=1, batch_wait="5s", keep=keep)
    with pytest.raises(TransientError):
        pull(source, "opens")
    simulator.expire_batches()
    with pytest.raises(TransientError, match="has expired"):
        pull(source, "opens")
    simulator.batch_looks = 1
    assert pull(source, "opens")[0]
    assert _posted(simulator) == 2


def test_a_batch_is_known_for_a_week(simulate, connect, pull):
    simulator, keep = simulate(), {}
    simulator.batch_looks = 99
    source = connect(simulator, batch_from=1, batch_wait="5s", keep=keep)
    with pytest.raises(TransientError, match="waits on"):
        pull(source, "opens")
    simulator.advance(timedelta(days=8))
    with pytest.raises(TransientError, match="has expired"):
        pull(source, "opens")


def test_an_address_that_expired_is_asked_for_again(simulate, connect, pull):
    simulator = simulate()
    simulator.faults = [Fault("status", on=RESULTS, status=403, times=2)]
    assert pull(connect(simulator, batch_from=1), "opens")[0]


def test_an_address_is_good_for_ten_minutes(simulate, connect):
    simulator = simulate()
    source = connect(simulator, batch_from=1)
    job = source._batches.start("x", [{"method": "GET", "path": "/ping", "operation_id": "1"}], {})
    url = source._batches._finished(job)
    with io.BytesIO() as archive:
        assert source._client.download(url, archive)
        simulator.advance(timedelta(minutes=11))
        assert not source._client.download(url, archive)


@pytest.mark.parametrize("kind", ["truncated", "cut_off", "drop_before"])
def test_a_damaged_archive_is_weather(simulate, connect, pull, kind):
    simulator, keep = simulate(), {}
    simulator.faults = [Fault(kind, on=RESULTS)]
    source = connect(simulator, batch_from=1, keep=keep)
    with pytest.raises(TransientError):
        pull(source, "opens")
    assert pull(source, "opens")[0]
    assert _posted(simulator) == 1


def test_too_many_batches_are_a_request_to_slow_down(simulate, connect, pull):
    simulator = simulate()
    simulator.batch_looks = 99
    batches = connect(simulator)._batches
    for number in range(500):
        batches.start(str(number), [{"method": "GET", "path": "/ping"}], {})
    with pytest.raises(RateLimitError, match="pending batches"):
        batches.start("one more", [{"method": "GET", "path": "/ping"}], {})


def test_a_batch_that_hangs_keeps_no_other_campaign_from_being_read(simulate, connect, pull, clock):
    """And is still the one that is waited for, although there is more to load."""
    simulator, keep = simulate(), {}
    _, cursor = pull(connect(simulator), "opens")
    marks = json.loads(cursor)
    known, *unread = list(marks["marks"])
    marks["marks"] = {known: marks["marks"][known]}
    someone = next(iter(simulator.world.subscribers.values())).email
    simulator.add_activity(someone, known, "open", clock.advance(minutes=5))
    simulator.batch_looks = 10**6
    source = connect(simulator, batch_from=1, batch_wait="5s", keep=keep)
    for attempt in range(2):
        pages = source.read("opens", json.dumps(marks))
        found: list[RawRecord] = []
        with pytest.raises(TransientError, match="waits on"):
            found.extend(record for page in pages for record in page.records)
        assert {record.payload["campaign_id"] for record in found} == {known}, attempt
    assert len(unread) > 1
    assert _posted(simulator) == 1


def test_one_batch_is_waited_for_before_the_next_is_handed_in(simulate, connect, monkeypatch):
    monkeypatch.setattr("syncline_mailchimp.source._CAMPAIGNS_A_BATCH", 2)
    simulator, keep = simulate(), {}
    simulator.batch_looks = 10**6
    source = connect(simulator, batch_from=1, batch_wait="5s", keep=keep)
    for _ in range(2):
        with pytest.raises(TransientError, match="waits on"):
            list(source.read("opens", None))
    assert _posted(simulator) == 1


# Trouble with single operations


def _instead(simulator, monkeypatch, campaign, answer):
    """One campaign answers differently, in batches too."""
    true = simulator.get_open_details

    def handler(request, campaign_id):
        return (
            answer(true(request, campaign_id=campaign_id))
            if campaign_id == campaign
            else true(request, campaign_id=campaign_id)
        )

    monkeypatch.setattr(simulator, "get_open_details", handler)


@pytest.mark.parametrize("status", [500, 429, 401, 400])
def test_one_operation_that_fails_starves_nobody(simulate, connect, pull, monkeypatch, status):
    """Neither now nor in the next attempt: the same archive would say the same again."""
    simulator, keep = simulate(), {}
    bad = simulator.campaigns[3]
    problem = {"type": "x", "title": "No", "status": status, "detail": "", "instance": "x"}
    _instead(simulator, monkeypatch, bad, lambda _: Response(json.dumps(problem), status))
    stored = []
    with pytest.raises(ConnectorError, match=f"HTTP {status}: No") as caught:
        stored.extend(connect(simulator, batch_from=1, keep=keep).read("opens", None))
    assert not isinstance(caught.value, AuthError | RateLimitError)
    assert keep == {}


def test_the_others_are_marked_and_the_one_that_failed_is_not(simulate, connect, monkeypatch):
    simulator = simulate()
    bad = simulator.campaigns[3]
    _instead(simulator, monkeypatch, bad, lambda _: Response("", 500))
    pages = connect(simulator, batch_from=1).read("opens", None)
    cursors, found = [], set()
    with contextlib.suppress(TransientError):
        for page in pages:
            cursors.append(page.cursor)
            found |= {record.payload["campaign_id"] for record in page.records}
    assert set(json.loads(cursors[-1])["marks"]) == set(simulator.world.campaigns) - {bad}
    assert found == set(simulator.world.campaigns) - {bad}


def test_an_archive_that_is_damaged_twice_is_given_up(simulate, connect, pull):
    simulator, keep = simulate(), {}
    simulator.faults = [Fault("truncated", on=RESULTS, times=2)]
    source = connect(simulator, batch_from=1, keep=keep)
    for _ in range(2):
        with pytest.raises(TransientError, match="damaged"):
            pull(source, "opens")
    assert pull(source, "opens")[0]
    assert _posted(simulator) == 2


def test_an_operation_that_brings_too_few_rows_is_not_complete(simulate, connect, pull, monkeypatch):
    simulator = simulate()
    short = simulator.campaigns[3]

    def shortened(response):
        body = json.loads(response.get_data())
        return Response(json.dumps({**body, "members": body["members"][1:]}), 200)

    _instead(simulator, monkeypatch, short, shortened)
    with pytest.raises(TransientError, match="the batch brought"):
        pull(connect(simulator, batch_from=1), "opens")


# Archives


def _archive(*files: bytes | None) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for number, data in enumerate(files):
            info = tarfile.TarInfo(str(number))
            info.type, info.size = (tarfile.DIRTYPE, 0) if data is None else (tarfile.REGTYPE, len(data))
            tar.addfile(info, io.BytesIO(data or b""))
    packed.seek(0)
    return packed


def _ids(archive: io.BytesIO) -> Iterator[str]:
    return (result.operation_id for result in results_in(archive))


def _item(name: str, text: str = "") -> dict[str, object]:
    return {"operation_id": name, "status_code": 200, "response": text}


def test_directories_and_empty_files_are_passed_over():
    one, two = json.dumps([_item("a"), _item("b")]).encode(), json.dumps([_item("c")], indent=2).encode()
    assert list(_ids(_archive(None, b"", one, b"  \n", b"[]", two))) == ["a", "b", "c"]


def test_an_item_longer_than_what_is_read_at_once_is_whole():
    long = "\u00e8" * 300_000
    [first, second] = results_in(_archive(json.dumps([_item("a", long), _item("b")], ensure_ascii=False).encode()))
    assert (first.response, second.operation_id) == (long, "b")


@pytest.mark.parametrize("data", [b"{}", b"[{", b'[{"operation_id": "a"}]', b"[1", b"\xff\xfe[]"], ids=repr)
def test_an_archive_of_something_else_is_damaged(data):
    with pytest.raises(ValueError):
        list(results_in(_archive(data)))
