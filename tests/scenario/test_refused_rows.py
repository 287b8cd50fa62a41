"""A batch that is refused in part, or as a whole: the truth, row by row, and what comes of it on the next run."""

from __future__ import annotations

import random
from typing import Any

import pytest

from syncline.errors import AuthError, ConnectorError, TransientError
from syncline.model import Status

BATCH = 200


def refuse(lab: Any, bad: list[str]) -> dict[str, str]:
    """Each of these keys is refused with a reason of its own."""
    reasons = {key: f"refused because of {number}" for number, key in enumerate(bad)}
    for key, reason in reasons.items():
        lab.world.fail_record(key, reason=reason, code=f"CODE_{reason[-1]}")
    return reasons


@pytest.mark.parametrize("count", [0, 1, 2, 50, 199, 200], ids="{} of 200 bad".format)
def test_a_partly_refused_batch_is_told_row_by_row(lab: Any, count: int, pytestconfig: pytest.Config) -> None:
    emails = lab.crowd(BATCH)
    keys = lab.keys()
    seed = pytestconfig.getoption("--seed")
    bad = random.Random(f"{seed}:{count}").sample(sorted(keys.values()), count)
    reasons = refuse(lab, bad)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (sink.created, sink.rejected) == (BATCH - count, count)
    assert report.status == ("rejected" if count else "done")
    assert report.exit_code == (1 if count else 0)
    assert {c.person: c.reason for c in sink.changes if c.status == "rejected"} == reasons
    written = {email for email in emails if lab.records(email)}
    assert written == {email for email in emails if keys[email] not in reasons}
    letters = lab.dead_letters()
    assert {key: letter.reason for key, letter in letters.items()} == reasons
    assert lab.world.counters["upsert"] == 1


def test_what_was_refused_comes_again_with_fresh_values(each_lab: Any) -> None:
    lab = each_lab
    lab.crowd(5, points=50)
    keys = lab.keys()
    bad = "p0003@acme.example"
    lab.world.fail_record(keys[bad], reason="no")
    lab.run()
    lab.later()
    assert lab.run().exit_code == 1
    [letter] = lab.dead_letters().values()
    assert letter.attempts == 2
    assert letter.last_us > letter.first_us
    lab.later()
    lab.points(bad, 25)
    lab.world.heal()
    report = lab.run()
    assert (report.exit_code, report.sinks["crm"].created) == (0, 1)
    assert lab.held(bad)["Score"] == 75
    assert lab.dead_letters() == {}
    assert lab.sink().changes == []


def test_a_dead_letter_is_closed_when_nothing_is_left_to_write(lab: Any) -> None:
    """A person mended it in the CRM: what we wanted to write stands there already."""
    lab.crowd(2)
    lab.run()
    lab.points("p0001@acme.example", 5)
    keys = lab.keys()
    lab.world.fail_record(keys["p0001@acme.example"], reason="locked by a process")
    lab.run()
    assert set(lab.dead_letters()) == {keys["p0001@acme.example"]}
    lab.world.edit(lab.ref("p0001@acme.example"), {"Score": 55, "Why": "points +55"})
    assert lab.run().status == "done"
    assert lab.dead_letters() == {}


def test_a_refused_task_waits_and_is_counted(lab: Any) -> None:
    lab.crowd(2, points=90)
    lab.keys()
    lab.world.fail_call("create_tasks", ConnectorError("the task object is locked"), times=None)
    first = lab.sink()
    assert (first.tasks, first.rejected) == (0, 2)
    assert {letter.attempts for letter in lab.dead_letters().values()} == {1}
    second = lab.sink()
    assert second.rejected == 2
    assert {letter.attempts for letter in lab.dead_letters().values()} == {2}
    lab.world.heal()
    assert lab.sink().tasks == 2
    assert lab.dead_letters() == {}
    assert lab.sink().tasks == 0


