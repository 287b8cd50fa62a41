"""The one way out: a pooled session with time-outs, a rate limit, a circuit breaker, redaction and metrics.

A connector uses `Http.request` (errors come classified), or hands `Http.session` to a vendor's library: both obey the
same limits, because they live in the session's adapter. Nothing here retries; the host does, one layer up.

Nothing that is logged or raised here carries a query string, a header, a body or the credentials of an address.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.sdk.privacy import masked
from syncline.sdk.tracing import span

__all__ = [
    "Http",
    "Metrics",
    "Purpose",
    "Throttle",
    "error_for",
    "json_of",
    "purpose",
    "request_id_of",
    "retry_after_of",
    "transient_when_broken",
]

Purpose = Literal["read", "write", "auth"]

_log = logging.getLogger("syncline.http")
_purpose: contextvars.ContextVar[Purpose] = contextvars.ContextVar("syncline_http_purpose", default="read")

_REQUEST_ID: Final = re.compile(r"(?:.+-)?(?:request|correlation)-id|x-trace", re.IGNORECASE)
"""What vendors call it: X-Request-Id, with their own name before it, or correlation id. (Seen in recorded traffic.)"""
_EDGE_ID: Final = "CF-Ray"  # what is left when a widespread edge answers in the vendor's place


@contextlib.contextmanager
def purpose(value: Purpose) -> Iterator[None]:
    """Calls made inside are counted as this. The host marks writes; a connector marks its token calls `auth`.

    It holds for the calling thread. A thread that a vendor's library starts inside begins as `read`, because context
    variables are not inherited (PEP 567): start its work with `contextvars.copy_context().run(work)`, or tell the
    library to use no threads.
    """
    token = _purpose.set(value)
    try:
        yield
    finally:
        _purpose.reset(token)


@dataclass(frozen=True, slots=True)
class Throttle:
    """How hard a connection may be used. `per_second` None: no pace of our own; `concurrency` open requests at most.

    After `breaker_failures` failures in a row (no answer, or 5xx) calls are refused for `breaker_pause`; then one is
    let through, and its success lets the others follow. After a 429 every call of the connection is held for the
    vendor's Retry-After, or for `rate_limit_pause` if it gave none; a hold longer than `patience` is not waited for:
    RateLimitError says how much of it is left.
    """

    per_second: float | None = None
    concurrency: int = 4
    connect_timeout: timedelta = timedelta(seconds=10)
    read_timeout: timedelta = timedelta(seconds=120)
    breaker_failures: int = 5
    breaker_pause: timedelta = timedelta(seconds=30)
    rate_limit_pause: timedelta = timedelta(seconds=1)
    patience: timedelta = timedelta(seconds=30)


@dataclass(slots=True)
class Metrics:
    """What went over the wire: `answers` counts the calls by purpose and status ('0' for no answer)."""

    answers: Counter[tuple[Purpose, str]] = field(default_factory=Counter)
    waited_seconds: float = 0.0

    @property
    def calls(self) -> Counter[str]:
        """By purpose."""
        return self._by(0)

    @property
    def statuses(self) -> Counter[str]:
        """By status."""
        return self._by(1)

    @property
    def total(self) -> int:
        return self.answers.copy().total()

    def _by(self, part: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for answer, count in self.answers.copy().items():  # other threads go on counting
            found[answer[part]] += count
        return found


class Http:
    """One connection's HTTP. `base_url` may be set later (`http.base_url = instance_url`).

    `allowance` is asked before every call, and raises when no more may be made today.

    Redirects are not followed, and neither netrc nor proxies of the environment are used: the first would carry
    credentials elsewhere, the others would come from nowhere. `session.proxies` may be set.
    """

    def __init__(
        self,
        connection: str,
        *,
        base_url: str = "",
        throttle: Throttle | None = None,
        allowance: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self.base_url = base_url
        self.metrics = Metrics()
        self._gate = _Gate(throttle or Throttle(), self.metrics, allowance, sleep, monotonic)
        self._adapter = _GuardedAdapter(connection, self._gate)
        self._session = _Session()
        self._session.mount("https://", self._adapter)
        self._session.mount("http://", self._adapter)

    @property
    def session(self) -> requests.Session:
        """For a vendor's library. Trouble comes classified here too, except for bad statuses."""
        return self._session

    def configure(
        self,
        *,
        base_url: str | None = None,
        throttle: Throttle | None = None,
        follow_redirects: bool | None = None,
    ) -> None:
        """Called by a connector's constructor with what it knows of its vendor."""
        if base_url is not None:
            self.base_url = base_url
        if throttle is not None:
            self._gate.set_throttle(throttle)
            self._adapter.make_room(throttle.concurrency)
        if follow_redirects is not None:
            self._session.follow_redirects = follow_redirects

    def request(
        self,
        method: str,
        path: str,
        *,
        raise_for_status: bool = True,
        **arguments: Any,
    ) -> requests.Response:
        """One attempt. `path` is relative to `base_url`, or an absolute address.

        Raises TransientError (no answer or a broken one, 5xx, 408, 420, 425), RateLimitError (429), AuthError (401),
        ConnectorError (any other status of 300 and above but 304); with `raise_for_status=False` answers of any status
        come back as they are, and only a missing answer raises. With `stream=True` read the body inside
        `transient_when_broken`, and close the response.
        """
        url = path if "://" in path else self.base_url.rstrip("/") + "/" + path.lstrip("/")
        where = _place(self.connection, method, url)
        with transient_when_broken(where):
            response = self._session.request(method, url, **arguments)
        if raise_for_status and response.status_code >= 300 and response.status_code != 304:
            response.close()
            raise error_for(response, where=where)
        return response

    def slow_down(self, pause: timedelta) -> None:
        """Hold every call of this connection for `pause`. For vendors that do not say it with a 429."""
        self._gate.hold(pause)

    def pause(self, seconds: float) -> None:
        """Wait as a vendor's polling protocol asks ("poll again in 5 s"). For nothing else: retries are the host's."""
        self._gate.wait(seconds)

    def close(self) -> None:
        """Close the pooled connections; the next request opens new ones."""
        self._session.close()


