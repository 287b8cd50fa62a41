"""A webhook of Instapage: whether it is ours, and what stands in it.

Instapage signs nothing and documents no secret (vendor sheet, §2): what proves a request is a secret that we ask for,
in the address, in a header that a proxy adds, or in a hidden field of the form. It proves the sender, not the body.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote

from syncline.errors import WebhookRejectedError
from syncline.sdk import WebhookRequest
from syncline_instapage.config import InstapageConfig
from syncline_instapage.labels import plain_label

__all__ = ["UnreadableError", "read_body", "verify", "without_secret"]

_MOST_FIELDS: Final = 1000
_DEEPEST: Final = 8


class UnreadableError(Exception):
    """The body is neither a JSON object nor a form. The text says why, without what stood in it."""


def verify(request: WebhookRequest, config: InstapageConfig, *, where: str) -> None:
    """WebhookRejectedError unless the request carries the secret where it belongs; compared in constant time."""
    if config.webhook_secret is None:
        raise WebhookRejectedError("no webhook_secret is set, so no webhook can be trusted; set one", where=where)
    if request.method != "POST":
        raise WebhookRejectedError(f"Instapage sends POST, not {request.method}", where=where)
    wanted = config.webhook_secret.get_secret_value().encode()
    matches = [hmac.compare_digest(wanted, given.encode("utf-8", "replace")) for given in _given(request, config)]
    if not any(matches):
        place = config.webhook_secret_in
        name = "" if place == "path" else f" {config.webhook_secret_name!r}"
        what = "is not ours" if matches else "is missing"
        raise WebhookRejectedError(f"the secret in the {place}{name} {what}", where=where)


def _given(request: WebhookRequest, config: InstapageConfig) -> list[str]:
    """The secrets a request carries at the place agreed upon."""
    name = config.webhook_secret_name
    match config.webhook_secret_in:
        case "query":
            return _parameters(request.query).get(name, [])
        case "path":
            last = unquote(request.path.rstrip("/").rpartition("/")[2])
            return [last] if last else []
        case "header":
            return [request.headers[name.lower()]] if name.lower() in request.headers else []
        case "field":
            return _given_in_form(request, name)


def _parameters(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, max_num_fields=_MOST_FIELDS)
    except ValueError:  # too many
        return {}


def _given_in_form(request: WebhookRequest, name: str) -> list[str]:
    try:
        body = read_body(request)
    except UnreadableError:
        return []
    label = plain_label(name)
    return [value for key, value in body.items() if plain_label(key) == label and isinstance(value, str)]


def read_body(request: WebhookRequest) -> dict[str, Any]:
    """The body's keys and values, from JSON or a form; the content type decides, and the looks where it does not tell.

    A key that comes several times has a list.
    """
    try:
        text = request.body.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("the body is not UTF-8") from None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith("json") or (kind != "application/x-www-form-urlencoded" and text.lstrip().startswith("{")):
        return _json(text)
    return _form(text)


def _json(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text, parse_constant=str, parse_float=_number)  # NaN is no JSON, and cannot be stored
    except (ValueError, RecursionError):
        raise UnreadableError("the body is not JSON, or was cut off") from None
    if not isinstance(body, dict):
        raise UnreadableError("the body is JSON, but no object")
    if _is_deeper_than(_DEEPEST, body):
        raise UnreadableError("the JSON is nested deeper than a form is")
    return body


def _number(text: str) -> float | str:
    """1e999 is JSON, but no number that could be stored."""
    return number if math.isfinite(number := float(text)) else text


def _is_deeper_than(most: int, value: object) -> bool:
    """Level by level, since recursion is what such a body is made to exhaust."""
    level = [value]
    for _ in range(most):
        level = [inner for one in level for inner in _inside(one)]
    return bool(level)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _form(text: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(text.strip(), keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise UnreadableError("the body is neither JSON nor a form") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: given[0] if len(given) == 1 else given for name, given in values.items()}


def without_secret(fields: Mapping[str, Any], config: InstapageConfig) -> dict[str, Any]:
    """What may be stored: without the hidden field that holds the secret, whatever it is called there.

    In the API's rows it may stand under an id such as `field_7` (vendor sheet, §1), so its value tells it too.
    """
    if config.webhook_secret_in != "field" or config.webhook_secret is None:  # noqa: S105  # a place
        return dict(fields)
    return _stripped(fields, plain_label(config.webhook_secret_name), config.webhook_secret.get_secret_value())


def _stripped(fields: Mapping[str, Any], label: str, secret: str) -> dict[str, Any]:
    return {
        name: _stripped(value, label, secret) if isinstance(value, Mapping) else value
        for name, value in fields.items()
        if plain_label(str(name)) != label and secret not in _texts(value)
    }


def _texts(value: object) -> list[str]:
    """The texts of a field, of which it may have several."""
    return [text.strip() for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
