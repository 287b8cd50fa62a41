"""What modules the simulated account has, and how it describes their fields.

The api names of Leads, Contacts and Tasks are those of recorded records (2026-05); types and lengths are the vendor's
documented ones. A line below reads

    api_name data_type[:length[,decimals]] flags [= picklist values | > module looked up]

with flags m system mandatory, l demanded by the layout, r read-only for the API; `-` for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "MODULES",
    "MODULE_IDS",
    "SYSTEM_UNIQUE",
    "FieldDef",
    "custom_field",
    "describe_field",
    "layout",
]

_AUDIT = """
Created_By ownerlookup r
Modified_By ownerlookup r
Created_Time datetime r
Modified_Time datetime r
Last_Activity_Time datetime r
Tag text:2000 -
Locked__s boolean r
"""

_PERSON = """
Owner ownerlookup -
First_Name text:40 -
Last_Name text:80 m
Full_Name text:255 r
Email email:100 -
Secondary_Email email:100 -
Phone phone:30 -
Mobile phone:30 -
Fax text:30 -
Lead_Source picklist:120 - = Advertisement|Cold Call|External Referral|Web Download|Web Research
Salutation picklist:120 - = Mr.|Mrs.|Ms.|Dr.|Prof.
Email_Opt_Out boolean -
Skype_ID text:50 -
Twitter text:50 -
Description textarea:32000 -
Record_Image profileimage:255 -
Unsubscribed_Mode picklist:120 r = Consent form|Manual|Unsubscribe link
Unsubscribed_Time datetime r
"""

_TABLE: Final[Mapping[str, str]] = {
    "Leads": _PERSON
    + """
Company text:200 l
Designation text:100 -
Website website:255 -
Lead_Status picklist:120 - = Attempted to Contact|Contact in Future|Contacted|Junk Lead|Lost Lead|Not Contacted
Industry picklist:120 - = ASP|ERP|Large Enterprise|Small/Medium Enterprise
No_of_Employees integer:9 -
Annual_Revenue currency:16,2 -
Rating picklist:120 - = Acquired|Active|Market Failed|Project Cancelled|Shut Down
Street text:250 -
City text:100 -
State text:100 -
Zip_Code text:30 -
Country text:100 -
Converted__s boolean r
Converted_Date_Time datetime r
Converted_Account lookup r > Accounts
Converted_Contact lookup r > Contacts
Converted_Deal lookup r > Deals
"""
    + _AUDIT,
    "Contacts": _PERSON
    + """
Account_Name lookup - > Accounts
Title text:100 -
Department text:50 -
Home_Phone phone:30 -
Other_Phone phone:30 -
Assistant text:50 -
Asst_Phone phone:30 -
Date_of_Birth date -
Reporting_To lookup - > Contacts
Mailing_Street text:250 -
Mailing_City text:100 -
Mailing_State text:100 -
Mailing_Zip text:30 -
Mailing_Country text:100 -
"""
    + _AUDIT,
    "Accounts": """
Owner ownerlookup -
Account_Name text:200 m
Phone phone:30 -
Website website:255 -
Industry picklist:120 - = ASP|ERP|Large Enterprise|Small/Medium Enterprise
Description textarea:32000 -
"""
    + _AUDIT,
    "Tasks": """
