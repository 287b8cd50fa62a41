"""What the connectors of this process send, watched; on demand they meet trouble instead of the vendor."""

from __future__ import annotations

import io
import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

__all__ = ["EndlessError", "Network"]

_PAGE = b"<html><head><title>Trouble</title></head><body><h1>Trouble</h1></body></html>"


class EndlessError(BaseException):
    """More calls than a clause lets a connector make. No Exception: a connector must not be able to catch it."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """One request: what it was, whom it was for, and whether trouble came back."""

    method: str
    url: str
    body: Any
    failed: bool

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{self.method} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Network:
    """Every HTTP call of the process while it is entered. It lets them pass until `answer` says otherwise.

    Calls that would leave this machine are not made: they meet a network that is not there.
    """

    def __init__(self, *, at_most: int | None = None) -> None:
        self.sent: list[_Sent] = []
        self.strays: list[str] = []
        self._at_most = at_most
        self._trouble: tuple[int, Mapping[str, str]] | None = None

    def answer(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """From now on every call is answered with this status and a page of HTML, as an edge would; 0: not at all."""
        self._trouble = (status, headers or {})

    def again(self) -> list[str]:
        """The failed requests that were sent more than once, as they were."""
        counts = Counter((s.method, s.url, s.body) for s in self.sent if s.failed)
        return sorted({str(s) for s in self.sent if counts[s.method, s.url, s.body] > 1})

    def __enter__(self) -> Self:
        self._send = HTTPAdapter.send
        network = self

        def send(adapter: HTTPAdapter, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> Any:
            return network._meet(adapter, request, arguments, named)

        HTTPAdapter.send = send  # type: ignore[method-assign,assignment]  # the door of every session
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        HTTPAdapter.send = self._send  # type: ignore[method-assign]

    def _meet(self, adapter: HTTPAdapter, request: requests.PreparedRequest, arguments: Any, named: Any) -> Any:
        if self._at_most is not None and len(self.sent) >= self._at_most:
            raise EndlessError(f"more than {self._at_most} calls")
        status = 0
        try:
            response = self._answered(adapter, request, arguments, named)
            status = response.status_code
        finally:
            failed = status == 0 or status == 429 or status >= 500
            self.sent.append(_Sent(request.method or "", request.url or "", request.body, failed))
        return response

    def _answered(self, adapter: HTTPAdapter, request: requests.PreparedRequest, arguments: Any, named: Any) -> Any:
        if not _stays_here(request.url or ""):
            self.strays.append(urlsplit(request.url or "").netloc.rpartition("@")[2])
            raise requests.ConnectionError("calls that leave this machine are not made in tests")
        if self._trouble is None:
            return self._send(adapter, request, *arguments, **named)
        status, headers = self._trouble
        if not status:
            raise requests.ConnectionError("no answer")
        given = {"Content-Type": "text/html", **headers}
        raw = HTTPResponse(io.BytesIO(_PAGE), given, status, reason="Trouble", preload_content=False)
        return adapter.build_response(request, raw)


def _stays_here(url: str) -> bool:
    """Loopback; and names that exist nowhere (RFC 2606), which stand for it."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith((".invalid", ".test"))
