"""Who has to know what: a trouble is told when it begins and when it is over, not every time it is met.

Nothing here reads, writes or sends: facts in, decisions and words out. The words are ours alone, never a vendor's: they
go to places where nobody's address belongs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from syncline.errors import SynclineError
from syncline.store.alerts import Known, Trouble
from syncline.sync.course import trouble_of
from syncline.sync.report import Report, SinkReport, SourceReport

__all__ = ["ALL", "WORDS", "Decision", "Facts", "Words", "decide", "message", "over", "troubles"]

ALL: Final = "all"
"""The subject of what concerns a run of all syncs."""


class Words(NamedTuple):
    """How a kind of trouble is told: that it is there, that it is over, and what to do."""

    begins: str
    over: str
    advice: str


WORDS: Final[Mapping[str, Words]] = {
    "credentials": Words(
        "the vendor refuses our credentials; nothing is read or written there",
        "the credentials are accepted again",
        "Mend them, then try with `syncline check --live`. What has gathered is written by the next run",
    ),
    "settings": Words(
        "the vendor says that a setting is wrong",
        "the settings are right again",
        "`syncline check --live` says which one, and what would be valid",
    ),
    "guard": Words(
        "a guard stopped the run before its first write there",
        "no guard stops it any more",
        "Look at `syncline plan`. If it is what you want, allow it as the report says; if not, find what has changed",
    ),
    "drift": Words(
        "a mapped field is gone, or can no longer be written; its mapping is parked, the others go on",
        "all mappings work again",
        "`syncline check --live` names the field and the nearest one that is there",
    ),
    "weather": Words(
        "the vendor does not answer, or only with errors; it was tried several times",
        "the vendor answers again",
        "Nothing, unless it lasts: the next run tries again",
    ),
    "refused": Words(
        "the vendor refuses what we ask of it",
        "the vendor does what we ask again",
        "`syncline runs show latest` has its reason",
    ),
    "plugin": Words(
        "the plugin broke the connector contract: a bug, not weather",
        "the plugin works again",
        "Please report it to whoever maintains it; `syncline runs show latest` has the message",
    ),
    "paused": Words(
        "nothing is written there for now",
        "it is written again",
        "`syncline status` says why and until when; `syncline resume CONNECTION` ends it",
    ),
    "dead_letters": Words(
        "the CRM has refused records; the others were written",
        "the CRM has accepted all records it had refused",
        "`syncline dead-letters list` has its reasons. They are tried again on every run",
    ),
    "failed": Words(
        "a run ended with an error",
        "a run came to its end again",
        "The log of that run has the error. What was done before is recorded, the next run goes on from there",
    ),
    "killed": Words(
        "a run was killed before its end",
        "a run came to its end again",
        "Look for what ended it: memory, a time limit, a restart. This run has taken over what it left",
    ),
    "schedule": Words(
        "a run came more than an hour later than its schedule says",
        "runs come when they are due again",
        "See that `syncline serve` is up, and that no other run takes too long: `syncline runs`",
    ),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known once a run is over. `error`: it died of that; `whole`: it was for everyone, and came to its end.

    `killed`: the subjects of runs that this one found dead. `dead_letters` and `paused` are by connection, `late` are
    syncs. `connections` and `syncs` are those that are configured.
    """

    subject: str
    report: Report | None = None
    error: Exception | None = None
    whole: bool = True
    killed: Collection[str] = ()
    dead_letters: Collection[str] = ()
    paused: Collection[str] = ()
    late: Collection[str] = ()
    connections: Collection[str] = ()
    syncs: Collection[str] = ()


@dataclass(slots=True)
class Decision:
    """`seen` are troubles as they are to be kept. `begins` and `ends` are to be told; `gone` matters to nobody."""

    seen: list[Known] = field(default_factory=list)
    begins: list[Known] = field(default_factory=list)
    ends: list[Known] = field(default_factory=list)
    gone: list[Known] = field(default_factory=list)


# What is the matter


