"""What happens in the account after the seed, one kind a function: the story is replayed from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from syncline_mailchimp.simulator.world import Act, Subscriber, World, subscriber_hash

__all__ = ["ATTRIBUTES", "happen"]

Happening = Mapping[str, Any]

ATTRIBUTES: Final[Mapping[str, str]] = {"FNAME": "first_name", "LNAME": "last_name", "COMPANY": "company"}
"""Merge tag → attribute of a Subscriber; all other tags are in its `fields`."""


def happen(world: World, happening: Happening) -> None:
    """Apply one thing that happened."""
    _KINDS[happening["what"]](world, happening)


def _act(world: World, happening: Happening) -> None:
    act = Act(
        happening["action"], _at(happening), happening["url"], happening["kind"], happening["machine"], "198.51.100.9"
    )
    world.campaigns[happening["campaign"]].add(_who(happening), act)


def _unsubscribe(world: World, happening: Happening) -> None:
    who, at = _who(happening), _at(happening)
    if happening["campaign"]:
        world.campaigns[happening["campaign"]].leave(who, at, happening["reason"])
    world.subscribers[who] = replace(
        world.subscribers[who], changed=at, status="unsubscribed", reason=happening["reason"]
    )


def _change(world: World, happening: Happening) -> None:
    who = _who(happening)
    world.subscribers[who] = replace(world.subscribers[who], changed=_at(happening), **happening["changes"])


def _merge(world: World, happening: Happening) -> None:
    """Set merge fields; what is not named stays."""
    who = _who(happening)
    one, values = world.subscribers[who], happening["fields"]
    known = {ATTRIBUTES[tag]: value for tag, value in values.items() if tag in ATTRIBUTES}
    others = {**one.fields, **{tag: value for tag, value in values.items() if tag not in ATTRIBUTES}}
    world.subscribers[who] = replace(one, changed=_at(happening), fields=others, **known)


def _join(world: World, happening: Happening) -> None:
    """A new member, or one who was here before and comes back."""
    who, at = _who(happening), _at(happening)
    before = world.subscribers.get(who)
    signed_up = at if happening["by_form"] else None
    if before is not None:
        world.subscribers[who] = replace(
            before, status=happening["status"], reason=None, changed=at, opted_in=at, signed_up=signed_up
        )
        return
    joined = Subscriber(
        hash=who,
        email=happening["email"],
        first_name="",
        last_name="",
        company="",
        number=1 + max((one.number for one in world.subscribers.values()), default=-1),
        opted_in=at,
        signed_up=signed_up,
        changed=at,
        source="Embed Form" if happening["by_form"] else "API - Generic",
        contact_id=subscriber_hash(f"{who}{happening['at']}"),  # another than that of an erased namesake
        status=happening["status"],
    )
    world.put(joined)


def _rename(world: World, happening: Happening) -> None:
    before, after = _who(happening), subscriber_hash(happening["new_email"])
    one = world.drop(before)
    world.put(replace(one, hash=after, email=happening["new_email"], changed=_at(happening)))
    for campaign in world.campaigns.values():
        campaign.rename(before, after)


def _erase(world: World, happening: Happening) -> None:
    world.drop(_who(happening))
    for campaign in world.campaigns.values():
        campaign.forget(_who(happening))


_KINDS: Final[Mapping[str, Callable[[World, Happening], None]]] = {
    "act": _act,
    "unsubscribe": _unsubscribe,
    "change": _change,
    "merge": _merge,
    "join": _join,
    "rename": _rename,
    "erase": _erase,
}


def _who(happening: Happening) -> str:
    return subscriber_hash(happening["email"])


def _at(happening: Happening) -> datetime:
    return datetime.fromisoformat(happening["at"]).astimezone(UTC)
