"""The queue: what waits for a person, with both values; what they decide, and that only the next run does it."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.errors import ConfigError
from syncline.host import Host
from syncline.model import RemoteRef
from syncline.store.decisions import Case
from syncline.store.profiles import profiles
from syncline.sync.queue import Question, find

ADA = "ada@acme.example"
EVE = "eve@acme.example"


@pytest.fixture
def asked(each_lab: Any) -> Any:
    """Both sides have changed Ada's last name."""
    lab = each_lab
    ask(lab)
    disagree(lab, ADA)
    return lab


def ask(lab: Any) -> None:
    lab.fields["LastName"] = {"from": "person.last_name", "owner": "shared", "policy": "ask"}


def disagree(lab: Any, *emails: str) -> None:
    for email in emails:
        lab.points(email, 50, last_name="Byron")
    lab.run()
    lab.later()
    for email in emails:
        lab.world.edit(lab.ref(email), {"LastName": "King"}, who="Eva Neri")
        lab.points(email, 1, last_name="Lovelace")
    lab.run()
    lab.later()


def open_cases(lab: Any) -> list[Case]:
    with lab.host() as host:
        return list(host.waiting().fields)


def questions(lab: Any) -> list[Question]:
    with lab.host() as host:
        return list(host.waiting().records)


def decide(lab: Any, choice: Any, value: str | None = None, *, alike: bool = False) -> int:
    with lab.host() as host:
        return len(host.decide_field(host.waiting().fields[0], choice, value, alike=alike))


def attributes(host: Host, email: str) -> Any:
    with host.database.read() as connection:
        person = host.person(email)
        return profiles(connection, [person])[person].attributes


def test_a_case_has_both_values_with_writer_and_time(asked: Any) -> None:
    [case] = open_cases(asked)
    assert (case.theirs, case.ours, case.edit.by, case.edit.who) == ("King", "Lovelace", "person", "Eva Neri")
    assert (case.ref, case.field) == (asked.ref(ADA), "LastName")
    assert case.edit.at is not None
    assert case.ours_us is not None
    report = asked.sink()
    [told] = report.to_decide
    assert (report.undecided, told.case) == (1, case.id)


def test_the_id_and_the_date_stay_as_long_as_the_question_does(asked: Any) -> None:
    [before] = open_cases(asked)
    asked.points(ADA, 3)
    asked.run()
    assert open_cases(asked) == [before]


@pytest.mark.parametrize(
    ("choice", "value", "holds"), [("ours", None, "Lovelace"), ("theirs", None, "King"), ("value", "Noel", "Noel")]
)
def test_a_decision_is_carried_out_by_the_next_run_and_both_sides_agree(
    asked: Any, choice: str, value: str | None, holds: str
) -> None:
    calls = asked.world.counters["calls"]
    assert decide(asked, choice, value) == 1
    assert asked.world.counters["calls"] == calls, "deciding asks and writes nothing there"
    assert open_cases(asked) == []
    planned, sink = asked.plan().sinks["crm"], asked.sink()
    assert (planned.undecided, sink.undecided, sink.to_decide) == (0, 0, [])
    assert asked.held(ADA)["LastName"] == holds
    with asked.host() as host:
        assert attributes(host, ADA)["last_name"] == holds
    asked.later()
    quiet = asked.sink()
    assert (quiet.changes, quiet.undecided) == ([], 0)
    assert asked.rows("undecided") == [], "and it is settled"


@pytest.mark.parametrize("side", ["theirs", "ours"])
@pytest.mark.parametrize("choice", ["ours", "theirs"])
def test_what_changes_before_the_run_is_asked_anew(asked: Any, choice: str, side: str) -> None:
    [before] = open_cases(asked)
    decide(asked, choice)
    if side == "theirs":
        asked.world.edit(asked.ref(ADA), {"LastName": "Milbanke"})
    else:
        asked.points(ADA, 1, last_name="Gordon")
    asked.later()
    sink = asked.sink()
    held = "Milbanke" if side == "theirs" else "King"
    assert (asked.held(ADA)["LastName"], sink.undecided) == (held, 1)
    [after] = open_cases(asked)
    assert (after.id, after.decision) == (before.id, None)
    assert after.since_us > before.since_us


