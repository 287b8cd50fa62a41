"""The one place where trouble of HubSpot, or of its client library, becomes an error of ours.

Statuses, bodies and their treatment: vendor sheet §3, §4 and §11 (developers.hubspot.com, error handling and usage
guidelines, read 2026-11).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

import requests
from hubspot.crm.lists.exceptions import ApiException as ListsError
from hubspot.crm.lists.exceptions import OpenApiException as ListsMisuse
from hubspot.crm.objects.exceptions import ApiException as ObjectsError
from hubspot.crm.objects.exceptions import OpenApiException as ObjectsMisuse
from hubspot.crm.properties.exceptions import ApiException as PropertiesError
from hubspot.crm.properties.exceptions import OpenApiException as PropertiesMisuse
from hubspot.crm.schemas.exceptions import ApiException as SchemasError
from hubspot.crm.schemas.exceptions import OpenApiException as SchemasMisuse
from pydantic import ValidationError

from syncline.errors import AuthError, ConnectorError, RateLimitError, SchemaDriftError, TransientError
from syncline.sdk.http import request_id_of, retry_after_of
from syncline_hubspot.payloads import ErrorBody, Problem, TokenProblem

__all__ = [
    "RETRYABLE",
    "RefusedError",
    "ScopeError",
    "SessionExpiredError",
    "drifted_field",
    "error_of",
    "token_error",
    "translated",
]

RETRYABLE: Final = frozenset(
    {"RATE_LIMITS", "LOCKED", "INTERNAL_ERROR", "SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT", "CANCELED"}
)
"""Categories of weather on a single input of a batch. None was seen recorded; the words are a guess, and harmless."""

_DRIFT: Final = frozenset({"PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE"})
_ROLLING_PAUSE: Final = timedelta(seconds=10)
_SEARCH_PAUSE: Final = timedelta(seconds=1)
_DAILY_PAUSE: Final = timedelta(hours=1)
"""The day ends at midnight of the account's time zone. No run waits that long: the next one asks again."""
_LOCKED_PAUSE: Final = timedelta(seconds=2)
_MOVING_PAUSE: Final = timedelta(minutes=10)
_EDGE: Final = {
    521: "the origin refuses the edge",
    522: "the edge cannot connect to the origin",
    523: "the edge cannot reach the origin",
    524: "the origin took too long for the edge",
    525: "the edge and the origin agree on no TLS",
    526: "the origin's certificate is invalid",
}
_WEATHER_OF_TOKENS: Final = frozenset({"server_error", "temporarily_unavailable"})


class SessionExpiredError(AuthError):
    """401 on a data call: the client renews its token and replays once, then this stands."""


class ScopeError(AuthError):
    """403: the app lacks a scope, or the account an edition."""


