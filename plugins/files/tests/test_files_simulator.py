"""The simulated website: the same people as every vendor's, and scores that make a demo worth watching."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncline.model import Event
from syncline.sdk import SimulatorOptions
from syncline.testing.population import population, simulated_now
from syncline_files.hooks import connectors, simulators


def _simulator(folder: Path | None, **options: Any) -> Any:
    return simulators()["files"](SimulatorOptions(folder=folder, **{"people": 400, "seed": 1, **options}))


def _events(connect: Any, settings: Mapping[str, Any]) -> list[Event]:
    assert settings["plugin"] == connectors()[0].kind
    events: list[Event] = connect(**{key: value for key, value in settings.items() if key != "plugin"}).events()
    return events


def _by_person(events: Sequence[Event]) -> Mapping[str, list[Event]]:
    named = [({i.namespace: i.value for i in event.identifiers}, event) for event in events]
    emails = {names["web:user"]: names["email"] for names, _ in named if "email" in names}
    found = defaultdict(list)
    for names, event in sorted(named, key=lambda pair: pair[1].occurred_at):
        found[emails[names["web:user"]]].append(event)  # a KeyError here: a visitor whom no row ties to an address
    return found


def _points(events: Sequence[Event], now: datetime) -> float:
    """The formula of `comportamentale` without its business rules: a floor of the score."""
    said = [{"type": event.type, **event.properties} for event in events]
    points = 10 * sum(e["type"] == "page_visit" and e["page_type"] == "pricing" for e in said)
    points += 25 * sum(e.get("content_type") == "whitepaper" for e in said)
    points += 5 * sum(e["type"] == "video_view" for e in said)
    points += 20 * sum(e["type"] == "page_visit" and e.get("duration_s", 0) > 60 for e in said)
    pages = defaultdict(list)
    for e in said:
        if e["type"] == "page_visit":
            pages[e["session_id"]].append(e["page_type"])
    points += 20 * any("demo" in p and "pricing" in p[: p.index("demo")] for p in pages.values())
    recent = bool(events) and now - events[-1].occurred_at < timedelta(hours=48)
    return points * (1.3 if recent else 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hot_people_are_hot_and_cold_ones_cold(connect: Any, tmp_path: Path, seed: int) -> None:
    with _simulator(tmp_path / "web", seed=seed) as simulator:
        people = _by_person(_events(connect, simulator.settings))
    points = defaultdict(list)
    for person in population(400, seed):
        points[person.persona].append(_points(people[person.email], simulated_now()))
    assert min(points["hot"]) >= 80
    assert min(points["warm"]) >= 20
    assert max(points["warm"]) < 80
    assert max(points["cold"]) < 20
    assert max(points["gone"]) == 0


def test_what_happens_lies_in_the_thirty_days_before_the_simulated_present(connect: Any, tmp_path: Path) -> None:
    with _simulator(tmp_path / "web", clock="2026-03-01T08:00:00+00:00") as simulator:
        events = _events(connect, simulator.settings)
    now = datetime.fromisoformat("2026-03-01T08:00:00+00:00")
    assert all(now - timedelta(days=30) < event.occurred_at < now for event in events)
    assert {event.type for event in events} == {
        *("page_visit", "content_download", "video_view", "form_submission", "call"),
    }


def test_the_same_options_write_the_same_files(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        with _simulator(folder):
            pass
    first, second = [{p.name: p.read_bytes() for p in sorted(folder.iterdir())} for folder in folders]
    assert first == second
    assert list(first) == ["web-eventi.jsonl", "web-events.jsonl"]


def test_a_restart_brings_nothing_new(connect: Any, tmp_path: Path) -> None:
    with _simulator(tmp_path / "web") as simulator:
        settings = {key: value for key, value in simulator.settings.items() if key != "plugin"}
    connection = connect(**settings)
    assert connection.records()
    with _simulator(tmp_path / "web"):
        assert connection.records() == []


def test_one_half_writes_italian(tmp_path: Path) -> None:
    with _simulator(tmp_path / "web"):
        rows = [json.loads(line) for line in (tmp_path / "web" / "web-eventi.jsonl").read_text().splitlines()]
    visits = [row for row in rows if row["event"] == "page_visit"]
    assert {frozenset(row) - {"email"} for row in visits} == {
        frozenset(("event", "timestamp", "url", "page", "tempo_trascorso", "session_id", "dati_aggiuntivi", "user_id"))
    }


def test_without_a_folder_nothing_is_left_behind() -> None:
    simulator = _simulator(None, people=5)
    simulator.start()
    folder = Path(simulator.settings["path"]).parent
    assert folder.is_dir()
    simulator.stop()
    assert not folder.exists()
    assert simulator.counters() == {"calls": 0, "write_calls": 0}
