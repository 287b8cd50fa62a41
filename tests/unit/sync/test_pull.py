"""Source pages → raw inbox → event log, on both databases."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import OperationalError

from syncline.errors import AuthError, ConfigError, ContractError, CursorExpiredError, RecordError, TransientError
from syncline.events import Classifier, ClassifyRules
from syncline.model import Account, Event, Identifier, Page, RawRecord, event_id, from_microseconds
from syncline.people import IdentityRules
from syncline.sdk import ConnectorConfig, Source
from syncline.store import cursors, schema
from syncline.store.database import Database
from syncline.sync.ingest import Ingest
from syncline.sync.pull import PullReport, accept, pull, purge_raw, quarantine, replay

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1/postgres"


class ScriptConfig(ConnectorConfig):
    """Nothing to set."""


class ScriptSource(Source[ScriptConfig]):
    """Reads the pages it is given, from the one after the cursor on; a page that is an exception is raised."""

    kind = "script"
    config_model = ScriptConfig
    streams = ("activity", "contacts")

    def __init__(self, *pages: list[RawRecord] | Exception) -> None:
        self.pages = list(pages)
        self.cursors: list[str | None] = []

    def check(self) -> Account:
        return Account("1", "script", {})

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        self.cursors.append(cursor)
        start = int(cursor or 0)
        for number, page in enumerate(self.pages[start:], start + 1):
            if isinstance(page, Exception):
                raise page
            yield Page(page, str(number))

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        if "bad" in raw.payload:
            raise RecordError(raw.payload["bad"])
        for said in raw.payload["events"]:
            yield Event(
                event_id("script", said["id"]),
                said["type"],
                NOW + timedelta(seconds=said["at"]),
                tuple(Identifier(namespace, value) for namespace, value in said["who"]),
                said.get("properties", {}),
                said.get("profile", {}),
            )


def did(id_: str, type_: str, at: float, *who: str, **properties: Any) -> RawRecord:
    """A record of one event. Identifiers are `ada@acme.example` or `namespace=value`."""
    return record(id_, [said(id_, type_, at, *who, **properties)])


def said(id_: str, type_: str, at: float, *who: str, **properties: Any) -> dict[str, Any]:
    pairs = [w.split("=", 1) if "=" in w else ("email", w) for w in who]
    profile = properties.pop("profile", {})
    return {"id": id_, "type": type_, "at": at, "who": pairs, "properties": properties, "profile": profile}


def record(key: str, events: list[Mapping[str, Any]], stream: str = "activity") -> RawRecord:
    return RawRecord(stream, key, {"events": events})


def bad(key: str, reason: str = "it has no date") -> RawRecord:
    return RawRecord("activity", key, {"bad": reason})


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/state.db")
        yield opened
        opened.close()
        return
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    name = f"pull_{secrets.token_hex(6)}"
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


def pulled(database: Database, source: ScriptSource, **settings: Any) -> PullReport:
    defaults: dict[str, Any] = {
        "streams": ["activity"],
        "classifier": Classifier(),
        "identity_rules": IdentityRules(),
        "run_id": "run-1",
        "clock": lambda: NOW,
    }
    return pull(database, "news", source, **{**defaults, **settings})


def replayed(database: Database, **settings: Any) -> PullReport:
    defaults: dict[str, Any] = {
        "classifier": Classifier(),
        "identity_rules": IdentityRules(),
        "clock": lambda: NOW,
    }
    return replay(database, "news", ScriptSource(), **{**defaults, **settings})


def log(database: Database) -> dict[float, tuple[str, bool]]:
    """Seconds → type and machine, of the events that count."""
    with database.read() as connection:
        rows = connection.execute(select(schema.event).order_by(schema.event.c.t_us)).all()
    return {(from_microseconds(r.t_us) - NOW).total_seconds(): (r.type, r.machine) for r in rows}


def people(database: Database) -> set[frozenset[str]]:
    """The identifiers of each person."""
    with database.read() as connection:
        rows = connection.execute(select(schema.identifier)).all()
    found: dict[int, set[str]] = {}
    for row in rows:
        found.setdefault(row.person_id, set()).add(row.value)
    return {frozenset(values) for values in found.values()}


def person_of(database: Database, value: str) -> int:
    with database.read() as connection:
        return connection.execute(
            select(schema.identifier.c.person_id).where(schema.identifier.c.value == value)
        ).scalar_one()


def events_of(database: Database, value: str) -> int:
    with database.read() as connection:
        rows = connection.execute(select(schema.event).where(schema.event.c.person_id == person_of(database, value)))
        return len(rows.all())


def rows_in(database: Database, table: Any) -> int:
    with database.read() as connection:
        return len(connection.execute(select(table)).all())


def fates(report: PullReport) -> tuple[int, int, int, int]:
    return report.read, report.stored, report.duplicate, report.quarantined


# Raw records and their fates


def test_every_record_has_one_fate(database: Database) -> None:
    source = ScriptSource(
        [did("1", "email_open", 0, "ada@acme.example"), bad("2"), did("1", "email_open", 0, "ada@acme.example")],
        [record("4", []), record("5", [said("1", "email_open", 0, "ada@acme.example")])],
    )
    report = pulled(database, source)
    assert fates(report) == (5, 2, 2, 1)
    assert report.events == report.streams["activity"].events == 1


def test_second_pull_finds_nothing_new(database: Database) -> None:
    source = ScriptSource([did("1", "email_open", 0, "ada@acme.example"), bad("2")])
    pulled(database, source)
    with database.write() as connection:
        cursors.forget(connection, "news", "activity")
    report = pulled(database, source)
    assert fates(report) == (2, 0, 2, 0)
    assert (report.events, report.identity, +report.cleansed) == (0, {}, {})
    assert rows_in(database, schema.raw) == 2


def test_record_whose_events_are_partly_new_is_stored(database: Database) -> None:
    pulled(database, ScriptSource([did("1", "email_open", 0, "ada@acme.example")]))
    both = [said("1", "email_open", 0, "ada@acme.example"), said("2", "email_open", 5, "ada@acme.example")]
    report = pulled(database, ScriptSource([], [record("both", both)]))
    assert fates(report) == (1, 1, 0, 0)
    assert report.events == 1


def test_one_bad_event_quarantines_its_record_whole(database: Database) -> None:
    good, wrong = said("1", "email_open", 0, "ada@acme.example"), said("2", "email_opened", 0, "ada@acme.example")
    report = pulled(database, ScriptSource([record("k", [good, wrong])]))
    assert fates(report) == (1, 0, 0, 1)
    assert rows_in(database, schema.event) == 0
    (held,) = quarantine(database, "news")
    assert (held.key, held.payload["events"][0]["id"], held.received_at) == ("k", "1", NOW)
    assert "did you mean 'email_open'?" in held.reason
    assert report.cleansed["unknown_type"] == 1


def test_records_read_before_a_failure_are_safe(database: Database) -> None:
    report = PullReport("news")
    source = ScriptSource([did("1", "email_open", 0, "ada@acme.example")], TransientError("try later"))
    with pytest.raises(TransientError):
        pulled(database, source, report=report)
    assert fates(report) == (1, 1, 0, 0)
    source.pages[1] = [did("2", "email_open", 9, "ada@acme.example")]
    pulled(database, source)
    assert source.cursors == [None, "1"]
    assert len(log(database)) == 2


def test_retry_reads_on_from_the_stored_cursor(database: Database) -> None:
    source = ScriptSource([did("1", "email_open", 0, "ada@acme.example")], TransientError("try later"))

    def twice(call: Any) -> None:
        try:
            call()
        except TransientError:
            source.pages[1] = [did("2", "email_open", 9, "ada@acme.example")]
            call()

    assert fates(pulled(database, source, retry=twice)) == (2, 2, 0, 0)
    assert source.cursors == [None, "1"]


class Halves(ScriptSource):
    """`activity` raises what it is given; `contacts` is read as ever."""

    def __init__(self, error: Exception, *pages: list[RawRecord]) -> None:
        super().__init__(*pages)
        self.error = error

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        if stream == "activity":
            raise self.error
        return super().read(stream, cursor)


BOTH = ["activity", "contacts"]


def left(id_: str) -> RawRecord:
    return record(id_, [said(id_, "email_unsubscribe", 0, "ada@acme.example")], stream="contacts")


@pytest.mark.parametrize(
    "error", [TransientError("HTTP 500"), ConfigError("no such audience")], ids=["weather", "settings"]
)
def test_a_stream_that_fails_does_not_starve_the_next_one(database: Database, error: Exception) -> None:
    report = PullReport("news")
    with pytest.raises(type(error), match=str(error)):
        pulled(database, Halves(error, [left("1")]), streams=BOTH, report=report)
    assert fates(report) == (1, 1, 0, 0)
    with database.read() as connection:
        assert cursors.load(connection, "news", "activity") is None
        assert cursors.load(connection, "news", "contacts") == "1"


def test_of_several_errors_the_first_is_raised(database: Database) -> None:
    class Down(ScriptSource):
        def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
            raise TransientError(f"{stream} is down")

    with pytest.raises(TransientError, match="activity is down"):
        pulled(database, Down(), streams=BOTH)


def test_refused_credentials_end_the_pull_at_once(database: Database) -> None:
    source = Halves(AuthError("the key was revoked"), [left("1")])
    with pytest.raises(AuthError):
        pulled(database, source, streams=BOTH)
    assert source.cursors == []


def test_bug_while_reading_is_the_plugins_and_the_next_stream_is_read(database: Database) -> None:
    report = PullReport("news")
    with pytest.raises(ContractError, match=r"news/activity: the plugin 'script' failed to read \(KeyError: 'rows'\)"):
        pulled(database, Halves(KeyError("rows"), [left("1")]), streams=BOTH, report=report)
    assert report.stored == 1


def test_bug_in_the_middle_of_a_stream_keeps_what_was_read(database: Database) -> None:
    source = ScriptSource([did("1", "email_open", 0, "ada@acme.example")], ZeroDivisionError("division by zero"))
    with pytest.raises(ContractError, match="ZeroDivisionError"):
        pulled(database, source)
    with database.read() as connection:
        assert cursors.load(connection, "news", "activity") == "1"
    assert len(log(database)) == 1


def test_waiting_record_that_cannot_be_normalized_does_not_starve_reading(database: Database) -> None:
    accept(database, "news", [RawRecord("activity", "k", {"evnts": []})], run_id="hook", clock=lambda: NOW)
    report = PullReport("news")
    with pytest.raises(ContractError, match="key k"):
        pulled(database, ScriptSource([left("1")]), streams=["contacts"], report=report)
    assert fates(report) == (1, 1, 0, 0)


def test_cursor_that_the_vendor_forgot_means_reading_from_the_start(database: Database) -> None:
    class Forgetful(ScriptSource):
        def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
            if cursor == "1":
                raise CursorExpiredError("too old")
            return super().read(stream, cursor)

    source = Forgetful([did("1", "email_open", 0, "ada@acme.example")])
    pulled(database, source)
    source.pages.append([did("2", "email_open", 9, "ada@acme.example")])
    report = pulled(database, source)
    assert fates(report) == (2, 1, 1, 0)
    assert report.backfilled == ["activity"]


def test_page_without_cursor_leaves_the_stored_one(database: Database) -> None:
    class Ranges(ScriptSource):
        def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
            yield Page(self.pages[0], "7")
            yield Page(self.pages[1], None)

    pulled(database, Ranges([did("1", "email_open", 0, "a@x.example")], [did("2", "email_open", 1, "a@x.example")]))
    with database.read() as connection:
        assert cursors.load(connection, "news", "activity") == "7"


def test_unknown_stream_is_refused_before_reading(database: Database) -> None:
    source = ScriptSource([])
    with pytest.raises(ConfigError, match=r"news: script has no stream 'activty': did you mean 'activity'\?"):
        pulled(database, source, streams=["activty"])
    assert source.cursors == []


def test_progress_is_told_after_every_page(database: Database) -> None:
    told: list[tuple[str, int, int | None]] = []
    source = ScriptSource([did("1", "email_open", 0, "a@x.example")], [bad("2")])
    pulled(database, source, progress=lambda *what: told.append(what))
    assert told == [("activity", 1, None), ("activity", 2, None)]


def test_webhook_records_wait_for_the_next_pull(database: Database) -> None:
    sent = [did("1", "email_open", 0, "ada@acme.example")]
    assert accept(database, "news", sent, run_id="hook", clock=lambda: NOW) == 1
    assert accept(database, "news", sent, run_id="hook", clock=lambda: NOW) == 0
    report = pulled(database, ScriptSource(sent))
    assert fates(report) == (2, 1, 1, 0)
    assert (report.resumed, report.events) == (1, 1)


# Crashes


def test_crash_between_inbox_and_log_loses_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ScriptSource([did("1", "email_open", 0, "ada@acme.example")], [did("2", "email_open", 9, "b@x.example")])
    with monkeypatch.context() as patch:
        patch.setattr(Ingest, "settle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pulled(database, source)
    assert (rows_in(database, schema.raw), rows_in(database, schema.event)) == (1, 0)
    report = pulled(database, source)
    assert source.cursors == [None, "1"]
    assert (fates(report), report.resumed, report.events) == ((2, 2, 0, 0), 1, 2)


def test_bug_of_a_plugin_is_named_and_its_records_are_kept(database: Database) -> None:
    source = ScriptSource([did("1", "email_open", 0, "ada@acme.example"), RawRecord("activity", "k2", {"evnts": []})])
    report = PullReport("news")
    with pytest.raises(ContractError, match=r"news/activity, key k2: the plugin 'script' .* \(KeyError: 'events'\)"):
        pulled(database, source, report=report)
    assert (rows_in(database, schema.raw), rows_in(database, schema.event), report.read) == (2, 0, 0)
    source.normalize = lambda raw: ()  # type: ignore[method-assign]  # the plugin is fixed
    assert fates(pulled(database, source)) == (2, 2, 0, 0)


def test_event_id_that_is_not_ours_is_a_bug_of_the_plugin(database: Database) -> None:
    source = ScriptSource([did("1", "email_open", 0, "ada@acme.example")])
    source.normalize = lambda raw: [Event("42", "email_open", NOW, (Identifier("email", "a@x.example"),))]  # type: ignore[method-assign]
    with pytest.raises(ContractError, match=r"event id '42' is not 32 hex digits: make it with event_id"):
        pulled(database, source)


def test_payload_that_is_not_json_is_a_bug_of_the_plugin(database: Database) -> None:
    with pytest.raises(ContractError, match="payload is not plain JSON"):
        pulled(database, ScriptSource([RawRecord("activity", "k", {"at": NOW})]))
    assert rows_in(database, schema.raw) == 0


def test_text_that_no_database_takes_is_stored_without_it(database: Database) -> None:
    strange = did("1", "email_open", 0, "ada@acme.example", campaign="news\0letter \ud800 è")
    strange = RawRecord("activity", "key\0\ud800", strange.payload)
    assert fates(pulled(database, ScriptSource([strange, strange]))) == (2, 1, 1, 0)
    with database.read() as connection:
        held = connection.execute(select(schema.event.c.properties)).scalar_one()
    assert json.loads(held) == {"campaign": "newsletter ? è"}


# Repeated visits


PRICING = {"url": "https://acme.example/pricing"}


def visits(*seconds: float, who: str = "ada@acme.example", **properties: Any) -> list[RawRecord]:
    return [did(f"visit {s} {who}", "page_visit", s, who, **(properties or PRICING)) for s in seconds]


def test_same_page_within_a_minute_is_one_visit(database: Database) -> None:
    report = pulled(database, ScriptSource(visits(0, 30, 59.9, 60, 100)))
    assert list(log(database)) == [0, 60]
    assert (report.cleansed["repeated_visit"], report.events, fates(report)) == (3, 2, (5, 5, 0, 0))


def test_late_visit_displaces_a_stored_one(database: Database) -> None:
    pulled(database, ScriptSource(visits(50)))
    report = pulled(database, ScriptSource([], visits(0)))
    assert list(log(database)) == [0]
    assert (report.events, report.streams["activity"].events) == (0, 1)


def test_late_visit_may_bring_a_suppressed_one_back(database: Database) -> None:
    pulled(database, ScriptSource(visits(50, 100)))
    assert list(log(database)) == [50]
    report = pulled(database, ScriptSource([], visits(0)))
    assert list(log(database)) == [0, 100]
    assert report.events == 1


def test_a_long_chain_is_settled_to_its_end(database: Database) -> None:
    """Three hours of a visit every 40 s: every other one counts; one that comes late shifts them all."""
    later = [float(s) for s in range(40, 10_800, 40)]
    pulled(database, ScriptSource(visits(*later)))
    assert list(log(database)) == later[::2]
    pulled(database, ScriptSource([], visits(0)))
    assert list(log(database)) == [0, *later[1::2]]


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(visits(10, who="bob@acme.example"), id="another person"),
        pytest.param(visits(10, url="https://acme.example/"), id="another page"),
        pytest.param(visits(10, duration_s=3), id="a page nobody named"),
    ],
)
def test_other_visits_are_not_repeats(database: Database, others: list[RawRecord]) -> None:
    report = pulled(database, ScriptSource(visits(0) + others))
    assert (len(log(database)), report.cleansed["repeated_visit"]) == (2, 0)


def test_page_type_names_the_page_where_there_is_no_url(database: Database) -> None:
    pulled(database, ScriptSource(visits(0, 10, page_type="pricing")))
    assert list(log(database)) == [0]


def test_suppressed_visit_is_known_when_it_comes_again(database: Database) -> None:
    pulled(database, ScriptSource(visits(0, 10)))
    again = [record("other key", [said("visit 10 ada@acme.example", "page_visit", 10, "ada@acme.example", **PRICING)])]
    assert fates(pulled(database, ScriptSource([], again))) == (1, 0, 1, 0)


# Scanners


def clicks(*seconds: float) -> list[RawRecord]:
    return [did(f"click {s}", "email_click", s, "ada@acme.example", url=f"https://acme.example/{s}") for s in seconds]


def test_three_addresses_in_ten_seconds_are_a_scanner(database: Database) -> None:
    report = pulled(database, ScriptSource(clicks(0, 5, 10, 11, 400)))
    assert [at for at, (_, machine) in log(database).items() if machine] == [0, 5, 10, 11]
    assert (report.machine, report.cleansed["scanner_click"]) == (4, 4)


def test_later_verdict_takes_the_points_back(database: Database) -> None:
    pulled(database, ScriptSource(clicks(0, 5)))
    forget_stale(database)
    report = pulled(database, ScriptSource([], clicks(9)))
    assert all(machine for _, machine in log(database).values())
    assert report.machine == 3
    assert rows_in(database, schema.stale) == 1


def test_the_same_address_again_is_no_scanner(database: Database) -> None:
    same = [did(f"c{s}", "email_click", s, "a@x.example", url="https://acme.example/") for s in range(5)]
    pulled(database, ScriptSource(same))
    assert not any(machine for _, machine in log(database).values())


AS_VISITS = Classifier(
    ClassifyRules(page_type={"pricing": ("*/0*",)}, clicks_count_as=frozenset({"page_visit", "video_view"}))
)


def test_what_a_click_counts_as_goes_with_it(database: Database) -> None:
    report = pulled(database, ScriptSource(clicks(0, 5)), classifier=AS_VISITS)
    assert report.events == 3
    pulled(database, ScriptSource([], clicks(9)), classifier=AS_VISITS)
    with database.read() as connection:
        visit = connection.execute(select(schema.event).where(schema.event.c.type == "page_visit")).one()
    assert visit.machine
    assert json.loads(visit.properties) == {"page_type": "pricing", "url": "https://acme.example/0"}


def test_a_scanner_does_not_stand_in_for_a_person(database: Database) -> None:
    """The click's visit hides the person's own a moment later, until the click turns out to be a scanner's."""
    own = visits(20, url="https://acme.example/0")
    pulled(database, ScriptSource(clicks(0) + own), classifier=AS_VISITS)
    assert 20 not in log(database)
    pulled(database, ScriptSource([], clicks(5, 9)), classifier=AS_VISITS)
    assert log(database)[20] == ("page_visit", False)


