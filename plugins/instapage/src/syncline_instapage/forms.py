"""One submitted form as both ways in tell it, brought to what is the same in both.

The webhook has no submission id and only minutes; the API has no address of the visitor. So what makes a submission
one is its page, its minute and all that was typed, and nothing else is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from syncline.errors import RecordError
from syncline.model import event_id
from syncline_instapage.config import InstapageConfig
from syncline_instapage.labels import Answer, answers_of, metadata_of, plain_label, plain_value
from syncline_instapage.payloads import SubmissionRow

__all__ = ["Form", "form_of", "page_address", "problems", "webhook_form", "webhook_minute"]

_MONTHS: Final = (
    "january february march april may june july august september october november december"
).split()  # not strptime's %B, which speaks the server's language
_TIMESTAMP: Final = re.compile(r"(\d{1,2}) ([A-Za-z]+) (\d{4}),? (\d{1,2}):(\d{2})(?::\d{2})? (?:UTC|GMT)")


@dataclass(frozen=True, slots=True)
class Form:
    """A submitted form. `minute` is cut off, not rounded; `url` is that of the page, in one spelling."""

    page_id: str
    minute: datetime
    answers: tuple[Answer, ...]
    title: str = ""
    url: str = ""
    letter: str = ""
    custom_name: str = ""

    @property
    def fingerprint(self) -> str:
        """32 hex digits of the page, the minute and the values, the person's address being one of them.

        Without the labels: renaming a field in the builder renames it in old submissions too, for all we know (vendor
        sheet, §6), and by one account the API has ids in their place. Letter case does not count.
        """
        return event_id(self.page_id, self.minute.strftime("%Y-%m-%dT%H:%MZ"), *self._values)

    @property
    def digest(self) -> str:
        """16 hex digits of the page and the values, e-mail addresses left out: it is for one person's forms only."""
        return event_id(self.page_id, *(value for value in self._values if "@" not in value))[:16]

    @property
    def _values(self) -> list[str]:
        return sorted(answer.value.casefold() for answer in self.answers)


def form_of(payload: Mapping[str, Any], config: InstapageConfig) -> Form:
    """The form in a raw record, whichever way it came; RecordError when it cannot be read."""
    if "unreadable" in payload:
        raise RecordError(f"not a form: {payload['unreadable']}")
    if "webhook" in payload:
        return webhook_form(payload["webhook"], payload.get("received_at"), config)
    return _polled_form(payload, config)


def _polled_form(payload: Mapping[str, Any], config: InstapageConfig) -> Form:
    try:
        row = SubmissionRow.model_validate(payload["submission"])
    except ValidationError as error:
        raise RecordError(f"not a submission that Instapage documents: {problems(error)}") from error
    page = payload.get("page") or {}
    name, custom = _variation(row.variation_name), _variation(row.variation_custom_name)
    return Form(
        page_id=str(row.page_id),
        minute=_cut(row.created_at),
        answers=answers_of(row.fields, config.ignore_fields),
        title=plain_value(page.get("title")),
        url=page_address(page.get("url") or ""),
        letter=_letter(name),
        custom_name=custom or name,
    )


def webhook_form(body: Mapping[str, Any], received_at: str | None, config: InstapageConfig) -> Form:
    """The form in a webhook's body; `received_at` stands in where it names no time."""
    metadata = metadata_of(body)
    minute = webhook_minute(body) or (datetime.fromisoformat(received_at) if received_at else None)
    page_id = re.fullmatch(r"(\d+)(?:\.0)?", metadata.get("page_id", ""))
    if page_id is None or minute is None:
        missing = "page_id" if page_id is None else "timestamp"
        raise RecordError(f"a webhook without a {missing} that can be read; is this Instapage's? It has {_named(body)}")
    title, variation = _shown(metadata)
    return Form(
        page_id=page_id[1],
        minute=_cut(minute),
        answers=answers_of(body, config.ignore_fields),
        title=title,
        url=page_address(metadata.get("page_url", "")),
        letter=_letter(variation),
        custom_name=variation,
    )


def webhook_minute(body: Mapping[str, Any]) -> datetime | None:
    """`29 October 2018 07:57 UTC`, or seconds since 1970 in `submitted_at` (one write-up's word, unverified)."""
    metadata = metadata_of(body)
    try:
        if found := _TIMESTAMP.fullmatch(metadata.get("timestamp", "")):
            day, month, year, hour, minute = found.groups()
            number = _MONTHS.index(month.lower()) + 1
            return datetime(int(year), number, int(day), int(hour), int(minute), tzinfo=UTC)
        if re.fullmatch(r"\d{9,11}", metadata.get("submittedat", "")):
            return _cut(datetime.fromtimestamp(int(metadata["submittedat"]), UTC))
    except ValueError:  # no such month, day or hour
        return None
    return None


def _cut(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _shown(metadata: Mapping[str, str]) -> tuple[str, str]:
    """The page's title and the variation's name. `pageshown` and `variationshown` were seen swapped (sheet, §2)."""
    shown = [metadata[name] for name in ("pageshown", "variationshown") if name in metadata]
    title = metadata.get("page_name") or next((text for text in shown if not _letter(_variation(text))), "")
    variation = metadata.get("variant") or next((text for text in reversed(shown) if text != title), "")
    return title, _variation(variation)


def _variation(name: str) -> str:
    """`Variation A-mobile` and `A` are one: the mobile view of a variation is the same variation (sheet, §6)."""
    return re.sub(r"(?i)^variation\s+(?=\S)|-mobile$", "", name.strip()).strip()


def _letter(variation: str) -> str:
    return variation.upper() if re.fullmatch(r"[A-Za-z]{1,2}", variation) else ""


def page_address(text: str) -> str:
    """One spelling for the webhook's `shop.example/Toyota` and the API's `https://shop.example/toyota/`.

    The webhook's has no scheme and any letter case (recorded 2018); a query is of the visit, not of the page.
    """
    address = text.strip()
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2].lower()
    return f"https://{host}{parts.path.rstrip('/').lower()}" if host else ""


def _named(body: Mapping[str, Any]) -> str:
    """The keys, which are no secret; the values may be."""
    names: Sequence[str] = sorted(plain_label(str(name)) for name in body)
    return ", ".join(names[:20]) or "nothing"


def problems(error: ValidationError) -> str:
    """What is wrong where, without what was there."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