class RefusedError(ConnectorError):
    """A request refused for good, with what the vendor said of it."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        category: str = "",
        problems: Sequence[Problem] = (),
        where: str | None = None,
        request_id: str | None = None,
    ) -> None:
        self.status = status
        self.category = category
        self.problems = tuple(problems)
        super().__init__(message, where=where, request_id=request_id)


@contextlib.contextmanager
def translated(where: str) -> Iterator[None]:
    """Whatever is raised inside leaves as one of our errors; ours pass through.

    Every API of the library has exceptions of its own, with nothing in common but their shape.
    """
    try:
        yield
    except (ObjectsError, PropertiesError, ListsError, SchemasError) as error:
        raise error_of(_response(error), where=where) from None  # its text holds all headers and the body
    except (ObjectsMisuse, PropertiesMisuse, ListsMisuse, SchemasMisuse) as error:
        raise ConnectorError(f"the library refuses the request: {error}", where=where) from error
    except ValidationError as error:
        raise TransientError(f"unexpected answer: {_shape(error)}", where=where) from error


def _response(
    error: ObjectsError | PropertiesError | ListsError | SchemasError,
) -> requests.Response:
    """The answer that the library has put into its exception."""
    response = requests.Response()
    response.status_code = error.status or 0
    response.reason = error.reason or ""
    response.headers.update(error.headers or {})
    body = error.body or ""
    response._content = body.encode() if isinstance(body, str) else body
    return response


def _shape(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:3])


def error_of(response: requests.Response, *, where: str) -> ConnectorError:
    """The error that a refused request means."""
    status = response.status_code
    body = _body(response)
    request_id = body.correlation_id or request_id_of(response)
    text = _text(response, body)
    if status == 401:
        return SessionExpiredError(text, where=where, request_id=request_id)
    if status == 403:
        return ScopeError(f"{text}{_scopes(body)}", where=where, request_id=request_id)
    if status == 429:
        told = retry_after_of(response)
        pause = _pause_of(body) if told is None else told
        return RateLimitError(_of_quota(text, body), retry_after=pause, where=where, request_id=request_id)
    if status in (423, 477) or status >= 500 or status in (0, 408, 420, 425):
        asked = retry_after_of(response) or {423: _LOCKED_PAUSE, 477: _MOVING_PAUSE}.get(status)
        return TransientError(text, retry_after=asked, where=where, request_id=request_id)
    if field := drifted_field(body.problems):
        message = f"{text}. The property is gone, renamed, or not to be written."
        return SchemaDriftError(message, field=field, where=where, request_id=request_id)
    return RefusedError(
        text, status=status, category=body.category, problems=body.problems, where=where, request_id=request_id
    )


def _body(response: requests.Response) -> ErrorBody:
    """The documented body; an empty one for pages of the edge and whatever else."""
    try:
        return ErrorBody.model_validate(json.loads(response.content))
    except (ValueError, ValidationError):
        return ErrorBody()


def _text(response: requests.Response, body: ErrorBody) -> str:
    status = response.status_code
    if not body.message:
        told = _EDGE.get(status) or response.reason or ""
        return f"HTTP {status} {told}".rstrip() + " without the documented body"
    if body.category == "VALIDATION_ERROR" and body.problems:
        told = "; ".join(dict.fromkeys(f"{p.property_name}: {p.message} ({p.code})" for p in body.problems))
        return f"VALIDATION_ERROR: {told}"
    return f"{body.category}: {body.message}" if body.category else body.message


def _pause_of(body: ErrorBody) -> timedelta:
    """What the policy that was hit asks for. A search's answer names none; recorded ones say `secondly limit`."""
    policy = body.policy.upper()
    if policy == "DAILY" or "daily limit" in body.message:
        return _DAILY_PAUSE
    if policy == "SECONDLY" or "secondly limit" in body.message:
        return _SEARCH_PAUSE
    return _ROLLING_PAUSE


def _of_quota(text: str, body: ErrorBody) -> str:
    policy = f" ({body.policy})" if body.policy else ""
    if _pause_of(body) == _DAILY_PAUSE:
        return f"{text}{policy} The account's calls of this day are used up."
    return f"{text}{policy}"


def _scopes(body: ErrorBody) -> str:
    found = [
        str(scope)
        for problem in body.errors
        for name in ("requiredGranularScopes", "missingScopes", "requiredScopes")
        for scope in problem.context.get(name, ())
    ]
    needed = f": {', '.join(dict.fromkeys(found))}" if found else ""
    return f". Give the app or the key the scope it lacks{needed}, or an edition that has this."


def drifted_field(problems: Sequence[Problem]) -> str | None:
    """The property that is not there or not to be written; None when something else is wrong."""
    return next((p.property_name for p in problems if p.code in _DRIFT and p.property_name), None)


def token_error(response: requests.Response, *, where: str) -> ConnectorError:
    """The error that a refusal of the token endpoint means (vendor sheet §2)."""
    status, request_id = response.status_code, request_id_of(response)
    try:
        problem = TokenProblem.model_validate(json.loads(response.content))
    except (ValueError, ValidationError):
        problem = TokenProblem()
    told = problem.error_description or problem.message
    text = ": ".join(filter(None, (problem.status or problem.error, told))) or f"HTTP {status}"
    if status == 429:
        pause = retry_after_of(response) or _ROLLING_PAUSE
        return RateLimitError(text, retry_after=pause, where=where, request_id=request_id)
    told_why = problem.status or problem.error or status == 401
    refused = 400 <= status < 500 and status not in (408, 423, 425, 477) and told_why
    if not refused or problem.error in _WEATHER_OF_TOKENS:
        return TransientError(text, retry_after=retry_after_of(response), where=where, request_id=request_id)
    hint = "Check the settings under login:, and that the app is still installed in the account."
    return AuthError(f"{text}. {hint}", where=where, request_id=request_id)
