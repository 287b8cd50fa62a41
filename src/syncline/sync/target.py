"""Where a sync writes: its objects, its mapped fields, what of them is parked, and how much a run may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from syncline.model import Field, FieldKind, FieldSpec, Limits, Origin
from syncline.sync.merge import Policy

__all__ = ["FieldMap", "Guard", "Parked", "Target", "kind_of", "needed_fields"]


@dataclass(frozen=True, slots=True)
class FieldMap:
    """One mapped CRM field. `origin` None: we only read it, into the person attribute `to`, or it holds an opt-out.

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
    consent: str | None = None
    """The purpose whose opt-out the field holds: true where somebody has opted out."""
    purpose: str | None = None
    """What it is written for; None: that is not asked."""

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
    overwrites: int | None = None
    """Fields whose value is another one afterwards, and was not ours before."""
    opt_outs: int | None = None
    """People who are opted out because another side says so."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A mapping the CRM cannot take any more. Only this one is left out.

    An empty `field` is the object as a whole. An empty `object` is what has none: `tasks`, or a segment's list.
    """

    object: str
    field: str
    reason: str

    @property
    def name(self) -> str:
        """What a report calls it: `Lead.Lead_Score__c`, `Contact`, `tasks`, `segment 'Hot leads'`."""
        return ".".join(filter(None, (self.object, self.field)))

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


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
    recreate: bool = False
    """People whose record was deleted may come back as a new one, by the rules for missing ones."""
    segments: Mapping[str, str] = field(default_factory=dict)
    list_purposes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The CRM's name of a segment → what it is kept for: all of these must be allowed."""
    guard: Guard = Guard()
    staged: bool = False
    """The first runs into a CRM that was never written to go step by step."""
    described: Mapping[str, Mapping[str, Field]] = field(default_factory=dict)
    parked: tuple[Parked, ...] = ()
    closed: frozenset[str] = frozenset()
    """Objects that worked before and cannot be used now: their records are left alone, and nobody is created."""

    @property
    def one_way(self) -> frozenset[str]:
        """Fields that may only ever be set: nothing of ours takes an opt-out back."""
        return frozenset(self.opt_outs)

    @property
    def opt_outs(self) -> dict[str, str]:
        """Field → the purpose whose opt-out it holds."""
        return {mapped.name: mapped.consent for mapped in self.fields if mapped.consent is not None}

    @property
    def purposes(self) -> frozenset[str | None]:
        """What records and lists here are written for; None where something is written that asks nobody."""
        fields = {mapped.purpose for mapped in self.fields if mapped.origin is not None and mapped.written}
        lists = {purpose for name in self.segments.values() for purpose in self.list_purposes.get(name) or [None]}
        return frozenset(fields | lists)

    @property
    def unread_purposes(self) -> dict[str, str]:
        """Purpose → why nobody can know whether it was withdrawn here: the field that would say so is gone."""
        here = self.described.get(self.objects[0], {})
        lost = {purpose: name for name, purpose in self.opt_outs.items() if here and name not in here}
        told = "nobody can tell whether {} was withdrawn there: {}.{} is gone"
        return {purpose: told.format(purpose, self.objects[0], name) for purpose, name in lost.items()}

    @property
    def fields_not_asked(self) -> frozenset[str]:
        """Fields of which a plan for this target says nothing: those of syncs that are not run, and parked ones."""
        return frozenset(m.name for m in self.fields if not m.written) | {item.field for item in self.parked}

    @property
    def match_fields(self) -> dict[str, str]:
        return dict.fromkeys(self.objects, self.match)

    @property
    def reachable(self) -> Target:
        """This target without the objects that cannot be used now."""
        return replace(self, objects=tuple(name for name in self.objects if name not in self.closed))

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
    kind = kind_of(origin)
    return FieldSpec(
        object_name,
        name,
        kind,
        label,
        max_length=255 if kind == "text" else None,
        scale=2 if kind == "number" else None,
    )


def kind_of(origin: Origin) -> FieldKind:
    """The kind of value that comes from there."""
    if origin.room == "segment":
        return "boolean"
    if origin.room == "score" and origin.part == "value":
        return "number"
    return "datetime" if origin.name.endswith("_at") else "text"
