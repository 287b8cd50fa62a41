"""The wish to stop: heard by who looks, by who waits, and by who is interrupted by a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from syncline.errors import TransientError
from syncline.host.stopping import signals
from syncline.sync.retry import retrying
from syncline.sync.stop import Stop, Stopped

HOURS = 9999.0


def test_nobody_is_stopped_who_was_not_asked() -> None:
    stop = Stop()
    stop.check()
    stop.pause(0)
    assert not stop.wait(0)
    assert not stop.asked


def test_everybody_who_waits_is_woken() -> None:
    stop, begun, heard = Stop(), threading.Semaphore(0), []

    def wait() -> None:
        begun.release()
        heard.append(stop.wait(HOURS))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        begun.acquire()
    stop.ask()
    stop.ask()
    for thread in threads:
        thread.join(10)
    assert heard == [True] * 3
    with pytest.raises(Stopped):
        stop.check()


def interrupted_by(stop: Stop, act: Callable[[], object]) -> None:
    """`act` in the main thread, with a signal that comes while it waits."""
    main = threading.main_thread().ident
    assert main is not None
    with signals(stop.ask, lambda: pytest.fail("once only")):
        threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGTERM]).start()
        with pytest.raises(Stopped):
            act()


def test_a_signal_ends_a_pause() -> None:
    stop = Stop()
    interrupted_by(stop, lambda: stop.pause(HOURS))


def test_a_stop_is_not_delayed_by_a_pause_between_two_tries() -> None:
    stop, tries = Stop(), []

    def call() -> None:
        tries.append(1)
        raise TransientError("later", retry_after=timedelta(minutes=2))

    interrupted_by(stop, lambda: retrying(sleep=stop.pause)(call))
    assert tries == [1]


def test_what_catches_errors_does_not_catch_the_wish() -> None:
    assert not issubclass(Stopped, Exception)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_every_further_one_insists(number: signal.Signals) -> None:
    said: list[str] = []
    before = signal.getsignal(number)
    with signals(lambda: said.append("first"), lambda: said.append("further")):
        for _ in range(3):
            signal.raise_signal(number)
    assert said == ["first", "further", "further"]
    assert signal.getsignal(number) is before


def test_in_another_thread_signals_are_left_alone() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def look() -> None:
        with signals(lambda: None, lambda: None):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]
