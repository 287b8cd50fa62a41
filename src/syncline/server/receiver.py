"""One connection's webhooks: verified and read in a thread of its own, kept by the writer, answered in time."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from typing import Any, Final

from syncline.errors import StoreError, WebhookRejectedError
from syncline.sdk import Connector, Receives, WebhookRequest
from syncline.server.writer import Writer
from syncline.store.webhooks import Outcome
from syncline.sync.webhooks import open_request

__all__ = ["Answer", "Receiver"]

_log = logging.getLogger(__name__)

_WITHIN: Final = 4.5
"""Seconds to answer in: the most impatient vendor waits for five. One that is put off comes again, harmlessly."""
_MOST_WAITING: Final = 1000
"""So many requests of a connection may wait for its plugin, those included that have been put off since."""


class Answer(IntEnum):
    """What a vendor is told."""

    KEPT = 200
    REFUSED = 403
    LATER = 503


class Receiver:
    """Takes the requests of one connection; `connector` has `receive`.

    One thread calls it, so that a slow plugin holds up neither the loop nor other connections, and none needs locks.
    """

    def __init__(
        self,
        name: str,
        connector: Connector[Any],
        writer: Writer,
        *,
        within: float = _WITHIN,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        if not isinstance(connector, Receives):
            raise TypeError(f"{name}: {connector.kind} does not take webhooks")
        self.name = name
        self.clock = connector.context.clock
        self._receives: Receives = connector
        self._writer = writer
        self._within = within
        self._places = threading.BoundedSemaphore(most_waiting)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"syncline-receive-{name}")

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    async def take(self, request: WebhookRequest) -> Answer:
        """KEPT when it is on disk, or was before; never raises."""
        if not self._places.acquire(blocking=False):  # the plugin is stuck
            return Answer.LATER
        kept: Future[Outcome | None] = Future()
        waiting = deque([request])
        try:
            self._thread.submit(self._open, waiting, kept)
            async with asyncio.timeout(self._within):
                return self._answer(await asyncio.wrap_future(kept))
        except WebhookRejectedError as error:
            self.refused(error.message)
            return Answer.REFUSED
        except TimeoutError:
            waiting.clear()  # its turn is still to come, its body need not be held until then
            _log.warning("%s: a webhook was not kept within %s seconds, and is put off", self.name, self._within)
        except StoreError:
            pass  # the writer has said so
        except Exception as error:  # noqa: BLE001  # whatever was sent, the answer is never an error of ours
            kind = type(error).__name__  # what it says may quote the request
            _log.error("%s: a webhook could not be kept (%s)", self.name, kind)
        return Answer.LATER

    def refused(self, reason: str) -> None:
        """Count a request that was not taken."""
        if self._writer.count_refused(self.name, reason):
            _log.warning("%s: a webhook was refused; the report says how many were, and why", self.name)

    def _open(self, waiting: deque[WebhookRequest], kept: Future[Outcome | None]) -> None:
        """In the thread: verify, read, and hand on to the writer."""
        self._places.release()
        if kept.cancelled():  # it has waited too long
            return
        try:
            letter = open_request(self.name, self._receives, waiting.pop())
        except Exception as error:  # noqa: BLE001  # whoever waits gets an answer
            if kept.set_running_or_notify_cancel():
                kept.set_exception(error)
            return
        if letter.arrival.reason is not None:
            kind = letter.arrival.reason.partition(":")[0]
            _log.warning("%s: a webhook could not be read (%s); it is kept, to be read again", self.name, kind)
        self._writer.keep(letter, kept)

    def _answer(self, outcome: Outcome | None) -> Answer:
        if outcome is None:
            _log.error("%s: a webhook could not be read, and too many such are kept already", self.name)
            return Answer.LATER
        return Answer.KEPT
