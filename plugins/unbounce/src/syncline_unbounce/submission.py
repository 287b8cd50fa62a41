"""One submission of a form, whichever way we heard of it.

The API knows a lead's id and its time to the millisecond, the webhook neither. What both know is kept here, in one
form: page, variant, minute and values. The fingerprint of that is the submission's identity; nothing that only one of
the two ways knows, and nothing that depends on settings other than those about webhooks, goes into it.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from syncline.errors import RecordError
from syncline.model import RawRecord
from syncline_unbounce.config import UnbounceConfig
from syncline_unbounce.payloads import Lead, problems

__all__ = ["ADDRESS", "Posted", "Submission", "any_match", "submission_of", "texts"]

ADDRESS: Final = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]{2,}")
"""What looks like an e-mail address. Whether it can be one, the host decides."""

_METADATA: Final = frozenset(
    ("ip_address", "page_uuid", "page_id", "page_name", "page_url", "variant", "time_submitted", "date_submitted")
)
"""What a webhook tells among the form's values without being one (vendor sheet §2; recorded 2017-11-15)."""

_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?\s*([AP]M)?\s*(?:UTC|GMT)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a webhook and a lead of the same submission have in common. `address` is `https://host/path`, or empty."""

    page_id: str
    variant: str
    minute: datetime
    values: Mapping[str, tuple[str, ...]]
    fingerprint: str
    page_name: str = ""
    address: str = ""
    created_by: str | None = None

    def first(self, name: str) -> str:
        """The first value of a field, by its name in any letter case; empty if there is none."""
        return next(iter(self.values.get(name.lower(), ())), "")

    def page_matches(self, patterns: Iterable[str]) -> bool:
        """Whether id, name or address of the page fit one of the patterns."""
        return any_match((self.page_id, self.page_name, self.address, f"{self.address}/"), patterns)


class Posted(BaseModel):
    """What a webhook said, decoded. `received_at` is there only where it did not say when the form was submitted."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    page_id: str = ""
    page_name: str = ""
    page_url: str = ""
    variant: str = ""
    data: dict[str, Any]
    received_at: AwareDatetime | None = None

    def said(self, name: str) -> str:
        """What it says of the page or the submission, outside the form's values or among them."""
        return getattr(self, name, "") or next(iter(texts(self.data.get(name))), "")


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    name: str = ""
    url: str = ""


class _Record(BaseModel):
    """The payload of a raw record: a lead with its page's name and address, or a webhook."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    lead: Lead | None = None
    page: _Page = _Page()
    webhook: Posted | None = None


def submission_of(raw: RawRecord, config: UnbounceConfig) -> Submission:
    """RecordError when the record says too little to be a submission."""
    if "unreadable" in raw.payload:
        raise RecordError(f"not what Unbounce documents: {raw.payload['unreadable']}")
    try:
        record = _Record.model_validate(raw.payload)
    except ValidationError as error:
        raise RecordError(f"not a lead of Unbounce: {problems(error)}") from error
    if record.lead is not None:
        return _from_lead(record.lead, record.page, config)
    if record.webhook is not None:
        return _from_webhook(record.webhook, config)
    raise RecordError("the record holds neither a lead nor a webhook")


def _from_lead(lead: Lead, page: _Page, config: UnbounceConfig) -> Submission:
    return _submission(
        config,
        page_id=lead.page_id,
        variant=lead.variant_id,
        moment=lead.created_at,
        data=lead.form_data,
        name=page.name,
        url=page.url,
        created_by=lead.extra_data.created_by,
    )


def _from_webhook(posted: Posted, config: UnbounceConfig) -> Submission:
    page_id = posted.said("page_id") or posted.said("page_uuid")
    if not page_id:
        raise RecordError("the webhook names no page: neither page_id nor page_uuid is in it")
    return _submission(
        config,
        page_id=page_id,
        variant=posted.said("variant"),
        moment=_submitted_at(posted),
        data={config.webhook_fields.get(name, name): value for name, value in posted.data.items()},
        name=posted.said("page_name"),
        url=posted.said("page_url"),
    )


def _submitted_at(posted: Posted) -> datetime:
    """`date_submitted` and `time_submitted`; when it came in, if the webhook was set up to leave them out."""
    date, time = posted.said("date_submitted"), posted.said("time_submitted")
    if not date and not time and posted.received_at is not None:
        return posted.received_at
    moment = _moment(date, time)
    if moment is None:
        raise RecordError(
            f"date_submitted {date[:40]!r} and time_submitted {time[:40]!r} are no moment; they are sent like"
            " '2017-11-15' and '11:45 AM UTC'"
        )
    return moment


def _moment(date: str, time: str) -> datetime | None:
    found = _TIME.fullmatch(time.strip())
    if found is None:
        return None
    hour, minute, half = int(found[1]), int(found[2]), (found[3] or "").upper()
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    try:
        return datetime.fromisoformat(date.strip()).replace(hour=hour, minute=minute, tzinfo=UTC)
    except ValueError:
        return None


def _submission(
    config: UnbounceConfig,
    *,
    page_id: str,
    variant: str,
    moment: datetime,
    data: Mapping[str, Any],
    name: str,
    url: str,
    created_by: str | None = None,
) -> Submission:
    page_id, variant = page_id.strip().lower(), variant.strip().lower()
    minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
    values = _values(data)
    hashed = {field: found for field, found in values.items() if not any_match((field,), config.unhashed)}
    identity = json.dumps([page_id, variant, minute.isoformat(), sorted(hashed.items())], separators=(",", ":"))
    return Submission(
        page_id=page_id,
        variant=variant,
        minute=minute,
        values=values,
        fingerprint=hashlib.sha256(identity.encode("ascii")).hexdigest()[:32],
        page_name=name,
        address=_address(url),
        created_by=created_by,
    )


def _values(data: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The form's values. An empty field and one that is not there are the same (vendor sheet §5)."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in sorted(data.items()):
        field = name.strip().lower()
        filled = tuple(text for text in map(_tidy, texts(value)) if text)
        if filled and field not in _METADATA:
            found[field] = (*found.get(field, ()), *filled)
    return found


def texts(value: Any) -> list[str]:
    """The values of a field: a list of texts as a rule, one of anything where JSON was asked for."""
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return [json.dumps(value, sort_keys=True)]


def _tidy(text: str) -> str:
    """As all three ways to send it agree upon: white space as single blanks, addresses in lower case."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return plain.lower() if ADDRESS.fullmatch(plain) else plain


def _address(url: str) -> str:
    """One address for a page: it is told as http although it is https (vendor sheet §5), and with what ads append."""
    parts = urlsplit(url.strip())
    return f"https://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}" if parts.netloc else ""


def any_match(candidates: Iterable[str], patterns: Iterable[str]) -> bool:
    lowered = [pattern.lower() for pattern in patterns]
    return any(fnmatchcase(text.lower(), pattern) for text in candidates if text for pattern in lowered)
