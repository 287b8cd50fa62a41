"""From the raw inbox to the event log: normalize, cleanse, classify, find out who it was, store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from sqlalchemy import Connection

from syncline.errors import ContractError, RecordError
from syncline.events import RULES, Classifier, cleanse, derived_ids
from syncline.model import Event, RawRecord, from_microseconds, microseconds
from syncline.people import Directory, IdentifierFilter, IdentityRules, Standing, Statement, contested, newest
from syncline.store import events as log
from syncline.store import inbox
from syncline.store import people as register
from syncline.store.database import Database
from syncline.store.events import EventRow, StoredEvent
from syncline.store.inbox import InboxRow
from syncline.store.schema import AWAITED, BY_WEBHOOK
from syncline.sync import consent
from syncline.sync.verdicts import Moment, judge_clicks, judge_repeats

__all__ = ["Fate", "Ingest", "Normalizes", "Settled"]

_compact: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Normalizes(Protocol):
    """A source as it is needed here: its kind, and what it makes of a record."""

    @property
    def kind(self) -> str: ...

    def normalize(self, raw: RawRecord) -> Iterable[Event]: ...


class Fate(StrEnum):
    """What became of one raw record."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(slots=True)
class Settled:
    """What became of some raw records.

    `added` counts the events that each stream brought to the log; `growth` is by how much the log grew, which is less
    where a new visit displaced a stored one.
    """

    fates: list[tuple[InboxRow, Fate]] = field(default_factory=list)
    added: Counter[str] = field(default_factory=Counter)
    growth: int = 0
    cleansed: Counter[str] = field(default_factory=Counter)
    identity: Counter[str] = field(default_factory=Counter)
    machine: int = 0


class _Fact(NamedTuple):
    """A cleansed event, when it was, whether a machine did it, and which ways it came."""

    id: bytes
    event: Event
    t_us: int
    machine: bool
    way: int


class _Normalized(NamedTuple):
    row: InboxRow
    facts: Sequence[_Fact]
    reason: str | None


