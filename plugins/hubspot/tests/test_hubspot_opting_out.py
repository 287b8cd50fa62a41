"""hs_email_optout: said through the communication preferences, and never taken back.

developers.hubspot.com, communication preferences, "Unsubscribe a contact from all subscriptions" (v4 and 2026-03), read
2026-11: one address a call, `channel=EMAIL`. That the property is read-only: the vendor's own answer, as quoted in its
forum ("… is a read only property; its value cannot be set").
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from syncline.errors import TransientError
from syncline.model import Status, Value, Write
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotSink
from syncline_hubspot.simulator import HubspotSimulator

Open = Callable[..., HubspotSink]
OPT_OUT = "hs_email_optout"


@pytest.fixture
def contact(portal: HubspotSimulator) -> str:
    return portal.human_create("contacts", lastname="Rossi", email="rossi+x@kit.example")


def held(portal: HubspotSimulator, id: str) -> str | None:
    return next(row.get(OPT_OUT) for row in portal.rows("contacts") if row["hs_object_id"] == id)


def title(portal: HubspotSimulator, id: str) -> str | None:
    return next(row.get("jobtitle") for row in portal.rows("contacts") if row["hs_object_id"] == id)


def test_it_is_offered_on_contacts(sink: HubspotSink) -> None:
    [field] = [field for field in sink.describe("contacts") if field.name == OPT_OUT]
    assert (field.kind, field.writable) == ("boolean", True)


@pytest.mark.parametrize("api", ["v3", "2026-03", "2026-09"])
def test_a_contact_is_opted_out_beside_what_else_is_written(
    open_sink: Open, sink: HubspotSink, portal: HubspotSimulator, contact: str, api: str
) -> None:
    [outcome] = open_sink(api=api).upsert("contacts", [Write("w", ("Id", contact), {"jobtitle": "CFO", OPT_OUT: True})])
    assert (outcome.status, outcome.ref and outcome.ref.id) == (Status.UPDATED, contact)
    assert (held(portal, contact), title(portal, contact)) == ("true", "CFO")


def test_a_new_contact_is_opted_out_by_the_address_it_is_given(sink: HubspotSink, portal: HubspotSimulator) -> None:
    fields: dict[str, Value] = {"lastname": "Neri", "email": "neri@kit.example", OPT_OUT: True}
    [outcome] = sink.upsert("contacts", [Write("w", ("syncline_key", "k-new"), fields)])
    assert outcome.status is Status.CREATED
    assert outcome.ref is not None
    assert held(portal, outcome.ref.id) == "true"


def test_saying_it_again_calls_nobody_twice(sink: HubspotSink, portal: HubspotSimulator, contact: str) -> None:
    write = Write("w", ("Id", contact), {OPT_OUT: True})
    portal.reset_counters()
    assert sink.upsert("contacts", [write])[0].status is Status.UPDATED
    assert (portal.counters()["calls"], portal.counters()["write_calls"]) == (2, 1)  # the look, the call
    assert sink.upsert("contacts", [write])[0].status is Status.UNCHANGED
    assert (portal.counters()["calls"], portal.counters()["write_calls"]) == (3, 1)


@pytest.mark.parametrize("match", ["Id", "syncline_key"])
@pytest.mark.parametrize("value", [False, None])
def test_who_opted_out_is_refused_and_the_others_are_written(
    sink: HubspotSink, portal: HubspotSimulator, contact: str, match: str, value: Value
) -> None:
    free = portal.human_create("contacts", lastname="Verdi", email="verdi@kit.example", syncline_key="k-free")
    portal.human_edit("contacts", contact, syncline_key="k-out")
    portal.human_edit("contacts", contact, hs_email_optout="true")
    by = {"Id": (contact, free), "syncline_key": ("k-out", "k-free")}[match]
    fields: dict[str, Value] = {"jobtitle": "new", OPT_OUT: value}
    refused, written = sink.upsert("contacts", [Write(f"w{n}", (match, v), fields) for n, v in enumerate(by)])
    assert (refused.status, refused.code) == (Status.REJECTED, "OPTED_OUT")
    assert "never opts anybody in again" in str(refused.reason)
    assert written.status is Status.UPDATED
    assert (title(portal, contact), title(portal, free)) == (None, "new")
    assert (held(portal, contact), held(portal, free)) == ("true", None)


def test_without_an_address_there_is_nothing_to_opt_out(sink: HubspotSink, portal: HubspotSimulator) -> None:
    nameless = portal.human_create("contacts", lastname="Bianchi")
    [outcome] = sink.upsert("contacts", [Write("w", ("Id", nameless), {"jobtitle": "CFO", OPT_OUT: True})])
    assert (outcome.status, outcome.code) == (Status.REJECTED, "NO_ADDRESS")
    assert title(portal, nameless) == "CFO"


def test_a_missing_scope_refuses_the_record_and_not_the_connection(
    sink: HubspotSink, portal: HubspotSimulator, contact: str
) -> None:
    portal.switches.missing_scopes = ("communication-preferences",)
    free = portal.human_create("contacts", lastname="Verdi")
    outcomes = sink.upsert(
        "contacts",
        [Write("out", ("Id", contact), {OPT_OUT: True}), Write("free", ("Id", free), {"jobtitle": "CFO"})],
    )
    assert [o.status for o in outcomes] == [Status.REJECTED, Status.UPDATED]
    assert "the scope it lacks" in str(outcomes[0].reason)


def test_a_lost_answer_is_weather_and_the_replay_harmless(
    sink: HubspotSink, portal: HubspotSimulator, contact: str
) -> None:
    write = Write("w", ("Id", contact), {"jobtitle": "CFO", OPT_OUT: True})
    portal.faults = [Fault("drop_after", on="POST *unsubscribe-all")]
    with pytest.raises(TransientError):
        sink.upsert("contacts", [write])
    assert held(portal, contact) == "true"
    assert sink.upsert("contacts", [write])[0].ok


def test_who_opts_out_there_is_among_the_changes_with_who_did_it(
    sink: HubspotSink, portal: HubspotSimulator, contact: str
) -> None:
    cursor = [page.cursor for page in sink.changes("contacts", [OPT_OUT], None)][-1]
    portal.advance(timedelta(minutes=30))
    portal.human_edit("contacts", contact, hs_email_optout="true")
    [record] = [r for page in sink.changes("contacts", [OPT_OUT], cursor) for r in page.records]
    assert (record.fields[OPT_OUT], record.edit(OPT_OUT).by) == (True, "person")
