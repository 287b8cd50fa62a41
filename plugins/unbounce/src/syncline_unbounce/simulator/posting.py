"""The form-submit webhook as Unbounce posts it.

Form-encoded bodies are as recorded on 2017-11-15. What a JSON or XML body looks like around the form's values is not
known: every shape that the vendor sheet (§2) names can be sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from syncline.sdk import WebhookRequest
from syncline_unbounce.simulator.world import LeadRow, PageRow

__all__ = ["SHAPES", "Address", "Kind", "posted"]

Kind = Literal["form", "json", "json-scalars", "json-data", "json-data.json", "json-data.json-text", "xml", "xml-page"]


class Address(NamedTuple):
    """Where a webhook goes, and the headers that were set up with it."""

    url: str
    headers: Mapping[str, str]


def posted(page: PageRow, lead: LeadRow, kind: Kind, to: Address, submitted_at: datetime) -> WebhookRequest:
    """One call. It has no lead id, and the time only to the minute."""
    content_type, write = SHAPES[kind]
    body = write(_page_fields(page, lead), _inner(page, lead, submitted_at)).encode()
    path, _, query = to.url.partition("//")[2].partition("/")[2].partition("?")
    headers = {"content-type": content_type, "content-length": str(len(body)), "accept": "*/*"}
    headers |= {name.lower(): value for name, value in to.headers.items()}
    return WebhookRequest("POST", f"/{path}", query, headers, body, submitted_at, to.url)


_Inner = Mapping[str, Sequence[str]]
_Write = Callable[[Mapping[str, str], _Inner], str]


def _page_fields(page: PageRow, lead: LeadRow) -> dict[str, str]:
    return {"page_url": page.url, "page_name": page.name, "page_id": page.id, "variant": lead.variant}


def _inner(page: PageRow, lead: LeadRow, submitted_at: datetime) -> dict[str, list[str]]:
    """The form's values and what is told with them; every value a list."""
    moment = submitted_at.astimezone(UTC)
    hour = moment.hour % 12 or 12
    return {
        **{name: list(values) for name, values in lead.form_data.items()},
        "ip_address": [lead.ip],
        "page_uuid": [page.id],
        "variant": [lead.variant],
        "time_submitted": [f"{hour}:{moment.minute:02d} {'AM' if moment.hour < 12 else 'PM'} UTC"],
        "date_submitted": [moment.date().isoformat()],
        "page_url": [page.url],
        "page_name": [page.name],
    }


def _form(page: Mapping[str, str], inner: _Inner) -> str:
    return urlencode({**page, "data.json": _compact(inner), "data.xml": _xml_document(inner)})


def _xml_document(inner: _Inner) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><form_data>{_elements(inner)}</form_data>'


def _xml_with_page(page: Mapping[str, str], inner: _Inner) -> str:
    around = _elements({name: [value] for name, value in page.items()})
    inside = f"<form_data>{_elements(inner)}</form_data>"
    return f'<?xml version="1.0" encoding="UTF-8"?><submission>{around}{inside}</submission>'


def _elements(inner: _Inner) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, values in inner.items() for value in values)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _scalars(inner: _Inner) -> dict[str, Any]:
    return {name: values[0] if len(values) == 1 else list(values) for name, values in inner.items()}


SHAPES: Final[Mapping[Kind, tuple[str, _Write]]] = {
    "form": ("application/x-www-form-urlencoded", _form),
    "json": ("application/json", lambda _, inner: _compact(inner)),
    "json-scalars": ("application/json", lambda page, inner: _compact({**page, **_scalars(inner)})),
    "json-data": ("application/json; charset=utf-8", lambda page, inner: _compact({**page, "data": inner})),
    "json-data.json": ("application/json", lambda page, inner: _compact({**page, "data.json": inner})),
    "json-data.json-text": ("application/json", lambda page, inner: _compact({**page, "data.json": _compact(inner)})),
    "xml": ("application/xml", lambda _, inner: _xml_document(inner)),
    "xml-page": ("text/xml; charset=utf-8", _xml_with_page),
}
