"""Events from files: what is new in them, row by row."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final

from syncline.errors import (
    ConfigError,
    ConnectorError,
    CursorExpiredError,
    RecordError,
    SchemaDriftError,
    TransientError,
    did_you_mean,
)
from syncline.model import Account, Event, Page, RawRecord
from syncline.sdk import Context, Source
from syncline_files.config import FilesConfig
from syncline_files.mapping import RowMapping
from syncline_files.readers import Occurrences, Place, Reader, Row, file_format, file_trouble, reader_for

__all__ = ["FilesSource"]

_log = logging.getLogger("syncline.files")
_VERSION: Final = 1  # of the cursor
_LISTED: Final = 20


class _Progress:
    """Gathers rows into pages across files, and keeps the cursor that belongs to them."""

    def __init__(self, known: dict[str, Place], page_rows: int) -> None:
        self.known = known
        self.trouble: list[ConnectorError] = []
        self._page_rows = page_rows
        self._records: list[RawRecord] = []
        self._moved = False

    def add(self, name: str, records: Sequence[RawRecord], place: Place) -> Iterator[Page]:
        """A page, once there are rows enough for one."""
        self.known[name] = place
        self._moved = True
        self._records += records
        if len(self._records) >= self._page_rows:
            yield from self.rest()

    def rest(self) -> Iterator[Page]:
        """What is left, if anything moved."""
        if self._moved:
            yield Page(self._records, _dump(self.known))
            self._records, self._moved = [], False


class FilesSource(Source[FilesConfig]):
    """Rows of CSV, JSON Lines and Parquet files, compressed or not, as events.

    A file that grew is read on where it was left, another one from its start, an unchanged one not at all.
    """

    kind: ClassVar[str] = "files"
    config_model = FilesConfig
    streams: ClassVar[Sequence[str]] = ("rows",)

    def __init__(self, config: FilesConfig, context: Context) -> None:
        super().__init__(config, context)
        self._mapping = RowMapping(config.columns, context.connection, config.decimal)

    def check(self) -> Account:
        """The files are there, can be opened, and have the columns that every row needs."""
        paths = self._paths()
        if not paths:
            raise ConfigError(self._nothing_matches(), where=self.context.connection)
        details = {}
        for path in paths:
            with file_trouble(path), path.open("rb") as file:
                file.read(1)
            columns = self._columns(reader_for(path, self.config), path)
            size = f"{path.stat().st_size:,} bytes, {file_format(path, self.config)}"
            details[self._name(path)] = size if columns is None else f"{size}, columns {', '.join(columns)}"
        return Account(
            id=", ".join(self.config.path), name=f"{len(paths)} file{'s' * (len(paths) > 1)}", details=details
        )

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        """What is new in the files, in the order of their names.

        A file in trouble does not stop the others; its error is raised after them.
        """
        if stream not in self.streams:
            raise ConfigError(f"no stream {stream!r}; {did_you_mean(stream, self.streams)}")
        before = _load(cursor)
        paths = self._paths()
        if not paths:
            self._nothing_to_read(cursor)
        here = {self._name(path) for path in paths}
        progress = _Progress({name: place for name, place in before.items() if name in here}, self.config.page_rows)
        for path in paths:
            yield from self._one_file(path, progress)
        yield from progress.rest()
        if progress.trouble:
            raise progress.trouble[0]

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        """The events of a row. RecordError names the file and the line."""
        payload = raw.payload
        if (row := payload.get("row")) is None:
            raise RecordError(f"{payload['file']} line {payload['line']}: {payload['problem']}")
        try:
            return self._mapping.events(self._with_position(row, payload["file"], payload["line"]), raw.key)
        except RecordError as error:
            raise RecordError(f"{payload['file']} line {payload['line']}: {error}") from None

    def _one_file(self, path: Path, progress: _Progress) -> Iterator[Page]:
        try:
            name = self._name(path)
            for records, place in self._news(path, progress.known.get(name)):
                yield from progress.add(name, records, place)
        except ConnectorError as error:
            _log.warning("%s: %s", self.context.connection, error)
            progress.trouble.append(error)

    def _news(self, path: Path, place: Place | None) -> Iterator[tuple[list[RawRecord], Place]]:
        """The new rows of one file, a page at a time, each with the place after it."""
        with file_trouble(path):
            stat = path.stat()
        unchanged = place and (place.size, place.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        if place and unchanged and (self.config.growing or not place.waits):
            return
        reader = reader_for(path, self.config)
        if place and not reader.resumes(place):
            _log.info("%s: %s is not the file it was; it is read from its start", self.context.connection, path)
            place = None
        self._columns(reader, path)
        start = place or Place()
        with ExitStack() as stack:
            seen = None if self.config.columns.id else stack.enter_context(Occurrences())
            if seen and start.at:
                for rows in self._pages(reader, start=Place(), until=start.at):
                    seen.number([_digest(row.text) for row in rows if row.cells is not None])
            for rows in self._pages(reader, start=start):
                yield self._records(path, rows, seen), reader.place
        if reader.waiting:
            _log.warning("%s: %s %s", self.context.connection, path, reader.waiting)
        waits = bool(reader.waiting)
        yield [], replace(reader.place, size=stat.st_size, mtime_ns=stat.st_mtime_ns, waits=waits)

    def _pages(self, reader: Reader, *, start: Place, until: int | None = None) -> Iterator[list[Row]]:
        rows = reader.rows(start, until)
        while page := list(islice(rows, self.config.page_rows)):
            yield page

    def _records(self, path: Path, rows: Sequence[Row], seen: Occurrences | None) -> list[RawRecord]:
        name = self._name(path)
        keys = _keys(rows, seen) if seen else (self._key(row, name) for row in rows)
        return [
            RawRecord("rows", key or f"{name}:{row.line}", _payload(name, row))
            for key, row in zip(keys, rows, strict=True)
        ]

    def _key(self, row: Row, name: str) -> str | None:
        if row.cells is None:
            return None
        try:
            return self._mapping.key(self._with_position(row.cells, name, row.line))
        except RecordError as error:
            row.problem, row.cells = str(error), None
            return None

    def _with_position(self, row: Mapping[str, Any], file: str, line: int) -> Mapping[str, Any]:
        return {**row, "_file": file, "_line": line} if self._mapping.wants_position else row

    def _columns(self, reader: Reader, path: Path) -> Sequence[str] | None:
        columns = reader.columns()
        if columns is not None and (name := self._mapping.missing(columns)):
            message = f"{path} has no column {name!r}; {did_you_mean(name, columns)}"
            raise SchemaDriftError(message, field=name, where=self.context.connection)
        return columns

    def _paths(self) -> list[Path]:
        folder = self.context.folder
        found = {name for pattern in self.config.path for name in glob.glob(pattern, root_dir=folder, recursive=True)}
        return [folder / name for name in sorted(found) if not (folder / name).is_dir()]

    def _name(self, path: Path) -> str:
        """What a file is called in records and cursors: the same from wherever the command was typed."""
        folder = self.context.folder
        return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()

    def _folder_of(self, pattern: str) -> Path:
        """The folder that surely must be there for anything to match."""
        folder = Path(pattern).parent
        while glob.has_magic(str(folder)):
            folder = folder.parent
        return self.context.folder / folder

    def _nothing_to_read(self, cursor: str | None) -> None:
        """Files that were read may be moved away, all of them; but their folder stays."""
        if cursor is None:
            raise ConfigError(self._nothing_matches(), where=self.context.connection)
        for pattern in self.config.path:
            if not self._folder_of(pattern).is_dir():
                message = f"the folder of {pattern!r} is gone; is a drive not mounted?"
                raise TransientError(message, where=self.context.connection)

    def _nothing_matches(self) -> str:
        lines = []
        for pattern in self.config.path:
            folder = self._folder_of(pattern)
            while not folder.is_dir():
                folder = folder.parent
            names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir())
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            there = ", ".join(names[:_LISTED]) + more if names else "nothing"
            lines.append(f"no file matches {pattern!r}; in {folder.resolve().name or '/'}/ there is: {there}")
        return "\n".join(lines)


def _payload(name: str, row: Row) -> Mapping[str, Any]:
    if row.cells is None:
        return {"file": name, "line": row.line, "problem": row.problem, "text": row.text}
    return {"file": name, "line": row.line, "row": row.cells}


def _keys(rows: Sequence[Row], seen: Occurrences) -> list[str | None]:
    """What a row says, and which of several alike it is: the same wherever the row stands, in whatever file."""
    digests = [_digest(row.text) for row in rows if row.cells is not None]
    numbered = zip(digests, seen.number(digests), strict=True)
    return [None if row.cells is None else _key_of(*next(numbered)) for row in rows]


def _key_of(digest: bytes, number: int) -> str:
    return f"{digest.hex()}-{number}" if number else digest.hex()


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


# The cursor: file → how far it was read


def _load(cursor: str | None) -> dict[str, Place]:
    if cursor is None:
        return {}
    try:
        state = json.loads(cursor)
        if state["version"] != _VERSION:
            raise CursorExpiredError(f"the cursor is of version {state['version']}; this plugin writes {_VERSION}")
        return {name: _place(*place) for name, place in state["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CursorExpiredError("the cursor is not one of the files source") from None


def _place(at: int, line: int, crc: int, size: int, mtime_ns: int, waits: bool) -> Place:
    return Place(int(at), int(line), int(crc), int(size), int(mtime_ns), bool(waits))


def _dump(places: Mapping[str, Place]) -> str:
    files = {name: astuple(place) for name, place in places.items()}
    return json.dumps({"version": _VERSION, "files": files}, separators=(",", ":"))
