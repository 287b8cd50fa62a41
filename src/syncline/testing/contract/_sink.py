"""The clauses for sinks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any, ClassVar, Final

import pytest

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    ContractError,
    SchemaDriftError,
    TransientError,
)
from syncline.model import (
    ChangePage,
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
from syncline.sdk import CreatesTasks, KeepsSegments, Prepares, Sink, WebhookRequest
from syncline.testing.contract._base import Operations
from syncline.testing.contract._expect import expect, expect_done, expect_raised, lacks, not_given, offers
from syncline.testing.contract._webhooks import TakesWebhooks

__all__ = ["SinkContract"]

_AWKWARD: Final = (
    'D\'Amico "x", y; z',
    "two\nlines\\n and a\ttab",
    "=1+1",
    "#N/A",
    "null",
    "Zo\u00eb \u00dftra\u00dfe \u65e5\u672c \U0001f388",
    "<b>&amp;</b> %20 {{x}}",
)


_CREATION: Final = "test_upsert_creates_once_and_then_updates"


class SinkContract(TakesWebhooks):
    """The clauses for a sink. The account is prepared: `match` and the connector's task fields are there."""

    _kit = "sink"

    object: ClassVar[str]
    match: ClassVar[str]
    """A writable unique text field of `object`."""
    text_field: ClassVar[str]
    """A writable text field of `object` that may be empty."""
    always: ClassVar[Mapping[str, Value]] = {}
    """What the CRM requires of every new record."""
    segment: ClassVar[str] = ""
    """A list, campaign or tag that is there; for sinks that keep segments."""
    email_field: ClassVar[str] = ""
    """A writable field of `object` that holds an e-mail address; by default the one that is called like it."""
    creates: ClassVar[bool] = True
    """False for a sink that never creates records; `exempt` says why at `test_upsert_creates_once_and_then_updates`."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.creates and _CREATION not in cls.exempt:
            raise TypeError(f"{cls.__name__}.creates is False: say why in exempt[{_CREATION!r}]")

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

    def end_session(self) -> None:
        """Whatever a log-in gave is no longer valid; the credentials are."""
        raise NotImplementedError

    def write_calls(self) -> int:
        """The write calls the vendor has counted so far."""
        raise NotImplementedError

    def test_describe_tells_the_fields(self) -> None:
        fields = {field.name: field for field in self.connect().describe(self.object)}
        match, text = fields.get(self.match), fields.get(self.text_field)
        expect(match and match.unique, f"{self.match} is not described as unique")
        expect(match and (match.writable or not self.creates), f"{self.match} is not described as writable")
        expect(text and text.kind == "text" and text.writable, f"{self.text_field} is not described as writable text")

    def test_an_unknown_object_is_a_configuration_error(self) -> None:
        error = expect_raised(ConfigError, lambda: self.connect().describe("NoSuchThing"), "describe() raises")
        expect(self.object in str(error), f"the error does not list what there is: {error}")

    def test_upsert_creates_once_and_then_updates(self) -> None:
        first, again = self._upsert("k1", "one")[0], self._upsert("k1", "two")[0]
        expect(first.status is Status.CREATED and first.ref, f"a new key is created; the outcome is {first}")
        expect(again.ref == first.ref, f"the same key found another record: {first.ref}, then {again.ref}")
        expect(again.status is not Status.CREATED and again.ok, f"the second time it is updated; it says {again}")
        expect(self._text(first) == "two", f"{self.text_field} holds {self._text(first)!r}, not 'two'")

    def test_outcomes_come_one_for_each_write_in_order(self) -> None:
        keys = ["k3", "k1", "k2"]
        outcomes = self.connect().upsert(self.object, [self._new(key, key) for key in keys])
        expect([o.key for o in outcomes] == keys, f"wrote {keys}, outcomes for {[o.key for o in outcomes]}")

    def test_a_bad_record_is_refused_alone(self) -> None:
        """Trouble with one record is its outcome, with a reason; its neighbours are written."""
        good = [self._upsert(key, "old")[0] for key in ("k1", "k2")]
        ids = [_id(good[0]), "nobody-has-this-id", _id(good[1])]
        writes = [Write(f"w{n}", ("Id", i), {self.text_field: "new"}) for n, i in enumerate(ids)]
        outcomes = self.connect().upsert(self.object, writes)
        expect([o.ok for o in outcomes] == [True, False, True], f"only the middle one is bad; {outcomes}")
        expect(outcomes[1].reason, "a refused record has a reason")
        expect([self._text(o) for o in good] == ["new", "new"], "its neighbours were not written")

    def test_good_and_bad_by_our_key_keep_their_order(self) -> None:
        """Where the vendor refuses a whole call for one record (ConnectorError), halves of it find the bad one."""
        writes = [self._new("k3", "new"), self.bad_write("k1"), self._new("k2", "new")]
        outcomes = self._bisected(writes)
        expect([o.key for o in outcomes] == [w.key for w in writes], f"wrote {writes}, outcomes {outcomes}")
        expect([o.ok for o in outcomes] == [True, False, True], f"only the middle one is bad; {outcomes}")
        expect(outcomes[1].reason, "a refused record has a reason")
        held = [self._text(outcome) for outcome in (outcomes[0], outcomes[2])]
        expect(held == ["new", "new"], f"its neighbours hold {held}, not what was written")

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

    def test_an_unknown_record_is_never_created(self) -> None:
        """A write by Id updates, or is refused; so does every write of a sink that never creates."""
        self._upsert("k1", "old")
        before = self._living()
        writes = [Write("w1", ("Id", "nobody-has-this-id"), {**self.always, self.text_field: "x"})]
        if not self.creates:
            writes = [self._write("w2", "x")]
        for outcome in self._bisected(writes):
            expect(not outcome.ok and outcome.reason, f"nobody has this {writes[0].match[0]}; the outcome is {outcome}")
        expect(self._living() == before, "a record was created all the same")

    def test_outcomes_of_tasks_and_members_keep_their_order(self) -> None:
        """One for each; those of `add` before those of `remove`."""
        sink = self._connected()
        if not offers(sink, CreatesTasks) and not offers(sink, KeepsSegments):
            lacks("create_tasks")
        keys = ["t3", "t1", "t2"]
        refs = {key: RemoteRef(self.object, _id(self._upsert(key, "x")[0])) for key in keys}
        if offers(sink, CreatesTasks):
            outcomes = sink.create_tasks([_task(sink, key, refs[key]) for key in keys])
            expect([o.key for o in outcomes] == keys, f"tasks {keys}, outcomes for {[o.key for o in outcomes]}")
        if offers(sink, KeepsSegments):
            sink.set_members(self.segment, [Member("t1", refs["t1"])], [])
            add = [Member(key, refs[key]) for key in ("t3", "t2")]
            outcomes = sink.set_members(self.segment, add, [Member("t1", refs["t1"])])
            expect([o.key for o in outcomes] == ["t3", "t2", "t1"], f"members: {[o.key for o in outcomes]}")

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
            tasks = [_task(sink, f"t{n}", refs[n % len(refs)]) for n in range(sink.limits.task_batch)]
            self._all_done("create_tasks", [t.key for t in tasks], sink.create_tasks(tasks))
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
        for name, call in self._excesses(sink, RemoteRef(self.object, _id(written))).items():
            expect_raised(ContractError, call, f"{name}() with one more than `limits` raises")
            expect((self.write_calls(), sink.context.http.metrics.total) == before, f"{name}() made a call first")

    def _excesses(self, sink: Any, ref: RemoteRef) -> dict[str, Callable[[], Any]]:
        limits = sink.limits
        most = limits.upsert_batch if limits.bulk_from is None else max(limits.upsert_batch, limits.bulk_batch)
        calls: dict[str, Callable[[], Any]] = {
            "upsert": lambda: sink.upsert(self.object, [self._write(f"n{number}", "x") for number in range(most + 1)])
        }
        if offers(sink, CreatesTasks):
            tasks = [_task(sink, f"t{number}", ref) for number in range(limits.task_batch + 1)]
            calls["create_tasks"] = lambda: sink.create_tasks(tasks)
        if offers(sink, KeepsSegments):
            members = [Member(f"m{number}", ref) for number in range(limits.member_batch + 1)]
            calls["set_members"] = lambda: sink.set_members(self.segment, members, [])
            calls["set_members (remove)"] = lambda: sink.set_members(self.segment, [], members)
        return calls

    def test_text_comes_back_as_it_was_written(self) -> None:
        """Whatever people type: quotes, line ends, other scripts, what a spreadsheet would take for a formula."""
        for number, text in enumerate(_AWKWARD):
            outcome = self._upsert(f"k{number}", text)[0]
            expect(outcome.ok, f"{text!r} is refused: {outcome.reason}")
            held = self._text(outcome)
            expect(held == text, f"wrote {text!r}, and it holds {held!r}")

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
            expect(error.field == closed, f"{closed} is read-only; the error names {error.field!r}")
        else:
            told = outcome.status is Status.REJECTED and closed in str(outcome.reason)
            expect(told, f"{closed} is read-only; the outcome is {outcome}")
        expect(self._text(written) == "old", "the rest of a refused write was written")

    def test_an_absent_field_is_left_alone(self) -> None:
        written = self._upsert("k1", "kept")[0]
        fields: dict[str, Value] = {self.match: self.match_value("k1")} if self.creates else {}
        self.connect().upsert(self.object, [Write("k1", ("Id", _id(written)), fields)])
        expect(self._text(written) == "kept", f"a field that was not in the write became {self._text(written)!r}")

    def test_none_clears_a_field(self) -> None:
        written = self._upsert("k1", "something")[0]
        self.connect().upsert(self.object, [Write("k1", ("Id", _id(written)), {self.text_field: None})])
        expect(self._text(written) is None, f"after writing None it holds {self._text(written)!r}")

    def test_a_batch_is_one_call_and_nothing_is_none(self) -> None:
        sink = self.connect()
        before = self.write_calls()
        count = min(3, sink.limits.upsert_batch)
        sink.upsert(self.object, [self._new(f"k{number}", "x") for number in range(count)])
        expect(self.write_calls() - before == 1, f"{count} records took {self.write_calls() - before} calls")
        expect(list(sink.upsert(self.object, [])) == [], "no writes, no outcomes")
        expect(self.write_calls() - before == 1, "writing nothing made a call")

    def test_a_missing_field_is_drift_and_named(self) -> None:
        write = replace(self._new("k1", "x"), fields={**self.always, "No_Such_Field": "x"})
        error = expect_raised(SchemaDriftError, lambda: self.connect().upsert(self.object, [write]), "upsert() raises")
        expect(getattr(error, "field", None) == "No_Such_Field", f"it names {getattr(error, 'field', None)!r}")

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

    def test_changes_bring_every_record_with_every_field(self) -> None:
        refs = {self._upsert(key, text)[0].ref for key, text in (("k1", "x"), ("k2", None))}
        found = {record.ref: record for record in self._changes()[0]}
        expect(refs <= set(found), f"not found: {sorted(str(ref) for ref in refs - set(found))}")
        lacking = [r.ref.id for r in found.values() if not r.deleted and {self.match, self.text_field} - set(r.fields)]
        expect(not lacking, f"fields that were asked for are absent (empty ones are None): {lacking[:5]}")

    def test_changes_tell_the_addresses(self) -> None:
        """Whether they are asked for or not: a person is found by address before we have a key there."""
        name = self.email_field or self._described_email()
        address = self.match_value("k1") if name == self.match else "Kit.Person@acquario.example"
        own = {} if name == self.match else {name: address}
        write = self._new("k1", "x")
        [outcome] = self.connect().upsert(self.object, [replace(write, fields={**write.fields, **own})])
        told = [record.emails for record in self._changes()[0] if record.ref == outcome.ref]
        found = {email.casefold() for email in (told[-1] if told else ())}
        expect(address.casefold() in found, f"{name} holds {address}; the addresses are said to be {sorted(found)}")

    def _described_email(self) -> str:
        for field in self.connect().describe(self.object):
            if field.name.casefold() in ("email", "email_address") and (field.writable or field.name == self.match):
                return field.name
        return not_given("email_field")

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
                expect(not missing, f"from {page.cursor!r} on, {missing[:5]} are missing")

    def test_a_persons_edit_is_found_and_is_not_ours(self) -> None:
        written = self._upsert("k1", "ours")[0]
        _, cursor = self._changes()
        self.edit(RemoteRef(self.object, _id(written)), {self.text_field: "theirs"})
        edited = {record.ref: record for record in self._changes(cursor)[0]}.get(RemoteRef(self.object, _id(written)))
        if edited is None:
            raise AssertionError("an edit after the cursor was not found")
        expect(edited.fields[self.text_field] == "theirs", f"it holds {edited.fields[self.text_field]!r}")
        expect(edited.changed_by != "us", "a person's edit is taken for ours: it would be overwritten")
        expect(edited.changed_at is not None and edited.changed_at.tzinfo, "changed_at is not an aware time")

    def test_our_own_write_is_known_as_ours(self) -> None:
        written = self._upsert("k1", "ours")[0]
        _, cursor = self._changes()
        self._upsert("k1", "ours again")
        for since in (None, cursor):
            echo = [record for record in self._changes(since)[0] if record.ref == written.ref]
            told = echo[-1].changed_by if echo else "nobody: it is not among the changes"
            expect(told == "us", f"our own write is said to be from {told}")

    def test_a_deletion_is_a_tombstone(self) -> None:
        written = self._upsert("k1", "x")[0]
        _, cursor = self._changes()
        self.remove(RemoteRef(self.object, _id(written)))
        grave = [record for record in self._changes(cursor)[0] if record.ref == written.ref]
        expect(grave and grave[-1].deleted, "a deletion after the cursor brought no tombstone")
        expect(sum(r.deleted for r in grave) == 1, f"a deletion is one tombstone, not {sum(r.deleted for r in grave)}")
        expect(written.ref not in self._living(), "whoever reads everything still finds the deleted record alive")
        expect(not grave[-1].fields, "a tombstone holds no fields")

    def test_a_record_that_lives_on_names_its_successor(self) -> None:
        """After a conversion or a merge the host follows to the survivor; else the person would be lost, or be two."""
        written = self._upsert("k1", "x")[0]
        _, cursor = self._changes()
        survivor = self.succeed(RemoteRef(self.object, _id(written)))
        told = [record.successor for record in self._changes(cursor)[0] if record.ref == written.ref]
        expect(told and told[-1] == survivor, f"it lives on as {survivor}; changes() says {told[-1:]}")

    def test_a_task_happens_once(self) -> None:
        """Also when the answer to its creation was lost, or when it stands twice in one call."""
        sink = self._connected()
        if not offers(sink, CreatesTasks):
            lacks("create_tasks")
        about = RemoteRef(self.object, _id(self._upsert("k1", "x")[0]))
        task, lost = _task(sink, "t1", about), _task(sink, "t2", about)
        first, again = (self._connected().create_tasks([task])[0] for _ in range(2))
        expect(first.status is Status.CREATED, f"a new task is created; the outcome is {first}")
        expect(again.status is Status.UNCHANGED, f"a key that exists is unchanged; the outcome is {again}")
        sink.check()
        self.lose_connection(after=True)
        expect_raised(TransientError, lambda: sink.create_tasks([lost]), "without an answer create_tasks() raises")
        again = self._connected().create_tasks([lost])[0]
        expect(again.status is Status.UNCHANGED, f"it was created and the answer lost; then the outcome is {again}")
        twice = _task(sink, "t3", about)
        with contextlib.suppress(ContractError):
            outcomes = self._connected().create_tasks([twice, twice])
            created = sum(o.status is Status.CREATED for o in outcomes)
            expect(created <= 1, f"one key twice in a call made {created} tasks")

    def test_members_go_in_and_out_once(self) -> None:
        sink = self._connected()
        if not offers(sink, KeepsSegments):
            lacks("set_members")
        member = Member("m1", RemoteRef(self.object, _id(self._upsert("k1", "x")[0])))
        steps = [([member], []), ([member], []), ([], [member]), ([], [member])]
        statuses = [sink.set_members(self.segment, add, remove)[0].status for add, remove in steps]
        expect([s is Status.UNCHANGED for s in statuses] == [False, True, False, True], f"in, in, out, out: {statuses}")
        expect(all(s is not Status.REJECTED for s in statuses), f"in, in, out, out: {statuses}")

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
            ref = RemoteRef(self.object, _id(written[0]))
            if offers(sink, CreatesTasks):
                written = [*written, *sink.create_tasks([_task(sink, "t1", ref)])]
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

    # Webhooks

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

    # How it is called

    def _connected(self) -> Any:
        """A connector, with whatever optional methods it has."""
        return self.connect()

    def _operations(self, connector: Any) -> Operations:
        write, fields = self._new("k1", "x"), [self.match, self.text_field]
        found: dict[str, Callable[[], Any]] = {
            "check": connector.check,
            "describe": partial(connector.describe, self.object),
            "changes": lambda: list(connector.changes(self.object, fields, None)),
            "upsert": partial(connector.upsert, self.object, [write]),
        }
        if offers(connector, CreatesTasks):
            found["create_tasks"] = partial(connector.create_tasks, [_task(connector, "t1", self._somebody())])
        if offers(connector, KeepsSegments):
            found["set_members"] = partial(connector.set_members, self.segment, [Member("m1", self._somebody())], [])
        return found

    def _somebody(self) -> RemoteRef:
        """A record that is there; the same one every time within a clause."""
        if "_found" not in self.__dict__:
            self._found = RemoteRef(self.object, _id(self._upsert("k1", "x")[0]))
        return self._found

    def _readings(self) -> Mapping[str, Callable[[str | None], Iterable[ChangePage]]]:
        self._upsert("k1", "x")
        return {self.object: self._pages}

    def _pages(self, cursor: str | None) -> Iterator[ChangePage]:
        yield from self.connect().changes(self.object, [self.match, self.text_field], cursor)

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

    def _changes(self, cursor: str | None = None) -> tuple[list[RemoteRecord], str | None]:
        records: list[RemoteRecord] = []
        for page in self._pages(cursor):
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
        held = [record for record in self._changes()[0] if record.ref == outcome.ref]
        expect(held, f"{outcome.ref} was written and cannot be read")
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
