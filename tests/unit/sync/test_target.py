"""Preflight: a mapping held against what the CRM says of its fields now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from syncline.model import Field, FieldKind, FieldSpec, Limits, Origin
from syncline.sync.merge import Policy
from syncline.sync.preflight import preflight
from syncline.sync.target import FieldMap, Target, needed_fields

LIMITS = Limits(200, 200, 200)
KEY = Field("Key", "text", unique=True)


def origin(text: str) -> Origin:
    found = Origin.parse(text)
    assert found is not None
    return found


def target(*fields: FieldMap, objects: Sequence[str] = ("Lead",), **settings: Any) -> Target:
    return Target("crm", tuple(objects), "Key", settings.pop("create", True), fields, LIMITS, **settings)


def ours(name: str, source: str, policy: Policy = "ours") -> FieldMap:
    return FieldMap(name, policy, origin(source))


# what the mapping gives, what the field holds, whether that fits
KINDS: list[tuple[str, FieldKind, bool]] = [
    ("score.interest", "number", True),
    ("score.interest", "text", True),
    ("score.interest", "boolean", False),
    ("score.interest", "date", False),
    ("score.interest.band", "text", True),
    ("score.interest.band", "option", True),
    ("score.interest.band", "number", False),
    ("score.interest.reason", "text", True),
    ("segment.hot", "boolean", True),
    ("segment.hot", "text", True),
    ("segment.hot", "number", False),
    ("person.last_event_at", "datetime", True),
    ("person.last_event_at", "boolean", False),
    ("person.company", "text", True),
    ("person.company", "number", True),  # text that may well spell a number
    ("person.last_event", "option", True),
]


@pytest.mark.parametrize(("source", "kind", "fits"), KINDS, ids=lambda value: str(value))
def test_a_field_of_the_wrong_kind_is_parked(source: str, kind: FieldKind, fits: bool) -> None:
    checked = preflight(target(ours("F", source)), {"Lead": [KEY, Field("F", kind)]})
    assert [parked.field for parked in checked.parked] == ([] if fits else ["F"])
    if not fits:
        assert checked.parked[0].reason == f"the field holds {kind}, and {source} is " + (
            "number" if source == "score.interest" else
            "boolean" if source == "segment.hot" else
            "datetime" if source.endswith("_at") else "text"
        )  # fmt: skip


def test_parked_is_only_what_drifted_and_only_on_the_object_where_it_did() -> None:
    checked = preflight(
        target(ours("A", "score.x"), ours("B", "score.y"), objects=("Lead", "Contact")),
        {"Lead": [KEY, Field("A", "number"), Field("B", "number")], "Contact": [KEY, Field("B", "number")]},
    )
    assert [(parked.object, parked.field) for parked in checked.parked] == [("Contact", "A")]
    assert [mapped.name for mapped in checked.fields_of("Lead")] == ["A", "B"]
    assert [mapped.name for mapped in checked.fields_of("Contact")] == ["B"]
    assert checked.read_fields("Lead") == ["A", "B", "Key"]
    assert checked.read_fields("Contact") == ["B", "Key"]


@pytest.mark.parametrize("policy", ["only_if_empty", "human_wins", "newest", "ask"])
def test_a_shared_field_may_be_missing_on_the_other_objects_but_not_on_the_main_one(policy: Policy) -> None:
    mapping = target(ours("Company", "person.company", policy), objects=("Lead", "Contact"))
    company = Field("Company", "text")
    assert preflight(mapping, {"Lead": [KEY, company], "Contact": [KEY]}).parked == ()
    [parked] = preflight(mapping, {"Lead": [KEY], "Contact": [KEY, company]}).parked
    assert (parked.object, parked.field) == ("Lead", "Company")


def test_what_we_only_read_may_be_read_only_and_of_any_kind() -> None:
    mapping = target(FieldMap("Status", to="stage"))
    assert preflight(mapping, {"Lead": [KEY, Field("Status", "option", writable=False)]}).parked == ()
    [parked] = preflight(mapping, {"Lead": [KEY]}).parked
    assert parked.reason.startswith("the CRM has no such field")


def test_what_the_crm_demands_of_new_records_only_matters_where_we_create() -> None:
    fields = [KEY, Field("Name", "text", required=True), Field("Number", "text", required=True, writable=False)]
    described = {"Lead": fields, "Contact": fields}
    both = target(objects=("Lead", "Contact"))
    assert [(p.object, p.field) for p in preflight(both, described).parked] == [("Lead", "Name")]
    assert preflight(replace(both, create=False), described).parked == ()
    named = target(ours("Name", "person.last_name", "only_if_empty"))
    assert preflight(named, {"Lead": fields}).parked == ()
    read = target(FieldMap("Name", to="name"))
    assert [p.field for p in preflight(read, {"Lead": fields}).parked] == ["Name"], "reading it gives it no value"


def test_our_key_must_be_there_and_writable() -> None:
    for fields in ([], [replace(KEY, writable=False)]):
        assert [p.field for p in preflight(target(), {"Lead": fields}).parked] == ["Key"]


def test_needed_fields_are_our_key_and_what_is_ours_on_every_object() -> None:
    mapping = target(
        ours("Lead_Score__c", "score.interest"),
        ours("Band__c", "score.interest.band"),
        ours("Hot__c", "segment.hot"),
        ours("Seen_At__c", "person.last_event_at"),
        ours("FirstName", "person.first_name", "only_if_empty"),
        FieldMap("Status", to="stage"),
        objects=("Lead", "Contact"),
    )
    specs = needed_fields(mapping)
    assert [spec for spec in specs if spec.object == "Lead"] == [
        FieldSpec("Lead", "Key", "text", "Syncline key", max_length=64, unique=True),
        FieldSpec("Lead", "Lead_Score__c", "number", "Lead Score", scale=2),
        FieldSpec("Lead", "Band__c", "text", "Band", max_length=255),
        FieldSpec("Lead", "Hot__c", "boolean", "Hot"),
        FieldSpec("Lead", "Seen_At__c", "datetime", "Seen At"),
    ]
    assert [replace(spec, object="Lead") for spec in specs if spec.object == "Contact"] == specs[:5]


def test_what_prepare_creates_passes_preflight() -> None:
    sources = ("score.x", "score.x.band", "score.x.reason", "segment.y", "person.last_event", "person.last_event_at")
    mapping = target(*(ours(f"F{number}", source) for number, source in enumerate(sources)))
    made = [Field(s.name, s.kind, s.label, unique=s.unique, max_length=s.max_length) for s in needed_fields(mapping)]
    assert preflight(mapping, {"Lead": made}).parked == ()
