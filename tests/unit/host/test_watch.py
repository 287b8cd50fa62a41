"""What is around a run: it never fails one, and it knows what came too late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.contextvars import get_contextvars

from syncline.config import Config
from syncline.errors import StoreError
from syncline.host.schedule import Every
from syncline.host.watch import Watch, overdue
from syncline.store import alerts, schedules
from syncline.store.database import Database
from syncline.sync.report import Report

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
HOURLY = {"leads": Every(timedelta(hours=1))}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/state.db")
    yield made
    made.close()


def watch(database: Database, told: list[str], **more: str) -> Watch:
    config = Config.model_validate({"version": 1, "connections": {}, "syncs": [_sync("leads"), _sync("deals")]})

    def notify(title: str, text: str) -> bool:
        told.append(text)
        return True

    return Watch("run", lambda: database, config, {}, clock=lambda: NOW, notify=lambda: notify, **more)


def _sync(name: str) -> dict[str, object]:
    fields = {"Score": {"from": "person.email", "owner": "ours"}}
    return {"name": name, "to": "crm", "object": "Lead", "match": "Key", "fields": fields}


def test_a_sync_is_overdue_when_a_time_was_missed_by_more_than_an_hour(database: Database) -> None:
    def late(at: datetime) -> set[str]:
        return overdue(database, HOURLY, at)

    assert late(NOW) == set(), "never seen: it has no turn yet"
    with database.write() as connection:
        schedules.first_seen(connection, {"leads": NOW})
    assert late(NOW + timedelta(hours=1, minutes=59)) == set()
    assert late(NOW + timedelta(hours=2, minutes=1)) == {"leads"}, "the time at nine was missed"


def test_a_late_run_is_told_and_so_is_the_next_in_time(database: Database) -> None:
    told: list[str] = []
    with watch(database, told) as around:
        around.begins(Report(run_id="r1"), ["leads", "deals"], {"leads"})
    assert "leads: a run came more than an hour later" in told[0]
    with watch(database, told) as around:
        around.begins(Report(run_id="r2"), ["leads"])
    assert "leads: runs come when they are due again" in told[1]


def _dying(database: Database, told: list[str], error: Exception) -> None:
    with watch(database, told) as around:
        around.begins(Report(run_id="r1"), ["leads"])
        raise error


def test_a_run_of_one_due_sync_is_about_it(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        _dying(database, [], ZeroDivisionError())
    with database.read() as connection:
        assert [item.trouble for item in alerts.known(connection)] == [("failed", "leads")]


def test_nothing_is_kept_of_what_did_not_begin(database: Database) -> None:
    told: list[str] = []
    with watch(database, told):
        pass
    assert told == []


def test_books_that_cannot_be_kept_fail_no_run(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(database, "write", full)
    with watch(database, []) as around:
        around.begins(Report(run_id="r1"))
    assert "could not be kept or told (StoreError): the disk is full" in caplog.text
    assert get_contextvars() == {}


def test_a_store_in_trouble_is_told_once_as_long_as_it_keeps_that(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that keeps nothing cannot know whom it has told: the log and the exit code say it then."""
    told: list[str] = []
    for _ in range(2):
        with pytest.raises(StoreError):
            _dying(database, told, StoreError("locked for 30 seconds"))
    assert [text.partition("\n")[0] for text in told] == ["leads: a run ended with an error"]
    monkeypatch.setattr(database, "write", lambda: 1 // 0)
    with pytest.raises(StoreError):
        _dying(database, told, StoreError("the disk is full"))
    assert "could not be kept or told" in caplog.text
