"""What can be seen of runs afterwards, from any process: alerts, status, the recount, metrics, the log, a trace."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert
from structlog.contextvars import get_contextvars

from syncline.cli.logs import kept_private
from syncline.errors import AuthError, BusyError, ConfigError, TransientError
from syncline.host.lease import hold
from syncline.model import Status
from syncline.server.metrics import exposition
from syncline.store import schema
from syncline.testing.memory import MemorySink

ADA = "ada@acme.example"


class People:
    """Whoever is told. While `deaf`, nothing gets through; `broken`: the notifier itself fails."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.deaf = self.broken = False

    def __call__(self, title: str, text: str) -> bool:
        if self.broken:
            raise ZeroDivisionError
        if not self.deaf:
            self.told.append(f"{title}\n{text}")
        return not self.deaf


@pytest.fixture
def people() -> People:
    return People()


def run(lab: Any, people: People | None = None, **options: Any) -> Any:
    with lab.host(notify=people) as host:
        return host.run(**options)


def figures(lab: Any) -> dict[tuple[str, ...], float]:
    """Every sample: its name and the values of its labels → its value."""
    with lab.host() as host:
        text = exposition(host).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def revoked(lab: Any, times: int | None = None) -> None:
    lab.world.fail_call("upsert", AuthError(f"the token of {ADA} was revoked"), times=times)


# Alerts


def test_refused_credentials_are_told_once_and_once_more_when_they_are_mended(lab: Any, people: People) -> None:
    lab.points(ADA, 50)
    revoked(lab, times=3)
    for _ in range(3):
        assert run(lab, people).status == "paused"
        lab.later()
    [first] = people.told
    assert "crm: the vendor refuses our credentials" in first
    assert "`syncline check --live`" in first
    [row] = lab.rows("alert")
    assert (row["kind"], row["subject"], row["times"]) == ("credentials", "crm", 3)
    assert run(lab, people).status == "done"
    assert "crm: the credentials are accepted again (met 3 times)" in people.told[1]
    assert lab.rows("alert") == []
    run(lab, people)
    assert len(people.told) == 2
    assert "ada" not in "".join(people.told)


def test_whoever_could_not_be_told_is_told_after_the_next_run(
    lab: Any, people: People, caplog: pytest.LogCaptureFixture
) -> None:
    lab.points(ADA, 50)
    revoked(lab)
    people.deaf = True
    assert run(lab, people).status == "paused", "it fails no run"
    assert "nobody could be told" in caplog.text
    people.deaf, people.broken = False, True
    assert run(lab, people).status == "paused"
    assert "could not be kept or told (ZeroDivisionError)" in caplog.text
    people.broken = False
    run(lab, people)
    assert len(people.told) == 1
    assert people.told[0].startswith("syncline: trouble: 1 new")


