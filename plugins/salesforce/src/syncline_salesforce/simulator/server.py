"""The HTTP face of the simulated org: REST, Collections, Tooling, Bulk 2.0 and the token endpoint."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Request, Response

from syncline.sdk import SimulatorOptions
from syncline.testing.simulator import VendorSimulator
from syncline_salesforce.simulator import soql
from syncline_salesforce.simulator.bulk import BulkError, IngestJobs, QueryJobs
from syncline_salesforce.simulator.history import child_relationship
from syncline_salesforce.simulator.org import (
    ASSIGNED_USER,
    AUTOMATED_USER,
    ORG_ID,
    SALES_USER,
    Org,
    SaveError,
    UnknownColumnError,
)
from syncline_salesforce.simulator.people import fill
from syncline_salesforce.simulator.schema import OBJECTS, describe_field, describe_object, long_id
from syncline_salesforce.simulator.tokens import CLIENT_ID, CLIENT_SECRET, TokenError, Tokens

__all__ = ["SalesforceSimulator"]

_DATA: Final = "/services/data/v<version>"
_PATH: Final = re.compile(r"/services/data/v([^/]+)/")
_MOST: Final = 200
_OPEN_CURSORS: Final = 10
"""Of one user; the oldest is released for an eleventh (SOAP API guide, QueryLocator, v36)."""
_REMEMBERED: Final = timedelta(days=15)  # of deletions (vendor sheet §7.2)
_NO_COUNT: Final = frozenset({"PermissionSet", "PermissionSetAssignment", "FieldPermissions"})
_VERSIONS: Final = tuple(f"{n}.0" for n in range(31, 69))


class _RefusedError(Exception):
    """An answer that is not a success: the vendor's status and array of errors."""

    def __init__(self, status: int, code: str, message: str, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.body = [{"message": message, "errorCode": code} | ({"fields": list(fields)} if fields else {})]


class SalesforceSimulator(VendorSimulator):
    """What could not be verified is a switch, off by default:

    - `unknown_column_per_record`: an unknown column refuses its record (HTTP 200) instead of the whole request (400);
    - `live_pages`: later pages of a query show records as they are by then, not as they were when it began;
    - `duplicates_in_request`: two records with one external id in a request both fail; else the second updates;
    - `org.fine_stamps`: SystemModstamp has milliseconds, and no two changes share it;
    - `tokens.rotate`, `tokens.calls_per_session`, `org.block_duplicates`, `ingest.looks`, `ingest.unprocessed`.
    """

    name: ClassVar[str] = "salesforce"
    routes: ClassVar[Sequence[tuple[str, str, str]]] = [
        ("POST", "/services/oauth2/token", "token"),
        ("GET", "/services/data", "versions"),
        ("GET", f"{_DATA}/limits", "limits"),
        ("GET", f"{_DATA}/query", "query"),
        ("GET", f"{_DATA}/queryAll", "query_all"),
        ("GET", f"{_DATA}/query/<locator>", "query_more"),
        ("GET", f"{_DATA}/queryAll/<locator>", "query_more"),
        ("GET", f"{_DATA}/sobjects", "global_describe"),
        ("GET", f"{_DATA}/sobjects/<object>/describe", "describe"),
        ("GET", f"{_DATA}/sobjects/<object>/updated", "updated"),
        ("GET", f"{_DATA}/sobjects/<object>/deleted", "deleted"),
        ("GET", f"{_DATA}/sobjects/<object>", "basic"),
        ("POST", f"{_DATA}/sobjects/<object>", "create_one"),
        ("GET", f"{_DATA}/sobjects/<object>/<id>", "get_one"),
        ("PATCH", f"{_DATA}/sobjects/<object>/<id>", "update_one"),
        ("DELETE", f"{_DATA}/sobjects/<object>/<id>", "delete_one"),
        ("GET", f"{_DATA}/sobjects/<object>/<field>/<path:value>", "get_by_key"),
        ("PATCH", f"{_DATA}/sobjects/<object>/<field>/<path:value>", "upsert_one"),
        ("POST PATCH DELETE", f"{_DATA}/composite/sobjects", "collection"),
        ("PATCH", f"{_DATA}/composite/sobjects/<object>/<field>", "upsert_many"),
        ("POST", f"{_DATA}/tooling/sobjects/CustomField", "custom_field"),
        ("GET POST", f"{_DATA}/jobs/ingest", "ingest"),
        ("GET PATCH DELETE", f"{_DATA}/jobs/ingest/<id>", "ingest_one"),
        ("PUT", f"{_DATA}/jobs/ingest/<id>/batches", "ingest_data"),
        ("GET", f"{_DATA}/jobs/ingest/<id>/<which>", "ingest_results"),
        ("POST", f"{_DATA}/jobs/query", "query_job"),
        ("GET DELETE", f"{_DATA}/jobs/query/<id>", "query_job_one"),
        ("GET", f"{_DATA}/jobs/query/<id>/results", "query_job_results"),
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
        self.org = Org(self.table, self.now)
        self.org.trouble_with = self.trouble_with
        self.tokens = Tokens(self.table("token"), self.now, self._org_id)
        self.ingest_jobs = IngestJobs(self.org, self.table("job"), self.random)
        self.query_jobs = QueryJobs(self.org, self._rows_as_text)
        self.page_size = 2000
        self.daily_calls = 1_000_000
        self.used_calls = 0
        self.unknown_column_per_record = False
        self.duplicates_in_request = False
        self.live_pages = False
        self._pages: dict[str, tuple[soql.Query, list[soql.Row]]] = {}
        self._queries = 0

    def seed(self) -> None:
        self._open()
        fill(self.org, self.options.people, self.options.seed, self.now(), self._new_org_id())

    def _new_org_id(self) -> str:
        """An org that outlives the process is one of its own; one in memory is always the same."""
        if self.options.folder is None:
            return ORG_ID
        return long_id("00D5e" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(10)))

    def _org_id(self) -> str:
        return next(iter(self.org.tables["Organization"]), ORG_ID)

    def start(self) -> None:
        super().start()
        if self._server is not None:
            self._server.RequestHandlerClass = self._handler(self._server.RequestHandlerClass)

    def _handler(self, base: Any) -> Any:
        """The request handler with the simulated time in the Date header, which readers of changes go by."""

        class Handler(base):  # type: ignore[misc]  # the base's own handler is private to it
            def date_time_string(handler, timestamp: float | None = None) -> str:  # noqa: N805  # self is the simulator
                moment = self.org.server_time().astimezone(UTC).replace(microsecond=0)
                return format_datetime(moment, usegmt=True)

        return Handler

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "plugin": "salesforce",
            "login": {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "domain": "simulated"},
            "login_url": self.url,
        }

    def too_many(self, retry_after: float | None) -> Response:
        """Too many long requests at once; the vendor says no time, an edge before it may."""
        answer = _errors(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.")
        if retry_after is not None:
            answer.headers["Retry-After"] = f"{retry_after:.0f}"
        return answer

    def over_quota(self) -> Response:
        return _errors(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    # For tests: what persons do in the CRM

    def human_edit(self, object: str, id: str, /, **fields: Any) -> None:
        """A sales person changes a record."""
        with self._lock:
            self.org.update(object, id, fields, SALES_USER)
            self._journal.commit()

    def human_create(self, object: str, /, **fields: Any) -> str:
        """A sales person adds a record; its id."""
        with self._lock:
            id = self.org.create(object, fields, SALES_USER)
            self._journal.commit()
        return id

    def automation_edit(self, object: str, id: str, /, **fields: Any) -> None:
        """A flow that runs as the Automated Process user changes a record."""
        with self._lock:
            self.org.update(object, id, fields, AUTOMATED_USER)
            self._journal.commit()

    def convert_lead(self, id: str) -> str:
        """A sales person converts a lead; the contact's id."""
        with self._lock:
            contact = self.org.convert(id)
            self._journal.commit()
        return contact

    def delete_record(self, object: str, id: str) -> None:
        """A sales person deletes a record."""
        with self._lock:
            self.org.delete(object, id, SALES_USER)
            self._journal.commit()

    def purge_record(self, object: str, id: str) -> None:
        """A sales person deletes a record and empties the recycle bin."""
        with self._lock:
            self.org.delete(object, id, SALES_USER)
            at = self.org.tables[object][id]["SystemModstamp"]
            del self.org.tables[object][id]
            self.table("purged")[id] = {"object": object, "at": at}
            self._journal.commit()

    def merge(self, object: str, survivor: str, gone: str) -> None:
        """A sales person merges two records."""
        with self._lock:
            self.org.delete(object, gone, SALES_USER, master=survivor)
            self.org.update(object, survivor, {}, SALES_USER)
            self._journal.commit()

    def change_field(self, object: str, name: str, /, **changes: Any) -> None:
        """An administrator changes a custom field: its `type`, `length`, `values`, …, or its `name`."""
        with self._lock:
            self.org.change_field(object, name, **changes)
            self._journal.commit()

    def remove_field(self, object: str, name: str) -> None:
        """An administrator deletes a custom field."""
        with self._lock:
            self.org.remove_field(object, name)
            self._journal.commit()

    def rows(self, object: str) -> list[dict[str, Any]]:
        """The living records of an object."""
        return [dict(r) for r in self.org.tables[object].values() if not r.get("IsDeleted")]

    def expire_sessions(self) -> None:
        """Every session ends now."""
        with self._lock:
            self.tokens.expire()

    def expire_locators(self) -> None:
        """Every open query position is forgotten."""
        with self._lock:
            self._pages.clear()

    # Around every request

    def before(self, request: Request) -> Response | None:
        match = _PATH.match(request.path)
        if match is None:
            return None
        if match[1] not in _VERSIONS:
            old = re.fullmatch(r"(2[1-9]|30)\.0", match[1])
            return _errors(410 if old else 404, "UNSUPPORTED_API_VERSION" if old else "NOT_FOUND", "no such version")
        if not self.tokens.valid(request.headers.get("Authorization", "")):
            return _errors(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self.used_calls += 1
        if self.used_calls > self.daily_calls:
            return self.over_quota()
        return None

    def after(self, request: Request, response: Response) -> Response:
        if _PATH.match(request.path) and response.status_code != 401:
            response.headers["Sforce-Limit-Info"] = f"api-usage={self.used_calls}/{self.daily_calls}"
        return response

    def not_found(self, request: Request, error: HTTPException) -> Response:
        if isinstance(error, MethodNotAllowed):
            return _errors(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed")
        return _errors(404, "NOT_FOUND", "The requested resource does not exist")

    def _route(self, request: Request) -> Response:
        try:
            return super()._route(request)
        except _RefusedError as refused:
            return _json(refused.body, refused.status)
        except BulkError as error:
            return _errors(error.status, error.code, error.message)
        except soql.SoqlError as error:
            return _errors(400, error.code, error.message)

    # Log-in

    def token(self, request: Request) -> Response:
        if request.mimetype != "application/x-www-form-urlencoded":
            return _json({"error": "invalid_request", "error_description": "must be form encoded"}, 400)
        try:
            form = {k: str(v) for k, v in request.form.items()}
            return _json(self.tokens.answer(form, request.headers.get("Authorization", ""), self.url))
        except TokenError as error:
            return _json({"error": error.error, "error_description": error.description}, error.status)

    def versions(self, request: Request) -> Response:
        listed = [{"label": f"API {v}", "url": f"/services/data/v{v}", "version": v} for v in _VERSIONS]
        return _json(listed)

    # Reading

    def limits(self, request: Request, version: str) -> Response:
        calls = {"Max": self.daily_calls, "Remaining": max(0, self.daily_calls - self.used_calls)}
        batches = {"Max": 15000, "Remaining": 15000}
        return _json({"DailyApiRequests": calls, "DailyBulkApiBatches": batches, "DailyBulkV2QueryJobs": batches})

    def query(self, request: Request, version: str) -> Response:
        return self._first_page(request, version, deleted=False)

    def query_all(self, request: Request, version: str) -> Response:
        return self._first_page(request, version, deleted=True)

    def _first_page(self, request: Request, version: str, *, deleted: bool) -> Response:
        if "q" not in request.args:
            raise _RefusedError(400, "MALFORMED_QUERY", "A query string has to be specified")
        if len(request.full_path) > 16_384:
            raise _RefusedError(414, "URI_TOO_LONG", "URI too long")
        query, found = self._find(request.args["q"], deleted)
        if query.count:
            return _json({"totalSize": len(found), "done": True, "records": []})
        self._queries += 1
        locator = f"0r8xx{self._queries:010d}"
        while len(self._pages) >= _OPEN_CURSORS:
            del self._pages[next(iter(self._pages))]
        self._pages[locator] = (query, found)
        return self._page(version, locator, 0, self._batch_size(request))

    def _batch_size(self, request: Request) -> int:
        match = re.search(r"batchSize=(\d+)", request.headers.get("Sforce-Query-Options", ""))
        return min(2000, max(200, int(match[1]))) if match else self.page_size

    def query_more(self, request: Request, version: str, locator: str) -> Response:
        name, _, start = locator.partition("-")
        if name not in self._pages or not start.isdigit():
            raise _RefusedError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(version, name, int(start), self._batch_size(request))

    def _page(self, version: str, locator: str, start: int, size: int) -> Response:
        query, found = self._pages[locator]
        end = start + size
        shown = found[start:end]
        if self.live_pages:
            table = self.org.tables[query.object]
            shown = [table[row["Id"]] for row in shown if start == 0 or not table[row["Id"]].get("IsDeleted")]
        records = [self._record(query, row, version) for row in shown]
        answer: dict[str, Any] = {"totalSize": len(found), "done": end >= len(found)}
        if end < len(found):
            answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{end}"
        else:
            del self._pages[locator]
        return _json(answer | {"records": records})

    def _find(self, text: str, deleted: bool) -> tuple[soql.Query, list[soql.Row]]:
        query = soql.parse(text, self.org.fields)
        rows = self.org.tables[query.object].values()
        return query, soql.select(query, rows if deleted else (r for r in rows if not r.get("IsDeleted")))

    def _rows_as_text(self, text: str, deleted: bool) -> tuple[str, list[str], list[list[str]]]:
        query, found = self._find(text, deleted)
        return (
            query.object,
            list(query.fields),
            [[_cell(self._value(query, row, n)) for n in query.fields] for row in found],
        )

    def _value(self, query: soql.Query, row: soql.Row, name: str) -> Any:
        """A field, or one of a parent: `LastModifiedBy.Name`."""
        parent, _, field = name.rpartition(".")
        if not parent:
            return row.get(name)
        above = self.org.row(query.parents[parent], row.get(f"{parent}Id") or "")
        return None if above is None else above.get(field)

    def _record(self, query: soql.Query, row: soql.Row, version: str) -> dict[str, Any]:
        """As a query shows it: the fields of a parent in an object of their own, or null where there is none."""
        found: dict[str, Any] = {"attributes": _attributes(query.object, row["Id"], version)}
        for name in query.fields:
            parent, _, field = name.rpartition(".")
            if not parent:
                found[name] = row.get(name)
            elif self.org.row(query.parents[parent], row.get(f"{parent}Id") or "") is None:
                found[parent] = None
            else:
                above = {"attributes": _attributes(query.parents[parent], row[f"{parent}Id"], version)}
                found.setdefault(parent, above)[field] = self._value(query, row, name)
        return found

    def global_describe(self, request: Request, version: str) -> Response:
        objects = [describe_object(name, version) for name in OBJECTS if self.org.fields(name) is not None]
        return _json({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects})

    def describe(self, request: Request, version: str, object: str) -> Response:
        fields = [describe_field(d) for d in self._fields(object).values()]
        children = [child_relationship(object)] if self.org.tracks(object) else []
        lists: dict[str, list[Any]] = {"actionOverrides": [], "childRelationships": children, "namedLayoutInfos": []}
        lists |= {"recordTypeInfos": [], "supportedScopes": []}
        texts = {"extendsInterfaces": None, "implementedBy": None, "implementsInterfaces": None, "extendedBy": None}
        rest: dict[str, Any] = {"compactLayoutable": True, "defaultImplementation": None, "listviewable": None}
        rest |= {"lookupLayoutable": None, "networkScopeFieldName": None, "searchLayoutable": True}
        rest |= {"sobjectDescribeOption": "FULL"}
        return _json(describe_object(object, version) | {"fields": fields} | lists | texts | rest)

    def basic(self, request: Request, version: str, object: str) -> Response:
        self._fields(object)
        return _json({"objectDescribe": describe_object(object, version), "recentItems": []})

    def _fields(self, object: str) -> dict[str, Any]:
        fields = self.org.fields(object)
        if fields is None:
            raise _RefusedError(404, "NOT_FOUND", "The requested resource does not exist")
        return dict(fields)

    def updated(self, request: Request, version: str, object: str) -> Response:
        low, high = self._span(request, object)
        rows = self.org.tables[object].values()
        ids = [r["Id"] for r in rows if not r["IsDeleted"] and low <= r["SystemModstamp"] <= high]
        return _json({"ids": ids, "latestDateCovered": high})

    def deleted(self, request: Request, version: str, object: str) -> Response:
        low, high = self._span(request, object)
        earliest = soql.printed_datetime(self.org.server_time() - _REMEMBERED)
        rows = self.org.tables[object].values()
        gone = {r["Id"]: r["SystemModstamp"] for r in rows if r["IsDeleted"]}
        gone |= {id: row["at"] for id, row in self.table("purged").items() if row["object"] == object}
        covered = min(high, soql.printed_datetime(self.org.server_time() - self.org.deletions_late))
        listed = [{"id": id, "deletedDate": at} for id, at in gone.items() if max(low, earliest) <= at <= covered]
        if len(listed) > self.org.most_deleted:
            raise _RefusedError(
                400, "EXCEEDED_ID_LIMIT", f"more than {self.org.most_deleted} ids; choose a shorter span"
            )
        return _json({"deletedRecords": listed, "earliestDateAvailable": earliest, "latestDateCovered": covered})

    def _span(self, request: Request, object: str) -> tuple[str, str]:
        self._fields(object)
        try:
            start, end = (datetime.fromisoformat(request.args[n]) for n in ("start", "end"))
        except (KeyError, ValueError) as error:
            raise _RefusedError(400, "INVALID_REPLICATION_DATE", "start and end are needed") from error
        if (end - start).total_seconds() < 60:
            raise _RefusedError(400, "INVALID_REPLICATION_DATE", "endDate must be at least one minute after startDate")
        return soql.printed_datetime(start), soql.printed_datetime(end)

    # Single records

    def get_one(self, request: Request, version: str, object: str, id: str) -> Response:
        fields = self._fields(object)
        row = self.org.row(object, id)
        if row is None or row.get("IsDeleted"):
            raise _RefusedError(404, "NOT_FOUND", "The requested resource does not exist")
        return _json({"attributes": _attributes(object, row["Id"], version)} | {n: row.get(n) for n in fields})

    def get_by_key(self, request: Request, version: str, object: str, field: str, value: str) -> Response:
        self._check_key(object, field)
        found = unquote(value) if field == "Id" else self.org.find(object, field, value)
        return self.get_one(request, version, object, found or "")

    def create_one(self, request: Request, version: str, object: str) -> Response:
        self._fields(object)
        self._count_write(object)
        id = self._saved(lambda: self._create(object, _body(request), request))
        return _json({"id": id, "success": True, "errors": []}, 201)

    def update_one(self, request: Request, version: str, object: str, id: str) -> Response:
        self._count_write(object)
        self._exists(object, id)
        self._saved(lambda: self._update(object, id, _body(request), request))
        return Response(status=204)

    def delete_one(self, request: Request, version: str, object: str, id: str) -> Response:
        self._count_write(object)
        self._exists(object, id)
        self._saved(lambda: self.org.delete(object, id), 404)
        return Response(status=204)

    def _exists(self, object: str, id: str) -> None:
        self._fields(object)
        if self.org.row(object, id) is None:
            raise _RefusedError(404, "NOT_FOUND", "The requested resource does not exist")

    def upsert_one(self, request: Request, version: str, object: str, field: str, value: str) -> Response:
        self._count_write(object)
        self._check_key(object, field)
        body = _body(request)
        if field in body or "Id" in body:
            raise _RefusedError(400, "INVALID_FIELD", f"The {field} field should not be specified in the sobject data.")
        several = self.org.find_all(object, field, value) if field != "Id" else []
        if len(several) > 1:
            return _json([_attributes(object, id, version)["url"] for id in several], 300)
        if request.args.get("updateOnly") == "true" and field != "Id" and self.org.find(object, field, value) is None:
            raise _RefusedError(404, "NOT_FOUND", "The requested resource does not exist")
        id, created = self._saved(lambda: self._upsert(object, field, value, body, request))
        return _json({"id": id, "success": True, "errors": [], "created": created}, 201 if created else 200)

    def _check_key(self, object: str, field: str) -> None:
        known = self._fields(object).get(field)
        if known is None or not (known.external_id or field == "Id"):
            message = f"Provided external ID field does not exist or is not accessible: {field}"
            raise _RefusedError(404, "NOT_FOUND", message)

    def _saved(self, work: Callable[[], Any], status: int = 400) -> Any:
        try:
            return work()
        except SaveError as error:
            gone = error.code in ("ENTITY_IS_DELETED",)
            raise _RefusedError(404 if gone else status, error.code, error.message, error.fields) from error

    # Collections

    def collection(self, request: Request, version: str) -> Response:
        if request.method == "DELETE":
            return self._delete_many(request)
        body, records = _records(request)
        for record in records:
            if not isinstance(record.get("attributes"), dict) or record["attributes"].get("type") not in OBJECTS:
                message = "Include an attributes object with a type in each record"
                raise _RefusedError(400, "INVALID_INPUT", message)
        self._count_write(str(records[0]["attributes"]["type"]))
        work = self._create_record if request.method == "POST" else self._update_record
        return self._each(body, [lambda r=r: work(r, request) for r in records])  # type: ignore[misc]  # as above

    def _create_record(self, record: Mapping[str, Any], request: Request) -> dict[str, Any]:
        values = {k: v for k, v in record.items() if k != "attributes"}
        if _id_of(values) is not None:
            raise SaveError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", "Id")
        id = self._create(record["attributes"]["type"], values, request)
        return {"id": id, "success": True, "errors": []}

    def _update_record(self, record: Mapping[str, Any], request: Request) -> dict[str, Any]:
        values = {k: v for k, v in record.items() if k not in ("attributes", "id", "Id")}
        id = _id_of(record)
        if id is None:
            raise SaveError("MISSING_ARGUMENT", "Id not specified in an update call")
        self._update(record["attributes"]["type"], str(id), values, request)
        return {"id": self.org.row(record["attributes"]["type"], str(id))["Id"], "success": True, "errors": []}  # type: ignore[index]

    def upsert_many(self, request: Request, version: str, object: str, field: str) -> Response:
        self._check_key(object, field)
        body, records = _records(request)
        self._count_write(object)
        keys = [str(r.get(field)).casefold() for r in records]
        doubled = {k for k in keys if keys.count(k) > 1 and k != "none"} if self.duplicates_in_request else set()
        return self._each(
            body,
            [lambda r=r: self._upsert_record(object, field, r, doubled, request) for r in records],  # type: ignore[misc]
            created=True,
        )

    def _upsert_record(
        self, object: str, field: str, record: Mapping[str, Any], doubled: set[str], request: Request
    ) -> dict[str, Any]:
        if not isinstance(record.get("attributes"), dict):
            # As recorded: the record fails, not the request (nango upsert-sobject-collection, 2026-05).
            raise SaveError(
                "JSON_PARSER_ERROR",
                "Nested object for polymorphic foreign key must have an attributes field before any other fields.",
            )
        values = {k: v for k, v in record.items() if k not in ("attributes", field)}
        if field != "Id" and _id_of(values) is not None:
            raise SaveError("INVALID_FIELD", "Cannot specify both an external ID reference and a salesforce id", "Id")
        if str(record.get(field)).casefold() in doubled:
            raise SaveError("DUPLICATE_VALUE", f"Duplicate external id specified: {record[field]}", field)
        if field != "Id" and record.get(field) in (None, ""):
            raise SaveError("MISSING_ARGUMENT", f"{field} not specified", field)
        id, created = self._upsert(object, field, record.get(field), values, request)
        return {"id": id, "success": True, "errors": [], "created": created}

    def _delete_many(self, request: Request) -> Response:
        ids = [i for i in request.args.get("ids", "").split(",") if i]
        if not ids or len(ids) > _MOST:
            raise _RefusedError(400, "EXCEEDED_ID_LIMIT", f"between 1 and {_MOST} ids are needed")
        self._count_write("")
        body = {"allOrNone": request.args.get("allOrNone") == "true"}
        return self._each(body, [lambda i=i: self._delete_record(i) for i in ids])  # type: ignore[misc]  # as above

    def _delete_record(self, id: str) -> dict[str, Any]:
        object = next((name for name in OBJECTS if self.org.row(name, id) is not None), None)
        if object is None:
            raise SaveError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        self.org.delete(object, id)
        return {"id": id, "success": True, "errors": []}

    def _each(
        self, body: Mapping[str, Any], steps: Sequence[Callable[[], dict[str, Any]]], *, created: bool = False
    ) -> Response:
        """One result per step, in order. With allOrNone one failure takes everything back."""
        self.org.begin()
        results, failed = [], False
        try:
            for step in steps:
                try:
                    results.append(step())
                except SaveError as error:
                    self._refuse_request(error)
                    failed = True
                    results.append(_failure(error, created))
        except _RefusedError:
            self.org.end(keep=False)
            raise
        undone = failed and bool(body.get("allOrNone"))
        self.org.end(keep=not undone)
        return _json([_rolled_back(r) for r in results] if undone else results)

    def _refuse_request(self, error: SaveError) -> None:
        if isinstance(error, UnknownColumnError) and not self.unknown_column_per_record:
            raise _RefusedError(400, error.code, error.message) from error

    # Saving, counted

    def _create(self, object: str, values: Mapping[str, Any], request: Request) -> str:
        allow = "allowsave=true" in request.headers.get("Sforce-Duplicate-Rule-Header", "").replace(" ", "").lower()
        id = self.org.create(object, values, allow_duplicates=allow)
        self._assign(object, id, values, request)
        self._count_saved(object, created=True)
        return id

    def _assign(self, object: str, id: str, values: Mapping[str, Any], request: Request) -> None:
        """The active assignment rule gives new and changed leads to sales, unless the header says not to.

        It is also asked when another record is written: a flow here marks the lead or contact of a task as its own.
        """
        if request.headers.get("Sforce-Auto-Assign", "TRUE").upper() == "FALSE":
            return
        row = self.org.row(object, id) or {}
        lead = row["Id"] if object == "Lead" else row.get("LeadId") or row.get("WhoId")
        if lead and lead in self.org.tables["Lead"] and "OwnerId" not in values:
            self.org.tables["Lead"][lead]["OwnerId"] = ASSIGNED_USER

    def _update(self, object: str, id: str, values: Mapping[str, Any], request: Request) -> None:
        self.org.update(object, id, values)
        self._assign(object, id, values, request)
        self._count_saved(object, created=False)

    def _upsert(
        self, object: str, field: str, value: Any, values: Mapping[str, Any], request: Request
    ) -> tuple[str, bool]:
        found = value if field == "Id" else self.org.find_one(object, field, value)
        if found is None:
            extra = {} if field == "Id" else {field: value}
            return self._create(object, {**values, **extra}, request), True
        self._update(object, str(found), values, request)
        return str(self.org.row(object, str(found))["Id"]), False  # type: ignore[index]

    def _count_write(self, object: str) -> None:
        if object not in _NO_COUNT:
            self.count("write_calls")

    def _count_saved(self, object: str, *, created: bool) -> None:
        name = {"Task": "tasks", "CampaignMember": "members"}.get(object, "upserts")
        if object in _NO_COUNT or (name != "upserts" and not created):
            return
        self.count(name)

    # Tooling

    def custom_field(self, request: Request, version: str) -> Response:
        body = _body(request)
        metadata = body.get("Metadata")
        if not isinstance(metadata, dict) or "FullName" not in body:
            raise _RefusedError(400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [FullName, Metadata]")
        id = self._saved(lambda: self.org.create_field(str(body["FullName"]), metadata))
        return _json({"id": id, "success": True, "errors": [], "warnings": [], "infos": []}, 201)

    # Bulk

    def ingest(self, request: Request, version: str) -> Response:
        if request.method == "GET":
            return _json({"done": True, "nextRecordsUrl": None, "records": self.ingest_jobs.all()})
        self.count("write_calls")
        self.count("bulk_jobs")
        return _json(self.ingest_jobs.create(version, _body(request)))

    def ingest_one(self, request: Request, version: str, id: str) -> Response:
        if request.method == "DELETE":
            self.ingest_jobs.delete(id)
            return Response(status=204)
        if request.method == "PATCH":
            return _json(self.ingest_jobs.set_state(id, str(_body(request).get("state"))))
        before = self.ingest_jobs.entry(id)["results"] is not None
        job = self.ingest_jobs.look(id)
        if not before and job["state"] == "JobComplete":
            self.count("upserts", job["numberRecordsProcessed"] - job["numberRecordsFailed"])
        return _json(job)

    def ingest_data(self, request: Request, version: str, id: str) -> Response:
        if request.mimetype != "text/csv":
            raise BulkError("INVALID_CONTENT_TYPE", "Content-Type must be text/csv", 415)
        self.ingest_jobs.upload(id, request.get_data())
        return Response(status=201)

    def ingest_results(self, request: Request, version: str, id: str, which: str) -> Response:
        # The documentation prints `unprocessedrecords`, simple-salesforce asks for `unprocessedRecords`.
        names = {"successfulresults": "successful", "failedresults": "failed", "unprocessedrecords": "unprocessed"}
        if which.lower() not in names:
            raise _RefusedError(404, "NOT_FOUND", "The requested resource does not exist")
        return Response(self.ingest_jobs.csv(id, names[which.lower()]), content_type="text/csv")

    def query_job(self, request: Request, version: str) -> Response:
        return _json(self.query_jobs.create(version, _body(request)))

    def query_job_one(self, request: Request, version: str, id: str) -> Response:
        if request.method == "DELETE":
            self.query_jobs.delete(id)
            return Response(status=204)
        return _json(self.query_jobs.look(id))

    def query_job_results(self, request: Request, version: str, id: str) -> Response:
        most = int(request.args.get("maxRecords", 50_000))
        text, locator, count = self.query_jobs.page(id, request.args.get("locator", ""), most)
        headers = {"Sforce-Locator": locator, "Sforce-NumberOfRecords": str(count)}
        return Response(text, content_type="text/csv", headers=headers)


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json;charset=UTF-8")


def _errors(status: int, code: str, message: str) -> Response:
    return _json([{"message": message, "errorCode": code}], status)


def _body(request: Request) -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise _RefusedError(415, "UNSUPPORTED_MEDIA_TYPE", "Content type of the request is not supported")
    try:
        body = json.loads(request.get_data())
    except ValueError as error:
        raise _RefusedError(400, "JSON_PARSER_ERROR", f"Unexpected character at {error}") from error
    if not isinstance(body, dict):
        raise _RefusedError(400, "JSON_PARSER_ERROR", "Can not deserialize: expected an object")
    return body


def _records(request: Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    body = _body(request)
    records = body.get("records")
    if not isinstance(records, list) or not records:
        # As recorded (amp-labs batch err-bad-request).
        raise _RefusedError(400, "REQUIRED_FIELD_MISSING", "At least 1 record is required")
    if len(records) > _MOST:
        raise _RefusedError(400, "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {_MOST} records")
    return body, records


def _id_of(values: Mapping[str, Any]) -> Any:
    return values.get("id", values.get("Id"))


def _failure(error: SaveError, created: bool) -> dict[str, Any]:
    detail = {"statusCode": error.code, "message": error.message, "fields": error.fields}
    return {"success": False, "errors": [detail]} | ({"created": False} if created else {})


def _rolled_back(result: dict[str, Any]) -> dict[str, Any]:
    if not result["success"]:
        return result
    error = SaveError(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
    )
    return _failure(error, "created" in result)


def _attributes(object: str, id: str, version: str) -> dict[str, str]:
    return {"type": object, "url": f"/services/data/v{version}/sobjects/{object}/{id}"}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
