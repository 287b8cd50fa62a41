"""Before the first write: can the CRM still take what is mapped? What it cannot is parked, alone and by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from syncline.errors import AuthError, ConfigError, ConnectorError, SchemaDriftError
from syncline.model import Field, Origin, Value, microseconds
from syncline.sdk import Sink
from syncline.sdk.config import ConnectorConfig
from syncline.store.database import Database
from syncline.store.descriptions import Description, Known, accepted_values, descriptions, put_description
from syncline.sync.retry import Retry
from syncline.sync.schema_drift import Drift, Held, absent, since
from syncline.sync.target import FieldMap, Parked, Target, kind_of

__all__ = ["findings", "inspect", "preflight", "recovered", "refuse_unusable", "remember"]

_DEMANDED: Final = "the CRM demands this field of new records: map it, with a default, or set when_missing: skip"
_Described = Mapping[str, Sequence[Field] | ConnectorError]
"""Object → its fields, or why the CRM does not describe it."""


def inspect(target: Target, sink: Sink[ConnectorConfig], retry: Retry, database: Database) -> Target:
    """`target` held against the CRM as it is now, and as it was when all was well: one description an object.

    An object that worked before and is gone, forbidden, or without our key is closed. One that never worked is a
    mistake of the configuration, or of the credentials, and raises.
    """
    with database.read() as connection:
        known = descriptions(connection, target.connection)

    def held(object_name: str, field: str) -> set[Value]:
        with database.read() as connection:
            return accepted_values(connection, target.connection, object_name, field)

    described = {name: _describe(sink, name, retry, known=name in known) for name in target.objects}
    return preflight(target, described, known, held=held)


def _describe(sink: Sink[ConnectorConfig], name: str, retry: Retry, *, known: bool) -> Sequence[Field] | ConnectorError:
    try:
        return list(retry(lambda: sink.describe(name)))
    except (AuthError, ConfigError) as error:
        if not known:
            raise
        return error


def refuse_unusable(target: Target) -> None:
    """SchemaDriftError when the field with our key never worked on an object, or no object is left."""
    fatal = [p for p in target.parked if p.field == target.match and p.object not in target.closed]
    if fatal:
        raise SchemaDriftError(
            f"{fatal[0].name}, which carries our key, cannot be used: {fatal[0].reason}. "
            f"`syncline prepare {target.connection}` shows what is missing and creates it",
            field=target.match,
            where=target.connection,
        )
    if not target.reachable.objects:
        first = next(p for p in target.parked if p.object in target.closed and p.field in ("", target.match))
        raise SchemaDriftError(
            f"nothing is left that could be written. {first}",
            field=first.field or first.object,
            where=target.connection,
        )


def preflight(
    target: Target,
    described: _Described,
    known: Mapping[str, Description] | None = None,
    *,
    held: Held = lambda *_: (),
) -> Target:
    """`target` with what the CRM says of its objects, and every mapping it can no longer take parked by name.

    `known` is how the objects were when their mappings last passed, `held` what the CRM has taken from us.
    """
    fields: dict[str, Mapping[str, Field]] = {}
    parked: list[Parked] = []
    closed: set[str] = set()
    for position, name in enumerate(target.objects):
        found = described[name]
        fields[name] = {} if isinstance(found, ConnectorError) else {item.name: item for item in found}
        before = (known or {}).get(name, Description())
        if isinstance(found, ConnectorError):
            parked.append(Parked(name, "", _out_of_reach(before, target.match, found)))
            closed.add(name)
            continue
        checked = _Object(target, name, fields[name], before, held, main=position == 0).parked()
        parked += checked
        if before.last_good(target.match) and any(item.field == target.match for item in checked):
            closed.add(name)
    return replace(target, described=fields, parked=tuple(parked), closed=frozenset(closed))


def _out_of_reach(before: Description, match: str, error: ConnectorError) -> str:
    known = before.last_good(match)
    worked = f"; it was described to us at {since(known)}" if known else ""
    return f"the CRM does not describe this object any more: {error.message}{worked}. Its records wait"


@dataclass(frozen=True, slots=True)
class _Object:
    """One object of a target, as it is and as it was."""

    target: Target
    name: str
    fields: Mapping[str, Field]
    before: Description
    held: Held
    main: bool
    """Where missing people are created."""

    def parked(self) -> list[Parked]:
        own = _mapped(self.target)
        found = [Parked(self.name, m.name, reason) for m in own if m.written and (reason := self._trouble(m))]
        if self.main and self.target.create:
            given = {mapped.name for mapped in own if mapped.origin is not None}
            found += [Parked(self.name, name, self._demanded(name)) for name in _demanded(self.fields) - given]
        return sorted(found, key=lambda item: item.field) if len(found) > 1 else found

    def _trouble(self, mapped: FieldMap) -> str | None:
        now, known = self.fields.get(mapped.name), self.before.last_good(mapped.name)
        if now is None:
            return self._absent(mapped, known)
        reason = _unfit(mapped, now)
        if reason is None and mapped.name == self.target.match and not now.unique:
            reason = "not unique: two records could hold the same key"
        if known is None or known.field is None or mapped.origin is None:
            return reason
        drift = Drift(self.name, known.field, now, since(known), self.held)
        return drift.found() if reason is None else drift.told(reason)

    def _absent(self, mapped: FieldMap, known: Known | None) -> str | None:
        shared = mapped.policy != "ours" or mapped.origin is None
        if shared and not self.main and known is None:
            return None  # a lead's own field that contacts do not have: nothing to do there
        new = self.fields.keys() - self.before.names
        taken = {item.name for item in _mapped(self.target)}
        return absent(mapped.name, known, self.fields, new=new, taken=taken)

    def _demanded(self, name: str) -> str:
        """Also in the words of the run that found it first."""
        known, key = self.before.mappings.get(name), self.before.last_good(self.target.match)
        if known is not None and known.parked is not None:
            return known.parked
        return f"{_DEMANDED}. It did not at {since(key)}" if key else _DEMANDED


def _mapped(target: Target) -> list[FieldMap]:
    return [FieldMap(target.match, origin=Origin("person", "key")), *target.fields]


def _demanded(fields: Mapping[str, Field]) -> set[str]:
    """Fields without which the CRM creates nothing, and which it does not fill itself."""
    return {name for name, field in fields.items() if field.required and field.writable}


def _unfit(mapped: FieldMap, described: Field) -> str | None:
    """Why our values do not go into a field that is there."""
    if mapped.consent is not None:
        return _no_opt_out(described)
    if mapped.origin is None:
        return None
    if not described.writable:
        return "the field is read-only for the user we log in as"
    return (
        _wrong_kind(mapped.origin, described)
        or _not_an_option(mapped.values, described)
        or _too_long(mapped.values, described)
    )


def _no_opt_out(described: Field) -> str | None:
    if described.kind != "boolean":
        return f"the field holds {described.kind}; an opt-out is a boolean, true for who has opted out"
    if not described.writable:
        return "the field is read-only for the user we log in as: opt-outs are read there, and cannot be passed on"
    return None


def _wrong_kind(origin: Origin, described: Field) -> str | None:
    kind = kind_of(origin)
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


def _too_long(values: Sequence[str], described: Field) -> str | None:
    longest = max(values, key=len, default="")
    if described.kind != "text" or described.max_length is None or len(longest) <= described.max_length:
        return None
    return f"the field takes {described.max_length} characters, and {longest!r} has {len(longest)}. Make it longer"


def findings(target: Target) -> dict[str, str | None]:
    """Mapping → why it is parked, of a target that was inspected; None: the CRM can take it."""
    parked = {item.name: item.reason for item in target.parked}
    found: dict[str, str | None] = {}
    for object_name in target.objects:
        for mapped in _mapped(target):
            name = Parked(object_name, mapped.name, "").name
            if mapped.written and (name in parked or mapped.name in target.described[object_name]):
                found[name] = parked.get(name)
    return found | parked


# From run to run


def recovered(target: Target, known: Mapping[str, Description]) -> list[str]:
    """The names of mappings that were parked and are so no more. Of what was not looked at, nothing is said."""
    parked = {(item.object, item.field) for item in target.parked}
    unwritten = {mapped.name for mapped in target.fields if not mapped.written}
    return [
        Parked(object_name, name, "").name
        for object_name in target.reachable.objects
        for name, before in known.get(object_name, Description()).mappings.items()
        if before.parked is not None and (object_name, name) not in parked and name not in unwritten
    ]


def remember(connection: Connection, target: Target, now: datetime) -> None:
    """Keep how the objects are, for the next run. What is parked stays as it was when it last passed."""
    known = descriptions(connection, target.connection)
    for name in target.objects:
        after = _remembered(target, name, known.get(name, Description()))
        put_description(connection, target.connection, name, after, microseconds(now))


def _remembered(target: Target, object_name: str, before: Description) -> Description:
    fields = target.described[object_name]
    parked = {item.field: item.reason for item in target.parked if item.object == object_name}
    mappings: dict[str, Known] = {}
    for mapped in _mapped(target):
        old = before.mappings.get(mapped.name, Known())
        if object_name in target.closed or not mapped.written or mapped.name in parked:
            mappings[mapped.name] = replace(old, parked=parked.get(mapped.name, old.parked))
        elif mapped.name in fields:
            mappings[mapped.name] = Known(fields[mapped.name])
    for name, reason in parked.items():
        mappings.setdefault(name, Known(parked=reason))
    names = before.names if parked and before.names else frozenset(fields)
    return Description(mappings, names)