def troubles(facts: Facts) -> set[Trouble]:
    """Everything that somebody might have to know."""
    found = {Trouble("killed", subject) for subject in facts.killed}
    found |= {Trouble("dead_letters", name) for name in facts.dead_letters}
    found |= {Trouble("paused", name) for name in facts.paused}
    found |= {Trouble("schedule", sync) for sync in facts.late}
    if isinstance(facts.error, SynclineError):
        kind = trouble_of(facts.error)
        found.add(Trouble("failed" if kind in ("refused", "plugin") else kind, facts.subject))
    elif facts.error is not None:
        found.add(Trouble("failed", facts.subject))
    return found | {Trouble(kind, name) for name, part in _parts(facts.report) for kind in _of(part)}


def _parts(report: Report | None) -> Iterator[tuple[str, SourceReport | SinkReport]]:
    if report is not None:
        yield from report.sources.items()
        yield from report.sinks.items()


def _of(part: SourceReport | SinkReport) -> Iterator[str]:
    if part.trouble is not None:
        yield part.trouble
    if isinstance(part, SinkReport) and part.parked:
        yield "drift"


# What is over


def over(facts: Facts, trouble: Trouble) -> bool:
    """Whether this trouble, which was not found, is known to have ended: the run has looked, and got that far."""
    if trouble.kind in ("dead_letters", "paused", "schedule"):  # the store says so, whatever was run
        return True
    if facts.error is not None or not facts.whole:
        return False
    if trouble.kind in ("failed", "killed") or trouble.subject in (ALL, *facts.syncs):
        return ALL in (facts.subject, trouble.subject) or facts.subject == trouble.subject
    parts = [part for name, part in _parts(facts.report) if name == trouble.subject]
    return bool(parts) and all(map(_looked_into, parts))


def _looked_into(part: SourceReport | SinkReport) -> bool:
    return part.error is None and not (isinstance(part, SinkReport) and part.paused)


def decide(known: Sequence[Known], facts: Facts, now_us: int, on: Collection[str]) -> Decision:
    """What is new, what has ended, and who does not know yet. Kinds that are not in `on` are kept and never told."""
    decision = Decision()
    before = {item.trouble: item for item in known}
    found = troubles(facts)
    for trouble in sorted(found):
        item = before.get(trouble)
        now = (
            Known(trouble, now_us, now_us, 1, None)
            if item is None
            else item._replace(last_us=now_us, times=item.times + 1)
        )
        decision.seen.append(now)
        if now.told_us is None and trouble.kind in on:
            decision.begins.append(now)
    for trouble, item in before.items():
        configured = (ALL, *facts.connections, *facts.syncs)
        if trouble in found:
            continue
        if trouble.subject not in configured or (item.told_us is None and over(facts, trouble)):
            decision.gone.append(item)
        elif over(facts, trouble):
            decision.ends.append(item)
    return decision


# How it is told


def message(decision: Decision, run_id: str | None) -> tuple[str, str]:
    """Title and text, for people."""
    begins, ends = len(decision.begins), len(decision.ends)
    parts = [f"{begins} new" if begins else "", f"{ends} over" if ends else ""]
    title = f"syncline: trouble: {', '.join(filter(None, parts))}" if begins else f"syncline: {ends} over"
    lines = [line for item in decision.begins for line in _begins(item)]
    lines += [
        f"{_about(item.trouble)}{WORDS[item.trouble.kind].over} (met {_times(item.times)})" for item in decision.ends
    ]
    if run_id:
        lines.append(f"Run {run_id}; `syncline status` has the whole picture")
    return title, "\n".join(lines)


def _begins(item: Known) -> Iterator[str]:
    words = WORDS[item.trouble.kind]
    yield f"{_about(item.trouble)}{words.begins}"
    yield f"  What to do: {words.advice.replace('CONNECTION', item.trouble.subject)}"


def _about(trouble: Trouble) -> str:
    return "" if trouble.subject == ALL else f"{trouble.subject}: "


def _times(times: int) -> str:
    return "once" if times == 1 else f"{times} times"
