"""The wish that a run comes to its end: asked from outside, heard between two batches."""

from __future__ import annotations

import contextlib
import threading

__all__ = ["Stop", "Stopped"]


class Stopped(BaseException):  # like KeyboardInterrupt not to be caught with the errors
    """The run ends here: the batch under way is recorded, nothing further is begun. Only the Runner catches it."""


class Stop:
    """Asked once, heard by everybody: by whoever looks with `check`, and by whoever waits.

    `ask` may be called in a signal handler. That is why this is no `threading.Event`: its lock is held for a moment
    by whoever waits, and a handler that interrupts just that thread would wait for it for ever.
    """

    def __init__(self) -> None:
        self._asked = False
        self._closed = threading.Lock()
        self._closed.acquire()

    @property
    def asked(self) -> bool:
        return self._asked

    def ask(self) -> None:
        self._asked = True
        with contextlib.suppress(RuntimeError):  # asked before
            self._closed.release()

    def check(self) -> None:
        """Stopped if it was asked."""
        if self._asked:
            raise Stopped

    def wait(self, seconds: float) -> bool:
        """Until it is asked, but no longer than this; whether it was."""
        if not self._asked and self._closed.acquire(timeout=seconds):
            self._closed.release()  # for the others that wait
        return self._asked

    def pause(self, seconds: float) -> None:
        """Wait so long; Stopped as soon as it is asked."""
        self.wait(seconds)
        self.check()
