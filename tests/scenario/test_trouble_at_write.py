"""Trouble of a whole connection while it is written: who stops, who goes on, and what the next run makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from syncline.errors import AuthError, ConnectorError, ContractError, RateLimitError, SchemaDriftError, TransientError
from syncline.model import Outcome, Status, Write
from syncline.store.runs import OutboxRow
from syncline.sync.retry import retrying
from syncline.testing.memory import MemorySink

WRITES = ("upsert", "create_tasks", "set_members")


def doubled(lab: Any, emails: Sequence[str]) -> list[str]:
    return [email for email in emails if len(lab.records(email)) > 1]


def complete(lab: Any, emails: Sequence[str]) -> bool:
    """Everybody once, with one task and one membership."""
    refs = [lab.ref(email) for email in emails]
    about = sorted(task.about.id for task in lab.world.tasks.values())
    return about == sorted(ref.id for ref in refs) and lab.world.segments["Hot leads"] == set(refs)


AGAIN = {"before the write": False, "after the write": True}


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("applied", AGAIN.values(), ids=AGAIN)
def test_a_lost_connection_doubles_nothing_and_loses_nothing(each_lab: Any, method: str, applied: bool) -> None:
    lab = each_lab
    emails = lab.crowd(4, points=90)
    lab.world.fail_call(method, TransientError("connection reset"), times=None, applied=applied)
    report = lab.run()
    assert (report.status, report.sinks["crm"].error) == ("rejected", "connection reset")
    lab.world.heal()
    lab.later()
    assert lab.run().status == "done"
    assert complete(lab, emails)
    before = lab.world.counters["write_calls"]
    assert (lab.sink().changes, lab.world.counters["write_calls"]) == ([], before)


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("applied", AGAIN.values(), ids=AGAIN)
def test_a_connection_lost_once_is_not_even_noticed(lab: Any, method: str, applied: bool) -> None:
    emails = lab.crowd(4, points=90)
    lab.world.fail_call(method, TransientError("connection reset"), times=1, applied=applied)
    report = lab.run()
    assert (report.status, report.sinks["crm"].error) == ("done", None)
    assert complete(lab, emails)


@pytest.mark.parametrize("method", WRITES)
def test_weather_in_the_middle_of_many_batches_leaves_the_rest_for_the_next_run(lab: Any, method: str) -> None:
    lab.limits = type(lab.limits)(upsert_batch=3, task_batch=3, member_batch=3)
    emails = lab.crowd(10, points=90)
    lab.world.fail_call(method, TransientError("out of reach"), after=2, times=None)
    sink = lab.sink()
    assert {"upsert": sink.created, "create_tasks": sink.tasks, "set_members": sink.members}[method] == 6
    lab.world.heal()
    sink = lab.sink()
    assert {"upsert": sink.created, "create_tasks": sink.tasks, "set_members": sink.members}[method] == 4
    assert complete(lab, emails)


def test_what_was_lost_after_the_write_is_acknowledged_all_the_same(lab: Any) -> None:
    """Else a value of ours, its answer lost, would look like a person's for ever and never be updated again."""
    lab.fields["LastName"]["policy"] = "human_wins"
    lab.points("ada@acme.example", 50, last_name="Byron")
    lab.world.fail_call("upsert", TransientError("connection reset"), times=None, applied=True)
    lab.run()
    lab.world.heal()
    lab.later()
    lab.run()
    lab.later()
    lab.points("ada@acme.example", 1, last_name="Lovelace")
    lab.run()
    assert lab.held("ada@acme.example")["LastName"] == "Lovelace"


def ours(lab: Any) -> dict[str, bool]:
    """Record → whether its membership counts as made by us."""
    return {row["remote_id"]: row["ours"] for row in lab.rows("member")}


def test_a_membership_that_a_person_made_is_not_ours(lab: Any) -> None:
    emails = lab.crowd(2)
    lab.run()
    theirs, mine = lab.ref(emails[0]), lab.ref(emails[1])
    lab.world.segments["Hot leads"].add(theirs)
    for email in emails:
        lab.points(email, 40)
    lab.run()
    assert ours(lab) == {theirs.id: False, mine.id: True}
    assert lab.sink().changes == [], "it is not added again either"


@pytest.mark.parametrize("times", [1, None], ids=["once", "until the next run"])
def test_a_membership_is_ours_although_the_answer_was_lost(lab: Any, times: int | None) -> None:
    [email] = lab.crowd(1, points=90)
    lab.world.fail_call("set_members", TransientError("connection reset"), times=times, applied=True)
    lab.run()
    lab.world.heal()
    lab.run()
    assert ours(lab) == {lab.ref(email).id: True}
    assert {row["status"] for row in lab.rows("outbox")}.isdisjoint({"sent", "pending"})


