"""simple-salesforce, with its edges covered.

It makes the calls; this module contains what it gets wrong (vendor sheet §12):
- it never renews a session it was given: `Client.call` logs in again once and replays once;
- it sets no time-outs and retries without bound only with a log-in of its own: it gets the host's session, and a token;
- it insists on https: a simulator on loopback is reached through an adapter that takes the `s` off;
- it decodes results as Latin-1 and fails on the empty answer to a deletion: those two calls are made here.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import BaseAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.util import call_salesforce

from syncline.errors import AuthError, RateLimitError, TransientError
from syncline.sdk import Context
from syncline.sdk.http import purpose
from syncline_salesforce.config import SalesforceConfig
from syncline_salesforce.errors import SessionExpiredError, translated
from syncline_salesforce.login import fetch_token
from syncline_salesforce.payloads import BulkJob, DeletedRecords, QueryPage, Token

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """The calls of one connection. Every method raises our errors only."""

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._last = threading.local()
        context.http.session.hooks["response"].append(self._note)

    # What the answers say beside their bodies

    def _note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._last.response = response

    def server_time(self) -> datetime:
        """The Date of this thread's last answer, else our clock."""
        response = self.last_answer()
        text = response.headers.get("Date") if response is not None else None
        try:
            return parsedate_to_datetime(text).astimezone(UTC) if text else self._context.clock()
        except ValueError:
            return self._context.clock()

    def last_answer(self) -> requests.Response | None:
        """What this thread was answered last, whatever it said."""
        return getattr(self._last, "response", None)

    def usage(self) -> str | None:
        """`used/allowed` calls of the rolling day, as the last answer said."""
        usage = self._current().salesforce.api_usage.get("api-usage")
        return f"{usage.used}/{usage.total}" if usage else None

    # Sessions

    @property
    def token(self) -> Token:
        return self._current().token

    def _current(self) -> _Session:
        with self._lock:
            if self._session is None:
                self._session = self._log_in()
            return self._session

    def _renewed(self, expired: _Session) -> _Session:
        """A session newer than `expired`: whoever comes second finds the one that the first has fetched."""
        with self._lock:
            if self._session is expired:
                self._session = None
                self._session = self._log_in()
            elif self._session is None:
                self._session = self._log_in()
            return self._session

    def _log_in(self) -> _Session:
        token = fetch_token(self._config, self._context)
        _allow_loopback(self._context.http.session, token.instance_url, where=self._context.connection)
        return _Session(
            token,
            Salesforce(
                session_id=token.access_token,
                instance_url=token.instance_url,
                session=self._context.http.session,
                version=self._config.api_version,
                parse_float=Decimal,  # what was written is what is compared: no double in between
                object_pairs_hook=None,
            ),
        )

    def call(self, what: str, work: Callable[[Salesforce], T]) -> T:
        """The result of `work`. On an expired session it is done once more with a new one: nothing was processed."""
        where = f"{self._context.connection}: {what}"
        session = self._current()
        try:
            return self._once(where, session, work)
        except SessionExpiredError:
            session = self._renewed(session)
        try:
            return self._once(where, session, work)
        except SessionExpiredError as error:
            message = f"{error.message}, although the session is new. May this user use the API?"
            raise AuthError(message, where=where, request_id=error.request_id) from error

    def _once(self, where: str, session: _Session, work: Callable[[Salesforce], T]) -> T:
        try:
            with translated(where, self.last_answer):
                return work(session.salesforce)
        except RateLimitError as error:
            # The vendor says it with a 403, which the host's HTTP does not take for a request to slow down.
            if error.retry_after is not None:
                self._context.http.slow_down(error.retry_after)
            raise

    def _read(self, what: str, work: Callable[[Salesforce], T]) -> T:
        """`call`, counted as a read also where it is a step of a write."""
        with purpose("read"):
            return self.call(what, work)

    # REST

    def rest(self, method: str, path: str, body: Any = None, **arguments: Any) -> Any:
        """The parsed answer, None for an empty one. `path` is relative to the version, already quoted."""
        if body is not None:
            arguments["data"] = body
        return self.call(f"{method} {path}", lambda s: s.restful(path, method=method, **arguments))

    def query(self, soql: str, *, deleted: bool = False) -> QueryPage:
        """The first page of a query."""
        answer = self._read("query", lambda s: s.query(soql, include_deleted=deleted))
        with translated(f"{self._context.connection}: query", self.last_answer):
            return QueryPage.model_validate(answer)

    def query_more(self, url: str) -> QueryPage:
        """The page at `next_url`. CursorExpiredError when the position is gone."""
        answer = self._read("query", lambda s: s.query_more(url, identifier_is_url=True))
        with translated(f"{self._context.connection}: query", self.last_answer):
            return QueryPage.model_validate(answer)

    def query_all(self, soql: str) -> list[dict[str, Any]]:
        """Every record of a query that is known to be small."""
        page = self.query(soql)
        records = list(page.records)
        while not page.done and page.next_url:
            page = self.query_more(page.next_url)
            records.extend(page.records)
        return records

    def deleted(self, object: str, start: datetime, end: datetime) -> DeletedRecords:
        """What was deleted in between, for good too (getDeleted)."""
        path = f"sobjects/{quote(object, safe='')}/deleted/"
        span = {"start": start.isoformat(timespec="seconds"), "end": end.isoformat(timespec="seconds")}
        answer = self._read(f"deleted {object}", lambda s: s.restful(path, params=span))
        with translated(f"{self._context.connection}: deleted {object}", self.last_answer):
            return DeletedRecords.model_validate(answer)

    def tooling(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """A call of the Tooling API."""
        return self.call(f"{method} tooling/{path}", lambda s: s.toolingexecute(path, method, dict(body)))

    # Bulk 2.0

    def create_job(self, object: str, operation: str, key_field: str | None) -> BulkJob:
        """An open ingest job."""
        return self._job(
            object, lambda client: client.create_job(operation, external_id_field=key_field), f"create {object} job"
        )

    def upload(self, object: str, job: str, data: str) -> None:
        """The rows of a job, once."""
        self.call(f"upload {object} job", lambda s: _bulk(s, object).upload_job_data(job, data))

    def close_job(self, object: str, job: str) -> BulkJob:
        """Say that everything is uploaded; the vendor begins."""
        return self._job(object, lambda client: client.close_job(job), f"close {object} job")

    def abort_job(self, object: str, job: str) -> BulkJob:
        """Stop a job; the rows that it has not reached stay unprocessed."""
        return self._job(object, lambda client: client.abort_job(job, False), f"abort {object} job")

    def look_at_job(self, object: str, job: str) -> BulkJob:
        """How far the job is."""
        with purpose("read"):
            return self._job(object, lambda client: client.get_job(job, False), f"look at {object} job")

    def _job(self, object: str, work: Callable[[Any], Any], what: str) -> BulkJob:
        answer = self.call(what, lambda s: work(_bulk(s, object)))
        with translated(f"{self._context.connection}: {what}", self.last_answer):
            return BulkJob.model_validate(answer)

    def job_results(self, job: str, which: str) -> str:
        """The CSV of `successfulResults`, `failedResults` or `unprocessedrecords`."""
        with purpose("read"):
            answer = self._job_call("GET", f"ingest/{job}/{which}", {"Accept": "text/csv"})
        return _text(answer)

    def delete_job(self, job: str) -> None:
        """Take the job and its results away; they would stay for seven days."""
        self._job_call("DELETE", f"ingest/{job}", {})

    def create_query_job(self, object: str, soql: str, *, deleted: bool) -> BulkJob:
        """A job that answers a query."""
        operation = "queryAll" if deleted else "query"
        with purpose("read"):
            return self._job(object, lambda client: client.create_job(operation, query=soql), f"create {object} query")

    def look_at_query_job(self, object: str, job: str) -> BulkJob:
        """How far the query is."""
        with purpose("read"):
            return self._job(object, lambda client: client.get_job(job, True), f"look at {object} query")

    def query_results(self, job: str, locator: str, most: int) -> tuple[str, str]:
        """The CSV of up to `most` rows from `locator` on, and where the next ones are; empty after the last."""
        parameters = {"maxRecords": most} | ({"locator": locator} if locator else {})
        with purpose("read"):
            answer = self._job_call("GET", f"query/{job}/results", {"Accept": "text/csv"}, params=parameters)
        following = answer.headers.get("Sforce-Locator", "null")
        return _text(answer), "" if following == "null" else following

    def delete_query_job(self, job: str) -> None:
        """Take the query and its results away."""
        with purpose("read"):
            self._job_call("DELETE", f"query/{job}", {})

    def _job_call(self, method: str, path: str, headers: Mapping[str, str], **arguments: Any) -> requests.Response:
        def work(salesforce: Salesforce) -> requests.Response:
            url = f"{salesforce.bulk2_url}{path}"
            return call_salesforce(url, method, salesforce.session, {**salesforce.headers, **headers}, **arguments)

        return self.call(f"{method} jobs/{path}", work)


def _text(answer: requests.Response) -> str:
    """TransientError for one that breaks off inside a character."""
    try:
        return answer.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TransientError(f"the results are not UTF-8 from byte {error.start} on", where="bulk results") from None


class _Session:
    """A token and the library object that uses it."""

    def __init__(self, token: Token, salesforce: Salesforce) -> None:
        self.token = token
        self.salesforce = salesforce


def _bulk(salesforce: Salesforce, object: str) -> Any:
    """The library's Bulk 2.0 calls without its own waiting and real clock."""
    return getattr(salesforce.bulk2, object)._client  # its public methods sleep


def _allow_loopback(session: requests.Session, instance_url: str, *, where: str) -> None:
    """Let https://127.0.0.1:port of the library reach http://127.0.0.1:port; plain http elsewhere is refused."""
    parts = urlsplit(instance_url)
    if parts.scheme == "https":
        return
    if not _stays_here(parts.hostname or ""):
        raise AuthError(f"the instance address {instance_url} is not https; no token is sent there", where=where)
    prefix = f"https://{parts.netloc}/"
    if prefix not in session.adapters:
        session.mount(prefix, _LoopbackAdapter(session.get_adapter(instance_url)))


def _stays_here(host: str) -> bool:
    """Loopback; and names that exist nowhere (RFC 2606), which stand for it in recordings."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".invalid")


class _LoopbackAdapter(BaseAdapter):
    """Takes the `s` off https and hands on to the host's adapter, so that its pace and its counters hold."""

    def __init__(self, inner: BaseAdapter) -> None:
        super().__init__()
        self._inner: Final = inner

    def send(self, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> requests.Response:
        request.url = "http" + (request.url or "").removeprefix("https")
        return self._inner.send(request, *arguments, **named)

    def close(self) -> None:
        """Nothing of its own to close."""