def error_for(response: requests.Response, *, where: str) -> ConnectorError:
    """The error a bare status means; connectors refine it with what their vendor's body says."""
    status = response.status_code
    request_id = request_id_of(response)
    message = f"HTTP {status} {response.reason or ''}".strip()
    if status == 401:
        return AuthError(message, where=where, request_id=request_id)
    if status == 429:
        return RateLimitError(message, retry_after=retry_after_of(response), where=where, request_id=request_id)
    if status >= 500 or status in (408, 420, 425):
        return TransientError(message, retry_after=retry_after_of(response), where=where, request_id=request_id)
    if target := response.headers.get("Location") if 300 <= status < 400 else None:
        message += f": it has moved to {_bare(target)}; set that address, redirects are not followed"
    return ConnectorError(message, where=where, request_id=request_id)


def json_of(response: requests.Response, where: str, *, exact: bool = False) -> Any:
    """The answer's JSON; TransientError when it is something else (an error page, half a body).

    With `exact`, numbers with a fraction come as Decimal.
    """
    try:
        with transient_when_broken(where):
            return json.loads(response.content, parse_float=Decimal if exact else float)
    except ValueError:  # also what is not UTF-8
        kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
        size = len(response.content)
        raise TransientError(
            f"HTTP {response.status_code} with {size} bytes of {kind} that are not JSON",
            retry_after=retry_after_of(response),
            where=where,
            request_id=request_id_of(response),
        ) from None  # the error would carry the body


def retry_after_of(response: requests.Response) -> timedelta | None:
    """Retry-After in seconds or as an HTTP date (RFC 9110 §10.2.3); None when absent or unreadable."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):  # the fraction is against the RFC, and out there
            return timedelta(seconds=float(value))
        sent = response.headers.get("Date")
        reference = _moment(sent) if sent else datetime.now(UTC)
        return max(timedelta(0), _moment(value) - reference)
    return None


def request_id_of(response: requests.Response) -> str | None:
    """The vendor's own id of this call, for its support desk."""
    for name, value in response.headers.items():
        if value and _REQUEST_ID.fullmatch(name):
            return str(value)
    return response.headers.get(_EDGE_ID)


