"""What a recording of a real account may keep."""

from __future__ import annotations

import json

from syncline.testing.redact import Redactor

ANSWER = {
    "id": "5725767000000524157",
    "uuid": "f79a5d7e-6f51-4d3b-a7fb-15a1b4c5d6e7",
    "status": "subscribed",
    "list_id": "3f2a9c41d7",
    "created_at": "2026-06-01T08:00:00+00:00",
    "score": 83.5,
    "vip": False,
    "empty": "",
    "nothing": None,
    "email_address": "Ada@Acme.example",
    "full_name": "Ada Lovelace",
    "ip_signup": "203.0.113.7",
    "birthday": "1815-12-10",
    "postal_code": 20121,
    "merge_fields": {"FNAME": "Ada", "MMERGE7": "likes engines"},
    "tags": [{"name": "Hot"}, {"name": "Hot"}],
    "href_type": "text",
    "_links": [{"rel": "self", "href": "https://api.vendor.example/members/1?key=hush"}],
}
KEPT = ("id", "uuid", "status", "list_id", "created_at", "score", "vip", "empty", "nothing")


def test_shape_stays_and_people_go() -> None:
    redacted = json.loads(Redactor().body(json.dumps(ANSWER).encode(), "application/json"))
    assert redacted.keys() == ANSWER.keys()
    assert {key: redacted[key] for key in KEPT} == {key: ANSWER[key] for key in KEPT}
    text = json.dumps(redacted).lower()
    personal = ("ada", "lovelace", "acme", "203.0.113.7", "1815", "20121", "engines", "hot", "hush")
    assert [word for word in personal if word in text] == []


def test_the_same_text_has_the_same_pseudonym_within_one_recording_only() -> None:
    redactor = Redactor()
    first, second = redactor.value({"tags": ["Hot", "Hot"]})["tags"]
    assert first == second != Redactor().value({"tags": ["Hot"]})["tags"][0]


def test_addresses_of_calls_lose_people() -> None:
    told = Redactor().text("https://api.vendor.example/members/ada%40acme.example and from 203.0.113.7")
    assert "acme" not in told
    assert "203.0.113.7" not in told
    assert told.startswith("https://api.vendor.example/members/redacted-")


def test_what_is_no_json_keeps_its_kind_and_size() -> None:
    redactor = Redactor()
    assert redactor.body(b"<p>Ada</p>", "text/html; charset=x") == b"(10 bytes of text/html, left out)"
    assert redactor.body(b"Id,Name\n1,Ada\n2,Bob\n", "text/csv") == b"Id,Name\n# 2 rows left out\n"
    assert redactor.body(b"", "text/csv") == b""


def test_what_people_type_into_forms_goes_whatever_it_is_called() -> None:
    """A list of names and values says nothing by its keys; digits may be a telephone, a long word a name."""
    typed = ("393331234567", "+393331234", "0612345678", "Massimilianorossi", "alessandrorossi", "Telecomunicazioni")
    redacted = Redactor().value([{"name": "x", "value": text} for text in typed])
    assert [pair["value"] for pair in redacted if not pair["value"].startswith("redacted-")] == []


def test_ids_and_times_stay_whatever_they_are_called() -> None:
    ids = ("5725767000000524157", "00Q5g00000ABCDEFGH", "a015g000003XYZa", "1780300800", "1780300800000", "3f2a9c41d7")
    assert Redactor().value(list(ids), "ref") == list(ids)


def test_people_that_are_keys_go_too() -> None:
    [key] = Redactor().value({"ada@acme.example": {"id": "1"}})
    assert key.endswith("@redacted.example")
    assert "ada" not in key
