"""The calls of one connection: the right address, the right header, one renewal, and a brake."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import requests
from pydantic import BaseModel

from syncline.errors import AuthError, ConnectorError, RateLimitError, TransientError
from syncline.sdk import Context, Throttle
from syncline.sdk.http import json_of, purpose
from syncline_zoho.config import ZohoConfig
from syncline_zoho.errors import OPERATOR, TokenExpiredError, error_of, problem_of, translated
from syncline_zoho.login import Token, Tokens
from syncline_zoho.payloads import ItemResult, RecordsPage, Users

__all__ = ["Answer", "Client"]

M = TypeVar("M", bound=BaseModel)

_CROWDED: Final = timedelta(seconds=5)
_PARKED: Final = timedelta(minutes=30)
"""How long to leave Zoho alone when too many calls are open, and when the credits of the day are gone (sheet §3)."""
_PERSISTENT: Final = 3
"""Refusals in a row that are no longer believed to be about open calls: the answer itself does not tell."""
_TOKENS_A_CALL: Final = 3
_RESULTS: Final = ("data", "tags", "fields", "watch")
_USER: Final = "user"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call brought. `body` is None for an empty answer (204, 304)."""

    body: Any
    response: requests.Response
    where: str

    def read(self, model: type[M]) -> M:
        """The answer as a model; an empty one has everything at its default."""
        with translated(self.where, self.response):
            return model.model_validate(self.body or {})

    def items(self, key: str, expected: int) -> list[ItemResult]:
        """One result per row, in the order of the request."""
        rows = self.body.get(key) if isinstance(self.body, dict) else None
        if not isinstance(rows, list):
            raise TransientError(f"no {key!r} in the answer", where=self.where)
        with translated(self.where, self.response):
            results = [ItemResult.model_validate(row) for row in rows]
        self._refuse_for_all(results)
        if len(results) != expected:
            raise TransientError(f"{len(results)} results for {expected} rows", where=self.where)
        return results

    def _refuse_for_all(self, results: Sequence[ItemResult]) -> None:
        """A right that we lack may be said row by row."""
        codes = {result.code for result in results}
        alone = len(results) == 1  # then it may as well be this record that is hidden or closed to us
        if len(codes) == 1 and codes <= {"INVALID_MODULE"} | (frozenset() if alone else OPERATOR):
            first = results[0]
            raise error_of(self.response, {"code": first.code, "message": first.message}, where=self.where)


