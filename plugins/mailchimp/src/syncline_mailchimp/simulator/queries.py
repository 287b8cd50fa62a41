"""Parameters as Mailchimp reads them, and times as it writes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from werkzeug.wrappers import Request

from syncline_mailchimp.simulator.problems import RefusedError, invalid

__all__ = ["body_of", "choice", "moment_of", "text_of", "window"]


def text_of(moment: datetime | None) -> str:
    """Whole seconds with an offset; an empty string for nothing."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00") if moment else ""


def window(request: Request) -> tuple[int, int]:
    """(count, offset): 10 and 0 unless told, at most 1000."""
    numbers = []
    for name, default, most in (("count", 10, 1000), ("offset", 0, None)):
        text = request.args.get(name, str(default))
        if not text.isdigit() or (most is not None and int(text) > most):
            raise invalid(name, f"This value should be a number{f' of at most {most}' if most else ''}.")
        numbers.append(int(text))
    return numbers[0], numbers[1]


def moment_of(request: Request, name: str) -> datetime | None:
    """An ISO 8601 time; a `+` that was not encoded arrives as a space and is refused."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid(name, "This value is not a valid datetime.") from error
    if " " in text:
        raise invalid(name, "This value is not a valid datetime.")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def choice(request: Request, name: str, known: str) -> None:
    if name in request.args and request.args[name] not in known.split():
        raise invalid(name, "The value you selected is not a valid choice.")


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; the official client sends `null` for nothing."""
    try:
        body = json.loads(request.get_data() or b"null")
    except ValueError as error:
        detail = "We encountered an unspecified JSON parsing error."
        raise RefusedError(400, "JSON Parse Exception", detail) from error
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise RefusedError(400, "Invalid Resource", "Schema describes object, something else found instead")
    return body
