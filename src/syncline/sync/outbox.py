"""A plan as rows of the outbox, and such a row as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from syncline.store.runs import OutboxRow
from syncline.store.values import dump, dump_json, load
from syncline.sync.plan import BY_ID, MemberPlan, RecordPlan, TargetPlan, TaskPlan
from syncline.sync.report import RecordChange

__all__ = ["change_of", "member_row", "outbox_rows", "record_row", "task_row"]


def outbox_rows(plan: TargetPlan) -> Iterator[OutboxRow]:
    """A plan as rows of the outbox."""
    yield from map(record_row, plan.records)
    yield from map(task_row, plan.tasks)
    yield from map(member_row, plan.members)


def record_row(record: RecordPlan) -> OutboxRow:
    address = record.ref.id if record.ref else record.person.key
    fields = {change.field: change.after for change in record.changes}
    return OutboxRow(
        operation="upsert",
        object=record.object,
        match=record.match,
        rank=record.rank,
        key=record.person.key,
        person_id=record.person.person_id,
        payload=dump({"id": address, "fields": fields}),
        before=dump({change.field: change.before for change in record.changes}),
    )


def task_row(task: TaskPlan) -> OutboxRow:
    action = task.action
    return OutboxRow("task", "", action.key, action.person_id, action.payload, rank=task.rank)


def member_row(member: MemberPlan) -> OutboxRow:
    operation = "add" if member.add else "remove"
    return OutboxRow(operation, member.segment, member.key, member.person_id, "{}", member.group, rank=member.rank)


def change_of(row: OutboxRow, status: str | None = None, reason: str | None = None) -> RecordChange:
    """A row as a person reads it: field by field, before and after."""
    payload = load(row.payload)
    if row.operation != "upsert":
        return RecordChange(
            operation=row.operation,  # type: ignore[arg-type]  # the other operations have the same names
            object=row.object,
            person=row.key,
            subject=payload.get("subject"),
            status=status,
            reason=reason,
        )
    before = load(row.before or "{}")
    update = row.match == BY_ID
    return RecordChange(
        operation="update" if update else "create",
        object=row.object,
        person=row.key,
        id=payload["id"] if update else None,
        fields={name: (dump_json(before.get(name)), dump_json(value)) for name, value in payload["fields"].items()},
        status=status,
        reason=reason,
    )
