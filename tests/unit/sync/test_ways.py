"""Webhook and poll of one connection: what each brought is known, and that both brought it changes nothing else."""

from __future__ import annotations

import itertools
import random
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.exc import OperationalError

from syncline.errors import RecordError, WebhookRejectedError
from syncline.events import Classifier, ClassifyRules
from syncline.model import Account, Event, Identifier, Page, RawRecord, event_id, microseconds
from syncline.people import IdentityRules
from syncline.sdk import ConnectorConfig, Source, WebhookRequest
from syncline.store import events, inbox, schema, webhooks
from syncline.store.database import Database
from syncline.store.schema import BY_POLL, BY_WEBHOOK, RAW_DONE, RAW_NEW, RAW_QUARANTINED
from syncline.sync.pull import PullReport, accept, pull, replay
from syncline.sync.report import SourceReport
from syncline.sync.webhooks import Letter, open_request, report_on, report_ways, take

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
MONTH_AGO = NOW - timedelta(days=30)
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1/postgres"
CLASSIFIER = Classifier(ClassifyRules(clicks_count_as=frozenset({"page_visit"}), page_type={"pricing": ("*",)}))


class BothSource(Source[ConnectorConfig]):
    """Polls a list; takes webhooks of one record, whose key and payload are the body's first and other words."""

    kind = "both"
    config_model = ConnectorConfig
    streams = ("activity",)

    def __init__(self, *polled: RawRecord) -> None:
        self.polled = list(polled)
        self.broken = False
        self.refuses = False

    def check(self) -> Account:
        return Account("1", "both", {})

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        yield Page(self.polled[int(cursor or 0) :], str(len(self.polled)))

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        if self.refuses:
            raise WebhookRejectedError("not ours")
        if self.broken:
            raise ValueError("what is this?")
        key, type_, seconds = request.body.decode().split()
        return [fact(key, float(seconds), type_)]

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        said = raw.payload
        if "bad" in said:
            raise RecordError(said["bad"])
        who = (Identifier("email", said.get("who", "ada@x.example")),)
        yield Event(event_id("both", raw.key), said["type"], NOW + timedelta(seconds=said["at"]), who, said["did"])


def fact(key: str, at: float = 0, type_: str = "email_open", told: str = "", **did: Any) -> RawRecord:
    """What happened; `told` makes a difference between the two ways."""
    return RawRecord("activity", key, {"type": type_, "at": at, "did": did, "told": told})


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/state.db")
        yield opened
        opened.close()
        return
    pytest.importorskip("psycopg", reason="PostgreSQL: psycopg is not installed (extra: postgres)")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    name = f"ways_{secrets.token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
    except OperationalError:
        pytest.skip("no PostgreSQL server answers on 127.0.0.1:5432 for the user postgres")
    opened = Database(f"{POSTGRES}?options=-csearch_path%3D{name}")
    yield opened
    opened.close()
    with admin.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    admin.dispose()


def hooked(store: Database, *records: RawRecord, name: str = "news") -> int:
    return accept(store, name, records, run_id="webhook", clock=lambda: NOW)


def pulled(store: Database, *records: RawRecord, source: BothSource | None = None, name: str = "news") -> PullReport:
    """Settle what waits, and read these."""
    numbers = itertools.count(1)
    return pull(
        store,
        name,
        source or BothSource(*records),
        streams=["activity"],
        classifier=CLASSIFIER,
        identity_rules=IdentityRules(),
        run_id="run-1",
        clock=lambda: NOW,
        new_key=lambda: f"{next(numbers)} {random.random()}",
    )


def polled(store: Database, *records: RawRecord) -> PullReport:
    """Read these in a read of their own, whatever was read before."""
    with store.write() as connection:
        connection.execute(schema.cursor.delete())
    return pulled(store, *records)


def ways(store: Database, name: str = "news") -> tuple[int, int, int]:
    """(only by webhook, only by poll, both), as the report says."""
    report = SourceReport()
    report_ways(store, {name: report}, MONTH_AGO)
    return report.only_webhook, report.only_poll, report.both


