"""What an account needs before the first sync: our fields, the tags, and the channel that notices come through.

Zoho makes a field's api name from its label (`Lead Score` becomes `Lead_Score`), so the label is made from the name,
and the name is read back: a taken one would get a digit (vendor sheet §9).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from syncline.errors import ConfigError
from syncline.model import Field, FieldSpec
from syncline_zoho.channels import Watch
from syncline_zoho.client import Client
from syncline_zoho.payloads import ItemResult
from syncline_zoho.segments import Segments
from syncline_zoho.tasks import TASKS

__all__ = ["Preparation", "definition_of"]

_FIELDS_A_CALL: Final = 5
_LONGEST_LABEL: Final = 25
_LONGEST_TEXT: Final = 255
_SMALL_AREA: Final = 2_000
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
_DIGITS: Final = 9
_DOUBLE: Final = 16
_DEFAULT: Final = "Leads"


def definition_of(spec: FieldSpec) -> dict[str, Any]:
    """A field as `POST settings/fields` takes it."""
    made: dict[str, Any] = {"field_label": spec.name.replace("_", " ")}
    if spec.kind == "number" and not spec.scale:
        made |= {"data_type": "integer", "length": _DIGITS}
    elif spec.kind == "number":
        made |= {"data_type": "double", "length": _DOUBLE, "decimal_place": spec.scale}
    elif spec.kind in ("boolean", "date", "datetime"):
        made |= {"data_type": spec.kind}
    elif (spec.max_length or _LONGEST_TEXT) > _LONGEST_TEXT:
        small = (spec.max_length or 0) <= _SMALL_AREA
        made |= {"data_type": "textarea", "textarea": {"type": "small" if small else "large"}}
    else:
        made |= {"data_type": "text", "length": spec.max_length or _LONGEST_TEXT}
    return made | ({"unique": {"case_sensitive": False}} if spec.unique else {})


class Preparation:
    """Says what is missing, and creates it."""

    def __init__(
        self, client: Client, segments: Segments, watch: Watch, describe: Callable[[str], Sequence[Field]]
    ) -> None:
        self._client = client
        self._segments = segments
        self._watch = watch
        self._describe = describe

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> list[str]:
        """One line for each thing that `prepare` would create."""
        modules = _modules(needed)
        lines = [_line(spec, known) for spec, known in self._lacking(needed)]
        lines += [f"tag {name!r} of {module}" for module, name in self._segments.absent(modules, segments)]
        return lines + [f"notifications of {module}" for module in self._watch.lacking(modules)]

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> list[str]:
        """Create; a line for each thing done."""
        modules = _modules(needed)
        lacking = self._lacking(needed)
        for spec, known in lacking:
            _refuse_impossible(spec, known)
        done = self._create_fields([spec for spec, _ in lacking])
        for module, name in self._segments.absent(modules, segments):
            self._segments.create(module, name)
            done.append(f"created tag {name!r} of {module}")
        if self._watch.lacking(modules):
            self._watch.open(modules)
            done += [f"asked for notifications of {module}" for module in modules]
        return done

    def _lacking(self, needed: Sequence[FieldSpec]) -> list[tuple[FieldSpec, Field | None]]:
        """Fields that are not there, that we may not write, or that should hold our key and could hold it twice."""
        known: dict[str, dict[str, Field]] = {}
        found: list[tuple[FieldSpec, Field | None]] = []
        for spec in dict.fromkeys(needed):
            if spec.object not in known:
                known[spec.object] = {f.name: f for f in self._describe(spec.object)}
            field = known[spec.object].get(spec.name)
            if field is None or not field.writable or (spec.unique and not field.unique):
                found.append((spec, field))
        return found

    def _create_fields(self, specs: Sequence[FieldSpec]) -> list[str]:
        by_module: dict[str, list[FieldSpec]] = {}
        for spec in specs:
            by_module.setdefault(spec.object, []).append(spec)
        for module, group in by_module.items():
            for start in range(0, len(group), _FIELDS_A_CALL):
                self._create(module, group[start : start + _FIELDS_A_CALL])
            self._read_back(module, group)
        return [f"created field {spec.object}.{spec.name}" for spec in specs]

    def _create(self, module: str, specs: Sequence[FieldSpec]) -> None:
        body = {"fields": [definition_of(spec) for spec in specs]}
        answer = self._client.call("POST", "settings/fields", params={"module": module}, body=body)
        for spec, result in zip(specs, answer.items("fields", len(specs)), strict=True):
            if not result.ok:
                raise ConfigError(f"field {module}.{spec.name}: {_why(spec, result)}", where=self._client.where)

    def _read_back(self, module: str, specs: Sequence[FieldSpec]) -> None:
        there: Mapping[str, Field] = {f.name: f for f in self._describe(module)}
        for spec in specs:
            field = there.get(spec.name)
            if field is None:
                label = spec.name.replace("_", " ")
                names = [f.name for f in there.values() if f.label == label]
                raise ConfigError(
                    f"Zoho calls the new field {' or '.join(names) or 'otherwise'}, not {spec.name}: that name was "
                    f"taken (by a deleted field, perhaps). Map {names[0] if names else 'another name'} instead",
                    where=f"{self._client.where}: {module}",
                )
            if not field.writable:
                raise ConfigError(
                    f"the new field {spec.name} cannot be written by the user we log in as: give its profile access",
                    where=f"{self._client.where}: {module}",
                )


def _modules(needed: Sequence[FieldSpec]) -> list[str]:
    """The modules of people, which carry the tags."""
    return list(dict.fromkeys(s.object for s in needed if s.object != TASKS)) or [_DEFAULT]


def _refuse_impossible(spec: FieldSpec, known: Field | None) -> None:
    """Before anything is created."""
    place = f"{spec.object}.{spec.name}"
    if known is not None and known.writable:
        raise ConfigError(
            f"{_line(spec, known)}. Setup: Modules and Fields, {spec.object}, edit it, no duplicate values"
        )
    if known is not None:
        raise ConfigError(f"{_line(spec, known)}. Setup: Profiles, give the integration user's profile access to it")
    if not _NAME.fullmatch(spec.name) or len(spec.name) > _LONGEST_LABEL:
        raise ConfigError(
            f"{place} cannot be created: Zoho makes a field's name from a label of at most {_LONGEST_LABEL} "
            "characters, so it has letters, digits and single underscores only, like Lead_Score"
        )


def _why(spec: FieldSpec, result: ItemResult) -> str:
    if result.code == "DUPLICATE_DATA":
        return f"another field has the label {spec.name.replace('_', ' ')!r} already; rename that one, or map it"
    return result.reason


def _line(spec: FieldSpec, known: Field | None) -> str:
    if known is not None and known.writable:
        return f"field {spec.object}.{spec.name} is there, but not unique: two records could hold one key"
    if known is not None:
        return f"access to field {spec.object}.{spec.name}: we may read it, not write it"
    return f"field {spec.object}.{spec.name} ({spec.kind}{', unique' if spec.unique else ''})"
