"""The recorded conversations, replayed: exactly these requests, and exactly these readings of the answers.

They were recorded from the simulator, as their first lines say: they pin what the connector sends. To make them anew:
`SYNCLINE_RECORD=1 pytest plugins/mailchimp/tests/test_mailchimp_cassettes.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncline.errors import AuthError, ConfigError
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.cassettes import provenance_of, use_cassette
from syncline.testing.population import EPOCH, simulated_now
from syncline_mailchimp import MailchimpConfig, MailchimpSource
from syncline_mailchimp.simulated import LIST_ID
from syncline_mailchimp.simulator import MailchimpSimulator

CASSETTES = Path(__file__).parents[3] / "cassettes" / "mailchimp"
RECORD = bool(os.environ.get("SYNCLINE_RECORD"))

LOOPBACK = "http://simulator.invalid"
NOW = simulated_now()
CAMPAIGN = "ccd202c066"
"""The last campaign of the seeded account."""


def _nothing(_: MailchimpSimulator) -> None:
    """The account as it was seeded."""


def _click(simulator: MailchimpSimulator) -> None:
    someone = simulator.world.subscribers[min(simulator.world.subscribers)]
    at = NOW - timedelta(minutes=5)
    simulator.add_activity(someone.email, CAMPAIGN, "click", at, url="https://www.example.com/pricing")


def _mark(key: str, newest: str, totals: str = "") -> str:
    return json.dumps({"version": 1, "marks": {key: {"newest": newest, "totals": totals}}})


@dataclass(frozen=True)
class Case:
    """One conversation: what is read, from where, and what comes of it."""

    name: str
    wanted: list[str] | type[Exception]
    settings: dict[str, Any] = field(default_factory=dict)
    cursor: str | None = None
    prepare: Callable[[MailchimpSimulator], None] = _nothing

    @property
    def stream(self) -> str:
        return self.name.partition("/")[0]


LAST_ONE = {"horizon": "5d", "automations": False}

CASES = [
    Case(
        "members/in_pages",
        [
            "consent_change jrgen.moretti2 2026-03-05T08:52:14 granted",
            "form_submission jrgen.moretti2 2026-03-05T08:52:14",
            "consent_change andrea.larsen3 2026-03-06T01:16:13 granted",
            "consent_change andrea.obrien1 2026-03-06T03:54:21 granted",
            "form_submission andrea.obrien1 2026-03-06T03:54:21",
            "consent_change lorenzo.garca4 2026-03-06T15:38:26 granted",
            "consent_change ucja.smith0 2026-05-08T12:26:55",
        ],
        {"page_size": 2},
    ),
    Case(
        "members/changed_since",
        ["consent_change ucja.smith0 2026-05-08T12:26:55"],
        cursor=_mark(LIST_ID, "2026-04-01T00:00:00Z"),
    ),
    Case("members/unknown_audience", ConfigError, {"audience": "0000000000"}),
    Case(
        "opens/machines_told_apart",
        [
            "email_open jrgen.moretti2 2026-05-29T08:30:18 machine",
            "email_open andrea.obrien1 2026-05-29T09:15:23",
            "email_open andrea.obrien1 2026-05-29T14:50:56",
            "email_open andrea.obrien1 2026-05-29T12:16:43",
        ],
        LAST_ONE,
    ),
    Case("opens/automations", ["email_open andrea.obrien1 2026-03-06T05:50:31"], {"horizon": "1d"}),
    Case(
        "activity/clicks_since",
        ["email_click jrgen.moretti2 2026-06-01T07:55:00"],
        LAST_ONE,
        _mark(CAMPAIGN, "2026-06-01T07:00:00Z", "old"),
        _click,
    ),
    Case(
        "activity/clicks_in_pages",
        [
            "email_click andrea.obrien1 2026-06-01T03:35:07",
            "email_click andrea.obrien1 2026-06-01T03:15:07",
            "email_click andrea.obrien1 2026-06-01T03:00:07",
            "email_click andrea.obrien1 2026-06-01T02:45:07",
        ],
        {**LAST_ONE, "page_size": 2},
    ),
    Case(
        "unsubscribes/left",
        ["email_unsubscribe ucja.smith0 2026-05-08T12:26:55", "consent_change ucja.smith0 2026-05-08T12:26:55"],
        {"horizon": "30d", "automations": False},
    ),
    Case("account/check", ["Example Co"]),
    Case("account/refused", AuthError, {"api_key": "feedfeedfeedfeedfeedfeedfeedfeed-us1"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cassette(case):
    with _vendor(case) as url, use_cassette(CASSETTES / f"{case.name}.yaml", record=RECORD):
        if isinstance(case.wanted, type):
            with pytest.raises(case.wanted):
                _done(_source(case, url), case)
        else:
            assert _done(_source(case, url), case) == case.wanted


def test_every_cassette_is_played_and_says_where_it_comes_from():
    found = {path.relative_to(CASSETTES).with_suffix("").as_posix(): path for path in CASSETTES.rglob("*.yaml")}
    assert set(found) == {case.name for case in CASES}
    assert {provenance_of(path).birth for path in found.values()} == {"synthetic"}


@contextlib.contextmanager
def _vendor(case):
    """The simulator when recording; nobody at all when replaying."""
    if not RECORD:
        yield LOOPBACK
        return
    with MailchimpSimulator(SimulatorOptions(people=5, seed=96, clock=EPOCH)) as simulator:
        case.prepare(simulator)
        yield simulator.url


def _source(case, url):
    settings = {"api_key": MailchimpSimulator.api_key, "audience": LIST_ID, "base_url": f"{url}/3.0", **case.settings}
    context = Context("newsletter", Http("newsletter"), lambda: NOW, {})
    return MailchimpSource(MailchimpConfig.model_validate(settings), context)


def _done(source, case):
    if case.stream == "account":
        return [source.check().name]
    records = [record for page in source.read(case.stream, case.cursor) for record in page.records]
    return [_line(event) for record in records for event in source.normalize(record)]


def _line(event):
    """`email_open zo.gallo2 2026-05-29T08:30:15 machine`"""
    flags = [name for name in ("machine", "granted") if event.properties.get(name)]
    who = event.identifiers[0].value.partition("@")[0]
    return " ".join([event.type, who, event.occurred_at.strftime("%Y-%m-%dT%H:%M:%S"), *flags])
