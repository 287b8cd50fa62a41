"""Unbounce as a source. It polls the leads of every page, and takes the webhook that a form sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from syncline.errors import AuthError, ConfigError, did_you_mean
from syncline.model import Account, Event, Page, RawRecord
from syncline.sdk import Context, Source, WebhookRequest
from syncline_unbounce.client import UnbounceClient
from syncline_unbounce.config import ApiKey, UnbounceConfig
from syncline_unbounce.cursor import Cursor
from syncline_unbounce.normalize import submission_events
from syncline_unbounce.reading import Reading
from syncline_unbounce.webhook import record_of, verify

__all__ = ["UnbounceSource"]


class UnbounceSource(Source[UnbounceConfig]):
    """Submissions of forms. Both ways bring records of one stream, and of one submission the same events."""

    kind: ClassVar[str] = "unbounce"
    config_model = UnbounceConfig
    streams: ClassVar[Sequence[str]] = ("leads",)

    def __init__(self, config: UnbounceConfig, context: Context) -> None:
        super().__init__(config, context)
        self._client = UnbounceClient(config, context)

    def check(self) -> Account:
        accounts = self._client.accounts()
        if not accounts:
            raise AuthError("the credentials are good for no account", where=self.context.connection)
        details = {
            "login": "API key" if isinstance(self.config.login, ApiKey) else "OAuth",
            "accounts": str(len(accounts)),
        }
        first = accounts[0]
        return Account(first.id, first.name or first.id, details, self._client.answered_at)

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        if stream not in self.streams:
            raise ConfigError(f"no stream {stream!r}; {did_you_mean(stream, self.streams)}", where=self._where(stream))
        start = Cursor.read(cursor, where=self._where(stream))
        return Reading(self._client, self.config, self.context.clock()).pages(start)

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        verify(request, self.config, where=self._where("webhook"))
        return (record_of(request, self.config, where=self._where("webhook")),)

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        return tuple(submission_events(raw, self.config))

    def _where(self, stream: str) -> str:
        return f"{self.context.connection}/{stream}"
