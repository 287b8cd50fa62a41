"""Consent at the write: nothing is written for a purpose that its person has not allowed, whoever withdrew it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from syncline.events import Classifier
from syncline.host.recount import LATEST, recount
from syncline.model import Event, Identifier, Limits, RawRecord, event_id, microseconds
from syncline.people import IdentityRules
from syncline.store import inbox
from syncline.store.database import Database
from syncline.sync.admission import Admission
from syncline.sync.ingest import Ingest
from syncline.sync.pull import accept

ANNA = "anna@acme.example"
BERT = "bert@acme.example"


def ask(lab: Any, basis: str = "consent", purpose: str = "email_marketing") -> None:
    """The whole sync is for e-mail marketing, which rests on consent."""
    lab.data["consent"] = {"purposes": {"email_marketing": {"basis": basis}, "sales": {"basis": "legitimate_interest"}}}
    lab.sync["purpose"] = purpose


def grant(lab: Any, email: str, granted: bool = True, purpose: str = "email_marketing", **more: Any) -> None:
    lab.says(email, "consent_change", purpose=purpose, granted=granted, **more)


def test_without_a_purpose_nobody_is_asked(lab: Any) -> None:
    lab.points(ANNA, 90)
    grant(lab, ANNA, granted=False)
    report = lab.sink()
    assert (report.created, report.tasks, report.members, report.withheld) == (1, 1, 1, {})


def test_nobody_is_created_without_a_purpose(each_lab: Any) -> None:
    lab = each_lab
    ask(lab)
    lab.points(ANNA, 90)
    lab.points(BERT, 90)
    grant(lab, BERT)
    report = lab.sink()
    assert lab.records(ANNA) == []
    assert len(lab.records(BERT)) == 1
    assert report.skipped == {"not in the CRM, and no consent for email_marketing": 1}


def test_a_grant_lets_the_next_run_write(lab: Any) -> None:
    ask(lab)
    lab.points(ANNA, 90)
    assert lab.sink().created == 0
    lab.later()
    grant(lab, ANNA)
    assert lab.sink().created == 1


def test_legitimate_interest_is_written_until_somebody_objects(lab: Any) -> None:
    ask(lab, purpose="sales")
    lab.points(ANNA, 50)
    assert lab.sink().created == 1
    lab.later()
    grant(lab, ANNA, granted=False, purpose="sales")
    lab.points(ANNA, 25)
    report = lab.sink()
    assert report.write_calls == 0
    assert report.withheld == {"sales was withdrawn": 2}  # the score and its reason
    assert lab.held(ANNA)["Score"] == 50  # what stands there stays


def test_one_field_may_have_a_purpose_of_its_own(lab: Any) -> None:
    ask(lab)
    del lab.sync["purpose"]
    lab.fields["Score"]["purpose"] = "email_marketing"
    lab.points(ANNA, 90, last_name="Rossi")
    report = lab.sink()
    held = lab.held(ANNA)
    assert (held["Score"], held["Band"], held["LastName"]) == (None, "hot", "Rossi")
    assert report.withheld == {"no consent for email_marketing": 1}


def test_an_adopted_record_gets_no_key_without_a_purpose(lab: Any) -> None:
    ask(lab)
    ref = lab.world.put("Lead", {"Email": ANNA})
    lab.points(ANNA, 90)
    report = lab.sink()
    assert lab.world.get(ref)["Key"] is None
    assert report.write_calls == 0


def test_a_withdrawal_ends_the_memberships_we_made(lab: Any) -> None:
    ask(lab)
    lab.sync["segments"] = {"hot": {"name": "Hot leads", "purpose": "email_marketing"}}
    del lab.sync["purpose"]
    lab.points(ANNA, 90)
    grant(lab, ANNA)
    lab.run()
    assert lab.world.segments["Hot leads"] == {lab.ref(ANNA)}
    lab.later()
    lab.says(ANNA, "email_unsubscribe")
    report = lab.sink()
    assert lab.world.segments["Hot leads"] == set()
    assert report.members == 1
    lab.later()
    assert lab.sink().write_calls == 0


def test_a_membership_somebody_else_made_is_theirs(lab: Any) -> None:
    ask(lab)
    lab.sync["segments"] = {"hot": {"name": "Hot leads", "purpose": "email_marketing"}}
    ref = lab.world.put("Lead", {"Email": ANNA})
    lab.world.segments["Hot leads"].add(ref)
    lab.points(ANNA, 90)
    grant(lab, ANNA)
    lab.run()
    lab.later()
    grant(lab, ANNA, granted=False)
    lab.run()
    assert lab.world.segments["Hot leads"] == {ref}


def test_a_task_waits_for_its_purpose(lab: Any) -> None:
    ask(lab)
    del lab.sync["purpose"]
    lab.data["actions"][0]["task"]["purpose"] = "email_marketing"
    lab.points(ANNA, 90)
    report = lab.sink()
    assert (report.tasks, report.withheld) == (0, {"no consent for email_marketing": 1})
    lab.later(30)
    grant(lab, ANNA)
    assert lab.sink().tasks == 1
    [task] = lab.world.tasks.values()
    assert task.due > lab.now  # in today's words
    lab.later()
    assert lab.sink().tasks == 0


def test_the_most_restrictive_side_wins_whatever_the_dates(lab: Any) -> None:
    """A grant at one newsletter does not lift a withdrawal at another, however late it is; nor does MailPoet's habit
    of dating a grant by the row's last touch (docs/vendors/mailpoet.md: `updated_at`)."""
    ask(lab)
    lab.data["connections"]["second"] = {"plugin": "second-newsletter"}
    lab.points(ANNA, 90)
    grant(lab, ANNA, granted=False, hours=48)
    grant(lab, ANNA, world=lab.second)
    assert lab.sink().created == 0
    lab.later()
    grant(lab, ANNA, world=lab.second)
    assert lab.sink().created == 0
    lab.later()
    grant(lab, ANNA)  # only that same side can
    assert lab.sink().created == 1


