"""Tokens: how we log in. A key is its own token; an OAuth app fetches one that ends, and renews it before it does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import requests
from pydantic import ValidationError

from syncline.errors import TransientError
from syncline.sdk import Context
from syncline.sdk.http import purpose
from syncline_hubspot.config import AccessKey, HubspotConfig, RefreshToken
from syncline_hubspot.errors import token_error
from syncline_hubspot.library import Library
from syncline_hubspot.paths import INTROSPECT, TOKEN_INFO
from syncline_hubspot.payloads import Token, TokenInfo

__all__ = ["Pass", "fetch_pass", "fingerprint", "told_app", "who_we_are"]

_SHARE: Final = 0.8
"""Of its life after which a token is renewed (vendor sheet §2)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A token, and from when on it is to be renewed (None: never)."""

    token: str = field(repr=False)
    renew_at: datetime | None = None


def fetch_pass(config: HubspotConfig, context: Context, library: Library) -> Pass:
    """AuthError when the credentials are refused. A key costs no call."""
    login = config.login
    if isinstance(login, AccessKey):
        return Pass(login.token.get_secret_value())
    where = f"{context.connection}: log-in"
    form = {"grant_type": "refresh_token", "refresh_token": login.refresh_token.get_secret_value(), **_app(login)}
    with purpose("auth"):
        asked_at = context.clock()
        response = _post_form(library, config.token_address, form)
    if response.status_code != 200:
        raise token_error(response, where=where)
    try:
        token = Token.model_validate(json.loads(response.content))
    except (ValueError, ValidationError):
        raise TransientError("the token endpoint's answer cannot be read", where=where) from None  # it is a token
    return Pass(token.access_token, asked_at + timedelta(seconds=_SHARE * token.expires_in))


def _app(login: RefreshToken) -> dict[str, str]:
    return {"client_id": login.client_id, "client_secret": login.client_secret.get_secret_value()}


def _post_form(library: Library, address: str, form: dict[str, str]) -> requests.Response:
    """Parameters travel in the body only."""
    options: dict[str, Any] = {
        "method": "POST",
        "base_url": address,
        "headers": {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        "default_json": False,
        "body": form,
    }
    return library.client(None).api_request(options)


def who_we_are(config: HubspotConfig, library: Library, token: str) -> requests.Response:
    """The answer that names the app a token belongs to: asked in one way for keys, in another for OAuth."""
    login = config.login
    with purpose("auth"):
        if isinstance(login, RefreshToken):
            form = {"token": token, "token_type_hint": "access_token", **_app(login)}
            return _post_form(library, config.token_address + INTROSPECT, form)
        options = {"method": "POST", "path": TOKEN_INFO, "body": {"tokenKey": token}}
        return library.client(token).api_request(options)


def told_app(response: requests.Response) -> str | None:
    """The app id in such an answer; None when it says nothing of one."""
    try:
        info = TokenInfo.model_validate(json.loads(response.content))
    except (ValueError, ValidationError):
        return None
    return None if response.status_code != 200 or info.app_id is None else str(info.app_id)


def fingerprint(config: HubspotConfig) -> str:
    """What tells the credentials of this connection from others, without telling them."""
    login = config.login
    told = login.client_id if isinstance(login, RefreshToken) else login.token.get_secret_value()
    return hashlib.sha256(told.encode()).hexdigest()[:16]
