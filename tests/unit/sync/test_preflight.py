"""Drift: how a mapped field differs from what it was when its mapping last passed, and what is made of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncline.errors import AuthError, ConfigError, ConnectorError, SchemaDriftError
from syncline.model import Field, Limits, Origin, RemoteRef, Value
from syncline.store import crm
from syncline.store import descriptions as store
from syncline.store.database import Database
from syncline.store.descriptions import Description, Known
from syncline.sync.preflight import findings, preflight, recovered, refuse_unusable, remember
from syncline.sync.target import FieldMap, Target

RUN = datetime(2026, 6, 1, 8, tzinfo=UTC)
KEY = Field("Key", "text", unique=True)
SCORE = Field("Score", "number", "Lead score", scale=2)
BAND = Field("Band", "option", options=("hot", "cold"))
COUNTRY = Field("Country", "option", options=("IT", "FR"))
WHY = Field("Why", "text", max_length=255)
LEAD = (KEY, SCORE, BAND, COUNTRY, WHY)


def origin(text: str) -> Origin:
    found = Origin.parse(text)
    assert found is not None
    return found


TARGET = Target(
    "crm",
    ("Lead",),
    "Key",
    True,
    (
        FieldMap("Score", origin=origin("score.interest")),
        FieldMap("Band", origin=origin("score.interest.band"), values=("hot",)),
        FieldMap("Country", policy="newest", origin=origin("person.country")),
        FieldMap("Why", origin=origin("score.interest.reason")),
    ),
    Limits(200, 200, 200),
)
BOTH = replace(TARGET, objects=("Lead", "Contact"))


def described(*changed: Field, without: Collection[str] = ()) -> list[Field]:
    fields = {field.name: field for field in LEAD} | {field.name: field for field in changed}
    return [field for name, field in fields.items() if name not in without]


@pytest.fixture
def database(tmp_path: Path) -> Any:
    with_store = Database(f"sqlite:///{tmp_path}/state.db")
    yield with_store
    with_store.close()


def passed(database: Database, target: Target = TARGET, at: datetime = RUN) -> Mapping[str, Description]:
    """What a run that found everything well has kept."""
    checked = preflight(target, dict.fromkeys(target.objects, LEAD))
    assert checked.parked == ()
    with database.write() as connection:
        remember(connection, checked, at)
        return store.descriptions(connection, target.connection)


def reason(
    fields: list[Field], known: Mapping[str, Description], held: Mapping[str, set[Value]] | None = None
) -> dict[str, str]:
    checked = preflight(TARGET, {"Lead": fields}, known, held=lambda _, field: (held or {}).get(field, set()))
    return {item.field: item.reason for item in checked.parked}


def test_what_is_as_it_was_passes(database: Database) -> None:
    assert reason(described(), passed(database)) == {}


HARMLESS = {
    "a new optional field": (Field("New", "text"),),
    "a new option": (replace(BAND, options=("hot", "cold", "warm")),),
    "longer text": (replace(WHY, max_length=1000),),
    "unlimited text": (replace(WHY, max_length=None),),
    "more decimals": (replace(SCORE, scale=4),),
    "another label": (replace(SCORE, label="Punteggio"),),
    "an option nobody uses is gone": (replace(BAND, options=("hot",)),),
    "a picklist that is text now": (Field("Country", "text"),),
    "less room than before, and still enough": (replace(WHY, max_length=100),),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_harmless_changes_pass_and_become_what_is_known(database: Database, change: tuple[Field, ...]) -> None:
    known = passed(database)
    held = {"Why": {"short"}, "Score": {Decimal("1.5")}, "Country": {"IT"}}
    assert reason(described(*change), known, held) == {}
    checked = preflight(TARGET, {"Lead": described(*change)}, known)
    with database.write() as connection:
        remember(connection, checked, RUN)
        after = store.descriptions(connection, "crm")["Lead"]
    assert all(after.mappings[f.name].field == f for f in change if f.name in after.mappings)
    assert after.names == {field.name for field in described(*change)}


# what an administrator did, what the CRM has taken from us, the field, what the reason says
DRIFTS: dict[str, tuple[list[Field], dict[str, set[Value]], str, list[str]]] = {
    "retyped, and our values still go in": (
        described(Field("Score", "text")),
        {},
        "Score",
        ["was a number, is text since the run of 2026-06-01 08:00", "--accept Lead.Score"],
    ),
    "retyped, and they do not": (
        described(Field("Score", "boolean")),
        {},
        "Score",
        ["was a number, is a tick since the run of 2026-06-01 08:00", "the field holds boolean", "Make it a number"],
    ),
    "read-only now": (
        described(replace(SCORE, writable=False)),
        {},
        "Score",
        ["read-only for the user we log in as", "not at the run of 2026-06-01 08:00", "the right to edit it"],
    ),
    "a band is gone": (
        described(replace(BAND, options=("cold", "Hot!"))),
        {},
        "Band",
        ["the picklist lacks 'hot'; it has: cold, Hot!", "'hot' was there at the run of 2026-06-01 08:00"],
    ),
    "an option people have is gone": (
        described(replace(COUNTRY, options=("Fr", "DE"))),
        {"Country": {"FR"}},
        "Country",
        ["the picklist has lost 'FR' (nearest there: 'Fr')", "--accept Lead.Country"],
    ),
    "text that is cut now": (
        described(replace(WHY, max_length=10)),
        {"Why": {"a long reason"}},
        "Why",
        ["takes 10 characters, and took 255 at the run of", "up to 13", "--accept Lead.Why"],
    ),
    "a score that is rounded now": (
        described(replace(SCORE, scale=0)),
        {"Score": {Decimal("12.5"), Decimal("3")}},
        "Score",
        ["keeps 0 decimals, and kept 2", "--accept Lead.Score"],
    ),
    "deleted": (
        described(without=["Score"]),
        {},
        "Score",
        [
            "the CRM has no such field any more (deleted, renamed, or hidden from the user we log in as)",
            "there was one at the run of 2026-06-01 08:00, a number labelled 'Lead score'",
            "Nothing there is like it",
        ],
    ),
    "renamed": (
        described(Field("Rating", "number", "Lead score"), Field("Other", "number", "Visits"), without=["Score"]),
        {},
        "Score",
        ["New there, and much like it: 'Rating', a number labelled 'Lead score'. If it is that one, map it"],
    ),
    "demanded now": (
        described(Field("Company", "text", required=True)),
        {},
        "Company",
        ["demands this field of new records", "It did not at the run of 2026-06-01 08:00"],
    ),
}


@pytest.mark.parametrize(("fields", "held", "name", "words"), DRIFTS.values(), ids=DRIFTS)
def test_drift_says_what_was_there_before_and_what_to_do(
    database: Database, fields: list[Field], held: dict[str, set[Value]], name: str, words: list[str]
) -> None:
    found = reason(fields, passed(database), held)
    assert set(found) == {name}, "that mapping alone"
    assert [word for word in words if word not in found[name]] == [], found[name]


def test_a_field_that_was_there_all_along_is_no_rename_but_may_be_the_nearest(database: Database) -> None:
    target_fields = (*LEAD, Field("Score_2", "number"))
    with database.write() as connection:
        remember(connection, preflight(TARGET, {"Lead": target_fields}), RUN)
        known = store.descriptions(connection, "crm")
    found = reason(described(Field("Score_2", "number"), without=["Score"]), known)["Score"]
    assert "New there" not in found
    assert "The nearest that is there: 'Score_2', a number" in found


def test_a_mapped_field_is_never_suggested(database: Database) -> None:
    mapped = replace(TARGET, fields=(*TARGET.fields, FieldMap("Score_2", origin=origin("score.interest"))))
    fields = [*LEAD, Field("Score_2", "number")]
    with database.write() as connection:
        remember(connection, preflight(mapped, {"Lead": fields}), RUN)
        known = store.descriptions(connection, "crm")
    found = preflight(mapped, {"Lead": [f for f in fields if f.name != "Score"]}, known).parked
    assert [item.field for item in found] == ["Score"]
    assert "Nothing there is like it" in found[0].reason


def test_what_we_only_read_may_change_its_kind(database: Database) -> None:
    reading = replace(TARGET, fields=(FieldMap("Country", to="country"),))
    with database.write() as connection:
        remember(connection, preflight(reading, {"Lead": LEAD}), RUN)
        known = store.descriptions(connection, "crm")
    changed = {"Lead": described(Field("Country", "number", writable=False))}
    assert preflight(reading, changed, known).parked == ()


def test_a_parked_mapping_keeps_how_it_was_and_the_others_move_on(database: Database) -> None:
    known = passed(database)
    drifted = described(replace(SCORE, writable=False), replace(WHY, max_length=500))
    for day in (2, 3):
        checked = preflight(TARGET, {"Lead": drifted}, known)
        with database.write() as connection:
            remember(connection, checked, RUN.replace(day=day))
            known = store.descriptions(connection, "crm")
    lead = known["Lead"]
    assert lead.mappings["Score"].field == SCORE
    assert "2026-06-01" in str(lead.mappings["Score"].parked), "it was last well on the first day"
    assert lead.mappings["Why"] == Known(replace(WHY, max_length=500), _us(RUN.replace(day=3)))
    assert recovered(checked, known) == []
    mended = preflight(TARGET, {"Lead": described()}, known)
    assert mended.parked == ()
    assert recovered(mended, known) == ["Lead.Score"]
    with database.write() as connection:
        remember(connection, mended, RUN.replace(day=4))
        assert recovered(mended, store.descriptions(connection, "crm")) == [], "said once"


def test_what_was_not_looked_at_has_not_recovered(database: Database) -> None:
    known = passed(database, BOTH)
    drifted = described(replace(SCORE, writable=False))
    with database.write() as connection:
        remember(connection, preflight(BOTH, dict.fromkeys(BOTH.objects, drifted), known), RUN)
        known = store.descriptions(connection, "crm")
    closed = preflight(BOTH, {"Lead": drifted, "Contact": ConfigError("gone")}, known)
    other_sync = replace(BOTH, fields=tuple(replace(mapped, written=False) for mapped in BOTH.fields))
    idle = preflight(other_sync, dict.fromkeys(BOTH.objects, drifted), known)
    assert recovered(closed, known) == recovered(idle, known) == []
    with database.write() as connection:
        remember(connection, idle, RUN)
        assert store.descriptions(connection, "crm") == known


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def test_a_rename_is_still_suggested_on_the_runs_after(database: Database) -> None:
    known = passed(database)
    renamed = described(Field("Rating", "number", "Lead score"), without=["Score"])
    for _ in range(3):
        checked = preflight(TARGET, {"Lead": renamed}, known)
        assert "New there, and much like it: 'Rating'" in checked.parked[0].reason
        with database.write() as connection:
            remember(connection, checked, RUN)
            known = store.descriptions(connection, "crm")


def test_a_change_that_is_meant_is_taken_as_it_is(database: Database) -> None:
    known = passed(database)
    retyped = described(Field("Score", "text"))
    with database.write() as connection:
        remember(connection, preflight(TARGET, {"Lead": retyped}, known), RUN)
        assert store.take_as_it_is(connection, "crm", "Lead", "Score")
        assert not store.take_as_it_is(connection, "crm", "Lead", "Scor")
        known = store.descriptions(connection, "crm")
    checked = preflight(TARGET, {"Lead": retyped}, known)
    assert checked.parked == ()
    assert recovered(checked, known) == ["Lead.Score"]


def test_what_cannot_be_taken_stays_parked_whoever_accepts_it(database: Database) -> None:
    passed(database)
    with database.write() as connection:
        store.take_as_it_is(connection, "crm", "Lead", "Score")
        known = store.descriptions(connection, "crm")
    assert reason(described(Field("Score", "boolean")), known) == {
        "Score": "the field holds boolean, and score.interest is number"
    }


def test_a_band_that_is_longer_than_its_field_is_parked() -> None:
    target = replace(
        TARGET, fields=(FieldMap("Why", origin=origin("score.interest.band"), values=("hot", "lukewarm")),)
    )
    [parked] = preflight(target, {"Lead": [KEY, Field("Why", "text", max_length=4)]}).parked
    assert parked.reason == "the field takes 4 characters, and 'lukewarm' has 8. Make it longer"


# Objects


@pytest.mark.parametrize("trouble", [ConfigError("there is no object 'Contact'"), AuthError("no permission")])
def test_an_object_that_is_gone_or_forbidden_is_parked_and_the_others_are_not(
    database: Database, trouble: ConnectorError
) -> None:
    known = passed(database, BOTH)
    checked = preflight(BOTH, {"Lead": described(), "Contact": trouble}, known)
    [parked] = checked.parked
    assert (parked.name, checked.closed) == ("Contact", {"Contact"})
    assert trouble.message in parked.reason
    assert "it was described to us at the run of 2026-06-01 08:00" in parked.reason
    assert checked.reachable.objects == ("Lead",)
    assert checked.fields_of("Contact") == []
    refuse_unusable(checked)
    with database.write() as connection:
        remember(connection, checked, RUN)
        assert store.descriptions(connection, "crm")["Contact"].mappings["Score"].field == SCORE


@pytest.mark.parametrize("key", [replace(KEY, unique=False), replace(KEY, writable=False), None])
def test_an_object_that_lost_our_key_is_closed_alone(database: Database, key: Field | None) -> None:
    known = passed(database, BOTH)
    fields = described(key) if key else described(without=["Key"])
    checked = preflight(BOTH, {"Lead": described(), "Contact": fields}, known)
    assert checked.closed == {"Contact"}
    refuse_unusable(checked)


def test_a_key_that_never_was_there_is_no_drift() -> None:
    checked = preflight(BOTH, {"Lead": described(), "Contact": described(without=["Key"])})
    assert checked.closed == frozenset()
    with pytest.raises(SchemaDriftError, match=r"Contact\.Key, which carries our key.*`syncline prepare crm`"):
        refuse_unusable(checked)


def test_when_no_object_is_left_the_crm_drops_out(database: Database) -> None:
    known = passed(database, BOTH)
    gone = ConfigError("there is no such object")
    checked = preflight(BOTH, {"Lead": gone, "Contact": described(replace(KEY, unique=False))}, known)
    with pytest.raises(SchemaDriftError, match="nothing is left that could be written"):
        refuse_unusable(checked)


def test_findings_name_every_mapping_with_its_verdict(database: Database) -> None:
    checked = preflight(TARGET, {"Lead": described(replace(SCORE, writable=False))}, passed(database))
    found = findings(checked)
    assert list(found) == ["Lead.Key", "Lead.Score", "Lead.Band", "Lead.Country", "Lead.Why"]
    assert [name for name, why in found.items() if why] == ["Lead.Score"]


def test_a_run_that_finds_nothing_changed_only_moves_the_time(database: Database) -> None:
    """The fingerprint says so: what is kept of an object is written anew only when it differs."""
    passed(database)
    with database.read() as connection:
        first = connection.exec_driver_sql("SELECT fields, fingerprint, seen_us FROM description").one()
    passed(database, at=RUN.replace(day=2))
    with database.read() as connection:
        second = connection.exec_driver_sql("SELECT fields, fingerprint, seen_us FROM description").one()
    assert first[:2] == second[:2]
    assert second.seen_us > first.seen_us


def test_values_of_ours_are_those_the_crm_has_accepted(database: Database) -> None:
    with database.write() as connection:
        taken: dict[RemoteRef, dict[str, Value]] = {
            RemoteRef("Lead", "1"): {"Country": "IT", "Score": Decimal("1.5")},
            RemoteRef("Lead", "2"): {"Country": "FR"},
            RemoteRef("Contact", "3"): {"Country": "DE"},
            RemoteRef("Lead", "4"): {"Country": None},
        }
        crm.acknowledge(connection, "crm", taken, "run", 1)
        assert store.accepted_values(connection, "crm", "Lead", "Country") == {"IT", "FR"}
        assert store.accepted_values(connection, "crm", "Lead", "Score") == {Decimal("1.5")}
