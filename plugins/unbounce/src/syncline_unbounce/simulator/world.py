"""What the simulated account holds: two sub-accounts, eight pages, and who submitted what in the 90 days before.

Built on first use from (people, seed, base), so that a simulator starts at once however many people it has.
"""

from __future__ import annotations

import uuid
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from syncline.testing.population import Persona, SimulatedPerson, population

__all__ = ["ACCOUNT", "SUB_ACCOUNTS", "LeadRow", "PageRow", "World"]

ACCOUNT: Final = "4210001"
SUB_ACCOUNTS: Final[Mapping[str, str]] = {"1552433": "Example Co", "1552434": "Example Academy"}

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_TOPICS: Final = ("Pipelines", "Prices", "Events", "Case studies")
_ADS: Final = ("newsletter", "spring-search", "retargeting")


@dataclass(frozen=True, slots=True)
class Form:
    """What a page asks for, and how likely each kind of person is to answer."""

    page: str
    name: str
    path: str
    sub_account: str
    fields: tuple[str, ...]
    chance: Mapping[Persona, float]
    hidden: Mapping[str, str] = field(default_factory=dict)
    state: str = "published"
    days: tuple[int, int] = (90, 0)
    """Between how many days before the base time people came."""


def _page_id(number: int) -> str:
    return f"a0a3ffdf-5965-4ef2-8414-{number:012x}"


