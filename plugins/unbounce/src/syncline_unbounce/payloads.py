"""Unbounce's answers as they come in at the door. Field names are those of the vendor's JSON schemas, API v0.4.

Optional fields are left out, not null. Ids are texts, whatever they look like.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

__all__ = [
    "Account",
    "ExtraData",
    "Lead",
    "Listing",
    "OAuthProblem",
    "PageEntity",
    "Problem",
    "Row",
    "Token",
    "moment_of",
    "moment_text",
    "problems",
]

Row = dict[str, Any]
"""One row of a listing as it came, before a model reads it."""

_Utc = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


def moment_text(moment: datetime) -> str:
    """`2015-12-16T01:03:52.000Z`, as the vendor writes it; less than a millisecond is cut off."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        """Documented is that they are left out; one page that has one must not keep all others from being read."""
        return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body


class Problem(_Payload):
    """An error's body: plain JSON (observed), `{"message": "Not Found", "documentation": "https://…"}`."""

    message: Annotated[str, Field(min_length=1)]


class OAuthProblem(_Payload):
    """An error's body at the token endpoint (RFC 6749 §5.2; the vendor documents none)."""

    error: str


class Token(_Payload):
    """Answer of the token endpoint. The refresh token is a new one every time, and the old one is spent."""

    access_token: Annotated[str, Field(min_length=1)]
    expires_in: Annotated[int, Field(gt=0)] = 600
    refresh_token: str | None = None


class Account(_Payload):
    id: str
    name: str = ""


class _Metadata(_Payload):
    count: int | None = None


class Listing(_Payload):
    """A page of any collection."""

    rows: list[Row]
    metadata: _Metadata = _Metadata()


class _Test(_Payload):
    form_submits: int | None = None


class _Tests(_Payload):
    current: _Test = _Test()


class PageEntity(_Payload):
    """A page, pop-up or sticky bar. `tests` comes only when statistics were asked for."""

    id: Annotated[str, Field(min_length=1)]
    name: str = ""
    url: str = ""
    sub_account_id: str = ""
    created_at: _Utc | None = None
    integrations_errors_count: int = 0
    tests: _Tests = _Tests()

    @property
    def form_submits(self) -> int | None:
        return self.tests.current.form_submits


class ExtraData(_Payload):
    created_by: str | None = None


class Lead(_Payload):
    """One submission. It never changes, it can only disappear. Values of `form_data` are lists of texts."""

    id: Annotated[str, Field(min_length=1)]
    page_id: Annotated[str, Field(min_length=1)]
    variant_id: str
    created_at: _Utc
    form_data: dict[str, Any]
    extra_data: Annotated[ExtraData, BeforeValidator(lambda value: value or {})] = ExtraData()


class _Created(_Payload):
    created_at: _Utc


def moment_of(row: Row) -> datetime | None:
    """When a row was created; None if it does not say."""
    try:
        return _Created.model_validate(row).created_at
    except ValidationError:
        return None


def problems(error: ValidationError) -> str:
    """What is wrong, field by field, without what was sent."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
