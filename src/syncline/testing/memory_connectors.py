"""What the source and the sink in memory share: settings, sessions, webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from pydantic import SecretStr

from syncline.errors import WebhookRejectedError
from syncline.model import RawRecord
from syncline.sdk import ConnectorConfig, Context, WebhookRequest
from syncline.sdk.connector import Connector
from syncline.testing.memory_trouble import SessionEndedError
from syncline.testing.memory_world import MemoryWorld

__all__ = ["MemoryConfig", "MemoryConnector"]


class MemoryConfig(ConnectorConfig):
    """The settings of both connectors."""

    secret: SecretStr = SecretStr("memory")
    """Signs webhooks (`signed`)."""


_REPLAY_WINDOW: Final = timedelta(minutes=5)


class MemoryConnector(Connector[MemoryConfig]):
    """Sessions and webhooks, which both connectors have."""

    config_model = MemoryConfig
    world: ClassVar[MemoryWorld]

    def __init__(self, config: MemoryConfig, context: Context) -> None:
        super().__init__(config, context)
        self._session: int | None = None

    def _call(self, method: str, keys: Iterable[str] = (), *, write: bool = False) -> Exception | None:
        """A call with a session: `MemoryWorld.call`, once more with a new session if the old one has ended."""
        if self._session is None:
            self._session = self.world.log_in()
        try:
            return self.world.call(method, keys, write=write, session=self._session)
        except SessionEndedError:
            self._session = self.world.log_in()
        return self.world.call(method, keys, write=write, session=self._session)

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        """A signed JSON list: facts as {"key", ...payload}, notices as {"key", "object", "id"}."""
        self._verify(request)
        return [self._received(item) for item in self._items(request.body)]

    def _verify(self, request: WebhookRequest) -> None:
        given, at = (request.headers.get(f"x-memory-{name}", "") for name in ("signature", "at"))
        if not hmac.compare_digest(given.encode(), self.sign(request.body, at).encode()):
            raise WebhookRejectedError("the signature does not fit the body", where=self.context.connection)
        if abs(request.received_at - datetime.fromtimestamp(int(at), UTC)) > _REPLAY_WINDOW:
            raise WebhookRejectedError("signed too long ago, or in the future", where=self.context.connection)

    def _items(self, body: bytes) -> list[Mapping[str, Any]]:
        try:
            items = json.loads(body)
        except (ValueError, RecursionError):
            items = None
        whole = isinstance(items, list) and all(isinstance(i, dict) and isinstance(i.get("key"), str) for i in items)
        if not whole:
            raise WebhookRejectedError("not a JSON list of objects with a key", where=self.context.connection)
        return items  # type: ignore[no-any-return]  # as just seen

    def _received(self, item: Mapping[str, Any]) -> RawRecord:
        return RawRecord(str(item.get("object", "events")), item["key"], item)

    def signed(self, body: bytes, at: datetime) -> dict[str, str]:
        """The headers of a webhook with this body that is sent at that time."""
        sent = f"{at.timestamp():.0f}"
        return {"x-memory-at": sent, "x-memory-signature": self.sign(body, sent)}

    def sign(self, body: bytes, at: str) -> str:
        """The signature of a body and its time (seconds since 1970, as text)."""
        key = self.config.secret.get_secret_value().encode()
        return hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
