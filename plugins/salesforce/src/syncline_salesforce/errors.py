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
def translated(where: str, request_id: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Whatever is raised inside leaves as one of our errors; ours pass through."""
    try:
        yield
    except SalesforceError as error:
        raise error_of(error.status, error.content, where=where, request_id=request_id()) from error
    except SalesforceOperationError as error:
        raise ConnectorError(str(error), where=where, request_id=request_id()) from error
    except requests.RequestException as error:
        # Also an answer that breaks off, or that is not JSON although its status says success.
        raise TransientError(f"unreadable answer ({type(error).__name__})", where=where) from error
    except ValidationError as error:
        raise TransientError(f"unexpected answer: {_shape(error)}", where=where, request_id=request_id()) from error


def _shape(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:3])


def error_of(status: int, content: Any, *, where: str, request_id: str | None = None) -> ConnectorError:
    """The error that a refused request means; `content` is the parsed body, or its text."""
    problems = _problems(content)
    if problems is None:
        return _without_body(status, where, request_id)
    first = problems[0]
    text = f"{first.code}: {first.message.strip()}" + (f" (fields: {', '.join(first.fields)})" if first.fields else "")
    return (
        _of_session(status, first, text, where, request_id)
        or _of_quota(first, where, request_id)
        or _of_schema(first, where, request_id)
        or _of_status(status, first, text, where, request_id)
    )


def _problems(content: Any) -> list[ApiError] | None:
    try:
        return _ERRORS.validate_python(content) or None
    except ValidationError:
        return None


def _without_body(status: int, where: str, request_id: str | None) -> ConnectorError:
    """HTML from the edge, an empty body, or anything else that is not the documented array: weather."""
    if status == 401:
        return SessionExpiredError("HTTP 401", where=where, request_id=request_id)
    if status == 429:
        return RateLimitError("HTTP 429", where=where, request_id=request_id)
    return TransientError(f"HTTP {status} without the documented body", where=where, request_id=request_id)


def _of_session(status: int, first: ApiError, text: str, where: str, request_id: str | None) -> ConnectorError | None:
    if status == 401 or first.code == "INVALID_SESSION_ID":
        return SessionExpiredError(text, where=where, request_id=request_id)
    if first.code in _NO_ACCESS:
        return AuthError(text, where=where, request_id=request_id)
    return None


def _of_quota(first: ApiError, where: str, request_id: str | None) -> ConnectorError | None:
    if first.code != "REQUEST_LIMIT_EXCEEDED":
        return None
    if "concurrent" in first.message.lower():
        text = f"{first.code}: {first.message} Too many requests are open at once."
        return RateLimitError(text, retry_after=_CONCURRENT_PAUSE, where=where, request_id=request_id)
    text = f"{first.code}: {first.message} The daily quota of API calls of this org is used up."
    return RateLimitError(text, retry_after=_DAILY_PAUSE, where=where, request_id=request_id)


def _of_schema(first: ApiError, where: str, request_id: str | None) -> ConnectorError | None:
    field = drifted_field(first.code, first.message, first.fields)
    if field:
        text = (
            f"{first.code}: {first.message.strip()}. The field is gone, renamed, or hidden from the user we log in as."
        )
        return SchemaDriftError(text, field=field, where=where, request_id=request_id)
    if first.code == "INVALID_TYPE":
        return ConfigError(f"{first.code}: {first.message.strip()}", where=where)
    if first.code == "INVALID_QUERY_LOCATOR":
        return CursorExpiredError(f"{first.code}: {first.message}", where=where, request_id=request_id)
    return None


def _of_status(status: int, first: ApiError, text: str, where: str, request_id: str | None) -> ConnectorError:
    if status == 429:
        return RateLimitError(text, where=where, request_id=request_id)
    if is_retryable(first.code) or status in _SLOW_STATUSES or status >= 500:
        return TransientError(text, where=where, request_id=request_id)
    if status == 410 or first.code == "UNSUPPORTED_API_VERSION":
        return ConfigError(f"{text}. This API version is retired: set api_version to a living one.", where=where)
    return ConnectorError(text, where=where, request_id=request_id)


def is_retryable(code: str) -> bool:
    """Whether the same record or request may succeed later."""
    return code in RETRYABLE or code.startswith("CONCURRENT_REQUEST")


def drifted_field(code: str, message: str, fields: tuple[str, ...] = ()) -> str | None:
    """The field that an error says is not there; None when the error is about something else."""
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
        return TransientError(f"HTTP {response.status_code} without the documented body", where=where)
    text = f"{problem.error}: {problem.error_description}".rstrip(": ")
    if problem.error == "rate_limit_exceeded":
        return RateLimitError(text, where=where)
    being_processed = "already being processed" in problem.error_description
    if problem.error in _WEATHER_OF_TOKENS or being_processed or response.status_code >= 500:
        return TransientError(text, where=where)
    return AuthError(f"{text}. Check the settings under login:, and the app and its user in Salesforce.", where=where)