class Ingest:
    """Settles raw records of one connection; each batch is one transaction, and may be repeated."""

    def __init__(
        self,
        database: Database,
        connection_name: str,
        source: Normalizes,
        *,
        classifier: Classifier,
        identity_rules: IdentityRules,
        clock: Callable[[], datetime],
        new_key: Callable[[], str] = register.random_key,
    ) -> None:
        self._database = database
        self._name = connection_name
        self._source = source
        self._classifier = classifier
        self._rules = identity_rules
        self._filter = IdentifierFilter(identity_rules)
        self._clock = clock
        self._new_key = new_key

    def settle(self, rows: Sequence[InboxRow], *, again: bool = False) -> Settled:
        """Turn raw records into events. With `again` what is stored already is replaced by what is derived now.

        ContractError when the plugin fails on a record in any other way than RecordError; nothing is changed then.
        """
        result = Settled()
        batch = [self._normalize(row, result.cleansed) for row in rows]
        with self._database.write() as connection:
            register.serialize(connection)
            previous = self._previous(connection, batch) if again else {}
            new = self._sort_out(connection, batch, result, again=again)
            self._store(connection, self._awaited(connection, batch, new), previous, result)
            _finish(connection, batch)
        return result

    def _normalize(self, row: InboxRow, counts: Counter[str]) -> _Normalized:
        try:
            events = self._events(row)
            return _Normalized(row, self._facts(row, events, counts), None)
        except RecordError as error:
            return _Normalized(row, (), str(error))

    def _events(self, row: InboxRow) -> list[Event]:
        """What the plugin makes of a record; whatever else it raises is its bug."""
        try:
            events = list(self._source.normalize(row.record))
            for event in events:
                _check_id(event.id)
        except RecordError:
            raise
        except Exception as error:
            raise ContractError(
                f"the plugin {self._source.kind!r} failed to normalize a record ({type(error).__name__}: {error}). The "
                "record is kept and will be normalized on the next pull, after the plugin is fixed; a record that "
                "cannot be used is said with RecordError",
                where=f"{self._name}/{row.record.stream}, key {row.record.key}",
            ) from error
        return events

    def _facts(self, row: InboxRow, events: Iterable[Event], counts: Counter[str]) -> list[_Fact]:
        received_at = from_microseconds(row.received_us)
        source = f"{self._name}/{row.record.stream}"
        facts = []
        for event in events:
            identifiers = self._filter.clean(event.identifiers, counts)
            clean = cleanse(event, identifiers, source=source, received_at=received_at, counts=counts)
            facts.extend(self._classified(clean, row.way))
        return facts

    def _classified(self, event: Event, way: int) -> list[_Fact]:
        classified = self._classifier.classify(event)
        machine = bool(classified.properties.get("machine")) and event.type != "custom"
        derived = self._classifier.derived(classified)
        at = microseconds(event.occurred_at)
        return [_Fact(bytes.fromhex(e.id), e, at, machine, way) for e in (classified, *derived)]

    def _previous(self, connection: Connection, batch: Sequence[_Normalized]) -> dict[bytes, StoredEvent]:
        """What is stored of these records' events, including what a click counted as under other rules."""
        ids = {fact.id for item in batch for fact in item.facts}
        clicks = [fact.event.id for item in batch for fact in item.facts if fact.event.type == "email_click"]
        ids.update(bytes.fromhex(id_) for click in clicks for id_ in derived_ids(click).values())
        return log.fetch(connection, ids)

    def _sort_out(
        self, connection: Connection, batch: Sequence[_Normalized], result: Settled, *, again: bool
    ) -> list[_Fact]:
        """The events that are to be stored; gives each record its fate.

        Who says a fact first is believed; only when records are settled again does the last word count.
        """
        ways = _ways(batch)
        seen = {} if again else log.known(connection, ways)
        new: dict[bytes, _Fact] = {}
        for item in batch:
            fresh = {fact.id: fact for fact in item.facts if again or (fact.id not in seen and fact.id not in new)}
            result.fates.append((item.row, _fate(item, fresh)))
            new.update(fresh)
        for way in set(ways.values()):
            also = [id_ for id_, known in seen.items() if ways[id_] == way and known | way != known]
            log.came_also(connection, way, also)
        return [fact._replace(way=ways[id_]) for id_, fact in new.items()]

    def _awaited(self, connection: Connection, batch: Iterable[_Normalized], new: Sequence[_Fact]) -> list[_Fact]:
        """The new events; marked, if webhooks bring their type, and did so for one that was no later."""
        since = log.awaited(connection, self._name)
        first: dict[str, int] = {}
        for fact in (fact for item in batch for fact in item.facts):
            if fact.way & BY_WEBHOOK and fact.event.type not in since:
                first[fact.event.type] = min(fact.t_us, first.get(fact.event.type, fact.t_us))
        log.await_types(connection, self._name, first)
        since |= first
        return [f._replace(way=f.way | AWAITED) if f.t_us >= since.get(f.event.type, f.t_us + 1) else f for f in new]

    def _store(
        self, connection: Connection, new: Sequence[_Fact], previous: Mapping[bytes, StoredEvent], result: Settled
    ) -> None:
        people, merged = self._identify(connection, new, result)
        held = {id_: merged.get(e.row.person_id, e.row.person_id) for id_, e in previous.items()}
        rows = {fact.id: _row(fact, held.get(fact.id, person)) for fact, person in zip(new, people, strict=True)}
        for id_ in rows.keys() & previous.keys():
            rows[id_] = rows[id_]._replace(way=rows[id_].way | previous[id_].row.way)
        log.remove(connection, previous)
        result.growth -= sum(e.kept for e in previous.values())
        gone = [Moment(held[id_], e.row.t_us) for id_, e in previous.items()]
        register.set_attributes(connection, newest(_statements(new, rows)))
        touched = _write(connection, rows, gone, set(merged.values()), result)
        consent.keep(connection, self._name, rows.values(), merged, previous.values())
        log.mark_stale(connection, touched)

    def _identify(
        self, connection: Connection, new: Sequence[_Fact], result: Settled
    ) -> tuple[list[int], dict[int, int]]:
        """The person of each event, and the stored people who were merged into others."""
        names = [[(i.namespace, i.value) for i in fact.event.identifiers] for fact in new]
        directory = self._directory(connection, names)
        found = [directory.resolve(own, fact.t_us) for own, fact in zip(names, new, strict=True)]
        fresh = directory.new_people()
        ids = dict(
            zip(
                fresh,
                register.add_people(connection, len(fresh), microseconds(self._clock()), self._new_key),
                strict=True,
            )
        )
        merged = dict(directory.merges())
        register.merge(connection, list(merged.items()))
        log.move_to_people(connection, list(merged.items()))
        links = ((*name, ids.get(person, person), first) for name, person, first in directory.links())
        register.add_identifiers(connection, links)
        result.identity.update(directory.counts)
        result.identity["new"] += len(fresh)
        survivors = [directory.survivor(person) for person in found]
        return [ids.get(person, person) for person in survivors], merged

    def _directory(self, connection: Connection, named: Sequence[Sequence[tuple[str, str]]]) -> Directory:
        owners = register.owners(connection, (name for names in named for name in names))
        people = contested(named, owners)
        counts = register.identifier_counts(connection, people)
        links = register.link_connections(connection, people)
        standings = {
            person: Standing(counts.get(person, Counter()), frozenset(links.get(person, ()))) for person in people
        }
        return Directory(self._rules, owners, standings)


