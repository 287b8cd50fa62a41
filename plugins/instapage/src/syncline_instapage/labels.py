"""What the labels of a form's fields mean. They are the words of whoever built the form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final, NamedTuple

__all__ = [
    "DEFAULT_LABELS",
    "Answer",
    "answers_of",
    "fits",
    "metadata_of",
    "plain_label",
    "plain_value",
    "recognised",
    "speaks_of_a_person",
]

DEFAULT_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "email": (
        "email", "e_mail", "email_address", "e_mail_address", "work_email", "mail", "indirizzo_email", "*email*",
        "*e_mail*",
    ),
    "first_name": ("first_name", "firstname", "given_name", "nome", "vorname", "prenom", "prénom", "*first_name"),
    "last_name": ("last_name", "lastname", "surname", "family_name", "cognome", "nachname", "*last_name"),
    "name": ("full_name", "fullname", "name", "your_name", "nome_e_cognome", "*full_name"),
    "company": ("company", "company_name", "your_company", "organization", "organisation", "azienda", "firma"),
    "title": ("job_title", "title", "role", "position", "ruolo"),
    "phone": (
        "phone", "phone_number", "telephone", "mobile", "mobile_number", "telefono", "cellulare", "*phone_number",
        "*phone",
    ),
    "city": ("city", "town", "città", "citta"),
    "country": ("country", "paese", "nazione"),
    "language": ("language", "lingua"),
}  # fmt: skip
"""Attribute → labels, as `plain_label` writes them; `*` is anything."""

_STRUCTURE: Final = frozenset({"page_id", "page_name", "page_url", "variant"})
_METADATA: Final = frozenset(
    "pageshown variationshown desktopmobile timestamp ip ipaddress referralsource adcampaign submittedat".split()
)
"""What Instapage adds of its own (vendor sheet, §2), without blanks and signs: `Page Shown` in one, `pageshown` there.

`submitted_at` is one write-up's word for the time (unverified).
"""

_EMAIL: Final = re.compile(r"[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[^@\s.,;<>\"']{2,}")
_PHONE_BY_LABEL: Final = re.compile(r"\+?[\d\s().\-/]{5,25}")
_PHONE_BY_VALUE: Final = re.compile(r"\+\d[\d\s().\-/]{6,20}")  # with its +: other long numbers are no phones
_VALUES: Final = {"email": _EMAIL, "phone": _PHONE_BY_VALUE}


class Answer(NamedTuple):
    """One filled field of a form: its label and its value, each in the one spelling that both ways in share."""

    label: str
    value: str


@lru_cache(maxsize=4096)
def plain_label(text: str) -> str:
    """`Enter Email Address`, `Enter_Email_Address` and `enter email address ` are one label.

    Receivers in PHP get `_` for blanks and dots (vendor sheet, §2), and authors leave blanks behind.
    """
    folded = unicodedata.normalize("NFKC", _storable(text)).casefold()
    return re.sub(r"[\W_]+", "_", folded).strip("_") or "_"


@lru_cache(maxsize=4096)
def _pattern(text: str) -> str:
    """A pattern in the spelling of labels; only `*` has a meaning."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[^\w*]+|_+", "_", folded).strip("_")


def fits(label: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(label, _pattern(pattern)) for pattern in patterns)


def plain_value(value: Any) -> str:
    """Text in one spelling: a form sends line ends as CRLF, JSON as LF, and several ticks come as a list or joined."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(plain_value, value)))
    if isinstance(value, bool):
        return "true" if value else "false"
    text = unicodedata.normalize("NFC", _storable(str(value)))
    return " ".join(text.split())


def _storable(text: str) -> str:
    """Without NUL and broken halves of characters, which cannot be hashed or stored."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def answers_of(fields: Mapping[str, Any], ignored: Sequence[str] = ()) -> tuple[Answer, ...]:
    """The filled fields, sorted, without what Instapage adds and what is `ignored`; empty ones say nothing."""
    pairs = ((name, Answer(plain_label(name), plain_value(value))) for name, value in _flat(fields))
    return tuple(
        sorted(
            answer
            for name, answer in pairs
            if answer.value and not _is_metadata(name) and not fits(answer.label, ignored)
        )
    )


def metadata_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """What Instapage adds of its own, by its name without blanks and signs."""
    found = {_squeezed(name): plain_value(value) for name, value in _flat(fields) if _is_metadata(name)}
    return {name: value for name, value in found.items() if value}


def _flat(fields: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Bodies seen are flat; one that nests its fields says the same."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield str(name), value


def _is_metadata(name: str) -> bool:
    return name in _STRUCTURE or _squeezed(name) in _METADATA


def _squeezed(name: str) -> str:
    return name if name in _STRUCTURE else re.sub(r"[\W_]+", "", name).casefold()


def recognised(answers: Sequence[Answer], labels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Attribute → what the form says of it: by label, the first pattern first; address and phone by their looks too."""
    found = {name: _labelled(name, answers, patterns) for name, patterns in labels.items()}
    for name, looks in _VALUES.items():
        found[name] = found.get(name) or next((a.value for a in answers if looks.fullmatch(a.value)), "")
    return {name: value for name, value in found.items() if value}


def _labelled(attribute: str, answers: Sequence[Answer], patterns: Sequence[str]) -> str:
    for pattern in patterns:
        for answer in answers:
            if fits(answer.label, (pattern,)) and _possible(attribute, answer.value):
                return answer.value
    return ""


def _possible(attribute: str, value: str) -> bool:
    """`Email me offers: yes` is no address, `Phone call wanted: no` is no number."""
    if attribute == "email":
        return bool(_EMAIL.fullmatch(value))
    return bool(_PHONE_BY_LABEL.fullmatch(value)) if attribute == "phone" else True


def speaks_of_a_person(answer: Answer, labels: Mapping[str, Sequence[str]]) -> bool:
    """Whether it is one of the attributes, or an address or a number: then it does not belong into an event."""
    looks_like_one = _EMAIL.search(answer.value) or _PHONE_BY_VALUE.search(answer.value)
    return bool(looks_like_one) or any(fits(answer.label, patterns) for patterns in labels.values())
