"""What a connection may say in connectors.yaml, and what it is told when it says something else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from syncline_unbounce import UnbounceConfig
from syncline_unbounce.config import OAuthGrant

KEY = {"login": {"api_key": "hidden-key"}}
GRANT = {"client_id": "c", "client_secret": "hidden-client-secret", "refresh_token": "hidden-refresh-token"}


def test_an_api_key_is_all_it_takes():
    config = UnbounceConfig.model_validate(KEY)
    assert config.base_url == "https://api.unbounce.com"
    assert config.renewal_url == "https://api.unbounce.com/oauth/token"


def test_or_an_oauth_grant():
    config = UnbounceConfig.model_validate({"login": GRANT})
    assert isinstance(config.login, OAuthGrant)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "login\n  Field required"),
        ({"login": {}}, "login.key.api_key\n  Field required"),
        ({"login": {"api_key": "hidden-key", **GRANT}}, "login.oauth.api_key\n  Extra inputs"),
        ({"login": {"client_id": "c", "client_secret": "hidden"}}, "login.oauth.refresh_token\n  Field required"),
        ({**KEY, "forms": {"newsleter": ["*"]}}, "did you mean 'newsletter_signup'"),
        ({**KEY, "downloads": {"pdf": ["*"]}}, "'pdf' is no content type"),
        ({**KEY, "lookback": 10}, "write it like 10m"),
        ({**KEY, "lookback": "0s"}, "longer than nothing"),
        ({**KEY, "page_size": 1001}, "less than or equal to 1000"),
        ({**KEY, "calls_per_minute": 501}, "less than or equal to 500"),
        ({**KEY, "webhook_secret": "short"}, "at least 16"),
        ({**KEY, "api_leads": "keep"}, "'skip' or 'mark'"),
        ({**KEY, "sub_acounts": ["1"]}, "Extra inputs"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ",".join(value) or "nothing",
)
def test_a_mistake_is_explained(settings, said):
    with pytest.raises(ValidationError) as caught:
        UnbounceConfig.model_validate(settings)
    assert said in str(caught.value)


def test_no_mistake_shows_a_secret():
    with pytest.raises(ValidationError) as caught:
        UnbounceConfig.model_validate(
            {"login": {**GRANT, "api_key": "hidden-key"}, "webhook_secret": "hidden-1", "x": "hidden"}
        )
    assert "hidden" not in str(caught.value)


def test_nothing_secret_is_in_its_repr():
    given = {"login": GRANT, "webhook_secret": "hidden-webhook-secret", "webhook_url_secret": "hidden-address-secret"}
    assert "hidden" not in repr(UnbounceConfig.model_validate(given))


@pytest.mark.parametrize("given", [1552433, "1552433", [1552433], ["1552433"]])
def test_ids_of_sub_accounts_may_look_like_numbers(given):
    """YAML reads them so."""
    assert UnbounceConfig.model_validate({**KEY, "sub_accounts": given}).sub_accounts == ("1552433",)
