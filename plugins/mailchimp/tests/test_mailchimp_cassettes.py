"""The recorded conversations, replayed: exactly these requests, and exactly these readings of the answers.

They were recorded from the simulator, as their first lines say: they pin what the connector sends. To make them anew:
`SYNCLINE_RECORD=1 pytest plugins/mailchimp/tests/test_mailchimp_cassettes.py`.
"""

from __future__ import annotations

import contextlib
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

CAMPAIGN = "LAST-CAMPAIGN"
PEOPLE = {"people": 5, "seed": 35, "clock": EPOCH}


def _nothing(_: MailchimpSimulator) -> None:
    """The account as it was seeded."""


@dataclass(frozen=True)
class Case:
    name: str
    stream: str
    wanted: Any
    settings: dict[str, Any] = field(default_factory=dict)
    cursor: str | None = None
    prepare: Callable[[MailchimpSimulator], None] = _nothing


def _click_later(simulator: MailchimpSimulator) -> None:
    someone = sorted(simulator.world.subscribers)[0]
    email = simulator.world.subscribers[someone].email
    at = simulated_now() - timedelta(minutes=5)
    simulator.add_activity(email, simulator.campaigns[-1], "click", at, url="https://www.example.com/pricing")


CASES = [
    Case("members/all_in_pages", "members", {}, {"page_size": 2}),
    Case(
        "members/changed_since",
        "members",
        {},
        cursor=f'{{"version":1,"marks":{{"{LIST_ID}":{{"newest":"2026-04-01T00:00:00Z"}}}}}}',
    ),
    Case("members/unknown_audience", "members", ConfigError, {"audience": "0000000000"}),
    Case("opens/proxied_or_not", "opens", {}, {"horizon": "5d", "automations": False}),
    Case("opens/automations", "opens", {}, {"horizon": "1d"}),
    Case(
        "activity/clicks_since",
        "activity",
        {},
        {"horizon": "5d", "automations": False},
        f'{{"version":1,"marks":{{"{CAMPAIGN}":{{"newest":"2026-06-01T07:00:00Z","totals":"old"}}}}}}',
        _click_later,
    ),
    Case("activity/nothing_moved", "activity", {}, {"horizon": "5d", "automations": False}),
    Case("unsubscribes/left", "unsubscribes", {}, {"horizon": "30d", "automations": False}),
    Case("account/check", "", "Example Co"),
    Case("account/refused", "", AuthError, {"api_key": "feedfeedfeedfeedfeedfeedfeedfeed-us1"}),
    Case("account/by_token", "", "Example Co", {"api_key": None}),
]
