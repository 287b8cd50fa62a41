"""A CRM and a stream of events in memory, with everything a test wants to do to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from syncline.errors import ConfigError, CursorExpiredError, SchemaDriftError, did_you_mean
from syncline.model import Edit, Field, FieldSpec, RawRecord, RemoteRecord, RemoteRef, TaskWrite, Value, Writer
from syncline.testing.memory_trouble import MemoryTrouble
from syncline.testing.memory_values import TASK_FIELDS, person_fields
from syncline.testing.population import simulated_now

__all__ = ["MemoryWorld"]

_NAMES: Final[Mapping[Writer, str]] = {"us": "syncline", "person": "Ada Rossi", "system": "a workflow"}


@dataclass(slots=True)
class _Row:
    fields: dict[str, Value]
    version: int
    changed_at: datetime
    changed_by: Writer
    changed_who: str | None = None
    deleted: bool = False
    successor: RemoteRef | None = None
    edits: dict[str, Edit] = field(default_factory=dict)


class MemoryWorld(MemoryTrouble):
    """One CRM and one stream of events, with everything a test wants to do to them.

    `counters` counts the calls that a vendor would have counted: `calls`, `write_calls`, `failed`, and each by method;
    `log_ins` counts the sessions.
    `clock` dates what people do; what connectors write is dated by their own context. `keeps_history` is whether it
    tells of single fields who changed them last. What `opt_out_fields` hold is opted out of, and never in again.
    `closed_tasks` says who has ended a task (its key); one that was deleted is no longer in `tasks`.
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
        super().__init__()
        self.lock = threading.RLock()
        self.clock = clock
        self.page_size = page_size
        self.email_fields: tuple[str, ...] = ("Email",)
        self.users: set[str] = set()
        self.opt_out_fields: tuple[str, ...] = ("OptedOut",)
        self.keeps_history = True
        self.tasks: dict[str, TaskWrite] = {}
        self.closed_tasks: dict[str, Writer] = {}
        self.segments: dict[str, set[RemoteRef]] = {name: set() for name in segments}
        self.streams: dict[str, list[RawRecord]] = {"events": []}
        standard = {"Lead": person_fields(), "Contact": person_fields()}
        self.objects = {name: {f.name: f for f in fields} for name, fields in (objects or standard).items()}
        if prepared:
            for spec in TASK_FIELDS:
                self.create_field(spec)
        self._rows: dict[RemoteRef, _Row] = {}
        self._seen: dict[tuple[str, str], dict[Value, dict[RemoteRef, None]]] = {}
        """(object, field) → value → the records that hold it, or once did."""
        self._version = 0
        self._oldest_cursor = 0

    # What people and other systems do there

    def put(
        self,
        object: str,
        fields: Mapping[str, Value],
        *,
        by: Writer = "person",
        who: str | None = None,
        at: datetime | None = None,
    ) -> RemoteRef:
        """Create a record. Nothing is checked: people get in what an interface would refuse."""
        with self.lock:
            ref = RemoteRef(object, f"{object[:2].upper()}{self._version + 1:06d}")
            empty: dict[str, Value] = dict.fromkeys(self.objects[object])
            self._store(ref, {**empty, **fields, "Id": ref.id}, by, who, at or self.clock())
            return ref

    def edit(
        self,
        ref: RemoteRef,
        fields: Mapping[str, Value],
        *,
        by: Writer = "person",
        who: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Change fields of a record; `who` is the name of whoever did it."""
        with self.lock:
            self._store(ref, {**self._rows[ref].fields, **fields}, by, who, at or self.clock())

    def delete(self, ref: RemoteRef, *, by: Writer = "person", at: datetime | None = None) -> None:
        """Leave a tombstone; a task is gone without a trace."""
        if ref.object == "Task":
            del self.tasks[ref.id]
        else:
            self._end(ref, None, by, at)

    def finish_task(self, key: str, *, by: Writer = "person") -> None:
        """Somebody has done a task."""
        self.closed_tasks.setdefault(key, by)

    def open_tasks(self) -> list[TaskWrite]:
        """What is still to be done."""
        return [task for key, task in self.tasks.items() if key not in self.closed_tasks]

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
            if (object, field) not in self._seen:
                index = self._seen[object, field] = {}
                for ref, row in self._living(object):
                    index.setdefault(row.fields.get(field), {})[ref] = None
            candidates = self._seen[object, field].get(value, {})
            rows = ((ref, self._rows[ref]) for ref in candidates)
            return [ref for ref, row in rows if not row.deleted and row.fields.get(field) == value]

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

    def expire_cursors(self) -> None:
        """Cursors given out so far are too old: CursorExpiredError."""
        self._oldest_cursor = self._version + 1

    # What the connectors use

    @property
    def version(self) -> int:
        return self._version

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
        self._store(ref, {**self._rows[ref].fields, **fields}, "us", None, at)

    # Private

    def _store(self, ref: RemoteRef, fields: dict[str, Value], by: Writer, who: str | None, at: datetime) -> None:
        self._version += 1
        who, row = who or _NAMES.get(by), self._rows.get(ref)
        held, edits = (row.fields, row.edits) if row else ({}, {})
        new = {name: Edit(at, by, who) for name, value in fields.items() if held.get(name) != value}
        self._rows[ref] = _Row(fields, self._version, at, by, who, edits={**edits, **new})
        for (object, name), index in self._seen.items():
            if object == ref.object:
                index.setdefault(fields.get(name), {})[ref] = None

    def _end(self, ref: RemoteRef, successor: RemoteRef | None, by: Writer, at: datetime | None) -> None:
        with self.lock:
            self._version += 1
            self._rows[ref] = _Row(
                {}, self._version, at or self.clock(), by, _NAMES.get(by), deleted=True, successor=successor
            )
            for members in self.segments.values():
                members.discard(ref)

    def _living(self, object: str) -> list[tuple[RemoteRef, _Row]]:
        return [(r, row) for r, row in self._rows.items() if r.object == object and not row.deleted]

    def _record(self, ref: RemoteRef, row: _Row, names: Sequence[str]) -> RemoteRecord:
        fields = {} if row.deleted else {name: row.fields.get(name) for name in names}
        emails = tuple(str(row.fields[name]) for name in self.email_fields if row.fields.get(name))
        edits = {name: row.edits[name] for name in names if name in row.edits and self.keeps_history}
        return RemoteRecord(
            ref, fields, emails, row.changed_at, row.changed_by, row.deleted, row.successor, row.changed_who, edits
        )
