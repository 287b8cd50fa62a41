"""Runs and what they leave: the outbox, dead letters, actions, scores, standings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from syncline.model import Outcome, RemoteRef, Status
from syncline.scoring.result import ScoreResult
from syncline.segments.transitions import Standing
from syncline.store import dead_letters, runs, schema
from syncline.store.database import Database
from syncline.store.runs import ActionRow, OutboxRow

REF = RemoteRef("Lead", "L1")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    database = Database(f"sqlite:///{tmp_path}/state.db")
    with database.write() as found:
        yield found
    database.close()


def row(key: str, person: int = 1, *, operation: str = "upsert", object: str = "Lead", rank: int = 0) -> OutboxRow:
    return OutboxRow(operation, object, key, person, "{}", match="Id" if operation == "upsert" else "", rank=rank)


def enqueued(connection: Connection, *rows: OutboxRow, run: str = "run-1", name: str = "crm") -> list[OutboxRow]:
    runs.enqueue(connection, run, name, list(rows))
    found = connection.execute(select(schema.outbox).where(schema.outbox.c.run_id == run).order_by(schema.outbox.c.id))
    return [runs._outbox_row(stored) for stored in found]


def outcome(row: OutboxRow, status: Status, reason: str | None = None) -> tuple[OutboxRow, Outcome]:
    return row, Outcome(row.key, status, REF if status is not Status.REJECTED else None, reason, "CODE")


def record(
    connection: Connection, run: str, results: list[tuple[OutboxRow, Outcome]], at_us: int, name: str = "crm"
) -> None:
    """As the delivery does."""
    runs.record_outcomes(connection, results, at_us)
    dead_letters.note(connection, run, name, results, at_us)


def statuses(connection: Connection) -> list[str]:
    return list(connection.scalars(select(schema.outbox.c.status).order_by(schema.outbox.c.id)))


def test_the_outbox_gives_the_hottest_first_and_each_group_by_itself(connection: Connection) -> None:
    enqueued(connection, row("a", rank=1), row("b", rank=9), row("c", rank=5), row("d", object="Contact"))
    assert runs.groups(connection, "run-1", "crm", "upsert") == [("Lead", "Id", 3), ("Contact", "Id", 1)]
    taken = runs.take(connection, "run-1", "crm", "upsert", ("Lead", "Id"), 2)
    assert [found.key for found in taken] == ["b", "c"]
    assert runs.take(connection, "run-1", "other", "upsert", ("Lead", "Id"), 2) == []


def test_the_group_with_the_hottest_row_goes_first(connection: Connection) -> None:
    enqueued(connection, row("a", object="Contact", rank=3), row("b", rank=9), row("c", rank=1))
    assert [name for name, _, _ in runs.groups(connection, "run-1", "crm", "upsert")] == ["Lead", "Contact"]


def test_rows_are_settled_one_by_one(connection: Connection) -> None:
    a, b, c = enqueued(connection, row("a"), row("b", 2), row("c", 3))
    results = [outcome(a, Status.CREATED), outcome(b, Status.REJECTED, "no"), outcome(c, Status.RETRY, "locked")]
    record(connection, "run-1", results, 5)
    assert statuses(connection) == ["created", "rejected", "retry"]
    assert [(status, reason) for _, status, reason in runs.written(connection, "run-1", "crm")] == [
        ("created", None), ("rejected", "no"), ("retry", "locked")
    ]  # fmt: skip
    [letter] = dead_letters.dead_letters(connection)
    assert (letter.key, letter.reason, letter.code, letter.attempts, letter.person_id) == ("b", "no", "CODE", 1, 2)


def test_attempts_are_counted_up_and_the_latest_reason_kept(connection: Connection) -> None:
    for number, reason in enumerate(["first", "second", "third"], start=1):
        [bad] = enqueued(connection, row("a"), run=f"run-{number}")
        record(connection, f"run-{number}", [outcome(bad, Status.REJECTED, reason)], number)
    [letter] = dead_letters.dead_letters(connection, "crm")
    assert (letter.attempts, letter.reason, letter.first_us, letter.last_us, letter.run_id) == (
        3, "third", 1, 3, "run-3"
    )  # fmt: skip
    assert dead_letters.dead_letters(connection, "other") == []


def test_a_dead_letter_is_closed_by_the_same_write_accepted_and_by_no_other(connection: Connection) -> None:
    bad = enqueued(connection, row("a"), row("a", operation="add", object="Hot"), row("b", 2))
    record(connection, "run-1", [outcome(each, Status.REJECTED, "no") for each in bad], 1)
    good = enqueued(connection, row("a"), row("b", 2, object="Contact"), run="run-2")
    for each in good:  # a call carries one object's rows
        record(connection, "run-2", [outcome(each, Status.UPDATED)], 2)
    left = {(letter.operation, letter.object, letter.key) for letter in dead_letters.dead_letters(connection)}
    assert left == {("add", "Hot", "a"), ("upsert", "Lead", "b")}


def test_a_dead_letter_is_closed_when_its_write_is_no_longer_wanted(connection: Connection) -> None:
    bad = enqueued(connection, row("a", 1), row("b", 2), row("c", 3))
    record(connection, "run-1", [outcome(each, Status.REJECTED, "no") for each in bad], 1)
    dead_letters.close_settled(connection, "other", [1, 2, 3], [])
    assert len(dead_letters.dead_letters(connection)) == 3, "another CRM's plan says nothing"
    dead_letters.close_settled(connection, "crm", [1, 2], [("upsert", "Lead", "b")])
    assert {letter.key for letter in dead_letters.dead_letters(connection)} == {"b", "c"}, "3 was not planned for"


def test_dead_letters_of_what_was_not_planned_for_stay(connection: Connection) -> None:
    bad = enqueued(connection, row("a"), row("a", object="Contact"), row("a", operation="add", object="Hot"))
    for each in bad:
        record(connection, "run-1", [outcome(each, Status.REJECTED, "no")], 1)
    dead_letters.close_settled(connection, "crm", [1], [], {("upsert", "Lead")})
    left = {(letter.operation, letter.object) for letter in dead_letters.dead_letters(connection)}
    assert left == {("upsert", "Contact"), ("add", "Hot")}


def test_what_was_not_delivered_is_abandoned_run_by_run(connection: Connection) -> None:
    enqueued(connection, row("a"), run="run-1")
    [sent, _] = enqueued(connection, row("b"), row("c"), run="run-2")
    record(connection, "run-2", [outcome(sent, Status.UPDATED)], 1)
    assert runs.abandon(connection, "run-2") == 1
    assert statuses(connection) == ["pending", "updated", "abandoned"]
    assert runs.abandon(connection) == 1
    assert statuses(connection) == ["abandoned", "updated", "abandoned"]


def test_what_was_sent_without_an_answer_is_remembered_until_given_up(connection: Connection) -> None:
    runs.start_run(connection, "run-1", 1, 1)
    runs.start_run(connection, "run-2", 2, 2)
    a, b = enqueued(connection, row("a"), row("b"))
    runs.mark_sent(connection, [a])
    assert [found.key for found in runs.take(connection, "run-1", "crm", "upsert", ("Lead", "Id"), 9)] == ["b"]
    runs.abandon(connection)
    assert statuses(connection) == ["sent", "abandoned"]
    assert {run: [found.key for found in rows] for run, rows in runs.unanswered(connection, "crm").items()} == {
        "run-1": ["a"]
    }
    assert runs.unanswered(connection, "other") == {}
    runs.give_up_waiting(connection, "crm", "run-1")
    assert runs.unanswered(connection, "crm") == {}
    assert b.key == "b"


def test_what_was_sent_without_an_answer_is_remembered_however_many_runs_came_since(connection: Connection) -> None:
    runs.start_run(connection, "run-1", 0, 0)
    runs.mark_sent(connection, enqueued(connection, row("a")))
    for number in range(2, 70):
        runs.start_run(connection, f"run-{number}", number, number)
    assert list(runs.unanswered(connection, "crm")) == ["run-1"]


def test_an_unanswered_membership_is_awaited_until_its_next_answer(connection: Connection) -> None:
    lost = enqueued(connection, row("a", operation="add", object="Hot"), row("b", 2, operation="add", object="Hot"))
    runs.mark_sent(connection, lost[:1])
    runs.give_up_waiting(connection, "crm", "run-1")
    again = enqueued(connection, *lost, run="run-2")
    runs.mark_sent(connection, again)
    assert runs.lost_adds(connection, "other", again) == set()
    assert runs.lost_adds(connection, "crm", again) == {1}
    assert runs.lost_adds(connection, "crm", again) == set(), "answered now"


def test_old_outboxes_are_purged_but_for_what_is_open_and_the_latest_run(connection: Connection) -> None:
    for number in (1, 2, 3):
        runs.start_run(connection, f"run-{number}", number, number)
        done, sent = enqueued(connection, row("a"), row("b"), run=f"run-{number}")
        runs.mark_sent(connection, [done, *([sent] if number == 1 else [])])
        settled = [outcome(done, Status.UPDATED)] + ([] if number == 1 else [outcome(sent, Status.REJECTED, "no")])
        record(connection, f"run-{number}", settled, number)
        runs.finish_run(connection, f"run-{number}", number, "done", {})
    assert runs.purge(connection, "crm", 2) == 1, "only run-1 is older"
    assert runs.purge(connection, "other", 9) == 0
    assert runs.purge(connection, "crm", 9) == 2, "the latest stays"
    assert statuses(connection) == ["sent", "updated", "rejected"]
    assert [found["id"] for found in runs.runs(connection)] == ["run-3", "run-1"]
    assert len(dead_letters.dead_letters(connection)) == 1


def test_an_action_happens_once(connection: Connection) -> None:
    first, again = ActionRow("k", 1, "crm", "call", '{"n": 1}'), ActionRow("k", 1, "crm", "call", '{"n": 2}')
    runs.put_actions(connection, [first], "run-1", 1)
    runs.put_actions(connection, [again, ActionRow("l", 1, "other", "call", "{}")], "run-2", 2)
    assert runs.actions_waiting(connection, "crm", [1, 2]) == {1: [first]}
    [task] = enqueued(connection, row("k", operation="task", object=""))
    record(connection, "run-1", [outcome(task, Status.REJECTED, "no")], 1)
    assert runs.actions_waiting(connection, "crm", [1]) == {1: [first]}, "refused is not done"
    record(connection, "run-1", [outcome(task, Status.UNCHANGED)], 1)
    assert runs.actions_waiting(connection, "crm", [1]) == {}
    runs.put_actions(connection, [again], "run-3", 3)
    assert runs.actions_waiting(connection, "crm", [1]) == {}, "done stays done"


def score(value: str, band: str | None = None, version: int = 1) -> ScoreResult:
    return ScoreResult(
        name="interest", model="interest", version=version, value=Decimal(value), band=band, contributions=()
    )


def test_the_history_grows_only_with_what_changed(connection: Connection) -> None:
    for at, result in enumerate(
        [score("5"), score("5"), score("6.25"), score("6.25", "hot"), score("6.25", "hot", 2), score("6.25", "hot", 2)]
    ):
        runs.put_scores(connection, [(1, result)], at)
    history = connection.execute(select(schema.score_history).order_by(schema.score_history.c.id)).all()
    assert [(r.value_hundredths, r.band, r.version, r.as_of_us) for r in history] == [
        (500, None, 1, 0), (625, None, 1, 2), (625, "hot", 1, 3), (625, "hot", 2, 4)
    ]  # fmt: skip
    stored = connection.execute(select(schema.score)).all()
    assert [(r.person_id, r.name, r.value_hundredths, r.band) for r in stored] == [(1, "interest", 625, "hot")]


def test_standings_come_back_as_they_were(connection: Connection) -> None:
    since = datetime(2026, 6, 1, 8, tzinfo=UTC)
    standing = Standing(inside=True, armed=False, entered=2, since=since)
    runs.put_standings(connection, {(1, "segment:hot"): Standing(False, True, 1, since)})
    runs.put_standings(connection, {(1, "segment:hot"): standing, (2, "band:interest.hot"): standing})
    assert runs.standings(connection, [1]) == {(1, "segment:hot"): standing}


def test_runs_are_listed_newest_first(connection: Connection) -> None:
    for number in range(3):
        runs.start_run(connection, f"run-{number}", number, number)
        runs.finish_run(connection, f"run-{number}", number + 1, "done", {"status": "done"})
    assert [found["id"] for found in runs.runs(connection, limit=2)] == ["run-2", "run-1"]


def test_a_run_that_never_ended_was_killed(connection: Connection) -> None:
    runs.start_run(connection, "run-1", 1, 1)
    runs.start_run(connection, "run-2", 2, 2)
    assert [(found["id"], found["status"]) for found in runs.runs(connection)] == [
        ("run-2", "running"), ("run-1", "killed")
    ]  # fmt: skip
