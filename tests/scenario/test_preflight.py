"""Drift is found before the first write; only the mapping concerned is parked, by name, and everything else goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from syncline.errors import AuthError, ConfigError
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


def test_a_missing_campaign_parks_that_segment_alone(lab: Any) -> None:
    lab.world.segments.clear()
    lab.points(ADA, 90)
    planned, report = lab.plan(), lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.error, sink.created, sink.tasks, sink.members) == ("stopped", None, 1, 1, 0)
    assert sink.parked == planned.sinks["crm"].parked
    [parked] = sink.parked
    assert parked.startswith("list 'Hot leads': the CRM lacks segment Hot leads. `syncline prepare crm`")
    assert planned.sinks["crm"].planned_calls == 2, "a record and a task"
    lab.world.segments["Hot leads"] = set()
    report = lab.run()
    assert (report.status, report.sinks["crm"].members) == ("done", 1)
    assert report.sinks["crm"].recovered == ["list 'Hot leads'"]
    assert lab.sink().recovered == []


def test_a_task_object_without_our_key_parks_the_tasks_alone(lab: Any) -> None:
    """They wait, and come once when there is a place for them."""
    lab.world.drop_field("Task", "Key")
    lab.points(ADA, 90)
    for _ in range(2):
        report = lab.run()
        sink = report.sinks["crm"]
        assert (report.status, sink.error, sink.tasks, sink.waiting) == ("stopped", None, 0, 1)
        assert [p for p in sink.parked if p.startswith("tasks: the CRM lacks field Task.Key")]
    assert lab.held(ADA)["Score"] == 90
    assert lab.world.segments["Hot leads"] == {lab.ref(ADA)}
    with lab.host() as host:
        host.prepare("crm")
    report = lab.run()
    assert (report.status, report.sinks["crm"].tasks, report.sinks["crm"].recovered) == ("done", 1, ["tasks"])
    assert lab.sink().tasks == 0


def test_what_a_run_does_not_write_is_not_asked_for(lab: Any) -> None:
    """An idle run costs what it did before anybody looked for lists and task fields."""
    lab.points(ADA, 90)
    lab.run()
    lab.world.segments.clear()
    del lab.world.objects["Task"]
    assert lab.run().status == "done"


def test_parked_tasks_leave_their_dead_letters_where_they_are(lab: Any) -> None:
    lab.points(ADA, 90)
    lab.run()
    lab.points("eve@acme.example", 90)
    lab.world.fail_record("*")
    lab.run()
    lab.world.heal()
    lab.world.drop_field("Task", "Key")
    lab.run()
    lab.world.create_field(Field("Key", "text", max_length=64, unique=True), "Task")
    lab.world.fail_record("*")
    lab.run()
    [task] = [letter for letter in lab.dead_letters().values() if letter.operation == "task"]
    lab.world.drop_field("Task", "Key")
    lab.run()
    assert task.key in lab.dead_letters(), "it was not planned, but it is not settled either"


def contact(lab: Any, email: str) -> Any:
    return lab.world.put("Contact", {"Email": email, "LastName": "Contact"})


@pytest.mark.parametrize("how", ["gone", "forbidden", "without our key", "with a key that is not unique"])
def test_an_object_that_cannot_be_used_any_more_is_parked_alone(
    lab: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The records of other objects are written. Nobody is created, who may have a record there by now."""
    ref, segment = contact(lab, ADA), lab.world.segments["Hot leads"]
    lab.points(ADA, 90)
    lab.points("eve@acme.example", 90)
    lab.run()
    before, tasks = dict(lab.world.get(ref)), len(lab.world.tasks)
    fields = lab.world.objects["Contact"]
    describe = MemorySink.describe

    def refused(self: MemorySink, object: str) -> Sequence[Field]:
        if object == "Contact" and how in ("gone", "forbidden"):
            raise (ConfigError if how == "gone" else AuthError)(f"Contact is {how}")
        return describe(self, object)

    monkeypatch.setattr(MemorySink, "describe", refused)
    if how == "without our key":
        lab.world.drop_field("Contact", "Key")
    elif how == "with a key that is not unique":
        fields["Key"] = replace(fields["Key"], unique=False)
    lab.points(ADA, -85)
    lab.points("eve@acme.example", 1)
    lab.points("new@acme.example", 90)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.error, sink.updated, sink.created) == ("stopped", None, 1, 0)
    assert [p for p in sink.parked if p.startswith("Contact")]
    assert sink.skipped == {
        "their record is in Contact, which is parked": 1,
        "not created while Contact is parked: they may be there": 1,
    }
    held = lab.world.get(ref)
    assert {name: held.get(name) for name in ("Score", "Band", "Hot")} == {
        n: before[n] for n in ("Score", "Band", "Hot")
    }
    assert ref in segment, "their memberships wait too"
    assert len(lab.world.tasks) == tasks
    monkeypatch.undo()
    if "key" in how:
        lab.world.objects["Contact"]["Key"] = Field("Key", "text", max_length=64, unique=True)
    report = lab.run()
    assert (report.status, report.sinks["crm"].created) == ("done", 1)
    assert (lab.world.get(ref)["Score"], ref in segment) == (5, False)
    assert len(lab.records(ADA)) == 1


