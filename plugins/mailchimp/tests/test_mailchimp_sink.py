"""Members as they are written: merge fields and tags of those who are there, and never who is subscribed."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from decimal import Decimal

import pytest
import requests
from werkzeug.wrappers import Response

from syncline.errors import (
    ConfigError,
    ContractError,
    CursorExpiredError,
    RateLimitError,
    SchemaDriftError,
    TransientError,
)
from syncline.model import FieldSpec, Member, RemoteRef, Status, Write
from syncline.sdk.http import purpose
from syncline.testing.population import simulated_now
from syncline.testing.simulator import Fault
from syncline_mailchimp.payloads import MemberFields
from syncline_mailchimp.simulator import Switches
from syncline_mailchimp.simulator.world import LIST_ID

NOW = simulated_now()
NEEDED = [
    FieldSpec("member", "SYNCKEY", "text", "Syncline key", unique=True),
    FieldSpec("member", "SCORE", "number", "Score"),
    FieldSpec("member", "SINCE", "date", "Since"),
    FieldSpec("member", "HOT", "boolean", "Hot"),
]
STATUSES = ["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived"]


@pytest.fixture
def simulator(simulate):
    return simulate()


@pytest.fixture
def sink(simulator, connect):
    made = connect(simulator)
    made.prepare(NEEDED, ["Hot leads"])
    return made


def _people(simulator, count=3):
    return [one for one in simulator.world.subscribers.values() if one.status == "subscribed"][:count]


def _ref(one):
    return RemoteRef("member", one.contact_id)


def _write(one, **fields):
    return Write(one.email, ("Id", one.contact_id), fields)


def _held(simulator, one):
    return simulator._merge_values(simulator.world.subscribers[one.hash])


def _changes(sink, fields=("EMAIL", "COMPANY"), cursor=None, object="member"):
    records = {}
    for page in sink.changes(object, list(fields), cursor):
        records |= {record.ref.id: record for record in page.records}
        cursor = page.cursor or cursor
    return records, cursor


# Nobody is ever subscribed


def _everything(sink, simulator):
    """All that this sink can do, to people of every status, and to people who are nobody."""
    people = list(simulator.world.subscribers.values())
    writes = [_write(one, SCORE=1) for one in people]
    for value in (True, False, None):
        sink.upsert("member", [_write(people[0], unsubscribed=value)])
        sink.upsert("member", [_write(one, unsubscribed=value, SCORE=3) for one in people[:60]])
    stranger = Write("stranger", ("EMAIL", "stranger@borea.example"), {"SCORE": 1})
    for write in (*writes[:20], stranger, Write("nobody", ("Id", "nobody"), {"SCORE": 1})):
        sink.upsert("member", [write])
    nobody = Write("nobody", ("Id", "nobody"), {"SCORE": 2})
    sink.upsert("member", [*(_write(one, SCORE=2, COMPANY=None) for one in people), nobody])
    left = Write("stranger", ("EMAIL", "stranger@borea.example"), {"unsubscribed": True})
    sink.upsert("member", [left])
    strangers = (Write(str(n), ("EMAIL", f"stranger{n}@borea.example"), {"SCORE": 2}) for n in range(3))
    sink.upsert("member", [*strangers, *(Write(o.email, ("EMAIL", o.email), {"SCORE": 2}) for o in people)])
    members = [Member(one.email, _ref(one)) for one in people] + [Member("nobody", RemoteRef("member", "nobody"))]
    sink.set_members("Hot leads", members, [])
    sink.set_members("Hot leads", members[:30], members[30:])
    _changes(sink, cursor=_changes(sink)[1])
    sink.prepare([FieldSpec("member", "BAND", "text", "Band")], ["Cold leads"])


def _statuses(body):
    """Whatever a body says under a name like `status`, at any depth."""
    if isinstance(body, dict):
        for name, value in body.items():
            if "status" in name:
                yield value
            yield from _statuses(value)
    elif isinstance(body, list):
        for part in body:
            yield from _statuses(part)


def test_no_payload_can_carry_any_status_but_unsubscribed(simulate, connect):
    """Every request the simulator got, those within batches included; it would have done what was asked."""
    simulator = simulate()
    for number, one in enumerate(list(simulator.world.subscribers.values())):
        simulator.change_member(one.email, NOW - timedelta(days=1), status=STATUSES[number % len(STATUSES)])
    sink = connect(simulator)
    sink.prepare(NEEDED, ["Hot leads"])
    before = {one.contact_id: one.status for one in simulator.world.subscribers.values()}
    _everything(sink, simulator)
    after = {one.contact_id: one.status for one in simulator.world.subscribers.values()}
    assert after.keys() == before.keys(), "nobody was added"
    changed = {id: status for id, status in after.items() if status != before[id]}
    assert len(changed) > 20, "those who were to leave have left"
    assert set(changed.values()) == {"unsubscribed"}
    assert set(before.values()) == set(STATUSES)
    about_members = [r for r in simulator.received if "/members" in r.path or r.path.endswith(f"/lists/{LIST_ID}")]
    assert {r.method for r in about_members} == {"GET", "PATCH"}
    said = [json.loads(r.body) for r in about_members if r.method == "PATCH"]
    assert {tuple(body) for body in said} == {("merge_fields",), ("status",), ("merge_fields", "status")}
    assert not [body for body in said if "email" in json.dumps(body.get("merge_fields", {}))]
    spoken = [r.body for r in simulator.received if r.method != "GET" and r.path != "/3.0/batches"]
    assert len(spoken) > 100
    assert {status for body in spoken for status in _statuses(json.loads(body or "null"))} == {"unsubscribed"}
    assert not [body for body in spoken if "subscribe" in re.sub(r'"status": ?"unsubscribed"', "", body)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/members/{hash}", {"status": "subscribed"}),
        ("PUT", "/members/{hash}", {"email_address": "{email}", "status": "subscribed", "status_if_new": "subscribed"}),
        ("POST", "", {"members": [{"email_address": "{email}", "status": "subscribed"}], "update_existing": True}),
    ],
    ids=["PATCH", "PUT", "batch subscribe"],
)
def test_the_simulator_would_subscribe_whoever_is_asked_for(simulator, method, path, body):
    """So that the test above can fail."""
    one = next(one for one in simulator.world.subscribers.values() if one.status == "unsubscribed")
    url = f"{simulator.url}/3.0/lists/{LIST_ID}{path.format(hash=one.hash)}"
    sent = json.loads(json.dumps(body).replace("{email}", one.email))
    requests.request(method, url, json=sent, auth=("x", simulator.api_key), timeout=10).raise_for_status()
    assert simulator.world.subscribers[one.hash].status == "subscribed"


def test_the_simulator_would_add_whoever_is_asked_for(simulator):
    """Batch subscribe needs not even a status; which is why it is not used."""
    body = {"members": [{"email_address": "stranger@borea.example"}], "update_existing": True}
    url = f"{simulator.url}/3.0/lists/{LIST_ID}"
    answer = requests.post(url, json=body, auth=("x", simulator.api_key), timeout=10).json()
    assert (answer["total_created"], answer["new_members"][0]["status"]) == (1, "subscribed")


@pytest.mark.parametrize("status", ["subscribed", "pending", "cleaned", "transactional", "archived", "", True])
def test_what_is_sent_about_a_member_cannot_name_another_status(status):
    with pytest.raises(ValueError, match="Input should be 'unsubscribed'"):
        MemberFields.model_validate({"merge_fields": {}, "status": status})


@pytest.mark.parametrize("name", ["status_if_new", "email_address", "marketing_permissions", "interests"])
def test_what_is_sent_about_a_member_cannot_say_more(name):
    with pytest.raises(ValueError, match="Extra inputs"):
        MemberFields.model_validate({"merge_fields": {}, name: "subscribed"})


# Leaving


@pytest.mark.parametrize("count", [1, 60], ids=["a call", "a batch"])
def test_who_wants_no_more_is_unsubscribed_and_reads_back_so(simulator, sink, count):
    people = _people(simulator, count)
    outcomes = sink.upsert("member", [_write(one, unsubscribed=True, SCORE=7) for one in people])
    assert {o.status for o in outcomes} == {Status.UPDATED}
    assert {simulator.world.subscribers[one.hash].status for one in people} == {"unsubscribed"}
    assert {_held(simulator, one)["SCORE"] for one in people} == {7}
    records, _ = _changes(sink, fields=("unsubscribed", "status"))
    assert {records[one.contact_id].fields["unsubscribed"] for one in people} == {True}


@pytest.mark.parametrize("value", [False, None])
def test_nobody_is_said_to_want_it_again(simulator, sink, value):
    """Refused alone and before any call, whatever her status: her neighbours are written."""
    one, two = _people(simulator, 2)
    simulator.unsubscribe(one.email, None, NOW)
    simulator.received.clear()
    refused, written = sink.upsert("member", [_write(one, unsubscribed=value, SCORE=7), _write(two, SCORE=8)])
    assert (refused.status, refused.code, written.status) == (Status.REJECTED, "OPTED_OUT", Status.UPDATED)
    assert refused.reason == (
        f"unsubscribed: it can only be set, not taken back (got {value}): nobody but the person subscribes again"
    )
    assert one.contact_id not in "".join(r.path + r.body for r in simulator.received)


@pytest.mark.parametrize(
    ("status", "left"),
    [("subscribed", False), ("pending", False), ("transactional", False), ("unsubscribed", True), ("cleaned", True)],
)
def test_who_left_and_whose_address_bounced_reads_as_unsubscribed(simulator, sink, status, left):
    one = _people(simulator, 1)[0]
    simulator.change_member(one.email, NOW, status=status)
    records, _ = _changes(sink, fields=("unsubscribed",))
    assert records[one.contact_id].fields == {"unsubscribed": left}


def test_a_member_that_stays_subscribed_all_the_same_is_no_success(simulator, sink, monkeypatch):
    """Whatever keeps Mailchimp from it: who asked to be left alone must not be counted as done."""
    one = _people(simulator, 1)[0]
    monkeypatch.setattr(simulator, "change_member", lambda *arguments, **changes: None)
    [outcome] = sink.upsert("member", [_write(one, unsubscribed=True)])
    assert outcome.status is Status.REJECTED
    assert "still has this person as subscribed" in outcome.reason


# Describing


def test_describe_tells_merge_fields_and_what_is_only_read(sink):
    fields = {field.name: field for field in sink.describe("member")}
    assert (fields["EMAIL"].unique, fields["EMAIL"].writable) == (True, False)
    assert (fields["SYNCKEY"].unique, fields["SYNCKEY"].writable) == (True, True)
    assert (fields["SCORE"].kind, fields["SINCE"].kind, fields["HOT"].kind) == ("number", "date", "text")
    assert not fields["ADDRESS"].writable
    assert {name for name, field in fields.items() if not field.writable} >= {"status", "EMAIL", "vip"}


def test_an_object_is_the_audience_it_means(simulator, connect):
    one, two = connect(simulator), connect(simulator, audience=[LIST_ID, "0000000000"])
    assert one.describe("member") == one.describe(f"member:{LIST_ID}") == two.describe(f"member:{LIST_ID}")
    with pytest.raises(ConfigError, match=f"write one of: member:{LIST_ID}, member:0000000000"):
        two.describe("member")
    with pytest.raises(ConfigError, match="there is no object 'Lead'; Known: member"):
        one.describe("Lead")
    with pytest.raises(ConfigError, match="no audience '0000000000'"):
        two.describe("member:0000000000")


# Writing


@pytest.mark.parametrize("bulk", [False, True], ids=["by itself", "in a batch"])
def test_values_come_back_as_they_were_written(simulator, sink, bulk):
    one, other = _people(simulator, 2)
    values = {
        "SCORE": Decimal("12.5"),
        "SINCE": date(2026, 5, 1),
        "COMPANY": "Borea \u2013 d'\u00c9sperie",
        "HOT": "True",
    }
    writes = [_write(one, **values), _write(other, SCORE=3)]
    assert all(outcome.ok for outcome in sink.upsert("member", writes if bulk else writes[:1]))
    found, _ = _changes(sink, values)
    assert dict(found[one.contact_id].fields) == values
    sink.upsert("member", [_write(one, **dict.fromkeys(values))])
    assert dict(_changes(sink, values)[0][one.contact_id].fields) == dict.fromkeys(values)


def test_a_fraction_is_exact(simulator, sink):
    [one] = _people(simulator, 1)
    sink.upsert("member", [_write(one, SCORE=Decimal("0.1"))])
    assert _changes(sink, ["SCORE"])[0][one.contact_id].fields["SCORE"] == Decimal("0.1")


def test_one_write_is_one_call_and_many_are_one_too(simulator, sink):
    people = _people(simulator, 60)
    sink.describe("member")
    simulator.reset_counters()
    with purpose("write"):
        sink.upsert("member", [_write(people[0], SCORE=1)])
        assert simulator.counters() == {"calls": 1, "write_calls": 1}
        before = dict(sink.context.http.metrics.calls)
        outcomes = sink.upsert("member", [_write(one, SCORE=2) for one in people])
    assert [outcome.status for outcome in outcomes] == [Status.UPDATED] * 60
    assert simulator.counters()["write_calls"] == 2
    after = sink.context.http.metrics.calls
    assert (after["write"] - before["write"], after["read"] - before["read"]) == (1, 3)  # two looks, one archive


def test_a_field_the_audience_has_not_got_is_drift_before_any_call(simulator, sink):
    [one] = _people(simulator, 1)
    sink.describe("member")
    simulator.reset_counters()
    with pytest.raises(SchemaDriftError, match="did you mean 'SCORE'") as caught:
        sink.upsert("member", [_write(one, SCOR=1)])
    assert caught.value.field == "SCOR"
    assert simulator.counters() == {}


@pytest.mark.parametrize("count", [1, 3])
def test_a_field_dropped_since_is_told_though_mailchimp_says_200(simulator, sink, count):
    """Unknown tags are ignored in silence (recorded 2021); the answer lacks them."""
    people = _people(simulator, count)
    sink.describe("member")
    simulator.drop_merge_field("SCORE")
    outcomes = sink.upsert("member", [_write(one, SCORE=1) for one in people])
    assert {(o.status, o.reason) for o in outcomes} == {
        (Status.REJECTED, "the audience has no merge field SCORE any more")
    }


@pytest.mark.parametrize("kind", ["refuse", "lock"])
def test_trouble_with_one_member_of_a_batch_is_hers_alone(simulator, sink, kind):
    people = _people(simulator, 3)
    simulator.faults = [Fault(kind, key=people[1].email)]
    statuses = [o.status for o in sink.upsert("member", [_write(one, SCORE=1) for one in people])]
    assert statuses == [Status.UPDATED, Status.REJECTED if kind == "refuse" else Status.RETRY, Status.UPDATED]
    assert "SCORE" in _held(simulator, people[0])


def test_a_locked_member_by_herself_is_weather(simulator, sink):
    [one] = _people(simulator, 1)
    simulator.faults = [Fault("lock", key=one.email)]
    with pytest.raises(TransientError):
        sink.upsert("member", [_write(one, SCORE=1)])
    assert sink.upsert("member", [_write(one, SCORE=1)])[0].ok


@pytest.mark.parametrize(
    ("matches", "error", "words"),
    [
        ([("SYNCKEY", "k1")], ConfigError, "are never created; set when_missing: skip"),
        ([("Id", "a"), ("EMAIL", "b@x.example")], ContractError, "match on one field"),
        ([("Id", "")], ContractError, "empty Id"),
        ([("EMAIL", "A@x.example"), ("EMAIL", "a@X.example")], ContractError, "more than once"),
    ],
    ids=["our key", "two fields", "nobody", "twice"],
)
def test_misuse_is_refused_before_any_call(simulator, sink, matches, error, words):
    simulator.reset_counters()
    with pytest.raises(error, match=words):
        sink.upsert("member", [Write(str(n), match, {"SCORE": 1}) for n, match in enumerate(matches)])
    assert simulator.counters() == {}


def test_without_batches_one_at_a_time_is_the_most(simulator, connect):
    sink = connect(simulator, bulk_from=None)
    assert sink.limits.bulk_from is None
    with pytest.raises(ContractError, match="2 in one call; at most 1"):
        sink.upsert("member", [_write(one) for one in _people(simulator, 2)])


def test_a_batch_that_takes_too_long_is_waited_for_by_the_next_attempt(simulator, connect):
    keep = {}
    simulator.batch_looks = 4
    sink = connect(simulator, keep=keep, batch_wait="3s")
    writes = [_write(one, COMPANY="Borea") for one in _people(simulator, 3)]
    with pytest.raises(TransientError, match="the next attempt waits on"):
        sink.upsert("member", writes)
    assert all(outcome.ok for outcome in connect(simulator, keep=keep).upsert("member", writes))
    assert sum(r.method == "POST" for r in simulator.received) == 1
    assert keep == {}


@pytest.mark.parametrize("count", [1, 2])
def test_an_older_batch_is_stopped_before_fresher_values_go_out(simulator, connect, count):
    """Carried out later, it would undo them."""
    keep = {}
    simulator.batch_looks = 9
    people = _people(simulator, 3)
    with pytest.raises(TransientError):
        connect(simulator, keep=keep, batch_wait="1s").upsert("member", [_write(one, COMPANY="Old") for one in people])
    simulator.batch_looks = 1
    connect(simulator, keep=keep).upsert("member", [_write(one, COMPANY="New") for one in people[:count]])
    assert [r.method for r in simulator.received if "/batches/" in r.path].count("DELETE") == 1
    assert keep == {}


# Reading back


@pytest.mark.parametrize("hidden", [False, True], ids=["archived are listed", "archived are listed if asked for"])
def test_an_archived_member_is_a_tombstone_and_comes_back_alive(simulate, connect, hidden):
    simulator = simulate(switches=Switches(hide_archived=hidden))
    sink = connect(simulator)
    [one] = _people(simulator, 1)
    _, cursor = _changes(sink)
    simulator.archive(one.email, NOW)
    found, later = _changes(sink, cursor=cursor)
    assert (found[one.contact_id].deleted, dict(found[one.contact_id].fields)) == (True, {})
    assert one.contact_id not in _changes(sink)[0]
    simulator.subscribe(one.email, NOW)
    assert not _changes(sink, cursor=later)[0][one.contact_id].deleted


def test_a_new_address_is_the_same_record(simulator, sink):
    """The contact id outlives the address (recorded 2021)."""
    [one] = _people(simulator, 1)
    _, cursor = _changes(sink)
    simulator.change_email(one.email, "new.address@borea.example", NOW)
    found, _ = _changes(sink, cursor=cursor)
    assert found[one.contact_id].emails == ("new.address@borea.example",)
    assert sink.upsert("member", [_write(one, SCORE=5)])[0].ref == _ref(one)


def test_who_was_erased_is_missing_from_a_read_from_the_beginning(simulator, sink):
    [one] = _people(simulator, 1)
    simulator.erase(one.email)
    assert one.contact_id not in _changes(sink)[0]
    outcome = sink.upsert("member", [_write(one, SCORE=5)])[0]
    assert outcome.status is Status.REJECTED
    assert "nobody is added" in outcome.reason


def test_nobody_knows_who_changed_a_member(simulator, sink):
    assert {record.changed_by for record in _changes(sink)[0].values()} == {"unknown"}


def test_changes_are_read_in_pages_that_are_safe_as_a_whole(simulator, connect):
    pages = list(connect(simulator, page_size=7).changes("member", ["EMAIL"], None))
    assert [page.cursor is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert {r.ref.id for page in pages for r in page.records} == set(simulator.world.contacts)


def test_members_that_change_while_we_read_push_nobody_past_us(simulator, connect):
    """They leave the window; who follows moves up."""
    sink = connect(simulator, page_size=10)
    found = set()
    for number, page in enumerate(sink.changes("member", ["EMAIL"], None)):
        found |= {record.ref.id for record in page.records}
        if number < 5:
            one = min(simulator.world.subscribers.values(), key=lambda o: o.changed)
            simulator.change_fields(one.email, NOW + timedelta(minutes=5), {"COMPANY": str(number)})
    assert found == set(simulator.world.contacts)


@pytest.mark.parametrize("cursor", ["{", '{"version":2,"since":"2026-06-01T00:00:00Z"}', "12"])
def test_a_position_that_is_not_ours_is_expired(sink, cursor):
    with pytest.raises(CursorExpiredError):
        list(sink.changes("member", ["EMAIL"], cursor))


def test_a_position_in_the_future_vouches_for_nothing(simulator, sink):
    ahead = json.dumps({"version": 1, "since": (NOW + timedelta(days=9)).isoformat()})
    assert set(_changes(sink, cursor=ahead)[0]) == set(simulator.world.contacts)


# Tags


def _set(sink, add=(), remove=()):
    outcomes = sink.set_members(
        "Hot leads", [Member(o.email, _ref(o)) for o in add], [Member(o.email, _ref(o)) for o in remove]
    )
    return [outcome.status for outcome in outcomes]


def test_tags_go_on_and_off_in_one_call(simulator, sink):
    one, two, three = _people(simulator)
    _set(sink, [one])
    simulator.reset_counters()
    assert _set(sink, [one, two], [three]) == [Status.UNCHANGED, Status.UPDATED, Status.UNCHANGED]
    assert simulator.counters() == {"calls": 4, "write_calls": 1}  # three are looked up
    assert _set(sink, [], [one, two]) == [Status.UPDATED] * 2
    assert not simulator.segments[next(iter(simulator.segments))]["members"]


def test_nothing_to_do_is_no_write(simulator, sink):
    people = _people(simulator)
    _set(sink, people)
    simulator.reset_counters()
    assert _set(sink, people) == [Status.UNCHANGED] * 3
    assert "write_calls" not in simulator.counters()


def test_many_are_looked_up_in_a_batch(simulator, sink):
    people = _people(simulator, 80)
    simulator.reset_counters()
    assert _set(sink, people) == [Status.UPDATED] * 80
    assert simulator.counters()["calls"] == 1 + 2 + 1 + 1 + 1  # tags, handed in, two looks, the archive, the change
    assert simulator.counters()["write_calls"] == 1


def test_a_look_up_that_takes_too_long_is_waited_for_by_the_next_attempt(simulator, connect):
    """And handed in once: batches that nobody waits for any more would fill the account's 500."""
    keep = {}
    sink = connect(simulator, keep=keep, batch_wait="3s")
    sink.prepare([], ["Hot leads"])
    simulator.batch_looks = 4
    people = _people(simulator, 60)
    with pytest.raises(TransientError, match="the next attempt waits on"):
        _set(sink, people)
    assert _set(connect(simulator, keep=keep), people) == [Status.UPDATED] * 60
    assert sum(r.method == "POST" and r.path.endswith("/batches") for r in simulator.received) == 1
    assert keep == {}


