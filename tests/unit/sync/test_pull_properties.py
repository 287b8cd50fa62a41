"""What holds for any input: counts add up, and the order of arrival does not matter."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from syncline.errors import RecordError
from syncline.events import Classifier, ClassifyRules
from syncline.model import Account, Event, Identifier, Page, RawRecord, event_id
from syncline.people import IdentityRules
from syncline.sdk import ConnectorConfig, Source
from syncline.store import schema
from syncline.store.database import Database
from syncline.sync.ingest import Ingest
from syncline.sync.pull import PullReport, pull

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
CLASSIFIER = Classifier(ClassifyRules(page_type={"pricing": ("*pricing*",)}, clicks_count_as=frozenset({"page_visit"})))


class ListSource(Source[ConnectorConfig]):
    """Pages of records; a record is a list of events, or a text that says what is wrong with it."""

    kind = "list"
    config_model = ConnectorConfig
    streams = ("activity",)

    def __init__(self, pages: Sequence[Sequence[RawRecord]]) -> None:
        self.pages = pages

    def check(self) -> Account:
        return Account("1", "list", {})

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        for number, page in enumerate(self.pages[int(cursor or 0) :], int(cursor or 0) + 1):
            yield Page(page, str(number))

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        if isinstance(raw.payload["said"], str):
            raise RecordError(raw.payload["said"])
        for id_, type_, at, who, properties, profile in raw.payload["said"]:
            identifiers = tuple(Identifier(namespace, value) for namespace, value in who)
            moment = NOW + timedelta(seconds=at)
            yield Event(event_id("list", id_), type_, moment, identifiers, properties, profile)


def pulled(database: Database, source: ListSource, report: PullReport | None = None) -> PullReport:
    numbers = itertools.count(1)
    return pull(
        database,
        "news",
        source,
        streams=["activity"],
        classifier=CLASSIFIER,
        identity_rules=IdentityRules(),
        run_id="run-1",
        clock=lambda: NOW,
        report=report,
        new_key=lambda: f"key {next(numbers)} of {random.random()}",
    )


class Crash(BaseException):
    """The process is gone."""


# Counts

events = st.tuples(
    st.integers(0, 12).map(str),
    st.sampled_from(["email_open", "page_visit", "email_click", "email_opened"]),
    st.integers(-100, 100),
    st.lists(st.tuples(st.just("email"), st.sampled_from(["a@x.example", "b@x.example", "bad"])), max_size=2),
    st.just({"url": "https://x.example/"}),
    st.just({}),
)
payloads = st.one_of(st.lists(events, max_size=3), st.just("it has no date"))
records = st.builds(
    lambda key, said: RawRecord("activity", str(key), {"said": json.loads(json.dumps(said))}),
    st.integers(0, 5),
    payloads,
)
pages = st.lists(st.lists(records, max_size=5), max_size=6)


@settings(deadline=None, max_examples=60)
@given(pages=pages, crashes=st.lists(st.integers(0, 8), max_size=3))
def test_counts_add_up_whatever_comes_and_whenever_it_crashes(pages: list[list[RawRecord]], crashes: list[int]) -> None:
    """Crashes strike between the two transactions of a page, counted in settled pages; the next pull goes on."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        database = Database(f"sqlite:///{folder}/state.db")
        settle, calls = Ingest.settle, itertools.count()

        def crashing(self: Ingest, *arguments: Any, **named: Any) -> Any:
            if next(calls) in crashes:
                raise Crash
            return settle(self, *arguments, **named)

        patch.setattr(Ingest, "settle", crashing)
        reports = _until_done(database, ListSource(pages))
        read = sum(len(page) for page in pages)
        assert sum(r.read for r in reports) == read
        assert sum(r.stored + r.duplicate + r.quarantined for r in reports) == read
        _check_against_store(database, reports)
        database.close()


def _until_done(database: Database, source: ListSource) -> list[PullReport]:
    reports = []
    while True:
        reports.append(PullReport("news"))
        try:
            pulled(database, source, reports[-1])
        except Crash:
            continue
        return reports


