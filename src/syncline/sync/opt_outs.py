"""The fields of a CRM that hold an opt-out: what they say, and that nothing of ours ever says anything but yes there.

`true` withdraws. `false` says nothing, and is no grant; but where it had been `true` in that same place, the field of
that record, it takes back what the CRM had said. A tick that we set, because another side had withdrawn, says nothing
either: or else two sides would hold each other to it for ever. So it is kept which ticks are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from syncline.errors import ContractError
from syncline.model import RemoteRecord, RemoteRef, Value, Write, event_id, microseconds
from syncline.people.consent import Said, ticked, told
from syncline.sdk import Sink, Source
from syncline.sdk.config import ConnectorConfig
from syncline.store import consents, runs
from syncline.store.edits import edit_of
from syncline.sync.match import Matches
from syncline.sync.target import Target

__all__ = ["Accepted", "OptOuts", "Written", "hold_one_way", "note_told", "read_opt_outs"]

Accepted = Mapping[RemoteRef, Mapping[str, Value]]
"""Record → what it has from us."""
Written = tuple[int, RemoteRef, Mapping[str, Value]]
"""A person, their record, and what it took from us."""


@dataclass(slots=True)
class OptOuts:
    """What the opt-out fields of one CRM say that is not kept yet: it is kept with the plan it was read for."""

    said: list[Said] = field(default_factory=list)
    lifted: list[Said] = field(default_factory=list)
    guessed: list[Said] = field(default_factory=list)
    """Of records that may be a person's or another's: it counts until that is decided, and is not kept."""

    def keep(self, connection: Connection) -> None:
        consents.lift(connection, (said[:3] for said in self.lifted))
        consents.put(connection, self.said)


def read_opt_outs(
    target: Target, matches: Matches, inherited: Accepted, known: Mapping[int, Sequence[Said]], as_of: datetime
) -> OptOuts:
    """What the opt-out fields of this CRM say of the people found there. `known` is what was said before.

    `inherited` is what came over to a record from the one that it was converted from or merged with, and was ours.
    """
    found = OptOuts()
    purposes = target.opt_outs
    if not purposes:
        return found
    for person, link in matches.linked.items():
        item = matches.records.get(link.ref)
        if item is None:
            continue  # never read: what it said last stays
        for name, purpose in purposes.items():
            place = _Place(target, name, purpose, person, item.record)
            place.compare(known.get(person, ()), found, as_of, came_over=inherited.get(link.ref, {}).get(name) is True)
    found.guessed += _of_candidates(target, matches, as_of)
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """One such field of the record that a person is."""

    target: Target
    name: str
    purpose: str
    person: int
    record: RemoteRecord

    @property
    def side(self) -> str:
        return f"{self.target.connection}.{self.name}"

    @property
    def id(self) -> bytes:
        return _place_id(self.target, self.record.ref, self.name)

    def compare(self, known: Sequence[Said], found: OptOuts, as_of: datetime, *, came_over: bool) -> None:
        """Note what is new, and what is taken back. A field that was not read leaves all as it is."""
        if self.name not in self.record.fields:
            return
        side = self.side
        said = next((one for one in known if one.side == side and one.purpose == self.purpose), None)
        ours = next((one for one in known if one.side == ticked(side) and one.purpose == self.purpose), None)
        ours = ours if ours is not None and ours.event_id == self.id else None
        if self.record.fields[self.name] is True:
            known_here = ours is not None or (said is not None and said.event_id == self.id)
            came_from_us = said is None and (came_over or edit_of(self.record, self.name).by == "us")
            if not known_here:
                found.said.append(self.withdrawal(as_of, ours=came_from_us))
        else:
            self._gone(said, ours, found)

    def _gone(self, said: Said | None, ours: Said | None, found: OptOuts) -> None:
        """Who takes our tick away, takes away what the CRM itself had said in a record that is no more."""
        if ours is not None:
            found.lifted.append(ours)
        by_person = ours is not None and edit_of(self.record, self.name).by == "person"
        if said is not None and (by_person or said.event_id == self.id):
            found.lifted.append(said)

    def withdrawal(self, as_of: datetime, *, ours: bool = False) -> Said:
        """What the field states where it is true; or that it is our own tick."""
        at_us = microseconds(edit_of(self.record, self.name).at or as_of)
        side = ticked(self.side) if ours else self.side
        return Said(self.person, self.purpose, side, False, at_us, self.id)


def _place_id(target: Target, ref: RemoteRef, name: str) -> bytes:
    return bytes.fromhex(event_id("opt_out", target.connection, ref.object, ref.id, name))


def _of_candidates(target: Target, matches: Matches, as_of: datetime) -> Iterator[Said]:
    """What stands in records of which nobody knows yet whether they are this person's."""
    for conflict in matches.conflicts:
        items = (matches.records.get(ref) for ref in conflict.candidates)
        for record in (item.record for item in items if item is not None):
            for name, purpose in target.opt_outs.items():
                if record.fields.get(name) is True:
                    yield _Place(target, name, purpose, conflict.person_id, record).withdrawal(as_of)


def note_told(
    connection: Connection, target: Target, sink: Sink[ConnectorConfig], run_id: str, written: Iterable[Written]
) -> None:
    """The CRM has taken these writes: the ticks in them are ours.

    If it is a source as well, its events will soon say what it has from us. They count as our own word from the
    beginning of that run on: what people themselves had said there until then, the run has read.
    """
    found = [
        (person, ref, name, purpose)
        for person, ref, fields in written
        for name, purpose in target.opt_outs.items()
        if fields.get(name) is True
    ]
    if not found:
        return
    since = runs.started_us(connection, run_id)
    rows = [
        Said(person, purpose, ticked(f"{target.connection}.{name}"), False, since, _place_id(target, ref, name))
        for person, ref, name, purpose in found
    ]
    if isinstance(sink, Source):
        side = told(target.connection)
        rows += [Said(person, purpose, side, False, since, bytes(16)) for person, _, _, purpose in found]
    consents.put(connection, rows)


def hold_one_way(target: Target, writes: Iterable[Write]) -> None:
    """ContractError when a write would take an opt-out back: the last look before they are sent."""
    names = target.one_way
    for write in writes if names else ():
        for name in names & write.fields.keys():
            if write.fields[name] is not True:
                raise ContractError(
                    f"a write for {write.key} would set {name} to {write.fields[name]!r}. An opt-out is only ever set, "
                    "never taken back: this is a mistake in syncline, please report it. Nothing of the batch was sent",
                    where=target.connection,
                )
