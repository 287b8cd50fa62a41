"""What a real MailPoet recorded, loaded into a real MariaDB and read through the connector, file by file.

MailPoet 5.35.0 on WordPress 6.9.7 (see PROVENANCE.md beside the recordings; they stay outside the repository).
`VERDICTS` says of every file what becomes of what is in it, so that a new file, or a changed reading, shows.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pymysql
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from syncline.model import Event
from syncline.sdk import Context, Http
from syncline.testing.population import simulated_now
from syncline_mailpoet import MailPoetConfig, MailPoetSource
from syncline_mailpoet.simulator.site import MailPoetSite

SHARED = Path(__file__).parents[3] / "shared"
RECORDED = SHARED / "recorded" / "mailpoet"
SHEET_SCHEMA = SHARED / "vendors" / "mailpoet_schema.sql"
LOGIN = {"host": "127.0.0.1", "user": "root", "password": ""}
PREFIX = "wp_mailpoet_"

pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded MailPoet (shared/recorded/mailpoet) is not here"
)

# What can become of what is in a file
OPEN, CLICK, NOTHING = "open written as recorded", "click written as recorded", "refused: no data, no row"
LINK = "tracking address read"
UNUSED = "read by nobody: this connector reads tables"

VERDICTS: dict[str, dict[str, int]] = {
    "mailpoet_email_sample.json": {LINK: 5},
    "mailpoet_php_api.json": {UNUSED: 50},
    "mailpoet_rest.json": {UNUSED: 28},
    "mailpoet_rows.sql": {
        "subscribers: consent_change": 27,
        "lists: consent_change": 25,
        "lists: form_submission": 25,  # they came by the API
        "lists: nothing": 1,  # WordPress's own list of its users
        "unsubscribes: email_unsubscribe": 1,
        "unsubscribes: consent_change": 1,
        "opens: email_open": 34,
        "opens: email_open by a machine": 4,
        "clicks: email_click": 25,
        "clicks: nothing": 2,  # on the link that unsubscribes
    },
    "mailpoet_schema.sql": {"table made": 18},
    "mailpoet_tracking.json": {OPEN: 51, CLICK: 27, NOTHING: 1},
}

COLUMNS_SINCE = {"reason", "tracking_consent", "segments_count"}
"""Some of what 5.35 has and 5.17 has not."""


def test_every_recording_has_a_verdict():
    found = {path.name for path in RECORDED.iterdir() if path.suffix in (".json", ".sql")}
    assert found == set(VERDICTS)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The sheet's tables, those of the recording in their place, and the recorded rows."""
    try:
        connection = pymysql.connect(**LOGIN, connect_timeout=2, autocommit=True)
    except pymysql.err.OperationalError:
        pytest.skip("no MariaDB answers on 127.0.0.1:3306 for the user root")
    name = f"mailpoet_recorded_{secrets.token_hex(6)}"
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
        try:
            cursor.execute(f"USE {name}")
            _load(cursor)
            yield name
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def _load(cursor: Any) -> None:
    for statement in _statements(SHEET_SCHEMA):
        cursor.execute(statement)
    for statement in _statements(RECORDED / "mailpoet_schema.sql"):
        if table := _made(statement):
            cursor.execute(f"DROP TABLE IF EXISTS `{table}`")
        cursor.execute(statement)
    cursor.execute("SET time_zone = '+00:00'")
    cursor.execute("SET NAMES utf8mb4")
    for statement in _statements(RECORDED / "mailpoet_rows.sql"):
        cursor.execute(statement)


