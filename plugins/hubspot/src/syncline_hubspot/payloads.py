"""What HubSpot sends, as models. Unknown keys are ignored: the vendor adds some with every version."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

__all__ = [
    "NOTICES",
    "AccountDetails",
    "BatchAnswer",
    "ErrorBody",
    "FoundList",
    "Membership",
    "Notice",
    "ObjectSchema",
    "Page",
    "Problem",
    "Property",
    "PropertyList",
    "Record",
    "RecordProblem",
    "Token",
    "TokenInfo",
    "TokenProblem",
    "Version",
]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, told: Any) -> Any:
        """A key with null says as much as none: one in an error must not hide what the error says."""
        return {name: value for name, value in told.items() if value is not None} if isinstance(told, dict) else told


# Log-in


class Token(_Payload):
    """A successful answer of the token endpoint. The refresh token stays the same and is not read."""

    access_token: str = Field(repr=False)
    expires_in: float
    hub_id: int | None = None


class TokenProblem(_Payload):
    """A refusal of the token endpoint."""

    status: str = ""
    message: str = ""
    error: str = ""
    error_description: str = ""


class TokenInfo(_Payload):
    """What a token belongs to: told in one spelling for OAuth, in the other for keys."""

    hub_id: int | None = Field(default=None, validation_alias=AliasChoices("hub_id", "hubId"))
    app_id: int | None = Field(default=None, validation_alias=AliasChoices("app_id", "appId"))


class AccountDetails(_Payload):
    """The portal. It has no name."""

    portal_id: int = Field(alias="portalId")
    account_type: str = Field(default="", alias="accountType")
    time_zone: str = Field(default="", alias="timeZone")
    currency: str = Field(default="", alias="companyCurrency")
    ui_domain: str = Field(default="", alias="uiDomain")
    data_location: str = Field(default="", alias="dataHostingLocation")


# Errors


class Problem(_Payload):
    """One thing that is wrong with a value. `name` is the property, where it is told."""

    message: str = ""
    code: str = Field(default="", validation_alias=AliasChoices("code", "error"))
    name: str = ""
    context: dict[str, Any] = {}

    @property
    def property_name(self) -> str:
        named = self.context.get("propertyName") or [""]
        return self.name or str(named[0] if isinstance(named, list) else named)


_PROBLEMS: TypeAdapter[list[Problem]] = TypeAdapter(list[Problem])
_LISTED = "Property values were not valid: "


class _Refusal(_Payload):
    message: str = ""
    category: str = ""
    sub_category: Any = Field(default=None, alias="subCategory")
    errors: tuple[Problem, ...] = ()
    context: dict[str, Any] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of `errors`; else those that are listed as JSON inside the message."""
        return self.errors or _listed(self.message)


class ErrorBody(_Refusal):
    """The body of a refused request."""

    correlation_id: str | None = Field(default=None, alias="correlationId")
    policy: str = Field(default="", alias="policyName")


class RecordProblem(_Refusal):
    """Why one input of a batch was refused. Which one: `context`."""

    def named(self, what: str) -> tuple[str, ...]:
        """What `context` says under this name: trace ids, record ids, …"""
        found = self.context.get(what) or ()
        return tuple(map(str, found)) if isinstance(found, list | tuple) else (str(found),)


def _listed(message: str) -> tuple[Problem, ...]:
    start = message.find(_LISTED)
    if start < 0:
        return ()
    try:
        return tuple(_PROBLEMS.validate_python(json.loads(message[start + len(_LISTED) :])))
    except (ValueError, ValidationError):  # cut off, or followed by something else: the message itself must do
        return ()


# Records


class Version(_Payload):
    """One value that a property had, and where it came from."""

    value: str | None = None
    timestamp: datetime
    source_type: str = Field(default="", alias="sourceType")
    source_id: str | None = Field(default=None, alias="sourceId")
    source_label: str | None = Field(default=None, alias="sourceLabel")
    user_id: int | None = Field(default=None, alias="updatedByUserId")

    @property
    def who(self) -> str | None:
        """What HubSpot calls whoever wrote it: a name it gives, else the id of the user or of the app."""
        by_user = str(self.user_id) if self.user_id is not None else None
        return self.source_label or by_user or (self.source_id or "").removeprefix("userId:") or None


class Record(_Payload):
    """A record of any object. Values are strings, or None when empty."""

    id: str
    properties: dict[str, str | None] = {}
    history: dict[str, tuple[Version, ...]] = Field(default={}, alias="propertiesWithHistory")
    updated_at: datetime | None = Field(default=None, alias="updatedAt")
    archived: bool = False
    archived_at: datetime | None = Field(default=None, alias="archivedAt")
    trace_id: str | None = Field(default=None, alias="objectWriteTraceId")
    new: bool | None = None
    """Upserts only."""


class BatchAnswer(_Payload):
    """What became of a batch, whatever its status: 200, 201 and 207 look alike."""

    results: tuple[Record, ...] = ()
    errors: tuple[RecordProblem, ...] = ()


class _Next(_Payload):
    after: str


class _Paging(_Payload):
    next: _Next | None = None


class Page(_Payload):
    """A page of a list or of a search."""

    results: tuple[Record, ...]
    total: int | None = None
    paging: _Paging | None = None

    @property
    def after(self) -> str | None:
        """The position of the next page."""
        return self.paging.next.after if self.paging and self.paging.next else None


# Properties


class _Option(_Payload):
    value: str
    label: str = ""
    hidden: bool = False


class _Modification(_Payload):
    read_only_value: bool = Field(default=False, alias="readOnlyValue")


class Property(_Payload):
    """A property as it is defined."""

    name: str
    label: str = ""
    type: str
    field_type: str = Field(default="", alias="fieldType")
    options: tuple[_Option, ...] = ()
    calculated: bool = False
    external_options: bool = Field(default=False, alias="externalOptions")
    unique: bool = Field(default=False, alias="hasUniqueValue")
    referenced: str | None = Field(default=None, alias="referencedObjectType")
    modification: _Modification = Field(default=_Modification(), alias="modificationMetadata")


class PropertyList(_Payload):
    results: tuple[Property, ...]


class ObjectSchema(_Payload):
    """Only what is read of it: the properties without which no record is created."""

    required: tuple[str, ...] = Field(default=(), alias="requiredProperties")


# Lists


class _List(_Payload):
    id: str = Field(alias="listId")
    name: str = ""
    object_type: str = Field(default="", alias="objectTypeId")
    processing: str = Field(default="", alias="processingType")


class FoundList(_Payload):
    list: _List


class Membership(_Payload):
    """Who went in and out. The vendor spells one key in two ways."""

    added: tuple[str, ...] = Field(
        default=(), validation_alias=AliasChoices("recordsIdsAdded", "recordIdsAdded", "records_ids_added")
    )
    removed: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("recordIdsRemoved", "recordsIdsRemoved"))
    missing: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("recordIdsMissing", "recordsIdsMissing"))


# Notices


class Notice(_Payload):
    """One event of a webhook, as far as it is looked at. Which record it is about is not: a changed association names
    two, under other keys."""

    subscription_type: str = Field(alias="subscriptionType")
    object_type: str | None = Field(default=None, alias="objectTypeId")
    occurred_at: int = Field(alias="occurredAt")


NOTICES: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(list[dict[str, Any]])
