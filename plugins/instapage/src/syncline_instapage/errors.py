"""What Instapage's answers mean to the host. One place: `refuse` raises for whatever is not a success.

The vendor says to go by the HTTP status; its documented errors are 400, 401, 403, 404, 409, 413, 422, 429, 500 and 503
(reference, transcribed 2026-08). Successes are uneven (200, 201, 202, 204): any 2xx is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import requests
from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.sdk.http import request_id_of, retry_after_of
from syncline_instapage.payloads import ErrorDocument

__all__ = ["GoneError", "refuse"]

_ADVICE: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        "; the token has expired, was revoked, or its owner has left: make a new one, better of a user who stays"
    ),
    HTTPStatus.FORBIDDEN: "; the token's owner may not read this: have them invited to the workspace",
}
_WEATHER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})


class GoneError(ConnectorError):
    """404: the workspace or a page is not, or no longer, there."""


def refuse(response: requests.Response, *, where: str) -> None:
    """Return when the answer is a success; raise the error it means when it is not."""
    status = response.status_code
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    said = _said(response)
    words = f"HTTP {status}: {said}" if said else f"HTTP {status} {response.reason or ''}".strip()
    trace = request_id_of(response)
    if status < HTTPStatus.BAD_REQUEST:
        raise ConfigError(f"{words}; base_url must be https://api.instapage.com/v1", where=where)
    if status == HTTPStatus.TOO_MANY_REQUESTS:  # of the minute or, with hours in Retry-After, of the day
        raise RateLimitError(words, retry_after=retry_after_of(response), where=where, request_id=trace)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _WEATHER:
        raise TransientError(words, retry_after=retry_after_of(response), where=where, request_id=trace)
    raise _error(status)(words + _ADVICE.get(status, ""), where=where, request_id=trace)


def _error(status: int) -> type[ConnectorError]:
    if status == HTTPStatus.UNAUTHORIZED:
        return AuthError
    return GoneError if status == HTTPStatus.NOT_FOUND else ConnectorError


def _said(response: requests.Response) -> str:
    """The vendor's own words; nothing when the body is something else (HTML of a proxy, nothing)."""
    try:
        return ErrorDocument.model_validate_json(response.content).words()
    except ValidationError:
        return ""