def _statements(path: Path) -> Iterator[str]:
    """A dump's statements; those in comments are for the client that made it."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith(("/*", "--"))]
    yield from (statement for statement in "\n".join(lines).split(";\n") if statement.strip(" \n;"))


def _made(statement: str) -> str | None:
    words = statement.split("`")
    return words[1] if statement.lstrip().startswith("CREATE TABLE") else None


def _source(database: str) -> MailPoetSource:
    config = MailPoetConfig.model_validate({**LOGIN, "site": "recorded.example", "name": database, "page_size": 7})
    clock = lambda: simulated_now() + timedelta(days=300)  # noqa: E731  # after the recording
    return MailPoetSource(config, Context("recorded", Http("recorded"), clock, {}, Path()))


def _read(database: str) -> list[tuple[str, tuple[Event, ...]]]:
    source = _source(database)
    return [
        (stream, tuple(source.normalize(record)))
        for stream in source.streams
        for page in source.read(stream, None)
        for record in page.records
    ]


def test_the_recorded_rows(database):
    outcomes: Counter[str] = Counter()
    for stream, events in _read(database):
        outcomes.update(
            f"{stream}: {event.type}{' by a machine' if event.properties.get('machine') else ''}" for event in events
        )
        outcomes.update([f"{stream}: nothing"] if not events else [])
    assert dict(outcomes) == VERDICTS["mailpoet_rows.sql"]


def test_the_recorded_tables(database):
    made = [_made(statement) for statement in _statements(RECORDED / "mailpoet_schema.sql")]
    assert {"table made": len([name for name in made if name])} == VERDICTS["mailpoet_schema.sql"]
    account = _source(database).check()
    assert account.details["server"].startswith("10.")


def test_recorded_times_are_utc_whatever_the_servers_zone(database):
    """The newsletters were sent at 23:01:45 UTC, and nobody clicked before."""
    clicks = [event for _, events in _read(database) for event in events if event.type == "email_click"]
    assert min(event.occurred_at for event in clicks).isoformat() == "2026-11-21T23:02:12+00:00"


def test_a_recorded_click_is_told_in_full(database):
    clicks = [event for _, events in _read(database) for event in events if event.type == "email_click"]
    first = min(clicks, key=lambda event: (event.occurred_at, event.identifiers))
    assert first.properties == {
        "campaign_id": "1",
        "campaign": "Spring webinar",
        "url": "https://example.com/pricing",
        "machine": False,
    }
    assert [(i.namespace, i.value) for i in first.identifiers] == [
        ("email", "lead01@example.com"),
        ("mailpoet:recorded.example", "2"),
    ]


def test_recorded_requests_make_the_recorded_rows(database):
    """The simulator's rules against the real plugin: its requests in, its rows out."""
    site = MailPoetSite("wp_")
    engine = create_engine(URL.create("mysql+pymysql", LOGIN["user"], host=LOGIN["host"], database=database))
    with engine.connect() as connection:
        site.load(connection)
    engine.dispose()
    recorded = {name: _shown(site, name) for name in ("statistics_opens", "statistics_clicks")}
    written = MailPoetSite("wp_")
    kept = [name for name in site.tables if not name.startswith("statistics_") and name != "user_agents"]
    for name in kept:
        for row in site.tables[name]:
            written.tables[name].add(row)
    outcomes = Counter(_happens(written, exchange) for exchange in json.loads(_text("mailpoet_tracking.json")))
    assert {name: _shown(written, name) for name in recorded} == recorded
    assert dict(outcomes) == VERDICTS["mailpoet_tracking.json"]


def _shown(site: MailPoetSite, table: str) -> list[dict[str, Any]]:
    """Rows as they say who did what, without times."""
    agents = {row["id"]: row["user_agent"] for row in site.tables["user_agents"]}
    rows = [
        {name: value for name, value in row.items() if name not in ("id", "created_at", "updated_at", "user_agent_id")}
        | {"agent": agents.get(row["user_agent_id"])}
        for row in site.tables[table]
    ]
    return sorted(rows, key=json.dumps)


def _happens(site: MailPoetSite, exchange: dict[str, Any]) -> str:
    request = exchange["request"]
    data = _data(request["url"])
    if data is None:
        assert exchange["response"]["status"] == 404
        return NOTHING
    subscriber, _token, queue, mark, _preview = data
    person = site.tables["subscribers"][int(subscriber)]
    newsletter = site.tables["newsletters"][site.tables["sending_queues"][int(queue)]["newsletter_id"]]
    agent, now = request["headers"].get("User-Agent", ""), simulated_now()
    if exchange["kind"] == "open":
        site.open(person, newsletter, now, agent)
        return OPEN
    url = next(row["url"] for row in site.tables["newsletter_links"] if row["hash"] == mark)
    site.click(person, newsletter, url, now, agent)
    return CLICK


def _data(url: str) -> list[Any] | None:
    """What a tracking address says: base64 of a JSON array, its '=' stripped (sheet, §3)."""
    (text,) = parse_qs(urlsplit(url).query)["data"]
    try:
        found: list[Any] = json.loads(base64.b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return None
    return found


def test_the_recorded_mail():
    addresses = json.loads(_text("mailpoet_email_sample.json"))["tracking_urls"]
    told = [_data(address) for address in addresses]
    assert all(data is not None and len(data) == 5 and data[0] == "2" for data in told)
    assert {LINK: len(told)} == VERDICTS["mailpoet_email_sample.json"]


@pytest.mark.parametrize("name", ["mailpoet_php_api.json", "mailpoet_rest.json"])
def test_interfaces_that_are_not_used_have_no_opens_and_no_clicks(name):
    """Why this connector reads tables: neither of the two tells what people did (sheet, §1)."""
    exchanges = json.loads(_text(name))
    assert {UNUSED: len(exchanges)} == VERDICTS[name]
    asked = " ".join(json.dumps(e.get("call") or e["request"]["path"]) for e in exchanges)
    assert "open" not in asked.lower()
    assert "click" not in asked.lower()


def test_the_recording_is_of_a_newer_mailpoet_than_the_sheets():
    theirs, ours = _text("mailpoet_schema.sql"), SHEET_SCHEMA.read_text("utf-8")
    assert all(f"`{column}`" in theirs for column in COLUMNS_SINCE)
    assert not any(f"`{column}`" in ours for column in COLUMNS_SINCE)


def _text(name: str) -> str:
    return (RECORDED / name).read_text("utf-8")
