"""One thread writes: what waits goes into one transaction, and nobody is answered before it is on disk."""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Final, NamedTuple, Self

from syncline.errors import StoreError
from syncline.store.database import Database, version_of
from syncline.store.webhooks import Counts, Outcome, add_counts
from syncline.sync.webhooks import Letter, short_reason, take

__all__ = ["Writer"]

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 500  # letters in one transaction
_COUNTS_WAIT: Final = 1.0  # seconds after which counts are written that no letter has taken along
_REASONS: Final = 20  # different ones a connection and day: a plugin may quote what a stranger sent
_OTHER: Final = "other reasons"


class _Job(NamedTuple):
    letter: Letter
    done: Future[Outcome | None]


class Writer:
    """Keeps letters and counts; a context manager. `clock` is the time they are kept under."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._counts: Counts = Counter()
        self._reasons: dict[tuple[str, int], set[str]] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="syncline-writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Returns when everything that was given is written."""
        self._jobs.put(None)
        self._thread.join()

    def check(self) -> None:
        """StoreError when nothing can be kept."""
        if not self._thread.is_alive():
            raise StoreError("the thread that writes has ended; start the server again")
        with self._database.read() as connection:
            version_of(connection)

    def keep(self, letter: Letter, done: Future[Outcome | None]) -> None:
        """`done` is done when the letter is on disk; None if it could not be taken, StoreError if it may be later.

        A letter whose `done` is cancelled before its turn is not kept: nobody waits for it any more.
        """
        self._jobs.put(_Job(letter, done))

    def count_refused(self, name: str, reason: str) -> bool:
        """Count a request that was refused; True when it is the first of its day for this reason.

        Counts are written along with the next letters, or within a second: what is refused costs no transaction.
        """
        reason = short_reason(reason)
        with self._lock:
            known = self._reasons_of(name)
            first = reason not in known
            if first and len(known) >= _REASONS:
                first, reason = False, _OTHER
            known.add(reason)
            self._counts[name, "refused", reason] += 1
        return first

    def _reasons_of(self, name: str) -> set[str]:
        """Those of today."""
        today = self._clock().toordinal()
        if (name, today) not in self._reasons:
            self._reasons = {key: reasons for key, reasons in self._reasons.items() if key[1] == today}
        return self._reasons.setdefault((name, today), set())

    def _run(self) -> None:
        while not self._stopping:
            self._write(self._next())
        self._write([])

    def _next(self) -> list[_Job]:
        """The first that comes, with all that wait behind it; nothing when there are only counts to write."""
        jobs: list[_Job] = []
        try:
            while len(jobs) < _AT_ONCE:
                job = self._jobs.get_nowait() if jobs else self._jobs.get(timeout=_COUNTS_WAIT)
                if job is None:
                    self._stopping = True
                    break
                if job.done.set_running_or_notify_cancel():
                    jobs.append(job)
        except queue.Empty:
            pass
        return jobs

    def _write(self, jobs: Sequence[_Job]) -> None:
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if jobs or counts:
            self._try(jobs, counts)

    def _try(self, jobs: Sequence[_Job], counts: Counts) -> None:
        try:
            outcomes = self._commit([job.letter for job in jobs], counts)
        except StoreError as error:
            _log.error("%s", error)  # it says what to do; where it was raised does not matter
            self._put_back(counts)
            self._failed(jobs, error)
        except Exception as error:  # noqa: BLE001  # whoever waits for an answer gets one
            if len(jobs) + bool(counts) > 1:  # one of them is to blame, and the others must not suffer for it
                for job in jobs:
                    self._try([job], Counter())
                self._try([], counts)
                return
            _log.exception("a webhook could not be kept, or counted; this is a bug of syncline")
            self._failed(jobs, error)
        else:
            for job, outcome in zip(jobs, outcomes, strict=True):
                job.done.set_result(outcome)

    def _commit(self, letters: Sequence[Letter], counts: Counts) -> list[Outcome | None]:
        at = self._clock()
        with self._database.write() as connection:
            add_counts(connection, counts, at)
            return take(connection, letters, at)

    def _failed(self, jobs: Sequence[_Job], error: Exception) -> None:
        for job in jobs:
            job.done.set_exception(error)

    def _put_back(self, counts: Counts) -> None:
        with self._lock:
            self._counts += counts
