"""Mailchimp, simulated: as strict as the vendor sheet says, for everything this connector and mailchimp-marketing use.

What nobody could verify is in `Switches`; what the vendor documents is not optional.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, wraps
from operator import attrgetter
from typing import Any, ClassVar, Final, TypeVar

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH
from syncline.testing.simulator import Table, VendorSimulator
from syncline_mailchimp.simulated import LIST_ID, Act, Campaign, Subscriber, World, newest, subscriber_hash

__all__ = ["MailchimpSimulator", "Switches"]

T = TypeVar("T")
_Handler = Callable[..., Response]

_TYPE: Final = "https://mailchimp.com/developer/marketing/docs/errors/"
_JSON: Final = "application/json; charset=utf-8"
_PROBLEM: Final = "application/problem+json; charset=utf-8"
_MOVED: Final = "<html><head><title>301 Moved Permanently</title></head><body><h1>Moved Permanently</h1></body></html>"

_TRIGGERS: Final[Mapping[str, tuple[int, str, str]]] = {  # names from the vendor's error glossary
    "APIKeyMissing": (401, "API Key Missing", "Your request did not include an API key."),
    "TooManyRequests": (429, "TooManyRequests", "You have exceeded the limit of 10 simultaneous connections."),
    "InvalidMethodOverride": (
        422,
        "InvalidMethodOverride",
        "You can only use the X-HTTP-Method-Override header with the POST method.",
    ),
    "InternalServerError": (
        500,
        "InternalServerError",
        "A deep, internal error has occurred during the processing of your request. Please contact support.",
    ),
    # Only APIKeyMissing is documented as a value of X-Trigger-Error; these follow the glossary's titles, unverified:
    "APIKeyInvalid": (
        401,
        "API Key Invalid",
        "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
    ),
    "Forbidden": (403, "Forbidden", "Your user level does not allow access to this endpoint."),
    "UserDisabled": (403, "User Disabled", "This account has been deactivated."),
    "BadRequest": (400, "Bad Request", "Your request could not be processed."),
    "ResourceNestingTooDeep": (414, "Resource Nesting Too Deep", "The sub-resource requested is nested too deeply."),
}


def _names(prefix: str, text: str) -> frozenset[str]:
    return frozenset({prefix, *(f"{prefix}.{name}" for name in text.split())})


_MEMBER: Final = (
    "id email_address unique_email_id contact_id full_name web_id email_type status unsubscribe_reason"
    " consents_to_one_to_one_messaging merge_fields interests stats stats.avg_open_rate stats.avg_click_rate ip_signup"
    " timestamp_signup ip_opt timestamp_opt member_rating last_changed language vip email_client location"
    " location.latitude location.longitude location.gmtoff location.dstoff location.country_code location.timezone"
    " location.region source tags_count tags tags.id tags.name list_id _links"
)
_REPORT: Final = (
    "id campaign_title type list_id list_is_active list_name subject_line preview_text emails_sent abuse_reports"
    " unsubscribed send_time bounces bounces.hard_bounces bounces.soft_bounces bounces.syntax_errors forwards"
    " forwards.forwards_count forwards.forwards_opens opens opens.opens_total opens.unique_opens opens.open_rate"
    " opens.last_open opens.proxy_excluded_opens opens.proxy_excluded_unique_opens opens.proxy_excluded_open_rate"
    " clicks clicks.clicks_total clicks.unique_clicks clicks.unique_subscriber_clicks clicks.click_rate"
    " clicks.last_click _links"
)
_CAMPAIGN: Final = (
    "id web_id parent_campaign_id type create_time status emails_sent send_time content_type recipients"
    " recipients.list_id recipients.list_is_active recipients.list_name recipients.recipient_count settings"
    " settings.subject_line settings.title settings.from_name settings.reply_to report_summary _links"
)
_PERSON: Final = "campaign_id list_id list_is_active email_id email_address _links"
_TOP: Final = frozenset({"total_items", "_links"})
_SHAPES: Final[Mapping[str, frozenset[str]]] = {
    "root": frozenset("account_id account_name email username role account_timezone total_subscribers _links".split()),
    "ping": frozenset({"health_status"}),
    "list": frozenset("id web_id name date_created double_optin stats stats.member_count _links".split()),
    "lists": _TOP | _names("lists", "id web_id name date_created double_optin stats stats.member_count _links"),
    "member": frozenset(_MEMBER.split()),
    "members": _TOP | {"list_id"} | _names("members", _MEMBER),
    "report": frozenset(_REPORT.split()),
    "reports": _TOP | _names("reports", _REPORT),
    "campaign": frozenset(_CAMPAIGN.split()),
    "campaigns": _TOP | _names("campaigns", _CAMPAIGN),
    "email-activity": _TOP
    | {"campaign_id"}
    | _names("emails", f"{_PERSON} activity activity.action activity.type activity.timestamp activity.url activity.ip"),
    "open-details": _TOP
    | {"campaign_id", "total_opens", "total_proxy_excluded_opens"}
    | _names(
        "members",
        f"{_PERSON} merge_fields vip contact_status opens_count proxy_excluded_opens_count opens opens.timestamp"
        " opens.is_proxy_open",
    ),
    "unsubscribed": _TOP | {"campaign_id"} | _names("unsubscribes", f"{_PERSON} merge_fields vip timestamp reason"),
    "automations": _TOP
    | _names("automations", "id create_time start_time status emails_sent recipients recipients.list_id _links"),
    "emails": _TOP | _names("emails", "id workflow_id position status emails_sent send_time _links"),
}
"""Every field an answer may have: naming another in `fields` or `exclude_fields` is an error (vendor docs, Methods)."""

_PARAMETERS: Final = frozenset(
    "fields exclude_fields count offset status since_last_changed before_last_changed since_timestamp_opt"
    " before_timestamp_opt unsubscribed_since unique_email_id sort_field sort_dir since since_send_time"
    " before_send_time since_create_time before_create_time list_id type email_type".split()
)


@dataclass(frozen=True, slots=True)
class Switches:
    """What nobody could verify about Mailchimp. Off is our guess."""

    since_inclusive: bool = False
    """`since` also brings facts of exactly that second."""

    hide_idle_recipients: bool = False
    """email-activity with `since` leaves out recipients who did nothing since."""

    shuffle_recipients: bool = False
    """email-activity comes in another order with every call."""

    automations_in_reports: bool = False
    """/reports also lists the e-mails of automations."""

    refuse_unknown_parameters: bool = False


class _RefusedError(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, title: str, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(title)
        self.parts = (status, title, detail, errors)


def _refusing(handler: _Handler) -> _Handler:
    @wraps(handler)
    def checked(self: MailchimpSimulator, request: Request, **arguments: str) -> Response:
        try:
            return handler(self, request, **arguments)
        except _RefusedError as refusal:
            return self.problem(*refusal.parts)

    return checked


class MailchimpSimulator(VendorSimulator):
    """One Mailchimp account. `add_activity`, `unsubscribe`, `change_member` and `erase` make things happen later on."""

    name: ClassVar[str] = "mailchimp"
    routes: ClassVar[Sequence[tuple[str, str, str]]] = (
        ("GET", "/oauth2/metadata", "get_metadata"),
        ("GET", "/3.0/", "get_root"),
        ("GET", "/3.0/ping", "get_ping"),
        ("GET", "/3.0/lists", "get_lists"),
        ("GET", "/3.0/lists/<list_id>", "get_list"),
        ("GET", "/3.0/lists/<list_id>/members", "get_members"),
        ("GET", "/3.0/lists/<list_id>/members/<subscriber>", "get_member"),
        ("POST", "/3.0/lists/<list_id>/members/<subscriber>/actions/delete-permanent", "delete_permanent"),
        ("GET", "/3.0/campaigns", "get_campaigns"),
        ("GET", "/3.0/campaigns/<campaign_id>", "get_campaign"),
        ("GET", "/3.0/reports", "get_reports"),
        ("GET", "/3.0/reports/<campaign_id>", "get_report"),
        ("GET", "/3.0/reports/<campaign_id>/email-activity", "get_email_activity"),
        ("GET", "/3.0/reports/<campaign_id>/open-details", "get_open_details"),
        ("GET", "/3.0/reports/<campaign_id>/unsubscribed", "get_unsubscribed"),
        ("GET", "/3.0/automations", "get_automations"),
        ("GET", "/3.0/automations/<workflow_id>/emails", "get_automation_emails"),
    )

    max_connections: int = 10
    api_key: Final = "0123456789abcdef0123456789abcdef-us1"
    access_token: Final = "simulated-oauth-token"  # noqa: S105  # made up

    def __init__(self, options: SimulatorOptions | None = None, *, switches: Switches | None = None) -> None:
        super().__init__(options)
        self.switches = switches or Switches(**self.options.faults.get("switches", {}))

    def seed(self) -> None:
        self.table("base")["base"] = {"at": self.options.clock or EPOCH}

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "plugin": "mailchimp",
            "api_key": self.api_key,
            "audience": LIST_ID,
            "base_url": f"{self.url}/3.0",
        }

    @property
    def oauth_settings(self) -> Mapping[str, Any]:
        """The same account, by OAuth token."""
        return {
            "plugin": "mailchimp",
            "access_token": self.access_token,
            "audience": LIST_ID,
            "oauth_base_url": self.url,
        }

    # What the account holds

    @cached_property
    def world(self) -> World:
        """The seeded people and campaigns, and whatever happened since."""
        base = datetime.fromisoformat(self.table("base")["base"]["at"]).astimezone(UTC)
        world = World(self.options.people, self.options.seed, base)
        for happening in self._story.values():
            _happen(world, happening)
        return world

    @cached_property
    def _story(self) -> Table:
        """What happened since the seed, in order; with the seed it is the whole state."""
        return self.table("story")

    @cached_property
    def campaigns(self) -> Sequence[str]:
        """The ids of the campaigns, oldest first (without the automation's e-mail)."""
        return [campaign.id for campaign in self.world.sent]

    def add_activity(
        self,
        email: str,
        campaign: str,
        action: str,
        at: datetime,
        *,
        url: str | None = None,
        kind: str | None = None,
        machine: bool = False,
    ) -> None:
        """An open, click or bounce that shows up now, whenever it happened: late facts are made this way."""
        self._tell(
            what="act",
            email=email,
            campaign=campaign,
            action=action,
            at=at.isoformat(),
            url=url,
            kind=kind,
            machine=machine,
        )

    def unsubscribe(self, email: str, campaign: str, at: datetime, reason: str = "") -> None:
        self._tell(what="unsubscribe", email=email, campaign=campaign, at=at.isoformat(), reason=reason)

    def change_member(self, email: str, at: datetime, **changes: str) -> None:
        """Set attributes of a subscriber (`status`, `first_name`, `company`, …)."""
        self._tell(what="change", email=email, at=at.isoformat(), changes=changes)

    def erase(self, email: str) -> None:
        """Delete permanently: the member and all she ever did vanish from the reports."""
        self._tell(what="erase", email=email)

    def _tell(self, **happening: Any) -> None:
        with self._lock:
            _happen(self.world, happening)
            self._story[str(len(self._story))] = happening

    # Around every route

    def before(self, request: Request) -> Response | None:
        if request.path == "/oauth2/metadata":
            return None
        if request.path == "/3.0":  # recorded 2016: the bare path redirects, and to plain http
            return Response(_MOVED, 301, {"Location": f"{self.url}/3.0/"}, content_type="text/html; charset=iso-8859-1")
        if self.in_flight > self.max_connections:
            return self.problem(*_TRIGGERS["TooManyRequests"])
        if (trigger := request.headers.get("X-Trigger-Error", "")) in _TRIGGERS:
            return self.problem(*_TRIGGERS[trigger])
        return self._authenticate(request)

    def _authenticate(self, request: Request) -> Response | None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if not credentials:
            return self.problem(*_TRIGGERS["APIKeyMissing"])
        if scheme.lower() == "basic":
            secret = _password(credentials)
        else:
            secret = credentials if scheme.lower() == "bearer" else ""
        if secret not in (self.api_key, self.access_token):
            return self.problem(*_TRIGGERS["APIKeyInvalid"])
        return None

    def after(self, request: Request, response: Response) -> Response:
        response.headers.setdefault("X-Request-Id", self._uuid())
        return response

    def not_found(self, request: Request, error: HTTPException) -> Response:
        if error.code == 405:
            detail = (
                "The requested method and resource are not compatible."
                " See the Allow header for this resource's available methods."
            )
            response = self.problem(405, "Method Not Allowed", detail)
            response.headers["Allow"] = ", ".join(getattr(error, "valid_methods", None) or ())
            return response
        return self.problem(404, "Resource Not Found", "The requested resource could not be found.")

    def problem(self, status: int, title: str, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> Response:
        """application/problem+json, as recorded: `instance` is the request's id."""
        instance = self._uuid()
        body = {"type": _TYPE, "title": title, "status": status, "detail": detail, "instance": instance}
        if errors:
            body["errors"] = list(errors)
        return Response(json.dumps(body), status, {"X-Request-Id": instance}, content_type=_PROBLEM)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    # Routes

    def get_metadata(self, request: Request) -> Response:
        """200 for a bad token too (singer tap-mailchimp): only the missing api_endpoint tells."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "OAuth" or token != self.access_token:
            return Response(json.dumps({"error": "invalid_token"}), 200, content_type=_JSON)
        body = {"dc": "us1", "api_endpoint": self.url, "login_url": self.url, "login": {"login_id": 1}}
        return Response(json.dumps(body), 200, content_type=_JSON)

    @_refusing
    def get_root(self, request: Request) -> Response:
        body = {
            "account_id": "5a1b2c3d4e5f60718293a4b5c",
            "account_name": "Example Co",
            "email": "owner@example.com",
            "username": "example",
            "role": "owner",
            "account_timezone": "Europe/Rome",
            "total_subscribers": self._members_count(),
            "_links": [],
        }
        return self._answered(request, "root", body)

    @_refusing
    def get_ping(self, request: Request) -> Response:
        return self._answered(request, "ping", {"health_status": "Everything's Chimpy!"})

    @_refusing
    def get_lists(self, request: Request) -> Response:
        return self._listing(request, "lists", [self._list()], lambda row: row)

    @_refusing
    def get_list(self, request: Request, list_id: str) -> Response:
        self._require(list_id == LIST_ID)
        return self._answered(request, "list", self._list())

    @_refusing
    def get_members(self, request: Request, list_id: str) -> Response:
        self._require(list_id == LIST_ID)
        _choice(request, "status", "subscribed unsubscribed cleaned pending transactional archived")
        _choice(request, "sort_field", "timestamp_opt timestamp_signup last_changed")
        found = list(self._filtered_members(request))
        if "sort_field" in request.args:
            found.sort(key=_sorting(request.args["sort_field"]), reverse=request.args.get("sort_dir") == "DESC")
        return self._listing(request, "members", found, self._member, list_id=list_id)

    def _filtered_members(self, request: Request) -> Iterator[Subscriber]:
        since, before = _moment(request, "since_last_changed"), _moment(request, "before_last_changed")
        opt_since, opt_before = _moment(request, "since_timestamp_opt"), _moment(request, "before_timestamp_opt")
        left_since = _moment(request, "unsubscribed_since")
        status = request.args.get("status")
        if left_since and status != "unsubscribed":
            raise _invalid("unsubscribed_since", "may only be used with status=unsubscribed")
        for one in self.world.subscribers.values():
            if (
                (status is None or one.status == status)
                and self._is_after(one.changed, since)
                and (before is None or one.changed < before)
                and self._is_after(one.opted_in, opt_since)
                and (opt_before is None or one.opted_in < opt_before)
                and self._is_after(one.changed, left_since)
            ):
                yield one

    @_refusing
    def get_member(self, request: Request, list_id: str, subscriber: str) -> Response:
        return self._answered(request, "member", self._member(self._find(list_id, subscriber)))

    @_refusing
    def delete_permanent(self, request: Request, list_id: str, subscriber: str) -> Response:
        """204; the member's activity vanishes from the reports too (Fivetran docs). Only the hash is accepted."""
        found = self._find(list_id, subscriber)
        self._require(found.hash == subscriber)
        self.erase(found.email)
        return Response(status=204)

    @_refusing
    def get_campaigns(self, request: Request) -> Response:
        _choice(request, "status", "save paused schedule sending sent")
        _choice(request, "sort_field", "create_time send_time")
        since, before = _moment(request, "since_send_time"), _moment(request, "before_send_time")
        found = [c for c in self.world.sent if self._is_after(c.sent, since) and (before is None or c.sent < before)]
        if request.args.get("status", "sent") != "sent" or request.args.get("list_id", LIST_ID) != LIST_ID:
            found = []
        if request.args.get("sort_dir") == "DESC":
            found.reverse()
        return self._listing(request, "campaigns", found, self._campaign)

    @_refusing
    def get_campaign(self, request: Request, campaign_id: str) -> Response:
        return self._answered(request, "campaign", self._campaign(self._sent(campaign_id)))

    @_refusing
    def get_reports(self, request: Request) -> Response:
        since, before = _moment(request, "since_send_time"), _moment(request, "before_send_time")
        known = self.world.campaigns.values() if self.switches.automations_in_reports else self.world.sent
        found = [c for c in known if self._is_after(c.sent, since) and (before is None or c.sent < before)]
        return self._listing(request, "reports", found, self._report)

    @_refusing
    def get_report(self, request: Request, campaign_id: str) -> Response:
        return self._answered(request, "report", self._report(self._sent(campaign_id)))

    @_refusing
    def get_email_activity(self, request: Request, campaign_id: str) -> Response:
        """Pages over recipients, most of them with nothing, by hash: in no order of time."""
        campaign = self._sent(campaign_id)
        if "." in request.args.get("since", ""):  # airbyte issue 37434
            return self.problem(*_TRIGGERS["InternalServerError"])
        since = _moment(request, "since")
        recipients: Sequence[str] = campaign.recipients
        if since and self.switches.hide_idle_recipients:
            recipients = [r for r in recipients if self._acts(campaign, r, since)]
        if self.switches.shuffle_recipients:
            recipients = self.random.sample(recipients, len(recipients))
        return self._listing(
            request,
            "email-activity",
            recipients,
            lambda who: self._activity(campaign, who, since),
            "emails",
            campaign_id=campaign.id,
        )

    @_refusing
    def get_open_details(self, request: Request, campaign_id: str) -> Response:
        campaign, since = self._sent(campaign_id), _moment(request, "since")
        _choice(request, "sort_field", "opens_count")
        openers = [who for who in campaign.openers if since is None or self._opens(campaign, who, since)]
        if "sort_field" in request.args:
            openers.sort(
                key=lambda who: len(self._opens(campaign, who, since)), reverse=request.args.get("sort_dir") == "DESC"
            )
        totals = self._report(campaign)["opens"]
        return self._listing(
            request,
            "open-details",
            openers,
            lambda who: self._opener(campaign, who, since),
            "members",
            campaign_id=campaign.id,
            total_opens=totals["opens_total"],
            total_proxy_excluded_opens=totals["proxy_excluded_opens"],
        )

    @_refusing
    def get_unsubscribed(self, request: Request, campaign_id: str) -> Response:
        campaign = self._sent(campaign_id)
        return self._listing(
            request,
            "unsubscribed",
            list(campaign.left),
            lambda who: self._unsubscribe(campaign, who),
            "unsubscribes",
            campaign_id=campaign.id,
        )

    @_refusing
    def get_automations(self, request: Request) -> Response:
        return self._listing(request, "automations", [self.world.welcome], self._automation)

    @_refusing
    def get_automation_emails(self, request: Request, workflow_id: str) -> Response:
        self._require(workflow_id == self.world.welcome.workflow)
        rows = [self._automation_email(self.world.welcome)]
        return self._answered(request, "emails", {"emails": rows, "total_items": 1, "_links": []})

    # Answers

    def _listing(
        self,
        request: Request,
        shape: str,
        items: Sequence[T],
        render: Callable[[T], dict[str, Any]],
        rows: str | None = None,
        **more: Any,
    ) -> Response:
        count, offset = _window(request)
        body = {
            rows or shape: [render(item) for item in items[offset : offset + count]],
            **more,
            "total_items": len(items),
            "_links": [],
        }
        return self._answered(request, shape, body)

    def _answered(self, request: Request, shape: str, body: dict[str, Any]) -> Response:
        unknown = set(request.args) - _PARAMETERS
        if unknown and self.switches.refuse_unknown_parameters:
            raise _invalid(min(unknown), "is not a parameter")
        return Response(json.dumps(_selected(request, _SHAPES[shape], body)), 200, content_type=_JSON)

    def _require(self, there: bool) -> None:
        if not there:
            raise _RefusedError(404, "Resource Not Found", "The requested resource could not be found.")

    def _find(self, list_id: str, subscriber: str) -> Subscriber:
        """By hash or by plain address."""
        key = subscriber_hash(subscriber) if "@" in subscriber else subscriber
        self._require(list_id == LIST_ID and key in self.world.subscribers)
        return self.world.subscribers[key]

    def _sent(self, campaign_id: str) -> Campaign:
        self._require(campaign_id in self.world.campaigns)
        return self.world.campaigns[campaign_id]

    def _is_after(self, moment: datetime, since: datetime | None) -> bool:
        return since is None or moment > since or (self.switches.since_inclusive and moment == since)

    def _acts(self, campaign: Campaign, who: str, since: datetime | None) -> list[Act]:
        return [act for act in campaign.acts.get(who, ()) if self._is_after(act.at, since)]

    def _opens(self, campaign: Campaign, who: str, since: datetime | None) -> list[Act]:
        return [act for act in self._acts(campaign, who, since) if act.action == "open"]

    def _members_count(self) -> int:
        return sum(one.status == "subscribed" for one in self.world.subscribers.values())

    def _list(self) -> dict[str, Any]:
        return {
            "id": LIST_ID,
            "web_id": 40_001,
            "name": "Newsletter",
            "date_created": _text(self.world.base.replace(year=2020)),
            "double_optin": True,
            "stats": {"member_count": self._members_count()},
            "_links": [],
        }

    def _member(self, one: Subscriber) -> dict[str, Any]:
        return {
            "id": one.hash,
            "email_address": one.email,
            "unique_email_id": one.hash[:10],
            "contact_id": one.hash[::-1],
            "full_name": f"{one.first_name} {one.last_name}",
            "web_id": 100_000 + one.number,
            "email_type": "html",
            "status": one.status,
            **({"unsubscribe_reason": one.reason} if one.reason else {}),
            "consents_to_one_to_one_messaging": True,
            "merge_fields": _merge_fields(one),
            "interests": {},
            "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
            "ip_signup": "198.51.100.7" if one.signed_up else "",
            "timestamp_signup": _text(one.signed_up),
            "ip_opt": "198.51.100.7",
            "timestamp_opt": _text(one.opted_in),
            "member_rating": 2,
            "last_changed": _text(one.changed),
            "language": ("it", "en", "")[one.number % 3],
            "vip": False,
            "email_client": "",
            "location": {
                "latitude": 0,
                "longitude": 0,
                "gmtoff": 0,
                "dstoff": 0,
                "country_code": ("IT", "GB", "")[one.number % 3],
                "timezone": "",
                "region": "",
            },
            "source": one.source,
            "tags_count": 0,
            "tags": [],
            "list_id": LIST_ID,
            "_links": [],
        }

    def _campaign(self, campaign: Campaign) -> dict[str, Any]:
        return {
            "id": campaign.id,
            "web_id": 4_700_000 + campaign.number,
            "type": "regular",
            "create_time": _text(campaign.sent),
            "status": "sent",
            "emails_sent": len(campaign.recipients),
            "send_time": _text(campaign.sent),
            "content_type": "html",
            "recipients": {
                "list_id": LIST_ID,
                "list_is_active": True,
                "list_name": "Newsletter",
                "recipient_count": len(campaign.recipients),
            },
            "settings": {
                "subject_line": campaign.title,
                "title": campaign.title,
                "from_name": "Example Co",
                "reply_to": "news@example.com",
            },
            "report_summary": {"opens": len(campaign.all("open")), "clicks": len(campaign.all("click"))},
            "_links": [],
        }

    def _report(self, campaign: Campaign) -> dict[str, Any]:
        if "report" not in campaign.kept:
            campaign.kept["report"] = self._totalled(campaign)
        report: dict[str, Any] = campaign.kept["report"]
        return report

    def _totalled(self, campaign: Campaign) -> dict[str, Any]:
        opens, clicks, bounces = (campaign.all(action) for action in ("open", "click", "bounce"))
        sent = len(campaign.recipients)
        openers = sum(any(a.action == "open" for a in acts) for acts in campaign.acts.values())
        people = sum(any(a.action == "open" and not a.proxy for a in acts) for acts in campaign.acts.values())
        clickers = sum(any(a.action == "click" for a in acts) for acts in campaign.acts.values())
        return {
            "id": campaign.id,
            "campaign_title": campaign.title,
            "type": "automation-email" if campaign.workflow else "regular",
            "list_id": LIST_ID,
            "list_is_active": True,
            "list_name": "Newsletter",
            "subject_line": campaign.title,
            "preview_text": "",
            "emails_sent": sent,
            "abuse_reports": 0,
            "unsubscribed": len(campaign.left),
            "send_time": _text(campaign.sent),
            "bounces": {
                "hard_bounces": sum(act.kind == "hard" for act in bounces),
                "soft_bounces": sum(act.kind == "soft" for act in bounces),
                "syntax_errors": 0,
            },
            "forwards": {"forwards_count": 0, "forwards_opens": 0},
            "opens": {
                "opens_total": len(opens),
                "proxy_excluded_opens": sum(not act.proxy for act in opens),
                "unique_opens": openers,
                "proxy_excluded_unique_opens": people,
                "open_rate": openers / sent if sent else 0,
                "proxy_excluded_open_rate": people / sent if sent else 0,
                "last_open": _text(newest(opens)),
            },
            "clicks": {
                "clicks_total": len(clicks),
                "unique_clicks": len({(who, a.url) for who, acts in campaign.acts.items() for a in acts if a.url}),
                "unique_subscriber_clicks": clickers,
                "click_rate": clickers / sent if sent else 0,
                "last_click": _text(newest(clicks)),
            },
            "_links": [],
        }

    def _about(self, campaign: Campaign, who: str) -> dict[str, Any]:
        return {
            "campaign_id": campaign.id,
            "list_id": LIST_ID,
            "list_is_active": True,
            "email_id": who,
            "email_address": self.world.subscribers[who].email,
        }

    def _activity(self, campaign: Campaign, who: str, since: datetime | None) -> dict[str, Any]:
        return {
            **self._about(campaign, who),
            "activity": [_activity_item(act) for act in self._acts(campaign, who, since)[::-1]],
            "_links": [],
        }

    def _opener(self, campaign: Campaign, who: str, since: datetime | None) -> dict[str, Any]:
        opens, all_opens = self._opens(campaign, who, since), self._opens(campaign, who, None)
        return {
            **self._about(campaign, who),
            "merge_fields": _merge_fields(self.world.subscribers[who]),
            "vip": False,
            "contact_status": self.world.subscribers[who].status,
            "opens_count": len(all_opens),
            "proxy_excluded_opens_count": sum(not act.proxy for act in all_opens),
            "opens": [{"timestamp": _text(act.at), "is_proxy_open": act.proxy} for act in opens],
            "_links": [],
        }

    def _unsubscribe(self, campaign: Campaign, who: str) -> dict[str, Any]:
        moment, reason = campaign.left[who]
        return {
            **self._about(campaign, who),
            "merge_fields": _merge_fields(self.world.subscribers[who]),
            "vip": False,
            "timestamp": _text(moment),
            "reason": reason,
            "_links": [],
        }

    def _automation(self, email: Campaign) -> dict[str, Any]:
        return {
            "id": email.workflow,
            "create_time": _text(email.sent),
            "start_time": _text(email.sent),
            "status": "sending",
            "emails_sent": len(email.recipients),
            "recipients": {"list_id": LIST_ID},
            "_links": [],
        }

    def _automation_email(self, email: Campaign) -> dict[str, Any]:
        return {
            "id": email.id,
            "workflow_id": email.workflow,
            "position": 1,
            "status": "sending",
            "emails_sent": len(email.recipients),
            "send_time": _text(email.sent),
            "_links": [],
        }


def _happen(world: World, happening: Mapping[str, Any]) -> None:
    """Apply one thing that happened after the seed."""
    who = subscriber_hash(happening["email"])
    if happening["what"] == "erase":
        world.subscribers.pop(who)
        for campaign in world.campaigns.values():
            campaign.forget(who)
        return
    at = datetime.fromisoformat(happening["at"]).astimezone(UTC)
    if happening["what"] == "act":
        act = Act(happening["action"], at, happening["url"], happening["kind"], happening["machine"], "198.51.100.9")
        world.campaigns[happening["campaign"]].add(who, act)
        return
    changes: dict[str, Any] = happening.get("changes", {})
    if happening["what"] == "unsubscribe":
        world.campaigns[happening["campaign"]].leave(who, at, happening["reason"])
        changes = {"status": "unsubscribed", "reason": happening["reason"]}
    world.subscribers[who] = replace(world.subscribers[who], changed=at, **changes)


def _activity_item(act: Act) -> dict[str, Any]:
    more = {"url": act.url} if act.url else {"type": act.kind} if act.kind else {}
    return {"action": act.action, **more, "timestamp": _text(act.at), "ip": act.ip}


def _merge_fields(one: Subscriber) -> dict[str, Any]:
    """An address that was never given is an empty string (recorded traffic)."""
    return {"FNAME": one.first_name, "LNAME": one.last_name, "COMPANY": one.company, "ADDRESS": "", "PHONE": ""}


def _sorting(name: str) -> Callable[[Subscriber], datetime]:
    attribute = {"last_changed": "changed", "timestamp_opt": "opted_in", "timestamp_signup": "opted_in"}[name]
    return attrgetter(attribute)


def _text(moment: datetime | None) -> str:
    """Whole seconds with an offset; an empty string for nothing."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00") if moment else ""


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _invalid(name: str, message: str) -> _RefusedError:
    detail = "The resource submitted could not be validated. For field-specific details, see the 'errors' array."
    return _RefusedError(400, "Invalid Resource", detail, [{"field": name, "message": message}])


def _window(request: Request) -> tuple[int, int]:
    """(count, offset): 10 and 0 unless told, at most 1000."""
    numbers = []
    for name, default, most in (("count", 10, 1000), ("offset", 0, None)):
        text = request.args.get(name, str(default))
        if not text.isdigit() or (most is not None and int(text) > most):
            raise _invalid(name, f"This value should be a number{f' of at most {most}' if most else ''}.")
        numbers.append(int(text))
    return numbers[0], numbers[1]


def _moment(request: Request, name: str) -> datetime | None:
    """An ISO 8601 time; a `+` that was not encoded arrives as a space and is refused."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid(name, "This value is not a valid datetime.") from error
    if " " in text:
        raise _invalid(name, "This value is not a valid datetime.")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _choice(request: Request, name: str, known: str) -> None:
    if name in request.args and request.args[name] not in known.split():
        raise _invalid(name, "The value you selected is not a valid choice.")


def _selected(request: Request, known: frozenset[str], body: dict[str, Any]) -> Any:
    wanted, unwanted = (_asked(request, name, known) for name in ("fields", "exclude_fields"))
    if wanted and unwanted:
        raise _RefusedError(400, "Bad Request", "fields and exclude_fields are mutually exclusive.")
    return _pick(body, wanted) if wanted else _drop(body, unwanted)


_Tree = dict[str, Any]
"""Names → what is asked for below them; an empty tree asks for the whole."""


def _asked(request: Request, name: str, known: frozenset[str]) -> _Tree:
    tree: _Tree = {}
    for path in filter(None, request.args.get(name, "").split(",")):
        if path not in known:
            raise _RefusedError(400, "Bad Request", f"{name}: {path} is not a field of this resource.")
        branch = tree
        for part in path.split("."):
            branch = branch.setdefault(part, {})
    return tree


def _pick(value: Any, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [_pick(item, tree) for item in value] if tree else value
    if not tree or not isinstance(value, dict):
        return value
    return {key: _pick(value[key], below) for key, below in tree.items() if key in value}


def _drop(value: Any, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [_drop(item, tree) for item in value] if tree else value
    if not tree or not isinstance(value, dict):
        return value
    return {key: _drop(item, tree.get(key, {})) for key, item in value.items() if tree.get(key) != {}}