def test_machine_open_is_marked_and_counted(database: Database) -> None:
    report = pulled(database, ScriptSource([did("1", "email_open", 0, "ada@acme.example", machine=True)]))
    assert log(database) == {0: ("email_open", True)}
    assert (report.machine, report.cleansed["scanner_click"]) == (1, 0)
    with database.read() as connection:
        assert connection.execute(select(schema.event.c.properties)).scalar_one() == "{}"


# Who it was


def test_shared_cookie_does_not_merge_people(database: Database) -> None:
    source = ScriptSource(
        [
            did("1", "page_visit", 0, "ada@acme.example", "web=c1"),
            did("2", "page_visit", 1, "bob@acme.example", "web=c1"),
            did("3", "page_visit", 2, "web=c1"),
        ]
    )
    report = pulled(database, source)
    assert people(database) == {frozenset({"ada@acme.example", "c1"}), frozenset({"bob@acme.example"})}
    assert (events_of(database, "ada@acme.example"), events_of(database, "bob@acme.example")) == (2, 1)
    assert (report.identity["shared_identifier"], report.identity["merged"]) == (1, 0)


def test_what_an_unknown_visitor_did_is_the_persons_who_turns_out(database: Database) -> None:
    pulled(database, ScriptSource([did("0", "email_open", 0, "ada@acme.example")]))
    pulled(database, ScriptSource([], [did("1", "page_visit", 1, "web=c1", profile={"city": "Lucca"})]))
    survivor, absorbed = person_of(database, "ada@acme.example"), person_of(database, "c1")
    forget_stale(database)
    report = pulled(database, ScriptSource([], [], [did("2", "form_submission", 2, "ada@acme.example", "web=c1")]))
    assert people(database) == {frozenset({"ada@acme.example", "c1"})}
    assert (events_of(database, "c1"), report.identity["merged"]) == (3, 1)
    with database.read() as connection:
        merged = dict(connection.execute(select(schema.person.c.id, schema.person.c.merged_into)).all())
        attribute = connection.execute(select(schema.attribute)).one()
        assert connection.execute(select(schema.stale.c.person_id)).scalars().all() == [survivor]
    assert merged == {survivor: None, absorbed: survivor}
    assert (attribute.person_id, attribute.value) == (survivor, "Lucca")


