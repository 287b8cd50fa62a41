"""Rows become canonical events."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from syncline.errors import RecordError
from syncline.events import cleanse
from syncline.model import RawRecord
from syncline_mailpoet import MailPoetConfig
from syncline_mailpoet.normalize import MOST_CLICKS, Normalizer

NOON, ONE = "2026-05-01 12:00:00", "2026-05-01 13:00:00"
MAIL = {"id": 7, "subscriber_id": 3, "newsletter_id": 2, "queue_id": 5, "email": "Ada@Acme.Example", "created_at": NOON}
CLICK = {**MAIL, "link_id": 4, "url": "https://x.example/a", "user_agent_type": 0, "count": 1, "updated_at": NOON}
PERSON = {"id": 3, "email": "Ada@Acme.Example", "first_name": "Ada", "last_name": "L", "status": "subscribed"}


def make(stream, row, **settings):
    config = MailPoetConfig.model_validate({"site": "blog.example", "file": "x.db", **settings})
    return list(Normalizer(config).events(RawRecord(stream, "k", row)))


def names(event):
    return [(i.namespace, i.value) for i in event.identifiers]


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_people_are_known_by_their_lower_cased_address_and_their_number():
    (event,) = make("opens", {**MAIL, "user_agent_type": 0})
    assert names(event) == [("email", "ada@acme.example"), ("mailpoet:blog.example", "3")]


@pytest.mark.parametrize("email", [None, "", "deleted-0123456789abcdef01234567@site.invalid"])
def test_without_an_address_the_number_stays(email):
    (event,) = make("opens", {**MAIL, "email": email, "user_agent_type": 0})
    assert names(event) == [("mailpoet:blog.example", "3")]


@pytest.mark.parametrize(("kind", "machine"), [(0, False), (1, True)])
def test_the_user_agents_type_is_the_verdict(kind, machine):
    (event,) = make("opens", {**MAIL, "user_agent_type": kind})
    assert event.properties == {"campaign_id": "2", "machine": machine}


def test_a_verdict_that_is_taken_back_is_another_event():
    """The host believes who says a fact first, so the correction cannot have the same id."""
    (machine,), (person,) = (make("opens", {**MAIL, "user_agent_type": kind}) for kind in (1, 0))
    assert machine.id != person.id
    assert machine.occurred_at == person.occurred_at == at(NOON)


def test_numbers_that_are_given_again_are_told_apart():
    (one,), (other,) = (make("opens", {**MAIL, "user_agent_type": 0, "created_at": t}) for t in (NOON, ONE))
    assert one.id != other.id


def test_a_row_with_a_count_is_so_many_clicks():
    events = make("clicks", {**CLICK, "count": 3, "updated_at": ONE})
    assert [event.occurred_at for event in events] == [at(NOON), at(ONE), at(ONE)]
    assert len({event.id for event in events}) == 3
    assert [e.id for e in make("clicks", {**CLICK, "count": 2})] == [e.id for e in events][:2]


def test_a_program_that_clicks_for_ever_is_cut_short():
    assert len(make("clicks", {**CLICK, "count": 10_000_000})) == MOST_CLICKS


@pytest.mark.parametrize("url", [None, "[link:subscription_unsubscribe_url]", "[link:newsletter_view_in_browser_url]"])
def test_housekeeping_is_no_click(url):
    assert make("clicks", {**CLICK, "url": url}) == []


def test_a_click_without_its_first_time_is_at_its_last():
    (event,) = make("clicks", {**CLICK, "created_at": None, "updated_at": ONE})
    assert event.occurred_at == at(ONE)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"source": "newsletter", "reason": "too_many"}, "too_many"),
        ({"source": "admin"}, "admin"),
        ({"source": "unknown"}, None),
        ({}, None),
    ],
)
def test_who_leaves_takes_her_consent_along(row, reason):
    left, consent = make("unsubscribes", {**MAIL, "newsletter_id": None, "queue_id": None, **row})
    assert (left.type, left.properties.get("reason")) == ("email_unsubscribe", reason)
    assert consent.properties == {"purpose": "email_marketing", "granted": False}


@pytest.mark.parametrize(
    ("forms", "kind"),
    [({}, "newsletter_signup"), ({"9": "contact"}, "contact"), ({"Book a demo": "demo_request"}, "demo_request")],
)
def test_forms_are_what_the_settings_say(forms, kind):
    row = {"id": 1, "form_id": 9, "subscriber_id": 3, "form": "Book a demo", "created_at": NOON}
    (event,) = make("forms", row, forms=forms)
    assert event.properties == {"form_id": "mailpoet:9", "form_type": kind}


def test_joining_a_list_is_wanting_it_and_by_the_api_a_sign_up():
    row = {"id": 1, "subscriber_id": 3, "segment_id": 4, "status": "subscribed", "created_at": NOON, "updated_at": ONE}
    row |= {"list_name": "Webinar", "list_type": "default"}
    (consent,) = make("lists", {**row, "source": "form"})
    assert consent.properties == {"purpose": "list:Webinar", "granted": True}
    _, signup = make("lists", {**row, "source": "api"})
    assert (signup.type, signup.occurred_at) == ("form_submission", at(NOON))
    assert make("lists", {**row, "source": "api"}, signups=()) == [consent]
    assert make("lists", {**row, "list_type": "wp_users"}) == []
    assert make("lists", {**row, "list_name": None}) == []


@pytest.mark.parametrize(
    ("row", "granted"),
    [
        ({"status": "subscribed"}, True),
        ({"status": "inactive"}, True),
        ({"status": "unconfirmed"}, False),
        ({"status": "unsubscribed"}, False),
        ({"status": "bounced"}, False),
        ({"status": "subscribed", "deleted_at": NOON}, False),
        ({"status": "subscribed", "email": "deleted-0123456789abcdef01234567@site.invalid"}, False),
    ],
)
def test_consent_is_what_the_status_says(row, granted):
    (event,) = make("subscribers", {**PERSON, "updated_at": ONE, **row})
    assert event.properties == {"purpose": "email_marketing", "granted": granted}
    assert event.occurred_at == at(ONE)


def test_a_row_that_is_only_touched_says_nothing_new():
    """A mail was sent to her, or she opened one; a second later or earlier than the row says."""
    first = {**PERSON, "created_at": NOON, "confirmed_at": NOON}
    ids = {
        make("subscribers", {**first, column: f"2026-05-0{day} 09:00:00", "updated_at": f"2026-05-0{day} 09:00:01"})[
            0
        ].id
        for day, column in enumerate(("last_sending_at", "last_open_at", "last_engagement_at"), start=2)
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"first_name": "Augusta"},
        {"email": "augusta@acme.example"},
        {"status": "unsubscribed"},
        {"left_at": ONE},
        {"last_subscribed_at": ONE},
        {"updated_at": "2026-05-03 09:00:00"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_row_that_says_something_new_is_a_new_event(change):
    touched = {**PERSON, "created_at": NOON, "last_open_at": "2026-05-02 09:00:00", "updated_at": "2026-05-02 09:00:00"}
    (before,), (after,) = make("subscribers", touched), make("subscribers", {**touched, **change})
    assert before.id != after.id


def test_a_page_view_is_a_visit_only_if_wanted():
    row = {**PERSON, "updated_at": ONE, "last_page_view_at": NOON}
    assert [event.type for event in make("subscribers", row)] == ["consent_change"]
    _, visit = make("subscribers", row, page_views=True)
    assert (visit.type, visit.occurred_at, visit.properties) == ("page_visit", at(NOON), {})


@pytest.mark.parametrize(
    ("stream", "row"),
    [
        ("opens", {**MAIL, "user_agent_type": "phone"}),
        ("opens", {**MAIL, "user_agent_type": 0, "created_at": None}),
        ("clicks", {**CLICK, "count": -1}),
        ("subscribers", {**PERSON, "updated_at": "soon"}),
        ("clicks", {"unreadable": "count: missing", "row": {}}),
    ],
)
def test_what_is_no_row_is_refused_without_its_values(stream, row):
    with pytest.raises(RecordError) as caught:
        make(stream, row)
    assert "Ada@" not in str(caught.value)


@pytest.mark.parametrize(
    ("stream", "row"),
    [
        ("subscribers", {**PERSON, "updated_at": ONE, "last_page_view_at": NOON}),
        ("opens", {**MAIL, "user_agent_type": 1, "campaign": "Hello"}),
        ("clicks", {**CLICK, "count": 2}),
        ("unsubscribes", {**MAIL, "source": "newsletter"}),
        ("bounces", MAIL),
    ],
)
def test_the_hosts_cleansing_takes_every_event(stream, row):
    for event in make(stream, row, page_views=True):
        counts: Counter[str] = Counter()
        cleanse(event, event.identifiers, source="blog/x", received_at=at("2026-06-01 00:00:00"), counts=counts)
        assert not counts
