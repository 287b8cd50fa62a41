"""What objects the simulated org has, and how it describes them.

The fields of Lead, their types, lengths and flags are those of the Lead field reference (Salesforce object reference,
read 2026-11); `tests` compare the rendered describe with a recorded one. A line below reads

    name type[:length | :precision,scale] flags [= picklist values | > referenced objects]

with flags c createable, u updateable, n nillable, d defaulted on create, r restricted picklist, l id look-up,
x external id and unique, p part of a compound field; `*` marks the default of a picklist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "HIDDEN",
    "KEY_PREFIXES",
    "OBJECTS",
    "FieldDef",
    "custom_field",
    "describe_field",
    "describe_object",
    "long_id",
]

_AUDIT = """
CreatedDate datetime d
CreatedById reference d > User
LastModifiedDate datetime d
LastModifiedById reference d > User
SystemModstamp datetime d
"""

_ADDRESS = """
Street textarea:255 cunp
City string:40 cunp
State string:80 cunp
PostalCode string:20 cunp
Country string:80 cunp
Latitude double:18,15 cunp
Longitude double:18,15 cunp
GeocodeAccuracy picklist:40 cunrp = Address|NearAddress|Block|Street|ExtendedZip|Zip|Neighborhood|City|State|Unknown
Address address n
"""

_LEAD = (
    """
Id id:18 dl
IsDeleted boolean d
MasterRecordId reference n > Lead
LastName string:80 cu
FirstName string:40 cun
Salutation picklist:40 cun = Mr.|Ms.|Mrs.|Dr.|Prof.|Mx.
Name string:121 -
Title string:128 cun
Company string:255 cu
"""
    + _ADDRESS
    + """
Phone phone:40 cun
MobilePhone phone:40 cun
Fax phone:40 cun
Email email:80 cunl
Website url:255 cun
PhotoUrl url:255 n
Description textarea:32000 cun
LeadSource picklist:255 cun = Web|Phone Inquiry|Partner Referral|Purchased List|Other
Status picklist:255 cud = *Open - Not Contacted|Working - Contacted|Closed - Converted|Closed - Not Converted
Industry picklist:255 cun = Agriculture|Apparel|Banking|Biotechnology|Chemicals|Communications|Construction|Other
Rating picklist:255 cun = Hot|Warm|Cold
AnnualRevenue currency:18,0 cun
NumberOfEmployees int:8 cun
OwnerId reference cud > Group,User
IsConverted boolean cd
ConvertedDate date n
ConvertedAccountId reference n > Account
ConvertedContactId reference n > Contact
ConvertedOpportunityId reference n > Opportunity
IsUnreadByOwner boolean cud
"""
    + _AUDIT
    + """
LastActivityDate date n
LastViewedDate datetime n
LastReferencedDate datetime n
Jigsaw string:20 cun
JigsawContactId string:20 n
CleanStatus picklist:40 cunr = Matched|Different|Acknowledged|NotFound|Inactive|Pending|SelectMatch|Skipped
CompanyDunsNumber string:9 cun
DandbCompanyId reference cun > DandBCompany
HasOptedOutOfEmail boolean cud
EmailBouncedReason string:255 un
EmailBouncedDate datetime un
IndividualId reference cun > Individual
"""
)

_CONTACT = (
    """
Id id:18 dl
IsDeleted boolean d
MasterRecordId reference n > Contact
AccountId reference cun > Account
LastName string:80 cu
FirstName string:40 cun
Salutation picklist:40 cun = Mr.|Ms.|Mrs.|Dr.|Prof.|Mx.
Name string:121 -
Phone phone:40 cun
MobilePhone phone:40 cun
Email email:80 cunl
HasOptedOutOfEmail boolean cud
Title string:128 cun
Department string:80 cun
Description textarea:32000 cun
LeadSource picklist:255 cun = Web|Phone Inquiry|Partner Referral|Purchased List|Other
MailingCity string:40 cun
MailingCountry string:80 cun
OwnerId reference cud > User
"""
    + _AUDIT
)

_ACCOUNT = (
    """
