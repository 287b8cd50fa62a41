"""The first runs into a CRM that was never written to: look, then updates, then new records in waves."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.errors import AuthError, ConfigError
from syncline.sync import rollout

WAVES = (3, 6, None)


@pytest.fixture(autouse=True)
def small_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "WAVES", WAVES)


@pytest.fixture
def staged(lab: Any) -> Any:
    """Twenty people, the first five of whom the CRM knows; two of them are hot."""
    lab.sync["first_run"] = "staged"
    for number, email in enumerate(lab.crowd(20, points=50)):
        if number < 5:
            lab.world.put("Lead", {"Email": email.title(), "LastName": "Known"})
        if number in (0, 19):
            lab.points(email, 40)
    return lab


def stage(lab: Any) -> tuple[str, int]:
    [row] = lab.rows("rollout")
    return row["stage"], row["wave"]


def writes(lab: Any) -> int:
    return int(lab.world.counters["write_calls"])


def test_a_new_sync_is_staged_unless_it_says_otherwise(lab: Any) -> None:
    del lab.sync["first_run"]
    lab.points("ada@acme.example", 50)
    assert lab.run().status == "stopped"


def test_the_first_run_looks_and_writes_nothing(staged: Any) -> None:
    for _ in range(2):  # harmless twice
        report = staged.run()
        sink = report.sinks["crm"]
        assert (report.status, report.exit_code, writes(staged)) == ("stopped", 3, 0)
        assert (stage(staged), staged.rows("link"), staged.rows("outbox")) == (("match", 0), [], [])
        match = sink.rollout.match
        assert (match.by_email, match.other_case, match.absent, match.ambiguous) == (5, 5, 15, 0)
        assert sink.rollout.held == {"updates": 5, "creates": 15, "tasks": 2, "members": 2}
        assert "5 people are there already (5 found by e-mail address, 5 of them in other letter case)" in sink.error
        assert "15 are to be created" in sink.error
        assert "`syncline run --go-ahead`" in sink.error
        assert (sink.created, sink.updated, sink.changes, sink.planned_calls) == (0, 0, [], 0)
        staged.later()
    keys = staged.keys()
    assert set(match.examples["by_email"]) == {keys[f"p000{n}@acme.example"] for n in range(5)}


def test_who_is_ambiguous_shows_in_the_match_report_and_among_the_conflicts(staged: Any) -> None:
    staged.world.put("Contact", {"Email": "p0001@acme.example"})
    assert staged.sink().rollout.match.ambiguous == 1
    assert len(staged.conflicts()) == 1


def test_what_is_mended_in_the_crm_before_the_go_ahead_counts(staged: Any) -> None:
    """Nobody is linked by a run that only looks."""
    staged.run()
    wrong = staged.ref("p0000@acme.example")
    staged.world.edit(wrong, {"Email": "somebody@else.example"})
    staged.run(go_ahead=True)
    assert staged.world.get(wrong)["Score"] is None


def test_then_come_updates_and_nothing_that_sales_people_see(staged: Any) -> None:
    staged.run()
    for go_ahead in (True, False):
        report = staged.run(go_ahead=go_ahead)
        sink = report.sinks["crm"]
        assert (report.status, sink.created, sink.tasks, sink.members) == ("done", 0, 0, 0)
        assert (sink.updated, stage(staged)) == (5 if go_ahead else 0, ("updates", 0))
        assert (len(staged.world.refs("Lead")), staged.world.tasks) == (5, {})
        assert "15 new records, 2 tasks and 2 memberships wait" in sink.rollout.next


def test_then_new_records_in_waves_that_follow_by_themselves(staged: Any) -> None:
    staged.run()
    staged.run(go_ahead=True)
    done = []
    for go_ahead in (True, False, False):
        report = staged.run(go_ahead=go_ahead)
        sink = report.sinks["crm"]
        assert (report.status, sink.rollout.stage) == ("done", "creates")
        done.append((sink.rollout.wave, sink.created, sink.tasks, sink.members, sink.rollout.held.get("creates", 0)))
    assert done == [(1, 3, 1, 1, 12), (2, 6, 0, 0, 6), (3, 6, 1, 1, 0)], "tasks come with their person"
    assert stage(staged) == ("whole", 0)
    report = staged.run()
    assert (report.sinks["crm"].rollout, report.sinks["crm"].changes) == (None, [])
    assert len(staged.world.refs("Lead")) == 20, "nobody twice"
    assert len(staged.world.tasks) == 2


def test_a_wave_that_the_crm_refuses_comes_again_and_says_why(staged: Any) -> None:
    staged.run()
    staged.run(go_ahead=True)
    keys = staged.keys()
    staged.world.fail_record(keys["p0006@acme.example"], reason="a validation rule")
    for go_ahead in (True, False):
        sink = staged.run(go_ahead=go_ahead).sinks["crm"]
        assert stage(staged) == ("creates", 0)
        assert "stays at this wave" in sink.rollout.next
        assert "were rejected" in sink.rollout.next
        assert "`syncline dead-letters`" in sink.rollout.next
    staged.world.heal()
    assert staged.sink().rejected == 0
    assert stage(staged) == ("creates", 1)


def test_a_wave_that_was_cut_off_comes_again(staged: Any) -> None:
    staged.run()
    staged.run(go_ahead=True)
    staged.world.fail_call("upsert", AuthError("revoked"), times=None)
    assert staged.run(go_ahead=True).status == "paused"
    assert stage(staged) == ("creates", 0)
    staged.world.heal()
    staged.run()
    assert stage(staged) == ("creates", 1)


def test_waves_are_the_limit_where_the_guard_would_be(staged: Any) -> None:
    staged.sync["guard"] = {"creates": 2, "tasks": 0}
    staged.run()
    staged.run(go_ahead=True)
    error = staged.run(go_ahead=True).sinks["crm"].error
    assert "1 tasks, the guard allows 0" in error, "tasks are guarded all the same"
    assert "creates" not in error
    assert staged.run(allow={"tasks": None}).sinks["crm"].created == 3


def test_a_go_ahead_is_refused_where_nothing_waits_for_it(staged: Any) -> None:
    with pytest.raises(ConfigError, match=r"crm was never looked at\. `syncline run` does that first"):
        staged.run(go_ahead=True)
    staged.run()
    for _ in range(2):
        staged.run(go_ahead=True)
    with pytest.raises(ConfigError, match="crm goes on by itself"):
        staged.run(go_ahead=True)
    assert stage(staged) == ("creates", 1)


def test_a_plan_shows_what_the_go_ahead_would_do_and_moves_nothing(staged: Any) -> None:
    staged.run()
    here, ahead = staged.plan().sinks["crm"], staged.plan(go_ahead=True)
    assert (here.changes, here.rollout.stage) == ([], "match")
    sink = ahead.sinks["crm"]
    assert (ahead.status, sink.rollout.stage, sink.updated, sink.created) == ("planned", "updates", 5, 0)
    assert (stage(staged), writes(staged)) == (("match", 0), 0)
    done = staged.run(go_ahead=True).sinks["crm"]
    assert (done.updated, writes(staged)) == (sink.updated, sink.planned_calls)
    ahead = staged.plan(go_ahead=True).sinks["crm"]
    assert (ahead.rollout.stage, ahead.created, ahead.tasks) == ("creates", 3, 1)


def test_a_plan_does_not_count_as_the_look(staged: Any) -> None:
    staged.plan()
    assert staged.rows("rollout") == []
    with pytest.raises(ConfigError, match="never looked at"):
        staged.run(go_ahead=True)


def test_one_person_is_written_whatever_the_stage(staged: Any) -> None:
    """Whoever asks for one record looks at it; it moves nobody else."""
    staged.run()
    sink = staged.run(person="p0019@acme.example").sinks["crm"]
    assert (sink.created, sink.tasks, sink.rollout) == (1, 1, None)
    assert stage(staged) == ("match", 0)
    assert staged.run().sinks["crm"].rollout.match.known == 1


def test_a_source_of_one_crm_that_is_staged_keeps_the_others_going(staged: Any) -> None:
    staged.add_second_crm()
    staged.data["syncs"][1]["first_run"] = "whole"
    report = staged.run()
    assert (report.status, len(staged.second.refs("Lead")), len(staged.world.refs("Lead"))) == ("stopped", 20, 5)
    assert {(row["connection"], row["stage"]) for row in staged.rows("rollout")} == {
        ("crm", "match"), ("other", "whole")
    }  # fmt: skip


def test_a_crm_that_was_written_to_is_past_its_first_run(lab: Any) -> None:
    lab.crowd(4)
    assert lab.run().status == "done"
    lab.sync["first_run"] = "staged"
    lab.points("new@acme.example", 50)
    report = lab.run()
    assert (report.status, report.sinks["crm"].created, report.sinks["crm"].rollout) == ("done", 1, None)


def test_a_reset_begins_anew(lab: Any) -> None:
    """The connection reaches another CRM now, and nothing was ever written there."""
    lab.crowd(4)
    lab.run()
    lab.sync["first_run"] = "staged"
    with lab.host() as host:
        host.reset("crm")
    assert lab.run().sinks["crm"].rollout.stage == "match"
    assert lab.rows("description") != []


def test_tasks_noted_while_it_only_looked_come_later_once(staged: Any) -> None:
    for _ in range(3):
        staged.run()
        staged.later()
    for go_ahead in (True, True, False, False, False):
        staged.run(go_ahead=go_ahead)
    assert len(staged.world.tasks) == 2
