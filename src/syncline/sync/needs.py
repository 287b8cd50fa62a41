"""What tasks and memberships need in a CRM: looked up once a run, when the first of them is to be written.

A run that has none to write asks nothing, so that it costs what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from syncline.errors import AuthError, ConfigError, ConnectorError
from syncline.model import FieldSpec, microseconds
from syncline.sdk import CreatesTasks, Prepares
from syncline.store.descriptions import Description, Known, descriptions, put_description
from syncline.sync.course import Setup
from syncline.sync.plan import TargetPlan
from syncline.sync.target import Parked, Target

__all__ = ["Needs"]

_NO_OBJECT: Final = ""
"""Where what is known of tasks and lists is kept, beside the objects."""
_TASKS: Final = "tasks"


class Needs:
    """Takes out of each CRM's plan what it has no place for, and says so by name. The rest is written."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._asked: dict[str, dict[str, str | None]] = {}
        """Connection → what was asked for → why it is parked; None: it is there."""

    def admit(self, target: Target, plan: TargetPlan) -> None:
        """Leave in `plan` what there is a place for. Tasks that are taken out stay noted, and come later."""
        if plan.tasks and self._tasks(target):
            plan.waiting += len(plan.tasks)
            plan.tasks.clear()
        parked = {name for name in dict.fromkeys(m.segment for m in plan.members) if self._list(target, name)}
        if parked:
            plan.members[:] = [member for member in plan.members if member.segment not in parked]

    def everything(self, target: Target, *, tasks: bool) -> dict[str, str | None]:
        """What the target may ever need → why it is parked; None: it is there."""
        if tasks:
            self._tasks(target)
        for name in target.segments.values():
            self._list(target, name)
        return self._asked.get(target.connection, {})

    def parked(self, name: str) -> list[Parked]:
        """What was looked for in this CRM, and is not there."""
        return [Parked(_NO_OBJECT, what, why) for what, why in self._asked.get(name, {}).items() if why]

    def lacks(self, name: str, operation: str, segment: str) -> bool:
        """Whether rows of this kind were taken out of the plan."""
        what = _TASKS if operation == "task" else _called(segment)
        return bool(self._asked.get(name, {}).get(what))

    def recovered(self, connection: Connection, name: str) -> list[str]:
        """What was not there the last time, and is now."""
        before = descriptions(connection, name).get(_NO_OBJECT, Description()).mappings
        asked = self._asked.get(name, {})
        return [what for what, known in before.items() if known.parked and what in asked and asked[what] is None]

    def remember(self, connection: Connection, name: str) -> None:
        """Keep what was found, to tell when it recovers."""
        asked = self._asked.get(name)
        if not asked:
            return
        before = descriptions(connection, name).get(_NO_OBJECT, Description())
        mappings = {**before.mappings, **{what: Known(parked=why) for what, why in asked.items()}}
        put_description(
            connection, name, _NO_OBJECT, replace(before, mappings=mappings), microseconds(self._setup.clock())
        )

    # Asking

    def _tasks(self, target: Target) -> str | None:
        sink = self._setup.sinks[target.connection]
        specs = sink.task_fields if isinstance(sink, CreatesTasks) else ()
        return self._ask(target, _TASKS, specs, ())

    def _list(self, target: Target, name: str) -> str | None:
        return self._ask(target, _called(name), (), (name,))

    def _ask(self, target: Target, what: str, specs: Sequence[FieldSpec], segments: Sequence[str]) -> str | None:
        asked = self._asked.setdefault(target.connection, {})
        if what not in asked:
            asked[what] = self._why_not(target.connection, specs, segments)
        return asked[what]

    def _why_not(self, name: str, specs: Sequence[FieldSpec], segments: Sequence[str]) -> str | None:
        """What the CRM says it lacks, in its own words. One that cannot be asked says so when it is written."""
        sink = self._setup.sinks[name]
        if not isinstance(sink, Prepares):
            return None
        try:
            missing = self._setup.retry(lambda: list(sink.missing(specs, segments)))
            # What is missing whatever we ask for is about something else.
            always = self._setup.retry(lambda: list(sink.missing((), ()))) if missing else []
        except (AuthError, ConfigError) as error:
            return error.message
        except ConnectorError as error:
            return f"nobody could say whether it is there: {error.message}. The next run looks again"
        lacking = [line for line in missing if line not in always]
        if not lacking:
            return None
        return f"the CRM lacks {'; '.join(lacking)}. `syncline prepare {name}` shows what is missing and creates it"


def _called(segment: str) -> str:
    return f"list {segment!r}"