class Client:
    """Every method raises our errors only. `credits_left` is what Zoho last said: nothing, before half is used."""

    def __init__(self, config: ZohoConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._tokens = Tokens(config, context)
        self._lock = threading.Lock()
        self._refused = 0
        self._server_time: datetime | None = None
        self._names: dict[str, str] | None = None
        self.credits_left: int | None = None
        # The smallest edition takes five calls at once (vendor sheet §3); the host's four leave one for people.
        context.http.configure(throttle=Throttle(rate_limit_pause=_CROWDED))

    @property
    def where(self) -> str:
        return self._context.connection

    def now(self) -> datetime:
        return self._context.clock()

    def server_time(self) -> datetime:
        """The Date of the last answer, else our clock."""
        return self._server_time or self._context.clock()

    # Calls

    def read(self, method: str, path: str, **arguments: Any) -> Answer:
        """A call that changes nothing; counted as a read also where the host is writing."""
        with purpose("read"):
            answer = self.call(method, path, **arguments)
        if answer.response.status_code >= 400:  # rows of refusals are no records
            raise error_of(answer.response, answer.body, where=answer.where)
        return answer

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call, and another one if the token was refused: nothing was processed then.

        A new token that is refused is an AuthError; one that another thread fetched may be worn out already.
        Refusals of single rows are answers; whatever refuses the whole call is raised.
        """
        where = f"{self._context.connection}: {method} {path}"
        token, new = self._tokens.current(), False
        for _ in range(_TOKENS_A_CALL):
            try:
                return self._once(token, method, path, where, params, body, headers)
            except TokenExpiredError as error:
                refused = error
            if new:
                break
            token, new = self._tokens.renewed(token)
        message = f"{refused.message}, although the token is new. Is this the account's data centre?"
        raise AuthError(message, where=where, request_id=refused.request_id) from refused

    def _once(
        self,
        token: Token,
        method: str,
        path: str,
        where: str,
        params: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        sent = {"Authorization": f"Zoho-oauthtoken {token.value}", **(headers or {})}
        arguments: dict[str, Any] = {"params": params}
        if body is not None:
            sent["Content-Type"] = "application/json"
            arguments["data"] = json.dumps(body).encode()
        url = f"{token.api_url}/crm/{self._config.api_version}/{path}"
        response = self._context.http.request(
            method, url, headers=sent, raise_for_status=False, allow_redirects=False, **arguments
        )
        return self._understood(response, where)

    def _understood(self, response: requests.Response, where: str) -> Answer:
        self._note(response)
        if response.status_code in (204, 304):
            return Answer(None, response, where)
        body = _body(response, where)
        if response.status_code == 429:
            raise self._too_many(response, body, where)
        if body is None and response.status_code < 300:
            raise TransientError(f"HTTP {response.status_code} with nothing in it", where=where)
        refused = response.status_code >= 300 and not _has_results(body)
        if refused or problem_of(body) is not None:
            raise error_of(response, body, where=where)
        return Answer(body, response, where)

    def _note(self, response: requests.Response) -> None:
        """What every answer says beside its body."""
        told = response.headers.get("X-API-CREDITS-REMAINING", "")
        if told.isdigit():
            self.credits_left = int(told)
        elif response.status_code < 300:
            self.credits_left = None  # the window has moved on: less than half is used again
        if response.status_code != 429:
            with self._lock:
                self._refused = 0
        date = response.headers.get("Date")
        if date:
            try:
                self._server_time = parsedate_to_datetime(date).astimezone(UTC)
            except ValueError:
                self._server_time = None  # our own clock is the next best

    def _too_many(self, response: requests.Response, body: Any, where: str) -> ConnectorError:
        """Too many open calls, or no credits left: the code is the same, so what else is known decides."""
        error = error_of(response, body, where=where)
        if not isinstance(error, RateLimitError):
            return error
        with self._lock:
            self._refused += 1
            gone = self.credits_left == 0 or self._refused >= _PERSISTENT
        if error.retry_after is None:
            error.retry_after = _PARKED if gone else _CROWDED
        if gone:
            text = f"{error.message}. It seems that the credits of the day are used up"
            error = RateLimitError(text, retry_after=error.retry_after, where=where, request_id=error.request_id)
        self._context.http.slow_down(error.retry_after or _CROWDED)
        return error

    # What several rooms need

    def query(self, select: str) -> RecordsPage:
        """One page of a COQL query; empty when there is nothing (204)."""
        return self.read("POST", "coql", body={"select_query": select}).read(RecordsPage)

    def user_id(self) -> str:
        """The user we are, asked once for a refresh token: what this user changed is ours."""
        kept = self._context.keep.get(_USER, "").split(":")
        if len(kept) == 2 and kept[0] == self._tokens.identity:
            return kept[1]
        found = self.read("GET", "users", params={"type": "CurrentUser"}).read(Users).users
        if not found:
            raise ConnectorError("Zoho does not tell which user we are", where=self.where)
        self._context.keep[_USER] = f"{self._tokens.identity}:{found[0].id}"
        return found[0].id

    def user_name(self, id: str) -> str:
        """What Zoho calls a user, asked once for all of them; the id of somebody it does not list."""
        if self._names is None:
            found = self.read("GET", "users", params={"type": "AllUsers", "per_page": 200}).read(Users).users
            self._names = {user.id: user.full_name or user.email or user.id for user in found}
        return self._names.get(id, id)


def _body(response: requests.Response, where: str) -> Any:
    """The parsed answer; None for a refusal that is not JSON (an error page of the edge)."""
    if not response.content.strip():
        return None
    try:
        return json_of(response, where, exact=True)
    except TransientError:
        if response.status_code < 300:
            raise
        return None


def _has_results(body: Any) -> bool:
    """Whether the answer speaks row by row."""
    return isinstance(body, dict) and any(isinstance(body.get(key), list) for key in _RESULTS)
