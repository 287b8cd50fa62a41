"""What people said of dead letters, heeded in a plan: values they gave, writes they do not want to see again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from syncline.store.dead_letters import DeadLetter, Override
from syncline.store.runs import ActionRow, OutboxRow
from syncline.sync.outbox import member_row, record_row, task_row
from syncline.sync.plan import Skipped, TargetPlan, TaskPlan

__all__ = ["heed", "overrides"]

_DISCARDED = "discarded as a dead letter; tried again when something else is to be written"

_Write = tuple[str, str, str]


def overrides(letters: Iterable[DeadLetter]) -> dict[tuple[str, str, str], Override]:
    """(our key, object, field) → the value that a person gave it."""
    return {
        (letter.key, letter.object, name): override
        for letter in letters
        if letter.operation == "upsert"
        for name, override in letter.overrides.items()
    }


def heed(plan: TargetPlan, letters: Sequence[DeadLetter]) -> None:
    """Give tasks the words that people gave them, and leave out what they discarded."""
    said = {(letter.operation, letter.object, letter.key): letter for letter in letters}
    plan.tasks = [replace(task, action=_worded(task, said)) for task in plan.tasks]
    discarded = {write: letter for write, letter in said.items() if letter.discarded is not None}
    if discarded:
        _leave_out(plan, discarded)


def _worded(task: TaskPlan, said: dict[_Write, DeadLetter]) -> ActionRow:
    letter = said.get(("task", "", task.action.key))
    if letter is None or not letter.edited:
        return task.action
    content = {**json.loads(task.action.payload), **{n: item.value for n, item in letter.overrides.items()}}
    return replace(task.action, payload=json.dumps(content, ensure_ascii=False, sort_keys=True))


def _leave_out(plan: TargetPlan, discarded: dict[_Write, DeadLetter]) -> None:
    """A record counts as the same write only with the same values; a task and a membership always do."""
    plan.records = [r for r in plan.records if not _left(plan, record_row(r), discarded)]
    plan.tasks = [t for t in plan.tasks if not _left(plan, task_row(t), discarded)]
    plan.members = [m for m in plan.members if not _left(plan, member_row(m), discarded)]


def _left(plan: TargetPlan, row: OutboxRow, discarded: dict[_Write, DeadLetter]) -> bool:
    write = (row.operation, row.object, row.key)
    letter = discarded.get(write)
    if letter is None or (row.operation == "upsert" and letter.discarded != row.payload):
        return False
    plan.left_alone.add(write)
    plan.skipped.append(Skipped(row.person_id, row.key, _DISCARDED))
    return True
