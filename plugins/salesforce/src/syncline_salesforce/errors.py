"""The one place where trouble of Salesforce, or of its client library, becomes an error of ours.

Codes and their treatment: vendor sheet §3 to §5 and §11 (Salesforce REST guide, status codes and error responses, v67).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

import requests
from pydantic import TypeAdapter, ValidationError
from simple_salesforce.exceptions import SalesforceError, SalesforceOperationError

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    CursorExpiredError,
    RateLimitError,
    SchemaDriftError,
    TransientError,
)
from syncline.sdk.http import request_id_of, retry_after_of
from syncline_salesforce.payloads import ApiError, SaveProblem, TokenProblem

__all__ = [
    "RETRYABLE",
    "SessionExpiredError",
    "drifted_field",
    "error_of",
    "is_retryable",
    "problem_of_cell",
    "token_error",
    "translated",
]

RETRYABLE: Final = frozenset(
    {
        "UNABLE_TO_LOCK_ROW",
        "SERVER_UNAVAILABLE",
        "QUERY_TIMEOUT",
        "REQUEST_LIMIT_EXCEEDED",
        "REQUEST_RUNNING_TOO_LONG",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "PROCESSING_HALTED",
        "API_TEMPORARILY_UNAVAILABLE",
        "API_CURRENTLY_DISABLED",
        "UNKNOWN_EXCEPTION",
        "STORAGE_LIMIT_EXCEEDED",  # the org is full: nothing is wrong with the record, which comes again
    }
)
"""Codes of weather, on a record or on a request (vendor sheet §11); CONCURRENT_REQUEST… belongs to them by prefix."""

_NO_ACCESS: Final = frozenset(
    {"API_DISABLED_FOR_ORG", "INVALID_LOGIN", "TXN_SECURITY_METERING_ERROR", "INVALID_AUTH_HEADER"}
)
_SLOW_STATUSES: Final = frozenset({406, 408, 420, 425})
_CONCURRENT_PAUSE: Final = timedelta(seconds=10)
_DAILY_PAUSE: Final = timedelta(minutes=30)
_WEATHER_OF_TOKENS: Final = frozenset({"rate_limit_exceeded", "server_error", "temporarily_unavailable"})
_FIELD_NAMES: Final = (
    re.compile(r"No such column '([^']+)'"),
    re.compile(r"external ID field does not exist or is not accessible: (\S+)"),
    re.compile(r"Field name not found : (\S+)"),
    re.compile(r"Field name provided, (\S+) is not an External ID"),
)
_ERRORS: Final[TypeAdapter[list[ApiError]]] = TypeAdapter(list[ApiError])
_CELL: Final = re.compile(r"(?P<code>[^:]+):(?P<rest>.*?)(?::(?P<fields>[^:]*?))?\s*--\s*$", re.DOTALL)


class SessionExpiredError(AuthError):
    """401 on a data call: the client logs in again and replays once, then this stands."""


@contextlib.contextmanager
def translated(where: str, answer: Callable[[], requests.Response | None] = lambda: None) -> Iterator[None]:
    """Whatever is raised inside leaves as one of our errors; ours pass through.

    `answer` is what the vendor said last.
    """
    try:
        yield
    except SalesforceError as error:
        raise _told(error_of(error.status, error.content, where=where), answer()) from error
    except SalesforceOperationError as error:
        raise _told(ConnectorError(str(error), where=where), answer()) from error
    except requests.RequestException as error:
        # Also an answer that breaks off, or that is not JSON although its status says success.
        raise TransientError(f"unreadable answer ({type(error).__name__})", where=where) from error
    except ValidationError as error:
        raise _told(TransientError(f"unexpected answer: {_shape(error)}", where=where), answer()) from error


def _told(error: ConnectorError, answer: requests.Response | None) -> ConnectorError:
    """The error with what the headers say: the vendor's request id, and Retry-After if it ever comes.

    It is not documented for the REST API (vendor sheet §4), but proxies and edges send it.
    """
    if answer is not None:
        error.request_id = request_id_of(answer)
        if isinstance(error, TransientError) and error.retry_after is None:
            error.retry_after = retry_after_of(answer)
    return error


def _shape(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:3])


def error_of(status: int, content: Any, *, where: str) -> ConnectorError:
    """The error that a refused request means; `content` is the parsed body, or its text."""
    if status == 300:
        # The body lists the records (vendor sheet §4): a person has to merge them.
        return ConnectorError(f"several records have this external id: {content}", where=where)
    problems = _problems(content)
    if problems is None:
        return _without_body(status, where)
    first = problems[0]
    text = f"{first.code}: {first.message.strip()}" + (f" (fields: {', '.join(first.fields)})" if first.fields else "")
    return (
        _of_session(status, first, text, where)
        or _of_quota(first, where)
        or _of_schema(first, where)
        or _of_status(status, first, text, where)
    )


def _problems(content: Any) -> list[ApiError] | None:
    try:
        return _ERRORS.validate_python(content) or None
    except ValidationError:
        return None


def _without_body(status: int, where: str) -> ConnectorError:
    """HTML from the edge, an empty body, or anything else that is not the documented array: weather."""
    if status == 401:
        return SessionExpiredError("HTTP 401", where=where)
    if status == 429:
        return RateLimitError("HTTP 429", where=where)
    return TransientError(f"HTTP {status} without the documented body", where=where)


def _of_session(status: int, first: ApiError, text: str, where: str) -> ConnectorError | None:
    if status == 401 or first.code == "INVALID_SESSION_ID":
        return SessionExpiredError(text, where=where)
    if first.code in _NO_ACCESS:
        return AuthError(text, where=where)
    return None


def _of_quota(first: ApiError, where: str) -> ConnectorError | None:
    if first.code != "REQUEST_LIMIT_EXCEEDED":
        return None
    if "concurrent" in first.message.lower():
        text = f"{first.code}: {first.message} Too many requests are open at once."
        return RateLimitError(text, retry_after=_CONCURRENT_PAUSE, where=where)
    text = f"{first.code}: {first.message} The daily quota of API calls of this org is used up."
    return RateLimitError(text, retry_after=_DAILY_PAUSE, where=where)


def _of_schema(first: ApiError, where: str) -> ConnectorError | None:
    field = drifted_field(first.code, first.message, first.fields)
    if field:
        text = (
            f"{first.code}: {first.message.strip()}. The field is gone, renamed, hidden from the user we log in as, or"
            " (to match on) not an external id."
        )
        return SchemaDriftError(text, field=field, where=where)
    if first.code == "INVALID_TYPE":
        return ConfigError(f"{first.code}: {first.message.strip()}", where=where)
    if first.code == "INVALID_QUERY_LOCATOR":
        return CursorExpiredError(f"{first.code}: {first.message}", where=where)
    return None


def _of_status(status: int, first: ApiError, text: str, where: str) -> ConnectorError:
    if status == 429:
        return RateLimitError(text, where=where)
    if is_retryable(first.code) or status in _SLOW_STATUSES or status >= 500:
        return TransientError(text, where=where)
    if status == 410 or first.code == "UNSUPPORTED_API_VERSION":
        return ConfigError(f"{text}. This API version is retired: set api_version to a living one.", where=where)
    return ConnectorError(text, where=where)


def is_retryable(code: str) -> bool:
    """Whether the same record or request may succeed later."""
    return code in RETRYABLE or code.startswith("CONCURRENT_REQUEST")


def drifted_field(code: str, message: str, fields: tuple[str, ...] = ()) -> str | None:
    """The field that an error says is not there; None when the error is about something else."""
    if code == "JSON_PARSER_ERROR":
        return None  # it repeats a person's text, which may say anything
    for pattern in _FIELD_NAMES:
        if match := pattern.search(message):
            return match[1].rstrip(".,")
    return fields[0] if code == "INVALID_FIELD" and fields else None


def problem_of_cell(cell: str) -> SaveProblem:
    """The problem in an `sf__Error` cell: `CODE:message:fields--`, where the message may hold colons itself."""
    match = _CELL.match(cell)
    if match is None:
        code, _, message = cell.partition(":")
        return SaveProblem(statusCode=code, message=message)
    names = tuple(n.strip() for n in (match["fields"] or "").split(",") if n.strip())
    return SaveProblem(statusCode=match["code"], message=match["rest"], fields=names)


def token_error(response: requests.Response, *, where: str) -> ConnectorError:
    """The error that a refusal of the token endpoint means (vendor sheet §3)."""
    try:
        problem = TokenProblem.model_validate(response.json())
    except (ValueError, ValidationError):
        kind = {429: RateLimitError, 401: AuthError}.get(response.status_code, TransientError)
        return _told(kind(f"HTTP {response.status_code} without the documented body", where=where), response)
    text = f"{problem.error}: {problem.error_description}".rstrip(": ")
    if problem.error == "rate_limit_exceeded" or response.status_code == 429:
        return _told(RateLimitError(text, where=where), response)
    being_processed = "already being processed" in problem.error_description
    if problem.error in _WEATHER_OF_TOKENS or being_processed or response.status_code >= 500:
        return _told(TransientError(text, where=where), response)
    return AuthError(f"{text}. Check the settings under login:, and the app and its user in Salesforce.", where=where)
