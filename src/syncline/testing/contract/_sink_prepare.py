"""The clauses about preparing an account."""

from __future__ import annotations

from typing import Any

from syncline.model import FieldSpec, Member, Outcome, RemoteRef
from syncline.sdk import CreatesTasks, KeepsSegments, Prepares
from syncline.testing.contract._expect import expect, expect_done, lacks, offers
from syncline.testing.contract._sink_hooks import SinkHooks, id_of, task

__all__ = ["PreparesAccounts"]


class PreparesAccounts(SinkHooks):
    """Skipped where the connector has no `prepare`."""

    def test_prepare_creates_what_is_missing(self) -> None:
        """`missing` only looks; after `prepare` what it named is there, and we can write it."""
        if not offers(self.connect(), Prepares):
            lacks("prepare")
        sink: Any = self.connect_unprepared()
        key = FieldSpec(self.object, self.match, "text", "Key", max_length=64, unique=True)
        needed, segments = [key, *getattr(sink, "task_fields", ())], [self.segment] if self.segment else []
        told = list(sink.missing(needed, segments))
        expect(told, "nothing is prepared, and missing() is empty")
        expect(list(sink.missing(needed, segments)) == told, "missing() changed something")
        sink.prepare(needed, segments)
        missing = sink.missing(needed, segments)
        expect(list(missing) == [], f"after prepare() still missing: {missing}")
        self._use_what_was_prepared(sink)

    def _use_what_was_prepared(self, sink: Any) -> None:
        def use() -> list[Outcome]:
            written = sink.upsert(self.object, [self._new("k1", "x")])
            ref = RemoteRef(self.object, id_of(written[0]))
            if offers(sink, CreatesTasks):
                written = [*written, *sink.create_tasks([task(sink, "t1", ref)])]
            if offers(sink, KeepsSegments):
                written = [*written, *sink.set_members(self.segment, [Member("m1", ref)], [])]
            return list(written)

        outcomes = expect_done(use, "what was prepared can be used")
        expect(all(o.ok for o in outcomes), f"what was prepared can be used: {outcomes}")

    def test_prepare_leaves_nothing_missing(self) -> None:
        sink = self._connected()
        if not offers(sink, Prepares):
            lacks("prepare")
        needed = [*getattr(sink, "task_fields", ())]
        segments = [self.segment] if self.segment else []
        sink.prepare(needed, segments)
        missing = sink.missing(needed, segments)
        expect(list(missing) == [], f"after prepare() still missing: {missing}")
        expect(not sink.prepare(needed, segments), "prepare() did something although nothing was missing")
