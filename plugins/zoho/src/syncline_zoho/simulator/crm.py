"""The records of the simulated account and the rules for writing them (vendor sheet §5, §6, §10, §11).

A refused row raises RowError with the vendor's code and details. Exact wordings could not be verified everywhere; no
test of the connector depends on one alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any, Final

from syncline.testing.simulator import Table, Trouble
from syncline_zoho.simulator.history import History
from syncline_zoho.simulator.schema import MODULE_IDS, MODULES, SYSTEM_UNIQUE, FieldDef, custom_field

__all__ = ["SALES_USER", "SYNC_USER", "USERS", "Crm", "RowError", "Rules"]

SYNC_USER: Final = "5725767000000411001"
SALES_USER: Final = "5725767000000411002"
USERS: Final[Mapping[str, tuple[str, str]]] = {
    SYNC_USER: ("Integration User", "integration@sync.example"),
    SALES_USER: ("Paola Vendite", "paola@sync.example"),
}
_ZONE: Final = timezone(timedelta(hours=2))
"""The account's: times come with its offset, not in UTC."""
_EMAIL: Final = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]+")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_BIG: Final = re.compile(r"-?\d{1,18}")
_FIRST_ID: Final = 5_725_767_000_000_524_000
_MOST_TAGS: Final = 10
_TAG_LENGTH: Final = 25
_TEXTS: Final = frozenset({"text", "textarea", "email", "phone", "website", "profileimage", "picklist"})


