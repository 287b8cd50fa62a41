"""SIGTERM and SIGINT (Ctrl-C): the first one asks, the second one insists."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

__all__ = ["end_at_once", "signals"]

_INTERRUPTED: Final = 130  # what shells say of a program ended by Ctrl-C
_SHOW_CURSOR: Final = b"\x1b[?25h"  # progress bars hide it

Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def signals(first: Callable[[], None], further: Callable[[], None]) -> Iterator[Handler]:
    """Inside, the first signal calls `first` and every other one `further`. Yields what is called by a signal.

    In a thread that is not the main one nothing is changed: signals do not come there.
    """
    order = itertools.count()  # in one step, for a signal may come in the midst of handling another

    def handle(_number: int, _frame: FrameType | None) -> None:
        (first if next(order) == 0 else further)()

    if threading.current_thread() is not threading.main_thread():
        yield handle
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield handle
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_at_once() -> NoReturn:
    """As if killed, in the middle of whatever is done. That is harmless: the next run takes up what this one left."""
    terminal = sys.stderr.isatty()
    message = b"ended at once; what was done so far is recorded, the next run goes on from there\n"
    os.write(2, (_SHOW_CURSOR if terminal else b"") + message)  # a signal may come in the middle of a print
    os._exit(_INTERRUPTED)
