"""The one place where trouble of Zoho becomes an error of ours.

Codes and their treatment: vendor sheet §2, §4 and §12 (Zoho CRM API v8, status codes, read 2026-11).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import requests
from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, SchemaDriftError, TransientError
from syncline.sdk.http import json_of, request_id_of, retry_after_of
from syncline_zoho.payloads import Problem, TokenProblem

__all__ = ["OPERATOR", "RETRYABLE", "TokenExpiredError", "error_of", "problem_of", "token_error", "translated"]

RETRYABLE: Final = frozenset(
    {
        "RECORD_LOCKED",
        "INTERNAL_ERROR",
        "DEPENDENT_SERVICE_ERROR",
        "SERVICE_UNAVAILABLE",
        "TOO_MANY_REQUESTS",
        "RATE_LIMIT_EXCEEDED",
    }
)
"""Codes of weather, on a record or on a call."""

OPERATOR: Final = frozenset({"OAUTH_SCOPE_MISMATCH", "NO_PERMISSION", "AUTHORIZATION_FAILED", "AUTHENTICATION_FAILURE"})
"""Codes that a person has to settle: a scope, a profile."""

_SETTINGS: Final = frozenset({"INVALID_MODULE", "INVALID_URL_PATTERN", "LICENSE_LIMIT_EXCEEDED", "FEATURE_NOT_ENABLED"})
_THROTTLED: Final = "Access Denied"
_TOKEN_WINDOW: Final = timedelta(minutes=10)
"""At most 10 access tokens of a refresh token are given out in this time (vendor sheet §2)."""

_ADVICE: Final = {
    "invalid_code": "the refresh token is revoked, or of another data centre or client: authorize the app again",
    "invalid_client": "client_id is not known in this data centre: check data_center and client_id",
    "invalid_client_secret": "check client_secret; a client may have another secret in each data centre",
    "OAUTH_SCOPE_MISMATCH": "authorize the app again with the scopes of the README",
    "NO_PERMISSION": "give the profile of the integration user this permission",
    "AUTHORIZATION_FAILED": "give the profile of the integration user this permission",
    "INVALID_URL_PATTERN": "check api_version and api_url",
}


class TokenExpiredError(AuthError):
    """401 INVALID_TOKEN: the client renews the token and replays once, then this stands."""


@contextlib.contextmanager
def translated(where: str, response: requests.Response | None = None) -> Iterator[None]:
    """An answer that is not as documented is weather: half an answer, or one of a proxy on the way."""
    try:
        yield
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:3])
        request_id = request_id_of(response) if response is not None else None
        raise TransientError(f"unexpected answer: {told}", where=where, request_id=request_id) from error


def problem_of(body: Any) -> Problem | None:
    """The error of a whole call; None when the body is something else, the results of its rows for one."""
    if not isinstance(body, dict) or "code" not in body or "data" in body:
        return None
    try:
        return Problem.model_validate(body)
    except ValidationError:
        return None


def error_of(response: requests.Response, body: Any, *, where: str) -> ConnectorError:
    """The error that a refused call means; `body` is its parsed answer, None when that was not JSON."""
    problem = problem_of(body)
    error = _meant(response.status_code, problem, where)
    error.request_id = request_id_of(response)
    if isinstance(error, TransientError):
        error.retry_after = retry_after_of(response)
    return error


def _meant(status: int, problem: Problem | None, where: str) -> ConnectorError:
    code = problem.code if problem else ""
    text = problem.reason if problem else f"HTTP {status} without the documented body"
    if code in _ADVICE:
        text += f". {_ADVICE[code][0].upper()}{_ADVICE[code][1:]}"
    if status == 429:
        return RateLimitError(text, where=where)
    if code == "INVALID_TOKEN" or (status == 401 and problem is None):
        return TokenExpiredError(text, where=where)
    if code in OPERATOR or status == 401:
        return AuthError(text, where=where)
    if code in RETRYABLE or status >= 500 or status in (408, 420, 425) or problem is None:
        return TransientError(text, where=where)
    if code in _SETTINGS:
        return ConfigError(text, where=where)
    return _refusal(problem, text, where)


def _refusal(problem: Problem, text: str, where: str) -> ConnectorError:
    """A query names the column it cannot have."""
    column = problem.details.get("column_name")
    if problem.code == "INVALID_QUERY" and column:
        text += ". The field is gone, renamed, or hidden from us"
        return SchemaDriftError(text, field=str(column), where=where)
    return ConnectorError(text, where=where)


def token_error(response: requests.Response, *, where: str) -> ConnectorError | None:
    """What the token endpoint's answer refuses; None when it refuses nothing. Errors come with HTTP 200 too."""
    request_id, retry_after = request_id_of(response), retry_after_of(response)
    if response.status_code == 429:
        return RateLimitError("HTTP 429", retry_after=retry_after, where=where, request_id=request_id)
    if response.status_code >= 500:
        message = f"HTTP {response.status_code}"
        return TransientError(message, retry_after=retry_after, where=where, request_id=request_id)
    if response.status_code in (401, 403):
        return AuthError(f"HTTP {response.status_code}", where=where, request_id=request_id)
    body = json_of(response, where)
    if not isinstance(body, dict) or "error" not in body:
        return None
    with translated(where, response):
        problem = TokenProblem.model_validate(body)
    text = f"{problem.error}: {problem.error_description}".removesuffix(": ")
    if problem.error == _THROTTLED:
        wait = retry_after or _TOKEN_WINDOW
        return RateLimitError(f"{text} (too many tokens)", retry_after=wait, where=where, request_id=request_id)
    advice = _ADVICE.get(problem.error, "check client_id, client_secret, refresh_token and data_center")
    return AuthError(f"{text}. {advice[0].upper()}{advice[1:]}", where=where, request_id=request_id)
