"""From submissions to canonical events (vendor sheet §4, §5)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syncline.errors import RecordError
from syncline.events.classify import Classifier, ClassifyRules
from syncline.model import RawRecord
from syncline.sdk import Context, Http
from syncline.testing.population import simulated_now
from syncline_unbounce import UnbounceConfig, UnbounceSource

PAGE = "A0A3FFDF-5965-4ef2-8414-8afcded91f70"
ADDRESS = "https://go.example.com/demo"


def _source(**settings):
    config = UnbounceConfig.model_validate({"login": {"api_key": "k"}, **settings})
    return UnbounceSource(config, Context("landing", Http("landing"), simulated_now, {}))


def _lead(data, *, page="Book a demo", url="http://go.example.com/demo/", extra=None, **more):
    lead = {
        "id": "deadbeef-dead-beef-dead-beef00000075",
        "page_id": PAGE,
        "variant_id": "A",
        "created_at": "2026-05-16T01:03:52.750Z",
        "submitter_ip": "192.0.2.9",
        "form_data": {name: value if isinstance(value, list) else [value] for name, value in data.items()},
        "extra_data": extra or {},
        "metadata": {},
        **more,
    }
    return RawRecord("leads", lead["id"], {"lead": lead, "page": {"name": page, "url": url}})


def _events(data, *, settings=None, **more):
    return list(_source(**(settings or {})).normalize(_lead(data, **more)))


def test_a_lead_is_a_form_submission_at_its_minute():
    (event,) = _events({"email": " Ada@Example.com ", "first_name": "Ada", "phone_number": "", "topics": ["a", "b"]})
    assert event.type == "form_submission"
    assert event.occurred_at == datetime(2026, 5, 16, 1, 3, tzinfo=UTC)
    assert [(i.namespace, i.value) for i in event.identifiers] == [("email", "ada@example.com")]
    assert event.properties == {
        "form_id": ADDRESS,
        "page_id": PAGE.lower(),
        "variant": "a",
        "fields": {"topics": ["a", "b"]},
    }
    assert event.profile == {"first_name": "Ada"}


@pytest.mark.parametrize(
    "data",
    [
        {"email": "ada@example.com", "other": "x@example.com"},
        {"Email_Address": "ada@example.com"},
        {"e_mail": ["ada@example.com", "second@example.com"]},
        {"your_email": "ada@example.com"},
        {"email": "", "your_email": "ada@example.com"},
        {"indirizzo": "ada@example.com", "name": "Ada"},
        {"a": "z@example.com", "work_mail": "ada@example.com"},
    ],
    ids=[
        "email",
        "letter case",
        "the first of two",
        "your_email",
        "an empty one",
        "by value",
        "by value, a mail field first",
    ],
)
def test_the_email_field_is_found_by_name_and_then_by_value(data):
    (event,) = _events(data)
    assert event.identifiers[0].value == "ada@example.com"


@pytest.mark.parametrize("page", [PAGE, "Book*", "*/demo", "https://go.example.com/demo/"])
def test_a_page_may_say_which_field_it_is(page):
    data = {"email": "referrer@example.com", "own": "ada@example.com"}
    (event,) = _events(data, settings={"email_field": {page: "own"}})
    assert event.identifiers[0].value == "ada@example.com"
    (other,) = _events(data, settings={"email_field": {"Another page": "own"}})
    assert other.identifiers[0].value == "referrer@example.com"
    assert event.id == other.id  # correcting that setting makes no second event


def test_a_lead_without_an_address_is_quarantined_with_what_to_do():
    with pytest.raises(RecordError, match=r"Book a demo.*filled in were: name, userfield1.*email_field"):
        _events({"userfield1": "asdf", "name": "Ada"})


def test_values_that_name_somebody_are_not_in_the_fields():
    (event,) = _events(
        {
            "email": "ada@example.com",
            "first_name": "Ada",
            "name": "Ada Neumann",
            "phone": "1",
            "telefono": "2",
            "your_message": "I am Ada",
            "copy_to": "bob@example.com",
            "gclid": "g",
            "utm_source": "ads",
        }
    )
    assert event.properties["fields"] == {"gclid": "g", "utm_source": "ads"}


def test_which_fields_are_carried_can_be_said():
    (event,) = _events({"email": "a@example.com", "utm_source": "ads", "x": "1"}, settings={"fields": ["utm_*"]})
    assert event.properties["fields"] == {"utm_source": "ads"}


def test_profile_fields_can_be_named():
    (event,) = _events(
        {"email": "a@example.com", "ragione_sociale": "Borea S.r.l.", "company": "No"},
        settings={"profile": {"company": ["ragione_sociale"], "vat": "piva"}},
    )
    assert event.profile == {"company": "Borea S.r.l."}


# What kind of form


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        ({"demo_request": ["*/demo*"]}, "demo_request"),
        ({"demo_request": ["book a *"]}, "demo_request"),
        ({"demo_request": PAGE}, "demo_request"),
        ({"newsletter_signup": ["*news*"], "other": ["*"]}, "other"),
        ({"contact": ["*contact*"]}, None),
    ],
    ids=["by address", "by name", "by id", "the first match", "none"],
)
def test_pages_say_what_kind_of_form_it_is(forms, expected):
    (event,) = _events({"email": "a@example.com"}, settings={"forms": forms})
    assert event.properties.get("form_type") == expected


def test_a_hidden_field_may_say_it():
    settings = {"form_field": "kind", "forms": {"other": ["*"]}}
    (event,) = _events({"email": "a@example.com", "kind": "trial_signup"}, settings=settings)
    assert event.properties["form_type"] == "trial_signup"
    (event,) = _events({"email": "a@example.com", "kind": "nonsense"}, settings=settings)
    assert event.properties["form_type"] == "other"


@pytest.mark.parametrize("pattern", ["*/demo*", "https://go.example.com/demo", PAGE], ids=["address", "exact", "id"])
def test_otherwise_the_hosts_tables_say_it(pattern):
    """docs/configuration.md, classify: forms by address or the vendor's id."""
    (event,) = _events({"email": "a@example.com"})
    classified = Classifier(ClassifyRules(form_type={"demo_request": (pattern,)})).classify(event)
    assert classified.properties["form_type"] == "demo_request"


