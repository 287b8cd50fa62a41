"""The settings of a Mailchimp connection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from syncline.model.duration import parse_duration
from syncline.sdk import ConnectorConfig

__all__ = ["MailchimpConfig"]

_DATA_CENTRE: Final = re.compile(r"[a-z]{2,}\d+")
_SHORTEST_SECRET: Final = 16


def _duration(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("a duration carries its unit; write it like 90d or 1h")  # noqa: TRY004  # pydantic wants it
    return parse_duration(value) if isinstance(value, str) else value


def _list_ids(value: Any) -> Any:
    if isinstance(value, int | float):  # YAML reads 1234567890 and 123e456789 as numbers
        raise ValueError("the audience id was read as a number; put it in quotes")  # noqa: TRY004  # pydantic wants it
    return (value,) if isinstance(value, str) else value


def _secrets(value: Any) -> Any:
    return (value,) if isinstance(value, str | SecretStr) else value


_Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]


class MailchimpConfig(ConnectorConfig):
    """An API key or an OAuth access token, and at least one audience.

    `base_url` follows from the key's data centre (the part after its dash) or from the OAuth metadata.
    """

    api_key: SecretStr | None = None
    """Ends in its data centre: `…-us19`."""

    access_token: SecretStr | None = None
    """Of an OAuth app, instead of an API key; it never expires."""

    audience: Annotated[tuple[str, ...], BeforeValidator(_list_ids), Field(min_length=1)]
    """The audience id (Mailchimp: Audience → Settings → Audience name and defaults), or several."""

    base_url: str | None = None
    """`https://<dc>.api.mailchimp.com/3.0`."""

    oauth_base_url: str = "https://login.mailchimp.com"
    """Where the OAuth metadata is, for an access token."""

    horizon: _Duration = timedelta(days=90)
    """Campaigns sent longer ago are no longer looked at."""

    lookback: _Duration = timedelta(hours=1)
    """How far a read overlaps the one before, for facts that Mailchimp shows late."""

    concurrency: Annotated[int, Field(ge=1, le=8)] = 4
    """Open requests at a time. Mailchimp allows 10 per *user*, all programs together (error glossary, 429)."""

    page_size: Annotated[int, Field(ge=1, le=1000)] = 1000
    """Rows a call; Mailchimp gives at most 1000."""

    automations: bool = True
    """Also read the e-mails of classic automations."""

    merge_fields: Mapping[str, str] = {
        "first_name": "FNAME",
        "last_name": "LNAME",
        "company": "COMPANY",
        "phone": "PHONE",
    }
    """Attribute of the person → merge tag in the audience."""

    signing_secret: Annotated[tuple[SecretStr, ...], BeforeValidator(_secrets)] = ()
    """What Mailchimp showed when the webhook was created; several while one takes over from another."""

    url_secret: SecretStr | None = None
    """For webhooks from before signing: a long random part of their address, in the path or the query."""

    batch_from: Annotated[int, Field(ge=1)] | None = 100
    """The pages a first load would take from which on it goes through batch operations; null: never."""

    batch_wait: _Duration = timedelta(hours=1)
    """How long a batch is waited for at a time; the next read or run goes on waiting for the same one."""

    key_field: Annotated[str, Field(pattern=r"^[A-Z0-9_]{1,10}$")] = "SYNCKEY"
    """The merge tag that holds our key, where members are written."""

    bulk_from: Annotated[int, Field(ge=2)] | None = 50
    """The members to be written from which on batch operations are used; null: never."""

    @field_validator("url_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < _SHORTEST_SECRET:
            raise ValueError(f"whoever guesses it can send us anything; give at least {_SHORTEST_SECRET} characters")
        return secret

    @field_validator("signing_secret")
    @classmethod
    def _none_is_empty(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(secret.get_secret_value().strip() for secret in secrets):
            raise ValueError("an empty secret signs for anybody; copy the one that Mailchimp showed")
        return secrets

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.api_key is None) == (self.access_token is None):
            raise ValueError("give either api_key or access_token")
        if self.api_key is not None and self.base_url is None and not self._unset() and not self._data_centre():
            raise ValueError("api_key does not end in a data centre such as -us19; copy it whole, or set base_url")
        return self

    def _unset(self) -> bool:
        """Whether the key is still the name of a variable: that it is not set is said elsewhere."""
        return self.api_key is not None and "${" in self.api_key.get_secret_value()

    def _data_centre(self) -> str | None:
        key = self.api_key.get_secret_value() if self.api_key else ""
        centre = key.rpartition("-")[2]
        return centre if "-" in key and _DATA_CENTRE.fullmatch(centre) else None

    @property
    def api_url(self) -> str | None:
        """Where the API is; None when only the OAuth metadata can tell."""
        if self.base_url is not None:
            return self.base_url.rstrip("/")
        centre = self._data_centre()
        return f"https://{centre}.api.mailchimp.com/3.0" if centre else None
