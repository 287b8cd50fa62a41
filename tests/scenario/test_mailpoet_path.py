"""A MailPoet site through the real host: what counts in the event log, whatever is rewritten and in whatever order."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import select

from syncline.events import Classifier, ClassifyRules
from syncline.people import IdentityRules
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.store import schema
from syncline.store.database import Database
from syncline.sync.pull import PullReport, accept, pull, replay
from syncline.testing.population import EPOCH
from syncline_mailpoet import MailPoetConfig, MailPoetSource
from syncline_mailpoet.simulator import APPLE, MailPoetSimulator

LOGIN = {"host": "127.0.0.1", "user": "root", "password": ""}


@pytest.fixture(params=["SQLite", "MariaDB"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MailPoetSimulator]:
    options = SimulatorOptions(people=60, seed=3, clock=EPOCH, folder=tmp_path / "site")
    if request.param == "SQLite":
        with MailPoetSimulator(options) as simulator:
            yield simulator
        return
    try:
        connection = pymysql.connect(**LOGIN, connect_timeout=2, autocommit=True)
    except pymysql.err.OperationalError:
        pytest.skip("no MariaDB answers on 127.0.0.1:3306 for the user root")
    name = f"mailpoet_path_{secrets.token_hex(6)}"
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
        try:
            with MailPoetSimulator(options, server={**LOGIN, "name": name}) as simulator:
                yield simulator
        finally:
            cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Callable[..., Database]]:
    opened: list[Database] = []

    def make(name: str = "state") -> Database:
        opened.append(Database(f"sqlite:///{tmp_path}/{name}.db"))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def connect(site: MailPoetSimulator) -> MailPoetSource:
    settings = {name: value for name, value in site.settings.items() if name != "plugin"}
    config = MailPoetConfig.model_validate({**settings, "page_size": 20})
    return MailPoetSource(config, Context("blog", Http("blog"), site.now, {}, Path()))


def pulled(database: Database, site: MailPoetSimulator, **more: Any) -> PullReport:
    return pull(database, "blog", connect(site), **{"streams": MailPoetSource.streams, **_settings(site), **more})


def _settings(site: MailPoetSimulator) -> dict[str, Any]:
    return {
        "classifier": Classifier(ClassifyRules()),
        "identity_rules": IdentityRules(),
        "run_id": "run-1",
        "clock": site.now,
    }


def log(database: Database, type_: str, since: datetime | None = None) -> list[tuple[str, bool]]:
    """Who (by any name) did this, and whether a machine did, in the order it happened."""
    known = schema.identifier
    with database.read() as connection:
        names = {
            row.person_id: row.value
            for row in connection.execute(select(known).where(known.c.namespace == "email").order_by(known.c.value))
        }
        rows = connection.execute(
            select(schema.event).where(schema.event.c.type == type_).order_by(schema.event.c.t_us, schema.event.c.id)
        ).all()
    first = since.timestamp() * 1_000_000 if since else 0
    return [(names.get(row.person_id, ""), row.machine) for row in rows if row.t_us >= first]


def counted(database: Database) -> dict[bytes, tuple[str, str]]:
    """Id → type and stream of what no machine did."""
    with database.read() as connection:
        rows = connection.execute(select(schema.event)).all()
    return {bytes(row.id): (row.type, row.source) for row in rows if not row.machine}


# A machine's open becomes a person's


def test_an_open_that_was_a_machines_ends_as_a_persons(site, store):
    database = store()
    site.send("Fresh", "https://www.example.com/fresh")
    who = site.emails[0]
    site.open(who, agent=APPLE)
    sent = site.now()
    pulled(database, site)
    assert log(database, "email_open", sent) == [(who.lower(), True)]
    site.advance(timedelta(days=2))
    site.open(who)
    pulled(database, site)
    assert sorted(log(database, "email_open", sent)) == [(who.lower(), False), (who.lower(), True)]
    report = pulled(database, site)
    assert report.events == 0


@pytest.mark.parametrize("machine_first", [True, False], ids=["in order", "the other way round"])
def test_the_order_in_which_the_verdicts_arrive_does_not_matter(site, store, machine_first):
    """The last word is the person's, also when the host hears of the machine after it, and again at a replay."""
    site.send("Fresh", "https://www.example.com/fresh")
    who = site.emails[0]
    site.open(who, agent=APPLE)
    sent = site.now()
    source = connect(site)
    (before,) = [r for page in source.read("opens", None) for r in page.records if r.payload["newsletter_id"] == 7]
    site.open(who)
    (after,) = [r for page in source.read("opens", None) for r in page.records if r.payload["newsletter_id"] == 7]
    database = store()
    for record in (before, after) if machine_first else (after, before):
        accept(database, "blog", [record], run_id="run-1", clock=site.now)
        pulled(database, site, streams=())
    assert sorted(log(database, "email_open", sent)) == [(who.lower(), False), (who.lower(), True)]
    settings = {name: value for name, value in _settings(site).items() if name != "run_id"}
    replay(database, "blog", connect(site), **settings)
    assert sorted(log(database, "email_open", sent)) == [(who.lower(), False), (who.lower(), True)]


# A click by webhook and by SQL


@pytest.mark.parametrize("webhook_first", [True, False], ids=["webhook first", "SQL first"])
def test_a_click_that_comes_both_ways_is_one(site, store, webhook_first):
    database, source, sent = store(), connect(site), site.now()
    requests = [site.webhook(site.click(site.emails[0])) for _ in range(2)]

    def told() -> None:
        for request in requests:
            accept(database, "blog", source.receive(request), run_id="run-1", clock=site.now)

    told() if webhook_first else pulled(database, site)
    pulled(database, site)
    told()
    report = pulled(database, site)
    assert log(database, "email_click", sent) == [(site.emails[0].lower(), False)] * 2
    assert report.events == 0


# Twenty pulls and one


def test_twenty_pulls_leave_what_one_full_pull_leaves(site, store):
    """Everything that counts, by id; what a machine did before the person came counts in neither."""
    many, once = store("many"), store("once")
    people = iter(site.emails[:])
    for number in range(20):
        site.advance(timedelta(hours=number % 3))
        first, second = site.emails[0], site.emails[1]
        site.open(first, -1 - number % 4, agent=APPLE)
        site.click(second, -1 - number % 3, held=number % 5 == 0)
        if number % 2:
            site.open(first, -1 - number % 4)
        pulled(many, site)
        site.advance(timedelta(minutes=3))
        site.release()
        if number % 6 == 5:
            site.delete_subscriber(next(people))
        if number % 6 == 2:
            site.unsubscribe(next(people))
    pulled(many, site)
    pulled(once, site)
    seen, full = counted(many), counted(once)
    assert full.items() <= seen.items()
    more = {source for id_, (_, source) in seen.items() if id_ not in full}
    assert more <= {"blog/subscribers", "blog/lists"}, "earlier states, and those of people who were deleted since"
    assert pulled(many, site).events == 0


# In the embedded world


def test_a_simulated_site_needs_nothing_but_python(make_world):
    world = make_world(
        ("  website: {plugin: files", "  blog: {plugin: mailpoet, simulated: true}\n  website: {plugin: files")
    )
    host = world.host()
    first = host.pull("blog")
    report = first.sources["blog"]
    assert report.read == report.stored > 100
    assert report.quarantined == 0
    assert host.pull("blog").sources["blog"].stored == 0
