"""What people allow, purpose by purpose: each side's last word counts, and the most restrictive side holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

__all__ = ["STATING", "UNSUBSCRIBED", "Basis", "ConsentRules", "Said", "latest", "sides", "stated", "ticked", "told"]

UNSUBSCRIBED: Final = "email_unsubscribe"
"""Stands where a purpose does, in what is kept: a link in an e-mail does not say which purposes it means, and which
these are may be decided anew."""
STATING: Final = ("consent_change", UNSUBSCRIBED)
"""The types of events that say something about consent."""


class Basis(StrEnum):
    """What a purpose rests on, in the words of Article 6 of the GDPR."""

    CONSENT = "consent"
    """Nothing is written without a grant."""
    LEGITIMATE_INTEREST = "legitimate_interest"
    """Written until somebody objects."""


class Said(NamedTuple):
    """What one side last said of one person and one purpose.

    A side is a connection's events (`newsletter`), or a CRM's field that holds an opt-out (`crm.HasOptedOutOfEmail`).
    """

    person: int
    purpose: str
    side: str
    granted: bool
    at_us: int
    event_id: bytes

    @property
    def order(self) -> tuple[int, bool, bytes]:
        """The greater, the later; of one moment a withdrawal counts, whatever order they came in."""
        return self.at_us, not self.granted, self.event_id


def told(side: str) -> str:
    """Where it is kept that we passed an opt-out on to that side: what it then says is our own word coming back."""
    return f"us>{side}"


def ticked(side: str) -> str:
    """Where it is kept that the tick in that side's field is ours: it says nothing of its own."""
    return f"tick>{side}"


def stated(
    person: int, type_: str, at_us: int, event_id: bytes, properties: Mapping[str, Any], side: str
) -> Said | None:
    """What an event says about consent; None when it says nothing."""
    if type_ == UNSUBSCRIBED:
        return Said(person, UNSUBSCRIBED, side, False, at_us, event_id)
    purpose, granted = properties.get("purpose"), properties.get("granted")
    if type_ != "consent_change" or not isinstance(purpose, str) or not isinstance(granted, bool):
        return None
    return Said(person, purpose, side, granted, at_us, event_id)


def latest(statements: Iterable[Said]) -> list[Said]:
    """One for each person, purpose and side: the same ones for any order and any repeats."""
    best: dict[tuple[int, str, str], Said] = {}
    for said in statements:
        key = said[:3]
        held = best.get(key)
        if held is None or held.order < said.order:
            best[key] = said
    return list(best.values())


@dataclass(frozen=True, slots=True)
class ConsentRules:
    """The purposes there are. `unsubscribes` are those that an e-mail's unsubscribe link withdraws."""

    purposes: Mapping[str, Basis] = field(default_factory=dict)
    unsubscribes: frozenset[str] = frozenset()

    def refusal(self, purpose: str, said: Sequence[Said]) -> str | None:
        """Why nothing may be written for this purpose to a person of whom all this was said; None when it may."""
        found = self.sides(purpose, said)
        if any(not one.granted for one in found):
            return f"{purpose} was withdrawn"
        if self.purposes[purpose] is Basis.CONSENT and not found:
            return f"no consent for {purpose}"
        return None

    def sides(self, purpose: str, said: Iterable[Said]) -> list[Said]:
        """What each side says of the purpose now, in order of their names."""
        meant = {purpose, UNSUBSCRIBED} if purpose in self.unsubscribes else {purpose}
        return sides([one for one in said if one.purpose in meant])


def sides(said: Sequence[Said]) -> list[Said]:
    """What each side says now, without what is only our own word coming back from it."""
    best: dict[str, Said] = {}
    for one in said:
        held = best.get(one.side)
        if held is None or held.order < one.order:
            best[one.side] = one
    ours = {name for name in best if name.startswith((told(""), ticked("")))}
    return [best[name] for name in sorted(best.keys() - ours) if not _echo(best[name], best.get(told(name)))]


def _echo(said: Said, passed_on: Said | None) -> bool:
    """A side that says `withdrawn` after we told it so. What it granted since has ended what we told it (the store)."""
    return passed_on is not None and not said.granted and said.at_us >= passed_on.at_us
