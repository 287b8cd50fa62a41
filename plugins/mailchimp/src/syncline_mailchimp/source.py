"""Mailchimp as a source.

Opens come from open-details, the only place that tells machine opens; clicks and bounces from email-activity, which
pages over recipients, most of them empty, in no order of time. So a campaign is safe only as a whole: its pages carry
no cursor until the last one, and the time they are filtered by does not move while they are read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from pydantic import ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, did_you_mean
from syncline.model import Account, Event, Page, RawRecord
from syncline.sdk import Context, Source
from syncline_mailchimp.client import MailchimpClient
from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.cursor import Cursor, Mark
from syncline_mailchimp.errors import GoneError
from syncline_mailchimp.normalize import (
    activity_events,
    member_events,
    open_events,
    unreadable,
    unsubscribe_events,
)
from syncline_mailchimp.payloads import (
    ActivityFact,
    Opener,
    OpenFact,
    Recipient,
    Report,
    Row,
    Unsubscribed,
    UnsubscribeFact,
    moment_text,
)

__all__ = ["MailchimpSource"]

_log = logging.getLogger(__name__)
Fact = OpenFact | ActivityFact | UnsubscribeFact

_SETTLING: Final = timedelta(seconds=10)
"""Members that changed just now are left for the next read, so that offsets stay steady (vendor sheet, §8)."""


class MailchimpSource(Source[MailchimpConfig]):
    """Members, unsubscribes, opens and activity (clicks and bounces) of one or more audiences."""

    kind: ClassVar[str] = "mailchimp"
    config_model = MailchimpConfig
    streams: ClassVar[Sequence[str]] = ("members", "unsubscribes", "opens", "activity")
    """In the order of reading: first who may no longer be written to, last what costs most."""

    def __init__(self, config: MailchimpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._client = MailchimpClient(config, context.http)

    def check(self) -> Account:
        root = self._client.root()
        details = {"role": root.role, "timezone": root.account_timezone}
        return Account(
            root.account_id, root.account_name, {k: v for k, v in details.items() if v}, self._client.answered_at
        )

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        """Pages of one stream; see the module for why most of them carry no cursor."""
        if stream not in self.streams:
            raise ConfigError(f"no stream {stream!r}; {did_you_mean(stream, self.streams)}", where=self._where(stream))
        start = Cursor.read(cursor, where=self._where(stream))
        return self._members(start) if stream == "members" else self._facts(stream, start)

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
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
        trouble = _Trouble()
        for audience in self.config.audience:
            with trouble.apart():
                cursor = yield from self._audience(audience, cursor)
        trouble.end()

    def _audience(self, audience: str, cursor: Cursor) -> Generator[Page, None, Cursor]:
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
        window = {"since_last_changed": moment_text(since)} if since and since < until else {}
        pages = self._client.pages(
            f"/lists/{audience}/members",
            "id",
            before_last_changed=moment_text(until),
            sort_field="last_changed",
            sort_dir="ASC",
            **window,
        )
        try:
            for rows in pages:
                yield [RawRecord("members", f"{audience}:{row.get('id', '')}", row) for row in rows]
        except GoneError as error:
            raise ConfigError(
                f"the account has no audience {audience!r}; its id is in Mailchimp under Audience → Settings →"
                " Audience name and defaults",
                where=self._where("members"),
            ) from error

    # Facts about campaigns

    def _facts(self, stream: str, cursor: Cursor) -> Iterator[Page]:
        """Every campaign worth it; the trouble one makes is raised after the others were read."""
        reader, trouble = _READERS[stream], _Trouble()
        since = self.context.clock() - self.config.horizon
        reports = tuple(self._client.reports(self.config.audience, since, trouble.apart))
        if trouble.first is None:  # else a campaign may be missing from the list, and keeps its mark
            cursor = cursor.only(frozenset(report.id for report in reports))
        worth = [r for r in reports if self._worth_reading(r, cursor.marks.get(r.id, Mark()), reader)]
        for report in worth:
            with trouble.apart():
                cursor = yield from self._campaign(stream, report, cursor)
        if not worth:
            yield Page((), cursor.text())
        trouble.end()

    def _worth_reading(self, report: Report, mark: Mark, reader: _Reader) -> bool:
        """Totals moved, or facts so fresh that late ones may still join them."""
        fresh = self.context.clock() - self.config.lookback
        moments = (report.send_time, mark.newest)
        return reader.totals(report) != mark.totals or any(m is not None and m > fresh for m in moments)

    def _campaign(self, stream: str, report: Report, cursor: Cursor) -> Generator[Page, None, Cursor]:
        """One campaign, whole: only its last page carries the cursor, which is also returned."""
        reader, mark = _READERS[stream], cursor.marks.get(report.id, Mark())
        explosion = _Explosion(stream, report, reader, mark.newest)
        last: list[RawRecord] = []
        for rows in self._client.pages(
            f"/reports/{report.id}/{reader.listing}", "email_id", **self._since(reader, mark)
        ):
            if last:
                yield Page(last, None)
            last = explosion.records(rows)
        newest = min(explosion.newest, self.context.clock()) if explosion.newest else None
        cursor = cursor.with_mark(report.id, Mark(newest=newest, totals=reader.totals(report)))
        yield Page(last, cursor.text())
        return cursor

    def _since(self, reader: _Reader, mark: Mark) -> dict[str, str]:
        if mark.newest is None or not reader.filters_by_time:
            return {}
        return {"since": moment_text(mark.newest - self.config.lookback)}

    def _where(self, stream: str) -> str:
        return f"{self.context.connection}/{stream}"


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one stream reads a campaign."""

    listing: str
    explode: Callable[[Row, Report], Iterator[Fact]]
    totals: Callable[[Report], str]
    filters_by_time: bool