def _ways(batch: Iterable[_Normalized]) -> dict[bytes, int]:
    """Each event, and which ways it came in this batch."""
    ways: dict[bytes, int] = {}
    for item in batch:
        for fact in item.facts:
            ways[fact.id] = ways.get(fact.id, 0) | fact.way
    return ways


def _check_id(id_: str) -> None:
    if len(bytes.fromhex(id_)) != 16:
        raise ValueError(f"event id {id_!r} is not 32 hex digits: make it with event_id(...)")


def _fate(item: _Normalized, fresh: Collection[bytes]) -> Fate:
    if item.reason is not None:
        return Fate.QUARANTINED
    return Fate.DUPLICATE if item.facts and not fresh else Fate.STORED


def _row(fact: _Fact, person: int) -> EventRow:
    event = fact.event
    properties = event.properties
    if "machine" in properties and event.type != "custom":
        properties = {name: value for name, value in properties.items() if name != "machine"}
    return EventRow(fact.id, person, event.type, fact.t_us, fact.machine, _compact(properties), event.source, fact.way)


def _write(
    connection: Connection,
    rows: dict[bytes, EventRow],
    gone: Sequence[Moment],
    survivors: Collection[int],
    result: Settled,
) -> set[int]:
    """Store new events and change what they change about stored ones; the people who have to be scored again."""
    reported = sum(row.machine for row in rows.values())
    late = judge_clicks(connection, rows, survivors)
    machine = sum(row.machine for row in rows.values()) + len(late)
    repeated: set[bytes] = set()
    for rule in RULES:
        verdict = judge_repeats(connection, rule, rows, [*gone, *late.values()], survivors)
        log.suppress(connection, verdict.suppressed)
        log.restore(connection, verdict.restored)
        repeated |= verdict.new
        result.growth += len(verdict.restored) - len(verdict.suppressed)
        result.cleansed[rule.counted_as] += len(verdict.new) + len(verdict.suppressed) - len(verdict.restored)
    counted = [row for row in rows.values() if row.id not in repeated]
    log.append(connection, counted)
    log.append(connection, [rows[id_] for id_ in repeated], kept=False)
    result.added.update(row.source.partition("/")[2] for row in counted)
    result.growth += len(counted)
    result.machine += machine
    result.cleansed["scanner_click"] += machine - reported
    return {row.person_id for row in rows.values()} | {m.person_id for m in (*gone, *late.values())} | {*survivors}


def _statements(new: Iterable[_Fact], rows: Mapping[bytes, EventRow]) -> Iterable[Statement]:
    for fact in new:
        row = rows[fact.id]
        for name, value in fact.event.profile.items():
            yield Statement(row.person_id, name, row.t_us, fact.id, value)


def _finish(connection: Connection, batch: Sequence[_Normalized]) -> None:
    done = [item.row.id for item in batch if item.reason is None]
    inbox.finish(connection, done, {item.row.id: item.reason for item in batch if item.reason is not None})
