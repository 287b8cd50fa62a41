"""Tokens: where they come from, how few are asked for, what their refusals mean. Vendor sheet §1, §2."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, TransientError
from syncline.model import Write
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoConfig, ZohoSink
from syncline_zoho.config import ACCOUNTS
from syncline_zoho.simulator import ZohoSimulator
from syncline_zoho.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN

Open = Callable[..., ZohoSink]
SECRETS = {"client_id": "c", "client_secret": "hush", "refresh_token": "hush"}
WRITE = Write("p", ("Syncline_Key", "k"), {"Last_Name": "R", "Company": "C"})


def test_check_names_the_account_and_the_user(open_sink: Open, crm: ZohoSimulator) -> None:
    account = open_sink().check()
    assert (account.id, account.name) == ("712345678", "Simulated CRM")
    assert account.details["user"] == "5725767000000411001"
    assert crm.counters()["calls"] == 3  # token, organization, and once for ever the user


def test_many_short_runs_share_one_token(open_sink: Open, crm: ZohoSimulator) -> None:
    """Ten tokens in ten minutes is all there is; a run a minute would use them up."""
    for _ in range(12):
        assert open_sink().check().name == "Simulated CRM"
    assert crm.tokens.issued == 1


def test_a_token_is_renewed_before_its_hour_is_over(open_sink: Open, crm: ZohoSimulator) -> None:
    sink = open_sink()
    sink.check()
    crm.advance(timedelta(minutes=54))
    sink.check()
    assert crm.tokens.issued == 1
    crm.advance(timedelta(minutes=2))
    crm.reset_counters()
    open_sink().check()
    assert (crm.tokens.issued, crm.counters()["calls"]) == (2, 2)


def test_without_what_was_kept_the_eleventh_token_is_refused_as_weather(open_sink: Open, crm: ZohoSimulator) -> None:
    for _ in range(10):
        open_sink({}).check()
    with pytest.raises(RateLimitError, match="too many tokens") as caught:
        open_sink({}).check()
    assert caught.value.retry_after == timedelta(minutes=10)
    crm.advance(timedelta(minutes=11))
    assert open_sink({}).check()


def test_a_throttled_log_in_is_not_tried_again_by_everybody(open_sink: Open, crm: ZohoSimulator) -> None:
    """Asking goes on counting: the whole connection waits."""
    crm.tokens.per_window = 0
    sink = open_sink({})
    for _ in range(3):
        with pytest.raises(RateLimitError):
            sink.check()
    assert crm.counters()["calls"] == 1


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"token": "t"}', '{"token": 1, "api_url": 2, "until": "x"}'])
def test_what_was_kept_by_another_version_is_no_obstacle(open_sink: Open, kept: str) -> None:
    assert open_sink({"access_token": kept, "user": "nonsense"}).check()


def test_a_token_of_other_credentials_is_not_used(open_sink: Open, crm: ZohoSimulator) -> None:
    keep: dict[str, str] = {}
    open_sink(keep).check()
    with pytest.raises(AuthError, match="client_secret"):
        open_sink(keep, client_secret="another-secret").check()
    assert open_sink(keep).check()


def test_calls_go_where_the_token_says(open_sink: Open, crm: ZohoSimulator) -> None:
    """An account lives in one data centre, and the answer names its address."""
    body = {"access_token": "t", "api_domain": "https://api.sandbox.invalid", "expires_in": 3600}
    crm.faults = [Fault("status", on="POST */token", status=200, body=body)]
    sink = open_sink({})
    with pytest.raises(TransientError):
        sink.check()
    assert sink.client._tokens.current().api_url == "https://api.sandbox.invalid"


def test_the_address_can_be_set_for_a_sandbox(open_sink: Open, crm: ZohoSimulator) -> None:
    body = {"access_token": "t", "api_domain": "https://www.zohoapis.invalid", "expires_in": 3600}
    crm.faults = [Fault("status", on="POST */token", status=200, body=body)]
    sink = open_sink({}, api_url=crm.url)
    assert sink.client._tokens.current().api_url == crm.url


def test_a_sandbox_that_is_set_later_gets_what_is_written_from_then_on(open_sink: Open, crm: ZohoSimulator) -> None:
    """What was kept still led to the real account, for the rest of its hour."""
    keep: dict[str, str] = {}
    open_sink(keep).check()
    assert open_sink(keep, api_url="https://sandbox.zohoapis.invalid").client._tokens.current().api_url == (
        "https://sandbox.zohoapis.invalid"
    )
    assert open_sink(keep).client._tokens.current().api_url == crm.url


@pytest.mark.parametrize(
    "address", ["http://www.zohoapis.com", "http://127.0.0.1.evil.example", "http://localhost.evil", "http://10.0.0.1"]
)
def test_no_token_leaves_this_machine_unencrypted(open_sink: Open, crm: ZohoSimulator, address: str) -> None:
    body = {"access_token": "t", "api_domain": address, "expires_in": 3600}
    crm.faults = [Fault("status", on="POST */token", status=200, body=body)]
    with pytest.raises(AuthError, match="not https"):
        open_sink({}).check()
    assert crm.counters()["calls"] == 1


@pytest.mark.parametrize("centre", list(ACCOUNTS))
def test_every_data_centre_has_its_own_address_for_tokens(centre: Any) -> None:
    config = ZohoConfig.model_validate({**SECRETS, "data_center": centre})
    assert config.token_url == f"{ACCOUNTS[centre]}/oauth/v2/token"


@pytest.mark.parametrize(
    ("body", "status", "expected", "told"),
    [
        ({"error": "invalid_code"}, 200, AuthError, "authorize the app again"),
        ({"error": "invalid_client"}, 200, AuthError, "data_center"),
        ({"error": "invalid_client_secret"}, 200, AuthError, "client_secret"),
        ({"error": "general_error"}, 200, AuthError, "refresh_token"),
        ({"error": "unsupported_grant_type"}, 200, AuthError, "unsupported"),
        ({"error": "invalid_code", "access_token": "t", "api_domain": "https://x"}, 200, AuthError, "invalid_code"),
        ({"error": "Access Denied", "error_description": "Too many.", "status": "failure"}, 400, RateLimitError, "Too"),
        ("<html>busy</html>", 503, TransientError, "503"),
        ("<html>hello</html>", 200, TransientError, "not JSON"),
        ({"hello": "world"}, 200, TransientError, "access_token"),
        ("", 429, RateLimitError, "429"),
    ],
    ids=lambda v: v.get("error") if isinstance(v, dict) else None,
)
def test_refusals_of_the_token_endpoint(
    open_sink: Open, crm: ZohoSimulator, body: Any, status: int, expected: type[Exception], told: str
) -> None:
    """Most of them come with HTTP 200."""
    crm.faults = [Fault("status", on="POST */token", status=status, body=body)]
    with pytest.raises(expected, match=told) as caught:
        open_sink({}).check()
    assert type(caught.value) is expected
    assert CLIENT_SECRET not in str(caught.value)
    assert REFRESH_TOKEN not in str(caught.value)


def test_the_secrets_go_in_the_body_and_not_in_the_address(
    open_sink: Open, crm: ZohoSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    token = ZohoSimulator.token
    monkeypatch.setattr(ZohoSimulator, "token", lambda self, request: (seen.append(request), token(self, request))[1])
    open_sink({}).check()
    assert seen[0].query_string == b""
    assert seen[0].form["client_id"] == CLIENT_ID


def test_an_expired_token_is_renewed_once_and_the_write_replayed(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.expire_sessions()
    assert sink.upsert("Leads", [WRITE])[0].ok
    assert (crm.counters()["calls"], crm.counters()["write_calls"]) == (3, 1)  # refused, token, again


def test_a_token_that_another_run_renewed_is_used(open_sink: Open, crm: ZohoSimulator) -> None:
    mine, others = open_sink(), open_sink()
    mine.check()
    crm.expire_sessions()
    others.check()
    mine.check()
    assert crm.tokens.issued == 2


def test_a_token_that_is_refused_when_new_is_an_auth_error_and_not_a_loop(open_sink: Open, crm: ZohoSimulator) -> None:
    crm.tokens.calls_per_token = 0
    with pytest.raises(AuthError, match="although the token is new"):
        open_sink({}).check()
    assert crm.counters()["calls"] == 4  # two tokens, two refusals


def test_a_revoked_refresh_token_pauses_the_connection(open_sink: Open, crm: ZohoSimulator) -> None:
    sink = open_sink()
    sink.check()
    crm.tokens.revoke()
    with pytest.raises(AuthError, match="authorize the app again"):
        sink.check()


def test_many_threads_renew_once(sink: ZohoSink, crm: ZohoSimulator) -> None:
    crm.expire_sessions()
    issued = crm.tokens.issued
    ready = threading.Barrier(4)
    found: list[str] = []

    def look() -> None:
        ready.wait()
        found.append(sink.check().name)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["Simulated CRM"] * 4
    assert crm.tokens.issued == issued + 1


def test_tokens_that_wear_out_in_the_middle_of_a_run_are_renewed_by_one_thread_each(
    open_sink: Open, crm: ZohoSimulator
) -> None:
    """Ten tokens in ten minutes are all there are: 96 calls of four threads and two processes, twelve a token."""
    crm.tokens.calls_per_token = 12
    sinks = [open_sink(), open_sink()]
    failed: list[Exception] = []
    ready = threading.Barrier(4)

    def work(number: int) -> None:
        sink = sinks[number % 2]
        ready.wait()
        try:
            for at in range(12):
                sink.client.read("GET", "org")
                key = f"{number}-{at}"
                row = {"Last_Name": "R", "Company": "C", "Email": f"{key}@x.example"}
                sink.client.call("POST", "Leads/upsert", body={"data": [row], "trigger": []}).items("data", 1)
        except ConnectorError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert crm.counters()["upserts"] == 48, "nothing was written twice, nothing left out"
    assert 8 <= crm.tokens.issued <= 10


def test_a_version_that_is_not_there_says_what_to_set(open_sink: Open) -> None:
    with pytest.raises(ConfigError, match="api_version"):
        open_sink(api_version="v9").check()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data_center": "mars"}, "us"),
        ({"notify_url": "https://x.example"}, "notify_token"),
        ({"notify_url": "https://x.example", "notify_token": "hush" * 13}, "52 characters"),
        ({"triggers": ["everything"]}, "workflow"),
        ({"key_field": "Syncline__c"}, "key_field"),
        ({"key_field": "A_name_that_is_too_long_for_it"}, "key_field"),
        ({"accounts_url": "http://accounts.zoho.eu"}, "https"),
        ({"api_url": "sandbox.zohoapis.eu"}, "https"),
        ({"api_url": "ftp://localhost"}, "https"),
    ],
    ids=["data centre", "no token", "long token", "trigger", "name", "long name", "plain", "no scheme", "ftp"],
)
def test_settings_that_cannot_work_are_refused_without_their_secrets(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as caught:
        ZohoConfig.model_validate({**SECRETS, **given})
    assert "hush" not in str(caught.value)