@pytest.mark.parametrize("count", [1, 3, 20], ids="{} bad".format)
def test_a_batch_refused_whole_is_halved_until_only_the_bad_rows_are_left(
    lab: Any, count: int, pytestconfig: pytest.Config
) -> None:
    emails = lab.crowd(BATCH)
    keys = lab.keys()
    bad = random.Random(f"{pytestconfig.getoption('--seed')}:{count}").sample(emails, count)
    for email in bad:
        lab.world.refuse_batches_with(keys[email], ConnectorError(f"{email} is malformed"))
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.created, sink.rejected) == ("rejected", BATCH - count, count)
    assert {email for email in emails if not lab.records(email)} == set(bad)
    assert {k: letter.reason for k, letter in lab.dead_letters().items()} == {
        keys[email]: f"{email} is malformed" for email in bad
    }
    log2 = 8
    assert lab.world.counters["upsert"] <= 1 + 2 * count * log2


@pytest.mark.parametrize("count", [1, 2, 50], ids="{} bad".format)
def test_bad_rows_are_found_where_all_are_refused_with_the_same_words(
    lab: Any, count: int, pytestconfig: pytest.Config
) -> None:
    emails = lab.crowd(BATCH)
    keys = lab.keys()
    bad = random.Random(f"{pytestconfig.getoption('--seed')}:{count}").sample(emails, count)
    for email in bad:
        lab.world.refuse_batches_with(keys[email], ConnectorError("malformed"))
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.created, sink.rejected, sink.error) == ("rejected", BATCH - count, count, None)
    assert set(lab.dead_letters()) == {keys[email] for email in bad}


@pytest.mark.parametrize("method", ["upsert", "create_tasks"])
def test_a_refusal_that_concerns_every_row_costs_a_few_calls_and_is_nobodys_dead_letter(lab: Any, method: str) -> None:
    """A missing right on an object; what it does not concern is written all the same."""
    lab.crowd(BATCH, points=90)
    lab.world.fail_call(method, ConnectorError("INSUFFICIENT_ACCESS: no right to it"), times=None)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.error, sink.rejected, sink.retry) == (
        "stopped", "INSUFFICIENT_ACCESS: no right to it", 0, 0
    )  # fmt: skip
    assert lab.world.counters[method] == 1 + 2 + 8
    written = 0 if method == "upsert" else BATCH
    assert (sink.created, sink.tasks, sink.members, sink.waiting) == (written, 0, written, 2 * (BATCH - written))
    assert lab.dead_letters() == {}
    lab.world.heal()
    again = lab.sink()
    assert (again.created, again.tasks, again.members) == (BATCH - written, BATCH, BATCH - written)


def test_tasks_and_members_of_a_refused_record_wait(lab: Any) -> None:
    lab.crowd(2, points=90)
    keys = lab.keys()
    lab.world.fail_record(keys["p0001@acme.example"], reason="no")
    sink = lab.sink()
    assert (sink.created, sink.rejected, sink.retry, sink.waiting) == (1, 1, 0, 2)
    held = {change.operation: change.reason for change in sink.changes if change.status == "waiting"}
    assert held == dict.fromkeys(("task", "add"), "its person is not in the CRM yet")
    lab.world.heal()
    sink = lab.sink()
    assert (sink.created, sink.tasks, sink.members, sink.waiting) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [(AuthError("the token was revoked"), "paused"), (TransientError("out of reach"), "rejected")],
    ids=["credentials", "weather"],
)
def test_what_was_written_before_a_halved_batch_broke_off_is_recorded(lab: Any, error: Exception, status: str) -> None:
    """The first half was accepted; the second half meets trouble of the whole connection."""
    emails = lab.crowd(8)
    keys = lab.keys()
    lab.world.refuse_batches_with(keys[emails[7]], ConnectorError("malformed"))
    lab.world.fail_call("upsert", error, after=2, times=None)
    report = lab.run()
    sink = report.sinks["crm"]
    there = [email for email in emails if lab.records(email)]
    assert there
    assert (report.status, sink.created) == (status, len(there))
    assert len(lab.rows("link")) == len(lab.rows("acknowledged")) == len(there)
    lab.world.heal()
    assert lab.sink().created == len(emails) - len(there)


def test_one_record_that_met_weather_comes_again(lab: Any) -> None:
    lab.crowd(3)
    keys = lab.keys()
    lab.world.fail_record(keys["p0001@acme.example"], status=Status.RETRY, reason="row is locked", times=1)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (sink.created, sink.retry, sink.rejected, report.exit_code) == (2, 1, 0, 1)
    assert lab.dead_letters() == {}, "weather is no dead letter"
    again = lab.sink()
    assert (again.created, again.retry) == (1, 0)
