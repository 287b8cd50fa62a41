"""What Unbounce's answers mean to the host. One place: `refuse` raises for whatever is not a usable answer.

Statuses are those of the vendor's API contract v0.4 (read 2026-08). 401 says that no credential came, 403 that it is
wrong, too old or not enough; which of the three, it does not say.
"""

from __future__ import annotations

import re
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import requests
from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.sdk.http import request_id_of, retry_after_of
from syncline_unbounce.payloads import OAuthProblem, Problem

__all__ = ["GoneError", "refuse", "refuse_token"]

_WINDOW: Final = timedelta(minutes=1)
"""429 comes without Retry-After; the limit is per minute (vendor's API contract v0.4)."""
_PASSING: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)
_CODE: Final = re.compile(r"[a-z_]{1,40}")


class GoneError(ConnectorError):
    """404: what was asked for is not, or no longer, there."""


def refuse(response: requests.Response, *, where: str) -> None:
    """Return when the answer is a success; raise the error it means when it is not."""
    status = response.status_code
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    words = f"HTTP {status}: {_message(response)}"
    trace = request_id_of(response)
    if status < HTTPStatus.BAD_REQUEST:
        raise ConfigError(f"{words}; redirects are not followed; is base_url right?", where=where)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise AuthError(
            f"{words}; the credentials are refused, or not allowed to do this: give a key of an account administrator,"
            " or authorise again",
            where=where,
            request_id=trace,
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimitError(words, retry_after=retry_after_of(response) or _WINDOW, where=where, request_id=trace)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        raise TransientError(words, retry_after=retry_after_of(response), where=where, request_id=trace)
    raise (GoneError if status == HTTPStatus.NOT_FOUND else ConnectorError)(words, where=where, request_id=trace)


def refuse_token(response: requests.Response, *, where: str, hint: str) -> None:
    """The same for the token endpoint, where 400 means that a token or a client is refused; `hint` says what to do."""
    status = response.status_code
    if status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        refuse(response, where=where)
        return
    code = _oauth_code(response)
    if code == "invalid_client":
        raise AuthError(f"HTTP {status}: client_id or client_secret is refused", where=where)
    raise AuthError(f"HTTP {status}: the refresh token is refused ({code or 'no reason given'}); {hint}", where=where)


def _message(response: requests.Response) -> str:
    """The vendor's own words; the status's when there are none (HTML of a proxy, nothing)."""
    try:
        return Problem.model_validate_json(response.content).message
    except ValidationError:
        return response.reason or "no reason given"


def _oauth_code(response: requests.Response) -> str | None:
    """The error code of RFC 6749 §5.2; nothing else of that body is repeated, it may hold what we sent."""
    try:
        code = OAuthProblem.model_validate_json(response.content).error
    except ValidationError:
        return None
    return code if _CODE.fullmatch(code) else None
