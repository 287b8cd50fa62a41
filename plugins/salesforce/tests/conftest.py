from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.model import FieldSpec
from syncline.sdk import Context, Http, SimulatorOptions
from syncline_salesforce import SalesforceConfig, SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
SPECS = (
    FieldSpec("Lead", "Syncline_Key__c", "text", "Key", max_length=64, unique=True),
    FieldSpec("Lead", "Lead_Score__c", "number", "Score", scale=0),
    FieldSpec("Lead", "Ratio__c", "number", "Ratio", scale=4),
    FieldSpec("Lead", "Hot_Lead__c", "boolean", "Hot"),
    FieldSpec("Lead", "Last_Event_At__c", "datetime", "Last event"),
    FieldSpec("Lead", "Seen_On__c", "date", "Seen"),
)
SEGMENT = "Lead caldo"


def make_sink(org: SalesforceSimulator, **settings: Any) -> SalesforceSink:
    """A sink of its own session; waits are not waited for."""
    simulated = {name: value for name, value in org.settings.items() if name != "plugin"}
    config = SalesforceConfig.model_validate({**simulated, **settings})
    return SalesforceSink(config, Context("crm", Http("crm", sleep=lambda _: None), org.now, {}))


@pytest.fixture
def org() -> Iterator[SalesforceSimulator]:
    simulator = SalesforceSimulator(SimulatorOptions(people=60, clock=NOW.isoformat()))
    with simulator:
        yield simulator


@pytest.fixture
def open_sink(org: SalesforceSimulator) -> Iterator[Callable[..., SalesforceSink]]:
    """Makes sinks for the org and closes them at the end."""
    made: list[SalesforceSink] = []

    def make(**settings: Any) -> SalesforceSink:
        made.append(make_sink(org, **settings))
        return made[-1]

    yield make
    for sink in made:
        sink.context.http.close()


@pytest.fixture
def fresh(open_sink: Callable[..., SalesforceSink]) -> SalesforceSink:
    """A sink for an org where nothing is prepared."""
    return open_sink()


@pytest.fixture
def sink(fresh: SalesforceSink, org: SalesforceSimulator) -> SalesforceSink:
    """A sink for a prepared org, with counters at zero."""
    fresh.prepare((*SPECS, *fresh.task_fields), [SEGMENT])
    org.reset_counters()
    return fresh
