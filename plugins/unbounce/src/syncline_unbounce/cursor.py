"""What the cursor says: how far each group of pages has been read, and what its statistics were then.

An account may have thousands of pages, so they are put into at most 1024 groups by a hash of their ids; with a few
hundred pages, most groups are one page. The text stays below some 50 kB, however many pages there are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from syncline.errors import CursorExpiredError
from syncline_unbounce.payloads import PageEntity, moment_text

__all__ = ["Cursor", "Mark", "Place", "digest", "group_of", "is_unknown", "members"]

_VERSION: Final = 1
_GROUPS: Final = 1024

_MEMBERS: Final = 6
_UNKNOWN: Final = "?"
"""Stands for the statistics of pages that have none: they may have moved."""


def group_of(page: str) -> str:
    """The group a page belongs to, for ever."""
    return f"{int.from_bytes(hashlib.sha256(page.encode()).digest()[:4], 'big') % _GROUPS:x}"


def members(pages: Iterable[PageEntity]) -> str:
    """What changes when a page joins or leaves. A digest begins with it."""
    return _hashed((page.id for page in pages), _MEMBERS)


def digest(pages: Sequence[PageEntity]) -> str:
    """What changes when any of these pages gets another submission, or when there are others."""
    if any(page.form_submits is None for page in pages):
        return members(pages) + _UNKNOWN
    return members(pages) + _hashed((f"{page.id}={page.form_submits}" for page in pages), 8)


def is_unknown(digest_: str) -> bool:
    """Whether it is that of pages without statistics."""
    return digest_.endswith(_UNKNOWN)


def _hashed(parts: Iterable[str], digits: int) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:digits]


class Mark(BaseModel):
    """A group of pages: its statistics, until when it has been read, and when the statistics were last seen to move."""

    model_config = ConfigDict(frozen=True)

    digest: str
    read: AwareDatetime
    moved: AwareDatetime | None = None

    def vouches_for(self, pages: Sequence[PageEntity]) -> bool:
        """Whether all of these were read until `read`, but for those that were made later.

        Others join a group when the settings or our rights come to cover them, and bring leads from long before.
        """
        then = self.digest[:_MEMBERS]
        made = [page for page in pages if page.created_at is None or page.created_at <= self.read]
        return then in (members(pages), members(made))


class Place(BaseModel):
    """Where in a group a read stands: pages with smaller ids are done, this one is done up to `since`."""

    model_config = ConfigDict(frozen=True)

    group: str
    digest: str
    until: AwareDatetime
    page: str
    since: AwareDatetime | None = None


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    groups: dict[str, tuple[str, int, int | None]] = {}
    place: Place | None = None


_MOMENT: Final = TypeAdapter(AwareDatetime)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The marks by group, and where a read was interrupted, if it was."""

    groups: Mapping[str, Mark] = field(default_factory=dict)
    place: Place | None = None

    @classmethod
    def read(cls, text: str | None, *, where: str) -> Self:
        """CursorExpiredError when the text is not ours, or of a version we do not know."""
        if text is None:
            return cls()
        try:
            document = _Document.model_validate_json(text)
        except ValidationError as error:
            raise CursorExpiredError("the cursor cannot be read", where=where) from error
        if document.version != _VERSION:
            raise CursorExpiredError(f"the cursor is of version {document.version}, known is {_VERSION}", where=where)
        return cls({group: _mark(*parts) for group, parts in document.groups.items()}, document.place)

    def with_mark(self, group: str, mark: Mark) -> Cursor:
        """The group is read: we no longer stand in the middle of it."""
        place = self.place if self.place is not None and self.place.group != group else None
        return replace(self, groups={**self.groups, group: mark}, place=place)

    def at(self, place: Place | None) -> Cursor:
        return replace(self, place=place)

    def only(self, groups: Iterable[str]) -> Cursor:
        """Without the groups that have no page any more."""
        kept = set(groups)
        return replace(self, groups={group: mark for group, mark in self.groups.items() if group in kept})

    def text(self) -> str:
        """Times of marks in whole seconds since 1970, rounded down: so less is taken for read, never more."""
        document: dict[str, Any] = {
            "version": _VERSION,
            "groups": {group: _parts(mark) for group, mark in sorted(self.groups.items())},
        }
        if self.place is not None:
            document["place"] = self._place(self.place)
        return json.dumps(document, separators=(",", ":"))

    @staticmethod
    def _place(place: Place) -> dict[str, str]:
        since = {"since": moment_text(place.since)} if place.since else {}
        plain = {"group": place.group, "digest": place.digest, "until": moment_text(place.until), "page": place.page}
        return plain | since


def _mark(digest_: str, read: int, moved: int | None) -> Mark:
    return Mark(
        digest=digest_,
        read=_MOMENT.validate_python(read),
        moved=None if moved is None else _MOMENT.validate_python(moved),
    )


def _parts(mark: Mark) -> tuple[str, int, int | None]:
    return mark.digest, _seconds(mark.read), None if mark.moved is None else _seconds(mark.moved)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
