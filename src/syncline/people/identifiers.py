"""Which identifiers identify a person, and which are noise."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from syncline.errors import RecordError
from syncline.model import Identifier

__all__ = ["DEFAULT_BLOCKED", "EMAIL", "IdentifierFilter", "IdentityRules", "email_problem"]

EMAIL: Final = "email"

_NOBODY: Final = (
    "anonymous",
    "null",
    "undefined",
    "none",
    "nil",
    "nan",
    "unknown",
    "n/a",
    "-",
    "0",
    "[[]*[]]",
    "{{*}}",
)

DEFAULT_BLOCKED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "*": _NOBODY,
        EMAIL: (
            "noreply@*",
            "no-reply@*",
            "no_reply@*",
            "donotreply@*",
            "postmaster@*",
            "mailer-daemon@*",
            "test@test.*",
        ),
    }
)
"""Namespace pattern → values that many people share or that scripts send when they know nothing. Merge tags that no one
filled in (`{{email}}`, `[email]`) are among them."""


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """What links people and what does not. `blocked` adds to the defaults unless `defaults` is False.

    One person has at most `max_emails` addresses and `max_identifiers` identifiers of any other namespace: more than
    that is a shared mailbox or a broken script, not a person.
    """

    blocked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_emails: int = 5
    max_identifiers: int = 50
    defaults: bool = True

    def limit(self, namespace: str) -> int:
        return self.max_emails if namespace == EMAIL else self.max_identifiers


class IdentifierFilter:
    """Keeps the identifiers that identify; e-mail addresses first, each namespace in the order given."""

    def __init__(self, rules: IdentityRules) -> None:
        tables = [*DEFAULT_BLOCKED.items()] if rules.defaults else []
        self._blocked = [
            (_pattern((namespace,)), _pattern(globs)) for namespace, globs in [*tables, *rules.blocked.items()]
        ]
        self._look = lru_cache(maxsize=50_000)(self._judge)

    def clean(self, identifiers: Iterable[Identifier], counts: Counter[str]) -> tuple[Identifier, ...]:
        """The usable ones; RecordError with every reason when there is none."""
        emails, others, problems = [], [], []
        for identifier in identifiers:
            usable, rule, problem = self._look(identifier.namespace, identifier.value)
            if usable is None:
                counts[rule] += 1
                problems.append(problem)
            elif usable.namespace == EMAIL:
                emails.append(usable)
            else:
                others.append(usable)
        if not emails and not others:
            counts["no_identifier"] += 1
            said = "; ".join(problems) or "the record names nobody"
            raise RecordError(f"no identifier is left that says who this was: {said}")
        return tuple(dict.fromkeys(emails + others)) if len(emails) + len(others) > 1 else tuple(emails or others)

    def _judge(self, namespace: str, value: str) -> tuple[Identifier | None, str, str]:
        """The identifier as we keep it, or the rule that refuses it and why."""
        text = value.strip()
        if namespace == EMAIL:
            text = text.lower()
            if problem := email_problem(text):
                return None, "invalid_address", f"the e-mail address {text!r} {problem}"
        if not text or "\0" in text or not _encodes(text):
            return None, "empty_identifier", f"the {namespace} identifier is empty or not text"
        for spaces, values in self._blocked:
            if spaces.match(namespace) and values.match(text):
                return None, "blocked_identifier", f"{namespace} {text!r} is blocked: it is shared or means nobody"
        return Identifier(namespace, text), "", ""


_ADDRESS: Final = re.compile(  # labels of letters, digits and inner hyphens; a top level that begins with a letter
    r"[^@\s,;:<>()\"\\\[\]\x00-\x1f\x7f]+@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_][\w-]*[^\W_]"
)


def email_problem(text: str) -> str | None:
    """Why `text` (stripped, lower case) cannot be delivered to; None if it may be. No mail is sent to find out."""
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        return "has no name or no domain around an @"
    if len(text) > 254 or len(local) > 64:
        return "is longer than mail allows (64 before the @, 254 in all)"
    if local.startswith(".") or local.endswith(".") or ".." in text:
        return "has a dot where none may be"
    if not _ADDRESS.fullmatch(text) or not _encodes(text):
        return "is not name@domain.tld"
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs), re.IGNORECASE)
