"""Every error, grouped by what happens next.

SynclineError
├─ ConnectorError
│  ├─ ConfigError            stop before any network
│  ├─ AuthError              pause the connection; never retried
│  ├─ TransientError         retry, after retry_after if given
│  │  └─ RateLimitError      and slow the whole connection
│  ├─ CursorExpiredError     backfill from the lookback
│  ├─ SchemaDriftError       park that mapping, name the field
│  ├─ WebhookRejectedError   refuse, count, store nothing
│  └─ ContractError          the plugin broke the contract: a bug, not weather
├─ RecordError               quarantine this one record, go on with the next
├─ GuardError                a guard stopped the run before the first write; a person decides
├─ BusyError                 another run holds the lease
└─ StoreError                the state database cannot be used as it is
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

__all__ = [
    "AuthError",
    "BusyError",
    "ConfigError",
    "ConnectorError",
    "ContractError",
    "CursorExpiredError",
    "GuardError",
    "Problem",
    "RateLimitError",
    "RecordError",
    "SchemaDriftError",
    "StoreError",
    "SynclineError",
    "TransientError",
    "WebhookRejectedError",
    "did_you_mean",
]


class SynclineError(Exception):
    """Base of everything syncline raises on purpose."""


class ConnectorError(SynclineError):
    """Trouble with a call to a vendor, or with the plugin that made it.

    `where` names connection, stream or object, and key; `request_id` is the vendor's own, for its support desk.
    """

    def __init__(self, message: str, *, where: str | None = None, request_id: str | None = None) -> None:
        self.message = message
        self.where = where
        self.request_id = request_id
        super().__init__(message)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        trace = f" (request {self.request_id})" if self.request_id else ""
        return f"{place}{self.message}{trace}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: where it is (keys from the top) and what to do about it."""

    path: tuple[str | int, ...]
    message: str


class ConfigError(ConnectorError):
    """The configuration cannot be used. Carries every problem found, not only the first."""

    def __init__(self, message: str = "", *, problems: Sequence[Problem] = (), where: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__(message or "\n".join(p.message for p in problems), where=where)


class AuthError(ConnectorError):
    """Credentials are refused. The host pauses the connection and says so; nothing is retried."""


class TransientError(ConnectorError):
    """Weather: the same call may succeed later, no sooner than `retry_after` if the vendor said so."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        where: str | None = None,
        request_id: str | None = None,
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, where=where, request_id=request_id)


class RateLimitError(TransientError):
    """The vendor asks us to slow down: the whole connection does."""


class CursorExpiredError(ConnectorError):
    """The vendor no longer knows this position; the host reads again from the lookback."""


class SchemaDriftError(ConnectorError):
    """A mapped field is gone, renamed, retyped or read-only. Only that mapping is parked."""

    def __init__(self, message: str, *, field: str, where: str | None = None, request_id: str | None = None) -> None:
        self.field = field
        super().__init__(message, where=where, request_id=request_id)


class WebhookRejectedError(ConnectorError):
    """The request is not what it claims to be: refuse, count, store nothing."""


class ContractError(ConnectorError):
    """A plugin broke the contract."""


class RecordError(SynclineError):
    """One record cannot be used. Raised by `normalize`; the record is quarantined with this reason."""


class GuardError(SynclineError):
    """A guard or a drift stopped the run before the first write."""


class BusyError(SynclineError):
    """Another run is active."""


class StoreError(SynclineError):
    """The state database is of a newer version, damaged, or out of reach."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known names, nearest first: `did you mean 'audience'? Known: audience, api_key, …`."""
    names = sorted(set(known))
    if not names:
        return "nothing is known here"
    near = difflib.get_close_matches(name, names, n=len(names), cutoff=0.6)
    ordered = near + [n for n in names if n not in near]
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}Known: {', '.join(ordered)}"