Owner ownerlookup -
Subject text:255 m
Due_Date date -
Who_Id lookup - > Contacts
What_Id lookup - > Accounts
Status picklist:120 - = Not Started|Deferred|In Progress|Completed|Waiting for input
Priority picklist:120 - = High|Highest|Low|Lowest|Normal
Send_Notification_Email boolean -
Description textarea:32000 -
Closed_Time datetime r
"""
    + _AUDIT,
}

MODULE_IDS: Final[Mapping[str, str]] = {
    "Leads": "5725767000000002175",
    "Accounts": "5725767000000002177",
    "Contacts": "5725767000000002179",
    "Tasks": "5725767000000002193",
}
_ANY_MODULE: Final = "5725767000000002000"
_LAYOUT_ID: Final = "5725767000000091055"
SYSTEM_UNIQUE: Final[Mapping[str, str]] = {"Leads": "Email", "Contacts": "Email", "Accounts": "Account_Name"}
"""What an upsert goes by when it is told nothing (upsert records, system-defined duplicate check fields)."""

_JSON_TYPES: Final = {
    "integer": "integer",
    "double": "double",
    "currency": "double",
    "percent": "integer",
    "boolean": "boolean",
    "ownerlookup": "jsonobject",
    "userlookup": "jsonobject",
    "lookup": "jsonobject",
    "multiselectpicklist": "jsonarray",
}


_ALWAYS_OFF: Final = (
    "colour_code_enabled_by_system",
    "businesscard_supported",
    "separator",
    "history_tracking_enabled",
    "enable_colour_code",
    "display_field",
    "pick_list_values_sorted_lexically",
    "mass_update",
)


@dataclass(frozen=True, slots=True)
class FieldDef:
    """A field. `label` differs from the name in its spaces only."""

    name: str
    type: str
    id: str = ""
    label: str = ""
    length: int | None = None
    decimals: int | None = None
    mandatory: bool = False
    required: bool = False
    read_only: bool = False
    unique: Mapping[str, Any] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    looks_up: str | None = None
    custom: bool = False


def _parse(line: str, number: int) -> FieldDef:
    head, _, values = line.partition(" = ")
    head, _, target = head.partition(" > ")
    name, type_, flags = head.split()
    kind, _, size = type_.partition(":")
    length, _, decimals = size.partition(",")
    return FieldDef(
        name=name,
        type=kind,
        id=f"5725767000000{number:06d}",
        label=name.removesuffix("__s").replace("_", " "),
        length=int(length) if length else None,
        decimals=int(decimals) if decimals else None,
        mandatory="m" in flags,
        required="l" in flags or "m" in flags,
        read_only="r" in flags,
        values=tuple(values.split("|")) if values else (),
        looks_up=target.strip() or None,
    )


def _fields(table: str, start: int) -> dict[str, FieldDef]:
    lines = [line for line in table.splitlines() if line.strip()]
    return {f.name: f for number, line in enumerate(lines, start) for f in (_parse(line, number),)}


MODULES: Final[Mapping[str, Mapping[str, FieldDef]]] = {
    name: _fields(table, 2_000 + 100 * position) for position, (name, table) in enumerate(_TABLE.items())
}


_AREAS: Final = {"small": 2_000, "large": 32_000, "rich_text": 50_000}
"""How much a textarea holds, by its type (vendor sheet §10)."""


def custom_field(row: Mapping[str, Any]) -> FieldDef:
    """A field that was created through the API, as its table keeps it."""
    values = tuple(v["actual_value"] for v in row.get("pick_list_values") or ())
    return FieldDef(
        name=row["api_name"],
        type=row["data_type"],
        id=row["id"],
        label=row["field_label"],
        length=row.get("length") or _AREAS.get(str((row.get("textarea") or {}).get("type"))),
        decimals=row.get("decimal_place"),
        required=bool(row.get("required")),
        read_only=bool(row.get("read_only")),
        unique=row.get("unique") or {},
        values=values,
        custom=True,
    )


def describe_field(f: FieldDef) -> dict[str, Any]:
    """As `GET settings/fields` prints it."""
    open_ = not f.read_only
    return {
        "id": f.id,
        "api_name": f.name,
        "field_label": f.label,
        "display_label": f.label,
        "data_type": f.type,
        "json_type": "jsonarray" if f.name == "Tag" else _JSON_TYPES.get(f.type, "string"),
        "length": f.length if f.length is not None else 255,
        "decimal_place": f.decimals,
        "system_mandatory": f.mandatory,
        "custom_field": f.custom,
        "read_only": f.read_only,
        "field_read_only": f.read_only,
        "visible": True,
        "unique": dict(f.unique),
        "external": None,
        "pick_list_values": [
            {
                "display_value": v,
                "actual_value": v,
                "reference_value": v,
                "sequence_number": n,
                "id": f"{f.id}{n:02d}",
                "type": "used",
            }
            for n, v in enumerate(("-None-", *f.values) if f.values else (), 1)
        ],
        "operation_type": {"web_create": open_, "api_create": open_, "web_update": open_, "api_update": open_},
        "view_type": {"view": True, "edit": open_, "quick_create": False, "create": open_},
        "lookup": {"module": {"api_name": f.looks_up, "crypt": False, "id": _ANY_MODULE}} if f.looks_up else {},
        "created_source": "custom" if f.custom else "default",
        "type": "used",
        "webhook": True,
        "searchable": True,
        "sortable": True,
        "filterable": True,
        "virtual_field": False,
        "currency": {},
        "formula": {},
        "auto_number": {},
        "multiselectlookup": {},
        "multi_module_lookup": {},
        "association_details": None,
        "convert_mapping": {},
        "rollup_summary": {},
        "range": None,
        "email_parser": {"fields_update_supported": False, "record_operations_supported": False},
        "profiles": [],
        **dict.fromkeys(_ALWAYS_OFF, False),
        "public": False,
        "display_type": -1,
        "ui_type": 1,
    }


_SECTION_ACTIONS: Final = (
    "add_field rename change_tab_traversal reorder delete remove_field change_column_count".split()
)
_LAYOUT_ACTIONS: Final = "edit rename clone downgrade delete deactivate set_layout_permissions".split()


def layout(fields: Mapping[str, FieldDef]) -> dict[str, Any]:
    """The one layout of a module, with what it demands."""
    shown = [{"id": f.id, "api_name": f.name, "required": f.required} for f in fields.values()]
    section = {
        "id": f"{_LAYOUT_ID[:-1]}9",
        "api_name": "Information",
        "name": "Information",
        "display_label": "Information",
        "isSubformSection": False,
        "mode": "all",
        "sequence_number": 1,
        "tab_traversal": "left_to_right",
        "column_count": 2,
        "generated_type": "default",
        "actions_allowed": dict.fromkeys(_SECTION_ACTIONS, True),
        "fields": shown,
    }
    return {
        "id": _LAYOUT_ID,
        "api_name": "Standard",
        "name": "Standard",
        "display_label": "Standard",
        "status": "active",
        "visible": True,
        "source": "crm",
        "generated_type": "system",
        "has_more_profiles": False,
        "show_business_card": True,
        "profiles": None,
        **dict.fromkeys(("created_time", "created_for", "modified_time", "modified_by")),
        "actions_allowed": dict.fromkeys(_LAYOUT_ACTIONS, True),
        "sections": [section],
    }
