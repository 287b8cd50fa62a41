"""The settings of one HubSpot connection."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag, field_validator

from syncline.sdk import ConnectorConfig

__all__ = ["AccessKey", "Api", "HubspotConfig", "Login", "RefreshToken"]

Api = Literal["2026-09", "2026-03", "v3"]


class _Login(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class AccessKey(_Login):
    """A service key, or the token of a private app. It does not end, and there is nothing to renew."""

    token: SecretStr
    """The key, `pat-…`: Settings, Integrations, Service keys (or private apps, where there still are some)."""


class RefreshToken(_Login):
    """An OAuth app that a person has installed; its refresh token is good until the app is removed."""

    client_id: str
    """Of the app, on its page under Auth."""
    client_secret: SecretStr
    """Beside the client id."""
    refresh_token: SecretStr
    """What the app was given when somebody installed it in the account."""


def _flow(value: Any) -> str:
    """Which log-in is meant, so that a mistake is explained in its terms."""
    names = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "token" if "token" in names else "oauth"


Login = Annotated[
    Annotated[AccessKey, Tag("token")] | Annotated[RefreshToken, Tag("oauth")],
    Discriminator(_flow),
]


class HubspotConfig(ConnectorConfig):
    """What a connection to HubSpot needs. Only `login` has no default."""

    login: Login
    api: Api = "2026-09"
    """The family of addresses: a dated version, or `v3`, which ends in September 2027."""
    base_url: str = "https://api.hubapi.com"
    """One host for every account, those in the EU included."""
    token_url: str | None = None
    """Where access tokens come from; by default /oauth/2026-03/token of `base_url`."""
    webhook_secret: SecretStr | None = None
    """The app's client secret, with which HubSpot signs its notices; without it none is accepted."""
    app_id: int | None = None
    """The app we are, by which we know our own writes; by default HubSpot is asked."""
    task_key_field: str = Field(default="syncline_task_key", pattern=r"^[a-z][a-z0-9_]*$")
    """The unique property of tasks that holds our key."""
    task_type: Literal["TODO", "CALL", "EMAIL"] = "TODO"
    """What our tasks are shown as."""
    task_owner: str | None = None
    """An owner id for tasks that name none; null leaves them without an owner."""
    property_group: str = Field(default="syncline", pattern=r"^[a-z][a-z0-9_]*$")
    """The group in which `prepare` creates properties."""
    calls_per_second: float = Field(default=10, gt=0)
    """Our own pace: 100 calls in 10 s is what the smallest accounts allow; Professional and Enterprise allow 190."""
    searches_per_second: float = Field(default=4, gt=0, le=5)
    """Of the five searches a second that all apps of an account share."""

    @property
    def token_address(self) -> str:
        return self.token_url or f"{self.base_url.rstrip('/')}/oauth/2026-03/token"

    @field_validator("base_url", "token_url")
    @classmethod
    def _safe(cls, address: str | None) -> str | None:
        """Tokens travel over https; plain http is for loopback."""
        if address is None:
            return None
        parts = urlsplit(address)
        if parts.scheme == "https" or (parts.scheme == "http" and _stays_here(parts.hostname or "")):
            return address.rstrip("/")
        raise ValueError("give an address that begins with https://; plain http is accepted on loopback only")


def _stays_here(host: str) -> bool:
    """Loopback; and names that exist nowhere (RFC 2606), which stand for it in recordings."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".invalid")
