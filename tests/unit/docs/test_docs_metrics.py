"""The pages know every metric with its type and labels, every kind of alert, every key; and make none up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from syncline.cli import logs
from syncline.config import ALERT_KINDS, Config
from syncline.host import recount, status
from syncline.model import microseconds
from syncline.server.metrics import ServerMetrics, StoreCollector
from syncline.store import alerts, schema, totals
from syncline.store.batches import upsert
from syncline.store.database import Database
from syncline.testing.population import simulated_now

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
OPERATING = (ROOT / "docs" / "operating.md").read_text("utf-8")
JSON = (ROOT / "docs" / "json.md").read_text("utf-8")
NOT_OURS = {"le"}
"""Labels that a histogram has by itself."""


def rows(text: str) -> dict[str, list[str]]:
    """First cell without its backticks → all cells."""
    lines = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].strip().replace("`", ""): [cell.strip() for cell in cells] for cells in lines}


def section(text: str, heading: str) -> str:
    return text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


@pytest.fixture
def families(tmp_path: Path) -> dict[str, Metric]:
    """Every metric there can be, each with a sample."""
    now = simulated_now()
    config = Config.model_validate(
        {"version": 1, "connections": {"crm": {"plugin": "x", "budget": {"calls_per_day": 1}}}, "syncs": [_sync()]}
    )
    database = Database(f"sqlite:///{tmp_path}/state.db")
    with database.write() as connection:
        made = totals.Totals()
        for key in (("runs", "done"), ("records", "crm", "stored"), ("writes", "crm", "add", "created"),
                    ("calls", "crm", "read", "200"), ("retries", "crm"), ("waited_seconds", "crm")):  # fmt: skip
            made.count(key)
        made.note(("sync", "leads"), 1)
        made.note(("connection", "crm"), 1)
        totals.add(connection, made)
        alerts.put(connection, [alerts.Known(alerts.Trouble("guard", "crm"), 1, 1, 1, None)])
        day = microseconds(now) // 86_400_000_000
        used = {"connection": "crm", "day": day, "calls": 1, "write_calls": 1, "credits": 1}
        upsert(connection, schema.usage, [used])
        upsert(connection, schema.lease, [{"name": "run", "owner": "a:1:2", "expires_us": 1}])
        paused = {"connection": "crm", "kind": "asked", "reason": "", "since_us": 1, "until_us": None}
        upsert(connection, schema.pause, [paused])
    served = ServerMetrics(StoreCollector(database, config, lambda: now), ["crm"])
    served.arrives("crm")(200)
    found = {_full_name(family): family for family in text_string_to_metric_families(served.text().decode())}
    database.close()
    return found


def _sync() -> dict[str, Any]:
    fields = {"Score": {"from": "person.email", "owner": "ours"}}
    return {"name": "leads", "to": "crm", "object": "Lead", "match": "Key", "fields": fields}


def _full_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_metric_is_documented_and_none_is_made_up(families: dict[str, Metric]) -> None:
    documented = {name: cells for name, cells in rows(section(PAGE, "## Metrics")).items() if name != "metric"}
    documented.pop("---", None)
    assert set(documented) == set(families)
    for name, family in families.items():
        _, kind, labels, source, says = documented[name]
        there = {label for sample in family.samples for label in sample.labels} - NOT_OURS
        assert family.samples, f"{name} has no sample, so its labels cannot be seen"
        assert (kind, set(re.findall(r"\w+", labels))) == (family.type, there), name
        assert source in ("store", "this process")
        assert says


def test_metrics_in_examples_are_there(families: dict[str, Metric]) -> None:
    named = set(re.findall(r"\bsyncline_\w+", PAGE))
    assert named <= set(families) | {f"{name}_total" for name in families}


def test_every_field_of_the_log_is_documented() -> None:
    named = set(re.findall(r"`(\w+)`", " ".join(rows(section(PAGE, "## The log")))))
    cells = {word for key in rows(section(PAGE, "## The log")) for word in re.findall(r"\w+", key)}
    assert set(logs._FIRST) <= named | cells


def test_every_kind_of_alert_is_documented_and_none_is_made_up() -> None:
    kinds = set(rows(section(OPERATING, "## Alerts"))) - {"kind", "---"}
    assert kinds == set(ALERT_KINDS)


def _keys(model: Any, path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        for below in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if hasattr(below, "model_fields"):
                repeated = "NAME." if str(field.annotation).startswith("dict") else ""
                listed = "[]" if str(field.annotation).startswith("list") else ""
                yield from _keys(below, f"{path}{name}{listed}.{repeated}")


@pytest.mark.parametrize(
    ("heading", "model"),
    [("## `syncline status --json`", status.Status), ("## `syncline runs show --json`", recount.Recount)],
)
def test_every_key_of_what_is_printed_is_documented_and_none_is_made_up(heading: str, model: Any) -> None:
    documented = set(rows(section(JSON, heading))) - {"key", "---", "exit_code"}
    assert documented == set(_keys(model))