def came(store: Database) -> dict[str, int]:
    """Type and event time → the bits that say which way it came; of repeats too."""
    found = {}
    with store.read() as connection:
        for table in (schema.event, schema.suppressed):
            for row in connection.execute(select(table)):
                found[f"{row.type} {(row.t_us - 1780300800000000) // 1_000_000}"] = row.way & (BY_POLL | BY_WEBHOOK)
    return found


def fates(report: PullReport) -> tuple[int, int, int, int]:
    return report.read, report.stored, report.duplicate, report.quarantined


# Which way it came


def test_each_event_knows_which_way_it_came(store: Database) -> None:
    hooked(store, fact("1", 1), fact("2", 2))
    pulled(store, fact("2", 2, told="by poll"), fact("3", 3))
    assert came(store) == {"email_open 1": BY_WEBHOOK, "email_open 2": BY_POLL | BY_WEBHOOK, "email_open 3": BY_POLL}
    assert ways(store) == (1, 1, 1)


@pytest.mark.parametrize("told", ["", "by webhook"], ids=["the same record", "told otherwise"])
@pytest.mark.parametrize("first", ["webhook", "poll"])
def test_what_came_both_ways_is_one_event_whichever_was_first(store: Database, first: str, told: str) -> None:
    if first == "webhook":
        hooked(store, fact("1", told=told))
        pulled(store)
        report = polled(store, fact("1"))
    else:
        pulled(store, fact("1"))
        hooked(store, fact("1", told=told))
        report = pulled(store)
    assert fates(report) == (1, 0, 1, 0)
    assert report.events == 0
    assert came(store) == {"email_open 0": BY_POLL | BY_WEBHOOK}
    assert ways(store) == (0, 0, 1)


def test_both_ways_in_one_batch(store: Database) -> None:
    hooked(store, fact("1", told="a"))
    with store.write() as connection:
        parcels = inbox.pack("news", [fact("1", told="b")])
        inbox.keep(connection, "news", parcels, run_id="killed", at_us=microseconds(NOW))
    assert fates(pulled(store)) == (2, 1, 1, 0)
    assert came(store) == {"email_open 0": BY_POLL | BY_WEBHOOK}


def test_a_record_that_waits_is_not_doubled_by_the_other_way(store: Database) -> None:
    """The webhook arrived after the pull had settled what was waiting, and before it read the page."""
    source = BothSource(fact("1"))

    class Late(BothSource):
        def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
            hooked(store, fact("1"))
            return source.read(stream, cursor)

    assert fates(pulled(store, source=Late())) == (1, 1, 0, 0)
    assert fates(pulled(store)) == (0, 0, 0, 0)
    assert came(store) == {"email_open 0": BY_POLL | BY_WEBHOOK}


def test_the_same_way_again_is_not_settled_again(store: Database) -> None:
    for _ in range(2):
        hooked(store, fact("1"))
        pulled(store, fact("2"))
    hooked(store, fact("2"), fact("1"))
    assert fates(pulled(store, fact("2"))) == (1, 0, 1, 0), "only the one that had come by poll"
    assert fates(polled(store, fact("2"), fact("1"))) == (2, 0, 2, 0)
    with store.read() as connection:
        found = connection.execute(select(schema.raw.c.way, schema.raw.c.status)).all()
    assert found == [(BY_POLL | BY_WEBHOOK, RAW_DONE)] * 2


def test_a_quarantined_record_stays_so_when_it_comes_the_other_way(store: Database) -> None:
    bad = RawRecord("activity", "1", {"bad": "it has no date"})
    pulled(store, bad)
    hooked(store, bad)
    assert fates(pulled(store)) == (0, 0, 0, 0)
    with store.read() as connection:
        found = connection.execute(select(schema.raw.c.way, schema.raw.c.status, schema.raw.c.reason)).all()
    assert found == [(BY_POLL | BY_WEBHOOK, RAW_QUARANTINED, "it has no date")]


