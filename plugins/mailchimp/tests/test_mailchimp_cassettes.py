"""The recorded conversations, replayed: exactly these requests, and exactly these readings of the answers.

They were recorded from the simulator, as their first lines say: they pin what the connector sends. To make them anew:
`SYNCLINE_RECORD=1 pytest plugins/mailchimp/tests/test_mailchimp_cassettes.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from syncline.errors import AuthError, ConfigError
from syncline.model import FieldSpec, Member, RemoteRef, Write
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.cassettes import provenance_of, use_cassette
from syncline.testing.population import EPOCH, simulated_now
from syncline_mailchimp import MailchimpConfig, MailchimpConnector
from syncline_mailchimp.simulator import MailchimpSimulator
from syncline_mailchimp.simulator.world import LIST_ID

CASSETTES = Path(__file__).parents[3] / "cassettes" / "mailchimp"
RECORD = bool(os.environ.get("SYNCLINE_RECORD"))

LOOPBACK = "http://simulator.invalid"
NOW = simulated_now()
CAMPAIGN = "ccd202c066"
"""The last campaign of the seeded account."""
ADA, BOB = "15ab0564dd3b07450cb9e808a12df7c7", "9e791cbf57849a7488f2348f1f0cf2a1"
"""Contact ids of two of the seeded people."""


def _nothing(_: MailchimpSimulator) -> None:
    """The account as it was seeded."""


def _click(simulator: MailchimpSimulator) -> None:
    someone = simulator.world.subscribers[min(simulator.world.subscribers)]
    at = NOW - timedelta(minutes=5)
    simulator.add_activity(someone.email, CAMPAIGN, "click", at, url="https://www.example.com/pricing")


def _mark(key: str, newest: str, totals: str = "") -> str:
    return json.dumps({"version": 1, "marks": {key: {"newest": newest, "totals": totals}}})


@dataclass(frozen=True)
class Case:
    """One conversation: what is read, from where, and what comes of it; or what else is done."""

    name: str
    wanted: list[str] | type[Exception]
    settings: dict[str, Any] = field(default_factory=dict)
    cursor: str | None = None
    prepare: Callable[[MailchimpSimulator], None] = _nothing
    act: Callable[[MailchimpConnector], Iterable[str]] | None = None

    @property
    def stream(self) -> str:
        return self.name.partition("/")[0]


def _archived(simulator: MailchimpSimulator) -> None:
    people = simulator.world.subscribers
    ada, bob = (people[simulator.world.contacts[contact]] for contact in (ADA, BOB))
    simulator.archive(ada.email, NOW - timedelta(minutes=1))
    simulator.change_fields(bob.email, NOW - timedelta(minutes=2), {"COMPANY": "Borea"})


def _prepared(simulator: MailchimpSimulator) -> None:
    for body in ({"tag": "SCORE", "name": "Score", "type": "number"}, {"tag": "BAND", "name": "Band", "type": "text"}):
        post(simulator, f"/lists/{LIST_ID}/merge-fields", body)
    post(simulator, f"/lists/{LIST_ID}/segments", {"name": "Hot", "static_segment": []})


def post(simulator: MailchimpSimulator, path: str, body: dict[str, Any]) -> None:
    requests.post(f"{simulator.url}/3.0{path}", json=body, auth=("x", simulator.api_key), timeout=10).raise_for_status()


def _changes(sink: MailchimpConnector) -> Iterator[str]:
    cursor = json.dumps({"version": 1, "since": "2026-06-01T07:00:00Z"})
    for page in sink.changes("member", ["EMAIL", "COMPANY", "status"], cursor):
        for record in page.records:
            yield f"{record.ref.id[:6]} {'gone' if record.deleted else dict(record.fields)['COMPANY']}"


def _upserts(*writes: Write) -> Callable[[MailchimpConnector], Iterator[str]]:
    def act(sink: MailchimpConnector) -> Iterator[str]:
        for outcome in sink.upsert("member", writes):
            yield f"{outcome.key} {outcome.status}{f': {outcome.reason}' if outcome.reason else ''}"

    return act


def _prepare(sink: MailchimpConnector) -> Iterator[str]:
    needed = [
        FieldSpec("member", "SYNCKEY", "text", "Syncline key", unique=True),
        FieldSpec("member", "SCORE", "number", "Score"),
    ]
    yield from sink.missing(needed, ["Hot"])
    yield from sink.prepare(needed, ["Hot"])


def _tags(sink: MailchimpConnector) -> Iterator[str]:
    ada, bob, nobody = (Member(name, RemoteRef("member", id)) for name, id in (("ada", ADA), ("bob", BOB), ("x", "x")))
    for add, remove in (([ada, bob, nobody], []), ([ada], [bob])):
        yield " ".join(f"{o.key} {o.status}" for o in sink.set_members("Hot", add, remove))


GONE = (
    "not in the audience, and nobody is added to it: HTTP 404: Resource Not Found: The requested resource could not be"
    " found."
)
BAD = "HTTP 400: Invalid Resource: Your merge fields were invalid.: SCORE: Please enter a number"
LAST_ONE = {"horizon": "5d", "automations": False}

CASES = [
    Case(
        "members/in_pages",
        [
            "consent_change jrgen.moretti2 2026-03-05T08:52:14 granted",
            "form_submission jrgen.moretti2 2026-03-05T08:52:00",
            "consent_change andrea.larsen3 2026-03-06T01:16:13 granted",
            "consent_change andrea.obrien1 2026-03-06T03:54:21 granted",
            "form_submission andrea.obrien1 2026-03-06T03:54:00",
            "consent_change lorenzo.garca4 2026-03-06T15:38:26 granted",
            "consent_change ucja.smith0 2026-05-08T12:26:55",
        ],
        {"page_size": 2},
    ),
    Case(
        "members/changed_since",
        ["consent_change ucja.smith0 2026-05-08T12:26:55"],
        cursor=_mark(LIST_ID, "2026-04-01T00:00:00Z"),
    ),
    Case("members/unknown_audience", ConfigError, {"audience": "0000000000"}),
    Case(
        "opens/machines_told_apart",
        [
            "email_open jrgen.moretti2 2026-05-29T08:30:18 machine",
            "email_open andrea.obrien1 2026-05-29T09:15:23",
            "email_open andrea.obrien1 2026-05-29T14:50:56",
            "email_open andrea.obrien1 2026-05-29T12:16:43",
        ],
        LAST_ONE,
    ),
    Case("opens/automations", ["email_open andrea.obrien1 2026-03-06T05:50:31"], {"horizon": "1d"}),
    Case(
        "activity/clicks_since",
        ["email_click jrgen.moretti2 2026-06-01T07:55:00"],
        LAST_ONE,
        _mark(CAMPAIGN, "2026-06-01T07:00:00Z", "old"),
        _click,
    ),
    Case(
        "activity/clicks_in_pages",
        [
            "email_click andrea.obrien1 2026-06-01T03:35:07",
            "email_click andrea.obrien1 2026-06-01T03:15:07",
            "email_click andrea.obrien1 2026-06-01T03:00:07",
            "email_click andrea.obrien1 2026-06-01T02:45:07",
        ],
        {**LAST_ONE, "page_size": 2},
    ),
    Case(
        "unsubscribes/left",
        ["email_unsubscribe ucja.smith0 2026-05-08T12:26:00", "consent_change ucja.smith0 2026-05-08T12:26:00"],
        {"horizon": "30d", "automations": False},
    ),
    Case(
        "batches/first_load",
        [
            "email_open jrgen.moretti2 2026-05-29T08:30:18 machine",
            "email_open andrea.obrien1 2026-05-29T09:15:23",
            "email_open andrea.obrien1 2026-05-29T14:50:56",
            "email_open andrea.obrien1 2026-05-29T12:16:43",
        ],
        {**LAST_ONE, "batch_from": 1},
        act=lambda source: _read(source, "opens", None),
    ),
    Case("member/changed_and_archived", ["9e791c Borea", "15ab05 gone"], prepare=_archived, act=_changes),
    Case(
        "member/updated",
        ["k1 updated"],
        prepare=_prepared,
        act=_upserts(Write("k1", ("Id", ADA), {"SCORE": Decimal("12.5"), "BAND": None})),
    ),
    Case(
        "member/nobody",
        [f"k1 rejected: {GONE}"],
        act=_upserts(Write("k1", ("EMAIL", "Stranger@borea.example"), {"COMPANY": "Borea"})),
    ),
    Case(
        "member/refused",
        [f"k1 rejected: {BAD}"],
        prepare=_prepared,
        act=_upserts(Write("k1", ("Id", ADA), {"SCORE": "many"})),
    ),
    Case(
        "member/updated_in_bulk",
        ["k1 updated", f"k2 rejected: {GONE}", f"k3 rejected: {BAD}"],
        prepare=_prepared,
        act=_upserts(
            Write("k1", ("Id", ADA), {"SCORE": 80}),
            Write("k2", ("Id", "nobody"), {"SCORE": 80}),
            Write("k3", ("Id", BOB), {"SCORE": "many"}),
        ),
    ),
    Case(
        "member/prepared",
        [
            "member: the merge field SYNCKEY (text)",
            "member: the merge field SCORE (number)",
            "member: the tag 'Hot'",
            "member: created the merge field SYNCKEY (text)",
            "member: created the merge field SCORE (number)",
            "member: created the tag 'Hot'",
        ],
        act=_prepare,
    ),
    Case(
        "member/tagged",
        ["ada updated bob updated x rejected", "ada unchanged bob updated"],
        prepare=_prepared,
        act=_tags,
    ),
    Case("account/check", ["Example Co"]),
    Case("account/refused", AuthError, {"api_key": "feedfeedfeedfeedfeedfeedfeedfeed-us1"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cassette(case):
    with _vendor(case) as url, use_cassette(CASSETTES / f"{case.name}.yaml", record=RECORD):
        if isinstance(case.wanted, type):
            with pytest.raises(case.wanted):
                _done(_source(case, url), case)
        else:
            assert _done(_source(case, url), case) == case.wanted


def test_every_cassette_is_played_and_says_where_it_comes_from():
    found = {path.relative_to(CASSETTES).with_suffix("").as_posix(): path for path in CASSETTES.rglob("*.yaml")}
    assert set(found) == {case.name for case in CASES}
    assert {provenance_of(path).birth for path in found.values()} == {"synthetic"}


@contextlib.contextmanager
def _vendor(case):
    """The simulator when recording; nobody at all when replaying."""
    if not RECORD:
        yield LOOPBACK
        return
    with MailchimpSimulator(SimulatorOptions(people=5, seed=96, clock=EPOCH)) as simulator:
        case.prepare(simulator)
        yield simulator.url


def _source(case, url):
    settings = {"api_key": MailchimpSimulator.api_key, "audience": LIST_ID, "base_url": f"{url}/3.0", **case.settings}
    context = Context("newsletter", Http("newsletter", sleep=lambda _: None), lambda: NOW, {})
    return MailchimpConnector(MailchimpConfig.model_validate(settings), context)


def _done(connector, case):
    if case.stream == "account":
        return [connector.check().name]
    return list(case.act(connector)) if case.act else _read(connector, case.stream, case.cursor)


def _read(source, stream, cursor):
    records = [record for page in source.read(stream, cursor) for record in page.records]
    return [_line(event) for record in records for event in source.normalize(record)]


def _line(event):
    """`email_open zo.gallo2 2026-05-29T08:30:15 machine`"""
    flags = [name for name in ("machine", "granted") if event.properties.get(name)]
    who = event.identifiers[0].value.partition("@")[0]
    return " ".join([event.type, who, event.occurred_at.strftime("%Y-%m-%dT%H:%M:%S"), *flags])
