"""Unbounce's API v0.4, simulated: as strict as the vendor sheet and the vendor's own contract (RAML) say.

What nobody could verify is in `Switches`; what the vendor documents is not optional. Bodies of accounts, sub-accounts,
domains, page groups, form fields and users are not in the schemas at hand: they are likely, and nothing rests on them.
"""

from __future__ import annotations

import json
import time
import uuid
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, wraps
from random import Random
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from syncline.sdk import SimulatorOptions, WebhookRequest
from syncline.testing.population import EPOCH
from syncline.testing.simulator import VendorSimulator
from syncline_unbounce.simulator import bodies
from syncline_unbounce.simulator.asked import (
    ACCEPT,
    RefusedError,
    Window,
    allow,
    basic_of,
    found,
    json_body,
    new_lead,
    yes,
)
from syncline_unbounce.simulator.posting import Address, Kind, posted
from syncline_unbounce.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, TokenError, Tokens
from syncline_unbounce.simulator.world import ACCOUNT, SUB_ACCOUNTS, LeadRow, PageRow, World

__all__ = ["Switches", "UnbounceSimulator"]

_Handler = Callable[..., Response]

_DOCUMENTATION: Final = "https://api.unbounce.com/doc"
_PER_MINUTE: Final = 500
_DELETION_TAKES: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Switches:
    """What nobody could verify about Unbounce. Off is our guess."""

    from_inclusive: bool = False
    """`from` also brings what was created at that very moment."""

    count_is_total: bool = False
    """`metadata.count` of leads is how many there are, not how many this answer brings."""

    ignores_from: bool = False
    """`from` and `to` of leads have no effect at all."""

    stats_lag_s: float = 0.0
    """Statistics count a submission so much later."""

    refresh_grace_s: float = 0.0
    """A spent refresh token works on for so long."""

    webhook_ahead_s: float = 0.0
    """By how much the webhook's time is before the lead's."""


def _refusing(handler: _Handler) -> _Handler:
    @wraps(handler)
    def checked(self: UnbounceSimulator, request: Request, **arguments: str) -> Response:
        try:
            return handler(self, request, **arguments)
        except RefusedError as refusal:
            return self.problem(refusal.status, refusal.message)

    return checked


