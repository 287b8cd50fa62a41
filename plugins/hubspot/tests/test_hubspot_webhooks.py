"""Notices of changes and their signature. Rules: vendor sheet §10; the vendor's own client signs and checks as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hubspot.utils.signature import Signature
from pydantic import SecretStr

from syncline.errors import WebhookRejectedError
from syncline.sdk import WebhookRequest
from syncline_hubspot import HubspotSink
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.tokens import CLIENT_SECRET
from syncline_hubspot.webhooks import signature_of, verify

URL = "https://bridge.example/hooks/hubspot?x=1"
Open = Callable[..., HubspotSink]


def test_the_vector_of_the_sheet() -> None:
    secret = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
    found = signature_of(secret, "POST", URL, b'[{"eventId":1}]', "1763712000000")
    assert found == "gZPGzG/1/3Wn3AvCBFvvKJMyGbGobW0aXUvAvjnHtg4="


@pytest.mark.parametrize("body", ['[{"a":"Zoë"}]', "[]", '[{"b":"%3A \\u00e9"}]'], ids=["letters", "empty", "escapes"])
@pytest.mark.parametrize("url", [URL, "https://x.example/", "https://x.example/a/b?c=d&e=%C3%A9"])
def test_it_agrees_with_the_vendors_own_client(url: str, body: str) -> None:
    """Not with escapes in the address, which that client leaves to its caller."""
    now = str(int(datetime.now(UTC).timestamp() * 1000))
    ours = signature_of("s3cret", "POST", url, body.encode(), now)
    assert Signature.is_valid(ours, "s3cret", body, url, "POST", "v3", now)
    assert not Signature.is_valid(ours, "s3cret", body + " ", url, "POST", "v3", now)


def test_exactly_the_listed_escapes_are_decoded() -> None:
    encoded = "https://x.example/%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B?q=%3a%2f%20%C3%A9%26%23%25"
    decoded = "https://x.example/:/?@!$'()*,;?q=:/%20%C3%A9%26%23%25"
    assert signature_of("s", "POST", encoded, b"", "1") == Signature.get_signature("s", "", "v3", decoded, "POST", "1")


def signed(portal: HubspotSimulator, **changes: Any) -> WebhookRequest:
    """A request that HubSpot has signed."""
    event = {"subscriptionType": "contact.creation", "objectId": 5, "occurredAt": 1, "eventId": 3, "attemptNumber": 0}
    return portal.notices.signed(URL, [event | changes])


def test_the_window_is_five_minutes_to_either_side(portal: HubspotSimulator) -> None:
    true, secret = signed(portal), SecretStr(CLIENT_SECRET)
    for apart in (-300, 300):
        verify(replace(true, received_at=portal.now() + timedelta(seconds=apart)), secret)
    for apart in (-301, 301):
        with pytest.raises(WebhookRejectedError, match="301 s from now"):
            verify(replace(true, received_at=portal.now() + timedelta(seconds=apart)), secret)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"x-hubspot-signature-v3": ""}, "missing"),
        ({"x-hubspot-request-timestamp": ""}, "missing"),
        ({"x-hubspot-request-timestamp": "soon"}, "missing"),
        ({"x-hubspot-request-timestamp": "٣"}, "missing"),
        ({"x-hubspot-signature-v3": "é"}, "wrong"),
        ({"x-hubspot-signature-v3": "gZPGzG/1/3Wn3AvCBFvvKJMyGbGobW0aXUvAvjnHtg4="}, "wrong"),
    ],
    ids=["no signature", "no time", "a word for a time", "other digits", "no ASCII", "another's signature"],
)
def test_what_is_not_signed_is_refused(
    sink: HubspotSink, portal: HubspotSimulator, change: dict[str, str], why: str
) -> None:
    true = signed(portal)
    with pytest.raises(WebhookRejectedError, match=why):
        sink.receive(replace(true, headers=true.headers | change))


def test_older_signatures_alone_are_not_enough(sink: HubspotSink, portal: HubspotSimulator) -> None:
    true = signed(portal)
    body = true.body.decode()
    v2 = Signature.get_signature(CLIENT_SECRET, body, "v2", URL, "POST")
    headers = {"x-hubspot-signature": v2, "x-hubspot-signature-version": "v2"}
    with pytest.raises(WebhookRejectedError, match="v3 are missing"):
        sink.receive(replace(true, headers=headers))


def test_without_a_secret_nothing_is_accepted(open_sink: Open, portal: HubspotSimulator) -> None:
    with pytest.raises(WebhookRejectedError, match="webhook_secret"):
        open_sink(webhook_secret=None).receive(signed(portal))


def test_notices_are_told_of_their_object(sink: HubspotSink, portal: HubspotSimulator) -> None:
    words = {
        "contact.propertyChange": "contacts",
        "company.deletion": "companies",
        "deal.merge": "deals",
        "line_item.creation": "line_items",
    }
    for word, stream in words.items():
        (record,) = sink.receive(signed(portal, subscriptionType=word))
        assert (record.stream, record.payload["subscriptionType"]) == (stream, word)
    (record,) = sink.receive(signed(portal, subscriptionType="object.creation", objectTypeId="0-1"))
    assert record.stream == "contacts"
    (record,) = sink.receive(signed(portal, subscriptionType="object.creation", objectTypeId="2-4711"))
    assert record.stream == "2-4711"


def test_a_repetition_has_the_key_of_the_first(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """The attempt counts up; everything else is the same. `eventId` alone is not unique."""
    key = sink.receive(signed(portal))[0].key
    assert sink.receive(signed(portal, attemptNumber=7))[0].key == key
    for change in ({"objectId": 6}, {"occurredAt": 2}, {"eventId": 4}, {"propertyName": "email"}):
        assert sink.receive(signed(portal, **change))[0].key != key


def test_what_happens_is_told_in_lists_of_a_hundred(sink: HubspotSink, portal: HubspotSimulator) -> None:
    ids = {portal.human_create("contacts", lastname=f"n{n}") for n in range(120)}
    requests = portal.notices.requests(URL)
    assert [len(json.loads(r.body)) for r in requests] == [100] * (len(requests) - 1) + [
        len(portal.notices.all()) % 100
    ]
    records = [record for request in requests for record in sink.receive(request)]
    made = [r for r in records if r.payload["subscriptionType"] == "contact.creation"]
    assert {str(r.payload["objectId"]) for r in made} == ids
    assert len({r.key for r in records}) == len(records)
    moments = [r.payload["objectId"] for r in records]
    assert moments != sorted(moments)  # the order is nobody's promise


def test_more_than_a_hundred_in_one_are_not_hubspots(sink: HubspotSink, portal: HubspotSimulator) -> None:
    events = [{"subscriptionType": "contact.creation", "objectId": n, "occurredAt": n} for n in range(101)]
    with pytest.raises(WebhookRejectedError, match="at most 100"):
        sink.receive(portal.notices.signed(URL, events))


def test_what_was_not_heard_is_sent_again_and_known_again(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """Any status but 2xx is tried again, up to ten times, each time with a new signature."""
    portal.human_create("contacts", lastname="Verdi")
    kept: list[set[str]] = []

    def receive(request: WebhookRequest) -> int:
        kept.append({record.key for record in sink.receive(request)})
        return 503 if len(kept) < 4 else 200

    assert portal.notices.deliver(URL, receive) == 4
    assert all(keys == kept[0] for keys in kept)
    assert portal.notices.deliver(URL, lambda _: 404) == 11


def test_what_people_do_there_is_told(sink: HubspotSink, portal: HubspotSimulator) -> None:
    portal.notices.generic = True
    first, second = (portal.human_create("contacts", lastname=n) for n in "ab")
    portal.human_edit("contacts", first, jobtitle="CFO")
    survivor = portal.merge("contacts", first, second)
    portal.delete_record("contacts", survivor)
    found = [r.payload for request in portal.notices.requests(URL) for r in sink.receive(request)]
    told = {(n["subscriptionType"], str(n["objectId"])) for n in found}
    assert {("object.creation", first), ("object.merge", survivor), ("object.deletion", survivor)} <= told
    edit = next(n for n in found if n.get("propertyName") == "jobtitle" and str(n["objectId"]) == first)
    assert (edit["propertyValue"], edit["changeSource"], edit["sourceId"]) == ("CFO", "CRM_UI", "userId:76070032")


def test_a_notice_of_an_association_keeps_none_of_the_others_out(sink: HubspotSink, portal: HubspotSimulator) -> None:
    """It names two records, and none as `objectId`: refused, a hundred notices would come again for a day."""
    association = {
        "eventId": 3,
        "subscriptionType": "contact.associationChange",
        "occurredAt": 1,
        "attemptNumber": 0,
        "associationType": "CONTACT_TO_COMPANY",
        "fromObjectId": 1,
        "toObjectId": 2,
        "associationRemoved": False,
    }
    edit = {"subscriptionType": "contact.propertyChange", "objectId": 5, "occurredAt": 1}
    records = sink.receive(portal.notices.signed(URL, [association, edit]))
    assert [(r.stream, r.payload) for r in records] == [("contacts", association), ("contacts", edit)]
    assert sink.receive(portal.notices.signed(URL, [association | {"attemptNumber": 4}]))[0].key == records[0].key
