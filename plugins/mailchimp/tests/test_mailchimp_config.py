"""Settings: what they default to, and what is refused before any network."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from syncline_mailchimp import MailchimpConfig

KEY = "0123456789abcdef0123456789abcdef-us19"


def _config(**settings):
    return MailchimpConfig.model_validate({"api_key": KEY, "audience": "3f2a", **settings})


def test_the_address_follows_from_the_data_centre_of_the_key():
    assert _config().api_url == "https://us19.api.mailchimp.com/3.0"


def test_a_base_url_wins_over_the_key():
    assert _config(base_url="http://127.0.0.1:1/3.0/").api_url == "http://127.0.0.1:1/3.0"


def test_with_a_token_only_the_metadata_knows_the_address():
    assert MailchimpConfig.model_validate({"access_token": "t", "audience": "3f2a"}).api_url is None


def test_one_audience_or_several():
    assert _config().audience == ("3f2a",)
    assert _config(audience=["3f2a", "77aa"]).audience == ("3f2a", "77aa")


def test_durations_are_written_with_their_unit():
    config = _config(horizon="30d", lookback="90m")
    assert (config.horizon, config.lookback) == (timedelta(days=30), timedelta(hours=1.5))
    assert (_config().horizon, _config().lookback) == (timedelta(days=90), timedelta(hours=1))


def test_one_signing_secret_or_several_and_none_is_shown():
    config = _config(signing_secret=["whsec_one", "whsec_two"], url_secret="0123456789abcdef")
    assert [secret.get_secret_value() for secret in config.signing_secret] == ["whsec_one", "whsec_two"]
    assert [s.get_secret_value() for s in _config(signing_secret="whsec_one").signing_secret] == ["whsec_one"]
    assert "whsec" not in f"{config} {config!r} {config.model_dump()}"


def test_batches_can_be_switched_off():
    assert (_config().batch_from, _config().bulk_from) == (100, 50)
    config = _config(batch_from=None, bulk_from=None)
    assert (config.batch_from, config.bulk_from) == (None, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_key": None}, "either api_key or access_token"),
        ({"access_token": "t"}, "either api_key or access_token"),
        ({"api_key": "0123456789abcdef"}, "does not end in a data centre"),
        ({"api_key": "0123-evil.example/"}, "does not end in a data centre"),
        ({"audience": 1234567890}, "put it in quotes"),
        ({"audience": 123e6}, "put it in quotes"),
        ({"audience": []}, "at least 1 item"),
        ({"horizon": 90}, "carries its unit"),
        ({"horizon": "90 parsecs"}, "is not a duration"),
        ({"lookback": "0s"}, "greater than"),
        ({"concurrency": 9}, "less than or equal to 8"),
        ({"page_size": 1001}, "less than or equal to 1000"),
        ({"url_secret": "short"}, "at least 16 characters"),
        ({"signing_secret": ""}, "signs for anybody"),
        ({"signing_secret": ["whsec_one", " "]}, "signs for anybody"),
        ({"key_field": "SYNCLINE_KEY"}, "should match pattern"),
        ({"batch_from": 0}, "greater than or equal to 1"),
        ({"bulk_from": 1}, "greater than or equal to 2"),
        ({"apikey": "x"}, "Extra inputs are not permitted"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_work_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        _config(**settings)


@pytest.mark.parametrize("settings", [{"api_key": "topsecret"}, {"apikey": "topsecret"}], ids=["bad key", "misspelt"])
def test_a_refusal_never_shows_the_secret(settings):
    with pytest.raises(ValidationError) as caught:
        _config(**settings)
    assert "topsecret" not in str(caught.value)
