"""What a person reads on the terminal: whole addresses, commands that work, short messages, every trouble at once."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from syncline.cli import demo, show
from syncline.cli import main as cli
from syncline.errors import ConfigError
from syncline.host import Host
from syncline.sync.report import Report, SinkReport

ONE_CRM = Path(__file__).parents[2] / "one_crm.yaml"


def call(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["syncline", *arguments])
        patch.setenv("COLUMNS", "80")
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "connectors.yaml"
    path.write_text(ONE_CRM.read_text("utf-8").replace("people: 1000", "people: 20"), "utf-8")
    assert call("demo", "--config", str(path))[0] == 0
    return path


def printed(show_it: Callable[[Console], None], width: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width)
    show_it(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


REAL = """
version: 1
connections:
  website: {plugin: files, path: "none/*.jsonl", format: italian}
  newsletter: {plugin: mailchimp, api_key: "${NOT_SET_KEY}", audience: 3f2a}
  crm: {plugin: salesforce, login: {client_id: "${NOT_SET_ID}", client_secret: "${NOT_SET_SECRET}", domain: acme}}
scores: {interesse: {model: comportamentale}}
syncs:
  - {name: leads, to: crm, object: Lead, match: K__c, fields: {S__c: {from: score.interesse, owner: ours}}}
"""


def test_what_stays_here_needs_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "connectors.yaml"
    path.write_text(REAL.replace("website: {plugin: files, path: \"none/*.jsonl\", format: italian}",
                                 "website: {plugin: files, simulated: true}"), "utf-8")  # fmt: skip
    for command in (["pull", "website"], ["replay", "website", "--all"]):
        code, _, err = call(*command, "--config", str(path))
        assert (code, "NOT_SET" in err) == (0, False), err
    code, _, err = call("explain", "nobody@acme.example", "--config", str(path))
    assert "nobody is known as" in err
    code, _, err = call("pull", "--config", str(path))
    assert code == 2
    assert "NOT_SET_KEY" in err
    assert "NOT_SET_ID" not in err, "no CRM is connected by a pull"
    assert "data centre" not in err


def test_check_live_goes_on_and_exits_with_the_worst_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "connectors.yaml"
    path.write_text(ONE_CRM.read_text("utf-8").replace("people: 1000", "people: 3"), "utf-8")
    from syncline.errors import AuthError, TransientError

    troubles = {"newsletter": AuthError("refused"), "website": TransientError("no answer", where="website")}
    account = Host.account

    def refuse(host: Host, name: str) -> Any:
        if name in troubles:
            raise troubles[name]
        return account(host, name)

    monkeypatch.setattr(Host, "account", refuse)
    code, out, err = call("check", "--live", "--config", str(path))
    assert code == cli.EXIT_PAUSED, "credentials before a parked mapping before the weather"
    assert "newsletter: refused\nwebsite: no answer\n" in err
    assert "crm: Lead.Syncline_Key__c: parked: the CRM has no such field; " in out
    assert "crm: Lead.Status: ok" in out


def test_parked_fields_that_are_missing_come_in_one_line() -> None:
    known = ", ".join(f"Field{number}" for number in range(80))
    parked = [f"Lead.{name}__c: the CRM has no such field; Known: {known}" for name in "ABC"]
    parked.append("Lead.Status: the field is read-only for the user we log in as")
    report = Report(sinks={"crm": SinkReport(parked=parked, error=parked[0])})
    text = printed(lambda console: show.report(console, report), width=300)
    assert "crm: 3 fields are missing there: Lead.A__c, Lead.B__c, Lead.C__c; `syncline prepare crm`" in text
    assert "mapping parked: Lead.Status: the field is read-only" in text
    assert "Field4, …" in text
    assert "Field5" not in text


def test_ids_and_addresses_are_never_folded() -> None:
    address = "somebody.with.a.rather.long.name@acquario-meridiana.example"
    text = printed(lambda console: show.blocks(console, "Conflicts: 1", ["connection", "person"], [["crm", address]]))
    assert text.startswith("Conflicts: 1\n")
    assert address in text


@pytest.mark.parametrize(
    "arguments", [["demo", "--people", "0"], ["demo", "--people", "-5"], ["simulate", "--people", "0"]]
)
def test_a_world_has_at_least_one_person(arguments: list[str]) -> None:
    assert call(*arguments)[0] == 2


def test_seed_nought_is_a_world_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "connectors.yaml").write_text(ONE_CRM.read_text("utf-8"), "utf-8")
    with Host.load(tmp_path / "connectors.yaml", seed=0) as host:
        assert (host.people, host.seed, host.another_world) == (1000, 0, True)
        assert "people-1000-seed-0" in host.store_url
        assert "`simulation: {people: 1000, seed: 0}`" in demo.following(host, Path("connectors.yaml"))


def test_the_demo_ends_with_commands_that_work_here(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "syncline"
    program.parent.mkdir()
    program.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    with Host.load(world) as host:
        text = demo.following(host, world)
        address = text.partition("explain ")[2].partition(" ")[0]
        assert host.explain(address).assessment.scores
    assert f"`bin/syncline plan --config {world}`" in text


def test_unknown_names_are_told_the_nearest(world: Path) -> None:
    for arguments, said in {
        ("scores", "interese"): "did you mean 'interesse'?",
        ("scores", "interesse", "--namespace", "emial"): "did you mean 'email'?",
        ("pull", "newsleter"): "did you mean 'newsletter'?",
        ("replay", "newsleter"): "did you mean 'newsletter'?",
        ("prepare", "cmr"): "did you mean 'crm'?",
    }.items():
        code, _, err = call(*arguments, "--config", str(world))
        assert (code, said in err) == (2, True), err


def test_what_we_wrote_last_is_said_so_and_a_pull_shows_no_scores(world: Path) -> None:
    with Host.load(world) as host:
        people = [who for who, _, _ in host.scores("interesse")]
        shown = [printed(lambda console, who=who: show.explanation(console, host.explain(who))) for who in people]
    assert any("(last written by us)" in text for text in shown)
    code, out, _ = call("pull", "--config", str(world))
    assert (code, "people by band" in out) == (0, False)
    assert "20 people, " in out


def test_help_has_a_short_name() -> None:
    for arguments in (["-h"], ["pull", "-h"], ["conflicts", "-h"]):
        code, out, _ = call(*arguments)
        assert (code, "Usage:" in out) == (0, True)


def test_simulated_vendors_live_in_the_real_present() -> None:
    class Vendor:
        moved = timedelta(0)

        def advance(self, by: timedelta) -> None:
            self.moved += by

    vendor, began = Vendor(), datetime.now(UTC) - timedelta(minutes=5)
    assert demo._advance([vendor, object()], began) == began + vendor.moved
    assert timedelta(minutes=5) <= vendor.moved < timedelta(minutes=6)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nobody: {faults: []}", "nothing simulates 'nobody'"),
        ("files: {fault: []}", "files has one key, 'faults', with a list"),
        ("- a", "nothing simulates ''"),
        ("a: {", "cannot be read (ParserError)"),
    ],
    ids=["vendor", "key", "list", "yaml"],
)
def test_a_file_of_faults_that_is_none_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "storm.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        demo.simulate(["files"], people=1, seed=1, clock=None, folder=None, faults=path)
    assert told in str(caught.value)
