"""What cursors and ids look like, whatever they stand for: `2026-06-01T08:00` and `2027-01-31T23:59` are alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["misread", "refused", "sample_cursors", "shape_of"]

_CURSORS: Final = 6
_RUN: Final = re.compile(r"[^\W_]+")
_WORD: Final = re.compile(r"[A-Za-z_]+")
_SHOWN: Final = 90


def shape_of(text: str) -> str:
    """JSON by its keys; anything else by its runs of digits, of letters, and of both (those with their length)."""
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    return json.dumps(_tree(found), sort_keys=True) if isinstance(found, dict | list) else _RUN.sub(_run, text)


def _run(match: re.Match[str]) -> str:
    run = match[0]
    return "9" if run.isdigit() else "a" if run.isalpha() else f"x{len(run)}"


def _tree(value: Any) -> Any:
    """Keys that are no words are data: one stands for all."""
    if isinstance(value, dict):
        return {key if _WORD.fullmatch(key) else "*": _tree(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(_tree(one), sort_keys=True) for one in value})
    return type(value).__name__


def sample_cursors(cursors: Iterable[str | None]) -> list[str]:
    """The last cursor of each shape, in the order of reading; the very last among them."""
    last: dict[str, str] = {}
    for cursor in cursors:
        if cursor is not None:
            shape = shape_of(cursor)
            last.pop(shape, None)
            last[shape] = cursor
    return list(last.values())[-_CURSORS:]


def refused(where: str, cursor: str, error: Exception) -> str:
    told = f"{type(error).__name__} ({error})"
    return f"{where}: a stored cursor such as {_cut(cursor)} is refused: {told}; nothing is read, or all of it anew"


def misread(where: str, cursor: str) -> str:
    return f"{where}: from a stored cursor such as {_cut(cursor)} what happened since is not found: lost, in silence"


def _cut(cursor: str) -> str:
    return cursor if len(cursor) <= _SHOWN else f"{cursor[:_SHOWN]}…"
