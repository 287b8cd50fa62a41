"""The records of the simulated account and the rules for writing them (vendor sheet §5, §6 and §9).

A refused write raises RefusedWrite with the vendor's category, codes and words. Where the sheet marks words as
unverified, the connector must not depend on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from syncline.testing.simulator import Table
from syncline_hubspot.simulator.schema import (
    LIFECYCLE,
    OBJECTS,
    PropertyDef,
    custom,
    rendered,
    stamp_of,
)

__all__ = ["PERSON", "SYNC", "Portal", "RefusedWrite", "Source", "printed", "problem"]

_EMAIL: Final = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_MS: Final = re.compile(r"-?[0-9]{10,}")
_LONGEST: Final = 65_536
_VERSIONS: Final = 20
_UNIQUE_MOST: Final = 10
_TASK_TYPES: Final = {"contacts": 204, "companies": 192, "deals": 216}


@dataclass(frozen=True, slots=True)
class Source:
    """Who writes: what HubSpot keeps beside every value."""

    type: str
    id: str
    user: int | None = None

    def version(self, value: str, moment: str) -> dict[str, Any]:
        told = {"value": value, "timestamp": moment, "sourceType": self.type, "sourceId": self.id}
        return told | ({"updatedByUserId": self.user} if self.user is not None else {})


SYNC: Final = Source("INTEGRATION", "19083857")
PERSON: Final = Source("CRM_UI", "userId:76070032", 76070032)
_COMPUTER: Final = Source("CALCULATED", "CalculatedPropertyComputer")


class RefusedWrite(Exception):  # noqa: N818  # it is an answer of the vendor, not an error of ours
    """One refused input: what its entry in `errors` says."""

    def __init__(
        self,
        category: str,
        message: str,
        *,
        status: int = 400,
        problems: Sequence[Mapping[str, Any]] = (),
        context: Mapping[str, list[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.category = category
        self.message = message
        self.status = status
        self.problems = list(problems)
        self.context = dict(context or {})


def problem(name: str, code: str, message: str) -> dict[str, Any]:
    """One entry of the JSON that HubSpot puts into its messages."""
    return {"isValid": False, "message": message, "error": code, "name": name}


def _invalid(problems: Sequence[Mapping[str, Any]]) -> RefusedWrite:
    listed = json.dumps(list(problems), separators=(",", ":"), ensure_ascii=False)
    return RefusedWrite("VALIDATION_ERROR", f"Property values were not valid: {listed}", problems=problems)


def printed(moment: datetime) -> str:
    """ISO 8601 with milliseconds, as recorded."""
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Portal:
    """Everything one customer has. `clock` is the simulated time; `table` opens durable tables."""

    def __init__(self, table: Callable[[str], Table], clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.tables = {name: table(name) for name in OBJECTS}
        self.redirects = table("redirect")
        self.unsubscribed = table("unsubscribed")
        """Addresses that want no more e-mail: it is of an address, not of a contact (legacy docs, email status)."""
        self.custom = table("property")
        self.groups = table("group")
        self._meta = table("_portal")
        self._meta.setdefault("state", {"stamp": 0, "ids": 500})
        self._definitions: dict[str, dict[str, PropertyDef]] = {}
        self._unique: dict[tuple[str, str], dict[str, str]] = {}
        self._undo: dict[tuple[str, str], dict[str, Any] | None] | None = None
        self.changed: Callable[[str, str, str, Mapping[str, Any]], None] = lambda *_: None
        """Told (object, id, what happened, details) for the notices."""
        # What could not be verified about the vendor:
        self.lifecycle_refused = False
        self.merge_keeps_winner = False
        self.merged_are_archived = False
        self.required: tuple[str, ...] = ()
        """Properties that an administrator demands of new records."""

    # Time and ids

    def stamp(self) -> datetime:
        """The time of a change: milliseconds, never before the last one; changes of one moment share it."""
        state = self._meta["state"]
        state["stamp"] = max(int(self.clock().timestamp() * 1000), state["stamp"])
        self._meta.save("state")
        return datetime.fromtimestamp(state["stamp"] / 1000, UTC)

    def server_time(self) -> datetime:
        """The clock as the Date header shows it: never before the last change."""
        return max(self.clock(), datetime.fromtimestamp(self._meta["state"]["stamp"] / 1000, UTC))

    def new_id(self, of: str = "ids") -> str:
        """Never one that was given before. Records count in one row, lists in their own."""
        state = self._meta["state"]
        state[of] = state.get(of, 0) + 1
        self._meta.save("state")
        return str(state[of])

    # Definitions

    def definitions(self, object: str) -> Mapping[str, PropertyDef]:
        """The properties that can be used now."""
        if object not in self._definitions:
            made = {
                row["name"]: _restored(row["definition"])
                for row in self.custom.values()
                if row["object"] == object and not row["archived"] and row["looks"] <= 0
            }
            self._definitions[object] = dict(OBJECTS[object]) | made
        return self._definitions[object]

    def shown(self, object: str) -> list[dict[str, Any]]:
        """The definitions as the API lists them. A look makes new ones a little older."""
        found = []
        for definition in self.definitions(object).values():
            row = self.custom.get(f"{object}.{definition.name}")
            found.append(rendered(definition, (row["created"], row["updated"]) if row else None))
        self.age(object)
        return found

    def age(self, object: str) -> None:
        """A new property can be used after so many looks at the object's properties."""
        for key, row in self.custom.items():
            if row["object"] == object and row["looks"] > 0:
                row["looks"] -= 1
                self.custom.save(key)
                self._definitions.pop(object, None)

    def define(self, object: str, body: Mapping[str, Any], looks: int) -> dict[str, Any]:
        """A new property; one that was archived comes back as it was."""
        try:
            made = custom(body)
        except ValueError as error:
            raise RefusedWrite("VALIDATION_ERROR", str(error)) from error
        key = f"{object}.{made.name}"
        row = self.custom.get(key)
        if made.name in OBJECTS[object] or (row is not None and not row["archived"]):
            raise RefusedWrite("OBJECT_ALREADY_EXISTS", f"A property named '{made.name}' already exists.", status=409)
        if made.group not in self.group_names(object):
            raise RefusedWrite("VALIDATION_ERROR", f"Property group {made.group} does not exist", status=400)
        if made.unique and self._uniques(object) >= _UNIQUE_MOST:
            raise RefusedWrite("VALIDATION_ERROR", "There can be at most 10 unique properties for an object")
        moment = printed(self.stamp())
        definition = _kept(made) if row is None else row["definition"]
        created = moment if row is None else row["created"]
        self.custom[key] = {
            "object": object,
            "name": made.name,
            "definition": definition,
            "archived": False,
            "looks": looks,
            "created": created,
            "updated": moment,
        }
        self._definitions.pop(object, None)
        return rendered(_restored(definition), (created, moment))

    def _uniques(self, object: str) -> int:
        return sum(d.unique for d in self.definitions(object).values())

    def redefine(self, object: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH of a property: `options` replaces the whole list, `hasUniqueValue` cannot change."""
        row = self._custom_row(object, name)
        if "hasUniqueValue" in body and bool(body["hasUniqueValue"]) != row["definition"]["unique"]:
            raise RefusedWrite("VALIDATION_ERROR", "hasUniqueValue cannot be changed")
        merged = {**rendered(_restored(row["definition"])), **body, "name": name}
        row["definition"], row["updated"] = _kept(custom(merged)), printed(self.stamp())
        self.custom.save(f"{object}.{name}")
        self._definitions.pop(object, None)
        return rendered(_restored(row["definition"]), (row["created"], row["updated"]))

    def change_property(self, object: str, name: str, /, **changes: Any) -> None:
        """What comes about inside HubSpot, in the words of PropertyDef; another `name` takes the values along."""
        row = self._custom_row(object, name)
        row["definition"] = _kept(replace(_restored(row["definition"]), **changes))
        new = row["name"] = changes.get("name", name)
        del self.custom[f"{object}.{name}"]
        self.custom[f"{object}.{new}"] = row
        for id, record in self.tables[object].items() if new != name else ():
            if name in record["properties"]:
                record["properties"][new] = record["properties"].pop(name)
                self.tables[object].save(id)
        self._definitions.pop(object, None)
        self._unique.clear()

    def archive_property(self, object: str, name: str) -> None:
        row = self._custom_row(object, name)
        row["archived"] = True
        self.custom.save(f"{object}.{name}")
        self._definitions.pop(object, None)

    def _custom_row(self, object: str, name: str) -> dict[str, Any]:
        row = self.custom.get(f"{object}.{name}")
        if row is None or row["archived"]:
            raise RefusedWrite("OBJECT_NOT_FOUND", f"No property exists with the name '{name}'.", status=404)
        return row

    def group_names(self, object: str) -> set[str]:
        own = {d.group for d in OBJECTS[object].values()}
        return own | {row["name"] for row in self.groups.values() if row["object"] == object}

    # Reading

    def row(self, object: str, id: str) -> dict[str, Any] | None:
        """The living record with this id; that of a merged one is the record it lives on as."""
        for _ in range(10):
            follow = self.redirects.get(f"{object}.{id}")
            if follow is None:
                break
            id = follow["to"]
        row = self.tables[object].get(id)
        return row if row is not None and not row["archived"] else None

    def find(self, object: str, name: str, value: str) -> str | None:
        """The id of the living record that holds this unique value; an e-mail address may be a secondary one."""
        if name == "hs_object_id":
            row = self.row(object, value)
            return row["id"] if row else None
        return self._index(object, name).get(value.lower() if name == "email" else value)

    def unique_names(self, object: str) -> set[str]:
        names = {d.name for d in self.definitions(object).values() if d.unique}
        return names | {"hs_object_id"} | ({"email"} if object == "contacts" else set())

    def _index(self, object: str, name: str) -> dict[str, str]:
        key = (object, name)
        if key not in self._unique:
            self._unique[key] = {
                value: row["id"]
                for row in self.tables[object].values()
                if not row["archived"]
                for value in _held(row, name)
            }
        return self._unique[key]

    # Writing

    def create(
        self,
        object: str,
        properties: Mapping[str, Any],
        by: Source = SYNC,
        associations: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """The new record."""
        values = self._checked(object, properties, None)
        self._demand(object, values)
        linked = self._linked(object, associations)
        moment = self.stamp()
        id = self.new_id()
        row: dict[str, Any] = {
            "id": id,
            "properties": {},
            "history": {},
            "secondary": [],
            "associations": linked,
            "createdAt": printed(moment),
            "updatedAt": printed(moment),
            "archived": False,
            "archivedAt": None,
        }
        if object == "contacts":
            values.setdefault("lifecyclestage", "lead")
        made = "hs_createdate" if object == "tasks" else "createdate"
        source = {"hs_object_source": by.type, "hs_object_source_id": by.id, "hs_object_source_label": by.type}
        self._put(row, {"hs_object_id": id, made: printed(moment), **source}, _COMPUTER, moment)
        self._store(object, row, values, by, moment)
        self.changed(object, id, "creation", {"changeSource": by.type, "sourceId": by.id})
        return row

    def update(self, object: str, id: str, properties: Mapping[str, Any], by: Source = SYNC) -> dict[str, Any]:
        """Change one record; what is not in `properties` stays."""
        row = self._living(object, id)
        values = self._checked(object, properties, row)
        self._store(object, row, values, by, self.stamp())
        return row

    def upsert(
        self, object: str, name: str, value: str, properties: Mapping[str, Any], by: Source = SYNC
    ) -> tuple[dict[str, Any], bool]:
        """(record, created)."""
        found = self.find(object, name, value)
        if found is not None:
            return self.update(object, found, properties, by), False
        return self.create(object, {**properties, name: value}, by), True

    def unsubscribe(self, address: str, by: Source = SYNC) -> bool:
        """From all e-mail. False when it was so already."""
        address = address.lower()
        if address in self.unsubscribed:
            return False
        self.unsubscribed[address] = {"at": printed(self.stamp())}
        found = self.find("contacts", "email", address)
        if found is not None:
            row = self._living("contacts", found)
            moment = self.stamp()
            self._put(row, {"hs_email_optout": "true"}, by, moment)
            self._store("contacts", row, {}, by, moment, always=True)
        return True

    def archive(self, object: str, id: str, by: Source = SYNC) -> None:
        """Into the recycle bin."""
        row = self._living(object, id)
        self._remember(object, row["id"])
        moment = printed(self.stamp())
        row["archived"], row["archivedAt"], row["updatedAt"] = True, moment, moment
        self.tables[object].save(row["id"])
        self._forget(object, row)
        self.changed(object, row["id"], "deletion", {"changeSource": by.type, "sourceId": by.id})

    def erase(self, object: str, id: str) -> None:
        """For good: nothing tells of it afterwards."""
        row = self._living(object, id)
        self._forget(object, row)
        del self.tables[object][row["id"]]
        self.changed(object, row["id"], "privacyDeletion", {})

    def merge(self, object: str, winner: str, loser: str, by: Source = PERSON) -> dict[str, Any]:
        """The record both live on as: a new one, or the winner where `merge_keeps_winner`."""
        first, second = self._living(object, winner), self._living(object, loser)
        if first["id"] == second["id"]:
            raise RefusedWrite("VALIDATION_ERROR", "Cannot merge a record with itself")
        moment = self.stamp()
        survivor = first if self.merge_keeps_winner else {**deepcopy(first), "id": self.new_id()}
        gone = [second] if self.merge_keeps_winner else [first, second]
        for row in gone:
            self._forget(object, row)
            self.redirects[f"{object}.{row['id']}"] = {"to": survivor["id"]}
            if self.merged_are_archived:
                row["archived"], row["archivedAt"] = True, printed(moment)
                self.tables[object].save(row["id"])
            else:
                del self.tables[object][row["id"]]
        addresses = [a for a in (*_addresses(first), *_addresses(second)) if a != first["properties"].get("email")]
        survivor["secondary"] = list(dict.fromkeys(addresses))
        before = [i for r in (first, second) for i in str(r["properties"].get("hs_merged_object_ids") or "").split(";")]
        merged = list(dict.fromkeys([i for i in before if i] + [r["id"] for r in gone]))
        told = {"hs_object_id": survivor["id"], "hs_merged_object_ids": ";".join(merged)}
        self._put(survivor, told, _COMPUTER, moment)
        missing = {n: v for n, v in second["properties"].items() if v and not survivor["properties"].get(n)}
        writable = {n: v for n, v in missing.items() if not self.definitions(object)[n].read_only}
        self._store(object, survivor, writable, Source("MERGE_OBJECTS", by.id), moment, always=True)
        details = {"primaryObjectId": int(winner), "mergedObjectIds": [int(loser)], "newObjectId": int(survivor["id"])}
        self.changed(object, survivor["id"], "merge", details)
        return survivor

    def _living(self, object: str, id: str) -> dict[str, Any]:
        row = self.row(object, id)
        if row is None:
            context = {"ids": [id]}
            message = f"Could not get some {object.upper()} objects, they may be deleted or not exist."
            raise RefusedWrite("OBJECT_NOT_FOUND", message, status=404, context=context)
        return row

    def _store(
        self,
        object: str,
        row: dict[str, Any],
        values: Mapping[str, str],
        by: Source,
        moment: datetime,
        *,
        always: bool = False,
    ) -> None:
        """Put values into a record; what stays the same is no change."""
        self._remember(object, row["id"])
        self._forget(object, row)
        changed = {n: v for n, v in values.items() if (row["properties"].get(n) or "") != v}
        self._put(row, changed, by, moment)
        if changed or always or row["id"] not in self.tables[object]:
            row["updatedAt"] = printed(moment)
            self._put(row, self._computed(object, row) | {stamp_of(object): printed(moment)}, _COMPUTER, moment)
        self.tables[object][row["id"]] = row
        for (indexed, name), index in self._unique.items():
            if indexed == object:
                index.update(dict.fromkeys(_held(row, name), row["id"]))
        for name, value in changed.items():
            details = {"propertyName": name, "propertyValue": value, "changeSource": by.type, "sourceId": by.id}
            self.changed(object, row["id"], "propertyChange", details)

    def _put(self, row: dict[str, Any], values: Mapping[str, str], by: Source, moment: datetime) -> None:
        for name, value in values.items():
            row["properties"][name] = value
            if by is not _COMPUTER:
                versions = row["history"].setdefault(name, [])
                versions.insert(0, by.version(value, printed(moment)))
                del versions[_VERSIONS:]

    def _computed(self, object: str, row: Mapping[str, Any]) -> dict[str, str]:
        if object != "contacts":
            return {}
        held = row["properties"]
        email = held.get("email") or ""
        name = " ".join(filter(None, (held.get("firstname"), held.get("lastname"))))
        return {
            "hs_additional_emails": ";".join(row["secondary"]),
            "hs_email_domain": email.partition("@")[2],
            "hs_full_name_or_email": name or email,
        } | ({"hs_email_optout": "true"} if email.lower() in self.unsubscribed else {})

    def _forget(self, object: str, row: Mapping[str, Any]) -> None:
        for (indexed, name), index in self._unique.items():
            if indexed == object:
                for value in _held(row, name):
                    if index.get(value) == row["id"]:
                        del index[value]

    # Taking a batch back

    def begin(self) -> None:
        self._undo = {}

    def end(self, *, keep: bool) -> None:
        """Without `keep`, everything since `begin` is as it was."""
        undo, self._undo = self._undo or {}, None
        if keep:
            return
        for (object, id), row in undo.items():
            if row is None:
                self.tables[object].pop(id, None)
            else:
                self.tables[object][id] = row
        self._unique.clear()

    def _remember(self, object: str, id: str) -> None:
        if self._undo is not None and (object, id) not in self._undo:
            row = self.tables[object].get(id)
            self._undo[object, id] = deepcopy(row) if row is not None else None

    # The rules for values

    def _checked(self, object: str, properties: Mapping[str, Any], row: Mapping[str, Any] | None) -> dict[str, str]:
        """The values as they are stored; RefusedWrite names every property that is wrong."""
        known = self.definitions(object)
        problems: list[dict[str, Any]] = []
        values: dict[str, str] = {}
        for name, value in properties.items():
            if name not in known:
                problems.append(problem(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
            elif known[name].read_only:
                message = f'"{name}" is a read only property; its value cannot be set.'
                problems.append(problem(name, "READ_ONLY_VALUE", message))
            elif value is None:
                continue  # not the clear value: it says nothing (vendor sheet §6)
            elif not isinstance(value, str):
                message = f"{name}: {value!r} is not a string"
                raise RefusedWrite("VALIDATION_ERROR", f"Invalid input JSON: {message}")
            else:
                found = self._stored(known[name], value, row, values)
                if found is not None:
                    problems.append(found)
        if problems:
            raise _invalid(problems)
        self._refuse_taken(object, values, row)
        return values

    def _stored(
        self, definition: PropertyDef, value: str, row: Mapping[str, Any] | None, values: dict[str, str]
    ) -> dict[str, Any] | None:
        """Adds the value as it is kept to `values`, or says what is wrong with it."""
        name = definition.name
        if value == "":
            values[name] = ""
            return None
        if len(value) > _LONGEST:
            return problem(name, "PROPERTY_VALUE_TOO_LONG", f"{name} is longer than {_LONGEST} characters")
        if name == "email":
            if not _EMAIL.fullmatch(value):
                return problem(name, "INVALID_EMAIL", f"Email address {value} is invalid")
            values[name] = value.lower()
            return None
        if name == "lifecyclestage" and row is not None and self._backward(row, value):
            if self.lifecycle_refused:
                return problem(name, "INVALID_LIFECYCLE_STAGE", f"{value} is before the current stage")
            return None  # silently ignored
        code, kept = _converted(definition, value, str((row or {"properties": {}})["properties"].get(name) or ""))
        if code is not None:
            return problem(name, code, _WORDS[code].format(value=value, options=list(definition.values)))
        values[name] = kept
        return None

    def _backward(self, row: Mapping[str, Any], value: str) -> bool:
        held = row["properties"].get("lifecyclestage") or ""
        return held in LIFECYCLE and value in LIFECYCLE and LIFECYCLE.index(value) < LIFECYCLE.index(held)

    def _refuse_taken(self, object: str, values: Mapping[str, str], row: Mapping[str, Any] | None) -> None:
        own = row["id"] if row else None
        for name in self.unique_names(object) & values.keys():
            taken = self.find(object, name, values[name]) if values[name] else None
            if taken is None or taken == own:
                continue
            if name == "email":
                message = f"Contact already exists. Existing ID: {taken}"
                raise RefusedWrite("CONFLICT", message, status=409, context={"existingId": [taken]})
            raise _invalid([problem(name, "CONFLICTING_UNIQUE_VALUE", f"{values[name]} already has that value.")])

    def _demand(self, object: str, values: Mapping[str, str]) -> None:
        """What a new record must have."""
        if object == "contacts" and not any(values.get(n) for n in ("email", "firstname", "lastname")):
            raise RefusedWrite(
                "VALIDATION_ERROR", "At least one of email, firstname or lastname must be set to create a contact"
            )
        demanded = self.required if object == "contacts" else ("hs_timestamp",) if object == "tasks" else ()
        missing = [name for name in demanded if not values.get(name)]
        if missing:
            problems = [problem(n, "MISSING_REQUIRED_PROPERTY", f"{n} is required") for n in missing]
            raise _invalid(problems)

    def _linked(self, object: str, associations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What a new record is associated with: only kinds that exist, and records that are there."""
        linked = []
        for item in associations:
            id = str(item.get("to", {}).get("id", ""))
            for kind in item.get("types") or [{}]:
                other = next((o for o, t in _TASK_TYPES.items() if t == kind.get("associationTypeId")), None)
                if object != "tasks" or other is None or kind.get("associationCategory") != "HUBSPOT_DEFINED":
                    raise RefusedWrite("VALIDATION_ERROR", f"{kind} is not a valid association type for {object}")
                row = self.row(other, id)
                if row is None:
                    message = f"One or more associations are not valid: {other} {id} does not exist"
                    raise RefusedWrite("VALIDATION_ERROR", message, context={"id": [id]})
                linked.append({"object": other, "id": row["id"], "typeId": kind["associationTypeId"]})
        return linked


_WORDS: Final = {
    "INVALID_OPTION": "{value} was not one of the allowed options: {options}",
    "INVALID_NUMBER": "{value} was not a valid number.",
    "INVALID_BOOLEAN": "{value} was not a valid boolean.",
    "INVALID_DATE": "{value} was not a valid date: it is not at midnight UTC, or in no known format.",
    "INVALID_LONG": "{value} was not a valid long.",
}


def _converted(definition: PropertyDef, value: str, held: str) -> tuple[str | None, str]:
    """(code of what is wrong or None, the value as it is kept)."""
    if definition.type == "number":
        return (None, format(Decimal(value), "f")) if _NUMBER.fullmatch(value) else ("INVALID_NUMBER", "")
    if definition.type == "bool":
        return (None, value) if value in ("true", "false") else ("INVALID_BOOLEAN", "")
    if definition.type == "date":
        day = _day(value)
        return ("INVALID_DATE", "") if day is None else (None, day.isoformat())
    if definition.type == "datetime":
        moment = _moment(value)
        return ("INVALID_LONG", "") if moment is None else (None, printed(moment))
    if definition.type == "enumeration" and not definition.external:
        return _chosen(definition, value, held)
    return None, value


def _chosen(definition: PropertyDef, value: str, held: str) -> tuple[str | None, str]:
    several = definition.field_type == "checkbox"
    parts = [p for p in value.split(";") if p] if several else [value]
    if not set(parts) <= set(definition.values):
        return "INVALID_OPTION", ""
    if several and value.startswith(";"):
        parts = [p for p in held.split(";") if p] + parts
    return None, ";".join(dict.fromkeys(parts))


def _day(value: str) -> date | None:
    try:
        if not _MS.fullmatch(value):
            return date.fromisoformat(value) if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else None
        moment = datetime.fromtimestamp(int(value) / 1000, UTC)
    except (ValueError, OverflowError):
        return None
    return moment.date() if int(value) % 86_400_000 == 0 else None


def _moment(value: str) -> datetime | None:
    try:
        if _MS.fullmatch(value):
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _addresses(row: Mapping[str, Any]) -> list[str]:
    return [a for a in (row["properties"].get("email"), *row["secondary"]) if a]


def _held(row: Mapping[str, Any], name: str) -> list[str]:
    """The unique values of one property that a record holds."""
    if name == "email":
        return _addresses(row)
    value = row["properties"].get(name)
    return [value] if value else []


def _kept(definition: PropertyDef) -> dict[str, Any]:
    return asdict(definition)


def _restored(row: Mapping[str, Any]) -> PropertyDef:
    return replace(PropertyDef(**row), options=tuple(row["options"]))
