"""A source and a sink in memory: the whole connector contract without a vendor, for tests of what stands on it.

All instances share one `MemoryWorld`, so several connections see the same CRM. Nothing registers them by itself:

    world = MemoryWorld()
    plugins.register(memory_plugin(world), name="memory")

The CRM here has the habits that bite in real ones: it rounds numbers to a field's scale, keeps an empty text as
nothing, refuses single records for reasons of its own, and lets people edit, convert, merge and delete behind our back.
Whoever calls it logs in first; sessions end when a test says so. Webhooks are signed together with their time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final

from pydantic import SecretStr

from syncline.errors import (
    AuthError,
    ConfigError,
    ContractError,
    CursorExpiredError,
    RecordError,
    SchemaDriftError,
    TransientError,
    WebhookRejectedError,
    did_you_mean,
)
from syncline.model import (
    Account,
    ChangePage,
    Event,
    Field,
    FieldSpec,
    Identifier,
    Limits,
    Member,
    Outcome,
    Page,
    RawRecord,
    RemoteRecord,
    RemoteRef,
    Status,
    TaskWrite,
    Value,
    Write,
    Writer,
    event_id,
)
from syncline.sdk import ConnectorConfig, Context, Sink, Source, WebhookRequest, hookimpl
from syncline.sdk.connector import Connector
from syncline.testing.population import simulated_now

__all__ = [
    "MemoryConfig",
    "MemorySink",
    "MemorySource",
    "MemoryWorld",
    "SessionEndedError",
    "memory_plugin",
    "person_fields",
]


def person_fields() -> tuple[Field, ...]:
    """The fields of Lead and Contact in a world that says nothing else."""
    return (
        Field("Id", "text", writable=False, unique=True),
        Field("Key", "text", max_length=64, unique=True),
        Field("Email", "text", max_length=80),
        Field("FirstName", "text", max_length=40),
        Field("LastName", "text", max_length=80),
        Field("Company", "text", max_length=255),
        Field("Phone", "text", max_length=40),
        Field("Status", "option", options=("Open", "Working", "Closed")),
        Field("Score", "number", scale=1),
        Field("Band", "text", max_length=40),
        Field("Hot", "boolean"),
        Field("LastSeen", "datetime"),
    )


@dataclass(slots=True)
class _Row:
    fields: dict[str, Value]
    version: int
    changed_at: datetime
    changed_by: Writer
    deleted: bool = False
    successor: RemoteRef | None = None


@dataclass(slots=True)
class _CallFailure:
    """`after` calls of `method` are let through, then `times` fail; those `applied` were carried out all the same."""

    method: str
    error: Exception
    after: int
    times: int | None
    applied: bool


@dataclass(slots=True)
class _RecordFailure:
    key: str
    status: Status
    reason: str
    code: str
    times: int | None


class MemoryWorld:
    """One CRM and one stream of events, with everything a test wants to do to them.

    `counters` counts the calls that a vendor would have counted: `calls`, `write_calls`, `failed`, and each by method;
    `log_ins` counts the sessions.
    `clock` dates what people do; what connectors write is dated by their own context.
    """

    def __init__(
        self,
        *,
        objects: Mapping[str, Sequence[Field]] | None = None,
        segments: Iterable[str] = (),
        prepared: bool = True,
        clock: Callable[[], datetime] = simulated_now,
        page_size: int = 100,
    ) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.page_size = page_size
        self.email_fields: tuple[str, ...] = ("Email",)
        self.users: set[str] = set()
        self.counters: Counter[str] = Counter()
        self.log_ins = 0
        self.tasks: dict[str, TaskWrite] = {}
        self.segments: dict[str, set[RemoteRef]] = {name: set() for name in segments}
        self.streams: dict[str, list[RawRecord]] = {"events": []}
        standard = {"Lead": person_fields(), "Contact": person_fields()}
        self.objects = {name: {f.name: f for f in fields} for name, fields in (objects or standard).items()}
        if prepared:
            for spec in MemorySink.task_fields:
                self.create_field(spec)
        self._rows: dict[RemoteRef, _Row] = {}
        self._version = 0
        self._session = 0
        self._empty_page = False
        self._same_token = False
        self._oldest_cursor = 0
        self._call_failures: list[_CallFailure] = []
        self._record_failures: list[_RecordFailure] = []
        self._poison: dict[str, Exception] = {}

    # What people and other systems do there

    def put(
        self, object: str, fields: Mapping[str, Value], *, by: Writer = "person", at: datetime | None = None
    ) -> RemoteRef:
        """Create a record. Nothing is checked: people get in what an interface would refuse."""
        with self.lock:
            ref = RemoteRef(object, f"{object[:2].upper()}{self._version + 1:06d}")
            empty: dict[str, Value] = dict.fromkeys(self.objects[object])
            self._store(ref, {**empty, **fields, "Id": ref.id}, by, at or self.clock())
            return ref

    def edit(
        self, ref: RemoteRef, fields: Mapping[str, Value], *, by: Writer = "person", at: datetime | None = None
    ) -> None:
        """Change fields of a record."""
        with self.lock:
            self._store(ref, {**self._rows[ref].fields, **fields}, by, at or self.clock())

    def delete(self, ref: RemoteRef, *, by: Writer = "person", at: datetime | None = None) -> None:
        """Leave a tombstone."""
        self._end(ref, None, by, at)

    def merge(self, loser: RemoteRef, winner: RemoteRef, *, by: Writer = "person", at: datetime | None = None) -> None:
        """`loser` is gone and lives on as `winner`."""
        self._end(loser, winner, by, at)

    def convert(self, lead: RemoteRef, to: str = "Contact", *, by: Writer = "person") -> RemoteRef:
        """A lead becomes a record of another object, which takes the fields it knows along."""
        with self.lock:
            known = {n: v for n, v in self._rows[lead].fields.items() if n in self.objects[to] and n != "Id"}
            contact = self.put(to, known, by=by)
            self._end(lead, contact, by, None)
            return contact

    def get(self, ref: RemoteRef) -> Mapping[str, Value]:
        """The fields of a record as they stand; empty when it is deleted."""
        with self.lock:
            return dict(self._rows[ref].fields)

    def find(self, object: str, field: str, value: Value) -> list[RemoteRef]:
        """Living records that hold this value."""
        with self.lock:
            return [r for r, row in self._living(object) if row.fields.get(field) == value]

    def refs(self, object: str) -> list[RemoteRef]:
        """Living records, oldest first."""
        with self.lock:
            return [ref for ref, _ in self._living(object)]

    def create_field(self, spec: FieldSpec | Field, object: str | None = None) -> None:
        """Add a field, as an administrator would; existing records hold None."""
        if isinstance(spec, FieldSpec):
            object = spec.object
            spec = Field(
                spec.name, spec.kind, spec.label, unique=spec.unique, max_length=spec.max_length, scale=spec.scale
            )
        if object is None:
            raise ValueError(f"say on which object {spec.name} is to be created")
        self.objects.setdefault(object, {})[spec.name] = spec

    def drop_field(self, object: str, name: str) -> None:
        """Take a field and its values away. Create it anew with another kind to retype it."""
        with self.lock:
            del self.objects[object][name]
            for _, row in self._living(object):
                row.fields.pop(name, None)

    def happened(
        self,
        key: str,
        type: str,
        at: datetime,
        *,
        email: str,
        profile: Mapping[str, str] | None = None,
        **properties: Any,
    ) -> RawRecord:
        """Add a fact to the stream `events`; `key` is the vendor's own id."""
        payload = {
            "type": type,
            "at": at.isoformat(),
            "email": email,
            "profile": dict(profile or {}),
            "properties": properties,
        }
        raw = RawRecord("events", key, payload)
        with self.lock:
            self.streams["events"].append(raw)
        return raw

    # Trouble on purpose

    def fail_call(
        self, method: str, error: Exception, *, after: int = 0, times: int | None = 1, applied: bool = False
    ) -> None:
        """Calls of `method` (a pattern, such as `upsert` or `*`) raise `error`; `times` None: for ever.

        `applied`: the call is carried out and its answer lost. A page that is read counts as one call.
        """
        self._call_failures.append(_CallFailure(method, error, after, times, applied))

    def fail_record(
        self,
        key: str,
        *,
        status: Status = Status.REJECTED,
        reason: str = "refused on purpose",
        code: str = "ON_PURPOSE",
        times: int | None = None,
    ) -> None:
        """Writes, tasks and members whose key matches this pattern get that outcome; `times` None: for ever."""
        self._record_failures.append(_RecordFailure(key, status, reason, code, times))

    def refuse_batches_with(self, key: str, error: Exception) -> None:
        """Any call that carries this key raises `error`, and nothing of it is carried out."""
        self._poison[key] = error

    def end_sessions(self) -> None:
        """Whatever a log-in gave is no longer valid; the credentials are."""
        self._session += 1

    def empty_page(self) -> None:
        """From now on every listing has a page without records before its second one."""
        self._empty_page = True

    def repeat_page_token(self) -> None:
        """From now on every page of a listing says that the next page is itself."""
        self._same_token = True

    def heal(self) -> None:
        """No more trouble."""
        self._empty_page = self._same_token = False
        self._call_failures.clear()
        self._record_failures.clear()
        self._poison.clear()

    def expire_cursors(self) -> None:
        """Cursors given out so far are too old: CursorExpiredError."""
        self._oldest_cursor = self._version + 1

    # What the connectors use

    @property
    def version(self) -> int:
        return self._version

    def log_in(self) -> int:
        """A session, good for calls until `end_sessions`."""
        self.log_ins += 1
        return self._session

    def page_of(self, stream: str, token: str) -> tuple[list[RawRecord], str | None, int]:
        """A page of a listing, the token of the next one (None: there is none), and how many there are in all.

        A token is the number of the first record; `+` behind it stands for the page after an empty one.
        """
        everything, start = self.streams[stream], int(token.rstrip("+"))
        if self._empty_page and start == self.page_size and not token.endswith("+"):
            return [], f"{token}+", len(everything)
        records = everything[start : start + self.page_size]
        end = start + len(records)
        following = None if end >= len(everything) else token if self._same_token else str(end)
        return records, following, len(everything)

    def call(
        self, method: str, keys: Iterable[str] = (), *, write: bool = False, session: int | None = None
    ) -> Exception | None:
        """Count a call; raise the trouble meant for it, or return that which comes after it was carried out.

        SessionEndedError when the session is given and has ended.
        """
        if session is not None and session != self._session:
            raise SessionEndedError("the session has ended")
        try:
            return self._call(method, keys, write=write)
        except Exception:
            self.counters["failed"] += 1
            raise

    def _call(self, method: str, keys: Iterable[str], *, write: bool) -> Exception | None:
        self.counters["calls"] += 1
        self.counters[method] += 1
        self.counters["write_calls"] += write
        for key in keys:
            if key in self._poison:
                raise self._poison[key]
        for failure in self._call_failures:
            if _strikes(failure, method):
                if failure.applied:
                    return failure.error
                raise failure.error
        return None

    def trouble_with(self, key: str) -> Outcome | None:
        """The outcome a test wants for this key."""
        for failure in self._record_failures:
            if fnmatchcase(key, failure.key) and failure.times != 0:
                failure.times = None if failure.times is None else failure.times - 1
                return Outcome(key, failure.status, None, failure.reason, failure.code)
        return None

    def fields_of(self, object: str) -> dict[str, Field]:
        """The fields of an object; ConfigError when there is none of this name."""
        if object not in self.objects:
            raise ConfigError(f"there is no object {object!r}; {did_you_mean(object, self.objects)}")
        return self.objects[object]

    def field_of(self, object: str, name: str) -> Field:
        """A field; SchemaDriftError when it is not there."""
        fields = self.fields_of(object)
        if name not in fields:
            raise SchemaDriftError(
                f"there is no field {name!r}; {did_you_mean(name, fields)}", field=name, where=object
            )
        return fields[name]

    def is_alive(self, ref: RemoteRef) -> bool:
        return ref in self._rows and not self._rows[ref].deleted

    def changed_since(self, object: str, names: Sequence[str], version: int | None) -> list[tuple[int, RemoteRecord]]:
        """What changed after `version`, in that order; everything alive when it is None."""
        if version is not None and version < self._oldest_cursor:
            raise CursorExpiredError(f"changes before {self._oldest_cursor} are no longer known", where=object)
        rows = ((r, row) for r, row in self._rows.items() if r.object == object)
        wanted = [(r, row) for r, row in rows if (row.version > version if version is not None else not row.deleted)]
        return [(row.version, self._record(ref, row, names)) for ref, row in sorted(wanted, key=lambda p: p[1].version)]

    def write(self, ref: RemoteRef, fields: Mapping[str, Value], at: datetime) -> None:
        """Our own write to an existing record."""
        self._store(ref, {**self._rows[ref].fields, **fields}, "us", at)

    # Private

    def _store(self, ref: RemoteRef, fields: dict[str, Value], by: Writer, at: datetime) -> None:
        self._version += 1
        self._rows[ref] = _Row(fields, self._version, at, by)

    def _end(self, ref: RemoteRef, successor: RemoteRef | None, by: Writer, at: datetime | None) -> None:
        with self.lock:
            self._version += 1
            self._rows[ref] = _Row({}, self._version, at or self.clock(), by, deleted=True, successor=successor)
            for members in self.segments.values():
                members.discard(ref)

    def _living(self, object: str) -> list[tuple[RemoteRef, _Row]]:
        return [(r, row) for r, row in self._rows.items() if r.object == object and not row.deleted]

    def _record(self, ref: RemoteRef, row: _Row, names: Sequence[str]) -> RemoteRecord:
        fields = {} if row.deleted else {name: row.fields.get(name) for name in names}
        emails = tuple(str(row.fields[name]) for name in self.email_fields if row.fields.get(name))
        return RemoteRecord(ref, fields, emails, row.changed_at, row.changed_by, row.deleted, row.successor)


