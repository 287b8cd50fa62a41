"""Tokens: how we log in, and the one refresh token that may change under us."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Final

import jwt
from pydantic import ValidationError

from syncline.errors import ConfigError, TransientError
from syncline.sdk import Context
from syncline.sdk.http import purpose
from syncline_salesforce.config import ClientCredentials, JwtBearer, RefreshToken, SalesforceConfig
from syncline_salesforce.errors import token_error
from syncline_salesforce.payloads import Token

__all__ = ["fetch_token"]

_JWT_LIFE: Final = timedelta(minutes=3)
_KEPT: Final = "refresh_token"


def fetch_token(config: SalesforceConfig, context: Context) -> Token:
    """A new session. AuthError when the credentials are refused; a rotated refresh token is kept before it is used."""
    where = f"{context.connection}: log-in"
    with purpose("auth"):
        response = context.http.request(
            "POST", config.token_url, data=_form(config, context), raise_for_status=False, allow_redirects=False
        )
    if response.status_code != 200:
        raise token_error(response, where=where)
    try:
        token = Token.model_validate(response.json())
    except (ValueError, ValidationError) as error:
        raise TransientError("the token endpoint's answer cannot be read", where=where) from error
    if isinstance(config.login, RefreshToken) and token.refresh_token:
        _keep(config.login, context, token.refresh_token)
    return token


def _form(config: SalesforceConfig, context: Context) -> dict[str, str]:
    login = config.login
    if isinstance(login, ClientCredentials):
        return {
            "grant_type": "client_credentials",
            "client_id": login.client_id,
            "client_secret": login.client_secret.get_secret_value(),
        }
    if isinstance(login, JwtBearer):
        return {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": _assertion(login, context),
        }
    form = {
        "grant_type": "refresh_token",
        "client_id": login.client_id,
        "refresh_token": _refresh_token(login, context),
    }
    if login.client_secret is not None:
        form["client_secret"] = login.client_secret.get_secret_value()
    return form


def _assertion(login: JwtBearer, context: Context) -> str:
    """Signed for three minutes, the most that is documented."""
    claims = {
        "iss": login.client_id,
        "sub": login.username,
        "aud": login.default_url,
        "exp": int((context.clock() + _JWT_LIFE).timestamp()),
    }
    try:
        return jwt.encode(claims, login.private_key.get_secret_value(), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise ConfigError(
            "login.private_key is not an RSA private key in PEM form (-----BEGIN PRIVATE KEY----- …)",
            where=context.connection,
        ) from error


def _refresh_token(login: RefreshToken, context: Context) -> str:
    """The rotated token if there is one and it grew out of the configured one, else the configured one."""
    configured = login.refresh_token.get_secret_value()
    try:
        kept = json.loads(context.keep.get(_KEPT, "{}"))
    except ValueError:
        return configured
    if isinstance(kept, dict) and kept.get("for") == _fingerprint(configured):
        return str(kept["token"])
    return configured


def _keep(login: RefreshToken, context: Context, token: str) -> None:
    """In one value: killed between two, we would hold a token without knowing what it belongs to."""
    grown_from = _fingerprint(login.refresh_token.get_secret_value())
    context.keep[_KEPT] = json.dumps({"token": token, "for": grown_from})


def _fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:16]
