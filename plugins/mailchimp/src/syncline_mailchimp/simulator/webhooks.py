"""Audience webhooks: their settings, and what Mailchimp would send to them."""

from __future__ import annotations

import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from werkzeug.wrappers import Request, Response

from syncline.sdk import WebhookRequest
from syncline.testing.simulator import Table
from syncline_mailchimp.simulator.account import Account, Actor
from syncline_mailchimp.simulator.happenings import ATTRIBUTES
from syncline_mailchimp.simulator.problems import invalid, refusing
from syncline_mailchimp.simulator.queries import body_of
from syncline_mailchimp.simulator.world import LIST_ID, Subscriber, subscriber_hash

__all__ = ["WebhookRoutes", "signed"]

_EVENTS: Final = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
_SOURCES: Final = ("user", "admin", "api")
_PATIENCE: Final = 10.0  # seconds for an answer, vendor sheet §6
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_Pairs = list[tuple[str, str]]


def signed(secret: str, body: bytes, at: datetime) -> str:
    """`t=<unix s>,v1=<hex>`: HMAC-SHA256 of "<t>." and the raw body (vendor sheet §6)."""
    moment = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class WebhookRoutes(Account):
    """CRUD below /lists/{id}/webhooks, and the sender."""

    webhook_lag: timedelta = timedelta(seconds=1)
    """By how much `fired_at` is later than what happened."""

    @cached_property
    def webhooks(self) -> Table:
        return self.table("webhooks")

    @cached_property
    def _outbox(self) -> Table:
        return self.table("outbox")

    # Settings

    @refusing
    def get_webhooks(self, request: Request, list_id: str) -> Response:
        self._require(list_id == LIST_ID)
        rows = [_shown(row) for row in self.webhooks.values()]
        return self._answered(
            request, "webhooks", {"webhooks": rows, "list_id": list_id, "total_items": len(rows), "_links": []}
        )

    @refusing
    def get_webhook(self, request: Request, list_id: str, webhook_id: str) -> Response:
        return self._answered(request, "webhook", _shown(self._webhook(list_id, webhook_id)))

    @refusing
    def post_webhook(self, request: Request, list_id: str) -> Response:
        """Its address is called first, with GET. The secret that signs is shown in this answer only."""
        self._require(list_id == LIST_ID)
        body = body_of(request)
        self._validate(str(body.get("url", "")))
        row = self.add_webhook(body["url"], body.get("events") or {}, body.get("sources") or {})
        return self._answered(request, "webhook", {**_shown(row), "signing_secret": row["secret"]})

    @refusing
    def patch_webhook(self, request: Request, list_id: str, webhook_id: str) -> Response:
        row, body = self._webhook(list_id, webhook_id), body_of(request)
        if "url" in body:
            self._validate(str(body["url"]))
            row["url"] = body["url"]
        row["events"].update(body.get("events") or {})
        row["sources"].update(body.get("sources") or {})
        self.webhooks.save(webhook_id)
        return self._answered(request, "webhook", _shown(row))

    @refusing
    def delete_webhook(self, request: Request, list_id: str, webhook_id: str) -> Response:
        self._webhook(list_id, webhook_id)
        del self.webhooks[webhook_id]
        return Response(status=204)

    def add_webhook(
        self,
        url: str,
        events: Mapping[str, bool] | None = None,
        sources: Mapping[str, bool] | None = None,
        *,
        is_signed: bool = True,
    ) -> dict[str, Any]:
        """A webhook for everything that is not said to be off; those from before signing have no secret."""
        number = len(self.webhooks) + 1
        row: dict[str, Any] = {
            "id": f"{0x5D9A5E3F00 + number:010x}",
            "url": url,
            "events": {**dict.fromkeys(_EVENTS, True), **(events or {})},
            "sources": {**dict.fromkeys(_SOURCES, True), **(sources or {})},
            "secret": f"whsec_{self.random.getrandbits(160):040x}" if is_signed else "",
        }
        self.webhooks[row["id"]] = row
        return row

    def _webhook(self, list_id: str, webhook_id: str) -> dict[str, Any]:
        self._require(list_id == LIST_ID and webhook_id in self.webhooks)
        return self.webhooks[webhook_id]

    def _validate(self, url: str) -> None:
        """On save a GET must find somebody there. This simulator calls nobody but loopback."""
        agent = {"User-Agent": "MailChimp.com WebHook Validator"}
        try:
            if urlsplit(url).hostname not in _LOOPBACK:
                raise ValueError("not on this machine")  # noqa: TRY301  # one answer for all that is wrong with it
            with urllib.request.urlopen(urllib.request.Request(url, headers=agent), timeout=_PATIENCE) as answer:  # noqa: S310  # loopback only
                if answer.status == 200:
                    return
        except (ValueError, OSError) as error:
            raise invalid("url", "We couldn't validate that URL; it must answer with 200.") from error
        raise invalid("url", "We couldn't validate that URL; it must answer with 200.")

    # Sending

    def announce(self, happening: Mapping[str, Any], by: Actor) -> None:
        """Put what the webhooks want to hear into the outbox."""
        if not self.webhooks or "at" not in happening:
            return
        fired = datetime.fromisoformat(happening["at"]) + self.webhook_lag
        for kind, data in self._kinds_of(happening):
            pairs = [("type", kind), ("fired_at", fired.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")), *data]
            for row in self.webhooks.values():
                if row["events"][kind] and row["sources"][by]:
                    self._post(row, urlencode(pairs))

    def send_campaign(self, campaign: str, at: datetime) -> None:
        """The webhook that tells of a campaign; it is about nobody."""
        one = self.world.campaigns[campaign]
        data = {"id": one.id, "subject": one.title, "status": "sent", "reason": "", "list_id": LIST_ID}
        self._send_all("campaign", at, [(f"data[{name}]", value) for name, value in data.items()])

    def send_unknown(self, kind: str, at: datetime) -> None:
        """A type that is not documented (yet)."""
        self._send_all(kind, at, [("data[list_id]", LIST_ID), ("data[something]", "new")])

    def _send_all(self, kind: str, at: datetime, data: _Pairs) -> None:
        pairs = [("type", kind), ("fired_at", at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")), *data]
        for row in self.webhooks.values():
            self._post(row, urlencode(pairs))

    def due_webhooks(self, *, copies: int = 1, shuffled: bool = False) -> list[WebhookRequest]:
        """What is to be sent, as it would arrive now: several times, or in any order, as Mailchimp may do it."""
        requests = [self._request(row) for row in self._outbox.values() for _ in range(copies)]
        for key in list(self._outbox):
            del self._outbox[key]
        return self.random.sample(requests, len(requests)) if shuffled else requests

    def deliver_webhooks(self) -> list[int]:
        """Send over HTTP what is due, ten seconds each; what is not answered with 2xx stays to be sent again."""
        statuses = []
        for key, row in list(self._outbox.items()):
            request = self._request(row)
            call = urllib.request.Request(request.url, request.body, request.headers)  # noqa: S310  # loopback only
            try:
                with urllib.request.urlopen(call, timeout=_PATIENCE) as answer:  # noqa: S310  # loopback only
                    statuses.append(answer.status)
                del self._outbox[key]
            except urllib.error.HTTPError as error:
                statuses.append(error.code)
                error.close()
        return statuses

    def _post(self, row: Mapping[str, Any], body: str) -> None:
        number = max((int(key) for key in self._outbox), default=0) + 1
        self._outbox[str(number)] = {"url": row["url"], "secret": row["secret"], "body": body}

    def _request(self, row: Mapping[str, Any]) -> WebhookRequest:
        body, parts = row["body"].encode(), urlsplit(row["url"])
        headers = {"content-type": "application/x-www-form-urlencoded", "user-agent": "MailChimp"}
        if row["secret"]:
            headers["x-mailchimp-signature"] = signed(row["secret"], body, self.now())
        return WebhookRequest("POST", parts.path, parts.query, headers, body, self.now(), row["url"])

    # What is told

    def _kinds_of(self, happening: Mapping[str, Any]) -> Iterator[tuple[str, _Pairs]]:
        what, one = happening["what"], self.world.subscribers.get(subscriber_hash(happening["email"]))
        if what == "rename" and one is not None:
            yield "upemail", self._renamed(one, happening["new_email"])
            yield "profile", self._person(one, {})
        elif what == "unsubscribe" and one is not None:
            reason = "abuse" if happening["reason"] == "abuse" else "manual"
            campaign = {"campaign_id": happening["campaign"]} if happening["campaign"] else {}
            yield "unsubscribe", self._person(one, {"action": "unsub", "reason": reason, **campaign})
        elif what == "join" and happening["status"] == "subscribed":
            yield "subscribe", self._joined(happening, one)
        elif what == "merge" and one is not None:
            yield "profile", self._person(one, {}, happening["fields"])
        elif what == "change" and one is not None:
            yield from self._changed(one, happening["changes"])

    def _changed(self, one: Subscriber, changes: Mapping[str, Any]) -> Iterator[tuple[str, _Pairs]]:
        status = changes.get("status")
        if status in ("unsubscribed", "archived"):
            action = "unsub" if status == "unsubscribed" else "delete"
            yield "unsubscribe", self._person(one, {"action": action, "reason": "manual"})
        elif status == "cleaned":
            yield "cleaned", self._cleaned(one)
        elif status == "subscribed":
            yield "subscribe", self._person(one, {})
        elif changes:
            tags = {tag: changes[name] for tag, name in ATTRIBUTES.items() if name in changes}
            yield "profile", self._person(one, {}, tags)

    def _person(self, one: Subscriber, more: Mapping[str, str], merged: Mapping[str, Any] | None = None) -> _Pairs:
        """`data[id]` is the id of the address, not the hash (vendor sheet §6). Addresses nest one level deeper."""
        data = {
            **more,
            "id": one.hash[:10],
            "email": one.email,
            "email_type": "html",
            "ip_opt": "198.51.100.7",
            "ip_signup": "198.51.100.7" if one.signed_up else "",
            "web_id": str(100_000 + one.number),
            "list_id": LIST_ID,
        }
        pairs = [(f"data[{name}]", value) for name, value in data.items()]
        values = {"EMAIL": one.email, **self._merge_values(one), **(merged or {})}
        return [*pairs, *(pair for tag, value in values.items() for pair in _merge_pairs(tag, value))]

    def _joined(self, happening: Mapping[str, Any], one: Subscriber | None) -> _Pairs:
        email = happening["email"]
        number = one.number if one else 1 + max((o.number for o in self.world.subscribers.values()), default=-1)
        data = {
            "id": subscriber_hash(email)[:10],
            "email": email,
            "email_type": "html",
            "ip_opt": "198.51.100.7",
            "ip_signup": "198.51.100.7" if happening["by_form"] else "",
            "web_id": str(100_000 + number),
            "list_id": LIST_ID,
            "merges][EMAIL": email,
        }
        return [(f"data[{name}]", value) for name, value in data.items()]

    def _cleaned(self, one: Subscriber) -> _Pairs:
        campaign = next((c.id for c in self.world.sent if any(a.kind for a in c.acts.get(one.hash, ()))), "")
        data = {"list_id": LIST_ID, "campaign_id": campaign, "reason": "hard", "email": one.email}
        return [(f"data[{name}]", value) for name, value in data.items()]

    def _renamed(self, one: Subscriber, new_email: str) -> _Pairs:
        data = {
            "list_id": LIST_ID,
            "new_id": subscriber_hash(new_email)[:10],
            "new_email": new_email,
            "old_email": one.email,
        }
        return [(f"data[{name}]", value) for name, value in data.items()]


def _merge_pairs(tag: str, value: Any) -> Sequence[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [(f"data[merges][{tag}][{name}]", str(part)) for name, part in value.items()]
    return [(f"data[merges][{tag}]", str(value))]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    public = {name: row[name] for name in ("id", "url", "events", "sources")}
    return {**public, "signing_enabled": bool(row["secret"]), "list_id": LIST_ID, "_links": []}