def test_merge_settles_repeats_and_scanners_anew(database: Database) -> None:
    """Apart, each of two people did what a person does; as one they are a scanner, and a visit repeats another."""
    apart = [
        *visits(0, who="a@x.example"),
        *visits(30, who="b@x.example"),
        did("c1", "email_click", 100, "a@x.example", url="/1"),
        did("c2", "email_click", 101, "b@x.example", url="/2"),
        did("c3", "email_click", 102, "b@x.example", url="/3"),
    ]
    assert pulled(database, ScriptSource(apart)).machine == 0
    report = pulled(database, ScriptSource([], [did("m", "email_open", 500, "a@x.example", "b@x.example")]))
    assert list(log(database)) == [0, 100, 101, 102, 500]
    assert [at for at, (_, machine) in log(database).items() if machine] == [100, 101, 102]
    assert (report.machine, report.cleansed["repeated_visit"], report.events) == (3, 1, 0)


def test_event_that_names_both_addresses_merges_them(database: Database) -> None:
    pulled(
        database, ScriptSource([did("1", "email_open", 0, "old@x.example"), did("2", "email_open", 1, "new@x.example")])
    )
    report = pulled(database, ScriptSource([], [did("3", "email_open", 2, "new@x.example", "old@x.example")]))
    assert people(database) == {frozenset({"old@x.example", "new@x.example"})}
    assert (events_of(database, "old@x.example"), report.identity["merged"]) == (3, 1)


