"""Somebody else's package works without a change in ours: it is installed, found, and used."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ACME = Path(__file__).parent / "acme"

USE = """
import json, sys
from datetime import UTC, datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from syncline.host.plugins import Plugins
from syncline.model import Write
from syncline.sdk import Context, Http

plugins = Plugins.load(["acme", "acme-crm"])

def connect(kind, name):
    connector = plugins.connector(kind)
    context = Context(kind, Http(kind), lambda: datetime(2026, 6, 1, tzinfo=UTC), {})
    return connector(connector.config_model(file=Path(sys.argv[1]) / name), context)

source, sink = connect("acme", "events.json"), connect("acme-crm", "crm.json")
events = [e for page in source.read("visits", None) for raw in page.records for e in source.normalize(raw)]
writes = [Write(e.id, ("Ref", e.id), {"Email": e.identifiers[0].value, "Score": Decimal("1.50")}) for e in events]
first, again = (sink.upsert("Contact", writes) for _ in range(2))
[page] = sink.changes("Contact", ["Email", "Score"], None)
print(json.dumps({
    "rows": [[r.kind, r.package, r.version, r.role, list(r.capabilities)] for r in plugins.rows() if "acme" in r.kind],
    "events": [[e.type, e.identifiers[0].value] for e in events],
    "statuses": [[o.status for o in first], [o.status for o in again]],
    "remote": [[list(r.emails), str(r.fields["Score"]), r.changed_by] for r in page.records],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, install: Callable[[Path, Path], None]) -> Path:
    target = tmp_path_factory.mktemp("site")
    install(ACME, target)
    return target


def use(installed: Path, folder: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_third_partys_package_is_found_and_works(installed: Path, tmp_path: Path) -> None:
    events = [
        {"id": 1, "at": 1780000000, "who": "giulia@acme.example", "did": "visited", "page": "/prezzi"},
        {"id": 2, "at": 1780000060, "who": "marco@acme.example", "did": "opened"},
    ]
    (tmp_path / "events.json").write_text(json.dumps(events))
    (tmp_path / "crm.json").write_text(json.dumps({"version": 0, "contacts": {}}))
    answer = use(installed, tmp_path)
    assert answer["rows"] == [
        ["acme", "syncline-acme", "2.3.0", "source", ["read"]],
        ["acme-crm", "syncline-acme", "2.3.0", "sink", ["upsert", "changes"]],
    ]
    assert answer["events"] == [["page_visit", "giulia@acme.example"], ["email_open", "marco@acme.example"]]
    assert answer["statuses"] == [["created", "created"], ["updated", "updated"]]
    assert answer["remote"] == [[["giulia@acme.example"], "1.50", "us"], [["marco@acme.example"], "1.50", "us"]]


CONFIG = """
version: 1
connections:
  visits: {plugin: acme, file: events.json}
  crm: {plugin: acme-crm, file: crm.json}
classify: {page_type: {pricing: ["*/prezzi*"]}}
scores: {interesse: {model: comportamentale}}
syncs:
  - name: contacts
    to: crm
    object: Contact
    match: Ref
    when_missing: create
    first_run: whole
    fields:
      Score: {from: score.interesse, owner: ours}
      Email: {from: person.email, owner: shared, policy: only_if_empty}
"""


def syncline(installed: Path, folder: Path, *words: str) -> dict[str, Any]:
    """The command, as a user of the third party's package types it."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "from syncline.cli.main import main; main()", *words, "--json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_third_partys_source_and_sink_run_the_whole_path(installed: Path, tmp_path: Path) -> None:
    """Two pricing visits less than 48 hours ago: (2 x 10) x 1.3; one record found by its address, one created."""
    visits = [
        {"id": n, "at": 1780000000 + n, "who": "giulia@acme.example", "did": "visited", "page": "/prezzi"}
        for n in (1, 90)
    ]
    opened = {"id": 3, "at": 1780000060, "who": "marco@acme.example", "did": "opened"}
    (tmp_path / "events.json").write_text(json.dumps([*visits, opened]))
    giulia = {"Id": "C1", "Ref": None, "Email": "GIULIA@acme.example", "Score": None}
    row = {"fields": giulia, "version": 1, "at": "2026-05-01T00:00:00+00:00", "by": "person"}
    (tmp_path / "crm.json").write_text(json.dumps({"version": 1, "contacts": {"C1": row}}))
    (tmp_path / "connectors.yaml").write_text(CONFIG)
    as_of = ("--as-of", "2026-05-29T00:00:00")
    planned = syncline(installed, tmp_path, "plan", *as_of)["sinks"]["crm"]
    done = syncline(installed, tmp_path, "run", *as_of)["sinks"]["crm"]
    assert (done["created"], done["updated"]) == (planned["created"], planned["updated"]) == (1, 1)
    contacts = json.loads((tmp_path / "crm.json").read_text())["contacts"]
    assert len(contacts) == 2
    held = contacts["C1"]["fields"]
    assert held == {**giulia, "Ref": held["Ref"], "Score": held["Score"]}
    assert held["Ref"]
    assert Decimal(held["Score"]) == 26
    again = syncline(installed, tmp_path, "run", *as_of)["sinks"]["crm"]
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, 2)


@pytest.mark.parametrize(("file", "most"), [("source.py", 60), ("sink.py", 70)])
def test_a_connector_is_written_in_an_afternoon(file: str, most: int) -> None:
    lines = (ACME / "src" / "syncline_acme" / file).read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= most


def test_a_third_party_needs_nothing_but_the_contract() -> None:
    imported = {
        node.module
        for path in (ACME / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("syncline.")
    }
    assert imported <= {"syncline.errors", "syncline.model", "syncline.sdk"}
