"""Notices of changes, as HubSpot posts them (vendor sheet §10): signed, unordered, and repeated when not heard."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from hubspot.utils.signature import Signature

from syncline.sdk import WebhookRequest
from syncline.testing.simulator import Table
from syncline_hubspot.simulator.people import PORTAL_ID
from syncline_hubspot.simulator.schema import OBJECT_IDS
from syncline_hubspot.simulator.tokens import APP_ID, CLIENT_SECRET

__all__ = ["Notices"]

_MOST: Final = 100
_ATTEMPTS: Final = 11
"""The first and ten more."""
_WORDS: Final = {"contacts": "contact", "companies": "company", "deals": "deal"}


class Notices:
    """What happened, and how it is told. The signature is computed by the vendor's own client."""

    def __init__(self, table: Table, now: Callable[[], datetime], chance: random.Random) -> None:
        self._table = table
        self._now = now
        self._chance = chance
        self.generic = False
        """Whether they come as `object.*` with a type id, as apps of the newer kind get them."""

    def note(self, object: str, id: str, what: str, details: Mapping[str, Any]) -> None:
        """Remember one event."""
        if object not in _WORDS and not self.generic:
            return
        word = "object" if self.generic else _WORDS[object]
        number = len(self._table) + 1
        told = {
            "eventId": number % 50,  # not unique
            "subscriptionId": 2740000 + len(what),
            "portalId": PORTAL_ID,
            "appId": APP_ID,
            "occurredAt": int(self._now().timestamp() * 1000),
            "subscriptionType": f"{word}.{what}",
            "attemptNumber": 0,
            "objectId": int(id),
            **({"objectTypeId": OBJECT_IDS[object]} if self.generic else {}),
            **details,
        }
        self._table[str(number)] = told

    def forget(self) -> None:
        """Whatever has happened so far is not told any more."""
        for key in list(self._table):
            del self._table[key]

    def all(self) -> list[dict[str, Any]]:
        return [dict(row) for row in self._table.values()]

    def requests(
        self, url: str, *, attempt: int = 0, at: datetime | None = None, secret: str = CLIENT_SECRET
    ) -> list[WebhookRequest]:
        """What is posted to `url`: at most 100 events a request, not in their order."""
        events = [row | {"attemptNumber": attempt} for row in self.all()]
        self._chance.shuffle(events)
        parts = [events[start : start + _MOST] for start in range(0, len(events), _MOST)]
        return [self.signed(url, part, at=at, secret=secret) for part in parts]

    def signed(
        self,
        url: str,
        events: Sequence[Mapping[str, Any]],
        *,
        at: datetime | None = None,
        secret: str = CLIENT_SECRET,
    ) -> WebhookRequest:
        """One request with the headers that HubSpot sends."""
        body = json.dumps(list(events), separators=(",", ":"), ensure_ascii=False)
        return self.signed_body(url, body.encode(), at=at, secret=secret)

    def signed_body(
        self, url: str, body: bytes, *, at: datetime | None = None, secret: str = CLIENT_SECRET
    ) -> WebhookRequest:
        """Any body, signed."""
        stamp = str(int((at or self._now()).timestamp() * 1000))
        parts = urlsplit(url)
        headers = {
            "content-type": "application/json",
            "x-hubspot-request-timestamp": stamp,
            "x-hubspot-signature-version": "v3",
            "x-hubspot-signature-v3": _signature(secret, body, url, stamp),
        }
        return WebhookRequest("POST", parts.path, parts.query, headers, body, self._now(), url)

    def deliver(self, url: str, receive: Callable[[WebhookRequest], int]) -> int:
        """Post everything until `receive` answers 2xx, at most ten times more; how many requests it took.

        Any other status, 4xx included, is tried again: within about a day, so the signature is a new one every time.
        """
        sent = 0
        moment = self._now()
        for part in self.requests(url):
            events = json.loads(part.body)
            for attempt in range(_ATTEMPTS):
                again = [event | {"attemptNumber": attempt} for event in events]
                sent += 1
                if 200 <= receive(self.signed(url, again, at=moment + timedelta(seconds=attempt))) < 300:
                    break
        return sent


def _signature(secret: str, body: bytes, url: str, stamp: str) -> str:
    """Version 3, by the vendor's own client; it takes text only, so what is no text is signed by hand."""
    try:
        return str(Signature.get_signature(secret, body.decode(), "v3", url, "POST", stamp))
    except UnicodeDecodeError:
        signed = b"POST" + url.encode() + body + stamp.encode()
        return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
