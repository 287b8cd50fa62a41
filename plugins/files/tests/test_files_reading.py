"""Every format says the same, compressed or not, and no file is ever held in memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncline.errors import ConfigError, SchemaDriftError

ROWS = [
    {"when": f"2026-05-01T10:00:{n:02d}Z", "email": f"p{n}@x.example", "page": 'pricing, "new"', "seconds": 7 * n}
    for n in range(25)
]


def _csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    def cell(value: Any) -> str:
        return '"' + str(value).replace('"', '""') + '"'

    lines = [delimiter.join(rows[0]), *(delimiter.join(map(cell, row.values())) for row in rows)]
    return "".join(line + "\r\n" for line in lines)


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write(name: str, rows: list[dict[str, Any]]) -> None:
    path = Path(name)
    if ".parquet" in name:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
        return
    text = _jsonl(rows) if ".jsonl" in name else _csv(rows, "\t" if ".tsv" in name else ",")
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


@pytest.mark.parametrize("name", ["v.csv", "v.csv.gz", "v.tsv", "v.jsonl", "v.jsonl.gz", "v.parquet"])
def test_every_format_brings_the_same_events(connect: Any, name: str) -> None:
    _write(name, ROWS)
    events = connect(name, page_rows=4).events()
    assert [e.occurred_at for e in events] == [datetime(2026, 5, 1, 10, 0, n, tzinfo=UTC) for n in range(25)]
    assert [e.identifiers[0].value for e in events] == [row["email"] for row in ROWS]
    assert [e.properties["duration_s"] for e in events] == [7 * n for n in range(25)]
    assert {e.properties["page_type"] for e in events} == {'pricing, "new"'}
    assert len({e.id for e in events}) == 25


def test_an_id_does_not_depend_on_the_file_or_on_its_compression(connect: Any) -> None:
    _write("a.csv", ROWS)
    _write("b.csv.gz", ROWS[5:])
    first = connect("a.csv").events()
    assert [e.id for e in connect("b.csv.gz").events()] == [e.id for e in first[5:]]


def test_rows_alike_are_events_of_their_own_wherever_they_stand(connect: Any) -> None:
    """A shop's export by day: the same customer buys the same thing twice on one day."""
    twice = [ROWS[0], ROWS[1], ROWS[0], ROWS[2], ROWS[0]]
    _write("v.csv", twice)
    whole = connect("v.csv").events()
    assert len({e.id for e in whole}) == 5
    assert [e.id for e in connect("v.csv", page_rows=1).events()] == [e.id for e in whole]


def test_rows_are_named_by_the_columns_of_the_id(connect: Any) -> None:
    columns = {"type": "page_visit", "at": "when", "identifiers": {"email": "email"}, "id": ["email", "page"]}
    _write("v.csv", [ROWS[0], {**ROWS[0], "seconds": 99}, ROWS[1]])
    first, corrected, other = connect("v.csv", columns=columns).records()
    assert first.key == corrected.key == 'p0@x.example|pricing, "new"'
    assert other.key != first.key


def test_columns_without_a_header_and_between_spaces(connect: Any) -> None:
    Path("log.txt").write_text(
        " 2026-05-01T10:00:00Z  a@x.example   12\r\n\r\n 2026-05-02T10:00:00Z b@x.example 13\r\n"
    )
    columns = {
        "type": "page_visit",
        "at": "when",
        "identifiers": {"email": "email"},
        "properties": {"duration_s": "seconds"},
    }
    events = connect("log.txt", delimiter="whitespace", header=["when", "email", "seconds"], columns=columns).events()
    assert [(e.identifiers[0].value, e.properties["duration_s"]) for e in events] == [
        ("a@x.example", 12),
        ("b@x.example", 13),
    ]


def test_an_italian_spreadsheet_is_read(connect: Any) -> None:
    """Semicolons, decimal commas, Windows characters, a mark at the beginning."""
    columns = {
        "type": "custom",
        "at": {"join": ["data", "ora"], "format": "%d/%m/%Y %H:%M", "timezone": "Europe/Rome"},
        "identifiers": {"email": "email"},
        "properties": {"name": {"value": "ordine"}, "importo": {"column": "importo", "as": "number"}, "città": "città"},
    }
    text = "data;ora;email;importo;città\n27/05/2024;10:15;a@x.example;1.234,50;Forlì\n"
    for encoding in ("cp1252", "utf-8-sig"):
        Path("ordini.csv").write_bytes(text.encode(encoding))
        (event,) = connect(
            "ordini.csv", delimiter=";", decimal=",", encoding=encoding.removesuffix("-sig"), columns=columns
        ).events()
        assert event.occurred_at == datetime(2024, 5, 27, 8, 15, tzinfo=UTC)
        assert event.properties == {"name": "ordine", "importo": 1234.5, "città": "Forlì"}


