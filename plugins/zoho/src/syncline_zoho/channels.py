"""Notices of changes: what Zoho pushes, and the channels it pushes through (vendor sheet §8).

Nothing is signed. A notice repeats the token that the channel was opened with, and that is the only proof: so the
address should have a secret path, and what changed is read, never believed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from syncline.errors import ConfigError, ConnectorError, WebhookRejectedError
from syncline.model import RawRecord, event_id
from syncline.sdk import WebhookRequest
from syncline_zoho.client import Client
from syncline_zoho.payloads import Channel, Channels, Notice
from syncline_zoho.values import printed_datetime

__all__ = ["Watch", "raw_record"]

_LIFE: Final = timedelta(days=7) - timedelta(hours=1)
"""A channel lives a week at most (OpenAPI 2026, notifications); a little less, since clocks differ."""
_RENEW: Final = timedelta(days=3)
"""With less left than this, `prepare` renews it."""


def raw_record(request: WebhookRequest, token: SecretStr | None) -> RawRecord:
    """The notice, without its token. WebhookRejectedError unless it carries ours."""
    body = _verified(request.body, token)
    try:
        notice = Notice.model_validate(body)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:3])
        raise WebhookRejectedError(f"not a notification of Zoho: {told}") from None
    key = event_id(notice.channel_id, notice.module, notice.operation, str(notice.server_time), *sorted(notice.ids))
    return RawRecord(notice.module, key, notice.model_dump(mode="json"))


def _verified(body: bytes, token: SecretStr | None) -> dict[str, Any]:
    if token is None or not token.get_secret_value():
        raise WebhookRejectedError("no notify_token is set, so no notice can be believed")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    given = found.get("token") if isinstance(found, dict) else None
    # JSON may spell half a surrogate pair, which strict UTF-8 cannot: wrong content is refused, it does not crash.
    if not hmac.compare_digest(str(given or "").encode(errors="replace"), token.get_secret_value().encode()):
        raise WebhookRejectedError("the token of the notice is not the one of our channel")
    return dict(found)


class Watch:
    """The channel of one connection, for all its modules."""

    def __init__(self, client: Client, url: str | None, token: SecretStr | None) -> None:
        self._client = client
        self._url = url
        self._token = token
        digest = hashlib.sha256(client.where.encode()).hexdigest()
        self.channel_id = str(10**12 + int(digest, 16) % 10**12)

    @property
    def wanted(self) -> bool:
        return self._url is not None

    def state(self) -> str:
        """For `check`: until when notices come, in words."""
        found = [c.channel_expiry for c in self._channels() if c.channel_expiry]
        if not found:
            return "no channel is open; `syncline prepare` opens it"
        until = min(found).astimezone(UTC)
        if until < self._client.now():
            return f"ended {printed_datetime(until)}; `syncline prepare` renews it"
        soon = " (soon: let `syncline prepare` run daily)" if until - self._client.now() < _RENEW else ""
        return f"until {printed_datetime(until)}{soon}"

    def lacking(self, modules: Sequence[str]) -> list[str]:
        """The modules whose notices do not come, not here, or not much longer."""
        if not self.wanted:
            return []
        limit = self._client.now() + _RENEW
        good = {
            c.resource_name
            for c in self._channels()
            if c.notify_url == self._url and c.channel_expiry and c.channel_expiry > limit
        }
        return [module for module in modules if module not in good]

    def open(self, modules: Sequence[str]) -> None:
        """Open the channel, or renew it. POST knows no channel that exists, PUT none that does not."""
        body = {
            "watch": [
                {
                    "channel_id": self.channel_id,
                    "events": [f"{module}.all" for module in modules],
                    "notify_url": self._url,
                    "token": self._token.get_secret_value() if self._token else "",
                    "channel_expiry": printed_datetime(self._client.now() + _LIFE),
                }
            ]
        }
        result = self._client.call("PUT" if self._channels() else "POST", "actions/watch", body=body).items("watch", 1)
        if not result[0].ok:
            raise ConfigError(f"notifications: {result[0].reason}", where=self._client.where)

    def _channels(self) -> list[Channel]:
        try:
            params = {"channel_id": self.channel_id}
            found = self._client.read("GET", "actions/watch", params=params).read(Channels).watch
            return [channel for channel in found if channel.channel_id == self.channel_id]
        except ConnectorError as error:
            if error.message.startswith("NOT_SUBSCRIBED"):
                return []
            raise
