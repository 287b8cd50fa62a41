"""What all parts of one run share: its setup, its report, and what trouble makes of its status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncline.errors import AuthError, ConfigError, ConnectorError, TransientError
from syncline.events.classify import Classifier
from syncline.people import IdentityRules
from syncline.scoring.program import Program
from syncline.sdk import Sink, Source
from syncline.sdk.config import ConnectorConfig
from syncline.store.database import Database
from syncline.sync.plan import ActionRule
from syncline.sync.progress import NoProgress, Progress
from syncline.sync.report import Report, SinkReport
from syncline.sync.retry import Retry, retrying
from syncline.sync.target import Target

__all__ = ["Course", "Operations", "Setup", "status_of"]

Operations = Counter[tuple[str, str, str]]
"""(operation, object, match) → how many rows of it are planned."""

_WORSE: tuple[str, ...] = ("planned", "done", "rejected", "stopped", "paused", "misconfigured")


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


class Course:
    """One run on its way. `operations` and `clears` are what its plan amounts to, by connection."""

    def __init__(self, setup: Setup, run_id: str, as_of: datetime) -> None:
        self.setup = setup
        self.run_id = run_id
        self.as_of = as_of
        self.report = Report(run_id=run_id, as_of=as_of.isoformat())
        self.operations: dict[str, Operations] = {}
        self.clears: Counter[str] = Counter()
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

    def drop(self, report: SinkReport, error: ConnectorError) -> None:
        """This CRM is out of the run; the others go on."""
        report.error = str(error)
        self.worsen(status_of(error, otherwise="stopped"))


def status_of(error: ConnectorError, otherwise: str) -> str:
    """What one connection's error makes of the run; the other connections go on."""
    for kind, status in ((AuthError, "paused"), (ConfigError, "misconfigured"), (TransientError, "rejected")):
        if isinstance(error, kind):
            return status
    return otherwise
