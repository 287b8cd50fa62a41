"""The way out: every kind of trouble is classified, nothing is hammered, nothing secret is said."""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
import requests
from werkzeug.wrappers import Request, Response

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.sdk.http import (
    Http,
    Throttle,
    error_for,
    json_of,
    purpose,
    request_id_of,
    retry_after_of,
    transient_when_broken,
)
from syncline.testing.simulator import Fault, VendorSimulator

SECRET = "hush-hush"


class Clock:
    """Time that passes only while somebody waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


class LittleVendor(VendorSimulator):
    name = "little"
    routes: ClassVar = [
        ("GET POST", "/thing", "thing"),
        ("GET", "/moved", "moved"),
        ("GET", "/seen", "seen"),
        ("GET", "/lines", "lines"),
        ("GET", "/unchanged", "unchanged"),
    ]

    def thing(self, request: Request) -> Response:
        self.count("things")
        return Response(json.dumps({"amount": 1.10, "name": "è"}), content_type="application/json")

    def moved(self, request: Request) -> Response:
        return Response(status=302, headers={"Location": f"/thing?key={SECRET}"})

    def seen(self, request: Request) -> Response:
        return Response(json.dumps(dict(request.headers)), content_type="application/json")

    def lines(self, request: Request) -> Response:
        return Response("one\ntwo\n" * 1000, content_type="text/csv")

    def unchanged(self, request: Request) -> Response:
        return Response(status=304)


@pytest.fixture
def vendor() -> Iterator[LittleVendor]:
    with LittleVendor() as vendor:
        yield vendor


@pytest.fixture
def clock() -> Clock:
    return Clock()


def connect(vendor: LittleVendor, clock: Clock, **throttle: Any) -> Http:
    return Http("crm", base_url=vendor.url, throttle=Throttle(**throttle), sleep=clock.sleep, monotonic=clock.monotonic)


@pytest.fixture
def http(vendor: LittleVendor, clock: Clock) -> Iterator[Http]:
    http = connect(vendor, clock)
    yield http
    http.close()


# What each kind of trouble becomes

TROUBLE = {
    "closed before": (Fault("drop_before"), TransientError, "no complete answer"),
    "closed after": (Fault("drop_after"), TransientError, "no complete answer"),
    "half a body": (Fault("cut_off"), TransientError, "no complete answer"),
    "error page": (Fault("html", status=502), TransientError, "HTTP 502 BAD GATEWAY"),
    "503": (Fault("status", status=503), TransientError, "HTTP 503"),
    "500": (Fault("status", status=500), TransientError, "HTTP 500"),
    "408": (Fault("status", status=408), TransientError, "HTTP 408"),
    "425": (Fault("status", status=425), TransientError, "HTTP 425"),
    "429": (Fault("status", status=429), RateLimitError, "HTTP 429"),
    "401": (Fault("status", status=401), AuthError, "HTTP 401"),
    "403": (Fault("status", status=403), ConnectorError, "HTTP 403"),
    "404": (Fault("status", status=404), ConnectorError, "HTTP 404"),
    "300": (Fault("status", status=300), ConnectorError, "HTTP 300"),
}


@pytest.mark.parametrize(("fault", "kind", "said"), TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_is_classified_and_placed(
    vendor: LittleVendor, http: Http, fault: Fault, kind: type[ConnectorError], said: str
) -> None:
    vendor.faults = [fault]
    with pytest.raises(ConnectorError) as caught:
        http.request("GET", f"/thing?key={SECRET}", headers={"Authorization": SECRET})
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"crm: GET /thing: {said}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "cut_off"])
def test_a_vendors_library_meets_the_same_errors(vendor: LittleVendor, http: Http, kind: Any) -> None:
    vendor.faults = [Fault(kind)]
    with pytest.raises(TransientError, match="crm: GET /thing: no complete answer"):
        http.session.get(f"{vendor.url}/thing")


def test_a_call_that_was_processed_and_not_answered_is_still_one_call(vendor: LittleVendor, http: Http) -> None:
    vendor.faults = [Fault("drop_after")]
    with pytest.raises(TransientError):
        http.request("POST", "/thing", json={})
    assert vendor.counters()["things"] == 1  # nothing below the host tries again
    assert http.metrics.statuses == {"0": 1}


def test_a_refused_connection_says_so_in_words(clock: Clock) -> None:
    with pytest.raises(TransientError, match=r"\(ConnectionError: ConnectionRefusedError: Connection refused\)"):
        Http("crm", base_url="http://127.0.0.1:9").request("GET", "/x")


def test_a_slow_answer_is_a_timeout(vendor: LittleVendor, clock: Clock) -> None:
    vendor.faults = [Fault("slow", seconds=0.3)]
    http = connect(vendor, clock, read_timeout=timedelta(milliseconds=50))
    with pytest.raises(TransientError, match="ReadTimeout"):
        http.request("GET", "/thing")
    http.close()


def test_bad_statuses_come_back_on_request(vendor: LittleVendor, http: Http) -> None:
    vendor.faults = [Fault("status", status=400, body={"why": "because"})]
    assert http.request("GET", "/thing", raise_for_status=False).json() == {"why": "because"}


def test_not_modified_is_no_trouble(http: Http) -> None:
    assert http.request("GET", "/unchanged").status_code == 304


@pytest.mark.parametrize("base", ["", "ftp://files.example", "http://"], ids=["none", "ftp", "no host"])
def test_an_address_that_cannot_be_called_is_a_configuration_error(base: str) -> None:
    with pytest.raises(ConfigError, match=r"the address cannot be called .*https://") as caught:
        Http("crm", base_url=base).request("GET", f"x?key={SECRET}")
    assert SECRET not in str(caught.value)


# What is never said


def test_nothing_secret_is_logged(vendor: LittleVendor, http: Http, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "urllib3"):
        address = vendor.url.replace("//", f"//user:{SECRET}@")
        http.request("POST", f"{address}/thing?key={SECRET}", json={"key": SECRET}, headers={"X-Key": SECRET})
    assert "crm: POST /thing -> 200" in caplog.text
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    assert SECRET not in caplog.text


def test_no_secret_hides_in_the_chain_of_errors() -> None:
    with pytest.raises(TransientError) as caught:
        Http("crm", base_url=f"http://user:{SECRET}@127.0.0.1:9").request("GET", f"/x?key={SECRET}")
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


# Where it goes


def test_redirects_are_not_followed(vendor: LittleVendor, http: Http) -> None:
    with pytest.raises(ConnectorError, match=r"HTTP 302 FOUND: it has moved to /thing; set that address") as caught:
        http.request("GET", "/moved")
    assert SECRET not in str(caught.value)
    assert http.session.get(f"{vendor.url}/moved").status_code == 302
    assert "things" not in vendor.counters()


def test_redirects_are_followed_where_configured(http: Http) -> None:
    http.configure(follow_redirects=True)
    assert http.request("GET", "/moved").status_code == 200


def test_the_environment_has_no_say(
    vendor: LittleVendor, http: Http, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "Authorization" not in http.request("GET", "/seen").json()


# How fast it goes


def test_calls_keep_the_pace(vendor: LittleVendor, clock: Clock) -> None:
    http = connect(vendor, clock, per_second=4)
    for _ in range(5):
        http.request("GET", "/thing")
    assert clock.waits == [0.25] * 4
    assert http.metrics.waited_seconds == 1.0
    http.close()


def test_threads_share_one_pace(vendor: LittleVendor) -> None:
    clock = Clock()
    clock.sleep = clock.waits.append  # type: ignore[method-assign]  # the clock stands: every wait shows its place
    http = connect(vendor, clock, per_second=10, concurrency=8)
    _in_threads(8, lambda: http.request("GET", "/thing"))
    assert sorted(round(wait, 3) for wait in clock.waits) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    http.close()


def test_no_more_requests_are_open_than_allowed(vendor: LittleVendor, clock: Clock) -> None:
    open_now: list[int] = []
    vendor.before = lambda request: open_now.append(vendor.in_flight)  # type: ignore[method-assign,assignment,func-returns-value]
    http = connect(vendor, clock, concurrency=2)
    _in_threads(12, lambda: http.request("GET", "/thing"))
    assert len(open_now) == 12
    assert max(open_now) <= 2
    http.close()


def test_a_streamed_body_keeps_its_slot_until_it_is_read(vendor: LittleVendor, clock: Clock) -> None:
    http = connect(vendor, clock, concurrency=1, read_timeout=timedelta(milliseconds=50))
    response = http.request("GET", "/lines", stream=True, timeout=10)
    with pytest.raises(TransientError, match=r"all 1 requests .* close streamed answers"):
        http.request("GET", "/thing", timeout=10)
    assert sum(1 for _ in response.iter_lines()) == 2000
    http.request("GET", "/thing", timeout=10)
    http.request("GET", "/lines", stream=True, timeout=10).close()
    http.request("GET", "/lines", stream=True, timeout=10)  # forgotten at once
    http.request("GET", "/thing", timeout=10)
    http.close()


def test_a_streamed_body_that_breaks_off_is_transient(vendor: LittleVendor, http: Http) -> None:
    vendor.faults = [Fault("cut_off")]
    with pytest.raises(TransientError, match="lines: no complete answer"), transient_when_broken("lines"):
        for _ in http.request("GET", "/lines", stream=True).iter_lines():
            pass


def test_the_pool_keeps_a_connection_for_every_request_allowed(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    http.configure(throttle=Throttle(concurrency=14))
    gate = threading.Barrier(14)
    with caplog.at_level(logging.WARNING, "urllib3"):
        _in_threads(14, lambda: (gate.wait(5), http.request("GET", "/thing")))
    assert "Connection pool is full" not in caplog.text


def _in_threads(count: int, work: Any) -> None:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# Being asked to slow down


def test_after_a_429_every_call_is_held_for_as_long_as_asked(vendor: LittleVendor, http: Http, clock: Clock) -> None:
    vendor.faults = [Fault("status", status=429, headers={"Retry-After": "7"})]
    with pytest.raises(RateLimitError) as caught:
        http.request("GET", "/thing")
    assert caught.value.retry_after == timedelta(seconds=7)
    http.session.get(f"{vendor.url}/thing")
    assert clock.waits == [7.0]


def test_who_waited_for_the_retry_after_is_not_held_again(vendor: LittleVendor, http: Http, clock: Clock) -> None:
    vendor.faults = [Fault("status", status=429, headers={"Retry-After": "7"})]
    with pytest.raises(RateLimitError):
        http.request("GET", "/thing")
    clock.now += 7
    http.request("GET", "/thing")
    assert clock.waits == []


def test_a_429_without_retry_after_holds_for_the_configured_time(vendor: LittleVendor, clock: Clock) -> None:
    vendor.faults = [Fault("status", status=429)]
    http = connect(vendor, clock, rate_limit_pause=timedelta(seconds=10))
    with pytest.raises(RateLimitError):
        http.request("GET", "/thing")
    http.request("GET", "/thing")
    assert clock.waits == [10.0]
    http.close()


def test_a_long_hold_is_said_instead_of_waited_for(vendor: LittleVendor, http: Http, clock: Clock) -> None:
    http.slow_down(timedelta(hours=1))
    clock.now += 60
    with pytest.raises(RateLimitError, match="held for 3540 s more") as caught:
        http.request("GET", "/thing")
    assert caught.value.retry_after == timedelta(seconds=3540)
    assert vendor.counters() == {}


def test_pause_waits_and_is_counted(http: Http, clock: Clock) -> None:
    http.pause(5)
    assert clock.waits == [5]
    assert http.metrics.waited_seconds == 5


# The circuit breaker


def _fail(http: Http, times: int) -> None:
    for _ in range(times):
        with pytest.raises(TransientError):
            http.request("GET", "/thing")


def test_the_circuit_opens_after_failures_in_a_row(vendor: LittleVendor, http: Http, clock: Clock) -> None:
    vendor.faults = [Fault("status", times=5)]
    _fail(http, 5)
    clock.now += 10
    with pytest.raises(TransientError, match="circuit open after 5 failures in a row") as caught:
        http.request("GET", "/thing")
    assert caught.value.retry_after == timedelta(seconds=20)
    assert vendor.counters()["calls"] == 5


def test_a_success_in_between_keeps_it_closed(vendor: LittleVendor, http: Http) -> None:
    vendor.faults = [Fault("drop_before", times=4), Fault("status", after=1, times=4)]
    _fail(http, 4)
    http.request("GET", "/thing")
    _fail(http, 4)
    http.request("GET", "/thing")


def test_one_trial_decides_whether_it_closes(vendor: LittleVendor, http: Http, clock: Clock) -> None:
    vendor.faults = [Fault("status", times=6)]
    _fail(http, 5)
    clock.now += 30
    _fail(http, 1)  # the trial, which fails: one failure is enough now
    with pytest.raises(TransientError, match="circuit open") as caught:
        http.request("GET", "/thing")
    assert caught.value.retry_after == timedelta(seconds=30)
    clock.now += 30
    http.request("GET", "/thing")  # the trial, which succeeds
    http.request("GET", "/thing")
    assert vendor.counters()["calls"] == 8


def test_only_one_trial_at_a_time(vendor: LittleVendor, http: Http, clock: Clock) -> None:
    vendor.faults = [Fault("status", times=5)]
    _fail(http, 5)
    clock.now += 30
    during: list[str] = []

    def another_call_meanwhile(request: Request) -> None:
        with pytest.raises(TransientError, match="circuit open"):
            http.request("GET", "/thing")
        during.append("refused")

    vendor.before = another_call_meanwhile  # type: ignore[method-assign,assignment]
    http.request("GET", "/thing")
    assert during == ["refused"]


def test_a_rate_limit_is_no_failure_of_the_vendor(vendor: LittleVendor, http: Http) -> None:
    vendor.faults = [Fault("status", status=429, times=20)]
    for _ in range(20):
        with pytest.raises(RateLimitError):
            http.request("GET", "/thing")


# What is counted


def test_calls_are_counted_by_purpose(http: Http) -> None:
    http.request("GET", "/thing")
    with purpose("write"):
        http.request("POST", "/thing")
        with purpose("auth"):
            http.request("POST", "/thing")
        http.session.post(f"{http.base_url}/thing")
    assert http.metrics.calls == {"read": 1, "write": 2, "auth": 1}
    assert http.metrics.total == 4


def test_a_thread_takes_the_purpose_along_in_a_copied_context(http: Http) -> None:
    with purpose("write"):
        context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(http.request, "GET", "/thing"))
    thread.start()
    thread.join()
    assert http.metrics.calls == {"write": 1}


# Reading answers


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("html", status=200), "HTTP 200 with 93 bytes of text/html that are not JSON"),
        (Fault("status", status=200, body=""), "HTTP 200 with 0 bytes of text/plain that are not JSON"),
        (Fault("truncated"), r"HTTP 200 with 1\d bytes of application/json that are not JSON"),
    ],
    ids=["an error page", "nothing", "half of it"],
)
def test_an_answer_that_is_not_json_is_weather(vendor: LittleVendor, http: Http, fault: Fault, said: str) -> None:
    vendor.faults = [fault]
    with pytest.raises(TransientError, match=f"crm: things: {said}"):
        json_of(http.request("GET", "/thing"), "crm: things")


def test_json_numbers_can_come_exactly(http: Http) -> None:
    response = http.request("GET", "/thing")
    assert json_of(response, "x") == {"amount": 1.1, "name": "è"}
    assert json_of(response, "x", exact=True)["amount"] == Decimal("1.1")


def _response(status: int = 503, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "120"}, 120),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": "1.5"}, 1.5),
        # RFC 9110 section 10.2.3 gives this date as its example
        ({"Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT", "Date": "Fri, 31 Dec 1999 23:59:49 GMT"}, 10),
        ({"Retry_After": "Fri, 31 Dec 1999 23:59:59 -0000", "Date": "Fri, 31 Dec 1999 23:59:49 GMT"}, 10),
        ({"Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT", "Date": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0),
    ],
)
def test_retry_after_is_understood(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_of(_response(**headers)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "soon", "-5", "²", "1e9", "9" * 400])
def test_an_unreadable_retry_after_is_none(value: str) -> None:
    assert retry_after_of(_response(Retry_After=value)) is None


def test_a_retry_date_without_a_date_of_the_answer_counts_from_now() -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    wait = retry_after_of(_response(Retry_After=later))
    assert wait is not None
    assert timedelta(minutes=58) < wait <= timedelta(hours=1)


@pytest.mark.parametrize(
    "name", ["X-Request-Id", "x-sfdc-request-id", "X-HubSpot-Correlation-Id", "X-Correlation-Id", "CF-Ray"]
)
def test_the_vendors_request_id_is_in_the_error(name: str) -> None:
    response = _response()
    response.headers[name] = "r-17"
    assert request_id_of(response) == "r-17"
    assert str(error_for(response, where="crm: Lead")) == "crm: Lead: HTTP 503 (request r-17)"
