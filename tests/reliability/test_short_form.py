"""Every promise of the suite in its small size: what `make reliability` checks at full size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reliability.lines import Promise, sinks_of
from reliability.stores import postgres_trouble
from reliability.suite import promises

OPEN = {"R5": "one write call comes in the third cycle, not the second: `make reliability ONLY=R5` shows it"}
"""What does not hold yet, and how it fails."""
LINES = [(promise, sink) for promise in promises() for sink in sinks_of(promise)]
CASES = [
    pytest.param(
        promise,
        sink,
        id=f"{promise.NAME}-{sink}",
        marks=[pytest.mark.xfail(reason=OPEN[promise.NAME], strict=False)] if promise.NAME in OPEN else [],
    )
    for promise, sink in LINES
]
ON_A_SERVER = {"R1": "hubspot", "R3": "zoho", "R4": "salesforce"}
"""Where the store matters most; at full size every line is checked on both."""


@pytest.mark.parametrize(("promise", "sink"), CASES)
def test_a_promise_holds(hold: Callable[..., Any], promise: Promise, sink: str) -> None:
    hold(promise, sink)


@pytest.mark.parametrize("name", ON_A_SERVER)
def test_a_promise_holds_on_postgresql(hold: Callable[..., Any], name: str) -> None:
    trouble = postgres_trouble()
    if trouble is not None:
        pytest.skip(f"PostgreSQL: {trouble}")
    by_name = {promise.NAME: promise for promise in promises()}
    hold(by_name[name], ON_A_SERVER[name], "postgresql")