Id id:18 dl
IsDeleted boolean d
MasterRecordId reference n > Account
Name string:255 cu
Phone phone:40 cun
Website url:255 cun
Industry picklist:255 cun = Agriculture|Apparel|Banking|Biotechnology|Chemicals|Communications|Construction|Other
NumberOfEmployees int:8 cun
Description textarea:32000 cun
OwnerId reference cud > User
"""
    + _AUDIT
)

_TASK = (
    """
Id id:18 dl
WhoId reference cun > Contact,Lead
WhatId reference cun > Account
Subject combobox:255 cun = Call|Send Letter|Send Quote|Other
ActivityDate date cun
Status picklist:255 cud = *Not Started|In Progress|Completed|Waiting on someone else|Deferred
Priority picklist:255 cud = High|*Normal|Low
IsHighPriority boolean d
OwnerId reference cud > Group,User
Description textarea:32000 cun
IsDeleted boolean d
AccountId reference n > Account
IsClosed boolean d
ReminderDateTime datetime cun
IsReminderSet boolean cud
TaskSubtype picklist:40 cnr = *Task|Email|List Email|Cadence|Call
"""
    + _AUDIT
)

_CAMPAIGN = (
    """
Id id:18 dl
IsDeleted boolean d
Name string:80 cu
Type picklist:255 cun = Conference|Webinar|Trade Show|Public Relations|Partners|Email|Other
Status picklist:255 cun = *Planned|In Progress|Completed|Aborted
StartDate date cun
EndDate date cun
IsActive boolean cud
Description textarea:32000 cun
NumberOfLeads int:8 d
OwnerId reference cud > User
"""
    + _AUDIT
)

_MEMBER = (
    """
