"""Which identifiers identify."""

from __future__ import annotations

from collections import Counter

import pytest

from syncline.errors import RecordError
from syncline.model import Identifier
from syncline.people import IdentifierFilter, IdentityRules, email_problem


def clean(*pairs: tuple[str, str], rules: IdentityRules | None = None) -> list[tuple[str, str]]:
    found = IdentifierFilter(rules or IdentityRules()).clean([Identifier(*pair) for pair in pairs], Counter())
    return [(identifier.namespace, identifier.value) for identifier in found]


@pytest.mark.parametrize(
    "address",
    [
        "ada@acme.example",
        "ada.lovelace+news@mail.acme.example",
        "o'brien@x.ie",
        "müller@größe.example",
        "a@1and1.com",
        "x@xn--gre-6ka8g.example",
        "under_score@a-b.co.uk",
        "me@example.xn--p1ai",
        "&#!%@x.it",
    ],
)
def test_addresses_that_may_receive_mail(address: str) -> None:
    assert email_problem(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "ada",
        "ada@",
        "@acme.example",
        "ada@acme",
        "ada@acme..example",
        ".ada@acme.example",
        "ada.@acme.example",
        "ada..l@acme.example",
        "ada@acme.example.",
        "ada@-acme.example",
        "ada@acme-.example",
        "a da@acme.example",
        "ada@acme.e",
        "ada@127.0.0.1",
        "ada@acme,example",
        "<ada@acme.example>",
        "ada@b@acme.example",
        "ada@acme.example;bob@acme.example",
        "\ud800@acme.example",
        f"{'a' * 65}@acme.example",
        f"a@{'b' * 250}.example",
        "",
    ],
)
def test_addresses_that_cannot(address: str) -> None:
    assert email_problem(address)


def test_addresses_come_first_and_in_lower_case() -> None:
    found = clean(("web", " C1 "), ("email", " Ada@ACME.example "), ("crm", "7"), ("email", "ada@acme.example"))
    assert found == [("email", "ada@acme.example"), ("web", "C1"), ("crm", "7")]


@pytest.mark.parametrize(
    ("namespace", "value", "rule"),
    [
        pytest.param("email", "No-Reply@acme.example", "blocked_identifier", id="no-reply"),
        pytest.param("email", "postmaster@acme.example", "blocked_identifier", id="postmaster"),
        pytest.param("email", "mailer-daemon@acme.example", "blocked_identifier", id="mailer-daemon"),
        pytest.param("email", "test@test.com", "blocked_identifier", id="test"),
        pytest.param("web", "NULL", "blocked_identifier", id="null"),
        pytest.param("web", "undefined", "blocked_identifier", id="undefined"),
        pytest.param("web", "0", "blocked_identifier", id="zero"),
        pytest.param("web", "{{contact.id}}", "blocked_identifier", id="merge tag"),
        pytest.param("web", "[uid]", "blocked_identifier", id="merge tag in brackets"),
        pytest.param("web", "  ", "empty_identifier", id="blank"),
        pytest.param("web", "a\0b", "empty_identifier", id="nul"),
        pytest.param("email", "ada", "invalid_address", id="no address"),
    ],
)
def test_noise_identifies_nobody(namespace: str, value: str, rule: str) -> None:
    counts: Counter[str] = Counter()
    with pytest.raises(RecordError, match="no identifier is left that says who this was"):
        IdentifierFilter(IdentityRules()).clean([Identifier(namespace, value)], counts)
    assert counts == {rule: 1, "no_identifier": 1}


@pytest.mark.parametrize("value", ["10", "nullable", "noreply", "test"])
def test_what_only_looks_like_noise_is_kept(value: str) -> None:
    assert clean(("web", value)) == [("web", value)]


def test_own_rules_add_to_the_defaults() -> None:
    rules = IdentityRules(blocked={"web:*": ("kiosk-*",), "email": ("info@*",)})
    found = clean(
        ("web:shop", "kiosk-7"), ("crm", "kiosk-7"), ("email", "info@x.example"), ("web", "null"), rules=rules
    )
    assert found == [("crm", "kiosk-7")]


def test_defaults_can_be_switched_off() -> None:
    assert clean(("web", "null"), rules=IdentityRules(defaults=False)) == [("web", "null")]


def test_nobody_named_is_said_so() -> None:
    with pytest.raises(RecordError, match="the record names nobody"):
        clean()
