"""What is said aloud names nobody."""

from __future__ import annotations

import pytest

from syncline.sdk.privacy import masked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no ada.rossi+x@mail.acme.example there", "no (address) there"),
        ("GET /people/ada%40acme.example/tags", "GET /people/(address)/tags"),
        ("<Ada@Acme.Example>, eve@acme.example", "<(address)>, (address)"),
        ("https://x.example/a?key=hunter2&b=1 failed", "https://x.example/a?… failed"),
        ("did you mean 'leads'? Known: a=1", "did you mean 'leads'? Known: a=1"),
        ("crm: GET /services/data -> 200", "crm: GET /services/data -> 200"),
        ("host:12:34-ab@", "host:12:34-ab@"),
    ],
)
def test_addresses_and_queries_are_masked_and_nothing_else(text: str, said: str) -> None:
    assert masked(text) == said


def test_a_long_word_takes_no_time_worth_mentioning() -> None:
    """Quadratic or worse would not end here."""
    assert masked("a" * 200_000) == "a" * 200_000
    assert masked("a@" * 50_000) == "a@" * 50_000
