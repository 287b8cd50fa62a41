"""The settings of an Unbounce connection."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    field_validator,
)

from syncline.errors import did_you_mean
from syncline.model.duration import parse_duration
from syncline.sdk import ConnectorConfig

__all__ = ["CONTENT_TYPES", "FORM_TYPES", "ApiKey", "Login", "OAuthGrant", "UnbounceConfig"]

FORM_TYPES: Final = ("newsletter_signup", "contact", "demo_request", "trial_signup", "other")
CONTENT_TYPES: Final = ("whitepaper", "guide", "template", "webinar", "other")


def _duration(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("a duration carries its unit; write it like 10m or 24h")  # noqa: TRY004  # pydantic wants it
    return parse_duration(value) if isinstance(value, str) else value


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a duration must be longer than nothing; write it like 10m or 24h")
    return value


def _texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _ids(value: Any) -> Any:
    """Ids of sub-accounts look like numbers, and YAML reads them so."""
    many = value if isinstance(value, list | tuple) else [value]
    return tuple(str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in many)


_Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_some_time)]
_Names = Annotated[tuple[str, ...], BeforeValidator(_texts)]
_Secret = Annotated[SecretStr, Field(min_length=16)]


class _Login(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class ApiKey(_Login):
    """A key acts as account administrator."""

    api_key: SecretStr
    """Unbounce's support makes one on request."""


class OAuthGrant(_Login):
    """A person's authorisation of an OAuth client; clients are granted case by case."""

    client_id: str
    """The client's id,"""
    client_secret: SecretStr
    """its secret,"""
    refresh_token: SecretStr
    """and the refresh token as it was at first. Every renewal brings a new one, which the host keeps."""


def _flow(value: Any) -> str:
    """Which log-in is meant, so that a mistake is explained in its terms."""
    names = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "oauth" if {"client_id", "client_secret", "refresh_token"} & set(names) else "key"


Login = Annotated[
    Annotated[ApiKey, Tag("key")] | Annotated[OAuthGrant, Tag("oauth")],
    Discriminator(_flow),
]


class UnbounceConfig(ConnectorConfig):
    """How to log in, what pages and fields mean, and the webhook's secrets. Only `login` has no default.

    Patterns are compared with a page's id, name and address (`https://host/path`); `*` is anything, case is ignored.
    """

    login: Login
    """An API key, or an OAuth grant."""

    base_url: str = "https://api.unbounce.com"
    """Where the API is."""
    token_url: str | None = None
    """By default `/oauth/token` under `base_url`."""

    sub_accounts: Annotated[tuple[str, ...], BeforeValidator(_ids)] = ()
    """Only pages of these sub-accounts ("clients"); all if empty."""

    lookback: _Duration = timedelta(minutes=10)
    """How far a read overlaps the one before: leads are visible some seconds after they were submitted."""

    full_check: _Duration = timedelta(hours=24)
    """Pages whose statistics did not move are read again after this long all the same."""

    horizon: _Duration | None = None
    """How far back the first read goes; everything there is, if not set."""

    page_size: Annotated[int, Field(ge=1, le=1000)] = 1000
    """Rows a call; 1000 is the most there may be (vendor's API contract v0.4)."""
    calls_per_minute: Annotated[int, Field(ge=1, le=500)] = 480
    """Unbounce allows 500 per account and address, all programs together (vendor's API contract v0.4)."""

    webhook_secret: _Secret | None = None
    """What `webhook_header` of every webhook must say."""
    webhook_header: str = "X-Syncline-Secret"
    """The header that was set up with the webhook."""
    webhook_url_secret: _Secret | None = None
    """What the parameter `secret` of the webhook's address must say."""
    webhook_fields: Mapping[str, str] = {}
    """Field as renamed in a webhook of type JSON or XML → field id on the form."""

    email_fields: _Names = ("email", "email_address", "e_mail", "your_email")
    """Names of the e-mail field, the first that is filled in counts; then any field that holds an address."""
    email_field: Mapping[str, str] = {}
    """Page (pattern) → the name of its e-mail field, where guessing would be wrong."""

    profile: Mapping[str, _Names] = {
        "first_name": ("first_name", "firstname", "given_name", "nome"),
        "last_name": ("last_name", "lastname", "surname", "family_name", "cognome"),
        "company": ("company", "company_name", "organization", "azienda"),
        "title": ("job_title", "title", "role", "ruolo"),
        "phone": ("phone", "phone_number", "telephone", "mobile", "telefono"),
        "city": ("city", "citta"),
        "country": ("country", "paese"),
    }
    """Attribute of the person → names of form fields, the first that is filled in counts."""

    fields: _Names = ("*",)
    """Which other fields an event carries (patterns); never the e-mail field, nor those of `profile` and `private`."""
    private: _Names = ("name", "full_name", "*message*", "*comment*", "*messaggio*", "*password*")
    """Fields (patterns) that may name somebody: an event never carries them."""
    unhashed: _Names = ()
    """Fields (patterns) that do not count when a webhook and a lead are compared: those a webhook leaves out."""

    forms: Mapping[str, _Names] = {}
    """Form type → patterns of pages; the first match wins."""
    form_field: str | None = None
    """A hidden field that names the form type itself; before `forms`."""
    downloads: Mapping[str, _Names] = {}
    """Content type → patterns of pages that give something to download, or of what an asset field says."""
    asset_fields: _Names = ()
    """Hidden fields that name what is downloaded, such as `asset` or `offer`."""
    visits: bool = False
    """Whether a submission also counts as one visit of its page."""
    api_leads: Literal["skip", "mark"] = "skip"
    """Leads that a program created: no event, or one with `created_by: api` among its fields."""

    @field_validator("forms")
    @classmethod
    def _known_forms(cls, value: Mapping[str, _Names]) -> Mapping[str, _Names]:
        return _known(value, FORM_TYPES, "form type")

    @field_validator("downloads")
    @classmethod
    def _known_content(cls, value: Mapping[str, _Names]) -> Mapping[str, _Names]:
        return _known(value, CONTENT_TYPES, "content type")

    @property
    def renewal_url(self) -> str:
        """Where tokens are renewed."""
        return self.token_url or f"{self.base_url.rstrip('/')}/oauth/token"


def _known(value: Mapping[str, _Names], known: tuple[str, ...], what: str) -> Mapping[str, _Names]:
    for name in value:
        if name not in known:
            raise ValueError(f"{name!r} is no {what}; {did_you_mean(name, known)}")
    return value
