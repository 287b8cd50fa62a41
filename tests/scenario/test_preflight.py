"""Drift is found before the first write; only the mapping concerned is parked, by name, and everything else goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from syncline.model import Field, Outcome, Write
from syncline.testing.memory import MemorySink

ADA = "ada@acme.example"


def retype(lab: Any, name: str, **changes: Any) -> None:
    for fields in lab.world.objects.values():
        if name in fields:
            fields[name] = replace(fields[name], **changes)


def drop(lab: Any, name: str) -> None:
    for object_name in ("Lead", "Contact"):
        lab.world.drop_field(object_name, name)


# what an administrator did, the field, a piece of the reason
DRIFTS: list[tuple[Callable[[Any], None], str, str]] = [
    (lambda lab: drop(lab, "Band"), "Band", "no such field"),
    (lambda lab: retype(lab, "Score", writable=False), "Score", "read-only"),
    (lambda lab: retype(lab, "Hot", kind="number"), "Hot", "holds number, and segment.hot is boolean"),
    (lambda lab: retype(lab, "Score", kind="boolean"), "Score", "holds boolean, and score.interest is number"),
    (lambda lab: drop(lab, "LastName"), "LastName", "no such field"),
    (lambda lab: retype(lab, "Band", kind="option", options=("cold",)), "Band", "lacks 'hot'; it has: cold"),
]


@pytest.mark.parametrize(("drift", "name", "reason"), DRIFTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_drifted_mapping_is_parked_alone_and_the_others_are_written(
    lab: Any, monkeypatch: pytest.MonkeyPatch, drift: Callable[[Any], None], name: str, reason: str
) -> None:
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    drift(lab)
    written: set[str] = set()
    upsert = MemorySink.upsert

    def watched(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        written.update(field for write in writes for field in write.fields)
        return upsert(self, object, writes)

    monkeypatch.setattr(MemorySink, "upsert", watched)
    lab.points(ADA, 45)
    lab.points("new@acme.example", 10)
    planned, report = lab.plan(), lab.run()
    sink = report.sinks["crm"]
    assert (planned.status, report.status, report.exit_code) == ("stopped", "stopped", 3)
    assert planned.sinks["crm"].parked == sink.parked
    assert any(parked.startswith(f"Lead.{name}: ") and reason in parked for parked in sink.parked)
    assert {parked.split(": ")[0].split(".")[1] for parked in sink.parked} == {name}
    assert (sink.created, sink.updated, sink.rejected, sink.error) == (1, 1, 0, None)
    assert name not in written
    assert written >= {"Score", "Band", "Hot", "Why"} - {name}
    [run] = [row for row in lab.rows("run") if row["status"] == "stopped"]
    assert run["report"]


def test_a_parked_mapping_is_written_once_it_is_mended(lab: Any) -> None:
    lab.points(ADA, 90)
    retype(lab, "Band", writable=False)
    assert lab.run().exit_code == 3
    assert lab.held(ADA)["Band"] is None
    retype(lab, "Band", writable=True)
    assert lab.run().exit_code == 0
    assert lab.held(ADA)["Band"] == "hot"


def test_a_misspelt_field_is_named_with_the_nearest_one(lab: Any) -> None:
    lab.fields["Scor"] = lab.fields.pop("Score")
    lab.points(ADA, 50)
    [parked] = {p.split(".", 1)[1] for p in lab.run().sinks["crm"].parked}
    assert parked.startswith("Scor: the CRM has no such field; did you mean 'Score'?")


def test_a_field_the_crm_demands_of_new_records_must_be_mapped(lab: Any) -> None:
    """Nobody can be created; those who are there are still written."""
    lab.world.put("Lead", {"Email": ADA, "Company": "Babbage"})
    retype(lab, "Company", required=True)
    lab.points(ADA, 50)
    lab.points("new@acme.example", 50)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.created, sink.updated, sink.rejected) == ("stopped", 0, 1, 0)
    assert sink.parked == [
        "Lead.Company: the CRM demands this field of new records: map it, with a default, or set when_missing: skip"
    ]
    assert [r for r in sink.skipped if "nothing to put into Company" in r]
    lab.fields["Company"] = {
        "from": "person.company", "owner": "shared", "policy": "only_if_empty", "default": "(unknown)"
    }  # fmt: skip
    report = lab.run()
    assert (report.status, report.sinks["crm"].created) == ("done", 1)


def test_a_demanded_field_the_crm_fills_itself_keeps_nobody_out(lab: Any) -> None:
    lab.world.create_field(Field("Number", "text", writable=False, required=True), "Lead")
    lab.points(ADA, 50)
    report = lab.plan()
    assert (report.status, report.sinks["crm"].created) == ("planned", 1)


def test_whom_we_cannot_create_without_a_value_is_skipped_with_the_reason(lab: Any) -> None:
    retype(lab, "LastName", required=True)
    lab.points(ADA, 50)
    lab.points("eve@acme.example", 50, last_name="King")
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.created) == ("done", 1)
    assert sink.skipped == {"nothing to put into LastName, which the CRM demands; give the mapping a default": 1}


@pytest.mark.parametrize("missing", ["Lead", "Contact"])
def test_a_crm_without_our_key_is_not_written_and_says_what_to_do(lab: Any, missing: str) -> None:
    lab.add_second_crm()
    lab.world.drop_field(missing, "Key")
    lab.points(ADA, 50)
    report = lab.run()
    error = report.sinks["crm"].error
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert f"{missing}.Key" in error
    assert "`syncline prepare crm`" in error
    assert lab.world.counters["write_calls"] == 0
    assert report.sinks["other"].created == 1
    with lab.host() as host:
        assert host.missing("crm") == [f"field {missing}.Key (text)"]
        host.prepare("crm")
    assert lab.run().status == "done"


@pytest.mark.parametrize("object_name", ["Lead", "Contact"])
def test_a_key_that_is_not_unique_is_not_written_and_says_what_to_do(lab: Any, object_name: str) -> None:
    """Two records could hold the same key, and an upsert would not know which one it means."""
    lab.world.objects[object_name]["Key"] = replace(lab.world.objects[object_name]["Key"], unique=False)
    lab.points(ADA, 50)
    report = lab.run()
    error = report.sinks["crm"].error
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert f"{object_name}.Key" in error
    assert "not unique: " in error
    assert "`syncline prepare crm`" in error
    assert lab.world.counters["write_calls"] == 0


def test_a_picklist_that_has_every_band_and_the_default_is_written(lab: Any) -> None:
    lab.fields["Band"]["default"] = "none"
    retype(lab, "Band", kind="option", options=("hot",))
    lab.points(ADA, 90)
    assert [p for p in lab.run().sinks["crm"].parked if "lacks 'none'" in p]
    retype(lab, "Band", options=("hot", "none"))
    assert lab.run().status == "done"
    assert lab.held(ADA)["Band"] == "hot"


def test_a_drift_of_another_sync_does_not_stop_the_one_that_is_run(lab: Any) -> None:
    """And it is read all the same, so that the mirror is the same for every sync."""
    both = {key: lab.sync[key] for key in ("to", "object", "also", "match", "when_missing")}
    lab.data["syncs"].append({**both, "name": "bands", "fields": {"Band": lab.fields.pop("Band")}})
    lab.points(ADA, 90)
    retype(lab, "Band", writable=False)
    report = lab.run(sync="leads")
    assert (report.status, report.sinks["crm"].parked) == ("done", [])
    assert (lab.held(ADA)["Score"], lab.held(ADA)["Band"]) == (90, None)
    retype(lab, "Band", writable=True)
    assert lab.run(sync="bands").sinks["crm"].updated == 1
    assert lab.held(ADA)["Band"] == "hot"


def test_a_field_only_leads_have_is_no_drift_of_contacts(lab: Any) -> None:
    """What is shared or theirs may be a lead's own; what is ours must be everywhere."""
    lab.world.drop_field("Contact", "LastName")
    lab.world.put("Contact", {"Email": ADA})
    lab.points(ADA, 50, last_name="Lovelace")
    report = lab.run()
    assert (report.status, report.sinks["crm"].updated) == ("done", 1)
    lab.world.drop_field("Contact", "Band")
    report = lab.run()
    assert report.status == "stopped"
    assert [p.split(":")[0] for p in report.sinks["crm"].parked] == ["Contact.Band"]


