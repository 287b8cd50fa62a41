"""The token endpoint of the simulated accounts server (vendor sheet §2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from syncline.testing.simulator import Table

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN", "Tokens"]

CLIENT_ID: Final = "1000.SIMULATEDCLIENT"
CLIENT_SECRET: Final = "simulated-client-secret"  # noqa: S105  # of the simulated account
REFRESH_TOKEN: Final = "1000.simulated-refresh.token"  # noqa: S105  # of the simulated account
_WINDOW: Final = timedelta(minutes=10)
_LIFE: Final = timedelta(hours=1)
_DENIED: Final = {
    "error": "Access Denied",
    "error_description": "You have made too many requests continuously. Please try again after some time.",
    "status": "failure",
}


class Tokens:
    """Issues and checks access tokens: ten of a refresh token in ten minutes, fifteen alive at once."""

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now
        self.per_window = 10
        self.alive_at_once = 15
        """10, 15 or 30: the vendor's pages disagree."""
        self.calls_per_token: int | None = None
        self.issued = 0

    def answer(self, form: Mapping[str, str], api_domain: str) -> tuple[dict[str, Any], int]:
        """Body and status. Refusals come with 200."""
        if form.get("grant_type") != "refresh_token":
            return {"error": "unsupported_grant_type"}, 200
        if form.get("client_id") != CLIENT_ID:
            return {"error": "invalid_client"}, 200
        if form.get("client_secret") != CLIENT_SECRET:
            return {"error": "invalid_client_secret"}, 200
        if form.get("refresh_token") != REFRESH_TOKEN or "revoked" in self._table:
            return {"error": "invalid_code"}, 200
        if self._throttled():
            return dict(_DENIED), 400
        body = {"access_token": self._issue(), "scope": "ZohoCRM.modules.ALL", "api_domain": api_domain}
        return body | {"token_type": "Bearer", "expires_in": int(_LIFE.total_seconds())}, 200

    def _throttled(self) -> bool:
        since = (self._now() - _WINDOW).isoformat()
        return len([row for row in self._issued() if row["at"] > since]) >= self.per_window

    def _issued(self) -> list[dict[str, Any]]:
        return [row for key, row in self._table.items() if key != "revoked"]

    def _issue(self) -> str:
        self.issued += 1
        token = f"1000.simulated.{len(self._table):06d}"
        self._table[token] = {"at": self._now().isoformat(), "alive": True, "calls": 0, "id": token}
        alive = [row for row in self._issued() if row["alive"]]
        for row in alive[: -self.alive_at_once]:
            self._end(row)
        return token

    def _end(self, row: dict[str, Any]) -> None:
        row["alive"] = False
        self._table.save(row["id"])

    def valid(self, authorization: str) -> bool:
        """Whether the header names a living token, in Zoho's own scheme; each look is one of its calls."""
        scheme, _, value = authorization.partition(" ")
        row = self._table.get(value)
        if scheme != "Zoho-oauthtoken" or row is None or not row.get("alive"):
            return False
        row["calls"] += 1
        old: bool = datetime.fromisoformat(row["at"]) + _LIFE <= self._now()
        return bool(not old and (self.calls_per_token is None or int(row["calls"]) <= self.calls_per_token))

    def expire(self) -> None:
        """End every access token; the refresh token lives on."""
        for row in self._issued():
            self._end(row)

    def revoke(self) -> None:
        """The refresh token is no longer valid either."""
        self._table["revoked"] = {"at": self._now().isoformat()}
        self.expire()
