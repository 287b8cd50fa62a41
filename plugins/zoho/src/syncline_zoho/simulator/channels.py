"""Notification channels and what is sent through them (vendor sheet §8)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from syncline.sdk import WebhookRequest
from syncline.testing.simulator import Table
from syncline_zoho.simulator.crm import RowError
from syncline_zoho.simulator.schema import MODULE_IDS, MODULES
from syncline_zoho.simulator.wire import body_of, json_answer, moment, parameter, results_answer, rows_of

__all__ = ["Channels"]

_LIFE: Final = timedelta(days=7)
_UNTOLD: Final = timedelta(hours=1)


class Channels:
    """The channels of an account; every change is queued for those that watch it."""

    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._channels = table
        self.now = now
        self._notices: list[dict[str, Any]] = []

    def forget(self) -> None:
        """Nobody is told of what has happened so far."""
        self._notices.clear()

    def note_change(self, module: str, id: str, operation: str) -> None:
        """Called for every change; queues a notice for each channel that watches it."""
        kinds = {"insert": "create", "update": "edit", "delete": "delete"}
        for channel in self._channels.values():
            events = {f"{module}.all", f"{module}.{kinds[operation]}"}
            if events & set(channel["events"]) and datetime.fromisoformat(channel["channel_expiry"]) > self.now():
                self._notices.append(self._notice(channel, module, id, operation))

    def _notice(self, channel: Mapping[str, Any], module: str, id: str, operation: str) -> dict[str, Any]:
        return {
            "url": channel["notify_url"],
            "body": {
                "server_time": int(self.now().timestamp() * 1000) + len(self._notices),
                "query_params": {},
                "module": module,
                "resource_uri": f"https://www.zohoapis.com/crm/v8/{module}",
                "ids": [id],
                "affected_fields": [],
                "operation": operation,
                "channel_id": channel["channel_id"],
                "token": channel.get("token"),
            },
        }

    def notices(
        self, *, token: str | None = None, twice: bool = False, backwards: bool = False
    ) -> list[WebhookRequest]:
        """What Zoho sends for the changes since the last time; with another `token`, each `twice`, or `backwards`."""
        queued, self._notices = self._notices, []
        found = [self._request(n["url"], n["body"] | ({"token": token} if token is not None else {})) for n in queued]
        found = [r for r in found for _ in range(2 if twice else 1)]
        return found[::-1] if backwards else found

    def _request(self, url: str, body: Mapping[str, Any]) -> WebhookRequest:
        path, _, query = re.sub(r"^https?://[^/]+", "", url).partition("?")
        headers = {"content-type": "application/json"}
        return WebhookRequest("POST", path, query, headers, json.dumps(body).encode(), self.now(), url)

    def answer(self, request: Request) -> Response:
        """`/actions/watch`: look, open, renew, close."""
        if request.method == "GET":
            return self._channel_list(request)
        if request.method == "DELETE":
            return self._close(request)
        rows = rows_of(body_of(request), "watch", 50)
        results = [self._channel(row, request.method) for row in rows]
        return results_answer("watch", results, 201 if request.method == "POST" else 200)

    def _channel_list(self, request: Request) -> Response:
        wanted = request.args.get("channel_id")
        listed = [
            {
                "notify_on_related_action": True,
                "channel_expiry": channel["channel_expiry"],
                "return_affected_field_values": False,
                "resource_uri": f"https://www.zohoapis.com/crm/v8/{module}",
                "resource_id": MODULE_IDS[module],
                "resource_name": module,
                "notify_url": channel["notify_url"],
                "notification_condition": None,
                "fields": None,
                "channel_id": channel["channel_id"],
                "events": [e for e in channel["events"] if e.startswith(f"{module}.")],
                "token": channel.get("token"),
            }
            for channel in self._channels.values()
            if wanted in (None, channel["channel_id"])
            for module in dict.fromkeys(e.partition(".")[0] for e in channel["events"])
        ]
        if not listed:
            return Response(status=204)
        info = {"per_page": 200, "count": len(listed), "page": 1, "more_records": False}
        return json_answer({"watch": listed, "info": info})

    def _channel(self, row: Mapping[str, Any], method: str) -> dict[str, Any]:
        try:
            channel = self._checked_channel(row, method)
        except RowError as error:
            return error.item()
        self._channels[channel["channel_id"]] = channel
        details = [
            {
                "channel_expiry": channel["channel_expiry"],
                "resource_uri": f"https://www.zohoapis.com/crm/v8/{module}",
                "resource_id": MODULE_IDS[module],
                "resource_name": module,
                "channel_id": channel["channel_id"],
            }
            for module in dict.fromkeys(e.partition(".")[0] for e in channel["events"])
        ]
        message = "Successfully subscribed for actions-watch of the given module"
        return {"code": "SUCCESS", "details": {"events": details}, "message": message, "status": "success"}

    def _checked_channel(self, row: Mapping[str, Any], method: str) -> dict[str, Any]:
        for name in ("channel_id", "events", "notify_url"):
            if not row.get(name):
                raise RowError("MANDATORY_NOT_FOUND", "required field not found", api_name=name)
        id = str(row["channel_id"])
        if not id.isdigit() or len(str(row.get("token") or "")) > 50:
            raise RowError("INVALID_DATA", "invalid data", api_name="token" if id.isdigit() else "channel_id")
        if (id in self._channels) is (method == "POST"):
            raise RowError("DUPLICATE_DATA" if method == "POST" else "NOT_SUBSCRIBED", "channel", channel_id=id)
        for event in row["events"]:
            module, _, kind = str(event).partition(".")
            if module not in MODULES or kind not in ("create", "edit", "delete", "all"):
                raise RowError("INVALID_DATA", "invalid data", api_name="events")
        now = self.now()
        until = moment(row["channel_expiry"]) if row.get("channel_expiry") else now + _UNTOLD
        if not now < until <= now + _LIFE:
            raise RowError("INVALID_DATA", "invalid data", api_name="channel_expiry")
        return {**row, "channel_id": id, "channel_expiry": until.isoformat(timespec="seconds")}

    def _close(self, request: Request) -> Response:
        results = []
        for id in parameter(request, "channel_ids").split(","):
            known = self._channels.pop(id, None)
            code = "SUCCESS" if known else "NOT_SUBSCRIBED"
            status = "success" if known else "error"
            results.append({"code": code, "details": {"channel_id": id}, "message": code, "status": status})
        return results_answer("watch", results, 200)
