"""Access tokens: fetched one at a time, shared by threads, kept across runs.

A refresh token gives at most 10 access tokens in 10 minutes (vendor sheet §2), and a schedule may start a run a minute.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from syncline.errors import AuthError, RateLimitError
from syncline.sdk import Context
from syncline.sdk.http import json_of, purpose
from syncline_zoho.config import ZohoConfig, is_safe
from syncline_zoho.errors import token_error, translated
from syncline_zoho.payloads import TokenAnswer

__all__ = ["Token", "Tokens"]

_KEPT: Final = "access_token"
_EARLY: Final = timedelta(minutes=5)
"""A token lives an hour; it is renewed this much before."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and where it is good for."""

    value: str = field(repr=False)
    api_url: str
    until: datetime


class Tokens:
    """The tokens of one connection. AuthError when the credentials are refused."""

    def __init__(self, config: ZohoConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._lock = threading.Lock()
        self._token: Token | None = None

    @property
    def identity(self) -> str:
        """A fingerprint of whom we log in as, and where; what is kept belongs to it.

        The address too: a token kept from before `api_url` named a sandbox would still lead to the real account.
        """
        parts = (
            self._config.token_url,
            self._config.api_url or "",
            self._config.client_id,
            self._config.client_secret.get_secret_value(),
            self._config.refresh_token.get_secret_value(),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def current(self) -> Token:
        """A living token: the one in hand, the one an earlier run kept, or a new one."""
        with self._lock:
            if self._token is None or self._token.until <= self._context.clock():
                self._token = self._kept() or self._fetch()
            return self._token

    def renewed(self, refused: Token) -> tuple[Token, bool]:
        """Another token than the refused one, and whether it is fetched now: who comes second finds the first one's."""
        with self._lock:
            if self._token is not None and self._token.value != refused.value:
                return self._token, False
            kept = self._kept()
            if kept is not None and kept.value != refused.value:
                self._token = kept
                return kept, False
            self._token = self._fetch()
            return self._token, True

    def _kept(self) -> Token | None:
        try:
            found = json.loads(self._context.keep.get(_KEPT, "{}"))
            token = Token(found["token"], found["api_url"], datetime.fromisoformat(found["until"]))
        except (ValueError, KeyError, TypeError):
            return None  # nothing was kept, or by another version of ours
        alive = found.get("for") == self.identity and token.until > self._context.clock()
        return token if alive else None

    def _fetch(self) -> Token:
        where = f"{self._context.connection}: log-in"
        with purpose("auth"):
            response = self._context.http.request(
                "POST", self._config.token_url, data=self._form(), raise_for_status=False, allow_redirects=False
            )
        error = token_error(response, where=where)
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            self._context.http.slow_down(error.retry_after)  # no other thread knocks either: that would go on counting
        if error is not None:
            raise error
        with translated(where, response):
            answer = TokenAnswer.model_validate(json_of(response, where))
        api_url = (self._config.api_url or answer.api_domain).rstrip("/")
        _refuse_unsafe(api_url, where)
        until = self._context.clock() + timedelta(seconds=answer.expires_in) - _EARLY
        self._keep(answer.access_token, api_url, until)
        return Token(answer.access_token, api_url, until)

    def _form(self) -> dict[str, str]:
        """As a form, not in the address: addresses are logged on the way."""
        return {
            "grant_type": "refresh_token",
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret.get_secret_value(),
            "refresh_token": self._config.refresh_token.get_secret_value(),
        }

    def _keep(self, token: str, api_url: str, until: datetime) -> None:
        """In one value: killed between two, we would hold a token without knowing what it belongs to."""
        kept = {"token": token, "api_url": api_url, "until": until.isoformat(), "for": self.identity}
        self._context.keep[_KEPT] = json.dumps(kept)


def _refuse_unsafe(url: str, where: str) -> None:
    if not is_safe(url):
        raise AuthError(f"the address of the API, {url}, is not https; no token is sent there", where=where)
