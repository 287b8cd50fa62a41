"""Who sleeps, and whose threads stay behind."""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Final, Self

from syncline.testing.contract._expect import expect

__all__ = ["Watch"]

_SIMULATORS: Final = ("werkzeug", "socketserver", "syncline.testing.simulator")
_GRACE: Final = 0.5
"""Seconds that a thread may take to end after its work is done."""


class Watch:
    """Counts every `time.sleep` while it is entered, and lets nobody wait; simulators may, they play the vendor."""

    def __init__(self) -> None:
        self._slept: list[float] = []

    def hold(self, what: str) -> None:
        """AssertionError when somebody slept since the last time, or a thread is still there."""
        slept, self._slept = self._slept, []
        expect(not slept, f"{what}: slept for {slept[:3]} s; raise the error that says how long, and let the host wait")
        left = [thread.name for thread in threading.enumerate() if self._stays(thread)]
        expect(not left, f"{what}: threads are left behind: {', '.join(left)}; end them before the call returns")

    def __enter__(self) -> Self:
        self._true = time.sleep
        self._me, self._before = threading.current_thread(), set(threading.enumerate())
        self._bound = [(module, name) for module in list(sys.modules.values()) for name in self._names_of_sleep(module)]
        for module, name in self._bound:
            setattr(module, name, self._sleep)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for module, name in self._bound:
            setattr(module, name, self._true)

    def _names_of_sleep(self, module: Any) -> list[str]:
        """Where modules hold it: whoever says `from time import sleep` keeps a name of his own."""
        return [name for name, value in list(getattr(module, "__dict__", {}).items()) if value is self._true]

    def _sleep(self, seconds: float) -> None:
        somebody_else = threading.current_thread() in self._before - {self._me}
        if somebody_else or _within_a_simulator(sys._getframe(1)):
            self._true(seconds)
        else:
            self._slept.append(seconds)

    def _stays(self, thread: threading.Thread) -> bool:
        if thread in self._before or not thread.is_alive() or "process_request_thread" in thread.name:
            return False
        thread.join(_GRACE)
        return thread.is_alive()


def _within_a_simulator(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_SIMULATORS):
            return True
        frame = frame.f_back
    return False
