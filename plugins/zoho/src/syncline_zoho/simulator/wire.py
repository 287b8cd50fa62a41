"""Requests read and answers written as Zoho does: its error shapes, its statuses, its times."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from werkzeug.wrappers import Request, Response

__all__ = [
    "RefusedError",
    "body_of",
    "bound",
    "error_answer",
    "json_answer",
    "moment",
    "order_of",
    "parameter",
    "queried",
    "results_answer",
    "rows_of",
    "saved_item",
    "whole",
]

_CLIENT_ERRORS: Final = 400


class RefusedError(Exception):
    """A whole call refused."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "details": details, "message": message, "status": "error"}


def _named(user: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": user["name"], "id": user["id"]}


def json_answer(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json;charset=UTF-8")


def error_answer(status: int, code: str, message: str) -> Response:
    return json_answer({"code": code, "details": {}, "message": message, "status": "error"}, status)


def results_answer(key: str, results: Sequence[Mapping[str, Any]], good: int) -> Response:
    """All fine, mixed, or all refused."""
    fine = sum(r["status"] == "success" for r in results)
    status = good if fine == len(results) else 207 if fine else _CLIENT_ERRORS
    return json_answer({key: list(results)}, status)


def saved_item(row: Mapping[str, Any], action: str) -> dict[str, Any]:
    details = {
        "Modified_Time": row["Modified_Time"],
        "Modified_By": _named(row["Modified_By"]),
        "Created_Time": row["Created_Time"],
        "id": row["id"],
        "Created_By": _named(row["Created_By"]),
        "$approval_state": "approved",
    }
    message = "record added" if action == "insert" else "record updated"
    return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}


def body_of(request: Request, allowed: set[str] | None = None) -> dict[str, Any]:
    """A body without a Content-Type is taken too: the vendor's own SDK sends none."""
    try:
        body = json.loads(request.get_data())
    except ValueError as error:
        raise RefusedError(400, "INVALID_DATA", "body", expected_data_type="jsonobject") from error
    if not isinstance(body, dict):
        raise RefusedError(400, "INVALID_DATA", "body", expected_data_type="jsonobject")
    unknown = sorted(set(body) - allowed) if allowed is not None else []
    if unknown:
        raise RefusedError(400, "INVALID_DATA", "invalid data", api_name=unknown[0])
    return body


def rows_of(body: Mapping[str, Any], key: str, most: int) -> list[dict[str, Any]]:
    rows = body.get(key)
    if rows is None:
        raise RefusedError(400, "MANDATORY_NOT_FOUND", "required field not found", api_name=key, json_path=f"$.{key}")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise RefusedError(400, "INVALID_DATA", "invalid data", api_name=key, expected_data_type="jsonarray")
    if len(rows) > most:
        raise RefusedError(400, "LIMIT_EXCEEDED", "limit exceeded", limit=most, api_name=key)
    return rows


def parameter(request: Request, name: str) -> str:
    if not request.args.get(name):
        raise RefusedError(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", param_name=name)
    return str(request.args[name])


def whole(request: Request, name: str, default: int) -> int:
    text = request.args.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise RefusedError(400, "INVALID_DATA", "invalid data", param_name=name, expected_data_type="integer")
    return int(text)


def moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedError(400, "INVALID_DATA", "invalid data", expected_data_type="datetime") from error
    if found.tzinfo is None or found.microsecond:
        raise RefusedError(400, "INVALID_DATA", "invalid data", expected_data_type="datetime")
    return found


def bound(request: Request) -> tuple[Any, ...]:
    """What a page token is good for: the same question."""
    asked = sorted((n, v) for n, v in request.args.items() if n not in ("page", "page_token"))
    return (request.path, *asked, request.headers.get("If-Modified-Since"))


def order_of(by: str) -> Callable[[Mapping[str, Any]], tuple[Any, int]]:
    if by == "id":
        return lambda row: (0, int(row["id"]))
    return lambda row: (datetime.fromisoformat(row[by]).timestamp(), int(row["id"]))


def queried(value: Any) -> Any:
    """A query tells of a record that is looked up its id only."""
    return {"id": value["id"]} if isinstance(value, dict) and "id" in value else value
