"""A submission is one event, whether the webhook or the poll tells of it, whatever came first.

The webhook's bodies are those of the vendor sheet (§2, recorded 2017 to 2020), the rows those of its §1.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.events import Classifier
from syncline.model import RawRecord
from syncline.people import IdentityRules
from syncline.sdk import Context, Http
from syncline.store import events as log
from syncline.store.database import Database
from syncline.sync.pull import accept
from syncline.sync.pull import pull as pull_into
from syncline.testing.population import simulated_now
from syncline_instapage import InstapageConfig, InstapageSource
from syncline_instapage.simulator import Sender, Switches
from syncline_instapage.simulator.world import DEMO, NEWSLETTER, TRIAL

HABITS = {
    "JSON": {},
    "a form": {"style": "form"},
    "a form as PHP shows it": {"style": "php"},
    "page id as text": {"page_id_as": "text"},
    "pageshown and variationshown swapped": {"swapped": True},
    "nothing optional": {
        "without": (
            "pageshown variationshown desktopmobile ipaddress referralsource adcampaign variant ip page_name".split()
        )
    },
    "letters only": {"custom_names": False},
    "field ids": {"field_ids": True, "page_id_as": "text"},
}
SWITCHES = {
    "as we guess": Switches(),
    "metadata among the fields": Switches(metadata_in_fields=True),
}


def by_id(events):
    return {event.id: event for event in events}


def told(source, simulator, **habits):
    """What the webhooks of every submission say."""
    found = {}
    for submission in simulator.submissions:
        (raw,) = source.receive(simulator.webhook(submission, **habits))
        found.update(by_id(source.normalize(raw)))
    return found


def polled(source, pull):
    return by_id(event for raw in pull(source)[0] for event in source.normalize(raw))


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
@pytest.mark.parametrize("habits", [h for n, h in HABITS.items() if n not in ("field ids", "nothing optional")])
def test_webhook_and_poll_give_the_same_events(simulate, connect, pull, habits, switches):
    """With every property on that both ways can tell: type by address and title, download, visit, kept answers."""
    simulator = simulate(switches=switches)
    source = connect(simulator, page_visits=True)
    assert told(source, simulator, **habits) == polled(source, pull)


def test_a_webhook_without_the_optional_keys_gives_the_same_events(simulate, connect, pull):
    """Without the page's name, a rule by title cannot hold: rules by id or address do."""
    simulator = simulate()
    rules = [{"id": [NEWSLETTER], "form_type": "newsletter_signup"}, {"url": "*/demo", "form_type": "demo_request"}]
    source = connect(simulator, pages=rules)
    assert told(source, simulator, **HABITS["nothing optional"]) == polled(source, pull)


def test_a_webhook_without_a_time_is_dated_by_its_arrival(simulate, connect, pull):
    """Which is a second later here: those of a minute's last second would be dated into the next."""
    simulator = simulate()
    for submission in [s["id"] for s in simulator.submissions.values() if s["at"] % 60 == 59]:
        simulator.vanish(submission)
    source = connect(simulator)
    assert told(source, simulator, without=("timestamp",)) == polled(source, pull)


def test_field_ids_in_one_way_only_do_not_make_two_events(simulate, connect, pull):
    """One write-up has `field_1` in place of labels (unverified): the id holds, since it comes of the values alone."""
    simulator = simulate(switches=Switches(field_ids=True))
    source = connect(simulator)
    webhooks, polls = told(source, simulator), polled(source, pull)
    assert set(webhooks) == set(polls)
    for id_, event in polls.items():
        assert event.identifiers == webhooks[id_].identifiers  # the address is found by its looks


def test_field_ids_that_are_mapped_give_the_same_events(simulate, connect, pull):
    simulator = simulate(switches=Switches(field_ids=True))
    own = {"first_name": "field_1", "last_name": "field_2", "company": "field_4"}
    trial = {"name": "field_1", "company": "field_3"}
    plain = {"first_name": "field_2", "last_name": "field_3", "company": "field_4", "title": "field_5"}
    rules = [
        {"id": [DEMO], "labels": own},
        {"url": "*/trial", "labels": trial},
        {"url": ["*/contact", "*/enquiry"], "labels": {"name": "field_1"}},
        {"title": "Spring*", "labels": {"name": "field_2"}},
        {"title": "Whitepaper*", "labels": plain},
    ]
    source = connect(simulator, pages=rules, keep_fields=[])
    assert told(source, simulator) == polled(source, pull)


@pytest.mark.parametrize("which", ["letter", "custom_name"])
def test_variants_are_told_alike_once_it_is_said_which_name_webhooks_send(simulate, connect, pull, which):
    simulator = simulate()
    source = connect(simulator, variant=which)
    webhooks = told(source, simulator, custom_names=which == "custom_name")
    assert webhooks == polled(source, pull)
    variants = {event.properties.get("variant") for event in webhooks.values()}
    assert variants >= ({"A", "B", "C"} if which == "letter" else {"A", "C", "Short form"})


def test_by_default_no_variant_is_told(simulate, connect, pull):
    simulator = simulate()
    assert not [e for e in polled(connect(simulator), pull).values() if "variant" in e.properties]


def test_a_double_click_is_one_submission(simulate, connect, pull):
    """Two rows with two ids within a minute, the same values: one event (vendor sheet, §6)."""
    simulator = simulate(people=400)
    records, _ = pull(source := connect(simulator))
    submissions = {e.id for raw in records for e in source.normalize(raw) if e.type == "form_submission"}
    assert len({raw.key for raw in records}) == len(records) > len(submissions)


