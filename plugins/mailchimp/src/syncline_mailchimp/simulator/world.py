"""What the simulated account holds: one audience with everybody in it, eight campaigns, and what people did with them.

Built on first use from (people, seed, base), so that a simulator starts at once however many people it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from syncline.testing.population import SimulatedPerson, population

__all__ = ["LIST_ID", "Act", "Campaign", "Subscriber", "World", "newest", "subscriber_hash"]

LIST_ID: Final = "3f2a9c41d7"

_SITE: Final = "https://www.example.com"
PRICING: Final = f"{_SITE}/pricing"
DEMO: Final = f"{_SITE}/demo"
WHITEPAPER: Final = f"{_SITE}/resources/whitepaper.pdf"
UNSUBSCRIBE: Final = f"https://example.us1.list-manage.com/unsubscribe?u=5a&id={LIST_ID}"

_CAMPAIGNS: Final = (  # days before the base time, title, links
    (84, "Welcome to spring", (f"{_SITE}/blog/spring", _SITE)),
    (72, "Five things about pipelines", (f"{_SITE}/blog/pipelines", f"{_SITE}/blog/five-things")),
    (60, "A customer's story", (f"{_SITE}/blog/customer-story", PRICING)),
    (48, "What is new", (f"{_SITE}/blog/new", DEMO)),
    (36, "The guide", (f"{_SITE}/blog/guide", WHITEPAPER)),
    (24, "Prices explained", (PRICING, f"{_SITE}/blog/prices")),
    (12, "See it live", (DEMO, PRICING, f"{_SITE}/blog/live")),
    (3, "Last call", (PRICING, DEMO, WHITEPAPER, f"{_SITE}/blog/last-call")),
)
_LATEST: Final = len(_CAMPAIGNS) - 1


@dataclass(frozen=True, slots=True)
class Act:
    """Something a person did with an e-mail, or that an e-mail did (`bounce`). `kind` is hard or soft."""

    action: str
    at: datetime
    url: str | None = None
    kind: str | None = None
    proxy: bool = False
    ip: str = ""


@dataclass(slots=True)
class Subscriber:
    """One member of the audience. `contact_id` stays when the address changes (recorded 2021); the hash does not.

    `fields` holds the merge fields beyond the three that have an attribute of their own.
    """

    hash: str
    email: str
    first_name: str
    last_name: str
    company: str
    number: int
    opted_in: datetime
    signed_up: datetime | None
    changed: datetime
    source: str
    contact_id: str
    status: str = "subscribed"
    reason: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Campaign:
    """One e-mail that was sent: to whom, what they did, and who left because of it; all by subscriber hash."""

    id: str
    number: int
    title: str
    sent: datetime
    links: tuple[str, ...]
    workflow: str | None = None
    recipients: list[str] = field(default_factory=list)
    acts: dict[str, list[Act]] = field(default_factory=dict)
    left: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    """What was worked out from the above; emptied by every change."""

    @property
    def openers(self) -> list[str]:
        """Who opened it, in the order of the recipients."""
        if "openers" not in self.kept:
            self.kept["openers"] = sorted(w for w, acts in self.acts.items() if any(a.action == "open" for a in acts))
        openers: list[str] = self.kept["openers"]
        return openers

    def add(self, subscriber: str, act: Act) -> None:
        self.kept.clear()
        self.acts.setdefault(subscriber, []).append(act)

    def leave(self, subscriber: str, at: datetime, reason: str) -> None:
        self.kept.clear()
        self.left[subscriber] = (at, reason)

    def rename(self, before: str, after: str) -> None:
        """Rows of a person whose address changed show the new one."""
        self.kept.clear()
        self.recipients = [after if one == before else one for one in self.recipients]
        for book in (self.acts, self.left):
            if before in book:
                book[after] = book.pop(before)  # type: ignore[assignment]  # the same book it came from

    def forget(self, subscriber: str) -> None:
        self.kept.clear()
        if subscriber in self.recipients:
            self.recipients.remove(subscriber)
        self.acts.pop(subscriber, None)
        self.left.pop(subscriber, None)

    def all(self, action: str) -> list[Act]:
        return [act for acts in self.acts.values() for act in acts if act.action == action]


def subscriber_hash(email: str) -> str:
    """MD5 hex of the lower-cased address."""
    return hashlib.md5(email.strip().lower().encode(), usedforsecurity=False).hexdigest()


class World:
    """The account's contents. `subscribers` by hash, `campaigns` by id, both in the order they are listed.

    `contacts` leads from a contact id to the hash of today's address.
    """

    def __init__(self, people: int, seed: int, base: datetime) -> None:
        self.base = base
        self._seed = seed
        made = [self._campaign(n, *about) for n, about in enumerate(_CAMPAIGNS)]
        self.welcome = Campaign(self._id("welcome"), 99, "Welcome series", base - timedelta(days=89), (), "w7d3fee661")
        self.campaigns = {campaign.id: campaign for campaign in (*made, self.welcome)}
        self.sent = made
        self.subscribers: dict[str, Subscriber] = {}
        self.contacts: dict[str, str] = {}
        for person in population(people, seed):
            self._add(person)
        for campaign in self.campaigns.values():
            campaign.recipients.sort()  # by hash: an order that has nothing to do with time

    def put(self, subscriber: Subscriber) -> None:
        self.subscribers[subscriber.hash] = subscriber
        self.contacts[subscriber.contact_id] = subscriber.hash

    def drop(self, who: str) -> Subscriber:
        one = self.subscribers.pop(who)
        del self.contacts[one.contact_id]
        return one

    def _id(self, name: str) -> str:
        return hashlib.sha256(f"{self._seed}:{name}".encode()).hexdigest()[:10]

    def _campaign(self, number: int, days: int, title: str, links: tuple[str, ...]) -> Campaign:
        sent = self.base - timedelta(days=days) + timedelta(minutes=30)
        return Campaign(self._id(f"campaign:{number}"), number, title, sent, links)

    def _add(self, person: SimulatedPerson) -> None:
        chance = person.randomness("mailchimp", self._seed)
        opted_in = self.base - timedelta(days=90) + timedelta(seconds=chance.randrange(4 * 86_400))
        by_form = chance.random() < 0.6
        email = person.email.capitalize() if person.number % 7 == 0 else person.email
        subscriber = Subscriber(
            hash=subscriber_hash(email),
            email=email,
            first_name=person.first_name,
            last_name=person.last_name,
            company=person.company,
            number=person.number,
            opted_in=opted_in,
            signed_up=opted_in - timedelta(seconds=chance.randrange(30, 600)) if by_form else None,
            changed=opted_in,
            source="Embed Form" if by_form else "Import",
            contact_id=subscriber_hash(email)[::-1],
        )
        self.put(subscriber)
        _Life(subscriber, person, chance, self).live()


class _Life:
    """One person's behaviour over all campaigns."""

    def __init__(self, subscriber: Subscriber, person: SimulatedPerson, chance: Random, world: World) -> None:
        self._who = subscriber
        self._persona = person.persona
        self._chance = chance
        self._world = world
        self._ip = f"198.51.{chance.randrange(256)}.{chance.randrange(1, 255)}"

    def live(self) -> None:
        leaves_at = self._chance.randrange(1, 6) if self._persona == "gone" else None
        bounces_at = self._chance.randrange(8) if self._persona == "cold" and self._chance.random() < 0.03 else None
        for campaign in self._world.sent:
            campaign.recipients.append(self._who.hash)
            if leaves_at == campaign.number:
                self._leave(campaign)
                return
            if bounces_at == campaign.number and self._bounce(campaign):
                return
            getattr(self, f"_{self._persona}")(campaign)
        if self._persona == "hot":
            self._world.welcome.recipients.append(self._who.hash)
            self._world.welcome.add(self._who.hash, self._act("open", self._who.opted_in, 60, 7_200))

    def _hot(self, campaign: Campaign) -> None:
        if campaign.number == _LATEST:
            self._decide(campaign)
        elif self._chance.random() < 0.85:
            opened = self._open(campaign, 300, 90_000)
            for _ in range(self._chance.randrange(3)):
                self._later(campaign, "open", opened, 60, 50_000)
            for url in campaign.links:
                if self._chance.random() < 0.6:
                    self._later(campaign, "click", opened, 5, 900, url)

    def _decide(self, campaign: Campaign) -> None:
        """Three opens inside a day, then prices, demo and whitepaper, the last of it hours before the base time."""
        opened = self._open(campaign, 300, 20_000)
        for _ in range(2):
            self._later(campaign, "open", opened, 600, 30_000)
        last = self._world.base - timedelta(seconds=self._chance.randrange(3_600, 40 * 3_600))
        for minutes, url in ((50, PRICING), (35, PRICING), (20, WHITEPAPER), (0, DEMO)):
            self._do(campaign, Act("click", last - timedelta(minutes=minutes), url, ip=self._ip))

    def _warm(self, campaign: Campaign) -> None:
        if self._chance.random() < 0.5:
            opened = self._open(campaign, 600, 200_000)
            if self._chance.random() < 0.3:
                self._later(campaign, "click", opened, 5, 900, self._chance.choice(campaign.links))

    def _cold(self, campaign: Campaign) -> None:
        draw = self._chance.random()
        if draw < 0.3:  # a mail proxy fetches the picture seconds after the mail was sent
            seconds = self._chance.randrange(2, 30)
            proxy = Act("open", campaign.sent + timedelta(seconds=seconds), proxy=True, ip="192.0.2.25")
            self._do(campaign, proxy)
        elif draw < 0.38:
            self._open(campaign, 600, 200_000)
        elif draw < 0.385:  # a link scanner: every link, in one second, seconds after the mail was sent
            for url in campaign.links:
                self._do(campaign, Act("click", campaign.sent + timedelta(seconds=3), url, ip="203.0.113.9"))

    def _gone(self, campaign: Campaign) -> None:
        if self._chance.random() < 0.4:
            self._open(campaign, 600, 100_000)

    def _leave(self, campaign: Campaign) -> None:
        opened = self._open(campaign, 600, 100_000)
        clicked = self._later(campaign, "click", opened, 5, 60, UNSUBSCRIBE)
        moment = clicked + timedelta(seconds=self._chance.randrange(2, 20))
        reason = self._chance.choice(("no longer interested", "None given", ""))
        campaign.leave(self._who.hash, moment, reason)
        self._who.status, self._who.reason, self._who.changed = "unsubscribed", reason, moment

    def _bounce(self, campaign: Campaign) -> bool:
        """Whether the address is given up."""
        kind = "hard" if self._chance.random() < 0.6 else "soft"
        bounced = campaign.sent + timedelta(seconds=self._chance.randrange(5, 600))
        self._do(campaign, Act("bounce", bounced, kind=kind))
        if kind == "hard":
            self._who.status, self._who.changed = "cleaned", bounced
        return kind == "hard"

    def _open(self, campaign: Campaign, at_least: int, below: int) -> datetime:
        return self._later(campaign, "open", campaign.sent, at_least, below)

    def _later(
        self, campaign: Campaign, action: str, than: datetime, at_least: int, below: int, url: str | None = None
    ) -> datetime:
        act = self._act(action, than, at_least, below, url)
        self._do(campaign, act)
        return act.at

    def _act(self, action: str, than: datetime, at_least: int, below: int, url: str | None = None) -> Act:
        return Act(action, than + timedelta(seconds=self._chance.randrange(at_least, below)), url, ip=self._ip)

    def _do(self, campaign: Campaign, act: Act) -> None:
        campaign.add(self._who.hash, act)


def newest(acts: Iterable[Act]) -> datetime | None:
    """The time of the last of them."""
    return max((act.at for act in acts), default=None)
