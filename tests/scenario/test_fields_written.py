"""What stands in a payload and what never does; who wins where both sides have a say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete

from syncline.model import Outcome, Value, Write
from syncline.store import schema
from syncline.testing.memory import MemorySink

ADA = "ada@acme.example"


class Spy:
    """Every write that reached the CRM."""

    def __init__(self) -> None:
        self.writes: list[Write] = []

    @property
    def fields(self) -> set[str]:
        return {name for write in self.writes for name in write.fields}

    def last(self) -> Mapping[str, Value]:
        return self.writes[-1].fields


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    found = Spy()
    upsert = MemorySink.upsert

    def watched(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        found.writes += writes
        return upsert(self, object, writes)

    monkeypatch.setattr(MemorySink, "upsert", watched)
    return found


def test_nothing_that_is_not_mapped_is_ever_in_a_payload(lab: Any, spy: Spy) -> None:
    lab.fields["Status"] = {"to": "person.stage", "owner": "theirs"}
    lab.world.put("Lead", {"Email": ADA, "Phone": "+39 02", "Company": "Babbage", "Status": "Working"})
    lab.points(ADA, 90, last_name="Lovelace", company="Analytical", phone="+44", first_name="Ada")
    lab.points("new@acme.example", 90, last_name="New", company="Fresh", phone="+1")
    lab.run()
    lab.points(ADA, -50)
    lab.later()
    lab.run()
    mapped = {name for name, mapping in lab.fields.items() if mapping["owner"] != "theirs"}
    assert spy.fields <= mapped | {"Key"}
    assert len(spy.writes) == 3
    held = lab.held(ADA)
    assert (held["Phone"], held["Company"], held["FirstName"], held["Status"]) == ("+39 02", "Babbage", None, "Working")


def test_a_field_that_need_not_change_is_not_in_the_payload(lab: Any, spy: Spy) -> None:
    lab.points(ADA, 50, last_name="Lovelace")
    lab.run()
    lab.later()
    lab.points(ADA, 10)
    lab.run()
    assert set(spy.last()) == {"Score", "Why"}


def test_empty_clears_what_is_ours_and_only_that(lab: Any, spy: Spy) -> None:
    """Below every band, with no name any more: the band is cleared, the name and the address stay."""
    lab.points(ADA, 90, last_name="Lovelace")
    lab.run()
    assert lab.held(ADA)["Band"] == "hot"
    lab.later()
    lab.points(ADA, -90)
    with lab.host() as host, host.database.write() as connection:
        connection.execute(delete(schema.attribute))
    lab.run()
    held = lab.held(ADA)
    assert (held["Band"], held["Why"]) == (None, None)
    assert (held["LastName"], held["Email"]) == ("Lovelace", ADA)
    assert None not in {v for write in spy.writes for n, v in write.fields.items() if n in ("LastName", "Email")}


@pytest.mark.parametrize("policy", ["only_if_empty", "human_wins", "newest", "ask"])
def test_a_shared_field_nobody_filled_takes_our_value(lab: Any, policy: str) -> None:
    lab.fields["LastName"]["policy"] = policy
    lab.world.put("Lead", {"Email": ADA.upper()})
    lab.points(ADA, 50, last_name="Lovelace")
    lab.run()
    assert lab.held(ADA)["LastName"] == "Lovelace"


AFTER_OUR_NEW_VALUE = {"only_if_empty": "Byron", "human_wins": "Lovelace", "newest": "Lovelace", "ask": "Lovelace"}


@pytest.mark.parametrize(("policy", "holds"), AFTER_OUR_NEW_VALUE.items())
def test_our_own_value_that_nobody_touched_follows_us(lab: Any, policy: str, holds: str) -> None:
    lab.fields["LastName"]["policy"] = policy
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    lab.run()
    assert lab.held(ADA)["LastName"] == holds


# policy, whether we learn something newer than the person's edit, what stands in the CRM then
AFTER_AN_EDIT = [
    ("only_if_empty", False, "King"),
    ("only_if_empty", True, "King"),
    ("human_wins", False, "King"),
    ("human_wins", True, "King"),
    ("newest", False, "King"),
    ("newest", True, "Lovelace"),
    ("ask", False, "King"),
    ("ask", True, "King"),
]


@pytest.mark.parametrize(("policy", "we_learn", "holds"), AFTER_AN_EDIT)
def test_a_persons_edit_stands_as_the_policy_says(lab: Any, policy: str, we_learn: bool, holds: str) -> None:
    lab.fields["LastName"]["policy"] = policy
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastName": "King"})
    lab.later()
    if we_learn:
        lab.points(ADA, 1, last_name="Lovelace")
    lab.run()
    lab.later()
    report = lab.sink()
    assert lab.held(ADA)["LastName"] == holds
    assert report.changes == [], "and then it is quiet"
    assert report.undecided == (policy == "ask" and we_learn)


def test_what_cannot_be_decided_waits_with_both_values_until_a_person_decides(lab: Any) -> None:
    lab.fields["LastName"]["policy"] = "ask"
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastName": "King"})
    lab.points(ADA, 1, last_name="Lovelace")
    planned, sink = lab.plan().sinks["crm"], lab.sink()
    [waiting] = sink.to_decide
    assert planned.to_decide == sink.to_decide
    assert (waiting.field, waiting.theirs, waiting.ours) == ("LastName", "King", "Lovelace")
    assert (waiting.object, waiting.id, waiting.person) == ("Lead", lab.ref(ADA).id, lab.keys()[ADA])
    assert lab.held(ADA)["Score"] == 51, "the other fields do not wait"
    lab.world.edit(lab.ref(ADA), {"LastName": "Lovelace"})
    assert lab.sink().to_decide == []


def test_newest_is_the_persons_when_the_person_came_last(lab: Any) -> None:
    lab.fields["LastName"]["policy"] = "newest"
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastName": "King"})
    lab.run()
    assert lab.held(ADA)["LastName"] == "King"


def test_newest_holds_on_day_one_too(lab: Any) -> None:
    lab.fields["LastName"]["policy"] = "newest"
    long_ago = lab.now - timedelta(days=400)
    lab.world.put("Lead", {"Email": ADA, "LastName": "Byron"}, at=long_ago)
    lab.world.put("Lead", {"Email": "eve@acme.example", "LastName": "King"}, at=lab.now)
    lab.points(ADA, 50, last_name="Lovelace")
    lab.points("eve@acme.example", 50, last_name="Older")
    lab.run()
    assert lab.held(ADA)["LastName"] == "Lovelace"
    assert lab.held("eve@acme.example")["LastName"] == "King"


def test_what_a_person_emptied_stays_empty(lab: Any) -> None:
    for policy in ("only_if_empty", "human_wins"):
        lab.fields["LastName"]["policy"] = policy
        email = f"{policy}@acme.example".replace("_", "")
        lab.points(email, 50, last_name="Lovelace")
        lab.run()
        lab.later()
        lab.world.edit(lab.ref(email), {"LastName": None})
        lab.run()
        assert lab.held(email)["LastName"] is None


def test_drift_of_a_field_of_ours_is_reported_and_rewritten(lab: Any) -> None:
    lab.crowd(3, points=90)
    lab.run()
    lab.later()
    lab.world.edit(lab.ref("p0001@acme.example"), {"Score": Decimal(5), "Band": "cold", "Phone": "+39"})
    lab.world.edit(lab.ref("p0002@acme.example"), {"Hot": False}, by="system")
    planned = lab.plan().sinks["crm"]
    report = lab.sink()
    assert planned.drift == report.drift == 3
    assert report.updated == 2
    held = lab.held("p0001@acme.example")
    assert (held["Score"], held["Band"], held["Phone"]) == (90, "hot", "+39")
    assert lab.held("p0002@acme.example")["Hot"] is True
    quiet = lab.sink()
    assert (quiet.drift, quiet.changes) == (0, [])


def test_what_is_theirs_is_read_and_never_written(lab: Any, spy: Spy) -> None:
    lab.fields["Status"] = {"to": "person.stage", "owner": "theirs"}
    lab.points(ADA, 50, stage="from the form")
    lab.run()
    lab.world.edit(lab.ref(ADA), {"Status": "Working"})
    lab.run()
    with lab.host() as host:
        assert host.explain(ADA).profile.attributes["stage"] == "Working"
    assert "Status" not in spy.fields
    assert lab.sink().changes == []


# write_when, points that come on top of 50, whether that alone is worth a call
MOVES = [
    ({"moves": 5}, 4, False),
    ({"moves": 5}, 5, True),
    ({"moves": 5}, -5, True),
    ({"moves": 5}, 40, True),
    ({"moves": 50, "or": "band"}, 29, False),
    ({"moves": 50, "or": "band"}, 30, True),
    ({"or": "band"}, 29, False),
    ({"or": "band"}, 30, True),
]


@pytest.mark.parametrize(("when", "more", "written"), MOVES, ids=str)
def test_a_small_move_is_held_back_and_a_large_one_written(
    lab: Any, when: Mapping[str, Any], more: int, written: bool
) -> None:
    lab.sync["fields"] = {"Score": {"from": "score.interest", "owner": "ours", "write_when": when}}
    lab.sync["segments"], lab.data["actions"] = {}, []
    lab.points(ADA, 50)
    lab.world.put("Lead", {"Email": ADA})
    lab.run()
    assert lab.held(ADA)["Score"] == 50, "the first value is always written"
    lab.later()
    lab.points(ADA, more)
    lab.run()
    assert lab.held(ADA)["Score"] == (50 + more if written else 50)


def test_small_moves_add_up_against_what_the_crm_holds(lab: Any) -> None:
    lab.fields["Score"]["write_when"] = {"moves": 5}
    lab.points(ADA, 50, last_name="Lovelace")
    lab.run()
    held = []
    for _ in range(7):
        lab.later()
        lab.points(ADA, 2)
        lab.run()
        held.append(lab.held(ADA)["Score"])
    assert held == [50, 50, 56, 56, 56, 62, 62]


def test_what_was_held_back_is_sent_along_when_the_record_is_written_anyway(lab: Any) -> None:
    lab.fields["Score"]["write_when"] = {"moves": 5}
    lab.fields["LastName"]["policy"] = "human_wins"
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.points(ADA, 3)
    assert lab.sink().changes == []
    lab.later()
    lab.points(ADA, 0, last_name="Lovelace")
    lab.run()
    held = lab.held(ADA)
    assert (held["Score"], held["LastName"], held["Why"]) == (53, "Lovelace", "points +53")


def test_drift_is_rewritten_however_small(lab: Any) -> None:
    lab.fields["Score"]["write_when"] = {"moves": 5}
    lab.points(ADA, 50, last_name="Lovelace")
    lab.run()
    lab.world.edit(lab.ref(ADA), {"Score": Decimal(51)})
    assert lab.sink().drift == 1
    assert lab.held(ADA)["Score"] == 50


def test_a_reason_alone_never_causes_a_write(lab: Any) -> None:
    """Another version of the model says the same number in other words."""
    lab.points(ADA, 50, last_name="Lovelace")
    lab.run()
    lab.data["scores"]["interest"]["model"]["score"][0]["name"] = "interest shown"
    report = lab.sink()
    assert (report.changes, report.unchanged) == ([], 1)
    assert lab.held(ADA)["Why"] == "points +50"
    lab.points(ADA, 10)
    lab.run()
    assert lab.held(ADA)["Why"] == "interest shown +60", "it goes along with the next write"


def test_numbers_are_compared_as_the_crm_keeps_them(lab: Any) -> None:
    """One decimal there, more here: a CRM that rounds must not be written again and again."""
    lab.points(ADA, 50.04, last_name="Lovelace")
    lab.run()
    assert lab.held(ADA)["Score"] == 50
    assert lab.sink().changes == []


def test_long_texts_are_cut_to_what_the_field_holds_and_stay_quiet(lab: Any) -> None:
    lab.points(ADA, 50, last_name="L" * 300)
    report = lab.sink()
    assert (report.created, report.rejected) == (1, 0)
    assert lab.held(ADA)["LastName"] == "L" * 80
    assert lab.sink().changes == []


def test_a_default_fills_what_the_crm_demands_and_nothing_else(lab: Any) -> None:
    lab.fields["Company"] = {
        "from": "person.company", "owner": "shared", "policy": "only_if_empty", "default": "(unknown)"
    }  # fmt: skip
    lab.world.put("Lead", {"Email": "eve@acme.example", "Company": "Babbage"})
    lab.points("eve@acme.example", 50)
    lab.points(ADA, 50)
    lab.run()
    assert lab.held(ADA)["Company"] == "(unknown)"
    assert lab.held("eve@acme.example")["Company"] == "Babbage"


def test_a_default_gives_way_to_what_we_learn_later(lab: Any) -> None:
    lab.fields["Company"] = {
        "from": "person.company", "owner": "shared", "policy": "human_wins", "default": "(unknown)"
    }  # fmt: skip
    lab.points(ADA, 50)
    lab.run()
    lab.later()
    lab.points(ADA, 1, company="Analytical")
    lab.run()
    assert lab.held(ADA)["Company"] == "Analytical"
