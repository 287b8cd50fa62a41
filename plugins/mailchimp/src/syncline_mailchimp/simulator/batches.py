"""Batch operations: many calls in one, their results in a gzipped archive behind an address that soon expires."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from syncline.testing.simulator import Table
from syncline_mailchimp.simulator.account import Account, Received
from syncline_mailchimp.simulator.problems import RefusedError, bad_request, invalid, refusing
from syncline_mailchimp.simulator.queries import body_of, text_of

__all__ = ["BatchRoutes"]

_ON_THE_WAY: Final = ("preprocessing", "started", "finalizing")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_URL_LASTS: Final = timedelta(minutes=10)  # vendor sheet §5
_KEPT: Final = timedelta(days=7)
_MOST_PENDING: Final = 500
_NO_LONGER: Final = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
_TWO_WAYS_IN: Final = "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"


class BatchRoutes(Account):
    """POST /batches carries everything out at once; it is said to be finished at the `batch_looks`th look.

    The archive has a directory, an empty file, and `batch_file` results in each of the others, in no good order.
    """

    batch_looks: int = 2
    batch_page: int = 1000
    """GET operations without `count` are paged: so many rows a page, each page an operation."""
    batch_file: int = 3

    @cached_property
    def batches(self) -> Table:
        return self.table("batches")

    def expire_batches(self) -> None:
        """A week has passed for all of them."""
        for key in self.batches:
            self.batches[key]["expired"] = True
            self.batches.save(key)

    @refusing
    def post_batch(self, request: Request) -> Response:
        operations = _valid(body_of(request).get("operations"))
        if sum(row["looks"] < self.batch_looks for row in self.batches.values()) >= _MOST_PENDING:
            raise RefusedError(429, "TooManyRequests", f"You have {_MOST_PENDING} pending batches.")
        row = self._carried_out(operations)
        self.batches[row["id"]] = row
        return self._answered(request, "batch", self._batch(row))

    @refusing
    def get_batch(self, request: Request, batch_id: str) -> Response:
        row = self._living(batch_id)
        row["looks"] += 1
        self.batches.save(batch_id)
        return self._answered(request, "batch", self._batch(row))

    @refusing
    def get_batches(self, request: Request) -> Response:
        rows = [row for row in self.batches.values() if not row["expired"]]
        return self._listing(request, "batches", rows, self._batch)

    @refusing
    def delete_batch(self, request: Request, batch_id: str) -> Response:
        self._living(batch_id)
        del self.batches[batch_id]
        return Response(status=204)

    def get_batch_results(self, request: Request, batch_id: str, until: str) -> Response:
        """Kept elsewhere, with the permission in the address: who also logs in is refused, as is who comes late."""
        if "Authorization" in request.headers:
            return Response(_TWO_WAYS_IN, 400, content_type="application/xml")
        row = self.batches.get(batch_id)
        if row is None or self.now() > datetime.fromtimestamp(int(until), UTC):
            return Response(_NO_LONGER, 403, content_type="application/xml")
        return Response(self._archive(row), 200, content_type="application/gzip")

    def _living(self, batch_id: str) -> dict[str, Any]:
        row = self.batches.get(batch_id)
        self._require(row is not None and not row["expired"])
        assert row is not None  # noqa: S101  # just required
        if self.now() > datetime.fromisoformat(row["at"]) + _KEPT:
            row["expired"] = True
        self._require(not row["expired"])
        return row

    def _batch(self, row: Mapping[str, Any]) -> dict[str, Any]:
        done = row["looks"] >= self.batch_looks
        status = "finished" if done else _ON_THE_WAY[min(row["looks"] - 1, 2)] if row["looks"] else "pending"
        total = len(row["results"])
        errored = sum(result["status_code"] >= 400 for result in row["results"])
        until = int((self.now() + _URL_LASTS).timestamp())
        return {
            "id": row["id"],
            "status": status,
            "total_operations": total if row["looks"] else 0,
            "finished_operations": total if done else 0,
            "errored_operations": errored if done else 0,
            "submitted_at": row["at"],
            "completed_at": row["at"] if done else "",
            "response_body_url": f"{self.url}/batch-results/{row['id']}/{until}.tar.gz" if done else "",
            "_links": [],
        }

    # Carrying out

    def _carried_out(self, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        writes = self._counters["write_calls"]
        results = [result for operation in operations for result in self._results(operation)]
        only_reads = all(operation["method"] == "GET" for operation in operations)
        self._counters["write_calls"] = writes + (not only_reads)  # what was written in it is one call
        self.count("batched_operations", len(operations))
        return {
            "id": f"{self.random.getrandbits(40):010x}",
            "at": text_of(self.now()),
            "looks": 0,
            "expired": False,
            "results": self.random.sample(results, len(results)),
        }

    def _results(self, operation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        path, _, inline = operation["path"].partition("?")
        parameters = {**dict(parse_qsl(inline)), **{k: str(v) for k, v in (operation.get("params") or {}).items()}}
        if operation["method"] != "GET" or "count" in parameters:
            yield self._result(operation, path, parameters)
            return
        offset, total = 0, 1
        while offset < total:
            page = {**parameters, "count": str(self.batch_page), "offset": str(offset)}
            result = self._result(operation, path, page)
            yield result
            answer = json.loads(result["response"] or "{}")
            total, offset = answer.get("total_items", 0), offset + self.batch_page

    def _result(self, operation: Mapping[str, Any], path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        body = operation.get("body") or ""
        self.received.append(Received(operation["method"], path, body))
        environ = EnvironBuilder(
            f"/3.0{path}", method=operation["method"], query_string=urlencode(parameters), data=body
        ).get_environ()
        response = self._route(Request(environ))
        return {
            "status_code": response.status_code,
            "operation_id": operation.get("operation_id"),
            "response": response.get_data(as_text=True),
        }

    def _archive(self, row: Mapping[str, Any]) -> bytes:
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
            folder = tarfile.TarInfo(f"{row['id']}/")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            tar.addfile(tarfile.TarInfo(f"{row['id']}/empty.json"))
            for start in range(0, len(row["results"]), self.batch_file):
                data = json.dumps(row["results"][start : start + self.batch_file]).encode()
                info = tarfile.TarInfo(f"{row['id']}/{start:08x}.json")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return packed.getvalue()


def _valid(operations: Any) -> list[dict[str, Any]]:
    """The body of an operation is JSON in a string; an object there is the usual mistake."""
    if not isinstance(operations, list) or not operations:
        raise invalid("operations", "This value should not be blank.")
    for number, operation in enumerate(operations):
        if operation.get("method") not in _METHODS:
            raise invalid(f"operations.item:{number}.method", "The value you selected is not a valid choice.")
        if not str(operation.get("path", "")).startswith("/"):
            raise bad_request(f"operations.item:{number}.path is not a relative path.")
        if not isinstance(operation.get("body", ""), str):
            raise invalid(f"operations.item:{number}.body", "Schema describes string, object found instead")
    return operations
