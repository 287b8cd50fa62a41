"""Records of others that hold a value which only one may have: never written over. Vendor sheet §5.

Zoho's upsert goes on to the module's other unique fields when ours finds nothing (upsert records, "How does the
duplicate check work?"), so where we write into such fields we do not ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from syncline.errors import TransientError
from syncline.model import Status, Write
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator

Open = Callable[..., ZohoSink]


def unique_field(crm: ZohoSimulator, sink: ZohoSink, name: str = "Tax_Code", **changes: Any) -> None:
    label = name.replace("_", " ")
    made = {"field_label": label, "data_type": "text", "length": 40, "unique": {"case_sensitive": False}, **changes}
    crm.crm.create_field("Leads", made, 0)
    sink.describe("Leads")
    crm.reset_counters()


def lead(number: int, **fields: Any) -> Write:
    values = {"Last_Name": "(unknown)", "Company": "(unknown)", "Tax_Code": f"tax-{number}", **fields}
    return Write(f"person-{number}", ("Syncline_Key", f"key-{number}"), values)


def row(crm: ZohoSimulator, id: str) -> dict[str, Any]:
    return next(r for r in crm.rows("Leads") if r["id"] == id)


def test_a_stranger_with_the_same_value_is_not_written_over(sink: ZohoSink, crm: ZohoSimulator) -> None:
    unique_field(crm, sink)
    theirs = crm.human_create("Leads", Last_Name="Bianchi", Company="Bianchi & C.", Tax_Code="TAX-2")
    before = row(crm, theirs)
    good, bad, fine = sink.upsert("Leads", [lead(1), lead(2), lead(3)])
    assert [o.status for o in (good, bad, fine)] == [Status.CREATED, Status.REJECTED, Status.CREATED]
    assert bad.code == "DUPLICATE_DATA"
    assert f"field Tax_Code; duplicate record {theirs}" in str(bad.reason)
    assert row(crm, theirs) == before


def test_a_person_of_ours_does_not_take_over_anothers_record(sink: ZohoSink, crm: ZohoSimulator) -> None:
    unique_field(crm, sink)
    [first] = sink.upsert("Leads", [lead(1)])
    [second] = sink.upsert("Leads", [lead(2, Tax_Code="tax-1")])
    assert second.status is Status.REJECTED
    assert first.ref is not None
    assert row(crm, first.ref.id)["Syncline_Key"] == "key-1"


def test_it_costs_one_call_when_all_are_new(sink: ZohoSink, crm: ZohoSimulator) -> None:
    unique_field(crm, sink)
    outcomes = sink.upsert("Leads", [lead(n) for n in range(100)])
    assert [o.status for o in outcomes] == [Status.CREATED] * 100
    assert (crm.counters()["calls"], crm.counters()["write_credits"]) == (1, 10)


@pytest.mark.parametrize("first", ["Syncline_Key", "Another"], ids=["our key is told", "the other value is told"])
def test_a_lost_answer_doubles_nothing_and_comes_back_as_an_update(
    sink: ZohoSink, crm: ZohoSimulator, first: str
) -> None:
    """Which of two taken values Zoho names is not documented; the simulator names the one that is older."""
    unique_field(crm, sink)
    if first == "Another":
        crm.remove_field("Leads", "Syncline_Key")
        crm.crm.create_field("Leads", {"field_label": "New Key", "data_type": "text", "unique": {}}, 0)
        crm.change_field("Leads", "New_Key", unique={"case_sensitive": False})
        sink.describe("Leads")
    field = "New_Key" if first == "Another" else "Syncline_Key"
    writes = [Write(w.key, (field, w.match[1]), w.fields) for w in (lead(n) for n in range(60))]
    crm.faults = [Fault("drop_after", on="POST */Leads")]
    with pytest.raises(TransientError, match="no complete answer"):
        sink.upsert("Leads", writes)
    there = len(crm.rows("Leads"))
    outcomes = sink.upsert("Leads", writes)
    assert [o.status for o in outcomes] == [Status.UPDATED] * 60
    assert len(crm.rows("Leads")) == there
    assert all(o.ref and row(crm, o.ref.id)[field] == w.match[1] for o, w in zip(outcomes, writes, strict=True))


def test_a_key_of_ours_and_a_value_of_a_stranger_is_refused(sink: ZohoSink, crm: ZohoSimulator) -> None:
    unique_field(crm, sink)
    sink.upsert("Leads", [lead(1)])
    theirs = crm.human_create("Leads", Last_Name="Bianchi", Company="C", Tax_Code="tax-9")
    [outcome] = sink.upsert("Leads", [lead(1, Tax_Code="tax-9")])
    assert (outcome.status, outcome.code) == (Status.REJECTED, "DUPLICATE_DATA")
    assert row(crm, theirs)["Last_Name"] == "Bianchi"


def test_values_that_are_left_out_or_cleared_are_no_reason_for_it(sink: ZohoSink, crm: ZohoSimulator) -> None:
    unique_field(crm, sink)
    crm.faults = [Fault("status", on="POST */Leads", times=None)]
    without = Write("p", ("Syncline_Key", "k"), {"Last_Name": "R", "Company": "C"})
    for write in (without, lead(2, Tax_Code=None)):
        assert sink.upsert("Leads", [write])[0].status is Status.CREATED


def test_a_field_that_became_unique_since_we_looked_says_whom_it_found(sink: ZohoSink, crm: ZohoSimulator) -> None:
    unique_field(crm, sink, unique={})
    theirs = crm.human_create("Leads", Last_Name="R", Company="C", Tax_Code="tax-1")
    crm.change_field("Leads", "Tax_Code", unique={"case_sensitive": False})
    [outcome] = sink.upsert("Leads", [lead(1)])
    assert (outcome.status, outcome.ref and outcome.ref.id) == (Status.UPDATED, theirs)
    assert outcome.reason == "found by Tax_Code, not by Syncline_Key"


def test_cadences_are_skipped_there_too(sink: ZohoSink, crm: ZohoSimulator) -> None:
    unique_field(crm, sink)
    for _ in range(2):
        sink.upsert("Leads", [lead(1)])
    assert crm.cadences == [set()] * 3
    assert crm.triggered == [[]] * 3
