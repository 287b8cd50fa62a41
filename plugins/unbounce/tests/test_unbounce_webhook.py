"""The webhook: who is believed, what is understood, and that a poll of the same submission says the same."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from urllib.parse import urlencode

import pytest

from syncline.errors import RecordError, WebhookRejectedError
from syncline.testing.population import simulated_now
from syncline_unbounce.simulator import Switches
from syncline_unbounce.simulator.posting import SHAPES

NOW = simulated_now()
FORM = {
    "email": "Ada.Neumann@Example.com",
    "first_name": "Ada",
    "company": "Borea & Figli <S.r.l.>",
    "topics": ["Prices", "Events"],
    "phone": "",
    "utm_source": "ads",
    "note": "two\r\nlines  and\ta tab",
}


def _submitted(simulator, data=FORM, *, minutes_ago=30, page="Newsletter"):
    id_ = next(id_ for id_, row in simulator.world.pages.items() if row.name == page)
    return simulator.submit(id_, data, at=simulator.now() - timedelta(minutes=minutes_ago, seconds=17.25))


def _by_poll(simulator, source, pull, events_of, lead):
    simulator.advance(timedelta(hours=1))
    return events_of(source, [raw for raw in pull(source)[0] if raw.key == lead])


# One event, whichever way


@pytest.mark.parametrize("kind", SHAPES)
def test_webhook_and_poll_of_a_submission_give_the_same_events(simulator, connect, pull, events_of, kind):
    """Design decision: byte for byte, in every content type (vendor sheet §2)."""
    source = connect(simulator, visits=True)
    lead = _submitted(simulator)
    told = events_of(source, source.receive(simulator.webhook(lead, kind)))
    polled = _by_poll(simulator, source, pull, events_of, lead)
    assert told == polled
    assert [event.type for event in told] == ["form_submission", "page_visit"]


@pytest.mark.parametrize("kind", ["form", "json", "xml"])
def test_every_seeded_lead_is_one_event_by_both_ways(simulator, connect, pull, events_of, kind):
    source = connect(simulator)
    records, _ = pull(source)
    leads = [raw.key for raw in records if raw.payload["lead"]["extra_data"].get("created_by") != "api"]
    polled = {event.id: event for raw in records if raw.key in set(leads) for event in source.normalize(raw)}
    told = {event.id: event for call in simulator.deliveries(leads, kind) for event in _events(source, call)}
    assert told == polled
    assert len(polled) > 50


def test_the_order_of_deliveries_and_their_repeats_change_nothing(simulator, connect, pull, events_of):
    source = connect(simulator)
    leads = [_submitted(simulator, {**FORM, "email": f"p{n}@example.com"}, minutes_ago=20 + n) for n in range(6)]
    calls = simulator.deliveries(leads, twice=0.5)
    assert len(calls) > len(leads)
    polled = [raw for raw in _polled(simulator, source, pull) if raw.key in set(leads)]
    everything = [*polled, *(raw for call in calls for raw in source.receive(call))]
    seen = set()
    for turn in range(5):
        Random(turn).shuffle(everything)
        first_said = {}
        for event in events_of(source, everything):
            first_said.setdefault(event.id, event)
        seen.add(json.dumps(sorted(repr(event) for event in first_said.values())))
        assert len(first_said) == len(leads)
    assert len(seen) == 1


def _polled(simulator, source, pull):
    simulator.advance(timedelta(hours=1))
    return pull(source)[0]


def test_a_repeated_delivery_is_the_same_record(simulator, connect):
    source = connect(simulator)
    call = simulator.webhook(_submitted(simulator))
    later = replace(call, received_at=call.received_at + timedelta(minutes=7))
    assert source.receive(call) == source.receive(later)


def test_a_double_click_within_a_minute_is_one_event(simulator, connect, pull, events_of):
    """Vendor sheet §5: duplicate leads with different ids, seconds apart."""
    source = connect(simulator)
    page = next(iter(simulator.world.pages))
    at = (simulator.now() - timedelta(hours=1)).replace(second=10)
    leads = [simulator.submit(page, FORM, at=at + timedelta(seconds=n)) for n in (0, 4)]
    records = [raw for raw in pull(source)[0] if raw.key in leads]
    assert len(records) == 2
    assert len({event.id for event in events_of(source, records)}) == 1


@pytest.mark.parametrize(
    "change",
    [{"email": "other@example.com"}, {"topics": ["Prices"]}, {"company": "Cardo SAS"}, {"more": "x"}],
    ids=["another person", "fewer topics", "another company", "one field more"],
)
def test_other_values_are_another_event(simulator, connect, change):
    source = connect(simulator)
    one, other = (
        _events(source, simulator.webhook(_submitted(simulator, data)))[0] for data in (FORM, {**FORM, **change})
    )
    assert one.id != other.id


def test_a_minutes_edge_is_all_that_can_part_them(simulate, connect, pull, events_of):
    """Where the webhook's time is 300 ms before the lead's, some five submissions of 1000 have two minutes."""
    simulator = simulate(switches=Switches(webhook_ahead_s=0.3))
    source = connect(simulator, page_size=1000)
    chance = Random(7)
    page = next(iter(simulator.world.pages))
    leads = [
        simulator.submit(page, {"email": f"p{n}@example.com"}, at=NOW - timedelta(seconds=chance.uniform(100, 80_000)))
        for n in range(1000)
    ]
    known = set(leads)
    polled = {event.id for event in events_of(source, [raw for raw in pull(source)[0] if raw.key in known])}
    told = {event.id for lead in leads for event in _events(source, simulator.webhook(lead))}
    parted = len(told - polled)
    assert 0 < parted <= 15, parted
    assert len(told & polled) == 1000 - parted


def test_a_page_that_is_told_as_http_or_with_an_ads_parameters_is_the_same_form(simulator, connect):
    source = connect(simulator)
    call = simulator.webhook(_submitted(simulator))
    https = replace(call, body=call.body.replace(b"http%3A%2F%2Fgo", b"https%3A%2F%2Fgo"))
    ad = replace(call, body=call.body.replace(b"newsletter%2F&", b"newsletter%2F%3Futm_source%3Dads&"))
    assert call.body not in (https.body, ad.body)
    assert _events(source, call) == _events(source, https) == _events(source, ad)
    assert _events(source, call)[0].properties["form_id"] == "https://go.example.com/newsletter"


def test_renamed_and_left_out_fields_can_be_told(simulator, connect, pull, events_of):
    """Only in JSON and XML webhooks fields may be renamed or removed (vendor sheet §2)."""
    lead = _submitted(simulator, {"email": "ada@example.com", "first_name": "Ada", "utm_source": "ads"})
    call = simulator.webhook(lead, "json")
    body = json.loads(call.body)
    body["E-Mail"] = body.pop("email")
    del body["utm_source"]
    changed = replace(call, body=json.dumps(body).encode())
    source = connect(simulator, webhook_fields={"E-Mail": "email"}, unhashed=["utm_*"])
    told, polled = _events(source, changed), _by_poll(simulator, source, pull, events_of, lead)
    assert [event.id for event in told] == [event.id for event in polled]
    plain = connect(simulator)
    assert _events(plain, changed)[0].id != events_of(plain, [r for r in pull(plain)[0] if r.key == lead])[0].id


def test_without_a_time_the_minute_it_came_in_counts(simulator, connect):
    source = connect(simulator)
    call = simulator.webhook(_submitted(simulator), "json")
    body = {name: value for name, value in json.loads(call.body).items() if not name.endswith("_submitted")}
    (event,) = _events(source, replace(call, body=json.dumps(body).encode()))
    assert event.occurred_at == call.received_at.replace(second=0, microsecond=0)


@pytest.mark.parametrize(
    ("time", "hour"),
    [("12:05 AM UTC", 0), ("12:05 PM UTC", 12), ("1:05 am UTC", 1), ("11:05 PM UTC", 23), ("13:05 UTC", 13)],
)
def test_times_are_read_to_the_minute(simulator, connect, time, hour):
    source = connect(simulator)
    (event,) = _events(source, _call(simulator, {"email": ["a@example.com"], "time_submitted": [time]}))
    assert (event.occurred_at.hour, event.occurred_at.minute) == (hour, 5)


def _call(simulator, data):
    """A form-encoded call with these values in place of a submission's own."""
    lead = _submitted(simulator)
    call = simulator.webhook(lead)
    inner = {"page_uuid": ["p1"], "variant": ["a"], "date_submitted": ["2026-05-01"], "time_submitted": ["1:00 PM UTC"]}
    return replace(call, body=urlencode({"page_id": "p1", "data.json": json.dumps(inner | data)}).encode())