def _check_against_store(database: Database, reports: Sequence[PullReport]) -> None:
    with database.read() as connection:
        by_status = dict(
            connection.execute(select(schema.raw.c.status, func.count()).group_by(schema.raw.c.status)).all()
        )
        logged = connection.execute(select(func.count()).select_from(schema.event)).scalar_one()
    assert schema.RAW_NEW not in by_status
    assert by_status.get(schema.RAW_QUARANTINED, 0) == sum(r.quarantined for r in reports)
    assert by_status.get(schema.RAW_DONE, 0) <= sum(r.stored + r.duplicate for r in reports)
    assert logged == sum(r.events for r in reports)


# Order

PEOPLE = 2
SECONDS = st.integers(0, 40).map(lambda n: n * 3)  # dense: visits repeat, clicks burst


@st.composite
def histories(draw: st.DrawFn) -> list[list[Any]]:
    """Events of people with a cookie, a vendor id and two addresses each, which one event declares to be one's."""
    found = []
    for number in range(draw(st.integers(4, 30))):
        who = draw(st.integers(0, PEOPLE - 1))
        names = [("email", f"p{who}@x.example"), ("email", f"p{who}@y.example"), ("web", f"c{who}"), ("crm", f"v{who}")]
        named = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        type_ = draw(st.sampled_from(["page_visit", "email_click", "email_click", "email_open"]))
        url = f"https://x.example/{draw(st.sampled_from(['pricing', 'pricing/2', 'a']))}"
        profile = {"city": draw(st.sampled_from(["Lucca", "Pisa", ""]))}
        properties = {} if type_ == "email_open" else {"url": url}
        found.append([str(number), type_, draw(SECONDS), named, properties, profile])
    aliases = [
        [f"alias {who}", "form_submission", 0, [("email", f"p{who}@x.example"), ("email", f"p{who}@y.example")], {}, {}]
        for who in range(PEOPLE)
    ]
    return found + aliases


@settings(deadline=None, max_examples=80)
@given(history=histories(), seed=st.integers(0, 10_000))
def test_order_of_arrival_does_not_matter(history: list[list[Any]], seed: int) -> None:
    """The same log, people and attributes: repeats, scanners and merges are decided by event time alone."""
    chance = random.Random(seed)
    shuffled = chance.sample(history, len(history)) + chance.sample(history, len(history) // 3)  # some come twice
    assert _outcome(shuffled, chance.choice([1, 2, 5, 50])) == _outcome(history, 100)


def _outcome(history: Sequence[Any], size: int) -> dict[str, Any]:
    records = [RawRecord("activity", str(n), {"said": [said]}) for n, said in enumerate(history)]
    pages = [records[start : start + size] for start in range(0, len(records), size)]
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder)}/state.db")
        pulled(database, ListSource(pages))
        outcome = _snapshot(database)
        database.close()
    return outcome


def _snapshot(database: Database) -> dict[str, Any]:
    """All that is known, with people named by their identifiers."""
    with database.read() as connection:
        found: defaultdict[int, set[tuple[str, str, int]]] = defaultdict(set)
        for row in connection.execute(select(schema.identifier)):
            found[row.person_id].add((row.namespace, row.value, row.first_us))
        who = {person: tuple(sorted(names)) for person, names in found.items()}
        living = connection.execute(select(schema.person.c.id).where(schema.person.c.merged_into.is_(None)))
        return {
            "living": {who[person] for person in living.scalars()},
            "stale": {who[person] for person in connection.execute(select(schema.stale.c.person_id)).scalars()},
            **{table.name: _rows(connection, table, who) for table in (schema.event, schema.suppressed)},
            "attributes": {(who[row.person_id], *row[1:]) for row in connection.execute(select(schema.attribute))},
        }


def _rows(connection: Any, table: Any, who: dict[int, Any]) -> set[tuple[Any, ...]]:
    return {(who[row.person_id], row.id, *row[2:]) for row in connection.execute(select(table))}
