"""Describing objects, and preparing an account. Rules: vendor sheet §7."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncline.errors import ConfigError, ConnectorError, TransientError
from syncline.model import Field, FieldSpec, Write
from syncline_hubspot import HubspotSink
from syncline_hubspot.preparing import definition
from syncline_hubspot.simulator import HubspotSimulator

KEY = FieldSpec("contacts", "syncline_key", "text", "Key", max_length=64, unique=True)
SCORE = FieldSpec("contacts", "lead_score", "number", "Score", scale=0)


def field(sink: HubspotSink, name: str, object: str = "contacts") -> Field | None:
    return next((f for f in sink.describe(object) if f.name == name), None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lastname", Field("lastname", "text", "Last Name", max_length=65_536)),
        ("email", Field("email", "text", "Email", unique=True, max_length=65_536)),
        ("closedate", Field("closedate", "datetime", "Close Date")),
        ("createdate", Field("createdate", "datetime", "Create Date", writable=False)),
        ("num_notes", Field("num_notes", "number", "Number of Sales Activities", writable=False, scale=6)),
        ("hubspot_owner_id", Field("hubspot_owner_id", "reference", "Owner")),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_properties_are_described(fresh: HubspotSink, name: str, expected: Field) -> None:
    assert field(fresh, name) == expected


def test_choices_are_told_by_their_internal_values(fresh: HubspotSink) -> None:
    stage, role = field(fresh, "lifecyclestage"), field(fresh, "hs_buying_role")
    assert stage is not None
    assert role is not None
    assert (stage.kind, stage.options[:2]) == ("option", ("subscriber", "lead"))
    assert (role.kind, "CHAMPION" in role.options) == ("options", True)


@pytest.mark.parametrize("api", ["2026-09", "2026-03", "v3"])
def test_an_unknown_object_lists_those_there_are(open_sink: Callable[..., HubspotSink], api: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'contacts'\?.*or a custom object"):
        open_sink(api=api).describe("contatcs")
    with pytest.raises(ConfigError, match="there is no object"):
        open_sink(api=api).describe("../lists?x=1")


def test_who_may_not_ask_for_the_rules_describes_without_them(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    portal.portal.required = ("jobtitle",)
    portal.switches.missing_scopes = ("schemas",)
    assert not any(f.required for f in fresh.describe("contacts"))


def test_what_is_missing_is_said_and_nothing_is_changed(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    assert fresh.missing([KEY, SCORE], ["Caldi"]) == [
        "property contacts.syncline_key (text, unique)",
        "property contacts.lead_score (number)",
        "list 'Caldi'",
    ]
    assert not portal.portal.custom
    assert not portal.portal.groups


def test_prepare_makes_what_can_be_used_at_once(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    done = fresh.prepare([KEY, SCORE, *fresh.task_fields], ["Caldi"])
    assert done == [
        "created property contacts.syncline_key",
        "created property contacts.lead_score",
        "created property tasks.syncline_task_key",
        "created list 'Caldi'",
    ]
    assert fresh.missing([KEY, SCORE, *fresh.task_fields], ["Caldi"]) == []
    assert field(fresh, "syncline_key") == Field("syncline_key", "text", "Key", unique=True, max_length=65_536)
    assert fresh.upsert("contacts", [Write("p", ("syncline_key", "k"), {"lastname": "R", "lead_score": 5})])[0].ok
    assert {row["name"] for row in portal.portal.groups.values()} == {"syncline"}


def test_prepare_waits_until_a_property_can_be_seen(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    """Visible 250 to 700 ms later; here, after so many looks. The host's sleep does the waiting."""
    portal.switches.property_looks = 4
    fresh.prepare([KEY], [])
    assert fresh.context.http.metrics.waited_seconds == pytest.approx(sum(0.3 * 1.5**n for n in range(5)))
    portal.switches.property_looks = 10**6
    with pytest.raises(TransientError, match="not to be seen yet: lead_score"):
        fresh.prepare([SCORE], [])


