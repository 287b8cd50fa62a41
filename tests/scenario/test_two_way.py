"""Both sides write the same field: who wins, what flows on to the other CRMs, and that it gets quiet."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from syncline.engine.embedded import assess_all
from syncline.model import RemoteRef, Value
from syncline.store.profiles import profiles
from syncline.sync.planner import Planner
from syncline.sync.preflight import inspect
from syncline.testing.memory import MemoryWorld

ADA = "ada@acme.example"
SHARED = {"from": "person.last_name", "owner": "shared"}


@pytest.fixture
def two(lab: Any) -> Any:
    """A lab with two CRMs, and a field that both share with us."""
    lab.fields["LastName"] = {**SHARED, "policy": "human_wins"}
    lab.add_second_crm()
    return lab


def share(lab: Any, policy: str, *, field: str = "LastName") -> None:
    for sync in lab.data["syncs"]:
        sync["fields"] = {**sync["fields"], field: {**SHARED, "policy": policy}}


def last_names(lab: Any, email: str = ADA) -> tuple[Value, Value]:
    [one], [other] = lab.records(email), lab.records(email, lab.second)
    return lab.world.get(one)["LastName"], lab.second.get(other)["LastName"]


def known(lab: Any, email: str = ADA) -> Mapping[str, str]:
    with lab.host() as host, host.database.read() as connection:
        person = host.person(email)
        return profiles(connection, [person])[person].attributes


def write_calls(lab: Any) -> int:
    return int(lab.world.counters["write_calls"] + lab.second.counters["write_calls"])


def is_quiet(lab: Any, cycles: int = 3) -> bool:
    before = write_calls(lab)
    for _ in range(cycles):
        lab.later()
        lab.run()
    return write_calls(lab) == before


# What flows on


@pytest.mark.parametrize("policy", ["human_wins", "newest"])
@pytest.mark.parametrize("by", ["person", "unknown"])
def test_what_a_person_typed_in_one_crm_goes_to_the_others(two: Any, policy: str, by: Any) -> None:
    share(two, policy)
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.later()
    two.world.edit(two.ref(ADA), {"LastName": "King"}, by=by)
    two.later()
    two.run()
    two.run()
    assert last_names(two) == ("King", "King")
    assert known(two)["last_name"] == "King"
    assert is_quiet(two)


def test_what_a_system_changed_is_ours_again_under_human_wins(two: Any) -> None:
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.later()
    two.world.edit(two.ref(ADA), {"LastName": "KING"}, by="system")
    two.run()
    assert last_names(two) == ("Byron", "Byron")
    assert is_quiet(two)


@pytest.mark.parametrize("policy", ["human_wins", "newest"])
def test_a_value_of_theirs_fills_what_we_do_not_know(two: Any, policy: str) -> None:
    share(two, policy)
    two.world.put("Lead", {"Email": ADA, "LastName": "King"})
    two.points(ADA, 50)
    two.run()
    two.run()
    assert last_names(two) == ("King", "King")
    assert is_quiet(two)


def test_only_if_empty_takes_nothing_over(two: Any) -> None:
    share(two, "only_if_empty")
    two.world.put("Lead", {"Email": ADA, "LastName": "King"})
    two.points(ADA, 50)
    two.run()
    two.run()
    assert last_names(two) == ("King", None)
    assert "last_name" not in known(two)


def test_two_people_who_type_at_once_agree_on_the_later_word(two: Any) -> None:
    share(two, "newest")
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.later()
    two.world.edit(two.ref(ADA), {"LastName": "King"})
    two.later()
    [other] = two.records(ADA, two.second)
    two.second.edit(other, {"LastName": "Noel"})
    two.run()
    two.run()
    assert last_names(two) == ("Noel", "Noel")
    assert is_quiet(two)


def test_two_words_of_the_same_moment_end_as_one(two: Any) -> None:
    share(two, "newest")
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.later()
    [other] = two.records(ADA, two.second)
    two.world.edit(two.ref(ADA), {"LastName": "Noel"})
    two.second.edit(other, {"LastName": "King"})
    two.run()
    two.run()
    assert last_names(two) == ("Noel", "Noel"), "the later in the alphabet"
    assert is_quiet(two)


def test_two_people_each_keep_what_they_typed_under_human_wins(two: Any) -> None:
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.later()
    two.world.edit(two.ref(ADA), {"LastName": "King"})
    two.later()
    [other] = two.records(ADA, two.second)
    two.second.edit(other, {"LastName": "Noel"})
    two.run()
    assert is_quiet(two)
    assert last_names(two) == ("King", "Noel")
    assert known(two)["last_name"] == "Noel"


def test_a_crm_whose_clock_runs_ahead_cannot_type_in_the_future(two: Any) -> None:
    share(two, "newest")
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.later()
    two.world.edit(two.ref(ADA), {"LastName": "King"}, at=two.now + timedelta(days=400))
    two.run()
    two.later()
    two.points(ADA, 1, last_name="Lovelace")
    two.run()
    two.run()
    assert last_names(two) == ("Lovelace", "Lovelace")
    assert is_quiet(two)


def test_what_a_person_emptied_stays_empty_and_is_known_elsewhere(two: Any) -> None:
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.later()
    two.world.edit(two.ref(ADA), {"LastName": None})
    two.run()
    assert is_quiet(two)
    assert last_names(two) == (None, "Byron")


def test_a_default_is_never_taken_for_what_somebody_is_called(two: Any) -> None:
    for sync in two.data["syncs"]:
        sync["fields"] = {**sync["fields"], "LastName": {**SHARED, "policy": "newest", "default": "(unknown)"}}
    two.world.put("Lead", {"Email": ADA, "LastName": "(unknown)"})
    two.points(ADA, 50)
    two.run()
    assert last_names(two) == ("(unknown)", "(unknown)")
    assert "last_name" not in known(two)
    two.later()
    two.points(ADA, 1, last_name="Byron")
    two.run()
    two.run()
    assert last_names(two)[1] == "Byron"


def test_what_belongs_to_one_crm_is_not_set_by_another(two: Any) -> None:
    """The stage is the first CRM's; the second shows it, and somebody changes it there."""
    first, second = two.data["syncs"]
    first["fields"] = {**first["fields"], "Status": {"to": "person.stage", "owner": "theirs"}}
    second["fields"] = {**second["fields"], "Company": {"from": "person.stage", "owner": "shared", "policy": "newest"}}
    two.world.put("Lead", {"Email": ADA, "Status": "Working"})
    two.points(ADA, 50, last_name="Byron")
    two.run()
    two.run()
    [other] = two.records(ADA, two.second)
    assert two.second.get(other)["Company"] == "Working"
    two.later()
    two.second.edit(other, {"Company": "Closed"})
    two.run()
    assert is_quiet(two)
    assert known(two)["stage"] == "Working"


