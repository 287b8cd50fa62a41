"""What a vendor is answered, request by request, and what is stored of it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from syncline.errors import StoreError
from syncline.model import RawRecord
from syncline.sdk import WebhookRequest
from syncline.server.receiver import Receiver
from syncline.store import schema
from syncline.store.database import Database
from syncline.store.schema import BY_WEBHOOK, RAW_NEW, WEBHOOK_READ, WEBHOOK_UNREAD


def unreadable(request: WebhookRequest) -> Sequence[RawRecord]:
    raise KeyError(request.body.decode("latin-1"))


def records(desk: Any) -> list[str]:
    assert all((row.status, row.way) == (RAW_NEW, BY_WEBHOOK) for row in desk.rows(schema.raw))
    return [row.key for row in desk.rows(schema.raw)]


# Kept


def test_a_webhook_is_kept_as_it_came_with_its_records_before_it_is_answered(desk: Any) -> None:
    sent = desk.body("a", "b")
    response = desk.post(sent, {**desk.signed(sent), "Content-Type": "application/json"})
    assert (response.status_code, response.content) == (200, b"")
    [kept] = desk.rows(schema.webhook)
    assert (kept.connection, kept.body, kept.status, kept.request) == ("shop", sent, WEBHOOK_READ, None)
    assert json.loads(kept.headers)["content-type"] == "application/json"
    assert records(desk) == ["a", "b"]


def test_the_same_body_again_is_a_duplicate(desk: Any) -> None:
    for _ in range(3):
        assert desk.post(desk.body("a")).status_code == 200
    assert len(desk.rows(schema.webhook)) == 1
    assert records(desk) == ["a"]
    assert desk.counts() == {("received", ""): 1, ("duplicate", ""): 2}


def test_the_same_record_in_another_body_is_kept_once(desk: Any) -> None:
    desk.post(desk.body("a", "b"))
    desk.post(desk.body("b", "c"))
    assert len(desk.rows(schema.webhook)) == 2
    assert records(desk) == ["a", "b", "c"]


def test_many_at_once_are_all_kept(desk: Any) -> None:
    bodies = [desk.body(str(number % 40)) for number in range(60)]
    sent = [("POST", "/hooks/shop", {"content": b, "headers": desk.signed(b)}) for b in bodies]
    assert {response.status_code for response in desk.send(*sent, together=True)} == {200}
    assert sorted(map(int, records(desk))) == list(range(40))
    assert desk.counts() == {("received", ""): 40, ("duplicate", ""): 20}


def test_a_webhook_without_records_is_kept(desk: Any) -> None:
    assert desk.post(b"[]").status_code == 200
    assert len(desk.rows(schema.webhook)) == 1
    assert records(desk) == []


def test_nothing_that_may_be_secret_is_kept_of_address_and_headers(desk: Any) -> None:
    sent = desk.body("a")
    headers = {**desk.signed(sent), "authorization": "Basic c2VjcmV0", "x-hook-token": "hunter2", "cookie": "hunter3"}
    assert desk.post(sent, headers, path="/hooks/shop/hunter4/x?hunter5&key=hunter6").status_code == 200
    [kept] = desk.rows(schema.webhook)
    assert kept.address == "POST /hooks/shop/…?…"
    assert set(json.loads(kept.headers)) <= {"content-length", "content-type", "user-agent"}


# What the connector is given


def test_the_connector_sees_the_request_as_the_vendor_sent_it(desk: Any) -> None:
    sent = desk.body("a")
    desk.post(sent, desk.signed(sent), path="/hooks/shop/s%C3%A9cret/x?b=%2F&a=1&a=2")
    asked = desk.source.asked
    assert (asked.method, asked.path, asked.query) == ("POST", "/hooks/shop/s%C3%A9cret/x", "b=%2F&a=1&a=2")
    assert asked.url == "http://desk.example/hooks/shop/s%C3%A9cret/x?b=%2F&a=1&a=2"
    assert (asked.body, asked.received_at) == (sent, desk.now)
    assert asked.headers["x-memory-at"]


def test_behind_a_proxy_the_address_is_the_public_one(desk: Any) -> None:
    desk.post(b"[]", path="/hooks/shop/x?y=1", public_url="https://example.com/in")
    assert desk.source.asked.url == "https://example.com/in/hooks/shop/x?y=1"
    desk.post(b"[]", public_url="https://example.com/in/")
    assert desk.source.asked.url == "https://example.com/in/hooks/shop"


def test_a_header_that_comes_twice_is_a_list(desk: Any) -> None:
    desk.send(("POST", "/hooks/shop", {"content": b"", "headers": [("X-Twice", "a"), ("x-twice", "b")]}))
    assert desk.source.asked.headers["x-twice"] == "a, b"


# Refused


@pytest.mark.parametrize("path", ["/hooks/shop", "/hooks/shop/deeper/still?q=1"])
def test_a_forged_webhook_is_refused_and_nothing_of_it_is_stored(desk: Any, path: str) -> None:
    response = desk.post(desk.body("b"), desk.signed(desk.body("a")), path=path)
    assert (response.status_code, response.content) == (403, b"")
    assert desk.rows(schema.webhook) == desk.rows(schema.raw) == []
    assert desk.counts() == {("refused", "the signature does not fit the body"): 1}


@pytest.mark.parametrize("minutes", [-6, 6])
def test_one_that_was_signed_long_ago_is_refused_whatever_its_signature(desk: Any, minutes: int) -> None:
    headers = desk.signed(desk.body("a"))
    desk.now += timedelta(minutes=minutes)
    assert desk.post(desk.body("a"), headers).status_code == 403
    assert desk.rows(schema.raw) == []


def test_reasons_with_numbers_in_them_are_one_reason(desk: Any) -> None:
    for seconds in (412, 413, 9000):
        desk.writer.count_refused("shop", f"signed {seconds} s ago by v3")
    assert desk.counts() == {("refused", "signed … s ago by v3"): 3}


def test_a_stranger_cannot_fill_the_store_with_reasons(desk: Any) -> None:
    for letter in "abcdefghijklmnopqrstuvwxyz":
        desk.writer.count_refused("shop", f"no {letter}")
    desk.writer.count_refused("other", "no a")
    counts = desk.counts()
    assert counts["refused", "no a"] == counts["refused", "no t"] == 1
    assert counts["refused", "other reasons"] == 6


def test_a_long_reason_is_cut_so_that_every_database_takes_it(desk: Any) -> None:
    """It is part of an index, and a plugin may quote what a stranger sent."""
    desk.writer.count_refused("shop", "no " + "x" * 100_000)
    [(_, reason)] = desk.counts()
    assert len(reason) == 200


def test_counts_that_no_database_takes_do_not_keep_webhooks_from_being_kept(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from syncline.server import writer as module

    def breaking(_connection: Any, counts: Any, _at: Any) -> None:
        if counts:
            raise ZeroDivisionError

    monkeypatch.setattr(module, "add_counts", breaking)
    for name in ("a", "b"):
        desk.writer.count_refused("shop", "poison")
        assert desk.post(desk.body(name)).status_code == 200
    assert records(desk) == ["a", "b"]


def test_the_first_refusal_of_a_day_is_logged_and_says_nothing_of_the_request(
    desk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "syncline")
    for _ in range(3):
        desk.post(desk.body("hunter2"), {"x-memory-signature": "hunter3"}, path="/hooks/shop/hunter4?hunter5")
    assert caplog.text.count("was refused") == 1
    assert "hunter" not in caplog.text


# Not for us


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_vendors_may_look_whether_the_address_is_there(desk: Any, method: str) -> None:
    there, deeper, nowhere = desk.send(*((method, path, {}) for path in ("/hooks/shop", "/hooks/shop/x?y", "/hooks/z")))
    assert (there.status_code, there.content, deeper.status_code) == (200, b"", 200)
    assert nowhere.status_code == 404
    assert not hasattr(desk.source, "asked")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/hooks/nobody", 404),
        ("POST", "/hooks/nobody/x", 404),
        ("POST", "/hooks", 404),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("PUT", "/hooks/shop", 405),
        ("DELETE", "/hooks/shop/x", 405),
        ("POST", "/health", 405),
    ],
)
def test_other_addresses_and_methods_are_not_there(desk: Any, method: str, path: str, status: int) -> None:
    assert desk.send((method, path, {}))[0].status_code == status


# Too large, too many


def test_a_body_that_says_it_is_too_large_is_not_even_read(desk: Any) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    large = {"content": never(), "headers": {"content-length": "101"}}
    assert desk.send(("POST", "/hooks/shop", large), max_body_bytes=100)[0].status_code == 413
    assert desk.counts() == {("refused", "larger than max_body_bytes"): 1}


def test_one_that_does_not_say_is_read_as_far_as_the_limit(desk: Any) -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 10

    sizes = [("POST", "/hooks/shop", {"content": pieces(count)}) for count in (10, 11)]
    fits, too_large = desk.send(*sizes, max_body_bytes=100)
    assert (fits.status_code, too_large.status_code) == (403, 413)


def test_more_bodies_than_fit_into_memory_are_put_off(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncline.server.app._HELD", 100)
    response = desk.post(b" " * 101)
    assert (response.status_code, response.headers["retry-after"]) == (503, "30")
    one_after_the_other = [("POST", "/hooks/shop", {"content": b" " * 60}) for _ in range(3)]
    assert [found.status_code for found in desk.send(*one_after_the_other)] == [403, 403, 403]


def test_a_connections_pace_holds_for_it_alone(desk: Any) -> None:
    desk.receivers["other"] = Receiver("other", desk.source, desk.writer)
    requests = [("POST", f"/hooks/{name}", {}) for name in ("shop",) * 5 + ("other",)]
    found = desk.send(*requests, per_second=2)
    assert [response.status_code for response in found] == [403] * 4 + [429, 403]
    assert found[4].headers["retry-after"] == "1"
    assert desk.counts()["refused", "faster than per_second or per_client_per_second"] == 1


def test_a_clients_pace_holds_for_all_connections(desk: Any) -> None:
    desk.receivers["other"] = Receiver("other", desk.source, desk.writer)
    requests = [("POST", f"/hooks/{name}", {}) for name in ("shop", "other", "shop")]
    assert [found.status_code for found in desk.send(*requests, per_client_per_second=1)] == [403, 403, 429]


# Never an error of ours


@pytest.mark.parametrize(
    "sent",
    [b"", b"\0\xff\xfe", b"{" * 100_000, b'[{"key": "\\ud800"}]', b"[1e400]", b'{"a": ' + b"9" * 5000 + b"}"],
    ids=["empty", "binary", "deep", "half a character", "infinite", "long number"],
)
def test_wrong_content_is_never_an_error_of_ours(desk: Any, sent: bytes) -> None:
    assert desk.post(sent).status_code in (200, 403)
    desk.source.instead = lambda request: [RawRecord("events", "k", json.loads(request.body))]
    assert desk.post(sent, {}).status_code == 200
    assert [row.body for row in desk.rows(schema.webhook)] == [sent]


def test_what_the_plugin_cannot_read_is_kept_whole(desk: Any, caplog: pytest.LogCaptureFixture) -> None:
    desk.source.instead = unreadable
    response = desk.post(b"hunter2", {"X-Signature": "abc"}, path="/hooks/shop/secret?key=1")
    assert response.status_code == 200
    [kept] = desk.rows(schema.webhook)
    assert (kept.status, kept.body, kept.reason) == (WEBHOOK_UNREAD, b"hunter2", "KeyError: 'hunter2'")
    request = json.loads(kept.request)
    assert (request["path"], request["query"]) == ("/hooks/shop/secret", "key=1")
    assert request["headers"]["x-signature"] == "abc"
    assert "could not be read (KeyError)" in caplog.text
    assert "hunter" not in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([RawRecord("events", "k", {"n": float("nan")})], id="not a number"),
        pytest.param([RawRecord("events", "k", {"n": {1, 2}})], id="no JSON"),
        pytest.param([RawRecord("events", None, {})], id="no key"),  # type: ignore[arg-type]  # a plugin's mistake
        pytest.param([{"key": "k"}], id="no records"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_a_plugin_says_wrongly_is_unread(desk: Any, said: Any) -> None:
    desk.source.instead = lambda request: said
    assert desk.post(b"x").status_code == 200
    assert [row.status for row in desk.rows(schema.webhook)] == [WEBHOOK_UNREAD]
    assert desk.rows(schema.raw) == []


def test_names_that_no_database_takes_are_written_out(desk: Any) -> None:
    desk.source.instead = lambda request: [RawRecord("ev\0ents", "k\0\ud800", {"x": "\0\ud800"})]
    assert desk.post(b"x").status_code == 200
    assert [(row.stream, row.key) for row in desk.rows(schema.raw)] == [("ev\\0ents", "k\\0\\ud800")]


def test_the_vendors_repetition_may_be_readable(desk: Any) -> None:
    """The plugin was mended meanwhile, and the server started again."""
    desk.source.instead = unreadable
    desk.post(desk.body("a"))
    desk.source.instead = None
    assert desk.post(desk.body("a")).status_code == 200
    [kept] = desk.rows(schema.webhook)
    assert (kept.status, kept.reason, kept.request) == (WEBHOOK_READ, None, None)
    assert records(desk) == ["a"]


def test_what_nobody_can_read_does_not_fill_the_disk(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncline.sync.webhooks.MOST_UNREAD", 2)
    desk.source.instead = unreadable
    assert [desk.post(sent).status_code for sent in (b"1", b"2", b"3")] == [200, 200, 503]
    desk.source.instead = None
    assert desk.post(desk.body("a")).status_code == 200
    assert records(desk) == ["a"]


# Trouble


def test_without_a_store_the_vendor_is_asked_to_come_again(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_self: Database) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", lost)
        response = desk.post(desk.body("a"))
        assert (response.status_code, response.headers["retry-after"]) == (503, "30")
        desk.post(b"forged", {})
    assert desk.post(desk.body("a")).status_code == 200
    assert records(desk) == ["a"]
    assert desk.counts()["refused", "the signature does not fit the body"] == 1, "counts wait for the store"


def test_one_that_breaks_the_transaction_does_not_take_others_with_it(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from syncline.server import writer as module

    take, gathered = module.take, threading.Event()

    def breaking(connection: Any, letters: Any, at: Any) -> Any:
        gathered.wait(5)
        if any(letter.arrival.body == b"poison" for letter in letters):
            raise ZeroDivisionError
        return take(connection, letters, at)

    monkeypatch.setattr(module, "take", breaking)
    desk.source.instead = lambda request: _released(gathered, request)
    sent = [("POST", "/hooks/shop", {"content": b}) for b in (b"a", b"poison", b"b")]
    assert [found.status_code for found in desk.send(*sent, together=True)] == [200, 503, 200]
    assert sorted(records(desk)) == ["a", "b"]


def _released(gathered: threading.Event, request: WebhookRequest) -> list[RawRecord]:
    """The last one lets the writer go on, which until then holds the first."""
    if request.body == b"b":
        gathered.set()
    return [RawRecord("events", request.body.decode(), {})]


def test_a_slow_plugin_holds_up_nobody_but_itself(desk: Any) -> None:
    release = threading.Event()
    slow = type(desk.source)(desk.source.config, desk.source.context)

    def waits(_request: WebhookRequest) -> list[RawRecord]:
        release.wait(30)
        return []

    slow.instead = waits
    desk.receivers["slow"] = Receiver("slow", slow, desk.writer, within=0.05)
    sent = desk.body("a")
    requests = [("POST", "/hooks/slow", {}), ("POST", "/hooks/slow", {})]
    requests += [("POST", "/hooks/shop", {"content": sent, "headers": desk.signed(sent)})]
    try:
        assert [found.status_code for found in desk.send(*requests, together=True)] == [503, 503, 200]
    finally:
        release.set()


def test_what_waits_for_a_stuck_plugin_is_bounded(desk: Any) -> None:
    """Those that were put off wait too, without their bodies; when it goes on, there is room again."""
    release, stuck = threading.Event(), type(desk.source)(desk.source.config, desk.source.context)
    asked: list[bytes] = []

    def waits(request: WebhookRequest) -> list[RawRecord]:
        asked.append(request.body)
        release.wait(30)
        return []

    stuck.instead = waits
    desk.receivers["stuck"] = receiver = Receiver("stuck", stuck, desk.writer, within=0.2, most_waiting=2)
    sent = [("POST", "/hooks/stuck", {"content": name}) for name in (b"a", b"b", b"c", b"d", b"e")]
    try:
        assert {found.status_code for found in desk.send(*sent)} == {503}
    finally:
        release.set()
    receiver._thread.submit(int).result()
    receiver._within = 30
    assert asked == [b"a"], "the others are no longer waited for"
    assert desk.send(("POST", "/hooks/stuck", {"content": b"f"}))[0].status_code == 200


def test_a_connection_that_cannot_receive_is_put_off(desk: Any) -> None:
    desk.receivers["later"] = None
    [found] = desk.send(("POST", "/hooks/later", {}))
    assert (found.status_code, found.headers["retry-after"]) == (503, "30")


# Health


def test_health_says_whether_something_can_be_kept(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_self: Database) -> Any:
        raise StoreError("the server is gone")

    fine = desk.send(("GET", "/health", {}))[0]
    assert (fine.status_code, fine.json()) == (200, {"status": "ok"})
    with monkeypatch.context() as patch:
        patch.setattr(Database, "read", lost)
        assert desk.send(("GET", "/health", {}))[0].status_code == 503
    desk.writer.stop()
    assert desk.send(("GET", "/health", {}))[0].status_code == 503
