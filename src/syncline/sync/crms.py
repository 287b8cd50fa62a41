"""The CRMs as a run finds them: the same account as ever, described, preflighted, mirrored."""

from __future__ import annotations

from syncline.errors import ConnectorError, GuardError, SchemaDriftError
from syncline.sdk import Receives, Sink, Source
from syncline.sdk.config import ConnectorConfig
from syncline.sync.course import Course
from syncline.sync.mirror import describe, refresh, settle_unanswered
from syncline.sync.report import SinkReport
from syncline.sync.target import Target
from syncline.sync.webhooks import Notices, report_on

__all__ = ["read_crms"]


def read_crms(course: Course) -> list[Target]:
    """The targets that can be planned for. A CRM that is out of reach, or not itself, drops out with its reason."""
    return [ready for target in course.setup.targets if (ready := _read(course, target)) is not None]


def _read(course: Course, target: Target) -> Target | None:
    report = course.begin(target)
    stage = f"read {target.connection}"
    course.setup.progress.start(stage, None)
    try:
        return _read_one(course, target, report)
    except GuardError as error:
        report.error = str(error)
        course.worsen("stopped")
    except ConnectorError as error:
        course.drop(report, error)
    finally:
        report.calls = course.calls(target)
        course.setup.progress.finish(stage)
    return None


def _read_one(course: Course, target: Target, report: SinkReport) -> Target:
    setup = course.setup
    sink = setup.sinks[target.connection]
    _same_account(course, target.connection, sink)
    checked = describe(target, sink, setup.retry)
    _note_parked(course, report, checked)
    notices = _notices(course, target.connection, report)
    refresh(setup.database, checked, sink, retry=setup.retry, now=setup.clock(), progress=setup.progress)
    settle_unanswered(setup.database, target.connection, setup.clock())
    report.notices = notices.settle(setup.database) if notices else 0
    return checked


def _same_account(course: Course, name: str, sink: Sink[ConnectorConfig]) -> None:
    """What we know of a CRM holds for the account we learned it from: another one must not be written by it."""
    account = course.setup.retry(sink.check)
    known = sink.context.keep.setdefault("account", account.id)
    if known != account.id:
        raise GuardError(
            f"{name} now reaches another account ({account.name}, {account.id}; before: {known}). What we know of "
            f"the old one's records would be wrong there. If it is meant: `syncline reset {name}` forgets the old "
            "one, and the next run matches everybody anew"
        )


def _note_parked(course: Course, report: SinkReport, target: Target) -> None:
    report.parked = [f"{item.object}.{item.field}: {item.reason}" for item in target.parked]
    if not target.parked:
        return
    course.worsen("stopped")
    fatal = [item for item in target.parked if item.field == target.match]
    if fatal:
        raise SchemaDriftError(
            f"{fatal[0].object}.{target.match}, which carries our key, cannot be used: {fatal[0].reason}. "
            f"`syncline prepare {target.connection}` shows what is missing and creates it",
            field=target.match,
            where=target.connection,
        )


def _notices(course: Course, name: str, report: SinkReport) -> Notices | None:
    """What the CRM's webhooks have said so far. Those of a connection that is also a source are events instead."""
    setup = course.setup
    sink = setup.sinks[name]
    if isinstance(sink, Source) or not isinstance(sink, Receives):
        return None
    report.webhook = report_on(setup.database, name, setup.clock() - setup.raw_retention)
    return Notices.seen(setup.database, name)
