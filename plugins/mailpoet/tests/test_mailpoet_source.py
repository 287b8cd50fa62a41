"""The source against the simulated site, in a file and in a real MariaDB."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy.exc import DBAPIError

from syncline.errors import ConfigError, CursorExpiredError, RecordError, SchemaDriftError
from syncline_mailpoet import MailPoetSource, client, statements
from syncline_mailpoet.simulator import APPLE, UNSUBSCRIBE

from .conftest import administrator

BY_ID = ("unsubscribes", "bounces", "forms", "opens")


def _machine(event):
    return event.properties.get("machine")


# Everything there is


def test_check_names_the_site(simulate, connect, server):
    account = connect(simulate(server, people=5)).check()
    assert (account.id, account.name) == ("blog.example", "MailPoet on blog.example")
    assert account.details["prefix"] == "wp_"
    assert (account.server_time is None) is (server is None), "a file has no clock"


def test_every_row_is_one_record(simulate, connect, pull, server):
    simulator = simulate(server)
    simulator.bounce(simulator.emails[0])
    tables = {stream: statements.STREAMS[stream].name for stream in MailPoetSource.streams}
    for page_size in (7, 5_000):
        source = connect(simulator, page_size=page_size)
        for stream, table in tables.items():
            records, _ = pull(source, stream)
            assert Counter(r.payload["id"] for r in records) == Counter(
                row["id"] for row in simulator.site.tables[table]
            )


def test_both_databases_give_the_same_events(simulate, connect, pull, events, mariadb):
    """The demo's file stands for the real thing."""
    real, file = connect(simulate(mariadb)), connect(simulate())
    for stream in MailPoetSource.streams:
        assert events(real, pull(real, stream)[0]) == events(file, pull(file, stream)[0])


@pytest.mark.parametrize("stream", MailPoetSource.streams)
def test_a_second_read_finds_nothing_new(simulate, connect, pull, server, stream):
    source = connect(simulate(server))
    _, cursor = pull(source, stream)
    again, same = pull(source, stream, cursor)
    assert (again, same) == ([], cursor)


def test_an_unknown_stream_names_those_there_are(simulate, connect):
    with pytest.raises(ConfigError, match="did you mean 'opens'"):
        connect(simulate(people=5)).read("open", None)


@pytest.mark.parametrize("stream", ["opens", "clicks"])
@pytest.mark.parametrize(
    "cursor",
    ["{", '{"version":2,"of":"blog.example/wp_"}', '{"version":1,"of":"shop.example/wp_"}', "12"],
    ids=["cut off", "newer", "another site's", "not ours"],
)
def test_a_cursor_that_is_not_ours_is_expired(simulate, connect, stream, cursor):
    with pytest.raises(CursorExpiredError):
        connect(simulate(people=5)).read(stream, cursor)


def test_cursors_stay_small(simulate, connect, pull):
    source = connect(simulate(people=1_000))
    for stream in source.streams:
        assert len(pull(source, stream)[1]) < 200


# The session


@pytest.mark.parametrize("forgets", [False, True], ids=["as it is", "a reader that forgets the zone"])
def test_times_are_utc_whatever_the_servers_zone(simulate, connect, pull, mariadb, monkeypatch, forgets):
    """Sessions begin in the server's zone; who forgets to change that is two hours off (sheet, §4)."""
    simulator = simulate(mariadb, people=20)
    expected = datetime.fromisoformat(simulator.site.tables["statistics_opens"][1]["created_at"]).replace(tzinfo=UTC)
    source = connect(simulator)
    arguments = source._database._arguments()
    zone = {"init_command": "SET time_zone = '+02:00'"}
    monkeypatch.setattr(source._database, "_arguments", lambda: {**arguments, **zone})
    if forgets:
        monkeypatch.setattr(client, "_SESSION", client._SESSION[1:])
    records, _ = pull(source, "opens")
    found = datetime.fromisoformat(next(r.payload["created_at"] for r in records if r.payload["id"] == 1))
    assert found - expected == timedelta(hours=2 if forgets else 0)


def test_the_session_can_only_read(simulate, connect, server):
    """Whatever rights the user has."""
    source = connect(simulate(server, people=5))
    with source._database._engine.connect() as connection, pytest.raises(DBAPIError, match=r"READ ONLY|readonly"):
        connection.exec_driver_sql("UPDATE wp_mailpoet_subscribers SET first_name = ''")


