"""In which order and in which batches a plan is carried out, and what is read for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from syncline.model import ChangePage, Limits, Member, Outcome, TaskWrite, Write
from syncline.testing.memory import MemorySink


class Calls:
    """The calls a CRM got, in order: (method, how many rows, their keys)."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, int, list[str]]] = []
        self.cursors: list[str | None] = []

    @property
    def sizes(self) -> list[tuple[str, int]]:
        return [(method, count) for method, count, _ in self.writes]

    def note(self, method: str, rows: Sequence[Any]) -> None:
        if rows:
            self.writes.append((method, len(rows), [row.key for row in rows]))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    upsert, create_tasks = MemorySink.upsert, MemorySink.create_tasks
    set_members, changes = MemorySink.set_members, MemorySink.changes

    def watched_upsert(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        found.note(f"upsert {object} by {writes[0].match[0]}", writes)
        return upsert(self, object, writes)

    def watched_tasks(self: MemorySink, tasks: Sequence[TaskWrite]) -> Sequence[Outcome]:
        found.note("tasks", tasks)
        return create_tasks(self, tasks)

    def watched_members(
        self: MemorySink, segment: str, add: Sequence[Member], remove: Sequence[Member]
    ) -> Sequence[Outcome]:
        found.note("add", add)
        found.note("remove", remove)
        return set_members(self, segment, add, remove)

    def watched_changes(
        self: MemorySink, object: str, fields: Sequence[str], cursor: str | None
    ) -> Iterator[ChangePage]:
        found.cursors.append(cursor)
        return changes(self, object, fields, cursor)

    for name, method in (
        ("upsert", watched_upsert), ("create_tasks", watched_tasks), ("set_members", watched_members),
        ("changes", watched_changes),
    ):  # fmt: skip
        monkeypatch.setattr(MemorySink, name, method)
    return found


def test_records_come_before_what_needs_them_and_each_call_is_as_full_as_may_be(lab: Any, calls: Calls) -> None:
    lab.limits = Limits(upsert_batch=4, task_batch=3, member_batch=5)
    emails = lab.crowd(10, points=90)
    lab.world.put("Contact", {"Email": emails[0]})
    lab.world.put("Lead", {"Email": emails[1]})
    lab.run()
    assert calls.sizes == [
        ("upsert Contact by Id", 1), ("upsert Lead by Id", 1), ("upsert Lead by Key", 4), ("upsert Lead by Key", 4),
        ("tasks", 3), ("tasks", 3), ("tasks", 3), ("tasks", 1), ("add", 5), ("add", 5),
    ]  # fmt: skip


def test_the_hottest_are_written_first(lab: Any, calls: Calls) -> None:
    lab.limits = Limits(upsert_batch=3, task_batch=200, member_batch=200)
    points = {f"p{n}@acme.example": n * 7 % 11 for n in range(11)}
    for email, value in points.items():
        lab.points(email, value)
    keys = {key: email for email, key in lab.keys().items()}
    lab.run()
    written = [points[keys[key]] for _, _, rows in calls.writes for key in rows]
    assert written == sorted(points.values(), reverse=True)


def test_members_leave_after_others_entered(lab: Any, calls: Calls) -> None:
    lab.points("ada@acme.example", 90)
    lab.run()
    lab.points("ada@acme.example", -90)
    lab.points("eve@acme.example", 90)
    calls.writes.clear()
    lab.run()
    assert [method for method, _ in calls.sizes][-3:] == ["tasks", "add", "remove"]


@pytest.mark.parametrize(
    ("people", "sizes", "planned"),
    [(9, [4, 4, 1], 3), (10, [10], 3), (25, [20, 4, 1], 5), (32, [20, 12], 6)],
    ids=["few", "a job", "a job and a cheap rest", "two jobs"],
)
def test_many_go_through_the_bulk_interface(
    lab: Any, calls: Calls, people: int, sizes: list[int], planned: int
) -> None:
    lab.limits = Limits(4, 200, 200, bulk_from=10, bulk_batch=20, bulk_calls=3)
    lab.crowd(people)
    sink = lab.sink()
    assert [count for _, count in calls.sizes] == sizes
    assert (sink.planned_calls, sink.created) == (planned, people)


def test_the_crm_is_read_whole_once_and_then_only_for_changes(lab: Any, calls: Calls) -> None:
    lab.crowd(3)
    lab.run()
    assert calls.cursors == [None, None], "leads and contacts"
    lab.run()
    assert None not in calls.cursors[2:]
    lab.fields["FirstName"] = {"from": "person.first_name", "owner": "shared", "policy": "only_if_empty"}
    calls.cursors.clear()
    lab.run()
    lab.run()
    assert calls.cursors[:2] == [None, None], "the mirror does not hold that field yet"
    assert None not in calls.cursors[2:]


def test_our_own_write_coming_back_is_no_change(each_lab: Any, calls: Calls) -> None:
    lab = each_lab
    lab.crowd(3, points=90)
    lab.run()
    calls.writes.clear()
    for _ in range(3):
        lab.later()
        sink = lab.sink()
        assert (sink.changes, sink.drift, sink.unchanged) == ([], 0, 3)
    assert calls.writes == []


class Told:
    """Progress, as numbers."""

    def __init__(self) -> None:
        self.totals: dict[str, int | None] = {}
        self.done: dict[str, int] = {}
        self.finished: list[str] = []

    def start(self, stage: str, total: int | None) -> None:
        self.totals[stage], self.done[stage] = total, 0

    def advance(self, stage: str, by: int) -> None:
        self.done[stage] += by

    def finish(self, stage: str) -> None:
        self.finished.append(stage)


def test_progress_counts_every_row_once(lab: Any) -> None:
    told = Told()
    lab.crowd(7, points=90)
    with lab.host(progress=told) as host:
        host.run()
    assert told.done["read shop"] == 7
    assert told.done["score and plan"] == told.totals["score and plan"] == 7
    assert told.done["write crm"] == told.totals["write crm"] == 21
    assert set(told.finished) == set(told.totals) == {"read shop", "read crm", "score and plan", "write crm"}
