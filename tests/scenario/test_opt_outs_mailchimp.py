"""Mailchimp's own plugin against its simulator: a CRM's opt-out arrives there, and its echo blocks nobody for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncline.config import load_all
from syncline.host import Host
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds, rooms
from syncline.sdk import SimulatorOptions
from syncline.sync.retry import retrying
from syncline.testing.memory import MemoryWorld, memory_plugin
from syncline.testing.population import EPOCH

PURPOSE = "email_marketing"


class Office:
    """An audience at Mailchimp, and a CRM in memory that has one of its people."""

    def __init__(self, folder: Path, simulator: Any) -> None:
        self.folder = folder
        self.simulator = simulator
        self.world = MemoryWorld(clock=lambda: self.now)
        self.plugins = Plugins.load({"mailchimp"})
        self.plugins.register(memory_plugin(self.world), name="memory")
        settings = {**simulator.settings, "api_key": "${KEY}"}
        config = {
            "version": 1,
            "store": "sqlite:///state.db",
            "connections": {"letter": settings, "crm": {"plugin": "memory-sink"}},
            "consent": {"purposes": {PURPOSE: {"basis": "consent"}}},
            "syncs": [
                {
                    "name": "crm",
                    "to": "crm",
                    "object": "Lead",
                    "match": "Key",
                    "first_run": "whole",
                    "purpose": PURPOSE,
                    "fields": {
                        "LastName": {"from": "person.last_name", "owner": "ours"},
                        "OptedOut": {"consent": PURPOSE},
                    },
                },
                {
                    "name": "letter",
                    "to": "letter",
                    "object": "member",
                    "match": "SYNCKEY",
                    "first_run": "whole",
                    "fields": {"unsubscribed": {"consent": PURPOSE}},
                },
            ],
        }
        path = folder / "connectors.yaml"
        path.write_text(json.dumps(config), "utf-8")
        env = {"KEY": str(simulator.settings["api_key"])}
        self.loaded = load_all(path, env=env, kinds=kinds(self.plugins), rooms=rooms())
        self.env = env

    @property
    def now(self) -> datetime:
        found: datetime = self.simulator.now()
        return found

    def host(self) -> Host:
        retry = retrying(attempts=2, sleep=lambda _: None)
        return Host(self.loaded, self.plugins, folder=self.folder, clock=lambda: self.now, retry=retry)

    def run(self) -> Any:
        self.simulator.advance(timedelta(hours=1))
        with self.host() as host:
            return host.run()

    def status(self, email: str) -> str:
        people = self.simulator.world.subscribers.values()
        return str(next(one.status for one in people if one.email.lower() == email))

    def held(self, email: str) -> Any:
        [ref] = self.world.find("Lead", "Email", email)
        return self.world.get(ref)

    def tick(self, email: str, value: bool) -> None:
        [ref] = self.world.find("Lead", "Email", email)
        self.world.edit(ref, {"OptedOut": value})


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Plugins.load({"mailchimp"}).simulators()["mailchimp"]
    simulator: Any = made(SimulatorOptions(people=30, seed=2, clock=EPOCH))
    simulator.start()
    try:
        office = Office(tmp_path, simulator)
        with office.host() as host:
            host.prepare("letter")
        yield office
    finally:
        simulator.stop()


@pytest.fixture
def anna(office: Office) -> str:
    """Somebody who is subscribed, and whom the CRM knows."""
    people = office.simulator.world.subscribers.values()
    email = str(next(one.email for one in people if one.status == "subscribed" and one.last_name)).lower()
    office.world.put("Lead", {"Email": email})
    office.run()
    assert office.held(email)["LastName"]
    return email


def test_the_crms_tick_unsubscribes_at_mailchimp_and_nothing_else_is_said(office: Office, anna: str) -> None:
    office.tick(anna, True)
    report = office.run()
    assert office.status(anna) == "unsubscribed"
    assert report.sinks["letter"].opt_outs == 1
    assert [office.run().sinks["letter"].write_calls for _ in range(2)] == [0, 0]


def test_what_mailchimp_then_tells_is_our_own_word(office: Office, anna: str) -> None:
    """The CRM takes its tick back. Mailchimp goes on saying that she has left: she is not subscribed again, and there
    is no consent any more; but it is not Mailchimp that ticks her in the CRM for ever after."""
    office.tick(anna, True)
    for _ in range(2):
        office.run()
    office.tick(anna, False)
    for _ in range(3):
        report = office.run()
    assert office.held(anna)["OptedOut"] is False
    assert office.status(anna) == "unsubscribed"
    assert report.sinks["crm"].opt_outs == 0
    with office.host() as host:
        [allowed] = host.explain(anna).consent
    assert (allowed.refusal, allowed.sides) == (f"no consent for {PURPOSE}", ())


def test_who_subscribes_again_by_herself_is_written_to_again(office: Office, anna: str) -> None:
    office.tick(anna, True)
    office.run()
    office.tick(anna, False)
    office.run()
    office.simulator.change_member(anna, office.now, by="user", status="subscribed")
    office.run()
    with office.host() as host:
        [allowed] = host.explain(anna).consent
    assert allowed.refusal is None
    assert office.status(anna) == "subscribed"
    assert office.held(anna)["OptedOut"] is False


def test_who_leaves_at_mailchimp_is_ticked_in_the_crm(office: Office, anna: str) -> None:
    office.simulator.unsubscribe(anna, None, office.now)
    office.run()
    assert office.held(anna)["OptedOut"] is True
    office.tick(anna, False)  # a rep cannot undo what she said herself
    office.run()
    assert office.held(anna)["OptedOut"] is True