def test_chains_of_merges_stay_flat(database: Database) -> None:
    """c was merged into b, then b into a: c points to a."""
    page = [did(str(n), "email_open", n, who) for n, who in enumerate(["a@x.example", "b@x.example", "c@x.example"])]
    pulled(database, ScriptSource(page))
    pulled(database, ScriptSource([], [did("4", "email_open", 4, "b@x.example", "c@x.example")]))
    pulled(database, ScriptSource([], [], [did("5", "email_open", 5, "b@x.example", "a@x.example")]))
    first = person_of(database, "a@x.example")
    with database.read() as connection:
        merged = connection.execute(select(schema.person.c.merged_into).order_by(schema.person.c.id)).scalars().all()
    assert merged == [None, first, first]
    assert events_of(database, "c@x.example") == 5


def test_people_with_two_crm_records_are_not_merged(database: Database) -> None:
    page = [did("1", "email_open", 0, "a@x.example"), did("2", "email_open", 1, "b@x.example")]
    pulled(database, ScriptSource(page))
    link(database, "a@x.example", "crm", "1")
    link(database, "b@x.example", "crm", "2")
    report = pulled(database, ScriptSource([], [did("3", "email_open", 2, "b@x.example", "a@x.example")]))
    assert (report.identity["link_conflict"], report.identity["merged"]) == (1, 0)
    assert events_of(database, "b@x.example") == 2


