"""The recorded conversations, replayed: exactly these requests, and exactly these readings of the answers.

They were recorded from the simulator, as their first lines say: they pin what the connector sends. To make them anew:
`SYNCLINE_RECORD=1 pytest plugins/hubspot/tests/test_hubspot_cassettes.py`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncline.errors import AuthError, RateLimitError, SchemaDriftError
from syncline.model import FieldSpec, Member, RemoteRef, TaskWrite, Write
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.cassettes import provenance_of, use_cassette
from syncline.testing.population import EPOCH, simulated_now
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotConfig, HubspotSink
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, SERVICE_KEY
from syncline_hubspot.values import milliseconds

CASSETTES = Path(__file__).parents[3] / "cassettes" / "hubspot"
RECORD = bool(os.environ.get("SYNCLINE_RECORD"))
LOOPBACK = "http://simulator.invalid"
NOW = simulated_now()
SINCE = f'{{"since": {milliseconds(NOW) - 3_600_000}, "graves": {milliseconds(NOW) - 3_600_000}, "pages": 1}}'
THEN = f'then {{"since": {milliseconds(NOW)}, "graves": {milliseconds(NOW)}'
OAUTH = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
CONTACT, OTHER = "501", "505"
"""Contacts of the seeded account."""
SPECS = (
    FieldSpec("contacts", "syncline_key", "text", "Key", max_length=64, unique=True),
    FieldSpec("contacts", "lead_score", "number", "Score", scale=0),
)


def _nothing(_: HubspotSimulator) -> None:
    """The account as it was seeded and prepared."""


def _edit(portal: HubspotSimulator) -> None:
    portal.human_edit("contacts", CONTACT, jobtitle="CFO")
    portal.delete_record("contacts", OTHER)
    first, second = (portal.human_create("contacts", lastname=n) for n in ("Neri", "Verdi"))
    portal.merge("contacts", first, second)


def _faulty(*faults: Fault) -> Callable[[HubspotSimulator], None]:
    def break_it(portal: HubspotSimulator) -> None:
        portal.faults = list(faults)

    return break_it


def _write(number: int, **fields: Any) -> Write:
    return Write(f"p{number}", ("syncline_key", f"key-{number}"), {"lastname": "R", **fields})


def _told(outcomes: Any) -> list[str]:
    return [f"{o.key} {o.status.value}" + (f" {o.code}" if o.code else "") for o in outcomes]


def _upsert(*writes: Write) -> Callable[[HubspotSink], list[str]]:
    return lambda sink: _told(sink.upsert("contacts", writes))


def _changes(cursor: str | None, *fields: str) -> Callable[[HubspotSink], list[str]]:
    def read(sink: HubspotSink) -> list[str]:
        pages = list(sink.changes("contacts", fields, cursor))
        told = [
            f"{r.ref.id} {r.changed_by} "
            + (f"lives on as {r.successor.id}" if r.successor else "deleted" if r.deleted else f"{r.fields}")
            for p in pages
            for r in p.records[:4]
        ]
        return [*sorted(told), f"then {pages[-1].cursor}"]

    return read


def _task(sink: HubspotSink) -> list[str]:
    task = TaskWrite("t-1", RemoteRef("contacts", CONTACT), "Call", "Why", NOW, "high")
    return _told([*sink.create_tasks([task]), *sink.create_tasks([task])])


def _members(sink: HubspotSink) -> list[str]:
    people = [Member("m", RemoteRef("contacts", CONTACT)), Member("x", RemoteRef("contacts", "999999"))]
    return _told([*sink.set_members("Caldi", people, []), *sink.set_members("Caldi", [], people[:1])])


def _prepare(*specs: FieldSpec) -> Callable[[HubspotSink], list[str]]:
    return lambda sink: list(sink.prepare(specs, ["Caldi", "Freddi"]))


def _check(sink: HubspotSink) -> list[str]:
    return [sink.check().name]


@dataclass(frozen=True)
class Case:
    """One conversation: what is done, in what state of the account, and what comes of it."""

    name: str
    act: Callable[[HubspotSink], list[str]]
    wanted: Sequence[str] | type[Exception]
    before: Callable[[HubspotSimulator], None] = _nothing
    settings: dict[str, Any] = field(default_factory=lambda: {"login": {"token": SERVICE_KEY}, "app_id": 19083857})


CASES = [
    Case("account/check_by_key", _check, ["HubSpot portal 148543157"]),
    Case("account/check_by_app", _check, ["HubSpot portal 148543157"], settings={"login": OAUTH}),
    Case("account/key_refused", _check, AuthError, settings={"login": {"token": "pat-eu1-withdrawn"}}),
    Case(
        "account/app_removed",
        _check,
        AuthError,
        lambda portal: setattr(portal.tokens, "installed", False),
        {"login": OAUTH},
    ),
    Case(
        "contacts/upsert_created_and_rejected",
        _upsert(_write(1), _write(2, email="nobody"), _write(3, lead_score=Decimal("7"), phone=None)),
        ["p1 created", "p2 rejected INVALID_EMAIL", "p3 created"],
    ),
    Case(
        "contacts/upsert_by_v3",
        _upsert(_write(1), _write(2, email="nobody")),
        ["p1 created", "p2 rejected INVALID_EMAIL"],
        settings={"login": {"token": SERVICE_KEY}, "api": "v3"},
    ),
    Case(
        "contacts/upsert_by_id",
        _upsert(
            Write("p", ("Id", CONTACT), {"lead_score": 5, "jobtitle": None}),
            Write("q", ("Id", "999999"), {"lead_score": 5}),
        ),
        ["p updated", "q rejected OBJECT_NOT_FOUND"],
    ),
    Case("contacts/upsert_unknown_property", _upsert(_write(1, gone="x")), SchemaDriftError),
    Case(
        "contacts/upsert_session_expired",
        lambda s: _upsert(_write(1))(s) + _upsert(_write(2))(s),
        ["p1 created", "p2 created"],
        _faulty(Fault("expiry", on="POST *upsert", after=1)),
        {"login": OAUTH},
    ),
    Case("contacts/upsert_day_used_up", _upsert(_write(1)), RateLimitError, _faulty(Fault("quota", seconds=60))),
    Case(
        "contacts/changes_first_read",
        _changes(None),
        ["501 unknown {}", "502 unknown lives on as 504", "503 unknown lives on as 504", "504 unknown {}", THEN + "}"],
        settings={"login": {"token": SERVICE_KEY}},
    ),
    Case(
        "contacts/changes_since_with_history",
        _changes(SINCE, "jobtitle"),
        [
            "501 person {'jobtitle': 'CFO'}",
            "505 unknown deleted",
            "527 unknown lives on as 529",
            "528 unknown lives on as 529",
            "529 unknown {'jobtitle': None}",
            THEN + ', "pages": 1}',
        ],
        _edit,
    ),
    Case("contacts/changes_nothing_new", _changes(SINCE), [THEN + ', "pages": 1}']),
    Case(
        "properties/prepared",
        _prepare(FieldSpec("companies", "hot_lead", "boolean", "Hot")),
        ["created property companies.hot_lead", "created list 'Freddi'"],
    ),
    Case("tasks/created_once", _task, ["t-1 created", "t-1 unchanged"]),
    Case("lists/added_and_removed", _members, ["m created", "x rejected RECORD_MISSING", "m updated"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_conversation(case: Case) -> None:
    with _conversation(case) as sink:
        if isinstance(case.wanted, type):
            with pytest.raises(case.wanted):
                case.act(sink)
        else:
            assert case.act(sink) == list(case.wanted)


@contextlib.contextmanager
def _conversation(case: Case) -> Iterator[HubspotSink]:
    path = CASSETTES / f"{case.name}.yaml"
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_prepared(case)).url if RECORD else LOOPBACK
        stack.enter_context(use_cassette(path, record=RECORD, source="the simulator of syncline-hubspot"))
        config = HubspotConfig.model_validate({**case.settings, "base_url": url})
        http = Http("crm", sleep=lambda _: None)
        stack.callback(http.close)
        yield HubspotSink(config, Context("crm", http, simulated_now, {}))


@contextlib.contextmanager
def _prepared(case: Case) -> Iterator[HubspotSimulator]:
    """Only when recording: the account of a few people, prepared by another connection."""
    with HubspotSimulator(SimulatorOptions(people=9, clock=EPOCH)) as portal:
        assert isinstance(portal, HubspotSimulator)
        http = Http("crm", sleep=lambda _: None)
        config = HubspotConfig.model_validate({n: v for n, v in portal.settings.items() if n != "plugin"})
        sink = HubspotSink(config, Context("crm", http, portal.now, {}))
        sink.prepare([*SPECS, *sink.task_fields], ["Caldi"])
        http.close()
        case.before(portal)
        yield portal


def test_every_cassette_has_its_case_and_says_where_it_comes_from() -> None:
    found = {str(p.relative_to(CASSETTES).with_suffix("")): provenance_of(p) for p in CASSETTES.rglob("*.yaml")}
    assert set(found) == {case.name for case in CASES}
    assert {p.birth for p in found.values()} == {"synthetic"}


def test_no_cassette_holds_a_secret() -> None:
    for path in CASSETTES.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert not [s for s in (CLIENT_SECRET, REFRESH_TOKEN, SERVICE_KEY, "pat-eu1", "CJxxx") if s in text], path
