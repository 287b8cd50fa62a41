"""The mass-change guard: a run that would do more than it may stops before its first write, and asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

from syncline.errors import ConfigError, GuardError, did_you_mean
from syncline.model import RemoteRef, Value
from syncline.sync.merge import same
from syncline.sync.plan import BY_ID, RecordPlan
from syncline.sync.report import SinkReport
from syncline.sync.target import Guard, Target

__all__ = ["Allowance", "amounts", "hold_to_guard", "parse_allow", "with_overwrites"]

GUARDED: Final = tuple(item.name for item in fields(Guard))


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a person allows for one run, and no schedule ever does.

    `more`: what the guard counts → how many of it all the same; None: any number. `go_ahead`: the next stage of a first
    run. `one`: it is about a single person, looked at by whoever asked for it. `command` is how the run was asked for,
    to say what to add to it.
    """

    more: Mapping[str, int | None] = field(default_factory=dict)
    go_ahead: bool = False
    one: bool = False
    command: str = "syncline run"


def parse_allow(words: Collection[str]) -> dict[str, int | None]:
    """`creates,tasks=30` → {creates: None, tasks: 30}; ConfigError for what no guard counts."""
    found: dict[str, int | None] = {}
    for part in (part.strip() for word in words for part in word.split(",")):
        name, equals, number = part.partition("=")
        if name not in GUARDED:
            raise ConfigError(f"--allow: no guard counts {name!r}; {did_you_mean(name, GUARDED)}")
        if equals and not (number.isascii() and number.isdigit()):
            raise ConfigError(f"--allow: {part!r} is no number; write {name}=6000, or {name} for any number")
        found[name] = int(number) if equals else None
    return found


def amounts(
    rows: Mapping[tuple[str, str, str], int], *, clears: int = 0, overwrites: int = 0, opt_outs: int = 0
) -> dict[str, int]:
    """What a plan amounts to, in the guard's words."""

    def of(operation: str) -> int:
        return sum(count for (name, _, match), count in rows.items() if name == operation and match != BY_ID)

    return {
        "creates": of("upsert"),
        "clears": clears,
        "tasks": of("task"),
        "removes": of("remove"),
        "overwrites": overwrites,
        "opt_outs": opt_outs,
    }


def hold_to_guard(target: Target, planned: Mapping[str, int], allowance: Allowance, report: SinkReport) -> None:
    """GuardError when the plan for this CRM does more of something than its guard allows, and nobody allowed it.

    What somebody did allow is noted in the report.
    """
    refused = []
    for what, count in planned.items():
        limit = getattr(target.guard, what)
        if limit is None or count <= limit:
            continue
        if what in allowance.more and (allowance.more[what] is None or count <= (allowance.more[what] or 0)):
            report.allowed[what] = count
        else:
            refused.append((what, count, _limit(what, limit, allowance)))
    if refused:
        told = "; ".join(f"{count} {what}, {limit}" for what, count, limit in refused)
        right = [f"{what}={count}" for what, count, _ in refused] + [
            f"{what}={count}" for what, count in report.allowed.items()
        ]
        report.allowed.clear()
        raise GuardError(
            f"{target.connection}: this run would make {told}. Look at `syncline plan --all`. If it is right, allow it "
            f"this once: `{allowance.command} --allow {','.join(right)}`"
        )


def _limit(what: str, limit: int, allowance: Allowance) -> str:
    if what in allowance.more:
        return f"you allowed {allowance.more[what]}"
    return f"the guard allows {limit}"


def with_overwrites(
    records: Collection[RecordPlan], acknowledged: Mapping[RemoteRef, Mapping[str, Value]]
) -> list[RecordPlan]:
    """`records`, each with how many of its fields hold something that is lost and was not ours."""
    return [
        record if record.ref is None else replace(record, overwrites=_overwrites(record, acknowledged.get(record.ref)))
        for record in records
    ]


def _overwrites(record: RecordPlan, ours: Mapping[str, Value] | None) -> int:
    """An empty field, and a tick that was never set, hold nothing; what is emptied counts as a clear."""
    ours = ours or {}
    return sum(
        change.before not in (None, "", False)
        and not change.clears
        and not same(change.before, change.after)
        and not (change.field in ours and same(change.before, ours[change.field]))
        for change in record.changes
    )
