"""When a sync runs, as connectors.yaml says it: checked at load, with file and line, and by the editor's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ruamel.yaml import YAML

from syncline.config import KindInfo, Loaded
from syncline.config.schema import json_schema
from syncline.host.schedule import ByCron, Every, timetable

BASE = (
    "version: 1\n"
    "connections:\n"
    '  crm: {plugin: salesforce, login: {client_id: "${SF_ID}", client_secret: "${SF_SECRET}"}}\n'
    "segments: {hot: {all: [email_open]}}\n"
    "syncs:\n"
    "  - {name: leads, to: crm, object: Lead, match: Key__c, segments: {hot: Hot}}\n"
)


def with_keys(text: str) -> str:
    return BASE.replace("match: Key__c, ", f"match: Key__c, {text}, ")


def test_a_schedule_is_every_or_cron_in_a_time_zone(load_text: Callable[..., Loaded]) -> None:
    for text, expected in (
        ("every: 15m", Every(timedelta(minutes=15))),
        ('cron: "0 3 * * *"', "UTC"),
        ('cron: "0 3 * * *", time_zone: Europe/Rome', "Europe/Rome"),
    ):
        found = timetable(load_text(with_keys(text)).config)["leads"]
        if isinstance(expected, str):
            assert isinstance(found, ByCron)
            assert str(found.cron) == "0 3 * * *"
            assert str(found.zone) == str(ZoneInfo(expected))
        else:
            assert found == expected
    assert timetable(load_text(BASE).config) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('every: 15m, cron: "0 3 * * *"', "cron: does not go with 'every'; keep one of the two"),
        ("every: 15m, time_zone: Europe/Rome", "time_zone: only goes with 'cron'; 'every' needs none"),
        ('cron: "0 3 * *"', "cron: must be five fields, minute, hour, day of the month, month and day of the week"),
        ('cron: "0 25 * * *"', "cron: hour: must be 0 to 23"),
        ("cron: 3", "cron: must be text such as '0 3 * * *'; put it in quotes"),
        ('cron: "@daily", time_zone: Rome', "time_zone: is no time zone; write an IANA name such as Europe/Rome"),
        ('cron: "@daily", time_zone: 2', "time_zone: is no time zone; write an IANA name such as Europe/Rome or UTC"),
        ('cron: "@daily", timezone: UTC', "timezone: unknown key; did you mean 'time_zone'?"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(complaint: Callable[..., str], text: str, message: str) -> None:
    assert complaint(with_keys(text)).startswith(f"connectors.yaml:6: syncs[0].{message}")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("every: 15m", True),
        ('cron: "*/15 8-18 * * mon-fri", time_zone: Europe/Rome', True),
        ('cron: "@daily"', True),
        ('cron: "0 3 * *"', False),
        ('every: 15m, cron: "@daily"', False),
        ("every: 15m, time_zone: UTC", False),
    ],
)
def test_the_schema_says_the_same(kinds: Mapping[str, KindInfo], text: str, good: bool) -> None:
    validator = pytest.importorskip("jsonschema", reason="jsonschema is not installed: nothing to validate with")
    schema: dict[str, Any] = json_schema({kind: info.config_model for kind, info in kinds.items()})
    data = YAML(typ="safe", pure=True).load(with_keys(text))
    assert validator.Draft202012Validator(schema).is_valid(data) is good
