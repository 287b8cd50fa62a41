"""Webhooks of the must-use plugin in `wordpress/`: a click, as the row it has just written or counted up.

The plugin signs `<timestamp>.<body>` with HMAC-SHA256. The body holds the row as SQL would read it at that moment, so a
click that comes both ways is one event.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from syncline.errors import WebhookRejectedError
from syncline.sdk import WebhookRequest
from syncline_mailpoet.config import MailPoetConfig
from syncline_mailpoet.normalize import problems
from syncline_mailpoet.payloads import ClickRow

__all__ = ["SIGNATURE", "TIMESTAMP", "clicked", "signature"]

SIGNATURE: Final = "x-syncline-signature"
TIMESTAMP: Final = "x-syncline-timestamp"
_PREFIX: Final = "sha256="


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    event: Literal["link_clicked"]
    site: str
    prefix: str
    click: ClickRow


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the plugin puts into `X-Syncline-Signature`."""
    signed = timestamp.encode() + b"." + body
    return _PREFIX + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def clicked(request: WebhookRequest, config: MailPoetConfig, where: str) -> ClickRow:
    """The click of a genuine request; WebhookRejectedError for anything else."""
    _verify(request, config, where)
    try:
        body = _Body.model_validate_json(request.body)
    except ValidationError as error:
        raise WebhookRejectedError(f"signed, but not a click: {problems(error)}", where=where) from error
    if body.site != config.site:
        raise WebhookRejectedError(
            f"the plugin says site {body.site[:80]!r}, this connection is {config.site!r}; SYNCLINE_SITE must be the"
            " same as the setting `site`",
            where=where,
        )
    if body.prefix != config.prefix:
        raise WebhookRejectedError(
            f"the plugin reads tables of {body.prefix[:80]!r}, this connection of {config.prefix!r}: another blog",
            where=where,
        )
    return body.click


def _verify(request: WebhookRequest, config: MailPoetConfig, where: str) -> None:
    if config.webhook_secret is None or not config.webhook_secret.get_secret_value():
        raise WebhookRejectedError("webhook_secret is not set, so no webhook can be trusted", where=where)
    timestamp = request.headers.get(TIMESTAMP, "")
    given = request.headers.get(SIGNATURE, "")
    expected = signature(config.webhook_secret.get_secret_value(), timestamp, request.body)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise WebhookRejectedError("the signature does not fit; SYNCLINE_SECRET must be webhook_secret", where=where)
    age = request.received_at - _moment(timestamp, where)
    if abs(age) > config.webhook_window:
        raise WebhookRejectedError(f"signed {_seconds(age)} s ago; accepted are {config.webhook_window}", where=where)


def _moment(timestamp: str, where: str) -> datetime:
    if not timestamp.isdecimal() or len(timestamp) > len("9999999999"):
        raise WebhookRejectedError("the timestamp is not in seconds since 1970", where=where)
    return datetime.fromtimestamp(int(timestamp), UTC)


def _seconds(age: timedelta) -> int:
    return math.floor(age.total_seconds())