def test_what_a_click_counts_as_came_the_same_way(store: Database) -> None:
    hooked(store, fact("1", type_="email_click", url="https://x.example/"))
    pulled(store)
    assert came(store) == {"email_click 0": BY_WEBHOOK, "page_visit 0": BY_WEBHOOK}


def test_a_replay_forgets_no_way(store: Database) -> None:
    hooked(store, fact("1", told="a"))
    pulled(store, fact("1", told="b"), fact("2", 2))
    before = came(store), ways(store)
    with store.write() as connection:  # one of the two records is no longer kept
        connection.execute(schema.raw.delete().where(schema.raw.c.way == BY_WEBHOOK))
    rules = {"classifier": CLASSIFIER, "identity_rules": IdentityRules(), "clock": lambda: NOW}
    replay(store, "news", BothSource(), **rules)
    assert (came(store), ways(store)) == before


# What only one of the two brought


def test_types_that_no_webhook_brings_are_not_missed(store: Database) -> None:
    hooked(store, fact("1", 1))
    pulled(store, fact("2", 2), fact("3", 3, "email_reply"))
    assert ways(store) == (1, 1, 0)


def test_what_happened_before_the_first_webhook_is_not_missed(store: Database) -> None:
    hooked(store, fact("1", 100))
    pulled(store, fact("old", 99), fact("new", 100))
    assert ways(store) == (1, 1, 0)


def test_a_connection_without_webhooks_misses_nothing(store: Database) -> None:
    hooked(store, fact("1", 1), name="shop")
    pulled(store, name="shop")
    pulled(store, fact("2", 2))
    assert (ways(store), ways(store, "shop")) == ((0, 0, 0), (1, 0, 0))


def test_what_is_older_than_the_retention_is_not_counted(store: Database) -> None:
    long_ago = -timedelta(days=31).total_seconds()
    hooked(store, fact("1", long_ago), fact("2", 2))
    pulled(store, fact("3", long_ago), fact("4", 4))
    assert ways(store) == (1, 1, 0)


def test_a_webhook_of_what_a_poll_brought_first_starts_the_count(store: Database) -> None:
    pulled(store, fact("1", 1))
    hooked(store, fact("1", 1, told="later"))
    pulled(store)
    polled(store, fact("2", 2))
    assert ways(store) == (0, 1, 1)


def test_counting_ways_reads_no_event_that_only_polls_could_bring(tmp_path: Path) -> None:
    """However long the log is: what is counted stands in an index of its own, which SQLite reads and nothing else."""
    store = Database(f"sqlite:///{tmp_path}/state.db")
    asked: list[str] = []
    with store.read() as connection:
        connection.connection.set_trace_callback(asked.append)
        events.ways(connection, 0)
        connection.connection.set_trace_callback(None)
        [statement] = [s for s in asked if s.startswith("SELECT")]
        plan = " ".join(row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}"))
    assert "COVERING INDEX event_way" in plan
    store.close()


