"""The mass-change guard: a run that would do more than it may stops before its first write, and asks."""

from __future__ import annotations

from collections.abc import Mapping

from syncline.errors import GuardError
from syncline.sync.course import Operations
from syncline.sync.plan import BY_ID
from syncline.sync.target import Target

__all__ = ["hold_to_guard"]


def hold_to_guard(target: Target, rows: Operations, clears: int) -> None:
    """GuardError when the plan for this CRM does more of something than its guard allows."""
    for what, count in _amounts(rows, clears).items():
        limit = getattr(target.guard, what, None)
        if limit is not None and count > limit:
            raise GuardError(
                f"{target.connection}: this run would make {count} {what}, the guard allows {limit}. Look at "
                f"`syncline plan`; if it is right, raise `guard: {{{what}: {count}}}` of the sync and run again"
            )


def _amounts(rows: Operations, clears: int) -> Mapping[str, int]:
    return {
        "creates": sum(n for (operation, _, match), n in rows.items() if operation == "upsert" and match != BY_ID),
        "clears": clears,
        "tasks": sum(n for (operation, _, _), n in rows.items() if operation == "task"),
        "removes": sum(n for (operation, _, _), n in rows.items() if operation == "remove"),
    }