def test_a_decision_outlives_a_write_that_is_refused(asked: Any) -> None:
    decide(asked, "value", "Noel")
    asked.world.fail_record("*", times=1)
    assert asked.sink().rejected == 1
    asked.later()
    assert asked.sink().undecided == 0
    assert asked.held(ADA)["LastName"] == "Noel"


def test_a_value_that_the_field_cannot_hold_is_counted_and_nothing_is_written(each_lab: Any) -> None:
    lab = each_lab
    lab.fields["Phone"] = {"from": "person.first_name", "owner": "shared", "policy": "ask"}
    lab.fields["LastSeen"] = {"from": "person.seen", "owner": "shared", "policy": "ask"}
    lab.points(ADA, 50, seen="2026-06-01")
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastSeen": lab.now})
    lab.points(ADA, 50, seen="2026-06-02")
    lab.run()
    decide(lab, "value", "yesterday")
    sink = lab.sink()
    assert "decided: 'yesterday' is no date such as 2026-06-01" in str(sink.unfit)
    assert lab.held(ADA)["LastSeen"] == lab.now


def test_what_nobody_can_set_by_hand_is_not_given_a_value(lab: Any) -> None:
    lab.fields["Band"] = {"from": "score.interest.band", "owner": "shared", "policy": "ask"}
    lab.world.put("Lead", {"Email": ADA, "Band": "cold"})
    lab.points(ADA, 90)
    lab.run()
    with pytest.raises(ConfigError, match=r"Band comes from score\.interest\.band.*--ours or --theirs"):
        decide(lab, "value", "warm")
    decide(lab, "theirs")
    for _ in range(2):
        sink = lab.sink()
        assert (sink.undecided, lab.held(ADA)["Band"]) == (0, "cold"), "for as long as both stay what they are"
    lab.points(ADA, -50)
    lab.later()
    lab.world.edit(lab.ref(ADA), {"Band": "warm"})
    lab.points(ADA, 60)
    assert lab.sink().undecided == 1


def test_all_alike_decides_every_open_case_of_the_same_field_and_no_other(each_lab: Any) -> None:
    lab = each_lab
    ask(lab)
    lab.fields["FirstName"] = {"from": "person.first_name", "owner": "shared", "policy": "ask"}
    emails = [f"p{number}@acme.example" for number in range(4)]
    for email in emails:
        lab.points(email, 50, last_name="Byron", first_name="George")
    lab.run()
    lab.later()
    for email in emails:
        lab.world.edit(lab.ref(email), {"LastName": "King", "FirstName": "Will"})
        lab.points(email, 1, last_name="Lovelace", first_name="Ada")
    lab.run()
    with lab.host() as host:
        case = next(case for case in host.waiting().fields if case.field == "LastName")
        assert len(host.decide_field(case, "ours", alike=True)) == 4
    assert lab.sink().undecided == 4
    assert [(lab.held(email)["LastName"], lab.held(email)["FirstName"]) for email in emails] == [
        ("Lovelace", "Will")
    ] * 4


def test_a_run_of_another_sync_leaves_the_question_as_it_is(lab: Any) -> None:
    ask(lab)
    lab.data["syncs"].append(
        {**lab.sync, "name": "names", "fields": {"LastName": lab.fields.pop("LastName")}, "segments": {}}
    )
    disagree(lab, ADA)
    [case] = open_cases(lab)
    lab.run(sync="leads")
    assert open_cases(lab) == [case]
    lab.fields["LastName"] = {"from": "person.last_name", "owner": "shared", "policy": "only_if_empty"}
    lab.data["syncs"].pop()
    lab.run()
    assert open_cases(lab) == [], "and it goes with its policy"


def test_two_people_who_turn_out_to_be_one_have_one_question(lab: Any) -> None:
    from tests.scenario.test_matching import merge_people

    ask(lab)
    disagree(lab, ADA, EVE)
    assert len(open_cases(lab)) == 2
    with lab.host() as host:
        merge_people(host, gone=host.person(ADA), survivor=host.person(EVE))
    lab.run()
    assert len(lab.rows("undecided")) == 1


