"""A simulated Mailchimp on loopback, a source connected to it, and a clock that only moves when told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from requests import Response

from syncline.model import RawRecord
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.population import EPOCH, simulated_now
from syncline_mailchimp import MailchimpConfig, MailchimpConnector
from syncline_mailchimp.simulator import MailchimpSimulator


class Clock:
    """Our clock: `moment` is the true time, which is also the vendor's, and we may be `ahead` of it."""

    def __init__(self) -> None:
        self.moment = simulated_now()
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return self.moment + self.ahead

    def date(self, response: Response, **_: Any) -> None:
        """The vendor's answers are dated by the true time; the server behind the simulator knows only today's."""
        response.headers["Date"] = format_datetime(self.moment, usegmt=True)

    def advance(self, **by: float) -> datetime:
        self.moment += timedelta(**by)
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulate() -> Iterator[Callable[..., MailchimpSimulator]]:
    """Start a simulator: `simulate(people=60, switches=Switches(…), faults=[{…}])`."""
    running: list[MailchimpSimulator] = []

    def start(people: int = 120, faults: list[dict[str, Any]] | None = None, **more: Any) -> MailchimpSimulator:
        options = SimulatorOptions(people=people, seed=3, clock=EPOCH, faults={"faults": faults or []})
        simulator = MailchimpSimulator(options, **more)
        simulator.start()
        running.append(simulator)
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def connect(clock: Clock) -> Callable[..., MailchimpConnector]:
    """A source for a simulator; further arguments are settings."""

    def make(
        simulator: MailchimpSimulator,
        settings: Mapping[str, Any] | None = None,
        keep: dict[str, str] | None = None,
        **more: Any,
    ) -> MailchimpConnector:
        given = {**(settings or simulator.settings), **more}
        config = MailchimpConfig.model_validate({k: v for k, v in given.items() if k != "plugin"})
        http = Http("newsletter", sleep=lambda _: None)
        source = MailchimpConnector(config, Context("newsletter", http, clock, {} if keep is None else keep))
        source.context.http.session.hooks["response"].append(clock.date)
        return source

    return make


@pytest.fixture
def pull() -> Callable[..., tuple[list[RawRecord], str | None]]:
    """Read a stream to its end: its records, and the last cursor."""

    def read(source: MailchimpConnector, stream: str, cursor: str | None = None) -> tuple[list[RawRecord], str | None]:
        records: list[RawRecord] = []
        for page in source.read(stream, cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    return read
