"""Bulk API 2.0 of the simulated org: jobs, CSV in, CSV out (vendor sheet §6.4 and §6.5)."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from syncline.testing.simulator import Table
from syncline_salesforce.simulator.org import SYNC_USER, Org, SaveError
from syncline_salesforce.simulator.soql import printed_datetime

__all__ = ["BulkError", "IngestJobs", "QueryJobs"]

DELIMITERS: Final[Mapping[str, str]] = {
    "COMMA": ",",
    "BACKQUOTE": "`",
    "CARET": "^",
    "PIPE": "|",
    "SEMICOLON": ";",
    "TAB": "\t",
}
_OPERATIONS: Final = ("insert", "update", "upsert", "delete", "hardDelete")
FINAL: Final = ("JobComplete", "Failed", "Aborted")


class BulkError(Exception):
    """A refused request about a job."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def _job(org: Org, version: str, body: Mapping[str, Any], prefix: str = "750") -> dict[str, Any]:
    moment = printed_datetime(org.server_time().replace(microsecond=0))
    return {
        "id": org.new_id(prefix),
        "operation": body.get("operation"),
        "object": body.get("object"),
        "createdById": SYNC_USER,
        "createdDate": moment,
        "systemModstamp": moment,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(version),
        "lineEnding": body.get("lineEnding", "LF"),
        "columnDelimiter": body.get("columnDelimiter", "COMMA"),
    }