def test_a_look_up_for_others_is_stopped_before_a_new_one_is_handed_in(simulator, connect):
    keep = {}
    sink = connect(simulator, keep=keep, batch_wait="1s")
    sink.prepare([], ["Hot leads"])
    simulator.batch_looks = 9
    people = _people(simulator, 60)
    with pytest.raises(TransientError):
        _set(sink, people)
    simulator.batch_looks = 1
    assert _set(connect(simulator, keep=keep), people[:55]) == [Status.UPDATED] * 55
    assert [r.method for r in simulator.received if "/batches/" in r.path].count("DELETE") == 1
    assert keep == {}


@pytest.mark.parametrize(
    ("status", "outcome"), [(400, Status.REJECTED), (403, Status.REJECTED), (500, None), (401, None), (429, None)]
)
def test_a_look_up_that_fails_is_hers_alone_or_weather(simulator, connect, monkeypatch, status, outcome):
    """In an archive neither 401 nor 429 says how the connection fares now: nothing is paused or slowed for it."""
    keep = {}
    sink = connect(simulator, keep=keep)
    sink.prepare([], ["Hot leads"])
    people = _people(simulator, 60)
    true = simulator.get_member

    def handler(request, **which):
        if people[0].contact_id in request.path:
            problem = {"type": "x", "title": "No", "status": status, "detail": "", "instance": "x"}
            return Response(json.dumps(problem), status, content_type="application/problem+json")
        return true(request, **which)

    monkeypatch.setattr(simulator, "get_member", handler)
    if outcome is None:
        with pytest.raises(TransientError, match="nothing about 1 of 60") as caught:
            _set(sink, people)
        assert not isinstance(caught.value, RateLimitError)
    else:
        assert _set(sink, people) == [outcome] + [Status.UPDATED] * 59
    assert keep == {}