def test_a_correction_in_the_same_minute_is_another_submission(simulator, connect, pull):
    at = simulated_now() - timedelta(hours=1)
    for company in ("Borea GmbH", "Borea Ltd"):
        simulator.submit(DEMO, {"Enter Email Address": "ada@example.com", "Company": company}, at)
    source = connect(simulator)
    found = [e for e in polled(source, pull).values() if _first(e) == ("email", "ada@example.com")]
    assert len(found) == 2


def test_renaming_a_label_makes_no_new_event(simulator, connect, pull):
    """Label edits rename keys (vendor sheet, §6): what was read under the old label is not read as something new."""
    source = connect(simulator)
    before = set(polled(source, pull))
    simulator.rename(DEMO, "Enter Email Address", "Your e-mail, please")
    simulator.rename(NEWSLETTER, "Email", "Mail")
    assert set(polled(source, pull)) == before


def test_a_webhook_stamped_in_the_next_minute_is_another_event_of_the_same_answers(simulator, connect, pull):
    """The known limit: nothing but the minute ties the two together. The host counts such a pair once (see below)."""
    source = connect(simulator)
    late, read = told(source, simulator, minutes_late=1), polled(source, pull)
    assert not set(late) & set(read)
    fields = [[e.properties["fields"] for e in way.values() if e.type == "form_submission"] for way in (late, read)]
    assert sorted(map(str, fields[0])) == sorted(map(str, fields[1]))


def test_a_page_that_is_no_longer_published_is_still_the_same_submission(simulator, connect, pull):
    """Its address is gone from the API, so rules by address do not hold for the poll; the id does."""
    source = connect(simulator)
    webhooks = told(source, simulator)
    simulator.delete_page(DEMO)
    assert set(polled(source, pull)) == set(webhooks)


def _first(event):
    return event.identifiers[0].namespace, event.identifiers[0].value


# Any form there may be

PRINTABLE = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
FORMS = st.dictionaries(PRINTABLE, st.text(max_size=30).map(lambda text: text.replace("\0", "")), max_size=6)
SOURCE = InstapageSource(
    InstapageConfig.model_validate({"token": "t", "keep_fields": "*", "webhook_secret": "s" * 16}),
    Context("leads", Http("leads"), simulated_now, {}),
)
PAGE = {
    "id": TRIAL,
    "title": "Start your free trial",
    "url": "https://go.acme.example/trial",
    "shown": "Go.acme.example",
}


# The same examples every time, however busy the machine is.
@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(form=FORMS, second=st.integers(0, 59), style=st.sampled_from(["json", "form"]))
def test_whatever_is_typed_gives_the_same_events_both_ways(form, second, style):
    answers = {**form, "Email": "Ada@Example.com"}
    answers = {k: v for k, v in answers.items() if k not in ("page_id", "page_name", "page_url", "variant")}
    at = int(datetime(2026, 5, 1, 10, 7, second, tzinfo=UTC).timestamp())
    row = {"at": at, "answers": answers, "letter": "A", "custom": "", "device": "Mobile", "ip": "203.0.113.9"}
    sender = Sender("https://hooks.example/x?key=" + "s" * 16, style=style)
    (webhook,) = SOURCE.receive(sender.request(row, PAGE, simulated_now()))
    submission = {"id": "a1", "pageId": TRIAL, "variationName": "A", "createdAt": at, "fields": answers}
    payload = {"workspace": 1, "submission": submission, "page": {"title": PAGE["title"], "url": PAGE["url"]}}
    assert SOURCE.normalize(RawRecord("submissions", "a1", payload)) == SOURCE.normalize(webhook)


# In the host's log


@pytest.mark.parametrize("first", ["the webhooks", "the poll", "the webhooks twice", "half of the webhooks"])
def test_the_log_is_the_same_whatever_came_first(simulate, connect, tmp_path, first):
    simulator = simulate()
    requests = [simulator.webhook(submission, style="form") for submission in simulator.submissions]
    source = connect(simulator)
    whole = _log(tmp_path / "a.db", source, [])
    if first == "the poll":
        both = _log(tmp_path / "b.db", source, requests, webhooks_last=True)
    else:
        sent = {"the webhooks twice": requests * 2, "half of the webhooks": requests[::2]}.get(first, requests)
        both = _log(tmp_path / "b.db", source, sent[::-1])
    assert both == whole
    assert len(whole) > 60


def test_a_webhook_stamped_in_the_next_minute_is_counted_once(simulator, connect, tmp_path):
    """By the host's rule for the same form sent again within five minutes."""
    source = connect(simulator, pages=[])
    late = [simulator.webhook(submission, minutes_late=1) for submission in simulator.submissions]
    both = _log(tmp_path / "b.db", source, late)
    assert both == _log(tmp_path / "a.db", source, [])
    assert len(both) > 60


def _log(path, source, requests, *, webhooks_last=False):
    """The events the host has stored in the end."""
    database = Database(f"sqlite:///{path}")
    options = {"classifier": Classifier(), "identity_rules": IdentityRules(), "clock": simulated_now}
    try:
        ids = _ids(source)
        for way in ("poll", "webhooks") if webhooks_last else ("webhooks", "poll"):
            if way == "webhooks":
                records = [raw for request in requests for raw in source.receive(request)]
                accept(database, "leads", records, run_id="w", clock=simulated_now)
            else:
                pull_into(database, "leads", source, streams=["submissions"], run_id="p", **options)
        pull_into(database, "leads", source, streams=[], run_id="q", **options)
        with database.read() as connection:
            found = log.fetch(connection, ids)
        return {id_: (e.row.type, e.row.t_us, e.row.properties, e.row.source) for id_, e in found.items() if e.kept}
    finally:
        database.close()


def _ids(source):
    pages = source.read("submissions", None)
    return {bytes.fromhex(e.id) for page in pages for raw in page.records for e in source.normalize(raw)}