def test_crm_record_goes_with_the_merge(database: Database) -> None:
    page = [did("1", "email_open", 0, "a@x.example"), did("2", "email_open", 1, "b@x.example")]
    pulled(database, ScriptSource(page))
    link(database, "a@x.example", "crm", "1")
    link(database, "b@x.example", "other", "2")
    stand(database, "a@x.example", "segment:hot", inside=False, entered=1)
    stand(database, "b@x.example", "segment:hot", inside=True, entered=2)
    stand(database, "b@x.example", "segment:cold", inside=True, entered=1)
    pulled(database, ScriptSource([], [did("3", "email_open", 2, "b@x.example", "a@x.example")]))
    survivor = person_of(database, "b@x.example")
    with database.read() as connection:
        links = connection.execute(select(schema.link.c.person_id, schema.link.c.connection)).all()
        standings = connection.execute(select(schema.standing).order_by(schema.standing.c.rule)).all()
    assert set(links) == {(survivor, "crm"), (survivor, "other")}
    assert [(s.person_id, s.rule, s.inside, s.entered) for s in standings] == [
        (survivor, "segment:cold", True, 1),
        (survivor, "segment:hot", True, 2),
    ]


def test_sixth_address_is_another_person(database: Database) -> None:
    five = [f"{n}@x.example" for n in range(5)]
    page = [did("1", "email_open", 0, *five), did("2", "email_open", 1, "5@x.example", "0@x.example")]
    report = pulled(database, ScriptSource(page))
    assert people(database) == {frozenset(five), frozenset({"5@x.example"})}
    assert report.identity["too_many_emails"] == 1
    assert events_of(database, "5@x.example") == 1


