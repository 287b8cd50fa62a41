"""The memory connectors keep the contract, and the kit notices every clause that somebody breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

from syncline.errors import AuthError, ConfigError, RateLimitError, SchemaDriftError, TransientError
from syncline.model import Account, Field, Outcome, Page, RawRecord, RemoteRef, Status, Value
from syncline.sdk import Context, Http, WebhookRequest
from syncline.testing.contract import SinkContract, SourceContract
from syncline.testing.memory import MemoryConfig, MemorySink, MemorySource, MemoryWorld, person_fields

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


def connected(connector: type[Any], world: MemoryWorld) -> Any:
    bound = type(connector.__name__, (connector,), {"world": world})
    return bound(MemoryConfig(secret="hush-hush"), Context("memory", Http("memory"), lambda: NOW, {}))  # type: ignore[arg-type]


class _MemoryAccount:
    connector: ClassVar[type[Any]]
    world: MemoryWorld

    def connect(self) -> Any:
        return connected(self.connector, self.world)

    def connect_refused(self) -> Any:
        self.world.fail_call("*", AuthError("no such key"), times=None)
        return self.connect()


class TestMemorySource(_MemoryAccount, SourceContract):
    connector = MemorySource

    def setup_method(self) -> None:
        self.world = MemoryWorld(page_size=2)
        for number in range(5):
            self.happen(number)

    def happen(self, number: int = 9) -> None:
        self.world.happened(f"f{number}", "page_visit", NOW, email="a@x.example", url="/x", duration_s=1.5)

    def break_reading(self) -> None:
        self.world.fail_call("read", TransientError("cut off"), after=1, times=None)

    def webhook(self) -> WebhookRequest:
        body = json.dumps([{"key": "h1", "type": "email_open", "at": NOW.isoformat(), "email": "a@x.example"}]).encode()
        return WebhookRequest("POST", "/", "", {"x-memory-signature": self.connect().sign(body)}, body, NOW)


class TestMemorySink(_MemoryAccount, SinkContract):
    connector = MemorySink
    object = "Lead"
    match = "Key"
    text_field = "Company"
    segment = "hot"

    def setup_method(self) -> None:
        fields = (*person_fields(), Field("Profile", "text", writable=False))
        self.world = MemoryWorld(segments=["hot"], page_size=2, objects={"Lead": fields, "Contact": fields})

    def connect_unprepared(self) -> Any:
        fields = [field for field in person_fields() if field.name != "Key"]
        self.world = MemoryWorld(objects={"Lead": fields}, prepared=False)
        return self.connect()

    def edit(self, ref: RemoteRef, fields: Mapping[str, Value]) -> None:
        self.world.edit(ref, fields)

    def remove(self, ref: RemoteRef) -> None:
        self.world.delete(ref)

    def succeed(self, ref: RemoteRef) -> RemoteRef:
        return self.world.convert(ref)

    def break_calls(self) -> None:
        self.world.fail_call("*", TransientError("down"), times=None)

    def lose_connection(self, *, after: bool) -> None:
        for method in ("upsert", "create_tasks"):
            self.world.fail_call(method, TransientError("no answer"), applied=after)

    def ask_to_slow_down(self, retry_after: timedelta | None) -> None:
        self.world.heal()
        self.world.fail_call("*", RateLimitError("too many calls", retry_after=retry_after), times=None)

    def end_session(self) -> None:
        """Nobody logs in to a memory; connectors that break the clause ask for this mark."""
        self.world.counters["ended_sessions"] += 1

    def write_calls(self) -> int:
        return self.world.counters["write_calls"]


# One connector for each clause, which breaks just that clause


class WithoutName(MemorySource):
    def check(self) -> Account:
        return replace(super().check(), name="")


class ShowsItsSecret(MemorySource):
    def check(self) -> Account:
        return replace(super().check(), details={"secret": self.config.secret.get_secret_value()})


class CallsItWeather(MemorySource):
    def check(self) -> Account:
        try:
            return super().check()
        except AuthError as error:
            raise TransientError("HTTP 401") from error


class NamesAnotherStream(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        for page in super().read(stream, cursor):
            yield replace(page, records=[replace(raw, stream="other") for raw in page.records])

    def normalize(self, raw: RawRecord) -> Any:
        return super().normalize(replace(raw, stream="events"))


class GivesTheCursorOfTheNextPage(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        for page in super().read(stream, cursor):
            at, total = int(page.cursor or 0), page.total or 0
            yield replace(page, cursor=str(min(at + 1, total)))


class ForgetsWhatIsNew(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        for page in super().read(stream, cursor):
            yield replace(page, records=[raw for raw in page.records if raw.key != "f9"])


class EndsEarly(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().read(stream, cursor)
        except TransientError:
            return


class RollsDice(MemorySource):
    def __init__(self, config: MemoryConfig, context: Context) -> None:
        super().__init__(config, context)
        self.world.counters["instances"] += 1
        self.number = self.world.counters["instances"]

    def normalize(self, raw: RawRecord) -> Any:
        for event in super().normalize(raw):
            yield replace(event, id=f"{self.number}{event.id}")


class OneIdForAll(MemorySource):
    def normalize(self, raw: RawRecord) -> Any:
        for event in super().normalize(raw):
            yield replace(event, id="0" * 32, properties={"url": f"/{raw.key}"})


class InventsAType(MemorySource):
    def normalize(self, raw: RawRecord) -> Any:
        for event in super().normalize(raw):
            yield replace(event, type="page_view")


class LivesInRome(MemorySource):
    def normalize(self, raw: RawRecord) -> Any:
        for event in super().normalize(raw):
            yield replace(event, occurred_at=event.occurred_at.astimezone(timezone(timedelta(hours=2))))


class InventsAProperty(MemorySource):
    def normalize(self, raw: RawRecord) -> Any:
        for event in super().normalize(raw):
            yield replace(event, properties={"length": 3})


class WritesNumbersAsText(MemorySource):
    def normalize(self, raw: RawRecord) -> Any:
        for event in super().normalize(raw):
            yield replace(event, properties={"duration_s": "1.5"})


class RemembersTheLastRecord(MemorySource):
    last: str = ""

    def normalize(self, raw: RawRecord) -> Any:
        again, self.last = self.last == raw.key, raw.key
        for event in super().normalize(raw):
            yield replace(event, profile={"title": "seen"} if self.world.counters[raw.key] else {})
        self.world.counters[raw.key] += not again


class SwallowsWebhooks(MemorySource):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        super().receive(request)
        return []


class TrustsEverybody(MemorySource):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        return super().receive(replace(request, headers={"x-memory-signature": self.sign(request.body)}))


class DescribesNothingUnique(MemorySink):
    def describe(self, object: str) -> Any:
        return [replace(field, unique=False) for field in super().describe(object)]


class ListsNoObjects(MemorySink):
    def describe(self, object: str) -> Any:
        try:
            return super().describe(object)
        except ConfigError:
            raise ConfigError("no such object") from None


class CreatesAnew(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        outcomes = super().upsert(object, writes)
        return [o if o.status is not Status.UPDATED or w.match[0] == "Id" else replace(o, status=Status.CREATED)
                for o, w in zip(outcomes, writes, strict=True)]  # fmt: skip


class ShufflesOutcomes(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        outcomes = super().upsert(object, writes)
        return sorted(outcomes, key=lambda o: o.key)


class RefusesTheWholeBatch(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        if any(w.match == ("Id", "nobody-has-this-id") for w in writes):
            return [Outcome(w.key, Status.REJECTED, None, "batch refused") for w in writes]
        return super().upsert(object, writes)


class MakesTwins(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        outcomes = super().upsert(object, writes)
        if len({w.match for w in writes}) < len(writes):
            self.world.put(object, {"Key": writes[-1].match[1]}, by="us")
        return outcomes


class SplitsWhatIsTooMuch(MemorySink):
    def set_members(self, segment: str, add: Any, remove: Any) -> Sequence[Outcome]:
        first = super().set_members(segment, add[:200], remove[:200])
        return [*first, *self.set_members(segment, add[200:], remove[200:])] if add or remove else []


class EscapesQuotes(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        escaped = [
            replace(w, fields={n: v.replace("'", "\\'") if isinstance(v, str) else v for n, v in w.fields.items()})
            for w in writes
        ]
        return super().upsert(object, escaped)


class LeavesOutWhatIsReadOnly(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        known = self.world.fields_of(object)
        writable = [
            replace(w, fields={n: v for n, v in w.fields.items() if n not in known or known[n].writable})
            for w in writes
        ]
        return super().upsert(object, writable)


class NamesAnotherField(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except SchemaDriftError as error:
            if "read-only" in str(error):
                raise SchemaDriftError("some field is read-only", field="Company") from error
            raise


class ClearsWhatIsAbsent(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        absent = {"Company": None}
        return super().upsert(object, [replace(w, fields={**absent, **w.fields}) for w in writes])


class IgnoresNone(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        return super().upsert(
            object, [replace(w, fields={n: v for n, v in w.fields.items() if v is not None}) for w in writes]
        )


class CallsOnceForEach(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        parts = [[write] for write in writes] if len(writes) <= self.limits.upsert_batch else [writes]
        return [outcome for part in parts for outcome in super(CallsOnceForEach, self).upsert(object, part)]


class DriftIsForgotten(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        known = self.world.fields_of(object)
        return super().upsert(
            object, [replace(w, fields={n: v for n, v in w.fields.items() if n in known}) for w in writes]
        )


class RejectsInsteadOfRaising(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except TransientError as error:
            if str(error) != "down":
                raise
            return [Outcome(w.key, Status.REJECTED, None, str(error)) for w in writes]


class NeverLogsInAgain(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        if self.world.counters["ended_sessions"]:
            raise AuthError("the session has ended")
        return super().upsert(object, writes)


class ForgetsForHowLong(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except RateLimitError as error:
            raise RateLimitError(str(error)) from error


class TakesItForWeather(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except RateLimitError as error:
            raise TransientError(str(error), retry_after=error.retry_after) from error


class TriesAgainByItself(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except RateLimitError:
            raise
        except TransientError:
            return super().upsert(object, writes)


class CreatesOnReplay(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except TransientError:
            for write in writes:
                self.world.put(object, {"Key": write.match[1]}, by="us")
            raise


class GivesTheLastCursorAtOnce(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        pages = list(super().changes(object, fields, cursor))
        for page in pages:
            yield replace(page, cursor=pages[-1].cursor if cursor is not None else page.cursor)


class LosesTheSuccessor(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[replace(r, successor=None) for r in page.records])


class LeavesOutEmptyFields(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[
                replace(r, fields={n: v for n, v in r.fields.items() if v is not None}) for r in page.records
            ])  # fmt: skip


class TakesAllForOurs(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[replace(r, changed_by="us") for r in page.records])


class KnowsNoOwn(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[replace(r, changed_by="unknown") for r in page.records])


class SkipsTombstones(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[r for r in page.records if not r.deleted or r.successor])


class CreatesTasksTwice(MemorySink):
    def create_tasks(self, tasks: Any) -> Sequence[Outcome]:
        self.world.tasks.clear()
        return super().create_tasks(tasks)


class CreatesTasksAnewWhenUnanswered(MemorySink):
    def create_tasks(self, tasks: Any) -> Sequence[Outcome]:
        try:
            return super().create_tasks(tasks)
        except TransientError:
            for task in tasks:
                self.world.tasks.pop(task.key, None)
            raise


class AddsTwice(MemorySink):
    def set_members(self, segment: str, add: Any, remove: Any) -> Sequence[Outcome]:
        outcomes = super().set_members(segment, add, remove)
        return [replace(o, status=Status.UPDATED) if o.status is Status.UNCHANGED else o for o in outcomes]


class PreparesForShow(MemorySink):
    def prepare(self, needed: Any, segments: Any) -> Sequence[str]:
        return super().prepare(needed, segments) or ["created everything"]


class PreparesOnPaper(MemorySink):
    done = False

    def missing(self, needed: Any, segments: Any) -> Sequence[str]:
        return [] if self.done else super().missing(needed, segments)

    def prepare(self, needed: Any, segments: Any) -> Sequence[str]:
        told = self.missing(needed, segments)
        self.done = True
        return told


class CreatesWhileItLooks(MemorySink):
    def missing(self, needed: Any, segments: Any) -> Sequence[str]:
        told = super().missing(needed, segments)
        for spec in needed:
            self.world.create_field(spec)
        return told


BREAKS = {
    WithoutName: "test_check_names_the_account",
    ShowsItsSecret: "test_check_names_the_account",
    CallsItWeather: "test_refused_credentials_are_an_auth_error",
    NamesAnotherStream: "test_every_stream_brings_plain_records",
    GivesTheCursorOfTheNextPage: "test_a_read_goes_on_from_any_of_its_cursors",
    ForgetsWhatIsNew: "test_new_facts_are_found_from_the_last_cursor",
    EndsEarly: "test_a_broken_read_raises",
    RollsDice: "test_events_have_the_same_ids_every_time",
    OneIdForAll: "test_different_facts_have_different_ids",
    InventsAType: "test_events_speak_the_vocabulary",
    LivesInRome: "test_events_speak_the_vocabulary",
    InventsAProperty: "test_events_speak_the_vocabulary",
    WritesNumbersAsText: "test_events_speak_the_vocabulary",
    RemembersTheLastRecord: "test_normalize_is_pure",
    SwallowsWebhooks: "test_a_webhook_becomes_events",
    TrustsEverybody: "test_webhook_rejects_tampering",
    DescribesNothingUnique: "test_describe_tells_the_fields",
    ListsNoObjects: "test_an_unknown_object_is_a_configuration_error",
    CreatesAnew: "test_upsert_creates_once_and_then_updates",
    ShufflesOutcomes: "test_outcomes_come_one_for_each_write_in_order",
    RefusesTheWholeBatch: "test_a_bad_record_is_refused_alone",
    MakesTwins: "test_a_key_twice_in_one_batch_makes_one_record",
    SplitsWhatIsTooMuch: "test_too_many_at_once_are_refused_before_any_call",
    EscapesQuotes: "test_text_comes_back_as_it_was_written",
    LeavesOutWhatIsReadOnly: "test_a_read_only_field_is_refused_by_name",
    NamesAnotherField: "test_a_read_only_field_is_refused_by_name",
    ClearsWhatIsAbsent: "test_an_absent_field_is_left_alone",
    IgnoresNone: "test_none_clears_a_field",
    CallsOnceForEach: "test_a_batch_is_one_call_and_nothing_is_none",
    DriftIsForgotten: "test_a_missing_field_is_drift_and_named",
    RejectsInsteadOfRaising: "test_trouble_with_a_call_is_an_exception",
    NeverLogsInAgain: "test_a_session_that_ends_is_renewed",
    ForgetsForHowLong: "test_a_request_to_slow_down_says_for_how_long",
    TakesItForWeather: "test_a_request_to_slow_down_says_for_how_long",
    TriesAgainByItself: "test_a_lost_connection_is_weather_and_its_replay_creates_nothing",
    CreatesOnReplay: "test_a_lost_connection_is_weather_and_its_replay_creates_nothing",
    GivesTheLastCursorAtOnce: "test_changes_go_on_from_any_of_their_cursors",
    LosesTheSuccessor: "test_a_record_that_lives_on_names_its_successor",
    LeavesOutEmptyFields: "test_changes_bring_every_record_with_every_field",
    TakesAllForOurs: "test_a_persons_edit_is_found_and_is_not_ours",
    KnowsNoOwn: "test_our_own_write_is_known_as_ours",
    SkipsTombstones: "test_a_deletion_is_a_tombstone",
    CreatesTasksTwice: "test_a_task_happens_once",
    CreatesTasksAnewWhenUnanswered: "test_a_task_happens_once",
    AddsTwice: "test_members_go_in_and_out_once",
    PreparesForShow: "test_prepare_leaves_nothing_missing",
    PreparesOnPaper: "test_prepare_creates_what_is_missing",
    CreatesWhileItLooks: "test_prepare_creates_what_is_missing",
}


def kit_for(connector: type[Any]) -> type[Any]:
    base = TestMemorySource if issubclass(connector, MemorySource) else TestMemorySink
    return type(f"Kit{connector.__name__}", (base,), {"connector": connector})


def clauses(kit: type[Any]) -> list[str]:
    return [name for name in dir(kit) if name.startswith("test_")]


def failing(kit: type[Any]) -> dict[str, str]:
    """Clause → what it said, for each that fails."""
    failed = {}
    for clause in clauses(kit):
        suite = kit()
        suite.setup_method()
        try:
            getattr(suite, clause)()
        except AssertionError as error:
            failed[clause] = str(error)
        except pytest.skip.Exception:
            continue
    return failed


@pytest.mark.parametrize(("connector", "clause"), BREAKS.items(), ids=[c.__name__ for c in BREAKS])
def test_exactly_the_broken_clause_fails(connector: type[Any], clause: str) -> None:
    assert list(failing(kit_for(connector))) == [clause]


def test_every_clause_has_somebody_who_breaks_it() -> None:
    assert set(clauses(TestMemorySource)) | set(clauses(TestMemorySink)) == set(BREAKS.values())


def test_an_exemption_has_its_reason() -> None:
    kit = type("Exempt", (kit_for(TrustsEverybody),), {"exempt": {"test_webhook_rejects_tampering": "no signature"}})
    assert failing(kit) == {}
    with pytest.raises(pytest.skip.Exception, match="exempt: no signature"):
        kit().test_webhook_rejects_tampering()


@pytest.mark.parametrize(
    ("exempt", "said"),
    [
        ({"test_webhook_reject_tampering": "x"}, "did you mean 'test_webhook_rejects_tampering'"),
        ({"test_normalize_is_pure": " "}, "give the reason"),
    ],
)
def test_an_exemption_that_says_nothing_is_refused(exempt: dict[str, str], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        type("Exempt", (TestMemorySource,), {"exempt": exempt})
