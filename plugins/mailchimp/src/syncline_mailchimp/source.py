"""Mailchimp as a source: by polling, and by webhooks.

Opens come from open-details, the only place that tells machine opens; clicks and bounces from email-activity, which
pages over recipients, most of them empty, in no order of time. So a campaign is safe only as a whole: its pages carry
no cursor until the last one, and the time they are filtered by does not move while they are read.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from syncline.errors import AuthError, ConfigError, RateLimitError, TransientError, did_you_mean
from syncline.model import Event, Page, RawRecord
from syncline.sdk import Source, WebhookRequest
from syncline_mailchimp.batches import Job
from syncline_mailchimp.client import fields_parameter, listing_of, no_audience
from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.connected import Connected
from syncline_mailchimp.cursor import Cursor, Mark
from syncline_mailchimp.errors import GoneError, error_of
from syncline_mailchimp.normalize import (
    activity_events,
    member_events,
    open_events,
    unsubscribe_events,
    webhook_events,
)
from syncline_mailchimp.payloads import BatchResult, Listing, Report, moment_text
from syncline_mailchimp.readers import READERS, Explosion, Reader
from syncline_mailchimp.trouble import Trouble
from syncline_mailchimp.webhooks import record_of, verify

__all__ = ["MailchimpSource"]

_OF_ALL: Final = (AuthError, RateLimitError)
_CAMPAIGNS_A_BATCH: Final = 100  # as singer's tap has it
_SETTLING: Final = timedelta(seconds=10)
"""Members that changed just now are left for the next read, so that offsets stay steady (vendor sheet, §8)."""


class MailchimpSource(Connected, Source[MailchimpConfig]):
    """Members, unsubscribes, opens and activity (clicks and bounces) of one or more audiences."""

    streams: ClassVar[Sequence[str]] = ("members", "unsubscribes", "opens", "activity")
    """In the order of reading: first who may no longer be written to, last what costs most."""

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        """Pages of one stream; see the module for why most of them carry no cursor."""
        if stream not in self.streams:
            raise ConfigError(f"no stream {stream!r}; {did_you_mean(stream, self.streams)}", where=self._where(stream))
        start = Cursor.read(cursor, where=self._where(stream))
        return self._members(start) if stream == "members" else self._facts(stream, start)

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        """One record a webhook; none for the GET with which Mailchimp looks whether somebody is there."""
        if request.method.upper() == "GET":
            return []
        where = f"{self.context.connection}: webhook"
        verify(request, self.config, where=where)
        return [record_of(request, where=where)]

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        if "webhook" in raw.payload:
            return tuple(webhook_events(raw.payload, self.config))
        if raw.stream == "members":
            return tuple(member_events(raw.payload, self.config))
        if raw.stream == "opens":
            return tuple(open_events(raw.payload))
        if raw.stream == "activity":
            return tuple(activity_events(raw.payload))
        return tuple(unsubscribe_events(raw.payload))

    # Members

    def _members(self, cursor: Cursor) -> Iterator[Page]:
        cursor = cursor.only(frozenset(self.config.audience))
        trouble = Trouble()
        for audience in self.config.audience:
            with trouble.apart():
                cursor = yield from self._read_audience(audience, cursor)
        trouble.end()

    def _read_audience(self, audience: str, cursor: Cursor) -> Generator[Page, None, Cursor]:
        """One audience, whole: only its last page carries the cursor, which is also returned."""
        until = (self.context.clock() - _SETTLING).replace(microsecond=0)
        begun: datetime | None = None
        last: Sequence[RawRecord] = ()
        for records in self._changed_members(audience, cursor.marks.get(audience, Mark()), until):
            if last:
                yield Page(last, None)
            else:
                begun = self._client.answered_at
            last = records
        begun = begun or self._client.answered_at
        newest = min(until, begun - _SETTLING) if begun else until  # changes are dated by the vendor's clock, not ours
        cursor = cursor.with_mark(audience, Mark(newest=newest))
        yield Page(last, cursor.text())
        return cursor

    def _changed_members(self, audience: str, mark: Mark, until: datetime) -> Iterator[Sequence[RawRecord]]:
        since = mark.newest - self.config.lookback if mark.newest else None
        # A window that ends before it begins: the mark was set by a wrong clock and vouches for nothing. Read all.
        begin = {"since_last_changed": moment_text(since)} if since and since < until else {}
        pages = self._client.pages(
            f"/lists/{audience}/members",
            "id",
            parameters={
                "before_last_changed": moment_text(until),
                "sort_field": "last_changed",
                "sort_dir": "ASC",
                **begin,
            },
        )
        try:
            for rows in pages:
                yield [RawRecord("members", f"{audience}:{row.get('id', '')}", row) for row in rows]
        except GoneError as error:
            raise no_audience(audience, where=self._where("members")) from error

    # Facts about campaigns

    def _facts(self, stream: str, cursor: Cursor) -> Iterator[Page]:
        """Every campaign worth it; the trouble one makes is raised after the others were read."""
        reader, trouble = READERS[stream], Trouble()
        since = self.context.clock() - self.config.horizon
        reports = tuple(self._client.reports(self.config.audience, since, trouble.apart))
        # After trouble a campaign may be missing from the list: it keeps its mark while it may be looked at again.
        cursor = cursor.only(frozenset(report.id for report in reports), or_since=since if trouble.first else None)
        worth = [r for r in reports if self._worth_reading(r, cursor.marks.get(r.id, Mark()), reader)]
        loads = self._first_loads(stream, [report for report in worth if report.id not in cursor.marks], reader)
        in_batches = {campaign for load in loads for campaign in load.books}
        for report in (report for report in worth if report.id not in in_batches):
            with trouble.apart():
                cursor = yield from self._campaign(stream, report, cursor)
        for load in loads:  # last: a batch may be waited for in vain
            with trouble.apart():
                cursor = yield from self._loaded(load, cursor, trouble)
                continue
            break  # its batch is kept, and one at a time is
        if not worth:
            yield Page((), cursor.text())
        trouble.end()

    def _worth_reading(self, report: Report, mark: Mark, reader: Reader) -> bool:
        """Totals moved, or facts so fresh that late ones may still join them."""
        fresh = self.context.clock() - self.config.lookback
        moments = (report.send_time, mark.newest)
        return reader.totals(report) != mark.totals or any(m is not None and m > fresh for m in moments)

    def _campaign(self, stream: str, report: Report, cursor: Cursor) -> Generator[Page, None, Cursor]:
        """One campaign, whole: only its last page carries the cursor, which is also returned."""
        reader, mark = READERS[stream], cursor.marks.get(report.id, Mark())
        explosion = Explosion(stream, report, reader, mark.newest)
        last: list[RawRecord] = []
        for rows in self._client.pages(
            f"/reports/{report.id}/{reader.listing}", "email_id", parameters=self._since(reader, mark)
        ):
            if last:
                yield Page(last, None)
            last = explosion.records(rows)
        newest = min(explosion.newest, self.context.clock()) if explosion.newest else None
        cursor = cursor.with_mark(report.id, Mark(newest=newest, totals=reader.totals(report)))
        yield Page(last, cursor.text())
        return cursor

    def _since(self, reader: Reader, mark: Mark) -> dict[str, str]:
        if mark.newest is None or not reader.filters_by_time:
            return {}
        return {"since": moment_text(mark.newest - self.config.lookback)}

    # First loads of large accounts

    def _first_loads(self, stream: str, first: Sequence[Report], reader: Reader) -> list[_Load]:
        """The campaigns that are read in batches: none, unless there is a batch already, or it is worth it."""
        by_id = {report.id: report for report in first}
        kept = self._batches.kept(stream)
        loads = []
        if kept is not None:
            known = [by_id.pop(campaign) for campaign in kept.about if campaign in by_id]
            loads.append(_Load(stream, reader, known, kept))
        rest = list(by_id.values())
        if not reader.in_bulk or self.config.batch_from is None or self._pages(rest, reader) < self.config.batch_from:
            return loads
        parts = (rest[start : start + _CAMPAIGNS_A_BATCH] for start in range(0, len(rest), _CAMPAIGNS_A_BATCH))
        return [*loads, *(_Load(stream, reader, part, None) for part in parts)]

    def _pages(self, reports: Iterable[Report], reader: Reader) -> int:
        """The direct calls these would take."""
        return sum(max(1, -(-reader.rows(report) // self.config.page_size)) for report in reports)

    def _loaded(self, load: _Load, cursor: Cursor, trouble: Trouble) -> Generator[Page, None, Cursor]:
        """Many campaigns, in whatever order their rows come: only the last page carries the cursor."""
        job = load.job or self._batches.start(load.stream, load.operations(), load.totals())
        where = self._where(load.stream)
        for result in self._batches.results(job):
            book = load.books.get(result.operation_id)
            if book is None:
                continue
            with trouble.apart():
                if records := book.take(result, where):
                    yield Page(records, None)
        for campaign, book in load.books.items():
            with trouble.apart():
                book.refuse_when_short(where)
                newest = min(book.explosion.newest, self.context.clock()) if book.explosion.newest else None
                mark = Mark(newest=newest, totals=job.about.get(campaign, ""))
                cursor = cursor.with_mark(campaign, mark)
        yield Page((), cursor.text())
        return cursor

    def _where(self, stream: str) -> str:
        return f"{self.context.connection}/{stream}"


class _Book:
    """What came of one campaign so far."""

    def __init__(self, report: Report, reader: Reader, explosion: Explosion) -> None:
        self.explosion = explosion
        self._path = f"/reports/{report.id}/{reader.listing}"
        self._rows = 0
        self._announced: int | None = None
        self._failed = False

    def take(self, result: BatchResult, where: str) -> list[RawRecord]:
        """The records of one page; the error it holds instead is raised."""
        body = result.response if isinstance(result.response, str) else json.dumps(result.response)
        if error := error_of(result.status_code, body, where=f"{where}: GET {self._path}"):
            self._failed = True
            # In an archive it is no sign of how the connection fares now: others are read, and this one later.
            raise TransientError(error.message, where=error.where) if isinstance(error, _OF_ALL) else error
        listing = self.listing(body, where)
        self._announced = max(self._announced or 0, listing.total_items)
        self._rows += len(listing.rows)
        return self.explosion.records(listing.rows)

    def listing(self, body: str, where: str) -> Listing:
        try:
            return listing_of(self._path, json.loads(body))
        except ValueError as error:  # not JSON, or not what is documented
            self._failed = True
            raise TransientError(f"GET {self._path}: the answer cannot be read", where=where) from error

    def refuse_when_short(self, where: str) -> None:
        """TransientError when rows are missing, so that the campaign is read again; quiet when its error was raised."""
        if self._failed or self._announced is None or self._rows < self._announced:
            raise TransientError(
                f"GET {self._path}: the batch brought {self._rows} of {self._announced} rows", where=where
            )


class _Load:
    """Campaigns that one batch reads; with the `job` of an earlier attempt, if there was one."""

    def __init__(self, stream: str, reader: Reader, reports: Sequence[Report], job: Job | None) -> None:
        self.stream = stream
        self.job = job
        self._reader = reader
        self._reports = reports
        self.books = {
            report.id: _Book(report, reader, Explosion(stream, report, reader, None, remembers=False))
            for report in reports
        }

    def operations(self) -> list[dict[str, Any]]:
        """Without `count`, so that Mailchimp brings all pages (vendor sheet §5)."""
        paths = {report.id: f"/reports/{report.id}/{self._reader.listing}" for report in self._reports}
        return [
            {"method": "GET", "path": path, "operation_id": campaign, "params": {"fields": fields_parameter(path)}}
            for campaign, path in paths.items()
        ]

    def totals(self) -> Mapping[str, str]:
        """As they were when the batch was handed in: what comes later has to move them."""
        return {report.id: self._reader.totals(report) for report in self._reports}
