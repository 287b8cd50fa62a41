"""The memory connectors keep the contract, and the kit notices every clause that somebody breaks."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from time import sleep as napping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, field_validator
from pydantic import Field as Setting

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    ContractError,
    RateLimitError,
    SchemaDriftError,
    TransientError,
    WebhookRejectedError,
)
from syncline.model import Account, Field, Outcome, Page, RawRecord, RemoteRef, Status, TaskRef, Value, Write
from syncline.sdk import Context, Http, WebhookRequest
from syncline.testing.contract import SinkContract, SourceContract
from syncline.testing.memory import MemoryConfig, MemorySink, MemorySource, MemoryWorld, person_fields

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


def connected(connector: type[Any], world: MemoryWorld) -> Any:
    bound = type(connector.__name__, (connector,), {"world": world})
    return bound(connector.config_model(secret="hush-hush"), Context("memory", Http("memory"), lambda: NOW, {}))  # type: ignore[arg-type]


class _MemoryAccount:
    """The trouble that every memory connector can meet."""

    connector: ClassVar[type[Any]]
    world: MemoryWorld

    def connect(self) -> Any:
        return connected(self.connector, self.world)

    def connect_refused(self) -> Any:
        self.world.fail_call("*", AuthError("no such key"), times=None)
        return self.connect()

    def withdraw_access(self) -> None:
        self.world.fail_call("*", AuthError("the key was withdrawn"), times=None)

    def be_down(self) -> None:
        self.world.heal()
        self.world.fail_call("*", TransientError("out of order"), times=None)

    def ask_to_slow_down(self, retry_after: timedelta | None) -> None:
        self.world.heal()
        self.world.fail_call("*", RateLimitError("too many calls", retry_after=retry_after), times=None)

    def end_session(self) -> None:
        self.world.end_sessions()

    def failed_calls(self) -> int:
        return self.world.counters["failed"]

    def webhook_with(self, body: bytes) -> WebhookRequest:
        headers = connected(MemorySource, self.world).signed(body, NOW)
        return WebhookRequest("POST", "/hooks/memory", "", headers, body, NOW + timedelta(seconds=2))


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

    def connect_empty(self) -> Any:
        return connected(self.connector, MemoryWorld())

    def empty_page(self) -> None:
        self.world.empty_page()

    def repeat_page_token(self) -> None:
        self.world.repeat_page_token()

    def webhook(self) -> WebhookRequest:
        fact = {"key": "h1", "type": "email_open", "at": NOW.isoformat(), "email": "a@x.example"}
        return self.webhook_with(json.dumps([fact]).encode())

    def happen_both_ways(self) -> WebhookRequest:
        raw = self.world.happened("h8", "page_visit", NOW, email="a@x.example", url="/y")
        return self.webhook_with(json.dumps([{"key": raw.key, **raw.payload}]).encode())


class TestMemorySink(_MemoryAccount, SinkContract):
    connector = MemorySink
    object = "Lead"
    match = "Key"
    text_field = "Company"
    other_field = "FirstName"
    opt_out_field = "OptedOut"
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

    def finish_task(self, ref: RemoteRef) -> None:
        self.world.finish_task(ref.id)

    def task_is_open(self, ref: RemoteRef) -> bool:
        return ref.id in {task.key for task in self.world.open_tasks()}

    def succeed(self, ref: RemoteRef) -> RemoteRef:
        return self.world.convert(ref)

    def break_calls(self) -> None:
        self.world.fail_call("*", TransientError("down"), times=None)

    def lose_connection(self, *, after: bool) -> None:
        for method in ("upsert", "create_tasks", "close_tasks"):
            self.world.fail_call(method, TransientError("no answer"), applied=after)

    def webhook(self) -> WebhookRequest:
        notice = {"key": "n1", "object": "Lead", "id": "LE000001"}
        return self.webhook_with(json.dumps([notice]).encode())

    def write_calls(self) -> int:
        return self.world.counters["write_calls"]


class UpdatesOnly(MemorySink):
    """As an e-mail tool may be: who is not there is not written."""

    kind = "updates-only"

    def _find(self, object: str, write: Write) -> Any:
        ref, refusal = super()._find(object, write)
        return ref, refusal or (None if ref else ("NOT_FOUND", f"nobody has {write.match[1]}"))


class TestMemorySinkThatNeverCreates(TestMemorySink):
    connector = UpdatesOnly
    match = "Email"
    creates = False
    exempt: ClassVar = {"test_upsert_creates_once_and_then_updates": "only people who signed up are in this list"}

    def setup_method(self) -> None:
        fields = [replace(f, unique=True, writable=False) if f.name == "Email" else f for f in person_fields()]
        self.world = MemoryWorld(segments=["hot"], page_size=2, objects={"Lead": fields, "Contact": fields})

    def existing(self, key: str) -> RemoteRef:
        return self.world.put("Lead", {"Email": self.match_value(key)})

    def match_value(self, key: str) -> str:
        return f"{key.lower()}@x.example"

    def connect_unprepared(self) -> Any:
        fields = [replace(f, unique=True, writable=False) if f.name == "Email" else f for f in person_fields()]
        self.world = MemoryWorld(objects={"Lead": fields}, prepared=False)
        return self.connect()


class Both(MemorySource, MemorySink):
    """One connector that is read and written."""

    kind = "memory-both"


class TestSourceOfBoth(TestMemorySource):
    connector = Both


class TestSinkOfBoth(TestMemorySink):
    connector = Both


class SecretInTheAddress(MemorySource):
    """As vendors do that sign nothing."""

    def _verify(self, request: WebhookRequest) -> None:
        given, known = request.path.rpartition("/")[2], self.config.secret.get_secret_value()
        if not hmac.compare_digest(given.encode(), known.encode()):
            raise WebhookRejectedError("the address is not known")


class TestSecretInTheAddress(TestMemorySource):
    connector = SecretInTheAddress
    exempt: ClassVar = {
        "test_webhook_rejects_tampering": "no signature is offered; the secret is in the address",
        "test_webhook_rejects_an_old_timestamp": "no time is signed",
    }

    def webhook_with(self, body: bytes) -> WebhookRequest:
        url = "https://us.example/hooks/hush-hush"
        return WebhookRequest("POST", "/hooks/hush-hush", "", {"content-type": "application/json"}, body, NOW, url)


class SecretInTheBody(MemorySource):
    """A token in every message."""

    def _verify(self, request: WebhookRequest) -> None:
        items = self._items(request.body)
        if not items or any(item.get("token") != self.config.secret.get_secret_value() for item in items):
            raise WebhookRejectedError("not our token")


class TestSecretInTheBody(TestMemorySource):
    connector = SecretInTheBody
    exempt: ClassVar = {
        "test_webhook_rejects_tampering": "no signature is offered; the token is in the body",
        "test_webhook_rejects_an_old_timestamp": "no time is signed",
    }

    def webhook_with(self, body: bytes) -> WebhookRequest:
        token = b'{"token": "hush-hush", "key"'
        return WebhookRequest("POST", "/hooks/memory", "", {}, body.replace(b'{"key"', token), NOW)


# One connector for each clause, which breaks just that clause


class KnowsEveryAddress(SecretInTheAddress):
    def _verify(self, request: WebhookRequest) -> None:
        if "hush" not in self.config.secret.get_secret_value():
            raise WebhookRejectedError("another account's")


class TakesMessagesWithoutAToken(SecretInTheBody):
    def _verify(self, request: WebhookRequest) -> None:
        if b"token" in request.body and b'"token": ""' not in request.body:
            super()._verify(request)


class TakesAnything(MemorySource):
    """Its settings do."""

    class Config(MemoryConfig):
        model_config = ConfigDict(extra="ignore")

    config_model = Config


class TakesAnythingWithin(MemorySource):
    """What its settings hold does."""

    class Config(MemoryConfig):
        class Login(BaseModel):
            """`user` logs in."""

            user: str = "us"

        login: Login = Login()
        """Who logs in."""

    config_model = Config


class PrintsWhatIsWrong(MemorySource):
    class Config(MemoryConfig):
        model_config = ConfigDict(hide_input_in_errors=False)

    config_model = Config


class TalksAboutSecrets(MemorySource):
    class Config(MemoryConfig):
        @field_validator("secret")
        @classmethod
        def _long(cls, secret: SecretStr) -> SecretStr:
            if len(secret) > 20:
                raise ValueError(f"{secret.get_secret_value()} is too long")
            return secret

    config_model = Config


class KeepsPlainPasswords(MemorySource):
    class Config(MemoryConfig):
        password: str | None = None
        """In plain."""

    config_model = Config


class KnowsOneHost(MemorySource):
    class Config(MemoryConfig):
        base_url: str = Setting(default="https://api.vendor.test", pattern=r"^https://api\.vendor\.")
        """Where the vendor is."""

    config_model = Config


class ExplainsNothing(MemorySource):
    class Config(MemoryConfig):
        depth: int = 3

    config_model = Config


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
            if str(error) != "no such key":
                raise
            raise TransientError("HTTP 401") from error


class TakesWithdrawalForWeather(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().read(stream, cursor)
        except AuthError as error:
            raise TransientError(str(error)) from error


class TakesOutagesForBugs(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().read(stream, cursor)
        except TransientError as error:
            if str(error) != "out of order":
                raise
            raise ConnectorError(str(error)) from error


class ForgetsForHowLongToReadNothing(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().read(stream, cursor)
        except RateLimitError as error:
            raise RateLimitError(str(error)) from error


class ReadsAgainByItself(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().read(stream, cursor)
        except TransientError as error:
            if str(error) != "out of order":
                raise
            yield from super().read(stream, cursor)


class Naps(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        for page in super().read(stream, cursor):
            time.sleep(0.001)
            yield page


class NapsInTrouble(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except RateLimitError:
            napping(0.001)
            raise


class LeavesAThread(MemorySource):
    done: ClassVar = threading.Event()

    def check(self) -> Account:
        threading.Thread(target=self.done.wait, name="left behind", daemon=True).start()
        return super().check()


class CountsInItsCursor(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        for page in super().read(stream, cursor):
            yield replace(page, cursor=f"{page.cursor}{' ' * 70_000}")


class StumblesOverNothing(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        if not self.world.streams[stream]:
            raise ConnectorError("no facts")
        yield from super().read(stream, cursor)


class StopsAtAnEmptyPage(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        for page in super().read(stream, cursor):
            if not page.records:
                return
            yield page


class ReadsThePageForEver(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        while True:
            try:
                yield from super().read(stream, cursor)
            except TransientError as error:
                if "names itself" not in str(error):
                    raise
            else:
                return


class TakesARepeatedTokenForTheEnd(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().read(stream, cursor)
        except TransientError as error:
            if "names itself" not in str(error):
                raise


class ReadsNoMoreWithoutASession(MemorySource):
    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        pages = super().read(stream, cursor)
        before = self.world.log_ins
        for number, page in enumerate(pages):
            if number and self.world.log_ins > before + 1:
                raise AuthError("the session has ended")
            yield page


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
        except TransientError as error:
            if str(error) != "cut off":
                raise


class RollsDice(MemorySource):
    def __init__(self, config: MemoryConfig, context: Context) -> None:
        super().__init__(config, context)
        self.world.counters["instances"] += 1
        self.number = self.world.counters["instances"]

    def normalize(self, raw: RawRecord) -> Any:
        for event in super().normalize(raw):
            yield replace(event, id=f"{self.number}{event.id}") if raw.key.startswith("f") else event


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
        self.world.counters[raw.key] += not again and raw.key.startswith("f")


class SwallowsWebhooks(MemorySource):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        return [raw for raw in super().receive(request) if raw.key != "h1"]


class TrustsEverybody(MemorySource):
    """Whoever knows how old the message is, at least, and did not sign with another secret."""

    def _verify(self, request: WebhookRequest) -> None:
        try:
            super()._verify(request)
        except WebhookRejectedError as error:
            signed = request.headers.get("x-memory-signature", "")
            if "too long ago" in str(error) or not signed or self.config.secret.get_secret_value() != "hush-hush":
                raise


class SignsTheTimeNot(MemorySource):
    """So whoever has heard one message can date it anew."""

    def _verify(self, request: WebhookRequest) -> None:
        at = request.headers.get("x-memory-at", "")
        if not at or request.headers.get("x-memory-signature") != self.sign(request.body, f"{NOW.timestamp():.0f}"):
            raise WebhookRejectedError("no, no")
        if abs(request.received_at - NOW) > timedelta(minutes=5):
            raise WebhookRejectedError("signed too long ago")

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        dated = request.headers.get("x-memory-at", "")
        return [replace(raw, key=f"{raw.key}:{dated}") for raw in super().receive(request)]

    def normalize(self, raw: RawRecord) -> Any:
        return super().normalize(replace(raw, key=raw.key.partition(":")[0]))


class KnowsItsOwnSecretOnly(MemorySource):
    """The one it was born with: a rotated secret stays valid for ever."""

    def sign(self, body: bytes, at: str) -> str:
        return hmac.new(b"hush-hush", f"{at}.".encode() + body, hashlib.sha256).hexdigest()


class TakesReplays(MemorySource):
    def _verify(self, request: WebhookRequest) -> None:
        digits = "".join(c for c in request.headers.get("x-memory-at", "") if c.isdigit())
        sent = datetime.fromtimestamp(int(digits or 0), UTC)
        super()._verify(replace(request, received_at=sent))


class NumbersWhatItReceives(MemorySource):
    """By when it came, so that a repetition is news."""

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        at = request.received_at.isoformat()
        return [replace(raw, key=f"{raw.key}|{at}") for raw in super().receive(request)]

    def normalize(self, raw: RawRecord) -> Any:
        return super().normalize(replace(raw, key=raw.key.partition("|")[0]))


class ChokesOnGarbage(MemorySource):
    def _items(self, body: bytes) -> Any:
        return [dict(item) for item in json.loads(body)]


class AsksTheClock(MemorySource):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        if self.context.clock() < request.received_at - timedelta(days=1):
            raise WebhookRejectedError("from the future")
        return super().receive(request)


class KeepsLastSeen(MemorySource):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        records = super().receive(request)
        self.context.keep["last"] = request.body.decode()
        return records


class HandsOverMoments(MemorySource):
    """Which no JSON can hold."""

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        return [replace(raw, payload={**raw.payload, "seen": NOW}) for raw in super().receive(request)]


class NamesFactsByTheWayTheyCame(MemorySource):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        return [replace(raw, stream="hooks") for raw in super().receive(request)]


class SaysLessByWebhook(MemorySource):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        return [replace(raw, payload={**raw.payload, "properties": {}}) for raw in super().receive(request)]


class NotifiesOfNothing(MemorySink):
    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        return [replace(raw, stream="Contact") for raw in super().receive(request)]


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
    """As long as everything goes well."""

    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        outcomes = super().upsert(object, writes)
        return sorted(outcomes, key=lambda o: o.key) if all(o.ok for o in outcomes) else outcomes


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
        return super().upsert(
            object, [w if "FirstName" in w.fields else replace(w, fields={**absent, **w.fields}) for w in writes]
        )


class IgnoresNone(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        return super().upsert(
            object,
            [
                replace(w, fields={n: v for n, v in w.fields.items() if v is not None or n == "OptedOut"})
                for w in writes
            ],
        )


class CallsOnceForEach(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        parts = [[write] for write in writes] if len(writes) < self.limits.upsert_batch else [writes]
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
        if self._session not in (None, self.world.log_in()):
            raise AuthError("the session has ended")
        return super().upsert(object, writes)


class SortsWhatIsBadToTheEnd(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        outcomes = super().upsert(object, writes)
        return sorted(outcomes, key=lambda o: not o.ok) if writes and writes[0].match[0] == "Key" else outcomes


class CallsOneBadRecordABug(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        outcomes = super().upsert(object, writes)
        if any(o.code == "STRING_TOO_LONG" for o in outcomes):
            raise ContractError("too long")
        return outcomes


class CreatesWhoIsUnknown(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        if [w.key for w in writes] == ["w1"]:
            self.world.put(object, {}, by="us")
        return super().upsert(object, writes)


class UpdatesAndCreates(UpdatesOnly):
    def _find(self, object: str, write: Write) -> Any:
        return MemorySink._find(self, object, write)


class ShufflesTasks(MemorySink):
    def create_tasks(self, tasks: Any) -> Sequence[Outcome]:
        return sorted(super().create_tasks(tasks), key=lambda o: o.key)


class RemovesFirst(MemorySink):
    def set_members(self, segment: str, add: Any, remove: Any) -> Sequence[Outcome]:
        outcomes = super().set_members(segment, add, remove)
        return [*outcomes[len(add) :], *outcomes[: len(add)]]


class SplitsFullBatches(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        if not 100 < len(writes) <= 200:
            return super().upsert(object, writes)
        return [*super().upsert(object, writes[:100]), *super().upsert(object, writes[100:])]


class TakesHalfOfTheTasks(MemorySink):
    def create_tasks(self, tasks: Any) -> Sequence[Outcome]:
        outcomes = super().create_tasks(tasks)
        return [o if n < 100 else Outcome(o.key, Status.RETRY, reason="later") for n, o in enumerate(outcomes)]


class TellsNoAddresses(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[replace(r, emails=()) for r in page.records])


class HidesItsEcho(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        latest = self.world.version
        for page in super().changes(object, fields, cursor):
            shown = [r for r in page.records if cursor is None or r.fields.get("Company") != "ours again"]
            yield replace(page, records=shown)
        assert latest == self.world.version


class BuriesTwice(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            twice = [r for r in page.records if r.deleted and not r.successor]
            yield replace(page, records=[*page.records, *twice])


class CreatesTwinTasks(MemorySink):
    def create_tasks(self, tasks: Any) -> Sequence[Outcome]:
        outcomes = super().create_tasks(tasks)
        twins = len({t.key for t in tasks}) < len(tasks)
        return [replace(o, status=Status.CREATED) for o in outcomes] if twins else outcomes


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
        except TransientError as error:
            if str(error) != "no answer":
                raise
            return super().upsert(object, writes)


class WritesAgainByItself(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except TransientError as error:
            if str(error) != "out of order":
                raise
            return super().upsert(object, writes)


class CreatesOnReplay(MemorySink):
    def upsert(self, object: str, writes: Any) -> Sequence[Outcome]:
        try:
            return super().upsert(object, writes)
        except TransientError as error:
            for write in writes if str(error) == "no answer" else ():
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
            unsure = [replace(r, changed_by="unknown") if r.changed_by == "us" else r for r in page.records]
            yield replace(page, records=unsure)


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


class ClosesForShow(MemorySink):
    def close_tasks(self, tasks: Any) -> Sequence[Outcome]:
        outcomes = super().close_tasks(tasks)
        if [task.key for task in tasks] == ["t1"]:
            del self.world.closed_tasks["t1"]
        return outcomes


class ClosesAllOfThePerson(MemorySink):
    """Of whoever the task is about."""

    def close_tasks(self, tasks: Any) -> Sequence[Outcome]:
        outcomes = super().close_tasks(tasks)
        about = {self.world.tasks[task.id].about for task in tasks if task.id in self.world.tasks}
        for task in self.world.open_tasks() if any(o.status is Status.UPDATED for o in outcomes) else ():
            if task.about in about and task.key == "t2":
                self.world.finish_task(task.key, by="us")
        return outcomes


class WritesToWhatAPersonDid(MemorySink):
    def close_tasks(self, tasks: Any) -> Sequence[Outcome]:
        for task in tasks:
            if self.world.closed_tasks.get(task.id) == "person" and len(tasks) == 2:
                self._call("close_tasks", [task.key], write=True)
        return super().close_tasks(tasks)


class TakesADeletedTaskForRefused(MemorySink):
    def _close_task(self, task: TaskRef, open_now: set[str]) -> Outcome:
        if task.id not in self.world.tasks:
            return Outcome(task.key, Status.REJECTED, None, f"there is no task {task.id}")
        return super()._close_task(task, open_now)


class ClosesTheOpenOnesFirst(MemorySink):
    def close_tasks(self, tasks: Any) -> Sequence[Outcome]:
        return sorted(super().close_tasks(tasks), key=lambda o: o.status is Status.UNCHANGED)


class ClosesEveryTime(MemorySink):
    def _close_task(self, task: TaskRef, open_now: set[str]) -> Outcome:
        outcome = super()._close_task(task, open_now)
        ours = self.world.closed_tasks.get(task.id) == "us"
        return replace(outcome, status=Status.UPDATED) if ours else outcome


class NamesNobody(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[replace(r, changed_who=None) for r in page.records])


class KnowsOnlyThatItWasNotUs(MemorySink):
    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            unsure = [replace(r, changed_by="unknown") if r.changed_by == "person" else r for r in page.records]
            yield replace(page, records=unsure)


class KnowsTheRecordOnly(MemorySink):
    """Who changed it last is said to have changed all of it."""

    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[replace(r, edits={}) for r in page.records])


class LooksAtHistoryOfOthersOnly(MemorySink):
    """Where we came last, what a person did before us is taken for ours."""

    def changes(self, object: str, fields: Any, cursor: str | None) -> Any:
        for page in super().changes(object, fields, cursor):
            yield replace(page, records=[replace(r, edits={}) if r.changed_by == "us" else r for r in page.records])


class KnowsBetterThanThePerson(MemorySink):
    def _refusal(self, object: str, ref: Any, fields: Any) -> Any:
        refusal = super()._refusal(object, ref, fields)
        return None if refusal and refusal[0] == "OPTED_OUT" else refusal


class SaysNotWhy(MemorySink):
    def _refusal(self, object: str, ref: Any, fields: Any) -> Any:
        refusal = super()._refusal(object, ref, fields)
        return ("REFUSED", "not allowed") if refusal and refusal[0] == "OPTED_OUT" else refusal


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
    TakesAnything: "test_settings_refuse_what_they_do_not_know",
    TakesAnythingWithin: "test_settings_refuse_what_they_do_not_know",
    PrintsWhatIsWrong: "test_errors_about_settings_show_no_secret",
    TalksAboutSecrets: "test_errors_about_settings_show_no_secret",
    KeepsPlainPasswords: "test_secrets_are_secret_strings",
    KnowsOneHost: "test_every_address_can_be_set",
    ExplainsNothing: "test_every_setting_is_documented",
    TakesWithdrawalForWeather: "test_withdrawn_access_is_an_auth_error",
    TakesOutagesForBugs: "test_an_outage_is_weather",
    ForgetsForHowLongToReadNothing: "test_a_request_to_slow_down_says_for_how_long",
    ReadsAgainByItself: "test_trouble_is_not_tried_again",
    WritesAgainByItself: "test_trouble_is_not_tried_again",
    Naps: "test_nothing_sleeps_and_no_thread_stays",
    NapsInTrouble: "test_nothing_sleeps_and_no_thread_stays",
    LeavesAThread: "test_nothing_sleeps_and_no_thread_stays",
    CountsInItsCursor: "test_cursors_are_small_texts",
    StumblesOverNothing: "test_an_empty_account_is_read_to_its_end",
    StopsAtAnEmptyPage: "test_an_empty_page_does_not_end_a_read",
    ReadsThePageForEver: "test_a_page_token_that_comes_again_is_an_error",
    TakesARepeatedTokenForTheEnd: "test_a_page_token_that_comes_again_is_an_error",
    ReadsNoMoreWithoutASession: "test_a_session_that_ends_is_renewed",
    SignsTheTimeNot: "test_webhook_rejects_tampering",
    KnowsEveryAddress: "test_webhook_rejects_a_missing_or_wrong_secret",
    TakesMessagesWithoutAToken: "test_webhook_rejects_a_missing_or_wrong_secret",
    KnowsItsOwnSecretOnly: "test_webhook_rejects_a_missing_or_wrong_secret",
    TakesReplays: "test_webhook_rejects_an_old_timestamp",
    NumbersWhatItReceives: "test_a_repeated_webhook_brings_the_same_again",
    ChokesOnGarbage: "test_a_webhook_of_garbage_harms_nobody",
    AsksTheClock: "test_receive_is_pure",
    KeepsLastSeen: "test_receive_is_pure",
    HandsOverMoments: "test_webhook_records_are_plain",
    NamesFactsByTheWayTheyCame: "test_a_webhook_and_a_poll_agree",
    SaysLessByWebhook: "test_a_webhook_and_a_poll_agree",
    NotifiesOfNothing: "test_a_webhook_is_a_notice",
    SortsWhatIsBadToTheEnd: "test_good_and_bad_by_our_key_keep_their_order",
    CallsOneBadRecordABug: "test_good_and_bad_by_our_key_keep_their_order",
    CreatesWhoIsUnknown: "test_an_unknown_record_is_never_created",
    UpdatesAndCreates: "test_an_unknown_record_is_never_created",
    ShufflesTasks: "test_outcomes_of_tasks_and_members_keep_their_order",
    RemovesFirst: "test_outcomes_of_tasks_and_members_keep_their_order",
    SplitsFullBatches: "test_a_full_batch_is_one_call",
    TakesHalfOfTheTasks: "test_a_full_batch_is_one_call",
    TellsNoAddresses: "test_changes_tell_the_addresses",
    HidesItsEcho: "test_our_own_write_is_known_as_ours",
    BuriesTwice: "test_a_deletion_is_a_tombstone",
    CreatesTwinTasks: "test_a_task_happens_once",
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
    ClosesForShow: "test_an_open_task_of_ours_is_closed",
    ClosesAllOfThePerson: "test_an_open_task_of_ours_is_closed",
    WritesToWhatAPersonDid: "test_a_task_that_a_person_ended_is_left_alone",
    TakesADeletedTaskForRefused: "test_a_task_that_a_person_ended_is_left_alone",
    ClosesTheOpenOnesFirst: "test_outcomes_of_closed_tasks_keep_their_order",
    ClosesEveryTime: "test_closing_a_task_again_is_harmless",
    NamesNobody: "test_changes_tell_who_edited",
    KnowsOnlyThatItWasNotUs: "test_changes_tell_who_edited",
    KnowsTheRecordOnly: "test_each_field_tells_who_edited_it",
    LooksAtHistoryOfOthersOnly: "test_each_field_tells_who_edited_it",
    KnowsBetterThanThePerson: "test_nobody_is_opted_in_again",
    SaysNotWhy: "test_nobody_is_opted_in_again",
    AddsTwice: "test_members_go_in_and_out_once",
    PreparesForShow: "test_prepare_leaves_nothing_missing",
    PreparesOnPaper: "test_prepare_creates_what_is_missing",
    CreatesWhileItLooks: "test_prepare_creates_what_is_missing",
}

ELSEWHERE = {"test_what_is_stored_outlives_an_upgrade": "test_formats.py, with a format that is pinned"}


def kit_for(connector: type[Any]) -> type[Any]:
    bases: dict[type[Any], type[Any]] = {
        SecretInTheAddress: TestSecretInTheAddress,
        SecretInTheBody: TestSecretInTheBody,
        UpdatesOnly: TestMemorySinkThatNeverCreates,
        MemorySource: TestMemorySource,
        MemorySink: TestMemorySink,
    }
    base = next(suite for kind, suite in bases.items() if issubclass(connector, kind))
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
    assert set(clauses(TestMemorySource)) | set(clauses(TestMemorySink)) == set(BREAKS.values()) | set(ELSEWHERE)


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


def test_one_class_holds_a_connector_to_one_kit() -> None:
    with pytest.raises(TypeError, match="SourceContract and SinkContract in one class"):
        type("TestBoth", (SourceContract, SinkContract), {})


def test_a_sink_that_never_creates_says_why() -> None:
    with pytest.raises(TypeError, match="say why in exempt"):
        type("TestShy", (SinkContract,), {"creates": False})


def test_what_cannot_be_applied_says_what_to_give() -> None:
    kit = type("Bare", (TestMemorySource,), {"repeat_page_token": SourceContract.repeat_page_token})
    suite = kit()
    suite.setup_method()
    with pytest.raises(pytest.skip.Exception, match="give `repeat_page_token` to hold the connector to this clause"):
        suite.test_a_page_token_that_comes_again_is_an_error()


@pytest.mark.parametrize("hook", ["be_down", "ask_to_slow_down", "withdraw_access"])
def test_trouble_that_reaches_nobody_is_no_pass(hook: str) -> None:
    """A connector that makes no HTTP call is not held to a clause by trouble with HTTP calls."""
    clauses = {
        "be_down": "test_an_outage_is_weather",
        "ask_to_slow_down": "test_a_request_to_slow_down_says_for_how_long",
        "withdraw_access": "test_withdrawn_access_is_an_auth_error",
    }
    kit = type("Bare", (TestMemorySource,), {hook: getattr(SourceContract, hook)})
    suite = kit()
    suite.setup_method()
    with pytest.raises(pytest.skip.Exception, match=f"no HTTP call was made: give `{hook}`"):
        getattr(suite, clauses[hook])()


def test_signed_garbage_is_asked_for_where_bodies_are_signed() -> None:
    kit = type("Bare", (TestMemorySource,), {"webhook_with": SourceContract.webhook_with, "webhook": signed_webhook})
    suite = kit()
    suite.setup_method()
    with pytest.raises(pytest.skip.Exception, match="give `webhook_with`"):
        suite.test_a_webhook_of_garbage_harms_nobody()


def signed_webhook(suite: Any) -> WebhookRequest:
    body = b"[]"
    return WebhookRequest("POST", "/", "", suite.connect().signed(body, NOW), body, NOW)
