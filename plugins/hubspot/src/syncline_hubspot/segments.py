"""Segments as lists of contacts that are filled by hand (vendor sheet §8; HubSpot's pages say segments too)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from syncline.errors import ConfigError
from syncline.model import Member, Outcome, RemoteRef, Status
from syncline_hubspot.client import Client
from syncline_hubspot.errors import RefusedError
from syncline_hubspot.payloads import FoundList, Membership

__all__ = ["MOST_MEMBERS", "Lists"]

MOST_MEMBERS: Final = 1_000
"""Ids a call carries. The vendor's own limit could not be verified (vendor sheet §8): this is ours."""

_FILLED_BY_HAND: Final = ("MANUAL", "SNAPSHOT")


class Lists:
    """The lists of one connection; a name is looked up once, and again when its list is gone."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[str, FoundList] = {}

    def find(self, names: Iterable[str]) -> dict[str, FoundList]:
        """Name → list, of those that exist."""
        for name in dict.fromkeys(names):
            if name not in self._found and (found := self._client.find_list(name)) is not None:
                self._found[name] = found
        return {name: self._found[name] for name in names if name in self._found}

    def create(self, name: str) -> None:
        self._client.create_list(name)

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        """One Outcome per member, those of `add` first, same order; one call."""
        if not add and not remove:
            return []
        for member in (*add, *remove):
            if member.ref.object != "contacts":
                raise ConfigError(f"{member.ref.object} {member.ref.id}: our lists hold contacts only")
        changed = self._changed(segment, [m.ref.id for m in add], [m.ref.id for m in remove])
        return [_added(m, changed) for m in add] + [_removed(m, changed) for m in remove]

    def _changed(self, segment: str, add: Sequence[str], remove: Sequence[str]) -> Membership:
        """A list that was deleted, and perhaps made anew under its name, is looked up once more."""
        known = segment in self._found
        try:
            return self._client.change_members(self._id(segment), add, remove)
        except RefusedError as error:
            if error.status != 404 or not known:
                raise
        del self._found[segment]
        return self._client.change_members(self._id(segment), add, remove)

    def _id(self, segment: str) -> str:
        found = self.find([segment]).get(segment)
        if found is None:
            raise ConfigError(
                f"there is no list of contacts named {segment!r}; `syncline prepare` creates it, or name one there"
            )
        if found.list.processing not in _FILLED_BY_HAND:
            raise ConfigError(
                f"HubSpot itself fills the list {segment!r} ({found.list.processing}); name one that is filled by hand"
            )
        return found.list.id


def _added(member: Member, changed: Membership) -> Outcome:
    if member.ref.id in changed.added:
        return Outcome(member.key, Status.CREATED, RemoteRef("contacts", member.ref.id))
    if member.ref.id in changed.missing:
        return Outcome(
            member.key, Status.REJECTED, reason=f"HubSpot knows no contact {member.ref.id}", code="RECORD_MISSING"
        )
    return Outcome(member.key, Status.UNCHANGED, RemoteRef("contacts", member.ref.id))


def _removed(member: Member, changed: Membership) -> Outcome:
    """Who does not exist is not in."""
    status = Status.UPDATED if member.ref.id in changed.removed else Status.UNCHANGED
    return Outcome(member.key, status, RemoteRef("contacts", member.ref.id))
