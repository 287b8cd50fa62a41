"""How we log in: an API key, or OAuth tokens of which every renewal spends the refresh token and gives another.

The new refresh token is kept, on disk, before anything else is done. What cannot be excluded is being killed between
the vendor's answer and that: a note is made before every renewal, so that the refusal that follows is explained.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from syncline.errors import AuthError
from syncline.sdk import Context
from syncline.sdk.http import json_of, purpose
from syncline_unbounce.config import ApiKey, OAuthGrant, UnbounceConfig
from syncline_unbounce.errors import refuse_token
from syncline_unbounce.payloads import Token

__all__ = ["Credentials", "login_for"]

_log = logging.getLogger(__name__)

_KEPT: Final = "oauth"
_BEGUN: Final = "oauth_renewal"
_MARGIN: Final = timedelta(seconds=30)
"""A token that ends sooner is not used any more: the call may take as long."""

_LOCKS: Final[dict[str, threading.Lock]] = {}
_LOCKS_LOCK: Final = threading.Lock()


class Credentials(Protocol):
    """What a call needs to be let in."""

    def credentials(self) -> Mapping[str, Any]:
        """Arguments for a request."""

    def renewed(self, refused: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Others, after these were refused; None when there can be no others."""


def login_for(config: UnbounceConfig, context: Context) -> Credentials:
    if isinstance(config.login, ApiKey):
        return _Key(config.login)
    return _OAuth(config.login, config.renewal_url, context)


class _Key:
    """The key is the user name of Basic authentication, and the password is empty (vendor's API contract)."""

    def __init__(self, login: ApiKey) -> None:
        self._key = login.api_key

    def credentials(self) -> Mapping[str, Any]:
        return {"auth": (self._key.get_secret_value(), "")}

    def renewed(self, refused: Mapping[str, Any]) -> None:
        return None


class _Kept(BaseModel):
    """What is kept, in one value: killed between two, we would hold a token without knowing what it belongs to."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    grown_from: str
    refresh_token: str = Field(repr=False)
    access_token: str = Field(default="", repr=False)
    expires_at: AwareDatetime | None = None

    def good_at(self, moment: datetime) -> bool:
        return bool(self.access_token) and self.expires_at is not None and moment < self.expires_at - _MARGIN


class _Begun(BaseModel):
    """The note made before a renewal: with which token, and when."""

    model_config = ConfigDict(frozen=True)

    token: str
    at: AwareDatetime


class _OAuth:
    """One renewal at a time for a connection, however many threads and connectors it has."""

    def __init__(self, grant: OAuthGrant, url: str, context: Context) -> None:
        self._grant = grant
        self._url = url
        self._context = context
        self._lock = _lock_of(context.connection)
        self._held: _Kept | None = None
        self._unkept: _Kept | None = None
        self._where = f"{context.connection}: log-in"

    def credentials(self) -> Mapping[str, Any]:
        held = self._held
        if held is None or self._unkept is not None or not held.good_at(self._context.clock()):
            held = self._current("")
        return _bearer(held.access_token)

    def renewed(self, refused: Mapping[str, Any]) -> Mapping[str, Any]:
        return _bearer(self._current(str(refused["headers"]["Authorization"]).removeprefix("Bearer ")).access_token)

    def _current(self, refused: str) -> _Kept:
        """A token that is good and not the refused one: what another thread has renewed meanwhile, or a new one."""
        with self._lock:
            if self._unkept is not None:
                self._keep(self._unkept)
            kept = self._kept()
            if kept.access_token == refused or not kept.good_at(self._context.clock()):
                kept = self._renew(kept)
            self._held = kept
            return kept

    def _kept(self) -> _Kept:
        """What is kept, if it grew out of the configured refresh token; else that is new and comes first."""
        configured = self._grant.refresh_token.get_secret_value()
        text = self._context.keep.get(_KEPT)
        if text is not None:
            try:
                kept = _Kept.model_validate_json(text)
            except ValidationError:
                _log.warning("%s: what was kept of the log-in cannot be read; starting from the settings", self._where)
            else:
                if kept.grown_from == _fingerprint(configured):
                    return kept
        return _Kept(grown_from=_fingerprint(configured), refresh_token=configured)

    def _renew(self, kept: _Kept) -> _Kept:
        cut_off = self._note(kept)
        response = self._post(kept.refresh_token)
        try:
            refuse_token(response, where=self._where, hint=_hint(cut_off))
        except AuthError:
            if cut_off is None:  # a plain refusal: nothing was spent, and nothing is to be explained later
                self._context.keep.pop(_BEGUN, None)
            if (now := self._kept()) != kept and now.good_at(self._context.clock()):
                return now  # another process was faster
            raise
        new = self._read(response, kept)
        self._keep(new)
        return new

    def _note(self, kept: _Kept) -> _Begun | None:
        """Note that a renewal begins; the earlier note if one with this token was begun before and never ended."""
        token = _fingerprint(kept.refresh_token)
        text = self._context.keep.get(_BEGUN)
        try:
            earlier = _Begun.model_validate_json(text) if text is not None else None
        except ValidationError:
            earlier = None
        if earlier is not None and earlier.token == token:
            return earlier
        self._context.keep[_BEGUN] = _Begun(token=token, at=self._context.clock()).model_dump_json()
        return None

    def _read(self, response: requests.Response, kept: _Kept) -> _Kept:
        try:
            token = Token.model_validate(json_of(response, self._where))
        except ValidationError:
            message = "the token endpoint's answer has no access_token; is token_url right?"
            raise AuthError(message, where=self._where) from None
        return _Kept(
            grown_from=kept.grown_from,
            refresh_token=token.refresh_token or kept.refresh_token,
            access_token=token.access_token,
            expires_at=self._context.clock() + timedelta(seconds=token.expires_in),
        )

    def _keep(self, new: _Kept) -> None:
        """Before it is used. If the disk refuses, it is held here and tried again with the next call."""
        self._unkept = new
        self._context.keep[_KEPT] = new.model_dump_json()
        self._unkept = None
        self._context.keep.pop(_BEGUN, None)

    def _post(self, refresh_token: str) -> requests.Response:
        form = {
            "grant_type": "refresh_token",
            "client_id": self._grant.client_id,
            "client_secret": self._grant.client_secret.get_secret_value(),
            "refresh_token": refresh_token,
        }
        with purpose("auth"):
            return self._context.http.request(
                "POST", self._url, data=form, raise_for_status=False, allow_redirects=False
            )


def _hint(cut_off: _Begun | None) -> str:
    """What to do if the token is refused, and why it may be."""
    again = "authorise the connection again and set its new refresh_token"
    if cut_off is None:
        return again
    return (
        f"a renewal begun at {cut_off.at.isoformat()} was cut off before its new token could be kept, and the old one"
        f" is good for one use only: {again}"
    )


def _bearer(token: str) -> Mapping[str, Any]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


def _fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _lock_of(connection: str) -> threading.Lock:
    """One for each connection of this process; between processes the host sees to it that one run is active."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(connection, threading.Lock())
