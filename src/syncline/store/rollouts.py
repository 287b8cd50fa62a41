"""How far the first runs into each CRM have got."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, func, select

from syncline.store import schema
from syncline.store.batches import upsert

__all__ = ["Stage", "Standing", "creations", "forget", "put_rollout", "rollout"]

Stage = Literal["match", "updates", "creates", "whole"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The stage reached, and of `creates` the wave that is next, from 0."""

    stage: Stage
    wave: int = 0


def rollout(connection: Connection, name: str) -> Standing | None:
    """None for a CRM that no run has been stored for."""
    table = schema.rollout
    row = connection.execute(select(table.c.stage, table.c.wave).where(table.c.connection == name)).first()
    return None if row is None else Standing(row.stage, row.wave)


def put_rollout(connection: Connection, name: str, standing: Standing, at_us: int) -> None:
    row = {"connection": name, "stage": standing.stage, "wave": standing.wave, "since_us": at_us}
    upsert(connection, schema.rollout, [row])


def creations(connection: Connection, run_id: str, name: str, by_id: str) -> Counter[str]:
    """Status → how many records a run was to create; `by_id` is the match of those it was to update."""
    table = schema.outbox
    mine = (table.c.run_id == run_id, table.c.connection == name)
    new = (table.c.operation == "upsert", table.c.match != by_id)
    counted = select(table.c.status, func.count().label("rows")).where(*mine, *new).group_by(table.c.status)
    rows = connection.execute(counted)
    return Counter({row.status: row.rows for row in rows})


def forget(connection: Connection, name: str) -> None:
    """As if nothing had ever been written there."""
    table = schema.rollout
    connection.execute(delete(table).where(table.c.connection == name))
