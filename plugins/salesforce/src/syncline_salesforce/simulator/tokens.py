"""The token endpoint of the simulated login host (vendor sheet §3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import jwt

from syncline.testing.simulator import Table
from syncline_salesforce.simulator.org import ORG_ID, SYNC_USER

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN", "USERNAME", "TokenError", "Tokens"]

CLIENT_ID: Final = "3MVG9simulated.client"
CLIENT_SECRET: Final = "simulated-client-secret"  # noqa: S105  # of the simulated account
REFRESH_TOKEN: Final = "5Aep861simulated-refresh-token"  # noqa: S105  # of the simulated account
USERNAME: Final = "integration@sync.example"
_AUDIENCES: Final = ("https://login.salesforce.com", "https://test.salesforce.com")


class TokenError(Exception):
    """A refusal of the token endpoint: `error`, `error_description`, and the status it comes with."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


class Tokens:
    """Issues and checks session ids. `rotate` makes every refresh token good for one use (unverified, so a switch)."""

    def __init__(self, table: Table, now: Callable[[], datetime], org_id: Callable[[], str] = lambda: ORG_ID) -> None:
        self._org_id = org_id
        self._table = table
        self._now = now
        self.rotate = False
        self.calls_per_session: int | None = None
        self.jwt_public_key: str | None = None
        self.issued = 0

    def valid(self, authorization: str) -> bool:
        """Whether this Authorization header names a living session; each look is one of its calls."""
        row = self._table.get(authorization.removeprefix("Bearer "))
        if row is None or row["kind"] != "session":
            return False
        row["calls"] += 1
        return self.calls_per_session is None or row["calls"] <= self.calls_per_session

    def expire(self) -> None:
        """End every session; refresh tokens live on."""
        for token in [t for t, row in self._table.items() if row["kind"] == "session"]:
            del self._table[token]

    def answer(self, form: Mapping[str, str], authorization: str, url: str) -> dict[str, Any]:
        """The body of a successful answer; TokenError otherwise."""
        grants: dict[str, Callable[[Mapping[str, str], str], dict[str, Any]]] = {
            "client_credentials": self._client_credentials,
            "urn:ietf:params:oauth:grant-type:jwt-bearer": self._jwt,
            "refresh_token": self._refresh,
        }
        grant = grants.get(form.get("grant_type", ""))
        if grant is None:
            raise TokenError("unsupported_grant_type", "grant type not supported")
        extra = grant(form, authorization)
        return self._issue(url) | extra

    def _issue(self, url: str) -> dict[str, Any]:
        self.issued += 1
        count = self._table.setdefault("_count", {"kind": "count", "calls": 0})
        count["calls"] += 1
        self._table.save("_count")
        token = f"{self._org_id()}!AQ.simulated.{count['calls']:06d}"
        self._table[token] = {"kind": "session", "calls": 0}
        return {
            "access_token": token,
            "instance_url": url,
            "id": f"{url}/id/{self._org_id()}/{SYNC_USER}",
            "token_type": "Bearer",
            "issued_at": str(int(self._now().timestamp() * 1000)),
            "signature": "c2ltdWxhdGVk",
            "api_instance_url": url,
        }

    def _client_credentials(self, form: Mapping[str, str], authorization: str) -> dict[str, Any]:
        _check_client(form, authorization, secret_needed=True)
        return {"scope": "api"}

    def _refresh(self, form: Mapping[str, str], authorization: str) -> dict[str, Any]:
        _check_client(form, authorization, secret_needed=False)
        self._table.setdefault(REFRESH_TOKEN, {"kind": "refresh", "calls": 0})
        row = self._table.get(form.get("refresh_token", ""))
        if row is None or row["kind"] != "refresh":
            raise TokenError("invalid_grant", "expired access/refresh token")
        if not self.rotate:
            return {"scope": "refresh_token api"}
        row["kind"] = "used"
        self._table.save(form["refresh_token"])
        fresh = f"{REFRESH_TOKEN}.{len(self._table)}"
        self._table[fresh] = {"kind": "refresh", "calls": 0}
        return {"scope": "refresh_token api", "refresh_token": fresh}

    def _jwt(self, form: Mapping[str, str], authorization: str) -> dict[str, Any]:
        claims = self._claims(form.get("assertion", ""))
        if claims.get("iss") != CLIENT_ID:
            raise TokenError("invalid_client_id", "client identifier invalid")
        if claims.get("aud") not in _AUDIENCES:
            raise TokenError("invalid_grant", "audience is invalid")
        ahead = int(claims.get("exp", 0)) - self._now().timestamp()
        if not 0 < ahead <= 300:
            raise TokenError("invalid_grant", "invalid assertion")
        if claims.get("sub") != USERNAME:
            raise TokenError("invalid_grant", "user hasn't approved this consumer")
        return {"scope": "api"}

    def _claims(self, assertion: str) -> dict[str, Any]:
        options: Any = {"verify_exp": False, "verify_aud": False}
        try:
            return dict(jwt.decode(assertion, self.jwt_public_key or "", algorithms=["RS256"], options=options))
        except (jwt.InvalidTokenError, jwt.InvalidKeyError) as error:
            raise TokenError("invalid_grant", "invalid assertion") from error


def _check_client(form: Mapping[str, str], authorization: str, *, secret_needed: bool) -> None:
    """Credentials come as form fields or as HTTP Basic."""
    client, secret = form.get("client_id", ""), form.get("client_secret", "")
    if authorization.startswith("Basic "):
        client, _, secret = _basic(authorization).partition(":")
    if client != CLIENT_ID:
        raise TokenError("invalid_client_id", "client identifier invalid")
    if (secret_needed or secret) and secret != CLIENT_SECRET:
        raise TokenError("invalid_client", "invalid client credentials")


def _basic(authorization: str) -> str:
    try:
        return base64.b64decode(authorization.removeprefix("Basic "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise TokenError("invalid_client", "invalid client credentials") from error
