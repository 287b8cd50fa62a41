"""What a run says of itself."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from syncline.model import Limits
from syncline.sync.report import Report, SinkReport, calls_for, credits_for, plan_batches

LIMITS = Limits(upsert_batch=200, task_batch=100, member_batch=50, bulk_from=2000, bulk_batch=10_000, bulk_calls=4)
UPSERT = ("upsert", "Lead", "Id")


@pytest.mark.parametrize(
    ("rows", "calls"),
    [(0, 0), (1, 1), (200, 1), (201, 2), (1999, 10), (2000, 4), (10_000, 4), (10_001, 5), (10_600, 7), (10_601, 8)],
)
def test_calls_are_the_fewest_the_vendor_allows(rows: int, calls: int) -> None:
    assert calls_for(+Counter({UPSERT: rows}), LIMITS) == calls


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (0, []),
        (201, [200, 1]),
        (2000, [2000]),
        (10_201, [10_000, 200, 1]),
        (10_601, [10_000, 601]),
        (20_000, [10_000, 10_000]),
    ],
)
def test_the_last_few_rows_of_a_bulk_write_are_ordinary_calls(rows: int, sizes: list[int]) -> None:
    assert plan_batches("upsert", rows, LIMITS) == sizes
    assert sum(sizes) == rows


def test_only_records_go_in_bulk() -> None:
    assert plan_batches("task", 2050, LIMITS) == [100] * 20 + [50]
    assert plan_batches("add", 120, LIMITS) == plan_batches("remove", 120, LIMITS) == [50, 50, 20]


def test_creates_updates_objects_and_segments_are_calls_of_their_own() -> None:
    rows = Counter(
        {
            ("upsert", "Lead", "Id"): 1,
            ("upsert", "Lead", "Key"): 1,
            ("upsert", "Contact", "Id"): 1,
            ("task", "", ""): 101,
            ("add", "Hot", ""): 1,
            ("remove", "Hot", ""): 51,
            ("add", "Cold", ""): 1,
        }
    )
    assert calls_for(rows, LIMITS) == 3 + 2 + 1 + 2 + 1


def test_without_a_bulk_interface_batches_go_on() -> None:
    assert calls_for(Counter({UPSERT: 50_000}), Limits(200, 200, 200)) == 250


def test_credits_are_counted_by_started_rows_where_the_vendor_counts_them() -> None:
    limits = Limits(
        100,
        100,
        100,
        bulk_from=5000,
        bulk_batch=25_000,
        bulk_calls=2,
        credit_rows={"upsert": 10, "task": 10, "member": 50, "bulk": 500},
    )
    rows = Counter({UPSERT: 101, ("task", "", ""): 9, ("add", "Hot", ""): 51, ("remove", "Hot", ""): 1})
    assert credits_for(rows, limits) == (10 + 1) + 1 + 2 + 1
    assert credits_for(Counter({UPSERT: 5000}), limits) == 500
    assert credits_for(rows, LIMITS) is None


@pytest.mark.parametrize(
    ("status", "code"),
    [("planned", 0), ("done", 0), ("rejected", 1), ("misconfigured", 2), ("stopped", 3), ("paused", 4)],
)
def test_a_schedule_learns_the_status_from_the_exit_code(status: str, code: int) -> None:
    assert Report.model_validate({"status": status}).exit_code == code


def test_the_json_has_the_promised_keys() -> None:
    report = Report(run_id="r", sinks={"crm": SinkReport()}).model_dump(mode="json")
    assert {"run_id", "status", "sources", "people", "events", "scores", "sinks"} <= set(report)
    calls = "planned_calls calls write_calls least_write_calls"
    promised = f"{calls} created updated unchanged rejected retry waiting tasks members"
    assert set(promised.split()) <= set(report["sinks"]["crm"])


def test_a_misspelt_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        SinkReport.model_validate({"creatd": 1})