def test_delivering_a_batch_compares_no_rows_with_each_other(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty thousand rows of a bulk batch would be compared a billion times."""
    compared: list[object] = []
    monkeypatch.setattr(OutboxRow, "__eq__", lambda self, other: bool(compared.append(other)))
    lab.crowd(5, points=90)
    assert lab.sink().tasks == 5
    assert compared == []


def test_refused_credentials_pause_the_connection_and_no_other(lab: Any) -> None:
    lab.add_second_crm()
    emails = lab.crowd(3, points=90)
    lab.world.fail_call("upsert", AuthError("the token was revoked", where="crm"), times=None)
    report = lab.run()
    assert (report.status, report.exit_code) == ("paused", 4)
    assert "the token was revoked" in report.sinks["crm"].error
    assert lab.world.counters["upsert"] == 1, "credentials are not tried again"
    assert lab.world.counters["write_calls"] == 1, "nothing else of that connection is written"
    assert lab.world.refs("Lead") == []
    assert (report.sinks["other"].created, report.sinks["other"].error) == (3, None)
    assert all(lab.records(email, lab.second) for email in emails)


def test_credentials_refused_while_reading_stop_that_crm_before_any_write(lab: Any) -> None:
    lab.add_second_crm()
    lab.crowd(2)
    lab.world.fail_call("describe", AuthError("expired"), times=None)
    report = lab.run()
    assert (report.status, report.exit_code) == ("paused", 4)
    assert lab.world.counters["write_calls"] == 0
    assert report.sinks["other"].created == 2


def test_a_source_that_cannot_log_in_does_not_keep_others_from_being_written(lab: Any) -> None:
    lab.crowd(2)
    lab.run()
    lab.points("p0001@acme.example", 7)
    lab.run()
    lab.world.fail_call("read", AuthError("revoked"), times=None)
    lab.world.edit(lab.ref("p0001@acme.example"), {"Score": 1})
    report = lab.run()
    assert (report.status, report.sources["shop"].error) == ("paused", "revoked")
    assert lab.held("p0001@acme.example")["Score"] == 57, "what we know is still written"


@pytest.mark.parametrize(
    "error", [ConnectorError("broken"), TransientError("out of reach")], ids=["refused", "out of reach"]
)
def test_a_failing_source_clears_and_removes_nothing(lab: Any, error: Exception) -> None:
    emails = lab.crowd(3, points=90)
    lab.run()
    before = lab.holdings()
    lab.world.fail_call("read", error, times=None)
    report = lab.run()
    assert report.exit_code == 1
    assert report.sources["shop"].error
    assert report.sinks["crm"].changes == []
    assert lab.holdings() == before
    assert complete(lab, emails)


def test_weather_is_waited_out_as_long_as_the_vendor_asks(lab: Any) -> None:
    lab.crowd(1)
    waited: list[float] = []
    lab.world.fail_call("upsert", RateLimitError("slow down", retry_after=timedelta(seconds=37)), times=2)
    with lab.host(retry=retrying(attempts=5, sleep=waited.append)) as host:
        report = host.run()
    assert (report.status, report.sinks["crm"].created) == ("done", 1)
    assert len(waited) == 2
    assert min(waited) >= 37


def test_a_field_that_vanishes_between_preflight_and_write_stops_and_is_parked_on_the_next_run(lab: Any) -> None:
    emails = lab.crowd(2)
    drift = SchemaDriftError("there is no field 'Band'", field="Band", where="Lead")
    lab.world.fail_call("upsert", drift, times=None)
    report = lab.run()
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert "Band" in report.sinks["crm"].error
    assert lab.world.counters["upsert"] == 1, "neither tried again nor halved"
    lab.world.heal()
    lab.world.drop_field("Lead", "Band")
    report = lab.run()
    assert report.sinks["crm"].created == 2
    assert any(parked.startswith("Lead.Band: ") for parked in report.sinks["crm"].parked)
    assert all(lab.records(email) for email in emails)


Bend = Callable[[Sequence[Outcome]], Sequence[Outcome]]


@pytest.mark.parametrize(
    "bend",
    [lambda found: found[:-1], lambda found: [*found, found[0]], lambda found: found[::-1], lambda found: []],
    ids=["one too few", "one too many", "another order", "none"],
)
def test_a_sink_that_answers_wrongly_is_named_and_believed_nothing(
    lab: Any, monkeypatch: pytest.MonkeyPatch, bend: Bend
) -> None:
    lab.crowd(3)
    upsert = MemorySink.upsert

    def bent(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        return bend(upsert(self, object, writes))

    monkeypatch.setattr(MemorySink, "upsert", bent)
    report = lab.run()
    assert report.status == "stopped"
    assert "must give one per write, same order" in report.sinks["crm"].error
    assert lab.rows("acknowledged") == []
    monkeypatch.undo()
    report = lab.run()
    assert report.status == "done"
    assert len(lab.world.refs("Lead")) == 3, "found by their keys, not created again"


def test_an_accepted_write_without_a_record_id_breaks_the_contract(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.crowd(2)

    def anonymous(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        return [Outcome(write.key, Status.CREATED) for write in writes]

    monkeypatch.setattr(MemorySink, "upsert", anonymous)
    report = lab.run()
    assert report.status == "stopped"
    assert "record id" in report.sinks["crm"].error


def test_a_bug_in_a_plugin_leaves_a_failed_run_and_nothing_pending(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.crowd(2)

    def buggy(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        raise KeyError("id")

    monkeypatch.setattr(MemorySink, "upsert", buggy)
    with pytest.raises(KeyError):
        lab.run()
    assert [run["status"] for run in lab.rows("run")] == ["failed"]
    assert {row["status"] for row in lab.rows("outbox")} == {"sent"}, "nobody knows what became of it"
    monkeypatch.undo()
    assert lab.sink().created == 2
    assert {row["status"] for row in lab.rows("outbox")} == {"abandoned", "created"}


def test_contract_errors_of_a_plugin_are_never_halved(lab: Any) -> None:
    lab.crowd(4)
    lab.world.fail_call("upsert", ContractError("the plugin lost count"), times=None)
    report = lab.run()
    assert report.status == "stopped"
    assert lab.world.counters["upsert"] == 1
