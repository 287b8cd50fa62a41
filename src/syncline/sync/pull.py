"""Reading a source: raw records first, safely, with the cursor after them; then events.

A page costs two transactions. A crash between them leaves records that wait in the inbox, and the next pull settles
those first; a crash before the first leaves the cursor where it was, and the page is read again. Either way is harmless
twice, because records and events are known by their ids.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from syncline.errors import AuthError, ConfigError, ConnectorError, ContractError, CursorExpiredError, did_you_mean
from syncline.events import Classifier
from syncline.model import Page, RawRecord, microseconds
from syncline.people import IdentityRules
from syncline.sdk import Polls, Receives, Source
from syncline.store import cursors, inbox
from syncline.store.database import Database
from syncline.store.inbox import InboxRow, Quarantined
from syncline.store.people import random_key
from syncline.store.schema import BY_WEBHOOK, RAW_DONE, RAW_QUARANTINED
from syncline.sync.ingest import Fate, Ingest, Settled
from syncline.sync.webhooks import read_again

__all__ = ["PullReport", "StreamReport", "accept", "pull", "purge_raw", "quarantine", "replay"]

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 1000  # records settled in one transaction where no page says how many


@dataclass(slots=True)
class StreamReport:
    """One stream: `read` is always `stored` + `duplicate` + `quarantined`; `events` is what it brought to the log."""

    read: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    events: int = 0


@dataclass(slots=True)
class PullReport:
    """What came of a pull or a replay.

    `events` is by how much the event log grew, `machine` how many events were marked as a machine's, `cleansed` and
    `identity` count what was done by which rule. `resumed` records had been waiting since a webhook or a crash;
    `backfilled` are the streams whose cursor the vendor no longer knew.
    """

    connection: str
    streams: dict[str, StreamReport] = field(default_factory=dict)
    events: int = 0
    machine: int = 0
    resumed: int = 0
    backfilled: list[str] = field(default_factory=list)
    cleansed: Counter[str] = field(default_factory=Counter)
    identity: Counter[str] = field(default_factory=Counter)

    @property
    def read(self) -> int:
        return sum(stream.read for stream in self.streams.values())

    @property
    def stored(self) -> int:
        return sum(stream.stored for stream in self.streams.values())

    @property
    def duplicate(self) -> int:
        return sum(stream.duplicate for stream in self.streams.values())

    @property
    def quarantined(self) -> int:
        return sum(stream.quarantined for stream in self.streams.values())

    def add(self, settled: Settled) -> None:
        """Count what became of some records."""
        for row, fate in settled.fates:
            self.count(row.record.stream, fate)
        for stream, events in settled.added.items():
            self.streams[stream].events += events
        self.events += settled.growth
        self.machine += settled.machine
        self.cleansed += settled.cleansed
        self.identity += settled.identity

    def count(self, stream: str, fate: Fate, records: int = 1) -> None:
        """So many records of the stream met this fate."""
        report = self.streams.setdefault(stream, StreamReport())
        report.read += records
        match fate:
            case Fate.STORED:
                report.stored += records
            case Fate.DUPLICATE:
                report.duplicate += records
            case Fate.QUARANTINED:
                report.quarantined += records


Progress = Callable[[str, int, int | None], None]
"""Called after every page with the stream, how many records were read so far, and of how many if the vendor said so."""


def _once(call: Callable[[], None]) -> None:
    call()


def pull(
    database: Database,
    source_name: str,
    source: Source[Any],
    *,
    streams: Sequence[str],
    classifier: Classifier,
    identity_rules: IdentityRules,
    run_id: str,
    clock: Callable[[], datetime],
    progress: Progress | None = None,
    retry: Callable[[Callable[[], None]], None] = _once,
    new_key: Callable[[], str] = random_key,
    report: PullReport | None = None,
) -> PullReport:
    """Read what is new in `streams` and store its events; settle first what still waits in the inbox.

    A stream that fails does not keep the next ones from being read: the first error is raised after the last stream,
    AuthError at once. `retry` calls what it is given, again if it likes: the stream is then read on from the last
    stored cursor. Pass a `report` to have the counts in spite of an error. A source that does not poll has only its
    inbox settled.
    """
    report = report or PullReport(source_name)
    _check_streams(source_name, source, streams)
    ingest = Ingest(
        database,
        source_name,
        source,
        classifier=classifier,
        identity_rules=identity_rules,
        clock=clock,
        new_key=new_key,
    )
    reading = _Reading(database, source_name, source, ingest, report, run_id, clock, progress)
    steps = [reading.settle_waiting]
    if isinstance(source, Polls):
        for stream in streams:
            report.streams.setdefault(stream, StreamReport())
            steps.append(partial(retry, partial(reading.read, source, stream)))
    _all(steps)
    return report


def _all(steps: Iterable[Callable[[], None]]) -> None:
    """Take every step; then raise the first error there was. AuthError is raised at once: nothing else would work."""
    first: ConnectorError | None = None
    for step in steps:
        try:
            step()
        except AuthError:
            raise
        except ConnectorError as error:
            if first is not None:
                _log.warning("%s", error)
            first = first or error
    if first is not None:
        raise first


def accept(
    database: Database, source_name: str, records: Sequence[RawRecord], *, run_id: str, clock: Callable[[], datetime]
) -> int:
    """Keep a webhook's records for the next pull; how many are new. When it returns they are safe."""
    parcels = inbox.pack(source_name, records)
    with database.write() as connection:
        at_us = microseconds(clock())
        return len(inbox.keep(connection, source_name, parcels, run_id=run_id, at_us=at_us, way=BY_WEBHOOK))


