"""Mailchimp's answers as they come in at the door, and the facts we keep of them.

Field names are those of the official contract 3.0.55; `is_proxy_open` is in 3.0.91 only. An empty string is how
Mailchimp says "nothing", so it is read as None.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "ARCHIVED",
    "Activity",
    "ActivityFact",
    "Automation",
    "AutomationEmail",
    "Batch",
    "BatchResult",
    "Bounces",
    "Clicks",
    "Listing",
    "Location",
    "Member",
    "MemberFields",
    "MergeField",
    "Metadata",
    "Moment",
    "Open",
    "OpenFact",
    "Opener",
    "Opens",
    "ProblemDocument",
    "Recipient",
    "Report",
    "Root",
    "Row",
    "Tag",
    "TagChange",
    "UnsubscribeFact",
    "Unsubscribed",
    "WebhookFact",
    "minute_of",
    "moment_text",
]

ARCHIVED: Final = "archived"
"""The status of a deleted member. (Erased ones are not there at all.)"""

Row = dict[str, Any]
"""One row of a listing as it came, before a model reads it."""


def _nothing(value: Any) -> Any:
    return None if value == "" else value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


_Utc = Annotated[AwareDatetime, AfterValidator(_utc)]
Moment = Annotated[_Utc, BeforeValidator(_nothing)]
_MaybeMoment = Annotated[_Utc | None, BeforeValidator(_nothing)]
_MaybeText = Annotated[str | None, BeforeValidator(_nothing)]


def moment_text(moment: datetime) -> str:
    """`2026-01-02T03:04:05Z`: never a fraction, which email-activity answers with HTTP 500 (airbyte issue 37434)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def minute_of(moment: datetime) -> str:
    """`2026-01-02T03:04`: what a webhook and a poll, seconds apart, both say of one fact (vendor sheet §9)."""
    return moment_text(moment)[:16]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _FieldProblem(_Payload):
    field: str = ""
    message: str = ""


class ProblemDocument(_Payload):
    """application/problem+json. `type` and the code-like `instance` are not always there (recorded traffic)."""

    title: str
    status: int | None = None
    detail: str = ""
    instance: _MaybeText = None
    errors: tuple[_FieldProblem, ...] = ()

    def words(self) -> str:
        """The vendor's own words in one line."""
        fields = "; ".join(f"{e.field}: {e.message}" for e in self.errors)
        return ": ".join(part for part in (self.title, self.detail, fields) if part)


class Metadata(_Payload):
    """Answer of /oauth2/metadata. It comes with status 200 for a dead token too; then `api_endpoint` is missing."""

    api_endpoint: str | None = None
    error: str | None = None


class Root(_Payload):
    """Answer of `GET /`."""

    account_id: str
    account_name: str = ""
    role: str = ""
    account_timezone: str = ""


class Listing(_Payload):
    """A page of any collection: its rows, and how many there are in all."""

    rows: list[Row]
    total_items: int


class Location(_Payload):
    country_code: _MaybeText = None


class Member(_Payload):
    """A person in an audience. `id` is the MD5 of the lower-cased address; `contact_id` outlives the address."""

    id: str
    contact_id: _MaybeText = None
    list_id: str
    email_address: str
    status: str
    merge_fields: Annotated[dict[str, Any], BeforeValidator(lambda v: v or {})] = {}
    language: _MaybeText = None
    location: Location = Location()
    vip: bool | None = None
    member_rating: int | None = None
    timestamp_signup: _MaybeMoment = None
    timestamp_opt: _MaybeMoment = None
    last_changed: _MaybeMoment = None
    source: _MaybeText = None

    @property
    def lasting_id(self) -> str:
        """The name that stays when the address changes (recorded 2021); member paths accept both."""
        return self.contact_id or self.id


class MergeField(_Payload):
    """A field of an audience. `tag` is its name in merge_fields; `type` one of eleven."""

    tag: str
    name: str = ""
    type: str
    required: bool = False
    options: Annotated[dict[str, Any], BeforeValidator(lambda v: v or {})] = {}


