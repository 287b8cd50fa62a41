"""Who changed which field, from the timelines of records: a call and a credit for each, so only where it is wanted.

`GET {module}/{id}/__timeline` (Zoho CRM API v8, "Timeline of a record", read 2026-11; its shape as zohocrmsdk8-0 7.0.0
has it). Its cost is that of any call; the page about credits names no other. In which order it comes is not documented.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from syncline.errors import AuthError, ConnectorError, TransientError
from syncline.model import Edit, Writer
from syncline_zoho.client import Client
from syncline_zoho.payloads import TimelineEntry, TimelinePage
from syncline_zoho.values import parse_datetime

__all__ = ["FieldHistory"]

_log = logging.getLogger("syncline.zoho")

_PAGE: Final = 200
_CAUTION: Final[tuple[Writer, ...]] = ("person", "system", "unknown", "us")
"""Of several who changed a field in one second, whom to name: what a person did is not to be taken for ours."""

Edits = dict[str, Edit]


class FieldHistory:
    """The history of one object during one read, of `most` records at most; those that others changed last go first."""

    def __init__(self, client: Client, object: str, fields: Sequence[str], most: int) -> None:
        self._client = client
        self._object = object
        self._fields = frozenset(fields)
        self._left = most

    def edits(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Edits]:
        """Record id → field → its last change, for rows of one page; of the others only the record's last is known."""
        if not self._left:
            return {}
        us = self._client.user_id()
        chosen = sorted(rows, key=lambda row: _id_of(row.get("Modified_By")) == us)[: self._left]
        self._left -= len(chosen)
        return {str(row["id"]): self._of(row, us) for row in chosen}

    def _of(self, row: Mapping[str, Any], us: str) -> Edits:
        try:
            path = f"{self._object}/{row['id']}/__timeline"
            page = self._client.read("GET", path, params={"per_page": _PAGE}).read(TimelinePage)
        except (AuthError, TransientError):
            raise
        except ConnectorError as error:
            _log.info("no timeline of %s %s, so its fields have no known writer: %s", self._object, row["id"], error)
            return {}
        if page.info.more_records and not _reaches(page.entries, row["Modified_Time"]):
            return {}  # the oldest entries come first, it seems: these would name the wrong ones
        found: Edits = {}
        for entry in page.entries:
            edit = Edit(entry.audited_time, _writer(entry, us), entry.done_by.name if entry.done_by else None)
            for name in entry.fields & self._fields:
                found[name] = _later(found.get(name), edit)
        return found


def _reaches(entries: Sequence[TimelineEntry], modified: str) -> bool:
    """Whether the record's last change is among these; a second may lie between two clocks of one system."""
    last = parse_datetime(modified) - timedelta(seconds=2)
    return any(entry.audited_time >= last for entry in entries)


def _writer(entry: TimelineEntry, us: str) -> Writer:
    if entry.automation_details:
        return "system"
    if entry.done_by is None or not entry.done_by.id:
        return "unknown"
    return "us" if entry.done_by.id == us else "person"


def _later(known: Edit | None, other: Edit) -> Edit:
    """The later of two changes; of one second the more cautious one."""
    if known is None or known.at is None or other.at is None:
        return known or other
    if known.at != other.at:
        return known if known.at > other.at else other
    return min(known, other, key=lambda edit: _CAUTION.index(edit.by))


def _id_of(user: Any) -> str | None:
    return str(user.get("id")) if isinstance(user, Mapping) else None
