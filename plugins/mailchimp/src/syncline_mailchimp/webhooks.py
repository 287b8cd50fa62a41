"""Audience webhooks: who sent this, and what it says. No call is made, and no clock is read.

Signed ones carry `X-Mailchimp-Signature: t=<unix s>,v1=<hex>`, v1 = HMAC-SHA256(secret, "<t>." + body); several v1
while a secret takes over from another (vendor sheet §6). Older ones are not signed: a secret part of their address has
to do.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from pydantic import SecretStr

from syncline.errors import WebhookRejectedError
from syncline.model import RawRecord, event_id
from syncline.sdk import WebhookRequest
from syncline_mailchimp.config import MailchimpConfig

__all__ = ["record_of", "verify"]

_SIGNATURE: Final = "x-mailchimp-signature"
_WINDOW: Final = timedelta(seconds=300)
_MOST_FIELDS: Final = 1000
_DEEPEST: Final = 5
_STREAMS: Final[Mapping[str, str]] = {"unsubscribe": "unsubscribes"}
"""Type → the stream that polls the same facts; all others are about members."""


def verify(request: WebhookRequest, config: MailchimpConfig, *, where: str) -> None:
    """WebhookRejectedError unless the request proves that it comes from Mailchimp, and is fresh where it can say so."""
    signature = request.headers.get(_SIGNATURE)
    if signature is not None and config.signing_secret:
        _verify_signature(signature, request, config.signing_secret, where)
    elif config.url_secret is not None:
        _verify_address(request, config.url_secret, where)
    elif config.signing_secret:
        raise WebhookRejectedError(f"it has no {_SIGNATURE}, and no url_secret is set", where=where)
    else:
        raise WebhookRejectedError("neither signing_secret nor url_secret is set; nothing is accepted", where=where)


def _verify_signature(header: str, request: WebhookRequest, secrets: Sequence[SecretStr], where: str) -> None:
    parts = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(moments) != 1 or not moments[0].isascii() or not moments[0].isdigit() or not given:
        raise WebhookRejectedError(f"{_SIGNATURE} is not t=<unix seconds>,v1=<hex>", where=where)
    signed = moments[0].encode() + b"." + request.body
    wanted = [hmac.new(s.get_secret_value().encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    if not _any([hmac.compare_digest(g.encode(), w.encode()) for g in given for w in wanted]):
        raise WebhookRejectedError("the signature is not of this body and our signing_secret", where=where)
    age = abs(request.received_at.timestamp() - int(moments[0]))
    if age > _WINDOW.total_seconds():
        raise WebhookRejectedError("it was signed more than 300 s before or after it came", where=where)


def _verify_address(request: WebhookRequest, secret: SecretStr, where: str) -> None:
    """The secret is a whole part of the path, or a whole value of the query."""
    wanted = secret.get_secret_value().encode()
    parts = [unquote(part) for part in request.path.split("/")]
    parts += [value for _, value in parse_qsl(request.query)]
    if not _any([hmac.compare_digest(part.encode(), wanted) for part in parts]):
        raise WebhookRejectedError("neither a signature nor our url_secret is in it", where=where)


def _any(found: Iterable[bool]) -> bool:
    return any(list(found))  # all are compared before one of them is looked at


def record_of(request: WebhookRequest, *, where: str) -> RawRecord:
    """What it says, in the stream that polls the same facts: whoever comes first, an event is of the same source.

    A repetition has the same key and payload, whenever it comes.
    """
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:  # not UTF-8, or too much of it
        raise WebhookRejectedError("the body is not a form", where=where) from None
    form = _unfolded(pairs)
    kind = form.get("type")
    if not isinstance(kind, str) or not kind:
        raise WebhookRejectedError("the form has no type; is this Mailchimp's?", where=where)
    data = form.get("data")
    payload = {"webhook": kind, "fired_at": form.get("fired_at", ""), "data": data if isinstance(data, dict) else {}}
    digest = event_id(*(text for pair in sorted(pairs) for text in pair))
    return RawRecord(_STREAMS.get(kind, "members"), f"webhook:{kind}:{digest}", payload)


def _unfolded(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`data[merges][FNAME]=Ada` → {"data": {"merges": {"FNAME": "Ada"}}}; what does not fit into that is left out."""
    form: dict[str, Any] = {}
    for name, value in pairs:
        *path, last = _names(name)
        place: Any = form
        for step in path[:_DEEPEST]:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                break
        if isinstance(place, dict):
            place[last] = value
    return form


def _names(name: str) -> Iterator[str]:
    first, *others = name.split("[")
    yield first
    yield from (other.removesuffix("]") for other in others)