def test_identifiers_of_one_namespace_are_limited(database: Database) -> None:
    page = [did(str(n), "email_open", n, "a@x.example", f"web=c{n}") for n in range(4)]
    report = pulled(database, ScriptSource(page), identity_rules=IdentityRules(max_identifiers=3))
    assert people(database) == {frozenset({"a@x.example", "c0", "c1", "c2"})}
    assert (report.identity["too_many_identifiers"], events_of(database, "a@x.example")) == (1, 4)


def test_blocked_identifiers_link_nobody(database: Database) -> None:
    page = [
        did("1", "email_open", 0, "a@x.example", "web=anonymous"),
        did("2", "email_open", 1, "web=c1", "web=anonymous"),
        did("3", "email_open", 2, "noreply@x.example"),
    ]
    report = pulled(database, ScriptSource(page))
    assert people(database) == {frozenset({"a@x.example"}), frozenset({"c1"})}
    assert (report.cleansed["blocked_identifier"], fates(report)) == (3, (3, 2, 0, 1))


def test_invalid_address_alone_is_quarantined_with_its_reason(database: Database) -> None:
    page = [did("1", "email_open", 0, "ada(at)acme"), did("2", "email_open", 0, "ada(at)acme", "web=c1")]
    report = pulled(database, ScriptSource(page))
    assert (fates(report), report.cleansed["invalid_address"]) == ((2, 1, 0, 1), 2)
    assert "the e-mail address 'ada(at)acme' has no name or no domain around an @" in quarantine(database)[0].reason


