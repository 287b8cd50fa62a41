"""The properties of the simulated account. Shapes are those of a recorded answer (amp-labs, contacts properties)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "DEFAULTS",
    "FIELD_TYPES",
    "LIFECYCLE",
    "OBJECTS",
    "OBJECT_IDS",
    "TYPES",
    "PropertyDef",
    "custom",
    "object_name",
    "rendered",
    "stamp_of",
]

TYPES: Final = ("bool", "date", "datetime", "enumeration", "number", "phone_number", "string")
FIELD_TYPES: Final = (
    "booleancheckbox calculation_equation checkbox date file html number phonenumber radio select text textarea"
).split()

LIFECYCLE: Final = (
    "subscriber lead marketingqualifiedlead salesqualifiedlead opportunity customer evangelist other"
).split()

_MADE: Final = "2023-01-10T09:00:00.000Z"


@dataclass(frozen=True, slots=True)
class PropertyDef:
    """One property. `system` ones HubSpot fills itself."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    group: str = "contactinformation"
    options: tuple[Mapping[str, Any], ...] = ()
    read_only: bool = False
    unique: bool = False
    own: bool = True
    external: bool = False
    referenced: str | None = None
    description: str = ""
    hidden: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(o["value"] for o in self.options)


def _choices(words: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {"label": word.title(), "value": word, "description": "", "displayOrder": number, "hidden": False}
        for number, word in enumerate(words)
    )


def _system(name: str, label: str, type_: str = "string", **more: Any) -> PropertyDef:
    return PropertyDef(name, label, type_, more.pop("field_type", "text"), read_only=True, **more)


def _common(stamp: str, made: str) -> tuple[PropertyDef, ...]:
    """What every object has."""
    return (
        _system("hs_object_id", "Record ID", "number", field_type="number"),
        _system(made, "Create Date", "datetime", field_type="date"),
        _system(stamp, "Last Modified Date", "datetime", field_type="date"),
        _system("hs_merged_object_ids", "Merged record IDs", "enumeration", field_type="checkbox", external=True),
        _system("hs_object_source", "Record source", hidden=True),
        _system("hs_object_source_id", "Record source ID", hidden=True),
        _system("hs_object_source_label", "Record source label", hidden=True),
        PropertyDef(
            "hubspot_owner_id", "Owner", "enumeration", "select", external=True, referenced="OWNER", group="sales"
        ),
    )


def _table(*definitions: PropertyDef) -> Mapping[str, PropertyDef]:
    return {d.name: d for d in sorted(definitions, key=lambda d: d.name)}


OBJECTS: Final[Mapping[str, Mapping[str, PropertyDef]]] = {
    "contacts": _table(
        *_common("lastmodifieddate", "createdate"),
        PropertyDef("email", "Email"),
        PropertyDef("firstname", "First Name"),
        PropertyDef("lastname", "Last Name"),
        PropertyDef("company", "Company Name"),
        PropertyDef("jobtitle", "Job Title"),
        PropertyDef("phone", "Phone Number", "string", "phonenumber"),
        PropertyDef("mobilephone", "Mobile Phone Number", "string", "phonenumber"),
        PropertyDef("address", "Street Address"),
        PropertyDef("city", "City"),
        PropertyDef("zip", "Postal Code"),
        PropertyDef("country", "Country/Region"),
        PropertyDef("website", "Website URL"),
        PropertyDef("message", "Message", "string", "textarea"),
        PropertyDef("date_of_birth", "Date of birth"),
        PropertyDef("closedate", "Close Date", "datetime", "date"),
        PropertyDef("lifecyclestage", "Lifecycle Stage", "enumeration", "radio", options=_choices(LIFECYCLE)),
        PropertyDef(
            "hs_lead_status",
            "Lead Status",
            "enumeration",
            "radio",
            group="sales",
            options=_choices("NEW OPEN IN_PROGRESS OPEN_DEAL UNQUALIFIED CONNECTED BAD_TIMING".split()),
        ),
        PropertyDef(
            "hs_buying_role",
            "Buying Role",
            "enumeration",
            "checkbox",
            group="sales",
            options=_choices("BLOCKER BUDGET_HOLDER CHAMPION DECISION_MAKER END_USER INFLUENCER".split()),
        ),
        _system("hs_additional_emails", "Additional emails", "enumeration", field_type="checkbox", external=True),
        _system("hs_email_domain", "Email Domain"),
        _system("hs_email_optout", "Unsubscribed from all email", "bool", field_type="booleancheckbox"),
        _system("hs_full_name_or_email", "Full name or email", hidden=True),
        _system("num_notes", "Number of Sales Activities", "number", field_type="number"),
    ),
    "companies": _table(
        *_common("hs_lastmodifieddate", "createdate"),
        PropertyDef("name", "Company name", group="companyinformation"),
        PropertyDef("domain", "Company Domain Name", group="companyinformation"),
        PropertyDef("city", "City", group="companyinformation"),
    ),
    "deals": _table(
        *_common("hs_lastmodifieddate", "createdate"),
        PropertyDef("dealname", "Deal Name", group="dealinformation"),
        PropertyDef("amount", "Amount", "number", "number", group="dealinformation"),
        PropertyDef("closedate", "Close Date", "datetime", "date", group="dealinformation"),
        PropertyDef("dealstage", "Deal Stage", "enumeration", "radio", group="dealinformation", external=True),
    ),
    "tasks": _table(
        *_common("hs_lastmodifieddate", "hs_createdate"),
        PropertyDef("hs_timestamp", "Due date", "datetime", "date", group="task"),
        PropertyDef("hs_task_subject", "Task Title", group="task"),
        PropertyDef("hs_task_body", "Task Notes", "string", "html", group="task"),
        PropertyDef(
            "hs_task_status",
            "Task Status",
            "enumeration",
            "select",
            group="task",
            options=_choices("NOT_STARTED IN_PROGRESS WAITING COMPLETED DEFERRED".split()),
        ),
        PropertyDef(
            "hs_task_priority",
            "Priority",
            "enumeration",
            "select",
            group="task",
            options=_choices("NONE LOW MEDIUM HIGH".split()),
        ),
        PropertyDef(
            "hs_task_type",
            "Task Type",
            "enumeration",
            "select",
            group="task",
            options=_choices("TODO CALL EMAIL LINKED_IN_CONNECT LINKED_IN_MESSAGE".split()),
        ),
        PropertyDef("hs_task_reminders", "Reminder", group="task"),
    ),
}