_FORMS: Final = (
    Form(
        _page_id(1), "Newsletter", "/newsletter", "1552433", ("email", "first_name", "topics"),
        {"hot": 0.6, "warm": 0.4, "cold": 0.06, "gone": 0.03},
    ),
    Form(
        _page_id(2), "Contact us", "/contact", "1552433",
        ("email_address", "first_name", "last_name", "company", "phone_number", "message"),
        {"hot": 0.3, "warm": 0.1, "cold": 0.01, "gone": 0.0},
    ),
    Form(
        _page_id(3), "Book a demo", "/demo", "1552433",
        ("your_email", "first_name", "last_name", "company", "employees"),
        {"hot": 0.5, "warm": 0.07, "cold": 0.0, "gone": 0.0},
    ),
    Form(
        _page_id(4), "Whitepaper: five things about pipelines", "/resources/whitepaper", "1552433",
        ("email", "first_name", "last_name", "company"),
        {"hot": 0.6, "warm": 0.3, "cold": 0.03, "gone": 0.01}, {"asset": "whitepaper-pipelines.pdf"},
    ),
    Form(
        _page_id(5), "Start your trial", "/trial", "1552433", ("e_mail", "full_name", "company"),
        {"hot": 0.25, "warm": 0.05, "cold": 0.0, "gone": 0.0},
    ),
    Form(
        _page_id(6), "Autumn webinar", "/webinar/autumn", "1552434", ("email", "first_name", "company"),
        {"hot": 0.2, "warm": 0.15, "cold": 0.02, "gone": 0.05}, {"asset": "webinar-autumn"}, "unpublished", (90, 60),
    ),
    Form(
        _page_id(7), "Newsletter pop-up", "/popup/newsletter", "1552434", ("indirizzo_di_posta",),
        {"hot": 0.1, "warm": 0.08, "cold": 0.02, "gone": 0.0},
    ),
    Form(_page_id(8), "Draft of a page", "/draft", "1552434", ("email",), {}, {}, "unpublished"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class LeadRow:
    """A lead as the vendor's database has it. In order of creation."""

    created_at: datetime
    id: str
    page: str = field(compare=False)
    variant: str = field(compare=False)
    ip: str = field(compare=False)
    form_data: Mapping[str, Sequence[str]] = field(compare=False)
    extra_data: Mapping[str, Any] = field(compare=False)


@dataclass(slots=True)
class PageRow:
    """A page, its leads in order of creation, and when something was submitted."""

    id: str
    name: str
    url: str
    sub_account: str
    state: str
    created_at: datetime
    published_at: datetime
    fields: tuple[str, ...]
    leads: list[LeadRow] = field(default_factory=list)
    submits: list[datetime] = field(default_factory=list)


class World:
    """The account's pages by id, oldest first."""

    def __init__(self, people: int, seed: int, base: datetime) -> None:
        self.base = base
        self.pages = {form.page: self._page(number, form) for number, form in enumerate(_FORMS)}
        self._leads: dict[str, LeadRow] = {}
        for person in population(people, seed):
            for lead in _submitted(person, seed, base):
                self.add(lead)

    def _page(self, number: int, form: Form) -> PageRow:
        created = self.base - timedelta(days=200 - 5 * number)
        host = "go.example.com" if form.sub_account == "1552433" else "academy.example.com"
        return PageRow(
            form.page,
            form.name,
            f"http://{host}{form.path}/",  # http although it is https: vendor sheet §5
            form.sub_account,
            form.state,
            created,
            created + timedelta(hours=2),
            (*form.fields, *form.hidden, "utm_source", "utm_campaign", "gclid"),
        )

    def lead(self, lead_id: str) -> LeadRow | None:
        return self._leads.get(lead_id)

    def add(self, lead: LeadRow) -> None:
        page = self.pages[lead.page]
        insort(page.leads, lead)
        insort(page.submits, lead.created_at)
        self._leads[lead.id] = lead

    def remove(self, lead_id: str) -> None:
        """It is gone without a trace; the statistics keep counting it."""
        if (lead := self._leads.pop(lead_id, None)) is not None:
            self.pages[lead.page].leads.remove(lead)


def _submitted(person: SimulatedPerson, seed: int, base: datetime) -> Iterator[LeadRow]:
    """Everything one person submitted."""
    chance = person.randomness("unbounce", seed)
    ip = f"192.0.2.{chance.randrange(1, 250)}"
    for form in _FORMS:
        if chance.random() >= form.chance.get(person.persona, 0.0):
            continue
        seconds = chance.uniform(form.days[1] * _DAY + 2 * _HOUR, form.days[0] * _DAY)
        moment = _to_the_millisecond(base - timedelta(seconds=seconds))
        lead = _lead(form, person, chance, ip, moment)
        yield lead
        if chance.random() < 0.03:  # a double click: another lead, seconds later (vendor sheet §5)
            again = _to_the_millisecond(moment + timedelta(seconds=chance.uniform(0.2, 20)))
            yield LeadRow(again, _uuid(chance), form.page, lead.variant, ip, lead.form_data, lead.extra_data)


def _lead(form: Form, person: SimulatedPerson, chance: Random, ip: str, moment: datetime) -> LeadRow:
    extra: dict[str, Any] = {}
    draw = chance.random()
    if draw < 0.9:
        visit = f"{ip}{int(moment.timestamp() * 1000)}0"
        extra = {"cookies": {"ubvs": [visit], "ubvt": [visit]}, "request_id": _uuid(chance)}
    elif draw < 0.93:  # another program wrote it, for somebody who is already known there
        extra = {"created_by": "api"}
    variant = "a" if chance.random() < 0.7 else "b"
    return LeadRow(moment, _uuid(chance), form.page, variant, ip, _filled_in(form, person, chance), extra)


def _filled_in(form: Form, person: SimulatedPerson, chance: Random) -> dict[str, list[str]]:
    known = {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "full_name": f"{person.first_name} {person.last_name}",
        "company": person.company,
        "message": "Please call me back.",
    }
    data: dict[str, list[str]] = {}
    for name in form.fields:
        if "mail" in name or name == "indirizzo_di_posta":
            typed = person.email if chance.random() < 0.8 else person.email.capitalize()
            data[name] = [typed]
        elif name == "topics":
            data[name] = chance.sample(_TOPICS, chance.randrange(1, 4))
        elif name == "employees":
            data[name] = [chance.choice(("1-10", "11-50", "51-250"))]
        elif name == "phone_number":
            data[name] = [f"+39 02 {chance.randrange(10**6, 10**7)}"] if chance.random() < 0.5 else [""]
        else:
            data[name] = [known[name]]
    data |= {name: [value] for name, value in form.hidden.items()}
    if chance.random() < 0.5:
        data |= {"utm_source": ["ads"], "utm_campaign": [chance.choice(_ADS)], "gclid": [f"{chance.getrandbits(64):x}"]}
    return data


def _uuid(chance: Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _to_the_millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