@pytest.mark.parametrize("first", ["granted", "withdrawn"])
def test_on_one_side_the_latest_word_counts_in_any_order_of_arrival(lab: Any, first: str) -> None:
    ask(lab)
    lab.points(ANNA, 90)
    words = [{"granted": True, "hours": 2}, {"granted": False, "hours": 1}]
    for word in words if first == "granted" else words[::-1]:
        grant(lab, ANNA, **word)
        lab.keys()  # reads the source
    assert lab.sink().skipped == {"not in the CRM, and email_marketing was withdrawn": 1}


def test_an_unsubscribe_link_withdraws_what_the_settings_say(lab: Any) -> None:
    ask(lab, purpose="sales")
    lab.points(ANNA, 90)
    lab.says(ANNA, "email_unsubscribe")
    assert lab.plan().sinks["crm"].created == 1  # by default, only what rests on consent
    lab.data["consent"]["unsubscribes"] = ["email_marketing", "sales"]
    assert lab.plan().sinks["crm"].created == 0  # told anew, without a replay


def test_merged_people_have_said_what_both_said(each_lab: Any) -> None:
    lab = each_lab
    ask(lab)
    lab.points(ANNA, 90)
    grant(lab, ANNA, granted=False)
    lab.points(BERT, 90)
    grant(lab, BERT, hours=1)
    lab.run()
    assert lab.records(ANNA) == []
    assert len(lab.records(BERT)) == 1
    lab.later()
    join(lab, BERT, ANNA)
    report = lab.sink()
    assert report.write_calls == 0
    [one] = {row["person_id"] for row in lab.rows("identifier")}
    assert {row["person_id"] for row in lab.rows("consent")} == {one}


class Knows:
    """A source that knows two addresses of one person."""

    kind = "knows"

    def __init__(self, lab: Any, *emails: str) -> None:
        self._at = lab.now - timedelta(minutes=1)
        self._names = tuple(Identifier("email", email) for email in emails)

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        yield Event(event_id("knows", raw.key), "form_submission", self._at, self._names)


def join(lab: Any, *emails: str) -> None:
    """These turn out to be one person."""
    with lab.host() as host:
        with host.database.write() as connection:
            parcels = inbox.pack("shop", [RawRecord("forms", "both", {})])
            rows = inbox.keep(connection, "shop", parcels, run_id="", at_us=microseconds(lab.now))
        ingest = Ingest(
            host.database,
            "shop",
            Knows(lab, *emails),
            classifier=Classifier(),
            identity_rules=IdentityRules(),
            clock=lambda: lab.now,
        )
        ingest.settle(rows)


