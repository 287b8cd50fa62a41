"""The clock of `syncline serve`: looks every few seconds what is due, and runs it, one run at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Final, Protocol

from syncline.errors import BusyError, SynclineError
from syncline.host.schedule import Due, in_words
from syncline.sync.report import Report
from syncline.sync.stop import Stop

__all__ = ["LOOK", "PAUSE", "Scheduler"]

_log = logging.getLogger(__name__)

LOOK: Final = 10.0
"""Seconds between two looks at the clock: so late may a run be. A wait for the due time itself would be wrong as soon
as the clock is set or the machine has slept."""
PAUSE: Final = 60.0
"""Seconds until the next try while another run is active, or something is wrong."""
_NEXT: Final = "It is tried again every minute"


class _Runs(Protocol):
    """The host, as far as a scheduler needs it."""

    @property
    def stop(self) -> Stop: ...

    def due(self) -> Due: ...

    def run_due(self) -> Report | None: ...


class Scheduler:
    """Runs what is due, in a thread of its own, until the host's `stop` is asked."""

    def __init__(self, host: _Runs) -> None:
        self._host = host
        self._said: tuple[str, ...] = ()
        self._held: Mapping[str, object] = {}
        self._thread = threading.Thread(target=self.run, name="syncline-scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, within: float) -> bool:
        """Ask it to stop, and wait so many seconds for the batch under way; whether it came to its end."""
        self._host.stop.ask()
        self._thread.join(within)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def run(self) -> None:
        while not self._host.stop.asked:
            self._host.stop.wait(self.tick())

    def tick(self) -> float:
        """One look: run what is due. Whatever goes wrong is said once, not at every look; returns seconds to wait."""
        due = Due()
        try:
            due = self._host.due()
            self._say_held(due)
            if due.times and (report := self._host.run_due()) is not None:
                _say_done(due, report)
        except BusyError as error:
            if waiting := sorted(due.times.keys() - due.again):  # the others are what that run is at
                self._say("busy", *waiting, message=f"{', '.join(waiting)}: due, but {error}. {_NEXT}")
            return PAUSE
        except SynclineError as error:
            self._say(str(error), message=f"the schedule cannot go on: {error}. {_NEXT}")
            return PAUSE
        except Exception as error:  # noqa: BLE001  # the schedule goes on whatever one run met
            bug = "a scheduled run failed, by a bug of syncline; the schedule goes on"
            self._say(type(error).__name__, message=bug, error=error)
            return PAUSE
        self._said = ()
        return LOOK

    def _say(self, *about: str, message: str, error: Exception | None = None) -> None:
        """Once, until it is about something else, or all is well again."""
        if about != self._said:
            _log.warning("%s", message, exc_info=error)
        self._said = about

    def _say_held(self, due: Due) -> None:
        for sync in due.held.keys() - self._held.keys():
            _log.warning(
                "the clock was set back: %s waits until it is past %s, for which it was run already",
                sync,
                in_words(due.held[sync]),
            )
        self._held = due.held


def _say_done(due: Due, report: Report) -> None:
    _log.info("scheduled run %s of %s: %s", report.run_id, ", ".join(sorted(due.times)), report.status)
