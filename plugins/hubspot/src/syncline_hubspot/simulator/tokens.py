"""Keys and tokens of the simulated account (vendor sheet §2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from syncline.testing.simulator import Table

__all__ = [
    "APP_ID",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "REFRESH_TOKEN",
    "SERVICE_KEY",
    "TokenError",
    "Tokens",
]

APP_ID: Final = 19083857
CLIENT_ID: Final = "7fff1e36-2d40-4ae1-bbb1-5266d59564fb"
CLIENT_SECRET: Final = "simulated-client-secret"  # noqa: S105  # of the simulated account
REFRESH_TOKEN: Final = "eu1-simulated-refresh-token"  # noqa: S105  # of the simulated account
SERVICE_KEY: Final = "pat-eu1-simulated-service-key"
_SCOPES: Final = (
    "crm.lists.read crm.lists.write crm.objects.contacts.read crm.objects.contacts.write crm.objects.owners.read"
    " crm.schemas.contacts.read crm.schemas.contacts.write oauth"
).split()


class TokenError(Exception):
    """A refusal of the token endpoint."""

    def __init__(self, status: str, error: str, description: str) -> None:
        super().__init__(description)
        self.body = {
            "status": status,
            "message": description,
            "error": error,
            "error_description": description,
        }


class Tokens:
    """Issues and checks access tokens. `life` is what the vendor gives them; the refresh token is not rotated."""

    def __init__(self, table: Table, now: Callable[[], datetime], hub_id: Callable[[], int]) -> None:
        self._table = table
        self._now = now
        self._hub_id = hub_id
        self.life = 1800
        self.installed = True
        self.issued = 0

    def problem(self, authorization: str) -> tuple[str, str] | None:
        """Category and message when this Authorization header is refused."""
        token = authorization.removeprefix("Bearer ")
        if not authorization.startswith("Bearer ") or not token:
            return "INVALID_AUTHENTICATION", "Authentication credentials not found."
        if token == SERVICE_KEY:
            return None
        row = self._table.get(token)
        if row is None:
            return "INVALID_AUTHENTICATION", "Authentication credentials not found."
        if self._now() >= datetime.fromisoformat(row["expires"]):
            return "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired."
        return None

    def is_oauth(self, authorization: str) -> bool:
        return authorization.removeprefix("Bearer ") in self._table

    def expire(self) -> None:
        """Every access token ends now; keys and the refresh token live on."""
        for token in list(self._table):
            if token != "_count":  # noqa: S105  # a row's name
                self._table[token] = {"expires": self._now().isoformat()}

    def answer(self, form: Mapping[str, str], version: str) -> dict[str, Any]:
        """The body of a successful answer; TokenError otherwise."""
        if form.get("grant_type") != "refresh_token":
            raise TokenError("BAD_GRANT_TYPE", "unsupported_grant_type", "grant type not supported")
        self._check_app(form)
        if form.get("refresh_token") != REFRESH_TOKEN or not self.installed:
            raise TokenError("BAD_REFRESH_TOKEN", "invalid_grant", "refresh token is invalid, expired or revoked")
        answer: dict[str, Any] = {
            "token_type": "bearer",
            "refresh_token": REFRESH_TOKEN,
            "access_token": self._issue(),
            "expires_in": self.life,
        }
        if version in ("v1", "v3"):
            return answer
        more = {"hub_id": self._hub_id(), "user_id": 88842095, "scopes": _SCOPES, "token_use": "access_token"}
        return answer | more

    def _issue(self) -> str:
        self.issued += 1
        count = self._table.setdefault("_count", {"expires": "1970-01-01T00:00:00+00:00", "issued": 0})
        count["issued"] += 1
        self._table.save("_count")
        token = f"CJ{'x' * 300}{count['issued']:06d}"  # longer than 300 characters, as documented
        self._table[token] = {"expires": (self._now() + timedelta(seconds=self.life)).isoformat()}
        return token

    def introspect(self, form: Mapping[str, str]) -> dict[str, Any]:
        """What an access token belongs to."""
        self._check_app(form)
        token = form.get("token", "")
        active = self.problem(f"Bearer {token}") is None
        return {
            "token": token,
            "active": active,
            "app_id": APP_ID,
            "client_id": CLIENT_ID,
            "hub_id": self._hub_id(),
            "user_id": 88842095,
            "scopes": _SCOPES,
            "token_type": "bearer",
            "token_use": "access_token",
            "expires_in": self.life if active else 0,
            "is_private_distribution": True,
            "signed_access_token": _signed(self._hub_id()),
        }

    def info(self) -> dict[str, Any]:
        """What the key belongs to."""
        return {"userId": 88842095, "hubId": self._hub_id(), "appId": APP_ID, "scopes": _SCOPES}

    def _check_app(self, form: Mapping[str, str]) -> None:
        if form.get("client_id") != CLIENT_ID:
            raise TokenError("BAD_CLIENT_ID", "invalid_client", "missing or invalid client id")
        if form.get("client_secret") != CLIENT_SECRET:
            raise TokenError("BAD_CLIENT_SECRET", "invalid_client", "missing or invalid client secret")


def _signed(hub_id: int) -> dict[str, Any]:
    """The part of an introspection that only the vendor can use."""
    words = "hublet newSignature scopes scopeToScopeGroupPks signature trialScopes trialScopeToScopeGroupPks"
    numbers = {"appId": APP_ID, "expiresAt": 0, "hubId": hub_id, "installingUserId": 88842095, "userId": 88842095}
    flags = {"isPrivateDistribution": True, "isServiceAccount": False, "isUserLevel": False}
    return dict.fromkeys(words.split(), "") | numbers | flags