def _opens(row: Row, report: Report) -> Iterator[Fact]:
    opener = Opener.model_validate(row)
    for opened in opener.opens:
        yield OpenFact(**_about(opener, report), timestamp=opened.timestamp, is_proxy_open=opened.is_proxy_open)


def _activity(row: Row, report: Report) -> Iterator[Fact]:
    recipient = Recipient.model_validate(row)
    for done in recipient.activity:
        if done.action != "open":  # those come from open-details, which knows the machines
            yield ActivityFact.model_validate(
                {**_about(recipient, report), **done.model_dump(), "timestamp": done.timestamp}
            )


def _unsubscribes(row: Row, report: Report) -> Iterator[Fact]:
    left = Unsubscribed.model_validate(row)
    yield UnsubscribeFact(**_about(left, report), timestamp=left.timestamp, reason=left.reason)


def _about(row: Opener | Recipient | Unsubscribed, report: Report) -> dict[str, str]:
    return {
        "campaign_id": report.id,
        "campaign": report.name,
        "list_id": row.list_id or report.list_id or "",
        "email_id": row.email_id,
        "email_address": row.email_address,
    }


_READERS: Final[Mapping[str, _Reader]] = {
    "opens": _Reader("open-details", _opens, lambda r: f"{r.opens.opens_total}/{r.opens.last_open}", True),
    "activity": _Reader(
        "email-activity",
        _activity,
        lambda r: (
            f"{r.clicks.clicks_total}/{r.clicks.last_click}"
            f"/{r.bounces.hard_bounces}/{r.bounces.soft_bounces}/{r.bounces.syntax_errors}"
        ),
        True,
    ),
    # Read whole every time its total moved: the listing is short, and a missed withdrawal of consent is no small thing.
    "unsubscribes": _Reader("unsubscribed", _unsubscribes, lambda r: str(r.unsubscribed), False),
}


class _Explosion:
    """Rows about people in, one raw record per fact out, each once; and the time of the newest."""

    def __init__(self, stream: str, report: Report, reader: _Reader, newest: datetime | None) -> None:
        self.newest = newest
        self._stream = stream
        self._report = report
        self._reader = reader
        self._seen: set[str] = set()

    def records(self, rows: Iterable[Row]) -> list[RawRecord]:
        found = (record for row in rows for record in self._of(row))
        return [record for record in found if self._is_new(record.key)]

    def _of(self, row: Row) -> Iterator[RawRecord]:
        try:
            facts = tuple(self._reader.explode(row, self._report))
        except ValidationError as error:
            yield unreadable(self._stream, self._report.id, row, error)
            return
        for fact in facts:
            self.newest = max(self.newest or fact.timestamp, fact.timestamp)
            yield RawRecord(self._stream, ":".join(fact.key), fact.model_dump(mode="json", exclude_none=True))

    def _is_new(self, key: str) -> bool:
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


class _Trouble:
    """Lets one campaign or audience fail alone, its mark where it was: `end` raises the first error there was."""

    def __init__(self) -> None:
        self.first: ConnectorError | None = None

    @contextmanager
    def apart(self) -> Iterator[None]:
        try:
            yield
        except GoneError as error:  # deleted since it was listed: there is nothing left to miss
            _log.warning("%s; it is skipped", error)
        except (AuthError, RateLimitError):  # of the whole connection: the next call would fare no better
            raise
        except ConnectorError as error:
            _log.warning("%s; the others are read", error)
            self.first = self.first or error

    def end(self) -> None:
        if self.first is not None:
            raise self.first
