"""The simulated site does what the vendor sheet (§3) saw the real plugin do, and keeps it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH, population
from syncline_mailpoet.simulator import APPLE, BROWSER, UNSUBSCRIBE, MailPoetSimulator
from syncline_mailpoet.simulator.schema import TABLES

from .conftest import administrator

SHEET = Path(__file__).parents[4] / "shared" / "vendors" / "mailpoet_schema.sql"


@pytest.fixture
def site(simulate):
    simulator = simulate()
    simulator.send("Fresh", "https://www.example.com/a", "https://www.example.com/b")
    return simulator


def _person(site, email):
    return site.site.person(email)


# Opens and clicks


def test_only_the_first_open_leaves_a_row(site):
    who = site.emails[0]
    first = dict(site.open(who))
    site.advance(timedelta(hours=1))
    assert site.open(who) == first


def test_a_persons_open_is_written_over_a_machines_and_never_back(site):
    who = site.emails[0]
    row = site.open(who, agent=APPLE)
    assert row["user_agent_type"] == 1
    made = row["created_at"]
    site.advance(timedelta(hours=1))
    site.open(who, agent=BROWSER)
    assert (row["user_agent_type"], row["created_at"]) == (0, made)
    site.open(who, agent=APPLE)
    assert row["user_agent_type"] == 0


def test_no_agent_at_all_is_a_persons(site):
    row = site.open(site.emails[0], agent="")
    assert (row["user_agent_id"], row["user_agent_type"]) == (None, 0)


@pytest.mark.parametrize("agent", ["Mozilla/5.0 ", "Mozilla/5.0 (compatible; BarracudaCentral)"])
def test_only_that_one_agent_is_a_machine(site, agent):
    assert site.open(site.emails[0], agent=agent)["user_agent_type"] == 0


def test_clicks_are_counted_in_one_row_and_open_the_mail(site):
    who = site.emails[0]
    opens = len(site.site.tables["statistics_opens"])
    first = site.click(who)
    made = first["created_at"]
    site.advance(timedelta(minutes=5))
    again = site.click(who)
    assert again is first
    assert (again["count"], again["created_at"]) == (2, made)
    assert again["updated_at"] > made
    assert len(site.site.tables["statistics_opens"]) == opens + 1


def test_each_link_has_a_row_of_its_own(site):
    who, urls = site.emails[0], site.site.links(site.newsletter())
    assert len({site.click(who, url=url)["id"] for url in (*urls, UNSUBSCRIBE)}) == 3


def test_engagement_moves_once_a_minute(site):
    who = site.emails[0]
    site.open(who)
    first = _person(site, who)["last_open_at"]
    site.advance(timedelta(seconds=59))
    site.open(who)
    assert _person(site, who)["last_open_at"] == first
    site.advance(timedelta(seconds=1))
    site.open(who)
    assert _person(site, who)["last_open_at"] > first


def test_who_was_inactive_is_subscribed_again_when_she_opens(site):
    who = site.emails[0]
    site.change(who, status="inactive")
    site.advance(timedelta(hours=1))
    site.open(who)
    assert _person(site, who)["status"] == "subscribed"


# Leaving, forms, deleting


def test_leaving_is_a_row_a_mail_and_ends_every_membership(site):
    who = site.emails[0]
    row = site.unsubscribe(who, method="one_click")
    site.resubscribe(who)
    assert site.unsubscribe(who) is row, "unique per queue, newsletter and subscriber"
    assert site.unsubscribe(who, None, source="admin") is not row
    mine = [m for m in site.site.tables["subscriber_segment"] if m["subscriber_id"] == _person(site, who)["id"]]
    assert {m["status"] for m in mine} == {"unsubscribed"}


def test_a_click_on_the_link_that_unsubscribes_unsubscribes_nobody(site):
    who = site.emails[0]
    site.click(who, url=UNSUBSCRIBE)
    assert _person(site, who)["status"] == "subscribed"


def test_a_second_submission_leaves_no_row(site):
    who = site.emails[0]
    assert site.submit_form(who, 2) is site.submit_form(who, 2)


def test_deleting_leaves_orphans(site):
    who = site.emails[0]
    number = site.click(who)["subscriber_id"]
    site.delete_subscriber(who)
    left = {name: sum(row.get("subscriber_id") == number for row in shelf) for name, shelf in site.site.tables.items()}
    assert left["statistics_clicks"]
    assert left["statistics_opens"]
    assert left["subscriber_segment"] == 0
    assert number not in site.site.tables["subscribers"]


def test_erasing_rewrites_the_person(site):
    who = site.emails[0]
    row = _person(site, who)
    site.erase(who)
    assert row["email"].startswith("deleted-")
    assert row["email"].endswith("@site.invalid")
    assert (row["first_name"], row["status"], row["subscribed_ip"]) == ("Anonymous", "unsubscribed", ".".join("0000"))


def test_addresses_are_kept_as_typed_and_unique_in_any_case(site):
    site.subscribe("Grace.Hopper@Acme.example")
    assert site.site.person("grace.hopper@acme.EXAMPLE")["email"] == "Grace.Hopper@Acme.example"
    with pytest.raises(ValueError, match="subscribed already"):
        site.subscribe("GRACE.HOPPER@acme.example")


# As a vendor


def test_everybody_on_the_site_is_of_the_shared_population(simulate):
    simulator = simulate(people=200)
    known = {person.email for person in population(200, 3)}
    there = {email.lower() for email in simulator.emails}
    assert there < known
    assert 0.4 < len(there) / len(known) < 0.7


def test_seeded_facts_lie_in_the_ninety_days_before_the_present(simulate):
    simulator = simulate(people=300)
    present = simulator.now()
    tables = simulator.site.tables
    times = [row["created_at"] for name in ("statistics_opens", "statistics_clicks") for row in tables[name]]
    assert (present - timedelta(days=90)).strftime("%Y-%m-%d") <= min(times)
    assert max(times) <= present.strftime("%Y-%m-%d %H:%M:%S")
    assert Counter(row["user_agent_type"] for row in tables["statistics_opens"]).keys() == {0, 1}


def test_the_same_options_make_the_same_site(simulate):
    one, other = simulate(), simulate()
    assert [list(s) for s in one.site.tables.values()] == [list(s) for s in other.site.tables.values()]


def test_what_happened_is_there_after_a_restart(tmp_path, server):
    options = SimulatorOptions(people=20, seed=3, clock=EPOCH, folder=tmp_path)
    with MailPoetSimulator(options, server=server) as simulator:
        who = simulator.emails[0]
        simulator.click(who)
        before = {name: list(shelf) for name, shelf in simulator.site.tables.items()}
    with MailPoetSimulator(options, server=server) as simulator:
        assert {name: list(shelf) for name, shelf in simulator.site.tables.items()} == before
        assert simulator.click(who)["count"] == 2


def test_without_a_folder_nothing_stays():
    with MailPoetSimulator(SimulatorOptions(people=5)) as simulator:
        file = Path(simulator.settings["file"])
        assert file.is_file()
        assert simulator.counters() == {"calls": 0, "write_calls": 0}
    assert not file.exists()
    with pytest.raises(RuntimeError, match="not started"):
        _ = simulator.settings


def test_faults_of_http_are_refused():
    with pytest.raises(ValueError, match="break_reading"):
        MailPoetSimulator(SimulatorOptions(faults={"faults": [{"kind": "too_many"}]}))


@pytest.mark.skipif(not SHEET.is_file(), reason="the vendor sheet's schema (shared/vendors) is not here")
def test_the_tables_are_those_of_the_vendor(simulate, mariadb):
    """Column by column, as a real server describes the sheet's DDL and ours."""
    simulate(mariadb, people=0)
    with administrator() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {mariadb['name']}")
        lines = [line for line in SHEET.read_text("utf-8").splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).replace("wp_mailpoet_", "sheet_").split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        for name in TABLES:
            described = []
            for table in (f"wp_mailpoet_{name}", f"sheet_{name}"):
                cursor.execute(f"SHOW COLUMNS FROM {table}")
                # All but the keys: of those only some are made.
                described.append(
                    [(field, kind, null, default, extra) for field, kind, null, _, default, extra in cursor]
                )
            assert described[0] == described[1], name
