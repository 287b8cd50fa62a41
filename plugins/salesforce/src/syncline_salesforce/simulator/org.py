"""The records of the simulated org and the rules for writing them.

A refused write raises SaveError with the vendor's code and words. Codes are those of the vendor sheet; where the exact
wording could not be verified there, tests never depend on it alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from syncline.testing.simulator import Table
from syncline_salesforce.simulator.history import HISTORIES, history_rows
from syncline_salesforce.simulator.schema import HIDDEN, KEY_PREFIXES, OBJECTS, FieldDef, custom_field, long_id
from syncline_salesforce.simulator.soql import printed_datetime

__all__ = [
    "ASSIGNED_USER",
    "AUTOMATED_USER",
    "ORG_ID",
    "SALES_USER",
    "SYNC_USER",
    "Org",
    "SaveError",
    "UnknownColumnError",
]

ORG_ID: Final = long_id("00D5e0000001abC")
SYNC_USER: Final = long_id("0055e000001SYNC")
ASSIGNED_USER: Final = long_id("0055e000001RULE")
SALES_USER: Final = long_id("0055e000001SALE")
AUTOMATED_USER: Final = long_id("0055e000001AUTO")

_EMAIL: Final = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]+")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:?\d\d)")
_ID: Final = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SETUP: Final = frozenset(
    {"PermissionSet", "PermissionSetAssignment", "FieldPermissions", "User", "Organization", "TaskStatus"}
)
_MOST_TRACKED: Final = 20  # fields of an object (Salesforce help, field history tracking; read 2026-11)


class SaveError(Exception):
    """A refused record: code, message, fields."""

    def __init__(self, code: str, message: str, *fields: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = list(fields)


class UnknownColumnError(SaveError):
    """A column that does not exist, or that the user may not see."""


class Org:
    """Everything one customer has. `now` is the simulated time; `table` opens durable tables."""

    def __init__(self, table: Callable[[str], Table], now: Callable[[], datetime]) -> None:
        self.clock = now
        self.tables = {name: table(name) for name in OBJECTS}
        self.custom = table("custom_field")
        self._meta = table("_org")
        self._meta.setdefault("state", {"stamp": 0, "ids": 0})
        self._fields: dict[tuple[str, str], dict[str, FieldDef]] = {}
        self._keys: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
        self._undo: list[Callable[[], None]] | None = None
        # What could not be verified about the vendor, and trouble to order:
        self.fine_stamps = False
        self.deletions_late = timedelta(0)
        """By how much `latestDateCovered` of getDeleted stays behind: while long transactions are under way."""
        self.most_deleted = 600_000
        """Ids that getDeleted lists (vendor sheet §7.2)."""
        self.trouble_with: Callable[..., str | None] = lambda *_: None
        self.locked: set[str] = set()
        self.block_duplicates = False
        self.failing_triggers: set[str] = set()
        self._tracked: dict[str, frozenset[str]] = {}
        self._shown: set[tuple[str, str]] = set()

    # What an administrator switches on

    def track(self, object: str, *fields: str) -> None:
        """From now on changes of these fields are kept; without any the history is switched off."""
        if len(fields) > _MOST_TRACKED:
            raise ValueError(f"at most {_MOST_TRACKED} fields of {object} can be tracked")
        self._tracked[object] = frozenset(fields)
        self._fields.clear()

    def tracks(self, object: str) -> bool:
        """Whether the object has a history."""
        return bool(self._tracked.get(object))

    def show(self, object: str, field: str) -> None:
        """Field-level security lets the sync user read and write a standard field that is hidden at first."""
        self._shown.add((object, field))
        self._fields.clear()

    # Time and ids

    def stamp(self) -> str:
        """A SystemModstamp: whole seconds, as in every recorded answer; changes of one second share it.

        With `fine_stamps` it has milliseconds, and is later than any before.
        """
        state = self._meta["state"]
        now = int(self.clock().timestamp() * 1000)
        state["stamp"] = max(now, state["stamp"] + 1) if self.fine_stamps else max(now, state["stamp"]) // 1000 * 1000
        self._meta.save("state")
        return printed_datetime(datetime.fromtimestamp(state["stamp"] / 1000, UTC))

    def server_time(self) -> datetime:
        """The clock as the Date header shows it: never before the last change."""
        return max(self.clock(), datetime.fromtimestamp(self._meta["state"]["stamp"] / 1000, UTC))

    def new_id(self, prefix: str) -> str:
        """An unused id of 18 characters."""
        state = self._meta["state"]
        state["ids"] += 1
        self._meta.save("state")
        digits, number = "", state["ids"]
        for _ in range(7):
            number, rest = divmod(number, 62)
            digits = _BASE62[rest] + digits
        return long_id(f"{prefix}5e{'0' * (10 - len(digits))}{digits}")

    # Schema

    def fields(self, object: str, by: str = SYNC_USER) -> dict[str, FieldDef] | None:
        """The fields `by` may see; None when there is no such object. Persons see everything."""
        if object not in OBJECTS or any(object == h and not self.tracks(of) for of, (h, _) in HISTORIES.items()):
            return None
        key = (object, by)
        if key not in self._fields:
            standard = {name: d for name, d in OBJECTS[object].items() if self._may_see(object, name, by)}
            self._fields[key] = standard | {d.name: d for d in self._custom_of(object, by)}
        return self._fields[key]

    def _may_see(self, object: str, name: str, by: str) -> bool:
        if by != SYNC_USER or (object, name) not in HIDDEN:
            return True
        return (object, name) in self._shown or self._granted(object).get(name, (False, False))[0]

    def _custom_of(self, object: str, by: str) -> Iterator[FieldDef]:
        owner = "Activity" if object == "Task" else object
        granted = self._granted(object) if by == SYNC_USER else None
        for row in self.custom.values():
            if row["object"] != owner:
                continue
            permission = granted.get(row["name"]) if granted is not None else (True, True)
            if permission and permission[0]:
                made = replace(custom_field(row["name"], row["metadata"]), **_changes(row))
                yield made if permission[1] else _read_only(made)

    def _granted(self, object: str) -> dict[str, tuple[bool, bool]]:
        mine = {
            r["PermissionSetId"]
            for r in self.tables["PermissionSetAssignment"].values()
            if r["AssigneeId"] == SYNC_USER
        }
        granted: dict[str, tuple[bool, bool]] = {}
        for row in self.tables["FieldPermissions"].values():
            if row["ParentId"] in mine and row["SobjectType"] == object:
                name = row["Field"].split(".", 1)[1]
                read, edit = granted.get(name, (False, False))
                granted[name] = (read or row["PermissionsRead"], edit or row["PermissionsEdit"])
        return granted

    def change_field(self, object: str, name: str, /, **changes: Any) -> None:
        """An administrator changes a custom field, in the words of FieldDef; another `name` takes its values along."""
        row = self.custom[f"{object}.{name}"]
        row["changes"] = {**row.get("changes", {}), **changes}
        self.custom.save(f"{object}.{name}")
        self._fields.clear()
        self._keys.clear()
        if "name" in changes:
            self._rename_field(object, name, row["changes"].pop("name"))

    def _rename_field(self, object: str, name: str, new: str) -> None:
        row = {**self.custom[f"{object}.{name}"], "name": new}
        self.remove_field(object, name)
        self.custom[f"{object}.{new}"] = row
        for id, permission in self.tables["FieldPermissions"].items():
            if permission["Field"] == f"{object}.{name}":
                permission["Field"] = f"{object}.{new}"
                self.tables["FieldPermissions"].save(id)
        for id, record in self.tables[object].items():
            if name in record:
                record[new] = record.pop(name)
                self.tables[object].save(id)

    def remove_field(self, object: str, name: str) -> None:
        """An administrator deletes a custom field."""
        del self.custom[f"{object}.{name}"]
        self._fields.clear()
        self._keys.clear()

    def create_field(self, full_name: str, metadata: Mapping[str, Any]) -> str:
        """A custom field, as Tooling makes it: nobody but administrators sees it yet."""
        object, _, name = full_name.partition(".")
        if object not in (*OBJECTS, "Activity"):
            raise SaveError("INVALID_CROSS_REFERENCE_KEY", f"Entity Enumeration Or ID: bad value: {object}")
        if not name.endswith("__c"):
            name += "__c"
        if f"{object}.{name}" in self.custom:
            raise SaveError(
                "DUPLICATE_DEVELOPER_NAME",
                f"There is already a field named {name.removesuffix('__c')} on {object}.",
                "DeveloperName",
            )
        try:
            made = custom_field(name, metadata)
        except (KeyError, ValueError) as error:
            raise SaveError(
                "FIELD_INTEGRITY_EXCEPTION", f"Must specify {error} for a CustomField of this type"
            ) from error
        if made.unique and made.type not in ("string", "double"):
            raise SaveError(
                "FIELD_INTEGRITY_EXCEPTION", f"Can not specify 'unique' for a CustomField of type {made.type}"
            )
        self.custom[f"{object}.{name}"] = {"object": object, "name": name, "metadata": dict(metadata)}
        self._fields.clear()
        return self.new_id("00N")

    # Reading

    def row(self, object: str, id: str) -> dict[str, Any] | None:
        """The record with this id of 15 or 18 characters, deleted ones included."""
        return self.tables[object].get(long_id(id))

    def find(self, object: str, field: str, value: Any) -> str | None:
        """The id of a record whose external id or unique field has this value, in any letter case."""
        return next(iter(self.find_all(object, field, value)), None)

    def find_all(self, object: str, field: str, value: Any) -> list[str]:
        """All of them: an external id need not be unique."""
        return list(self._index(object, field).get(_key(value), ()))

    def find_one(self, object: str, field: str, value: Any) -> str | None:
        """The record that an upsert means; several are refused (code and words: wiki.myrapidi.com, read 2026-11)."""
        found = self.find_all(object, field, value)
        if len(found) > 1:
            label = (self.fields(object, SALES_USER) or {})[field].label
            message = f"{label}: more than one record found for external id field: [{', '.join(found)}]"
            raise SaveError("DUPLICATE_EXTERNAL_ID", message, field)
        return next(iter(found), None)

    def _index(self, object: str, field: str) -> dict[str, dict[str, None]]:
        """Value → ids; `_pair` is campaign and person of a campaign member."""
        key = (object, field)
        if key not in self._keys:
            self._keys[key] = {}
            for row in self.tables[object].values():
                self._reindex(object, row, only=field)
        return self._keys[key]

    # Writing

    def create(
        self, object: str, values: Mapping[str, Any], by: str = SYNC_USER, *, allow_duplicates: bool = False
    ) -> str:
        """The id of the new record."""
        fields = self._writable_fields(object, values, by, creating=True)
        clean = {name: self._coerce(fields[name], value) for name, value in values.items()}
        self._trouble("", clean, by)
        row = self._defaults(object, by) | clean
        self._require(fields, row)
        self._refuse_bad_references(object, clean)
        self._refuse_taken(object, fields, clean, None)
        if object == "Lead" and self.block_duplicates and not allow_duplicates:
            self._refuse_duplicates(row)
        row["Id"] = self.new_id(KEY_PREFIXES[object])
        self._store(object, row, by)
        return str(row["Id"])

    def update(self, object: str, id: str, values: Mapping[str, Any], by: str = SYNC_USER) -> None:
        """Change one record; what is not in `values` stays."""
        row = self._editable(object, id)
        fields = self._writable_fields(object, values, by, creating=False)
        clean = {name: self._coerce(fields[name], value) for name, value in values.items()}
        self._trouble(row["Id"], row | clean, by)
        self._require(fields, row | clean, only=clean)
        self._refuse_bad_references(object, clean)
        self._refuse_taken(object, fields, clean, row["Id"])
        self._store(object, row | clean, by)

    def upsert(
        self, object: str, field: str, value: Any, values: Mapping[str, Any], by: str = SYNC_USER, **options: bool
    ) -> tuple[str, bool]:
        """(id, created). Matches an external id, or `Id`, which must exist when it is given."""
        if field == "Id":
            if value is None:
                return self.create(object, values, by, **options), True
            self.update(object, str(value), values, by)
            return long_id(str(value)), False
        found = self.find_one(object, field, value)
        if found is None:
            return self.create(object, {**values, field: value}, by, **options), True
        self.update(object, found, values, by)
        return found, False

    def delete(self, object: str, id: str, by: str = SYNC_USER, *, master: str | None = None) -> None:
        """Into the recycle bin; `master` is the survivor of a merge."""
        row = self.row(object, id)
        if row is None:
            raise SaveError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row.get("IsDeleted"):
            raise SaveError("ENTITY_IS_DELETED", "entity is deleted")
        gone = {**row, "IsDeleted": True} | ({"MasterRecordId": master} if master else {})
        self._store(object, gone, by)

    def convert(self, id: str, by: str = SALES_USER) -> str:
        """Convert a lead as a person does; the contact's id. Custom fields of the same name are mapped."""
        lead = self._editable("Lead", id)
        account = self.create("Account", {"Name": lead["Company"]}, by)
        known = self.fields("Contact", by) or {}
        shared = {n: lead[n] for n, d in known.items() if d.createable and n != "OwnerId" and lead.get(n) is not None}
        contact = self.create("Contact", shared | {"AccountId": account}, by)
        closing = {
            "IsConverted": True,
            "Status": "Closed - Converted",
            "ConvertedDate": self.clock().date().isoformat(),
        }
        self._store("Lead", lead | closing | {"ConvertedAccountId": account, "ConvertedContactId": contact}, by)
        return contact

    def _editable(self, object: str, id: str) -> dict[str, Any]:
        if not _ID.fullmatch(id):
            raise SaveError("MALFORMED_ID", f"{object} ID: id value of incorrect type: {id}", "Id")
        row = self.row(object, id)
        if row is None:
            raise SaveError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row.get("IsDeleted"):
            raise SaveError("ENTITY_IS_DELETED", "entity is deleted")
        if row.get("IsConverted"):
            raise SaveError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        if row["Id"] in self.locked:
            self.locked.discard(row["Id"])
            raise SaveError("UNABLE_TO_LOCK_ROW", f"unable to obtain exclusive access to this record: {row['Id']}")
        if row["Id"] in self.failing_triggers:
            raise SaveError(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: execution of BeforeUpdate caused by: NullPointer"
            )
        return row

    def _trouble(self, id: str, values: Mapping[str, Any], by: str) -> None:
        """What a test wants for a record the sync user writes, by its id, any key of ours in it, or its address."""
        names = [str(v) for n, v in values.items() if v and (n == "Email" or n.endswith("__c"))]
        trouble = self.trouble_with(id, *names) if by == SYNC_USER else None
        if trouble == "lock":
            raise SaveError("UNABLE_TO_LOCK_ROW", f"unable to obtain exclusive access to this record: {id}")
        if trouble == "refuse":
            raise SaveError("FIELD_CUSTOM_VALIDATION_EXCEPTION", "a validation rule refuses this record")

    def _writable_fields(
        self, object: str, values: Mapping[str, Any], by: str, *, creating: bool
    ) -> dict[str, FieldDef]:
        fields = self.fields(object, by) or {}
        unknown = next((name for name in values if name not in fields), None)
        if unknown is not None:
            raise UnknownColumnError("INVALID_FIELD", f"No such column '{unknown}' on sobject of type {object}")
        closed = [n for n in values if not (fields[n].createable if creating else fields[n].updateable)]
        if closed:
            raise SaveError(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {', '.join(closed)}. Please check the security settings of this field"
                " and verify that it is read/write for your profile or permission set.",
                *closed,
            )
        return fields

    def _defaults(self, object: str, by: str) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for definition in (self.fields(object, SALES_USER) or {}).values():
            row[definition.name] = definition.default
            if definition.type == "boolean":
                row[definition.name] = False
        if "OwnerId" in row:
            row["OwnerId"] = by
        return row

    def _require(
        self, fields: Mapping[str, FieldDef], row: Mapping[str, Any], only: Iterable[str] | None = None
    ) -> None:
        names = fields if only is None else only
        missing = [n for n in names if not fields[n].nillable and _writable(fields[n]) and row.get(n) is None]
        if missing:
            raise SaveError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", *missing)

    def _refuse_bad_references(self, object: str, values: Mapping[str, Any]) -> None:
        for name in ("WhoId", "WhatId", "LeadId", "ContactId", "CampaignId", "AccountId", "ParentId", "AssigneeId"):
            if values.get(name) is not None:
                self._refuse_bad_reference(name, values[name])
        who = str(values.get("WhoId") or "")
        if object == "Task" and values.get("WhatId") and who.startswith(KEY_PREFIXES["Lead"]):
            raise SaveError("FIELD_INTEGRITY_EXCEPTION", "You cannot relate a lead and another object", "WhatId")
        if object == "CampaignMember" and not (values.get("LeadId") or values.get("ContactId")):
            raise SaveError("REQUIRED_FIELD_MISSING", "Required fields are missing: [LeadId]", "LeadId")
        if object == "FieldPermissions":
            self._refuse_unknown_permission(values)

    def _refuse_unknown_permission(self, values: Mapping[str, Any]) -> None:
        owner, _, name = str(values.get("Field")).partition(".")
        known = (owner, name) in HIDDEN or f"{'Activity' if owner == 'Task' else owner}.{name}" in self.custom
        if "Field" in values and not known:
            raise SaveError(
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                f"Field Name: bad value for restricted picklist field: {values['Field']}",
                "Field",
            )

    def _refuse_bad_reference(self, name: str, id: str) -> None:
        object = next((o for o, prefix in KEY_PREFIXES.items() if id.startswith(prefix)), None)
        row = self.row(object, id) if object else None
        if row is None:
            raise SaveError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", name)
        if row.get("IsDeleted"):
            raise SaveError("ENTITY_IS_DELETED", "entity is deleted", name)
        if row.get("IsConverted"):
            raise SaveError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", name)

    def _refuse_taken(
        self, object: str, fields: Mapping[str, FieldDef], values: Mapping[str, Any], own: str | None
    ) -> None:
        for name, value in values.items():
            if value is not None and fields[name].unique:
                other = self.find(object, name, value)
                if other is not None and other != own:
                    raise SaveError(
                        "DUPLICATE_VALUE",
                        f"duplicate value found: {name} duplicates value on record with id: {str(other)[:15]}",
                    )
        if object == "CampaignMember" and own is None and self.find(object, "_pair", _pair(values)):
            raise SaveError("DUPLICATE_VALUE", "Already a campaign member.")
        if object == "FieldPermissions" and own is None:
            self._refuse_double_permission(values)
        if object == "PermissionSetAssignment":
            self._refuse_double_assignment(values)

    def _refuse_double_permission(self, values: Mapping[str, Any]) -> None:
        """One for a permission set and a field (code and words unverified)."""
        for row in self.tables["FieldPermissions"].values():
            if (row["ParentId"], row["Field"]) == (values["ParentId"], values["Field"]):
                raise SaveError("DUPLICATE_VALUE", "duplicate value found: Field duplicates value", "Field")

    def _refuse_double_assignment(self, values: Mapping[str, Any]) -> None:
        pair = (values["AssigneeId"], str(values.get("PermissionSetId")))
        for row in self.tables["PermissionSetAssignment"].values():
            if (row["AssigneeId"], row["PermissionSetId"]) == pair:
                raise SaveError(
                    "DUPLICATE_VALUE",
                    f"Duplicate PermissionSetAssignment.  Assignee: {pair[0][:15]}; Permission Set: {pair[1][:15]}",
                    "AssigneeId",
                    "PermissionSetId",
                )

    def _refuse_duplicates(self, row: Mapping[str, Any]) -> None:
        email = _key(row.get("Email"))
        if row.get("Email") and any(_key(r["Email"]) == email for r in self.tables["Lead"].values() if r["Email"]):
            raise SaveError("DUPLICATES_DETECTED", "Use one of these records?")

    # Values

    def _coerce(self, definition: FieldDef, value: Any) -> Any:
        if definition.type == "boolean":
            return _boolean(definition, value)
        if value is None or value == "":
            return None
        if definition.type in ("int", "double", "currency", "percent"):
            return _number(definition, value)
        if definition.type in ("date", "datetime"):
            return _moment(definition, value)
        return self._text(definition, value)

    def _text(self, definition: FieldDef, value: Any) -> str:
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            raise _unreadable(definition, value)
        text = str(value)
        if definition.type in ("id", "reference"):
            if not _ID.fullmatch(text):
                raise SaveError(
                    "MALFORMED_ID", f"{definition.label}: id value of incorrect type: {text}", definition.name
                )
            return long_id(text)
        _refuse_bad_text(definition, text)
        return text

    # Storing

    def _store(self, object: str, row: dict[str, Any], by: str) -> None:
        before = self.tables[object].get(row["Id"])
        if object not in _SETUP:
            _touch(row, self.stamp(), by, new=before is None)
        elif "SystemModstamp" in row:
            row["SystemModstamp"] = self.stamp()
        self._derive(object, row)
        self._unindex(object, before)
        self.tables[object][row["Id"]] = row
        self._reindex(object, row)
        if self._undo is not None:
            self._undo.append(lambda: self._restore(object, row["Id"], before))
        self._keep_history(object, before, row)
        if object in ("PermissionSetAssignment", "FieldPermissions"):
            self._fields.clear()

    def _keep_history(self, object: str, before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> None:
        if not self.tracks(object):
            return
        history = HISTORIES[object][0]
        fields = self.fields(object, SALES_USER) or {}
        for made in history_rows(object, fields, self._tracked[object], before, row):
            id = self.new_id(KEY_PREFIXES[history])
            self.tables[history][id] = {"Id": id, **made}
            if self._undo is not None:
                self._undo.append(lambda id=id: self._restore(history, id, None))  # type: ignore[misc]  # this row's id

    def _derive(self, object: str, row: dict[str, Any]) -> None:
        """Fill the fields the vendor computes."""
        if object in ("Lead", "Contact", "User"):
            row["Name"] = " ".join(filter(None, (row.get("FirstName"), row.get("LastName"))))
        if object == "Task":
            row["IsHighPriority"] = row["Priority"] == "High"
            row["IsClosed"] = any(
                s["IsClosed"] and s["ApiName"] == row["Status"] for s in self.tables["TaskStatus"].values()
            )

    def _restore(self, object: str, id: str, before: dict[str, Any] | None) -> None:
        self._unindex(object, self.tables[object].get(id))
        if before is None:
            del self.tables[object][id]
        else:
            self.tables[object][id] = before
            self._reindex(object, before)

    def _indexed(
        self, object: str, row: Mapping[str, Any], only: str | None = None
    ) -> Iterator[tuple[dict[str, dict[str, None]], str]]:
        for (owner, name), index in self._keys.items():
            if owner != object or only not in (None, name):
                continue
            if name == "_pair":
                yield index, _key(_pair(row))
            elif row.get(name) is not None:
                yield index, _key(row[name])

    def _unindex(self, object: str, row: Mapping[str, Any] | None) -> None:
        if row is not None:
            for index, key in self._indexed(object, row):
                index.get(key, {}).pop(row["Id"], None)

    def _reindex(self, object: str, row: Mapping[str, Any], only: str | None = None) -> None:
        if not row.get("IsDeleted"):
            for index, key in self._indexed(object, row, only):
                index.setdefault(key, {})[row["Id"]] = None

    def begin(self) -> None:
        """Remember what is changed from here on, so that `roll_back` can take it back."""
        self._undo = []

    def end(self, *, keep: bool) -> None:
        """Keep what was changed since `begin`, or take it back."""
        undo, self._undo = self._undo or [], None
        if not keep:
            for step in reversed(undo):
                step()


def _key(value: Any) -> str:
    return str(value).casefold()


def _pair(row: Mapping[str, Any]) -> str:
    return f"{row['CampaignId']}/{row.get('LeadId') or row.get('ContactId')}"


def _writable(definition: FieldDef) -> bool:
    return (definition.createable or definition.updateable) and definition.type != "boolean"


def _changes(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an administrator has changed since the field was made. Lists are tuples again."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in row.get("changes", {}).items()}


def _read_only(definition: FieldDef) -> FieldDef:
    kept = {name: getattr(definition, name) for name in FieldDef.__dataclass_fields__}
    return FieldDef(**(kept | {"createable": False, "updateable": False}))


def _touch(row: dict[str, Any], stamp: str, by: str, *, new: bool) -> None:
    if new:
        row.update(CreatedDate=stamp, CreatedById=by)
    row.update(SystemModstamp=stamp, LastModifiedDate=stamp, LastModifiedById=by)


def _unreadable(definition: FieldDef, value: Any) -> SaveError:
    kind = type(value).__name__
    token = {"dict": "START_OBJECT", "list": "START_ARRAY", "bool": "VALUE_TRUE"}.get(kind, "VALUE_STRING")
    return SaveError(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {definition.type} from {token} value {value} or request may be missing a"
        " required field at [line:1, column:1]",
    )


def _boolean(definition: FieldDef, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    if value is None:
        raise SaveError(
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            f"{definition.label}: value not of required type: null",
            definition.name,
        )
    raise _unreadable(definition, value)


def _number(definition: FieldDef, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _unreadable(definition, value)
    try:
        number = float(value)
    except ValueError as error:
        raise _unreadable(definition, value) from error
    limit = 10 ** (definition.precision - definition.scale) if definition.precision else 10**9
    if not math.isfinite(number) or abs(round(number, definition.scale)) >= limit:
        raise SaveError(
            "NUMBER_OUTSIDE_VALID_RANGE", f"{definition.label}: value outside of valid range: {value}", definition.name
        )
    return int(number) if definition.type == "int" else round(number, definition.scale)


def _moment(definition: FieldDef, value: Any) -> str:
    if not isinstance(value, str):
        raise _unreadable(definition, value)
    try:
        if definition.type == "date":
            return date.fromisoformat(_fitting(_DATE, value)).isoformat()
        # Fields hold whole seconds: milliseconds are dropped (albasfdc.com 2016, salesforce.stackexchange 234824).
        return printed_datetime(datetime.fromisoformat(_fitting(_MOMENT, value)).replace(microsecond=0))
    except ValueError as error:
        raise _unreadable(definition, value) from error


def _fitting(pattern: re.Pattern[str], text: str) -> str:
    """The text, if it looks like that: Python reads more notations than the vendor does."""
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


def _refuse_bad_text(definition: FieldDef, text: str) -> None:
    units = len(text.encode("utf-16-le", errors="surrogatepass")) // 2
    if definition.length and units > definition.length and definition.type != "picklist":
        raise SaveError(
            "STRING_TOO_LONG",
            f"{definition.label}: data value too large: {text[:80]} (max length={definition.length})",
            definition.name,
        )
    if definition.type == "email" and not _EMAIL.fullmatch(text):
        raise SaveError("INVALID_EMAIL_ADDRESS", f"{definition.label}: invalid email address: {text}", definition.name)
    if definition.type == "picklist" and definition.restricted and text not in definition.values:
        raise SaveError(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{definition.label}: bad value for restricted picklist field: {text}",
            definition.name,
        )