class UnbounceSimulator(VendorSimulator):
    """One Unbounce account. `submit`, `webhook`, `deliveries`, `vanish` and `add_page` make things happen later on."""

    name: ClassVar[str] = "unbounce"
    routes: ClassVar[Sequence[tuple[str, str, str]]] = (
        ("GET", "/oauth/authorize", "get_authorize"),
        ("POST", "/oauth/token", "post_token"),
        ("GET", "/", "get_root"),
        ("GET", "/accounts", "get_accounts"),
        ("GET", "/accounts/<account>", "get_account"),
        ("GET", "/accounts/<account>/sub_accounts", "get_sub_accounts"),
        ("GET", "/accounts/<account>/pages", "get_account_pages"),
        ("GET", "/sub_accounts/<sub_account>", "get_sub_account"),
        ("GET", "/sub_accounts/<sub_account>/domains", "get_domains"),
        ("GET", "/sub_accounts/<sub_account>/page_groups", "get_page_groups"),
        ("GET", "/sub_accounts/<sub_account>/pages", "get_sub_account_pages"),
        ("GET", "/domains/<domain>", "get_domain"),
        ("GET", "/domains/<domain>/pages", "get_domain_pages"),
        ("GET", "/page_groups/<group>/pages", "get_group_pages"),
        ("GET", "/pages", "get_pages"),
        ("GET", "/pages/<page>", "get_page"),
        ("GET", "/pages/<page>/form_fields", "get_form_fields"),
        ("GET", "/pages/<page>/leads", "get_leads"),
        ("POST", "/pages/<page>/leads", "post_lead"),
        ("GET", "/pages/<page>/leads/<lead>", "get_page_lead"),
        ("DELETE", "/pages/<page>/leads/<lead>", "delete_lead"),
        ("POST", "/pages/<page>/lead_deletion_request", "post_deletion"),
        ("GET", "/pages/<page>/lead_deletion_request/<deletion>", "get_deletion"),
        ("GET", "/leads/<lead>", "get_lead"),
        ("GET", "/users/self", "get_user"),
        ("GET", "/users/<user>", "get_user"),
    )

    api_key: Final = "simulated0api0key0of0an0administrator"
    webhook_secret: Final = "simulated-webhook-secret"  # noqa: S105  # of the simulated account
    webhook_url_secret: Final = "simulated-secret-in-the-address"  # noqa: S105  # of the simulated account

    def __init__(self, options: SimulatorOptions | None = None, *, switches: Switches | None = None) -> None:
        super().__init__(options)
        self.switches = switches or Switches(**self.options.faults.get("switches", {}))
        self.visibility_delay = timedelta(seconds=5)
        """How long after its creation a lead can be read."""
        self.rate_clock: Callable[[], float] = time.monotonic
        """What the limit of 500 calls a minute is measured by: the real clock, because the simulated one may stand."""
        self._calls: deque[float] = deque()
        self.tokens = Tokens(self.table("tokens"), self.now, grace=timedelta(seconds=self.switches.refresh_grace_s))

    def seed(self) -> None:
        self.table("base")["base"] = {"at": self.options.clock or EPOCH}

    @property
    def settings(self) -> Mapping[str, Any]:
        return {**self._meaning, "login": {"api_key": self.api_key}}

    @property
    def oauth_settings(self) -> Mapping[str, Any]:
        """The same account, by OAuth."""
        grant = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
        return {**self._meaning, "login": grant}

    @property
    def _meaning(self) -> dict[str, Any]:
        return {
            "plugin": "unbounce",
            "base_url": self.url,
            "webhook_secret": self.webhook_secret,
            "webhook_url_secret": self.webhook_url_secret,
            "forms": {
                "newsletter_signup": ["*/newsletter*"],
                "contact": ["Contact*"],
                "demo_request": ["*/demo*"],
                "trial_signup": ["*/trial*"],
                "other": ["*whitepaper*", "*/webinar/*"],
            },
            "downloads": {"whitepaper": ["*whitepaper*"], "webinar": ["webinar-*"]},
            "asset_fields": ["asset"],
        }

    # What the account holds

    @cached_property
    def world(self) -> World:
        """The seeded pages and leads, and whatever happened since."""
        base = datetime.fromisoformat(self.table("base")["base"]["at"]).astimezone(UTC)
        world = World(self.options.people, self.options.seed, base)
        for happening in self.table("story").values():
            _happen(world, happening)
        return world

    def add_page(self, name: str, path: str, *, at: datetime, sub_account: str = "1552433") -> str:
        """A new page; its id."""
        page = self._uuid()
        self._tell(what="page", id=page, name=name, path=path, at=at.isoformat(), sub_account=sub_account)
        return page

    def submit(
        self,
        page: str,
        data: Mapping[str, str | Sequence[str]],
        *,
        at: datetime,
        variant: str = "a",
        extra_data: Mapping[str, Any] | None = None,
    ) -> str:
        """Somebody submits a form; the id of the lead."""
        lead = self._uuid()
        self._tell(
            what="lead",
            id=lead,
            page=page,
            variant=variant,
            at=at.isoformat(timespec="milliseconds"),
            data={name: [value] if isinstance(value, str) else list(value) for name, value in data.items()},
            extra=dict(extra_data or {}),
        )
        return lead

    def vanish(self, lead: str) -> None:
        """The lead is deleted in the application: it is no longer there, and nothing says so."""
        self._tell(what="gone", id=lead)

    def webhook(self, lead: str, kind: Kind = "form") -> WebhookRequest:
        """The call that the submission of this lead makes, in one of the three content types, a second later."""
        with self._lock:
            row = self.world.lead(lead)
            if row is None:
                raise KeyError(lead)
            page = self.world.pages[row.page]
        to = Address(
            f"https://hooks.example.com/hooks/landing?{urlencode({'secret': self.webhook_url_secret})}",
            {"X-Syncline-Secret": self.webhook_secret},
        )
        submitted = row.created_at - timedelta(seconds=self.switches.webhook_ahead_s)
        request = posted(page, row, kind, to, submitted)
        return WebhookRequest(
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body,
            row.created_at + timedelta(seconds=1),
            request.url,
        )

    def deliveries(self, leads: Iterable[str], kind: Kind = "form", *, twice: float = 0.3) -> list[WebhookRequest]:
        """The calls for these leads as they may arrive: some twice, in no order."""
        chance = Random(self.options.seed)  # noqa: S311  # repeatable on purpose
        calls = [self.webhook(lead, kind) for lead in leads]
        calls += [call for call in calls if chance.random() < twice]
        chance.shuffle(calls)
        return calls

    def _tell(self, **happening: Any) -> None:
        with self._lock:
            _happen(self.world, happening)
            story = self.table("story")
            story[str(len(story))] = happening

    def _uuid(self) -> str:
        with self._lock:
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    # Around every route

    def before(self, request: Request) -> Response | None:
        self._finish_deletions()
        if request.path in ("/", "/oauth/authorize", "/oauth/token"):
            return None
        if self._too_fast():
            return self.too_many(None)
        accept = request.headers.get("Accept", "*/*")
        if accept not in ("*/*", ACCEPT):
            return self.problem(409, f"Version Conflict: {accept} is not offered")
        return self._authenticate(request)

    def _authenticate(self, request: Request) -> Response | None:
        """401 when nothing came, 403 when it is no good or too old."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if not credentials:
            return self.problem(401, "Unauthorized")
        good = self._is_key(request) if scheme.lower() == "basic" else self._is_token(scheme, credentials)
        return None if good else self.problem(403, "Forbidden")

    def _is_key(self, request: Request) -> bool:
        return basic_of(request) == (self.api_key, "")

    def _is_token(self, scheme: str, token: str) -> bool:
        return scheme.lower() == "bearer" and self.tokens.valid(token)

    def _too_fast(self) -> bool:
        now = self.rate_clock()
        while self._calls and self._calls[0] <= now - 60:
            self._calls.popleft()
        if len(self._calls) >= _PER_MINUTE:
            return True
        self._calls.append(now)
        return False

    def not_found(self, request: Request, error: HTTPException) -> Response:
        return self.problem(error.code or 404, error.name)

    def too_many(self, retry_after: float | None) -> Response:
        """429, and no header that says for how long."""
        return self.problem(429, "Too Many Requests")

    def expire_sessions(self) -> None:
        self.tokens.expire()

    def problem(self, status: int, message: str) -> Response:
        """Plain JSON, not problem+json (observed)."""
        body = json.dumps({"message": message, "documentation": _DOCUMENTATION})
        return Response(body, status, content_type="application/json")

    # Logging in

    def get_authorize(self, request: Request) -> Response:
        """The simulated person always says yes."""
        redirect = request.args.get("redirect_uri", "")
        if request.args.get("response_type") != "code" or not redirect:
            return self.problem(400, "Bad Request")
        try:
            code = self.tokens.authorise(request.args.get("client_id", ""), redirect)
        except TokenError as error:
            return self.problem(error.status, error.code)
        back = {"code": code, **({"state": request.args["state"]} if "state" in request.args else {})}
        return Response(status=302, headers={"Location": f"{redirect}?{urlencode(back)}"})

    def post_token(self, request: Request) -> Response:
        try:
            body = self.tokens.answer(request.form.to_dict(), basic_of(request))
        except TokenError as error:
            return Response(json.dumps({"error": error.code}), error.status, content_type="application/json")
        return _json(body)

    # Routes

    def get_root(self, request: Request) -> Response:
        related = {name: bodies.link(f"/{name}") for name in ("accounts", "pages")}
        return _json({"metadata": bodies.metadata("/", related)})

    @_refusing
    def get_accounts(self, request: Request) -> Response:
        allow(request, "sort_order")
        return _json({"accounts": [bodies.account()], "metadata": bodies.metadata("/accounts", count=1)})

    @_refusing
    def get_account(self, request: Request, account: str) -> Response:
        found(account == ACCOUNT)
        return _json(bodies.account())

    @_refusing
    def get_sub_accounts(self, request: Request, account: str) -> Response:
        found(account == ACCOUNT)
        rows = [(self.world.base - timedelta(days=300), bodies.sub_account(id_)) for id_ in SUB_ACCOUNTS]
        return self._collection(request, "sub_accounts", f"/accounts/{account}/sub_accounts", rows)

    @_refusing
    def get_account_pages(self, request: Request, account: str) -> Response:
        found(account == ACCOUNT)
        return self._pages(request, f"/accounts/{account}/pages", self.world.pages.values())

    @_refusing
    def get_sub_account(self, request: Request, sub_account: str) -> Response:
        found(sub_account in SUB_ACCOUNTS)
        return _json(bodies.sub_account(sub_account))

    @_refusing
    def get_domains(self, request: Request, sub_account: str) -> Response:
        found(sub_account in SUB_ACCOUNTS)
        names = sorted({bodies.host_of(page) for page in self.world.pages.values() if page.sub_account == sub_account})
        rows = [(self.world.base - timedelta(days=300), bodies.domain(name)) for name in names]
        return self._collection(request, "domains", f"/sub_accounts/{sub_account}/domains", rows)

    @_refusing
    def get_page_groups(self, request: Request, sub_account: str) -> Response:
        found(sub_account in SUB_ACCOUNTS)
        return self._collection(request, "page_groups", f"/sub_accounts/{sub_account}/page_groups", [])

    @_refusing
    def get_sub_account_pages(self, request: Request, sub_account: str) -> Response:
        found(sub_account in SUB_ACCOUNTS)
        pages = [page for page in self.world.pages.values() if page.sub_account == sub_account]
        return self._pages(request, f"/sub_accounts/{sub_account}/pages", pages)

    @_refusing
    def get_domain(self, request: Request, domain: str) -> Response:
        found(any(bodies.host_of(page) == domain for page in self.world.pages.values()))
        return _json(bodies.domain(domain))

    @_refusing
    def get_domain_pages(self, request: Request, domain: str) -> Response:
        pages = [page for page in self.world.pages.values() if bodies.host_of(page) == domain]
        found(pages)
        return self._pages(request, f"/domains/{domain}/pages", pages)

    @_refusing
    def get_group_pages(self, request: Request, group: str) -> Response:
        raise RefusedError(404, "Not Found")  # nobody grouped anything

    @_refusing
    def get_pages(self, request: Request) -> Response:
        if request.args.get("role", "author") not in ("author", "viewer"):
            raise RefusedError(400, "role: author or viewer")
        return self._pages(request, "/pages", self.world.pages.values(), "role", "with_stats")

    @_refusing
    def get_page(self, request: Request, page: str) -> Response:
        return _json(self._page(self._known(page), stats=True))

    @_refusing
    def get_form_fields(self, request: Request, page: str) -> Response:
        allow(request, "count", "sort_order", "include_sub_pages")
        path, fields = f"/pages/{page}/form_fields", self._known(page).fields
        body: dict[str, Any] = {"metadata": bodies.metadata(path, count=len(fields))}
        if not yes(request, "count"):
            body["form_fields"] = [{"id": name, "name": name.replace("_", " ").capitalize()} for name in fields]
        return _json(body)

    @_refusing
    def get_leads(self, request: Request, page: str) -> Response:
        """Not countable, as the only paged collection (vendor's contract: uncountedPagedCollection)."""
        row = self._known(page)
        seen_until = self.now() - self.visibility_delay
        rows = [(lead.created_at, lead) for lead in row.leads if lead.created_at <= seen_until]
        window = Window(request, self.switches.from_inclusive, blind=self.switches.ignores_from)
        asked, total = window.of(rows)
        count = total if self.switches.count_is_total else len(asked)
        path = f"/pages/{page}/leads"
        metadata = bodies.metadata(path, {"page": bodies.link(f"/pages/{page}")}, count)
        return _json({"leads": [self._lead(lead) for lead in asked], "metadata": metadata})

    @_refusing
    def get_lead(self, request: Request, lead: str) -> Response:
        row = self.world.lead(lead)
        if row is None or row.created_at > self.now() - self.visibility_delay:
            raise RefusedError(404, "Not Found")
        return _json(self._lead(row))

    @_refusing
    def get_page_lead(self, request: Request, page: str, lead: str) -> Response:
        row = self.world.lead(lead)
        found(row is not None and row.page == page)
        return self.get_lead(request, lead=lead)

    @_refusing
    def post_lead(self, request: Request, page: str) -> Response:
        self._known(page)
        form = new_lead(request)
        at = self.now().replace(microsecond=self.now().microsecond // 1000 * 1000)
        data = {name: value if isinstance(value, list) else [str(value)] for name, value in form["form_data"].items()}
        addresses = [value for values in data.values() for value in values if "@" in value]
        trouble = self.trouble_with(page, *addresses)
        if trouble is not None:
            raise RefusedError(422 if trouble == "refuse" else 409, f"the lead is {trouble}ed")
        lead = self.submit(page, data, at=at, variant=form["variant_id"], extra_data={"created_by": "api"})
        self.count("write_calls")
        made = self.world.lead(lead)
        if made is None:
            raise RefusedError(500, "the lead is not there")
        return _json(self._lead(made), 201, {"Location": bodies.link(f"/leads/{lead}")})

    @_refusing
    def delete_lead(self, request: Request, page: str, lead: str) -> Response:
        """Accepted, and done later."""
        self._owner_only(request)
        row = self.world.lead(lead)
        found(row is not None and row.page == page)
        deletion = self._begin_deletion(page, [lead])
        return Response(
            status=202, headers={"Location": bodies.link(f"/pages/{page}/lead_deletion_request/{deletion}")}
        )

    @_refusing
    def post_deletion(self, request: Request, page: str) -> Response:
        self._owner_only(request)
        self._known(page)
        body = json_body(request)
        leads = body.get("lead_ids") if isinstance(body, dict) else None
        if not isinstance(leads, list) or not leads or not all(isinstance(one, str) for one in leads):
            raise RefusedError(422, "lead_ids: a list of texts")
        deletion = self._begin_deletion(page, leads)
        where = bodies.link(f"/pages/{page}/lead_deletion_request/{deletion}")
        return _json(self._deletion(deletion), 201, {"Location": where})

    @_refusing
    def get_deletion(self, request: Request, page: str, deletion: str) -> Response:
        self._owner_only(request)
        row = self.table("deletions").get(deletion)
        found(row is not None and row["page"] == page)
        return _json(self._deletion(deletion))

    @_refusing
    def get_user(self, request: Request, user: str = "self") -> Response:
        if basic_of(request) is not None:
            raise RefusedError(400, "users are not offered to API keys")
        found(user in ("self", "77"))
        who = {"id": "77", "email": "owner@example.com", "first_name": "Paola", "last_name": "Proprietaria"}
        return _json({**who, "metadata": bodies.metadata("/users/77")})

    # Erasure

    def _owner_only(self, request: Request) -> None:
        if basic_of(request) is not None:
            raise RefusedError(403, "Forbidden")

    def _begin_deletion(self, page: str, leads: Sequence[str]) -> str:
        self.count("write_calls")
        deletion = self._uuid()
        row = {"page": page, "leads": list(leads), "at": self.now().isoformat(), "done": None, "deleted": 0}
        self.table("deletions")[deletion] = {**row, "status": "pending"}
        return deletion

    def _finish_deletions(self) -> None:
        """What was asked for long enough ago is done; it has failed when none of the leads was there."""
        for id_, row in self.table("deletions").items():
            if row["status"] != "pending" or datetime.fromisoformat(row["at"]) > self.now() - _DELETION_TAKES:
                continue
            there = [lead for lead in row["leads"] if (one := self.world.lead(lead)) and one.page == row["page"]]
            for lead in there:
                self.vanish(lead)
            done = (datetime.fromisoformat(row["at"]) + _DELETION_TAKES).isoformat()
            row |= {"status": "completed" if there else "failed", "deleted": len(there), "done": done}
            self.table("deletions").save(id_)

    def _deletion(self, deletion: str) -> dict[str, Any]:
        row = self.table("deletions")[deletion]
        return {
            "id": deletion,
            "page_id": row["page"],
            "created_by": "77",
            "created_at": bodies.text_of(datetime.fromisoformat(row["at"])),
            "completed_at": bodies.text_of(datetime.fromisoformat(row["done"])) if row["done"] else None,
            "total_leads_deleted": row["deleted"],
            "status": row["status"],
            "metadata": bodies.metadata(f"/pages/{row['page']}/lead_deletion_request/{deletion}"),
        }

    # Pages and listings

    def _known(self, page: str) -> PageRow:
        row = self.world.pages.get(page)
        if row is None:
            raise RefusedError(404, "Not Found")
        return row

    def _page(self, page: PageRow, *, stats: bool) -> dict[str, Any]:
        seen_until = self.now() - timedelta(seconds=self.switches.stats_lag_s)
        return bodies.page(page, bisect_left(page.submits, seen_until) if stats else None)

    def _lead(self, lead: LeadRow) -> dict[str, Any]:
        return bodies.lead(lead, self.world.pages[lead.page].sub_account)

    def _pages(self, request: Request, path: str, pages: Iterable[PageRow], *more: str) -> Response:
        stats = yes(request, "with_stats")
        rows = [(page.created_at, self._page(page, stats=stats)) for page in pages]
        return self._collection(request, "pages", path, rows, *more)

    def _collection(
        self, request: Request, name: str, path: str, rows: Sequence[tuple[datetime, Any]], *more: str
    ) -> Response:
        asked, total = Window(request, self.switches.from_inclusive, "count", *more).of(sorted(rows, key=_when))
        if yes(request, "count"):
            return _json({"metadata": bodies.metadata(path, count=total)})
        return _json({name: asked, "metadata": bodies.metadata(path, count=len(asked))})


def _when(row: tuple[datetime, Any]) -> datetime:
    return row[0]


def _happen(world: World, happening: Mapping[str, Any]) -> None:
    """What the story tells: a page, a lead, or one that is gone."""
    if happening["what"] == "gone":
        world.remove(happening["id"])
        return
    at = datetime.fromisoformat(happening["at"]).astimezone(UTC)
    if happening["what"] == "page":
        url = f"http://go.example.com{happening['path']}/"
        id_, name, sub_account = happening["id"], happening["name"], happening["sub_account"]
        world.pages[id_] = PageRow(id_, name, url, sub_account, "published", at, at, ("email",))
        return
    lead = happening
    world.add(LeadRow(at, lead["id"], lead["page"], lead["variant"], "192.0.2.77", lead["data"], lead["extra"]))


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, dict(headers or {}), content_type=ACCEPT)
