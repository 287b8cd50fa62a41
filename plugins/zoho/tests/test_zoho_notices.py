"""Notices: what is believed, what is refused, and that they are only a reason to read. Vendor sheet §8."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from syncline.errors import WebhookRejectedError
from syncline.model import FieldSpec
from syncline_zoho import ZohoSink
from syncline_zoho.simulator import ZohoSimulator

Open = Callable[..., ZohoSink]
KEY = FieldSpec("Leads", "Syncline_Key", "text", "Syncline key", max_length=64, unique=True)
NOTIFY = {"notify_url": "https://hooks.sync.example/zoho/secret-path?x=1", "notify_token": "only-zoho-knows"}


@pytest.fixture
def watching(open_sink: Open) -> ZohoSink:
    sink = open_sink(**NOTIFY)
    sink.prepare([KEY], [])
    return sink


def test_a_change_becomes_a_notice_of_its_module(watching: ZohoSink, crm: ZohoSimulator) -> None:
    mine = crm.rows("Leads")[0]["id"]
    crm.human_edit("Leads", mine, First_Name="Ada")
    crm.delete_record("Leads", mine)
    crm.human_create("Contacts", Last_Name="Not watched")
    requests = crm.notices()
    assert [(r.path, r.query, r.url) for r in requests] == [("/zoho/secret-path", "x=1", NOTIFY["notify_url"])] * 2
    records = [raw for request in requests for raw in watching.receive(request)]
    assert [(r.stream, r.payload["operation"], r.payload["ids"]) for r in records] == [
        ("Leads", "update", [mine]),
        ("Leads", "delete", [mine]),
    ]


def test_the_token_is_not_kept(watching: ZohoSink, crm: ZohoSimulator) -> None:
    crm.human_create("Leads", Last_Name="R", Company="C")
    [raw] = watching.receive(crm.notices()[0])
    assert "only-zoho-knows" not in json.dumps(raw.payload)


def test_the_same_notice_twice_and_in_any_order_is_one(watching: ZohoSink, crm: ZohoSimulator) -> None:
    for number in range(3):
        crm.human_create("Leads", Last_Name=f"R{number}", Company="C")
    keys = [watching.receive(request)[0].key for request in crm.notices(twice=True, backwards=True)]
    assert (len(keys), len(set(keys))) == (6, 3)


@pytest.mark.parametrize("token", ["", "only-zoho-know", "only-zoho-knowsx", "ONLY-ZOHO-KNOWS", "Zo\u00eb"])
def test_a_wrong_token_is_refused(watching: ZohoSink, crm: ZohoSimulator, token: str) -> None:
    crm.human_create("Leads", Last_Name="R", Company="C")
    with pytest.raises(WebhookRejectedError, match="token") as caught:
        watching.receive(crm.notices(token=token)[0])
    assert "only-zoho-knows" not in str(caught.value)


@pytest.mark.parametrize("token", [None, 17, ["only-zoho-knows"], {"x": 1}, True, "\ud800"])
def test_a_token_that_is_no_text_is_refused(watching: ZohoSink, crm: ZohoSimulator, token: Any) -> None:
    crm.human_create("Leads", Last_Name="R", Company="C")
    true = crm.notices()[0]
    body = json.loads(true.body) | {"token": token}
    with pytest.raises(WebhookRejectedError):
        watching.receive(replace(true, body=json.dumps(body).encode()))


@pytest.mark.parametrize("lacking", ["module", "operation", "ids", "server_time", "channel_id"])
def test_a_notice_that_lacks_something_is_refused(watching: ZohoSink, crm: ZohoSimulator, lacking: str) -> None:
    crm.human_create("Leads", Last_Name="R", Company="C")
    true = crm.notices()[0]
    body = {name: value for name, value in json.loads(true.body).items() if name != lacking}
    with pytest.raises(WebhookRejectedError, match=lacking):
        watching.receive(replace(true, body=json.dumps(body).encode()))


def test_a_connection_without_a_token_believes_nobody(fresh: ZohoSink, watching: ZohoSink, crm: ZohoSimulator) -> None:
    crm.human_create("Leads", Last_Name="R", Company="C")
    with pytest.raises(WebhookRejectedError, match="no notify_token is set"):
        fresh.receive(crm.notices(token="")[0])


def test_a_channel_of_a_number_or_a_text_is_the_same(watching: ZohoSink, crm: ZohoSimulator) -> None:
    """Documented as a long, shown as a text."""
    crm.human_create("Leads", Last_Name="R", Company="C")
    true = crm.notices()[0]
    body = json.loads(true.body)
    other = replace(true, body=json.dumps(body | {"channel_id": int(body["channel_id"])}).encode())
    assert watching.receive(true) == watching.receive(other)
