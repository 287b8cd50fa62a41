"""Instapage's public API, simulated: as strict as the vendor sheet says, for what a reader of leads uses.

What nobody could verify is in `Switches`; what the vendor documents is not optional.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ClassVar, Final

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from syncline.sdk import SimulatorOptions, WebhookRequest
from syncline.testing.population import EPOCH
from syncline.testing.simulator import VendorSimulator
from syncline_instapage.simulator.webhooks import Sender
from syncline_instapage.simulator.world import (
    CONTACT,
    MARKETING,
    NEWSLETTER,
    PARTNERS,
    WHITEPAPER,
    landing_pages,
    submitted,
)

__all__ = ["TOKEN", "WEBHOOK_SECRET", "InstapageSimulator", "Switches"]

TOKEN: Final = "simulated-personal-token-0123456789"  # noqa: S105  # made up
WEBHOOK_SECRET: Final = "simulated-webhook-secret-42"  # noqa: S105  # made up
RECEIVER: Final = "https://hooks.acme.example/instapage"

_USER: Final = 4379
_WORKSPACES: Final = {MARKETING: ("Marketing", "owner"), PARTNERS: ("Partners", "viewer")}
_SHOWN: Final = (
    "id title url publishStatus publishMethod createdAt updatedAt publishedAt isDeleted pageType"
    " totalPersonalizedExperienceCount isScheduled groupId"
).split()
_TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
}
_MOST_PAGES: Final = 100
_MOST_ROWS: Final = 100

Row = dict[str, Any]
_Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Switches:
    """What nobody could verify about Instapage. Off is our guess."""

    exclusive_timeframe: bool = False
    """A submission of exactly `start` or `end` is outside."""

    field_ids: bool = False
    """`fields` has ids (`field_1`) in place of labels, as one write-up says."""

    metadata_in_fields: bool = False
    """`fields` also has what the page's own export adds (`Page Shown`, `Variation Shown`, …)."""

    get_submissions: bool = False
    """Submissions are listed by GET and page number, as one third party does."""

    no_next_page: bool = False
    """`meta.pagination` comes without `nextPage`, as in one capture of the reference."""

    empty_meta_is_a_list: bool = False
    """`meta` is `[]` where it would be empty: the last answer has no nextPageToken at all."""

    empty_answers: bool = False
    """Every query is answered once with no rows and a token first: the token alone says whether there is more."""

    same_token: bool = False
    """The token of a next answer is always the first one's: a vendor's fault."""

    deleted_pages_are_gone: bool = False
    """Submissions of pages that were deleted cannot be asked for: 404."""

    submissions_status: int = 200
    """Reading by POST answers with this; the vendor's statuses are uneven."""


class _RefusedError(Exception):
    """Ends a request with an error document."""

    def __init__(self, status: int, details: str, **meta: int) -> None:
        super().__init__(details)
        self.parts = (status, details, meta)


def _refusing(handler: _Handler) -> _Handler:
    @wraps(handler)
    def checked(self: InstapageSimulator, request: Request, **arguments: str) -> Response:
        try:
            return handler(self, request, **arguments)
        except _RefusedError as refusal:
            status, details, meta = refusal.parts
            return self.problem(status, details, **meta)

    return checked


