"""The one way out: a pooled session with time-outs, a rate limit, a circuit breaker, redaction and metrics.

A connector uses `Http.request` (errors come classified), or hands `Http.session` to a vendor's library: both obey the
same limits, because they live in the session's adapter. Nothing here retries; the host does, one layer up.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from syncline.errors import AuthError, ConnectorError, RateLimitError, TransientError

__all__ = ["Http", "Metrics", "Purpose", "Throttle", "purpose"]

Purpose = Literal["read", "write", "auth"]

_log = logging.getLogger("syncline.http")
_purpose: contextvars.ContextVar[Purpose] = contextvars.ContextVar("syncline_http_purpose", default="read")


@contextlib.contextmanager
def purpose(value: Purpose) -> Iterator[None]:
    """Calls made inside are counted as this. The host marks writes; a connector marks its token calls `auth`."""
    token = _purpose.set(value)
    try:
        yield
    finally:
        _purpose.reset(token)


@dataclass(frozen=True, slots=True)
class Throttle:
    """How hard a connection may be used. `per_second` None: no pace of our own; `concurrency` open requests at most."""

    per_second: float | None = None
    concurrency: int = 4
    connect_timeout: timedelta = timedelta(seconds=10)
    read_timeout: timedelta = timedelta(seconds=120)
    breaker_failures: int = 5
    breaker_pause: timedelta = timedelta(seconds=30)


@dataclass(slots=True)
class Metrics:
    """What went over the wire, counted by purpose and by status ('0' for no answer)."""

    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    waited_seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.calls.values())


class Http:
    """One connection's HTTP. `base_url` may be set later (`http.base_url = instance_url`)."""

    def __init__(
        self,
        connection: str,
        *,
        base_url: str = "",
        throttle: Throttle | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self.base_url = base_url
        self.metrics = Metrics()
        self._adapter = _GuardedAdapter(connection, throttle or Throttle(), self.metrics, sleep, monotonic)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("https://", self._adapter)
        self.session.mount("http://", self._adapter)

    def configure(self, *, base_url: str | None = None, throttle: Throttle | None = None) -> None:
        """Called by a connector's constructor with what it knows of its vendor."""
        if base_url is not None:
            self.base_url = base_url
        if throttle is not None:
            self._adapter.set_throttle(throttle)

    def request(
        self,
        method: str,
        path: str,
        *,
        raise_for_status: bool = True,
        **arguments: Any,
    ) -> requests.Response:
        """One attempt. `path` is relative to `base_url`, or an absolute address.

        Raises TransientError (no answer, 5xx, 408, 420, 425), RateLimitError (429), AuthError (401), ConnectorError
        (any other status of 400 and above); with `raise_for_status=False` answers of any status come back as they
        are, and only a missing answer raises.
        """
        url = path if "://" in path else self.base_url.rstrip("/") + "/" + path.lstrip("/")
        response = self.session.request(method, url, **arguments)
        if raise_for_status and response.status_code >= 400:
            raise error_for(response, where=f"{self.connection}: {method} {urlsplit(url).path}")
        return response


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
    return ConnectorError(message, where=where, request_id=request_id)


def retry_after_of(response: requests.Response) -> timedelta | None:
    """Retry-After in seconds or as an HTTP date (RFC 9110 §10.2.3); None when absent or unreadable."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdigit():
        return timedelta(seconds=int(value))
    with contextlib.suppress(ValueError):
        moment = parsedate_to_datetime(value)
        sent = response.headers.get("Date")
        reference = parsedate_to_datetime(sent) if sent else datetime.now(UTC)
        return max(timedelta(0), moment - reference)
    return None


def request_id_of(response: requests.Response) -> str | None:
    for name in ("X-Request-Id", "X-Request-ID", "Request-Id", "X-Correlation-Id", "x-hubspot-correlation-id"):
        if value := response.headers.get(name):
            return str(value)
    return None


class _GuardedAdapter(HTTPAdapter):
    """Every request of the session passes here, also those a vendor's library makes."""

    def __init__(
        self,
        connection: str,
        throttle: Throttle,
        metrics: Metrics,
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(pool_maxsize=16, max_retries=0)
        self._connection = connection
        self._metrics = metrics
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._failures = 0
        self._open_until = 0.0
        self.set_throttle(throttle)

    def set_throttle(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._slots = threading.BoundedSemaphore(throttle.concurrency)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        where = f"{self._connection}: {request.method} {urlsplit(request.url or '').path}"
        self._refuse_while_open(where)
        self._wait_for_slot()
        limits = (self._throttle.connect_timeout.total_seconds(), self._throttle.read_timeout.total_seconds())
        status = 0
        try:
            with self._slots:
                response = super().send(request, stream, timeout or limits, verify, cert, proxies)
            status = response.status_code
        except (requests.ConnectionError, requests.Timeout) as error:
            raise TransientError(f"no answer ({type(error).__name__})", where=where) from error
        else:
            return response
        finally:
            self._record(where, status)

    def _refuse_while_open(self, where: str) -> None:
        with self._lock:
            remaining = self._open_until - self._monotonic()
        if remaining > 0:
            raise TransientError(
                f"circuit open after {self._throttle.breaker_failures} failures in a row",
                retry_after=timedelta(seconds=remaining),
                where=where,
            )

    def _wait_for_slot(self) -> None:
        if self._throttle.per_second is None:
            return
        with self._lock:
            now = self._monotonic()
            start = max(now, self._next_slot)
            self._next_slot = start + 1.0 / self._throttle.per_second
        if start > now:
            self._metrics.waited_seconds += start - now
            self._sleep(start - now)

    def _record(self, where: str, status: int) -> None:
        failed = status == 0 or status >= 500
        with self._lock:
            self._metrics.calls[_purpose.get()] += 1
            self._metrics.statuses[str(status)] += 1
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= self._throttle.breaker_failures:
                self._open_until = self._monotonic() + self._throttle.breaker_pause.total_seconds()
                self._failures = 0
        _log.debug("%s -> %s", where, status or "no answer")
