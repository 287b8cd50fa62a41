"""What all parts of one run share: its setup, its report, and what trouble makes of its status."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from syncline.errors import (
    AuthError,
    ConfigError,
    ConnectorError,
    ContractError,
    GuardError,
    RateLimitError,
    SchemaDriftError,
    SynclineError,
    TransientError,
)
from syncline.events.classify import Classifier
from syncline.model import from_microseconds, microseconds
from syncline.people import ConsentRules, IdentityRules
from syncline.scoring.program import Program
from syncline.sdk import Sink, Source
from syncline.sdk.config import ConnectorConfig
from syncline.store import pauses
from syncline.store.database import Database
from syncline.store.pauses import Pause
from syncline.sync.budget import Budget
from syncline.sync.guards import Allowance
from syncline.sync.plan import ActionRule
from syncline.sync.progress import NoProgress, Progress
from syncline.sync.report import Report, SinkReport, SourceReport, Trouble
from syncline.sync.retry import LONGEST, Retry, retrying
from syncline.sync.target import Target

__all__ = ["Course", "Operations", "Setup", "alive", "fail", "new_run_id", "status_of", "trouble_of"]

Operations = Counter[tuple[str, str, str]]
"""(operation, object, match) → how many rows of it are planned."""

_WORSE: tuple[str, ...] = ("planned", "done", "rejected", "stopped", "paused", "misconfigured", "interrupted")


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a run needs, wired by the host."""

    database: Database
    program: Program
    clock: Callable[[], datetime]
    sources: Mapping[str, Source[ConnectorConfig]] = field(default_factory=dict)
    sinks: Mapping[str, Sink[ConnectorConfig]] = field(default_factory=dict)
    targets: Sequence[Target] = ()
    rules: Sequence[ActionRule] = ()
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)
    identity: IdentityRules = field(default_factory=IdentityRules)
    retry: Retry = field(default_factory=retrying)
    progress: Progress = field(default_factory=NoProgress)
    raw_retention: timedelta = timedelta(days=30)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    consent: ConsentRules = field(default_factory=ConsentRules)
    syncs: str | None = None
    """The syncs this is about, with commas between; None: all of them."""


def alive(setup: Setup, beat: Callable[[], None]) -> Setup:
    """`setup` that gives a sign of life with every page read and every batch written."""
    return replace(setup, progress=_Alive(setup.progress, beat))


def new_run_id(setup: Setup) -> str:
    """Sorts by time, and no two are the same."""
    return f"{setup.clock():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class _Alive:
    """Progress, and with every step of it a sign of life: reading may take longer than a silent holder is believed."""

    def __init__(self, progress: Progress, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._progress = progress
        self.start, self.finish = progress.start, progress.finish

    def advance(self, stage: str, by: int) -> None:
        self._progress.advance(stage, by)
        self._beat()


class Course:
    """One run on its way. `operations`, `clears`, `overwrites`, `opt_outs`: what its plan amounts to, by connection.

    `allowance` is what a person allows for this run.
    """

    def __init__(self, setup: Setup, run_id: str, as_of: datetime, allowance: Allowance | None = None) -> None:
        self.setup = setup
        self.allowance = allowance or Allowance()
        self.run_id = run_id
        self.as_of = as_of
        self.report = Report(run_id=run_id, as_of=as_of.isoformat())
        self.operations: dict[str, Operations] = {}
        self.clears: Counter[str] = Counter()
        self.overwrites: Counter[str] = Counter()
        self.inspected: list[Target] = []
        """What was held against its CRM, also where nothing was left to be written."""
        self.opt_outs: Counter[str] = Counter()
        self._calls_before: dict[str, int] = {}

    def begin(self, target: Target) -> SinkReport:
        """Count this CRM's calls from here on: it may have been read as a source before."""
        self._calls_before[target.connection] = self.setup.sinks[target.connection].context.http.metrics.total
        return self.report.sinks.setdefault(target.connection, SinkReport())

    def calls(self, target: Target) -> int:
        name = target.connection
        return self.setup.sinks[name].context.http.metrics.total - self._calls_before[name]

    def worsen(self, status: str) -> None:
        """The worst status of all parts is that of the run."""
        if _WORSE.index(status) > _WORSE.index(self.report.status):
            self.report.status = status  # type: ignore[assignment]  # one of the literals above

    def drop(
        self,
        name: str,
        report: SourceReport | SinkReport,
        error: ConnectorError,
        otherwise: str = "stopped",
    ) -> None:
        """This connection is out of the run; the others go on. One whose day is used up is left alone until it ends."""
        fail(report, error)
        self.worsen(status_of(error, otherwise=otherwise))
        if isinstance(error, RateLimitError) and error.retry_after is not None and error.retry_after > LONGEST:
            now = self.setup.clock()
            until = microseconds(now + error.retry_after)
            with self.setup.database.write() as connection:
                pauses.pause(connection, Pause(name, "quota", error.message, microseconds(now), until))

    def resting(self, name: str, report: SourceReport | SinkReport) -> bool:
        """Whether this connection's day is used up, so that it is not even asked; the report says until when."""
        now_us = microseconds(self.setup.clock())
        with self.setup.database.read() as connection:
            found = pauses.paused(connection, now_us).get(name)
        if found is None or found.kind != "quota" or found.until_us is None:
            return False
        until = from_microseconds(found.until_us)
        wait = timedelta(microseconds=found.until_us - now_us)
        words = f"not asked before {until:%Y-%m-%d %H:%M} UTC: {found.reason}"
        fail(report, RateLimitError(words, retry_after=wait, where=name))
        self.worsen("rejected")
        return True


def fail(report: SourceReport | SinkReport, error: SynclineError) -> None:
    """The report of one connection says what went wrong, and of which kind it is."""
    report.error, report.trouble = str(error), trouble_of(error)


def trouble_of(error: SynclineError) -> Trouble:
    """What somebody has to look at."""
    kinds: tuple[tuple[type[SynclineError], Trouble], ...] = (
        (AuthError, "credentials"),
        (ConfigError, "settings"),
        (GuardError, "guard"),
        (SchemaDriftError, "drift"),
        (TransientError, "weather"),
        (ContractError, "plugin"),
    )
    return next((trouble for kind, trouble in kinds if isinstance(error, kind)), "refused")


def status_of(error: ConnectorError, otherwise: str) -> str:
    """What one connection's error makes of the run; the other connections go on."""
    for kind, status in ((AuthError, "paused"), (ConfigError, "misconfigured"), (TransientError, "rejected")):
        if isinstance(error, kind):
            return status
    return otherwise
