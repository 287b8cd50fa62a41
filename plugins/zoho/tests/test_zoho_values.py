"""Values on their way in and out, and fields as they are described. Rules: vendor sheet §9, §10."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import ContractError
from syncline.model import Field, Value
from syncline_zoho import ZohoSink
from syncline_zoho.payloads import FieldMeta, LayoutsPage
from syncline_zoho.values import Column, column_of, decode, encode, printed_datetime, shortened

ROME = timezone(timedelta(hours=2))


def column(type_: str, **more: Any) -> Column:
    return column_of(FieldMeta(api_name="F", data_type=type_, **more), frozenset())


@pytest.mark.parametrize(
    ("type_", "value", "wanted"),
    [
        ("text", "x", "x"),
        ("text", None, None),
        ("integer", 12, 12),
        ("double", Decimal("12.25"), 12.25),
        ("double", Decimal("12"), 12),
        ("double", Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        ("double", Decimal("NaN"), "NaN"),
        ("bigint", 123456789012345678, "123456789012345678"),
        ("boolean", False, False),
        ("date", date(2026, 5, 30), "2026-05-30"),
        ("datetime", datetime(2026, 5, 30, 14, 0, 5, 999_999, tzinfo=ROME), "2026-05-30T12:00:05+00:00"),
        ("multiselectpicklist", "a;b", ["a", "b"]),
        ("multiselectpicklist", "", []),
        ("multiselectpicklist", None, None),
        ("lookup", "5725767000000524001", {"id": "5725767000000524001"}),
        ("ownerlookup", "5725767000000411001", {"id": "5725767000000411001"}),
    ],
)
def test_values_go_out_as_zoho_takes_them(type_: str, value: Value, wanted: Any) -> None:
    assert encode(column(type_), value) == wanted


@pytest.mark.parametrize(
    ("type_", "raw", "wanted"),
    [
        ("integer", 12, 12),
        ("double", Decimal("12.50"), Decimal("12.50")),
        ("double", 12, Decimal(12)),
        ("bigint", "123456789012345678", 123456789012345678),
        ("currency", Decimal("1.5"), Decimal("1.5")),
        ("percent", 5, Decimal(5)),
        ("boolean", True, True),
        ("date", "2026-05-30", date(2026, 5, 30)),
        ("datetime", "2026-05-30T14:00:05+02:00", datetime(2026, 5, 30, 12, 0, 5, tzinfo=UTC)),
        ("picklist", "Contacted", "Contacted"),
        ("multiselectpicklist", ["a", "b"], "a;b"),
        ("multiselectpicklist", [], None),
        ("lookup", {"name": "Paola", "id": "57"}, "57"),
        ("lookup", {"id": "57"}, "57"),
        ("text", "x", "x"),
        ("text", [{"name": "Hot"}], '[{"name": "Hot"}]'),
        ("text", {"street": "via"}, '{"street": "via"}'),
        ("text", None, None),
    ],
)
def test_values_come_back_typed(type_: str, raw: Any, wanted: Value) -> None:
    decimals = {"decimal_place": 2} if type_ in ("double", "currency", "percent") else {}
    found = decode(column(type_, **decimals), raw)
    assert (found, type(found)) == (wanted, type(wanted))


@pytest.mark.parametrize("raw", [5, "x", True, None, Decimal("1.5"), ["a"], {"id": "1"}])
def test_a_value_of_a_field_nobody_described_is_no_obstacle(raw: Any) -> None:
    assert decode(None, raw) in (5, "x", True, None, Decimal("1.5"), "a", "1")


@pytest.mark.parametrize(
    ("type_", "raw"),
    [
        ("double", "#ERROR"),
        ("integer", ""),
        ("bigint", "*****"),
        ("datetime", "soon"),
        ("datetime", "2026-06-01T08:00:00"),
        ("date", "31/12/2026"),
    ],
)
def test_a_value_its_field_cannot_hold_is_its_text_and_ends_no_run(type_: str, raw: str) -> None:
    assert decode(column_of(FieldMeta(api_name="X", data_type=type_), frozenset()), raw) == raw


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ContractError, match="time zone"):
        printed_datetime(datetime(2026, 5, 30))  # noqa: DTZ001  # on purpose


def test_texts_are_cut_between_characters() -> None:
    assert shortened("ab\U0001f388c", 3) == "ab"
    assert shortened("ab\U0001f388c", 4) == "ab\U0001f388"


def test_leads_are_described_as_they_are(sink: ZohoSink) -> None:
    fields = {f.name: f for f in sink.describe("Leads")}
    assert fields["Syncline_Key"] == Field("Syncline_Key", "text", "Syncline Key", unique=True, max_length=64)
    assert fields["Last_Name"] == Field("Last_Name", "text", "Last Name", required=True, max_length=80)
    assert fields["Company"].required, "demanded by the layout, not by the system"
    assert fields["Lead_Score"] == Field("Lead_Score", "number", "Lead Score", scale=2)
    assert fields["Visits"].scale == 0
    assert (fields["Full_Name"].writable, fields["Full_Name"].required) == (False, False)
    assert fields["Owner"].kind == "reference"
    assert fields["Lead_Status"].kind == "option"
    assert fields["Lead_Status"].options[0] == "Attempted to Contact"
    assert "-None-" not in fields["Lead_Status"].options


def test_what_only_some_layouts_demand_is_not_demanded() -> None:
    def layout(*required: str, status: str = "active") -> dict[str, Any]:
        fields = [{"api_name": n, "required": n in required} for n in ("Company", "Phone")]
        return {"status": status, "sections": [{"fields": fields}]}

    used = [layout("Company", "Phone"), layout("Company"), layout(status="inactive")]
    assert LayoutsPage.model_validate({"layouts": used}).required == {"Company"}
    assert LayoutsPage.model_validate({}).required == frozenset()


@pytest.mark.parametrize(
    ("meta", "wanted"),
    [
        ({"data_type": "formula", "json_type": "double"}, "number"),
        ({"data_type": "formula", "json_type": "string"}, "text"),
        ({"data_type": "formula", "json_type": "boolean"}, "boolean"),
        ({"data_type": "autonumber"}, "text"),
        ({"data_type": "profileimage"}, "text"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_what_is_computed_has_the_kind_of_its_result(meta: dict[str, Any], wanted: str) -> None:
    assert column_of(FieldMeta(api_name="F", **meta), frozenset()).field.kind == wanted
