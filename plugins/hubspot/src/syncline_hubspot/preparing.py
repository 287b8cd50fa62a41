"""What an account needs before the first sync: properties in a group of ours, and lists (vendor sheet §7 and §8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from hubspot.crm import properties

from syncline.errors import ConfigError, TransientError
from syncline.model import Field, FieldSpec
from syncline_hubspot.client import Client
from syncline_hubspot.segments import Lists

__all__ = ["Preparation", "definition"]

_NAME: Final = re.compile(r"(?!hs_)[a-z][a-z0-9_]*")
_TYPES: Final = {
    "text": ("string", "text"),
    "number": ("number", "number"),
    "boolean": ("bool", "booleancheckbox"),
    "date": ("date", "date"),
    "datetime": ("datetime", "date"),
}
_ONE_LINE: Final = 255
_FIRST_PAUSE: Final = 0.3
_LOOKS: Final = 12
"""A new property appears 250 to 700 ms later (vendor sheet §7); twelve looks, each half as long again, are a minute."""


def definition(spec: FieldSpec, group: str) -> Any:
    """The library's model of a new property. Choices are made as text, since a spec has no values."""
    type_, field_type = _TYPES.get(spec.kind, _TYPES["text"])
    if type_ == "string" and (spec.max_length or 0) > _ONE_LINE:
        field_type = "textarea"
    options = [_option("Yes", "true", 0), _option("No", "false", 1)] if type_ == "bool" else None
    return properties.PropertyCreate(
        name=spec.name,
        label=spec.label or spec.name,
        type=type_,
        field_type=field_type,
        group_name=group,
        has_unique_value=spec.unique or None,  # immutable, so it has to be right at once
        options=options,
    )


def _option(label: str, value: str, order: int) -> Any:
    return properties.OptionInput(label=label, value=value, display_order=order, hidden=False)


class Preparation:
    """Says what is missing, and creates it."""

    def __init__(
        self,
        client: Client,
        lists: Lists,
        describe: Callable[[str], Sequence[Field]],
        pause: Callable[[float], None],
        group: str,
    ) -> None:
        self._client = client
        self._lists = lists
        self._describe = describe
        self._pause = pause
        self._group = group

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> list[str]:
        """One line for each thing that `prepare` would create."""
        lines = [_line(spec, known) for spec, known in self._lacking(needed)]
        return lines + [f"list {name!r}" for name in self._absent(segments)]

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> list[str]:
        """Create, and wait until it can be used; a line for each thing done."""
        lacking = self._lacking(needed)
        for spec, known in lacking:
            if known is not None:
                raise ConfigError(f"{_line(spec, known)}. {_remedy(known)}")
            if not _NAME.fullmatch(spec.name):
                raise ConfigError(f"{spec.object}.{spec.name} does not exist and cannot be created: {_NAMING}")
        done = self._create([spec for spec, _ in lacking])
        for name in self._absent(segments):
            self._lists.create(name)
            done.append(f"created list {name!r}")
        return done

    def _lacking(self, needed: Sequence[FieldSpec]) -> list[tuple[FieldSpec, Field | None]]:
        """The properties that are not there, that cannot be written, or that should hold our key and could hold it
        twice."""
        known: dict[str, dict[str, Field]] = {}
        found: list[tuple[FieldSpec, Field | None]] = []
        for spec in dict.fromkeys(needed):
            if spec.object not in known:
                known[spec.object] = {f.name: f for f in self._describe(spec.object)}
            field = known[spec.object].get(spec.name)
            if field is None or not field.writable or (spec.unique and not field.unique):
                found.append((spec, field))
        return found

    def _absent(self, segments: Sequence[str]) -> list[str]:
        there = self._lists.find(segments)
        return [name for name in dict.fromkeys(segments) if name not in there]

    def _create(self, specs: Sequence[FieldSpec]) -> list[str]:
        for object in dict.fromkeys(spec.object for spec in specs):
            if not self._client.has_group(object, self._group):
                self._client.create_group(object, self._group, self._group.replace("_", " ").capitalize())
            mine = [spec for spec in specs if spec.object == object]
            self._client.create_properties(object, [definition(spec, self._group) for spec in mine])
            self._await(object, {spec.name for spec in mine})
        return [f"created property {spec.object}.{spec.name}" for spec in specs]

    def _await(self, object: str, names: set[str]) -> None:
        """Looking again is a step of preparing, not a retry: before it is visible, a write with it is refused."""
        pause = _FIRST_PAUSE
        for _ in range(_LOOKS):
            self._pause(pause)
            names -= {field.name for field in self._describe(object)}
            if not names:
                return
            pause *= 1.5
        raise TransientError(f"created, but not to be seen yet: {', '.join(sorted(names))}", where=object)


_NAMING: Final = "names begin with a small letter, hold small letters, digits and _, and do not begin with hs_"


def _line(spec: FieldSpec, known: Field | None) -> str:
    place = f"property {spec.object}.{spec.name}"
    if known is not None and not known.writable:
        return f"{place} is there, but read-only"
    if known is not None:
        return f"{place} is there, but not unique: two records could hold one key"
    kind = f"{spec.kind}, unique" if spec.unique else spec.kind
    cannot = "" if _NAME.fullmatch(spec.name) else f"; cannot be created, {_NAMING}"
    return f"{place} ({kind}){cannot}"


def _remedy(known: Field) -> str:
    if not known.writable:
        return "Choose another name"
    return "HubSpot decides that when a property is made: choose another name, or delete it and prepare again"
