"""Records are looked up in hundreds: by object and ids, which both databases have an index for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from syncline.model import RemoteRecord, RemoteRef
from syncline.store import crm
from syncline.store.crm import Link
from syncline.store.database import Database

REFS = [RemoteRef(name, f"{number}") for name in ("Lead", "Contact") for number in range(700)]
"""The same ids in both objects."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    with opened.write() as connection:
        crm.put_mirror(
            connection,
            "crm",
            [
                RemoteRecord(ref, {"Key": ref.object + ref.id}, emails=(f"{ref.id}@{ref.object}.example",))
                for ref in REFS
            ],
            {"Lead": "Key", "Contact": "Key"},
        )
        crm.put_links(connection, "crm", [Link(number, ref, "created") for number, ref in enumerate(REFS)], 1)
        crm.acknowledge(connection, "crm", {ref: {"Key": ref.object + ref.id} for ref in REFS}, "run", 1)
    yield opened
    opened.close()


def test_each_record_is_found_under_its_own_object(database: Database) -> None:
    asked = [ref for ref in REFS if (ref.object == "Lead") == (int(ref.id) % 2 == 0)]
    with database.read() as connection:
        assert crm.owners(connection, "crm", asked) == {ref: REFS.index(ref) for ref in asked}
        assert crm.mirror(connection, "crm", asked).keys() == set(asked)
        assert crm.acknowledged(connection, "crm", asked) == {ref: {"Key": ref.object + ref.id} for ref in asked}
        assert crm.owners(connection, "other", asked) == {}
        assert crm.owners(connection, "crm", []) == {}


def test_addresses_of_one_object_are_replaced_and_those_of_the_other_stay(database: Database) -> None:
    with database.write() as connection:
        gone = [RemoteRecord(RemoteRef("Lead", f"{number}"), {"Key": "-"}) for number in range(700)]
        crm.put_mirror(connection, "crm", gone, {"Lead": "Key"})
        asked = [f"{number}@{name}.example" for name in ("lead", "contact") for number in range(700)]
        found = crm.mirror_by_email(connection, "crm", asked)
    assert {ref.object for refs in found.values() for ref in refs} == {"Contact"}


def test_no_statement_compares_a_list_of_pairs(database: Database) -> None:
    """PostgreSQL goes through such a list pair by pair, for every row: a batch of 500 took a tenth of a second."""
    said: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        said.append(" ".join(statement.split()))

    with database.write() as connection:
        crm.owners(connection, "crm", REFS)
        crm.mirror(connection, "crm", REFS)
        crm.acknowledged(connection, "crm", REFS)
        crm.put_mirror(connection, "crm", [RemoteRecord(ref, {"Key": "-"}) for ref in REFS[:10]], {})
    assert len(said) > 6
    assert not [statement for statement in said if "remote_id) IN" in statement]
