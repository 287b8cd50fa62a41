"""Where a sync writes: its objects, its mapped fields, and whether the CRM can still take them (preflight)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from syncline.errors import did_you_mean
from syncline.model import Field, FieldKind, FieldSpec, Limits, Origin
from syncline.sync.merge import Policy

__all__ = ["FieldMap", "Guard", "Parked", "Target", "needed_fields", "preflight"]


@dataclass(frozen=True, slots=True)
class FieldMap:
    """One mapped CRM field. `origin` None: we only read it, into the person attribute `to`.

    `values` are those it may be given as far as they are known beforehand: the bands of a score, and the default.
    """

    name: str
    policy: Policy = "ours"
    origin: Origin | None = None
    to: str | None = None
    default: str | int | bool | Decimal | None = None
    moves: Decimal | None = None
    """Write only when the value has moved by this much since the CRM last accepted it,"""
    or_band: bool = False
    """or when the score's band has changed."""
    values: tuple[str, ...] = ()
    written: bool = True
    """False: a mapping of a sync that is not run now. The mirror keeps the field, nothing of ours goes into it."""

    @property
    def follows(self) -> bool:
        """Written beside another change of the record, never the cause of a write."""
        return self.origin is not None and self.origin.part == "reason"


@dataclass(frozen=True, slots=True)
class Guard:
    """The most a run may do without being told to; None: no limit."""

    creates: int | None = None
    clears: int | None = None
    tasks: int | None = None
    removes: int | None = None
    """Memberships of campaigns, lists or tags that would end."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A mapping the CRM cannot take any more. Only this one is left out."""

    object: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """One CRM connection as all its syncs see it, also when only some of them are run.

    `objects`: the first is where missing people are created, the others are where people may also be found.
    `segments`: our segment → the CRM's name for it. `described`: object → its fields now (filled by `preflight`).
    """

    connection: str
    objects: tuple[str, ...]
    match: str
    create: bool
    fields: tuple[FieldMap, ...]
    limits: Limits
    create_if: tuple[str, Decimal] | None = None
    """A score and its lowest value: who is worth a new record."""
    create_with: str = "email"
    """The identifier somebody must have to be created: without it, they could not be found again."""
    segments: Mapping[str, str] = field(default_factory=dict)
    guard: Guard = Guard()
    described: Mapping[str, Mapping[str, Field]] = field(default_factory=dict)
    parked: tuple[Parked, ...] = ()

    @property
    def match_fields(self) -> dict[str, str]:
        return dict.fromkeys(self.objects, self.match)

    def fields_of(self, object: str) -> list[FieldMap]:
        """The mapped fields that this object can take, and that are to be planned: read, or written now."""
        parked = {item.field for item in self.parked if item.object == object}
        return [
            mapped
            for mapped in self.fields
            if (mapped.written or mapped.origin is None)
            and mapped.name not in parked
            and mapped.name in self.described[object]
        ]

    def read_fields(self, object: str) -> list[str]:
        """What the mirror keeps of this object: everything mapped, and our key.

        Also what is parked or not written now: the mirror would have to be read anew when that changes.
        """
        names = {self.match, *(mapped.name for mapped in self.fields)}
        return sorted(names & self.described[object].keys())


def needed_fields(target: Target) -> list[FieldSpec]:
    """The CRM fields that hold what is ours: our key, and every field we own. `prepare` may create them."""
    specs = []
    for object_name in target.objects:
        specs.append(FieldSpec(object_name, target.match, "text", "Syncline key", max_length=64, unique=True))
        specs.extend(
            _spec(object_name, mapped.name, mapped.origin)
            for mapped in target.fields
            if mapped.policy == "ours" and mapped.origin is not None
        )
    return specs


def _spec(object_name: str, name: str, origin: Origin) -> FieldSpec:
    label = name.removesuffix("__c").replace("_", " ").strip()
    kind = _kind(origin)
    return FieldSpec(
        object_name,
        name,
        kind,
        label,
        max_length=255 if kind == "text" else None,
        scale=2 if kind == "number" else None,
    )


def _kind(origin: Origin) -> FieldKind:
    if origin.room == "segment":
        return "boolean"
    if origin.room == "score" and origin.part == "value":
        return "number"
    return "datetime" if origin.name.endswith("_at") else "text"


def preflight(target: Target, described: Mapping[str, Sequence[Field]]) -> Target:
    """`target` with what the CRM says of its objects, and every mapping it can no longer take parked by name."""
    fields = {name: {item.name: item for item in items} for name, items in described.items()}
    parked = [
        parked
        for position, object_name in enumerate(target.objects)
        for parked in _check_object(target, object_name, fields[object_name], main=position == 0)
    ]
    return replace(target, described=fields, parked=tuple(parked))


def _check_object(target: Target, object_name: str, fields: Mapping[str, Field], *, main: bool) -> list[Parked]:
    found = []
    key = FieldMap(target.match, origin=Origin("person", "key"))
    own = [key, *target.fields]
    for mapped in own:
        reason = _unfit(mapped, fields, main=main) if mapped.written else None
        if reason is None and mapped is key and not fields[key.name].unique:
            reason = "not unique: two records could hold the same key"
        if reason:
            found.append(Parked(object_name, mapped.name, reason))
    if main and target.create:
        found += [Parked(object_name, name, reason) for name, reason in _uncreatable(own, fields)]
    return found


def _unfit(mapped: FieldMap, fields: Mapping[str, Field], *, main: bool) -> str | None:
    described = fields.get(mapped.name)
    if described is None:
        if (mapped.policy != "ours" or mapped.origin is None) and not main:
            return None  # a lead's own field that contacts do not have: nothing to do there
        return f"the CRM has no such field; {did_you_mean(mapped.name, fields)}"
    if mapped.origin is None:
        return None
    if not described.writable:
        return "the field is read-only for the user we log in as"
    return _wrong_kind(mapped.origin, described) or _not_an_option(mapped.values, described)


def _wrong_kind(origin: Origin, described: Field) -> str | None:
    kind = _kind(origin)
    if described.kind in ("text", kind) or (kind == "text" and described.kind in ("option", "options", "reference")):
        return None
    if origin.room == "person" and kind == "text":
        return None  # a profile attribute is text that may well spell a number or a date
    return f"the field holds {described.kind}, and {origin} is {kind}"


def _not_an_option(values: Sequence[str], described: Field) -> str | None:
    if described.kind not in ("option", "options") or not described.options:
        return None
    lacking = [repr(value) for value in values if value not in described.options]
    if not lacking:
        return None
    return f"the picklist lacks {', '.join(lacking)}; it has: {', '.join(described.options)}. Add what is missing there"


def _uncreatable(own: Sequence[FieldMap], fields: Mapping[str, Field]) -> list[tuple[str, str]]:
    """Fields without which the CRM creates nothing."""
    given = {mapped.name for mapped in own if mapped.origin is not None}
    return [
        (
            name,
            "the CRM demands this field of new records: map it, with a default, or set when_missing: skip",
        )
        for name, described in fields.items()
        if described.required and described.writable and name not in given
    ]