def test_the_server_gives_up_before_we_do(simulate, connect, mariadb):
    """Else a statement whose reader has gone would go on, on a live site."""
    source = connect(simulate(mariadb, people=5))
    with source._database._engine.connect() as connection:
        (statement, lock) = connection.exec_driver_sql("SELECT @@max_statement_time, @@lock_wait_timeout").one()
    assert 0 < lock <= statement < source._database._arguments()["read_timeout"]


def test_the_session_reads_what_is_committed(simulate, connect, mariadb):
    source = connect(simulate(mariadb, people=5))
    with source._database._engine.connect() as connection:
        (isolation, zone) = connection.exec_driver_sql("SELECT @@tx_isolation, @@time_zone").one()
    assert (isolation, zone) == ("READ-COMMITTED", "+00:00")


# Rows that change in place


@pytest.mark.parametrize("days", [0, 29])
def test_an_open_that_turns_out_to_be_a_persons_is_read_again(simulate, connect, pull, events, server, days):
    simulator = simulate(server)
    simulator.send("Fresh", "https://www.example.com/fresh")
    who = simulator.emails[0]
    row = simulator.open(who, agent=APPLE)
    source = connect(simulator)
    first, cursor = pull(source, "opens")
    simulator.advance(timedelta(days=days, hours=1))
    simulator.open(who)
    again, _ = pull(source, "opens", cursor)
    assert row["id"] in {record.payload["id"] for record in again if record.payload["user_agent_type"] == 0}
    new = {id_: event for id_, event in events(source, again).items() if id_ not in events(source, first)}
    (event,) = new.values()
    assert (event.identifiers[0].value, _machine(event)) == (who.lower(), False)
    assert event.occurred_at == simulator.now() - timedelta(days=days, hours=1), "the first open's time"


def test_an_open_beyond_the_machine_window_is_left_alone(simulate, connect, pull, server):
    simulator = simulate(server)
    simulator.send("Fresh", "https://www.example.com/fresh")
    who = simulator.emails[0]
    simulator.open(who, agent=APPLE)
    source = connect(simulator, machine_window="2d")
    _, cursor = pull(source, "opens")
    simulator.advance(timedelta(days=3))
    _, cursor = pull(source, "opens", cursor)
    simulator.open(who)
    assert pull(source, "opens", cursor)[0] == []