def test_a_run_that_dies_is_told_and_so_is_the_next_that_does_not(
    lab: Any, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.points(ADA, 50)
    with monkeypatch.context() as patch:
        patch.setattr(MemorySink, "upsert", lambda *_: 1 // 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                run(lab, people)
            lab.later()
    assert [text.count("a run ended with an error") for text in people.told] == [1]
    run(lab, people)
    assert "a run came to its end again" in people.told[1]


def test_a_killed_run_is_told_by_the_next(lab: Any, people: People) -> None:
    run(lab, people)
    with lab.host() as host, host.database.write() as connection:
        killed = {"id": "r0", "started_us": 1, "as_of_us": 1, "status": "running", "sync": "leads"}
        connection.execute(insert(schema.run).values(**killed))
        row = {"run_id": "r0", "connection": "crm", "operation": "task", "object": "", "key": "k", "person_id": 1}
        row |= {"match": "", "rank": 0, "payload": "{}", "status": "created"}
        connection.execute(insert(schema.outbox).values(**row))
    lab.later()
    run(lab, people)
    assert "leads: a run was killed before its end" in people.told[0]
    lab.later()
    run(lab, people)
    assert "leads: a run came to its end again" in people.told[1]
    found = figures(lab)
    assert found["syncline_runs_total", "killed"] == 1
    assert found["syncline_writes_total", "crm", "task", "created"] == 1, "what it wrote was written"


def test_dead_letters_are_told_when_there_are_some_and_when_there_are_none(lab: Any, people: People) -> None:
    lab.points(ADA, 50)
    lab.world.fail_record(lab.keys()[ADA], reason="the address is malformed")
    for _ in range(2):
        run(lab, people)
        lab.later()
    assert ["the CRM has refused records" in text for text in people.told] == [True]
    assert "malformed" not in people.told[0]
    lab.world.heal()
    run(lab, people)
    assert "the CRM has accepted all records" in people.told[1]


def test_what_somebody_mistyped_concerns_nobody_else(lab: Any, people: People) -> None:
    for mistyped in ({"sync": "leeds"}, {"person": "nobody@acme.example"}):
        with pytest.raises(ConfigError):
            run(lab, people, **mistyped)
    assert (people.told, lab.rows("alert")) == ([], [])


def test_nobody_is_told_of_a_run_that_waited_for_another(lab: Any, people: People) -> None:
    with (
        lab.host(notify=people) as host,
        hold(host.database, "run", lambda: datetime.now(UTC)),
        pytest.raises(BusyError, match="another run is active"),
    ):
        host.run()
    assert (people.told, lab.rows("alert")) == ([], [])


def test_only_the_kinds_that_are_wanted_are_told(lab: Any, people: People) -> None:
    lab.data["alerts"] = {"on": ["guard"]}
    lab.points(ADA, 50)
    revoked(lab, times=1)
    run(lab, people)
    assert people.told == []
    lab.crowd(3)
    lab.sync["guard"] = {"creates": 2}
    run(lab, people)
    assert "crm: a guard stopped the run" in people.told[0]


# Status


def test_when_all_is_well_nobody_is_needed(lab: Any) -> None:
    lab.points(ADA, 50)
    report = run(lab)
    with lab.host() as host:
        status = host.status()
    assert (status.needs, status.exit_code, status.running) == ([], 0, [])
    assert status.syncs["leads"].last is not None
    assert status.syncs["leads"].last.run_id == report.run_id
    assert status.syncs["leads"].last_success == lab.now
    assert {name: part.last_success for name, part in status.connections.items()} == {"shop": lab.now, "crm": lab.now}


def test_before_the_first_run_there_is_nothing_to_say(lab: Any) -> None:
    with lab.host() as host:
        status = host.status()
    assert (status.last, status.syncs["leads"].last, status.exit_code) == (None, None, 0)


def test_who_is_needed_and_for_what(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.world.fail_record(lab.keys()[ADA], reason="the address is malformed")
    lab.world.put("Lead", {"Email": "eve@acme.example"})
    lab.world.put("Lead", {"Email": "eve@acme.example"})
    lab.points("eve@acme.example", 50)
    lab.world.happened("broken", "page_wisit", lab.now, email="bob@acme.example")
    run(lab)
    with lab.host() as host:
        status = host.status()
        assert status.exit_code == 3
        assert {(need.about, need.command) for need in status.needs} == {
            ("crm", "syncline conflicts"),
            ("crm", "syncline dead-letters list"),
            ("shop", "syncline quarantine"),
        }
        waits = status.connections["crm"].waits
        assert (waits.conflicts, waits.dead_letters, status.connections["shop"].waits.quarantined) == (1, 1, 1)
        host.pause("crm", "the sales meeting")
        status = host.status()
    assert (status.exit_code, status.needs[0].command) == (4, "syncline resume crm")
    assert status.connections["crm"].paused is not None


def test_a_pause_that_ends_by_itself_needs_nobody(lab: Any) -> None:
    run(lab)
    until = lab.now + timedelta(hours=1)
    with lab.host() as host:
        with host.database.write() as connection:
            since, end = (int(moment.timestamp() * 1e6) for moment in (lab.now, until))
            row = {"connection": "crm", "kind": "quota", "reason": "used up", "since_us": since, "until_us": end}
            connection.execute(insert(schema.pause).values(**row))
        status = host.status()
        assert status.exit_code == 0
        assert status.connections["crm"].paused is not None
        assert status.connections["crm"].paused.until == until
        lab.later(2)
        assert host.status().connections["crm"].paused is None


def test_refused_credentials_need_somebody_until_they_are_mended(lab: Any) -> None:
    lab.points(ADA, 50)
    revoked(lab, times=1)
    run(lab)
    with lab.host() as host:
        assert host.status().exit_code == 4
        lab.later()
        host.run()
        assert host.status().exit_code == 0


def test_what_runs_now_and_what_comes_next(lab: Any) -> None:
    lab.sync["every"] = "1h"
    with lab.host() as host, hold(host.database, "run", lambda: datetime.now(UTC)):
        status = host.status()
    [running] = status.running
    assert running.believed_until > datetime.now(UTC)
    assert status.syncs["leads"].next is not None
    assert timedelta(0) < status.syncs["leads"].next - datetime.now(UTC) <= timedelta(hours=1)


def test_a_run_for_one_person_is_no_success_of_its_sync(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.keys()
    run(lab, person=ADA)
    with lab.host() as host:
        status = host.status()
    assert (status.syncs["leads"].last, status.syncs["leads"].last_success) == (None, None)
    [stored] = lab.rows("run")
    assert stored["person"] == lab.keys()[ADA]


# The recount


def test_every_row_that_was_planned_met_an_outcome_and_the_report_told_it(lab: Any) -> None:
    """Refused, locked, found again, waiting for a record, unchanged: whatever became of it."""
    lab.crowd(12, points=90)
    bad, locked = sorted(lab.keys().values())[:2]
    lab.world.fail_record(bad, reason="the address is malformed")
    lab.world.fail_record(locked, status=Status.RETRY, reason="locked just now")
    lab.world.fail_call("create_tasks", TransientError("no answer"), times=None)
    report = run(lab)
    with lab.host() as host:
        found = host.recount("latest")
    assert found.run_id == report.run_id
    assert {(item.about, item.what) for item in found.adds_up} == {
        ("shop", "records read"),
        ("crm", "rows planned"),
        ("crm", "rows answered"),
    }
    assert all(item.holds for item in found.adds_up), [item for item in found.adds_up if not item.holds]
    assert report.sinks["crm"].planned_writes == found.found == len(found.rows) > 12
    outcomes = Counter(str(row.status) for row in found.rows)
    assert outcomes["rejected"] >= 1
    assert outcomes["created"] >= 10
    assert found.outcomes["crm"]["create"]["created"] == report.sinks["crm"].created


def test_a_book_that_lost_a_row_is_found_out(lab: Any) -> None:
    lab.crowd(3)
    run(lab)
    with lab.host() as host:
        with host.database.write() as connection:
            one = connection.execute(schema.outbox.select().limit(1)).one().id
            connection.execute(schema.outbox.delete().where(schema.outbox.c.id == one))
        wrong = {item.what for item in host.recount("latest").adds_up if not item.holds}
    assert wrong == {"rows planned", "rows answered"}


def test_rows_can_be_chosen_and_tasks_name_their_person(lab: Any) -> None:
    lab.points(ADA, 90)
    key = lab.keys()[ADA]
    run(lab)
    with lab.host() as host:
        rows = host.recount("latest", connection="crm", outcome="created").rows
        assert {row.person for row in rows} == {key}
        assert {"create", "task", "add"} >= {row.operation for row in rows} >= {"create", "task"}
        created = next(row for row in rows if row.operation == "create")
        assert created.fields["Score"] == (None, "90")
        assert len(host.recount("latest", limit=1).rows) == 1
        for wrong in ({"connection": "crn"}, {"outcome": "creatd"}):
            with pytest.raises(ConfigError, match="did you mean 'cr"):
                host.recount("latest", **wrong)
        with pytest.raises(ConfigError, match="there is no run 'r9'"):
            host.recount("r9")


# Metrics


def test_sums_grow_over_processes_and_outlive_the_runs(lab: Any) -> None:
    lab.crowd(3)
    run(lab)
    first = figures(lab)
    assert first["syncline_runs_total", "done"] == 1
    assert first["syncline_records_total", "shop", "stored"] == 3
    assert first["syncline_writes_total", "crm", "create", "created"] == 3
    assert first["syncline_run_duration_seconds_count",] == 1
    assert first["syncline_sync_last_success_timestamp_seconds", "leads"] == lab.now.timestamp()
    lab.later(24 * 40)  # the run's own row is purged
    lab.points("new@acme.example", 50)
    run(lab)
    lab.later(24 * 40)
    run(lab)
    assert len(lab.rows("run")) < 3
    last = figures(lab)
    assert last["syncline_runs_total", "done"] == 3
    assert last["syncline_writes_total", "crm", "create", "created"] == 4
    assert last["syncline_records_total", "shop", "stored"] == 4


def test_what_waits_is_counted_when_it_is_asked_for(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.world.fail_record(lab.keys()[ADA], reason="the address is malformed")
    run(lab)
    found = figures(lab)
    assert found["syncline_dead_letters", "crm"] == 1
    assert found["syncline_troubles", "dead_letters"] == 1
    assert found["syncline_conflicts", "crm"] == 0
    with lab.host() as host:
        host.pause("crm", "why not")
    assert figures(lab)["syncline_paused", "crm", "asked"] == 1


def test_calls_tried_again_are_counted_with_their_connection(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.world.fail_call("upsert", TransientError("no answer"), times=2)
    run(lab)
    found = figures(lab)
    assert found["syncline_retries_total", "crm"] == 2
    assert found["syncline_retries_total", "shop"] == 0
    assert found["syncline_waited_seconds_total", "crm"] > 0


def test_a_failed_run_counts_as_one(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.points(ADA, 50)
    monkeypatch.setattr(MemorySink, "upsert", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run(lab)
    found = figures(lab)
    assert found["syncline_runs_total", "failed"] == 1
    assert ("syncline_sync_last_success_timestamp_seconds", "leads") not in found


def test_no_label_names_a_person(lab: Any) -> None:
    lab.crowd(5, points=90)
    lab.world.fail_record(sorted(lab.keys().values())[0], reason="p0001@acme.example is malformed")
    run(lab)
    labels = {word for sample in figures(lab) for word in sample[1:]}
    assert not [word for word in labels if "@" in word or word in set(lab.keys().values())]
    assert len(figures(lab)) < 150, "and their number does not grow with people"


# The log and the trace


def test_every_line_of_a_run_bears_its_id_and_none_afterwards(lab: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[dict[str, Any]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(kept_private(None, "", {"event": record.getMessage(), **get_contextvars()}))

    lab.points(ADA, 50)
    lab.world.fail_call("upsert", TransientError(f"no answer about {ADA}"), times=1)
    log = logging.getLogger("syncline")
    with caplog.at_level(logging.INFO, "syncline"):
        log.addHandler(listener := Listener())
        report = run(lab, sync="leads")
        log.removeHandler(listener)
    about = {key: [event.get(key) for event in seen] for key in ("run_id", "sync", "connection")}
    assert set(about["run_id"]) == {report.run_id}
    assert set(about["sync"]) == {"leads"}
    again = next(event for event in seen if event["event"] == "a call is tried again")
    assert (again["connection"], again["stage"]) == ("crm", "write crm")
    assert get_contextvars() == {}


def test_a_trace_goes_from_the_run_over_its_stages_to_the_batches(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    lab.points(ADA, 90)
    report = run(lab)
    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    paths = set()
    for span in spans.values():
        path = [span.name]
        while span.parent is not None:
            span = spans[span.parent.span_id]
            path.insert(0, span.name)
        paths.add(" > ".join(path))
    assert paths == {
        "run",
        "run > read shop",
        "run > read crm",
        "run > score and plan",
        "run > write crm",
        "run > write crm > batch",
    }
    [whole] = [span for span in spans.values() if span.name == "run"]
    assert (whole.attributes or {})["syncline.run_id"] == report.run_id
    assert not any("acme.example" in span.to_json() for span in spans.values())


def test_sums_and_books_are_the_same_on_either_database(each_lab: Any) -> None:
    each_lab.crowd(3)
    for _ in range(2):
        run(each_lab)
        each_lab.later()
    found = figures(each_lab)
    assert (found["syncline_runs_total", "done"], found["syncline_writes_total", "crm", "create", "created"]) == (2, 3)
    with each_lab.host() as host:
        assert all(item.holds for item in host.recount("latest").adds_up)
        assert host.status().exit_code == 0


def test_an_undo_and_a_run_cut_short_add_up_too(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = lab.crowd(4, points=90)
    first = run(lab)
    lab.later()
    for email in crowd:
        lab.points(email, 20)
    run(lab)
    lab.later()
    with lab.host() as host:
        second = host.recount("latest").run_id
        assert second != first.run_id
        host.undo(second)
        undone = host.recount("latest")
        assert undone.undoes == second
        assert undone.found >= 4
        assert all(item.holds for item in undone.adds_up), undone.adds_up
        assert host.resume("crm")
    lab.later()
    monkeypatch.setattr(MemorySink, "upsert", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run(lab)
    with lab.host() as host:
        cut = host.recount("latest")
    assert cut.status == "failed"
    assert {item.what: item.holds for item in cut.adds_up if item.about == "crm"} == {
        "rows planned": True,
        "rows answered": True,
    }
    planned = next(item for item in cut.adds_up if item.what == "rows planned")
    assert planned.parts["sent"] == planned.total == 4
