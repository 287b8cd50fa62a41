"""What the configuration says of a CRM connection, as one target: all syncs to it, whichever of them is run."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from syncline.config import Config
from syncline.host.wiring import targets
from syncline.model import Field, Limits
from syncline.sync.preflight import preflight
from syncline.sync.target import Guard, Target

LIMITS = Limits(200, 200, 200)
ALIKE = {"to": "crm", "object": "Lead", "also": ["Contact"], "match": "Key", "when_missing": "create"}
LEADS = {
    **ALIKE,
    "name": "leads",
    "create_if": {"score": "fit", "at_least": 20, "identifier": "shop:customer"},
    "fields": {
        "Score": {"from": "score.fit", "owner": "ours"},
        "Band": {"from": "score.fit.band", "owner": "ours", "default": "none"},
    },
    "segments": {"hot": "Hot leads"},
}
MORE = {
    **LEADS,
    "name": "more",
    "fields": {
        "Name": {"from": "person.last_name", "owner": "shared", "policy": "only_if_empty"},
        "Status": {"to": "person.stage", "owner": "theirs"},
    },
    "segments": {"warm": "Warm leads"},
}
OTHER = {**LEADS, "name": "others", "to": "other"}


def wired(*syncs: dict[str, Any], only: str | None = None) -> list[Target]:
    connections = {name: {"plugin": "memory"} for name in ("crm", "other")}
    config = Config.model_validate({"version": 1, "connections": connections, "syncs": syncs})
    return targets(
        config, dict.fromkeys(connections, LIMITS), None if only is None else {only}, bands={"fit": ["high", "low"]}
    )


def described(target: Target) -> Target:
    fields = [Field("Key", "text", unique=True), *(Field(name, "text") for name in ("Band", "Name", "Score", "Status"))]
    return preflight(target, dict.fromkeys(target.objects, fields))


def test_syncs_of_one_connection_are_one_target() -> None:
    crm, other = wired(LEADS, OTHER, MORE)
    assert (crm.connection, other.connection) == ("crm", "other")
    assert [mapped.name for mapped in crm.fields] == ["Score", "Band", "Name", "Status"]
    assert crm.segments == {"hot": "Hot leads", "warm": "Warm leads"}
    assert (crm.objects, crm.create, crm.match) == (("Lead", "Contact"), True, "Key")
    assert (crm.create_if, crm.create_with) == (("fit", Decimal(20)), "shop:customer")


def test_a_guard_of_any_of_the_syncs_holds_whatever_their_order() -> None:
    guarded = {**MORE, "guard": {"creates": 7, "tasks": None}}
    expected = Guard(creates=7, clears=100, tasks=None, removes=100, overwrites=500)
    for syncs in ((LEADS, guarded), (guarded, LEADS)):
        [crm] = wired(*syncs)
        assert crm.guard == expected


def test_one_sync_alone_reads_the_fields_of_all_and_writes_only_its_own() -> None:
    [whole] = map(described, wired(LEADS, MORE))
    [leads] = map(described, wired(LEADS, OTHER, MORE, only="leads"))
    [more] = map(described, wired(LEADS, MORE, OTHER, only="more"))
    assert leads.read_fields("Lead") == more.read_fields("Lead") == whole.read_fields("Lead")
    assert [mapped.name for mapped in leads.fields_of("Lead")] == ["Score", "Band", "Status"], "Status is only read"
    assert [mapped.name for mapped in more.fields_of("Lead")] == ["Name", "Status"]
    assert (leads.segments, more.segments) == ({"hot": "Hot leads"}, {"warm": "Warm leads"})


def test_what_is_parked_is_still_read() -> None:
    [target] = wired(LEADS)
    fields = [Field("Key", "text", unique=True), Field("Score", "number", writable=False), Field("Band", "text")]
    checked = preflight(target, dict.fromkeys(target.objects, fields))
    assert {parked.field for parked in checked.parked} == {"Score"}
    assert checked.read_fields("Lead") == ["Band", "Key", "Score"]


def test_a_mapping_knows_the_values_it_will_give() -> None:
    [crm] = wired(LEADS, MORE)
    assert {mapped.name: mapped.values for mapped in crm.fields if mapped.values} == {"Band": ("high", "low", "none")}
