"""The simulated account itself: who may come in, what is in it, what happens to it, and how every answer looks."""

from __future__ import annotations

import base64
import json
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeVar

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from syncline.sdk import SimulatorOptions
from syncline.testing.population import EPOCH
from syncline.testing.simulator import Table, VendorSimulator
from syncline_mailchimp.simulator.happenings import ATTRIBUTES, happen
from syncline_mailchimp.simulator.problems import TRIGGERS, invalid, not_found, refusing
from syncline_mailchimp.simulator.queries import window
from syncline_mailchimp.simulator.shapes import PARAMETERS, SHAPES, selected
from syncline_mailchimp.simulator.world import LIST_ID, Campaign, Subscriber, World, subscriber_hash

__all__ = ["Account", "Actor", "Received", "Switches"]

T = TypeVar("T")
Actor = Literal["user", "admin", "api"]
"""Who did it: the person herself, somebody in Mailchimp, or a program. Webhooks are chosen by it."""

_TYPE: Final = "https://mailchimp.com/developer/marketing/docs/errors/"
_JSON: Final = "application/json; charset=utf-8"
_PROBLEM: Final = "application/problem+json; charset=utf-8"
_MOVED: Final = "<html><head><title>301 Moved Permanently</title></head><body><h1>Moved Permanently</h1></body></html>"
_OPEN: Final = ("/oauth2/metadata", "/batch-results/")
"""Where nobody asks for the API key."""
_MERGE_FIELDS: Final = (
    ("FNAME", "First Name", "text"),
    ("LNAME", "Last Name", "text"),
    ("COMPANY", "Company", "text"),
    ("ADDRESS", "Address", "address"),
    ("PHONE", "Phone Number", "phone"),
)


class Received(NamedTuple):
    """A request that came in, those inside of batches included."""

    method: str
    path: str
    body: str


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

    hide_archived: bool = False
    """A listing of members leaves out the archived ones unless they are asked for."""

    batch_needs_status: bool = False
    """Batch subscribe refuses a new address without a status; off: it subscribes it."""

    keep_compliance: bool = False
    """Who unsubscribed herself or was cleaned cannot be subscribed by a program; off: she is, if it asks."""

    cut_long_text: bool = False
    """A text of more than 255 characters is cut in silence; off: it is refused."""

    tag_errors_for_members: bool = False
    """Adding somebody to a tag she has is an error of the answer; off: she is in neither list of it."""


