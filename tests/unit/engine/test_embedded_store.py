"""The embedded engine and the state database it reads."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from syncline.engine import embedded
from syncline.engine.embedded import assess_all
from syncline.model import microseconds
from syncline.scoring.log import LoggedEvent
from syncline.scoring.model import parse_model
from syncline.scoring.presets import names, preset
from syncline.scoring.program import Program
from syncline.scoring.reference import assess
from syncline.store import schema

AS_OF = datetime(2024, 5, 27, 12, tzinfo=UTC)
PROGRAM = Program({name: parse_model(preset(name), name=name) for name in names()}, {})
COUNT = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from person').fetchone()[0])"


def _log(person, size):
    times = (AS_OF - timedelta(hours=7 * n + person) for n in range(size))
    kinds = [("page_visit", {"page_type": "pricing"}), ("email_open", {}), ("content_download", {})]
    return [
        LoggedEvent(f"{person * 1000 + n:032x}", kinds[n % 3][0], microseconds(t), False, kinds[n % 3][1])
        for n, t in enumerate(times)
    ]


@pytest.fixture
def logs(fill):
    found = {person: _log(person, person % 7) for person in (*range(1, 40), 5000)}
    fill(found)
    return found


@pytest.fixture
def expected(logs, without_events):
    return {person: without_events(assess(PROGRAM, person, log, {}, AS_OF)) for person, log in logs.items()}


def test_everyone_is_assessed_in_order_also_without_events(database, expected):
    assert list(assess_all(PROGRAM, database, AS_OF)) == list(expected.values())


def test_only_the_people_asked_for_are_assessed(database, expected):
    found = list(assess_all(PROGRAM, database, AS_OF, people=[5000, 3, 7, 3, 77]))
    assert found == [expected[3], expected[7], expected[5000]]
    assert list(assess_all(PROGRAM, database, AS_OF, people=[])) == []


@pytest.mark.parametrize(("people", "events"), [(3, 10**6), (10**6, 5), (1, 1)], ids=["people", "events", "one by one"])
def test_batches_do_not_change_the_result(people, events, database, expected, monkeypatch):
    monkeypatch.setattr(embedded, "_PEOPLE", people)
    monkeypatch.setattr(embedded, "_EVENTS", events)
    assert list(assess_all(PROGRAM, database, AS_OF)) == list(expected.values())


def test_merged_people_are_left_out(database, expected):
    with database.write() as connection:
        connection.execute(update(schema.person).where(schema.person.c.id == 3).values(merged_into=4))
    assert [found.person_id for found in assess_all(PROGRAM, database, AS_OF)] == [p for p in expected if p != 3]


def test_an_empty_store_has_nobody_to_assess(database, fill):
    fill({})
    assert list(assess_all(PROGRAM, database, AS_OF)) == []


def test_a_program_without_scores_and_segments_still_tells_the_last_event(database, logs):
    found = {a.person_id: a for a in assess_all(Program({}, {}), database, AS_OF)}
    assert found[1].last_event_type == "page_visit"
    assert found[1].last_event_us == microseconds(AS_OF - timedelta(hours=1))
    assert found[7].last_event_type is None


def test_the_store_can_be_written_while_it_is_read(database, expected):
    """The reader keeps its view, and what is written meanwhile is there for everybody else at once."""
    assessments = assess_all(PROGRAM, database, AS_OF)
    found = [next(assessments)]
    with database.write() as connection:
        connection.execute(insert(schema.person).values(id=9000, key="9000", created_us=0))
    found += assessments
    assert found == list(expected.values())
    with database.write() as connection:
        connection.execute(insert(schema.person).values(id=9001, key="9001", created_us=0))
    seen = subprocess.run(
        [sys.executable, "-c", COUNT, str(database.url.database)], capture_output=True, text=True, check=True
    )
    assert int(seen.stdout) == len(expected) + 2
