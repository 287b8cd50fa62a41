"""What hurts the people who rely on a sync, one by one: what the tool does; operating.md has it in the tool's words."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import event

from syncline.cli import show
from syncline.errors import AuthError, BusyError, RateLimitError, StoreError
from syncline.model import Account, Field, Outcome, Status, Write
from syncline.sync.report import Report
from syncline.testing.memory import MemorySink

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
ANNA, BERT = "p0000@acme.example", "p0001@acme.example"


def printed(report: Report) -> str:
    text = io.StringIO()
    show.report(Console(width=400, file=text), report)
    return text.getvalue()


def documented(words: str) -> bool:
    """Whether the admin's page has these words, however its lines are broken."""
    return words in re.sub(r"\s+", " ", OPERATING.read_text("utf-8"))


def both_say(report: Report, words: str) -> None:
    assert words in printed(report)
    assert documented(words)


def test_a_crm_already_holds_the_people_under_other_letter_case(lab: Any) -> None:
    """(Five thousand of them: test_first_sync_to_a_full_crm.)"""
    held = [lab.world.put("Lead", {"Email": email.upper(), "LastName": "As typed"}) for email in lab.crowd(50)]
    sink = lab.sink()
    assert (sink.created, sink.updated) == (0, 50)
    assert sorted(ref.id for ref in lab.world.refs("Lead")) == sorted(ref.id for ref in held)
    assert {lab.world.get(ref)["LastName"] for ref in held} == {"As typed"}


def test_a_rep_edits_a_score_field_by_hand(lab: Any) -> None:
    lab.crowd(2)
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ANNA), {"Score": 99}, who="Ada")
    report = lab.run()
    assert lab.held(ANNA)["Score"] == 50
    assert report.sinks["crm"].drift == 1
    both_say(report, "of our fields had been changed by others")
    assert lab.sink().changes == [], "and then it is quiet"


def test_a_rep_edits_a_shared_field_by_hand_and_keeps_it(lab: Any) -> None:
    lab.fields["LastName"]["policy"] = "human_wins"
    lab.crowd(1)
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ANNA), {"LastName": "Rossi-Bianchi"}, who="Ada")
    lab.points(ANNA, 5)
    lab.run()
    assert (lab.held(ANNA)["LastName"], lab.held(ANNA)["Score"]) == ("Rossi-Bianchi", 55)


def test_a_picklist_value_is_removed(lab: Any) -> None:
    def options(*values: str) -> None:
        for fields in lab.world.objects.values():
            fields["Band"] = Field("Band", "option", options=values)

    options("hot")
    lab.crowd(2, points=90)
    lab.run()
    lab.later()
    options("cold")
    lab.points(ANNA, 5)
    report = lab.run()
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert lab.held(ANNA)["Score"] == 95, "only the mapping of that field is parked"
    both_say(report, "mapping parked")
    options("hot", "cold")
    lab.later()
    assert lab.run().status == "done"
    assert lab.held(ANNA)["Band"] == "hot"


def test_the_token_is_revoked_at_3_a_m(lab: Any) -> None:
    lab.add_second_crm()
    lab.crowd(2)
    lab.world.fail_call("check", AuthError("log-in: invalid_grant: expired access/refresh token"), times=None)
    report = lab.run()
    assert (report.status, report.exit_code) == ("paused", 4)
    assert (report.sinks["crm"].created, report.sinks["other"].created) == (0, 2)
    assert documented("The vendor refuses our credentials")
    lab.points(ANNA, 5)
    lab.world.heal()
    lab.later(5)
    report = lab.run()
    assert (report.status, report.sinks["crm"].created) == ("done", 2), "what gathered is written once it is mended"
    assert lab.held(ANNA)["Score"] == 55


def test_the_token_is_revoked_in_the_middle_of_a_run(lab: Any) -> None:
    lab.crowd(500)
    lab.world.fail_call("upsert", AuthError("session revoked"), after=1, times=None)
    report = lab.run()
    assert (report.status, report.sinks["crm"].created) == ("paused", 200)
    lab.world.heal()
    assert lab.sink().created == 300
    assert len(lab.world.refs("Lead")) == 500


