"""Trouble with the CRM in memory, made on purpose: calls that fail, records that are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from syncline.errors import AuthError
from syncline.model import Outcome, Status

__all__ = ["MemoryTrouble", "SessionEndedError"]


class SessionEndedError(AuthError):
    """A session that is no longer valid: the connectors log in again, once, and call again."""


@dataclass(slots=True)
class _CallFailure:
    """`after` calls of `method` are let through, then `times` fail; those `applied` were carried out all the same."""

    method: str
    error: Exception
    after: int
    times: int | None
    applied: bool


@dataclass(slots=True)
class _RecordFailure:
    key: str
    status: Status
    reason: str
    code: str
    times: int | None


class MemoryTrouble:
    """What a test wants to go wrong, and the calls that a vendor would have counted."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.log_ins = 0
        self._session = 0
        self._empty_page = False
        self._same_token = False
        self._call_failures: list[_CallFailure] = []
        self._record_failures: list[_RecordFailure] = []
        self._poison: dict[str, Exception] = {}

    def fail_call(
        self, method: str, error: Exception, *, after: int = 0, times: int | None = 1, applied: bool = False
    ) -> None:
        """Calls of `method` (a pattern, such as `upsert` or `*`) raise `error`; `times` None: for ever.

        `applied`: the call is carried out and its answer lost. A page that is read counts as one call.
        """
        self._call_failures.append(_CallFailure(method, error, after, times, applied))

    def fail_record(
        self,
        key: str,
        *,
        status: Status = Status.REJECTED,
        reason: str = "refused on purpose",
        code: str = "ON_PURPOSE",
        times: int | None = None,
    ) -> None:
        """Writes, tasks and members whose key matches this pattern get that outcome; `times` None: for ever."""
        self._record_failures.append(_RecordFailure(key, status, reason, code, times))

    def refuse_batches_with(self, key: str, error: Exception) -> None:
        """Any call that carries this key raises `error`, and nothing of it is carried out."""
        self._poison[key] = error

    def end_sessions(self) -> None:
        """Whatever a log-in gave is no longer valid; the credentials are."""
        self._session += 1

    def empty_page(self) -> None:
        """From now on every listing has a page without records before its second one."""
        self._empty_page = True

    def repeat_page_token(self) -> None:
        """From now on every page of a listing says that the next page is itself."""
        self._same_token = True

    def heal(self) -> None:
        """No more trouble."""
        self._empty_page = self._same_token = False
        self._call_failures.clear()
        self._record_failures.clear()
        self._poison.clear()

    def log_in(self) -> int:
        """A session, good for calls until `end_sessions`."""
        self.log_ins += 1
        return self._session

    def call(
        self, method: str, keys: Iterable[str] = (), *, write: bool = False, session: int | None = None
    ) -> Exception | None:
        """Count a call; raise the trouble meant for it, or return that which comes after it was carried out.

        SessionEndedError when the session is given and has ended.
        """
        if session is not None and session != self._session:
            raise SessionEndedError("the session has ended")
        try:
            return self._call(method, keys, write=write)
        except Exception:
            self.counters["failed"] += 1
            raise

    def _call(self, method: str, keys: Iterable[str], *, write: bool) -> Exception | None:
        self.counters["calls"] += 1
        self.counters[method] += 1
        self.counters["write_calls"] += write
        for key in keys:
            if key in self._poison:
                raise self._poison[key]
        for failure in self._call_failures:
            if _strikes(failure, method):
                if failure.applied:
                    return failure.error
                raise failure.error
        return None

    def trouble_with(self, key: str) -> Outcome | None:
        """The outcome a test wants for this key."""
        for failure in self._record_failures:
            if fnmatchcase(key, failure.key) and failure.times != 0:
                failure.times = None if failure.times is None else failure.times - 1
                return Outcome(key, failure.status, None, failure.reason, failure.code)
        return None


def _strikes(failure: _CallFailure, method: str) -> bool:
    if not fnmatchcase(method, failure.method):
        return False
    if failure.after > 0:
        failure.after -= 1
        return False
    if failure.times is None:
        return True
    failure.times -= 1
    return failure.times >= 0
