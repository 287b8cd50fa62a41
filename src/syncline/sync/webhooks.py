"""Webhooks: verified and read by their connector, kept as they came, read again where that failed, and reported.

A request is verified and read before anything is stored of it. What is stored then is stored at once: the request as it
came and its records, which wait in the inbox for the next run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from syncline.errors import WebhookRejectedError
from syncline.model import microseconds
from syncline.sdk import Receives, WebhookRequest
from syncline.store import events as log
from syncline.store import inbox, webhooks
from syncline.store.database import Database
from syncline.store.inbox import Parcel
from syncline.store.schema import BY_POLL, BY_WEBHOOK
from syncline.store.webhooks import Arrival, Counts, Outcome
from syncline.sync.report import SourceReport, WebhookReport

__all__ = [
    "MOST_UNREAD",
    "Letter",
    "Notices",
    "open_request",
    "read_again",
    "report_on",
    "report_ways",
    "short_reason",
    "take",
]

MOST_UNREAD: Final = 10_000
"""So many requests of a connection may wait to be read again: what nobody understands must not fill the disk."""

_RUN: Final = "webhook"  # stands where other records name the run that read them
_AT_ONCE: Final = 100
_LONGEST: Final = 500  # characters of a reason; what a validation says may repeat the whole request
_LONGEST_COUNTED: Final = (
    200  # characters of a reason that is counted: it is part of an index, which takes no more than 2,700
)
_NUMBER: Final = re.compile(r"\d{2,}")
_HARMLESS: Final = frozenset({"content-type", "content-length", "user-agent", "date", "x-request-id"})
"""Headers that are kept: they say what and who it was, and no vendor puts a secret there."""


class Letter(NamedTuple):
    """A verified request, ready to be kept: as it came, and the records in it."""

    arrival: Arrival
    parcels: Sequence[Parcel]


def open_request(name: str, connector: Receives, request: WebhookRequest) -> Letter:
    """Verify and read a request. WebhookRejectedError when it is not what it claims to be.

    One that the plugin cannot read, whatever the reason, is kept whole, with that reason: it can be read again.
    """
    digest = webhooks.digest_of(name, request.body)
    arrival = Arrival(digest, name, _address(name, request), _harmless(request.headers), request.body)
    try:
        return Letter(arrival, inbox.pack(name, connector.receive(request)))
    except WebhookRejectedError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the vendor must not have to know
        reason = f"{type(error).__name__}: {error}"[:_LONGEST]
        return Letter(arrival._replace(reason=reason, request=_whole(request)), ())


def short_reason(reason: str) -> str:
    """Why a request was refused, as it is counted: "signed 412 s ago" is the same as "signed 413 s ago"."""
    return _NUMBER.sub("…", reason)[:_LONGEST_COUNTED]


def take(connection: Connection, letters: Sequence[Letter], at: datetime) -> list[Outcome | None]:
    """Keep verified requests and their records, and count them. What became of each, in order.

    `duplicate` is one whose body came before; its records go in all the same, the inbox knows those it has. None: it
    was not kept, because the plugin cannot read it and too many such wait already.
    """
    crammed = _crammed(connection, letters)
    kept = [letter for letter in letters if letter.arrival.reason is None or letter.arrival.connection not in crammed]
    outcomes = dict(
        zip(map(id, kept), webhooks.keep(connection, [k.arrival for k in kept], microseconds(at)), strict=True)
    )
    parcels: dict[str, list[Parcel]] = {}
    for letter in kept:
        parcels.setdefault(letter.arrival.connection, []).extend(letter.parcels)
    for name, found in parcels.items():
        inbox.put(connection, name, found, run_id=_RUN, at_us=microseconds(at), way=BY_WEBHOOK)
    webhooks.add_counts(connection, Counter((k.arrival.connection, outcomes[id(k)], "") for k in kept), at)
    return [outcomes.get(id(letter)) for letter in letters]


def _crammed(connection: Connection, letters: Iterable[Letter]) -> set[str]:
    """Connections of which no more requests can be kept that nobody can read."""
    names = {letter.arrival.connection for letter in letters if letter.arrival.reason is not None}
    return {name for name in names if webhooks.unread_count(connection, name) >= MOST_UNREAD}


def read_again(database: Database, name: str, connector: Receives, at: datetime) -> None:
    """Verify and read once more what could not be read, after the plugin was mended. The records wait in the inbox."""
    after = 0
    while True:
        with database.read() as reading:
            rows = webhooks.unread(reading, name, after=after, limit=_AT_ONCE)
        if not rows:
            return
        for row in rows:
            _again(database, name, connector, row, at)
        after = rows[-1].id


def _again(database: Database, name: str, connector: Receives, row: webhooks.Unread, at: datetime) -> None:
    try:
        letter = open_request(name, connector, _request(row))
    except WebhookRejectedError as error:
        with database.write() as connection:
            webhooks.drop(connection, row.id)
            webhooks.add_counts(connection, Counts({(name, "refused", short_reason(error.message)): 1}), at)
        return
    with database.write() as connection:
        if letter.arrival.reason is not None:
            webhooks.still_unread(connection, row.id, letter.arrival.reason)
            return
        inbox.put(connection, name, letter.parcels, run_id=_RUN, at_us=microseconds(at), way=BY_WEBHOOK)
        webhooks.mark_read(connection, row.id)


@dataclass(frozen=True, slots=True)
class Notices:
    """A CRM's webhooks: they say that something changed there, so reading its changes settles them.

    What arrives while the changes are being read stays for the next run: `seen` before, `settle` after.
    """

    name: str
    last_record: int
    last_unread: int

    @classmethod
    def seen(cls, database: Database, name: str) -> Notices:
        with database.read() as connection:
            return cls(name, inbox.last_waiting(connection, name), webhooks.last_unread(connection, name))

    def settle(self, database: Database) -> int:
        """They are done with; how many notices there were."""
        if not (self.last_record or self.last_unread):
            return 0
        with database.write() as connection:
            webhooks.close_unread(connection, self.name, self.last_unread)
            return inbox.finish_until(connection, self.name, self.last_record)


def report_on(database: Database, name: str, since: datetime) -> WebhookReport:
    """What became of the connection's webhooks since that day."""
    with database.read() as connection:
        found = webhooks.figures(connection, name, since)
    return WebhookReport(
        received=found.received,
        duplicate=found.duplicate,
        unread=found.unread,
        refused=sum(found.refused.values()),
        reasons=found.refused,
    )


