"""HasOptedOutOfEmail: it can be said, and never be taken back. Hidden at first, as in the recorded Lead describe."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncline.errors import SchemaDriftError
from syncline.model import FieldSpec, Status, Value, Write
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

Open = Callable[..., SalesforceSink]
OPT_OUT = "HasOptedOutOfEmail"


def leads(org: SalesforceSimulator, count: int = 2) -> list[str]:
    return [str(r["Id"]) for r in org.rows("Lead") if not r["IsConverted"]][:count]


def held(org: SalesforceSimulator, id: str) -> object:
    return next(row[OPT_OUT] for row in org.rows("Lead") if row["Id"] == id)


def test_it_is_hidden_until_prepare_is_granted_it(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    [lead] = leads(org, 1)
    assert OPT_OUT not in {field.name for field in sink.describe("Lead")}
    with pytest.raises(SchemaDriftError) as caught:
        sink.upsert("Lead", [Write("w", ("Id", lead), {OPT_OUT: True})])
    assert caught.value.field == OPT_OUT
    needed = [FieldSpec("Lead", OPT_OUT, "boolean", "Opt out")]
    assert sink.missing(needed, []) == [f"access to field Lead.{OPT_OUT}: it is hidden from us"]
    assert sink.prepare(needed, []) == [f"granted access to field Lead.{OPT_OUT}"]
    [field] = [field for field in sink.describe("Lead") if field.name == OPT_OUT]
    assert (field.kind, field.writable) == ("boolean", True)
    assert sink.upsert("Lead", [Write("w", ("Id", lead), {OPT_OUT: True})])[0].ok
    assert held(org, lead) is True


@pytest.mark.parametrize("match", ["Id", "Syncline_Key__c"])
@pytest.mark.parametrize("value", [False, None])
def test_who_opted_out_is_refused_and_the_others_are_written(
    sink: SalesforceSink, org: SalesforceSimulator, match: str, value: Value
) -> None:
    org.org.show("Lead", OPT_OUT)
    out, free = leads(org)
    sink.upsert("Lead", [Write(k, ("Id", id), {"Syncline_Key__c": k}) for k, id in (("K-out", out), ("K-free", free))])
    org.human_edit("Lead", out, **{OPT_OUT: True})
    values = {"Id": (out, free), "Syncline_Key__c": ("k-OUT", "K-free")}[match]
    fields: dict[str, Value] = {"Title": "new", OPT_OUT: value}
    refused, written = sink.upsert("Lead", [Write(f"w{n}", (match, v), fields) for n, v in enumerate(values)])
    assert (refused.status, refused.code) == (Status.REJECTED, "OPTED_OUT")
    assert "never opts anybody in again" in str(refused.reason)
    assert written.status is Status.UPDATED
    assert [row["Title"] == "new" for row in org.rows("Lead") if row["Id"] in (out, free)].count(True) == 1
    assert (held(org, out), held(org, free)) == (True, False)


def test_a_person_who_opts_out_while_we_write_stays_out(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    """False is never sent, so that there is no moment in which it could overwrite."""
    org.org.show("Lead", OPT_OUT)
    [lead] = leads(org, 1)
    look = sink.client.query_all

    def then_opted_out(soql: str) -> list[dict[str, object]]:
        rows = look(soql)
        org.human_edit("Lead", lead, **{OPT_OUT: True})
        return rows

    sink.client.query_all = then_opted_out  # type: ignore[method-assign]
    assert sink.upsert("Lead", [Write("w", ("Id", lead), {"Title": "new", OPT_OUT: False})])[0].ok
    assert held(org, lead) is True


def test_only_a_doubtful_write_costs_a_look(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.org.show("Lead", OPT_OUT)
    [lead] = leads(org, 1)
    org.reset_counters()
    sink.upsert("Lead", [Write("w", ("Id", lead), {"Title": "new", OPT_OUT: True})])
    assert org.counters()["calls"] == 1
    sink.upsert("Lead", [Write("w", ("Id", lead), {"Title": "new"})])
    assert org.counters()["calls"] == 2


def test_a_bulk_job_opts_nobody_in_either(open_sink: Open, sink: SalesforceSink, org: SalesforceSimulator) -> None:
    org.org.show("Lead", OPT_OUT)
    bulky = open_sink(bulk_from=201)
    ids = [org.human_create("Lead", LastName=f"L{n}", Company="C") for n in range(201)]
    org.human_edit("Lead", ids[5], **{OPT_OUT: True})
    outcomes = bulky.upsert("Lead", [Write(id, ("Id", id), {"Title": "new", OPT_OUT: False}) for id in ids])
    assert [o.key for o in outcomes] == ids
    assert [o.key for o in outcomes if not o.ok] == [ids[5]]
    assert held(org, ids[5]) is True
