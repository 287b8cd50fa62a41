"""Rows out of CSV, JSON Lines and Parquet files, each with its place in the file.

A reader holds no more of a file than the rows that are asked for, whatever its size.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sqlite3
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, cast

from pydantic_core import from_json

from syncline.errors import ConfigError, TransientError
from syncline_files.config import FileFormat, FilesConfig

__all__ = ["Occurrences", "Place", "Reader", "Row", "file_format", "file_trouble", "reader_for"]

_BLOCK: Final = 1 << 18
_BATCH: Final = 2000  # rows of a Parquet file that are decoded at a time
_SHOWN: Final = 2000  # characters of an unreadable row that are kept for the person who looks into it
_SUFFIXES: Final[Mapping[str, FileFormat]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}

Cells: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file was read: `at` bytes (after unpacking) and `line` lines; for Parquet both are rows.

    `crc` is the checksum of what was read, so that a file that merely grew is told from another one. `size` and
    `mtime_ns` are the file's own when it was last read to its end, else -1.
    """

    at: int = 0
    line: int = 0
    crc: int = 0
    size: int = -1
    mtime_ns: int = -1
    waits: bool = False
    """A last line without its end was left."""


@dataclass(slots=True)
class Row:
    """One row. `cells` None: it cannot be read, for the reason in `problem`. `text` is all it says, to compare by."""

    line: int
    text: str
    cells: Cells | None
    problem: str = ""


class Reader(Protocol):
    """One file."""

    waiting: str
    """What the last `rows` left for the next read, for the log; empty if nothing."""

    @property
    def place(self) -> Place:
        """After the last row handed out."""

    def columns(self) -> Sequence[str] | None:
        """The names of the columns, if the file says them before its rows."""

    def resumes(self, place: Place) -> bool:
        """The file still begins with what was read up to `place`."""

    def rows(self, start: Place, until: int | None = None) -> Iterator[Row]:
        """The rows from `start` on, as far as `until` (an `at`)."""


def file_format(path: Path, config: FilesConfig) -> FileFormat:
    """As configured, else by suffix (`.gz` aside). ConfigError for a suffix nobody knows."""
    if config.format != "auto":
        return config.format
    suffix = _suffix(path)
    if suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise ConfigError(f"{path}: the suffix {suffix!r} says no format (known: {known}); set `format`")
    return _SUFFIXES[suffix]


def reader_for(path: Path, config: FilesConfig) -> Reader:
    """The reader of a file."""
    kind = file_format(path, config)
    if kind == "parquet":
        return _ParquetReader(path, config)
    return _JsonReader(path, config) if kind == "jsonl" else _CsvReader(path, config)


@contextmanager
def file_trouble(path: Path) -> Iterator[None]:
    """Trouble with a file as a whole, in our words. A damaged file is never taken for a complete one."""
    try:
        yield
    except EOFError:
        message = "the compressed data ends early; the rows before were taken. Is it still being written?"
        raise TransientError(message, where=str(path)) from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise TransientError(f"the compressed data is damaged ({error}); copy it again", where=str(path)) from None
    except OSError as error:
        raise TransientError(f"cannot be read: {error.strerror or error}", where=str(path)) from None


def _suffix(path: Path) -> str:
    return Path(path.stem if _packed(path) else path.name).suffix.lower()


def _packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


# Text