Id id:18 dl
IsDeleted boolean d
CampaignId reference c > Campaign
LeadId reference cn > Lead
ContactId reference cn > Contact
Status picklist:40 cun = *Sent|Responded
HasResponded boolean d
"""
    + _AUDIT
)

_USER = """
Id id:18 dl
Username string:80 cu
LastName string:80 cu
FirstName string:40 cun
Name string:121 -
Email email:128 cu
UserType picklist:40 nr = *Standard|AutomatedProcess|PowerPartner|Guest
IsActive boolean cud
SystemModstamp datetime d
"""

_HISTORY = """
Id id:18 dl
IsDeleted boolean d
CreatedById reference d > User
CreatedDate datetime d
Field picklist:255 r
DataType picklist:40 nr
OldValue anyType n
NewValue anyType n
"""

_TASK_STATUS = """
Id id:18 dl
ApiName string:255 l
MasterLabel string:255 n
SortOrder int:8 n
IsDefault boolean d
IsClosed boolean d
SystemModstamp datetime d
"""

_ORGANIZATION = """
Id id:18 dl
Name string:80 u
OrganizationType picklist:40 nr = *Developer Edition|Enterprise Edition
IsSandbox boolean d
InstanceName string:5 n
"""

_PERMISSION_SET = """
Id id:18 dl
Name string:80 cu
Label string:80 cu
Description string:255 cun
SystemModstamp datetime d
"""

_ASSIGNMENT = """
Id id:18 dl
PermissionSetId reference cn > PermissionSet
AssigneeId reference c > User
SystemModstamp datetime d
"""

_FIELD_PERMISSIONS = """
Id id:18 dl
ParentId reference c > PermissionSet
SobjectType picklist:40 c =
Field picklist:240 c =
PermissionsRead boolean cud
PermissionsEdit boolean cud
SystemModstamp datetime d
"""

KEY_PREFIXES: Final[Mapping[str, str]] = {
    "Lead": "00Q",
    "Contact": "003",
    "Account": "001",
    "Task": "00T",
    "Campaign": "701",
    "CampaignMember": "00v",
    "User": "005",
    "Organization": "00D",
    "PermissionSet": "0PS",
    "PermissionSetAssignment": "0Pa",
    "FieldPermissions": "01k",
    "TaskStatus": "01J",
    "LeadHistory": "0H1",
    "ContactHistory": "0H2",
}
"""The first three characters of an object's ids (Salesforce: standard field record id prefix decoder; those of the
last two are made up)."""

_SOAP: Final[Mapping[str, str]] = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "int": "xsd:int",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
}


@dataclass(frozen=True, slots=True)
class FieldDef:
    """One field of one object."""

    name: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    createable: bool = False
    updateable: bool = False
    nillable: bool = False
    defaulted: bool = False
    restricted: bool = False
    id_lookup: bool = False
    unique: bool = False
    external_id: bool = False
    compound: bool = False
    custom: bool = False
    label: str = ""
    values: tuple[str, ...] = ()
    default: str | None = None
    refers: tuple[str, ...] = field(default=())

    @property
    def required(self) -> bool:
        return self.createable and not self.nillable and not self.defaulted

    @property
    def filterable(self) -> bool:
        return self.type not in ("address", "anyType") and not (self.type == "textarea" and self.length > 255)


_LINE = re.compile(r"(\w+) (\w+)(?::(\d+)(?:,(\d+))?)? ([a-z]*|-)(?: ([=>]) ?(.*))?$")


def _parse(line: str) -> FieldDef:
    match = _LINE.match(line)
    if match is None:
        raise ValueError(f"schema line {line!r}")
    name, kind, size, scale, flags, sign, rest = match.groups()
    numeric = kind in ("double", "currency", "percent")
    listed = [v for v in (rest or "").split("|") if v] if sign == "=" else []
    return FieldDef(
        name,
        kind,
        length=0 if numeric or kind == "int" or not size else int(size),
        precision=int(size) if numeric else 0,
        scale=int(scale or 0),
        createable="c" in flags,
        updateable="u" in flags,
        nillable="n" in flags,
        defaulted="d" in flags,
        restricted="r" in flags,
        id_lookup="l" in flags,
        unique="x" in flags,
        external_id="x" in flags,
        compound="p" in flags,
        label=re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name),
        values=tuple(v.removeprefix("*") for v in listed),
        default=next((v[1:] for v in listed if v.startswith("*")), None),
        refers=tuple((rest or "").split(",")) if sign == ">" else (),
    )


def _object(text: str) -> dict[str, FieldDef]:
    return {d.name: d for d in map(_parse, filter(None, text.splitlines()))}


OBJECTS: Final[Mapping[str, Mapping[str, FieldDef]]] = {
    "Lead": _object(_LEAD),
    "Contact": _object(_CONTACT),
    "Account": _object(_ACCOUNT),
    "Task": _object(_TASK),
    "Campaign": _object(_CAMPAIGN),
    "CampaignMember": _object(_MEMBER),
    "User": _object(_USER),
    "Organization": _object(_ORGANIZATION),
    "PermissionSet": _object(_PERMISSION_SET),
    "PermissionSetAssignment": _object(_ASSIGNMENT),
    "FieldPermissions": _object(_FIELD_PERMISSIONS),
    "TaskStatus": _object(_TASK_STATUS),
    "LeadHistory": _object(_HISTORY + "LeadId reference - > Lead"),
    "ContactHistory": _object(_HISTORY + "ContactId reference - > Contact"),
}

HIDDEN: Final = frozenset({("Lead", "HasOptedOutOfEmail"), ("Contact", "HasOptedOutOfEmail")})
"""Standard fields that field-level security hides from the sync user until it is granted them: so it is in the
recorded describe of a Lead (CumulusCI), which does not have the field."""

_CUSTOM_TYPES: Final[Mapping[str, str]] = {
    "Text": "string",
    "LongTextArea": "textarea",
    "Number": "double",
    "Checkbox": "boolean",
    "Date": "date",
    "DateTime": "datetime",
    "Picklist": "picklist",
}


def custom_field(name: str, metadata: Mapping[str, Any]) -> FieldDef:
    """A field made through Tooling. KeyError when the metadata lacks what its type needs."""
    kind = _CUSTOM_TYPES[metadata["type"]]
    checkbox = kind == "boolean"
    return FieldDef(
        name,
        kind,
        length=int(metadata["length"]) if kind in ("string", "textarea") else 255 if kind == "picklist" else 0,
        precision=int(metadata["precision"]) if kind == "double" else 0,
        scale=int(metadata["scale"]) if kind == "double" else 0,
        createable=True,
        updateable=True,
        nillable=not checkbox,
        defaulted=checkbox,
        id_lookup=bool(metadata.get("externalId")),
        unique=bool(metadata.get("unique")),
        external_id=bool(metadata.get("externalId")),
        custom=True,
        label=str(metadata["label"]),
    )


def describe_field(definition: FieldDef) -> dict[str, Any]:
    """The field as `GET …/describe` prints it."""
    kind, text = definition.type, definition.type not in _SOAP
    reference = kind == "reference"
    default: Any = definition.default if definition.default else (False if kind == "boolean" else None)
    return {
        "aggregatable": kind not in ("boolean", "address") and definition.filterable,
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": 18 if kind in ("id", "reference") else definition.length * 3,
        "calculated": False,
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": False,
        "compoundFieldName": _compound(definition),
        "controllerName": None,
        "createable": definition.createable,
        "custom": definition.custom,
        "defaultValue": default,
        "defaultValueFormula": None,
        "defaultedOnCreate": definition.defaulted,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 8 if kind == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": definition.external_id,
        "extraTypeInfo": None,
        "filterable": definition.filterable,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": definition.filterable and kind not in ("datetime", "double", "currency"),
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": definition.id_lookup,
        "inlineHelpText": None,
        "label": definition.label,
        "length": 18 if reference else definition.length if text or kind == "id" else 0,
        "mask": None,
        "maskType": None,
        "name": definition.name,
        "nameField": definition.name == "Name",
        "namePointing": len(definition.refers) > 1,
        "nillable": definition.nillable,
        "permissionable": definition.nillable,
        "picklistValues": [_picklist_value(v, definition.default) for v in definition.values],
        "polymorphicForeignKey": len(definition.refers) > 1,
        "precision": definition.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(definition.refers),
        "relationshipName": definition.name.removesuffix("Id") if reference else None,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": definition.restricted,
        "scale": definition.scale,
        "searchPrefilterable": reference,
        "soapType": _SOAP.get(kind, "xsd:string"),
        "sortable": definition.filterable,
        "type": kind,
        "unique": definition.unique,
        "updateable": definition.updateable,
        "writeRequiresMasterRead": False,
    }


def _compound(definition: FieldDef) -> str | None:
    if definition.name in ("LastName", "FirstName", "Salutation"):
        return "Name"
    return "Address" if definition.compound else None


def _picklist_value(value: str, default: str | None) -> dict[str, Any]:
    return {"active": True, "defaultValue": value == default, "label": value, "validFor": None, "value": value}


def describe_object(name: str, version: str) -> dict[str, Any]:
    """The object's own properties, as the global describe lists them and its describe repeats them."""
    base = f"/services/data/v{version}/sobjects/{name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": True,
        "custom": False,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": True,
        "deprecatedAndHidden": False,
        "feedEnabled": True,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": KEY_PREFIXES[name],
        "label": name,
        "labelPlural": f"{name}s",
        "layoutable": True,
        "mergeable": name in ("Lead", "Contact", "Account"),
        "mruEnabled": True,
        "name": name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": True,
        "updateable": True,
        "urls": {"sobject": base, "describe": f"{base}/describe", "rowTemplate": f"{base}/{{ID}}"},
    }


_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def long_id(short: str) -> str:
    """The 18 characters of a 15-character id: three more that carry the upper-case letters. Others stay as they are."""
    if len(short) != 15:
        return short
    chunks = (short[i : i + 5] for i in (0, 5, 10))
    return short + "".join(_SUFFIX[sum(1 << i for i, c in enumerate(chunk) if c.isupper())] for chunk in chunks)
