"""The recorded conversations, replayed: exactly these requests, and exactly these readings of the answers.

They were recorded from the simulator, as their first lines say: they pin what the connector sends. To make them anew:
`SYNCLINE_RECORD=1 pytest plugins/salesforce/tests/test_salesforce_cassettes.py`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
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
from syncline_salesforce import SalesforceConfig, SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

CASSETTES = Path(__file__).parents[3] / "cassettes" / "salesforce"
RECORD = bool(os.environ.get("SYNCLINE_RECORD"))
LOOPBACK = "http://simulator.invalid"
NOW = simulated_now()
SINCE = '{"since": "2026-06-01T07:00:00.000Z"}'
THEN = 'then {"since": "2026-06-01T08:00:00.000Z", "swept": "2026-06-01T07:00:00.000Z"}'
LEADS = ("00Q5e0000000001EAA", "00Q5e0000000006EAA")
"""The first leads of the seeded org; the second was never converted."""
SPECS = (
    FieldSpec("Lead", "Syncline_Key__c", "text", "Key", max_length=64, unique=True),
    FieldSpec("Lead", "Lead_Score__c", "number", "Score", scale=0),
)


def _nothing(_: SalesforceSimulator) -> None:
    """The org as it was seeded and prepared."""


def _edit(org: SalesforceSimulator) -> None:
    org.human_edit("Lead", LEADS[0], FirstName="Ada")
    org.delete_record("Lead", LEADS[1])


def _expire(org: SalesforceSimulator) -> None:
    org.tokens.calls_per_session = 1


def _exhaust(org: SalesforceSimulator) -> None:
    org.daily_calls = 0


def _busy(org: SalesforceSimulator) -> None:
    org.faults = [Fault("status", on="PATCH *", status=401, times=None, body=[{"errorCode": "INVALID_SESSION_ID"}])]


def _write(number: int, **fields: Any) -> Write:
    return Write(f"p{number}", ("Syncline_Key__c", f"key-{number}"), {"LastName": "R", "Company": "C", **fields})


def _told(outcomes: Any) -> list[str]:
    return [f"{o.key} {o.status.value}" + (f" {o.code}" if o.code else "") for o in outcomes]


def _upsert(*writes: Write) -> Callable[[SalesforceSink], list[str]]:
    return lambda sink: _told(sink.upsert("Lead", writes))


def _changes(cursor: str | None) -> Callable[[SalesforceSink], list[str]]:
    """Without a field: types would be described, which makes a large cassette."""

    def read(sink: SalesforceSink) -> list[str]:
        pages = list(sink.changes("Lead", [], cursor))
        told = [
            f"{r.ref.id} {r.changed_by} {'deleted' if r.deleted else r.emails[0]}" for p in pages for r in p.records[:2]
        ]
        return [*told, f"then {pages[-1].cursor}"]

    return read


def _task(sink: SalesforceSink) -> list[str]:
    task = TaskWrite("t-1", RemoteRef("Lead", LEADS[1]), "Call", "Why", NOW, "high")
    return _told([*sink.create_tasks([task]), *sink.create_tasks([task])])


def _members(sink: SalesforceSink) -> list[str]:
    member = [Member("m", RemoteRef("Lead", LEADS[1]))]
    return _told([*sink.set_members("Caldi", member, []), *sink.set_members("Caldi", [], member)])


def _prepare(sink: SalesforceSink) -> list[str]:
    return list(sink.prepare([], ["Caldi", "Freddi"]))


def _small_pages(org: SalesforceSimulator) -> None:
    org.page_size = 15


@dataclass(frozen=True)
class Case:
    """One conversation: what is done, in what state of the org, and what comes of it."""

    name: str
    act: Callable[[SalesforceSink], list[str]]
    wanted: list[str] | type[Exception]
    before: Callable[[SalesforceSimulator], None] = _nothing


CASES = [
    Case(
        "lead/upsert_created_and_rejected",
        _upsert(_write(1), _write(2, Company=None), _write(3, Lead_Score__c=Decimal("7"))),
        ["p1 created", "p2 rejected REQUIRED_FIELD_MISSING", "p3 created"],
    ),
    Case(
        "lead/upsert_by_id", _upsert(Write("p", ("Id", LEADS[1]), {"Lead_Score__c": 5, "Title": None})), ["p updated"]
    ),
    Case("lead/upsert_unknown_field", _upsert(_write(1, Gone__c="x")), SchemaDriftError),
    Case(
        "lead/upsert_session_expired",
        lambda s: _upsert(_write(1))(s) + _upsert(_write(2))(s),
        ["p1 created", "p2 created"],
        _expire,
    ),
    Case("lead/upsert_session_refused", _upsert(_write(1)), AuthError, _busy),
    Case("lead/upsert_quota_used_up", _upsert(_write(1)), RateLimitError, _exhaust),
    Case(
        "lead/bulk_upsert",
        lambda s: _upsert(*(_write(n, Title='a "quoted"\nline') for n in range(201)))(s)[:2],
        ["p0 created", "p1 created"],
    ),
    Case(
        "lead/changes_first_read",
        _changes(None),
        [
            "00Q5e0000000001EAA person PAOLO.GALLO0@GINESTRA.EXAMPLE",
            "00Q5e0000000002EAA person sara.ricci3@dedalo.example",
            "00Q5e000000000IEAQ person cliente11@bottega.example",
            "00Q5e000000000JEAQ person cliente12@bottega.example",
            THEN.replace("07:00", "08:00"),
        ],
        _small_pages,
    ),
    Case(
        "lead/changes_since",
        _changes(SINCE),
        [
            "00Q5e0000000001EAA person PAOLO.GALLO0@GINESTRA.EXAMPLE",
            "00Q5e0000000006EAA person deleted",
            THEN,
        ],
        _edit,
    ),
    Case("lead/changes_nothing_new", _changes(SINCE), [THEN]),
    Case("campaign/prepared", _prepare, ["created campaign 'Freddi'"]),
    Case("task/created_once", _task, ["t-1 created", "t-1 unchanged"]),
    Case("campaign_member/added_and_removed", _members, ["m created", "m updated"]),
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
def _conversation(case: Case) -> Iterator[SalesforceSink]:
    path = CASSETTES / f"{case.name}.yaml"
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_prepared(case)).url if RECORD else LOOPBACK
        stack.enter_context(use_cassette(path, record=RECORD, source="the simulator of syncline-salesforce"))
        login = {"client_id": "3MVG9simulated.client", "client_secret": "simulated-client-secret", "domain": "x"}
        config = SalesforceConfig.model_validate({"login": login, "login_url": url})
        http = Http("crm", sleep=lambda _: None)
        stack.callback(http.close)
        yield SalesforceSink(config, Context("crm", http, lambda: datetime.now(UTC), {}))


@contextlib.contextmanager
def _prepared(case: Case) -> Iterator[SalesforceSimulator]:
    """Only when recording: the org of a few people, prepared by another connection."""
    with SalesforceSimulator(SimulatorOptions(people=9, clock=EPOCH)) as org:
        http = Http("crm")
        config = SalesforceConfig.model_validate({n: v for n, v in org.settings.items() if n != "plugin"})
        sink = SalesforceSink(config, Context("crm", http, org.now, {}))
        sink.prepare([*SPECS, *sink.task_fields], ["Caldi"])
        http.close()
        case.before(org)
        yield org


def test_every_cassette_has_its_case_and_says_where_it_comes_from() -> None:
    found = {str(p.relative_to(CASSETTES).with_suffix("")): provenance_of(p) for p in CASSETTES.rglob("*.yaml")}
    assert set(found) == {case.name for case in CASES}
    assert {p.birth for p in found.values()} == {"synthetic"}


def test_no_cassette_holds_a_secret() -> None:
    for path in CASSETTES.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "simulated-client-secret" not in text
        assert "AQ.simulated" not in text
