"""The CRMs as a run finds them: the same account as ever, described, preflighted, mirrored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from syncline.errors import ConnectorError, GuardError
from syncline.events.classify import Classifier
from syncline.model import Account
from syncline.sdk import Receives, Sink, Source
from syncline.sdk.config import ConnectorConfig
from syncline.sync import crm_events, telemetry
from syncline.sync.course import Course, fail
from syncline.sync.ingest import Ingest
from syncline.sync.mirror import refresh, settle_unanswered
from syncline.sync.preflight import inspect, refuse_unusable
from syncline.sync.report import SinkReport
from syncline.sync.target import Target
from syncline.sync.webhooks import Notices, report_on

__all__ = ["read_crms"]

_CLOCKS_APART: Final = timedelta(days=1)
"""No two honest clocks differ by so much; less does little harm, and is what a wrong time zone makes."""


def read_crms(course: Course) -> list[Target]:
    """The targets that can be planned for. A CRM that is out of reach, or not itself, drops out with its reason."""
    found = []
    for target in course.setup.targets:
        with telemetry.stage(f"read {target.connection}", target.connection):
            found.append(_read(course, target))
    return [target for target in found if target is not None]


def _read(course: Course, target: Target) -> Target | None:
    report = course.begin(target)
    if course.resting(target.connection, report):
        return None
    stage = f"read {target.connection}"
    course.setup.progress.start(stage, None)
    try:
        return _read_one(course, target, report)
    except GuardError as error:
        fail(report, error)
        course.worsen("stopped")
    except ConnectorError as error:
        course.drop(target.connection, report, error)
    finally:
        report.calls = course.calls(target)
        course.setup.progress.finish(stage)
    return None


def _read_one(course: Course, target: Target, report: SinkReport) -> Target:
    setup = course.setup
    sink = setup.sinks[target.connection]
    _same_account(course, target.connection, sink)
    checked = inspect(target, sink, setup.retry, setup.database)
    course.inspected.append(checked)
    _note_parked(course, report, checked)
    notices = _notices(course, target.connection, report)
    refresh(setup.database, checked.reachable, sink, retry=setup.retry, now=setup.clock(), progress=setup.progress)
    settle_unanswered(setup.database, target, sink, setup.clock())
    report.crm_changes = crm_events.settle(setup.database, target.connection, _changes(course, target.connection))
    report.notices = notices.settle(setup.database) if notices else 0
    return checked


def _changes(course: Course, name: str) -> Ingest:
    """What makes events of what others changed there."""
    setup = course.setup
    classifier = setup.classifiers.get(name, Classifier())
    return Ingest(
        setup.database,
        crm_events.stream_of(name),
        crm_events.Changes(),
        classifier=classifier,
        identity_rules=setup.identity,
        clock=setup.clock,
    )


def _same_account(course: Course, name: str, sink: Sink[ConnectorConfig]) -> None:
    """What we know of a CRM holds for the account we learned it from: another one must not be written by it."""
    account = course.setup.retry(sink.check)
    _same_time(name, account, course.setup.clock())
    known = sink.context.keep.setdefault("account", account.id)
    if known != account.id:
        raise GuardError(
            f"{name} now reaches another account ({account.name}, {account.id}; before: {known}). What we know of "
            f"the old one's records would be wrong there. If it is meant: `syncline reset {name}` forgets the old "
            "one, and the next run matches everybody anew"
        )


def _same_time(name: str, account: Account, now: datetime) -> None:
    """A clock that has jumped would forget what people did last, or let it all decay: nothing is written by it."""
    if account.server_time is None or abs(account.server_time - now) < _CLOCKS_APART:
        return
    raise GuardError(
        f"{name}: this machine's clock says {now:%Y-%m-%d %H:%M} UTC, {account.name} says "
        f"{account.server_time:%Y-%m-%d %H:%M}. Scores would be for the wrong time. Set the clock right; the next run "
        "goes on"
    )


def _note_parked(course: Course, report: SinkReport, target: Target) -> None:
    report.parked = [str(item) for item in target.parked]
    if target.parked:
        course.worsen("stopped")
    refuse_unusable(target)


def _notices(course: Course, name: str, report: SinkReport) -> Notices | None:
    """What the CRM's webhooks have said so far. Those of a connection that is also a source are events instead."""
    setup = course.setup
    sink = setup.sinks[name]
    if isinstance(sink, Source) or not isinstance(sink, Receives):
        return None
    report.webhook = report_on(setup.database, name, setup.clock() - setup.raw_retention)
    return Notices.seen(setup.database, name)
