"""Sums over all runs there ever were, whichever process made them: they only grow, though runs are forgotten in time.

One JSON object under the name `totals` in `meta`: name of the sum → labels → number. What the sums mean is for those to
know who add to them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, select

from syncline.store import schema
from syncline.store.batches import insert_new, upsert

__all__ = ["Key", "Totals", "add", "load"]

Key = tuple[str, ...]
"""The sum's name, then the values of its labels."""

_NAME: Final = "totals"


@dataclass(slots=True)
class Totals:
    """Sums by their keys; and `latest`, the last time something was so, in microseconds."""

    sums: dict[Key, float] = field(default_factory=dict)
    latest: dict[Key, int] = field(default_factory=dict)

    def count(self, key: Key, amount: float = 1) -> None:
        """Add to one sum. A sum of nothing is there as well: a 0 is worth knowing."""
        self.sums[key] = self.sums.get(key, 0) + amount

    def note(self, key: Key, at_us: int) -> None:
        """It was so at that time, at the latest."""
        self.latest[key] = max(at_us, self.latest.get(key, at_us))


def load(connection: Connection) -> Totals:
    """The sums as they are; empty before the first run."""
    found = connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == _NAME)).scalar_one_or_none()
    return _parsed(found)


def add(connection: Connection, more: Totals) -> None:
    """Add to the sums, and move the times forward. Inside a transaction that writes."""
    insert_new(connection, schema.meta, [{"name": _NAME, "value": "[[],[]]"}])
    held = select(schema.meta.c.value).where(schema.meta.c.name == _NAME).with_for_update()
    totals = _parsed(connection.execute(held).scalar_one())
    for key, amount in more.sums.items():
        totals.count(key, amount)
    for key, at_us in more.latest.items():
        totals.note(key, at_us)
    upsert(connection, schema.meta, [{"name": _NAME, "value": _written(totals)}])


def _parsed(text: str | None) -> Totals:
    sums, latest = json.loads(text or "[[],[]]")
    return Totals({tuple(key): amount for key, amount in sums}, {tuple(key): at_us for key, at_us in latest})


def _written(totals: Totals) -> str:
    sums = [[list(key), amount] for key, amount in sorted(totals.sums.items())]
    return json.dumps([sums, [[list(key), at_us] for key, at_us in sorted(totals.latest.items())]])
