"""Who is who, and what they allow: identifiers that identify, the people they belong to, their consent. Pure."""

from syncline.people.consent import Basis, ConsentRules, Said
from syncline.people.directory import Directory, Merge, Standing, contested
from syncline.people.identifiers import DEFAULT_BLOCKED, EMAIL, IdentifierFilter, IdentityRules, email_problem
from syncline.people.profile import Statement, newest

__all__ = [
    "DEFAULT_BLOCKED",
    "EMAIL",
    "Basis",
    "ConsentRules",
    "Directory",
    "IdentifierFilter",
    "IdentityRules",
    "Merge",
    "Said",
    "Standing",
    "Statement",
    "contested",
    "email_problem",
    "newest",
]
