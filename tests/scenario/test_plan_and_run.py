"""A plan is what a run does, cut short: it writes nothing, and it is never a guess."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import TransientError
from syncline.store import schema
from syncline.sync.report import SinkReport

PURE = (
    "standing", "action", "score", "score_history", "outbox", "dead_letter", "acknowledged", "link", "member",
    "conflict", "run",
)  # fmt: skip
COUNTS = ("created", "updated", "tasks", "members", "unchanged", "conflicts", "skipped", "drift", "undecided", "parked")


def essence(sink: SinkReport) -> list[str]:
    keys = ("operation", "object", "person", "id", "fields", "subject")
    return sorted(json.dumps({key: getattr(row, key) for key in keys}, sort_keys=True) for row in sink.changes)


def agree(lab: Any) -> SinkReport:
    """Plan, then run: the same records, the same numbers, and as many calls as were forecast."""
    planned = lab.plan().sinks["crm"]
    writes = lab.world.counters["write_calls"]
    done: SinkReport = lab.run().sinks["crm"]
    assert essence(planned) == essence(done)
    for count in COUNTS:
        assert getattr(planned, count) == getattr(done, count), count
    assert planned.planned_calls == done.planned_calls == lab.world.counters["write_calls"] - writes
    return done


def test_a_plan_writes_nothing_to_the_crm_and_decides_nothing_in_the_store(each_lab: Any) -> None:
    lab = each_lab
    lab.world.put("Lead", {"Email": "p0001@acme.example"})
    for _ in range(2):
        lab.world.put("Lead", {"Email": "p0002@acme.example"})
    lab.crowd(5, points=90)
    held = lab.holdings()
    for _ in range(2):
        report = lab.plan()
        assert report.status == "planned"
        assert (report.sinks["crm"].created, report.sinks["crm"].updated, report.sinks["crm"].tasks) == (3, 1, 4)
    assert lab.world.counters["write_calls"] == 0
    assert lab.holdings() == held
    assert {name: lab.rows(name) for name in PURE} == {name: [] for name in PURE}
    assert len(lab.rows("event")) == 5, "sources are read"


def test_a_plan_after_a_run_leaves_its_books_alone(lab: Any) -> None:
    lab.crowd(4, points=90)
    lab.run()
    lab.points("p0001@acme.example", -90)
    lab.world.edit(lab.ref("p0002@acme.example"), {"Band": "cold"})
    lab.later()
    before = {name: lab.rows(name) for name in PURE}
    assert lab.plan().sinks["crm"].changes
    assert {name: lab.rows(name) for name in PURE} == before


def test_plan_and_run_agree_after_people_edited_everything(lab: Any) -> None:
    lab.limits = type(lab.limits)(upsert_batch=3, task_batch=2, member_batch=4)
    for policy, name in (("human_wins", "FirstName"), ("newest", "Company"), ("ask", "Phone")):
        said = {"FirstName": "first_name", "Company": "company", "Phone": "phone"}[name]
        lab.fields[name] = {"from": f"person.{said}", "owner": "shared", "policy": policy}
    lab.fields["Score"]["write_when"] = {"moves": 5, "or": "band"}
    lab.fields["Status"] = {"to": "person.stage", "owner": "theirs"}
    emails = lab.crowd(14, points=75)
    for email in emails:
        lab.points(email, 1, first_name="Ann", company="Acme", phone="1")
    assert agree(lab).created == 14
    lab.later()
    refs = [lab.ref(email) for email in emails]
    lab.world.edit(refs[0], {"Score": Decimal(3), "FirstName": "Anna", "Company": "Borea", "Phone": "2"})
    lab.world.edit(refs[1], {"FirstName": None, "Status": "Working"}, by="system")
    lab.world.delete(refs[2])
    lab.world.merge(refs[3], refs[4])
    lab.world.convert(refs[5])
    lab.world.put("Contact", {"Email": "two@acme.example"})
    lab.world.put("Lead", {"Email": "TWO@acme.example"})
    lab.later()
    for email in (*emails[:10], "two@acme.example"):
        lab.points(email, 9, first_name="Annie", company="Cardo", phone="3")
    done = agree(lab)
    assert min(done.updated, done.tasks, done.members, done.drift, done.undecided, done.conflicts) > 0
    assert agree(lab).changes == []


def test_a_plan_for_one_person_is_that_persons_part(lab: Any) -> None:
    emails = lab.crowd(6, points=90)
    lab.keys()
    whole = lab.plan().sinks["crm"]
    part = lab.plan(person=emails[2]).sinks["crm"]
    key = lab.keys()[emails[2]]
    assert [c.person for c in part.changes if c.operation == "create"] == [key]
    assert set(essence(part)) < set(essence(whole))
    lab.run(person=emails[2])
    assert [email for email in emails if lab.records(email)] == [emails[2]]
    assert (len(lab.world.tasks), len(lab.world.segments["Hot leads"])) == (1, 1)
    assert lab.sink().created == 5


def test_as_of_scores_as_of_that_time(lab: Any) -> None:
    """Facts after that time do not count, and a task is due from it."""
    lab.points("ada@acme.example", 50)
    lab.now += timedelta(days=2)
    lab.points("ada@acme.example", 40)
    yesterday = lab.now - timedelta(days=1)
    planned = lab.plan(as_of=yesterday)
    assert planned.as_of == yesterday.isoformat()
    [change] = planned.sinks["crm"].changes
    assert change.fields["Score"] == (None, "50")
    report = lab.run(as_of=yesterday)
    assert (report.sinks["crm"].created, report.sinks["crm"].tasks) == (1, 0)
    assert lab.held("ada@acme.example")["Score"] == 50
    assert lab.sink().tasks == 1
    assert lab.held("ada@acme.example")["Score"] == 90


def test_a_sync_alone_is_planned_and_run_alone(lab: Any) -> None:
    lab.add_second_crm()
    lab.crowd(2)
    assert set(lab.plan(sync="others").sinks) == {"other"}
    lab.run(sync="others")
    assert (len(lab.world.refs("Lead")), len(lab.second.refs("Lead"))) == (0, 2)


SEEDS = range(4)


@pytest.mark.parametrize("number", SEEDS)
def test_whatever_happens_plan_and_run_agree_and_two_runs_later_it_is_quiet(
    lab: Any, number: int, pytestconfig: pytest.Config
) -> None:
    """Random people, edits, conversions, merges, deletions and outages; no person's protected edit is ever lost."""
    chance = random.Random(f"{pytestconfig.getoption('--seed')}:{number}")
    lab.limits = type(lab.limits)(upsert_batch=4, task_batch=3, member_batch=3)
    lab.fields["FirstName"] = {"from": "person.first_name", "owner": "shared", "policy": "human_wins"}
    lab.fields["Score"]["write_when"] = {"moves": 5, "or": "band"}
    typed: dict[Any, str] = {}
    emails = [f"p{n}@acme.example" for n in range(15)]
    for step in range(4):
        for email in chance.sample(emails, 8):
            lab.points(email, chance.randint(-30, 70), first_name=f"Name{step}", last_name="Person")
        disturb(lab, chance, typed)
        if chance.random() < 0.4:
            method = chance.choice(["upsert", "create_tasks", "set_members"])
            outage = TransientError("connection reset")
            lab.world.fail_call(method, outage, after=chance.randint(0, 1), times=None, applied=chance.random() < 0.5)
            lab.run()
            lab.world.heal()
        agree(lab)
        for ref, name in typed.items():
            if lab.world.is_alive(ref):
                assert lab.world.get(ref)["FirstName"] == name
        lab.later()
    agree(lab)
    quiet = agree(lab)
    assert quiet.changes == []
    living = [ref for name in ("Lead", "Contact") for ref in lab.world.refs(name)]
    keys = Counter(lab.world.get(ref)["Key"] for ref in living if lab.world.get(ref)["Key"])
    assert max(keys.values()) == 1
    assert len(lab.rows("action")) >= len(lab.world.tasks)
    linked = {(row["object"], row["remote_id"]) for row in lab.rows("link")}
    assert {(ref.object, ref.id) for ref in lab.world.segments["Hot leads"]} <= linked


def disturb(lab: Any, chance: random.Random, typed: dict[Any, str]) -> None:
    """What sales people do in an hour."""
    leads = lab.world.refs("Lead")
    lab.world.put("Lead", {"Email": f"P{chance.randint(0, 14)}@acme.example"})
    if len(leads) < 6:
        return
    edited, drifted, converted, lost, loser, winner = chance.sample(leads, 6)
    name = f"Typed{chance.randint(0, 999)}"
    lab.world.edit(edited, {"FirstName": name})
    typed[edited] = name
    lab.world.edit(drifted, {"Score": Decimal(chance.randint(0, 99)), "Hot": chance.random() < 0.5})
    for ref, act in ((converted, lab.world.convert), (lost, lab.world.delete)):
        if ref not in typed and chance.random() < 0.5:
            act(ref)
    if loser not in typed and winner not in typed:
        lab.world.merge(loser, winner)


def test_the_books_named_here_are_tables(lab: Any) -> None:
    assert set(PURE) <= set(schema.metadata.tables)
