"""The book of consent says what the pure rules say, whatever the order, in both databases' words for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.people.consent import Said, latest, told
from syncline.store import consents
from syncline.store.database import Database


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('book') / 'state.db'}")
    yield database
    database.close()


SAID = st.builds(
    Said,
    st.integers(1, 3),
    st.sampled_from(["mail", "sales"]),
    st.sampled_from(["a", "b"]),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([bytes([n]) * 16 for n in range(3)]),
)


def empty(database: Database) -> None:
    with database.write() as connection:
        consents.lift(connection, [row[:3] for row in consents.of(connection, [1, 2, 3])])


def held(database: Database, *people: int) -> list[tuple[object, ...]]:
    with database.read() as connection:
        return sorted(consents.of(connection, people or (1, 2, 3)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(SAID, max_size=4), max_size=4))
def test_the_last_word_stays_in_any_order(database: Database, pages: list[list[Said]]) -> None:
    empty(database)
    for page in pages:
        with database.write() as connection:
            consents.put_latest(connection, page)
    assert held(database) == sorted(tuple(said) for said in latest(said for page in pages for said in page))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SAID, max_size=10))
def test_merged_people_have_the_last_word_of_both(database: Database, words: list[Said]) -> None:
    empty(database)
    with database.write() as connection:
        consents.put_latest(connection, words)
        consents.merge(connection, [(1, 2)])
    as_one = latest(said._replace(person=2) if said.person == 1 else said for said in words)
    assert held(database) == sorted(tuple(said) for said in as_one)


def test_what_a_side_grants_ends_what_we_told_it_before(database: Database, tmp_path: Path) -> None:
    empty(database)
    with database.write() as connection:
        consents.put(connection, [Said(1, "mail", told("a"), False, 5, bytes(16))])
        consents.end_told(connection, [(1, "mail", told("a"), 5)])
    assert len(held(database)) == 1
    with database.write() as connection:
        consents.end_told(connection, [(1, "mail", told("a"), 6)])
    assert held(database) == []
