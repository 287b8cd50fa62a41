"""Values in and out, and what errors mean. Rules: vendor sheet §4 and §6."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import requests

from syncline.errors import ConnectorError, ContractError, RateLimitError, SchemaDriftError, TransientError
from syncline.model import Field, Value
from syncline_hubspot.errors import RefusedError, ScopeError, SessionExpiredError, error_of
from syncline_hubspot.payloads import ErrorBody, Property
from syncline_hubspot.values import decode, field_of, milliseconds, moment_of, printed, split_several

CEST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (Decimal("12.50"), "12.5"),
        (Decimal("12.000000"), "12"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.0000001"), "0.0000001"),
        (Decimal("NaN"), "NaN"),
        (date(2026, 6, 1), "2026-06-01"),
        (datetime(2026, 6, 1, 10, 0, 0, 999_999, tzinfo=CEST), "2026-06-01T08:00:00.999Z"),
        ("  as typed ", "  as typed "),
    ],
)
def test_values_out(value: Value, expected: str) -> None:
    assert printed(value) == expected


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ContractError, match="time zone"):
        printed(datetime(2026, 6, 1))  # noqa: DTZ001  # that is the point


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("text", None, None),
        ("text", "", None),
        ("text", "5", "5"),
        ("number", "5", 5),
        ("number", "5.0", 5),
        ("number", "5.25", Decimal("5.25")),
        ("number", "a few", "a few"),
        ("number", "Infinity", "Infinity"),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("boolean", "yes", "yes"),
        ("date", "2026-06-01", date(2026, 6, 1)),
        ("date", "1780272000000", date(2026, 6, 1)),
        ("date", "soon", "soon"),
        ("datetime", "2026-03-09T12:00:00Z", datetime(2026, 3, 9, 12, tzinfo=UTC)),
        ("datetime", "1762212973632", datetime(2025, 11, 3, 23, 36, 13, 632_000, tzinfo=UTC)),
        ("datetime", "99999999999999999", "99999999999999999"),
        ("option", "lead", "lead"),
        ("options", "A;B", "A;B"),
    ],
)
def test_values_in(kind: Any, raw: str | None, expected: Value) -> None:
    """Both forms of a time occur in recorded answers; what spells nothing stays what it is."""
    found = decode(Field("f", kind), raw)
    assert (found, type(found)) == (expected, type(expected))


def test_milliseconds_are_exact() -> None:
    moment = datetime(2026, 6, 1, 8, 0, 0, 123_999, tzinfo=UTC)
    assert milliseconds(moment) == 1780300800123
    assert moment_of(str(milliseconds(moment))) == moment.replace(microsecond=123_000)


def test_lists_in_one_value() -> None:
    assert split_several("a@b.c; d@e.f;;") == ["a@b.c", "d@e.f"]
    assert split_several(None) == []


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"type": "phone_number"}, Field("p", "text", max_length=65_536)),
        ({"type": "object_coordinates"}, Field("p", "text", max_length=65_536)),
        ({"type": "number", "hasUniqueValue": True}, Field("p", "number", unique=True, scale=6)),
        ({"type": "string", "calculated": True}, Field("p", "text", writable=False, max_length=65_536)),
        ({"type": "enumeration", "externalOptions": True}, Field("p", "reference")),
        (
            {"type": "enumeration", "fieldType": "checkbox", "options": [{"label": "A", "value": "a"}]},
            Field("p", "options", options=("a",)),
        ),
        (
            {"type": "bool", "options": [{"label": "Yes", "value": "true"}, {"label": "No", "value": "false"}]},
            Field("p", "boolean"),
        ),
    ],
    ids=["phone", "unknown type", "unique number", "calculated", "external", "checkboxes", "bool"],
)
def test_properties_as_fields(definition: dict[str, Any], expected: Field) -> None:
    assert field_of(Property.model_validate({"name": "p", **definition})) == expected


def answer(status: int, body: Any = None, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = body.encode() if isinstance(body, str) else json.dumps(body or {}).encode()
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.mark.parametrize(
    ("status", "body", "kind", "seconds"),
    [
        (400, {"category": "VALIDATION_ERROR", "message": "no"}, RefusedError, None),
        (401, {"category": "EXPIRED_AUTHENTICATION", "message": "no"}, SessionExpiredError, None),
        (403, {"category": "MISSING_SCOPES", "message": "no"}, ScopeError, None),
        (404, {"category": "OBJECT_NOT_FOUND", "message": "no"}, RefusedError, None),
        (409, {"category": "CONFLICT", "message": "no"}, RefusedError, None),
        (414, None, RefusedError, None),
        (415, None, RefusedError, None),
        (423, {"message": "locked"}, TransientError, 2),
        (429, {"policyName": "TEN_SECONDLY_ROLLING", "message": "no"}, RateLimitError, 10),
        (429, {"policyName": "SECONDLY", "message": "no"}, RateLimitError, 1),
        (429, {"message": "You have reached your secondly limit."}, RateLimitError, 1),
        (429, {"policyName": "DAILY", "message": "no"}, RateLimitError, 3600),
        (429, {"message": "You have reached your daily limit."}, RateLimitError, 3600),
        (429, None, RateLimitError, 10),
        (477, None, TransientError, 600),
        *((status, "<html>", TransientError, None) for status in (408, 500, 502, 503, 504, *range(521, 527))),
    ],
)
def test_what_a_status_means(status: int, body: Any, kind: type[ConnectorError], seconds: float | None) -> None:
    error = error_of(answer(status, body), where="x")
    assert type(error) is kind
    told = getattr(error, "retry_after", None)
    assert (told.total_seconds() if told else None) == seconds


@pytest.mark.parametrize("status", [423, 429, 477, 503])
def test_retry_after_is_honoured_where_it_comes(status: int) -> None:
    for text, seconds in (("7", 7), ("0", 0)):
        error = error_of(answer(status, None, Retry_After=text), where="x")
        assert isinstance(error, TransientError)
        if seconds or status == 429:
            assert error.retry_after == timedelta(seconds=seconds)


def test_the_edge_says_what_is_wrong() -> None:
    told = error_of(answer(526, "<html>", CF_Ray="8d75"), where="crm: check")
    assert (
        str(told)
        == "crm: check: HTTP 526 the origin's certificate is invalid without the documented body (request 8d75)"
    )


def test_the_correlation_id_is_for_the_support_desk_only() -> None:
    """In the message it would make two alike refusals look different, and the host compares them."""
    body = {"message": "no", "category": "VALIDATION_ERROR", "correlationId": "c-1"}
    error = error_of(answer(400, body), where="x")
    assert (error.message, error.request_id) == ("VALIDATION_ERROR: no", "c-1")


def test_problems_are_found_in_errors_and_in_the_message() -> None:
    listed = 'Property values were not valid: [{"isValid":false,"message":"x","error":"READ_ONLY_VALUE","name":"a"}]'
    body = {"message": listed, "category": "VALIDATION_ERROR"}
    drift = error_of(answer(400, body), where="x")
    assert isinstance(drift, SchemaDriftError)
    assert drift.field == "a"
    for broken in (listed[:-3], f"{listed} and more", "Property values were not valid: [1]"):
        assert ErrorBody.model_validate({"message": broken}).problems == ()
        assert isinstance(error_of(answer(400, {"message": broken}), where="x"), RefusedError)