def test_before_that_a_write_with_it_is_refused(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    portal.portal.groups["contacts.g"] = {"object": "contacts", "name": "g", "label": "g"}
    portal.portal.define("contacts", definition(SCORE, "g").to_dict() | {"fieldType": "number", "groupName": "g"}, 1)
    write = Write("p", ("email", "a@b.example"), {"lead_score": 5})
    with pytest.raises(ConnectorError):
        fresh.upsert("contacts", [write])
    fresh.describe("contacts")
    assert fresh.upsert("contacts", [write])[0].ok


def test_prepare_twice_does_nothing_the_second_time(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    fresh.prepare([KEY], ["Caldi"])
    before = dict(portal.portal.custom)
    assert fresh.prepare([KEY], ["Caldi"]) == []
    assert dict(portal.portal.custom) == before


def test_what_somebody_else_has_just_created_is_as_good(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    """409 for the group, OBJECT_ALREADY_EXISTS for a property of the batch (recorded: amp-labs custom update)."""
    other = type(fresh)(fresh.config, fresh.context)
    fresh.prepare([KEY], [])
    fresh.client.create_group("contacts", "syncline", "Syncline")
    fresh.client.create_properties("contacts", [definition(KEY, "syncline"), definition(SCORE, "syncline")])
    portal.portal.age("contacts")
    assert other.missing([KEY, SCORE], []) == []


def test_a_key_that_is_not_unique_is_said(fresh: HubspotSink, portal: HubspotSimulator) -> None:
    fresh.prepare([FieldSpec("contacts", "syncline_key", "text", "Key")], [])
    assert fresh.missing([KEY], []) == [
        "property contacts.syncline_key is there, but not unique: two records could hold one key"
    ]
    with pytest.raises(ConfigError, match="delete it and prepare again"):
        fresh.prepare([KEY, SCORE], [])
    assert "contacts.lead_score" not in portal.portal.custom


def test_a_read_only_property_is_said(fresh: HubspotSink) -> None:
    spec = FieldSpec("contacts", "hs_email_domain", "text", "Domain")
    assert fresh.missing([spec], []) == ["property contacts.hs_email_domain is there, but read-only"]
    with pytest.raises(ConfigError, match="Choose another name"):
        fresh.prepare([spec], [])


@pytest.mark.parametrize("name", ["Lead_Score__c", "hs_score", "1st", "with blank"])
def test_a_name_that_cannot_be_made_is_said(fresh: HubspotSink, portal: HubspotSimulator, name: str) -> None:
    spec = FieldSpec("contacts", name, "text", "X")
    assert "cannot be created, names begin with a small letter" in fresh.missing([spec], [])[0]
    with pytest.raises(ConfigError, match="cannot be created"):
        fresh.prepare([KEY, spec], [])
    assert not portal.portal.custom


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (KEY, {"type": "string", "field_type": "text", "has_unique_value": True}),
        (SCORE, {"type": "number", "field_type": "number", "has_unique_value": None}),
        (FieldSpec("contacts", "a", "date", "A"), {"type": "date", "field_type": "date"}),
        (FieldSpec("contacts", "a", "datetime", "A"), {"type": "datetime", "field_type": "date"}),
        (FieldSpec("contacts", "a", "option", "A"), {"type": "string", "field_type": "text"}),
        (FieldSpec("contacts", "a", "text", "A", max_length=4000), {"type": "string", "field_type": "textarea"}),
    ],
    ids=["key", "number", "date", "datetime", "option", "long text"],
)
def test_the_definition_of_each_kind(spec: FieldSpec, expected: dict[str, object]) -> None:
    made = definition(spec, "g").to_dict()
    assert {name: made[name] for name in expected} == expected


def test_a_boolean_comes_with_its_two_choices() -> None:
    made = definition(FieldSpec("contacts", "hot", "boolean", "Hot"), "g").to_dict()
    assert (made["type"], made["field_type"]) == ("bool", "booleancheckbox")
    assert [(o["value"], o["display_order"]) for o in made["options"]] == [("true", 0), ("false", 1)]
