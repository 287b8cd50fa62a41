"""The clauses about tasks and members: once in, once out, and nobody's own work undone."""

from __future__ import annotations

import contextlib
from typing import Any

from syncline.errors import ContractError, TransientError
from syncline.model import Member, RemoteRef, Status, TaskRef
from syncline.sdk import ClosesTasks, CreatesTasks, KeepsSegments
from syncline.testing.contract._expect import expect, expect_raised, lacks, offers
from syncline.testing.contract._sink_hooks import SinkHooks, id_of, task

__all__ = ["MakesTasks"]


class MakesTasks(SinkHooks):
    """Skipped where the connector has no such method."""

    def test_a_task_happens_once(self) -> None:
        """Also when the answer to its creation was lost, or when it stands twice in one call."""
        sink = self._connected()
        if not offers(sink, CreatesTasks):
            lacks("create_tasks")
        about = RemoteRef(self.object, id_of(self._upsert("k1", "x")[0]))
        known, lost = task(sink, "t1", about), task(sink, "t2", about)
        first, again = (self._connected().create_tasks([known])[0] for _ in range(2))
        expect(first.status is Status.CREATED, f"a new task is created; the outcome is {first}")
        expect(again.status is Status.UNCHANGED, f"a key that exists is unchanged; the outcome is {again}")
        sink.check()
        self.lose_connection(after=True)
        expect_raised(TransientError, lambda: sink.create_tasks([lost]), "without an answer create_tasks() raises")
        again = self._connected().create_tasks([lost])[0]
        expect(again.status is Status.UNCHANGED, f"it was created and the answer lost; then the outcome is {again}")
        twice = task(sink, "t3", about)
        with contextlib.suppress(ContractError):
            outcomes = self._connected().create_tasks([twice, twice])
            created = sum(o.status is Status.CREATED for o in outcomes)
            expect(created <= 1, f"one key twice in a call made {created} tasks")

    def test_outcomes_of_tasks_and_members_keep_their_order(self) -> None:
        """One for each; those of `add` before those of `remove`."""
        sink = self._connected()
        if not offers(sink, CreatesTasks) and not offers(sink, KeepsSegments):
            lacks("create_tasks")
        keys = ["t3", "t1", "t2"]
        refs = {key: RemoteRef(self.object, id_of(self._upsert(key, "x")[0])) for key in keys}
        if offers(sink, CreatesTasks):
            outcomes = sink.create_tasks([task(sink, key, refs[key]) for key in keys])
            expect([o.key for o in outcomes] == keys, f"tasks {keys}, outcomes for {[o.key for o in outcomes]}")
        if offers(sink, KeepsSegments):
            sink.set_members(self.segment, [Member("t1", refs["t1"])], [])
            add = [Member(key, refs[key]) for key in ("t3", "t2")]
            outcomes = sink.set_members(self.segment, add, [Member("t1", refs["t1"])])
            expect([o.key for o in outcomes] == ["t3", "t2", "t1"], f"members: {[o.key for o in outcomes]}")

    def test_members_go_in_and_out_once(self) -> None:
        sink = self._connected()
        if not offers(sink, KeepsSegments):
            lacks("set_members")
        member = Member("m1", RemoteRef(self.object, id_of(self._upsert("k1", "x")[0])))
        steps = [([member], []), ([member], []), ([], [member]), ([], [member])]
        statuses = [sink.set_members(self.segment, add, remove)[0].status for add, remove in steps]
        expect([s is Status.UNCHANGED for s in statuses] == [False, True, False, True], f"in, in, out, out: {statuses}")
        expect(all(s is not Status.REJECTED for s in statuses), f"in, in, out, out: {statuses}")

    def test_an_open_task_of_ours_is_closed(self) -> None:
        sink = self._closing()
        refs = self._tasks(sink, "t1", "t2")
        outcomes = self._connected().close_tasks([TaskRef("t1", refs["t1"].id)])
        expect([o.status for o in outcomes] == [Status.UPDATED], f"an open task was to be closed; it says {outcomes}")
        expect(not self.task_is_open(refs["t1"]), "it says that it closed the task, which is still open")
        expect(self.task_is_open(refs["t2"]), "another task was closed as well")

    def test_a_task_that_a_person_ended_is_left_alone(self) -> None:
        """Done, or deleted: both are UNCHANGED, and nothing is written."""
        sink = self._closing()
        refs = self._tasks(sink, "t1", "t2")
        self.finish_task(refs["t1"])
        self.remove(refs["t2"])
        before = self.write_calls()
        outcomes = sink.close_tasks([TaskRef(key, ref.id) for key, ref in refs.items()])
        statuses = [o.status for o in outcomes]
        expect(statuses == [Status.UNCHANGED] * 2, f"one a person did, one a person deleted; the outcomes: {outcomes}")
        expect(self.write_calls() == before, "tasks that a person had ended were written to")
        expect(not any(map(self.task_is_open, refs.values())), "a task that a person had ended is open again")

    def test_outcomes_of_closed_tasks_keep_their_order(self) -> None:
        """Also when one of them needs nothing."""
        sink = self._closing()
        keys = ["t3", "t1", "t2"]
        refs = self._tasks(sink, *sorted(keys))
        self.finish_task(refs["t1"])
        outcomes = sink.close_tasks([TaskRef(key, refs[key].id) for key in keys])
        expect([o.key for o in outcomes] == keys, f"closed {keys}, outcomes for {[o.key for o in outcomes]}")
        told = [o.status for o in outcomes]
        expect(told == [Status.UPDATED, Status.UNCHANGED, Status.UPDATED], f"the second was done already: {told}")
        expect(list(sink.close_tasks([])) == [], "no tasks, no outcomes")

    def test_closing_a_task_again_is_harmless(self) -> None:
        """Also when nobody knows whether the first call was carried out."""
        sink = self._closing()
        refs = self._tasks(sink, "t4", "t5")
        first, lost = ([TaskRef(key, ref.id)] for key, ref in refs.items())
        sink.close_tasks(first)
        before = self.write_calls()
        [again] = self._connected().close_tasks(first)
        expect(again.status is Status.UNCHANGED, f"it was closed by the first call; the second says {again}")
        expect(self.write_calls() == before, "a task that is closed was written to")
        self.lose_connection(after=True)
        expect_raised(TransientError, lambda: sink.close_tasks(lost), "without an answer close_tasks() raises")
        [again] = self._connected().close_tasks(lost)
        expect(again.ok, f"the answer was lost, and it is closed again; the outcome is {again}")
        expect(not self.task_is_open(refs["t5"]), "the answer was lost, it was closed again, and is still open")

    def _closing(self) -> Any:
        """A connector that closes tasks, logged in."""
        sink = self._connected()
        if not offers(sink, ClosesTasks):
            lacks("close_tasks")
        sink.check()
        return sink

    def _tasks(self, sink: Any, *keys: str) -> dict[str, RemoteRef]:
        about = RemoteRef(self.object, id_of(self._upsert("k1", "x")[0]))
        outcomes = sink.create_tasks([task(sink, key, about) for key in keys])
        expect(all(o.ok for o in outcomes), f"tasks could not be created: {outcomes}")
        return {o.key: RemoteRef("Task", id_of(o)) if o.ref is None else o.ref for o in outcomes}
