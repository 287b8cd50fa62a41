"""What a CRM refused: looked at, given other values, tried again, or let go."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from syncline.cli import dead_letters as cli
from syncline.errors import ConfigError, ConnectorError
from syncline.store import dead_letters
from syncline.store.dead_letters import DeadLetter

BAD = "p0001@acme.example"


@pytest.fixture
def command(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`syncline dead-letters …` in the lab."""
    monkeypatch.setattr("syncline.host.Host.load", lambda *_, **__: lab.host())

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, arguments)

    return run


def refused(lab: Any) -> DeadLetter:
    """One of two people is refused."""
    lab.crowd(2)
    lab.world.fail_record(lab.keys()[BAD], reason="the last name is on the list of test names", code="VALIDATION")
    lab.run()
    [letter] = lab.dead_letters().values()
    return letter


def letters(lab: Any) -> list[DeadLetter]:
    with lab.store() as connection:
        return dead_letters.dead_letters(connection)


def test_the_list_shows_what_why_how_often_and_for_how_long(lab: Any, command: Callable[..., Any]) -> None:
    letter = refused(lab)
    lab.later(30)
    lab.run()
    lab.later(30)
    shown = command().output
    for text in (letter.id, "crm: record Lead", "the last name is on the list of test names", "2 d"):
        assert text in shown
    [listed] = json.loads(command("list", "--json").output)
    assert (listed["id"], listed["state"], listed["attempts"]) == (letter.id, "open", 2)


def test_one_is_shown_whole(lab: Any, command: Callable[..., Any]) -> None:
    letter = refused(lab)
    shown = json.loads(command("show", letter.id, "--json").output)
    assert (shown["fields"]["LastName"], shown["code"], shown["run"]) == ("Person 0001", "VALIDATION", letter.run_id)
    assert "Person 0001" in command("show", letter.id).output


def test_edited_values_are_written_and_hold_while_ours_stay_the_same(lab: Any, command: Callable[..., Any]) -> None:
    letter = refused(lab)
    said = command("edit", letter.id, "LastName=Mended").output
    assert "LastName = 'Mended'" in said
    lab.world.heal()
    assert lab.sink().created == 1
    assert lab.held(BAD)["LastName"] == "Mended"
    assert [found.state for found in letters(lab)] == ["mended"]
    for _ in range(2):
        assert lab.sink().changes == [], "nothing of ours changed, so nothing is written over what was given"
    lab.points(BAD, 5)
    assert lab.sink().updated == 1
    assert (lab.held(BAD)["Score"], lab.held(BAD)["LastName"]) == (55, "Mended")


def test_an_edited_value_ends_when_ours_changes(lab: Any, command: Callable[..., Any]) -> None:
    lab.fields["LastName"]["policy"] = "newest"
    letter = refused(lab)
    command("edit", letter.id, "LastName=Mended")
    lab.world.heal()
    lab.run()
    lab.later()
    lab.points(BAD, 0, last_name="Married")
    lab.run()
    assert lab.held(BAD)["LastName"] == "Married"
    lab.run()
    assert letters(lab) == []


def test_a_score_is_edited_as_the_number_it_is(lab: Any, command: Callable[..., Any]) -> None:
    letter = refused(lab)
    command("edit", letter.id, "Score=12.5")
    lab.world.heal()
    lab.run()
    assert str(lab.held(BAD)["Score"]) == "12.5"


def test_a_field_that_was_not_to_be_written_cannot_be_edited(lab: Any) -> None:
    letter = refused(lab)
    with pytest.raises(ConfigError, match=r"'Lastname=x' is no FIELD=VALUE of this write; did you mean 'LastName'"):
        cli._assignment(letter, "Lastname=x")
    with pytest.raises(ConfigError, match="Score: 'much' is no number"):
        cli._assignment(letter, "Score=much")
    with pytest.raises(ConfigError, match="Key"):
        cli._assignment(letter, f"Key={letter.key}x")


def test_a_discarded_write_is_left_until_something_else_is_to_be_written(lab: Any, command: Callable[..., Any]) -> None:
    letter = refused(lab)
    command("discard", letter.id)
    calls = lab.world.counters["upsert"]
    sink = lab.sink()
    assert (sink.rejected, lab.world.counters["upsert"]) == (0, calls)
    assert sink.skipped == {"discarded as a dead letter; tried again when something else is to be written": 1}
    assert [found.state for found in letters(lab)] == ["discarded"]
    lab.points(BAD, 5)
    lab.world.heal()
    assert lab.sink().created == 1
    assert letters(lab) == []


def test_a_discarded_task_never_comes_again(lab: Any, command: Callable[..., Any]) -> None:
    lab.crowd(1, points=90)
    lab.keys()
    lab.world.fail_call("create_tasks", ConnectorError("tasks are closed to us"), times=None)
    lab.run()
    [letter] = letters(lab)
    command("discard", letter.id)
    lab.world.heal()
    lab.later(24)
    assert lab.sink().tasks == 0
    assert lab.world.open_tasks() == []
    command("replay", letter.id)
    assert len(lab.world.open_tasks()) == 1


def test_a_task_gets_the_words_it_was_given(lab: Any, command: Callable[..., Any]) -> None:
    lab.crowd(1, points=90)
    lab.world.fail_call("create_tasks", ConnectorError("the subject is too long"), times=None)
    lab.run()
    [letter] = letters(lab)
    command("edit", letter.id, "subject=Call them")
    lab.world.heal()
    lab.run()
    assert [task.subject for task in lab.world.open_tasks()] == ["Call them"]


def test_replay_tries_just_these_people_now(lab: Any, command: Callable[..., Any]) -> None:
    letter = refused(lab)
    lab.points("p0000@acme.example", 5)
    lab.world.heal()
    assert command("replay", letter.id).exit_code == 0
    assert lab.held(BAD)["Score"] == 50
    assert lab.held("p0000@acme.example")["Score"] == 50, "the others wait for the next run"
    assert letters(lab) == []


def test_replay_wants_to_be_told_which(lab: Any, command: Callable[..., Any]) -> None:
    refused(lab)
    answer = command("replay")
    assert isinstance(answer.exception, ConfigError)
    assert "--all" in str(answer.exception)


def test_an_unknown_id_is_refused_with_those_there_are(lab: Any, command: Callable[..., Any]) -> None:
    letter = refused(lab)
    answer = command("show", "00000000")
    assert isinstance(answer.exception, ConfigError)
    assert letter.id in str(answer.exception)