def test_prepare_creates_what_a_fresh_crm_lacks(lab: Any) -> None:
    for name in ("Key", "Score", "Band", "Why", "Hot"):
        drop(lab, name)
    del lab.world.objects["Task"]
    lab.world.segments.clear()
    lab.crowd(2, points=90)
    assert lab.run().exit_code == 3
    with lab.host() as host:
        lines = host.missing("crm")
        assert len(lines) == 2 * 5 + 1 + 1
        assert len(host.prepare("crm")) == len(lines)
        assert host.missing("crm") == []
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.created, sink.tasks, sink.members) == ("done", 2, 2, 2)


def test_an_object_the_crm_does_not_have_stops_that_crm(lab: Any) -> None:
    lab.sync["object"] = "Leed"
    lab.points(ADA, 50)
    report = lab.run()
    assert (report.status, report.exit_code) == ("misconfigured", 2)
    assert "did you mean 'Lead'?" in report.sinks["crm"].error


def test_a_missing_campaign_stops_and_is_named(lab: Any) -> None:
    lab.world.segments.clear()
    lab.points(ADA, 90)
    report = lab.run()
    assert report.status == "misconfigured"
    assert "'Hot leads'" in report.sinks["crm"].error
    assert lab.held(ADA)["Score"] == 90, "the record was written before"
    lab.world.segments["Hot leads"] = set()
    assert lab.sink().members == 1
