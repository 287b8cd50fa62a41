"""Talks to the public API: logs in, pages, and turns bad answers into errors. It neither waits nor retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import requests
from pydantic import BaseModel, ValidationError

from syncline.errors import ConnectorError, RateLimitError, TransientError
from syncline.sdk import Context, Throttle
from syncline.sdk.http import json_of
from syncline_instapage.config import InstapageConfig
from syncline_instapage.errors import refuse
from syncline_instapage.payloads import LandingPage, Listing, Row, SubmissionList, SubmissionRow, Workspace

__all__ = ["PAGES_A_CALL", "InstapageClient"]

P = TypeVar("P", bound=BaseModel)

PAGES_A_CALL: Final = 100
"""Page ids in one call for submissions, at most (reference, transcribed 2026-08)."""

_ROWS_A_CALL: Final = 100  # submissions in one answer, at most (same place)
_LONGEST_PAUSE: Final = timedelta(hours=25)  # the quota is a day's
_WORTH_KEEPING: Final = timedelta(minutes=2)
"""A pause longer than this outlives the run: the daily quota comes back at 00:00 UTC, hours away (same place)."""


class InstapageClient:
    """The calls this connector makes, one method each. All of them only read, the POST for submissions too."""

    def __init__(self, config: InstapageConfig, context: Context) -> None:
        self._config = config
        self._http = context.http
        self._pause = _Pause(context.keep, context.clock, context.connection)
        self.answered_at: datetime | None = None
        """The vendor's own clock when it gave its last answer, if it told."""

        throttle = Throttle(per_second=config.calls_per_minute / 60, concurrency=1)
        context.http.configure(base_url=config.base_url, throttle=throttle)

    def forget_pause(self) -> None:
        """Ask in spite of a pause that the vendor wanted: a larger plan may have ended it."""
        self._pause.forget()

    def workspaces(self) -> Iterator[Workspace]:
        """All that the token's owner can see."""
        for row in self._listing("/workspaces", "workspaceId"):
            yield self._valid(Workspace, row, "GET /workspaces")

    def pages(self, workspace: int, *, deleted: bool) -> Iterator[LandingPage]:
        """The landing pages of a workspace: those that are there, or those that were deleted."""
        path = f"/workspaces/{workspace}/pages"
        for row in self._listing(path, "id", isDeleted="true" if deleted else "false"):
            yield self._valid(LandingPage, {**row, "isDeleted": deleted}, f"GET {path}")

    def submissions(self, workspace: int, pages: Sequence[int], start: int, end: int) -> Iterator[list[Row]]:
        """The submissions on these pages (at most PAGES_A_CALL) in that time, a hundred at a time, in no order."""
        path = f"/workspaces/{workspace}/submissions"
        token, followed = None, set[str]()
        while True:
            body = {"pages": list(pages), "timeframe": {"start": start, "end": end}, "nextPageToken": token}
            answer = self._valid(SubmissionList, self._call("POST", path, json=body), f"POST {path}")
            token = self._next_token(answer, f"POST {path}")
            if answer.data:
                yield _rows(answer)
            if not token:
                return
            if token in followed:
                raise TransientError("paging goes round in circles", where=self._where(f"POST {path}"))
            followed.add(token)

    def _next_token(self, answer: SubmissionList, place: str) -> str | None:
        """A full answer that does not say whether there is more may not be taken for the last one."""
        if not answer.says_whether_more and len(answer.data) >= (answer.meta.limit or _ROWS_A_CALL):
            raise TransientError("a full answer without nextPageToken: is there more?", where=self._where(place))
        return answer.meta.next_page_token

    def submissions_by_get(self, workspace: int, start: int, end: int) -> Iterator[list[Row]]:
        """The submissions of all pages in that time, picked here from everything there is.

        Unverified: one third party asks like this, `?page=1`, `?page=2`, and knows no filter.
        """
        path = f"/workspaces/{workspace}/submissions"
        for rows in self._listed(path, "id", {}):
            wanted = [row for row in rows if self._created_between(row, start, end)]
            if wanted:
                yield wanted

    @staticmethod
    def _created_between(row: Row, start: int, end: int) -> bool:
        """A row that cannot be read is wanted: it is to be quarantined, not lost."""
        try:
            created = SubmissionRow.model_validate(row).created_at.timestamp()
        except ValidationError:
            return True
        return start <= created <= end

    def _listing(self, path: str, id_field: str, **filters: str) -> Iterator[Row]:
        for rows in self._listed(path, id_field, filters):
            yield from rows

    def _listed(self, path: str, id_field: str, filters: Mapping[str, str]) -> Iterator[list[Row]]:
        """All rows of a listing; TransientError when they are fewer than were announced at the start.

        Rows that leave the listing meanwhile pull the rest forward, past the page that comes next.
        """
        number: int | None = 1
        announced, last = 0, 0
        seen: set[Any] = set()
        while number is not None:
            if number <= last:
                raise TransientError("paging goes round in circles", where=self._where(f"GET {path}"))
            listing = self._valid(
                Listing, self._call("GET", path, params={**filters, "page": str(number)}), f"GET {path}"
            )
            announced = announced or listing.meta.pagination.total_items_count or 0
            seen.update(str(row.get(id_field)) for row in listing.data)
            last, number = number, listing.next_page
            yield listing.data
        if len(seen) < announced:
            raise TransientError(f"paging brought {len(seen)} of {announced} rows", where=self._where(f"GET {path}"))

    # One call

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        self._pause.respect()
        try:
            response = self._http.request(
                method,
                path,
                headers={"Authorization": f"Bearer {self._config.token.get_secret_value()}"},
                raise_for_status=False,
                **arguments,
            )
            self.answered_at = _clock(response)
            refuse(response, where=self._where(f"{method} {path}"))
        except RateLimitError as error:
            self._pause.remember(error)
            raise
        return json_of(response, self._where(f"{method} {path}"))

    def _valid(self, model: type[P], body: Any, place: str) -> P:
        try:
            return model.model_validate(body)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)
            )
            raise ConnectorError(
                f"the answer is not what the API documents ({problems}); is base_url Instapage's?",
                where=self._where(place),
            ) from error

    def _where(self, place: str) -> str:
        return f"{self._http.connection}: {place}"


class _Pause:
    """The vendor's Retry-After, where it is long: kept beyond the run, so that no call is spent on asking again."""

    _KEY: Final = "not_before"

    def __init__(self, keep: MutableMapping[str, str], clock: Callable[[], datetime], connection: str) -> None:
        self._keep = keep
        self._clock = clock
        self._connection = connection

    def respect(self) -> None:
        """RateLimitError, without a call, while the vendor's pause lasts."""
        if self._KEY not in self._keep:
            return
        left = datetime.fromisoformat(self._keep[self._KEY]) - self._clock()
        if timedelta(0) < left <= _LONGEST_PAUSE:  # a longer one was noted by a wrong clock
            raise RateLimitError(
                "Instapage asked to wait; its daily quota comes back at 00:00 UTC. After a change of plan,"
                " `syncline check --live` asks again",
                retry_after=left,
                where=self._connection,
            )

    def forget(self) -> None:
        self._keep.pop(self._KEY, None)

    def remember(self, error: RateLimitError) -> None:
        if error.retry_after is not None and error.retry_after > _WORTH_KEEPING:
            self._keep[self._KEY] = (self._clock() + error.retry_after).isoformat()


def _rows(answer: SubmissionList) -> list[Row]:
    """What is no object is kept whole, to be quarantined."""
    return [row if isinstance(row, dict) else {"row": row} for row in answer.data]


def _clock(response: requests.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
