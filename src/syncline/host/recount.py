"""One run, told again from the store: what was planned, what became of every row, and whether the numbers add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from syncline.errors import ConfigError, did_you_mean
from syncline.model import from_microseconds
from syncline.store import books, runs
from syncline.store.books import Outcomes, RunRow
from syncline.store.profiles import profiles
from syncline.sync.outbox import change_of
from syncline.sync.plan import BY_ID
from syncline.sync.report import RecordChange

__all__ = ["LATEST", "Recount", "Row", "Sum", "recount"]

LATEST: Final = "latest"

_OPEN: Final = ("pending", "sent")
_OUTCOMES: Final = ("created", "updated", "unchanged", "rejected", "retry", "waiting", "withheld", "abandoned", *_OPEN)
_ACCEPTED: Final = ("created", "updated", "unchanged")
_RECORDS: Final = ("create", "update")
_TOLD: Final = ("created", "updated", "rejected", "retry", "tasks", "members", "closed")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Sum(_Model):
    """What must be equal: `total` of the one book is `parts` of the other, together."""

    about: str
    what: str
    total: int
    parts: dict[str, int]
    holds: bool


class Row(RecordChange):
    """One row of a run: a change, and where it went. `person` is our key of the person here, of tasks as well."""

    connection: str


class Recount(_Model):
    """A run. `rows` are those asked for; `found` is how many there are of that kind."""

    run_id: str
    status: str
    started: datetime
    finished: datetime | None
    as_of: datetime
    sync: str | None = Field(description="the syncs it was about; none: all of them")
    person: str | None = Field(description="whom it was for; none: everyone")
    undoes: str | None
    adds_up: list[Sum]
    outcomes: dict[str, dict[str, dict[str, int]]] = Field(description="connection -> operation -> outcome -> rows")
    found: int
    rows: list[Row]
    report: dict[str, Any] | None = Field(description="as it was printed, but for the rows; none if it was killed")


def recount(
    connection: Connection,
    run_id: str,
    *,
    name: str | None = None,
    outcome: str | None = None,
    limit: int | None = None,
) -> Recount:
    """ConfigError when there is no such run; `latest` is the newest. Rows can be chosen by connection and outcome."""
    run = _run(connection, run_id)
    outcomes = books.outcomes(connection, run.id, BY_ID)
    _known(name, {found.connection for found in outcomes}, "wrote to no connection")
    _known(outcome, {found.status for found in outcomes}, "has no row with the outcome")
    wanted = [f for f in outcomes if name in (None, f.connection) and outcome in (None, f.status)]
    report = json.loads(run.report) if run.report else None
    return Recount(
        run_id=run.id,
        status=run.status,
        started=from_microseconds(run.started_us),
        finished=None if run.finished_us is None else from_microseconds(run.finished_us),
        as_of=from_microseconds(run.as_of_us),
        sync=run.sync,
        person=run.person,
        undoes=run.undoes,
        adds_up=list(_sums(report or {}, outcomes)),
        outcomes=_table(outcomes),
        found=sum(found.rows for found in wanted),
        rows=_rows(connection, run.id, sorted({found.connection for found in wanted}), outcome, limit),
        report=report,
    )


def _run(connection: Connection, run_id: str) -> RunRow:
    ids = books.run_ids(connection)
    wanted = ids[0] if run_id == LATEST and ids else run_id
    run = books.run(connection, wanted)
    if run is None:
        raise ConfigError(f"there is no run {run_id!r}; {did_you_mean(run_id, ids)}. `syncline runs` lists them")
    return run


def _known(word: str | None, there: Iterable[str], none: str) -> None:
    if word is not None and word not in there:
        raise ConfigError(f"the run {none} {word!r}; {did_you_mean(word, there)}")


# What must be equal


def _sums(report: Mapping[str, Any], outcomes: Sequence[Outcomes]) -> Iterator[Sum]:
    for name, source in report.get("sources", {}).items():
        yield _sum(name, "records read", source["read"], _picked(source, ("stored", "duplicate", "quarantined")))
    for name, sink in report.get("sinks", {}).items():
        mine = [found for found in outcomes if found.connection == name]
        planned = sink.get("planned_writes")
        if planned is None or (planned and not mine):  # from an older version, or its rows are no longer kept
            continue
        yield _sum(name, "rows planned", planned, _by_outcome(mine))
        told = _picked(sink, _TOLD)
        yield _sum(name, "rows answered", _answered(mine), told)


def _sum(about: str, what: str, total: int, parts: dict[str, int]) -> Sum:
    return Sum(about=about, what=what, total=total, parts=parts, holds=total == sum(parts.values()))


def _picked(part: Mapping[str, Any], names: Iterable[str]) -> dict[str, int]:
    return {name: part.get(name, 0) for name in names}


def _by_outcome(outcomes: Sequence[Outcomes]) -> dict[str, int]:
    counted = Counter[str]()
    for found in outcomes:
        counted[found.status] += found.rows
    return {status: counted[status] for status in (*_OUTCOMES, *sorted(counted.keys() - set(_OUTCOMES)))}


def _answered(outcomes: Sequence[Outcomes]) -> int:
    """Rows the CRM has answered, but for records it says were so already: the report counts those with all others."""
    return sum(
        found.rows
        for found in outcomes
        if found.status in ("rejected", "retry")
        or (found.status in _ACCEPTED and not (found.operation in _RECORDS and found.status == "unchanged"))
    )


def _table(outcomes: Sequence[Outcomes]) -> dict[str, dict[str, dict[str, int]]]:
    table: dict[str, dict[str, dict[str, int]]] = {}
    for found in outcomes:
        table.setdefault(found.connection, {}).setdefault(found.operation, {})[found.status] = found.rows
    return table


# Row by row


def _rows(
    connection: Connection, run_id: str, names: Sequence[str], outcome: str | None, limit: int | None
) -> list[Row]:
    found = (
        (name, row, status, reason)
        for name in names
        for row, status, reason in runs.written(connection, run_id, name)
        if outcome in (None, status)
    )
    rows = list(islice(found, limit))
    known = profiles(connection, {row.person_id for _, row, _, _ in rows})
    made = []
    for name, row, status, reason in rows:
        change = change_of(row, status, reason)
        person = known[row.person_id].key if row.person_id in known else change.person
        made.append(Row(connection=name, **{**dict(change), "person": person}))
    return made