class InstapageSimulator(VendorSimulator):
    """One account. `submit`, `vanish`, `delete_page`, `rename` make things happen; `webhook` tells of a submission."""

    name: ClassVar[str] = "instapage"
    routes: ClassVar[Sequence[tuple[str, str, str]]] = (
        ("GET", "/v1/workspaces", "get_workspaces"),
        ("GET", "/v1/workspaces/<workspace>/pages", "get_pages"),
        ("GET", "/v1/workspaces/<workspace>/submissions", "get_submissions"),
        ("POST", "/v1/workspaces/<workspace>/submissions", "post_submissions"),
        ("DELETE", "/v1/workspaces/<workspace>/submissions", "delete_submissions"),
    )

    per_page: int = 100
    per_minute: int = 200
    per_day: int = 5000

    def __init__(
        self,
        options: SimulatorOptions | None = None,
        *,
        switches: Switches | None = None,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stopwatch` measures the minute; the day is that of the simulated clock."""
        super().__init__(options)
        self.switches = switches or Switches(**self.options.faults.get("switches", {}))
        self.revoked = False
        self.forbidden: set[int] = set()
        self.sender = Sender(f"{RECEIVER}?key={WEBHOOK_SECRET}")
        self._stopwatch = stopwatch
        self._minute: deque[float] = deque()
        self._days: Counter[str] = Counter()
        self._found: tuple[Any, list[Row]] = (None, [])

    def seed(self) -> None:
        base = datetime.fromisoformat(self.options.clock or EPOCH).astimezone(UTC)
        for page in landing_pages(base):
            self.table("pages")[str(page["id"])] = page
        for row in submitted(self.options.people, self.options.seed, base):
            self.table("submissions")[row["id"]] = row

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "plugin": "instapage",
            "token": TOKEN,
            "workspaces": [MARKETING, PARTNERS],
            "base_url": f"{self.url}/v1",
            "webhook_secret": WEBHOOK_SECRET,
            "calls_per_minute": 6000,  # a demo does not wait; the simulated limit holds all the same
            "keep_fields": ["neighborhood", "interests"],
            "pages": [
                {"id": [NEWSLETTER], "form_type": "newsletter_signup"},
                {"url": "*/demo", "form_type": "demo_request"},
                {"title": "*free trial*", "form_type": "trial_signup"},
                {"id": [CONTACT], "form_type": "contact"},
                {
                    "id": [WHITEPAPER],
                    "form_type": "other",
                    "content_type": "whitepaper",
                    "content_id": "wp-lead-scoring",
                },
            ],
        }

    # What happens in the account

    @property
    def submissions(self) -> Mapping[str, Row]:
        return self.table("submissions")

    def submit(self, page: int, answers: Mapping[str, Any], at: datetime, **more: str) -> str:
        """Somebody submits the form of a page; shows up now, whenever it happened. Returns the submission's id."""
        with self._lock:
            number = len(self.table("story")) + 1
            self.table("story")[str(number)] = {"page": page}
            row: Row = {
                "id": hashlib.sha256(f"later:{number}".encode()).hexdigest()[:24],
                "page": page,
                "at": int(at.timestamp()),
                "letter": "A",
                "custom": "",
                "device": "Desktop",
                "ip": "198.51.100.7",
                "answers": dict(answers),
                **more,
            }
            self._changed()
            self.table("submissions")[row["id"]] = row
            return str(row["id"])

    def vanish(self, submission: str) -> None:
        """Somebody deletes a submission in the app; nothing tells of it."""
        with self._lock:
            self._changed()
            del self.table("submissions")[submission]

    def delete_page(self, page: int) -> None:
        with self._lock:
            self._changed()
            row = self.table("pages")[str(page)]
            row.update(isDeleted=True, url=None, publishStatus="unpublished")
            self.table("pages").save(str(page))

    def rename(self, page: int, label: str, new: str) -> None:
        """An author edits a label; old submissions show it too (a guess: nobody says which label they keep)."""
        with self._lock:
            self._changed()
            for row in self.submissions.values():
                if row["page"] == page:
                    row["answers"] = {new if name == label else name: value for name, value in row["answers"].items()}
                    self.table("submissions").save(row["id"])

    def _changed(self) -> None:
        self._found = (None, [])

    def webhook(self, submission: str, **habits: Any) -> WebhookRequest:
        """The request that tells of a submission, as `sender` sends; further arguments are other habits of it."""
        row = self.submissions[submission]
        received_at = datetime.fromtimestamp(row["at"], UTC) + timedelta(seconds=1)
        return replace(self.sender, **habits).request(row, self.table("pages")[str(row["page"])], received_at)

    # Around every route

    def before(self, request: Request) -> Response | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token != TOKEN or self.revoked:
            return self.problem(401, "The token is missing, expired or revoked.")
        return self._limit()

    def _limit(self) -> Response | None:
        """200 a minute and the plan's number a day; refused calls do not count."""
        now, today = self._stopwatch(), f"{self.now():%Y-%m-%d}"
        while self._minute and self._minute[0] <= now - 60:
            self._minute.popleft()
        if len(self._minute) >= self.per_minute:
            oldest = self._minute[0] if self._minute else now
            return self.too_many(math.ceil(oldest + 60 - now))
        if self._days[today] >= self.per_day:
            return self.over_quota()
        self._minute.append(now)
        self._days[today] += 1
        return None

    def too_many(self, retry_after: float | None) -> Response:
        response = self.problem(429, "The limit of requests was reached.")
        if retry_after is not None:
            response.headers["Retry-After"] = f"{retry_after:.0f}"
        return response

    def over_quota(self) -> Response:
        """The day's calls come back at 00:00 UTC: that can be hours."""
        midnight = (self.now() + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return self.too_many((midnight - self.now()).total_seconds())

    def not_found(self, request: Request, error: HTTPException) -> Response:
        return self.problem(error.code or 404, "There is nothing here, or not by this method.")

    def problem(self, status: int, details: str, **meta: int) -> Response:
        body = {"title": _TITLES.get(status, "Error"), "details": details, "meta": {"requestedUserId": _USER, **meta}}
        return _json(body, status)

    # Routes

    @_refusing
    def get_workspaces(self, request: Request) -> Response:
        named = request.args.get("name", "").lower()
        return self._listing(
            request,
            [
                {
                    "workspaceId": number,
                    "ownerId": 1319,
                    "workspaceName": name,
                    "accessLevel": level,
                    "createdAt": 1_262_304_000,
                }
                for number, (name, level) in _WORKSPACES.items()
                if named in name.lower()
            ],
        )

    @_refusing
    def get_pages(self, request: Request, workspace: str) -> Response:
        deleted = _flag(request, "isDeleted")
        number = self._workspace(workspace)
        return self._listing(
            request,
            [
                {**{name: row.get(name) for name in _SHOWN}, **_ALWAYS}
                for row in self.table("pages").values()
                if row["workspace"] == number and row["isDeleted"] is deleted and _asked_for(request, row)
            ],
        )

    @_refusing
    def post_submissions(self, request: Request, workspace: str) -> Response:
        """A hundred at a time, in no order of time: by the hash of their ids."""
        number = self._workspace(workspace)
        query = _Query.read(_object(request))
        for page in query.pages:
            if not self._can_be_asked_for(page, number):
                raise _RefusedError(404, "There is no such page.", requestedWorkspaceId=number, requestedPageId=page)
        matching = self._matching(query)
        begin = query.after or 0
        rows = [] if self.switches.empty_answers and query.after is None else matching[begin : begin + _MOST_ROWS]
        following = begin + len(rows)
        token = query.token(0 if self.switches.same_token else following) if following < len(matching) else None
        meta: Any = {"nextPageToken": token, "limit": _MOST_ROWS}
        if token is None and self.switches.empty_meta_is_a_list:
            meta = []
        return _json({"data": [self._row(row) for row in rows], "meta": meta}, self.switches.submissions_status)

    def _can_be_asked_for(self, page: int, workspace: int) -> bool:
        row = self.table("pages").get(str(page), {})
        gone = self.switches.deleted_pages_are_gone and row.get("isDeleted")
        return row.get("workspace") == workspace and not gone

    def _matching(self, query: _Query) -> list[Row]:
        """All that a query is about; remembered until something changes, since it is asked for page by page."""
        if self._found[0] != query.about:
            inside = _inside_exclusive if self.switches.exclusive_timeframe else _inside
            pages = set(query.pages)
            rows = [r for r in self.submissions.values() if r["page"] in pages and inside(query, r["at"])]
            self._found = (query.about, heapq.nsmallest(len(rows), rows, key=_shuffled))
        return self._found[1]

    @_refusing
    def get_submissions(self, request: Request, workspace: str) -> Response:
        if not self.switches.get_submissions:
            raise _RefusedError(405, "Ask with POST.")
        number = self._workspace(workspace)
        pages = {row["id"] for row in self.table("pages").values() if row["workspace"] == number}
        rows = sorted((row for row in self.submissions.values() if row["page"] in pages), key=_shuffled)
        return self._listing(request, [self._row(row) for row in rows])

    @_refusing
    def delete_submissions(self, request: Request, workspace: str) -> Response:
        """204, and irreversible. Ids that are not there, or not in this workspace, are an error for all."""
        number = self._workspace(workspace)
        ids = _object(request).get("submissions")
        if not isinstance(ids, list) or not 1 <= len(ids) <= _MOST_ROWS or not all(isinstance(i, str) for i in ids):
            raise _RefusedError(400, "submissions: 1 to 100 ids, as text.")
        for submission in ids:
            row = self.submissions.get(submission)
            if row is None or self.table("pages")[str(row["page"])]["workspace"] != number:
                raise _RefusedError(404, "There is no such submission.", requestedWorkspaceId=number)
            if self.trouble_with(submission):
                raise _RefusedError(403, "This submission may not be deleted.", requestedWorkspaceId=number)
        for submission in ids:
            self.vanish(submission)
        self.count("write_calls")
        return Response(status=204)

    # What an answer is made of

    def _workspace(self, text: str) -> int:
        number = int(text) if text.isdigit() else 0
        if number not in _WORKSPACES:
            raise _RefusedError(404, "There is no such workspace.", requestedWorkspaceId=number)
        if number in self.forbidden:
            raise _RefusedError(403, "You have no access to this workspace.", requestedWorkspaceId=number)
        return number

    def _listing(self, request: Request, rows: Sequence[Row]) -> Response:
        text = request.args.get("page", "1")
        if not text.isdigit() or int(text) < 1:
            raise _RefusedError(400, "page: a number from 1 on.")
        page, pages = int(text), max(1, math.ceil(len(rows) / self.per_page))
        place: dict[str, Any] = {
            "currentPage": page,
            "perPage": self.per_page,
            "totalItemsCount": len(rows),
            "totalPagesCount": pages,
        }
        if not self.switches.no_next_page:
            place["nextPage"] = page + 1 if page < pages else None
            place["previousPage"] = page - 1 if page > 1 else None
        first = (page - 1) * self.per_page
        return _json({"data": rows[first : first + self.per_page], "meta": {"pagination": place}})

    def _row(self, row: Row) -> Row:
        answers = {
            f"field_{number}" if self.switches.field_ids else label: value
            for number, (label, value) in enumerate(row["answers"].items(), 1)
        }
        if self.switches.metadata_in_fields:
            page = self.table("pages")[str(row["page"])]
            answers |= {"Page Shown": page["title"], "Variation Shown": row["letter"], "Desktop/Mobile": row["device"]}
        return {
            "id": row["id"],
            "pageId": row["page"],
            "variationName": row["letter"],
            "variationCustomName": row["custom"],
            "createdAt": row["at"],
            "fields": answers,
        }


_ALWAYS: Final = {"pageType": "standard", "totalPersonalizedExperienceCount": 0, "isScheduled": False, "groupId": None}


@dataclass(frozen=True, slots=True)
class _Query:
    """What a call for submissions asks for."""

    pages: tuple[int, ...]
    start: float
    end: float
    after: int | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> _Query:
        pages, time_frame = body.get("pages"), body.get("timeframe")
        if not isinstance(pages, list) or not all(type(page) is int for page in pages) or len(pages) > _MOST_PAGES:
            raise _RefusedError(400, "pages: at most 100 page ids.")
        if not isinstance(time_frame, dict):
            raise _RefusedError(400, "timeframe: {start, end}.")
        start, end = (_number(time_frame, name) for name in ("start", "end"))
        if start > end:
            raise _RefusedError(400, "timeframe: start comes before end.")
        query = cls(tuple(pages), start, end)
        return replace(query, after=query._position(body.get("nextPageToken")))

    @property
    def about(self) -> tuple[Any, ...]:
        return self.pages, self.start, self.end

    def token(self, position: int) -> str:
        """Opaque, and of this query only."""
        return base64.urlsafe_b64encode(f"{self._digest()}:{position}".encode()).decode()

    def _position(self, token: Any) -> int | None:
        if token is None:
            return None
        try:
            digest, _, position = base64.urlsafe_b64decode(str(token)).decode().partition(":")
        except ValueError:
            digest, position = "", ""
        if digest != self._digest() or not position.isdigit():
            raise _RefusedError(400, "nextPageToken: not one of this query.")
        return int(position)

    def _digest(self) -> str:
        return hashlib.sha256(repr(self.about).encode()).hexdigest()[:16]


def _number(time_frame: Mapping[str, Any], name: str) -> float:
    value = time_frame.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError(400, f"timeframe.{name}: seconds since 1970.")
    return value


def _inside(query: _Query, at: int) -> bool:
    return query.start <= at <= query.end


def _inside_exclusive(query: _Query, at: int) -> bool:
    return query.start < at < query.end


def _shuffled(row: Row) -> str:
    return hashlib.sha256(row["id"].encode()).hexdigest()


def _flag(request: Request, name: str) -> bool:
    """Absent means false."""
    text = request.args.get(name, "false")
    if text not in ("true", "false"):
        raise _RefusedError(400, f"{name}: true or false.")
    return text == "true"


_FILTERS: Final = {
    f"{what}{side}": (f"{what}At", side == "After")
    for what in ("published", "created", "updated")
    for side in ("After", "Before")
}


def _asked_for(request: Request, row: Row) -> bool:
    for name in ("publishStatus", "publishMethod"):
        if name in request.args and row[name] != request.args[name]:
            return False
    for name, (field, after) in _FILTERS.items():
        if name in request.args:
            limit = request.args[name]
            if not limit.isdigit():
                raise _RefusedError(400, f"{name}: seconds since 1970.")
            if row[field] is None or (row[field] > int(limit)) is not after:
                return False
    return True


def _object(request: Request) -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise _RefusedError(400, "Send application/json.")
    try:
        body = json.loads(request.get_data())
    except ValueError:
        raise _RefusedError(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise _RefusedError(400, "The body is not an object.")
    return body


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")
