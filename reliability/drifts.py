"""What an administrator may do to a CRM behind our back, for each of the three, each with its undoing.

Every drift is of a kind with a name of its own. The simulators do what is asked; what a vendor would then answer is
theirs to say.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from reliability.vendors import SEGMENT, Crm
from reliability.world import World

__all__ = ["Drift", "drifts", "make_picklist"]

Undo = Callable[[], None]
Concerns = Literal["field", "creates", "object", "list", "tasks"]


@dataclass(frozen=True, slots=True)
class Drift:
    """`concerns` says what must not be written while it lasts; of a field, `word` says which (as `Crm.fields` does).

    `parked` is a piece of the name under which a report parks it.
    """

    name: str
    concerns: Concerns
    make: Callable[[World], Undo]
    parked: str
    word: str = ""


_READ_ONLY: Final[Mapping[str, dict[str, Any]]] = {
    "salesforce": {"createable": False, "updateable": False},
    "hubspot": {"read_only": True},
    "zoho": {"read_only": True},
}
_TEXT: Final[Mapping[str, dict[str, Any]]] = {
    "salesforce": {"type": "string", "length": 255, "precision": 0, "scale": 0},
    "hubspot": {"type": "string", "field_type": "text"},
    "zoho": {"data_type": "text", "length": 255, "decimal_place": None},
}
_NOT_UNIQUE: Final[Mapping[str, dict[str, Any]]] = {
    "salesforce": {"unique": False},
    "hubspot": {"unique": False},
    "zoho": {"unique": {}},
}


def drifts(crm: Crm) -> Iterator[Drift]:
    """Every kind there is at this vendor."""
    fields, main = crm.fields, crm.objects[0]
    score, hot, band = fields["score"], fields["hot"], fields["band"]
    renamed = "lead_rating" if crm.kind == "hubspot" else score.replace("Score", "Rating")
    yield Drift("renamed", "field", lambda world: _rename(world, score, renamed), score, "score")
    yield Drift("deleted", "field", lambda world: _remove(world, hot), hot, "hot")
    yield Drift("retyped", "field", lambda world: _change(world, score, _TEXT), score, "score")
    yield Drift("read-only", "field", lambda world: _change(world, hot, _READ_ONLY), hot, "hot")
    yield Drift("an option gone", "field", _lose_option, band, "band")
    yield Drift("a required field added", "creates", _demand, "", "")
    yield Drift("the key not unique", "object", lambda world: _change(world, crm.match, _NOT_UNIQUE, main), crm.match)
    yield Drift("the list gone", "list", _lose_list, SEGMENT)
    yield Drift("the key of tasks gone", "tasks", _lose_task_key, "tasks")
    if crm.kind == "hubspot":  # no property can be hidden from an app; a scope can be taken from it
        yield Drift("the permission for lists lost", "list", _lose_scope, SEGMENT)
    else:
        yield Drift("the permission for a field lost", "field", lambda world: _hide(world, score), score, "score")


def make_picklist(world: World, band: str, options: tuple[str, ...]) -> None:
    """The band's field is a picklist, as an administrator makes it: only these."""
    choices = [{"label": o, "value": o, "displayOrder": n, "hidden": False} for n, o in enumerate(options)]
    words: Mapping[str, dict[str, Any]] = {
        "salesforce": {"type": "picklist", "length": 255, "restricted": True, "values": list(options)},
        "hubspot": {"type": "enumeration", "field_type": "select", "options": tuple(choices)},
        "zoho": {"data_type": "picklist", "pick_list_values": [{"actual_value": o} for o in options]},
    }
    _change(world, band, words)


# Fields


def _change(world: World, field: str, words: Mapping[str, dict[str, Any]], only: str | None = None) -> Undo:
    """In the vendor's own words, on every object or one."""
    undo = _remembered(world)
    for name in (only,) if only else world.crm.objects:
        world.simulator.change_field(name, field, **words[world.crm.kind])
    return undo


