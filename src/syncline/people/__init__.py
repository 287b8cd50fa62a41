"""Who is who: identifiers that identify, and people they belong to. Pure."""

from syncline.people.directory import Directory, Merge, Standing, contested
from syncline.people.identifiers import DEFAULT_BLOCKED, EMAIL, IdentifierFilter, IdentityRules, email_problem
from syncline.people.profile import Statement, newest

__all__ = [
    "DEFAULT_BLOCKED",
    "EMAIL",
    "Directory",
    "IdentifierFilter",
    "IdentityRules",
    "Merge",
    "Standing",
    "Statement",
    "contested",
    "email_problem",
    "newest",
]
