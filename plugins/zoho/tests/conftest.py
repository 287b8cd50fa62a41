from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.model import FieldSpec
from syncline.sdk import Context, Http, SimulatorOptions
from syncline_zoho import ZohoConfig, ZohoSink
from syncline_zoho.simulator import ZohoSimulator

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
SPECS = (
    FieldSpec("Leads", "Syncline_Key", "text", "Syncline key", max_length=64, unique=True),
    FieldSpec("Leads", "Lead_Score", "number", "Lead Score", scale=2),
    FieldSpec("Leads", "Visits", "number", "Visits"),
    FieldSpec("Leads", "Hot_Lead", "boolean", "Hot Lead"),
    FieldSpec("Leads", "Last_Event_At", "datetime", "Last Event At"),
    FieldSpec("Leads", "Seen_On", "date", "Seen On"),
    FieldSpec("Leads", "Score_Reason", "text", "Score Reason", max_length=2_000),
    FieldSpec("Contacts", "Syncline_Key", "text", "Syncline key", max_length=64, unique=True),
    FieldSpec("Contacts", "Lead_Score", "number", "Lead Score", scale=2),
)
SEGMENT = "Lead caldo"
NOTIFY = {"notify_url": "https://hooks.sync.example/zoho/secret-path", "notify_token": "only-zoho-knows"}

Open = Callable[..., ZohoSink]


def make_sink(crm: ZohoSimulator, keep: dict[str, str] | None = None, **settings: Any) -> ZohoSink:
    """A sink that shares what is kept with its siblings, as the runs of one connection do; waits are not waited for."""
    simulated = {name: value for name, value in crm.settings.items() if name != "plugin"}
    config = ZohoConfig.model_validate({**simulated, **settings})
    kept = crm.__dict__.setdefault("kept", {}) if keep is None else keep
    return ZohoSink(config, Context("crm", Http("crm", sleep=lambda _: None), crm.now, kept))


@pytest.fixture
def crm() -> Iterator[ZohoSimulator]:
    simulator = ZohoSimulator(SimulatorOptions(people=60, clock=NOW.isoformat()))
    with simulator:
        yield simulator


@pytest.fixture
def open_sink(crm: ZohoSimulator) -> Iterator[Open]:
    """Makes sinks for the account and closes them at the end."""
    made: list[ZohoSink] = []

    def make(keep: dict[str, str] | None = None, **settings: Any) -> ZohoSink:
        made.append(make_sink(crm, keep, **settings))
        return made[-1]

    yield make
    for sink in made:
        sink.context.http.close()


@pytest.fixture
def fresh(open_sink: Open) -> ZohoSink:
    """A sink for an account where nothing is prepared."""
    return open_sink()


@pytest.fixture
def sink(fresh: ZohoSink, crm: ZohoSimulator) -> ZohoSink:
    """A sink for a prepared account that it has described, with counters at zero."""
    fresh.prepare((*SPECS, *fresh.task_fields), [SEGMENT])
    for module in ("Leads", "Contacts", "Tasks"):
        fresh.describe(module)
    fresh.check()
    crm.reset_counters()
    crm.triggered.clear()
    return fresh