def _strikes(failure: _CallFailure, method: str) -> bool:
    if not fnmatchcase(method, failure.method):
        return False
    if failure.after > 0:
        failure.after -= 1
        return False
    if failure.times is None:
        return True
    failure.times -= 1
    return failure.times >= 0


class MemoryConfig(ConnectorConfig):
    """The settings of both connectors."""

    secret: SecretStr = SecretStr("memory")
    """Signs webhooks (`signed`)."""


class SessionEndedError(AuthError):
    """A session that is no longer valid: the connectors log in again, once, and call again."""


_REPLAY_WINDOW: Final = timedelta(minutes=5)


class _MemoryConnector(Connector[MemoryConfig]):
    """Sessions and webhooks, which both connectors have."""

    config_model = MemoryConfig
    world: ClassVar[MemoryWorld]

    def __init__(self, config: MemoryConfig, context: Context) -> None:
        super().__init__(config, context)
        self._session: int | None = None

    def _call(self, method: str, keys: Iterable[str] = (), *, write: bool = False) -> Exception | None:
        """A call with a session: `MemoryWorld.call`, once more with a new session if the old one has ended."""
        if self._session is None:
            self._session = self.world.log_in()
        try:
            return self.world.call(method, keys, write=write, session=self._session)
        except SessionEndedError:
            self._session = self.world.log_in()
        return self.world.call(method, keys, write=write, session=self._session)

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        """A signed JSON list: facts as {"key", ...payload}, notices as {"key", "object", "id"}."""
        self._verify(request)
        return [self._received(item) for item in self._items(request.body)]

    def _verify(self, request: WebhookRequest) -> None:
        given, at = (request.headers.get(f"x-memory-{name}", "") for name in ("signature", "at"))
        if not hmac.compare_digest(given.encode(), self.sign(request.body, at).encode()):
            raise WebhookRejectedError("the signature does not fit the body", where=self.context.connection)
        if abs(request.received_at - datetime.fromtimestamp(int(at), UTC)) > _REPLAY_WINDOW:
            raise WebhookRejectedError("signed too long ago, or in the future", where=self.context.connection)

    def _items(self, body: bytes) -> list[Mapping[str, Any]]:
        try:
            items = json.loads(body)
        except (ValueError, RecursionError):
            items = None
        whole = isinstance(items, list) and all(isinstance(i, dict) and isinstance(i.get("key"), str) for i in items)
        if not whole:
            raise WebhookRejectedError("not a JSON list of objects with a key", where=self.context.connection)
        return items  # type: ignore[no-any-return]  # as just seen

    def _received(self, item: Mapping[str, Any]) -> RawRecord:
        return RawRecord(str(item.get("object", "events")), item["key"], item)

    def signed(self, body: bytes, at: datetime) -> dict[str, str]:
        """The headers of a webhook with this body that is sent at that time."""
        sent = f"{at.timestamp():.0f}"
        return {"x-memory-at": sent, "x-memory-signature": self.sign(body, sent)}

    def sign(self, body: bytes, at: str) -> str:
        """The signature of a body and its time (seconds since 1970, as text)."""
        key = self.config.secret.get_secret_value().encode()
        return hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()


