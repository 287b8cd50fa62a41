"""Which CRM record a person is: as decided, by our key, else by e-mail, else nobody yet. Nobody is ever guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from syncline.model import RemoteRef
from syncline.store import crm, link_history
from syncline.store.crm import Conflict, Link, MirrorRecord
from syncline.store.profiles import Profile, people_of_keys
from syncline.sync.target import Target

__all__ = ["Matches", "match"]

_HOPS = 5  # conversions and merges in a row


@dataclass(slots=True)
class Matches:
    """The result for some people. `linked` holds old and new links, `fresh` only those that are to be stored.

    `gone` are people who were in the CRM and are no longer where a sync looks, and why: they are not created again.
    `followed` are people whose record lives on as another one, with the record they were.
    """

    linked: dict[int, Link] = field(default_factory=dict)
    fresh: list[Link] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    gone: dict[int, str] = field(default_factory=dict)
    followed: dict[int, RemoteRef] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    records: dict[RemoteRef, MirrorRecord] = field(default_factory=dict)


def match(
    connection: Connection, target: Target, people: Mapping[int, Profile], taken: dict[RemoteRef, int]
) -> Matches:
    """Match `people`. `taken` remembers, across batches, which records this run has given to whom."""
    name = target.connection
    known = crm.links(connection, name, people)
    by_key = crm.mirror_by_key(connection, name, [key for profile in people.values() for key in profile.keys])
    by_email = crm.mirror_by_email(connection, name, [mail for profile in people.values() for mail in profile.emails])
    refs = {link.ref for link in known.values()} | {ref for found in by_email.values() for ref in found}
    book = _Book(connection, target, refs, by_key.values())
    owners = crm.owners(connection, name, book.records) | taken
    holders = people_of_keys(connection, _keys_of(book, by_email))
    denied = link_history.denied(connection, name, people)
    result = Matches(records=book.records)
    for person_id, profile in people.items():
        link = known.get(person_id)
        keyed = [item.record.ref for key in profile.keys for item in by_key.get(key, ())]
        others = denied.get(person_id, set())
        mailed = [ref for mail in profile.emails for ref in by_email.get(mail, ()) if book.survivor(ref) not in others]
        found = _follow(book, link, owners) if link else None
        found = found or _decide(profile, book, keyed, mailed, owners, holders)
        if isinstance(found, Link):
            owners[found.ref] = taken[found.ref] = person_id
            result.linked[person_id] = found
            if found is not link:
                result.fresh.append(found)
            if link is not None and found.how == "successor" and found is not link:
                result.followed[person_id] = link.ref
        elif isinstance(found, Conflict):
            result.conflicts.append(found)
        elif (past := [link.ref] if link else keyed + mailed) and not (target.recreate and book.deleted(past[0])):
            result.gone[person_id] = book.fate(past[0])
        else:
            result.missing.add(person_id)
    return result


def _follow(book: _Book, link: Link, owners: Mapping[RemoteRef, int]) -> Link | Conflict | None:
    ref = book.survivor(link.ref)
    if ref is None or ref == link.ref:
        return link if ref else None
    if owners.get(ref, link.person_id) != link.person_id:
        return Conflict(link.person_id, "the record it was merged into is another person's", (ref,))
    return Link(link.person_id, ref, "successor")


def _decide(
    profile: Profile,
    book: _Book,
    keyed: Iterable[RemoteRef],
    mailed: Iterable[RemoteRef],
    owners: Mapping[RemoteRef, int],
    holders: Mapping[str, int],
) -> Link | Conflict | None:
    for how, refs in (("key", keyed), ("email", mailed)):
        candidates = tuple(dict.fromkeys(filter(None, map(book.survivor, refs))))
        if not candidates:
            continue
        if len(candidates) > 1:
            return Conflict(profile.person_id, f"{len(candidates)} records have this {how}", candidates)
        owner = owners.get(candidates[0])
        if owner is not None and owner != profile.person_id:
            return Conflict(profile.person_id, f"the record with this {how} is another person's", candidates)
        if how == "email" and holders.get(book.key(candidates[0]) or "", profile.person_id) != profile.person_id:
            return Conflict(profile.person_id, "the record with this email carries another person's key", candidates)
        return Link(profile.person_id, candidates[0], how)
    return None


def _keys_of(book: _Book, by_email: Mapping[str, Iterable[RemoteRef]]) -> set[str]:
    """The keys that records found by their address carry, those they live on as included."""
    survivors = {book.survivor(ref) for refs in by_email.values() for ref in refs}
    return {key for ref in survivors if ref is not None and (key := book.key(ref))}


class _Book:
    """The mirrored records a batch needs, their survivors included."""

    def __init__(
        self,
        connection: Connection,
        target: Target,
        refs: Iterable[RemoteRef],
        keyed: Iterable[Iterable[MirrorRecord]],
    ) -> None:
        self.records = {item.record.ref: item for items in keyed for item in items}
        self._objects = set(target.objects)
        open_refs = set(refs) - self.records.keys()
        self.records |= crm.mirror(connection, target.connection, open_refs)
        for _ in range(_HOPS):
            further = {item.record.successor for item in self.records.values() if item.record.successor}
            missing = {ref for ref in further if ref not in self.records and ref.object in self._objects}
            if not missing:
                break
            found = crm.mirror(connection, target.connection, missing)
            if not found:
                break
            self.records |= found

    def key(self, ref: RemoteRef) -> str | None:
        """The key that a record carries, ours or whatever stands there."""
        item = self.records.get(ref)
        return item.key if item else None

    def deleted(self, ref: RemoteRef) -> bool:
        """Whether a record without a survivor was deleted, and does not live on where no sync looks."""
        return self._last(ref).object in self._objects

    def fate(self, ref: RemoteRef) -> str:
        """Why a record has no survivor."""
        return "deleted in the CRM" if self.deleted(ref) else f"now a {self._last(ref).object}, where no sync looks"

    def _last(self, ref: RemoteRef) -> RemoteRef:
        for _ in range(_HOPS):
            item = self.records.get(ref)
            if item is None or item.record.successor is None:
                break
            ref = item.record.successor
        return ref

    def survivor(self, ref: RemoteRef) -> RemoteRef | None:
        """Where this record lives on; None when it is deleted, or lives on where no sync looks."""
        for _ in range(_HOPS):
            item = self.records.get(ref)
            if item is None:
                return ref if ref.object in self._objects else None
            if item.record.successor is None:
                return None if item.record.deleted else ref
            ref = item.record.successor
        return None