def _rename(world: World, field: str, new: str) -> Undo:
    """Its label stays, its values come along."""
    word = "api_name" if world.crm.kind == "zoho" else "name"
    for name in world.crm.objects:
        world.simulator.change_field(name, field, **{word: new})

    def undo() -> None:
        for name in world.crm.objects:
            world.simulator.change_field(name, new, **{word: field})

    return undo


def _remove(world: World, field: str) -> Undo:
    undo = _remembered(world)
    for name in world.crm.objects:
        world.simulator.remove_field(name, field)
    return undo


def _lose_option(world: World) -> Undo:
    undo = _remembered(world)
    make_picklist(world, world.crm.fields["band"], ("cold",))
    return undo


def _demand(world: World) -> Undo:
    """A field that new records must have, and that nobody maps."""
    simulator, main = world.simulator, world.crm.objects[0]
    if world.crm.kind == "hubspot":
        simulator.portal.required = ("city",)
        return lambda: setattr(simulator.portal, "required", ())
    undo = _remembered(world)
    if world.crm.kind == "zoho":
        simulator.crm.create_field(main, {"field_label": "Must", "data_type": "text"}, 0)
        simulator.change_field(main, "Must", required=True)
        return undo
    org = simulator.org
    org.create_field(f"{main}.Must__c", {"type": "Text", "length": 80, "label": "Must"})
    permissions = org.tables["FieldPermissions"]
    mine = next(row for row in permissions.values() if row["SobjectType"] == main)
    id = org.new_id("01k")
    permissions[id] = {**mine, "Id": id, "Field": f"{main}.Must__c"}
    simulator.change_field(main, "Must__c", nillable=False)
    return undo


def _hide(world: World, field: str) -> Undo:
    """From the user we log in as; administrators go on seeing it."""
    simulator, objects = world.simulator, world.crm.objects
    if world.crm.kind == "zoho":
        simulator.crm.hide(*(f"{name}.{field}" for name in objects))

        def show() -> None:
            simulator.crm._hidden = frozenset()
            simulator.crm.forget_fields()

        return show
    permissions = simulator.org.tables["FieldPermissions"]
    concerned = {f"{name}.{field}" for name in objects}
    taken = {id: row for id, row in permissions.items() if row["Field"] in concerned}
    for id in taken:
        del permissions[id]
    simulator.org._fields.clear()

    def give_back() -> None:
        permissions.update(taken)
        simulator.org._fields.clear()

    return give_back


# Lists and tasks


def _lose_list(world: World) -> Undo:
    simulator = world.simulator
    table = {
        "salesforce": lambda: simulator.org.tables["Campaign"],
        "hubspot": lambda: simulator.table("list"),
        "zoho": lambda: simulator.crm.tags,
    }[world.crm.kind]()
    gone = {id: row for id, row in table.items() if SEGMENT in (row.get("Name"), row.get("name"))}
    for id in gone:
        del table[id]
    return lambda: table.update(gone)


def _lose_task_key(world: World) -> Undo:
    undo = _remembered(world)
    name = {"salesforce": "Syncline_Key__c", "hubspot": "syncline_task_key", "zoho": "Syncline_Key"}[world.crm.kind]
    object_name = "Activity" if world.crm.kind == "salesforce" else world.crm.task_object
    world.simulator.remove_field(object_name, name)
    return undo


def _lose_scope(world: World) -> Undo:
    switches = world.simulator.switches
    switches.missing_scopes = ("/lists/",)
    return lambda: setattr(switches, "missing_scopes", ())


def _remembered(world: World) -> Undo:
    """Put the account's own fields back as they are now."""
    simulator = world.simulator
    held = {"salesforce": "org", "hubspot": "portal", "zoho": "crm"}[world.crm.kind]
    custom = getattr(simulator, held).custom
    before = {key: copy.deepcopy(row) for key, row in custom.items()}

    def undo() -> None:
        for key in custom.keys() - before.keys():
            del custom[key]
        custom.update(copy.deepcopy(before))
        for cache in ("_fields", "_keys", "_definitions", "_unique"):
            getattr(getattr(simulator, held), cache, {}).clear()

    return undo