# Who is believed


def _without(call, header):
    return replace(call, headers={name: value for name, value in call.headers.items() if name != header})


@pytest.mark.parametrize(
    "forge",
    [
        lambda call: _without(call, "x-syncline-secret"),
        lambda call: replace(call, headers={**call.headers, "x-syncline-secret": "wrong"}),
        lambda call: replace(call, headers={**call.headers, "x-syncline-secret": "caf\u00e9"}),
        lambda call: replace(call, query=""),
        lambda call: replace(call, query="secret=wrong&secret=simulated-secret-in-the-address"),
        lambda call: replace(call, headers={}),
        lambda call: replace(call, method="GET"),
        lambda call: replace(call, headers={**call.headers, "content-type": "text/plain"}),
    ],
    ids=["no header", "wrong header", "odd header", "no parameter", "wrong parameter", "nothing", "GET", "text"],
)
def test_who_does_not_know_the_secrets_or_sends_something_else_is_refused(simulator, connect, forge):
    source, call = connect(simulator), simulator.webhook(_submitted(simulator))
    assert source.receive(call)
    with pytest.raises(WebhookRejectedError) as caught:
        source.receive(forge(call))
    assert simulator.webhook_secret not in str(caught.value)
    assert simulator.webhook_url_secret not in str(caught.value)


