"""The CRM in memory tells who edited what, as the best of CRMs do, or only as much as most."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from syncline.model import Edit, RemoteRecord, Write
from syncline.sdk import Context, Http
from syncline.testing.memory import MemoryConfig, MemorySink, MemoryWorld

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


def told(world: MemoryWorld) -> RemoteRecord:
    sink = type("Bound", (MemorySink,), {"world": world})(
        MemoryConfig(), Context("crm", Http("crm"), lambda: NOW + timedelta(hours=1), {})
    )
    ref = world.put("Lead", {"FirstName": "Ada", "Phone": "1"}, at=NOW)
    world.edit(ref, {"Phone": "2"}, who="Grace Hopper", at=NOW + timedelta(minutes=5))
    sink.upsert("Lead", [Write("w", ("Id", ref.id), {"Score": 7})])
    [page] = sink.changes("Lead", ["FirstName", "Phone", "Score", "Band"], None)
    return page.records[0]


def test_a_history_says_of_each_field_who_came_last() -> None:
    record = told(MemoryWorld())
    assert record.edits == {
        "FirstName": Edit(NOW, "person", "Ada Rossi"),
        "Phone": Edit(NOW + timedelta(minutes=5), "person", "Grace Hopper"),
        "Score": Edit(NOW + timedelta(hours=1), "us", "syncline"),
    }


def test_without_a_history_the_record_answers_for_its_fields() -> None:
    world = MemoryWorld()
    world.keeps_history = False
    record = told(world)
    assert (record.edits, record.edit("Phone")) == ({}, Edit(NOW + timedelta(hours=1), "us", "syncline"))
