"""What an answer of Instapage means, row by row: the statuses are those of the reference (vendor sheet, §1)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.testing.simulator import Fault
from syncline_instapage.errors import GoneError


def document(title, details=""):
    return {"title": title, "details": details, "meta": {"requestedUserId": 4379}}


STATUSES = [
    pytest.param(400, document("Bad Request"), ConnectorError, id="400"),
    pytest.param(401, document("Unauthorized"), AuthError, id="401"),
    pytest.param(401, "", AuthError, id="401 without a body"),
    pytest.param(403, document("Forbidden"), ConnectorError, id="403"),
    pytest.param(404, document("Not Found"), GoneError, id="404"),
    pytest.param(409, document("Conflict"), ConnectorError, id="409"),
    pytest.param(413, "", ConnectorError, id="413"),
    pytest.param(422, document("Unprocessable"), ConnectorError, id="422"),
    pytest.param(429, document("Too Many Requests"), RateLimitError, id="429"),
    pytest.param(500, document("Internal Server Error"), TransientError, id="500"),
    pytest.param(502, "<html>Bad Gateway</html>", TransientError, id="502 HTML of a proxy"),
    pytest.param(503, document("Service Unavailable"), TransientError, id="503"),
    pytest.param(408, "", TransientError, id="408"),
]


@pytest.mark.parametrize(("status", "body", "error"), STATUSES)
def test_every_status_has_its_error(simulator, connect, status, body, error):
    simulator.faults = [Fault("status", status=status, body=body)]
    with pytest.raises(ConnectorError) as caught:
        connect(simulator).check()
    assert type(caught.value) is error
    assert f"HTTP {status}" in str(caught.value)
    assert "GET /workspaces" in str(caught.value)


def test_the_vendors_own_words_are_passed_on(simulator, connect):
    simulator.faults = [Fault("status", status=400, body=document("Bad Request", "pages: at most 100"))]
    with pytest.raises(ConnectorError, match="Bad Request: pages: at most 100"):
        connect(simulator).check()


def test_meta_may_be_an_empty_list(simulator, connect):
    simulator.faults = [Fault("status", status=400, body={"title": "Bad Request", "details": None, "meta": []})]
    with pytest.raises(ConnectorError, match="HTTP 400: Bad Request"):
        connect(simulator).check()


def test_a_redirect_is_a_wrong_address(simulator, connect):
    """Followed, it would carry the token elsewhere."""
    simulator.faults = [Fault("status", status=301, headers={"Location": "http://elsewhere.example/"})]
    with pytest.raises(ConfigError, match="base_url must be"):
        connect(simulator).check()


@pytest.mark.parametrize("kind", ["html", "truncated", "cut_off", "drop_before", "drop_after"])
def test_half_an_answer_is_weather(simulator, connect, kind):
    simulator.faults = [Fault(kind, status=200)]
    with pytest.raises(TransientError):
        connect(simulator).check()


def test_retry_after_of_an_outage_is_passed_on(simulator, connect):
    simulator.faults = [Fault("status", status=503, headers={"Retry-After": "40"})]
    with pytest.raises(TransientError) as caught:
        connect(simulator).check()
    assert caught.value.retry_after == timedelta(seconds=40)


def test_no_error_shows_the_token(simulator, connect):
    source = connect(simulator, token="another-token-that-is-secret")
    with pytest.raises(AuthError) as caught:
        source.check()
    assert "another-token" not in f"{caught.value} {caught.value!r} {source.config!r}"


def test_a_success_is_any_2xx(simulator, connect):
    """The vendor's statuses are uneven."""
    simulator.faults = [
        Fault("status", status=status, body={"data": [], "meta": {"pagination": {"nextPage": None}}})
        for status in (201, 202)
    ]
    for _ in range(2):
        with pytest.raises(ConfigError, match="no workspace"):
            connect(simulator).check()
