"""Where a mapped CRM field's value comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, cast

__all__ = ["Origin"]

_WORD: Final = r"[^\W\d][\w-]*"
_PATTERN: Final = re.compile(rf"(score|segment|person)\.({_WORD})(?:\.({_WORD}))?")


@dataclass(frozen=True, slots=True)
class Origin:
    """`score.interesse.band` is Origin("score", "interesse", "band")."""

    room: Literal["score", "segment", "person"]
    name: str
    part: Literal["value", "band", "reason"] = "value"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The origin a text means; None when it is none."""
        found = _PATTERN.fullmatch(text)
        if found is None or (found[3] and (found[1] != "score" or found[3] not in ("band", "reason"))):
            return None
        return cls(cast(Any, found[1]), found[2], cast(Any, found[3]) or "value")

    def __str__(self) -> str:
        return ".".join((self.room, self.name, *(() if self.part == "value" else (self.part,))))
