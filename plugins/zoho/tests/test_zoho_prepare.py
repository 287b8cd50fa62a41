"""Fields, tags and channels: what is missing, and what `prepare` makes of it. Vendor sheet §6, §8, §9."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from syncline.errors import ConfigError
from syncline.model import FieldSpec
from syncline_zoho import ZohoSink
from syncline_zoho.preparing import definition_of
from syncline_zoho.simulator import ZohoSimulator

Open = Callable[..., ZohoSink]
KEY = FieldSpec("Leads", "Syncline_Key", "text", "Syncline key", max_length=64, unique=True)
SCORE = FieldSpec("Leads", "Lead_Score", "number", "Lead Score", scale=2)
NOTIFY = {"notify_url": "https://hooks.sync.example/zoho/secret-path", "notify_token": "only-zoho-knows"}


def test_missing_only_looks_and_prepare_does_it_once(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    needed = [KEY, SCORE, *fresh.task_fields]
    assert fresh.missing(needed, ["Caldi"]) == [
        "field Leads.Syncline_Key (text, unique)",
        "field Leads.Lead_Score (number)",
        "field Tasks.Syncline_Key (text, unique)",
        "tag 'Caldi' of Leads",
    ]
    assert fresh.prepare(needed, ["Caldi"]) == [
        "created field Leads.Syncline_Key",
        "created field Leads.Lead_Score",
        "created field Tasks.Syncline_Key",
        "created tag 'Caldi' of Leads",
    ]
    assert fresh.missing(needed, ["caldi"]) == []
    assert fresh.prepare(needed, ["Caldi"]) == []


def test_five_fields_go_in_a_call(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    needed = [FieldSpec("Leads", f"Field_{n}", "text", "") for n in "ABCDEFG"]
    fresh.describe("Leads")
    crm.reset_counters()
    fresh.prepare(needed, [])
    assert crm.counters()["calls"] == 2 + 2 + 2  # described, created in two calls, described again


def test_the_label_is_made_from_the_name_so_that_the_name_comes_out(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    """`Syncline key`, as the host would label it, would become Syncline_key."""
    fresh.prepare([KEY], [])
    made = next(f for f in crm.crm.fields("Leads").values() if f.custom)
    assert (made.label, made.name) == ("Syncline Key", "Syncline_Key")


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (KEY, {"data_type": "text", "length": 64, "unique": {"case_sensitive": False}}),
        (SCORE, {"data_type": "double", "length": 16, "decimal_place": 2}),
        (FieldSpec("Leads", "Visits", "number", ""), {"data_type": "integer", "length": 9}),
        (FieldSpec("Leads", "Hot", "boolean", ""), {"data_type": "boolean"}),
        (FieldSpec("Leads", "Seen_On", "date", ""), {"data_type": "date"}),
        (FieldSpec("Leads", "Seen_At", "datetime", ""), {"data_type": "datetime"}),
        (FieldSpec("Leads", "Why", "text", ""), {"data_type": "text", "length": 255}),
        (FieldSpec("Leads", "Why", "text", "", max_length=2_000), {"textarea": {"type": "small"}}),
        (FieldSpec("Leads", "Why", "text", "", max_length=2_001), {"textarea": {"type": "large"}}),
    ],
    ids=lambda v: v.name + str(v.max_length or "") if isinstance(v, FieldSpec) else None,
)
def test_every_kind_has_its_type(spec: FieldSpec, wanted: dict[str, Any]) -> None:
    assert wanted.items() <= definition_of(spec).items()


@pytest.mark.parametrize(
    "name", ["Lead_Score__c", "_Score", "Score_", "A_name_longer_than_a_label", "Punteggio_perché"]
)
def test_a_name_that_zoho_would_never_make_is_refused_before_anything_is_created(
    fresh: ZohoSink, crm: ZohoSimulator, name: str
) -> None:
    with pytest.raises(ConfigError, match="like Lead_Score"):
        fresh.prepare([KEY, FieldSpec("Leads", name, "text", "")], [])
    assert not any(f.custom for f in crm.crm.fields("Leads").values())


def test_a_name_that_is_still_taken_is_told(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    """The new field would get a digit, and a mapping to the old name would write nowhere."""
    fresh.prepare([SCORE], [])
    crm.remove_field("Leads", "Lead_Score")
    with pytest.raises(ConfigError, match="Lead_Score1, not Lead_Score"):
        fresh.prepare([SCORE], [])


def test_a_label_that_another_field_has_is_told(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    crm.crm.create_field("Leads", {"field_label": "Lead-Score", "data_type": "text"}, 0)
    crm.change_field("Leads", "Lead_Score", field_label="Punteggio", api_name="Punteggio")
    crm.crm.create_field("Leads", {"field_label": "Other", "data_type": "text"}, 0)
    crm.change_field("Leads", "Other", field_label="Lead Score")
    with pytest.raises(ConfigError, match="another field has the label 'Lead Score'"):
        fresh.prepare([SCORE], [])


def test_a_field_that_is_there_but_not_unique_is_for_a_person(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    fresh.prepare([KEY], [])
    crm.change_field("Leads", "Syncline_Key", unique={})
    assert "not unique" in fresh.missing([KEY], [])[0]
    with pytest.raises(ConfigError, match=r"two records could hold one key.*Modules and Fields"):
        fresh.prepare([KEY], [])


def test_a_field_that_we_may_only_read_is_for_a_person(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    fresh.prepare([SCORE], [])
    crm.change_field("Leads", "Lead_Score", read_only=True)
    assert "not write it" in fresh.missing([SCORE], [])[0]
    with pytest.raises(ConfigError, match="Profiles"):
        fresh.prepare([SCORE], [])


def test_tags_are_made_in_every_module_of_people(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    contact = FieldSpec("Contacts", "Syncline_Key", "text", "", max_length=64, unique=True)
    fresh.prepare([KEY, contact, *fresh.task_fields], ["Caldi", "Freddi"])
    assert {(t["module"], t["name"]) for t in crm.crm.tags.values()} == {
        (module, name) for module in ("Leads", "Contacts") for name in ("Caldi", "Freddi")
    }


def test_a_tag_that_somebody_made_meanwhile_is_no_trouble(
    fresh: ZohoSink, crm: ZohoSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(fresh._segments), "absent", lambda *_: [("Leads", "Caldi")])
    crm.crm.create_tag("Leads", "Caldi")
    assert fresh.prepare([], ["Caldi"]) == ["created tag 'Caldi' of Leads"]


def test_a_tag_name_that_is_too_long_is_refused(fresh: ZohoSink) -> None:
    with pytest.raises(ConfigError, match="1 to 25"):
        fresh.missing([], ["x" * 26])


# Notifications


def test_a_channel_is_opened_renewed_and_watched(open_sink: Open, crm: ZohoSimulator) -> None:
    sink = open_sink(**NOTIFY)
    contact = FieldSpec("Contacts", "Syncline_Key", "text", "", max_length=64, unique=True)
    needed = [KEY, contact]
    assert "prepare" in sink.check().details["notifications"]
    assert sink.missing(needed, [])[-2:] == ["notifications of Leads", "notifications of Contacts"]
    sink.prepare(needed, [])
    assert sink.missing(needed, []) == []
    assert sink.check().details["notifications"] == "until 2026-06-08T07:00:00+00:00"
    crm.advance(timedelta(days=5))
    assert "(soon" in sink.check().details["notifications"]
    assert sink.missing(needed, []) == ["notifications of Leads", "notifications of Contacts"]
    sink.prepare(needed, [])
    assert sink.check().details["notifications"] == "until 2026-06-13T07:00:00+00:00"
    crm.advance(timedelta(days=8))
    assert sink.check().details["notifications"].startswith("ended 2026-06-13")
    sink.prepare(needed, [])
    assert sink.missing(needed, []) == []


def test_another_address_is_another_channel(open_sink: Open, crm: ZohoSimulator) -> None:
    open_sink(**NOTIFY).prepare([KEY], [])
    moved = open_sink(**{**NOTIFY, "notify_url": "https://elsewhere.example/zoho"})
    assert moved.missing([KEY], []) == ["notifications of Leads"]
    moved.prepare([KEY], [])
    assert moved.missing([KEY], []) == []


def test_without_an_address_no_channel_is_asked_for(fresh: ZohoSink, crm: ZohoSimulator) -> None:
    fresh.prepare([KEY], [])
    assert "notifications" not in fresh.check().details
    assert len(crm.table("channel")) == 0


def test_the_token_of_the_channel_is_in_no_text(open_sink: Open) -> None:
    sink = open_sink(**NOTIFY)
    told = [*sink.missing([KEY], []), *sink.prepare([KEY], []), str(sink.check())]
    assert not any("only-zoho-knows" in text for text in told)
