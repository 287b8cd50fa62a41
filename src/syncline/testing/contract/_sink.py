"""The clauses for sinks: each room has those of one idea, and here they come together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from syncline.model import ChangePage, Member, RawRecord, TaskRef
from syncline.sdk import ClosesTasks, CreatesTasks, KeepsSegments, WebhookRequest
from syncline.testing.contract._base import Operations
from syncline.testing.contract._expect import expect, expect_done, offers
from syncline.testing.contract._sink_calls import CallsSparingly
from syncline.testing.contract._sink_changes import TellsChanges
from syncline.testing.contract._sink_hooks import id_of, task
from syncline.testing.contract._sink_prepare import PreparesAccounts
from syncline.testing.contract._sink_tasks import MakesTasks
from syncline.testing.contract._sink_writes import WritesRecords

__all__ = ["SinkContract"]

_CREATION: Final = "test_upsert_creates_once_and_then_updates"


class SinkContract(WritesRecords, CallsSparingly, TellsChanges, MakesTasks, PreparesAccounts):
    """The clauses for a sink; `SinkHooks` says what the author gives."""

    _kit = "sink"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.creates and _CREATION not in cls.exempt:
            raise TypeError(f"{cls.__name__}.creates is False: say why in exempt[{_CREATION!r}]")

    def test_a_webhook_is_a_notice(self) -> None:
        """It says which object changed; the host then reads the truth with `changes`."""
        sink = self._receiving()
        notices = sink.receive(self.webhook())
        expect(notices, "a true webhook brought no notice")
        expect(self.object in {raw.stream for raw in notices}, f"no notice is about {self.object}: {notices}")

    def _meaning(self, connector: Any, request: WebhookRequest) -> Sequence[Any]:
        return list(connector.receive(request))

    def _of_a_known_stream(self, connector: Any, raw: RawRecord) -> None:
        expect_done(partial(connector.describe, raw.stream), f"a notice is about an object, not {raw.stream!r}")

    def _holds_together(self, connector: Any, raw: RawRecord, body: bytes) -> None:
        expect(raw.stream and raw.key, f"the body {body[:40]!r} became a notice about nothing: {raw}")

    def _operations(self, connector: Any) -> Operations:
        write, fields = self._new("k1", "x"), [self.match, self.text_field]
        found: dict[str, Callable[[], Any]] = {
            "check": connector.check,
            "describe": partial(connector.describe, self.object),
            "changes": lambda: list(connector.changes(self.object, fields, None)),
            "upsert": partial(connector.upsert, self.object, [write]),
        }
        if offers(connector, CreatesTasks):
            found["create_tasks"] = partial(connector.create_tasks, [task(connector, "t1", self._somebody())])
        if offers(connector, ClosesTasks):
            found["close_tasks"] = partial(connector.close_tasks, [self._some_task()])
        if offers(connector, KeepsSegments):
            found["set_members"] = partial(connector.set_members, self.segment, [Member("m1", self._somebody())], [])
        return found

    def _readings(self) -> Mapping[str, Callable[[str | None], Iterable[ChangePage]]]:
        self._upsert("k1", "x")
        return {self.object: self._pages}

    def _some_task(self) -> TaskRef:
        """A task that was there; the same one every time within a clause."""
        if "_task_found" not in self.__dict__:
            sink = self._connected()
            self._task_found = TaskRef("t9", id_of(sink.create_tasks([task(sink, "t9", self._somebody())])[0]))
        return self._task_found
