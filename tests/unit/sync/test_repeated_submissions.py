"""A form that is sent again within five minutes is one: the host's own rule, whatever the order of arrival."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from syncline.events import Classifier, Visit, repeats, submission_of
from syncline.model import Account, Event, Identifier, RawRecord, event_id, from_microseconds
from syncline.people import IdentityRules
from syncline.sdk import ConnectorConfig, Source
from syncline.store import schema
from syncline.store.database import Database
from syncline.sync.pull import PullReport, accept, pull, replay

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
MINUTE = 60
SAID = {"form_id": "f1", "page_id": "p1", "fields": {"email": "ada@x.example", "note": "hello"}}


class FormSource(Source[ConnectorConfig]):
    """Forms that somebody sent; nothing is polled."""

    kind = "form"
    config_model = ConnectorConfig
    streams = ()

    def check(self) -> Account:
        return Account("1", "form", {})

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        said = raw.payload
        moment = NOW + timedelta(seconds=said["at"])
        who = tuple(Identifier("email", name) for name in said["who"])
        yield Event(event_id("form", raw.key), "form_submission", moment, who, said["did"])


def sent(key: str, at: float, who: Sequence[str] = ("ada@x.example",), **did: Any) -> RawRecord:
    return RawRecord("forms", key, {"at": at, "who": list(who), "did": {**SAID, **did}})


@pytest.fixture
def store(tmp_path: Any) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


def settled(store: Database, *records: RawRecord) -> PullReport:
    accept(store, "forms", records, run_id="hook", clock=lambda: NOW)
    keys = (f"key {number}" for number in itertools.count(1))
    return pull(
        store,
        "forms",
        FormSource(ConnectorConfig(), None),  # type: ignore[arg-type]  # it asks for no context
        streams=[],
        classifier=Classifier(),
        identity_rules=IdentityRules(),
        run_id="run",
        clock=lambda: NOW,
        new_key=lambda: f"{next(keys)} {id(keys)} {len(people(store))}",
    )


def people(store: Database) -> list[int]:
    with store.read() as connection:
        return list(connection.scalars(select(schema.person.c.id)))


def seconds(store: Database, table: Any = schema.event) -> list[float]:
    with store.read() as connection:
        times = connection.scalars(select(table.c.t_us)).all()
    return sorted((from_microseconds(t) - NOW).total_seconds() for t in times)


def test_the_same_form_with_the_same_values_within_five_minutes_is_one(store: Database) -> None:
    report = settled(store, sent("1", -900), sent("2", -900 + 4 * MINUTE), sent("3", -900 + 5 * MINUTE))
    assert seconds(store) == [-900, -600]
    assert seconds(store, schema.suppressed) == [-660]
    assert (report.cleansed["repeated_submission"], report.events) == (1, 2)
    assert report.cleansed["repeated_visit"] == 0


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"fields": {"email": "ada@x.example", "note": "and another thing"}}, id="other values"),
        pytest.param({"form_id": "f2"}, id="another form"),
        pytest.param({"page_id": "p2"}, id="another page"),
    ],
)
def test_something_else_that_was_sent_counts(store: Database, other: dict[str, Any]) -> None:
    settled(store, sent("1", -60), sent("2", -30, **other))
    assert len(seconds(store)) == 2


@pytest.mark.parametrize(
    "unknown",
    [pytest.param({"fields": None}, id="values"), pytest.param({"form_id": None, "page_id": None}, id="form and page")],
)
def test_what_cannot_be_compared_repeats_nothing(store: Database, unknown: dict[str, Any]) -> None:
    settled(store, sent("1", -60, **unknown), sent("2", -30, **unknown))
    assert len(seconds(store)) == 2


def test_people_do_not_repeat_each_other(store: Database) -> None:
    settled(store, sent("1", -60), sent("2", -30, ["bo@x.example"]))
    assert len(seconds(store)) == 2


def test_an_earlier_one_that_arrives_late_decides_anew(store: Database) -> None:
    settled(store, sent("2", -500))
    assert seconds(store) == [-500]
    report = settled(store, sent("1", -700))
    assert seconds(store) == [-700]
    assert seconds(store, schema.suppressed) == [-500]
    assert (report.events, report.cleansed["repeated_submission"]) == (0, 1)
    report = settled(store, sent("0", -900))
    assert seconds(store) == [-900, -500], "the one before the last is a repeat now, so the last no longer is"
    assert (report.events, report.cleansed["repeated_submission"]) == (1, 0)


def test_two_who_turn_out_to_be_one_have_sent_it_once(store: Database) -> None:
    settled(store, sent("1", -60), sent("2", -30, ["ada@y.example"]))
    assert len(seconds(store)) == 2
    settled(store, sent("3", -10, ["ada@x.example", "ada@y.example"], form_id="f9"))
    assert seconds(store) == [-60, -10]


def test_a_replay_judges_again(store: Database) -> None:
    settled(store, sent("1", -60), sent("2", -30))
    source: Any = FormSource(ConnectorConfig(), None)  # type: ignore[arg-type]  # it asks for no context
    replay(store, "forms", source, classifier=Classifier(), identity_rules=IdentityRules(), clock=lambda: NOW)
    assert (seconds(store), seconds(store, schema.suppressed)) == ([-60], [-30])


def test_values_are_compared_whatever_their_order() -> None:
    turned = {"fields": dict(reversed(SAID["fields"].items())), "page_id": "p1", "form_id": "f1"}  # type: ignore[attr-defined]  # it is a dict
    assert submission_of(turned) == submission_of(SAID)
    assert submission_of({**SAID, "variant": "b", "form_type": "demo"}) == submission_of(SAID)
    assert submission_of({"form_id": "f1", "fields": {}}) is None


def test_five_minutes_are_just_not_a_repeat() -> None:
    visits = [Visit(0, b"1"), Visit(299_999_999, b"2"), Visit(300_000_000, b"3")]
    assert repeats(visits, within_us=300_000_000) == {b"2"}


HISTORIES = st.lists(
    st.tuples(st.integers(-40, 0), st.sampled_from(["ada", "bo"]), st.sampled_from(["f1", "f2"])),
    min_size=2,
    max_size=10,
    unique=True,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(history=HISTORIES, chance=st.randoms())
def test_the_order_of_arrival_does_not_matter(history: list[tuple[int, str, str]], chance: Any) -> None:
    records = [sent(f"{at} {who} {form}", at * MINUTE, [f"{who}@x.example"], form_id=form) for at, who, form in history]
    shuffled = chance.sample(records, len(records))
    assert _outcome([records]) == _outcome([[record] for record in shuffled])


def _outcome(pages: list[list[RawRecord]]) -> tuple[set[bytes], set[bytes]]:
    with TemporaryDirectory() as folder:
        store = Database(f"sqlite:///{folder}/state.db")
        for page in pages:
            settled(store, *page)
        with store.read() as connection:
            found = [set(connection.scalars(select(table.c.id))) for table in (schema.event, schema.suppressed)]
        store.close()
    return found[0], found[1]
