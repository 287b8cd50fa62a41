"""What an audience needs before the first sync: merge fields for what we write, and tags for our segments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncline.errors import ConfigError, Problem
from syncline.model import FieldSpec
from syncline_mailchimp.client import MailchimpClient
from syncline_mailchimp.tags import Tags

__all__ = ["described", "missing_fields", "missing_tags", "prepare_audience"]

_TAG: Final = re.compile(r"[A-Z0-9_]{1,10}")
_TYPES: Final[Mapping[str, str]] = {"number": "number", "date": "date"}
"""Kind → type; everything else is text, as Mailchimp has neither booleans nor times of day."""


def missing_fields(needed: Sequence[FieldSpec], known: set[str]) -> list[FieldSpec]:
    """Those that have to be created. ConfigError for names that no merge field can have."""
    lacking = {spec.name: spec for spec in needed if spec.name not in known}
    bad = [name for name in lacking if not _TAG.fullmatch(name)]
    if bad:
        told = "is no merge tag: one has at most ten characters, of A-Z, 0-9 and _"
        raise ConfigError(problems=[Problem((), f"{name!r} {told}") for name in bad])
    return list(lacking.values())


def missing_tags(segments: Sequence[str], known: set[str]) -> list[str]:
    return [name for name in dict.fromkeys(segments) if name not in known]


def prepare_audience(
    client: MailchimpClient, audience: str, fields: Sequence[FieldSpec], tags: Tags, segments: Sequence[str]
) -> list[str]:
    """Create them; a line each."""
    done = []
    for spec in fields:
        client.create_merge_field(audience, _body(spec))
        done.append(f"created the merge field {described(spec)}")
    for name in segments:
        tags.create(name)
        done.append(f"created the tag {name!r}")
    return done


def described(spec: FieldSpec) -> str:
    return f"{spec.name} ({_TYPES.get(spec.kind, 'text')})"


def _body(spec: FieldSpec) -> dict[str, Any]:
    """Not public: what we think of people is not for them to fill in on a form."""
    kind = _TYPES.get(spec.kind, "text")
    return {"tag": spec.name, "name": spec.label or spec.name, "type": kind, "required": False, "public": False}
