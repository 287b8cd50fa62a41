"""Instapage's answers as they come in at the door.

Names are those of the vendor's reference (transcribed 2026-08). Instapage is written in PHP: where an object is empty,
an empty list may come (`"meta": []` is in one capture of the reference).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = [
    "ErrorDocument",
    "LandingPage",
    "Listing",
    "Row",
    "SubmissionList",
    "SubmissionRow",
    "Workspace",
]

Row = dict[str, Any]
"""One row of a listing as it came, before a model reads it."""


def _object(value: Any) -> Any:
    return {} if value == [] or value is None else value


def _text(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _moment(seconds: Any) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        raise ValueError("not a time in seconds since 1970") from None


_Epoch = Annotated[datetime, BeforeValidator(_moment)]
_Words = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class _Payload(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )


class ErrorDocument(_Payload):
    """`{title, details, meta}`; what it says is for people, the status decides."""

    title: _Words = ""
    details: _Words = ""

    def words(self) -> str:
        return ": ".join(part for part in (self.title, self.details) if part)


class _Pagination(_Payload):
    current_page: int = 1
    total_items_count: int | None = None
    total_pages_count: int | None = None
    next_page: int | None = None


class _ListMeta(_Payload):
    pagination: _Pagination


class Listing(_Payload):
    """A page of workspaces or landing pages."""

    data: list[Row]
    meta: _ListMeta

    @property
    def next_page(self) -> int | None:
        """`nextPage`, which one capture of the reference does not have; then the page numbers tell."""
        place = self.meta.pagination
        if "next_page" in place.model_fields_set:
            return place.next_page
        return place.current_page + 1 if place.current_page < (place.total_pages_count or 0) else None


class Workspace(_Payload):
    workspace_id: int
    workspace_name: _Words = ""
    access_level: _Words = ""


class LandingPage(_Payload):
    """A landing page. `url` is null while it is not published."""

    id: int
    title: _Words = ""
    url: _Words = ""
    is_deleted: bool = False


class _SubmissionMeta(_Payload):
    next_page_token: str | None = None
    limit: int | None = None


class SubmissionList(_Payload):
    """Up to 100 submissions, in no order; there are more while `nextPageToken` is set."""

    data: list[Any]
    meta: Annotated[_SubmissionMeta, BeforeValidator(_object)]

    @property
    def says_whether_more(self) -> bool:
        return "next_page_token" in self.meta.model_fields_set


class SubmissionRow(_Payload):
    """One submission. Nobody documents the keys of `fields`: labels as in the webhook, or ids such as `field_1`."""

    id: Annotated[str, BeforeValidator(_text)]
    page_id: int
    variation_name: _Words = ""
    variation_custom_name: _Words = ""
    created_at: _Epoch
    fields: Annotated[dict[str, Any], BeforeValidator(_object)] = Field(default_factory=dict)
