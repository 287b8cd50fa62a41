"""What others do in the CRM is an event: it scores, it makes segments, and it is told once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncline.errors import TransientError
from syncline.sync import crms

ANNA = "anna@acme.example"


@pytest.fixture
def watched(lab: Any) -> Any:
    """Sales people keep `Status`; who is qualified (here: Closed) gets 40 points, and is a segment."""
    return watching(lab)


def watching(lab: Any) -> Any:
    lab.fields["Status"] = {"to": "person.stage", "owner": "theirs"}
    model = lab.data["scores"]["interest"]["model"]
    model["signals"]["qualified"] = {"count": "crm_change", "where": {"field": "Status", "new": "Closed"}}
    model["score"].append({"name": "qualified", "add": "40 * qualified", "says": {"en": "qualified"}})
    lab.data["segments"]["qualified"] = {"all": [{"crm_change": {"field": "Status", "new": "Closed"}}]}
    return lab


def known(lab: Any) -> None:
    """Anna is in the CRM, and the next run has read what the CRM made of her: that is the baseline."""
    lab.points(ANNA, 50)
    lab.run()
    lab.later()
    lab.run()
    lab.later()


def changes(lab: Any) -> list[dict[str, Any]]:
    found = [row for row in lab.rows("event") if row["type"] == "crm_change"]
    return [json.loads(row["properties"]) for row in sorted(found, key=lambda row: row["t_us"])]


def test_a_qualified_lead_scores_in_the_same_run(each_lab: Any) -> None:
    lab = watching(each_lab)
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"Status": "Closed"}, who="Ada Rossi")
    report = lab.run()
    assert report.sinks["crm"].crm_changes == 1
    assert changes(lab) == [{"object": "Lead", "field": "Status", "new": "Closed", "changed_by": "person"}]
    assert lab.held(ANNA)["Score"] == 90
    assert report.segments["qualified"] == 1


def test_it_is_told_once_and_then_all_is_quiet(watched: Any) -> None:
    lab = watched
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"Status": "Working"})
    lab.run()
    lab.world.expire_cursors()  # everything is read from the beginning
    for _ in range(3):
        lab.later()
        sink = lab.sink()
        assert (sink.write_calls, sink.crm_changes) == (0, 0)
    assert len(changes(lab)) == 1


def test_the_first_read_is_no_news(watched: Any) -> None:
    lab = watched
    lab.world.put("Lead", {"Email": ANNA, "Status": "Closed"})
    lab.points(ANNA, 50)
    report = lab.run()
    lab.later()
    lab.run()
    assert changes(lab) == []
    assert report.segments["qualified"] == 0


def test_a_field_mapped_later_begins_with_a_baseline(lab: Any) -> None:
    lab.points(ANNA, 50)
    lab.run()
    lab.world.edit(lab.ref(ANNA), {"Status": "Closed"})
    watching(lab)
    lab.later()
    assert lab.sink().crm_changes == 0


def test_what_nobody_is_yet_is_nobodys_change(watched: Any) -> None:
    lab = watched
    ref = lab.world.put("Lead", {"Email": ANNA, "Status": "Open"})
    lab.run()
    lab.later()
    lab.world.edit(ref, {"Status": "Closed"})
    assert lab.sink().crm_changes == 0


def test_it_tells_from_what_to_what_and_when(watched: Any) -> None:
    lab = watched
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"Status": "Open"}, at=lab.now)
    lab.run()
    at = lab.now
    lab.later(5)
    lab.world.edit(lab.ref(ANNA), {"Status": None}, by="system", at=lab.now)
    lab.run()
    assert [(c.get("old"), c.get("new"), c["changed_by"]) for c in changes(lab)] == [
        (None, "Open", "person"),
        ("Open", None, "system"),
    ]
    assert min(row["t_us"] for row in lab.rows("event") if row["type"] == "crm_change") == int(at.timestamp() * 1e6)


def test_our_own_writes_are_no_change_of_theirs(watched: Any) -> None:
    """The record was changed last by us; the field was not."""
    lab = watched
    lab.world.keeps_history = False
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"Status": "Closed"})
    lab.points(ANNA, 10)
    lab.run()
    lab.later()
    lab.run()
    assert len(changes(lab)) == 1


def test_a_conversion_is_an_event(watched: Any) -> None:
    lab = watched
    known(lab)
    lab.world.convert(lab.ref(ANNA))
    for _ in range(3):
        lab.run()
        lab.later()
    assert changes(lab) == [{"object": "Lead", "field": "converted", "new": "Contact", "changed_by": "person"}]
    lab.world.edit(lab.ref(ANNA), {"Status": "Closed"})
    lab.run()
    assert changes(lab)[-1]["object"] == "Contact"  # she is followed


def test_of_names_and_numbers_only_the_fact_is_told(watched: Any) -> None:
    lab = watched
    lab.fields["Phone"] = {"to": "person.phone", "owner": "theirs"}
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"Phone": "+39 055 1234567"})
    lab.run()
    assert changes(lab) == [{"object": "Lead", "field": "Phone", "changed_by": "person"}]
    waiting = [row["payload"] for row in lab.rows("raw") if row["connection"] == "crm.changes"]
    assert waiting
    assert not any("1234567" in payload for payload in waiting)


def test_an_opt_out_is_an_event_too(watched: Any) -> None:
    lab = watched
    lab.data["consent"] = {"purposes": {"email_marketing": {"basis": "legitimate_interest"}}}
    lab.fields["OptedOut"] = {"consent": "email_marketing"}
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"OptedOut": True})
    lab.run()
    assert changes(lab) == [{"object": "Lead", "field": "OptedOut", "new": "true", "changed_by": "person"}]


def test_the_tick_we_pass_on_is_no_event(watched: Any) -> None:
    lab = watched
    lab.data["consent"] = {"purposes": {"email_marketing": {"basis": "consent"}}}
    lab.fields["OptedOut"] = {"consent": "email_marketing"}
    known(lab)
    lab.says(ANNA, "email_unsubscribe")
    assert lab.sink().opt_outs == 1
    for _ in range(2):
        lab.later()
        lab.run()
    assert changes(lab) == []


def test_nor_is_one_whose_answer_was_lost(watched: Any) -> None:
    lab = watched
    lab.data["consent"] = {"purposes": {"email_marketing": {"basis": "consent"}}}
    lab.fields["OptedOut"] = {"consent": "email_marketing"}
    known(lab)
    lab.says(ANNA, "email_unsubscribe")
    lab.world.fail_call("upsert", TransientError("the line is cut"), times=3, applied=True)
    assert lab.sink().error
    for _ in range(2):
        lab.later()
        lab.run()
    assert lab.held(ANNA)["OptedOut"] is True
    assert changes(lab) == []


def test_a_run_killed_after_reading_the_crm_loses_no_change(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror knows, the event is not stored yet: it waits in the inbox."""
    lab = watched
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"Status": "Closed"})
    with monkeypatch.context() as patch:
        patch.setattr(crms, "settle_unanswered", _killed)
        with pytest.raises(KeyboardInterrupt):
            lab.run()
    assert changes(lab) == []
    lab.run()
    assert len(changes(lab)) == 1
    assert lab.held(ANNA)["Score"] == 90


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_plan_reads_them_and_a_run_does_not_read_them_again(watched: Any) -> None:
    lab = watched
    known(lab)
    lab.world.edit(lab.ref(ANNA), {"Status": "Closed"})
    assert lab.plan().sinks["crm"].crm_changes == 1
    assert lab.sink().crm_changes == 0
    assert len(changes(lab)) == 1
