"""The HTTP face of the simulated account: v3 and the dated families, side by side (vendor sheet §1 and §13)."""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar, Final

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Request, Response

from syncline.sdk import SimulatorOptions
from syncline.testing.simulator import VendorSimulator
from syncline_hubspot.simulator.lists import Lists
from syncline_hubspot.simulator.notices import Notices
from syncline_hubspot.simulator.people import PORTAL_ID, fill
from syncline_hubspot.simulator.portal import PERSON, Portal, RefusedWrite
from syncline_hubspot.simulator.schema import DEFAULTS, OBJECT_IDS, OBJECTS, object_name, rendered
from syncline_hubspot.simulator.search import Search
from syncline_hubspot.simulator.tokens import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    SERVICE_KEY,
    TokenError,
    Tokens,
)

__all__ = ["HubspotSimulator", "Switches"]

_MOST: Final = 100
_HISTORY_MOST: Final = 50
_DATED: Final = '<any("2026-03","2026-09"):version>'
_V1_ENDS: Final = datetime(2027, 2, 16, tzinfo=UTC)


@dataclass
class Switches:
    """What could not be verified about the vendor. The defaults are what the more official source says."""

    latest_answers_200: bool = True
    """Whether 2026-09 answers a mixed batch with 200, as its description lists, or with 207, as the guide says."""
    history_most: int = _HISTORY_MOST
    """Records that a call may carry together with the history of their properties."""
    property_looks: int = 1
    """How often the properties are looked at before a new one can be seen and used."""
    lock_whole_call: bool = False
    """Whether a locked record makes its whole call 423, or only its own input fail."""
    limits: bool | None = None
    """Whether calls are limited in time; None: unless the simulated clock stands still."""
    per_ten_seconds: int = 190
    searches_per_second: int = 5
    daily: int = 625_000
    missing_scopes: tuple[str, ...] = ()
    """Parts of addresses that are refused for want of a scope, such as `lists`."""


class _Refused(Exception):  # noqa: N818  # an answer of the vendor, not an error of ours
    """An answer that is not a success."""

    def __init__(self, status: int, message: str, category: str = "", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"status": "error", "message": message, "correlationId": _trace()}
        self.body |= {"category": category} if category else {}
        self.body |= more


def _both(verbs: str, v3: str, dated: str, method: str) -> list[tuple[str, str, str]]:
    """One operation in both families."""
    return [(verbs, f"/crm/v3/{v3}", method), (verbs, f"/crm/{dated}".replace("VERSION", _DATED), method)]


