"""Where a mapped CRM field's value comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """`score.interesse.band` is Origin("score", "interesse", "band")."""

    room: Literal["score", "segment", "person"]
    name: str
    part: Literal["value", "band", "reason"] = "value"

    def __str__(self) -> str:
        return ".".join((self.room, self.name, *(() if self.part == "value" else (self.part,))))
