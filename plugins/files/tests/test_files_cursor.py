"""A file that grew is read on, another one from its start, an unchanged one not at all; nothing is read as complete
that is not."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.errors import ConnectorError, CursorExpiredError, TransientError

HEADER = "when,email,page,seconds\n"


def _line(number: int) -> str:
    return f"2026-05-01T10:{number // 60:02d}:{number % 60:02d}Z,p{number}@x.example,blog,{number}\n"


def _json_line(number: int) -> str:
    row = {
        "when": f"2026-05-01T10:00:{number:02d}Z",
        "email": f"p{number}@x.example",
        "page": "blog",
        "seconds": number,
    }
    return json.dumps(row) + "\n"


def _numbers(records: Sequence[Any]) -> list[int]:
    return [int(record.payload["row"]["seconds"]) for record in records]


def _touch(path: Path, moment: int) -> None:
    """Modification times tell files apart; a test does not wait for the clock."""
    os.utime(path, ns=(moment, moment))


def test_an_unchanged_file_is_not_even_opened(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("v.csv").write_text(HEADER + _line(1))
    connection = connect("v.csv")
    assert _numbers(connection.records()) == [1]

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("opened")

    monkeypatch.setattr(Path, "open", refuse)
    assert connection.pages() == []


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("by_id", [False, True], ids=["by content", "by id"])
def test_a_file_that_grew_is_read_on(connect: Any, compressed: bool, by_id: bool) -> None:
    name = "v.csv.gz" if compressed else "v.csv"
    pack = gzip.compress if compressed else bytes
    columns = {"type": "page_visit", "at": "when", "identifiers": {"email": "email"}, "id": ["email"] if by_id else []}
    with Path(name).open("ab") as file:
        file.write(pack((HEADER + _line(1) + _line(2) + _line(1)).encode()))
    connection = connect(name, columns=columns)
    first = connection.records()
    with Path(name).open("ab") as file:
        file.write(pack((_line(1) + _line(3)).encode()))
    _touch(Path(name), 1)
    second = connection.records()
    assert (_numbers(first), _numbers(second)) == ([1, 2, 1], [1, 3])
    assert [record.payload["line"] for record in second] == [5, 6]
    whole = connect(name, columns=columns).records()
    assert [r.key for r in whole] == [r.key for r in first + second]


def test_a_replaced_file_is_read_from_its_start_and_known_rows_keep_their_ids(connect: Any) -> None:
    path = Path("v.csv")
    path.write_text(HEADER + _line(1) + _line(2))
    connection = connect("v.csv")
    before = {event.id for event in connection.events()}
    path.write_text(HEADER + _line(0) + _line(1) + _line(2))
    _touch(path, 1)
    after = {event.id for event in connection.events()}
    assert len(after - before) == 1
    assert before < after


def test_a_shortened_file_is_read_from_its_start(connect: Any) -> None:
    path = Path("v.csv")
    path.write_text(HEADER + _line(1) + _line(2))
    connection = connect("v.csv")
    connection.records()
    path.write_text(HEADER + _line(3))
    _touch(path, 1)
    assert _numbers(connection.records()) == [3]


def test_a_corrected_line_is_read(connect: Any) -> None:
    """The line that was quarantined is put right in its place; the rest of the file is the same."""
    path = Path("v.csv")
    path.write_text(HEADER + _line(1) + "oops\n" + _line(2))
    connection = connect("v.csv")
    events, reasons = connection.sorted_out()
    assert len(events) == 2
    assert reasons == ["v.csv line 3: 1 columns instead of 4 (when, email, page, seconds)"]
    path.write_text(HEADER + _line(1) + _line(7) + _line(2))
    _touch(path, 1)
    again, reasons = connection.sorted_out()
    assert not reasons
    assert len({e.id for e in again} - {e.id for e in events}) == 1


def test_a_touched_file_brings_nothing(connect: Any) -> None:
    Path("v.csv").write_text(HEADER + _line(1))
    connection = connect("v.csv")
    connection.records()
    _touch(Path("v.csv"), 1)
    assert connection.records() == []


def test_a_new_file_is_read_and_a_moved_one_is_forgotten(connect: Any) -> None:
    Path("a.csv").write_text(HEADER + _line(1))
    connection = connect("?.csv")
    connection.records()
    Path("b.csv").write_text(HEADER + _line(2))
    Path("a.csv").unlink()
    assert _numbers(connection.records()) == [2]
    assert list(json.loads(connection.cursor)["files"]) == ["b.csv"]
    Path("b.csv").unlink()
    assert connection.pages() == []  # all were moved away: that is no error, and nothing new


def test_a_folder_that_vanished_is_an_error(connect: Any) -> None:
    """A share that is not mounted looks empty; it is not."""
    Path("share").mkdir()
    Path("share/a.csv").write_text(HEADER + _line(1))
    connection = connect("share/*.csv")
    connection.records()
    Path("share").rename("elsewhere")
    with pytest.raises(TransientError, match=r"the folder of 'share/\*\.csv' is gone"):
        connection.pages()


def test_a_half_written_line_waits(connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = Path("v.csv")
    path.write_text(HEADER + _line(1) + _line(22).removesuffix("2\n"))
    connection = connect("v.csv")
    assert _numbers(connection.records()) == [1]
    assert "line 3: the last line has no end; it waits for the next read" in caplog.text
    path.write_text(HEADER + _line(1) + _line(22))
    _touch(path, 1)
    assert _numbers(connection.records()) == [22]


def test_the_last_line_of_a_finished_file_needs_no_end(connect: Any) -> None:
    Path("v.csv").write_text(HEADER + _line(1) + _line(2).strip())
    patient = connect("v.csv")
    assert _numbers(patient.records()) == [1]
    hasty = connect("v.csv", growing=False)
    hasty.cursor = patient.cursor  # the setting was changed: what waited is taken
    assert _numbers(hasty.records()) == [2]
    assert hasty.pages() == []


def test_a_whole_json_object_needs_no_line_end(connect: Any) -> None:
    path = Path("v.jsonl")
    path.write_text(_json_line(1) + _json_line(2).strip())
    connection = connect("v.jsonl")
    assert _numbers(connection.records()) == [1, 2]
    path.write_text(_json_line(1) + _json_line(2) + _json_line(3)[:20])
    _touch(path, 1)
    assert connection.records() == []
    path.write_text(_json_line(1) + _json_line(2) + _json_line(3))
    _touch(path, 2)
    records = connection.records()
    assert _numbers(records) == [3]
    assert records[0].payload["line"] == 3


def test_an_open_quote_at_the_end_waits(connect: Any) -> None:
    path = Path("v.csv")
    path.write_text(HEADER + _line(1) + '2026-05-01T10:00:02Z,b@x.example,"two\n')
    connection = connect("v.csv")
    assert _numbers(connection.records()) == [1]
    with path.open("a") as file:
        file.write('lines",2\n' + _line(3))
    _touch(path, 1)
    assert _numbers(connection.records()) == [2, 3]


@pytest.mark.parametrize("cut", [5, 40, 400])
def test_compressed_data_that_ends_early_is_an_error_after_the_good_rows(connect: Any, cut: int) -> None:
    lines = [_line(n) for n in range(3000)]
    whole = gzip.compress((HEADER + "".join(lines)).encode())
    path = Path("v.csv.gz")
    path.write_bytes(whole[:-cut])
    connection = connect("v.csv.gz", page_rows=100)
    read, error = connection.records_and_error()
    assert isinstance(error, TransientError)
    assert "v.csv.gz: the compressed data ends early" in str(error)
    assert _numbers(read) == list(range(len(read)))
    path.write_bytes(whole)
    rest = connection.records()
    assert sorted({*_numbers(read), *_numbers(rest)}) == list(range(3000))


def test_damaged_compressed_data_is_an_error(connect: Any) -> None:
    whole = bytearray(gzip.compress((HEADER + "".join(_line(n) for n in range(500))).encode()))
    whole[len(whole) // 2] ^= 255
    Path("v.csv.gz").write_bytes(bytes(whole))
    with pytest.raises(TransientError, match="is damaged"):
        connect("v.csv.gz").records()


def test_half_a_parquet_file_is_an_error_and_does_not_stop_the_others(connect: Any) -> None:
    rows = [{"when": "2026-05-01T10:00:00Z", "email": "a@x.example", "page": "x", "seconds": n} for n in range(9)]
    pq.write_table(pa.Table.from_pylist(rows), "b.parquet")
    Path("a.parquet").write_bytes(Path("b.parquet").read_bytes()[:-20])
    read, error = connect("?.parquet").records_and_error()
    assert isinstance(error, TransientError)
    assert "a.parquet: not a whole Parquet file" in str(error)
    assert len(read) == 9


def test_a_file_that_cannot_be_opened_is_named(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("v.csv").write_text(HEADER + _line(1))

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConnectorError, match=r"v\.csv: cannot be read: Permission denied"):
        connect("v.csv").source.check()


@pytest.mark.parametrize("cursor", ["x", "[]", '{"version": 9, "files": {}}', '{"version": 1, "files": {"a": 1}}'])
def test_a_cursor_that_is_not_ours_asks_for_a_backfill(connect: Any, cursor: str) -> None:
    Path("v.csv").write_text(HEADER + _line(1))
    with pytest.raises(CursorExpiredError):
        list(connect("v.csv").source.read("rows", cursor))


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet"])
@pytest.mark.parametrize("page_rows", [1, 2, 3, 7])
def test_resuming_at_any_page_equals_one_read(connect: Any, kind: str, page_rows: int) -> None:
    numbers = [1, 2, 1, 3, 1, 2, 4, 5, 1]
    for name, part in (("a", numbers[:4]), ("b", numbers[4:])):
        path = Path(f"{name}.{kind}")
        if kind == "parquet":
            rows = [json.loads(_json_line(n)) for n in part]
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
        elif kind == "jsonl":
            path.write_text("".join(map(_json_line, part)))
        else:
            text = (HEADER + "".join(map(_line, part))).encode()
            path.write_bytes(gzip.compress(text) if kind == "csv.gz" else text)
    connection = connect(f"?.{kind}", page_rows=page_rows)
    whole = list(connection.source.read("rows", None))
    expected = [record for page in whole for record in page.records]
    assert [int(record.payload["row"]["seconds"]) for record in expected] == numbers
    done: list[Any] = []
    for page in whole:
        done += page.records
        rest = [r for again in connection.source.read("rows", page.cursor) for r in again.records]
        assert done + rest == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 400), max_size=6), jsonl=st.booleans())
def test_a_file_written_in_any_pieces_is_read_once_and_whole(connect: Any, cuts: list[int], jsonl: bool) -> None:
    text = "".join(_json_line(n) for n in range(6)) if jsonl else HEADER + "".join(_line(n) for n in range(6))
    path = Path("v.jsonl" if jsonl else "v.csv")
    connection = connect(path.name, page_rows=2)
    read: list[Any] = []
    for moment, cut in enumerate([*sorted(cuts), len(text)]):
        path.write_text(text[:cut])
        _touch(path, moment)
        read += connection.records()
    assert _numbers(read) == list(range(6))
    assert [record.payload["line"] for record in read] == [n + (1 if jsonl else 2) for n in range(6)]