class IngestJobs:
    """The ingest jobs. A job is worked on when it is looked at: `looks` times it is still InProgress."""

    def __init__(self, org: Org, table: Table, chance: random.Random) -> None:
        self._org = org
        self._table = table
        self._chance = chance
        self.looks = 1
        self.unprocessed = 0
        """How many rows at the end of a job are never reached: it then ends as Failed."""

    def create(self, version: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._refuse_bad(body)
        job = _job(self._org, version, body) | {"state": "Open"}
        if body["operation"] == "upsert":
            job["externalIdFieldName"] = body["externalIdFieldName"]
        url = f"services/data/v{version}/jobs/ingest/{job['id']}/batches"
        self._table[job["id"]] = {"job": job, "data": None, "looks": 0, "results": None, "counts": None}
        return job | {"contentUrl": url}

    def _refuse_bad(self, body: Mapping[str, Any]) -> None:
        if body.get("operation") not in _OPERATIONS:
            raise BulkError("INVALIDJOB", f"Unsupported operation: {body.get('operation')}")
        if body.get("columnDelimiter", "COMMA") not in DELIMITERS:
            raise BulkError("INVALIDJOB", "Unsupported column delimiter")
        fields = self._org.fields(str(body.get("object")))
        if fields is None:
            raise BulkError("INVALIDJOB", f"Unknown object: {body.get('object')}")
        if body["operation"] == "upsert":
            name = body.get("externalIdFieldName")
            if name != "Id" and (name not in fields or not fields[name].external_id):
                raise BulkError("INVALIDJOB", f"InvalidJob : Field name provided, {name} is not an External ID")

    def entry(self, id: str) -> dict[str, Any]:
        if id not in self._table:
            raise BulkError("NOT_FOUND", "The requested resource does not exist", 404)
        return self._table[id]

    def upload(self, id: str, data: bytes) -> None:
        entry = self.entry(id)
        if entry["job"]["state"] != "Open" or entry["data"] is not None:
            raise BulkError("INVALIDJOBSTATE", "Uploading data is allowed once, while the job is Open")
        if len(data) > 100 * 1024 * 1024:
            raise BulkError("LIMIT_EXCEEDED", "The job data exceeds 150 MB after base64")
        entry["data"] = data.decode("utf-8")
        self._table.save(id)

    def set_state(self, id: str, state: str) -> dict[str, Any]:
        entry = self.entry(id)
        allowed = {"UploadComplete": ("Open",), "Aborted": ("Open", "UploadComplete", "InProgress")}
        if entry["job"]["state"] not in allowed.get(state, ()):
            raise BulkError("INVALIDJOBSTATE", f"Cannot go from {entry['job']['state']} to {state}")
        entry["job"]["state"] = state
        self._table.save(id)
        return dict(entry["job"])

    def look(self, id: str) -> dict[str, Any]:
        entry = self.entry(id)
        self._advance(entry)
        self._table.save(id)
        counts = entry["counts"] or {"numberRecordsProcessed": 0, "numberRecordsFailed": 0}
        times = {"retries": 0, "totalProcessingTime": 0, "apiActiveProcessingTime": 0, "apexProcessingTime": 0}
        return {**entry["job"], "jobType": "V2Ingest", **counts, **times}

    def _advance(self, entry: dict[str, Any]) -> None:
        job = entry["job"]
        if job["state"] not in ("UploadComplete", "InProgress"):
            return
        if entry["looks"] < self.looks:
            entry["looks"] += 1
            job["state"] = "InProgress"
            return
        self._process(entry)

    def _process(self, entry: dict[str, Any]) -> None:
        job = entry["job"]
        rows = list(csv.reader(io.StringIO(entry["data"] or ""), delimiter=DELIMITERS[job["columnDelimiter"]]))
        header, body = (rows[0], rows[1:]) if rows else ([], [])
        known = self._org.fields(job["object"]) or {}
        unknown = next((name for name in header if name not in known), None)
        if unknown is not None:
            job |= {"state": "Failed", "errorMessage": f"InvalidBatch : Field name not found : {unknown}"}
            entry["results"] = {"successful": [], "failed": [], "unprocessed": body, "header": header}
            return
        reached = len(body) - self.unprocessed
        entry["results"] = self._results(job, header, body[:reached]) | {"unprocessed": body[reached:]}
        failed = len(entry["results"]["failed"])
        entry["counts"] = {"numberRecordsProcessed": reached, "numberRecordsFailed": failed}
        job["state"] = "Failed" if self.unprocessed else "JobComplete"
        if self.unprocessed:
            job["errorMessage"] = "InternalServerError : batch was not processed"

    def _results(self, job: Mapping[str, Any], header: list[str], rows: Sequence[list[str]]) -> dict[str, Any]:
        successful, failed = [], []
        for row in rows:
            try:
                id, created = self._save(job, dict(zip(header, row, strict=True)))
                successful.append([id, "true" if created else "false", *row])
            except SaveError as error:
                failed.append(["", f"{error.code}:{error.message}:{','.join(error.fields)} --", *row])
        self._chance.shuffle(successful)
        self._chance.shuffle(failed)
        return {"successful": successful, "failed": failed, "header": header}

    def _save(self, job: Mapping[str, Any], cells: Mapping[str, str]) -> tuple[str, bool]:
        values: dict[str, Any] = {n: None if v == "#N/A" else v for n, v in cells.items() if v != ""}
        object, operation = job["object"], job["operation"]
        if operation == "insert":
            return self._org.create(object, values), True
        if operation == "upsert":
            name = job["externalIdFieldName"]
            key = values.pop(name, None)
            if key is None and name != "Id":
                raise SaveError("MISSING_ARGUMENT", f"{name} not specified")
            return self._org.upsert(object, name, key, values)
        id = str(values.pop("Id", ""))
        if operation == "update":
            self._org.update(object, id, values)
        else:
            self._org.delete(object, id)
        return id, False

    def csv(self, id: str, which: str) -> str:
        entry = self.entry(id)
        if entry["job"]["state"] not in FINAL:
            raise BulkError("INVALIDJOBSTATE", "Results are available when the job is done")
        results = entry["results"] or {"successful": [], "failed": [], "unprocessed": [], "header": []}
        extra = {"successful": ["sf__Id", "sf__Created"], "failed": ["sf__Id", "sf__Error"], "unprocessed": []}[which]
        text = io.StringIO()
        text.write(",".join([*(f'"{e}"' for e in extra), *results["header"]]) + "\n")
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(results[which])
        return text.getvalue()

    def delete(self, id: str) -> None:
        if self.entry(id)["job"]["state"] not in FINAL:
            raise BulkError("INVALIDJOBSTATE", "Only finished jobs can be deleted")
        del self._table[id]

    def all(self) -> list[dict[str, Any]]:
        return [dict(entry["job"]) for entry in self._table.values()]


class QueryJobs:
    """The query jobs; `find` evaluates a query to its object, a header and rows of text."""

    def __init__(self, org: Org, find: Callable[[str, bool], tuple[str, list[str], list[list[str]]]]) -> None:
        self._org = org
        self._find = find
        self._jobs: dict[str, dict[str, Any]] = {}

    def create(self, version: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if body.get("operation") not in ("query", "queryAll"):
            raise BulkError("INVALIDJOB", f"Unsupported operation: {body.get('operation')}")
        object, header, rows = self._find(str(body.get("query")), body["operation"] == "queryAll")
        job = _job(self._org, version, {**body, "object": object}) | {"state": "UploadComplete"}
        self._jobs[job["id"]] = {"job": job, "header": header, "rows": rows}
        return job

    def look(self, id: str) -> dict[str, Any]:
        entry = self._entry(id)
        order = {"UploadComplete": "InProgress", "InProgress": "JobComplete"}
        entry["job"]["state"] = order.get(entry["job"]["state"], entry["job"]["state"])
        return {**entry["job"], "jobType": "V2Query", "numberRecordsProcessed": len(entry["rows"])}

    def page(self, id: str, locator: str, most: int) -> tuple[str, str, int]:
        """(CSV, locator of the next page or 'null', number of records)."""
        entry = self._entry(id)
        if entry["job"]["state"] != "JobComplete":
            raise BulkError("INVALIDJOBSTATE", "Results are available when the job is done")
        start = int(locator or 0)
        rows = entry["rows"][start : start + most]
        end = start + len(rows)
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([entry["header"], *rows])
        return text.getvalue(), "null" if end >= len(entry["rows"]) else str(end), len(rows)

    def delete(self, id: str) -> None:
        if self._entry(id)["job"]["state"] not in FINAL:
            raise BulkError("INVALIDJOBSTATE", "Only finished jobs can be deleted")
        del self._jobs[id]

    def _entry(self, id: str) -> dict[str, Any]:
        if id not in self._jobs:
            raise BulkError("NOT_FOUND", "The requested resource does not exist", 404)
        return self._jobs[id]
