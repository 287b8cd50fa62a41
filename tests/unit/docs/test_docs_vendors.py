"""Every vendor has its page: what to create there, scopes, limits, and what a run costs, as its simulator counts it."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.testing.population import EPOCH

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "vendors"
NO_VENDOR = {"files"}
"""Plugins that talk to nobody."""
VENDORS = sorted({folder.name for folder in (ROOT / "plugins").iterdir() if folder.is_dir()} - NO_VENDOR)
SECTIONS = (
    "## What to create there",
    "## Scopes and permissions",
    "## In connectors.yaml",
    "## Limits that matter",
    "## What a run costs",
    "## What syncline does, and does not",
    "## Good to know",
)
SYNCS: dict[str, dict[str, Any]] = {
    "salesforce": {"object": "Lead", "also": ["Contact"], "match": "Syncline_Key__c", "field": "Lead_Score__c"},
    "hubspot": {"object": "contacts", "match": "syncline_key", "field": "lead_score"},
    "zoho": {"object": "Leads", "also": ["Contacts"], "match": "Syncline_Key", "field": "Lead_Score"},
}

every_vendor = pytest.mark.parametrize("vendor", VENDORS)


def page(vendor: str) -> str:
    return (FOLDER / f"{vendor}.md").read_text("utf-8")


def readme(vendor: str) -> str:
    return (ROOT / "plugins" / vendor / "README.md").read_text("utf-8")


def section(text: str, heading: str) -> str:
    return text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


def test_every_vendor_has_a_page_and_the_index_lists_it() -> None:
    index = (FOLDER / "README.md").read_text("utf-8")
    assert {path.stem for path in FOLDER.glob("*.md")} == {*VENDORS, "README"}
    assert set(re.findall(r"^\| \[[^]]+\]\((\w+)\.md\)", index, re.MULTILINE)) == set(VENDORS)


@every_vendor
def test_a_page_says_what_to_create_and_what_it_costs(vendor: str) -> None:
    text = page(vendor)
    assert re.findall(r"^## .*$", text, re.MULTILINE) == list(SECTIONS)
    assert all(len(section(text, heading).split()) > 15 for heading in SECTIONS)
    assert f"(../../plugins/{vendor}/README.md#settings)" in text
    assert 55 <= len(text.splitlines()) <= 120, "a page is read before lunch"
    assert re.search(r"^1\. \*\*", section(text, SECTIONS[0]), re.MULTILINE), "steps, one after the other"
    assert "| nothing new" in section(text, SECTIONS[4])
    assert "⌈N" in section(text, SECTIONS[4])


@every_vendor
def test_a_page_names_every_scope_and_table_that_the_plugin_needs(vendor: str) -> None:
    """As the plugin's README lists them."""
    needed = set(re.findall(r"`(crm\.[a-z.]+|ZohoCRM\.[\w.]+|statistics_\w+)`", _needs(readme(vendor))))
    assert {scope for scope in needed if f"`{scope}`" not in section(page(vendor), SECTIONS[1])} == set()
    assert needed or vendor not in ("hubspot", "zoho", "mailpoet")


def _needs(text: str) -> str:
    found = re.search(r"^## What to create.*?(?=^## )", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[0]


@every_vendor
def test_the_piece_of_configuration_is_about_this_vendor_and_holds_no_secret(vendor: str) -> None:
    """That it loads is held in test_docs_code.py."""
    [text] = re.findall(r"^```yaml\n(# connectors\.yaml\n.*?)^```", page(vendor), re.DOTALL | re.MULTILINE)
    assert f"plugin: {vendor}" in text
    assert re.search(r'"\$\{[A-Z_]+\}"', text)


@every_vendor
def test_what_a_plugin_can_do_is_in_the_index(vendor: str) -> None:
    plugins = Plugins.load()
    [row] = [row for row in plugins.rows() if row.kind == vendor]
    index = (FOLDER / "README.md").read_text("utf-8")
    [cells] = [line.split("|") for line in index.splitlines() if f"({vendor}.md)" in line]
    assert set(row.role.split(", ")) == set(re.findall(r"source|sink", cells[2]))
    assert ("receive" in row.capabilities) == bool(cells[4].strip())


# What a run costs


@every_vendor
def test_a_quiet_run_costs_what_the_page_says(vendor: str, tmp_path: Path) -> None:
    """Counted by the simulator, an hour after the run before, when nothing has happened there in between."""
    told = re.search(r"The\s+simulated\s+account\b[^.]*?\stakes\s+(\d+)\s+call", page(vendor))
    assert told is not None
    assert [_calls_of_a_run(vendor, tmp_path, hours) for hours in (0, 2, 4)][-1] == int(told[1])


def _calls_of_a_run(vendor: str, folder: Path, hours: int) -> int:
    (folder / "connectors.yaml").write_text(json.dumps(_config(vendor, hours)), "utf-8")
    if vendor in SYNCS and hours == 0:
        with Host.load(folder / "connectors.yaml", env={}) as host:
            host.prepare("here")
    with Host.load(folder / "connectors.yaml", env={}) as host:
        host.sinks() if vendor in SYNCS else host.sources()
        simulator: Any = host.simulation.running["here"]
        before = simulator.counters().get("calls", 0)
        report = host.run()
        calls = int(simulator.counters().get("calls", 0)) - int(before)
    done = report.sinks["here"] if vendor in SYNCS else report.sources["here"]
    assert (report.status, done.error, done.calls) == ("done", None, calls)
    return calls


def _config(vendor: str, hours: int) -> dict[str, Any]:
    """A source alone, or a sink that has nobody to write: what costs something then is looking."""
    clock = datetime.fromisoformat(EPOCH) + timedelta(hours=hours)
    config: dict[str, Any] = {
        "version": 1,
        "simulation": {"people": 60, "clock": clock.isoformat()},
        "connections": {"here": {"plugin": vendor, "simulated": True}},
    }
    if vendor in SYNCS:
        sync = dict(SYNCS[vendor])
        fields = {sync.pop("field"): {"from": "score.interesse", "owner": "ours"}}
        config["scores"] = {"interesse": {"model": "comportamentale"}}
        config["syncs"] = [{"name": "people", "to": "here", "first_run": "whole", "fields": fields, **sync}]
    return config