class _Lines:
    """The lines of a file, and the place after those that are settled.

    Whoever reads takes lines until they make a row, and settles them; of a row that does not work out it settles
    the first line only, and the others come again.
    """

    def __init__(self, file: BinaryIO, encoding: str, *, take_half: bool) -> None:
        self.taken: list[bytes] = []
        self.half = b""  # a last line without its end, if those are not taken
        self.ended = False
        self.damage = ""
        self.at = self._line = self._crc = 0
        self._file = file
        self._encoding = encoding
        self.waits = not take_half
        self._again: deque[bytes] = deque()

    def __iter__(self) -> Iterator[str]:
        self.ended = False
        while not self.ended:
            while self._again:
                yield self._take(self._again.popleft())
            self.ended = True
            for raw in self._file:
                if raw[-1] != 10 and self.waits:
                    self.half = raw
                    return
                self.ended = False
                yield self._take(raw)
                if self._again:
                    break
                self.ended = True

    def skip(self, mark: bytes) -> None:
        """Over these bytes, if the file begins with them."""
        if cast("io.BufferedReader", self._file).peek(len(mark)).startswith(mark):
            self.taken.append(self._file.read(len(mark)))
            self.settle()

    def jump(self, place: Place) -> None:
        """Go on from there."""
        self._file.seek(place.at)
        self.at, self._line, self._crc = place.at, place.line, place.crc

    @property
    def number(self) -> int:
        """The number of the first line that is not settled."""
        return self._line + 1

    @property
    def place(self) -> Place:
        return Place(self.at, self._line, self._crc)

    def settle(self, count: int | None = None) -> None:
        """The lines taken are done with; or the first `count` of them, and the others come again."""
        for raw in self.taken[:count]:
            self.at += len(raw)
            self._crc = zlib.crc32(raw, self._crc)
            self._line += raw[-1] == 10
        if count is not None:
            self._again.extendleft(reversed(self.taken[count:]))
        self.taken.clear()
        self.damage = ""

    def take_half(self) -> None:
        """The last line is good without its end after all."""
        self.taken.append(self.half)
        self.half = b""

    def _take(self, raw: bytes) -> str:
        self.taken.append(raw)
        try:
            return raw.decode(self._encoding)
        except UnicodeDecodeError as error:
            self.damage = f"byte {error.start + 1} is not {self._encoding}; see `encoding`"
            return raw.decode(self._encoding, errors="replace")


class _TextReader:
    """What CSV and JSON Lines have in common: lines, compressed or not."""

    def __init__(self, path: Path, config: FilesConfig) -> None:
        self.waiting = ""
        self._path = path
        self._config = config
        self._lines: _Lines | None = None

    @property
    def place(self) -> Place:
        return self._lines.place if self._lines else Place()

    def columns(self) -> Sequence[str] | None:
        return None

    def resumes(self, place: Place) -> bool:
        with file_trouble(self._path), self._open() as file:
            left, crc = place.at, 0
            while left and (block := file.read(min(left, _BLOCK))):
                left -= len(block)
                crc = zlib.crc32(block, crc)
            return not left and crc == place.crc

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        opened = gzip.open(self._path, "rb") if _packed(self._path) else self._path.open("rb")  # noqa: SIM115  # below
        with io.BufferedReader(cast("io.RawIOBase", opened), _BLOCK) as file:
            yield cast("BinaryIO", file)

    @contextmanager
    def _read(self) -> Iterator[_Lines]:
        with file_trouble(self._path), self._open() as file:
            # the end of compressed data is marked, so that its last line is known to be whole
            take_half = _packed(self._path) or not self._config.growing
            self._lines = _Lines(file, self._config.encoding, take_half=take_half)
            self.waiting = ""
            yield self._lines

    def _unreadable(self, lines: _Lines, problem: str) -> Row:
        """The first line taken cannot be read; should it have swallowed others, they are read on their own."""
        shown = lines.taken[0].decode(self._config.encoding, errors="replace").rstrip("\r\n")
        row = Row(lines.number, shown[:_SHOWN], None, lines.damage or problem)
        lines.settle(1)
        return row

    def _wait(self, lines: _Lines, what: str) -> None:
        self.waiting = f"line {lines.number}: {what}; it waits for the next read (`growing: false` takes it now)"


