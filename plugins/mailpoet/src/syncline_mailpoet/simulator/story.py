"""What happened on the simulated site in the 90 days before its present: who came, what was sent, who did what."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Final

from syncline.testing.population import SimulatedPerson, population
from syncline_mailpoet.simulator.shelf import Row
from syncline_mailpoet.simulator.site import APPLE, BROWSER, UNSUBSCRIBE, MailPoetSite

__all__ = ["DEMO", "PRICING", "WHITEPAPER", "tell"]

_WWW: Final = "https://www.example.com"
PRICING: Final = f"{_WWW}/pricing"
DEMO: Final = f"{_WWW}/demo"
WHITEPAPER: Final = f"{_WWW}/resources/whitepaper.pdf"

_NEWSLETTERS: Final = (  # days before the present, subject, links
    (80, "From the workshop", (f"{_WWW}/blog/workshop", _WWW)),
    (66, "Three small wins", (f"{_WWW}/blog/small-wins", PRICING)),
    (52, "A story from the field", (f"{_WWW}/blog/field", DEMO)),
    (38, "The checklist", (f"{_WWW}/blog/checklist", WHITEPAPER)),
    (24, "What it costs", (PRICING, f"{_WWW}/blog/costs")),
    (10, "Come and look", (DEMO, PRICING, f"{_WWW}/blog/look")),
)
_GMAIL: Final = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


def tell(site: MailPoetSite, people: int, seed: int, now: datetime) -> None:
    """Everything, from the options alone: the same people do the same every time."""
    start = now - timedelta(days=90)
    site.add_list("WordPress Users", start, "wp_users")
    main, webinar = site.add_list("Newsletter mailing list", start), site.add_list("Webinar", start)
    footer, demo = site.add_form("Newsletter (footer)", start), site.add_form("Book a demo", start)
    readers = [_Reader(site, person, person.randomness("mailpoet", seed)) for person in population(people, seed)]
    readers = [reader for reader in readers if reader.subscribes]
    for reader in readers:
        reader.join(start, main, webinar, footer)
    for days, subject, links in _NEWSLETTERS:
        at = now - timedelta(days=days) + timedelta(minutes=45)
        here = [reader for reader in readers if reader.who["status"] in ("subscribed", "inactive")]
        newsletter = site.send(subject, links, at, [reader.who for reader in here])
        for reader in here:
            reader.read(newsletter, at, links, demo)


class _Reader:
    """One person's behaviour. Six in ten subscribe."""

    def __init__(self, site: MailPoetSite, person: SimulatedPerson, chance: Random) -> None:
        self._site = site
        self._person = person
        self._chance = chance
        self.subscribes = chance.random() < 0.6
        self._private = chance.random() < 0.3
        """Uses Apple's mail privacy protection: a machine opens every mail first."""
        self._leaves_at = chance.randrange(1, 5) if person.persona == "gone" else None
        self._bounces_at = chance.randrange(6) if person.persona == "cold" and chance.random() < 0.03 else None
        self._mails = 0
        self.who: Row

    def join(self, start: datetime, main: Row, webinar: Row, footer: Row) -> None:
        person, chance = self._person, self._chance
        at = start + timedelta(seconds=chance.randrange(4 * 86_400))
        draw = chance.random()
        source = "form" if draw < 0.6 else "api" if draw < 0.7 else "imported"
        email = person.email.capitalize() if person.number % 7 == 0 else person.email
        name = {"first_name": person.first_name, "last_name": person.last_name}
        self.who = self._site.add_person(email, at, source=source, subscribed_ip="192.0.2.7", **name)
        self._site.join(self.who, main, at)
        if chance.random() < 0.2:
            self._site.join(self.who, webinar, at)
        if source == "form":
            self._site.submit(footer, self.who, at)

    def read(self, newsletter: Row, sent: datetime, links: tuple[str, ...], demo: Row) -> None:
        number, self._mails = self._mails, self._mails + 1
        if number == self._bounces_at:
            self._site.bounce(self.who, newsletter, sent + timedelta(hours=20))
            return
        if self._private:
            self._site.open(self.who, newsletter, self._later(sent, 2, 600), APPLE)
        if number == self._leaves_at:
            self._leave(newsletter, sent)
            return
        getattr(self, f"_{self._person.persona}")(newsletter, sent, links, demo)

    def _hot(self, newsletter: Row, sent: datetime, links: tuple[str, ...], demo: Row) -> None:
        if self._chance.random() < 0.85:
            at = self._opens(newsletter, sent)
            for url in links:
                for _ in range(self._chance.choice((0, 1, 1, 2))):
                    at = self._later(at, 20, 900)
                    self._site.click(self.who, newsletter, url, at)
                    self._site.view_page(self.who, at + timedelta(seconds=3))
            if DEMO in links and self._chance.random() < 0.3:
                self._site.submit(demo, self.who, self._later(at, 60, 600))

    def _warm(self, newsletter: Row, sent: datetime, links: tuple[str, ...], _demo: Row) -> None:
        if self._chance.random() < 0.5:
            at = self._opens(newsletter, sent)
            if self._chance.random() < 0.3:
                self._site.click(self.who, newsletter, self._chance.choice(links), self._later(at, 5, 900))

    def _cold(self, newsletter: Row, sent: datetime, links: tuple[str, ...], _demo: Row) -> None:
        draw = self._chance.random()
        if draw < 0.08:
            self._opens(newsletter, sent)
        elif draw < 0.085:  # a link scanner: every link in one second, and not the agent that MailPoet knows
            for url in links:
                self._site.click(self.who, newsletter, url, sent + timedelta(seconds=4))

    def _gone(self, newsletter: Row, sent: datetime, _links: tuple[str, ...], _demo: Row) -> None:
        if self._chance.random() < 0.4:
            self._opens(newsletter, sent)

    def _leave(self, newsletter: Row, sent: datetime) -> None:
        at = self._later(self._opens(newsletter, sent), 5, 60)
        self._site.click(self.who, newsletter, UNSUBSCRIBE, at)
        self._site.unsubscribe(self.who, newsletter, at + timedelta(seconds=8))

    def _opens(self, newsletter: Row, sent: datetime) -> datetime:
        at = self._later(sent, 700, 100_000)
        self._site.open(self.who, newsletter, at, self._chance.choice((BROWSER, _GMAIL)))
        return at

    def _later(self, than: datetime, at_least: int, below: int) -> datetime:
        return than + timedelta(seconds=self._chance.randrange(at_least, below))
