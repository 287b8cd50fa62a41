"""Values survive the way out and back: SOQL literals, JSON, CSV cells, error cells."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.model import Field, Write
from syncline_salesforce.bulk import render
from syncline_salesforce.errors import problem_of_cell
from syncline_salesforce.simulator import soql
from syncline_salesforce.simulator.schema import OBJECTS
from syncline_salesforce.values import cell, decode, parse_datetime, printed, quoted, soql_datetime

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r'\"\\,"), max_size=40)
NUMBERS = st.decimals(min_value=-(10**9), max_value=10**9, places=4)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001  # naive bounds
    lambda m: m.replace(microsecond=m.microsecond // 1000 * 1000)
)


@given(TEXT.filter(bool))
def test_any_text_is_found_by_its_own_literal(text: str) -> None:
    query = f"SELECT Id FROM Lead WHERE LastName = {quoted(text)}"  # noqa: S608
    found = soql.select(soql.parse(query, OBJECTS.get), [{"LastName": text}, {"LastName": text + "x"}])
    assert found == [{"LastName": text}]


@given(NUMBERS)
def test_decimals_are_exact_in_json(number: Decimal) -> None:
    assert Decimal(str(json.loads(json.dumps(printed(number))))) == number


def test_a_decimal_no_double_can_hold_goes_as_text() -> None:
    assert printed(Decimal("0.1234567890123456789")) == "0.1234567890123456789"


@given(MOMENTS)
def test_moments_come_back_to_the_millisecond(moment: datetime) -> None:
    assert parse_datetime(soql_datetime(moment)) == moment
    assert parse_datetime(soql.printed_datetime(moment)) == moment


@pytest.mark.parametrize(
    ("scale", "raw", "expected"),
    [
        (0, 5.0, 5),
        (0, 5, 5),
        (2, 5.0, Decimal("5.0")),
        (2, 5.25, Decimal("5.25")),
        (0, 1e17, 10**17),
        (0, 5.5, Decimal("5.5")),
    ],
)
def test_numbers_are_whole_where_the_field_is(scale: int, raw: float, expected: object) -> None:
    value = decode(Field("N", "number", scale=scale), raw)
    assert value == expected
    assert type(value) is type(expected)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("ABC"), TEXT | st.none() | st.booleans(), max_size=3), min_size=1, max_size=5
    )
)
def test_csv_cells_come_back(fields: list[dict[str, str | bool | None]]) -> None:
    writes = [Write(str(n), ("Key__c", f"k{n}"), f) for n, f in enumerate(fields)]
    rows = list(csv.DictReader(io.StringIO(render(writes), newline="")))
    for write, row in zip(writes, rows, strict=True):
        assert row.pop("Key__c") == write.match[1]
        assert row == {n: cell(write.fields[n]) if n in write.fields else "" for n in row}


@pytest.mark.parametrize(
    ("text", "code", "message", "fields"),
    [
        (
            "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 200 records: 001A,001B:--",
            "UNABLE_TO_LOCK_ROW",
            "unable to obtain exclusive access to this record or 200 records: 001A,001B",
            (),
        ),
        (
            "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--",
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            (),
        ),
        (
            "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --",
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [LastName]",
            ("LastName",),
        ),
        ("SOMETHING_NEW", "SOMETHING_NEW", "", ()),
    ],
    ids=["lock", "no fields", "a field", "only a code"],
)
def test_error_cells_of_the_vendor_sheet(text: str, code: str, message: str, fields: tuple[str, ...]) -> None:
    """The examples of §6.4."""
    problem = problem_of_cell(text)
    assert (problem.code, problem.message, problem.fields) == (code, message, fields)