@contextlib.contextmanager
def transient_when_broken(where: str) -> Iterator[None]:
    """Turns what `requests` raises for a missing or broken answer into TransientError, without the address.

    An address that cannot be called is a ConfigError.
    """
    try:
        yield
    except (
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidURL,
    ) as error:
        raise ConfigError(
            f"the address cannot be called ({type(error).__name__}); give one like https://api.vendor.example",
            where=where,
        ) from None
    except requests.RequestException as error:
        # Not chained: the text of these errors holds the whole address, query string included.
        raise TransientError(f"no complete answer ({_reason(error)})", where=where) from None


_NETWORK_ERRORS: Final = (OSError, HTTPException, HTTPError)


def _reason(error: BaseException) -> str:
    """The kind of trouble at the bottom of a chain of causes, in the words of the operating system if it has any."""
    names = [type(error).__name__]
    deepest = error
    while isinstance(cause := deepest.__cause__ or deepest.__context__, _NETWORK_ERRORS):
        deepest = cause
    if deepest is not error:
        names.append(type(deepest).__name__)
    if isinstance(deepest, OSError) and deepest.strerror:
        names.append(deepest.strerror)
    return ": ".join(names)


def _moment(value: str) -> datetime:
    moment = parsedate_to_datetime(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # "-0000" comes without a time zone


def _place(connection: str, method: str | None, url: str | None) -> str:
    return f"{connection}: {method} {urlsplit(url or '').path}"


def _told_of(connection: str, request: requests.PreparedRequest) -> dict[str, str | int]:
    """A call's attributes, by the names of OpenTelemetry's conventions for HTTP clients where they have one."""
    address = urlsplit(request.url or "")
    return {
        "http.request.method": request.method or "",
        "server.address": address.hostname or "",
        "url.path": masked(address.path),
        "syncline.connection": connection,
        "syncline.purpose": _purpose.get(),
    }


def _bare(url: str) -> str:
    """Without credentials, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path


class _Gate:
    """What every call of a connection waits for, or is refused by. Safe for any number of threads."""

    def __init__(
        self,
        throttle: Throttle,
        metrics: Metrics,
        allowance: Callable[[], None],
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._allowance = allowance
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._held_until = 0.0
        self._failures = 0
        self._open_until: float | None = None
        self._trial = False
        self.set_throttle(throttle)

    def set_throttle(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self._slots = threading.BoundedSemaphore(throttle.concurrency)

    def take_slot(self, where: str) -> Callable[[], None]:
        """Blocks until one more request may be open; the function returned gives the slot back, once."""
        slots = self._slots
        if not slots.acquire(timeout=self.throttle.read_timeout.total_seconds()):
            # Without an end to the wait, who streams and asks again meanwhile would wait for himself.
            raise TransientError(
                f"all {self.throttle.concurrency} requests that may be open still are; close streamed answers",
                where=where,
            )
        return _once(slots.release)

    def enter(self, where: str) -> None:
        """Let a call pass, after a wait if need be; raises when it must not be made now."""
        self._respect_hold(where)
        self._keep_pace()
        self._allowance()
        self._respect_breaker(where)  # last: a trial that is granted is also made

    def leave(self, status: int, retry_after: timedelta | None = None) -> None:
        """Count a call and draw the conclusions. `status` 0: no answer."""
        with self._lock:
            self._metrics.answers[_purpose.get(), str(status)] += 1
            self._conclude(failed=status == 0 or status >= 500)
        if status == 429:
            self.hold(retry_after if retry_after is not None else self.throttle.rate_limit_pause)

    def hold(self, pause: timedelta) -> None:
        with self._lock:
            self._held_until = max(self._held_until, self._monotonic() + pause.total_seconds())

    def wait(self, seconds: float) -> None:
        with self._lock:
            self._metrics.waited_seconds += seconds
        self._sleep(seconds)

    def _respect_hold(self, where: str) -> None:
        with self._lock:
            remaining = self._held_until - self._monotonic()
        if remaining > self.throttle.patience.total_seconds():
            message = f"the vendor asked to slow down; held for {remaining:.0f} s more"
            raise RateLimitError(message, retry_after=timedelta(seconds=remaining), where=where)
        if remaining > 0:
            self.wait(remaining)

    def _respect_breaker(self, where: str) -> None:
        with self._lock:
            if self._open_until is None:
                return
            remaining = self._open_until - self._monotonic()
            if remaining <= 0 and not self._trial:
                self._trial = True  # half open: this one call decides
                return
        after = f"circuit open after {self.throttle.breaker_failures} failures in a row"
        raise TransientError(after, retry_after=timedelta(seconds=max(remaining, 1.0)), where=where)

    def _keep_pace(self) -> None:
        if self.throttle.per_second is None:
            return
        with self._lock:
            now = self._monotonic()
            start = max(now, self._next_slot)
            self._next_slot = start + 1.0 / self.throttle.per_second
        if start > now:
            self.wait(start - now)

    def _conclude(self, *, failed: bool) -> None:
        if not failed:
            self._failures, self._open_until, self._trial = 0, None, False
            return
        self._failures += 1
        if self._trial or self._failures >= self.throttle.breaker_failures:
            self._open_until = self._monotonic() + self.throttle.breaker_pause.total_seconds()
            self._failures, self._trial = 0, False


def _once(function: Callable[[], None]) -> Callable[[], None]:
    """`function`, at the first call only."""
    left = [function]

    def call() -> None:
        with contextlib.suppress(IndexError):  # `pop` is atomic, whichever thread comes first
            left.pop()()

    return call


class _Session(requests.Session):
    """A session that takes nothing from the environment and stays where it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.follow_redirects = False

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return super().get_redirect_target(resp) if self.follow_redirects else None


class _GuardedAdapter(HTTPAdapter):
    """Every request of the session passes here, also those a vendor's library makes."""

    def __init__(self, connection: str, gate: _Gate) -> None:
        self._connection = connection
        self._gate = gate
        self._room = max(10, gate.throttle.concurrency)
        super().__init__(pool_maxsize=self._room, max_retries=0)

    def make_room(self, concurrency: int) -> None:
        """Keep as many connections open as there may be requests."""
        if concurrency > self._room:
            self._room = concurrency
            self.poolmanager.clear()
            self.init_poolmanager(10, concurrency)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        where = _place(self._connection, request.method, request.url)
        give_back = self._gate.take_slot(where)
        try:
            self._gate.enter(where)
            with span(request.method or "", _told_of(self._connection, request), calls=True) as note:
                response = self._send(where, request, stream, timeout or self._limits(), verify, cert, proxies)
                note({"http.response.status_code": response.status_code})
        except BaseException:
            give_back()
            raise
        if stream:
            _when_finished(response, give_back)
        else:
            give_back()
        return response

    def _limits(self) -> tuple[float, float]:
        throttle = self._gate.throttle
        return throttle.connect_timeout.total_seconds(), throttle.read_timeout.total_seconds()

    def _send(self, where: str, request: requests.PreparedRequest, stream: bool, *arguments: Any) -> requests.Response:
        status, retry_after = 0, None
        try:
            with transient_when_broken(where):
                response = super().send(request, stream, *arguments)
                if not stream:
                    _ = response.content  # read here, so that a body that breaks off counts as no answer
            status, retry_after = response.status_code, retry_after_of(response)
            return response
        finally:
            self._gate.leave(status, retry_after)
            _log.debug("%s -> %s", where, status or "no answer")


def _when_finished(response: requests.Response, give_back: Callable[[], None]) -> None:
    """Give the slot back when the body was read to its end, or closed, or the response is forgotten."""
    release = response.raw.release_conn

    def release_conn() -> None:
        release()
        give_back()

    response.raw.release_conn = release_conn  # type: ignore[method-assign]  # urllib3 calls it at the end of a body
    forgotten = weakref.finalize(response, _close, response.raw, give_back)
    forgotten.atexit = False


def _close(raw: Any, give_back: Callable[[], None]) -> None:
    raw.close()
    give_back()


class _WithoutQuery(logging.Filter):
    """urllib3 logs the address of every call at DEBUG; keys travel in query strings."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQuery())
