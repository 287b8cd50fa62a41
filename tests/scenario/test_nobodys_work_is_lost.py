"""What people typed into the CRM stays, whatever happens to mappings, stamps, books and accounts in between."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from syncline.model import Field, Value

ADA = "ada@acme.example"
COMPANY = {"from": "person.company", "owner": "shared", "policy": "only_if_empty"}


def unmap_for_a_run(lab: Any) -> None:
    kept = lab.fields.pop("Company")
    lab.run()
    lab.fields["Company"] = kept


def run_another_sync(lab: Any) -> None:
    kept = lab.fields.pop("Company")
    second = {**lab.sync, "name": "second", "fields": {"Company": kept}, "segments": {}}
    lab.data["syncs"].append(second)
    lab.run(sync="leads")
    lab.later()


@pytest.mark.parametrize("disturb", [unmap_for_a_run, run_another_sync])
def test_a_field_that_was_out_of_sight_is_not_taken_for_empty(lab: Any, disturb: Callable[[Any], None]) -> None:
    lab.fields["Company"] = COMPANY
    lab.world.put("Lead", {"Email": ADA, "Company": "Human Ltd"})
    lab.points(ADA, 90, last_name="Lovelace", company="Machine Inc")
    lab.run()
    disturb(lab)
    held = lab.held(ADA)["Company"]
    for _ in range(2):
        lab.later()
        lab.points(ADA, 5)
        lab.run()
    assert lab.held(ADA)["Company"] == held == "Human Ltd"


def test_our_own_write_coming_back_does_not_make_a_persons_edit_newer(lab: Any) -> None:
    """We learn of a name that is younger than the person's edit and older than our last write of something else."""
    lab.fields["LastName"]["policy"] = "newest"
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastName": "King"})
    lab.later()
    lab.points(ADA, 5)
    lab.run()
    assert lab.held(ADA)["LastName"] == "King"
    lab.points(ADA, 1, last_name="Lovelace")
    lab.later()
    lab.run()
    assert lab.held(ADA)["LastName"] == "Lovelace"


def test_a_placeholder_of_ours_gives_way_to_the_truth(lab: Any) -> None:
    lab.fields["Company"] = {**COMPANY, "default": "(unknown)"}
    lab.points(ADA, 90, last_name="Lovelace")
    lab.run()
    assert lab.held(ADA)["Company"] == "(unknown)"
    lab.later()
    lab.points(ADA, 1, company="Analytical Engines")
    lab.run()
    assert lab.held(ADA)["Company"] == "Analytical Engines"


@pytest.mark.parametrize(
    ("kind", "text", "held"),
    [("number", "12", Decimal(12)), ("boolean", "yes", True), ("date", "2026-05-01", "2026-05-01")],
)
def test_an_attribute_is_written_once_as_what_its_field_holds(lab: Any, kind: Any, text: str, held: Value) -> None:
    lab.world.create_field(Field("Extra", kind), "Lead")
    lab.fields["Extra"] = {"from": "person.extra", "owner": "ours"}
    lab.points(ADA, 90, last_name="Lovelace", extra=text)
    lab.run()
    assert str(lab.held(ADA)["Extra"]) == str(held)
    for _ in range(2):
        lab.later()
        sink = lab.sink()
        assert (sink.updated, sink.drift, sink.rejected) == (0, 0, 0)


def test_an_attribute_its_field_cannot_hold_is_left_out_and_counted(lab: Any) -> None:
    lab.world.create_field(Field("Extra", "number"), "Lead")
    lab.fields["Extra"] = {"from": "person.extra", "owner": "ours"}
    lab.points(ADA, 90, last_name="Lovelace", extra="a dozen")
    sink = lab.sink()
    assert lab.held(ADA)["Extra"] is None
    assert (sink.created, sink.rejected) == (1, 0)
    assert sink.unfit == {"Lead.Extra: person.extra: 'a dozen' is no number": 1}


def test_drift_of_a_reason_is_reported_and_rewritten(lab: Any) -> None:
    lab.points(ADA, 90, last_name="Lovelace")
    lab.run()
    reason = lab.held(ADA)["Why"]
    assert reason
    lab.world.edit(lab.ref(ADA), {"Why": "because"})
    lab.later()
    assert lab.sink().drift == 1
    assert lab.held(ADA)["Why"] == reason


def test_what_the_crm_empties_is_forgotten_here(lab: Any) -> None:
    lab.fields["Status"] = {"to": "person.stage", "owner": "theirs"}
    lab.points(ADA, 90, last_name="Lovelace")
    lab.run()
    for status in ("Working", None):
        lab.world.edit(lab.ref(ADA), {"Status": status})
        lab.later()
        lab.run()
        stages = [row["value"] for row in lab.rows("attribute") if row["name"] == "stage"]
        assert stages == ([status] if status else [])


def test_a_task_that_waited_comes_in_todays_words(lab: Any) -> None:
    lab.sync["when_missing"] = "skip"
    lab.points(ADA, 90, last_name="Lovelace")
    assert lab.sink().waiting == 1
    lab.later(72)
    lab.sync["when_missing"] = "create"
    lab.points(ADA, 30)
    lab.run()
    [task] = lab.world.tasks.values()
    assert (task.due - lab.now).total_seconds() == 2 * 3600


def test_lost_books_double_nothing(lab: Any) -> None:
    """The state database is gone: records are found by address, tasks by the keys that the records carry."""
    lab.points(ADA, 90, last_name="Lovelace")
    lab.crowd(3, points=100)
    lab.run()
    before = lab.holdings()
    keys = {lab.held(ADA)["Key"]}
    assert len(lab.world.tasks) == 4
    for path in lab.folder.glob("state.db*"):
        path.unlink()
    lab.later()
    sink = lab.sink()
    assert lab.holdings() == before
    assert {lab.held(ADA)["Key"]} == keys
    assert (sink.created, sink.rejected) == (0, 0)


def test_another_account_is_not_written_by_the_books_of_the_first(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.points(ADA, 90, last_name="Lovelace")
    lab.run()
    lab.world = lab._world()
    account = "another"
    check = type(lab.host().connector("crm")).check

    def moved(self: Any) -> Any:
        found = check(self)
        return type(found)(account, found.name, found.details)

    monkeypatch.setattr("syncline.testing.memory.MemorySink.check", moved)
    lab.later()
    report = lab.run()
    assert report.status == "stopped"
    assert "now reaches another account" in str(report.sinks["crm"].error)
    assert not lab.world.refs("Lead")
    with lab.host() as host:
        host.reset("crm")
    lab.points(ADA, 1)
    assert lab.sink().created == 1


def test_whom_a_person_put_on_the_list_stays_on_it(lab: Any) -> None:
    lab.points(ADA, 50, last_name="Lovelace")
    lab.run()
    lab.world.segments["Hot leads"].add(lab.ref(ADA))
    for points, members in ((40, 1), (-40, 0), (40, 1)):
        lab.later()
        lab.points(ADA, points)
        assert lab.sink().members == members
        assert lab.ref(ADA) in lab.world.segments["Hot leads"]
