"""MailPoet's rows as they come in at the door. Names are those of the columns; what joins add is named beside.

TIMESTAMPs are UTC: the session's time zone is, and the simulator's file holds UTC text. One without a date is nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "BounceRow",
    "ClickRow",
    "FormRow",
    "ListRow",
    "Moment",
    "OpenRow",
    "SubscriberRow",
    "UnsubscribeRow",
    "moment_text",
]

_ZERO: Final = "0000-00-00"


def moment_text(moment: datetime) -> str:
    """`2026-01-02 03:04:05`, as the database writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _moment(value: Any) -> Any:
    """A column's value as an aware time: the driver's naive datetime, or text."""
    if isinstance(value, str):
        if not value or value.startswith(_ZERO):  # MySQL's way of saying that there is none
            return None
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Moment = Annotated[Annotated[AwareDatetime, AfterValidator(_utc)], BeforeValidator(_moment)]
_MaybeMoment = Annotated[Annotated[AwareDatetime, AfterValidator(_utc)] | None, BeforeValidator(_moment)]
_Id = Annotated[int, Field(ge=0)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    id: _Id
    subscriber_id: _Id
    email: str | None = None
    """None when the subscriber was deleted: MailPoet leaves the rows about her."""


class _MailRow(_Row):
    """A row about one mail to one person. `campaign` is its subject as it was sent."""

    newsletter_id: _Id | None = None
    queue_id: _Id | None = None
    campaign: str | None = None


class OpenRow(_MailRow):
    """At most one for each mail and person; the user agent is rewritten in place."""

    user_agent_type: int
    created_at: Moment


class ClickRow(_MailRow):
    """One for each link, mail and person; `count` and `updated_at` move. `url` is None when the link was deleted."""

    link_id: _Id
    url: str | None = None
    user_agent_type: int
    count: Annotated[int, Field(ge=0)]
    created_at: _MaybeMoment = None
    updated_at: Moment


class UnsubscribeRow(_MailRow):
    """One for each time, or for each mail and person. `reason` is there since MailPoet 5.18 or so."""

    source: str | None = None
    method: str | None = None
    reason: str | None = None
    created_at: Moment


class BounceRow(_MailRow):
    """A hard bounce, from MailPoet's own sending service."""

    created_at: Moment


class FormRow(_Row):
    """The first submission of a form by a person; further ones leave no row."""

    form_id: _Id
    form: str | None = None
    created_at: Moment


class ListRow(_Row):
    """Membership in a list; without `list_name` the list was deleted. `source` is the subscriber's."""

    segment_id: _Id
    list_name: str | None = None
    list_type: str | None = None
    status: str
    source: str | None = None
    created_at: _MaybeMoment = None
    updated_at: Moment


class SubscriberRow(BaseModel):
    """A person. `left_at` is when she last unsubscribed, `bookkeeping` when MailPoet last touched the row by itself."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    id: _Id
    email: str
    first_name: str = ""
    last_name: str = ""
    status: str
    source: str | None = None
    created_at: _MaybeMoment = None
    confirmed_at: _MaybeMoment = None
    last_subscribed_at: _MaybeMoment = None
    deleted_at: _MaybeMoment = None
    left_at: _MaybeMoment = None
    last_open_at: _MaybeMoment = None
    last_click_at: _MaybeMoment = None
    last_engagement_at: _MaybeMoment = None
    last_sending_at: _MaybeMoment = None
    last_page_view_at: _MaybeMoment = None
    engagement_score_updated_at: _MaybeMoment = None
    updated_at: Moment