def test_the_daily_quota_ends_in_the_middle(lab: Any) -> None:
    lab.crowd(500)
    error = RateLimitError("REQUEST_LIMIT_EXCEEDED", retry_after=timedelta(hours=6))
    lab.world.fail_call("upsert", error, after=1, times=None)
    assert lab.sink().created == 200
    lab.world.heal()
    lab.later()
    both_say(lab.run(), "not asked before")
    lab.later(6)
    assert lab.sink().created == 300
    assert len(lab.world.refs("Lead")) == 500


def test_the_same_lead_is_converted_while_we_write(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.crowd(2)
    lab.run()
    lab.later()
    lab.points(ANNA, 5)
    upsert, lead = MemorySink.upsert, lab.ref(ANNA)

    def converted_first(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        """As Salesforce and Zoho answer: the record is there no more under this id."""
        if lab.world.is_alive(lead):
            lab.world.convert(lead)
        return [
            Outcome(write.key, Status.RETRY, None, "cannot reference converted lead", "CANNOT_UPDATE_CONVERTED_LEAD")
            if write.match == ("Id", lead.id)
            else outcome
            for write, outcome in zip(writes, upsert(self, object, writes), strict=True)
        ]

    monkeypatch.setattr(MemorySink, "upsert", converted_first)
    report = lab.run()
    assert (report.sinks["crm"].retry, report.exit_code) == (1, 1)
    lab.later()
    lab.run()
    assert lab.ref(ANNA).object == "Contact"
    assert lab.held(ANNA)["Score"] == 55
    assert lab.dead_letters() == {}
    assert lab.sink().changes == []


def test_two_runs_start_at_once(lab: Any) -> None:
    lab.crowd(2)
    with lab.host() as first, lab.host() as second, first._alone(), pytest.raises(BusyError) as refused:
        second.run()
    assert "another run is active" in str(refused.value)
    assert documented("another run is active")
    assert lab.sink().created == 2


def test_the_disk_is_full(lab: Any) -> None:
    lab.crowd(400)
    with lab.host() as host:
        with host.database.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        @event.listens_for(host.database.engine, "begin")
        def full(connection: Any) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")

        with pytest.raises(StoreError, match="free some space on that disk"):
            host.run()
    assert documented("free some space on that disk")
    assert lab.run().status == "done", "with space again it goes on from what is recorded"
    assert len(lab.world.refs("Lead")) == 400
    assert lab.sink().changes == []


@pytest.mark.parametrize("off", [timedelta(days=-400), timedelta(days=400)], ids=["back", "ahead"])
def test_the_clock_jumps(lab: Any, monkeypatch: pytest.MonkeyPatch, off: timedelta) -> None:
    """Scores for the wrong time would write nonsense to everybody: the CRM's clock says better."""
    true = lab.now
    check = MemorySink.check

    def told(self: MemorySink) -> Account:
        account = check(self)
        return Account(account.id, account.name, account.details, lab.now if lab.now != true + off else true)

    monkeypatch.setattr(MemorySink, "check", told)
    lab.crowd(2)
    lab.run()
    before = lab.holdings()
    lab.now = true + off
    report = lab.run()
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert lab.holdings() == before
    both_say(report, "this machine's clock says")
    lab.now = true + timedelta(hours=1)
    assert lab.run().status == "done"
    assert lab.holdings() == before


def test_the_crm_is_restored_from_a_backup_of_last_week(lab: Any) -> None:
    """Records fall back to what they were, and those made since are gone: both are made good without a double."""
    lab.crowd(3, points=50)
    lab.run()
    backup = {email: dict(lab.held(email)) for email in (ANNA, BERT)}
    lab.later(24 * 7)
    lab.points(ANNA, 20)
    lab.points("new@acme.example", 30, last_name="New")
    lab.run()
    new = lab.ref("new@acme.example")
    lab.later()
    fields = ("Score", "Band", "Why", "Hot")
    for email, held in backup.items():
        lab.world.edit(lab.ref(email), {name: held[name] for name in fields}, by="system", who="restore")
    lab.world.delete(new, by="system")
    report = lab.run()
    assert lab.held(ANNA)["Score"] == 70, "what is ours is as it should be again"
    assert [len(lab.records(email)) for email in (ANNA, BERT)] == [1, 1]
    assert report.sinks["crm"].skipped == {"deleted in the CRM": 1}, "who was deleted is not created behind their back"
    assert documented("restored from a backup")
    assert lab.sink().changes == []