def test_what_two_crms_own_is_the_later_of_their_words(two: Any) -> None:
    """Read one after the other, they would take turns for ever."""
    for sync in two.data["syncs"]:
        sync["fields"] = {**sync["fields"], "Status": {"to": "person.stage", "owner": "theirs"}}
    first = two.world.put("Lead", {"Email": ADA, "Status": "Working"})
    two.second.put("Lead", {"Email": ADA, "Status": "Open"}, at=two.now - timedelta(days=3))
    two.points(ADA, 50)
    for _ in range(3):
        two.run()
        assert known(two)["stage"] == "Working"
    two.later()
    two.world.edit(first, {"Status": None})
    for _ in range(3):
        two.run()
        assert "stage" not in known(two)


# Who changed what, and when


@pytest.mark.parametrize("keeps_history", [True, False], ids=["field history", "record only"])
def test_an_edit_of_another_field_makes_this_one_no_newer(lab: Any, keeps_history: bool) -> None:
    lab.world.keeps_history = keeps_history
    lab.fields["LastName"] = {**SHARED, "policy": "newest"}
    lab.world.put("Lead", {"Email": ADA, "LastName": "King"})
    lab.later()
    lab.run()
    lab.points(ADA, 50)
    lab.run()
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    lab.later()
    lab.world.edit(lab.ref(ADA), {"Phone": "+39", "Status": "Working"})
    lab.later()
    lab.run()
    assert lab.held(ADA)["LastName"] == "Lovelace"


@pytest.mark.parametrize("keeps_history", [True, False], ids=["field history", "record only"])
def test_a_persons_edit_is_theirs_though_we_wrote_the_record_last(lab: Any, keeps_history: bool) -> None:
    """The person typed after our last look, and before our write of another field."""
    lab.world.keeps_history = keeps_history
    lab.fields["LastName"] = {**SHARED, "policy": "human_wins"}
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    ref = lab.ref(ADA)
    lab.later()
    lab.points(ADA, 5)
    typed = _before_write(lab.world, lambda: lab.world.edit(ref, {"LastName": "King"}))
    lab.run()
    assert typed.happened
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    lab.run()
    assert lab.held(ADA)["LastName"] == "King"
    assert lab.held(ADA)["Score"] == 56


class _Once:
    happened = False


def _before_write(world: MemoryWorld, act: Callable[[], None]) -> _Once:
    """`act` once, after everything was read and before the next write arrives."""
    once, write = _Once(), world.write

    def first_act(ref: RemoteRef, fields: Mapping[str, Value], at: Any) -> None:
        if not once.happened:
            once.happened = True
            act()
        write(ref, fields, at)

    world.write = first_act  # type: ignore[method-assign]
    return once


# Echo


def _spelt(value: Value) -> Value:
    """Blanks trimmed, numbers rounded, seconds dropped, text escaped, addresses in small letters."""
    if isinstance(value, Decimal):
        return round(value)
    if isinstance(value, datetime):
        return value.replace(second=0, microsecond=0)
    if isinstance(value, str):
        text = html.escape(" ".join(value.split()))
        return text.lower() if "@" in text else text
    return value


def _mapped(value: Value) -> Value:
    """What a trigger does, and nobody could foresee."""
    return "Smith" if value == "Smiht  & Sons" else value


