"""A webhook: is it from Unbounce, and what does it say?

There is no signature, so who knows the secrets is believed: one in a header that is set up with the webhook, one in the
webhook's address, or both. Three content types are sent; what JSON looks like in detail nobody could verify, so every
shape that the vendor sheet (§2) lists is read.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl
from xml.parsers import expat

from pydantic import SecretStr

from syncline.errors import RecordError, WebhookRejectedError
from syncline.model import RawRecord, event_id
from syncline.sdk import WebhookRequest
from syncline_unbounce.config import UnbounceConfig
from syncline_unbounce.submission import submission_of, texts

__all__ = ["record_of", "verify"]

STREAM: Final = "leads"
_PARAMETER: Final = "secret"
_DEEPEST: Final = 8
_TOP: Final = ("page_id", "page_name", "page_url", "variant")


def verify(request: WebhookRequest, config: UnbounceConfig, *, where: str) -> None:
    """WebhookRejectedError unless every secret that is set is there. Which one was wrong is not said."""
    if config.webhook_secret is None and config.webhook_url_secret is None:
        raise WebhookRejectedError(
            "webhooks are refused while no secret is set: give webhook_secret, webhook_url_secret or both", where=where
        )
    in_header = request.headers.get(config.webhook_header.lower(), "")
    in_address = (parse_qs(request.query).get(_PARAMETER) or [""])[0]
    header_fits = _fits(in_header, config.webhook_secret)
    address_fits = _fits(in_address, config.webhook_url_secret)
    if not (header_fits and address_fits):
        raise WebhookRejectedError("a secret is missing or wrong", where=where)
    if request.method.upper() != "POST":
        raise WebhookRejectedError(f"Unbounce sends POST, not {request.method[:10]}", where=where)


def _fits(given: str, secret: SecretStr | None) -> bool:
    """Compared in constant time; a secret that is not set needs no fitting."""
    if secret is None:
        return True
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.get_secret_value().encode())


def record_of(request: WebhookRequest, config: UnbounceConfig, *, where: str) -> RawRecord:
    """The submission as it was told. One that cannot be read is kept whole, and quarantined by `normalize`."""
    read = _reader(request, where)
    try:
        payload = {"webhook": _with_time(read(request.body), request)}
        record = RawRecord(STREAM, "webhook", payload)
        return RawRecord(STREAM, submission_of(record, config).fingerprint, payload)
    except (_UnreadableError, RecordError) as error:
        body = request.body.decode("utf-8", "replace")
        return RawRecord(STREAM, f"unreadable:{event_id(body)}", {"unreadable": str(error), "body": body})


class _UnreadableError(ValueError):
    """The body is not what its content type says."""


_Read = Callable[[bytes], dict[str, Any]]


def _reader(request: WebhookRequest, where: str) -> _Read:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    for names, read in _READERS.items():
        if kind in names:
            return read
    known = ", ".join(name for names in _READERS for name in names)
    raise WebhookRejectedError(f"content type {kind[:60]!r} is none that Unbounce sends: {known}", where=where)


def _with_time(said: dict[str, Any], request: WebhookRequest) -> dict[str, Any]:
    """With when it came in, where it does not say when the form was submitted."""
    data = said["data"]
    if texts(data.get("date_submitted")) or texts(data.get("time_submitted")):
        return said
    minute = request.received_at.astimezone(UTC).replace(second=0, microsecond=0)
    return {**said, "received_at": minute.isoformat()}


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise _UnreadableError("the form-encoded body cannot be decoded") from error
    fields = dict(pairs)
    if "data.json" in fields:
        return _said(fields, _json_object(fields["data.json"]))
    if "data.xml" in fields:
        return _said(fields, _xml_data(fields["data.xml"].encode())[1])
    raise _UnreadableError("the form-encoded body has neither data.json nor data.xml")


def _json(body: bytes) -> dict[str, Any]:
    """The form's values at the top, or below `data.json` (text or object) or `data`."""
    try:
        top = _json_object(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _UnreadableError("the JSON body is not UTF-8") from error
    inner = top.get("data.json", top.get("data"))
    if isinstance(inner, str):
        return _said(top, _json_object(inner))
    return _said(top, inner if isinstance(inner, dict) else top)


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _UnreadableError("the JSON cannot be read") from error
    if not isinstance(found, dict):
        raise _UnreadableError("the JSON is not an object")
    _refuse_depth(found)
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999 is JSON, but can be stored nowhere
        raise ValueError("a number is too large")
    return number


def _refuse_depth(value: object) -> None:
    """Level by level, since recursion is what such a body is made to exhaust."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
    if level:
        raise _UnreadableError("the JSON is nested deeper than a form is")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _xml(body: bytes) -> dict[str, Any]:
    top, data = _xml_data(body)
    return _said(top, data)


def _xml_data(body: bytes) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What stands outside `form_data`, and what in it; the root is taken for `form_data` if there is none."""
    reader = _XmlReader()
    reader.read(body)
    return {name: values[0] for name, values in reader.outside.items()}, reader.inside or reader.outside


class _XmlReader:
    """Elements of flat XML and their texts. Declarations of documents and entities are refused."""

    def __init__(self) -> None:
        self.inside: dict[str, list[str]] = {}
        self.outside: dict[str, list[str]] = {}
        self._path: list[str] = []
        self._text: list[str] = []
        self._leaf = False

    def read(self, body: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(body, True)
        except _UnreadableError:
            raise
        except (expat.ExpatError, ValueError) as error:
            raise _UnreadableError("the XML cannot be read") from error

    def _refuse(self, *_: Any) -> None:
        raise _UnreadableError("the XML declares a document type, which Unbounce does not")

    def _start(self, name: str, _: Mapping[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > _DEEPEST:
            raise _UnreadableError("the XML is nested deeper than a form is")
        self._text.clear()
        self._leaf = True

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._leaf and self._path:
            where = self.inside if "form_data" in self._path else self.outside
            where.setdefault(name, []).append("".join(self._text).strip())
        self._leaf = False


def _said(top: Mapping[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What is told of the page, and the form's values with whatever else came among them."""
    page = {name: values[0] for name in _TOP if (values := texts(top.get(name)))}
    return {**page, "data": data}


_READERS: Final[Mapping[tuple[str, ...], _Read]] = {
    ("application/x-www-form-urlencoded",): _form,
    ("application/json",): _json,
    ("application/xml", "text/xml"): _xml,
}
