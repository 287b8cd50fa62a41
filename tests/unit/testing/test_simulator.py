"""The base of all simulators: one fault language, durable state, honest counters."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
import requests
from werkzeug.exceptions import abort
from werkzeug.wrappers import Request, Response

from syncline.errors import ConfigError
from syncline.sdk import SimulatorOptions
from syncline.testing.simulator import Fault, VendorSimulator


class Shop(VendorSimulator):
    name = "shop"
    routes: ClassVar = [
        ("GET", "/items", "items"),
        ("PUT DELETE", "/items/<key>", "change"),
        ("GET", "/forbidden", "forbidden"),
    ]

    def seed(self) -> None:
        self.table("items")["seeded"] = {"n": self.random.randrange(1000)}

    def items(self, request: Request) -> Response:
        return Response(json.dumps(dict(self.table("items").items())), content_type="application/json")

    def change(self, request: Request, key: str) -> Response:
        if request.method == "DELETE":
            del self.table("items")[key]
        else:
            self.table("items")[key] = {"n": 1}
        return Response(status=204)

    def forbidden(self, request: Request) -> Response:
        abort(403, "not you")


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


def get(shop: Shop, path: str = "/items", **arguments: float) -> requests.Response:
    return requests.get(shop.url + path, timeout=arguments.get("timeout", 10))


def test_faults_strike_where_when_and_as_often_as_said(shop: Shop) -> None:
    shop.faults = [Fault("status", on="GET /items", after=1, times=2, status=503)]
    assert get(shop, "/other").status_code == 404
    assert [get(shop).status_code for _ in range(5)] == [200, 503, 503, 200, 200]


def test_new_faults_count_from_zero(shop: Shop) -> None:
    for _ in range(2):
        shop.faults = [Fault("status")]
        assert [get(shop).status_code for _ in range(2)] == [503, 200]


def test_a_fault_may_last_and_carry_an_answer(shop: Shop) -> None:
    shop.faults = [Fault("status", times=None, status=429, body={"why": "slow"}, headers={"Retry-After": "7"})]
    for _ in range(3):
        answer = get(shop)
        assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (429, {"why": "slow"}, "7")


def test_a_fault_without_a_body_answers_nothing(shop: Shop) -> None:
    shop.faults = [Fault("status")]
    assert get(shop).content == b""


@pytest.mark.parametrize(("kind", "done"), [("drop_before", False), ("drop_after", True)])
def test_a_dropped_connection_leaves_open_whether_it_was_done(shop: Shop, kind: str, done: bool) -> None:
    shop.faults = [Fault(kind, on="PUT *")]  # type: ignore[arg-type]
    with pytest.raises(requests.ConnectionError):
        requests.put(f"{shop.url}/items/a", timeout=10)
    assert ("a" in get(shop).json()) is done


def test_half_a_body_comes_as_if_it_were_all_or_is_cut_off(shop: Shop) -> None:
    whole = get(shop).text
    shop.faults = [Fault("truncated"), Fault("cut_off", after=0)]
    assert get(shop).text == whole[: len(whole) // 2]
    with pytest.raises(requests.RequestException):
        get(shop)


def test_while_one_request_is_slow_others_are_served(shop: Shop) -> None:
    shop.faults = [Fault("slow", seconds=60)]
    answers: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(get(shop, timeout=30).status_code))
    slow.start()
    while not shop.counters().get("calls"):
        pass
    assert get(shop).status_code == 200
    assert shop.in_flight == 1
    shop.stop()  # lets the slow one go
    slow.join(10)
    assert answers == [200]


def test_a_chance_repeats_with_the_seed() -> None:
    struck = []
    for _ in range(2):
        with Shop(SimulatorOptions(seed=5)) as shop:
            shop.faults = [Fault("status", times=None, probability=0.5)]
            struck.append([get(shop).status_code for _ in range(12)])
    assert struck[0] == struck[1]
    assert set(struck[0]) == {200, 503}


def test_faults_do_not_shift_what_is_seeded() -> None:
    one, other = Shop(SimulatorOptions(seed=3)), Shop(SimulatorOptions(seed=3, faults={"faults": [{"kind": "html"}]}))
    assert dict(one.table("items")) == dict(other.table("items"))
    assert other.faults == [Fault("html")]


def test_a_table_is_the_same_one_every_time_it_is_asked_for(shop: Shop) -> None:
    shop.table("items")["x"] = {"n": 2}
    assert shop.table("items") is shop.table("items")


def test_state_survives_a_restart_and_is_not_seeded_again(tmp_path: Path) -> None:
    options = SimulatorOptions(folder=tmp_path)
    with Shop(options) as shop:
        requests.put(f"{shop.url}/items/a", timeout=10)
        requests.put(f"{shop.url}/items/b", timeout=10)
        requests.delete(f"{shop.url}/items/seeded", timeout=10)
        before = list(get(shop).json())
    with Shop(options) as shop:
        assert list(get(shop).json()) == before == ["a", "b"]


def test_counters_count_what_was_received(shop: Shop) -> None:
    get(shop)
    get(shop, "/other")
    assert shop.counters() == {"calls": 2}
    shop.reset_counters()
    assert shop.counters() == {}


def test_a_handler_may_abort(shop: Shop) -> None:
    assert get(shop, "/forbidden").status_code == 403


def test_the_simulated_time_moves_only_when_told() -> None:
    shop = Shop(SimulatorOptions(clock="2026-06-01T10:00:00+02:00"))
    assert shop.now() == datetime(2026, 6, 1, 8, tzinfo=UTC)
    shop.advance(timedelta(hours=1))
    assert shop.now() == shop.now() == datetime(2026, 6, 1, 9, tzinfo=UTC)


def test_query_strings_are_not_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "syncline.simulator"):
        get(shop, "/items?key=hush")
    assert "/items" in caplog.text
    assert "hush" not in "".join(r.getMessage() for r in caplog.records if r.name == "syncline.simulator")


class Vendor(VendorSimulator):
    """With sessions, and records that are refused one by one."""

    name = "vendor"
    routes: ClassVar = [("POST", "/save/<key>", "save")]
    sessions = 1

    def save(self, request: Request, key: str) -> Response:
        return Response(self.trouble_with(key) or ("saved" if self.sessions else "log in"))

    def expire_sessions(self) -> None:
        self.sessions = 0

    def over_quota(self) -> Response:
        return Response("quota used up", status=403)


def _save(vendor: Vendor, key: str) -> str:
    return requests.post(f"{vendor.url}/save/{key}", timeout=10).text


def test_single_records_are_refused_or_locked_by_their_names() -> None:
    with Vendor() as vendor:
        vendor.faults = [Fault("refuse", key="bad*", times=None), Fault("lock", on="POST /save/busy", times=1)]
        assert [_save(vendor, key) for key in ("good", "bad1", "bad2", "busy", "busy")] == [
            "saved",
            "refuse",
            "refuse",
            "lock",
            "saved",
        ]


def test_sessions_end_in_the_middle() -> None:
    with Vendor() as vendor:
        vendor.faults = [Fault("expiry", after=1)]
        assert [_save(vendor, "x") for _ in range(2)] == ["saved", "log in"]


def test_a_vendor_may_ask_to_slow_down_in_its_own_words(shop: Shop) -> None:
    shop.faults = [Fault("too_many", seconds=30), Fault("too_many")]
    answers = [get(shop) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["30", None, None]


def test_a_used_up_quota_lasts_until_the_clock_moves() -> None:
    with Vendor(SimulatorOptions(clock="2026-06-01T08:00:00+00:00")) as vendor:
        vendor.faults = [Fault("quota", after=1, seconds=3600)]
        assert [_save(vendor, "x") for _ in range(3)] == ["saved", "quota used up", "quota used up"]
        vendor.advance(timedelta(minutes=59))
        assert _save(vendor, "x") == "quota used up"
        vendor.advance(timedelta(minutes=1))
        assert _save(vendor, "x") == "saved"


def test_answers_are_dated_by_the_simulated_time() -> None:
    with Shop(SimulatorOptions(clock="2026-06-01T10:00:00+02:00")) as shop:
        assert get(shop).headers["Date"] == "Mon, 01 Jun 2026 08:00:00 GMT"
        shop.advance(timedelta(hours=1))
        assert get(shop).headers["Date"] == "Mon, 01 Jun 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "stauts"}, "shop: there is no fault 'stauts'; did you mean 'status'?"),
        ({"kind": "status", "time": 1}, "shop: a fault has no 'time'; did you mean 'times'?"),
        ({"kind": "slow", "seconds": "5m"}, "shop: seconds of the fault 'slow' is a number of seconds; got '5m'"),
        ({"kind": "html", "times": "many"}, "shop: times of the fault 'html' is a number of requests, or null"),
        ({"kind": "html", "times": 0}, "shop: times of the fault 'html' is a number of requests, or null"),
        ({"kind": "html", "after": True}, "shop: after of the fault 'html' is a number of requests; got True"),
        ({"kind": "html", "probability": 2}, "shop: probability of the fault 'html' is a number from 0 to 1; got 2"),
        ({"kind": "status", "status": 42}, "shop: status of the fault 'status' is an HTTP status, 200 to 599; got 42"),
        ({"kind": "status", "headers": {"A": 1}}, "shop: headers of the fault 'status' is a mapping of texts"),
        ({"kind": "lock", "key": 7}, "shop: key of the fault 'lock' is a text"),
        ({"on": "*"}, "shop: a fault is a mapping with a kind"),
        ("slow", "shop: a fault is a mapping with a kind"),
    ],
    ids=lambda given: None if isinstance(given, str) and given.startswith("shop") else str(given),
)
def test_a_fault_that_is_none_is_refused_by_name(given: object, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Shop(SimulatorOptions(faults={"faults": [given]}))
    assert str(caught.value).startswith(told)