def test_only_blocks_that_moved_are_read_again(simulate, connect, pull, server, monkeypatch):
    for module in (statements, client):
        monkeypatch.setattr(module, "BLOCK", 10)
    simulator = simulate(server)
    for mail in (-1, -2):
        for who in simulator.emails:
            simulator.open(who, mail, agent=APPLE)
    simulator.advance(timedelta(days=1))
    source = connect(simulator)
    _, cursor = pull(source, "opens")
    watched = json.loads(cursor)["people"]
    assert len(watched) > 3
    machines = [r for r in simulator.site.tables["statistics_opens"] if r["user_agent_type"] == 1][-30:]
    chosen = machines[0]
    simulator.open(simulator.site.tables["subscribers"][chosen["subscriber_id"]]["email"], chosen["newsletter_id"] - 1)
    again, after = pull(source, "opens", cursor)
    block = chosen["id"] - chosen["id"] % 10
    assert {record.payload["id"] // 10 for record in again} == {block // 10}
    assert {k for k, v in json.loads(after)["people"].items() if watched.get(k) != v} <= {str(block)}
    assert pull(source, "opens", after)[0] == []


def test_a_counter_makes_one_event_a_time(simulate, connect, pull, events, server):
    simulator = simulate(server)
    who, source = simulator.emails[0], connect(simulator)
    url = simulator.site.links(simulator.newsletter())[0]
    records, cursor = pull(source, "clicks")
    seen = events(source, records)
    times = []
    for _ in range(3):
        simulator.advance(timedelta(hours=1))
        simulator.click(who, url=url)
        times.append(simulator.now())
        records, cursor = pull(source, "clicks", cursor)
        new = {id_: event for id_, event in events(source, records).items() if id_ not in seen}
        assert [event.occurred_at for event in new.values()] == times[-1:]
        seen |= new


def test_repeats_between_two_pulls_are_all_counted(simulate, connect, pull, events, server):
    """Their number is known, of their times only the first and the last."""
    simulator = simulate(server)
    who, source = simulator.emails[0], connect(simulator)
    url = simulator.site.links(simulator.newsletter())[0]
    simulator.advance(timedelta(days=1))
    begun = simulator.now()
    for _ in range(4):
        simulator.click(who, url=url)
        simulator.advance(timedelta(hours=1))
    found = [e for e in events(source, pull(source, "clicks")[0]).values() if e.occurred_at >= begun]
    assert [event.occurred_at - begun for event in found] == [timedelta(), *[timedelta(hours=3)] * 3]


def test_the_click_that_unsubscribes_is_no_click(simulate, connect, pull, server):
    simulator = simulate(server)
    simulator.click(simulator.emails[0], url=UNSUBSCRIBE)
    source = connect(simulator)
    housekeeping = [r for r in pull(source, "clicks")[0] if r.payload["url"].startswith("[link:")]
    assert housekeeping
    assert [event for record in housekeeping for event in source.normalize(record)] == []


def test_nothing_is_tracked_where_the_site_says_so(simulate, connect, pull):
    simulator = simulate(tracking="basic")
    assert [pull(connect(simulator), stream)[0] for stream in ("opens", "clicks")] == [[], []]


# Rows that are late


def test_a_transaction_that_ends_late_is_read(simulate, connect, pull, mariadb):
    """A real one: its row has the lower number, and is visible after the higher one was read."""
    simulator = simulate(mariadb)
    source, at = connect(simulator), simulator.now().strftime("%Y-%m-%d %H:%M:%S")
    opens = f"{mariadb['name']}.wp_mailpoet_statistics_opens"
    row = f"INSERT INTO {opens} (newsletter_id, subscriber_id, queue_id, created_at)"
    with administrator() as slow, administrator() as quick:
        slow.begin()
        with slow.cursor() as late, quick.cursor() as early:
            late.execute("SET time_zone = '+00:00'")
            early.execute("SET time_zone = '+00:00'")
            late.execute(f"{row} VALUES (1, 901, 1, '{at}')")
            early.execute(f"{row} VALUES (1, 902, 1, '{at}')")
            first, cursor = pull(source, "opens")
            slow.commit()
    second, cursor = pull(source, "opens", cursor)
    assert [902 in {r.payload["subscriber_id"] for r in records} for records in (first, second)] == [True, True]
    assert [901 in {r.payload["subscriber_id"] for r in records} for records in (first, second)] == [False, True]
    simulator.advance(timedelta(minutes=11))
    _, cursor = pull(source, "opens", cursor)
    assert pull(source, "opens", cursor)[0] == [], "settled: read no more"


@pytest.mark.parametrize("stream", BY_ID)
def test_rows_that_are_held_are_found_later(simulate, connect, pull, server, stream):
    simulator = simulate(server)
    simulator.send("Fresh", "https://www.example.com/fresh")
    first, second = simulator.emails[:2]
    act = {
        "unsubscribes": simulator.unsubscribe,
        "bounces": simulator.bounce,
        "forms": partial(simulator.submit_form, form=2),
        "opens": simulator.open,
    }[stream]
    before, _ = pull(connect(simulator), stream)
    act(first, held=True)
    act(second)
    found, cursor = pull(connect(simulator), stream)
    assert len(found) == len(before) + 1
    simulator.advance(timedelta(minutes=9))
    simulator.release()
    again, _ = pull(connect(simulator), stream, cursor)
    assert {r.key for r in again} - {r.key for r in found} == {str(max(r.payload["id"] for r in found) - 1)}


def test_our_clock_ahead_loses_nothing(simulate, connect, mariadb):
    """Settled is what is old by the server's clock, where that is behind ours; also if it was not when we began."""
    simulator = simulate(mariadb)
    source = connect(simulator)
    server_time = source.check().server_time
    assert source._database.now() == simulator.now(), "ours is the earlier one"
    simulator.advance(server_time - simulator.now() + timedelta(hours=5))
    assert timedelta(0) <= source._database.now() - server_time < timedelta(minutes=5)


@pytest.mark.parametrize("stream", ["subscribers", "lists", "clicks"])
def test_a_clock_that_is_set_back_loses_nothing(simulate, connect, pull, server, stream):
    """What happens then is dated before what was read last."""
    simulator = simulate(server)
    source, who = connect(simulator), simulator.emails[0]
    simulator.advance(timedelta(hours=9))
    simulator.click(who)
    _, cursor = pull(source, stream)
    simulator.advance(timedelta(hours=-3))
    other = simulator.emails[1]
    simulator.click(other)
    simulator.unsubscribe(other)
    found = {r.payload["email"] for r in pull(source, stream, cursor)[0]}
    assert other in found


def test_numbers_that_are_given_again_are_read(simulate, connect, pull, mariadb):
    """MySQL before 8.0 forgets the highest numbers when it restarts; so does a restored backup."""
    simulator = simulate(mariadb)
    source = connect(simulator)
    simulator.unsubscribe(simulator.emails[0])
    simulator.advance(timedelta(days=1))
    records, cursor = pull(source, "unsubscribes")
    last = max(r.payload["id"] for r in records)
    simulator.run(f"DELETE FROM wp_mailpoet_statistics_unsubscribes WHERE id = {last}")  # noqa: S608  # ours
    _, cursor = pull(source, "unsubscribes", cursor)
    simulator.run(
        "INSERT INTO wp_mailpoet_statistics_unsubscribes (id, subscriber_id, created_at)"  # noqa: S608  # ours
        f" VALUES ({last}, 3, '2026-06-02 09:00:00')"
    )
    again, _ = pull(source, "unsubscribes", cursor)
    old, new = (
        next(e.id for r in found if r.payload["id"] == last for e in source.normalize(r)) for found in (records, again)
    )
    assert old != new


@pytest.mark.parametrize("stream", ["unsubscribes", "opens"])
@pytest.mark.parametrize("more", [2, 5], ids=["up to the last number read", "beyond it"])
def test_a_backup_that_was_restored_is_read_again(simulate, connect, pull, server, stream, more):
    """Also where the numbers were given again before the next pull."""
    simulator = simulate(server)
    for who in simulator.emails[:6]:
        simulator.unsubscribe(who, None)
    simulator.advance(timedelta(days=1))
    source, table = connect(simulator), f"wp_mailpoet_{statements.STREAMS[stream].name}"
    records, cursor = pull(source, stream)
    last = max(r.payload["id"] for r in records)
    simulator.run(f"DELETE FROM {table} WHERE id > {last - 4}")  # noqa: S608  # ours
    numbers = range(last - 3, last - 3 + more)
    for number in numbers:
        simulator.run(
            f"INSERT INTO {table} (id, newsletter_id, subscriber_id, queue_id, created_at)"  # noqa: S608  # ours
            f" VALUES ({number}, 1, 3, 1, '2026-06-01 22:00:00')"
        )
    with pytest.raises(CursorExpiredError, match="a backup was restored"):
        pull(source, stream, cursor)
    again, after = pull(source, stream)
    fresh = {r.payload["id"] for r in again} - {r.payload["id"] for r in records if r in again}
    assert fresh == set(numbers)
    assert pull(source, stream, after)[1] == after, "and that was it"


def test_rows_that_were_deleted_cost_no_second_reading(simulate, connect, pull, server):
    """As when a newsletter is deleted, the row that was read last among them."""
    simulator = simulate(server)
    source = connect(simulator)
    simulator.advance(timedelta(days=1))
    _, cursor = pull(source, "opens")
    simulator.run("DELETE FROM wp_mailpoet_statistics_opens WHERE newsletter_id = 6")
    simulator.run(f"DELETE FROM wp_mailpoet_statistics_opens WHERE id = {json.loads(cursor)['floor']}")  # noqa: S608  # ours
    again, _ = pull(source, "opens", cursor)
    assert all(json.loads(cursor)["people"].get(str(r.payload["id"] // 1000 * 1000)) for r in again), (
        "watched blocks only"
    )


# People who are gone


def test_orphans_are_known_by_their_number(simulate, connect, pull, server):
    simulator = simulate(server)
    who = simulator.emails[0]
    simulator.click(who)
    number = str(simulator.site.person(who)["id"])
    simulator.delete_subscriber(who)
    source = connect(simulator)
    for stream in ("opens", "clicks"):
        theirs = [
            event.identifiers
            for record in pull(source, stream)[0]
            for event in source.normalize(record)
            if event.identifiers[-1].value == number
        ]
        assert theirs
        assert all([i.namespace for i in names] == ["mailpoet:blog.example"] for names in theirs)


def test_an_erased_address_is_no_address(simulate, connect, pull, server):
    simulator = simulate(server)
    who = simulator.emails[0]
    number = str(simulator.site.person(who)["id"])
    source = connect(simulator)
    _, cursor = pull(source, "subscribers")
    simulator.advance(timedelta(hours=1))
    simulator.erase(who)
    (record,) = pull(source, "subscribers", cursor)[0]
    (event,) = source.normalize(record)
    assert [(i.namespace, i.value) for i in event.identifiers] == [("mailpoet:blog.example", number)]
    assert event.properties == {"purpose": "email_marketing", "granted": False}
    assert event.profile == {}


def test_a_mail_to_everybody_says_nothing_about_anybody(simulate, connect, pull, events, server):
    """MailPoet touches every recipient's row, again and again: that makes no further events."""
    simulator = simulate(server)
    source = connect(simulator)
    records, cursor = pull(source, "subscribers")
    seen = events(source, records)
    fresh = []
    for subject in ("one", "two", "three"):
        simulator.advance(timedelta(hours=3))
        simulator.send(subject, "https://www.example.com/x")
        records, cursor = pull(source, "subscribers", cursor)
        assert len(records) >= 20
        new = events(source, records).keys() - seen.keys()
        fresh.append(len(new))
        seen |= events(source, records)
    assert fresh[1:] == [0, 0]


# Several sites, several MailPoets


def test_two_sites_do_not_meet(simulate, connect, pull, events):
    """The same numbers on two sites are two people and two facts."""
    one, other = connect(simulate(site="one.example")), connect(simulate(site="two.example"))
    for stream in MailPoetSource.streams:
        mine, theirs = (events(source, pull(source, stream)[0]) for source in (one, other))
        assert len(mine) == len(theirs)
        assert not mine.keys() & theirs.keys()


def test_two_blogs_of_a_multisite_share_a_database(simulate, connect, pull, mariadb):
    one, other = simulate(mariadb, people=20), simulate(mariadb, people=60, prefix="wp_2_", site="two.example")
    found = [len(pull(connect(simulator), "subscribers")[0]) for simulator in (one, other)]
    assert found == [len(s.site.tables["subscribers"]) for s in (one, other)]
    assert found[0] < found[1]


def test_an_older_mailpoet_lacks_columns(simulate, connect, pull, events, server):
    """Those that came with later migrations (sheet, §8); the events are the same without them."""
    simulator = simulate(server)
    whole = {stream: events(connect(simulator), pull(connect(simulator), stream)[0]) for stream in ("opens", "lists")}
    for column in ("last_open_at", "last_click_at", "last_page_view_at", "last_subscribed_at", "last_sending_at"):
        simulator.run(f"ALTER TABLE wp_mailpoet_subscribers DROP COLUMN {column}")
    simulator.run("ALTER TABLE wp_mailpoet_statistics_unsubscribes DROP COLUMN method")
    source = connect(simulator)
    for stream in source.streams:
        found = events(source, pull(source, stream)[0])
        assert found == whole.get(stream, found)


def test_a_column_that_goes_while_we_are_connected_is_done_without(simulate, connect, pull, server):
    """One failed read; then the tables are looked at again. Not even the cause's words hold the statement's values."""
    simulator = simulate(server, people=20)
    source = connect(simulator)
    before, _ = pull(source, "unsubscribes")
    simulator.unsubscribe(simulator.emails[0])
    simulator.run("ALTER TABLE wp_mailpoet_statistics_unsubscribes DROP COLUMN method")
    with pytest.raises(SchemaDriftError, match="method") as caught:
        pull(source, "unsubscribes")
    assert "hidden" in str(caught.value.__cause__)
    assert len(pull(source, "unsubscribes")[0]) == len(before) + 1


def test_tables_of_different_collations_are_read_alike(simulate, connect, pull, mariadb):
    """As on sites that were moved, or are old (sheet, §8)."""
    simulator = simulate(mariadb, people=20)
    simulator.send("Grüße 🎉", "https://www.example.com/x")
    simulator.click(simulator.emails[0])
    source = connect(simulator)
    whole = {stream: pull(source, stream)[0] for stream in source.streams}
    for table, other in (("newsletters", "utf8mb4_general_ci"), ("sending_queues", "utf8mb4_bin")):
        simulator.run(f"ALTER TABLE wp_mailpoet_{table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {other}")
    assert {stream: pull(source, stream)[0] for stream in source.streams} == whole
    assert any(r.payload["campaign"] == "Grüße 🎉" for r in whole["clicks"])


def test_a_time_that_mysql_calls_zero_is_no_time(simulate, connect, pull, mariadb):
    simulator = simulate(mariadb, people=20)
    with administrator() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(f"USE {mariadb['name']}")
        cursor.execute("UPDATE wp_mailpoet_subscribers SET confirmed_at = '0000-00-00 00:00:00'")
    source = connect(simulator)
    records, _ = pull(source, "subscribers")
    assert not any("confirmed_at" in record.payload for record in records)
    assert all(list(source.normalize(record)) for record in records)


def test_a_row_that_nobody_can_read_is_kept_for_quarantine(simulate, connect, pull):
    simulator = simulate(people=20)
    simulator.run("UPDATE wp_mailpoet_statistics_opens SET created_at = 'soon' WHERE id = 1")
    source = connect(simulator)
    bad = [record for record in pull(source, "opens")[0] if "unreadable" in record.payload]
    assert [record.payload["row"]["id"] for record in bad] == [1]
    with pytest.raises(RecordError, match="created_at"):
        source.normalize(bad[0])
