"""Why somebody has a score, and why not: the same numbers as the CRM holds."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import ConfigError
from syncline.store import events, people

ADA = "ada@acme.example"


def test_contributions_sum_to_the_value_the_crm_holds(each_lab: Any) -> None:
    lab = each_lab
    lab.data["scores"]["interest"]["model"]["score"].append({"name": "keen", "if": "points > 50", "multiply": "1.3"})
    for points in (50.5, 20.25):
        lab.points(ADA, points)
    lab.run()
    with lab.host() as host:
        told = host.explain(ADA).to_json()
    score = told["scores"]["interest"]
    assert sum(Decimal(line["amount"]) for line in score["contributions"]) == Decimal(score["value"])
    assert lab.held(ADA)["Score"] == round(Decimal(score["value"]), 1)
    lines = {line["line"]: line for line in score["contributions"]}
    assert len(lines["points"]["events"]) == 2
    assert {event["type"] for event in lines["points"]["events"]} == {"custom"}


def test_what_the_crms_hold_is_told_with_its_last_writer(lab: Any) -> None:
    lab.add_second_crm()
    lab.points(ADA, 90, last_name="Lovelace")
    lab.run()
    lab.world.edit(lab.ref(ADA), {"LastName": "King"})
    lab.run()
    with lab.host() as host:
        found = {holding["connection"]: holding for holding in host.explain(ADA).to_json()["crm"]}
    assert (found["crm"]["id"], found["crm"]["found_by"]) == (lab.ref(ADA).id, "created")
    assert (found["crm"]["last_writer"], found["other"]["last_writer"]) == ("person", "us")
    assert (found["crm"]["fields"]["LastName"], found["crm"]["ours"]["LastName"]) == ("King", "Lovelace")
    assert found["crm"]["fields"]["Score"] == "90"


@pytest.mark.parametrize(("points", "inside"), [(80, True), (79, False)])
def test_why_somebody_is_or_is_not_in_a_segment(lab: Any, points: int, inside: bool) -> None:
    lab.points(ADA, points)
    with lab.host() as host:
        host.pull()
        why = host.explain(ADA, segment="hot").to_json()["why"]
        assert why["holds"] is inside
        assert str(points) in str(why)
        with pytest.raises(ConfigError, match="hot"):
            host.explain(ADA, segment="cold")


def test_an_earlier_time_explains_as_of_then(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.now += timedelta(days=2)
    lab.points(ADA, 40)
    with lab.host() as host:
        host.pull()
        then = host.explain(ADA, as_of=lab.now - timedelta(days=1)).to_json()
        now = host.explain(ADA).to_json()
    assert (Decimal(then["scores"]["interest"]["value"]), then["segments"]) == (50, [])
    assert (Decimal(now["scores"]["interest"]["value"]), now["segments"]) == (90, ["hot"])


def test_a_person_is_known_by_address_in_any_case_by_our_key_and_by_a_former_one(lab: Any) -> None:
    lab.points(ADA, 50)
    old = lab.keys()[ADA]
    lab.points("eve@acme.example", 40)
    survivor = lab.keys()["eve@acme.example"]
    with lab.host() as host:
        merge = [(host.person(ADA), host.person("eve@acme.example"))]
        with host.database.write() as connection:
            people.merge(connection, merge)
            events.move_to_people(connection, merge)
        for word in (ADA, " ADA@Acme.example ", "eve@acme.example", old, survivor):
            assert host.explain(word).profile.key == survivor
            assert host.explain(word).assessment.scores["interest"].value == 90
        with pytest.raises(ConfigError, match=r"nobody is known as 'eva@acme\.example'"):
            host.explain("eva@acme.example")


def test_explaining_reads_and_writes_nothing(lab: Any) -> None:
    lab.points(ADA, 90)
    lab.run()
    lab.points(ADA, 9)
    before = {name: lab.rows(name) for name in ("event", "score", "standing", "outbox", "run")}
    calls = lab.world.counters["calls"]
    with lab.host() as host:
        host.explain(ADA)
    assert {name: lab.rows(name) for name in before} == before
    assert lab.world.counters["calls"] == calls
