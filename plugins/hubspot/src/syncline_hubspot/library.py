"""hubspot-api-client, contained: it builds the requests and raises the errors, the host's HTTP carries them.

The library (12.0.0, vendor sheet §12) is used for its host, its log-in, its request models and its errors. What it
would do on its own, and what happens here instead:
- a urllib3 pool for every API object, with its own time-outs and retries: the pool is replaced by one that calls the
  host's session, so that pace, holds, breaker, counters and redaction are the connection's;
- `api_request` calls `requests.get` and prints errors: what it has built is sent through the same session;
- the paths of v3 only: each is looked up in the table of the family that is configured;
- response models that drop `errors` of a 200 and fail on words they do not know: answers are handed on unread;
- error bodies decoded as UTF-8 whatever they are: pages of the edge are recoded first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from hubspot import HubSpot
from hubspot.utils.requests.http_request_builder import Request

from syncline.sdk import Http
from syncline_hubspot.config import Api
from syncline_hubspot.paths import path_of

__all__ = ["Answer", "Library", "Pace"]


class Answer:
    """What the library takes for urllib3's response. `response` is the real one."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.reason = response.reason
        self.data = _as_utf8(response.content)

    def getheaders(self) -> Mapping[str, str]:
        return self.response.headers

    def getheader(self, name: str, default: str | None = None) -> str | None:
        return self.response.headers.get(name, default)


def _as_utf8(body: bytes) -> bytes:
    """The library decodes the body of an error as UTF-8; recorded 404 pages are ISO 8859-1."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode("latin-1").encode()
    return body


class Pace:
    """So many a second, for a limit of its own beside the connection's. Waiting is the host's."""

    def __init__(self, per_second: float, pause: Callable[[float], None]) -> None:
        self._gap = 1.0 / per_second
        self._pause = pause
        self._next = 0.0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Returns when the next may go."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        if start > now:
            self._pause(start - now)


class Library:
    """The library for one connection and one family of addresses."""

    def __init__(self, http: Http, *, base_url: str, api: Api, searches_per_second: float) -> None:
        self._base_url = base_url
        self._api: Api = api
        self._pool = _Pool(http, Pace(searches_per_second, http.pause))

    def client(self, token: str | None) -> _Client:
        """The library's client, logged in with this token (None: for calls that need none)."""
        return _Client(
            self._pool,
            access_token=token,
            host=self._base_url,
            base_url=self._base_url,  # `api_request` has its own word for it
            api_factory=self._api_object,
        )

    def path(self, path: str) -> str:
        """For `api_request`: the path of v3 as it is in this family."""
        return path_of(path, self._api)

    def _api_object(self, package: Any, name: str, config: Mapping[str, Any]) -> Any:
        """What the library calls for every API object it makes."""
        configuration = package.Configuration(host=config["host"])
        configuration.access_token = config["access_token"]
        client = package.ApiClient(configuration=configuration)
        client.rest_client.pool_manager = self._pool
        call = client.call_api
        client.call_api = lambda path, *a, **named: call(self.path(path), *a, **named)
        return getattr(package, name)(api_client=client)


class _Client(HubSpot):  # type: ignore[misc]  # the library ships no types
    """The library's client; calls it has no API object for are sent the same way as the others."""

    def __init__(self, pool: _Pool, **config: Any) -> None:
        super().__init__(**config)
        self._pool = pool

    def api_request(self, options: dict[str, Any]) -> requests.Response:
        """The answer to what the library builds from `options`, whatever its status."""
        built = Request(self.config, options)
        return self._pool.send(built.get_method(), built.get_url(), **built.get_options_for_sending())


class _Pool:
    """What the library takes for a urllib3 pool manager."""

    def __init__(self, http: Http, searches: Pace) -> None:
        self._http = http
        self._searches = searches

    def request(
        self,
        method: str,
        url: str,
        *,
        body: str | None = None,
        fields: Any = None,
        headers: Mapping[str, str] | None = None,
        **_of_urllib3: Any,
    ) -> Answer:
        """One call. `fields` are the query of a GET and the form of a POST; time-outs are the connection's."""
        if method in ("GET", "HEAD"):
            return Answer(self.send(method, url, params=fields, headers=headers))
        return Answer(self.send(method, url, data=fields if body is None else body, headers=headers))

    def send(self, method: str, url: str, **arguments: Any) -> requests.Response:
        if urlsplit(url).path.endswith("/search"):
            self._searches.take()
        return self._http.session.request(method, url, allow_redirects=False, **arguments)
