"""The people all simulated vendors share: what a marketing tool knows and what the CRM holds is one population."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

__all__ = ["EPOCH", "Persona", "SimulatedPerson", "population", "simulated_now"]

EPOCH: Final = "2026-06-01T08:00:00+00:00"
"""The simulated present: seeded facts lie in the 90 days before it."""

Persona = Literal["hot", "warm", "cold", "gone"]

_FIRST = (
    "Giulia Marco Francesca Luca Chiara Andrea Sara Matteo Elena Davide Anna Paolo Laura Stefano Martina Alessandro "
    "Sofia Lorenzo Emma Olivia Jack Amelia Harry Isla Noah Grace Léa Hugo Zoë Jürgen Søren Łucja"
).split()
_LAST = (
    "Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Bruno Gallo Conti D'Angelo De-Luca Costa "
    "Giordano Mancini Rizzo Lombardi Moretti O'Brien Smith Jones Taylor Müller Larsen Nowak Dubois García"
).split()
_COMPANY = "Acquario Borea Cardo Dedalo Esperia Fenice Ginestra Helios Iride Lampo Meridiana Nembo".split()
_FORM = "S.r.l. S.p.A. Ltd GmbH SAS".split()


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """One person. `number` counts from 0; `email` is unique and lower case."""

    number: int
    first_name: str
    last_name: str
    email: str
    company: str
    persona: Persona

    @property
    def in_crm(self) -> bool:
        """A third of the people is already in the CRM on day one."""
        return self.number % 3 == 0

    @property
    def converted(self) -> bool:
        """Of those, some leads were converted to contacts,"""
        return self.in_crm and self.number % 30 == 3

    @property
    def twice(self) -> bool:
        """and some are there twice."""
        return self.in_crm and self.number % 60 == 6

    def email_in_crm(self) -> str:
        """As somebody typed it there: every other one in another letter case."""
        return self.email if self.number % 2 else self.email.upper()

    def randomness(self, purpose: str, seed: int) -> random.Random:
        """A generator of this person's own, so that one vendor's facts do not depend on another's."""
        return random.Random(f"{seed}:{purpose}:{self.number}")  # noqa: S311  # repeatable on purpose


def population(people: int, seed: int) -> Iterator[SimulatedPerson]:
    """The same people for the same seed; the first n of them are the population of n."""
    for number in range(people):
        chance = random.Random(f"{seed}:person:{number}")  # noqa: S311  # repeatable on purpose
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        company = f"{chance.choice(_COMPANY)} {chance.choice(_FORM)}"
        local = "".join(c for c in f"{first}.{last}".lower() if c.isascii() and (c.isalnum() or c == "."))
        yield SimulatedPerson(
            number, first, last, f"{local}{number}@{company.split()[0].lower()}.example", company, _persona(chance)
        )


def _persona(chance: random.Random) -> Persona:
    draw = chance.random()
    return "hot" if draw < 0.08 else "warm" if draw < 0.3 else "cold" if draw < 0.9 else "gone"


def simulated_now() -> datetime:
    """EPOCH as an aware datetime."""
    return datetime.fromisoformat(EPOCH)
