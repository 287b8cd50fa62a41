from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.model import FieldSpec
from syncline.sdk import Context, Http, SimulatorOptions
from syncline_hubspot import HubspotConfig, HubspotSink
from syncline_hubspot.simulator import HubspotSimulator

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
SPECS = (
    FieldSpec("contacts", "syncline_key", "text", "Key", max_length=64, unique=True),
    FieldSpec("contacts", "lead_score", "number", "Score", scale=2),
    FieldSpec("contacts", "hot_lead", "boolean", "Hot"),
    FieldSpec("contacts", "last_event_at", "datetime", "Last event"),
    FieldSpec("contacts", "seen_on", "date", "Seen"),
    FieldSpec("contacts", "score_reason", "text", "Reason", max_length=4000),
)
SEGMENT = "Lead caldo"


def make_sink(portal: HubspotSimulator, settings: Any = None, **more: Any) -> HubspotSink:
    """A sink of its own session; waits are not waited for."""
    simulated = {name: value for name, value in (settings or portal.settings).items() if name != "plugin"}
    config = HubspotConfig.model_validate({**simulated, **more})
    return HubspotSink(config, Context("crm", Http("crm", sleep=lambda _: None), portal.now, {}))


@pytest.fixture
def portal() -> Iterator[HubspotSimulator]:
    simulator = HubspotSimulator(SimulatorOptions(people=60, clock=NOW.isoformat()))
    with simulator:
        yield simulator


@pytest.fixture
def open_sink(portal: HubspotSimulator) -> Iterator[Callable[..., HubspotSink]]:
    """Makes sinks for the account and closes them at the end."""
    made: list[HubspotSink] = []

    def make(**settings: Any) -> HubspotSink:
        made.append(make_sink(portal, **settings))
        return made[-1]

    yield make
    for sink in made:
        sink.context.http.close()


@pytest.fixture
def fresh(open_sink: Callable[..., HubspotSink]) -> HubspotSink:
    """A sink for an account where nothing is prepared."""
    return open_sink()


@pytest.fixture
def sink(fresh: HubspotSink, portal: HubspotSimulator) -> HubspotSink:
    """A sink for a prepared account, with counters at zero."""
    fresh.prepare((*SPECS, *fresh.task_fields), [SEGMENT])
    portal.reset_counters()
    return fresh
