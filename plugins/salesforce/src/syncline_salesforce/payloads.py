"""What Salesforce sends, as models. Unknown keys are ignored: the vendor adds some with every release."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

__all__ = [
    "SAVE_RESULTS",
    "ApiError",
    "BulkJob",
    "ChildRelationship",
    "DeletedRecord",
    "DeletedRecords",
    "DescribedField",
    "DescribedObject",
    "GlobalDescribe",
    "ObjectDescribe",
    "PicklistValue",
    "QueryPage",
    "SaveProblem",
    "SaveResult",
    "Token",
    "TokenProblem",
]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True)


class Token(_Payload):
    """A successful answer of the token endpoint. There is no expires_in: a session ends when a call says so."""

    access_token: str = Field(repr=False)
    instance_url: str
    id: str = ""
    refresh_token: str | None = Field(default=None, repr=False)

    @property
    def user_id(self) -> str:
        """The user we are, from the identity address `…/id/<org>/<user>`."""
        return self.id.rstrip("/").rpartition("/")[2]

    @property
    def org_id(self) -> str:
        return self.id.rstrip("/").rpartition("/")[0].rpartition("/")[2]


class TokenProblem(_Payload):
    """A refusal of the token endpoint."""

    error: str
    error_description: str = ""


class ApiError(_Payload):
    """One error of a whole request; they come as an array."""

    code: str = Field(alias="errorCode")
    message: str = ""
    fields: tuple[str, ...] = ()


class SaveProblem(_Payload):
    """One error of one record. Note the other name of the code."""

    code: str = Field(alias="statusCode")
    message: str = ""
    fields: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        named = f" (fields: {', '.join(self.fields)})" if self.fields else ""
        return f"{self.code}: {self.message}{named}"


class SaveResult(_Payload):
    """What became of one record of a Collections request; they come in request order."""

    id: str | None = None
    success: bool
    created: bool | None = None
    """Upserts only."""
    errors: tuple[SaveProblem, ...] = ()


SAVE_RESULTS: TypeAdapter[list[SaveResult]] = TypeAdapter(list[SaveResult])


class QueryPage(_Payload):
    """One page of a query. `next_url` is a path on the instance."""

    total: int = Field(alias="totalSize")
    done: bool
    next_url: str | None = Field(default=None, alias="nextRecordsUrl")
    records: list[dict[str, Any]] = []


class DeletedRecord(_Payload):
    id: str
    deleted: str = Field(alias="deletedDate")


class DeletedRecords(_Payload):
    """What getDeleted lists. Before `earliest` nothing is known any more, and after `latest` nothing yet."""

    records: tuple[DeletedRecord, ...] = Field(alias="deletedRecords")
    earliest: str = Field(alias="earliestDateAvailable")
    latest: str = Field(alias="latestDateCovered")


class PicklistValue(_Payload):
    value: str
    active: bool = True


class DescribedField(_Payload):
    """A field of an object's describe."""

    name: str
    type: str
    label: str = ""
    length: int = 0
    scale: int = 0
    createable: bool = False
    updateable: bool = False
    nillable: bool = True
    defaulted: bool = Field(default=False, alias="defaultedOnCreate")
    unique: bool = False
    external_id: bool = Field(default=False, alias="externalId")
    restricted: bool = Field(default=False, alias="restrictedPicklist")
    values: tuple[PicklistValue, ...] = Field(default=(), alias="picklistValues")


class ChildRelationship(_Payload):
    """An object whose records belong to those of the described one. Some have no name."""

    object: str = Field(alias="childSObject")
    field: str | None = None
    name: str | None = Field(default=None, alias="relationshipName")


class ObjectDescribe(_Payload):
    name: str
    fields: tuple[DescribedField, ...]
    children: tuple[ChildRelationship, ...] = Field(default=(), alias="childRelationships")


class DescribedObject(_Payload):
    name: str


class GlobalDescribe(_Payload):
    sobjects: tuple[DescribedObject, ...]


class BulkJob(_Payload):
    """A Bulk 2.0 job. `JobComplete` does not mean that every row succeeded."""

    id: str
    state: str
    operation: str = ""
    object: str = ""
    processed: int = Field(default=0, alias="numberRecordsProcessed")
    failed: int = Field(default=0, alias="numberRecordsFailed")
    error: str | None = Field(default=None, alias="errorMessage")

    @property
    def final(self) -> bool:
        return self.state in ("JobComplete", "Failed", "Aborted")
