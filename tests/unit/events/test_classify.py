"""Which page, form or content it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.events import Classifier, ClassifyRules, derived_ids
from syncline.model import Event, Identifier, event_id

AT = datetime(2026, 6, 1, tzinfo=UTC)
RULES = ClassifyRules(
    page_type={"pricing": ("*/prezzi*", "*/pricing*"), "demo": ("*/demo*",), "other": ("*",)},
    form_type={"demo_request": ("F-42", "*/richiedi-demo")},
    content_type={"whitepaper": ("*.pdf", "wp-*")},
    video=("*youtu.be/*",),
    clicks_count_as=frozenset({"page_visit", "content_download", "video_view"}),
)


def happened(type_: str, **properties: Any) -> Event:
    return Event(event_id(type_), type_, AT, (Identifier("email", "a@x.example"),), properties, {}, "news/activity")


@pytest.mark.parametrize(
    ("event", "name", "found"),
    [
        pytest.param(happened("page_visit", url="https://x.example/it/PREZZI?a=1"), "page_type", "pricing", id="case"),
        pytest.param(happened("page_visit", url="https://x.example/demo/pricing"), "page_type", "pricing", id="first"),
        pytest.param(happened("page_visit", url="https://x.example/"), "page_type", "other", id="catch-all"),
        pytest.param(happened("form_submission", form_id="f-42"), "form_type", "demo_request", id="vendor id"),
        pytest.param(happened("form_submission", page_id="/richiedi-demo"), "form_type", "demo_request", id="page"),
        pytest.param(happened("content_download", content_id="wp-7"), "content_type", "whitepaper", id="content id"),
        pytest.param(happened("content_download", url="/a.PDF"), "content_type", "whitepaper", id="content url"),
    ],
)
def test_the_table_fills_in_what_the_vendor_does_not_say(event: Event, name: str, found: str) -> None:
    assert Classifier(RULES).classify(event).properties[name] == found


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(happened("page_visit", url="/demo", page_type="blog"), id="said by the vendor"),
        pytest.param(happened("page_visit"), id="no address"),
        pytest.param(happened("form_submission", form_id="F-421"), id="no match"),
        pytest.param(happened("email_open", url="/demo"), id="another type"),
    ],
)
def test_everything_else_stays_as_it_is(event: Event) -> None:
    assert Classifier(RULES).classify(event) is event


def test_click_counts_as_what_its_address_is() -> None:
    click = happened("email_click", url="https://x.example/demo.pdf")
    visit, download = Classifier(RULES).derived(click)
    assert (visit.type, visit.properties) == ("page_visit", {"url": click.properties["url"], "page_type": "demo"})
    assert (download.type, download.properties["content_type"]) == ("content_download", "whitepaper")
    assert {visit.id, download.id} <= set(derived_ids(click.id).values())
    assert (visit.occurred_at, visit.identifiers, visit.source) == (AT, click.identifiers, "news/activity")


def test_video_click_names_only_the_address() -> None:
    rules = ClassifyRules(video=RULES.video, clicks_count_as=frozenset({"video_view"}))
    (view,) = Classifier(rules).derived(happened("email_click", url="https://youtu.be/1"))
    assert view.properties == {"url": "https://youtu.be/1"}


@pytest.mark.parametrize(
    ("rules", "event"),
    [
        pytest.param(ClassifyRules(page_type=RULES.page_type), happened("email_click", url="/demo"), id="not asked"),
        pytest.param(RULES, happened("email_open", url="/demo"), id="an open"),
        pytest.param(RULES, happened("email_click"), id="no address"),
    ],
)
def test_nothing_is_derived_otherwise(rules: ClassifyRules, event: Event) -> None:
    assert Classifier(rules).derived(event) == ()


def test_square_brackets_and_question_marks_are_globs() -> None:
    rules = ClassifyRules(page_type={"pricing": ("*/p[12]?",)})
    assert Classifier(rules).classify(happened("page_visit", url="/p2x")).properties["page_type"] == "pricing"
