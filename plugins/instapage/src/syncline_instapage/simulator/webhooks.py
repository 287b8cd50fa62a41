"""The sender of webhooks: bodies as three independent users recorded them (2017 to 2020), and nobody since."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import requests

from syncline.sdk import WebhookRequest

__all__ = ["PATIENCE", "Sender"]

PATIENCE: Final = timedelta(seconds=20)
"""A receiver that takes longer breaks the visitor's thank-you page (vendor sheet, §2)."""

_MONTHS: Final = ("January February March April May June July August September October November December").split()


@dataclass(frozen=True, slots=True)
class Sender:
    """How one account sends. `address` holds the secret, where it belongs into the address.

    `style`: a JSON object, a form, or a form as PHP shows it to its programs, with `_` for blanks and dots.
    `hidden` are fields of the form that nobody sees; `without` are keys of Instapage's own that are left out.
    """

    address: str
    style: Literal["json", "form", "php"] = "json"
    page_id_as: Literal["number", "text"] = "number"
    swapped: bool = False
    without: tuple[str, ...] = ()
    hidden: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    custom_names: bool = True
    field_ids: bool = False
    minutes_late: int = 0

    def request(self, submission: Mapping[str, Any], page: Mapping[str, Any], received_at: datetime) -> WebhookRequest:
        """What arrives for a submission."""
        body = self.body(submission, page)
        kind = "application/json" if self.style == "json" else "application/x-www-form-urlencoded"
        data = json.dumps(body).encode() if self.style == "json" else urlencode(_pairs(body)).encode()
        parts = urlsplit(self.address)
        headers = {"content-type": kind, "host": parts.netloc, **(self.headers or {})}
        return WebhookRequest("POST", parts.path, parts.query, headers, data, received_at, self.address)

    def body(self, submission: Mapping[str, Any], page: Mapping[str, Any]) -> dict[str, Any]:
        """The flat body: the page, the fields by label, and Instapage's own keys behind them."""
        variant = self._variant(submission)
        title, shown = (variant, page["title"]) if self.swapped else (page["title"], variant)
        whole = {
            "page_id": page["id"] if self.page_id_as == "number" else str(page["id"]),
            "page_name": page["title"],
            "page_url": page["shown"] or "",
            "variant": f"{variant}-mobile" if submission["device"] == "Mobile" else variant,
            "ip": submission["ip"],
            **self._fields(submission),
            "pageshown": title,
            "variationshown": shown,
            "desktopmobile": submission["device"],
            "timestamp": self._timestamp(submission["at"]),
            "ipaddress": submission["ip"],
            "referralsource": f"http://{page['shown'] or 'preview.example'}",
            "adcampaign": "",
        }
        return {name: value for name, value in whole.items() if name not in self.without}

    def _variant(self, submission: Mapping[str, Any]) -> str:
        custom = submission["custom"] if self.custom_names else ""
        return custom or f"Variation {submission['letter']}"

    def _fields(self, submission: Mapping[str, Any]) -> dict[str, Any]:
        """Ticks come as joined text; an empty optional field may be missing altogether."""
        answers = {**submission["answers"], **(self.hidden or {})}
        named = {
            f"field_{number}" if self.field_ids else label: ", ".join(value) if isinstance(value, list) else value
            for number, (label, value) in enumerate(answers.items(), 1)
        }
        filled = {label: value for label, value in named.items() if value != ""}
        if self.style != "php":
            return filled
        return {re.sub(r"[ .]", "_", label): value for label, value in filled.items()}

    def _timestamp(self, at: int) -> str:
        moment = datetime.fromtimestamp(at, UTC) + timedelta(minutes=self.minutes_late)
        return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year} {moment:%H:%M} UTC"

    def post(self, request: WebhookRequest, patience: timedelta = PATIENCE) -> bool:
        """Send it for real; whether the visitor then sees the thank-you page. Nothing is sent a second time."""
        try:
            answer = requests.post(
                request.url, data=request.body, headers=request.headers, timeout=patience.total_seconds()
            )
        except requests.RequestException:
            return False
        return answer.ok


def _pairs(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A browser sends line ends as CRLF."""
    return [(name, str(value).replace("\n", "\r\n")) for name, value in body.items()]