class _CsvReader(_TextReader):
    """Delimited text."""

    def columns(self) -> Sequence[str] | None:
        with self._read() as lines:
            return self._header(lines)

    def rows(self, start: Place, until: int | None = None) -> Iterator[Row]:
        with self._read() as lines:
            names = self._header(lines)
            if names is None:
                return
            if start.at > lines.at:
                lines.jump(start)
            if until is None or lines.at < until:
                yield from self._rows(lines, names, until)

    def _rows(self, lines: _Lines, names: Sequence[str], until: int | None) -> Iterator[Row]:
        while True:
            try:
                yield from self._good_rows(lines, names, until)
            except csv.Error as error:
                if lines.ended and lines.waits:
                    self._wait(lines, "a quoted cell is not closed")
                    return
                yield self._unreadable(lines, f"not CSV: {error}")
            else:
                if lines.half:
                    self._wait(lines, "the last line has no end")
                return

    def _good_rows(self, lines: _Lines, names: Sequence[str], until: int | None) -> Iterator[Row]:
        width = len(names)
        for cells in self._split(lines):
            if len(cells) == width and not lines.damage:
                number = lines.number
                lines.settle()
                yield Row(number, "\x1f".join(cells), dict(zip(names, cells, strict=True)))
            elif cells:
                yield self._unreadable(lines, f"{len(cells)} columns instead of {width} ({', '.join(names)})")
            else:
                lines.settle()
            if until is not None and lines.at >= until:
                return

    def _split(self, lines: Iterable[str]) -> Iterator[list[str]]:
        if self._config.delimiter == "whitespace":
            return (line.split() for line in lines)
        return csv.reader(lines, delimiter=self._delimiter(), strict=True)

    def _delimiter(self) -> str:
        named = {"auto": "\t" if _suffix(self._path) == ".tsv" else ",", "tab": "\t"}
        return named.get(self._config.delimiter, self._config.delimiter)

    def _header(self, lines: _Lines) -> Sequence[str] | None:
        _skip_mark(lines, self._config.encoding)
        if self._config.header is not True:
            return self._config.header
        try:
            cells = next(self._split(lines), None)
        except csv.Error as error:
            raise ConfigError(f"{self._path}: the first line is no header: {error}; see `header`") from None
        if cells is None:
            if lines.half:
                self._wait(lines, "the header has no end")
            return None
        lines.settle()
        names = [cell.strip() or str(number) for number, cell in enumerate(cells, 1)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"{self._path}: two columns are called {min(twice)!r}; name them with `header`")
        return names


class _JsonReader(_TextReader):
    """One JSON object a line."""

    def rows(self, start: Place, until: int | None = None) -> Iterator[Row]:
        with self._read() as lines:
            _skip_mark(lines, self._config.encoding)
            if start.at > lines.at:
                lines.jump(start)
            for text in lines:
                if until is not None and lines.at >= until:
                    return
                if row := self._row(lines, text.strip()):
                    yield row
            if until is None and lines.half:
                yield from self._last_row(lines)

    def _row(self, lines: _Lines, text: str) -> Row | None:
        """None for an empty line."""
        if not text:
            lines.settle()
            return None
        try:
            cells = _json_object(text)
        except ValueError as error:
            return self._unreadable(lines, str(error))
        if lines.damage:
            return self._unreadable(lines, lines.damage)
        row = Row(lines.number, text, cells)
        lines.settle()
        return row

    def _last_row(self, lines: _Lines) -> Iterator[Row]:
        """A line without its end is whole if it is a whole object: no part of one is."""
        try:
            text = lines.half.decode(self._config.encoding).strip()
            cells = _json_object(text)
        except ValueError:
            self._wait(lines, "the last line has no end")
            return
        row = Row(lines.number, text, cells)
        lines.take_half()
        lines.settle()
        yield row


def _skip_mark(lines: _Lines, encoding: str) -> None:
    if encoding == "utf-8":
        lines.skip(b"\xef\xbb\xbf")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_decode: Final = json.JSONDecoder(parse_constant=_refuse).decode


