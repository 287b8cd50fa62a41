"""What Mailchimp's answers mean to the host. One place: `refuse` raises for whatever is not a usable answer.

The table is that of the vendor's error glossary (Marketing API, Errors), read 2026-08; that a 403 without a JSON body
means throttling is third-party evidence (singer tap, airbyte).
"""

from __future__ import annotations

from http import HTTPStatus

import requests
from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.sdk.http import retry_after_of
from syncline_mailchimp.payloads import ProblemDocument

__all__ = ["GoneError", "InvalidError", "error_of", "refuse"]


class GoneError(ConnectorError):
    """404: what was asked for is not, or no longer, there."""


class InvalidError(ConnectorError):
    """400: what was sent cannot be kept. Of a member it concerns that member alone. `title` is the vendor's."""

    title: str | None = None


def refuse(response: requests.Response, *, where: str) -> None:
    """Return when the answer is a success; raise the error it means when it is not."""
    status = response.status_code
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    problem = problem_of(response.content)
    words = _words(status, problem, response.reason or "")
    trace = response.headers.get("X-Request-Id") or (problem.instance if problem else None)
    if status < HTTPStatus.BAD_REQUEST:
        # `…/3.0` without a slash answers 301 to plain http (recorded 2016): following it would send the key in clear
        raise ConfigError(f"{words}; base_url must be https://<dc>.api.mailchimp.com/3.0", where=where)
    if status == HTTPStatus.UPGRADE_REQUIRED:
        raise ConfigError(f"{words}; base_url must start with https://", where=where)
    kind = _kind(status, problem)
    if issubclass(kind, TransientError):
        # No Retry-After is documented; what stands between us and the vendor may send one all the same.
        raise kind(words, retry_after=retry_after_of(response), where=where, request_id=trace)
    raise _titled(kind(words, where=where, request_id=trace), problem)


def error_of(status: int, body: str | bytes, *, where: str) -> ConnectorError | None:
    """What the answer to one operation of a batch means; None for a success."""
    if status < HTTPStatus.BAD_REQUEST:
        return None
    problem = problem_of(body)
    trace = problem.instance if problem else None
    return _titled(_kind(status, problem)(_words(status, problem, ""), where=where, request_id=trace), problem)


def _titled(error: ConnectorError, problem: ProblemDocument | None) -> ConnectorError:
    if isinstance(error, InvalidError) and problem is not None:
        error.title = problem.title
    return error


def _words(status: int, problem: ProblemDocument | None, reason: str) -> str:
    return f"HTTP {status}: {problem.words()}" if problem else f"HTTP {status} {reason}".strip()


def _kind(status: int, problem: ProblemDocument | None) -> type[ConnectorError]:
    if status == HTTPStatus.UNAUTHORIZED:
        return AuthError
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.FORBIDDEN and problem is None):
        return RateLimitError
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return TransientError
    if status == HTTPStatus.BAD_REQUEST:
        return InvalidError
    return GoneError if status == HTTPStatus.NOT_FOUND else ConnectorError


def problem_of(body: str | bytes) -> ProblemDocument | None:
    """The problem+json document of an answer; None when the body is something else (HTML of the CDN, nothing)."""
    try:
        return ProblemDocument.model_validate_json(body)
    except ValidationError:
        return None
