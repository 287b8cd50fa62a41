"""Tokens: renewed once for all, kept before they are used, and told about when they are lost (vendor sheet §1)."""

from __future__ import annotations

import json
import logging
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from syncline.errors import AuthError, StoreError, TransientError
from syncline.testing.simulator import Fault
from syncline_unbounce import UnbounceConfig
from syncline_unbounce.simulator import Switches
from syncline_unbounce.simulator.tokens import REFRESH_TOKEN


def _oauth(simulator, connect, keep, **login):
    settings = {**simulator.oauth_settings, "login": {**simulator.oauth_settings["login"], **login}}
    return connect(simulator, settings, keep=keep)


def _issued(simulator):
    return simulator.table("tokens")["_count"]["issued"] if "_count" in simulator.table("tokens") else 0


def _purposes(source):
    return source.context.http.metrics.calls


class Keep(UserDict):
    """What the host keeps. `fail` assignments of the log-in are refused, and `after` is called when one was made."""

    def __init__(self):
        super().__init__()
        self.fail = 0

    def __setitem__(self, name, value):
        if name == "oauth" and self.fail:
            self.fail -= 1
            raise StoreError("the disk is full")
        super().__setitem__(name, value)


def test_a_token_is_renewed_once_and_used_for_all_calls(simulator, connect, pull):
    source = _oauth(simulator, connect, {})
    assert source.check().details["login"] == "OAuth"
    assert pull(source)[0]
    assert _issued(simulator) == 1
    assert _purposes(source)["auth"] == 1


def test_every_renewal_keeps_the_new_refresh_token(simulator, connect):
    keep = {}
    for turn in range(4):
        _oauth(simulator, connect, keep).check()
        assert json.loads(keep["oauth"])["refresh_token"] == f"simulated-refresh-token-{turn + 1}"
        assert set(keep) == {"oauth"}
        simulator.advance(timedelta(minutes=11))


def test_a_token_that_is_still_good_is_used_by_the_next_run(simulator, connect):
    keep = {}
    _oauth(simulator, connect, keep).check()
    simulator.advance(timedelta(minutes=5))
    _oauth(simulator, connect, keep).check()
    assert _issued(simulator) == 1


def test_a_token_is_renewed_before_its_600_seconds_end(simulator, connect):
    source = _oauth(simulator, connect, {})
    source.check()
    simulator.advance(timedelta(seconds=580))
    source.check()
    assert (_issued(simulator), source.context.http.metrics.statuses["403"]) == (2, 0)


def test_403_may_be_a_token_that_ended_and_is_renewed_once(simulator, connect, pull):
    source = _oauth(simulator, connect, {})
    source.check()
    simulator.faults = [Fault("expiry", on="*/leads", after=2)]
    records, _ = pull(source)
    assert len(records) == sum(len(page.leads) for page in simulator.world.pages.values())
    assert (_issued(simulator), source.context.http.metrics.statuses["403"]) == (2, 1)


def test_403_with_a_new_token_is_a_refusal(simulator, connect):
    simulator.faults = [Fault("status", on="*/accounts", status=403, times=None)]
    source = _oauth(simulator, connect, {})
    with pytest.raises(AuthError, match="authorise again"):
        source.check()
    assert source.context.http.metrics.statuses["403"] == 2


@pytest.mark.parametrize("connectors", [1, 8], ids=["one connector", "a connector for each thread"])
def test_many_threads_renew_once(simulator, connect, connectors):
    """A second renewal with the same refresh token would be refused: it is good for one use."""
    keep = {}
    sources = [_oauth(simulator, connect, keep) for _ in range(connectors)]
    for source in sources:
        source.check()
    simulator.expire_sessions()
    before = _issued(simulator)
    simulator.faults = [Fault("slow", on="*/oauth/token", seconds=0.1, times=None)]  # so that all meet there
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: sources[n % connectors].check().id, range(24)))
    assert len(set(done)) == 1
    assert _issued(simulator) - before == 1
    assert sum(source.context.http.metrics.statuses["400"] for source in sources) == 0


def test_killed_between_rotation_and_keeping_is_reported_with_what_to_do(simulator, connect):
    """The answer is lost with the process; the next one finds the old token spent."""
    keep = Keep()
    keep.fail = 1
    with pytest.raises(StoreError):
        _oauth(simulator, connect, keep).check()
    with pytest.raises(AuthError) as caught:
        _oauth(simulator, connect, keep).check()
    assert "a renewal begun at 2026-06-01T08:00:00+00:00 was cut off" in str(caught.value)
    assert "set its new refresh_token" in str(caught.value)
    with pytest.raises(AuthError, match="was cut off"):  # and again, until somebody does
        _oauth(simulator, connect, keep).check()


def test_killed_between_rotation_and_keeping_is_survived_while_the_old_token_works(simulate, connect):
    simulator = simulate(switches=Switches(refresh_grace_s=3600))
    keep = Keep()
    keep.fail = 1
    with pytest.raises(StoreError):
        _oauth(simulator, connect, keep).check()
    assert _oauth(simulator, connect, keep).check().id
    assert set(keep) == {"oauth"}


