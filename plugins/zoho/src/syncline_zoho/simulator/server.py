"""The HTTP face of the simulated account: tokens, records, COQL, tags, fields, notifications."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar, Final, Literal

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Request, Response

from syncline.sdk import SimulatorOptions, WebhookRequest
from syncline.testing.simulator import VendorSimulator
from syncline_zoho.simulator import coql
from syncline_zoho.simulator.channels import Channels
from syncline_zoho.simulator.crm import SALES_USER, SYNC_USER, USERS, Crm, RowError
from syncline_zoho.simulator.people import fill
from syncline_zoho.simulator.schema import MODULE_IDS, MODULES, SYSTEM_UNIQUE, describe_field, layout
from syncline_zoho.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Tokens
from syncline_zoho.simulator.wire import (
    RefusedError,
    body_of,
    bound,
    error_answer,
    json_answer,
    moment,
    order_of,
    parameter,
    queried,
    results_answer,
    rows_of,
    saved_item,
    whole,
)

__all__ = ["Switches", "ZohoSimulator"]

_API: Final = "/crm/<version>"
_PATH: Final = re.compile(r"/crm/(v[\d.]+)/(.*)")
_MOST: Final = 100
_PAGE: Final = 200
_WITHOUT_TOKEN: Final = 2_000
_FIELDS: Final = 50
_TRIGGERS: Final = frozenset({"workflow", "approval", "blueprint", "pathfinder", "orchestration"})
_CADENCED: Final = frozenset({"Leads", "Contacts"})
_NO_UPSERT: Final = frozenset({"Tasks", "Calls", "Events", "Notes"})
_TOKEN_LIFE: Final = timedelta(hours=24)
_BIN: Final = timedelta(days=60)
_GRAVES: Final = timedelta(days=120)


@dataclass
class Switches:
    """What nobody could verify about the vendor (sheet §15, and what the documents leave open)."""

    limit_code: Literal["TOO_MANY_REQUESTS", "RATE_LIMIT_EXCEEDED"] = "TOO_MANY_REQUESTS"
    """How a 429 is spelled."""
    not_modified: Literal[304, 204] = 304
    """What a conditional list with nothing new answers."""
    coql_most: int = 200
    """The largest LIMIT: 200 on one page, 2,000 on another."""
    offset_tokens: bool = False
    """A page token is an offset, so that a deletion makes the next page skip a record; else a position."""
    converted_shown: bool = False
    """COQL shows converted leads unasked."""
    timelines: bool = True
    """Timelines may be read; else they are NOT_ALLOWED (a code the SDK lists for them), as in a module without any."""
    timeline_backwards: bool = False
    """A timeline begins with the oldest entry."""
    tags_as_words: bool = False
    """Answers of tag calls name tags as words (one page); else as objects (another page, and the OpenAPI files)."""


class ZohoSimulator(VendorSimulator):
    """`switches` and `crm.rules` hold what could not be verified; tests play sales people with the methods below."""

    name: ClassVar[str] = "zoho"
    routes: ClassVar[Sequence[tuple[str, str, str]]] = [
        ("POST", "/oauth/v2/token", "token"),
        ("POST", "/oauth/v2/token/revoke", "revoke"),
        ("GET", f"{_API}/org", "org"),
        ("GET", f"{_API}/users", "users"),
        ("GET", f"{_API}/settings/modules", "modules"),
        ("GET POST", f"{_API}/settings/fields", "settings_fields"),
        ("GET", f"{_API}/settings/layouts", "layouts"),
        ("GET POST", f"{_API}/settings/tags", "settings_tags"),
        ("GET POST PUT PATCH DELETE", f"{_API}/actions/watch", "watch"),
        ("POST", f"{_API}/coql", "query"),
        ("GET POST PUT DELETE", f"{_API}/<module>", "records"),
        ("POST", f"{_API}/<module>/upsert", "upsert"),
        ("GET", f"{_API}/<module>/deleted", "deleted"),
        ("POST", f"{_API}/<module>/actions/<action>", "tag_action"),
        ("GET PUT DELETE", f"{_API}/<module>/<id>", "record"),
        ("GET", f"{_API}/<module>/<id>/__timeline", "timeline"),
        ("POST", f"{_API}/Leads/<id>/actions/convert", "convert"),
        ("POST", f"{_API}/<module>/<id>/actions/<action>", "one_tag_action"),
    ]

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        self._opened = False
        super().__init__(options)
        self._open()

    def _open(self) -> None:
        """Attach to the tables; `seed` needs them before the base's constructor is through."""
        if self._opened:
            return
        self._opened = True
        self.switches = Switches()
        self.channels = Channels(self.table("channel"), self.now)
        self.crm = Crm(self.table, self.now, self.trouble_with, self.channels.note_change)
        self.tokens = Tokens(self.table("token"), self.now)
        self._org = self.table("org")
        self._page_tokens: dict[str, dict[str, Any]] = {}
        self.page_size = _PAGE
        self.list_cap = 100_000
        self.daily_credits = 100_000
        self.used_credits = 0
        self.concurrency = 20
        self.triggered: list[list[str]] = []
        """What `trigger` said, call by call; everything when it was absent."""
        self.cadences: list[set[str]] = []
        """For which actions the cadences of the module ran, call by call."""

    def seed(self) -> None:
        self._open()
        own = self.options.folder is not None  # an account that outlives the process is one of its own
        zgid = str(secrets.randbelow(10**8) + 7 * 10**8) if own else "712345678"
        self._org["org"] = {
            "id": "5725767000000020005",
            "zgid": zgid,
            "company_name": "Simulated CRM",
            "time_zone": "Europe/Rome",
            "domain_name": "org" + zgid,
            "iso_code": "EUR",
        }
        fill(self.crm, self.options.people, self.options.seed, self.now())
        self.channels.forget()

    def start(self) -> None:
        super().start()
        if self._server is not None:
            self._server.RequestHandlerClass = self._handler(self._server.RequestHandlerClass)

    def _handler(self, base: Any) -> Any:
        """The request handler with the simulated time in the Date header, which readers of changes go by."""

        class Handler(base):  # type: ignore[misc]  # the base's own handler is private to it
            def date_time_string(handler, timestamp: float | None = None) -> str:  # noqa: N805  # self is the simulator
                return format_datetime(self.crm.server_time().astimezone(UTC).replace(microsecond=0), usegmt=True)

        return Handler

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "plugin": "zoho",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN,
            "accounts_url": self.url,
        }

    # For tests: what persons do in the CRM

    def rows(self, module: str) -> list[dict[str, Any]]:
        """The living records of a module, converted leads included."""
        return [dict(row) for row in self.crm.rows(module)]

    def human_edit(self, module: str, id: str, /, **fields: Any) -> None:
        """A sales person changes a record."""
        self._as_person(lambda: self.crm.update(module, id, fields, by=SALES_USER))

    def human_create(self, module: str, /, **fields: Any) -> str:
        """A sales person adds a record; its id."""
        return str(self._as_person(lambda: self.crm.insert(module, fields, by=SALES_USER))["id"])

    def human_tag(self, module: str, id: str, /, *names: str) -> None:
        """A sales person tags a record."""
        self._as_person(lambda: self.crm.add_tags(module, id, names, False, SALES_USER))

    def convert_lead(self, id: str) -> str:
        """A sales person converts a lead; the contact's id."""
        return str(self._as_person(lambda: self.crm.convert(id)))

    def delete_record(self, module: str, id: str, kind: str = "recycle") -> None:
        """A sales person deletes a record; `permanent` empties the bin too."""
        self._as_person(lambda: self.crm.delete(module, id, SALES_USER, kind))

    def merge(self, module: str, survivor: str, gone: str) -> None:
        """A sales person merges two records: the one that goes is listed as deleted, without a word of the other."""

        def work() -> None:
            self.crm.delete(module, gone, SALES_USER)
            self.crm.update(module, survivor, {}, by=SALES_USER)

        self._as_person(work)

    def remove_field(self, module: str, name: str) -> None:
        """An administrator deletes a custom field; its name stays taken."""

        def work() -> None:
            for id, row in list(self.crm.custom.items()):
                if (row["module"], row["api_name"]) == (module, name):
                    self.crm.custom[id] = row | {"module": f"{module} (deleted)"}
            self.crm.forget_fields()

        self._as_person(work)

    def change_field(self, module: str, name: str, **changes: Any) -> None:
        """An administrator changes a custom field."""

        def work() -> None:
            for id, row in list(self.crm.custom.items()):
                if (row["module"], row["api_name"]) == (module, name):
                    self.crm.custom[id] = row | changes
            self.crm.forget_fields()

        self._as_person(work)

    def _as_person(self, work: Callable[[], Any]) -> Any:
        with self._lock:
            result = work()
            self._journal.commit()
        return result

    def expire_sessions(self) -> None:
        """Every access token ends now."""
        with self._lock:
            self.tokens.expire()

    def notices(
        self, *, token: str | None = None, twice: bool = False, backwards: bool = False
    ) -> list[WebhookRequest]:
        """What Zoho sends for the changes since the last time; with another `token`, each `twice`, or `backwards`."""
        with self._lock:
            return self.channels.notices(token=token, twice=twice, backwards=backwards)

    # Around every request

    def before(self, request: Request) -> Response | None:
        match = _PATH.match(request.path)
        if match is None:
            return None
        if match[1] not in ("v2", "v3", "v4", "v5", "v6", "v7", "v8"):
            return error_answer(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")
        if not self.tokens.valid(request.headers.get("Authorization", "")):
            return error_answer(401, "INVALID_TOKEN", "invalid oauth token")
        if self.in_flight > self.concurrency or self.used_credits >= self.daily_credits:
            return self.too_many(None)
        return None

    def too_many(self, retry_after: float | None) -> Response:
        """No Retry-After of its own; one that is asked for stands for what a proxy adds."""
        code = self.switches.limit_code
        response = error_answer(429, code, "Too many requests. Please try again later.")
        if retry_after is not None:
            response.headers["Retry-After"] = f"{retry_after:.0f}"
        return response

    def over_quota(self) -> Response:
        response = self.too_many(None)
        response.headers["X-API-CREDITS-REMAINING"] = "0"
        return response

    def after(self, request: Request, response: Response) -> Response:
        """The credits left are told only when half of them is used."""
        if _PATH.match(request.path) and self.used_credits * 2 >= self.daily_credits:
            response.headers["X-API-CREDITS-REMAINING"] = str(max(0, self.daily_credits - self.used_credits))
        return response

    def _charge(self, credits: int, *, write: bool = False) -> None:
        self.used_credits += credits
        self.count("credits", credits)
        if write:
            self.count("write_credits", credits)
            self.count("write_calls")

    def not_found(self, request: Request, error: HTTPException) -> Response:
        if isinstance(error, MethodNotAllowed):
            return error_answer(400, "INVALID_REQUEST_METHOD", "The http request method type is not a valid one")
        return error_answer(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")

    def _route(self, request: Request) -> Response:
        try:
            return super()._route(request)
        except RefusedError as refused:
            return json_answer(refused.body, refused.status)
        except coql.CoqlError as error:
            return json_answer(
                {"code": error.code, "details": error.details, "message": error.message, "status": "error"}, 400
            )

    # Tokens

    def token(self, request: Request) -> Response:
        form = {**request.args.to_dict(), **request.form.to_dict()}
        body, status = self.tokens.answer(form, self.url)
        return json_answer(body, status)

    def revoke(self, request: Request) -> Response:
        given = {**request.args.to_dict(), **request.form.to_dict()}.get("token")
        if given != REFRESH_TOKEN:
            return json_answer({"status": "failure", "error": "invalid_code"})
        self.tokens.revoke()
        return json_answer({"status": "success"})

    # The account

    def org(self, request: Request, version: str) -> Response:
        self._charge(1)
        return json_answer({"org": [self._org["org"]]})

    def users(self, request: Request, version: str) -> Response:
        self._charge(1)
        wanted = [SYNC_USER] if request.args.get("type") == "CurrentUser" else list(USERS)
        users = [
            {"id": id, "full_name": USERS[id][0], "last_name": USERS[id][0], "email": USERS[id][1], "status": "active"}
            for id in wanted
        ]
        info = {"per_page": 200, "count": len(users), "page": 1, "more_records": False}
        return json_answer({"users": users, "info": info})

    def modules(self, request: Request, version: str) -> Response:
        self._charge(1)
        listed: list[dict[str, Any]] = [
            {
                "api_name": name,
                "id": id,
                "api_supported": True,
                "module_name": name,
                "plural_label": name,
                "singular_label": name[:-1],
                "generated_type": "default",
                "editable": True,
                "creatable": True,
                "deletable": True,
                "viewable": True,
                "convertable": name == "Leads",
                **dict.fromkeys(("global_search_supported", "recycle_bin_on_delete"), True),
                **dict.fromkeys(("public_fields_configured", "has_more_profiles", "sub_menu_available"), False),
                "profile_count": 0,
                "profiles": [],
                "description": None,
                "status": "visible",
                "sequence_number": number,
            }
            for number, (name, id) in enumerate(MODULE_IDS.items(), 1)
        ]
        return json_answer({"modules": listed})

    def settings_fields(self, request: Request, version: str) -> Response:
        module = self._module(parameter(request, "module"))
        self._charge(1)
        if request.method == "GET":
            return json_answer({"fields": [describe_field(f) for f in self.crm.fields(module).values()]})
        wanted = rows_of(body_of(request), "fields", 5)
        results = [self._field(module, row, number) for number, row in enumerate(wanted)]
        return results_answer("fields", results, 201)

    def _field(self, module: str, row: Mapping[str, Any], number: int) -> dict[str, Any]:
        try:
            id = self.crm.create_field(module, row, number)
        except RowError as error:
            return error.item()
        return {"code": "SUCCESS", "details": {"id": id}, "message": "field created", "status": "success"}

    def layouts(self, request: Request, version: str) -> Response:
        module = self._module(parameter(request, "module"))
        self._charge(1)
        return json_answer({"layouts": [layout(self.crm.fields(module))]})

    def settings_tags(self, request: Request, version: str) -> Response:
        module = self._module(parameter(request, "module"))
        self._charge(1)
        if request.method == "GET":
            found = [t for t in self.crm.tags.values() if t["module"] == module]
            tags = [{name: value for name, value in t.items() if name != "module"} for t in found]
            return json_answer({"tags": tags, "info": {"count": len(tags), "allowed_count": 1000}})
        results = [self._new_tag(module, row) for row in rows_of(body_of(request), "tags", 1)]
        return results_answer("tags", results, 201)

    def _new_tag(self, module: str, row: Mapping[str, Any]) -> dict[str, Any]:
        try:
            tag = self.crm.create_tag(module, row.get("name"))
        except RowError as error:
            return error.item()
        return {
            "code": "SUCCESS",
            "details": {"id": tag["id"]},
            "message": "tags created successfully",
            "status": "success",
        }

    # Reading

    def query(self, request: Request, version: str) -> Response:
        body = body_of(request)
        text = body.get("select_query")
        if not isinstance(text, str):
            raise RefusedError(400, "MANDATORY_NOT_FOUND", "required field not found", api_name="select_query")
        query = coql.parse(text, lambda m: self.crm.fields(m) if m in MODULES else None, self.switches.coql_most)
        self._charge(1 if query.limit <= 200 else 2 if query.limit <= 1_000 else 3)
        asked = coql.Query(
            query.module,
            query.fields,
            query.test,
            query.converted or self.switches.converted_shown,
            query.order,
            query.offset,
            query.limit,
        )
        found = coql.select(asked, self.crm.rows(query.module))
        end = query.offset + min(query.limit, self.page_size)
        shown = found[query.offset : end]
        if not shown:
            return Response(status=204)
        names = dict.fromkeys((*query.fields, "id"))
        data = [{name: queried(row.get(name)) for name in names} for row in shown]
        return json_answer({"data": data, "info": {"count": len(data), "more_records": end < len(found)}})

    def records(self, request: Request, version: str, module: str) -> Response:
        self._module(module)
        if request.method == "GET":
            return self._list(request, module)
        if request.method == "DELETE":
            return self._delete_many(request, module)
        return self._write_many(request, module)

    def _list(self, request: Request, module: str) -> Response:
        names = self._fields_asked(request)
        self._charge(1)
        rows = self._matching(request, module)
        per_page = min(whole(request, "per_page", _PAGE), _PAGE, self.page_size)
        start, page = self._start(request, rows, per_page)
        shown = rows[start : start + per_page]
        since = request.headers.get("If-Modified-Since")
        if not shown:
            return Response(status=self.switches.not_modified if since else 204)
        more = start + per_page < len(rows)
        info = {
            "per_page": per_page,
            "count": len(shown),
            "page": page,
            "sort_by": request.args.get("sort_by", "id"),
            "sort_order": request.args.get("sort_order", "desc"),
            "more_records": more,
            "next_page_token": self._page_token(request, start + per_page, shown[-1], page + 1) if more else None,
            "previous_page_token": None,
            "page_token_expiry": (self.now() + _TOKEN_LIFE).isoformat(timespec="seconds") if more else None,
        }
        known = self.crm.fields(module)
        data = [{n: row.get(n) for n in dict.fromkeys((*names, "id")) if n in known or n == "id"} for row in shown]
        return json_answer({"data": data, "info": info})

    def _fields_asked(self, request: Request) -> list[str]:
        if not request.args.get("fields"):
            raise RefusedError(
                400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", param_name="fields"
            )
        names = request.args["fields"].split(",")
        if len(names) > _FIELDS:
            raise RefusedError(400, "LIMIT_EXCEEDED", "Fields limit exceeded", limit=_FIELDS, param_name="fields")
        return names

    def _matching(self, request: Request, module: str) -> list[dict[str, Any]]:
        """All records that a list is about, in its order."""
        by = request.args.get("sort_by", "id")
        if by not in ("id", "Created_Time", "Modified_Time"):
            raise RefusedError(400, "INVALID_DATA", "invalid data", param_name="sort_by")
        rows = list(self.crm.rows(module))
        if request.args.get("ids"):
            if len(request.args["ids"]) > 1024:
                raise RefusedError(400, "INVALID_DATA", "invalid data", param_name="ids", maximum_length=1024)
            wanted = set(request.args["ids"].split(","))
            rows = [r for r in rows if r["id"] in wanted]
        converted = request.args.get("converted", "false")
        if converted not in ("true", "false", "both"):
            raise RefusedError(400, "INVALID_DATA", "invalid data", param_name="converted")
        if converted != "both":
            rows = [r for r in rows if bool(r.get("Converted__s")) is (converted == "true")]
        since = request.headers.get("If-Modified-Since")
        if since:
            limit = moment(since)
            rows = [r for r in rows if datetime.fromisoformat(r["Modified_Time"]) >= limit]
        return sorted(rows, key=order_of(by), reverse=request.args.get("sort_order", "desc") != "asc")

    def _start(self, request: Request, rows: Sequence[Mapping[str, Any]], per_page: int) -> tuple[int, int]:
        """Where a page begins, and its number."""
        token = request.args.get("page_token")
        if token is None:
            page = whole(request, "page", 1)
            if page * per_page > _WITHOUT_TOKEN:
                raise RefusedError(
                    400,
                    "DISCRETE_PAGINATION_LIMIT_EXCEEDED",
                    "You can get only the first 2000 records without using page_token param",
                    param_name="page",
                )
            return (page - 1) * per_page, page
        if "page" in request.args:
            raise RefusedError(400, "AMBIGUITY_DURING_PROCESSING", "page and page_token cannot be used together")
        place = self._page_tokens.get(token)
        if place is None:
            raise RefusedError(400, "INVALID_DATA", "the token given seems to be invalid", param_name="page_token")
        if place["until"] <= self.now():
            raise RefusedError(400, "EXPIRED_VALUE", "the token given has expired", param_name="page_token")
        if place["bound"] != bound(request):
            raise RefusedError(400, "TOKEN_BOUND_DATA_MISMATCH", "the page_token given seems to be invalid")
        if place["offset"] >= self.list_cap:
            raise RefusedError(
                400, "PAGINATION_LIMIT_EXCEEDED", "You can get only the first 100000 records using page_token param"
            )
        if self.switches.offset_tokens:
            return int(place["offset"]), int(place["page"])
        key = order_of(request.args.get("sort_by", "id"))
        ascending = request.args.get("sort_order", "desc") == "asc"
        passed = [r for r in rows if (key(r) <= place["after"] if ascending else key(r) >= place["after"])]
        return len(passed), int(place["page"])

    def _page_token(self, request: Request, offset: int, last: Mapping[str, Any], page: int) -> str:
        token = f"{self.random.getrandbits(160):040x}"
        self._page_tokens[token] = {
            "bound": bound(request),
            "offset": offset,
            "after": order_of(request.args.get("sort_by", "id"))(last),
            "page": page,
            "until": self.now() + _TOKEN_LIFE,
        }
        return token

    def record(self, request: Request, version: str, module: str, id: str) -> Response:
        self._module(module)
        if request.method == "PUT":
            return self._write_many(request, module, id)
        if request.method == "DELETE":
            self._charge(1, write=True)
            return results_answer("data", [self._delete(module, id)], 200)
        self._charge(1)
        row = self.crm.tables[module].get(id)
        # As somebody found with a live account: a converted lead is not there unless it is asked for as one.
        hidden = row is not None and row.get("Converted__s") and request.args.get("converted", "false") == "false"
        return Response(status=204) if row is None or hidden else json_answer({"data": [row]})

    def timeline(self, request: Request, version: str, module: str, id: str) -> Response:
        """What happened to a record, newest first ("Timeline of a record", API v8; its shape as the SDK reads it)."""
        self._module(module)
        self._charge(1)
        if not self.switches.timelines:
            raise RefusedError(400, "NOT_ALLOWED", "the timeline of this module cannot be read")
        if id not in self.crm.tables[module]:
            raise RefusedError(400, "INVALID_DATA", "the related id given seems to be invalid", resource_path_index=1)
        entries = self.crm.history.of(module, self.crm.tables[module][id])
        if self.switches.timeline_backwards:
            entries.reverse()
        page, per_page = whole(request, "page", 1), min(whole(request, "per_page", _PAGE), _PAGE)
        shown = entries[(page - 1) * per_page : page * per_page]
        more = page * per_page < len(entries)
        info = {"per_page": per_page, "count": len(shown), "page": page, "more_records": more, "next_page_token": None}
        return json_answer({"__timeline": shown, "info": info})

    def deleted(self, request: Request, version: str, module: str) -> Response:
        self._module(module)
        kind = request.args.get("type", "all")
        if kind not in ("all", "recycle", "permanent"):
            raise RefusedError(400, "PATTERN_NOT_MATCHED", "Please check whether the input values are correct")
        self._charge(2)
        since = request.headers.get("If-Modified-Since")
        found = [
            {n: g[n] for n in ("deleted_by", "id", "display_name", "type", "created_by", "deleted_time")}
            for g in self.crm.deleted.values()
            if g["module"] == module and kind in ("all", g["type"]) and self._listed(g, since)
        ]
        found.sort(key=lambda g: (g["deleted_time"], g["id"]), reverse=True)
        page, per_page = whole(request, "page", 1), min(whole(request, "per_page", _PAGE), _PAGE, self.page_size)
        shown = found[(page - 1) * per_page : page * per_page]
        if not shown:
            return Response(status=204)
        info = {"per_page": per_page, "count": len(shown), "page": page, "more_records": page * per_page < len(found)}
        return json_answer({"data": shown, "info": info})

    def _listed(self, grave: Mapping[str, Any], since: str | None) -> bool:
        at = datetime.fromisoformat(grave["deleted_time"])
        kept = _BIN if grave["type"] == "recycle" else _GRAVES
        return self.now() - at <= kept and (since is None or at >= moment(since))

    # Writing

    def upsert(self, request: Request, version: str, module: str) -> Response:
        self._module(module)
        if module in _NO_UPSERT:
            raise RefusedError(400, "INVALID_MODULE", "the given module is not supported in api")
        body = body_of(request, {"data", "trigger", "duplicate_check_fields", "skip_feature_execution", "lar_id"})
        rows = rows_of(body, "data", _MOST)
        by = body.get("duplicate_check_fields")
        if by is not None:
            self._check_duplicate_fields(module, by)
        self._written(module, rows, body, {"insert", "update"})
        return results_answer("data", [self._upsert_row(module, row, by, at) for at, row in enumerate(rows)], 200)

    def _check_duplicate_fields(self, module: str, by: Any) -> None:
        known = self.crm.fields(module)
        for number, name in enumerate(by if isinstance(by, list) else [by]):
            unique = name in known and (known[name].unique or SYSTEM_UNIQUE.get(module) == name)
            if not unique:
                path = f"$.duplicate_check_fields[{number}]"
                raise RefusedError(400, "INVALID_DATA", "invalid data", api_name=str(name), json_path=path)

    def _upsert_row(self, module: str, row: Mapping[str, Any], by: list[str] | None, at: int) -> dict[str, Any]:
        try:
            saved, action, found_by = self.crm.upsert(module, row, by, at)
        except RowError as error:
            return error.item()
        self.count("upserts")
        return saved_item(saved, action) | {"duplicate_field": found_by, "action": action}

    def _write_many(self, request: Request, module: str, id: str | None = None) -> Response:
        body = body_of(request, {"data", "trigger", "skip_feature_execution", "apply_feature_execution", "lar_id"})
        rows = rows_of(body, "data", 1 if id else _MOST)
        if id is not None:
            rows = [{**rows[0], "id": id}]
        self._written(module, rows, body, {"insert" if request.method == "POST" else "update"})
        work = self._insert_row if request.method == "POST" else self._update_row
        results = [work(module, row, at) for at, row in enumerate(rows)]
        return results_answer("data", results, 201 if request.method == "POST" else 200)

    def _insert_row(self, module: str, row: Mapping[str, Any], at: int) -> dict[str, Any]:
        try:
            saved = self.crm.insert(module, row, at)
        except RowError as error:
            return error.item()
        self.count("tasks" if module == "Tasks" else "upserts")
        return saved_item(saved, "insert")

    def _update_row(self, module: str, row: Mapping[str, Any], at: int) -> dict[str, Any]:
        if not row.get("id"):
            return RowError(
                "MANDATORY_NOT_FOUND", "required field not found", api_name="id", json_path=f"$.data[{at}].id"
            ).item()
        try:
            saved = self.crm.update(module, str(row["id"]), {n: v for n, v in row.items() if n != "id"}, at)
        except RowError as error:
            return error.item()
        self.count("upserts")
        return saved_item(saved, "update")

    def _written(self, module: str, rows: Sequence[Any], body: Mapping[str, Any], actions: set[str]) -> None:
        """Credits, and what automation was asked for: everything, unless the call says otherwise."""
        if module in _CADENCED:
            self.cadences.append(actions - _skipped(body, actions))
        trigger = body.get("trigger", sorted(_TRIGGERS))
        if not isinstance(trigger, list) or not set(trigger) <= _TRIGGERS:
            raise RefusedError(400, "INVALID_DATA", "invalid data", api_name="trigger", json_path="$.trigger")
        self.triggered.append(trigger)
        self._charge(-(-len(rows) // 10), write=True)

    def _delete_many(self, request: Request, module: str) -> Response:
        ids = [i for i in parameter(request, "ids").split(",") if i]
        if len(ids) > _MOST:
            raise RefusedError(400, "LIMIT_EXCEEDED", "limit exceeded", limit=_MOST)
        self._charge(-(-len(ids) // 10), write=True)
        return results_answer("data", [self._delete(module, id) for id in ids], 200)

    def _delete(self, module: str, id: str) -> dict[str, Any]:
        try:
            self.crm.delete(module, id)
        except RowError as error:
            return error.item()
        return {"code": "SUCCESS", "details": {"id": id}, "message": "record deleted", "status": "success"}

    def convert(self, request: Request, version: str, id: str) -> Response:
        self._charge(5, write=True)
        try:
            contact = self.crm.convert(id, SYNC_USER)
        except RowError as error:
            return results_answer("data", [error.item()], 200)
        details = {"Contacts": {"id": contact}, "Deals": None}
        done = {
            "code": "SUCCESS",
            "details": details,
            "message": "The record has been converted successfully",
            "status": "success",
        }
        return json_answer({"data": [done]})

    # Tags

    def tag_action(self, request: Request, version: str, module: str, action: str) -> Response:
        self._module(module)
        body = body_of(request, {"tags", "ids", "over_write"})
        ids = body.get("ids")
        if not isinstance(ids, list) or not ids:
            raise RefusedError(400, "REQUIRED_PARAM_MISSING", "One of the expected param is missing", param_name="ids")
        return self._tag_many(module, action, [str(id) for id in ids], body)

    def one_tag_action(self, request: Request, version: str, module: str, id: str, action: str) -> Response:
        self._module(module)
        return self._tag_many(module, action, [id], body_of(request, {"tags", "over_write"}))

    def _tag_many(self, module: str, action: str, ids: Sequence[str], body: Mapping[str, Any]) -> Response:
        if action not in ("add_tags", "remove_tags"):
            raise RefusedError(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")
        if len(ids) > _MOST:
            raise RefusedError(400, "LIMIT_EXCEEDED", "limit exceeded", limit=_MOST)
        names = [t.get("name") for t in rows_of(body, "tags", 10)]
        self._charge(-(-len(ids) // 50), write=True)
        results = [self._tag_one(module, action, id, names, bool(body.get("over_write"))) for id in ids]
        good = [r for r in results if r["status"] == "success"]
        response = results_answer("data", results, 200)
        answer = json.loads(response.get_data())
        answer |= {"wf_scheduler": None, "success_count": str(len(good)), "locked_count": "0"}
        return json_answer(answer, response.status_code)

    def _tag_one(self, module: str, action: str, id: str, names: Sequence[Any], over_write: bool) -> dict[str, Any]:
        try:
            if action == "add_tags":
                tags = self.crm.add_tags(module, id, names, over_write, SYNC_USER)
            else:
                tags = self.crm.remove_tags(module, id, names, SYNC_USER)
        except RowError as error:
            return error.item()
        self.count("members")
        shown: list[Any] = list(tags) if self.switches.tags_as_words else [{"name": t} for t in tags]
        return {
            "code": "SUCCESS",
            "details": {"id": id, "tags": shown},
            "message": "tags updated successfully",
            "status": "success",
        }

    # Channels

    def watch(self, request: Request, version: str) -> Response:
        self._charge(1)
        return self.channels.answer(request)

    def _module(self, name: str) -> str:
        if name not in MODULES:
            message = "the module name given seems to be invalid"
            raise RefusedError(400, "INVALID_MODULE", message, resource_path_index=0)
        return name


def _skipped(body: Mapping[str, Any], actions: set[str]) -> set[str]:
    """The actions for which no cadence runs; an upsert has to say which of its two (upsert records, API v8)."""
    found: set[str] = set()
    for number, entry in enumerate(body.get("skip_feature_execution", [])):
        path = f"$.skip_feature_execution[{number}]"
        if not isinstance(entry, dict) or entry.get("name") != "cadences":
            raise RefusedError(400, "INVALID_DATA", "invalid data", api_name="name", json_path=f"{path}.name")
        if len(actions) > 1 and entry.get("action") not in actions:
            raise RefusedError(400, "INVALID_DATA", "invalid data", api_name="action", json_path=f"{path}.action")
        found |= {str(entry["action"])} if "action" in entry else actions
    return found
