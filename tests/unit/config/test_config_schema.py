"""The JSON Schema says to an editor what loading says to everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ruamel.yaml import YAML

from syncline.config import KindInfo
from syncline.config.schema import json_schema

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: nothing to validate with")

GOOD = """
version: 1
raw_retention: 30d
connections:
  newsletter: {plugin: mailchimp, api_key: "${MC_KEY}", audience: 3f2a, page_size: "${PAGE_SIZE}"}
  crm: {plugin: salesforce, login: {client_id: x, client_secret: "${SF_SECRET}"}}
  pretended: {plugin: salesforce, simulated: true}
classify: {page_type: {pricing: ["*/pricing*"]}, clicks_count_as: [page_visit]}
scores: {interest: {model: comportamentale}, other: {model: {signals: {}}}}
segments: {hot: {all: [email_open]}}
consent: {purposes: {mail: {basis: consent}, "list:News": {basis: legitimate_interest}}, unsubscribes: [mail]}
actions: [{when: {enters: hot}, task: {to: crm, text: alert_it, due: 2h}}]
syncs:
  - name: leads
    to: crm
    object: Lead
    match: Key__c
    every: 1h30m
    fields:
      Score__c: {from: score.interest, owner: ours, write_when: {moves: 0.5, or: band}}
      Title: {from: person.title, owner: shared, policy: newest, default: 0}
      Status: {to: person.stage, owner: theirs}
      HasOptedOut: {consent: mail}
    purpose: mail
    segments:
      hot: {name: Hot, purpose: mail}
      cold: Cold
    guard: {creates: null}
"""

BAD = {
    "another version": ("version: 1", "version: 2"),
    "an unknown section": ("segments:", "segmenti:"),
    "a duration without unit": ("30d", "30"),
    "an unknown plugin": ("plugin: mailchimp", "plugin: mailchip"),
    "a misspelt setting": ("audience:", "audiense:"),
    "a missing setting": ("audience: 3f2a, ", ""),
    "a literal secret": ("${SF_SECRET}", "hunter2"),
    "a setting of another plugin": ("audience: 3f2a", "audience: 3f2a, login: {}"),
    "a misspelt simulated setting": ("simulated: true", "simulated: true, lgoin: {}"),
    "an unknown fact": ("[page_visit]", "[page_views]"),
    "an unknown text": ("alert_it", "alert_de"),
    "a later kind of action": ("task:", "digest:"),
    "an unknown owner": ("owner: ours", "owner: us"),
    "shared without a policy": ("policy: newest, ", ""),
    "theirs with from": ("to: person.stage", "from: person.stage"),
    "an origin that is none": ("score.interest", "interest"),
    "a sync without match": ("    match: Key__c\n", ""),
    "a negative guard": ("creates: null", "creates: -1"),
    "an opt-out with an owner": ("HasOptedOut: {consent: mail}", "HasOptedOut: {consent: mail, owner: ours}"),
    "a field without an owner": ("HasOptedOut: {consent: mail}", "HasOptedOut: {from: person.title}"),
    "a purpose for what we only read": ("owner: theirs}", "owner: theirs, purpose: mail}"),
    "an unknown basis": ("basis: consent", "basis: contract"),
    "a list without a name": ("hot: {name: Hot, purpose: mail}", "hot: {purpose: mail}"),
}


@pytest.fixture
def schema(kinds: Mapping[str, KindInfo]) -> dict[str, Any]:
    return json_schema({kind: info.config_model for kind, info in kinds.items()})


def _mistakes(schema: dict[str, Any], text: str) -> list[str]:
    data = YAML(typ="safe", pure=True).load(text)
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(data)]


def test_it_is_a_valid_schema(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_it_accepts_a_good_file(schema: dict[str, Any]) -> None:
    assert _mistakes(schema, GOOD) == []


@pytest.mark.parametrize(("right", "wrong"), BAD.values(), ids=list(BAD))
def test_it_refuses_a_bad_file(schema: dict[str, Any], right: str, wrong: str) -> None:
    assert right in GOOD
    assert _mistakes(schema, GOOD.replace(right, wrong, 1))


def test_secrets_are_described_as_variables(schema: dict[str, Any]) -> None:
    described = schema["$defs"]["mailchimp"]["properties"]["api_key"]
    assert "${NAME}" in described["description"]
    assert "writeOnly" not in described


def test_every_setting_has_a_description(schema: dict[str, Any]) -> None:
    own = {name: part for name, part in schema["$defs"].items() if name[0].isupper()}
    parts = {"": schema, **own}
    silent = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, setting in part.get("properties", {}).items()
        if "description" not in setting
    ]
    assert silent == []