def report_ways(database: Database, reports: Mapping[str, SourceReport], since: datetime) -> None:
    """How many events only one of the two ways brought, of those that occurred since then and could come both."""
    with database.read() as connection:
        found = log.ways(connection, microseconds(since))
    for source, ways in found.items():
        report = reports.get(source.partition("/")[0])
        if report is not None:
            report.only_poll += ways[BY_POLL]
            report.only_webhook += ways[BY_WEBHOOK]
            report.both += ways[BY_POLL | BY_WEBHOOK]


def _address(name: str, request: WebhookRequest) -> str:
    """Method, connection, and whether there was more: secrets stand in paths and queries."""
    below = request.path.partition(f"/hooks/{name}")[2].strip("/")
    return f"{request.method} /hooks/{name}" + ("/…" if below else "") + ("?…" if request.query else "")


def _harmless(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name in _HARMLESS}


def _whole(request: WebhookRequest) -> dict[str, Any]:
    """All but the body, as JSON knows it."""
    kept = asdict(replace(request, body=b""))
    del kept["body"]
    return {**kept, "received_at": request.received_at.isoformat()}


def _request(row: webhooks.Unread) -> WebhookRequest:
    received_at = datetime.fromisoformat(row.request["received_at"])
    return WebhookRequest(**{**row.request, "body": row.body, "received_at": received_at})
