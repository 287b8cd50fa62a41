"""Logging in, and staying logged in. Flows and their errors: vendor sheet §3; the library's behaviour: §12."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, RateLimitError, TransientError
from syncline.model import Outcome, Status, Write
from syncline.sdk import Context, Http
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceConfig, SalesforceSink
from syncline_salesforce.config import ClientCredentials, JwtBearer, RefreshToken
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, USERNAME

Open = Callable[..., SalesforceSink]


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """A private key and its public half, as PEM."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return secret.decode(), public.decode()


def test_client_credentials_log_in(open_sink: Open) -> None:
    account = open_sink().check()
    assert account.name == "Simulated Org"
    assert account.details["user"].startswith("005")
    assert account.details["api_calls_today"] == "1/1000000"
    assert account.server_time == datetime(2026, 6, 1, 8, tzinfo=UTC)


def test_check_costs_a_token_and_one_call(open_sink: Open, org: SalesforceSimulator) -> None:
    sink = open_sink()
    sink.check()
    assert org.counters()["calls"] == 2
    assert sink.context.http.metrics.calls == {"auth": 1, "read": 1}


def test_jwt_bearer_logs_in(open_sink: Open, org: SalesforceSimulator, keys: tuple[str, str]) -> None:
    org.tokens.jwt_public_key = keys[1]
    login = {"client_id": CLIENT_ID, "username": USERNAME, "private_key": keys[0]}
    assert open_sink(login=login).check().name == "Simulated Org"
    with pytest.raises(AuthError, match="user hasn't approved this consumer"):
        open_sink(login={**login, "username": "nobody@x.example"}).check()


def test_a_key_that_is_no_key_is_a_configuration_error(open_sink: Open, org: SalesforceSimulator) -> None:
    login = {"client_id": CLIENT_ID, "username": USERNAME, "private_key": "hunter2-secret"}
    with pytest.raises(ConfigError, match="PEM") as caught:
        open_sink(login=login).check()
    assert "hunter2" not in str(caught.value)
    assert not org.counters()


def test_a_rotated_refresh_token_is_kept_and_used(org: SalesforceSimulator) -> None:
    org.tokens.rotate = True
    keep: dict[str, str] = {}
    login = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
    for _ in range(3):
        _check_with(org, login, keep)
    assert keep["refresh_token"] != REFRESH_TOKEN


def test_a_newly_configured_refresh_token_beats_the_kept_one(org: SalesforceSimulator) -> None:
    keep = {"refresh_token": "dead", "refresh_token_for": "of another configuration"}
    _check_with(org, {"client_id": CLIENT_ID, "refresh_token": REFRESH_TOKEN}, keep)


def _check_with(org: SalesforceSimulator, login: dict[str, str], keep: dict[str, str]) -> None:
    config = SalesforceConfig.model_validate({"login": login, "login_url": org.url})
    http = Http("crm", sleep=lambda _: None)
    SalesforceSink(config, Context("crm", http, org.now, keep)).check()
    http.close()


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"error": "invalid_grant", "error_description": "authentication failure"}, 400, AuthError),
        ({"error": "invalid_client", "error_description": "invalid client credentials"}, 401, AuthError),
        ({"error": "inactive_user"}, 400, AuthError),
        ({"error": "rate_limit_exceeded"}, 400, RateLimitError),
        ({"error": "server_error"}, 400, TransientError),
        ({"error": "temporarily_unavailable"}, 400, TransientError),
        (
            {"error": "invalid_grant", "error_description": "token request is already being processed"},
            400,
            TransientError,
        ),
        ("<html>busy</html>", 503, TransientError),
        ("<html>who are you?</html>", 401, AuthError),
    ],
    ids=lambda v: v.get("error_description") or v["error"] if isinstance(v, dict) else None,
)
def test_refusals_of_the_token_endpoint(
    open_sink: Open, org: SalesforceSimulator, body: Any, status: int, expected: type[Exception]
) -> None:
    org.faults = [Fault("status", on="POST */oauth2/token", status=status, body=body)]
    with pytest.raises(expected) as caught:
        open_sink().check()
    assert type(caught.value) is expected
    assert CLIENT_SECRET not in str(caught.value)


def test_wrong_credentials_pause_the_connection_and_say_what_to_check(open_sink: Open) -> None:
    login = {"client_id": CLIENT_ID, "client_secret": "wrong-secret", "domain": "acme"}
    with pytest.raises(AuthError, match=r"invalid client credentials. Check the settings under login:") as caught:
        open_sink(login=login).check()
    assert "wrong-secret" not in str(caught.value)


