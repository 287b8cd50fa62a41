"""What may stand in connectors.yaml, and what a mistake there says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from syncline_instapage import InstapageConfig

FINE = {"token": "a-personal-token", "webhook_secret": "a-secret-that-is-long-enough"}


def make(**settings):
    return InstapageConfig.model_validate({**FINE, **settings})


def test_a_token_is_all_that_is_needed():
    config = InstapageConfig.model_validate({"token": "a-personal-token"})
    assert config.workspaces == ()
    assert config.base_url == "https://api.instapage.com/v1"
    assert config.submissions_verb == "POST"
    assert config.calls_per_minute < 200  # the vendor's limit (sheet, §1)


def test_single_values_need_no_brackets():
    config = make(
        workspaces=11771, keep_fields="Budget", labels={"email": "Correo"}, pages=[{"id": 7, "form_type": "other"}]
    )
    assert config.workspaces == (11771,)
    assert config.keep_fields == ("Budget",)
    assert config.labels == {"email": ("Correo",)}
    assert config.pages[0].id == ("7",)


def test_durations_carry_their_unit():
    assert make(horizon="30d", lookback="1h30m").lookback == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 90}, "a duration carries its unit"),
        ({"settle": "0s"}, "greater than"),
        ({"window": "5m"}, "`window` must be longer than `lookback`"),
        ({"submissions_verb": "PUT"}, "'POST' or 'GET'"),
        ({"webhook_secret": "short"}, "too short to be one; give 16 random characters"),
        ({"webhook_secret": ""}, "too short"),
        ({"webhook_secret_in": "cookie"}, "'query', 'path', 'header' or 'field'"),
        ({"labels": {"First Name": "x"}}, "did you mean 'first_name'"),
        ({"identifiers": {"email": "x"}}, "is no namespace"),
        ({"identifiers": {"ga": "x"}}, "is no namespace"),
        ({"pages": [{"form_type": "contact"}]}, "say which pages"),
        ({"pages": [{"id": 7}]}, "say what they mean"),
        ({"pages": [{"id": 7, "form_type": "demo"}]}, "'demo_request'"),
        ({"pages": [{"id": 7, "form_type": "other", "content_id": "x"}]}, "`content_id` needs `content_type`"),
        ({"pages": [{"id": 7, "form_typ": "other"}]}, "form_typ"),
        ({"tokn": "x"}, "tokn"),
        ({"calls_per_minute": 0}, "greater than or equal to 1"),
    ],
    ids=str,
)
def test_a_mistake_is_refused_with_what_would_be_valid(settings, message):
    with pytest.raises(ValidationError, match=message) as caught:
        make(**settings)
    assert "a-personal-token" not in str(caught.value)


def test_a_variable_that_is_not_set_is_reported_elsewhere():
    assert make(webhook_secret="${HOOK}").webhook_secret is not None


def test_secrets_are_not_shown():
    shown = f"{make()!r} {make()}"
    assert "a-personal-token" not in shown
    assert "long-enough" not in shown


def test_the_same_workspace_twice_is_read_once():
    assert make(workspaces=[2, 1, 2]).workspaces == (2, 1)
