"""What a request asks for: log-in, parameters and bodies, as strictly as the vendor's contract says."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from werkzeug.wrappers import Request

__all__ = ["ACCEPT", "RefusedError", "Window", "allow", "basic_of", "found", "json_body", "new_lead", "yes"]

ACCEPT: Final = "application/vnd.unbounce.api.v0.4+json"
_PAGED: Final = ("from", "to", "offset", "limit", "sort_order")
_MOST: Final = 1000


class RefusedError(Exception):
    """Ends a request with an error body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Window:
    """What `from`, `to`, `offset`, `limit` and `sort_order` leave of rows in order of creation."""

    def __init__(self, request: Request, inclusive: bool, *more: str, blind: bool = False) -> None:
        allow(request, *_PAGED, *more)
        if request.args.get("sort_order", "asc") not in ("asc", "desc"):
            raise RefusedError(400, "sort_order: asc or desc")
        self._inclusive = inclusive
        self._since = None if blind else _moment(request, "from")
        self._until = None if blind else _moment(request, "to")
        self._offset = _number(request, "offset", 0)
        self._limit = _number(request, "limit", 50, _MOST)
        self._newest_first = request.args.get("sort_order") == "desc"

    def of(self, rows: Sequence[tuple[datetime, Any]]) -> tuple[list[Any], int]:
        """The rows asked for, and how many there are in the window."""
        inside = [row for at, row in rows if self._within(at)]
        if self._newest_first:
            inside.reverse()
        return inside[self._offset : self._offset + self._limit], len(inside)

    def _within(self, at: datetime) -> bool:
        after = self._since is None or at > self._since or (self._inclusive and at == self._since)
        return after and (self._until is None or at < self._until)


def found(there: object) -> None:
    if not there:
        raise RefusedError(404, "Not Found")


def basic_of(request: Request) -> tuple[str, str] | None:
    """User name and password of Basic authentication; None when that is not how they logged in."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password


def allow(request: Request, *known: str) -> None:
    """Parameters that the contract does not list are refused. How the vendor takes them is not known."""
    for name in request.args:
        if name not in known:
            raise RefusedError(400, f"{name}: no such parameter here")


def yes(request: Request, name: str) -> bool:
    value = request.args.get(name, "false")
    if value not in ("true", "false"):
        raise RefusedError(400, f"{name}: true or false")
    return value == "true"


def _number(request: Request, name: str, default: int, most: int | None = None) -> int:
    text = request.args.get(name, str(default))
    if not text.isascii() or not text.isdigit() or (most is not None and int(text) > most):
        raise RefusedError(400, f"{name}: a number{f' of at most {most}' if most else ''}")
    return int(text)


def _moment(request: Request, name: str) -> datetime | None:
    """RFC 3339, with a zone; a `+` that was not encoded arrives as a blank and is refused."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedError(400, f"{name}: RFC 3339") from error
    if " " in text or moment.tzinfo is None:
        raise RefusedError(400, f"{name}: RFC 3339")
    return moment


def json_body(request: Request) -> Any:
    kind = request.headers.get("Content-Type", "").partition(";")[0]
    if kind not in ("application/json", ACCEPT):
        raise RefusedError(415, "Unsupported Media Type")
    if not request.get_data():
        raise RefusedError(422, "Missing body")
    try:
        return json.loads(request.get_data())
    except ValueError as error:
        raise RefusedError(400, "the body is not JSON") from error


def new_lead(request: Request) -> dict[str, Any]:
    """The `form_submission` of a body that follows new_lead.schema.json."""
    body = json_body(request)
    form = body.get("form_submission") if isinstance(body, dict) else None
    if not isinstance(form, dict) or set(body) - {"conversion", "visitor_id", "form_submission"}:
        raise RefusedError(422, "form_submission is missing, or there is more than belongs here")
    if set(form) != {"variant_id", "submitter_ip", "form_data"} or not isinstance(form["form_data"], dict):
        raise RefusedError(422, "form_submission: variant_id, submitter_ip, form_data")
    return form
