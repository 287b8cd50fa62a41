"""What every documented status means to the host (vendor sheet §1)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import requests

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline_unbounce.errors import GoneError, refuse

NOT_FOUND = {"message": "Not Found", "documentation": "https://api.unbounce.com/doc"}


def _answer(status, body=b"", **headers):
    response = requests.Response()
    response.status_code = status
    response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, ConfigError),
        (400, ConnectorError),
        (401, AuthError),
        (403, AuthError),
        (404, GoneError),
        (408, TransientError),
        (409, ConnectorError),
        (415, ConnectorError),
        (422, ConnectorError),
        (429, RateLimitError),
        (500, TransientError),
        (503, TransientError),
    ],
)
def test_every_documented_status_has_its_class(status, error):
    with pytest.raises(ConnectorError) as caught:
        refuse(_answer(status, {"message": "Said so"}), where="landing: GET /pages")
    assert type(caught.value) is error
    assert f"landing: GET /pages: HTTP {status}: Said so" in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_is_none_of_them(status):
    refuse(_answer(status), where="")


def test_the_observed_body_is_repeated():
    """Observed by another project (vendor sheet §1)."""
    with pytest.raises(GoneError, match="HTTP 404: Not Found"):
        refuse(_answer(404, NOT_FOUND), where="")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": ""}', b'{"message": 7}', b"\xff"])
def test_any_other_body_does_no_harm(body):
    with pytest.raises(TransientError, match="HTTP 502: no reason given"):
        refuse(_answer(502, body), where="")


@pytest.mark.parametrize(("headers", "wait"), [({}, 60), ({"Retry_After": "7"}, 7)], ids=["none", "told"])
def test_429_asks_for_a_minute_unless_it_says_otherwise(headers, wait):
    with pytest.raises(RateLimitError) as caught:
        refuse(_answer(429, **headers), where="")
    assert caught.value.retry_after == timedelta(seconds=wait)


def test_the_vendors_request_id_is_kept():
    with pytest.raises(TransientError) as caught:
        refuse(_answer(500, X_Request_Id="r-1"), where="")
    assert caught.value.request_id == "r-1"
