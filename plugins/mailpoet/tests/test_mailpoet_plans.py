"""What the statements cost on a live site: plans of a real MariaDB, for the vendor's own tables and their indexes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from syncline.testing.population import simulated_now
from syncline_mailpoet import MailPoetConfig
from syncline_mailpoet.client import MailPoetDatabase
from syncline_mailpoet.cursor import TimeCursor
from syncline_mailpoet.statements import NEEDED

from .conftest import LOGIN, administrator

SHEET = Path(__file__).parents[4] / "shared" / "vendors" / "mailpoet_schema.sql"
PREFIX = "wp_mailpoet_"
ROWS = 20_000
NO_INDEX = {"statistics_clicks", "subscriber_segment"}
"""Their `updated_at` has none (sheet, §6): one scan a pull."""

pytestmark = pytest.mark.skipif(not SHEET.is_file(), reason="the vendor sheet's schema (shared/vendors) is not here")

FILLED = {
    "subscribers (email, updated_at)": "concat(seq, '@acme.example'), '2026-05-01' + INTERVAL seq SECOND",
    "subscriber_segment (subscriber_id, segment_id, updated_at)": "seq, 1, '2026-05-01' + INTERVAL seq SECOND",
    "statistics_opens (newsletter_id, subscriber_id, queue_id, user_agent_type, created_at)": (
        "1, seq, 1, seq % 3 = 0, '2026-05-01' + INTERVAL seq SECOND"
    ),
    "statistics_clicks (newsletter_id, subscriber_id, queue_id, link_id, count, updated_at)": (
        "1, seq, 1, seq % 50, 1, '2026-05-01' + INTERVAL seq SECOND"
    ),
    "statistics_unsubscribes (subscriber_id)": "seq",
    "statistics_forms (form_id, subscriber_id)": "1, seq",
    "statistics_bounces (newsletter_id, subscriber_id, queue_id)": "1, seq, 1",
    "newsletter_links (newsletter_id, queue_id, url, hash)": "1, 1, concat('https://x.example/', seq), seq",
}


@pytest.fixture(scope="module")
def database() -> Iterator[MailPoetDatabase]:
    """The sheet's tables, those we read well filled, and the connector's door to them."""
    connection = administrator()
    if connection is None:
        pytest.skip("no MariaDB answers on 127.0.0.1:3306 for the user root")
    name = f"mailpoet_plans_{secrets.token_hex(6)}"
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            cursor.execute(f"USE {name}")
            _fill(cursor)
            config = MailPoetConfig.model_validate({**LOGIN, "site": "blog.example", "name": name})
            yield MailPoetDatabase(config, "blog", simulated_now, Path())
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def _fill(cursor: Any) -> None:
    lines = [line for line in SHEET.read_text("utf-8").splitlines() if not line.startswith("--")]
    for statement in "\n".join(lines).split(";\n"):
        if any(f"`{PREFIX}{name}`" in statement for name in NEEDED):
            cursor.execute(statement)
    for into, values in FILLED.items():
        cursor.execute(f"INSERT INTO {PREFIX}{into} SELECT {values} FROM seq_1_to_{ROWS}")  # noqa: S608  # ours
        cursor.execute(f"ANALYZE TABLE {PREFIX}{into.split()[0]}")
        cursor.fetchall()


def _plans(database, act):
    """(table, how it is read, rows looked at, what else) of every statement of ours about a site's tables."""
    found = []

    def explain(_connection, cursor, statement, parameters, _context, _many):
        if PREFIX in statement and "WHERE false" not in statement:
            cursor.execute(f"EXPLAIN {statement}", parameters)
            found.extend((row[2], row[3], int(row[8]), row[9]) for row in cursor.fetchall() if row[2])

    event.listen(database._engine, "before_cursor_execute", explain)
    act()
    event.remove(database._engine, "before_cursor_execute", explain)
    return found


LATE = TimeCursor(of="x", at="2026-05-01 05:30:00", id=3)


@pytest.mark.parametrize(
    "act",
    [
        *[
            (lambda d, s=s: d.rows_after_id(s, ROWS - 100))
            for s in ("opens", "clicks", "lists", "subscribers", "forms")
        ],
        lambda d: d.rows_after_id("unsubscribes", ROWS - 100),
        lambda d: d.rows_after_time("subscribers", LATE),
        lambda d: d.people_in_block(5_000, ROWS),
    ],
    ids=[*("opens", "clicks", "lists", "subscribers", "forms"), "unsubscribes", "touched", "a block"],
)
def test_a_page_is_found_by_an_index(database, act):
    plans = _plans(database, lambda: act(database))
    assert plans
    assert {how for _, how, *_ in plans} <= {"range", "ref", "eq_ref", "const"}, plans
    assert not any("filesort" in more or "temporary" in more for *_, more in plans), plans
    assert sum(rows for _, _, rows, _ in plans) < ROWS / 2


def test_the_last_row_that_was_read_is_found_by_its_number(database):
    """The first row backwards is the one, however many the plan fears."""
    ((_, how, *_),) = _plans(database, lambda: database.last_until("opens", ROWS - 5))
    assert how == "range"


@pytest.mark.parametrize("stream", ["clicks", "lists"])
def test_a_table_without_that_index_is_scanned_once_and_joined_by_keys(database, stream):
    (main, *joined) = _plans(database, lambda: database.rows_after_time(stream, LATE))
    assert main[0].removeprefix(PREFIX) in NO_INDEX
    assert main[1] == "ALL"
    assert {how for _, how, *_ in joined} == {"eq_ref"}


def test_blocks_are_added_up_from_the_machine_window_on(database, monkeypatch):
    plans = _plans(database, database.open_blocks)
    assert {how for _, how, *_ in plans} <= {"range", "index"}, plans