@pytest.mark.parametrize("told", [False, True])
def test_a_member_refused_for_a_tag_is_refused_alone(simulate, connect, told):
    simulator = simulate(switches=Switches(tag_errors_for_members=told))
    sink = connect(simulator)
    sink.prepare([], ["Hot leads"])
    people = _people(simulator)
    simulator.faults = [Fault("refuse", key=people[1].email)]
    assert _set(sink, people) == [Status.UPDATED, Status.REJECTED, Status.UPDATED]


def test_the_archived_and_the_gone_are_refused(simulator, sink):
    one, two, three = _people(simulator)
    simulator.archive(one.email, NOW)
    simulator.erase(two.email)
    assert _set(sink, [one, two, three]) == [Status.REJECTED, Status.REJECTED, Status.UPDATED]


def test_a_tag_beyond_the_fifty_that_are_shown_is_seen(simulator, sink):
    [one] = _people(simulator, 1)
    tags = [{"name": f"tag {number}", "status": "active"} for number in range(60)]
    url = f"{simulator.url}/3.0/lists/{LIST_ID}/members/{one.hash}/tags"
    body = {"tags": [*tags, {"name": "Zuletzt", "status": "active"}]}
    requests.post(url, json=body, auth=("x", simulator.api_key), timeout=10).raise_for_status()
    assert [o.status for o in sink.set_members("Zuletzt", [Member("k", _ref(one))], [])] == [Status.UNCHANGED]


