"""Which CRM record a person is: by our key, else by e-mail, else nobody yet. Several candidates are never guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from syncline.model import RemoteRef
from syncline.store import crm
from syncline.store.crm import Conflict, Link, MirrorRecord
from syncline.store.profiles import Profile
from syncline.sync.target import Target

__all__ = ["Matches", "match"]

_HOPS = 5  # conversions and merges in a row


@dataclass(slots=True)
class Matches:
    """The result for some people. `linked` holds old and new links, `fresh` only those that are to be stored.

    `gone` are people who were in the CRM and are no longer where a sync looks, and why: they are not created again.
    """

    linked: dict[int, Link] = field(default_factory=dict)
    fresh: list[Link] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    gone: dict[int, str] = field(default_factory=dict)
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
    result = Matches(records=book.records)
    for person_id, profile in people.items():
        link = known.get(person_id)
        keyed = [item.record.ref for key in profile.keys for item in by_key.get(key, ())]
        mailed = [ref for mail in profile.emails for ref in by_email.get(mail, ())]
        found = _follow(book, link, owners) if link else None
        found = found or _decide(profile, book, keyed, mailed, owners)
        if isinstance(found, Link):
            owners[found.ref] = taken[found.ref] = person_id
            result.linked[person_id] = found
            if found is not link:
                result.fresh.append(found)
        elif isinstance(found, Conflict):
            result.conflicts.append(found)
        elif past := [link.ref] if link else keyed + mailed:
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
        return Link(profile.person_id, candidates[0], how)
    return None


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

    def fate(self, ref: RemoteRef) -> str:
        """Why a record has no survivor."""
        for _ in range(_HOPS):
            item = self.records.get(ref)
            if item is None or item.record.successor is None:
                break
            ref = item.record.successor
        return "deleted in the CRM" if ref.object in self._objects else f"now a {ref.object}, where no sync looks"

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
