"""What may go wrong with a source, place by place: every address it is read from, every table, every file.

A break is put right by what `make` returns. `quiet` ones look like success: an answer that is whole and well formed,
and says that there is nothing, or less than before. So do some of files, by design: a file that is gone was rotated
away, and a last line without an end is still being written.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from syncline.testing.simulator import Fault

__all__ = ["Break", "breaks", "listening"]

Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Break:
    """`place` and `kind` name it in the figures."""

    place: str
    kind: str
    make: Callable[[], Undo]
    quiet: bool = False
    struck: Callable[[], bool] = lambda: True
    """Asked before it is put right: whether the read has met it at all."""


def breaks(kind: str, simulator: Any, places: set[str]) -> Iterator[Break]:
    """Every break of a source; `places` are the addresses that a whole read of it asks for."""
    if kind == "files":
        yield from _of_files(Path(simulator.settings["path"]).parent)
    elif kind == "mailpoet":
        yield from _of_tables(Path(simulator.settings["file"]), simulator.prefix)
    else:
        yield from _of_addresses(simulator, places)


# Sources that are asked by HTTP

_LOUD: Final = {
    "truncated": Fault("truncated", times=None),
    "html": Fault("html", times=None),
    "cut off": Fault("cut_off", times=None),
    "no answer": Fault("drop_before", times=None),
    "503 for ever": Fault("status", status=503, times=None),
    "500 with a page": Fault("status", status=500, body="<html>oops</html>", times=None),
    "401": Fault("status", status=401, body={}, times=None),
    "too many": Fault("too_many", times=None),
    "cut off on the second page": Fault("cut_off", after=1, times=None),
}
_QUIET: Final = {"empty": 0.0, "half, the total as before": 0.5, "half, and a smaller total": 0.5}
_TOTALS: Final = frozenset({"total_items", "total", "count", "totalCount", "total_count"})
_ID: Final = re.compile(r"(?=[^/]*\d)[\w.@%-]{4,}|\d+")


@contextlib.contextmanager
def listening(simulator: Any) -> Iterator[set[str]]:
    """The addresses that were asked for while it listened, as `METHOD path` patterns; ids are `*`."""
    heard: set[str] = set()
    if not hasattr(simulator, "before"):
        yield heard
        return
    before = simulator.before

    def listen(request: Any) -> Any:
        path = "/".join("*" if _ID.fullmatch(part) and part not in ("3.0", "v1") else part for part in _parts(request))
        heard.add(f"{request.method} {path}")
        return before(request)

    simulator.before = listen
    try:
        yield heard
    finally:
        simulator.before = before


def _parts(request: Any) -> list[str]:
    return str(request.path).split("/")


def _of_addresses(simulator: Any, places: set[str]) -> Iterator[Break]:
    for place in sorted(places):
        for name, fault in _LOUD.items():
            yield Break(place, name, partial(_strike, simulator, place, fault), struck=partial(_has_struck, simulator))
        for name, share in _QUIET.items():
            smaller = name.endswith("total") or share == 0
            yield Break(place, name, partial(_thin, simulator, place, share, smaller=smaller), quiet=True)


def _strike(simulator: Any, place: str, fault: Fault) -> Undo:
    simulator.faults = [Fault(**{**_shown(fault), "on": place})]
    return lambda: setattr(simulator, "faults", [])


def _has_struck(simulator: Any) -> bool:
    return bool(simulator._struck.total())


def _shown(fault: Fault) -> dict[str, Any]:
    return {name: getattr(fault, name) for name in Fault.__dataclass_fields__}


def _thin(simulator: Any, place: str, share: float, *, smaller: bool) -> Undo:
    """Every list in the answers of this address keeps so much of itself."""
    after, pattern = simulator.after, re.compile(re.escape(place).replace(r"\*", "[^/]*"))

    def thinned(request: Any, response: Any) -> Any:
        response = after(request, response)
        if pattern.fullmatch(f"{request.method} {request.path}") and response.status_code == 200 and response.is_json:
            response.set_data(json.dumps(_thinned(response.get_json(), share, smaller=smaller)))
        return response

    simulator.after = thinned
    return lambda: setattr(simulator, "after", after)


def _thinned(body: Any, share: float, *, smaller: bool) -> Any:
    if isinstance(body, list):
        return body[: int(len(body) * share)]
    if not isinstance(body, dict):
        return body
    kept = {name: _thinned(value, share, smaller=smaller) for name, value in body.items()}
    if smaller:
        kept |= {name: int(value * share) for name, value in body.items() if name in _TOTALS and isinstance(value, int)}
    return kept


# Tables

_UNREAD: Final = ("mailpoet_user_agents", "mailpoet_statistics_newsletters")
"""Tables of the plugin that a read can do without: what they say of a mail, others say of its opens."""


def _of_tables(file: Path, prefix: str) -> Iterator[Break]:
    """An SQLite file that stands for the site's database."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        tables = [str(row[0]) for row in rows if str(row[0]).startswith(prefix)]
    for table in tables:
        unread = table.removeprefix(prefix) in _UNREAD
        gone = f'ALTER TABLE "{table}" RENAME TO "{table}_gone"'
        yield Break(table, "gone", partial(_change, file, gone), quiet=unread)
        yield Break(table, "empty", partial(_change, file, f'DELETE FROM "{table}"'), quiet=True)  # noqa: S608  # its own
        half = f'DELETE FROM "{table}" WHERE rowid % 2 = 0'  # noqa: S608  # its own names
        yield Break(table, "half", partial(_change, file, half), quiet=True)
    yield Break("the database", "truncated", partial(_rewrite, file, lambda held: held[: len(held) // 2]))
    yield Break("the database", "gone", partial(_take_away, file))
    yield Break("the database", "html", partial(_rewrite, file, lambda _: b"<html>oops</html>" * 300))


def _change(file: Path, statement: str) -> Undo:
    undo = _kept(file)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)
    return undo


# Files


def _of_files(folder: Path) -> Iterator[Break]:
    for file in sorted(folder.glob("*.jsonl")):
        yield Break(file.name, "gone", partial(_take_away, file), quiet=True)
        cut = partial(_rewrite, file, lambda held: held[: len(held) * 2 // 3])
        yield Break(file.name, "cut off in a line", cut, quiet=True)
        yield Break(file.name, "html", partial(_rewrite, file, lambda _: b"<html>\noops\n</html>\n"))
        yield Break(file.name, "empty", partial(_rewrite, file, lambda _: b""), quiet=True)
        yield Break(file.name, "half", partial(_rewrite, file, _half_of_the_lines), quiet=True)


def _half_of_the_lines(held: bytes) -> bytes:
    lines = held.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2])


def _rewrite(file: Path, change: Callable[[bytes], bytes]) -> Undo:
    undo = _kept(file)
    file.write_bytes(change(file.read_bytes()))
    return undo


def _take_away(file: Path) -> Undo:
    undo = _kept(file)
    file.unlink()
    return undo


def _kept(file: Path) -> Undo:
    copy = file.with_suffix(".kept")
    shutil.copy2(file, copy)

    def undo() -> None:
        copy.replace(file)

    return undo