def test_a_tag_that_is_not_there_is_a_matter_of_preparation(simulator, sink):
    with pytest.raises(ConfigError, match="syncline prepare"):
        sink.set_members("Hot lead", [Member("k", _ref(_people(simulator, 1)[0]))], [])


# Preparing


def test_prepare_says_what_it_will_do_and_does_just_that(simulator, connect):
    sink = connect(simulator)
    wanted = [
        "member: the merge field SYNCKEY (text)",
        "member: the merge field SCORE (number)",
        "member: the merge field SINCE (date)",
        "member: the merge field HOT (text)",
        "member: the tag 'Hot leads'",
    ]
    assert sink.missing(NEEDED, ["Hot leads"]) == wanted
    done = sink.prepare(NEEDED, ["Hot leads"])
    assert done == [line.replace("the ", "created the ", 1) for line in wanted]
    assert (sink.missing(NEEDED, ["Hot leads"]), sink.prepare(NEEDED, ["Hot leads"])) == ([], [])
    assert simulator.merge_fields["SCORE"]["public"] is False


def test_a_name_that_is_no_merge_tag_is_told_before_anything_is_made(simulator, connect):
    bad = [FieldSpec("member", "LEAD_SCORE_C", "number", "Score"), FieldSpec("member", "Score", "number", "Score")]
    with pytest.raises(ConfigError, match="'LEAD_SCORE_C' is no merge tag: one has at most ten characters"):
        connect(simulator).prepare([*NEEDED, *bad], [])
    assert "SCORE" not in simulator.merge_fields


def test_tags_alone_are_prepared_in_every_audience(simulator, connect):
    assert connect(simulator).missing([], ["Hot leads"]) == ["member: the tag 'Hot leads'"]