def test_an_expired_session_is_renewed_once_and_the_write_replayed(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    org.expire_sessions()
    write = Write("p", ("Syncline_Key__c", "k"), {"LastName": "R", "Company": "C"})
    assert sink.upsert("Lead", [write])[0].ok
    assert dict(org.counters()) == {"calls": 3, "write_calls": 1, "upserts": 1}  # refused, token, again


def test_a_session_that_ends_between_two_pages_does_not_end_the_read(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    org.page_size = 10
    pages = sink.changes("Lead", ["LastName"], None)
    seen = len(next(pages).records)
    org.expire_sessions()
    seen += sum(len(page.records) for page in pages)
    assert seen == len(org.rows("Lead"))


def test_a_session_that_is_refused_when_new_is_an_auth_error_and_not_a_loop(
    open_sink: Open, org: SalesforceSimulator
) -> None:
    org.tokens.calls_per_session = 0
    with pytest.raises(AuthError, match="although the session is new"):
        open_sink().check()
    assert org.counters()["calls"] == 4  # two tokens, two refusals


def test_many_threads_renew_once(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.expire_sessions()
    issued = org.tokens.issued
    ready = threading.Barrier(4)
    found: list[str] = []

    def read() -> None:
        ready.wait()
        found.append(sink.check().name)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["Simulated Org"] * 4
    assert org.tokens.issued == issued + 1


def test_threads_that_write_while_the_session_ends_renew_once_and_write_once(
    sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    issued = org.tokens.issued
    org.faults = [Fault("expiry", on="PATCH *", after=3)]
    outcomes: list[Outcome] = []

    def write(number: int) -> None:
        fields = {"LastName": "R", "Company": "C"}
        outcomes.extend(sink.upsert("Lead", [Write(f"p{number}", ("Syncline_Key__c", f"k{number}"), fields)]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [o.status for o in outcomes] == [Status.CREATED] * 8
    assert org.tokens.issued == issued + 1
    assert org.counters()["upserts"] == 8


def test_one_connection_stays_below_the_limit_of_long_calls_also_of_a_developer_org(sink: SalesforceSink) -> None:
    """Calls of 20 seconds and more: 25 at once in production, 5 in a developer org (vendor sheet §5). Without counting
    which are long, no more than that are ever open."""
    assert sink.context.http._gate.throttle.concurrency <= 5


def test_a_token_is_not_sent_to_a_plain_http_host(open_sink: Open, org: SalesforceSimulator) -> None:
    body = {"access_token": "t", "instance_url": "http://evil.example", "id": "x"}
    org.faults = [Fault("status", on="POST */oauth2/token", status=200, body=body)]
    with pytest.raises(AuthError, match="not https"):
        open_sink().check()


def test_a_retired_api_version_says_what_to_set(open_sink: Open) -> None:
    with pytest.raises(ConfigError, match="set api_version"):
        open_sink(api_version="30.0").check()


@pytest.mark.parametrize(
    ("login", "kind", "url"),
    [
        ({"client_secret": "s", "domain": "acme"}, ClientCredentials, "https://acme.my.salesforce.com"),
        ({"client_secret": "s", "domain": "a.my.salesforce.com"}, ClientCredentials, "https://a.my.salesforce.com"),
        ({"username": "u", "private_key": "k"}, JwtBearer, "https://login.salesforce.com"),
        ({"username": "u", "private_key": "k", "sandbox": True}, JwtBearer, "https://test.salesforce.com"),
        ({"refresh_token": "r"}, RefreshToken, "https://login.salesforce.com"),
    ],
    ids=["my domain", "whole host", "jwt", "jwt sandbox", "refresh token"],
)
def test_each_flow_has_its_own_host(login: dict[str, Any], kind: type, url: str) -> None:
    config = SalesforceConfig.model_validate({"login": {"client_id": "c", **login}})
    assert type(config.login) is kind
    assert config.token_url == f"{url}/services/oauth2/token"


@pytest.mark.parametrize(
    "login",
    [
        {"client_id": "c"},
        {"client_id": "c", "client_secret": "hush", "domain": "a", "private_key": "hush"},
        {"client_id": "c", "refresh_token": "hush", "domain": "a"},
        {"client_id": "c", "client_secrett": "hush", "domain": "a"},
    ],
    ids=["half a flow", "two flows", "refresh token and domain", "misspelt"],
)
def test_a_login_that_is_not_exactly_one_flow_is_refused_without_its_secret(login: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        SalesforceConfig.model_validate({"login": login})
    assert "hush" not in str(caught.value)
