"""What the cursors say: how far the rows of a stream are settled. Text outside, values inside.

A row is numbered, and dated, when its transaction writes it, but visible only when that ends: a later row may be seen
first. So a cursor never moves beyond what is older than `settling`, and what is younger is read again.
"""

from __future__ import annotations

from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from syncline.errors import CursorExpiredError

__all__ = ["Cursor", "IdCursor", "TimeCursor"]

_VERSION: Final = 1


class Cursor(BaseModel):
    """`of` is the site and its table prefix: another site's position says nothing about this one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: int = _VERSION
    of: str

    @classmethod
    def read(cls, text: str | None, *, of: str, where: str) -> Self:
        """CursorExpiredError when the text is not ours, of a version we do not know, or of another site."""
        if text is None:
            return cls(of=of)
        try:
            cursor = cls.model_validate_json(text)
        except ValidationError as error:
            raise CursorExpiredError("the cursor cannot be read", where=where) from error
        if cursor.version != _VERSION or cursor.of != of:
            raise CursorExpiredError(
                f"the cursor is of {cursor.of}, version {cursor.version}; wanted is {of}, version {_VERSION}",
                where=where,
            )
        return cursor

    def text(self) -> str:
        return self.model_dump_json()


class IdCursor(Cursor):
    """All rows up to the id `floor` were read and no further ones will appear there.

    `made` is when the row `floor` was made: after a backup is restored its number may be another row's.
    `people` is for opens: block of ids → what its people's rows add up to, so that a machine's row that became a
    person's shows.
    """

    floor: int = 0
    made: str = ""
    people: dict[str, str] = {}


class TimeCursor(Cursor):
    """All changes up to the row `id` of the second `at` were read.

    While the table is read for the first time, by id: all rows up to `id`, and what was settled when that `began`.
    """

    at: str = ""
    id: int = 0
    began: str = ""
