"""Every command, on the embedded configuration: the result on stdout, the log on stderr, nothing secret on either."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncline.cli import main as cli

ONE_CRM = Path(__file__).parents[2] / "one_crm.yaml"
PEOPLE = 60


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Whole of stdout, and nothing but JSON."""
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log, every line of it."""
        return [json.loads(line) for line in self.err.splitlines()]


def call(*arguments: str) -> Said:
    """`syncline ARGUMENTS` in this process, not on a terminal."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["syncline", *arguments])
        patch.setenv("COLUMNS", "200")
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def world(folder: Path, people: int = PEOPLE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "connectors.yaml"
    path.write_text(ONE_CRM.read_text("utf-8").replace("people: 1000", f"people: {people}"), "utf-8")
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A world in which the demo has run; what follows only reads it, or finds nothing left to do."""
    path = world(tmp_path_factory.mktemp("cli"))
    return path, call("demo", "--config", str(path), "--json")


@pytest.fixture
def syncline(demo: tuple[Path, Said]) -> Callable[..., Said]:
    def run(command: str, *arguments: str) -> Said:
        return call(command, *arguments, "--config", str(demo[0]))

    return run


def test_demo_prints_its_report_as_json_and_its_stages_beside_it(demo: tuple[Path, Said]) -> None:
    said = demo[1]
    assert said.code == 0
    report = said.json
    assert report["status"] == "done"
    assert set(report["sources"]) == {"newsletter", "website"}
    sink = report["sinks"]["crm"]
    assert sink["created"] > 0
    assert sink["write_calls"] == sink["planned_calls"] == sink["least_write_calls"]
    for source in report["sources"].values():
        assert source["read"] == source["stored"] + source["duplicate"] + source["quarantined"] > 0
    stages = [(event["stage"], event["event"]) for event in said.events if "stage" in event]
    for stage in ("read newsletter", "read website", "read crm", "score and plan", "write crm"):
        assert (stage, "stage started") in stages
        assert (stage, "stage finished") in stages


def test_demo_as_a_table(tmp_path: Path) -> None:
    said = call("demo", "--config", str(world(tmp_path)), "--people", "30", "--seed", "7")
    assert said.code == 0
    assert "calls at least needed" in said.out
    assert "status: done" in said.out
    assert not (tmp_path / ".syncline" / "state.db").exists(), "another world has a store of its own"


def test_plan_and_run_find_nothing_left(syncline: Callable[..., Said]) -> None:
    for command in ("plan", "run"):
        said = syncline(command, "--json")
        sink = said.json["sinks"]["crm"]
        assert said.code == 0
        assert (sink["planned_calls"], sink["write_calls"], sink["changes"]) == (0, 0, [])
        assert all({"time", "level", "event"} <= set(event) for event in said.events)
    assert "status: done" in syncline("run").out


def test_plan_shows_field_by_field_before_and_after(tmp_path: Path) -> None:
    path = str(world(tmp_path, people=20))
    assert call("prepare", "crm", "--yes", "--config", path).code == 0
    said = call("plan", "--config", path)
    assert said.code == 0
    assert "create  crm Lead" in said.out
    assert "Lead_Score__c: (empty) → " in said.out
    assert "status: planned" in said.out
    assert said.out.count("create  crm Lead") <= 20
    whole = call("plan", "--json", "--as-of", "2026-05-01", "--config", path).json
    assert whole["as_of"] == "2026-05-01T00:00:00+00:00"


def test_plan_for_a_sync_and_a_person(syncline: Callable[..., Said], demo: tuple[Path, Said]) -> None:
    key = demo[1].json["sinks"]["crm"]["changes"][0]["person"]
    assert syncline("plan", "--sync", "leads", "--person", key, "--json").code == 0
    said = syncline("plan", "--sync", "leeds")
    assert said.code == 2
    assert "did you mean 'leads'?" in said.err
    said = syncline("run", "--person", "nobody@acme.example")
    assert (said.code, said.out) == (2, "")
    assert "nobody@acme.example" in said.err


def test_pull(syncline: Callable[..., Said]) -> None:
    said = syncline("pull", "newsletter", "--json")
    assert said.code == 0
    assert set(said.json["sources"]) == {"newsletter"}
    assert said.json["sinks"] == {}
    assert syncline("pull", "newsleter").code == 2


def test_explain(syncline: Callable[..., Said], demo: tuple[Path, Said]) -> None:
    changes = demo[1].json["sinks"]["crm"]["changes"]
    person = next(change["person"] for change in changes if change["operation"] == "add")
    said = syncline("explain", person, "--segment", "lead_caldo", "--json")
    told = said.json
    assert said.code == 0
    assert told["person"] == person
    assert told["why"]["holds"] is True
    assert told["crm"][0]["connection"] == "crm"
    [score] = [score for name, score in told["scores"].items() if name == "interesse"]
    assert score["contributions"]
    table = syncline("explain", person, "--segment", "lead_caldo")
    assert "yes" in table.out
    assert "segments: " in table.out
    said = syncline("explain", person, "--segment", "lead_freddo")
    assert (said.code, "lead_caldo" in said.err) == (2, True)


def test_prepare(syncline: Callable[..., Said], tmp_path: Path) -> None:
    assert syncline("prepare", "crm").out == "nothing is missing\n"
    path = str(world(tmp_path, people=3))
    said = call("prepare", "crm", "--config", path)
    assert "Lead_Score__c" in said.out
    assert "`syncline prepare crm --yes` creates it" in said.out
    again = call("prepare", "crm", "--config", path)
    assert again.out == said.out, "it only shows"
    assert "Lead_Score__c" in call("prepare", "crm", "--yes", "--config", path).out
    assert call("prepare", "crm", "--config", path).out == "nothing is missing\n"
    assert call("prepare", "newsletter", "--config", path).code == 2


def test_check(syncline: Callable[..., Said], tmp_path: Path) -> None:
    said = syncline("check")
    assert said.code == 0
    assert "3 connections, 1 syncs: fine" in said.out
    live = syncline("check", "--live")
    assert live.code == 0
    for name in ("newsletter: ", "website: ", "crm: "):
        assert name in live.out
    unprepared = call("check", "--live", "--config", str(world(tmp_path, people=3)))
    assert unprepared.code == 3
    assert "crm: Lead.Syncline_Key__c: parked: the CRM has no such field; " in unprepared.out


def test_plugins_and_schema(tmp_path: Path) -> None:
    kinds = {row["kind"]: row["role"] for row in call("plugins", "--json").json}
    assert (kinds["mailchimp"], kinds["files"], kinds["salesforce"]) == ("source, sink", "source", "sink")
    assert "salesforce" in call("plugins").out
    schema = call("schema").json
    assert schema["$schema"]
    out = tmp_path / "deep" / "schema.json"
    said = call("schema", "--out", str(out))
    assert (said.code, said.out) == (0, "")
    assert json.loads(out.read_text()) == schema


@pytest.mark.parametrize("command", ["runs", "conflicts", "dead-letters", "quarantine"])
def test_what_happened_as_table_and_as_json(syncline: Callable[..., Said], command: str) -> None:
    said, table = syncline(command, "--json"), syncline(command)
    assert (said.code, table.code, said.err, table.err) == (0, 0, "", "")
    assert isinstance(said.json, list)
    title = {"runs": "Runs", "conflicts": "Conflicts", "dead-letters": "Dead letters", "quarantine": "Quarantine"}
    assert table.out.startswith(f"{title[command]}: {len(said.json)}")


def test_runs_are_listed_newest_first(syncline: Callable[..., Said], demo: tuple[Path, Said]) -> None:
    syncline("run")
    listed = syncline("runs", "--json").json
    assert demo[1].json["run_id"] in [run["run"] for run in listed]
    assert {run["status"] for run in listed} == {"done"}
    assert len(syncline("runs", "--limit", "1", "--json").json) == 1


def test_conflicts_name_person_and_candidates(syncline: Callable[..., Said], demo: tuple[Path, Said]) -> None:
    listed = syncline("conflicts", "--json").json
    assert len(listed) == demo[1].json["sinks"]["crm"]["conflicts"] > 0
    for conflict in listed:
        assert "@" in conflict["person"]
        assert len(conflict["candidates"]) == 2


def test_version_and_help() -> None:
    version = call("--version")
    assert (version.code, version.out) == (0, f"{cli.__version__}\n")
    helped = call("--help")
    assert helped.code == 0
    for command in ("plan", "run", "pull", "explain", "prepare", "check", "demo", "runs", "conflicts", "dead-letters"):
        assert command in helped.out


def test_a_mistake_in_the_configuration_names_file_and_line(tmp_path: Path) -> None:
    path = world(tmp_path)
    path.write_text(path.read_text("utf-8").replace("owner: ours", "owner: our", 1), "utf-8")
    for command in (["plan"], ["run", "--json"], ["check"], ["runs"]):
        said = call(*command, "--config", str(path))
        assert (said.code, said.out) == (2, "")
        assert f"{path}:" in said.err
        assert "owner" in said.err
    assert not (tmp_path / ".syncline" / "state.db").exists()


def test_a_missing_file_and_an_unknown_option_are_the_callers_mistake(tmp_path: Path) -> None:
    said = call("plan", "--config", str(tmp_path / "absent.yaml"))
    assert (said.code, said.out) == (2, "")
    assert "absent.yaml" in said.err
    assert call("run", "--sinc", "leads").code == 2
    assert call("plan", "--as-of", "yesterday").code == 2


def test_a_newer_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = world(tmp_path, people=3)
    assert call("pull", "--config", str(path)).code == 0
    with contextlib.closing(sqlite3.connect(tmp_path / ".syncline" / "state.db")) as store:
        store.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
        store.commit()
    said = call("run", "--config", str(path))
    assert (said.code, said.out) == (2, "")
    assert "version 99" in said.err


SHELL = [sys.executable, "-c", "from syncline.cli.main import main; main()"]


def test_the_log_goes_to_stderr_and_nothing_secret_anywhere(
    vendors: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process of its own, with every call logged."""
    found = vendors("secrets", people=20, clock=datetime.now(UTC).isoformat())  # that process has the real time
    assert set(found.env) >= {"API_KEY", "CLIENT_SECRET"}
    for name, value in found.env.items():
        monkeypatch.setenv(name, value)

    def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*SHELL, "-v", *arguments], cwd=found.folder, capture_output=True, text=True, check=False)

    said = [shell("prepare", "crm", "--yes"), shell("run", "--json"), shell("check", "--live")]
    monkeypatch.setenv("CLIENT_SECRET", "a-wrong-client-secret")
    said.append(shell("check", "--live"))
    assert [process.returncode for process in said] == [0, 0, 0, 4], said[1].stderr[-3000:]
    assert "crm" in said[-1].stderr
    assert json.loads(said[1].stdout)["status"] == "done"
    assert '"level": "debug"' in said[1].stderr
    everything = "".join(process.stdout + process.stderr for process in said)
    for secret in (*found.env.values(), "a-wrong-client-secret", ".AQ.simulated", "!AQ.simulated", "Bearer "):
        assert secret not in everything
    stored = b"".join(path.read_bytes() for path in (found.folder / ".syncline").glob("state.db*"))
    for secret in found.env.values():
        assert secret.encode() not in stored
