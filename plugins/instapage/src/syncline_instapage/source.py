"""Instapage as a source: form submissions of one or more workspaces, by polling and by webhook.

Submissions come in no documented order, so a window of time is safe only as a whole: its pages carry no cursor until
the last one. Both ways in are one stream, and a submission is one event whichever way it came (see `forms`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Final

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    RateLimitError,
    RecordError,
    TransientError,
    did_you_mean,
)
from syncline.model import Account, Event, Page, RawRecord, event_id
from syncline.sdk import Context, Source, WebhookRequest
from syncline_instapage.client import PAGES_A_CALL, InstapageClient
from syncline_instapage.config import InstapageConfig
from syncline_instapage.cursor import Cursor, Mark
from syncline_instapage.errors import GoneError
from syncline_instapage.forms import webhook_form, webhook_minute
from syncline_instapage.normalize import events_of
from syncline_instapage.payloads import LandingPage, Row
from syncline_instapage.webhook import UnreadableError, read_body, verify, without_secret

__all__ = ["InstapageSource"]

_log = logging.getLogger(__name__)

_STREAM: Final = "submissions"
_MOST_OF_A_BODY: Final = 10_000


class InstapageSource(Source[InstapageConfig]):
    """Form submissions."""

    kind: ClassVar[str] = "instapage"
    config_model = InstapageConfig
    streams: ClassVar[Sequence[str]] = (_STREAM,)

    def __init__(self, config: InstapageConfig, context: Context) -> None:
        super().__init__(config, context)
        self._client = InstapageClient(config, context)

    def check(self) -> Account:
        """One call (for each hundred workspaces), also while a pause lasts: a person wants to know."""
        self._client.forget_pause()
        visible = {workspace.workspace_id: workspace for workspace in self._client.workspaces()}
        wanted = self.config.workspaces or tuple(visible)
        if lost := [str(workspace) for workspace in wanted if workspace not in visible]:
            known = did_you_mean(lost[0], map(str, visible))
            raise ConfigError(f"the token's owner sees no workspace {lost[0]}; {known}", where=self._where())
        if not wanted:
            raise ConfigError("the token's owner sees no workspace at all; have them invited", where=self._where())
        found = [visible[workspace] for workspace in wanted]
        return Account(
            ", ".join(str(workspace.workspace_id) for workspace in found),
            ", ".join(workspace.workspace_name or str(workspace.workspace_id) for workspace in found),
            {str(workspace.workspace_id): workspace.access_level for workspace in found},
            self._client.answered_at,
        )

    # Polling

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        """Pages of submissions; see the module for why most of them carry no cursor."""
        if stream not in self.streams:
            raise ConfigError(f"no stream {stream!r}; {did_you_mean(stream, self.streams)}", where=self._where())
        return self._submissions(Cursor.read(cursor, where=self._where()))

    def _submissions(self, cursor: Cursor) -> Iterator[Page]:
        """Every workspace; the trouble one makes is raised after the others were read."""
        workspaces = self.config.workspaces or tuple(found.workspace_id for found in self._client.workspaces())
        cursor, trouble = cursor.only(frozenset(workspaces)), _Trouble()
        for workspace in workspaces:
            with trouble.apart():
                for page, reached in self._workspace(workspace, cursor):
                    cursor = reached  # page by page: what was complete before an error stays so
                    yield page
        trouble.end()

    def _workspace(self, workspace: int, cursor: Cursor) -> Iterator[tuple[Page, Cursor]]:
        """Pages, and the cursor that is true after each."""
        pages = self._pages(workspace, deleted=False)
        end = self._now() - _seconds(self.config.settle)
        mark = self._believed(cursor.workspaces.get(workspace), end)
        whole = mark is None or mark.reread is None or end - mark.reread >= _seconds(self.config.reread)
        if whole:  # deleted pages only now and then: nobody submits anything there any more
            pages |= self._pages(workspace, deleted=True)
        for start, stop in self._windows(mark, end, whole=whole):
            reread = stop if whole and stop == end else mark.reread if mark else None
            read_to = max(stop, mark.read_to) if mark else stop
            complete = cursor.with_mark(workspace, Mark(read_to=read_to, reread=reread))
            for page in self._window(workspace, pages, start, stop, complete):
                cursor = cursor if page.cursor is None else complete
                yield page, cursor

    def _now(self) -> int:
        """By the vendor's clock where ours is ahead of it: what is not there yet must not count as read."""
        told = self._client.answered_at
        ours = self.context.clock()
        return int(min(ours, told).timestamp() if told else ours.timestamp())

    def _believed(self, mark: Mark | None, end: int) -> Mark | None:
        """A mark that lies in the future was set by a wrong clock, and vouches for nothing."""
        latest = end + _seconds(self.config.lookback)
        return mark if mark is not None and max(mark.read_to, mark.reread or 0) <= latest else None

    def _pages(self, workspace: int, *, deleted: bool) -> dict[int, LandingPage]:
        """The landing pages by id: those that are there, or those that were deleted."""
        try:
            return {page.id: page for page in self._client.pages(workspace, deleted=deleted)}
        except GoneError as error:
            raise ConfigError(
                f"there is no workspace {workspace} for this token; the app's address shows its id when it is open",
                where=self._where(),
            ) from error

    def _windows(self, mark: Mark | None, end: int, *, whole: bool) -> Iterator[tuple[int, int]]:
        """What is to be read, in pieces that are each complete in themselves, oldest first."""
        lookback, length = _seconds(self.config.lookback), _seconds(self.config.window)
        start = end - _seconds(self.config.horizon)
        if mark is not None:
            start = min(mark.read_to, end) - lookback
            if whole:
                start = min(start, end - _seconds(self.config.reread), (mark.reread or start) - lookback)
        if self.config.submissions_verb == "GET":  # brings everything each time: once is enough
            length = end - start
        for begin in range(start, end, length):
            # A second earlier: whether `timeframe` includes its ends is not documented.
            yield begin - 1, min(begin + length, end)

    def _window(
        self, workspace: int, pages: Mapping[int, LandingPage], start: int, stop: int, cursor: Cursor
    ) -> Iterator[Page]:
        """Only the last page carries the cursor."""
        last: list[RawRecord] = []
        for rows in self._rows(workspace, pages, start, stop):
            if last:
                yield Page(last, None)
            last = [self._record(workspace, pages, row) for row in rows]
        yield Page(last, cursor.text())

    def _rows(self, workspace: int, pages: Mapping[int, LandingPage], start: int, stop: int) -> Iterator[list[Row]]:
        if self.config.submissions_verb == "GET":
            yield from self._client.submissions_by_get(workspace, start, stop)
            return
        every = [pages[number] for number in sorted(pages)]
        for first in range(0, len(every), PAGES_A_CALL):
            yield from self._rows_of(workspace, every[first : first + PAGES_A_CALL], start, stop)

    def _rows_of(self, workspace: int, pages: Sequence[LandingPage], start: int, stop: int) -> Iterator[list[Row]]:
        """Of at most a hundred pages. Whether deleted ones may be asked for is not known: if not, without them."""
        try:
            yield from self._client.submissions(workspace, [page.id for page in pages], start, stop)
        except (AuthError, ConfigError, TransientError):
            raise
        except ConnectorError as error:
            living = [page.id for page in pages if not page.is_deleted]
            if len(living) == len(pages):
                raise
            _log.warning("%s; asked again without the deleted pages", error)
            if living:
                yield from self._client.submissions(workspace, living, start, stop)

    def _record(self, workspace: int, pages: Mapping[int, LandingPage], row: Row) -> RawRecord:
        """The row as it came, with what its page is called: the row itself has only the page's id."""
        if isinstance(row.get("fields"), dict):
            row = {**row, "fields": without_secret(row["fields"], self.config)}
        page = _page_of(row, pages)
        payload: dict[str, Any] = {"workspace": workspace, "submission": row}
        if page is not None:
            payload["page"] = {"title": page.title, "url": page.url}
        return RawRecord(_STREAM, str(row.get("id") or f"unreadable:{_digest(row)}"), payload)

    # Webhooks

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        """The submission of one webhook, keyed by its fingerprint: Instapage gives it no id.

        A body that cannot be read is kept too, to be quarantined: Instapage is not known to send it again.
        """
        verify(request, self.config, where=self._where())
        try:
            body = without_secret(read_body(request), self.config)
        except UnreadableError as error:
            text = request.body[:_MOST_OF_A_BODY].decode("utf-8", "replace")
            payload: dict[str, Any] = {"unreadable": str(error), "body": text}
            return (RawRecord(_STREAM, f"unreadable:{_digest(payload)}", payload),)
        payload = {"webhook": body}
        if webhook_minute(body) is None:
            payload["received_at"] = request.received_at.replace(second=0, microsecond=0).isoformat()
        return (RawRecord(_STREAM, self._key(payload), payload),)

    def _key(self, payload: Mapping[str, Any]) -> str:
        try:
            return webhook_form(payload["webhook"], payload.get("received_at"), self.config).fingerprint
        except RecordError:  # `normalize` will say so
            return f"unreadable:{_digest(payload)}"

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        return tuple(events_of(raw, self.config))

    def _where(self) -> str:
        return f"{self.context.connection}/{_STREAM}"


def _page_of(row: Row, pages: Mapping[int, LandingPage]) -> LandingPage | None:
    try:
        return pages.get(int(row["pageId"]))
    except (KeyError, TypeError, ValueError, OverflowError):  # `normalize` will say so
        return None


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def _digest(payload: Mapping[str, Any]) -> str:
    return event_id(json.dumps(payload, sort_keys=True))


class _Trouble:
    """Lets one workspace fail alone, its mark where it was: `end` raises the first error there was."""

    def __init__(self) -> None:
        self._first: ConnectorError | None = None

    @contextmanager
    def apart(self) -> Iterator[None]:
        try:
            yield
        except (AuthError, RateLimitError):  # of the whole token: the next call would fare no better
            raise
        except ConnectorError as error:
            _log.warning("%s; the other workspaces are read", error)
            self._first = self._first or error

    def end(self) -> None:
        if self._first is not None:
            raise self._first