@pytest.mark.parametrize("only", ["webhook_secret", "webhook_url_secret"])
def test_one_secret_is_enough_if_only_one_is_set(simulator, connect, only):
    other = {"webhook_secret": "webhook_url_secret", "webhook_url_secret": "webhook_secret"}[only]
    source = connect(simulator, **{other: None})
    call = simulator.webhook(_submitted(simulator))
    bare = replace(call, query="") if only == "webhook_secret" else _without(call, "x-syncline-secret")
    assert source.receive(bare)


def test_without_any_secret_nobody_is_believed(simulator, connect):
    source = connect(simulator, webhook_secret=None, webhook_url_secret=None)
    with pytest.raises(WebhookRejectedError, match="no secret is set"):
        source.receive(simulator.webhook(_submitted(simulator)))


def test_secrets_are_compared_in_constant_time(simulator, connect, monkeypatch):
    compared = []

    def compare(given, secret):
        compared.append((given, secret))
        return given == secret

    monkeypatch.setattr("syncline_unbounce.webhook.hmac.compare_digest", compare)
    source = connect(simulator)
    with pytest.raises(WebhookRejectedError):
        source.receive(replace(simulator.webhook(_submitted(simulator)), headers={"x-syncline-secret": "x"}))
    assert len(compared) == 2  # both are compared, although the first is wrong


# What cannot be read is kept


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("form", b"page_id=p1&variant=a", "neither data.json nor data.xml"),
        ("form", b"data.json=%7B", "JSON cannot be read"),
        ("form", b"data.json=%5B%5D", "not an object"),
        ("form", b"data.json=\xff", "cannot be decoded"),
        ("json", b"[1]", "not an object"),
        ("json", b"\xff", "not UTF-8"),
        ("json", b'{"email": [NaN]}', "JSON cannot be read"),
        ("json", b'{"email": ["a@example.com"]}', "names no page"),
        ("json", b"[" * 100_000, "JSON cannot be read"),
        ("json", b'{"page_id":"p","a":' + b"[" * 700 + b"]" * 700 + b"}", "nested deeper"),
        ("json", b'{"page_id":"p","a":1e999}', "JSON cannot be read"),
        ("json", b'{"page_id":"p","date_submitted":["soon"],"time_submitted":["noon"]}', "are no moment"),
        ("json", b'{"page_id":"p","date_submitted":["2026-02-30"],"time_submitted":["1:00 PM UTC"]}', "are no moment"),
        ("xml", b"<form_data><a>", "XML cannot be read"),
        ("xml", b'<!DOCTYPE x [<!ENTITY a "b">]><form_data><a>&a;</a></form_data>', "document type"),
        ("xml", b"<a>" * 50 + b"</a>" * 50, "nested deeper"),
    ],
    ids=(
        "no data, bad JSON, a list, not UTF-8, JSON list, JSON not UTF-8, NaN, no page, too deep, deep, too large,"
        " no date, no such day,"
        " cut XML, DOCTYPE, deep XML"
    ).split(","),
)
def test_what_cannot_be_read_is_kept_and_quarantined(simulator, connect, kind, body, reason):
    source = connect(simulator)
    call = simulator.webhook(_submitted(simulator), kind)
    (raw,) = source.receive(replace(call, body=body))
    assert raw.key.startswith("unreadable:")
    json.dumps(raw.payload)
    with pytest.raises(RecordError, match=reason):
        list(source.normalize(raw))


def test_any_body_is_either_read_or_kept(simulator, connect):
    """Half of a true body, at every length: no exception but the documented ones."""
    source = connect(simulator)
    lead = _submitted(simulator)
    fates = Counter()
    for kind in ("form", "json", "xml"):
        call = simulator.webhook(lead, kind)
        for length in range(0, len(call.body), 7):
            (raw,) = source.receive(replace(call, body=call.body[:length]))
            fates[raw.key.startswith("unreadable:")] += 1
    assert fates[True] > 100


def test_if_data_json_is_missing_data_xml_is_read(simulator, connect):
    source = connect(simulator)
    call = simulator.webhook(_submitted(simulator))
    pairs = [pair for pair in call.body.split(b"&") if not pair.startswith(b"data.json=")]
    assert _events(source, replace(call, body=b"&".join(pairs))) == _events(source, call)


def _events(source, call):
    return [event for raw in source.receive(call) for event in source.normalize(raw)]