@pytest.mark.parametrize(
    ("made", "writer"),
    [
        (_spelt, "us"),
        (_spelt, "us, of the record"),
        (_spelt, "unknown"),
        (_mapped, "us"),
        (_mapped, "us, of the record"),
    ],
)
@pytest.mark.parametrize("policy", ["ours", "human_wins", "newest", "ask"])
def test_our_value_in_the_crms_own_spelling_is_no_change(
    lab: Any, made: Callable[[Value], Value], policy: str, writer: str
) -> None:
    owner = {"owner": "ours"} if policy == "ours" else {"owner": "shared", "policy": policy}
    lab.fields["LastName"] = {"from": "person.last_name", **owner}
    lab.fields["Company"] = {"from": "person.contact", **owner}
    lab.fields["LastSeen"] = {"from": "person.last_event_at", "owner": "ours"}
    lab.world.keeps_history = writer == "us"
    _making(lab.world, made, unknown=writer == "unknown")
    lab.now += timedelta(seconds=17)
    lab.points(ADA, 50.3, last_name="Smiht  & Sons", contact="Smith@Sons.example")
    lab.run()
    assert lab.held(ADA)["LastName"] == made("Smiht  & Sons") != "Smiht  & Sons"
    calls = lab.world.counters["write_calls"]
    for _ in range(3):
        lab.later()
        sink = lab.sink()
        assert (sink.changes, sink.drift, sink.to_decide) == ([], 0, [])
    assert lab.world.counters["write_calls"] == calls
    assert known(lab)["last_name"] == "Smiht  & Sons", "and our own knowledge is not the CRM's spelling"
    lab.points(ADA, 0, last_name="Smith & Daughters")
    lab.run()
    lab.run()
    assert lab.held(ADA)["LastName"] == made("Smith & Daughters"), "and a new value of ours is written"


def _making(world: MemoryWorld, made: Callable[[Value], Value], *, unknown: bool) -> None:
    """The CRM keeps something else than it is given, in its own name or in nobody's."""
    store = world._store

    def stored(ref: RemoteRef, fields: dict[str, Value], by: Any, who: str | None, at: Any) -> None:
        if by != "us":
            return store(ref, fields, by, who, at)
        spelt = {name: value if name == "Key" else made(value) for name, value in fields.items()}
        return store(ref, spelt, "unknown" if unknown else "us", None, at)

    world._store = stored  # type: ignore[method-assign]


def test_a_person_who_spells_our_value_another_way_has_changed_it(lab: Any) -> None:
    lab.fields["LastName"] = {**SHARED, "policy": "human_wins"}
    lab.points(ADA, 50, last_name="byron  king")
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastName": "byron king"})
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    lab.run()
    assert lab.held(ADA)["LastName"] == "byron king"


@pytest.mark.parametrize("policy", ["ours", "human_wins", "newest"])
def test_a_crm_restored_from_a_backup_is_brought_up_to_date(lab: Any, policy: str) -> None:
    """Last week's values are back, under our own name and with last week's time."""
    owner = {"owner": "ours"} if policy == "ours" else {"owner": "shared", "policy": policy}
    lab.fields["LastName"] = {"from": "person.last_name", **owner}
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.run()
    then, last_week = dict(lab.held(ADA)), lab.now
    lab.later(24 * 7)
    lab.points(ADA, 20, last_name="Lovelace")
    lab.run()
    lab.run()
    lab.world.edit(lab.ref(ADA), then, by="us", at=last_week)
    lab.run()
    held = lab.held(ADA)
    assert (held["LastName"], held["Score"]) == ("Lovelace", 70)
    assert lab.sink().changes == []


# Step by step


def test_a_trace_says_of_every_field_what_is_done_and_why(lab: Any) -> None:
    lab.fields["LastName"] = {**SHARED, "policy": "human_wins"}
    lab.fields["Score"]["write_when"] = {"moves": 50}
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastName": "King", "Band": "cold"}, who="Eva Neri")
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    lab.run()
    lab.later()
    lab.points(ADA, 5)
    with lab.host() as host:
        host.pull()
        sinks = host.sinks()
        targets = [inspect(t, sinks[t.connection], host.retry, host.database) for t in host.targets()]
        assessments = list(assess_all(host.program, host.database, lab.now))
        with host.database.read() as connection:
            plans = [
                Planner(host.program, [], targets, lab.now, trace=trace).plan(connection, assessments)
                for trace in (True, False)
            ]
    steps = {step.field: step for step in plans[0].targets["crm"].steps}
    assert set(steps) == set(lab.fields)
    name = steps["LastName"]
    assert (name.acknowledged, name.remote, name.desired, name.verdict) == ("Byron", "King", "Lovelace", "take")
    assert name.why == "a person (Eva Neri) changed it, and a person's edit wins"
    assert (steps["Score"].verdict, steps["Email"].verdict) == ("keep", "keep")
    assert "too little" in steps["Score"].why
    assert plans[1].targets["crm"].steps == []
