"""A source and a sink in memory: the whole connector contract without a vendor, for tests of what stands on it.

All instances share one `MemoryWorld`, so several connections see the same CRM. Nothing registers them by itself:

    world = MemoryWorld()
    plugins.register(memory_plugin(world), name="memory")

The CRM here has the habits that bite in real ones: it rounds numbers to a field's scale, keeps an empty text as
nothing, refuses single records for reasons of its own, and lets people edit, convert, merge and delete behind our back.
Whoever calls it logs in first; sessions end when a test says so. Webhooks are signed together with their time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from syncline.errors import ConfigError, RecordError, TransientError, did_you_mean
from syncline.model import Account, Event, Identifier, Limits, Page, RawRecord, event_id
from syncline.sdk import Sink, Source, hookimpl
from syncline.testing.memory_connectors import MemoryConfig, MemoryConnector
from syncline.testing.memory_sink import MemorySink
from syncline.testing.memory_trouble import SessionEndedError
from syncline.testing.memory_values import person_fields
from syncline.testing.memory_world import MemoryWorld

__all__ = [
    "MemoryConfig",
    "MemorySink",
    "MemorySource",
    "MemoryWorld",
    "SessionEndedError",
    "memory_plugin",
    "person_fields",
]


class MemorySource(MemoryConnector, Source[MemoryConfig]):
    """The facts that a test put into `world.streams`. The cursor is how many of them were read."""

    kind = "memory-source"
    streams = ("events",)

    def check(self) -> Account:
        with self.world.lock:
            self._call("check")
        return Account("memory", "events in memory", {}, self.context.clock())

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        if stream not in self.world.streams:
            raise ConfigError(f"there is no stream {stream!r}; {did_you_mean(stream, self.world.streams)}")
        token: str | None = cursor or "0"
        position = int(token or 0)
        while token is not None:
            with self.world.lock:
                self._call("read")
                records, following, total = self.world.page_of(stream, token)
            position += len(records)
            yield Page(records, str(position), total)
            if following == token:
                raise TransientError(f"the page {token} names itself as the next one", where=stream)
            token = following

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        payload = raw.payload
        try:
            yield Event(
                id=event_id("memory", raw.stream, raw.key),
                type=payload["type"],
                occurred_at=datetime.fromisoformat(payload["at"]),
                identifiers=(Identifier("email", payload["email"]),),
                properties=payload.get("properties", {}),
                profile=payload.get("profile", {}),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{raw.key}: {type(error).__name__}: {error}") from error


class _MemoryPlugin:
    def __init__(self, world: MemoryWorld, limits: Limits) -> None:
        self._source = type("MemorySource", (MemorySource,), {"world": world})
        self._sink = type("MemorySink", (MemorySink,), {"world": world, "limits": limits})

    @hookimpl
    def connectors(self) -> Sequence[type[Source[Any]] | type[Sink[Any]]]:
        return [self._source, self._sink]


def memory_plugin(world: MemoryWorld, *, limits: Limits | None = None) -> object:
    """A plugin with both connectors, bound to this world: for `Plugins.register`."""
    return _MemoryPlugin(world, limits or MemorySink.limits)
