"""What the cursors say: per campaign or audience, how far we have read. Text outside, values inside."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from syncline.errors import CursorExpiredError
from syncline_mailchimp.payloads import moment_text

__all__ = ["Cursor", "Mark"]

_VERSION: Final = 1


class Mark(BaseModel):
    """The time of the newest fact seen, and the campaign's totals when they were last read."""

    model_config = ConfigDict(frozen=True)

    newest: AwareDatetime | None = None
    totals: str = ""


class Cursor(BaseModel):
    """The marks of one stream by campaign id (or, for members, by audience id)."""

    model_config = ConfigDict(frozen=True)

    version: int = _VERSION
    marks: dict[str, Mark] = {}

    @classmethod
    def read(cls, text: str | None, *, where: str) -> Self:
        """CursorExpiredError when the text is not ours, or of a version we do not know."""
        if text is None:
            return cls()
        try:
            cursor = cls.model_validate_json(text)
        except ValidationError as error:
            raise CursorExpiredError("the cursor cannot be read", where=where) from error
        if cursor.version != _VERSION:
            raise CursorExpiredError(f"the cursor is of version {cursor.version}, known is {_VERSION}", where=where)
        return cursor

    def with_mark(self, key: str, mark: Mark) -> Cursor:
        return self.model_copy(update={"marks": {**self.marks, key: mark}})

    def only(self, keys: frozenset[str], *, or_since: datetime | None = None) -> Cursor:
        """Without the marks of what is no longer looked at, so that the cursor does not grow for ever.

        `or_since` keeps those with a fact since then too: what is missing from the keys may have been left out by
        trouble. A mark that is lost costs a whole read of its campaign, and no event.
        """
        kept = {key: mark for key, mark in self.marks.items() if key in keys or _is_since(mark, or_since)}
        return self.model_copy(update={"marks": kept})

    def text(self) -> str:
        marks = {key: _plain(mark.newest, mark.totals) for key, mark in sorted(self.marks.items())}
        return json.dumps({"version": self.version, "marks": marks}, separators=(",", ":"))


def _is_since(mark: Mark, moment: datetime | None) -> bool:
    return moment is not None and mark.newest is not None and mark.newest >= moment


def _plain(newest: datetime | None, totals: str) -> dict[str, str]:
    return {**({"newest": moment_text(newest)} if newest else {}), **({"totals": totals} if totals else {})}
