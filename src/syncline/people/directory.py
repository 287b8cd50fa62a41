"""Whose identifiers are whose, as far as a page of events needs to know; decides who did what, and who is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from syncline.people.identifiers import EMAIL, IdentityRules

__all__ = ["Directory", "Merge", "Standing", "contested"]

Name = tuple[str, str]
"""The namespace and the value of an identifier: a plain pair, which hashes much faster than an Identifier."""

_FIRST_NEW: Final = 1 << 62  # people who are not stored yet number from here, so that they come after all who are


@dataclass(slots=True)
class Standing:
    """What bears on whether a person may be linked: identifiers by namespace, and connections with a CRM record."""

    identifiers: Counter[str] = field(default_factory=Counter)
    links: frozenset[str] = frozenset()


class Merge(NamedTuple):
    """Two people were one. The survivor is the one we met first."""

    absorbed: int
    survivor: int


class Directory:
    """Resolves events to people, one after the other, and remembers what has to be stored.

    `owners` are the identifiers that are known (with the time of the first event that named them); `standings` the
    people among the owners that an event might link to something new.
    """

    def __init__(
        self,
        rules: IdentityRules,
        owners: Mapping[Name, tuple[int, int]] | None = None,
        standings: Mapping[int, Standing] | None = None,
    ) -> None:
        self._rules = rules
        self._owners = {name: owner for name, (owner, _) in (owners or {}).items()}
        self._first = {name: first for name, (_, first) in (owners or {}).items()}
        self._standings = dict(standings or {})
        self._merged: dict[int, int] = {}
        self._next = _FIRST_NEW
        self._touched: dict[Name, None] = {}
        self.counts: Counter[str] = Counter()

    def resolve(self, names: Sequence[Name], at_us: int) -> int:
        """The person an event belongs to: the owner of its strongest identifier, which is its first.

        The others are linked to that person where that is safe, and people who turn out to be one are merged.
        """
        person = self.owner(names[0])
        if person is None:
            person = self._create(names[0])
        for other in names[1:]:
            person = self._join(person, names[0], other)
        for name in names:
            self._seen(name, at_us)
        return person

    def owner(self, name: Name) -> int | None:
        """Whose it is, followed to the survivor of merges."""
        found = self._owners.get(name)
        return found if found is None or not self._merged else self.survivor(found)

    def survivor(self, person: int) -> int:
        """The person that `person` lives on as; usually itself."""
        while (further := self._merged.get(person)) is not None:
            person = further
        return person

    def new_people(self) -> list[int]:
        """People to be stored, in the order we met them; those who turned out to be somebody else are left out."""
        return [person for person in range(_FIRST_NEW, self._next) if person not in self._merged]

    def merges(self) -> list[Merge]:
        """Stored people who turned out to be somebody else, each with the last survivor."""
        return [Merge(person, self.survivor(person)) for person in sorted(self._merged) if person < _FIRST_NEW]

    def links(self) -> list[tuple[Name, int, int]]:
        """Identifiers that are new or were named earlier than we knew: owner, and time of the first event."""
        return [(name, self.survivor(self._owners[name]), self._first[name]) for name in self._touched]

    def _seen(self, name: Name, at_us: int) -> None:
        first = self._first.get(name)
        if name in self._owners and (first is None or at_us < first):
            self._first[name] = at_us
            self._touched[name] = None

    def _create(self, name: Name) -> int:
        person = self._next
        self._next += 1
        self._owners[name] = person
        self._standings[person] = Standing(Counter({name[0]: 1}))
        return person

    def _join(self, person: int, strongest: Name, other: Name) -> int:
        owner = self.owner(other)
        if owner == person:
            return person
        if owner is None:
            return self._link(person, other)
        alias = strongest[0] == EMAIL == other[0]  # the event itself says that both are one person's
        if refusal := self._refusal(person, owner, alias=alias):
            self.counts[refusal] += 1
            return person
        return self._merge(person, owner)

    def _link(self, person: int, other: Name) -> int:
        held = self._standing(person).identifiers
        if held[other[0]] >= self._rules.limit(other[0]):
            self.counts[_too_many(other[0])] += 1
            return person
        self._owners[other] = person
        held[other[0]] += 1
        return person

    def _refusal(self, one: int, two: int, *, alias: bool) -> str | None:
        """Why two people stay two: the name it is counted by."""
        first, second = self._standing(one), self._standing(two)
        if not alias and first.identifiers[EMAIL] and second.identifiers[EMAIL]:
            return "shared_identifier"
        if first.links & second.links:
            return "link_conflict"
        for namespace, count in second.identifiers.items():
            if first.identifiers[namespace] + count > self._rules.limit(namespace):
                return _too_many(namespace)
        return None

    def _merge(self, one: int, two: int) -> int:
        survivor, absorbed = min(one, two), max(one, two)
        self._merged[absorbed] = survivor
        kept, gone = self._standing(survivor), self._standings.pop(absorbed)
        kept.identifiers.update(gone.identifiers)
        kept.links |= gone.links
        self.counts["merged"] += 1
        return survivor

    def _standing(self, person: int) -> Standing:
        return self._standings[person]


def _too_many(namespace: str) -> str:
    return "too_many_emails" if namespace == EMAIL else "too_many_identifiers"


def contested(events: Iterable[Sequence[Name]], owners: Mapping[Name, tuple[int, int]]) -> set[int]:
    """The stored people whose standing `Directory` may need: owners in events that are not all one person's."""
    needed: set[int] = set()
    for names in events:
        found = {owners[i][0] if i in owners else None for i in names}
        if len(found) > 1:
            needed.update(person for person in found if person is not None)
    return needed