class MemorySource(_MemoryConnector, Source[MemoryConfig]):
    """The facts that a test put into `world.streams`. The cursor is how many of them were read."""

    kind = "memory-source"
    streams = ("events",)

    def check(self) -> Account:
        with self.world.lock:
            self._call("check")
        return Account("memory", "events in memory", {}, self.context.clock())

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        if stream not in self.world.streams:
            raise ConfigError(f"there is no stream {stream!r}; {did_you_mean(stream, self.world.streams)}")
        token: str | None = cursor or "0"
        position = int(token or 0)
        while token is not None:
            with self.world.lock:
                self._call("read")
                records, following, total = self.world.page_of(stream, token)
            position += len(records)
            yield Page(records, str(position), total)
            if following == token:
                raise TransientError(f"the page {token} names itself as the next one", where=stream)
            token = following

    def normalize(self, raw: RawRecord) -> Iterable[Event]:
        payload = raw.payload
        try:
            yield Event(
                id=event_id("memory", raw.stream, raw.key),
                type=payload["type"],
                occurred_at=datetime.fromisoformat(payload["at"]),
                identifiers=(Identifier("email", payload["email"]),),
                properties=payload.get("properties", {}),
                profile=payload.get("profile", {}),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{raw.key}: {type(error).__name__}: {error}") from error


class MemorySink(_MemoryConnector, Sink[MemoryConfig]):
    """The CRM in `world`. `upsert`, and each direction of `set_members`, is one call; so is `create_tasks`."""

    kind = "memory-sink"
    limits = Limits(upsert_batch=200, task_batch=200, member_batch=200)
    task_fields = (FieldSpec("Task", "Key", "text", "Key", max_length=64, unique=True),)

    def check(self) -> Account:
        with self.world.lock:
            self._call("check")
        return Account("memory", "CRM in memory", {}, self.context.clock())

    def describe(self, object: str) -> Sequence[Field]:
        with self.world.lock:
            self._call("describe")
            return tuple(self.world.fields_of(object).values())

    def changes(self, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
        with self.world.lock:
            for name in fields:
                self.world.field_of(object, name)
            latest = self.world.version
            found = self.world.changed_since(object, fields, None if cursor is None else int(cursor))
        size = self.world.page_size
        for start in range(0, len(found) or 1, size):
            page = found[start : start + size]
            with self.world.lock:
                self._call("changes")
            # In the order of change a page's last version is a position; a first full read is safe only as a whole.
            position = str(latest) if start + size >= len(found) else None if cursor is None else str(page[-1][0])
            yield ChangePage([record for _, record in page], position)

    def upsert(self, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        if not writes:
            return []
        _refuse_too_many("upsert", len(writes), max(self.limits.upsert_batch, self.limits.bulk_batch))
        if len({write.match[0] for write in writes}) > 1:
            raise ContractError("all writes of a batch match on the same field", where=object)
        with self.world.lock:
            after = self._call("upsert", [write.key for write in writes], write=True)
            self._check_schema(object, writes)
            outcomes = self._write_all(object, writes)
        if after is not None:
            raise after
        return outcomes

    def create_tasks(self, tasks: Sequence[TaskWrite]) -> Sequence[Outcome]:
        if not tasks:
            return []
        _refuse_too_many("create_tasks", len(tasks), self.limits.task_batch)
        with self.world.lock:
            after = self._call("create_tasks", [task.key for task in tasks], write=True)
            for spec in self.task_fields:
                self.world.field_of(spec.object, spec.name)
            outcomes = [self._create_task(task) for task in tasks]
        if after is not None:
            raise after
        return outcomes

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        with self.world.lock:
            if segment not in self.world.segments:
                raise ConfigError(f"there is no segment {segment!r}; {did_you_mean(segment, self.world.segments)}")
            return [*self._members(segment, add, inside=True), *self._members(segment, remove, inside=False)]

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        fields = [f"field {s.object}.{s.name} ({s.kind})" for s in needed if not self._has(s)]
        return [*fields, *(f"segment {name}" for name in segments if name not in self.world.segments)]

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        done = [f"created {what}" for what in self.missing(needed, segments)]
        with self.world.lock:
            for spec in needed:
                if not self._has(spec):
                    self._call("prepare", write=True)
                    self.world.create_field(spec)
            for name in segments:
                self.world.segments.setdefault(name, set())
        return done

    def _has(self, spec: FieldSpec) -> bool:
        return spec.name in self.world.objects.get(spec.object, {})

    def _check_schema(self, object: str, writes: Sequence[Write]) -> None:
        """Fields that are gone or read-only are trouble with the call, as the vendors have it."""
        match = writes[0].match[0]
        if match != "Id" and not self.world.field_of(object, match).unique:
            raise SchemaDriftError(f"{match!r} is not unique, so it finds no record", field=match, where=object)
        for name in {name for write in writes for name in write.fields}:
            if not self.world.field_of(object, name).writable:
                raise SchemaDriftError(f"{name!r} is read-only", field=name, where=object)

    def _write_all(self, object: str, writes: Sequence[Write]) -> list[Outcome]:
        seen: set[str] = set()
        outcomes = []
        for write in writes:
            if write.match[1] in seen:
                outcomes.append(_rejected(write.key, "DUPLICATE_VALUE", f"{write.match[1]!r} is twice in this batch"))
            else:
                outcomes.append(self.world.trouble_with(write.key) or self._write(object, write))
            seen.add(write.match[1])
        return outcomes

    def _write(self, object: str, write: Write) -> Outcome:
        ref, refusal = self._find(object, write)
        fields = {**write.fields} if ref or write.match[0] == "Id" else {**write.fields, write.match[0]: write.match[1]}
        refusal = refusal or self._refusal(object, ref, fields)
        if refusal is not None:
            return _rejected(write.key, *refusal)
        kept = {name: _as_kept(self.world.objects[object][name], value) for name, value in fields.items()}
        if ref is None:
            return Outcome(write.key, Status.CREATED, self.world.put(object, kept, by="us", at=self.context.clock()))
        now = self.world.get(ref)
        if all(now.get(name) == value for name, value in kept.items()):
            return Outcome(write.key, Status.UNCHANGED, ref)
        self.world.write(ref, kept, self.context.clock())
        return Outcome(write.key, Status.UPDATED, ref)

    def _find(self, object: str, write: Write) -> tuple[RemoteRef | None, tuple[str, str] | None]:
        """The record to update (None: create one), or why neither may be done."""
        name, value = write.match
        if not value:
            return None, ("MISSING_ARGUMENT", f"no value to match {name} with")
        if name != "Id":
            return next(iter(self.world.find(object, name, value)), None), None
        ref = RemoteRef(object, value)
        return (ref, None) if self.world.is_alive(ref) else (None, ("ENTITY_IS_DELETED", f"there is no {value}"))

    def _refusal(self, object: str, ref: RemoteRef | None, fields: Mapping[str, Value]) -> tuple[str, str] | None:
        known = self.world.objects[object]
        for name, value in fields.items():
            if reason := _unfit(known[name], value):
                return reason
            if known[name].unique and value is not None and self.world.find(object, name, value) not in ([], [ref]):
                return "DUPLICATE_VALUE", f"{name}: another record holds {value!r}"
        if ref is None:
            empty = [f.name for f in known.values() if f.required and fields.get(f.name) is None]
            if empty:
                return "REQUIRED_FIELD_MISSING", f"required: {', '.join(empty)}"
        return None

    def _create_task(self, task: TaskWrite) -> Outcome:
        ref = RemoteRef("Task", task.key)
        if trouble := self.world.trouble_with(task.key):
            return trouble
        if task.key in self.world.tasks:
            return Outcome(task.key, Status.UNCHANGED, ref)
        if not self.world.is_alive(task.about):
            return _rejected(task.key, "ENTITY_IS_DELETED", f"there is no {task.about.object} {task.about.id}")
        if task.owner is not None and self.world.users and task.owner not in self.world.users:
            return _rejected(task.key, "INVALID_OWNER", f"there is no user {task.owner}")
        self.world.tasks[task.key] = task
        return Outcome(task.key, Status.CREATED, ref)

    def _members(self, segment: str, members: Sequence[Member], *, inside: bool) -> list[Outcome]:
        if not members:
            return []
        _refuse_too_many("set_members", len(members), self.limits.member_batch)
        after = self._call("set_members", [member.key for member in members], write=True)
        outcomes = [self._member(self.world.segments[segment], member, inside=inside) for member in members]
        if after is not None:
            raise after
        return outcomes

    def _member(self, current: set[RemoteRef], member: Member, *, inside: bool) -> Outcome:
        if trouble := self.world.trouble_with(member.key):
            return trouble
        if (member.ref in current) == inside:
            return Outcome(member.key, Status.UNCHANGED, member.ref)
        if inside and not self.world.is_alive(member.ref):
            return _rejected(member.key, "ENTITY_IS_DELETED", f"there is no {member.ref.object} {member.ref.id}")
        (current.add if inside else current.remove)(member.ref)
        return Outcome(member.key, Status.UPDATED, member.ref)


def _refuse_too_many(method: str, count: int, limit: int) -> None:
    if count > limit:
        raise ContractError(f"{method}: {count} in one call; at most {limit} (`limits`)")


def _rejected(key: str, code: str, reason: str) -> Outcome:
    return Outcome(key, Status.REJECTED, None, reason, code)


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,),
    "reference": (str,),
    "option": (str,),
    "options": (str,),
    "number": (int, Decimal),
    "boolean": (bool,),
    "date": (date,),
    "datetime": (datetime,),
}


def _unfit(field: Field, value: Value) -> tuple[str, str] | None:
    """Why a field cannot hold a value, as (code, reason)."""
    if value is None:
        return ("REQUIRED_FIELD_MISSING", f"{field.name} cannot be empty") if field.required else None
    right_type = isinstance(value, _TYPES[field.kind])
    if not right_type or (isinstance(value, bool) and field.kind != "boolean"):
        return "INVALID_TYPE", f"{field.name} is a {field.kind}, not {type(value).__name__}"
    if field.max_length is not None and isinstance(value, str) and len(value) > field.max_length:
        return "STRING_TOO_LONG", f"{field.name}: {len(value)} characters, at most {field.max_length}"
    if field.kind == "option" and field.options and value not in field.options:
        return "INVALID_OPTION", f"{field.name}: {did_you_mean(str(value), field.options)}"
    return None


def _as_kept(field: Field, value: Value) -> Value:
    if value == "":
        return None
    if field.scale is not None and isinstance(value, int | Decimal):
        return Decimal(value).quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)
    return value


class _MemoryPlugin:
    def __init__(self, world: MemoryWorld, limits: Limits) -> None:
        self._source = type("MemorySource", (MemorySource,), {"world": world})
        self._sink = type("MemorySink", (MemorySink,), {"world": world, "limits": limits})

    @hookimpl
    def connectors(self) -> Sequence[type[Source[Any]] | type[Sink[Any]]]:
        return [self._source, self._sink]


def memory_plugin(world: MemoryWorld, *, limits: Limits | None = None) -> object:
    """A plugin with both connectors, bound to this world: for `Plugins.register`."""
    return _MemoryPlugin(world, limits or MemorySink.limits)
