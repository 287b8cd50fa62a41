"""Who is who, decided without a database."""

from __future__ import annotations

from collections import Counter

import pytest

from syncline.people import Directory, IdentityRules, Merge, Standing, Statement, contested, newest

ADA, BOB = ("email", "ada@acme.example"), ("email", "bob@acme.example")
COOKIE, DEVICE = ("web", "c1"), ("app", "d1")


def stored(**people: list[tuple[str, str]]) -> Directory:
    """A directory over stored people: p1=[names], p2=[names] …"""
    owners = {name: (int(person[1:]), 100) for person, names in people.items() for name in names}
    standings = {
        int(person[1:]): Standing(Counter(namespace for namespace, _ in names)) for person, names in people.items()
    }
    return Directory(IdentityRules(), owners, standings)


def test_survivor_is_the_one_we_met_first() -> None:
    directory = stored(p1=[COOKIE], p2=[ADA])
    assert directory.resolve([ADA, COOKIE], 0) == 1
    assert directory.merges() == [Merge(absorbed=2, survivor=1)]


def test_people_found_within_a_page_come_after_the_stored_ones() -> None:
    directory = stored(p7=[ADA])
    new = directory.resolve([COOKIE], 0)
    assert new > 7
    assert directory.resolve([ADA, COOKIE], 1) == 7
    assert (directory.survivor(new), directory.new_people(), directory.merges()) == (7, [], [])


def test_chains_of_merges_lead_to_the_last_survivor() -> None:
    directory = stored(p1=[DEVICE], p2=[COOKIE], p3=[ADA])
    directory.resolve([ADA, COOKIE], 0)
    directory.resolve([ADA, DEVICE], 0)
    assert directory.merges() == [Merge(2, 1), Merge(3, 1)]


def test_the_first_named_vendor_id_decides_between_two_people() -> None:
    directory = stored(p1=[ADA, COOKIE], p2=[BOB, DEVICE])
    assert directory.resolve([DEVICE, COOKIE], 0) == 2
    assert directory.counts == {"shared_identifier": 1}


def test_alias_needs_both_addresses_in_one_event() -> None:
    directory = stored(p1=[ADA, COOKIE], p2=[BOB])
    assert directory.resolve([BOB, COOKIE], 0) == 2
    assert directory.resolve([BOB, ADA, COOKIE], 0) == 1
    assert directory.counts == {"shared_identifier": 1, "merged": 1}


def test_visitors_without_an_address_are_merged_by_an_event_that_names_both() -> None:
    directory = stored(p1=[COOKIE], p2=[DEVICE])
    assert directory.resolve([DEVICE, COOKIE], 0) == 1


@pytest.mark.parametrize(("one", "two", "merged"), [(2, 3, 1), (3, 3, 0)], ids=["five addresses", "six"])
def test_merges_respect_the_limit_of_addresses(one: int, two: int, merged: int) -> None:
    first = [("email", f"{n}@one.example") for n in range(one)]
    second = [("email", f"{n}@two.example") for n in range(two)]
    directory = stored(p1=first, p2=second)
    directory.resolve([second[0], first[0]], 0)
    assert (directory.counts["merged"], directory.counts["too_many_emails"]) == (merged, 1 - merged)


def test_two_crm_records_on_one_connection_keep_people_apart() -> None:
    standings = {
        1: Standing(Counter(email=1), frozenset({"crm"})),
        2: Standing(Counter(email=1), frozenset({"crm", "b"})),
    }
    directory = Directory(IdentityRules(), {ADA: (1, 0), BOB: (2, 0)}, standings)
    assert directory.resolve([BOB, ADA], 0) == 2
    assert directory.counts == {"link_conflict": 1}


def test_first_mention_is_the_earliest() -> None:
    directory = stored(p1=[ADA])
    directory.resolve([ADA, COOKIE], 50)
    directory.resolve([ADA, COOKIE], 70)
    assert set(directory.links()) == {(ADA, 1, 50), (COOKIE, 1, 50)}
    quiet = stored(p1=[ADA])
    quiet.resolve([ADA], 150)
    assert quiet.links() == []


def test_only_people_an_event_might_link_are_looked_at() -> None:
    owners = {ADA: (1, 0), COOKIE: (1, 0), BOB: (2, 0)}
    assert contested([[ADA], [ADA, COOKIE], [DEVICE]], owners) == set()
    assert contested([[ADA, DEVICE]], owners) == {1}
    assert contested([[ADA, BOB]], owners) == {1, 2}


def test_newest_statement_wins_and_the_greater_id_breaks_ties() -> None:
    said = [
        Statement(1, "city", 10, b"b", "Lucca"),
        Statement(1, "city", 10, b"a", "Pisa"),
        Statement(1, "city", 9, b"z", "Siena"),
        Statement(2, "city", 1, b"a", "Roma"),
    ]
    assert newest(said) == newest(said[::-1])[::-1] == [said[0], said[3]]