def test_a_quoted_cell_may_span_lines(connect: Any) -> None:
    Path("v.csv").write_text('when,email,page,seconds\n2026-05-01T10:00:00Z,a@x.example,"two\nlines",3\n'
                             "2026-05-01T10:00:01Z,b@x.example,x,bad\n")  # fmt: skip
    events, reasons = connect("v.csv").sorted_out()
    assert events[0].properties["page_type"] == "two\nlines"
    assert reasons == ["v.csv line 4: column 'seconds': 'bad' is not a number"]


def test_parquet_values_become_plain_json(connect: Any) -> None:
    table = pa.table(
        {
            "when": pa.array([datetime(2026, 5, 1, 12, tzinfo=UTC)] * 2, pa.timestamp("ns", "UTC")),
            "day": [date(2026, 5, 1), None],
            "email": ["a@x.example", "b@x.example"],
            "seconds": [float("nan"), 2.5],
            "price": [Decimal("1.10"), None],
            "tags": [["a"], []],
            "raw": [b"x", None],
        }
    )
    pq.write_table(table, "v.parquet")
    columns = {
        "type": "custom",
        "at": "when",
        "identifiers": {"email": "email"},
        "properties": {"name": {"value": "x"}, "price": {"column": "price", "as": "number"}, "seconds": "seconds"},
    }
    connection = connect("v.parquet", columns=columns)
    records = connection.records()
    assert records[0].payload["row"] == json.loads(json.dumps(records[0].payload["row"], allow_nan=False))
    first, second = [event for record in records for event in connection.source.normalize(record)]
    assert (first.occurred_at, first.properties) == (datetime(2026, 5, 1, 12, tzinfo=UTC), {"name": "x", "price": 1.1})
    assert second.properties == {"name": "x", "seconds": 2.5}


def test_files_are_read_in_the_order_of_their_names_and_pages_are_filled_across_them(connect: Any) -> None:
    for number in range(10):
        _write(f"v-{number}.csv", ROWS[number : number + 1])
    pages = connect("v-*.csv", page_rows=4).pages()
    assert [len(page.records) for page in pages] == [4, 4, 2]
    assert [r.payload["file"] for page in pages for r in page.records] == [f"v-{n}.csv" for n in range(10)]


def test_a_page_is_handed_over_before_the_next_one_is_read(connect: Any) -> None:
    """The second line is not JSON any more when its turn comes: had it been read ahead, it would still be good."""
    path = Path("v.jsonl")
    filler = "x" * 5_000_000  # far more than any buffer
    path.write_text(_jsonl(ROWS[:1]) + json.dumps({**ROWS[1], "filler": filler}) + "\n" + _jsonl(ROWS[2:3]))
    connection = connect("v.jsonl", page_rows=1)
    pages = connection.source.read("rows", None)
    assert len(next(pages).records) == 1
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 5)
        file.write(b"####")
    assert [record.payload.get("problem") is None for page in pages for record in page.records] == [True, False]


@pytest.mark.parametrize("name", ["v.csv", "v.jsonl.gz", "v.parquet"])
def test_memory_does_not_grow_with_the_file(connect: Any, name: str) -> None:
    peaks = []
    for size in (4_000, 16_000):
        _write(name, [{**ROWS[0], "seconds": n} for n in range(size)])
        connection = connect(name, page_rows=500)
        tracemalloc.start()
        total = sum(len(page.records) for page in connection.source.read("rows", None))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert total == size
    assert peaks[1] < peaks[0] * 1.5 + 200_000


def test_check_says_what_was_found(connect: Any) -> None:
    _write("v.csv", ROWS)
    account = connect("*.csv").source.check()
    assert account.name == "1 file"
    assert account.details["v.csv"].endswith("bytes, csv, columns when, email, page, seconds")


def test_check_lists_the_folder_when_nothing_matches(connect: Any) -> None:
    Path("exports").mkdir()
    _write("exports/orders-2024.csv", ROWS)
    with pytest.raises(ConfigError, match=r"no file matches 'exports/visits-\*.csv'.*orders-2024.csv"):
        connect("exports/visits-*.csv").source.check()
    with pytest.raises(ConfigError, match=r"there is: orders-2024.csv"):
        list(connect("exports/visits.csv").source.read("rows", None))


def test_a_suffix_nobody_knows_is_a_configuration_error(connect: Any) -> None:
    Path("v.xlsx").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"\.xlsx.*known: \.csv.*set `format`"):
        connect("v.xlsx").source.check()


def test_a_renamed_column_is_drift_and_not_a_thousand_bad_rows(connect: Any) -> None:
    _write("a.csv", ROWS)
    _write("b.csv", [{("e_mail" if k == "email" else k): v for k, v in row.items()} for row in ROWS])
    connection = connect("?.csv")
    with pytest.raises(SchemaDriftError, match=r"b.csv has no column 'email'; did you mean 'e_mail'") as caught:
        connection.source.check()
    assert caught.value.field == "email"
    read, error = connection.records_and_error()
    assert isinstance(error, SchemaDriftError)
    assert len(read) == 25  # a.csv was read all the same
