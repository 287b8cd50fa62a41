"""The sink in memory: every method that a sink can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from syncline.errors import ConfigError, ContractError, SchemaDriftError, did_you_mean
from syncline.model import (
    Account,
    ChangePage,
    Field,
    FieldSpec,
    Limits,
    Member,
    Outcome,
    RemoteRef,
    Status,
    TaskRef,
    TaskWrite,
    Value,
    Write,
)
from syncline.sdk import Sink
from syncline.testing.memory_connectors import MemoryConfig, MemoryConnector
from syncline.testing.memory_values import TASK_FIELDS, as_kept, unfit

__all__ = ["MemorySink"]


class MemorySink(MemoryConnector, Sink[MemoryConfig]):
    """The CRM in `world`. `upsert`, and each direction of `set_members`, is one call; so is `create_tasks`."""

    kind = "memory-sink"
    limits = Limits(upsert_batch=200, task_batch=200, member_batch=200)
    task_fields = TASK_FIELDS

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

    def close_tasks(self, tasks: Sequence[TaskRef]) -> Sequence[Outcome]:
        if not tasks:
            return []
        _refuse_too_many("close_tasks", len(tasks), self.limits.task_batch)
        with self.world.lock:
            self._call("task_states")
            open_now = {task.key for task in self.world.open_tasks()} & {task.id for task in tasks}
            ours = [task for task in tasks if task.id in open_now]
            after = self._call("close_tasks", [task.key for task in ours], write=True) if ours else None
            outcomes = [self._close_task(task, open_now) for task in tasks]
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
        kept = {name: as_kept(self.world.objects[object][name], value) for name, value in fields.items()}
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
        held = self.world.get(ref) if ref else {}
        for name, value in fields.items():
            if name in self.world.opt_out_fields and held.get(name) is True and value is not True:
                return "OPTED_OUT", f"{name}: this person has opted out, and only they can opt in again"
            if reason := unfit(known[name], value):
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
        self.world.closed_tasks.pop(task.key, None)
        return Outcome(task.key, Status.CREATED, ref)

    def _close_task(self, task: TaskRef, open_now: set[str]) -> Outcome:
        ref = RemoteRef("Task", task.id)
        if task.id not in open_now:
            return Outcome(task.key, Status.UNCHANGED, ref)
        if trouble := self.world.trouble_with(task.key):
            return trouble
        self.world.finish_task(task.id, by="us")
        return Outcome(task.key, Status.UPDATED, ref)

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
