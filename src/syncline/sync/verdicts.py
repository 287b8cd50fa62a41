"""What new events change about stored ones: a scanner recognised late, one that repeats another or no longer does."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import Connection

from syncline.events import Click, RepeatRule, Visit, derived_ids, repeats, scanner_clicks
from syncline.events.clicks import BURST_US
from syncline.store import events as log
from syncline.store.events import EventRow, StoredEvent, Window

__all__ = ["Moment", "Repeats", "judge_clicks", "judge_repeats"]

_ALWAYS: Final = 1 << 62
_AHEAD_US: Final = 3_600_000_000  # how far to look at first for those that a new one displaces


class Moment(NamedTuple):
    """When something about a person changed."""

    person_id: int
    t_us: int


@dataclass(slots=True)
class Repeats:
    """Events by what becomes of them: new ones that do not count, stored ones that no longer or that again count."""

    new: set[bytes] = field(default_factory=set)
    suppressed: set[bytes] = field(default_factory=set)
    restored: set[bytes] = field(default_factory=set)


def judge_clicks(
    connection: Connection, rows: MutableMapping[bytes, EventRow], merged: Collection[int]
) -> dict[bytes, Moment]:
    """Mark what scanners clicked: new events in `rows`, stored ones in the log; returns the stored clicks marked now.

    What a click counts as besides is marked with it. All clicks of the people in `merged` are looked at again.
    """
    new = [row for row in rows.values() if row.type == "email_click"]
    windows = _joined(
        [Window(row.person_id, row.t_us - BURST_US, row.t_us + BURST_US) for row in new]
        + [Window(person, -_ALWAYS, _ALWAYS) for person in merged]
    )
    stored = {e.row.id: e.row for e in log.in_windows(connection, "email_click", windows)}
    machine = _scanned([*new, *stored.values()])
    for id_ in machine & rows.keys():
        _mark_new(rows, id_)
    late = {id_: Moment(row.person_id, row.t_us) for id_, row in stored.items() if id_ in machine and not row.machine}
    log.mark_machine(connection, [other for id_ in late for other in _with_derived(id_)])
    return late


def judge_repeats(
    connection: Connection,
    rule: RepeatRule,
    rows: Mapping[bytes, EventRow],
    changed: Iterable[Moment],
    merged: Collection[int],
) -> Repeats:
    """Which events repeat another by this rule, now that `rows` are new and something changed at these moments.

    The answer is the one that all of them together would have given in any order.
    """
    new = [StoredEvent(row, kept=True) for row in rows.values() if row.type == rule.type]
    moments = [*changed, *(Moment(e.row.person_id, e.row.t_us) for e in new)]
    ahead = _AHEAD_US
    while True:
        windows = _joined(
            [Window(m.person_id, m.t_us - rule.within_us, m.t_us + ahead) for m in moments]
            + [Window(person, -_ALWAYS, _ALWAYS) for person in merged]
        )
        stored = log.in_windows(connection, rule.type, windows)
        result = _judge_windows(rule, windows, new, stored)
        if result is not None:
            return result
        ahead *= 8


def _scanned(clicks: Iterable[EventRow]) -> set[bytes]:
    by_person: defaultdict[int, list[Click]] = defaultdict(list)
    for row in clicks:
        if url := json.loads(row.properties).get("url"):
            by_person[row.person_id].append(Click(row.t_us, row.id, url))
    return {id_ for own in by_person.values() if len(own) > 2 for id_ in scanner_clicks(own)}


def _mark_new(rows: MutableMapping[bytes, EventRow], click: bytes) -> None:
    for id_ in _with_derived(click):
        if id_ in rows:
            rows[id_] = rows[id_]._replace(machine=True)


def _with_derived(click: bytes) -> list[bytes]:
    return [click, *(bytes.fromhex(id_) for id_ in derived_ids(click.hex()).values())]


def _judge_windows(
    rule: RepeatRule, windows: Sequence[Window], new: Sequence[StoredEvent], stored: Sequence[StoredEvent]
) -> Repeats | None:
    """None when a window ends before its last event is settled."""
    result = Repeats()
    fresh = {event.row.id for event in new}
    for window, group in _grouped(rule, windows, [*new, *stored]):
        if not _judge_group(rule, window, group, fresh, result):
            return None
    return result


def _judge_group(
    rule: RepeatRule, window: Window, group: Sequence[StoredEvent], fresh: set[bytes], result: Repeats
) -> bool:
    """Judge what is the same in one window; whether that after the window is unaffected."""
    since = window.from_us if window.from_us == -_ALWAYS else window.from_us + rule.within_us
    counted = [e.row.t_us for e in group if e.kept and not e.row.machine and e.row.id not in fresh]
    open_ = [Visit(e.row.t_us, e.row.id, e.row.machine) for e in group if e.row.t_us >= since]
    found = repeats(open_, max((t for t in counted if t < since), default=None), rule.within_us)
    kept = {e.row.id for e in group if e.kept}
    result.new |= found & fresh
    result.suppressed |= (found & kept) - fresh
    result.restored |= {visit.id for visit in open_} - found - kept
    last = max((v.t_us for v in open_ if v.id not in found and not v.machine), default=None)
    was_last = max(counted, default=None)
    edge = window.to_us - rule.within_us
    return last == was_last or max(last or -_ALWAYS, was_last or -_ALWAYS) <= edge


def _grouped(
    rule: RepeatRule, windows: Sequence[Window], events: Iterable[StoredEvent]
) -> Iterable[tuple[Window, list[StoredEvent]]]:
    """What is the same, in each window; of what nobody can say so, nothing."""
    by_person: defaultdict[int, list[Window]] = defaultdict(list)
    for window in windows:
        by_person[window.person_id].append(window)
    groups: defaultdict[tuple[Window, str], list[StoredEvent]] = defaultdict(list)
    for event in events:
        same = rule.same(json.loads(event.row.properties))
        if same is not None:
            at = event.row.t_us
            window = next(w for w in by_person[event.row.person_id] if w.from_us <= at <= w.to_us)
            groups[window, same].append(event)
    return ((window, group) for (window, _), group in groups.items())


def _joined(windows: Iterable[Window]) -> list[Window]:
    """The same stretches of time without overlaps."""
    joined: list[Window] = []
    for window in sorted(windows):
        last = joined[-1] if joined else None
        if last and last.person_id == window.person_id and window.from_us <= last.to_us:
            joined[-1] = last._replace(to_us=max(last.to_us, window.to_us))
        else:
            joined.append(window)
    return joined
