"""Logging in: keys that last, tokens that end. Rules: vendor sheet §2."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from syncline.errors import AuthError, RateLimitError, TransientError
from syncline.model import Outcome, Status, Write
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotConfig, HubspotSink
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, SERVICE_KEY

Open = Callable[..., HubspotSink]


def oauth(**changes: str) -> dict[str, str]:
    return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN, **changes}


def test_check_names_the_portal_for_one_call(fresh: HubspotSink, open_sink: Open, portal: HubspotSimulator) -> None:
    by_key = open_sink(login={"token": SERVICE_KEY})
    account = by_key.check()
    assert (account.id, account.name) == ("148543157", "HubSpot portal 148543157")
    assert account.details["time_zone"] == "Europe/Rome"
    assert account.server_time == portal.now()
    assert portal.counters()["calls"] == 1
    fresh.check()
    assert portal.counters()["calls"] == 3  # and one for the token


def test_a_token_is_renewed_at_four_fifths_of_its_life(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    """`expires_in` is read, not assumed to be 1800."""
    for life in (1800, 600):
        portal.tokens.life = life
        portal.advance(timedelta(hours=1))
        fresh.check()
        issued = portal.tokens.issued
        portal.advance(timedelta(seconds=0.8 * life - 1))
        fresh.check()
        assert portal.tokens.issued == issued
        portal.advance(timedelta(seconds=1))
        fresh.check()
        assert portal.tokens.issued == issued + 1
    assert fresh.context.http.metrics.calls["auth"] == portal.tokens.issued


def test_a_token_that_is_refused_is_renewed_once(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    fresh.check()
    portal.expire_sessions()
    portal.reset_counters()
    fresh.check()
    assert portal.counters()["calls"] == 3  # refused, renewed, repeated
    portal.faults = [Fault("expiry", on="GET *", times=None)]
    with pytest.raises(AuthError, match="EXPIRED_AUTHENTICATION"):
        fresh.check()
    assert portal.tokens.issued == 3


def test_many_threads_fetch_one_token(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [Fault("slow", on="POST *token", seconds=0.05)]
    threads = [threading.Thread(target=fresh.check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert portal.tokens.issued == 1
    portal.expire_sessions()
    threads = [threading.Thread(target=fresh.check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert portal.tokens.issued == 2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"refresh_token": "gone"}, "BAD_REFRESH_TOKEN"),
        ({"client_id": "x"}, "BAD_CLIENT_ID"),
        ({"client_secret": "x"}, "BAD_CLIENT_SECRET"),
    ],
    ids=["refresh token", "client id", "client secret"],
)
def test_refused_credentials_say_what_to_check(open_sink: Open, changes: dict[str, str], word: str) -> None:
    with pytest.raises(AuthError, match=f"{word}.*still installed") as caught:
        open_sink(login=oauth(**changes)).check()
    assert not any(value in str(caught.value) for value in (REFRESH_TOKEN, CLIENT_SECRET))


def test_an_app_that_is_removed_from_the_account_is_told(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    portal.tokens.installed = False
    with pytest.raises(AuthError, match="BAD_REFRESH_TOKEN"):
        fresh.check()


def test_a_key_that_is_refused_is_not_tried_again(open_sink: Open, portal: HubspotSimulator) -> None:
    with pytest.raises(AuthError, match=r"INVALID_AUTHENTICATION.*check the settings"):
        open_sink(login={"token": "pat-eu1-withdrawn"}).check()
    assert portal.counters()["calls"] == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("html", status=502), TransientError),
        (Fault("status", status=200, body="<html>"), TransientError),
        (Fault("status", status=200, body={"token_type": "bearer"}), TransientError),
        (Fault("status", status=423), TransientError),
        (Fault("too_many"), RateLimitError),
        (Fault("status", status=401), AuthError),
        (Fault("status", status=400, body={"error": "temporarily_unavailable"}), TransientError),
    ],
    ids=["edge", "no JSON", "no token", "locked", "too many", "bare 401", "unavailable"],
)
def test_trouble_with_the_token_endpoint(
    fresh: HubspotSink, portal: HubspotSimulator, fault: Fault, kind: type[Exception]
) -> None:
    portal.faults = [Fault(**{**{n: getattr(fault, n) for n in Fault.__dataclass_fields__}, "on": "POST */token"})]
    with pytest.raises(kind) as caught:
        fresh.check()
    assert type(caught.value) is kind


def test_the_token_endpoint_can_be_another_one(open_sink: Open, portal: HubspotSimulator) -> None:
    for version in ("v3", "2026-03", "2026-09"):
        assert open_sink(token_url=f"{portal.url}/oauth/{version}/token").check().id == "148543157"


def test_the_old_token_endpoint_ends(open_sink: Open, portal: HubspotSimulator) -> None:
    """Switched off on 2027-02-16; it is where the client library would go."""
    portal.advance(timedelta(days=365))
    with pytest.raises(TransientError):
        open_sink(token_url=f"{portal.url}/oauth/v1/token").check()


def test_threads_that_write_while_the_session_ends_renew_once_and_write_once(
    sink: HubspotSink, portal: HubspotSimulator
) -> None:
    issued = portal.tokens.issued
    portal.faults = [Fault("expiry", on="POST *upsert", after=3)]
    outcomes: list[Outcome] = []

    def write(number: int) -> None:
        writes = [Write(f"p{number}", ("syncline_key", f"k{number}"), {"lastname": "R"})]
        outcomes.extend(sink.upsert("contacts", writes))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [o.status for o in outcomes] == [Status.CREATED] * 8
    assert portal.tokens.issued == issued + 1
    assert portal.counters()["upserts"] == 8


def test_a_session_that_ends_in_the_middle_writes_once(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.faults = [Fault("expiry", on="POST *upsert")]
    outcomes = sink.upsert("contacts", [Write("p", ("syncline_key", "k"), {"lastname": "R"})])
    assert outcomes[0].ok
    assert portal.counters()["upserts"] == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"login": {}}, "client_id"),
        ({"login": {"token": "x", "client_id": "y"}}, "client_id"),
        ({"login": {"token": "x"}, "base_url": "http://api.hubapi.com"}, "https://"),
        ({"login": {"token": "x"}, "token_url": "ftp://x"}, "https://"),
        ({"login": {"token": "x"}, "api": "v4"}, "2026-09"),
        ({"login": {"token": "x"}, "searches_per_second": 6}, "less than or equal to 5"),
        ({"login": {"token": "x"}, "tokn": "y"}, "tokn"),
    ],
    ids=["no log-in", "two log-ins", "plain http", "no http", "unknown api", "too many searches", "unknown key"],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HubspotConfig.model_validate(settings)
    assert problem in str(caught.value)