class Account(VendorSimulator):
    """What all parts of the simulator stand on; `add_activity`, `unsubscribe` and others make things happen."""

    name: ClassVar[str] = "mailchimp"
    max_connections: int = 10
    stuck: bool = False
    """Every page is the first one, whatever offset is asked for."""

    api_key: Final = "0123456789abcdef0123456789abcdef-us1"
    access_token: Final = "simulated-oauth-token"  # noqa: S105  # made up

    def __init__(self, options: SimulatorOptions | None = None, *, switches: Switches | None = None) -> None:
        super().__init__(options)
        self.switches = switches or Switches(**self.options.faults.get("switches", {}))
        self.received: deque[Received] = deque(maxlen=100_000)
        """What came in, the latest of it; for tests that want to see every request."""

    def seed(self) -> None:
        self.table("base")["base"] = {"at": self.options.clock or EPOCH}
        for number, (tag, name, kind) in enumerate(_MERGE_FIELDS, 1):
            self.merge_fields[tag] = {"merge_id": number, "tag": tag, "name": name, "type": kind, "options": {}}

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
            happen(world, happening)
        return world

    @cached_property
    def _story(self) -> Table:
        """What happened since the seed, in order; with the seed it is the whole state."""
        return self.table("story")

    @cached_property
    def merge_fields(self) -> Table:
        """The audience's merge fields by tag."""
        return self.table("merge_fields")

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
        self.tell(
            "act",
            email,
            "user",
            campaign=campaign,
            action=action,
            at=at.isoformat(),
            url=url,
            kind=kind,
            machine=machine,
        )

    def unsubscribe(
        self, email: str, campaign: str | None, at: datetime, reason: str = "", *, by: Actor = "user"
    ) -> None:
        """Somebody leaves: because of a campaign, or (None) through a form or by an admin's hand."""
        self.tell("unsubscribe", email, by, at=at.isoformat(), campaign=campaign, reason=reason)

    def change_member(self, email: str, at: datetime, *, by: Actor = "admin", **changes: Any) -> None:
        """Set attributes of a subscriber (`status`, `first_name`, `company`, …)."""
        self.tell("change", email, by, at=at.isoformat(), changes=changes)

    def subscribe(self, email: str, at: datetime, *, by: Actor = "user", status: str = "subscribed") -> None:
        """A new member, through a form if she does it herself; or somebody who was here before comes back."""
        self.tell("join", email, by, at=at.isoformat(), by_form=by == "user", status=status)

    def change_fields(self, email: str, at: datetime, fields: Mapping[str, Any], *, by: Actor = "admin") -> None:
        """Set merge fields by their tags."""
        self.tell("merge", email, by, at=at.isoformat(), fields=dict(fields))

    def change_email(self, email: str, new_email: str, at: datetime, *, by: Actor = "user") -> None:
        """The address changes, and with it the hash; the contact id stays."""
        self.tell("rename", email, by, at=at.isoformat(), new_email=new_email)

    def archive(self, email: str, at: datetime, *, by: Actor = "admin") -> None:
        """Delete, as a person in Mailchimp does it: the member stays, archived."""
        self.tell("change", email, by, at=at.isoformat(), changes={"status": "archived"})

    def erase(self, email: str) -> None:
        """Delete permanently: the member and all she ever did vanish from the reports."""
        self.tell("erase", email, "admin")

    def tell(self, what: str, email: str, by: Actor, **details: Any) -> None:
        """Let something happen, and keep it in the story."""
        happening = {"what": what, "email": email, **details}
        with self._lock:
            self.announce(happening, by)
            happen(self.world, happening)
            self._story[str(len(self._story))] = happening

    def announce(self, happening: Mapping[str, Any], by: Actor) -> None:
        """Called before something happens; webhooks come from here."""

    # Around every route

    def before(self, request: Request) -> Response | None:
        if request.path.startswith(_OPEN):
            return None
        self.received.append(Received(request.method, request.path, request.get_data(as_text=True)))
        if request.path == "/3.0":  # recorded 2016: the bare path redirects, and to plain http
            return Response(_MOVED, 301, {"Location": f"{self.url}/3.0/"}, content_type="text/html; charset=iso-8859-1")
        if self.in_flight > self.max_connections:
            return self.problem(*TRIGGERS["TooManyRequests"])
        if (trigger := request.headers.get("X-Trigger-Error", "")) in TRIGGERS:
            return self.problem(*TRIGGERS[trigger])
        return self._authenticate(request)

    def _authenticate(self, request: Request) -> Response | None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if not credentials:
            return self.problem(*TRIGGERS["APIKeyMissing"])
        if scheme.lower() == "basic":
            secret = _password(credentials)
        else:
            secret = credentials if scheme.lower() == "bearer" else ""
        if secret not in (self.api_key, self.access_token):
            return self.problem(*TRIGGERS["APIKeyInvalid"])
        return None

    def too_many(self, retry_after: float | None) -> Response:
        """429 without a Retry-After: Mailchimp never sends one (vendor sheet §2)."""
        return self.problem(*TRIGGERS["TooManyRequests"])

    def over_quota(self) -> Response:
        """There is no daily quota; the CDN throttles with a bare 403 (singer tap, airbyte)."""
        return Response("<html><body><h1>403 Forbidden</h1></body></html>", 403, content_type="text/html")

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
        return self.problem(*not_found().parts)

    def problem(self, status: int, title: str, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> Response:
        """application/problem+json, as recorded: `instance` is the request's id."""
        instance = self._uuid()
        body = {"type": _TYPE, "title": title, "status": status, "detail": detail, "instance": instance}
        if errors:
            body["errors"] = list(errors)
        return Response(json.dumps(body), status, {"X-Request-Id": instance}, content_type=_PROBLEM)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    # Routes of the account

    def get_metadata(self, request: Request) -> Response:
        """200 for a bad token too (singer tap-mailchimp): only the missing api_endpoint tells."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "OAuth" or token != self.access_token:
            return Response(json.dumps({"error": "invalid_token"}), 200, content_type=_JSON)
        body = {"dc": "us1", "api_endpoint": self.url, "login_url": self.url, "login": {"login_id": 1}}
        return Response(json.dumps(body), 200, content_type=_JSON)

    @refusing
    def get_root(self, request: Request) -> Response:
        body = {
            "account_id": "5a1b2c3d4e5f60718293a4b5c",
            "account_name": "Example Co",
            "email": "owner@example.com",
            "username": "example",
            "role": "owner",
            "account_timezone": "Europe/Rome",
            "total_subscribers": self._subscribed(),
            "_links": [],
        }
        return self._answered(request, "root", body)

    @refusing
    def get_ping(self, request: Request) -> Response:
        return self._answered(request, "ping", {"health_status": "Everything's Chimpy!"})

    def _listing(
        self,
        request: Request,
        shape: str,
        items: Sequence[T],
        render: Callable[[T], dict[str, Any]],
        rows: str | None = None,
        **more: Any,
    ) -> Response:
        count, offset = window(request)
        offset = 0 if self.stuck else offset
        body = {
            rows or shape: [render(item) for item in items[offset : offset + count]],
            **more,
            "total_items": len(items),
            "_links": [],
        }
        return self._answered(request, shape, body)

    def _answered(self, request: Request, shape: str, body: dict[str, Any]) -> Response:
        unknown = set(request.args) - PARAMETERS
        if unknown and self.switches.refuse_unknown_parameters:
            raise invalid(min(unknown), "is not a parameter")
        return Response(json.dumps(selected(request, SHAPES[shape], body)), 200, content_type=_JSON)

    def _require(self, there: bool) -> None:
        if not there:
            raise not_found()

    def _find(self, list_id: str, subscriber: str) -> Subscriber:
        """By hash, by plain address or by contact id."""
        key = subscriber_hash(subscriber) if "@" in subscriber else self.world.contacts.get(subscriber, subscriber)
        self._require(list_id == LIST_ID and key in self.world.subscribers)
        return self.world.subscribers[key]

    def _sent(self, campaign_id: str) -> Campaign:
        self._require(campaign_id in self.world.campaigns)
        return self.world.campaigns[campaign_id]

    def _is_after(self, moment: datetime, since: datetime | None) -> bool:
        return since is None or moment > since or (self.switches.since_inclusive and moment == since)

    def _subscribed(self) -> int:
        return sum(one.status == "subscribed" for one in self.world.subscribers.values())

    def _merge_values(self, one: Subscriber) -> dict[str, Any]:
        """Every merge field of the audience; what was never given is an empty string (recorded traffic)."""
        return {
            tag: getattr(one, ATTRIBUTES[tag]) if tag in ATTRIBUTES else one.fields.get(tag, "")
            for tag in self.merge_fields
        }


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