OBJECT_IDS: Final = {"contacts": "0-1", "companies": "0-2", "deals": "0-3", "tasks": "0-27"}
DEFAULTS: Final = {
    "contacts": ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    "companies": ("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
    "deals": ("amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate", "hs_object_id"),
    "tasks": ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
}
"""What comes back when nothing is asked for, as recorded."""


def object_name(word: str) -> str | None:
    """The object that a path means: its name in either number and any letter case, or its id."""
    word = word.lower()
    for name, id in OBJECT_IDS.items():
        if word in (name, id, {"companies": "company"}.get(name, name.removesuffix("s"))):
            return name
    return None


def stamp_of(object: str) -> str:
    return "lastmodifieddate" if object == "contacts" else "hs_lastmodifieddate"


def custom(body: Mapping[str, Any]) -> PropertyDef:
    """A property as somebody asks for it. ValueError says what is wrong with the request."""
    for name in ("name", "label", "type", "fieldType", "groupName"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise ValueError(f"Some required fields were not set: [{name}]")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", body["name"]):
        raise ValueError("Property names must be lower case and contain only letters, numbers and underscores")
    if body["type"] not in TYPES:
        raise ValueError(f"{body['type']} was not one of the valid property types: {list(TYPES)}")
    if body["fieldType"] not in FIELD_TYPES:
        raise ValueError(f"{body['fieldType']} was not one of the valid field types: {FIELD_TYPES}")
    options = body.get("options") or []
    if body["type"] == "bool" and {o.get("value") for o in options} != {"true", "false"}:
        raise ValueError("Boolean properties must have exactly the options true and false")
    for option in options:
        if "label" not in option or "value" not in option:
            raise ValueError("options need label and value")
    if body.get("hasUniqueValue") and body["type"] not in ("string", "number"):
        raise ValueError("Only string and number properties can have unique values")
    return PropertyDef(
        body["name"],
        body["label"],
        body["type"],
        body["fieldType"],
        body["groupName"],
        tuple({"description": "", "displayOrder": n, "hidden": False, **o} for n, o in enumerate(options)),
        unique=bool(body.get("hasUniqueValue")),
        own=False,
        description=body.get("description") or "",
        hidden=bool(body.get("hidden")),
    )


def rendered(definition: PropertyDef, stamps: tuple[str, str] | None = None) -> dict[str, Any]:
    """The definition as the API shows it; `stamps` are (created, updated) of a custom one."""
    created, updated = stamps or (_MADE, _MADE)
    shown: dict[str, Any] = {
        "updatedAt": updated,
        "createdAt": created,
        "name": definition.name,
        "label": definition.label,
        "type": definition.type,
        "fieldType": definition.field_type,
        "description": definition.description,
        "groupName": definition.group,
        "options": [dict(o) for o in definition.options],
        "displayOrder": -1,
        "calculated": False,
        "externalOptions": definition.external,
        "hasUniqueValue": definition.unique,
        "hidden": definition.hidden,
        "modificationMetadata": {
            "archivable": True,
            "readOnlyDefinition": definition.own,
            "readOnlyValue": definition.read_only,
        },
        "formField": not definition.read_only,
        "dataSensitivity": "non_sensitive",
    }
    if definition.referenced:
        shown["referencedObjectType"] = definition.referenced
    return shown | ({"hubspotDefined": True} if definition.own else {"archived": False, "createdUserId": "88842095"})
