"""What the scheduler last did for each sync: the time it was due, and the run that answers for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from syncline.model import from_microseconds, microseconds
from syncline.store import schema
from syncline.store.batches import insert_new, upsert

__all__ = ["AGAIN", "BEGUN", "SEEN", "Turn", "begin", "end", "first_seen", "set_back", "turns"]

SEEN: Final = "seen"
"""Nothing was run yet: times after this one count."""
BEGUN: Final = "begun"
AGAIN: Final = "again"
"""Begun once more: the first run for this time was killed."""
_UNDER_WAY: Final = (BEGUN, AGAIN)


@dataclass(frozen=True, slots=True)
class Turn:
    """The latest time for which a sync was run, or is to count as if.

    `outcome` is that run's status once it is over, and one of the words above until then; `run_status` is what the run
    itself says, which may know more: a process can end between the two.
    """

    sync: str
    due: datetime
    run_id: str | None
    outcome: str | None
    run_status: str | None

    @property
    def interrupted(self) -> bool:
        return "interrupted" in (self.outcome, self.run_status)

    @property
    def cut_off(self) -> bool:
        """Its run was killed, if nobody holds the lease: it neither ended nor was interrupted."""
        return self.outcome in _UNDER_WAY and self.run_status in (None, "running", "killed")


def turns(connection: Connection) -> dict[str, Turn]:
    """Sync → its turn."""
    table, run = schema.schedule, schema.run
    query = select(table, run.c.status.label("run_status")).join_from(
        table, run, run.c.id == table.c.run_id, isouter=True
    )
    return {
        row.sync: Turn(row.sync, from_microseconds(row.due_us), row.run_id, row.outcome, row.run_status)
        for row in connection.execute(query)
    }


def first_seen(connection: Connection, times: Mapping[str, datetime]) -> None:
    """From now on these syncs have a turn. One that has got one meanwhile keeps it."""
    insert_new(connection, schema.schedule, [_row(sync, due, None, SEEN) for sync, due in times.items()])


def set_back(connection: Connection, turn: Turn, due: datetime) -> None:
    """Take a turn to an earlier time, unless it has changed meanwhile."""
    table = schema.schedule
    unchanged = (table.c.sync == turn.sync, table.c.due_us == microseconds(turn.due))
    connection.execute(update(table).where(*unchanged).values(due_us=microseconds(due), run_id=None, outcome=SEEN))


def begin(connection: Connection, times: Mapping[str, datetime], run_id: str, *, again: Iterable[str] = ()) -> None:
    """This run answers for these syncs, each at its time. Whoever calls holds the lease."""
    killed = set(again)
    rows = [_row(sync, due, run_id, AGAIN if sync in killed else BEGUN) for sync, due in times.items()]
    upsert(connection, schema.schedule, rows)


def end(connection: Connection, run_id: str, outcome: str) -> None:
    """The run is over, with this status."""
    table = schema.schedule
    connection.execute(update(table).where(table.c.run_id == run_id).values(outcome=outcome))


def _row(sync: str, due: datetime, run_id: str | None, outcome: str) -> dict[str, object]:
    return {"sync": sync, "due_us": microseconds(due), "run_id": run_id, "outcome": outcome}
