"""The clauses about calls: how few, how full, and what happens when one breaks off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from syncline.errors import ConnectorError, ContractError, TransientError
from syncline.model import Member, Outcome, RemoteRef, Status, TaskRef
from syncline.sdk import ClosesTasks, CreatesTasks, KeepsSegments
from syncline.testing.contract._expect import expect, expect_done, expect_raised, offers
from syncline.testing.contract._sink_hooks import SinkHooks, id_of, task

__all__ = ["CallsSparingly"]


class CallsSparingly(SinkHooks):
    """As few calls as `limits` allows, and none that does harm when it is made again."""

    def test_a_batch_is_one_call_and_nothing_is_none(self) -> None:
        sink = self.connect()
        before = self.write_calls()
        count = min(3, sink.limits.upsert_batch)
        sink.upsert(self.object, [self._new(f"k{number}", "x") for number in range(count)])
        expect(self.write_calls() - before == 1, f"{count} records took {self.write_calls() - before} calls")
        expect(list(sink.upsert(self.object, [])) == [], "no writes, no outcomes")
        expect(self.write_calls() - before == 1, "writing nothing made a call")

    def test_a_full_batch_is_one_call(self) -> None:
        """As many as `limits` says are taken, all of them; tasks and members too."""
        sink = self._connected()
        writes = [self._new(f"b{number}", "x") for number in range(sink.limits.upsert_batch)]
        before = self.write_calls()
        outcomes = sink.upsert(self.object, writes)
        calls = self.write_calls() - before
        expect(calls == 1, f"a batch of {len(writes)}, which `limits` allows, took {calls} calls")
        self._all_done("upsert", [w.key for w in writes], outcomes)
        refs = [o.ref or RemoteRef(self.object, "") for o in outcomes]
        if offers(sink, CreatesTasks):
            tasks = [task(sink, f"t{n}", refs[n % len(refs)]) for n in range(sink.limits.task_batch)]
            created = sink.create_tasks(tasks)
            self._all_done("create_tasks", [t.key for t in tasks], created)
            if offers(sink, ClosesTasks):
                ends = [TaskRef(o.key, id_of(o)) for o in created]
                self._all_done("close_tasks", [t.key for t in tasks], sink.close_tasks(ends))
        if offers(sink, KeepsSegments):
            members = [Member(f"m{n}", ref) for n, ref in enumerate(refs[: sink.limits.member_batch])]
            self._all_done("set_members", [m.key for m in members], sink.set_members(self.segment, members, []))

    def _all_done(self, method: str, keys: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        expect({o.key for o in outcomes} == set(keys), f"{method}: {len(keys)} at once, {len(outcomes)} outcomes")
        refused = [o for o in outcomes if not o.ok]
        expect(not refused, f"{method}: of a full batch {len(refused)} were not done: {refused[:2]}")

    def test_a_key_twice_in_one_batch_makes_one_record(self) -> None:
        """Refused before the call, or refused as one of the two: it never makes twins."""
        twice = [self._new("k1", "x"), replace(self._new("k1", "y"), key="again")]
        with contextlib.suppress(ContractError):
            self.connect().upsert(self.object, twice)
        expect(len(self._holders("k1")) <= 1, f"{len(self._holders('k1'))} records hold the key of one batch")

    def test_too_many_at_once_are_refused_before_any_call(self) -> None:
        """More than `limits` says is a bug of the caller; half of it written would be two."""
        sink = self.connect()
        written = self._upsert("k1", "x")[0]
        before = self.write_calls(), sink.context.http.metrics.total
        for name, call in self._excesses(sink, RemoteRef(self.object, id_of(written))).items():
            expect_raised(ContractError, call, f"{name}() with one more than `limits` raises")
            expect((self.write_calls(), sink.context.http.metrics.total) == before, f"{name}() made a call first")

    def _excesses(self, sink: Any, ref: RemoteRef) -> dict[str, Callable[[], Any]]:
        limits = sink.limits
        most = limits.upsert_batch if limits.bulk_from is None else max(limits.upsert_batch, limits.bulk_batch)
        calls: dict[str, Callable[[], Any]] = {
            "upsert": lambda: sink.upsert(self.object, [self._write(f"n{number}", "x") for number in range(most + 1)])
        }
        if offers(sink, CreatesTasks):
            tasks = [task(sink, f"t{number}", ref) for number in range(limits.task_batch + 1)]
            calls["create_tasks"] = lambda: sink.create_tasks(tasks)
        if offers(sink, ClosesTasks):
            ends = [TaskRef(f"t{number}", f"nobody-{number}") for number in range(limits.task_batch + 1)]
            calls["close_tasks"] = lambda: sink.close_tasks(ends)
        if offers(sink, KeepsSegments):
            members = [Member(f"m{number}", ref) for number in range(limits.member_batch + 1)]
            calls["set_members"] = lambda: sink.set_members(self.segment, members, [])
            calls["set_members (remove)"] = lambda: sink.set_members(self.segment, [], members)
        return calls

    def test_trouble_with_a_call_is_an_exception(self) -> None:
        sink = self.connect()
        self.break_calls()
        calls = {
            "upsert": lambda: sink.upsert(self.object, [self._new("k1", "x")]),
            "changes": lambda: list(sink.changes(self.object, [self.text_field], None)),
        }
        for name, call in calls.items():
            expect_raised(ConnectorError, call, f"{name}() raises when the vendor answers with an error")

    def test_a_session_that_ends_is_renewed(self) -> None:
        """In the middle of a run too; whoever waits for a person to log in again writes nothing at night."""
        sink = self.connect()
        sink.upsert(self.object, [self._new("k1", "one")])
        self.end_session()
        writes = [self._new("k1", "two"), self._new("k2", "two")]
        outcomes = expect_done(lambda: sink.upsert(self.object, writes), "a session that ends is renewed")
        expect(all(o.ok for o in outcomes), f"after a new session: {outcomes}")
        expect([len(self._holders(key)) for key in ("k1", "k2")] == [1, 1], "a repeated call made twins")

    def test_a_lost_connection_is_weather_and_its_replay_creates_nothing(self) -> None:
        """The host cannot know whether the call was carried out, and repeats it."""
        for key, after in (("k1", False), ("k2", True)):
            sink = self.connect()
            sink.check()
            self.lose_connection(after=after)
            write = partial(sink.upsert, self.object, [self._new(key, "x")])
            lost = "after" if after else "before"
            expect_raised(TransientError, write, f"connection lost {lost} the write: upsert() raises")
            again = self._upsert(key, "x")[0]
            created = again.status is Status.CREATED
            expect(
                again.ok and created is (self.creates and not after),
                f"connection lost {lost} the write, then again: {again}",
            )
            expect(len(self._holders(key)) == 1, f"connection lost {lost} the write: the replay made a twin")
