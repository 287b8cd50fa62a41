"""One person's way through a run: which record they are, and how each of its fields was decided."""

from __future__ import annotations

from syncline.store.values import dump_json
from syncline.sync.plan import FieldStep, TargetPlan
from syncline.sync.report import FieldDecision, Journey

__all__ = ["journey"]


def journey(plan: TargetPlan, person_id: int) -> Journey:
    """What happened to one person in the plan for one CRM."""
    steps = [_decision(step) for step in plan.steps if step.person_id == person_id]
    return Journey(found=_found(plan, person_id), fields=steps)


def _found(plan: TargetPlan, person_id: int) -> str:
    """Which record they are and how we know; or why they are none."""
    matches = plan.matches
    link = matches.linked.get(person_id)
    if link is not None:
        return f"{link.ref.object} {link.ref.id}, found by {link.how}"
    for skipped in plan.skipped:
        if skipped.person_id == person_id:
            return f"no record: {skipped.reason}"
    if any(record.person.person_id == person_id for record in plan.records):
        return "no record yet: one is created"
    return "no record"


def _decision(step: FieldStep) -> FieldDecision:
    return FieldDecision(
        object=step.object,
        id=step.id,
        field=step.field,
        policy=step.policy,
        accepted=dump_json(step.acknowledged),
        theirs=dump_json(step.remote),
        changed_by=step.edit.who or step.edit.by,
        changed_at=step.edit.at.isoformat() if step.edit.at else None,
        ours=dump_json(step.desired),
        ours_since=step.desired_at.isoformat() if step.desired_at else None,
        verdict=step.verdict.value,
        why=step.why,
    )
