"""The contract kit: what every connector promises, as tests.

Subclass `SourceContract` or `SinkContract` and say how to connect to a simulated account; every `test_*` is one clause.
A clause that cannot apply is exempt, with its reason:

    class TestAcme(SourceContract):
        exempt = {"test_webhook_rejects_tampering": "no signature is offered; the secret is in the URL"}

A clause about an optional method is skipped when the connector does not have it. `setup_method` and `teardown_method`
(pytest's own) start and stop what `connect` needs; each clause finds the account as `setup_method` left it.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from numbers import Number
from typing import Any, ClassVar, Final, NoReturn, TypeVar

import pytest
from pydantic import SecretStr

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    ContractError,
    RateLimitError,
    SchemaDriftError,
    TransientError,
    WebhookRejectedError,
    did_you_mean,
)
from syncline.model import (
    EVENT_TYPES,
    Event,
    Field,
    FieldSpec,
    Member,
    Outcome,
    RawRecord,
    RemoteRecord,
    RemoteRef,
    Status,
    TaskWrite,
    Value,
    Write,
)
from syncline.sdk import Connector, CreatesTasks, KeepsSegments, Polls, Prepares, Receives, Sink, Source, WebhookRequest

__all__ = ["SinkContract", "SourceContract"]


def _expect(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


T = TypeVar("T")
_Call = Callable[[], Any]  # `object` is the name of a field of the kit


def _expect_done(action: Callable[[], T], message: str) -> T:
    try:
        return action()
    except ConnectorError as error:
        raise AssertionError(f"{message}; it raised {type(error).__name__} ({error})") from error


def _expect_raised(kind: type[ConnectorError], action: Callable[[], object], message: str) -> ConnectorError:
    try:
        action()
    except kind as error:
        return error
    except ConnectorError as error:
        raise AssertionError(f"{message}: {kind.__name__}, not {type(error).__name__} ({error})") from error
    raise AssertionError(f"{message}: {kind.__name__}, and nothing was raised")


class _Contract:
    """What both kits share: exemptions, and the clauses about logging in."""

    exempt: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        clauses = [name for name in dir(cls) if name.startswith("test_")]
        for name, reason in cls.exempt.items():
            if name not in clauses:
                raise TypeError(f"{cls.__name__}.exempt: there is no clause {name!r}; {did_you_mean(name, clauses)}")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.exempt[{name!r}]: give the reason")
            setattr(cls, name, _exempted(reason))

    def connect(self) -> Any:
        """A new connector to the simulated account; the same account every time within a clause."""
        raise NotImplementedError

    def connect_refused(self) -> Any:
        """A connector whose credentials the account refuses."""
        raise NotImplementedError

    def test_check_names_the_account(self) -> None:
        """A person can recognise the account, and no secret is in its description."""
        connector = self.connect()
        account = connector.check()
        _expect(account.id and account.name, f"check() gives id and name; it gave {account.id!r} and {account.name!r}")
        shown = f"{account} {connector.config!r} {connector.config}"
        leaked = [name for name, secret in _secrets(connector) if secret in shown]
        _expect(not leaked, f"shown in plain: {', '.join(leaked)}; settings like that are SecretStr")

    def test_refused_credentials_are_an_auth_error(self) -> None:
        connector = self.connect_refused()
        error = _expect_raised(AuthError, connector.check, "check() with refused credentials raises")
        leaked = [name for name, secret in _secrets(connector) if secret in str(error)]
        _expect(not leaked, f"the error shows {', '.join(leaked)}")


def _exempted(reason: str) -> Callable[[Any], None]:
    def clause(_self: Any) -> None:
        pytest.skip(f"exempt: {reason}")

    return clause


def _secrets(connector: Connector[Any]) -> Iterable[tuple[str, str]]:
    for name in type(connector.config).model_fields:
        value = getattr(connector.config, name)
        if isinstance(value, SecretStr) and value.get_secret_value():
            yield name, value.get_secret_value()


def _lacks(method: str) -> NoReturn:
    pytest.skip(f"the connector has no `{method}`")


_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "text": str,
    "number": Number,
    "boolean": bool,
    "mapping": Mapping,
}


class SourceContract(_Contract):
    """The clauses for a source. The account holds some facts in every stream when a clause begins."""

    def connect(self) -> Source[Any]:
        raise NotImplementedError

    def happen(self) -> None:
        """Let one more fact happen in the account, in any stream."""
        raise NotImplementedError

    def break_reading(self) -> None:
        """From now on the vendor answers calls with an error, or with half an answer."""
        raise NotImplementedError

    def webhook(self) -> WebhookRequest:
        """A request as the vendor would send it to this connection."""
        raise NotImplementedError

    def test_every_stream_brings_plain_records(self) -> None:
        """Records carry the stream's name and the vendor's own key, and can be stored as JSON."""
        source = self._polling()
        for stream in source.streams:
            records = self._records(source, stream)
            _expect(records, f"{stream}: nothing was read; the simulated account should hold something")
            for raw in records:
                _expect(raw.stream == stream and raw.key, f"{stream}: a record says {raw.stream!r}, key {raw.key!r}")
                _expect(_as_json(raw.payload) == raw.payload, f"{stream} {raw.key}: the payload is not plain JSON")

    def test_a_read_goes_on_from_any_of_its_cursors(self) -> None:
        """After a crash the host reads on from the last cursor it stored; nothing that came later may be missing."""
        for stream in self._polling().streams:
            pages = list(self._polling().read(stream, None))
            for number, page in enumerate(pages):
                later = {raw.key for after in pages[number + 1 :] for raw in after.records}
                if page.cursor is not None:
                    found = {raw.key for raw in self._records(self._polling(), stream, page.cursor)}
                    _expect(
                        later <= found, f"{stream}: from {page.cursor!r} on, {sorted(later - found)[:5]} are missing"
                    )

    def test_new_facts_are_found_from_the_last_cursor(self) -> None:
        source = self._polling()
        before = {stream: self._read(source, stream) for stream in source.streams}
        self.happen()
        new = [
            raw.key
            for stream, (records, cursor) in before.items()
            for raw in self._records(self._polling(), stream, cursor)
            if raw.key not in {old.key for old in records}
        ]
        _expect(new, "a fact that happened after the last cursor was not read")

    def test_a_broken_read_raises(self) -> None:
        """A source error is never read as "that was all"."""
        source = self._polling()
        self.break_reading()
        for stream in source.streams:
            read = partial(self._records, source, stream)
            _expect_raised(ConnectorError, read, f"{stream}: a broken read raises")

    def test_events_have_the_same_ids_every_time(self) -> None:
        """An id comes from the vendor's own id, so that a fact that is read twice is one event."""
        first, second = ({event.id for event in self._events()} for _ in range(2))
        _expect(first == second, f"ids differ between two reads: {sorted(first ^ second)[:4]}")
        _expect(first, "no event came out of the account's records")

    def test_different_facts_have_different_ids(self) -> None:
        seen: dict[str, Event] = {}
        for event in self._events():
            twin = seen.setdefault(event.id, event)
            _expect(twin == event, f"two facts share the id {event.id}: {twin} and {event}")

    def test_events_speak_the_vocabulary(self) -> None:
        """Types and properties as in EVENT_TYPES, times in UTC, somebody whom it is about."""
        for event in self._events():
            _expect(
                event.type in EVENT_TYPES, f"{event.type!r} is no event type; {did_you_mean(event.type, EVENT_TYPES)}"
            )
            _expect(event.occurred_at.utcoffset() == timedelta(0), f"{event.id}: occurred_at is not in UTC")
            _expect(event.identifiers, f"{event.id}: about nobody")
            known = EVENT_TYPES[event.type]
            for name, value in event.properties.items():
                _expect(name in known or event.type == "custom", f"{event.type}.{name}: {did_you_mean(name, known)}")
                right = isinstance(value, _KINDS[known[name]]) if name in known and value is not None else True
                _expect(right, f"{event.type}.{name} is a {known.get(name)}, not {value!r}")

    def test_normalize_is_pure(self) -> None:
        """It changes nothing, calls nobody, and gives the same again: stored records are replayed."""
        source = self._polling()
        for stream in source.streams:
            records = self._records(source, stream)
            copies = copy.deepcopy(records)
            calls = source.context.http.metrics.total
            first, second = ([list(source.normalize(raw)) for raw in records] for _ in range(2))
            _expect(first == second, f"{stream}: the same record gives other events the second time")
            _expect(records == copies, f"{stream}: normalize changed a payload")
            _expect(source.context.http.metrics.total == calls, f"{stream}: normalize made a call")

    def test_a_webhook_becomes_events(self) -> None:
        source = self._receiving()
        records = source.receive(self.webhook())
        _expect([event for raw in records for event in source.normalize(raw)], "a true webhook brought no event")

    def test_webhook_rejects_tampering(self) -> None:
        """Verify first: who changed the body, or left out the headers, is refused."""
        source, true = self._receiving(), self.webhook()
        for what, forged in {
            "another body": replace(true, body=true.body + b" "),
            "no headers": replace(true, headers={}),
        }.items():
            _expect_raised(WebhookRejectedError, partial(source.receive, forged), f"{what}: receive() raises")

    def _polling(self) -> Any:
        source = self.connect()
        return source if isinstance(source, Polls) else _lacks("read")

    def _receiving(self) -> Any:
        source = self.connect()
        return source if isinstance(source, Receives) else _lacks("receive")

    def _read(self, source: Any, stream: str, cursor: str | None = None) -> tuple[list[RawRecord], str | None]:
        records: list[RawRecord] = []
        for page in source.read(stream, cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    def _records(self, source: Any, stream: str, cursor: str | None = None) -> list[RawRecord]:
        return self._read(source, stream, cursor)[0]

    def _events(self) -> list[Event]:
        source = self._polling()
        return [
            event
            for stream in source.streams
            for raw in self._records(source, stream)
            for event in source.normalize(raw)
        ]


def _as_json(payload: Mapping[str, Any]) -> Any:
    try:
        return json.loads(json.dumps(payload))
    except (TypeError, ValueError):
        return None


_AWKWARD: Final = (
    'D\'Amico "x", y; z',
    "two\nlines\\n and a\ttab",
    "=1+1",
    "#N/A",
    "null",
    "Zo\u00eb \u00dftra\u00dfe \u65e5\u672c \U0001f388",
    "<b>&amp;</b> %20 {{x}}",
)


class SinkContract(_Contract):
    """The clauses for a sink. The account is prepared: `match` and the connector's task fields are there."""

    object: ClassVar[str]
    match: ClassVar[str]
    """A writable unique text field of `object`."""
    text_field: ClassVar[str]
    """A writable text field of `object` that may be empty."""
    always: ClassVar[Mapping[str, Value]] = {}
    """What the CRM requires of every new record."""
    segment: ClassVar[str] = ""
    """A list, campaign or tag that is there; for sinks that keep segments."""

    def connect(self) -> Sink[Any]:
        raise NotImplementedError

    def edit(self, ref: RemoteRef, fields: Mapping[str, Value]) -> None:
        """A person changes a record, past the connector."""
        raise NotImplementedError

    def remove(self, ref: RemoteRef) -> None:
        """A person deletes a record."""
        raise NotImplementedError

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

    def ask_to_slow_down(self, retry_after: timedelta | None) -> None:
        """From now on the vendor refuses calls because there were too many, and says for how long, or does not."""
        raise NotImplementedError

    def end_session(self) -> None:
        """Whatever a log-in gave is no longer valid; the credentials are."""
        raise NotImplementedError

    def write_calls(self) -> int:
        """The write calls the vendor has counted so far."""
        raise NotImplementedError

    def test_describe_tells_the_fields(self) -> None:
        fields = {field.name: field for field in self.connect().describe(self.object)}
        match, text = fields.get(self.match), fields.get(self.text_field)
        _expect(match and match.unique and match.writable, f"{self.match} is not described as unique and writable")
        _expect(text and text.kind == "text" and text.writable, f"{self.text_field} is not described as writable text")

    def test_an_unknown_object_is_a_configuration_error(self) -> None:
        error = _expect_raised(ConfigError, lambda: self.connect().describe("NoSuchThing"), "describe() raises")
        _expect(self.object in str(error), f"the error does not list what there is: {error}")

    def test_upsert_creates_once_and_then_updates(self) -> None:
        first, again = self._upsert("k1", "one")[0], self._upsert("k1", "two")[0]
        _expect(first.status is Status.CREATED and first.ref, f"a new key is created; the outcome is {first}")
        _expect(again.ref == first.ref, f"the same key found another record: {first.ref}, then {again.ref}")
        _expect(again.status is not Status.CREATED and again.ok, f"the second time it is updated; it says {again}")
        _expect(self._text(first) == "two", f"{self.text_field} holds {self._text(first)!r}, not 'two'")

    def test_outcomes_come_one_for_each_write_in_order(self) -> None:
        keys = ["k3", "k1", "k2"]
        outcomes = self.connect().upsert(self.object, [self._new(key, key) for key in keys])
        _expect([o.key for o in outcomes] == keys, f"wrote {keys}, outcomes for {[o.key for o in outcomes]}")

    def test_a_bad_record_is_refused_alone(self) -> None:
        """Trouble with one record is its outcome, with a reason; its neighbours are written."""
        good = [self._upsert(key, "old")[0] for key in ("k1", "k2")]
        ids = [_id(good[0]), "nobody-has-this-id", _id(good[1])]
        writes = [Write(f"w{n}", ("Id", i), {self.text_field: "new"}) for n, i in enumerate(ids)]
        outcomes = self.connect().upsert(self.object, writes)
        _expect([o.ok for o in outcomes] == [True, False, True], f"only the middle one is bad; {outcomes}")
        _expect(outcomes[1].reason, "a refused record has a reason")
        _expect([self._text(o) for o in good] == ["new", "new"], "its neighbours were not written")

    def test_a_key_twice_in_one_batch_makes_one_record(self) -> None:
        """Refused before the call, or refused as one of the two: it never makes twins."""
        twice = [self._new("k1", "x"), replace(self._new("k1", "y"), key="again")]
        with contextlib.suppress(ContractError):
            self.connect().upsert(self.object, twice)
        _expect(len(self._holders("k1")) <= 1, f"{len(self._holders('k1'))} records hold the key of one batch")

    def test_too_many_at_once_are_refused_before_any_call(self) -> None:
        """More than `limits` says is a bug of the caller; half of it written would be two."""
        sink = self.connect()
        written = self._upsert("k1", "x")[0]
        before = self.write_calls(), sink.context.http.metrics.total
        for name, call in self._excesses(sink, RemoteRef(self.object, _id(written))).items():
            _expect_raised(ContractError, call, f"{name}() with one more than `limits` raises")
            _expect((self.write_calls(), sink.context.http.metrics.total) == before, f"{name}() made a call first")

    def _excesses(self, sink: Sink[Any], ref: RemoteRef) -> dict[str, _Call]:
        limits = sink.limits
        most = limits.upsert_batch if limits.bulk_from is None else max(limits.upsert_batch, limits.bulk_batch)
        calls: dict[str, _Call] = {
            "upsert": lambda: sink.upsert(self.object, [self._new(f"n{number}", "x") for number in range(most + 1)])
        }
        if isinstance(sink, CreatesTasks):
            tasks = [_task(sink, f"t{number}", ref) for number in range(limits.task_batch + 1)]
            calls["create_tasks"] = lambda: sink.create_tasks(tasks)
        if isinstance(sink, KeepsSegments):
            members = [Member(f"m{number}", ref) for number in range(limits.member_batch + 1)]
            calls["set_members"] = lambda: sink.set_members(self.segment, members, [])
            calls["set_members (remove)"] = lambda: sink.set_members(self.segment, [], members)
        return calls

    def test_text_comes_back_as_it_was_written(self) -> None:
        """Whatever people type: quotes, line ends, other scripts, what a spreadsheet would take for a formula."""
        for number, text in enumerate(_AWKWARD):
            outcome = self._upsert(f"k{number}", text)[0]
            _expect(outcome.ok, f"{text!r} is refused: {outcome.reason}")
            held = self._text(outcome)
            _expect(held == text, f"wrote {text!r}, and it holds {held!r}")

    def test_a_read_only_field_is_refused_by_name(self) -> None:
        """As drift, or as that record's outcome; it is never left out in silence."""
        names = sorted((f.name for f in self.connect().describe(self.object) if _closed(f)), key="Id".__eq__)
        if not names:
            pytest.skip(f"every field of {self.object} is writable")
        closed = names[0]
        written = self._upsert("k1", "old")[0]
        write = Write("k1", ("Id", _id(written)), {self.text_field: "new", closed: "x"})
        try:
            outcome = self.connect().upsert(self.object, [write])[0]
        except SchemaDriftError as error:
            _expect(error.field == closed, f"{closed} is read-only; the error names {error.field!r}")
        else:
            told = outcome.status is Status.REJECTED and closed in str(outcome.reason)
            _expect(told, f"{closed} is read-only; the outcome is {outcome}")
        _expect(self._text(written) == "old", "the rest of a refused write was written")

    def test_an_absent_field_is_left_alone(self) -> None:
        written = self._upsert("k1", "kept")[0]
        self.connect().upsert(self.object, [Write("k1", ("Id", _id(written)), {self.match: "k1"})])
        _expect(self._text(written) == "kept", f"a field that was not in the write became {self._text(written)!r}")

    def test_none_clears_a_field(self) -> None:
        written = self._upsert("k1", "something")[0]
        self.connect().upsert(self.object, [Write("k1", ("Id", _id(written)), {self.text_field: None})])
        _expect(self._text(written) is None, f"after writing None it holds {self._text(written)!r}")

    def test_a_batch_is_one_call_and_nothing_is_none(self) -> None:
        sink = self.connect()
        before = self.write_calls()
        count = min(3, sink.limits.upsert_batch)
        sink.upsert(self.object, [self._new(f"k{number}", "x") for number in range(count)])
        _expect(self.write_calls() - before == 1, f"{count} records took {self.write_calls() - before} calls")
        _expect(list(sink.upsert(self.object, [])) == [], "no writes, no outcomes")
        _expect(self.write_calls() - before == 1, "writing nothing made a call")

    def test_a_missing_field_is_drift_and_named(self) -> None:
        write = replace(self._new("k1", "x"), fields={**self.always, "No_Such_Field": "x"})
        error = _expect_raised(SchemaDriftError, lambda: self.connect().upsert(self.object, [write]), "upsert() raises")
        _expect(getattr(error, "field", None) == "No_Such_Field", f"it names {getattr(error, 'field', None)!r}")

    def test_trouble_with_a_call_is_an_exception(self) -> None:
        sink = self.connect()
        self.break_calls()
        calls = {
            "upsert": lambda: sink.upsert(self.object, [self._new("k1", "x")]),
            "changes": lambda: list(sink.changes(self.object, [self.text_field], None)),
        }
        for name, call in calls.items():
            _expect_raised(ConnectorError, call, f"{name}() raises when the vendor answers with an error")

    def test_a_session_that_ends_is_renewed(self) -> None:
        """In the middle of a run too; whoever waits for a person to log in again writes nothing at night."""
        sink = self.connect()
        sink.upsert(self.object, [self._new("k1", "one")])
        self.end_session()
        writes = [self._new("k1", "two"), self._new("k2", "two")]
        outcomes = _expect_done(lambda: sink.upsert(self.object, writes), "a session that ends is renewed")
        _expect(all(o.ok for o in outcomes), f"after a new session: {outcomes}")
        _expect([len(self._holders(key)) for key in ("k1", "k2")] == [1, 1], "a repeated call made twins")

    def test_a_request_to_slow_down_says_for_how_long(self) -> None:
        """RateLimitError slows the whole connection; `retry_after` is what the vendor said, if it said anything."""
        sinks = [self.connect() for _ in range(3)]
        for sink in sinks[:2]:
            sink.check()  # these two have a session; the third meets the refusal when it logs in, if it does
        for sink, asked in zip(sinks, (None, timedelta(seconds=40), timedelta(seconds=50)), strict=True):
            self.ask_to_slow_down(asked)
            write = partial(sink.upsert, self.object, [self._new("k1", "x")])
            error = _expect_raised(RateLimitError, write, "too many calls: upsert() raises")
            told = getattr(error, "retry_after", None)
            _expect(asked is None or told == asked, f"the vendor said {asked}, the error says {told}")

    def test_a_lost_connection_is_weather_and_its_replay_creates_nothing(self) -> None:
        """The host cannot know whether the call was carried out, and repeats it."""
        for key, after in (("k1", False), ("k2", True)):
            sink = self.connect()
            sink.check()
            self.lose_connection(after=after)
            write = partial(sink.upsert, self.object, [self._new(key, "x")])
            lost = "after" if after else "before"
            _expect_raised(TransientError, write, f"connection lost {lost} the write: upsert() raises")
            again = self._upsert(key, "x")[0]
            created = again.status is Status.CREATED
            _expect(again.ok and created is not after, f"connection lost {lost} the write, then again: {again}")
            _expect(len(self._holders(key)) == 1, f"connection lost {lost} the write: the replay made a twin")

    def test_changes_bring_every_record_with_every_field(self) -> None:
        refs = {self._upsert(key, text)[0].ref for key, text in (("k1", "x"), ("k2", None))}
        found = {record.ref: record for record in self._changes()[0]}
        _expect(refs <= set(found), f"not found: {sorted(str(ref) for ref in refs - set(found))}")
        lacking = [r.ref.id for r in found.values() if not r.deleted and {self.match, self.text_field} - set(r.fields)]
        _expect(not lacking, f"fields that were asked for are absent (empty ones are None): {lacking[:5]}")

    def test_changes_go_on_from_any_of_their_cursors(self) -> None:
        """After a crash the host reads on from the last cursor it stored; nothing that came later may be missing."""
        _, start = self._changes()
        for number in range(5):
            self._upsert(f"k{number}", "x")
        pages = list(self.connect().changes(self.object, [self.match, self.text_field], start))
        for number, page in enumerate(pages):
            later = {record.ref for after in pages[number + 1 :] for record in after.records}
            if page.cursor is not None:
                found = {record.ref for record in self._changes(page.cursor)[0]}
                missing = sorted(str(ref) for ref in later - found)
                _expect(not missing, f"from {page.cursor!r} on, {missing[:5]} are missing")

    def test_a_persons_edit_is_found_and_is_not_ours(self) -> None:
        written = self._upsert("k1", "ours")[0]
        _, cursor = self._changes()
        self.edit(RemoteRef(self.object, _id(written)), {self.text_field: "theirs"})
        edited = {record.ref: record for record in self._changes(cursor)[0]}.get(RemoteRef(self.object, _id(written)))
        if edited is None:
            raise AssertionError("an edit after the cursor was not found")
        _expect(edited.fields[self.text_field] == "theirs", f"it holds {edited.fields[self.text_field]!r}")
        _expect(edited.changed_by != "us", "a person's edit is taken for ours: it would be overwritten")
        _expect(edited.changed_at is not None and edited.changed_at.tzinfo, "changed_at is not an aware time")

    def test_our_own_write_is_known_as_ours(self) -> None:
        written = self._upsert("k1", "ours")[0]
        echo = next((record for record in self._changes()[0] if record.ref == written.ref), None)
        _expect(echo and echo.changed_by == "us", f"our own write is said to be from {echo and echo.changed_by!r}")

    def test_a_deletion_is_a_tombstone(self) -> None:
        written = self._upsert("k1", "x")[0]
        _, cursor = self._changes()
        self.remove(RemoteRef(self.object, _id(written)))
        grave = [record for record in self._changes(cursor)[0] if record.ref == written.ref]
        _expect(grave and grave[-1].deleted, "a deletion after the cursor brought no tombstone")
        _expect(not grave[-1].fields, "a tombstone holds no fields")

    def test_a_record_that_lives_on_names_its_successor(self) -> None:
        """After a conversion or a merge the host follows to the survivor; else the person would be lost, or be two."""
        written = self._upsert("k1", "x")[0]
        _, cursor = self._changes()
        survivor = self.succeed(RemoteRef(self.object, _id(written)))
        told = [record.successor for record in self._changes(cursor)[0] if record.ref == written.ref]
        _expect(told and told[-1] == survivor, f"it lives on as {survivor}; changes() says {told[-1:]}")

    def test_a_task_happens_once(self) -> None:
        """Also when the answer to its creation was lost."""
        sink = self.connect()
        if not isinstance(sink, CreatesTasks):
            _lacks("create_tasks")
        about = RemoteRef(self.object, _id(self._upsert("k1", "x")[0]))
        task, lost = _task(sink, "t1", about), _task(sink, "t2", about)
        first, again = (self.connect().create_tasks([task])[0] for _ in range(2))  # type: ignore[attr-defined]
        _expect(first.status is Status.CREATED, f"a new task is created; the outcome is {first}")
        _expect(again.status is Status.UNCHANGED, f"a key that exists is unchanged; the outcome is {again}")
        sink.check()
        self.lose_connection(after=True)
        _expect_raised(TransientError, lambda: sink.create_tasks([lost]), "without an answer create_tasks() raises")
        again = self.connect().create_tasks([lost])[0]  # type: ignore[attr-defined]
        _expect(again.status is Status.UNCHANGED, f"it was created and the answer lost; then the outcome is {again}")

    def test_members_go_in_and_out_once(self) -> None:
        sink = self.connect()
        if not isinstance(sink, KeepsSegments):
            _lacks("set_members")
        member = Member("m1", RemoteRef(self.object, _id(self._upsert("k1", "x")[0])))
        steps = [([member], []), ([member], []), ([], [member]), ([], [member])]
        statuses = [sink.set_members(self.segment, add, remove)[0].status for add, remove in steps]
        _expect(
            [s is Status.UNCHANGED for s in statuses] == [False, True, False, True], f"in, in, out, out: {statuses}"
        )
        _expect(all(s is not Status.REJECTED for s in statuses), f"in, in, out, out: {statuses}")

    def test_prepare_creates_what_is_missing(self) -> None:
        """`missing` only looks; after `prepare` what it named is there, and we can write it."""
        if not isinstance(self.connect(), Prepares):
            _lacks("prepare")
        sink: Any = self.connect_unprepared()
        key = FieldSpec(self.object, self.match, "text", "Key", max_length=64, unique=True)
        needed, segments = [key, *getattr(sink, "task_fields", ())], [self.segment] if self.segment else []
        told = list(sink.missing(needed, segments))
        _expect(told, "nothing is prepared, and missing() is empty")
        _expect(list(sink.missing(needed, segments)) == told, "missing() changed something")
        sink.prepare(needed, segments)
        missing = sink.missing(needed, segments)
        _expect(list(missing) == [], f"after prepare() still missing: {missing}")
        self._use_what_was_prepared(sink)

    def _use_what_was_prepared(self, sink: Any) -> None:
        def use() -> list[Outcome]:
            written = sink.upsert(self.object, [self._new("k1", "x")])
            ref = RemoteRef(self.object, _id(written[0]))
            if isinstance(sink, CreatesTasks):
                written = [*written, *sink.create_tasks([_task(sink, "t1", ref)])]
            if isinstance(sink, KeepsSegments):
                written = [*written, *sink.set_members(self.segment, [Member("m1", ref)], [])]
            return list(written)

        outcomes = _expect_done(use, "what was prepared can be used")
        _expect(all(o.ok for o in outcomes), f"what was prepared can be used: {outcomes}")

    def test_prepare_leaves_nothing_missing(self) -> None:
        sink = self.connect()
        if not isinstance(sink, Prepares):
            _lacks("prepare")
        needed = [*getattr(sink, "task_fields", ())]
        segments = [self.segment] if self.segment else []
        sink.prepare(needed, segments)
        missing = sink.missing(needed, segments)
        _expect(list(missing) == [], f"after prepare() still missing: {missing}")
        _expect(not sink.prepare(needed, segments), "prepare() did something although nothing was missing")

    def _new(self, key: str, text: str | None) -> Write:
        return Write(key, (self.match, key), {**self.always, self.text_field: text})

    def _upsert(self, key: str, text: str | None) -> Sequence[Outcome]:
        return self.connect().upsert(self.object, [self._new(key, text)])

    def _changes(self, cursor: str | None = None) -> tuple[list[RemoteRecord], str | None]:
        records: list[RemoteRecord] = []
        for page in self.connect().changes(self.object, [self.match, self.text_field], cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    def _holders(self, key: str) -> set[RemoteRef]:
        """The living records that hold our key."""
        latest = {record.ref: record for record in self._changes()[0]}
        return {ref for ref, record in latest.items() if not record.deleted and record.fields.get(self.match) == key}

    def _text(self, outcome: Outcome) -> Value:
        """What the text field holds now, as the last page that mentions the record says."""
        held = [record for record in self._changes()[0] if record.ref == outcome.ref]
        _expect(held, f"{outcome.ref} was written and cannot be read")
        return held[-1].fields.get(self.text_field)


def _id(outcome: Outcome) -> str:
    if outcome.ref is None:
        raise AssertionError(f"a write that succeeded has a ref: {outcome}")
    return outcome.ref.id


def _closed(field: Field) -> bool:
    return not field.writable and field.kind == "text"


def _task(sink: Any, key: str, about: RemoteRef) -> TaskWrite:
    due = sink.context.clock().astimezone(UTC) + timedelta(hours=2)
    return TaskWrite(key, about, "Call back", "Asked for a demo", due, "high")