def _json_object(text: str) -> Cells:
    """ValueError in words for a person."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        value = _said_plainly(text)
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object; one object a line is expected")  # noqa: TRY004  # see above
    return value


def _said_plainly(text: str) -> Any:
    """What the fast parser refused, read by the standard one: it is the better at saying why."""
    try:
        value = _decode(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("not usable: half a character (a lone surrogate)") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not usable: nested too deeply") from None
    return value


# Parquet


class _ParquetReader:
    """Parquet, a few thousand rows of a row group at a time."""

    def __init__(self, path: Path, config: FilesConfig) -> None:
        self.waiting = ""
        self._path = path
        self._wants_text = not config.columns.id
        self._at = 0
        self._crc = 0

    @property
    def place(self) -> Place:
        return Place(self._at, self._at, self._crc)

    def columns(self) -> Sequence[str] | None:
        with self._open() as file:
            return list(file.schema_arrow.names)

    def resumes(self, place: Place) -> bool:
        """A Parquet file is written once: the same footer is the same file."""
        with file_trouble(self._path):
            return self._footer() == place.crc

    def rows(self, start: Place, until: int | None = None) -> Iterator[Row]:
        with self._open() as file:
            self._crc = self._footer()
            groups, self._at = _groups_from(file.metadata, start.at)
            for cells in _cells(file, groups):
                self._at += 1
                if self._at <= start.at:
                    continue
                if until is not None and self._at > until:
                    return
                yield Row(self._at, json.dumps(cells) if self._wants_text else "", cells)

    def _footer(self) -> int:
        with self._path.open("rb") as file:
            file.seek(0, io.SEEK_END)
            file.seek(max(0, file.tell() - _BLOCK))
            return zlib.crc32(file.read())

    @contextmanager
    def _open(self) -> Iterator[Any]:
        import pyarrow as pa  # only whoever has Parquet files waits for it to load
        import pyarrow.parquet as pq

        with file_trouble(self._path):
            try:
                with pq.ParquetFile(self._path, pre_buffer=False, memory_map=False) as file:
                    yield file
            except pa.ArrowInvalid as error:
                message = f"not a whole Parquet file ({error}). Is it still being written?"
                raise TransientError(message, where=str(self._path)) from None


def _groups_from(metadata: Any, row: int) -> tuple[list[int], int]:
    """The row groups from the one on that holds `row`, and the number of rows before them."""
    before = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if before + rows > row:
            return list(range(group, metadata.num_row_groups)), before
        before += rows
    return [], before


def _cells(file: Any, groups: Sequence[int]) -> Iterator[Cells]:
    names = file.schema_arrow.names
    for batch in file.iter_batches(batch_size=_BATCH, row_groups=groups) if groups else ():
        columns = [_values(column) for column in batch.columns]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


def _values(column: Any) -> Sequence[Any]:
    """A column as plain JSON values."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # Python's datetime holds microseconds
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    values: list[Any] = column.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _AS_TEXT.get(type(value), str)(value)


_AS_TEXT: Final[Mapping[type, Callable[[Any], Any]]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
    Decimal: str,
    bytes: lambda value: value.decode("utf-8", errors="replace"),
}


# Which of several rows alike


class Occurrences:
    """Counts rows by what they say: 0 for the first of its kind in a file, 1 for the next one alike.

    Exact, and in bounded memory: the counts live in a temporary database that spills to disk.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;"
            "CREATE TABLE seen (digest INTEGER PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID; BEGIN"
        )

    def __enter__(self) -> Occurrences:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def number(self, digests: Sequence[bytes]) -> list[int]:
        """How many rows alike came before, for each."""
        keys = [int.from_bytes(digest[:8], "big", signed=True) for digest in digests]
        known = self._known(keys)
        numbers = []
        for key in keys:
            numbers.append(times := known.get(key, 0))
            known[key] = times + 1
        self._database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", sorted(known.items()))
        return numbers

    def _known(self, keys: Sequence[int]) -> dict[int, int]:
        found = self._database.execute(
            "SELECT digest, times FROM seen WHERE digest IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
        )
        return dict(found.fetchall())
