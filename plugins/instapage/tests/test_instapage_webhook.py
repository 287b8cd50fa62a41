"""What a webhook has to carry, and what becomes of its body. Bodies as recorded (vendor sheet, §2)."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlencode

import pytest

from syncline.errors import RecordError, WebhookRejectedError
from syncline.sdk import Context, Http, WebhookRequest
from syncline_instapage import InstapageConfig, InstapageSource
from syncline_instapage.normalize import ALL_VALUES
from syncline_instapage.simulator import WEBHOOK_SECRET, Sender
from syncline_instapage.simulator.world import DEMO

SECRET = "correct-horse-battery-staple"
ARRIVED = datetime(2018, 10, 29, 7, 57, 41, tzinfo=UTC)

# The shape of a body recorded in 2018, its people and addresses made up
RECORDED = {
    "page_id": "9483867",
    "page_name": "TOYOTA Discounts",
    "page_url": "newcardiscounts.example/Toyota",
    "variant": "Variation C",
    "ip": "203.0.113.45",
    "Select_Model": "RAV 4",
    "Enter_Full_Name": "Ada Test",
    "Enter_Phone_Number": "0789123456",
    "Enter_Email_Address": "Ada@Example.com",
    "Enter_Postcode": "078945",
    "Looking_Finance": "No, I don't need finance",
    "pageshown": "TOYOTA Discounts",
    "variationshown": "Variation C",
    "desktopmobile": "Desktop",
    "timestamp": "29 October 2018 07:57 UTC",
    "ipaddress": "203.0.113.45",
    "referralsource": "http://newcardiscounts.example/toyota",
}


def make(**settings):
    given = {"token": "t", "webhook_secret": SECRET, "keep_fields": "*", **settings}
    http = Http("leads")
    context = Context("leads", http, lambda: pytest.fail("receive has no clock but the request's"), {})
    return InstapageSource(InstapageConfig.model_validate(given), context)


def sent(body, *, query=f"key={SECRET}", path="/hooks/instapage", headers=None, kind="application/json", **more):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": kind, **(headers or {})} if kind else (headers or {})
    return WebhookRequest("POST", path, query, given, data, ARRIVED, **more)


def events(source, request):
    return [event for raw in source.receive(request) for event in source.normalize(raw)]


# Whose it is


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, {"query": f"a=1&key={SECRET}"}),
        ({"webhook_secret_name": "token"}, {"query": f"token={SECRET}"}),
        ({"webhook_secret_in": "path"}, {"path": f"/hooks/instapage/{SECRET}", "query": ""}),
        ({"webhook_secret_in": "path"}, {"path": f"/hooks/instapage/{SECRET}/", "query": ""}),
        (
            {"webhook_secret_in": "header", "webhook_secret_name": "X-Secret"},
            {"headers": {"x-secret": SECRET}, "query": ""},
        ),
    ],
    ids=["query", "another parameter", "path", "path with a slash", "header"],
)
def test_the_secret_is_asked_for_where_it_was_agreed_upon(settings, place):
    assert events(make(**settings), sent(RECORDED, **place))


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_the_secret_may_be_a_hidden_field_and_is_not_kept(kind):
    source = make(webhook_secret_in="field", webhook_secret_name="form key")
    body = {**RECORDED, "form_key": SECRET}
    data = json.dumps(body).encode() if kind.endswith("json") else urlencode(body).encode()
    (raw,) = source.receive(sent(data, query="", kind=kind))
    assert SECRET not in json.dumps(raw.payload)
    (event,) = source.normalize(raw)
    assert SECRET not in repr(event)


def test_the_hidden_field_is_no_part_of_a_polled_submission_either(simulator, connect, pull):
    source = connect(simulator, webhook_secret_in="field", webhook_secret_name="form key", keep_fields="*")
    answers = {"Enter Email Address": "ada@example.com", "neighborhood ": "Isola"}
    id_ = simulator.submit(DEMO, {**answers, "form key": WEBHOOK_SECRET}, simulator.now() - timedelta(hours=1))
    polled = next(raw for raw in pull(source)[0] if raw.key == id_)
    assert WEBHOOK_SECRET not in json.dumps(polled.payload)
    (told,) = source.receive(simulator.webhook(id_, address="https://hooks.example/x"))
    assert source.normalize(polled) == source.normalize(told)


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_the_hidden_field_is_known_by_its_value_where_the_api_has_ids_for_labels(nested):
    """`field_3` says nothing of what it is (vendor sheet §1): the secret would be stored, and make a second event."""
    source = make(webhook_secret_in="field", webhook_secret_name="form key", keep_fields="*")
    fields = {"field_1": "ada@example.com", "field_2": ["Isola"], "field_3": f" {SECRET} ", "field_4": [SECRET]}
    row = {"id": "a1", "pageId": 9483867, "createdAt": 1540800000, "fields": {"all": fields} if nested else fields}
    raw = source._record(1, {}, row)
    assert SECRET not in json.dumps(raw.payload)
    (event,) = source.normalize(raw)
    assert event.properties["fields"]["field_2"] == "Isola"


@pytest.mark.parametrize("page", [float("nan"), float("inf"), None, [], "9483867", "x", True])
def test_a_page_id_of_any_shape_keeps_no_other_row_from_being_read(page):
    row = {"id": "a1", "pageId": page, "createdAt": 1540800000, "fields": {"Email": "ada@example.com"}}
    assert make()._record(1, {}, row).key == "a1"


@pytest.mark.parametrize(
    ("settings", "request_"),
    [
        ({"webhook_secret": None}, sent(RECORDED)),
        ({}, sent(RECORDED, query="")),
        ({}, sent(RECORDED, query="key=")),
        ({}, sent(RECORDED, query=f"key={SECRET[:-1]}")),
        ({}, sent(RECORDED, query=f"key={SECRET}x")),
        ({}, sent(RECORDED, query=f"KEY={SECRET}")),
        ({}, sent(RECORDED, query="key=%FF%FE\u00e9")),
        ({}, sent(RECORDED, query="&".join(f"key={n}" for n in range(2000)))),
        ({}, sent(RECORDED, path=f"/{SECRET}", query="")),
        ({}, sent({**RECORDED, "key": SECRET}, query="")),
        ({}, replace(sent(RECORDED), method="GET")),
        ({"webhook_secret_in": "path"}, sent(RECORDED, path="/")),
        ({"webhook_secret_in": "path"}, sent(RECORDED, path=f"/{SECRET}/hooks")),
        ({"webhook_secret_in": "header", "webhook_secret_name": "X-Secret"}, sent(RECORDED)),
        ({"webhook_secret_in": "field"}, sent({**RECORDED, "key": "wrong"})),
        ({"webhook_secret_in": "field"}, sent({**RECORDED, "key": {"key": SECRET}})),
        ({"webhook_secret_in": "field"}, sent(b"{")),
    ],
    ids=str,
)
def test_what_does_not_carry_the_secret_is_refused(settings, request_):
    with pytest.raises(WebhookRejectedError) as caught:
        make(**settings).receive(request_)
    assert SECRET not in str(caught.value)


def test_secrets_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *pair: compared.append(pair) or False)
    with pytest.raises(WebhookRejectedError):
        make().receive(sent(RECORDED))
    assert compared == [(SECRET.encode(), SECRET.encode())]


# What stands in it


def test_a_recorded_body_becomes_a_submission():
    """Keys and forms of a body recorded in 2018 by a receiver in PHP."""
    source = make(variant="letter", pages=[{"url": "*/toyota", "form_type": "contact"}])
    (raw,) = source.receive(sent(RECORDED))
    (event,) = source.normalize(raw)
    assert event.type == "form_submission"
    assert event.occurred_at == datetime(2018, 10, 29, 7, 57, tzinfo=UTC)
    assert [(i.namespace, i.value) for i in event.identifiers] == [("email", "ada@example.com")]
    assert event.properties == {
        "form_id": "instapage:9483867",
        "form_type": "contact",
        "page_id": "9483867",
        "variant": "C",
        "fields": {
            ALL_VALUES: event.properties["fields"][ALL_VALUES],
            "enter_postcode": "078945",
            "looking_finance": "No, I don't need finance",
            "select_model": "RAV 4",
        },
    }
    assert event.profile == {"name": "Ada Test", "phone": "0789123456"}
    assert raw.payload == {"webhook": RECORDED}


def test_what_only_a_webhook_knows_stays_in_the_raw_record():
    """Address, device and referrer: the API has none of them."""
    (raw,) = (source := make()).receive(sent(RECORDED))
    assert raw.payload["webhook"]["ip"] == "203.0.113.45"
    assert "203.0.113.45" not in repr(list(source.normalize(raw)))
    assert "Desktop" not in repr(list(source.normalize(raw)))


def test_the_same_webhook_twice_is_the_same_record():
    source = make()
    later = replace(sent(RECORDED), received_at=ARRIVED + timedelta(minutes=9))
    assert source.receive(sent(RECORDED)) == source.receive(later)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("application/json; charset=utf-8", json.dumps(RECORDED).encode()),
        ("application/x-www-form-urlencoded", urlencode(RECORDED).encode()),
        ("", json.dumps(RECORDED).encode()),
        ("text/plain", b"  " + json.dumps(RECORDED).encode()),
        ("", urlencode(RECORDED).encode()),
        ("application/json", json.dumps({**RECORDED, "page_id": 9483867}).encode()),
        (
            "application/json",
            json.dumps({"page_id": 9483867.0, **{k: RECORDED[k] for k in list(RECORDED)[1:]}}).encode(),
        ),
        ("application/x-www-form-urlencoded", urlencode(RECORDED).encode() + b"\n"),
        (
            "application/json",
            json.dumps(
                {
                    **{k: v for k, v in RECORDED.items() if k[0].islower()},
                    "fields": {k: v for k, v in RECORDED.items() if k[0].isupper()},
                }
            ).encode(),
        ),
    ],
    ids=["json", "form", "json untold", "json as text", "form untold", "number", "float", "line end", "nested fields"],
)
def test_the_body_may_be_json_or_a_form(kind, data):
    source = make()
    assert events(source, sent(data, kind=kind)) == events(source, sent(RECORDED))


def test_ticks_that_come_as_several_keys_are_told_together():
    pairs = [*RECORDED.items(), ("Interests[]", "Scoring"), ("Interests[]", "Tasks")]
    (event,) = events(make(), sent(urlencode(pairs).encode(), kind="application/x-www-form-urlencoded"))
    assert event.properties["fields"]["interests"] == "Scoring, Tasks"


@pytest.mark.parametrize(
    "timestamp",
    [
        "29 October 2018 07:57 UTC",
        "29 October 2018 07:57:33 UTC",
        "29 october 2018 7:57 GMT",
        "29 October 2018, 07:57 UTC",
    ],
)
def test_the_time_is_to_the_minute(timestamp):
    (event,) = events(make(), sent({**RECORDED, "timestamp": timestamp}))
    assert event.occurred_at == datetime(2018, 10, 29, 7, 57, tzinfo=UTC)


@pytest.mark.parametrize(
    "timestamp", ["", "29 Ottobre 2018 07:57 UTC", "31 February 2018 07:57 UTC", "29 October 2018 07:57 CET", "now"]
)
def test_without_a_time_that_can_be_read_the_arrival_counts(timestamp):
    (raw,) = (source := make()).receive(sent({**RECORDED, "timestamp": timestamp}))
    (event,) = source.normalize(raw)
    assert event.occurred_at == ARRIVED.replace(second=0)
    assert raw.payload["received_at"] == "2018-10-29T07:57:00+00:00"


def test_seconds_since_1970_are_a_time_too():
    """`submitted_at` with `field_N`, as one write-up made it up from the documents: unverified, and understood."""
    body = {
        "field_1": "Jane Doe",
        "field_2": "jane@example.com",
        "field_3": "+1 555 0100",
        "page_id": 9910,
        "submitted_at": 1685608225,
    }
    (event,) = events(make(labels={"name": "field_1"}), sent(body))
    assert event.occurred_at == datetime(2023, 6, 1, 8, 30, tzinfo=UTC)
    assert event.profile == {"name": "Jane Doe", "phone": "+1 555 0100"}
    assert event.identifiers[0].value == "jane@example.com"


@pytest.mark.parametrize("swapped", [False, True], ids=["in order", "swapped"])
def test_title_and_variation_are_found_without_page_name_and_variant(swapped):
    shown = ("TOYOTA Discounts", "Variation B")
    body = {name: value for name, value in RECORDED.items() if name not in ("page_name", "variant")}
    body["pageshown"], body["variationshown"] = shown[::-1] if swapped else shown
    source = make(variant="letter", pages=[{"title": "toyota*", "form_type": "contact"}])
    (event,) = events(source, sent(body))
    assert (event.properties["form_type"], event.properties["variant"]) == ("contact", "B")


# What cannot be used


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("application/json", b'{"page_id": 1', "not JSON, or was cut off"),
        ("application/json", b"[1]", "no object"),
        ("application/json", b"[" * 100_000, "not JSON"),
        ("application/json", b'{"page_id": 1, "a": ' + b"[" * 700 + b"]" * 700 + b"}", "nested deeper"),
        ("application/json", b'{"page_id": 1e999}', "without a page_id"),
        ("text/plain", b"hello", "neither JSON nor a form"),
        ("application/x-www-form-urlencoded", b"", "It has nothing"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(2000)), "neither JSON nor a form"),
        ("application/json", b"\xff\xfe", "not UTF-8"),
    ],
    ids=["cut off", "a list", "too deep", "deep", "too large", "text", "nothing", "too many fields", "not UTF-8"],
)
def test_a_body_that_cannot_be_read_is_quarantined_not_lost(kind, data, reason):
    """Instapage is not known to send again; the poll brings the submission anyway."""
    (raw,) = (source := make()).receive(sent(data, kind=kind))
    assert json.loads(json.dumps(raw.payload)) == raw.payload
    with pytest.raises(RecordError, match=reason):
        source.normalize(raw)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"page_id": ""}, "without a page_id that can be read.*It has desktopmobile, enter_email_address"),
        ({"page_id": "home"}, "without a page_id"),
        ({"Enter_Email_Address": ""}, "no field holds an e-mail address.*its fields: enter_full_name"),
        ({"Enter_Email_Address": "call me"}, "no field holds an e-mail address"),
    ],
    ids=["no page", "not a number", "empty", "no address"],
)
def test_a_form_that_says_too_little_is_refused_with_its_reason(change, reason):
    (raw,) = (source := make()).receive(sent({**RECORDED, **change}))
    with pytest.raises(RecordError, match=reason) as caught:
        source.normalize(raw)
    assert "Ada" not in str(caught.value)


def test_awkward_characters_can_be_stored():
    body = {**RECORDED, "Note": "a\0b \ud800 c", "Sum": float("nan")}
    (raw,) = (source := make()).receive(sent(json.dumps(body).encode()))
    json.dumps(raw.payload, allow_nan=False)
    (event,) = source.normalize(raw)
    assert event.properties["fields"]["note"] == "ab ? c"


# The simulated sender


def test_a_sender_waits_for_its_receiver_and_no_longer(simulator):
    """20 s at the vendor (sheet, §2); the visitor's thank-you page breaks after that, and nothing is sent again."""
    seen = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    id_ = next(iter(simulator.submissions))
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        request = simulator.webhook(id_, address=f"http://127.0.0.1:{server.server_port}/x")
        assert simulator.sender.post(request) is True
        answering.join()
    assert seen == [request.body]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        request = simulator.webhook(id_, address=address)
        assert simulator.sender.post(request, patience=timedelta(milliseconds=50)) is False


def test_the_senders_keys_are_those_recorded(simulator):
    """Names and order of Instapage's own keys as in the bodies of 2017 and 2018."""
    id_ = next(s["id"] for s in simulator.submissions.values() if s["page"] == DEMO)
    body = json.loads(simulator.webhook(id_).body)
    own = [name for name in body if name in RECORDED or name == "adcampaign"]
    assert own == [name for name in RECORDED if name.islower()] + ["adcampaign"]
    assert {"Enter Email Address", "Phone "} <= set(body)
    php = dict(simulator.sender.body({**simulator.submissions[id_]}, simulator.table("pages")[str(DEMO)]))
    assert "Enter Email Address" in php
    shown = Sender("https://x.example", style="php").body(
        simulator.submissions[id_], simulator.table("pages")[str(DEMO)]
    )
    assert {"Enter_Email_Address", "Phone_"} <= set(shown)
