"""Raw records to canonical events, by the table of the vendor sheet (§9). Payloads as the contract shapes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncline.errors import RecordError
from syncline.model import EVENT_TYPES, Identifier, RawRecord
from syncline.sdk import Context, Http
from syncline_mailchimp import MailchimpConfig, MailchimpSource

HASH = "887ce9584317abfcde1cbf8b1eef1c68"
EMAIL = Identifier("email", "nora@example.com")
IN_LIST = Identifier("mailchimp:16ed227135", HASH)

MEMBER = {
    "id": HASH,
    "list_id": "16ed227135",
    "email_address": "Nora@Example.com",
    "status": "subscribed",
    "merge_fields": {
        "FNAME": "Nora",
        "LNAME": "Conti",
        "ADDRESS": {"addr1": "1 Example Street", "city": "Milano", "country": "IT"},
        "PHONE": "",
        "COMPANY": "Acquario S.p.A.",
    },
    "language": "it",
    "location": {"country_code": "CH"},
    "timestamp_signup": "2026-05-21T18:03:11+00:00",
    "timestamp_opt": "2026-05-21T18:04:00+00:00",
    "last_changed": "2026-05-21T19:12:03+00:00",
    "source": "Embed Form",
}
FACT = {
    "campaign_id": "58d6d094d5",
    "campaign": "Last call",
    "list_id": "16ed227135",
    "email_id": HASH,
    "email_address": "Nora@Example.com",
    "timestamp": "2026-05-30T10:00:00Z",
}
ABOUT = {"campaign_id": "58d6d094d5", "campaign": "Last call"}
AT = datetime(2026, 5, 30, 10, tzinfo=UTC)


def _source(**settings):
    config = MailchimpConfig.model_validate({"api_key": "0-us1", "audience": "16ed227135", **settings})
    return MailchimpSource(config, Context("newsletter", Http("newsletter"), lambda: AT, {}))


def _events(stream, payload, **settings):
    return list(_source(**settings).normalize(RawRecord(stream, "k", payload)))


@pytest.mark.parametrize(
    ("stream", "payload", "wanted"),
    [
        pytest.param("opens", {"is_proxy_open": False}, [("email_open", {**ABOUT, "machine": False})], id="open"),
        pytest.param("opens", {"is_proxy_open": True}, [("email_open", {**ABOUT, "machine": True})], id="proxy open"),
        pytest.param("opens", {}, [("email_open", ABOUT)], id="open, nobody knows whose"),
        pytest.param(
            "activity",
            {"action": "click", "url": "https://www.example.com/pricing"},
            [("email_click", {**ABOUT, "url": "https://www.example.com/pricing"})],
            id="click",
        ),
        pytest.param(
            "activity",
            {"action": "click", "url": "https://x.us1.list-manage.com/unsubscribe?u=1"},
            [],
            id="click on unsubscribe",
        ),
        pytest.param(
            "activity",
            {"action": "click", "url": "https://x.us1.list-manage.com/profile?u=1"},
            [],
            id="click on profile",
        ),
        pytest.param(
            "activity",
            {"action": "click", "url": "https://www.example.com/unsubscribe-from-hell"},
            [("email_click", {**ABOUT, "url": "https://www.example.com/unsubscribe-from-hell"})],
            id="click on a page that only sounds like it",
        ),
        pytest.param(
            "activity",
            {"action": "bounce", "type": "hard"},
            [("email_bounce", {**ABOUT, "reason": "hard"})],
            id="bounce",
        ),
        pytest.param(
            "unsubscribes",
            {"reason": "no longer interested"},
            [
                ("email_unsubscribe", {"campaign_id": "58d6d094d5"}),
                ("consent_change", {"purpose": "email_marketing", "granted": False}),
            ],
            id="unsubscribe",
        ),
        pytest.param(
            "unsubscribes",
            {"reason": ""},
            [
                ("email_unsubscribe", {"campaign_id": "58d6d094d5"}),
                ("consent_change", {"purpose": "email_marketing", "granted": False}),
            ],
            id="unsubscribe without a reason",
        ),
    ],
)
def test_facts_become_events(stream, payload, wanted):
    events = _events(stream, {**FACT, **payload})
    assert [(event.type, dict(event.properties)) for event in events] == wanted
    assert all(event.identifiers == (EMAIL, IN_LIST) for event in events)
    assert all(event.occurred_at == AT for event in events)


def test_a_member_is_her_consent_and_attributes_and_her_sign_up():
    consent, signup = _events("members", MEMBER)
    assert (consent.type, dict(consent.properties)) == (
        "consent_change",
        {"purpose": "email_marketing", "granted": True},
    )
    assert consent.occurred_at == datetime(2026, 5, 21, 19, 12, 3, tzinfo=UTC)
    assert consent.profile == {
        "first_name": "Nora",
        "last_name": "Conti",
        "company": "Acquario S.p.A.",
        "language": "it",
        "city": "Milano",
        "country": "CH",
    }
    assert (signup.type, signup.properties["form_type"]) == ("form_submission", "newsletter_signup")
    assert signup.occurred_at == datetime(2026, 5, 21, 18, 4, tzinfo=UTC)
    assert consent.identifiers == signup.identifiers == (EMAIL, IN_LIST)


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "pending", "transactional", "archived"])
def test_only_the_subscribed_have_consented(status):
    assert _events("members", {**MEMBER, "status": status})[0].properties["granted"] is False


def test_the_imported_did_not_sign_up():
    """A contact an admin added has timestamp_opt but no timestamp_signup (recorded 2026)."""
    assert [event.type for event in _events("members", {**MEMBER, "timestamp_signup": ""})] == ["consent_change"]


def test_a_sign_up_that_was_not_confirmed_is_none_yet():
    pending = {**MEMBER, "status": "pending", "timestamp_opt": ""}
    assert [event.type for event in _events("members", pending)] == ["consent_change"]


def test_empty_strings_say_nothing():
    bare = {**MEMBER, "merge_fields": {"FNAME": "", "ADDRESS": ""}, "language": "", "location": {"country_code": ""}}
    assert _events("members", bare)[0].profile == {}


def test_the_audiences_own_merge_tags_can_be_named():
    member = {**MEMBER, "merge_fields": {"MMERGE6": "Borea GmbH", "JOB": "CTO"}}
    profile = _events("members", member, merge_fields={"company": "MMERGE6", "title": "JOB"})[0].profile
    assert (profile["company"], profile["title"]) == ("Borea GmbH", "CTO")


@pytest.mark.parametrize(
    "stamp", ["2026-05-30T12:00:00+02:00", "2026-05-30T10:00:00.000Z", "2026-05-30T10:00:00+00:00"]
)
def test_one_moment_written_in_several_ways_is_one_event(stamp):
    (one,) = _events("opens", FACT)
    (other,) = _events("opens", {**FACT, "timestamp": stamp})
    assert other.id == one.id
    assert (other.occurred_at, other.occurred_at.utcoffset()) == (AT, timedelta(0))


def test_two_links_in_one_second_are_two_clicks():
    ids = {_events("activity", {**FACT, "action": "click", "url": f"https://x.example/{n}"})[0].id for n in "ab"}
    assert len(ids) == 2


def test_a_later_verdict_on_an_open_is_the_same_event():
    machine, human = (_events("opens", {**FACT, "is_proxy_open": flag})[0] for flag in (True, False))
    assert machine.id == human.id


def test_a_later_change_of_the_same_member_is_another_statement_but_the_same_sign_up():
    before = _events("members", MEMBER)
    after = _events("members", {**MEMBER, "last_changed": "2026-05-22T08:00:00+00:00"})
    assert before[0].id != after[0].id
    assert before[1].id == after[1].id


def test_the_contact_id_links_an_address_to_the_one_before():
    """It stays when the address, and with it the hash, changes (recorded 2021)."""
    before = _events("members", {**MEMBER, "contact_id": "c1"})[0]
    after = _events("members", {**MEMBER, "contact_id": "c1", "id": "0" * 32, "email_address": "n@example.com"})[0]
    assert set(before.identifiers) & set(after.identifiers) == {Identifier("mailchimp:16ed227135", "c1")}


def test_an_unsubscribe_is_the_same_whoever_tells_it_within_the_minute():
    (pulled, _), (told, _) = (
        _events("unsubscribes", {**FACT, "timestamp": f"2026-05-30T10:00:{s}Z"}) for s in ("01", "44")
    )
    assert pulled.id == told.id


@pytest.mark.parametrize(
    ("stream", "payload", "reason"),
    [
        ("members", {**MEMBER, "last_changed": "soon"}, "last_changed"),
        ("members", {"id": HASH}, "email_address: Field required"),
        (
            "members",
            {**MEMBER, "last_changed": "", "timestamp_opt": "", "timestamp_signup": ""},
            "neither last_changed",
        ),
        ("opens", {**FACT, "timestamp": ""}, "timestamp"),
        ("opens", {**FACT, "timestamp": "2026-05-30T10:00:00"}, "timezone"),
        ("activity", {**FACT, "action": "click"}, "click without an address"),
        ("activity", {**FACT, "action": "teleport"}, "'click' or 'bounce'"),
        ("unsubscribes", {}, "campaign_id: Field required"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_refused_with_its_reason(stream, payload, reason):
    with pytest.raises(RecordError, match=reason):
        _events(stream, payload)


def test_a_refusal_does_not_spell_out_who_it_was():
    with pytest.raises(RecordError) as caught:
        _events("members", {**MEMBER, "last_changed": "nora@example.com"})
    assert "nora" not in str(caught.value).lower()


def test_events_use_only_the_vocabulary():
    everything = [
        *_events("members", MEMBER),
        *_events("opens", {**FACT, "is_proxy_open": True}),
        *_events("activity", {**FACT, "action": "click", "url": "https://x.example/"}),
        *_events("activity", {**FACT, "action": "bounce", "type": "soft"}),
        *_events("unsubscribes", {**FACT, "reason": "spam"}),
    ]
    for event in everything:
        assert set(event.properties) <= set(EVENT_TYPES[event.type]), event.type
