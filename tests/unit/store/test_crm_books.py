"""What we know of the CRMs, on both databases."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError

from syncline.model import RemoteRecord, RemoteRef
from syncline.store import crm, schema
from syncline.store.crm import Conflict, Link
from syncline.store.database import Database
from syncline.store.values import dump, load

POSTGRES = "postgresql+psycopg://postgres@127.0.0.1/postgres"
NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
KEYS = {"Lead": "Key", "Contact": "Key"}
ONE, TWO, THREE = (RemoteRef("Lead", f"L{number}") for number in (1, 2, 3))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/state.db")
        yield opened
        opened.close()
        return
    pytest.importorskip("psycopg", reason="PostgreSQL: psycopg is not installed (extra: postgres)")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    name = f"books_{secrets.token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
    except OperationalError:
        pytest.skip("no PostgreSQL server answers on 127.0.0.1:5432 for the user postgres")
    opened = Database(f"{POSTGRES}?options=-csearch_path%3D{name}")
    yield opened
    opened.close()
    with admin.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    admin.dispose()


def record(ref: RemoteRef, *emails: str, **fields: Any) -> RemoteRecord:
    return RemoteRecord(ref, fields, emails, NOW, "person")


def test_every_kind_of_value_comes_back_as_it_was(database: Database) -> None:
    fields = {
        "text": "Zoë \u2028 'quoted'", "none": None, "yes": True, "whole": 5, "amount": Decimal("82.125"),
        "day": date(2026, 1, 2), "moment": NOW,
    }  # fmt: skip
    with database.write() as connection:
        crm.put_mirror(connection, "crm", [record(ONE, **fields)], KEYS)
        found = crm.mirror(connection, "crm", [ONE])[ONE].record
    assert found.fields == fields
    assert {name: type(value) for name, value in found.fields.items()} == {n: type(v) for n, v in fields.items()}
    assert (found.changed_at, found.changed_by, found.deleted, found.successor) == (NOW, "person", False, None)


def test_equal_values_give_equal_text() -> None:
    assert dump({"a": Decimal("5.00"), "b": 1}) == dump({"b": 1, "a": Decimal("5")})
    assert load(dump({"a": Decimal("1E+3")})) == {"a": Decimal(1000)}


def test_addresses_are_found_in_lower_case_and_follow_the_record(database: Database) -> None:
    with database.write() as connection:
        crm.put_mirror(
            connection, "crm", [record(ONE, " Ada@Acme.Example ", "ADA@home.example"), record(TWO, "")], KEYS
        )
        both = crm.mirror_by_email(connection, "crm", ["ada@acme.example", "ada@home.example", "eve@acme.example"])
        assert both == {"ada@acme.example": [ONE], "ada@home.example": [ONE]}
        crm.put_mirror(connection, "crm", [record(ONE, "eve@acme.example")], KEYS)
        assert crm.mirror_by_email(connection, "crm", ["ada@acme.example", "eve@acme.example"]) == {
            "eve@acme.example": [ONE]
        }
        crm.put_mirror(connection, "crm", [RemoteRecord(ONE, {}, ("eve@acme.example",), deleted=True)], KEYS)
        assert crm.mirror_by_email(connection, "crm", ["eve@acme.example"]) == {}
        assert crm.mirror_by_email(connection, "another", ["eve@acme.example"]) == {}


def test_of_a_record_that_comes_twice_in_a_page_the_last_counts(database: Database) -> None:
    with database.write() as connection:
        crm.put_mirror(connection, "crm", [record(ONE, "a@x.example", Key="k"), record(ONE, "b@x.example")], KEYS)
        assert crm.mirror_by_key(connection, "crm", ["k"]) == {}
        assert crm.mirror_by_email(connection, "crm", ["a@x.example", "b@x.example"]) == {"b@x.example": [ONE]}


def test_our_key_may_stand_in_several_objects(database: Database) -> None:
    contact = RemoteRef("Contact", "L1")
    with database.write() as connection:
        crm.put_mirror(connection, "crm", [record(ONE, Key="k"), record(contact, Key="k"), record(TWO)], KEYS)
        found = crm.mirror_by_key(connection, "crm", ["k", "other"])
    assert {item.record.ref for item in found["k"]} == {ONE, contact}
    assert set(found) == {"k"}


def test_what_was_written_stands_in_the_mirror_beside_what_was_read(database: Database) -> None:
    with database.write() as connection:
        crm.put_mirror(connection, "crm", [record(ONE, "a@x.example", Key=None, Name="Ada", Score=Decimal(1))], KEYS)
        crm.note_written(connection, "crm", KEYS, {ONE: {"Score": Decimal(2), "Key": "k"}, TWO: {"Key": "new"}})
        found = crm.mirror(connection, "crm", [ONE, TWO])
        assert found[ONE].record.fields == {"Key": "k", "Name": "Ada", "Score": Decimal(2)}
        assert (found[ONE].key, found[ONE].record.changed_by, found[ONE].record.changed_at) == ("k", "us", NOW)
        assert (found[TWO].key, found[TWO].record.fields) == ("new", {"Key": "new"})
        assert crm.mirror_by_email(connection, "crm", ["a@x.example"]) == {"a@x.example": [ONE]}


def test_acknowledged_fields_are_laid_over_the_earlier_ones(database: Database) -> None:
    with database.write() as connection:
        crm.acknowledge(connection, "crm", {ONE: {"A": 1, "B": 1}}, "run-1", 1)
        crm.acknowledge(connection, "crm", {ONE: {"B": None}, TWO: {"A": 5}}, "run-2", 2)
        assert crm.acknowledged(connection, "crm", [ONE, TWO, THREE]) == {ONE: {"A": 1, "B": None}, TWO: {"A": 5}}
        assert crm.acknowledged(connection, "another", [ONE]) == {}


def test_a_record_belongs_to_one_person(database: Database) -> None:
    with database.write() as connection:
        crm.put_links(connection, "crm", [Link(1, ONE, "email"), Link(2, TWO, "key")], 1)
        crm.put_links(connection, "crm", [Link(1, THREE, "successor")], 2)
        assert crm.links(connection, "crm", [1, 2, 3]) == {1: Link(1, THREE, "successor"), 2: Link(2, TWO, "key")}
        assert crm.owners(connection, "crm", [ONE, TWO, THREE]) == {THREE: 1, TWO: 2}


def test_forgetting_a_crm_leaves_the_others_alone(database: Database) -> None:
    with database.write() as connection:
        for name in ("crm", "other"):
            crm.put_links(connection, name, [Link(1, ONE, "email")], 1)
            crm.acknowledge(connection, name, {ONE: {"A": 1}}, "run-1", 1)
        crm.forget(connection, "crm")
        assert (crm.links(connection, "crm", [1]), crm.acknowledged(connection, "crm", [ONE])) == ({}, {})
        assert crm.links(connection, "other", [1])
        assert crm.acknowledged(connection, "other", [ONE])


def test_members_are_kept_by_segment_and_crm(database: Database) -> None:
    with database.write() as connection:
        crm.put_members(connection, "crm", "Hot", {1: ONE, 2: TWO})
        crm.put_members(connection, "crm", "Hot", {1: THREE})
        crm.put_members(connection, "crm", "Cold", {1: ONE})
        assert crm.members(connection, "crm", "Hot", [1, 2, 3]) == {1: THREE, 2: TWO}
        crm.remove_members(connection, "crm", "Hot", [1])
        assert crm.members(connection, "crm", "Hot", [1, 2]) == {2: TWO}
        assert crm.members(connection, "crm", "Cold", [1]) == {1: ONE}


def test_a_conflict_that_stands_keeps_its_date_and_one_that_is_resolved_goes(database: Database) -> None:
    first = Conflict(1, "2 records have this email", (ONE, TWO))
    second = Conflict(2, "2 records have this email", (TWO, THREE))
    with database.write() as connection:
        crm.put_conflicts(connection, "crm", [1, 2, 3], [first, second], 10)
        changed = Conflict(1, "3 records have this email", (ONE, TWO, THREE))
        crm.put_conflicts(connection, "crm", [1], [changed], 20)
        assert crm.conflicts(connection, "crm") == [changed, second], "people not asked about keep theirs"
        assert set(connection.execute(select(schema.conflict.c.at_us)).scalars()) == {10}
        crm.put_conflicts(connection, "crm", [1, 2], [second], 30)
        assert crm.conflicts(connection, "crm") == [second]


def test_records_a_complete_read_did_not_bring_are_noted_as_deleted(database: Database) -> None:
    contact = RemoteRef("Contact", "L1")
    with database.write() as connection:
        records = [record(ref, f"{ref.object}{ref.id}@x.example".lower(), Key=ref.id) for ref in (ONE, TWO, contact)]
        crm.put_mirror(connection, "crm", records, KEYS)
        assert crm.known_refs(connection, "crm", "Lead") == {"L1", "L2"}
        crm.note_deleted(connection, "crm", "Lead", ["L1"])
        assert crm.known_refs(connection, "crm", "Lead") == {"L2"}
        assert crm.mirror(connection, "crm", [ONE])[ONE].record.deleted
        assert {i.record.ref for i in crm.mirror_by_key(connection, "crm", ["L1"])["L1"]} == {contact}
        assert crm.mirror_by_email(connection, "crm", ["leadl1@x.example", "contactl1@x.example"]) == {
            "contactl1@x.example": [contact]
        }


def test_thousands_at_once_fit_every_databases_limits(database: Database) -> None:
    refs = [RemoteRef("Lead", f"L{number:05d}") for number in range(1200)]
    with database.write() as connection:
        crm.put_mirror(connection, "crm", [record(ref, f"{ref.id}@x.example", Key=ref.id) for ref in refs], KEYS)
        crm.put_links(connection, "crm", [Link(number, ref, "key") for number, ref in enumerate(refs)], 1)
        crm.acknowledge(connection, "crm", {ref: {"A": 1} for ref in refs}, "run", 1)
        assert len(crm.mirror(connection, "crm", refs)) == 1200
        assert len(crm.mirror_by_key(connection, "crm", [ref.id for ref in refs])) == 1200
        assert len(crm.mirror_by_email(connection, "crm", [f"{ref.id.lower()}@x.example" for ref in refs])) == 1200
        assert len(crm.links(connection, "crm", range(1200))) == len(crm.owners(connection, "crm", refs)) == 1200
        assert len(crm.acknowledged(connection, "crm", refs)) == 1200
