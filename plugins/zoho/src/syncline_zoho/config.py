"""The settings of one Zoho CRM connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from syncline.sdk import ConnectorConfig

__all__ = ["ACCOUNTS", "DataCenter", "Trigger", "ZohoConfig", "is_safe"]

DataCenter = Literal["us", "eu", "in", "au", "cn", "jp", "ca", "sa"]
Trigger = Literal["workflow", "approval", "blueprint", "pathfinder", "orchestration"]

ACCOUNTS: Final[Mapping[str, str]] = {
    "us": "https://accounts.zoho.com",
    "eu": "https://accounts.zoho.eu",
    "in": "https://accounts.zoho.in",
    "au": "https://accounts.zoho.com.au",
    "cn": "https://accounts.zoho.com.cn",
    "jp": "https://accounts.zoho.jp",
    "ca": "https://accounts.zohocloud.ca",
    "sa": "https://accounts.zoho.sa",
}
"""Data centre → where its tokens come from (zohocrmsdk8-0 7.0.0; vendor sheet §1). The answer says where data is."""

_LONGEST_NOTIFY_TOKEN: Final = 50


class ZohoConfig(ConnectorConfig):
    """What a connection to Zoho CRM needs: a client of the API console and a refresh token of the integration user."""

    client_id: str
    """The client that was made in the API console; a self client will do."""
    client_secret: SecretStr
    """Its secret. A client of several data centres may have another one in each."""
    refresh_token: SecretStr
    """The integration user's consent, given once: it lives until it is revoked."""
    data_center: DataCenter = "us"
    """Where the account lives. A client knows only the data centre it was made in."""
    accounts_url: str | None = None
    """Where tokens come from; by default what the data centre needs."""
    api_url: str | None = None
    """Where data calls go; by default where the token says (`api_domain`). A sandbox has an address of its own."""
    api_version: str = Field(default="v8", pattern=r"^v\d+(\.\d+)?$")
    """What this connector was written for; an older one lacks page tokens, a newer one may answer otherwise."""
    key_field: str = Field(default="Syncline_Key", pattern=r"^[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*$", max_length=25)
    """The unique field of tasks that holds our key."""
    triggers: tuple[Trigger, ...] = ()
    """The automations that run on what we write; none by default, so that a sync does not start campaigns."""
    cadences: bool = False
    """Whether what we write may enrol people in cadences, whose mails go to them; `triggers` is silent about those."""
    task_owner: str | None = None
    """A user id that owns our tasks; null leaves it to Zoho, which takes the user we log in as."""
    task_withdrawn_status: str = "Completed"
    """The status of tasks that `undo` takes back: one that closes them; they say themselves that nobody did them."""
    field_history: int = Field(default=0, ge=0)
    """Of how many changed records a read may ask who changed which field: a call and a credit each. 0: of none, and the
    record's last writer stands for all its fields."""
    notify_url: str | None = None
    """Where Zoho shall send notices of changes (our webhook address, with a secret path); null: none are asked for."""
    notify_token: SecretStr | None = None
    """What a notice must carry to be believed: Zoho signs nothing, it only repeats this. At most 50 characters."""

    @property
    def token_url(self) -> str:
        base = self.accounts_url or ACCOUNTS[self.data_center]
        return f"{base.rstrip('/')}/oauth/v2/token"

    @field_validator("accounts_url", "api_url")
    @classmethod
    def _encrypted(cls, url: str | None) -> str | None:
        if url is not None and not is_safe(url):
            raise ValueError("credentials travel there, so it must be an https address")
        return url

    @model_validator(mode="after")
    def _notices_are_proven(self) -> ZohoConfig:
        token = self.notify_token.get_secret_value() if self.notify_token else ""
        if self.notify_url and not token:
            raise ValueError("notify_url needs a notify_token: nothing else proves that a notice is Zoho's")
        if len(token) > _LONGEST_NOTIFY_TOKEN:
            raise ValueError(f"notify_token has {len(token)} characters; Zoho takes at most {_LONGEST_NOTIFY_TOKEN}")
        return self


def is_safe(url: str) -> bool:
    """Whether credentials may be sent there: https, or this machine, or a name that exists nowhere.

    The last (RFC 2606) stand for this machine in recordings.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost" or host.endswith(".invalid")
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and here))
