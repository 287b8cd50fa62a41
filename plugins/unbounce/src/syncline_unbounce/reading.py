"""The read plan: which pages are worth a call, from when on, and where to go on after a crash.

One listing of all pages, with statistics, says where something was submitted. A group of pages (see `cursor`) is read
when its statistics moved, once more after the lookback has passed (a lead may be counted before it can be read), and
once a day whatever they say.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from pydantic import ValidationError

from syncline.errors import AuthError, ConnectorError, RateLimitError
from syncline.model import Page, RawRecord, event_id
from syncline_unbounce.client import UnbounceClient
from syncline_unbounce.config import UnbounceConfig
from syncline_unbounce.cursor import Cursor, Mark, Place, digest, group_of, is_unknown
from syncline_unbounce.errors import GoneError
from syncline_unbounce.payloads import Lead, PageEntity, Row, moment_of, problems

__all__ = ["Reading"]

_log = logging.getLogger(__name__)
_CALLS_A_PAGE = 25
"""So many calls without a stored cursor at most: they are what a crash costs."""

Groups = Mapping[str, Sequence[PageEntity]]


class Reading:
    """One read of all leads that are new."""

    def __init__(self, client: UnbounceClient, config: UnbounceConfig, now: datetime) -> None:
        self._client = client
        self._config = config
        self._now = now
        self._trouble = _Trouble(client)
        self._held: list[RawRecord] = []
        self._calls = 0

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        """Trouble with one page leaves the others to be read; it is raised at the end."""
        groups, until = self._groups()
        cursor = cursor.only(groups)
        for group, pages in groups.items():
            if self._worth_reading(cursor, group, pages, until):
                cursor = yield from self._group(cursor, group, pages, until)
        yield self._page(cursor)
        self._trouble.end()

    def _groups(self) -> tuple[Groups, datetime]:
        """The pages by group, in order; and until when leads are read: by the vendor's clock where ours is ahead."""
        found: dict[str, list[PageEntity]] = defaultdict(list)
        wanted = frozenset(self._config.sub_accounts)
        failing = 0
        for page in self._client.pages():
            if not wanted or page.sub_account_id in wanted:
                found[group_of(page.id)].append(page)
                failing += page.integrations_errors_count > 0
        if failing:
            _log.warning("%d pages have integrations that fail (webhooks may be among them); see Unbounce", failing)
        told = self._client.answered_at
        until = min(self._now, told) if told is not None else self._now
        return {group: sorted(found[group], key=lambda page: page.id) for group in sorted(found)}, until

    def _worth_reading(self, cursor: Cursor, group: str, pages: Sequence[PageEntity], until: datetime) -> bool:
        mark = cursor.groups.get(group)
        if mark is None or mark.read > until or (cursor.place is not None and cursor.place.group == group):
            return True
        now = digest(pages)
        settled = mark.moved is None or mark.read >= mark.moved + self._config.lookback
        return is_unknown(now) or now != mark.digest or not settled or until - mark.read >= self._config.full_check

    def _group(
        self, cursor: Cursor, group: str, pages: Sequence[PageEntity], until: datetime
    ) -> Generator[Page, None, Cursor]:
        """One group of pages; the cursor that says that it is read, or how far if one of them failed.

        The others of the group are read all the same, but the place stays where the first one failed. If that one came
        no further, the group is read from its mark next time: else what fails for good would keep us there.
        """
        start = self._start(cursor, group, pages, until)
        mark, whole = cursor.groups.get(group), True
        first, newest = self._since(mark, pages, until), None
        place: Place | None = start
        for page in pages:
            if page.id < start.page:
                continue
            since = start.since if page.id == start.page and start.since else first
            with self._trouble.apart():
                for stretch in self._client.leads(page.id, since, until):
                    self._hold(page, stretch.rows)
                    newest = max(filter(None, (newest, *map(moment_of, stretch.rows))), default=None)
                    if whole:
                        place = start.model_copy(update={"page": page.id, "since": stretch.since})
                    if self._enough():
                        yield self._page(cursor.at(place))
            if whole and self._trouble.just_now:
                whole = False
                place = place if place and place != start and place.page == page.id else None
        if whole:
            return cursor.with_mark(group, self._mark(mark, start, newest))
        return cursor.at(place)

    def _start(self, cursor: Cursor, group: str, pages: Sequence[PageEntity], until: datetime) -> Place:
        """Where the group's last read was interrupted, with its own end and statistics; else its beginning."""
        if cursor.place is not None and cursor.place.group == group and cursor.place.until <= until:
            return cursor.place
        return Place(group=group, digest=digest(pages), until=until, page="")

    def _since(self, mark: Mark | None, pages: Sequence[PageEntity], until: datetime) -> datetime | None:
        # A mark in the future was set by a wrong clock, and vouches for nothing.
        if mark is not None and mark.read <= until and mark.vouches_for(pages):
            return mark.read - self._config.lookback
        return until - self._config.horizon if self._config.horizon is not None else None

    def _mark(self, mark: Mark | None, start: Place, newest: datetime | None) -> Mark:
        if mark is not None:
            moved = start.until if mark.digest != start.digest else mark.moved
        else:  # at first everything has moved; only what is fresh may still bring more
            moved = start.until if newest and newest > start.until - self._config.lookback else None
        return Mark(digest=start.digest, read=start.until, moved=moved)

    def _hold(self, page: PageEntity, rows: Sequence[Row]) -> None:
        self._calls += 1
        self._held += [_record(page, row) for row in rows]

    def _enough(self) -> bool:
        return len(self._held) >= self._config.page_size / 2 or self._calls >= _CALLS_A_PAGE

    def _page(self, cursor: Cursor) -> Page:
        held, self._held, self._calls = self._held, [], 0
        return Page(held, cursor.text())


def _record(page: PageEntity, row: Row) -> RawRecord:
    """A lead as it came, with what its page is called; one that no model can read is kept, to be quarantined."""
    try:
        lead = Lead.model_validate(row)
    except ValidationError as error:
        key = str(row.get("id") or event_id(repr(sorted(row.items()))))
        return RawRecord("leads", f"unreadable:{key}", {"unreadable": problems(error), "lead": row})
    return RawRecord("leads", lead.id, {"lead": row, "page": {"name": page.name, "url": page.url}})


class _Trouble:
    """Lets one page fail alone: `end` raises the first error there was."""

    def __init__(self, client: UnbounceClient) -> None:
        self._client = client
        self._first: ConnectorError | None = None
        self.just_now = False
        """Whether the last page failed."""

    @contextmanager
    def apart(self) -> Iterator[None]:
        self.just_now = False
        try:
            yield
        except GoneError as error:  # deleted since it was listed: there is nothing left to read
            _log.warning("%s; the page is skipped", error)
        except RateLimitError:  # of the whole connection: the next call would fare no better
            raise
        except AuthError as error:
            self._client.accounts()  # raises when it is not this page alone that we may not read
            self._note(ConnectorError(error.message, where=error.where, request_id=error.request_id))
        except ConnectorError as error:
            self._note(error)

    def _note(self, error: ConnectorError) -> None:
        _log.warning("%s; the other pages are read", error)
        self._first = self._first or error
        self.just_now = True

    def end(self) -> None:
        if self._first is not None:
            raise self._first