class MemberFields(BaseModel):
    """All that this connector ever sends about a member: no address, no consent, and no status but this one.

    It cannot say more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    merge_fields: dict[str, str | int | float] = {}
    status: Literal["unsubscribed"] | None = None

    def body(self) -> dict[str, Any]:
        """What is sent: nothing about what is not said."""
        return self.model_dump(exclude_defaults=True)


class Tag(_Payload):
    """A tag of an audience, which Mailchimp also calls a static segment. `member_count` counts the subscribed only."""

    id: int
    name: str
    type: str = "static"
    member_count: int = 0


class _TagError(_Payload):
    email_addresses: tuple[str, ...] = ()
    error: str = ""


class TagChange(_Payload):
    """Answer to adding and removing members of a tag: those for whom something changed, and what was refused."""

    members_added: tuple[Row, ...] = ()
    members_removed: tuple[Row, ...] = ()
    errors: tuple[_TagError, ...] = ()


class Batch(_Payload):
    """A batch request. `response_body_url` is there when it is finished, and for ten minutes."""

    id: str
    status: str
    total_operations: int = 0
    errored_operations: int = 0
    response_body_url: _MaybeText = None


class BatchResult(_Payload):
    """The answer to one operation, or to one page of it; `response` is JSON in a string (once, in 2016, an object)."""

    operation_id: str
    status_code: int
    response: str | dict[str, Any] = ""


class Opens(_Payload):
    opens_total: int = 0
    unique_opens: int = 0
    last_open: _MaybeText = None


class Clicks(_Payload):
    clicks_total: int = 0
    last_click: _MaybeText = None


class Bounces(_Payload):
    hard_bounces: int = 0
    soft_bounces: int = 0
    syntax_errors: int = 0


class Report(_Payload):
    """A sent campaign and its totals, which tell whether its details are worth reading again."""

    id: str
    list_id: _MaybeText = None
    campaign_title: str = ""
    subject_line: str = ""
    send_time: _MaybeMoment = None
    emails_sent: int = 0
    unsubscribed: int = 0
    opens: Opens = Opens()
    clicks: Clicks = Clicks()
    bounces: Bounces = Bounces()

    @property
    def name(self) -> str:
        return self.campaign_title or self.subject_line


class _Recipients(_Payload):
    list_id: _MaybeText = None


class Automation(_Payload):
    id: str
    recipients: _Recipients = _Recipients()


class AutomationEmail(_Payload):
    """One e-mail of an automation: its id is a campaign id under /reports."""

    id: str
    emails_sent: int = 0


class Open(_Payload):
    """One open. `is_proxy_open` is missing where the account does not know it."""

    timestamp: Moment
    is_proxy_open: bool | None = None


class Opener(_Payload):
    """A row of open-details: one person, all her opens."""

    email_id: str
    email_address: str = ""
    list_id: str = ""
    opens: tuple[Open, ...] = ()


class Activity(_Payload):
    """One open, click or bounce in email-activity. It has no id of its own; bounces have a `type` (hard, soft)."""

    action: str
    timestamp: Moment
    type: _MaybeText = None
    url: _MaybeText = None


class Recipient(_Payload):
    """A row of email-activity: one recipient, most of them with nothing done."""

    email_id: str
    email_address: str = ""
    list_id: str = ""
    activity: Annotated[tuple[Activity, ...], Field(default=())]


class Unsubscribed(_Payload):
    """A row of /unsubscribed."""

    email_id: str
    email_address: str = ""
    list_id: str = ""
    timestamp: Moment
    reason: _MaybeText = None


class _Fact(_Payload):
    """What all facts about one person and one campaign have in common. Facts are what raw records carry."""

    campaign_id: str
    campaign: str = ""
    list_id: str = ""
    email_id: str
    email_address: str = ""
    timestamp: Moment

    @property
    def moment(self) -> str:
        return moment_text(self.timestamp)


class OpenFact(_Fact):
    is_proxy_open: bool | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return ("open", self.campaign_id, self.email_id, self.moment)


class ActivityFact(_Fact):
    """A click or a bounce."""

    action: Literal["click", "bounce"]
    url: _MaybeText = None
    type: _MaybeText = None

    @property
    def key(self) -> tuple[str, ...]:
        """With the address of the link: clicks of one second on two links are two facts (airbyte's key lacks it)."""
        return (self.action, self.campaign_id, self.email_id, self.moment, *([self.url] if self.url else []))


class UnsubscribeFact(_Fact):
    reason: _MaybeText = None

    @property
    def key(self) -> tuple[str, ...]:
        """To the minute: the record's name. (What is an event's name is said in `normalize`.)"""
        return ("unsub", self.list_id, self.email_id, self.campaign_id, self.moment[:16])


class WebhookFact(_Payload):
    """A webhook as it is kept: its type, and its form with the bracket names unfolded."""

    webhook: str
    fired_at: str = ""
    data: dict[str, Any] = {}

    @property
    def moment(self) -> datetime:
        """`2026-01-02 03:04:05`; no zone is documented, read as UTC (vendor sheet §6, unverified). Else ValueError."""
        return datetime.strptime(self.fired_at, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)

    def text(self, name: str) -> str:
        value = self.data.get(name, "")
        return value.strip() if isinstance(value, str) else ""