def test_newest_statement_wins_in_any_order(database: Database) -> None:
    def says(id_: str, at: float, city: str) -> RawRecord:
        return did(id_, "email_open", at, "a@x.example", profile={"city": city})

    pulled(database, ScriptSource([says("2", 10, "Lucca"), says("1", 0, "Pisa")], [says("3", 20, "  ")]))
    with database.read() as connection:
        assert connection.execute(select(schema.attribute.c.value)).scalar_one() == "Lucca"


def test_person_keys_are_opaque_or_as_given(database: Database) -> None:
    pulled(database, ScriptSource([did("1", "email_open", 0, "a@x.example")]))
    pulled(database, ScriptSource([], [did("2", "email_open", 0, "b@x.example")]), new_key=lambda: "given")
    with database.read() as connection:
        opaque, given = connection.execute(select(schema.person.c.key).order_by(schema.person.c.id)).scalars()
    assert (len(opaque), given) == (20, "given")
    int(opaque, 16)


# Again


def test_replay_applies_a_corrected_table(database: Database) -> None:
    wrong = Classifier(ClassifyRules(page_type={"blog": ("*",)}, clicks_count_as=frozenset({"page_visit"})))
    right = Classifier(ClassifyRules(page_type={"pricing": ("*/pricing",)}))
    pulled(database, ScriptSource(visits(0) + clicks(200)), classifier=wrong)
    assert rows_in(database, schema.event) == 3
    report = replayed(database, classifier=right)
    assert (fates(report), report.events, rows_in(database, schema.event)) == ((2, 2, 0, 0), -1, 2)
    with database.read() as connection:
        held = connection.execute(select(schema.event.c.properties).where(schema.event.c.type == "page_visit"))
        assert json.loads(held.scalar_one())["page_type"] == "pricing"
    assert replayed(database, classifier=right).events == 0
    assert replayed(database, classifier=wrong).events == 1


