"""Twenty incremental pulls, with trouble between them, equal one full pull: no event missing, none doubled."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from syncline.model import Event
from syncline_mailpoet import MailPoetSource, client, statements
from syncline_mailpoet.simulator import APPLE, BROWSER, MailPoetSimulator

PULLS = 20
FACTS = ("unsubscribes", "bounces", "forms", "opens", "clicks")
STATES = ("subscribers", "lists")
AGENTS = (BROWSER, APPLE, "")


class Trouble:
    """What goes on at a site while we are not looking. Transactions end within `settling`, as the reader assumes."""

    def __init__(self, simulator: MailPoetSimulator, seed: int) -> None:
        self.simulator = simulator
        self.random = random.Random(seed)
        self.names = itertools.count()
        self.done: dict[str, int] = {}
        self.clicks = 0

    def happens(self) -> None:
        """Some hours on the site, at most of it in one go."""
        with self.simulator.together():
            for _ in range(self.random.randrange(5, 30)):
                self.simulator.advance(timedelta(seconds=self.random.choice((0, 1, 5, 40, 400, 4_000))))
                self.act()

    def hangs(self) -> None:
        """Rows get their numbers, and later ones are visible before them."""
        with self.simulator.together():
            for _ in range(self.random.randrange(6)):
                self.act(held=self.random.random() < 0.6)
                self.simulator.advance(timedelta(seconds=self.random.choice((0, 1, 30))))

    def ends(self) -> None:
        self.simulator.advance(timedelta(seconds=self.random.randrange(1, 300)))
        self.simulator.release()

    def act(self, *, held: bool = False) -> None:
        actions: list[Callable[..., None]] = [self.open] * 6 + [self.click] * 6
        if not held:
            actions += [self.reopen] * 4 + [self.subscribe, self.resubscribe, self.delete, self.erase, self.rename]
            actions += [self.view, self.send]
        actions += [self.unsubscribe, self.submit, self.bounce]
        action = self.random.choice(actions)
        self.done[action.__name__] = self.done.get(action.__name__, 0) + 1
        action(**({"held": True} if held else {}))

    def someone(self) -> str:
        return self.random.choice(self.simulator.emails)

    def mail(self) -> int:
        """A late one, mostly."""
        sent = len(self.simulator.site.tables["newsletters"])
        return max(0, sent - 1 - self.random.randrange(3))

    def open(self, held=False):
        self.simulator.open(self.someone(), self.mail(), agent=self.random.choice(AGENTS), held=held)

    def reopen(self):
        """A person opens what a machine opened before her: the row is rewritten in place."""
        tables = self.simulator.site.tables
        machines = [row for row in tables["statistics_opens"] if row["user_agent_type"] == 1]
        row = self.random.choice(machines)
        who = tables["subscribers"].get(row["subscriber_id"])
        if who is not None:
            self.simulator.open(who["email"], row["newsletter_id"] - 1)

    def click(self, held=False):
        who, mail = self.someone(), self.mail()
        url = self.random.choice(self.simulator.site.links(self.simulator.newsletter(mail)))
        for _ in range(self.random.choice((1, 1, 2, 3))):
            self.simulator.click(who, mail, url=url, agent=self.random.choice(AGENTS), held=held)
            self.clicks += 1

    def unsubscribe(self, held=False):
        self.simulator.unsubscribe(self.someone(), self.random.choice((self.mail(), None)), held=held)

    def submit(self, held=False):
        self.simulator.submit_form(self.someone(), self.random.choice((1, 2)), held=held)

    def bounce(self, held=False):
        self.simulator.bounce(self.someone(), self.mail(), held=held)

    def subscribe(self):
        self.simulator.subscribe(f"New{next(self.names)}@Acme.example", source=self.random.choice(("form", "api")))

    def resubscribe(self):
        gone = [r["email"] for r in self.simulator.site.tables["subscribers"] if r["status"] == "unsubscribed"]
        if gone:
            self.simulator.resubscribe(self.random.choice(gone))

    def delete(self):
        self.simulator.delete_subscriber(self.someone())

    def erase(self):
        self.simulator.erase(self.someone())

    def rename(self):
        self.simulator.change(self.someone(), first_name=f"Renamed {next(self.names)}")

    def view(self):
        self.simulator.view_page(self.someone())

    def send(self):
        self.simulator.send(f"Mail {next(self.names)}", "https://www.example.com/pricing", "https://www.example.com/x")


class Reader:
    """A host that pulls in a new process each time, and is killed now and then: it knows events by their ids."""

    def __init__(self, connect: Callable[..., MailPoetSource], simulator: MailPoetSimulator, seed: int) -> None:
        self.connect = connect
        self.simulator = simulator
        self.random = random.Random(seed + 1)
        self.cursors: dict[str, str | None] = {}
        self.events: dict[str, dict[str, Event]] = {stream: {} for stream in MailPoetSource.streams}
        self.repeated = 0

    def pulls(self, *, killed: float = 0.2) -> None:
        # The window is wide because people here open mails of any age.
        page_size = self.random.choice((3, 10, 100, 5_000))
        source = self.connect(self.simulator, page_size=page_size, machine_window="365d")
        for stream in source.streams:
            is_killed = self.random.random() < killed
            self.reads(source, stream, pages=self.random.randrange(1, 4) if is_killed else None)

    def reads(self, source: MailPoetSource, stream: str, pages: int | None) -> None:
        for page in itertools.islice(source.read(stream, self.cursors.get(stream)), pages):
            for record in page.records:
                for event in source.normalize(record):
                    known = self.events[stream].setdefault(event.id, event)
                    self.repeated += known is not event
            if page.cursor is not None:
                self.cursors[stream] = page.cursor


def counted(events: dict[str, Event]) -> dict[str, Event]:
    return {id_: event for id_, event in events.items() if not event.properties.get("machine")}


def machines(events: dict[str, Event]) -> set[str]:
    return {id_ for id_, event in events.items() if event.properties.get("machine")}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twenty_incremental_pulls_equal_one_full_pull(simulate, connect, pull, server, seed, monkeypatch):
    for module in (statements, client):
        monkeypatch.setattr(module, "BLOCK", 16)  # many blocks of opens, although there are only some hundreds
    simulator = simulate(server, people=80)
    trouble, reader = Trouble(simulator, seed), Reader(connect, simulator, seed)
    for _ in range(PULLS):
        trouble.happens()
        trouble.hangs()
        reader.pulls()
        trouble.ends()
    reader.pulls(killed=0)
    assert reader.repeated, "what is not settled is read again"
    assert len(trouble.done) >= 11, f"too little trouble: {trouble.done}"
    source = connect(simulator)
    for stream in FACTS:
        records, _ = pull(source, stream)
        full = {event.id: event for record in records for event in source.normalize(record)}
        _same_facts(source, records, reader.events[stream], full)
    for stream in STATES:
        records, _ = pull(source, stream)
        _same_states(reader.events[stream], [event for record in records for event in source.normalize(record)])


def _same_facts(source, records, seen, full):
    """Every fact that counts is there once; what was a machine's before it became a person's stays, and counts not."""
    assert counted(seen).keys() == counted(full).keys()
    assert len(full) == sum(len(list(source.normalize(record))) for record in records)
    assert machines(full) <= machines(seen)
    turned = [
        replace(r, payload={**r.payload, "user_agent_type": 1}) for r in records if "user_agent_type" in r.payload
    ]
    before = {event.id for record in turned for event in source.normalize(record)}
    assert machines(seen) - machines(full) <= before
    for id_, event in full.items():
        _same_fact(seen[id_], event)


def _same_fact(seen, event):
    assert (seen.type, seen.properties) == (event.type, event.properties)
    assert set(event.identifiers) <= set(seen.identifiers), "who was deleted or erased since has lost her address"
    if event.type == "email_click":  # of a repeat the time is known only while it is the last one
        assert seen.occurred_at <= event.occurred_at
    else:
        assert seen.occurred_at == event.occurred_at


def _same_states(seen, full):
    """The last word about each person and each list is the same."""
    latest: dict[tuple[str, str], Event] = {}
    for event in sorted(seen.values(), key=lambda e: e.occurred_at):
        if event.type == "consent_change":
            latest[event.identifiers[-1].value, event.properties["purpose"]] = event
    for event in full:
        if event.type == "consent_change":
            last = latest[event.identifiers[-1].value, event.properties["purpose"]]
            assert last.properties == event.properties
            assert {**last.profile, **event.profile} == last.profile
        else:
            _same_fact(seen[event.id], event)