# What else it is


def test_a_page_that_gives_something_away_is_a_download_too():
    form, download = _events({"email": "a@example.com"}, settings={"downloads": {"guide": ["*/demo*"]}})
    assert (form.type, download.type) == ("form_submission", "content_download")
    assert download.properties == {"content_id": ADDRESS, "content_type": "guide", "url": ADDRESS}
    assert form.id != download.id
    assert form.occurred_at == download.occurred_at


def test_a_hidden_field_names_what_was_downloaded():
    settings = {"asset_fields": ["offer", "asset"], "downloads": {"webinar": ["webinar-*"], "guide": ["*/demo"]}}
    _, download = _events({"email": "a@example.com", "asset": "webinar-autumn"}, settings=settings)
    assert download.properties == {"content_id": "webinar-autumn", "content_type": "webinar", "url": ADDRESS}
    _, download = _events({"email": "a@example.com", "asset": "unknown.pdf"}, settings={"asset_fields": "asset"})
    assert "content_type" not in download.properties
    rules = ClassifyRules(content_type={"whitepaper": ("*.pdf",)})
    assert Classifier(rules).classify(download).properties["content_type"] == "whitepaper"


def test_a_visit_is_told_only_if_asked_for():
    assert len(_events({"email": "a@example.com"})) == 1
    _, visit = _events({"email": "a@example.com"}, settings={"visits": True})
    assert (visit.type, visit.properties) == ("page_visit", {"url": ADDRESS})


def test_leads_that_a_program_made_are_skipped_or_marked():
    data, extra = {"email": "a@example.com"}, {"created_by": "api"}
    assert _events(data, extra=extra) == []
    (event,) = _events(data, extra=extra, settings={"api_leads": "mark"})
    assert event.properties["fields"] == {"created_by": "api"}


# Odd ones


@pytest.mark.parametrize("extra", [{}, None, {"cookies": {"ubvs": ["192.0.2.91440778907332600"]}, "request_id": "r"}])
def test_extra_data_changes_no_event(extra):
    """It is not in the webhook; it stays in the raw record."""
    assert _events({"email": "a@example.com"}, extra=extra) == _events({"email": "a@example.com"})


@pytest.mark.parametrize("empty", [[], [""], ["  "], None, [None]], ids=repr)
def test_an_empty_field_and_one_that_is_not_there_are_the_same(empty):
    given = _lead({"email": "a@example.com"})
    given.payload["lead"]["form_data"]["optional"] = empty
    assert list(_source().normalize(given)) == _events({"email": "a@example.com"})


def test_values_that_are_no_lists_are_read_too():
    raw = _lead({})
    raw.payload["lead"]["form_data"] = {"email": "a@example.com", "age": 7, "agreed": True, "score": 1.5}
    (event,) = _source().normalize(raw)
    assert event.properties["fields"] == {"age": "7", "agreed": "true", "score": "1.5"}


def test_an_address_in_another_letter_case_is_the_same_submission():
    assert _events({"email": "ADA@example.com"}) == _events({"email": "ada@Example.com"})
    assert _events({"email": "a@example.com", "x": "A"})[0].id != _events({"email": "a@example.com", "x": "a"})[0].id


def test_odd_characters_break_nothing():
    (event,) = _events({"email": "a@example.com", "x": "\ud800", "y": "e\u0301", "\u65e5": "\U0001f388"})
    assert event.properties["fields"]["y"] == "\u00e9"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "neither a lead nor a webhook"),
        ({"lead": {"id": "1"}}, "lead.page_id"),
        ({"unreadable": "form_data: wrong", "lead": {}}, "form_data: wrong"),
    ],
)
def test_a_record_that_is_none_is_quarantined_with_its_reason(payload, reason):
    with pytest.raises(RecordError, match=reason):
        list(_source().normalize(RawRecord("leads", "k", payload)))
