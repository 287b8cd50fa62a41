"""The OAuth half of the simulated account: codes, access tokens of 600 seconds, refresh tokens of one use each.

That is the vendor's API contract. How the token endpoint refuses is not documented: RFC 6749 §5.2 is taken.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from syncline.testing.simulator import Table

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "LIFE", "REFRESH_TOKEN", "TokenError", "Tokens"]

CLIENT_ID: Final = "simulated-client"
CLIENT_SECRET: Final = "simulated-client-secret"  # noqa: S105  # of the simulated account
REFRESH_TOKEN: Final = "simulated-refresh-token-0"  # noqa: S105  # of the simulated account
LIFE: Final = timedelta(seconds=600)
_SIGNING_KEY: Final = b"of the simulated account"


class TokenError(Exception):
    """A refusal of the token endpoint: its code, and the status it comes with."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class Tokens:
    """Issues and checks tokens. `grace` is how long a spent refresh token works on (unverified)."""

    def __init__(self, table: Table, now: Callable[[], datetime], *, grace: timedelta = timedelta()) -> None:
        self._table = table
        self._now = now
        self._grace = grace
        self._table.setdefault(REFRESH_TOKEN, {"kind": "refresh", "spent": None})

    def valid(self, token: str) -> bool:
        """Whether it was issued here, is unchanged and not too old."""
        row = self._table.get(token)
        return row is not None and row["kind"] == "access" and self._now().timestamp() < row["ends"]

    def expire(self) -> None:
        """End every access token; refresh tokens live on."""
        for token in [token for token, row in self._table.items() if row["kind"] == "access"]:
            del self._table[token]

    def authorise(self, client: str, redirect: str) -> str:
        """A code of one use, for a person who said yes."""
        if client != CLIENT_ID:
            raise TokenError("unauthorized_client")
        code = f"simulated-code-{self._number()}"
        self._table[code] = {"kind": "code", "redirect": redirect, "spent": None}
        return code

    def answer(self, form: Mapping[str, str], basic: tuple[str, str] | None) -> dict[str, Any]:
        """The body of a successful answer; TokenError otherwise."""
        client, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
        if (client, secret) != (CLIENT_ID, CLIENT_SECRET):
            raise TokenError("invalid_client", 401)
        grants = {"refresh_token": self._spend_refresh, "authorization_code": self._spend_code}
        grant = grants.get(form.get("grant_type", ""))
        if grant is None:
            raise TokenError("unsupported_grant_type")
        grant(form)
        return self._issue()

    def _spend_refresh(self, form: Mapping[str, str]) -> None:
        self._spend(form.get("refresh_token", ""), "refresh")

    def _spend_code(self, form: Mapping[str, str]) -> None:
        code = form.get("code", "")
        row = self._table.get(code)
        if row is not None and row.get("redirect") != form.get("redirect_uri"):
            raise TokenError("invalid_grant")
        self._spend(code, "code")

    def _spend(self, token: str, kind: str) -> None:
        row, now = self._table.get(token), self._now().timestamp()
        if row is None or row["kind"] != kind:
            raise TokenError("invalid_grant")
        if row["spent"] is None:
            row["spent"] = now
            self._table.save(token)
        elif now >= row["spent"] + self._grace.total_seconds():
            raise TokenError("invalid_grant")

    def _issue(self) -> dict[str, Any]:
        number, ends = self._number(), self._now() + LIFE
        access = _jwt({"sub": CLIENT_ID, "jti": str(number), "scope": "full", "exp": int(ends.timestamp())})
        refresh = f"simulated-refresh-token-{number}"
        self._table[access] = {"kind": "access", "ends": ends.timestamp()}
        self._table[refresh] = {"kind": "refresh", "spent": None}
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(LIFE.total_seconds()),
            "refresh_token": refresh,
            "scope": "full",
        }

    def _number(self) -> int:
        row = self._table.setdefault("_count", {"kind": "count", "issued": 0})
        row["issued"] += 1
        self._table.save("_count")
        return int(row["issued"])


def _jwt(claims: Mapping[str, Any]) -> str:
    signed = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_part(hmac.digest(_SIGNING_KEY, signed.encode(), hashlib.sha256))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