EVERY_WAY = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["webhook", "poll"]), st.sampled_from(["", "other"])), max_size=14
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(history=EVERY_WAY)
def test_whatever_comes_and_when_every_event_knows_exactly_its_ways(history: list[tuple[int, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        store = Database(f"sqlite:///{folder}/state.db")
        expected: dict[str, int] = {}
        read = Counter[str]()
        for number, way, told in history:
            record = fact(str(number), number, told=told)
            if way == "webhook":
                hooked(store, record)
                report = pulled(store)
            else:
                report = polled(store, record)
            read["read"] += report.read
            read["fates"] += report.stored + report.duplicate + report.quarantined
            key = f"email_open {number}"
            expected[key] = expected.get(key, 0) | (BY_WEBHOOK if way == "webhook" else BY_POLL)
        assert came(store) == expected
        assert read["read"] == read["fates"]
        store.close()


# Webhooks that could not be read


def arrived(store: Database, source: BothSource, *bodies: bytes) -> list[Any]:
    with store.write() as connection:
        return take(connection, [letter(source, body) for body in bodies], NOW)


def letter(source: BothSource, body: bytes) -> Letter:
    headers = {"x-signature": "s"}
    return open_request(
        "news", source, WebhookRequest("POST", "/hooks/news/x", "k=1", headers, body, NOW, "https://h/x")
    )


def replayed(store: Database, source: BothSource) -> PullReport:
    rules: dict[str, Any] = {"classifier": CLASSIFIER, "identity_rules": IdentityRules(), "clock": lambda: NOW}
    return replay(store, "news", source, statuses=(RAW_QUARANTINED,), **rules)


def test_replay_reads_again_what_could_not_be_read(store: Database) -> None:
    source = BothSource()
    source.broken = True
    assert arrived(store, source, b"1 email_open 1", b"2 email_open 2") == ["received", "received"]
    assert report_on(store, "news", MONTH_AGO).unread == 2
    assert fates(replayed(store, source)) == (0, 0, 0, 0)
    source.broken = False
    assert fates(replayed(store, source)) == (2, 2, 0, 0)
    assert came(store) == {"email_open 1": BY_WEBHOOK, "email_open 2": BY_WEBHOOK}
    assert report_on(store, "news", MONTH_AGO).unread == 0
    with store.read() as connection:
        assert set(connection.scalars(select(schema.webhook.c.request))) == {None}, "secrets are kept no longer"
    assert fates(replayed(store, source)) == (0, 0, 0, 0)


def test_it_is_verified_again_as_it_came(store: Database) -> None:
    source = BothSource()
    source.broken = True
    arrived(store, source, b"1 email_open 1")
    asked: list[WebhookRequest] = []
    source.receive = asked.append  # type: ignore[method-assign, assignment]  # it fails after that
    replayed(store, source)
    headers = {"x-signature": "s"}
    assert asked == [WebhookRequest("POST", "/hooks/news/x", "k=1", headers, b"1 email_open 1", NOW, "https://h/x")]


def test_what_turns_out_to_be_forged_is_dropped_and_counted(store: Database) -> None:
    source = BothSource()
    source.broken, source.refuses = True, False
    arrived(store, source, b"1 email_open 1")
    source.refuses = True
    replayed(store, source)
    report = report_on(store, "news", MONTH_AGO)
    assert (report.unread, report.refused, report.reasons) == (0, 1, {"not ours": 1})
    with store.read() as connection:
        assert connection.execute(select(schema.webhook)).all() == connection.execute(select(schema.raw)).all() == []


# Books


def test_reports_count_whole_days_within_the_retention(store: Database) -> None:
    with store.write() as connection:
        for days in (29, 30, 31):
            counts = {("news", "received", ""): 1, ("news", "refused", "a"): 2, ("shop", "received", ""): 7}
            webhooks.add_counts(connection, counts, NOW - timedelta(days=days))
        webhooks.add_counts(connection, {("news", "duplicate", ""): 3, ("news", "refused", "b"): 1}, NOW)
    report = report_on(store, "news", MONTH_AGO)
    assert (report.received, report.duplicate, report.refused) == (2, 3, 5)
    assert report.reasons == {"a": 4, "b": 1}


def test_old_requests_and_counts_are_purged_but_not_what_is_unread(store: Database) -> None:
    source = BothSource()
    arrived(store, source, b"1 email_open 1")
    source.broken = True
    arrived(store, source, b"2 email_open 2")
    with store.write() as connection:
        connection.execute(update(schema.webhook).values(received_us=5))
        webhooks.add_counts(connection, {("news", "received", ""): 9}, NOW - timedelta(days=40))
        webhooks.purge(connection, int(MONTH_AGO.timestamp() * 1_000_000))
    with store.read() as connection:
        assert connection.scalars(select(schema.webhook.c.body)).all() == [b"2 email_open 2"]
        assert connection.scalars(select(schema.webhook_count.c.requests)).all() == [2]


def test_the_inbox_waits_for_the_pull(store: Database) -> None:
    assert hooked(store, fact("1")) == 1
    assert hooked(store, fact("1")) == 0
    with store.read() as connection:
        assert connection.execute(select(schema.raw.c.status, schema.raw.c.way)).all() == [(RAW_NEW, BY_WEBHOOK)]
