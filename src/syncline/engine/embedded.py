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
        first = read(extract.first_event(as_of_us))["first"][0].as_py()
        compiled = compile_program(program, as_of_us, int(first))
        for ids in _batches(read, people):
            yield from compiled.assessments(
                _assess(engine, compiled, _tables(read, program, database, ids, as_of_us, people))
            )


def _batches(read: extract.Reader, only: Sequence[int] | None) -> Iterator[list[int]]:
    wanted = None if only is None else sorted(set(only))
    for start in range(0, 1 if wanted is None else len(wanted), _PEOPLE):
        found = read(extract.people(None if wanted is None else wanted[start : start + _PEOPLE]))
        yield from _cut(found)


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
    read: extract.Reader,
    program: Program,
    database: Database,
    ids: list[int],
    as_of_us: int,
    only: Sequence[int] | None,
) -> dict[str, pa.Table]:
    dense = only is None
    tables = {"people": pa.table({"person_id": pa.array(ids, pa.int64())})}
    tables["log"] = _typed(read(extract.events(program, database, ids, as_of_us, dense=dense)), _log_schema(program))
    if program.attributes:
        tables["profile"] = _typed(read(extract.profiles(program, ids, dense=dense)), _PROFILE)
    return tables


_PROFILE: Final = pa.schema([("person_id", pa.int64()), ("name", pa.string()), ("value", pa.string())])
_TYPES: Final = {"text": pa.string(), "number": pa.float64(), "boolean": pa.int64()}


def _log_schema(program: Program) -> pa.Schema:
    own = [("person_id", pa.int64()), ("type", pa.string()), ("t_us", pa.int64()), ("machine", pa.int64())]
    properties = [(f"c{index}", _TYPES[prop.type]) for index, prop in enumerate(program.columns)]
    return pa.schema([*own, ("id", pa.binary()), *properties])


def _typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """An empty result has no types of its own."""
    return table.cast(schema) if table.num_rows else schema.empty_table()


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
