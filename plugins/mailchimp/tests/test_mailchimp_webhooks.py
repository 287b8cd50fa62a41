"""Webhooks: who is let in, what each type becomes, and that a poll of the same fact is the same event."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from urllib.parse import urlencode

import pytest

from syncline.errors import RecordError, WebhookRejectedError
from syncline.model import Identifier, Write
from syncline.sdk import Context, Http, WebhookRequest
from syncline_mailchimp import MailchimpConfig, MailchimpConnector
from syncline_mailchimp.normalize import subscriber_hash
from syncline_mailchimp.simulator.webhooks import signed
from syncline_mailchimp.simulator.world import LIST_ID

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
SECRET = "whsec_0123456789abcdef"
IN_URL = "a-long-random-part-of-the-address"
HOOK = "https://hooks.example.com/in/newsletter"
BODY = urlencode({"type": "unsubscribe", "fired_at": "2026-06-01 07:59:58", "data[list_id]": LIST_ID}).encode()


def _connector(**settings):
    config = MailchimpConfig.model_validate({"api_key": "0-us1", "audience": LIST_ID, **settings})
    return MailchimpConnector(config, Context("newsletter", Http("newsletter"), lambda: NOW, {}))


def _request(header=None, body=BODY, path="/in", query="", at=NOW):
    headers = {"x-mailchimp-signature": header} if header else {}
    return WebhookRequest("POST", path, query, headers, body, at, f"https://hooks.example.com{path}")


def _accepts(request, **settings):
    try:
        return bool(_connector(**settings).receive(request))
    except WebhookRejectedError:
        return False


# Who is let in


def test_a_signed_webhook_is_let_in():
    assert _accepts(_request(signed(SECRET, BODY, NOW)), signing_secret=SECRET)


def test_one_of_several_signatures_is_enough_while_secrets_change():
    new, old = signed("new", BODY, NOW), signed(SECRET, BODY, NOW)
    both = f"{new},{old.partition(',')[2]}"
    assert _accepts(_request(both), signing_secret=SECRET)
    assert _accepts(_request(new), signing_secret=[SECRET, "new"])
    assert not _accepts(_request(new), signing_secret=SECRET)


@pytest.mark.parametrize(("seconds", "taken"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_the_replay_window_is_five_minutes_both_ways(seconds, taken):
    request = _request(signed(SECRET, BODY, NOW), at=NOW + timedelta(seconds=seconds))
    assert _accepts(request, signing_secret=SECRET) is taken


@pytest.mark.parametrize(
    "header",
    ["", "t=1", "v1=00", "t=x,v1=00", "t=1,t=2,v1=00", "nonsense", f"t={'9' * 5000},v1=00", "t=1,v1=\u00e9"],
    ids=lambda header: header[:14] or "empty",
)
def test_a_signature_that_is_none_is_refused(header):
    assert not _accepts(_request(header or None), signing_secret=SECRET)


@pytest.mark.parametrize(
    ("path", "query"),
    [(f"/in/{IN_URL}", ""), (f"/{IN_URL}/in", ""), ("/in", f"secret={IN_URL}"), ("/in", f"a=b&x={IN_URL}")],
)
def test_an_older_webhook_carries_its_secret_in_the_address(path, query):
    assert _accepts(_request(path=path, query=query), url_secret=IN_URL)
    wrong = (text.replace(IN_URL, IN_URL + "x") for text in (path, query))
    assert not _accepts(_request(path=next(wrong), query=next(wrong)), url_secret=IN_URL)


def test_a_signature_that_is_wrong_is_not_made_good_by_the_address():
    request = _request(signed("another", BODY, NOW), path=f"/in/{IN_URL}")
    assert not _accepts(request, signing_secret=SECRET, url_secret=IN_URL)


def test_without_any_secret_nothing_is_let_in():
    with pytest.raises(WebhookRejectedError, match="neither signing_secret nor url_secret is set"):
        _connector().receive(_request(signed("", BODY, NOW), path="/"))


def test_a_refusal_shows_no_secret():
    for request in (_request("t=1,v1=00"), _request(path="/in/wrong")):
        with pytest.raises(WebhookRejectedError) as caught:
            _connector(signing_secret=SECRET, url_secret=IN_URL).receive(request)
        assert SECRET not in str(caught.value)
        assert IN_URL not in str(caught.value)


def test_the_get_with_which_mailchimp_looks_is_answered_and_brings_nothing():
    assert _connector(signing_secret=SECRET).receive(replace(_request(), method="GET", body=b"")) == []


def test_a_secret_in_the_address_is_long():
    with pytest.raises(ValueError, match="at least 16 characters"):
        _connector(url_secret="short")


# What each type becomes


def _events(kind, audience=LIST_ID, **data):
    fields = {"type": kind, "fired_at": "2026-06-01 07:59:58", "data[list_id]": audience}
    fields |= {f"data[{name}]": value for name, value in data.items()}
    connector = _connector(url_secret=IN_URL)
    [raw] = connector.receive(_request(body=urlencode(fields).encode(), path=f"/{IN_URL}"))
    return [(event.type, dict(event.properties)) for event in connector.normalize(raw)]


WITHDRAWN = ("consent_change", {"purpose": "email_marketing", "granted": False})
SIGNED_UP = ("form_submission", {"form_id": f"mailchimp:{LIST_ID}", "form_type": "newsletter_signup"})
ADA = "Ada@Borea.example"


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        pytest.param(
            {"kind": "unsubscribe", "action": "unsub", "email": ADA, "campaign_id": "c1", "reason": "manual"},
            [("email_unsubscribe", {"campaign_id": "c1"}), WITHDRAWN],
            id="because of a campaign",
        ),
        pytest.param(
            {"kind": "unsubscribe", "action": "unsub", "email": ADA, "reason": "abuse"},
            [("email_unsubscribe", {"reason": "abuse"}), WITHDRAWN],
            id="because of no campaign",
        ),
        pytest.param({"kind": "unsubscribe", "action": "delete", "email": ADA}, [WITHDRAWN], id="deleted by an admin"),
        pytest.param({"kind": "subscribe", "email": ADA, "ip_signup": "192.0.2.1"}, [SIGNED_UP], id="signed up"),
        pytest.param({"kind": "subscribe", "email": ADA, "ip_signup": ""}, [], id="was added"),
        pytest.param({"kind": "profile", "email": ADA}, [], id="profile"),
        pytest.param(
            {"kind": "cleaned", "email": ADA, "campaign_id": "c1", "reason": "hard"}, [WITHDRAWN], id="cleaned"
        ),
        pytest.param(
            {"kind": "upemail", "old_email": ADA, "new_email": "ada@fenice.example"},
            [("crm_change", {"object": "member", "field": "EMAIL"})],
            id="upemail",
        ),
        pytest.param({"kind": "campaign", "id": "c1", "status": "sent"}, [], id="campaign"),
        pytest.param({"kind": "something_new", "email": ADA}, [], id="unknown"),
        pytest.param({"kind": "unsubscribe", "audience": "0000000000", "email": ADA}, [], id="another audience"),
    ],
)
def test_types_become_events(told, wanted):
    assert _events(**told) == wanted


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe", "cleaned", "upemail"])
def test_who_it_is_about_must_be_said(kind):
    with pytest.raises(RecordError, match="without"):
        _events(kind, ip_signup="192.0.2.1")


def test_a_time_that_is_none_is_refused_without_showing_it():
    connector = _connector(url_secret=IN_URL)
    body = urlencode({"type": "cleaned", "fired_at": "ada@x", "data[list_id]": LIST_ID, "data[email]": ADA}).encode()
    [raw] = connector.receive(_request(body=body, path=f"/{IN_URL}"))
    with pytest.raises(RecordError, match="fired_at that is no date") as caught:
        list(connector.normalize(raw))
    assert "ada@x" not in str(caught.value)


def test_brackets_are_unfolded_as_deep_as_they_go():
    body = urlencode(
        {"type": "profile", "data[list_id]": LIST_ID, "data[merges][ADDRESS][city]": "Milano", "data[merges]": "x"}
    ).encode()
    [raw] = _connector(url_secret=IN_URL).receive(_request(body=body, path=f"/{IN_URL}"))
    assert raw.payload["data"]["merges"] == "x"  # the last word counts; nothing breaks


# With the simulator: the same fact both ways


@pytest.fixture
def both(simulate, connect):
    """A simulator with a webhook, and a connector that knows its secret."""
    simulator = simulate()
    hook = simulator.add_webhook(HOOK, sources={"api": False})
    return simulator, connect(simulator, signing_secret=hook["secret"])


def _told(connector, requests):
    return [event for r in requests for raw in connector.receive(r) for event in connector.normalize(raw)]


def _polled(connector, pull, stream):
    records, _ = pull(connector, stream)
    return [event for raw in records for event in connector.normalize(raw)]


def _someone(simulator):
    return next(one for one in simulator.world.subscribers.values() if one.status == "subscribed")


def test_leaving_is_the_same_by_webhook_and_by_poll_in_any_order(both, pull):
    simulator, connector = both
    who, campaign = _someone(simulator).email, simulator.campaigns[-1]
    simulator.unsubscribe(who, campaign, NOW - timedelta(minutes=5, seconds=30), "too many")
    told = _told(connector, simulator.due_webhooks(copies=3, shuffled=True))
    polled = [e for e in _polled(connector, pull, "unsubscribes") if e.identifiers[0].value == who.lower()]
    assert {event.id for event in told} == {event.id for event in polled}
    for order in permutations(told[:2] + polled[:2]):
        kept = {}
        for event in order:
            kept.setdefault(event.id, event)
        assert kept == {event.id: event for event in polled}


def test_an_event_is_of_the_same_stream_whichever_way_it_comes(both, pull):
    """Its source is part of it."""
    simulator, connector = both
    one = _someone(simulator)
    simulator.unsubscribe(one.email, simulator.campaigns[-1], NOW - timedelta(minutes=5))
    simulator.subscribe("new.person@borea.example", NOW - timedelta(minutes=5))
    streams = {}
    for way, records in (
        ("webhook", [raw for r in simulator.due_webhooks() for raw in connector.receive(r)]),
        ("poll", [raw for stream in ("members", "unsubscribes") for raw in pull(connector, stream)[0]]),
    ):
        streams[way] = {event.id: raw.stream for raw in records for event in connector.normalize(raw)}
    assert len(streams["webhook"]) == 3
    assert streams["webhook"].items() <= streams["poll"].items()


def test_leaving_across_the_turn_of_a_minute_is_still_one_deed(both, pull):
    """The consent is there twice, and says the same."""
    simulator, connector = both
    who = _someone(simulator).email
    simulator.unsubscribe(who, simulator.campaigns[-1], NOW - timedelta(minutes=5, milliseconds=500))
    told = _told(connector, simulator.due_webhooks())
    polled = [e for e in _polled(connector, pull, "unsubscribes") if e.identifiers[0].value == who.lower()]
    assert told[0].id == polled[0].id
    assert told[1].id != polled[1].id
    assert told[1].properties == polled[1].properties == {"purpose": "email_marketing", "granted": False}


def test_signing_up_is_the_same_by_webhook_and_by_poll(both, pull):
    simulator, connector = both
    simulator.subscribe("new.person@borea.example", NOW - timedelta(minutes=5, seconds=30))
    told = _told(connector, simulator.due_webhooks())
    polled = [e for e in _polled(connector, pull, "members") if e.identifiers[0].value == "new.person@borea.example"]
    assert told == [event for event in polled if event.type == "form_submission"]


def test_a_webhook_never_gives_consent(both):
    simulator, connector = both
    someone = _someone(simulator)
    simulator.subscribe("new.person@borea.example", NOW - timedelta(minutes=9))
    simulator.unsubscribe(someone.email, None, NOW - timedelta(minutes=8))
    simulator.change_member(someone.email, NOW - timedelta(minutes=7), status="subscribed")
    simulator.change_fields(someone.email, NOW - timedelta(minutes=6), {"FNAME": "Ada"})
    told = _told(connector, simulator.due_webhooks())
    assert {event.properties["granted"] for event in told if event.type == "consent_change"} == {False}


def test_a_new_address_is_linked_to_the_old_one(both, pull):
    """By the poll alone: the contact id stays. (The webhook says it with both addresses, below.)"""
    simulator, connector = both
    one = _someone(simulator)
    before = next(e for e in _polled(connector, pull, "members") if one.hash in {i.value for i in e.identifiers})
    simulator.change_email(one.email, "new.address@borea.example", NOW - timedelta(minutes=5))
    hers = "new.address@borea.example"
    after = next(e for e in _polled(connector, pull, "members") if e.identifiers[0].value == hers)
    assert set(before.identifiers) & set(after.identifiers) == {Identifier(f"mailchimp:{LIST_ID}", one.contact_id)}


def test_an_upemail_carries_both_addresses_and_both_hashes(both):
    simulator, connector = both
    one = _someone(simulator)
    simulator.change_email(one.email, "New.Address@borea.example", NOW - timedelta(minutes=5))
    [event] = {e.id: e for e in _told(connector, simulator.due_webhooks(copies=2, shuffled=True))}.values()
    assert event.identifiers == (
        Identifier("email", "new.address@borea.example"),
        Identifier("email", one.email.lower()),
        Identifier(f"mailchimp:{LIST_ID}", subscriber_hash("new.address@borea.example")),
        Identifier(f"mailchimp:{LIST_ID}", one.hash),
    )


def test_our_own_writes_make_no_webhooks_with_the_source_api_off(both):
    simulator, connector = both
    connector.upsert("member", [Write("k", ("EMAIL", _someone(simulator).email), {"COMPANY": "Borea"})])
    assert simulator.due_webhooks() == []


def test_unknown_types_and_campaigns_from_the_sender_are_harmless(both):
    simulator, connector = both
    simulator.send_campaign(simulator.campaigns[-1], NOW)
    simulator.send_unknown("rewards", NOW)
    assert _told(connector, simulator.due_webhooks(copies=2, shuffled=True)) == []