def test_a_drift_says_when_it_was_well_and_that_it_is_well_again(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.run()
    lab.later()
    retype(lab, "Score", kind="text")
    parked = lab.sink().parked
    assert [p.partition(":")[0] for p in parked] == ["Contact.Score", "Lead.Score"] or len(parked) == 2
    assert all("was a number, is text since the run of 2026-06-01 08:00" in p for p in parked)
    retype(lab, "Score", kind="number")
    lab.points(ADA, 1)
    report = lab.run()
    assert (report.status, report.sinks["crm"].recovered) == ("done", ["Lead.Score", "Contact.Score"])
    assert lab.held(ADA)["Score"] == 51


def test_an_option_that_our_people_hold_is_found_missing(lab: Any) -> None:
    """Of a person's attribute nobody knows the values beforehand: what the CRM has taken from us says them."""
    retype(lab, "Company", kind="option", options=("Acme", "Other"))
    lab.fields["Company"] = {"from": "person.company", "owner": "ours"}
    lab.points(ADA, 50, company="Acme")
    lab.run()
    retype(lab, "Company", options=("Other", "ACME"))
    [lead] = [p for p in lab.sink().parked if p.startswith("Lead.Company")]
    assert "has lost 'Acme' (nearest there: 'ACME')" in lead
    retype(lab, "Company", options=("Other", "Acme"))
    assert lab.sink().parked == []


def test_a_plan_finds_the_same_and_moves_nothing(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.run()
    before = lab.rows("description")
    lab.later()
    retype(lab, "Score", writable=False)
    assert lab.plan().status == "stopped"
    assert lab.rows("description") == before


def test_check_live_says_all_of_it_and_writes_nothing(lab: Any) -> None:
    lab.points(ADA, 90)
    lab.run()
    retype(lab, "Score", kind="text")
    drop(lab, "Band")
    lab.world.segments.clear()
    before, writes = lab.rows("description"), lab.world.counters["write_calls"]
    with lab.host() as host:
        found = host.preflight("crm")
    assert {name for name, why in found.items() if why} == {
        "Lead.Score", "Contact.Score", "Lead.Band", "Contact.Band", "list 'Hot leads'"
    }  # fmt: skip
    assert (found["Lead.Why"], found["tasks"]) == (None, None)
    assert (lab.rows("description"), lab.world.counters["write_calls"]) == (before, writes)


def test_a_change_that_is_meant_is_accepted_by_name(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.run()
    retype(lab, "Why", max_length=5)
    assert lab.run().status == "stopped"
    with lab.host() as host:
        host.accept("Lead.Why")
        host.accept("Contact.Why")
        with pytest.raises(ConfigError, match=r"no run has seen a mapping 'Lead\.Wy'; did you mean 'Lead\.Why'"):
            host.accept("Lead.Wy")
    assert lab.run().status == "done"


def test_values_of_a_field_that_got_shorter_are_not_cut(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.run()
    why = lab.held(ADA)["Why"]
    retype(lab, "Why", max_length=5)
    lab.points(ADA, 3)
    [parked] = [p for p in lab.sink().parked if p.startswith("Lead.Why")]
    assert f"up to {len(why)} and would be cut" in parked
    assert lab.held(ADA)["Why"] == why
