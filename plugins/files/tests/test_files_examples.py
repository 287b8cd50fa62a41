"""The two examples on real data: the files are whole, and the bands order by what happened afterwards.

The outcome is not ours: it is what the customers of CDNOW bought in the following 39 weeks, and which sessions of the
UCI set ended in a purchase.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from syncline.model import Event, microseconds
from syncline.scoring.log import LoggedEvent
from syncline.scoring.model import parse_model
from syncline.scoring.program import Program
from syncline.scoring.reference import assess

EXAMPLES = Path(__file__).parents[3] / "examples"


def _yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def _events(connect: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, list[Event]]:
    """Person → events, through the example's own connection."""
    monkeypatch.chdir(folder)
    settings = _yaml(folder / "connectors.yaml")["connections"]["shop"]
    connection = connect(**{key: value for key, value in settings.items() if key != "plugin"})
    connection.source.check()
    found = defaultdict(list)
    for event in connection.events():
        found[event.identifiers[0].value].append(event)
    return found


def _bands(people: Mapping[str, Sequence[Event]], model: Path, as_of: datetime) -> Mapping[str, str | None]:
    program = Program({"score": parse_model(_yaml(model), name=model.stem)}, {})
    bands = {}
    for number, (who, events) in enumerate(people.items()):
        logged = [LoggedEvent(e.id, e.type, microseconds(e.occurred_at), False, e.properties) for e in events]
        bands[who] = assess(program, number, logged, {}, as_of).scores["score"].band
    return bands


def _script(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"lift_of_{folder.name}", folder / "lift.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _falls(values: Sequence[float]) -> bool:
    return all(first > second for first, second in pairwise(values))


def test_cdnow_is_6919_purchases_of_2357_customers(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    people = _events(connect, EXAMPLES / "cdnow", monkeypatch)
    assert len(people) == 2357
    events = [event for bought in people.values() for event in bought]
    assert len({event.id for event in events}) == len(events) == 6919
    assert people["00004"][0].occurred_at == datetime(1997, 1, 1, tzinfo=UTC)
    assert people["00004"][0].properties == {"name": "purchase", "amount": 29.33, "units": 2}


def test_cdnow_bands_order_by_later_purchases(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = EXAMPLES / "cdnow"
    bands = _bands(_events(connect, folder, monkeypatch), folder / "rfm.yaml", datetime(1997, 9, 30, tzinfo=UTC))
    script = _script(folder)
    lines = script.lift(bands, script.purchases_after())
    assert [line.band for line in lines] == ["high", "medium", "low"]
    assert sum(line.customers for line in lines) == 2357
    assert _falls([line.buying_again for line in lines])
    assert _falls([line.purchases_each for line in lines])
    assert "71.2%" in script.table(lines)


def test_shoppers_bands_order_by_purchases(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = EXAMPLES / "online_shoppers"
    people = _events(connect, folder, monkeypatch)
    assert not {name for events in people.values() for e in events for name in e.properties} - {
        *("page_type", "duration_s", "session_id"),
    }  # no PageValues on any way in
    as_of = datetime(2018, 12, 31, 12, tzinfo=UTC)
    script = _script(folder)
    purchases = script.purchases()
    assert (len(purchases), sum(purchases.values())) == (12330, 1908)
    lines = script.lift(_bands(people, folder / "engagement.yaml", as_of), purchases)
    assert [line.band for line in lines] == ["high", "medium", "low", "none"]
    assert [line.sessions for line in lines][-1] == 6  # they saw no page at all
    assert sum(line.sessions for line in lines) == 12330
    assert _falls([line.buying for line in lines])
