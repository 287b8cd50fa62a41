"""What sales people had typed into the CRM before we came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from syncline.testing.population import SimulatedPerson, population
from syncline_zoho.simulator.crm import SALES_USER, Crm

__all__ = ["fill"]

_OWN_PEOPLE: Final = 20
_TITLES: Final = ("Marketing Manager", "Buyer", "CFO", "Owner", "Head of Sales")
_STATUSES: Final = ("Not Contacted", "Contacted", "Junk Lead")
_NOTES: Final = ("Met at the fair in Bologna.", 'Said "call me in May",\nprefers e-mail.', "Budget next quarter.")


def fill(crm: Crm, people: int, seed: int, now: datetime) -> None:
    """A third of the population as leads, some converted and some twice, and twenty people nobody else knows."""
    present, began = crm.clock, now - timedelta(days=90)
    step = timedelta(days=89) / max(people, 1)
    for person in population(people, seed):
        if person.in_crm:
            moment = began + step * person.number
            crm.clock = lambda moment=moment: moment  # type: ignore[misc]  # a default argument keeps this loop's value
            _fill_person(crm, person, seed)
    for number in range(_OWN_PEOPLE):
        crm.insert("Leads", _own_person(number), by=SALES_USER)
    crm.clock = present


def _fill_person(crm: Crm, person: SimulatedPerson, seed: int) -> None:
    lead = crm.insert("Leads", _lead(person, seed), by=SALES_USER)
    if person.converted:
        crm.convert(lead["id"])
    if person.twice:
        crm.insert("Leads", _lead(person, seed) | {"Email": person.email.capitalize()}, by=SALES_USER)


def _lead(person: SimulatedPerson, seed: int) -> dict[str, Any]:
    """What sales typed: always a name and an address, sometimes a phone, a title, a stage and a note."""
    chance = person.randomness("zoho", seed)
    lead: dict[str, Any] = {
        "First_Name": person.first_name,
        "Last_Name": person.last_name,
        "Company": person.company,
        "Email": person.email_in_crm(),
        "Lead_Source": "Web Research",
    }
    if chance.random() < 0.5:
        lead["Phone"] = f"+39 02 {chance.randrange(10**6, 10**7)}"
    if chance.random() < 0.4:
        lead["Designation"] = chance.choice(_TITLES)
    if chance.random() < 0.3:
        lead |= {"Lead_Status": chance.choice(_STATUSES), "Description": chance.choice(_NOTES)}
    return lead


def _own_person(number: int) -> dict[str, Any]:
    return {
        "First_Name": "Privato",
        "Last_Name": f"Cliente {number}",
        "Company": f"Bottega {number}",
        "Email": f"cliente{number}@bottega.example" if number % 5 else None,
        "Phone": f"+39 06 555{number:04d}",
        "Lead_Status": "Contacted",
    }
