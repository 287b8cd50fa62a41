"""How campaigns are read: which listing, which facts in a row, and what tells that there is something new."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from syncline.model import RawRecord
from syncline_mailchimp.normalize import unreadable
from syncline_mailchimp.payloads import (
    ActivityFact,
    Opener,
    OpenFact,
    Recipient,
    Report,
    Row,
    Unsubscribed,
    UnsubscribeFact,
)

__all__ = ["READERS", "Explosion", "Reader"]

Fact = OpenFact | ActivityFact | UnsubscribeFact


@dataclass(frozen=True, slots=True)
class Reader:
    """How one stream reads a campaign.

    `totals` change when there is something to read, `rows` is how many the listing has at first, and `in_bulk` whether
    a first read may go through batch operations.
    """

    listing: str
    explode: Callable[[Row, Report], Iterator[Fact]]
    totals: Callable[[Report], str]
    rows: Callable[[Report], int]
    filters_by_time: bool = True
    in_bulk: bool = True


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


READERS: Final[Mapping[str, Reader]] = {
    "opens": Reader(
        "open-details",
        _opens,
        lambda r: f"{r.opens.opens_total}/{r.opens.last_open}",
        lambda r: r.opens.unique_opens,
    ),
    "activity": Reader(
        "email-activity",
        _activity,
        lambda r: (
            f"{r.clicks.clicks_total}/{r.clicks.last_click}"
            f"/{r.bounces.hard_bounces}/{r.bounces.soft_bounces}/{r.bounces.syntax_errors}"
        ),
        lambda r: r.emails_sent,
    ),
    # Read whole every time its total moved: the listing is short, and a missed withdrawal of consent is no small thing.
    "unsubscribes": Reader(
        "unsubscribed",
        _unsubscribes,
        lambda r: str(r.unsubscribed),
        lambda r: r.unsubscribed,
        filters_by_time=False,
        in_bulk=False,
    ),
}


class Explosion:
    """Rows about people in, one raw record per fact out, each once; and the time of the newest.

    Without `remembers` each once in the rows given together: the keys of a large first load would not fit in memory.
    """

    def __init__(
        self, stream: str, report: Report, reader: Reader, newest: datetime | None, *, remembers: bool = True
    ) -> None:
        self.newest = newest
        self._remembers = remembers
        self._stream = stream
        self._report = report
        self._reader = reader
        self._seen: set[str] = set()

    def records(self, rows: Iterable[Row]) -> list[RawRecord]:
        if not self._remembers:
            self._seen.clear()
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
