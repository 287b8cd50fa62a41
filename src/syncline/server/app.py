"""The addresses: `POST /hooks/CONNECTION`, and whatever a vendor writes behind that; `GET /health`, `GET /metrics`."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from structlog.contextvars import bound_contextvars

from syncline.config.models import Server
from syncline.errors import StoreError
from syncline.sdk import WebhookRequest
from syncline.server.limits import Buckets, Bytes
from syncline.server.metrics import CONTENT_TYPE, ServerMetrics
from syncline.server.receiver import Answer, Receiver
from syncline.server.writer import Writer

__all__ = ["make_app"]

_log = logging.getLogger(__name__)

_HELD: Final = 128 * 2**20  # bytes of bodies at a time, all connections together
_BODY_WITHIN: Final = 10.0  # seconds for a body to arrive in
_COME_AGAIN: Final = {"Retry-After": "30"}
_GONE: Final = 499  # as other servers count whoever does not wait for an answer
_TOO_LARGE: Final = "larger than max_body_bytes"
_TOO_FAST: Final = "faster than per_second or per_client_per_second"


class _Declined(Exception):  # noqa: N818  # an answer, no mistake
    """Not taken, with the answer to that; `reason` is counted."""

    def __init__(self, status: int, reason: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.reason = reason
        self.response = Response(status_code=status, headers=headers)


def make_app(
    receivers: Mapping[str, Receiver | None],
    writer: Writer,
    settings: Server,
    *,
    metrics: ServerMetrics | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """An ASGI application. A connection whose receiver is None cannot receive just now: its vendor is put off.

    Whatever is sent, no answer is a 500.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    door = _Door(settings, monotonic)

    async def health(_: Request) -> Response:
        try:
            await asyncio.to_thread(writer.check)
        except StoreError:
            return JSONResponse({"status": "the store cannot be used"}, 503)
        return JSONResponse({"status": "ok"})

    async def scrape(request: Request) -> Response:
        if metrics is None or _came_through_a_proxy(request):
            return Response(status_code=404)
        try:
            text = await asyncio.to_thread(metrics.text)
        except StoreError:
            return Response(status_code=503)
        return Response(text, media_type=CONTENT_TYPE)

    async def hook(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in receivers:
            return Response(status_code=404)
        if request.method != "POST":  # vendors look whether the address is there
            return Response(status_code=200)
        answered = metrics.arrives(name) if metrics else _nobody_counts
        status = _GONE
        try:
            with bound_contextvars(connection=name):
                response = await _taken(request, receivers[name], door, settings.public_url)
            status = response.status_code
        finally:
            answered(status)
        _log.debug("%s: answered %d", name, response.status_code)
        return response

    app.add_route("/health", health, methods=["GET"])  # plain routes: there is nothing here to parse or to document
    app.add_route("/metrics", scrape, methods=["GET"])
    for path in ("/hooks/{name}", "/hooks/{name}/{rest:path}"):
        app.add_route(path, hook, methods=["GET", "POST"])
    return app


_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def _came_through_a_proxy(request: Request) -> bool:
    """From outside then: vendors' webhooks come in that way, and our figures are not for everybody."""
    return any(name in request.headers for name in _FORWARDED)


def _nobody_counts(_: int) -> None:
    """Without metrics."""


async def _taken(request: Request, receiver: Receiver | None, door: _Door, public_url: str | None) -> Response:
    if receiver is None:
        return Response(status_code=503, headers=_COME_AGAIN)
    try:
        with door.held.share() as more:
            body = await door.body_of(request, receiver.name, more)
            answer = await receiver.take(_webhook(request, body, receiver, public_url))
    except _Declined as declined:
        if declined.reason:
            receiver.refused(declined.reason)
        return declined.response
    return Response(status_code=answer, headers=_COME_AGAIN if answer is Answer.LATER else None)


class _Door:
    """What is let in: so many requests, and so large."""

    def __init__(self, settings: Server, monotonic: Callable[[], float]) -> None:
        self.held = Bytes(_HELD)
        self._most = settings.max_body_bytes
        self._clients = Buckets(settings.per_client_per_second, monotonic)
        self._connections = Buckets(settings.per_second, monotonic)

    async def body_of(self, request: Request, name: str, more: Callable[[int], bool]) -> bytes:
        """The body, read as far as it may be; `_Declined` otherwise."""
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > self._most:
            raise _Declined(413, _TOO_LARGE)
        client = request.client.host if request.client else ""
        if wait := self._clients.take(client) or self._connections.take(name):
            raise _Declined(429, _TOO_FAST, {"Retry-After": str(math.ceil(wait))})
        try:
            async with asyncio.timeout(_BODY_WITHIN):
                return await self._read(request, more)
        except (TimeoutError, ClientDisconnect) as error:
            raise _Declined(408) from error

    async def _read(self, request: Request, more: Callable[[int], bool]) -> bytes:
        body = bytearray()
        async for piece in request.stream():
            if len(body) + len(piece) > self._most:
                raise _Declined(413, _TOO_LARGE)
            if not more(len(piece)):
                raise _Declined(503, headers=_COME_AGAIN)
            body += piece
        return bytes(body)


def _webhook(request: Request, body: bytes, receiver: Receiver, public_url: str | None) -> WebhookRequest:
    """The request as the vendor sent it; behind a proxy at the address it called."""
    path, query = (request.scope[name].decode("latin-1") for name in ("raw_path", "query_string"))
    headers: dict[str, str] = {}
    for name, value in request.headers.items():  # lower-case already; one that comes twice is a list, as HTTP has it
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    here = public_url or f"{request.scope['scheme']}://{headers.get('host', '')}"
    return WebhookRequest(
        method=request.method,
        path=path,
        query=query,
        headers=headers,
        body=body,
        received_at=receiver.clock(),
        url=f"{here}{path}?{query}" if query else f"{here}{path}",
    )