# Which record a person is


def two_candidates(lab: Any) -> tuple[RemoteRef, RemoteRef]:
    one, two = (lab.world.put(name, {"Email": ADA}) for name in ("Lead", "Contact"))
    lab.points(ADA, 90)
    lab.run()
    lab.later()
    return one, two


def settle(lab: Any, ref: RemoteRef | None) -> None:
    with lab.host() as host:
        [question] = host.waiting().records
        host.decide_record(question, ref)


def test_the_record_that_was_decided_on_is_theirs_for_good(each_lab: Any) -> None:
    lab = each_lab
    one, two = two_candidates(lab)
    calls = lab.world.counters["calls"]
    settle(lab, two)
    assert (lab.world.counters["calls"], questions(lab)) == (calls, [])
    sink = lab.sink()
    assert (sink.conflicts, sink.updated, sink.created) == (0, 1, 0)
    lab.later()
    lab.points(ADA, 1)
    assert lab.sink().conflicts == 0
    assert (lab.world.get(one)["Score"], lab.world.get(two)["Score"]) == (None, 91)
    [link] = lab.rows("link")
    assert (link["how"], link["remote_id"]) == ("decided", two.id)


def test_none_of_them_may_be_created(each_lab: Any) -> None:
    lab = each_lab
    one, two = two_candidates(lab)
    settle(lab, None)
    assert questions(lab) == []
    sink = lab.sink()
    assert (sink.conflicts, sink.created) == (0, 1)
    assert (lab.world.get(one)["Key"], lab.world.get(two)["Key"]) == (None, None)
    assert len(lab.records(ADA)) == 3
    lab.later()
    assert (lab.sink().conflicts, lab.conflicts()) == (0, [])


def test_a_key_typed_by_hand_goes_before_a_denial(lab: Any) -> None:
    lab.sync["when_missing"] = "skip"
    one, _ = two_candidates(lab)
    settle(lab, None)
    lab.run()
    lab.world.edit(one, {"Key": lab.keys()[ADA]})
    lab.run()
    assert lab.world.get(one)["Score"] == 90


def test_a_record_of_somebody_else_can_be_given_to_this_person(each_lab: Any) -> None:
    lab = each_lab
    lab.points(ADA, 50)
    lab.run()
    ref = lab.ref(ADA)
    lab.world.edit(ref, {"Email": EVE})
    lab.points(EVE, 90)
    lab.run()
    lab.later()
    settle(lab, ref)
    for _ in range(3):
        lab.run()
        lab.later()
    keys = lab.keys()
    assert (lab.world.get(ref)["Key"], lab.world.get(ref)["Score"]) == (keys[EVE], 90)
    assert lab.held(ADA)["Key"] == keys[ADA], "who has lost theirs gets another one, as anybody who is missing"
    with lab.host() as host:
        [ended] = host.explain(ADA).to_json()["past"]
    assert (ended["id"], ended["why"]) == (ref.id, "decided anew")


def test_what_cannot_be_decided_says_why(lab: Any) -> None:
    two_candidates(lab)
    with lab.host() as host:
        found = host.waiting()
        [question] = found.records
        with pytest.raises(ConfigError, match=r"crm has no living record Lead/nobody.*candidates are"):
            host.decide_record(question, RemoteRef("Lead", "nobody"))
        with pytest.raises(ConfigError, match=r"no open question is called 'ffff'.*nearest|syncline conflicts"):
            find(found, "ffff")
        assert find(found, question.id[:6]) is question


def test_records_that_carry_the_persons_key_cannot_all_be_denied(lab: Any) -> None:
    lab.points(ADA, 50)
    key = lab.keys()[ADA]
    for name in ("Lead", "Contact"):
        lab.world.put(name, {"Email": "x@else.example", "Key": key})
    lab.run()
    with lab.host() as host, pytest.raises(ConfigError, match="carries this person's key"):
        host.decide_record(host.waiting().records[0], None)