def test_a_disk_that_was_full_for_a_moment_loses_no_token(simulator, connect):
    """The process lives: the new token is held, and kept before it is used."""
    keep = Keep()
    keep.fail = 2
    source = _oauth(simulator, connect, keep)
    for _ in range(2):
        with pytest.raises(StoreError):
            source.check()
    assert source.check().id
    assert json.loads(keep["oauth"])["refresh_token"] == "simulated-refresh-token-1"
    assert _issued(simulator) == 1


def test_a_renewal_whose_answer_was_lost_is_weather_first_and_then_explained(simulator, connect):
    simulator.faults = [Fault("drop_after", on="*/oauth/token")]
    source = _oauth(simulator, connect, {})
    with pytest.raises(TransientError):
        source.check()
    with pytest.raises(AuthError, match="was cut off"):
        source.check()


def test_a_plain_refusal_speaks_of_no_renewal(simulator, connect):
    keep = {}
    source = _oauth(simulator, connect, keep, refresh_token="revoked-token-of-before")
    for _ in range(2):
        with pytest.raises(AuthError, match="invalid_grant") as caught:
            source.check()
        assert "cut off" not in str(caught.value)
    assert keep == {}


def test_a_newly_configured_refresh_token_comes_before_what_is_kept(simulator, connect):
    keep = {}
    _oauth(simulator, connect, keep).check()
    fresh = json.loads(keep["oauth"])["refresh_token"]
    keep["oauth"] = json.dumps({**json.loads(keep["oauth"]), "refresh_token": "lost", "access_token": "lost"})
    assert _oauth(simulator, connect, keep, refresh_token=fresh).check().id


def test_what_another_process_renewed_is_taken(simulator, connect):
    keep = {}
    slow = _oauth(simulator, connect, keep)
    slow.check()
    simulator.advance(timedelta(minutes=11))
    stale = dict(keep)
    _oauth(simulator, connect, keep).check()

    class Late(dict):
        def get(self, name, default=None):
            return stale.pop(name) if name in stale else keep.get(name, default)

        def pop(self, name, default=None):
            return keep.pop(name, default)

    late = _oauth(simulator, connect, Late())
    assert late.check().id


def test_what_is_kept_and_cannot_be_read_is_told_and_left(simulator, connect, caplog):
    with caplog.at_level(logging.WARNING):
        assert _oauth(simulator, connect, {"oauth": "{"}).check().id
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"client_secret": "wrong"}, "client_id or client_secret is refused"),
        ({"client_id": "x"}, "client_id or client"),
    ],
)
def test_a_wrong_client_is_told(simulator, connect, settings, said):
    with pytest.raises(AuthError, match=said):
        _oauth(simulator, connect, {}, **settings).check()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", on="*/oauth/token", status=503), TransientError),
        (Fault("html", on="*/oauth/token", status=200), TransientError),
        (Fault("status", on="*/oauth/token", status=200, body={"token": "?"}), AuthError),
        (Fault("status", on="*/oauth/token", status=400, body="no"), AuthError),
    ],
    ids=["503", "a page", "no token", "no reason"],
)
def test_trouble_with_the_token_endpoint_says_what_happens_next(simulator, connect, fault, error):
    simulator.faults = [fault]
    with pytest.raises(error):
        _oauth(simulator, connect, {}).check()


def test_no_token_is_ever_shown(simulator, connect, caplog):
    keep = {}
    with caplog.at_level(logging.DEBUG):
        source = _oauth(simulator, connect, keep)
        source.check()
        simulator.expire_sessions()
        source.check()
        keep["oauth"] = json.dumps({**json.loads(keep["oauth"]), "refresh_token": "tok-0815", "access_token": "x"})
        with pytest.raises(AuthError) as caught:
            _oauth(simulator, connect, keep).check()
    kept = json.loads(keep["oauth"])
    login = source._client._login
    shown = f"{caplog.text} {caught.value} {source.config!r} {login!r} {login._held!r} {login._held}"
    secrets = [token for token in simulator.table("tokens") if not token.startswith("_")]
    assert len(secrets) >= 3
    assert not [token for token in [*secrets, kept["refresh_token"], REFRESH_TOKEN] if token in shown]


def test_the_code_flow_brings_the_first_refresh_token(simulator, connect):
    """As a person does it once, in a browser (vendor sheet §1)."""
    http = connect(simulator).context.http
    redirect = "https://app.example.com/back"
    query = {"response_type": "code", "client_id": "simulated-client", "redirect_uri": redirect, "state": "s1"}
    back = http.request("GET", "/oauth/authorize", params=query, raise_for_status=False, allow_redirects=False)
    assert back.headers["Location"].endswith("&state=s1")
    code = back.headers["Location"].partition("code=")[2].partition("&")[0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
    auth = ("simulated-client", "simulated-client-secret")
    token = http.request("POST", "/oauth/token", data=form, auth=auth).json()
    assert (token["expires_in"], token["scope"], token["access_token"].count(".")) == (600, "full", 2)
    again = http.request("POST", "/oauth/token", data=form, auth=auth, raise_for_status=False)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})
    assert _oauth(simulator, connect, {}, refresh_token=token["refresh_token"]).check().id


def test_the_token_endpoint_can_be_elsewhere(simulator, connect):
    source = connect(simulator, simulator.oauth_settings, token_url=f"{simulator.url}/oauth/token")
    assert isinstance(source.config, UnbounceConfig)
    assert source.check().id