def test_replay_frees_the_quarantine(database: Database) -> None:
    pulled(database, ScriptSource([did("1", "email_open", 0, "noreply@x.example"), bad("2")]))
    (first, _) = sorted(quarantine(database), key=lambda held: held.id)
    allowed = IdentityRules(defaults=False)
    assert fates(replayed(database, identity_rules=allowed, ids=[first.id])) == (1, 1, 0, 0)
    assert [held.key for held in quarantine(database)] == ["2"]
    assert fates(replayed(database, statuses=[schema.RAW_QUARANTINED])) == (1, 0, 0, 1)


def test_replay_settles_repeats_anew(database: Database) -> None:
    """A click counted as a visit and so hid the person's own, until the table was corrected."""
    pulled(database, ScriptSource(clicks(0) + visits(30, url="https://acme.example/0")), classifier=AS_VISITS)
    assert 30 not in log(database)
    replayed(database, classifier=Classifier())
    assert log(database) == {0: ("email_click", False), 30: ("page_visit", False)}


def test_purged_records_are_known_by_their_events(database: Database) -> None:
    source = ScriptSource([*visits(0, 10), bad("2")])
    pulled(database, source)
    assert purge_raw(database, NOW) == 0
    assert purge_raw(database, NOW + timedelta(seconds=1)) == 2
    with database.write() as connection:
        cursors.forget(connection, "news", "activity")
    assert fates(pulled(database, source)) == (3, 0, 3, 0)


def forget_stale(database: Database) -> None:
    with database.write() as connection:
        connection.execute(schema.stale.delete())


def link(database: Database, email: str, name: str, remote_id: str) -> None:
    values = {
        "person_id": person_of(database, email),
        "connection": name,
        "object": "Lead",
        "remote_id": remote_id,
        "how": "email",
        "at_us": 0,
    }
    with database.write() as connection:
        connection.execute(insert(schema.link).values(values))


def stand(database: Database, email: str, rule: str, *, inside: bool, entered: int) -> None:
    values = {
        "person_id": person_of(database, email),
        "rule": rule,
        "inside": inside,
        "armed": True,
        "entered": entered,
        "since_us": 0,
    }
    with database.write() as connection:
        connection.execute(insert(schema.standing).values(values))
