"""The raw inbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from syncline.model import RawRecord
from syncline.store import cursors, inbox, schema
from syncline.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


def kept(database: Database, *keys: str) -> list[inbox.InboxRow]:
    parcels = inbox.pack("news", [RawRecord("activity", key, {"n": 1}) for key in keys])
    with database.write() as connection:
        return inbox.keep(connection, "news", parcels, run_id="run-1", at_us=5)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        pytest.param(
            ("a", RawRecord("s", "k", {"x": 1, "y": 2})),
            ("a", RawRecord("s", "k", {"y": 2, "x": 1})),
            True,
            id="key order",
        ),
        pytest.param(("a", RawRecord("s", "k", {"x": 1})), ("a", RawRecord("s", "k", {"x": 2})), False, id="payload"),
        pytest.param(("a", RawRecord("s", "k", {})), ("b", RawRecord("s", "k", {})), False, id="connection"),
        pytest.param(("a", RawRecord("s", "k", {})), ("a", RawRecord("t", "k", {})), False, id="stream"),
        pytest.param(("a", RawRecord("s", "k", {})), ("a", RawRecord("s", "l", {})), False, id="key"),
        pytest.param(("a", RawRecord("bc", "d", {})), ("ab", RawRecord("c", "d", {})), False, id="shifted"),
    ],
)
def test_digest_is_of_everything_that_makes_a_record(
    one: tuple[str, RawRecord], two: tuple[str, RawRecord], same: bool
) -> None:
    first, second = (inbox.pack(name, [record])[0].digest for name, record in (one, two))
    assert len(first) == 16
    assert (first == second) is same


def test_only_new_records_are_kept_in_their_order(database: Database) -> None:
    assert [row.record.key for row in kept(database, "b", "a", "b")] == ["b", "a"]
    assert [row.record.key for row in kept(database, "c", "a", "d")] == ["c", "d"]


def test_finished_records_no_longer_wait(database: Database) -> None:
    rows = kept(database, *"abcdef")
    ids = [row.id for row in rows]
    with database.write() as connection:
        inbox.finish(connection, [ids[0], ids[1], ids[3]], {ids[4]: "too old\0"})
    with database.read() as connection:
        assert [row.id for row in inbox.waiting(connection, "news", 10)] == [ids[2], ids[5]]
        assert [row.id for row in inbox.waiting(connection, "news", 1)] == [ids[2]]
        assert [(held.id, held.reason) for held in inbox.quarantined(connection)] == [(ids[4], "too old\\0")]
        statuses = dict(connection.execute(select(schema.raw.c.id, schema.raw.c.status)).all())
    done = schema.RAW_DONE
    assert [statuses[i] for i in ids] == [done, done, schema.RAW_NEW, done, schema.RAW_QUARANTINED, schema.RAW_NEW]


def test_looking_for_waiting_records_reads_the_partial_index(database: Database) -> None:
    """Millions of finished records must not cost the next pull anything."""
    plans = []
    with database.read() as connection:
        seen: list[str] = []
        connection.connection.driver_connection.set_trace_callback(seen.append)  # type: ignore[union-attr]
        inbox.waiting(connection, "news", 10)
        connection.connection.driver_connection.set_trace_callback(None)  # type: ignore[union-attr]
        statement = next(s for s in seen if s.startswith("SELECT"))
        plans = connection.execute(text(f"EXPLAIN QUERY PLAN {statement}")).all()
    assert any("USING INDEX raw_open" in str(plan) for plan in plans)


def test_cursor_is_remembered_overwritten_and_forgotten(database: Database) -> None:
    with database.write() as connection:
        assert cursors.load(connection, "news", "activity") is None
        for value in ("1", "2"):
            cursors.save(connection, "news", "activity", value, 5)
        assert cursors.load(connection, "news", "activity") == "2"
        assert cursors.load(connection, "news", "contacts") is None
        cursors.forget(connection, "news", "activity")
        assert cursors.load(connection, "news", "activity") is None
