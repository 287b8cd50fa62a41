"""The payloads of Italian tracking scripts are accepted as they are (the practice guide's own examples)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncline.model import Identifier

VERBATIM = (
    '{"event": "page_visit", "user_id": "UT123", "page": "demo_pagina", "timestamp": "2024-05-27T10:15:30Z", '
    '"session_id": "S789", "dati_aggiuntivi": {"dispositivo": "desktop", "geo": "RO"}}'
)
AT = {"timestamp": "2024-05-27T10:15:30Z"}


def _event(connect: Any, payload: dict[str, Any], **settings: Any) -> Any:
    Path("e.jsonl").write_text(json.dumps(payload) + "\n")
    (event,) = connect("e.jsonl", dialect="italian", **settings).events()
    return event


def test_the_page_visit_of_the_guide(connect: Any) -> None:
    event = _event(connect, json.loads(VERBATIM))
    assert event.type == "page_visit"
    assert event.occurred_at == datetime(2024, 5, 27, 10, 15, 30, tzinfo=UTC)
    assert event.identifiers == (Identifier("web:user", "UT123"),)
    assert event.properties == {"page_type": "demo", "session_id": "S789", "device": "desktop", "geo": "RO"}


@pytest.mark.parametrize(
    ("payload", "type_", "properties"),
    [
        ({"event": "email_open", "id": "UT1", "tipo": "newsletter"}, "email_open", {"campaign": "newsletter"}),
        ({"id": "UT1", "tipo": "email_open"}, "email_open", {}),
        (
            {"id": "UT1", "url": "https://x.example/prezzi", "tempo_trascorso": 75, "evento": "page_visit"},
            "page_visit",
            {"url": "https://x.example/prezzi", "duration_s": 75},
        ),
        (
            {"event": "page_visit", "id": "UT1", "url": "/demo", "tempo_trascorso": "75", "evento": "scroll"},
            "page_visit",
            {"url": "/demo", "duration_s": 75},
        ),
        (
            {"event": "form_submission", "id": "UT1", "campo": "richiesta_demo"},
            "form_submission",
            {"form_type": "demo_request"},
        ),
        (
            {"event": "video_view", "id": "UT1", "video": "tour", "durata": 120},
            "video_view",
            {"video_id": "tour", "duration_s": 120},
        ),
    ],
    ids=["email_open", "email_open by tipo", "page_visit by evento", "page_visit", "form_submission", "video_view"],
)
def test_the_short_payloads_of_the_guide(connect: Any, payload: Any, type_: str, properties: Any) -> None:
    event = _event(connect, {**payload, **AT})
    assert (event.type, event.properties) == (type_, properties)
    assert event.identifiers == (Identifier("web:user", "UT1"),)


def test_missing_time_on_the_page_stays_missing(connect: Any) -> None:
    assert (
        "duration_s"
        not in _event(connect, {"event": "page_visit", "id": "1", "tempo_trascorso": None, **AT}).properties
    )


def test_a_payload_without_a_time_is_quarantined(connect: Any) -> None:
    """Nobody knows when it happened, and the present would be a guess."""
    Path("e.jsonl").write_text('{"event": "email_open", "id": "UT1", "tipo": "x"}\n')
    _, reasons = connect("e.jsonl", dialect="italian").sorted_out()
    assert reasons == [
        "e.jsonl line 1: nothing says when it happened: column timestamp or occurred_at or data_ora or data is empty"
    ]


def test_a_naive_time_is_a_time_in_italy(connect: Any) -> None:
    event = _event(connect, {"event": "page_visit", "id": "1", "data_ora": "2024-05-27 12:15:30"})
    assert event.occurred_at == datetime(2024, 5, 27, 10, 15, 30, tzinfo=UTC)


def test_an_admin_adds_words_beside_the_dialect(connect: Any) -> None:
    own = {
        "properties": {"page_type": {"column": "page", "values": {"listino": "pricing"}}},
        "identifiers": {"crm:id": "k"},
    }
    payload = {"event": "page_visit", "user_id": "U", "k": "7", "page": "listino", "tempo_trascorso": 9, **AT}
    event = _event(connect, payload, columns=own)
    assert event.properties == {"page_type": "pricing", "duration_s": 9}
    assert Identifier("crm:id", "7") in event.identifiers
    assert Identifier("web:user", "U") in event.identifiers


def test_english_and_italian_rows_may_stand_in_one_file(connect: Any) -> None:
    english = {"event": "page_visit", "email": "a@x.example", "page_type": "pricing", "duration_s": 61, **AT}
    Path("e.jsonl").write_text(VERBATIM + "\n" + json.dumps(english) + "\n")
    events = connect("e.jsonl", dialect="italian").events()
    assert [e.properties["page_type"] for e in events] == ["demo", "pricing"]
