"""What the author of a sink gives the kit, and how the clauses call a sink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Any, ClassVar

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    ContractError,
    SchemaDriftError,
    TransientError,
)
from syncline.model import ChangePage, Outcome, RemoteRecord, RemoteRef, Status, TaskWrite, Value, Write
from syncline.sdk import Sink
from syncline.testing.contract._expect import expect, not_given
from syncline.testing.contract._webhooks import TakesWebhooks

__all__ = ["SinkHooks", "id_of", "task"]


class SinkHooks(TakesWebhooks):
    """An account for the clauses. It is prepared: `match` and the connector's task fields are there."""

    object: ClassVar[str]
    match: ClassVar[str]
    """A writable unique text field of `object`."""
    text_field: ClassVar[str]
    """A writable text field of `object` that may be empty."""
    other_field: ClassVar[str] = ""
    """A second one; where the CRM keeps a history of fields, both are in it."""
    always: ClassVar[Mapping[str, Value]] = {}
    """What the CRM requires of every new record."""
    segment: ClassVar[str] = ""
    """A list, campaign or tag that is there; for sinks that keep segments."""
    email_field: ClassVar[str] = ""
    """A writable field of `object` that holds an e-mail address; by default the one that is called like it."""
    opt_out_field: ClassVar[str] = ""
    """The boolean field of `object` that says: no more e-mail for this person."""
    creates: ClassVar[bool] = True
    """False for a sink that never creates records; `exempt` says why at `test_upsert_creates_once_and_then_updates`."""

    def connect(self) -> Sink[Any]:
        raise NotImplementedError

    def existing(self, key: str) -> RemoteRef:
        """Make a record at the vendor whose `match` holds `match_value(key)`; for sinks that never create."""
        raise NotImplementedError

    def match_value(self, key: str) -> str:
        """What `match` holds for one of the kit's keys (`k1`, `w2`); an address, where records are matched by it."""
        return key

    def bad_write(self, key: str) -> Write:
        """A write by our key that the vendor refuses for what it says. By default: a text that is too long for its
        field, or a new record without what every record needs."""
        fields = {field.name: field for field in self.connect().describe(self.object)}
        text, match = fields[self.text_field].max_length, fields[self.match].max_length
        if text is not None:
            return self._new(key, "x" * (text + 1))
        if match is not None and self.creates:
            return self._write(f"{key}{'x' * match}", "x")
        if self.always and self.creates:
            return Write(key, (self.match, self.match_value(key)), {self.text_field: "x"})
        return not_given("bad_write")

    def edit(self, ref: RemoteRef, fields: Mapping[str, Value]) -> None:
        """A person changes a record, past the connector."""
        raise NotImplementedError

    def remove(self, ref: RemoteRef) -> None:
        """A person deletes a record; or a task, by the ref of its outcome."""
        raise NotImplementedError

    def finish_task(self, ref: RemoteRef) -> None:
        """A person has done a task; for sinks that close tasks."""
        not_given("finish_task")

    def task_is_open(self, ref: RemoteRef) -> bool:
        """Whether a person still finds the task among what is to be done; for sinks that close tasks."""
        return not_given("task_is_open")

    def succeed(self, ref: RemoteRef) -> RemoteRef:
        """A person merges the record into another, or converts it; what it lives on as."""
        raise NotImplementedError

    def connect_unprepared(self) -> Sink[Any]:
        """A connector to another account, where nothing is prepared; for sinks that prepare."""
        raise NotImplementedError

    def break_calls(self) -> None:
        """From now on the vendor answers calls with an error."""
        raise NotImplementedError

    def lose_connection(self, *, after: bool) -> None:
        """The next write call breaks off without an answer: before it was carried out, or after."""
        raise NotImplementedError

    def end_session(self) -> None:
        """Whatever a log-in gave is no longer valid; the credentials are."""
        raise NotImplementedError

    def write_calls(self) -> int:
        """The write calls the vendor has counted so far."""
        raise NotImplementedError

    def _connected(self) -> Any:
        """A connector, with whatever optional methods it has."""
        return self.connect()

    def _somebody(self) -> RemoteRef:
        """A record that is there; the same one every time within a clause."""
        if "_found" not in self.__dict__:
            self._found = RemoteRef(self.object, id_of(self._upsert("k1", "x")[0]))
        return self._found

    def _pages(self, cursor: str | None, fields: Sequence[str] = ()) -> Iterator[ChangePage]:
        yield from self.connect().changes(self.object, [*(fields or (self.match, self.text_field))], cursor)

    def _new(self, key: str, text: str | None) -> Write:
        """A write by our key; the record is there already if the sink never creates one."""
        there: set[str] = self.__dict__.setdefault("_there", set())
        if not self.creates and key not in there:
            self.existing(key)
            there.add(key)
        return self._write(key, text)

    def _write(self, key: str, text: str | None) -> Write:
        return Write(key, (self.match, self.match_value(key)), {**self.always, self.text_field: text})

    def _upsert(self, key: str, text: str | None) -> Sequence[Outcome]:
        return self.connect().upsert(self.object, [self._new(key, text)])

    def _changes(self, cursor: str | None = None, fields: Sequence[str] = ()) -> tuple[list[RemoteRecord], str | None]:
        records: list[RemoteRecord] = []
        for page in self._pages(cursor, fields):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    def _holders(self, key: str) -> set[RemoteRef]:
        """The living records that hold our key."""
        latest = {record.ref: record for record in self._changes()[0]}
        held = self.match_value(key)
        return {ref for ref, record in latest.items() if not record.deleted and record.fields.get(self.match) == held}

    def _living(self) -> set[RemoteRef]:
        latest = {record.ref: record for record in self._changes()[0]}
        return {ref for ref, record in latest.items() if not record.deleted}

    def _text(self, outcome: Outcome) -> Value:
        """What the text field holds now, as the last page that mentions the record says."""
        return self._field(outcome, self.text_field)

    def _field(self, outcome: Outcome, name: str) -> Value:
        asked = tuple(dict.fromkeys((self.match, self.text_field, name)))
        held = [record for record in self._changes(None, asked)[0] if record.ref == outcome.ref]
        expect(held, f"{outcome.ref} was written and cannot be read")
        return held[-1].fields.get(name)

    def _bisected(self, writes: Sequence[Write]) -> list[Outcome]:
        """The outcomes, as the host finds them when a call is refused as a whole."""
        try:
            return list(self.connect().upsert(self.object, writes))
        except (AuthError, ConfigError, ContractError, TransientError, SchemaDriftError) as error:
            message = f"one bad record among {len(writes)}; it raised {type(error).__name__} ({error})"
            raise AssertionError(message) from error
        except ConnectorError as error:
            if len(writes) == 1:
                return [Outcome(writes[0].key, Status.REJECTED, reason=str(error))]
            middle = len(writes) // 2
            return [*self._bisected(writes[:middle]), *self._bisected(writes[middle:])]


def id_of(outcome: Outcome) -> str:
    """The id of what was written."""
    if outcome.ref is None:
        raise AssertionError(f"a write that succeeded has a ref: {outcome}")
    return outcome.ref.id


def task(sink: Any, key: str, about: RemoteRef) -> TaskWrite:
    """A task by our key."""
    due = sink.context.clock().astimezone(UTC) + timedelta(hours=2)
    return TaskWrite(key, about, "Call back", "Asked for a demo", due, "high")
