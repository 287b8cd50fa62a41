"""What sales people had typed into the CRM before we came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from syncline.testing.population import SimulatedPerson, population
from syncline_salesforce.simulator.org import ASSIGNED_USER, AUTOMATED_USER, ORG_ID, SALES_USER, SYNC_USER, Org
from syncline_salesforce.simulator.schema import KEY_PREFIXES, OBJECTS, long_id

__all__ = ["add_task_status", "fill"]

_USERS: Final = (
    (SYNC_USER, "Integration", "User"),
    (SALES_USER, "Paola", "Vendite"),
    (ASSIGNED_USER, "Rita", "Regole"),
    (AUTOMATED_USER, "Automated", "Process"),
)
_OWN_PEOPLE: Final = 20
_TITLES: Final = ("Marketing Manager", "Buyer", "CFO", "Owner", "Head of Sales")
_STATUSES: Final = ("Open - Not Contacted", "Working - Contacted", "Closed - Not Converted")
_NOTES: Final = ("Met at the fair in Bologna.", 'Said "call me in May",\nprefers e-mail.', "Budget next quarter.")


def fill(org: Org, people: int, seed: int, now: datetime, org_id: str = ORG_ID) -> None:
    """A third of the population as leads, some converted and some twice, and twenty people nobody else knows."""
    _fill_setup(org, org_id)
    present, began = org.clock, now - timedelta(days=90)
    step = timedelta(days=89) / max(people, 1)
    for person in population(people, seed):
        if person.in_crm:
            moment = began + step * person.number
            org.clock = lambda moment=moment: moment  # type: ignore[misc]  # a default argument keeps this loop's value
            _fill_person(org, person, seed)
    for number in range(_OWN_PEOPLE):
        org.create("Lead", _own_person(number), SALES_USER)
    org.clock = present


def _fill_setup(org: Org, org_id: str) -> None:
    org.tables["Organization"][org_id] = {
        "Id": org_id,
        "Name": "Simulated Org",
        "OrganizationType": "Developer Edition",
        "IsSandbox": False,
        "InstanceName": "SIM1",
    }
    statuses = OBJECTS["Task"]["Status"]
    for number, status in enumerate(statuses.values, 1):
        add_task_status(org, status, closed=status == "Completed", default=status == statuses.default, order=number)
    for user, first, last in _USERS:
        org.tables["User"][user] = {
            "Id": user,
            "Username": f"{first.lower()}@sync.example",
            "FirstName": first,
            "LastName": last,
            "Name": f"{first} {last}",
            "Email": f"{first.lower()}@sync.example",
            "UserType": "AutomatedProcess" if user == AUTOMATED_USER else "Standard",
            "IsActive": True,
            "SystemModstamp": None,
        }


def add_task_status(org: Org, name: str, *, closed: bool, default: bool = False, order: int = 99) -> None:
    """A value of Task.Status, as an administrator adds it. Only Completed is a closed one at first."""
    id = long_id(f"{KEY_PREFIXES['TaskStatus']}5e{len(org.tables['TaskStatus']):010d}")
    org.tables["TaskStatus"][id] = {
        "Id": id,
        "ApiName": name,
        "MasterLabel": name,
        "SortOrder": order,
        "IsDefault": default,
        "IsClosed": closed,
        "SystemModstamp": None,
    }


def _fill_person(org: Org, person: SimulatedPerson, seed: int) -> None:
    lead = org.create("Lead", _lead(person, seed), SALES_USER)
    if person.converted:
        org.convert(lead)
    if person.twice:
        org.create("Lead", _lead(person, seed) | {"Email": person.email.capitalize()}, SALES_USER)


def _lead(person: SimulatedPerson, seed: int) -> dict[str, Any]:
    """What sales typed: always a name and an address, sometimes a phone, a title, a stage and a note."""
    chance = person.randomness("salesforce", seed)
    lead: dict[str, Any] = {
        "FirstName": person.first_name,
        "LastName": person.last_name,
        "Company": person.company,
        "Email": person.email_in_crm(),
        "LeadSource": "Web",
    }
    if chance.random() < 0.5:
        lead["Phone"] = f"+39 02 {chance.randrange(10**6, 10**7)}"
    if chance.random() < 0.4:
        lead["Title"] = chance.choice(_TITLES)
    if chance.random() < 0.3:
        lead |= {"Status": chance.choice(_STATUSES), "Description": chance.choice(_NOTES)}
    return lead


def _own_person(number: int) -> dict[str, Any]:
    return {
        "FirstName": "Privato",
        "LastName": f"Cliente {number}",
        "Company": f"Bottega {number}",
        "Email": f"cliente{number}@bottega.example" if number % 5 else None,
        "Phone": f"+39 06 555{number:04d}",
        "Status": "Working - Contacted",
    }
