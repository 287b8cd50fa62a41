"""What Zoho sends, as models. Unknown keys are ignored: the vendor adds some with every version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

__all__ = [
    "Channel",
    "Channels",
    "Deleted",
    "DeletedPage",
    "FieldMeta",
    "FieldsPage",
    "ItemResult",
    "LayoutsPage",
    "Modules",
    "Notice",
    "Orgs",
    "PageInfo",
    "PicklistValue",
    "Problem",
    "RecordsPage",
    "Tags",
    "TimelineEntry",
    "TimelinePage",
    "TokenAnswer",
    "TokenProblem",
    "Users",
]

_Number = Annotated[str, BeforeValidator(str)]
"""A channel's number: documented as a long, shown as text."""


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class TokenAnswer(_Payload):
    """A successful answer of the token endpoint."""

    access_token: str = Field(repr=False)
    api_domain: str
    expires_in: int = 3600


class TokenProblem(_Payload):
    """A refusal of the token endpoint. It comes with HTTP 200 too."""

    error: str
    error_description: str = ""


class Problem(_Payload):
    """An error of a whole call, or of one item of it."""

    code: str
    message: str = ""
    details: Mapping[str, Any] = {}

    @field_validator("details", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {}

    @property
    def field(self) -> str | None:
        """The api name of the field it is about."""
        name = self.details.get("api_name") or self.details.get("column_name")
        return str(name) if name else None

    @property
    def parts(self) -> list[Problem]:
        """The errors that MULTIPLE_OR_MULTI_ERRORS stands for."""
        found = self.details.get("errors") or []
        return [Problem.model_validate(part) for part in found if isinstance(part, dict) and "code" in part]

    @property
    def duplicates(self) -> list[Problem]:
        """Those of its errors that say that another record has a value which only one may have."""
        return [problem for problem in (self.parts or [self]) if problem.code == "DUPLICATE_DATA"]

    @property
    def holder(self) -> str | None:
        """The id of that record; None when it is hidden from us."""
        record = self.details.get("duplicate_record")
        id = record.get("id") if isinstance(record, Mapping) else self.details.get("id")
        return str(id) if id else None

    @property
    def reason(self) -> str:
        if self.parts:
            return f"{self.code}: " + "; ".join(part.reason for part in self.parts)
        facts = "; ".join(filter(None, (_fact(name, self.details.get(name)) for name in _TOLD)))
        return f"{self.code}: {self.message}" + (f" ({facts})" if facts else "")


_TOLD = (
    "api_name",
    "column_name",
    "expected_data_type",
    "maximum_length",
    "supported_values",
    "regex",
    "duplicate_record",
    "dependee",
    "expected_fields",
    "ambiguity_due_to",
    "limit",
    "permissions",
    "param_name",
    "reason",
    "near",
)


def _fact(name: str, value: Any) -> str:
    """One detail in words; records and fields by their id or name alone."""
    if value in (None, "", [], {}):
        return ""
    values = value if isinstance(value, list) else [value]
    words = [str(v.get("api_name") or v.get("id") or v) if isinstance(v, dict) else str(v) for v in values]
    label = "field" if name == "api_name" else name.replace("_", " ")
    return f"{label} {', '.join(words)}"


class ItemResult(Problem):
    """What became of one row of a call; they come in the order of the request."""

    status: str = ""
    action: str | None = None
    """`insert` or `update`, of an upsert only."""
    duplicate_field: str | None = None

    @property
    def ok(self) -> bool:
        return self.status == "success"

    @property
    def id(self) -> str | None:
        found = self.details.get("id")
        return str(found) if found else None


class PageInfo(_Payload):
    more_records: bool = False
    count: int = 0
    next_page_token: str | None = None


class RecordsPage(_Payload):
    """Records of a list or of a query."""

    data: tuple[Mapping[str, Any], ...] = ()
    info: PageInfo = PageInfo()

    @field_validator("data")
    @classmethod
    def _each_has_an_id(cls, rows: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
        if not all(row.get("id") for row in rows):
            raise ValueError("a record without an id")
        return rows


class Deleted(_Payload):
    id: str
    deleted_time: AwareDatetime
    deleted_by: Mapping[str, Any] | None = None


class DeletedPage(_Payload):
    data: tuple[Deleted, ...] = ()
    info: PageInfo = PageInfo()


class _Doer(_Payload):
    id: str | None = None
    name: str | None = None


class _FieldChange(_Payload):
    api_name: str


class TimelineEntry(_Payload):
    """What happened to a record at one moment; `related_record` is set where it happened to another beside it."""

    audited_time: AwareDatetime
    done_by: _Doer | None = None
    automation_details: Mapping[str, Any] | None = None
    related_record: Mapping[str, Any] | None = None
    field_history: tuple[_FieldChange, ...] | None = None

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the record itself that changed."""
        return frozenset() if self.related_record else frozenset(f.api_name for f in self.field_history or ())


class TimelinePage(_Payload):
    entries: tuple[TimelineEntry, ...] = Field(default=(), alias="__timeline")
    info: PageInfo = PageInfo()


class PicklistValue(_Payload):
    actual_value: str


class _Operations(_Payload):
    api_create: bool = True
    api_update: bool = True


class FieldMeta(_Payload):
    """A field as `/settings/fields` describes it."""

    api_name: str
    data_type: str
    field_label: str = ""
    json_type: str | None = None
    length: int | None = None
    decimal_place: int | None = None
    system_mandatory: bool = False
    read_only: bool = False
    field_read_only: bool = False
    unique: Mapping[str, Any] = {}
    operation_type: _Operations = _Operations()
    pick_list_values: tuple[PicklistValue, ...] = ()

    @field_validator("unique", mode="before")
    @classmethod
    def _not_unique_is_empty(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {}

    @field_validator("pick_list_values", mode="before")
    @classmethod
    def _no_values_are_none(cls, value: Any) -> Any:
        return value or ()


class FieldsPage(_Payload):
    fields: tuple[FieldMeta, ...] = ()


class _LayoutField(_Payload):
    api_name: str
    required: bool = False


class _Section(_Payload):
    fields: tuple[_LayoutField, ...] = ()


class _Layout(_Payload):
    status: str | int | None = None
    sections: tuple[_Section, ...] = ()


class LayoutsPage(_Payload):
    layouts: tuple[_Layout, ...] = ()

    @property
    def required(self) -> frozenset[str]:
        """What every layout in use demands."""
        used = [layout for layout in self.layouts if layout.status != "inactive"]
        demands = [{f.api_name for s in layout.sections for f in s.fields if f.required} for layout in used]
        return frozenset(set.intersection(*demands)) if demands else frozenset()


class _Module(_Payload):
    api_name: str
    api_supported: bool = True


class Modules(_Payload):
    modules: tuple[_Module, ...] = ()


class _User(_Payload):
    id: str
    full_name: str | None = None
    email: str | None = None


class Users(_Payload):
    users: tuple[_User, ...] = ()


class _Org(_Payload):
    id: str
    company_name: str | None = None
    zgid: str | None = None
    time_zone: str | None = None


class Orgs(_Payload):
    org: tuple[_Org, ...] = ()


class _Tag(_Payload):
    name: str


class Tags(_Payload):
    tags: tuple[_Tag, ...] = ()


class Channel(_Payload):
    """A subscription to notices, one a module."""

    channel_id: _Number
    channel_expiry: AwareDatetime | None = None
    resource_name: str = ""
    notify_url: str = ""
    events: tuple[str, ...] = ()


class Channels(_Payload):
    watch: tuple[Channel, ...] = ()


class Notice(_Payload):
    """A notification: which records of a module changed. Without the values, which nobody has signed."""

    module: str
    operation: str
    ids: tuple[str, ...]
    server_time: int
    channel_id: _Number