class HubspotSimulator(VendorSimulator):
    """See `Switches` for what is uncertain; further ones are `portal.lifecycle_refused`, `portal.merge_keeps_winner`,
    `portal.merged_are_archived`, `portal.required`, `search.lag`, `tokens.life`, `tokens.installed`,
    `lists.new_spelling`, `notices.generic`.
    """

    name: ClassVar[str] = "hubspot"
    routes: ClassVar[Sequence[tuple[str, str, str]]] = [
        ("POST", '/oauth/<any("v1","v3","2026-03","2026-09"):version>/token', "token"),
        ("POST", '/oauth/<any("v3","2026-03","2026-09"):version>/token/introspect', "introspect"),
        ("POST", "/oauth/v2/private-apps/get/access-token-info", "token_info"),
        ("GET", "/account-info/v3/details", "account"),
        ("GET", "/account-info/2026-03/details", "account"),
        *_both("POST", "objects/<type>/batch/create", "objects/VERSION/<type>/batch/create", "batch_create"),
        *_both("POST", "objects/<type>/batch/update", "objects/VERSION/<type>/batch/update", "batch_update"),
        *_both("POST", "objects/<type>/batch/upsert", "objects/VERSION/<type>/batch/upsert", "batch_upsert"),
        *_both("POST", "objects/<type>/batch/read", "objects/VERSION/<type>/batch/read", "batch_read"),
        *_both("POST", "objects/<type>/batch/archive", "objects/VERSION/<type>/batch/archive", "batch_archive"),
        *_both("POST", "objects/<type>/search", "objects/VERSION/<type>/search", "find"),
        *_both("POST", "objects/<type>/merge", "objects/VERSION/<type>/merge", "merge_records"),
        *_both("POST", "objects/<type>/gdpr-delete", "objects/VERSION/<type>/gdpr-delete", "erase"),
        *_both("GET POST", "objects/<type>", "objects/VERSION/<type>", "collection"),
        *_both("GET PATCH DELETE", "objects/<type>/<id>", "objects/VERSION/<type>/<id>", "single"),
        ("PUT", "/crm/v4/objects/<type>/<id>/associations/default/<other>/<to>", "associate"),
        ("PUT", f"/crm/objects/{_DATED}/<type>/<id>/associations/default/<other>/<to>", "associate"),
        ("POST", "/crm/v4/associations/<type>/<other>/batch/read", "associations"),
        ("POST", f"/crm/associations/{_DATED}/<type>/<other>/batch/read", "associations"),
        *_both("GET POST", "properties/<type>/groups", "properties/VERSION/<type>/groups", "groups"),
        *_both("GET", "properties/<type>/groups/<group>", "properties/VERSION/<type>/groups/<group>", "group"),
        *_both("POST", "properties/<type>/batch/create", "properties/VERSION/<type>/batch/create", "define_many"),
        *_both("GET POST", "properties/<type>", "properties/VERSION/<type>", "properties"),
        *_both("GET PATCH DELETE", "properties/<type>/<name>", "properties/VERSION/<type>/<name>", "one_property"),
        ("GET", "/crm/v3/schemas/<type>", "schema"),
        ("GET", "/crm-object-schemas/v3/schemas/<type>", "schema"),
        ("GET", "/crm-object-schemas/2026-03/schemas/<type>", "schema"),
        ("POST", "/communication-preferences/v4/statuses/<address>/unsubscribe-all", "unsubscribe"),
        ("POST", f"/communication-preferences/{_DATED}/statuses/<address>/unsubscribe-all", "unsubscribe"),
        *_both("POST", "lists/", "lists/VERSION", "new_list"),
        *_both("POST", "lists/search", "lists/VERSION/search", "find_lists"),
        *_both(
            "GET",
            "lists/object-type-id/<type_id>/name/<path:list_name>",
            "lists/VERSION/object-type-id/<type_id>/name/<path:list_name>",
            "named_list",
        ),
        *_both("GET DELETE", "lists/<list_id>", "lists/VERSION/<list_id>", "one_list"),
        *_both("GET", "lists/<list_id>/memberships", "lists/VERSION/<list_id>/memberships", "members"),
        *_both(
            "PUT", "lists/<list_id>/memberships/<how>", "lists/VERSION/<list_id>/memberships/<how>", "change_members"
        ),
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
        self.portal = Portal(self.table, self.now)
        self.tokens = Tokens(self.table("token"), self.now, lambda: PORTAL_ID)
        self.lists = Lists(self.portal, self.table("list"))
        self.search = Search(self.portal)
        self.notices = Notices(self.table("notice"), self.now, self.random)
        self.portal.changed = self._changed
        self._calls: deque[datetime] = deque()
        self._searches: deque[datetime] = deque()
        self._today = 0

    def _changed(self, object: str, id: str, what: str, details: Mapping[str, Any]) -> None:
        self.search.note(object, id)
        for gone in details.get("mergedObjectIds", ()):
            self.search.note(object, str(gone))
        self.notices.note(object, id, what, details)

    def seed(self) -> None:
        self._open()
        fill(self.portal, self.options.people, self.options.seed, self.now())
        self.notices.forget()

    def start(self) -> None:
        super().start()
        if self._server is not None:
            self._server.RequestHandlerClass = self._handler(self._server.RequestHandlerClass)

    def _handler(self, base: Any) -> Any:
        """The request handler with the simulated time in the Date header, which readers of changes go by."""

        class Handler(base):  # type: ignore[misc]  # the base's own handler is private to it
            def date_time_string(handler, timestamp: float | None = None) -> str:  # noqa: N805  # self is the simulator
                moment = self.portal.server_time().astimezone(UTC).replace(microsecond=0)
                return format_datetime(moment, usegmt=True)

        return Handler

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the app; `key_settings` log in with the service key."""
        login = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
        return self._reached({"login": login})

    @property
    def key_settings(self) -> Mapping[str, Any]:
        return self._reached({"login": {"token": SERVICE_KEY}})

    def _reached(self, login: Mapping[str, Any]) -> Mapping[str, Any]:
        # The limits of this account are switches, so there is nothing to keep a pace for.
        more = {"webhook_secret": CLIENT_SECRET, "calls_per_second": 1000}
        return {"plugin": "hubspot", "base_url": self.url, **login, **more}

    # For tests: what persons do in the CRM

    def rows(self, object: str) -> list[dict[str, Any]]:
        """The living records of an object: their properties."""
        return [dict(r["properties"]) for r in self.portal.tables[object].values() if not r["archived"]]

    def human_edit(self, object: str, id: str, /, **properties: str) -> None:
        """A sales person changes a record; `hs_email_optout="true"`: unsubscribes it from all e-mail."""
        with self._lock:
            if properties.pop("hs_email_optout", "") == "true":
                self.portal.unsubscribe(str((self.portal.row(object, id) or {})["properties"].get("email")), PERSON)
            if properties:
                self.portal.update(object, id, properties, PERSON)
            self._journal.commit()

    def human_create(self, object: str, /, **properties: str) -> str:
        """A sales person adds a record; its id."""
        with self._lock:
            id = str(self.portal.create(object, properties, PERSON)["id"])
            self._journal.commit()
        return id

    def delete_record(self, object: str, id: str) -> None:
        """A sales person deletes a record."""
        with self._lock:
            self.portal.archive(object, id, PERSON)
            self._journal.commit()

    def merge(self, object: str, winner: str, loser: str) -> str:
        """A sales person merges two records; the id they live on as."""
        with self._lock:
            id = str(self.portal.merge(object, winner, loser)["id"])
            self._journal.commit()
        return id

    def change_field(self, object: str, name: str, /, **changes: Any) -> None:
        """Somebody changes a property of the account's own: its `type`, `options`, `read_only`, …, or its `name`."""
        with self._lock:
            self.portal.change_property(object, name, **changes)
            self._journal.commit()

    def remove_field(self, object: str, name: str) -> None:
        """Somebody archives a property."""
        with self._lock:
            self.portal.archive_property(object, name)
            self._journal.commit()

    def members_of(self, name: str) -> set[str]:
        """Who is in the list with this name."""
        return {i for row in self.table("list").values() if row["name"] == name for i in row["members"]}

    # The hooks of the fault language

    def expire_sessions(self) -> None:
        """Every access token ends now."""
        with self._lock:
            self.tokens.expire()

    def too_many(self, retry_after: float | None) -> Response:
        response = self._over("TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.")
        if self._line.endswith("/search"):
            response = self._over("", "You have reached your secondly limit.")
        if retry_after is not None:
            response.headers["Retry-After"] = f"{retry_after:.0f}"
        return response

    def over_quota(self) -> Response:
        return self._over("DAILY", "You have reached your daily limit.")

    def _over(self, policy: str, message: str) -> Response:
        body: dict[str, Any] = {"status": "error", "message": message, "correlationId": _trace()}
        if not policy:  # as recorded of searches
            return _json(body | {"category": "RATE_LIMITS"}, 429)
        return _json(body | {"errorType": "RATE_LIMIT", "policyName": policy, "requestId": _trace()}, 429)

    # Around every request

    def before(self, request: Request) -> Response | None:
        if request.path.startswith("/oauth/"):
            return None
        refused = self.tokens.problem(request.headers.get("Authorization", ""))
        if refused is not None:
            category, message = refused
            body = {"status": "error", "message": message, "correlationId": _trace(), "category": category}
            return _json(body, 401)
        lacking = next((s for s in self.switches.missing_scopes if s in request.path), None)
        if lacking is not None:
            return self._no_scope(lacking)
        return self._limited(request)

    def _no_scope(self, lacking: str) -> Response:
        message = "This app hasn't been granted all required scopes to make this call."
        context = {"requiredGranularScopes": [f"crm.{lacking}.write"]}
        error = {"message": "One or more of the following scopes are required.", "context": context}
        body = {"status": "error", "message": message, "correlationId": _trace(), "category": "MISSING_SCOPES"}
        return _json(body | {"errors": [error]}, 403)

    def _limited(self, request: Request) -> Response | None:
        """The limits of the vendor sheet §3, by the simulated clock."""
        self._today += 1
        if self._today > self.switches.daily:
            return self.over_quota()
        enforced = self._fixed is None if self.switches.limits is None else self.switches.limits
        if not enforced:
            return None
        if request.path.endswith("/search") and not _room(
            self._searches, self.now(), timedelta(seconds=1), self.switches.searches_per_second
        ):
            return self._over("", "You have reached your secondly limit.")
        if not _room(self._calls, self.now(), timedelta(seconds=10), self.switches.per_ten_seconds):
            return self.too_many(None)
        return None

    def after(self, request: Request, response: Response) -> Response:
        response.headers["X-HubSpot-Correlation-Id"] = _trace()
        if request.path.startswith("/oauth/") or request.path.endswith("/search"):
            return response  # searches tell nothing of limits
        response.headers["X-HubSpot-RateLimit-Max"] = str(self.switches.per_ten_seconds)
        response.headers["X-HubSpot-RateLimit-Remaining"] = str(self.switches.per_ten_seconds - len(self._calls))
        response.headers["X-HubSpot-RateLimit-Interval-Milliseconds"] = "10000"
        if not self.tokens.is_oauth(request.headers.get("Authorization", "")):
            response.headers["X-HubSpot-RateLimit-Daily"] = str(self.switches.daily)
            response.headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(max(0, self.switches.daily - self._today))
        return response

    def not_found(self, request: Request, error: HTTPException) -> Response:
        if isinstance(error, MethodNotAllowed):
            return _json({"status": "error", "message": "Method not allowed", "correlationId": _trace()}, 405)
        page = f"<html><head><title>Error 404 Not Found</title></head><body>{request.path}</body></html>"
        return Response(page.encode("latin-1", "replace"), status=404, content_type="text/html;charset=iso-8859-1")

    def _route(self, request: Request) -> Response:
        try:
            return super()._route(request)
        except _Refused as refused:
            return _json(refused.body, refused.status)
        except RefusedWrite as refused:
            return _json(_whole(refused), refused.status)
        except TokenError as refused:
            return _json(refused.body, 400)

    # Log-in and account

    def token(self, request: Request, version: str) -> Response:
        if version == "v1" and self.now() >= _V1_ENDS:
            return self.not_found(request, HTTPException())
        return _json(self.tokens.answer(_form(request), version))

    def introspect(self, request: Request, version: str) -> Response:
        return _json(self.tokens.introspect(_form(request)))

    def token_info(self, request: Request) -> Response:
        if _body(request).get("tokenKey") != SERVICE_KEY:
            raise _Refused(401, "token is not valid", "INVALID_AUTHENTICATION")
        return _json(self.tokens.info())

    def account(self, request: Request) -> Response:
        return _json(
            {
                "portalId": PORTAL_ID,
                "accountType": "STANDARD",
                "timeZone": "Europe/Rome",
                "companyCurrency": "EUR",
                "additionalCurrencies": [],
                "utcOffset": "+02:00",
                "utcOffsetMilliseconds": 7_200_000,
                "uiDomain": "app-eu1.hubspot.com",
                "dataHostingLocation": "eu1",
            }
        )

    # Records

    def collection(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        if request.method == "POST":
            self.count("write_calls")
            body = _body(request)
            row = self._create(object, body.get("properties") or {}, body.get("associations") or [])
            return _json(self._shown(object, row, whole=True), 201)
        return self._listed(request, object)

    def _listed(self, request: Request, object: str) -> Response:
        limit, after = request.args.get("limit", "10"), request.args.get("after", "0")
        history = _names(request, "propertiesWithHistory")
        most = self.switches.history_most if history else _MOST
        if not limit.isdigit() or not 0 < int(limit) <= most:
            raise _Refused(400, f"limit must be between 1 and {most}", "VALIDATION_ERROR")
        if not after.isdigit():
            raise _Refused(400, f"Invalid after: {after}", "VALIDATION_ERROR")
        archived = request.args.get("archived") == "true"
        rows = [
            r for r in self.portal.tables[object].values() if r["archived"] is archived and int(r["id"]) >= int(after)
        ]
        rows.sort(key=lambda row: int(row["id"]))
        page, rest = rows[: int(limit)], rows[int(limit) :]
        answer: dict[str, Any] = {
            "results": [self._shown(object, r, _names(request, "properties"), history) for r in page]
        }
        if rest:
            answer["paging"] = {"next": {"after": rest[0]["id"], "link": f"{request.path}?after={rest[0]['id']}"}}
        return _json(answer)

    def single(self, request: Request, type: str, id: str, version: str = "v3") -> Response:
        object = _object(type)
        found = self._resolved(object, request.args.get("idProperty", "hs_object_id"), id)
        if request.method == "DELETE":
            self.count("write_calls")
            if found is not None:
                self.portal.archive(object, found)
            return Response(status=204)
        if found is None:
            raise _Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        row = self.portal.row(object, found) or {}
        if request.method == "PATCH":
            self.count("write_calls")
            row = self._update(object, found, _body(request).get("properties") or {})
            return _json(self._shown(object, row, whole=True))
        return _json(self._shown(object, row, _names(request, "properties"), _names(request, "propertiesWithHistory")))

    def _resolved(self, object: str, name: str, value: str) -> str | None:
        if name not in self.portal.unique_names(object):
            raise _Refused(400, f"{name} is not a unique property of {object}", "VALIDATION_ERROR")
        return self.portal.find(object, name, value)

    def batch_create(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        self.count("write_calls")

        def create(given: Mapping[str, Any]) -> dict[str, Any]:
            row = self._create(object, given.get("properties") or {}, given.get("associations") or [])
            return self._shown(object, row, whole=True)

        return self._each(version, self._inputs(request), create, status=201)

    def batch_update(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        self.count("write_calls")
        inputs = self._inputs(request, "id")

        def update(given: Mapping[str, Any]) -> dict[str, Any]:
            name = given.get("idProperty") or "hs_object_id"
            found = self._resolved(object, name, str(given["id"])) or str(given["id"])
            row = self._update(object, found, given.get("properties") or {})
            return self._shown(object, row, whole=True)

        return self._each(version, inputs, update)

    def batch_upsert(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        self.count("write_calls")
        inputs = self._inputs(request, "id", "idProperty")
        names = {given["idProperty"] for given in inputs}
        if len(names) > 1:
            raise _Refused(400, "All inputs must use the same idProperty", "VALIDATION_ERROR")
        name = str(names.pop())
        if name not in self.portal.unique_names(object):
            raise _Refused(400, f"{name} is not a unique property of {object}", "VALIDATION_ERROR")

        def upsert(given: Mapping[str, Any]) -> dict[str, Any]:
            row, created = self._upsert(object, name, str(given["id"]), given.get("properties") or {})
            return self._shown(object, row, whole=True) | {"new": created}

        return self._each(version, inputs, upsert, partial=name != "email")

    def batch_read(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        body, inputs = _body(request), self._inputs(request, "id")
        name, history = body.get("idProperty") or "hs_object_id", body.get("propertiesWithHistory") or []
        if history and len(inputs) > self.switches.history_most:
            message = f"At most {self.switches.history_most} inputs together with propertiesWithHistory"
            raise _Refused(400, message, "VALIDATION_ERROR")
        results, missing = [], []
        for given in inputs:
            row = self.portal.row(object, self._resolved(object, name, str(given["id"])) or "")
            if row is None:
                missing.append(str(given["id"]))
            else:
                results.append(self._shown(object, row, body.get("properties") or [], history))
        self._chance_order(results)
        if not missing:
            return _json(self._complete(results))
        error = {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "message": f"Could not get some {object.upper()} objects, they may be deleted or not exist.",
            "context": {"ids": missing},
        }
        return _json(self._complete(results, [error]), 207)

    def batch_archive(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        self.count("write_calls")
        for given in self._inputs(request, "id"):
            if self.portal.row(object, str(given["id"])) is not None:
                self.portal.archive(object, str(given["id"]))
        return Response(status=204)

    def unsubscribe(self, request: Request, address: str, version: str = "v4") -> Response:
        """As documented: for the one channel there is. Whether an unknown address is refused could not be verified."""
        self.count("write_calls")
        if request.args.get("channel") != "EMAIL":
            raise _Refused(400, "channel is required", "VALIDATION_ERROR")
        if "@" not in address:
            raise _Refused(400, f"{address} is not a valid email address", "VALIDATION_ERROR")
        changed = self.portal.unsubscribe(address)
        told = {"subscriberIdString": address, "channel": "EMAIL", "status": "UNSUBSCRIBED", "source": "API"}
        reason = "UNSUBSCRIBE_FROM_ALL_OCCURRED" if changed else "NO_STATUS_CHANGE"
        return _json(self._complete([told | {"setStatusSuccessReason": reason}]))

    def merge_records(self, request: Request, type: str, version: str = "v3") -> Response:
        object, body = _object(type), _body(request)
        self.count("write_calls")
        row = self.portal.merge(object, str(body.get("primaryObjectId")), str(body.get("objectIdToMerge")))
        return _json(self._shown(object, row))

    def erase(self, request: Request, type: str, version: str = "v3") -> Response:
        object, body = _object(type), _body(request)
        self.count("write_calls")
        found = self._resolved(object, body.get("idProperty") or "hs_object_id", str(body.get("objectId")))
        if found is not None:
            self.portal.erase(object, found)
        return Response(status=204)

    def find(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        _must_be_json(request)
        total, rows, after = self.search.answer(object, request.get_data())
        wanted = json.loads(request.get_data()).get("properties") or []
        answer: dict[str, Any] = {"total": total, "results": [self._shown(object, r, wanted) for r in rows]}
        return _json(answer | ({"paging": {"next": {"after": after}}} if after else {}))

    # Batches

    def _inputs(self, request: Request, *needed: str) -> list[dict[str, Any]]:
        inputs = _body(request).get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise _Refused(400, "Invalid input JSON: inputs must not be empty", "VALIDATION_ERROR")
        if len(inputs) > _MOST:
            raise _Refused(400, f"The maximum batch size is {_MOST}, but {len(inputs)} were given", "VALIDATION_ERROR")
        for name in needed:
            if not all(isinstance(given.get(name), str) and given[name] for given in inputs):
                raise _Refused(400, f"Some required fields were not set: [{name}]", "VALIDATION_ERROR")
        ids = [given["id"] for given in inputs] if "id" in needed else []
        if len(set(ids)) < len(ids):
            raise _Refused(400, "Duplicate IDs found in batch input", "VALIDATION_ERROR")
        return inputs

    def _each(
        self,
        version: str,
        inputs: Sequence[Mapping[str, Any]],
        work: Callable[[Mapping[str, Any]], dict[str, Any]],
        *,
        status: int = 200,
        partial: bool = True,
    ) -> Response:
        """Record by record where every input has a trace id of its own; else all or nothing."""
        traces = [given.get("objectWriteTraceId") for given in inputs]
        if len(set(filter(None, traces))) < len(list(filter(None, traces))):
            raise _Refused(400, "objectWriteTraceId must be unique", "VALIDATION_ERROR")
        apart = partial and all(traces)
        results: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        self.portal.begin()
        try:
            for given, trace in zip(inputs, traces, strict=True):
                try:
                    results.append(work(given) | ({"objectWriteTraceId": trace} if trace else {}))
                except RefusedWrite as refused:
                    if not apart:
                        raise
                    errors.append(_apart(refused, str(trace)))
        except (RefusedWrite, _Refused):
            self.portal.end(keep=False)
            raise
        self.portal.end(keep=True)
        self._chance_order(results)
        mixed = 200 if version == "2026-09" and self.switches.latest_answers_200 else 207
        return _json(self._complete(results, errors), mixed if errors else status)

    def _chance_order(self, results: list[dict[str, Any]]) -> None:
        """The order of results is not that of the inputs."""
        self.random.shuffle(results)

    def _complete(self, results: list[dict[str, Any]], errors: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        moment = _printed(self.portal.server_time())
        answer: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": moment, "completedAt": moment}
        return answer | ({"numErrors": len(errors), "errors": list(errors)} if errors else {})

    # Saving, counted, with the trouble that faults want

    def _create(
        self, object: str, properties: Mapping[str, Any], associations: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        self._trouble(object, "", properties)
        row = self.portal.create(object, properties, associations=associations)
        self.count("tasks" if object == "tasks" else "upserts")
        return row

    def _update(self, object: str, id: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        self._trouble(object, id, properties)
        row = self.portal.update(object, id, properties)
        if object != "tasks":
            self.count("upserts")
        return row

    def _upsert(self, object: str, name: str, value: str, properties: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        found = self.portal.find(object, name, value)
        self._trouble(object, found or "", {**properties, name: value})
        row, created = self.portal.upsert(object, name, value, properties)
        if object != "tasks" or created:
            self.count("tasks" if object == "tasks" else "upserts")
        return row, created

    def _trouble(self, object: str, id: str, properties: Mapping[str, Any]) -> None:
        """A record that an account's own rule refuses, or that another call holds. The words are not verified."""
        row = self.portal.row(object, id) if id else None
        held = row["properties"] if row else {}
        unique = [n for n in self.portal.unique_names(object) if n not in ("hs_object_id", "email")]
        keys = [str(source[n]) for n in unique for source in (properties, held) if source.get(n)]
        emails = [str(source["email"]) for source in (properties, held) if source.get("email")]
        trouble = self.trouble_with(id, *keys, *emails)
        if trouble == "lock" and self.switches.lock_whole_call:
            raise _Refused(423, "The record is locked by another operation", "LOCKED")
        if trouble == "lock":
            raise RefusedWrite("LOCKED", "The record is locked by another operation", status=423)
        if trouble == "refuse":
            raise RefusedWrite("VALIDATION_ERROR", "A validation rule of this account refuses the record")

    def _shown(
        self,
        object: str,
        row: Mapping[str, Any],
        wanted: Sequence[str] = (),
        history: Sequence[str] = (),
        *,
        whole: bool = False,
    ) -> dict[str, Any]:
        """A record as it is answered: what was asked for and a small default, or after a write everything set."""
        held: Mapping[str, str] = row["properties"]
        if whole:
            properties: dict[str, str | None] = {n: v for n, v in sorted(held.items()) if v != ""}
        else:
            known = self.portal.definitions(object)
            names = [n for n in (*wanted, *history) if n in known]
            always = (f"{'hs_' if object == 'tasks' else ''}createdate", "hs_object_id", _stamp(object))
            properties = {n: held.get(n) or None for n in sorted({*((names and always) or DEFAULTS[object]), *names})}
        shown: dict[str, Any] = {
            "id": row["id"],
            "properties": properties,
            "createdAt": row["createdAt"],
            "updatedAt": row["updatedAt"],
            "archived": row["archived"],
            "url": f"https://app-eu1.hubspot.com/contacts/{PORTAL_ID}/record/{OBJECT_IDS[object]}/{row['id']}",
        }
        if row["archived"]:
            shown["archivedAt"] = row["archivedAt"]
        if history:
            shown["propertiesWithHistory"] = {n: row["history"][n] for n in history if n in row["history"]}
        return shown

    # Associations

    def associate(self, request: Request, type: str, id: str, other: str, to: str, version: str = "v4") -> Response:
        """The default association, which needs no type id. Only tasks are associated here."""
        object, target = _object(type), _object(other)
        row, reached = self.portal.row(object, id), self.portal.row(target, to)
        if row is None or reached is None:
            raise _Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        kind = {"contacts": 204, "companies": 192, "deals": 216}[target]
        row["associations"].append({"object": target, "id": reached["id"], "typeId": kind})
        self.portal.tables[object].save(row["id"])
        self.count("write_calls")
        result = {"from": {"id": id}, "to": {"id": to}, "associationSpec": {"associationTypeId": kind}}
        return _json(self._complete([result]))

    def associations(self, request: Request, type: str, other: str, version: str = "v4") -> Response:
        object, target = _object(type), _object(other)
        results = []
        for given in _body(request).get("inputs") or []:
            row = self.portal.row(object, str(given["id"]))
            kinds = [
                {
                    "toObjectId": int(a["id"]),
                    "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": a["typeId"], "label": None}],
                }
                for a in (row["associations"] if row else [])
                if a["object"] == target
            ]
            if kinds:
                results.append({"from": {"id": given["id"]}, "to": kinds})
        return _json(self._complete(results))

    # Properties

    def properties(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        if request.method == "GET":
            return _json({"results": self.portal.shown(object)})
        made = self.portal.define(object, _body(request), self.switches.property_looks)
        return _json(made, 201)

    def one_property(self, request: Request, type: str, name: str, version: str = "v3") -> Response:
        object = _object(type)
        if request.method == "PATCH":
            return _json(self.portal.redefine(object, name, _body(request)))
        if request.method == "DELETE":
            self.portal.archive_property(object, name)
            return Response(status=204)
        definition = self.portal.definitions(object).get(name)
        self.portal.age(object)
        if definition is None:
            raise _Refused(404, f"No property exists with the name '{name}'.", "OBJECT_NOT_FOUND")
        return _json(rendered(definition))

    def define_many(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        results, errors = [], []
        for given in self._inputs(request):
            try:
                results.append(self.portal.define(object, given, self.switches.property_looks))
            except RefusedWrite as refused:
                errors.append(_refused_property(refused, given))
        mixed = 200 if version == "2026-09" and self.switches.latest_answers_200 else 207
        return _json(self._complete(results, errors), mixed if errors else 201)

    def groups(self, request: Request, type: str, version: str = "v3") -> Response:
        object = _object(type)
        if request.method == "GET":
            return _json({"results": [_group(n, n) for n in sorted(self.portal.group_names(object))]})
        body = _body(request)
        name, label = body.get("name"), body.get("label")
        if not name or not label:
            raise _Refused(400, "Some required fields were not set: [name, label]", "VALIDATION_ERROR")
        if name in self.portal.group_names(object):
            raise _Refused(409, f"Property group '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
        self.portal.groups[f"{object}.{name}"] = {"object": object, "name": name, "label": label}
        return _json(_group(name, label), 201)

    def group(self, request: Request, type: str, group: str, version: str = "v3") -> Response:
        if group not in self.portal.group_names(_object(type)):
            raise _Refused(404, f"No property group exists with the name '{group}'.", "OBJECT_NOT_FOUND")
        return _json(_group(group, group))

    def schema(self, request: Request, type: str) -> Response:
        object = _object(type)
        return _json(
            {
                "id": OBJECT_IDS[object],
                "name": object,
                "labels": {"singular": object, "plural": object},
                "objectTypeId": OBJECT_IDS[object],
                "requiredProperties": list(self.portal.required) if object == "contacts" else [],
                "fullyQualifiedName": object,
                "archived": False,
                "allowsSensitiveProperties": False,
                "searchableProperties": [],
                "secondaryDisplayProperties": [],
                "properties": [],  # those of the properties' own address; nobody reads them here
                "associations": [],
            }
        )

    # Lists

    def new_list(self, request: Request, version: str = "v3") -> Response:
        return _json({"list": self.lists.create(_body(request))})

    def find_lists(self, request: Request, version: str = "v3") -> Response:
        return _json(self.lists.found(_body(request)))

    def named_list(self, request: Request, type_id: str, list_name: str, version: str = "v3") -> Response:
        return _json({"list": self.lists.named(type_id, list_name)})

    def one_list(self, request: Request, list_id: str, version: str = "v3") -> Response:
        if request.method == "DELETE":
            self.lists.delete(list_id)
            return Response(status=204)
        return _json({"list": self.lists.shown(list_id)})

    def members(self, request: Request, list_id: str, version: str = "v3") -> Response:
        limit = int(request.args.get("limit", "100"))
        if not 0 < limit <= 250:
            raise _Refused(400, "limit must be between 1 and 250", "VALIDATION_ERROR")
        return _json(self.lists.members(list_id, limit, request.args.get("after", "")))

    def change_members(self, request: Request, list_id: str, how: str, version: str = "v3") -> Response:
        body = _parsed(request)
        if how in ("add", "remove"):
            if not isinstance(body, list) or not all(isinstance(i, str) for i in body):
                raise _Refused(400, "Invalid input JSON: expected an array of ids", "VALIDATION_ERROR")
            add, remove = (body, []) if how == "add" else ([], body)
        elif how == "add-and-remove" and isinstance(body, dict):
            add, remove = body.get("recordIdsToAdd") or [], body.get("recordIdsToRemove") or []
        else:
            raise _Refused(400, "Invalid input JSON", "VALIDATION_ERROR")
        self.count("write_calls")
        self._refuse_troubled([*add, *remove])
        changed = self.lists.change(list_id, add, remove)
        self.count("members", sum(len(ids) for key, ids in changed.items() if "Added" in key))
        return _json(changed)

    def _refuse_troubled(self, ids: Sequence[str]) -> None:
        """There is no answer for a single member: trouble with one is trouble with the call."""
        for id in ids:
            row = self.portal.row("contacts", id)
            trouble = self.trouble_with(id, str(row["properties"].get("email") or "") if row else "")
            if trouble == "lock":
                raise _Refused(423, "The list is locked by another operation", "LOCKED")
            if trouble == "refuse":
                raise _Refused(400, f"Record {id} cannot be a member", "VALIDATION_ERROR")


def _room(calls: deque[datetime], now: datetime, window: timedelta, most: int) -> bool:
    """Whether one more fits into a rolling window; counted if it does."""
    while calls and calls[0] <= now - window:
        calls.popleft()
    if len(calls) >= most:
        return False
    calls.append(now)
    return True


def _trace() -> str:
    return str(uuid.uuid4())


def _printed(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _stamp(object: str) -> str:
    return "lastmodifieddate" if object == "contacts" else "hs_lastmodifieddate"


def _object(type: str) -> str:
    name = object_name(type)
    if name is None or name not in OBJECTS:
        raise _Refused(400, f"Unable to infer object type from: {type}")
    return name


def _names(request: Request, argument: str) -> list[str]:
    """Repeated or separated by commas: the vendor's two clients differ."""
    return [n for value in request.args.getlist(argument) for n in value.split(",") if n]


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json;charset=utf-8")


def _must_be_json(request: Request) -> None:
    if request.mimetype != "application/json":
        raise _Refused(415, "Content type of the request is not supported")


def _parsed(request: Request) -> Any:
    _must_be_json(request)
    try:
        return json.loads(request.get_data())
    except ValueError as error:
        raise _Refused(400, f"Invalid input JSON on line 1: {error}", "VALIDATION_ERROR") from error


def _body(request: Request) -> dict[str, Any]:
    body = _parsed(request)
    if not isinstance(body, dict):
        raise _Refused(400, "Invalid input JSON: expected an object", "VALIDATION_ERROR")
    return body


def _form(request: Request) -> dict[str, str]:
    if request.args:
        raise TokenError("BAD_REQUEST", "invalid_request", "parameters belong into the body")
    if request.mimetype != "application/x-www-form-urlencoded":
        raise _Refused(415, "Content type of the request is not supported")
    return {name: str(value) for name, value in request.form.items()}


def _whole(refused: RefusedWrite) -> dict[str, Any]:
    """A refused request, as recorded (amp-labs, err-many-invalid-properties)."""
    body: dict[str, Any] = {"status": "error", "message": refused.message, "correlationId": _trace()}
    if refused.problems:
        body["errors"] = [
            {"message": p["message"], "code": p["error"], "context": {"propertyName": [p["name"]]}}
            for p in refused.problems
        ]
    if refused.context:
        body["context"] = refused.context
    return body | {"category": refused.category}


def _apart(refused: RefusedWrite, trace: str) -> dict[str, Any]:
    """A refused input, as recorded (amp-labs, err-partial-success)."""
    context = {"objectWriteTraceId": [trace], **refused.context}
    return {"status": "error", "category": refused.category, "message": refused.message, "context": context}


def _refused_property(refused: RefusedWrite, given: Mapping[str, Any]) -> dict[str, Any]:
    """As recorded (amp-labs, batch create of properties)."""
    error: dict[str, Any] = {
        "status": "error",
        "category": refused.category,
        "message": refused.message,
        "context": {"name": [given.get("name")]},
    }
    taken = refused.category == "OBJECT_ALREADY_EXISTS"
    return error | ({"subCategory": "Properties.PROPERTY_WITH_NAME_EXISTS"} if taken else {})


def _group(name: str, label: str) -> dict[str, Any]:
    return {"name": name, "label": label, "displayOrder": -1, "archived": False}
