"""The embedded engine: DuckDB in memory, fed from the state database in batches of people."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import duckdb
import pyarrow as pa

from syncline.engine import extract
from syncline.engine.compile import CompiledProgram, compile_program
from syncline.errors import ConfigError
from syncline.model import microseconds
from syncline.scoring.program import Program
from syncline.scoring.result import Assessment
from syncline.store.database import Database

__all__ = ["assess_all"]

_EVENTS: Final = 200_000
_PEOPLE: Final = 20_000
"""How much one batch takes in at most; a person is never split."""


def assess_all(
    program: Program,
    database: Database,
    as_of: datetime,
    *,
    people: Sequence[int] | None = None,
    memory_limit: str = "512MB",
) -> Iterator[Assessment]:
    """An Assessment of everyone (or of these people), in order of person id, also of those without events.

    Contributions carry no event ids; the reference evaluator gives them for one person. Memory stays bounded: people
    come in batches, and what a batch cannot hold in `memory_limit` is spilled to a temporary directory.
    """
    as_of_us = microseconds(as_of)
    with extract.reader(database) as read, _engine(memory_limit) as engine:
        first = read(extract.first_event(as_of_us), _FIRST)["first"][0].as_py()
        compiled = compile_program(program, as_of_us, first)
        for ids in _batches(read, people):
            tables = _tables(read, program, database, ids, as_of_us)
            yield from compiled.assessments(_assess(engine, compiled, tables))


def _batches(read: extract.Reader, only: Sequence[int] | None) -> Iterator[list[int]]:
    """People in order, few enough for one batch; nobody is split."""
    if only is None:
        yield from _cut(read(extract.people(None), _PERSON))
        return
    wanted = sorted(set(only))
    for start in range(0, len(wanted), _PEOPLE):
        yield from _cut(read(extract.people(wanted[start : start + _PEOPLE]), _PERSON))


def _cut(table: pa.Table) -> Iterator[list[int]]:
    ids: list[int] = []
    events = 0
    for batch in table.to_batches(max_chunksize=_PEOPLE):
        for person, count in zip(batch["id"].to_pylist(), batch["events"].to_pylist(), strict=True):
            if ids and (events + count > _EVENTS or len(ids) >= _PEOPLE):
                yield ids
                ids, events = [], 0
            ids.append(person)
            events += count
    if ids:
        yield ids


def _tables(
    read: extract.Reader, program: Program, database: Database, ids: list[int], as_of_us: int
) -> dict[str, pa.Table]:
    found = {"people": pa.table({"person_id": pa.array(ids, pa.int64())})}
    found["log"] = read(extract.events(program, database, ids, as_of_us), _log_types(program))
    if program.attributes:
        found["profile"] = read(extract.profiles(program, ids), _PROFILE)
    return found


_FIRST: Final = pa.schema([("first", pa.int64())])
_PERSON: Final = pa.schema([("id", pa.int64()), ("events", pa.int64())])
_PROFILE: Final = pa.schema([("person_id", pa.int64()), ("name", pa.string()), ("value", pa.string())])
_EVENT: Final = (
    ("person_id", pa.int64()),
    ("type", pa.string()),
    ("t_us", pa.int64()),
    ("machine", pa.int64()),
    ("id", pa.binary()),
)
_TYPES: Final = {"text": pa.string(), "number": pa.float64(), "boolean": pa.int64()}


def _log_types(program: Program) -> pa.Schema:
    properties = ((f"c{index}", _TYPES[prop.type]) for index, prop in enumerate(program.columns))
    return pa.schema([*_EVENT, *properties])


@contextlib.contextmanager
def _engine(memory_limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory(prefix="syncline-") as spill:
        settings: dict[str, Any] = {
            "memory_limit": memory_limit,
            "threads": 2,
            "preserve_insertion_order": False,
            "temp_directory": spill,
        }
        with duckdb.connect(":memory:", config=settings) as connection:
            yield connection


def _assess(
    engine: duckdb.DuckDBPyConnection, compiled: CompiledProgram, tables: dict[str, pa.Table]
) -> list[tuple[Any, ...]]:
    for name, table in tables.items():
        engine.register(name, table)
    try:
        return engine.execute(compiled.sql).fetchall()
    except (duckdb.OutOfRangeException, duckdb.ConversionException) as error:
        raise ConfigError(
            "a number in a score grows beyond 1.7e38 / 1e12: a multiplication or a division in a model is too large; "
            f"cap its signals or divide first ({error})"
        ) from error
    finally:
        for name in tables:
            engine.unregister(name)
