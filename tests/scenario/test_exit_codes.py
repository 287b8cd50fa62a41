"""What a schedule sees of a run: the exit code, JSON on stdout, a sentence on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.cli import main as cli
from syncline.errors import AuthError, TransientError
from syncline.host import Host
from syncline.host.lease import hold
from syncline.model import Outcome, Write
from syncline.sync.retry import retrying
from syncline.testing.memory import MemorySink

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def syncline(lab: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`syncline COMMAND --config …` with the lab's connectors; its exit code, stdout and stderr."""

    def load(_path: object, **options: Any) -> Host:
        options.pop("only", None)
        found: Host = lab.host(**{"retry": retrying(attempts=2, sleep=lambda _: None), **options})
        return found

    monkeypatch.setattr(Host, "load", load)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["syncline", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


def test_0_when_everything_is_done(lab: Any, syncline: Run) -> None:
    lab.crowd(2, points=90)
    code, out, _ = syncline("run", "--json")
    assert (code, json.loads(out)["status"]) == (0, "done")
    assert syncline("plan")[0] == 0


def test_1_when_some_records_were_rejected(lab: Any, syncline: Run) -> None:
    lab.crowd(3)
    key = lab.keys()["p0001@acme.example"]
    lab.world.fail_record(key, reason="the address is malformed", code="BAD_EMAIL")
    code, out, _ = syncline("run", "--json")
    report = json.loads(out)
    assert (code, report["status"], report["sinks"]["crm"]["rejected"]) == (1, "rejected", 1)
    letters = json.loads(syncline("dead-letters", "--json")[1])
    assert [(letter["key"], letter["reason"], letter["attempts"]) for letter in letters] == [
        (key, "the address is malformed", 1)
    ]
    assert "the address is malformed" in syncline("dead-letters")[1]


def test_1_when_a_vendor_is_out_of_reach(lab: Any, syncline: Run) -> None:
    lab.crowd(1)
    lab.world.fail_call("upsert", TransientError("out of reach"), times=None)
    assert syncline("run")[0] == 1


def test_2_when_the_configuration_is_wrong(syncline: Run) -> None:
    code, out, err = syncline("run", "--sync", "leeds")
    assert (code, out) == (2, "")
    assert "leeds" in err


def test_3_when_a_guard_stops_it(lab: Any, syncline: Run) -> None:
    lab.crowd(3)
    lab.sync["guard"] = {"creates": 2}
    code, out, _ = syncline("run")
    assert code == 3
    assert "the guard allows 2" in out
    assert syncline("plan", "--json")[0] == 3


def test_3_when_a_mapping_drifted(lab: Any, syncline: Run) -> None:
    lab.crowd(1)
    lab.world.drop_field("Lead", "Band")
    code, out, _ = syncline("run")
    assert code == 3
    assert "`syncline prepare crm` shows and creates them" in out
    code, out, _ = syncline("check", "--live")
    assert (code, "crm: Lead.Band: " in out) == (3, True)


def test_4_when_credentials_are_refused(lab: Any, syncline: Run) -> None:
    lab.crowd(1)
    lab.world.fail_call("upsert", AuthError("the token was revoked"), times=None)
    code, out, _ = syncline("run", "--json")
    assert (code, json.loads(out)["status"]) == (4, "paused")
    lab.world.fail_call("check", AuthError("the token was revoked"), times=None)
    code, _, err = syncline("check", "--live")
    assert (code, err) == (4, "shop: the token was revoked\ncrm: the token was revoked\n")


def test_5_while_another_run_is_active(lab: Any, syncline: Run) -> None:
    with lab.host() as host, hold(host.database, "run", lambda: datetime.now(UTC)):
        for command in ("run", "plan", "pull"):
            code, out, err = syncline(command)
            assert (code, out) == (5, "")
            assert "another run is active" in err


def test_70_when_it_is_a_bug(lab: Any, syncline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.crowd(1)

    def buggy(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        raise ZeroDivisionError

    monkeypatch.setattr(MemorySink, "upsert", buggy)
    code, out, _ = syncline("run")
    assert (code, out) == (70, "")
    assert [run["status"] for run in lab.rows("run")] == ["failed"]


def test_conflicts_show_what_waits_for_a_decision(lab: Any, syncline: Run) -> None:
    lab.fields["LastName"]["policy"] = "ask"
    lab.world.put("Lead", {"Email": "ada@acme.example", "LastName": "King"})
    for _ in range(2):
        lab.world.put("Lead", {"Email": "eve@acme.example"})
    lab.points("ada@acme.example", 50, last_name="Lovelace")
    lab.points("eve@acme.example", 50)
    assert syncline("run")[0] == 0
    both, several = json.loads(syncline("conflicts", "--json")[1])
    assert (several["kind"], several["person"]) == ("record", "eve@acme.example")
    assert several["question"] == "2 records have this email"
    assert (both["kind"], both["field"], both["there"]["value"], both["here"]["value"]) == (
        "field",
        "LastName",
        "King",
        "Lovelace",
    )
    shown = syncline("conflicts")[1]
    assert both["id"] in shown
    assert "Lovelace" in shown


def test_quarantine_shows_what_could_not_be_used_and_why(lab: Any, syncline: Run) -> None:
    lab.crowd(1)
    lab.world.happened("broken", "page_wisit", lab.now, email="ada@acme.example")
    assert syncline("run")[0] == 0
    [row] = json.loads(syncline("quarantine", "--json")[1])
    assert (row["connection"], row["key"]) == ("shop", "broken")
    assert "page_visit" in row["reason"]


def test_markup_in_vendors_words_is_printed_as_it_is(lab: Any, syncline: Run) -> None:
    """A reason such as `[/red]` must neither colour the table nor break it."""
    lab.points("ada@acme.example", 50, last_name="[bold]Ada[/red]")
    lab.world.fail_record(lab.keys()["ada@acme.example"], reason="[/oops] not a [tag]")
    assert syncline("plan")[0] == 0
    assert "[bold]Ada[/red]" in syncline("plan")[1]
    assert syncline("run")[0] == 1
    assert "[/oops] not a [tag]" in syncline("dead-letters")[1]


def test_markup_in_what_people_did_is_printed_as_it_is(lab: Any, syncline: Run) -> None:
    model = lab.data["scores"]["interest"]["model"]
    model["signals"]["kind"] = {"last": "name", "of": "custom"}
    model["score"].append({"name": "named [so]", "if": "kind = '[/oops]'", "add": "5"})
    lab.world.happened("odd", "custom", lab.now, email="ada@acme.example", name="[/oops]", points=1)
    lab.run()
    code, out, _ = syncline("explain", "ada@acme.example")
    assert code == 0
    assert "named [so]" in out
    assert "[/oops]" in out
