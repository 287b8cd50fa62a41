"""HTTP/1.1 that hangs up on whoever connects and does not ask, or does not come to an end with asking.

uvicorn waits for ever for the first line of a request, and for the rest of a body that has been answered already. A few
idle connections would so take the places of every vendor.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["WITHIN", "Impatient"]

WITHIN: Final = 15.0
"""Seconds for a request to begin in; a request that has begun is answered in less."""


class Impatient(H11Protocol):
    """A connection that is looked at every `WITHIN` seconds, and ended if no request was answered or begun since.

    It is h11 whatever else is installed: that refuses headers that are too long (64 KiB), others do not.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._seen: Any = None
        self._next_look = self.loop.call_later(WITHIN, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        request = self.cycle
        if request is self._seen and (request is None or request.response_complete):
            self.transport.abort()
            return
        self._seen = request
        self._next_look = self.loop.call_later(WITHIN, self._look)
