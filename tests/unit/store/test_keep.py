"""Small strings that connectors keep across runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncline.store.database import Database
from syncline.store.keep import Keep


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/state.db")
    yield found
    found.close()


def test_an_assignment_is_on_disk_when_it_returns(database: Database, tmp_path: Path) -> None:
    Keep(database, "crm")["refresh_token"] = "first"
    Keep(database, "crm")["refresh_token"] = "rotated"
    other = Database(f"sqlite:///{tmp_path}/state.db")
    assert Keep(other, "crm")["refresh_token"] == "rotated"
    other.close()


def test_connections_do_not_see_each_other(database: Database) -> None:
    crm, news = Keep(database, "crm"), Keep(database, "news")
    crm["token"], news["token"] = "a", "b"
    assert (crm["token"], news["token"]) == ("a", "b")
    del crm["token"]
    assert (dict(crm), dict(news)) == ({}, {"token": "b"})


def test_it_is_a_mapping_like_any_other(database: Database) -> None:
    keep = Keep(database, "crm")
    keep.update({"a": "1", "b": "2"})
    assert (set(keep), len(keep), "a" in keep, keep.get("z"), keep.pop("a")) == ({"a", "b"}, 2, True, None, "1")
    for missing in (lambda: keep["z"], lambda: keep.__delitem__("z")):
        with pytest.raises(KeyError):
            missing()


def test_values_are_never_shown(database: Database) -> None:
    keep = Keep(database, "crm")
    keep["refresh_token"] = "5Aep-very-secret"
    assert "secret" not in f"{keep!r} {keep}"
    assert repr(keep) == "Keep('crm', 1 kept)"
