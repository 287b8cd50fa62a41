"""A bad row is quarantined with file, line and reason; it is never lost and never stops the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.errors import RecordError

HEADER = "when,email,page,seconds\n"
GOOD = "2026-05-01T10:00:00Z,a@x.example,blog,3\n"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("a,b\n", "2 columns instead of 4 (when, email, page, seconds)"),
        ("a,b,c,d,e\n", "5 columns instead of 4 (when, email, page, seconds)"),
        ("31/12/2024,a@x.example,blog,3\n", "column when: '31/12/2024' is not a time; expected iso8601"),
        (
            "2026-05-01T10:00:00,a@x.example,blog,3\n",
            "column when: '2026-05-01T10:00:00' is not a time "
            "(without a time zone; set `at.timezone`, such as Europe/Rome)",
        ),
        (",a@x.example,blog,3\n", "nothing says when it happened: column when is empty"),
        ("2026-05-01T10:00:00Z, ,blog,3\n", "nothing says who it was: columns email are empty"),
        ("2026-05-01T10:00:00Z,a@x.example,blog,3s\n", "column 'seconds': '3s' is not a number"),
        ("2026-05-01T10:00:00Z,a@x.example,blog,nan\n", "column 'seconds': 'nan' is not a number"),
        ('2026-05-01T10:00:00Z,a@x.example,"b"log,3\n', "not CSV: ',' expected after '\"'"),
        ("2026-05-01T10:00:00Z,a@x.example,bl\0og,3\n", "column 'page' holds a null character"),
    ],
    ids=["short", "long", "date", "naive", "no date", "nobody", "number", "nan", "quote", "null"],
)
def test_a_bad_csv_row_names_file_line_and_reason(connect: Any, bad: str, reason: str) -> None:
    Path("v.csv").write_text(HEADER + GOOD + bad + GOOD)
    events, reasons = connect("v.csv").sorted_out()
    assert reasons == [f"v.csv line 3: {reason}"]
    assert len(events) == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"when": ', "not JSON: Expecting value at column 9"),
        ("[1, 2]", "a JSON list, not an object; one object a line is expected"),
        ('{"when": NaN}', "NaN is not JSON"),
        ('{"email": "\\ud800"}', "not usable: half a character (a lone surrogate)"),
        ("[" * 100_000, "not usable: nested too deeply"),
        ('{"when": "2026-05-01T10:00:00Z", "email": {"a": 1}}', "column 'email' holds {'a': 1}, not a text"),
    ],
    ids=["cut", "list", "NaN", "surrogate", "deep", "object"],
)
def test_a_bad_json_line_names_file_line_and_reason(connect: Any, bad: str, reason: str) -> None:
    good = json.dumps({"when": "2026-05-01T10:00:00Z", "email": "a@x.example"})
    Path("v.jsonl").write_text(f"{good}\n{bad}\n{good}\n")
    events, reasons = connect("v.jsonl").sorted_out()
    assert reasons == [f"v.jsonl line 2: {reason}"]
    assert len(events) == 2


def test_bytes_of_another_encoding_are_one_bad_row(connect: Any) -> None:
    Path("v.csv").write_bytes(
        HEADER.encode() + "2026-05-01T10:00:00Z,a@x.example,caffè,3\n".encode("cp1252") + GOOD.encode()
    )
    events, reasons = connect("v.csv").sorted_out()
    assert reasons == ["v.csv line 2: byte 38 is not utf-8; see `encoding`"]
    assert len(events) == 1


def test_a_stray_quote_costs_its_line_and_no_other(connect: Any) -> None:
    """The quote would swallow the rest of the file."""
    bad = '2026-05-01T10:00:00Z,a@x.example,"blog,3\n'
    Path("v.csv").write_text(HEADER + GOOD + bad + GOOD * 5)
    events, reasons = connect("v.csv", growing=False).sorted_out()
    assert reasons == ["v.csv line 3: not CSV: unexpected end of data"]
    assert len(events) == 6


def test_a_row_without_its_id_is_bad(connect: Any) -> None:
    columns = {"type": "page_visit", "at": "when", "identifiers": {"email": "email"}, "id": ["page"]}
    Path("v.csv").write_text(HEADER + GOOD + GOOD.replace("blog", ""))
    events, reasons = connect("v.csv", columns=columns).sorted_out()
    assert reasons == ["v.csv line 3: column 'page', part of the id, is empty"]
    assert len(events) == 1


def test_what_a_bad_row_said_is_kept(connect: Any) -> None:
    Path("v.csv").write_text(HEADER + "oops;oops\n")
    (record,) = connect("v.csv").records()
    assert record.payload["text"] == "oops;oops"
    assert record.key == "v.csv:2"


CELLS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)
LINES = st.one_of(
    st.just(GOOD.strip()),
    st.lists(CELLS, min_size=1, max_size=6).map(",".join),
    st.text("\"',; \tab", max_size=10),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=12))
def test_every_line_is_good_or_bad_and_none_is_lost(connect: Any, lines: list[str]) -> None:
    Path("v.csv").write_bytes((HEADER + "".join(line + "\n" for line in lines)).encode())
    connection = connect("v.csv", growing=False)
    records = connection.records()
    covered: list[int] = []
    for record in records:
        cells = record.payload.get("row", {}).values()
        covered += range(record.payload["line"], record.payload["line"] + 1 + sum(c.count("\n") for c in cells))
    filled = [number for number, line in enumerate(lines, 2) if line]
    assert set(filled) <= set(covered)
    assert len(covered) == len(set(covered))
    good, reasons = 0, []
    for record in records:
        try:
            good += len(list(connection.source.normalize(record)))
        except RecordError as error:
            reasons.append((str(error), f"v.csv line {record.payload['line']}: "))
    assert good + len(reasons) == len(records)
    assert all(reason.startswith(place) for reason, place in reasons)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.one_of(st.binary(max_size=12).filter(lambda b: b"\n" not in b), st.just(b'{"a": 1}')), max_size=10
    )
)
def test_every_json_line_is_a_record(connect: Any, lines: list[bytes]) -> None:
    Path("v.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    records = connect("v.jsonl").records()
    if lines:
        lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")  # the mark of UTF-8 is no part of the text
    said = [number for number, line in enumerate(lines, 1) if line.decode(errors="replace").strip()]
    assert [record.payload["line"] for record in records] == said
