"""What sales people had typed into the CRM before we came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from syncline.testing.population import SimulatedPerson, population
from syncline_hubspot.simulator.portal import PERSON, Portal, Source

__all__ = ["PORTAL_ID", "fill"]

PORTAL_ID: Final = 148543157
_OWN_PEOPLE: Final = 20
_TITLES: Final = ("Marketing Manager", "Buyer", "CFO", "Owner", "Head of Sales")
_STATUSES: Final = ("NEW", "OPEN", "IN_PROGRESS", "UNQUALIFIED")
_NOTES: Final = ("Met at the fair in Bologna.", 'Said "call me in May",\nprefers e-mail.', "Budget next quarter.")
_FORM: Final = Source("FORM", "b7c3f1d2-contact-form")


def fill(portal: Portal, people: int, seed: int, now: datetime) -> None:
    """A third of the population as contacts, and twenty people nobody else knows.

    HubSpot keeps addresses in lower case and lets no two contacts share one. So of those who are there twice, the
    second contact has a name and a telephone only: a call that somebody wrote down. And of those who have become
    customers, the address that the marketing tools know is a secondary one: they were merged into what sales had.
    """
    present, began = portal.clock, now - timedelta(days=90)
    step = timedelta(days=89) / max(people, 1)
    for person in population(people, seed):
        if person.in_crm:
            moment = began + step * person.number
            portal.clock = lambda moment=moment: moment  # type: ignore[misc]  # a default keeps this loop's value
            _fill_person(portal, person, seed)
    for number in range(_OWN_PEOPLE):
        portal.create("contacts", _own_person(number), PERSON)
    portal.clock = present


def _fill_person(portal: Portal, person: SimulatedPerson, seed: int) -> None:
    contact = portal.create("contacts", _contact(person, seed), PERSON if person.number % 2 else _FORM)
    if person.converted:
        private = f"{person.first_name[0]}.{person.number}@posta.example".lower()
        known = {"firstname": person.first_name, "lastname": person.last_name, "email": private}
        customer = portal.create("contacts", known | {"lifecyclestage": "customer"}, PERSON)
        portal.merge("contacts", customer["id"], contact["id"])
    if person.twice:
        noted = {"firstname": person.first_name, "lastname": person.last_name, "phone": f"+39 02 7{person.number:06d}"}
        portal.create("contacts", noted, PERSON)


def _contact(person: SimulatedPerson, seed: int) -> dict[str, str]:
    """What is known: always a name and an address, sometimes a phone, a title, a stage and a note."""
    chance = person.randomness("hubspot", seed)
    contact = {
        "firstname": person.first_name,
        "lastname": person.last_name,
        "company": person.company,
        "email": person.email_in_crm(),
    }
    if chance.random() < 0.5:
        contact["phone"] = f"+39 02 {chance.randrange(10**6, 10**7)}"
    if chance.random() < 0.4:
        contact["jobtitle"] = chance.choice(_TITLES)
    if chance.random() < 0.3:
        contact |= {"hs_lead_status": chance.choice(_STATUSES), "message": chance.choice(_NOTES)}
    return contact


def _own_person(number: int) -> dict[str, str]:
    contact = {
        "firstname": "Privato",
        "lastname": f"Cliente {number}",
        "company": f"Bottega {number}",
        "phone": f"+39 06 555{number:04d}",
    }
    return contact | ({"email": f"cliente{number}@bottega.example"} if number % 5 else {})
