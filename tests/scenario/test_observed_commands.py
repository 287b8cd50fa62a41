"""The commands that watch: `status`, `runs show`, `alerts`, `metrics`, as they are typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from syncline.cli import main as cli
from syncline.errors import AuthError
from syncline.host import Host
from syncline.sync.retry import retrying

Run = Callable[..., tuple[int, str, str]]
ADA = "ada@acme.example"


@pytest.fixture
def told() -> list[str]:
    """What somebody was told by a command."""
    return []


@pytest.fixture
def syncline(lab: Any, told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`syncline COMMAND` with the lab's connectors; its exit code, stdout and stderr."""

    def notify(title: str, text: str) -> bool:
        told.append(f"{title}\n{text}")
        return True

    def load(_path: object, **options: Any) -> Host:
        options.pop("only", None)
        given = {"retry": retrying(attempts=2, sleep=lambda _: None), "notify": notify, **options}
        found: Host = lab.host(**given)
        return found

    monkeypatch.setattr(Host, "load", load)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["syncline", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_status_is_0_when_nobody_is_needed_and_says_so(lab: Any, syncline: Run) -> None:
    lab.points(ADA, 50)
    syncline("run")
    code, out, _ = syncline("status")
    assert (code, "nobody is needed" in out) == (0, True)
    assert [word for word in ("leads", "crm", "shop", "done", "2026-06-01 08:00") if word not in out] == []


def test_status_names_what_to_do_and_exits_with_the_worst(lab: Any, syncline: Run) -> None:
    lab.points(ADA, 50)
    lab.world.fail_record(lab.keys()[ADA], reason="the address is malformed")
    syncline("run")
    code, out, _ = syncline("status")
    assert code == 3
    assert "needed: crm: 1 write was refused: `syncline dead-letters list`" in out
    lab.later()
    lab.world.fail_call("check", AuthError("the token was revoked"), times=None)
    syncline("run")
    code, out, _ = syncline("status", "--json")
    found = json.loads(out)
    assert (code, found["exit_code"], found["needs"][0]["command"]) == (4, 4, "syncline check --live")
    assert found["connections"]["crm"]["error"] == "the token was revoked"


def test_runs_lists_and_show_tells_one(lab: Any, syncline: Run) -> None:
    lab.crowd(25, points=50)
    lab.world.fail_record(sorted(lab.keys().values())[0], reason="[/oops] malformed")
    syncline("run", "--sync", "leads")
    [listed] = json.loads(syncline("runs", "--json")[1])
    assert (listed["status"], listed["only"]) == ("rejected", "leads")
    code, out, _ = syncline("runs", "show")
    assert code == 0
    assert f"run {listed['run']}: rejected (only leads)" in out
    assert "crm: 25 rows planned = 24 created + 1 rejected" in out
    assert "crm: 25 rows answered = 24 created + 1 rejected" in out
    assert "shop: 0 records read = 0" in out, "they had been read before"
    assert "… and 5 more rows" in out
    code, out, _ = syncline("runs", "show", listed["run"], "--outcome", "rejected")
    assert out.count("person ") == 1
    assert "rejected: [/oops] malformed" in out
    assert "Score: (empty) → 50" in out
    found = json.loads(syncline("runs", "show", "latest", "--json", "--connection", "crm")[1])
    assert (found["found"], len(found["rows"]), found["run_id"]) == (25, 25, listed["run"])
    assert all(item["holds"] for item in found["adds_up"])
    code, _, err = syncline("runs", "show", "r9")
    assert (code, "there is no run 'r9'" in err) == (2, True)


def test_numbers_that_do_not_add_up_are_said_aloud(lab: Any, syncline: Run) -> None:
    lab.crowd(3)
    syncline("run")
    with lab.host() as host, host.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)")
    assert "crm: 3 rows planned ≠ 2 created: does not add up, by -1" in syncline("runs", "show")[1]


def test_alerts_can_be_tried_and_looked_at(lab: Any, syncline: Run, told: list[str]) -> None:
    assert syncline("alerts", "test")[:2] == (0, "sent\n")
    assert told[0].startswith("syncline: a trial\n")
    lab.points(ADA, 50)
    lab.world.fail_call("check", AuthError("the token was revoked"), times=None)
    syncline("run")
    assert len(told) == 2
    listed = json.loads(syncline("alerts", "--json")[1])
    assert {(row["kind"], row["about"], row["times"]) for row in listed} == {("credentials", "crm", 1)}
    assert listed[0]["told"] == "2026-06-01 08:00:00"
    assert "Troubles: 1" in syncline("alerts")[1]


def test_metrics_are_printed_without_a_server(lab: Any, syncline: Run) -> None:
    syncline("run")
    code, out, _ = syncline("metrics")
    assert code == 0
    assert 'syncline_runs_total{status="done"} 1.0' in out
    assert out.startswith("# HELP syncline_")


def test_a_pause_shows_until_when(lab: Any, syncline: Run) -> None:
    syncline("run")
    with lab.host() as host:
        host.pause("crm", "the sales meeting")
    lab.now += timedelta(hours=1)
    code, out, _ = syncline("status")
    assert code == 4
    assert "crm: not written to since 2026-06-01 08:00 UTC, until somebody resumes it: the sales meeting" in out
    assert "needed: crm: paused: the sales meeting: `syncline resume crm`" in out
