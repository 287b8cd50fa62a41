"""What could not be normalized is kept with its reason and comes back when the cause is mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from syncline.host import Host
from syncline.sync.pull import quarantine
from syncline.testing.population import simulated_now

CONFIG = """
version: 1
raw_retention: 30d
connections:
  web: {plugin: files, path: visits.jsonl, dialect: italian}
classify:
  page_type: {pricing: ["*/prezzi*"]}
scores: {interesse: {model: comportamentale}}
"""


def visit(page: str, at: str, **more: str) -> str:
    row = {"event": "page_visit", "email": "ada@example.com", "url": f"https://x.example/{page}", "timestamp": at}
    return json.dumps({**row, **more}) + "\n"


def world(folder: Path) -> Path:
    (folder / "connectors.yaml").write_text(CONFIG, "utf-8")
    rows = [
        visit("prezzi", "2026-05-30T10:00:00Z"),
        visit("listino", "2026-05-30T11:00:00Z"),
        visit("prezzi", "ieri"),
        "{not json\n",
    ]
    (folder / "visits.jsonl").write_text("".join(rows), "utf-8")
    return folder / "connectors.yaml"


def load(config: Path) -> Host:
    return Host.load(config, env={}, clock=simulated_now)


def pricing_points(host: Host) -> str:
    told: dict[str, Any] = host.explain("ada@example.com").to_json()
    return str(next(c["amount"] for c in told["scores"]["interesse"]["contributions"] if c["line"] == "prezzi"))


def test_bad_rows_wait_with_file_line_and_reason(tmp_path: Path) -> None:
    with load(world(tmp_path)) as host:
        source = host.pull().sources["web"]
        assert (source.read, source.stored, source.quarantined) == (4, 2, 2)
        reasons = sorted(str(record.reason) for record in quarantine(host.database, "web"))
    assert reasons[0].startswith("visits.jsonl line 3: ")
    assert "ieri" in reasons[0]
    assert reasons[1].startswith("visits.jsonl line 4: ")


def test_a_corrected_table_reaches_what_is_already_stored(tmp_path: Path) -> None:
    config = world(tmp_path)
    with load(config) as host:
        host.pull()
        assert float(pricing_points(host)) == 10
    config.write_text(CONFIG.replace('["*/prezzi*"]', '["*/prezzi*", "*/listino*"]'), "utf-8")
    with load(config) as host:
        report = host.replay("web", everything=True).sources["web"]
        assert report.read == report.stored + report.duplicate + report.quarantined == 4
        assert float(pricing_points(host)) == 20
