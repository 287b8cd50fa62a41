"""What the cursor says: per workspace, up to when submissions were read. Text outside, values inside."""

from __future__ import annotations

from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from syncline.errors import CursorExpiredError

__all__ = ["Cursor", "Mark"]

_VERSION: Final = 1


class Mark(BaseModel):
    """Seconds since 1970, by the vendor's clock.

    Everything created before `read_to` was read, as far as it was there; `reread` is the end of the last re-read, which
    asked for deleted pages too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    read_to: int
    reread: int | None = None


class Cursor(BaseModel):
    """The marks by workspace id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = _VERSION
    workspaces: dict[int, Mark] = {}

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

    def with_mark(self, workspace: int, mark: Mark) -> Cursor:
        return self.model_copy(update={"workspaces": {**self.workspaces, workspace: mark}})

    def only(self, workspaces: frozenset[int]) -> Cursor:
        """Without the marks of workspaces that are no longer read."""
        kept = {workspace: mark for workspace, mark in self.workspaces.items() if workspace in workspaces}
        return self.model_copy(update={"workspaces": kept})

    def text(self) -> str:
        return self.model_dump_json(exclude_none=True)
