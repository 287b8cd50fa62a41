"""The memory connectors keep the contract, and bite the way real CRMs do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.errors import (
    AuthError,
    ConfigError,
    ContractError,
    CursorExpiredError,
    RecordError,
    SchemaDriftError,
    TransientError,
    WebhookRejectedError,
)
from syncline.host.plugins import Plugins
from syncline.model import (
    Field,
    FieldSpec,
    Limits,
    Member,
    Outcome,
    RawRecord,
    RemoteRecord,
    RemoteRef,
    Status,
    TaskWrite,
    Write,
)
from syncline.sdk import Context, CreatesTasks, Http, KeepsSegments, Polls, Prepares, Receives, WebhookRequest
from syncline.testing.memory import (
    MemoryConfig,
    MemorySink,
    MemorySource,
    MemoryWorld,
    SessionEndedError,
    memory_plugin,
)

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


def build(world: MemoryWorld, limits: Limits | None = None) -> tuple[MemorySource, MemorySink]:
    plugins = Plugins()
    plugins.register(memory_plugin(world, limits=limits), name="memory")
    context = Context("crm", Http("crm"), lambda: NOW, {})
    source, sink = (plugins.connector(kind)(MemoryConfig(), context) for kind in ("memory-source", "memory-sink"))
    assert isinstance(source, MemorySource)
    assert isinstance(sink, MemorySink)
    return source, sink


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld(segments=["hot leads"])


@pytest.fixture
def source(world: MemoryWorld) -> MemorySource:
    return build(world)[0]


@pytest.fixture
def sink(world: MemoryWorld) -> MemorySink:
    return build(world)[1]


def write(key: str, **fields: Any) -> Write:
    return Write(key, ("Key", key), fields)


def changed(sink: MemorySink, cursor: str | None = None, *fields: str) -> tuple[list[RemoteRecord], str | None]:
    records: list[RemoteRecord] = []
    for page in sink.changes("Lead", fields or ("Email", "Score"), cursor):
        records += page.records
        cursor = page.cursor or cursor
    return records, cursor


def summary(outcomes: Any) -> list[tuple[str, str, str | None]]:
    return [(o.key, o.status.value, o.code) for o in outcomes]


def test_the_connectors_offer_everything(source: MemorySource, sink: MemorySink) -> None:
    assert isinstance(source, Polls)
    assert isinstance(source, Receives)
    assert isinstance(sink, CreatesTasks)
    assert isinstance(sink, KeepsSegments)
    assert isinstance(sink, Prepares)
    assert sink.check().server_time == NOW


# Source


def test_a_read_goes_on_where_the_cursor_stands(world: MemoryWorld) -> None:
    world.page_size = 2
    source, _ = build(world)
    for number in range(3):
        world.happened(f"e{number}", "email_open", NOW, email="a@x.example", campaign="may")
    pages = list(source.read("events", None))
    assert [[r.key for r in page.records] for page in pages] == [["e0", "e1"], ["e2"]]
    world.happened("e3", "email_click", NOW, email="a@x.example")
    assert [r.key for page in source.read("events", pages[0].cursor) for r in page.records] == ["e2", "e3"]
    [event] = source.normalize(pages[0].records[0])
    assert (event.type, event.occurred_at, event.properties) == ("email_open", NOW, {"campaign": "may"})


def test_a_read_that_breaks_raises_after_the_pages_before(world: MemoryWorld) -> None:
    world.page_size = 1
    source, _ = build(world)
    for number in range(3):
        world.happened(f"e{number}", "email_open", NOW, email="a@x.example")
    world.fail_call("read", TransientError("cut"), after=1)
    pages = source.read("events", None)
    assert next(pages).cursor == "1"
    with pytest.raises(TransientError):
        next(pages)


def test_an_unknown_stream_lists_the_known(source: MemorySource) -> None:
    with pytest.raises(ConfigError, match="did you mean 'events'"):
        next(source.read("event", None))


def test_webhook_and_poll_agree_on_the_event(world: MemoryWorld, source: MemorySource) -> None:
    polled = world.happened("e1", "email_open", NOW, email="a@x.example")
    body = json.dumps([{"key": "e1", **polled.payload}]).encode()
    request = WebhookRequest("POST", "/", "", source.signed(body, NOW), body, NOW)
    [received] = source.receive(request)
    assert list(source.normalize(received)) == list(source.normalize(polled))


@pytest.mark.parametrize(
    ("sent", "body", "came"),
    [
        pytest.param(NOW, b"[ ]", NOW, id="another body"),
        pytest.param(NOW - timedelta(minutes=6), b"[]", NOW, id="too old"),
        pytest.param(NOW + timedelta(minutes=6), b"[]", NOW, id="from the future"),
    ],
)
def test_a_webhook_that_was_tampered_with_is_refused(
    source: MemorySource, sent: datetime, body: bytes, came: datetime
) -> None:
    request = WebhookRequest("POST", "/", "", source.signed(b"[]", sent), body, came)
    with pytest.raises(WebhookRejectedError):
        source.receive(request)


def test_a_webhook_of_the_crm_is_a_notice(sink: MemorySink) -> None:
    body = json.dumps([{"key": "n1", "object": "Lead", "id": "LE000001"}]).encode()
    [notice] = sink.receive(WebhookRequest("POST", "/", "", sink.signed(body, NOW), body, NOW))
    assert (notice.stream, notice.key, notice.payload["id"]) == ("Lead", "n1", "LE000001")


def test_listings_can_have_empty_pages_and_tokens_that_come_again(world: MemoryWorld) -> None:
    world.page_size = 2
    source, _ = build(world)
    for number in range(5):
        world.happened(f"e{number}", "email_open", NOW, email="a@x.example")
    world.empty_page()
    pages = list(source.read("events", None))
    assert [[r.key for r in page.records] for page in pages] == [["e0", "e1"], [], ["e2", "e3"], ["e4"]]
    assert [page.cursor for page in pages] == ["2", "2", "4", "5"]
    world.heal()
    world.repeat_page_token()
    with pytest.raises(TransientError, match="names itself"):
        list(source.read("events", None))


def test_a_session_that_ended_is_renewed_once(world: MemoryWorld, sink: MemorySink) -> None:
    sink.check()
    world.end_sessions()
    sink.check()
    assert (world.log_ins, world.counters["calls"]) == (2, 2)
    world.fail_call("check", SessionEndedError("and again"), times=None)
    with pytest.raises(AuthError):
        sink.check()
    assert world.log_ins == 3


@pytest.mark.parametrize(
    "payload",
    [{}, {"type": "x", "at": "yesterday", "email": "a"}, {"type": "x", "at": "2026-01-01T00:00", "email": "a"}],
)
def test_an_unusable_record_says_why(source: MemorySource, payload: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=r"^r1: "):
        list(source.normalize(RawRecord("events", "r1", payload)))


# Upsert


def test_upsert_creates_then_updates_then_leaves_alone(world: MemoryWorld, sink: MemorySink) -> None:
    first = sink.upsert("Lead", [write("a", Email="a@x.example"), write("b", Score=Decimal(1))])
    second = sink.upsert("Lead", [write("b", Score=Decimal(2)), write("a", Email="a@x.example")])
    assert summary(first) == [("a", "created", None), ("b", "created", None)]
    assert summary(second) == [("b", "updated", None), ("a", "unchanged", None)]
    assert second[0].ref == first[1].ref
    assert world.counters["write_calls"] == 2


def test_an_absent_field_is_left_alone_and_none_clears(world: MemoryWorld, sink: MemorySink) -> None:
    ref = world.put("Lead", {"Email": "a@x.example", "Phone": "1", "Company": "C"})
    [outcome] = sink.upsert("Lead", [Write("a", ("Id", ref.id), {"Phone": None, "Company": ""})])
    assert outcome.status is Status.UPDATED
    assert {n: v for n, v in world.get(ref).items() if v is not None} == {"Id": ref.id, "Email": "a@x.example"}


def test_numbers_are_rounded_to_the_scale_of_the_field(world: MemoryWorld, sink: MemorySink) -> None:
    [created] = sink.upsert("Lead", [write("a", Score=Decimal("1.25"))])
    assert created.ref is not None
    assert str(world.get(created.ref)["Score"]) == "1.3"
    assert summary(sink.upsert("Lead", [write("a", Score=Decimal("1.3"))])) == [("a", "unchanged", None)]


REJECTED = {
    "no such record": (Write("k", ("Id", "LE9"), {}), "ENTITY_IS_DELETED"),
    "nothing to match": (Write("k", ("Key", ""), {}), "MISSING_ARGUMENT"),
    "wrong type": (write("k", Score="ten"), "INVALID_TYPE"),
    "a boolean is no number": (write("k", Score=True), "INVALID_TYPE"),
    "too long": (write("k", FirstName="x" * 41), "STRING_TOO_LONG"),
    "not an option": (write("k", Status="Opn"), "INVALID_OPTION"),
    "taken": (Write("k", ("Id", "LE000001"), {"Key": "taken"}), "DUPLICATE_VALUE"),
}


@pytest.mark.parametrize(("bad", "code"), REJECTED.values(), ids=REJECTED.keys())
def test_a_bad_record_is_refused_alone(world: MemoryWorld, sink: MemorySink, bad: Write, code: str) -> None:
    world.put("Lead", {})
    world.put("Lead", {"Key": "taken"})
    good = Write("good", (bad.match[0], "fine"), {}) if bad.match[0] != "Id" else Write("good", ("Id", "LE000002"), {})
    outcomes = sink.upsert("Lead", [bad, good])
    assert (outcomes[0].key, outcomes[0].status, outcomes[0].code) == ("k", Status.REJECTED, code)
    assert outcomes[0].reason
    assert outcomes[1].ok


def test_a_required_field_is_asked_for_at_creation(sink: MemorySink, world: MemoryWorld) -> None:
    world.create_field(Field("LastName", "text", required=True), "Lead")
    assert summary(sink.upsert("Lead", [write("a", Email="e"), write("b", LastName="R")])) == [
        ("a", "rejected", "REQUIRED_FIELD_MISSING"),
        ("b", "created", None),
    ]


@pytest.mark.parametrize("fields", [{"Scor": 1}, {"Id": "x"}], ids=["gone", "read-only"])
def test_a_field_that_is_gone_or_read_only_is_drift(
    world: MemoryWorld, sink: MemorySink, fields: dict[str, Any]
) -> None:
    with pytest.raises(SchemaDriftError) as caught:
        sink.upsert("Lead", [write("a"), Write("b", ("Key", "b"), fields)])
    assert caught.value.field == next(iter(fields))
    assert world.refs("Lead") == []


def test_a_batch_beyond_the_limits_breaks_the_contract(world: MemoryWorld) -> None:
    _, sink = build(world, Limits(upsert_batch=1, task_batch=1, member_batch=1))
    with pytest.raises(ContractError, match="2 in one call; at most 1"):
        sink.upsert("Lead", [write("a"), write("b")])
    with pytest.raises(ContractError, match="match on the same field"):
        build(world)[1].upsert("Lead", [write("a"), Write("b", ("Id", "1"), {})])


def test_nothing_to_write_is_no_call(world: MemoryWorld, sink: MemorySink) -> None:
    assert sink.upsert("Lead", []) == []
    assert sink.create_tasks([]) == []
    assert sink.set_members("hot leads", [], []) == []
    assert world.counters == {}


# Changes


def test_changes_say_what_and_who(world: MemoryWorld, sink: MemorySink) -> None:
    mine = sink.upsert("Lead", [write("a", Email="A@x.example", Score=Decimal(1))])[0].ref
    theirs = world.put("Lead", {"Email": "b@x.example"}, at=NOW - timedelta(days=1))
    records, cursor = changed(sink)
    assert [(r.ref, r.changed_by, r.changed_at, r.emails) for r in records] == [
        (mine, "us", NOW, ("A@x.example",)),
        (theirs, "person", NOW - timedelta(days=1), ("b@x.example",)),
    ]
    assert records[1].fields == {"Email": "b@x.example", "Score": None}
    assert changed(sink, cursor) == ([], cursor)
    assert mine is not None
    world.edit(mine, {"Score": Decimal(9)}, by="system")
    [again], _ = changed(sink, cursor)
    assert (again.ref, again.changed_by, again.fields["Score"]) == (mine, "system", Decimal(9))


def test_the_end_of_a_record_is_a_tombstone(world: MemoryWorld, sink: MemorySink) -> None:
    gone, loser, winner, lead = (world.put("Lead", {"Email": f"{n}@x.example"}) for n in range(4))
    _, cursor = changed(sink)
    world.delete(gone)
    world.merge(loser, winner)
    contact = world.convert(lead)
    records, _ = changed(sink, cursor)
    assert [(r.ref, r.deleted, r.successor, dict(r.fields)) for r in records] == [
        (gone, True, None, {}),
        (loser, True, winner, {}),
        (lead, True, contact, {}),
    ]
    assert world.get(contact)["Email"] == "3@x.example"
    assert [r.ref for r in changed(sink)[0]] == [winner]


def test_pages_of_changes_may_be_interrupted(world: MemoryWorld) -> None:
    world.page_size = 2
    _, sink = build(world)
    _, start = changed(sink)
    refs = [world.put("Lead", {}) for _ in range(5)]
    pages = sink.changes("Lead", ["Email"], start)
    first = next(pages)
    world.edit(refs[0], {"Email": "late@x.example"})
    rest = [record.ref for page in sink.changes("Lead", ["Email"], first.cursor) for record in page.records]
    assert rest == [*refs[2:], refs[0]]
    assert [page.cursor is None for page in sink.changes("Lead", ["Email"], None)] == [True, True, False]


def test_an_old_cursor_may_expire(world: MemoryWorld, sink: MemorySink) -> None:
    world.put("Lead", {})
    _, cursor = changed(sink)
    world.expire_cursors()
    with pytest.raises(CursorExpiredError):
        changed(sink, cursor)
    world.put("Lead", {})
    assert changed(sink, changed(sink)[1])[0] == []


def test_drift_shows_in_changes_and_description(world: MemoryWorld, sink: MemorySink) -> None:
    world.put("Lead", {"Score": Decimal(1)})
    world.drop_field("Lead", "Score")
    assert "Score" not in [f.name for f in sink.describe("Lead")]
    with pytest.raises(SchemaDriftError, match="no field 'Score'"):
        changed(sink, None, "Score")
    with pytest.raises(ConfigError, match="did you mean 'Lead'"):
        sink.describe("Leads")


# Tasks, segments, prepare


def task(key: str, about: RemoteRef, owner: str | None = None) -> TaskWrite:
    return TaskWrite(key, about, "Call", "…", NOW, "high", owner)


def test_a_task_happens_once(world: MemoryWorld, sink: MemorySink) -> None:
    lead = world.put("Lead", {})
    world.users = {"u1"}
    assert summary(sink.create_tasks([task("t1", lead, "u1"), task("t2", lead, "u9")])) == [
        ("t1", "created", None),
        ("t2", "rejected", "INVALID_OWNER"),
    ]
    world.delete(lead)
    assert summary(sink.create_tasks([task("t1", lead), task("t3", lead)])) == [
        ("t1", "unchanged", None),
        ("t3", "rejected", "ENTITY_IS_DELETED"),
    ]
    assert list(world.tasks) == ["t1"]


def test_members_go_in_and_out_once(world: MemoryWorld, sink: MemorySink) -> None:
    a, b = world.put("Lead", {}), world.put("Lead", {})
    sink.set_members("hot leads", [Member("a", a)], [])
    outcomes = sink.set_members(
        "hot leads", [Member("a", a), Member("b", b)], [Member("a", a), Member("x", RemoteRef("Lead", "x"))]
    )
    assert [(o.key, o.status.value) for o in outcomes] == [
        ("a", "unchanged"),
        ("b", "updated"),
        ("a", "updated"),
        ("x", "unchanged"),
    ]
    assert world.segments["hot leads"] == {b}
    world.delete(b)
    assert world.segments["hot leads"] == set()
    with pytest.raises(ConfigError, match="did you mean 'hot leads'"):
        sink.set_members("hot lead", [Member("a", a)], [])


def test_prepare_does_what_it_said_and_then_has_nothing_to_do() -> None:
    world = MemoryWorld(prepared=False)
    _, sink = build(world)
    needed = [*sink.task_fields, FieldSpec("Lead", "Heat", "number", "Heat", scale=2)]
    lead = world.put("Lead", {})
    with pytest.raises((SchemaDriftError, ConfigError)):
        sink.create_tasks([task("t", lead)])
    said = sink.missing(needed, ["mine"])
    assert said == ["field Task.Key (text)", "field Lead.Heat (number)", "segment mine"]
    assert sink.prepare(needed, ["mine"]) == [f"created {line}" for line in said]
    assert sink.missing(needed, ["mine"]) == []
    assert sink.create_tasks([task("t", lead)])[0].ok


# Trouble on purpose


def test_a_call_can_fail_before_or_after_it_was_carried_out(world: MemoryWorld, sink: MemorySink) -> None:
    world.fail_call("upsert", TransientError("before"))
    world.fail_call("upsert", TransientError("after"), applied=True)
    with pytest.raises(TransientError, match="before"):
        sink.upsert("Lead", [write("a")])
    assert world.refs("Lead") == []
    with pytest.raises(TransientError, match="after"):
        sink.upsert("Lead", [write("a")])
    assert len(world.refs("Lead")) == 1
    assert summary(sink.upsert("Lead", [write("a")])) == [("a", "unchanged", None)]


def test_any_call_can_fail_for_ever_until_healed(world: MemoryWorld, sink: MemorySink) -> None:
    world.fail_call("*", AuthError("locked out"), times=None)
    for _ in range(3):
        with pytest.raises(AuthError):
            sink.check()
    world.heal()
    sink.check()


def test_single_records_can_be_refused_or_delayed(world: MemoryWorld, sink: MemorySink) -> None:
    world.fail_record("b*", status=Status.RETRY, reason="locked", code="LOCK", times=1)
    writes = [write("a"), write("b1"), write("c")]
    assert summary(sink.upsert("Lead", writes)) == [
        ("a", "created", None),
        ("b1", "retry", "LOCK"),
        ("c", "created", None),
    ]
    assert sink.upsert("Lead", writes)[1] == Outcome("b1", Status.CREATED, world.find("Lead", "Key", "b1")[0])


def test_one_key_can_spoil_its_whole_batch(world: MemoryWorld, sink: MemorySink) -> None:
    world.refuse_batches_with("bad", ContractError("HTTP 400"))
    with pytest.raises(ContractError):
        sink.upsert("Lead", [write("a"), write("bad")])
    assert world.refs("Lead") == []
    assert sink.upsert("Lead", [write("a")])[0].ok


def test_connections_share_their_world_and_nothing_else() -> None:
    world = MemoryWorld()
    (_, one), (_, two), (_, other) = build(world), build(world), build(MemoryWorld())
    one.upsert("Lead", [write("a")])
    assert len(changed(two)[0]) == 1
    assert changed(other)[0] == []