# Between the plan and the write


class Overtaken:
    """A webhook that comes in while the CRM is written to: before the call of that number."""

    def __init__(self, lab: Any, world: Any, before_call: int, *words: dict[str, Any]) -> None:
        self._lab, self._words, self._left = lab, words, before_call
        self._call = world.call
        world.call = self

    def __call__(self, method: str, *args: Any, write: bool = False, **more: Any) -> Any:
        if write:
            self._left -= 1
            if self._left == 0:
                arrive(self._lab, *self._words)
        return self._call(method, *args, write=write, **more)


def arrive(lab: Any, *words: dict[str, Any]) -> None:
    """The server keeps what a webhook says; nobody has looked at it yet."""
    records = [RawRecord("events", f"hook-{n}", {"at": lab.now.isoformat(), **word}) for n, word in enumerate(words)]
    with contextlib.closing(Database(f"sqlite:///{lab.folder}/state.db")) as database:
        accept(database, "shop", records, run_id="webhook", clock=lambda: lab.now)


def withdrawal(email: str) -> dict[str, Any]:
    return {"type": "consent_change", "email": email, "properties": {"purpose": "email_marketing", "granted": False}}


def crowd(lab: Any, count: int) -> list[str]:
    """Hot people who have granted, in the order in which they are written."""
    emails = [f"p{number}@acme.example" for number in range(count)]
    for number, email in enumerate(emails):
        lab.points(email, 200 - number)
        grant(lab, email)
    return emails


def test_a_withdrawal_by_webhook_overtakes_the_plan(lab: Any) -> None:
    """Three batches of one; the second person withdraws while the first is being written."""
    ask(lab)
    lab.data["actions"][0]["task"]["purpose"] = "email_marketing"
    lab.limits = Limits(upsert_batch=1, task_batch=1, member_batch=1)
    first, second, third = crowd(lab, 3)
    Overtaken(lab, lab.world, 1, withdrawal(second))
    report = lab.sink()
    assert [len(lab.records(email)) for email in (first, second, third)] == [1, 0, 1]
    assert (report.created, report.tasks, report.members) == (2, 2, 2)
    assert report.withheld["email_marketing was withdrawn"] > 1
    withheld = [row for row in lab.rows("outbox") if row["status"] == "withheld"]
    assert {row["reason"] for row in withheld} == {"email_marketing was withdrawn"}
    assert {row["operation"] for row in withheld} == {"upsert", "task", "add"}
    with lab.store() as connection:
        sums = recount(connection, LATEST).adds_up
    assert sums
    assert all(found.holds for found in sums)
    lab.later()
    assert lab.sink().write_calls == 0
    assert {row["connection"]: row["granted"] for row in lab.rows("consent") if row["granted"] == 0} == {"shop": 0}


def test_what_was_not_withdrawn_still_goes(lab: Any) -> None:
    """Of an update only the fields for that purpose are left out."""
    ask(lab)
    del lab.sync["purpose"]
    lab.fields["Score"]["purpose"] = lab.fields["Why"]["purpose"] = "email_marketing"
    lab.points(ANNA, 50)
    grant(lab, ANNA)
    lab.run()
    lab.later()
    lab.points(ANNA, 40)
    run_overtaken(lab, withdrawal(ANNA))
    assert lab.held(ANNA)["Score"] == 50
    assert lab.held(ANNA)["Band"] == "hot"
    sent = [json.loads(row["payload"])["fields"] for row in lab.rows("outbox") if row["operation"] == "upsert"]
    assert "Score" in sent[0]
    assert "Score" not in sent[1]
    assert sent[1]["Band"] == "hot"
    lab.later()
    assert lab.sink().write_calls == 0


def run_overtaken(lab: Any, word: dict[str, Any]) -> None:
    """A run in which a webhook comes in once all is planned."""
    start = Admission.start

    def started(self: Admission) -> None:
        arrive(lab, word)
        start(self)

    with mock.patch.object(Admission, "start", started):
        lab.run()
