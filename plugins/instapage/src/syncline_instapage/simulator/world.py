"""What the simulated account holds: two workspaces, their landing pages, and who submitted which form when.

Whoever decides does it as a person does: the newsletter long ago, a whitepaper weeks ago, a demo in the last days.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from syncline.testing.population import SimulatedPerson, population

__all__ = [
    "CONTACT",
    "DEMO",
    "MARKETING",
    "NEWSLETTER",
    "PARTNERS",
    "TRIAL",
    "WHITEPAPER",
    "landing_pages",
    "submitted",
]

MARKETING: Final = 11771
PARTNERS: Final = 11772

NEWSLETTER: Final = 21940001
DEMO: Final = 21940002
CONTACT: Final = 21940003
TRIAL: Final = 21940004
WHITEPAPER: Final = 21940005
WEBINAR: Final = 21940006
DRAFT: Final = 21940007
PARTNER: Final = 31550001

Row = dict[str, Any]
_Asked = Literal["email", "first", "last", "full", "company", "phone", "message", "neighborhood", "interests", "role"]


@dataclass(frozen=True, slots=True)
class _Page:
    """A landing page and its form: label → what it asks for. Labels are as authors type them, blanks included."""

    id: int
    workspace: int
    title: str
    path: str | None
    form: dict[str, _Asked]
    variations: tuple[tuple[str, str], ...] = (("A", ""),)
    deleted: bool = False


_PAGES: Final = (
    _Page(NEWSLETTER, MARKETING, "Newsletter sign-up", "go.acme.example/Newsletter", {"Email": "email"}),
    _Page(
        DEMO,
        MARKETING,
        "Book a demo",
        "go.acme.example/Demo",
        {
            "First Name": "first",
            "Last Name": "last",
            "Enter Email Address": "email",
            "Company": "company",
            "Phone ": "phone",
            "neighborhood ": "neighborhood",
        },
        (("A", ""), ("B", "Short form"), ("C", "")),
    ),
    _Page(
        CONTACT,
        MARKETING,
        "Talk to us",
        "go.acme.example/contact",
        {"Enter Full Name": "full", "E-mail": "email", "Your message": "message"},
    ),
    _Page(
        TRIAL,
        MARKETING,
        "Start your free trial",
        "go.acme.example/trial",
        {"Full Name": "full", "Work Email": "email", "Company": "company", "Interests": "interests"},
        (("A", ""), ("B", "")),
    ),
    _Page(
        WHITEPAPER,
        MARKETING,
        "Whitepaper: lead scoring",
        "go.acme.example/whitepaper",
        {"Email": "email", "First Name": "first", "Last Name": "last", "Company": "company", "Job Title": "role"},
    ),
    _Page(WEBINAR, MARKETING, "Spring webinar", None, {"Email": "email", "Name": "full"}, deleted=True),
    _Page(DRAFT, MARKETING, "Summer campaign (draft)", None, {"Email": "email"}),
    _Page(
        PARTNER,
        PARTNERS,
        "Partner enquiry",
        "partners.acme.example/Enquiry",
        {"Enter Full Name": "full", "Enter Email Address": "email", "Enter Phone Number": "phone"},
    ),
)


def landing_pages(base: datetime) -> Iterator[Row]:
    """The landing pages, in the words of the API, with the form's labels and the variations beside them."""
    for number, page in enumerate(_PAGES):
        created = int((base - timedelta(days=200 - number)).timestamp())
        published = None if page.path is None else created + 3600
        yield {
            "id": page.id,
            "workspace": page.workspace,
            "title": page.title,
            "url": None if page.path is None else f"https://{page.path.lower()}",
            "shown": page.path,
            "publishStatus": "unpublished" if page.path is None else "published",
            "publishMethod": None if page.path is None else "customDomain",
            "createdAt": created,
            "updatedAt": created + 7200,
            "publishedAt": published,
            "isDeleted": page.deleted,
            "form": dict(page.form),
            "variations": [list(variation) for variation in page.variations],
        }


def submitted(people: int, seed: int, base: datetime) -> Iterator[Row]:
    """Every submission of everybody, in no order of time."""
    for person in population(people, seed):
        yield from _Life(person, seed, base).submissions()


class _Life:
    """One person's forms."""

    def __init__(self, person: SimulatedPerson, seed: int, base: datetime) -> None:
        self._who = person
        self._chance = person.randomness("instapage", seed)
        self._seed = seed
        self._base = base
        self._number = 0
        self._ip = f"203.0.113.{self._chance.randrange(1, 255)}"
        self._device = self._chance.choice(("Desktop", "Desktop", "Mobile"))

    def submissions(self) -> Iterator[Row]:
        yield from getattr(self, f"_{self._who.persona}")()

    def _hot(self) -> Iterator[Row]:
        yield from self._submit(NEWSLETTER, 50, 85)
        yield from self._submit(WHITEPAPER, 5, 20)
        yield from self._submit(DEMO, 0.1, 2.5)
        yield from self._perhaps(0.4, TRIAL, 0.05, 3)

    def _warm(self) -> Iterator[Row]:
        yield from self._perhaps(0.5, NEWSLETTER, 15, 85)
        yield from self._perhaps(0.4, WHITEPAPER, 10, 60)
        yield from self._perhaps(0.2, WEBINAR, 65, 85)
        yield from self._perhaps(0.15, CONTACT, 3, 40)
        yield from self._perhaps(0.1, PARTNER, 3, 60)

    def _cold(self) -> Iterator[Row]:
        yield from self._perhaps(0.12, NEWSLETTER, 30, 85)
        yield from self._perhaps(0.05, WEBINAR, 65, 85)

    def _gone(self) -> Iterator[Row]:
        yield from self._perhaps(0.3, NEWSLETTER, 75, 88)

    def _perhaps(self, likely: float, page: int, least: float, most: float) -> Iterator[Row]:
        if self._chance.random() < likely:
            yield from self._submit(page, least, most)

    def _submit(self, number: int, least: float, most: float) -> Iterator[Row]:
        """A submission that many days ago; now and then by a double click, which makes two."""
        page = next(page for page in _PAGES if page.id == number)
        at = int((self._base - timedelta(days=self._chance.uniform(least, most))).timestamp())
        letter, custom = self._chance.choice(page.variations)
        answers = {label: self._answer(asked) for label, asked in page.form.items()}
        for again in range(2 if self._chance.random() < 0.04 else 1):
            moment = at if at % 60 == 59 else at + again  # both within one minute
            yield {
                "id": self._id(),
                "page": number,
                "at": moment,
                "letter": letter,
                "custom": custom,
                "device": self._device,
                "ip": self._ip,
                "answers": dict(answers),
            }

    def _id(self) -> str:
        self._number += 1
        return hashlib.sha256(f"{self._seed}:{self._who.number}:{self._number}".encode()).hexdigest()[:24]

    def _answer(self, asked: _Asked) -> Any:
        person = self._who
        match asked:
            case "email":
                return person.email.capitalize() if person.number % 7 == 0 else person.email
            case "first":
                return person.first_name
            case "last":
                return person.last_name
            case "full":
                return f"{person.first_name} {person.last_name}"
            case "company":
                return person.company
            case "phone":
                return f"+39 02 55{person.number:05d}"
            case "message":
                return f"Hello,\nplease call me. {person.first_name}"
            case "neighborhood":
                return self._chance.choice(("Centro", "Navigli", "", "Isola"))
            case "interests":
                return self._chance.sample(("Scoring", "Segments", "Tasks"), self._chance.randrange(1, 4))
            case "role":
                return self._chance.choice(("CEO", "Head of Sales", "Marketing Manager"))
