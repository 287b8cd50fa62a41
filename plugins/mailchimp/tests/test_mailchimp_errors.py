"""What an answer of Mailchimp means, row by row: the table is the vendor's error glossary (Marketing API, Errors)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.testing.simulator import Fault
from syncline_mailchimp.errors import GoneError, InvalidError


def _problem(status, title, detail="", **more):
    return {"type": "…", "title": title, "status": status, "detail": detail, "instance": "3b4dcb40", **more}


GLOSSARY = [
    pytest.param(400, _problem(400, "Bad Request"), InvalidError, id="400 Bad Request"),
    pytest.param(400, _problem(400, "Invalid Resource"), InvalidError, id="400 Invalid Resource"),
    pytest.param(400, _problem(400, "Invalid Action"), InvalidError, id="400 Invalid Action"),
    pytest.param(400, _problem(400, "JSON Parse Exception"), InvalidError, id="400 JSON Parse Exception"),
    pytest.param(401, _problem(401, "API Key Invalid"), AuthError, id="401 API Key Invalid"),
    pytest.param(401, "", AuthError, id="401 without a body"),
    pytest.param(403, _problem(403, "Forbidden"), ConnectorError, id="403 Forbidden"),
    pytest.param(403, _problem(403, "User Disabled"), ConnectorError, id="403 User Disabled"),
    pytest.param(403, "<html>Forbidden</html>", RateLimitError, id="403 with HTML is throttling"),
    pytest.param(403, "", RateLimitError, id="403 with nothing is throttling"),
    pytest.param(404, _problem(404, "Resource Not Found"), GoneError, id="404"),
    pytest.param(405, _problem(405, "Method Not Allowed"), ConnectorError, id="405"),
    pytest.param(414, _problem(414, "Resource Nesting Too Deep"), ConnectorError, id="414"),
    pytest.param(422, _problem(422, "InvalidMethodOverride"), ConnectorError, id="422"),
    pytest.param(426, _problem(426, "HTTPS required"), ConfigError, id="426 plain http"),
    pytest.param(429, _problem(429, "TooManyRequests"), RateLimitError, id="429"),
    pytest.param(500, _problem(500, "InternalServerError"), TransientError, id="500"),
    pytest.param(502, "<html>Bad Gateway</html>", TransientError, id="502 HTML of the CDN"),
    pytest.param(503, "", TransientError, id="503"),
]


@pytest.mark.parametrize(("status", "body", "error"), GLOSSARY)
def test_every_status_of_the_glossary_has_its_error(simulate, connect, status, body, error):
    simulator = simulate(people=1)
    simulator.faults.append(Fault("status", status=status, body=body))
    with pytest.raises(ConnectorError) as caught:
        connect(simulator).check()
    assert type(caught.value) is error
    assert caught.value.where == "newsletter: GET /"


def test_an_error_speaks_in_the_vendors_words_and_names_its_request(simulate, connect):
    body = _problem(
        400, "Invalid Resource", "Your merge fields were invalid.", errors=[{"field": "LTV", "message": "no"}]
    )
    simulator = simulate(people=1)
    simulator.faults.append(Fault("status", status=400, body=body, headers={"X-Request-Id": "14c40d88"}))
    with pytest.raises(ConnectorError) as caught:
        connect(simulator).check()
    assert str(caught.value) == (
        "newsletter: GET /: HTTP 400: Invalid Resource: Your merge fields were invalid.: LTV: no (request 14c40d88)"
    )


def test_a_retry_after_is_honoured_should_one_ever_come(simulate, connect):
    simulator = simulate(people=1)
    simulator.faults.append(Fault("status", status=429, headers={"Retry-After": "9"}))
    with pytest.raises(RateLimitError) as caught:
        connect(simulator).check()
    assert caught.value.retry_after == timedelta(seconds=9)


@pytest.mark.parametrize("kind", ["too_many", "quota"])
def test_mailchimps_own_ways_of_slowing_us_down(simulate, connect, kind):
    """429 with a problem document, and 403 without one."""
    simulator = simulate(people=1, faults=[{"kind": kind, "times": None, "seconds": 60}])
    with pytest.raises(RateLimitError) as caught:
        connect(simulator).check()
    assert caught.value.retry_after is None


def test_without_the_header_the_problems_instance_names_the_request(simulate, connect):
    simulator = simulate(people=1)
    simulator.faults.append(Fault("status", status=500, body=_problem(500, "InternalServerError")))
    with pytest.raises(TransientError) as caught:
        connect(simulator).check()
    assert caught.value.request_id == "3b4dcb40"


@pytest.mark.parametrize(
    ("trigger", "error"),
    [("APIKeyMissing", AuthError), ("TooManyRequests", RateLimitError), ("InternalServerError", TransientError)],
)
def test_errors_can_be_triggered_as_the_vendor_offers(simulate, connect, trigger, error):
    """`X-Trigger-Error` is the vendor's own test hook."""
    source = connect(simulate(people=1))
    source.context.http.session.headers["X-Trigger-Error"] = trigger
    with pytest.raises(error):
        source.check()


def test_a_wrong_key_is_refused_and_never_shown(simulate, connect):
    source = connect(simulate(people=1), api_key="feedfeedfeedfeedfeedfeedfeedfeed-us1")
    with pytest.raises(AuthError, match="API Key Invalid") as caught:
        source.check()
    assert "feedfeed" not in f"{caught.value!s} {caught.value!r} {source.config!r}"


def test_a_dead_token_is_told_by_what_the_metadata_lacks(simulate, connect):
    """The metadata answers 200 for it all the same (singer tap-mailchimp)."""
    simulator = simulate(people=1)
    source = connect(simulator, simulator.oauth_settings, access_token="revoked")
    with pytest.raises(AuthError, match="authorise again"):
        source.check()
    assert source.context.http.metrics.statuses == {"200": 1}


def test_a_redirect_to_plain_http_is_not_followed(simulate, connect):
    """The bare `/3.0` redirects to http:// (recorded 2016); the key would travel in clear."""
    simulator = simulate(people=1)
    simulator.faults.append(Fault("status", status=301, headers={"Location": "http://elsewhere.example/3.0/"}))
    with pytest.raises(ConfigError, match="base_url must be https"):
        connect(simulator).check()
    assert simulator.counters()["calls"] == 1


@pytest.mark.parametrize("kind", ["truncated", "drop_before", "drop_after"])
def test_an_answer_that_breaks_off_may_succeed_later(simulate, connect, kind):
    simulator = simulate(people=1)
    simulator.faults.append(Fault(kind))
    source = connect(simulator)
    with pytest.raises(TransientError):
        source.check()
    assert source.check().name == "Example Co"


def test_an_answer_of_somebody_else_says_so(simulate, connect):
    simulator = simulate(people=1)
    simulator.faults.append(Fault("status", status=200, body={"hello": "world"}))
    with pytest.raises(ConnectorError, match=r"account_id: Field required.*is base_url Mailchimp's"):
        connect(simulator).check()
