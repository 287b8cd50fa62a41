"""Raw records to canonical events, by the table of the vendor sheet (§5)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syncline.errors import RecordError
from syncline.events import Classifier, ClassifyRules
from syncline.model import EVENT_TYPES, Identifier, RawRecord
from syncline.sdk import Context, Http
from syncline.testing.population import simulated_now
from syncline_instapage import InstapageConfig, InstapageSource
from syncline_instapage.forms import page_address
from syncline_instapage.normalize import ALL_VALUES

AT = datetime(2026, 5, 30, 10, 2, tzinfo=UTC)
ROW = {
    "id": "a1b2",
    "pageId": 21940002,
    "variationName": "Variation B",
    "variationCustomName": "Short form",
    "createdAt": int(AT.timestamp()) + 41,
    "fields": {
        "First Name": "Ada",
        "Enter Email Address": "Ada@Example.com",
        "Company": "Acquario S.p.A.",
        "neighborhood ": "Isola",
        "ga_client_id": "GA1.2.3",
    },
}
PAGE = {"title": "Book a Demo", "url": "https://go.acme.example/Demo/"}


def events(row=ROW, page=PAGE, **settings):
    config = InstapageConfig.model_validate({"token": "t", **settings})
    source = InstapageSource(config, Context("leads", Http("leads"), simulated_now, {}))
    payload = {"workspace": 1, "submission": row, **({"page": page} if page else {})}
    return list(source.normalize(RawRecord("submissions", "a1b2", payload)))


def kept(row=ROW, **settings):
    """The answers in the event."""
    fields = dict(events(row, **settings)[0].properties["fields"])
    assert fields.pop(ALL_VALUES)
    return fields


def test_a_submission_says_who_what_and_when_to_the_minute():
    (event,) = events()
    assert event.type == "form_submission"
    assert event.occurred_at == AT
    assert event.identifiers == (Identifier("email", "ada@example.com"),)
    digest = event.properties["fields"][ALL_VALUES]
    assert event.properties == {
        "form_id": "instapage:21940002",
        "page_id": "21940002",
        "fields": {ALL_VALUES: digest},
    }
    assert event.profile == {"first_name": "Ada", "company": "Acquario S.p.A."}


@pytest.mark.parametrize(
    "rule",
    [
        {"id": 21940002},
        {"id": ["21940002", 7]},
        {"title": "*demo*"},
        {"title": ["x", "BOOK A DEMO"]},
        {"url": "*/demo"},
        {"url": "*/demo/"},
        {"url": "https://go.acme.example/demo"},
        {"url": "go.acme.example/*"},
        {"id": 21940002, "title": "*demo*", "url": "*/demo"},
    ],
    ids=str,
)
def test_a_page_is_known_by_id_title_or_address(rule):
    assert events(pages=[{**rule, "form_type": "demo_request"}])[0].properties["form_type"] == "demo_request"


@pytest.mark.parametrize(
    "rule", [{"id": 7}, {"title": "demo"}, {"url": "*/pricing"}, {"id": 21940002, "title": "x"}], ids=str
)
def test_a_rule_that_does_not_fit_says_nothing(rule):
    assert "form_type" not in events(pages=[{**rule, "form_type": "demo_request"}])[0].properties


def test_the_first_rule_that_fits_counts():
    rules = [{"title": "*demo*", "form_type": "demo_request"}, {"id": 21940002, "form_type": "contact"}]
    assert events(pages=rules)[0].properties["form_type"] == "demo_request"


def test_what_no_rule_says_is_left_to_the_hosts_table():
    """`classify.form_type` takes page ids."""
    (event,) = events()
    classified = Classifier(ClassifyRules(form_type={"demo_request": ("21940002",)})).classify(event)
    assert classified.properties["form_type"] == "demo_request"


def test_a_page_nobody_knows_any_more_is_known_by_its_id():
    rules = [{"title": "*demo*", "form_type": "contact"}, {"id": 21940002, "form_type": "demo_request"}]
    assert events(page=None, pages=rules)[0].properties["form_type"] == "demo_request"


def test_a_gated_page_is_a_download_too():
    submission, download = events(
        pages=[{"id": 21940002, "form_type": "other", "content_type": "whitepaper", "content_id": "wp-1"}]
    )
    assert download.type == "content_download"
    assert download.properties == {"content_id": "wp-1", "content_type": "whitepaper"}
    assert (download.occurred_at, download.identifiers) == (submission.occurred_at, submission.identifiers)
    assert download.id != submission.id
    plain = events(pages=[{"id": 21940002, "content_type": "guide"}])[1]
    assert plain.properties["content_id"] == "instapage:21940002"


def test_a_submission_is_a_visit_too_where_that_is_wanted():
    visit, _ = events(page_visits=True, pages=[{"url": "*/demo", "page_type": "demo", "form_type": "demo_request"}])
    assert visit.type == "page_visit"
    assert visit.properties == {"url": "https://go.acme.example/demo", "page_type": "demo"}


def test_other_identifiers_come_from_hidden_fields():
    (event,) = events(identifiers={"ga:client": "ga_client_id"})
    assert event.identifiers == (Identifier("email", "ada@example.com"), Identifier("ga:client", "GA1.2.3"))
    nameless = {**ROW, "fields": {"ga_client_id": "GA1.2.3"}}
    assert events(nameless, identifiers={"ga:client": "ga_client_id"})[0].identifiers == event.identifiers[1:]


def test_answers_stand_in_the_event_only_where_they_are_asked_for():
    assert kept() == {}
    assert kept(keep_fields=["Neighborhood"]) == {"neighborhood": "Isola"}
    assert kept(keep_fields="*") == {"neighborhood": "Isola", "ga_client_id": "GA1.2.3"}


def test_a_digest_of_all_answers_tells_a_form_that_was_sent_again():
    """Whatever is kept: a correction is another form, the same a few minutes later is not."""
    again = {**ROW, "createdAt": ROW["createdAt"] + 120}
    corrected = {**ROW, "fields": {**ROW["fields"], "Company": "Borea"}}
    elsewhere = {**ROW, "pageId": 7}
    one, same, other, third = (
        events(row, keep_fields="neighborhood")[0].properties["fields"][ALL_VALUES]
        for row in (ROW, again, corrected, elsewhere)
    )
    assert one == same
    assert len({one, other, third}) == 3
    assert len(one) == 16


def test_labels_that_nothing_maps_are_told_to_whoever_asks(caplog):
    with caplog.at_level("DEBUG", "syncline_instapage"):
        events(identifiers={"ga:client": "ga_client_id"})
    assert [record.getMessage() for record in caplog.records] == ["page 21940002: nothing maps the labels neighborhood"]


def test_two_fields_with_one_label_are_told_together():
    row = {**ROW, "fields": {"Email": "ada@example.com", "Topic": "b", "Topic ": "a", "topic_": "a"}}
    assert kept(row, keep_fields="*") == {"topic": "a, b"}


@pytest.mark.parametrize(
    ("setting", "names", "told"),
    [
        ("none", ("A", ""), None),
        ("letter", ("A", "Hero"), "A"),
        ("letter", ("Variation C-mobile", ""), "C"),
        ("letter", ("Hero", ""), None),
        ("custom_name", ("A", "Hero"), "Hero"),
        ("custom_name", ("Variation A", ""), "A"),
        ("custom_name", ("A", "Hero-mobile"), "Hero"),
    ],
)
def test_a_variation_has_a_letter_and_perhaps_a_name(setting, names, told):
    row = {**ROW, "variationName": names[0], "variationCustomName": names[1]}
    assert events(row, variant=setting)[0].properties.get("variant") == told


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("newcardiscounts.example/Toyota", "https://newcardiscounts.example/toyota"),
        ("https://newcardiscounts.example/toyota/", "https://newcardiscounts.example/toyota"),
        ("HTTP://Shop.Example", "https://shop.example"),
        ("shop.example/a?utm=1#top", "https://shop.example/a"),
        ("https://user:secret@shop.example:8443/a", "https://shop.example:8443/a"),
        ("", ""),
        ("https://[broken", ""),
    ],
)
def test_an_address_has_one_spelling(written, address):
    assert page_address(written) == address


def test_the_same_values_in_another_minute_page_or_spelling():
    (event,) = events()
    ids = {
        "the same": event.id,
        "seconds later": events({**ROW, "createdAt": ROW["createdAt"] + 10})[0].id,
        "another id": events({**ROW, "id": "c3"})[0].id,
        "letter case": events({**ROW, "fields": {**ROW["fields"], "Company": "ACQUARIO S.P.A."}})[0].id,
        "another variation": events({**ROW, "variationName": "A"})[0].id,
    }
    assert len(set(ids.values())) == 1
    others = {
        events({**ROW, "createdAt": ROW["createdAt"] + 60})[0].id,
        events({**ROW, "pageId": 7})[0].id,
        events({**ROW, "fields": {**ROW["fields"], "Company": "Borea"}})[0].id,
    }
    assert len(others | {event.id}) == 4


def test_a_changed_mapping_of_labels_keeps_the_ids():
    """They come of the values alone, so a corrected mapping reaches stored submissions by a replay."""
    plain, mapped = (
        events()[0],
        events(labels={"company": "nothing"}, pages=[{"id": 21940002, "form_type": "contact"}])[0],
    )
    assert plain.id == mapped.id


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROW, "createdAt": None}, "createdAt"),
        ({**ROW, "createdAt": 1e20}, "not a time in seconds"),
        ({k: v for k, v in ROW.items() if k != "pageId"}, "pageId: Field required"),
        ({**ROW, "fields": "Ada"}, "fields: Input should be a valid dictionary"),
        ({**ROW, "fields": {"First Name": "Ada"}}, "page 21940002: no field holds an e-mail address"),
        ({**ROW, "fields": {}}, "its fields: none that is filled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_refused_with_its_reason(row, reason):
    with pytest.raises(RecordError, match=reason) as caught:
        events(row)
    assert "Ada" not in str(caught.value)


def test_events_use_only_the_vocabulary():
    everything = events(
        page_visits=True,
        variant="letter",
        keep_fields="*",
        pages=[{"id": 21940002, "form_type": "other", "content_type": "guide", "page_type": "demo"}],
    )
    assert [event.type for event in everything] == ["page_visit", "form_submission", "content_download"]
    for event in everything:
        assert set(event.properties) <= set(EVENT_TYPES[event.type]), event.type
