"""The connector contract: what a plugin writes, and what the host calls.

What a connector can do is which methods it has; no flag repeats it. Connectors never wait and never retry: they raise
an error that says what kind of trouble it is (`syncline.errors`), and the host decides. Trouble with one record is an
Outcome or a RecordError; trouble with the call is an exception.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from syncline.model import (
    Account,
    ChangePage,
    Event,
    Field,
    FieldSpec,
    Limits,
    Member,
    Outcome,
    Page,
    RawRecord,
    TaskRef,
    TaskWrite,
    Write,
)
from syncline.sdk.config import ConnectorConfig
from syncline.sdk.http import Http

__all__ = [
    "ClosesTasks",
    "Connector",
    "Context",
    "CreatesTasks",
    "KeepsSegments",
    "Polls",
    "Prepares",
    "Receives",
    "Sink",
    "Source",
    "WebhookRequest",
]

C = TypeVar("C", bound=ConnectorConfig)


@dataclass(frozen=True, slots=True)
class Context:
    """What the host gives a connector.

    `connection` is its name in connectors.yaml, `clock` the current time (aware, UTC), `http` the only way out.
    `keep` holds small strings for the connection across runs (a rotated refresh token): every assignment is durable
    when it returns, and nothing of it is ever printed. `folder` is where relative paths in settings count from: that of
    connectors.yaml, wherever the command was typed.
    """

    connection: str
    http: Http
    clock: Callable[[], datetime]
    keep: MutableMapping[str, str]
    folder: Path = Path()


class Connector(ABC, Generic[C]):
    """What sources and sinks share: their word, their settings, their host."""

    kind: ClassVar[str]
    config_model: ClassVar[type[ConnectorConfig]]

    def __init__(self, config: C, context: Context) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def check(self) -> Account:
        """The cheapest call that proves the credentials. AuthError when they are refused."""


class Source(Connector[C]):
    """Where events come from. It polls (`Polls`), takes webhooks (`Receives`), or both."""

    streams: ClassVar[Sequence[str]]

    @abstractmethod
    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        """Pure: the events of one raw record, the same for both ways in.

        RecordError quarantines the record with that reason. An event's id comes from the vendor's own id.
        """


@runtime_checkable
class Polls(Protocol):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        """Pages from `cursor` on (None: from the start), with whatever lookback the vendor needs for late facts.

        Each page carries the cursor after it, which the host stores in the same transaction as the records. After an
        error the host calls again with the last stored cursor. A read that cannot be complete raises; it never ends
        early as if it were.
        """


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """An HTTP request as it came in; `body` is raw, `headers` are lower-case.

    `url` is the whole address as the vendor called it (scheme, host, path and query), for signatures that cover it;
    behind a proxy the host rebuilds it from its public address. A replay window counts from `received_at`.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    received_at: datetime
    url: str = ""


@runtime_checkable
class Receives(Protocol):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        """Verify first (WebhookRejectedError), in constant time; then parse. Pure: no call, no clock but
        `request.received_at`. Slow work belongs to `normalize`.

        A sink's webhooks are notices that something changed there: the host keeps them, and reads the truth with
        `changes`. Their stream is the object's name.
        """


class Sink(Connector[C]):
    """Where fields are written. Every method makes as few calls as the vendor allows."""

    limits: ClassVar[Limits]

    @abstractmethod
    def describe(self, object: str) -> Sequence[Field]:
        """The object's fields as they are now. ConfigError when the CRM has no such object, listing those it has."""

    @abstractmethod
    def changes(self, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
        """Records changed since `cursor`, each with all of `fields` and its e-mail addresses; None: every record.

        May repeat records (the host takes the newest), never skips one. Deletions come as tombstones, conversions and
        merges as `successor`. The cursor after the last page finds everything that changes later.
        """

    @abstractmethod
    def upsert(self, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        """One Outcome per Write, same order. All writes match on the same field (`Id`, or one unique field).

        At most `limits.upsert_batch` writes (or `limits.bulk_batch` from `limits.bulk_from` on): one call.
        """


@runtime_checkable
class CreatesTasks(Protocol):
    task_fields: Sequence[FieldSpec]

    def create_tasks(self, tasks: Sequence[TaskWrite]) -> Sequence[Outcome]:
        """One Outcome per task, same order. A key that exists already is UNCHANGED; the task there is not touched."""


@runtime_checkable
class ClosesTasks(Protocol):
    def close_tasks(self, tasks: Sequence[TaskRef]) -> Sequence[Outcome]:
        """Close tasks of ours that are still open, for an undone run: one Outcome per task, same order.

        UPDATED: it was open and is closed now, marked so that nobody takes it for done work where the CRM can say so.
        UNCHANGED: somebody has closed or deleted it already; it is not touched. At most `limits.task_batch`.
        """


@runtime_checkable
class KeepsSegments(Protocol):
    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        """One Outcome per member, those of `add` first, same order. Adding one who is in, or removing one who is out,
        is UNCHANGED. `segment` is the vendor's name for the list, campaign or tag."""


@runtime_checkable
class Prepares(Protocol):
    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        """What `prepare` would create, one line for a person each; empty when everything is there."""

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        """Create what is missing and make it writable for the user we log in as; returns what was done, a line each."""


def capabilities(connector: type[Connector[Any]]) -> tuple[str, ...]:
    """What a connector can do, read off its methods: `read`, `receive`, `upsert`, `create_tasks`, …"""
    names = ("read", "receive", "upsert", "changes", "create_tasks", "close_tasks", "set_members", "prepare")
    return tuple(name for name in names if callable(getattr(connector, name, None)))