class RowError(Exception):
    """A refused row."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def item(self) -> dict[str, Any]:
        return {"code": self.code, "details": self.details, "message": self.message, "status": "error"}


class Rules:
    """What could not be verified about writing; see `Switches`."""

    def __init__(self) -> None:
        self.refuse_unknown_fields = False
        self.refuse_read_only = False
        self.layout_rules = True
        self.picklists_enforced = True
        self.accept_z = False
        self.converted_code = "ID_ALREADY_CONVERTED"


class Crm:
    """Everything one customer has."""

    def __init__(
        self,
        table: Callable[[str], Table],
        now: Callable[[], datetime],
        trouble: Callable[..., Trouble | None],
        noted: Callable[[str, str, str], None],
    ) -> None:
        self.clock = now
        self.rules = Rules()
        self.tables = {name: table(name) for name in MODULES}
        self.deleted = table("deleted")
        self.custom = table("custom_field")
        self.tags = table("tag")
        self._meta = table("_crm")
        self._meta.setdefault("state", {"ids": 0, "stamp": 0})
        self._trouble = trouble
        self._noted = noted
        self._fields: dict[str, dict[str, FieldDef]] = {}
        self._unique: dict[tuple[str, str], dict[str, list[str]]] = {}
        self.locked: set[str] = set()
        self.history = History(USERS)
        self._hidden: frozenset[str] = frozenset()

    # Time and ids

    def stamp(self) -> str:
        """A time as records carry it: whole seconds, in the account's zone, never before the last one."""
        state = self._meta["state"]
        state["stamp"] = max(int(self.clock().timestamp()), state["stamp"])
        self._meta.save("state")
        return datetime.fromtimestamp(state["stamp"], _ZONE).isoformat()

    def server_time(self) -> datetime:
        """The clock as the Date header shows it: never before the last change."""
        return max(self.clock(), datetime.fromtimestamp(self._meta["state"]["stamp"], _ZONE))

    def new_id(self) -> str:
        state = self._meta["state"]
        state["ids"] += 1
        self._meta.save("state")
        return str(_FIRST_ID + state["ids"])

    # Schema

    def fields(self, module: str) -> dict[str, FieldDef]:
        """The fields of a module, custom ones included."""
        if module not in self._fields:
            own = [custom_field(row) for row in self.custom.values() if row["module"] == module]
            known = dict(MODULES[module]) | {f.name: f for f in own}
            self._fields[module] = {name: f for name, f in known.items() if f"{module}.{name}" not in self._hidden}
        return self._fields[module]

    def hide(self, *names: str) -> None:
        """From now on our profile does not see these fields, named `Leads.Fax`: for us they do not exist."""
        self._hidden |= set(names)
        self.forget_fields()

    def forget_fields(self) -> None:
        self._fields.clear()
        self._unique.clear()

    def create_field(self, module: str, wanted: Mapping[str, Any], number: int) -> str:
        """The id of the new field. Its api name is made from the label, with a digit where that is taken."""
        path = f"$.fields[{number}]"
        label, type_ = wanted.get("field_label"), wanted.get("data_type")
        for name, value in (("field_label", label), ("data_type", type_)):
            if not value:
                raise RowError(
                    "MANDATORY_NOT_FOUND", "required field not found", api_name=name, json_path=f"{path}.{name}"
                )
        if len(str(label)) > 25:
            raise RowError(
                "INVALID_DATA",
                "invalid data",
                api_name="field_label",
                json_path=f"{path}.field_label",
                maximum_length=25,
            )
        if any(f.label.casefold() == str(label).casefold() for f in self.fields(module).values()):
            raise RowError("DUPLICATE_DATA", "duplicate data", api_name="field_label", json_path=f"{path}.field_label")
        if wanted.get("unique") and type_ not in ("text", "email", "phone", "integer", "bigint", "website"):
            raise RowError("NOT_ALLOWED", "unique is not allowed here", api_name="unique", json_path=f"{path}.unique")
        api_name = self._free_name(module, re.sub(r"[^A-Za-z0-9]+", "_", str(label)).strip("_"))
        id = self.new_id()
        self.custom[id] = {**wanted, "id": id, "module": module, "api_name": api_name}
        self.forget_fields()
        return id

    def _free_name(self, module: str, name: str) -> str:
        taken = {f.name for f in self.fields(module).values()} | {
            row["api_name"] for row in self.custom.values() if row["module"] == f"{module} (deleted)"
        }
        number, free = 0, name
        while free in taken:
            number += 1
            free = f"{name}{number}"
        return free

    # Rows

    def rows(self, module: str) -> Iterator[dict[str, Any]]:
        return iter(self.tables[module].values())

    def find(self, module: str, name: str, value: Any) -> str | None:
        """The id of the record whose unique field has this value, in any letter case unless the field minds it."""
        return next(iter(self._index(module, name).get(self._folded(module, name, value), ())), None)

    def _folded(self, module: str, name: str, value: Any) -> str:
        strict = self.fields(module)[name].unique.get("case_sensitive", False)
        return str(value) if strict else str(value).casefold()

    def _index(self, module: str, name: str) -> dict[str, list[str]]:
        key = (module, name)
        if key not in self._unique:
            found: dict[str, list[str]] = {}
            for row in self.rows(module):
                if row.get(name) is not None:
                    found.setdefault(self._folded(module, name, row[name]), []).append(row["id"])
            self._unique[key] = found
        return self._unique[key]

    def _unique_fields(self, module: str) -> list[str]:
        return [f.name for f in self.fields(module).values() if f.unique]

    # Writing

    def insert(self, module: str, values: Mapping[str, Any], at: int = 0, by: str = SYNC_USER) -> dict[str, Any]:
        """The new record."""
        clean = self._clean(module, values, at, by)
        fields = self.fields(module)
        errors = [
            RowError("MANDATORY_NOT_FOUND", "required field not found", api_name=n, json_path=f"$.data[{at}].{n}")
            for n, f in fields.items()
            if (f.mandatory or (f.required and self.rules.layout_rules and by == SYNC_USER))
            and clean.get(n) in (None, "")
        ]
        _raise_all(errors)
        self._refuse_trouble(values, None, by)
        self._refuse_duplicates(module, clean, None, at)
        stamp, who = self.stamp(), _user(by)
        row: dict[str, Any] = dict.fromkeys(fields)
        row |= {n: False for n, f in fields.items() if f.type == "boolean"}
        row |= {"id": self.new_id(), "Tag": [], "Owner": who, "Created_By": who, "Created_Time": stamp}
        row |= {n: v for n, v in clean.items() if n != "Tag" or v}
        self._store(module, row, by)
        self._noted(module, row["id"], "insert")
        return row

    def update(
        self, module: str, id: str, values: Mapping[str, Any], at: int = 0, by: str = SYNC_USER
    ) -> dict[str, Any]:
        """The changed record; what is not in `values` stays."""
        row = self._editable(module, id, at)
        clean = self._clean(module, values, at, by)
        fields = self.fields(module)
        _raise_all(
            [
                RowError("MANDATORY_NOT_FOUND", "required field not found", api_name=n, json_path=f"$.data[{at}].{n}")
                for n, v in clean.items()
                if n in fields and fields[n].mandatory and v in (None, "")
            ]
        )
        self._refuse_trouble({**row, **values}, id, by)
        self._refuse_duplicates(module, clean, id, at)
        self._store(module, row | clean, by)
        self._noted(module, id, "update")
        return self.tables[module][id]

    def upsert(
        self, module: str, values: Mapping[str, Any], by_fields: Sequence[str] | None, at: int
    ) -> tuple[dict[str, Any], str, str | None]:
        """(record, `insert` or `update`, the field it was found by).

        Asked for a unique field, it goes on to the module's other unique fields; the system's one only if named, or if
        nothing was (upsert records, "How does the duplicate check work?").
        """
        if values.get("id"):
            return self.update(module, str(values["id"]), _without_id(values), at), "update", None
        unique = self._unique_fields(module)
        if by_fields is None:
            order = [*([SYSTEM_UNIQUE[module]] if module in SYSTEM_UNIQUE else []), *unique]
        else:
            order = [*by_fields, *(name for name in unique if name not in by_fields)]
        for name in order:
            if values.get(name) in (None, ""):
                continue
            found = self.find(module, name, values[name])
            if found is not None:
                return self.update(module, found, values, at), "update", name
        return self.insert(module, values, at), "insert", None

    def delete(self, module: str, id: str, by: str = SYNC_USER, kind: str = "recycle") -> None:
        """Into the recycle bin, or for good: then nobody knows who did it."""
        if id not in self.tables[module]:
            raise RowError("INVALID_DATA", "the id given seems to be invalid", id=id)
        row = self.tables[module][id]
        grave = {"module": module, "id": id, "type": kind, "deleted_time": self.stamp(), "row": row}
        known = kind == "recycle"
        self.deleted[f"{module}:{id}"] = grave | {
            "deleted_by": {"name": USERS[by][0], "id": by} if known else None,
            "created_by": {n: row["Created_By"][n] for n in ("name", "id")} if known else None,
            "display_name": (row.get("Full_Name") or row.get("Subject") or row.get("Account_Name")) if known else None,
        }
        del self.tables[module][id]
        self._unique.clear()
        self._noted(module, id, "delete")

    def convert(self, id: str, by: str = SALES_USER) -> str:
        """Convert a lead; the contact's id. Fields of the same name are carried over."""
        lead = self._editable("Leads", id, 0)
        account = self.insert("Accounts", {"Account_Name": lead.get("Company") or lead["Last_Name"]}, by=by)
        known = self.fields("Contacts")
        shared = {n: lead[n] for n, f in known.items() if not f.read_only and lead.get(n) not in (None, [])}
        shared.pop("Owner", None)
        tags = shared.pop("Tag", [])
        contact = self.insert(
            "Contacts", shared | {"Account_Name": {"id": account["id"], "name": account["Account_Name"]}}, by=by
        )
        contact["Tag"] = list(tags)
        self.tables["Contacts"].save(contact["id"])
        self._store(
            "Leads",
            lead
            | {
                "Converted__s": True,
                "Converted_Date_Time": self.stamp(),
                "Converted_Account": {"id": account["id"], "name": account["Account_Name"]},
                "Converted_Contact": {"id": contact["id"], "name": contact["Full_Name"]},
            },
            by,
        )
        return str(contact["id"])

    def _editable(self, module: str, id: str, at: int) -> dict[str, Any]:
        row = self.tables[module].get(id)
        if row is None:
            raise RowError(
                "INVALID_DATA", "the id given seems to be invalid", api_name="id", json_path=f"$.data[{at}].id"
            )
        if row.get("Converted__s"):
            raise RowError(self.rules.converted_code, "the lead is already converted", id=id)
        if id in self.locked:
            self.locked.discard(id)
            raise _locked(id)
        return row

    def _refuse_trouble(self, values: Mapping[str, Any], id: str | None, by: str) -> None:
        """A record goes by its id, its texts in unique fields, and its address. Only our calls meet faults."""
        if by != SYNC_USER:
            return
        names = [str(v) for n, v in values.items() if isinstance(v, str) and ("Key" in n or n == "Email")]
        trouble = self._trouble(id or "", *names)
        if trouble == "lock":
            raise _locked(id or "")
        if trouble == "refuse":
            raise RowError("NOT_APPROVED", "the record is in an approval process", id=id or "")

    def _refuse_duplicates(self, module: str, values: Mapping[str, Any], id: str | None, at: int) -> None:
        for name in self._unique_fields(module):
            if values.get(name) in (None, ""):
                continue
            other = self.find(module, name, values[name])
            if other is not None and other != id:
                raise RowError(
                    "DUPLICATE_DATA",
                    "duplicate data",
                    api_name=name,
                    json_path=f"$.data[{at}].{name}",
                    duplicate_record={
                        "id": other,
                        "Owner": self.tables[module][other]["Owner"],
                        "module": {"api_name": module, "id": MODULE_IDS[module]},
                    },
                    more_records=False,
                )

    def _store(self, module: str, row: dict[str, Any], by: str) -> None:
        id, before = row["id"], self.tables[module].get(row["id"], {})
        row |= {"Modified_By": _user(by), "Modified_Time": self.stamp()}
        if "Last_Name" in row:
            row["Full_Name"] = " ".join(filter(None, (row.get("First_Name"), row["Last_Name"])))
        self.tables[module][id] = row
        if before:
            self.history.note(module, before, row, by)
        for (owner, name), index in self._unique.items():
            if owner != module or before.get(name) == row.get(name):
                continue
            if before.get(name) is not None:
                index[self._folded(module, name, before[name])].remove(id)
            if row.get(name) is not None:
                index.setdefault(self._folded(module, name, row[name]), []).append(id)

    # Values

    def _clean(self, module: str, values: Mapping[str, Any], at: int, by: str) -> dict[str, Any]:
        """The values as they are kept. Every mistake of a row is told."""
        fields, clean, errors = self.fields(module), dict[str, Any](), list[RowError]()
        for name, value in values.items():
            path = f"$.data[{at}].{name}"
            f = fields.get(name)
            if name.startswith("$") or name == "Layout" or (name == "id" and by != SYNC_USER):
                if name == "$se_module":
                    clean[name] = value
                continue
            if f is None or (f.read_only and by == SYNC_USER):
                refuse = self.rules.refuse_unknown_fields if f is None else self.rules.refuse_read_only
                if refuse:
                    errors.append(RowError("INVALID_DATA", "invalid data", api_name=name, json_path=path))
                continue
            try:
                clean[name] = None if value is None else self._value(module, f, value, values)
            except RowError as error:
                error.details |= {"api_name": name, "json_path": path}
                errors.append(error)
        _raise_all(errors)
        return clean

    def _value(self, module: str, f: FieldDef, value: Any, row: Mapping[str, Any]) -> Any:
        if f.name == "Tag":
            return self._tag_list(module, value)
        if f.type in _TEXTS:
            return self._text(f, value)
        if f.type in ("lookup", "ownerlookup", "userlookup"):
            return self._lookup(f, value, row)
        if f.type == "multiselectpicklist":
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise _wrong("jsonarray")
            return value
        if f.type == "bigint":
            if not isinstance(value, str) or not _BIG.fullmatch(value):
                raise _wrong("bigint")
            return value
        return self._scalar(f, value)

    def _scalar(self, f: FieldDef, value: Any) -> Any:
        if f.type == "boolean":
            return value if isinstance(value, bool) else _raise(_wrong("boolean"))
        if f.type == "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            return value if whole and abs(value) < 10 ** (f.length or 9) else _raise(_wrong("integer"))
        if f.type in ("double", "currency", "percent"):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return round(float(value), f.decimals or 2) if number else _raise(_wrong("double"))
        pattern = _DATE if f.type == "date" else _MOMENT
        text = str(value)
        if self.rules.accept_z and text.endswith("Z"):
            text = f"{text[:-1]}+00:00"
        if not isinstance(value, str) or not pattern.fullmatch(text):
            raise _wrong(f.type)
        try:
            if f.type == "date":
                return date.fromisoformat(text).isoformat()
            return datetime.fromisoformat(text).astimezone(_ZONE).isoformat()
        except ValueError as error:
            raise _wrong(f.type) from error

    def _text(self, f: FieldDef, value: Any) -> str:
        if not isinstance(value, str):
            raise _wrong("string")
        if len(value) > (f.length or 255):
            raise RowError("INVALID_DATA", "invalid data", maximum_length=f.length or 255)
        if f.type == "email" and not _EMAIL.fullmatch(value):
            raise _wrong("email")
        if f.type == "picklist" and self.rules.picklists_enforced and value not in (*f.values, "-None-"):
            raise RowError("INVALID_DATA", "invalid data", supported_values=list(f.values))
        return value

    def _lookup(self, f: FieldDef, value: Any, row: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(value, dict) or "id" not in value:
            raise _wrong("jsonobject")
        id = str(value["id"])
        if f.type != "lookup":
            return _user(id) if id in USERS else _raise(_wrong("jsonobject"))
        module = str(row.get("$se_module", f.looks_up)) if f.name == "What_Id" else str(f.looks_up)
        found = self.tables[module].get(id) if module in self.tables else None
        if found is None:
            raise RowError("INVALID_DATA", "the id given seems to be invalid")
        return {"name": found.get("Full_Name") or found.get("Account_Name"), "id": id}

    # Tags

    def create_tag(self, module: str, name: Any) -> dict[str, Any]:
        """A tag of a module; RowError DUPLICATE_DATA when it is there."""
        if not isinstance(name, str) or not name or len(name) > _TAG_LENGTH:
            raise RowError(
                "INVALID_DATA", "invalid data", api_name="name", json_path="$.tags[0].name", maximum_length=_TAG_LENGTH
            )
        if self._tag(module, name):
            raise RowError("DUPLICATE_DATA", "duplicate data", api_name="name", json_path="$.tags[0].name")
        id = self.new_id()
        who, now = {"name": USERS[SYNC_USER][0], "id": SYNC_USER}, self.stamp()
        self.tags[id] = {
            "id": id,
            "module": module,
            "name": name,
            "color_code": None,
            **dict.fromkeys(("created_by", "modified_by"), who),
            **dict.fromkeys(("created_time", "modified_time"), now),
        }
        return self.tags[id]

    def _tag(self, module: str, name: str) -> dict[str, Any] | None:
        found = (t for t in self.tags.values() if (t["module"], t["name"].casefold()) == (module, name.casefold()))
        return next(found, None)

    def _tag_list(self, module: str, value: Any) -> list[dict[str, Any]]:
        """Writing `Tag` replaces the list; unknown tags are made on the fly."""
        if not isinstance(value, list) or not all(isinstance(t, dict) and "name" in t for t in value):
            raise _wrong("jsonarray")
        return [_shown(self._tag(module, t["name"]) or self.create_tag(module, t["name"])) for t in value]

    def add_tags(self, module: str, id: str, names: Sequence[str], over_write: bool, by: str) -> list[str]:
        """The record's tags afterwards."""
        row = self._editable(module, id, 0)
        self._refuse_trouble(row, id, by)
        new = self._tag_list(module, [{"name": n} for n in names])
        kept = [] if over_write else [t for t in row["Tag"] if t["id"] not in {n["id"] for n in new}]
        if len(kept) + len(new) > _MOST_TAGS:
            raise RowError("LIMIT_EXCEEDED", "a record takes 10 tags", limit=_MOST_TAGS, id=id)
        self._store(module, row | {"Tag": kept + new}, by)
        self._noted(module, id, "update")
        return [t["name"] for t in self.tables[module][id]["Tag"]]

    def remove_tags(self, module: str, id: str, names: Sequence[str], by: str) -> list[str]:
        row = self._editable(module, id, 0)
        self._refuse_trouble(row, id, by)
        gone = {name.casefold() for name in names}
        self._store(module, row | {"Tag": [t for t in row["Tag"] if t["name"].casefold() not in gone]}, by)
        self._noted(module, id, "update")
        return [t["name"] for t in self.tables[module][id]["Tag"]]


def _user(id: str) -> dict[str, Any]:
    name, email = USERS[id]
    return {"name": name, "id": id, "email": email}


def _shown(tag: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": tag["name"], "id": tag["id"], "color_code": tag["color_code"]}


def _wrong(expected: str) -> RowError:
    return RowError("INVALID_DATA", "invalid data", expected_data_type=expected)


def _locked(id: str) -> RowError:
    return RowError("RECORD_LOCKED", "Sorry, you cannot perform this operation as the record is locked.", id=id)


def _raise(error: RowError) -> Any:
    raise error


def _raise_all(errors: Sequence[RowError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        message = "multiple or multi errors have been occurred"
        raise RowError("MULTIPLE_OR_MULTI_ERRORS", message, errors=[e.item() for e in errors])


def _without_id(values: Mapping[str, Any]) -> dict[str, Any]:
    return {n: v for n, v in values.items() if n != "id"}
