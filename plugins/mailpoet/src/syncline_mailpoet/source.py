"""MailPoet as a source.

Two kinds of tables. Those that only grow are read by id; those whose rows change in place by `updated_at`. Neither
cursor moves beyond what is settled (cursor.py), so what is younger comes again; the host knows it already.

Opens are the exception: their rows change in place and nothing tells. So a cursor also keeps, for each thousand ids
that still hold machines' rows, what the people's rows among them add up to; where that changed they are read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from syncline.errors import ConfigError, CursorExpiredError, did_you_mean
from syncline.model import Account, Event, Page, RawRecord, event_id
from syncline.sdk import Context, Source, WebhookRequest
from syncline_mailpoet.client import MailPoetDatabase, OpenBlock, Row
from syncline_mailpoet.config import MailPoetConfig
from syncline_mailpoet.cursor import IdCursor, TimeCursor
from syncline_mailpoet.normalize import MODELS, Normalizer, problems
from syncline_mailpoet.statements import STREAMS
from syncline_mailpoet.webhook import clicked

__all__ = ["MailPoetSource"]


class MailPoetSource(Source[MailPoetConfig]):
    """Subscribers, lists, unsubscribes, bounces, forms, opens and clicks of one site."""

    kind: ClassVar[str] = "mailpoet"
    config_model = MailPoetConfig
    streams: ClassVar[Sequence[str]] = ("subscribers", "lists", "unsubscribes", "bounces", "forms", "opens", "clicks")
    """In the order of reading: first who may no longer be written to, last what costs most."""

    def __init__(self, config: MailPoetConfig, context: Context) -> None:
        super().__init__(config, context)
        self._database = MailPoetDatabase(config, context.connection, context.clock, context.folder)
        self._normalizer = Normalizer(config)
        self._of = f"{config.site}/{config.prefix}"

    def check(self) -> Account:
        server = self._database.server()
        details = {"server": server.version, "user": server.user, "prefix": self.config.prefix}
        return Account(
            self.config.site,
            f"MailPoet on {self.config.site}",
            {name: value for name, value in details.items() if value},
            server.time,
        )

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        """Pages of one stream, each with a cursor from which nothing is missed."""
        where = self._where(stream)
        if stream not in self.streams:
            raise ConfigError(f"no stream {stream!r}; {did_you_mean(stream, self.streams)}", where=where)
        if STREAMS[stream].by_time:
            position = TimeCursor.read(cursor, of=self._of, where=where)
            return self._by_time(stream, position) if position.at else self._for_the_first_time(stream, position)
        start = IdCursor.read(cursor, of=self._of, where=where)
        return self._opens(start) if stream == "opens" else self._by_id(stream, start)

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        """The row of the click it tells of, as a read would bring it."""
        row = clicked(request, self.config, self._where("clicks"))
        return (_plain("clicks", row),)

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        return tuple(self._normalizer.events(raw))

    # Reading

    def _by_id(self, stream: str, start: IdCursor) -> Iterator[Page]:
        settled = self._database.settled()
        floor, made = self._anchor(stream, start)
        after, pinned = floor, False
        while True:
            rows = self._database.rows_after_id(stream, after)
            for row in rows:
                pinned = pinned or _text(row["created_at"]) > settled
                floor, made = (floor, made) if pinned else (row["id"], _text(row["created_at"]))
            cursor = start.model_copy(update={"floor": floor, "made": made})
            yield Page([_record(stream, row) for row in rows], cursor.text())
            if len(rows) < self.config.page_size:
                return
            after = rows[-1]["id"]

    def _anchor(self, stream: str, start: IdCursor) -> tuple[int, str]:
        """From which row on to read, and when that one was made.

        Numbers may be given again: after a restart of MySQL before 8.0, or when a backup was restored. Where the rows
        that were read are simply gone, whatever gets their numbers is still ahead. Where they have them already, a row
        up to the floor is younger than the floor's was: CursorExpiredError, and everything is read again.
        """
        last = self._database.last_until(stream, start.floor) if start.floor else None
        if last is None:
            return 0, ""
        made = _text(last["created_at"])
        if start.made and made > start.made:
            raise CursorExpiredError(
                f"row {last['id']} was made at {made}, and rows up to {start.floor} were read that were made until"
                f" {start.made}: a backup was restored, and numbers were given again",
                where=self._where(stream),
            )
        return last["id"], made

    def _for_the_first_time(self, stream: str, start: TimeCursor) -> Iterator[Page]:
        """By id, which every table has an index on; what changes meanwhile is found from `began` on."""
        began, after = start.began or self._database.settled(), start.id
        while True:
            rows = self._database.rows_after_id(stream, after)
            last = len(rows) < self.config.page_size
            after = rows[-1]["id"] if rows else after
            position = {"at": began, "id": 0} if last else {"began": began, "id": after}
            cursor = start.model_copy(update={"at": "", "began": "", **position})
            yield Page([_record(stream, row) for row in rows], cursor.text())
            if last:
                return

    def _by_time(self, stream: str, start: TimeCursor) -> Iterator[Page]:
        settled = (self._database.settled(), 0)
        if (start.at, start.id) > settled:  # a clock was set back: what happens now is dated before what was read
            start = start.model_copy(update={"at": settled[0], "id": settled[1]})
        at = start
        while True:
            rows = self._database.rows_after_time(stream, at)
            if rows:
                at = at.model_copy(update={"at": _text(rows[-1]["updated_at"]), "id": rows[-1]["id"]})
            reached = max((start.at, start.id), min((at.at, at.id), settled))
            cursor = start.model_copy(update={"at": reached[0], "id": reached[1]})
            yield Page([_record(stream, row) for row in rows], cursor.text())
            if len(rows) < self.config.page_size:
                return

    def _opens(self, start: IdCursor) -> Iterator[Page]:
        """First what turned out to be people's in blocks that were read before, then what is new.

        The blocks are added up before any row is read: what changes in between is read too early, never too late.
        """
        found = self._database.open_blocks()
        watched = dict(start.people)
        for block, mark in start.people.items():
            now = found.get(int(block), OpenBlock(mark, 0))  # gone, or older than the machine window
            watched[block] = now.mark
            if not now.machines:
                del watched[block]
            if now.mark != mark:
                rows = self._database.people_in_block(int(block), start.floor)
                cursor = start.model_copy(update={"people": dict(watched)})
                yield Page([_record("opens", row) for row in rows], cursor.text())
        current = {str(block): now.mark for block, now in sorted(found.items()) if now.machines}
        yield from self._by_id("opens", start.model_copy(update={"people": current}))

    def _where(self, stream: str) -> str:
        return f"{self.context.connection}/{stream}"


def _record(stream: str, row: Row) -> RawRecord:
    """A row, read by its model; one that no model can read is kept whole, for `normalize` to refuse."""
    try:
        return _plain(stream, MODELS[stream].model_validate(row))
    except ValidationError as error:
        whole = {name: _json(value) for name, value in row.items()}
        digest = event_id(json.dumps(whole, sort_keys=True))
        return RawRecord(stream, f"unreadable:{digest}", {"unreadable": problems(error), "row": whole})


def _plain(stream: str, row: BaseModel) -> RawRecord:
    payload = row.model_dump(mode="json", exclude_none=True)
    return RawRecord(stream, _key(stream, payload), payload)


def _key(stream: str, payload: Mapping[str, Any]) -> str:
    """The row's id, and what its events depend on besides: the count of a click, a machine's verdict."""
    count = f":{payload['count']}" if stream == "clicks" else ""
    return f"{payload['id']}{count}{':machine' if payload.get('user_agent_type') == 1 else ''}"


def _json(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _text(value: Any) -> str:
    """A column's time as text that sorts: the driver gives datetimes, or text as it is stored."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(value or "")