def replay(
    database: Database,
    source_name: str,
    source: Source[Any],
    *,
    classifier: Classifier,
    identity_rules: IdentityRules,
    clock: Callable[[], datetime],
    ids: Collection[int] | None = None,
    statuses: Collection[int] = (RAW_DONE, RAW_QUARANTINED),
    new_key: Callable[[], str] = random_key,
) -> PullReport:
    """Settle kept raw records again, with the plugin and the rules as they are now; all of them, or those of `ids`.

    Webhooks that could not be read come first: those that can be now are settled like any other. Events that are known
    get what is derived now; what a click no longer counts as is taken out. A machine's verdict is not taken back.
    """
    report = PullReport(source_name)
    ingest = Ingest(
        database,
        source_name,
        source,
        classifier=classifier,
        identity_rules=identity_rules,
        clock=clock,
        new_key=new_key,
    )
    if ids is None and isinstance(source, Receives):
        read_again(database, source_name, source, clock())
        _settle_waiting(database, source_name, ingest, report)
    for rows in _kept(database, source_name, ids, statuses):
        report.add(ingest.settle(rows, again=True))
    return report


def quarantine(database: Database, connection: str | None = None, limit: int = 100) -> list[Quarantined]:
    """The newest records that could not be used, each with its reason."""
    with database.read() as reading:
        return inbox.quarantined(reading, connection, limit)


def purge_raw(database: Database, before: datetime) -> int:
    """Delete raw records received before then, except those that wait or are quarantined; how many there were."""
    with database.write() as connection:
        return inbox.purge(connection, microseconds(before))


@dataclass(slots=True)
class _Reading:
    """One pull of one connection."""

    database: Database
    name: str
    source: Source[Any]
    ingest: Ingest
    report: PullReport
    run_id: str
    clock: Callable[[], datetime]
    progress: Progress | None

    def settle_waiting(self) -> None:
        _settle_waiting(self.database, self.name, self.ingest, self.report)

    def read(self, polls: Polls, stream: str) -> None:
        """Read the stream from the stored cursor to its end."""
        with self.database.read() as connection:
            cursor = cursors.load(connection, self.name, stream)
        try:
            self._pages(stream, self._said(polls, stream, cursor))
        except CursorExpiredError:
            if cursor is None:
                raise
            self.report.backfilled.append(stream)
            self._pages(stream, self._said(polls, stream, None))

    def _said(self, polls: Polls, stream: str, cursor: str | None) -> Iterator[Page]:
        """The plugin's pages; whatever it raises that is no ConnectorError is its bug."""
        try:
            yield from polls.read(stream, cursor)
        except ConnectorError:
            raise
        except Exception as error:
            raise ContractError(
                f"the plugin {self.source.kind!r} failed to read ({type(error).__name__}: {error}). What was read "
                "before is safe, and the next pull goes on there; trouble with a call is said with a ConnectorError",
                where=f"{self.name}/{stream}",
            ) from error

    def _pages(self, stream: str, pages: Iterator[Page]) -> None:
        for page in pages:
            self._take(stream, page)
            if self.progress:
                self.progress(stream, self.report.streams[stream].read, page.total)

    def _take(self, stream: str, page: Page) -> None:
        with _collector_paused():
            self._keep_and_settle(stream, page)

    def _keep_and_settle(self, stream: str, page: Page) -> None:
        new = self._keep(stream, page)
        seen = Counter(record.stream for record in page.records)
        seen.subtract(row.record.stream for row in new)
        for name, records in seen.items():
            self.report.count(name, Fate.DUPLICATE, records)
        if new:
            self.report.add(self.ingest.settle(new))

    def _keep(self, stream: str, page: Page) -> list[InboxRow]:
        """Store the raw records and the cursor after them in one transaction; those that were never seen before."""
        at_us = microseconds(self.clock())
        parcels = _pack(self.name, self.source, page.records)
        with self.database.write() as connection:
            new = inbox.keep(connection, self.name, parcels, run_id=self.run_id, at_us=at_us)
            if page.cursor is not None:
                cursors.save(connection, self.name, stream, page.cursor, at_us)
        return new


def _settle_waiting(database: Database, name: str, ingest: Ingest, report: PullReport) -> None:
    while True:
        with database.read() as connection:
            rows = inbox.waiting(connection, name, _AT_ONCE)
        if not rows:
            return
        report.add(ingest.settle(rows))
        report.resumed += len(rows)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection while a page is settled.

    A page is tens of thousands of small values that all live until it is done, and make no cycles: looking through them
    again and again finds nothing and takes a quarter of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _pack(name: str, source: Source[Any], records: Sequence[RawRecord]) -> list[inbox.Parcel]:
    try:
        return inbox.pack(name, records)
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"the plugin {source.kind!r} read a record whose payload is not plain JSON ({error}); nothing of the page "
            "was kept, and the stored cursor still points before it",
            where=name,
        ) from error


def _check_streams(name: str, source: Source[Any], streams: Sequence[str]) -> None:
    for stream in streams:
        if stream not in source.streams:
            raise ConfigError(
                f"{source.kind} has no stream {stream!r}: {did_you_mean(stream, source.streams)}", where=name
            )


def _kept(
    database: Database, name: str, ids: Collection[int] | None, statuses: Collection[int]
) -> Iterator[list[InboxRow]]:
    """Kept records in the order they came, a thousand at a time."""
    wanted = None if ids is None else sorted(ids)
    after = 0
    while True:
        with database.read() as connection:
            rows = inbox.fetch(connection, name, ids=wanted, statuses=statuses, after=after, limit=_AT_ONCE)
        if not rows:
            return
        yield rows
        after = rows[-1].id
