"""A desk that receives: the application in this process, with the connector in memory and a store of its own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from syncline.config.models import Server
from syncline.model import RawRecord
from syncline.sdk import Context, Http, WebhookRequest
from syncline.server.app import make_app
from syncline.server.receiver import Receiver
from syncline.server.writer import Writer
from syncline.store import schema
from syncline.store.database import Database
from syncline.testing.memory import MemoryConfig, MemorySource, MemoryWorld

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


class DeskSource(MemorySource):
    """The source in memory; a test may put something in the place of its `receive`."""

    world = MemoryWorld()
    instead: Callable[[WebhookRequest], Sequence[RawRecord]] | None = None

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        self.asked = request
        return super().receive(request) if self.instead is None else self.instead(request)


class Desk:
    """`post` sends webhooks to the connection `shop`; what came of them is in the store."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self.now = NOW
        self.seconds = 0.0
        self.database = database
        self.writer = writer
        self.source = DeskSource(MemoryConfig(), Context("shop", Http("shop"), lambda: self.now, {}))
        self.receivers: dict[str, Receiver | None] = {"shop": Receiver("shop", self.source, writer, within=5)}

    def body(self, *keys: str) -> bytes:
        """A webhook with a fact for each key."""
        at = (NOW - timedelta(minutes=1)).isoformat()
        return json.dumps(
            [{"key": k, "type": "email_open", "at": at, "email": "ada@acme.example"} for k in keys]
        ).encode()

    def signed(self, body: bytes) -> dict[str, str]:
        return self.source.signed(body, self.now)

    def send(self, *requests: tuple[str, str, dict[str, Any]], together: bool = False, **settings: Any) -> list[Any]:
        """The responses to some requests (method, path, further arguments of httpx), one after the other or at once."""

        async def sent(client: httpx.AsyncClient) -> list[httpx.Response]:
            waiting: list[Awaitable[httpx.Response]] = [client.request(m, p, **more) for m, p, more in requests]
            return list(await asyncio.gather(*waiting)) if together else [await one for one in waiting]

        app = make_app(self.receivers, self.writer, Server(**settings), monotonic=lambda: self.seconds)

        async def talk() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://desk.example") as client:
                return await sent(client)

        return asyncio.run(talk())

    def post(
        self, body: bytes, headers: dict[str, str] | None = None, path: str = "/hooks/shop", **settings: Any
    ) -> Any:
        """The response to one webhook, signed unless `headers` are given."""
        given = self.signed(body) if headers is None else headers
        return self.send(("POST", path, {"content": body, "headers": given}), **settings)[0]

    def rows(self, table: Any) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key)))

    def counts(self) -> Counter[tuple[str, str]]:
        """(outcome, reason) → requests, after everything was written; nothing can be kept any more then."""
        self.writer.stop()
        return Counter({(row.outcome, row.reason): row.requests for row in self.rows(schema.webhook_count)})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database(f"sqlite:///{tmp_path}/state.db")
    writer = Writer(database, lambda: NOW)
    with writer:
        made = Desk(database, writer)
        yield made
        for receiver in filter(None, made.receivers.values()):
            receiver.close()
    database.close()
