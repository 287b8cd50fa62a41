"""Opting out of e-mail is said, and never taken back; not even by a write that crosses with the person's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncline.model import Status, Write
from syncline.sdk import Http
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator

OPT_OUT = "Email_Opt_Out"


def lead(crm: ZohoSimulator, number: int = 0) -> str:
    return [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]][number]


def held(crm: ZohoSimulator, id: str) -> Any:
    return next(row[OPT_OUT] for row in crm.rows("Leads") if row["id"] == id)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of every call that writes."""
    rows: list[Any] = []
    request = Http.request

    def noted(http: Http, method: str, path: str, **arguments: Any) -> Any:
        if method in ("POST", "PUT") and arguments.get("data") and "/crm/" in path:
            rows.extend(json.loads(arguments["data"]).get("data", ()))
        return request(http, method, path, **arguments)

    monkeypatch.setattr(Http, "request", noted)
    return rows


def test_opting_out_is_an_ordinary_write(sink: ZohoSink, crm: ZohoSimulator) -> None:
    id = lead(crm)
    [outcome] = sink.upsert("Leads", [Write("a", ("Id", id), {OPT_OUT: True})])
    assert (outcome.status, held(crm, id)) == (Status.UPDATED, True)
    assert crm.counters()["calls"] == 1, "no look before it"


@pytest.mark.parametrize("value", [False, None])
@pytest.mark.parametrize("by", ["Id", "Syncline_Key"])
def test_who_has_opted_out_is_refused_alone_with_a_reason(
    sink: ZohoSink, crm: ZohoSimulator, sent: list[Any], value: bool | None, by: str
) -> None:
    out, other = lead(crm), lead(crm, 1)
    sink.upsert("Leads", [Write(i, ("Id", i), {"Syncline_Key": f"it's {n}"}) for n, i in enumerate((out, other))])
    crm.human_edit("Leads", out, Email_Opt_Out=True)
    sent.clear()
    names = {"Id": (out, other), "Syncline_Key": ("it's 0", "it's 1")}[by]
    refused, written = sink.upsert("Leads", [Write(n, (by, n), {OPT_OUT: value, "Visits": 4}) for n in names])
    assert (refused.status, refused.code) == (Status.REJECTED, "OPTED_OUT")
    assert refused.reason == (
        "Email_Opt_Out: this person has opted out of e-mail in Zoho; a sync never opts anybody in again"
    )
    assert (written.status, held(crm, out)) == (Status.UPDATED, True)
    assert [row.get("Visits") for row in sent] == [4], "of the refused one nothing is written"


@pytest.mark.parametrize("value", [False, None])
def test_only_true_ever_leaves(sink: ZohoSink, crm: ZohoSimulator, sent: list[Any], value: bool | None) -> None:
    """So whoever opts out between our look and our write stays so."""
    id = lead(crm)
    new = {OPT_OUT: value, "Last_Name": "Rossi", "Company": "Acme"}
    outcomes = sink.upsert("Leads", [Write("a", ("Id", id), {OPT_OUT: value, "Visits": 1})])
    outcomes += sink.upsert("Leads", [Write("b", ("Syncline_Key", "new"), new)])
    assert [o.status for o in outcomes] == [Status.UPDATED, Status.CREATED]
    assert not [row for row in sent if row.get(OPT_OUT, True) is not True]


def test_a_converted_lead_that_opted_out_is_looked_at_too(sink: ZohoSink, crm: ZohoSimulator) -> None:
    id = lead(crm)
    crm.human_edit("Leads", id, Email_Opt_Out=True)
    crm.convert_lead(id)
    [refused] = sink.upsert("Leads", [Write("a", ("Id", id), {OPT_OUT: False})])
    assert refused.code == "OPTED_OUT"


def test_a_hundred_doubts_are_two_looks_and_one_write(sink: ZohoSink, crm: ZohoSimulator) -> None:
    for number in range(60):
        crm.human_create("Leads", Last_Name=f"L{number}", Company="Acme")
    ids = [r["id"] for r in crm.rows("Leads") if not r["Converted__s"]][:60]
    crm.reset_counters()
    sink.upsert("Leads", [Write(i, ("Id", i), {OPT_OUT: False, "Visits": 1}) for i in ids])
    assert (crm.counters()["calls"], crm.counters()["write_calls"]) == (3, 1)
