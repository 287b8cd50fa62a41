"""The recorded conversations, replayed: exactly these requests, and exactly these readings of the answers.

They were recorded from the simulator, as their first lines say: they pin what the connector sends. To make them anew:
`SYNCLINE_RECORD=1 pytest plugins/zoho/tests/test_zoho_cassettes.py`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncline.errors import AuthError, ConfigError, RateLimitError, SchemaDriftError
from syncline.model import FieldSpec, Member, RemoteRef, TaskWrite, Write
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.cassettes import provenance_of, use_cassette
from syncline.testing.population import EPOCH, simulated_now
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoConfig, ZohoSink
from syncline_zoho.simulator import ZohoSimulator
from syncline_zoho.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN

CASSETTES = Path(__file__).parents[3] / "cassettes" / "zoho"
RECORD = bool(os.environ.get("SYNCLINE_RECORD"))
LOOPBACK = "http://simulator.invalid"
NOW = simulated_now()
LEADS = ("5725767000000524001", "5725767000000524005", "5725767000000524006")
"""The first leads of the seeded account; none of them was converted."""
CONTACT = "5725767000000524004"
SINCE = '{"since": "2026-06-01T07:00:00+00:00"}'
THEN = f"then {SINCE.replace('07:00:00', '08:00:00')}"
SPECS = (
    FieldSpec("Leads", "Syncline_Key", "text", "Syncline key", max_length=64, unique=True),
    FieldSpec("Leads", "Lead_Score", "number", "Lead Score", scale=2),
)
SHOWN = {
    "Leads": "Last_Name First_Name Company Email Designation Converted__s Converted_Contact Modified_Time "
    "Modified_By Tag Syncline_Key Lead_Score",
    "Contacts": "Last_Name First_Name Email Syncline_Key",
    "Tasks": "Subject Due_Date Who_Id What_Id Status Priority Description Syncline_Key",
}
"""Our profile sees few fields, so that the descriptions stay short."""
NOTIFY = {"notify_url": "https://hooks.sync.example/zoho/path", "notify_token": "only-zoho-knows"}


def _nothing(_: ZohoSimulator) -> None:
    """The account as it was seeded and prepared."""


def _edit(crm: ZohoSimulator) -> None:
    crm.human_edit("Leads", LEADS[0], First_Name="Ada")
    crm.delete_record("Leads", LEADS[1])
    crm.convert_lead(LEADS[2])


def _expire(crm: ZohoSimulator) -> None:
    crm.tokens.calls_per_token = 3


def _small_pages(crm: ZohoSimulator) -> None:
    crm.page_size = 15


def _crowded(crm: ZohoSimulator) -> None:
    crm.faults = [Fault("too_many", on="*upsert")]


def _spent(crm: ZohoSimulator) -> None:
    crm.faults = [Fault("quota", on="*upsert", seconds=60)]


def _throttled(crm: ZohoSimulator) -> None:
    crm.tokens.per_window = 0


def _refused(crm: ZohoSimulator) -> None:
    crm.tokens.revoke()


def _write(number: int, **fields: Any) -> Write:
    values = {"Last_Name": "R", "Company": "C", **fields}
    return Write(f"p{number}", ("Syncline_Key", f"key-{number}"), values)


def _told(outcomes: Any) -> list[str]:
    return [f"{o.key} {o.status.value}" + (f" {o.code}" if o.code else "") for o in outcomes]


def _upsert(*writes: Write) -> Callable[[ZohoSink], list[str]]:
    return lambda sink: _told(sink.upsert("Leads", writes))


def _changes(cursor: str | None) -> Callable[[ZohoSink], list[str]]:
    def read(sink: ZohoSink) -> list[str]:
        pages = list(sink.changes("Leads", ["First_Name"], cursor))
        told = [
            f"{r.ref.id} {r.changed_by} {'deleted' if r.deleted else r.successor.id if r.successor else r.emails[0]}"
            for page in pages
            for r in page.records[:2]
        ]
        return [*told, f"then {pages[-1].cursor}"]

    return read


def _check(sink: ZohoSink) -> list[str]:
    account = sink.check()
    return [account.id, account.name, account.details["user"]]


def _describe(sink: ZohoSink) -> list[str]:
    fields = {f.name: f for f in sink.describe("Tasks")}
    return [f"{n} {fields[n].kind} {fields[n].required}" for n in ("Subject", "Due_Date", "Syncline_Key")]


def _task(sink: ZohoSink) -> list[str]:
    tasks = [
        TaskWrite("t-1", RemoteRef("Leads", LEADS[0]), "Call", "Why", NOW + timedelta(hours=2), "high"),
        TaskWrite("t-2", RemoteRef("Contacts", CONTACT), "Call", "Why", NOW + timedelta(hours=2), "urgent"),
    ]
    return _told([*sink.create_tasks(tasks), *sink.create_tasks(tasks[:1])])


def _members(sink: ZohoSink) -> list[str]:
    member = [Member("m", RemoteRef("Leads", LEADS[0]))]
    steps = [([], member), (member, []), (member, []), ([], member)]
    return _told(o for add, remove in steps for o in sink.set_members("Caldi", add, remove))


def _prepare(sink: ZohoSink) -> list[str]:
    return list(sink.prepare([*SPECS, FieldSpec("Leads", "Hot_Lead", "boolean", "")], ["Caldi", "Freddi"]))


@dataclass(frozen=True)
class Case:
    """One conversation: what is done, in what state of the account, and what comes of it."""

    name: str
    act: Callable[[ZohoSink], list[str]]
    wanted: list[str] | type[Exception]
    before: Callable[[ZohoSimulator], None] = _nothing
    notices: bool = False


CASES = [
    Case("account/check", _check, ["712345678", "Simulated CRM", "5725767000000411001"]),
    Case("account/refused", _check, AuthError, _refused),
    Case("account/too_many_tokens", _check, RateLimitError, _throttled),
    Case(
        "leads/upsert_created_and_rejected",
        _upsert(_write(1), _write(2, Last_Name=None), _write(3, Lead_Score=Decimal("7.5"))),
        ["p1 created", "p2 rejected MANDATORY_NOT_FOUND", "p3 created"],
    ),
    Case(
        "leads/upsert_by_id",
        _upsert(Write("p", ("Id", LEADS[0]), {"Lead_Score": Decimal(5), "Designation": None})),
        ["p updated"],
    ),
    Case("leads/upsert_unknown_field", _upsert(_write(1, Gone="x")), SchemaDriftError),
    Case(
        "leads/upsert_token_expired",
        lambda s: _upsert(_write(1))(s) + _upsert(_write(2))(s),
        ["p1 created", "p2 created"],
        _expire,
    ),
    Case("leads/upsert_too_many_calls", _upsert(_write(1)), RateLimitError, _crowded),
    Case("leads/upsert_no_credits", _upsert(_write(1)), RateLimitError, _spent),
    Case(
        "leads/changes_first_read",
        _changes(None),
        [
            "5725767000000524001 person PAOLO.GALLO0@GINESTRA.EXAMPLE",
            "5725767000000524002 person 5725767000000524004",
            "5725767000000524018 person cliente11@bottega.example",
            "5725767000000524019 person cliente12@bottega.example",
            THEN,
        ],
        _small_pages,
    ),
    Case(
        "leads/changes_since",
        _changes(SINCE),
        [
            "5725767000000524005 person deleted",
            "5725767000000524001 person PAOLO.GALLO0@GINESTRA.EXAMPLE",
            "5725767000000524006 person 5725767000000524032",
            THEN,
        ],
        _edit,
    ),
    Case("leads/changes_nothing_new", _changes(SINCE), [THEN]),
    Case(
        "settings/describe",
        _describe,
        ["Subject text True", "Due_Date date False", "Syncline_Key text False"],
    ),
    Case("settings/unknown_module", lambda s: [f.name for f in s.describe("Lead")], ConfigError),
    Case(
        "settings/prepared",
        _prepare,
        ["created field Leads.Hot_Lead", "created tag 'Freddi' of Leads", "asked for notifications of Leads"],
        notices=True,
    ),
    Case("tasks/created_once", _task, ["t-1 created", "t-2 created", "t-1 unchanged"]),
    Case("tags/added_and_removed", _members, ["m unchanged", "m updated", "m unchanged", "m updated"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_conversation(case: Case) -> None:
    with _conversation(case) as sink:
        if isinstance(case.wanted, list):
            assert case.act(sink) == case.wanted
        else:
            with pytest.raises(case.wanted):
                case.act(sink)


@contextlib.contextmanager
def _conversation(case: Case) -> Iterator[ZohoSink]:
    path = CASSETTES / f"{case.name}.yaml"
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_prepared(case)).url if RECORD else LOOPBACK
        stack.enter_context(use_cassette(path, record=RECORD, source="the simulator of syncline-zoho"))
        login = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
        settings = {**login, "accounts_url": url, **(NOTIFY if case.notices else {})}
        http = Http("crm", sleep=lambda _: None)
        stack.callback(http.close)
        yield ZohoSink(ZohoConfig.model_validate(settings), Context("crm", http, lambda: NOW, {}))


@contextlib.contextmanager
def _prepared(case: Case) -> Iterator[ZohoSimulator]:
    """Only when recording: the account of a few people, prepared by another connection."""
    with ZohoSimulator(SimulatorOptions(people=9, clock=EPOCH)) as crm:
        http = Http("crm")
        config = ZohoConfig.model_validate({n: v for n, v in crm.settings.items() if n != "plugin"})
        sink = ZohoSink(config, Context("crm", http, crm.now, {}))
        sink.prepare([*SPECS, *sink.task_fields], ["Caldi"])
        http.close()
        for module, shown in SHOWN.items():
            crm.crm.hide(*(f"{module}.{name}" for name in crm.crm.fields(module) if name not in shown.split()))
        case.before(crm)
        yield crm


def test_every_cassette_has_its_case_and_says_where_it_comes_from() -> None:
    found = {str(p.relative_to(CASSETTES).with_suffix("")): provenance_of(p) for p in CASSETTES.rglob("*.yaml")}
    assert set(found) == {case.name for case in CASES}
    assert {p.birth for p in found.values()} == {"synthetic"}


def test_no_cassette_holds_a_secret() -> None:
    for path in CASSETTES.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        for secret in (CLIENT_SECRET, REFRESH_TOKEN, "1000.simulated", "only-zoho-knows"):
            assert secret not in text, (path, secret)
