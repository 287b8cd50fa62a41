"""Notices that something changed there: verified by HubSpot's signature v3, then kept (vendor sheet §10)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from syncline.errors import WebhookRejectedError
from syncline.model import RawRecord, event_id
from syncline.sdk import WebhookRequest
from syncline_hubspot.payloads import NOTICES, Notice
from syncline_hubspot.values import milliseconds

__all__ = ["OBJECT_TYPES", "records_of", "signature_of", "verify"]

_SIGNATURE: Final = "x-hubspot-signature-v3"
_TIMESTAMP: Final = "x-hubspot-request-timestamp"
_WINDOW: Final = timedelta(minutes=5)
_MOST: Final = 100

_DECODED: Final[Mapping[str, str]] = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}
"""The escapes that are decoded before signing, and no others (developers.hubspot.com, request validation)."""
_ESCAPES: Final = re.compile("|".join(_DECODED), re.IGNORECASE)

OBJECT_TYPES: Final[Mapping[str, str]] = {
    "0-1": "contacts",
    "0-2": "companies",
    "0-3": "deals",
    "0-5": "tickets",
    "0-27": "tasks",
    "0-136": "leads",
}
_WORDS: Final[Mapping[str, str]] = {
    "contact": "contacts",
    "company": "companies",
    "deal": "deals",
    "ticket": "tickets",
    "product": "products",
    "line_item": "line_items",
}


def verify(request: WebhookRequest, secret: SecretStr | None) -> None:
    """WebhookRejectedError for what HubSpot has not signed, or not within five minutes of its arrival."""
    if secret is None:
        raise WebhookRejectedError("no webhook_secret is set: without the app's client secret nothing can be verified")
    signature, stamp = request.headers.get(_SIGNATURE, ""), request.headers.get(_TIMESTAMP, "")
    if not signature or not re.fullmatch(r"[0-9]{1,15}", stamp):
        raise WebhookRejectedError("the headers of HubSpot's signature v3 are missing")
    expected = signature_of(secret.get_secret_value(), request.method, request.url, request.body, stamp)
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise WebhookRejectedError(
            "the signature is wrong: check webhook_secret, and that the public address is the one HubSpot calls"
        )
    apart = abs(milliseconds(request.received_at) - int(stamp))
    if apart > _WINDOW / timedelta(milliseconds=1):
        raise WebhookRejectedError(f"signed {apart // 1000} s from now, which is more than five minutes")


def signature_of(secret: str, method: str, url: str, body: bytes, timestamp: str) -> str:
    """Base64 of the HMAC-SHA256 over method, address as called, raw body and timestamp."""
    address = _ESCAPES.sub(lambda found: _DECODED[found[0].upper()], url)
    signed = method.encode() + address.encode() + body + timestamp.encode()
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def records_of(request: WebhookRequest) -> Sequence[RawRecord]:
    """A record for each notice of a verified request; none is taken when one cannot be read."""
    try:
        notices = NOTICES.validate_json(request.body)  # which, unlike json, refuses what is nested too deep
        read = [(raw, Notice.model_validate(raw)) for raw in notices]
    except ValidationError:
        raise WebhookRejectedError("the body is not a list of HubSpot's notices") from None
    if len(notices) > _MOST:
        raise WebhookRejectedError(f"{len(notices)} notices in one request; HubSpot sends at most {_MOST}")
    return [RawRecord(_object_of(notice), _key_of(raw), raw) for raw, notice in read]


def _object_of(notice: Notice) -> str:
    """The object's name: by its type id where one is told, else by the word before the dot."""
    if notice.object_type is not None:
        return OBJECT_TYPES.get(notice.object_type, notice.object_type)
    word = notice.subscription_type.partition(".")[0]
    return _WORDS.get(word, word)


def _key_of(raw: Mapping[str, Any]) -> str:
    """The same for every delivery of a notice. The vendor's eventId is not unique, so it is a part of it only."""
    fixed = {name: value for name, value in raw.items() if name != "attemptNumber"}
    return event_id("hubspot", json.dumps(fixed, sort_keys=True))
