"""Describing objects, and preparing an org. Rules: vendor sheet §8."""

from __future__ import annotations

import pytest

from syncline.errors import ConfigError
from syncline.model import Field, FieldSpec
from syncline_salesforce import SalesforceSink
from syncline_salesforce.preparing import metadata_of
from syncline_salesforce.simulator import SalesforceSimulator

KEY = FieldSpec("Lead", "Syncline_Key__c", "text", "Key", max_length=64, unique=True)
SCORE = FieldSpec("Lead", "Lead_Score__c", "number", "Score", scale=0)


def field(sink: SalesforceSink, name: str, object: str = "Lead") -> Field | None:
    return next((f for f in sink.describe(object) if f.name == name), None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LastName", Field("LastName", "text", "Last Name", required=True, max_length=80)),
        ("Email", Field("Email", "text", "Email", max_length=80)),
        # Unrestricted: it takes any text, so no options; and it has a default, so it is not required.
        ("Status", Field("Status", "option", "Status", max_length=255)),
        ("OwnerId", Field("OwnerId", "reference", "Owner Id")),
        ("IsConverted", Field("IsConverted", "boolean", "Is Converted", writable=False)),
        ("NumberOfEmployees", Field("NumberOfEmployees", "number", "Number Of Employees", scale=0)),
        ("Latitude", Field("Latitude", "number", "Latitude", scale=15)),
        ("SystemModstamp", Field("SystemModstamp", "datetime", "System Modstamp", writable=False)),
        ("ConvertedDate", Field("ConvertedDate", "date", "Converted Date", writable=False)),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_fields_are_described(fresh: SalesforceSink, name: str, expected: Field) -> None:
    assert field(fresh, name) == expected


def test_a_restricted_picklist_has_options(fresh: SalesforceSink) -> None:
    found = field(fresh, "CleanStatus")
    assert found is not None
    assert "Matched" in found.options


def test_an_unknown_object_names_the_nearest(fresh: SalesforceSink) -> None:
    with pytest.raises(ConfigError, match="did you mean 'Lead'"):
        fresh.describe("Leed")
    with pytest.raises(ConfigError, match="there is no object"):
        fresh.describe("../query?q=x")


def test_what_is_missing_is_said_and_nothing_is_changed(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    assert fresh.missing([KEY, SCORE], ["Caldi"]) == [
        "field Lead.Syncline_Key__c (text, unique external id), with access for the user we log in as",
        "field Lead.Lead_Score__c (number), with access for the user we log in as",
        "campaign 'Caldi'",
    ]
    assert not org.org.custom
    assert "write_calls" not in org.counters()


def test_prepare_makes_fields_that_we_may_write(fresh: SalesforceSink) -> None:
    done = fresh.prepare([KEY, SCORE, *fresh.task_fields], ["Caldi"])
    assert done == [
        "created field Lead.Syncline_Key__c",
        "created field Lead.Lead_Score__c",
        "created field Activity.Syncline_Key__c",
        "created campaign 'Caldi'",
    ]
    assert fresh.missing([KEY, SCORE, *fresh.task_fields], ["Caldi"]) == []
    assert field(fresh, "Syncline_Key__c") == Field("Syncline_Key__c", "text", "Key", unique=True, max_length=64)
    assert field(fresh, "Lead_Score__c") == Field("Lead_Score__c", "number", "Score", scale=0)
    assert field(fresh, "Syncline_Key__c", "Task") is not None


def test_prepare_twice_does_nothing_the_second_time(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    fresh.prepare([KEY], ["Caldi"])
    org.reset_counters()
    assert fresh.prepare([KEY], ["Caldi"]) == []
    assert "write_calls" not in org.counters()


def test_a_field_that_is_hidden_from_us_is_granted_not_made(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    """A field made by an administrator is visible to nobody until field-level security says so."""
    org.org.create_field("Lead.Lead_Score__c", metadata_of(SCORE))
    assert field(fresh, "Lead_Score__c") is None
    assert fresh.prepare([SCORE], []) == ["granted access to field Lead.Lead_Score__c"]
    assert field(fresh, "Lead_Score__c") is not None


def test_a_field_we_may_only_read_is_named_as_such(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    fresh.prepare([SCORE], [])
    for row in org.org.tables["FieldPermissions"].values():
        row["PermissionsEdit"] = False
    org.org._fields.clear()
    assert fresh.missing([SCORE], []) == ["access to field Lead.Lead_Score__c: we may read it, not write it"]


def test_a_standard_field_cannot_be_made(fresh: SalesforceSink, org: SalesforceSimulator) -> None:
    spec = FieldSpec("Lead", "Stage", "text", "Stage")
    assert "cannot be created" in fresh.missing([spec], [])[0]
    with pytest.raises(ConfigError, match="end in __c"):
        fresh.prepare([KEY, spec], [])
    assert not org.org.custom


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            KEY,
            {"label": "Key", "type": "Text", "length": 64, "unique": True, "externalId": True, "caseSensitive": False},
        ),
        (SCORE, {"label": "Score", "type": "Number", "precision": 18, "scale": 0}),
        (FieldSpec("Lead", "A__c", "boolean", "A"), {"label": "A", "type": "Checkbox", "defaultValue": "false"}),
        (FieldSpec("Lead", "A__c", "date", "A"), {"label": "A", "type": "Date"}),
        (FieldSpec("Lead", "A__c", "datetime", "A"), {"label": "A", "type": "DateTime"}),
        (FieldSpec("Lead", "A__c", "option", "A"), {"label": "A", "type": "Text", "length": 255}),
        (
            FieldSpec("Lead", "A__c", "text", "A", max_length=4000),
            {"label": "A", "type": "LongTextArea", "length": 4000, "visibleLines": 3},
        ),
    ],
    ids=["key", "number", "checkbox", "date", "datetime", "option", "long text"],
)
def test_the_tooling_body_of_each_kind(spec: FieldSpec, expected: dict[str, object]) -> None:
    """As in the vendor sheet §8; it could not be verified against an org."""
    assert metadata_of(spec) == expected
