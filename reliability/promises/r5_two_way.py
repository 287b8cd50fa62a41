"""R5: both sides write the same fields, several CRMs at once, often at the same moment, by clocks that disagree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from reliability.lines import Case, Line
from reliability.office import Office, open_office
from syncline.model import alike
from syncline.store.profiles import profiles

NAME: Final = "R5"
PROMISE: Final = "two-way converges in at most two cycles, then is quiet"
SINKS: Final = ("memory", "salesforce", "hubspot", "zoho")
SMALL: Final = {"people": 25, "rounds": 3, "idle": 3}
FULL: Final = {"people": 300, "rounds": 40, "idle": 100}

_CYCLES: Final = 2


def run(case: Case) -> Iterator[Line]:
    trouble: list[str] = []
    vendor = None if case.sink == "memory" else case.crm
    with open_office(case.folder, case.stores, case.size["people"], case.seed, vendor=vendor) as office:
        _cycles(office, _CYCLES)
        for number in range(case.size["rounds"]):
            for _ in range(office.chance.randint(1, 3)):
                office.stir(0.7)
                office.later(timedelta(seconds=office.chance.choice((0, 0, 30, 7200))))
            _cycles(office, _CYCLES)
            if written := _cycles(office, 1):
                trouble.append(f"round {number + 1}: {written} write calls in the third cycle")
            trouble += [f"round {number + 1}: {text}" for text in _apart(office)]
        written = _cycles(office, case.size["idle"])
        if written:
            trouble.append(f"{written} write calls in {case.size['idle']} idle cycles")
    figures = {
        "CRMs": len(office.crms),
        "people": case.size["people"],
        "rounds": case.size["rounds"],
        "cycles": _CYCLES,
        "idle": case.size["idle"],
        "write calls": written,
    }
    yield case.line(NAME, figures, trouble)


def _cycles(office: Office, count: int) -> int:
    """How many calls wrote in so many runs."""
    before = office.write_calls()
    for _ in range(count):
        office.run()
        office.later(timedelta(seconds=office.chance.choice((0, 1, 60))))
    return office.write_calls() - before


def _apart(office: Office) -> Iterator[str]:
    """Where `newest` rules, all hold what we know, but for what somebody emptied and for a CRM's own spelling."""
    with office.host() as host, host.database.read() as connection:
        known = {email: profiles(connection, [host.person(email)]) for email in office.people}
    for email, found in known.items():
        [person] = found.values()
        for crm in office.crms:
            for attribute, policy in crm.policies.items():
                held, ours = crm.held(email, attribute), person.attributes.get(attribute)
                if policy == "newest" and held not in (None, "") and not alike(held, ours):
                    yield f"{crm.name} holds {held!r} as {attribute} of {email}, we know {ours!r}"
