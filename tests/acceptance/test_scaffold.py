"""`syncline new` writes packages that keep the contract at once, and that the host can use as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncline.errors import ConfigError
from syncline.host.scaffold import write_package

SYNCLINE = [sys.executable, "-c", "from syncline.cli.main import main; main()"]
CONFIG = """
version: 1
connections:
  visits: {plugin: acme-visits, simulated: true}
  crm: {plugin: acme-crm, simulated: true}
simulation: {people: 30}
scores:
  pages:
    model: {model: pages, version: 1, signals: {seen: {count: page_visit}}, score: [{name: seen, add: 10 * seen}]}
syncs:
  - name: people
    to: crm
    object: Contact
    match: Ref
    when_missing: create
    first_run: whole
    fields:
      Score: {from: score.pages, owner: ours}
      Email: {from: person.email, owner: shared, policy: only_if_empty}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, install: Callable[[Path, Path], None]) -> Path:
    """Both packages, written and installed beside each other."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "site").mkdir()
    for role, name in (("source", "acme-visits"), ("sink", "acme-crm")):
        done = _shell(folder, *SYNCLINE, "new", role, name)
        assert done.returncode == 0, done.stderr
        assert f"cd syncline-{name} && pip install" in done.stdout.splitlines()[-1]
        install(folder / f"syncline-{name}", folder / "site")
    return folder


def _shell(folder: Path, *command: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"} | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["acme-visits", "acme-crm"])
def test_the_contract_holds_from_the_first_minute(made: Path, name: str) -> None:
    tests = made / f"syncline-{name}" / "tests"
    done = _shell(
        tests, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", ".", path=made / "site"
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "failed" not in done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 30


def test_the_host_reads_the_one_and_writes_the_other(made: Path) -> None:
    """Simulated, as in the demo: everybody who was seen is in the CRM, and a second run writes nothing."""
    (made / "connectors.yaml").write_text(CONFIG, "utf-8")
    reports: list[dict[str, Any]] = []
    for _ in range(2):
        done = _shell(made, *SYNCLINE, "run", "--json", path=made / "site")
        assert done.returncode == 0, done.stderr[-3000:]
        reports.append(json.loads(done.stdout))
    first, second = (report["sinks"]["crm"] for report in reports)
    assert (first["created"] + first["updated"], first["rejected"], first["write_calls"]) == (10, 0, 1)
    assert (second["unchanged"], second["write_calls"]) == (10, 0)


def test_nothing_is_overwritten(made: Path) -> None:
    before = sorted(made.rglob("*.py"))
    done = _shell(made, *SYNCLINE, "new", "source", "acme-visits")
    assert done.returncode == 2
    assert "syncline-acme-visits is not empty; name another one with --folder" in done.stderr
    assert sorted(made.rglob("*.py")) == before


@pytest.mark.parametrize("name", ["Acme", "acme crm", "2acme", "acme--crm", "class", "", "../x"])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be a connector's name|a word of Python"):
        write_package("sink", name, tmp_path / "x")
    assert not (tmp_path / "x").exists()
