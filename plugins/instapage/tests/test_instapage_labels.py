"""Labels are the words of whoever built the form (vendor sheet, §2): what they mean, and what is none of the form."""

from __future__ import annotations

import pytest

from syncline.model import PROFILE_ATTRIBUTES
from syncline_instapage.labels import (
    DEFAULT_LABELS,
    Answer,
    answers_of,
    fits,
    metadata_of,
    plain_label,
    plain_value,
    recognised,
    speaks_of_a_person,
)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Email", "email"),
        ("Enter Email Address", "enter_email_address"),
        ("Enter_Email_Address", "enter_email_address"),
        ("neighborhood ", "neighborhood"),
        ("neighborhood_", "neighborhood"),
        ("Phone_", "phone"),
        ("Interests[]", "interests"),
        ("E-Mail-Adresse", "e_mail_adresse"),
        ("utm.source", "utm_source"),
        ("Città", "città"),
        ("ＥＭＡＩＬ", "email"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("?", "_"),
        ("", "_"),
        ("bad \ud800", "bad"),
    ],
)
def test_labels_have_one_spelling(written, plain):
    assert plain_label(written) == plain


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (" Ada  Lovelace ", "Ada Lovelace"),
        ("two\r\nlines", "two lines"),
        (["a", "", None, "b"], "a, b"),
        (True, "true"),
        (5, "5"),
        (None, ""),
        ("Zoe\u0308", "Zo\u00eb"),
    ],
    ids=str,
)
def test_values_have_one_spelling(given, plain):
    assert plain_value(given) == plain


def test_what_instapage_adds_is_no_answer():
    """In the webhook's spelling, in that of the page's export, and as PHP shows it."""
    added = (
        "page_id page_name page_url variant pageshown variationshown desktopmobile timestamp ip ipaddress"
        " referralsource adcampaign Page_Shown Variation_Shown Desktop/Mobile IP_Address Referral_Source Ad_Campaign"
    ).split()
    fields = dict.fromkeys([*added, "Page Shown", "Ad Campaign", "Referral Source"], "x")
    assert answers_of(fields) == ()
    assert metadata_of({"Page Shown": "a", "page_id": 7, "City": "b"}) == {"pageshown": "a", "page_id": "7"}


def test_a_field_that_an_author_calls_variant_or_page_is_an_answer():
    """The names of Instapage's own keys are lower case; a car's `Variant` is the author's."""
    assert answers_of({"Variant": "1.6 TDI", "Page URL": "x"}) == (
        Answer("page_url", "x"),
        Answer("variant", "1.6 TDI"),
    )


def test_empty_fields_say_nothing_and_ignored_ones_neither():
    fields = {"City": " ", "Company": None, "Note": [], "Session": "s1", "Role": "CEO"}
    assert answers_of(fields, ("Session",)) == (Answer("role", "CEO"),)


@pytest.mark.parametrize(
    ("label", "pattern", "fitting"),
    [
        ("enter_email_address", "Enter Email Address", True),
        ("enter_email_address", "*Email*", True),
        ("email_opt_in", "Email", False),
        ("phone", "Phone ", True),
        ("a_b", "A [b]", True),
        ("anything", "*", True),
        ("utm_source", "utm-*", True),
        ("utmost", "utm_*", False),
    ],
)
def test_patterns_are_compared_in_the_same_spelling(label, pattern, fitting):
    assert fits(label, (pattern,)) is fitting


def read(fields, **labels):
    own = {name: (patterns,) if isinstance(patterns, str) else patterns for name, patterns in labels.items()}
    return recognised(answers_of(fields), {**DEFAULT_LABELS, **own})


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"Email": "a@x.example", "First Name": "Ada", "Last Name": "L"}, ("a@x.example", "Ada", "L")),
        ({"Indirizzo e-mail": "a@x.example", "Nome": "Ada", "Cognome": "L"}, ("a@x.example", "Ada", "L")),
        ({"E-Mail": "a@x.example", "Vorname": "Ada", "Nachname": "L"}, ("a@x.example", "Ada", "L")),
        ({"field_1": "Ada", "field_2": "a@x.example"}, ("a@x.example", None, None)),
        ({"Enter_First_Name": "Ada", "WORK EMAIL ": "a@x.example"}, ("a@x.example", "Ada", None)),
    ],
)
def test_common_labels_are_known(fields, wanted):
    found = read(fields)
    assert (found.get("email"), found.get("first_name"), found.get("last_name")) == wanted


def test_the_better_label_wins_over_the_order_of_fields():
    fields = {"A friend's email": "friend@x.example", "Email": "ada@x.example"}
    assert read(fields)["email"] == "ada@x.example"


def test_a_label_that_only_sounds_like_it_holds_no_address():
    assert read({"Email me offers": "yes", "Contact": "ada@x.example"})["email"] == "ada@x.example"
    assert "email" not in read({"Email": "call me"})
    assert "phone" not in read({"Contact me by phone": "no"})


@pytest.mark.parametrize("number", ["+39 02 5500001", "+1 (555) 010-0199"])
def test_a_phone_number_is_known_by_its_plus(number):
    assert read({"field_3": number})["phone"] == number
    assert "phone" not in read({"Budget": "10000000"})


def test_the_full_name_is_not_taken_apart():
    """Where a first name ends is a guess, and a wrong one would reach the CRM."""
    found = read({"Enter Full Name": "Maria Grazia De Luca", "Email": "m@x.example"})
    assert found["name"] == "Maria Grazia De Luca"
    assert not {"first_name", "last_name"} & set(found)


def test_configured_labels_replace_the_defaults_of_their_attribute():
    found = read(
        {"Name": "Acme", "Your name": "Ada", "Budget": "10k"}, company="Name", name="Your name", budget="budget"
    )
    assert (found["company"], found["name"], found["budget"]) == ("Acme", "Ada", "10k")


def test_every_attribute_of_the_vocabulary_has_labels():
    assert set(PROFILE_ATTRIBUTES) <= set(DEFAULT_LABELS)


@pytest.mark.parametrize(
    ("label", "value", "personal"),
    [
        ("first_name", "Ada", True),
        ("friend", "Write to bob@x.example", True),
        ("backup", "+39 02 5500001", True),
        ("neighborhood", "Isola", False),
        ("team_size", "10-50", False),
    ],
)
def test_what_names_a_person_is_known(label, value, personal):
    assert speaks_of_a_person(Answer(label, value), DEFAULT_LABELS) is personal
