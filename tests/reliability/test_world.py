"""What the lines are measured with sees what it is there for: who is lost, what is doubled, what nobody should have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reliability.killing import OPERATIONS, PLACES, Kill, Place, run_killed
from reliability.stores import Stores
from reliability.vendors import CRMS, SEGMENT, Record
from reliability.world import HOT, Difference, World, open_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A Salesforce world of 40 people in which all is well."""
    folder: Path = tmp_path_factory.mktemp("world")
    with open_world(folder, CRMS["salesforce"], Stores("sqlite"), 40, 1) as opened:
        opened.until_quiet()
        yield opened


def _hot(world: World) -> Record:
    """A lead that nobody else's record looks like, with a task and a membership."""
    held = {email: record for record in world.crm.records(world.crm, world.simulator) for email in record.emails}
    return next(record for email, record in held.items() if world.points.get(email, 0) >= HOT and record.key)


def _counts(found: Difference) -> tuple[int, int, int, int, int]:
    return (found.lost, found.doubled_records, found.doubled_tasks, found.doubled_members, found.strays)


def _changed(world: World, change: Callable[[Any, Record], Callable[[], object]]) -> tuple[int, int, int, int, int]:
    """The difference that a change makes, and then none after it is taken back."""
    assert _counts(world.compare()) == (0, 0, 0, 0, 0)
    undo = change(world.simulator.org, _hot(world))
    found = _counts(world.compare())
    undo()
    assert _counts(world.compare()) == (0, 0, 0, 0, 0)
    return found


def _edit(org: Any, id: str, **fields: Any) -> Callable[[], object]:
    held = org.tables["Lead"][id]
    before = {name: held[name] for name in fields}
    org.tables["Lead"][id] = held | fields
    return lambda: org.tables["Lead"].__setitem__(id, org.tables["Lead"][id] | before)


def _copied(org: Any, table: str, row: dict[str, Any]) -> Callable[[], object]:
    org.tables[table]["copy"] = {**row, "Id": "copy"}
    return lambda: org.tables[table].pop("copy")


def _removed(org: Any, table: str, id: str) -> Callable[[], object]:
    row = org.tables[table].pop(id)
    return lambda: org.tables[table].__setitem__(id, row)


def _of(org: Any, table: str, field: str, record: Record) -> dict[str, Any]:
    return next(row for row in org.tables[table].values() if row.get(field) == record.id)


def test_a_wrong_value_is_a_person_lost(world: World) -> None:
    assert _changed(world, lambda org, record: _edit(org, record.id, Lead_Score__c=1.0)) == (1, 0, 0, 0, 0)


def test_a_missing_record_leaves_its_person_lost_and_its_task_and_membership_astray(world: World) -> None:
    assert _changed(world, lambda org, record: _removed(org, "Lead", record.id)) == (1, 0, 0, 0, 2)


def test_a_second_record_of_one_address_is_doubled(world: World) -> None:
    def change(org: Any, record: Record) -> Callable[[], object]:
        return _copied(org, "Lead", org.tables["Lead"][record.id] | {"Syncline_Key__c": None})

    assert _changed(world, change) == (0, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("table", "field", "found"),
    [("Task", "WhoId", (0, 0, 1, 0, 0)), ("CampaignMember", "LeadId", (0, 0, 0, 1, 0))],
    ids=["task", "membership"],
)
def test_a_second_task_or_membership_is_doubled(
    world: World, table: str, field: str, found: tuple[int, int, int, int, int]
) -> None:
    assert _changed(world, lambda org, record: _copied(org, table, _of(org, table, field, record))) == found


@pytest.mark.parametrize(("table", "field"), [("Task", "WhoId"), ("CampaignMember", "LeadId")])
def test_a_missing_task_or_membership_is_a_loss(world: World, table: str, field: str) -> None:
    def change(org: Any, record: Record) -> Callable[[], object]:
        return _removed(org, table, _of(org, table, field, record)["Id"])

    assert _changed(world, change) == (1, 0, 0, 0, 0)


def test_every_operation_of_every_crm_is_recognised_by_its_call(tmp_path: Path) -> None:
    """Else a kill inside a call would never strike, and count as nothing."""
    for kind, crm in CRMS.items():
        with open_world(tmp_path / kind, crm, Stores("sqlite"), 30, 1) as world:
            seen: set[str] = set()
            route = world.simulator._route

            def spied(request: Any, crm: Any = crm, seen: set[str] = seen, route: Any = route) -> Any:
                seen.add(crm.operation(request))
                return route(request)

            world.simulator._route = spied
            world.run()
            hot = [email for email, points in world.points.items() if points >= HOT]
            world.say(dict.fromkeys(hot, -HOT))
            world.run()
            assert seen - {""} == set(OPERATIONS), kind
            assert crm.members(world.simulator).total() == 0, f"{kind}: somebody is still in {SEGMENT}"


@pytest.mark.parametrize("place", [place for place in PLACES if place.operation in ("", "upsert")], ids=str)
def test_every_named_step_is_reached(place: Place, killable: World) -> None:
    """A step that a change of the code has moved away would never be struck again."""
    if place.step.startswith("unanswered"):
        assert run_killed(killable, killable.now, Kill(Place("answered", "upsert"))).killed
    killable.say(dict.fromkeys(killable.people, 1))
    assert run_killed(killable, killable.now, Kill(place)).killed


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("killable"), CRMS["hubspot"], Stores("sqlite"), 20, 1) as opened:
        opened.until_quiet()
        yield opened
