"""Recording a whole account: only reads, nothing personal kept, and fit to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from syncline.cli.main import app
from syncline.errors import ConfigError
from syncline.sdk import SimulatorOptions
from syncline.testing.cassettes import provenance_of
from syncline.testing.population import EPOCH, population
from syncline.testing.record import connector_class, main, settings_of
from syncline_mailchimp.simulator import MailchimpSimulator
from syncline_salesforce.simulator import SalesforceSimulator


@pytest.fixture
def newsletter(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailchimpSimulator]:
    with MailchimpSimulator(SimulatorOptions(people=12, clock=EPOCH)) as simulator:
        for name in ("api_key", "audience", "base_url"):
            monkeypatch.setenv(f"SYNCLINE_MAILCHIMP_{name.upper()}", str(simulator.settings[name]))
        monkeypatch.setenv("SYNCLINE_MAILCHIMP_HORIZON", "3650d")
        yield simulator


def test_a_source_is_recorded_stream_by_stream_without_people(newsletter: MailchimpSimulator, tmp_path: Path) -> None:
    assert main(["mailchimp", "--out", str(tmp_path)]) == 0
    tapes = {str(path.relative_to(tmp_path)): path.read_text("utf-8") for path in tmp_path.rglob("*.yaml")}
    assert {"account/check.yaml", "members/read.yaml", "opens/read.yaml"} <= set(tapes)
    kept = "".join(tapes.values())
    assert "redacted.example" in kept
    assert str(newsletter.settings["api_key"]) not in kept
    for person in population(12, 1):
        assert person.email not in kept
        assert person.last_name not in kept
    assert {provenance_of(path).birth for path in tmp_path.rglob("*.yaml")} == {"synthetic"}


def test_a_recording_can_be_compared_with_another_one(newsletter: MailchimpSimulator, tmp_path: Path) -> None:
    for name in ("kept", "fresh"):
        assert main(["mailchimp", "--out", str(tmp_path / name)]) == 0
    same = CliRunner().invoke(app, ["drift", str(tmp_path / "fresh"), "--kept", str(tmp_path / "kept")])
    assert (same.exit_code, same.output.splitlines()[-1].rpartition(": ")[2]) == (0, "0")
    tape = tmp_path / "kept" / "members" / "read.yaml"
    tape.write_text(tape.read_text("utf-8").replace("email_address", "mail"), "utf-8")
    other = CliRunner().invoke(app, ["drift", str(tmp_path / "fresh"), "--kept", str(tmp_path / "kept")])
    assert other.exit_code == 3
    call = "GET /3.0/lists/{id}/members 200: members[]"
    assert other.output.splitlines()[:2] == [f"{call}.mail is gone", f"{call}.email_address is new (text)"]


def test_a_sink_is_only_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with SalesforceSimulator(SimulatorOptions(people=9, clock=EPOCH)) as org:
        for key, value in org.settings["login"].items():
            monkeypatch.setenv(f"SYNCLINE_SALESFORCE_LOGIN__{key.upper()}", value)
        monkeypatch.setenv("SYNCLINE_SALESFORCE_LOGIN_URL", org.settings["login_url"])
        assert main(["salesforce", "--out", str(tmp_path), "--object", "Lead"]) == 0
        assert org.counters().get("write_calls", 0) == 0
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.yaml")} == {
        "account/check.yaml",
        "Lead/describe.yaml",
        "Lead/changes.yaml",
    }


def test_what_the_environment_lacks_is_named_and_its_values_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model = connector_class("mailchimp").config_model
    with pytest.raises(ConfigError, match="SYNCLINE_MAILCHIMP_API_KY") as caught:
        settings_of("mailchimp", model, {"SYNCLINE_MAILCHIMP_API_KY": "hush-us1", "SYNCLINE_MAILCHIMP_AUDIENCE": "a"})
    assert "hush" not in str(caught.value)


def test_an_unknown_kind_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mailchimpp"]) == 1
    assert "did you mean 'mailchimp'" in capsys.readouterr().err


def test_a_secret_that_begins_like_a_list_is_a_text() -> None:
    model = connector_class("mailchimp").config_model
    given = {"SYNCLINE_MAILCHIMP_API_KEY": "[hush-us1", "SYNCLINE_MAILCHIMP_AUDIENCE": "a"}
    assert settings_of("mailchimp", model, given).api_key.get_secret_value() == "[hush-us1"


def test_a_setting_that_is_said_twice_is_named() -> None:
    given = {"SYNCLINE_SALESFORCE_LOGIN": "hush", "SYNCLINE_SALESFORCE_LOGIN__CLIENT_ID": "a"}
    with pytest.raises(ConfigError, match="two things of salesforce: SYNCLINE_SALESFORCE_LOGIN__CLIENT_ID") as caught:
        settings_of("salesforce", connector_class("salesforce").config_model, given)
    assert "hush" not in str(caught.value)


def test_a_recording_without_a_call_that_is_kept_compares_nothing_and_says_so(
    newsletter: MailchimpSimulator, tmp_path: Path
) -> None:
    assert main(["mailchimp", "--out", str(tmp_path)]) == 0
    compared = ["drift", str(tmp_path / "account"), "--kept", str(tmp_path / "opens" / "read.yaml")]
    result = CliRunner().invoke(app, compared)
    assert isinstance(result.exception, ConfigError)
    assert "no call in common" in str(result.exception)
